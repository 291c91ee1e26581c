//! How a bundle's body is packed. Outside the signature: a relay may pack anew.

use crate::types::limits;

use super::refusal::Refusal;

/// Bodies below this are sent plain, bytes.
const MIN_BYTES: usize = 512;

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

    /// Packs with LZ4 when that saves an eighth or more, plain otherwise.
    pub fn pack(body: &[u8]) -> (Codec, Option<Vec<u8>>) {
        if body.len() < MIN_BYTES {
            return (Codec::Plain, None);
        }
        let packed = lz4_flex::block::compress(body);
        if packed.len() + body.len() / 8 < body.len() { (Codec::Lz4, Some(packed)) } else { (Codec::Plain, None) }
    }

    /// Packs with zstd when that saves an eighth or more: for what is packed once and kept long.
    pub fn pack_tight(body: &[u8]) -> (Codec, Option<Vec<u8>>) {
        let packed = zstd::bulk::compress(body, 3).ok().filter(|packed| packed.len() + body.len() / 8 < body.len());
        if packed.is_some() { (Codec::Zstd, packed) } else { (Codec::Plain, None) }
    }
}
