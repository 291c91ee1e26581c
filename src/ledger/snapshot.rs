//! Taking in the state after a block from others, part by part, and putting it into the place of the old one.
//!
//! ```text
//!   state root ─▶ wanted branches ─ part ─▶ hash? ─▶ staged rows ─ whole ─▶ swap: old rows go, staged rows come, head
//!                      ▲                      └ a page: its slots are branches again
//!                      └──────────────────────┘
//! ```
//!
//! Invariants: what is staged was under the root; nobody reads staged rows; the old state is there until the new one is
//! whole; from then on nothing from outside is needed, each batch is bounded, and there is no head until the last, so
//! nobody reads a half. A crash before the swap begins anew, one during it goes on.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::books::{key_bytes, key_row, state_row};
use super::chain::{self, Head};
use super::fault::Fault;
use super::parts::Part;
use super::proof::{Unproved, decided};
use super::rows::{self, Row, Seats, Totals};
use super::tree::{self, Page, Slot};
use super::witness::Witness;
use crate::types::Hash;
use crate::types::chain::{BlockId, ChainId, Height, ValidatorSet};
use crate::types::storage::{Batch, Key, Table, Txn, View};
use crate::wire::ledger::{
    BlockHeader, Branch, Finality, PAGE_SLOTS, PART_BYTES, PART_ROWS, PageSlot, binary, exactly,
};

/// Rows of one batch of a swap, about.
const BATCH: usize = 4_096;
/// The tables of a state, which go when another comes.
const STATE: [Table; 5] =
    [Table::LedgerState, Table::LedgerBefore, Table::LedgerPage, Table::LedgerStale, Table::LedgerKey];

/// A branch that is missing, and the hash that what comes must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Which.
    pub branch: Branch,
    hash: Hash,
}

/// Why a part is not what was asked for: whoever sent it is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPart {
    #[error("a part of the state has another hash than its block's root vouches for")]
    Hash,
    #[error("a part of the state has rows of another branch, or not in their order")]
    Order,
    #[error("a part of the state is larger than any")]
    Size,
}

/// Why a part could not be taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotStaged {
    #[error(transparent)]
    Bad(#[from] BadPart),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A state on its way here.
#[derive(Clone, Debug)]
pub struct Snapshot {
    target: BlockHeader,
    /// Wanted, and nobody asked: the last is asked for first, so there are few.
    missing: Vec<Wanted>,
    /// Asked for.
    out: usize,
    rows: u64,
    bytes: u64,
    /// Tokens in the rows so far.
    held: i128,
}

impl Snapshot {
    /// The state after a block that is known to be final.
    pub fn of(target: BlockHeader) -> Snapshot {
        let root = Wanted { branch: Branch::ROOT, hash: target.state_root };
        Snapshot { target, missing: vec![root], out: 0, rows: 0, bytes: 0, held: 0 }
    }

    /// The block.
    pub fn target(&self) -> &BlockHeader {
        &self.target
    }

    /// Rows that are here, and their size, bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.rows, self.bytes)
    }

    /// A branch to ask for now; it is to be given back, or what came for it.
    pub fn ask(&mut self) -> Option<Wanted> {
        let next = self.missing.pop();
        self.out += usize::from(next.is_some());
        next
    }

    /// Nothing of use came.
    pub fn again(&mut self, wanted: Wanted) {
        self.out = self.out.saturating_sub(1);
        self.missing.push(wanted);
    }

    /// Whether everything is here.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.out == 0
    }

    /// Takes what came for a branch, if its hash is the one that is vouched for. What is refused is still wanted.
    pub fn put(&mut self, wanted: Wanted, part: &Part, tx: &mut Txn<'_>) -> Result<(), NotStaged> {
        let taken = match part {
            Part::Rows(rows) => self.put_rows(wanted, rows, tx),
            Part::Page(slots) => self.put_page(wanted, slots, tx),
        };
        match &taken {
            Ok(()) => self.out = self.out.saturating_sub(1),
            Err(_) => self.again(wanted),
        }
        taken
    }

    fn put_rows(&mut self, wanted: Wanted, rows: &[(Bytes, Bytes)], tx: &mut Txn<'_>) -> Result<(), NotStaged> {
        let Wanted { branch, hash } = wanted;
        let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        if rows.len() > PART_ROWS || bytes > PART_BYTES && rows.len() > 1 {
            return Err(BadPart::Size.into());
        }
        let leaves: Vec<(Hash, Hash)> = rows.iter().map(|(k, v)| (rows::place(k), rows::digest(v))).collect();
        if !leaves.is_sorted_by(|a, b| a.0 < b.0) || leaves.iter().any(|(place, _)| !branch.holds(place)) {
            return Err(BadPart::Order.into());
        }
        let height = self.target.height;
        let grown = tree::grown(branch.nibbles(), &leaves, height, tx)?;
        if grown.root.hash() != hash {
            return Err(BadPart::Hash.into());
        }
        for ((key, value), (place, _)) in rows.iter().zip(&leaves) {
            self.held += rows::tokens(key, value)?;
            stage(state_row(key), value.clone(), tx);
            stage(key_row(place), key_bytes(key, height).into(), tx);
        }
        grown.written.into_iter().for_each(|(key, page)| stage(key, page.into(), tx));
        (self.rows, self.bytes) = (self.rows + rows.len() as u64, self.bytes + bytes as u64);
        self.settle(branch, grown.root, tx)
    }

    fn put_page(&mut self, wanted: Wanted, slots: &[PageSlot; PAGE_SLOTS], tx: &mut Txn<'_>) -> Result<(), NotStaged> {
        let (Wanted { branch, hash }, height) = (wanted, self.target.height);
        let page: Page = slots.map(|slot| match slot {
            PageSlot::Empty => Slot::Empty,
            PageSlot::Leaf { key, value } => Slot::Leaf { key, value },
            PageSlot::Branch(hash) => Slot::Page { hash, height },
        });
        let mut below = Vec::new();
        for (nibble, slot) in (0..).zip(&page) {
            let child = branch.child(nibble).ok_or(BadPart::Order)?;
            match slot {
                Slot::Empty => continue,
                // The hash does not say in which of two slots a lone row stands; its place does.
                Slot::Leaf { key, .. } if !child.holds(key) => return Err(BadPart::Order.into()),
                Slot::Page { hash, .. } if *hash == Hash::ZERO => return Err(BadPart::Hash.into()),
                Slot::Leaf { .. } | Slot::Page { .. } => below.push(Wanted { branch: child, hash: slot.hash() }),
            }
        }
        if tree::page_hash(&page) != hash {
            return Err(BadPart::Hash.into());
        }
        stage(tree::row(&branch.nibbles(), height), tree::encode(&page).into(), tx);
        self.missing.extend(below.into_iter().rev());
        self.settle(branch, Slot::Page { hash, height }, tx)
    }

    /// What a branch has turned out to be is noted in the page above it: that page's sender could call one row a
    /// branch, which has the same hash.
    fn settle(&self, branch: Branch, slot: Slot, tx: &mut Txn<'_>) -> Result<(), NotStaged> {
        let height = self.target.height;
        let Some((parent, nibble)) = branch.parent() else {
            stage(chain::root_row(height), slot.to_bytes().into(), tx);
            return Ok(());
        };
        let row = tree::row(&parent.nibbles(), height);
        let bytes = staged(&row, tx).ok_or(Fault::Corrupt("a staged page is missing"))?;
        let mut page = tree::decode(&bytes)?;
        match page.get_mut(usize::from(nibble)) {
            Some(there) if *there != slot => *there = slot,
            Some(_) | None => return Ok(()),
        }
        stage(row, tree::encode(&page).into(), tx);
        Ok(())
    }

    /// The whole state is here: from now on it is put in place, with [`next_batch`] until there is none.
    pub fn begin_swap(&self, tx: &mut Txn<'_>) -> Result<(), Fault> {
        let header = &self.target;
        let totals: Totals = must(&(), tx)?;
        if self.held != i128::from(totals.supply.0) {
            return Err(Fault::Corrupt("the rows of a state that is certified do not hold its supply"));
        }
        let Seats(seats) = must(&(), tx)?;
        let next = ValidatorSet::new(seats)?;
        if next.hash() != header.next_validators {
            return Err(Fault::Corrupt("a state that is certified seats others than its header says"));
        }
        stage(chain::set_row(&header.next_validators), next.to_bytes().into(), tx);
        stage(chain::joined_row(), binary(&header.height).into(), tx);
        let head = Head {
            chain: header.chain,
            height: header.height,
            id: header.id(),
            time_ms: header.time_ms,
            state_root: header.state_root,
            oldest: header.height,
        };
        tx.put(chain::swap_row(), binary(&(false, head)));
        tx.delete(chain::head_row());
        Ok(())
    }
}

/// A row of the state that is staged.
fn must<R: Row>(name: &R::Name, view: &dyn View) -> Result<R, Fault> {
    let bytes = staged(&state_row(&R::key(name)), view);
    rows::decode(&bytes.ok_or(Fault::Corrupt("a state that is certified has no totals or seats"))?)
}

/// A decided header and what shows it, kept for proofs to whoever trusts earlier validators.
pub fn stage_finality(finality: &Finality, tx: &mut Txn<'_>) {
    let header = &finality.header;
    stage(chain::header_row(header.height), header.encode().into(), tx);
    stage(chain::certificate_row(header.height), finality.certificate.clone(), tx);
    stage(chain::set_row(&header.validators), finality.validators.to_bytes().into(), tx);
    if header.next_validators != header.validators {
        stage(chain::change_row(header.height), Bytes::new(), tx);
    }
}

/// Changes of validators before this height are not known: a block before it was trusted instead.
pub fn stage_base(from: Height, tx: &mut Txn<'_>) {
    stage(chain::base_row(), binary(&from).into(), tx);
}

fn staged_row(key: &Key) -> Key {
    Key::new(Table::Staged, &[key.as_bytes()])
}

fn stage(key: Key, value: Bytes, tx: &mut Txn<'_>) {
    tx.put(staged_row(&key), value);
}

fn staged(key: &Key, view: &dyn View) -> Option<Bytes> {
    view.get(&staged_row(key))
}

/// Up to a batch of rows whose keys begin so.
fn some_of(prefix: &Key, view: &dyn View) -> Vec<(Key, Bytes)> {
    let mut rows = Vec::new();
    view.scan(prefix, &prefix.after_prefix(), &mut |key, value| {
        rows.extend(Key::from_bytes(key.to_vec()).map(|key| (key, value.clone())));
        if rows.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    rows
}

/// Lets go of what is left of a state that was not taken in; none when nothing is.
pub fn clear(view: &dyn View) -> Option<Batch> {
    let left = some_of(&Key::new(Table::Staged, &[]), view);
    let mut batch = Batch::default();
    left.into_iter().for_each(|(key, _)| batch.delete(key));
    (!batch.is_empty()).then_some(batch)
}

/// The next batch of putting a state in place that is whole; none when there is nothing to do.
pub fn next_batch(view: &dyn View) -> Result<Option<Batch>, Fault> {
    let Some(bytes) = view.get(&chain::swap_row()) else { return Ok(None) };
    let (is_cleared, head): (bool, Head) = exactly(&bytes).ok_or(Fault::Corrupt("the mark of a swap is none"))?;
    let mut batch = Batch::default();
    if !is_cleared {
        let roots = Key::new(Table::Ledger, &[b"root"]);
        let tables = STATE.iter().map(|table| Key::new(*table, &[])).chain([roots]);
        let old = tables.map(|prefix| some_of(&prefix, view)).find(|rows| !rows.is_empty());
        match old {
            Some(rows) => rows.into_iter().for_each(|(key, _)| batch.delete(key)),
            None => batch.put(chain::swap_row(), binary(&(true, head))),
        }
        return Ok(Some(batch));
    }
    let rows = some_of(&Key::new(Table::Staged, &[]), view);
    if rows.is_empty() {
        batch.put(chain::head_row(), binary(&head));
        batch.delete(chain::swap_row());
    }
    for (key, value) in rows {
        let inner = key.as_bytes().get(1..).map(<[u8]>::to_vec).and_then(Key::from_bytes);
        batch.put(inner.ok_or(Fault::Corrupt("a staged row has no key"))?, value);
        batch.delete(key);
    }
    Ok(Some(batch))
}

/// Checks decided headers that lead from trusted validators onwards, and says whom to trust after the last. They
/// ascend, each is decided by those the one before it seats.
pub fn followed(finalities: &[Finality], trust: Trust, witness: &dyn Witness) -> Result<Trust, Unproved> {
    finalities.iter().try_fold(trust, |trust, finality| {
        decided(finality, trust.chain, trust.set, trust.height, witness)?;
        let BlockHeader { height, next_validators, .. } = finality.header;
        Ok(Trust { height, set: next_validators, ..trust })
    })
}

/// Whom to believe: who decides after a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trust {
    /// On which chain.
    pub chain: ChainId,
    /// The block's height.
    pub height: Height,
    /// The hash of the validators that decide the next.
    pub set: Hash,
}

/// A block an operator knows to be final, from people and not from the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trusted {
    /// Its height.
    pub height: Height,
    /// Its id.
    pub id: BlockId,
}

/// Two thirds decided another block than the one that an operator trusts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "block {} is {have}, and chain.trusted says {}: one of them is not of the chain you mean. Ask operators you trust \
     for `metanode ledger block {}`. If theirs is {have}, write that into chain.trusted, or take it away; if it is not, \
     this network is another one: check net.bootstrap and chain.genesis, and give an empty --dir",
    trusted.height, trusted.id, trusted.height
)]
pub struct Contradicted {
    /// What is trusted.
    pub trusted: Trusted,
    /// What is there.
    pub have: BlockId,
}

impl Trusted {
    /// Whether a block may be at this height.
    pub fn allows(&self, height: Height, have: BlockId) -> Result<(), Contradicted> {
        if height == self.height && have != self.id { Err(Contradicted { trusted: *self, have }) } else { Ok(()) }
    }
}
