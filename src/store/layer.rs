//! Rows that are in the journal and not in sled yet, in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec;

use parking_lot::RwLock;

use super::record::{Row, Value};

/// What a row takes beside its key and value, bytes, roughly.
const ROW_BYTES: usize = 64;

/// How many rows a reader takes at a time, at the first and at most.
const FIRST_ROWS: usize = 4;
const MOST_ROWS: usize = 256;

/// The newest rows of some keys. Rows are put, never taken out: whoever holds a layer sees all that was in it.
#[derive(Debug, Default)]
pub struct Layer {
    rows: RwLock<BTreeMap<Vec<u8>, Option<Value>>>,
    bytes: AtomicUsize,
}

impl Layer {
    /// Puts the rows of a batch, for readers all at once. Hands each value over that is no longer the newest.
    pub fn put(&self, rows: Vec<Row>, mut over: impl FnMut(&Value)) {
        let mut bytes = 0;
        let mut held = self.rows.write();
        for (key, value) in rows {
            bytes += ROW_BYTES + key.len() + value.as_ref().map_or(0, Value::held_bytes);
            if let Some(Some(before)) = held.insert(key, value) {
                over(&before);
            }
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is known of a key: nothing, that it was removed, or its value.
    pub fn get(&self, key: &[u8]) -> Option<Option<Value>> {
        self.rows.read().get(key).cloned()
    }

    /// Memory that it takes, bytes, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows.read().is_empty()
    }

    /// Hands over every row, in order. For a layer that nothing is put into any more: a writer would wait.
    pub fn each<E>(&self, mut take: impl FnMut(&[u8], &Option<Value>) -> Result<(), E>) -> Result<(), E> {
        self.rows.read().iter().try_for_each(|(key, value)| take(key, value))
    }

    fn some(&self, from: &[u8], to: &[u8], back: bool, most: usize) -> Vec<Row> {
        let rows = self.rows.read();
        let range = rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let copied = |(key, value): (&Vec<u8>, &Option<Value>)| (key.clone(), value.clone());
        if back { range.rev().take(most).map(copied).collect() } else { range.take(most).map(copied).collect() }
    }
}

/// The rows of a layer between two keys in order, a few at a time, so that no writer waits for a slow reader.
pub struct Walk {
    layer: Arc<Layer>,
    from: Vec<u8>,
    to: Vec<u8>,
    back: bool,
    most: usize,
    ready: vec::IntoIter<Row>,
    ended: bool,
}

impl Walk {
    /// Rows with `from <= key < to`, which must not be the other way round.
    pub fn new(layer: Arc<Layer>, from: &[u8], to: &[u8], back: bool) -> Walk {
        let ready = Vec::new().into_iter();
        Walk { layer, from: from.into(), to: to.into(), back, most: FIRST_ROWS, ready, ended: false }
    }
}

impl Iterator for Walk {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.ready.as_slice().is_empty() && !self.ended {
            let rows = self.layer.some(&self.from, &self.to, self.back, self.most);
            self.ended = rows.len() < self.most;
            self.most = (self.most * 4).min(MOST_ROWS);
            if let Some((last, _)) = rows.last() {
                if self.back {
                    self.to.clone_from(last);
                } else {
                    // The next key that there can be.
                    self.from.clone_from(last);
                    self.from.push(0);
                }
            }
            self.ready = rows.into_iter();
        }
        self.ready.next()
    }
}
