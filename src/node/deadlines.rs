//! Direct messages of this node that wait for their readers, and when their time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::deliver::Name;
use crate::types::WallMs;

/// By position, and in the order of time. As much as waits, and no more: what is settled is taken out.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_position: BTreeMap<u64, (WallMs, Name)>,
    by_time: BTreeSet<(WallMs, u64)>,
}

impl Deadlines {
    /// The message at `position` waits for a destination, until then.
    pub fn insert(&mut self, position: u64, until: WallMs, to: &Name) {
        self.remove(position);
        self.by_position.insert(position, (until, to.clone()));
        self.by_time.insert((until, position));
    }

    /// It waits no more.
    pub fn remove(&mut self, position: u64) {
        if let Some((until, _)) = self.by_position.remove(&position) {
            self.by_time.remove(&(until, position));
        }
    }

    /// Takes out a message whose time is over: where to, and its position.
    pub fn pop(&mut self, now: WallMs) -> Option<(Name, u64)> {
        let (_, position) = self.by_time.first().copied().filter(|(until, _)| *until <= now)?;
        self.by_time.pop_first();
        self.by_position.remove(&position).map(|(_, name)| (name, position))
    }

    /// Whether any of these positions waits.
    pub fn any(&self, positions: Range<u64>) -> bool {
        self.by_position.range(positions).next().is_some()
    }
}
