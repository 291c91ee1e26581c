//! metanode: a peer-to-peer node. Organisations that do not trust one another run it side by side to share signed
//! messages without a broker in the middle.
//!
//! The map of the house. Arrows point down only; `tests/it/tidy.rs` fails when one does not. To understand the program,
//! read [`node::Input`] and [`node::Output`]: everything that can happen to a node, and everything a node can want.
//!
//! ```text
//!   cli ─▶ start ─▶ api, net ─▶ driver ─▶ store         shells: sockets, threads, clocks, disk
//!                                  └────▶ node ◀─ sim   pure: one owner, changed in one way
//!                                          ├─▶ feed     per-author chains, gaps, forks, repair, the log
//!                                          ├─▶ flow     what waits to be said
//!                                          ├─▶ route    links, ways to other nodes, strategies
//!                                          ├─▶ deliver  durable subscriptions: leases, retries, dead letters
//!                                          ├─▶ schema   what bodies of Custom messages keep
//!                                          ├─▶ crdt     replicated state: writes, merge rules, conflicts
//!                                          │     graph  a shared graph laid over it
//!                                          ├─▶ consensus  one block id for each height
//!                                          ├─▶ ledger   accounts, blocks, execution, mempool, votes
//!                                          ├─▶ meter    stages, rates, alerts: what is measured
//!                                          └─▶ wire ─▶ types
//! ```

// pure, layer 0: words
pub mod types;
pub mod wire;

// pure, layer 1: machines; none imports another
pub mod consensus;
pub mod crdt;
pub mod deliver;
pub mod feed;
pub mod flow;
pub mod ledger;
pub mod meter;
pub mod route;
pub mod schema;

// pure, layer 2: composition
pub mod graph;
pub mod node;
pub mod sim;

// shells
pub mod api;
pub mod cli;
pub mod config;
pub mod driver;
pub mod keys;
pub mod net;
mod start;
pub mod store;

pub use start::{Running, StartError, start};
