//! Merging one write into what is known. Whatever the order, what is retained afterwards is the same.
//!
//! What stands is always the latest that is eligible: not masked, not denied, and under no later prefix delete. Each
//! relation here is transitive, which is why what was dropped never has to be asked again, as long as nothing that took
//! its place is itself taken away; then the unit is settled from its history (see `sweep`).

use std::ops::ControlFlow;

use super::access::{allows, is_lasting, is_rules};
use super::collection::Replica;
use super::conflict::{self, Reason};
use super::event::What;
use super::floor::{Floor, is_floor};
use super::index::Entry;
use super::row::{Member, Row, Status};
use super::standing::is_single;
use super::unit::{Part, Unit, ancestors};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{NodeId, Version, WallMs, limits};
use crate::wire::kind::state::Op;

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It counts: it stands, or decides what stands.
    Applied,
    /// Something later stands in its place.
    Superseded,
    /// It was here already.
    Duplicate,
    /// Its author may not write there.
    Denied,
    /// It is below the floor of its collection, and does not count.
    Floored,
    /// There are as many collections as this node holds.
    NoRoom,
}

/// A step's work on the state.
pub struct Merge<'r, 't, 'v> {
    pub(super) replica: &'r mut Replica,
    pub(super) tx: &'t mut Txn<'v>,
    pub(super) now: WallMs,
}

impl<'r, 't, 'v> Merge<'r, 't, 'v> {
    /// Work on `replica` and its rows, at a time of the wall clock.
    pub fn new(replica: &'r mut Replica, tx: &'t mut Txn<'v>, now: WallMs) -> Merge<'r, 't, 'v> {
        Merge { replica, tx, now }
    }

    /// Merges one change.
    pub fn apply(&mut self, member: Member) -> Outcome {
        let Member { unit, version, body } = member;
        let unit = &unit;
        if !self.replica.has_room(&unit.collection) {
            return Outcome::NoRoom;
        }
        let author = body.author;
        let new = Row { arrived: Some(self.replica.events.end()), ..Row::new(version, Status::Superseded, body) };
        // What is later than all that ever came cannot have come.
        let is_latest = version.stamp > self.replica.summary(&unit.collection).clock;
        let old = (!is_latest).then(|| self.row(unit, version)).flatten();
        if self.is_sunk(unit, &new) {
            let waits = old.is_some_and(|old| old.raw == new.raw);
            return if waits { Outcome::Duplicate } else { self.refuse(unit, &new) };
        }
        if let Some(old) = old {
            // Two writes of one version take a collision of the digest. The larger one stands, at every node.
            if old.raw >= new.raw {
                return Outcome::Duplicate;
            }
            self.set_status(unit, &old, Status::Superseded);
        } else {
            self.take_back(unit, version);
        }
        let summary = self.replica.summary_mut(&unit.collection);
        summary.clock = summary.clock.max(version.stamp);
        let outcome = if !allows(unit, author, version, self.tx) {
            self.put(unit, &new, Status::Denied);
            self.lose(unit, &new, None, Reason::Access);
            self.trim(unit, version);
            Outcome::Denied
        } else if unit.part == Part::Set {
            self.gather(unit, &new)
        } else {
            self.replace(unit, &new)
        };
        if is_floor(unit) {
            self.bound_floors(unit, author);
        }
        outcome
    }

    /// Tells that a change is not taken before its time has come.
    pub fn defer(&mut self, member: &Member) {
        if self.replica.has_room(&member.unit.collection) && !member.is_known(self.tx) {
            self.note(What::Deferred, &member.unit, member.version, None);
        }
    }

    /// A register, a counter's share, a path's prefix deletes: the latest stands.
    fn replace(&mut self, unit: &Unit, new: &Row) -> Outcome {
        let outcome = self.compete(unit, new);
        // What a prefix delete had seen is no loss; it is looked at when the prefix is judged.
        if unit.part == Part::Register {
            new.body.over.iter().for_each(|seen| self.forgive(unit, *seen));
        }
        outcome
    }

    fn compete(&mut self, unit: &Unit, new: &Row) -> Outcome {
        if let Some(shade) = self.shade(unit, new.version) {
            self.put(unit, new, Status::Superseded);
            self.lose_to_prefix(unit, new, shade);
            self.trim(unit, new.version);
            return Outcome::Superseded;
        }
        let before = match self.head(unit) {
            Some(head) if head.version > new.version => {
                self.put(unit, new, self.former(unit, new));
                if unit.part == Part::Register && !self.is_named(unit, new.version) {
                    self.lose(unit, new, Some(head.version), Reason::Concurrent);
                }
                if is_rules(unit) {
                    self.judge_anew(&unit.collection, "");
                }
                self.trim(unit, new.version);
                return Outcome::Superseded;
            }
            before => before,
        };
        self.put(unit, new, Status::Kept);
        if let Some(before) = &before {
            self.set_status(unit, before, self.former(unit, before));
            if let Some(reason) = loss(before, new) {
                self.lose(unit, before, Some(new.version), reason);
            }
        }
        // Where nothing stood, and nothing is deleted but cell by cell, there is no history that grows.
        if before.is_some() || self.replica.summary(&unit.collection).prefixes > 0 {
            self.trim(unit, new.version);
        }
        self.note(What::Applied, unit, new.version, before.map(|before| before.version));
        if unit.part == Part::Prefix {
            self.judge_anew(&unit.collection, &unit.path);
        } else if is_rules(unit) {
            self.judge_anew(&unit.collection, "");
        }
        Outcome::Applied
    }

    /// What a row becomes when something later stands: former rules still decide about what was written under them, and a
    /// former floor may be the highest that can be come to.
    fn former(&self, unit: &Unit, row: &Row) -> Status {
        let said = || self.replica.floors.get(&unit.collection).is_none_or(|held| held.said.keeps(row));
        match is_rules(unit) || is_floor(unit) && Floor::said(row).is_some() && said() {
            true => Status::Hollow,
            false => Status::Superseded,
        }
    }

    /// Lets go of an author's lowest floors, if it has said many.
    fn bound_floors(&mut self, unit: &Unit, author: NodeId) {
        let surplus = self.replica.floors.get(&unit.collection).map(|held| held.said.surplus(author));
        for version in surplus.unwrap_or_default() {
            if let Some(row) = self.row(unit, version).filter(|row| row.status == Status::Hollow) {
                self.set_status(unit, &row, Status::Superseded);
            }
        }
    }

    /// The set: what is added stands until something names it.
    fn gather(&mut self, unit: &Unit, new: &Row) -> Outcome {
        let status = self.standing(unit, new);
        self.put(unit, new, status);
        if status != Status::Kept
            && !self.is_removed(unit, new.version)
            && let Some(shade) = self.shade(unit, new.version)
        {
            self.lose_to_prefix(unit, new, shade);
        }
        self.name(unit, new);
        new.body.over.iter().for_each(|seen| self.forgive(unit, *seen));
        if !status.is_retained() {
            return Outcome::Superseded;
        }
        self.note(What::Applied, unit, new.version, new.body.over.first().copied());
        Outcome::Applied
    }

    /// What an eligible row of a set counts for.
    pub(super) fn standing(&self, unit: &Unit, row: &Row) -> Status {
        let adds = matches!(row.body.op, Op::Add { .. });
        if adds && !self.is_removed(unit, row.version) && self.shade(unit, row.version).is_none() {
            Status::Kept
        } else if row.body.over.is_empty() {
            Status::Superseded
        } else {
            Status::Hollow
        }
    }

    /// Takes away what a row of a set names, now and when it comes.
    pub(super) fn name(&mut self, unit: &Unit, row: &Row) {
        for seen in &row.body.over {
            self.tx.put(unit.named(*seen, row.version), Vec::new());
            if let Some(old) = self.row(unit, *seen).filter(|old| old.status == Status::Kept) {
                let status = if old.body.over.is_empty() { Status::Superseded } else { Status::Hollow };
                self.set_status(unit, &old, status);
            }
        }
    }

    /// Whether a version of a set is named by a later one.
    pub(super) fn is_removed(&self, unit: &Unit, version: Version) -> bool {
        let named = Unit::at(&unit.collection, &unit.path, Part::Named);
        let from = Key::new(Table::State, &[&named.bytes(), &version.to_bytes()]);
        self.tx.last(&from, &from.after_prefix()).is_some()
    }

    /// A row as it is kept.
    pub(super) fn row(&self, unit: &Unit, version: Version) -> Option<Row> {
        Row::decode(version, &self.tx.get(&unit.row(version))?)
    }

    /// What stands in a unit.
    pub(super) fn head(&self, unit: &Unit) -> Option<Row> {
        if !is_single(unit) {
            return head(unit, self.tx);
        }
        let standing = self.replica.standing(unit).and_then(|version| self.row(unit, version));
        debug_assert_eq!(standing, head(unit, self.tx), "what stands is what memory says");
        standing
    }

    /// The latest prefix delete over a version.
    pub(super) fn shade(&self, unit: &Unit, version: Version) -> Option<Row> {
        if self.replica.summary(&unit.collection).prefixes == 0 {
            return None;
        }
        shade(unit, version, self.tx)
    }

    /// Whether a later write of the unit that may count had seen a version. Looks at the nearest ones only: more are not
    /// kept.
    pub(super) fn is_named(&self, unit: &Unit, version: Version) -> bool {
        let (mut named, mut looked) = (false, 0);
        let names = |row: &Row| row.status.is_eligible() && row.body.over.contains(&version);
        self.tx.scan(&unit.row(version), &unit.key().after_prefix(), &mut |key, value| {
            named = Row::read(key, value).is_some_and(|(_, row)| names(&row));
            looked += 1;
            if named || looked > 2 * limits::CELL_HISTORY { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        named
    }

    /// Whether a version is in the conflict log.
    pub(super) fn is_lost(&self, unit: &Unit, version: Version) -> bool {
        self.tx.get(&unit.conflict(version)).is_some()
    }

    /// Writes a row that is not there, and counts it.
    pub(super) fn put(&mut self, unit: &Unit, row: &Row, status: Status) {
        self.tx.put(unit.row(row.version), row.encode(status, row.masked));
        if status.is_retained() {
            self.count(unit, row, true);
        }
        if status == Status::Kept {
            self.show(unit, row, true);
        }
    }

    /// Keeps what is found by element.
    fn show(&mut self, unit: &Unit, row: &Row, stands: bool) {
        let Op::Add { element } = &row.body.op else { return };
        let key = unit.element(element, row.version);
        if stands {
            self.tx.put(key, element.as_str().as_bytes().to_vec());
        } else {
            self.tx.delete(key);
        }
    }

    /// Changes what a row counts for.
    pub(super) fn set_status(&mut self, unit: &Unit, row: &Row, status: Status) {
        if row.status == status {
            return;
        }
        if row.status.is_retained() != status.is_retained() {
            self.count(unit, row, status.is_retained());
        }
        if (row.status == Status::Kept) != (status == Status::Kept) {
            self.show(unit, row, status == Status::Kept);
        }
        let masked = (status == Status::Masked).then_some(self.replica.events.end());
        self.tx.put(unit.row(row.version), row.encode(status, masked));
    }

    fn count(&mut self, unit: &Unit, row: &Row, more: bool) {
        if is_floor(unit) {
            self.replica.floors.hear(&unit.collection, row, more);
        }
        let digest = row.digest(unit);
        let summary = self.replica.summary_mut(&unit.collection);
        let prefix = u64::from(unit.part == Part::Prefix);
        if more {
            summary.root = summary.root.with(digest);
            summary.retained += 1;
            summary.prefixes += prefix;
            self.replica.enter(unit, Entry { version: row.version, digest });
            self.tx.put(unit.member(row.version), digest.0.to_vec());
        } else {
            summary.root = summary.root.without(digest);
            summary.retained -= 1;
            summary.prefixes -= prefix;
            self.replica.leave(unit, Entry { version: row.version, digest });
            self.tx.delete(unit.member(row.version));
        }
    }

    /// Writes a loss down and tells of it.
    pub(super) fn lose(&mut self, unit: &Unit, row: &Row, winner: Option<Version>, reason: Reason) {
        conflict::note(unit, row, winner, reason, self.now, self.tx);
        self.note(What::Lost(reason), unit, row.version, winner);
    }

    /// A value lost to a prefix delete, unless the one who deleted had seen it.
    pub(super) fn lose_to_prefix(&mut self, unit: &Unit, row: &Row, shade: Row) {
        let says_something = !matches!(row.body.op, Op::Delete | Op::Remove | Op::DeletePrefix);
        let by_who_wrote_it = shade.body.author == row.body.author;
        let seen = by_who_wrote_it || shade.body.over.contains(&row.version) || self.is_named(unit, row.version);
        if says_something && !seen {
            self.lose(unit, row, Some(shade.version), Reason::Prefix);
        }
    }

    /// A version was seen by who took its place after all, or stands again.
    pub(super) fn forgive(&mut self, unit: &Unit, version: Version) {
        if self.is_lost(unit, version) {
            self.tx.delete(unit.conflict(version));
        }
    }

    /// What is in the conflict log was dealt with.
    pub fn close_conflict(&mut self, collection: &str, path: &str, version: Version) {
        if let Some(found) = conflict::conflict(collection, path, version, self.tx) {
            self.forgive(&found.unit, version);
        }
    }

    /// Tells what happened.
    pub(super) fn note(&mut self, what: What, unit: &Unit, version: Version, other: Option<Version>) {
        self.replica.events.note(self.now, what, (unit, version), other, self.tx);
    }

    /// Lets the oldest history of a unit go. Done for some versions only, the same everywhere, so that it costs little.
    fn trim(&mut self, unit: &Unit, version: Version) {
        let often = limits::CELL_HISTORY / 2;
        if unit.part == Part::Set || is_rules(unit) || !usize::from(version.digest[15]).is_multiple_of(often) {
            return;
        }
        let (mut past, mut gone) = (0, Vec::new());
        self.tx.scan_back(&unit.key(), &unit.key().after_prefix(), &mut |key, value| {
            let retained = Status::of_row(value).is_some_and(Status::is_retained);
            past += usize::from(!retained);
            if !retained && past > limits::CELL_HISTORY {
                gone.extend(Row::read(key, value).map(|(_, row)| row));
            }
            if gone.len() < 4 * often { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for row in gone {
            self.tx.delete(unit.row(row.version));
            self.replica.let_go(&row.body);
        }
    }
}

/// Why `before` lost to what took its place, if that is a loss at all.
pub(super) fn loss(before: &Row, new: &Row) -> Option<Reason> {
    match (&before.body.op, &new.body.op) {
        (Op::Count { plus, minus }, Op::Count { plus: more, minus: less }) => {
            (plus > more || minus > less).then_some(Reason::Shrunk)
        }
        (Op::Set { .. } | Op::Delete, _) => (!new.body.over.contains(&before.version)).then_some(Reason::Concurrent),
        (Op::Count { .. } | Op::Add { .. } | Op::Remove | Op::DeletePrefix, _) => None,
    }
}

/// What stands in a unit that has one thing standing.
pub(super) fn head(unit: &Unit, view: &dyn View) -> Option<Row> {
    let mut head = None;
    view.scan_back(&unit.key(), &unit.key().after_prefix(), &mut |key, value| {
        if Status::of_row(value) != Some(Status::Kept) {
            return ControlFlow::Continue(());
        }
        head = Row::read(key, value).map(|(_, row)| row);
        ControlFlow::Break(())
    });
    head
}

/// The latest prefix delete that stands at or above a unit's path and has a later stamp than `version`: one write may
/// delete what is at a path and put something else there. Those of one path compete with each other, and are under
/// those of the paths above. Rules of access are replaced or deleted themselves; no prefix delete takes them.
pub(super) fn shade(unit: &Unit, version: Version, view: &dyn View) -> Option<Row> {
    if is_lasting(unit) {
        return None;
    }
    let above = ancestors(&unit.path).skip(usize::from(unit.part == Part::Prefix));
    let heads = above.filter_map(|path| head(&Unit::at(&unit.collection, path, Part::Prefix), view));
    heads.filter(|head| head.version.stamp > version.stamp).max_by_key(|head| head.version)
}
