//! The API: HTTP on loopback, JSON, problem details, server-sent events and WebSocket.
//!
//! Shell. It turns requests into calls of the node and reads messages from the store itself, on threads that may
//! block, so that no reader ever waits for the node's owner or makes it wait. One file per noun.
//!
//! ```text
//!   POST ──▶ intake: faults or drafts ──▶ driver::Client ──▶ ids
//!   GET  ──▶ reader: a blocking thread over the store ──▶ envelope: JSON
//!   subscribe ──▶ cursor: reads on when the log grows ──▶ events or frames
//!   fetch, WebSocket, webhook ──▶ worker: leases ──▶ messages of a durable subscription
//! ```
//!
//! Invariants: every error is a problem document that says what to do; every body, page, stream and wait is bounded;
//! a browser on another site gets nothing (see the guard).

mod accounts;
mod anchors;
mod block_stream;
mod blocks;
mod bundles;
mod cells;
mod chain;
mod chain_metrics;
mod chain_rows;
mod changes;
pub(crate) mod checkpoints;
mod collections;
mod consume;
mod consumers;
mod cursor;
mod dead_letters;
mod economy;
mod endorsements;
mod envelope;
mod filter;
mod floors;
mod flow;
mod governance;
mod graphs;
mod guard;
mod health;
mod intake;
mod judge;
mod keys;
mod kinds;
mod messages;
mod metrics;
mod nodes;
mod openapi;
mod packs;
mod params;
mod peers;
mod pending;
mod perturbation;
mod problem;
mod publish;
mod queues;
mod reader;
mod requests;
mod routes;
mod routing;
mod schemas;
mod serve;
mod stages;
mod state;
mod status;
mod subscribe;
mod tap;
mod transactions;
mod vault;
mod webhook;
mod worker;

pub use envelope::Envelope;
pub use flow::look;
pub use keys::tend as tend_keys;
pub use openapi::document;
pub use routes::router;
pub use serve::serve;
pub use state::ApiState;
pub use vault::Vault;

#[cfg(test)]
pub(crate) mod tests;
