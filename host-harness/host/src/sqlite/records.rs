//! Incidents, timelines and the plugin's own state.

mod commit;
mod list;
pub(super) mod scan;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::coding::{from_json, unsigned};
use super::fault::{Fault, Outcome, Result};
use crate::contract::{
    Applied, Change, Incident, IncidentKey, KeyPage, RevisitPage, SamplePage, StoredIncident, TimelineEvent,
};
use crate::id::OrgId;
use crate::port::{IncidentFilter, IncidentPage, Lease, Population, Records};

/// Keys that are looked up without a transaction around them.
pub(super) const FEW: usize = 32;
/// What incidents that are asked for together may take.
const ANSWER_BYTES: usize = 32 << 20;

#[async_trait::async_trait]
impl Records for SqliteStore {
    async fn commit(&self, org: &OrgId, changes: Vec<Change>, completes: Option<&Lease>) -> Result<Applied> {
        let changes = changes.into_iter().map(commit::Prepared::of).collect::<Outcome<Vec<_>>>();
        let changes = changes.map_err(|fault| fault.explain(&self.path))?;
        let (org, completes) = (org.clone(), completes.cloned());
        // What a power cut undoes of a delivery's commit is due again with the delivery, which is in the same one.
        let replayed = completes.is_some();
        let work =
            move |connection: &Connection| commit::commit(connection, &org, &changes, completes.as_ref());
        if replayed { self.note(work).await } else { self.write(work).await }
    }

    async fn incidents_by_key(
        &self,
        org: &OrgId,
        keys: &[IncidentKey],
    ) -> Result<Vec<Option<StoredIncident>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (org, keys) = (org.clone(), keys.to_vec());
        if keys.len() <= FEW {
            return self.glance(move |connection| by_key(connection, &org, &keys)).await;
        }
        self.read(move |connection| by_key(connection, &org, &keys)).await
    }

    async fn incident_keys(
        &self,
        org: &OrgId,
        source: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage> {
        let select =
            "SELECT id FROM incident WHERE org = ?1 AND source = ?2 AND id > ?3 ORDER BY id LIMIT ?4";
        self.keys(select, org, source, after, limit).await
    }

    async fn open_keys(&self, org: &OrgId, source: &str, after: Option<&str>, limit: u32) -> Result<KeyPage> {
        // They are few, and all in one place of that index.
        const OPEN: &str = "SELECT id FROM incident INDEXED BY incident_scan
            WHERE org = ?1 AND branch = 2 AND source = ?2 AND id > ?3 ORDER BY id LIMIT ?4";
        self.keys(OPEN, org, source, after, limit).await
    }

    async fn state(&self, org: &OrgId, key: &str) -> Result<Option<Vec<u8>>> {
        let (org, key) = (org.clone(), key.to_owned());
        self.glance(move |connection| {
            let select = "SELECT value FROM state WHERE org = ?1 AND key = ?2";
            let mut statement = connection.prepare_cached(select)?;
            Ok(statement.query_row([org.as_str(), &key], |row| row.get(0)).optional()?)
        })
        .await
    }

    async fn to_revisit(&self, org: &OrgId, source: &str, limit: u32) -> Result<RevisitPage> {
        let (org, source) = (org.clone(), source.to_owned());
        self.read(move |connection| {
            let count = "SELECT count(*) FROM incident WHERE org = ?1 AND source = ?2 AND revisit = 1";
            let values = [org.as_str(), &source];
            let total: i64 = connection.prepare_cached(count)?.query_row(values, |row| row.get(0))?;
            let select = "SELECT id FROM incident WHERE org = ?1 AND source = ?2 AND revisit = 1
                ORDER BY created_at DESC, n DESC LIMIT ?3";
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map(params![org.as_str(), source, limit], |row| {
                Ok(IncidentKey { source: source.clone(), id: row.get(0)? })
            })?;
            Ok(RevisitPage { keys: rows.collect::<rusqlite::Result<_>>()?, total: unsigned(total) })
        })
        .await
    }

    async fn scan_samples(
        &self,
        org: &OrgId,
        population: Population,
        after: Option<&str>,
    ) -> Result<SamplePage> {
        let (org, after) = (org.clone(), after.map(str::to_owned));
        self.read(move |connection| {
            scan::page(connection, &org, population, after.as_deref(), scan::SAMPLES_PER_PAGE)
        })
        .await
    }

    async fn sample(&self, org: &OrgId, key: &IncidentKey, population: Population) -> Result<SamplePage> {
        let (org, key) = (org.clone(), key.clone());
        self.read(move |connection| scan::one(connection, &org, &key, population)).await
    }

    async fn incidents(&self, org: &OrgId, filter: &IncidentFilter) -> Result<IncidentPage> {
        let (org, filter) = (org.clone(), filter.clone());
        self.read(move |connection| list::incidents(connection, &org, &filter)).await
    }

    async fn find_incident(&self, org: &OrgId, name: &str) -> Result<Option<Incident>> {
        let (org, name) = (org.clone(), name.to_owned());
        self.read(move |connection| {
            // By name, whatever else could be looked through in the order of creation.
            let by_reference = "SELECT record FROM incident INDEXED BY incident_reference
                WHERE org = ?1 AND reference = ?2 AND withheld = 0 ORDER BY created_at DESC, n DESC LIMIT 1";
            let by_id = "SELECT record FROM incident WHERE org = ?1 AND id = ?2 AND +withheld = 0
                ORDER BY +created_at DESC, n DESC LIMIT 1";
            for (select, name) in [(by_reference, &name.to_lowercase()), (by_id, &name)] {
                let mut statement = connection.prepare_cached(select)?;
                let found = statement.query_row([org.as_str(), name], |row| row.get(0)).optional()?;
                if let Some(record) = found {
                    let record: String = record;
                    return from_json(&record).map(Some);
                }
            }
            Ok(None)
        })
        .await
    }

    async fn timeline(&self, org: &OrgId, key: &IncidentKey) -> Result<Vec<TimelineEvent>> {
        let (org, key) = (org.clone(), key.clone());
        self.read(move |connection| {
            let Some(incident) = number(connection, &org, &key)? else {
                return Ok(Vec::new());
            };
            let select =
                "SELECT id, at, kind, title, detail, actor FROM event WHERE incident = ?1 ORDER BY at, id";
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map([incident], |row| {
                Ok(TimelineEvent {
                    incident: key.clone(),
                    id: row.get(0)?,
                    at: row.get(1)?,
                    kind: row.get(2)?,
                    title: row.get(3)?,
                    detail: row.get(4)?,
                    actor: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

impl SqliteStore {
    /// A page of what this selects by organisation, source, last identifier and number.
    async fn keys(
        &self,
        select: &'static str,
        org: &OrgId,
        source: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage> {
        let (org, source) = (org.clone(), source.to_owned());
        let after = after.unwrap_or_default().to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map(params![org.as_str(), source, after, limit], |row| {
                Ok(IncidentKey { source: source.clone(), id: row.get(0)? })
            })?;
            let keys: Vec<IncidentKey> = rows.collect::<rusqlite::Result<_>>()?;
            let full = keys.len() == usize::try_from(limit).unwrap_or(usize::MAX);
            let next = keys.last().filter(|_| full).map(|key| key.id.clone());
            Ok(KeyPage { keys, next })
        })
        .await
    }
}

fn by_key(
    connection: &Connection,
    org: &OrgId,
    keys: &[IncidentKey],
) -> Outcome<Vec<Option<StoredIncident>>> {
    let select = "SELECT facts, revision FROM incident WHERE org = ?1 AND id = ?2 AND source = ?3";
    let mut statement = connection.prepare_cached(select)?;
    let mut bytes = 0_usize;
    let find = |key: &IncidentKey| {
        let stored =
            |row: &Row<'_>| Ok(StoredIncident { facts: row.get(0)?, revision: unsigned(row.get(1)?) });
        let found = statement.query_row([org.as_str(), &key.id, &key.source], stored).optional()?;
        bytes = bytes.saturating_add(found.as_ref().map_or(0, |found| found.facts.len()));
        // Asking for the same again and again is not to become memory.
        if bytes > ANSWER_BYTES {
            return Err(Fault::full(format!(
                "these incidents take more than {ANSWER_BYTES} bytes; ask for fewer"
            )));
        }
        Ok(found)
    };
    keys.iter().map(find).collect()
}

/// The row of an incident, if it is stored for this organisation.
fn number(connection: &Connection, org: &OrgId, key: &IncidentKey) -> Outcome<Option<i64>> {
    let select = "SELECT n FROM incident WHERE org = ?1 AND id = ?2 AND source = ?3";
    let mut statement = connection.prepare_cached(select)?;
    Ok(statement.query_row([org.as_str(), &key.id, &key.source], |row| row.get(0)).optional()?)
}
