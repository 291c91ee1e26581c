//! Peers that are not honest: an author that says two things in one place, a liar, a forger of floors.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::rng::Rng;
use super::workload;
use crate::types::{Hash, Incarnation, MessageId, NetworkId, NodeId, Stamp, Version, WallMs, limits};
use crate::wire::Verified;
use crate::wire::kind::system::Heartbeat;
use crate::wire::ledger::Endorsed;
use crate::wire::{
    Bundle, Category, Course, Delivery, Draft, FeedId, FloorName, Head, Header, Mode, Part, Payload, Pending, Priority,
    Ranges, Receipt, Request, Response, RollEntry, Signature, StateRequest, StateResponse, Unserved,
};

/// Bundles a liar remembers.
const STASH: usize = 256;

/// What a villain does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Two bundles in one slot; `extends` goes on with both branches.
    Equivocator { extends: bool },
    /// Garbage, false claims, floods.
    Liar,
    /// Made-up floors and false rolls; `forks` says of two floors in one slot that each is the one.
    Forger { forks: bool },
}

/// Something a villain does of its own accord.
pub enum Deed {
    /// Hands bytes to one peer as gossip.
    Gossip { to: usize, topic: Category, bytes: Bytes },
    /// Asks one peer.
    Ask { to: usize, bytes: Bytes },
}

/// A peer with a key and without scruples.
pub struct Villain {
    /// Who it is.
    pub id: NodeId,
    key: SigningKey,
    role: Role,
    network: NetworkId,
    feed: FeedId,
    /// What it says to peers with even and with odd numbers.
    branches: [Vec<Verified>; 2],
    /// Where the branches part.
    forks_at: usize,
    last: Stamp,
    stash: Vec<Bytes>,
    heads: BTreeMap<FeedId, (u64, Hash)>,
    /// Floors it heard of last, by collection, and the root others say they have.
    pub(super) floors: BTreeMap<String, FloorName>,
    pub(super) root: Option<Hash>,
}

impl Villain {
    /// A villain that begins its life at `wall`.
    pub fn new(key: SigningKey, role: Role, network: NetworkId, wall: WallMs, rng: &mut Rng) -> Villain {
        let id = NodeId(key.verifying_key().to_bytes());
        let incarnation = Incarnation((wall.0 << 16) | rng.within(0, 0xFFFF));
        let forges = matches!(role, Role::Forger { .. });
        let topic = if !forges && rng.chance(500) { Category::External } else { Category::Data };
        let feed = FeedId { author: id, incarnation, topic };
        let forks_at = if role == (Role::Forger { forks: false }) { usize::MAX } else { rng.below(4) };
        let (branches, stash, heads) = (Default::default(), Vec::new(), BTreeMap::new());
        let (last, floors, root) = (Stamp(0), BTreeMap::new(), None);
        Villain { id, key, role, network, feed, branches, forks_at, last, stash, heads, floors, root }
    }

    /// A bundle came by gossip.
    pub fn on_gossip(&mut self, bundle: &Verified, rng: &mut Rng) {
        let header = bundle.header();
        self.overhear(bundle);
        if header.course != Course::Feed || self.role != Role::Liar {
            return;
        }
        self.heads.insert(header.feed, (header.sequence, bundle.id()));
        if self.stash.len() < STASH {
            self.stash.push(bundle.wire().clone());
        } else if let Some(place) = self.stash.get_mut(rng.below(STASH)) {
            *place = bundle.wire().clone();
        }
    }

    /// The bytes it answers a request with; none keeps the asker waiting.
    pub fn answer(&mut self, from: usize, request: &Request, rng: &mut Rng) -> Option<Bytes> {
        match (self.role, request) {
            (Role::Equivocator { .. } | Role::Forger { .. }, Request::Heads { .. }) => {
                Some(self.branch_heads(from).encode())
            }
            (Role::Equivocator { .. } | Role::Forger { .. }, Request::Range { feed, from: low, to, .. }) => {
                Some(self.branch_range(from, *feed, *low, *to).encode())
            }
            (_, Request::Chain(_)) => None,
            (Role::Equivocator { .. } | Role::Forger { .. }, Request::Ends { .. }) => None,
            (Role::Equivocator { .. }, Request::State(_)) => Some(Response::Unserved(Unserved::Busy).encode()),
            (Role::Liar | Role::Forger { .. }, Request::State(request)) => self.false_state(request, rng),
            (Role::Equivocator { .. } | Role::Forger { .. }, Request::Fork { .. }) => {
                Some(Response::Unserved(Unserved::UnknownFeed).encode())
            }
            (Role::Equivocator { .. } | Role::Forger { .. }, Request::Deliver { .. }) => {
                Some(Response::Unserved(Unserved::NoRoute).encode())
            }
            (Role::Liar, Request::Deliver { bundle, .. }) => self.false_receipt(bundle),
            (Role::Liar, Request::Heads { .. } | Request::Ends { .. }) => self.false_heads(rng),
            (Role::Liar, Request::Fork { .. }) => self.false_proof(rng),
            (Role::Liar, Request::Range { feed, from: low, to, .. }) => self.false_range(*feed, *low, *to, rng),
        }
    }

    /// It says that it took what it was to pass on.
    fn false_receipt(&self, bundle: &Bytes) -> Option<Bytes> {
        let id = Bundle::decode(bundle.clone()).ok()?.header().id();
        let receipt = Receipt::sign(id, Delivery::Taken, WallMs(0), self.network, &self.key);
        Some(Response::Receipt(receipt).encode())
    }

    /// What it does now, to peers `0..peers`.
    pub fn act(&mut self, peers: usize, wall: WallMs, rng: &mut Rng) -> Vec<Deed> {
        match self.role {
            Role::Equivocator { extends } => self.say_two_things(extends, peers, wall, rng),
            Role::Liar => self.pester(peers, wall, rng),
            Role::Forger { .. } if rng.chance(500) => self.say_alive_to(rng.below(peers), wall, rng),
            Role::Forger { .. } => self.say_two_things(true, peers, wall, rng),
        }
    }

    fn branch_heads(&self, from: usize) -> Response {
        let last = self.branches.get(from % 2).and_then(|branch| branch.last());
        let head = |bundle: &Verified| Head {
            feed: self.feed,
            floor: 0,
            next: bundle.header().sequence + 1,
            hash: bundle.id(),
            forked: None,
        };
        Response::Heads { heads: last.map(head).into_iter().collect(), more: false }
    }

    fn branch_range(&self, from: usize, feed: FeedId, low: u64, to: u64) -> Response {
        if feed != self.feed {
            return Response::Unserved(Unserved::UnknownFeed);
        }
        let branch = self.branches.get(from % 2).into_iter().flatten();
        let wanted = branch.filter(|b| (low..=to).contains(&b.header().sequence));
        let bundles = wanted.take(limits::RANGE_BUNDLES).map(|b| b.wire().clone()).collect();
        Response::Range { floor: low, bundles }
    }

    fn say_two_things(&mut self, extends: bool, peers: usize, wall: WallMs, rng: &mut Rng) -> Vec<Deed> {
        let length = self.branches[0].len();
        if length > self.forks_at && !extends {
            return Vec::new();
        }
        if length < self.forks_at {
            let shared = self.next_bundle(0, wall, rng);
            self.branches[0].extend(shared.clone());
            self.branches[1].extend(shared);
        } else {
            for side in 0..2 {
                let bundle = self.next_bundle(side, wall, rng);
                self.branches[side].extend(bundle);
            }
        }
        let newest = |to: usize| Some((to, self.branches[to % 2].last()?.wire().clone()));
        let topic = self.feed.topic;
        (0..peers).filter_map(newest).map(|(to, bytes)| Deed::Gossip { to, topic, bytes }).collect()
    }

    fn next_bundle(&mut self, side: usize, wall: WallMs, rng: &mut Rng) -> Option<Verified> {
        let before = self.branches[side].last();
        let (sequence, previous) = before.map_or((0, Hash::ZERO), |b| (b.header().sequence + 1, b.id()));
        self.seal(self.feed, sequence, previous, wall, rng)
    }

    fn seal(&mut self, feed: FeedId, sequence: u64, previous: Hash, wall: WallMs, rng: &mut Rng) -> Option<Verified> {
        let mut pending = Pending::default();
        let (drafts, _) = workload::call(rng, 0, &[], wall);
        for draft in drafts.iter().filter(|d: &&Draft| d.kind().category() == feed.topic) {
            self.last = Stamp(self.last.0 + 1).max(Stamp::new(wall.0, 0));
            pending.push(&draft.message(MessageId::new(self.last, rng.draw())));
        }
        let data = feed.topic == Category::Data;
        while pending.count() == 0 || data && rng.chance(600) {
            self.last = Stamp(self.last.0 + 1).max(Stamp::new(wall.0, 0));
            let draft = match self.role {
                Role::Forger { .. } => self.made_up_floor(wall, rng),
                Role::Equivocator { .. } | Role::Liar if data => workload::scribble(rng),
                Role::Equivocator { .. } | Role::Liar => workload::order(rng),
            };
            pending.push(&draft.message(MessageId::new(self.last, rng.draw())));
        }
        let header = Header {
            course: Course::Feed,
            priority: Priority::Normal,
            network: self.network,
            feed,
            sequence,
            previous,
            clock: Stamp(0),
            count: 0,
            body_bytes: 0,
            root: Hash::ZERO,
        };
        pending.seal(header, &self.key)
    }

    fn false_heads(&self, rng: &mut Rng) -> Option<Bytes> {
        if rng.chance(100) {
            return Some(Bytes::from(rng.bytes(40)));
        }
        let known: Vec<(FeedId, (u64, Hash))> = self.heads.iter().map(|(feed, head)| (*feed, *head)).collect();
        let mut heads = Vec::new();
        for (feed, (sequence, hash)) in known {
            let truth = Head { feed, floor: 0, next: sequence + 1, hash, forked: None };
            heads.push(match rng.below(7) {
                0 => Head { floor: sequence, ..truth },
                1 => Head { next: truth.next + rng.within(1, 1 << 40), ..truth },
                2 => Head { floor: rng.within(0, sequence + 5), next: sequence + 6, hash: Hash::ZERO, ..truth },
                3 => Head { floor: u64::MAX, next: u64::MAX, ..truth },
                4 => Head { feed: FeedId { incarnation: Incarnation(rng.draw()), ..feed }, ..truth },
                5 => Head { forked: Some(rng.within(0, sequence + 2)), ..truth },
                _ => truth,
            });
        }
        Some(Response::Heads { heads, more: rng.chance(300) }.encode())
    }

    fn false_proof(&self, rng: &mut Rng) -> Option<Bytes> {
        let mut header = || {
            let wire = self.stash.get(rng.below(self.stash.len().max(1)))?;
            Some(Bytes::copy_from_slice(&Bundle::decode(wire.clone()).ok()?.signed_header().encode()))
        };
        let (first, second) = header().zip(header())?;
        match rng.below(4) {
            0 => None,
            1 => Some(Response::Unserved(Unserved::UnknownFeed).encode()),
            2 => Some(Response::Fork { first: spoil(&first, rng), second }.encode()),
            _ => Some(Response::Fork { first, second }.encode()),
        }
    }

    /// It names writes that are not, divides ranges without end, hands over what was not asked for, or keeps silent.
    fn false_state(&self, request: &StateRequest, rng: &mut Rng) -> Option<Bytes> {
        let answer = match request {
            StateRequest::Take { .. } => StateResponse::Taken,
            // It is no validator, and signs with what it has.
            StateRequest::Endorse(_) => {
                StateResponse::Endorsed(Endorsed::Signed(Signature([rng.below(250) as u8; 64])))
            }
            StateRequest::Roll { floor, .. } if self.role != Role::Liar => self.balanced_roll(floor, rng),
            StateRequest::Roll { floor, .. } => {
                let entry = |_| RollEntry { version: floor.version, digest: Hash([9; 32]) };
                StateResponse::Rolled { entries: (0..rng.below(3)).map(entry).collect(), more: rng.chance(100) }
            }
            StateRequest::Collections { .. } => {
                let names = ["sim", "other", "sim@", "none"].into_iter().filter(|_| rng.chance(700));
                let mut names: Vec<&str> = names.collect();
                names.sort_unstable();
                self.false_list(names, rng.chance(100))
            }
            // So that what is refused of it as unasked are its rolls.
            StateRequest::Compare { .. } if self.role != Role::Liar => {
                return Some(Response::Unserved(Unserved::Busy).encode());
            }
            StateRequest::Compare { ranges, .. } => {
                let asked = Ranges::decode(ranges).ok()?;
                let ranges = match rng.below(5) {
                    0 => return None,
                    1 => return Some(Bytes::from(rng.bytes(50))),
                    _ => Ranges { parts: false_parts(&asked, rng), ..asked }.encode().into(),
                };
                let writes = if rng.chance(300) { self.stash.iter().take(3).cloned().collect() } else { Vec::new() };
                StateResponse::Compared { ranges, writes }
            }
        };
        Some(Response::State(answer).encode())
    }

    fn say_alive_to(&mut self, to: usize, wall: WallMs, rng: &mut Rng) -> Vec<Deed> {
        let topic = Category::System;
        self.say_alive(wall, rng).map(|bytes| Deed::Gossip { to, topic, bytes }).into_iter().collect()
    }

    /// It lives, and its state is another one.
    fn say_alive(&mut self, wall: WallMs, rng: &mut Rng) -> Option<Bytes> {
        // Who says that it has the same is asked for its floors, too.
        let root = self.root.filter(|_| self.role != Role::Liar && rng.chance(800));
        let beat = Heartbeat {
            uptime_s: 1,
            peers: 1,
            messages: 1,
            roots: Vec::new(),
            state_root: root.or_else(|| Some(Hash([rng.below(250) as u8; 32]))),
            clock_ms: wall,
            heads: Vec::new(),
        };
        let feed = FeedId { topic: Category::System, ..self.feed };
        self.last = Stamp(self.last.0 + 1).max(Stamp::new(wall.0, 0));
        let mut pending = Pending::default();
        pending.push(&Draft::new(&Payload::Heartbeat(beat)).message(MessageId::new(self.last, rng.draw())));
        let header = Header {
            course: Course::Ephemeral,
            priority: Priority::High,
            network: self.network,
            feed,
            sequence: 0,
            previous: Hash::ZERO,
            clock: Stamp(0),
            count: 0,
            body_bytes: 0,
            root: Hash::ZERO,
        };
        Some(pending.seal(header, &self.key)?.wire().clone())
    }

    fn false_range(&mut self, feed: FeedId, low: u64, to: u64, rng: &mut Rng) -> Option<Bytes> {
        let of_feed = |wire: &&Bytes| Bundle::decode((*wire).clone()).is_ok_and(|b| b.header().feed == feed);
        let mut real: Vec<Bytes> = self.stash.iter().filter(of_feed).cloned().collect();
        match rng.below(8) {
            0 => None,
            1 => Some(Bytes::from(rng.bytes(60))),
            2 => Some(Response::Unserved(Unserved::UnknownFeed).encode()),
            3 => Some(Response::Range { floor: u64::MAX, bundles: Vec::new() }.encode()),
            4 => {
                let spoiled = real.iter().map(|wire| spoil(wire, rng)).collect();
                Some(Response::Range { floor: low, bundles: spoiled }.encode())
            }
            5 => Some(Response::Range { floor: low, bundles: self.stash.iter().take(20).cloned().collect() }.encode()),
            6 => {
                // The truth, from a floor that is a lie.
                let sequence = |wire: &Bytes| Bundle::decode(wire.clone()).map_or(0, |b| b.header().sequence);
                real.retain(|wire| sequence(wire) > low);
                real.sort_by_key(sequence);
                let floor = real.first().map_or(to, sequence);
                Some(Response::Range { floor, bundles: real }.encode())
            }
            _ => {
                let own = self.seal(self.feed, low, Hash([7; 32]), WallMs(self.last.ms()), rng);
                let bundles = own.iter().map(|b| b.wire().clone()).collect();
                Some(Response::Range { floor: low, bundles }.encode())
            }
        }
    }

    fn pester(&mut self, peers: usize, wall: WallMs, rng: &mut Rng) -> Vec<Deed> {
        let to = rng.below(peers);
        if rng.chance(500) {
            return self.say_alive_to(to, wall, rng);
        }
        let feed = self.heads.keys().nth(rng.below(self.heads.len().max(1))).copied().unwrap_or(self.feed);
        let mut deeds = Vec::new();
        match rng.below(12) {
            0 => {
                for _ in 0..400 {
                    let request = Request::Range { feed, from: rng.within(0, 9), to: u64::MAX, newest_first: true };
                    deeds.push(Deed::Ask { to, bytes: request.encode() });
                }
            }
            1 => deeds.push(Deed::Ask { to, bytes: Bytes::from(rng.bytes(30)) }),
            2 => {
                let bytes = Bytes::from(rng.bytes(400));
                deeds.push(Deed::Gossip { to, topic: feed.topic, bytes });
            }
            3 => {
                let index = rng.below(self.stash.len().max(1));
                let spoiled = self.stash.get(index).map(|wire| spoil(wire, rng));
                deeds.extend(spoiled.map(|bytes| Deed::Gossip { to, topic: feed.topic, bytes }));
            }
            4 => {
                // Valid, by its own word, and far in the future.
                let feed = FeedId { incarnation: Incarnation(rng.draw()), ..self.feed };
                let ahead = WallMs(wall.0 + rng.within(0, 40_000));
                let bundle = self.seal(feed, 0, Hash::ZERO, ahead, rng);
                let gossip = |b: Verified| Deed::Gossip { to, topic: feed.topic, bytes: b.wire().clone() };
                deeds.extend(bundle.map(gossip));
            }
            _ => {
                // A frame of what others said, in no order.
                let picks = (0..rng.within(1, 5)).filter_map(|_| self.stash.get(rng.below(self.stash.len())));
                let bytes = Bytes::from(picks.flatten().copied().collect::<Vec<u8>>());
                deeds.push(Deed::Gossip { to, topic: feed.topic, bytes });
            }
        }
        deeds
    }
}

/// Answers to ranges that no honest node gives.
fn false_parts(asked: &Ranges, rng: &mut Rng) -> Vec<Part> {
    let mut parts = Vec::new();
    for (range, mode) in asked.iter() {
        let tag = |rng: &mut Rng| rng.draw().to_be_bytes().first_chunk().copied().unwrap_or_default();
        let mode = match (mode, rng.below(4)) {
            (Mode::Same | Mode::Tags(_) | Mode::All, _) => Mode::Same,
            (Mode::Sum(_) | Mode::Salted(_), 0) => Mode::Same,
            (Mode::Sum(_) | Mode::Salted(_), 1) => Mode::Sum([rng.below(250) as u8; 16]),
            (Mode::Sum(_) | Mode::Salted(_), _) => Mode::Tags((0..rng.within(1, 40)).map(|_| tag(rng)).collect()),
        };
        let middle = Version { stamp: Stamp(range.start.stamp.0.midpoint(range.end.stamp.0)), digest: [0; 16] };
        if matches!(mode, Mode::Sum(_)) && middle > range.start && middle < range.end {
            parts.push(Part { low: middle, mode: mode.clone() });
        }
        parts.push(Part { low: range.start, mode });
    }
    parts
}

/// One byte of it changed.
fn spoil(wire: &Bytes, rng: &mut Rng) -> Bytes {
    let mut bytes = wire.to_vec();
    let at = rng.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
    bytes.into()
}
