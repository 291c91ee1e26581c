//! The write-ahead log of one height, as bytes: one file, which is only ever appended to.
//!
//! ```text
//!  file    header, then frames                          all numbers little-endian
//!  header  "metanode agreement log 1" 24 │ chain 32 │ node 32 │ height 8 │ sum 16
//!  frame   size 4 │ number 4 │ sum 16 │ records: (size 4 │ record), size bytes together │ "end\n" 4
//! ```
//!
//! A frame is what one flush made durable; frames are numbered from 0. A sum is the front of a digest over header,
//! number and records, so a frame is good in its place only. What a crash leaves half written is at the end of the file
//! and has no end of its own: it is let go, because nothing was said yet that rests on it. Anything else that is not
//! good was altered, and is refused: to go on without it would be to forget what was said.

use super::record::{NoRecord, Record};
use crate::types::chain::{ChainId, Height};
use crate::types::storage::{Batch, Key, Table, View};
use crate::types::{Domain, NodeId};

const MAGIC: &[u8; 24] = b"metanode agreement log 1";
const SUM: usize = 16;
pub(super) const END: &[u8; 4] = b"end\n";
/// Bytes of a file's header.
pub const HEADER_BYTES: usize = 24 + 32 + 32 + 8 + SUM;
/// Bytes of a frame before its records.
const PREFIX: usize = 4 + 4 + SUM;
/// Records of one frame, bytes. One is always in it, and none is much larger than a block.
pub const FRAME_BYTES: usize = 4 << 20;

/// What the store says of the log.
fn begun_row() -> Key {
    Key::new(Table::Ledger, &[b"logged"])
}

/// The last height of which something is known to have been in the log. Where the log of that height is not there, it
/// is lost, and with it what was voted.
pub fn begun(view: &dyn View) -> Option<Height> {
    let bytes = view.get(&begun_row())?;
    Some(Height(u64::from_le_bytes(bytes.as_ref().try_into().ok()?)))
}

/// Notes that the log of a height has begun, and is on the disk.
pub fn note_begun(height: Height, batch: &mut Batch) {
    batch.put(begun_row(), height.0.to_le_bytes().to_vec());
}

/// Whose log it is, and of which height.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The chain.
    pub chain: ChainId,
    /// The node that signs.
    pub node: NodeId,
    /// The height.
    pub height: Height,
}

/// Why a log is not gone on with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JournalFault {
    #[error("it is not the agreement log of this chain, node and height")]
    NotOurs,
    #[error("the bytes from offset {at} on were altered: they were written to the end, and do not fit their checksum")]
    Altered { at: usize },
    #[error("the record at offset {at} cannot be read: {why}")]
    Record { at: usize, why: NoRecord },
    #[error("the record at offset {at} was not signed by whom it names, or is of another height")]
    Signature { at: usize },
}

/// What a log holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Everything written, in order.
    pub records: Vec<Record>,
    /// Frames that are good.
    pub frames: u32,
    /// Bytes that are good; what is behind them was being written when the end came, and is to be cut off.
    pub good_bytes: usize,
    /// What is to be written behind them before anything else.
    pub mend: &'static [u8],
}

/// The header of a log.
pub fn header(owner: &Owner) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let mut at = 0;
    let mut put = |part: &[u8]| {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    };
    put(MAGIC);
    put(owner.chain.as_bytes());
    put(owner.node.as_bytes());
    put(&owner.height.0.to_le_bytes());
    put(&sum(owner, u32::MAX, &[]));
    bytes
}

/// A frame of these records, which are the `number`th that are flushed together.
pub fn frame(owner: &Owner, number: u32, records: &[Record]) -> Vec<u8> {
    let mut payload = Vec::new();
    for record in records {
        let record = record.encode();
        payload.extend_from_slice(&(record.len() as u32).to_le_bytes());
        payload.extend_from_slice(&record);
    }
    let mut frame = Vec::with_capacity(PREFIX + payload.len());
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(&sum(owner, number, &payload));
    frame.extend_from_slice(&payload);
    frame.extend_from_slice(END);
    frame
}

/// How many of these records go into the next frame: as many as fit, and at least one.
pub fn fitting(records: &[Record]) -> usize {
    let sums = records.iter().scan(0, |sum, record| {
        *sum += 4 + record.size_bytes();
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= FRAME_BYTES).count().max(1)
}

/// Reads a log. One that ends within its header is as good as none: nothing was written after it.
pub fn read(bytes: &[u8], owner: &Owner) -> Result<Recovered, JournalFault> {
    let expected = header(owner);
    let Some((found, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        let torn = expected.starts_with(bytes);
        return if torn { Ok(Recovered::default()) } else { Err(JournalFault::NotOurs) };
    };
    if *found != expected {
        // A new file may get its length before its bytes: what is not there yet is zeros, to the end.
        let written = expected.iter().zip(bytes).take_while(|(ours, theirs)| ours == theirs).count();
        let torn = bytes.iter().skip(written).all(|byte| *byte == 0);
        return if torn { Ok(Recovered::default()) } else { Err(JournalFault::NotOurs) };
    }
    let mut recovered = Recovered { good_bytes: HEADER_BYTES, ..Recovered::default() };
    while recovered.mend.is_empty()
        && let Some((payload, behind)) = good_frame(bytes, recovered.good_bytes, recovered.frames, owner)
    {
        recovered.mend = match broken_end(behind) {
            Some(false) => b"",
            Some(true) => END,
            None => break,
        };
        take_records(payload, recovered.good_bytes + PREFIX, owner, &mut recovered.records)?;
        recovered.good_bytes += PREFIX + payload.len() + if recovered.mend.is_empty() { END.len() } else { 0 };
        recovered.frames += 1;
    }
    if recovered.mend.is_empty() && was_finished(bytes, &recovered, owner) {
        return Err(JournalFault::Altered { at: recovered.good_bytes });
    }
    Ok(recovered)
}

/// Whether a frame's own end was cut off, while its records are whole; none when its end was altered.
fn broken_end(behind: &[u8]) -> Option<bool> {
    if behind.starts_with(END) {
        return Some(false);
    }
    let zeros = behind.iter().rev().take_while(|byte| **byte == 0).count();
    let written = &behind[..behind.len() - zeros];
    END.starts_with(written).then_some(true)
}

/// Whether what follows the good frames is more than the beginning of one.
fn was_finished(bytes: &[u8], recovered: &Recovered, owner: &Owner) -> bool {
    let rest = bytes.get(recovered.good_bytes..).unwrap_or_default();
    let number_at = |at: usize| rest.get(at + 4..at + 8).and_then(|n| n.try_into().ok()).map(u32::from_le_bytes);
    // An end in the right place is looked for first: a sum over what a body may hold at every offset would be dear.
    let has_end = |at: usize| {
        let size = rest.get(at..at + 4).and_then(|n| n.try_into().ok()).map(u32::from_le_bytes);
        let end = size.and_then(|size| (at + PREFIX).checked_add(size as usize));
        end.and_then(|end| rest.get(end..)).is_some_and(|behind| behind.starts_with(END))
    };
    let is_later = |at| {
        let later = number_at(at).filter(|number| *number > recovered.frames && has_end(at));
        later.is_some_and(|number| good_frame(rest, at, number, owner).is_some())
    };
    let is_whole = good_frame(rest, 0, recovered.frames, owner).is_some();
    is_whole || rest.ends_with(END) || (1..rest.len()).any(is_later)
}

/// The records of frame `number` at an offset, if they fit their sum, and what is behind them.
fn good_frame<'a>(bytes: &'a [u8], at: usize, number: u32, owner: &Owner) -> Option<(&'a [u8], &'a [u8])> {
    let (size, rest) = bytes.get(at..)?.split_first_chunk()?;
    let (found, rest) = rest.split_first_chunk()?;
    let (found_sum, rest) = rest.split_first_chunk::<SUM>()?;
    let (payload, behind) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
    let fits = u32::from_le_bytes(*found) == number && !payload.is_empty() && *found_sum == sum(owner, number, payload);
    fits.then_some((payload, behind))
}

fn take_records(mut payload: &[u8], at: usize, owner: &Owner, into: &mut Vec<Record>) -> Result<(), JournalFault> {
    let whole = payload.len();
    while !payload.is_empty() {
        let at = at + whole - payload.len();
        let unread = JournalFault::Record { at, why: NoRecord::Fields };
        let (size, rest) = payload.split_first_chunk().ok_or(unread.clone())?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or(unread)?;
        let record = Record::decode(record).map_err(|why| JournalFault::Record { at, why })?;
        if !record.holds(owner.chain, owner.height) {
            return Err(JournalFault::Signature { at });
        }
        into.push(record);
        payload = rest;
    }
    Ok(())
}

fn sum(owner: &Owner, number: u32, payload: &[u8]) -> [u8; SUM] {
    let (height, number) = (owner.height.0.to_le_bytes(), number.to_le_bytes());
    let parts: [&[u8]; 5] = [owner.chain.as_bytes(), owner.node.as_bytes(), &height, &number, payload];
    let digest = Domain::AgreementLog.hash(&parts);

    // A digest has 32 bytes.
    *digest.0.first_chunk().expect("the front of 32 bytes")
}
