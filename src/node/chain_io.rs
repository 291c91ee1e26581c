//! What reaches agreement and the ledger inside the node, and what leaves them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::ledger::Part;
use crate::types::chain::Height;
use crate::types::{Hash, NodeId};
use crate::wire::agreement::{Certificate, Genuine, Message, Roster};
use crate::wire::ledger::{Block, BlockHeader, Finality, Sealed};

/// Something about the chain has come.
#[derive(Debug)]
pub enum ChainInput {
    /// A message of agreement, believed at the door; `ticket` names it in the verdict if it was gossiped.
    Heard { from: NodeId, ticket: u64, message: Genuine<Message> },
    /// Sealed transactions, their seals checked.
    Transactions { from: NodeId, ticket: u64, seals: Vec<Sealed> },
    /// The body that was asked for under `id`, and maybe a proposal of it.
    Body { from: NodeId, id: u64, block: Box<Block>, proposal: Option<Genuine<Message>> },
    /// The decisions that were asked for under `id`.
    Decisions { from: NodeId, id: u64, decisions: Vec<Missed> },
    /// The header that was asked for under `id`.
    Header { from: NodeId, id: u64, header: Box<BlockHeader> },
    /// The decided headers that were asked for under `id`; nobody has looked yet whether they are decided.
    Trail { from: NodeId, id: u64, headers: Vec<Finality>, more: bool },
    /// The part of a state that was asked for under `id`.
    Part { from: NodeId, id: u64, part: Part },
    /// What was asked for under `id` is not kept by that peer.
    NotKept { id: u64 },
    /// The block at this height, and everything true with it, is on the disk.
    Applied { height: Height },
}

/// A decision that was missed: the block, and that it is decided. Whether those who signed decide at its height is seen
/// when its turn comes.
#[derive(Debug)]
pub struct Missed {
    /// Its certificate, whose signatures hold.
    pub certificate: Genuine<Certificate>,
    /// The block.
    pub block: Block,
    /// Its sealed transactions by their leaves, as far as their seals were checked.
    pub seals: BTreeMap<Hash, Arc<Sealed>>,
}

impl Missed {
    /// The height that was decided.
    pub fn height(&self) -> Height {
        self.certificate.get().height
    }
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
