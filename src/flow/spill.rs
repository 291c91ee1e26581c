//! The overflow of the Normal lane: drafts that wait on the disk, and come back in their order.
//!
//! ```text
//!  Spill  number 8 → version 1 │ drafts, each with its call and place
//! ```
//!
//! Nobody was answered for what is here. After a crash it is said all the same: a client that was not answered must
//! expect either. After a clean stop its callers were told no, and it is gone.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::lanes::Parcel;
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{limits, row};
use crate::wire::Draft;

const VERSION: u8 = 1;
/// A row is cut at about this size, bytes.
const ROW_BYTES: usize = 256 * 1024;

/// Where the overflow begins and ends: the rows are its state.
#[derive(Debug, Default)]
pub struct Spill {
    first: u64,
    next: u64,
    /// Rows below are of a former life: their calls are not those of this one.
    fresh: u64,
    messages: u64,
    bytes: u64,
}

/// A row that the disk has damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// Whether callers of this life wait for what it held.
    pub awaited: bool,
}

#[derive(Serialize, Deserialize)]
struct Row {
    version: u8,
    parcels: Vec<(u64, u64, Draft)>,
}

impl Spill {
    /// As the store has it.
    pub fn load(view: &dyn View) -> Spill {
        let (start, mut spill) = (Key::new(Table::Spill, &[]), Spill::default());
        let mut first = None;
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            if let Some(number) = number(key) {
                first = first.or(Some(number));
                spill.next = number + 1;
                spill.messages += decode(row).map_or(0, |row| row.parcels.len() as u64);
                spill.bytes += row.len() as u64;
            }
            ControlFlow::Continue(())
        });
        Spill { first: first.unwrap_or_default(), fresh: spill.next, ..spill }
    }

    /// Messages and bytes that wait on the disk.
    pub fn depth(&self) -> (u64, u64) {
        (self.messages, self.bytes)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Whether so many bytes more find room.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes as u64 <= limits::SPILL_BYTES
    }

    /// Writes drafts behind all others.
    pub fn push(&mut self, parcels: Vec<Parcel>, tx: &mut Txn<'_>) {
        let (mut row, mut size) = (Row { version: VERSION, parcels: Vec::new() }, 0);
        for parcel in parcels {
            size += parcel.draft.size_bytes();
            row.parcels.push((parcel.call, parcel.index as u64, parcel.draft));
            if size >= ROW_BYTES {
                self.write(std::mem::replace(&mut row, Row { version: VERSION, parcels: Vec::new() }), tx);
                size = 0;
            }
        }
        if !row.parcels.is_empty() {
            self.write(row, tx);
        }
    }

    fn write(&mut self, row: Row, tx: &mut Txn<'_>) {
        self.messages += row.parcels.len() as u64;
        let bytes = row::encode(&row);
        self.bytes += bytes.len() as u64;
        tx.put(key(self.next), bytes);
        self.next += 1;
    }

    /// Takes the oldest row back. Of a former life's drafts the call is 0: nobody waits for them.
    pub fn take(&mut self, tx: &mut Txn<'_>) -> Result<Vec<Parcel>, Unreadable> {
        let mut found = None;
        // Numbers follow each other, unless the disk was damaged.
        tx.scan(&key(self.first), &key(self.next), &mut |key, row| {
            found = number(key).map(|number| (number, row.clone()));
            ControlFlow::Break(())
        });
        let Some((number, bytes)) = found else {
            self.first = self.next;
            return Ok(Vec::new());
        };
        self.first = number + 1;
        tx.delete(key(number));
        self.bytes = self.bytes.saturating_sub(bytes.len() as u64);
        let Some(row) = decode(&bytes) else { return Err(Unreadable { awaited: number >= self.fresh }) };
        self.messages = self.messages.saturating_sub(row.parcels.len() as u64);
        let call = |call: u64| if number < self.fresh { 0 } else { call };
        let parcel = |(from, index, draft)| Parcel { draft, call: call(from), index: index as usize };
        Ok(row.parcels.into_iter().map(parcel).collect())
    }

    /// Every draft that waits.
    pub fn each(&self, view: &dyn View, visit: &mut dyn FnMut(&Draft)) {
        let (from, to) = (key(self.first), key(self.next));
        view.scan(&from, &to, &mut |_, row| {
            decode(row).iter().flat_map(|row| &row.parcels).for_each(|(_, _, draft)| visit(draft));
            ControlFlow::Continue(())
        });
    }

    /// Drops what callers of this life wait for: they are told no.
    pub fn forget_fresh(&mut self, tx: &mut Txn<'_>) {
        for number in self.first.max(self.fresh)..self.next {
            let key = key(number);
            let Some(bytes) = tx.get(&key) else { continue };
            self.bytes = self.bytes.saturating_sub(bytes.len() as u64);
            self.messages = self.messages.saturating_sub(decode(&bytes).map_or(0, |row| row.parcels.len() as u64));
            tx.delete(key);
        }
        self.next = self.next.min(self.first.max(self.fresh));
    }
}

fn key(number: u64) -> Key {
    Key::new(Table::Spill, &[&number.to_be_bytes()])
}

/// None of a key that no program writes.
fn number(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes).filter(|number| *number < u64::MAX / 2)
}

fn decode(row: &[u8]) -> Option<Row> {
    row::decode(row).filter(|found: &Row| found.version == VERSION)
}
