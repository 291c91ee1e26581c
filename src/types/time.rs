//! Time as values: wall clock, monotonic clock, and the hybrid logical clock that stamps messages.
//!
//! Nothing here reads a clock; the driver (or the simulator) hands in a [`Now`].

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits;

/// Milliseconds since 1970-01-01 UTC, by some machine's wall clock. May jump.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct WallMs(pub u64);

/// Microseconds since this process began. Never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

/// The two clocks, read once at the beginning of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For timers and deadlines.
    pub mono: Mono,
    /// For stamps and expiry.
    pub wall: WallMs,
}

impl WallMs {
    /// `self` later by `duration`, at most the end of time.
    pub fn plus(self, duration: Duration) -> WallMs {
        WallMs(self.0.saturating_add(duration.as_millis() as u64))
    }

    /// `self` earlier by `duration`, at least 1970.
    pub fn minus(self, duration: Duration) -> WallMs {
        WallMs(self.0.saturating_sub(duration.as_millis() as u64))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, duration: Duration) -> Mono {
        Mono(self.0.saturating_add(duration.as_micros() as u64))
    }
}

impl Sub for Mono {
    type Output = Duration;

    fn sub(self, earlier: Mono) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A hybrid logical clock reading (Kulkarni et al., "Logical Physical Clocks", 2014): 48 bits of milliseconds since
/// 1970, 16 bits of counter. Ordered as the number is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The reading with this wall time (48 bits are kept) and counter.
    pub const fn new(ms: u64, counter: u16) -> Stamp {
        Stamp((ms << 16) | counter as u64)
    }

    /// The wall part, in milliseconds.
    pub const fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The wall part.
    pub const fn wall(self) -> WallMs {
        WallMs(self.ms())
    }

    /// The counter part.
    pub const fn counter(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.counter())
    }
}

/// One author's hybrid logical clock. Every reading is greater than all before it, over restarts too, because the
/// node persists [`Clock::ceiling`] before readings under it leave.
#[derive(Clone, Debug)]
pub struct Clock {
    last: Stamp,
    ceiling: Stamp,
}

/// Why a remote stamp does not move this clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockRefusal {
    /// The stamp is ahead of this machine's wall clock by this much, over [`limits::MAX_FUTURE`].
    FarFuture { ahead: Duration },
    /// The same over [`limits::DAY_AHEAD`]: no drift of clocks explains it.
    DayAhead { ahead: Duration },
}

impl Clock {
    /// A clock that continues above everything a former life may have used.
    pub fn resume(ceiling: Stamp) -> Clock {
        Clock { last: ceiling, ceiling }
    }

    /// The next reading, greater than every one before.
    pub fn tick(&mut self, wall: WallMs) -> Stamp {
        self.last = Stamp(self.last.0 + 1).max(Stamp::new(wall.0, 0));
        self.last
    }

    /// Takes note of a reading seen from elsewhere, so that what is written after it is stamped after it; a stamp
    /// further ahead than [`limits::MAX_CLOCK_PUSH`] moves it only that far.
    pub fn see(&mut self, remote: Stamp, wall: WallMs) -> Result<(), ClockRefusal> {
        let ahead = Duration::from_millis(remote.ms().saturating_sub(wall.0));
        if ahead > limits::DAY_AHEAD {
            return Err(ClockRefusal::DayAhead { ahead });
        }
        if ahead > limits::MAX_FUTURE {
            return Err(ClockRefusal::FarFuture { ahead });
        }
        let most = Stamp::new(wall.plus(limits::MAX_CLOCK_PUSH).0, u16::MAX);
        self.last = self.last.max(remote.min(most));
        Ok(())
    }

    /// Takes note of a reading that the next one must be later than, however far ahead it is. The ceiling is to be
    /// persisted before the next one is used.
    pub fn pass(&mut self, seen: Stamp) {
        self.last = self.last.max(seen);
    }

    /// Whether the next reading is later than this one anyway.
    pub fn has_passed(&self, seen: Stamp) -> bool {
        self.last >= seen
    }

    /// The ceiling to persist before the next readings are used, when the present one is nearly reached.
    pub fn ceiling(&mut self, wall: WallMs) -> Option<Stamp> {
        let millis = |time: Duration| time.as_millis() as u64;
        // Ahead of the wall clock, readings only count up: a node that crashes again and again, and begins at its
        // ceiling each time, must not run away from the others' clocks.
        let ends_at = |by_wall: Duration, by_count: Duration| {
            (wall.0.saturating_add(millis(by_wall))).max(self.last.ms().saturating_add(millis(by_count)))
        };
        if ends_at(limits::CLOCK_RESERVE / 2, limits::COUNT_RESERVE / 2) < self.ceiling.ms() {
            return None;
        }
        self.ceiling = Stamp::new(ends_at(limits::CLOCK_RESERVE, limits::COUNT_RESERVE), 0);
        Some(self.ceiling)
    }
}
