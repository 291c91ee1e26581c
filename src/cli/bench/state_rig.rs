//! A node on a store of its own whose time is counted, and an author that writes to its state.

use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::state::members;
use crate::crdt::Member;
use crate::node::{Input, Node, Output, Setup, Step};
use crate::store::{Store, StoreOptions};
use crate::types::{Hash, Incarnation, MessageId, Mono, NetworkId, NetworkName, NodeId, Now, Stamp, WallMs};
use crate::wire::kind::Json;
use crate::wire::kind::state::{Change, CollectionWrite, Op};
use crate::wire::{Bundle, Category, Course, Draft, FeedId, Header, Payload, Pending, Priority, Verified};

/// The collection that is written to.
pub const COLLECTION: &str = "bench";
/// When the first write was made.
pub const WALL: WallMs = WallMs(1_800_000_000_000);
/// When the nodes begin: all writes are of the past, and old enough to be compared.
const BEGIN: WallMs = WallMs(WALL.0 + 3_600_000);

/// A node in this thread.
pub struct Rig {
    pub id: NodeId,
    pub node: Node,
    pub store: Store,
    network: NetworkName,
    us: u64,
}

impl Rig {
    /// Opens the node in its folder.
    pub fn open(folder: &Path, seed: u8) -> anyhow::Result<Rig> {
        let path = folder.join(format!("state-{seed}"));
        let store = Store::open(&StoreOptions { path, cache_bytes: 512 << 20, flush_every_ms: 200 })?;
        let network: NetworkName = "bench".parse()?;
        let setup = Setup {
            network: network.clone(),
            key: SigningKey::from_bytes(&[seed; 32]),
            entropy: seed.into(),
            place: 1,
            bootstrap: Vec::new(),
            target_peers: 0,
            scheduler: Default::default(),
            lanes: Default::default(),
            packing: Default::default(),
            strategy: Default::default(),
            role: Default::default(),
            retention: Default::default(),
            floor_waits: crate::types::limits::FLOOR_MEMBERS,
            registration: None,
            chain: None,
        };
        let (node, step) = Node::open(setup, &store, now(0)).map_err(anyhow::Error::msg)?;
        let mut rig = Rig { id: node.id(), node, store, network, us: 0 };
        rig.release(step)?;
        Ok(rig)
    }

    /// Flushes and closes it.
    pub fn close(self) -> anyhow::Result<()> {
        Ok(self.store.flush()?)
    }

    /// The network's id.
    pub fn network(&self) -> NetworkId {
        self.network.id()
    }

    /// Time passes.
    pub fn pass(&mut self, us: u64) {
        self.us += us;
    }

    /// Takes inputs in one step and commits it.
    pub fn step(&mut self, inputs: Vec<Input>) -> anyhow::Result<Vec<Output>> {
        let (now, mut step) = (now(self.us), Step::default());
        for input in inputs {
            self.node.handle(input, &self.store, now, &mut step);
        }
        self.node.finish(&self.store, now, &mut step);
        self.release(step)
    }

    fn release(&mut self, step: Step) -> anyhow::Result<Vec<Output>> {
        let flush = step.needs_flush();
        self.store.commit(step.batch)?;
        if flush {
            self.store.flush()?;
        }
        Ok(step.outputs.into_iter().map(|(_, output)| output).collect())
    }

    /// Checks bundles and takes them in one step, and more steps until all is merged. Seconds.
    pub fn take(&mut self, wires: &[Bytes]) -> anyhow::Result<f64> {
        let (network, from) = (self.network(), NodeId([9; 32]));
        let start = Instant::now();
        let read = wires.iter().map(|wire| Bundle::decode(wire.clone())).collect::<Result<Vec<_>, _>>()?;
        let bundles = Verified::check_all(read, network).collect::<Result<Vec<_>, _>>()?;
        self.step(vec![Input::Bundle { from, ticket: 0, bundles }])?;
        while !self.node.is_settled() {
            self.step(Vec::new())?;
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

fn now(us: u64) -> Now {
    Now { mono: Mono(us), wall: WallMs(BEGIN.0 + us / 1000) }
}

/// A peer is there.
pub fn connect(peer: NodeId) -> Vec<Input> {
    vec![Input::PeerUp { peer, dialled: None }]
}

/// Where write `n` goes.
pub fn path(n: u64) -> String {
    format!("cell/{:03}/{n}", n % 1000)
}

/// An author of writes.
pub struct Writer {
    key: SigningKey,
    sequence: u64,
    previous: Hash,
}

impl Writer {
    /// One who has written nothing.
    pub fn new(seed: u8) -> Writer {
        Writer { key: SigningKey::from_bytes(&[seed; 32]), sequence: 0, previous: Hash::ZERO }
    }

    /// A bundle of writes, each of one cell.
    pub fn bundle(&mut self, range: Range<u64>, at: impl Fn(u64) -> Stamp) -> Bytes {
        self.seal(range, at).map(|bundle| bundle.wire().clone()).unwrap_or_default()
    }

    /// What the writes of a bundle are to the state.
    pub fn writes(&mut self, range: Range<u64>, at: impl Fn(u64) -> Stamp) -> Vec<Member> {
        self.seal(range, at).map(|bundle| members(&bundle)).unwrap_or_default()
    }

    fn seal(&mut self, range: Range<u64>, at: impl Fn(u64) -> Stamp) -> Option<Verified> {
        let mut pending = Pending::default();
        for n in range {
            let value = Json::from(&serde_json::json!({ "n": n, "of": "the bench" }));
            let changes = vec![Change { path: path(n), over: Vec::new(), op: Op::Set { value } }];
            let write = CollectionWrite { collection: COLLECTION.into(), client: None, changes };
            pending.push(&Draft::new(&Payload::CollectionWrite(write)).message(MessageId::new(at(n), n)));
        }
        let author = NodeId(self.key.verifying_key().to_bytes());
        let header = Header {
            course: Course::Feed,
            priority: Priority::Normal,
            network: "bench".parse::<NetworkName>().ok()?.id(),
            feed: FeedId { author, incarnation: Incarnation(1), topic: Category::Data },
            sequence: self.sequence,
            previous: self.previous,
            clock: Stamp(0),
            count: 0,
            body_bytes: 0,
            root: Hash::ZERO,
        };
        let sealed = pending.seal(header, &self.key)?;
        (self.sequence, self.previous) = (self.sequence + 1, sealed.id());
        Some(sealed)
    }
}
