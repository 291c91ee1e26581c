//! The files of the journal: numbered, appended to, each flushed before the next begins.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::record::{self, HEAD_BYTES, Head, Place, Row};

/// How far a body may be from its beginning, bytes; what a file may at most grow to.
pub const FILE_BYTES_MOST: u64 = 1 << 30;

/// A place in the journal: a file and a byte of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file's number.
    pub file: u32,
    /// A byte of it.
    pub at: u32,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("{path}: {cause}")]
    Io { path: PathBuf, cause: io::Error },
    #[error("{path} is damaged at byte {at}: what was written there before is not what is there now")]
    Altered { path: PathBuf, at: u64 },
    #[error("{path} is missing")]
    Missing { path: PathBuf },
}

/// What there is of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of it.
    pub size: u64,
    /// Bytes of them that nobody needs, as far as is known.
    pub dead: u64,
}

/// What is done with a record, where it begins, and its rows.
type Take<'a> = dyn FnMut(&Head, u32, Vec<Row>) -> ControlFlow<()> + 'a;

struct Open {
    file: Arc<File>,
    usage: Usage,
}

/// All files that are there.
pub struct Files {
    dir: PathBuf,
    open: RwLock<BTreeMap<u32, Open>>,
}

impl Files {
    /// Opens what is in `dir`, which is made if it is not there.
    pub fn open(dir: PathBuf) -> Result<Files, Damage> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| Damage::Io { path, cause }
        };
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let mut open = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(failed(&dir))? {
            let path = entry.map_err(failed(&dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".journal"));
            let Some(number) = name.and_then(|name| name.parse().ok()) else { continue };
            let file = OpenOptions::new().read(true).append(true).open(&path).map_err(failed(&path))?;
            let size = file.metadata().map_err(failed(&path))?.len();
            open.insert(number, Open { file: Arc::new(file), usage: Usage { size, dead: 0 } });
        }
        Ok(Files { dir, open: RwLock::new(open) })
    }

    /// Where a file is.
    pub fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:08}.journal"))
    }

    /// Makes an empty file, whose name is on the disk when this returns.
    pub fn begin(&self, number: u32) -> io::Result<Arc<File>> {
        let path = self.path(number);
        let file = Arc::new(OpenOptions::new().read(true).append(true).create_new(true).open(path)?);
        File::open(&self.dir)?.sync_all()?;
        self.open.write().insert(number, Open { file: file.clone(), usage: Usage::default() });
        Ok(file)
    }

    /// The last file.
    pub fn last(&self) -> Option<(u32, Arc<File>)> {
        self.open.read().last_key_value().map(|(number, open)| (*number, open.file.clone()))
    }

    /// Every file and what there is of it.
    pub fn usage(&self) -> BTreeMap<u32, Usage> {
        self.open.read().iter().map(|(number, open)| (*number, open.usage)).collect()
    }

    /// Says that a file has grown, and by how much of what nobody will need once it is settled.
    pub fn grown(&self, number: u32, size: u64, dead: u64) {
        self.change(number, |usage| (usage.size, usage.dead) = (usage.size + size, usage.dead + dead));
    }

    /// Says that nobody needs some more bytes of a file.
    pub fn died(&self, number: u32, dead: u64) {
        self.change(number, |usage| usage.dead += dead);
    }

    /// Says how much of a file nobody needs.
    pub fn counted(&self, number: u32, dead: u64) {
        self.change(number, |usage| usage.dead = dead);
    }

    fn change(&self, number: u32, change: impl FnOnce(&mut Usage)) {
        if let Some(open) = self.open.write().get_mut(&number) {
            change(&mut open.usage);
        }
    }

    /// Removes a file in which nobody needs anything. Who is reading it reads on.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        fs::remove_file(self.path(number))?;
        self.open.write().remove(&number);
        Ok(())
    }

    fn file(&self, number: u32) -> Option<Arc<File>> {
        self.open.read().get(&number).map(|open| open.file.clone())
    }

    /// The body at a place; none if its file is gone.
    pub fn body(&self, place: &Place) -> io::Result<Option<Bytes>> {
        let Some(file) = self.file(place.file) else { return Ok(None) };
        if u64::from(place.at) + u64::from(place.len) > FILE_BYTES_MOST {
            return Err(io::Error::other("a row that says where its value is was damaged"));
        }
        let mut body = vec![0; place.len as usize];
        file.read_exact_at(&mut body, place.at.into())?;
        if crc32fast::hash(&body) == place.sum {
            return Ok(Some(body.into()));
        }
        Err(io::Error::other(format!("{} was altered at byte {}", self.path(place.file).display(), place.at)))
    }

    /// Hands over all records from a position to the journal's end with their file, and cuts off what a crash left of
    /// the last one.
    pub fn replay(&self, from: Position, mut take: impl FnMut(&Head, u32, Vec<Row>)) -> Result<(), Damage> {
        let numbers: Vec<u32> = self.open.read().range(from.file..).map(|(number, _)| *number).collect();
        if numbers.is_empty() && from == Position::default() {
            return Ok(());
        }
        let found = numbers.iter().copied().map(Some).chain([None]);
        let missing = (from.file..).zip(found).find(|(expected, found)| *found != Some(*expected));
        if let Some((file, found)) = missing
            && (found.is_some() || numbers.is_empty())
        {
            return Err(Damage::Missing { path: self.path(file) });
        }
        for &number in &numbers {
            let at = if number == from.file { from.at } else { 0 };
            let mut each = |head: &Head, _: u32, rows| {
                take(head, number, rows);
                ControlFlow::Continue(())
            };
            let good = self.records(number, at, true, &mut each)?;
            let (Some(file), path) = (self.file(number), self.path(number)) else { continue };
            let failed = |cause| Damage::Io { path: path.clone(), cause };
            let size = file.metadata().map_err(failed)?.len();
            if good == size {
                continue;
            }
            let is_cut = good > size || numbers.last() != Some(&number);
            if is_cut || self.is_vouched_for(&file, number, good, size).map_err(failed)? {
                return Err(Damage::Altered { path, at: good });
            }
            file.set_len(good).and_then(|()| file.sync_all()).map_err(failed)?;
            self.change(number, |usage| usage.size = good);
        }
        Ok(())
    }

    /// Hands over the records of a file from `at` on, with where each begins, until one is not whole; says where that
    /// is. Bodies are read and compared with their sums if they are to be `proved`.
    pub fn records(&self, number: u32, at: u32, proved: bool, take: &mut Take<'_>) -> Result<u64, Damage> {
        let path = self.path(number);
        let file = self.file(number).ok_or_else(|| Damage::Missing { path: path.clone() })?;
        let failed = |cause| Damage::Io { path: path.clone(), cause };
        let end = file.metadata().map_err(failed)?.len().min(FILE_BYTES_MOST);
        let (mut at, mut bytes) = (at, Vec::new());
        loop {
            let Some(head) = head_at(&file, at, end).map_err(failed)? else { return Ok(at.into()) };
            bytes.resize(if proved { head.size } else { head.rows } as usize, 0);
            file.read_exact_at(&mut bytes, u64::from(at) + HEAD_BYTES as u64).map_err(failed)?;
            let (rows, bodies) = bytes.split_at(head.rows as usize);
            let said = head.vouches_for(rows, number, at).then(|| record::decode(&head, rows, number, at)).flatten();
            let Some(said) = said.filter(|said| !proved || are_whole(said, bodies)) else { return Ok(at.into()) };
            if take(&head, at, said).is_break() {
                return Ok(at.into());
            }
            at += head.record_bytes() as u32;
        }
    }

    /// Whether a record behind `good` says that what is at `good` was on the disk: then it is no tail that a crash
    /// tore, but was altered.
    fn is_vouched_for(&self, file: &File, number: u32, good: u64, size: u64) -> io::Result<bool> {
        let mut rest = vec![0; (size.min(FILE_BYTES_MOST) - good) as usize];
        file.read_exact_at(&mut rest, good)?;
        for (skipped, window) in rest.windows(HEAD_BYTES).enumerate().skip(1) {
            let at = good + skipped as u64;
            let head = window.first_chunk().and_then(|head| Head::decode(head, at, size));
            let Some(head) = head.filter(|head| u64::from(head.synced) > good) else { continue };
            let from = skipped + HEAD_BYTES;
            let rows = rest.get(from..from + head.rows as usize);
            if rows.is_some_and(|rows| head.vouches_for(rows, number, at as u32)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn head_at(file: &File, at: u32, end: u64) -> io::Result<Option<Head>> {
    if u64::from(at) + HEAD_BYTES as u64 > end {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, at.into())?;
    Ok(Head::decode(&head, at.into(), end))
}

/// Whether every body is what its row says, in the order of the rows.
fn are_whole(rows: &[Row], mut bodies: &[u8]) -> bool {
    rows.iter().filter_map(|(_, value)| value.as_ref()).all(|value| match value {
        record::Value::Here(_) => true,
        record::Value::Apart(place) => {
            let Some((body, rest)) = bodies.split_at_checked(place.len as usize) else { return false };
            bodies = rest;
            crc32fast::hash(body) == place.sum
        }
    })
}
