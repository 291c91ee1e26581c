//! `metanode testnet down`: all nodes stopped, cleanly if they can.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::args::{DirArgs, duration};
use super::home::GENESIS;
use super::record::{self, NodeRecord, Record};
use super::{print, process};

/// A killed process is gone after this, whatever it did.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// Stop all nodes.
#[derive(Debug, Args)]
pub struct DownArgs {
    #[command(flatten)]
    place: DirArgs,
    /// How long the nodes may take to stop by themselves before they are killed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// Kill them at once.
    #[arg(long)]
    kill: bool,
    /// Remove their directories.
    #[arg(long)]
    purge: bool,
}

/// How a node came to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Already,
    Stopped,
    Killed,
}

impl DownArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let dir = std::path::absolute(&self.place.dir)?;
        let mut record = Record::read(&dir)?;
        let mut was_up = Vec::new();
        for node in &record.nodes {
            let pid = process::running(node);
            match pid {
                Some(pid) if self.kill => process::signal(pid, Signal::KILL)?,
                Some(pid) => process::ask_to_stop(pid)?,
                None => {}
            }
            was_up.push(pid.is_some());
        }
        let deadline = Instant::now() + if self.kill { KILLED_WITHIN } else { self.timeout };
        let mut ends = Vec::new();
        for (node, was_up) in record.nodes.iter_mut().zip(was_up) {
            let end = self.end(node, deadline).await?;
            node.pid = None;
            ends.push((node.name.clone(), if was_up { end } else { End::Already }));
        }
        record.write(&dir)?;
        self.report(&ends)?;
        if self.purge { purge(&dir, &record) } else { Ok(()) }
    }

    /// Waits until the node is gone; kills it when its time is over.
    async fn end(&self, node: &NodeRecord, deadline: Instant) -> anyhow::Result<End> {
        if process::until_gone(node, deadline).await {
            return Ok(if self.kill { End::Killed } else { End::Stopped });
        }
        if let Some(pid) = process::running(node) {
            process::signal(pid, Signal::KILL)?;
        }
        if !process::until_gone(node, Instant::now() + KILLED_WITHIN).await {
            bail!("{} does not end although it was killed; look at its process", node.name);
        }
        Ok(End::Killed)
    }

    fn report(&self, ends: &[(String, End)]) -> anyhow::Result<()> {
        let word = |end: End| match end {
            End::Already => "was not running",
            End::Stopped => "stopped",
            End::Killed => "killed",
        };
        if self.place.json {
            let rows: Vec<_> = ends.iter().map(|(name, end)| json!({"name": name, "end": word(*end)})).collect();
            return print::json(&json!({"nodes": rows}));
        }
        for (name, end) in ends {
            let late = *end == End::Killed && !self.kill;
            let why = if late { format!(": it did not stop within {:?}", self.timeout) } else { String::new() };
            print::line(&format!("{name} {}{why}", word(*end)))?;
        }
        Ok(())
    }
}

/// Removes what `up` and `join` made, and the directory if nothing else is in it.
fn purge(dir: &Path, record: &Record) -> anyhow::Result<()> {
    let inside = record.nodes.iter().filter(|node| node.dir.parent() == Some(dir) && node.dir.exists());
    for node in inside {
        fs::remove_dir_all(&node.dir).with_context(|| format!("cannot remove {}", node.dir.display()))?;
    }
    let genesis = Some(dir.join(GENESIS)).filter(|genesis| record.plan.chain && genesis.exists());
    for file in genesis.into_iter().chain([record::path(dir)]) {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    if fs::remove_dir(dir).is_err() {
        eprintln!("{} holds other files and stays", dir.display());
    }
    Ok(())
}
