//! Which roots over replicated state this node puts into the blocks it makes: those that are not in one yet.
//!
//! No block is made for them; they travel with those that are made anyway.

use std::collections::BTreeMap;

use crate::crdt::collections;
use crate::types::storage::View;
use crate::types::{Hash, WallMs};
use crate::wire::ledger::{Anchor, BLOCK_ANCHORS, Block};

/// Collections whose last anchor is remembered.
const REMEMBERED: usize = 4_096;

/// What blocks have said of collections since this node started: the root, and how many blocks with anchors ago.
#[derive(Default)]
pub(super) struct Anchors {
    said: BTreeMap<String, (Hash, u64)>,
    blocks: u64,
}

impl Anchors {
    /// A block is final.
    pub fn note(&mut self, block: &Block) {
        self.blocks += u64::from(!block.anchors().is_empty());
        for Anchor { collection, root, .. } in block.anchors() {
            if self.said.len() < REMEMBERED || self.said.contains_key(collection) {
                self.said.insert(collection.clone(), (*root, self.blocks));
            }
        }
    }

    /// What the next block of this node carries: of what has changed, what was anchored longest ago.
    pub fn next(&self, view: &dyn View) -> Vec<Anchor> {
        let mut changed: Vec<(u64, Anchor)> = Vec::new();
        for one in collections(view) {
            let (said, when) = self.said.get(&one.name).copied().unwrap_or_default();
            if said != one.root {
                let anchor = Anchor { collection: one.name, clock_ms: WallMs(one.last_ms), root: one.root };
                changed.push((when, anchor));
            }
        }
        changed.sort_by(|a, b| (a.0, &a.1.collection).cmp(&(b.0, &b.1.collection)));
        changed.into_iter().take(BLOCK_ANCHORS).map(|(_, anchor)| anchor).collect()
    }
}
