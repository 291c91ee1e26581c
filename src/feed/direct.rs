//! Direct bundles: outside the chains, each kept for itself by its author and its reader.
//!
//! A bundle is known by its author, life, topic and clock: what comes a second time is seen to. Where the rules keep no
//! more, whoever has most here loses its oldest, so that a flood costs the one it comes from. Of an author's life nothing
//! as old as what went is taken any more, so that it is not taken for new. What this node has to deliver stays.
//!
//! ```text
//!  Direct  topic 1 │ clock 8 │ author 32 │ incarnation 8  → bytes kept 4
//!  Meta    "direct" topic 1                              → the clock up to which nobody's is taken any more 8
//!          "direct" topic 1 │ author 32 │ incarnation 8  → the same for one life
//! ```

use std::collections::{BTreeMap, BinaryHeap};
use std::ops::ControlFlow;

use super::feeds::NotPlaced;
use super::log::Stored;
use super::retention::{Retention, Rule};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Incarnation, NodeId, Stamp, WallMs, limits};
use crate::wire::{Category, FeedId, Slot, Verified};

/// Bundles of one life looked at, in one round, for one that may go.
const LOOKED_AT: usize = 256;

/// The direct bundles of a node: the rows are their state, this counts their bytes.
#[derive(Debug, Default)]
pub struct Directs {
    topics: BTreeMap<Category, Topic>,
}

#[derive(Debug, Default)]
struct Topic {
    /// Bytes kept.
    bytes: u64,
    /// Bundles up to this clock are not taken, whoever their author is.
    floor: Stamp,
    lives: BTreeMap<FeedId, Life>,
    /// There were as many lives as there is room for when the rules were last kept.
    is_full: bool,
}

/// What there is of an author's life.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    bytes: u64,
    /// Its bundles up to this clock were let go.
    floor: Stamp,
    /// Up to here it was looked for one that may go, and all stay for now.
    stays: Stamp,
}

/// Whether a bundle is still to be delivered, and stays whatever the rules say.
pub type Stays<'a> = &'a dyn Fn(Slot, &Stored) -> bool;

impl Directs {
    /// As the store has them.
    pub fn load(view: &dyn View) -> Directs {
        let mut directs = Directs::default();
        let start = Key::new(Table::Direct, &[]);
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            if let Some(slot) = place(key) {
                directs.topics.entry(slot.feed.topic).or_default().count(slot.feed, u64::from(kept(row)));
            }
            ControlFlow::Continue(())
        });
        for topic in Category::ALL {
            let all = floor_key(topic);
            view.scan(&all, &all.after_prefix(), &mut |key, row| {
                let of_topic = directs.topics.entry(topic).or_default();
                match (key.strip_prefix(all.as_bytes()), row.as_ref().try_into().map(u64::from_be_bytes)) {
                    (Some([]), Ok(floor)) => of_topic.floor = Stamp(floor),
                    (Some(life), Ok(floor)) => {
                        if let Some(feed) = life_of(topic, life) {
                            of_topic.lives.entry(feed).or_default().floor = Stamp(floor);
                        }
                    }
                    (None, _) | (_, Err(_)) => {}
                }
                ControlFlow::Continue(())
            });
        }
        directs
    }

    /// Bytes kept of a category.
    pub fn bytes(&self, topic: Category) -> u64 {
        self.topics.get(&topic).map_or(0, |topic| topic.bytes)
    }

    /// Whether a bundle is to be kept: it is new, not older than any that is taken, and there is room for its author.
    pub fn check(&self, bundle: &Verified, wall: WallMs, view: &dyn View) -> Result<(), NotPlaced> {
        let (clock, feed) = (bundle.header().clock, bundle.header().feed);
        if view.get(&key(bundle.slot())).is_some() {
            return Err(NotPlaced::Duplicate);
        }
        let topic = self.topics.get(&feed.topic);
        let life = topic.and_then(|topic| topic.lives.get(&feed));
        let floor = topic.map_or(Stamp(0), |topic| topic.floor).max(life.map_or(Stamp(0), |life| life.floor));
        if clock <= floor || clock.wall() < wall.minus(limits::DIRECT_AGE) {
            return Err(NotPlaced::Old);
        }
        if life.is_none() && topic.is_some_and(|topic| topic.is_full) {
            return Err(NotPlaced::NoRoom);
        }
        Ok(())
    }

    /// Takes note of a bundle that was kept in so many bytes.
    pub fn stored(&mut self, slot: Slot, bytes: u64, tx: &mut Txn<'_>) {
        self.topics.entry(slot.feed.topic).or_default().count(slot.feed, bytes);
        tx.put(key(slot), u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes().to_vec());
    }

    /// Lets go of what the rules no longer keep, at most `budget` bundles: what is too old, then of whoever has most
    /// the oldest. What stays does not count. Returns how many went.
    pub fn trim(
        &mut self,
        rules: &Retention,
        wall: WallMs,
        budget: usize,
        stays: Stays<'_>,
        tx: &mut Txn<'_>,
    ) -> usize {
        let mut gone = 0;
        for (name, topic) in &mut self.topics {
            topic.forget(*name, wall, tx);
            let rule = rules.get(name).copied().unwrap_or_default();
            for slot in topic.too_old(*name, &rule, wall, budget - gone, stays, tx) {
                topic.drop(slot, tx);
                gone += 1;
            }
            gone += topic.shrink(&rule, budget - gone, stays, tx);
            topic.is_full = topic.is_crowded(&rule);
        }
        gone
    }
}

impl Topic {
    fn count(&mut self, feed: FeedId, bytes: u64) {
        self.bytes += bytes;
        self.lives.entry(feed).or_default().bytes += bytes;
    }

    /// Whether there are more lives than there is room for. What is kept for ever has room for all.
    fn is_crowded(&self, rule: &Rule) -> bool {
        (rule.max_age.is_some() || rule.max_bytes.is_some()) && self.lives.len() >= limits::DIRECT_LIVES
    }

    /// Lets a bundle go: nothing as old is taken of its author's life any more.
    fn drop(&mut self, slot: Slot, tx: &mut Txn<'_>) {
        let bytes = tx.get(&key(slot)).map_or(0, |row| u64::from(kept(&row)));
        self.bytes = self.bytes.saturating_sub(bytes);
        Stored::remove(slot, tx);
        tx.delete(key(slot));
        let life = self.lives.entry(slot.feed).or_default();
        life.bytes = life.bytes.saturating_sub(bytes);
        if clock(slot) > life.floor {
            life.floor = clock(slot);
            tx.put(life_key(slot.feed), life.floor.0.to_be_bytes().to_vec());
        }
    }

    /// Forgets lives of which nothing is kept: those whose floor lies below what is taken anyway and, while there are
    /// too many, those with the lowest floors, below which then nobody's is taken.
    fn forget(&mut self, topic: Category, wall: WallMs, tx: &mut Txn<'_>) {
        let empty = self.lives.iter().filter(|(_, life)| life.bytes == 0);
        let mut empty: Vec<(Stamp, FeedId)> = empty.map(|(feed, life)| (life.floor, *feed)).collect();
        empty.sort_unstable();
        let enough = limits::DIRECT_LIVES - limits::DIRECT_LIVES / 8;
        for (floor, feed) in empty {
            if floor.wall() >= wall.minus(limits::DIRECT_AGE) {
                if self.lives.len() <= enough {
                    return;
                }
                self.floor = self.floor.max(floor);
                tx.put(floor_key(topic), self.floor.0.to_be_bytes().to_vec());
            }
            self.lives.remove(&feed);
            tx.delete(life_key(feed));
        }
    }

    /// The oldest bundles by clock, as far as they are older than the rule keeps, or of more lives than there is room
    /// for.
    fn too_old(
        &self,
        topic: Category,
        rule: &Rule,
        wall: WallMs,
        budget: usize,
        stays: Stays<'_>,
        view: &dyn View,
    ) -> Vec<Slot> {
        let crowded = self.is_crowded(rule);
        let start = Key::new(Table::Direct, &[&[topic.tag()]]);
        let mut due = Vec::new();
        view.scan(&start, &start.after_prefix(), &mut |key, _| {
            let Some(slot) = place(key).filter(|_| due.len() < budget) else { return ControlFlow::Break(()) };
            if !crowded && rule.max_age.is_none_or(|age| clock(slot).wall() >= wall.minus(age)) {
                return ControlFlow::Break(());
            }
            if !Stored::load(slot, view).is_some_and(|stored| stays(slot, &stored)) {
                due.push(slot);
            }
            ControlFlow::Continue(())
        });
        due
    }

    /// While more is kept than the rule says, whoever has most loses its oldest.
    fn shrink(&mut self, rule: &Rule, budget: usize, stays: Stays<'_>, tx: &mut Txn<'_>) -> usize {
        let Some(most) = rule.max_bytes.filter(|most| self.bytes > *most) else { return 0 };
        let mut largest: BinaryHeap<(u64, FeedId)> =
            self.lives.iter().map(|(feed, life)| (life.bytes, *feed)).collect();
        let (mut gone, mut staying) = (0, 0);
        while gone < budget
            && self.bytes.saturating_sub(staying) > most
            && let Some((bytes, feed)) = largest.pop()
            && bytes > 0
        {
            match self.oldest(feed, stays, tx) {
                Some(slot) => {
                    self.drop(slot, tx);
                    gone += 1;
                    largest.push((self.lives.get(&feed).map_or(0, |life| life.bytes), feed));
                }
                // All of it is to be delivered first: nobody else has to make room for that.
                None => staying += bytes,
            }
        }
        gone
    }

    /// The oldest bundle of a life that may go. Where the first ones all stay, the next round goes on behind them.
    fn oldest(&mut self, feed: FeedId, stays: Stays<'_>, view: &dyn View) -> Option<Slot> {
        let life = self.lives.get_mut(&feed)?;
        let at = |sequence| Stored::key(Slot { feed, sequence });
        let first = limits::SEQUENCES | life.stays.0;
        let (mut found, mut looked, mut stayed, mut last) = (None, 0, false, None);
        view.scan(&at(first), &at(limits::SEQUENCES | (limits::SEQUENCES - 1)), &mut |key, row| {
            let Some(slot) = key.get(1..).and_then(Slot::from_bytes) else { return ControlFlow::Continue(()) };
            if looked == LOOKED_AT {
                last = Some(clock(slot));
                return ControlFlow::Break(());
            }
            looked += 1;
            if Stored::decode(row).is_some_and(|stored| stays(slot, &stored)) {
                stayed = true;
                return ControlFlow::Continue(());
            }
            (found, last) = (Some(slot), Some(clock(slot)));
            ControlFlow::Break(())
        });
        if stayed || found.is_none() {
            life.stays = last.unwrap_or_default();
        }
        found
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

fn life_key(feed: FeedId) -> Key {
    Key::new(Table::Meta, &[b"direct", &[feed.topic.tag()], feed.author.as_bytes(), &feed.incarnation.0.to_be_bytes()])
}

/// The life that the rest of a floor's key names.
fn life_of(topic: Category, rest: &[u8]) -> Option<FeedId> {
    let (author, incarnation) = rest.split_first_chunk::<32>()?;
    let incarnation = Incarnation(u64::from_be_bytes(incarnation.try_into().ok()?));
    Some(FeedId { author: NodeId(*author), incarnation, topic })
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
