//! The Merkle tree of RFC 6962, section 2.1, with BLAKE3 in place of SHA-256.
//!
//! `leaf(m) = H(0x00 ‖ m)`, `node(l, r) = H(0x01 ‖ l ‖ r)`; a list of n > 1 leaves splits at the largest power of two
//! below n. H is plain BLAKE3: the prefixes keep leaves and nodes apart, and the seal's domain keeps roots apart.

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
