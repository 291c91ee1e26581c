//! Bundles of a villain with a key: every field and every message may be wrong, the signature holds.
#![no_main]

use metanode_fuzz::{Plan, believed, check};

libfuzzer_sys::fuzz_target!(|plan: Plan| {
    if let Ok(bundle) = check(&plan.wire()) {
        believed(&bundle);
    }
});
