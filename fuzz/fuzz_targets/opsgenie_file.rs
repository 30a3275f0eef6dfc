#![no_main]

#[path = "../../host-harness/harness/src/opsgenie/mod.rs"]
mod opsgenie;

use opsgenie::files::{Reading, read};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for file in ["saved.json", "saved.ndjson", "saved.csv"] {
        let _ = read(file, data, &Reading::default());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = opsgenie::mapping::read(text);
    }
});
