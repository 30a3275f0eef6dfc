//! Embeds the component that was built with this program, so that `--plugin` is optional.
//!
//! cargo builds the two for different targets, so the component must be there first.

use std::path::Path;

fn main() -> Result<(), String> {
    let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugin/incidentio.wasm");
    println!("cargo::rerun-if-changed={}", component.display());
    if !component.is_file() {
        return Err(format!("{} is missing: run `cargo xtask plugin` first", component.display()));
    }
    println!("cargo::rustc-env=KOALR_PLUGIN={}", component.display());
    Ok(())
}
