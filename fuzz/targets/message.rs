//! Messages: what is read can be written and read again.
#![no_main]

use metanode::wire::Message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::decode(bytes) {
        metanode_fuzz::same_again(&message);
    }
});
