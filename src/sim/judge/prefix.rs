//! Every feed at every node is a prefix of what its author wrote.

use std::collections::BTreeMap;

use super::Verdict;
use crate::feed::Chain;
use crate::types::Hash;
use crate::wire::{FeedId, Slot};

/// What honest authors let out, by place.
#[derive(Default)]
pub struct Prefixes {
    written: BTreeMap<Slot, Hash>,
}

impl Prefixes {
    /// An honest author lets a bundle out. It may not contradict itself, in any life.
    pub fn wrote(&mut self, slot: Slot, id: Hash) -> Verdict {
        match self.written.insert(slot, id) {
            Some(before) if before != id => Err(format!("{slot:?}: its author wrote {before:?}, and now {id:?}")),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an author is known to have written there.
    pub fn knows(&self, slot: Slot) -> bool {
        self.written.contains_key(&slot)
    }

    /// A node other than its author holds a bundle of an honest author.
    pub fn holds(&self, slot: Slot, id: Hash) -> Verdict {
        match self.written.get(&slot) {
            Some(written) if *written == id => Ok(()),
            Some(written) => Err(format!("{slot:?}: holds {id:?}, its author wrote {written:?}")),
            None => Err(format!("{slot:?}: holds {id:?}, its author wrote nothing there")),
        }
    }

    /// A node's view of an honest author's feed. `own` feeds may hold what was not let out yet.
    pub fn chain(&self, feed: FeedId, chain: &Chain, own: bool) -> Verdict {
        if let Some(at) = chain.forked {
            return Err(format!("{feed}: an honest author is taken for one that forked at {at}"));
        }
        let orderly = chain.trimmed <= chain.next && chain.base <= chain.joined && chain.joined <= chain.next;
        if !orderly {
            return Err(format!("{feed}: its bounds are out of order: {chain:?}"));
        }
        match chain.next.checked_sub(1) {
            Some(sequence) if !own => self.holds(Slot { feed, sequence }, chain.head),
            Some(_) | None => Ok(()),
        }
    }
}
