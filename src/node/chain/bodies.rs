//! The blocks of one height: their bodies, and what becomes true with those that are valid.

use std::collections::{BTreeMap, VecDeque};

use crate::ledger::Executed;
use crate::types::Mono;
use crate::types::chain::BlockId;
use crate::wire::ledger::Block;

/// Bodies kept while their height is agreed on. A proposer brings one a round.
const BODIES: usize = 32;

/// At most [`BODIES`] blocks. A new one takes the place of the oldest that is not known to be valid, and only when
/// all are valid of the oldest: so a proposer of nonsense pushes nothing out that may still be decided.
#[derive(Default)]
pub(super) struct Bodies {
    held: BTreeMap<BlockId, (Block, Option<Executed>)>,
    arrived: VecDeque<BlockId>,
    /// Blocks from the future, and when to look at them again.
    put_off: BTreeMap<BlockId, Mono>,
}

impl Bodies {
    pub fn get(&self, id: BlockId) -> Option<&Block> {
        self.held.get(&id).map(|(block, _)| block)
    }

    /// Whether the block is here and valid.
    pub fn is_executed(&self, id: BlockId) -> bool {
        self.held.get(&id).is_some_and(|(_, executed)| executed.is_some())
    }

    pub fn keep(&mut self, block: Block) {
        let id = block.id();
        if self.held.contains_key(&id) {
            return;
        }
        if self.held.len() >= BODIES {
            let unproved = self.arrived.iter().position(|id| !self.is_executed(*id));
            if let Some(gone) = self.arrived.remove(unproved.unwrap_or_default()) {
                self.put_off.remove(&gone);
                self.held.remove(&gone);
            }
        }
        self.arrived.push_back(id);
        self.held.insert(id, (block, None));
    }

    /// A block that was executed, here or for the first time.
    pub fn keep_executed(&mut self, executed: Executed) {
        self.keep(executed.block.clone());
        if let Some((_, outcome)) = self.held.get_mut(&executed.id) {
            *outcome = Some(executed);
        }
    }

    /// The block is decided: what becomes true with it.
    pub fn take(&mut self, id: BlockId) -> Option<Executed> {
        self.held.get_mut(&id).and_then(|(_, executed)| executed.take())
    }

    /// A block's time has not come.
    pub fn put_off(&mut self, id: BlockId, until: Mono) {
        self.put_off.insert(id, until);
    }

    /// A block is put off no longer.
    pub fn judged(&mut self, id: BlockId) {
        self.put_off.remove(&id);
    }

    /// When to look at the first of what was put off.
    pub fn next_wake(&self) -> Option<Mono> {
        self.put_off.values().min().copied()
    }

    /// A block that was put off until now, if there is one.
    pub fn take_due(&mut self, now: Mono) -> Option<BlockId> {
        let (id, _) = self.put_off.iter().find(|(_, due)| **due <= now)?;
        let id = *id;
        self.put_off.remove(&id);
        Some(id)
    }

    /// The height is over.
    pub fn clear(&mut self) {
        self.held.clear();
        self.arrived.clear();
        self.put_off.clear();
    }
}
