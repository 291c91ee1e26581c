//! libp2p: the node's only way to other nodes. No libp2p type passes this door.
//!
//! Shell, async. One task owns the swarm and does nothing but move bytes: what comes by gossip or as an answer goes to
//! a verifier thread, and only what that thread believes reaches the node. Gossip forwards a bundle when the node has
//! given its verdict, not before.
//!
//! ```text
//!   swarm task ──frame──▶ verifier ──Verified──▶ node ──verdict, publish, request, dial, ban──▶ swarm task
//! ```

mod address;
mod bandwidth;
mod bare;
mod behaviour;
mod cuts;
mod error;
mod exchange;
mod frames;
mod per_address;
mod repeats;
mod settings;
mod slow;
mod swarm;
mod urgent;
mod verifier;

pub use address::split_bootstrap;
pub use bare::gossip_alone;
pub use error::NetError;
pub use swarm::{Listening, Net};

#[cfg(test)]
mod tests;
