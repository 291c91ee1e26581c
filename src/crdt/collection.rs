//! The collections of a node: what is counted of each, and the root over all of them.
//!
//! ```text
//!  Collection  name → bincode: retained writes, root, prefix deletes among them, latest stamp
//!  Arrival     → number 8: of writes that came from this event on, it is remembered when
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::book::FloorBook;
use super::event::Events;
use super::floor::{Floors, floors};
use super::index::{self, Entry, Index};
use super::past::{known_from, remember_from};
use super::root::Root;
use super::row::Body;
use super::standing::Standing;
use super::sweep::Sweeps;
use super::unit::Unit;
use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Domain, Hash, Incarnation, NodeId, Stamp, Version, limits};

/// What is counted of a collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Writes that are retained.
    pub retained: u64,
    /// The sum over them.
    pub root: Root,
    /// Prefix deletes among them.
    pub prefixes: u64,
    /// The latest stamp among all writes that came.
    pub clock: Stamp,
}

/// A collection, for whoever asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Writes that are retained: what stands, deletes and removals.
    pub retained: u64,
    /// The sum over them; equal at nodes that retain the same.
    pub root: Hash,
    /// Prefix deletes among them.
    pub prefixes: u64,
    /// When the latest write was made, milliseconds, by its author's clock.
    pub last_ms: u64,
    /// Below which version only the writes of a set count.
    pub floors: Floors,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    retained: u64,
    root: Hash,
    prefixes: u64,
    clock: Stamp,
}

/// Replicated state: the rows are in the store, this counts them.
#[derive(Debug, Default)]
pub struct Replica {
    pub(super) collections: BTreeMap<String, Summary>,
    /// Those whose rows are not what is here.
    changed: BTreeSet<String>,
    pub(super) events: Events,
    /// From this event on it is remembered when writes come, and whether its row says so.
    remembers: (u64, bool),
    pub(super) sweeps: Sweeps,
    pub(super) floors: FloorBook,
    /// What is retained, in order: what ranges are compared by.
    indexes: BTreeMap<String, Index>,
    standing: Standing,
    /// Where writes came from of which there is no row any more, or one that counts for nothing.
    let_go: Vec<(NodeId, Incarnation, u64)>,
}

impl Replica {
    /// The state as the store has it.
    pub fn load(view: &dyn View) -> Result<Replica, String> {
        let events = Events::load(view);
        let (indexes, standing) = index::load(view);
        Ok(Replica {
            collections: load_all(view)?,
            changed: BTreeSet::new(),
            remembers: known_from(view).map_or((events.end(), false), |from| (from, true)),
            events,
            sweeps: Sweeps::load(view)?,
            floors: FloorBook::load(view)?,
            indexes,
            standing,
            let_go: Vec::new(),
        })
    }

    /// What is retained of a collection, in order; none if nothing ever was.
    pub fn index(&self, collection: &str) -> Option<&Index> {
        self.indexes.get(collection)
    }

    /// Every collection in which something is retained: name, how many writes, the sum over them.
    pub fn heads(&self) -> impl Iterator<Item = (&str, u64, Hash)> {
        let retaining = self.collections.iter().filter(|(_, summary)| summary.retained > 0);
        retaining.map(|(name, summary)| (name.as_str(), summary.retained, summary.root.hash()))
    }

    /// The collection with the latest write of those in which something is retained.
    pub fn latest(&self) -> Option<&str> {
        let retaining = self.collections.iter().filter(|(_, summary)| summary.retained > 0);
        retaining.max_by_key(|(_, summary)| summary.clock).map(|(name, _)| name.as_str())
    }

    /// A write is retained from now on.
    pub(super) fn enter(&mut self, unit: &Unit, entry: Entry) {
        self.floors.on_entered(&unit.collection, entry.version);
        match self.indexes.get_mut(&unit.collection) {
            Some(index) => index.insert(entry),
            None => self.indexes.entry(unit.collection.clone()).or_default().insert(entry),
        };
        self.standing.enter(unit, entry.version);
    }

    /// A write is not retained any more.
    pub(super) fn leave(&mut self, unit: &Unit, entry: Entry) {
        let held = self.indexes.get_mut(&unit.collection).is_some_and(|index| index.remove(&entry));
        debug_assert!(held, "what is retained is in the index");
        self.standing.leave(unit, entry.version);
    }

    /// Which write stands in a unit where only one can.
    pub(super) fn standing(&self, unit: &Unit) -> Option<Version> {
        self.standing.of(unit)
    }

    /// Memory for what is retained, bytes, roughly: the indexes, and what stands where.
    pub fn memory_bytes(&self) -> usize {
        let indexes: usize = self.indexes.values().map(Index::memory_bytes).sum();
        indexes + self.standing.memory_bytes()
    }

    /// What a write's bundle is kept for may be less than before.
    pub(super) fn let_go(&mut self, body: &Body) {
        self.let_go.push((body.author, body.incarnation, body.sequence));
    }

    /// Where writes came from that were let go since this was asked or [`Replica::save`] was called.
    pub fn take_let_go(&mut self) -> Vec<(NodeId, Incarnation, u64)> {
        std::mem::take(&mut self.let_go)
    }

    /// The number the next event will have.
    pub fn events_end(&self) -> u64 {
        self.events.end()
    }

    /// Whether nothing is to be done about floors until something happens.
    pub fn is_at_rest(&self) -> bool {
        self.floors.is_at_rest()
    }

    /// Whether something is left to be judged anew: until then the root may change without a new write.
    pub fn is_settled(&self) -> bool {
        self.sweeps.is_empty()
    }

    /// The root over all collections: equal at two nodes that retain the same.
    pub fn root(&self) -> Hash {
        let mut hasher = Domain::State.hasher();
        for (name, summary) in self.collections.iter().filter(|(_, summary)| summary.retained > 0) {
            hasher.update(&[name.len() as u8]);
            hasher.update(name.as_bytes());
            hasher.update(&summary.retained.to_be_bytes());
            hasher.update(summary.root.hash().as_bytes());
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// What is counted of a collection.
    pub(super) fn summary(&self, collection: &str) -> Summary {
        self.collections.get(collection).copied().unwrap_or_default()
    }

    /// Whether a collection can be written to.
    pub fn has_room(&self, collection: &str) -> bool {
        self.collections.contains_key(collection) || self.collections.len() < limits::COLLECTIONS
    }

    /// The same, to be changed; its row is written by [`Replica::save`].
    pub(super) fn summary_mut(&mut self, collection: &str) -> &mut Summary {
        if !self.changed.contains(collection) {
            self.changed.insert(collection.to_string());
        }
        self.collections.entry(collection.to_string()).or_default()
    }

    /// Writes the rows of what has changed. Belongs at the end of every step.
    pub fn save(&mut self, tx: &mut Txn<'_>) {
        for name in std::mem::take(&mut self.changed) {
            let Summary { retained, root, prefixes, clock } = self.summary(&name);
            tx.put(key(&name), encode(&Kept { retained, root: root.hash(), prefixes, clock }));
        }
        if let (from, false) = self.remembers
            && self.events.end() > 0
        {
            remember_from(from, tx);
            self.remembers = (from, true);
        }
        self.events.save(tx);
        self.sweeps.save(tx);
        self.floors.save(tx);
        self.let_go.clear();
    }
}

fn key(name: &str) -> Key {
    Key::new(Table::Collection, &[name.as_bytes()])
}

fn load_all(view: &dyn View) -> Result<BTreeMap<String, Summary>, String> {
    let start = Key::new(Table::Collection, &[]);
    let (mut found, mut broken) = (BTreeMap::new(), None);
    view.scan(&start, &start.after_prefix(), &mut |key, value| {
        let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
        match name.zip(read(value)) {
            Some((name, summary)) => found.insert(name.to_string(), summary).map_or((), drop),
            None => broken = Some(format!("the row of the collection {} cannot be read", hex::encode(key))),
        }
        if broken.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    broken.map_or(Ok(found), Err)
}

fn read(value: &[u8]) -> Option<Summary> {
    let Kept { retained, root, prefixes, clock } = decode(value)?;
    Some(Summary { retained, root: root.into(), prefixes, clock })
}

/// What is counted of one collection, by the store.
pub(super) fn stored(collection: &str, view: &dyn View) -> Option<Summary> {
    read(&view.get(&key(collection))?)
}

/// Every collection in which something is retained, by name.
pub fn collections(view: &dyn View) -> Vec<CollectionInfo> {
    let all = load_all(view).unwrap_or_default();
    let info = |(name, summary): (String, Summary)| CollectionInfo {
        floors: floors(&name, view),
        name,
        retained: summary.retained,
        root: summary.root.hash(),
        prefixes: summary.prefixes,
        last_ms: summary.clock.ms(),
    };
    all.into_iter().filter(|(_, summary)| summary.retained > 0).map(info).collect()
}
