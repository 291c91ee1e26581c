//! Rows of the store, damaged: an answer or none, never a panic.
#![no_main]

use bytes::Bytes;
use metanode::feed::Stored;
use metanode::wire::{Bundle, FeedId, Hops, Slot};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let row = Bytes::copy_from_slice(bytes);
    if let Some(stored) = Stored::decode(&row) {
        let behind = &row[18 + 4 * stored.refused.len()..];
        let way = behind.strip_prefix(&stored.wire[..]).expect("the bundle is there as it is");
        assert!(way.is_empty() || Bundle::size_of(behind) == Some(stored.wire.len()), "a way is behind a whole bundle");
        if let Some(hops) = stored.hops {
            assert_eq!(Hops::decode(&hops.encode()), Some(hops));
        }
        if let Ok(bundle) = Bundle::decode(stored.wire)
            && let Ok(body) = bundle.unpack()
        {
            let _ = bundle.divide(&body).count();
        }
    }
    if let Some(slot) = Slot::from_bytes(bytes) {
        assert_eq!(slot.to_bytes()[..], *bytes);
    }
    if let Some(feed) = FeedId::from_bytes(bytes) {
        assert_eq!(feed.to_bytes()[..], *bytes);
    }
});
