//! Direct bundles: outside the chains, each kept for itself by its author and its reader.
//!
//! A bundle is known by its author, life, topic and clock. Its row outlives the bundle, so that what comes a second time
//! is seen to, for as long as bundles of that age are taken at all.
//!
//! ```text
//!  Direct  topic 1 │ clock 8 │ author 32 │ incarnation 8  → bytes kept 4, zero once it was let go
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::feeds::NotPlaced;
use super::log::Stored;
use super::retention::{Retention, Rule};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Incarnation, NodeId, Stamp, WallMs, limits};
use crate::wire::{Category, FeedId, Slot, Verified};

/// The direct bundles of a node: the rows are their state, this counts their bytes.
#[derive(Debug, Default)]
pub struct Directs {
    bytes: BTreeMap<Category, u64>,
}

impl Directs {
    /// As the store has them.
    pub fn load(view: &dyn View) -> Directs {
        let mut directs = Directs::default();
        let start = Key::new(Table::Direct, &[]);
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            if let Some(slot) = place(key) {
                *directs.bytes.entry(slot.feed.topic).or_default() += u64::from(kept(row));
            }
            ControlFlow::Continue(())
        });
        directs
    }

    /// Bytes kept of a category.
    pub fn bytes(&self, topic: Category) -> u64 {
        self.bytes.get(&topic).copied().unwrap_or_default()
    }

    /// Whether a bundle is to be kept: it is new, and not older than any that is taken.
    pub fn check(bundle: &Verified, wall: WallMs, view: &dyn View) -> Result<(), NotPlaced> {
        if bundle.header().clock.wall() < wall.minus(limits::DIRECT_AGE) {
            return Err(NotPlaced::Old);
        }
        if view.get(&key(bundle.slot())).is_some() {
            return Err(NotPlaced::Duplicate);
        }
        Ok(())
    }

    /// Takes note of a bundle that was kept in so many bytes.
    pub fn stored(&mut self, slot: Slot, bytes: u64, tx: &mut Txn<'_>) {
        *self.bytes.entry(slot.feed.topic).or_default() += bytes;
        tx.put(key(slot), u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes().to_vec());
    }

    /// Lets go of what the rules no longer keep, oldest first, and forgets what is too old to come again; at most
    /// `budget` rows. Returns how many bundles went and how many rows were touched.
    pub fn trim(&mut self, rules: &Retention, wall: WallMs, budget: usize, tx: &mut Txn<'_>) -> (usize, usize) {
        let (mut gone, mut touched) = (0, 0);
        for topic in Category::ALL {
            let rule = rules.get(&topic).copied().unwrap_or_default();
            for (slot, bytes) in self.due(topic, &rule, wall, budget - touched, tx) {
                touched += 1;
                if bytes > 0 {
                    gone += 1;
                    Stored::remove(slot, tx);
                    let left = self.bytes.entry(topic).or_default();
                    *left = left.saturating_sub(u64::from(bytes));
                }
                if clock(slot).wall() < wall.minus(limits::DIRECT_AGE) {
                    tx.delete(key(slot));
                } else {
                    tx.put(key(slot), 0u32.to_be_bytes().to_vec());
                }
            }
        }
        (gone, touched)
    }

    /// The oldest rows of a category that something is to be done about.
    fn due(&self, topic: Category, rule: &Rule, wall: WallMs, budget: usize, view: &dyn View) -> Vec<(Slot, u32)> {
        let forgotten = rule.max_age.map(|age| wall.minus(age.max(limits::DIRECT_AGE)));
        let mut left = self.bytes(topic);
        let start = Key::new(Table::Direct, &[&[topic.tag()]]);
        let mut due = Vec::new();
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            let Some(slot) = place(key).filter(|_| due.len() < budget) else { return ControlFlow::Break(()) };
            let (bytes, at) = (kept(row), clock(slot).wall());
            let old = bytes > 0 && rule.max_age.is_some_and(|age: Duration| at < wall.minus(age));
            let much = bytes > 0 && rule.max_bytes.is_some_and(|most| left > most);
            let over = forgotten.is_some_and(|before| at < before);
            if old || much || over {
                left = left.saturating_sub(u64::from(bytes));
                due.push((slot, bytes));
                return ControlFlow::Continue(());
            }
            // What was let go early lies among the oldest; after the first that is kept there is nothing to do.
            if bytes == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        due
    }
}

/// The clock of a direct bundle, from its place.
fn clock(slot: Slot) -> Stamp {
    Stamp(slot.sequence & !limits::SEQUENCES)
}

fn kept(row: &[u8]) -> u32 {
    row.try_into().map_or(0, u32::from_be_bytes)
}

fn key(slot: Slot) -> Key {
    let FeedId { author, incarnation, topic } = slot.feed;
    let parts: [&[u8]; 4] =
        [&[topic.tag()], &clock(slot).0.to_be_bytes(), author.as_bytes(), &incarnation.0.to_be_bytes()];
    Key::new(Table::Direct, &parts)
}

fn place(key: &[u8]) -> Option<Slot> {
    let (topic, rest) = key.get(1..)?.split_first()?;
    let (clock, rest) = rest.split_first_chunk::<8>()?;
    let (author, incarnation) = rest.split_first_chunk::<32>()?;
    let incarnation = Incarnation(u64::from_be_bytes(incarnation.try_into().ok()?));
    let feed = FeedId { author: NodeId(*author), incarnation, topic: Category::from_tag(*topic)? };
    Some(Slot { feed, sequence: limits::SEQUENCES | u64::from_be_bytes(*clock) })
}
