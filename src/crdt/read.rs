//! Reading state from the rows: what is at a path, what was, and whether the counts are right.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use schemars::JsonSchema;
use serde::Serialize;

use super::collection::stored;
use super::merge::{head, shade};
use super::past::ForgottenPath;
use super::resolve::after_path;
use super::root::Root;
use super::row::{Row, Status};
use super::unit::{Part, Unit, at_path, below, path_of};
use super::window::Window;
use crate::types::storage::{Key, Table, View};
use crate::types::{Hash, Incarnation, MessageId, NodeId, Version};
use crate::wire::kind::Json;
use crate::wire::kind::state::Op;

/// A register.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Register {
    /// Its value; none if it was deleted.
    pub value: Option<Json>,
    /// The write that stands.
    pub version: Version,
    /// Who wrote it.
    pub author: NodeId,
    /// In which message.
    pub message: MessageId,
    /// When, milliseconds since 1970, by its author's clock.
    pub written_ms: u64,
    /// Which client of the author, if it said.
    pub client: Option<String>,
}

/// An element of a set.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Element {
    /// The element.
    pub element: Json,
    /// The writes that added it.
    pub versions: Vec<Version>,
}

/// A counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Counter {
    /// What was added less what was taken away; where that is too large for 64 bits, the largest or smallest number.
    pub value: i64,
    /// How many lives of authors have counted.
    pub shares: u64,
}

impl Register {
    pub(super) fn of(row: Row) -> Register {
        let value = match row.body.op {
            Op::Set { value } => Some(value),
            Op::Delete | Op::Count { .. } | Op::Add { .. } | Op::Remove | Op::DeletePrefix => None,
        };
        Register {
            value,
            version: row.version,
            author: row.body.author,
            message: row.body.message,
            written_ms: row.version.stamp.ms(),
            client: row.body.client,
        }
    }
}

impl Element {
    pub(super) fn of(text: &[u8], versions: Vec<Version>) -> Option<Element> {
        let value: serde_json::Value = serde_json::from_slice(text).ok()?;
        Some(Element { element: Json::from(&value), versions })
    }
}

impl Counter {
    pub(super) fn of(sum: i128, shares: u64) -> Counter {
        Counter { value: sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64, shares }
    }
}

/// What is at a path.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Cell {
    /// The path.
    pub path: String,
    /// The register, if it was ever written.
    pub register: Option<Register>,
    /// The elements of the set, in the order of their text.
    pub elements: Vec<Element>,
    /// The counter, if anyone has counted.
    pub counter: Option<Counter>,
}

impl Cell {
    /// Whether there is nothing: no value, no element, no counter.
    pub fn is_empty(&self) -> bool {
        let valueless = self.register.as_ref().is_none_or(|register| register.value.is_none());
        valueless && self.elements.is_empty() && self.counter.is_none()
    }
}

/// A page of paths.
#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema)]
pub struct Listed {
    /// What is at each path at which something is, in order.
    pub cells: Vec<Cell>,
    /// Of the past: paths of which it is not remembered any more what was there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<ForgottenPath>,
    /// Go on after this path; none at the end.
    pub next: Option<String>,
}

impl Listed {
    /// Whether there are as many as were asked for, or too many paths were looked at.
    pub(super) fn is_full(&self, most: usize, looked: usize) -> bool {
        self.cells.len() + self.forgotten.len() == most || looked == 64 * most
    }
}

/// A write to a path, standing or not.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Past {
    /// Which.
    pub version: Version,
    /// What it counts for.
    pub status: Status,
    /// What it did.
    pub op: Op,
    /// What it took the place of.
    pub over: Vec<Version>,
    /// The number of the event that came next at this node when it came; none where that is not remembered.
    pub arrived: Option<u64>,
    /// Who wrote it.
    pub author: NodeId,
    /// In which life.
    pub incarnation: Incarnation,
    /// In which message.
    pub message: MessageId,
    /// When, milliseconds since 1970, by its author's clock.
    pub written_ms: u64,
    /// Which client of the author, if it said.
    pub client: Option<String>,
}

impl Past {
    pub(super) fn of(row: Row) -> Past {
        Past {
            version: row.version,
            status: row.status,
            arrived: row.arrived,
            op: row.body.op,
            over: row.body.over,
            author: row.body.author,
            incarnation: row.body.incarnation,
            message: row.body.message,
            written_ms: row.version.stamp.ms(),
            client: row.body.client,
        }
    }
}

/// Reads one collection.
pub struct State<'a> {
    pub(super) collection: &'a str,
    pub(super) view: &'a dyn View,
    pub(super) has_prefixes: bool,
}

impl<'a> State<'a> {
    /// The collection as `view` has it.
    pub fn of(collection: &'a str, view: &'a dyn View) -> State<'a> {
        let has_prefixes = stored(collection, view).is_some_and(|summary| summary.prefixes > 0);
        State { collection, view, has_prefixes }
    }

    /// What is at a path; none if nothing was ever written there, or is known of it.
    pub fn cell(&self, path: &str) -> Option<Cell> {
        let (mut shares, mut counted) = (0, 0i128);
        let unit = Unit::at(self.collection, path, Part::Counter);
        self.view.scan(&unit.key(), &unit.key().after_prefix(), &mut |key, value| {
            if Status::of_row(value) == Some(Status::Kept)
                && let Some((unit, row)) = Row::read(key, value)
                && let Op::Count { plus, minus } = row.body.op
                && !self.is_shaded(&unit, row.version)
            {
                shares += 1;
                counted += i128::from(plus) - i128::from(minus);
            }
            ControlFlow::Continue(())
        });
        let cell = Cell {
            path: path.into(),
            register: self.register(path),
            elements: self.elements(path),
            counter: (shares > 0).then(|| Counter::of(counted, shares)),
        };
        (cell.register.is_some() || !cell.is_empty()).then_some(cell)
    }

    fn register(&self, path: &str) -> Option<Register> {
        let unit = Unit::at(self.collection, path, Part::Register);
        let row = head(&unit, self.view).filter(|row| !self.is_shaded(&unit, row.version))?;
        Some(Register::of(row))
    }

    fn elements(&self, path: &str) -> Vec<Element> {
        let unit = Unit::at(self.collection, path, Part::Element);
        let set = Unit::at(self.collection, path, Part::Set);
        let mut found: BTreeMap<Vec<u8>, Vec<Version>> = BTreeMap::new();
        self.view.scan(&unit.key(), &unit.key().after_prefix(), &mut |key, value| {
            if let Some((_, version)) = Unit::read(key).filter(|(_, version)| !self.is_shaded(&set, *version)) {
                found.entry(value.to_vec()).or_default().push(version);
            }
            ControlFlow::Continue(())
        });
        // In order, whatever the digests of the elements say.
        found.into_iter().filter_map(|(text, versions)| Element::of(&text, versions)).collect()
    }

    fn is_shaded(&self, unit: &Unit, version: Version) -> bool {
        self.has_prefixes && shade(unit, version, self.view).is_some()
    }

    /// Paths at `prefix` and below it (all for the empty one) with something there, after `after`, at most `most`.
    pub fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Listed {
        let mut page = Listed::default();
        let (mut last, mut looked) = (None, 0);
        let mut window = Window::new(self.view);
        for (mut from, to) in self.ranges(prefix, after) {
            while let Some(path) = window.first(&from, &to).and_then(path_of).map(str::to_string) {
                // What is deleted is passed over, but not without end.
                if page.is_full(most, looked) {
                    return Listed { next: last, ..page };
                }
                looked += 1;
                let state = State { view: &window, ..*self };
                page.cells.extend(state.cell(&path).filter(|cell| !cell.is_empty()));
                from = after_path(self.collection, &path);
                last = Some(path);
            }
        }
        page
    }

    /// The rows at `prefix` and those below it (all for the empty one), from behind the path `after` on.
    pub(super) fn ranges(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = (Key, Key)> {
        let own = (!prefix.is_empty()).then(|| at_path(Table::State, self.collection, prefix));
        let behind = after.map(|after| after_path(self.collection, after));
        own.into_iter().chain([below(Table::State, self.collection, prefix)]).map(move |(from, to)| {
            let from = behind.clone().map_or(from.clone(), |behind| behind.max(from));
            (from, to)
        })
    }

    fn next_path(&self, from: &Key, to: &Key) -> Option<String> {
        let mut path = None;
        self.view.scan(from, to, &mut |key, _| {
            path = Unit::read(key).map(|(unit, _)| unit.path);
            ControlFlow::Break(())
        });
        path
    }

    /// The first path at or below `prefix`, after `after`, where anything was ever written.
    pub fn path_after(&self, prefix: &str, after: Option<&str>) -> Option<String> {
        let own = at_path(Table::State, self.collection, prefix);
        [own, below(Table::State, self.collection, prefix)].into_iter().find_map(|(from, to)| {
            let from = after.map_or(from.clone(), |after| after_path(self.collection, after).max(from));
            self.next_path(&from, &to)
        })
    }

    /// The writes to a path that are known, newest first, before `before`, at most `most` of them.
    pub fn history(&self, path: &str, before: Option<Version>, most: usize) -> Vec<Past> {
        let mut rows = Vec::new();
        for part in [Part::Prefix, Part::Register, Part::Counter, Part::Set] {
            let unit = Unit::at(self.collection, path, part);
            let mut of_part = 0;
            self.view.scan_back(&unit.key(), &unit.key().after_prefix(), &mut |key, value| {
                let row = Row::read(key, value).filter(|(_, row)| before.is_none_or(|before| row.version < before));
                of_part += usize::from(row.is_some());
                rows.extend(row.map(|(_, row)| row));
                // A counter has its shares one after the other: only all of them are in order.
                if of_part < most || part == Part::Counter { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.version));
        rows.into_iter().take(most).map(Past::of).collect()
    }

    /// One write to a path.
    pub fn version(&self, path: &str, version: Version) -> Option<Past> {
        self.history(path, None, usize::MAX).into_iter().find(|past| past.version == version)
    }
}

/// A part of a recount of a collection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recount {
    /// Writes found to be retained.
    pub retained: u64,
    /// The sum over them.
    pub root: Root,
    /// Go on after this key; none at the end.
    pub next: Option<Vec<u8>>,
}

impl Recount {
    /// Counts on, up to so many rows.
    pub fn go_on(&mut self, collection: &str, most: usize, view: &dyn View) {
        let (from, to) = below(Table::State, collection, "");
        let from = self.next.take().map_or(from, |after| Key::new(Table::State, &[&after, &[0]]));
        let mut looked = 0;
        view.scan(&from, &to, &mut |key, value| {
            if let Some((unit, row)) = Row::read(key, value).filter(|(_, row)| row.status.is_retained()) {
                self.retained += 1;
                self.root = self.root.with(row.digest(&unit));
            }
            looked += 1;
            if looked == most {
                self.next = key.get(1..).map(<[u8]>::to_vec);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
    }

    /// The sum as it is shown.
    pub fn hash(&self) -> Hash {
        self.root.hash()
    }
}
