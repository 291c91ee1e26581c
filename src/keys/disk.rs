//! Private files: written whole or not at all, never over another, read only when nobody else can.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::KeyError;

/// Mode bits that let group or others read or write.
const OTHERS: u32 = 0o066;

/// Writes a new file with `mode` (less the process's umask): whole or not at all, on disk when this returns. Missing
/// directories on the way are made with mode 0700. An existing file is refused and stays as it is.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(KeyError::Write)?;
    let temporary = temporary_beside(path, directory)?;
    let outcome = write_all(&temporary, bytes, mode).and_then(|()| publish(&temporary, path));
    // After a rename it is gone already; after a failure there is nothing better to do than to try.
    let _ = fs::remove_file(&temporary);
    outcome.map_err(|e| if e.kind() == ErrorKind::AlreadyExists { KeyError::Exists } else { KeyError::Write(e) })?;
    File::open(directory).and_then(|d| d.sync_all()).map_err(KeyError::Write)
}

/// Writes a file that may be there already: what is read is the old one or the new one, whole.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_beside(path, directory)?;
    let outcome = write_all(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if outcome.is_err() {
        // There is nothing better to do than to try.
        let _ = fs::remove_file(&temporary);
    }
    outcome.and_then(|()| File::open(directory)?.sync_all()).map_err(KeyError::Write)
}

fn temporary_beside(path: &Path, directory: &Path) -> Result<PathBuf, KeyError> {
    let name = path.file_name().ok_or_else(|| KeyError::Write(ErrorKind::IsADirectory.into()))?;
    let suffix = getrandom::u64().map_err(KeyError::Randomness)?;
    Ok(directory.join(format!(".{}.{suffix:016x}", name.to_string_lossy())))
}

fn write_all(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives the finished file its name. A hard link, unlike a rename, fails when the name is taken.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        // Some file systems have no hard links; there a look before the rename must do.
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
            if fs::symlink_metadata(path).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(temporary, path)
        }
        outcome => outcome,
    }
}

/// The bytes of a secret file of at most `limit` bytes. A regular file that other users can read or write is refused;
/// a pipe is taken as it comes.
pub(super) fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let missing_or = |e: io::Error| if e.kind() == ErrorKind::NotFound { KeyError::Missing } else { KeyError::Read(e) };
    let file = File::open(path).map_err(missing_or)?;
    let metadata = file.metadata().map_err(KeyError::Read)?;
    if metadata.is_file() && metadata.mode() & OTHERS != 0 {
        return Err(KeyError::Exposed { mode: metadata.mode() & 0o7777 });
    }
    // Room for all of it: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit as usize + 1));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(KeyError::Read)?;
    if bytes.len() as u64 > limit { Err(KeyError::TooLarge { limit }) } else { Ok(bytes) }
}
