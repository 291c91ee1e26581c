//! Proofs as they are handed around.
#![no_main]

use metanode::wire::Proof;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = serde_json::from_slice::<Proof>(bytes) {
        let written = serde_json::to_vec(&proof).expect("a proof is JSON");
        assert_eq!(serde_json::from_slice::<Proof>(&written).expect("what was written is read"), proof);
        let _ = proof.verify(metanode_fuzz::network());
    }
});
