//! `users import` and `services import`.

use anyhow::Result;
use koalr_files::import::{self, LeftOut, Service, User};
use koalr_host::Host;
use koalr_host::port::{Ambiguity, HostService, HostUser, Imported};
use serde::Serialize;

use super::sync::derive_anew;
use super::{NothingImported, print_json};
use crate::cli::{Import, OneOrg};
use crate::open;
use crate::out::{note, say};
use crate::shutdown::Shutdown;
use crate::view::{counted, printable};

/// Names that are shown; `--json` has all.
const SHOWN: usize = 15;

#[derive(Serialize)]
struct Document<'a> {
    organisation: &'a str,
    kind: &'static str,
    #[serde(flatten)]
    imported: Imported,
    /// Stored incidents whose links to people or services changed.
    incidents_updated: u64,
    /// What of the file could not be read.
    left_out: &'a [LeftOut],
    /// Names that several have, of all that are stored.
    ambiguous: &'a [Ambiguity],
}

pub(crate) async fn users(options: Import) -> Result<()> {
    let read = import::users(&options.file)?;
    any(&read)?;
    let user = |User { id, email, name }| HostUser { id, email, name };
    let users = read.entries.into_iter().map(user).collect();
    let host = open::host(&options.target.database).await?;
    let org = &options.target.org;
    let imported = host.import_users(org, users).await?;
    let ambiguous = host.store().ambiguous_users(org).await?;
    report(&host, "users", &options.target, imported, &read.left_out, &ambiguous).await
}

pub(crate) async fn services(options: Import) -> Result<()> {
    let read = import::services(&options.file)?;
    any(&read)?;
    let service =
        |Service { id, name, external_ids, aliases }| HostService { id, name, external_ids, aliases };
    let services = read.entries.into_iter().map(service).collect();
    let host = open::host(&options.target.database).await?;
    let org = &options.target.org;
    let imported = host.import_services(org, services).await?;
    let ambiguous = host.store().ambiguous_services(org).await?;
    report(&host, "services", &options.target, imported, &read.left_out, &ambiguous).await
}

/// Tells what is left out, and ends if that is everything.
fn any<T>(read: &import::Entries<T>) -> Result<()> {
    for left_out in &read.left_out {
        note!("left out: {}", printable(&left_out.to_string()));
    }
    match read.entries.is_empty() {
        true => Err(NothingImported("nothing of the file can be read".to_owned()).into()),
        false => Ok(()),
    }
}

async fn report(
    host: &Host,
    kind: &'static str,
    target: &OneOrg,
    imported: Imported,
    left_out: &[LeftOut],
    ambiguous: &[Ambiguity],
) -> Result<()> {
    let incidents_updated = derive_anew(host, &target.org, &Shutdown::listen()?).await?.unwrap_or(0);
    if target.json.json {
        let organisation = target.org.as_str();
        return print_json(&Document {
            organisation,
            kind,
            imported,
            incidents_updated,
            left_out,
            ambiguous,
        });
    }
    let Imported { added, updated, unchanged } = imported;
    let left_out = left_out.len();
    say!("{kind}: {added} added, {updated} updated, {unchanged} unchanged, {left_out} left out")?;
    match incidents_updated {
        0 => say!("No incident links changed.")?,
        changed => say!("Links of {} changed.", counted(changed, "incident", "incidents"))?,
    }
    let what = match kind {
        "users" => "These addresses belong to several users; responders are linked to the first of them:",
        _ => "These names belong to several services, and lead to none of them; give each a name of its own:",
    };
    if !ambiguous.is_empty() {
        say!("{what}")?;
    }
    for Ambiguity { name, ids } in ambiguous.iter().take(SHOWN) {
        say!("  {}: {}", printable(name), printable(&ids.join(", ")))?;
    }
    if let Some(more) = ambiguous.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        say!("  and {more} more")?;
    }
    Ok(())
}
