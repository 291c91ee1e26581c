//! The order in which bundles arrived at this node. Every message has a position, counted from 0, for good.
//!
//! Bundles of one feed that arrive at one time in their order are a run, and a run is one row, so that many small
//! bundles cost little more than a large one.
//!
//! ```text
//!  Bundle  slot            → position 8 │ arrived_ms 8 │ refused count 2, index 4 each │ the bundle's bytes │ its hops, if it is direct
//!  Log     position        → slot of the first bundle 49 │ bundles 4 │ messages 4 │ first stamp 8 │ arrived_ms 8
//!  Span    stamp of the first message, position → clock of the last bundle 8
//!  Correlation  correlation, message id → position 8
//!  Meta    "log"           → the end 8, as it was when rows were last let go
//! ```

use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Stamp, WallMs, limits};
use crate::wire::{Bundle, Hops, Slot, Verified};

/// The end of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    next: u64,
    /// The run at the end, while it may grow.
    open: Option<Run>,
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
    /// The way a direct bundle came.
    pub hops: Option<Hops>,
}

/// Bundles that follow one another in a feed and in the log. Retention takes them from the first on; the row goes with
/// the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Position of the first message.
    pub position: u64,
    /// Where the first bundle is.
    pub slot: Slot,
    /// How many bundles, one or more.
    pub bundles: u32,
    /// How many messages they have.
    pub messages: u32,
    /// The stamp of the first message.
    pub opened: Stamp,
    /// When they arrived.
    pub arrived: WallMs,
}

impl Log {
    /// The log's end as the store has it.
    pub fn load(view: &dyn View) -> Log {
        let start = Key::new(Table::Log, &[]);
        let last = view.last(&start, &start.after_prefix()).and_then(|(key, row)| Run::read(&key, &row));
        let saved = view.get(&end_key()).and_then(|row| Some(u64::from_be_bytes(row.as_ref().try_into().ok()?)));
        Log { next: last.map_or(0, |run| run.end()).max(saved.unwrap_or(0)), open: None }
    }

    /// Writes the end down: rows that lead to it may have been let go.
    pub fn save(&mut self, tx: &mut Txn<'_>) {
        self.open = None;
        tx.put(end_key(), self.next.to_be_bytes().to_vec());
    }

    /// The position the next message will have.
    pub fn end(&self) -> u64 {
        self.next
    }

    /// Keeps a bundle and gives its messages their positions. Returns the first position and the bytes kept.
    pub fn append(&mut self, bundle: &Verified, hops: Option<Hops>, arrived: WallMs, tx: &mut Txn<'_>) -> (u64, u64) {
        let position = self.next;
        self.next += u64::from(bundle.count());
        let stored = Stored {
            position,
            arrived,
            refused: bundle.refused().iter().map(|(index, _)| *index).collect(),
            wire: bundle.wire().clone(),
            hops,
        };
        let row = stored.encode();
        let bytes = row.len() as u64;
        tx.put(Stored::key(bundle.slot()), row);
        let mut run = self.open.filter(|run| run.goes_on_with(bundle, arrived)).unwrap_or(Run {
            position,
            slot: bundle.slot(),
            bundles: 0,
            messages: 0,
            opened: bundle.first().stamp(),
            arrived,
        });
        run.bundles += 1;
        run.messages += bundle.count();
        self.open = Some(run);
        tx.put(log_key(run.position), run.encode());
        tx.put(span_key(run.opened, run.position), bundle.header().clock.0.to_be_bytes().to_vec());
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
        if let Some(hops) = &self.hops {
            row.extend_from_slice(&hops.encode());
        }
        row.freeze()
    }

    /// Reads a row.
    pub fn decode(row: &Bytes) -> Option<Stored> {
        let (position, rest) = row.split_first_chunk::<8>()?;
        let (arrived, rest) = rest.split_first_chunk::<8>()?;
        let (refused, rest) = rest.split_first_chunk::<2>()?;
        let (refused, rest) = rest.split_at_checked(4 * usize::from(u16::from_be_bytes(*refused)))?;
        let (wire, hops) = rest.split_at_checked(Bundle::size_of(rest).unwrap_or(rest.len()).min(rest.len()))?;
        Some(Stored {
            position: u64::from_be_bytes(*position),
            arrived: WallMs(u64::from_be_bytes(*arrived)),
            refused: refused.as_chunks::<4>().0.iter().map(|i| u32::from_be_bytes(*i)).collect(),
            wire: row.slice_ref(wire),
            hops: if hops.is_empty() { None } else { Hops::decode(hops) },
        })
    }

    /// Removes the bundle and everything that leads to it. Returns the bytes let go.
    pub fn remove(slot: Slot, tx: &mut Txn<'_>) -> u64 {
        let key = Stored::key(slot);
        let Some(row) = tx.get(&key) else { return 0 };
        tx.delete(key);
        let Some(stored) = Stored::decode(&row) else { return row.len() as u64 };
        if let Some(run) = Run::at(stored.position, tx).filter(|run| run.last() == slot) {
            tx.delete(log_key(run.position));
            tx.delete(span_key(run.opened, run.position));
        }
        if let Ok(bundle) = Bundle::decode(stored.wire) {
            for (correlation, id) in super::query::correlations(&bundle) {
                tx.delete(correlation_key(&correlation.0, &id.0));
            }
        }
        row.len() as u64
    }
}

impl Run {
    /// Reads a run from its row's key and value.
    pub fn read(key: &[u8], value: &[u8]) -> Option<Run> {
        let position = u64::from_be_bytes(key.get(1..)?.try_into().ok()?);
        let (slot, rest) = value.split_at_checked(Slot::BYTES)?;
        let (bundles, rest) = rest.split_first_chunk::<4>()?;
        let (messages, rest) = rest.split_first_chunk::<4>()?;
        let (opened, arrived) = rest.split_first_chunk::<8>()?;
        Some(Run {
            position,
            slot: Slot::from_bytes(slot)?,
            bundles: u32::from_be_bytes(*bundles),
            messages: u32::from_be_bytes(*messages),
            opened: Stamp(u64::from_be_bytes(*opened)),
            arrived: WallMs(u64::from_be_bytes(arrived.try_into().ok()?)),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let counts = [self.bundles.to_be_bytes(), self.messages.to_be_bytes()].concat();
        let times = [self.opened.0.to_be_bytes(), self.arrived.0.to_be_bytes()].concat();
        [&self.slot.to_bytes()[..], &counts, &times].concat()
    }

    /// The run whose messages include `position`.
    pub fn at(position: u64, view: &dyn View) -> Option<Run> {
        let (key, value) = view.last(&log_key(0), &log_key(position.saturating_add(1)))?;
        Run::read(&key, &value).filter(|run| position < run.end())
    }

    /// One past the position of the last message.
    pub fn end(&self) -> u64 {
        self.position + u64::from(self.messages)
    }

    /// Where the last bundle is.
    pub fn last(&self) -> Slot {
        Slot { sequence: self.slot.sequence + u64::from(self.bundles) - 1, ..self.slot }
    }

    /// Whether a bundle that arrives now is the next of the run. A run spans no more time than a bundle may: ids are
    /// looked for that far back.
    fn goes_on_with(&self, bundle: &Verified, arrived: WallMs) -> bool {
        let next = Slot { sequence: self.slot.sequence + u64::from(self.bundles), ..self.slot };
        let clock = bundle.header().clock;
        let near = clock >= self.opened && clock.ms() - self.opened.ms() <= limits::BUNDLE_SPAN.as_millis() as u64;
        bundle.slot() == next && arrived == self.arrived && near && self.bundles < limits::RUN_BUNDLES
    }

    /// Hands over the bundles that are still kept, in order, beginning with the one that has `position` in it.
    pub fn bundles_from(&self, position: u64, view: &dyn View, visit: &mut dyn FnMut(Slot, Stored) -> ControlFlow<()>) {
        let first = Slot { sequence: self.slot.sequence + self.index_of(position, view), ..self.slot };
        let past = Slot { sequence: self.last().sequence + 1, ..self.slot };
        view.scan(&Stored::key(first), &Stored::key(past), &mut |key, row| match key
            .get(1..)
            .and_then(Slot::from_bytes)
            .zip(Stored::decode(row))
        {
            Some((slot, stored)) => visit(slot, stored),
            None => ControlFlow::Continue(()),
        });
    }

    /// Which of the run's bundles has `position` in it: a binary search, since positions grow, and what retention has
    /// taken lies below the rest.
    fn index_of(&self, position: u64, view: &dyn View) -> u64 {
        let (mut low, mut high) = (0, u64::from(self.bundles));
        while position > self.position && high - low > 1 {
            let middle = low + (high - low) / 2;
            let slot = Slot { sequence: self.slot.sequence + middle, ..self.slot };
            match Stored::load(slot, view) {
                Some(stored) if stored.position > position => high = middle,
                Some(_) | None => low = middle,
            }
        }
        low
    }
}

fn end_key() -> Key {
    Key::new(Table::Meta, &[b"log"])
}

/// The key of the run that begins at `position`.
pub fn log_key(position: u64) -> Key {
    Key::new(Table::Log, &[&position.to_be_bytes()])
}

/// The key of a run by the stamp of its first message.
pub fn span_key(opened: Stamp, position: u64) -> Key {
    Key::new(Table::Span, &[&opened.0.to_be_bytes(), &position.to_be_bytes()])
}

/// The key of a message by its conversation.
pub fn correlation_key(correlation: &[u8; 16], id: &[u8]) -> Key {
    Key::new(Table::Correlation, &[correlation, id])
}
