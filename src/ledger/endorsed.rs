//! Checking an endorsement without a node: that those who signed it have two thirds among validators who are proved.

use std::time::Duration;

use super::proof::{Unproved, decided};
use super::witness::Witness;
use crate::types::chain::{ChainId, Height, ValidatorSet};
use crate::types::{Hash, NodeId, limits};
use crate::wire::ledger::{BlockHeader, Endorsement};

/// Why an endorsement endorses nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotEndorsed {
    #[error("it is of another chain")]
    WrongChain,
    #[error("none of its headers is decided by the validators that are trusted")]
    Trust,
    #[error(transparent)]
    Header(#[from] Unproved),
    #[error("{0} is no validator of its block, or signed twice")]
    Stranger(NodeId),
    #[error(
        "it covers what was written until {} s before its block, and more than {} s say nothing of what was there",
        .0.as_secs(), limits::ENDORSED_AGE.as_secs()
    )]
    Stale(Duration),
    #[error("those who signed have {power} of {total} power; more than two thirds are needed")]
    Power { power: u64, total: u64 },
    #[error("the signature of {0} does not hold")]
    BadSignature(NodeId),
}

/// Who endorses, and as of which block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endorsers<'a> {
    /// The last block that was decided when they were asked.
    pub header: &'a BlockHeader,
    /// The power of those who signed.
    pub power: u64,
    /// The power of all who could.
    pub total: u64,
}

/// Checks an endorsement, for one who trusts the validators with the hash `trusted` to decide on this chain: those of
/// genesis, or of a later height. One of a time long before its block says nothing, whoever signed it: before all writes
/// everyone has the same.
pub fn verify_endorsement<'a>(
    endorsement: &'a Endorsement,
    chain: ChainId,
    trusted: Hash,
    witness: &dyn Witness,
) -> Result<Endorsers<'a>, NotEndorsed> {
    if endorsement.extent.chain != chain {
        return Err(NotEndorsed::WrongChain);
    }
    let from = endorsement.finalities.iter().position(|finality| finality.header.validators == trusted);
    let headers = endorsement.finalities.get(from.ok_or(NotEndorsed::Trust)?..).unwrap_or_default();
    let (mut trusted, mut before) = (trusted, Height::GENESIS);
    for finality in headers {
        decided(finality, chain, trusted, before, witness)?;
        (trusted, before) = (finality.header.next_validators, finality.header.height);
    }
    let last = headers.last().ok_or(NotEndorsed::Trust)?;
    let before = last.header.time_ms.0.saturating_sub(endorsement.extent.until.0);
    let before = Duration::from_millis(before);
    if before > limits::ENDORSED_AGE {
        return Err(NotEndorsed::Stale(before));
    }
    let power = power(endorsement, &last.validators)?;
    let asked = endorsement.asked().ok_or(NotEndorsed::Trust)?;
    // Counting came before checking signatures: it costs nothing.
    let bad = endorsement.signatures.iter().find(|(validator, signature)| !asked.holds(*validator, signature));
    match bad {
        Some((validator, _)) => Err(NotEndorsed::BadSignature(*validator)),
        None => Ok(Endorsers { header: &last.header, power, total: last.validators.total() }),
    }
}

/// The power of those who signed, each once, if it is enough.
fn power(endorsement: &Endorsement, validators: &ValidatorSet) -> Result<u64, NotEndorsed> {
    let (mut power, mut last) = (0, None);
    for (validator, _) in &endorsement.signatures {
        if last.is_some_and(|last| last >= *validator) || validators.index(*validator).is_none() {
            return Err(NotEndorsed::Stranger(*validator));
        }
        // No overflow: each validator counts once, and all power together is bounded.
        power += validators.power(*validator);
        last = Some(*validator);
    }
    let total = validators.total();
    if validators.is_quorum(power) { Ok(power) } else { Err(NotEndorsed::Power { power, total }) }
}
