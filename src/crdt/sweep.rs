//! Judging parts of the state anew, a bounded number of rows at a time: after a prefix delete, a change of the rules of
//! access, the proof of a fork.
//!
//! ```text
//!  Sweep  number 8 → bincode: the next key, the end, the fork
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::access::{allows, is_rules};
use super::conflict::Reason;
use super::event::What;
use super::floor::is_floor;
use super::merge::{Merge, loss};
use super::row::{Row, Status};
use super::said::Said;
use super::unit::{Part, Unit, at_path, below};
use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Incarnation, NodeId, Version, limits};
use crate::wire::kind::state::Op;

/// A part of the state that is to be judged anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Sweep {
    /// Keys without the table's byte: from here, up to but without there.
    #[serde(with = "serde_bytes")]
    from: Vec<u8>,
    #[serde(with = "serde_bytes")]
    to: Vec<u8>,
    /// What a fork masks: of this author, in this life, from this bundle on.
    fork: Option<(NodeId, Incarnation, u64)>,
}

/// Everything that waits to be judged anew, in the order in which it came.
#[derive(Debug, Default)]
pub struct Sweeps {
    waiting: BTreeMap<u64, Sweep>,
    /// Those whose rows are not what is here.
    changed: BTreeMap<u64, ()>,
    next: u64,
}

impl Sweeps {
    /// What waits, by the store.
    pub fn load(view: &dyn View) -> Result<Sweeps, String> {
        let start = Key::new(Table::Sweep, &[]);
        let (mut waiting, mut broken) = (BTreeMap::new(), false);
        view.scan(&start, &start.after_prefix(), &mut |key, value| {
            let number = key.get(1..).and_then(|number| Some(u64::from_be_bytes(number.try_into().ok()?)));
            match number.zip(decode(value)) {
                Some((number, sweep)) => waiting.insert(number, sweep).map_or((), drop),
                None => broken = true,
            }
            ControlFlow::Continue(())
        });
        // None after a number that no program writes.
        let next = waiting.last_key_value().map_or(Some(0), |(last, _): (&u64, _)| last.checked_add(1));
        match next.filter(|_| !broken) {
            Some(next) => Ok(Sweeps { waiting, changed: BTreeMap::new(), next }),
            None => Err("a row of what is to be judged anew in the replicated state cannot be read".into()),
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, (from, to): (&Key, &Key), fork: Option<(NodeId, Incarnation, u64)>) {
        let bytes = |key: &Key| key.as_bytes().get(1..).unwrap_or_default().to_vec();
        let sweep = Sweep { from: bytes(from), to: bytes(to), fork };
        if self.waiting.values().any(|other| *other == sweep) {
            return;
        }
        self.waiting.insert(self.next, sweep);
        self.changed.insert(self.next, ());
        self.next += 1;
    }

    /// Writes the rows of what has changed.
    pub fn save(&mut self, tx: &mut Txn<'_>) {
        for number in std::mem::take(&mut self.changed).into_keys() {
            let key = Key::new(Table::Sweep, &[&number.to_be_bytes()]);
            match self.waiting.get(&number) {
                Some(sweep) => tx.put(key, encode(sweep)),
                None => tx.delete(key),
            }
        }
    }
}

impl Merge<'_, '_, '_> {
    /// Everything at and below a path is to be judged anew; the whole collection for the empty path.
    pub(super) fn judge_anew(&mut self, collection: &str, path: &str) {
        let (from, to) = below(Table::State, collection, path);
        let sweeps = &mut self.replica.sweeps;
        if sweeps.waiting.len() >= limits::SWEEPS {
            // Too many parts: one that has them all in it takes no more room.
            let (from, to) = below(Table::State, collection, "");
            return sweeps.add((&from, &to), None);
        }
        if !path.is_empty() {
            let (from, to) = at_path(Table::State, collection, path);
            sweeps.add((&from, &to), None);
        }
        sweeps.add((&from, &to), None);
    }

    /// An author said two things in one place: what it wrote there and after in that life does not count any more.
    pub fn mask(&mut self, author: NodeId, incarnation: Incarnation, sequence: u64) {
        // A lower fork masks all that a higher one does: one sweep waits for a life of an author, however often it forks.
        let sweeps = &mut self.replica.sweeps;
        let of_life = |(number, sweep): (&u64, &Sweep)| {
            let (_, _, from) = sweep.fork.filter(|(of, life, _)| (*of, *life) == (author, incarnation))?;
            Some((*number, from))
        };
        match sweeps.waiting.iter().find_map(of_life) {
            Some((_, from)) if from <= sequence => return,
            Some((number, _)) => {
                sweeps.waiting.remove(&number);
                sweeps.changed.insert(number, ());
            }
            None => {}
        }
        let start = Key::new(Table::State, &[]);
        sweeps.add((&start, &start.after_prefix()), Some((author, incarnation, sequence)));
    }

    /// Judges up to about `budget` rows anew. Whether more is left.
    pub fn sweep(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0
            && let Some((number, sweep)) = self.replica.sweeps.waiting.pop_first()
        {
            self.replica.sweeps.changed.insert(number, ());
            if let Some(rest) = self.sweep_one(sweep, &mut left) {
                self.replica.sweeps.waiting.insert(number, rest);
            }
        }
        !self.replica.sweeps.is_empty()
    }

    /// What is left of a sweep when the budget is used up.
    fn sweep_one(&mut self, mut sweep: Sweep, left: &mut usize) -> Option<Sweep> {
        let to = end_key(&sweep.to);
        while *left > 0 {
            let (unit, rows) = self.next_rows(&Key::new(Table::State, &[&sweep.from]), &to, *left)?;
            *left = left.saturating_sub(rows.len().max(1));
            sweep.from = after(&unit, &rows);
            self.judge(&unit, rows, sweep.fork);
        }
        Some(sweep)
    }

    /// The next unit in a range, and its rows: all of them, or of a set so many; none of what is no write.
    fn next_rows(&self, from: &Key, to: &Key, most: usize) -> Option<(Unit, Vec<Row>)> {
        let mut found: Option<(Unit, Vec<Row>)> = None;
        self.tx.scan(from, to, &mut |key, value| {
            let Some((unit, version)) = Unit::read(key) else { return ControlFlow::Continue(()) };
            let row = Row::decode(version, value).filter(|_| unit.part.has_writes());
            match &mut found {
                None => {
                    let goes_on = unit.part.has_writes();
                    found = Some((unit, row.into_iter().collect()));
                    return if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
                }
                Some((first, rows)) if *first == unit && (unit.part != Part::Set || rows.len() < most) => {
                    rows.extend(row);
                }
                Some(_) => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        });
        found
    }

    fn judge(&mut self, unit: &Unit, rows: Vec<Row>, fork: Option<(NodeId, Incarnation, u64)>) {
        let before = rows.len();
        let mut rows = self.sink(unit, rows);
        let sank = rows.len() < before;
        if let Some((author, incarnation, at)) = fork {
            let said = |row: &Row| row.body.author == author && row.body.incarnation == incarnation;
            let mut any = false;
            for row in
                rows.iter_mut().filter(|row| said(row) && row.body.sequence >= at && row.status != Status::Masked)
            {
                // One row of a set may have changed another just now.
                row.status = self.row(unit, row.version).map_or(row.status, |now| now.status);
                self.retire(unit, row, Status::Masked, Reason::Fork);
                any = true;
            }
            if !any && !sank {
                return;
            }
        }
        if unit.part == Part::Set { self.settle_set(unit, rows) } else { self.settle(unit, rows) }
    }

    /// Takes a row out of what counts.
    fn retire(&mut self, unit: &Unit, row: &mut Row, status: Status, reason: Reason) {
        let stood = row.status == Status::Kept;
        self.set_status(unit, row, status);
        row.status = status;
        if unit.part == Part::Set {
            for seen in row.body.over.clone() {
                self.tx.delete(unit.named(seen, row.version));
                self.stand_again(unit, seen);
            }
        }
        if stood {
            self.lose(unit, row, None, reason);
        }
        if status == Status::Masked {
            self.replica.let_go(&row.body);
            self.note(What::Masked, unit, row.version, None);
        }
        if unit.part == Part::Prefix {
            self.judge_anew(&unit.collection, &unit.path);
        } else if is_rules(unit) {
            self.judge_anew(&unit.collection, "");
        }
    }

    /// What a row of a set had named may stand again.
    pub(super) fn stand_again(&mut self, unit: &Unit, version: Version) {
        let Some(row) = self.row(unit, version).filter(|row| row.status.is_eligible()) else { return };
        let status = self.standing(unit, &row);
        if status == Status::Kept && row.status != Status::Kept {
            self.forgive(unit, version);
            self.note(What::Restored, unit, version, None);
        }
        self.set_status(unit, &row, status);
    }

    /// Whether the rules let a row count, after they let it or did not before.
    fn admit(&mut self, unit: &Unit, row: &mut Row) -> bool {
        if row.status == Status::Masked {
            return false;
        }
        let allowed = allows(unit, row.body.author, row.version, self.tx);
        match (row.status == Status::Denied, allowed) {
            (false, false) => self.retire(unit, row, Status::Denied, Reason::Access),
            (true, true) => {
                self.set_status(unit, row, Status::Superseded);
                row.status = Status::Superseded;
                if unit.part == Part::Set {
                    self.name(unit, row);
                }
            }
            (true, false) | (false, true) => {}
        }
        allowed
    }

    /// Of rows that compete, the latest stands that may.
    fn settle(&mut self, unit: &Unit, mut rows: Vec<Row>) {
        let former = rows.iter().find(|row| row.status == Status::Kept).map(|row| row.version);
        let mut winner = None;
        for row in &mut rows {
            if self.admit(unit, row) && self.shade(unit, row.version).is_none() {
                winner = Some(row.version);
            }
        }
        let said = Said::of(rows.iter().filter(|row| is_floor(unit) && row.status.is_eligible()));
        let lasts = |row: &Row| is_rules(unit) || is_floor(unit) && said.keeps(row);
        for row in rows.iter().filter(|row| row.status.is_eligible()) {
            let status = match (winner == Some(row.version), lasts(row)) {
                (true, _) => Status::Kept,
                (false, true) => Status::Hollow,
                (false, false) => Status::Superseded,
            };
            let fell = row.status == Status::Kept && status != Status::Kept;
            self.set_status(unit, row, status);
            if fell {
                self.fall(unit, row, rows.iter().find(|other| winner == Some(other.version)));
            }
        }
        if winner == former {
            return;
        }
        if let Some(version) = winner {
            self.forgive(unit, version);
            self.note(What::Restored, unit, version, former);
        }
        if unit.part == Part::Prefix {
            self.judge_anew(&unit.collection, &unit.path);
        }
    }

    /// What stood does not any more: under a prefix delete, or behind a write that may count now.
    fn fall(&mut self, unit: &Unit, row: &Row, winner: Option<&Row>) {
        if let Some(shade) = self.shade(unit, row.version) {
            self.lose_to_prefix(unit, row, shade);
        } else if let Some((winner, reason)) = winner.and_then(|winner| Some((winner.version, loss(row, winner)?))) {
            self.lose(unit, row, Some(winner), reason);
        }
    }

    /// Of a set, each stands or falls by itself.
    fn settle_set(&mut self, unit: &Unit, mut rows: Vec<Row>) {
        for row in &mut rows {
            row.status = self.row(unit, row.version).map_or(row.status, |now| now.status);
            if !self.admit(unit, row) {
                continue;
            }
            let status = self.standing(unit, row);
            self.set_status(unit, row, status);
            match (row.status, status) {
                (Status::Kept, Status::Superseded | Status::Hollow) => {
                    if let Some(shade) = self.shade(unit, row.version) {
                        self.lose_to_prefix(unit, row, shade);
                    }
                }
                (Status::Superseded | Status::Hollow, Status::Kept) => {
                    self.forgive(unit, row.version);
                    self.note(What::Restored, unit, row.version, None);
                }
                _ => debug_assert!(!matches!(row.body.op, Op::Set { .. }), "a register's write in a set"),
            }
        }
    }
}

/// Where a sweep goes on, without the table's byte: after a row of a set, otherwise after the unit.
fn after(unit: &Unit, rows: &[Row]) -> Vec<u8> {
    let whole = Unit::at(&unit.collection, &unit.path, unit.part);
    match rows.last() {
        Some(last) if unit.part == Part::Set => [unit.bytes().as_slice(), &last.version.to_bytes(), &[0]].concat(),
        _ => {
            let unit = if unit.part.has_writes() { unit } else { &whole };
            unit.key().after_prefix().as_bytes().get(1..).unwrap_or_default().to_vec()
        }
    }
}

/// A key that ends a range: what lies in the table below it.
fn end_key(bytes: &[u8]) -> Key {
    if bytes.is_empty() { Key::new(Table::State, &[]).after_prefix() } else { Key::new(Table::State, &[bytes]) }
}
