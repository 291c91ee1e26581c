//! What waits to be said: drafts in lanes by rank, cut into bundles when the node's step ends.
//!
//! Pure. Bundling follows the load, not a timer: a step takes every call that waited while the last one was being
//! committed, so an idle node seals one message at once and a busy one fills bundles. A step seals a bounded number of
//! bytes; the rest stays in its lane, and the scheduler decides who is next.
//!
//! ```text
//!   Call::Publish ─▶ fit? ─▶ lane of its rank ─▶ Scheduler::next ─▶ a load: one topic, one priority ─▶ a bundle
//! ```
//!
//! What has left and is not held by peers yet is bounded as well ([`Window`]): until they have it, the rest waits in the
//! lanes, where its rank counts. What is Critical or direct has ways of its own and passes.
//!
//! A lane that is full overflows by rule: Critical and High push back, Normal goes on on the disk and comes back in its
//! order, Low and Bulk are dropped and counted.

mod idempotency;
mod lanes;
mod scheduler;
mod spill;
mod window;

pub use idempotency::Idempotency;
pub use lanes::{Bounds, Fit, LaneCounts, LaneState, Lanes, Load, Parcel, rank};
pub use scheduler::{DEADLINES, LANES, Policy, Scheduler};
pub use spill::{Spill, Unreadable};
pub use window::{Pass, Window, WindowState};

#[cfg(test)]
mod tests;
