//! Which lane is served next. A lane is a rank; what is served is a load of some bytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::Priority;

/// How many lanes there are: one for each priority.
pub const LANES: usize = Priority::ALL.len();

/// The rule by which lanes share the way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The most urgent first, always: what is less urgent may wait for ever.
    Strict,
    /// Shares of 16, 8, 4, 2 and 1 by bytes (start-time fair queuing: Goyal, Vin, Cheng 1996).
    #[default]
    Weighted,
    /// The same shares in turns (deficit round robin: Shreedhar, Varghese 1995): cheaper, and coarser in time.
    Deficit,
    /// Weighted, and a lane whose oldest message waits longer than its deadline gets a larger share.
    Adaptive,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 4] = [Policy::Strict, Policy::Weighted, Policy::Deficit, Policy::Adaptive];

    /// Its name in configurations and at the API.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Strict => "strict",
            Policy::Weighted => "weighted",
            Policy::Deficit => "deficit",
            Policy::Adaptive => "adaptive",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Policy::ALL.into_iter().find(|policy| policy.name() == text);
        found.ok_or_else(|| format!("`{text}` is not a scheduler: use strict, weighted, deficit or adaptive"))
    }
}

/// How soon a message of each priority is to be on its way.
pub const DEADLINES: [Duration; LANES] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// Shares, most urgent first.
const WEIGHTS: [u64; LANES] = [16, 8, 4, 2, 1];
/// Bytes a lane of weight one may send in a turn.
const QUANTUM: i64 = 16 * 1024;
/// The most a late lane's weight is multiplied by.
const HURRY: u64 = 64;

/// Picks lanes. Ask [`Scheduler::next`], serve one load of that lane, tell [`Scheduler::served`] its size.
#[derive(Clone, Debug)]
pub struct Scheduler {
    policy: Policy,
    /// Virtual time: where the lane served last began, bytes of weight one.
    now: u64,
    /// Virtual time at which each lane's next load begins.
    starts: [u64; LANES],
    busy: [bool; LANES],
    /// What each lane may still send in its turn, bytes.
    credits: [i64; LANES],
    turn: usize,
}

impl Scheduler {
    /// A scheduler without a past.
    pub fn new(policy: Policy) -> Scheduler {
        let (starts, busy, credits) = ([0; LANES], [false; LANES], [0; LANES]);
        Scheduler { policy, now: 0, starts, busy, credits, turn: 0 }
    }

    /// Its rule.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The lane to serve, given how long the oldest of each has waited; none when all are empty.
    pub fn next(&mut self, waits: &[Option<Duration>; LANES]) -> Option<Priority> {
        let lane = match self.policy {
            Policy::Strict => waits.iter().position(Option::is_some),
            Policy::Weighted | Policy::Adaptive => self.fairest(waits),
            Policy::Deficit => self.in_turn(waits),
        };
        lane.and_then(|lane| Priority::ALL.get(lane).copied())
    }

    /// A load of so many bytes of the lane was served.
    pub fn served(&mut self, lane: Priority, bytes: usize, waited: Duration) {
        let n = lane as usize;
        let weight = match self.policy {
            Policy::Adaptive => WEIGHTS[n] * hurry(waited, DEADLINES[n]),
            Policy::Strict | Policy::Weighted | Policy::Deficit => WEIGHTS[n],
        };
        self.starts[n] = self.starts[n].saturating_add((bytes as u64).div_ceil(weight));
        self.credits[n] -= bytes as i64;
    }

    /// The lane whose next load begins first in virtual time. One that was empty begins now: it saved nothing up.
    fn fairest(&mut self, waits: &[Option<Duration>; LANES]) -> Option<usize> {
        for (n, wait) in waits.iter().enumerate() {
            if wait.is_some() && !self.busy[n] {
                self.starts[n] = self.starts[n].max(self.now);
            }
            self.busy[n] = wait.is_some();
        }
        let first = (0..LANES).filter(|n| waits[*n].is_some()).min_by_key(|n| (self.starts[*n], *n))?;
        self.now = self.starts[first];
        Some(first)
    }

    /// The lane whose turn it is, or the next that has something. A lane may overdraw by its last load, which the
    /// next turn makes up for.
    fn in_turn(&mut self, waits: &[Option<Duration>; LANES]) -> Option<usize> {
        if waits.iter().all(Option::is_none) {
            return None;
        }
        loop {
            let n = self.turn;
            if waits[n].is_some() && self.credits[n] > 0 {
                return Some(n);
            }
            if waits[n].is_none() {
                // It saves nothing up, and what it overdrew is not forgiven: it may have more that must not pass now.
                self.credits[n] = self.credits[n].min(0);
            }
            self.turn = (n + 1) % LANES;
            let next = self.turn;
            if waits[next].is_some() {
                self.credits[next] += QUANTUM * WEIGHTS[next] as i64;
            }
        }
    }
}

/// By how much the weight of a lane grows whose oldest waits so long.
fn hurry(waited: Duration, deadline: Duration) -> u64 {
    (waited.as_micros() / deadline.as_micros().max(1)).min(u128::from(HURRY - 1)) as u64 + 1
}
