//! Sealed transactions on their way to validators: many in one frame of gossip, and in one call of a client, because
//! each frame has a price of its own.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::transactions::SEALED_BYTES;
use crate::wire::WIRE_VERSION;

/// A pack, bytes: one seal of the largest sort always fits.
pub const PACK_BYTES: usize = PREFIX + SIZE + SEALED_BYTES;
const PREFIX: usize = 1 + 2;
const SIZE: usize = 4;

/// Why bytes are no pack.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotPack {
    #[error("a pack of {0} bytes; {PACK_BYTES} are the most")]
    TooLarge(usize),
    #[error("a pack of version {0}")]
    Version(u8),
    #[error("a pack that ends too early, or has nothing in it")]
    Truncated,
}

/// Seals in one frame, as bytes. None of them is checked yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pack {
    /// Numbers what is said again, because gossip brings the same bytes once.
    pub again: u16,
    /// The bytes of each: [`super::Sealed::bytes`].
    pub seals: Vec<Bytes>,
}

impl Pack {
    /// As many of the first seals as fit; none when there are none.
    pub fn fill(again: u16, waiting: &mut impl Iterator<Item = Bytes>, left: &mut Option<Bytes>) -> Option<Pack> {
        let (mut seals, mut bytes) = (Vec::new(), PREFIX);
        while let Some(sealed) = left.take().or_else(|| waiting.next()) {
            if bytes + SIZE + sealed.len() > PACK_BYTES && !seals.is_empty() {
                *left = Some(sealed);
                break;
            }
            bytes += SIZE + sealed.len();
            seals.push(sealed);
        }
        (!seals.is_empty()).then_some(Pack { again, seals })
    }

    /// All of these, in as few packs as hold them; the first is numbered `again` and one.
    pub fn all(again: &mut u16, seals: impl IntoIterator<Item = Bytes>) -> Vec<Pack> {
        let (mut waiting, mut left, mut packs) = (seals.into_iter(), None, Vec::new());
        while let Some(pack) = Pack::fill(again.wrapping_add(1), &mut waiting, &mut left) {
            *again = pack.again;
            packs.push(pack);
        }
        packs
    }

    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let size: usize = self.seals.iter().map(|sealed| SIZE + sealed.len()).sum();
        let mut bytes = BytesMut::with_capacity(PREFIX + size);
        bytes.put_u8(WIRE_VERSION);
        bytes.put_u16_le(self.again);
        for sealed in &self.seals {
            bytes.put_u32_le(sealed.len() as u32);
            bytes.put_slice(sealed);
        }
        bytes.freeze()
    }

    /// Reads [`Pack::encode`].
    pub fn decode(mut bytes: Bytes) -> Result<Pack, NotPack> {
        if bytes.len() > PACK_BYTES {
            return Err(NotPack::TooLarge(bytes.len()));
        }
        if bytes.len() < PREFIX {
            return Err(NotPack::Truncated);
        }
        let version = bytes.get_u8();
        if version != WIRE_VERSION {
            return Err(NotPack::Version(version));
        }
        let (again, mut seals) = (bytes.get_u16_le(), Vec::new());
        while bytes.has_remaining() {
            let size = bytes.try_get_u32_le().map_err(|_| NotPack::Truncated)? as usize;
            if size == 0 || size > bytes.remaining() {
                return Err(NotPack::Truncated);
            }
            seals.push(bytes.split_to(size));
        }
        if seals.is_empty() { Err(NotPack::Truncated) } else { Ok(Pack { again, seals }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packs_hold_everything_in_its_order_and_none_is_too_large(
            seals in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..30_000), 0..12),
        ) {
            let seals: Vec<Bytes> = seals.into_iter().map(Bytes::from).collect();
            let mut again = 65_535;
            let packs = Pack::all(&mut again, seals.clone());
            let mut found = Vec::new();
            for (n, pack) in packs.into_iter().enumerate() {
                let bytes = pack.encode();
                prop_assert!(bytes.len() <= PACK_BYTES);
                prop_assert_eq!(usize::from(pack.again), n);
                prop_assert_eq!(Pack::decode(bytes), Ok(pack.clone()));
                found.extend(pack.seals);
            }
            prop_assert_eq!(found, seals);
        }

        #[test]
        fn any_bytes_are_refused_or_are_a_pack(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(pack) = Pack::decode(bytes.clone().into()) {
                prop_assert_eq!(pack.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_bytes_of_a_pack_are_these() {
        let pack = Pack { again: 258, seals: vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")] };
        assert_eq!(hex::encode(pack.encode()), "0102010200000061620100000063");
        let decode = |text: &str| Pack::decode(hex::decode(text).unwrap().into());
        assert_eq!(decode("0102010200000061620100000063"), Ok(pack));
        assert_eq!(decode("0202010100000063"), Err(NotPack::Version(2)));
        for truncated in ["", "0102", "010201", "01020101000000", "0102010000000063", "010201010000006300"] {
            assert_eq!(decode(truncated), Err(NotPack::Truncated), "{truncated}");
        }
        assert_eq!(Pack::decode(vec![1; PACK_BYTES + 1].into()), Err(NotPack::TooLarge(PACK_BYTES + 1)));
        assert_eq!(Pack::all(&mut 0, [Bytes::from(vec![1; SEALED_BYTES])]).len(), 1, "the largest seal fits");
    }
}
