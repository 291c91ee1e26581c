//! The messages of agreement and their bytes.
//!
//! ```text
//!  saying    version 1 │ again 2 │ message
//!  message   kind 1 │ body                              all numbers little-endian
//!   1 prevote, 2 precommit   height 8 │ round 4 │ some 1 │ value 32 │ voter 32 │ signature 64
//!   3 proposal               height 8 │ round 4 │ valid round 4 │ value 32 │ proposer 32 │ signature 64
//!   4 polka, 5 certificate   height 8 │ round 4 │ value 32 │ count 2 │ count × (voter 32 │ signature 64)
//!   6 round certificate      height 8 │ round 4 │ skip 1 │ count 2
//!                            │ count × (step 1 │ some 1 │ value 32 │ voter 32 │ signature 64)
//! ```

use super::super::bundle::WIRE_VERSION;
use super::super::checksum;
use super::super::refusal::Refusal;
use super::certificate::{Certificate, Polka, RoundCertificate, Short};
use super::fields::{Fields, malformed};
use super::genuine::Attested;
use super::proposal::Proposal;
use super::vote::{Signed, Step, Vote};
use crate::types::chain::{BlockId, ChainId, Height, VALIDATORS, ValidatorSet};
use crate::types::{Hash, NodeId};

/// The longest saying: a round certificate of all validators, bytes.
pub const SAYING_BYTES: usize = 3 + 1 + 15 + VALIDATORS * (1 + 33 + 32 + 64);

/// What one node may say only once, and of one value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Once {
    /// The height it is about.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// Which vote; none is the proposal.
    pub step: Option<Step>,
}

/// What one node says to the others about agreement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A vote.
    Vote(Signed<Vote>),
    /// A proposal.
    Proposal(Signed<Proposal>),
    /// Why a block may be proposed again.
    Polka(Polka),
    /// Why to enter a round.
    Round(RoundCertificate),
    /// That a block is final.
    Certificate(Certificate),
}

impl Message {
    /// The height it is about.
    pub fn height(&self) -> Height {
        match self {
            Message::Vote(vote) => vote.said.height,
            Message::Proposal(proposal) => proposal.said.height,
            Message::Polka(polka) => polka.height,
            Message::Round(certificate) => certificate.height,
            Message::Certificate(certificate) => certificate.height,
        }
    }

    /// What a node says in it itself, and of which block: its vote or its proposal, not the words of others it carries.
    pub fn said_by(&self, who: NodeId) -> Option<(Once, Option<BlockId>)> {
        let once = |height, round, step| Once { height, round, step };
        match self {
            Message::Vote(Signed { said, .. }) if said.voter == who => {
                Some((once(said.height, said.round, Some(said.step)), said.value))
            }
            Message::Proposal(Signed { said, .. }) if said.proposer == who => {
                Some((once(said.height, said.round, None), Some(said.value)))
            }
            Message::Vote(_)
            | Message::Proposal(_)
            | Message::Polka(_)
            | Message::Round(_)
            | Message::Certificate(_) => None,
        }
    }

    /// Whose signatures are in it.
    pub fn speakers(&self) -> Vec<NodeId> {
        match self {
            Message::Vote(vote) => vec![vote.said.voter],
            Message::Proposal(proposal) => vec![proposal.said.proposer],
            Message::Polka(polka) => polka.signatures.iter().map(|(voter, _)| *voter).collect(),
            Message::Round(certificate) => certificate.votes.iter().map(|vote| vote.voter).collect(),
            Message::Certificate(certificate) => certificate.signatures.iter().map(|(voter, _)| *voter).collect(),
        }
    }

    /// Whether those who signed are enough of `validators` for what it proves; one who only says something is.
    pub fn suffices(&self, validators: &ValidatorSet) -> Result<(), Short> {
        match self {
            Message::Vote(_) | Message::Proposal(_) => Ok(()),
            Message::Polka(polka) => polka.suffices(validators),
            Message::Round(certificate) => certificate.suffices(validators),
            Message::Certificate(certificate) => certificate.decides(validators),
        }
    }

    /// The bytes, as laid out above.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends the bytes.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.push(self.kind());
        match self {
            Message::Vote(vote) => vote.encode_into(bytes),
            Message::Proposal(proposal) => proposal.encode_into(bytes),
            Message::Polka(polka) => polka.encode_into(bytes),
            Message::Round(certificate) => certificate.encode_into(bytes),
            Message::Certificate(certificate) => certificate.encode_into(bytes),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Message::Vote(vote) => vote.said.step as u8,
            Message::Proposal(_) => 3,
            Message::Polka(_) => 4,
            Message::Certificate(_) => 5,
            Message::Round(_) => 6,
        }
    }

    /// Reads a message, all of `bytes` and no more; checks its shape, not who signed it.
    pub fn decode(bytes: &[u8]) -> Result<Message, Refusal> {
        let mut fields = Fields::of(bytes);
        let message = Message::take(&mut fields)?;
        fields.end()?;
        Ok(message)
    }

    pub(super) fn take(fields: &mut Fields<'_>) -> Result<Message, Refusal> {
        Ok(match fields.u8()? {
            1 => Message::Vote(Signed::<Vote>::take(Step::Prevote, fields)?),
            2 => Message::Vote(Signed::<Vote>::take(Step::Precommit, fields)?),
            3 => Message::Proposal(Signed::<Proposal>::take(fields)?),
            4 => Message::Polka(Polka::take(fields)?),
            5 => Message::Certificate(Certificate::take(fields)?),
            6 => Message::Round(RoundCertificate::take(fields)?),
            kind => return Err(malformed(format!("a message of kind {kind}"))),
        })
    }
}

impl Attested for Message {
    fn holds(&self, chain: ChainId) -> bool {
        match self {
            Message::Vote(vote) => vote.holds(chain),
            Message::Proposal(proposal) => proposal.holds(chain),
            Message::Polka(polka) => polka.holds(chain),
            Message::Round(certificate) => certificate.holds(chain),
            Message::Certificate(certificate) => certificate.holds(chain),
        }
    }
}

/// A message as it is gossiped. Gossip brings the same bytes once; what is said again is numbered, so that it is heard
/// by whoever missed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saying {
    /// How often the sender said it before. Not signed.
    pub again: u16,
    /// What is said.
    pub message: Message,
}

impl Saying {
    /// The bytes on the topic.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![WIRE_VERSION];
        bytes.extend_from_slice(&self.again.to_le_bytes());
        self.message.encode_into(&mut bytes);
        bytes
    }

    /// A digest of what a saying's bytes say, and not of how often it was said: of votes and proposals of all of it; of
    /// what votes add up to, of what they prove, whoever they are of. None for bytes that are no saying.
    pub fn subject(bytes: &[u8]) -> Option<Hash> {
        let message = bytes.get(3..)?;
        let said = match message.first()? {
            1..=3 => message,
            4 | 5 => message.get(..1 + 8 + 4 + 32)?,
            6 => message.get(..1 + 8 + 4 + 1)?,
            _ => return None,
        };
        Some(checksum(said))
    }

    /// Reads a saying, all of `bytes` and no more.
    pub fn decode(bytes: &[u8]) -> Result<Saying, Refusal> {
        if bytes.len() > SAYING_BYTES {
            return Err(Refusal::TooLarge { size_bytes: bytes.len() });
        }
        let mut fields = Fields::of(bytes);
        let version = fields.u8()?;
        if version != WIRE_VERSION {
            return Err(Refusal::Version { version });
        }
        let again = fields.u16()?;
        let message = Message::take(&mut fields)?;
        fields.end()?;
        Ok(Saying { again, message })
    }
}
