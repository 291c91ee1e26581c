//! What is missing, who says they hold it, and what was asked of whom.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use super::chain::Chain;
use super::feeds::Feeds;
use crate::types::{Mono, NodeId, limits};
use crate::wire::{FeedId, Request};

/// Gossip in flight is given this long to close a gap by itself.
const GRACE: Duration = Duration::from_millis(80);
/// Feeds looked at in one call, and the time to the next when that was not enough.
const LOOKS: usize = 1024;
const PAUSE: Duration = Duration::from_millis(5);

/// A request to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Whom to ask.
    pub to: NodeId,
    /// The request's number here.
    pub id: u64,
    /// What to ask.
    pub request: Request,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// Who was asked.
    pub peer: NodeId,
    /// About which feed.
    pub feed: FeedId,
    /// The sequences asked for.
    pub from: u64,
    pub to: u64,
    /// A feed may begin with what comes: nobody who claims it holds the beginning.
    pub may_start: bool,
    /// The proof of a fork at `from` was asked for, not bundles.
    pub proof: bool,
    deadline: Mono,
}

impl Flight {
    /// Whether an answer that begins at `floor` may have this sequence in it.
    pub fn covers(&self, sequence: u64, floor: u64) -> bool {
        (self.from..=self.to.max(floor)).contains(&sequence)
    }
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    floor: u64,
    sequence: u64,
}

#[derive(Debug, Default)]
struct Want {
    due: Mono,
    in_flight: Option<u64>,
    claims: BTreeMap<NodeId, Claim>,
}

/// What is known of a peer that says it holds something.
#[derive(Debug)]
struct Holder {
    /// The wanted feeds of which it holds something; at most [`limits::CLAIMS_PER_PEER`].
    feeds: BTreeSet<FeedId>,
    /// The one looked at last: the others come first.
    last: Option<FeedId>,
    flights: usize,
    /// Requests it is given at once: fewer when it does not answer.
    quota: usize,
}

impl Default for Holder {
    fn default() -> Holder {
        Holder { feeds: BTreeSet::new(), last: None, flights: 0, quota: limits::RANGES_PER_PEER }
    }
}

impl Holder {
    fn is_free(&self) -> bool {
        self.flights < self.quota
    }

    /// The feed after the one looked at last, round and round.
    fn next(&mut self) -> Option<FeedId> {
        let after = (self.last.map_or(Unbounded, Excluded), Unbounded);
        let next = self.feeds.range(after).next().or_else(|| self.feeds.first()).copied();
        self.last = next;
        next
    }
}

/// Everything wanted from others. Only feeds with something missing are in here. Peers take turns, and the feeds of a
/// peer take turns, so that one that claims a lot, or claims what it does not have, costs the others nothing.
#[derive(Debug, Default)]
pub struct Repair {
    wants: BTreeMap<FeedId, Want>,
    holders: BTreeMap<NodeId, Holder>,
    /// Wants that gossip may still close, by when.
    grace: BTreeSet<(Mono, FeedId)>,
    flights: BTreeMap<u64, Flight>,
    next_id: u64,
    /// The peer that had the last turn.
    last: Option<NodeId>,
    /// When to go on, when there is more to look at than one call does.
    unfinished: Option<Mono>,
}

impl Repair {
    /// A peer says it holds `floor..=sequence` of a feed.
    pub fn claim(&mut self, peer: NodeId, feed: FeedId, floor: u64, sequence: u64, feeds: &Feeds, now: Mono) {
        let claim = Claim { floor, sequence };
        if needed(feeds.chain(feed), claim).is_none() {
            return;
        }
        let holder = self.holders.entry(peer).or_default();
        let room = holder.feeds.contains(&feed) || holder.feeds.len() < limits::CLAIMS_PER_PEER;
        if !room || (!self.wants.contains_key(&feed) && self.wants.len() >= limits::FEEDS) {
            return;
        }
        holder.feeds.insert(feed);
        let want = self.wants.entry(feed).or_insert_with(|| {
            self.grace.insert((now + GRACE, feed));
            Want { due: now + GRACE, ..Want::default() }
        });
        want.claims.insert(peer, claim);
    }

    /// A fresh number for a request that is not a range.
    pub fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Asks a peer for one slot in which it holds something else, to have its word in hand. None when too much is under
    /// way.
    pub fn probe(&mut self, peer: NodeId, feed: FeedId, sequence: u64, now: Mono) -> Option<Asked> {
        let probed = |f: &Flight| f.peer == peer && f.feed == feed && f.from == sequence;
        if self.flights.values().any(probed) {
            return None;
        }
        self.ask_one(peer, sequence, Request::Range { feed, from: sequence, to: sequence, newest_first: false }, now)
    }

    /// Asks a peer for its proof that a feed forked at `sequence`, unless somebody is being asked. None as well when
    /// too much is under way.
    pub fn ask_fork(&mut self, peer: NodeId, feed: FeedId, sequence: u64, now: Mono) -> Option<Asked> {
        if self.flights.values().any(|f| f.proof && f.feed == feed && f.from <= sequence) {
            return None;
        }
        self.ask_one(peer, sequence, Request::Fork { feed }, now)
    }

    fn ask_one(&mut self, peer: NodeId, sequence: u64, request: Request, now: Mono) -> Option<Asked> {
        let (feed, proof) = match request {
            Request::Heads { .. }
            | Request::Deliver { .. }
            | Request::Chain(_)
            | Request::State(_)
            | Request::Ends { .. } => return None,
            Request::Range { feed, .. } => (feed, false),
            Request::Fork { feed } => (feed, true),
        };
        let full = self.flights.len() >= limits::RANGES_IN_FLIGHT;
        if full || !self.holders.entry(peer).or_default().is_free() {
            return None;
        }
        let deadline = now + limits::REQUEST_TIMEOUT;
        let flight = Flight { peer, feed, from: sequence, to: sequence, may_start: false, proof, deadline };
        Some(Asked { to: peer, id: self.take_off(flight), request })
    }

    fn take_off(&mut self, flight: Flight) -> u64 {
        let id = self.fresh_id();
        self.holders.entry(flight.peer).or_default().flights += 1;
        self.flights.insert(id, flight);
        id
    }

    /// Forgets a peer that went away.
    pub fn drop_peer(&mut self, peer: NodeId) {
        let lost: Vec<u64> = self.flights.iter().filter(|(_, f)| f.peer == peer).map(|(id, _)| *id).collect();
        for id in lost {
            self.finish(id, false);
        }
        let holder = self.holders.remove(&peer).unwrap_or_default();
        for feed in holder.feeds {
            self.withdraw(peer, feed);
        }
    }

    /// Ends a request that was answered (`useful` or not), refused or never answered. A peer whose answer was of no
    /// use is not asked about the feed again until it claims to hold it anew.
    pub fn finish(&mut self, id: u64, useful: bool) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some(holder) = self.holders.get_mut(&flight.peer) {
            holder.flights = holder.flights.saturating_sub(1);
            if useful {
                holder.quota = limits::RANGES_PER_PEER.min(holder.quota + 1);
            }
        }
        if let Some(want) = self.wants.get_mut(&flight.feed) {
            want.in_flight = want.in_flight.filter(|under_way| *under_way != id);
        }
        if !useful {
            self.withdraw(flight.peer, flight.feed);
        }
        Some(flight)
    }

    /// A peer is not counted on for a feed any more.
    fn withdraw(&mut self, peer: NodeId, feed: FeedId) {
        if let Some(holder) = self.holders.get_mut(&peer) {
            holder.feeds.remove(&feed);
        }
        if let Some(want) = self.wants.get_mut(&feed) {
            want.claims.remove(&peer);
            if want.claims.is_empty() && want.in_flight.is_none() {
                self.grace.remove(&(want.due, feed));
                self.wants.remove(&feed);
            }
        }
    }

    /// The request with this number, if it was made to this peer.
    pub fn flight(&self, id: u64, peer: NodeId) -> Option<Flight> {
        self.flights.get(&id).filter(|f| f.peer == peer).copied()
    }

    /// Requests nobody answered in time; they are ended.
    pub fn expired(&mut self, now: Mono) -> Vec<Flight> {
        let late: Vec<u64> = self.flights.iter().filter(|(_, f)| f.deadline <= now).map(|(id, _)| *id).collect();
        let flights: Vec<Flight> = late.into_iter().filter_map(|id| self.finish(id, false)).collect();
        for flight in &flights {
            if let Some(holder) = self.holders.get_mut(&flight.peer) {
                holder.quota = (holder.quota / 2).max(1);
            }
        }
        flights
    }

    /// What to ask now, within the bounds on requests under way.
    pub fn requests(&mut self, feeds: &Feeds, now: Mono) -> Vec<Asked> {
        while self.grace.first().is_some_and(|(due, _)| *due <= now) {
            self.grace.pop_first();
        }
        let (mut asked, mut looks, mut resting) = (Vec::new(), LOOKS, 0);
        // A round ends when every peer in turn had nothing to be asked.
        while resting < self.holders.len() && self.flights.len() < limits::RANGES_IN_FLIGHT && looks > 0 {
            let Some(peer) = self.next_holder() else { break };
            match self.ask_of(peer, feeds, now, &mut looks) {
                Some(request) => {
                    resting = 0;
                    asked.push(request);
                }
                None => resting += 1,
            }
        }
        self.unfinished = (looks == 0).then_some(now + PAUSE);
        asked
    }

    /// The peer after the one that had the last turn, round and round.
    fn next_holder(&mut self) -> Option<NodeId> {
        let after = (self.last.map_or(Unbounded, Excluded), Unbounded);
        let next = self.holders.range(after).next().or_else(|| self.holders.first_key_value());
        self.last = next.map(|(peer, _)| *peer);
        self.last
    }

    /// A request for something this peer holds, of it or of one that holds more.
    fn ask_of(&mut self, peer: NodeId, feeds: &Feeds, now: Mono, looks: &mut usize) -> Option<Asked> {
        let holder = self.holders.get(&peer).filter(|holder| holder.is_free())?;
        for _ in 0..holder.feeds.len() {
            *looks = looks.checked_sub(1)?;
            let feed = self.holders.get_mut(&peer)?.next()?;
            if let Some(request) = self.ask_for(feed, feeds, now) {
                return Some(request);
            }
        }
        None
    }

    fn ask_for(&mut self, feed: FeedId, feeds: &Feeds, now: Mono) -> Option<Asked> {
        let chain = feeds.chain(feed);
        let claims = &self.wants.get(&feed)?.claims;
        let idle: Vec<NodeId> =
            claims.iter().filter(|(_, claim)| needed(chain, **claim).is_none()).map(|(peer, _)| *peer).collect();
        for peer in idle {
            self.withdraw(peer, feed);
        }
        let want = self.wants.get(&feed).filter(|want| want.in_flight.is_none() && want.due <= now)?;
        let (peer, mut range) = want.choose(chain, &self.holders)?;
        if let Some(held) = feeds.lowest_held(feed).filter(|h| range.ends_before(*h)) {
            range.to = range.to.min(held - 1);
        }
        let (from, to, newest_first) = (range.from, range.to, range.newest_first);
        let deadline = now + limits::REQUEST_TIMEOUT;
        let may_start = range.beyond_floor || chain.is_none();
        let id = self.take_off(Flight { peer, feed, from, to, may_start, proof: false, deadline });
        self.wants.get_mut(&feed)?.in_flight = Some(id);
        Some(Asked { to: peer, id, request: Request::Range { feed, from, to, newest_first } })
    }

    /// When something here becomes due without anything else happening.
    pub fn next_wake(&self) -> Option<Mono> {
        let grace = self.grace.first().map(|(due, _)| *due).filter(|_| self.flights.len() < limits::RANGES_IN_FLIGHT);
        grace.into_iter().chain(self.unfinished).chain(self.flights.values().map(|f| f.deadline)).min()
    }

    /// Feeds with something missing.
    pub fn wanted_count(&self) -> usize {
        self.wants.len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    from: u64,
    to: u64,
    newest_first: bool,
    /// The peer no longer holds the first of it.
    beyond_floor: bool,
}

impl Missing {
    /// Whether what is held in memory from `held` on need not be asked for. Where a peer no longer has the beginning,
    /// what it begins with is asked for even so: the feed may go on from there.
    fn ends_before(&self, held: u64) -> bool {
        held > self.from && !self.newest_first && !self.beyond_floor
    }
}

impl Want {
    /// The peer to ask: one that holds the first missing bundle before one that does not, then the least loaded.
    fn choose(&self, chain: Option<&Chain>, holders: &BTreeMap<NodeId, Holder>) -> Option<(NodeId, Missing)> {
        self.claims
            .iter()
            .filter_map(|(peer, claim)| {
                let holder = holders.get(peer).filter(|holder| holder.is_free())?;
                Some((*peer, needed(chain, *claim)?, holder.flights))
            })
            .min_by_key(|(_, missing, flights)| (missing.beyond_floor, missing.newest_first, missing.from, *flights))
            .map(|(peer, missing, _)| (peer, missing))
    }
}

/// What of a claim is missing here: what comes after the chain's end, otherwise what lies below its beginning.
fn needed(chain: Option<&Chain>, claim: Claim) -> Option<Missing> {
    let next = chain.map_or(0, |c| c.next);
    let last = chain.and_then(|c| c.forked).map_or(claim.sequence, |at| claim.sequence.min(at.saturating_sub(1)));
    let cut = chain.and_then(|c| c.forked).is_some_and(|at| next >= at);
    let most = limits::RANGE_BUNDLES as u64 - 1;
    if last >= next && !cut {
        let to = last.min(next.max(claim.floor).saturating_add(most));
        return Some(Missing { from: next, to, newest_first: false, beyond_floor: claim.floor > next });
    }
    let chain = chain?;
    let floor = claim.floor.max(chain.trimmed).max(chain.below());
    (floor < chain.joined).then(|| {
        let to = chain.joined - 1;
        Missing { from: floor.max(to.saturating_sub(most)), to, newest_first: true, beyond_floor: false }
    })
}
