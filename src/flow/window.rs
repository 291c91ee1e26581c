//! A window over what this node has said and its peers do not hold yet.
//!
//! What was handed to gossip has lost its rank: it waits in one line for each peer, and behind that in the line of the
//! one who checks it. So little is handed over at a time, and the rest waits in the lanes. A peer is asked how far it
//! holds this life's feeds; the window is open while at least half of the peers that keep up have less than their share
//! before them. What was said [`AGED`] ago is not waited for: a peer that stalls, or lies, is given another share then. One
//! that takes nothing of it for [`LOST`], because it is busy with what it missed before, or gone, does not keep up, and
//! is not waited for before it lacks less than its share.
//!
//! A peer's share is what it takes in [`AHEAD`] and a round trip, by the rate at which it was seen to take things while
//! it had some before it: bandwidth times delay, as in BBR (Cardwell et al., ACM Queue 14:5, 2016). So the line to it is
//! kept busy, and what is urgent does not find a long queue on it. A share is larger than what a peer takes before its
//! answer comes, so the rate is found from below.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::types::{Mono, NodeId, limits};
use crate::wire::Category;

/// What was said so long ago is not waited for.
const AGED: Duration = Duration::from_secs(2);
/// A peer that takes nothing for so long is not waited for.
const LOST: Duration = Duration::from_secs(10);
/// A peer is asked at most this often; and one that does not keep up.
const ASK_EVERY: Duration = Duration::from_millis(10);
const ASK_LATER: Duration = Duration::from_millis(200);
/// A question that was not answered for so long is asked anew.
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

/// Where the window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct WindowState {
    /// How much a peer may lack before it counts as full, bytes: the largest share.
    pub bytes: u64,
    /// Peers that keep up, and those of them that have room.
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
    /// Bytes before the first of them, and of all.
    before: u64,
    total: u64,
}

impl Said {
    /// Bytes up to this sequence, as far as they are remembered.
    fn up_to(&self, next: u64) -> Option<u64> {
        let known = self.ends.partition_point(|(end, _, _)| *end <= next);
        let (first, _, _) = self.ends.front()?;
        match known.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some((_, bytes, _)) => Some(*bytes),
            // Exactly where the first of those remembered begins.
            None => (next + 1 == *first).then_some(self.before),
        }
    }

    fn forget(&mut self, before: Mono) {
        while let Some((_, bytes, _)) = self.ends.front().filter(|(_, _, at)| *at <= before) {
            self.before = *bytes;
            self.ends.pop_front();
        }
    }
}

#[derive(Debug, Default)]
struct Peer {
    /// Bytes of each topic that it holds; a topic it does not follow it lacks nothing of.
    held: BTreeMap<Category, u64>,
    /// It took something in the last [`LOST`], or lacks nothing; or is new.
    keeps_up: bool,
    /// When it was last found to hold more, or began to lack something.
    moved: Mono,
    /// The question under way.
    question: Option<u64>,
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
        if self.peers.len() < limits::WINDOW_PEERS {
            // What was said before is not waited for.
            let held = self.said.iter().map(|(topic, said)| (*topic, said.total)).collect();
            self.peers.insert(peer, Peer { held, keeps_up: true, ..Peer::default() });
        }
    }

    /// A peer is gone.
    pub fn on_down(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }

    /// A bundle of this life's feed of a topic was said; `next` is one past its sequence. What is Critical takes no room:
    /// it goes a way of its own, and does not keep the rest waiting.
    pub fn on_said(&mut self, topic: Category, next: u64, bytes: usize, now: Mono) {
        let total = self.total();
        self.peers.values_mut().filter(|peer| peer.held_bytes() == total).for_each(|peer| peer.moved = now);
        let said = self.said.entry(topic).or_default();
        said.total += bytes as u64;
        said.ends.push_back((next, said.total, now));
    }

    /// A peer answered how far it holds this life's feeds. False when it was not asked this.
    pub fn on_answer(&mut self, from: NodeId, id: u64, nexts: &BTreeMap<Category, u64>, now: Mono) -> bool {
        let total = self.total();
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.question == Some(id)) else { return false };
        peer.question = None;
        let before = peer.held_bytes();
        for (topic, said) in &self.said {
            let held = peer.held.entry(*topic).or_default();
            // Of what is not remembered any more nothing counts.
            *held = nexts.get(topic).map_or(Some(said.total), |next| said.up_to(*next)).unwrap_or_default().max(*held);
        }
        let trip = now - peer.asked;
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
        if let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.question == Some(id)) {
            peer.question = None;
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
                (peer.question, peer.asked, peer.asked_total) = (Some(number), now, total);
                questions.push((id, number));
            }
        }
        questions
    }

    /// Whom to ask, and when: of whom something may be learnt, when it has answered what it was asked before, or will not.
    fn due(&self) -> impl Iterator<Item = (NodeId, Mono)> {
        let total = self.total();
        let is_due = move |peer: &Peer| {
            let share = peer.share(&self.bounds);
            let lacks_much = total.saturating_sub(peer.held_bytes()) >= share / 2;
            total - peer.asked_total > share / QUESTIONS || lacks_much
        };
        let pause = |peer: &Peer| match peer.question {
            Some(_) => ASK_AGAIN,
            None if peer.keeps_up => ASK_EVERY,
            None => ASK_LATER,
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
        let total = self.total();
        for peer in self.peers.values_mut() {
            peer.keeps_up &= now - peer.moved < LOST || peer.held_bytes() >= total;
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
