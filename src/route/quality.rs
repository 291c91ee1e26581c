//! How good a link is.

use std::time::Duration;

/// What is believed of a link nobody has measured, microseconds there and back.
const UNMEASURED_US: u32 = 50_000;
/// The new counts for one in so many.
const SMOOTHING: i64 = 8;

/// A link's round trip and loss, smoothed (as in RFC 6298, section 2: an eighth of each new sample).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quality {
    /// Time there and back, microseconds.
    pub round_trip_us: u32,
    /// Of a million messages, as many come to nothing.
    pub loss_ppm: u32,
    measured: bool,
}

impl Default for Quality {
    fn default() -> Quality {
        Quality { round_trip_us: UNMEASURED_US, loss_ppm: 0, measured: false }
    }
}

impl Quality {
    /// As somebody reports it.
    pub fn new(round_trip_us: u32, loss_ppm: u32) -> Quality {
        Quality { round_trip_us, loss_ppm: loss_ppm.min(1_000_000), measured: true }
    }

    /// Takes note of a round trip.
    pub fn on_round_trip(&mut self, time: Duration) {
        let sample = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.round_trip_us = if self.measured { smoothed(self.round_trip_us, sample) } else { sample };
        self.measured = true;
    }

    /// Takes note of what became of a message.
    pub fn on_outcome(&mut self, delivered: bool) {
        self.loss_ppm = smoothed(self.loss_ppm, if delivered { 0 } else { 1_000_000 });
    }

    /// The worse of what its two ends say.
    pub fn worse(self, other: Quality) -> Quality {
        Quality {
            round_trip_us: self.round_trip_us.max(other.round_trip_us),
            loss_ppm: self.loss_ppm.max(other.loss_ppm),
            measured: self.measured && other.measured,
        }
    }
}

fn smoothed(old: u32, sample: u32) -> u32 {
    let step = (i64::from(sample) - i64::from(old)) / SMOOTHING;
    // Towards zero a step of less than one would never end.
    let step = if step == 0 { (i64::from(sample) - i64::from(old)).signum() } else { step };
    u32::try_from(i64::from(old) + step).unwrap_or_default()
}
