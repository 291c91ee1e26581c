//! Serving a state: the parts of the tree after a block, each to be checked against one hash.
//!
//! A branch with few rows is its rows; one with many is its page, and each slot of that is a branch again. Whoever
//! knows the state root can so fetch the whole state from peers it does not trust, part by part (as in the state sync
//! of Jellyfish Merkle Trees, see [`super::tree`]).

use bytes::Bytes;

use super::books::{key_from, key_row};
use super::chain::{self, Head};
use super::fault::Fault;
use super::query::value_at;
use super::tree::{self, Page, Slot};
use crate::types::Hash;
use crate::types::chain::Height;
use crate::types::storage::View;
use crate::wire::ledger::{Branch, PAGE_SLOTS, PART_BYTES, PART_ROWS, PageSlot};

/// A part of a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// All rows of a branch, keys and values, in the order of their places.
    Rows(Vec<(Bytes, Bytes)>),
    /// The page of a branch with more rows than were asked for.
    Page(Box<[PageSlot; PAGE_SLOTS]>),
}

/// Why a part is not served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoPart {
    #[error("the state after block {have} is not kept; this node has those after blocks {oldest} to {newest}")]
    Height { have: Height, oldest: Height, newest: Height },
    #[error("there is no such branch in that state")]
    Branch,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A branch of the state after a block: its rows, if they are no more than `most`.
pub fn part(height: Height, branch: Branch, most: usize, view: &dyn View) -> Result<Part, NoPart> {
    let Some(Head { height: newest, oldest, .. }) = chain::head(view)? else { return Err(NoPart::Branch) };
    let Some(root) = chain::root(height, view)?.filter(|_| oldest <= height && height <= newest) else {
        return Err(NoPart::Height { have: height, oldest, newest });
    };
    let nibbles = branch.nibbles();
    let (mut slot, mut place) = (root, Vec::with_capacity(nibbles.len()));
    for nibble in nibbles {
        let Slot::Page { height, .. } = slot else { return Err(NoPart::Branch) };
        let page = tree::load(&place, height, view)?;
        slot = page.get(usize::from(nibble)).copied().unwrap_or_default();
        place.push(nibble);
    }
    let mut gathered = Gathered { view, height, most: most.clamp(1, PART_ROWS), bytes: 0, rows: Vec::new() };
    match slot {
        Slot::Page { height, .. } if !gathered.all(slot, &mut place)? => {
            Ok(Part::Page(Box::new(shown(&tree::load(&place, height, view)?))))
        }
        Slot::Empty => Ok(Part::Rows(Vec::new())),
        Slot::Page { .. } => Ok(Part::Rows(gathered.rows)),
        Slot::Leaf { key, .. } => {
            gathered.row(&key)?;
            Ok(Part::Rows(gathered.rows))
        }
    }
}

fn shown(page: &Page) -> [PageSlot; PAGE_SLOTS] {
    page.map(|slot| match slot {
        Slot::Empty => PageSlot::Empty,
        Slot::Leaf { key, value } => PageSlot::Leaf { key, value },
        Slot::Page { hash, .. } => PageSlot::Branch(hash),
    })
}

/// The rows of a branch, as far as they were read.
struct Gathered<'a> {
    view: &'a dyn View,
    height: Height,
    most: usize,
    bytes: usize,
    rows: Vec<(Bytes, Bytes)>,
}

impl Gathered<'_> {
    /// Reads everything below a slot; false when that is too much for one part.
    fn all(&mut self, slot: Slot, place: &mut Vec<u8>) -> Result<bool, Fault> {
        match slot {
            Slot::Empty => Ok(true),
            Slot::Leaf { key, .. } => {
                self.row(&key)?;
                Ok(self.rows.len() <= self.most && self.bytes <= PART_BYTES)
            }
            Slot::Page { height, .. } => {
                for (nibble, slot) in (0..).zip(tree::load(place, height, self.view)?) {
                    place.push(nibble);
                    let fits = self.all(slot, place);
                    place.pop();
                    if !fits? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    fn row(&mut self, place: &Hash) -> Result<(), Fault> {
        let bytes = self.view.get(&key_row(place));
        let key = bytes.as_ref().and_then(|bytes| key_from(bytes));
        let (_, key) = key.ok_or(Fault::Corrupt("a row of the tree has no key"))?;
        let value = value_at(key, self.height, self.view)?;
        let value = value.ok_or(Fault::Corrupt("a row of the tree has no value"))?;
        self.bytes += key.len() + value.len();
        self.rows.push((Bytes::copy_from_slice(key), value));
        Ok(())
    }
}
