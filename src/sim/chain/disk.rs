//! The file of agreement's log on a simulated disk: what was flushed lasts, of what was being written a beginning may.

use crate::consensus::Record;
use crate::consensus::journal::{self, Owner};
use crate::sim::rng::Rng;
use crate::types::chain::Height;

/// A step's records, and the number its words wait for.
pub type Written = (u64, Vec<(Height, Record)>);

/// The log of one height, and what is on its way to the disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Whose file is there; none before the first record.
    owner: Option<Owner>,
    bytes: Vec<u8>,
    frames: u32,
    /// Handed over, and not begun.
    waiting: Vec<Written>,
    /// Being written.
    writing: Option<Written>,
    /// Records handed over in all lives.
    pub records: u64,
    /// It says that it has what it was given, and loses it with the power: for tests of the judges.
    pub forgetful: bool,
}

impl Disk {
    /// What the log holds of a height, as a new life reads it; a half-written end is cut off.
    pub fn open(&mut self, next: Owner) -> Result<Vec<Record>, String> {
        match &self.owner {
            Some(owner) if owner.height == next.height => {}
            Some(owner) if owner.height > next.height => {
                return Err(format!("the log is of {}, and the store's next height is {}", owner.height, next.height));
            }
            Some(_) | None => {
                (self.owner, self.frames) = (None, 0);
                self.bytes.clear();
                return Ok(Vec::new());
            }
        }
        let found = journal::read(&self.bytes, &next).map_err(|fault| fault.to_string())?;
        self.bytes.truncate(found.good_bytes);
        self.bytes.extend(found.mend);
        self.frames = found.frames;
        if found.good_bytes == 0 {
            self.owner = None;
        }
        Ok(found.records)
    }

    /// The height whose log is there.
    pub fn height(&self) -> Option<Height> {
        self.owner.map(|owner| owner.height)
    }

    /// The file is gone, with what was on its way to it.
    pub fn lose(&mut self) {
        *self = Disk { records: self.records, forgetful: self.forgetful, ..Disk::default() };
    }

    /// Hands over a step's records; true when the disk is to begin.
    pub fn write(&mut self, written: Written) -> bool {
        self.records += written.1.len() as u64;
        self.waiting.push(written);
        self.begin()
    }

    /// Begins with everything that waits, as one flush, if the disk is free.
    fn begin(&mut self) -> bool {
        if self.writing.is_some() || self.waiting.is_empty() {
            return false;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let number = waiting.iter().map(|(number, _)| *number).max().unwrap_or_default();
        self.writing = Some((number, waiting.into_iter().flat_map(|(_, records)| records).collect()));
        true
    }

    /// The flush is done: the number it served, and whether the next begins.
    pub fn flushed(&mut self, owner: Owner) -> Option<(u64, bool)> {
        let (number, records) = self.writing.take()?;
        self.append(owner, &records);
        Some((number, self.begin()))
    }

    fn append(&mut self, owner: Owner, records: &[(Height, Record)]) {
        for part in records.chunk_by(|one, other| one.0 == other.0) {
            let Some((height, _)) = part.first() else { continue };
            let owner = Owner { height: *height, ..owner };
            if self.owner != Some(owner) {
                (self.owner, self.frames) = (Some(owner), 0);
                self.bytes = journal::header(&owner).to_vec();
            }
            let records: Vec<Record> = part.iter().map(|(_, record)| record.clone()).collect();
            self.bytes.extend(journal::frame(&owner, self.frames, &records));
            self.frames += 1;
        }
    }

    /// Power is lost: of what was being written all is there, or nothing, or a beginning, maybe with zeros behind it.
    pub fn crash(&mut self, owner: Owner, torn: Option<bool>, rng: &mut Rng) {
        self.waiting.clear();
        if self.forgetful {
            (self.owner, self.writing) = (None, None);
        }
        let Some((_, records)) = self.writing.take() else { return };
        match torn {
            Some(false) => self.append(owner, &records),
            Some(true) => self.tear(owner, &records, rng),
            None if rng.chance(300) => self.append(owner, &records),
            None if rng.chance(500) => self.tear(owner, &records, rng),
            None => {}
        }
    }

    /// A new file may be torn anywhere; in an old one what was there before stays.
    fn tear(&mut self, owner: Owner, records: &[(Height, Record)], rng: &mut Rng) {
        let (before, same) = (self.bytes.len(), self.owner);
        self.append(owner, records);
        let begin = if self.owner == same { before } else { 0 };
        let whole = self.bytes.len();
        self.bytes.truncate(begin + rng.below(whole - begin));
        if rng.chance(300) {
            self.bytes.resize(whole, 0);
        }
    }

    /// The process stops without losing power: what was being written is there.
    pub fn stop(&mut self, owner: Owner) {
        while self.flushed(owner).is_some() {}
    }

    /// The disk is full: what was being written is not there, or in part.
    pub fn fail(&mut self, owner: Owner, rng: &mut Rng) {
        self.crash(owner, Some(true), rng);
    }
}
