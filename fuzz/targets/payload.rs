//! Payloads in bincode: two bytes of kind, then the payload. What is read has one encoding and one JSON form.
#![no_main]

use metanode::wire::{Faults, Kind, Payload};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((tag, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let kind = Kind::ALL[usize::from(u16::from_be_bytes(*tag)) % Kind::ALL.len()];
    let Ok(payload) = Payload::decode(kind, bytes) else { return };
    let written = payload.encode();
    // Compared as bytes: a number that is none is not equal to itself.
    assert_eq!(Payload::decode(kind, &written).expect("what was written is read").encode(), written);
    let mut faults = Faults::default();
    payload.check(&mut faults);
    if faults.is_empty() {
        let again = Payload::from_json(kind, &payload.to_json()).expect("a sound payload is sound as JSON");
        assert_eq!(again.encode(), written, "{kind}");
    }
});
