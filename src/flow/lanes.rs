//! One lane per rank and topic.

use std::collections::{BTreeMap, VecDeque};

use crate::types::limits;
use crate::wire::{Category, Draft, Priority, Seal};

/// A draft on its way, and who waits for it.
#[derive(Debug)]
pub struct Parcel {
    /// What is to be said.
    pub draft: Draft,
    /// The call it came with.
    pub call: u64,
    /// Its index in that call.
    pub index: usize,
}

/// Which bundles a draft may travel in: by rank first, so that what is urgent is sealed first.
type Lane = (Priority, Category, Priority, bool);

/// The drafts of a step, by rank, topic, stated priority and whether they are kept.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: BTreeMap<Lane, VecDeque<Parcel>>,
    waiting: usize,
}

impl Lanes {
    /// Puts a draft in its lane.
    pub fn push(&mut self, parcel: Parcel) {
        let (kind, priority) = (parcel.draft.kind(), parcel.draft.priority);
        let topic = kind.category();
        let lane = (priority.rank(topic), topic, priority, kind.is_ephemeral());
        self.lanes.entry(lane).or_default().push_back(parcel);
        self.waiting += 1;
    }

    /// How many drafts wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The next load for one bundle, from the most urgent lane: as many drafts as fit, at least one.
    pub fn take(&mut self) -> Option<Vec<Parcel>> {
        let mut lane = self.lanes.first_entry()?;
        let queue = lane.get_mut();
        let (mut load, mut bytes) = (Vec::new(), 0);
        while let Some(parcel) = queue.front() {
            // 96 bytes cover what surrounds a payload in the common case; the target is far below the limit.
            bytes += parcel.draft.payload_bytes() + 96;
            let full = bytes > limits::BUNDLE_TARGET_BYTES || load.len() == limits::BUNDLE_MESSAGES;
            let alone = parcel.draft.seal == Seal::Each;
            if (full || alone) && !load.is_empty() {
                break;
            }
            load.extend(queue.pop_front());
            if alone {
                break;
            }
        }
        if queue.is_empty() {
            lane.remove();
        }
        self.waiting -= load.len();
        Some(load)
    }
}
