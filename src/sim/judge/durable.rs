//! What was acknowledged as durable is there.

use std::collections::BTreeMap;

use super::Verdict;
use crate::feed::{Feeds, Retention, find};
use crate::types::storage::View;
use crate::types::{MessageId, NodeId};
use crate::wire::{FeedId, Slot};

/// Messages whose author was told that they are on the disk, and where they are.
#[derive(Default)]
pub struct Durable {
    messages: BTreeMap<MessageId, Option<Slot>>,
}

impl Durable {
    /// A client is told that its message is durable at this node.
    pub fn acknowledge(&mut self, id: MessageId, author: NodeId, view: &dyn View) {
        let slot = slot_of(id, author, view);
        self.messages.insert(id, slot);
    }

    /// The messages, in order of time.
    pub fn ids(&self) -> impl Iterator<Item = MessageId> {
        self.messages.keys().copied()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// One of them, by number.
    pub fn nth(&self, index: usize) -> Option<MessageId> {
        self.messages.keys().nth(index).copied()
    }

    /// The operator put an old copy of the store in place: what it lacks was lost by other hands.
    pub fn forgive(&mut self, view: &dyn View) {
        self.messages.retain(|id, _| find(*id, view).is_some());
    }

    /// A message must be found, unless a rule of retention has let it go.
    pub fn check(&self, id: MessageId, feeds: &Feeds, rules: &Retention, view: &dyn View) -> Verdict {
        if find(id, view).is_some() {
            return Ok(());
        }
        match self.messages.get(&id) {
            Some(Some(slot)) if let_go(*slot, feeds, rules) => Ok(()),
            Some(None) if !rules.is_empty() => Ok(()),
            _ => Err(format!("message {id} was acknowledged as durable and is not there")),
        }
    }
}

fn let_go(slot: Slot, feeds: &Feeds, rules: &Retention) -> bool {
    let below = feeds.chain(slot.feed).is_none_or(|chain| slot.sequence < chain.base.max(chain.trimmed));
    rules.contains_key(&slot.feed.topic) && below
}

fn slot_of(id: MessageId, author: NodeId, view: &dyn View) -> Option<Slot> {
    let entry = find(id, view)?.entry;
    let topic = entry.message()?.known_kind()?.category();
    let feed = FeedId { author, incarnation: entry.incarnation, topic };
    Some(Slot { feed, sequence: entry.sequence })
}
