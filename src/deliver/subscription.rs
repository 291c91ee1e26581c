//! One durable subscription.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::Breaker;
use super::dead::Disposition;
use super::retry::delay;
use super::spec::Spec;
use crate::types::{Mono, WallMs, limits};
use crate::wire::Filter;

/// A subscription and where it stands.
#[derive(Debug)]
pub struct Subscription {
    pub(super) spec: Spec,
    filter: Arc<Filter>,
    /// Positions below were looked at.
    pub(super) scanned: u64,
    /// The same, as its row says.
    pub(super) scanned_saved: u64,
    pub(super) open: BTreeMap<u64, Open>,
    ready: BTreeSet<u64>,
    timers: BTreeSet<(Mono, u64)>,
    leased: usize,
    pub(super) breaker: Breaker,
    /// Why it is paused, if it is.
    pub(super) paused: Option<String>,
    pub(super) counts: Counts,
    /// Its row is not what is here.
    pub(super) changed: bool,
    /// Positions whose failures are not as their rows say.
    pub(super) failures_changed: BTreeSet<u64>,
}

/// A message that is not settled.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// How often it was leased.
    pub leases: u32,
    pub state: State,
    pub failure: Failure,
}

/// What becomes of a message now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It can be leased.
    Ready,
    /// Somebody has it, until then.
    Leased(Mono),
    /// It failed, and is ready again then.
    Waiting(Mono),
}

/// How a message failed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Failure {
    /// How often.
    pub times: u32,
    /// The first time and the last.
    pub first_ms: Option<WallMs>,
    pub last_ms: Option<WallMs>,
    /// When and why, the newest last; at most eight.
    pub history: Vec<FailureNote>,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FailureNote {
    /// When, milliseconds since 1970.
    pub at_ms: WallMs,
    /// Why, as whoever failed said it.
    pub reason: String,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Counts {
    /// Messages handed out; those handed out again.
    pub leased: u64,
    pub leased_again: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages that failed; leases that ended without a word.
    pub failed: u64,
    pub timed_out: u64,
    /// Messages that became dead letters.
    pub died: u64,
    /// Answers for messages that nobody has.
    pub unknown: u64,
    /// Messages, of any kind, that were let go before they were looked at.
    pub missed: u64,
}

impl Counts {
    /// Both together.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            leased: self.leased + other.leased,
            leased_again: self.leased_again + other.leased_again,
            acknowledged: self.acknowledged + other.acknowledged,
            failed: self.failed + other.failed,
            timed_out: self.timed_out + other.timed_out,
            died: self.died + other.died,
            unknown: self.unknown + other.unknown,
            missed: self.missed + other.missed,
        }
    }
}

/// One message, handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its place in the log.
    pub position: u64,
    /// How often it was handed out, this time included. Above one it may have been handled before.
    pub attempt: u32,
    /// How often it failed.
    pub failures: u32,
}

/// Where the log is to be read for more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// For what.
    pub filter: Arc<Filter>,
    /// From this position on.
    pub from: u64,
    /// For at most so many messages.
    pub room: usize,
}

/// What somebody found in the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Where reading began, as [`Look`] said, and where it is to go on.
    pub from: u64,
    pub next: u64,
    /// What was found, ascending.
    pub positions: Vec<u64>,
    /// Messages in between, of any kind, that were let go.
    pub missed: u64,
}

/// What a worker gets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leased {
    /// What it has until the lease is over.
    pub leases: Vec<Lease>,
    /// Where there may be more.
    pub look: Option<Look>,
    /// Why nothing is handed out.
    pub paused: Option<String>,
}

/// How a lease ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Ack,
    /// It failed: once more, after the usual delay or this one.
    Nack { reason: String, after: Option<Duration>, sink_down: bool },
    /// It can never be handled: to the dead letters.
    Park { disposition: Disposition, reason: String },
    /// It comes back when the subscription goes on; until then that is paused.
    Stop { reason: String },
    /// It was leased and not handed out: it comes back at once.
    Return,
}

/// What settling came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// As was said.
    Done,
    /// It is to become a dead letter; it stays open until that is written.
    Dies(Disposition),
    /// Nobody has that message: it was settled before, or never handed out.
    Unknown,
}

impl Subscription {
    pub(super) fn new(spec: Spec, scanned: u64) -> Subscription {
        Subscription {
            filter: Arc::new(spec.filter.clone()),
            spec,
            scanned,
            scanned_saved: scanned,
            open: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            leased: 0,
            breaker: Breaker::default(),
            paused: None,
            counts: Counts::default(),
            changed: true,
            failures_changed: BTreeSet::new(),
        }
    }

    /// Opens a position: ready, and handed out so often before.
    pub(super) fn open_at(&mut self, position: u64, leases: u32, failure: Failure) {
        self.open.insert(position, Open { leases, state: State::Ready, failure });
        self.ready.insert(position);
    }

    /// Is to be something else from now on; its filter stays.
    pub(super) fn respec(&mut self, spec: Spec) {
        if self.spec.sink != spec.sink {
            self.breaker = Breaker::default();
        }
        self.spec = Spec { filter: self.spec.filter.clone(), ..spec };
    }

    /// What it is.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Positions below this were looked at.
    pub fn scanned(&self) -> u64 {
        self.scanned
    }

    /// Messages ready, leased and waiting.
    pub fn depths(&self) -> [usize; 3] {
        [self.ready.len(), self.leased, self.open.len() - self.ready.len() - self.leased]
    }

    /// The lowest position that is not settled.
    pub fn floor(&self) -> u64 {
        self.open.first_key_value().map_or(self.scanned, |(position, _)| *position)
    }

    /// The positions that are not settled, ascending.
    pub fn open_positions(&self) -> impl Iterator<Item = u64> {
        self.open.keys().copied()
    }

    /// How one of its messages last failed.
    pub fn last_failure(&self) -> Option<&FailureNote> {
        let notes = self.open.values().filter_map(|open| open.failure.history.last());
        notes.max_by_key(|note| note.at_ms)
    }

    /// Why it is paused.
    pub fn paused(&self) -> Option<&str> {
        self.paused.as_deref()
    }

    /// Its breaker.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes note of what somebody found. Passed over unless it begins where reading stands: another worker was
    /// faster.
    pub fn found(&mut self, found: &Found) {
        if found.from != self.scanned || found.next <= found.from || found.positions.len() > self.room() {
            return;
        }
        for position in found.positions.iter().filter(|position| (found.from..found.next).contains(position)) {
            self.open_at(*position, 0, Failure::default());
            self.changed = true;
        }
        self.scanned = found.next;
        self.counts.missed += found.missed;
        self.changed |= self.scanned - self.scanned_saved >= limits::SCAN_SAVE;
    }

    fn room(&self) -> usize {
        (self.spec.max_open as usize).saturating_sub(self.open.len())
    }

    /// Hands out up to `wanted` messages, the lowest first.
    pub fn lease(&mut self, wanted: usize, now: Mono) -> Leased {
        if self.paused.is_some() {
            return Leased { paused: self.paused.clone(), ..Leased::default() };
        }
        let wanted = self.breaker.allows(wanted, now);
        let ends = now + self.spec.ack_wait();
        let mut leases = Vec::new();
        while leases.len() < wanted
            && let Some(position) = self.ready.pop_first()
        {
            let Some(open) = self.open.get_mut(&position) else { continue };
            (open.leases, open.state) = (open.leases.saturating_add(1), State::Leased(ends));
            self.timers.insert((ends, position));
            self.counts.leased_again += u64::from(open.leases > 1);
            leases.push(Lease { position, attempt: open.leases, failures: open.failure.times });
        }
        if !leases.is_empty() {
            self.breaker.sent();
            self.leased += leases.len();
            self.counts.leased += leases.len() as u64;
            self.changed = true;
        }
        let room = self.room().min(wanted - leases.len());
        let look = (room > 0).then(|| Look { filter: self.filter.clone(), from: self.scanned, room });
        Leased { leases, look, paused: None }
    }

    /// When something is due.
    pub fn next_wake(&self) -> Option<Mono> {
        if self.paused.is_some() {
            return None;
        }
        let timer = self.timers.first().map(|(due, _)| *due);
        let probe = self.breaker.due();
        timer.into_iter().chain(probe).min()
    }

    /// Says how the lease of a message ended.
    pub fn settle(&mut self, position: u64, outcome: &Outcome, now: Mono, wall: WallMs) -> Settlement {
        let leased = self.open.get(&position).is_some_and(|open| matches!(open.state, State::Leased(_)));
        match outcome {
            // Work that is done is done, even when the lease was over and another may have it by now.
            Outcome::Ack if self.open.get(&position).is_some_and(|open| open.leases > 0) => {
                self.close(position);
                self.breaker.worked();
                self.counts.acknowledged += 1;
                Settlement::Done
            }
            Outcome::Nack { reason, after, sink_down } if leased => {
                let was_open = *sink_down && self.breaker.failed(now, position);
                if !sink_down {
                    self.breaker.worked();
                }
                self.fail(position, reason, *after, !was_open, now, wall)
            }
            Outcome::Park { disposition, reason } if leased => {
                match disposition {
                    // The sink never saw it.
                    Disposition::Expired => self.breaker.forgot(),
                    Disposition::MaxAttempts
                    | Disposition::Rejected
                    | Disposition::NoRoute
                    | Disposition::CircuitOpen
                    | Disposition::Schema
                    | Disposition::Overflow => self.breaker.worked(),
                }
                self.note(position, reason, wall);
                Settlement::Dies(*disposition)
            }
            Outcome::Stop { reason } if leased => {
                self.unlease(position);
                self.ready.insert(position);
                self.breaker.forgot();
                self.pause(Some(short(reason)));
                Settlement::Done
            }
            Outcome::Return if leased => {
                self.unlease(position);
                self.ready.insert(position);
                self.breaker.forgot();
                if let Some(open) = self.open.get_mut(&position) {
                    open.leases = open.leases.saturating_sub(1);
                }
                self.changed = true;
                Settlement::Done
            }
            Outcome::Ack | Outcome::Nack { .. } | Outcome::Park { .. } | Outcome::Stop { .. } | Outcome::Return => {
                self.counts.unknown += 1;
                Settlement::Unknown
            }
        }
    }

    /// Pauses it, or lets it go on.
    pub fn pause(&mut self, reason: Option<String>) {
        if reason.is_none() {
            self.breaker = Breaker::default();
        }
        self.paused = reason;
        self.changed = true;
    }

    /// Does what is due: leases that are over count as failures, what has waited is ready. Returns those that die, and
    /// whether anything can be had now that could not before.
    pub fn expire(&mut self, now: Mono, wall: WallMs) -> (Vec<(u64, Disposition)>, bool) {
        let (mut dying, mut more) = (Vec::new(), self.breaker.tick(now));
        while let Some((due, position)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            more = true;
            let Some(open) = self.open.get_mut(&position) else { continue };
            match open.state {
                State::Leased(_) => {
                    self.counts.timed_out += 1;
                    self.breaker.forgot();
                    let reason = format!("no answer within {} ms", self.spec.ack_wait_ms);
                    if let Settlement::Dies(why) = self.fail(position, &reason, None, true, now, wall) {
                        dying.push((position, why));
                    }
                }
                State::Waiting(_) => {
                    open.state = State::Ready;
                    self.ready.insert(position);
                }
                State::Ready => {}
            }
        }
        (dying, more)
    }

    /// A message that was to die could not be written down: it waits, and dies later.
    pub fn put_off(&mut self, position: u64, now: Mono) {
        self.wait(position, now + Duration::from_millis(self.spec.retry_max_ms));
    }

    /// Everything that waits after a failure is ready, and the sink is tried.
    pub(super) fn retry_now(&mut self) {
        self.breaker = Breaker::default();
        let waiting = |(_, open): &(&u64, &Open)| matches!(open.state, State::Waiting(_));
        let waiting: Vec<u64> = self.open.iter().filter(waiting).map(|(position, _)| *position).collect();
        for position in waiting {
            self.unlease(position);
            self.ready.insert(position);
        }
    }

    /// Hands out one message in particular, whatever holds the others back.
    pub(super) fn lease_one(&mut self, position: u64, now: Mono) {
        self.unlease(position);
        self.ready.remove(&position);
        if let Some(open) = self.open.get_mut(&position) {
            let ends = now + self.spec.ack_wait();
            open.state = State::Leased(ends);
            self.timers.insert((ends, position));
            self.leased += 1;
        }
    }

    /// Removes a message: it is settled.
    pub(super) fn close(&mut self, position: u64) {
        self.unlease(position);
        self.ready.remove(&position);
        if self.open.remove(&position).is_some_and(|open| open.failure.times > 0) {
            self.failures_changed.insert(position);
        }
        self.changed = true;
    }

    /// A message that is to die: how often it was handed out, and how it failed.
    pub(super) fn history(&self, position: u64) -> (u32, Failure) {
        self.open.get(&position).map(|open| (open.leases, open.failure.clone())).unwrap_or_default()
    }

    /// How much its breaker lets through, and whether it has room for new messages. When that grows, who waits is to
    /// ask again.
    pub(super) fn gate(&self, now: Mono) -> (usize, bool) {
        (self.breaker.allows(usize::MAX, now), self.room() > 0)
    }

    /// Whether its rows are not what is here.
    pub(super) fn is_changed(&self) -> bool {
        self.changed || !self.failures_changed.is_empty()
    }

    /// How many more can be opened by hand.
    pub(super) fn spare(&self) -> usize {
        limits::SUBSCRIPTION_OPEN.saturating_sub(self.open.len())
    }

    fn fail(
        &mut self,
        position: u64,
        reason: &str,
        after: Option<Duration>,
        counts: bool,
        now: Mono,
        wall: WallMs,
    ) -> Settlement {
        self.counts.failed += 1;
        let times = if counts { self.note(position, reason, wall) } else { self.times(position) };
        if counts && times >= self.spec.max_attempts {
            return Settlement::Dies(Disposition::MaxAttempts);
        }
        let (first, most) = (self.spec.retry_ms, self.spec.retry_max_ms);
        let usual = || delay(Duration::from_millis(first), Duration::from_millis(most), times.max(1), position);
        let wait = after.map_or_else(usual, |after| after.min(Duration::from_millis(most)));
        self.wait(position, now + wait);
        Settlement::Done
    }

    fn wait(&mut self, position: u64, due: Mono) {
        self.unlease(position);
        self.ready.remove(&position);
        if let Some(open) = self.open.get_mut(&position) {
            open.state = State::Waiting(due);
            self.timers.insert((due, position));
        }
    }

    fn unlease(&mut self, position: u64) {
        let Some(open) = self.open.get_mut(&position) else { return };
        match open.state {
            State::Leased(at) => {
                self.leased -= 1;
                self.timers.remove(&(at, position));
            }
            State::Waiting(at) => {
                self.timers.remove(&(at, position));
            }
            State::Ready => {}
        }
        open.state = State::Ready;
    }

    fn times(&self, position: u64) -> u32 {
        self.open.get(&position).map_or(0, |open| open.failure.times)
    }

    /// Writes a failure down; returns how many there are.
    fn note(&mut self, position: u64, reason: &str, wall: WallMs) -> u32 {
        let Some(open) = self.open.get_mut(&position) else { return 0 };
        let failure = &mut open.failure;
        failure.times = failure.times.saturating_add(1);
        failure.first_ms = failure.first_ms.or(Some(wall));
        failure.last_ms = Some(wall);
        failure.history.push(FailureNote { at_ms: wall, reason: short(reason) });
        if failure.history.len() > limits::FAILURE_HISTORY {
            failure.history.remove(0);
        }
        self.failures_changed.insert(position);
        failure.times
    }
}

/// As much of a reason as is kept.
fn short(reason: &str) -> String {
    reason.chars().take(limits::REASON_CHARS).collect()
}
