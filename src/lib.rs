//! metanode: a peer-to-peer node.
pub mod config;
pub mod driver;
pub mod feed;
pub mod flow;
pub mod keys;
pub mod net;
pub mod node;
pub mod store;
pub mod types;
pub mod wire;
pub mod api;
