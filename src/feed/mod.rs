//! Per-author chains of bundles: what is held, what is missing, what is forked; and the log of their arrival.
//!
//! Pure. Imports `wire` and `types` only. Nothing here talks: [`Feeds::offer`] says what became of a bundle,
//! [`Repair::requests`] says what to ask of whom.
//!
//! ```text
//!            base            joined                next            claimed head
//!   trimmed   │ held │ lost │  held, every link      │   missing      │
//!   ──────────┴──────┴──────┴──────────────────────┴────────────────┘
//! ```
//!
//! Invariants: `trimmed <= joined <= next`; every bundle in `joined..next` names the one before; nothing at
//! or after a fork is in a chain; a position in the log is given once and never moves.

mod chain;
mod direct;
mod feeds;
mod fork;
mod log;
mod query;
mod repair;
mod retention;

pub use chain::Chain;
pub use direct::Directs;
pub use feeds::{Feeds, NotPlaced, Placed};
pub use fork::Fork;
pub use log::{Log, Stored};
pub use query::{
    Entry, Found, Page, Room, Start, bounds, bundles_from, conversation, entries_at, ephemeral_entries, find, found_at,
    page, start_position, stored_at,
};
pub use repair::{Asked, Flight, Repair};
pub use retention::{Retention, Rule, trim, trim_after};

#[cfg(test)]
mod tests;
