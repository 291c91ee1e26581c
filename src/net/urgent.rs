//! A stream of its own for what is Critical: past gossipsub's queue and window, which it would share with Bulk.
//!
//! A frame goes to some peers at once, each on a fresh stream of the same connection, and to all by gossip as well. Who
//! gets it first this way passes it on both ways when its node has accepted it; gossip knows it then, and what comes
//! later by gossip is a duplicate. So nothing is lost where this stream is not spoken or has no room.

use bytes::Bytes;
use libp2p::{PeerId, gossipsub};

use super::address::node_id;
use super::behaviour::topic;
use super::swarm::Net;
use super::verifier::Job;
use crate::types::limits;
use crate::wire::{Bundle, Category, Priority};

impl Net {
    /// Sends a frame, if it is Critical, to peers that follow its topic; not to the one it came from.
    pub(super) fn hurry(&mut self, category: Category, frame: &Bytes, from: Option<PeerId>) {
        if Bundle::urgency(frame) != Priority::Critical || frame.len() > limits::URGENT_BYTES {
            return;
        }
        let topic = topic(&self.network, category).hash();
        let gossip = &self.swarm.behaviour().gossip;
        let follows = gossip.all_peers().filter(|(_, topics)| topics.contains(&&topic)).map(|(peer, _)| *peer);
        let to: Vec<PeerId> = follows
            .filter(|peer| Some(*peer) != from && self.up.contains_key(peer))
            .take(limits::URGENT_PEERS)
            .collect();
        for peer in to {
            self.swarm.behaviour_mut().urgent.send_request(&peer, frame.clone());
        }
    }

    /// A frame came on the stream: to the verifier with it.
    pub(super) fn on_urgent(&mut self, peer: PeerId, bytes: Bytes) {
        let Some(from) = node_id(&peer) else { return };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if self.verifiers.take(Job::Urgent { from, ticket, bytes: bytes.clone() }) {
            self.urgent.insert(ticket, (peer, bytes));
        }
    }

    /// The node's or the verifier's word on it: what is news goes on, on the stream and by gossip.
    pub(super) fn judge_urgent(&mut self, from: PeerId, frame: Bytes, acceptance: gossipsub::MessageAcceptance) {
        let gossipsub::MessageAcceptance::Accept = acceptance else { return };
        let Some(category) = frame.get(3).copied().and_then(Category::from_tag) else { return };
        self.hurry(category, &frame, Some(from));
        let topic = topic(&self.network, category);
        if let Err(e) = self.swarm.behaviour_mut().gossip.publish(topic, frame) {
            tracing::trace!(cause = %e, "a Critical frame was not gossiped on");
        }
    }
}
