//! Nodes started together, to be stopped together if one of them fails.

use std::path::Path;
use std::process::Child;

use anyhow::Context;
use tokio::time::Instant;

use super::process;
use super::record::{NodeRecord, Record};

/// What this command started, by place in the record.
#[derive(Default)]
pub struct Started {
    children: Vec<(usize, Child)>,
}

impl Started {
    /// Starts the node at `place`, waits until it listens, and puts it on record.
    pub async fn start(
        &mut self,
        place: usize,
        record: &mut Record,
        dir: &Path,
        deadline: Instant,
    ) -> anyhow::Result<()> {
        self.spawn(place, record, dir)?;
        self.ready(record, dir, deadline, |_| {}).await
    }

    /// Starts the node's process. It is on record at once, so that `down` finds it whatever happens next.
    pub fn spawn(&mut self, place: usize, record: &mut Record, dir: &Path) -> anyhow::Result<()> {
        let node = record.nodes.get_mut(place).context("the node is gone")?;
        let child = process::spawn(node)?;
        node.pid = Some(child.id());
        self.children.push((place, child));
        record.write(dir)
    }

    /// Waits until all that were started listen, and takes over their own word for addresses. `each` is told the count.
    pub async fn ready(
        &mut self,
        record: &mut Record,
        dir: &Path,
        deadline: Instant,
        each: impl Fn(usize),
    ) -> anyhow::Result<()> {
        for (count, (place, child)) in self.children.iter_mut().enumerate() {
            let node = record.nodes.get_mut(*place).context("the node is gone")?;
            let ready = process::until_ready(node, child, deadline).await?;
            anyhow::ensure!(
                ready.id == node.id,
                "{} says it is {}, its key is that of {}",
                node.name,
                ready.id,
                node.id
            );
            (node.p2p, node.api) = (ready.p2p, ready.api);
            each(count + 1);
        }
        record.write(dir)
    }

    /// The first that has ended since, and how.
    pub fn fallen<'a>(&mut self, record: &'a Record) -> Option<(&'a NodeRecord, std::process::ExitStatus)> {
        self.children.iter_mut().find_map(|(place, child)| {
            let status = child.try_wait().ok().flatten()?;
            Some((record.nodes.get(*place)?, status))
        })
    }

    /// Names of what was started.
    pub fn names(&self, record: &Record) -> Vec<String> {
        self.children.iter().filter_map(|(place, _)| Some(record.nodes.get(*place)?.name.clone())).collect()
    }

    /// Kills what was started. These are this command's own children: their numbers cannot be others' yet.
    pub fn undo(&mut self, record: &mut Record, dir: &Path) {
        for (place, child) in &mut self.children {
            // One that ended by itself cannot be killed; it is waited for all the same.
            let _ = child.kill();
            let _ = child.wait();
            if let Some(node) = record.nodes.get_mut(*place) {
                node.pid = None;
            }
        }
        if let Err(e) = record.write(dir) {
            eprintln!("{e:#}");
        }
    }
}
