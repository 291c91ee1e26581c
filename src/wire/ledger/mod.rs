//! The ledger's bytes: sealed transactions, blocks, records of what a block did, proofs.
//!
//! Pure. Everything here has one form in bytes and refuses any other, so that a digest names one thing. Layouts are in
//! `docs/wire.md`, section 20.

mod anchor;
mod block;
mod body;
mod branch;
mod endorsement;
mod pack;
mod proof;
mod record;
mod transactions;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::limits;

pub use anchor::{ANCHOR_BYTES, Anchor, AnchorProof, BLOCK_ANCHORS};
pub use block::{
    BLOCK_BYTES, BLOCK_EVIDENCE, BLOCK_GAS, BLOCK_SEALS, Block, BlockHeader, EVIDENCE_BYTES, NotBlock, anchors_root,
};
pub use body::{Action, Body, EPOCHS, FEE, NAME_BYTES, PAYMENTS, RECORD_BYTES, STATEMENT_BYTES};
pub use branch::{Branch, PAGE_SLOTS, PART_BYTES, PART_ROWS, PageSlot, nibble};
pub use endorsement::{Endorsed, Endorsement, EndorsementAsk, Extent, end};
pub use pack::{NotPack, PACK_BYTES, Pack};
pub use proof::{CERTIFICATE_BYTES, Finality, LedgerProof, NotProof, PROOF_FINALITIES, StatePath};
pub use record::{Effect, Event, Failure, Outcome, Receipt, Record, Tally};
pub use transactions::{NotSealed, Order, SEALED_BYTES, SEALED_TRANSACTIONS, Sealed, Transaction};

/// Bincode 2 standard, bounded by the largest frame.
const BINARY: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<{ limits::FRAME_BYTES }>,
> = bincode::config::standard().with_limit::<{ limits::FRAME_BYTES }>();

/// The binary form of a value.
pub fn binary<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising fails only for lists of unknown length, which no type of the ledger has.
    bincode::serde::encode_to_vec(value, BINARY).unwrap_or_default()
}

/// The value whose binary form these bytes are, all of them. None for anything else, and for a longer way to write it:
/// bincode reads numbers in more bytes than they need.
pub fn exactly<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    written(bytes).filter(|value| binary(value) == bytes)
}

/// The same for bytes that are known to come from [`binary`].
pub fn written<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, read) = bincode::serde::decode_from_slice::<T, _>(bytes, BINARY).ok()?;
    (read == bytes.len()).then_some(value)
}

#[cfg(test)]
mod tests;
