//! `users import` and `services import`.

use anyhow::Result;
use koalr_host::HostError;
use koalr_host::port::{Directory, Imported, Organisations};
use koalr_host::sqlite::SqliteStore;
use serde::Serialize;

use super::print_json;
use crate::cli::{Import, OneOrg};
use crate::{import, open};

#[derive(Serialize)]
struct Document<'a> {
    organisation: &'a str,
    kind: &'static str,
    #[serde(flatten)]
    imported: Imported,
}

pub(crate) async fn users(options: Import) -> Result<()> {
    let users = import::users(&options.file)?;
    let store = connected(&options.target).await?;
    report("users", &options.target, store.import_users(&options.target.org, users).await?)
}

pub(crate) async fn services(options: Import) -> Result<()> {
    let services = import::services(&options.file)?;
    let store = connected(&options.target).await?;
    report("services", &options.target, store.import_services(&options.target.org, services).await?)
}

async fn connected(target: &OneOrg) -> Result<SqliteStore> {
    let store = open::store(&target.database)?;
    match store.organisation(&target.org).await? {
        Some(_) => Ok(store),
        None => Err(HostError::UnknownOrganisation(target.org.clone()).into()),
    }
}

fn report(kind: &'static str, target: &OneOrg, imported: Imported) -> Result<()> {
    if target.json.json {
        return print_json(&Document { organisation: target.org.as_str(), kind, imported });
    }
    let Imported { added, updated, unchanged } = imported;
    println!("{kind}: {added} added, {updated} updated, {unchanged} unchanged");
    println!(
        "Incidents are linked to them as they change; `backfill --days N` links those of the last N days now."
    );
    Ok(())
}
