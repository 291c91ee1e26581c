//! Gossip frames: one bundle after the other.
#![no_main]

use bytes::Bytes;
use metanode::types::limits::FRAME_BUNDLES;
use metanode::wire::{Bundle, Verified};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(bundles) = Bundle::split(Bytes::copy_from_slice(bytes)) else { return };
    assert!((1..=FRAME_BUNDLES).contains(&bundles.len()));
    let together: Vec<u8> = bundles.iter().flat_map(|bundle| bundle.wire().to_vec()).collect();
    assert_eq!(together, bytes);
    for bundle in bundles {
        if let Ok(bundle) = Verified::check(bundle, metanode_fuzz::network()) {
            metanode_fuzz::believed(&bundle);
        }
    }
});
