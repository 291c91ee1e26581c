//! The past, on either of two axes, as far as it is remembered.
//!
//! *The state at a time* is what a node would show that knows all writes stamped until then and none later. *As known at
//! n* is what this node showed when its next event was to have the number n: by the writes that had come, whenever they
//! were made, by the rules of access that had come, and by the forks that were proved.
//!
//! ```text
//!  Arrival  → number 8: of writes that came from this event on, their rows say when
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::access::{allows_by, is_lasting, is_rules};
use super::book;
use super::event::events_end;
use super::read::{Cell, Counter, Element, Past, Register, State};
use super::row::{Row, Status};
use super::unit::{Part, Unit, ancestors, part_key, part_of, writes_at};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Stamp, Version, limits};
use crate::wire::kind::state::{Op, owner};

/// Which past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// By what was written until this stamp, as far as it is known now.
    Made(Stamp),
    /// By what this node knew when its next event was to have this number.
    Known(u64),
}

/// What was there then cannot be said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Forgotten {
    /// Of each cell only the newest writes are kept; the oldest of them was made then, milliseconds since 1970.
    #[error("what was there then is not remembered; the oldest write that is was made at {0} ms")]
    OldestMs(u64),
    /// The same; what was known from this event on can be said.
    #[error("what was known of it then is not remembered; ask for what was known at {0} or later")]
    KnownFrom(u64),
    /// There is no such event yet; the next one has this number.
    #[error("there is no such event yet: the next one is {0}, and what is known now is what was known at {0}")]
    NotYet(u64),
}

/// A path of which it cannot be said what was there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ForgottenPath {
    /// The path.
    pub path: String,
    /// From when on it could be.
    #[serde(flatten)]
    pub why: Forgotten,
}

/// From which event on it is remembered when writes came; none if nothing ever happened.
pub(super) fn known_from(view: &dyn View) -> Option<u64> {
    let row = view.get(&Key::new(Table::Arrival, &[]))?;
    Some(u64::from_be_bytes(row.as_ref().try_into().ok()?))
}

/// Writes that down.
pub(super) fn remember_from(number: u64, tx: &mut Txn<'_>) {
    tx.put(Key::new(Table::Arrival, &[]), number.to_be_bytes().to_vec());
}

impl State<'_> {
    /// What was at a path then; none if nothing was.
    pub fn cell_at(&self, path: &str, then: Then) -> Result<Option<Cell>, Forgotten> {
        self.answers(then)?;
        let above = self.deleted(ancestors(path).skip(1), then);
        cell_of(path.into(), self.shares(writes_at(self.collection, path), then), above)
    }

    /// The writes to a path that were known then and are remembered, newest first, with what they counted for.
    pub fn history_at(
        &self,
        path: &str,
        before: Option<Version>,
        most: usize,
        then: Then,
    ) -> Result<Vec<Past>, Forgotten> {
        self.answers(then)?;
        let above = self.deleted(ancestors(path).skip(1), then)?;
        let shares = self.shares(writes_at(self.collection, path), then);
        let deleted = above.max(deleted_at(&shares)?);
        let mut rows = Vec::new();
        for share in shares {
            // A prefix delete does not lie under itself.
            let deleted = if share.unit.part == Part::Prefix { above } else { deleted };
            rows.extend(share.judged(deleted)?);
        }
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.version));
        let older = rows.into_iter().filter(|row| before.is_none_or(|before| row.version < before));
        Ok(older.take(most).map(Past::of).collect())
    }

    /// Whether there was such a time.
    pub(super) fn answers(&self, then: Then) -> Result<(), Forgotten> {
        let gone = book::stored(self.collection, self.view).unwrap_or_default().gone;
        let number = match then {
            Then::Made(at) if at < gone.below.stamp => return Err(Forgotten::OldestMs(gone.below.stamp.ms())),
            Then::Made(_) => return Ok(()),
            Then::Known(number) => number,
        };
        let end = events_end(self.view);
        let from = known_from(self.view).unwrap_or(end).max(gone.known_from);
        match number {
            _ if number > end => Err(Forgotten::NotYet(end)),
            _ if number < from => Err(Forgotten::KnownFrom(from)),
            _ => Ok(()),
        }
    }

    /// The latest prefix delete that stood at one of these paths.
    pub(super) fn deleted<'p>(&self, mut above: impl Iterator<Item = &'p str>, then: Then) -> Result<Stamp, Forgotten> {
        above.try_fold(Stamp::default(), |latest, path| {
            let key = part_key(self.collection, path, Part::Prefix);
            let end = key.after_prefix();
            Ok(latest.max(deleted_at(&self.shares((key, end), then))?))
        })
    }

    /// The writes between two keys that were known then, each unit by itself.
    fn shares(&self, (from, to): (Key, Key), then: Then) -> Vec<Share<'_>> {
        let mut shares = Shares::new(then, self.view);
        self.view.scan(&from, &to, &mut |key, value| {
            shares.take(key, value);
            ControlFlow::Continue(())
        });
        shares.units
    }
}

/// What was at a path then, by the writes to it and the latest prefix delete above it.
pub(super) fn cell_of(
    path: String,
    shares: Vec<Share<'_>>,
    above: Result<Stamp, Forgotten>,
) -> Result<Option<Cell>, Forgotten> {
    let here = deleted_at(&shares)?;
    let deleted = above?.max(here);
    let (mut register, mut counted, mut set) = (None, Vec::new(), Vec::new());
    for share in shares {
        match share.unit.part {
            Part::Register => register = share.latest(deleted)?,
            Part::Counter => counted.extend(share.latest(deleted)?),
            Part::Set => set = share.judged(deleted)?,
            Part::Prefix | Part::Named | Part::Element => {}
        }
    }
    let elements = elements(&set);
    let cell = Cell { path, register: register.map(Register::of), elements, counter: counter(counted.into_iter()) };
    Ok(Some(cell).filter(|cell| !cell.is_empty()))
}

/// Rows in their order, made into units.
pub(super) struct Shares<'a> {
    then: Then,
    view: &'a dyn View,
    pub units: Vec<Share<'a>>,
    /// The key of the last unit's rows, without the version.
    place: Vec<u8>,
}

impl<'a> Shares<'a> {
    pub fn new(then: Then, view: &'a dyn View) -> Shares<'a> {
        Shares { then, view, units: Vec::new(), place: Vec::new() }
    }

    /// Takes the next row; what is no write is passed over.
    pub fn take(&mut self, key: &[u8], value: &Bytes) {
        let Some((place, version)) = key.split_last_chunk::<{ Version::BYTES }>() else { return };
        if self.units.is_empty() || self.place != place {
            let is_write = part_of(key).is_some_and(Part::has_writes);
            let Some((unit, _)) = Some(key).filter(|_| is_write).and_then(Unit::read) else { return };
            self.units.push(Share::new(unit, self.then, self.view));
            self.place.clear();
            self.place.extend_from_slice(place);
        }
        let row = Version::from_bytes(version).and_then(|version| Row::decode(version, value));
        if let Some((share, row)) = self.units.last_mut().zip(row) {
            share.take(row);
        }
    }
}

/// The latest prefix delete among the writes at a path, if one stood.
fn deleted_at(shares: &[Share<'_>]) -> Result<Stamp, Forgotten> {
    let here = shares.iter().find(|share| share.unit.part == Part::Prefix);
    let version = here.map(|share| share.latest_version(Stamp::default())).transpose()?.flatten();
    Ok(version.map(|version| version.stamp).unwrap_or_default())
}

/// What was known of a unit then.
pub(super) struct Share<'a> {
    unit: Unit,
    then: Then,
    view: &'a dyn View,
    /// Writes that were known, in order, as what they may have counted for: superseded, masked or denied.
    rows: Vec<Row>,
    /// All that are remembered, and the first of them by stamp and by arrival.
    known: usize,
    oldest_ms: u64,
    arrived: Option<u64>,
}

impl<'a> Share<'a> {
    fn new(unit: Unit, then: Then, view: &'a dyn View) -> Share<'a> {
        Share { unit, then, view, rows: Vec::new(), known: 0, oldest_ms: u64::MAX, arrived: None }
    }

    fn take(&mut self, row: Row) {
        self.known += 1;
        self.oldest_ms = self.oldest_ms.min(row.version.stamp.ms());
        if row.status.is_eligible() {
            let came = row.arrived.unwrap_or(0);
            self.arrived = Some(self.arrived.map_or(came, |arrived| arrived.min(came)));
        }
        if let Some(status) = self.status(&row) {
            self.rows.push(Row { status, ..row });
        }
    }

    /// What a write may have counted for then, if it was known.
    fn status(&self, row: &Row) -> Option<Status> {
        match self.then {
            Then::Made(at) if row.version.stamp > at => None,
            Then::Made(_) if row.status.is_eligible() => Some(Status::Superseded),
            Then::Made(_) => Some(row.status),
            Then::Known(number) if !was_known(row, number) => None,
            Then::Known(number) if was_masked(row, number) => Some(Status::Masked),
            Then::Known(number) => {
                let owner = owner(&self.unit.collection);
                let counted = |rule: &Row| {
                    Some(rule.body.author) == owner && was_known(rule, number) && !was_masked(rule, number)
                };
                let allowed = allows_by(&self.unit, row.body.author, row.version, self.view, &counted);
                Some(if allowed { Status::Superseded } else { Status::Denied })
            }
        }
    }

    /// Which of them may have stood: the latest of those that may count. Former ones may have been let go since.
    fn latest_at(&self, deleted: Stamp) -> Result<Option<usize>, Forgotten> {
        let lasting = is_lasting(&self.unit);
        let latest = self.rows.iter().rposition(|row| row.status.is_eligible());
        if latest.is_none() && self.known >= limits::CELL_HISTORY && !is_rules(&self.unit) {
            return Err(match self.then {
                Then::Made(_) => Forgotten::OldestMs(self.oldest_ms),
                Then::Known(_) => {
                    Forgotten::KnownFrom(self.arrived.map_or_else(|| events_end(self.view), |arrived| arrived + 1))
                }
            });
        }
        // No prefix delete takes rules of access, or the floor.
        Ok(latest.filter(|&at| lasting || self.rows[at].version.stamp >= deleted))
    }

    /// Its version.
    fn latest_version(&self, deleted: Stamp) -> Result<Option<Version>, Forgotten> {
        Ok(self.latest_at(deleted)?.map(|at| self.rows[at].version))
    }

    /// That one.
    fn latest(mut self, deleted: Stamp) -> Result<Option<Row>, Forgotten> {
        Ok(self.latest_at(deleted)?.map(|at| self.rows.swap_remove(at)))
    }

    /// All of them, with what each counted for under the latest prefix delete.
    fn judged(mut self, deleted: Stamp) -> Result<Vec<Row>, Forgotten> {
        if self.unit.part == Part::Set {
            let eligible = self.rows.iter().filter(|row| row.status.is_eligible());
            let named: BTreeSet<Version> = eligible.flat_map(|row| row.body.over.clone()).collect();
            for row in self.rows.iter_mut().filter(|row| row.status.is_eligible()) {
                let adds = matches!(row.body.op, Op::Add { .. });
                row.status = match (adds && row.version.stamp >= deleted, named.contains(&row.version)) {
                    (true, false) => Status::Kept,
                    _ if row.body.over.is_empty() => Status::Superseded,
                    _ => Status::Hollow,
                };
            }
            return Ok(self.rows);
        }
        let stood = self.latest_version(deleted)?;
        let former = if is_lasting(&self.unit) { Status::Hollow } else { Status::Superseded };
        for row in self.rows.iter_mut().filter(|row| row.status.is_eligible()) {
            row.status = if stood == Some(row.version) { Status::Kept } else { former };
        }
        Ok(self.rows)
    }
}

/// Whether a write had come before an event. What came before that was kept had come.
fn was_known(row: &Row, number: u64) -> bool {
    row.arrived.is_none_or(|arrived| arrived < number)
}

/// Whether a write was masked before an event.
fn was_masked(row: &Row, number: u64) -> bool {
    row.status == Status::Masked && row.masked.is_none_or(|masked| masked < number)
}

/// The sum of the shares that stood.
fn counter(shares: impl Iterator<Item = Row>) -> Option<Counter> {
    let counted = shares.filter_map(|row| match row.body.op {
        Op::Count { plus, minus } => Some(i128::from(plus) - i128::from(minus)),
        Op::Set { .. } | Op::Delete | Op::Add { .. } | Op::Remove | Op::DeletePrefix => None,
    });
    let counted: Vec<i128> = counted.collect();
    (!counted.is_empty()).then(|| Counter::of(counted.iter().sum(), counted.len() as u64))
}

/// The elements that stood.
fn elements(set: &[Row]) -> Vec<Element> {
    let mut found: BTreeMap<Vec<u8>, Vec<Version>> = BTreeMap::new();
    for row in set.iter().filter(|row| row.status == Status::Kept) {
        if let Op::Add { element } = &row.body.op {
            found.entry(element.as_str().as_bytes().to_vec()).or_default().push(row.version);
        }
    }
    found.into_iter().filter_map(|(text, versions)| Element::of(&text, versions)).collect()
}
