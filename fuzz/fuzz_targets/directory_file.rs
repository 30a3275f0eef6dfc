#![no_main]

#[path = "../../host-harness/harness/src/import.rs"]
mod import;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let directory = std::env::temp_dir();
    for extension in ["csv", "json", "yaml"] {
        let path = directory.join(format!("koalr-fuzz-{}.{extension}", std::process::id()));
        if std::fs::write(&path, data).is_ok() {
            let _ = import::users(&path);
            let _ = import::services(&path);
        }
    }
});
