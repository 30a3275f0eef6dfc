//! Files that people have.

use std::path::Path;

use koalr_files::import::{services_of, users_of};
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
    let files: &[&str] = match data.trim_ascii_start() {
        [b'{' | b'[', ..] => &["saved.json", "saved.ndjson"],
        _ => &["saved.csv"],
    };
    for file in files {
        for reading in [&plain, &stated] {
            if let Ok(saved) = read(file, data, reading) {
                let pieces = saved.pieces(100_000);
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

/// Users and services in each form.
pub(crate) fn directory_files(data: &[u8]) {
    for name in ["file.csv", "file.json", "file.yaml"] {
        let path = Path::new(name);
        if let Ok(users) = users_of(path, data) {
            assert!(users.entries.iter().all(|user| !user.id.is_empty() && user.email.contains('@')));
        }
        if let Ok(services) = services_of(path, data) {
            assert!(
                services.entries.iter().all(|service| !service.id.is_empty() && !service.name.is_empty())
            );
        }
    }
}
