//! Proofs as they are handed around.
#![no_main]

use metanode::wire::Proof;
use metanode::wire::ledger::AnchorProof;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(proof) = std::str::from_utf8(bytes).ok().and_then(|text| AnchorProof::from_json(text).ok()) {
        assert_eq!(AnchorProof::from_json(&proof.to_json()).as_ref(), Ok(&proof));
    }
    if let Ok(proof) = serde_json::from_slice::<Proof>(bytes) {
        let written = serde_json::to_vec(&proof).expect("a proof is JSON");
        assert_eq!(serde_json::from_slice::<Proof>(&written).expect("what was written is read"), proof);
        let _ = proof.verify(metanode_fuzz::network());
    }
});
