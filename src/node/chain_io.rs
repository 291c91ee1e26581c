//! What reaches agreement and the ledger inside the node, and what leaves them.

use std::sync::Arc;

use bytes::Bytes;

use crate::types::NodeId;
use crate::types::chain::Height;
use crate::wire::agreement::{Certificate, Genuine, Message, Roster};
use crate::wire::ledger::{Block, Sealed};

/// Something about the chain has come.
#[derive(Debug)]
pub enum ChainInput {
    /// A message of agreement, believed at the door; `ticket` names it in the verdict if it was gossiped.
    Heard { from: NodeId, ticket: u64, message: Genuine<Message> },
    /// Sealed transactions, their seal checked.
    Transactions { from: NodeId, ticket: u64, sealed: Box<Sealed> },
    /// The body that was asked for under `id`, and maybe a proposal of it.
    Body { from: NodeId, id: u64, block: Box<Block>, proposal: Option<Genuine<Message>> },
    /// The decisions that were asked for under `id`, each with the block it is about.
    Decisions { from: NodeId, id: u64, decisions: Vec<(Genuine<Certificate>, Block)> },
    /// The block at this height, and everything true with it, is on the disk.
    Applied { height: Height },
}

/// Where a word about the chain is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Among validators, and those who follow them.
    Agreement,
    /// Transactions that wait for a block.
    Transactions,
}

/// Something about the chain is wanted.
#[derive(Debug)]
pub enum ChainOutput {
    /// Gossip this.
    Say { channel: Channel, bytes: Bytes },
    /// Who may speak from now on.
    Roster(Arc<Roster>),
    /// Tell the node, as [`ChainInput::Applied`], that this height is on the disk.
    Applied { height: Height },
}
