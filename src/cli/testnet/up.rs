//! `metanode testnet up`: a network, running and connected.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::Instant;

use super::args::{DirArgs, Transport, duration, profile};
use super::probe::Probe;
use super::record::{Plan, Record};
use super::start::Started;
use super::verdict::Goal;
use super::{home, ports, print, process, wait};
use crate::config::Profile;
use crate::types::NetworkName;

const NODES: u16 = 5;
const NETWORK: &str = "testnet";

const EXAMPLES: &str = "\
Examples:
  metanode testnet up                        five nodes in ./testnet-data
  metanode testnet up -n 3 --dir /tmp/t      three nodes elsewhere
  metanode testnet up --transport quic       QUIC in the place of TCP
  metanode testnet up -n 4                   four validators that agree on blocks
  metanode testnet up --no-chain             messages only, no chain
  metanode testnet up --json | jq -r '.nodes[0].api'

Run again, it starts what is stopped and keeps the data. METANODE_LOG=debug makes the nodes talkative.";

/// Start a network, or what is stopped of one, and wait until all nodes are connected.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// How many nodes [default: 5, or as many as there are].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    nodes: Option<u16>,
    #[command(flatten)]
    place: DirArgs,
    /// The network's name: 1 to 32 of a-z, 0-9 and - [default: testnet].
    #[arg(long, value_name = "NAME")]
    network: Option<NetworkName>,
    /// How long all of it may take.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Gossip settings: small or open [default: small].
    #[arg(long, value_parser = profile)]
    profile: Option<Profile>,
    /// What the nodes speak over [default: tcp].
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    /// Begin no chain. Otherwise the first 16 nodes are its validators, and every node has an account with something
    /// to spend.
    #[arg(long)]
    no_chain: bool,
    /// On failure, leave running what was started.
    #[arg(long)]
    keep: bool,
}

/// How long it took, seconds from the start of the command.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    listening: f64,
    connected: f64,
    converged: f64,
}

impl UpArgs {
    /// Does what was asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let dir = std::path::absolute(&self.place.dir)?;
        let mut record = match Record::find(&dir)? {
            Some(record) => self.agrees(record)?,
            None => self.create(&dir)?,
        };
        let stopped: Vec<usize> = (0..record.nodes.len())
            .filter(|n| record.nodes.get(*n).is_some_and(|n| process::running(n).is_none()))
            .collect();
        if stopped.is_empty() {
            eprintln!("all {} nodes of {} are running already", record.nodes.len(), dir.display());
        }
        let mut started = Started::default();
        let outcome = tokio::select! {
            outcome = self.bring_up(&dir, &mut record, &mut started, &stopped) => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        };
        match outcome {
            Ok(times) => self.report(&record, &started.names(&record), times),
            Err(e) if self.keep => Err(e.context("the network is not up; what was started is left running")),
            Err(e) => {
                started.undo(&mut record, &dir);
                Err(e.context("the network is not up; what was started is stopped again, --keep leaves it running"))
            }
        }
    }

    /// The network on record, unless the flags ask for another.
    fn agrees(&self, record: Record) -> anyhow::Result<Record> {
        let differs = |flag: &str, there: String| {
            bail!(
                "the network in {0} has {there}, {flag} asks for another; `metanode testnet join --dir {0}` adds a \
                 node, `metanode testnet down --purge --dir {0}` removes all",
                self.place.dir.display()
            )
        };
        let plan = &record.plan;
        match self {
            UpArgs { nodes: Some(n), .. } if usize::from(*n) != record.nodes.len() => {
                differs("-n", format!("{} nodes", record.nodes.len()))
            }
            UpArgs { network: Some(name), .. } if name.as_str() != plan.network => {
                differs("--network", format!("the name {}", plan.network))
            }
            UpArgs { profile: Some(profile), .. } if *profile != plan.profile => {
                differs("--profile", "another profile".into())
            }
            UpArgs { transport: Some(transport), .. } if *transport != plan.transport => {
                differs("--transport", "another transport".into())
            }
            UpArgs { no_chain: true, .. } if plan.chain => differs("--no-chain", "a chain".into()),
            UpArgs { .. } => Ok(record),
        }
    }

    /// Makes the nodes' directories; node-0 is the bootstrap of the others.
    fn create(&self, dir: &Path) -> anyhow::Result<Record> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}; choose another --dir", dir.display()))?;
        let plan = Plan {
            network: self.network.as_ref().map_or(NETWORK, NetworkName::as_str).into(),
            profile: self.profile.unwrap_or_default(),
            transport: self.transport.unwrap_or_default(),
            chain: !self.no_chain,
        };
        let mut record = Record { plan, nodes: Vec::new() };
        for (n, ports) in ports::pick(self.nodes.unwrap_or(NODES).into())?.into_iter().enumerate() {
            let bootstrap = record.nodes.first().map(|node| node.p2p.clone()).unwrap_or_default();
            let node = home::create(dir, &format!("node-{n}"), &record.plan, ports, &bootstrap)?;
            record.nodes.push(node);
        }
        if !self.no_chain {
            home::begin_chain(dir, &record.plan, &record.nodes)?;
        }
        record.write(dir)?;
        Ok(record)
    }

    /// Starts the stopped ones and waits until all are connected and hold the same.
    async fn bring_up(
        &self,
        dir: &Path,
        record: &mut Record,
        started: &mut Started,
        stopped: &[usize],
    ) -> anyhow::Result<Times> {
        let begun = Instant::now();
        let deadline = begun + self.timeout;
        let bar = print::bar(record.nodes.len() as u64 * 3);
        // The first is the others' bootstrap: once it listens, nobody dials in vain.
        for (n, place) in stopped.iter().enumerate() {
            started.spawn(*place, record, dir)?;
            if n == 0 {
                started.ready(record, dir, deadline, |_| {}).await?;
            }
        }
        bar.set_message("starting");
        started.ready(record, dir, deadline, |count| bar.set_position(count as u64)).await?;
        let listening = begun.elapsed().as_secs_f64();
        let times = connect(record, started, begun, deadline, &bar).await;
        bar.finish_and_clear();
        Ok(Times { listening, ..times? })
    }

    fn report(&self, record: &Record, started: &[String], times: Times) -> anyhow::Result<()> {
        let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        if self.place.json {
            let mut answer = serde_json::to_value(record)?;
            answer["started"] = json!(started);
            answer["listening_s"] = json!(round(times.listening));
            answer["connected_s"] = json!(round(times.connected));
            answer["converged_s"] = json!(round(times.converged));
            return print::json(&answer);
        }
        print::nodes(&record.nodes)?;
        print::line(&format!(
            "{} nodes of the network {}: listening after {:.1} s, connected after {:.1} s, the same held after {:.1} s",
            record.nodes.len(),
            record.plan.network,
            times.listening,
            times.connected,
            times.converged
        ))
    }
}

/// Waits until all nodes are connected and hold the same, or one of them falls.
async fn connect(
    record: &Record,
    started: &mut Started,
    begun: Instant,
    deadline: Instant,
    bar: &ProgressBar,
) -> anyhow::Result<Times> {
    let probe = Probe::new()?;
    let count = record.nodes.len();
    let peers = home::peers_wanted(count, record.plan.profile);
    let mut times = Times::default();
    for (n, goal) in
        [Goal { peers: Some(peers), ..Goal::default() }, Goal { peers: Some(peers), converged: true, messages: 0 }]
            .into_iter()
            .enumerate()
    {
        bar.set_message(if n == 0 { "connecting" } else { "comparing what they hold" });
        bar.set_position((count * (n + 1)) as u64);
        let seen = wait::until(&probe, &record.nodes, goal, deadline, || fallen(started, record)).await?;
        if !seen.missing.is_empty() {
            bail!("after {:.1} s:\n  {}", begun.elapsed().as_secs_f64(), seen.missing.join("\n  "));
        }
        let seconds = begun.elapsed().as_secs_f64();
        if n == 0 { times.connected = seconds } else { times.converged = seconds }
    }
    Ok(times)
}

fn fallen(started: &mut Started, record: &Record) -> anyhow::Result<()> {
    match started.fallen(record) {
        Some((node, status)) => bail!("{} ended ({status}){}", node.name, process::last_words(node)),
        None => Ok(()),
    }
}
