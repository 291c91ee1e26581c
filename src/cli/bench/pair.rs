//! Two nodes on loopback, one says, the other holds: everything between them is the real thing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use ed25519_dalek::SigningKey;
use indicatif::{ProgressBar, ProgressStyle};

use super::report::{Latency, Report, machine};
use super::{BenchArgs, limit};
use crate::config::NetConfig;
use crate::driver::{self, Client, Driver, Ended, Watch};
use crate::net::{Net, split_bootstrap};
use crate::node::{Ack, Answer, Call, Setup, Status};
use crate::store::{Store, StoreOptions};
use crate::types::NetworkName;
use crate::wire::kind::Blob;
use crate::wire::kind::external::Custom;
use crate::wire::{Draft, Payload};

/// Calls of the publisher under way at once.
const CALLS: usize = 4;
/// The nodes meet within this.
const MEET_WITHIN: Duration = Duration::from_secs(20);

struct BenchNode {
    address: String,
    client: Client,
    watch: Watch,
    store: Arc<Store>,
    thread: std::thread::JoinHandle<Ended>,
}

impl BenchNode {
    async fn start(folder: &std::path::Path, seed: u8, bootstrap: Option<&str>) -> anyhow::Result<BenchNode> {
        let options =
            StoreOptions { path: folder.join(format!("node-{seed}")), cache_bytes: 64 << 20, flush_every_ms: 200 };
        let store = Arc::new(Store::open(&options)?);
        let (ports, inlet, commands, client, watch) = driver::ports();
        let network: NetworkName = "bench".parse()?;
        let config = NetConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], ..NetConfig::default() };
        let (net, listening) = Net::listen(&config, network.clone(), &[seed; 32], inlet, commands).await?;
        let setup = Setup {
            network,
            key: SigningKey::from_bytes(&[seed; 32]),
            entropy: u64::from(seed),
            place: store.place(),
            bootstrap: bootstrap.map(split_bootstrap).transpose()?.into_iter().collect(),
            target_peers: 4,
            scheduler: Default::default(),
            retention: Default::default(),
            registration: None,
        };
        let thread = Driver::start(setup, store.clone(), ports)?;
        tokio::spawn(net.run());
        let address = listening.into_iter().next().context("the node listens nowhere")?;
        Ok(BenchNode { address, client, watch, store, thread })
    }

    async fn status(&self) -> anyhow::Result<Status> {
        match self.client.call(Call::Status).await? {
            Answer::Status(status) => Ok(*status),
            Answer::Published { .. } | Answer::Peers(_) | Answer::Queues(_) | Answer::Done => {
                Err(anyhow!("not a status"))
            }
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.client.call(Call::Stop).await?;
        let end = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        end.map_err(|_| anyhow!("a node panicked"))?.map_err(|fault| anyhow!(fault))
    }
}

/// Runs the workload in a folder of its own, which is gone afterwards.
pub async fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let folder = std::env::temp_dir().join(format!("metanode-bench-{}", std::process::id()));
    let report = measure(args, &folder).await;
    let _ = std::fs::remove_dir_all(&folder);
    report
}

async fn measure(args: &BenchArgs, folder: &std::path::Path) -> anyhow::Result<Report> {
    let one = BenchNode::start(folder, 1, None).await?;
    let two = BenchNode::start(folder, 2, Some(&one.address)).await?;
    meet(&one).await?;
    let limits = limit::measure(args.size as usize);
    let batches = Supply::new(args);
    let bar = progress(args.messages);
    let cpu = cpu_seconds();
    let start = Instant::now();
    let arrivals = tokio::spawn(watch_arrivals(two.watch.clone(), args.messages, start, bar.clone()));
    let said = publish(&one, batches, start).await?;
    let arrivals = arrivals.await??;
    // What the other node holds must be on its disk, too.
    let store = two.store.clone();
    tokio::task::spawn_blocking(move || store.flush()).await??;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = self::cpu_seconds() - cpu;
    bar.finish_and_clear();
    let status = two.status().await?;
    let resident_bytes = memory_stats::memory_stats().map_or(0, |m| m.physical_mem);
    one.stop().await?;
    two.stop().await?;
    Ok(Report {
        workload: "pair",
        nodes: 2,
        size_bytes: args.size,
        seal: args.seal.to_string(),
        messages: args.messages,
        seconds,
        messages_per_second: args.messages as f64 / seconds,
        megabytes_per_second: args.messages as f64 * f64::from(args.size) / seconds / 1e6,
        latency_ms: Latency::of(latencies(&said, &arrivals)),
        by_priority: Default::default(),
        cpu_seconds,
        resident_bytes,
        wire_bytes: status.counters.kept_bytes,
        repaired_bundles: status.counters.repaired_bundles,
        repairs_asked: status.counters.repairs_asked,
        repairs_failed: status.counters.repairs_failed,
        limits,
        machine: machine(),
    })
}

async fn meet(node: &BenchNode) -> anyhow::Result<()> {
    let meeting = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            if node.status().await?.peers > 0 {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(MEET_WITHIN, meeting).await.context("the nodes did not meet")?
}

/// Payloads that do not compress, a few hundred different ones, over and over.
struct Supply {
    drafts: Vec<Draft>,
    left: u64,
    batch: u64,
}

impl Supply {
    fn new(args: &BenchArgs) -> Supply {
        Supply { drafts: (0..512).map(|n| draft(args, n)).collect(), left: args.messages, batch: args.batch }
    }
}

impl Iterator for Supply {
    type Item = Vec<Draft>;

    fn next(&mut self) -> Option<Vec<Draft>> {
        let size = self.batch.min(self.left);
        self.left -= size;
        (size > 0).then(|| self.drafts.iter().cycle().take(size as usize).cloned().collect())
    }
}

fn draft(args: &BenchArgs, n: u64) -> Draft {
    let mut body = vec![0; args.size as usize];
    let mut noise = blake3::Hasher::new();
    noise.update(&n.to_le_bytes()).finalize_xof().fill(&mut body);
    let mut draft = Draft::new(&Payload::Custom(Custom {
        type_name: "bench".into(),
        schema_version: 1,
        content_type: "application/octet-stream".into(),
        body: Blob(body),
    }));
    draft.seal = args.seal;
    draft
}

/// Says all batches, a few calls at once; returns when each was handed over and how many were said by then.
async fn publish(node: &BenchNode, batches: Supply, start: Instant) -> anyhow::Result<Vec<(u64, f64)>> {
    let mut said = Vec::new();
    let mut calls = tokio::task::JoinSet::new();
    let mut total = 0;
    for drafts in batches {
        if calls.len() == CALLS
            && let Some(done) = calls.join_next().await
        {
            done??;
        }
        total += drafts.len() as u64;
        said.push((total, start.elapsed().as_secs_f64() * 1e3));
        let client = node.client.clone();
        calls.spawn(async move { client.call(Call::Publish { drafts, ack: Ack::Durable }).await });
    }
    while let Some(done) = calls.join_next().await {
        done??;
    }
    Ok(said)
}

async fn watch_arrivals(
    mut watch: Watch,
    messages: u64,
    start: Instant,
    bar: ProgressBar,
) -> anyhow::Result<Vec<(u64, f64)>> {
    let mut arrivals = Vec::new();
    loop {
        let end = *watch.log_end.borrow_and_update();
        arrivals.push((end, start.elapsed().as_secs_f64() * 1e3));
        bar.set_position(end);
        if end >= messages {
            return Ok(arrivals);
        }
        watch.log_end.changed().await?;
    }
}

/// How long the last message of each batch was under way.
fn latencies(said: &[(u64, f64)], arrivals: &[(u64, f64)]) -> Vec<f64> {
    let arrival = |count: u64| arrivals.iter().find(|(end, _)| *end >= count).map(|(_, at)| *at);
    said.iter().filter_map(|(count, at)| Some(arrival(*count)? - at)).collect()
}

fn progress(messages: u64) -> ProgressBar {
    let bar = ProgressBar::new(messages);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15 after the name in parentheses, in ticks of a hundredth (proc(5)).
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
