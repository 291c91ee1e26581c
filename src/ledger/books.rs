//! Closing a block: its books must balance, its roots are taken, its rows are written.

use std::sync::Arc;

use bytes::Bytes;

use super::chain::{self, Found};
use super::fault::Fault;
use super::refusal::BlockRefusal;
use super::rows::{self, Totals};
use super::tree::TreeUpdate;
use crate::types::Hash;
use crate::types::chain::{Height, ValidatorSet};
use crate::types::storage::{Batch, Key, Table, View};
use crate::wire::kind::Blob;
use crate::wire::ledger::{Block, BlockHeader, Record, Sealed, binary, exactly};

/// What a block did, with its roots.
pub(super) struct Closed {
    pub changes: Vec<Change>,
    pub tree: TreeUpdate,
    pub records: Vec<Record>,
    pub leaves: Vec<Vec<u8>>,
    pub receipts_root: Hash,
    pub next: Arc<ValidatorSet>,
}

/// A row of the state: its key, what it was, what it is.
pub(super) type Change = (Vec<u8>, Option<Bytes>, Option<Bytes>);

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
    pub fn write(&self, block: &Block, height: Height, batch: &mut Batch) -> Result<(), Fault> {
        let mut stale = self.tree.stale.clone();
        for (key, before, after) in &self.changes {
            let was = chain::before_row(&rows::place(key), height);
            batch.put(was.clone(), before_bytes(before.as_ref()));
            stale.push(was);
            match after {
                Some(value) => batch.put(state_row(key), value.clone()),
                None => batch.delete(state_row(key)),
            }
        }
        self.tree.written.iter().for_each(|(key, page)| batch.put(key.clone(), page.clone()));
        stale.push(chain::root_row(Height(height.0 - 1)));
        let stale: Vec<Blob> = stale.into_iter().map(|key| Blob(key.into_bytes())).collect();
        batch.put(chain::stale_row(height), binary(&stale));
        batch.put(chain::root_row(height), self.tree.root.to_bytes());
        batch.put(chain::block_row(height), block.encode());
        self.write_records(block, height, batch)?;
        let header = block.header();
        if header.next_validators != header.validators {
            batch.put(chain::change_row(height), Bytes::new());
            batch.put(chain::set_row(&header.next_validators), self.next.to_bytes());
        }
        Ok(())
    }

    fn write_records(&self, block: &Block, height: Height, batch: &mut Batch) -> Result<(), Fault> {
        let places = (0..).map(|index| Found { height, index });
        let mut bodies = Vec::new();
        for bytes in block.transactions() {
            let sealed = Sealed::kept(bytes.clone(), block.header().chain);
            let sealed = sealed.map_err(|_| Fault::Corrupt("an executed transaction is none"))?;
            let account = sealed.account();
            bodies.extend(sealed.order().transactions.iter().map(|one| (account, one.body.clone())));
        }
        for ((found, record), leaf) in places.clone().zip(&self.records).zip(&self.leaves) {
            batch.put(chain::record_row(found), leaf.clone());
            if let Record::Receipt(receipt) = record {
                batch.put(chain::transaction_row(&receipt.transaction), binary(&found));
            }
        }
        for (found, (account, body)) in places.zip(&bodies) {
            chain::parties(*account, body).for_each(|party| batch.put(chain::account_row(party, found), Bytes::new()));
        }
        Ok(())
    }
}

/// The key of a row of the state in the store.
pub(super) fn state_row(key: &[u8]) -> Key {
    Key::new(Table::State, &[key])
}

fn before_bytes(before: Option<&Bytes>) -> Vec<u8> {
    before.map_or(vec![0], |value| [&[1], &value[..]].concat())
}

/// Lets go what only heights before this one needed.
pub(super) fn forget(height: Height, view: &dyn View, batch: &mut Batch) -> Result<(), Fault> {
    let key = chain::stale_row(height);
    let Some(bytes) = view.get(&key) else { return Ok(()) };
    let stale: Vec<Blob> = exactly(&bytes).ok_or(Fault::Corrupt("what can be let go is no list"))?;
    batch.delete(key);
    for Blob(key) in stale {
        let key = Key::from_bytes(key).ok_or(Fault::Corrupt("what can be let go is no key"))?;
        batch.delete(key);
    }
    Ok(())
}

/// Tokens are neither made nor lost but by what counts them: the rows that changed must balance with the totals.
pub(super) fn conserved(changes: &[Change], before: &Totals, after: &Totals, height: Height) -> Result<(), Fault> {
    let held = |key: &[u8], value: &Option<Bytes>| value.as_ref().map_or(Ok(0), |value| rows::tokens(key, value));
    let mut grown: i128 = 0;
    for (key, was, is) in changes {
        grown += held(key, is)? - held(key, was)?;
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
