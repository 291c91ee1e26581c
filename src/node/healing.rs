//! Repair of the state itself: where a peer retains other writes than this node, and the feeds have nothing more to
//! bring, the two are compared, and what either lacks goes to it with its proof.
//!
//! ```text
//!  heartbeat: another root ──▶ Collections ──▶ Compare … Compare ──▶ writes ──▶ the door of all writes
//!                          └──▶ Compare: a guess         └──▶ Take: what the peer lacks
//! ```
//!
//! Of two nodes the one with the lower id begins; the other does if nothing has come of it. A session is bounded in
//! frames, bytes and time, a peer whose sessions are of no use is left alone for longer and longer, and one that
//! promises writes and never sends them loses points.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::checkpoint::Took;
use super::excerpts::{self, Packed};
use super::output::Output;
use super::owner::{Node, Turn};
use super::state_io::StateInput;
use super::talks::{Flight, Talk};
use crate::crdt::{self, Entry, Floor, Member, Merge, Nonsense, Outcome, Session, compare, tag};
use crate::types::{Hash, NodeId, Stamp, Version, limits};
use crate::wire::kind::state::collection_fault;
use crate::wire::{
    Category, CollectionHead, FloorName, ListedCollection, Proven, Ranges, Refusal, Request, Response, RollEntry,
    StateRequest, StateResponse, Tag, Unserved,
};

/// Sessions, one after the other, that promised writes and brought none, before that costs points.
const STRIKES: u32 = 3;

impl Node {
    /// Begins comparisons that are due, and goes on with those under way.
    pub(super) fn heal(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let over: Vec<NodeId> =
            self.healing.talks.iter().filter(|(_, t)| t.is_over(now)).map(|(peer, _)| *peer).collect();
        over.into_iter().for_each(|peer| self.end_talk(peer, false, turn));
        // While what came is not judged there is nothing to compare yet.
        if self.stopping || !self.states.is_settled() {
            return;
        }
        for (peer, differs) in self.healing.due(self.id, now) {
            if !self.peers.is_connected(peer) {
                self.healing.partners.remove(&peer);
            } else if differs {
                self.healing.talks.insert(peer, Talk::new(now));
                self.ask_state(peer, StateRequest::Collections { after: None }, Flight::Collections, turn);
                self.guess(peer, turn);
                self.counters.sessions += 1;
            } else {
                self.audit(peer, turn);
            }
        }
    }

    /// Compares what was written to last while the peer is asked what differs: mostly it is that. This node asks for
    /// no writes and gives none before it is known what differs, and which floors the peer has come to.
    fn guess(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        let Some(name) = self.states.replica.latest().map(str::to_string) else { return };
        let mut session = self.session(&name, turn);
        let Some((ranges, asked)) = session.ask(self.states.replica.index(&name)) else { return };
        let Some(talk) = self.healing.talks.get_mut(&peer) else { return };
        talk.current = Some((name.clone(), session));
        let request = StateRequest::Compare { collection: name, ranges: ranges.encode().into() };
        self.ask_state(peer, request, Flight::Compare(asked), turn);
    }

    /// A comparison of a collection, but for what gossip may still bring.
    fn session(&mut self, name: &str, turn: &Turn<'_>) -> Session {
        let salt = self.healing.draw().to_le_bytes();
        let wall = turn.now.wall.minus(limits::RANGE_AGE);
        let below = Version { stamp: Stamp::new(wall.0, 0), digest: [0; 16] };
        Session::whole(self.states.replica.index(name), below, salt)
    }

    /// Compares some writes one by one with a peer that retains the same by all sums.
    fn audit(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        if let Some(partner) = self.healing.partners.get_mut(&peer) {
            partner.audit_due = Some(now + limits::AUDIT_EVERY);
        }
        let names: Vec<String> = self.states.replica.heads().map(|(name, ..)| name.to_string()).collect();
        let pick = self.healing.draw() as usize % names.len().max(1);
        let Some(name) = names.into_iter().nth(pick) else { return };
        let (rank, salt) = (self.healing.draw(), self.healing.draw().to_le_bytes());
        let Some(index) = self.states.replica.index(&name) else { return };
        let rank = rank % index.total().count.max(1);
        let session = Session::audit(index, rank, limits::AUDIT_WRITES, salt);
        self.healing.talks.insert(peer, Talk { listing: None, current: Some((name, session)), ..Talk::new(now) });
        self.go_on(peer, turn);
    }

    fn ask_state(&mut self, peer: NodeId, request: StateRequest, flight: Flight, turn: &mut Turn<'_>) {
        let id = self.repair.fresh_id();
        let Some(talk) = self.healing.talks.get_mut(&peer) else { return };
        talk.frames += 1;
        talk.flights.insert(id, flight);
        turn.want(Output::Request { to: peer, id, request: Request::State(request) });
    }

    /// The peer is asked for what counts below a floor that it has come to.
    fn begin_roll(&mut self, peer: NodeId, name: String, floor: Floor, turn: &mut Turn<'_>) {
        let Some(talk) = self.healing.talks.get_mut(&peer) else { return };
        talk.roll = Some(name.clone());
        let active = self.healing.talks.iter().filter_map(|(peer, talk)| Some((*peer, talk.roll.clone()?))).collect();
        let mut merge = Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall);
        merge.begin_roll(&name, peer, floor, limits::SESSIONS, &active);
        self.ask_roll(peer, turn);
    }

    fn ask_roll(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        let Some(collection) = self.healing.talks.get(&peer).and_then(|talk| talk.roll.clone()) else { return };
        let Some((floor, after)) = self.states.replica.taking(&collection, peer) else {
            return self.end_talk(peer, true, turn);
        };
        let after = after.map(|after| RollEntry { version: after.version, digest: after.digest });
        let floor = named(&floor);
        self.ask_state(peer, StateRequest::Roll { collection, floor, after }, Flight::Roll, turn);
    }

    fn drop_roll(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        let talk = self.healing.talks.get_mut(&peer);
        if let Some(name) = talk.and_then(|talk| talk.roll.take()) {
            Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall).drop_roll(&name, peer);
        }
    }

    fn on_rolled(&mut self, from: NodeId, id: u64, entries: &[RollEntry], more: bool, turn: &mut Turn<'_>) {
        let Some(Flight::Roll) = self.flight(from, id, |of| matches!(of, Flight::Roll), turn) else { return };
        let Some(talk) = self.healing.talks.get_mut(&from) else { return };
        talk.bytes += std::mem::size_of_val(entries) as u64 + 64;
        let is_spent = talk.is_spent();
        let Some(name) = talk.roll.clone() else { return };
        let entry = |entry: &RollEntry| Entry { version: entry.version, digest: entry.digest };
        let page: Vec<Entry> = entries.iter().map(entry).collect();
        let more = more && !entries.is_empty();
        let mut merge = Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall);
        match merge.take_roll(&name, from, &page, more) {
            // This node may have come to that floor, or a higher one, by another way: then the rest is not needed.
            Ok(()) if more && self.states.replica.taking(&name, from).is_some() => {
                // What is not whole yet is gone on with by another session.
                if !is_spent {
                    self.ask_roll(from, turn);
                }
            }
            Ok(()) => {
                // What it lets go of is judged first; the comparison comes after, by another session.
                talk.useful += 1;
                self.end_talk(from, true, turn);
            }
            Err(Nonsense(reason)) => {
                self.drop_roll(from, turn);
                self.on_refused(from, &Refusal::Unasked { reason }, turn);
                self.end_talk(from, false, turn);
            }
        }
    }

    fn serve_roll(&self, name: &str, asked: FloorName, after: Option<RollEntry>, turn: &Turn<'_>) -> Response {
        let floor = floor(&asked);
        let after = after.map(|after| Entry { version: after.version, digest: after.digest });
        let roll = self.states.replica.roll(name, &floor, after, limits::ROLL_ENTRIES, &turn.tx);
        let entry = |entry: Entry| RollEntry { version: entry.version, digest: entry.digest };
        match roll {
            Some((entries, more)) => {
                Response::State(StateResponse::Rolled { entries: entries.into_iter().map(entry).collect(), more })
            }
            None => Response::Unserved(Unserved::UnknownFeed),
        }
    }

    /// Asks and gives as much as may be under way.
    fn go_on(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        while let Some(talk) = self.healing.talks.get_mut(&peer)
            && talk.listing.is_none()
            && talk.flights.len() < limits::SESSION_REQUESTS
            && !talk.is_spent()
        {
            let Some((name, session)) = &mut talk.current else {
                if !self.begin_next(peer, turn) {
                    break;
                }
                continue;
            };
            // First what counts, then what of it is not here.
            let replica = &self.states.replica;
            if let Some((name, floor)) =
                talk.offers.remove_entry(name).filter(|(name, of)| replica.lacks_roll(name, of))
            {
                self.begin_roll(peer, name, floor, turn);
                break;
            }
            if talk.roll.is_some() {
                break;
            }
            if let Some((ranges, asked)) = session.ask(self.states.replica.index(name)) {
                let request = StateRequest::Compare { collection: name.clone(), ranges: ranges.encode().into() };
                self.ask_state(peer, request, Flight::Compare(asked), turn);
            } else if session.has_surplus() {
                let entries = session.give(limits::RANGE_WRITES);
                let Packed { writes, left } = excerpts::pack(name, entries, &turn.tx);
                session.keep(left);
                if !writes.is_empty() {
                    self.ask_state(peer, StateRequest::Take { writes }, Flight::Take, turn);
                }
            } else if talk.flights.is_empty() {
                let found = session.found();
                talk.promised += found.promised;
                talk.kept += found.kept;
                talk.current = None;
            } else {
                break;
            }
        }
        if self.healing.talks.get(&peer).is_some_and(|talk| talk.is_over(turn.now.mono)) {
            self.end_talk(peer, true, turn);
        }
    }

    /// Begins with the next collection that differs; false if there is none.
    fn begin_next(&mut self, peer: NodeId, turn: &Turn<'_>) -> bool {
        let next = self.healing.talks.get_mut(&peer).and_then(|talk| talk.next.pop_front());
        let Some(name) = next else { return false };
        let session = self.session(&name, turn);
        if let Some(talk) = self.healing.talks.get_mut(&peer) {
            talk.current = Some((name, session));
        }
        true
    }

    /// A comparison is over; what came of it decides when the next one is.
    fn end_talk(&mut self, peer: NodeId, well: bool, turn: &mut Turn<'_>) {
        let Some(mut talk) = self.healing.talks.remove(&peer) else { return };
        self.states.replica.doubt();
        // Of a guess that was not gone on with nothing could be kept.
        if let Some((_, session)) = talk.current.as_ref().filter(|_| talk.listing.is_none()) {
            talk.promised += session.found().promised;
            talk.kept += session.found().kept;
        }
        let Some(partner) = self.healing.partners.get_mut(&peer) else { return };
        let useless = talk.useful == 0 || !well;
        partner.floors_due = turn.now.mono + limits::FLOORS_EVERY;
        partner.backoff = if talk.is_alike && well {
            partner.backoff
        } else if useless {
            (partner.backoff * 2).clamp(limits::SESSION_FIRST, limits::SESSION_MOST)
        } else {
            Duration::ZERO
        };
        partner.due = turn.now.mono + partner.backoff.max(limits::SESSION_FIRST / 2);
        // It is to be heard to differ still.
        partner.differs = None;
        partner.strikes = if talk.promised > 0 && talk.kept == 0 { partner.strikes + 1 } else { 0 };
        if partner.strikes >= STRIKES {
            partner.strikes = 0;
            self.on_refused(peer, &Refusal::Unasked { reason: "writes were promised and never came" }, turn);
        }
        tracing::debug!(
            %peer, frames = talk.frames, bytes = talk.bytes, useful = talk.useful, promised = talk.promised,
            kept = talk.kept, "a comparison of the state is over"
        );
    }

    /// A peer is gone. What it was handing over is let go of, or nobody else would be asked for it.
    pub(super) fn drop_talk(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        self.healing.partners.remove(&peer);
        Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall).drop_rolls(peer);
        self.end_talk(peer, false, turn);
    }

    /// A request of a comparison came to nothing.
    pub(super) fn on_state_failed(&mut self, from: NodeId, id: u64, turn: &mut Turn<'_>) {
        if let Some(talk) = self.healing.talks.get_mut(&from)
            && matches!(talk.flights.get(&id), Some(Flight::Roll))
        {
            talk.flights.remove(&id);
            let taking = talk.roll.as_ref().and_then(|name| self.states.replica.taking(name, from));
            // It has no roll, and the two compare as always; or it was broken off, and is gone on with another time.
            match taking.and_then(|(_, last)| last) {
                None => self.drop_roll(from, turn),
                Some(_) => talk.roll = None,
            }
            return self.go_on(from, turn);
        }
        let Some(talk) = self.healing.talks.get_mut(&from) else { return };
        match talk.flights.get(&id) {
            None => {}
            Some(Flight::Compare(_)) if talk.listing.is_some() => talk.drop_guess(),
            Some(_) => self.end_talk(from, false, turn),
        }
    }

    pub(super) fn on_state(&mut self, input: StateInput, turn: &mut Turn<'_>) {
        match input {
            StateInput::Collections { from, id, listed, more } => self.on_collections(from, id, listed, more, turn),
            StateInput::Compared { from, id, ranges, writes } => self.on_compared(from, id, &ranges, writes, turn),
            StateInput::Rolled { from, id, entries, more } => self.on_rolled(from, id, &entries, more, turn),
            StateInput::Taken { from, id } => {
                if self.flight(from, id, |of| matches!(of, Flight::Take), turn).is_some() {
                    self.go_on(from, turn);
                }
            }
            StateInput::Endorsed { from, id, said } => self.on_endorsed(from, id, said, turn),
            StateInput::Offered { from, id, writes } => {
                let response = if self.peers.take_token(from, turn) && self.follows(Category::Data) {
                    for proven in &writes {
                        let _ = self.take_proven(proven, turn);
                    }
                    Response::State(StateResponse::Taken)
                } else {
                    self.counters.requests_put_off += 1;
                    Response::Unserved(Unserved::Busy)
                };
                turn.want(Output::Respond { id, response });
            }
        }
    }

    /// What was asked under this number. With whoever answers something else there is nothing to compare.
    fn flight(&mut self, from: NodeId, id: u64, fits: fn(&Flight) -> bool, turn: &mut Turn<'_>) -> Option<Flight> {
        let flight = self.healing.talks.get_mut(&from)?.flights.remove(&id)?;
        if fits(&flight) {
            return Some(flight);
        }
        self.on_refused(from, &Refusal::Unasked { reason: "an answer to another question" }, turn);
        self.end_talk(from, false, turn);
        None
    }

    fn on_collections(
        &mut self,
        from: NodeId,
        id: u64,
        listed: Vec<ListedCollection>,
        more: bool,
        turn: &mut Turn<'_>,
    ) {
        let fits = |of: &Flight| matches!(of, Flight::Collections);
        let Some(Flight::Collections) = self.flight(from, id, fits, turn) else { return };
        let Some(talk) = self.healing.talks.get_mut(&from) else { return };
        let Some(mut all) = talk.listing.take() else { return };
        let before = all.last_key_value().map(|(name, _)| name.clone());
        all.extend(listed.into_iter().map(|one| (one.head.name.clone(), one)));
        let last = all.last_key_value().map(|(name, _)| name.clone());
        if more && last > before && all.len() < limits::COLLECTIONS {
            talk.listing = Some(all);
            let after = last;
            return self.ask_state(from, StateRequest::Collections { after }, Flight::Collections, turn);
        }
        let replica = &self.states.replica;
        let floors = all.iter().filter_map(|(name, one)| Some((name, floor(one.floor.as_ref()?))));
        let offers = floors.filter(|(name, floor)| replica.lacks_roll(name, floor));
        talk.offers = offers.map(|(name, floor)| (name.clone(), floor)).collect();
        let ours: BTreeMap<&str, (u64, Hash)> =
            replica.heads().map(|(name, retained, root)| (name, (retained, root))).collect();
        let theirs: BTreeMap<&str, (u64, Hash)> =
            all.values().map(|one| (one.head.name.as_str(), (one.head.retained, one.head.root))).collect();
        let names: BTreeSet<&str> = ours.keys().chain(theirs.keys()).copied().collect();
        let differ =
            names.into_iter().filter(|name| ours.get(name) != theirs.get(name) || talk.offers.contains_key(*name));
        let room = |name: &&str| collection_fault(name).is_none() && replica.has_room(name);
        talk.next = differ.filter(room).map(str::to_string).collect();
        talk.is_alike = talk.next.is_empty();
        talk.settle_guess();
        self.go_on(from, turn);
    }

    fn on_compared(&mut self, from: NodeId, id: u64, ranges: &Ranges, writes: Vec<Proven>, turn: &mut Turn<'_>) {
        let fits = |of: &Flight| matches!(of, Flight::Compare(_));
        let Some(Flight::Compare(asked)) = self.flight(from, id, fits, turn) else { return };
        let mut came: BTreeSet<Tag> = BTreeSet::new();
        let of = self.healing.talks.get(&from).and_then(|talk| talk.current.as_ref());
        let Some((name, salt)) = of.map(|(name, session)| (name.clone(), session.salt())) else { return };
        let mut useful = 0;
        for proven in &writes {
            let slot = proven.header().slot();
            for said in proven.writes().iter().filter(|said| said.write.collection == name) {
                let members = Member::of(said.write.clone(), excerpts::origin(slot, said.message, said.checksum));
                came.extend(members.map(|member| tag(salt, member.digest())));
            }
            useful += self.take_proven(proven, turn).useful();
        }
        let Some(talk) = self.healing.talks.get_mut(&from) else { return };
        talk.frames += 1;
        talk.useful += useful;
        talk.bytes += writes.iter().map(|proven| proven.memory_bytes() as u64).sum::<u64>() + 64;
        let index = self.states.replica.index(&name);
        let taken = talk.current.as_mut().map(|(_, session)| session.on_answer(asked, ranges, &came, index));
        if let Some(Err(Nonsense(reason))) = taken {
            self.on_refused(from, &Refusal::Unasked { reason }, turn);
            return self.end_talk(from, false, turn);
        }
        self.go_on(from, turn);
    }

    /// The door for writes that come without their feed: in time, not after a fork, merged, and kept with their proof.
    pub(super) fn take_proven(&mut self, proven: &Proven, turn: &mut Turn<'_>) -> Took {
        let (header, slot) = (proven.header(), proven.header().slot());
        if let Err(why) = self.clock.see(header.clock, turn.now.wall) {
            self.defer_proven(proven, why, turn);
            return Took::Ahead;
        }
        if let Some(fork) = self.fork_of(proven.excerpt(), turn) {
            let first = self.feeds.chain(fork.feed()).is_none_or(|chain| chain.forked.is_none());
            if self.feeds.cut(&fork, &mut turn.tx) {
                self.on_fork(fork, first, turn);
            }
        }
        let forked = self.feeds.chain(slot.feed).and_then(|chain| chain.forked);
        if forked.is_some_and(|at| slot.sequence >= at) {
            return Took::Forked;
        }
        if self.states.is_full() {
            return self.merge_later(proven, turn);
        }
        let (mut new, mut known) = (0, false);
        for said in proven.writes() {
            for member in Member::of(said.write.clone(), excerpts::origin(slot, said.message, said.checksum)) {
                let outcome = Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall).apply(member);
                self.states.spend(outcome);
                self.counters.merged(outcome);
                let floored = outcome == Outcome::Floored;
                new += u64::from(outcome != Outcome::Duplicate && outcome != Outcome::NoRoom && !floored);
                known |= outcome != Outcome::NoRoom;
            }
        }
        self.counters.healed_changes += new;
        if known && new > 0 && crate::feed::Stored::load(slot, &turn.tx).is_none() {
            excerpts::keep(slot, proven.excerpt(), &mut turn.tx);
        }
        if known || proven.writes().is_empty() { Took::New(new) } else { Took::NoRoom }
    }

    /// The step has merged enough: what came waits on the disk.
    fn merge_later(&mut self, proven: &Proven, turn: &mut Turn<'_>) -> Took {
        excerpts::keep(proven.header().slot(), proven.excerpt(), &mut turn.tx);
        excerpts::loosen(proven.header().slot(), &mut turn.tx);
        self.fall_behind(proven.header().slot(), turn);
        Took::Later(proven.writes().len() as u64)
    }

    /// Answers what a peer asks about the state.
    pub(super) fn serve_state(&self, request: &StateRequest, turn: &Turn<'_>) -> Response {
        if !self.follows(Category::Data) {
            return Response::Unserved(Unserved::UnknownFeed);
        }
        match request {
            StateRequest::Collections { after } => {
                let all = self.states.replica.heads().filter(|(name, ..)| after.as_deref().is_none_or(|a| *name > a));
                let one = |(name, retained, root): (&str, u64, Hash)| ListedCollection {
                    head: CollectionHead { name: name.into(), retained, root },
                    floor: self.states.replica.floor(name).as_ref().map(named),
                };
                let mut listed: Vec<ListedCollection> = all.take(limits::COLLECTION_HEADS + 1).map(one).collect();
                let more = listed.len() > limits::COLLECTION_HEADS;
                listed.truncate(limits::COLLECTION_HEADS);
                Response::State(StateResponse::Collections { listed, more })
            }
            StateRequest::Compare { collection, ranges } => match Ranges::decode(ranges) {
                Ok(asked) => Response::State(self.serve_ranges(collection, &asked, turn)),
                Err(_) => Response::Unserved(Unserved::UnknownFeed),
            },
            StateRequest::Roll { collection, floor, after } => self.serve_roll(collection, *floor, *after, turn),
            // Those are checked first, and come another way.
            StateRequest::Take { .. } | StateRequest::Endorse(_) => Response::Unserved(Unserved::Busy),
        }
    }

    fn serve_ranges(&self, collection: &str, asked: &Ranges, turn: &Turn<'_>) -> StateResponse {
        let crdt::Compared { mut ranges, wanted } = compare(self.states.replica.index(collection), asked);
        let Packed { writes, left } = excerpts::pack(collection, wanted, &turn.tx);
        // What has no room is asked for again: the answer ends above it.
        if let Some(newest) = left.iter().map(|entry| entry.version).max() {
            ranges.end_above(newest);
        }
        let writes: Vec<Bytes> = writes;
        StateResponse::Compared { ranges: ranges.encode().into(), writes }
    }
}

fn named(floor: &Floor) -> FloorName {
    FloorName { version: floor.version, count: floor.count, root: floor.root }
}

fn floor(named: &FloorName) -> Floor {
    Floor { version: named.version, count: named.count, root: named.root }
}
