//! The blocks of one height: their bodies, and what becomes true with those that are valid.

use std::collections::{BTreeMap, VecDeque};

use crate::ledger::Executed;
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

    /// The height is over.
    pub fn clear(&mut self) {
        self.held.clear();
        self.arrived.clear();
    }
}
