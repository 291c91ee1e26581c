//! The thread that writes agreement's log: one file for each height, appended to and flushed, so that the owner does
//! not wait for the disk.
//!
//! Files are `<dir>/<height>.log`. When a height begins the file of the one before goes: by then the block is applied
//! and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc as tokio_mpsc;

use crate::consensus::Record;
use crate::consensus::journal::{self, JournalFault, Owner};
use crate::types::chain::Height;

/// Why agreement's log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "agreement's log {path}: {cause}; without it this node must not vote, so it stops. Free space, or mend the disk, and start it again"
    )]
    Io { path: PathBuf, cause: io::Error },
    #[error(
        "agreement's log {path} is refused: {fault}. It says what this validator has voted, and to forget that is to \
         vote twice. Restore the file, or wait with `validator = false` until the network has decided its height"
    )]
    Fault { path: PathBuf, fault: JournalFault },
    #[error(
        "agreement's log {path} was taken away while this validator was writing it, so it stops. Put the file back if \
         you have it; without it this node does not vote again before its height is decided"
    )]
    Gone { path: PathBuf },
    #[error(
        "agreement's log {path} is of a later height than the store's next one, {next}: the store is an older copy. To \
         vote now could be to vote twice; start with `chain.validator = false` until this node has caught up"
    )]
    Ahead { path: PathBuf, next: Height },
}

/// A height's log, open for more.
pub struct Journal {
    dir: PathBuf,
    owner: Owner,
    file: Option<File>,
    frames: u32,
}

impl Journal {
    /// Opens the log of a height as a crash left it, and says what is in it.
    pub fn open(dir: &Path, owner: Owner) -> Result<(Journal, Vec<Record>), JournalError> {
        let mut journal = Journal { dir: dir.into(), owner, file: None, frames: 0 };
        let path = journal.path();
        let failed = |cause| JournalError::Io { path: path.clone(), cause };
        fs::create_dir_all(dir).map_err(failed)?;
        journal
            .only_this()
            .map_err(failed)?
            .map_or(Ok(()), |path| Err(JournalError::Ahead { path, next: owner.height }))?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((journal, Vec::new())),
            Err(e) => return Err(failed(e)),
        };
        let found = journal::read(&bytes, &owner).map_err(|fault| JournalError::Fault { path: path.clone(), fault })?;
        journal.frames = found.frames;
        if found.good_bytes > 0 {
            let mend = || {
                let mut file = OpenOptions::new().append(true).open(&path)?;
                file.set_len(found.good_bytes as u64)?;
                file.write_all(found.mend)?;
                file.sync_all()?;
                Ok(file)
            };
            journal.file = Some(mend().map_err(failed)?);
        }
        Ok((journal, found.records))
    }

    /// Removes the logs of heights that are over; the path of one that has not come, if there is one.
    fn only_this(&self) -> io::Result<Option<PathBuf>> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log"));
            match name.and_then(|height| height.parse().ok()).map(Height) {
                Some(later) if later > self.owner.height => return Ok(Some(path)),
                Some(over) if over < self.owner.height => fs::remove_file(&path)?,
                Some(_) | None => {}
            }
        }
        Ok(None)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.owner.height))
    }

    /// Writes records, and returns when they are on the disk.
    pub fn write(&mut self, records: &[(Height, Record)]) -> Result<(), JournalError> {
        for part in records.chunk_by(|one, other| one.0 == other.0) {
            let height = part.first().map_or(self.owner.height, |(height, _)| *height);
            let records: Vec<Record> = part.iter().map(|(_, record)| record.clone()).collect();
            let written = self.append(height, &records);
            written.map_err(|cause| JournalError::Io { path: self.path(), cause })?;
            if !self.is_there() {
                return Err(JournalError::Gone { path: self.path() });
            }
        }
        Ok(())
    }

    /// Whether the file that is written is the one that the next start will read.
    fn is_there(&self) -> bool {
        let written = self.file.as_ref().and_then(|file| file.metadata().ok());
        let named = fs::metadata(self.path()).ok();
        written.zip(named).is_some_and(|(one, other)| (one.dev(), one.ino()) == (other.dev(), other.ino()))
    }

    fn append(&mut self, height: Height, records: &[Record]) -> io::Result<()> {
        if height != self.owner.height {
            fs::remove_file(self.path())
                .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
            self.owner.height = height;
            (self.file, self.frames) = (None, 0);
        }
        let is_new = self.file.is_none();
        if is_new {
            let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(self.path())?;
            file.write_all(&journal::header(&self.owner))?;
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            let mut rest = records;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(journal::fitting(rest).min(rest.len()));
                file.write_all(&journal::frame(&self.owner, self.frames, now))?;
                self.frames += 1;
                rest = later;
            }
            file.sync_data()?;
        }
        // The file's name must last as well.
        if is_new { File::open(&self.dir)?.sync_all() } else { Ok(()) }
    }
}

/// A step's number and its records.
type Written = (u64, Vec<(Height, Record)>);

/// Writes when told; several waiting steps are one flush.
pub struct Scribe {
    steps: Option<mpsc::Sender<Written>>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Starts the thread. Results come as the highest number of a step whose records are on the disk.
    pub fn start(
        mut journal: Journal,
        done: tokio_mpsc::UnboundedSender<Result<u64, JournalError>>,
    ) -> io::Result<Scribe> {
        let (steps, queue) = mpsc::channel::<Written>();
        let work = move || {
            while let Ok((mut number, mut records)) = queue.recv() {
                for (later, more) in queue.try_iter() {
                    number = later;
                    records.extend(more);
                }
                let written = journal.write(&records);
                let failed = written.is_err();
                if done.send(written.map(|()| number)).is_err() || failed {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("agreement-log".into()).spawn(work)?;
        Ok(Scribe { steps: Some(steps), thread: Some(thread) })
    }

    /// Hands over a step's records.
    pub fn write(&self, number: u64, records: Vec<(Height, Record)>) {
        if let Some(steps) = &self.steps {
            // The receiver lives as long as the thread does; if it died, the owner hears it from the closed results.
            let _ = steps.send((number, records));
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Wait;
    use crate::types::chain::ChainId;
    use crate::types::{Hash, NodeId};

    fn owner(height: u64) -> Owner {
        Owner { chain: ChainId(Hash([9; 32])), node: NodeId([1; 32]), height: Height(height) }
    }

    fn records(height: u64, rounds: std::ops::Range<u32>) -> Vec<(Height, Record)> {
        rounds.map(|round| (Height(height), Record::Timeout { wait: Wait::Propose, round })).collect()
    }

    fn reopen(dir: &Path, height: u64) -> Vec<Record> {
        Journal::open(dir, owner(height)).unwrap().1
    }

    fn only(records: Vec<(Height, Record)>) -> Vec<Record> {
        records.into_iter().map(|(_, record)| record).collect()
    }

    #[test]
    fn what_was_written_is_there_again_and_the_log_of_a_decided_height_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, before) = Journal::open(dir.path(), owner(1)).unwrap();
        assert_eq!(before, []);
        journal.write(&records(1, 0..2)).unwrap();
        journal.write(&records(1, 2..3)).unwrap();
        assert_eq!(reopen(dir.path(), 1), only(records(1, 0..3)));
        let (mut journal, _) = Journal::open(dir.path(), owner(1)).unwrap();
        journal.write(&[records(1, 3..4), records(2, 0..1)].concat()).unwrap();
        assert_eq!(reopen(dir.path(), 2), only(records(2, 0..1)));
        let refused = Journal::open(dir.path(), owner(1)).err().unwrap();
        assert!(matches!(refused, JournalError::Ahead { next: Height(1), .. }), "{refused}");
        assert_eq!(reopen(dir.path(), 3), []);
        assert!(!dir.path().join("2.log").exists(), "a height that is over");
    }

    #[test]
    fn a_torn_end_is_cut_off_and_an_altered_byte_refused_with_the_files_name() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), owner(1)).unwrap();
        journal.write(&records(1, 0..1)).unwrap();
        journal.write(&records(1, 1..2)).unwrap();
        let path = dir.path().join("1.log");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        let (mut journal, found) = Journal::open(dir.path(), owner(1)).unwrap();
        assert_eq!(found, only(records(1, 0..1)));
        journal.write(&records(1, 5..6)).unwrap();
        assert_eq!(reopen(dir.path(), 1), only([records(1, 0..1), records(1, 5..6)].concat()));
        let mut altered = whole;
        altered[journal::HEADER_BYTES + 30] ^= 1;
        fs::write(&path, altered).unwrap();
        let refused = Journal::open(dir.path(), owner(1)).err().unwrap().to_string();
        assert!(refused.contains("1.log") && refused.contains("altered"), "{refused}");
    }

    #[test]
    fn a_log_that_is_taken_away_is_noticed_with_the_next_word() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), owner(1)).unwrap();
        journal.write(&records(1, 0..1)).unwrap();
        let (path, elsewhere) = (dir.path().join("1.log"), dir.path().join("kept"));
        fs::rename(&path, &elsewhere).unwrap();
        let gone = journal.write(&records(1, 1..2)).unwrap_err().to_string();
        assert!(gone.contains("1.log") && gone.contains("taken away"), "{gone}");
        fs::copy(&elsewhere, &path).unwrap();
        assert!(matches!(journal.write(&records(1, 2..3)), Err(JournalError::Gone { .. })), "a copy is another file");
        journal.write(&records(2, 0..1)).unwrap();
    }

    #[test]
    fn a_full_disk_is_told_to_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), owner(1)).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("2.log")).unwrap();
        let (done, mut results) = tokio_mpsc::unbounded_channel();
        let scribe = Scribe::start(journal, done).unwrap();
        scribe.write(1, records(1, 0..1));
        assert!(matches!(results.blocking_recv(), Some(Ok(1))));
        scribe.write(2, records(2, 0..1));
        let error = results.blocking_recv().unwrap().unwrap_err().to_string();
        assert!(error.contains("2.log") && error.contains("No space left"), "{error}");
        assert!(results.blocking_recv().is_none(), "nothing is written after a failure");
    }
}
