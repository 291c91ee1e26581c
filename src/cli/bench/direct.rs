//! Two nodes, one sends the other messages for it alone: kept by both, each with the other's signed receipt.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::pair::{self, Supply};
use super::report::{Latency, Report, Spent, Traffic, resident_bytes};
use super::rig::{self, BenchNode};
use super::{BenchArgs, limit};
use crate::driver::CallError;
use crate::node::{Ack, Answer, Call, CallRefusal};
use crate::types::NodeId;
use crate::wire::{Destination, Draft, Priority};

/// A destination that has no room is tried again after this.
const WHEN_FULL: Duration = Duration::from_millis(2);
/// The receipts are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// No receipt for so long: the run has failed.
const SILENCE: Duration = Duration::from_secs(30);

/// Measures, in a folder that is not there yet.
pub async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Report> {
    let (one, two) = rig::pair(folder).await?;
    let limits = limit::measure(args.size as usize);
    let bar = pair::progress(args.messages);
    let (cpu, start) = (rig::cpu_seconds(), Instant::now());
    let arrivals = tokio::spawn(pair::watch_arrivals(two.watch.clone(), args.messages, start, bar.clone()));
    let said = publish(args, &one, two.id, start).await?;
    let arrivals = arrivals.await??;
    receipts(&one, args.messages).await?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = rig::cpu_seconds() - cpu;
    bar.finish_and_clear();
    let status = two.status().await?;
    let resident_bytes = resident_bytes();
    one.stop().await?;
    two.stop().await?;
    let spent = Spent { seconds, cpu_seconds };
    Ok(Report {
        latency_ms: Latency::of(pair::latencies(&said, &arrivals)),
        resident_bytes,
        traffic: Traffic::of(&status.counters),
        ..Report::new("direct", 2, args, limits, spent)
    })
}

/// Says all batches for one reader, one call after the other, waiting while there is no room.
async fn publish(
    args: &BenchArgs,
    node: &BenchNode,
    reader: NodeId,
    start: Instant,
) -> anyhow::Result<Vec<(u64, f64)>> {
    let (mut said, mut total) = (Vec::new(), 0);
    for mut drafts in Supply::new(args, Priority::Normal) {
        drafts.iter_mut().for_each(|draft| draft.destination = Destination::Node(reader));
        total += drafts.len() as u64;
        said.push((total, start.elapsed().as_secs_f64() * 1e3));
        say(node, drafts).await?;
    }
    Ok(said)
}

async fn say(node: &BenchNode, drafts: Vec<Draft>) -> anyhow::Result<()> {
    loop {
        match node.client.call(Call::Publish { drafts: drafts.clone(), ack: Ack::Written }).await {
            Ok(_) => return Ok(()),
            Err(CallError::Refused(CallRefusal::NoRoom { .. })) => tokio::time::sleep(WHEN_FULL).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the reader has signed for all of them.
async fn receipts(node: &BenchNode, messages: u64) -> anyhow::Result<()> {
    let all = async {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            match node.client.call(Call::Outbox).await? {
                Answer::Outbox(outbox) if outbox.counts.delivered >= messages => return anyhow::Ok(()),
                Answer::Outbox(_) => {}
                other => return Err(anyhow!("the node answered {other:?}")),
            }
        }
    };
    tokio::time::timeout(SILENCE, all).await.with_context(|| format!("no receipt for {SILENCE:?}"))?
}
