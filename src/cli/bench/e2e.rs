//! From a client that publishes at one node to a client that follows another: two node processes, real sockets.
//!
//! The publisher posts payloads in their binary form, the follower reads signed bundles and takes them apart; a message's
//! latency is from its creation by its author's clock until the follower has its bytes in hand, one wall clock for all.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::report::{Latency, Report, Spent, Traffic};
use super::{BenchArgs, limit, pair, rig};
use crate::wire::{Bundle, Message, Seal};

/// Requests of the publisher under way at once.
const REQUESTS: usize = 4;
/// In a record before what says how many messages are refused: size, position, arrival.
const RECORD_HEAD: usize = 4 + 8 + 8;
/// Nothing comes for so long: the run has failed.
const SILENCE: Duration = Duration::from_secs(30);

/// A network of processes, taken down when it is let go.
pub(super) struct Network {
    exe: PathBuf,
    dir: PathBuf,
    pub nodes: Vec<Node>,
}

/// One of its nodes.
pub(super) struct Node {
    pid: u64,
    pub api: String,
}

/// Measures, in a folder that is not there yet.
pub async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Report> {
    let network = Network::up(folder, 2).await?;
    let measured = run(args, &network).await;
    network.down().await?;
    measured
}

async fn run(args: &BenchArgs, network: &Network) -> anyhow::Result<Report> {
    let [one, two] = network.nodes.as_slice() else { bail!("two nodes were asked for") };
    let limits = limit::measure(args.size as usize);
    let http = Client::builder().no_proxy().build()?;
    let bar = pair::progress(args.messages);
    let stream = http.get(format!("{}/v1/bundles?category=External", two.api)).send().await?.error_for_status()?;
    let (cpu, start) = (network.cpu_seconds() + rig::cpu_seconds(), Instant::now());
    let follower = tokio::spawn(follow(stream, args.messages, bar.clone()));
    publish(args, &http, one).await?;
    let latencies = follower.await??;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = network.cpu_seconds() + rig::cpu_seconds() - cpu;
    bar.finish_and_clear();
    let status: Value = http.get(format!("{}/v1/status", two.api)).send().await?.json().await?;
    let spent = Spent { seconds, cpu_seconds };
    Ok(Report {
        latency_ms: Latency::of(latencies),
        resident_bytes: network.resident_bytes(),
        traffic: Traffic::read(&status),
        ..Report::new("e2e", 2, args, limits, spent)
    })
}

/// Fills a node, then measures how fast a client reads all of it again; in a folder that is not there yet.
pub async fn replay(args: &BenchArgs, folder: &Path) -> anyhow::Result<Report> {
    let network = Network::up(folder, 1).await?;
    let measured = read_again(args, &network).await;
    network.down().await?;
    measured
}

async fn read_again(args: &BenchArgs, network: &Network) -> anyhow::Result<Report> {
    let Some(node) = network.nodes.first() else { bail!("one node was asked for") };
    let limits = limit::measure(args.size as usize);
    let http = Client::builder().no_proxy().build()?;
    publish(args, &http, node).await?;
    let bar = pair::progress(args.messages);
    let (cpu, start) = (network.cpu_seconds() + rig::cpu_seconds(), Instant::now());
    let url = format!("{}/v1/bundles?category=External&from=start", node.api);
    let stream = http.get(url).send().await?.error_for_status()?;
    follow(stream, args.messages, bar.clone()).await?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = network.cpu_seconds() + rig::cpu_seconds() - cpu;
    bar.finish_and_clear();
    let status: Value = http.get(format!("{}/v1/status", node.api)).send().await?.json().await?;
    let spent = Spent { seconds, cpu_seconds };
    Ok(Report {
        // How old a message is says nothing of a replay: no latency.
        resident_bytes: network.resident_bytes(),
        traffic: Traffic::read(&status),
        ..Report::new("replay", 1, args, limits, spent)
    })
}

/// Posts all messages, a few requests at once, each answered when its messages are on the disk.
async fn publish(args: &BenchArgs, http: &Client, node: &Node) -> anyhow::Result<()> {
    let seal = if args.seal == Seal::Each { "&seal=each" } else { "" };
    let url = format!("{}/v1/messages?kind=External/Custom&ack=durable&ids=false{seal}", node.api);
    let mut requests = JoinSet::new();
    let mut left = args.messages;
    let whole = pair::payloads(args, args.batch);
    while left > 0 {
        if requests.len() == REQUESTS
            && let Some(done) = requests.join_next().await
        {
            done??;
        }
        let count = args.batch.min(left);
        left -= count;
        let body = if count == args.batch { whole.clone() } else { pair::payloads(args, count) };
        let request = http.post(&url).header("content-type", "application/x-metanode-payloads").body(body);
        requests.spawn(async move {
            loop {
                let again = request.try_clone().context("a body in memory is sent again")?;
                let response = again.send().await?;
                // The node pushes back; whoever publishes waits with it.
                if response.status().as_u16() == 503 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                return anyhow::Ok(response.error_for_status().map(drop)?);
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done??;
    }
    Ok(())
}

/// Reads bundles until so many messages have come; how long each took, milliseconds.
async fn follow(mut stream: Response, messages: u64, bar: indicatif::ProgressBar) -> anyhow::Result<Vec<f64>> {
    let (mut buffer, mut latencies) = (BytesMut::new(), Vec::with_capacity(messages as usize));
    while (latencies.len() as u64) < messages {
        let chunk = tokio::time::timeout(SILENCE, stream.chunk()).await;
        let chunk = chunk.with_context(|| format!("nothing came for {SILENCE:?}"))??;
        buffer.extend_from_slice(&chunk.context("the stream ended early")?);
        while let Some(record) = take_record(&mut buffer) {
            let bundle = Bundle::decode(record)?;
            let body = bundle.unpack()?;
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
            for bytes in bundle.divide(&body) {
                let created = Message::decode(&bytes)?.id.stamp().ms();
                latencies.push((now_ms - created as f64).max(0.0));
            }
        }
        bar.set_position(latencies.len() as u64);
    }
    Ok(latencies)
}

/// The bundle of the next record, once all of it is there.
fn take_record(buffer: &mut BytesMut) -> Option<Bytes> {
    let size = u32::from_le_bytes(*buffer.first_chunk::<4>()?) as usize + 4;
    if buffer.len() < size {
        return None;
    }
    let mut record = buffer.split_to(size).freeze();
    record.advance(RECORD_HEAD);
    let refused = usize::from(record.get_u16_le());
    record.advance(4 * refused);
    Some(record)
}

impl Network {
    pub async fn up(dir: &Path, nodes: u32) -> anyhow::Result<Network> {
        let exe = std::env::current_exe().context("cannot find this program")?;
        let count = nodes.to_string();
        let answer = testnet(&exe, dir, &["up", "-n", &count, "--network", "bench", "--json"]).await?;
        let answer: Value = serde_json::from_str(&answer).context("`testnet up` answered something else")?;
        let nodes = answer["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|node| Some(Node { pid: node["pid"].as_u64()?, api: node["api"].as_str()?.to_string() }));
        Ok(Network { exe, dir: dir.into(), nodes: nodes.collect() })
    }

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
