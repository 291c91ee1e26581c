//! Which write stands where only one can, in memory: what a new write competes with is found without a search in the
//! store, and where nothing stands nothing is read.
//!
//! A unit is known by 16 bytes of its BLAKE3 hash. To find two with the same takes 2^64 tries; whoever is told of a
//! version reads its row under the unit's own key, so that even then nothing of another unit is taken.

use super::access::is_lasting;
use super::hashed::{Hashed, Name};
use super::unit::{Part, Unit};
use crate::types::Version;

/// Where something stands: registers, shares of counters, prefix deletes. Not sets, nor rules of access and floors: of
/// those more than one write is retained.
#[derive(Debug, Default)]
pub struct Standing {
    units: Hashed,
}

impl Standing {
    /// Of what is retained, oldest first, each as [`Standing::unit`] has it.
    pub fn of_all(retained: &[(Name, Version)]) -> Standing {
        Standing { units: Hashed::of(retained) }
    }

    /// A retained write; none where more than one can be.
    pub fn unit(unit: &Unit, version: Version) -> Option<(Name, Version)> {
        is_single(unit).then(|| (name(unit), version))
    }

    /// A write is retained from now on.
    pub fn enter(&mut self, unit: &Unit, version: Version) {
        if is_single(unit) {
            self.units.insert(name(unit), version);
        }
    }

    /// A write is not retained any more. What took its place may have come before.
    pub fn leave(&mut self, unit: &Unit, version: Version) {
        if is_single(unit) {
            self.units.remove(&name(unit), version);
        }
    }

    /// What stands in a unit in which only one write can.
    pub fn of(&self, unit: &Unit) -> Option<Version> {
        self.units.get(&name(unit))
    }

    /// What it takes in memory, bytes, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.units.memory_bytes()
    }
}

/// Whether at most one write of a unit is retained at a time.
pub fn is_single(unit: &Unit) -> bool {
    match unit.part {
        Part::Prefix | Part::Register | Part::Counter => !is_lasting(unit),
        Part::Set | Part::Named | Part::Element => false,
    }
}

/// The beginning of a unit's hash.
fn name(unit: &Unit) -> Name {
    let hash = blake3::hash(&unit.bytes());
    let (words, _) = hash.as_bytes().as_chunks();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}
