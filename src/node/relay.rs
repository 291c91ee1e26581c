//! Direct bundles that come from peers: taken, if this node is their reader, or passed on.
//!
//! A relay keeps nothing; it passes the reader's signed receipt back to whoever had asked.

use super::output::{Output, Stage};
use super::owner::{Node, Turn};
use crate::feed::NotPlaced;
use crate::meter::{Passage, Station};
use crate::types::{Hash, Mono, NodeId, limits};
use crate::wire::{Delivery, Hop, Hops, Receipt, Refusal, Request, Response, Unserved, Verified};

/// A bundle of another node's that was passed on and not answered: who asked, under which number, and whose word on
/// what is waited for.
#[derive(Debug)]
pub(super) struct Relayed {
    pub from: NodeId,
    pub answer: u64,
    reader: NodeId,
    bundle: Hash,
    pub sent: Mono,
}

impl Node {
    /// A direct bundle comes: for this node, or to be passed on.
    pub(super) fn on_deliver_request(
        &mut self,
        from: NodeId,
        id: u64,
        hops: Hops,
        bundle: &Verified,
        turn: &mut Turn<'_>,
    ) {
        if hops.passed.last().is_none_or(|hop| hop.node != from) || hops.ahead.first() != Some(&self.id) {
            let reason = "hops that are not those it came by".to_string();
            self.on_refused(from, &Refusal::Frame { reason }, turn);
            return turn.want(Output::Respond { id, response: Response::Unserved(Unserved::NoRoute) });
        }
        if hops.ahead.len() > 1 {
            // What is for this node is bounded by how much may be under way; what is not costs others, too.
            if !self.peers.take_token(from, turn) {
                self.counters.requests_put_off += 1;
                return turn.want(Output::Respond { id, response: Response::Unserved(Unserved::Busy) });
            }
            return self.relay(from, id, hops, bundle, turn);
        }
        let Some(delivery) = self.receive(hops, bundle, turn) else {
            return turn.want(Output::Respond { id, response: Response::Unserved(Unserved::Busy) });
        };
        let receipt = Receipt::sign(bundle.id(), delivery, turn.now.wall, self.network, &self.setup.key);
        // Its author lets go of it then: it must be on this disk before.
        turn.out.push((Stage::Flushed, Output::Respond { id, response: Response::Receipt(receipt) }));
    }

    /// What becomes of a bundle for this node; none when there is no room for it now.
    fn receive(&mut self, hops: Hops, bundle: &Verified, turn: &mut Turn<'_>) -> Option<Delivery> {
        self.laps.begin();
        if self.clock.see(bundle.header().clock, turn.now.wall).is_err() {
            self.note_unplaced(bundle, "far_future", turn);
            return Some(Delivery::Early);
        }
        if !bundle.messages().all(|message| self.answers_to(&message.destination)) {
            self.post.counts.misdirected += 1;
            self.note_unplaced(bundle, NotPlaced::Misdirected.code(), turn);
            return Some(Delivery::NotMine);
        }
        let placed = self.directs.check(bundle, turn.now.wall, &turn.tx);
        let passage = Passage::bundle(Station::Transform, bundle, false, self.laps.lap());
        turn.passed.push(match placed {
            Ok(()) => passage,
            Err(reason) => passage.refused(reason.code()),
        });
        match placed {
            Ok(()) => {
                self.keep_direct(bundle, Some(Hops { ahead: Vec::new(), ..hops }), turn);
                self.post.counts.received += u64::from(bundle.count());
                Some(Delivery::Taken)
            }
            Err(NotPlaced::Duplicate) => {
                self.post.counts.received_again += 1;
                Some(Delivery::Known)
            }
            // Old is for good; who finds no room comes again.
            Err(NotPlaced::Old) => Some(Delivery::Old),
            Err(
                NotPlaced::NoRoom
                | NotPlaced::AfterFork
                | NotPlaced::TooManyFeeds
                | NotPlaced::Misdirected
                | NotPlaced::NotFollowed,
            ) => None,
        }
    }

    fn relay(&mut self, from: NodeId, answer: u64, mut hops: Hops, bundle: &Verified, turn: &mut Turn<'_>) {
        hops.ahead.remove(0);
        hops.passed.push(Hop { node: self.id, at_ms: turn.now.wall });
        let next = hops.ahead.first().copied().filter(|next| self.peers.is_connected(*next));
        let of_peer = self.post.relayed.values().filter(|relayed| relayed.from == from).count();
        if self.post.relayed.len() >= limits::RELAYED || of_peer >= limits::RELAYED_PER_PEER {
            self.counters.requests_put_off += 1;
            return turn.want(Output::Respond { id: answer, response: Response::Unserved(Unserved::Busy) });
        }
        let (Some(next), Some(reader)) = (next, hops.ahead.last().copied()) else {
            return turn.want(Output::Respond { id: answer, response: Response::Unserved(Unserved::NoRoute) });
        };
        let id = self.repair.fresh_id();
        self.post.counts.relayed_bundles += 1;
        let (bundle_id, sent) = (bundle.id(), turn.now.mono);
        self.post.relayed.insert(id, Relayed { from, answer, reader, bundle: bundle_id, sent });
        turn.want(Output::Request { to: next, id, request: Request::Deliver { hops, bundle: bundle.wire().clone() } });
    }

    /// A receipt for what was passed on. Only the reader's own word on that very bundle goes back: whoever passes on
    /// another answers for it, as this node would have to.
    pub(super) fn on_relayed_receipt(
        &mut self,
        from: NodeId,
        relayed: &Relayed,
        receipt: Receipt,
        turn: &mut Turn<'_>,
    ) {
        let is_asked = receipt.reader == relayed.reader && receipt.bundle == relayed.bundle;
        let response = if is_asked {
            Response::Receipt(receipt)
        } else {
            self.on_refused(from, &Refusal::Unasked { reason: "the receipt of another bundle" }, turn);
            Response::Unserved(Unserved::NoRoute)
        };
        turn.want(Output::Respond { id: relayed.answer, response });
    }

    /// A peer is gone: nobody waits for what it had asked to be passed on.
    pub(super) fn drop_relays_of(&mut self, peer: NodeId) {
        self.post.relayed.retain(|_, relayed| relayed.from != peer);
    }
}
