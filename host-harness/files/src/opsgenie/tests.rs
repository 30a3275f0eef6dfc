//! Files as they may come, damaged in every way.

#[path = "../../../../tests/mangle.rs"]
mod mangle;

use super::*;

/// A bounded run of what `fuzz/` runs without bounds: files in many damaged copies.
#[test]
fn whatever_a_file_holds_reading_it_comes_to_its_end() {
    let saved: [&[u8]; 4] = [
        include_bytes!("../../../../tests/fixtures/opsgenie/examples.json"),
        b"Incident ID,Created at,Status,Title,Resolved at\no-1,2025-03-01T10:00:00Z,closed,\"One, two\",1740826800\n",
        b"{\"id\":\"1\",\"createdAt\":\"2025-03-01T10:00:00Z\",\"message\":\"One\"}\n{\"id\":\"2\"}\n",
        b"# names\nuser,olivia@example.com,user-1\nservice,Checkout,service-1\n",
    ];
    let mut draw = fastrand::Rng::with_seed(5);
    let reading = files::Reading::new(1_795_521_600_000_000);
    let mut read = 0;
    for seed in saved {
        for _ in 0..300 {
            let input = mangle::mangled(seed, &mut draw);
            for file in ["saved.json", "saved.ndjson", "saved.csv"] {
                read += usize::from(files::read(file, &input, &reading).is_ok());
            }
            if let Ok(text) = std::str::from_utf8(&input) {
                read += usize::from(mapping::read(text).is_ok());
            }
        }
    }
    assert!(read > 100, "damage leaves something to read: {read}");
}

#[test]
fn whatever_a_directory_file_holds_reading_it_comes_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let seeds: [&[u8]; 3] = [
        b"id,email,name,external_ids,aliases\nu-1,olivia@example.com,\"Olivia, O.\",a;b,c\n",
        b"[{\"id\":\"u-1\",\"email\":\"olivia@example.com\",\"name\":\"Olivia\",\"external_ids\":[],\"aliases\":[]}]",
        b"apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: checkout\n  title: Checkout\n",
    ];
    let mut draw = fastrand::Rng::with_seed(6);
    for seed in seeds {
        for _ in 0..200 {
            let input = mangle::mangled(seed, &mut draw);
            for extension in ["csv", "json", "yaml"] {
                let path = directory.path().join(format!("file.{extension}"));
                std::fs::write(&path, &input).unwrap();
                for error in [crate::import::users(&path).err(), crate::import::services(&path).err()] {
                    assert!(error.is_none_or(|error| !error.to_string().is_empty()));
                }
            }
        }
    }
}
