//! Peers: where they are, whether they behave, when to call them again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boot::Setup;
use super::output::Output;
use super::owner::Turn;
use crate::types::storage::{Key, Table, View};
use crate::types::{Mono, NodeId, Now, WallMs, limits, row};

/// A peer whose penalties reach this is banned.
const BAN_AT: u32 = 100;
/// For this long.
const BAN_FOR: Duration = Duration::from_secs(600);
/// One point of penalty is forgiven in this time.
const FORGIVEN_IN: Duration = Duration::from_secs(2);
/// The first wait between dials, and the longest.
const DIAL_FIRST: Duration = Duration::from_millis(400);
const DIAL_LONGEST: Duration = Duration::from_secs(30);
/// Dials begun in one step.
const DIALS_AT_ONCE: usize = 4;
/// Heads are asked of one peer at most this often.
const HEADS_EVERY: Duration = Duration::from_secs(1);

/// What is kept of a peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    addresses: Vec<String>,
    /// The first address is one at which this node reached it; the others are hearsay.
    reached: bool,
    last_seen: WallMs,
    banned_until: WallMs,
    ban_reason: String,
}

/// What a peer last said of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub at: Mono,
    /// Its feeds ended as this node's do, on the topics that both follow.
    pub alike: bool,
    pub clock_offset_ms: i64,
}

#[derive(Debug, Default)]
struct Peer {
    record: Record,
    connected: bool,
    penalty: u32,
    forgiven: Mono,
    backoff: Backoff,
    tokens: u32,
    refilled: Mono,
    heads_asked: Option<Mono>,
    beat: Option<Beat>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Backoff {
    attempts: u32,
    due: Mono,
}

impl Backoff {
    fn fail(&mut self, now: Mono, jitter: u64) {
        let wait = DIAL_FIRST.saturating_mul(1 << self.attempts.min(10)).min(DIAL_LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        // Between half and one and a half times the wait, so that nodes that lost one peer do not return as one.
        self.due = now + wait / 2 + wait.mul_f64((jitter % 1024) as f64 / 1024.0);
    }
}

/// An address the operator named: dialled for ever.
#[derive(Debug)]
struct Bootstrap {
    address: String,
    peer: Option<NodeId>,
    backoff: Backoff,
}

/// A peer as a client sees it.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct PeerInfo {
    /// Who.
    pub id: NodeId,
    /// Whether a connection stands.
    pub connected: bool,
    /// Where it may be reached.
    pub addresses: Vec<String>,
    /// Penalty points; at 100 it is banned. One is forgiven every two seconds.
    pub penalty: u32,
    /// When it was last connected or heard, milliseconds since 1970.
    pub last_seen_ms: WallMs,
    /// Until when it is banned, and why.
    pub banned_until_ms: Option<WallMs>,
    pub ban_reason: Option<String>,
    /// How long ago it last said that it lives, milliseconds.
    pub heartbeat_age_ms: Option<u64>,
    /// Whether its feeds ended as this node's did when it last spoke, on the topics that both follow.
    pub alike: Option<bool>,
    /// Its wall clock less this node's, milliseconds, with the way here counted in.
    pub clock_offset_ms: Option<i64>,
}

/// All peers known.
#[derive(Debug)]
pub(super) struct Peers {
    own: NodeId,
    known: BTreeMap<NodeId, Peer>,
    bootstrap: Vec<Bootstrap>,
    target: usize,
    jitter: u64,
}

impl Peers {
    pub fn load(setup: &Setup, own: NodeId, view: &dyn View, now: Now) -> Peers {
        let start = Key::new(Table::Peer, &[]);
        let mut known = BTreeMap::new();
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            let id = key.get(1..).and_then(|id| id.try_into().ok()).map(NodeId);
            if let (Some(id), Some(record)) = (id, row::decode(row)) {
                known.insert(id, Peer { record, refilled: now.mono, ..Peer::default() });
            }
            ControlFlow::Continue(())
        });
        let bootstrap = setup.bootstrap.iter().filter(|(_, peer)| *peer != Some(own)).cloned();
        let bootstrap =
            bootstrap.map(|(address, peer)| Bootstrap { address, peer, backoff: Backoff::default() }).collect();
        let mut peers = Peers { own, known, bootstrap, target: setup.target_peers, jitter: setup.entropy };
        while peers.known.len() > limits::KNOWN_PEERS && peers.forget_one(now).is_some() {}
        peers
    }

    /// Forgets the peer that is missed least: one that was never reached, seen longest ago.
    fn forget_one(&mut self, now: Now) -> Option<NodeId> {
        let idle = self.known.iter().filter(|(_, p)| !p.connected && p.record.banned_until <= now.wall);
        let (id, _) = idle.min_by_key(|(_, p)| (p.record.reached, p.record.last_seen))?;
        let id = *id;
        self.known.remove(&id);
        Some(id)
    }

    pub fn list(&self, now: Now) -> Vec<PeerInfo> {
        self.known.iter().map(|(id, peer)| peer.info(*id, now)).collect()
    }

    pub fn connected(&self) -> impl Iterator<Item = NodeId> {
        self.known.iter().filter(|(_, peer)| peer.connected).map(|(id, _)| *id)
    }

    /// Peers seen at some time or later.
    pub fn seen_since(&self, since: WallMs) -> impl Iterator<Item = NodeId> {
        self.known.iter().filter(move |(_, peer)| peer.record.last_seen >= since).map(|(id, _)| *id)
    }

    pub fn is_connected(&self, id: NodeId) -> bool {
        self.known.get(&id).is_some_and(|peer| peer.connected)
    }

    /// Whether a peer was ever connected or heard of.
    pub fn is_known(&self, id: NodeId) -> bool {
        self.known.contains_key(&id)
    }

    /// Dials a peer that is wanted now, where it may be reached, unless that was done a moment ago.
    pub fn call(&mut self, id: NodeId, turn: &mut Turn<'_>) {
        self.jitter = scramble(self.jitter);
        let Some(peer) = self.known.get_mut(&id).filter(|peer| peer.may_dial(turn.now)) else { return };
        let address = peer.record.addresses.get(peer.backoff.attempts as usize % peer.record.addresses.len().max(1));
        if let Some(address) = address.cloned() {
            peer.backoff.fail(turn.now.mono, self.jitter);
            turn.want(Output::Dial { address, peer: Some(id) });
        }
    }

    /// The median of what peers' clocks are ahead of this node's, milliseconds; none without peers.
    pub fn clock_offset_ms(&self) -> Option<i64> {
        let connected = self.known.values().filter(|p| p.connected);
        let mut offsets: Vec<i64> = connected.filter_map(|p| p.beat.map(|b| b.clock_offset_ms)).collect();
        offsets.sort_unstable();
        offsets.get(offsets.len() / 2).copied()
    }

    fn entry(&mut self, id: NodeId, turn: &mut Turn<'_>) -> &mut Peer {
        if !self.known.contains_key(&id)
            && self.known.len() >= limits::KNOWN_PEERS
            && let Some(other) = self.forget_one(turn.now)
        {
            turn.tx.delete(Key::new(Table::Peer, &[other.as_bytes()]));
        }
        let fresh = || Peer { refilled: turn.now.mono, tokens: limits::REQUEST_BURST, ..Peer::default() };
        self.known.entry(id).or_insert_with(fresh)
    }

    /// A connection stands. False when the peer is banned; it is sent away again.
    pub fn on_up(&mut self, id: NodeId, dialled: Option<&str>, turn: &mut Turn<'_>) -> bool {
        let peer = self.entry(id, turn);
        if peer.record.banned_until > turn.now.wall {
            let (until, reason) = (peer.record.banned_until, peer.record.ban_reason.clone());
            turn.want(Output::Ban { peer: id, until, reason });
            return false;
        }
        peer.connected = true;
        peer.backoff = Backoff::default();
        peer.record.last_seen = turn.now.wall;
        if let Some(address) = dialled {
            peer.record.reach(address);
            for entry in self.bootstrap.iter_mut().filter(|b| b.address == address) {
                entry.peer = Some(id);
                entry.backoff = Backoff::default();
            }
        }
        self.save(id, turn);
        true
    }

    pub fn on_down(&mut self, id: NodeId, turn: &mut Turn<'_>) {
        self.jitter = scramble(self.jitter);
        let jitter = self.jitter;
        let Some(peer) = self.known.get_mut(&id) else { return };
        (peer.connected, peer.beat, peer.heads_asked) = (false, None, None);
        peer.record.last_seen = turn.now.wall;
        peer.backoff.fail(turn.now.mono, jitter);
        self.save(id, turn);
    }

    pub fn on_addresses(&mut self, id: NodeId, addresses: Vec<String>, turn: &mut Turn<'_>) {
        if id == self.own {
            return;
        }
        let peer = self.entry(id, turn);
        let before = peer.record.addresses.clone();
        for address in addresses.iter().take(limits::PEER_ADDRESSES) {
            peer.record.add(address);
        }
        if peer.record.addresses != before {
            self.save(id, turn);
        }
    }

    pub fn on_dial_failed(&mut self, id: Option<NodeId>, address: Option<&str>, now: Mono) {
        self.jitter = scramble(self.jitter);
        if let Some(peer) = id.and_then(|id| self.known.get_mut(&id)) {
            peer.backoff.fail(now, self.jitter);
        }
        for entry in self.bootstrap.iter_mut().filter(|b| Some(b.address.as_str()) == address) {
            entry.backoff.fail(now, self.jitter);
        }
    }

    /// Dials what is due: addresses the operator named, then known peers while there are too few.
    pub fn dial(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let count = self.connected().count();
        self.jitter = scramble(self.jitter);
        let mut dials: Vec<(String, Option<NodeId>)> = Vec::new();
        for entry in &mut self.bootstrap {
            let there = entry.peer.and_then(|id| self.known.get(&id)).is_some_and(|peer| peer.connected);
            if !there && entry.backoff.due <= now {
                entry.backoff.fail(now, self.jitter);
                dials.push((entry.address.clone(), entry.peer));
            }
        }
        if count < self.target {
            // Whoever is banned is not thought of before the ban is over.
            for peer in self.known.values_mut().filter(|p| p.backoff.due <= now) {
                let banned_ms = peer.record.banned_until.0.saturating_sub(turn.now.wall.0);
                peer.backoff.due = peer.backoff.due.max(now + Duration::from_millis(banned_ms));
            }
            for (id, peer) in self.known.iter_mut().filter(|(_, p)| p.may_dial(turn.now)).take(DIALS_AT_ONCE) {
                let turn_of = peer.backoff.attempts as usize % peer.record.addresses.len().max(1);
                if let Some(address) = peer.record.addresses.get(turn_of) {
                    dials.push((address.clone(), Some(*id)));
                }
                peer.backoff.fail(now, self.jitter);
            }
        }
        for (address, peer) in dials {
            turn.want(Output::Dial { address, peer });
        }
    }

    /// When a dial is due next.
    pub fn next_wake(&self) -> Option<Mono> {
        let there = |id: &NodeId| self.known.get(id).is_some_and(|peer| peer.connected);
        let named = self.bootstrap.iter().filter(|b| !b.peer.as_ref().is_some_and(there)).map(|b| b.backoff.due);
        let few = self.connected().count() < self.target;
        let idle = self.known.values().filter(|p| few && !p.connected && !p.record.addresses.is_empty());
        named.chain(idle.map(|p| p.backoff.due)).min()
    }

    /// Notes a penalty; at the limit the peer is banned.
    pub fn penalise(&mut self, id: NodeId, points: u32, reason: &str, turn: &mut Turn<'_>) {
        let peer = self.entry(id, turn);
        peer.forgive(turn.now.mono);
        peer.penalty = peer.penalty.saturating_add(points);
        if peer.penalty >= BAN_AT {
            self.ban(id, BAN_FOR, reason, turn);
        }
    }

    /// Has nothing to do with a peer for a while.
    pub fn ban(&mut self, id: NodeId, time: Duration, reason: &str, turn: &mut Turn<'_>) {
        let until = turn.now.wall.plus(time);
        let peer = self.entry(id, turn);
        peer.penalty = 0;
        peer.record.banned_until = until;
        peer.record.ban_reason = reason.to_string();
        self.save(id, turn);
        turn.want(Output::Ban { peer: id, until, reason: reason.to_string() });
    }

    /// Forgives. False for a peer nobody knows.
    pub fn unban(&mut self, id: NodeId, turn: &mut Turn<'_>) -> bool {
        let Some(peer) = self.known.get_mut(&id) else { return false };
        peer.penalty = 0;
        peer.backoff = Backoff::default();
        peer.record.banned_until = WallMs(0);
        self.save(id, turn);
        turn.want(Output::Ban { peer: id, until: WallMs(0), reason: String::new() });
        true
    }

    /// Whether the peer may make a request now; it has a bucket of them that refills.
    pub fn take_token(&mut self, id: NodeId, turn: &mut Turn<'_>) -> bool {
        let now = turn.now;
        let peer = self.entry(id, turn);
        let earned = (now.mono - peer.refilled).as_micros() as u64 * u64::from(limits::REQUESTS_PER_SECOND) / 1_000_000;
        if earned > 0 {
            peer.tokens = limits::REQUEST_BURST.min(peer.tokens.saturating_add(earned as u32));
            peer.refilled = now.mono;
        }
        let some = peer.tokens > 0;
        peer.tokens = peer.tokens.saturating_sub(1);
        some
    }

    /// Whether to ask a connected peer for its heads: not if it was asked a moment ago.
    pub fn may_ask_heads(&mut self, id: NodeId, now: Mono) -> bool {
        let Some(peer) = self.known.get_mut(&id).filter(|p| p.connected) else { return false };
        let rested = peer.heads_asked.is_none_or(|at| now - at >= HEADS_EVERY);
        if rested {
            peer.heads_asked = Some(now);
        }
        rested
    }

    pub fn on_beat(&mut self, id: NodeId, beat: Beat, now: Now) {
        if let Some(peer) = self.known.get_mut(&id) {
            peer.beat = Some(beat);
            peer.record.last_seen = now.wall;
        }
    }

    fn save(&self, id: NodeId, turn: &mut Turn<'_>) {
        if let Some(peer) = self.known.get(&id) {
            turn.tx.put(Key::new(Table::Peer, &[id.as_bytes()]), row::encode(&peer.record));
        }
    }
}

impl Record {
    fn add(&mut self, address: &str) {
        if !self.addresses.iter().any(|a| a == address) {
            self.addresses.insert(usize::from(self.reached).min(self.addresses.len()), address.to_string());
            self.addresses.truncate(limits::PEER_ADDRESSES);
        }
    }

    /// It was reached there.
    fn reach(&mut self, address: &str) {
        self.addresses.retain(|a| a != address);
        self.addresses.insert(0, address.to_string());
        self.addresses.truncate(limits::PEER_ADDRESSES);
        self.reached = true;
    }
}

impl Peer {
    fn may_dial(&self, now: Now) -> bool {
        let idle = !self.connected && self.backoff.due <= now.mono && !self.record.addresses.is_empty();
        idle && self.record.banned_until <= now.wall
    }

    fn forgive(&mut self, now: Mono) {
        let points = ((now - self.forgiven).as_micros() / FORGIVEN_IN.as_micros()) as u32;
        if points > 0 {
            self.penalty = self.penalty.saturating_sub(points);
            self.forgiven = now;
        }
    }

    fn info(&self, id: NodeId, now: Now) -> PeerInfo {
        let banned = self.record.banned_until > now.wall;
        PeerInfo {
            id,
            connected: self.connected,
            addresses: self.record.addresses.clone(),
            penalty: self.penalty,
            last_seen_ms: self.record.last_seen,
            banned_until_ms: banned.then_some(self.record.banned_until),
            ban_reason: banned.then(|| self.record.ban_reason.clone()),
            heartbeat_age_ms: self.beat.map(|b| (now.mono - b.at).as_millis() as u64),
            alike: self.beat.map(|b| b.alike),
            clock_offset_ms: self.beat.map(|b| b.clock_offset_ms),
        }
    }
}

/// One step of splitmix64 (Steele, Lea, Flood 2014): enough to keep nodes from dialling in step.
pub(super) fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
