//! A window over what this node has said and its peers do not hold yet.
//!
//! What was handed to gossip has lost its rank: it waits in one line for each peer, and behind that in the line of the
//! one who checks it. So little is handed over at a time, and the rest waits in the lanes. A peer is asked how far it
//! holds this life's feeds; the window is open while at least half of the peers that keep up have less than their share
//! before them. What was said [`AGED`] ago is not waited for: a peer that stalls, or lies, is given another share then. One
//! that lacks half its share and takes nothing of it for [`LOST`], because it is busy with what it missed before, or
//! gone, does not keep up, and is not waited for before it lacks less than its share.
//!
//! A peer's share is what it takes in [`AHEAD`] and a round trip, by the rate at which it was seen to take things while
//! it had some before it: bandwidth times delay, as in BBR (Cardwell et al., ACM Queue 14:5, 2016). So the line to it is
//! kept busy, and what is urgent does not find a long queue on it. A share is larger than what a peer takes before its
//! answer comes, so the rate is found from below.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::types::{Mono, NodeId, limits};
use crate::wire::{Category, Course, Priority};

/// What was said so long ago is not waited for.
const AGED: Duration = Duration::from_secs(2);
/// A peer that takes nothing for so long is not waited for.
const LOST: Duration = Duration::from_secs(10);
/// A peer is asked at most this often; and one that does not keep up.
const ASK_EVERY: Duration = Duration::from_millis(10);
const ASK_LATER: Duration = Duration::from_millis(200);
/// A question that was not answered for so long is asked anew; an answer to the one before counts all the same.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a peer is to be busy with what was said and it does not hold.
const AHEAD: Duration = Duration::from_millis(100);
/// The rate is measured over at least this long.
const MEASURED_OVER: Duration = Duration::from_millis(100);
/// Questions to a share.
const QUESTIONS: u64 = 8;

/// What may leave the lanes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pass {
    /// What goes a way of its own: what is Critical or direct, and what is not kept.
    Beside,
    /// All.
    All,
}

impl Pass {
    /// The least by which something leaves its lane. What passes beside takes no room.
    pub fn needed(course: Course, priority: Priority, topic: Category) -> Pass {
        match course {
            Course::Direct | Course::Ephemeral => Pass::Beside,
            Course::Feed if priority.rank(topic) == Priority::Critical => Pass::Beside,
            Course::Feed => Pass::All,
        }
    }
}

/// Where the window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct WindowState {
    /// How much a peer may lack before it counts as full, bytes: the largest share of one.
    pub bytes: u64,
    /// Peers that keep up, and those of them that lack less than their share.
    pub peers: usize,
    pub with_room: usize,
    /// What the one that lacks most of those that keep up lacks, as far as it said, bytes.
    pub unheld_bytes: u64,
}

/// What was said on one topic in this life.
#[derive(Debug, Default)]
struct Said {
    /// One past a bundle's sequence, bytes of the topic up to there, and when it was said; of the last [`AGED`].
    ends: VecDeque<(u64, u64, Mono)>,
    /// The last that is not remembered any more, bytes of the topic up to there, and of all of it.
    forgotten: u64,
    before: u64,
    total: u64,
}

impl Said {
    /// Bytes up to this sequence, as far as they are remembered.
    fn up_to(&self, next: u64) -> Option<u64> {
        let known = self.ends.partition_point(|(end, _, _)| *end <= next);
        match known.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some((_, bytes, _)) => Some(*bytes),
            None => (next >= self.forgotten).then_some(self.before),
        }
    }

    fn forget(&mut self, before: Mono) {
        while let Some((end, bytes, _)) = self.ends.front().filter(|(_, _, at)| *at <= before) {
            (self.forgotten, self.before) = (*end, *bytes);
            self.ends.pop_front();
        }
    }
}

#[derive(Debug, Default)]
struct Peer {
    /// Bytes of each topic that it holds; a topic it does not follow it lacks nothing of.
    held: BTreeMap<Category, u64>,
    /// It took something in the last [`LOST`], or lacks little; or is new.
    keeps_up: bool,
    /// When it was last found to hold more, or lacked little.
    moved: Mono,
    /// Questions that may still be answered, and when they were asked.
    questions: BTreeMap<u64, Mono>,
    /// The last question failed.
    failed: bool,
    /// When it was asked last, and what had been said then.
    asked: Mono,
    asked_total: u64,
    /// The shortest time from a question to its answer.
    round_trip: Option<Duration>,
    /// Since when its rate is measured, what it held of all then, and whether it had half its share before it.
    since: Mono,
    held_then: u64,
    was_busy: bool,
    /// Bytes it takes in a second; none until that was measured.
    rate: Option<u64>,
}

impl Peer {
    fn held_bytes(&self) -> u64 {
        self.held.values().sum()
    }

    /// How much it may lack, within bounds, bytes.
    fn share(&self, bounds: &Bounds) -> u64 {
        let time = AHEAD + self.round_trip.unwrap_or_default();
        let share = self.rate.map_or(bounds.first, |rate| (u128::from(rate) * time.as_micros() / 1_000_000) as u64);
        share.clamp(bounds.least, bounds.most)
    }

    /// Of all that was said it lacks so little that asking how far it is tells nothing.
    fn lacks_little(&self, total: u64, bounds: &Bounds) -> bool {
        total.saturating_sub(self.held_bytes()) < self.share(bounds) / 2
    }

    /// It was found to hold so much of all that was said.
    fn measure(&mut self, held: u64, is_busy: bool, now: Mono) {
        let took = now - self.since;
        if took < MEASURED_OVER && self.was_busy {
            return;
        }
        if self.was_busy {
            let rate = (u128::from(held.saturating_sub(self.held_then)) * 1_000_000 / took.as_micros().max(1)) as u64;
            // It may be more at once, and is less by and by: frames are large, and come one by one. What it took while
            // it waited for more says nothing of what it could.
            let least = self.rate.map_or(0, |before| if is_busy { before - before / 4 } else { before });
            self.rate = Some(rate.max(least));
        }
        (self.since, self.held_then, self.was_busy) = (now, held, is_busy);
    }
}

/// How large a share is, bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    least: u64,
    first: u64,
    most: u64,
}

/// The window of a node.
#[derive(Debug)]
pub struct Window {
    bounds: Bounds,
    said: BTreeMap<Category, Said>,
    peers: BTreeMap<NodeId, Peer>,
}

impl Window {
    /// A window of so many bytes at most.
    pub fn new(bytes: usize) -> Window {
        let most = bytes as u64;
        let (least, first) = (most.min(2 * limits::BUNDLE_TARGET_BYTES as u64), most / 8);
        let bounds = Bounds { least, first: first.max(least), most };
        Window { bounds, said: BTreeMap::new(), peers: BTreeMap::new() }
    }

    /// A peer is there. Beyond [`limits::WINDOW_PEERS`] it is not asked.
    pub fn on_up(&mut self, peer: NodeId) {
        if self.peers.len() < limits::WINDOW_PEERS && !self.peers.contains_key(&peer) {
            // What was said before is not waited for.
            let held = self.said.iter().map(|(topic, said)| (*topic, said.total)).collect();
            self.peers.insert(peer, Peer { held, keeps_up: true, ..Peer::default() });
        }
    }

    /// A peer is gone.
    pub fn on_down(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }

    /// A bundle of this life's feed of a topic left its lane; `next` is one past its sequence, and more than before.
    pub fn on_said(&mut self, topic: Category, next: u64, bytes: usize, now: Mono) {
        let (total, bounds) = (self.total(), self.bounds);
        let lacks_little = |peer: &&mut Peer| peer.lacks_little(total, &bounds);
        self.peers.values_mut().filter(lacks_little).for_each(|peer| peer.moved = now);
        let said = self.said.entry(topic).or_default();
        said.total += bytes as u64;
        said.ends.push_back((next, said.total, now));
    }

    /// A peer answered how far it holds this life's feeds. False when it was not asked this.
    pub fn on_answer(&mut self, from: NodeId, id: u64, nexts: &BTreeMap<Category, u64>, now: Mono) -> bool {
        let total = self.total();
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        let Some(asked) = peer.questions.remove(&id) else { return false };
        // What was asked before says nothing more.
        peer.questions.retain(|question, _| *question > id);
        peer.failed = false;
        let before = peer.held_bytes();
        for (topic, said) in &self.said {
            let held = peer.held.entry(*topic).or_default();
            // Of what is not remembered any more nothing counts.
            *held = nexts.get(topic).map_or(Some(said.total), |next| said.up_to(*next)).unwrap_or_default().max(*held);
        }
        let trip = now - asked;
        peer.round_trip = Some(peer.round_trip.map_or(trip, |shortest| shortest.min(trip)));
        let (held, share) = (peer.held_bytes(), peer.share(&self.bounds));
        let lacks = total.saturating_sub(held);
        if held > before || lacks == 0 {
            peer.moved = now;
        }
        peer.keeps_up |= lacks < share;
        peer.measure(held, lacks >= share / 2, now);
        true
    }

    /// A question was not answered.
    pub fn on_failed(&mut self, from: NodeId, id: u64) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.failed |= peer.questions.remove(&id).is_some();
        }
    }

    /// Whom to ask now; `fresh` numbers the questions.
    pub fn questions(&mut self, now: Mono, mut fresh: impl FnMut() -> u64) -> Vec<(NodeId, u64)> {
        let total = self.total();
        let due: Vec<NodeId> = self.due().filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        let mut questions = Vec::new();
        for id in due {
            if let Some(peer) = self.peers.get_mut(&id) {
                let number = fresh();
                peer.questions.retain(|_, asked| now - *asked < limits::REQUEST_TIMEOUT);
                peer.questions.insert(number, now);
                (peer.asked, peer.asked_total) = (now, total);
                questions.push((id, number));
            }
        }
        questions
    }

    /// Whom to ask, and when: of whom something may be learnt, when it has answered what it was asked before, or will not.
    fn due(&self) -> impl Iterator<Item = (NodeId, Mono)> {
        let total = self.total();
        let is_due = move |peer: &Peer| {
            total - peer.asked_total > peer.share(&self.bounds) / QUESTIONS || !peer.lacks_little(total, &self.bounds)
        };
        let pause = |peer: &Peer| match peer.questions.is_empty() {
            false => ASK_AGAIN,
            true if peer.keeps_up && !peer.failed => ASK_EVERY,
            true => ASK_LATER,
        };
        let at = move |peer: &Peer| peer.asked + pause(peer);
        self.peers.iter().filter(move |(_, peer)| is_due(peer)).map(move |(id, peer)| (*id, at(peer)))
    }

    /// When somebody is to be asked, or not to be waited for any more, while the window is not open.
    pub fn next_wake(&self) -> Option<Mono> {
        let asks = self.due().map(|(_, at)| at);
        let ages = self.said.values().filter_map(|said| said.ends.front()).map(|(_, _, at)| *at + AGED);
        asks.chain(ages).min()
    }

    /// What may leave the lanes now.
    pub fn pass(&mut self, now: Mono) -> Pass {
        let before = Mono(now.0.saturating_sub(AGED.as_micros() as u64));
        self.said.values_mut().for_each(|said| said.forget(before));
        let (total, bounds) = (self.total(), self.bounds);
        for peer in self.peers.values_mut() {
            peer.keeps_up &= now - peer.moved < LOST || peer.lacks_little(total, &bounds);
        }
        if self.is_open() { Pass::All } else { Pass::Beside }
    }

    /// Where it stands.
    pub fn state(&self) -> WindowState {
        let lacking: Vec<(u64, u64)> = self.lacking().collect();
        WindowState {
            bytes: lacking.iter().map(|(_, share)| *share).max().unwrap_or(self.bounds.first),
            peers: lacking.len(),
            with_room: lacking.iter().filter(|(lacks, share)| lacks < share).count(),
            unheld_bytes: lacking.into_iter().map(|(lacks, _)| lacks).max().unwrap_or_default(),
        }
    }

    /// Whether half of those that keep up have room.
    fn is_open(&self) -> bool {
        let (mut peers, mut with_room) = (0, 0);
        for (lacks, share) in self.lacking() {
            peers += 1;
            with_room += usize::from(lacks < share);
        }
        2 * with_room >= peers
    }

    /// Of each that keeps up what it lacks and its share, bytes.
    fn lacking(&self) -> impl Iterator<Item = (u64, u64)> {
        self.peers.values().filter_map(|peer| Some((self.lacks(peer)?, peer.share(&self.bounds))))
    }

    /// What it lacks of what is waited for; none of one that does not keep up.
    fn lacks(&self, peer: &Peer) -> Option<u64> {
        let lacks = |(topic, said): (&Category, &Said)| {
            let held = peer.held.get(topic).copied().unwrap_or_default();
            said.total.saturating_sub(held.max(said.before))
        };
        peer.keeps_up.then(|| self.said.iter().map(lacks).sum())
    }

    fn total(&self) -> u64 {
        self.said.values().map(|said| said.total).sum()
    }
}
