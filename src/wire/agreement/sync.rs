//! What nodes ask one another about the chain, over the sync protocol: bodies of blocks, decisions that were
//! missed, and for whoever comes late the state itself.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::chain::{BlockId, Height};
use crate::wire::ledger::{Branch, PAGE_SLOTS, PART_ROWS, PageSlot};

/// Decisions in one answer.
pub const DECISIONS: usize = 64;
/// Certificates and blocks of one answer, bytes: the answer ends before the one that would pass it, but has one.
pub const DECISIONS_BYTES: usize = 2 << 20;

/// Decided headers in one answer.
pub const TRAIL: usize = 16;

/// What is asked about the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ChainRequest {
    /// The body of a block that is being agreed on.
    Body { block: BlockId },
    /// Decided blocks from this height on.
    Decisions { from: Height },
    /// The header of a decided block.
    Header { height: Height },
    /// The decided headers that lead from the validators of this height to the last block.
    Trail { from: Height },
    /// A part of the state after a block: the rows of a branch, if they are no more than `most`, or else its page.
    Part { height: Height, branch: Branch, most: u32 },
}

/// A decided block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// That it is final: [`super::Certificate::encode`].
    pub certificate: Bytes,
    /// The block.
    pub block: Bytes,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ChainResponse {
    /// A body, and a proposal of it if there is one: [`super::Message::encode`].
    Body { block: Bytes, proposal: Option<Bytes> },
    /// Decisions, ascending, one after the other; none when the asked one is not there.
    Decisions(Vec<Decision>),
    /// It is not here.
    Nothing,
    /// A header: [`crate::wire::ledger::BlockHeader::encode`].
    Header(Bytes),
    /// Decided headers, ascending, at most [`TRAIL`]; `more` when the last is not that of the last block.
    Trail { headers: Vec<Vouched>, more: bool },
    /// All rows of a branch, keys and values, by place.
    Rows(Vec<(Bytes, Bytes)>),
    /// The page of a branch that has too many.
    Page(Box<[PageSlot; PAGE_SLOTS]>),
    /// Blocks, or the state, of that height are not kept; those of these are.
    NotKept { oldest: Height, newest: Height },
}

/// A header, and what shows that it is decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vouched {
    /// [`crate::wire::ledger::BlockHeader::encode`].
    pub header: Bytes,
    /// Who decided it: [`crate::types::chain::ValidatorSet::to_bytes`].
    pub validators: Bytes,
    /// [`super::Certificate::encode`].
    pub certificate: Bytes,
}

impl ChainRequest {
    /// Whether it is written in the one form.
    pub fn is_proper(&self) -> bool {
        match self {
            ChainRequest::Part { branch, .. } => branch.is_proper(),
            ChainRequest::Body { .. }
            | ChainRequest::Decisions { .. }
            | ChainRequest::Header { .. }
            | ChainRequest::Trail { .. } => true,
        }
    }
}

impl ChainResponse {
    /// More of anything than one answer has, in words.
    pub fn excess(&self) -> Option<String> {
        let (count, most, of) = match self {
            ChainResponse::Decisions(list) => (list.len(), DECISIONS, "decisions"),
            ChainResponse::Trail { headers, .. } => (headers.len(), TRAIL, "headers"),
            ChainResponse::Rows(rows) => (rows.len(), PART_ROWS, "rows"),
            ChainResponse::Body { .. }
            | ChainResponse::Nothing
            | ChainResponse::Header(_)
            | ChainResponse::Page(_)
            | ChainResponse::NotKept { .. } => return None,
        };
        (count > most).then(|| format!("{count} {of}"))
    }
}
