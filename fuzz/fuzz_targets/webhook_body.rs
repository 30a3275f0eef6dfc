#![no_main]

#[path = "../../tests/entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::webhook_body(data));
