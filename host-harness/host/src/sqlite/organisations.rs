//! Organisations and their sealed secrets.

use rusqlite::{OptionalExtension, Row, params};

use super::{SqliteStore, failed, from_json, to_json};
use crate::id::OrgId;
use crate::port::{Organisation, OrganisationState, Organisations, Sealed, StoreError};

const COLUMNS: &str = "id, state, connection, settings, origin_map, created_at, connected_at";

fn state_code(state: OrganisationState) -> i64 {
    match state {
        OrganisationState::Pending => 0,
        OrganisationState::Live => 1,
        OrganisationState::Refused => 2,
    }
}

type Raw = (String, i64, Option<String>, String, String, i64, Option<i64>);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
}

fn organisation((id, state, connection, settings, map, created_at, connected_at): Raw) -> Result<Organisation, StoreError> {
    Ok(Organisation {
        id: org_id(&id)?,
        state: match state {
            0 => OrganisationState::Pending,
            1 => OrganisationState::Live,
            2 => OrganisationState::Refused,
            other => return Err(StoreError::Corrupt(format!("organisation {id} is in an unknown state {other}"))),
        },
        connection: connection.as_deref().map(from_json).transpose()?,
        settings: from_json(&settings)?,
        origin_map: from_json(&map)?,
        created_at,
        connected_at,
    })
}

pub(super) fn org_id(text: &str) -> Result<OrgId, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("`{text}`: {error}")))
}

#[async_trait::async_trait]
impl Organisations for SqliteStore {
    async fn put_organisation(&self, organisation: &Organisation) -> Result<(), StoreError> {
        let organisation = organisation.clone();
        let connection_json = organisation.connection.as_ref().map(to_json).transpose()?;
        let (settings, map) = (to_json(&organisation.settings)?, to_json(&organisation.origin_map)?);
        self.write(move |connection| {
            let sql = "INSERT INTO organisation (id, state, connection, settings, origin_map, created_at, connected_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT (id) DO UPDATE SET state = ?2, connection = ?3, settings = ?4, origin_map = ?5,
                    created_at = ?6, connected_at = ?7";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let (id, state) = (organisation.id.as_str(), state_code(organisation.state));
            let (created_at, connected_at) = (organisation.created_at, organisation.connected_at);
            let values = params![id, state, connection_json, settings, map, created_at, connected_at];
            statement.execute(values).map(|_| ()).map_err(failed)
        })
        .await
    }

    async fn organisation(&self, org: &OrgId) -> Result<Option<Organisation>, StoreError> {
        let org = org.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM organisation WHERE id = ?1");
            let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
            statement.query_row([org.as_str()], raw).optional().map_err(failed)?.map(organisation).transpose()
        })
        .await
    }

    async fn organisations(&self) -> Result<Vec<Organisation>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM organisation ORDER BY id");
            let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
            let rows = statement.query_map([], raw).map_err(failed)?;
            rows.map(|row| organisation(row.map_err(failed)?)).collect()
        })
        .await
    }

    async fn remove_organisation(&self, org: &OrgId) -> Result<(), StoreError> {
        let org = org.clone();
        self.write(move |connection| {
            let sql = "DELETE FROM organisation WHERE id = ?1";
            connection.execute(sql, [org.as_str()]).map(|_| ()).map_err(failed)
        })
        .await
    }

    async fn data_key(&self, org: &OrgId) -> Result<Option<Sealed>, StoreError> {
        let org = org.clone();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT data_key FROM organisation WHERE id = ?1").map_err(failed)?;
            let key: Option<Option<Vec<u8>>> =
                statement.query_row([org.as_str()], |row| row.get(0)).optional().map_err(failed)?;
            Ok(key.flatten().map(Sealed))
        })
        .await
    }

    async fn put_data_key(&self, org: &OrgId, key: Sealed) -> Result<Sealed, StoreError> {
        let org = org.clone();
        self.write(move |connection| {
            let put = "UPDATE organisation SET data_key = coalesce(data_key, ?2) WHERE id = ?1 RETURNING data_key";
            let stored = connection.query_row(put, params![org.as_str(), key.0], |row| row.get(0)).optional();
            let none = || StoreError::Invalid(format!("there is no organisation {org}"));
            stored.map_err(failed)?.map(Sealed).ok_or_else(none)
        })
        .await
    }

    async fn put_secret(&self, org: &OrgId, name: &str, values: Vec<Sealed>) -> Result<(), StoreError> {
        let (org, name) = (org.clone(), name.to_string());
        self.write(move |connection| {
            let delete = "DELETE FROM secret WHERE org = ?1 AND name = ?2";
            connection.execute(delete, params![org.as_str(), name]).map_err(failed)?;
            let insert = "INSERT INTO secret (org, name, position, sealed) VALUES (?1, ?2, ?3, ?4)";
            for (position, sealed) in (0i64..).zip(&values) {
                connection.execute(insert, params![org.as_str(), name, position, sealed.0]).map_err(failed)?;
            }
            Ok(())
        })
        .await
    }

    async fn secret(&self, org: &OrgId, name: &str) -> Result<Vec<Sealed>, StoreError> {
        let (org, name) = (org.clone(), name.to_string());
        self.read(move |connection| {
            let sql = "SELECT sealed FROM secret WHERE org = ?1 AND name = ?2 ORDER BY position";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            let rows = statement.query_map(params![org.as_str(), name], |row| row.get(0).map(Sealed));
            rows.map_err(failed)?.collect::<rusqlite::Result<_>>().map_err(failed)
        })
        .await
    }
}
