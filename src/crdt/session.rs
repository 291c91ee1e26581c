//! Comparing a collection with a peer's: what to ask next, and what follows from the answers.
//!
//! ```text
//!  sums of ranges ──▶ sums of parts ──▶ lists ──▶ wanted ──▶ writes
//!                                         └──▶ surplus: what the peer lacks is given to it
//! ```
//!
//! The newest ranges are short and come first, because what differs after a partition is new. The peer remembers
//! nothing, so frames may be under way together, and one that is not answered to its end is asked again from there.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{LIST, boundary, divide, salted, tag};
use super::index::{Entry, Index, Range};
use crate::types::{Version, limits};
use crate::wire::{Mode, Part, Ranges, Tag};

/// Writes in the newest range, and ranges of one length at the newest end before they become twice as long.
const FIRST: u64 = 16;
const STRIDE: u64 = 4;
/// Parts that a range in which the peer differs is divided into, at most.
const SPLIT: u64 = 64;

/// What an answer has that no honest one does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Nonsense(pub &'static str);

/// What is to be asked about a range.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Ask {
    /// Whether the sums differ.
    Sum,
    /// Whether the writes differ, though sums do not.
    Audit,
    /// For these writes.
    Tags(BTreeSet<Tag>),
    /// For all writes.
    All,
}

/// A frame that was asked, kept until it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    top: Version,
    /// Newest first; what is between them was not asked about.
    parts: Vec<(Range, Ask)>,
}

/// What came of a session so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Writes the peer listed that are not here.
    pub promised: u64,
    /// Those of them that came, and those that did not although the peer was asked and said that it was all.
    pub kept: u64,
    pub broken: u64,
    /// Writes the peer did not list that are here.
    pub surplus: u64,
}

/// One side of the comparison of one collection.
#[derive(Debug)]
pub struct Session {
    salt: [u8; 8],
    /// By the lowest version of each range; ranges do not overlap.
    todo: BTreeMap<Version, (Version, Ask)>,
    /// Tags in `todo`.
    tags: usize,
    surplus: Vec<Entry>,
    found: Found,
}

impl Session {
    /// Compares everything below a version.
    pub fn whole(index: Option<&Index>, below: Version, salt: [u8; 8]) -> Session {
        let mut session = Session::empty(salt);
        match index.filter(|index| index.rank(below) > 0) {
            Some(index) => {
                for range in newest_first(index, below) {
                    session.put(range, Ask::Sum);
                }
            }
            None => session.put(Version::default()..below, Ask::All),
        }
        session
    }

    /// Compares so many writes one by one, those from a rank on.
    pub fn audit(index: &Index, rank: u64, count: u64, salt: [u8; 8]) -> Session {
        let mut session = Session::empty(salt);
        let (low, high) = (boundary(index, rank), boundary(index, rank.saturating_add(count)));
        session.put(low..high, Ask::Audit);
        session
    }

    fn empty(salt: [u8; 8]) -> Session {
        Session { salt, todo: BTreeMap::new(), tags: 0, surplus: Vec::new(), found: Found::default() }
    }

    /// What tags are made with.
    pub fn salt(&self) -> [u8; 8] {
        self.salt
    }

    /// What came of it so far.
    pub fn found(&self) -> Found {
        self.found
    }

    /// Whether there is nothing left to ask or to give.
    pub fn is_idle(&self) -> bool {
        self.todo.is_empty() && self.surplus.is_empty()
    }

    /// Whether there is something to give.
    pub fn has_surplus(&self) -> bool {
        !self.surplus.is_empty()
    }

    /// Up to so many writes the peer lacks; the caller gives back those it does not hand over: see [`Session::keep`].
    pub fn give(&mut self, most: usize) -> Vec<Entry> {
        self.surplus.drain(..most.min(self.surplus.len())).collect()
    }

    /// Writes that are to be given later.
    pub fn keep(&mut self, entries: Vec<Entry>) {
        self.surplus.splice(..0, entries);
    }

    fn put(&mut self, range: Range, ask: Ask) {
        let tags = if let Ask::Tags(tags) = &ask { tags.len() } else { 0 };
        let room = self.todo.len() < limits::SESSION_PARTS && self.tags + tags <= limits::SESSION_TAGS;
        if room && range.start < range.end {
            self.tags += tags;
            self.todo.insert(range.start, (range.end, ask));
        }
    }

    /// The next frame, and what to remember of it; none while there is nothing to ask.
    pub fn ask(&mut self, index: Option<&Index>) -> Option<(Ranges, Asked)> {
        let top = self.todo.last_key_value().map(|(_, (high, _))| *high)?;
        let (mut low, mut parts, mut asked, mut tags) = (top, Vec::new(), Vec::new(), limits::RANGE_WRITES);
        while parts.len() + 2 <= limits::RANGE_PARTS / 4
            && let Some(entry) = self.todo.last_entry()
        {
            let wanted = if let Ask::Tags(wanted) = &entry.get().1 { wanted.len() } else { 0 };
            if wanted > tags && !asked.is_empty() {
                break;
            }
            tags = tags.saturating_sub(wanted);
            self.tags -= wanted;
            let (start, (end, ask)) = entry.remove_entry();
            if end < low {
                parts.push(Part { low: end, mode: Mode::Same });
            }
            let range = start..end;
            parts.push(Part { low: start, mode: ask.mode(index, &range, self.salt) });
            low = start;
            let all = ask == Ask::All;
            asked.push((range, ask));
            // What comes of it fills an answer by itself.
            if all {
                break;
            }
        }
        Some((Ranges { salt: self.salt, top, parts }, Asked { top, parts: asked }))
    }

    /// Takes an answer. `came`: the tags of the writes that were in it.
    pub fn on_answer(
        &mut self,
        asked: Asked,
        answer: &Ranges,
        came: &BTreeSet<Tag>,
        index: Option<&Index>,
    ) -> Result<(), Nonsense> {
        if answer.top != asked.top || answer.salt != self.salt {
            return Err(Nonsense("ranges that were not asked for"));
        }
        if answer.parts.is_empty() {
            return Err(Nonsense("no range of those that were asked for"));
        }
        let low = answer.low();
        let mut parts = asked.parts.iter().peekable();
        for (range, mode) in answer.iter() {
            while parts.next_if(|(of, _)| of.start >= range.end).is_some() {}
            match parts.peek() {
                Some((of, ask)) if of.start <= range.start && range.end <= of.end => {
                    self.on_part(of, ask, range, mode, came, index)?;
                }
                // Between the ranges there is nothing to say.
                Some((of, _)) if range.start < of.end => return Err(Nonsense("ranges across what was asked for")),
                Some(_) | None if *mode == Mode::Same => {}
                Some(_) | None => return Err(Nonsense("ranges that were not asked for")),
            }
        }
        for (range, ask) in asked.parts {
            self.take_up(range, ask, low, came);
        }
        Ok(())
    }

    /// What of a range was not answered is asked again.
    fn take_up(&mut self, range: Range, ask: Ask, low: Version, came: &BTreeSet<Tag>) {
        let whole = range.start >= low;
        match ask {
            Ask::Tags(wanted) => {
                let missing: BTreeSet<Tag> = wanted.difference(came).copied().collect();
                self.found.kept += (wanted.len() - missing.len()) as u64;
                if whole {
                    self.found.broken += missing.len() as u64;
                } else if !missing.is_empty() {
                    self.put(range.start..low.min(range.end), Ask::Tags(missing));
                }
            }
            Ask::Sum | Ask::Audit | Ask::All if whole => {}
            ask => self.put(range.start..low.min(range.end), ask),
        }
    }

    fn on_part(
        &mut self,
        of: &Range,
        ask: &Ask,
        range: Range,
        mode: &Mode,
        came: &BTreeSet<Tag>,
        index: Option<&Index>,
    ) -> Result<(), Nonsense> {
        match (ask, mode) {
            (Ask::Tags(_), Mode::Same) => Ok(()),
            // Served down to here: something of it must have come, or it was all.
            (Ask::All, Mode::Same) if range.start == of.start || !came.is_empty() => Ok(()),
            (Ask::Sum | Ask::Audit, Mode::Same) => Ok(()),
            (Ask::Sum | Ask::Audit, Mode::Tags(listed)) => {
                self.on_list(range, listed, index);
                Ok(())
            }
            (Ask::Sum | Ask::Audit, Mode::Sum(_)) if range == *of => Err(Nonsense("a range that was not divided")),
            (Ask::Sum | Ask::Audit, Mode::Sum(theirs)) => {
                self.on_sum(range, theirs, index);
                Ok(())
            }
            (Ask::Tags(_) | Ask::All, _) | (Ask::Sum | Ask::Audit, Mode::Salted(_) | Mode::All) => {
                Err(Nonsense("an answer to another question"))
            }
        }
    }

    fn on_sum(&mut self, range: Range, theirs: &[u8; 16], index: Option<&Index>) {
        let Some((index, sum)) = index.map(|index| (index, index.sum(&range))).filter(|(_, sum)| sum.count > 0) else {
            return self.put(range, Ask::All);
        };
        if sum.fingerprint() == *theirs {
            return;
        }
        if sum.count <= LIST {
            return self.put(range, Ask::Sum);
        }
        for part in divide(index, &range, (sum.count / (LIST / 2)).clamp(2, SPLIT)) {
            self.put(part, Ask::Sum);
        }
    }

    fn on_list(&mut self, range: Range, listed: &[Tag], index: Option<&Index>) {
        let mut missing: BTreeSet<Tag> = listed.iter().copied().collect();
        for entry in index.map(|index| index.entries(&range)).unwrap_or_default() {
            if !missing.remove(&tag(self.salt, entry.digest)) {
                self.found.surplus += 1;
                self.surplus.extend(Some(entry).filter(|_| self.surplus.len() < limits::SESSION_TAGS));
            }
        }
        self.found.promised += missing.len() as u64;
        if !missing.is_empty() {
            self.put(range, Ask::Tags(missing));
        }
    }
}

impl Ask {
    fn mode(&self, index: Option<&Index>, range: &Range, salt: [u8; 8]) -> Mode {
        match (self, index) {
            (Ask::Sum, index) => Mode::Sum(index.map(|index| index.sum(range)).unwrap_or_default().fingerprint()),
            (Ask::Audit, Some(index)) => Mode::Salted(salted(index, range, salt)),
            (Ask::Audit, None) => Mode::Salted([0; 16]),
            (Ask::Tags(wanted), _) => Mode::Tags(wanted.iter().copied().collect()),
            (Ask::All, _) => Mode::All,
        }
    }
}

/// All below a version in ranges, the newest short, the older ones longer and longer.
fn newest_first(index: &Index, below: Version) -> Vec<Range> {
    let (mut ranges, mut high, mut rank, mut length) = (Vec::new(), below, index.rank(below), FIRST);
    while rank > 0 {
        for _ in 0..STRIDE {
            rank = rank.saturating_sub(length);
            let low = if rank == 0 { Version::default() } else { boundary(index, rank) };
            if low < high {
                ranges.push(low..high);
                high = low;
            }
        }
        length *= 2;
    }
    ranges
}
