//! Users and services. Names are compared as [`normalised`] says; addresses in lower case.

use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteStore, failed, to_json};
use crate::contract::ServiceName;
use crate::id::OrgId;
use crate::port::{Directory, HostService, HostUser, Imported, StoreError, normalised};

/// What a service is found by.
#[derive(Clone, Copy)]
enum Key {
    External = 0,
    Name = 1,
    Alias = 2,
}

/// The service of this key; of several, the one with the least id, so that the answer does not vary.
fn find(connection: &Connection, org: &OrgId, kind: Key, key: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT min(service) FROM host_service_key WHERE org = ?1 AND kind = ?2 AND key = ?3";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.query_row(params![org.as_str(), kind as i64, key], |row| row.get(0)).map_err(failed)
}

fn find_service(connection: &Connection, org: &OrgId, wanted: &ServiceName) -> Result<Option<String>, StoreError> {
    if let Some(external) = &wanted.external_id
        && let Some(found) = find(connection, org, Key::External, external)?
    {
        return Ok(Some(found));
    }
    let name = normalised(&wanted.name);
    let aliases = wanted.aliases.iter().map(|alias| normalised(alias));
    let tries = [(Key::Name, name.clone()), (Key::Alias, name)];
    let tries = tries.into_iter().chain(aliases.flat_map(|alias| [(Key::Name, alias.clone()), (Key::Alias, alias)]));
    for (kind, key) in tries {
        if let Some(found) = find(connection, org, kind, &key)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn put_service(connection: &Connection, org: &OrgId, service: &HostService) -> Result<(), StoreError> {
    let clear = "DELETE FROM host_service_key WHERE org = ?1 AND service = ?2";
    connection.prepare_cached(clear).and_then(|mut s| s.execute(params![org.as_str(), service.id])).map_err(failed)?;
    let external = service.external_ids.iter().map(|id| (Key::External, id.clone()));
    let aliases = service.aliases.iter().map(|alias| (Key::Alias, normalised(alias)));
    let name = std::iter::once((Key::Name, normalised(&service.name)));
    let sql = "INSERT OR IGNORE INTO host_service_key (org, kind, key, service) VALUES (?1, ?2, ?3, ?4)";
    let mut insert = connection.prepare_cached(sql).map_err(failed)?;
    for (kind, key) in external.chain(name).chain(aliases) {
        insert.execute(params![org.as_str(), kind as i64, key, service.id]).map_err(failed)?;
    }
    Ok(())
}

/// Counts one row: absent before, different before, or the same.
fn count(imported: &mut Imported, before: Option<bool>) {
    match before {
        None => imported.added += 1,
        Some(false) => imported.updated += 1,
        Some(true) => imported.unchanged += 1,
    }
}

#[async_trait::async_trait]
impl Directory for SqliteStore {
    async fn users_by_email(&self, org: &OrgId, emails: &[String]) -> Result<Vec<Option<String>>, StoreError> {
        let (org, emails) = (org.clone(), emails.to_vec());
        self.read(move |connection| {
            let sql = "SELECT min(id) FROM host_user WHERE org = ?1 AND email = ?2";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let ids = emails.iter().map(|email| {
                let email = email.trim().to_lowercase();
                statement.query_row(params![org.as_str(), email], |row| row.get(0)).map_err(failed)
            });
            ids.collect()
        })
        .await
    }

    async fn services_by_name(&self, org: &OrgId, names: &[ServiceName]) -> Result<Vec<Option<String>>, StoreError> {
        let (org, names) = (org.clone(), names.to_vec());
        self.read(move |connection| names.iter().map(|name| find_service(connection, &org, name)).collect()).await
    }

    async fn import_users(&self, org: &OrgId, users: Vec<HostUser>) -> Result<Imported, StoreError> {
        let org = org.clone();
        self.write(move |connection| {
            let mut imported = Imported::default();
            let get = "SELECT email IS ?3 AND name IS ?4 FROM host_user WHERE org = ?1 AND id = ?2";
            let put = "INSERT OR REPLACE INTO host_user (org, id, email, name) VALUES (?1, ?2, ?3, ?4)";
            let mut get = connection.prepare_cached(get).map_err(failed)?;
            let mut put = connection.prepare_cached(put).map_err(failed)?;
            for user in &users {
                let email = user.email.trim().to_lowercase();
                let values = params![org.as_str(), user.id, email, user.name];
                count(&mut imported, get.query_row(values, |row| row.get(0)).optional().map_err(failed)?);
                put.execute(values).map_err(failed)?;
            }
            Ok(imported)
        })
        .await
    }

    async fn import_services(&self, org: &OrgId, services: Vec<HostService>) -> Result<Imported, StoreError> {
        let org = org.clone();
        self.write(move |connection| {
            let mut imported = Imported::default();
            let get = "SELECT record = ?3 FROM host_service WHERE org = ?1 AND id = ?2";
            let put = "INSERT INTO host_service (org, id, record, name) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (org, id) DO UPDATE SET record = ?3, name = ?4";
            for service in &services {
                let record = to_json(service)?;
                let before = connection.prepare_cached(get).and_then(|mut get| {
                    get.query_row(params![org.as_str(), service.id, record], |row| row.get(0)).optional()
                });
                count(&mut imported, before.map_err(failed)?);
                let values = params![org.as_str(), service.id, record, service.name];
                connection.prepare_cached(put).and_then(|mut put| put.execute(values)).map_err(failed)?;
                put_service(connection, &org, service)?;
            }
            Ok(imported)
        })
        .await
    }
}
