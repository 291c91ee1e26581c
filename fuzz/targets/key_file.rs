//! Key files. Sealed ones are not opened: a file may ask for a gigabyte, and deriving is not what is tested here.
#![no_main]

use metanode::keys::{KeyError, KeyFile, Protection};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(file) = KeyFile::parse(text) else { return };
    let written = file.to_json().expect("a key file is JSON");
    let again = KeyFile::parse(&written).expect("what was written is read");
    assert_eq!(again.node_id(), file.node_id());
    assert_eq!(again.is_encrypted(), file.is_encrypted());
    if !file.is_encrypted() {
        let never = || Err(KeyError::Missing);
        assert!(file.open(Protection::Required, never).is_err());
        if let Ok(identity) = file.open(Protection::PlainAllowed, never) {
            assert_eq!(identity.node_id(), file.node_id());
        }
    }
});
