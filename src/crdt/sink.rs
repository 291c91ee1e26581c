//! Coming to a floor: counting what stays, taking a peer's roll, and letting go of what is below and not on it.

use super::access::{allows, is_rules};
use super::conflict::Reason;
use super::floor::{Floor, is_floor, stays};
use super::index::{Entry, Sum, find, retained};
use super::merge::{Merge, Outcome, loss};
use super::roll::entry_key;
use super::row::{Row, Status};
use super::session::Nonsense;
use super::unit::{Part, Unit};
use crate::types::storage::View;
use crate::types::{NodeId, Version};
use crate::wire::kind::state::Op;

/// What would stay below a version, and what would go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The floor it comes to.
    pub floor: Floor,
    /// Retained writes that would go: deletes, removals, prefix deletes, former floors.
    pub tombstones: u64,
    /// A write below came while it was counted: it counts for nothing.
    pub late: bool,
}

impl Merge<'_, '_, '_> {
    /// Whether a write is below the floor of its collection, and not one of those that count.
    pub(super) fn is_sunk(&self, unit: &Unit, row: &Row) -> bool {
        let adopted = self.replica.floors.get(&unit.collection).and_then(|held| held.adopted());
        let Some(adopted) = adopted.filter(|adopted| row.version < adopted.floor.version) else { return false };
        let entry = Entry { version: row.version, digest: row.digest(unit) };
        self.tx.get(&entry_key(&unit.collection, adopted.roll, &entry)).is_none()
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

    /// A client wants to know what would stay below a version; `staged`, to make it the floor.
    pub fn count_floor(&mut self, collection: &str, below: Version, staged: bool) {
        self.replica.floors.get_mut(collection).begin(below, None, true, staged);
    }

    /// Goes on with what is to be done about floors, up to about so many rows. What clients asked for and is counted.
    pub fn tend_floors(&mut self, budget: usize) -> Vec<(String, Counted)> {
        let (mut left, mut counted) = (budget, Vec::new());
        for name in self.replica.floors.restless() {
            if left == 0 {
                break;
            }
            let held = self.replica.floors.get_mut(&name);
            held.listen(&name, self.tx);
            held.clear(&name, &mut left, self.tx);
            // While something is judged anew, what is retained is not what it will be.
            if !self.replica.sweeps.is_empty() {
                continue;
            }
            let events = self.replica.events;
            self.replica.floors.get_mut(&name).sunk(events);
            counted.extend(self.count_on(&name, &mut left).map(|done| (name.clone(), done)));
            self.decide(&name);
            let now = self.retained_sum(&name);
            if self.replica.floors.get(&name).is_none_or(|held| held.is_at_rest(now)) {
                self.replica.floors.rest(&name);
            }
        }
        counted
    }

    fn retained_sum(&self, collection: &str) -> Sum {
        let summary = self.replica.summary(collection);
        Sum { count: summary.retained, root: summary.root }
    }

    /// Counts on what is retained here; what a client asked for, once it is counted.
    fn count_on(&mut self, name: &str, left: &mut usize) -> Option<Counted> {
        let held = self.replica.floors.get_mut(name);
        let mut count = held.count.clone().filter(|count| !count.done && count.from.is_none() && *left > 0)?;
        let mut entries = retained(name, count.after, *left, self.tx);
        count.done = entries.len() < *left || entries.last().is_some_and(|last| last.version >= count.below);
        *left = left.saturating_sub(entries.len().max(1));
        // Those of one version come together, and a roll has them by digest.
        entries.sort_unstable();
        for entry in entries.into_iter().filter(|entry| entry.version < count.below) {
            count.after = Some(entry.version);
            let Some(unit) = find(name, &entry, self.tx) else { continue };
            let Some(row) = self.row(&unit, entry.version) else { continue };
            if !stays(&unit, &row) {
                count.tombstones += 1;
                continue;
            }
            count.root.add(&entry);
            if let Some(roll) = count.roll {
                self.tx.put(entry_key(name, roll, &entry), Vec::new());
            }
        }
        let done = Counted { floor: count.root.floor(count.below), tombstones: count.tombstones, late: count.late };
        let told = (count.done && count.asked).then_some(done);
        let kept = count.roll.is_some() && !(told.is_some() && done.late);
        self.replica.floors.get_mut(name).count = Some(count).filter(|count| kept || !count.done);
        told
    }

    /// What was counted is the floor, or it is not; then, or if nothing was, it is counted.
    fn decide(&mut self, name: &str) {
        let (now, events) = (self.retained_sum(name), self.replica.events);
        let held = self.replica.floors.get_mut(name);
        let Some(wanted) = held.wanted else { return };
        if let Some(count) = held.count.as_ref().filter(|count| count.done) {
            match count.roll.filter(|_| count.root.floor(count.below) == wanted) {
                Some(roll) => {
                    held.adopt(wanted, roll, events);
                    return self.judge_anew(name, "");
                }
                None if count.asked => held.count = None,
                None => (held.count, held.refuted) = (None, Some(now)),
            }
        }
        if held.count.is_none() && held.refuted != Some(now) {
            held.begin(wanted.version, None, false, true);
        }
    }

    /// A peer's roll of the floor that is wanted is taken from now on, from its beginning.
    pub fn begin_roll(&mut self, collection: &str, peer: NodeId) {
        let held = self.replica.floors.get_mut(collection);
        if let Some(wanted) = held.wanted {
            held.begin(wanted.version, Some(peer), false, true);
        }
    }

    /// A page of it, in order. Once there is no more the floor counts here, or it was not its roll.
    pub fn take_roll(
        &mut self,
        collection: &str,
        peer: NodeId,
        after: Option<Entry>,
        entries: &[Entry],
        more: bool,
    ) -> Result<(), Nonsense> {
        let events = self.replica.events;
        let held = self.replica.floors.get_mut(collection);
        let (Some(wanted), Some(count)) = (held.wanted, held.count.as_mut()) else { return Ok(()) };
        let Some(roll) = count.roll.filter(|_| count.from == Some(peer)) else { return Ok(()) };
        let mut last = after;
        for entry in entries {
            if Some(*entry) <= last || entry.version >= wanted.version || count.root.count() >= wanted.count {
                return Err(Nonsense("a roll that is not in order, or not below its floor"));
            }
            last = Some(*entry);
            count.root.add(entry);
            self.tx.put(entry_key(collection, roll, entry), Vec::new());
        }
        if more {
            return Ok(());
        }
        if count.root.floor(wanted.version) != wanted {
            return Err(Nonsense("a roll that is not the floor's"));
        }
        held.adopt(wanted, roll, events);
        self.judge_anew(collection, "");
        Ok(())
    }

    /// Nothing more comes of a peer's roll.
    pub fn drop_roll(&mut self, collection: &str, peer: NodeId) {
        let of_peer = |held: &super::floor::Held| held.count.as_ref().is_some_and(|count| count.from == Some(peer));
        if self.replica.floors.get(collection).is_some_and(of_peer) {
            self.replica.floors.get_mut(collection).count = None;
        }
    }
}
