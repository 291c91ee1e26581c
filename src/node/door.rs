//! The door of the chain: what bytes from outside become, before the node's owner hears of them. Whoever runs a node
//! asks here, on whatever thread signatures are checked.

use std::sync::Arc;

use bytes::Bytes;

use super::chain::AgreementStatus;
use super::chain_io::{ChainInput, Missed};
use super::owner::Node;
use crate::ledger::Part;
use crate::types::NodeId;
use crate::types::chain::ValidatorSet;
use crate::wire::Refusal;
use crate::wire::agreement::{Certificate, ChainResponse, DECISIONS, Decision, Message, Roster, Vouched};
use crate::wire::ledger::{Block, BlockHeader, CERTIFICATE_BYTES, Finality, Pack, Sealed};

impl ChainInput {
    /// A word of agreement: looked at in the order of costs, by the roster.
    pub fn heard(from: NodeId, ticket: u64, bytes: &[u8], roster: &Roster) -> Result<ChainInput, Refusal> {
        Ok(ChainInput::Heard { from, ticket, message: roster.admit_bytes(bytes)? })
    }

    /// A pack of sealed transactions of this chain. One bad seal spoils it: nobody honest forwards it.
    pub fn transactions(from: NodeId, ticket: u64, bytes: Bytes, roster: &Roster) -> Result<ChainInput, Refusal> {
        let check = |bytes| Sealed::check(bytes, roster.chain).map_err(refused);
        let seals = Pack::decode(bytes).map_err(refused)?.seals.into_iter().map(check);
        Ok(ChainInput::Transactions { from, ticket, seals: seals.collect::<Result<_, Refusal>>()? })
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
            ChainResponse::Header(bytes) => {
                let header = Box::new(BlockHeader::decode(&bytes).map_err(refused)?);
                Ok(Some(ChainInput::Header { from, id, header }))
            }
            ChainResponse::Trail { headers, more } => {
                let headers = headers.into_iter().map(vouched).collect::<Result<_, _>>()?;
                Ok(Some(ChainInput::Trail { from, id, headers, more }))
            }
            ChainResponse::Rows(rows) => Ok(Some(ChainInput::Part { from, id, part: Part::Rows(rows) })),
            ChainResponse::Page(page) => Ok(Some(ChainInput::Part { from, id, part: Part::Page(page) })),
            ChainResponse::NotKept { .. } => Ok(Some(ChainInput::NotKept { id })),
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
    if list.len() > DECISIONS {
        return Err(refused(format_args!("{} decisions in one answer; {DECISIONS} are the most", list.len())));
    }
    let decisions = list.into_iter().map(|Decision { certificate, block }| {
        let Some(certificate) = roster.admit_decision(Certificate::decode(&certificate)?)? else { return Ok(None) };
        let block = Block::decode(block).map_err(refused)?;
        // Checked here, so that the owner has them checked already. A seal that does not hold is found when the block
        // is executed, with its place in it.
        let seals = block.transactions().iter().filter_map(|bytes| Sealed::check(bytes.clone(), roster.chain).ok());
        let seals = seals.map(|sealed| (sealed.leaf(), Arc::new(sealed))).collect();
        Ok(Some(Missed { certificate, block, seals }))
    });
    let decisions = decisions.filter_map(Result::transpose).collect::<Result<_, Refusal>>()?;
    Ok(ChainInput::Decisions { from, id, decisions })
}

/// A header and what shows that it is decided. Its signatures are looked at when it is known whose they must be: anyone
/// can name validators of their own.
fn vouched(one: Vouched) -> Result<Finality, Refusal> {
    if one.certificate.len() > CERTIFICATE_BYTES {
        return Err(Refusal::TooLarge { size_bytes: one.certificate.len() });
    }
    Ok(Finality {
        header: BlockHeader::decode(&one.header).map_err(refused)?,
        validators: ValidatorSet::from_bytes(&one.validators).map_err(refused)?,
        certificate: one.certificate,
    })
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
