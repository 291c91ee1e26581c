//! One node says, all others hold: as fast as the slowest of them.

use std::path::Path;
use std::time::Instant;

use futures::future::try_join_all;

use super::pair::{self, Supply};
use super::report::{Latency, Report, Spent, Traffic, resident_bytes};
use super::{BenchArgs, limit, rig};
use crate::wire::Priority;

/// Measures, in a folder that is not there yet.
pub async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Report> {
    let nodes = rig::many(folder, args.nodes).await?;
    let limits = limit::measure(args.size as usize);
    let bar = pair::progress(args.messages * nodes.len() as u64);
    let (cpu, start) = (rig::cpu_seconds(), Instant::now());
    let watches = nodes.iter().map(|node| {
        let arrivals = pair::watch_arrivals(node.watch.clone(), args.messages, start, pair::hidden());
        let (bar, count) = (bar.clone(), args.messages);
        async move {
            let arrivals = tokio::spawn(arrivals).await??;
            bar.inc(count);
            anyhow::Ok(arrivals)
        }
    });
    let Some(first) = nodes.first() else { anyhow::bail!("a network of no nodes") };
    let publishing = pair::publish(first, Supply::new(args, Priority::Normal), None, start);
    let (said, arrivals) = tokio::try_join!(publishing, try_join_all(watches))?;
    for node in &nodes {
        let store = node.store.clone();
        tokio::task::spawn_blocking(move || store.flush()).await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = rig::cpu_seconds() - cpu;
    bar.finish_and_clear();
    let mut traffic = Traffic::default();
    for node in nodes.iter().skip(1) {
        traffic.add(Traffic::of(&node.status().await?.counters));
    }
    let resident_bytes = resident_bytes();
    let samples = arrivals.iter().skip(1).flat_map(|arrivals| pair::latencies(&said, arrivals)).collect();
    let count = nodes.len() as u32;
    for node in nodes {
        node.stop().await?;
    }
    let spent = Spent { seconds, cpu_seconds };
    Ok(Report {
        latency_ms: Latency::of(samples),
        resident_bytes,
        traffic,
        ..Report::new("fanout", count, args, limits, spent)
    })
}
