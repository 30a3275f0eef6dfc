//! Users and services of an organisation.

use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::coding::{from_json, to_json};
use super::fault::{Outcome, Result};
use super::records::FEW;
use crate::contract::ServiceName;
use crate::id::OrgId;
use crate::port::{Ambiguity, Directory, HostService, HostUser, Imported, entity_reference, normalised};

/// What a stored name of a service is.
const EXTERNAL_ID: i64 = 0;
const NAME: i64 = 1;
const ALIAS: i64 = 2;

#[async_trait::async_trait]
impl Directory for SqliteStore {
    async fn users_by_email(&self, org: &OrgId, emails: &[String]) -> Result<Vec<Option<String>>> {
        if emails.is_empty() {
            return Ok(Vec::new());
        }
        let (org, emails) = (org.clone(), emails.to_vec());
        if emails.len() <= FEW {
            return self.glance(move |connection| find_users(connection, &org, &emails)).await;
        }
        self.read(move |connection| find_users(connection, &org, &emails)).await
    }

    async fn services_by_name(&self, org: &OrgId, names: &[ServiceName]) -> Result<Vec<Option<String>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let few = names.len() <= FEW;
        let (org, names) = (org.clone(), names.to_vec());
        let find = move |connection: &Connection| {
            names.iter().map(|name| find_service(connection, &org, name)).collect()
        };
        if few { self.glance(find).await } else { self.read(find).await }
    }

    async fn link_user(&self, org: &OrgId, address: &str, id: &str) -> Result<Imported> {
        let (org, address, id) = (org.clone(), address.to_owned(), id.to_owned());
        self.write(move |connection| link_user(connection, &org, &address, &id)).await
    }

    async fn link_service(&self, org: &OrgId, name: &str, id: &str) -> Result<Imported> {
        let (org, name, id) = (org.clone(), name.to_owned(), id.to_owned());
        self.write(move |connection| link_service(connection, &org, &name, &id)).await
    }

    async fn import_users(&self, org: &OrgId, users: Vec<HostUser>) -> Result<Imported> {
        let org = org.clone();
        self.write(move |connection| {
            let mut imported = Imported::default();
            for user in &users {
                import_user(connection, &org, user, &mut imported)?;
            }
            Ok(imported)
        })
        .await
    }

    async fn import_services(&self, org: &OrgId, services: Vec<HostService>) -> Result<Imported> {
        let org = org.clone();
        self.write(move |connection| {
            let mut imported = Imported::default();
            for service in &services {
                import_service(connection, &org, service, &mut imported)?;
            }
            Ok(imported)
        })
        .await
    }

    async fn ambiguous_users(&self, org: &OrgId) -> Result<Vec<Ambiguity>> {
        let org = org.clone();
        let select = "SELECT folded, id FROM user WHERE org = ?1 AND folded IN
            (SELECT folded FROM user WHERE org = ?1 GROUP BY folded HAVING count(*) > 1) ORDER BY folded, id";
        self.read(move |connection| ambiguities(connection, &org, select)).await
    }

    async fn ambiguous_services(&self, org: &OrgId) -> Result<Vec<Ambiguity>> {
        let org = org.clone();
        let select = "SELECT DISTINCT value, service FROM service_name WHERE org = ?1 AND value <> '' AND (kind, value) IN
            (SELECT kind, value FROM service_name WHERE org = ?1 GROUP BY kind, value HAVING count(*) > 1)
            ORDER BY value, service";
        self.read(move |connection| ambiguities(connection, &org, select)).await
    }
}

fn find_users(connection: &Connection, org: &OrgId, emails: &[String]) -> Outcome<Vec<Option<String>>> {
    let own = "SELECT id FROM user WHERE org = ?1 AND folded = ?2 ORDER BY id LIMIT 1";
    let mut own = connection.prepare_cached(own)?;
    let linked = "SELECT target FROM alias WHERE org = ?1 AND kind = 0 AND value = ?2 AND source = ?3";
    let mut linked = connection.prepare_cached(linked)?;
    let find = |email: &String| {
        let folded = email.to_lowercase();
        let found = own.query_row([org.as_str(), &folded], |row| row.get(0)).optional()?;
        match found {
            Some(id) => Ok(Some(id)),
            None => Ok(linked.query_row([org.as_str(), &folded, BY_HAND], |row| row.get(0)).optional()?),
        }
    };
    emails.iter().map(find).collect()
}

/// The source of aliases that no migration brought.
const BY_HAND: &str = "";

fn link_user(connection: &Connection, org: &OrgId, address: &str, id: &str) -> Outcome<Imported> {
    let mut imported = Imported::default();
    let select = "SELECT folded FROM user WHERE org = ?1 AND id = ?2";
    let mut select = connection.prepare_cached(select)?;
    let known: Option<String> = select.query_row([org.as_str(), id], |row| row.get(0)).optional()?;
    let folded = address.to_lowercase();
    match known {
        None => {
            let user = HostUser { id: id.to_owned(), email: address.to_owned(), name: None };
            import_user(connection, org, &user, &mut imported)?;
        }
        Some(own) if own == folded => imported.unchanged += 1,
        Some(_) => {
            let upsert = "INSERT INTO alias (org, source, kind, value, target) VALUES (?1, ?2, 0, ?3, ?4)
                ON CONFLICT DO UPDATE SET target = excluded.target";
            connection.prepare_cached(upsert)?.execute([org.as_str(), BY_HAND, &folded, id])?;
            imported.updated += 1;
        }
    }
    Ok(imported)
}

fn link_service(connection: &Connection, org: &OrgId, name: &str, id: &str) -> Outcome<Imported> {
    let mut imported = Imported::default();
    let select = "SELECT entry FROM service WHERE org = ?1 AND id = ?2";
    let mut select = connection.prepare_cached(select)?;
    let entry: Option<String> = select.query_row([org.as_str(), id], |row| row.get(0)).optional()?;
    let service = match entry {
        None => {
            HostService { id: id.to_owned(), name: name.to_owned(), external_ids: vec![], aliases: vec![] }
        }
        Some(entry) => {
            let mut service: HostService = from_json(&entry)?;
            if service.name != name && service.aliases.iter().all(|alias| alias != name) {
                service.aliases.push(name.to_owned());
            }
            service
        }
    };
    import_service(connection, org, &service, &mut imported)?;
    Ok(imported)
}

/// Rows of a name and an id, by name.
fn ambiguities(connection: &Connection, org: &OrgId, select: &str) -> Outcome<Vec<Ambiguity>> {
    let mut select = connection.prepare_cached(select)?;
    let rows = select.query_map([org.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut found: Vec<Ambiguity> = Vec::new();
    for row in rows {
        let (name, id): (String, String) = row?;
        match found.last_mut().filter(|last| last.name == name) {
            Some(last) => last.ids.push(id),
            None => found.push(Ambiguity { name, ids: vec![id] }),
        }
    }
    Ok(found)
}

/// By external id, then by name, then by any alias of either side. The first that leads anywhere decides, and if it
/// leads to several entries, to none: which one is meant is not guessed.
fn find_service(connection: &Connection, org: &OrgId, wanted: &ServiceName) -> Outcome<Option<String>> {
    let select = "SELECT service FROM service_name WHERE org = ?1 AND kind = ?2 AND value = ?3 LIMIT 2";
    let mut statement = connection.prepare_cached(select)?;
    let external =
        wanted.external_id.iter().flat_map(|id| [Some(id.clone()), entity_reference(id)]).flatten();
    let external = external.chain(entity_reference(&wanted.name)).map(|id| (EXTERNAL_ID, id));
    let names = std::iter::once(&wanted.name).chain(&wanted.aliases).map(|name| normalised(name));
    let names = names.flat_map(|name| [(NAME, name.clone()), (ALIAS, name)]);
    for (kind, value) in external.chain(names).filter(|(_, value)| !value.is_empty()) {
        let rows = statement.query_map(params![org.as_str(), kind, value], |row| row.get(0))?;
        let mut rows: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
        if let Some(found) = rows.pop() {
            return Ok(rows.is_empty().then_some(found));
        }
    }
    Ok(None)
}

fn import_user(
    connection: &Connection,
    org: &OrgId,
    user: &HostUser,
    imported: &mut Imported,
) -> Outcome<()> {
    let select = "SELECT email, name FROM user WHERE org = ?1 AND id = ?2";
    let stored: Option<(String, Option<String>)> = connection
        .prepare_cached(select)?
        .query_row([org.as_str(), &user.id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if !count(imported, stored.map(|(email, name)| email == user.email && name == user.name)) {
        return Ok(());
    }
    let upsert = "INSERT INTO user (org, id, email, folded, name) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (org, id) DO UPDATE SET email = excluded.email, folded = excluded.folded, name = excluded.name";
    let values = params![org.as_str(), user.id, user.email, user.email.to_lowercase(), user.name];
    connection.prepare_cached(upsert)?.execute(values)?;
    Ok(())
}

fn import_service(
    connection: &Connection,
    org: &OrgId,
    service: &HostService,
    imported: &mut Imported,
) -> Outcome<()> {
    let entry = to_json(service)?;
    let select = "SELECT entry FROM service WHERE org = ?1 AND id = ?2";
    let stored: Option<String> = connection
        .prepare_cached(select)?
        .query_row([org.as_str(), &service.id], |row| row.get(0))
        .optional()?;
    if !count(imported, stored.map(|stored| stored == entry)) {
        return Ok(());
    }
    let upsert = "INSERT INTO service (org, id, name, folded, entry) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (org, id) DO UPDATE SET name = excluded.name, folded = excluded.folded, entry = excluded.entry";
    let values = params![org.as_str(), service.id, service.name, normalised(&service.name), entry];
    connection.prepare_cached(upsert)?.execute(values)?;

    let delete = "DELETE FROM service_name WHERE org = ?1 AND service = ?2";
    connection.prepare_cached(delete)?.execute([org.as_str(), &service.id])?;
    let insert = "INSERT INTO service_name (org, kind, value, service) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING";
    let mut insert = connection.prepare_cached(insert)?;
    let comparable = |id: &String| entity_reference(id).unwrap_or_else(|| id.clone());
    let external_ids = service.external_ids.iter().map(|id| (EXTERNAL_ID, comparable(id)));
    let aliases = service.aliases.iter().map(|alias| (ALIAS, normalised(alias)));
    for (kind, value) in external_ids.chain(aliases).chain([(NAME, normalised(&service.name))]) {
        insert.execute(params![org.as_str(), kind, value, service.id])?;
    }
    Ok(())
}

/// Counts one row of an import, given whether the stored one, if any, is the same. True if it must be written.
fn count(imported: &mut Imported, same: Option<bool>) -> bool {
    match same {
        None => imported.added += 1,
        Some(false) => imported.updated += 1,
        Some(true) => imported.unchanged += 1,
    }
    same != Some(true)
}
