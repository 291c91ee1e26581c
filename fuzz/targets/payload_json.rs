//! Payloads in JSON: one byte of kind, then the text. Whatever comes in, the answer is a payload or its faults.
#![no_main]

use metanode::wire::{Kind, Payload};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    match Payload::from_json_str(kind, text) {
        Ok(payload) => {
            let written = payload.encode();
            assert_eq!(Payload::decode(kind, &written).expect("what was written is read"), payload);
            assert_eq!(Payload::from_json(kind, &payload.to_json()).expect("its JSON is read"), payload);
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            assert!(faults.as_slice().iter().all(|f| f.path.starts_with("/payload") && !f.detail.is_empty()));
        }
    }
});
