//! Agreement and the ledger, joined: what one wants the other gives. The only place that knows both.
//!
//! ```text
//!   Heard, Body, Decisions ─▶ consensus ─ WantBlock, Check ─▶ ledger: propose, execute
//!                                 └────── Decided ─────────▶ ledger: apply ─▶ flush ─▶ Applied ─▶ the next height
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::bodies::Bodies;
use super::call::{Answer, CallRefusal};
use super::chain_io::{ChainInput, ChainOutput, Channel};
use super::output::{Output, Stage, Verdict};
use super::owner::{Node, Turn};
use crate::consensus::{self, Consensus, Phase, Record, Start, Timeouts};
use crate::ledger::{self, Agreement as Signatures, Genesis, Ledger, Mempool, NotExecuted, NotTaken};
use crate::types::chain::{BlockId, ChainId, Height, TransactionId, Validator, ValidatorSet};
use crate::types::{Hash, Mono, NodeId, limits};
use crate::wire::agreement::{
    Certificate, ChainRequest, ChainResponse, DECISIONS, DECISIONS_BYTES, Decision, Genuine, Message, Roster, Saying,
};
use crate::wire::ledger::{Block, Sealed};
use crate::wire::{Request, Response};

/// Decisions kept until their turn comes, heights.
const AHEAD: u64 = DECISIONS as u64;
/// One peer after the other is asked so often whether it has decisions that are missing here: where nothing goes on,
/// nobody speaks of them.
const POLL: Duration = Duration::from_secs(2);
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
    /// From a decision to the next height, at least.
    pub cadence: Duration,
    /// What agreement's log holds of the height after the last applied one.
    pub log: Vec<Record>,
}

/// The chain of a node.
pub(super) struct Chain {
    consensus: Consensus,
    ledger: Ledger,
    pool: Mempool,
    cadence: Duration,
    validates: bool,
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
    /// Requests under way, by number, and what they ask for.
    asked: BTreeMap<u64, ChainRequest>,
    next_request: u64,
    /// Numbers what is said, from anywhere on, so that gossip takes no word for one it has carried.
    again: u16,
    /// The validators of the height before.
    before: Arc<ValidatorSet>,
    /// When a peer is asked next whether it has more.
    poll: Mono,
    polled: usize,
    evidence: u64,
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
    /// The validators of the height.
    pub validators: Vec<Validator>,
    /// Sealed groups that wait for a block.
    pub waiting: u64,
    /// Contradictions of validators seen since the start.
    pub evidence: u64,
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
        let agreement = consensus::Setup {
            chain: ledger.head().chain,
            me,
            key: setup.validates.then(|| key.clone()),
            timeouts: setup.timeouts,
        };
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
            pool,
            cadence: setup.cadence,
            validates: setup.validates,
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
            evidence: 0,
        };
        chain.announce_roster(turn);
        chain.follow(out, me, turn);
        Ok(chain)
    }

    /// Where the chain stands.
    pub fn head(&self) -> (Height, Hash) {
        (self.ledger.head().height, self.ledger.head().state_root)
    }

    pub fn next_wake(&self) -> Mono {
        self.consensus.next_wake().map_or(self.poll, |wake| wake.min(self.poll))
    }

    pub fn status(&self) -> AgreementStatus {
        let phase = match self.consensus.phase() {
            Phase::Waiting { .. } => "waiting",
            Phase::Running => "running",
            Phase::Decided => "decided",
            Phase::Halted => "halted",
        };
        AgreementStatus {
            chain: self.ledger.head().chain,
            height: self.consensus.height(),
            round: self.consensus.round(),
            phase,
            votes: self.validates,
            validators: self.ledger.next_validators().iter().copied().collect(),
            waiting: self.pool.size().0 as u64,
            evidence: self.evidence,
        }
    }

    fn announce_roster(&self, turn: &mut Turn<'_>) {
        let validators = self.ledger.next_validators().clone();
        // Sets change with a decided block, and a message of the next height by a validator who is new there is said
        // again; so the present set stands for the next one until then.
        let (height, next) = (self.ledger.head().height.next(), validators.clone());
        let roster =
            Roster { chain: self.ledger.head().chain, height, current: validators, next, before: self.before.clone() };
        turn.out.push((Stage::Now, Output::Chain(ChainOutput::Roster(Arc::new(roster)))));
    }

    /// Does what agreement wants, and what it wants of that, to the end.
    fn follow(&mut self, out: Vec<consensus::Output>, me: NodeId, turn: &mut Turn<'_>) {
        let mut wants: VecDeque<consensus::Output> = out.into();
        while let Some(want) = wants.pop_front() {
            if let Some(input) = self.satisfy(want, me, turn) {
                wants.extend(self.consensus.handle(input, turn.now.mono));
            }
        }
    }

    /// Does one thing agreement wants; what it learns from it at once.
    fn satisfy(&mut self, want: consensus::Output, me: NodeId, turn: &mut Turn<'_>) -> Option<consensus::Input> {
        match want {
            consensus::Output::Log { height, record } => turn.log.push((height, record)),
            consensus::Output::Say { message } => self.say(message, turn),
            consensus::Output::WantBlock { height, round, made } => return self.build(height, round, made, me, turn),
            consensus::Output::WantBody { block, from } => {
                if self.bodies.get(block).is_some() {
                    return Some(consensus::Input::Body { block });
                }
                self.ask(from, ChainRequest::Body { block }, turn);
            }
            consensus::Output::WantDecision { height, from } => {
                self.ask(from, ChainRequest::Decisions { from: height }, turn);
            }
            consensus::Output::Check { block, .. } => return self.check(block, turn),
            consensus::Output::Decided { certificate } => {
                self.last = turn.now.mono;
                self.decided = Some(certificate);
                self.apply(turn);
            }
            consensus::Output::Evidence(evidence) => {
                self.evidence += 1;
                tracing::warn!(validator = %evidence.culprit(), height = %evidence.height(), "a validator said two things");
                let piece = Bytes::from(evidence.encode());
                if let Err(fault) = self.ledger.accuse(piece, &mut self.pool, &mut turn.tx, &Signatures) {
                    halt(fault, turn);
                }
            }
            consensus::Output::Refused { from, why } => {
                tracing::debug!(peer = %from, %why, "a proof that proves nothing")
            }
            consensus::Output::Halt { fault } => halt(fault, turn),
        }
        None
    }

    fn say(&mut self, message: Message, turn: &mut Turn<'_>) {
        self.again = self.again.wrapping_add(1);
        let bytes = Bytes::from(Saying { again: self.again, message }.encode());
        turn.out.push((Stage::Logged, Output::Chain(ChainOutput::Say { channel: Channel::Agreement, bytes })));
    }

    fn ask(&mut self, from: NodeId, request: ChainRequest, turn: &mut Turn<'_>) {
        self.next_request += 1;
        self.asked.insert(self.next_request, request);
        turn.want(Output::Request { to: from, id: self.next_request, request: Request::Chain(request) });
    }

    fn build(
        &mut self,
        height: Height,
        round: u32,
        made: Option<BlockId>,
        me: NodeId,
        turn: &mut Turn<'_>,
    ) -> Option<consensus::Input> {
        if let Some(block) = made.filter(|block| self.bodies.is_executed(*block)) {
            return Some(consensus::Input::Built { height, round, block });
        }
        match self.ledger.propose(&self.pool, &turn.tx, round, turn.now.wall, me, &Signatures) {
            Ok(executed) => {
                let block = executed.id;
                self.bodies.keep_executed(executed);
                Some(consensus::Input::Built { height, round, block })
            }
            Err(fault) => {
                halt(fault, turn);
                None
            }
        }
    }

    fn check(&mut self, block: BlockId, turn: &mut Turn<'_>) -> Option<consensus::Input> {
        // What is decided already is executed whenever it was made; what is to be voted for is of now.
        let timely = match self.bodies.get(block) {
            Some(body) => Ledger::timely(body.header(), turn.now.wall),
            None => Ok(()),
        };
        if let Err(why) = &timely {
            tracing::warn!(%block, %why, "a proposed block is not of now");
        }
        let valid = timely.is_ok() && self.execute(block, turn)?;
        Some(consensus::Input::Checked { block, valid })
    }

    /// Executes a block whose body is here; none when it is not, or the ledger cannot go on.
    fn execute(&mut self, id: BlockId, turn: &mut Turn<'_>) -> Option<bool> {
        if self.bodies.is_executed(id) {
            return Some(true);
        }
        let block = self.bodies.get(id)?;
        match self.ledger.execute(block, &self.pool, &turn.tx, &Signatures) {
            Ok(executed) => {
                self.bodies.keep_executed(executed);
                Some(true)
            }
            Err(NotExecuted::Refused(why)) => {
                tracing::warn!(block = %id, %why, "a proposed block is not valid");
                Some(false)
            }
            Err(NotExecuted::Fault(fault)) => {
                halt(fault, turn);
                None
            }
        }
    }

    /// Makes the decided block true, once its body is here.
    fn apply(&mut self, turn: &mut Turn<'_>) {
        let Some(certificate) = self.decided.take() else { return };
        let id = certificate.value;
        if self.execute(id, turn) != Some(true) {
            // After a crash the log knows what was decided, and the body has to come again.
            self.decided = Some(certificate);
            return;
        }
        let Some(executed) = self.bodies.take(id) else { return };
        let (height, bytes) = (certificate.height, Bytes::from(certificate.encode()));
        self.before = self.ledger.next_validators().clone();
        match self.ledger.apply(executed, bytes, &mut self.pool, &mut turn.tx, &Signatures) {
            Ok(()) => {
                tracing::info!(%height, round = certificate.round, block = %id, "block final");
                self.applied = Some(height);
                self.bodies.clear();
                turn.out.push((Stage::Flushed, Output::Chain(ChainOutput::Applied { height })));
            }
            Err(fault) => halt(fault, turn),
        }
    }

    /// The next height, when everything before it is on the disk.
    fn next(&mut self, height: Height, me: NodeId, turn: &mut Turn<'_>) {
        if self.applied != Some(height) {
            return;
        }
        self.applied = None;
        self.announce_roster(turn);
        let start = Start {
            height: height.next(),
            validators: self.ledger.next_validators().clone(),
            not_before: self.last + self.cadence,
            idle: is_idle(&self.pool),
        };
        let out = self.consensus.handle(consensus::Input::Start(start), turn.now.mono);
        self.follow(out, me, turn);
        self.ahead = self.ahead.split_off(&height.next());
        if let Some((from, certificate, block)) = self.ahead.remove(&height.next()) {
            self.learn(from, certificate, block, me, turn);
        }
    }

    /// A decision from elsewhere: of this height it is used, of a later one it waits.
    fn learn(
        &mut self,
        from: NodeId,
        certificate: Genuine<Certificate>,
        block: Block,
        me: NodeId,
        turn: &mut Turn<'_>,
    ) {
        let (height, id) = (certificate.get().height, block.id());
        if height > self.consensus.height() {
            // Whether its voters are validators is seen at its height; until then it takes nobody else's place.
            if height.0 - self.consensus.height().0 <= AHEAD {
                self.ahead.entry(height).or_insert((from, certificate, block));
            }
            return;
        }
        if height < self.consensus.height() || certificate.get().value != id {
            return;
        }
        self.bodies.keep(block);
        self.tell(consensus::Input::Heard { from, message: certificate.into_message() }, me, turn);
        self.tell(consensus::Input::Body { block: id }, me, turn);
        self.apply(turn);
    }

    fn tell(&mut self, input: consensus::Input, me: NodeId, turn: &mut Turn<'_>) {
        let out = self.consensus.handle(input, turn.now.mono);
        self.follow(out, me, turn);
    }

    fn take(&mut self, sealed: Sealed, me: NodeId, turn: &mut Turn<'_>) -> Result<Vec<TransactionId>, NotTaken> {
        let ids = self.ledger.submit_checked(sealed, &mut self.pool, &mut turn.tx)?;
        self.tell(consensus::Input::Work, me, turn);
        Ok(ids)
    }

    fn serve(&self, request: ChainRequest, turn: &Turn<'_>) -> ChainResponse {
        match request {
            ChainRequest::Body { block } => match self.bodies.get(block) {
                Some(body) => ChainResponse::Body {
                    block: body.encode().into(),
                    proposal: self.consensus.proposal_of(block).map(|said| Message::Proposal(*said).encode().into()),
                },
                None => ChainResponse::Nothing,
            },
            ChainRequest::Decisions { from } => self.serve_decisions(from, turn),
        }
    }

    fn serve_decisions(&self, from: Height, turn: &Turn<'_>) -> ChainResponse {
        let (mut decisions, mut bytes, mut height) = (Vec::new(), 0, from);
        while decisions.len() < DECISIONS && bytes < DECISIONS_BYTES && height <= self.ledger.head().height {
            let block = ledger::chain::block(height, &turn.tx).ok().flatten();
            let (Some(certificate), Some(block)) = (ledger::chain::certificate(height, &turn.tx), block) else { break };
            let block = Bytes::from(block.encode());
            bytes += block.len();
            decisions.push(Decision { certificate, block });
            height = height.next();
        }
        ChainResponse::Decisions(decisions)
    }
}

/// Whether there is nothing to put into a block.
fn is_idle(pool: &Mempool) -> bool {
    pool.size().0 == 0 && pool.evidence().next().is_none()
}

fn halt(fault: impl std::fmt::Display, turn: &mut Turn<'_>) {
    turn.out.push((Stage::Now, Output::Halt { fault: Some(format!("agreement stops: {fault}")) }));
}

impl Node {
    /// Takes the chain out for one use: its parts and the node's are then apart.
    fn with_chain<T>(
        &mut self,
        turn: &mut Turn<'_>,
        use_it: impl FnOnce(&mut Chain, NodeId, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let mut chain = self.chain.take()?;
        let used = use_it(&mut chain, self.id, turn);
        self.chain = Some(chain);
        Some(used)
    }

    pub(super) fn on_chain(&mut self, input: ChainInput, turn: &mut Turn<'_>) {
        self.with_chain(turn, |chain, me, turn| match input {
            ChainInput::Heard { from, ticket, message } => {
                turn.want(Output::Verdict { ticket, verdict: Verdict::Accept });
                chain.tell(consensus::Input::Heard { from, message }, me, turn);
            }
            ChainInput::Transactions { ticket, sealed, .. } => {
                let taken = chain.take(*sealed, me, turn).is_ok();
                let verdict = if taken { Verdict::Accept } else { Verdict::Ignore };
                turn.want(Output::Verdict { ticket, verdict });
            }
            ChainInput::Body { from, id, block, proposal } => {
                let block_id = block.id();
                if chain.asked.remove(&id) == Some(ChainRequest::Body { block: block_id }) {
                    chain.bodies.keep(*block);
                    if let Some(message) = proposal {
                        chain.tell(consensus::Input::Heard { from, message }, me, turn);
                    }
                    chain.tell(consensus::Input::Body { block: block_id }, me, turn);
                }
            }
            ChainInput::Decisions { from, id, decisions } => {
                if chain.asked.remove(&id).is_some() {
                    for (certificate, block) in decisions {
                        chain.learn(from, certificate, block, me, turn);
                    }
                }
            }
            ChainInput::Applied { height } => chain.next(height, me, turn),
        });
    }

    /// Time has passed for the chain.
    pub(super) fn tick_chain(&mut self, turn: &mut Turn<'_>) {
        let peers: Vec<NodeId> = self.peers.connected().collect();
        self.with_chain(turn, |chain, me, turn| {
            if chain.consensus.next_wake().is_some_and(|due| due <= turn.now.mono) {
                chain.tell(consensus::Input::Tick, me, turn);
            }
            if chain.poll <= turn.now.mono {
                chain.poll = turn.now.mono + POLL;
                chain.polled = chain.polled.wrapping_add(1);
                if let Some(peer) = peers.get(chain.polled % peers.len().max(1)) {
                    let from = chain.consensus.height();
                    chain.ask(*peer, ChainRequest::Decisions { from }, turn);
                }
            }
        });
    }

    pub(super) fn serve_chain(&self, request: ChainRequest, turn: &Turn<'_>) -> Response {
        Response::Chain(self.chain.as_ref().map_or(ChainResponse::Nothing, |chain| chain.serve(request, turn)))
    }

    /// What was asked for will not come; agreement asks another by itself.
    pub(super) fn on_chain_failed(&mut self, id: u64) {
        if let Some(chain) = &mut self.chain {
            chain.asked.remove(&id);
        }
    }

    /// A peer may have decisions that are missing here: asked when it comes, and when it speaks of a later height.
    pub(super) fn ask_decisions(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        self.with_chain(turn, |chain, _, turn| {
            if chain.asked.len() < limits::RANGES_IN_FLIGHT {
                let from = chain.consensus.height();
                chain.ask(peer, ChainRequest::Decisions { from }, turn);
            }
        });
    }

    /// Transactions of a client of this node.
    pub(super) fn on_submit(&mut self, id: u64, sealed: Sealed, turn: &mut Turn<'_>) {
        let bytes = sealed.bytes().clone();
        let taken = self.with_chain(turn, |chain, me, turn| chain.take(sealed, me, turn));
        let answer = match taken {
            Some(Ok(ids)) => {
                turn.want(Output::Chain(ChainOutput::Say { channel: Channel::Transactions, bytes }));
                Ok(Answer::Submitted { ids })
            }
            Some(Err(why)) => Err(CallRefusal::NotTaken(why.to_string())),
            None => Err(CallRefusal::NoChain),
        };
        turn.want(Output::Reply { id, answer });
    }
}
