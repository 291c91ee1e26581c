//! The shared graph: nodes and edges laid over the cells of replicated state, and what follows from them.
//!
//! Pure. A graph is a collection in which paths have a meaning (see `path`); it adds nothing to what is written or
//! sent. Its page is `docs/graph.md`.
//!
//! ```text
//!  wanted ──wishes──▶ crdt: cells ──read──▶ node, edge │ all of them, now or at a time
//!                        └─ events ─touched─▶ Graph: what is visible ──▶ changes
//!                                               └──▶ shortest paths
//! ```
//!
//! Invariants: an edge is visible when both its ends are; the graph is a function of the cells; changes told one after
//! the other make the graph that is read.

mod change;
mod held;
mod path;
mod route;
mod view;
mod want;
mod whole;

pub use change::Change;
pub use path::{NODES, Subject, id_fault, subject};
pub use route::{Direction, Route, nodes_to, routes};
pub use view::{Graph, TooLarge};
pub use want::{EdgeWant, NodeWant, moved, without_edge, without_node};
pub use whole::{Was, Whole};

#[cfg(test)]
mod tests;
