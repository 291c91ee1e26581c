//! A network of processes for a benchmark, taken down when it is let go.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::process::Command;

use super::rig;

/// The network.
pub struct Network {
    exe: PathBuf,
    dir: PathBuf,
    pub nodes: Vec<Node>,
}

/// One process of it.
pub struct Node {
    pub pid: u64,
    pub api: String,
    /// Its directory.
    pub home: PathBuf,
}

impl Network {
    /// Starts so many nodes in a folder that is not there yet; `more` are further words for `testnet up`, `settings`
    /// are keys of every node's configuration with their values.
    pub async fn up(dir: &Path, count: u32, more: &[&str], settings: &[(&str, String)]) -> anyhow::Result<Network> {
        let exe = std::env::current_exe().context("cannot find this program")?;
        let count = count.to_string();
        let words = [&["up", "-n", &count, "--network", "bench", "--json"], more].concat();
        let mut network = Network { nodes: nodes(&testnet(&exe, dir, &words).await?)?, exe, dir: dir.into() };
        if !settings.is_empty() {
            testnet(&network.exe, dir, &["down"]).await?;
            network.nodes.iter().try_for_each(|node| set(&node.home, settings))?;
            network.nodes = nodes(&testnet(&network.exe, dir, &["up", "--json"]).await?)?;
        }
        Ok(network)
    }

    /// One more node, which begins with nothing; the seconds until it listens.
    pub async fn join(&mut self) -> anyhow::Result<f64> {
        let answer = testnet(&self.exe, &self.dir, &["join", "--timeout", "120s", "--json"]).await?;
        let answer: Value = serde_json::from_str(&answer).context("`testnet join` answered something else")?;
        self.nodes.push(node(&answer).context("`testnet join` names no node")?);
        answer["listening_s"].as_f64().context("`testnet join` does not say when it listened")
    }

    /// Stops everything and removes it.
    pub async fn down(self) -> anyhow::Result<()> {
        testnet(&self.exe, &self.dir, &["down", "--purge"]).await.map(drop)
    }

    /// Processor time of all nodes.
    pub fn cpu_seconds(&self) -> f64 {
        self.nodes.iter().map(|node| rig::cpu_seconds_of(&node.pid.to_string())).sum()
    }

    /// Memory of all nodes.
    pub fn resident_bytes(&self) -> usize {
        let of = |node: &Node| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid)).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<usize>().ok()
        };
        self.nodes.iter().filter_map(of).sum::<usize>() * 1024
    }
}

fn nodes(answer: &str) -> anyhow::Result<Vec<Node>> {
    let answer: Value = serde_json::from_str(answer).context("`testnet up` answered something else")?;
    Ok(answer["nodes"].as_array().into_iter().flatten().filter_map(node).collect())
}

/// Sets keys in a node's configuration, in the place of their defaults, which stand there as comments.
fn set(home: &Path, settings: &[(&str, String)]) -> anyhow::Result<()> {
    let file = home.join("config.toml");
    let mut text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for (key, value) in settings {
        let is_it = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        if !text.lines().any(is_it) {
            bail!("{} has no {key}", file.display());
        }
        let lines =
            text.lines().map(|line| if is_it(line) { format!("{key} = {value}\n") } else { format!("{line}\n") });
        text = lines.collect();
    }
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn node(node: &Value) -> Option<Node> {
    let home = PathBuf::from(node["dir"].as_str()?);
    Some(Node { pid: node["pid"].as_u64()?, api: node["api"].as_str()?.to_string(), home })
}

/// Runs a command of this program on the network in `dir`.
async fn testnet(exe: &Path, dir: &Path, args: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(exe);
    command.arg("testnet").args(args).arg("--dir").arg(dir).stdin(Stdio::null());
    let output = command.output().await.with_context(|| format!("cannot run {}", exe.display()))?;
    if !output.status.success() {
        bail!("testnet {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
