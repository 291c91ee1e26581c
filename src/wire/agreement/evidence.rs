//! Proof that a validator said two things where it may say one.

use super::super::refusal::Refusal;
use super::fields::{Fields, malformed};
use super::genuine::Attested;
use super::message::Message;
use super::proposal::Proposal;
use super::vote::{Signed, Vote};
use crate::types::NodeId;
use crate::types::chain::{ChainId, Height};

/// Two statements of one validator for one place, both signed: whoever has both needs nobody's word for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Two votes of one step in one round, the lesser first.
    Votes(Signed<Vote>, Signed<Vote>),
    /// Two proposals in one round, the lesser first.
    Proposals(Signed<Proposal>, Signed<Proposal>),
}

impl Evidence {
    /// Two votes, if they contradict each other; in whatever order they come, the evidence is the same.
    pub fn of_votes(one: Signed<Vote>, other: Signed<Vote>) -> Option<Evidence> {
        let place = |vote: &Vote| (vote.voter, vote.height, vote.round, vote.step);
        let contradict = place(&one.said) == place(&other.said) && one.said.value != other.said.value;
        contradict.then(|| Evidence::Votes(one.min(other), one.max(other)))
    }

    /// Two proposals, if they contradict each other; in whatever order they come, the evidence is the same.
    pub fn of_proposals(one: Signed<Proposal>, other: Signed<Proposal>) -> Option<Evidence> {
        let place = |proposal: &Proposal| (proposal.proposer, proposal.height, proposal.round);
        let contradict = place(&one.said) == place(&other.said) && one.said != other.said;
        contradict.then(|| Evidence::Proposals(one.min(other), one.max(other)))
    }

    /// Who is proved guilty, once [`Attested::holds`].
    pub fn culprit(&self) -> NodeId {
        match self {
            Evidence::Votes(vote, _) => vote.said.voter,
            Evidence::Proposals(proposal, _) => proposal.said.proposer,
        }
    }

    /// At which height.
    pub fn height(&self) -> Height {
        match self {
            Evidence::Votes(vote, _) => vote.said.height,
            Evidence::Proposals(proposal, _) => proposal.said.height,
        }
    }

    /// The two messages, one after the other.
    pub fn encode(&self) -> Vec<u8> {
        let (one, other) = match *self {
            Evidence::Votes(one, other) => (Message::Vote(one), Message::Vote(other)),
            Evidence::Proposals(one, other) => (Message::Proposal(one), Message::Proposal(other)),
        };
        let mut bytes = one.encode();
        other.encode_into(&mut bytes);
        bytes
    }

    /// Reads [`Evidence::encode`]; checks that the two contradict each other, not that they were signed.
    pub fn decode(bytes: &[u8]) -> Result<Evidence, Refusal> {
        let mut fields = Fields::of(bytes);
        let pair = (Message::take(&mut fields)?, Message::take(&mut fields)?);
        fields.end()?;
        let found = match &pair {
            (Message::Vote(one), Message::Vote(other)) => Evidence::of_votes(*one, *other),
            (Message::Proposal(one), Message::Proposal(other)) => Evidence::of_proposals(*one, *other),
            _ => None,
        };
        let found = found.ok_or_else(|| malformed("two messages that do not contradict each other"))?;
        if found.encode() == bytes { Ok(found) } else { Err(malformed("evidence with the greater message first")) }
    }
}

impl Attested for Evidence {
    fn holds(&self, chain: ChainId) -> bool {
        match self {
            Evidence::Votes(one, other) => one.holds(chain) && other.holds(chain),
            Evidence::Proposals(one, other) => one.holds(chain) && other.holds(chain),
        }
    }
}
