//! What a mapping file says, as the host keeps it.

use std::collections::BTreeMap;

use koalr_files::opsgenie::mapping::{Line, Mapping, MappingError};
use koalr_host::contract::ServiceName;
use koalr_host::id::OrgId;
use koalr_host::port::{Alias, AliasKind, Directory, StoreError};

/// Why a mapping cannot be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// It names whom or what nobody knows.
    #[error(transparent)]
    Unknown(#[from] MappingError),
    /// The directory cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The names with whom and what they stand for, which the host's directory must know.
pub(crate) async fn resolve(
    mapping: &Mapping,
    org: &OrgId,
    directory: &dyn Directory,
) -> Result<Vec<Alias>, ResolveError> {
    let addresses: Vec<String> = mapping.people.iter().map(|line| line.to.clone()).collect();
    let people = directory.users_by_email(org, &addresses).await?;
    let name = |line: &Line| ServiceName { name: line.to.clone(), external_id: None, aliases: Vec::new() };
    let names: Vec<ServiceName> = mapping.services.iter().map(name).collect();
    let services = directory.services_by_name(org, &names).await?;
    let people = mapping.people.iter().zip(people).map(|(line, found)| (AliasKind::Person, line, found));
    let services =
        mapping.services.iter().zip(services).map(|(line, found)| (AliasKind::Service, line, found));
    let priority =
        |line: &Line| Alias { kind: AliasKind::Priority, name: line.from.clone(), target: line.to.clone() };
    let mut aliases: Vec<Alias> = mapping.priorities.iter().map(priority).collect();
    for (kind, line, found) in people.chain(services) {
        let (what, verb) = match kind {
            AliasKind::Person => ("user has the address", "users"),
            _ => ("service alone is called", "services"),
        };
        let unknown = || {
            MappingError::new(
                line.number,
                format!("no {what} `{}`; import {verb} first (`{verb} import`)", line.to),
            )
        };
        aliases.push(Alias { kind, name: line.from.clone(), target: found.ok_or_else(unknown)? });
    }
    Ok(aliases)
}

/// What these names say about priorities, by the words as they are compared.
pub(crate) fn priorities(aliases: &[Alias]) -> BTreeMap<String, String> {
    let of = aliases.iter().filter(|alias| alias.kind == AliasKind::Priority);
    of.map(|alias| (alias.kind.folded(&alias.name), alias.target.clone())).collect()
}
