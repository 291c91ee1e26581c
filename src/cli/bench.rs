//! `metanode bench`: measures this machine, with real nodes on loopback.

mod beside;
mod direct;
mod e2e;
mod fanout;
mod ledger;
mod limit;
mod mixed;
mod nats;
mod network;
mod pair;
mod positions;
mod report;
mod rig;
mod state;
mod state_rig;
mod trades;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::wire::{Kind, Seal};
use report::Figures;

/// Measure this machine.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  metanode bench pair
  metanode bench pair --seal each --messages 40000
  metanode bench pair --size 1024 --out figures.json
  metanode bench mixed
  metanode bench mixed --rate 130000
  metanode bench e2e
  metanode bench fanout --nodes 4
  metanode bench direct
  metanode bench state --keys 1000000 --differ 10000
  metanode bench replay --messages 1000000
  metanode bench ledger --rate 1000
  metanode bench ledger --per-seal 100 --rate 10000
  metanode bench ledger --empty
  metanode bench positions --moving 1000 --clients 10 --frames 600
  metanode bench trades --file trades.jsonl
  metanode bench beside --nats 127.0.0.1:4222

The figures stand beside limits measured in the same run, because machines differ from one minute to the next.")]
pub struct BenchArgs {
    /// What to measure
    workload: Workload,
    /// Payload of a message, bytes
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    size: u32,
    /// How many messages
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    messages: u64,
    /// One signature over many messages, or one for each: bundle or each
    #[arg(long, value_name = "SEAL", default_value = "bundle")]
    seal: Seal,
    /// Messages in one call to the node
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=4096))]
    batch: u64,
    #[command(flatten)]
    ledger: ledger::LedgerArgs,
    /// Payloads for `trades`: JSON, one a line
    #[arg(long, value_name = "FILE", required_if_eq("workload", "trades"))]
    file: Option<PathBuf>,
    /// The kind of the payloads in the file
    #[arg(long, value_name = "KIND", default_value = "Data/ExchangeData")]
    kind: Kind,
    /// A NATS server to compare with; without it `beside` starts the one on the PATH, if there is one
    #[arg(long, value_name = "IP:PORT")]
    nats: Option<SocketAddr>,
    /// Nodes of `fanout`
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=32))]
    nodes: u8,
    /// Keys of `state`, at both nodes
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    keys: u64,
    /// Keys of `state` that only one of the two nodes has, for each of them
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    differ: u64,
    /// Keys of `state` that differ lie anywhere among the others, not after them
    #[arg(long)]
    scattered: bool,
    /// Nodes of the graph of `positions`, all of them in motion
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=8192))]
    moving: u32,
    /// Clients of `positions`, half of them at the other node
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// Frames of `positions`, 60 in a second
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    frames: u32,
    /// Write the figures to this file (JSON)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Workload {
    /// From one node to another: signed, carried, verified, on disk at both
    Pair,
    /// From a client of one node to a client of another: two processes beside this one, binary forms of the API
    E2e,
    /// As pair, saturated with Bulk, and what is more urgent beside it
    Mixed,
    /// From one node to all others of a network
    Fanout,
    /// From one node to another alone: on disk at both, with signed receipts
    Direct,
    /// Replicated state: merged, kept, repaired between two nodes, read
    State,
    /// Payloads of a file, with and without bundling and packing: bytes on the wire, writes to the disk
    Trades,
    /// As pair and e2e, then bare gossipsub and NATS, without and with a stream in its file, with the same payloads
    Beside,
    /// From the disk of a node process to a client that reads all of it again
    Replay,
    /// Transfers that four validator processes agree on: submitted at one, final at another
    Ledger,
    /// From a client that moves the nodes of a graph 60 times a second to clients of two nodes, over WebSocket
    Positions,
}

impl BenchArgs {
    /// Measures, prints, writes.
    pub async fn run(self) -> anyhow::Result<()> {
        if let Ok(filter) = std::env::var("METANODE_LOG") {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        }
        if let (Workload::Trades, Some(file)) = (self.workload, &self.file) {
            return trades::run(&self, file).await;
        }
        let folder = std::env::temp_dir().join(format!("metanode-bench-{}", std::process::id()));
        if let Workload::Beside = self.workload {
            return beside::run(&self, &folder).await;
        }
        let measured = match self.workload {
            Workload::Ledger => return self.run_ledger(&folder).await,
            Workload::E2e => e2e::measure(&self, &folder).await,
            Workload::Pair => pair::measure(&self, &folder).await,
            Workload::Mixed => mixed::measure(&self, &folder).await,
            Workload::Fanout => fanout::measure(&self, &folder).await,
            Workload::Direct => direct::measure(&self, &folder).await,
            Workload::Replay => e2e::replay(&self, &folder).await,
            Workload::State => return state::run(&self, &folder),
            Workload::Positions => positions::measure(&self, &folder).await,
            Workload::Beside => bail!("`beside` has a report of its own"),
            Workload::Trades => bail!("`trades` needs payloads: give --file F"),
        };
        let _ = std::fs::remove_dir_all(&folder);
        measured?.hand_over(self.out.as_deref(), self.json)
    }
}
