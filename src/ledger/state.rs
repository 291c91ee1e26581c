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
        let from = Key::new(Table::State, &[prefix]);
        let changed = self.changes.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let changed: Vec<_> = changed.collect();
        // Of the store no more can be needed than are asked for and are changed.
        let (mut found, reach) = (BTreeMap::new(), most.saturating_add(changed.len()));
        self.base.scan(&from, &from.after_prefix(), &mut |key, value| {
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
            None => self.base.get(&Key::new(Table::State, &[key])),
        }
    }

    fn set(&mut self, key: RowKey, value: Value) {
        let before = self.changes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// The rows that are not what they were: key, before, after.
    pub fn into_changes(self) -> Vec<(RowKey, Value, Value)> {
        let base = self.base;
        let changes = self.changes.into_iter().map(|(key, after)| {
            let before = base.get(&Key::new(Table::State, &[&key]));
            (key, before, after)
        });
        changes.filter(|(_, before, after)| before != after).collect()
    }
}

/// What the changes do to the tree.
pub fn in_tree(changes: &[(RowKey, Value, Value)]) -> BTreeMap<Hash, Option<Hash>> {
    changes.iter().map(|(key, _, after)| (rows::place(key), after.as_ref().map(|value| rows::digest(value)))).collect()
}
