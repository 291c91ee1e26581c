//! sled behind [`View`] and [`Batch`], a journal before it, a schema version, and poison.
//!
//! Shell, blocking; knows nothing of tokio or of what it keeps. A batch is one record at the end of the journal and rows
//! in memory; when there are many, a thread of the store's own settles them in sled, after the journal is on the disk.
//! Large values stay where they were written first, in the journal, and their rows say where (the separation of keys
//! and values of WiscKey, Lu et al., FAST 2016). `docs/storage.md` has the bytes and the reasons.
//!
//! A write or a read that fails poisons the store for the rest of the process: nothing more is written or answered,
//! because nobody can say what the disk holds any more.

mod error;
mod files;
mod layer;
mod open;
mod record;
mod scan;
mod settle;

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
pub use error::StoreError;
use files::{Files, Position};
use layer::Layer;
use open::Opened;
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use record::{Record, Standing, Value};
use settle::Settler;

use crate::types::storage::{Batch, Key, View, Visit};

/// The layout of the rows; see `docs/storage.md`. A store of a newer one is not opened.
pub const SCHEMA: u32 = 3;

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

/// When what is in memory and in the journal moves on.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Rows of this many bytes in memory are settled. Twice as many are not taken before that is done.
    layer_bytes: usize,
    /// The same after this much of the journal, bytes: it is what has to be read after a crash.
    layer_journal_bytes: u64,
    /// A file that has grown to this is ended, bytes.
    file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { layer_bytes: 4 << 20, layer_journal_bytes: 64 << 20, file_bytes: 64 << 20 }
    }
}

/// The store of a node.
pub struct Store {
    shared: Arc<Shared>,
    settler: Option<JoinHandle<()>>,
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

/// What the store's own thread shares with everyone else.
struct Shared {
    db: sled::Db,
    /// sled's own file.
    pages: File,
    /// Rows that are settled.
    rows: sled::Tree,
    /// How far the journal is settled.
    marks: sled::Tree,
    files: Files,
    front: Mutex<Front>,
    layers: RwLock<Layers>,
    /// There is something to settle or to flush, or the store is closed.
    work: Condvar,
    /// A layer has been settled.
    room: Condvar,
    /// Held while the journal is brought to the disk: of several who wait for that at once, the disk tells only one
    /// that it failed.
    syncing: Mutex<()>,
    limits: Limits,
    flush_every: Duration,
    path: PathBuf,
    poison: OnceLock<String>,
    written: Written,
}

/// The end of the journal. Its order is the order in which batches become true.
struct Front {
    file: Arc<File>,
    end: Position,
    /// Up to where `file` is on the disk.
    synced: u32,
    /// How much of the journal the active layer takes, bytes.
    since: u64,
    /// When the first thing was written that is not on the disk.
    dirty: Option<Instant>,
    closing: bool,
    buffer: Vec<u8>,
}

/// What is newer than sled.
struct Layers {
    active: Arc<Layer>,
    /// What is being settled, and where the journal goes on after it.
    settling: Option<(Arc<Layer>, Position)>,
}

impl Store {
    /// Opens the store, or makes a new one.
    pub fn open(options: &StoreOptions) -> Result<Store, StoreError> {
        Store::open_within(options, Limits::default())
    }

    fn open_within(options: &StoreOptions, limits: Limits) -> Result<Store, StoreError> {
        let Opened { shared, settled, unsure } = open::open(options, limits)?;
        let shared = Arc::new(shared);
        let work = {
            let shared = shared.clone();
            move || shared.guard(|| Settler::new(&shared, settled, unsure).run())
        };
        let settler = std::thread::Builder::new().name("settler".into()).spawn(work);
        let settler = settler.map_err(|e| StoreError::Open { path: options.path.clone(), cause: e.to_string() })?;
        let store = Store { shared, settler: Some(settler) };
        open::migrate(&store)?;
        Ok(store)
    }

    /// A number that marks where this store is: a copy of it elsewhere, or one brought back from a backup, has another.
    pub fn place(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        // A file system gives the inode of what was removed to the next that comes: what was born then is another.
        let born = |m: &fs::Metadata| m.created().ok()?.duration_since(UNIX_EPOCH).ok().map(|at| at.as_nanos() as u64);
        let of = |m: fs::Metadata| m.ino() ^ m.dev().rotate_left(32) ^ born(&m).unwrap_or(0).rotate_left(7);
        let mark = |path: &Path| fs::metadata(path).map(of).unwrap_or(0);
        let path = &self.shared.path;
        mark(path).rotate_left(17) ^ mark(&path.join("db"))
    }

    /// Makes a batch true, all of it or nothing. It may be lost with the machine until the next flush.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.healthy()?;
        if batch.is_empty() {
            return Ok(());
        }
        let shared = &*self.shared;
        let mut front = shared.front.lock();
        let bytes = shared.append(&mut front, batch)?;
        let written = &shared.written;
        written.commits.fetch_add(1, Ordering::Relaxed);
        written.rows.fetch_add(bytes.rows, Ordering::Relaxed);
        written.bytes.fetch_add(bytes.bytes, Ordering::Relaxed);
        shared.make_room(front)
    }

    /// Waits until everything committed is on the disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.healthy()?;
        self.shared.written.flushes.fetch_add(1, Ordering::Relaxed);
        self.shared.flush()
    }

    /// An error if any read or write has failed.
    pub fn healthy(&self) -> Result<(), StoreError> {
        self.shared.healthy()
    }

    /// What was written since it was opened.
    pub fn writes(&self) -> Writes {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Written { commits, rows, bytes, flushes } = &self.shared.written;
        Writes { commits: of(commits), rows: of(rows), bytes: of(bytes), flushes: of(flushes) }
    }

    /// Size on the disk, bytes.
    pub fn disk_bytes(&self) -> u64 {
        let journal: u64 = self.shared.files.usage().values().map(|usage| usage.size).sum();
        self.shared.db.size_on_disk().unwrap_or(0) + journal
    }

    fn close(&mut self) {
        self.shared.front.lock().closing = true;
        self.shared.work.notify_all();
        if let Some(settler) = self.settler.take() {
            let _ = settler.join();
        }
    }
}

impl Drop for Store {
    /// Settles what is in memory, so that the next start reads nothing twice.
    fn drop(&mut self) {
        self.close();
    }
}

/// What a batch was.
struct Size {
    rows: u64,
    bytes: u64,
}

impl Shared {
    fn healthy(&self) -> Result<(), StoreError> {
        match self.poison.get() {
            Some(cause) => Err(StoreError::Poisoned { path: self.path.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Does the work of the store's own thread. If it panics, nobody waits for it any more.
    fn guard(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            self.poisoned_by("settling", &"its thread panicked; the panic is on standard error");
        }
        // Whoever has looked at the poison and not begun to wait holds this.
        drop(self.front.lock());
        self.room.notify_all();
    }

    fn poisoned_by(&self, doing: &str, error: &dyn Display) -> StoreError {
        let cause = format!("{doing}: {error}");
        let _ = self.poison.set(cause.clone());
        StoreError::Poisoned { path: self.path.clone(), cause }
    }

    /// Writes a batch at the journal's end, and lets readers see it.
    fn append(&self, front: &mut Front, batch: Batch) -> Result<Size, StoreError> {
        // Behind what was not written whole nothing is found again.
        self.healthy()?;
        let failed = |e: &dyn Display| self.poisoned_by("writing", e);
        if u64::from(front.end.at) > files::FILE_BYTES_MOST / 2 {
            self.rotate(front).map_err(|e| failed(&e))?;
        }
        let standing = Standing { file: front.end.file, at: front.end.at, synced: front.synced };
        let record = record::encode(batch.into_writes(), standing, &mut front.buffer);
        let record = record.filter(|record| u64::from(standing.at) + record.size <= files::FILE_BYTES_MOST);
        let Record { said, bodies, size: whole } = record.ok_or_else(|| failed(&"a batch is too large"))?;
        let parts = [front.buffer.as_slice()].into_iter().chain(bodies.iter().map(|body| body.as_ref()));
        let mut parts: Vec<IoSlice<'_>> = parts.map(IoSlice::new).collect();
        write_whole(&front.file, &mut parts).map_err(|e| failed(&e))?;
        if front.buffer.capacity() > BUFFER_BYTES {
            front.buffer = Vec::new();
        }
        let bytes = said.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, value_bytes)) as u64).sum();
        let size = Size { rows: said.len() as u64, bytes };
        let bodies: u64 = bodies.iter().map(|body| body.len() as u64).sum();
        self.files.grown(front.end.file, whole, whole - bodies);
        front.end.at += whole as u32;
        front.since += whole;
        let active = self.layers.read().active.clone();
        active.put(said, |over| self.bury(over));
        if front.dirty.is_none() {
            front.dirty = Some(Instant::now());
            self.work.notify_one();
        }
        Ok(size)
    }

    /// A value is not needed any more.
    fn bury(&self, value: &Value) {
        if let Value::Apart(place) = value {
            self.files.died(place.file, place.len.into());
        }
    }

    /// Hands the active layer over when it is full, and waits where the one before it is not settled for too long.
    fn make_room(&self, mut front: MutexGuard<'_, Front>) -> Result<(), StoreError> {
        loop {
            let is_busy = self.layers.read().settling.is_some();
            if !self.is_full(&front, if is_busy { 2 } else { 1 }) {
                return Ok(());
            }
            if !is_busy {
                self.hand_over(&mut front);
                return Ok(());
            }
            self.healthy()?;
            self.room.wait(&mut front);
        }
    }

    /// Whether the active layer is as many times as large as one that is settled.
    fn is_full(&self, front: &Front, times: u32) -> bool {
        let Limits { layer_bytes, layer_journal_bytes, .. } = self.limits;
        let bytes = self.layers.read().active.bytes();
        bytes >= layer_bytes * times as usize || front.since >= layer_journal_bytes * u64::from(times)
    }

    /// The active layer is settled from now on, and another takes what comes.
    fn hand_over(&self, front: &mut Front) {
        let mut layers = self.layers.write();
        let full = std::mem::take(&mut layers.active);
        layers.settling = Some((full, front.end));
        front.since = 0;
        self.work.notify_one();
    }

    /// Ends the journal's file and begins another.
    fn rotate(&self, front: &mut Front) -> io::Result<()> {
        self.sync(&front.file)?;
        let number = front.end.file + 1;
        front.file = self.files.begin(number)?;
        (front.end, front.synced) = (Position { file: number, at: 0 }, 0);
        Ok(())
    }

    /// Brings a file of the journal to the disk. Not while another does, nor after it failed.
    fn sync(&self, file: &File) -> io::Result<()> {
        let _syncing = self.syncing.lock();
        self.healthy().map_err(io::Error::other)?;
        file.sync_data().inspect_err(|e| drop(self.poisoned_by("flushing", e)))
    }

    /// Brings what sled was given to the disk. sled itself only hands it to the system.
    fn flush_rows(&self) -> Result<(), String> {
        self.db.flush().map_err(|e| e.to_string())?;
        self.pages.sync_all().map_err(|e| e.to_string())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let failed = |e: io::Error| self.poisoned_by("flushing", &e);
        let (file, end) = {
            let mut front = self.front.lock();
            front.dirty = None;
            (front.file.clone(), front.end)
        };
        self.sync(&file).map_err(failed)?;
        let mut front = self.front.lock();
        if front.end.file != end.file {
            return Ok(());
        }
        front.synced = front.synced.max(end.at);
        if u64::from(front.end.at) >= self.limits.file_bytes {
            self.rotate(&mut front).map_err(failed)?;
        }
        Ok(())
    }

    fn layers(&self) -> [Option<Arc<Layer>>; 2] {
        let layers = self.layers.read();
        [Some(layers.active.clone()), layers.settling.as_ref().map(|(layer, _)| layer.clone())]
    }

    /// What is known of a key, newest first.
    fn known(&self, key: &[u8]) -> Result<Option<Value>, String> {
        if let Some(known) = self.layers().iter().flatten().find_map(|layer| layer.get(key)) {
            return Ok(known);
        }
        self.rows.get(key).map_err(|e| e.to_string())?.map(settle::untagged).transpose()
    }

    /// The value itself.
    fn value(&self, key: &[u8]) -> Result<Option<Bytes>, String> {
        loop {
            let place = match self.known(key)? {
                None => return Ok(None),
                Some(Value::Here(value)) => return Ok(Some(value)),
                Some(Value::Apart(place)) => place,
            };
            match self.files.body(&place).map_err(|e| e.to_string())? {
                Some(body) => return Ok(Some(body)),
                // It was moved while it was looked for: its row says something else now.
                None if self.known(key)? != Some(Value::Apart(place)) => {}
                None => return Err(format!("{} is missing", self.files.path(place.file).display())),
            }
        }
    }
}

/// Writes all parts, one after the other.
fn write_whole(mut file: &File, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !parts.is_empty() {
        match file.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A buffer of more than this is given back after use, bytes.
const BUFFER_BYTES: usize = 1 << 20;

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Here(value) => value.len(),
        Value::Apart(place) => place.len as usize,
    }
}

impl View for Store {
    fn get(&self, key: &Key) -> Option<Bytes> {
        self.shared.value(key.as_bytes()).unwrap_or_else(|e| {
            self.shared.poisoned_by("reading", &e);
            None
        })
    }

    fn scan(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        self.shared.scan(from.as_bytes(), to.as_bytes(), false, visit);
    }

    fn scan_back(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        self.shared.scan(from.as_bytes(), to.as_bytes(), true, visit);
    }
}

#[cfg(test)]
mod tests;
