//! Catching up: decided blocks one after the other, without agreeing on them again.
//!
//! Who is one height behind is brought on by agreement itself. Who is further behind gets decisions in one answer;
//! each is checked like any other (its certificate against the validators the block before has seated, its block by
//! executing it), and all of an answer are one step and one flush. The next answer is asked for before this one is
//! executed. Agreement begins anew behind them: nothing was signed here at heights it has never come to.

use bytes::Bytes;

use super::super::chain_io::{ChainOutput, Missed};
use super::super::output::{Event, Output, Stage};
use super::super::owner::Turn;
use super::join::write;
use super::{Chain, Signatures, halt, is_idle};
use crate::consensus::journal::note_begun;
use crate::consensus::{self, Consensus, Phase, Start};
use crate::ledger::{self, NotExecuted};
use crate::types::NodeId;
use crate::types::chain::Height;
use crate::types::storage::Batch;
use crate::wire::agreement::{Certificate, ChainRequest};

impl Chain {
    /// Decisions that were asked for.
    pub(super) fn on_decisions(&mut self, from: NodeId, missed: Vec<Missed>, me: NodeId, turn: &mut Turn<'_>) {
        let Some(last) = missed.last().map(|missed| missed.height()).filter(|_| !self.join.is_fetching()) else {
            return;
        };
        let next = self.ledger.head().height.next();
        if last <= next || missed.first().is_none_or(|first| first.height() > next) {
            // The present height is agreement's own matter.
            for Missed { certificate, block, .. } in missed {
                self.learn(from, certificate, block, me, turn);
            }
            return;
        }
        self.look_ahead(turn);
        // So many alone are more than are to be executed: the state behind them is looked for first.
        if self.join.is_far(missed.len()) {
            return;
        }
        self.ask(from, ChainRequest::Decisions { from: last.next() }, turn);
        for missed in missed {
            if missed.height() == self.ledger.head().height.next() && !self.follow_decided(from, missed, turn) {
                return;
            }
        }
    }

    /// Makes a decided block true; false when this and what follows is of no use.
    fn follow_decided(&mut self, from: NodeId, missed: Missed, turn: &mut Turn<'_>) -> bool {
        let Missed { certificate, block, seals } = missed;
        let (certificate, id) = (certificate.take(), block.id());
        let short = certificate.decides(self.ledger.next_validators()).err();
        if certificate.value != id || short.is_some() {
            let why = short.map_or_else(|| "it is about another block".to_string(), |short| short.to_string());
            self.blamed.push((from, why));
            return false;
        }
        if self.contradicts(certificate.height, id, turn) {
            return false;
        }
        let known = |leaf: &_| self.pool.seal(leaf).or_else(|| seals.get(leaf)).cloned();
        let executed = match self.ledger.execute_with(&block, &known, &turn.tx, &Signatures) {
            Ok(executed) => executed,
            // Two thirds decided it: this node's state or its version is not theirs.
            Err(NotExecuted::Refused(why)) => {
                halt(format_args!("block {id} is decided, and this node finds: {why}"), turn);
                return false;
            }
            Err(NotExecuted::Fault(fault)) => {
                halt(fault, turn);
                return false;
            }
        };
        self.before = self.ledger.next_validators().clone();
        self.counts.block(&executed.block, &executed.records, certificate.round);
        self.stopwatch.applied(&executed.records);
        self.anchors.note(&executed.block);
        let (height, bytes) = (certificate.height, Bytes::from(certificate.encode()));
        if let Err(fault) = self.ledger.apply(executed, bytes, &mut self.pool, &mut turn.tx, &Signatures) {
            halt(fault, turn);
            return false;
        }
        (self.applied, self.decided, self.last) = (Some(height), None, turn.now.mono);
        self.bodies.clear();
        self.announce_roster(self.ledger.next_validators().clone(), turn);
        // One event each a step is enough: the heights they name grow in place.
        turn.out.retain(|(_, output)| !matches!(output, Output::Chain(ChainOutput::Applied { .. })));
        turn.out.push((Stage::Flushed, Output::Chain(ChainOutput::Applied { height })));
        turn.out.push((Stage::Flushed, Output::Event(Event::Block { height })));
        true
    }

    /// Whether agreement is still at a height that was decided without it: until the blocks are on the disk and it
    /// begins anew, it is told nothing, because what it would ask of the ledger is over.
    pub(super) fn is_overtaken(&self) -> bool {
        self.consensus.height() <= self.ledger.head().height && self.consensus.phase() != Phase::Decided
    }

    /// Agreement begins at a height: after its own last one, or anew behind heights that were decided without it.
    pub(super) fn begin_height(&mut self, start: Start, turn: &mut Turn<'_>) -> Vec<consensus::Output> {
        // A height that was decided without it is not over for it, though it is the last one.
        let is_over = self.consensus.phase() == Phase::Decided;
        let follows = is_over && self.consensus.height().next() == start.height;
        let abstained = self.abstains.take().is_some();
        // A height at which it abstained has been decided: it has voted at none after that.
        self.forgot &= !(abstained && follows);
        if !abstained && !self.forgot && follows {
            return self.consensus.handle(consensus::Input::Start(start), turn.now.mono);
        }
        let mut setup = self.voting.clone();
        if self.forgot {
            setup.key = None;
            self.abstains = Some(self.voting.clone());
            let mut batch = Batch::default();
            note_begun(start.height, &mut batch);
            write(batch, turn);
        } else if abstained {
            tracing::warn!(height = %start.height, "this validator votes again");
        }
        let last = ledger::chain::certificate(self.ledger.head().height, &turn.tx);
        let last = last.and_then(|bytes| Certificate::decode(&bytes).ok());
        let (consensus, out) = Consensus::open(setup, start, &[], last, turn.now.mono);
        self.consensus = consensus;
        out
    }

    /// What the height after `height` begins with.
    pub(super) fn start_after(&self, height: Height) -> Start {
        Start {
            height: height.next(),
            validators: self.ledger.next_validators().clone(),
            not_before: self.consensus.began() + self.cadence,
            idle: is_idle(&self.pool),
        }
    }
}
