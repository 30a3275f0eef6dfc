//! Where bytes from outside come in, each as a function that must return whatever it is given.
//!
//! `fuzz/` runs them without bounds, `tests/it/fuzz.rs` for a bounded time. The crate depends on nothing but the code
//! that it feeds, so that a fuzz target is built without wasmtime.

#![allow(clippy::panic, reason = "a fuzz target tells what it found by a panic")]

mod codec;
mod files;
mod plugin;
mod provider;
mod seeds;

use std::io;
use std::path::Path;

/// A function that must return whatever it is given.
pub type Entry = fn(&[u8]);

/// Every entry by its name, which is that of its fuzz target.
pub const ENTRIES: [(&str, Entry); 12] = [
    ("json", codec::json),
    ("instants", codec::instants),
    ("signature_headers", plugin::signature_headers),
    ("webhook_body", plugin::webhook_body),
    ("api_page", plugin::api_page),
    ("opsgenie_page", plugin::opsgenie_page),
    ("stored_notes", plugin::stored_notes),
    ("incidentio_answers", provider::incidentio_answers),
    ("opsgenie_answers", provider::opsgenie_answers),
    ("saved_records", files::saved_records),
    ("mapping_file", files::mapping_file),
    ("directory_files", files::directory_files),
];

/// Feeds the entry of this name; there is none of another.
pub fn feed(name: &str, data: &[u8]) {
    match ENTRIES.iter().find(|(known, _)| *known == name) {
        Some((_, entry)) => entry(data),
        None => panic!("no entry is called {name}"),
    }
}

/// Where runs begin: the fixtures of the project in this directory, in small parts.
pub fn seeds(project: &Path) -> io::Result<Vec<Vec<u8>>> {
    seeds::seeds(project)
}
