//! Two schemas and a body, as text on three lines: documents or faults, and what is called compatible takes the body.
#![no_main]

use metanode::schema::{Document, compare};
use metanode::wire::kind::schemas::Compatibility;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n').filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let (Some(old), Some(new), Some(body)) = (lines.next(), lines.next(), lines.next()) else { return };
    let read = |schema: &Value| match Document::read(schema, "/schema") {
        Ok(document) => Some(document),
        Err(faults) => {
            assert!(!faults.is_empty() && faults.as_slice().iter().all(|fault| fault.path.starts_with("/schema")));
            None
        }
    };
    let (Some(old), Some(new)) = (read(&old), read(&new)) else { return };
    let mut fuel = 100_000;
    if compare(Compatibility::Backward, &new, &[(1, &old)], &mut fuel).is_empty() {
        assert!(!old.allows(&body) || new.allows(&body));
    }
});
