//! The node's doors to its chain: what comes for it, time, and calls of clients.

use super::super::call::{Answer, CallRefusal};
use super::super::chain_io::ChainInput;
use super::super::output::{Output, Verdict};
use super::super::owner::{Node, Turn};
use super::{Chain, POLL, is_idle};
use crate::consensus;
use crate::ledger::{NotPooled, NotTaken};
use crate::types::NodeId;
use crate::types::chain::TransactionId;
use crate::wire::agreement::{ChainRequest, ChainResponse};
use crate::wire::ledger::Sealed;
use crate::wire::{Refusal, Response};

impl Chain {
    fn take(&mut self, sealed: Sealed, turn: &mut Turn<'_>) -> Result<Vec<TransactionId>, NotTaken> {
        if self.join.is_fetching() {
            return Err(NotTaken::Joining);
        }
        let taken = self.ledger.submit_checked(sealed, &mut self.pool, &mut turn.tx);
        let ids = taken.inspect_err(|why| *self.counts.refused.entry(why.code()).or_default() += 1)?;
        // What waits behind a gap is nothing to agree on.
        self.works |= !is_idle(&self.pool);
        Ok(ids)
    }
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
        let blamed = std::mem::take(&mut chain.blamed);
        self.chain = Some(chain);
        for (from, reason) in blamed {
            self.on_refused(from, &Refusal::Agreement { reason }, turn);
        }
        Some(used)
    }

    pub(in crate::node) fn on_chain(&mut self, input: ChainInput, turn: &mut Turn<'_>) {
        self.with_chain(turn, |chain, me, turn| match input {
            ChainInput::Heard { from, ticket, message } => {
                turn.want(Output::Verdict { ticket, verdict: Verdict::Accept });
                chain.tell(consensus::Input::Heard { from, message }, me, turn);
            }
            ChainInput::Transactions { ticket, seals, .. } => {
                let mut taken = false;
                for sealed in seals {
                    taken |= chain.take(sealed, turn).is_ok();
                }
                let verdict = if taken { Verdict::Accept } else { Verdict::Ignore };
                turn.want(Output::Verdict { ticket, verdict });
            }
            ChainInput::Body { from, id, block, proposal } => {
                let block_id = block.id();
                let asked = chain.asked.remove(&id).map(|(_, request)| request);
                if asked == Some(ChainRequest::Body { block: block_id }) {
                    chain.bodies.keep(*block);
                    if let Some(message) = proposal {
                        chain.tell(consensus::Input::Heard { from, message }, me, turn);
                    }
                    chain.tell(consensus::Input::Body { block: block_id }, me, turn);
                    chain.apply(turn);
                }
            }
            ChainInput::Decisions { from, id, decisions } => {
                if chain.asked.remove(&id).is_some() {
                    chain.on_decisions(from, decisions, me, turn);
                }
            }
            ChainInput::Header { from, id, header } => {
                if chain.asked.remove(&id).is_some() {
                    chain.on_header(from, id, &header);
                }
            }
            ChainInput::Trail { from, id, headers, more } => {
                if chain.asked.remove(&id).is_some() {
                    chain.on_trail(from, id, &headers, more, turn);
                }
            }
            ChainInput::Part { from, id, part } => {
                if chain.asked.remove(&id).is_some() {
                    chain.on_part(from, id, &part, turn);
                }
            }
            ChainInput::NotKept { id } => {
                let asked = chain.asked.remove(&id).map(|(_, request)| request);
                chain.on_not_joined(id, true);
                if matches!(asked, Some(ChainRequest::Decisions { .. })) {
                    chain.look_ahead(turn);
                }
            }
            ChainInput::Applied { height } => chain.next(height, me, turn),
        });
    }

    /// Time has passed for the chain.
    pub(in crate::node) fn tick_chain(&mut self, turn: &mut Turn<'_>) {
        let peers: Vec<NodeId> = self.peers.connected().collect();
        self.with_chain(turn, |chain, me, turn| {
            chain.tick_join(&peers, turn);
            if chain.join.is_swapping() {
                return;
            }
            // All that came in a step is there when a block is made of it.
            if std::mem::take(&mut chain.works) {
                chain.tell(consensus::Input::Work, me, turn);
            }
            if chain.agreement_wake().is_some_and(|due| due <= turn.now.mono) {
                chain.tell(consensus::Input::Tick, me, turn);
            }
            if chain.heartbeat_due().is_some_and(|due| due <= turn.now.mono) {
                chain.tell(consensus::Input::Work, me, turn);
            }
            chain.say_fresh(turn);
            chain.check_again(me, turn);
            if chain.poll <= turn.now.mono {
                chain.say_again(turn);
                chain.join.rested();
                chain.poll = turn.now.mono + POLL;
                chain.polled = chain.polled.wrapping_add(1);
                if let Some(peer) = peers.get(chain.polled % peers.len().max(1)) {
                    chain.ask_decisions(*peer, turn);
                    if let Some(block) = chain.decided.as_ref().map(|certificate| certificate.value) {
                        chain.ask_body(*peer, block, turn);
                    }
                }
            }
        });
    }

    pub(in crate::node) fn serve_chain(&self, request: ChainRequest, turn: &Turn<'_>) -> Response {
        Response::Chain(self.chain.as_ref().map_or(ChainResponse::Nothing, |chain| chain.serve(request, turn)))
    }

    /// What was asked for will not come; agreement asks another by itself. Who has a body no more may have gone on.
    pub(in crate::node) fn on_chain_failed(&mut self, id: u64, turn: &mut Turn<'_>) {
        self.with_chain(turn, |chain, _, turn| {
            let asked = chain.asked.remove(&id);
            chain.on_not_joined(id, false);
            if let Some((peer, ChainRequest::Body { .. })) = asked {
                chain.ask_decisions(peer, turn);
            }
        });
    }

    /// A peer may have decisions that are missing here: asked when it comes, and when it speaks of a later height.
    pub(in crate::node) fn ask_decisions(&mut self, peer: NodeId, turn: &mut Turn<'_>) {
        self.with_chain(turn, |chain, _, turn| chain.ask_decisions(peer, turn));
    }

    /// A question about the chain was answered with something else.
    pub(in crate::node) fn on_misanswered(&mut self, from: NodeId, id: u64, turn: &mut Turn<'_>) {
        self.on_chain_failed(id, turn);
        self.on_refused(from, &Refusal::Unasked { reason: "something else than what was asked about the chain" }, turn);
    }

    /// Transactions of a client of this node.
    pub(in crate::node) fn on_submit(&mut self, id: u64, sealed: Sealed, turn: &mut Turn<'_>) {
        let taken = self.with_chain(turn, |chain, _, turn| {
            let (said, ids) = (sealed.clone(), sealed.ids().to_vec());
            match chain.take(sealed, turn) {
                Ok(_) => {
                    chain.stopwatch.start(&ids, turn.now.mono);
                    chain.gossip.add(&said);
                }
                Err(NotTaken::Pool(NotPooled::Known)) => chain.gossip.repeat(&said),
                Err(why) => return Err(why),
            }
            Ok(ids)
        });
        let answer = match taken {
            Some(Ok(ids)) => Ok(Answer::Submitted { ids }),
            Some(Err(why)) => Err(CallRefusal::NotTaken(why)),
            None => Err(CallRefusal::NoChain),
        };
        turn.want(Output::Reply { id, answer });
    }
}
