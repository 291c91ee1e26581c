//! The order in which bundles arrived at this node. Every message has a position, counted from 0, for good.
//!
//! ```text
//!  Bundle  slot            → position 8 │ arrived_ms 8 │ refused count 2, index 4 each │ the bundle's bytes
//!  Log     position        → slot 49 │ count 4 │ arrived_ms 8
//!  Span    clock, position → slot 49 │ stamp of the first message 8
//!  Correlation  correlation, message id → position 8
//!  Meta    "log"           → the end 8, as it was when rows were last let go
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Stamp, WallMs};
use crate::wire::{Bundle, Slot, Verified};

/// The end of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    next: u64,
}

/// A bundle as it is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Position of its first message.
    pub position: u64,
    /// When it arrived, by this node's clock.
    pub arrived: WallMs,
    /// Indices of messages that break a rule of their kind.
    pub refused: Vec<u32>,
    /// The bytes that arrived.
    pub wire: Bytes,
}

/// One row of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Position of the bundle's first message.
    pub position: u64,
    /// Where the bundle is.
    pub slot: Slot,
    /// How many messages it has.
    pub count: u32,
    /// When it arrived.
    pub arrived: WallMs,
}

impl Log {
    /// The log's end as the store has it.
    pub fn load(view: &dyn View) -> Log {
        let start = Key::new(Table::Log, &[]);
        let last = view.last(&start, &start.after_prefix()).and_then(|(key, row)| Row::read(&key, &row));
        let saved = view.get(&end_key()).and_then(|row| Some(u64::from_be_bytes(row.as_ref().try_into().ok()?)));
        Log { next: last.map_or(0, |row| row.position + u64::from(row.count)).max(saved.unwrap_or(0)) }
    }

    /// Writes the end down: rows that lead to it may have been let go.
    pub fn save(&self, tx: &mut Txn<'_>) {
        tx.put(end_key(), self.next.to_be_bytes().to_vec());
    }

    /// The position the next message will have.
    pub fn end(&self) -> u64 {
        self.next
    }

    /// Keeps a bundle and gives its messages their positions. Returns the first position and the bytes kept.
    pub fn append(&mut self, bundle: &Verified, arrived: WallMs, tx: &mut Txn<'_>) -> (u64, u64) {
        let (position, slot) = (self.next, bundle.slot().to_bytes());
        self.next += u64::from(bundle.count());
        let stored = Stored {
            position,
            arrived,
            refused: bundle.refused().iter().map(|(index, _)| *index).collect(),
            wire: bundle.wire().clone(),
        };
        let row = stored.encode();
        let bytes = row.len() as u64;
        tx.put(Stored::key(bundle.slot()), row);
        let (count, ms) = (bundle.count().to_be_bytes(), arrived.0.to_be_bytes());
        tx.put(log_key(position), [&slot[..], &count, &ms].concat());
        let first = bundle.first().stamp().0.to_be_bytes();
        tx.put(span_key(bundle.header().clock, position), [&slot[..], &first].concat());
        for entry in bundle.correlated() {
            let at = position + u64::from(entry.index);
            tx.put(correlation_key(&entry.correlation.0, &entry.id.0), at.to_be_bytes().to_vec());
        }
        (position, bytes)
    }
}

impl Stored {
    /// The row's key.
    pub fn key(slot: Slot) -> Key {
        Key::new(Table::Bundle, &[&slot.to_bytes()])
    }

    /// The bundle in `slot`.
    pub fn load(slot: Slot, view: &dyn View) -> Option<Stored> {
        Stored::decode(&view.get(&Stored::key(slot))?)
    }

    fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(18 + 4 * self.refused.len() + self.wire.len());
        row.put_u64(self.position);
        row.put_u64(self.arrived.0);
        row.put_u16(self.refused.len() as u16);
        for index in &self.refused {
            row.put_u32(*index);
        }
        row.extend_from_slice(&self.wire);
        row.freeze()
    }

    /// Reads a row.
    pub fn decode(row: &Bytes) -> Option<Stored> {
        let (position, rest) = row.split_first_chunk::<8>()?;
        let (arrived, rest) = rest.split_first_chunk::<8>()?;
        let (refused, rest) = rest.split_first_chunk::<2>()?;
        let (refused, wire) = rest.split_at_checked(4 * usize::from(u16::from_be_bytes(*refused)))?;
        Some(Stored {
            position: u64::from_be_bytes(*position),
            arrived: WallMs(u64::from_be_bytes(*arrived)),
            refused: refused.as_chunks::<4>().0.iter().map(|i| u32::from_be_bytes(*i)).collect(),
            wire: row.slice_ref(wire),
        })
    }

    /// Removes the bundle and everything that leads to it. Returns the bytes let go.
    pub fn remove(slot: Slot, tx: &mut Txn<'_>) -> u64 {
        let key = Stored::key(slot);
        let Some(row) = tx.get(&key) else { return 0 };
        tx.delete(key);
        let Some(stored) = Stored::decode(&row) else { return row.len() as u64 };
        tx.delete(log_key(stored.position));
        if let Ok(bundle) = Bundle::decode(stored.wire) {
            tx.delete(span_key(bundle.header().clock, stored.position));
            for (correlation, id) in super::query::correlations(&bundle) {
                tx.delete(correlation_key(&correlation.0, &id.0));
            }
        }
        row.len() as u64
    }
}

impl Row {
    /// Reads a row from its key and value.
    pub fn read(key: &[u8], value: &[u8]) -> Option<Row> {
        let position = u64::from_be_bytes(key.get(1..)?.try_into().ok()?);
        let (slot, rest) = value.split_at_checked(Slot::BYTES)?;
        let (count, arrived) = rest.split_first_chunk::<4>()?;
        Some(Row {
            position,
            slot: Slot::from_bytes(slot)?,
            count: u32::from_be_bytes(*count),
            arrived: WallMs(u64::from_be_bytes(arrived.try_into().ok()?)),
        })
    }
}

fn end_key() -> Key {
    Key::new(Table::Meta, &[b"log"])
}

/// The key of the log's row that begins at `position`.
pub fn log_key(position: u64) -> Key {
    Key::new(Table::Log, &[&position.to_be_bytes()])
}

/// The key of a bundle by the stamp of its last message.
pub fn span_key(clock: Stamp, position: u64) -> Key {
    Key::new(Table::Span, &[&clock.0.to_be_bytes(), &position.to_be_bytes()])
}

/// The key of a message by its conversation.
pub fn correlation_key(correlation: &[u8; 16], id: &[u8]) -> Key {
    Key::new(Table::Correlation, &[correlation, id])
}
