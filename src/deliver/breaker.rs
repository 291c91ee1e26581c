//! Whether a consumer is tried at all. (Circuit breaker, Nygard, Release It!, 2007.)

use std::time::Duration;

use serde::Serialize;

use super::retry::delay;
use crate::types::{Mono, limits};

/// Closed while the sink works; open, for longer each time, when it does not; then one message is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures of the sink one after the other, those of probes included.
    failures: u32,
    /// Not before this; none while closed.
    until: Option<Mono>,
    /// A message is being tried.
    probing: bool,
    /// That it lets one through was said.
    told: bool,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Messages go.
    Closed,
    /// The sink is down; nothing goes.
    Open,
    /// One message is tried.
    HalfOpen,
}

impl Breaker {
    /// How it stands.
    pub fn state(&self, now: Mono) -> BreakerState {
        match self.until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// How many of `wanted` messages may go now.
    pub fn allows(&self, wanted: usize, now: Mono) -> usize {
        match self.state(now) {
            BreakerState::Closed => wanted,
            BreakerState::Open => 0,
            BreakerState::HalfOpen if self.probing => 0,
            BreakerState::HalfOpen => wanted.min(1),
        }
    }

    /// A message has gone.
    pub fn sent(&mut self) {
        self.probing = self.until.is_some();
    }

    /// When it lets one through, until that was said; none while it does not hold back.
    pub fn due(&self) -> Option<Mono> {
        self.until.filter(|_| !self.probing && !self.told)
    }

    /// Time has passed. True when it lets one through from now on.
    pub fn tick(&mut self, now: Mono) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        self.told |= due;
        due
    }

    /// The sink has taken a message, or refused it in so many words: it works.
    pub fn worked(&mut self) {
        *self = Breaker::default();
    }

    /// The sink did not answer, or said that it cannot. True when that is no message's fault any more.
    pub fn failed(&mut self, now: Mono, seed: u64) -> bool {
        let was_open = self.until.is_some();
        if was_open && !self.probing {
            // It was under way when the breaker opened: that says nothing new of the sink.
            return true;
        }
        self.failures = self.failures.saturating_add(1);
        (self.probing, self.told) = (false, false);
        if self.failures >= limits::BREAKER_FAILURES {
            let times = self.failures - limits::BREAKER_FAILURES + 1;
            self.until = Some(now + delay(limits::BREAKER_FIRST, limits::BREAKER_MOST, times, seed));
        }
        was_open
    }

    /// What was under way came to nothing, and says nothing of the sink.
    pub fn forgot(&mut self) {
        self.probing = false;
    }

    /// How long it still holds back.
    pub fn left(&self, now: Mono) -> Duration {
        self.until.filter(|until| now < *until).map_or(Duration::ZERO, |until| until - now)
    }
}
