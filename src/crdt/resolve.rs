//! From what a client wishes to what its node writes: with the versions it has seen, and the totals of its counters.

use std::ops::ControlFlow;

use super::access::allows;
use super::collection::stored;
use super::floor::adopted;
use super::merge::{head, shade};
use super::row::{Row, Status};
use super::unit::{Part, Unit, at_path, below, share};
use crate::types::storage::{Key, Table, View};
use crate::types::{Incarnation, NodeId, Stamp, Version, limits};
use crate::wire::kind::Json;
use crate::wire::kind::state::{Change, Op};

/// What is to be done at a path.
#[derive(Clone, PartialEq, Debug)]
pub enum Wished {
    /// The register is to have this value.
    Put(Json),
    /// The register is to have none.
    Delete,
    /// Nothing is to be at the path or below it.
    DeletePrefix,
    /// The set is to have this element.
    Add(Json),
    /// The set is not to have this element.
    Remove(Json),
    /// The set is to have this element and no other that is there now.
    Assign(Json),
    /// The counter is to have so much more, or less.
    Count(i64),
}

/// What must be so for a register to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// Anything.
    #[default]
    None,
    /// This version stands.
    Version(Version),
    /// It has no value.
    Absent,
}

/// A wish of a client.
#[derive(Clone, PartialEq, Debug)]
pub struct Wish {
    /// Where.
    pub path: String,
    /// What.
    pub wished: Wished,
    /// If.
    pub condition: Condition,
}

/// Why a wish is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("{path} is not as expected: {}; read it again and decide", standing(.current))]
    Changed { path: String, current: Option<Version> },
    #[error("{path} in {collection} is not this node's to write; its owner's rules say who may")]
    Denied { collection: String, path: String },
    #[error("more than {} elements stand at {path}; remove some of them one by one first", limits::OVER_VERSIONS)]
    TooMany { path: String },
    #[error("the counter at {path} cannot go further")]
    Overflow { path: String },
    #[error("there is nothing of version {version} in the conflict log at {path}")]
    NoConflict { path: String, version: Version },
    #[error(
        "this node's clock is {seconds} s off the median of its peers; set it right, or its writes would not count"
    )]
    Clock { seconds: i64 },
    #[error("what stands there is stamped {seconds} s ahead of this node's clock; write again when that time has come")]
    Ahead { seconds: u64 },
    #[error("there are {} collections already", limits::COLLECTIONS)]
    TooManyCollections,
}

fn standing(current: &Option<Version>) -> String {
    current.map_or_else(|| "it has no value".into(), |version| format!("version {version} stands"))
}

/// The change that a wish comes to, and the stamp it must be later than; none if there is nothing to do.
pub fn resolve(
    collection: &str,
    wish: &Wish,
    (author, incarnation): (NodeId, Incarnation),
    view: &dyn View,
) -> Result<Option<(Change, Stamp)>, Refused> {
    let seen = Seen { collection, path: &wish.path, view };
    let latest = Version { stamp: Stamp(u64::MAX), digest: [u8::MAX; 16] };
    let (over, op) = match &wish.wished {
        Wished::Put(_) | Wished::Delete => match seen.register(wish)? {
            Some(change) => change,
            None => return Ok(None),
        },
        Wished::DeletePrefix => (seen.below(), Op::DeletePrefix),
        Wished::Add(element) => (seen.elements(Some(element))?, Op::Add { element: element.clone() }),
        Wished::Assign(element) => (seen.elements(None)?, Op::Add { element: element.clone() }),
        Wished::Remove(element) => match seen.elements(Some(element))? {
            over if over.is_empty() => return Ok(None),
            over => (over, Op::Remove),
        },
        Wished::Count(by) => (Vec::new(), seen.count(*by, author, incarnation)?),
    };
    let change = Change { path: wish.path.clone(), over, op };
    let unit = Unit::of(collection, &change, author, incarnation);
    if !allows(&unit, author, latest, view) {
        return Err(Refused::Denied { collection: collection.into(), path: wish.path.clone() });
    }
    // What is written below the floor does not count.
    let floor = adopted(collection, view).map(|floor| floor.version.stamp);
    let after = change.over.iter().map(|version| version.stamp).chain(seen.latest(&unit)).chain(floor).max();
    Ok(Some((change, after.unwrap_or_default())))
}

/// What a node sees at a path when it writes there.
struct Seen<'a> {
    collection: &'a str,
    path: &'a str,
    view: &'a dyn View,
}

impl Seen<'_> {
    fn register(&self, wish: &Wish) -> Result<Option<(Vec<Version>, Op)>, Refused> {
        let unit = Unit::at(self.collection, self.path, Part::Register);
        let head = head(&unit, self.view).filter(|head| !self.is_shaded(&unit, head.version));
        let value = head.as_ref().filter(|head| head.body.op != Op::Delete).map(|head| head.version);
        let holds = match wish.condition {
            Condition::None => true,
            Condition::Version(version) => value == Some(version),
            Condition::Absent => value.is_none(),
        };
        if !holds {
            return Err(Refused::Changed { path: self.path.into(), current: value });
        }
        let over = head.map(|head| head.version).into_iter().collect();
        Ok(match &wish.wished {
            Wished::Put(value) => Some((over, Op::Set { value: value.clone() })),
            _ if value.is_none() => None,
            _ => Some((over, Op::Delete)),
        })
    }

    /// Versions of the elements that stand: of one element, or of all.
    fn elements(&self, element: Option<&Json>) -> Result<Vec<Version>, Refused> {
        let from = match element {
            Some(element) => Unit::elements(self.collection, self.path, element),
            None => Unit::at(self.collection, self.path, Part::Element).key(),
        };
        let mut over = Vec::new();
        self.view.scan(&from, &from.after_prefix(), &mut |key, value| {
            let same = element.is_none_or(|element| element.as_str().as_bytes() == value.as_ref());
            over.extend(Unit::read(key).filter(|_| same).map(|(_, version)| version));
            if over.len() <= limits::OVER_VERSIONS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if over.len() > limits::OVER_VERSIONS {
            return Err(Refused::TooMany { path: self.path.into() });
        }
        Ok(over)
    }

    /// The first versions that stand at and below the path.
    fn below(&self) -> Vec<Version> {
        let mut over = Vec::new();
        let ranges =
            [at_path(Table::State, self.collection, self.path), below(Table::State, self.collection, self.path)];
        for (from, to) in ranges {
            self.view.scan(&from, &to, &mut |key, value| {
                let row = Row::read(key, value).filter(|(_, row)| row.status == Status::Kept);
                over.extend(row.map(|(_, row)| row.version));
                if over.len() < limits::OVER_VERSIONS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        over.truncate(limits::OVER_VERSIONS);
        over.sort_unstable();
        over.dedup();
        over
    }

    fn count(&self, by: i64, author: NodeId, incarnation: Incarnation) -> Result<Op, Refused> {
        let unit = Unit { share: share(author, incarnation), ..Unit::at(self.collection, self.path, Part::Counter) };
        let head = head(&unit, self.view).filter(|head| !self.is_shaded(&unit, head.version));
        let (plus, minus) = match head.map(|head| head.body.op) {
            Some(Op::Count { plus, minus }) => (plus, minus),
            _ => (0, 0),
        };
        let more = by.unsigned_abs();
        let totals = if by < 0 { (Some(plus), minus.checked_add(more)) } else { (plus.checked_add(more), Some(minus)) };
        let (Some(plus), Some(minus)) = totals else { return Err(Refused::Overflow { path: self.path.into() }) };
        Ok(Op::Count { plus, minus })
    }

    fn is_shaded(&self, unit: &Unit, version: Version) -> bool {
        let any = stored(self.collection, self.view).is_none_or(|summary| summary.prefixes > 0);
        any && shade(unit, version, self.view).is_some()
    }

    /// The latest stamps that a write must be later than to stand.
    fn latest(&self, unit: &Unit) -> impl Iterator<Item = Stamp> {
        let prefix = shade(&Unit { part: Part::Register, ..unit.clone() }, Version::default(), self.view);
        let last = self.view.last(&unit.key(), &unit.key().after_prefix()).and_then(|(key, value)| {
            // What does not count does not have to be outdone.
            Row::read(&key, &value).filter(|(_, row)| row.status.is_eligible()).map(|(_, row)| row.version)
        });
        let last = last.filter(|_| unit.part != Part::Set);
        prefix.map(|prefix| prefix.version).into_iter().chain(last).map(|version| version.stamp)
    }
}

/// A key that begins a scan after a path and everything at it.
pub(super) fn after_path(collection: &str, path: &str) -> Key {
    at_path(Table::State, collection, path).1
}
