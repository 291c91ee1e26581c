//! sled behind [`View`] and [`Batch`]: one tree, atomic batches, a schema version, and poison.
//!
//! Shell, blocking; knows nothing of tokio or of what it keeps. A write or a read that fails poisons the store for the
//! rest of the process: nothing more is written or answered, because nobody can say what the disk holds any more.

mod error;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
pub use error::StoreError;

use crate::types::storage::{Batch, Key, Table, View, Visit};

/// The layout of the rows; see `docs/storage.md`. A store of a newer one is not opened.
pub const SCHEMA: u32 = 1;

/// A segment of sled's log. A page of more than a quarter of it becomes a file of its own, made and removed again at
/// every change of the page; a page has up to 16 rows, and a bundle's row up to 60 KiB. With sled's own 512 KiB a
/// saturated node spent a tenth of its time making files.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The folder; made if it is not there.
    pub path: PathBuf,
    /// Memory for pages, bytes.
    pub cache_bytes: u64,
    /// What was written reaches the disk by itself after this long, milliseconds.
    pub flush_every_ms: u64,
}

/// The store of a node.
pub struct Store {
    tree: sled::Tree,
    db: sled::Db,
    path: PathBuf,
    poison: OnceLock<String>,
    written: Written,
}

/// What was written since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Batches that were not empty.
    pub commits: u64,
    /// Rows put or removed.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Flushes that were waited for.
    pub flushes: u64,
}

#[derive(Debug, Default)]
struct Written {
    commits: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    flushes: AtomicU64,
}

impl Store {
    /// Opens the store, or makes a new one.
    pub fn open(options: &StoreOptions) -> Result<Store, StoreError> {
        let path = &options.path;
        fs::create_dir_all(path).map_err(|source| StoreError::Folder { path: path.clone(), source })?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(Some(options.flush_every_ms.max(1)));
        let db = match config.clone().segment_size(SEGMENT_BYTES).open() {
            // Made before segments were longer: it keeps its own.
            Err(sled::Error::Unsupported(_)) => config.open(),
            opened => opened,
        };
        let db = db.map_err(|e| StoreError::open(path, &e))?;
        let tree = db.open_tree("metanode").map_err(|e| StoreError::open(path, &e))?;
        let store = Store { tree, db, path: path.clone(), poison: OnceLock::new(), written: Written::default() };
        store.check_schema()?;
        Ok(store)
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        let key = Key::new(Table::Meta, &[b"schema"]);
        let row = self.get(&key);
        self.healthy()?;
        let Some(row) = row else {
            let mut batch = Batch::default();
            batch.put(key, SCHEMA.to_be_bytes().to_vec());
            self.commit(batch)?;
            return self.flush();
        };
        let found = row.as_ref().try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
        // Version 1 is the first there is: anything else was written by a program that knows more.
        if found == SCHEMA { Ok(()) } else { Err(StoreError::Schema { path: self.path.clone(), found, known: SCHEMA }) }
    }

    /// A number that marks where this store is: a copy of it elsewhere, or one brought back from a backup, has another.
    pub fn place(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        // A file system gives the inode of what was removed to the next that comes: what was born then is another.
        let born = |m: &fs::Metadata| m.created().ok()?.duration_since(UNIX_EPOCH).ok().map(|at| at.as_nanos() as u64);
        let of = |m: fs::Metadata| m.ino() ^ m.dev().rotate_left(32) ^ born(&m).unwrap_or(0).rotate_left(7);
        let mark = |path: &Path| fs::metadata(path).map(of).unwrap_or(0);
        mark(&self.path).rotate_left(17) ^ mark(&self.path.join("db"))
    }

    /// Makes a batch true, all of it or nothing. It may be lost with the machine until the next flush.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.healthy()?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut writes = sled::Batch::default();
        let (mut rows, mut bytes) = (0, 0);
        for (key, value) in batch.into_writes() {
            rows += 1;
            bytes += key.as_bytes().len() + value.as_ref().map_or(0, |value| value.len());
            match value {
                Some(value) => writes.insert(key.into_bytes(), value.as_ref()),
                None => writes.remove(key.into_bytes()),
            }
        }
        self.written.commits.fetch_add(1, Ordering::Relaxed);
        self.written.rows.fetch_add(rows, Ordering::Relaxed);
        self.written.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.tree.apply_batch(writes).map_err(|e| self.poisoned_by("writing", &e))
    }

    /// Waits until everything committed is on the disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.healthy()?;
        self.written.flushes.fetch_add(1, Ordering::Relaxed);
        self.db.flush().map(|_| ()).map_err(|e| self.poisoned_by("flushing", &e))
    }

    /// An error if any read or write has failed.
    pub fn healthy(&self) -> Result<(), StoreError> {
        match self.poison.get() {
            Some(cause) => Err(StoreError::Poisoned { path: self.path.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// What was written since it was opened.
    pub fn writes(&self) -> Writes {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Written { commits, rows, bytes, flushes } = &self.written;
        Writes { commits: of(commits), rows: of(rows), bytes: of(bytes), flushes: of(flushes) }
    }

    /// Size on the disk, bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    fn poisoned_by(&self, doing: &str, error: &sled::Error) -> StoreError {
        let cause = format!("{doing}: {error}");
        let _ = self.poison.set(cause.clone());
        StoreError::Poisoned { path: self.path.clone(), cause }
    }

    fn visit_all(&self, pairs: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>, visit: &mut Visit<'_>) {
        for pair in pairs {
            match pair {
                Ok((key, value)) => {
                    if visit(&key, &Bytes::from_owner(value)) == ControlFlow::Break(()) {
                        return;
                    }
                }
                Err(e) => {
                    self.poisoned_by("reading", &e);
                    return;
                }
            }
        }
    }
}

impl View for Store {
    fn get(&self, key: &Key) -> Option<Bytes> {
        match self.tree.get(key.as_bytes()) {
            Ok(value) => value.map(Bytes::from_owner),
            Err(e) => {
                self.poisoned_by("reading", &e);
                None
            }
        }
    }

    fn scan(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        if from < to {
            self.visit_all(self.tree.range(from.as_bytes()..to.as_bytes()), visit);
        }
    }

    fn scan_back(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        if from < to {
            self.visit_all(self.tree.range(from.as_bytes()..to.as_bytes()).rev(), visit);
        }
    }
}

#[cfg(test)]
mod tests;
