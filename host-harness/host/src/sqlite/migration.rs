//! Moves from other tools. (How the database itself changes its shape is `migrations`' business.)

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::coding::{encode_mode, from_json, signed, to_json, unsigned};
use super::fault::{Fault, Outcome, Result};
use crate::contract::{Incident, IncidentKey, Mode, Timestamp};
use crate::id::OrgId;
use crate::port::{Alias, AliasKind, Census, Migration, Migrations, Removed};

#[async_trait::async_trait]
impl Migrations for SqliteStore {
    async fn lease_migration(
        &self,
        org: &OrgId,
        importer: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        let (org, importer) = (org.clone(), importer.to_owned());
        self.write(move |connection| {
            let upsert = "INSERT INTO migration_lease (org, source, token, leased_until) VALUES (?1, ?2, 1, ?3)
                ON CONFLICT (org, source) DO UPDATE SET token = token + 1, leased_until = excluded.leased_until
                WHERE leased_until <= ?4 OR leased_until > ?5 RETURNING token";
            let mut upsert = connection.prepare_cached(upsert)?;
            // Twice as far as this one, none reaches but by a clock that was ahead.
            let far = until.saturating_add(until.saturating_sub(now));
            let values = params![org.as_str(), importer, until, now, far];
            Ok(upsert.query_row(values, |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn renew_migration(&self, org: &OrgId, importer: &str, token: i64, until: Timestamp) -> Result<()> {
        let (org, importer) = (org.clone(), importer.to_owned());
        self.note(move |connection| {
            let update =
                "UPDATE migration_lease SET leased_until = ?4 WHERE org = ?1 AND source = ?2 AND token = ?3";
            let values = params![org.as_str(), importer, token, until];
            match connection.prepare_cached(update)?.execute(values)? {
                0 => Err(Fault::conflict()),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn migration(&self, org: &OrgId, importer: &str) -> Result<Option<Migration>> {
        let (org, importer) = (org.clone(), importer.to_owned());
        self.read(move |connection| {
            let select = "SELECT document FROM migration WHERE org = ?1 AND source = ?2";
            let mut statement = connection.prepare_cached(select)?;
            let found = statement.query_row([org.as_str(), &importer], |row| row.get::<_, String>(0));
            found.optional()?.map(|document| from_json(&document)).transpose()
        })
        .await
    }

    async fn put_migration(&self, org: &OrgId, importer: &str, migration: &Migration) -> Result<()> {
        let (org, importer, migration) = (org.clone(), importer.to_owned(), migration.clone());
        self.write(move |connection| {
            let upsert = "INSERT INTO migration (org, source, document) VALUES (?1, ?2, ?3)
                ON CONFLICT (org, source) DO UPDATE SET document = excluded.document";
            let document = to_json(&migration)?;
            connection.prepare_cached(upsert)?.execute([org.as_str(), &importer, &document])?;
            Ok(())
        })
        .await
    }

    async fn put_aliases(&self, org: &OrgId, importer: &str, aliases: &[Alias]) -> Result<bool> {
        let (org, importer) = (org.clone(), importer.to_owned());
        let wanted: HashSet<(i64, String, String)> = aliases
            .iter()
            .map(|alias| (kind(alias.kind), alias.kind.folded(&alias.name), alias.target.clone()))
            .collect();
        self.write(move |connection| {
            let select = "SELECT kind, value, target FROM alias WHERE org = ?1 AND source = ?2";
            let mut select = connection.prepare_cached(select)?;
            let stored = select
                .query_map([org.as_str(), &importer], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let stored: HashSet<(i64, String, String)> = stored.collect::<rusqlite::Result<_>>()?;
            if stored == wanted {
                return Ok(false);
            }
            remove_aliases(connection, &org, &importer)?;
            let insert = "INSERT INTO alias (org, source, kind, value, target) VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT DO NOTHING";
            let mut insert = connection.prepare_cached(insert)?;
            for (kind, value, target) in &wanted {
                insert.execute(params![org.as_str(), importer, kind, value, target])?;
            }
            Ok(true)
        })
        .await
    }

    async fn aliased(
        &self,
        org: &OrgId,
        importer: &str,
        of: AliasKind,
        names: &[String],
    ) -> Result<Vec<Option<String>>> {
        let (org, importer) = (org.clone(), importer.to_owned());
        let names: Vec<String> = names.iter().map(|name| of.folded(name)).collect();
        self.read(move |connection| {
            let select =
                "SELECT target FROM alias WHERE org = ?1 AND kind = ?2 AND value = ?3 AND source = ?4";
            let mut select = connection.prepare_cached(select)?;
            let mut find = |name: &String| {
                let values = params![org.as_str(), kind(of), name, importer];
                Ok(select.query_row(values, |row| row.get(0)).optional()?)
            };
            names.iter().map(&mut find).collect()
        })
        .await
    }

    async fn incidents_of(
        &self,
        org: &OrgId,
        sources: &[&str],
        after: Option<&IncidentKey>,
        limit: u32,
    ) -> Result<Vec<Incident>> {
        let (org, sources) = (org.clone(), owned(sources));
        let (id, source) = after.map(|key| (key.id.clone(), key.source.clone())).unwrap_or_default();
        self.read(move |connection| {
            let select = "SELECT record FROM incident WHERE org = ?1 AND (id, source) > (?3, ?4)
                AND source IN (SELECT value FROM json_each(?2)) ORDER BY id, source LIMIT ?5";
            let mut select = connection.prepare_cached(select)?;
            let values = params![org.as_str(), to_json(&sources)?, id, source, limit];
            let rows = select.query_map(values, |row| row.get::<_, String>(0))?;
            rows.map(|record| from_json(&record?)).collect()
        })
        .await
    }

    async fn first_creation(&self, org: &OrgId, sources: &[&str]) -> Result<Option<Timestamp>> {
        let (org, sources) = (org.clone(), owned(sources));
        self.read(move |connection| {
            let select = "SELECT created_at FROM incident INDEXED BY incident_list
                WHERE org = ?1 AND withheld = 0 AND mode NOT IN (?3, ?4)
                    AND source IN (SELECT value FROM json_each(?2))
                ORDER BY created_at LIMIT 1";
            let (test, tutorial) = (encode_mode(Mode::Test), encode_mode(Mode::Tutorial));
            let values = params![org.as_str(), to_json(&sources)?, test, tutorial];
            Ok(connection.prepare_cached(select)?.query_row(values, |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn census(&self, org: &OrgId) -> Result<Vec<Census>> {
        let org = org.clone();
        self.read(move |connection| {
            let select = "SELECT source, count(*), sum(duplicate)
                FROM incident INDEXED BY incident_list WHERE org = ?1 GROUP BY source";
            let mut select = connection.prepare_cached(select)?;
            let rows = select.query_map([org.as_str()], |row| {
                Ok(Census {
                    source: row.get(0)?,
                    incidents: unsigned(row.get(1)?),
                    duplicates: unsigned(row.get(2)?),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn aliases(&self, org: &OrgId, importer: &str) -> Result<Vec<Alias>> {
        let (org, importer) = (org.clone(), importer.to_owned());
        self.read(move |connection| {
            let select = "SELECT kind, value, target FROM alias WHERE org = ?1 AND source = ?2";
            let mut select = connection.prepare_cached(select)?;
            let rows = select.query_map([org.as_str(), &importer], |row| {
                let kind = match row.get::<_, i64>(0)? {
                    0 => AliasKind::Person,
                    1 => AliasKind::Service,
                    _ => AliasKind::Priority,
                };
                Ok(Alias { kind, name: row.get(1)?, target: row.get(2)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn mark_duplicates(
        &self,
        org: &OrgId,
        importer: &str,
        sources: &[&str],
        duplicates: &[IncidentKey],
        to_review: u64,
    ) -> Result<u64> {
        let (org, importer, sources) = (org.clone(), importer.to_owned(), owned(sources));
        let duplicates: HashSet<(String, String)> =
            duplicates.iter().map(|key| (key.source.clone(), key.id.clone())).collect();
        self.write(move |connection| {
            let select = "SELECT n, source, id, duplicate FROM incident WHERE org = ?1
                AND source IN (SELECT value FROM json_each(?2))";
            let mut select = connection.prepare_cached(select)?;
            let mut update = connection.prepare_cached("UPDATE incident SET duplicate = ?1 WHERE n = ?2")?;
            let mut rows = select.query([org.as_str(), &to_json(&sources)?])?;
            let mut change = Vec::new();
            while let Some(row) = rows.next()? {
                let key = (row.get(1)?, row.get(2)?);
                let (number, marked): (i64, bool) = (row.get(0)?, row.get(3)?);
                if marked != duplicates.contains(&key) {
                    change.push((!marked, number));
                }
            }
            for (marked, number) in &change {
                update.execute(params![marked, number])?;
            }
            let note = "UPDATE migration SET document = json_set(document, '$.to_review', ?3)
                WHERE org = ?1 AND source = ?2";
            connection.prepare_cached(note)?.execute(params![org.as_str(), importer, signed(to_review)])?;
            Ok(u64::try_from(change.len()).unwrap_or(u64::MAX))
        })
        .await
    }

    async fn remove_migration(
        &self,
        org: &OrgId,
        importer: &str,
        sources: &[&str],
        secrets: &[&str],
    ) -> Result<Removed> {
        let (org, importer) = (org.clone(), importer.to_owned());
        let (sources, secrets) = (owned(sources), owned(secrets));
        self.write(move |connection| remove(connection, &org, &importer, &sources, &secrets)).await
    }
}

fn remove(
    connection: &Connection,
    org: &OrgId,
    importer: &str,
    sources: &[String],
    secrets: &[String],
) -> Outcome<Removed> {
    let aliases = remove_aliases(connection, org, importer)?;
    let sources = to_json(&sources)?;
    let count = "SELECT count(*) FROM event JOIN incident ON incident.n = event.incident
        WHERE incident.org = ?1 AND incident.source IN (SELECT value FROM json_each(?2))";
    let events: i64 =
        connection.prepare_cached(count)?.query_row([org.as_str(), &sources], |row| row.get(0))?;
    let delete = |statement: &str, value: &str| -> Outcome<u64> {
        let rows = connection.prepare_cached(statement)?.execute([org.as_str(), value])?;
        Ok(u64::try_from(rows).unwrap_or(u64::MAX))
    };
    let incidents = delete(
        "DELETE FROM incident WHERE org = ?1 AND source IN (SELECT value FROM json_each(?2))",
        &sources,
    )?;
    // What nobody is affected by any more would be listed as an unmatched service.
    connection
        .prepare_cached(
            "DELETE FROM label WHERE org = ?1 AND NOT EXISTS (SELECT 1 FROM incident_label WHERE label = label.n)",
        )?
        .execute([org.as_str()])?;
    delete("DELETE FROM migration WHERE org = ?1 AND source = ?2", importer)?;
    delete("DELETE FROM state WHERE org = ?1 AND substr(key, 1, length(?2)) = ?2", importer)?;
    delete(
        "DELETE FROM secret WHERE org = ?1 AND name IN (SELECT value FROM json_each(?2))",
        &to_json(&secrets)?,
    )?;
    Ok(Removed { incidents, events: unsigned(events), aliases })
}

fn remove_aliases(connection: &Connection, org: &OrgId, importer: &str) -> Outcome<u64> {
    let delete = "DELETE FROM alias WHERE org = ?1 AND source = ?2";
    let rows = connection.prepare_cached(delete)?.execute([org.as_str(), importer])?;
    Ok(u64::try_from(rows).unwrap_or(u64::MAX))
}

fn kind(kind: AliasKind) -> i64 {
    match kind {
        AliasKind::Person => 0,
        AliasKind::Service => 1,
        AliasKind::Priority => 2,
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
