//! The Merkle tree of RFC 6962, section 2.1, with BLAKE3 in place of SHA-256.
//!
//! `leaf(m) = H(0x00 ‖ m)`, `node(l, r) = H(0x01 ‖ l ‖ r)`; a list of n > 1 leaves splits at the largest power of two
//! below n. H is plain BLAKE3: the prefixes keep leaves and nodes apart, and the seal's domain keeps roots apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::Hash;

/// The siblings from a leaf to the root, nearest first.
pub type Path = Vec<Hash>;

/// The hash of one item.
pub fn leaf(item: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[0x00]).update(item);
    Hash(*hasher.finalize().as_bytes())
}

/// The checksum of a message: its leaf in every tree it can be in. Takes the bytes that were signed.
pub fn checksum(message: &[u8]) -> Hash {
    leaf(message)
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [0u8; 65];
    bytes[0] = 0x01;
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(*blake3::hash(&bytes).as_bytes())
}

/// The root over `leaves`, which are hashes made by [`leaf`]. The root of none is [`Hash::ZERO`], which no bundle has.
pub fn root(mut level: Vec<Hash>) -> Hash {
    // Folding level by level and carrying an odd last one up gives the same tree as the RFC's recursion.
    while level.len() > 1 {
        level = parents(&level);
    }
    level.first().copied().unwrap_or(Hash::ZERO)
}

/// The root over items, hashed as leaves first.
pub fn root_of<'a>(items: impl Iterator<Item = &'a [u8]>) -> Hash {
    root(items.map(leaf).collect())
}

/// The siblings that lead from leaf `index` to the root; none when there is no such leaf.
pub fn path(mut level: Vec<Hash>, mut index: usize) -> Option<Path> {
    if index >= level.len() {
        return None;
    }
    let mut path = Path::new();
    while level.len() > 1 {
        path.extend(level.get(index ^ 1));
        level = parents(&level);
        index /= 2;
    }
    Some(path)
}

/// The root that `leaf` at `index` of `count` leaves leads to by `path`; none when the path has the wrong length.
pub fn climb(leaf: Hash, index: usize, count: usize, path: &[Hash]) -> Option<Hash> {
    if index >= count {
        return None;
    }
    let (mut here, mut at, mut width, mut siblings) = (leaf, index, count, path.iter());
    while width > 1 {
        if at % 2 == 1 {
            here = node(siblings.next()?, &here);
        } else if at + 1 < width {
            here = node(&here, siblings.next()?);
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    siblings.next().is_none().then_some(here)
}

fn parents(level: &[Hash]) -> Vec<Hash> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => node(left, right),
            odd => odd.first().copied().unwrap_or(Hash::ZERO),
        })
        .collect()
}

/// The nodes of a tree that are known, enough to lead from some leaves to the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partial {
    count: usize,
    /// From the leaves up; of each level what is known, by its place in it.
    levels: Vec<BTreeMap<usize, Hash>>,
}

impl Partial {
    /// The whole tree over `leaves`.
    pub fn of(leaves: &[Hash]) -> Partial {
        let all = leaves.iter().copied().enumerate().collect();
        // Every sibling is a known leaf or has leaves below it: nothing is taken from beside.
        let whole = Partial::climb(leaves.len(), all, &[]);
        whole.unwrap_or(Partial { count: leaves.len(), levels: Vec::new() })
    }

    /// What follows from `leaves` of a tree of `count`, and the hashes `beside` the ways up from them: level by level,
    /// from left to right, each one that the leaves do not lead to themselves. None if it is not exactly those.
    pub fn climb(count: usize, leaves: BTreeMap<usize, Hash>, beside: &[Hash]) -> Option<Partial> {
        let (mut levels, mut level, mut width, mut beside) = (Vec::new(), leaves, count, beside.iter());
        if level.last_key_value().is_none_or(|(last, _)| *last >= count) {
            return None;
        }
        while width > 1 {
            let parents: BTreeSet<usize> = level.keys().map(|at| at / 2).collect();
            let mut above = BTreeMap::new();
            for parent in parents {
                let mut child = |at: usize| {
                    if let Some(known) = level.get(&at) {
                        return Some(*known);
                    }
                    let hash = *beside.next()?;
                    level.insert(at, hash);
                    Some(hash)
                };
                let left = child(2 * parent)?;
                let hash = if 2 * parent + 1 < width { node(&left, &child(2 * parent + 1)?) } else { left };
                above.insert(parent, hash);
            }
            levels.push(std::mem::replace(&mut level, above));
            width = width.div_ceil(2);
        }
        levels.push(level);
        beside.next().is_none().then_some(Partial { count, levels })
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|top| top.get(&0)).copied().unwrap_or(Hash::ZERO)
    }

    /// The hashes beside the ways up from `leaves`, as [`Partial::climb`] takes them; none if they are not known.
    pub fn beside(&self, leaves: impl Iterator<Item = usize>) -> Option<Vec<Hash>> {
        let (mut here, mut width, mut beside) = (leaves.collect::<BTreeSet<usize>>(), self.count, Vec::new());
        for level in self.levels.iter().take_while(|_| self.count > 1) {
            if width == 1 {
                break;
            }
            let parents: BTreeSet<usize> = here.iter().map(|at| at / 2).collect();
            for child in parents.iter().flat_map(|parent| [2 * parent, 2 * parent + 1]).filter(|at| *at < width) {
                if !here.contains(&child) {
                    beside.push(*level.get(&child)?);
                }
            }
            (here, width) = (parents, width.div_ceil(2));
        }
        Some(beside)
    }

    /// The same with what `other`, of the same tree, knows.
    pub fn join(&mut self, other: Partial) {
        for (level, more) in self.levels.iter_mut().zip(other.levels) {
            level.extend(more);
        }
    }
}
