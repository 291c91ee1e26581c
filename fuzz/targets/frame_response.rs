//! Responses of the sync protocol: what is read is written as it was, or shorter, and reads the same.
#![no_main]

use metanode::wire::Response;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Response::decode(bytes) {
        let written = frame.encode();
        assert!(written.len() <= bytes.len());
        assert_eq!(Response::decode(&written).expect("what was written is read"), frame);
    }
});
