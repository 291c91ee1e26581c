//! The rows of the chain: where it stands, blocks, certificates, what they did, and where to find a transaction.

use std::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::genesis::Genesis;
use super::tree::Slot;
use crate::types::chain::{BlockId, ChainId, Height, TransactionId, ValidatorSet};
use crate::types::storage::{Key, Table, View};
use crate::types::{Hash, NodeId, WallMs};
use crate::wire::ledger::{Block, BlockHeader, Body, Record, Sealed, exactly};

/// Where the chain stands: its last decided block, and the state after it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The chain.
    pub chain: ChainId,
    /// Height of the last block; 0 before the first.
    pub height: Height,
    /// Its id; zeros before the first.
    pub id: BlockId,
    /// When it was made.
    pub time_ms: WallMs,
    /// Root of the state.
    pub state_root: Hash,
    /// The oldest height whose state can still be proved.
    pub oldest: Height,
}

/// Where a transaction is: the height of its block, and its record's index there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Found {
    /// Height of the block.
    pub height: Height,
    /// Index among the records of the block.
    pub index: u32,
}

/// Sorts of rows in the table of transactions.
const BY_ID: u8 = 0;
const BY_ACCOUNT: u8 = 1;

/// The key of the head.
pub(super) fn head_row() -> Key {
    Key::new(Table::Ledger, &[b"head"])
}

/// The key of the genesis.
pub(super) fn genesis_row() -> Key {
    Key::new(Table::Ledger, &[b"genesis"])
}

/// The key of the place of a height's root in its tree.
pub(super) fn root_row(height: Height) -> Key {
    Key::new(Table::Ledger, &[b"root", &height.0.to_be_bytes()])
}

/// The key of validators by their hash.
pub(super) fn set_row(hash: &Hash) -> Key {
    Key::new(Table::Ledger, &[b"set", hash.as_bytes()])
}

/// The key of the mark of a height after which other validators decide.
pub(super) fn change_row(height: Height) -> Key {
    Key::new(Table::Ledger, &[b"turn", &height.0.to_be_bytes()])
}

/// What the keys begin with of all that is let go when a height is no longer kept.
pub(super) fn stale_rows(height: Height) -> Key {
    Key::new(Table::LedgerStale, &[&height.0.to_be_bytes()])
}

/// The key of a part of that.
pub(super) fn stale_row(height: Height, part: u32) -> Key {
    Key::new(Table::LedgerStale, &[&height.0.to_be_bytes(), &part.to_be_bytes()])
}

/// The key of what a row of the state was before a height changed it.
pub(super) fn before_row(place: &Hash, height: Height) -> Key {
    Key::new(Table::LedgerBefore, &[place.as_bytes(), &height.0.to_be_bytes()])
}

/// The key of a block.
pub(super) fn block_row(height: Height) -> Key {
    Key::new(Table::Block, &[&height.0.to_be_bytes()])
}

/// The key of the header of a block that is not here.
pub(super) fn header_row(height: Height) -> Key {
    Key::new(Table::Header, &[&height.0.to_be_bytes()])
}

/// The key of the height of the block after which this node took in the state.
pub(super) fn joined_row() -> Key {
    Key::new(Table::Ledger, &[b"joined"])
}

/// The key of the first height from which on every change of validators is known.
pub(super) fn base_row() -> Key {
    Key::new(Table::Ledger, &[b"base"])
}

/// The key of how far a state that was fetched is put into the place of the old one.
pub(super) fn swap_row() -> Key {
    Key::new(Table::Ledger, &[b"swap"])
}

/// The key of a certificate.
pub(super) fn certificate_row(height: Height) -> Key {
    Key::new(Table::Certificate, &[&height.0.to_be_bytes()])
}

/// The key of a record.
pub(super) fn record_row(found: Found) -> Key {
    Key::new(Table::Record, &[&found.height.0.to_be_bytes(), &found.index.to_be_bytes()])
}

/// The key of where a transaction is.
pub(super) fn transaction_row(id: &TransactionId) -> Key {
    Key::new(Table::Executed, &[&[BY_ID], id.as_bytes()])
}

/// The key of the mark that an account had to do with a transaction.
pub(super) fn account_row(account: NodeId, found: Found) -> Key {
    Key::new(
        Table::Executed,
        &[&[BY_ACCOUNT], account.as_bytes(), &found.height.0.to_be_bytes(), &found.index.to_be_bytes()],
    )
}

/// Whom a transaction names beside its own account.
pub(super) fn named(body: &Body) -> Option<NodeId> {
    match body {
        Body::Transfer { to, .. } | Body::Mint { to, .. } | Body::PayGas { to, .. } => Some(*to),
        Body::Delegate { validator, .. } | Body::Undelegate { validator, .. } => Some(*validator),
        Body::PayRent { owner, .. } => Some(*owner),
        Body::OpenBilling { provider, .. } => Some(*provider),
        Body::Burn { .. }
        | Body::Stake { .. }
        | Body::Unstake { .. }
        | Body::SetCommission { .. }
        | Body::Work { .. }
        | Body::Store { .. }
        | Body::Erase { .. }
        | Body::CloseBilling { .. }
        | Body::FundTreasury { .. }
        | Body::Propose { .. }
        | Body::Vote { .. } => None,
    }
}

/// Where the chain in this store stands; none when there is none.
pub fn head(view: &dyn View) -> Result<Option<Head>, Fault> {
    let bytes = view.get(&head_row());
    bytes.map(|bytes| exactly(&bytes).ok_or(Fault::Corrupt("the ledger's head is none"))).transpose()
}

/// How the chain in this store began.
pub fn genesis(view: &dyn View) -> Result<Option<Genesis>, Fault> {
    let bytes = view.get(&genesis_row());
    bytes.map(|bytes| exactly(&bytes).ok_or(Fault::Corrupt("the ledger's genesis is none"))).transpose()
}

/// A decided block.
pub fn block(height: Height, view: &dyn View) -> Result<Option<Block>, Fault> {
    let bytes = view.get(&block_row(height));
    bytes.map(|bytes| Block::decode(bytes).map_err(|_| Fault::Corrupt("a block is none"))).transpose()
}

/// The bytes of a decided block.
pub fn block_bytes(height: Height, view: &dyn View) -> Option<Bytes> {
    view.get(&block_row(height))
}

/// The block after which this node took in the state as it was, if it ever did: before it there are no blocks here but
/// those it had followed earlier.
pub fn joined(view: &dyn View) -> Option<Height> {
    view.get(&joined_row()).and_then(|bytes| exactly(&bytes))
}

/// The first height from which on every change of validators is known here: 1, or after a block that was trusted.
pub fn base(view: &dyn View) -> Height {
    view.get(&base_row()).and_then(|bytes| exactly(&bytes)).unwrap_or(Height(1))
}

/// Whether a state that was fetched is being put into the place of the old one: there is no head meanwhile.
pub fn is_swapping(view: &dyn View) -> bool {
    view.get(&swap_row()).is_some()
}

/// The header of a decided block, also where the block itself is not here.
pub fn header(height: Height, view: &dyn View) -> Result<Option<BlockHeader>, Fault> {
    let bytes = view.get(&block_row(height)).or_else(|| view.get(&header_row(height)));
    let Some(bytes) = bytes else { return Ok(None) };
    let header = bytes.get(..BlockHeader::BYTES).and_then(|bytes| BlockHeader::decode(bytes).ok());
    header.map(Some).ok_or(Fault::Corrupt("a block is none"))
}

/// The certificate of a decided block, as agreement wrote it.
pub fn certificate(height: Height, view: &dyn View) -> Option<Bytes> {
    view.get(&certificate_row(height))
}

/// Validators by their hash, if they ever decided.
pub fn validators(hash: &Hash, view: &dyn View) -> Result<Option<ValidatorSet>, Fault> {
    let bytes = view.get(&set_row(hash));
    bytes.map(|bytes| Ok(ValidatorSet::from_bytes(&bytes)?)).transpose()
}

/// One record of a block.
pub fn record(found: Found, view: &dyn View) -> Result<Option<Record>, Fault> {
    let bytes = view.get(&record_row(found));
    bytes.map(|bytes| exactly(&bytes).ok_or(Fault::Corrupt("a record is none"))).transpose()
}

/// All records of a block, in order.
pub fn records(height: Height, view: &dyn View) -> Result<Vec<Record>, Fault> {
    let from = Key::new(Table::Record, &[&height.0.to_be_bytes()]);
    let mut bytes = Vec::new();
    view.scan(&from, &from.after_prefix(), &mut |_, value| {
        bytes.push(value.clone());
        ControlFlow::Continue(())
    });
    bytes.iter().map(|bytes| exactly(bytes).ok_or(Fault::Corrupt("a record is none"))).collect()
}

/// Up to so many records of a block, from one on, each with its place.
pub fn records_from(from: Found, most: usize, view: &dyn View) -> Result<Vec<(Found, Record)>, Fault> {
    let end = Key::new(Table::Record, &[&from.height.0.to_be_bytes()]).after_prefix();
    let mut rows = Vec::new();
    view.scan(&record_row(from), &end, &mut |key, value| {
        let place = key.len().checked_sub(12).and_then(|at| key.get(at..)).and_then(place_in_key);
        rows.push((place, value.clone()));
        if rows.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    rows.truncate(most);
    let read = |(place, bytes): (Option<Found>, Bytes)| Some((place?, exactly(&bytes)?));
    rows.into_iter().map(|row| read(row).ok_or(Fault::Corrupt("a record is none"))).collect()
}

/// The first block from a height on that is here.
pub fn first_block(from: Height, view: &dyn View) -> Option<Height> {
    let end = Key::new(Table::Block, &[]).after_prefix();
    let mut found = None;
    view.scan(&block_row(from), &end, &mut |key, _| {
        found = key.last_chunk::<8>().map(|height| Height(u64::from_be_bytes(*height)));
        ControlFlow::Break(())
    });
    found
}

/// Where a transaction is, if a decided block has it.
pub fn find(id: &TransactionId, view: &dyn View) -> Result<Option<Found>, Fault> {
    let bytes = view.get(&transaction_row(id));
    bytes.map(|bytes| exactly(&bytes).ok_or(Fault::Corrupt("a transaction is nowhere"))).transpose()
}

/// The transactions an account had to do with, newest first, before a place, up to so many.
pub fn of_account(account: NodeId, before: Option<Found>, most: usize, view: &dyn View) -> Vec<Found> {
    let from = Key::new(Table::Executed, &[&[BY_ACCOUNT], account.as_bytes()]);
    let to = before.map_or(from.after_prefix(), |before| account_row(account, before));
    let mut found = Vec::new();
    view.scan_back(&from, &to, &mut |key, _| {
        let place = key.len().checked_sub(12).and_then(|at| key.get(at..)).and_then(place_in_key);
        found.extend(place);
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found.truncate(most);
    found
}

fn place_in_key(bytes: &[u8]) -> Option<Found> {
    let (height, index) = bytes.split_first_chunk::<8>()?;
    Some(Found { height: Height(u64::from_be_bytes(*height)), index: u32::from_be_bytes(index.try_into().ok()?) })
}

/// The transaction of a record in a block: its seal, and its index under it. None for what is no transaction's.
pub fn transaction_at(block: &Block, index: u32) -> Result<Option<(Sealed, usize)>, Fault> {
    let mut left = index as usize;
    for bytes in block.transactions() {
        let sealed = Sealed::kept(bytes.clone(), block.header().chain);
        let sealed = sealed.map_err(|_| Fault::Corrupt("a decided transaction is none"))?;
        match left.checked_sub(sealed.count()) {
            Some(rest) => left = rest,
            None => return Ok(Some((sealed, left))),
        }
    }
    Ok(None)
}

/// The place of the root of a height's state in its tree.
pub fn root(height: Height, view: &dyn View) -> Result<Option<Slot>, Fault> {
    let bytes = view.get(&root_row(height));
    bytes.map(|bytes| Slot::from_bytes(&bytes).ok_or(Fault::Corrupt("a root of the state is none"))).transpose()
}

/// The first height from `from` on after which other validators decide.
pub fn next_change(from: Height, view: &dyn View) -> Option<Height> {
    let (from, end) = (change_row(from), Key::new(Table::Ledger, &[b"turn"]).after_prefix());
    let mut found = None;
    view.scan(&from, &end, &mut |key, _| {
        found = key.last_chunk::<8>().map(|height| Height(u64::from_be_bytes(*height)));
        ControlFlow::Break(())
    });
    found
}
