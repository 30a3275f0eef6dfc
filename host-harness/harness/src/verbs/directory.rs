//! `users import` and `services import`.

use anyhow::Result;
use koalr_files::import::{self, Service, User};
use koalr_host::Host;
use koalr_host::port::{HostService, HostUser, Imported};
use serde::Serialize;

use super::print_json;
use super::sync::derive_anew;
use crate::cli::{Import, OneOrg};
use crate::open;
use crate::shutdown::Shutdown;

#[derive(Serialize)]
struct Document<'a> {
    organisation: &'a str,
    kind: &'static str,
    #[serde(flatten)]
    imported: Imported,
    /// Stored incidents whose people or services are linked otherwise now.
    incidents_updated: u64,
}

pub(crate) async fn users(options: Import) -> Result<()> {
    let user = |User { id, email, name }| HostUser { id, email, name };
    let users = import::users(&options.file)?.into_iter().map(user).collect();
    let host = open::host(&options.target.database).await?;
    let imported = host.import_users(&options.target.org, users).await?;
    report(&host, "users", &options.target, imported).await
}

pub(crate) async fn services(options: Import) -> Result<()> {
    let service =
        |Service { id, name, external_ids, aliases }| HostService { id, name, external_ids, aliases };
    let services = import::services(&options.file)?.into_iter().map(service).collect();
    let host = open::host(&options.target.database).await?;
    let imported = host.import_services(&options.target.org, services).await?;
    report(&host, "services", &options.target, imported).await
}

async fn report(host: &Host, kind: &'static str, target: &OneOrg, imported: Imported) -> Result<()> {
    let incidents_updated = derive_anew(host, &target.org, &Shutdown::listen()?).await?.unwrap_or(0);
    if target.json.json {
        let organisation = target.org.as_str();
        return print_json(&Document { organisation, kind, imported, incidents_updated });
    }
    let Imported { added, updated, unchanged } = imported;
    println!("{kind}: {added} added, {updated} updated, {unchanged} unchanged");
    println!("{incidents_updated} stored incidents are linked otherwise now.");
    Ok(())
}
