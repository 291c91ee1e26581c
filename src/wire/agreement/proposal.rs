//! The block that the proposer of a round puts to the vote: its id, not its bytes.

use ed25519_dalek::SigningKey;

use super::super::refusal::Refusal;
use super::super::seal::{Label, Statement};
use super::fields::{Fields, malformed};
use super::genuine::Attested;
use super::vote::{Signed, place};
use crate::types::chain::{BlockId, ChainId, Height};
use crate::types::{Hash, NetworkId, NodeId};

/// Stands for no valid round, in bytes.
const NO_ROUND: u32 = u32::MAX;

/// A block is put to the vote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Proposal {
    /// The height, from 1.
    pub height: Height,
    /// The round, from 0.
    pub round: u32,
    /// The block.
    pub value: BlockId,
    /// The earlier round in which more than two thirds prevoted for the block, if it is proposed again.
    pub valid_round: Option<u32>,
    /// Who proposes.
    pub proposer: NodeId,
}

impl Proposal {
    /// What is signed: as for a vote, and the position ends with the valid round.
    fn statement<'a>(&self, chain: ChainId, position: &'a [u8; 16]) -> Statement<'a> {
        Statement {
            label: Label::Proposal,
            network: NetworkId(chain.0),
            author: self.proposer,
            count: 1,
            root: self.value.0,
            position,
        }
    }

    fn position(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (front, back) = bytes.split_at_mut(12);
        front.copy_from_slice(&place(self.height, self.round));
        back.copy_from_slice(&self.valid_round.unwrap_or(NO_ROUND).to_le_bytes());
        bytes
    }

    /// The digest that is signed.
    pub fn digest(&self, chain: ChainId) -> Hash {
        self.statement(chain, &self.position()).digest()
    }

    /// The proposal with its author's signature; `key` must be the proposer's.
    pub fn sign(self, chain: ChainId, key: &SigningKey) -> Signed<Proposal> {
        Signed { said: self, signature: self.statement(chain, &self.position()).sign(key) }
    }
}

impl Signed<Proposal> {
    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.said.position());
        bytes.extend_from_slice(&self.said.value.0.0);
        bytes.extend_from_slice(&self.said.proposer.0);
        bytes.extend_from_slice(&self.signature.0);
    }

    pub(super) fn take(fields: &mut Fields<'_>) -> Result<Signed<Proposal>, Refusal> {
        let (height, round) = (fields.height()?, fields.u32()?);
        let valid_round = Some(fields.u32()?).filter(|valid| *valid != NO_ROUND);
        if valid_round.is_some_and(|valid| valid >= round) {
            return Err(malformed("a valid round that is not an earlier one"));
        }
        let said = Proposal { height, round, value: fields.block()?, valid_round, proposer: fields.node()? };
        Ok(Signed { said, signature: fields.signature()? })
    }
}

impl Attested for Signed<Proposal> {
    fn holds(&self, chain: ChainId) -> bool {
        self.said.statement(chain, &self.said.position()).holds(&self.signature)
    }
}
