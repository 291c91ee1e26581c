//! The files of a checkpoint: a manifest, chunks named by their hashes, maybe an endorsement.

use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, bail};

use crate::keys::{KeyError, write_new};
use crate::types::{Hash, limits};
use crate::wire::SignedManifest;
use crate::wire::ledger::Endorsement;

/// The manifest's file, and the endorsement's.
pub const MANIFEST: &str = "manifest";
pub const ENDORSEMENT: &str = "endorsement";

/// Writes a chunk, unless it is there.
pub fn keep(dir: &Path, hash: Hash, bytes: &[u8]) -> anyhow::Result<()> {
    let place = dir.join(hash.to_string());
    match write_new(&place, bytes, 0o644) {
        // What has the name and other bytes is found when the checkpoint is verified or joined.
        Err(KeyError::Exists) => read_chunk(dir, hash, bytes.len() as u32).map(drop),
        other => other.with_context(|| format!("cannot write {}", place.display())),
    }
}

pub fn read_manifest(dir: &Path) -> anyhow::Result<SignedManifest> {
    let place = dir.join(MANIFEST);
    let bytes = read(&place, limits::ROW_BYTES).with_context(|| format!("cannot read {}", place.display()))?;
    SignedManifest::decode(&bytes).with_context(|| format!("{} is no manifest of a checkpoint", place.display()))
}

/// The endorsement beside a manifest, if there is one; nothing is checked but its shape.
pub fn read_endorsement(dir: &Path) -> anyhow::Result<Option<Endorsement>> {
    let place = dir.join(ENDORSEMENT);
    let bytes = match read(&place, limits::FRAME_BYTES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("cannot read {}", place.display()))?,
    };
    let read = Endorsement::decode(&bytes);
    read.map(Some).with_context(|| format!("{} is no endorsement", place.display()))
}

/// A chunk's bytes, if they are those that the manifest names.
pub fn read_chunk(dir: &Path, hash: Hash, bytes: u32) -> anyhow::Result<Vec<u8>> {
    let place = dir.join(hash.to_string());
    let found = read(&place, bytes as usize).with_context(|| format!("cannot read {}", place.display()))?;
    if found.len() != bytes as usize || blake3::hash(&found).as_bytes() != hash.as_bytes() {
        bail!("{} is damaged: it is not the chunk that the manifest names", place.display());
    }
    Ok(found)
}

/// A file, up to one byte more than it should have.
fn read(place: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(place)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
