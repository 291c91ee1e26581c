//! The conflict log: writes that lost to one that had not seen them, with what they said.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::row::{Body, Row};
use super::unit::{Unit, at_path, below};
use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Version, WallMs};

/// Why a write does not stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A later one was written without having seen it.
    Concurrent,
    /// A prefix was deleted, without having seen it.
    Prefix,
    /// Its author may not write there.
    Access,
    /// Its author said two things in one place of its feed.
    Fork,
    /// Its author said later that it had counted less.
    Shrunk,
    /// It is below the floor of its collection, and not one of the writes that count there.
    Floor,
}

/// A write that lost.
#[derive(Clone, PartialEq, Debug)]
pub struct Conflict {
    /// Which.
    pub version: Version,
    /// What stands in its place, if something does.
    pub winner: Option<Version>,
    /// Why it does not stand.
    pub reason: Reason,
    /// When that was found, by this node's clock.
    pub at: WallMs,
    pub(super) unit: Unit,
    pub(super) body: Body,
}

impl Conflict {
    /// Where a page that ends with it goes on.
    pub fn cursor(&self) -> Vec<u8> {
        [self.unit.bytes().as_slice(), &self.version.to_bytes()].concat()
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.unit.path
    }

    /// What it said, and who said it.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    winner: Option<Version>,
    reason: Reason,
    at: WallMs,
    body: Body,
}

/// Writes down that `row` lost.
pub(super) fn note(unit: &Unit, row: &Row, winner: Option<Version>, reason: Reason, at: WallMs, tx: &mut Txn<'_>) {
    tx.put(unit.conflict(row.version), encode(&Kept { winner, reason, at, body: row.body.clone() }));
}

fn read(key: &[u8], value: &[u8]) -> Option<Conflict> {
    let (unit, version) = Unit::read(key)?;
    let Kept { winner, reason, at, body } = decode(value)?;
    Some(Conflict { version, winner, reason, at, unit, body })
}

/// Conflicts at a path and below it (the whole collection for the empty path) after the one whose cursor is `after`.
pub fn conflicts(collection: &str, path: &str, after: Option<&[u8]>, most: usize, view: &dyn View) -> Vec<Conflict> {
    let mut found = Vec::new();
    let start = after.map(|after| Key::new(Table::Conflict, &[after, &[0]]));
    let own = (!path.is_empty()).then(|| at_path(Table::Conflict, collection, path));
    for (from, to) in own.into_iter().chain([below(Table::Conflict, collection, path)]) {
        let from = start.clone().map_or(from.clone(), |start| start.max(from));
        view.scan(&from, &to, &mut |key, value| {
            if found.len() >= most {
                return ControlFlow::Break(());
            }
            found.extend(read(key, value));
            ControlFlow::Continue(())
        });
    }
    found
}

/// The conflict of one version at a path.
pub fn conflict(collection: &str, path: &str, version: Version, view: &dyn View) -> Option<Conflict> {
    let (from, to) = at_path(Table::Conflict, collection, path);
    let mut found = None;
    view.scan(&from, &to, &mut |key, value| {
        found = read(key, value).filter(|conflict| conflict.version == version);
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}
