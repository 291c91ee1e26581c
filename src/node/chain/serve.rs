//! What peers are given of the chain: bodies that are agreed on, what was decided, and the state after it.

use super::super::owner::Turn;
use super::Chain;
use crate::ledger::{self, NoPart, Part};
use crate::types::chain::Height;
use crate::wire::agreement::{
    ChainRequest, ChainResponse, DECISIONS, DECISIONS_BYTES, Decision, Message, TRAIL, Vouched,
};
use crate::wire::ledger::Finality;

impl Chain {
    pub(super) fn serve(&self, request: ChainRequest, turn: &Turn<'_>) -> ChainResponse {
        match request {
            ChainRequest::Body { block } => match self.bodies.get(block) {
                Some(body) => ChainResponse::Body {
                    block: body.encode().into(),
                    proposal: self.consensus.proposal_of(block).map(|said| Message::Proposal(*said).encode().into()),
                },
                // It was made true since it was asked for. The decision says more than the body: whoever still lacks
                // that has missed what the others now wait for it to go on from.
                None if self.ledger.head().id == block => self.serve_decisions(self.ledger.head().height, turn),
                None => ChainResponse::Nothing,
            },
            ChainRequest::Decisions { from } => self.serve_decisions(from, turn),
            ChainRequest::Header { height } => match ledger::chain::header(height, &turn.tx) {
                Ok(Some(header)) => ChainResponse::Header(header.encode().into()),
                Ok(None) | Err(_) => ChainResponse::Nothing,
            },
            ChainRequest::Trail { from } => match ledger::query::trail(from, TRAIL, &turn.tx) {
                Ok(Some((headers, more))) => {
                    ChainResponse::Trail { headers: headers.into_iter().map(vouched).collect(), more }
                }
                Ok(None) | Err(_) => ChainResponse::Nothing,
            },
            ChainRequest::Part { height, branch, most } => {
                match ledger::part(height, branch, most as usize, &turn.tx) {
                    Ok(Part::Rows(rows)) => ChainResponse::Rows(rows),
                    Ok(Part::Page(page)) => ChainResponse::Page(page),
                    Err(NoPart::Height { oldest, newest, .. }) => ChainResponse::NotKept { oldest, newest },
                    Err(NoPart::Branch | NoPart::Fault(_)) => ChainResponse::Nothing,
                }
            }
        }
    }

    pub(super) fn serve_decisions(&self, from: Height, turn: &Turn<'_>) -> ChainResponse {
        let newest = self.ledger.head().height;
        if let Some(joined) = ledger::chain::joined(&turn.tx).filter(|joined| from <= *joined)
            && ledger::chain::block_bytes(from, &turn.tx).is_none()
        {
            return ChainResponse::NotKept { oldest: joined.next(), newest };
        }
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

fn vouched(finality: Finality) -> Vouched {
    Vouched {
        header: finality.header.encode().into(),
        validators: finality.validators.to_bytes().into(),
        certificate: finality.certificate,
    }
}
