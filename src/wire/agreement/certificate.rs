//! What votes add up to: proofs that enough validators said a thing.

use super::super::refusal::Refusal;
use super::super::seal::Signature;
use super::fields::{Fields, malformed, put_block_or_none};
use super::genuine::Attested;
use super::vote::{Signed, Step, Vote, all_hold};
use crate::types::NodeId;
use crate::types::chain::{BlockId, ChainId, Height, VALIDATORS, ValidatorSet};

/// Precommits for one block in one round of more than two thirds of the power: the block is final. The proof stands
/// alone, given the validators of the height.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The height, from 1.
    pub height: Height,
    /// The round in which it was agreed on.
    pub round: u32,
    /// The block.
    pub value: BlockId,
    /// Who precommitted, ascending, each once.
    pub signatures: Vec<(NodeId, Signature)>,
}

/// Prevotes for one block in one round of more than two thirds of the power: the block may be locked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Polka {
    /// The height, from 1.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// The block.
    pub value: BlockId,
    /// Who prevoted, ascending, each once.
    pub signatures: Vec<(NodeId, Signature)>,
}

/// One vote of a [`RoundCertificate`], whose height and round are the certificate's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoundVote {
    /// Which of the two votes.
    pub step: Step,
    /// The block voted for, or none.
    pub value: Option<BlockId>,
    /// Who voted.
    pub voter: NodeId,
    /// The voter's.
    pub signature: Signature,
}

/// Votes of one round, for whatever: the reason to enter the next one, or to skip to this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoundCertificate {
    /// The height, from 1.
    pub height: Height,
    /// The round of the votes.
    pub round: u32,
    /// To skip to the round, votes of more than a third are enough; to leave it, precommits of more than two thirds.
    pub skip: bool,
    /// The votes, ascending by voter, each once.
    pub votes: Vec<RoundVote>,
}

/// Why a certificate does not prove what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Short {
    #[error("{0} is no validator of that height")]
    Stranger(NodeId),
    #[error("validators are not in ascending order, each once, at {0}")]
    Order(NodeId),
    #[error("it has {power} of {total} power, which is not enough")]
    Power { power: u64, total: u64 },
    #[error("it has a prevote among its precommits")]
    Prevote,
}

impl Certificate {
    /// The votes it is made of.
    pub fn votes(&self) -> impl Iterator<Item = Signed<Vote>> {
        let vote = |voter| Vote {
            step: Step::Precommit,
            height: self.height,
            round: self.round,
            value: Some(self.value),
            voter,
        };
        self.signatures.iter().map(move |(voter, signature)| Signed { said: vote(*voter), signature: *signature })
    }

    /// Whether those who signed decide among `validators`, which must be those of its height.
    pub fn decides(&self, validators: &ValidatorSet) -> Result<(), Short> {
        enough(voters(&self.signatures), validators, |power| validators.is_quorum(power))
    }

    /// The bytes in a message, and beside a block where it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(46 + self.signatures.len() * 96);
        self.encode_into(&mut bytes);
        bytes
    }

    /// Reads [`Certificate::encode`]; checks its shape, neither signatures nor power.
    pub fn decode(bytes: &[u8]) -> Result<Certificate, Refusal> {
        let mut fields = Fields::of(bytes);
        let certificate = Certificate::take(&mut fields)?;
        fields.end()?;
        Ok(certificate)
    }

    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        put_tally(self.height, self.round, self.value, &self.signatures, bytes);
    }

    pub(super) fn take(fields: &mut Fields<'_>) -> Result<Certificate, Refusal> {
        let (height, round, value, signatures) = take_tally(fields)?;
        Ok(Certificate { height, round, value, signatures })
    }
}

impl Polka {
    /// The votes it is made of.
    pub fn votes(&self) -> impl Iterator<Item = Signed<Vote>> {
        let vote = |voter| Vote {
            step: Step::Prevote,
            height: self.height,
            round: self.round,
            value: Some(self.value),
            voter,
        };
        self.signatures.iter().map(move |(voter, signature)| Signed { said: vote(*voter), signature: *signature })
    }

    /// Whether those who signed are more than two thirds of `validators`, which must be those of its height.
    pub fn suffices(&self, validators: &ValidatorSet) -> Result<(), Short> {
        enough(voters(&self.signatures), validators, |power| validators.is_quorum(power))
    }

    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        put_tally(self.height, self.round, self.value, &self.signatures, bytes);
    }

    pub(super) fn take(fields: &mut Fields<'_>) -> Result<Polka, Refusal> {
        let (height, round, value, signatures) = take_tally(fields)?;
        Ok(Polka { height, round, value, signatures })
    }
}

impl RoundCertificate {
    /// The votes it is made of.
    pub fn votes(&self) -> impl Iterator<Item = Signed<Vote>> {
        let (height, round) = (self.height, self.round);
        self.votes.iter().map(move |vote| Signed {
            said: Vote { step: vote.step, height, round, value: vote.value, voter: vote.voter },
            signature: vote.signature,
        })
    }

    /// Whether those who signed are enough of `validators`, which must be those of its height.
    pub fn suffices(&self, validators: &ValidatorSet) -> Result<(), Short> {
        if !self.skip && self.votes.iter().any(|vote| vote.step == Step::Prevote) {
            return Err(Short::Prevote);
        }
        let most = validators.total();
        let third = |power: u64| u128::from(power) * 3 > u128::from(most);
        let is_enough = |power| if self.skip { third(power) } else { validators.is_quorum(power) };
        enough(self.votes.iter().map(|vote| vote.voter), validators, is_enough)
    }

    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.height.0.to_le_bytes());
        bytes.extend_from_slice(&self.round.to_le_bytes());
        bytes.push(u8::from(self.skip));
        bytes.extend_from_slice(&(self.votes.len() as u16).to_le_bytes());
        for vote in &self.votes {
            bytes.push(vote.step as u8);
            put_block_or_none(vote.value, bytes);
            bytes.extend_from_slice(&vote.voter.0);
            bytes.extend_from_slice(&vote.signature.0);
        }
    }

    pub(super) fn take(fields: &mut Fields<'_>) -> Result<RoundCertificate, Refusal> {
        let (height, round) = (fields.height()?, fields.u32()?);
        let skip = match fields.u8()? {
            0 => false,
            1 => true,
            other => return Err(malformed(format!("a round certificate of kind {other}"))),
        };
        let count = take_count(fields)?;
        let mut votes = Vec::with_capacity(count);
        for _ in 0..count {
            let step = match fields.u8()? {
                1 => Step::Prevote,
                2 => Step::Precommit,
                other => return Err(malformed(format!("a vote of step {other}"))),
            };
            let value = fields.block_or_none()?;
            votes.push(RoundVote { step, value, voter: fields.node()?, signature: fields.signature()? });
        }
        ascending(votes.iter().map(|vote| vote.voter))?;
        Ok(RoundCertificate { height, round, skip, votes })
    }
}

impl Attested for Certificate {
    fn holds(&self, chain: ChainId) -> bool {
        all_hold(self.votes(), chain)
    }
}

impl Attested for Polka {
    fn holds(&self, chain: ChainId) -> bool {
        all_hold(self.votes(), chain)
    }
}

impl Attested for RoundCertificate {
    fn holds(&self, chain: ChainId) -> bool {
        all_hold(self.votes(), chain)
    }
}

fn voters(signatures: &[(NodeId, Signature)]) -> impl Iterator<Item = NodeId> {
    signatures.iter().map(|(voter, _)| *voter)
}

/// Whether `voters`, each once, are validators whose power together `is_enough`.
fn enough(
    voters: impl Iterator<Item = NodeId>,
    validators: &ValidatorSet,
    is_enough: impl Fn(u64) -> bool,
) -> Result<(), Short> {
    let (mut power, mut last) = (0, None);
    for voter in voters {
        if last.is_some_and(|last| last >= voter) {
            return Err(Short::Order(voter));
        }
        match validators.power(voter) {
            0 => return Err(Short::Stranger(voter)),
            // No overflow: each validator counts once, and all power together is bounded.
            more => power += more,
        }
        last = Some(voter);
    }
    if is_enough(power) { Ok(()) } else { Err(Short::Power { power, total: validators.total() }) }
}

fn ascending(voters: impl Iterator<Item = NodeId>) -> Result<(), Refusal> {
    if voters.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(malformed("voters that do not ascend")) }
}

fn take_count(fields: &mut Fields<'_>) -> Result<usize, Refusal> {
    let count = usize::from(fields.u16()?);
    if count == 0 || count > VALIDATORS {
        return Err(malformed(format!("{count} signatures; 1 to {VALIDATORS} are allowed")));
    }
    Ok(count)
}

fn put_tally(height: Height, round: u32, value: BlockId, signatures: &[(NodeId, Signature)], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&height.0.to_le_bytes());
    bytes.extend_from_slice(&round.to_le_bytes());
    bytes.extend_from_slice(&value.0.0);
    bytes.extend_from_slice(&(signatures.len() as u16).to_le_bytes());
    for (voter, signature) in signatures {
        bytes.extend_from_slice(&voter.0);
        bytes.extend_from_slice(&signature.0);
    }
}

type Tally = (Height, u32, BlockId, Vec<(NodeId, Signature)>);

fn take_tally(fields: &mut Fields<'_>) -> Result<Tally, Refusal> {
    let (height, round, value) = (fields.height()?, fields.u32()?, fields.block()?);
    let count = take_count(fields)?;
    let mut signatures = Vec::with_capacity(count);
    for _ in 0..count {
        signatures.push((fields.node()?, fields.signature()?));
    }
    ascending(voters(&signatures))?;
    Ok((height, round, value, signatures))
}
