//! A record of the journal: one batch, with sums. Its bytes are laid out in `docs/storage.md`.

use bytes::Bytes;
use crc32fast::Hasher;

use crate::types::storage::Key;

/// Bytes before the rows of a record.
pub const HEAD_BYTES: usize = 16;

/// From this many bytes on a value is a body: it stays in the journal, and its row says where.
pub const BODY_BYTES: usize = 512;

/// Bytes of a [`Place`] in a row.
pub const PLACE_BYTES: usize = 16;

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's number.
    pub file: u32,
    /// Its first byte in the file.
    pub at: u32,
    /// How long it is, bytes.
    pub len: u32,
    /// CRC-32 of it.
    pub sum: u32,
}

impl Place {
    /// As a row holds it: four numbers, big-endian.
    pub fn encode(&self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        for (part, number) in bytes.chunks_exact_mut(4).zip([self.file, self.at, self.len, self.sum]) {
            part.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// What [`Place::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Place> {
        let bytes: &[u8; PLACE_BYTES] = bytes.try_into().ok()?;
        let [file, at, len, sum] = [0, 4, 8, 12].map(|from| {
            let mut number = [0; 4];
            number.copy_from_slice(&bytes[from..from + 4]);
            u32::from_be_bytes(number)
        });
        Some(Place { file, at, len, sum })
    }
}

/// A value, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The value itself.
    Here(Bytes),
    /// In the journal.
    Apart(Place),
}

impl Value {
    /// Bytes that it takes where it is held.
    pub fn held_bytes(&self) -> usize {
        match self {
            Value::Here(value) => value.len(),
            Value::Apart(_) => PLACE_BYTES,
        }
    }

    /// How long the body is, bytes; none if it is not apart.
    pub fn body_bytes(&self) -> Option<u64> {
        match self {
            Value::Here(_) => None,
            Value::Apart(place) => Some(place.len.into()),
        }
    }
}

/// What a batch makes of a key; `None` removes it.
pub type Row = (Vec<u8>, Option<Value>);

/// Where a record stands, which its sum covers: a record is believed nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The file's number.
    pub file: u32,
    /// Its first byte in the file.
    pub at: u32,
    /// Up to where the file was on the disk for certain when the record was written.
    pub synced: u32,
}

/// The first bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of rows and bodies.
    pub size: u32,
    /// Bytes of the rows.
    pub rows: u32,
    /// As in [`Standing`].
    pub synced: u32,
    sum: u32,
}

impl Head {
    /// Reads one that can stand at `at` in a file of `end` bytes.
    pub fn decode(bytes: &[u8; HEAD_BYTES], at: u64, end: u64) -> Option<Head> {
        let [size, rows, synced, sum] = [0, 4, 8, 12].map(|from| {
            let mut number = [0; 4];
            number.copy_from_slice(&bytes[from..from + 4]);
            u32::from_le_bytes(number)
        });
        let fits = at + HEAD_BYTES as u64 + u64::from(size) <= end && rows <= size && rows > 0;
        (fits && u64::from(synced) <= at).then_some(Head { size, rows, synced, sum })
    }

    /// Whether these are its rows, written to stand in `file` at `at`.
    pub fn vouches_for(&self, rows: &[u8], file: u32, at: u32) -> bool {
        self.sum == sum(self.size, rows, Standing { file, at, synced: self.synced })
    }

    /// The whole record, bytes.
    pub fn record_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.size)
    }
}

fn sum(size: u32, rows: &[u8], standing: Standing) -> u32 {
    let mut hasher = Hasher::new();
    for number in [standing.file, standing.at, standing.synced, size] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(rows);
    hasher.finalize()
}

const REMOVED: u8 = 0;
const HERE: u8 = 1;
const APART: u8 = 2;

/// A record as it is to be written: its head and rows, then the bodies one after the other.
pub struct Record {
    /// What it says of each key.
    pub said: Vec<Row>,
    /// The bodies.
    pub bodies: Vec<Bytes>,
    /// Bytes of all.
    pub size: u64,
}

/// A record of `writes`. Its head and rows are put into `into`, which is emptied before. None if it is larger than a
/// record can be.
pub fn encode(
    writes: impl Iterator<Item = (Key, Option<Bytes>)>,
    standing: Standing,
    into: &mut Vec<u8>,
) -> Option<Record> {
    into.clear();
    into.resize(HEAD_BYTES, 0);
    let (mut said, mut bodies, mut bodies_size) = (Vec::new(), Vec::new(), 0_u64);
    for (key, value) in writes {
        let key = key.into_bytes();
        let value = match value {
            None => {
                put_key(into, REMOVED, &key)?;
                None
            }
            Some(value) if value.len() < BODY_BYTES => {
                put_key(into, HERE, &key)?;
                into.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
                into.extend_from_slice(&value);
                // A copy: what is small may be a part of something large, which would stay in memory with it.
                Some(Value::Here(Bytes::copy_from_slice(&value)))
            }
            Some(value) => {
                let (len, sum) = (u32::try_from(value.len()).ok()?, crc32fast::hash(&value));
                put_key(into, APART, &key)?;
                into.extend_from_slice(&len.to_le_bytes());
                into.extend_from_slice(&sum.to_le_bytes());
                let at = u32::try_from(bodies_size).ok()?;
                bodies_size += u64::from(len);
                bodies.push(value);
                Some(Value::Apart(Place { file: standing.file, at, len, sum }))
            }
        };
        said.push((key, value));
    }
    let rows = into.len() - HEAD_BYTES;
    let bodies_at = u64::from(standing.at) + (HEAD_BYTES + rows) as u64;
    // Every byte of the record has a number that fits.
    let end = u32::try_from(bodies_at + bodies_size).ok()?;
    for (_, value) in &mut said {
        if let Some(Value::Apart(place)) = value {
            place.at = u32::try_from(bodies_at + u64::from(place.at)).ok()?;
        }
    }
    let (size, rows) = (end - standing.at - HEAD_BYTES as u32, u32::try_from(rows).ok()?);
    let sum = sum(size, &into[HEAD_BYTES..], standing);
    for (part, number) in into[..HEAD_BYTES].chunks_exact_mut(4).zip([size, rows, standing.synced, sum]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    Some(Record { said, bodies, size: u64::from(end - standing.at) })
}

fn put_key(into: &mut Vec<u8>, what: u8, key: &[u8]) -> Option<()> {
    into.push(what);
    into.extend_from_slice(&u32::try_from(key.len()).ok()?.to_le_bytes());
    into.extend_from_slice(key);
    Some(())
}

/// The rows of a record whose head vouches for them.
pub fn decode(head: &Head, mut rows: &[u8], file: u32, at: u32) -> Option<Vec<Row>> {
    let mut body_at = u64::from(at) + HEAD_BYTES as u64 + u64::from(head.rows);
    let end = u64::from(at) + head.record_bytes();
    let mut said = Vec::new();
    while let Some((what, rest)) = rows.split_first() {
        rows = rest;
        let key_len = number(&mut rows)?;
        let key = bytes(&mut rows, key_len)?.to_vec();
        let value = match *what {
            REMOVED => None,
            HERE => {
                let len = number(&mut rows)?;
                Some(Value::Here(Bytes::copy_from_slice(bytes(&mut rows, len)?)))
            }
            APART => {
                let (len, sum) = (number(&mut rows)?, number(&mut rows)?);
                let at = u32::try_from(body_at).ok()?;
                body_at += u64::from(len);
                Some(Value::Apart(Place { file, at, len, sum }))
            }
            _ => return None,
        };
        said.push((key, value));
    }
    (body_at == end).then_some(said)
}

fn number(rows: &mut &[u8]) -> Option<u32> {
    let (first, rest) = rows.split_first_chunk::<4>()?;
    *rows = rest;
    Some(u32::from_le_bytes(*first))
}

fn bytes<'a>(rows: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (first, rest) = rows.split_at_checked(len as usize)?;
    *rows = rest;
    Some(first)
}
