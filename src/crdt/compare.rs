//! Answering a peer that compares what it retains with what is retained here, range by range. Nothing is remembered
//! from one frame to the next: whoever asks keeps the session.
//!
//! ```text
//!  asked           answered
//!  sum, salted     same; or this is here: tags of a few, sums of parts of many
//!  tags, all       the writes themselves; then same
//! ```
//!
//! Work is bounded: an answer may end before the ranges do, and what is below is asked for again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::index::{Entry, Index, Range};
use crate::types::{Domain, Hash, Version, limits};
use crate::wire::{Mode, Part, Ranges, Tag};

/// A range of no more writes than this is listed; a longer one is divided into parts of half as many. A list of so many
/// is 3 KB, and saves dividing the range again: a round trip.
pub(super) const LIST: u64 = 512;
/// The same where more ranges are asked about than [`FEW`]: then a little of each may differ, and lists of all would be
/// longer than what is between.
const SHORT_LIST: u64 = 32;
const FEW: usize = 128;
/// Parts that one range is divided into, at most.
pub(super) const SPLIT: u64 = 256;

/// A collection in which nothing is retained.
static NOTHING: std::sync::LazyLock<Index> = std::sync::LazyLock::new(Index::default);

/// What a peer is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// What is said about the ranges, down to where the work was enough.
    pub ranges: Ranges,
    /// The writes that are handed over, newest first.
    pub wanted: Vec<Entry>,
}

/// A write's name in a list, for this salt.
pub fn tag(salt: [u8; 8], digest: Hash) -> Tag {
    let full = Domain::StateTag.hash(&[&salt, digest.as_bytes()]);
    *full.as_bytes().first_chunk().unwrap_or(&[0; 6])
}

/// The digest over all writes of a range and a salt.
pub(super) fn salted(index: &Index, range: &Range, salt: [u8; 8]) -> [u8; 16] {
    let mut hasher = Domain::StateAudit.hasher();
    hasher.update(&salt);
    index.newest_first(range, &mut |entry| {
        hasher.update(entry.digest.as_bytes());
        ControlFlow::Continue(())
    });
    *hasher.finalize().as_bytes().first_chunk().unwrap_or(&[0; 16])
}

/// A range divided into parts of about equally many writes, newest first.
pub(super) fn divide(index: &Index, range: &Range, parts: u64) -> Vec<Range> {
    let (below, count) = (index.rank(range.start), index.sum(range).count);
    let cuts = (1..parts).rev().map(|part| below + count * part / parts);
    let (mut high, mut divided) = (range.end, Vec::new());
    for cut in cuts {
        let low = boundary(index, cut);
        if low > range.start && low < high {
            divided.push(low..high);
            high = low;
        }
    }
    divided.push(range.start..high);
    divided
}

/// A version that lies between the entry of a rank and the one before it, and is short to say.
pub(super) fn boundary(index: &Index, rank: u64) -> Version {
    let before = rank.checked_sub(1).and_then(|rank| index.nth(rank)).map(|entry| entry.version);
    let Some(entry) = index.nth(rank).map(|entry| entry.version) else { return Version::MAX };
    let Some(before) = before.filter(|before| before.stamp == entry.stamp) else {
        return Version { digest: [0; 16], ..entry };
    };
    let common = before.digest.iter().zip(entry.digest).take_while(|(a, b)| **a == *b).count();
    let mut digest = entry.digest;
    digest.iter_mut().skip(common + 1).for_each(|byte| *byte = 0);
    Version { digest, ..entry }
}

/// Compares what is asked with what is here.
pub fn compare(index: Option<&Index>, asked: &Ranges) -> Compared {
    let index = index.unwrap_or(&NOTHING);
    let mut answer = Answer {
        index,
        salt: asked.salt,
        parts: Vec::new(),
        wanted: Vec::new(),
        tags: limits::RANGE_TAGS,
        looks: limits::RANGE_LOOKS as u64,
        list: if asked.parts.len() <= FEW { LIST } else { SHORT_LIST },
    };
    let mut left = asked.parts.len();
    for (range, mode) in asked.iter() {
        left -= 1;
        if answer.on(&range, mode, left).is_break() {
            break;
        }
    }
    let Answer { parts, wanted, .. } = answer;
    Compared { ranges: Ranges { salt: asked.salt, top: asked.top, parts }, wanted }
}

struct Answer<'a> {
    index: &'a Index,
    salt: [u8; 8],
    parts: Vec<Part>,
    wanted: Vec<Entry>,
    /// Tags that still have room.
    tags: usize,
    /// Writes that can still be looked at one by one.
    looks: u64,
    /// A range of no more than so many is listed.
    list: u64,
}

impl Answer<'_> {
    fn say(&mut self, low: Version, mode: Mode) {
        self.parts.push(Part { low, mode });
    }

    /// Answers one range, with `left` to follow. Breaks when it was not answered to its end.
    fn on(&mut self, range: &Range, mode: &Mode, left: usize) -> ControlFlow<()> {
        match mode {
            Mode::Same => self.say(range.start, Mode::Same),
            Mode::Sum(theirs) => {
                let sum = self.index.sum(range);
                if sum.fingerprint() == *theirs {
                    self.say(range.start, Mode::Same);
                } else if sum.count <= self.list {
                    return self.list(range);
                } else {
                    return self.split(range, sum.count, left);
                }
            }
            Mode::Salted(theirs) => {
                let count = self.index.sum(range).count;
                if count > self.looks {
                    // More than is looked at in one frame: the sums will do, or part of it.
                    return self.list(range);
                }
                self.looks -= count;
                if salted(self.index, range, self.salt) == *theirs {
                    self.say(range.start, Mode::Same);
                } else {
                    return self.list(range);
                }
            }
            Mode::Tags(wanted) => {
                let wanted: BTreeSet<Tag> = wanted.iter().copied().collect();
                return self.hand_over(range, Some(&wanted));
            }
            Mode::All => return self.hand_over(range, None),
        }
        self.has_room(left)
    }

    fn has_room(&self, left: usize) -> ControlFlow<()> {
        let room = self.parts.len() < limits::RANGE_PARTS;
        if room || left == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Lists what is here, the newest part of it if there is no room for all.
    fn list(&mut self, range: &Range) -> ControlFlow<()> {
        let (mut low, mut listed) = (range.start, Vec::new());
        let most = self.tags.min(usize::try_from(self.looks).unwrap_or(usize::MAX));
        let salt = self.salt;
        let mut whole = true;
        self.index.newest_first(range, &mut |entry| {
            if listed.len() >= most {
                whole = false;
                return ControlFlow::Break(());
            }
            low = entry.version;
            listed.push(tag(salt, entry.digest));
            ControlFlow::Continue(())
        });
        if !whole && listed.is_empty() {
            return ControlFlow::Break(());
        }
        self.tags -= listed.len();
        self.looks -= listed.len() as u64;
        self.say(if whole { range.start } else { low }, Mode::Tags(listed));
        if whole { self.has_room(1) } else { ControlFlow::Break(()) }
    }

    fn split(&mut self, range: &Range, count: u64, left: usize) -> ControlFlow<()> {
        // Those that follow have their share of the room.
        let room = (limits::RANGE_PARTS - self.parts.len()).saturating_sub(left) / (left + 1).min(32);
        let parts = (count / (self.list / 2)).clamp(2, SPLIT).min((room as u64).max(2));
        if limits::RANGE_PARTS - self.parts.len() < 2 {
            return ControlFlow::Break(());
        }
        for part in divide(self.index, range, parts) {
            let sum = self.index.sum(&part);
            self.say(part.start, Mode::Sum(sum.fingerprint()));
        }
        self.has_room(left)
    }

    /// Hands over the writes of a range, those with a wanted tag or all, as far as there is room.
    fn hand_over(&mut self, range: &Range, wanted: Option<&BTreeSet<Tag>>) -> ControlFlow<()> {
        let (mut low, mut looked, mut whole) = (range.end, 0, true);
        let (salt, looks, handed) = (self.salt, self.looks, &mut self.wanted);
        self.index.newest_first(range, &mut |entry| {
            let hit = wanted.is_none_or(|wanted| wanted.contains(&tag(salt, entry.digest)));
            if looked >= looks || hit && handed.len() >= limits::RANGE_WRITES {
                whole = false;
                return ControlFlow::Break(());
            }
            looked += 1;
            handed.extend(Some(*entry).filter(|_| hit));
            low = entry.version;
            ControlFlow::Continue(())
        });
        self.looks -= looked;
        if whole {
            self.say(range.start, Mode::Same);
            return self.has_room(1);
        }
        if low < range.end {
            self.say(low, Mode::Same);
        }
        ControlFlow::Break(())
    }
}
