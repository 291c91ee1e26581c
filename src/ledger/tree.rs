//! The tree over the state: one hash for all rows, and a short proof for each.
//!
//! A sparse Merkle tree over 256-bit digests of keys (Dahlberg, Pulls, Peeters, "Efficient Sparse Merkle Trees", 2016),
//! in which a subtree with one leaf is that leaf (as in Jellyfish Merkle Trees, Gao, Hu, Wu, 2021):
//!
//! ```text
//!   empty          32 zeros
//!   leaf(k, v)     plain(00 ‖ k ‖ v)      k: digest of the key, v: of the value
//!   node(l, r)     plain(01 ‖ l ‖ r)      of a subtree with two leaves or more; the next bit of k chooses
//! ```
//!
//! Four levels are one **page**, the unit that is written. A page is never changed: a height writes new pages beside
//! the old, and says which are stale, so every height that is kept has its tree.

use std::collections::BTreeMap;

use super::fault::Fault;
use crate::types::Hash;
use crate::types::chain::Height;
use crate::types::storage::{Key, Table, View};
use crate::wire::ledger::{PAGE_SLOTS as SLOTS, StatePath, nibble};
/// Pages from the root to the deepest leaf.
const DEPTH: usize = 64;

/// What is at one place of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// The only leaf below.
    Leaf { key: Hash, value: Hash },
    /// A page with two leaves or more.
    Page { hash: Hash, height: Height },
}

/// The slots of a page.
pub type Page = [Slot; SLOTS];
/// The nibbles from the root to a page.
type Place = Vec<u8>;
/// What a height does to one key: the digest of the new value, or none to remove it.
type Change = (Hash, Option<Hash>);

/// What a height does to the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeUpdate {
    /// The place of the root.
    pub root: Slot,
    /// Rows to write.
    pub written: Vec<(Key, Vec<u8>)>,
    /// Rows that this height's tree does not need any more.
    pub stale: Vec<Key>,
}

impl Slot {
    /// Its hash in the tree.
    pub fn hash(&self) -> Hash {
        match self {
            Slot::Empty => Hash::ZERO,
            Slot::Leaf { key, value } => leaf(key, value),
            Slot::Page { hash, .. } => *hash,
        }
    }

    /// The bytes it is kept as: its sort, then leaf 64 or page 40.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Slot::Empty => vec![0],
            Slot::Leaf { key, value } => [&[1], &key.0[..], &value.0].concat(),
            Slot::Page { hash, height } => [&[2], &hash.0[..], &height.0.to_le_bytes()].concat(),
        }
    }

    /// Reads [`Slot::to_bytes`] from the front.
    fn read(rest: &mut &[u8]) -> Option<Slot> {
        match take::<1>(rest)? {
            [0] => Some(Slot::Empty),
            [1] => Some(Slot::Leaf { key: Hash(*take(rest)?), value: Hash(*take(rest)?) }),
            [2] => Some(Slot::Page { hash: Hash(*take(rest)?), height: Height(u64::from_le_bytes(*take(rest)?)) }),
            _ => None,
        }
    }

    /// Reads [`Slot::to_bytes`], all of it.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Slot> {
        Slot::read(&mut bytes).filter(|_| bytes.is_empty())
    }
}

/// The tree after `changes`, which a height makes to the tree at `root`.
pub fn update(
    root: Slot,
    changes: &BTreeMap<Hash, Option<Hash>>,
    height: Height,
    view: &dyn View,
) -> Result<TreeUpdate, Fault> {
    let changes: Vec<Change> = changes.iter().map(|(key, value)| (*key, *value)).collect();
    let mut growth = Growth { view, height, update: TreeUpdate::default(), place: Place::new() };
    let root = growth.slot(root, &changes)?;
    Ok(TreeUpdate { root, ..growth.update })
}

/// A branch that has nothing but these rows, in order of their places; `nibbles` lead to it.
pub fn grown(nibbles: Vec<u8>, rows: &[(Hash, Hash)], height: Height, view: &dyn View) -> Result<TreeUpdate, Fault> {
    let changes: Vec<Change> = rows.iter().map(|(key, value)| (*key, Some(*value))).collect();
    let mut growth = Growth { view, height, update: TreeUpdate::default(), place: nibbles };
    let root = growth.build(&changes)?;
    Ok(TreeUpdate { root, ..growth.update })
}

/// The hash over a page.
pub fn page_hash(page: &Page) -> Hash {
    fold(page).hash()
}

/// The way to a key in the tree at `root`.
pub fn path(root: Slot, key: &Hash, view: &dyn View) -> Result<StatePath, Fault> {
    let (mut slot, mut path, mut place) = (root, StatePath::default(), Place::new());
    while let Slot::Page { height, .. } = slot {
        let page = load(&place, height, view)?;
        let nibble = nibble(key, place.len());
        slot = descend(&page, nibble, &mut path.siblings);
        place.push(nibble);
    }
    path.leaf = match slot {
        Slot::Leaf { key, value } => Some((key, value)),
        Slot::Empty | Slot::Page { .. } => None,
    };
    Ok(path)
}

/// Whether `path` leads from the row (the digests of its key and its value, or none) to `root`.
pub fn leads(path: &StatePath, key: &Hash, value: Option<&Hash>, root: &Hash) -> bool {
    let found = path.leaf.filter(|(at, _)| at == key).map(|(_, value)| value);
    // Another leaf shows absence only where the key itself would have to be.
    let on_the_way =
        path.leaf.is_none_or(|(at, _)| (0..path.siblings.len()).all(|bit| bit_of(&at, bit) == bit_of(key, bit)));
    if found.as_ref() != value || !on_the_way || path.siblings.len() > 4 * DEPTH {
        return false;
    }
    let end = path.leaf.map_or(Hash::ZERO, |(key, value)| leaf(&key, &value));
    let climbed =
        path.siblings.iter().enumerate().rev().fold(end, |here, (bit, sibling)| {
            if bit_of(key, bit) { node(sibling, &here) } else { node(&here, sibling) }
        });
    climbed == *root
}

/// One height's work on the tree.
struct Growth<'a> {
    view: &'a dyn View,
    height: Height,
    update: TreeUpdate,
    place: Place,
}

impl Growth<'_> {
    fn slot(&mut self, slot: Slot, changes: &[Change]) -> Result<Slot, Fault> {
        if changes.is_empty() {
            return Ok(slot);
        }
        match slot {
            Slot::Empty => self.build(changes),
            Slot::Leaf { key, value } => match changes.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(_) => self.build(changes),
                Err(at) => {
                    let mut with = changes.to_vec();
                    with.insert(at, (key, Some(value)));
                    self.build(&with)
                }
            },
            Slot::Page { height, .. } => {
                let page = load(&self.place, height, self.view)?;
                self.update.stale.push(row(&self.place, height));
                self.page(page, changes)
            }
        }
    }

    /// A subtree of nothing but these; removals of what is not there mean nothing.
    fn build(&mut self, changes: &[Change]) -> Result<Slot, Fault> {
        let mut left = changes.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
        match (left.next(), left.next()) {
            (None, _) => Ok(Slot::Empty),
            (Some((key, value)), None) => Ok(Slot::Leaf { key, value }),
            (Some(_), Some(_)) => self.page([Slot::Empty; SLOTS], changes),
        }
    }

    fn page(&mut self, mut page: Page, changes: &[Change]) -> Result<Slot, Fault> {
        let depth = self.place.len();
        if depth >= DEPTH {
            return Err(Fault::Corrupt("two keys of the state have one digest"));
        }
        for group in changes.chunk_by(|a, b| nibble(&a.0, depth) == nibble(&b.0, depth)) {
            let Some((key, _)) = group.first() else { continue };
            let at = nibble(key, depth);
            let Some(slot) = page.get_mut(usize::from(at)) else { continue };
            self.place.push(at);
            let changed = self.slot(*slot, group);
            self.place.pop();
            *slot = changed?;
        }
        Ok(self.settle(page))
    }

    /// A page with fewer than two leaves is none.
    fn settle(&mut self, page: Page) -> Slot {
        let mut filled = page.iter().filter(|slot| **slot != Slot::Empty);
        match (filled.next(), filled.next()) {
            (None, _) => Slot::Empty,
            (Some(only @ Slot::Leaf { .. }), None) => *only,
            (Some(_), _) => {
                let hash = fold(&page).hash();
                self.update.written.push((row(&self.place, self.height), encode(&page)));
                Slot::Page { hash, height: self.height }
            }
        }
    }
}

/// The hash over some slots, or the one leaf among them.
enum Folded {
    Empty,
    Leaf(Hash),
    Node(Hash),
}

impl Folded {
    fn hash(&self) -> Hash {
        match self {
            Folded::Empty => Hash::ZERO,
            Folded::Leaf(hash) | Folded::Node(hash) => *hash,
        }
    }
}

fn fold(slots: &[Slot]) -> Folded {
    match slots {
        [] | [Slot::Empty] => Folded::Empty,
        [leaf @ Slot::Leaf { .. }] => Folded::Leaf(leaf.hash()),
        [Slot::Page { hash, .. }] => Folded::Node(*hash),
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            match (fold(left), fold(right)) {
                (Folded::Empty, Folded::Empty) => Folded::Empty,
                (Folded::Leaf(hash), Folded::Empty) | (Folded::Empty, Folded::Leaf(hash)) => Folded::Leaf(hash),
                (left, right) => Folded::Node(node(&left.hash(), &right.hash())),
            }
        }
    }
}

/// Goes down through a page by the bits of a nibble, noting siblings, until one slot is left or one leaf or nothing.
fn descend(page: &Page, nibble: u8, siblings: &mut Vec<Hash>) -> Slot {
    let mut slots: &[Slot] = page;
    for level in (0..4).rev() {
        if let Folded::Empty | Folded::Leaf(_) = fold(slots) {
            break;
        }
        let (left, right) = slots.split_at(slots.len() / 2);
        let (here, other) = if nibble >> level & 1 == 1 { (right, left) } else { (left, right) };
        siblings.push(fold(other).hash());
        slots = here;
    }
    slots.iter().find(|slot| **slot != Slot::Empty).copied().unwrap_or_default()
}

fn leaf(key: &Hash, value: &Hash) -> Hash {
    joined(0, key, value)
}

fn node(left: &Hash, right: &Hash) -> Hash {
    joined(1, left, right)
}

fn joined(sort: u8, a: &Hash, b: &Hash) -> Hash {
    let mut bytes = [0; 65];
    bytes[0] = sort;
    bytes[1..33].copy_from_slice(&a.0);
    bytes[33..].copy_from_slice(&b.0);
    Hash(*blake3::hash(&bytes).as_bytes())
}

fn bit_of(key: &Hash, bit: usize) -> bool {
    key.0.get(bit / 8).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
}

/// The key of a page.
pub(super) fn row(place: &[u8], height: Height) -> Key {
    Key::new(Table::LedgerPage, &[&[place.len() as u8], place, &height.0.to_be_bytes()])
}

/// The bytes of a page.
pub(super) fn encode(page: &Page) -> Vec<u8> {
    page.iter().flat_map(|slot| slot.to_bytes()).collect()
}

/// The page at a place that a height wrote.
pub(super) fn load(place: &[u8], height: Height, view: &dyn View) -> Result<Page, Fault> {
    decode(&view.get(&row(place, height)).ok_or(Fault::Corrupt("a page of the state's tree is missing"))?)
}

/// Reads [`encode`].
pub(super) fn decode(bytes: &[u8]) -> Result<Page, Fault> {
    let (mut rest, mut page) = (bytes, [Slot::Empty; SLOTS]);
    for slot in &mut page {
        *slot = Slot::read(&mut rest).ok_or(Fault::Corrupt("a page of the state's tree is not one"))?;
    }
    if rest.is_empty() { Ok(page) } else { Err(Fault::Corrupt("a page of the state's tree is too long")) }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(first)
}
