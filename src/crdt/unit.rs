//! Where a write belongs: what it competes with, and the keys under which it is kept.
//!
//! ```text
//!  State    collection, 00, path, 00, part 1, share, version 24  → status 1 │ the write
//!  Conflict the same                                              → why, and the write
//! ```

use crate::types::storage::{Key, Table};
use crate::types::{Domain, Incarnation, NodeId, Version};
use crate::wire::kind::Json;
use crate::wire::kind::state::{Change, Op};

/// The parts of what is at a path. Values are for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Part {
    /// Deletes of everything older at and below the path.
    Prefix = 1,
    /// The register.
    Register = 2,
    /// The counter, a share for each life of each author.
    Counter = 3,
    /// Elements of the set, and their removals.
    Set = 4,
    /// Which versions of the set are named by which later ones: a version, then the one that names it.
    Named = 5,
    /// The elements of the set that stand: a digest of the element 16, then the version. The value is the element.
    Element = 6,
}

impl Part {
    const ALL: [Part; 6] = [Part::Prefix, Part::Register, Part::Counter, Part::Set, Part::Named, Part::Element];

    /// Whether rows of the part are writes; the others follow from them.
    pub fn has_writes(self) -> bool {
        match self {
            Part::Prefix | Part::Register | Part::Counter | Part::Set => true,
            Part::Named | Part::Element => false,
        }
    }

    fn of(op: &Op) -> Part {
        match op {
            Op::Set { .. } | Op::Delete => Part::Register,
            Op::Count { .. } => Part::Counter,
            Op::Add { .. } | Op::Remove => Part::Set,
            Op::DeletePrefix => Part::Prefix,
        }
    }
}

/// What competes for one place: of the writes of a register, of one share of a counter, or of the prefix deletes of a
/// path, the latest stands. The elements of a set are one unit and do not compete.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unit {
    pub collection: String,
    pub path: String,
    pub part: Part,
    /// Whose share of a counter: author 32, incarnation 8. Empty for all else.
    pub share: Vec<u8>,
}

impl Unit {
    /// Where a change of this author belongs.
    pub fn of(collection: &str, change: &Change, author: NodeId, incarnation: Incarnation) -> Unit {
        let part = Part::of(&change.op);
        let share = if part == Part::Counter { share(author, incarnation) } else { Vec::new() };
        Unit { collection: collection.into(), path: change.path.clone(), part, share }
    }

    /// A part of a path that has no shares.
    pub fn at(collection: &str, path: &str, part: Part) -> Unit {
        Unit { collection: collection.into(), path: path.into(), part, share: Vec::new() }
    }

    /// What every row of the unit begins with, without the table's byte.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = path_bytes(&self.collection, &self.path);
        bytes.push(self.part as u8);
        bytes.extend_from_slice(&self.share);
        bytes
    }

    /// The key before all rows of the unit.
    pub fn key(&self) -> Key {
        Key::new(Table::State, &[&self.bytes()])
    }

    /// The key of one row.
    pub fn row(&self, version: Version) -> Key {
        let Unit { collection, path, part, share } = self;
        let (path, version) = (path.as_bytes(), version.to_bytes());
        Key::new(Table::State, &[collection.as_bytes(), &[0], path, &[0, *part as u8], share, &version])
    }

    /// The key under which a version of the unit is in the conflict log.
    pub fn conflict(&self, version: Version) -> Key {
        Key::new(Table::Conflict, &[&self.bytes(), &version.to_bytes()])
    }

    /// The key of a retained write by its version.
    pub fn member(&self, version: Version) -> Key {
        let Unit { collection, path, part, share } = self;
        let (path, version) = (path.as_bytes(), version.to_bytes());
        Key::new(Table::Member, &[collection.as_bytes(), &[0], &version, &[0], path, &[0, *part as u8], share])
    }

    /// Reads [`Unit::member`].
    pub fn read_member(key: &[u8]) -> Option<(Unit, Version)> {
        let key = key.get(1..)?;
        let (collection, rest) = split(key)?;
        let (version, rest) = rest.split_at_checked(Version::BYTES)?;
        let key = [collection.as_bytes(), rest, version].concat();
        Unit::parse(&key)
    }

    /// The key that says that one version of the set is named by another.
    pub fn named(&self, version: Version, by: Version) -> Key {
        let named = Unit::at(&self.collection, &self.path, Part::Named);
        Key::new(Table::State, &[&named.bytes(), &version.to_bytes(), &by.to_bytes()])
    }

    /// Where the elements of a set that stand are found by their value.
    pub fn elements(collection: &str, path: &str, element: &Json) -> Key {
        let unit = Unit::at(collection, path, Part::Element);
        Key::new(Table::State, &[&unit.bytes(), &digest(element)])
    }

    /// The key that says that an element stands.
    pub fn element(&self, element: &Json, version: Version) -> Key {
        let unit = Unit::at(&self.collection, &self.path, Part::Element);
        Key::new(Table::State, &[&unit.bytes(), &digest(element), &version.to_bytes()])
    }

    /// Reads the key of a row in a table that is kept by unit.
    pub fn read(key: &[u8]) -> Option<(Unit, Version)> {
        Unit::parse(key.get(1..)?)
    }

    /// Reads what [`Unit::bytes`] and a version's bytes make together.
    pub fn parse(key: &[u8]) -> Option<(Unit, Version)> {
        let (collection, rest) = split(key)?;
        let (path, rest) = split(rest)?;
        let (part, rest) = rest.split_first()?;
        let part = Part::ALL.into_iter().find(|known| *known as u8 == *part)?;
        let (share, version) = rest.split_at_checked(rest.len().checked_sub(Version::BYTES)?)?;
        let unit = Unit { collection: collection.into(), path: path.into(), part, share: share.to_vec() };
        Some((unit, Version::from_bytes(version)?))
    }
}

/// The bytes of an author's share of a counter.
pub fn share(author: NodeId, incarnation: Incarnation) -> Vec<u8> {
    [author.as_bytes().as_slice(), &incarnation.0.to_be_bytes()].concat()
}

/// Sixteen bytes are enough to find an element: what has the same ones is compared.
fn digest(element: &Json) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&Domain::Write.hash(&[element.as_str().as_bytes()]).as_bytes()[..16]);
    digest
}

fn path_bytes(collection: &str, path: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(collection.len() + path.len() + 2 + 1 + 40);
    bytes.extend_from_slice(collection.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    bytes
}

pub(super) fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}

/// Everything at a path, in a table that is kept by path.
pub fn at_path(table: Table, collection: &str, path: &str) -> (Key, Key) {
    let from = Key::new(table, &[&path_bytes(collection, path)]);
    let to = from.after_prefix();
    (from, to)
}

/// The writes at a path, without what follows from them.
pub fn writes_at(collection: &str, path: &str) -> (Key, Key) {
    (part_key(collection, path, Part::Prefix), part_key(collection, path, Part::Named))
}

/// The key before all rows of a part of a path that has no shares.
pub fn part_key(collection: &str, path: &str, part: Part) -> Key {
    Key::new(Table::State, &[collection.as_bytes(), &[0], path.as_bytes(), &[0, part as u8]])
}

/// The part that the key of a row has, in a table that is kept by path.
pub fn part_of(key: &[u8]) -> Option<Part> {
    let (_, rest) = split(key.get(1..)?)?;
    let (_, rest) = split(rest)?;
    Part::ALL.into_iter().find(|known| Some(&(*known as u8)) == rest.first())
}

/// The path that the key of a row has, in a table that is kept by path.
pub fn path_of(key: &[u8]) -> Option<&str> {
    let (_, rest) = split(key.get(1..)?)?;
    split(rest).map(|(path, _)| path)
}

/// Everything below a path, the path itself not included; all of a collection for the empty path.
pub fn below(table: Table, collection: &str, path: &str) -> (Key, Key) {
    let slash: &[u8] = if path.is_empty() { &[] } else { b"/" };
    let from = Key::new(table, &[collection.as_bytes(), &[0], path.as_bytes(), slash]);
    let to = from.after_prefix();
    (from, to)
}

/// The path and every path above it, longest first.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let path = rest?;
        rest = path.rsplit_once('/').map(|(above, _)| above);
        Some(path)
    })
}

/// Whether `path` is `above` or below it.
pub fn covers(above: &str, path: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
