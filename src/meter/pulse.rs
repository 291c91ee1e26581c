//! Rates: how counts have changed over the last seconds, and the most they ever did.

use std::collections::VecDeque;
use std::time::Duration;

use super::histogram::Histogram;
use crate::types::Mono;
use crate::wire::Priority;

/// Rates are of this long, or of as long as there are readings.
const WINDOW: Duration = Duration::from_secs(10);
/// Readings kept at most; they come once a second.
const READINGS: usize = 64;

/// A lane as it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneReading {
    /// Messages that wait, in memory and on the disk.
    pub waiting_messages: u64,
    /// How long the oldest has waited, milliseconds.
    pub oldest_ms: f64,
    /// How full it is, percent.
    pub full_percent: f64,
    /// Messages that found it full, since the start.
    pub overflowed_messages: u64,
}

/// What counters and gauges say at one time. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// When.
    pub at: Mono,
    /// Messages and bytes routed.
    pub messages: u64,
    pub bytes: u64,
    /// Messages refused at any stage.
    pub refused: u64,
    /// Age on arrival.
    pub ages: Histogram,
    /// Lanes, most urgent first.
    pub lanes: [LaneReading; Priority::ALL.len()],
    /// Messages handed to workers or sent to their readers, and those handed or sent again.
    pub handed: u64,
    pub retried: u64,
    /// Dead letters that are kept.
    pub dead_letters: u64,
    /// Durable subscriptions whose sink is down.
    pub sinks_down: u64,
    /// Connected peers.
    pub peers: u64,
    /// Bytes that came and went on connections, all of them.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes of peers refused, forks proven.
    pub security_events: u64,
    /// Feeds with something missing.
    pub feeds_wanted: u64,
    /// The peers' median clock less this node's.
    pub clock_offset_ms: Option<i64>,
    /// Size on the disk, and in RAM.
    pub disk_bytes: u64,
    pub resident_bytes: Option<u64>,
}

/// Age on arrival over the window, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct Latency {
    pub mean: f64,
    pub p95: f64,
    pub p99: f64,
}

/// How the node is doing: rates over the last ten seconds, and what is so now.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct Rates {
    /// Messages and bytes routed a second, of this node and of others.
    pub messages_per_second: f64,
    pub bytes_per_second: f64,
    /// The most of each from one reading to the next since the start.
    pub peak_messages_per_second: f64,
    pub peak_bytes_per_second: f64,
    /// From creation at their authors until they were kept here, of what came live; none when nothing came.
    pub latency_ms: Option<Latency>,
    /// Messages refused at any stage, of a hundred that were routed or refused.
    pub error_percent: f64,
    /// Messages handed out or sent again, of a hundred handed out or sent.
    pub retry_percent: f64,
    /// Messages a second that found their lane full.
    pub overflow_per_second: f64,
    /// Messages that wait to be said, the longest wait, and how full the fullest lane is.
    pub waiting_messages: u64,
    pub oldest_wait_ms: f64,
    pub queue_full_percent: f64,
    /// How long the oldest Critical message has waited.
    pub critical_wait_ms: f64,
    /// Dead letters, sinks that are down.
    pub dead_letters: u64,
    pub sinks_down: u64,
    /// Connections: peers, and bytes a second on the wire, everything included.
    pub peers: u64,
    pub bytes_in_per_second: f64,
    pub bytes_out_per_second: f64,
    /// Refused bytes of peers and proven forks a minute.
    pub security_events_per_minute: f64,
    /// Feeds with something missing.
    pub feeds_wanted: u64,
    /// How far this node's clock is from the median of its peers, milliseconds.
    pub clock_offset_ms: Option<u64>,
    /// Size on the disk, and in RAM.
    pub disk_bytes: u64,
    pub resident_bytes: Option<u64>,
}

/// Takes readings, tells rates.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    readings: VecDeque<Reading>,
    peak_messages: f64,
    peak_bytes: f64,
}

impl Pulse {
    /// A reading, later than the ones before.
    pub fn read(&mut self, reading: Reading) {
        if let Some(last) = self.readings.back() {
            let seconds = seconds(last, &reading);
            self.peak_messages = self.peak_messages.max(more(last.messages, reading.messages) / seconds);
            self.peak_bytes = self.peak_bytes.max(more(last.bytes, reading.bytes) / seconds);
        }
        self.readings.push_back(reading);
        // The oldest of those kept is where the window begins.
        while self.readings.len() > READINGS || self.has_one_too_old() {
            self.readings.pop_front();
        }
    }

    fn has_one_too_old(&self) -> bool {
        let last = self.readings.back().map_or(Mono(0), |reading| reading.at);
        self.readings.get(1).is_some_and(|second| last - second.at >= WINDOW)
    }

    /// The rates as they are now; all zero before the first reading.
    pub fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else { return Rates::default() };
        let seconds = seconds(first, last);
        let rate = |of: fn(&Reading) -> u64| more(of(first), of(last)) / seconds;
        let delta = |of: fn(&Reading) -> u64| more(of(first), of(last));
        let overflowed = |reading: &Reading| reading.lanes.iter().map(|lane| lane.overflowed_messages).sum();
        let most = |of: fn(&LaneReading) -> f64| last.lanes.iter().map(of).fold(0.0, f64::max);
        Rates {
            messages_per_second: rate(|r| r.messages),
            bytes_per_second: rate(|r| r.bytes),
            peak_messages_per_second: self.peak_messages,
            peak_bytes_per_second: self.peak_bytes,
            latency_ms: latency(&last.ages.since(&first.ages)),
            error_percent: percent(delta(|r| r.refused), delta(|r| r.refused) + delta(|r| r.messages)),
            retry_percent: percent(delta(|r| r.retried), delta(|r| r.handed)),
            overflow_per_second: rate(overflowed),
            waiting_messages: last.lanes.iter().map(|lane| lane.waiting_messages).sum(),
            oldest_wait_ms: most(|lane| lane.oldest_ms),
            queue_full_percent: most(|lane| lane.full_percent),
            critical_wait_ms: last.lanes.first().map_or(0.0, |lane| lane.oldest_ms),
            dead_letters: last.dead_letters,
            sinks_down: last.sinks_down,
            peers: last.peers,
            bytes_in_per_second: rate(|r| r.bytes_in),
            bytes_out_per_second: rate(|r| r.bytes_out),
            security_events_per_minute: 60.0 * rate(|r| r.security_events),
            feeds_wanted: last.feeds_wanted,
            clock_offset_ms: last.clock_offset_ms.map(i64::unsigned_abs),
            disk_bytes: last.disk_bytes,
            resident_bytes: last.resident_bytes,
        }
    }
}

fn latency(ages: &Histogram) -> Option<Latency> {
    let ms = |us: f64| us / 1e3;
    Some(Latency { mean: ms(ages.mean_us()?), p95: ms(ages.quantile_us(0.95)?), p99: ms(ages.quantile_us(0.99)?) })
}

fn seconds(earlier: &Reading, later: &Reading) -> f64 {
    (later.at - earlier.at).as_secs_f64().max(0.001)
}

fn more(earlier: u64, later: u64) -> f64 {
    later.saturating_sub(earlier) as f64
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}
