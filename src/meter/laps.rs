//! A stopwatch that is handed in, so that who measures with it needs no clock of its own.

use crate::types::Mono;

/// Tells how long the work at hand took. Without a clock it stands still, and everything takes no time. What it tells
/// is for figures only: nothing may be decided by it, or a run could not be repeated.
pub struct Laps {
    read: Box<dyn Fn() -> Mono + Send>,
    began: Mono,
}

impl Default for Laps {
    fn default() -> Laps {
        Laps { read: Box::new(Mono::default), began: Mono(0) }
    }
}

impl Laps {
    /// A stopwatch that goes by this clock.
    pub fn by(read: impl Fn() -> Mono + Send + 'static) -> Laps {
        Laps { read: Box::new(read), began: Mono(0) }
    }

    /// Work begins.
    pub fn begin(&mut self) {
        self.began = (self.read)();
    }

    /// How long it took, microseconds; the next begins.
    pub fn lap(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.began, (self.read)());
        (self.began - before).as_micros() as u64
    }
}
