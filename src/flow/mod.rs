//! What waits to be said: drafts in lanes by rank, cut into bundles when the node's step ends.
//!
//! Pure. Bundling follows the load, not a timer: a step takes every call that waited while the last one was being
//! committed, so an idle node seals one message at once and a busy one fills bundles. A step seals a bounded number of
//! bytes; the rest stays in its lane, and the scheduler decides who is next.
//!
//! ```text
//!   Call::Publish ─▶ refuse? ─▶ lane of its rank ─▶ Scheduler::next ─▶ a load: one topic, one priority ─▶ a bundle
//! ```

mod idempotency;
mod lanes;
mod scheduler;

pub use idempotency::Idempotency;
pub use lanes::{LaneCounts, LaneState, Lanes, Load, Parcel};
pub use scheduler::{DEADLINES, LANES, Policy, Scheduler};

#[cfg(test)]
mod tests;
