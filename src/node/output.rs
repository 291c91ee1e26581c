//! Everything a node can want, and when it may have it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::call::{Answer, CallRefusal};
use super::chain_io::ChainOutput;
use crate::consensus::Record;
use crate::deliver::Name;
use crate::feed::Fork;
use crate::meter::Passage;
use crate::types::chain::Height;
use crate::types::storage::Batch;
use crate::types::{NodeId, WallMs};
use crate::wire::{Category, Request, Response, Verified};

/// What becomes of a gossiped bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Neither forward it nor hold it against anyone.
    Ignore,
}

/// Something a client of this node may want to know at once.
#[derive(Debug)]
pub enum Event {
    /// The log has grown to this position.
    Log { end: u64 },
    /// A bundle that is not kept.
    Ephemeral(Box<Verified>),
    /// An author said two things in one place.
    Fork(Box<Fork>),
    /// The events of replicated state have grown to here.
    State { end: u64 },
    /// The block at this height is final and on the disk.
    Block { height: Height },
    /// These durable subscriptions may have something that they had not before.
    Deliverable(BTreeSet<Name>),
}

/// Everything a node can want.
#[derive(Debug)]
pub enum Output {
    /// Tell gossip what to do with a bundle.
    Verdict { ticket: u64, verdict: Verdict },
    /// Hand a frame to gossip: one bundle after the other.
    Publish { topic: Category, bytes: Bytes },
    /// Ask a peer.
    Request { to: NodeId, id: u64, request: Request },
    /// Answer a peer.
    Respond { id: u64, response: Response },
    /// Connect to an address, of a certain peer if one is named.
    Dial { address: String, peer: Option<NodeId> },
    /// Close all connections to a peer and refuse new ones until then.
    Ban { peer: NodeId, until: WallMs, reason: String },
    /// Answer a client.
    Reply { id: u64, answer: Result<Answer, CallRefusal> },
    /// Something about the chain is wanted.
    Chain(ChainOutput),
    /// Tell whoever listens.
    Event(Event),
    /// Stop: the node cannot go on, or was asked to stop.
    Halt { fault: Option<String> },
}

/// When an output may leave.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// At once.
    Now,
    /// When the step's batch is committed.
    Committed,
    /// When the batch is flushed to the disk.
    Flushed,
    /// When the step's records, and all before them, are in agreement's log on the disk: they are written for it.
    Logged,
    /// When the records that were handed over to be written are on the disk. For what may repeat a word that was said
    /// before, and says nothing new: records on which no word rests yet are not written for it.
    Repeated,
}

/// What one step writes and wants.
#[derive(Debug, Default)]
pub struct Step {
    /// Committed before anything at [`Stage::Committed`] leaves.
    pub batch: Batch,
    /// In order within a stage.
    pub outputs: Vec<(Stage, Output)>,
    /// The batch holds something the node must never contradict: what waits for the commit waits for the flush.
    pub barrier: bool,
    /// What agreement writes down before it speaks; those of one height follow one another.
    pub log: Vec<(Height, Record)>,
    /// What passed the stages inside the node, for figures and for whoever taps.
    pub passed: Vec<Passage>,
}

impl Step {
    /// Whether the batch must reach the disk before this step is over.
    pub fn needs_flush(&self) -> bool {
        self.barrier || self.outputs.iter().any(|(stage, _)| *stage == Stage::Flushed)
    }
}
