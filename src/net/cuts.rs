//! Whom a node is cut off from on purpose: connections with them fall, dials of them and by them fail.

use std::collections::BTreeSet;

use libp2p::allow_block_list::{self, BlockedPeers};
use tokio::time::Instant;

use super::address::peer_id;
use crate::driver::Perturbed;
use crate::types::NodeId;

/// Whom the node is cut off from, and where it says so.
pub struct Cuts {
    perturbed: Option<Perturbed>,
    peers: BTreeSet<NodeId>,
}

impl Cuts {
    /// From nobody yet.
    pub fn new(perturbed: Option<Perturbed>) -> Cuts {
        Cuts { perturbed, peers: BTreeSet::new() }
    }

    /// Whom the node is to be cut off from, when they are others than before; never at a node that was not started to
    /// be perturbed. Dropping it before it is there loses nothing.
    pub async fn changed(&mut self) -> BTreeSet<NodeId> {
        let Some(perturbed) = &mut self.perturbed else { return std::future::pending().await };
        loop {
            let (wanted, until) = perturbed.cut().map_or_else(Default::default, |(peers, until)| (peers, Some(until)));
            if wanted != self.peers {
                return wanted;
            }
            let over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(Instant::from_std(until)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = perturbed.changed() => {}
                () = over => {}
            }
        }
    }

    /// Cuts the node off from these, and from nobody else.
    pub fn apply(&mut self, wanted: BTreeSet<NodeId>, cut: &mut allow_block_list::Behaviour<BlockedPeers>) {
        for peer in wanted.difference(&self.peers).copied().filter_map(peer_id) {
            cut.block_peer(peer);
        }
        for peer in self.peers.difference(&wanted).copied().filter_map(peer_id) {
            cut.unblock_peer(peer);
        }
        tracing::warn!(peers = wanted.len(), "on purpose, this node is cut off from so many peers");
        self.peers = wanted;
    }
}
