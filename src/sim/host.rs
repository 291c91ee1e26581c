//! One simulated machine: a node, its store, and the loop around them, which releases outputs as the driver does.
//!
//! ```text
//!   inbox ─▶ step ─▶ commit ─▶ release: now, committed unless a barrier holds it, flushed when the disk has it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::chain::Disk;
use super::event::Topic;
use super::judge::{Durable, Idle, Promise, Subscriber};
use super::worker::Worker;
use crate::consensus::Record;
use crate::node::{Gate, Input, Node, Output, Setup, Step, Write};
use crate::types::chain::Height;
use crate::types::{Hash, MemoryStore, Mono, NodeId, Now, WallMs, limits};
use crate::wire::agreement::Roster;

/// When simulated time begins, milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// A bundle that came by gossip and waits for the node's word.
pub struct Carried {
    /// Who handed it over.
    pub from: usize,
    /// On which topic.
    pub topic: Topic,
    /// The bytes.
    pub bytes: Bytes,
}

/// A request under way.
#[derive(Clone, Copy)]
pub struct Asked {
    /// Whom.
    pub peer: usize,
    /// Over which connection; none when there was none any more.
    pub link: Option<u64>,
    /// Whether for a range.
    pub range: bool,
    /// When the asker gives up, microseconds.
    pub late_us: u64,
}

/// A machine, running or not.
pub struct Host {
    /// Who it is.
    pub id: NodeId,
    /// Its key.
    pub key: SigningKey,
    /// What it keeps.
    pub store: MemoryStore,
    /// Batches since the store's last flush that are on the disk all the same.
    pub durable: usize,
    /// Its disk says that it has what it was given, and does not: for tests of the judges.
    pub forgetful: bool,
    /// Agreement's log.
    pub disk: Disk,
    /// There is no room on its disk: a flush fails, and it is down for so long, microseconds.
    pub full: Option<u64>,
    /// A copy of the store.
    pub backup: Option<MemoryStore>,
    /// Where the store is.
    pub place: u64,
    /// Its wall clock is ahead by this, milliseconds.
    pub skew_ms: i64,
    /// The latest that it ever showed when it was looked at.
    pub shown: WallMs,
    /// The process, while there is one.
    pub process: Option<Process>,
    /// Which process this is.
    pub life: u64,
    /// The last process stopped cleanly.
    pub clean: bool,
    /// It loses power at its next commit, and is down for so long.
    pub doomed: Option<u64>,
    /// How long it stays down when it has stopped, microseconds.
    pub down_us: u64,
    /// A client that follows the log.
    pub subscriber: Subscriber,
    /// What clients were promised.
    pub promised: Durable,
    /// What clients were promised of the state.
    pub written: Vec<Promise>,
    /// Up to here the log was compared with what authors wrote.
    pub compared: u64,
}

/// A running process.
pub struct Process {
    pub node: Node,
    began_us: u64,
    pub control: Vec<Input>,
    pub calls: Vec<Input>,
    pub bundles: Vec<Input>,
    /// A step is due.
    pub due: bool,
    /// The number of the latest wake-up call; earlier ones are void.
    pub wake: u64,
    pub idle: Idle,
    pub gate: Gate,
    /// The flush under way: the epoch it serves, the batches it covers.
    flushing: Option<(u64, usize)>,
    requested: Option<u64>,
    /// Peers the network said are up.
    pub up: BTreeSet<usize>,
    pub banned: BTreeMap<NodeId, WallMs>,
    pub seen: BTreeSet<Hash>,
    pub tickets: BTreeMap<u64, Carried>,
    /// Requests of others, by the number the node knows them by: who asks, and the asker's number.
    pub serving: BTreeMap<u64, (usize, u64)>,
    /// Requests of this node under way.
    pub asked: BTreeMap<u64, Asked>,
    /// Calls that want to hear that it is on the disk, and which of their messages are kept at all.
    pub durable_calls: BTreeMap<u64, Vec<Sent>>,
    /// Writes to the state that want to hear that they are on the disk.
    pub durable_writes: BTreeMap<u64, Write>,
    /// Endorsements a client asked for with what is not so.
    pub lied: BTreeSet<u64>,
    /// Floors that clients want, by the number of their call: in which collection.
    pub floor_counts: BTreeMap<u64, String>,
    /// Who may speak about the chain.
    pub roster: Option<Arc<Roster>>,
    /// The worker of a durable subscription.
    pub worker: Worker,
    next_number: u64,
}

/// What a step lets go.
pub struct Released {
    /// To be done now, in order.
    pub outputs: Vec<Output>,
    /// A flush begins.
    pub flush: bool,
    /// Records for agreement's log, and the number their words wait for.
    pub log: Option<(u64, Vec<(Height, Record)>)>,
}

impl Host {
    /// A machine that has never run.
    pub fn new(key: SigningKey, skew_ms: i64) -> Host {
        Host {
            id: NodeId(key.verifying_key().to_bytes()),
            key,
            store: MemoryStore::default(),
            durable: 0,
            forgetful: false,
            disk: Disk::default(),
            full: None,
            backup: None,
            place: 1,
            skew_ms,
            shown: WallMs(0),
            process: None,
            life: 0,
            clean: false,
            doomed: None,
            down_us: 0,
            subscriber: Subscriber::default(),
            promised: Durable::default(),
            written: Vec::new(),
            compared: 0,
        }
    }

    /// Its wall clock.
    pub fn wall(&self, at_us: u64) -> WallMs {
        WallMs((EPOCH_MS + at_us / 1000).saturating_add_signed(self.skew_ms))
    }

    /// Its wall clock jumps.
    pub fn jump(&mut self, at_us: u64, by_ms: i64) {
        self.shown = self.shown.max(self.wall(at_us));
        self.skew_ms += by_ms;
        self.shown = self.shown.max(self.wall(at_us));
    }

    /// Both clocks; the monotonic one counts from the start of the process.
    pub fn now(&self, at_us: u64) -> Now {
        let began = self.process.as_ref().map_or(at_us, |p| p.began_us);
        Now { mono: Mono(at_us - began), wall: self.wall(at_us) }
    }

    /// Starts the process. Its first step is to be released.
    pub fn boot(&mut self, at_us: u64, setup: Setup) -> Result<Step, String> {
        let now = Now { mono: Mono(0), wall: self.wall(at_us) };
        let (node, step) = Node::open(setup, &self.store, now)?;
        self.life += 1;
        (self.doomed, self.clean) = (None, false);
        self.process = Some(Process::new(node, at_us));
        Ok(step)
    }

    /// Loses power: of what was not flushed, the first `kept` batches stay.
    pub fn crash(&mut self, kept: usize) {
        self.clean = false;
        self.store.crash(self.durable + kept);
        self.durable = 0;
        self.process = None;
    }

    /// Batches a crash can lose.
    pub fn at_risk(&self) -> usize {
        self.store.unflushed() - self.durable
    }

    /// Takes everything that waits into one step.
    pub fn step(&mut self, at_us: u64) -> Option<(Step, usize)> {
        let now = self.now(at_us);
        let process = self.process.as_mut()?;
        process.due = false;
        let mut inputs = take(&mut process.control, limits::STEP_INPUTS);
        inputs.extend(take(&mut process.calls, limits::CALL_QUEUE));
        inputs.extend(take(&mut process.bundles, limits::STEP_INPUTS));
        let weight = inputs.iter().map(weight).sum();
        let mut step = Step::default();
        for input in inputs {
            process.node.handle(input, &self.store, now, &mut step);
        }
        process.node.finish(&self.store, now, &mut step);
        Some((step, weight))
    }

    /// Commits a step and lets go of what may leave.
    pub fn release(&mut self, step: Step) -> Released {
        let flush = step.needs_flush();
        let Step { batch, outputs, barrier, log, passed: _ } = step;
        self.store.commit(batch);
        let Some(process) = self.process.as_mut() else {
            return Released { outputs: Vec::new(), flush: false, log: None };
        };
        let freed = process.gate.committed(outputs, flush, barrier, log);
        process.requested = freed.flush.or(process.requested);
        Released { outputs: freed.outputs, flush: self.begin_flush(), log: freed.log }
    }

    /// Begins a flush when one is wanted and none is under way.
    fn begin_flush(&mut self) -> bool {
        let batches = self.store.unflushed();
        let Some(process) = self.process.as_mut().filter(|p| p.flushing.is_none()) else { return false };
        process.flushing = process.requested.take().map(|epoch| (epoch, batches));
        process.flushing.is_some()
    }

    /// The flush is done: what was committed when it began is on the disk, and nothing else is known to be.
    pub fn flushed(&mut self) -> Released {
        let mut outputs = Vec::new();
        if let Some(process) = self.process.as_mut()
            && let Some((epoch, batches)) = process.flushing.take()
        {
            if !self.forgetful {
                self.durable = batches;
            }
            if self.durable == self.store.unflushed() {
                self.store.flush();
                self.durable = 0;
            }
            outputs = process.gate.flushed(epoch);
        }
        Released { outputs, flush: self.begin_flush(), log: None }
    }
}

impl Process {
    fn new(node: Node, began_us: u64) -> Process {
        Process {
            node,
            began_us,
            control: Vec::new(),
            calls: Vec::new(),
            bundles: Vec::new(),
            due: false,
            wake: 0,
            idle: Idle::default(),
            gate: Gate::default(),
            flushing: None,
            requested: None,
            up: BTreeSet::new(),
            banned: BTreeMap::new(),
            seen: BTreeSet::new(),
            tickets: BTreeMap::new(),
            serving: BTreeMap::new(),
            asked: BTreeMap::new(),
            durable_calls: BTreeMap::new(),
            durable_writes: BTreeMap::new(),
            lied: BTreeSet::new(),
            floor_counts: BTreeMap::new(),
            roster: None,
            worker: Worker::default(),
            next_number: 0,
        }
    }

    /// A number nothing else of this process has.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// When the node wants to be woken, in the run's time.
    pub fn wake_us(&self) -> u64 {
        self.began_us + self.node.next_wake().0
    }

    /// Whether the node has given up waiting for nothing: outputs wait for the disk, or inputs for a step.
    pub fn is_busy(&self) -> bool {
        self.gate.is_waiting() || !self.calls.is_empty() || !self.bundles.is_empty()
    }
}

fn take(queue: &mut Vec<Input>, most: usize) -> Vec<Input> {
    let rest = queue.split_off(queue.len().min(most));
    std::mem::replace(queue, rest)
}

/// Whom a message goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Whoever listens now.
    Fleeting,
    /// Everyone.
    ToAll,
    /// One host.
    ToOne(usize),
}

/// What an input may cost: see [`super::judge::Load`].
fn weight(input: &Input) -> usize {
    match input {
        Input::Range { bundles, .. } => 1 + bundles.len(),
        Input::Bundle { bundles, .. } => bundles.len(),
        Input::Heads { heads, .. } => 1 + heads.len(),
        Input::Call { call: crate::node::Call::Publish { drafts, .. }, .. } => 1 + drafts.len(),
        Input::Deliver { bundle, .. } => 1 + bundle.count() as usize,
        // What was waiting for the receipt may follow.
        Input::Receipt { .. } => 1 + limits::DIRECT_IN_FLIGHT,
        Input::State(input) => 1 + limits::SESSION_REQUESTS + input.changes(),
        Input::Refused { .. }
        | Input::RoundTrip { .. }
        | Input::Packs { .. }
        | Input::Fork { .. }
        | Input::PeerUp { .. }
        | Input::PeerDown { .. }
        | Input::Addresses { .. }
        | Input::DialFailed { .. }
        | Input::Request { .. }
        | Input::Failed { .. }
        | Input::Chain(_)
        | Input::Call { .. }
        | Input::Tick => 1,
    }
}
