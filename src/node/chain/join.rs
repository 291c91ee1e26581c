//! Coming late: the state after a block is fetched from peers instead of every block before it.
//!
//! ```text
//!   Idle ─ far behind ─▶ Seeking ─ headers that lead there ─▶ Fetching ─ whole ─▶ Swapping ─▶ the block's height
//!     ▲ ▲                   │ near enough                        │ nobody has it any more
//!     │ └──── Clearing ◀────┴────────────────────────────────────┘
//! ```
//!
//! Blocks are followed meanwhile, until there is a state to fetch. Whoever sends a part that is not under the root is
//! blamed, and asked no more; the part is asked of another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::chain_io::ChainOutput;
use super::super::output::{Event, Output, Stage};
use super::super::owner::Turn;
use super::{Chain, Signatures, halt};
use crate::ledger::snapshot::{self, NotStaged, Wanted};
use crate::ledger::{HISTORY, Ledger, Part, Snapshot, Trust, Trusted};
use crate::types::chain::Height;
use crate::types::storage::{Batch, View};
use crate::types::{Mono, NodeId};
use crate::wire::agreement::ChainRequest;
use crate::wire::ledger::{BlockHeader, Finality};

/// Parts asked for at once, and of one peer.
const PARTS: usize = 8;
const PARTS_OF_PEER: usize = 2;
/// Whoever is behind asks this often whether it is far behind.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A state of which nothing has come for so long is given up: nobody has it any more.
const PATIENCE: Duration = Duration::from_secs(30);
/// Headers between the trusted ones and the last that are kept, one for each change of validators.
const CHANGES: usize = crate::wire::ledger::PROOF_FINALITIES;

/// How a node comes to a chain that is far ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinSetup {
    /// It fetches a state when it is so many blocks behind; 0 is never.
    pub behind: u64,
    /// A block that the operator knows to be final.
    pub trusted: Option<Trusted>,
    /// Rows in one part, at most.
    pub part_rows: u32,
}

impl Default for JoinSetup {
    fn default() -> JoinSetup {
        JoinSetup { behind: 10_000, trusted: None, part_rows: crate::wire::ledger::PART_ROWS as u32 }
    }
}

/// A state that is on its way, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JoinStatus {
    /// How far it is: `seeking`, `fetching` or `swapping`.
    pub phase: &'static str,
    /// The block after which the state is fetched, once it is known.
    pub height: Option<Height>,
    /// Rows that are here.
    pub rows: u64,
    /// Their keys and values, bytes.
    pub bytes: u64,
    /// Peers that have another block where `chain.trusted` names one.
    pub contradicting: u64,
}

/// Where coming late stands.
pub(super) struct Join {
    setup: JoinSetup,
    stage: Coming,
    /// Peers that are not asked any more, because they have nothing, or nothing that is right.
    useless: BTreeSet<NodeId>,
    /// Peers that did not answer; they are asked again a little later.
    tired: BTreeSet<NodeId>,
    /// Peers that have another block than the trusted one.
    contradicting: BTreeSet<NodeId>,
    /// All peers were asked for the trusted block, and none has it.
    in_vain: bool,
    /// When it is looked again how far behind this node is.
    look: Mono,
}

enum Coming {
    Idle,
    /// What is left of an attempt goes.
    Clearing,
    /// Which validators lead to the last block? Until the trusted block's header is here there is nobody to trust.
    Seeking {
        trust: Option<Trust>,
        headers: usize,
        asked: Option<(u64, NodeId)>,
    },
    Fetching {
        snapshot: Box<Snapshot>,
        asked: BTreeMap<u64, (NodeId, Wanted)>,
        /// When something last came.
        news: Mono,
    },
    Swapping {
        height: Height,
    },
}

impl Join {
    /// After a start. What was left by an attempt that a crash ended goes first.
    pub fn new(setup: JoinSetup, head: Height, now: Mono, view: &dyn View) -> Join {
        let left = snapshot::clear(view).is_some();
        let stage = if left { Coming::Clearing } else { Coming::Idle };
        let (useless, tired, contradicting) = Default::default();
        let mut join = Join { setup, stage, useless, tired, contradicting, in_vain: false, look: now };
        join.seek_far(head);
        join
    }

    /// If the trusted block is far ahead, its state is looked for at once.
    fn seek_far(&mut self, head: Height) {
        let far = self.setup.behind > 0 && self.trusted_ahead(head) >= self.setup.behind;
        if far && matches!(self.stage, Coming::Idle) {
            self.seek(None);
        }
    }

    /// So many blocks lie between here and the trusted one.
    fn trusted_ahead(&self, head: Height) -> u64 {
        self.setup.trusted.map_or(0, |trusted| trusted.height.0.saturating_sub(head.0))
    }

    fn seek(&mut self, trust: Option<Trust>) {
        self.useless.clear();
        self.in_vain = false;
        self.stage = Coming::Seeking { trust, headers: 0, asked: None };
    }

    /// The block that must be there, whoever decided it.
    pub fn trusted(&self) -> Option<Trusted> {
        self.setup.trusted
    }

    /// Whether there is no state here to agree on or to show: it is being put in place.
    pub fn is_swapping(&self) -> bool {
        matches!(self.stage, Coming::Swapping { .. })
    }

    /// Whether blocks are not asked for, because the state behind them is on its way.
    pub fn is_fetching(&self) -> bool {
        matches!(self.stage, Coming::Fetching { .. } | Coming::Swapping { .. })
    }

    /// Whether so many blocks are more than this node would execute, now that it looks for the state behind them.
    pub fn is_far(&self, blocks: usize) -> bool {
        let seeks = matches!(self.stage, Coming::Seeking { .. });
        seeks && !self.in_vain && self.setup.behind > 0 && blocks as u64 >= self.setup.behind
    }

    /// Who did not answer may be asked again.
    pub fn rested(&mut self) {
        self.tired.clear();
    }

    pub fn next_wake(&self) -> Option<Mono> {
        matches!(self.stage, Coming::Clearing | Coming::Swapping { .. }).then(Mono::default)
    }

    pub fn status(&self) -> Option<JoinStatus> {
        let (phase, height, (rows, bytes)) = match &self.stage {
            Coming::Idle | Coming::Clearing => return None,
            Coming::Seeking { .. } => ("seeking", None, (0, 0)),
            Coming::Fetching { snapshot, .. } => ("fetching", Some(snapshot.target().height), snapshot.size()),
            Coming::Swapping { height } => ("swapping", Some(*height), (0, 0)),
        };
        Some(JoinStatus { phase, height, rows, bytes, contradicting: self.contradicting.len() as u64 })
    }
}

impl Chain {
    /// This node is behind: by how much, a peer may know.
    pub(super) fn look_ahead(&mut self, turn: &Turn<'_>) {
        let join = &mut self.join;
        if join.setup.behind == 0 || join.look > turn.now.mono || !matches!(join.stage, Coming::Idle) {
            return;
        }
        join.look = turn.now.mono + LOOK_EVERY;
        let head = self.ledger.head();
        let set = self.ledger.next_validators().hash();
        let own = Trust { chain: head.chain, height: head.height, set };
        // What an operator trusts comes before what this node could follow.
        join.seek((join.trusted_ahead(head.height) == 0).then_some(own));
    }

    /// Goes on with it: asks, clears, puts in place.
    pub(super) fn tick_join(&mut self, peers: &[NodeId], turn: &mut Turn<'_>) {
        match &self.join.stage {
            Coming::Idle => {}
            Coming::Clearing => match snapshot::clear(&turn.tx) {
                Some(batch) => write(batch, turn),
                None => {
                    self.join.stage = Coming::Idle;
                    self.join.seek_far(self.ledger.head().height);
                }
            },
            Coming::Seeking { .. } => self.seek_on(peers, turn),
            Coming::Fetching { .. } => self.fetch_on(peers, turn),
            Coming::Swapping { .. } => self.swap_on(turn),
        }
    }

    /// Asks one peer after the other for the headers that lead to the last block.
    fn seek_on(&mut self, peers: &[NodeId], turn: &mut Turn<'_>) {
        let Coming::Seeking { trust, asked: None, .. } = &self.join.stage else { return };
        let request = match (trust, self.join.setup.trusted) {
            (Some(trust), _) => ChainRequest::Trail { from: trust.height.next() },
            (None, Some(trusted)) if self.join.trusted_ahead(self.ledger.head().height) > 0 => {
                ChainRequest::Header { height: trusted.height }
            }
            (None, Some(_) | None) => return self.join.stage = Coming::Clearing,
        };
        let waits = |peer: &&NodeId| self.join.tired.contains(peer);
        let mut left = peers.iter().filter(|peer| !self.join.useless.contains(peer)).peekable();
        let nobody = left.peek().is_none();
        let Some(peer) = left.find(|peer| !waits(peer)) else {
            // All were asked. Who waits for a trusted block asks them again later; blocks are followed meanwhile.
            self.join.in_vain = nobody && !peers.is_empty();
            if self.join.in_vain && trust.is_some() {
                self.join.stage = Coming::Clearing;
            } else if self.join.in_vain && turn.now.mono >= self.join.look {
                self.join.look = turn.now.mono + LOOK_EVERY;
                self.join.useless.clear();
            }
            return;
        };
        let peer = *peer;
        let id = self.ask(peer, request, turn);
        if let Coming::Seeking { asked, .. } = &mut self.join.stage {
            *asked = Some((id, peer));
        }
    }

    /// A header came: it is the trusted block's, or the peer has another chain.
    pub(super) fn on_header(&mut self, from: NodeId, id: u64, header: &BlockHeader) {
        let Some(trusted) = self.join.setup.trusted else { return };
        let Coming::Seeking { trust: trust @ None, asked, .. } = &mut self.join.stage else { return };
        if *asked != Some((id, from)) {
            return;
        }
        *asked = None;
        if header.height != trusted.height {
            self.join.useless.insert(from);
            self.blamed.push((from, "a header of another height than was asked for".into()));
        } else if let Err(why) = trusted.allows(header.height, header.id()) {
            tracing::error!(peer = %from, "a peer contradicts chain.trusted: {why}");
            self.join.contradicting.insert(from);
            self.join.useless.insert(from);
        } else {
            *trust = Some(Trust { chain: header.chain, height: header.height, set: header.next_validators });
            self.join.useless.clear();
        }
    }

    /// Headers came: each must be decided by those whom the one before it seats.
    pub(super) fn on_trail(&mut self, from: NodeId, id: u64, found: &[Finality], more: bool, turn: &mut Turn<'_>) {
        let Coming::Seeking { trust: Some(trust), headers, asked } = &mut self.join.stage else { return };
        let Some(last) = found.last().filter(|_| *asked == Some((id, from))) else { return };
        *asked = None;
        let first = *headers == 0;
        match snapshot::followed(found, *trust, &Signatures) {
            Ok(next) => {
                *headers += found.len();
                if let Some(trusted) = self.join.setup.trusted.filter(|trusted| first && trusted.height == trust.height)
                {
                    snapshot::stage_base(trusted.height.next(), &mut turn.tx);
                }
                found.iter().for_each(|finality| snapshot::stage_finality(finality, &mut turn.tx));
                *trust = next;
            }
            Err(why) => {
                self.blamed.push((from, why.to_string()));
                self.join.useless.insert(from);
                return;
            }
        }
        if *headers > CHANGES {
            tracing::warn!("validators changed too often to follow them; blocks are followed instead");
            self.join.stage = Coming::Clearing;
        } else if !more {
            self.aim_at(last.header.clone(), turn);
        }
    }

    /// The last block is known: if it is far away, its state is fetched.
    fn aim_at(&mut self, target: BlockHeader, turn: &Turn<'_>) {
        let by = target.height.0.saturating_sub(self.ledger.head().height.0);
        if by < self.join.setup.behind {
            self.join.stage = Coming::Clearing;
            return;
        }
        tracing::info!(height = %target.height, behind = by, "this node is far behind: the state after that block is fetched");
        self.ahead.clear();
        self.join.useless.clear();
        let snapshot = Box::new(Snapshot::of(target));
        self.join.stage = Coming::Fetching { snapshot, asked: BTreeMap::new(), news: turn.now.mono };
    }

    /// Asks for what is missing, several at once; puts what is whole in place.
    fn fetch_on(&mut self, peers: &[NodeId], turn: &mut Turn<'_>) {
        loop {
            let Coming::Fetching { snapshot, asked, .. } = &mut self.join.stage else { return };
            let owes = |peer: &&NodeId| asked.values().filter(|(of, _)| of == *peer).count();
            let free = |peer: &&NodeId| {
                let away = self.join.useless.contains(peer) || self.join.tired.contains(peer);
                !away && owes(peer) < PARTS_OF_PEER
            };
            let Some(peer) = peers.iter().filter(free).min_by_key(owes).filter(|_| asked.len() < PARTS) else { break };
            let Some(wanted) = snapshot.ask() else { break };
            let (height, most) = (snapshot.target().height, self.join.setup.part_rows);
            let id = self.ask(*peer, ChainRequest::Part { height, branch: wanted.branch, most }, turn);
            if let Coming::Fetching { asked, .. } = &mut self.join.stage {
                asked.insert(id, (*peer, wanted));
            }
        }
        let Coming::Fetching { snapshot, asked, news } = &self.join.stage else { return };
        let nobody = asked.is_empty() && !peers.is_empty() && peers.iter().all(|peer| self.join.useless.contains(peer));
        if snapshot.is_whole() {
            self.begin_swap(turn);
        } else if nobody || *news + PATIENCE <= turn.now.mono {
            tracing::warn!(height = %snapshot.target().height, "nobody has that state any more; blocks are followed instead");
            self.join.stage = Coming::Clearing;
        }
    }

    /// A part of the state came.
    pub(super) fn on_part(&mut self, from: NodeId, id: u64, part: &Part, turn: &mut Turn<'_>) {
        let Coming::Fetching { snapshot, asked, news } = &mut self.join.stage else { return };
        let Some((_, wanted)) = asked.remove(&id) else { return };
        match snapshot.put(wanted, part, &mut turn.tx) {
            Ok(()) => *news = turn.now.mono,
            Err(NotStaged::Bad(why)) => {
                self.join.useless.insert(from);
                self.blamed.push((from, why.to_string()));
            }
            Err(NotStaged::Fault(fault)) => halt(fault, turn),
        }
    }

    /// A peer did not answer what it was asked, or (`gone`) does not have it.
    pub(super) fn on_not_joined(&mut self, id: u64, gone: bool) {
        let peer = match &mut self.join.stage {
            Coming::Seeking { asked, .. } => asked.take_if(|(of, _)| *of == id).map(|(_, peer)| peer),
            Coming::Fetching { snapshot, asked, .. } => asked.remove(&id).map(|(peer, wanted)| {
                snapshot.again(wanted);
                peer
            }),
            Coming::Idle | Coming::Clearing | Coming::Swapping { .. } => None,
        };
        let whom = if gone { &mut self.join.useless } else { &mut self.join.tired };
        whom.extend(peer);
    }

    /// From here on there is no head until the new state is in place.
    fn begin_swap(&mut self, turn: &mut Turn<'_>) {
        let Coming::Fetching { snapshot, .. } = &self.join.stage else { return };
        let (height, rows) = (snapshot.target().height, snapshot.size().0);
        if height <= self.ledger.head().height {
            self.join.stage = Coming::Clearing;
            return;
        }
        match snapshot.begin_swap(&mut turn.tx) {
            Ok(()) => {
                tracing::info!(%height, rows, "the state is here and is put in place");
                self.join.stage = Coming::Swapping { height };
            }
            Err(fault) => halt(fault, turn),
        }
    }

    fn swap_on(&mut self, turn: &mut Turn<'_>) {
        match snapshot::next_batch(&turn.tx) {
            Ok(Some(batch)) => write(batch, turn),
            Ok(None) => {
                if let Err(fault) = self.join_at_head(turn) {
                    halt(fault, turn);
                }
            }
            Err(fault) => halt(fault, turn),
        }
    }

    /// The state is in place: the node goes on behind its block, as after blocks that were decided without it.
    fn join_at_head(&mut self, turn: &mut Turn<'_>) -> Result<(), crate::ledger::Fault> {
        let Some(ledger) = Ledger::resume(HISTORY, &turn.tx)? else { return Ok(()) };
        let height = ledger.head().height;
        self.before = ledger.validators(height, &turn.tx)?.unwrap_or_else(|| ledger.next_validators().clone());
        self.pool = ledger.load_pool(&turn.tx)?;
        self.ledger = ledger;
        self.join.stage = Coming::Idle;
        // Whoever comes so late may have voted in an earlier life, and does not know what.
        self.forgot = self.validates;
        tracing::info!(%height, "the node goes on after that block");
        (self.applied, self.decided, self.last) = (Some(height), None, turn.now.mono);
        self.bodies.clear();
        self.announce_roster(self.ledger.next_validators().clone(), turn);
        turn.out.push((Stage::Flushed, Output::Chain(ChainOutput::Applied { height })));
        turn.out.push((Stage::Flushed, Output::Event(Event::Block { height })));
        Ok(())
    }
}

/// A batch becomes a part of the step.
pub(super) fn write(batch: Batch, turn: &mut Turn<'_>) {
    let put = |turn: &mut Turn<'_>, key, value: Option<Bytes>| match value {
        Some(value) => turn.tx.put(key, value),
        None => turn.tx.delete(key),
    };
    batch.into_writes().for_each(|(key, value)| put(turn, key, value));
}
