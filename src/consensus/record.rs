//! What is written down before anything is said: enough to come to the same place again after a crash, and never to say
//! the other thing there.
//!
//! ```text
//!  record   kind 1 │ body                               all numbers little-endian
//!   1 to 4   a vote, a proposal, a polka: the message of that kind
//!   16       round 4 │ valid round 4 │ proposer 32 │ block 32 │ valid 1
//!   17       step 1 │ round 4
//!   18       block 32 │ body, to the record's end
//! ```

use arc_malachitebft_core_consensus::{Input as CoreInput, ProposedValue};
use arc_malachitebft_core_types::{
    NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate as CoreRound, RoundCertificateType,
    RoundSignature, Timeout, TimeoutKind, Validity, ValueOrigin,
};

use bytes::Bytes;

use super::context::{
    Malachite, core_proposal, core_step, core_vote, number, option, our_proposal, our_step, our_vote, round,
};
use crate::types::chain::{BlockId, ChainId, Height};
use crate::types::{Hash, NodeId};
use crate::wire::agreement::{Attested, Message, Polka, Proposal, RoundCertificate, RoundVote, Signed, Vote};

const VALUE: u8 = 16;
const TIMEOUT: u8 = 17;
const BODY: u8 = 18;
/// Stands for no round, in bytes.
const NO_ROUND: u32 = u32::MAX;

/// Which of a round's waits is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Wait {
    /// For a proposal.
    Propose = 1,
    /// For prevotes to agree.
    Prevote = 2,
    /// For precommits to agree.
    Precommit = 3,
}

/// One thing that happened at a height, in the order in which it did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A vote, of this node or another.
    Vote(Signed<Vote>),
    /// A proposal, of this node or another.
    Proposal(Signed<Proposal>),
    /// A proof that a block may be locked.
    Polka(Polka),
    /// A block was built here or checked.
    Value {
        /// The round it was known in.
        round: u32,
        /// The earlier round in which it was valid, if any.
        valid_round: Option<u32>,
        /// Who proposed it.
        proposer: NodeId,
        /// The block.
        block: BlockId,
        /// What the check said.
        valid: bool,
    },
    /// A wait was over.
    Timeout { wait: Wait, round: u32 },
    /// The body of a block, as whoever runs agreement knows it. It comes before the first record that calls the block
    /// valid, so that whatever is said of a block rests on a body that outlives a crash of everyone.
    Body {
        /// The block.
        block: BlockId,
        /// Its bytes; agreement does not read them.
        bytes: Bytes,
    },
}

/// Why bytes are no record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRecord {
    #[error("{0}")]
    Message(#[from] crate::wire::Refusal),
    #[error("it is of a kind this version does not write ({0})")]
    Kind(u8),
    #[error("its fields are not those of its kind")]
    Fields,
}

impl Record {
    /// The bytes, as laid out above.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Record::Vote(vote) => Message::Vote(*vote).encode(),
            Record::Proposal(proposal) => Message::Proposal(*proposal).encode(),
            Record::Polka(polka) => Message::Polka(polka.clone()).encode(),
            Record::Value { round, valid_round, proposer, block, valid } => {
                let mut bytes = vec![VALUE];
                bytes.extend_from_slice(&round.to_le_bytes());
                bytes.extend_from_slice(&valid_round.unwrap_or(NO_ROUND).to_le_bytes());
                bytes.extend_from_slice(&proposer.0);
                bytes.extend_from_slice(&block.0.0);
                bytes.push(u8::from(*valid));
                bytes
            }
            Record::Timeout { wait, round } => {
                let mut bytes = vec![TIMEOUT, *wait as u8];
                bytes.extend_from_slice(&round.to_le_bytes());
                bytes
            }
            Record::Body { block, bytes } => [&[BODY], &block.0.0[..], bytes].concat(),
        }
    }

    /// About how many bytes it takes: of what is large, how many.
    pub fn size_bytes(&self) -> usize {
        match self {
            Record::Vote(_) | Record::Proposal(_) | Record::Value { .. } | Record::Timeout { .. } => 256,
            Record::Polka(polka) => 256 + 96 * polka.signatures.len(),
            Record::Body { bytes, .. } => 64 + bytes.len(),
        }
    }

    /// Reads a record, all of `bytes` and no more; checks its shape, not its signatures.
    pub fn decode(bytes: &[u8]) -> Result<Record, NoRecord> {
        match bytes.first().copied() {
            Some(VALUE) => Record::decode_value(bytes).ok_or(NoRecord::Fields),
            Some(TIMEOUT) => Record::decode_timeout(bytes).ok_or(NoRecord::Fields),
            Some(BODY) => Record::decode_body(bytes).ok_or(NoRecord::Fields),
            _ => match Message::decode(bytes)? {
                Message::Vote(vote) => Ok(Record::Vote(vote)),
                Message::Proposal(proposal) => Ok(Record::Proposal(proposal)),
                Message::Polka(polka) => Ok(Record::Polka(polka)),
                Message::Round(_) | Message::Certificate(_) => Err(NoRecord::Kind(bytes.first().copied().unwrap_or(0))),
            },
        }
    }

    fn decode_value(bytes: &[u8]) -> Option<Record> {
        let (_, rest) = bytes.split_first()?;
        let (round, rest) = rest.split_first_chunk()?;
        let (valid_round, rest) = rest.split_first_chunk()?;
        let (proposer, rest) = rest.split_first_chunk()?;
        let (block, rest) = rest.split_first_chunk()?;
        let valid = match rest {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Record::Value {
            round: u32::from_le_bytes(*round),
            valid_round: Some(u32::from_le_bytes(*valid_round)).filter(|valid| *valid != NO_ROUND),
            proposer: NodeId(*proposer),
            block: BlockId(Hash(*block)),
            valid,
        })
    }

    fn decode_timeout(bytes: &[u8]) -> Option<Record> {
        let [_, wait, round @ ..] = bytes else { return None };
        let wait = match wait {
            1 => Wait::Propose,
            2 => Wait::Prevote,
            3 => Wait::Precommit,
            _ => return None,
        };
        Some(Record::Timeout { wait, round: u32::from_le_bytes(round.try_into().ok()?) })
    }

    fn decode_body(bytes: &[u8]) -> Option<Record> {
        let (_, rest) = bytes.split_first()?;
        let (block, rest) = rest.split_first_chunk()?;
        Some(Record::Body { block: BlockId(Hash(*block)), bytes: Bytes::copy_from_slice(rest) })
    }

    /// Whether every signature in it holds, and it is of that height: a log that says otherwise is not this node's.
    pub fn holds(&self, chain: ChainId, height: Height) -> bool {
        match self {
            Record::Vote(vote) => vote.said.height == height && vote.holds(chain),
            Record::Proposal(proposal) => proposal.said.height == height && proposal.holds(chain),
            Record::Polka(polka) => polka.height == height && polka.holds(chain),
            Record::Value { .. } | Record::Timeout { .. } | Record::Body { .. } => true,
        }
    }

    /// What Malachite wants written down; none for what it never does.
    pub(super) fn of(input: &CoreInput<Malachite>) -> Option<Record> {
        match input {
            CoreInput::Vote(vote) => Some(Record::Vote(our_vote(vote))),
            CoreInput::Proposal(proposal) => Some(Record::Proposal(our_proposal(proposal))),
            CoreInput::PolkaCertificate(polka) => Some(Record::Polka(our_polka(polka))),
            CoreInput::ProposedValue(value, _) => Some(Record::Value {
                round: number(value.round),
                valid_round: value.valid_round.as_u32(),
                proposer: value.proposer,
                block: value.value,
                valid: value.validity.is_valid(),
            }),
            CoreInput::TimeoutElapsed(timeout) => {
                let wait = match timeout.kind {
                    TimeoutKind::Propose => Wait::Propose,
                    TimeoutKind::Prevote => Wait::Prevote,
                    TimeoutKind::Precommit => Wait::Precommit,
                    TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
                };
                Some(Record::Timeout { wait, round: number(timeout.round) })
            }
            CoreInput::StartHeight(..)
            | CoreInput::RoundCertificate(_)
            | CoreInput::Propose(_)
            | CoreInput::SyncValueResponse(_) => None,
        }
    }

    /// What Malachite is given again; none for what it never had.
    pub(super) fn input(&self, height: Height) -> Option<CoreInput<Malachite>> {
        Some(match self {
            Record::Vote(vote) => CoreInput::Vote(core_vote(*vote)),
            Record::Proposal(proposal) => CoreInput::Proposal(core_proposal(*proposal)),
            Record::Polka(polka) => CoreInput::PolkaCertificate(core_polka(polka)),
            Record::Body { .. } => return None,
            Record::Value { round: known, valid_round, proposer, block, valid } => {
                let value = ProposedValue {
                    height,
                    round: Round::new(*known),
                    valid_round: round(*valid_round),
                    proposer: *proposer,
                    value: *block,
                    validity: Validity::from_bool(*valid),
                };
                CoreInput::ProposedValue(value, ValueOrigin::Consensus)
            }
            Record::Timeout { wait, round } => {
                let kind = match wait {
                    Wait::Propose => TimeoutKind::Propose,
                    Wait::Prevote => TimeoutKind::Prevote,
                    Wait::Precommit => TimeoutKind::Precommit,
                };
                CoreInput::TimeoutElapsed(Timeout::new(Round::new(*round), kind))
            }
        })
    }
}

pub(super) fn our_polka(polka: &PolkaCertificate<Malachite>) -> Polka {
    let mut signatures: Vec<_> = polka.polka_signatures.iter().map(|vote| (vote.address, vote.signature)).collect();
    signatures.sort();
    signatures.dedup_by_key(|(voter, _)| *voter);
    Polka { height: polka.height, round: number(polka.round), value: polka.value_id, signatures }
}

pub(super) fn core_polka(polka: &Polka) -> PolkaCertificate<Malachite> {
    PolkaCertificate {
        height: polka.height,
        round: Round::new(polka.round),
        value_id: polka.value,
        polka_signatures: polka.signatures.iter().map(|(voter, s)| PolkaSignature::new(*voter, *s)).collect(),
    }
}

pub(super) fn our_round(certificate: &CoreRound<Malachite>) -> RoundCertificate {
    let vote = |vote: &RoundSignature<Malachite>| RoundVote {
        step: our_step(vote.vote_type),
        value: option(&vote.value_id),
        voter: vote.address,
        signature: vote.signature,
    };
    let mut votes: Vec<_> = certificate.round_signatures.iter().map(vote).collect();
    votes.sort_by_key(|vote| vote.voter);
    votes.dedup_by_key(|vote| vote.voter);
    let skip = certificate.cert_type == RoundCertificateType::Skip;
    RoundCertificate { height: certificate.height, round: number(certificate.round), skip, votes }
}

pub(super) fn core_round(certificate: &RoundCertificate) -> CoreRound<Malachite> {
    let vote = |vote: &RoundVote| RoundSignature {
        vote_type: core_step(vote.step),
        value_id: vote.value.map_or(NilOrVal::Nil, NilOrVal::Val),
        address: vote.voter,
        signature: vote.signature,
    };
    CoreRound {
        height: certificate.height,
        round: Round::new(certificate.round),
        cert_type: if certificate.skip { RoundCertificateType::Skip } else { RoundCertificateType::Precommit },
        round_signatures: certificate.votes.iter().map(vote).collect(),
    }
}
