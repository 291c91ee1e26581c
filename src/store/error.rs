//! What can be wrong with the disk.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot make the folder {path}: {source}; choose another with --dir, or mend its permissions")]
    Folder { path: PathBuf, source: io::Error },
    #[error("the store at {path} is in use by another process; stop that node first, or give this one another --dir")]
    InUse { path: PathBuf },
    #[error(
        "cannot open the store at {path}: {cause}. If it is damaged, restore a copy of the folder, or move it away: the \
         node then starts with an empty one and catches up from its peers"
    )]
    Open { path: PathBuf, cause: String },
    #[error(
        "cannot open the store at {path}: it has more files than this process may open, one for each 64 MiB of its \
         journal; raise `ulimit -n`"
    )]
    Descriptors { path: PathBuf },
    #[error(
        "the store at {path} has schema {found} and this program knows {known}: it was written by a newer metanode; \
         run that one, or start with an empty --dir and let the node catch up from its peers"
    )]
    Schema { path: PathBuf, found: u32, known: u32 },
    #[error(
        "the store at {path} failed while {cause}; nothing more is written. Check the disk (is it full?), then start \
         the node again: what was acknowledged as durable is there"
    )]
    Poisoned { path: PathBuf, cause: String },
}

impl StoreError {
    pub(super) fn open(path: &Path, error: &sled::Error) -> StoreError {
        let cause = error.to_string();
        // sled reports a lock that is held as an I/O error with the lock's own text.
        if cause.contains("could not acquire lock") {
            return StoreError::InUse { path: path.into() };
        }
        StoreError::Open { path: path.into(), cause }
    }
}
