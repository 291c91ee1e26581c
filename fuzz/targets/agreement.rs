//! Messages of agreement: what is read has one encoding, and nothing is believed that was not signed.
#![no_main]

use metanode::types::Hash;
use metanode::types::chain::ChainId;
use metanode::wire::agreement::{Attested, Certificate, Evidence, Saying};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let chain = ChainId(Hash([9; 32]));
    if let Ok(saying) = Saying::decode(bytes) {
        assert_eq!(saying.encode(), bytes);
        let _ = saying.message.holds(chain);
    }
    if let Ok(certificate) = Certificate::decode(bytes) {
        assert_eq!(certificate.encode(), bytes);
    }
    if let Ok(evidence) = Evidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes);
    }
});
