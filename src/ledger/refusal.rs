//! Why blocks, transactions and whole chains are not taken.

use super::execute::{BadEvidence, Unfit};
use super::fault::Fault;
use super::mempool::NotPooled;
use crate::types::NodeId;
use crate::types::chain::{BlockId, ChainId, Height};
use crate::wire::ledger::NotSealed;

/// Why a block is not voted for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlockRefusal {
    #[error("made for chain {0}")]
    WrongChain(ChainId),
    #[error("height {have}; the next is {next}")]
    Height { have: Height, next: Height },
    #[error("it follows block {0}, which is not the last")]
    Parent(BlockId),
    #[error("its time is not later than that of the block before")]
    Time,
    #[error("its header names other validators")]
    Validators,
    #[error("{0} is not a validator")]
    Proposer(NodeId),
    #[error("seal {index}: {why}")]
    Seal { index: usize, why: NotSealed },
    #[error("seal {index}: {why}")]
    Unfit { index: usize, why: Unfit },
    #[error("evidence {index}: {why}")]
    Evidence { index: usize, why: BadEvidence },
    #[error("its execution leads to another state root")]
    StateRoot,
    #[error("its execution leaves other records")]
    ReceiptsRoot,
    #[error("its execution seats other validators")]
    NextValidators,
}

impl BlockRefusal {
    /// A stable name, for programs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            BlockRefusal::WrongChain(_) => "wrong_chain",
            BlockRefusal::Height { .. } => "height",
            BlockRefusal::Parent(_) => "parent",
            BlockRefusal::Time => "time",
            BlockRefusal::Validators => "validators",
            BlockRefusal::Proposer(_) => "proposer",
            BlockRefusal::Seal { why, .. } => why.code(),
            BlockRefusal::Unfit { why, .. } => why.code(),
            BlockRefusal::Evidence { .. } => "evidence",
            BlockRefusal::StateRoot => "state_root",
            BlockRefusal::ReceiptsRoot => "receipts_root",
            BlockRefusal::NextValidators => "next_validators",
        }
    }
}

/// Why a block is not executed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotExecuted {
    /// Its proposer is wrong.
    #[error(transparent)]
    Refused(#[from] BlockRefusal),
    /// This node is.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why transactions are not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotTaken {
    #[error(transparent)]
    Seal(#[from] NotSealed),
    #[error(transparent)]
    Pool(#[from] NotPooled),
    #[error("this node is far behind the chain and fetches its state: send it again later, or to another node")]
    Joining,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl NotTaken {
    /// A stable name, for programs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            NotTaken::Seal(why) => why.code(),
            NotTaken::Pool(why) => why.code(),
            NotTaken::Joining => "joining",
            NotTaken::Fault(_) => "fault",
        }
    }
}

/// Why a chain cannot be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    #[error("this store has chain {stored}, and the genesis begins chain {ours}: give its genesis, or another --dir")]
    AnotherChain { stored: ChainId, ours: ChainId },
    #[error("this store takes in the state of a later block and is half done: `metanode start` ends that first")]
    Swapping,
    #[error(transparent)]
    Fault(#[from] Fault),
}
