//! What happened to the state, in the order in which it did at this node.
//!
//! ```text
//!  Change  number 8 → bincode: when, what, the row's key, the other version
//! ```

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::conflict::{self, Reason};
use super::row::{Body, Row};
use super::unit::Unit;
use crate::types::row::{decode, encode};
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

/// Writes an event down and lets the oldest go.
pub(super) fn note(
    number: u64,
    at: WallMs,
    what: What,
    (unit, version): (&Unit, Version),
    other: Option<Version>,
    tx: &mut Txn<'_>,
) {
    let row = [unit.bytes().as_slice(), &version.to_bytes()].concat();
    tx.put(key(number), encode(&Kept { at, what, row, other }));
    if let Some(old) = number.checked_sub(limits::STATE_EVENTS) {
        tx.delete(key(old));
    }
}

fn key(number: u64) -> Key {
    Key::new(Table::Change, &[&number.to_be_bytes()])
}

/// None of a key that no program writes.
fn number(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes).filter(|number| *number < u64::MAX)
}

/// The number the next event will have.
pub fn events_end(view: &dyn View) -> u64 {
    let start = Key::new(Table::Change, &[]);
    let mut last = None;
    view.scan_back(&start, &start.after_prefix(), &mut |key, _| {
        last = number(key);
        if last.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    last.map_or(0, |last| last + 1)
}

/// The first event that is remembered.
pub fn first_event(view: &dyn View) -> u64 {
    let start = Key::new(Table::Change, &[]);
    let mut first = None;
    view.scan(&start, &start.after_prefix(), &mut |key, _| {
        first = number(key);
        if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    first.unwrap_or(0)
}

/// At most `most` events from a number on. A row that cannot be read is passed over.
pub fn events(from: u64, most: usize, view: &dyn View) -> Vec<Event> {
    let mut events = Vec::new();
    let end = Key::new(Table::Change, &[]).after_prefix();
    view.scan(&key(from), &end, &mut |key, value| {
        events.extend(number(key).zip(decode::<Kept>(value)).and_then(|(number, kept)| {
            let (unit, version) = Unit::parse(&kept.row)?;
            Some(Event { number, at: kept.at, what: kept.what, version, other: kept.other, unit })
        }));
        if events.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    events
}
