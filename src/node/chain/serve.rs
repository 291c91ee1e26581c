//! What peers are given of the chain: bodies that are agreed on, and what was decided.

use super::super::owner::Turn;
use super::Chain;
use crate::ledger;
use crate::types::chain::Height;
use crate::wire::agreement::{ChainRequest, ChainResponse, DECISIONS, DECISIONS_BYTES, Decision, Message};

impl Chain {
    pub(super) fn serve(&self, request: ChainRequest, turn: &Turn<'_>) -> ChainResponse {
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

    pub(super) fn serve_decisions(&self, from: Height, turn: &Turn<'_>) -> ChainResponse {
        let (mut decisions, mut bytes, mut height) = (Vec::new(), 0, from);
        // As they are in the store: these are the bytes that are asked for.
        while decisions.len() < DECISIONS
            && let Some(certificate) = ledger::chain::certificate(height, &turn.tx)
            && let Some(block) = ledger::chain::block_bytes(height, &turn.tx)
        {
            bytes += certificate.len() + block.len();
            if bytes > DECISIONS_BYTES && !decisions.is_empty() {
                break;
            }
            decisions.push(Decision { certificate, block });
            height = height.next();
        }
        ChainResponse::Decisions(decisions)
    }
}
