//! One node of a network: signalled, started, its log read.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::args::{DirArgs, duration};
use super::record::Record;
use super::start::Started;
use super::{print, process};

/// A node that was told to end is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Send a signal to one node's process: kill it, pause it, let it go on.
#[derive(Debug, Args)]
pub struct KillArgs {
    /// The node: node-2, or 2.
    name: String,
    /// What to send.
    #[arg(long, value_enum, ignore_case = true, default_value = "kill")]
    signal: Blow,
    #[command(flatten)]
    place: DirArgs,
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Blow {
    /// It ends at once, as in a power cut.
    Kill,
    /// It is paused, as if it hung.
    Stop,
    /// It goes on after a pause.
    Cont,
    /// It is asked to stop cleanly.
    Term,
}

impl KillArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let dir = std::path::absolute(&self.place.dir)?;
        let mut record = Record::read(&dir)?;
        let node = record.node_mut(&self.name)?;
        let name = node.name.clone();
        let Some(pid) = process::running(node) else {
            bail!("{name} is not running; `metanode testnet start {name}` starts it");
        };
        match self.signal {
            Blow::Kill => process::signal(pid, Signal::KILL)?,
            Blow::Stop => process::signal(pid, Signal::STOP)?,
            Blow::Cont => process::signal(pid, Signal::CONT)?,
            Blow::Term => process::ask_to_stop(pid)?,
        }
        let done = match self.signal {
            Blow::Stop => "paused",
            Blow::Cont => "goes on",
            Blow::Kill | Blow::Term => {
                if !process::until_gone(node, Instant::now() + GONE_WITHIN).await {
                    bail!("{name} still runs after {GONE_WITHIN:?}; send --signal KILL");
                }
                node.pid = None;
                record.write(&dir)?;
                if self.signal == Blow::Kill { "killed" } else { "stopped" }
            }
        };
        if self.place.json {
            return print::json(&json!({"name": name, "pid": pid.as_raw_nonzero().get(), "done": done}));
        }
        print::line(&format!("{name} {done}"))
    }
}

/// Start a stopped node again, with its data.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The node: node-2, or 2.
    name: String,
    /// How long it may take until it listens.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    place: DirArgs,
}

impl StartArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let dir = std::path::absolute(&self.place.dir)?;
        let mut record = Record::read(&dir)?;
        let place = record.place(&self.name)?;
        if record.nodes.get(place).is_some_and(|node| process::running(node).is_some()) {
            bail!("{} is running already; if it is paused, `metanode testnet kill {0} --signal CONT`", self.name);
        }
        let mut started = Started::default();
        if let Err(e) = started.start(place, &mut record, &dir, Instant::now() + self.timeout).await {
            started.undo(&mut record, &dir);
            return Err(e);
        }
        let node: Vec<_> = record.nodes.get(place).cloned().into_iter().collect();
        match node.first() {
            Some(node) if self.place.json => print::json(node),
            Some(_) | None => print::nodes(&node),
        }
    }
}

/// Show the last lines of a node's log.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The node: node-2, or 2.
    name: String,
    /// How many lines.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: usize,
    #[command(flatten)]
    place: DirArgs,
}

impl LogsArgs {
    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<()> {
        let mut record = Record::read(&std::path::absolute(&self.place.dir)?)?;
        let node = record.node_mut(&self.name)?;
        let lines = process::last_lines(&node.log(), self.lines)?;
        if self.place.json {
            return print::json(&json!({"name": node.name, "log": node.log(), "lines": lines}));
        }
        for line in lines {
            print::line(&line)?;
        }
        Ok(())
    }
}
