//! Opens what the verbs work on: database, sealing key, component.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use koalr_host::cache::ModuleCache;
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::Keyring;
use koalr_host::{Host, Network, Proxy};

use crate::cli::{Database, NetworkArgs};

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
    // Not everything that is empty is to become one.
    let is_empty = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0);
    ensure!(!is_empty, "{} is empty; `connect` makes a database of it", path.display());
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

/// Where the sealing key is.
pub(crate) fn key_file(database: &Database) -> PathBuf {
    let beside = || {
        let mut name = database.db.clone().into_os_string();
        name.push(".key");
        PathBuf::from(name)
    };
    database.key_file.clone().unwrap_or_else(beside)
}

async fn with_component(database: &Database, store: SqliteStore) -> Result<Host> {
    let keys = Keyring::load_or_create(&key_file(database), &store).await?;
    let builder = Host::builder(Arc::new(store), keys).importer(IMPORTER.to_vec());
    let mut builder =
        builder.allow(ORIGINS).allow(&database.allow_origin).network(network(&database.network)?);
    if let Some(directory) = cache_directory() {
        builder = builder.cache(ModuleCache::new(directory));
    }
    Ok(builder.load(&component(database.plugin.as_deref())?).await?)
}

/// How requests leave, by the options and the variables that other programs know too.
fn network(options: &NetworkArgs) -> Result<Network> {
    let mut network = Network::new().trust_system()?;
    for file in &options.ca_file {
        let named = || format!("--ca-file {}", file.display());
        network = network.trust(&std::fs::read(file).with_context(named)?).with_context(named)?;
    }
    let set = |names: [&str; 2]| {
        names.into_iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
    };
    // An argument can be read by every process on the machine, an environment by its owner only.
    let (address, from) = match &options.proxy {
        Some(given) if given.contains('@') => {
            bail!(
                "--proxy holds a user or a password, which others can read; set the variable HTTPS_PROXY instead"
            )
        }
        Some(given) => (Some(given.clone()), "--proxy"),
        None => (set(["HTTPS_PROXY", "https_proxy"]), "HTTPS_PROXY"),
    };
    let Some(address) = address else {
        ensure!(
            !options.proxy_resolves,
            "--proxy-resolves needs a proxy: --proxy or the variable HTTPS_PROXY"
        );
        return Ok(network);
    };
    let except = set(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let proxy = Proxy::new(&address, &except).context(from)?;
    Ok(network.by(if options.proxy_resolves { proxy.resolves() } else { proxy }))
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
