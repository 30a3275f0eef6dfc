//! Organisations and their sealed secrets.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::coding::{from_json, to_json, unsigned};
use super::fault::{Fault, Outcome, Result};
use crate::contract::Timestamp;
use crate::id::OrgId;
use crate::port::{Organisation, OrganisationState, Organisations, Sealed};

#[async_trait::async_trait]
impl Organisations for SqliteStore {
    async fn put_organisation(&self, organisation: &Organisation) -> Result<()> {
        let organisation = organisation.clone();
        self.write(move |connection| put(connection, &organisation)).await
    }

    async fn organisation(&self, org: &OrgId) -> Result<Option<Organisation>> {
        let org = org.clone();
        self.glance(move |connection| {
            let select =
                "SELECT id, state, connection, settings, origin_map, created_at, connected_at, plugin
                FROM organisation WHERE id = ?1";
            let row = connection.prepare_cached(select)?.query_row([org.as_str()], read_row).optional()?;
            row.map(RawOrganisation::decode).transpose()
        })
        .await
    }

    async fn organisations(&self) -> Result<Vec<Organisation>> {
        Ok(self.find_organisations("", u32::MAX).await?.0)
    }

    async fn count_connected(&self) -> Result<u64> {
        self.read(|connection| {
            let count = "SELECT count(*) FROM organisation WHERE state <> 3";
            Ok(unsigned(connection.prepare_cached(count)?.query_row([], |row| row.get(0))?))
        })
        .await
    }

    async fn find_organisations(&self, text: &str, limit: u32) -> Result<(Vec<Organisation>, u64)> {
        // Ids are ASCII.
        let text = text.to_ascii_lowercase();
        self.read(move |connection| {
            let select =
                "SELECT id, state, connection, settings, origin_map, created_at, connected_at, plugin
                FROM organisation WHERE instr(lower(id), ?1) > 0 ORDER BY id LIMIT ?2";
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map(params![text, limit], read_row)?;
            let found = rows.map(|row| RawOrganisation::decode(row?)).collect::<Outcome<Vec<_>>>()?;
            let count = "SELECT count(*) FROM organisation WHERE instr(lower(id), ?1) > 0";
            let total = connection.prepare_cached(count)?.query_row([&text], |row| row.get(0))?;
            Ok((found, unsigned(total)))
        })
        .await
    }

    async fn remove_organisation(&self, org: &OrgId) -> Result<()> {
        let org = org.clone();
        self.write(move |connection| {
            connection.prepare_cached("DELETE FROM organisation WHERE id = ?1")?.execute([org.as_str()])?;
            Ok(())
        })
        .await
    }

    async fn remove_pending_organisation(&self, org: &OrgId, created_at: Timestamp) -> Result<()> {
        let org = org.clone();
        self.write(move |connection| {
            let delete = "DELETE FROM organisation WHERE id = ?1 AND state = 0 AND created_at = ?2";
            connection.prepare_cached(delete)?.execute(params![org.as_str(), created_at])?;
            Ok(())
        })
        .await
    }

    async fn refuse_organisation(&self, org: &OrgId, connected_at: Option<Timestamp>) -> Result<bool> {
        let org = org.clone();
        self.write(move |connection| {
            let update =
                "UPDATE organisation SET state = 2 WHERE id = ?1 AND state = 1 AND connected_at IS ?2";
            Ok(connection.prepare_cached(update)?.execute(params![org.as_str(), connected_at])? > 0)
        })
        .await
    }

    async fn disconnect_organisation(&self, org: &OrgId, now: Timestamp) -> Result<bool> {
        let org = org.clone();
        let done = self.write(move |connection| {
            let update =
                "UPDATE organisation SET state = 3, connection = NULL, connected_at = NULL WHERE id = ?1";
            let found = connection.prepare_cached(update)?.execute([org.as_str()])? > 0;
            for delete in [
                "DELETE FROM secret WHERE org = ?1",
                "DELETE FROM data_key WHERE org = ?1",
                "DELETE FROM job WHERE org = ?1",
            ] {
                connection.prepare_cached(delete)?.execute([org.as_str()])?;
            }
            let bury = "UPDATE delivery SET state = 4, due_at = NULL, token = token + 1, finished_at = ?2,
                    error = 'the organisation was disconnected before this was applied'
                WHERE org = ?1 AND state < 3";
            connection.prepare_cached(bury)?.execute(params![org.as_str(), now])?;
            Ok(found)
        });
        let found = done.await?;
        self.forget_former_pages().await;
        Ok(found)
    }

    async fn data_keys(&self, after: Option<&OrgId>, limit: u32) -> Result<Vec<(OrgId, Sealed)>> {
        // No id is empty.
        let after = after.map_or_else(String::new, ToString::to_string);
        self.read(move |connection| {
            let select = "SELECT org, sealed FROM data_key WHERE org > ?1 ORDER BY org LIMIT ?2";
            let mut select = connection.prepare_cached(select)?;
            let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1).map(Sealed)?));
            let rows = select.query_map(params![after, limit], read)?;
            let parse = |row: rusqlite::Result<(String, Sealed)>| {
                let (org, sealed) = row?;
                Ok((org.parse().map_err(|_| Fault::damaged("an organisation"))?, sealed))
            };
            rows.map(parse).collect()
        })
        .await
    }

    async fn replace_data_keys(&self, keys: Vec<(OrgId, Sealed, Sealed)>) -> Result<u64> {
        let done = self.write(move |connection| {
            let mut update = connection
                .prepare_cached("UPDATE data_key SET sealed = ?3 WHERE org = ?1 AND sealed = ?2")?;
            let mut replaced = 0;
            for (org, former, sealed) in &keys {
                replaced += update.execute(params![org.as_str(), former.0, sealed.0])? as u64;
            }
            Ok(replaced)
        });
        let replaced = done.await?;
        self.forget_former_pages().await;
        Ok(replaced)
    }

    async fn data_key(&self, org: &OrgId) -> Result<Option<Sealed>> {
        let org = org.clone();
        self.glance(move |connection| stored_key(connection, &org)).await
    }

    async fn put_data_key(&self, org: &OrgId, key: Sealed) -> Result<Sealed> {
        let org = org.clone();
        self.write(move |connection| {
            let insert = "INSERT INTO data_key (org, sealed) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            connection.prepare_cached(insert)?.execute(params![org.as_str(), key.0])?;
            Ok(stored_key(connection, &org)?.unwrap_or_else(|| key.clone()))
        })
        .await
    }

    async fn put_secret(&self, org: &OrgId, name: &str, values: Vec<Sealed>) -> Result<()> {
        let (org, name) = (org.clone(), name.to_owned());
        self.write(move |connection| {
            let delete = "DELETE FROM secret WHERE org = ?1 AND name = ?2";
            connection.prepare_cached(delete)?.execute([org.as_str(), &name])?;
            let insert = "INSERT INTO secret (org, name, position, sealed) VALUES (?1, ?2, ?3, ?4)";
            let mut insert = connection.prepare_cached(insert)?;
            for (position, value) in (0_i64..).zip(&values) {
                insert.execute(params![org.as_str(), name, position, value.0])?;
            }
            Ok(())
        })
        .await
    }

    async fn secret(&self, org: &OrgId, name: &str) -> Result<Vec<Sealed>> {
        let (org, name) = (org.clone(), name.to_owned());
        self.glance(move |connection| {
            let select = "SELECT sealed FROM secret WHERE org = ?1 AND name = ?2 ORDER BY position";
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map([org.as_str(), &name], |row| row.get(0).map(Sealed))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn settle(&self) {
        self.copy_log("PRAGMA wal_checkpoint(PASSIVE)").await;
    }
}

fn put(connection: &Connection, organisation: &Organisation) -> Outcome<()> {
    let connected = organisation.connection.as_ref().map(to_json).transpose()?;
    // Not INSERT OR REPLACE: that would delete the row first, and everything of the organisation with it.
    let upsert =
        "INSERT INTO organisation (id, state, connection, settings, origin_map, created_at, connected_at, plugin)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state, connection = excluded.connection,
            settings = excluded.settings, origin_map = excluded.origin_map,
            created_at = excluded.created_at, connected_at = excluded.connected_at,
            plugin = excluded.plugin";
    connection.prepare_cached(upsert)?.execute(params![
        organisation.id.as_str(),
        encode_state(organisation.state),
        connected,
        to_json(&organisation.settings)?,
        to_json(&organisation.origin_map)?,
        organisation.created_at,
        organisation.connected_at,
        organisation.plugin,
    ])?;
    Ok(())
}

fn stored_key(connection: &Connection, org: &OrgId) -> Outcome<Option<Sealed>> {
    let select = "SELECT sealed FROM data_key WHERE org = ?1";
    let key = connection.prepare_cached(select)?.query_row([org.as_str()], |row| row.get(0).map(Sealed));
    Ok(key.optional()?)
}

struct RawOrganisation {
    id: String,
    state: i64,
    connection: Option<String>,
    settings: String,
    origin_map: String,
    created_at: i64,
    connected_at: Option<i64>,
    plugin: String,
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<RawOrganisation> {
    Ok(RawOrganisation {
        id: row.get(0)?,
        state: row.get(1)?,
        connection: row.get(2)?,
        settings: row.get(3)?,
        origin_map: row.get(4)?,
        created_at: row.get(5)?,
        connected_at: row.get(6)?,
        plugin: row.get(7)?,
    })
}

impl RawOrganisation {
    fn decode(self) -> Outcome<Organisation> {
        let damaged = || Fault::damaged("an organisation");
        Ok(Organisation {
            id: self.id.parse().map_err(|_| damaged())?,
            state: decode_state(self.state).ok_or_else(damaged)?,
            connection: self.connection.map(|text| from_json(&text)).transpose()?,
            settings: from_json(&self.settings)?,
            origin_map: from_json(&self.origin_map)?,
            created_at: self.created_at,
            connected_at: self.connected_at,
            plugin: self.plugin,
        })
    }
}

fn encode_state(state: OrganisationState) -> i64 {
    match state {
        OrganisationState::Pending => 0,
        OrganisationState::Live => 1,
        OrganisationState::Refused => 2,
        OrganisationState::Disconnected => 3,
    }
}

fn decode_state(state: i64) -> Option<OrganisationState> {
    match state {
        0 => Some(OrganisationState::Pending),
        1 => Some(OrganisationState::Live),
        2 => Some(OrganisationState::Refused),
        3 => Some(OrganisationState::Disconnected),
        _ => None,
    }
}
