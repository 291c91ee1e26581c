//! How a bundle's body is packed. Outside the signature: a relay may pack anew.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::types::limits;

/// Bodies below this are sent plain, bytes.
const MIN_BYTES: usize = 512;
/// A packing must save one part of so many.
const WORTH: usize = 8;
/// Where LZ4 does not save one part of so many, bodies are noise between like headers: zstd takes long over them.
const PROMISING: usize = 4;
/// Zstd's level: the higher ones save little more of bodies this small, and cost several times as much.
const LEVEL: i32 = 1;

/// The packing of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Plain = 0,
    /// LZ4 block format, without a size in front.
    Lz4 = 1,
    /// One zstd frame.
    Zstd = 2,
}

impl Codec {
    /// The codec with this byte on the wire.
    pub fn from_tag(tag: u8) -> Result<Codec, Refusal> {
        match tag {
            0 => Ok(Codec::Plain),
            1 => Ok(Codec::Lz4),
            2 => Ok(Codec::Zstd),
            _ => Err(Refusal::Codec { tag }),
        }
    }

    /// The name of the packing, as the API shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Plain => "none",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Unpacks to exactly `size_bytes`, which is bounded before anything is allocated.
    pub fn unpack(self, packed: &[u8], size_bytes: usize) -> Result<Vec<u8>, Refusal> {
        if size_bytes > limits::BUNDLE_BYTES {
            return Err(Refusal::TooLarge { size_bytes });
        }
        let unpacked = match self {
            Codec::Plain => Some(packed.to_vec()),
            Codec::Lz4 => {
                let mut out = vec![0; size_bytes];
                let size = lz4_flex::block::decompress_into(packed, &mut out).ok();
                size.filter(|size| *size == size_bytes).map(|_| out)
            }
            Codec::Zstd => zstd::bulk::decompress(packed, size_bytes).ok(),
        };
        unpacked.filter(|body| body.len() == size_bytes).ok_or(Refusal::Packing)
    }

    /// Packs with zstd when that saves an eighth or more: for what is packed once and kept long.
    pub fn pack_tight(body: &[u8]) -> (Codec, Option<Vec<u8>>) {
        let packed = zstd::bulk::compress(body, 3).ok().filter(|packed| packed.len() + body.len() / WORTH < body.len());
        if packed.is_some() { (Codec::Zstd, packed) } else { (Codec::Plain, None) }
    }
}

/// How far bodies are packed at most. Ordered by how much it saves, and costs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Not at all.
    None,
    /// LZ4 where it saves an eighth or more.
    Lz4,
    /// Zstd where LZ4 saves a quarter, and zstd an eighth of what LZ4 leaves.
    #[default]
    Zstd,
}

impl Packing {
    /// Every packing.
    pub const ALL: [Packing; 3] = [Packing::None, Packing::Lz4, Packing::Zstd];

    /// Its name in configurations, and as nodes tell it to each other.
    pub const fn name(self) -> &'static str {
        match self {
            Packing::None => "none",
            Packing::Lz4 => "lz4",
            Packing::Zstd => "zstd",
        }
    }

    /// The packing of that name.
    pub fn from_name(name: &str) -> Option<Packing> {
        Packing::ALL.into_iter().find(|packing| packing.name() == name)
    }

    /// Packs a body as far as it is worth. What LZ4 cannot make smaller is left alone: that costs little to find out.
    pub fn pack(self, body: &[u8]) -> (Codec, Option<Vec<u8>>) {
        if self == Packing::None || body.len() < MIN_BYTES {
            return (Codec::Plain, None);
        }
        let lz4 = lz4_flex::block::compress(body);
        if lz4.len() + body.len() / WORTH >= body.len() {
            return (Codec::Plain, None);
        }
        if self == Packing::Zstd
            && lz4.len() + body.len() / PROMISING < body.len()
            && let Some(zstd) = deflated(body)
            && zstd.len() + lz4.len() / WORTH < lz4.len()
        {
            return (Codec::Zstd, Some(zstd));
        }
        (Codec::Lz4, Some(lz4))
    }
}

/// A body as one zstd frame; the same bytes for the same body.
fn deflated(body: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        // A context takes a megabyte to set up; bodies come one after the other.
        static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> =
            RefCell::new(zstd::bulk::Compressor::new(LEVEL).ok());
    }
    ZSTD.with_borrow_mut(|zstd| zstd.as_mut()?.compress(body).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trades() -> Vec<u8> {
        (0..400_u64)
            .flat_map(|n| format!("XRP/ETH {} sell 0.0014{} {};", n * 977, n % 89, n % 40).into_bytes())
            .collect()
    }

    #[test]
    fn what_packs_well_is_packed_the_more_the_further_it_may_be() {
        let body = trades();
        let sizes = Packing::ALL.map(|packing| {
            let (codec, packed) = packing.pack(&body);
            let packed = packed.unwrap_or_else(|| body.clone());
            assert_eq!(codec.unpack(&packed, body.len()).unwrap(), body);
            (codec, packed.len())
        });
        assert_eq!(sizes.map(|(codec, _)| codec), [Codec::Plain, Codec::Lz4, Codec::Zstd]);
        assert!(sizes.is_sorted_by(|a, b| a.1 > b.1), "{sizes:?}");
    }

    #[test]
    fn noise_and_little_things_are_left_alone() {
        let mut noise = vec![0; 60_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for body in [noise, vec![7; MIN_BYTES - 1], Vec::new()] {
            assert_eq!(Packing::Zstd.pack(&body), (Codec::Plain, None));
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked_beyond_what_its_header_says() {
        let zeros = vec![0; limits::BUNDLE_BYTES];
        for (codec, packed) in [Packing::Lz4.pack(&zeros), Packing::Zstd.pack(&zeros)] {
            let packed = packed.unwrap();
            assert!(packed.len() < 8_192, "{codec:?}");
            assert_eq!(codec.unpack(&packed, 1_000), Err(Refusal::Packing), "{codec:?}");
            let size_bytes = limits::BUNDLE_BYTES + 1;
            assert_eq!(codec.unpack(&packed, size_bytes), Err(Refusal::TooLarge { size_bytes }), "{codec:?}");
        }
    }
}
