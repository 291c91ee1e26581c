//! Positions of nodes of a graph in motion, as clients and nodes exchange them over WebSocket: binary, 28 bytes a node.
//!
//! ```text
//!  names      0 version 1 │ 1 kind 1 = 1 │ 2 count 2 │  4 count × (number 4 │ size 1 │ id)
//!  positions  0 version 1 │ 1 kind 1 = 2 │ 2 count 2 │  4 frame 4 │ 8 at_ms 8
//!            16 count × (number 4 │ x 4 │ y 4 │ z 4 │ vx 4 │ vy 4 │ vz 4)     all numbers little-endian
//! ```
//!
//! Pure. Whoever sends numbers the nodes, and says which is which in a frame of names before it uses a number.

use super::bundle::WIRE_VERSION;
use crate::types::{WallMs, limits};

const NAMES: u8 = 1;
const POSITIONS: u8 = 2;
/// Bytes of one position.
const ITEM_BYTES: usize = 28;
/// Bytes before the positions.
const HEAD_BYTES: usize = 16;

/// A node's place and speed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    /// Which node, by the sender's numbers.
    pub number: u32,
    /// Where it is: x, y, z.
    pub position: [f32; 3],
    /// How it moves in a second.
    pub velocity: [f32; 3],
}

/// What one frame says.
#[derive(Clone, PartialEq, Debug)]
pub enum PositionFrame {
    /// Which node has which number.
    Names(Vec<(u32, String)>),
    /// Where nodes are.
    Places {
        /// The frame's number; of one moment several frames have the same.
        frame: u32,
        /// When the newest of them was said.
        at: WallMs,
        /// The nodes.
        places: Vec<Place>,
    },
}

/// Why bytes are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PositionFault {
    #[error("version {0} is not known; this is version {WIRE_VERSION}")]
    Version(u8),
    #[error("a frame is of kind 1, names, or 2, positions; not {0}")]
    Kind(u8),
    #[error("a frame has 1 to {most} entries, not {0}", most = limits::FRAME_POSITIONS)]
    Count(usize),
    #[error("the frame ends before its last entry, or goes on after it")]
    Size,
    #[error("an id is UTF-8 of 1 to {} bytes", limits::GRAPH_ID_BYTES)]
    Id,
    #[error("a place and a speed are finite numbers")]
    Number,
}

impl PositionFrame {
    /// The bytes, as laid out above. Entries beyond [`limits::FRAME_POSITIONS`] and ids that are too long are a fault of
    /// the caller, and left out.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            PositionFrame::Names(names) => {
                let fits = |(_, id): &&(u32, String)| (1..=limits::GRAPH_ID_BYTES).contains(&id.len());
                let names: Vec<&(u32, String)> = names.iter().filter(fits).take(limits::FRAME_POSITIONS).collect();
                let mut bytes = head(NAMES, names.len());
                for (number, id) in names {
                    bytes.extend_from_slice(&number.to_le_bytes());
                    bytes.push(id.len() as u8);
                    bytes.extend_from_slice(id.as_bytes());
                }
                bytes
            }
            PositionFrame::Places { frame, at, places } => {
                let count = places.len().min(limits::FRAME_POSITIONS);
                let mut bytes = head(POSITIONS, count);
                bytes.reserve(HEAD_BYTES + count * ITEM_BYTES);
                bytes.extend_from_slice(&frame.to_le_bytes());
                bytes.extend_from_slice(&at.0.to_le_bytes());
                for place in places.iter().take(count) {
                    bytes.extend_from_slice(&place.number.to_le_bytes());
                    let numbers = place.position.iter().chain(&place.velocity);
                    numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
                }
                bytes
            }
        }
    }

    /// Reads a frame, all of `bytes` and no more.
    pub fn decode(bytes: &[u8]) -> Result<PositionFrame, PositionFault> {
        let (&[version, kind, low, high], rest) = bytes.split_first_chunk().ok_or(PositionFault::Size)?;
        if version != WIRE_VERSION {
            return Err(PositionFault::Version(version));
        }
        let count = usize::from(u16::from_le_bytes([low, high]));
        if !(1..=limits::FRAME_POSITIONS).contains(&count) {
            return Err(PositionFault::Count(count));
        }
        match kind {
            NAMES => names(rest, count),
            POSITIONS => places(rest, count),
            kind => Err(PositionFault::Kind(kind)),
        }
    }
}

fn head(kind: u8, count: usize) -> Vec<u8> {
    let [low, high] = (count as u16).to_le_bytes();
    vec![WIRE_VERSION, kind, low, high]
}

fn names(mut rest: &[u8], count: usize) -> Result<PositionFrame, PositionFault> {
    let mut names = Vec::new();
    for _ in 0..count {
        let (number, after) = rest.split_first_chunk().ok_or(PositionFault::Size)?;
        let (size, after) = after.split_first().ok_or(PositionFault::Size)?;
        let (id, after) = after.split_at_checked(usize::from(*size)).ok_or(PositionFault::Size)?;
        let id = std::str::from_utf8(id).map_err(|_| PositionFault::Id)?;
        if !(1..=limits::GRAPH_ID_BYTES).contains(&id.len()) {
            return Err(PositionFault::Id);
        }
        names.push((u32::from_le_bytes(*number), id.to_string()));
        rest = after;
    }
    if rest.is_empty() { Ok(PositionFrame::Names(names)) } else { Err(PositionFault::Size) }
}

fn places(rest: &[u8], count: usize) -> Result<PositionFrame, PositionFault> {
    let (frame, rest) = rest.split_first_chunk().ok_or(PositionFault::Size)?;
    let (at, rest) = rest.split_first_chunk().ok_or(PositionFault::Size)?;
    let (items, after) = rest.as_chunks::<ITEM_BYTES>();
    if items.len() != count || !after.is_empty() {
        return Err(PositionFault::Size);
    }
    let places = items.iter().map(place).collect::<Result<Vec<Place>, PositionFault>>()?;
    let (frame, at) = (u32::from_le_bytes(*frame), WallMs(u64::from_le_bytes(*at)));
    Ok(PositionFrame::Places { frame, at, places })
}

fn place(item: &[u8; ITEM_BYTES]) -> Result<Place, PositionFault> {
    let mut words = item.as_chunks::<4>().0.iter().copied();
    let number = u32::from_le_bytes(words.next().ok_or(PositionFault::Size)?);
    let mut three = || -> Result<[f32; 3], PositionFault> {
        let mut numbers = [0.0; 3];
        for number in &mut numbers {
            *number = f32::from_le_bytes(words.next().ok_or(PositionFault::Size)?);
        }
        if numbers.iter().all(|number| number.is_finite()) { Ok(numbers) } else { Err(PositionFault::Number) }
    };
    Ok(Place { number, position: three()?, velocity: three()? })
}
