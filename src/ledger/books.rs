//! Closing a block: its books must balance, its roots are taken, its rows are written.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::chain::{self, Found};
use super::fault::Fault;
use super::refusal::BlockRefusal;
use super::rows::{self, Totals};
use super::state::Change;
use super::tree::TreeUpdate;
use crate::types::chain::{Height, ValidatorSet};
use crate::types::storage::{Batch, Key, Table, View};
use crate::types::{Hash, NodeId};
use crate::wire::kind::Blob;
use crate::wire::ledger::{Block, BlockHeader, Record, Sealed, binary, exactly};

/// Keys in one row of what can be let go: a block may change any number, and what is read has a bound.
const STALE_KEYS: usize = 4_096;

/// What is remembered of the transactions in a block: each account's next nonce, and whom each transaction is about.
#[derive(Default)]
pub(super) struct Carried {
    pub nonces: BTreeMap<NodeId, u64>,
    parties: Vec<(NodeId, Option<NodeId>)>,
}

impl Carried {
    /// The block has these, too.
    pub fn add(&mut self, sealed: &Sealed) {
        let account = sealed.account();
        self.nonces.insert(account, sealed.next_nonce());
        let other = |body| chain::named(body).filter(|other| *other != account);
        self.parties.extend(sealed.order().transactions.iter().map(|one| (account, other(&one.body))));
    }
}

/// What a block did, with its roots.
pub(super) struct Closed {
    pub changes: Vec<Change>,
    pub tree: TreeUpdate,
    pub records: Vec<Record>,
    pub leaves: Vec<Vec<u8>>,
    pub receipts_root: Hash,
    pub next: Arc<ValidatorSet>,
}

impl Closed {
    /// Whether a header says the same.
    pub fn led_to_by(&self, header: &BlockHeader) -> Result<(), BlockRefusal> {
        if header.state_root != self.tree.root.hash() {
            return Err(BlockRefusal::StateRoot);
        }
        if header.receipts_root != self.receipts_root {
            return Err(BlockRefusal::ReceiptsRoot);
        }
        if header.next_validators != self.next.hash() {
            return Err(BlockRefusal::NextValidators);
        }
        Ok(())
    }

    /// The rows that come with it.
    pub fn write(&self, block: &Block, carried: &Carried, height: Height, batch: &mut Batch) {
        let mut stale = self.tree.stale.clone();
        for Change { key, place, before, after } in &self.changes {
            let was = chain::before_row(place, height);
            batch.put(was.clone(), before_bytes(before.as_ref()));
            stale.push(was);
            match after {
                Some(value) => {
                    if before.is_none() {
                        batch.put(key_row(place), key_bytes(key, height));
                    }
                    batch.put(state_row(key), value.clone());
                }
                None => {
                    stale.push(key_row(place));
                    batch.delete(state_row(key));
                }
            }
        }
        self.tree.written.iter().for_each(|(key, page)| batch.put(key.clone(), page.clone()));
        stale.push(chain::root_row(Height(height.0 - 1)));
        let stale: Vec<Blob> = stale.into_iter().map(|key| Blob(key.into_bytes())).collect();
        for (part, keys) in (0..).zip(stale.chunks(STALE_KEYS)) {
            batch.put(chain::stale_row(height, part), binary(&keys));
        }
        batch.put(chain::root_row(height), self.tree.root.to_bytes());
        batch.put(chain::block_row(height), block.encode());
        self.write_records(carried, height, batch);
        let header = block.header();
        if header.next_validators != header.validators {
            batch.put(chain::change_row(height), Bytes::new());
            batch.put(chain::set_row(&header.next_validators), self.next.to_bytes());
        }
    }

    fn write_records(&self, carried: &Carried, height: Height, batch: &mut Batch) {
        let places = (0..).map(|index| Found { height, index });
        for ((found, record), leaf) in places.clone().zip(&self.records).zip(&self.leaves) {
            batch.put(chain::record_row(found), leaf.clone());
            if let Record::Receipt(receipt) = record {
                batch.put(chain::transaction_row(&receipt.transaction), binary(&found));
            }
        }
        for (found, (account, other)) in places.zip(&carried.parties) {
            for party in std::iter::once(account).chain(other) {
                batch.put(chain::account_row(*party, found), Bytes::new());
            }
        }
    }
}

/// The key of a row of the state in the store.
pub(super) fn state_row(key: &[u8]) -> Key {
    Key::new(Table::LedgerState, &[key])
}

/// The key of the key of a row that stands here in the tree.
pub(super) fn key_row(place: &Hash) -> Key {
    Key::new(Table::LedgerKey, &[place.as_bytes()])
}

fn is_key_row(row: &Key) -> bool {
    row.as_bytes().first() == Some(&(Table::LedgerKey as u8))
}

/// The height that made a row, and its key.
pub(super) fn key_bytes(key: &[u8], made: Height) -> Vec<u8> {
    [&made.0.to_be_bytes(), key].concat()
}

/// Reads [`key_bytes`].
pub(super) fn key_from(bytes: &[u8]) -> Option<(Height, &[u8])> {
    let (made, key) = bytes.split_first_chunk::<8>()?;
    Some((Height(u64::from_be_bytes(*made)), key))
}

fn before_bytes(before: Option<&Bytes>) -> Vec<u8> {
    before.map_or(vec![0], |value| [&[1], &value[..]].concat())
}

/// Lets go what only heights before this one needed.
pub(super) fn forget(height: Height, view: &dyn View, batch: &mut Batch) -> Result<(), Fault> {
    let (mut parts, from) = (Vec::new(), chain::stale_rows(height));
    view.scan(&from, &from.after_prefix(), &mut |key, bytes| {
        parts.push((key.to_vec(), bytes.clone()));
        ControlFlow::Continue(())
    });
    let key_of = |bytes| Key::from_bytes(bytes).ok_or(Fault::Corrupt("what can be let go is no key"));
    for (row, bytes) in parts {
        let stale: Vec<Blob> = exactly(&bytes).ok_or(Fault::Corrupt("what can be let go is no list"))?;
        batch.delete(key_of(row)?);
        for Blob(key) in stale {
            let row = key_of(key)?;
            // A row that was removed may have been made again since.
            let made = if is_key_row(&row) { view.get(&row) } else { None };
            if made.is_none_or(|bytes| key_from(&bytes).is_none_or(|(made, _)| made <= height)) {
                batch.delete(row);
            }
        }
    }
    Ok(())
}

/// Tokens are neither made nor lost but by what counts them: the rows that changed must balance with the totals.
pub(super) fn conserved(changes: &[Change], before: &Totals, after: &Totals, height: Height) -> Result<(), Fault> {
    let held = |key: &[u8], value: &Option<Bytes>| value.as_ref().map_or(Ok(0), |value| rows::tokens(key, value));
    let mut grown: i128 = 0;
    for Change { key, before, after, place: _ } in changes {
        grown += held(key, after)? - held(key, before)?;
    }
    let wide = i128::from;
    let made = after.minted.minus(before.minted)?.0;
    let burned = after.burned.minus(before.burned)?.0;
    let counted = wide(after.supply.0) - wide(before.supply.0);
    if grown == wide(made) - wide(burned) && grown == counted {
        Ok(())
    } else {
        Err(Fault::Supply { height, grown, made, burned })
    }
}
