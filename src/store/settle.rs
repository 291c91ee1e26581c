//! The store's own thread: puts rows from the journal into sled, flushes what nobody waits for, and gives back files of
//! the journal in which little is needed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::files::{Position, Usage};
use super::layer::Layer;
use super::record::{Place, Value};
use super::{Shared, StoreError};
use crate::types::storage::{Batch, Key};

const HERE: u8 = 0;
const APART: u8 = 1;

/// Even while writers wait a file is looked at after so many layers, or the disk fills with what nobody needs.
const IN_A_ROW: u32 = 8;

/// Bodies that are moved while writers wait, bytes.
const MOVED_BYTES: u64 = 1 << 20;

/// A value as sled has it: a byte that says which, and the value or its place.
pub fn tagged(value: &Value) -> Vec<u8> {
    match value {
        Value::Here(value) => [&[HERE], value.as_ref()].concat(),
        Value::Apart(place) => [&[APART], place.encode().as_slice()].concat(),
    }
}

/// What [`tagged`] wrote.
pub fn untagged(row: sled::IVec) -> Result<Value, String> {
    let value = match row.split_first() {
        Some((&HERE, _)) => Some(Value::Here(Bytes::from_owner(row).slice(1..))),
        Some((&APART, place)) => Place::decode(place).map(Value::Apart),
        _ => None,
    };
    value.ok_or_else(|| "a row is not as it was written".into())
}

/// A key, and where its body is.
type Body = (Vec<u8>, Place);

/// What the thread knows.
pub struct Settler<'a> {
    shared: &'a Shared,
    /// How far the journal is settled for certain: sled says so on the disk.
    settled: Position,
    /// What sled says, not on the disk yet.
    said: Position,
    /// Files to be looked at once, because a crash may have lost how much of them is needed.
    unsure: BTreeSet<u32>,
    /// Files in which little may be needed, to be looked at when there is nothing else to do.
    spare: Vec<u32>,
    /// Layers that were settled since a file was looked at, and the file that was.
    in_a_row: u32,
    looked: u32,
}

impl<'a> Settler<'a> {
    /// For a store as it was opened.
    pub fn new(shared: &'a Shared, settled: Position, unsure: BTreeSet<u32>) -> Settler<'a> {
        let mut settler = Settler { shared, settled, said: settled, unsure, spare: Vec::new(), in_a_row: 0, looked: 0 };
        settler.find_spare();
        settler
    }

    /// Works until the store is closed, or poisoned.
    pub fn run(mut self) {
        let shared = self.shared;
        let poison = |done: Result<(), String>| {
            if let Err(cause) = done {
                shared.poisoned_by("writing", &cause);
            }
        };
        let mut front = shared.front.lock();
        while shared.healthy().is_ok() {
            let waiting = shared.layers.read().settling.clone();
            if self.in_a_row >= IN_A_ROW
                && let Some(number) = self.next_spare()
            {
                self.in_a_row = 0;
                let reclaimed = MutexGuard::unlocked(&mut front, || self.reclaim(number));
                poison(reclaimed);
            } else if let Some((layer, end)) = waiting {
                self.in_a_row += 1;
                let settled = MutexGuard::unlocked(&mut front, || self.settle(&layer, end));
                poison(settled);
                shared.room.notify_all();
            } else if front.closing {
                if shared.layers.read().active.is_empty() {
                    let marked = shared.mark(front.end, true, &self.unsure).map_err(|e| e.to_string());
                    return poison(marked.and_then(|()| shared.flush_rows()));
                }
                shared.hand_over(&mut front);
            } else if front.dirty.is_some_and(|since| Instant::now() >= since + shared.flush_every) {
                // What went wrong has poisoned the store.
                let _ = MutexGuard::unlocked(&mut front, || shared.flush());
            } else if let Some(number) = self.next_spare() {
                self.in_a_row = 0;
                let reclaimed = MutexGuard::unlocked(&mut front, || self.reclaim(number));
                poison(reclaimed);
            } else if let Some(since) = front.dirty {
                shared.work.wait_until(&mut front, since + shared.flush_every);
            } else {
                shared.work.wait(&mut front);
            }
        }
    }

    /// Puts a layer into sled, after everything in it is in the journal on the disk.
    fn settle(&mut self, layer: &Layer, end: Position) -> Result<(), String> {
        let shared = self.shared;
        shared.flush().map_err(|e: StoreError| e.to_string())?;
        layer.each(|key, value| {
            let before = match value {
                Some(value) => shared.rows.insert(key, tagged(value)),
                None => shared.rows.remove(key),
            };
            if let Some(before) = before.map_err(|e| e.to_string())? {
                let before = untagged(before)?;
                if Some(&before) != value.as_ref() {
                    shared.bury(&before);
                }
            }
            Ok::<(), String>(())
        })?;
        // With this the mark before is on the disk as well, and with it all that it speaks of.
        shared.flush_rows()?;
        self.settled = self.said;
        shared.mark(end, false, &BTreeSet::new()).map_err(|e| e.to_string())?;
        self.said = end;
        shared.layers.write().settling = None;
        shared.room.notify_all();
        self.find_spare();
        Ok(())
    }

    /// The oldest behind the one that was looked at last, or the oldest: one that cannot be given back now does not
    /// keep the others waiting.
    fn next_spare(&mut self) -> Option<u32> {
        let at = self.spare.iter().rposition(|number| *number > self.looked).or(self.spare.len().checked_sub(1))?;
        self.looked = self.spare.remove(at);
        Some(self.looked)
    }

    /// Files that are settled for certain, of which half is not needed or nothing is known. The oldest are looked at
    /// first.
    fn find_spare(&mut self) {
        let usage = self.shared.files.usage();
        let is_spare = |(number, usage): &(&u32, &Usage)| self.unsure.contains(number) || usage.dead * 2 >= usage.size;
        self.spare = usage.range(..self.settled.file).filter(is_spare).map(|(number, _)| *number).rev().collect();
    }

    /// Removes a file in which nothing is needed, or moves what is needed out of one in which it is little.
    fn reclaim(&mut self, number: u32) -> Result<(), String> {
        let shared = self.shared;
        let Some(size) = shared.files.usage().get(&number).map(|usage| usage.size) else { return Ok(()) };
        self.unsure.remove(&number);
        let Some(needed) = self.needed(number, size)? else { return Ok(()) };
        let bytes: u64 = needed.iter().map(|(_, place)| u64::from(place.len)).sum();
        shared.files.counted(number, size.saturating_sub(bytes));
        if needed.is_empty() {
            shared.files.remove(number).map_err(|e| e.to_string())
        } else if bytes * 2 < size {
            self.move_on(needed)
        } else {
            Ok(())
        }
    }

    /// The bodies of a file that sled's rows name. None if the file cannot be read to its end: it is left alone.
    fn needed(&self, number: u32, size: u64) -> Result<Option<Vec<Body>>, String> {
        let (mut needed, mut failed) = (Vec::new(), Ok(()));
        let read = self.shared.files.records(number, 0, false, &mut |_, _, rows| {
            for (key, value) in rows {
                let Some(Value::Apart(place)) = value else { continue };
                let now = self.shared.rows.get(&key).map_err(|e| e.to_string());
                match now.and_then(|row| row.map(untagged).transpose()) {
                    Ok(now) if now == Some(Value::Apart(place)) => needed.push((key, place)),
                    Ok(_) => {}
                    Err(e) => {
                        failed = Err(e);
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        });
        failed?;
        Ok(read.is_ok_and(|end| end == size).then_some(needed))
    }

    /// Writes bodies again at the journal's end. Their file can go when that is settled.
    fn move_on(&mut self, needed: Vec<Body>) -> Result<(), String> {
        let shared = self.shared;
        let mut rest = needed.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while bytes < MOVED_BYTES
                && let Some((key, place)) = rest.next()
            {
                // One that cannot be read stays where it is, and its file with it.
                if let Ok(Some(body)) = shared.files.body(&place) {
                    bytes += u64::from(place.len);
                    some.push((key, place, body));
                }
            }
            let mut front = shared.front.lock();
            if shared.is_full(&front, 1) {
                // Nor is there room for those of other files before the next layer is settled.
                self.spare.clear();
                return Ok(());
            }
            let mut batch = Batch::default();
            for (key, place, body) in some {
                if shared.known(&key)? == Some(Value::Apart(place))
                    && let Some(key) = Key::from_bytes(key)
                {
                    batch.put(key, body);
                }
            }
            if !batch.is_empty() {
                shared.append(&mut front, batch).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }
}
