//! Two nodes, one of them saturated with Bulk, or given so much of it a second, and what is more urgent beside it.
//!
//! Probes of every priority but Bulk are said one by one at a steady pace while Bulk is said. A probe's time is from the
//! call until a reader at the other node has it in hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::pair::{self, Supply};
use super::report::{Latency, Report, Spent, Traffic, resident_bytes};
use super::rig::{self, BenchNode};
use super::{BenchArgs, limit};
use crate::driver::Watch;
use crate::feed::{Room, page};
use crate::node::Ack;
use crate::store::Store;
use crate::types::{MessageId, WallMs};
use crate::wire::kind::security::{SecurityAlert, Severity};
use crate::wire::kind::system::{CapacityUpdate, Resources};
use crate::wire::{Draft, Filter, Kind, Payload, Priority};

/// The time from one probe of a priority to the next.
const PACE: Duration = Duration::from_millis(5);
/// The reader looks at least this often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Entries read at once.
const PAGE: usize = 256;

/// When each probe was said, and at which priority.
type Said = BTreeMap<MessageId, (Priority, Instant)>;

/// Measures, in a folder that is not there yet.
pub async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Report> {
    let (one, two) = rig::pair(folder).await?;
    let limits = limit::measure(args.size as usize);
    let bar = pair::progress(args.messages);
    let over = Arc::new(AtomicBool::new(false));
    let (cpu, start) = (rig::cpu_seconds(), Instant::now());
    let arrivals = tokio::spawn(pair::watch_arrivals(two.watch.clone(), args.messages, start, bar.clone()));
    let (watch, store, end) = (two.watch.clone(), two.store.clone(), over.clone());
    let reader = tokio::task::spawn_blocking(move || read(watch, &store, &end));
    let bulk = async {
        let said = pair::publish(&one, Supply::new(args, Priority::Bulk), args.ledger.rate, start).await;
        over.store(true, Ordering::Relaxed);
        said
    };
    let urgent = async { tokio::try_join!(probe(&one, Priority::Critical, &over), probe(&one, Priority::High, &over)) };
    let other = async { tokio::try_join!(probe(&one, Priority::Normal, &over), probe(&one, Priority::Low, &over)) };
    let (bulk, urgent, other) = tokio::join!(bulk, urgent, other);
    let arrivals = arrivals.await??;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = rig::cpu_seconds() - cpu;
    bar.finish_and_clear();
    let heard = reader.await??;
    let ((critical, high), (normal, low)) = (urgent?, other?);
    let said: Said = [critical, high, normal, low].into_iter().flatten().collect();
    let status = two.status().await?;
    let resident_bytes = resident_bytes();
    one.stop().await?;
    two.stop().await?;
    let spent = Spent { seconds, cpu_seconds };
    Ok(Report {
        latency_ms: Latency::of(pair::latencies(&bulk?, &arrivals)),
        by_priority: by_priority(&said, &heard),
        resident_bytes,
        traffic: Traffic::of(&status.counters),
        ..Report::new("mixed", 2, args, limits, spent)
    })
}

/// Says probes until it is over.
async fn probe(node: &BenchNode, priority: Priority, over: &AtomicBool) -> anyhow::Result<Said> {
    let mut said = Said::new();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !over.load(Ordering::Relaxed) {
        pace.tick().await;
        let at = Instant::now();
        for id in node.say(vec![draft(priority)], Ack::Accepted).await? {
            said.insert(id, (priority, at));
        }
    }
    Ok(said)
}

/// Something of a rank: an alert says its own, and what is left at Normal is ranked by its category.
fn draft(priority: Priority) -> Draft {
    if priority == Priority::Normal {
        let some = Resources { cpu_millicores: 1, memory_bytes: 1, ..Resources::default() };
        return Draft::new(&Payload::CapacityUpdate(CapacityUpdate {
            total: some,
            used: some,
            queued_messages: 0,
            messages_per_s: 1,
            measured_ms: WallMs(1_700_000_000_000),
        }));
    }
    let mut draft = Draft::new(&Payload::SecurityAlert(SecurityAlert {
        rule: "probe".into(),
        severity: Severity::Info,
        subject: None,
        description: "said by metanode bench mixed".into(),
        evidence: Vec::new(),
        detected_ms: WallMs(1_700_000_000_000),
    }));
    draft.priority = priority;
    draft
}

/// When each probe was in a reader's hand at the other node.
fn read(mut watch: Watch, store: &Store, over: &AtomicBool) -> anyhow::Result<BTreeMap<MessageId, Instant>> {
    let filter = Filter { kinds: [Kind::SecurityAlert, Kind::CapacityUpdate].into(), ..Filter::default() };
    let (mut heard, mut at) = (BTreeMap::new(), 0);
    let runtime = tokio::runtime::Handle::current();
    loop {
        // Asked before the log is looked at: what was said by then is seen.
        let last = over.load(Ordering::Relaxed);
        let grown = async { tokio::time::timeout(LOOK_AGAIN, watch.log_end.changed()).await };
        if let Ok(grown) = runtime.block_on(grown) {
            grown?;
        }
        loop {
            let found = page(at, Room::of(PAGE), &filter, WallMs(0), store);
            let now = Instant::now();
            heard.extend(found.entries.iter().filter_map(|entry| Some((entry.message()?.id, now))));
            if found.next == at {
                break;
            }
            at = found.next;
        }
        if last && *watch.log_end.borrow() == at {
            return Ok(heard);
        }
    }
}

fn by_priority(said: &Said, heard: &BTreeMap<MessageId, Instant>) -> BTreeMap<&'static str, Latency> {
    let mut samples: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (id, (priority, at)) in said {
        if let Some(heard) = heard.get(id) {
            samples.entry(priority.name()).or_default().push(heard.duration_since(*at).as_secs_f64() * 1e3);
        }
    }
    samples.into_iter().map(|(name, samples)| (name, Latency::of(samples))).collect()
}
