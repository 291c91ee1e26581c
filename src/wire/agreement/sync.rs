//! What nodes ask one another about the chain, over the sync protocol: bodies of blocks, and decisions that were missed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::chain::{BlockId, Height};

/// Decisions in one answer.
pub const DECISIONS: usize = 64;
/// Certificates and blocks of one answer, bytes: the answer ends before the one that would pass it, but has one.
pub const DECISIONS_BYTES: usize = 2 << 20;

/// What is asked about the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ChainRequest {
    /// The body of a block that is being agreed on.
    Body { block: BlockId },
    /// Decided blocks from this height on.
    Decisions { from: Height },
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
}
