//! Embeds the components that were built with this program, so that `--plugin` is optional.
//!
//! cargo builds the two for different targets, so the components must be there first.

use std::path::Path;

fn main() -> Result<(), String> {
    for (file, variable) in [("incidentio.wasm", "KOALR_PLUGIN"), ("opsgenie.wasm", "KOALR_IMPORTER")] {
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugin").join(file);
        println!("cargo::rerun-if-changed={}", component.display());
        if !component.is_file() {
            return Err(format!("{} is missing: run `cargo xtask plugin` first", component.display()));
        }
        println!("cargo::rustc-env={variable}={}", component.display());
    }
    Ok(())
}
