//! What this node says: drafts become messages when a step ends.

use ed25519_dalek::SigningKey;

use std::collections::BTreeMap;

use super::call::{Ack, Answer, CallRefusal};
use super::output::{Output, Stage};
use super::owner::{Node, Turn};
use crate::flow::{Fit, Load, Parcel, Pass, Spill, Unreadable, rank};
use crate::meter::{Outcome, Passage, Station};
use crate::route::Strategy;
use crate::types::storage::View;
use crate::types::{Hash, MessageId, Mono, NodeId, Stamp, limits};
use crate::wire::{
    Category, Course, Destination, Draft, FaultCode, Faults, FeedId, Head, Header, PREFIX_BYTES, Pending, Priority,
    Request, STRATEGY_HEADER, Verified,
};

/// A publish call whose drafts are in the lanes.
#[derive(Debug)]
pub(super) struct Waiting {
    ack: Ack,
    ids: Vec<MessageId>,
    /// How many of them are not sealed yet.
    left: usize,
}

/// The gossip frame being filled: many small bundles of a topic travel as one, because gossip costs the same for a small
/// frame as for a large one. Bundles leave in the order they were sealed.
#[derive(Debug, Default)]
pub(super) struct Frame {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    topic: Category,
    bytes: Vec<u8>,
    bundles: usize,
    /// What the bundles unpack to.
    body_bytes: usize,
}

impl Frame {
    fn add(&mut self, topic: Category, body_bytes: u32, bundle: &[u8], turn: &mut Turn<'_>) {
        let body_bytes = body_bytes as usize;
        if let Some(open) = &mut self.open
            && open.topic == topic
            && open.bytes.len() + bundle.len() <= limits::BUNDLE_TARGET_BYTES
            && open.body_bytes + body_bytes <= limits::FRAME_BODY_BYTES
            && open.bundles < limits::FRAME_BUNDLES
        {
            open.bytes.extend_from_slice(bundle);
            open.body_bytes += body_bytes;
            open.bundles += 1;
            return;
        }
        self.send(turn);
        self.open = Some(Open { topic, bytes: bundle.to_vec(), bundles: 1, body_bytes });
    }

    fn send(&mut self, turn: &mut Turn<'_>) {
        if let Some(open) = self.open.take() {
            turn.want(Output::Publish { topic: open.topic, bytes: open.bytes.into() });
        }
    }
}

/// How many drafts for one reader wait in lanes and on the disk, by where they are to go: they take room there before
/// they are said.
#[derive(Debug, Default)]
pub(super) struct Queued {
    by_destination: BTreeMap<Destination, usize>,
}

impl Queued {
    /// Of what waits on the disk since a former life.
    pub fn load(spill: &Spill, view: &dyn View) -> Queued {
        let mut queued = Queued::default();
        spill.each(view, &mut |draft| queued.add(draft));
        queued
    }

    fn add(&mut self, draft: &Draft) {
        if draft.course() == Course::Direct {
            *self.by_destination.entry(draft.destination.clone()).or_default() += 1;
        }
    }

    /// So many that may travel with this one are said now.
    pub(super) fn remove(&mut self, like: &Draft, count: usize) {
        if like.course() == Course::Direct
            && let Some(waiting) = self.by_destination.get_mut(&like.destination)
        {
            *waiting = waiting.saturating_sub(count);
            if *waiting == 0 {
                self.by_destination.remove(&like.destination);
            }
        }
    }

    pub(super) fn of(&self, to: &Destination) -> usize {
        self.by_destination.get(to).copied().unwrap_or_default()
    }
}

fn is_normal(draft: &Draft) -> bool {
    rank(draft) == Priority::Normal
}

/// The call number of what the node says of its own accord.
const OWN: u64 = 0;

impl Node {
    pub(super) fn on_publish(&mut self, call: u64, drafts: Vec<Draft>, ack: Ack, turn: &mut Turn<'_>) {
        self.laps.begin();
        if let Err(refusal) = self.check_publish(&drafts, turn) {
            self.note_validated(&drafts, Outcome::Refused(refusal.code()), turn);
            turn.out.push((Stage::Now, Output::Reply { id: call, answer: Err(refusal) }));
            return;
        }
        let fit = match self.lanes.fit(&drafts) {
            // What is on the disk goes first.
            Fit::All if !self.spill.is_empty() => Fit::Spill,
            fit => fit,
        };
        let refused = match fit {
            Fit::PushBack(lane) => Some(Err(CallRefusal::Full { lane })),
            Fit::Drop(lane) => Some(Ok(Answer::Dropped { lane, count: drafts.len() })),
            Fit::Spill if !self.spill.has_room(drafts.iter().filter(|d| is_normal(d)).map(Draft::size_bytes).sum()) => {
                Some(Err(CallRefusal::Full { lane: Priority::Normal }))
            }
            Fit::Spill | Fit::All => None,
        };
        if let Some(answer) = refused {
            let reason = answer.as_ref().map_or_else(CallRefusal::code, |_| "dropped");
            self.note_validated(&drafts, Outcome::Refused(reason), turn);
            turn.out.push((Stage::Now, Output::Reply { id: call, answer }));
            return;
        }
        self.note_validated(&drafts, Outcome::Passed, turn);
        self.counters.published_messages += drafts.len() as u64;
        if drafts.iter().any(|draft| draft.priority.rank(draft.kind().category()) == Priority::Critical) {
            self.critical_said = Some(turn.now.mono);
        }
        self.waiting.insert(call, Waiting { ack, ids: vec![MessageId([0; 16]); drafts.len()], left: drafts.len() });
        drafts.iter().for_each(|draft| self.queued.add(draft));
        let parcels = drafts.into_iter().enumerate().map(|(index, draft)| Parcel { draft, call, index });
        let spills = |parcel: &Parcel| fit == Fit::Spill && is_normal(&parcel.draft);
        let (spilled, fitting): (Vec<Parcel>, Vec<Parcel>) = parcels.partition(spills);
        for parcel in fitting {
            self.lanes.push(parcel, turn.now.mono);
        }
        self.lanes.spilled(spilled.len());
        self.spill.push(spilled, &mut turn.tx);
    }

    fn note_validated(&mut self, drafts: &[Draft], outcome: Outcome, turn: &mut Turn<'_>) {
        turn.passed.extend(Passage::drafts(Station::Validate, drafts, self.laps.lap(), outcome));
    }

    /// Takes back what waits on the disk while there is room for it.
    fn take_spilled(&mut self, turn: &mut Turn<'_>) {
        while !self.spill.is_empty() && !self.stopping && self.lanes.wants_spilled() {
            match self.spill.take(&mut turn.tx) {
                Ok(parcels) => parcels.into_iter().for_each(|parcel| self.lanes.push(parcel, turn.now.mono)),
                Err(Unreadable { awaited: false }) => {
                    tracing::error!("what a former life had yet to say is lost in part")
                }
                Err(Unreadable { awaited: true }) => {
                    let fault = "messages that waited on the disk to be said cannot be read any more".into();
                    turn.out.push((Stage::Now, Output::Halt { fault: Some(fault) }));
                    return;
                }
            }
        }
    }

    /// The node stops: what waits on the disk for a caller is not said, and its caller is told so.
    pub(super) fn give_up_spilled(&mut self, turn: &mut Turn<'_>) {
        self.spill.forget_fresh(&mut turn.tx);
        for call in std::mem::take(&mut self.waiting).into_keys() {
            turn.out.push((Stage::Now, Output::Reply { id: call, answer: Err(CallRefusal::Stopping) }));
        }
    }

    fn check_publish(&self, drafts: &[Draft], turn: &Turn<'_>) -> Result<(), CallRefusal> {
        if self.stopping {
            return Err(CallRefusal::Stopping);
        }
        if drafts.len() > limits::PUBLISH_BATCH {
            return Err(CallRefusal::TooMany);
        }
        for (index, draft) in drafts.iter().enumerate() {
            let mut faults = Faults::default();
            draft.check(turn.now.wall, &mut faults);
            let topic = draft.kind().category();
            if !self.setup.role.sends.contains(&topic) {
                faults.add(FaultCode::NotAuthorised, "/kind", format!("a node of this type does not send {topic}"));
            }
            if let Some(Err(detail)) = draft.headers.get(STRATEGY_HEADER).map(|name| name.parse::<Strategy>()) {
                faults.add(FaultCode::Malformed, format!("/headers/{STRATEGY_HEADER}"), detail);
            }
            if draft.confidential && !draft.is_sealed() {
                faults.add(FaultCode::Unsealable, "/payload", "is to be sealed, and is not");
            }
            if !faults.is_empty() {
                return Err(CallRefusal::Invalid { index, faults });
            }
        }
        self.check_readers(drafts)
    }

    /// Whether somebody answers to where drafts are to go, and there is room for them to wait.
    fn check_readers(&self, drafts: &[Draft]) -> Result<(), CallRefusal> {
        let mut wanted = BTreeMap::<&Destination, usize>::new();
        for draft in drafts.iter().filter(|draft| draft.course() == Course::Direct) {
            *wanted.entry(&draft.destination).or_default() += 1;
        }
        for (to, count) in wanted {
            if !self.knows_of(to) {
                return Err(CallRefusal::NoReader { to: to.clone() });
            }
            let room = self.deliveries.room_for(to, self.queued.by_destination.len());
            if room < self.queued.of(to) + count {
                return Err(CallRefusal::NoRoom { to: to.clone() });
            }
        }
        Ok(())
    }

    /// Says something of the node's own accord. Nothing after the clean stop was written down: a chain that grows
    /// later and loses that in a power cut would be taken up where it has already gone on.
    pub(super) fn say(&mut self, draft: Draft, turn: &Turn<'_>) {
        if self.stopping {
            return;
        }
        self.queued.add(&draft);
        self.lanes.push(Parcel { draft, call: OWN, index: 0 }, turn.now.mono);
    }

    /// Seals what waits, as the scheduler says, up to a step's share, and answers the calls that are through. A node
    /// that stops seals everything.
    pub(super) fn seal_waiting(&mut self, turn: &mut Turn<'_>) {
        // What is urgent does not wait until a whole step's worth is sealed and committed with it; the next step is for
        // everyone again.
        self.take_spilled(turn);
        self.look_through_window(turn);
        self.hurried = self.lanes.urgent_waits(self.pass) && !self.hurried && !self.stopping;
        let share = self.step_share(turn);
        let mut sealed = 0;
        while (sealed < share || self.stopping)
            && let Some(load) = self.next_load(turn)
        {
            sealed += load.bytes;
            self.seal(load.parcels, turn);
            self.look_through_window(turn);
        }
        self.frame.send(turn);
        for (call, Waiting { ack, ids, .. }) in self.waiting.extract_if(.., |_, waiting| waiting.left == 0) {
            turn.out.push((ack.stage(), Output::Reply { id: call, answer: Ok(Answer::Published { ids }) }));
        }
    }

    fn next_load(&mut self, turn: &Turn<'_>) -> Option<Load> {
        let (pass, now) = (self.pass, turn.now.mono);
        if self.hurried { self.lanes.take_urgent(pass, now) } else { self.lanes.take(pass, now) }
    }

    /// What may leave the lanes; of a node that stops, everything.
    fn look_through_window(&mut self, turn: &Turn<'_>) {
        self.pass = if self.stopping { Pass::All } else { self.window.pass(turn.now.mono) };
    }

    /// Asks peers how far they hold what this node says, when that is worth knowing.
    pub(super) fn ask_ends(&mut self, turn: &mut Turn<'_>) {
        let request = Request::Ends { author: self.id, incarnation: self.life.incarnation };
        let fresh = || self.repair.fresh_id();
        for (to, id) in self.window.questions(turn.now.mono, fresh) {
            turn.want(Output::Request { to, id, request: request.clone() });
        }
    }

    /// A peer said how far it holds what this node said; false when it was not asked that.
    pub(super) fn on_ends(&mut self, from: NodeId, id: u64, heads: &[Head], now: Mono) -> bool {
        let is_own = |head: &&Head| head.feed == FeedId { topic: head.feed.topic, ..self.own_writes() };
        let own: Vec<&Head> = heads.iter().filter(is_own).collect();
        let nexts = own.iter().map(|head| (head.feed.topic, head.next)).collect();
        let asked = self.window.on_answer(from, id, &nexts, now);
        if asked {
            own.into_iter().for_each(|head| self.note_holder(from, head));
        }
        asked
    }

    /// What a step seals, bytes: little while something Critical may come at any moment, since that would wait for it.
    fn step_share(&self, turn: &Turn<'_>) -> usize {
        let recent = self.critical_said.is_some_and(|said| turn.now.mono - said < limits::URGENT_MEMORY);
        if recent { self.lanes.step_bytes() / 8 } else { self.lanes.step_bytes() }
    }

    fn seal(&mut self, load: Vec<Parcel>, turn: &mut Turn<'_>) {
        let Some(first) = load.first() else { return };
        self.queued.remove(&first.draft, load.len());
        let (topic, priority) = (first.draft.kind().category(), first.draft.priority);
        let course = first.draft.course();
        let feed = FeedId { author: self.id, incarnation: self.life.incarnation, topic };
        let most = if course == Course::Direct { limits::DIRECT_BYTES } else { limits::BUNDLE_BYTES };
        let full = most - limits::MESSAGE_BYTES - PREFIX_BYTES - 4;
        self.laps.begin();
        let mut pending = Pending::default();
        for parcel in load {
            // Each load is cut to a size far below the limit; one message that is large by its headers goes alone.
            if pending.body_bytes() > full {
                self.close_load(std::mem::take(&mut pending), self.header(feed, priority, course), turn);
            }
            let id = self.stamp(&parcel, &mut pending, turn);
            if let Some(waiting) = self.waiting.get_mut(&parcel.call)
                && let Some(place) = waiting.ids.get_mut(parcel.index)
            {
                *place = id;
                waiting.left -= 1;
            }
        }
        self.close_load(pending, self.header(feed, priority, course), turn);
    }

    /// Closes what came from a lane, and counts what of the window it takes.
    fn close_load(&mut self, pending: Pending, header: Header, turn: &mut Turn<'_>) {
        let (topic, next) = (header.feed.topic, header.sequence + 1);
        let needed = Pass::needed(header.course, header.priority, topic);
        let bytes = self.close(pending, header, turn);
        if needed == Pass::All && bytes > 0 {
            self.window.on_said(topic, next, bytes, turn.now.mono);
        }
    }

    /// Gives a draft its id and puts it in the bundle, unless its key says that it was said before.
    fn stamp(&mut self, parcel: &Parcel, pending: &mut Pending, turn: &mut Turn<'_>) -> MessageId {
        let draft = &parcel.draft;
        if let Some(id) = draft.idempotency.and_then(|key| self.idempotency.id(&key)) {
            return id;
        }
        let id = MessageId::new(self.clock.tick(turn.now.wall), self.id_suffix);
        if let Some(key) = draft.idempotency {
            self.idempotency.note(key, id, turn.now.wall, &mut turn.tx);
        }
        pending.push(&draft.message(id));
        id
    }

    pub(super) fn header(&self, feed: FeedId, priority: Priority, course: Course) -> Header {
        let chain = self.feeds.chain(feed).filter(|_| course == Course::Feed);
        Header {
            course,
            priority,
            network: self.network,
            feed,
            sequence: chain.map_or(0, |c| c.next),
            previous: chain.map_or(Hash::ZERO, |c| c.head),
            clock: Stamp(0),
            count: 0,
            body_bytes: 0,
            root: Hash::ZERO,
        }
    }

    /// Seals a bundle and hands it on. How many bytes go to gossip; none if there is nothing in it.
    pub(super) fn close(&mut self, pending: Pending, header: Header, turn: &mut Turn<'_>) -> usize {
        let key: &SigningKey = &self.setup.key;
        let Some(bundle) = pending.seal_packed(header, key, self.packing()) else { return 0 };
        turn.passed.push(Passage::bundle(Station::Transform, &bundle, true, self.laps.lap()));
        let (header, bytes) = (bundle.header().clone(), bundle.wire().clone());
        if header.course == Course::Direct {
            self.post_own(&bundle, turn);
            return 0;
        }
        if !self.admit_own(bundle, turn) {
            return 0;
        }
        self.frame.add(header.feed.topic, header.body_bytes, &bytes, turn);
        bytes.len()
    }

    fn admit_own(&mut self, bundle: Verified, turn: &mut Turn<'_>) -> bool {
        let placed = self.admit(None, bundle, false, turn);
        if placed.is_err() {
            // This very life was proved to have forked: going on would only make it worse.
            let fault = format!("this node's own feed takes nothing any more: {placed:?}");
            turn.out.push((Stage::Now, Output::Halt { fault: Some(fault) }));
        }
        placed.is_ok()
    }
}
