//! Deadlines: what Malachite wants to be woken for, as times of the monotonic clock.

use std::time::Duration;

use arc_malachitebft_core_types::{LinearTimeouts, Timeout};

use crate::types::Mono;

/// How long each step of a round may take. All of them grow with the round, up to `most`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For a proposal and its block to come and be checked.
    pub propose: Duration,
    /// For votes to agree, once two thirds have voted.
    pub vote: Duration,
    /// What each further round adds to either.
    pub more: Duration,
    /// What was said last is said again after this.
    pub rebroadcast: Duration,
    /// No wait is longer.
    pub most: Duration,
    /// A block or a decision that was asked for and did not come is asked for again, of another, after this.
    pub fetch: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            propose: Duration::from_millis(1_000),
            vote: Duration::from_millis(300),
            more: Duration::from_millis(300),
            rebroadcast: Duration::from_millis(1_000),
            most: Duration::from_secs(30),
            fetch: Duration::from_millis(300),
        }
    }
}

impl Timeouts {
    fn of(&self, timeout: Timeout) -> Duration {
        let linear = LinearTimeouts {
            propose: self.propose,
            propose_delta: self.more,
            prevote: self.vote,
            prevote_delta: self.more,
            precommit: self.vote,
            precommit_delta: self.more,
            rebroadcast: self.rebroadcast,
            max_timeout: self.most,
        };
        linear.duration_for(timeout)
    }
}

/// The waits under way: a handful, so a list is the simplest order.
#[derive(Debug, Default)]
pub struct Timers(Vec<(Mono, Timeout)>);

impl Timers {
    pub fn schedule(&mut self, timeout: Timeout, now: Mono, timeouts: &Timeouts) {
        self.cancel(timeout);
        self.0.push((now + timeouts.of(timeout), timeout));
    }

    pub fn cancel(&mut self, timeout: Timeout) {
        self.0.retain(|(_, other)| *other != timeout);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn next(&self) -> Option<Mono> {
        self.0.iter().map(|(due, _)| *due).min()
    }

    /// The first that is over, taken out.
    pub fn take_due(&mut self, now: Mono) -> Option<Timeout> {
        let due = self.0.iter().enumerate().filter(|(_, (due, _))| *due <= now);
        let (index, _) = due.min_by_key(|(_, (due, _))| *due)?;
        Some(self.0.remove(index).1)
    }
}
