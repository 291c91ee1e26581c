//! Where one feed stands.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::feeds::Feeds;
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Hash, Stamp, limits, row};
use crate::wire::{FeedId, Head, Header, Slot};

/// The state of a feed, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Chain {
    /// Below this, bundles were let go by rule and are not asked for again.
    pub trimmed: u64,
    /// The lowest sequence in the store; past `next` when only what lies after a fork is left there.
    pub base: u64,
    /// Older runs below `joined`, ascending: what lies between was gone everywhere, or so it was said. Each without
    /// a gap, none empty; at most [`limits::CHAIN_RUNS`].
    pub lower: Vec<Range<u64>>,
    /// From here to `next` no bundle is missing.
    pub joined: u64,
    /// What the bundle at `joined` names as the one before it.
    pub joined_previous: Hash,
    /// The sequence the next bundle will have.
    pub next: u64,
    /// The id of the bundle before `next`.
    pub head: Hash,
    /// That bundle's clock.
    pub clock: Stamp,
    /// From here on the author has said two things; nothing more is taken.
    pub forked: Option<u64>,
    /// One past the last sequence stored, when a fork cut the chain shorter.
    pub stored: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Messages ever taken into the chain.
    pub messages: u64,
}

impl Chain {
    /// A chain whose first bundle here will be `first`.
    pub fn starting_at(first: &Header) -> Chain {
        let at = first.sequence;
        Chain { base: at, joined: at, next: at, stored: at, joined_previous: first.previous, ..Chain::default() }
    }

    /// The row's key.
    pub fn key(feed: FeedId) -> Key {
        Key::new(Table::Chain, &[&feed.to_bytes()])
    }

    /// Writes the row.
    pub fn save(&self, feed: FeedId, tx: &mut Txn<'_>) {
        tx.put(Chain::key(feed), row::encode(self));
    }

    /// Every row of the store. A row that cannot be read is a fault of ours or of the disk, and is named.
    pub fn load_all(view: &dyn View) -> Result<Vec<(FeedId, Chain)>, String> {
        let start = Key::new(Table::Chain, &[]);
        let (mut rows, mut broken) = (Vec::new(), None);
        view.scan(&start, &start.after_prefix(), &mut |key, row| match Chain::read(key, row) {
            Some(pair) => {
                rows.push(pair);
                std::ops::ControlFlow::Continue(())
            }
            None => {
                broken = Some(format!("the feed record {} cannot be read", hex::encode(key)));
                std::ops::ControlFlow::Break(())
            }
        });
        broken.map_or(Ok(rows), Err)
    }

    fn read(key: &[u8], row: &Bytes) -> Option<(FeedId, Chain)> {
        let feed = FeedId::from_bytes(key.get(1..)?)?;
        let chain = row::decode(row)?;
        Some((feed, chain))
    }

    /// Ends the chain before `at`. What was kept at and after it stays in the store until retention takes it.
    pub(super) fn cut_at(&mut self, feed: FeedId, at: u64, view: &dyn View) {
        if at >= self.next {
            return;
        }
        if at > self.joined {
            self.next = at;
        } else {
            // The upper run goes altogether, and lower ones down to the fork.
            self.lower.retain(|run| run.start < at);
            let Some(run) = self.lower.pop() else {
                // Nothing of the chain is held any more: it may begin again, below the fork.
                let at = at.min(self.trimmed);
                (self.joined, self.next, self.trimmed) = (at, at, at);
                (self.head, self.joined_previous, self.clock) = (Hash::ZERO, Hash::ZERO, Stamp::default());
                return;
            };
            (self.joined, self.next) = (run.start, run.end.min(at));
            self.joined_previous = header(feed, self.joined, view).map(|first| first.previous).unwrap_or_default();
        }
        let last = header(feed, self.next - 1, view);
        self.head = last.as_ref().map(Header::id).unwrap_or_default();
        self.clock = last.map(|last| last.clock).unwrap_or_default();
    }

    /// Goes on at `first`, though what lies between is missing. Of too many runs the lowest is no longer part of the
    /// chain; its bundles stay until retention takes them.
    pub(super) fn join_at(&mut self, first: &Header) {
        if self.holds_something() {
            self.lower.push(self.joined..self.next);
            if self.lower.len() > limits::CHAIN_RUNS {
                self.lower.remove(0);
            }
        }
        (self.joined, self.next, self.joined_previous) = (first.sequence, first.sequence, first.previous);
    }

    /// One past the end of the run below the upper one; 0 without one.
    pub fn below(&self) -> u64 {
        self.lower.last().map_or(0, |run| run.end)
    }

    /// Whether any bundle of the chain is here.
    pub fn holds_something(&self) -> bool {
        self.joined < self.next
    }

    /// Whether only its last bundle is held.
    pub fn is_down_to_its_head(&self) -> bool {
        self.forked.is_none() && self.base + 1 == self.next
    }

    /// What this node tells others of the feed; none while there is nothing to tell.
    pub fn announcement(&self, feed: FeedId) -> Option<Head> {
        let Chain { joined, next, head, forked, .. } = *self;
        if self.holds_something() {
            return Some(Head { feed, floor: joined, next, hash: head, forked });
        }
        // Where the chain stood when the last of it was let go differs from node to node; the fork does not.
        forked.map(|_| Head { feed, floor: 0, next: 0, hash: Hash::ZERO, forked })
    }
}

fn header(feed: FeedId, sequence: u64, view: &dyn View) -> Option<Header> {
    Some(Feeds::signed_header(Slot { feed, sequence }, view)?.header)
}
