//! Endorsements of replicated state, from bytes: what is read is written the same, and noise endorses nothing.
#![no_main]

use metanode::ledger::{Agreement, verify_endorsement};
use metanode::types::Hash;
use metanode::wire::ledger::Endorsement;
use metanode::wire::{Request, Response};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let file = [b"metanode/endorsement/1".as_slice(), bytes].concat();
    for file in [bytes, file.as_slice()] {
        let Ok(read) = Endorsement::decode(file) else { continue };
        assert_eq!(read.encode().expect("what was read is written"), file);
        let trusted = read.finalities.first().map_or(Hash::ZERO, |first| first.header.validators);
        let _ = verify_endorsement(&read, read.extent.chain, trusted, &Agreement);
    }
    // The two frames it is asked for with: the third of requests about the state, the fourth of answers.
    for (before, is_request) in [([5u8, 3], true), ([6, 3], false)] {
        let frame = [before.as_slice(), bytes].concat();
        if is_request && let Ok(request) = Request::decode(&frame) {
            assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(&request));
        } else if let Ok(response) = Response::decode(&frame) {
            assert_eq!(Response::decode(&response.encode()).as_ref(), Ok(&response));
        }
    }
});
