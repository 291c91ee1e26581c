//! `metanode testnet wait`: until all nodes are connected, or hold the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::bail;
use clap::{ArgGroup, Args};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::args::{DirArgs, duration};
use super::probe::{Probe, Sight, State};
use super::record::{NodeRecord, Record};
use super::status::rows;
use super::verdict::{self, Goal};
use super::{home, print};

/// How often all nodes are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  metanode testnet wait --converged                    all hold the same
  metanode testnet wait --converged --messages 500     and each at least 500 messages
  metanode testnet wait --connected --timeout 10s      all see each other

The exit code is 0 when it came true in time. Otherwise it is not, and who is down, who lacks which messages and who is
not connected with whom is said.";

/// Wait until all nodes are connected or hold the same; fail with a diagnosis.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("goal").required(true).multiple(true))]
pub struct WaitArgs {
    /// All nodes are up and hold the same.
    #[arg(long, group = "goal")]
    converged: bool,
    /// All nodes are up and connected with each other.
    #[arg(long, group = "goal")]
    connected: bool,
    /// Each node holds at least so many messages.
    #[arg(long, value_name = "N", default_value_t = 0, group = "goal")]
    messages: u64,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    place: DirArgs,
}

/// The network when the waiting ended.
pub struct Seen {
    /// Its nodes.
    pub sights: Vec<Sight>,
    /// What is missing, a line each; nothing when the goal was reached.
    pub missing: Vec<String>,
}

/// Asks until the goal is reached or the time is over. An error of `check` ends it too.
pub async fn until(
    probe: &Probe,
    nodes: &[NodeRecord],
    goal: Goal,
    deadline: Instant,
    mut check: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    loop {
        check()?;
        let sights = probe.look_all(nodes).await;
        let mut missing = verdict::missing(&sights, goal);
        if missing.is_empty() {
            return Ok(Seen { sights, missing });
        }
        if Instant::now() >= deadline {
            if goal.peers.is_some_and(|wanted| verdict::connected_count(&sights, wanted) < sights.len()) {
                missing.extend(verdict::strangers(&sights, &connections(probe, nodes).await));
            }
            return Ok(Seen { sights, missing });
        }
        sleep(ASK_EVERY).await;
    }
}

/// Whom each node is connected with.
async fn connections(probe: &Probe, nodes: &[NodeRecord]) -> BTreeMap<String, BTreeSet<String>> {
    let asked = nodes.iter().map(async |node| Some((node.name.clone(), probe.connected(node).await?)));
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

impl WaitArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let record = Record::read(&std::path::absolute(&self.place.dir)?)?;
        let begun = Instant::now();
        let peers = self.connected.then(|| home::peers_wanted(record.nodes.len(), record.plan.profile));
        let goal = Goal { peers, converged: self.converged, messages: self.messages };
        let seen = until(&Probe::new()?, &record.nodes, goal, begun + self.timeout, || Ok(())).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let reached = seen.missing.is_empty();
        if self.place.json {
            print::json(&json!({
                "reached": reached,
                "seconds": (seconds * 1000.0).round() / 1000.0,
                "converged": verdict::converged(&seen.sights),
                "nodes": rows(&seen.sights),
                "missing": seen.missing,
            }))?;
        } else if reached {
            print::line(&format!("reached after {seconds:.1} s"))?;
        }
        if !reached {
            let (lines, advice) = (seen.missing.join("\n  "), self.advice(&seen.sights));
            bail!("not reached within {:.1} s:\n  {lines}{advice}", self.timeout.as_secs_f64());
        }
        Ok(())
    }
    /// What to do about nodes that do not answer.
    fn advice(&self, sights: &[Sight]) -> String {
        let line = |sight: &Sight| {
            let (name, dir) = (&sight.name, self.place.dir.display());
            match sight.state {
                State::Up => None,
                State::Silent => Some(format!("\n`metanode testnet kill {name} --signal cont --dir {dir}` wakes it")),
                State::Down => Some(format!(
                    "\n`metanode testnet logs {name} --dir {dir}` says why, `metanode testnet start {name} --dir {dir}` \
                     starts it"
                )),
            }
        };
        sights.iter().filter_map(line).collect()
    }
}
