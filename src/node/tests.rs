//! Direct messages at one node whose peers are played by the test.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;

use super::*;
use crate::deliver::{Name, Outcome, Selector};
use crate::feed::{Retention, Rule, stored_at};
use crate::types::{
    Hash, Incarnation, MemoryStore, MessageId, Mono, NetworkId, NetworkName, NodeId, Now, Stamp, WallMs, limits,
};
use crate::wire::kind::Blob;
use crate::wire::kind::external::Custom;
use crate::wire::{
    Bundle, Category, Course, Delivery, Destination, Draft, FeedId, Header, Hop, Hops, Message, Payload, Pending,
    Priority, Receipt, Request, Response, Unserved, Verified,
};

mod checkpoint;
mod deferred;
mod floors;
mod post;
mod publish;
mod relay;
mod rolls;
mod window;
mod writes;

const START_MS: u64 = 1_700_000_000_000;

fn network() -> NetworkId {
    "alone".parse::<NetworkName>().unwrap().id()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The peer with this key.
fn peer(seed: u8) -> NodeId {
    NodeId(key(seed).verifying_key().to_bytes())
}

/// One node, with its store.
struct Machine {
    node: Node,
    store: MemoryStore,
    now: Now,
    calls: u64,
}

impl Machine {
    /// A node with key 1 and these rules of retention; peers are known by their keys, too.
    fn new(retention: Retention) -> Machine {
        Machine::as_node(1, retention)
    }

    /// A node with another key.
    fn keyed(seed: u8) -> Machine {
        Machine::as_node(seed, Retention::new())
    }

    fn as_node(seed: u8, retention: Retention) -> Machine {
        let setup = Setup {
            network: "alone".parse().unwrap(),
            key: key(seed),
            entropy: 7,
            place: 1,
            bootstrap: Vec::new(),
            target_peers: 4,
            scheduler: Default::default(),
            packing: Default::default(),
            lanes: Default::default(),
            strategy: Default::default(),
            role: Default::default(),
            retention,
            floor_waits: crate::types::limits::FLOOR_MEMBERS,
            registration: None,
            chain: None,
        };
        let mut store = MemoryStore::default();
        let now = Now { mono: Mono(0), wall: WallMs(START_MS) };
        let (node, first) = Node::open(setup, &store, now).unwrap();
        store.commit(first.batch);
        Machine { node, store, now, calls: 0 }
    }

    /// The same with peers connected.
    fn with(peers: impl IntoIterator<Item = u8>) -> Machine {
        let mut machine = Machine::new(Retention::new());
        peers.into_iter().for_each(|seed| machine.up(seed));
        machine
    }

    fn up(&mut self, seed: u8) {
        self.tell(Input::PeerUp { peer: peer(seed), dialled: None });
    }

    /// One step with one input; everything it wants, as if the disk were fast.
    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.tell_all(vec![input])
    }

    /// The same with all that came in meanwhile.
    fn tell_all(&mut self, inputs: Vec<Input>) -> Vec<Output> {
        let mut step = Step::default();
        for input in inputs {
            self.node.handle(input, &self.store, self.now, &mut step);
        }
        self.node.finish(&self.store, self.now, &mut step);
        self.store.commit(step.batch);
        step.outputs.into_iter().map(|(_, output)| output).collect()
    }

    /// Time passes, in steps in which the node is called as it wishes.
    fn pass(&mut self, ms: u64) -> Vec<Output> {
        let end = self.now.mono.0 + 1_000 * ms;
        let mut outputs = Vec::new();
        while self.now.mono.0 < end {
            let next = self.node.next_wake().0.clamp((self.now.mono.0 + 1_000).min(end), end);
            self.now.wall = WallMs(START_MS + next / 1_000);
            self.now.mono = Mono(next);
            outputs.extend(self.tell(Input::Tick));
        }
        outputs
    }

    fn call(&mut self, call: Call) -> Vec<Output> {
        self.calls += 1;
        self.tell(Input::Call { id: self.calls, call })
    }

    /// Says one message for a node.
    fn post(&mut self, to: NodeId, expires: Option<WallMs>) -> Vec<Output> {
        let mut draft = note(to);
        draft.expires = expires;
        self.call(Call::Publish { drafts: vec![draft], ack: Ack::Accepted })
    }

    fn penalty(&mut self, seed: u8) -> u32 {
        let outputs = self.call(Call::Peers);
        let peers = outputs.iter().find_map(|output| match output {
            Output::Reply { answer: Ok(Answer::Peers(peers)), .. } => Some(peers),
            _ => None,
        });
        peers.unwrap().iter().find(|info| info.id == peer(seed)).unwrap().penalty
    }
}

/// Something to say to a node.
fn note(to: NodeId) -> Draft {
    let content_type = "application/octet-stream".into();
    let payload = Custom { type_name: "test.note".into(), schema_version: 1, content_type, body: Blob(Vec::new()) };
    let mut draft = Draft::new(&Payload::Custom(payload));
    draft.destination = Destination::Node(to);
    draft
}

/// Direct bundles that are to be sent: to whom, under which number, which.
fn sent(outputs: &[Output]) -> Vec<(NodeId, u64, Hash)> {
    let deliver = |output: &Output| match output {
        Output::Request { to, id, request: Request::Deliver { bundle, .. } } => {
            Some((*to, *id, Bundle::decode(bundle.clone()).unwrap().header().id()))
        }
        _ => None,
    };
    outputs.iter().filter_map(deliver).collect()
}

fn answered(outputs: &[Output]) -> Vec<(u64, &Response)> {
    let mut answers = Vec::new();
    for output in outputs {
        if let Output::Respond { id, response } = output {
            answers.push((*id, response));
        }
    }
    answers
}

fn receipt(seed: u8, bundle: Hash, delivery: Delivery) -> Receipt {
    Receipt::sign(bundle, delivery, WallMs(START_MS), network(), &key(seed))
}

/// The header of the first bundle of the peer with this key.
fn header(seed: u8, course: Course, topic: Category) -> Header {
    Header {
        course,
        priority: Priority::Normal,
        network: network(),
        feed: FeedId { author: peer(seed), incarnation: Incarnation(1), topic },
        sequence: 0,
        previous: Hash::ZERO,
        clock: Stamp(0),
        count: 0,
        body_bytes: 0,
        root: Hash::ZERO,
    }
}

/// A direct bundle of one message by the peer with key `seed`, stamped so long after the start.
fn direct(seed: u8, to: NodeId, topic: Category, ms: u64) -> Verified {
    let mut pending = Pending::default();
    pending.push(&Message {
        id: MessageId::new(Stamp::new(START_MS + ms, 0), u64::from(seed)),
        kind: u16::from(topic.tag()) << 8 | 0xEE,
        schema_version: 1,
        content_type: Default::default(),
        destination: Destination::Node(to),
        correlation: None,
        parent: None,
        expires: None,
        tags: vec![],
        headers: BTreeMap::new(),
        encryption: None,
        payload: &[7; 400],
    });
    pending.seal(header(seed, Course::Direct, topic), &key(seed)).unwrap()
}

/// The peer with key `from` hands over a bundle that is to go to these nodes, this one first.
fn deliver(from: u8, id: u64, ahead: &[NodeId], bundle: Verified) -> Input {
    let passed = vec![Hop { node: peer(from), at_ms: WallMs(START_MS) }];
    let hops = Hops { passed, ahead: ahead.to_vec(), retries: 0 };
    Input::Deliver { from: peer(from), id, hops, bundle: Box::new(bundle) }
}
