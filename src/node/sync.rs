//! Catching up: heads are compared, what is missing is asked for, what others miss is served.

use bytes::Bytes;

use super::output::{Output, Stage};
use super::owner::{Node, Turn};
use crate::feed::{Feeds, Fork, Stored};
use crate::types::{Hash, Incarnation, NodeId, limits};
use crate::wire::agreement::ChainResponse;
use crate::wire::{
    Bundle, Category, FeedId, Head, Refusal, Request, Response, SignedHeader, Slot, StateRequest, Unserved, Verified,
};

/// Pages of heads that one peer is asked for, one after the other: as many as the feeds a node follows, twice.
const PAGES: usize = 2 * limits::FEEDS / limits::HEADS;

/// A peer that was asked what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing {
    peer: NodeId,
    after: Option<FeedId>,
    pages: usize,
}

impl Node {
    pub(super) fn on_peer_up(&mut self, peer: NodeId, dialled: Option<String>, turn: &mut Turn<'_>) {
        if self.peers.on_up(peer, dialled.as_deref(), turn) {
            self.routes.on_up(peer);
            self.window.on_up(peer);
            self.links_changed(turn);
            self.ask_heads(peer, turn);
            self.ask_decisions(peer, turn);
        }
    }

    pub(super) fn on_peer_down(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        self.peers.on_down(peer, turn);
        self.repair.drop_peer(peer);
        self.routes.on_down(peer);
        self.window.on_down(peer);
        self.peers.connected().for_each(|other| self.window.on_up(other));
        self.drop_relays_of(peer);
        self.drop_talk(peer, turn);
        self.links_changed(turn);
        self.listings.retain(|_, listing| listing.peer != peer);
    }

    /// What a peer did wrong costs it points, and in the end the connection.
    pub(super) fn on_refused(&mut self, from: NodeId, refusal: &Refusal, turn: &mut Turn<'_>) {
        *self.counters.refused.entry(refusal.code()).or_default() += 1;
        if matches!(refusal, Refusal::Height { height, at } if height > at) {
            self.ask_decisions(from, turn);
        }
        self.peers.penalise(from, refusal.penalty(), &refusal.to_string(), turn);
    }

    /// Asks for heads unless the peer was asked a moment ago.
    pub(super) fn ask_heads(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        if self.peers.may_ask_heads(peer, turn.now.mono) {
            self.ask_page(Listing { peer, after: None, pages: 0 }, turn);
        }
    }

    fn ask_page(&mut self, listing: Listing, turn: &mut Turn<'_>) {
        let id = self.repair.fresh_id();
        turn.want(Output::Request { to: listing.peer, id, request: Request::Heads { after: listing.after } });
        self.listings.retain(|_, other| other.peer != listing.peer);
        self.listings.insert(id, listing);
    }

    /// Asks for what is missing.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_>) {
        let late = self.repair.expired(turn.now.mono);
        self.counters.repairs_failed += late.len() as u64;
        for asked in self.repair.requests(&self.feeds, turn.now.mono) {
            self.counters.repairs_asked += 1;
            tracing::debug!(peer = %asked.to, request = ?asked.request, "a range is asked for");
            turn.want(Output::Request { to: asked.to, id: asked.id, request: asked.request });
        }
    }

    pub(super) fn on_request(&mut self, from: NodeId, id: u64, request: Request, turn: &mut Turn<'_>) {
        let response = if !self.peers.take_token(from, turn) {
            self.counters.requests_put_off += 1;
            Response::Unserved(Unserved::Busy)
        } else if let Request::State(StateRequest::Endorse(asked)) = &request {
            self.serve_endorsement(from, asked, turn)
        } else {
            self.serve(&request, turn)
        };
        // A proposal or a certificate in it may have this node's own word, which must not leave before its record.
        let is_said = matches!(
            response,
            Response::Chain(ChainResponse::Body { .. } | ChainResponse::Decisions(_) | ChainResponse::Trail { .. })
        );
        let stage = if is_said { Stage::Repeated } else { Stage::Committed };
        turn.out.push((stage, Output::Respond { id, response }));
    }

    fn serve(&self, request: &Request, turn: &Turn<'_>) -> Response {
        match *request {
            Request::Heads { after } => {
                let all = self.feeds.chains_after(after).filter_map(|(feed, chain)| chain.announcement(*feed));
                let mut heads: Vec<Head> = all.take(limits::HEADS + 1).collect();
                let more = heads.len() > limits::HEADS;
                heads.truncate(limits::HEADS);
                Response::Heads { heads, more }
            }
            Request::Range { feed, from, to, newest_first } => self.serve_range(feed, from, to, newest_first, turn),
            Request::Fork { feed } => self.serve_fork(feed, turn),
            Request::Ends { author, incarnation } => self.serve_ends(author, incarnation),
            // Those are checked first, and come another way.
            Request::Deliver { .. } => Response::Unserved(Unserved::NoRoute),
            Request::Chain(request) => self.serve_chain(request, turn),
            Request::State(ref request) => self.serve_state(request, turn),
        }
    }

    /// How far this node is with the feeds of a life that it follows, also where it holds nothing of them: whoever is not
    /// told of a topic takes it that this node does not follow it.
    fn serve_ends(&self, author: NodeId, incarnation: Incarnation) -> Response {
        let head = |topic| {
            let feed = FeedId { author, incarnation, topic };
            let next = self.feeds.chain(feed).map_or(0, |chain| chain.next);
            let nothing = Head { feed, floor: next, next, hash: Hash::ZERO, forked: None };
            self.feeds.chain(feed).and_then(|chain| chain.announcement(feed)).unwrap_or(nothing)
        };
        let followed = Category::ALL.into_iter().filter(|topic| self.follows(*topic));
        let mut heads: Vec<Head> = followed.map(head).collect();
        heads.sort_by_key(|head| head.feed);
        Response::Heads { heads, more: false }
    }

    fn serve_range(&self, feed: FeedId, from: u64, to: u64, newest_first: bool, turn: &Turn<'_>) -> Response {
        let Some(chain) = self.feeds.chain(feed) else { return Response::Unserved(Unserved::UnknownFeed) };
        let to = to.min(chain.next.saturating_sub(1));
        let held = |sequence: u64| {
            let bundle = Bundle::decode(Stored::load(Slot { feed, sequence }, &turn.tx)?.wire).ok()?;
            Some((bundle.header().body_bytes as usize, bundle.wire().clone()))
        };
        let floor = if from < chain.joined && held(from).is_none() { chain.joined } else { from };
        let mut bundles: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        let mut take = |sequence: u64| {
            let fits = bundles.len() < limits::RANGE_BUNDLES && (bundles.is_empty() || bytes < limits::RANGE_BYTES);
            let Some((body_bytes, wire)) = held(sequence).filter(|_| fits) else { return false };
            bytes += body_bytes;
            bundles.push(wire);
            true
        };
        if floor <= to && chain.next > 0 {
            let whole = if newest_first { (floor..=to).rev().all(&mut take) } else { (floor..=to).all(&mut take) };
            tracing::trace!(%feed, floor, to, whole, "served a range");
        }
        Response::Range { floor, bundles }
    }

    fn serve_fork(&self, feed: FeedId, turn: &Turn<'_>) -> Response {
        let at = self.feeds.chain(feed).and_then(|chain| chain.forked);
        match at.and_then(|sequence| Fork::load(Slot { feed, sequence }, &turn.tx)) {
            Some(fork) => {
                let (first, second) = fork.headers();
                let bytes = |signed: &SignedHeader| Bytes::copy_from_slice(&signed.encode());
                Response::Fork { first: bytes(first), second: bytes(second) }
            }
            None => Response::Unserved(Unserved::UnknownFeed),
        }
    }

    pub(super) fn on_heads(&mut self, from: NodeId, id: u64, heads: &[Head], more: bool, turn: &mut Turn<'_>) {
        if self.on_ends(from, id, heads, turn.now.mono) {
            return;
        }
        // An answer that nobody waits for any more is late, not wrong.
        let Some(listing) = self.listings.remove(&id).filter(|listing| listing.peer == from) else { return };
        let after = heads.first().is_none_or(|first| listing.after.is_none_or(|after| after < first.feed));
        if !after || !heads.is_sorted_by(|a, b| a.feed < b.feed) {
            return self.on_refused(from, &Refusal::Unasked { reason: "heads out of order" }, turn);
        }
        for head in heads {
            self.on_head(from, head, turn);
        }
        if more
            && listing.pages < PAGES
            && let Some(last) = heads.last()
        {
            self.ask_page(Listing { peer: from, after: Some(last.feed), pages: listing.pages + 1 }, turn);
        }
    }

    /// A peer holds a feed up to here: what is missing is claimed; where it holds something else, or knows of a fork,
    /// it is asked for that.
    pub(super) fn on_head(&mut self, from: NodeId, head: &Head, turn: &mut Turn<'_>) {
        if !self.follows(head.feed.topic) {
            return;
        }
        self.note_holder(from, head);
        let now = turn.now.mono;
        if let Some(at) = head.forked.filter(|at| self.feeds.lacks_fork(head.feed, *at))
            && let Some(asked) = self.repair.ask_fork(from, head.feed, at, now)
        {
            turn.want(Output::Request { to: asked.to, id: asked.id, request: asked.request });
        }
        let Some(last) = head.last() else { return };
        if let Some(chain) = self.feeds.chain(head.feed)
            && (chain.joined..chain.next).contains(&last)
        {
            let slot = Slot { feed: head.feed, sequence: last };
            let ours = if head.next == chain.next {
                Some(chain.head)
            } else {
                Feeds::signed_header(slot, &turn.tx).map(|signed| signed.header.id())
            };
            if ours.is_some_and(|ours| ours != head.hash)
                && let Some(asked) = self.repair.probe(from, head.feed, last, now)
            {
                turn.want(Output::Request { to: asked.to, id: asked.id, request: asked.request });
            }
        }
        self.repair.claim(from, head.feed, head.floor, last, &self.feeds, now);
    }

    pub(super) fn on_range(&mut self, from: NodeId, id: u64, floor: u64, bundles: Vec<Verified>, turn: &mut Turn<'_>) {
        // What was given up, and comes all the same, is of use if it continues a chain; the peer did nothing wrong.
        let Some(flight) = self.repair.flight(id, from) else {
            for bundle in bundles {
                self.counters.repaired_bundles += u64::from(self.admit(Some(from), bundle, false, turn).is_ok());
            }
            return;
        };
        let strays = |b: &Verified| b.header().feed != flight.feed || !flight.covers(b.header().sequence, floor);
        if flight.proof || bundles.iter().any(strays) {
            self.repair.finish(id, false);
            return self.on_refused(from, &Refusal::Unasked { reason: "bundles outside the range" }, turn);
        }
        let (mut useful, count) = (false, bundles.len());
        for bundle in bundles {
            let starts = flight.may_start && floor > flight.from && bundle.header().sequence == floor;
            self.counters.repaired_bundles += 1;
            useful |= self.admit(Some(from), bundle, starts, turn).is_ok();
        }
        tracing::debug!(feed = %flight.feed, from = flight.from, to = flight.to, floor, count, useful, "a range came");
        self.repair.finish(id, useful);
        if floor > flight.from && !flight.may_start {
            // The peer no longer holds the beginning: it is asked again only if nobody else does either.
            self.repair.claim(from, flight.feed, floor, flight.to.max(floor), &self.feeds, turn.now.mono);
        }
    }

    /// The proof of a fork that was asked for.
    pub(super) fn on_fork_proof(&mut self, from: NodeId, id: u64, fork: Fork, turn: &mut Turn<'_>) {
        let Some(flight) = self.repair.flight(id, from) else { return };
        let asked = flight.proof && flight.feed == fork.feed();
        self.repair.finish(id, asked);
        if !asked {
            return self.on_refused(from, &Refusal::Unasked { reason: "the proof of another fork" }, turn);
        }
        if self.feeds.cut(&fork, &mut turn.tx) {
            self.note_fork(fork, turn);
        }
    }

    pub(super) fn on_failed(&mut self, from: NodeId, id: u64, turn: &mut Turn<'_>) {
        self.on_undelivered(id, turn);
        self.listings.remove(&id);
        self.window.on_failed(from, id);
        self.on_chain_failed(id, turn);
        self.on_state_failed(from, id, turn);
        self.on_endorse_failed(from, id, turn.now.mono);
        if self.repair.flight(id, from).is_some() {
            self.counters.repairs_failed += 1;
            self.repair.finish(id, false);
        }
    }
}
