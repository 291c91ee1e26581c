//! A store in memory that can crash: what was committed and not flushed is lost, from some batch on.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::storage::{Batch, Key, View, Visit};

/// An ordered map behind the storage contract.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    rows: BTreeMap<Vec<u8>, Bytes>,
    /// What each batch since the last flush replaced, oldest first.
    undo: Vec<Vec<(Vec<u8>, Option<Bytes>)>>,
}

impl MemoryStore {
    /// Makes a batch true.
    pub fn commit(&mut self, batch: Batch) {
        let mut replaced = Vec::new();
        for (key, value) in batch.into_writes() {
            let key = key.into_bytes();
            let before = match value {
                Some(value) => self.rows.insert(key.clone(), value),
                None => self.rows.remove(&key),
            };
            replaced.push((key, before));
        }
        self.undo.push(replaced);
    }

    /// Makes everything committed last.
    pub fn flush(&mut self) {
        self.undo.clear();
    }

    /// Batches a crash can lose.
    pub fn unflushed(&self) -> usize {
        self.undo.len()
    }

    /// Loses all but the first `kept` batches since the last flush.
    pub fn crash(&mut self, kept: usize) {
        while self.undo.len() > kept {
            for (key, before) in self.undo.pop().unwrap_or_default() {
                match before {
                    Some(value) => self.rows.insert(key, value),
                    None => self.rows.remove(&key),
                };
            }
        }
        self.undo.clear();
    }
}

fn visit_all<'a>(rows: impl Iterator<Item = (&'a Vec<u8>, &'a Bytes)>, visit: &mut Visit<'_>) {
    for (key, value) in rows {
        if visit(key, value) == ControlFlow::Break(()) {
            return;
        }
    }
}

impl View for MemoryStore {
    fn get(&self, key: &Key) -> Option<Bytes> {
        self.rows.get(key.as_bytes()).cloned()
    }

    fn scan(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        if from < to {
            visit_all(self.rows.range(from.as_bytes().to_vec()..to.as_bytes().to_vec()), visit);
        }
    }

    fn scan_back(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        if from < to {
            visit_all(self.rows.range(from.as_bytes().to_vec()..to.as_bytes().to_vec()).rev(), visit);
        }
    }
}
