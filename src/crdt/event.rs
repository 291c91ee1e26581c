//! What happened to the state, in the order in which it did at this node.
//!
//! Events of one step share rows: a row in the store costs more than what is in it.
//!
//! ```text
//!  Change  number of the first 8, how many 4 → bincode, one after the other: when, what, the row's key, the other version
//!          number 8                          → the same of one, of schema 2
//! ```

use std::ops::{ControlFlow, Range};

use serde::{Deserialize, Serialize};

use super::conflict::{self, Reason};
use super::row::{Body, Row};
use super::unit::Unit;
use crate::types::row::{append, decode_first};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Version, WallMs, limits};
use crate::wire::kind::state::Op;

/// What happened to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum What {
    /// It stands.
    Applied,
    /// It stands again: what had taken its place does not count any more.
    Restored,
    /// Something took its place that had not seen it.
    Lost(Reason),
    /// Its author was proved to have said two things in one place.
    Masked,
    /// It is from the future, and waits until its time has come.
    Deferred,
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its number, from 0.
    pub number: u64,
    /// When, by this node's clock.
    pub at: WallMs,
    /// What.
    pub what: What,
    /// To which write.
    pub version: Version,
    /// What stood there before it, or what took its place.
    pub other: Option<Version>,
    pub(super) unit: Unit,
}

impl Event {
    /// Where: collection and path.
    pub fn place(&self) -> (&str, &str) {
        (&self.unit.collection, &self.unit.path)
    }

    /// The write it happened to, if it is still known.
    pub fn body(&self, view: &dyn View) -> Option<Body> {
        written(&self.unit, self.version, view)
    }

    /// What the other version said, if it is still known.
    pub fn other_op(&self, view: &dyn View) -> Option<Op> {
        written(&self.unit, self.other?, view).map(|body| body.op)
    }
}

fn written(unit: &Unit, version: Version, view: &dyn View) -> Option<Body> {
    let row = view.get(&unit.row(version)).and_then(|value| Row::decode(version, &value));
    let lost = || conflict::conflict(&unit.collection, &unit.path, version, view).map(|lost| lost.body().clone());
    row.map(|row| row.body).or_else(lost)
}

#[derive(Serialize, Deserialize)]
struct Kept {
    at: WallMs,
    what: What,
    #[serde(with = "serde_bytes")]
    row: Vec<u8>,
    other: Option<Version>,
}

/// Events that share a row, and their bytes, at most.
const RUN_EVENTS: usize = 256;
const RUN_BYTES: usize = 32 << 10;

/// The numbers of events, and those that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The number the next one will have.
    end: u64,
    /// The number of the first that is in the store.
    first: u64,
    /// The end of its row, once that was looked at: nothing is let go before all of the row is old.
    until: u64,
    /// How many of the last wait to be written, and their bytes.
    waiting: u32,
    bytes: Vec<u8>,
}

impl Events {
    /// As the store has them.
    pub(super) fn load(view: &dyn View) -> Events {
        Events { end: events_end(view), first: first_event(view), until: 0, waiting: 0, bytes: Vec::new() }
    }

    /// The number the next one will have.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Notes an event. It is written with others, at the end of the step at the latest.
    pub(super) fn note(
        &mut self,
        at: WallMs,
        what: What,
        (unit, version): (&Unit, Version),
        other: Option<Version>,
        tx: &mut Txn<'_>,
    ) {
        let row = [unit.bytes().as_slice(), &version.to_bytes()].concat();
        append(&Kept { at, what, row, other }, &mut self.bytes);
        self.waiting += 1;
        self.end += 1;
        if self.waiting as usize == RUN_EVENTS || self.bytes.len() >= RUN_BYTES {
            self.write(tx);
        }
    }

    /// Writes what waits, and lets the oldest go.
    pub(super) fn save(&mut self, tx: &mut Txn<'_>) {
        self.write(tx);
        let keep = self.end.saturating_sub(limits::STATE_EVENTS);
        if self.first >= keep || self.until > keep {
            return;
        }
        let mut gone = Vec::new();
        tx.scan(&key(self.first), &key(keep), &mut |at, _| {
            let run = run(at);
            if run.as_ref().is_none_or(|run| run.end <= keep) {
                gone.extend(Key::from_bytes(at.to_vec()));
                self.first = run.map_or(self.first, |run| run.end);
                return ControlFlow::Continue(());
            }
            self.until = run.map_or(0, |run| run.end);
            ControlFlow::Break(())
        });
        gone.into_iter().for_each(|key| tx.delete(key));
    }

    fn write(&mut self, tx: &mut Txn<'_>) {
        if self.waiting > 0 {
            let from = self.end - u64::from(self.waiting);
            let key = Key::new(Table::Change, &[&from.to_be_bytes(), &self.waiting.to_be_bytes()]);
            tx.put(key, std::mem::take(&mut self.bytes));
            self.waiting = 0;
        }
    }
}

/// Before every row whose first event has this number or a later one.
fn key(number: u64) -> Key {
    Key::new(Table::Change, &[&number.to_be_bytes()])
}

/// The numbers of the events in a row; none of a key that no program writes.
fn run(key: &[u8]) -> Option<Range<u64>> {
    let (first, many) = key.get(1..)?.split_first_chunk()?;
    let first = u64::from_be_bytes(*first);
    let many = match many {
        [] => 1,
        many => u32::from_be_bytes(many.try_into().ok()?),
    };
    // The number after the last one has to be a number as well.
    let end = first.checked_add(many.into()).filter(|end| *end < u64::MAX)?;
    (many > 0).then_some(first..end)
}

/// The number the next event will have.
pub fn events_end(view: &dyn View) -> u64 {
    let start = Key::new(Table::Change, &[]);
    let mut last = None;
    view.scan_back(&start, &start.after_prefix(), &mut |key, _| {
        last = run(key);
        if last.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    last.map_or(0, |last| last.end)
}

/// The first event that is remembered.
pub fn first_event(view: &dyn View) -> u64 {
    let start = Key::new(Table::Change, &[]);
    let mut first = None;
    view.scan(&start, &start.after_prefix(), &mut |key, _| {
        first = run(key);
        if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    first.map_or(0, |first| first.start)
}

/// At most `most` events from a number on. What of a row is not as it was written is passed over.
pub fn events(from: u64, most: usize, view: &dyn View) -> Vec<Event> {
    let mut events = Vec::new();
    let all = Key::new(Table::Change, &[]);
    view.scan(&row_of(from, view).unwrap_or_else(|| key(from)), &all.after_prefix(), &mut |key, value| {
        let numbers = run(key).into_iter().flatten();
        let said = numbers.zip(Said(value)).filter(|(number, _)| *number >= from).filter_map(|(number, kept)| {
            let (unit, version) = Unit::parse(&kept.row)?;
            Some(Event { number, at: kept.at, what: kept.what, version, other: kept.other, unit })
        });
        events.extend(said.take(most.saturating_sub(events.len())));
        if events.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    events
}

/// The key of the row that an event is in, if it is not the first there.
fn row_of(number: u64, view: &dyn View) -> Option<Key> {
    let mut found = None;
    view.scan_back(&Key::new(Table::Change, &[]), &key(number), &mut |key, _| {
        let Some(run) = run(key) else { return ControlFlow::Continue(()) };
        found = Key::from_bytes(key.to_vec()).filter(|_| run.contains(&number));
        ControlFlow::Break(())
    });
    found
}

/// The events of a row, one after the other, up to what cannot be read.
struct Said<'a>(&'a [u8]);

impl Iterator for Said<'_> {
    type Item = Kept;

    fn next(&mut self) -> Option<Kept> {
        let (kept, rest) = decode_first(self.0)?;
        self.0 = rest;
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::unit::Part;
    use crate::types::row::encode;
    use crate::types::storage::Batch;
    use crate::types::{MemoryStore, Stamp};

    fn unit() -> Unit {
        Unit::at("c", "x", Part::Register)
    }

    fn version(number: u64) -> Version {
        Version { stamp: Stamp(number), digest: [7; 16] }
    }

    /// A step in which so many things happen; each event's version says its number.
    fn step(events: &mut Events, many: u64, store: &mut MemoryStore) {
        let mut batch = Batch::default();
        let mut tx = Txn::new(store, &mut batch);
        for _ in 0..many {
            events.note(WallMs(1), What::Applied, (&unit(), version(events.end())), None, &mut tx);
        }
        events.save(&mut tx);
        store.commit(batch);
    }

    fn numbers(from: u64, most: usize, store: &MemoryStore) -> Vec<u64> {
        let found = events(from, most, store);
        assert!(found.iter().all(|event| event.version == version(event.number)));
        found.iter().map(|event| event.number).collect()
    }

    fn rows(store: &MemoryStore) -> usize {
        let (start, mut rows) = (Key::new(Table::Change, &[]), 0);
        store.scan(&start, &start.after_prefix(), &mut |_, _| {
            rows += 1;
            ControlFlow::Continue(())
        });
        rows
    }

    #[test]
    fn events_of_a_step_share_rows_and_are_found_from_any_number_on() {
        let (mut store, mut all) = (MemoryStore::default(), Events::default());
        // One of a store of long ago, each in a row of its own.
        let row = [unit().bytes().as_slice(), &version(0).to_bytes()].concat();
        let mut batch = Batch::default();
        batch.put(key(0), encode(&Kept { at: WallMs(1), what: What::Masked, row, other: None }));
        store.commit(batch);
        assert_eq!((events_end(&store), numbers(0, 9, &store)), (1, vec![0]));
        all.end = 1;
        let steps = [1, 2, RUN_EVENTS as u64, 0, 3 * RUN_EVENTS as u64 + 5, 1];
        for many in steps {
            step(&mut all, many, &mut store);
            assert_eq!((events_end(&store), first_event(&store)), (all.end(), 0));
        }
        assert_eq!(rows(&store), 1 + 1 + 1 + 1 + 4 + 1);
        for from in 0..all.end() + 2 {
            let end = all.end();
            assert_eq!(numbers(from, usize::MAX, &store), (from..end).collect::<Vec<_>>());
            assert_eq!(numbers(from, 3, &store), (from..end.min(from + 3)).collect::<Vec<_>>());
        }
        let again = Events::load(&store);
        assert_eq!((again.end, again.first), (all.end, 0));
    }

    #[test]
    fn the_oldest_are_let_go_and_the_newest_never() {
        let (mut store, mut all) = (MemoryStore::default(), Events::default());
        step(&mut all, 10, &mut store);
        // As if nearly as many as are remembered had happened.
        (all.end, all.first) = (limits::STATE_EVENTS - 5, 0);
        step(&mut all, 10, &mut store);
        assert_eq!(first_event(&store), 0, "of the oldest row one half is remembered");
        step(&mut all, 10, &mut store);
        assert_eq!((first_event(&store), all.first), (limits::STATE_EVENTS - 5, 10));
        for many in [1, 300, 700, limits::STATE_EVENTS / 64] {
            step(&mut all, many, &mut store);
        }
        assert_eq!(numbers(0, usize::MAX, &store), (limits::STATE_EVENTS - 5..all.end()).collect::<Vec<_>>());
        let mut again = Events::load(&store);
        step(&mut again, limits::STATE_EVENTS, &mut store);
        let first = first_event(&store);
        assert!(first <= again.end() - limits::STATE_EVENTS && again.end() - first < limits::STATE_EVENTS + 256);
        assert_eq!(numbers(first, usize::MAX, &store).len() as u64, again.end() - first);
    }
}
