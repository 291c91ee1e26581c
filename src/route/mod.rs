//! Ways to other nodes: who is connected to whom and how well, and which way is best.
//!
//! Pure. Every node tells everyone of its links ([`LinkReport`](crate::wire::kind::system::LinkReport)); a link counts
//! when both its ends speak of it, so that nobody can draw messages to itself by claiming neighbours it has not. The
//! shortest ways over these links are found as in any link-state protocol (Dijkstra 1959; OSPF, RFC 2328), under one of
//! four measures of what is short.
//!
//! ```text
//!   pings, receipts ─▶ Quality of own links ─▶ LinkReport ─▶ everyone
//!   LinkReports ─▶ Routes ──ways(to, strategy)──▶ Way, one for each first hop, the best first
//! ```

mod graph;
mod quality;
mod strategy;
mod way;

pub use quality::Quality;
pub use strategy::Strategy;
pub use way::{Routes, Way};

#[cfg(test)]
mod tests;
