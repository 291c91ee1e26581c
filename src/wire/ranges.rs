//! What two nodes say to one another about ranges of what they retain of a collection, newest first.
//!
//! ```text
//!  salt 8 │ top: bound │ number of parts varint │ each: bound below it, mode 1, and what the mode has
//!  bound: how far its stamp is below that of the one before, varint │ digest's length 1 │ the digest's first bytes
//!  mode 0 same │ 1 sum: fingerprint 16 │ 2 salted: fingerprint 16 │ 3 tags: number varint, each 6 │ 4 all
//! ```
//!
//! A part reaches from its bound, which is in it, to the bound before it, which is not. Varints are LEB128. A bound is a
//! version whose digest ends in zeros; they are not sent.

use super::refusal::Refusal;
use crate::types::{Stamp, Version, limits};

/// The first bytes of a digest over a write and the salt: which of a short list it is.
pub type Tag = [u8; 6];

/// What is said about a range. Values are for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Nothing is to be done here, or what was asked for is served.
    Same,
    /// The asked has other writes here if its fingerprint is another one.
    Sum([u8; 16]),
    /// The same, with a fingerprint over the writes themselves and the salt.
    Salted([u8; 16]),
    /// In an answer: these are here. In a request: these are wanted.
    Tags(Vec<Tag>),
    /// All that is there is wanted.
    All,
}

/// A range and what is said about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The lowest version in it.
    pub low: Version,
    /// What is said.
    pub mode: Mode,
}

/// Ranges that follow one another, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ranges {
    /// What tags and salted fingerprints are made with.
    pub salt: [u8; 8],
    /// The first version above all of them.
    pub top: Version,
    /// The ranges, each below the one before it.
    pub parts: Vec<Part>,
}

impl Ranges {
    /// The ranges with what is said about them: from, up to and without, what.
    pub fn iter(&self) -> impl Iterator<Item = (std::ops::Range<Version>, &Mode)> {
        let highs = [self.top].into_iter().chain(self.parts.iter().map(|part| part.low));
        self.parts.iter().zip(highs).map(|(part, high)| (part.low..high, &part.mode))
    }

    /// The lowest version in any of them.
    pub fn low(&self) -> Version {
        self.parts.last().map_or(self.top, |part| part.low)
    }

    /// Takes back what is said about a version and everything below it.
    pub fn end_above(&mut self, version: Version) {
        let low = version.next();
        let highs: Vec<Version> = self.iter().map(|(range, _)| range.end).collect();
        self.parts.truncate(highs.iter().take_while(|high| **high > low).count());
        self.parts.last_mut().into_iter().for_each(|last| last.low = last.low.max(low));
    }

    /// The bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.salt.to_vec();
        put_bound(&mut bytes, Version::MAX.stamp, self.top);
        put_number(&mut bytes, self.parts.len() as u64);
        let mut above = self.top.stamp;
        for Part { low, mode } in &self.parts {
            put_bound(&mut bytes, above, *low);
            above = low.stamp;
            put_mode(&mut bytes, mode);
        }
        bytes
    }

    /// Reads what [`Ranges::encode`] made, all of `bytes` and no more. Bounded by what it says before anything is
    /// allocated for it.
    pub fn decode(bytes: &[u8]) -> Result<Ranges, Refusal> {
        let mut from = From(bytes);
        let ranges = from.ranges().ok_or_else(|| Refusal::Frame { reason: "ranges that cannot be read".into() })?;
        let falls = ranges.iter().all(|(range, _)| range.start < range.end);
        match (from.0.is_empty(), falls) {
            (true, true) => Ok(ranges),
            (true, false) => Err(Refusal::Frame { reason: "ranges that do not fall".into() }),
            (false, _) => Err(Refusal::Frame { reason: "bytes after the ranges".into() }),
        }
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_bound(bytes: &mut Vec<u8>, above: Stamp, bound: Version) {
    put_number(bytes, above.0.saturating_sub(bound.stamp.0));
    let length = bound.digest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.push(length as u8);
    bytes.extend_from_slice(bound.digest.get(..length).unwrap_or_default());
}

fn put_mode(bytes: &mut Vec<u8>, mode: &Mode) {
    match mode {
        Mode::Same => bytes.push(0),
        Mode::Sum(fingerprint) => {
            bytes.push(1);
            bytes.extend_from_slice(fingerprint);
        }
        Mode::Salted(fingerprint) => {
            bytes.push(2);
            bytes.extend_from_slice(fingerprint);
        }
        Mode::Tags(tags) => {
            bytes.push(3);
            put_number(bytes, tags.len() as u64);
            tags.iter().for_each(|tag| bytes.extend_from_slice(tag));
        }
        Mode::All => bytes.push(4),
    }
}

/// Bytes that are read from the front.
struct From<'a>(&'a [u8]);

impl From<'_> {
    fn ranges(&mut self) -> Option<Ranges> {
        let salt = self.take()?;
        let top = self.bound(Version::MAX.stamp)?;
        // A part takes three bytes or more, a tag six: lists grow with what is there, whatever is said of their length.
        let count = self.number().filter(|count| *count <= limits::RANGE_PARTS as u64)?;
        let (mut parts, mut above, mut left) = (Vec::new(), top.stamp, limits::RANGE_TAGS);
        for _ in 0..count {
            let low = self.bound(above)?;
            above = low.stamp;
            let mode = self.mode(&mut left)?;
            parts.push(Part { low, mode });
        }
        Some(Ranges { salt, top, parts })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    /// A number in its shortest form.
    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let [byte] = self.take()?;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 || shift > 63 || (byte == 0 && shift > 0) {
                return None;
            }
            number |= part << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
    }

    fn bound(&mut self, above: Stamp) -> Option<Version> {
        let stamp = Stamp(above.0.checked_sub(self.number()?)?);
        let [length] = self.take()?;
        let (prefix, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        let mut digest = [0; 16];
        digest.get_mut(..prefix.len())?.copy_from_slice(prefix);
        (prefix.last() != Some(&0)).then_some(Version { stamp, digest })
    }

    fn mode(&mut self, left: &mut usize) -> Option<Mode> {
        let [mode] = self.take()?;
        match mode {
            0 => Some(Mode::Same),
            1 => Some(Mode::Sum(self.take()?)),
            2 => Some(Mode::Salted(self.take()?)),
            3 => {
                let count = usize::try_from(self.number()?).ok()?;
                *left = left.checked_sub(count)?;
                let (tags, rest) = self.0.split_at_checked(count.checked_mul(6)?)?;
                self.0 = rest;
                Some(Mode::Tags(tags.as_chunks::<6>().0.to_vec()))
            }
            4 => Some(Mode::All),
            _ => None,
        }
    }
}
