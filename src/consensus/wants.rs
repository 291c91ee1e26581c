//! What is asked of others: who has it, and when to ask the next of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{Mono, NodeId};

/// Nodes remembered as having one thing.
const HOLDERS: usize = 16;

/// Things that are asked for, by their names.
#[derive(Debug)]
pub struct Wants<K> {
    open: BTreeMap<K, Want>,
}

#[derive(Debug)]
struct Want {
    /// Who has it, as far as is known; asked in turn.
    holders: Vec<NodeId>,
    asked: usize,
    due: Mono,
}

impl<K> Default for Wants<K> {
    fn default() -> Wants<K> {
        Wants { open: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Wants<K> {
    /// Wants a thing that `holder` has; true when it is to be asked now, because nobody has been.
    pub fn add(&mut self, thing: K, holder: NodeId, now: Mono, patience: Duration) -> bool {
        let is_new = !self.open.contains_key(&thing);
        let want = self.open.entry(thing).or_insert(Want { holders: Vec::new(), asked: 1, due: now + patience });
        if want.holders.len() < HOLDERS && !want.holders.contains(&holder) {
            want.holders.push(holder);
        }
        is_new
    }

    /// It is here.
    pub fn remove(&mut self, thing: &K) {
        self.open.remove(thing);
    }

    pub fn clear(&mut self) {
        self.open.clear();
    }

    pub fn next(&self) -> Option<Mono> {
        self.open.values().map(|want| want.due).min()
    }

    /// What did not come in time, with the next to ask for it.
    pub fn due(&mut self, now: Mono, patience: Duration) -> Vec<(K, NodeId)> {
        let mut again = Vec::new();
        for (thing, want) in self.open.iter_mut().filter(|(_, want)| want.due <= now) {
            want.due = now + patience;
            if let Some(holder) = want.holders.get(want.asked % want.holders.len().max(1)) {
                again.push((*thing, *holder));
            }
            want.asked += 1;
        }
        again
    }
}
