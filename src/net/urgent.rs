//! A stream of its own for what is Critical: past gossipsub's queue and window, which it would share with Bulk.
//!
//! A frame goes to some peers at once, each on a fresh stream of the same connection, and to all by gossip as well. Who
//! gets it first this way passes it on both ways when its node has accepted it; gossip knows it then, and what comes
//! later by gossip is a duplicate. So nothing is lost where this stream is not spoken or has no room.
//!
//! A feed is taken in order, so what this node said in it since its last Critical frame goes with the next one, if it
//! is not much: otherwise the Critical message would wait at the other end for what gossip brings.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use libp2p::{PeerId, gossipsub};

use super::address::node_id;
use super::behaviour::topic;
use super::swarm::Net;
use super::verifier::Job;
use crate::types::limits;
use crate::wire::{Bundle, Category, Priority};

/// What this node said in each topic since its last Critical frame there.
#[derive(Debug, Default)]
pub struct Before {
    topics: BTreeMap<Category, Said>,
}

#[derive(Debug, Default)]
struct Said {
    frames: BytesMut,
    bundles: usize,
    /// What they unpack to, bytes.
    body_bytes: usize,
    /// There was more than a frame can take along.
    is_cut: bool,
}

impl Said {
    /// A frame and this behind it, if one frame may be all that.
    fn behind(&mut self, frame: &Bytes) -> Option<Bytes> {
        let own = Size::of(frame)?;
        let fits = frame.len() + self.frames.len() <= limits::URGENT_BYTES
            && own.bundles + self.bundles <= limits::FRAME_BUNDLES
            && own.body_bytes + self.body_bytes <= limits::FRAME_BODY_BYTES;
        (fits && !self.is_cut).then(|| [frame.as_ref(), self.frames.as_ref()].concat().into())
    }

    fn add(&mut self, frame: &Bytes) {
        let fits = !self.is_cut && frame.len() + self.frames.len() <= limits::URGENT_BYTES / 2;
        let Some(size) = fits.then(|| Size::of(frame)).flatten() else {
            *self = Said { is_cut: true, ..Said::default() };
            return;
        };
        self.frames.extend_from_slice(frame);
        self.bundles += size.bundles;
        self.body_bytes += size.body_bytes;
    }
}

struct Size {
    bundles: usize,
    body_bytes: usize,
}

impl Size {
    fn of(frame: &Bytes) -> Option<Size> {
        let bundles = Bundle::split(frame.clone()).ok()?;
        let body_bytes = bundles.iter().map(|bundle| bundle.header().body_bytes as usize).sum();
        Some(Size { bundles: bundles.len(), body_bytes })
    }
}

impl Before {
    /// Notes a frame of this node. A Critical one is handed back with what came before it.
    fn said(&mut self, category: Category, frame: &Bytes) -> Option<Bytes> {
        let said = self.topics.entry(category).or_default();
        if !is_urgent(frame) {
            said.add(frame);
            return None;
        }
        let whole = said.behind(frame).unwrap_or_else(|| frame.clone());
        *said = Said::default();
        Some(whole)
    }
}

fn is_urgent(frame: &[u8]) -> bool {
    Bundle::urgency(frame) == Priority::Critical && frame.len() <= limits::URGENT_BYTES
}

impl Net {
    /// This node says a frame: sends it, with what came before it, if it is Critical.
    pub(super) fn hurry_own(&mut self, category: Category, frame: &Bytes) {
        if let Some(frame) = self.before.said(category, frame) {
            self.hurry(category, &frame, None);
        }
    }

    /// Sends a frame, if it is Critical, to peers that follow its topic; not to the one it came from.
    fn hurry(&mut self, category: Category, frame: &Bytes, from: Option<PeerId>) {
        if !is_urgent(frame) {
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

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::types::{Hash, Incarnation, MessageId, NetworkName, NodeId, Stamp, WallMs};
    use crate::wire::kind::security::SecurityAlert;
    use crate::wire::kind::security::Severity;
    use crate::wire::{Course, Draft, FeedId, Header, Packing, Payload, Pending};

    /// A bundle of one message of so many bytes, as a frame.
    fn frame(priority: Priority, sequence: u64, size: usize) -> Bytes {
        let key = SigningKey::from_bytes(&[1; 32]);
        let mut draft = Draft::new(&Payload::SecurityAlert(SecurityAlert {
            rule: "r".into(),
            severity: Severity::Info,
            subject: None,
            description: "d".repeat(size),
            evidence: Vec::new(),
            detected_ms: WallMs(1),
        }));
        draft.priority = priority;
        let mut pending = Pending::default();
        pending.push(&draft.message(MessageId::new(Stamp::new(sequence, 0), 0)));
        let feed = FeedId {
            author: NodeId(key.verifying_key().to_bytes()),
            incarnation: Incarnation(1),
            topic: Category::Security,
        };
        let header = Header {
            course: Course::Feed,
            priority,
            network: "n".parse::<NetworkName>().unwrap().id(),
            feed,
            sequence,
            previous: Hash([u8::from(sequence > 0); 32]),
            clock: Stamp(0),
            count: 0,
            body_bytes: 0,
            root: Hash::ZERO,
        };
        pending.seal_packed(header, &key, Packing::None).unwrap().wire().clone()
    }

    fn sequences(frame: &Bytes) -> Vec<u64> {
        Bundle::split(frame.clone()).unwrap().iter().map(|bundle| bundle.header().sequence).collect()
    }

    #[test]
    fn what_came_before_goes_with_it_once() {
        let mut before = Before::default();
        let mut say = |priority, sequence, size| before.said(Category::Security, &frame(priority, sequence, size));
        assert_eq!(say(Priority::Low, 1, 10), None);
        assert_eq!(say(Priority::High, 2, 10), None);
        assert_eq!(sequences(&say(Priority::Critical, 3, 10).unwrap()), [3, 1, 2]);
        assert_eq!(sequences(&say(Priority::Critical, 4, 10).unwrap()), [4]);
    }

    #[test]
    fn what_is_too_much_to_take_along_stays_behind() {
        let mut before = Before::default();
        let mut say = |priority, sequence, size| before.said(Category::Security, &frame(priority, sequence, size));
        (0..10).for_each(|sequence| assert_eq!(say(Priority::Low, sequence, 7000), None));
        assert_eq!(sequences(&say(Priority::Critical, 10, 10).unwrap()), [10], "a hole is a hole, however small");
        assert_eq!(say(Priority::Low, 11, 10), None);
        let whole = say(Priority::Critical, 12, 10).unwrap();
        assert_eq!(sequences(&whole), [12, 11]);
        assert!(is_urgent(&whole), "by its first bundle");
    }
}
