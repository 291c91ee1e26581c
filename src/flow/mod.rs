//! What waits to be said: drafts by priority and topic, cut into bundles when the node's step ends.
//!
//! Pure. Bundling follows the load, not a timer: a step takes every call that waited while the last one was being
//! committed, so an idle node seals one message at once and a busy one fills bundles.

mod idempotency;
mod lanes;

pub use idempotency::Idempotency;
pub use lanes::{Lanes, Parcel};

#[cfg(test)]
mod tests;
