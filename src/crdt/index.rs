//! What is retained of a collection, in order of version, so that any range of it is counted and summed in O(log n): what
//! two nodes compare to find what differs (Meyer, "Range-Based Set Reconciliation", 2023).
//!
//! A B+ tree in memory, filled from the rows of [`Table::Member`] at the start. A leaf holds entries, a node above it
//! the count and the sum of each child. An entry takes 56 bytes, with its share of the tree 60 to 120.
//!
//! ```text
//!  Member  collection, 00, version 24, 00, path, 00, part 1, share → what the root counts the write as 32
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::root::Root;
use super::row::Row;
use super::standing::Standing;
use super::unit::{Unit, split};
use crate::types::storage::{Key, Table, View};
use crate::types::{Domain, Hash, Version};

/// Entries of a leaf, and children of a node, at most.
const LEAF: usize = 64;
const FAN: usize = 32;

/// A retained write. Two of one version take an author that says a thing twice; the digest tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// Which.
    pub version: Version,
    /// What the root counts it as.
    pub digest: Hash,
}

/// How many writes, and the sum over what the root counts them as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// The sum.
    pub root: Root,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.count += other.count;
        self.root = self.root.plus(other.root);
    }

    /// The sum with one write more.
    pub(super) fn with(self, entry: &Entry) -> Sum {
        Sum { count: self.count + 1, root: self.root.with(entry.digest) }
    }

    /// The 16 bytes by which two nodes compare a range.
    pub fn fingerprint(&self) -> [u8; 16] {
        let full = Domain::StateRange.hash(&[&self.count.to_be_bytes(), self.root.hash().as_bytes()]);
        *full.as_bytes().first_chunk().unwrap_or(&[0; 16])
    }
}

#[derive(Debug)]
enum Node {
    Leaf(Vec<Entry>),
    Inner(Vec<Child>),
}

#[derive(Debug)]
struct Child {
    first: Entry,
    sum: Sum,
    node: Box<Node>,
}

/// The retained writes of a collection.
#[derive(Debug, Default)]
pub struct Index {
    root: Node,
    sum: Sum,
}

impl Default for Node {
    fn default() -> Node {
        Node::Leaf(Vec::new())
    }
}

/// Versions from one on, up to and without another.
pub type Range = std::ops::Range<Version>;

impl Index {
    /// An index of entries that come in their order.
    pub fn build(entries: impl Iterator<Item = Entry>) -> Index {
        let mut index = Index::default();
        for entry in entries {
            index.insert(entry);
        }
        index
    }

    /// How many there are, and their sum.
    pub fn total(&self) -> Sum {
        self.sum
    }

    /// False if it was there.
    pub fn insert(&mut self, entry: Entry) -> bool {
        let (fresh, split) = self.root.insert(entry);
        if fresh {
            self.sum = self.sum.with(&entry);
        }
        if let Some(right) = split {
            let left = std::mem::take(&mut self.root);
            self.root = Node::Inner([left, right].into_iter().filter_map(Child::of).collect());
        }
        fresh
    }

    /// False if it was not there.
    pub fn remove(&mut self, entry: &Entry) -> bool {
        let held = self.root.remove(entry);
        if held {
            self.sum = Sum { count: self.sum.count - 1, root: self.sum.root.without(entry.digest) };
        }
        // A tree of one child is that child; one without any is empty.
        while let Node::Inner(children) = &mut self.root {
            match (children.len(), children.pop()) {
                (1, Some(only)) => self.root = *only.node,
                (_, Some(last)) => {
                    children.push(last);
                    break;
                }
                (_, None) => self.root = Node::default(),
            }
        }
        held
    }

    /// The count and the sum of a range.
    pub fn sum(&self, range: &Range) -> Sum {
        let mut sum = Sum::default();
        self.root.sum(range, &mut sum);
        sum
    }

    /// How many lie below a version.
    pub fn rank(&self, version: Version) -> u64 {
        self.sum(&(Version::default()..version)).count
    }

    /// The entry with so many before it.
    pub fn nth(&self, mut rank: u64) -> Option<&Entry> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(entries) => return entries.get(rank as usize),
                Node::Inner(children) => {
                    let child = children.iter().find(|child| {
                        let here = rank < child.sum.count;
                        rank -= if here { 0 } else { child.sum.count };
                        here
                    });
                    node = &child?.node;
                }
            }
        }
    }

    /// Calls `visit` for the entries of a range, newest first, until it breaks.
    pub fn newest_first(&self, range: &Range, visit: &mut dyn FnMut(&Entry) -> ControlFlow<()>) {
        let _ = self.root.newest_first(range, visit);
    }

    /// The entries of a range, newest first.
    pub fn entries(&self, range: &Range) -> Vec<Entry> {
        let mut found = Vec::new();
        self.newest_first(range, &mut |entry| {
            found.push(*entry);
            ControlFlow::Continue(())
        });
        found
    }

    /// Whether it is what `sum` says: for judges.
    pub fn is_sound(&self, retained: u64, root: Hash) -> bool {
        let recounted = self.sum(&(Version::default()..Version::MAX));
        recounted == self.sum && (self.sum.count, self.sum.root.hash()) == (retained, root)
    }

    /// What it takes in memory, bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Index>() + self.root.memory_bytes()
    }
}

impl Child {
    fn of(node: Node) -> Option<Child> {
        let mut sum = Sum::default();
        let first = match &node {
            Node::Leaf(entries) => {
                sum = entries.iter().fold(sum, |sum, entry| sum.with(entry));
                *entries.first()?
            }
            Node::Inner(children) => {
                children.iter().for_each(|child| sum.add(child.sum));
                children.first()?.first
            }
        };
        Some(Child { first, sum, node: Box::new(node) })
    }

    /// Whether all of it lies in a range; and whether none does. `next` is where what follows it begins.
    fn lies_in(&self, range: &Range, next: Option<&Child>) -> (bool, bool) {
        let begins = range.start <= self.first.version;
        let ends = next.is_some_and(|next| next.first.version < range.end);
        let before = next.is_some_and(|next| next.first.version < range.start);
        (begins && ends, before || self.first.version >= range.end)
    }
}

impl Node {
    /// Whether it was not there, and what has to go to the right of this node, which was too full.
    fn insert(&mut self, entry: Entry) -> (bool, Option<Node>) {
        match self {
            Node::Leaf(entries) => {
                let Err(at) = entries.binary_search(&entry) else { return (false, None) };
                entries.insert(at, entry);
                // What comes in order fills leaves.
                let cut = if at + 1 == entries.len() { at } else { entries.len() / 2 };
                let split = (entries.len() > LEAF).then(|| entries.split_off(cut));
                entries.shrink_to(LEAF);
                (true, split.map(Node::Leaf))
            }
            Node::Inner(children) => {
                let at = children.partition_point(|child| child.first <= entry).saturating_sub(1);
                let last = at + 1 == children.len();
                let Some(child) = children.get_mut(at) else { return (false, None) };
                let (fresh, split) = child.node.insert(entry);
                if fresh {
                    child.first = child.first.min(entry);
                    child.sum = child.sum.with(&entry);
                }
                if let Some(right) = split.and_then(Child::of) {
                    child.sum.count -= right.sum.count;
                    child.sum.root = child.sum.root.minus(right.sum.root);
                    children.insert(at + 1, right);
                }
                let cut = if last { children.len() - 1 } else { children.len() / 2 };
                let split = (children.len() > FAN).then(|| children.split_off(cut));
                (fresh, split.map(Node::Inner))
            }
        }
    }

    fn remove(&mut self, entry: &Entry) -> bool {
        match self {
            Node::Leaf(entries) => {
                let at = entries.binary_search(entry);
                at.is_ok_and(|at| entries.remove(at) == *entry)
            }
            Node::Inner(children) => {
                let at = children.partition_point(|child| child.first <= *entry).saturating_sub(1);
                let Some(child) = children.get_mut(at) else { return false };
                if !child.node.remove(entry) {
                    return false;
                }
                child.sum.count -= 1;
                child.sum.root = child.sum.root.without(entry.digest);
                if child.sum.count == 0 {
                    children.remove(at);
                } else {
                    merge(children, at);
                    at.checked_sub(1).iter().for_each(|before| merge(children, *before));
                }
                true
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn sum(&self, range: &Range, sum: &mut Sum) {
        match self {
            Node::Leaf(entries) => {
                let within = entries.iter().filter(|entry| range.contains(&entry.version));
                *sum = within.fold(*sum, |sum, entry| sum.with(entry));
            }
            Node::Inner(children) => {
                let nexts = children.iter().skip(1).map(Some).chain([None]);
                for (child, next) in children.iter().zip(nexts) {
                    match child.lies_in(range, next) {
                        (_, true) => {}
                        (true, false) => sum.add(child.sum),
                        (false, false) => child.node.sum(range, sum),
                    }
                }
            }
        }
    }

    fn newest_first(&self, range: &Range, visit: &mut dyn FnMut(&Entry) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Node::Leaf(entries) => {
                entries.iter().rev().filter(|entry| range.contains(&entry.version)).try_for_each(visit)
            }
            Node::Inner(children) => {
                let nexts = children.iter().skip(1).map(Some).chain([None]);
                let pairs: Vec<(&Child, Option<&Child>)> = children.iter().zip(nexts).collect();
                let touched = pairs.into_iter().rev().filter(|(child, next)| !child.lies_in(range, *next).1);
                let mut touched = touched.map(|(child, _)| child);
                touched.try_for_each(|child| child.node.newest_first(range, visit))
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.capacity() * size_of::<Entry>(),
            Node::Inner(children) => {
                let below = children.iter().map(|child| size_of::<Node>() + child.node.memory_bytes());
                children.capacity() * size_of::<Child>() + below.sum::<usize>()
            }
        }
    }
}

/// Puts a child and the next one together if both are at most half of one.
fn merge(children: &mut Vec<Child>, at: usize) {
    let (Some(left), Some(right)) = (children.get(at), children.get(at + 1)) else { return };
    let most = if matches!(*left.node, Node::Leaf(_)) { LEAF } else { FAN };
    if left.node.len() + right.node.len() > most / 2 {
        return;
    }
    let right = children.remove(at + 1);
    let Some(left) = children.get_mut(at) else { return };
    left.sum.add(right.sum);
    match (left.node.as_mut(), *right.node) {
        (Node::Leaf(entries), Node::Leaf(more)) => entries.extend(more),
        (Node::Inner(children), Node::Inner(more)) => children.extend(more),
        (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => debug_assert!(false, "one height"),
    }
}

/// The indexes of all collections, as the store has them, and what stands where.
pub(super) fn load(view: &dyn View) -> (BTreeMap<String, Index>, Standing) {
    let start = Key::new(Table::Member, &[]);
    // Rows come in order: one collection after the other, each from its oldest.
    let (mut all, mut current) = (BTreeMap::new(), None::<(String, Index)>);
    let mut units = Vec::new();
    view.scan(&start, &start.after_prefix(), &mut |key, value| {
        let Some((name, entry)) = read(key, value, view) else { return ControlFlow::Continue(()) };
        if current.as_ref().is_none_or(|(of, _)| of != name) {
            all.extend(current.replace((name.to_string(), Index::default())));
        }
        if let Some((_, index)) = &mut current {
            index.insert(entry);
        }
        units.extend(Unit::read_member(key).and_then(|(unit, version)| Standing::unit(&unit, version)));
        ControlFlow::Continue(())
    });
    all.extend(current);
    (all, Standing::of_all(&units))
}

/// Reads a row: the collection, and the write.
fn read<'a>(key: &'a [u8], value: &[u8], view: &dyn View) -> Option<(&'a str, Entry)> {
    let (name, rest) = split(key.get(1..)?)?;
    let version = Version::from_bytes(rest.get(..Version::BYTES)?)?;
    // The unit is not needed where the row says what the write counts as.
    let digest = match value.try_into() {
        Ok(digest) => Hash(digest),
        Err(_) => digest(&Unit::read_member(key)?.0, version, value, view)?,
    };
    Some((name, Entry { version, digest }))
}

/// What the root counts a retained write as: its row says so, or did not in stores of long ago.
fn digest(unit: &Unit, version: Version, value: &[u8], view: &dyn View) -> Option<Hash> {
    match value.try_into() {
        Ok(digest) => Some(Hash(digest)),
        Err(_) => Some(Row::decode(version, &view.get(&unit.row(version))?)?.digest(unit)),
    }
}

/// Retained writes of a collection after a version, oldest first: so many, and those of the last one's version.
pub fn retained(collection: &str, after: Option<Version>, most: usize, view: &dyn View) -> Vec<Entry> {
    let all = Key::new(Table::Member, &[collection.as_bytes(), &[0]]);
    let passed = after.map(|after| Key::new(Table::Member, &[collection.as_bytes(), &[0], &after.to_bytes(), &[1]]));
    let mut found: Vec<Entry> = Vec::new();
    view.scan(passed.as_ref().unwrap_or(&all), &all.after_prefix(), &mut |key, value| {
        let entry = read(key, value, view).map(|(_, entry)| entry);
        let same = found.last().zip(entry).is_some_and(|(last, entry)| last.version == entry.version);
        if found.len() >= most && !same {
            return ControlFlow::Break(());
        }
        found.extend(entry);
        ControlFlow::Continue(())
    });
    found
}

/// Where a retained write of a version is.
pub(super) fn find(collection: &str, entry: &Entry, view: &dyn View) -> Option<Unit> {
    let from = Key::new(Table::Member, &[collection.as_bytes(), &[0], &entry.version.to_bytes()]);
    let mut found = None;
    view.scan(&from, &from.after_prefix(), &mut |key, value| {
        let member = Unit::read_member(key).filter(|(_, version)| *version == entry.version);
        let unit = member.map(|(unit, _)| unit);
        found = unit.filter(|unit| digest(unit, entry.version, value, view) == Some(entry.digest));
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}
