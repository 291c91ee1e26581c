//! What is missing, who says they hold it, and what was asked of whom.

use std::collections::BTreeMap;
use std::time::Duration;

use super::chain::Chain;
use super::feeds::Feeds;
use crate::types::{Mono, NodeId, limits};
use crate::wire::{FeedId, Request};

/// Gossip in flight is given this long to close a gap by itself.
const GRACE: Duration = Duration::from_millis(80);

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
    /// It was due and nobody was free to be asked: the end of another request brings the next try.
    put_off: bool,
    claims: BTreeMap<NodeId, Claim>,
}

/// Everything wanted from others. Only feeds with something missing are in here.
#[derive(Debug, Default)]
pub struct Repair {
    wants: BTreeMap<FeedId, Want>,
    flights: BTreeMap<u64, Flight>,
    next_id: u64,
}

impl Repair {
    /// A peer says it holds `floor..=sequence` of a feed.
    pub fn claim(&mut self, peer: NodeId, feed: FeedId, floor: u64, sequence: u64, feeds: &Feeds, now: Mono) {
        let claim = Claim { floor, sequence };
        if needed(feeds.chain(feed), claim).is_none() || self.wants.len() >= limits::FEEDS {
            return;
        }
        let want = self.wants.entry(feed).or_insert_with(|| Want { due: now + GRACE, ..Want::default() });
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
            Request::Heads { .. } => return None,
            Request::Range { feed, .. } => (feed, false),
            Request::Fork { feed } => (feed, true),
        };
        if self.flights.len() >= limits::RANGES_IN_FLIGHT {
            return None;
        }
        let id = self.fresh_id();
        let deadline = now + limits::REQUEST_TIMEOUT;
        let flight = Flight { peer, feed, from: sequence, to: sequence, may_start: false, proof, deadline };
        self.flights.insert(id, flight);
        Some(Asked { to: peer, id, request })
    }

    /// Forgets a peer that went away.
    pub fn drop_peer(&mut self, peer: NodeId) {
        for want in self.wants.values_mut() {
            want.claims.remove(&peer);
        }
        let lost: Vec<u64> = self.flights.iter().filter(|(_, f)| f.peer == peer).map(|(id, _)| *id).collect();
        for id in lost {
            self.finish(id, false);
        }
    }

    /// Ends a request that was answered (`useful` or not), refused or never answered. A peer whose answer was of no
    /// use is not asked about the feed again until it claims to hold it anew.
    pub fn finish(&mut self, id: u64, useful: bool) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some(want) = self.wants.get_mut(&flight.feed) {
            want.in_flight = want.in_flight.filter(|under_way| *under_way != id);
            if !useful {
                want.claims.remove(&flight.peer);
            }
        }
        Some(flight)
    }

    /// The request with this number, if it was made to this peer.
    pub fn flight(&self, id: u64, peer: NodeId) -> Option<Flight> {
        self.flights.get(&id).filter(|f| f.peer == peer).copied()
    }

    /// Requests nobody answered in time; they are ended.
    pub fn expired(&mut self, now: Mono) -> Vec<Flight> {
        let late: Vec<u64> = self.flights.iter().filter(|(_, f)| f.deadline <= now).map(|(id, _)| *id).collect();
        late.into_iter().filter_map(|id| self.finish(id, false)).collect()
    }

    /// What to ask now, within the bounds on requests under way.
    pub fn requests(&mut self, feeds: &Feeds, now: Mono) -> Vec<Asked> {
        let mut load: BTreeMap<NodeId, usize> = BTreeMap::new();
        for flight in self.flights.values() {
            *load.entry(flight.peer).or_default() += 1;
        }
        let mut asked = Vec::new();
        let (flights, next_id) = (&mut self.flights, &mut self.next_id);
        self.wants.retain(|feed, want| {
            let chain = feeds.chain(*feed);
            want.claims.retain(|_, claim| needed(chain, *claim).is_some());
            let due = want.in_flight.is_none() && want.due <= now;
            let room = flights.len() < limits::RANGES_IN_FLIGHT;
            want.put_off = due;
            if due
                && room
                && let Some((peer, mut range)) = want.choose(chain, &load)
            {
                if let Some(held) = feeds.lowest_held(*feed).filter(|h| range.ends_before(*h)) {
                    range.to = range.to.min(held - 1);
                }
                *next_id += 1;
                let (from, to, newest_first) = (range.from, range.to, range.newest_first);
                let deadline = now + limits::REQUEST_TIMEOUT;
                let may_start = range.beyond_floor || chain.is_none();
                flights.insert(*next_id, Flight { peer, feed: *feed, from, to, may_start, proof: false, deadline });
                *load.entry(peer).or_default() += 1;
                (want.in_flight, want.put_off) = (Some(*next_id), false);
                let request = Request::Range { feed: *feed, from, to, newest_first };
                asked.push(Asked { to: peer, id: *next_id, request });
            }
            want.in_flight.is_some() || !want.claims.is_empty()
        });
        asked
    }

    /// When something here becomes due without anything else happening.
    pub fn next_wake(&self) -> Option<Mono> {
        let due = self.wants.values().filter(|w| w.in_flight.is_none() && !w.put_off).map(|w| w.due);
        due.chain(self.flights.values().map(|f| f.deadline)).min()
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
    fn choose(&self, chain: Option<&Chain>, load: &BTreeMap<NodeId, usize>) -> Option<(NodeId, Missing)> {
        let busy = |peer: &NodeId| load.get(peer).copied().unwrap_or(0);
        self.claims
            .iter()
            .filter(|(peer, _)| busy(peer) < limits::RANGES_PER_PEER)
            .filter_map(|(peer, claim)| Some((*peer, needed(chain, *claim)?)))
            .min_by_key(|(peer, missing)| (missing.beyond_floor, missing.newest_first, missing.from, busy(peer)))
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
    let floor = claim.floor.max(chain.trimmed).max(chain.below);
    (floor < chain.joined).then(|| {
        let to = chain.joined - 1;
        Missing { from: floor.max(to.saturating_sub(most)), to, newest_first: true, beyond_floor: false }
    })
}
