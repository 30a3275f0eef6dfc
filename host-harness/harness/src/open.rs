//! Opens what the verbs work on: database, sealing key, component.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use koalr_host::Host;
use koalr_host::cache::ModuleCache;
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::Keyring;

use crate::cli::Database;

/// The component that was built with this program.
pub(crate) const BUILT_IN: &[u8] = include_bytes!(env!("KOALR_PLUGIN"));

/// The one that imports history from Opsgenie.
pub(crate) const IMPORTER: &[u8] = include_bytes!(env!("KOALR_IMPORTER"));

/// The bytes of a component file, or of the built-in one.
pub(crate) fn component(path: Option<&Path>) -> Result<Vec<u8>> {
    match path {
        Some(path) => {
            std::fs::read(path).with_context(|| format!("the component {} cannot be read", path.display()))
        }
        None => Ok(BUILT_IN.to_vec()),
    }
}

/// Only the records: enough for what needs no component.
pub(crate) fn store(database: &Database) -> Result<SqliteStore> {
    // A misspelt name must not look like an empty database.
    let path = &database.db;
    ensure!(path.exists(), "there is no database {}; `connect` makes one", path.display());
    Ok(SqliteStore::open(path)?)
}

/// The host with its component, on a database that exists.
pub(crate) async fn host(database: &Database) -> Result<Host> {
    with_component(database, store(database)?).await
}

/// The host with its component, on a database that is made if there is none.
pub(crate) async fn new_host(database: &Database) -> Result<Host> {
    with_component(database, SqliteStore::open(&database.db)?).await
}

async fn with_component(database: &Database, store: SqliteStore) -> Result<Host> {
    let beside = || {
        let mut name = database.db.clone().into_os_string();
        name.push(".key");
        PathBuf::from(name)
    };
    let keys = Keyring::load_or_create(&database.key_file.clone().unwrap_or_else(beside))?;
    let builder = Host::builder(Arc::new(store), keys).importer(IMPORTER.to_vec());
    let mut builder = builder.allow(ORIGINS).allow(&database.allow_origin);
    if let Some(directory) = cache_directory() {
        builder = builder.cache(ModuleCache::new(directory));
    }
    Ok(builder.load(&component(database.plugin.as_deref())?).await?)
}

/// What the components that this program carries may call.
pub(crate) const ORIGINS: [&str; 3] =
    ["https://api.incident.io", "https://api.opsgenie.com", "https://api.eu.opsgenie.com"];

/// Where compiled components are kept: the user's cache. None where there is no such place.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("koalr-harness"))
}
