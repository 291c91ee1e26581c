//! Bundles, byte by byte. Almost none has a signature that holds; see `sealed_bundle` for what is behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = metanode_fuzz::check(bytes) {
        metanode_fuzz::believed(&bundle);
    }
});
