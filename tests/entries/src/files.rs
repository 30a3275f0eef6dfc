//! Files that people have.

use koalr_files::opsgenie::files::{Reading, read};
use koalr_files::opsgenie::mapping;

/// 24 November 2026.
const NOW: i64 = 1_795_521_600_000_000;

/// Saved records in each form, read with the settings that people give.
pub(crate) fn saved_records(data: &[u8]) {
    let plain = Reading::new(NOW);
    let mut stated = plain.clone();
    stated.instants.time_zone = "Europe/Berlin".parse().ok();
    stated.instants.time_format = "%d/%m/%Y %H:%M".parse().ok();
    for file in ["saved.json", "saved.ndjson", "saved.csv"] {
        for reading in [&plain, &stated] {
            if let Ok(saved) = read(file, data, reading) {
                let pieces = saved.pieces(1_000);
                assert!(saved.records() == 0 || !pieces.is_empty(), "records are in no piece");
                // What the component is given is what it reads.
                for piece in pieces {
                    crate::provider::opsgenie_piece(&piece);
                }
            }
        }
    }
}

/// Mapping files.
pub(crate) fn mapping_file(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = mapping::read(text);
    }
}
