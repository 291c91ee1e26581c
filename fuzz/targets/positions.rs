//! Frames of positions, from bytes: what is read is written the same.
#![no_main]

use metanode::wire::PositionFrame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = PositionFrame::decode(bytes) {
        assert_eq!(frame.encode(), bytes);
    }
});
