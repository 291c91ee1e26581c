//! Agreement and the ledger, joined: what one wants the other gives. The only place that knows both.
//!
//! ```text
//!   Heard, Body, Decisions ─▶ consensus ─ WantBlock, Check ─▶ ledger: propose, execute
//!                                 └────── Decided ─────────▶ ledger: apply ─▶ flush ─▶ Applied ─▶ the next height
//! ```

mod agree;
mod anchors;
mod apply;
mod bodies;
mod calls;
mod catch_up;
mod counts;
mod gossip;
mod join;
mod serve;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use self::anchors::Anchors;
use self::bodies::Bodies;
use self::counts::Stopwatch;
pub use self::counts::{ChainCounts, Ended, FINALITY_MS, Finality};
use self::gossip::Gossip;
use self::join::Join;
pub use self::join::{JoinSetup, JoinStatus};
use super::output::{Output, Stage};
use super::owner::Turn;
use crate::consensus::{self, Consensus, Phase, Record, Start, Timeouts};
use crate::ledger::{self, Agreement as Signatures, Genesis, Ledger, Mempool};
use crate::types::chain::{ChainId, Height, Validator, ValidatorSet};
use crate::types::{Hash, Mono, NodeId};
use crate::wire::agreement::{Certificate, ChainRequest, DECISIONS, Genuine};
use crate::wire::ledger::Block;

/// Decisions kept until their turn comes, heights.
const AHEAD: u64 = DECISIONS as u64;
/// One peer after the other is asked so often whether it has decisions that are missing here: where nothing goes on,
/// nobody speaks of them.
const POLL: Duration = Duration::from_secs(2);
/// Bodies that are asked of one peer at a time.
const BODIES_OF_PEER: usize = 16;
/// A block from the future is looked at again after this at the latest: the clock may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Numbers of requests about the chain have this bit, so that they are none of repair's.
const CHAIN_REQUEST: u64 = 1 << 63;

/// What a node is told of the chain.
#[derive(Clone)]
pub struct ChainSetup {
    /// What it begins with; the same at every node.
    pub genesis: Genesis,
    /// Whether this node votes when it is a validator.
    pub validates: bool,
    /// How long the steps of a round may take.
    pub timeouts: Timeouts,
    /// From the beginning of one height to that of the next, at least.
    pub cadence: Duration,
    /// Without anything to agree on a block is made this long after the last; none waits for something.
    pub heartbeat: Option<Duration>,
    /// What agreement's log holds of the height after the last applied one.
    pub log: Vec<Record>,
    /// The log of that height is lost: this node may have voted, does not know what, and votes again when it is decided.
    pub abstains: bool,
    /// How it comes to a chain that is far ahead.
    pub join: JoinSetup,
}

/// The chain of a node.
pub(super) struct Chain {
    consensus: Consensus,
    ledger: Ledger,
    pool: Mempool,
    cadence: Duration,
    heartbeat: Option<Duration>,
    validates: bool,
    /// Does not vote at this height; with this it votes from the next on.
    abstains: Option<consensus::Setup>,
    /// What agreement is opened with when this node votes.
    voting: consensus::Setup,
    /// What this node's clients gave it, and was said.
    gossip: Gossip,
    /// Something for a block has come in this step.
    works: bool,
    /// Blocks of the height whose bodies are here.
    bodies: Bodies,
    /// Decided; its block is not applied yet.
    decided: Option<Certificate>,
    /// Applied; it is not on the disk yet.
    applied: Option<Height>,
    /// When the last height was decided.
    last: Mono,
    /// Decisions of heights that have not come yet.
    ahead: BTreeMap<Height, (NodeId, Genuine<Certificate>, Block)>,
    /// Requests under way, by number: of whom, and what they ask for.
    asked: BTreeMap<u64, (NodeId, ChainRequest)>,
    next_request: u64,
    /// Numbers what is said, from anywhere on, so that gossip takes no word for one it has carried.
    again: u16,
    /// The validators of the height before.
    before: Arc<ValidatorSet>,
    /// When a peer is asked next whether it has more.
    poll: Mono,
    polled: usize,
    /// Who brought proofs that prove nothing, and why, since the node last looked.
    blamed: Vec<(NodeId, String)>,
    counts: ChainCounts,
    stopwatch: Stopwatch,
    /// What blocks have said of replicated state.
    anchors: Anchors,
    /// How far it is with coming late.
    join: Join,
    /// It came by a state and not by blocks, and has seen no height decided since: it may have voted in an earlier life.
    forgot: bool,
}

/// Agreement, for people and programs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AgreementStatus {
    /// The chain.
    pub chain: ChainId,
    /// The height that is agreed on; the one before is final.
    pub height: Height,
    /// The attempt at it, from 0.
    pub round: u32,
    /// How far it is: `waiting`, `running`, `decided` or `halted`.
    pub phase: &'static str,
    /// Whether this node votes.
    pub votes: bool,
    /// It does not at this height, because the log of what it voted is lost; it will at the next.
    pub abstains: bool,
    /// The validators of the height.
    pub validators: Vec<Validator>,
    /// The state that is fetched, when this node is far behind.
    pub joining: Option<JoinStatus>,
    /// Sealed groups that wait for a block.
    pub waiting: u64,
    /// Transactions in these.
    pub waiting_transactions: u64,
    /// Their size, bytes.
    pub waiting_bytes: u64,
    /// Contradictions of validators seen since the start.
    pub evidence: u64,
    /// Counts since the start.
    pub counts: ChainCounts,
}

impl Chain {
    pub fn open(
        setup: ChainSetup,
        me: NodeId,
        key: &ed25519_dalek::SigningKey,
        entropy: u64,
        turn: &mut Turn<'_>,
    ) -> Result<Chain, String> {
        let ledger = Ledger::open(&setup.genesis, ledger::HISTORY, &mut turn.tx).map_err(|e| e.to_string())?;
        let pool = ledger.load_pool(&turn.tx).map_err(|e| e.to_string())?;
        let voting = consensus::Setup {
            chain: ledger.head().chain,
            me,
            key: setup.validates.then(|| key.clone()),
            timeouts: setup.timeouts,
        };
        let abstains = (setup.validates && setup.abstains).then(|| voting.clone());
        let agreement = consensus::Setup { key: voting.key.clone().filter(|_| abstains.is_none()), ..voting };
        let now = turn.now.mono;
        let start = Start {
            height: ledger.head().height.next(),
            validators: ledger.next_validators().clone(),
            not_before: now,
            idle: is_idle(&pool),
        };
        let (head, view) = (ledger.head().height, &turn.tx);
        let last = ledger::chain::certificate(head, view).and_then(|bytes| Certificate::decode(&bytes).ok());
        let before = ledger.validators(head, view).map_err(|e| e.to_string())?;
        let before = before.unwrap_or_else(|| ledger.next_validators().clone());
        let (consensus, out) = Consensus::open(agreement, start, &setup.log, last, now);
        let mut chain = Chain {
            consensus,
            ledger,
            cadence: setup.cadence,
            heartbeat: setup.heartbeat,
            validates: setup.validates,
            gossip: Gossip::new(entropy as u16, &pool),
            voting,
            works: false,
            abstains,
            pool,
            bodies: Bodies::default(),
            decided: None,
            applied: None,
            last: now,
            ahead: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_request: CHAIN_REQUEST,
            again: entropy as u16,
            before,
            poll: now + POLL,
            polled: 0,
            blamed: Vec::new(),
            counts: ChainCounts::default(),
            stopwatch: Stopwatch::default(),
            anchors: Anchors::default(),
            join: Join::new(setup.join, head, now, &turn.tx),
            forgot: false,
        };
        chain.recall(&setup.log, turn)?;
        chain.announce_roster(chain.ledger.next_validators().clone(), turn);
        chain.follow(out, me, turn);
        Ok(chain)
    }

    /// The bodies in agreement's log: what was said rests on them, and nobody else may have them.
    fn recall(&mut self, log: &[Record], turn: &Turn<'_>) -> Result<(), String> {
        for record in log {
            let Record::Body { block, bytes } = record else { continue };
            let body = Block::decode(bytes.clone()).ok().filter(|body| body.id() == *block);
            let body = body.ok_or_else(|| format!("agreement's log has other bytes for block {block} than its own"))?;
            let executed = self.ledger.execute(&body, &self.pool, &turn.tx, &Signatures);
            let executed = executed.map_err(|why| {
                format!("block {block} was valid when this node wrote it to agreement's log, and is not now: {why}")
            })?;
            self.bodies.keep_executed(executed);
        }
        Ok(())
    }

    /// Whether a request was one about the chain.
    pub fn is_about(id: u64) -> bool {
        id & CHAIN_REQUEST != 0
    }

    /// Where the chain stands.
    pub fn head(&self) -> (Height, Hash) {
        (self.ledger.head().height, self.ledger.head().state_root)
    }

    /// Whether this node votes when it is a validator.
    pub fn validates(&self) -> bool {
        self.validates
    }

    pub fn next_wake(&self) -> Mono {
        let wakes = [
            self.agreement_wake(),
            self.bodies.next_wake(),
            self.heartbeat_due(),
            self.gossip.next_wake(),
            self.join.next_wake(),
        ];
        wakes.into_iter().flatten().fold(self.poll, Mono::min)
    }

    /// When agreement wants to be called.
    fn agreement_wake(&self) -> Option<Mono> {
        self.consensus.next_wake().filter(|_| !self.is_overtaken())
    }

    /// When an idle chain gets a block all the same.
    fn heartbeat_due(&self) -> Option<Mono> {
        let waits = matches!(self.consensus.phase(), Phase::Waiting { idle: true, .. }) && !self.is_overtaken();
        self.heartbeat.filter(|_| waits && self.validates).map(|heartbeat| self.last + heartbeat)
    }

    pub fn status(&self) -> AgreementStatus {
        let phase = match self.consensus.phase() {
            Phase::Waiting { .. } => "waiting",
            Phase::Running => "running",
            Phase::Decided => "decided",
            Phase::Halted => "halted",
        };
        let (waiting, waiting_transactions, waiting_bytes) = self.pool.size();
        AgreementStatus {
            chain: self.ledger.head().chain,
            height: self.consensus.height(),
            round: self.consensus.round(),
            phase,
            votes: self.validates && self.abstains.is_none(),
            abstains: self.abstains.is_some(),
            validators: self.ledger.next_validators().iter().copied().collect(),
            joining: self.join.status(),
            waiting: waiting as u64,
            waiting_transactions: waiting_transactions as u64,
            waiting_bytes: waiting_bytes as u64,
            evidence: self.counts.evidence,
            counts: self.counts.clone(),
        }
    }
}

/// Whether there is nothing to put into a block.
fn is_idle(pool: &Mempool) -> bool {
    !pool.has_ready() && pool.evidence().next().is_none()
}

fn halt(fault: impl std::fmt::Display, turn: &mut Turn<'_>) {
    turn.out.push((Stage::Now, Output::Halt { fault: Some(format!("agreement stops: {fault}")) }));
}

#[cfg(test)]
mod tests;
