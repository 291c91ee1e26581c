//! How a store is opened: its schema, what the journal has that sled has not, and stores of the first schema.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::files::{Damage, Files, Position};
use super::layer::Layer;
use super::record::Value;
use super::{Front, Layers, Limits, SCHEMA, Shared, Store, StoreError, StoreOptions, Written};
use crate::types::row;
use crate::types::storage::{Batch, Key, Table};

/// The tree that says which schema the store has; with schema 1 all rows were in it.
const FIRST_TREE: &str = "metanode";
const ROWS_TREE: &str = "rows";
const MARKS_TREE: &str = "journal";

const MARK: &[u8] = b"mark";

/// Segments of stores that were made with schema 1, bytes; later ones have sled's own size.
const FIRST_SEGMENT_BYTES: usize = 4 << 20;

/// How long a store may seem to be in use after it was closed.
const LOCKED_FOR: Duration = Duration::from_millis(500);

/// Rows of the first schema that are taken over at a time, bytes.
const MOVED_BYTES: usize = 1 << 20;

/// How far the journal is settled.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Mark {
    file: u32,
    at: u32,
    /// The store was closed after this was written.
    pub is_closed: bool,
    /// Bytes of each file that nobody needs.
    dead: Vec<(u32, u64)>,
}

impl Mark {
    pub fn position(&self) -> Position {
        Position { file: self.file, at: self.at }
    }
}

impl Shared {
    /// Writes how far the journal is settled. It is on the disk with sled's next flush.
    pub(super) fn mark(&self, settled: Position, is_closed: bool) -> sled::Result<()> {
        let dead = self.files.usage().into_iter().map(|(number, usage)| (number, usage.dead)).collect();
        let mark = Mark { file: settled.file, at: settled.at, is_closed, dead };
        self.marks.insert(MARK, row::encode(&mark)).map(|_| ())
    }
}

/// What a store is opened as: how far its journal was settled, and the files of which that is not known for certain.
pub struct Opened {
    pub shared: Shared,
    pub settled: Position,
    pub unsure: BTreeSet<u32>,
}

pub fn open(options: &StoreOptions, limits: Limits) -> Result<Opened, StoreError> {
    let path = &options.path;
    fs::create_dir_all(path).map_err(|source| StoreError::Folder { path: path.clone(), source })?;
    let config = sled::Config::new().path(path).cache_capacity(options.cache_bytes).flush_every_ms(None);
    let failed = |e: sled::Error| StoreError::open(path, &e);
    let db = unlocked(config, path)?;
    check_schema(&db, options)?;
    let (rows, marks) = (db.open_tree(ROWS_TREE).map_err(failed)?, db.open_tree(MARKS_TREE).map_err(failed)?);
    let damaged = |cause: &str| StoreError::Open { path: path.clone(), cause: cause.into() };
    let mark = match marks.get(MARK).map_err(failed)? {
        None => Mark { is_closed: true, ..Mark::default() },
        Some(mark) => row::decode(&mark).ok_or_else(|| damaged("how far its journal is settled cannot be read"))?,
    };
    let broken = |e: Damage| damaged(&e.to_string());
    let files = Files::open(path.join("journal")).map_err(broken)?;
    for (number, dead) in &mark.dead {
        files.counted(*number, *dead);
    }
    let settled = mark.position();
    let (layer, since) = replay(&files, settled).map_err(broken)?;
    let (number, file) = match files.last() {
        Some(last) => last,
        None => (0, files.begin(0).map_err(|e| damaged(&e.to_string()))?),
    };
    let synced = file.sync_all().and_then(|()| file.metadata()).map_err(|e| damaged(&e.to_string()))?;
    let end = Position { file: number, at: u32::try_from(synced.len()).unwrap_or(u32::MAX) };
    let unsure = if mark.is_closed { BTreeSet::new() } else { files.usage().into_keys().collect() };
    let front = Front { file, end, synced: end.at, since, dirty: None, closing: false, buffer: Vec::new() };
    let shared = Shared {
        db,
        rows,
        marks,
        files,
        front: Mutex::new(front),
        layers: RwLock::new(Layers { active: layer.into(), settling: None }),
        work: Condvar::new(),
        room: Condvar::new(),
        limits,
        flush_every: Duration::from_millis(options.flush_every_ms.max(1)),
        path: path.clone(),
        poison: OnceLock::new(),
        written: Written::default(),
    };
    Ok(Opened { shared, settled, unsure })
}

/// Opens the database. sled's own threads hold its lock for a moment after it was closed.
fn unlocked(config: sled::Config, path: &Path) -> Result<sled::Db, StoreError> {
    let until = Instant::now() + LOCKED_FOR;
    loop {
        let opened = match config.open() {
            Err(sled::Error::Unsupported(_)) => config.clone().segment_size(FIRST_SEGMENT_BYTES).open(),
            opened => opened,
        };
        match opened.map_err(|e| StoreError::open(path, &e)) {
            Err(StoreError::InUse { .. }) if Instant::now() < until => thread::sleep(LOCKED_FOR / 50),
            opened => return opened,
        }
    }
}

fn schema_key() -> Key {
    Key::new(Table::Meta, &[b"schema"])
}

/// The tree of the first schema says which one it is; a program that knows only the first reads it as well.
fn check_schema(db: &sled::Db, options: &StoreOptions) -> Result<(), StoreError> {
    let failed = |e: sled::Error| StoreError::open(&options.path, &e);
    let first = db.open_tree(FIRST_TREE).map_err(failed)?;
    let Some(row) = first.get(schema_key().as_bytes()).map_err(failed)? else {
        first.insert(schema_key().into_bytes(), &SCHEMA.to_be_bytes()).map_err(failed)?;
        return db.flush().map(|_| ()).map_err(failed);
    };
    let found = row.as_ref().try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
    let is_known = (1..=SCHEMA).contains(&found);
    let path = options.path.clone();
    if is_known { Ok(()) } else { Err(StoreError::Schema { path, found, known: SCHEMA }) }
}

/// The rows that are in the journal and not in sled, and how many bytes of it they take.
fn replay(files: &Files, settled: Position) -> Result<(Layer, u64), Damage> {
    let (layer, mut since) = (Layer::default(), 0);
    files.replay(settled, |head, number, rows| {
        let bodies: u64 = rows.iter().filter_map(|(_, value)| value.as_ref()?.body_bytes()).sum();
        since += head.record_bytes();
        files.died(number, head.record_bytes() - bodies);
        layer.put(rows, |over| {
            if let Value::Apart(place) = over {
                files.died(place.file, place.len.into());
            }
        });
    })?;
    Ok((layer, since))
}

/// Takes over the rows of a store of the first schema, all of which sled held.
pub fn migrate(store: &Store) -> Result<(), StoreError> {
    let shared = &*store.shared;
    let failed = |e: sled::Error| shared.poisoned_by("taking over the first schema", &e);
    let first = shared.db.open_tree(FIRST_TREE).map_err(failed)?;
    let schema = schema_key();
    let others = || first.iter().filter(|pair| pair.as_ref().is_ok_and(|(key, _)| *key != schema.as_bytes()));
    if first.get(schema.as_bytes()).map_err(failed)?.is_some_and(|row| *row == 1_u32.to_be_bytes()) {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for pair in others() {
            let (key, value) = pair.map_err(failed)?;
            bytes += key.len() + value.len();
            if let Some(key) = Key::from_bytes(key.to_vec()) {
                batch.put(key, Bytes::copy_from_slice(&value));
            }
            if bytes >= MOVED_BYTES {
                store.commit(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        store.commit(batch)?;
        store.flush()?;
        first.insert(schema.as_bytes(), &SCHEMA.to_be_bytes()).map_err(failed)?;
        shared.db.flush().map_err(failed)?;
    }
    for pair in others() {
        first.remove(pair.map_err(failed)?.0).map_err(failed)?;
    }
    Ok(())
}
