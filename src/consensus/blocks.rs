//! What is known of the blocks of a height: which are talked about, whose bodies are here, what their check said.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::wants::Wants;
use crate::types::chain::BlockId;
use crate::types::{Mono, NodeId};

/// Blocks of a height that are remembered because of one validator. An honest one brings up one a round: its newest takes
/// the place of the oldest that is not known to be valid, or of the oldest.
const BLOCKS_OF_ONE: usize = 16;

/// How far this node is with a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Its body is not here.
    Wanted,
    /// Its body is being checked.
    Checking,
    /// Its body was checked, and is valid or not.
    Checked(bool),
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// The round in which it was first heard of.
    round: u32,
    progress: Progress,
    /// Two thirds have voted for it.
    has_quorum: bool,
}

/// The blocks of one height.
#[derive(Debug, Default)]
pub struct Blocks {
    known: BTreeMap<BlockId, Known>,
    /// Blocks by who brought them up, oldest first.
    brought_up: BTreeMap<NodeId, VecDeque<BlockId>>,
    wants: Wants<BlockId>,
}

impl Blocks {
    pub fn clear(&mut self) {
        *self = Blocks::default();
    }

    /// A validator spoke of a block in a round, and a peer brought the word. Whom to ask for the body now, if anyone.
    pub fn heard_of(
        &mut self,
        block: BlockId,
        round: u32,
        [speaker, from]: [NodeId; 2],
        now: Mono,
        patience: Duration,
    ) -> Option<NodeId> {
        if !self.known.contains_key(&block) {
            self.make_room(speaker);
            self.brought_up.entry(speaker).or_default().push_back(block);
            self.known.insert(block, Known { round, progress: Progress::Wanted, has_quorum: false });
        }
        if self.progress(block) != Some(Progress::Wanted) {
            return None;
        }
        let is_first = self.wants.add(block, speaker, now, patience);
        self.wants.add(block, from, now, patience);
        is_first.then_some(speaker)
    }

    fn make_room(&mut self, speaker: NodeId) {
        let Some(blocks) = self.brought_up.get_mut(&speaker).filter(|blocks| blocks.len() >= BLOCKS_OF_ONE) else {
            return;
        };
        let is_unproved = |block| {
            self.known.get(block).is_none_or(|known| !known.has_quorum && known.progress != Progress::Checked(true))
        };
        let oldest = blocks.iter().position(is_unproved).unwrap_or_default();
        if let Some(gone) = blocks.remove(oldest) {
            self.known.remove(&gone);
            self.wants.remove(&gone);
        }
    }

    /// The body is here; true when it is to be checked now.
    pub fn arrived(&mut self, block: BlockId) -> bool {
        let Some(known) = self.known.get_mut(&block) else { return false };
        let is_new = known.progress == Progress::Wanted;
        if is_new {
            known.progress = Progress::Checking;
            self.wants.remove(&block);
        }
        is_new
    }

    /// The body went before it was checked: whoever speaks of the block next is asked for it.
    pub fn lost(&mut self, block: BlockId) {
        if let Some(known) = self.known.get_mut(&block).filter(|known| known.progress == Progress::Checking) {
            known.progress = Progress::Wanted;
        }
    }

    /// Two thirds have voted for a block; true when that is news and its check is under way.
    pub fn on_quorum(&mut self, block: BlockId) -> bool {
        let Some(known) = self.known.get_mut(&block) else { return false };
        let is_news = !std::mem::replace(&mut known.has_quorum, true);
        is_news && known.progress == Progress::Checking
    }

    /// Whether two thirds are known to have voted for a block.
    pub fn has_quorum(&self, block: BlockId) -> bool {
        self.known.get(&block).is_some_and(|known| known.has_quorum)
    }

    /// The check is done; the round in which the block was first heard of, if the check was waited for.
    pub fn checked(&mut self, block: BlockId, valid: bool) -> Option<u32> {
        let known = self.known.get_mut(&block).filter(|known| known.progress == Progress::Checking)?;
        known.progress = Progress::Checked(valid);
        Some(known.round)
    }

    /// A block that was made here, or checked in a former life.
    pub fn learn(&mut self, block: BlockId, round: u32, valid: bool) {
        self.known.insert(block, Known { round, progress: Progress::Checked(valid), has_quorum: false });
        self.wants.remove(&block);
    }

    pub fn progress(&self, block: BlockId) -> Option<Progress> {
        self.known.get(&block).map(|known| known.progress)
    }

    pub fn next_wake(&self) -> Option<Mono> {
        self.wants.next()
    }

    pub fn ask_again(&mut self, now: Mono, patience: Duration) -> Vec<(BlockId, NodeId)> {
        self.wants.due(now, patience)
    }
}
