//! Replicated state: writes of clients become messages here, and the writes of all messages are merged as the log takes
//! them, in the same step and the same batch.

use std::collections::VecDeque;

use super::call::{Ack, Answer, CallRefusal};
use super::excerpts;
use super::output::{Event, Output, Stage};
use super::owner::{Node, Turn};
use crate::crdt::{self, Condition, Member, Merge, Origin, Outcome, Refused, Replica, Wish, Wished};
use crate::feed::{Fork, Stored};
use crate::types::storage::{Key, Table, View};
use crate::types::{MessageId, Stamp, Version, limits};
use crate::wire::checksum;
use crate::wire::kind::state::{Change, CollectionWrite, Op};
use crate::wire::{
    Bundle, Category, Course, Draft, FaultCode, Faults, FeedId, Kind, Message, Payload, Pending, Priority, Slot,
    Verified,
};

/// A node whose clock is further than this from the median of its peers' does not write: others would put its writes
/// off, or they would win over what comes later. Milliseconds.
const CLOCK_OFFSET_MS: i64 = 5_000;

/// What a client wants written to a collection: all of it or nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct Write {
    /// The collection.
    pub collection: String,
    /// Which client it is, if it says.
    pub client: Option<String>,
    /// What, each of another cell.
    pub wishes: Vec<Wish>,
    /// The first wish writes again what the conflict log has of this version.
    pub restores: Option<Version>,
    /// How sure the client wants to be before it is answered.
    pub ack: Ack,
}

/// What writing came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wrote {
    /// The message; none if there was nothing to do.
    pub message: Option<MessageId>,
    /// What each wish came to, in their order; none if there was nothing to do.
    pub versions: Vec<Option<Version>>,
}

/// A node's replicated state, and what waits to become a part of it.
#[derive(Debug)]
pub(super) struct States {
    pub replica: Replica,
    waiting: VecDeque<(u64, Write)>,
    /// Changes of others that can still be merged in this step.
    left: usize,
    /// There are rows of bundles that are not merged to their end.
    behind: bool,
    /// The events that were told of.
    told: u64,
}

impl States {
    pub fn load(view: &dyn View) -> Result<States, String> {
        let replica = Replica::load(view)?;
        let behind = next_behind(view).is_some();
        let told = replica.events_end();
        Ok(States { replica, waiting: VecDeque::new(), left: limits::STEP_CHANGES, behind, told })
    }

    /// Whether something is to be done even if nothing happens.
    pub fn is_due(&self) -> bool {
        !self.waiting.is_empty() || self.behind || !self.replica.is_settled() || !self.replica.is_at_rest()
    }

    /// Whether the step has merged as much as it may.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// A change was merged: what is here already costs little.
    pub fn spend(&mut self, outcome: Outcome) {
        self.left = self.left.saturating_sub(usize::from(outcome != Outcome::Duplicate));
    }

    /// Whether everything that came is merged and judged.
    pub fn is_settled(&self) -> bool {
        !self.behind && self.replica.is_settled()
    }
}

impl Node {
    /// The replicated state, for reading.
    pub fn replica(&self) -> &Replica {
        &self.states.replica
    }

    /// Whether all writes that came are merged: until then the root of the state may change without a new one.
    pub fn is_settled(&self) -> bool {
        self.states.is_settled()
    }

    /// A client writes. It is answered when the step ends.
    pub(super) fn on_write(&mut self, id: u64, write: Write, turn: &mut Turn<'_>) {
        let refusal = if self.stopping {
            Some(CallRefusal::Stopping)
        } else if !self.follows(Category::Data) || !self.setup.role.sends.contains(&Category::Data) {
            // Without following it, it does not see what it would take the place of.
            let mut faults = Faults::default();
            faults.add(FaultCode::NotAuthorised, "/kind", "a node of this type does not follow and send Data");
            Some(CallRefusal::Invalid { index: 0, faults })
        } else if self.states.waiting.len() >= limits::PUBLISH_BATCH {
            Some(CallRefusal::Full { lane: Priority::Normal })
        } else if write.wishes.len() > limits::WRITE_CHANGES {
            Some(CallRefusal::TooMany)
        } else {
            None
        };
        match refusal {
            Some(refusal) => turn.out.push((Stage::Now, Output::Reply { id, answer: Err(refusal) })),
            None => self.states.waiting.push_back((id, write)),
        }
    }

    /// A client wants a write again that is in the conflict log.
    pub(super) fn on_restore(&mut self, id: u64, restore: Restore, turn: &mut Turn<'_>) {
        let Restore { collection, path, version, client, ack } = restore;
        let lost = crdt::conflict(&collection, &path, version, &turn.tx);
        let wished = lost.and_then(|lost| match lost.body().op.clone() {
            Op::Set { value } => Some(Wished::Put(value)),
            Op::Delete => Some(Wished::Delete),
            Op::Add { element } => Some(Wished::Add(element)),
            Op::Count { plus, minus } => Some(Wished::Count(i64::try_from(i128::from(plus) - i128::from(minus)).ok()?)),
            Op::Remove | Op::DeletePrefix => None,
        });
        let Some(wished) = wished else {
            let answer = Err(Refused::NoConflict { path, version }.into());
            return turn.out.push((Stage::Now, Output::Reply { id, answer }));
        };
        let wishes = vec![Wish { path, wished, condition: Condition::None }];
        self.on_write(id, Write { collection, client, wishes, restores: Some(version), ack }, turn);
    }

    fn merge<'s, 't, 'v>(&'s mut self, turn: &'t mut Turn<'v>) -> Merge<'s, 't, 'v> {
        Merge::new(&mut self.states.replica, &mut turn.tx, turn.now.wall)
    }

    /// Writes of clients become one bundle, up to a step's share.
    pub(super) fn write_waiting(&mut self, turn: &mut Turn<'_>) {
        let feed = FeedId { author: self.id, incarnation: self.life.incarnation, topic: Category::Data };
        let (mut pending, mut sealed) = (Pending::default(), 0);
        self.laps.begin();
        let mut answers = Vec::new();
        while (sealed < limits::STEP_SEAL_BYTES || self.stopping)
            && let Some((id, write)) = self.states.waiting.pop_front()
        {
            let before = pending.body_bytes();
            let stage = write.ack.stage();
            match self.write_one(&write, &mut pending, turn) {
                Ok(wrote) => answers.push((stage, Output::Reply { id, answer: Ok(Answer::Wrote(wrote)) })),
                Err(refusal) => answers.push((Stage::Now, Output::Reply { id, answer: Err(refusal) })),
            }
            sealed += pending.body_bytes() - before;
            if pending.body_bytes() >= limits::BUNDLE_TARGET_BYTES || pending.count() == limits::BUNDLE_MESSAGES {
                self.close(std::mem::take(&mut pending), self.header(feed, Priority::Normal, Course::Feed), turn);
            }
        }
        if pending.count() > 0 {
            self.close(pending, self.header(feed, Priority::Normal, Course::Feed), turn);
        }
        turn.out.append(&mut answers);
    }

    /// Finds out what a write comes to, stamps it later than everything it takes the place of, and merges it.
    fn write_one(&mut self, write: &Write, pending: &mut Pending, turn: &mut Turn<'_>) -> Result<Wrote, CallRefusal> {
        if let Some(offset) = self.peers.clock_offset_ms().filter(|offset| offset.abs() > CLOCK_OFFSET_MS) {
            return Err(Refused::Clock { seconds: offset / 1000 }.into());
        }
        self.check_floor(write)?;
        let Resolved { changes, places, after } = self.resolve(write, turn)?;
        let mut versions = vec![None; write.wishes.len()];
        if changes.is_empty() {
            return Ok(Wrote { message: None, versions });
        }
        let said = CollectionWrite { collection: write.collection.clone(), client: write.client.clone(), changes };
        let payload = Payload::CollectionWrite(said.clone());
        let draft = Draft::new(&payload);
        let mut faults = Faults::default();
        payload.check(&mut faults);
        draft.check(turn.now.wall, &mut faults);
        faults.or(()).map_err(|faults| CallRefusal::Invalid { index: 0, faults })?;
        if !self.states.replica.has_room(&said.collection) {
            return Err(Refused::TooManyCollections.into());
        }
        self.pass(after, turn)?;
        let id = MessageId::new(self.clock.tick(turn.now.wall), self.id_suffix);
        let message = draft.message(id);
        let origin = self.own_origin(&message);
        pending.push(&message);
        self.counters.published_messages += 1;
        for (member, place) in Member::of(said, origin).zip(places) {
            versions[place] = Some(member.version());
            let outcome = self.merge(turn).apply(member);
            debug_assert_eq!(outcome, Outcome::Applied, "it is later than what it takes the place of");
        }
        if let (Some(version), Some(wish)) = (write.restores, write.wishes.first()) {
            self.merge(turn).close_conflict(&write.collection, &wish.path, version);
        }
        Ok(Wrote { message: Some(id), versions })
    }

    fn own_origin(&self, message: &Message<'_>) -> Origin {
        let feed = FeedId { author: self.id, incarnation: self.life.incarnation, topic: Category::Data };
        Origin {
            author: self.id,
            incarnation: self.life.incarnation,
            sequence: self.header(feed, Priority::Normal, Course::Feed).sequence,
            message: message.id,
            checksum: checksum(&message.encode()),
        }
    }

    fn resolve(&self, write: &Write, turn: &Turn<'_>) -> Result<Resolved, Refused> {
        let mut resolved = Resolved::default();
        for (place, wish) in write.wishes.iter().enumerate() {
            let who = (self.id, self.life.incarnation);
            if let Some((change, after)) = crdt::resolve(&write.collection, wish, who, &turn.tx)? {
                resolved.changes.push(change);
                resolved.places.push(place);
                resolved.after = resolved.after.max(after);
            }
        }
        // A floor that counts since this step began is not in the store yet.
        let floor = self.states.replica.floor(&write.collection).map(|floor| floor.version.stamp);
        resolved.after = resolved.after.max(floor.unwrap_or_default());
        // Whoever reads that this version was seen takes it out of its own conflict log. A counter's share names none.
        if let (Some(version), Some(change)) = (write.restores, resolved.changes.first_mut())
            && !matches!(change.op, Op::Count { .. })
        {
            change.over.push(version);
        }
        Ok(resolved)
    }

    /// Moves the clock past a stamp that was seen. What is further ahead than others would take is not outdone.
    fn pass(&mut self, after: Stamp, turn: &mut Turn<'_>) -> Result<(), Refused> {
        if self.clock.has_passed(after) {
            return Ok(());
        }
        let most = turn.now.wall.plus(limits::MAX_FUTURE / 2);
        if after.wall() > most {
            return Err(Refused::Ahead { seconds: (after.ms() - turn.now.wall.0).div_ceil(1000) });
        }
        self.clock.pass(after);
        self.reserve_stamps(turn);
        Ok(())
    }

    /// Merges the writes of a bundle that was just kept, as many as the step has room for.
    pub(super) fn merge_bundle(&mut self, bundle: &Verified, turn: &mut Turn<'_>) {
        if bundle.writes().is_empty() {
            return;
        }
        let items: Vec<_> = bundle.bytes().collect();
        self.merge_items(bundle.slot(), bundle.writes(), &items, turn);
    }

    fn merge_items(&mut self, slot: Slot, writes: &[u32], items: &[bytes::Bytes], turn: &mut Turn<'_>) {
        for index in writes {
            if self.states.left == 0 {
                turn.tx.put(behind_key(slot), index.to_be_bytes().to_vec());
                self.states.behind = true;
                return;
            }
            if let Some(item) = items.get(*index as usize) {
                self.merge_item(slot, item, turn);
            }
        }
        turn.tx.delete(behind_key(slot));
    }

    /// A bundle, or what is left of one, is to be merged from its beginning when there is room.
    pub(super) fn fall_behind(&mut self, slot: Slot, turn: &mut Turn<'_>) {
        turn.tx.put(behind_key(slot), 0u32.to_be_bytes().to_vec());
        self.states.behind = true;
    }

    fn merge_item(&mut self, slot: Slot, item: &[u8], turn: &mut Turn<'_>) {
        let Ok(message) = Message::decode(item) else { return };
        let Some(Payload::CollectionWrite(write)) = super::heartbeat::payload(&message) else { return };
        let FeedId { author, incarnation, .. } = slot.feed;
        let origin =
            Origin { author, incarnation, sequence: slot.sequence, message: message.id, checksum: checksum(item) };
        for member in Member::of(write, origin) {
            // What is here already is this node's own write, mostly.
            let outcome = self.merge(turn).apply(member);
            self.states.spend(outcome);
            self.counters.merged(outcome);
        }
    }

    /// Ends a step for the state: what is behind is merged, what is to be judged anew is, as far as there is room.
    pub(super) fn settle_state(&mut self, turn: &mut Turn<'_>) {
        while self.states.behind && self.states.left > 0 {
            match next_behind(&turn.tx) {
                Some((slot, from)) => self.merge_behind(slot, from, turn),
                None => self.states.behind = false,
            }
        }
        self.states.left = limits::STEP_CHANGES;
        self.merge(turn).sweep(limits::STEP_SWEEP);
        self.tend_floors(turn);
        self.note_let_go(turn);
        self.states.replica.save(&mut turn.tx);
        let end = self.states.replica.events_end();
        if end > self.states.told {
            self.states.told = end;
            turn.want(Output::Event(Event::State { end }));
        }
    }

    fn merge_behind(&mut self, slot: Slot, from: u32, turn: &mut Turn<'_>) {
        let forked = self.feeds.chain(slot.feed).and_then(|chain| chain.forked);
        let stored = Stored::load(slot, &turn.tx).filter(|_| forked.is_none_or(|at| slot.sequence < at));
        let bundle = stored.and_then(|stored| Some((unpacked(&stored)?, stored.refused)));
        let Some((items, refused)) = bundle.or_else(|| left_of(slot, forked, turn)) else {
            // Its author forked.
            return turn.tx.delete(behind_key(slot));
        };
        let is_write = |index: &u32| {
            let message = items.get(*index as usize).and_then(|item| Message::decode(item).ok());
            let kind = message.and_then(|message| message.known_kind());
            kind == Some(Kind::CollectionWrite) && !refused.contains(index)
        };
        let writes: Vec<u32> = (from..items.len() as u32).filter(is_write).collect();
        self.merge_items(slot, &writes, &items, turn);
    }

    /// What the author of a fork wrote at it and after does not count any more.
    pub(super) fn mask_state(&mut self, fork: &Fork, turn: &mut Turn<'_>) {
        let FeedId { author, incarnation, topic } = fork.feed();
        if topic == Category::Data {
            self.merge(turn).mask(author, incarnation, fork.sequence());
        }
    }
}

/// A write that lost is to be written again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restore {
    /// The collection.
    pub collection: String,
    /// The path.
    pub path: String,
    /// Which write.
    pub version: Version,
    /// Which client it is, if it says.
    pub client: Option<String>,
    /// How sure the client wants to be before it is answered.
    pub ack: Ack,
}

/// What the wishes of a write come to.
#[derive(Default)]
struct Resolved {
    changes: Vec<Change>,
    /// Which wish each of them is of.
    places: Vec<usize>,
    /// The write must be stamped later than this.
    after: Stamp,
}

/// What is left of a bundle that retention took, or that never came: items by index, empty where they are not there.
fn left_of(slot: Slot, forked: Option<u64>, turn: &Turn<'_>) -> Option<(Vec<bytes::Bytes>, Vec<u32>)> {
    let held = excerpts::load(slot, &turn.tx).filter(|_| forked.is_none_or(|at| slot.sequence < at))?;
    let count = held.header().count;
    Some(((0..count).map(|index| held.items().get(&index).cloned().unwrap_or_default()).collect(), Vec::new()))
}

pub(super) fn unpacked(stored: &Stored) -> Option<Vec<bytes::Bytes>> {
    let bundle = Bundle::decode(stored.wire.clone()).ok()?;
    let body = bundle.unpack().ok()?;
    Some(bundle.divide(&body).collect())
}

pub(super) fn behind_key(slot: Slot) -> Key {
    Key::new(Table::Backlog, &[&slot.to_bytes()])
}

/// The first bundle that is not merged to its end, and the message to go on with.
fn next_behind(view: &dyn View) -> Option<(Slot, u32)> {
    let start = Key::new(Table::Backlog, &[]);
    let mut found = None;
    view.scan(&start, &start.after_prefix(), &mut |key, value| {
        let index = value.as_ref().try_into().map_or(0, u32::from_be_bytes);
        found = key.get(1..).and_then(Slot::from_bytes).map(|slot| (slot, index));
        std::ops::ControlFlow::Break(())
    });
    found
}
