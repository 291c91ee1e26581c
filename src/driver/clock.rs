//! The one place where clocks are read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::perturb::Perturbed;
use crate::types::{Mono, Now, WallMs};

/// The machine's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    began: Instant,
    /// Where it says how far the wall clock is to be wrong, at a node that was started for that.
    perturbed: Option<Perturbed>,
}

impl SystemClock {
    /// A clock whose monotonic side begins now.
    pub fn start() -> SystemClock {
        SystemClock::perturbed(None)
    }

    /// The same, whose wall side can be put wrong.
    pub fn perturbed(perturbed: Option<Perturbed>) -> SystemClock {
        SystemClock { began: Instant::now(), perturbed }
    }

    /// The monotonic clock.
    pub fn mono(&self) -> Mono {
        Mono(self.began.elapsed().as_micros() as u64)
    }

    /// The wall clock.
    pub fn wall(&self) -> WallMs {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let wrong_ms = self.perturbed.as_ref().map_or(0, Perturbed::clock_ms);
        WallMs(wall.saturating_add_signed(wrong_ms))
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: self.wall() }
    }

    /// The instant of a monotonic time.
    pub fn instant(&self, mono: Mono) -> Instant {
        self.began + (mono - Mono(0))
    }
}
