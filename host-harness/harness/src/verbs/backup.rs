//! `db backup`.

use std::path::Path;

use anyhow::Result;
use koalr_host::sqlite::SqliteStore;
use serde::Serialize;

use super::print_json;
use crate::cli::{Database, Json};
use crate::open;
use crate::out::say;

#[derive(Serialize)]
struct Document {
    file: String,
    bytes: u64,
    /// What the secrets in the copy are sealed with.
    sealing_key_file: String,
}

pub(crate) async fn run(file: &Path, database: &Database, json: Json) -> Result<()> {
    let bytes = SqliteStore::backup(&database.db, file).await?;
    let key = open::key_file(database);
    if json.json {
        let (file, sealing_key_file) = (file.display().to_string(), key.display().to_string());
        return print_json(&Document { file, bytes, sealing_key_file });
    }
    say!("{} holds the database as it was, {bytes} bytes.", file.display())?;
    say!("Its secrets open with the key in {} only: keep a copy of that too, elsewhere.", key.display())?;
    Ok(())
}
