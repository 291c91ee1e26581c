//! Branches of the state's tree: how a state is cut into parts that can each be checked against one hash.

use serde::{Deserialize, Serialize};

use crate::types::Hash;

/// Rows in one part at most.
pub const PART_ROWS: usize = 1_024;
/// Keys and values of one part, bytes, at most; one row is always in it.
pub const PART_BYTES: usize = 256 * 1024;
/// Slots of a page of the tree.
pub const PAGE_SLOTS: usize = 16;

/// Everything whose place in the tree begins with the first `depth` nibbles of `start`, whose others are 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Branch {
    /// How many nibbles, 0 to 64.
    pub depth: u8,
    /// The least place in it.
    pub start: Hash,
}

/// What is at one place of a page, as far as others need to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PageSlot {
    /// Nothing.
    Empty,
    /// One row: where it stands, and the digest of its value.
    Leaf { key: Hash, value: Hash },
    /// Two rows or more, with this hash over them.
    Branch(Hash),
}

impl Branch {
    /// The whole tree.
    pub const ROOT: Branch = Branch { depth: 0, start: Hash::ZERO };

    /// Whether it is written in the one form.
    pub fn is_proper(&self) -> bool {
        self.depth <= 64 && (usize::from(self.depth)..64).all(|at| nibble(&self.start, at) == 0)
    }

    /// Whether a place is in it.
    pub fn holds(&self, place: &Hash) -> bool {
        (0..usize::from(self.depth)).all(|at| nibble(&self.start, at) == nibble(place, at))
    }

    /// The branch at one slot of its page; none below the deepest.
    pub fn child(&self, slot: u8) -> Option<Branch> {
        let at = usize::from(self.depth);
        let mut start = self.start;
        let byte = start.0.get_mut(at / 2)?;
        *byte |= if at.is_multiple_of(2) { slot << 4 } else { slot & 0xF };
        Some(Branch { depth: self.depth + 1, start })
    }

    /// The branch it is a child of, and at which slot; none for the whole tree.
    pub fn parent(&self) -> Option<(Branch, u8)> {
        let at = usize::from(self.depth).checked_sub(1)?;
        let (slot, mut start) = (nibble(&self.start, at), self.start);
        let byte = start.0.get_mut(at / 2)?;
        *byte &= if at.is_multiple_of(2) { 0x0F } else { 0xF0 };
        Some((Branch { depth: self.depth - 1, start }, slot))
    }

    /// The nibbles that lead to it.
    pub fn nibbles(&self) -> Vec<u8> {
        (0..usize::from(self.depth)).map(|at| nibble(&self.start, at)).collect()
    }
}

/// A nibble of a place, counted from the top.
pub fn nibble(place: &Hash, at: usize) -> u8 {
    let byte = place.0.get(at / 2).copied().unwrap_or_default();
    if at.is_multiple_of(2) { byte >> 4 } else { byte & 0xF }
}
