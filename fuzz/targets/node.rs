//! A whole node on a store in memory: whatever peers and clients do, it does not fall over, and it does not turn in
//! circles: a node that has nothing to do wants to be called later, not at once.
#![no_main]

use arbitrary::Arbitrary;
use metanode::node::{Ack, Call, Input, Node, Output, Setup, Step};
use metanode::types::{Hash, Incarnation, MemoryStore, Mono, NodeId, Now, Stamp, WallMs};
use metanode::wire::kind::system::{FeedHead, Heartbeat};
use metanode::wire::kind::external::Notification;
use metanode::wire::{Category, Course, Draft, FeedId, Head, Header, Kind, Payload, Pending, Priority, Refusal, Request, Verified};
use metanode_fuzz::{START_MS, author, key, network, network_name, sequence};

const PEERS: u8 = 3;

#[derive(Arbitrary, Debug, Clone)]
struct Place {
    author: u8,
    topic: u8,
    life: u8,
    sequence: u8,
}

#[derive(Arbitrary, Debug, Clone)]
enum Deed {
    Up { peer: u8, dialled: bool },
    Down { peer: u8 },
    Addresses { peer: u8, n: u8 },
    DialFailed { peer: u8, known: bool },
    Refused { peer: u8 },
    Gossip { peer: u8, place: Place, later_ms: u16, previous: u8 },
    Beat { peer: u8, later_ms: u16, life: u8, sequence: u8, hash: u8 },
    Heads { peer: u8, places: Vec<(Place, u8)>, more: bool },
    /// An answer to the request the node made last of that peer, or to none.
    Range { peer: u8, floor: u8, bundles: Vec<(Place, u16, u8)> },
    /// An answer to the last range asked for, of its feed, if the villains can sign for it.
    Serve { floor: u8, bundles: Vec<(u8, u16, u8)> },
    Failed { peer: u8 },
    Ask { peer: u8, place: Place, to: u8, newest_first: bool },
    AskHeads { peer: u8 },
    Say { count: u8, durable: bool },
    Ban { peer: u8, seconds: u16 },
    Unban { peer: u8 },
    Wait { ms: u16 },
}

struct World {
    node: Node,
    store: MemoryStore,
    now: Now,
    asked: Vec<(NodeId, u64, Option<FeedId>)>,
    calls: u64,
}

fn setup() -> Setup {
    Setup {
        network: network_name(),
        key: key(200),
        entropy: 5,
        place: 1,
        bootstrap: vec![("/ip4/127.0.0.1/tcp/1".into(), None)],
        target_peers: 12,
        scheduler: Default::default(),
        packing: Default::default(),
        lanes: Default::default(),
        strategy: Default::default(),
        role: Default::default(),
        retention: Default::default(),
        registration: None,
        chain: None,
        floor_waits: metanode::types::limits::FLOOR_MEMBERS,
    }
}

fn peer(n: u8) -> NodeId {
    author(n % PEERS)
}

fn feed(place: &Place) -> FeedId {
    let topic = Category::ALL[usize::from(place.topic) % 8];
    // Author 3 is the node itself: others may claim to know what it said.
    let author = if place.author % 4 == 3 { author(200) } else { peer(place.author) };
    FeedId { author, incarnation: Incarnation(u64::from(place.life % 2)), topic }
}

fn sealed(signer: u8, header: Header, kind: u16, at: Stamp, payload: &[u8]) -> Verified {
    let mut pending = Pending::default();
    pending.push(&metanode::wire::Message {
        id: metanode::types::MessageId::new(at, u64::from(signer)),
        kind,
        schema_version: 1,
        content_type: Default::default(),
        destination: Default::default(),
        correlation: None,
        parent: None,
        expires: None,
        tags: Vec::new(),
        headers: Default::default(),
        encryption: None,
        payload,
    });
    pending.seal(header, &key(signer)).expect("there is a message")
}

fn header(feed: FeedId, course: Course, sequence: u64, previous: Hash) -> Header {
    Header {
        course,
        priority: Priority::Normal,
        network: network(),
        feed,
        sequence,
        previous,
        clock: Stamp(0),
        count: 0,
        body_bytes: 0,
        root: Hash::ZERO,
    }
}

fn bundle(place: &Place, at: Stamp, previous: u8) -> Verified {
    let feed = FeedId { author: peer(place.author), ..feed(place) };
    let previous = if sequence(place.sequence) == 0 { Hash::ZERO } else { Hash([previous.max(1); 32]) };
    let kind = u16::from(feed.topic.tag()) << 8 | 0xEE;
    sealed(place.author % PEERS, header(feed, Course::Feed, sequence(place.sequence), previous), kind, at, b"")
}

impl World {
    fn stamp(&self, later_ms: u16) -> Stamp {
        Stamp::new(self.now.wall.0 + u64::from(later_ms), 0)
    }

    fn input(&mut self, deed: Deed) -> Option<Input> {
        Some(match deed {
            Deed::Up { peer: p, dialled } => {
                Input::PeerUp { peer: peer(p), dialled: dialled.then(|| "/ip4/127.0.0.1/tcp/1".into()) }
            }
            Deed::Down { peer: p } => Input::PeerDown { peer: peer(p) },
            Deed::Addresses { peer: p, n } => {
                Input::Addresses { peer: peer(p), addresses: vec![format!("/ip4/127.0.0.1/tcp/{n}")] }
            }
            Deed::DialFailed { peer: p, known } => {
                Input::DialFailed { peer: known.then(|| peer(p)), address: Some("/ip4/127.0.0.1/tcp/1".into()) }
            }
            Deed::Refused { peer: p } => Input::Refused { from: peer(p), refusal: Refusal::BadSignature },
            Deed::Gossip { peer: p, place, later_ms, previous } => {
                let bundles = vec![bundle(&place, self.stamp(later_ms), previous)];
                Input::Bundle { from: peer(p), ticket: 1, bundles }
            }
            Deed::Beat { peer: p, later_ms, life, sequence: n, hash } => {
                let head = FeedHead {
                    topic: Category::Data,
                    incarnation: Incarnation(u64::from(life % 2)),
                    sequence: sequence(n),
                    hash: Hash([hash; 32]),
                };
                let beat = Heartbeat {
                    uptime_s: 1,
                    peers: 1,
                    messages: 1,
                    roots: vec![metanode::wire::kind::system::TopicRoot { topic: Category::External, root: Hash([hash; 32]) }],
                    state_root: (hash % 3 > 0).then_some(Hash([hash; 32])),
                    clock_ms: WallMs(u64::from(later_ms)),
                    heads: vec![head],
                };
                let feed = FeedId { author: peer(p), incarnation: Incarnation(0), topic: Category::System };
                let payload = Payload::Heartbeat(beat).encode();
                let header = header(feed, Course::Ephemeral, 0, Hash::ZERO);
                let at = self.stamp(later_ms);
                let bundles = vec![sealed(p % PEERS, header, Kind::Heartbeat.tag(), at, &payload)];
                Input::Bundle { from: peer(p), ticket: 2, bundles }
            }
            Deed::Heads { peer: p, places, more } => {
                let head = |(place, floor): &(Place, u8)| Head {
                    feed: feed(place),
                    floor: sequence(*floor),
                    next: sequence(place.sequence),
                    hash: Hash([7; 32]),
                    forked: (floor % 5 == 0).then(|| sequence(place.sequence)),
                };
                // In answer to what was asked of that peer, or unasked.
                let at = self.asked.iter().rposition(|(to, _, feed)| *to == peer(p) && feed.is_none());
                let id = at.map_or(0, |at| self.asked.remove(at).1);
                Input::Heads { from: peer(p), id, heads: places.iter().map(head).collect(), more }
            }
            Deed::Range { peer: p, floor, bundles } => {
                let at = self.asked.iter().rposition(|(to, ..)| *to == peer(p));
                let id = at.map_or(0, |at| self.asked.remove(at).1);
                let bundles = bundles.iter().take(8).map(|(place, later, previous)| {
                    bundle(place, self.stamp(*later), *previous)
                });
                Input::Range { from: peer(p), id, floor: sequence(floor), bundles: bundles.collect() }
            }
            Deed::Serve { floor, bundles } => {
                let at = self.asked.iter().rposition(|(_, _, feed)| feed.is_some())?;
                let (from, id, feed) = self.asked.remove(at);
                let feed = feed?;
                let signer = (0..PEERS).find(|n| author(*n) == feed.author)?;
                let life = if feed.incarnation == Incarnation(0) { 0 } else { 1 };
                let place = |sequence| Place { author: signer, topic: feed.topic.tag() - 1, life, sequence };
                let bundles = bundles.iter().take(8).map(|(n, later, previous)| {
                    bundle(&place(*n), self.stamp(*later), *previous)
                });
                Input::Range { from, id, floor: sequence(floor), bundles: bundles.collect() }
            }
            Deed::Failed { peer: p } => {
                let at = self.asked.iter().rposition(|(to, ..)| *to == peer(p))?;
                Input::Failed { from: peer(p), id: self.asked.remove(at).1 }
            }
            Deed::Ask { peer: p, place, to, newest_first } => {
                let request = Request::Range { feed: feed(&place), from: sequence(place.sequence).min(sequence(to)), to: sequence(to), newest_first };
                Input::Request { from: peer(p), id: 1, request }
            }
            Deed::AskHeads { peer: p } => {
                Input::Request { from: peer(p), id: 2, request: Request::Heads { after: None } }
            }
            Deed::Say { count, durable } => {
                let text = || Notification {
                    channel: metanode::wire::kind::external::Channel::Console,
                    recipients: vec!["all".into()],
                    severity: metanode::wire::kind::security::Severity::Info,
                    subject: "s".into(),
                    text: "t".into(),
                    link: None,
                    dedupe_key: None,
                };
                let drafts = (0..count % 8).map(|_| Draft::new(&Payload::Notification(text().into()))).collect();
                let ack = if durable { Ack::Durable } else { Ack::Written };
                self.call(Call::Publish { drafts, ack })
            }
            Deed::Ban { peer: p, seconds } => {
                self.call(Call::Ban { peer: peer(p), seconds: seconds.into(), reason: "fuzz".into() })
            }
            Deed::Unban { peer: p } => self.call(Call::Unban { peer: peer(p) }),
            Deed::Wait { ms } => {
                self.now.mono.0 += u64::from(ms) * 1000;
                self.now.wall.0 += u64::from(ms);
                Input::Tick
            }
        })
    }

    fn call(&mut self, call: Call) -> Input {
        self.calls += 1;
        Input::Call { id: self.calls, call }
    }

    /// One step, as the driver takes it. Says whether anything came of it, and whether the node goes on.
    fn step(&mut self, input: Input) -> (bool, bool) {
        let mut step = Step::default();
        self.node.handle(input, &self.store, self.now, &mut step);
        self.node.finish(&self.store, self.now, &mut step);
        let busy = !step.outputs.is_empty() || !step.batch.is_empty();
        let mut alive = true;
        for (_, output) in &step.outputs {
            match output {
                Output::Request { to, id, request: Request::Range { feed, .. } } => {
                    self.asked.push((*to, *id, Some(*feed)));
                }
                Output::Request { to, id, request: Request::Heads { .. } | Request::Fork { .. } | Request::Ends { .. } } => {
                    self.asked.push((*to, *id, None));
                }
                Output::Halt { .. } => alive = false,
                _ => {}
            }
        }
        self.store.commit(step.batch);
        (busy, alive)
    }
}

libfuzzer_sys::fuzz_target!(|deeds: Vec<Deed>| {
    let now = Now { mono: Mono(1_000_000), wall: WallMs(START_MS) };
    let store = MemoryStore::default();
    let (node, first) = Node::open(setup(), &store, now).expect("an empty store opens");
    let mut world = World { node, store, now, asked: Vec::new(), calls: 0 };
    world.store.commit(first.batch);
    for deed in deeds.into_iter().take(120) {
        let Some(input) = world.input(deed.clone()) else { continue };
        let (_, alive) = world.step(input);
        assert!(alive, "nobody but its operator stops a node: {deed:?}");
        // What is due is done in one more step, or a few; then the node rests.
        let mut turns = 0;
        while world.node.next_wake() <= world.now.mono {
            let (busy, _) = world.step(Input::Tick);
            turns = if busy { 0 } else { turns + 1 };
            assert!(turns < 2, "woken at once to do nothing, after {deed:?}");
        }
        let chains: Vec<_> = world.node.feeds().chains().collect();
        assert!(chains.iter().all(|(_, c)| c.joined <= c.next), "{chains:?}");
    }
});
