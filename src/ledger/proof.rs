//! Checking a proof without a ledger: a third party's part.

use super::fault::Fault;
use super::rows::{self, Row};
use super::tree;
use super::witness::Witness;
use crate::types::Hash;
use crate::types::chain::{BlockId, ChainId, Height};
use crate::wire::ledger::{AnchorProof, BlockHeader, Finality, LedgerProof, anchors_root};

/// Why a proof proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unproved {
    #[error("height {0} is of another chain")]
    WrongChain(Height),
    #[error("the validators of height {0} are not those that are trusted")]
    Strangers(Height),
    #[error("the certificate of height {0} is not that of its validators")]
    NotDecided(Height),
    #[error("height {0} is not later than the one before it")]
    Order(Height),
    #[error("there is no header")]
    Nothing,
    #[error("it is about a block of height {0} that is not the trusted one")]
    AnotherBlock(Height),
    #[error("the row is not under the state root of height {0}")]
    Path(Height),
    #[error("the anchors are not those of the block at height {0}")]
    Anchors(Height),
}

/// What a proof shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved<'a> {
    /// The block after which the row was so.
    pub header: &'a BlockHeader,
    /// The row's key.
    pub key: &'a [u8],
    /// Its value; none if there was no such row.
    pub value: Option<&'a [u8]>,
}

impl Proved<'_> {
    /// The row with this name, if it is the one that is proved: some of none shows that there was none.
    pub fn row<R: Row>(&self, name: &R::Name) -> Option<Result<Option<R>, Fault>> {
        (R::key(name) == self.key).then(|| self.value.map(rows::decode).transpose())
    }
}

/// Checks a proof, for one who trusts the validators with the hash `trusted` to decide on this chain: those of genesis,
/// or of a later height that is known to be decided.
pub fn verify<'a>(
    proof: &'a LedgerProof,
    chain: ChainId,
    trusted: Hash,
    witness: &dyn Witness,
) -> Result<Proved<'a>, Unproved> {
    let (mut trusted, mut before) = (trusted, Height::GENESIS);
    for finality in &proof.finalities {
        decided(finality, chain, trusted, before, witness)?;
        (trusted, before) = (finality.header.next_validators, finality.header.height);
    }
    under(proof)
}

/// Checks a proof of a block's anchors, as [`verify`] does that of a row.
pub fn verify_anchors<'a>(
    proof: &'a AnchorProof,
    chain: ChainId,
    trusted: Hash,
    witness: &dyn Witness,
) -> Result<&'a BlockHeader, Unproved> {
    let (mut trusted, mut before) = (trusted, Height::GENESIS);
    for finality in &proof.finalities {
        decided(finality, chain, trusted, before, witness)?;
        (trusted, before) = (finality.header.next_validators, finality.header.height);
    }
    anchored(proof)
}

/// The same for one who knows that a block with this id was decided.
pub fn verify_anchors_at(proof: &AnchorProof, block: BlockId) -> Result<&BlockHeader, Unproved> {
    let Finality { header, .. } = proof.finalities.last().ok_or(Unproved::Nothing)?;
    if header.id() != block {
        return Err(Unproved::AnotherBlock(header.height));
    }
    anchored(proof)
}

/// The last header, if the anchors are its own.
fn anchored(proof: &AnchorProof) -> Result<&BlockHeader, Unproved> {
    let Finality { header, .. } = proof.finalities.last().ok_or(Unproved::Nothing)?;
    if anchors_root(&proof.anchors) == header.anchors_root { Ok(header) } else { Err(Unproved::Anchors(header.height)) }
}

/// Checks a proof for one who knows that a block with this id was decided: its header is all that is needed.
pub fn verify_at(proof: &LedgerProof, block: BlockId) -> Result<Proved<'_>, Unproved> {
    let Finality { header, .. } = proof.finalities.last().ok_or(Unproved::Nothing)?;
    if header.id() != block {
        return Err(Unproved::AnotherBlock(header.height));
    }
    under(proof)
}

/// The row, if it is under the state root of the last header.
fn under(proof: &LedgerProof) -> Result<Proved<'_>, Unproved> {
    let Finality { header, .. } = proof.finalities.last().ok_or(Unproved::Nothing)?;
    let value = proof.value.as_deref();
    let (place, digest) = (rows::place(&proof.key), value.map(rows::digest));
    if !tree::leads(&proof.path, &place, digest.as_ref(), &header.state_root) {
        return Err(Unproved::Path(header.height));
    }
    Ok(Proved { header, key: &proof.key, value })
}

/// Whether a header is decided by the validators with the hash `trusted`, and later than `before`.
pub(super) fn decided(
    finality: &Finality,
    chain: ChainId,
    trusted: Hash,
    before: Height,
    witness: &dyn Witness,
) -> Result<(), Unproved> {
    let Finality { header, validators, certificate } = finality;
    let height = header.height;
    if header.chain != chain {
        return Err(Unproved::WrongChain(height));
    }
    if height <= before {
        return Err(Unproved::Order(height));
    }
    if header.validators != trusted || validators.hash() != trusted {
        return Err(Unproved::Strangers(height));
    }
    if !witness.decided(chain, height, header.id(), validators, certificate) {
        return Err(Unproved::NotDecided(height));
    }
    Ok(())
}
