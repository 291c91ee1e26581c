//! The floor of a collection: below a version only the writes of a set count, which is named by its count and root (see
//! `roll`). The rules are in `docs/floor.md`.
//!
//! ```text
//!  Floor  collection → bincode: the floor that is adopted and the number of its roll, rolls that are to go
//! ```
//!
//! Floors only rise. A roll is staged under a number of its own, by counting what is retained here or from a peer, and
//! counts once its root is the floor's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::collection::Replica;
use super::index::{Entry, Sum};
use super::roll::{RollRoot, page, roll_key};
use super::row::{Row, Status};
use super::unit::{Part, Unit};
use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Hash, NodeId, Version};
use crate::wire::kind::Json;
use crate::wire::kind::state::Op;

/// Where the floor of a collection is said.
pub const FLOOR: &str = "_floor";

/// Below a version only the writes of a set count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Below this.
    pub version: Version,
    /// How many writes are in the set.
    pub count: u64,
    /// The hash over them, in their order.
    pub root: Hash,
}

impl Floor {
    /// The value of the register.
    pub fn json(&self) -> Json {
        Json::from(&serde_json::json!({ "version": self.version, "count": self.count, "root": self.root }))
    }

    /// What a value of the register says, if that is a floor.
    pub fn read(value: &Json) -> Option<Floor> {
        serde_json::from_str(value.as_str()).ok()
    }

    /// What a write of the register says, if that is a floor.
    fn said(row: &Row) -> Option<Floor> {
        let Op::Set { value } = &row.body.op else { return None };
        let floor = Floor::read(value)?;
        // What is not written yet cannot have been counted.
        (floor.version < row.version).then_some(floor)
    }
}

/// The floors of a collection, as a node has come to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Floors {
    /// The one that counts here.
    pub adopted: Option<Floor>,
    /// A higher one that was said, and that this node has not come to yet.
    pub pending: Option<Floor>,
}

/// The floor that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Adopted {
    pub floor: Floor,
    pub roll: u64,
    /// What was known before this event is forgotten.
    pub known_from: u64,
    /// What it lets go is not all gone.
    pub sinking: bool,
}

/// A collection's row.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Kept {
    adopted: Option<Adopted>,
    /// The number of the next roll.
    next: u64,
    /// Rolls that do not count: staged, or to go.
    loose: BTreeSet<u64>,
}

/// A set that is being counted.
#[derive(Clone, Debug)]
pub(super) struct Count {
    pub below: Version,
    /// Under which number it is written down; nowhere if it is only counted.
    pub roll: Option<u64>,
    /// Counted up to here.
    pub after: Option<Version>,
    pub root: RollRoot,
    /// Retained writes that are not in it.
    pub tombstones: u64,
    /// Whose roll it is; none if it is counted here.
    pub from: Option<NodeId>,
    /// A client asked for it.
    pub asked: bool,
    pub done: bool,
    /// Something was retained below where it was counted already.
    pub late: bool,
}

/// What is known of a collection's floors.
#[derive(Debug, Default)]
pub(super) struct Held {
    kept: Kept,
    /// Something was written to the register.
    heard: bool,
    pub wanted: Option<Floor>,
    /// What is retained did not come to it when it was this.
    pub refuted: Option<Sum>,
    pub count: Option<Count>,
}

/// The floors of all collections that have any.
#[derive(Debug, Default)]
pub(super) struct FloorBook {
    held: BTreeMap<String, Held>,
    /// Those whose rows are not what is here.
    changed: BTreeSet<String>,
    /// Those of which something is to be done.
    restless: BTreeSet<String>,
}

impl FloorBook {
    pub fn load(view: &dyn View) -> Result<FloorBook, String> {
        let start = Key::new(Table::Floor, &[]);
        let (mut book, mut broken) = (FloorBook::default(), false);
        view.scan(&start, &start.after_prefix(), &mut |key, value| {
            let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
            match name.zip(decode::<Kept>(value)) {
                Some((name, kept)) => {
                    // What was being staged is begun anew.
                    book.held.insert(name.into(), Held { kept, heard: true, ..Held::default() });
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

    /// A write of the register counts, or does not any more.
    pub fn hear(&mut self, collection: &str) {
        self.get_mut(collection).heard = true;
    }

    /// A write is retained from now on.
    pub fn on_entered(&mut self, collection: &str, version: Version) {
        if let Some(count) = self.held.get_mut(collection).and_then(|held| held.count.as_mut()) {
            count.late |= version < count.below && Some(version) <= count.after;
        }
    }

    pub fn restless(&self) -> Vec<String> {
        self.restless.iter().cloned().collect()
    }

    pub fn is_at_rest(&self) -> bool {
        self.restless.is_empty()
    }

    pub fn rest(&mut self, collection: &str) {
        self.restless.remove(collection);
    }

    pub fn wake(&mut self, collection: &str) {
        if self.held.contains_key(collection) {
            self.restless.insert(collection.into());
        }
    }
}

impl Held {
    pub fn adopted(&self) -> Option<Adopted> {
        self.kept.adopted
    }

    /// Whether nothing is to be done until something happens.
    pub fn is_at_rest(&self, now: Sum) -> bool {
        let counts = self.count.as_ref().is_some_and(|count| !count.done && count.from.is_none());
        let sinks = self.kept.adopted.is_some_and(|adopted| adopted.sinking);
        let counts_next = self.wanted.is_some() && self.count.is_none() && self.refuted != Some(now);
        !(counts || sinks || counts_next || self.heard || self.stale().next().is_some())
    }

    /// What was said, by what is known now.
    pub fn listen(&mut self, collection: &str, view: &dyn View) {
        if !std::mem::take(&mut self.heard) {
            return;
        }
        let wanted = highest(collection, view).filter(|floor| Some(*floor) > self.kept.adopted.map(|a| a.floor));
        if wanted != self.wanted {
            (self.wanted, self.refuted) = (wanted, None);
            self.count.take_if(|count| count.from.is_some());
        }
    }

    /// Rolls whose rows are to go.
    fn stale(&self) -> impl Iterator<Item = u64> {
        let staged = self.count.as_ref().and_then(|count| count.roll);
        self.kept.loose.iter().copied().filter(move |roll| Some(*roll) != staged)
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

    /// Begins to count a set; what was being counted is dropped.
    pub fn begin(&mut self, below: Version, from: Option<NodeId>, asked: bool, staged: bool) {
        let roll = staged.then_some(self.kept.next);
        self.kept.next += u64::from(staged);
        self.kept.loose.extend(roll);
        let (root, tombstones) = (RollRoot::default(), 0);
        let (done, late, after) = (false, false, None);
        self.count = Some(Count { below, roll, after, root, tombstones, from, asked, done, late });
    }

    /// A roll is the floor's from now on.
    pub fn adopt(&mut self, floor: Floor, roll: u64, event: u64) {
        self.kept.loose.remove(&roll);
        self.kept.loose.extend(self.kept.adopted.map(|former| former.roll));
        self.kept.adopted = Some(Adopted { floor, roll, known_from: event, sinking: true });
        (self.wanted, self.refuted, self.count) = (None, None, None);
    }

    /// All that the floor lets go is gone.
    pub fn sunk(&mut self, event: u64) {
        if let Some(adopted) = self.kept.adopted.as_mut().filter(|adopted| adopted.sinking) {
            (adopted.known_from, adopted.sinking) = (event, false);
        }
    }
}

impl Replica {
    /// The floor that counts in a collection.
    pub fn floor(&self, collection: &str) -> Option<Floor> {
        self.floors.get(collection)?.adopted().map(|adopted| adopted.floor)
    }

    /// A higher one that was said, and that this node has not come to.
    pub fn pending_floor(&self, collection: &str) -> Option<Floor> {
        self.floors.get(collection)?.wanted
    }

    /// Floors that were said and that this node has not come to, by collection.
    pub fn pending_floors(&self) -> impl Iterator<Item = (&str, Floor)> {
        self.floors.held.iter().filter_map(|(name, held)| Some((name.as_str(), held.wanted?)))
    }

    /// The one a peer's roll is wanted for: what is retained here does not come to it.
    pub fn lacks_roll(&self, collection: &str) -> Option<Floor> {
        let held = self.floors.get(collection)?;
        held.wanted.filter(|_| held.refuted.is_some() && held.count.is_none())
    }

    /// The collections of which a roll is wanted.
    pub fn lacking(&self) -> impl Iterator<Item = &str> {
        self.floors.held.keys().map(String::as_str).filter(|name| self.lacks_roll(name).is_some())
    }

    /// Whether a floor was counted here and its roll is at hand: who says it comes to it at once.
    pub fn has_counted(&self, collection: &str, floor: &Floor) -> bool {
        let Some(held) = self.floors.get(collection) else { return false };
        let counted = held.count.as_ref().filter(|count| count.done && count.roll.is_some());
        let same = counted.is_some_and(|count| count.root.floor(count.below) == *floor);
        same && held.wanted.is_none() && held.adopted().is_none_or(|adopted| adopted.floor < *floor)
    }

    /// A page of the roll of a floor, after an entry, if that floor counts here. True if there is more.
    pub fn roll(
        &self,
        collection: &str,
        floor: &Floor,
        after: Option<Entry>,
        most: usize,
        view: &dyn View,
    ) -> Option<(Vec<Entry>, bool)> {
        let adopted = self.floors.get(collection)?.adopted().filter(|adopted| adopted.floor == *floor)?;
        Some(page(collection, adopted.roll, after, most, view))
    }

    /// What is retained may have changed: a floor that it did not come to is counted again.
    pub fn doubt(&mut self, collection: &str) {
        self.floors.wake(collection);
    }
}

/// Whether a unit is where the floor of its collection is said.
pub(super) fn is_floor(unit: &Unit) -> bool {
    unit.path == FLOOR && unit.part == Part::Register
}

/// Whether a retained write below a floor is in its set.
pub(super) fn stays(unit: &Unit, row: &Row) -> bool {
    let stands = match row.body.op {
        Op::Set { .. } | Op::Count { .. } | Op::Add { .. } => row.status == Status::Kept,
        Op::Delete | Op::Remove | Op::DeletePrefix => false,
    };
    !is_floor(unit) && (stands || super::access::is_rules(unit))
}

/// The highest floor that is said.
fn highest(collection: &str, view: &dyn View) -> Option<Floor> {
    let key = Unit::at(collection, FLOOR, Part::Register).key();
    let mut highest = None;
    view.scan(&key, &key.after_prefix(), &mut |key, value| {
        let row = Row::read(key, value).map(|(_, row)| row).filter(|row| row.status.is_retained());
        highest = highest.max(row.and_then(|row| Floor::said(&row)));
        ControlFlow::Continue(())
    });
    highest
}

/// The floors of a collection by the store: the one that counts, and a higher one that is said.
pub fn floors(collection: &str, view: &dyn View) -> Floors {
    let adopted = adopted(collection, view).map(|adopted| adopted.floor);
    Floors { adopted, pending: highest(collection, view).filter(|floor| Some(*floor) > adopted) }
}

/// The floor that counts, by the store.
pub(super) fn adopted(collection: &str, view: &dyn View) -> Option<Adopted> {
    decode::<Kept>(&view.get(&key(collection))?)?.adopted
}

fn key(collection: &str) -> Key {
    Key::new(Table::Floor, &[collection.as_bytes()])
}
