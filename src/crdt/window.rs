//! Rows read ahead, so that a page of paths costs one scan and not several for each path.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::types::storage::{Key, View, Visit};

/// Rows that are read at a time.
const ROWS: usize = 1024;

/// Small ranges outside the window that are remembered, and how large one may be, rows.
const NOTES: usize = 256;
const NOTE_ROWS: usize = 4;

type Rows = Vec<(Vec<u8>, Bytes)>;
type Between = (Vec<u8>, Vec<u8>);

/// A view of the same rows, some of which are in memory.
pub struct Window<'a> {
    base: &'a dyn View,
    from: Vec<u8>,
    /// Rows up to here are in memory, but not those at it.
    to: Vec<u8>,
    rows: Rows,
    /// Where the last key was found: mostly the next one is asked for.
    last: Cell<usize>,
    /// What was found in small ranges elsewhere: what lies above a path is asked for with every path below it.
    notes: RefCell<BTreeMap<Between, Rows>>,
}

impl<'a> Window<'a> {
    /// A window that holds nothing yet.
    pub fn new(base: &'a dyn View) -> Window<'a> {
        let (from, to, rows) = (Vec::new(), Vec::new(), Rows::new());
        Window { base, from, to, rows, last: Cell::default(), notes: RefCell::default() }
    }

    /// The first key with `from <= key < to`. The window is moved there unless it has it.
    pub fn first(&mut self, from: &Key, to: &Key) -> Option<&[u8]> {
        if from >= to {
            return None;
        }
        let (from, end) = (from.as_bytes(), to.as_bytes());
        let is_inside = self.from.as_slice() <= from && from < self.to.as_slice();
        let mut place = self.place(from);
        if !is_inside || (place == self.rows.len() && self.to.as_slice() < end) {
            self.move_to(from.to_vec(), to);
            place = 0;
        }
        self.rows.get(place).map(|(key, _)| key.as_slice()).filter(|key| *key < end)
    }

    fn move_to(&mut self, from: Vec<u8>, to: &Key) {
        self.rows.clear();
        self.to = to.as_bytes().to_vec();
        let Some(first) = Key::from_bytes(from.clone()) else { return };
        self.base.scan(&first, to, &mut |key, value| {
            if self.rows.len() == ROWS {
                self.to = key.to_vec();
                return ControlFlow::Break(());
            }
            self.rows.push((key.to_vec(), value.clone()));
            ControlFlow::Continue(())
        });
        self.from = from;
    }

    /// The first row that is not before a key.
    fn place(&self, key: &[u8]) -> usize {
        let is_before = |place: usize| self.rows.get(place).is_some_and(|(held, _)| held.as_slice() < key);
        let is_here =
            |place: usize| place <= self.rows.len() && !is_before(place) && (place == 0 || is_before(place - 1));
        let last = self.last.get();
        let near = [last, last + 1].into_iter().find(|place| is_here(*place));
        let place = near.unwrap_or_else(|| self.rows.partition_point(|(held, _)| held.as_slice() < key));
        self.last.set(place);
        place
    }

    fn held(&self, from: &Key, to: &Key) -> Option<&[(Vec<u8>, Bytes)]> {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        if from < self.from.as_slice() || to > self.to.as_slice() {
            return None;
        }
        self.rows.get(self.place(from)..self.place(to))
    }

    /// A small range as it was found before, or is found now.
    fn noted(&self, from: &Key, to: &Key) -> Option<Rows> {
        let range = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
        let mut notes = self.notes.borrow_mut();
        if let Some(rows) = notes.get(&range) {
            return Some(rows.clone());
        }
        let (mut rows, mut is_small) = (Rows::new(), true);
        self.base.scan(from, to, &mut |key, value| {
            is_small = rows.len() < NOTE_ROWS;
            rows.push((key.to_vec(), value.clone()));
            if is_small { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if !is_small {
            return None;
        }
        if notes.len() == NOTES {
            notes.clear();
        }
        notes.insert(range, rows.clone());
        Some(rows)
    }
}

fn visit_all<'r>(rows: impl Iterator<Item = &'r (Vec<u8>, Bytes)>, visit: &mut Visit<'_>) {
    for (key, value) in rows {
        if visit(key, value).is_break() {
            return;
        }
    }
}

impl View for Window<'_> {
    fn get(&self, key: &Key) -> Option<Bytes> {
        self.base.get(key)
    }

    fn scan(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        if from >= to {
            return;
        }
        if let Some(rows) = self.held(from, to) {
            visit_all(rows.iter(), visit);
        } else if let Some(rows) = self.noted(from, to) {
            visit_all(rows.iter(), visit);
        } else {
            self.base.scan(from, to, visit);
        }
    }

    fn scan_back(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        if from >= to {
            return;
        }
        if let Some(rows) = self.held(from, to) {
            visit_all(rows.iter().rev(), visit);
        } else if let Some(rows) = self.noted(from, to) {
            visit_all(rows.iter().rev(), visit);
        } else {
            self.base.scan_back(from, to, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::MemoryStore;
    use crate::types::storage::{Batch, Table};

    fn key(number: u16) -> Key {
        Key::new(Table::State, &[&number.to_be_bytes()])
    }

    fn all(view: &dyn View, from: u16, to: u16, back: bool) -> Rows {
        let mut rows = Rows::new();
        let mut visit = |key: &[u8], value: &Bytes| {
            rows.push((key.to_vec(), value.clone()));
            ControlFlow::Continue(())
        };
        let (from, to) = (key(from), key(to));
        if back {
            view.scan_back(&from, &to, &mut visit)
        } else {
            view.scan(&from, &to, &mut visit)
        }
        rows
    }

    proptest! {
        /// Wherever the window stands, it shows the rows that are there.
        #[test]
        fn a_window_shows_what_is_there(
            held in prop::collection::btree_set(0u16..4000, 0..2500),
            asked in prop::collection::vec((0u16..4000, 0u16..40, any::<bool>()), 1..20),
        ) {
            let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
            held.iter().for_each(|number| batch.put(key(*number), number.to_be_bytes().to_vec()));
            store.commit(batch);
            let mut window = Window::new(&store);
            for (from, more, back) in asked {
                for to in [from + more, 4000] {
                    prop_assert_eq!(all(&window, from, to, back), all(&store, from, to, back));
                }
                for to in [from + more, 4000] {
                    let first = all(&store, from, to, false).first().map(|(key, _)| key.clone());
                    prop_assert_eq!(window.first(&key(from), &key(to)).map(<[u8]>::to_vec), first);
                }
                prop_assert_eq!(all(&window, from, from + more, back), all(&store, from, from + more, back));
            }
        }
    }
}
