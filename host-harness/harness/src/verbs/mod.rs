//! One module for each group of verbs; each opens what it needs, does one thing, and prints it.

pub(crate) mod backup;
pub(crate) mod connect;
pub(crate) mod deliveries;
pub(crate) mod directory;
pub(crate) mod inspect;
pub(crate) mod migrate;
pub(crate) mod mttr;
pub(crate) mod report;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod simulate;
pub(crate) mod sync;
pub(crate) mod webhook;

use crate::out::say;
use anyhow::{Context, Result};

/// An import that brought nothing, because nothing of what was given can be read. Its exit code is its own.
#[derive(Debug, thiserror::Error)]
#[error("nothing was imported: {0}")]
pub(crate) struct NothingImported(pub(crate) String);

/// Prints one JSON document.
pub(crate) fn print_json(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document).context("the answer cannot be written as JSON")?;
    Ok(say!("{text}")?)
}

/// A file's bytes, or standard input's for `-`.
pub(crate) fn read(path: &std::path::Path) -> Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
            .context("standard input cannot be read")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}
