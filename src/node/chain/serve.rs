//! What peers are given of the chain: bodies that are agreed on, and what was decided.

use bytes::Bytes;

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
