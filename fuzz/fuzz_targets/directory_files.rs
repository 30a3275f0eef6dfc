#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| koalr_entries::feed("directory_files", data));
