//! The roll of a floor: the writes that count below it, in order of version and digest, and the root they come to.
//!
//! ```text
//!  Roll  collection, 00, number 8, version 24, what the root counts the write as 32 → nothing
//!  root = derived("roll", for each write: version 24 ‖ what the root counts it as 32; how many 8)
//! ```
//!
//! The root of a collection is a sum, which whoever chooses digests freely can bring to any value. A roll comes from a
//! peer as nothing but digests, so its root is a hash of all of them.

use std::ops::ControlFlow;

use super::floor::Floor;
use super::index::Entry;
use crate::types::storage::{Key, Table, View};
use crate::types::{Domain, Hash, Version};

/// What a roll comes to as it is read, from its first write on.
#[derive(Clone, Debug)]
pub struct RollRoot {
    hasher: blake3::Hasher,
    count: u64,
}

impl Default for RollRoot {
    fn default() -> RollRoot {
        RollRoot { hasher: Domain::Roll.hasher(), count: 0 }
    }
}

impl RollRoot {
    /// The next write of the roll.
    pub fn add(&mut self, entry: &Entry) {
        self.hasher.update(&entry.version.to_bytes());
        self.hasher.update(entry.digest.as_bytes());
        self.count += 1;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The floor whose roll it is, if there is no more.
    pub fn floor(&self, version: Version) -> Floor {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.count.to_be_bytes());
        Floor { version, count: self.count, root: Hash(*hasher.finalize().as_bytes()) }
    }
}

/// All rows of a roll.
pub(super) fn roll_key(collection: &str, roll: u64) -> Key {
    Key::new(Table::Roll, &[collection.as_bytes(), &[0], &roll.to_be_bytes()])
}

/// The row of a write on a roll.
pub(super) fn entry_key(collection: &str, roll: u64, entry: &Entry) -> Key {
    let (version, digest) = (entry.version.to_bytes(), entry.digest);
    Key::new(Table::Roll, &[collection.as_bytes(), &[0], &roll.to_be_bytes(), &version, digest.as_bytes()])
}

/// A page of a roll, after an entry. True if there is more.
pub(super) fn page(
    collection: &str,
    roll: u64,
    after: Option<Entry>,
    most: usize,
    view: &dyn View,
) -> (Vec<Entry>, bool) {
    let all = roll_key(collection, roll);
    let from = after.map(|after| entry_key(collection, roll, &after));
    let mut found = Vec::new();
    view.scan(from.as_ref().unwrap_or(&all), &all.after_prefix(), &mut |key, _| {
        found.extend(read_entry(key).filter(|entry| Some(*entry) > after));
        if found.len() <= most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let more = found.len() > most;
    found.truncate(most);
    (found, more)
}

fn read_entry(key: &[u8]) -> Option<Entry> {
    let (rest, digest) = key.split_last_chunk::<32>()?;
    let (_, version) = rest.split_last_chunk::<{ Version::BYTES }>()?;
    Some(Entry { version: Version::from_bytes(version)?, digest: Hash(*digest) })
}
