//! What agreement wants is done: words, bodies, blocks to build and to check.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::super::chain_io::{ChainOutput, Channel};
use super::super::output::{Output, Stage};
use super::super::owner::Turn;
use super::{BODIES_OF_PEER, Chain, LOOK_AGAIN, Signatures, halt};
use crate::consensus::{self, Record};
use crate::ledger::{Ledger, Maker};
use crate::types::chain::{BlockId, Height, ValidatorSet};
use crate::types::{NodeId, limits};
use crate::wire::Request;
use crate::wire::agreement::{ChainRequest, Message, Roster, Saying};

impl Chain {
    /// Who may speak of the height that is agreed on, and of the next: others may be there before this node is.
    pub(super) fn announce_roster(&self, next: Arc<ValidatorSet>, turn: &mut Turn<'_>) {
        let (height, current) = (self.ledger.head().height.next(), self.ledger.next_validators().clone());
        let roster = Roster { chain: self.ledger.head().chain, height, current, next, before: self.before.clone() };
        turn.out.push((Stage::Now, Output::Chain(ChainOutput::Roster(Arc::new(roster)))));
    }

    /// Does what agreement wants, and what it wants of that, to the end.
    pub(super) fn follow(&mut self, out: Vec<consensus::Output>, me: NodeId, turn: &mut Turn<'_>) {
        let mut wants: VecDeque<consensus::Output> = out.into();
        while let Some(want) = wants.pop_front() {
            if let Some(input) = self.satisfy(want, me, turn) {
                wants.extend(self.consensus.handle(input, turn.now.mono));
            }
        }
    }

    /// Does one thing agreement wants; what it learns from it at once.
    pub(super) fn satisfy(
        &mut self,
        want: consensus::Output,
        me: NodeId,
        turn: &mut Turn<'_>,
    ) -> Option<consensus::Input> {
        match want {
            // Who only follows has no log. Who abstains says nothing that rests on one, and must not look later as if it
            // had had one.
            consensus::Output::Log { .. } | consensus::Output::Keep { .. }
                if self.abstains.is_some() || !self.validates => {}
            consensus::Output::Log { height, record } => turn.log.push((height, record)),
            consensus::Output::Keep { height, block } => {
                if let Some(body) = self.bodies.get(block) {
                    turn.log.push((height, Record::Body { block, bytes: body.encode().into() }));
                }
            }
            consensus::Output::Say { message } => self.say(message, turn),
            consensus::Output::WantBlock { height, round, made } => return self.build(height, round, made, me, turn),
            consensus::Output::WantBody { block, from } => {
                if self.bodies.get(block).is_some() {
                    return Some(consensus::Input::Body { block });
                }
                self.ask_body(from, block, turn);
            }
            consensus::Output::WantDecision { from, .. } => self.ask_decisions(from, turn),
            consensus::Output::Check { block, quorum, .. } => return self.check(block, quorum, turn),
            consensus::Output::Decided { certificate } => {
                self.last = turn.now.mono;
                self.decided = Some(certificate);
                self.apply(turn);
            }
            consensus::Output::Evidence(evidence) => {
                self.counts.evidence += 1;
                tracing::warn!(validator = %evidence.culprit(), height = %evidence.height(), "a validator said two things");
                let piece = Bytes::from(evidence.encode());
                match self.ledger.accuse(piece, &mut self.pool, &mut turn.tx, &Signatures) {
                    Ok(Ok(kept)) => self.counts.evidence_dropped += u64::from(!kept),
                    Ok(Err(why)) => tracing::info!(%why, "nobody can be punished for it"),
                    Err(fault) => halt(fault, turn),
                }
            }
            consensus::Output::Refused { from, why } => self.blamed.push((from, why.to_string())),
            consensus::Output::Halt { fault } => halt(fault, turn),
        }
        None
    }

    pub(super) fn say(&mut self, message: Message, turn: &mut Turn<'_>) {
        self.again = self.again.wrapping_add(1);
        let bytes = Bytes::from(Saying { again: self.again, message }.encode());
        turn.out.push((Stage::Logged, Output::Chain(ChainOutput::Say { channel: Channel::Agreement, bytes })));
    }

    /// Asks for decisions from the first height on that is missing: of one peer once at a time, however often it speaks
    /// of later heights.
    pub(super) fn ask_decisions(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        let under_way = self.asked.values().filter(|(_, request)| matches!(request, ChainRequest::Decisions { .. }));
        let of: Vec<NodeId> = under_way.map(|(of, _)| *of).collect();
        if of.len() >= limits::RANGES_IN_FLIGHT || of.contains(&peer) || self.join.is_fetching() {
            return;
        }
        let mut from = self.ledger.head().height.next();
        while self.ahead.contains_key(&from) {
            from = from.next();
        }
        self.ask(peer, ChainRequest::Decisions { from }, turn);
    }

    /// Asks for a body, unless that is under way, or the peer owes many: who speaks of blocks need not have any.
    pub(super) fn ask_body(&mut self, peer: NodeId, block: BlockId, turn: &mut Turn<'_>) {
        let request = ChainRequest::Body { block };
        let of_peer =
            self.asked.values().filter(|(of, request)| *of == peer && matches!(request, ChainRequest::Body { .. }));
        if of_peer.count() < BODIES_OF_PEER && !self.asked.values().any(|asked| *asked == (peer, request)) {
            self.ask(peer, request, turn);
        }
    }

    /// Asks a peer, under the number that is returned.
    pub(super) fn ask(&mut self, from: NodeId, request: ChainRequest, turn: &mut Turn<'_>) -> u64 {
        self.next_request += 1;
        self.asked.insert(self.next_request, (from, request));
        turn.want(Output::Request { to: from, id: self.next_request, request: Request::Chain(request) });
        self.next_request
    }

    pub(super) fn build(
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
        let maker = Maker { proposer: me, round, time_ms: turn.now.wall, anchors: self.anchors.next(&turn.tx) };
        match self.ledger.propose_by(maker, &self.pool, &turn.tx, &Signatures) {
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

    /// What is to be voted for is of now. What is from the future is put off, and never called invalid for it: whoever
    /// serves the body chooses when it comes, and could so split those who judge. What two thirds voted for has been of
    /// now for some who are honest.
    pub(super) fn check(&mut self, block: BlockId, quorum: bool, turn: &mut Turn<'_>) -> Option<consensus::Input> {
        let Some(body) = self.bodies.get(block) else { return Some(consensus::Input::Lost { block }) };
        if !quorum && let Err(ahead) = Ledger::timely(body.header(), turn.now.wall) {
            tracing::warn!(%block, ?ahead, "a proposed block is not of now; it is looked at again when its time has come");
            self.bodies.put_off(block, turn.now.mono + ahead.min(LOOK_AGAIN));
            return None;
        }
        self.bodies.judged(block);
        let valid = self.execute(block, turn)?;
        Some(consensus::Input::Checked { block, valid })
    }

    /// Looks again at what was put off, if its time has come.
    pub(super) fn check_again(&mut self, me: NodeId, turn: &mut Turn<'_>) {
        while let Some(block) = self.bodies.take_due(turn.now.mono)
            && let Some(input) = self.check(block, false, turn)
        {
            self.tell(input, me, turn);
        }
    }

    pub(super) fn tell(&mut self, input: consensus::Input, me: NodeId, turn: &mut Turn<'_>) {
        if self.is_overtaken() || self.join.is_swapping() {
            return;
        }
        let out = self.consensus.handle(input, turn.now.mono);
        self.follow(out, me, turn);
    }
}
