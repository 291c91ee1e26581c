//! Agreement: one block id for each height, by the validators of that height, whatever a third of them does.
//!
//! Pure. The protocol is Tendermint as Malachite's core crates have it; this room is what they leave open: whom to
//! believe, what to write before speaking, how to come back after a crash, how to get a block and to catch up. It knows
//! blocks by their ids only. Bodies, their check and their execution are [`Input`]s; `docs/consensus.md` has the whole
//! story.
//!
//! ```text
//!   Start, Heard, Body, Built, Checked, Work, Tick ──▶ Consensus::handle ──▶ Log, Say, WantBlock, WantBody,
//!                                                        │        ▲          WantDecision, Check, Decided,
//!                                                        ▼        │          Evidence, Refused, Halt
//!                                                   Malachite ──▶ Host: its effects, answered
//! ```
//!
//! What holds: for one height, round and kind this node signs once, over crashes too, as long as its log is kept. What
//! is said rests on records that came before it. A fault of this node stops it; a fault of another is evidence.

mod blocks;
mod context;
mod early;
mod host;
mod input;
pub mod journal;
mod machine;
mod record;
mod timers;
mod wants;

pub use context::proposer;
pub use input::{Fault, Input, Output, Start};
pub use machine::{Consensus, Phase, Setup};
pub use record::{NoRecord, Record, Wait};
pub use timers::Timeouts;

#[cfg(test)]
mod tests;
