//! What a node has come to of the floors of its collections, and what it is counting or being handed.
//!
//! ```text
//!  Floor  collection → bincode: the floor that is adopted and the number of its roll; one that was counted for a client,
//!         and its roll; what is forgotten; rolls that are to go
//! ```
//!
//! A roll is staged under a number of its own, by counting what is retained here or from a peer, and counts once its root
//! is the floor's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::floor::Floor;
use super::index::{Entry, Sum};
use super::roll::{RollRoot, roll_key};
use super::row::Row;
use super::said::Said;
use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{NodeId, Version};

/// The floor that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Adopted {
    pub floor: Floor,
    pub roll: u64,
    /// What it lets go is not all gone.
    pub sinking: bool,
}

/// A floor that was counted for a client, who has yet to say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Staged {
    pub floor: Floor,
    pub roll: u64,
}

/// What floors took, whether they count still or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Gone {
    /// Of what was written before this not everything is remembered.
    pub below: Version,
    /// Nor of what was known before this event.
    pub known_from: u64,
}

/// A collection's row.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub adopted: Option<Adopted>,
    pub staged: Option<Staged>,
    pub gone: Gone,
    /// The number of the next roll.
    next: u64,
    /// Rolls that do not count: being staged, or to go.
    loose: BTreeSet<u64>,
}

/// A walk over what is retained, from the oldest write on.
#[derive(Debug)]
pub(super) struct Count {
    /// Up to there.
    pub upto: Version,
    /// Under which number what counts is written down; nowhere if it is only counted.
    pub roll: Option<u64>,
    pub after: Option<Version>,
    pub root: RollRoot,
    /// Retained writes that would go.
    pub tombstones: u64,
    /// A client asked for it. Otherwise it is to come to a floor that is said.
    pub asked: bool,
    /// The highest floor that it has come to.
    pub met: Option<Floor>,
    /// What is retained below has changed meanwhile.
    pub late: bool,
}

/// A roll that a peer hands over.
#[derive(Debug)]
pub(super) struct Taking {
    pub floor: Floor,
    pub roll: u64,
    pub root: RollRoot,
    pub last: Option<Entry>,
}

/// Counts that come to nothing make the next one wait longer and longer, up to so many.
const MOST_VAIN: u32 = 8;

/// What is known of a collection's floors.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub kept: Kept,
    pub said: Said,
    pub count: Option<Count>,
    pub takings: BTreeMap<NodeId, Taking>,
    /// What is retained is to be counted: something was said, or has changed.
    pub again: bool,
    /// It was, and came to no higher floor.
    pub tried: bool,
    /// Below the highest floor said this much was retained then.
    pub refuted: Option<(Version, Sum)>,
    /// How often that came to nothing, and how many doubts are let pass before it is done again.
    vain: u32,
    waits: u32,
}

/// The floors of all collections that have any.
#[derive(Debug, Default)]
pub(super) struct FloorBook {
    held: BTreeMap<String, Held>,
    /// Those whose rows are not what is here.
    changed: BTreeSet<String>,
    /// Those of which something is to be done, and the one that had the first turn.
    restless: BTreeSet<String>,
    first: String,
}

impl FloorBook {
    pub fn load(view: &dyn View) -> Result<FloorBook, String> {
        let start = Key::new(Table::Floor, &[]);
        let (mut book, mut broken) = (FloorBook::default(), false);
        view.scan(&start, &start.after_prefix(), &mut |key, value| {
            let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
            match name.zip(decode::<Kept>(value).filter(|kept| kept.next < u64::MAX)) {
                Some((name, kept)) => {
                    // What was being staged is begun anew.
                    let said = Said::load(name, view);
                    book.held.insert(name.into(), Held { kept, said, again: true, ..Held::default() });
                    book.restless.insert(name.into());
                }
                None => broken = true,
            }
            ControlFlow::Continue(())
        });
        if broken { Err("a row of the floors of the replicated state cannot be read".into()) } else { Ok(book) }
    }

    pub fn save(&mut self, tx: &mut Txn<'_>) {
        for name in std::mem::take(&mut self.changed) {
            if let Some(held) = self.held.get(&name) {
                tx.put(key(&name), encode(&held.kept));
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Held)> {
        self.held.iter().map(|(name, held)| (name.as_str(), held))
    }

    pub fn get(&self, collection: &str) -> Option<&Held> {
        self.held.get(collection)
    }

    /// The same, to be changed; its row is written, and it is looked at when the step ends.
    pub fn get_mut(&mut self, collection: &str) -> &mut Held {
        for names in [&mut self.changed, &mut self.restless] {
            if !names.contains(collection) {
                names.insert(collection.into());
            }
        }
        self.held.entry(collection.into()).or_default()
    }

    /// A write of the register of floors is retained from now on, or is not any more.
    pub fn hear(&mut self, collection: &str, row: &Row, more: bool) {
        let held = self.get_mut(collection);
        if more {
            held.said.enter(row)
        } else {
            held.said.leave(row)
        }
        held.again = true;
    }

    /// A write is retained from now on.
    pub fn on_entered(&mut self, collection: &str, version: Version) {
        if let Some(count) = self.held.get_mut(collection).and_then(|held| held.count.as_mut()) {
            count.late |= version < count.upto;
        }
    }

    /// Those of which something is to be done. Each has the first turn once, so that none keeps the others waiting.
    pub fn restless(&mut self) -> Vec<String> {
        let after = (Bound::Excluded(self.first.clone()), Bound::Unbounded);
        let mut names: Vec<String> = self.restless.range(after).cloned().collect();
        names.extend(self.restless.range(..=self.first.clone()).cloned());
        self.first = names.first().cloned().unwrap_or_default();
        names
    }

    pub fn is_at_rest(&self) -> bool {
        self.restless.is_empty()
    }

    pub fn rest(&mut self, collection: &str) {
        self.restless.remove(collection);
    }
}

impl Held {
    pub fn adopted(&self) -> Option<Adopted> {
        self.kept.adopted
    }

    pub fn floor(&self) -> Option<Floor> {
        self.kept.adopted.map(|adopted| adopted.floor)
    }

    /// The highest floor that is said, if it is above the one that counts.
    pub fn pending(&self) -> Option<Floor> {
        self.said.highest().filter(|floor| Some(*floor) > self.floor())
    }

    /// Whether a floor would count if its roll were here.
    pub fn wants(&self, floor: &Floor) -> bool {
        Some(*floor) > self.floor() && self.said.has(floor)
    }

    /// What is retained was counted, and came to no higher floor.
    pub fn refute(&mut self, below: Option<(Version, Sum)>) {
        (self.tried, self.refuted) = (true, below);
        self.vain = (self.vain + 1).min(MOST_VAIN);
        self.waits = (1 << self.vain) >> 3;
    }

    /// What is retained has changed since: it is counted again, less and less often while that comes to nothing.
    pub fn doubt(&mut self) {
        match self.waits.checked_sub(1) {
            Some(left) => self.waits = left,
            None => self.again = true,
        }
    }

    /// Whether nothing is to be done until something happens.
    pub fn is_at_rest(&self) -> bool {
        let sinks = self.kept.adopted.is_some_and(|adopted| adopted.sinking);
        let counts_next = self.again && self.pending().is_some();
        !(self.count.is_some() || sinks || counts_next || self.stale().next().is_some())
    }

    /// Rolls whose rows are to go.
    fn stale(&self) -> impl Iterator<Item = u64> {
        let counted = self.count.as_ref().and_then(|count| count.roll);
        let staged = move |roll: &u64| Some(*roll) == counted || self.takings.values().any(|one| one.roll == *roll);
        self.kept.loose.iter().copied().filter(move |roll| !staged(roll))
    }

    /// Takes away so many rows of rolls that do not count.
    pub fn clear(&mut self, collection: &str, left: &mut usize, tx: &mut Txn<'_>) {
        while *left > 0 {
            let next = self.stale().next();
            let Some(roll) = next else { return };
            let start = roll_key(collection, roll);
            let mut gone = Vec::new();
            tx.scan(&start, &start.after_prefix(), &mut |key, _| {
                gone.extend(Key::from_bytes(key.to_vec()));
                if gone.len() < *left { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if gone.len() < *left {
                self.kept.loose.remove(&roll);
            }
            *left = left.saturating_sub(gone.len().max(1));
            gone.into_iter().for_each(|key| tx.delete(key));
        }
    }

    /// A number for a roll that is to be staged.
    pub fn next_roll(&mut self) -> u64 {
        let roll = self.kept.next;
        self.kept.next += 1;
        self.kept.loose.insert(roll);
        roll
    }

    /// Begins to count; what was being counted is dropped, and for a floor that is said begun anew.
    pub fn begin(&mut self, upto: Version, asked: bool, staged: bool) {
        self.again |= self.count.as_ref().is_some_and(|count| !count.asked);
        let roll = staged.then(|| self.next_roll());
        let (after, root, tombstones) = (None, RollRoot::default(), 0);
        self.count = Some(Count { upto, roll, after, root, tombstones, asked, met: None, late: false });
    }

    /// What was counted for a client is kept until the client says it.
    pub fn stage(&mut self, floor: Floor, roll: u64) {
        self.kept.loose.remove(&roll);
        let former = self.kept.staged.replace(Staged { floor, roll });
        self.kept.loose.extend(former.map(|former| former.roll));
    }

    /// A roll is the floor's from now on.
    pub fn adopt(&mut self, floor: Floor, roll: u64, event: u64) {
        self.withdraw();
        let staged = self.kept.staged.take_if(|staged| staged.floor <= floor);
        self.kept.loose.extend(staged.map(|staged| staged.roll));
        self.kept.loose.remove(&roll);
        self.kept.adopted = Some(Adopted { floor, roll, sinking: true });
        self.kept.gone = Gone { below: self.kept.gone.below.max(floor.version), known_from: event };
        self.takings.retain(|_, taking| taking.floor > floor);
    }

    /// The floor that counts does not any more. What it took is gone.
    pub fn withdraw(&mut self) {
        self.kept.loose.extend(self.kept.adopted.take().map(|former| former.roll));
        (self.again, self.tried, self.refuted) = (true, false, None);
        (self.vain, self.waits) = (0, 0);
        // What stays is another set now: a count for a floor is begun anew, and a client asks again.
        self.count.take_if(|count| !count.asked);
        self.count.iter_mut().for_each(|count| count.late = true);
    }

    /// All that the floor lets go is gone.
    pub fn sunk(&mut self, event: u64) {
        if let Some(adopted) = self.kept.adopted.as_mut().filter(|adopted| adopted.sinking) {
            (adopted.sinking, self.kept.gone.known_from) = (false, event);
        }
    }
}

fn key(collection: &str) -> Key {
    Key::new(Table::Floor, &[collection.as_bytes()])
}

/// A collection's row.
pub(super) fn stored(collection: &str, view: &dyn View) -> Option<Kept> {
    decode(&view.get(&key(collection))?)
}
