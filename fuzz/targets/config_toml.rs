//! Configurations: faults or a configuration, and a configuration passes its own check.
#![no_main]

use std::path::Path;

use metanode::config::Config;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Config::from_toml(Path::new("fuzz.toml"), text, Some("/home/nobody")) {
        Ok(config) => assert!(config.check().is_ok()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
