//! A node's process: started, recognised, signalled, watched.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::record::NodeRecord;

/// How often something on this machine is looked at while it is waited for.
pub const LOOK_EVERY: Duration = Duration::from_millis(25);
/// At most this much of a log's end is read, bytes.
const TAIL_BYTES: u64 = 1 << 20;

/// What a node writes when it listens.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    pub id: String,
    pub pid: u32,
    pub p2p: Vec<String>,
    pub api: String,
}

impl Ready {
    /// The node's own word; none before it listens.
    pub fn read(node: &NodeRecord) -> Option<Ready> {
        serde_json::from_str(&fs::read_to_string(node.ready_file()).ok()?).ok()
    }
}

/// Starts the node: this executable, in a process group of its own, so that it outlives this command.
pub fn spawn(node: &NodeRecord) -> anyhow::Result<Child> {
    match fs::remove_file(node.ready_file()) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("cannot remove {}", node.ready_file().display()));
        }
        Ok(()) | Err(_) => {}
    }
    let log = OpenOptions::new().create(true).append(true).open(node.log());
    let log = log.with_context(|| format!("cannot write {}", node.log().display()))?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this executable")?);
    command.arg("start").arg("--dir").arg(&node.dir).arg("--config").arg(node.dir.join("config.toml"));
    command.arg("--ready-file").arg(node.ready_file()).arg("--perturbable");
    // A variable is above the file and would make all nodes alike; how much they log is the exception.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("METANODE_")) {
        if !name.to_string_lossy().starts_with("METANODE_LOG") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    command.spawn().with_context(|| format!("cannot start {}", node.name))
}

/// The node's process, if it runs: the one on record, or the one that the node itself named.
pub fn running(node: &NodeRecord) -> Option<Pid> {
    let named = Ready::read(node).map(|ready| ready.pid);
    let candidates = node.pid.into_iter().chain(named);
    let pids = candidates.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    pids.into_iter().find(|pid| is_node(*pid, &node.dir))
}

/// Whether the process was started for the node in `dir`; a number alone may by now be any other program's.
fn is_node(pid: Pid, dir: &Path) -> bool {
    let words = command_line(pid);
    words.iter().any(|word| word == "start") && words.iter().any(|word| Path::new(word) == dir)
}

/// The words of a process's command; none of one that is gone, or dead and not yet taken note of.
#[cfg(target_os = "linux")]
fn command_line(pid: Pid) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The words of a process's command, as far as `ps` keeps them apart.
#[cfg(not(target_os = "linux"))]
fn command_line(pid: Pid) -> Vec<String> {
    let output = Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.as_raw_nonzero().to_string()]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().map(Into::into).collect()
}

/// Sends `signal`. A process that is gone already is no fault.
pub fn signal(pid: Pid, signal: Signal) -> anyhow::Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e).with_context(|| format!("cannot signal process {}", pid.as_raw_nonzero())),
    }
}

/// Asks the process to stop. One that is paused would not hear it, so it is let go on as well.
pub fn ask_to_stop(pid: Pid) -> anyhow::Result<()> {
    signal(pid, Signal::TERM)?;
    signal(pid, Signal::CONT)
}

/// Waits until the node's process is gone. False at the deadline.
pub async fn until_gone(node: &NodeRecord, deadline: Instant) -> bool {
    while running(node).is_some() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

/// Waits until the node that was just started listens.
pub async fn until_ready(node: &NodeRecord, child: &mut Child, deadline: Instant) -> anyhow::Result<Ready> {
    loop {
        if let Some(ready) = Ready::read(node).filter(|ready| ready.pid == child.id()) {
            return Ok(ready);
        }
        if let Some(code) = child.try_wait()? {
            anyhow::bail!("{} ended before it listened ({code}){}", node.name, last_words(node));
        }
        if Instant::now() >= deadline {
            anyhow::bail!("{} does not listen in time; give a longer --timeout{}", node.name, last_words(node));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The end of a node's log, to be put after an error.
pub fn last_words(node: &NodeRecord) -> String {
    let lines = last_lines(&node.log(), 12).unwrap_or_default();
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    format!("\nThe end of {}:{lines}", node.log().display())
}

/// The last `count` lines of a file.
pub fn last_lines(path: &Path, count: usize) -> anyhow::Result<Vec<String>> {
    let mut bytes = Vec::new();
    let mut read = || {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)
    };
    read().with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.lines().rev().take(count).map(Into::into).collect();
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_program_is_not_taken_for_a_node() {
        let own = Pid::from_raw(std::process::id() as i32).unwrap();
        assert!(!command_line(own).is_empty());
        assert!(!is_node(own, Path::new("/nowhere/node-0")));
    }

    #[test]
    fn the_last_lines_of_a_file_are_its_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(last_lines(&path, 2).unwrap(), ["b", "c"]);
        assert_eq!(last_lines(&path, 9).unwrap().len(), 3);
        assert!(last_lines(&dir.path().join("none"), 1).is_err());
    }
}
