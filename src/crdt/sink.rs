//! What a floor lets go: what is below it and not on its roll, here already or coming later.

use super::access::{allows, is_rules};
use super::conflict::Reason;
use super::floor::is_floor;
use super::index::Entry;
use super::merge::{Merge, Outcome, loss};
use super::roll::entry_key;
use super::row::{Row, Status};
use super::unit::{Part, Unit};
use crate::types::Version;
use crate::types::storage::View;
use crate::wire::kind::state::Op;

impl Merge<'_, '_, '_> {
    /// Whether a write is below the floor of its collection, and not one of those that count.
    pub(super) fn is_sunk(&self, unit: &Unit, row: &Row) -> bool {
        let adopted = self.replica.floors.get(&unit.collection).and_then(|held| held.adopted());
        let Some(adopted) = adopted.filter(|adopted| row.version < adopted.floor.version) else { return false };
        let entry = Entry { version: row.version, digest: row.digest(unit) };
        self.tx.get(&entry_key(&unit.collection, adopted.roll, &entry)).is_none()
    }

    /// A write comes that may have been let go before: by a floor that does not count any more, or by one whose place
    /// another took that has the write on its roll.
    pub(super) fn take_back(&mut self, unit: &Unit, version: Version) {
        if self.replica.floors.get(&unit.collection).is_some_and(|held| version < held.kept.gone.below) {
            self.forgive(unit, version);
        }
    }

    /// A write that comes and does not count. One that says something nobody is known to have seen is a loss.
    pub(super) fn refuse(&mut self, unit: &Unit, new: &Row) -> Outcome {
        // What someone says who may not write there is nobody's having seen it.
        if allows(unit, new.body.author, new.version, self.tx) {
            new.body.over.iter().for_each(|seen| self.forgive(unit, *seen));
        }
        let head = Some(unit).filter(|unit| unit.part != Part::Set).and_then(|unit| self.head(unit));
        // What stands and is not judged yet may be let go next.
        let head = head.filter(|head| !self.is_sunk(unit, head));
        let seen = match new.body.op {
            Op::Set { .. } => is_floor(unit) || self.is_named(unit, new.version),
            Op::Add { .. } => self.is_removed(unit, new.version),
            Op::Count { .. } => {
                head.as_ref().is_some_and(|head| head.version > new.version && loss(new, head).is_none())
            }
            Op::Delete | Op::Remove | Op::DeletePrefix => true,
        };
        if !seen && !self.is_lost(unit, new.version) {
            self.lose(unit, new, head.map(|head| head.version), Reason::Floor);
        }
        Outcome::Floored
    }

    /// Lets go of those rows of a unit that are below the floor and do not count. What is left is to be settled.
    pub(super) fn sink(&mut self, unit: &Unit, rows: Vec<Row>) -> Vec<Row> {
        if self.replica.floor(&unit.collection).is_none_or(|floor| rows.iter().all(|row| row.version >= floor.version))
        {
            return rows;
        }
        let (sunk, left): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| self.is_sunk(unit, row));
        if !sunk.is_empty() && is_rules(unit) {
            self.judge_anew(&unit.collection, "");
        }
        for row in sunk {
            let now = self.row(unit, row.version).map_or(row.status, |now| now.status);
            let row = Row { status: now, ..row };
            let winner = left.iter().rfind(|other| other.status.is_eligible()).map(|other| other.version);
            let winner = winner.filter(|_| unit.part != Part::Set);
            self.set_status(unit, &row, Status::Superseded);
            self.tx.delete(unit.row(row.version));
            self.replica.let_go(&row.body);
            self.unname(unit, &row);
            let says = match row.body.op {
                Op::Set { .. } => !is_floor(unit),
                Op::Add { .. } | Op::Count { .. } => true,
                // It is undone: what it deleted is in the set and stands again.
                Op::Delete => winner.is_some_and(|winner| winner < row.version),
                Op::Remove | Op::DeletePrefix => false,
            };
            if says && now == Status::Kept {
                self.lose(unit, &row, winner, Reason::Floor);
            }
        }
        left
    }

    /// What a row of a set had named may stand again, if it is not let go itself.
    fn unname(&mut self, unit: &Unit, row: &Row) {
        if unit.part != Part::Set {
            return;
        }
        for seen in &row.body.over {
            self.tx.delete(unit.named(*seen, row.version));
            if self.row(unit, *seen).is_some_and(|named| !self.is_sunk(unit, &named)) {
                self.stand_again(unit, *seen);
            }
        }
    }
}
