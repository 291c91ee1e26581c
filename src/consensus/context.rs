//! Malachite's traits over the words of this house: what it calls an address, a value, a vote.

use std::sync::Arc;

use arc_malachitebft_core_types as core;
use bytes::Bytes;
use core::{LinearTimeouts, NilOrVal, Round, SignedExtension, SignedMessage, VoteType};
use ed25519_dalek::SigningKey;

use crate::types::NodeId;
use crate::types::chain::{BlockId, Height, Validator, ValidatorSet};
use crate::wire::Signature;
use crate::wire::agreement::{Proposal, Signed, Step, Vote};

/// The types agreement runs with.
#[derive(Clone, Debug)]
pub struct Malachite;

/// A vote as Malachite holds it: it wants a reference to a value of its own type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreVote {
    vote: Vote,
    value: NilOrVal<BlockId>,
}

impl CoreVote {
    pub fn get(&self) -> Vote {
        self.vote
    }
}

impl From<Vote> for CoreVote {
    fn from(vote: Vote) -> CoreVote {
        CoreVote { value: vote.value.map_or(NilOrVal::Nil, NilOrVal::Val), vote }
    }
}

/// Validators, cheap to hand round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreSet(pub Arc<ValidatorSet>);

/// A body in parts, which this house does not have: bodies travel apart from agreement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoPart {}

/// ed25519, with nodes as keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ed25519;

impl core::Context for Malachite {
    type Address = NodeId;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = CoreSet;
    type Timeouts = LinearTimeouts;
    type Value = BlockId;
    type Vote = CoreVote;
    type Extension = Bytes;
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(&self, validators: &'a CoreSet, height: Height, round: Round) -> &'a Validator {
        proposer(&validators.0, height, round.as_u32().unwrap_or(0))
    }

    fn new_proposal(&self, height: Height, round: Round, value: BlockId, pol: Round, address: NodeId) -> Proposal {
        Proposal { height, round: number(round), value, valid_round: pol.as_u32(), proposer: address }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: NodeId) -> CoreVote {
        Vote { step: Step::Prevote, height, round: number(round), value: option(&value), voter }.into()
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: NodeId) -> CoreVote {
        Vote { step: Step::Precommit, height, round: number(round), value: option(&value), voter }.into()
    }
}

/// Who proposes. The first round of each height goes round by power: the heights are spread over all power evenly, as
/// a Weyl sequence is over an interval. Each later round is the next validator's, so that one who is down is passed.
pub fn proposer(validators: &ValidatorSet, height: Height, round: u32) -> &Validator {
    /// The golden ratio's part after the point, times 2^64.
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fraction = u128::from(height.0.wrapping_mul(GOLDEN));
    let point = (fraction * u128::from(validators.total())) >> 64;
    let reached = |(_, sum): &(usize, u128)| point < *sum;
    let sums = validators.iter().scan(0, |sum, validator| {
        *sum += u128::from(validator.power);
        Some(*sum)
    });
    let first = sums.enumerate().find(reached).map_or(0, |(index, _)| index);
    let index = (first + round as usize % validators.count()) % validators.count();

    // The index is below the count.
    validators.at(index).expect("a validator at every index below the count")
}

/// The number of a round that is not the one before the first.
pub fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(0)
}

pub fn option(value: &NilOrVal<BlockId>) -> Option<BlockId> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(*block),
    }
}

/// The round, or the one before the first.
pub fn round(number: Option<u32>) -> Round {
    number.map_or(Round::Nil, Round::new)
}

pub fn core_vote(vote: Signed<Vote>) -> core::SignedVote<Malachite> {
    SignedMessage::new(vote.said.into(), vote.signature)
}

pub fn our_vote(vote: &core::SignedVote<Malachite>) -> Signed<Vote> {
    Signed { said: vote.message.get(), signature: vote.signature }
}

pub fn core_proposal(proposal: Signed<Proposal>) -> core::SignedProposal<Malachite> {
    SignedMessage::new(proposal.said, proposal.signature)
}

pub fn our_proposal(proposal: &core::SignedProposal<Malachite>) -> Signed<Proposal> {
    Signed { said: proposal.message, signature: proposal.signature }
}

pub fn core_step(step: Step) -> VoteType {
    match step {
        Step::Prevote => VoteType::Prevote,
        Step::Precommit => VoteType::Precommit,
    }
}

pub fn our_step(step: VoteType) -> Step {
    match step {
        VoteType::Prevote => Step::Prevote,
        VoteType::Precommit => Step::Precommit,
    }
}

impl core::Address for NodeId {}

impl core::Height for Height {
    const ZERO: Height = Height::GENESIS;
    const INITIAL: Height = Height(1);

    fn increment_by(&self, n: u64) -> Height {
        Height(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Height> {
        self.0.checked_sub(n).map(Height)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl core::Value for BlockId {
    type Id = BlockId;

    fn id(&self) -> BlockId {
        *self
    }
}

impl core::ProposalPart<Malachite> for NoPart {
    fn is_first(&self) -> bool {
        match *self {}
    }

    fn is_last(&self) -> bool {
        match *self {}
    }
}

impl core::Proposal<Malachite> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        Round::new(self.round)
    }

    fn value(&self) -> &BlockId {
        &self.value
    }

    fn take_value(self) -> BlockId {
        self.value
    }

    fn pol_round(&self) -> Round {
        round(self.valid_round)
    }

    fn validator_address(&self) -> &NodeId {
        &self.proposer
    }
}

impl core::Vote<Malachite> for CoreVote {
    fn height(&self) -> Height {
        self.vote.height
    }

    fn round(&self) -> Round {
        Round::new(self.vote.round)
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        core_step(self.vote.step)
    }

    fn validator_address(&self) -> &NodeId {
        &self.vote.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Malachite>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Malachite>> {
        None
    }

    fn extend(self, _: SignedExtension<Malachite>) -> CoreVote {
        self
    }
}

impl core::Validator<Malachite> for Validator {
    fn address(&self) -> &NodeId {
        &self.id
    }

    fn public_key(&self) -> &NodeId {
        &self.id
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

impl core::ValidatorSet<Malachite> for CoreSet {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn total_voting_power(&self) -> u64 {
        self.0.total()
    }

    fn get_by_address(&self, address: &NodeId) -> Option<&Validator> {
        self.0.index(*address).and_then(|index| self.0.at(index))
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.at(index)
    }
}

impl core::SigningScheme for Ed25519 {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = NodeId;
    type PrivateKey = SigningKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, &'static str> {
        bytes.try_into().map(Signature).map_err(|_| "a signature is 64 bytes")
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<NodeId, &'static str> {
        bytes.try_into().map(NodeId).map_err(|_| "a key is 32 bytes")
    }

    fn encode_public_key(key: &NodeId) -> Vec<u8> {
        key.0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(powers: &[u64]) -> ValidatorSet {
        let validator = |(n, power): (usize, &u64)| Validator { id: NodeId([n as u8; 32]), power: *power };
        ValidatorSet::new(powers.iter().enumerate().map(validator)).unwrap()
    }

    #[test]
    fn first_rounds_are_shared_out_by_power() {
        let powers = [1, 2, 3, 14];
        let set = set(&powers);
        let mut turns = [0u64; 4];
        for height in 1..=10_000 {
            turns[usize::from(proposer(&set, Height(height), 0).id.0[0])] += 1;
        }
        for (turns, power) in turns.iter().zip(powers) {
            assert!(turns.abs_diff(power * 10_000 / 20) <= 10, "{turns} turns for {power} of 20");
        }
    }

    #[test]
    fn as_many_rounds_as_validators_are_proposed_by_all_of_them() {
        let set = set(&[1, 2, 3, 14]);
        for height in 1..100 {
            for from in [0, 3, u32::MAX - 9] {
                let mut seen: Vec<_> = (from..from + 4).map(|round| proposer(&set, Height(height), round).id).collect();
                seen.sort();
                seen.dedup();
                assert_eq!(seen.len(), 4);
            }
        }
    }
}
