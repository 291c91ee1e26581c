//! A page of the past: one scan over the rows, path after path.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::past::{Forgotten, ForgottenPath, Shares, Then, cell_of};
use super::read::{Listed, State};
use super::unit::{ancestors, path_of};
use crate::types::Stamp;

impl State<'_> {
    /// What was in the collection then, in pages like those of [`State::list`]. What is forgotten of a path is said beside.
    pub fn list_at(&self, prefix: &str, after: Option<&str>, most: usize, then: Then) -> Result<Listed, Forgotten> {
        self.answers(then)?;
        let mut page = Page {
            state: self,
            then,
            most,
            listed: Listed::default(),
            looked: 0,
            path: None,
            shares: Shares::new(then, self.view),
            above: (String::new(), Ok(Stamp::default())),
            last: None,
        };
        for (from, to) in self.ranges(prefix, after) {
            if from < to {
                self.view.scan(&from, &to, &mut |key, value| page.take(key, value));
                page.end_path();
            }
            if page.listed.next.is_some() {
                break;
            }
        }
        Ok(page.listed)
    }
}

struct Page<'s, 'v> {
    state: &'s State<'v>,
    then: Then,
    most: usize,
    listed: Listed,
    /// Paths that were looked at.
    looked: usize,
    /// The path whose rows come now, and what was known of it then.
    path: Option<String>,
    shares: Shares<'v>,
    /// The latest prefix delete at one path or above it: what lies beside each other has the same one above it.
    above: (String, Result<Stamp, Forgotten>),
    last: Option<String>,
}

impl Page<'_, '_> {
    fn take(&mut self, key: &[u8], value: &Bytes) -> ControlFlow<()> {
        let Some(path) = path_of(key) else { return ControlFlow::Continue(()) };
        if self.path.as_deref() != Some(path) {
            self.end_path();
            // What is deleted is passed over, but not without end.
            if self.listed.is_full(self.most, self.looked) {
                self.listed.next = self.last.take();
                return ControlFlow::Break(());
            }
            self.looked += 1;
            self.path = Some(path.into());
        }
        self.shares.take(key, value);
        ControlFlow::Continue(())
    }

    /// All rows of a path were taken.
    fn end_path(&mut self) {
        let Some(path) = self.path.take() else { return };
        let above = self.deleted_above(&path);
        match cell_of(path.clone(), std::mem::take(&mut self.shares.units), above) {
            Ok(cell) => self.listed.cells.extend(cell),
            Err(why) => self.listed.forgotten.push(ForgottenPath { path: path.clone(), why }),
        }
        self.last = Some(path);
    }

    fn deleted_above(&mut self, path: &str) -> Result<Stamp, Forgotten> {
        let Some((above, _)) = path.rsplit_once('/') else { return Ok(Stamp::default()) };
        if self.above.0 != above {
            self.above = (above.into(), self.state.deleted(ancestors(above), self.then));
        }
        self.above.1
    }
}
