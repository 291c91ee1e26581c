//! metanode: a peer-to-peer node.
pub mod types;
pub mod wire;
pub mod feed;
pub mod flow;
pub mod node;
pub mod keys;
pub mod config;
pub mod store;
pub mod driver;
pub mod net;
