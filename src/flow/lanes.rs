//! One lane per rank, bounded; in a lane a queue for what may travel in one bundle.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::scheduler::{DEADLINES, LANES, Policy, Scheduler};
use super::window::Pass;
use crate::types::{Mono, limits};
use crate::wire::{Category, Course, Destination, Draft, Priority, STRATEGY_HEADER, Seal};

/// A draft on its way, and who waits for it.
#[derive(Debug)]
pub struct Parcel {
    /// What is to be said.
    pub draft: Draft,
    /// The call it came with.
    pub call: u64,
    /// Its index in that call.
    pub index: usize,
}

/// What may travel in one bundle: topic, stated priority, how it travels, and for a direct one to whom and which way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Kinship {
    topic: Category,
    priority: Priority,
    course: Course,
    to: Option<(Destination, Option<String>)>,
}

impl Kinship {
    fn of(draft: &Draft) -> Kinship {
        let course = draft.course();
        let to = (course == Course::Direct)
            .then(|| (draft.destination.clone(), draft.headers.get(STRATEGY_HEADER).cloned()));
        Kinship { topic: draft.kind().category(), priority: draft.priority, course, to }
    }

    fn needs(&self) -> Pass {
        Pass::needed(self.course, self.priority, self.topic)
    }
}

#[derive(Debug)]
struct Queued {
    parcel: Parcel,
    since: Mono,
    number: u64,
}

/// What a lane has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Messages that left.
    pub messages: u64,
    /// Their payloads and what surrounds them, bytes.
    pub bytes: u64,
    /// How long they waited, together and at most, microseconds.
    pub waited_us: u64,
    pub longest_us: u64,
    /// Messages that waited longer than the lane's deadline.
    pub late: u64,
    /// Messages that found the lane full.
    pub overflowed: u64,
    /// Messages that found the lane full and waited on the disk.
    pub spilled: u64,
}

#[derive(Debug, Default)]
struct Lane {
    queues: BTreeMap<Kinship, VecDeque<Queued>>,
    messages: usize,
    bytes: usize,
    counts: LaneCounts,
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// Which.
    pub priority: Priority,
    /// Messages and bytes that wait.
    pub messages: usize,
    pub bytes: usize,
    /// How long the oldest has waited.
    pub oldest: Option<Duration>,
    /// What it has done.
    pub counts: LaneCounts,
}

/// What becomes of drafts: the first that applies to any of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fit {
    /// They are refused: this lane is full, and is not to lose anything.
    PushBack(Priority),
    /// They are dropped: this lane is full, and may.
    Drop(Priority),
    /// Those that are Normal wait on the disk.
    Spill,
    /// There is room for all.
    All,
}

/// The rank at which a draft is served.
pub fn rank(draft: &Draft) -> Priority {
    draft.priority.rank(draft.kind().category())
}

/// How much waits at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages and bytes in one lane before it is full.
    pub messages: usize,
    pub bytes: usize,
    /// Bytes that leave in one step.
    pub step_bytes: usize,
    /// Bytes that have left and are not held by peers yet.
    pub window_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            messages: limits::LANE_MESSAGES,
            bytes: limits::LANE_BYTES,
            step_bytes: limits::STEP_SEAL_BYTES,
            window_bytes: limits::WINDOW_BYTES,
        }
    }
}

/// The lanes of a node.
#[derive(Debug)]
pub struct Lanes {
    lanes: [Lane; LANES],
    bounds: Bounds,
    scheduler: Scheduler,
    next_number: u64,
}

/// Drafts that travel in one bundle.
#[derive(Debug)]
pub struct Load {
    /// The drafts, in the order in which they came.
    pub parcels: Vec<Parcel>,
    /// About how large they are, bytes.
    pub bytes: usize,
}

/// The lanes of Critical and High.
const URGENT: usize = 2;

impl Lanes {
    /// Empty lanes.
    pub fn new(policy: Policy) -> Lanes {
        Lanes::within(policy, Bounds::default())
    }

    /// The same, with other bounds.
    pub fn within(policy: Policy, bounds: Bounds) -> Lanes {
        Lanes { lanes: Default::default(), bounds, scheduler: Scheduler::new(policy), next_number: 0 }
    }

    /// Bytes that leave in one step.
    pub fn step_bytes(&self) -> usize {
        self.bounds.step_bytes
    }

    /// The rule by which lanes are served.
    pub fn policy(&self) -> Policy {
        self.scheduler.policy()
    }

    /// Serves lanes by another rule from now on. What waits, waits on.
    pub fn schedule(&mut self, policy: Policy) {
        self.scheduler = Scheduler::new(policy);
    }

    /// Whether all of these drafts find room, and what becomes of them if not. Counts what does not fit.
    pub fn fit(&mut self, drafts: &[Draft]) -> Fit {
        let mut more = [(0, 0); LANES];
        for draft in drafts {
            let (messages, bytes) = &mut more[rank(draft) as usize];
            *messages += 1;
            *bytes += draft.size_bytes();
        }
        let bounds = self.bounds;
        let full = |(lane, (messages, bytes)): (&Lane, &(usize, usize))| {
            // An empty lane takes any call, however large.
            *messages > 0
                && lane.messages > 0
                && (lane.messages + messages > bounds.messages || lane.bytes + bytes > bounds.bytes)
        };
        let lanes = self.lanes.iter().zip(&more).zip(Priority::ALL);
        let fulls: Vec<Priority> = lanes.filter(|(lane, _)| full(*lane)).map(|(_, priority)| priority).collect();
        let fit = |priority: &Priority| match priority {
            Priority::Critical | Priority::High => Fit::PushBack(*priority),
            Priority::Low | Priority::Bulk => Fit::Drop(*priority),
            Priority::Normal => Fit::Spill,
        };
        // Whoever is pushed back can come again; what is dropped is dropped whole.
        let fit = fulls.iter().map(fit).min().unwrap_or(Fit::All);
        match fit {
            Fit::PushBack(_) | Fit::Drop(_) => self.count_overflow(&more),
            Fit::Spill | Fit::All => {}
        }
        fit
    }

    fn count_overflow(&mut self, more: &[(usize, usize); LANES]) {
        for (lane, (messages, _)) in self.lanes.iter_mut().zip(more) {
            lane.counts.overflowed += *messages as u64;
        }
    }

    /// Takes note of messages of the Normal lane that wait on the disk.
    pub fn spilled(&mut self, messages: usize) {
        self.lanes[Priority::Normal as usize].counts.spilled += messages as u64;
    }

    /// Whether the Normal lane has room for what waits on the disk: it is half empty.
    pub fn wants_spilled(&self) -> bool {
        let lane = &self.lanes[Priority::Normal as usize];
        lane.messages < self.bounds.messages / 2 && lane.bytes < self.bounds.bytes / 2
    }

    /// Puts a draft in its lane.
    pub fn push(&mut self, parcel: Parcel, now: Mono) {
        let (draft, number) = (&parcel.draft, self.next_number);
        self.next_number += 1;
        let lane = &mut self.lanes[rank(draft) as usize];
        lane.messages += 1;
        lane.bytes += draft.size_bytes();
        let kinship = Kinship::of(draft);
        lane.queues.entry(kinship).or_default().push_back(Queued { parcel, since: now, number });
    }

    /// How full the fullest lane is, percent.
    pub fn fullness_percent(&self) -> u8 {
        let of = |part: usize, whole: usize| (part * 100 / whole).min(100) as u8;
        let Bounds { messages, bytes, .. } = self.bounds;
        let fullness = |lane: &Lane| of(lane.messages, messages).max(of(lane.bytes, bytes));
        self.lanes.iter().map(fullness).max().unwrap_or_default()
    }

    /// How many drafts wait.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.messages).sum()
    }

    /// The next load for one bundle of what may pass, from the lane whose turn it is: as many drafts as fit, at least
    /// one.
    pub fn take(&mut self, pass: Pass, now: Mono) -> Option<Load> {
        let waits = self.lanes.each_ref().map(|lane| lane.oldest(pass).map(|since| now - since));
        let rank = self.scheduler.next(&waits)?;
        self.take_of(rank, pass, now)
    }

    /// The next load of what is Critical, then of what is High. It counts against their shares like any other.
    pub fn take_urgent(&mut self, pass: Pass, now: Mono) -> Option<Load> {
        let lane = self.lanes.iter().take(URGENT).position(|lane| lane.waits(pass))?;
        self.take_of(*Priority::ALL.get(lane)?, pass, now)
    }

    fn take_of(&mut self, rank: Priority, pass: Pass, now: Mono) -> Option<Load> {
        let lane = &mut self.lanes[rank as usize];
        let waited = lane.oldest(pass).map(|since| now - since);
        let load = lane.take(pass, DEADLINES[rank as usize], now)?;
        self.scheduler.served(rank, load.bytes, waited.unwrap_or_default());
        Some(load)
    }

    /// Whether anything waits that may pass.
    pub fn waits(&self, pass: Pass) -> bool {
        self.lanes.iter().any(|lane| lane.waits(pass))
    }

    /// Whether anything Critical or High waits that may pass.
    pub fn urgent_waits(&self, pass: Pass) -> bool {
        self.lanes.iter().take(URGENT).any(|lane| lane.waits(pass))
    }

    /// Where every lane stands, most urgent first.
    pub fn states(&self, now: Mono) -> Vec<LaneState> {
        let state = |(priority, lane): (Priority, &Lane)| LaneState {
            priority,
            messages: lane.messages,
            bytes: lane.bytes,
            oldest: lane.oldest(Pass::All).map(|since| now - since),
            counts: lane.counts,
        };
        Priority::ALL.into_iter().zip(&self.lanes).map(state).collect()
    }
}

impl Lane {
    /// The queues of what may pass.
    fn passing(&self, pass: Pass) -> impl Iterator<Item = (&Kinship, &VecDeque<Queued>)> {
        self.queues.iter().filter(move |(kinship, _)| kinship.needs() <= pass)
    }

    fn waits(&self, pass: Pass) -> bool {
        self.passing(pass).next().is_some()
    }

    /// When the oldest came.
    fn oldest(&self, pass: Pass) -> Option<Mono> {
        self.passing(pass).filter_map(|(_, queue)| queue.front()).map(|queued| queued.since).min()
    }

    /// From the queue whose first came first.
    fn take(&mut self, pass: Pass, deadline: Duration, now: Mono) -> Option<Load> {
        let first = |queue: &VecDeque<Queued>| queue.front().map(|queued| queued.number);
        let kinship = self.passing(pass).min_by_key(|(_, queue)| first(queue))?.0.clone();
        let queue = self.queues.get_mut(&kinship)?;
        let mut load = Load { parcels: Vec::new(), bytes: 0 };
        while let Some(queued) = queue.front() {
            let bytes = queued.parcel.draft.size_bytes();
            let full =
                load.bytes + bytes > limits::BUNDLE_TARGET_BYTES || load.parcels.len() == limits::BUNDLE_MESSAGES;
            let alone = queued.parcel.draft.seal == Seal::Each;
            if (full || alone) && !load.parcels.is_empty() {
                break;
            }
            let waited = now - queued.since;
            self.counts.waited_us += waited.as_micros() as u64;
            self.counts.longest_us = self.counts.longest_us.max(waited.as_micros() as u64);
            self.counts.late += u64::from(waited > deadline);
            load.bytes += bytes;
            load.parcels.extend(queue.pop_front().map(|queued| queued.parcel));
            if alone {
                break;
            }
        }
        if queue.is_empty() {
            self.queues.remove(&kinship);
        }
        self.messages -= load.parcels.len();
        self.bytes -= load.bytes;
        self.counts.messages += load.parcels.len() as u64;
        self.counts.bytes += load.bytes as u64;
        Some(load)
    }
}
