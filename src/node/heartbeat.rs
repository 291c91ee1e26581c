//! "I live, and this is what I hold": every two seconds while that changes, every six while it does not; to everyone, kept
//! by nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use super::output::{Event, Output};
use super::owner::{Node, Turn};
use super::peers::{Beat, scramble};
use crate::feed::NotPlaced;
use crate::meter::{Passage, Station};
use crate::types::{Incarnation, Mono, NodeId, Stamp, WallMs, limits};
use crate::wire::kind::system::{FeedHead, Heartbeat, TopicRoot};
use crate::wire::{Category, ContentType, Draft, FeedId, Head, Kind, Message, Payload, Priority, Verified};

/// What is older than this when it comes is a replay.
const OLDEST: Duration = Duration::from_secs(60);
/// Authors whose last ephemeral stamp is remembered.
const AUTHORS: usize = 8 * limits::KNOWN_PEERS;

/// Beats that say the same before they become rarer: each may be lost.
const SAID_AGAIN: u32 = 3;

/// When this node speaks next, and when others last spoke.
#[derive(Debug)]
pub(super) struct Beats {
    due: Mono,
    jitter: u64,
    /// The last one, and when it was said.
    said: Option<(Heartbeat, Mono)>,
    /// For how many turns it would have said the same.
    same: u32,
    /// A peer spoke of something else than what this node holds.
    differs: bool,
    heard: BTreeMap<(NodeId, Category), Stamp>,
}

impl Beats {
    pub fn new(entropy: u64, now: Mono) -> Beats {
        Beats { due: now, jitter: entropy, said: None, same: 0, differs: false, heard: BTreeMap::new() }
    }

    pub fn due(&self) -> Mono {
        self.due
    }

    /// Moves the next beat on by the interval, give or take a tenth.
    fn next(&mut self, now: Mono) {
        self.jitter = scramble(self.jitter);
        let spread = limits::HEARTBEAT / 5;
        self.due = now + (limits::HEARTBEAT - spread / 2) + spread.mul_f64((self.jitter % 1024) as f64 / 1024.0);
    }

    /// Whether a beat says something new, or the last one was long ago.
    fn is_worth(&mut self, beat: &Heartbeat, now: Mono) -> bool {
        let same =
            !std::mem::take(&mut self.differs) && self.said.as_ref().is_some_and(|(said, _)| said.holds_as(beat));
        self.same = if same { self.same + 1 } else { 0 };
        // Turns come a tenth early or late.
        let rest = limits::HEARTBEAT_AT_REST - limits::HEARTBEAT / 2;
        let worth = self.same <= SAID_AGAIN || self.said.as_ref().is_none_or(|(_, at)| now - *at >= rest);
        if worth {
            self.said = Some((beat.clone(), now));
        }
        worth
    }

    /// Whether a node has said in this life that it lives.
    pub fn has_heard(&self, node: NodeId) -> bool {
        self.heard.contains_key(&(node, Category::System))
    }

    /// Whether something ephemeral is newer than what its author said before on the topic.
    fn is_news(&mut self, author: NodeId, topic: Category, stamp: Stamp, wall: WallMs) -> bool {
        let last = self.heard.get(&(author, topic)).copied().unwrap_or_default();
        if stamp <= last || stamp.wall() < wall.minus(OLDEST) {
            return false;
        }
        if self.heard.len() >= AUTHORS && last == Stamp(0) {
            let oldest = self.heard.iter().min_by_key(|(_, stamp)| **stamp).map(|(key, _)| *key);
            oldest.map(|key| self.heard.remove(&key));
        }
        self.heard.insert((author, topic), stamp);
        true
    }
}

impl Node {
    /// Speaks when it is time, and there is something to say.
    pub(super) fn beat(&mut self, turn: &mut Turn<'_>) {
        if turn.now.mono < self.beats.due || self.stopping {
            return;
        }
        self.beats.next(turn.now.mono);
        let heads = self.feeds.heads_of(self.id, self.life.incarnation);
        let heads = heads.into_iter().map(|head| FeedHead {
            topic: head.feed.topic,
            incarnation: head.feed.incarnation,
            sequence: head.next.saturating_sub(1),
            hash: head.hash,
        });
        let beat = Heartbeat {
            uptime_s: (turn.now.mono - self.started).as_secs(),
            peers: self.peers.connected().count() as u32,
            messages: self.log.end(),
            roots: self.topic_roots().map(|(topic, root)| TopicRoot { topic, root }).collect(),
            state_root: self.follows(Category::Data).then(|| self.states.replica.root()),
            clock_ms: turn.now.wall,
            heads: heads.collect(),
        };
        if !self.beats.is_worth(&beat, turn.now.mono) {
            return;
        }
        let mut draft = Draft::new(&Payload::Heartbeat(beat));
        // Behind a full lane of its own messages a node would seem dead.
        draft.priority = Priority::High;
        self.say(draft, turn);
    }

    pub(super) fn on_ephemeral(
        &mut self,
        from: Option<NodeId>,
        bundle: Verified,
        turn: &mut Turn<'_>,
    ) -> Result<(), Option<NotPlaced>> {
        let header = bundle.header();
        let (author, topic) = (header.feed.author, header.feed.topic);
        if !self.beats.is_news(author, topic, header.clock, turn.now.wall) {
            self.note_unplaced(&bundle, NotPlaced::Old.code(), turn);
            return Err(Some(NotPlaced::Old));
        }
        if from.is_some() {
            turn.passed.push(Passage::bundle(Station::Transform, &bundle, false, self.laps.lap()));
        }
        self.counters.ephemeral_bundles += 1;
        let beats = bundle.messages().filter(|message| message.known_kind() == Some(Kind::Heartbeat));
        if let (Some(from), Some(Payload::Heartbeat(beat))) = (from, beats.last().and_then(|last| payload(&last))) {
            self.on_heartbeat(author, header.feed.incarnation, from, &beat, turn);
        }
        let reports = bundle.messages().filter(|message| message.known_kind() == Some(Kind::LinkReport));
        if let (Some(_), Some(report)) = (from, reports.last()) {
            self.on_link_report(author, &report, turn);
        }
        self.note_routed(&bundle, turn);
        turn.want(Output::Event(Event::Ephemeral(Box::new(bundle))));
        Ok(())
    }

    fn on_heartbeat(&mut self, author: NodeId, life: Incarnation, from: NodeId, beat: &Heartbeat, turn: &mut Turn<'_>) {
        let clock_offset_ms = beat.clock_ms.0.cast_signed().saturating_sub(turn.now.wall.0.cast_signed());
        let differs = |said: &TopicRoot| self.follows(said.topic) && self.feeds.topic_root(said.topic) != said.root;
        let alike = !beat.roots.iter().any(differs);
        let heard = Beat { at: turn.now.mono, alike, clock_offset_ms };
        self.note_roots(author, &beat.roots);
        self.peers.on_beat(author, heard, turn.now);
        self.note_state_of(author, beat.state_root, turn.now.mono);
        self.beats.differs |= !alike && self.peers.is_connected(author);
        if let Some(theirs) =
            beat.state_root.filter(|_| self.follows(Category::Data) && self.peers.is_connected(author))
        {
            let same = theirs == self.states.replica.root();
            self.beats.differs |= !same;
            let lacks = self.states.replica.lacks_rolls();
            self.healing.on_beat(author, same, lacks, alike, turn.now.mono);
        }
        // The author holds its own feeds; where it is not connected, whoever carried its word is asked.
        let holder = if self.peers.is_connected(author) { author } else { from };
        // It speaks of the feeds of this life, one for each category.
        for head in beat.heads.iter().filter(|head| head.incarnation == life).take(Category::ALL.len()) {
            let feed = FeedId { author, incarnation: head.incarnation, topic: head.topic };
            let floor = self.feeds.chain(feed).map_or(0, |c| c.joined);
            let next = head.sequence.saturating_add(1);
            self.on_head(holder, &Head { feed, floor, next, hash: head.hash, forked: None }, turn);
        }
        if self.peers.is_connected(author) && !alike {
            self.ask_heads(author, turn);
        }
    }
}

/// The typed payload of a message this node can read.
pub(super) fn payload(message: &Message<'_>) -> Option<Payload> {
    let kind: Kind = message.known_kind().filter(|_| message.encryption.is_none())?;
    match message.content_type {
        ContentType::Bincode => Payload::decode(kind, message.payload).ok(),
        ContentType::Json => Payload::from_json_str(kind, std::str::from_utf8(message.payload).ok()?).ok(),
    }
}
