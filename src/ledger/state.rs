//! The state while a block is executed: what was, what changed, and the way back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::fault::Fault;
use super::rows::{self, Row};
use crate::types::Hash;
use crate::types::storage::{Key, Table, View};
use crate::wire::ledger::binary;

type RowKey = Vec<u8>;
type Value = Option<Bytes>;

/// The state of one height with the changes of the next over it. Of one transaction, all changes can be undone.
pub struct State<'a> {
    base: &'a dyn View,
    changes: BTreeMap<RowKey, Value>,
    /// What the rows changed since the savepoint were before; none of none was not changed at all.
    undo: Vec<(RowKey, Option<Value>)>,
}

impl<'a> State<'a> {
    /// The state as the store has it.
    pub fn new(base: &'a dyn View) -> State<'a> {
        State { base, changes: BTreeMap::new(), undo: Vec::new() }
    }

    /// A row; none when there is none.
    pub fn read<R: Row>(&self, name: &R::Name) -> Result<Option<R>, Fault> {
        self.value(&R::key(name)).map(|value| rows::decode(&value)).transpose()
    }

    /// A row that must be there.
    pub fn must<R: Row>(&self, name: &R::Name) -> Result<R, Fault> {
        self.read(name)?.ok_or(Fault::Corrupt("a row of the state is missing"))
    }

    /// A row, or a new one.
    pub fn or_new<R: Row + Default>(&self, name: &R::Name) -> Result<R, Fault> {
        Ok(self.read(name)?.unwrap_or_default())
    }

    /// Writes a row.
    pub fn write<R: Row>(&mut self, name: &R::Name, row: &R) {
        self.set(R::key(name), Some(binary(row).into()));
    }

    /// Removes a row.
    pub fn clear<R: Row>(&mut self, name: &R::Name) {
        self.set(R::key(name), None);
    }

    /// Up to `most` rows whose keys begin so, ascending.
    pub fn scan(&self, prefix: &[u8], most: usize) -> Vec<(RowKey, Bytes)> {
        let after = Key::new(Table::LedgerState, &[prefix]).after_prefix();
        self.between(prefix, after.as_bytes().get(1..).unwrap_or_default(), most)
    }

    /// Up to `most` rows with `from <= key < to`, ascending.
    pub fn between(&self, from: &[u8], to: &[u8], most: usize) -> Vec<(RowKey, Bytes)> {
        let (from, to) = (from.to_vec(), to.to_vec());
        let [first, last] = [&from, &to].map(|key| Key::new(Table::LedgerState, &[key]));
        let changed: Vec<_> = if from < to { self.changes.range(from..to).collect() } else { Vec::new() };
        // Of the store no more can be needed than are asked for and are changed.
        let (mut found, reach) = (BTreeMap::new(), most.saturating_add(changed.len()));
        self.base.scan(&first, &last, &mut |key, value| {
            found.insert(key.get(1..).unwrap_or_default().to_vec(), value.clone());
            if found.len() < reach { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for (key, value) in changed {
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        found.into_iter().take(most).collect()
    }

    /// From here on changes can be undone.
    pub fn savepoint(&mut self) {
        self.undo.clear();
    }

    /// Undoes the changes since the savepoint.
    pub fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(value) => self.changes.insert(key, value),
                None => self.changes.remove(&key),
            };
        }
    }

    fn value(&self, key: &RowKey) -> Value {
        match self.changes.get(key) {
            Some(value) => value.clone(),
            None => self.base.get(&Key::new(Table::LedgerState, &[key])),
        }
    }

    fn set(&mut self, key: RowKey, value: Value) {
        let before = self.changes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// The rows that are not what they were.
    pub fn into_changes(self) -> Vec<Change> {
        let base = self.base;
        let changes = self.changes.into_iter().map(|(key, after)| {
            let before = base.get(&Key::new(Table::LedgerState, &[&key]));
            (key, before, after)
        });
        let real = changes.filter(|(_, before, after)| before != after);
        real.map(|(key, before, after)| Change { place: rows::place(&key), key, before, after }).collect()
    }
}

/// A row that a block changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its key.
    pub key: RowKey,
    /// Where that stands in the tree.
    pub place: Hash,
    /// What it was, if it was there.
    pub before: Value,
    /// What it is, if it still is there.
    pub after: Value,
}

/// What the changes do to the tree.
pub fn in_tree(changes: &[Change]) -> BTreeMap<Hash, Option<Hash>> {
    changes.iter().map(|change| (change.place, change.after.as_ref().map(|value| rows::digest(value)))).collect()
}
