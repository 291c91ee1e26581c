//! Signed headers: one header has one encoding.
#![no_main]

use metanode::wire::{SIGNED_BYTES, SignedHeader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedHeader::decode(bytes) {
        assert_eq!(signed.encode(), bytes[..SIGNED_BYTES]);
        let _ = signed.check(metanode_fuzz::network());
    }
});
