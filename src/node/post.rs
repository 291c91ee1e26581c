//! Direct messages: from the node they are given to, over other nodes if need be, to their one reader.
//!
//! ```text
//!  lanes ─seal─▶ own log ─▶ waits for its destination ─way─▶ Deliver ──▶ reader's log, flushed
//!                   ▲                     ▲                                   │
//!                   └── dead letter ◀─────┴── no way, refused, no answer ◀────┴── Receipt
//! ```
//!
//! A message waits at its author, nowhere else: relays keep nothing, and pass the reader's signed receipt back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::deadlines::Deadlines;
use super::heartbeat::payload;
use super::output::Output;
use super::owner::{Node, Turn};
use super::relay::Relayed;
use crate::deliver::{Disposition, Lease, Name, Outcome, Subscription};
use crate::feed::{Stored, stored_at};
use crate::meter::{Passage, Station};
use crate::route::{Strategy, Way};
use crate::types::storage::View;
use crate::types::{Hash, Mono, NodeId, WallMs, limits};
use crate::wire::kind::system::LinkReport;
use crate::wire::{
    Bundle, Delivery, Destination, Draft, Hop, Hops, Message, Payload, Priority, Receipt, Refusal, Request, Response,
    STRATEGY_HEADER, Unserved, Verified,
};

/// After a change of its own links a node tells everyone this soon.
const SOON: Duration = Duration::from_millis(300);
/// Destinations are tried anew, after a change of links, no sooner than this after the last time, and so many at once.
const REACH_EVERY: Duration = Duration::from_secs(1);
const REACH_AT_ONCE: usize = 16;
/// What is under way for longer will not be answered any more.
const LOST: Duration = Duration::from_secs(3 * limits::REQUEST_TIMEOUT.as_secs());

/// A message that was to die, and found no room among the dead letters, dies this much later: before it is tried again.
const BURY_AGAIN: Duration = Duration::from_secs(15);

/// Direct messages under way.
#[derive(Debug, Default)]
pub(super) struct Post {
    flights: BTreeMap<u64, Flight>,
    /// Destinations that nothing was sent to because as much as may be is under way: each is tried when something of
    /// that has ended, in this order.
    in_line: VecDeque<Name>,
    pub relayed: BTreeMap<u64, Relayed>,
    /// Messages that wait, and when the time of each is over.
    pub waiting: Deadlines,
    report_due: Mono,
    /// Links have changed: who waits is to be tried, then, from the one after this destination on.
    reach_due: Option<Mono>,
    reach_from: Option<Name>,
    reached: Option<Mono>,
    pub counts: PostCounts,
}

/// A bundle of this node's that was sent and not answered.
#[derive(Debug)]
struct Flight {
    name: Name,
    positions: Vec<u64>,
    bundle: Hash,
    reader: NodeId,
    first: NodeId,
    sent: Mono,
}

/// What was done with direct messages since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct PostCounts {
    /// Messages of this node that their readers have.
    pub delivered: u64,
    /// Messages of this node whose time was over.
    pub overdue: u64,
    /// Times a bundle was sent, and times that came to nothing.
    pub sent_bundles: u64,
    pub failed_bundles: u64,
    /// Messages of others that were for this node.
    pub received: u64,
    /// Bundles that came a second time.
    pub received_again: u64,
    /// Bundles of others that were passed on.
    pub relayed_bundles: u64,
    /// Bundles for which this node is not the reader.
    pub misdirected: u64,
}

impl Post {
    /// Whether any message of a bundle of this node's waits for its reader.
    pub fn waits(&self, stored: &Stored) -> bool {
        let count = Bundle::decode(stored.wire.clone()).map_or(0, |bundle| bundle.header().count);
        self.waiting.any(stored.position..stored.position + u64::from(count))
    }
}

impl Node {
    /// Takes up again what waited when the node ended.
    pub(super) fn resume_post(&mut self, view: &dyn View) {
        let waiting: Vec<(Name, Vec<u64>)> =
            self.deliveries.destinations().map(|(name, one)| (name.clone(), one.open_positions().collect())).collect();
        for (name, positions) in waiting {
            for position in positions {
                let until = stored_at(position, view).and_then(|stored| deadline(&stored, position));
                self.post.waiting.insert(position, until.unwrap_or_default(), &name);
            }
            self.deliveries.reach(&name);
        }
    }

    /// Whether a message for a destination can be taken: somebody is known to answer to it.
    pub(super) fn knows_of(&self, to: &Destination) -> bool {
        match to {
            Destination::Node(id) => {
                *id == self.id || self.peers.is_known(*id) || self.registry.has(*id) || self.routes.has(*id)
            }
            to => self.registry.offering(to).next().is_some(),
        }
    }

    /// Whether a message to a node can be taken.
    pub fn knows(&self, node: NodeId) -> bool {
        self.knows_of(&Destination::Node(node))
    }

    /// Whether this node is a reader of a destination.
    pub(super) fn answers_to(&self, to: &Destination) -> bool {
        match to {
            Destination::Node(id) => *id == self.id,
            to => self.registry.offering(to).any(|node| node == self.id),
        }
    }

    /// Those that answer to a destination, this node not counted.
    pub(super) fn readers(&self, to: &Destination) -> Vec<NodeId> {
        match to {
            Destination::Node(id) => vec![*id],
            to => self.registry.offering(to).filter(|node| *node != self.id).collect(),
        }
    }

    /// The ways to a destination, to the nearest of its readers, the best first.
    pub(super) fn ways(&self, to: &Destination, strategy: Strategy, now: Mono) -> Vec<Way> {
        self.routes.ways(to, || self.readers(to), strategy, now)
    }

    /// Keeps a direct bundle of this node's own, and posts its messages unless this node is their reader.
    pub(super) fn post_own(&mut self, bundle: &Verified, turn: &mut Turn<'_>) {
        let position = self.keep_direct(bundle, None, turn);
        let Some(to) = bundle.messages().next().map(|message| message.destination) else { return };
        if self.answers_to(&to) {
            self.post.counts.delivered += u64::from(bundle.count());
            return;
        }
        self.deliveries.post(&to, position..position + u64::from(bundle.count()), &mut turn.tx);
        let Some(name) = Name::of(&to) else { return };
        for (message, position) in bundle.messages().zip(position..) {
            self.post.waiting.insert(position, until(&message), &name);
        }
    }

    pub(super) fn keep_direct(&mut self, bundle: &Verified, hops: Option<Hops>, turn: &mut Turn<'_>) -> u64 {
        let (position, bytes) = self.log.append(bundle, hops, turn.now.wall, &mut turn.tx);
        self.directs.stored(bundle.slot(), bytes, &mut turn.tx);
        self.counters.kept(bundle);
        self.tell_growth(turn);
        self.note_routed(bundle, turn);
        position
    }

    /// Sends what waits for a destination, as much as may be under way.
    pub(super) fn send_post(&mut self, name: &Name, turn: &mut Turn<'_>) {
        let Some(to) = name.destination() else { return };
        if self.stopping || self.post.in_line.contains(name) {
            return;
        }
        let of_all = limits::DIRECT_IN_FLIGHT_ALL.saturating_sub(self.post.flights.len());
        if of_all == 0 {
            return self.wait_in_line(name);
        }
        let of_name = self.post.flights.values().filter(|flight| flight.name == *name).count();
        let room = of_all.min(limits::DIRECT_IN_FLIGHT.saturating_sub(of_name));
        if room == 0 {
            return;
        }
        let leased = self.deliveries.lease(name, limits::LEASE_MESSAGES, None, self.log.end(), turn.now.mono);
        let (groups, mut outcomes) = by_bundle(&leased.map(|leased| leased.leases).unwrap_or_default(), &turn.tx);
        for (n, group) in groups.into_iter().enumerate() {
            if n < room {
                outcomes.extend(self.send_group(name, &to, group, turn));
            } else {
                outcomes.extend(group.leases.iter().map(|lease| (lease.position, Outcome::Return)));
            }
        }
        self.settle_post(name, &outcomes, turn);
    }

    fn wait_in_line(&mut self, name: &Name) {
        if !self.post.in_line.contains(name) {
            self.post.in_line.push_back(name.clone());
        }
    }

    /// Something that was under way has ended: whoever waits for that is next. Those that can still send nothing are at
    /// the end of the line again.
    fn send_next(&mut self, turn: &mut Turn<'_>) {
        let before = self.post.flights.len();
        for _ in 0..self.post.in_line.len() {
            if self.post.flights.len() > before || before >= limits::DIRECT_IN_FLIGHT_ALL {
                return;
            }
            if let Some(name) = self.post.in_line.pop_front() {
                self.send_post(&name, turn);
            }
        }
    }

    /// Sends one bundle; what comes of it if it cannot be sent.
    fn send_group(&mut self, name: &Name, to: &Destination, group: Group, turn: &mut Turn<'_>) -> Vec<(u64, Outcome)> {
        let positions: Vec<u64> = group.leases.iter().map(|lease| lease.position).collect();
        let ways = self.ways(to, group.strategy.unwrap_or(self.setup.strategy), turn.now.mono);
        let found = !ways.is_empty();
        let Some(way) = ways.into_iter().find(|way| self.has_room(way)) else {
            if found {
                self.wait_in_line(name);
                return positions.into_iter().map(|position| (position, Outcome::Return)).collect();
            }
            let reason = self.why_no_way(to, turn);
            let failed = Outcome::Nack { reason, after: None, sink_down: true };
            return positions.into_iter().map(|position| (position, failed.clone())).collect();
        };
        let (Some(first), Some(reader)) = (way.hops.first().copied(), way.hops.last().copied()) else {
            return Vec::new();
        };
        let retries = group.leases.iter().map(|lease| lease.attempt.saturating_sub(1)).max().unwrap_or_default();
        let passed = vec![Hop { node: self.id, at_ms: turn.now.wall }];
        let hops = Hops { passed, ahead: way.hops, retries };
        let id = self.repair.fresh_id();
        let (bundle, name) = (group.id, name.clone());
        self.post.flights.insert(id, Flight { name, positions, bundle, reader, first, sent: turn.now.mono });
        self.post.counts.sent_bundles += 1;
        turn.want(Output::Request { to: first, id, request: Request::Deliver { hops, bundle: group.stored.wire } });
        Vec::new()
    }

    /// Whether the first node of a way carries on as much for this one as it does at once.
    fn has_room(&self, way: &Way) -> bool {
        let [first, _, ..] = way.hops[..] else { return true };
        let by_it = self.post.flights.values().filter(|flight| flight.first == first && flight.reader != first);
        by_it.count() < limits::RELAYED_PER_PEER
    }

    /// Why there is no way; where an address is known, a connection is tried.
    fn why_no_way(&mut self, to: &Destination, turn: &mut Turn<'_>) -> String {
        let readers = self.readers(to);
        for reader in readers.iter().take(4) {
            self.peers.call(*reader, turn);
        }
        match (to, readers.len()) {
            (Destination::Node(id), _) => format!("no way to {id}: it is not connected, and nobody who is knows it"),
            (_, 0) => format!("nobody answers to {to} now"),
            (_, count) => format!("no way to any of the {count} that answer to {to}"),
        }
    }

    /// Returns how many were settled as was said: those that were not settled before.
    fn settle_post(&mut self, name: &Name, outcomes: &[(u64, Outcome)], turn: &mut Turn<'_>) -> u64 {
        if outcomes.is_empty() {
            return 0;
        }
        // What is settled is known to be there; a destination is not removed while it has anything.
        let settled = self.deliveries.settle(name, outcomes, turn.now, &mut turn.tx);
        debug_assert!(settled.is_ok(), "the destination is there");
        for (position, _) in outcomes.iter().filter(|(position, _)| !self.deliveries.is_open(name, *position)) {
            self.post.waiting.remove(*position);
        }
        settled.map_or(0, |settled| settled.settled)
    }

    /// Dead letters of destinations wait again: their time is over when they say so themselves, or as long from now as
    /// that of a new message.
    pub(super) fn repost(&mut self, turn: &Turn<'_>) {
        for (name, position) in self.deliveries.take_redriven() {
            let said = stored_at(position, &turn.tx).and_then(|stored| message_at(&stored, position, |m| m.expires));
            let until = said.flatten().unwrap_or_else(|| turn.now.wall.plus(limits::DIRECT_KEEP));
            self.post.waiting.insert(position, until, &name);
        }
    }

    /// A reader's word on a bundle that was sent or passed on.
    pub(super) fn on_receipt(&mut self, from: NodeId, id: u64, receipt: Receipt, turn: &mut Turn<'_>) {
        if let Some(relayed) = self.post.relayed.remove(&id) {
            return self.on_relayed_receipt(from, &relayed, receipt, turn);
        }
        let Some(flight) = self.post.flights.remove(&id) else { return };
        if receipt.reader != flight.reader || receipt.bundle != flight.bundle {
            self.on_refused(from, &Refusal::Unasked { reason: "the receipt of another bundle" }, turn);
            self.routes.on_outcome(flight.reader, flight.first, false, turn.now.mono);
            return self.try_again(flight, "a receipt came that is none", turn);
        }
        // Whatever its reader makes of it: the bundle got there, and its word back.
        self.routes.on_outcome(flight.reader, flight.first, true, turn.now.mono);
        match receipt.delivery {
            Delivery::Taken | Delivery::Known => {
                let done: Vec<(u64, Outcome)> = flight.positions.iter().map(|at| (*at, Outcome::Ack)).collect();
                self.post.counts.delivered += self.settle_post(&flight.name, &done, turn);
            }
            Delivery::Old => {
                let outcome = Outcome::Park { disposition: Disposition::Expired, reason: Delivery::Old.words().into() };
                let dead: Vec<(u64, Outcome)> = flight.positions.iter().map(|at| (*at, outcome.clone())).collect();
                self.settle_post(&flight.name, &dead, turn);
            }
            Delivery::NotMine | Delivery::Early => {
                self.routes.on_declined(flight.reader, turn.now.mono);
                let words = format!("{}: {}", flight.reader, receipt.delivery.words());
                return self.try_again(flight, &words, turn);
            }
        }
        self.send_next(turn);
        self.send_post(&flight.name, turn);
    }

    /// What was sent or passed on will not be answered.
    pub(super) fn on_undelivered(&mut self, id: u64, turn: &mut Turn<'_>) {
        if let Some(relayed) = self.post.relayed.remove(&id) {
            let response = Response::Unserved(Unserved::NoRoute);
            return turn.want(Output::Respond { id: relayed.answer, response });
        }
        if let Some(flight) = self.post.flights.remove(&id) {
            self.routes.on_outcome(flight.reader, flight.first, false, turn.now.mono);
            let reason = format!("no receipt from {} by way of {}", flight.reader, flight.first);
            self.try_again(flight, &reason, turn);
        }
    }

    /// Another way at once, if there is one; else after a while.
    fn try_again(&mut self, flight: Flight, reason: &str, turn: &mut Turn<'_>) {
        self.post.counts.failed_bundles += 1;
        let messages = flight.positions.len() as u64;
        turn.passed.push(Passage::unread(Station::Postprocess, true, messages, "undelivered"));
        let to = flight.name.destination().unwrap_or_default();
        let other = self.ways(&to, self.setup.strategy, turn.now.mono).first().is_some_and(|way| !way.avoided);
        let after = other.then_some(Duration::ZERO);
        let failed = Outcome::Nack { reason: reason.into(), after, sink_down: !other };
        let failed: Vec<(u64, Outcome)> = flight.positions.iter().map(|at| (*at, failed.clone())).collect();
        self.settle_post(&flight.name, &failed, turn);
        self.send_next(turn);
    }

    /// Who is connected to whom has changed: what waits may have a way now.
    pub(super) fn links_changed(&mut self, turn: &Turn<'_>) {
        let soon = turn.now.mono + SOON;
        self.post.report_due = self.post.report_due.min(soon);
        self.reach_soon(turn.now.mono);
    }

    fn reach_soon(&mut self, now: Mono) {
        let due = self.post.reached.map_or(now, |last| now.max(last + REACH_EVERY));
        self.post.reach_due.get_or_insert(due);
    }

    /// Tries destinations that something waits for and that there is a way to: some at once, the others next time.
    fn reach(&mut self, now: Mono) {
        if self.post.reach_due.is_none_or(|due| now < due) {
            return;
        }
        self.post.reached = Some(now);
        let from = self.post.reach_from.take();
        let after = |name: &Name| from.as_ref().is_none_or(|from| name > from);
        let waits = |one: &Subscription| one.open_positions().next().is_some();
        let waiting = self.deliveries.destinations().filter(|(name, one)| after(name) && waits(one));
        let names: Vec<Name> = waiting.map(|(name, _)| name.clone()).take(REACH_AT_ONCE + 1).collect();
        let (these, later) = names.split_at(names.len().min(REACH_AT_ONCE));
        self.post.reach_from = these.last().filter(|_| !later.is_empty()).cloned();
        // Whoever reports other links all the time gets no more of this node's time than that.
        self.post.reach_due = (!later.is_empty()).then(|| now + REACH_EVERY);
        self.routes.look_anew();
        for name in these {
            let to = name.destination().unwrap_or_default();
            if self.ways(&to, self.setup.strategy, now).first().is_some_and(|way| !way.avoided) {
                self.deliveries.reach(name);
            }
        }
    }

    /// A node's word on its links.
    pub(super) fn on_link_report(&mut self, author: NodeId, message: &Message<'_>, turn: &Turn<'_>) {
        let Some(Payload::LinkReport(report)) = payload(message) else { return };
        if self.routes.on_report(author, &report, turn.now.mono) {
            self.reach_soon(turn.now.mono);
        }
    }

    /// Tells everyone of this node's links, when it is time.
    pub(super) fn report_links(&mut self, turn: &mut Turn<'_>) {
        if turn.now.mono < self.post.report_due || self.stopping {
            return;
        }
        self.post.report_due = turn.now.mono + limits::LINK_REPORT_EVERY;
        self.routes.forget_old(turn.now.mono);
        let report = LinkReport { load_percent: f64::from(self.lanes.fullness_percent()), links: self.routes.links() };
        self.routes.on_report(self.id, &report, turn.now.mono);
        let mut draft = Draft::new(&Payload::LinkReport(report));
        draft.priority = Priority::High;
        self.say(draft, turn);
    }

    /// Does what is due: destinations are tried, messages whose time is over die, what is lost is given up.
    pub(super) fn tick_post(&mut self, turn: &mut Turn<'_>) {
        self.reach(turn.now.mono);
        self.expire_post(turn);
        let late = |sent: Mono| turn.now.mono - sent >= LOST;
        let lost: Vec<u64> = self.post.flights.iter().filter(|(_, f)| late(f.sent)).map(|(id, _)| *id).collect();
        self.post.relayed.retain(|_, relayed| !late(relayed.sent));
        for id in lost {
            self.on_undelivered(id, turn);
        }
    }

    /// Messages whose time is over die; those there is no room for among the dead letters do so later, and are not sent
    /// meanwhile.
    fn expire_post(&mut self, turn: &mut Turn<'_>) {
        let mut over = BTreeMap::<Name, Vec<u64>>::new();
        while let Some((name, position)) = self.post.waiting.pop(turn.now.wall) {
            over.entry(name).or_default().push(position);
        }
        for (name, positions) in over {
            self.post.counts.overdue += self.deliveries.overdue(&name, &positions, turn.now, &mut turn.tx);
            for position in positions.into_iter().filter(|position| self.deliveries.is_open(&name, *position)) {
                self.post.waiting.insert(position, turn.now.wall.plus(BURY_AGAIN), &name);
            }
        }
    }

    /// When links are reported next, or destinations tried.
    pub(super) fn post_wake(&self) -> Mono {
        self.post.reach_due.map_or(self.post.report_due, |due| due.min(self.post.report_due))
    }
}

/// Messages of one bundle that are to be sent.
struct Group {
    id: Hash,
    stored: Stored,
    strategy: Option<Strategy>,
    leases: Vec<Lease>,
}

/// The bundles that leases are in; what retention took cannot be sent.
fn by_bundle(leases: &[Lease], view: &dyn View) -> (Vec<Group>, Vec<(u64, Outcome)>) {
    let (mut groups, mut outcomes): (Vec<Group>, Vec<(u64, Outcome)>) = (Vec::new(), Vec::new());
    for lease in leases {
        let inside = |group: &Group| {
            let bundle = Bundle::decode(group.stored.wire.clone());
            let end = bundle.map_or(0, |b| group.stored.position + u64::from(b.header().count));
            (group.stored.position..end).contains(&lease.position)
        };
        if let Some(group) = groups.last_mut().filter(|group| inside(group)) {
            group.leases.push(*lease);
            continue;
        }
        match stored_at(lease.position, view).and_then(|stored| Group::of(stored, *lease)) {
            Some(group) => groups.push(group),
            None => outcomes.push((lease.position, let_go())),
        }
    }
    (groups, outcomes)
}

fn let_go() -> Outcome {
    let reason = "retention let it go before its reader could have it".into();
    Outcome::Park { disposition: Disposition::Expired, reason }
}

impl Group {
    fn of(stored: Stored, lease: Lease) -> Option<Group> {
        let bundle = Bundle::decode(stored.wire.clone()).ok()?;
        let wish = |message: &Message<'_>| message.headers.get(STRATEGY_HEADER).and_then(|name| name.parse().ok());
        let strategy = first_message(&bundle, wish).flatten();
        Some(Group { id: bundle.header().id(), stored, strategy, leases: vec![lease] })
    }
}

fn first_message<T>(bundle: &Bundle, read: impl FnOnce(&Message<'_>) -> T) -> Option<T> {
    let body = bundle.unpack().ok()?;
    let first = bundle.divide(&body).next()?;
    Message::decode(&first).ok().map(|message| read(&message))
}

/// Until when a message is to be with its reader.
fn until(message: &Message<'_>) -> WallMs {
    message.expires.unwrap_or(message.id.stamp().wall().plus(limits::DIRECT_KEEP))
}

/// The same of the message at a position of a bundle.
fn deadline(stored: &Stored, position: u64) -> Option<WallMs> {
    message_at(stored, position, until)
}

fn message_at<T>(stored: &Stored, position: u64, read: impl FnOnce(&Message<'_>) -> T) -> Option<T> {
    let bundle = Bundle::decode(stored.wire.clone()).ok()?;
    let index = usize::try_from(position.checked_sub(stored.position)?).ok()?;
    let body = bundle.unpack().ok()?;
    let bytes = bundle.divide(&body).nth(index)?;
    Message::decode(&bytes).ok().map(|message| read(&message))
}
