//! The door of the chain: what bytes from outside become, before the node's owner hears of them. Whoever runs a node
//! asks here, on whatever thread signatures are checked.

use bytes::Bytes;

use super::agreement::AgreementStatus;
use super::chain_io::ChainInput;
use super::owner::Node;
use crate::types::NodeId;
use crate::wire::Refusal;
use crate::wire::agreement::{Certificate, ChainResponse, Decision, Genuine, Message, Roster};
use crate::wire::ledger::{Block, Sealed};

impl ChainInput {
    /// A word of agreement: looked at in the order of costs, by the roster.
    pub fn heard(from: NodeId, ticket: u64, bytes: &[u8], roster: &Roster) -> Result<ChainInput, Refusal> {
        Ok(ChainInput::Heard { from, ticket, message: roster.admit_bytes(bytes)? })
    }

    /// Sealed transactions of this chain.
    pub fn transactions(from: NodeId, ticket: u64, bytes: Bytes, roster: &Roster) -> Result<ChainInput, Refusal> {
        let sealed = Sealed::check(bytes, roster.chain).map_err(refused)?;
        Ok(ChainInput::Transactions { from, ticket, sealed: Box::new(sealed) })
    }

    /// The answer to what was asked under `id`; none when the peer has nothing.
    pub fn answer(
        from: NodeId,
        id: u64,
        response: ChainResponse,
        roster: &Roster,
    ) -> Result<Option<ChainInput>, Refusal> {
        match response {
            ChainResponse::Nothing => Ok(None),
            ChainResponse::Body { block, proposal } => body(from, id, block, proposal, roster).map(Some),
            ChainResponse::Decisions(list) => decisions(from, id, list, roster).map(Some),
        }
    }
}

fn body(from: NodeId, id: u64, block: Bytes, proposal: Option<Bytes>, roster: &Roster) -> Result<ChainInput, Refusal> {
    let block = Box::new(Block::decode(block).map_err(refused)?);
    // The proposal may be of a height that is over by now; the body is good all the same.
    let proposal = proposal.and_then(|bytes| roster.admit(Message::decode(&bytes).ok()?).ok());
    Ok(ChainInput::Body { from, id, block, proposal })
}

fn decisions(from: NodeId, id: u64, list: Vec<Decision>, roster: &Roster) -> Result<ChainInput, Refusal> {
    let decisions = list.into_iter().map(|Decision { certificate, block }| {
        let certificate = Genuine::check(Certificate::decode(&certificate)?, roster.chain)?;
        Ok((certificate, Block::decode(block).map_err(refused)?))
    });
    Ok(ChainInput::Decisions { from, id, decisions: decisions.collect::<Result<_, Refusal>>()? })
}

fn refused(why: impl std::fmt::Display) -> Refusal {
    Refusal::Agreement { reason: why.to_string() }
}

impl Node {
    /// How agreement stands; none without a chain.
    pub fn agreement(&self) -> Option<AgreementStatus> {
        self.chain.as_ref().map(|chain| chain.status())
    }
}
