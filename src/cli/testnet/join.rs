//! `metanode testnet join`: one more node, and how long it takes to be one of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use tokio::time::Instant;

use super::args::{DirArgs, duration};
use super::probe::Probe;
use super::record::{NodeRecord, Record};
use super::start::Started;
use super::verdict::Goal;
use super::{home, ports, print, process, wait};

const EXAMPLES: &str = "\
Examples:
  metanode testnet join                                          by the first node that runs
  metanode testnet join --bootstrap /ip4/127.0.0.1/tcp/17003/p2p/12D3Koo…

To connect: the first peer. To mesh: as many peers as the other nodes that run, or a gossip mesh's worth where those are
more than a node looks for. To sync: it holds what the others hold.";

/// Add a node that knows one bootstrap address, and measure how it finds its way.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct JoinArgs {
    /// The one address it is told [default: the first address of the first node that runs].
    #[arg(long, value_name = "ADDR")]
    bootstrap: Option<String>,
    /// How long all of it may take.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    place: DirArgs,
}

impl JoinArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let dir = std::path::absolute(&self.place.dir)?;
        let mut record = Record::read(&dir)?;
        let others: Vec<NodeRecord> =
            record.nodes.iter().filter(|node| process::running(node).is_some()).cloned().collect();
        let bootstrap = self.bootstrap(&others)?;
        let place = add(&dir, &mut record, &bootstrap)?;
        let mut started = Started::default();
        let begun = Instant::now();
        if let Err(e) = started.start(place, &mut record, &dir, begun + self.timeout).await {
            started.undo(&mut record, &dir);
            return Err(e);
        }
        let node = record.nodes.get(place).context("the node is gone")?;
        let listening = begun.elapsed().as_secs_f64();
        let [connected, meshed, synced] = self.measure(&record, node, &others, begun).await?;
        if self.place.json {
            let mut answer = serde_json::to_value(node)?;
            answer["bootstrap"] = json!(bootstrap);
            for (key, seconds) in
                [("listening_s", listening), ("connected_s", connected), ("meshed_s", meshed), ("synced_s", synced)]
            {
                answer[key] = json!((seconds * 1000.0).round() / 1000.0);
            }
            return print::json(&answer);
        }
        print::nodes(std::slice::from_ref(node))?;
        print::line(&format!(
            "listening after {listening:.2} s, connected after {connected:.2} s, in the mesh after {meshed:.2} s, \
             in sync after {synced:.2} s"
        ))
    }

    fn bootstrap(&self, others: &[NodeRecord]) -> anyhow::Result<String> {
        let first = || others.first().and_then(|node| node.p2p.first().cloned());
        self.bootstrap.clone().or_else(first).context("no node runs; `metanode testnet up` starts them")
    }

    /// Seconds to the first peer, to the mesh, to holding what the others hold.
    async fn measure(
        &self,
        record: &Record,
        node: &NodeRecord,
        others: &[NodeRecord],
        begun: Instant,
    ) -> anyhow::Result<[f64; 3]> {
        let probe = Probe::new()?;
        let (alone, deadline) = (std::slice::from_ref(node), begun + self.timeout);
        let all: Vec<NodeRecord> = others.iter().chain(alone).cloned().collect();
        let mesh = home::peers_wanted(all.len(), record.plan.profile);
        let goals = [
            (alone, "no peer", Goal { peers: Some(1), ..Goal::default() }),
            (alone, "not in the mesh", Goal { peers: Some(mesh), ..Goal::default() }),
            (&all[..], "not in sync", Goal { converged: true, ..Goal::default() }),
        ];
        let mut seconds = [0.0; 3];
        for ((nodes, what, goal), taken) in goals.into_iter().zip(&mut seconds) {
            let seen = wait::until(&probe, nodes, goal, deadline, || Ok(())).await?;
            if !seen.missing.is_empty() {
                let words = process::last_words(node);
                bail!("{}: {what} in time:\n  {}{words}", node.name, seen.missing.join("\n  "));
            }
            *taken = begun.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }
}

/// Makes the next node's directory and puts it on record.
fn add(dir: &Path, record: &mut Record, bootstrap: &str) -> anyhow::Result<usize> {
    let place = record.nodes.len();
    let ports = ports::pick(1)?.first().copied().context("no free port")?;
    let node = home::create(dir, &format!("node-{place}"), &record.plan, ports, &[bootstrap.to_string()])?;
    record.nodes.push(node);
    record.write(dir)?;
    Ok(place)
}
