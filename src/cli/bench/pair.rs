//! Two nodes, one says, the other holds: as fast as they can.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use indicatif::{ProgressBar, ProgressStyle};

use super::report::{Latency, Report, Spent, Traffic, resident_bytes};
use super::rig::{self, BenchNode};
use super::{BenchArgs, limit};
use crate::driver::Watch;
use crate::node::{Ack, Call};
use crate::wire::kind::Blob;
use crate::wire::kind::external::Custom;
use crate::wire::{Draft, Payload, Priority};

/// Calls of the publisher under way at once.
const CALLS: usize = 4;

/// Measures, in a folder that is not there yet.
pub async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Report> {
    let (one, two) = rig::pair(folder).await?;
    let limits = limit::measure(args.size as usize);
    let batches = Supply::new(args, Priority::Normal);
    let bar = progress(args.messages);
    let cpu = rig::cpu_seconds();
    let start = Instant::now();
    let arrivals = tokio::spawn(watch_arrivals(two.watch.clone(), args.messages, start, bar.clone()));
    let said = publish(&one, batches, None, start).await?;
    let arrivals = arrivals.await??;
    // What the other node holds must be on its disk, too.
    let store = two.store.clone();
    tokio::task::spawn_blocking(move || store.flush()).await??;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = rig::cpu_seconds() - cpu;
    bar.finish_and_clear();
    let status = two.status().await?;
    let resident_bytes = resident_bytes();
    one.stop().await?;
    two.stop().await?;
    let spent = Spent { seconds, cpu_seconds };
    Ok(Report {
        latency_ms: Latency::of(latencies(&said, &arrivals)),
        resident_bytes,
        traffic: Traffic::of(&status.counters),
        ..Report::new("pair", 2, args, limits, spent)
    })
}

/// Payloads that do not compress, a few hundred different ones, over and over.
pub struct Supply {
    drafts: Vec<Draft>,
    left: u64,
    batch: u64,
}

impl Supply {
    /// As many as asked for, in calls as large as asked for.
    pub fn new(args: &BenchArgs, priority: Priority) -> Supply {
        Supply { drafts: (0..512).map(|n| draft(args, priority, n)).collect(), left: args.messages, batch: args.batch }
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

/// So many payloads in their binary form, each with its size in front of it, as the API takes them.
pub fn payloads(args: &BenchArgs, count: u64) -> Bytes {
    let mut body = BytesMut::new();
    for n in 0..count {
        let payload = payload(args, n % 512).encode();
        body.put_u32_le(payload.len() as u32);
        body.extend_from_slice(&payload);
    }
    body.freeze()
}

fn payload(args: &BenchArgs, n: u64) -> Payload {
    let mut body = vec![0; args.size as usize];
    let mut noise = blake3::Hasher::new();
    noise.update(&n.to_le_bytes()).finalize_xof().fill(&mut body);
    Payload::Custom(Custom {
        type_name: "bench".into(),
        schema_version: 1,
        content_type: "application/octet-stream".into(),
        body: Blob(body),
    })
}

fn draft(args: &BenchArgs, priority: Priority, n: u64) -> Draft {
    let mut draft = Draft::new(&payload(args, n));
    draft.seal = args.seal;
    draft.priority = priority;
    draft
}

/// Says all batches, a few calls at once; returns when each was handed over and how many were said by then.
///
/// At most `rate` messages a second, if there is one.
pub async fn publish(
    node: &BenchNode,
    batches: Supply,
    rate: Option<u64>,
    start: Instant,
) -> anyhow::Result<Vec<(u64, f64)>> {
    let mut said = Vec::new();
    let mut calls = tokio::task::JoinSet::new();
    let mut total = 0_u64;
    for drafts in batches {
        if let Some(rate) = rate {
            let due = start + Duration::from_secs_f64(total as f64 / rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
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

/// When the node's log had grown to where, until it has so many messages.
pub async fn watch_arrivals(
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
pub fn latencies(said: &[(u64, f64)], arrivals: &[(u64, f64)]) -> Vec<f64> {
    let arrival = |count: u64| arrivals.iter().find(|(end, _)| *end >= count).map(|(_, at)| *at);
    said.iter().filter_map(|(count, at)| Some(arrival(*count)? - at)).collect()
}

/// No bar.
pub fn hidden() -> ProgressBar {
    ProgressBar::hidden()
}

/// A bar over so many messages.
pub fn progress(messages: u64) -> ProgressBar {
    let bar = ProgressBar::new(messages);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
