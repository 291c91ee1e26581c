//! How a store is opened: its schema, what the journal has that sled has not, and stores of the first schema.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use rustix::io::Errno;
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
    /// Writes how far the journal is settled, and how much of its files nobody needs, but for those of which that is not
    /// certain. It is on the disk with sled's next flush.
    pub(super) fn mark(&self, settled: Position, is_closed: bool, unsure: &BTreeSet<u32>) -> sled::Result<()> {
        let certain = self.files.usage().into_iter().filter(|(number, _)| !unsure.contains(number));
        let dead = certain.map(|(number, usage)| (number, usage.dead)).collect();
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
    let found = check_schema(&db, options)?;
    let (rows, marks) = (db.open_tree(ROWS_TREE).map_err(failed)?, db.open_tree(MARKS_TREE).map_err(failed)?);
    let damaged = |cause: &str| StoreError::Open { path: path.clone(), cause: cause.into() };
    let broken = |e: Damage| match e {
        Damage::Io { cause, .. } if is_too_many(&cause) => StoreError::Descriptors { path: path.clone() },
        e => damaged(&e.to_string()),
    };
    let lost = |e: io::Error| damaged(&e.to_string());
    let pages = File::open(path.join("db")).map_err(lost)?;
    let files = Files::open(path.join("journal")).map_err(broken)?;
    if found == 1 {
        forget_attempt(&db, &pages, (&rows, &marks), &files).map_err(|e| damaged(&e))?;
    }
    for folder in [path.as_path()].into_iter().chain(path.parent().filter(|above| *above != Path::new(""))) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(lost)?;
    }
    let mark = match marks.get(MARK).map_err(failed)? {
        None => Mark { is_closed: true, ..Mark::default() },
        Some(mark) => row::decode(&mark).ok_or_else(|| damaged("how far its journal is settled cannot be read"))?,
    };
    for (number, dead) in &mark.dead {
        files.counted(*number, *dead);
    }
    let settled = mark.position();
    let (layer, since) = replay(&files, settled).map_err(broken)?;
    let (number, file) = match files.last() {
        Some(last) => last,
        None => (0, files.begin(0).map_err(lost)?),
    };
    let synced = file.sync_all().and_then(|()| file.metadata()).map_err(lost)?;
    let end = Position { file: number, at: u32::try_from(synced.len()).unwrap_or(u32::MAX) };
    let is_counted = |number: &u32| mark.is_closed && mark.dead.iter().any(|(counted, _)| counted == number);
    let unsure = files.usage().into_keys().filter(|number| !is_counted(number)).collect();
    let front = Front { file, end, synced: end.at, since, dirty: None, closing: false, buffer: Vec::new() };
    let shared = Shared {
        db,
        pages,
        rows,
        marks,
        files,
        front: Mutex::new(front),
        layers: RwLock::new(Layers { active: layer.into(), settling: None }),
        work: Condvar::new(),
        room: Condvar::new(),
        syncing: Mutex::new(()),
        limits,
        flush_every: Duration::from_millis(options.flush_every_ms.max(1)),
        path: path.clone(),
        poison: OnceLock::new(),
        written: Written::default(),
    };
    // From now on what is needed changes: after a crash it has to be counted anew.
    shared.mark(settled, false, &BTreeSet::new()).map_err(failed)?;
    shared.flush_rows().map_err(|e| damaged(&e))?;
    Ok(Opened { shared, settled, unsure })
}

fn is_too_many(cause: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| cause.raw_os_error() == Some(errno.raw_os_error()))
}

/// Removes what an attempt to take over a store of the first schema has left, that did not come to its end: an older
/// program may have gone on with that store since.
fn forget_attempt(
    db: &sled::Db,
    pages: &File,
    (rows, marks): (&sled::Tree, &sled::Tree),
    files: &Files,
) -> Result<(), String> {
    rows.clear().and_then(|()| marks.clear()).and_then(|()| db.flush()).map_err(|e| e.to_string())?;
    pages.sync_all().map_err(|e| e.to_string())?;
    // The last first: without a mark, a journal has to be whole from its beginning.
    files.usage().into_keys().rev().try_for_each(|number| files.remove(number)).map_err(|e| e.to_string())
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
fn check_schema(db: &sled::Db, options: &StoreOptions) -> Result<u32, StoreError> {
    let failed = |e: sled::Error| StoreError::open(&options.path, &e);
    let first = db.open_tree(FIRST_TREE).map_err(failed)?;
    let Some(row) = first.get(schema_key().as_bytes()).map_err(failed)? else {
        first.insert(schema_key().into_bytes(), &SCHEMA.to_be_bytes()).map_err(failed)?;
        return db.flush().map(|_| SCHEMA).map_err(failed);
    };
    let found = row.as_ref().try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
    let is_known = (1..=SCHEMA).contains(&found);
    if (2..SCHEMA).contains(&found) {
        // The rows that an older program would not understand come only after this.
        first.insert(schema_key().into_bytes(), &SCHEMA.to_be_bytes()).map_err(failed)?;
        db.flush().map_err(failed)?;
    }
    let path = options.path.clone();
    if is_known { Ok(found) } else { Err(StoreError::Schema { path, found, known: SCHEMA }) }
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
    let is_schema =
        |pair: &sled::Result<(sled::IVec, sled::IVec)>| pair.as_ref().is_ok_and(|(key, _)| *key == schema.as_bytes());
    let others = || first.iter().filter(|pair| !is_schema(pair));
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
        shared.flush_rows().map_err(|e| shared.poisoned_by("taking over the first schema", &e))?;
    }
    for pair in others() {
        first.remove(pair.map_err(failed)?.0).map_err(failed)?;
    }
    Ok(())
}
