//! The loop: receive, handle, commit, release. One plain thread owns the node and the store's writes.
//!
//! Shell. While flush N runs on a thread of its own, step N+1 is collected and committed: group commit without a
//! timer. Nothing of a step leaves before its batch is committed, and nothing that waits for the disk before the flush.
//!
//! ```text
//!   calls ─┐                       ┌─▶ net commands
//!   bundles┼─▶ step ─▶ commit ─▶ release ─▶ replies, log end, ephemeral messages
//!   control┘              ├─▶ flusher ─▶ release what waited
//!                         └─▶ agreement-log ─▶ release words
//! ```

mod clock;
mod flusher;
mod journal;
mod owner;
mod perturb;
mod pipeline;
mod ports;

pub use clock::SystemClock;
pub use journal::{Journal, JournalError};
pub use owner::{Driver, DriverError, Ended};
pub use perturb::{Delay, Perturbation, Perturbed, Perturber, Spell, perturbation};
pub use pipeline::{Pipeline, Tapped};
pub use ports::{CallError, Client, Inlet, NetCommand, Ports, Traffic, Watch, ports};

#[cfg(test)]
mod tests;
