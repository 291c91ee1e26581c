//! What a node measures of itself: messages on their way through six stages, rates, and conditions worth an alert.
//!
//! Pure. Whoever does a stage's work says what passed and how long it took; nothing here reads a clock, and nothing
//! that is measured decides anything.
//!
//! ```text
//!   stages ──Passage──▶ Tally: messages, refusals, time in stage ──▶ Pulse: rates over a while ──▶ Alerts
//!                └────▶ whoever taps
//! ```

mod alert;
mod histogram;
mod laps;
mod passage;
mod pulse;
mod tally;

pub use alert::{Alert, AlertRule, AlertState, Alerts, Change, Comparison, Metric, built_in};
pub use histogram::{BUCKETS_US, Histogram};
pub use laps::Laps;
pub use passage::{Outcome, Passage, Seen, Station, What};
pub use pulse::{LaneReading, Latency, Pulse, Rates, Reading};
pub use tally::{Class, Tally};

#[cfg(test)]
mod tests;
