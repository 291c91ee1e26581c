//! Endorsements: what validators sign of replicated state, so that a copy of it can be known to lack nothing.
//!
//! ```text
//!  extent       chain 32 │ network 32 │ until, ms │ collections: name, writes stamped before, the sum over them
//!  signature    over label 70, the chain, the validator, how many collections, the extent's digest, height 8 │ block 32
//!  endorsement  "metanode/endorsement/1" 22 │ bincode: extent, decided headers, signatures
//! ```
//!
//! The block is the last one that the asker knows to be decided: it says among whom two thirds are needed, and after
//! when it was signed. The label makes it count for nothing else.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::super::kind::state::collection_fault;
use super::super::refusal::Refusal;
use super::super::seal::{Label, Signature, Statement};
use super::super::state_frame::CollectionHead;
use super::proof::{Finality, FinalityForm, PROOF_FINALITIES};
use super::{binary, exactly};
use crate::types::chain::{BlockId, ChainId, Height, VALIDATORS};
use crate::types::{Domain, Hash, NetworkId, NodeId, Stamp, Version, WallMs, limits};

/// What an endorsement's file begins with.
const MAGIC: &[u8; 22] = b"metanode/endorsement/1";

/// How much there is of some collections: all writes stamped before a time that are retained.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Extent {
    /// The chain whose validators say so.
    pub chain: ChainId,
    /// The network whose state it is.
    pub network: NetworkId,
    /// Writes stamped before this count.
    pub until: WallMs,
    /// By name, each once: how many are retained, and the sum over them.
    pub collections: Vec<CollectionHead>,
}

impl Extent {
    /// The first version that does not count.
    pub fn end(&self) -> Version {
        end(self.until)
    }

    /// What is wrong with it, if anything.
    pub fn fault(&self) -> Option<&'static str> {
        if self.collections.is_empty() || self.collections.len() > limits::COLLECTIONS {
            return Some("an extent is of 1 to 4,096 collections");
        }
        if self.collections.iter().any(|one| collection_fault(&one.name).is_some()) {
            return Some("the name of no collection");
        }
        let ascend = self.collections.is_sorted_by(|one, next| one.name < next.name);
        (!ascend).then_some("collections out of order")
    }
}

/// The first version of a time: whatever is stamped before it has a lesser one.
pub fn end(until: WallMs) -> Version {
    Version { stamp: Stamp::new(until.0, 0), digest: [0; 16] }
}

/// What a validator is asked to sign.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndorsementAsk {
    /// Of this height, from 1.
    pub height: Height,
    /// The block that was decided there, by those who are asked.
    pub block: BlockId,
    /// What is to be signed.
    pub extent: Extent,
}

impl EndorsementAsk {
    /// The signature of a validator, whose key it must be.
    pub fn sign(&self, key: &SigningKey) -> Signature {
        let author = NodeId(key.verifying_key().to_bytes());
        said(&self.extent, author, &place(self.height, self.block)).sign(key)
    }

    /// Whether a signature is that of this validator.
    pub fn holds(&self, validator: NodeId, signature: &Signature) -> bool {
        said(&self.extent, validator, &place(self.height, self.block)).holds(signature)
    }

    /// The digest that is signed.
    pub fn digest(&self, validator: NodeId) -> Hash {
        said(&self.extent, validator, &place(self.height, self.block)).digest()
    }
}

/// What a validator answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Endorsed {
    /// It retains the same.
    Signed(Signature),
    /// It does not: the first collection of which it has something else, and what it has.
    Differs(CollectionHead),
    /// It has not decided that block: the last one it has.
    Behind(Height),
    /// The time has not come by its clock.
    Early,
    /// The block was decided too long ago.
    Old,
    /// It was no validator of that block, or does not vote.
    NotValidator,
    /// It knows no such chain, network or block.
    WrongChain,
    /// It has no replicated state.
    NoState,
    /// It is asked too much, or judges anew what it has: later.
    Busy,
}

/// An extent with signatures of validators, and the headers that show of which block they were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endorsement {
    /// What was signed.
    pub extent: Extent,
    /// From the first change of validators after those of genesis to the block.
    pub finalities: Vec<Finality>,
    /// Who signed, ascending, each once.
    pub signatures: Vec<(NodeId, Signature)>,
}

#[derive(Serialize, Deserialize)]
struct Form {
    extent: Extent,
    finalities: Vec<FinalityForm>,
    signatures: Vec<(NodeId, Signature)>,
}

impl Endorsement {
    /// The bytes of its file; none if it is larger than such a file may be.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let finalities = self.finalities.iter().map(FinalityForm::of).collect();
        let form = Form { extent: self.extent.clone(), finalities, signatures: self.signatures.clone() };
        let bytes = [MAGIC.as_slice(), &binary(&form)].concat();
        (MAGIC.len() + 1..=limits::FRAME_BYTES).contains(&bytes.len()).then_some(bytes)
    }

    /// Reads [`Endorsement::encode`]; checks its shape, neither headers nor signatures.
    pub fn decode(bytes: &[u8]) -> Result<Endorsement, Refusal> {
        let form = |reason: String| Refusal::Frame { reason };
        if bytes.len() > limits::FRAME_BYTES {
            return Err(Refusal::TooLarge { size_bytes: bytes.len() });
        }
        let rest = bytes.strip_prefix(MAGIC);
        let rest = rest.ok_or_else(|| form("an endorsement begins with `metanode/endorsement/1`".into()))?;
        let read = exactly::<Form>(rest).ok_or_else(|| form("not the fields of an endorsement".into()))?;
        let Form { extent, finalities, signatures } = read;
        if let Some(fault) = extent.fault() {
            return Err(form(fault.into()));
        }
        if !(1..=PROOF_FINALITIES).contains(&finalities.len()) {
            return Err(form(format!("{} headers", finalities.len())));
        }
        if !(1..=VALIDATORS).contains(&signatures.len()) || !signatures.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(form("signatures of too many, or out of order".into()));
        }
        let finalities = finalities.into_iter().map(FinalityForm::finality).collect::<Result<_, _>>();
        let finalities = finalities.map_err(|why| form(why.to_string()))?;
        Ok(Endorsement { extent, finalities, signatures })
    }

    /// What each of the signatures is under; none without a header, which nothing that was read is.
    pub fn asked(&self) -> Option<EndorsementAsk> {
        let header = &self.finalities.last()?.header;
        Some(EndorsementAsk { height: header.height, block: header.id(), extent: self.extent.clone() })
    }
}

fn said<'a>(extent: &Extent, author: NodeId, position: &'a [u8; 40]) -> Statement<'a> {
    Statement {
        label: Label::Endorsement,
        network: NetworkId(extent.chain.0),
        author,
        count: extent.collections.len() as u32,
        root: Domain::Endorsement.hash(&[&binary(extent)]),
        position,
    }
}

/// Which block: height 8 ‖ id 32.
fn place(height: Height, block: BlockId) -> [u8; 40] {
    let mut bytes = [0; 40];
    let (number, id) = bytes.split_at_mut(8);
    number.copy_from_slice(&height.0.to_le_bytes());
    id.copy_from_slice(block.as_bytes());
    bytes
}
