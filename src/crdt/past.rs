//! The state at a time: what was at a path by the writes made until then, as far as history is remembered.
//!
//! It is what a node would show that knows all writes stamped until then and none later: not what this node knew then.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::access::is_rules;
use super::read::{Cell, Counter, Element, Register, State};
use super::row::Row;
use super::unit::{Part, Unit, ancestors};
use crate::types::{Stamp, Version, limits};
use crate::wire::kind::state::Op;

/// What was at a path then is not remembered any more: of each cell only the newest writes are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what was there then is not remembered; the oldest write that is was made at {oldest_ms} ms")]
pub struct Forgotten {
    /// When the oldest write that is remembered was made, milliseconds since 1970.
    pub oldest_ms: u64,
}

impl State<'_> {
    /// What was at a path by the writes stamped until `at`; none if nothing was.
    pub fn cell_at(&self, path: &str, at: Stamp) -> Result<Option<Cell>, Forgotten> {
        let deleted = ancestors(path).flat_map(|above| self.rows(above, Part::Prefix, at).0);
        let deleted = deleted.map(|row| row.version.stamp).max().unwrap_or_default();
        let stood = |part| {
            let (rows, oldest) = self.rows(path, part, at);
            oldest.map_or(Ok(rows), |oldest_ms| Err(Forgotten { oldest_ms }))
        };
        // No prefix delete takes rules of access.
        let rules = is_rules(&Unit::at(self.collection, path, Part::Register));
        let register = stood(Part::Register)?.pop().filter(|row| rules || row.version.stamp >= deleted);
        let counter = counter(stood(Part::Counter)?, deleted);
        let elements = elements(self.rows(path, Part::Set, at).0, deleted);
        let cell = Cell { path: path.into(), register: register.map(Register::of), elements, counter };
        Ok(Some(cell).filter(|cell| !cell.is_empty()))
    }

    /// The writes to a part of a path until `at` that may count, in order. If there are none, and former ones may have
    /// been let go, when the oldest that is left was made.
    fn rows(&self, path: &str, part: Part, at: Stamp) -> (Vec<Row>, Option<u64>) {
        let unit = Unit::at(self.collection, path, part);
        let (mut rows, mut known, mut oldest) = (Vec::new(), 0, None);
        self.view.scan(&unit.key(), &unit.key().after_prefix(), &mut |key, value| {
            if let Some((_, row)) = Row::read(key, value) {
                known += 1;
                oldest = oldest.or(Some(row.version.stamp.ms()));
                rows.extend(Some(row).filter(|row| row.version.stamp <= at && row.status.is_eligible()));
            }
            ControlFlow::Continue(())
        });
        let forgotten = rows.is_empty() && known > limits::CELL_HISTORY;
        (rows, oldest.filter(|_| forgotten))
    }
}

/// Of each life of each author the latest word counts.
fn counter(rows: Vec<Row>, deleted: Stamp) -> Option<Counter> {
    let mut shares = BTreeMap::new();
    for row in rows {
        if let Op::Count { plus, minus } = row.body.op {
            let count = (row.version, i128::from(plus) - i128::from(minus));
            let share = shares.entry((row.body.author, row.body.incarnation)).or_insert(count);
            *share = count.max(*share);
        }
    }
    shares.retain(|_, (version, _)| version.stamp >= deleted);
    let sum = shares.values().map(|(_, count)| count).sum();
    (!shares.is_empty()).then(|| Counter::of(sum, shares.len() as u64))
}

/// What was added and named by nothing.
fn elements(rows: Vec<Row>, deleted: Stamp) -> Vec<Element> {
    let named: BTreeSet<Version> = rows.iter().flat_map(|row| row.body.over.iter().copied()).collect();
    let mut found: BTreeMap<Vec<u8>, Vec<Version>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.version.stamp >= deleted && !named.contains(&row.version)) {
        if let Op::Add { element } = &row.body.op {
            found.entry(element.as_str().as_bytes().to_vec()).or_default().push(row.version);
        }
    }
    found.into_iter().filter_map(|(text, versions)| Element::of(&text, versions)).collect()
}
