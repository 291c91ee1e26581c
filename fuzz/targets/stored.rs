//! Rows of the store, damaged: an answer or none, never a panic.
#![no_main]

use bytes::Bytes;
use metanode::feed::Stored;
use metanode::wire::{Bundle, FeedId, Slot};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let row = Bytes::copy_from_slice(bytes);
    if let Some(stored) = Stored::decode(&row) {
        assert_eq!(stored.wire.len() + 18 + 4 * stored.refused.len(), row.len());
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
