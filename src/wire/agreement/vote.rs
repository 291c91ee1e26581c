//! A validator's vote in one round at one height.

use ed25519_dalek::SigningKey;

use super::super::refusal::Refusal;
use super::super::seal::{Label, Signature, Statement};
use super::super::signatures::{TOGETHER, verify_strict};
use super::fields::{Fields, put_block_or_none};
use super::genuine::Attested;
use crate::types::chain::{BlockId, ChainId, Height};
use crate::types::{Hash, NetworkId, NodeId};

/// The two votes of a round (Buchman, Kwon, Milosevic, "The latest gossip on BFT consensus", 2018).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Step {
    /// The block is good.
    Prevote = 1,
    /// More than two thirds say so: a promise to stay with it.
    Precommit = 2,
}

impl Step {
    pub(super) fn label(self) -> Label {
        match self {
            Step::Prevote => Label::Prevote,
            Step::Precommit => Label::Precommit,
        }
    }
}

/// What a validator says in one step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Vote {
    /// Which of the two votes.
    pub step: Step,
    /// The height that is agreed on, from 1.
    pub height: Height,
    /// The attempt at it, from 0.
    pub round: u32,
    /// The block voted for; none is a vote for no block in this round.
    pub value: Option<BlockId>,
    /// Who votes.
    pub voter: NodeId,
}

impl Vote {
    /// What is signed: the chain stands where a bundle names its network, and a vote for no block counts no item.
    fn statement<'a>(&self, chain: ChainId, position: &'a [u8; 12]) -> Statement<'a> {
        Statement {
            label: self.step.label(),
            network: NetworkId(chain.0),
            author: self.voter,
            count: u32::from(self.value.is_some()),
            root: self.value.map_or(Hash::ZERO, |block| block.0),
            position,
        }
    }

    /// The digest that is signed.
    pub fn digest(&self, chain: ChainId) -> Hash {
        self.statement(chain, &place(self.height, self.round)).digest()
    }

    /// The vote with its author's signature; `key` must be the voter's.
    pub fn sign(self, chain: ChainId, key: &SigningKey) -> Signed<Vote> {
        Signed { said: self, signature: self.statement(chain, &place(self.height, self.round)).sign(key) }
    }
}

/// Something said by one validator, with a signature that may be anybody's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Signed<T> {
    /// What is said.
    pub said: T,
    /// By whom it names, once it is [`super::Genuine`].
    pub signature: Signature,
}

impl Signed<Vote> {
    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.said.height.0.to_le_bytes());
        bytes.extend_from_slice(&self.said.round.to_le_bytes());
        put_block_or_none(self.said.value, bytes);
        bytes.extend_from_slice(&self.said.voter.0);
        bytes.extend_from_slice(&self.signature.0);
    }

    pub(super) fn take(step: Step, fields: &mut Fields<'_>) -> Result<Signed<Vote>, Refusal> {
        let (height, round) = (fields.height()?, fields.u32()?);
        let value = fields.block_or_none()?;
        let said = Vote { step, height, round, value, voter: fields.node()? };
        Ok(Signed { said, signature: fields.signature()? })
    }
}

impl Attested for Signed<Vote> {
    fn holds(&self, chain: ChainId) -> bool {
        all_hold([*self].into_iter(), chain)
    }
}

/// Whether each was said by whom it says: together that costs less than one by one.
pub(super) fn all_hold(votes: impl Iterator<Item = Signed<Vote>>, chain: ChainId) -> bool {
    let claim = |Signed { said, signature }: Signed<Vote>| {
        let position = place(said.height, said.round);
        said.statement(chain, &position).claim(&signature)
    };
    let claims: Vec<_> = votes.map(claim).collect();
    claims.chunks(TOGETHER).all(|some| verify_strict(some).into_iter().all(|is_true| is_true))
}

/// Where a vote or a proposal stands: height 8 ‖ round 4.
pub(super) fn place(height: Height, round: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    let (high, low) = bytes.split_at_mut(8);
    high.copy_from_slice(&height.0.to_le_bytes());
    low.copy_from_slice(&round.to_le_bytes());
    bytes
}
