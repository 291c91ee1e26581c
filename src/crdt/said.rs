//! The floors that are said in a collection: all of them, in memory, so that none hides another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use super::floor::{FLOOR, Floor};
use super::row::Row;
use super::unit::{Part, Unit};
use crate::types::storage::View;
use crate::types::{NodeId, Version, limits};

/// What is retained of a collection's register of floors, as far as it says any: by author, lowest first.
#[derive(Debug, Default)]
pub(super) struct Said {
    by_author: BTreeMap<NodeId, BTreeSet<(Floor, Version)>>,
}

impl Said {
    /// By the store.
    pub fn load(collection: &str, view: &dyn View) -> Said {
        let key = Unit::at(collection, FLOOR, Part::Register).key();
        let mut said = Said::default();
        view.scan(&key, &key.after_prefix(), &mut |key, value| {
            let row = Row::read(key, value).map(|(_, row)| row).filter(|row| row.status.is_retained());
            row.iter().for_each(|row| said.enter(row));
            ControlFlow::Continue(())
        });
        said
    }

    /// By rows of the register that may count.
    pub fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Said {
        let mut said = Said::default();
        rows.for_each(|row| said.enter(row));
        said
    }

    /// Whether a write of the register is retained though another stands: it says one of the highest floors of its
    /// author. Whoever says more takes the place of its own floors only.
    pub fn keeps(&self, row: &Row) -> bool {
        let Some(floor) = Floor::said(row) else { return false };
        let higher = (Bound::Excluded((floor, row.version)), Bound::Unbounded);
        let of_author = self.by_author.get(&row.body.author);
        of_author.is_none_or(|all| all.range(higher).count() < limits::FLOORS_OF_AUTHOR)
    }

    /// What an author's writes say beyond that.
    pub fn surplus(&self, author: NodeId) -> Vec<Version> {
        let all = self.by_author.get(&author).into_iter().flatten().map(|(_, version)| *version);
        all.rev().skip(limits::FLOORS_OF_AUTHOR).collect()
    }

    /// A write of the register is retained from now on.
    pub fn enter(&mut self, row: &Row) {
        if let Some(floor) = Floor::said(row) {
            self.by_author.entry(row.body.author).or_default().insert((floor, row.version));
        }
    }

    /// It is not any more.
    pub fn leave(&mut self, row: &Row) {
        let Some(floor) = Floor::said(row) else { return };
        if let Some(of_author) = self.by_author.get_mut(&row.body.author) {
            of_author.remove(&(floor, row.version));
            if of_author.is_empty() {
                self.by_author.remove(&row.body.author);
            }
        }
    }

    /// Whether anyone says a floor.
    pub fn has(&self, floor: &Floor) -> bool {
        let from = (*floor, Version::default());
        self.by_author.values().any(|of_author| of_author.range(from..).next().is_some_and(|(said, _)| said == floor))
    }

    /// The highest.
    pub fn highest(&self) -> Option<Floor> {
        self.by_author.values().filter_map(|of_author| of_author.last()).map(|(floor, _)| *floor).max()
    }

    /// All above one, lowest first.
    pub fn above(&self, floor: Option<Floor>) -> BTreeSet<Floor> {
        let all = self.by_author.values().flatten().map(|(said, _)| *said);
        all.filter(|said| Some(*said) > floor).collect()
    }
}
