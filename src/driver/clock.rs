//! The one place where clocks are read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::{Mono, Now, WallMs};

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side begins now.
    pub fn start() -> SystemClock {
        SystemClock { began: Instant::now() }
    }

    /// The monotonic clock.
    pub fn mono(&self) -> Mono {
        Mono(self.began.elapsed().as_micros() as u64)
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall: WallMs(wall.as_millis() as u64) }
    }

    /// The instant of a monotonic time.
    pub fn instant(&self, mono: Mono) -> Instant {
        self.began + (mono - Mono(0))
    }
}
