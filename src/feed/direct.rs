//! Direct bundles: outside the chains, each kept for itself by its author and its reader.
//!
//! A bundle is known by its author, life, topic and clock: what comes a second time is seen to. The oldest go first, by
//! clock, and nothing as old as what went is taken any more, so that it is not taken for new.
//!
//! ```text
//!  Direct  topic 1 │ clock 8 │ author 32 │ incarnation 8  → bytes kept 4
//!  Meta    "direct" topic 1                              → the clock of the latest that went 8
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::feeds::NotPlaced;
use super::log::Stored;
use super::retention::{Retention, Rule};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Incarnation, NodeId, Stamp, WallMs, limits};
use crate::wire::{Category, FeedId, Slot, Verified};

/// The direct bundles of a node: the rows are their state, this counts their bytes.
#[derive(Debug, Default)]
pub struct Directs {
    topics: BTreeMap<Category, Topic>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Topic {
    /// Bytes kept.
    bytes: u64,
    /// Bundles up to this clock were let go.
    floor: Stamp,
}

impl Directs {
    /// As the store has them.
    pub fn load(view: &dyn View) -> Directs {
        let mut directs = Directs::default();
        let start = Key::new(Table::Direct, &[]);
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            if let Some(slot) = place(key) {
                directs.topics.entry(slot.feed.topic).or_default().bytes += u64::from(kept(row));
            }
            ControlFlow::Continue(())
        });
        for topic in Category::ALL {
            if let Some(floor) = view.get(&floor_key(topic)).and_then(|row| row.as_ref().try_into().ok()) {
                directs.topics.entry(topic).or_default().floor = Stamp(u64::from_be_bytes(floor));
            }
        }
        directs
    }

    /// Bytes kept of a category.
    pub fn bytes(&self, topic: Category) -> u64 {
        self.topics.get(&topic).map_or(0, |topic| topic.bytes)
    }

    /// Whether a bundle is to be kept: it is new, and not older than any that is taken.
    pub fn check(&self, bundle: &Verified, wall: WallMs, view: &dyn View) -> Result<(), NotPlaced> {
        let (clock, topic) = (bundle.header().clock, bundle.header().feed.topic);
        let floor = self.topics.get(&topic).map_or(Stamp(0), |topic| topic.floor);
        if clock <= floor || clock.wall() < wall.minus(limits::DIRECT_AGE) {
            return Err(NotPlaced::Old);
        }
        if view.get(&key(bundle.slot())).is_some() {
            return Err(NotPlaced::Duplicate);
        }
        Ok(())
    }

    /// Takes note of a bundle that was kept in so many bytes.
    pub fn stored(&mut self, slot: Slot, bytes: u64, tx: &mut Txn<'_>) {
        self.topics.entry(slot.feed.topic).or_default().bytes += bytes;
        tx.put(key(slot), u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes().to_vec());
    }

    /// Lets go of what the rules no longer keep, oldest first, at most `budget` bundles. Returns how many went.
    pub fn trim(&mut self, rules: &Retention, wall: WallMs, budget: usize, tx: &mut Txn<'_>) -> usize {
        let mut gone = 0;
        for (topic, rule) in rules {
            let due = self.due(*topic, rule, wall, budget - gone, tx);
            gone += due.len();
            let Some((last, _)) = due.last() else { continue };
            let of_topic = self.topics.entry(*topic).or_default();
            of_topic.floor = of_topic.floor.max(clock(*last));
            tx.put(floor_key(*topic), of_topic.floor.0.to_be_bytes().to_vec());
            for (slot, bytes) in due {
                of_topic.bytes = of_topic.bytes.saturating_sub(u64::from(bytes));
                Stored::remove(slot, tx);
                tx.delete(key(slot));
            }
        }
        gone
    }

    /// The oldest bundles of a category that are to go.
    fn due(&self, topic: Category, rule: &Rule, wall: WallMs, budget: usize, view: &dyn View) -> Vec<(Slot, u32)> {
        let mut left = self.bytes(topic);
        let start = Key::new(Table::Direct, &[&[topic.tag()]]);
        let mut due = Vec::new();
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            let Some(slot) = place(key).filter(|_| due.len() < budget) else { return ControlFlow::Break(()) };
            let old = rule.max_age.is_some_and(|age| clock(slot).wall() < wall.minus(age));
            if !old && rule.max_bytes.is_none_or(|most| left <= most) {
                return ControlFlow::Break(());
            }
            left = left.saturating_sub(u64::from(kept(row)));
            due.push((slot, kept(row)));
            ControlFlow::Continue(())
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

fn floor_key(topic: Category) -> Key {
    Key::new(Table::Meta, &[b"direct", &[topic.tag()]])
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
