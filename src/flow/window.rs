//! A window over what this node has said and its peers do not hold yet.
//!
//! What was handed to gossip has lost its rank: it waits in one line for each peer, and behind that in the line of the
//! one who checks it. So little is handed over at a time, and the rest waits in the lanes. A peer is asked how far it
//! holds this life's feeds; the window is open while at least half of the peers that keep up have less than a window
//! before them. Whoever does not hold what was said [`BEHIND`] ago does not keep up: it catches up by repair, and is
//! not waited for, so that neither a slow peer nor a silent one stops a node.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::types::{Mono, NodeId, limits};
use crate::wire::Category;

/// A peer that lacks what was said so long ago is not waited for.
const BEHIND: Duration = Duration::from_secs(2);
/// A peer is asked at most this often.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Questions to a window.
const QUESTIONS: u64 = 8;

/// What may leave the lanes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pass {
    /// What goes a way of its own: direct messages, and what is not kept.
    Direct,
    /// That, and what is Critical.
    Critical,
    /// All.
    All,
}

/// Where the window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct WindowState {
    /// How much a peer may lack before it counts as full, bytes.
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
    /// One past a bundle's sequence, bytes of the topic up to there, and when it was said; of the last [`BEHIND`].
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
    answered: bool,
    /// The question under way.
    question: Option<u64>,
    /// When it was asked last, and what had been said then.
    asked: Mono,
    asked_total: u64,
}

/// The window of a node.
#[derive(Debug)]
pub struct Window {
    bytes: u64,
    said: BTreeMap<Category, Said>,
    peers: BTreeMap<NodeId, Peer>,
}

impl Window {
    /// A window of so many bytes.
    pub fn new(bytes: usize) -> Window {
        Window { bytes: bytes as u64, said: BTreeMap::new(), peers: BTreeMap::new() }
    }

    /// A peer is there. Beyond [`limits::WINDOW_PEERS`] it is not asked.
    pub fn on_up(&mut self, peer: NodeId) {
        if self.peers.len() < limits::WINDOW_PEERS {
            self.peers.insert(peer, Peer { asked_total: self.total(), ..Peer::default() });
        }
    }

    /// A peer is gone.
    pub fn on_down(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }

    /// A bundle of this life's feed of a topic was said; `next` is one past its sequence.
    pub fn on_said(&mut self, topic: Category, next: u64, bytes: usize, now: Mono) {
        let said = self.said.entry(topic).or_default();
        said.total += bytes as u64;
        said.ends.push_back((next, said.total, now));
    }

    /// A peer answered how far it holds this life's feeds. False when it was not asked this.
    pub fn on_answer(&mut self, from: NodeId, id: u64, nexts: &BTreeMap<Category, u64>) -> bool {
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.question == Some(id)) else { return false };
        peer.question = None;
        peer.answered = true;
        for (topic, said) in &self.said {
            // Of what is not remembered any more it holds nothing that counts.
            let held = nexts.get(topic).map_or(Some(said.total), |next| said.up_to(*next)).unwrap_or_default();
            peer.held.insert(*topic, held);
        }
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

    /// Whom to ask, and when: of whom something may be learnt, and who has answered what it was asked before.
    fn due(&self) -> impl Iterator<Item = (NodeId, Mono)> {
        let (total, part) = (self.total(), self.bytes / QUESTIONS);
        let is_due = move |peer: &Peer| {
            let lacks_much = self.lacks(peer).is_some_and(|lacks| lacks >= self.bytes / 2);
            peer.question.is_none() && (total - peer.asked_total > part || lacks_much)
        };
        self.peers.iter().filter(move |(_, peer)| is_due(peer)).map(|(id, peer)| (*id, peer.asked + ASK_EVERY))
    }

    /// When somebody is to be asked, or not to be waited for any more, while the window is not open.
    pub fn next_wake(&self) -> Option<Mono> {
        let asks = self.due().map(|(_, at)| at);
        let ages = self.said.values().filter_map(|said| said.ends.front()).map(|(_, _, at)| *at + BEHIND);
        asks.chain(ages).min()
    }

    /// What may leave the lanes now.
    pub fn pass(&mut self, now: Mono) -> Pass {
        let before = Mono(now.0.saturating_sub(BEHIND.as_micros() as u64));
        self.said.values_mut().for_each(|said| said.forget(before));
        if self.is_open(self.bytes) {
            Pass::All
        } else if self.is_open(2 * self.bytes) {
            Pass::Critical
        } else {
            Pass::Direct
        }
    }

    /// Where it stands.
    pub fn state(&self) -> WindowState {
        let lacks: Vec<u64> = self.lacking().map(|(_, lacks)| lacks).collect();
        WindowState {
            bytes: self.bytes,
            peers: lacks.len(),
            with_room: lacks.iter().filter(|lacks| **lacks < self.bytes).count(),
            unheld_bytes: lacks.into_iter().max().unwrap_or_default(),
        }
    }

    fn is_open(&self, bytes: u64) -> bool {
        let (mut peers, mut with_room) = (0, 0);
        for (_, lacks) in self.lacking() {
            peers += 1;
            with_room += usize::from(lacks < bytes);
        }
        2 * with_room >= peers
    }

    /// Those that keep up, and what each lacks, bytes.
    fn lacking(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.peers.iter().filter_map(|(id, peer)| Some((*id, self.lacks(peer)?)))
    }

    /// None of one that does not keep up, or has not said.
    fn lacks(&self, peer: &Peer) -> Option<u64> {
        let lacks = |(topic, said): (&Category, &Said)| {
            let held = peer.held.get(topic).copied().unwrap_or_default();
            (held >= said.before).then(|| said.total.saturating_sub(held))
        };
        peer.answered.then(|| self.said.iter().map(lacks).sum())?
    }

    fn total(&self) -> u64 {
        self.said.values().map(|said| said.total).sum()
    }
}
