//! Files that people have.

use koalr_files::opsgenie::files::{Reading, read};
use koalr_files::opsgenie::mapping;

/// Saved records in each form, read with the settings that people give.
pub(crate) fn saved_records(data: &[u8]) {
    let stated = Reading {
        time_zone: "Europe/Berlin".parse().ok(),
        time_format: Some("%d/%m/%Y %H:%M".into()),
        ..Reading::default()
    };
    for file in ["saved.json", "saved.ndjson", "saved.csv"] {
        for reading in [&Reading::default(), &stated] {
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
