//! What bundling and packing save of real payloads: the same messages between two nodes, four times in one run.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;

use super::BenchArgs;
use super::report::{Figures, machine};
use super::rig::{self, BenchNode};
use crate::cli::client::table;
use crate::driver::Watch;
use crate::node::Ack;
use crate::store::Writes;
use crate::types::limits;
use crate::wire::{Draft, Packing, Payload, Seal};

/// Calls of the publisher under way at once, when messages go one by one.
const CALLS: usize = 64;
/// Nothing comes for so long: the run has failed.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes on connections are added up once a second: after the last message this is waited for.
const SETTLE: Duration = Duration::from_millis(2_200);

/// One way of saying everything.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    seal: Seal,
    packing: Packing,
}

const WAYS: [Way; 4] = [
    Way { name: "one by one, unpacked", seal: Seal::Each, packing: Packing::None },
    Way { name: "bundled", seal: Seal::Bundle, packing: Packing::None },
    Way { name: "bundled, lz4", seal: Seal::Bundle, packing: Packing::Lz4 },
    Way { name: "bundled, zstd", seal: Seal::Bundle, packing: Packing::Zstd },
];

/// What a way came to.
#[derive(Serialize)]
struct Run {
    way: &'static str,
    seconds: f64,
    messages_per_second: f64,
    /// Bundles the other node kept, and their bytes as they travel.
    bundles: u64,
    bundle_bytes: u64,
    /// Bytes that came on the other node's connections, everything included.
    wire_bytes: u64,
    /// The other node's disk: batches, rows, bytes of rows, flushes.
    disk_commits: u64,
    disk_rows: u64,
    disk_bytes: u64,
    disk_flushes: u64,
    cpu_seconds: f64,
}

/// The figures of all ways. The JSON form is an interface: `docs/cli.md`.
#[derive(Serialize)]
struct Savings {
    workload: &'static str,
    file: String,
    messages: usize,
    payload_bytes: usize,
    runs: Vec<Run>,
    /// What the last way saves of the first, percent.
    wire_saved_percent: f64,
    disk_rows_saved_percent: f64,
    disk_bytes_saved_percent: f64,
    /// The same, of bundling without packing.
    packing_saved_percent: f64,
    machine: String,
}

/// Measures, prints, writes.
pub async fn run(args: &BenchArgs, file: &Path) -> anyhow::Result<()> {
    let drafts = read(args, file)?;
    let mut runs = Vec::new();
    for (n, way) in WAYS.into_iter().enumerate() {
        let folder = std::env::temp_dir().join(format!("metanode-bench-{}-{n}", std::process::id()));
        let measured = measure(way, &drafts, &folder).await;
        let _ = std::fs::remove_dir_all(&folder);
        runs.push(measured?);
    }
    savings(file, &drafts, runs)?.hand_over(args.out.as_deref(), args.json)
}

fn read(args: &BenchArgs, file: &Path) -> anyhow::Result<Vec<Draft>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let draft = |(n, line): (usize, &str)| match Payload::from_json_str(args.kind, line) {
        Ok(payload) => Ok(Draft::new(&payload)),
        Err(faults) => bail!("{}:{}: {faults}", file.display(), n + 1),
    };
    let drafts: Vec<Draft> = lines.take(args.messages as usize).map(draft).collect::<anyhow::Result<_>>()?;
    if drafts.is_empty() { bail!("{} has no line; give a file of JSON payloads", file.display()) } else { Ok(drafts) }
}

async fn measure(way: Way, drafts: &[Draft], folder: &Path) -> anyhow::Result<Run> {
    let (one, two) = rig::pair_packing(folder, way.packing).await?;
    let (before, wire_before) = (two.store.writes(), two.watch.traffic.both().0);
    let (cpu, start) = (rig::cpu_seconds(), Instant::now());
    let arrived = tokio::spawn(wait_for(two.watch.clone(), drafts.len() as u64));
    say(&one, drafts, way.seal).await?;
    arrived.await??;
    let store = two.store.clone();
    tokio::task::spawn_blocking(move || store.flush()).await??;
    let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), rig::cpu_seconds() - cpu);
    tokio::time::sleep(SETTLE).await;
    let (after, wire_after) = (two.store.writes(), two.watch.traffic.both().0);
    let counters = two.status().await?.counters;
    one.stop().await?;
    two.stop().await?;
    let more = |of: fn(&Writes) -> u64| of(&after) - of(&before);
    Ok(Run {
        way: way.name,
        seconds,
        messages_per_second: drafts.len() as f64 / seconds,
        bundles: counters.kept_bundles,
        bundle_bytes: counters.kept_bytes,
        wire_bytes: wire_after - wire_before,
        disk_commits: more(|w| w.commits),
        disk_rows: more(|w| w.rows),
        disk_bytes: more(|w| w.bytes),
        disk_flushes: more(|w| w.flushes),
        cpu_seconds,
    })
}

/// Says everything: in calls of as many as one may have, or in a call each.
async fn say(node: &BenchNode, drafts: &[Draft], seal: Seal) -> anyhow::Result<()> {
    let size = if seal == Seal::Each { 1 } else { limits::PUBLISH_BATCH };
    let mut sealed = drafts.to_vec();
    sealed.iter_mut().for_each(|draft| draft.seal = seal);
    let calls = sealed.chunks(size).map(|chunk| node.say(chunk.to_vec(), Ack::Written));
    let mut answers = futures::StreamExt::buffered(futures::stream::iter(calls), CALLS);
    while let Some(answer) = futures::StreamExt::next(&mut answers).await {
        answer?;
    }
    Ok(())
}

async fn wait_for(mut watch: Watch, messages: u64) -> anyhow::Result<()> {
    while *watch.log_end.borrow_and_update() < messages {
        let changed = tokio::time::timeout(SILENCE, watch.log_end.changed()).await;
        changed.with_context(|| format!("nothing came for {SILENCE:?}"))??;
    }
    Ok(())
}

fn savings(file: &Path, drafts: &[Draft], runs: Vec<Run>) -> anyhow::Result<Savings> {
    let ([first, bundled, ..], Some(last)) = (runs.as_slice(), runs.last()) else { bail!("there are four ways") };
    let saved = |of: fn(&Run) -> u64, whole: &Run| 100.0 * (1.0 - of(last) as f64 / of(whole).max(1) as f64);
    Ok(Savings {
        workload: "trades",
        file: file.display().to_string(),
        messages: drafts.len(),
        payload_bytes: drafts.iter().map(|draft| draft.payload().len()).sum(),
        wire_saved_percent: saved(|run| run.wire_bytes, first),
        disk_rows_saved_percent: saved(|run| run.disk_rows, first),
        disk_bytes_saved_percent: saved(|run| run.disk_bytes, first),
        packing_saved_percent: saved(|run| run.bundle_bytes, bundled),
        machine: machine(),
        runs,
    })
}

impl Figures for Savings {
    fn told(&self) -> String {
        let row = |run: &Run| {
            vec![
                run.way.to_string(),
                format!("{:.0}", run.messages_per_second),
                run.bundles.to_string(),
                run.bundle_bytes.to_string(),
                run.wire_bytes.to_string(),
                run.disk_rows.to_string(),
                run.disk_bytes.to_string(),
                run.disk_commits.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = self.runs.iter().map(row).collect();
        let head = ["WAY", "MESSAGES/S", "BUNDLES", "BUNDLE BYTES", "WIRE BYTES", "DISK ROWS", "DISK BYTES", "COMMITS"];
        format!(
            "{} messages of {}, {} bytes of payload\n\n{}\n\nsaved by bundling and packing: {:.0} % of the wire, {:.0} % of \
             the rows and {:.0} % of the bytes written\nsaved by packing alone: {:.0} % of the bundles\n{}",
            self.messages,
            self.file,
            self.payload_bytes,
            table(&head, &rows),
            self.wire_saved_percent,
            self.disk_rows_saved_percent,
            self.disk_bytes_saved_percent,
            self.packing_saved_percent,
            self.machine,
        )
    }
}
