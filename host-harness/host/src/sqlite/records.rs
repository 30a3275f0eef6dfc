//! Incidents, timelines and the plugin's state.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{SqliteStore, failed, from_json, inbox, to_json};
use crate::contract::{
    Applied, Change, Incident, IncidentKey, IncidentWrite, Mode, Phase, Priority, RevisitPage, Sample, SamplePage,
    StoredIncident, TimelineEvent, Timestamp,
};
use crate::id::OrgId;
use crate::port::{IncidentFilter, IncidentPage, Lease, Records, StoreError};

/// The contract's cap on one value of the plugin's state.
const LARGEST_STATE: usize = 1 << 20;
/// Samples in one page: half a megabyte in the guest.
const PAGE: usize = 5_000;

fn priority_code(priority: Priority) -> i64 {
    match priority {
        Priority::P1 => 1,
        Priority::P2 => 2,
        Priority::P3 => 3,
        Priority::P4 => 4,
    }
}

fn priority(code: i64) -> Option<Priority> {
    [Priority::P1, Priority::P2, Priority::P3, Priority::P4].into_iter().find(|p| priority_code(*p) == code)
}

/// In the order of the contract; the schema's indexes name the first three as the open ones.
const PHASES: [Phase; 9] = [
    Phase::Triage,
    Phase::Active,
    Phase::Paused,
    Phase::Resolved,
    Phase::Closed,
    Phase::Declined,
    Phase::Canceled,
    Phase::Merged,
    Phase::Unknown,
];

const MODES: [Mode; 5] = [Mode::Standard, Mode::Retrospective, Mode::Test, Mode::Tutorial, Mode::Unknown];

fn code_in<T: PartialEq>(all: &[T], value: &T) -> i64 {
    let place = all.iter().position(|known| known == value).unwrap_or(all.len());
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn at_code<T: Copy>(all: &[T], code: i64, unknown: T) -> T {
    usize::try_from(code).ok().and_then(|at| all.get(at)).copied().unwrap_or(unknown)
}

/// Labels of affected services as stored: provider's name and, where linked, the catalog entry's id.
type Labels = Vec<(String, Option<String>)>;

struct Writing<'c> {
    connection: &'c Connection,
    org: &'c OrgId,
    applied: Applied,
}

impl Writing<'_> {
    fn change(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::PutIncident(write) => self.put_incident(write),
            Change::PutTimelineEvent(event) => {
                let row = self.row_of(&event.incident)?;
                self.put_event(row, &event)
            }
            Change::ReplaceTimeline(timeline) => {
                let row = self.row_of(&timeline.incident)?;
                if timeline.events.iter().any(|event| event.incident != timeline.incident) {
                    return Err(StoreError::Invalid("a timeline holds an event of another incident".into()));
                }
                let ids: Vec<&str> = timeline.events.iter().map(|event| event.id.as_str()).collect();
                let sql = "DELETE FROM timeline_event
                    WHERE incident = ?1 AND id NOT IN (SELECT value FROM json_each(?2))";
                let mut delete = self.connection.prepare_cached(sql).map_err(failed)?;
                self.count_events(delete.execute(params![row, to_json(&ids)?]).map_err(failed)?);
                timeline.events.iter().try_for_each(|event| self.put_event(row, event))
            }
            Change::SetState((key, value)) => self.set_state(&key, value),
        }
    }

    /// Stale before conflict: what is newer than the write stays, whoever wrote it.
    fn put_incident(&mut self, write: IncidentWrite) -> Result<(), StoreError> {
        let IncidentWrite { incident, facts, revisit, base } = write;
        let sql = "SELECT updated_at, revision, record, facts, revisit FROM incident
            WHERE org = ?1 AND source = ?2 AND id = ?3";
        let mut get = self.connection.prepare_cached(sql).map_err(failed)?;
        type Before = (i64, u64, String, Vec<u8>, bool);
        let before = |row: &Row<'_>| -> rusqlite::Result<Before> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let key = params![self.org.as_str(), incident.key.source, incident.key.id];
        let before = get.query_row(key, before).optional().map_err(failed)?;
        if before.as_ref().is_some_and(|(updated_at, ..)| *updated_at > incident.updated_at) {
            self.applied.stale += 1;
            return Ok(());
        }
        if before.as_ref().map(|(_, revision, ..)| *revision) != base {
            return Err(StoreError::Conflict);
        }
        let record = to_json(&incident)?;
        if let Some((_, _, old, old_facts, old_revisit)) = &before
            && (old, old_facts, *old_revisit) == (&record, &facts, revisit)
        {
            self.applied.unchanged += 1;
            return Ok(());
        }
        match before {
            None => self.applied.created += 1,
            Some(_) => self.applied.updated += 1,
        }
        let revision = base.unwrap_or(0) + 1;
        let labels: Vec<_> =
            incident.services.iter().map(|s| (s.name.as_str(), s.service_id.as_deref())).collect();
        let sql = "INSERT INTO incident (org, source, id, reference, title, created_at, started_at, acknowledged_at,
                resolved_at, updated_at, priority, phase, mode, private, services, record, facts, revisit, revision)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
            ON CONFLICT (org, source, id) DO UPDATE SET reference = ?4, title = ?5, created_at = ?6, started_at = ?7,
                acknowledged_at = ?8, resolved_at = ?9, updated_at = ?10, priority = ?11, phase = ?12, mode = ?13,
                private = ?14, services = ?15, record = ?16, facts = ?17, revisit = ?18, revision = ?19";
        let at = |time: &Option<crate::contract::DerivedTime>| time.as_ref().map(|time| time.at);
        let mut put = self.connection.prepare_cached(sql).map_err(failed)?;
        put.execute(params![
            self.org.as_str(),
            incident.key.source,
            incident.key.id,
            incident.reference,
            incident.title,
            incident.created_at,
            at(&incident.started_at),
            at(&incident.acknowledged_at),
            at(&incident.resolved_at),
            incident.updated_at,
            incident.priority.map(priority_code),
            code_in(&PHASES, &incident.phase),
            code_in(&MODES, &incident.mode),
            incident.private,
            to_json(&labels)?,
            record,
            facts,
            revisit,
            revision,
        ])
        .map_err(failed)?;
        Ok(())
    }

    fn row_of(&self, key: &IncidentKey) -> Result<i64, StoreError> {
        let sql = "SELECT row FROM incident WHERE org = ?1 AND source = ?2 AND id = ?3";
        let mut get = self.connection.prepare_cached(sql).map_err(failed)?;
        let row = get.query_row(params![self.org.as_str(), key.source, key.id], |row| row.get(0));
        let missing = || StoreError::Invalid(format!("a timeline of {} {}, which is not stored", key.source, key.id));
        row.optional().map_err(failed)?.ok_or_else(missing)
    }

    fn put_event(&mut self, row: i64, event: &TimelineEvent) -> Result<(), StoreError> {
        let sql = "INSERT INTO timeline_event (incident, id, at, kind, title, detail, actor)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (incident, id) DO UPDATE SET at = ?3, kind = ?4, title = ?5, detail = ?6, actor = ?7
            WHERE at IS NOT ?3 OR kind IS NOT ?4 OR title IS NOT ?5 OR detail IS NOT ?6 OR actor IS NOT ?7";
        let mut put = self.connection.prepare_cached(sql).map_err(failed)?;
        let values = params![row, event.id, event.at, event.kind, event.title, event.detail, event.actor];
        self.count_events(put.execute(values).map_err(failed)?);
        Ok(())
    }

    fn count_events(&mut self, rows: usize) {
        self.applied.events = self.applied.events.saturating_add(u32::try_from(rows).unwrap_or(u32::MAX));
    }

    fn set_state(&self, key: &str, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        let org = self.org.as_str();
        let done = match value {
            Some(value) if value.len() > LARGEST_STATE => {
                return Err(StoreError::Invalid(format!("the state `{key}` is larger than {LARGEST_STATE} bytes")));
            }
            Some(value) => {
                let sql = "INSERT OR REPLACE INTO plugin_state (org, key, value) VALUES (?1, ?2, ?3)";
                self.connection.prepare_cached(sql).and_then(|mut put| put.execute(params![org, key, value]))
            }
            None => {
                let sql = "DELETE FROM plugin_state WHERE org = ?1 AND key = ?2";
                self.connection.prepare_cached(sql).and_then(|mut delete| delete.execute(params![org, key]))
            }
        };
        done.map(|_| ()).map_err(failed)
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<(String, Vec<u8>, u64)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn read_stored((record, facts, revision): (String, Vec<u8>, u64)) -> Result<StoredIncident, StoreError> {
    Ok(StoredIncident { incident: from_json(&record)?, facts, revision })
}

/// The population of time to restore, in branches that do not overlap, each along an index.
const BRANCHES: [&str; 3] = [
    "resolved_at >= ?2 AND resolved_at < ?3 AND (resolved_at, row) > (?4, ?5) ORDER BY resolved_at, row",
    "resolved_at IS NULL AND created_at >= ?2 AND created_at < ?3 AND (created_at, row) > (?4, ?5)
        ORDER BY created_at, row",
    "phase <= 2 AND created_at < ?3 AND (created_at, row) > (?4, ?5)
        AND (resolved_at < ?2 OR resolved_at >= ?3 OR (resolved_at IS NULL AND created_at < ?2))
        ORDER BY created_at, row",
];

/// Where a page starts: a branch, and the last row of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    branch: usize,
    at: Timestamp,
    row: i64,
}

impl Place {
    fn start_of(branch: usize) -> Place {
        Place { branch, at: Timestamp::MIN, row: i64::MIN }
    }

    fn parse(text: &str) -> Option<Place> {
        let mut parts = text.split('.');
        let place = Place {
            branch: parts.next()?.parse().ok()?,
            at: parts.next()?.parse().ok()?,
            row: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    }

    fn text(self) -> String {
        format!("{}.{}.{}", self.branch, self.at, self.row)
    }
}

/// Names with their places in a page's list.
#[derive(Default)]
struct Interned {
    names: Vec<String>,
    places: HashMap<String, u32>,
}

impl Interned {
    fn place(&mut self, name: &str) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_string());
        self.places.insert(name.to_string(), place);
        place
    }
}

fn scan(
    connection: &Connection,
    org: &OrgId,
    since: Timestamp,
    until: Timestamp,
    place: Place,
    limit: usize,
) -> Result<SamplePage, StoreError> {
    let unknown = || StoreError::Invalid("a page of samples is asked for that no page led to".into());
    let branch = BRANCHES.get(place.branch).ok_or_else(unknown)?;
    let sql = format!(
        "SELECT created_at, started_at, acknowledged_at, resolved_at, priority, phase, mode, private, source,
            services, duplicate, row FROM incident WHERE org = ?1 AND {branch} LIMIT ?6"
    );
    let mut catalog = connection.prepare_cached("SELECT name FROM host_service WHERE org = ?1 AND id = ?2").map_err(failed)?;
    let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows =
        statement.query(params![org.as_str(), since, until, place.at, place.row, wanted]).map_err(failed)?;
    let (mut sources, mut services) = (Interned::default(), Interned::default());
    // The same services come again and again; each combination is read once a page.
    let mut seen: HashMap<String, Vec<u32>> = HashMap::new();
    let mut samples = Vec::with_capacity(limit);
    let mut last = place;
    while let Some(row) = rows.next().map_err(failed)? {
        let labels = row.get_ref(9).and_then(|text| Ok(text.as_str()?)).map_err(failed)?;
        let indexes = match seen.get(labels) {
            Some(indexes) => indexes.clone(),
            None => {
                let mut indexes = Vec::new();
                for (name, id) in from_json::<Labels>(labels)? {
                    let linked: Option<String> = match id {
                        Some(id) => catalog.query_row(params![org.as_str(), id], |row| row.get(0)).optional().map_err(failed)?,
                        None => None,
                    };
                    indexes.push(services.place(linked.as_deref().unwrap_or(&name)));
                }
                seen.insert(labels.to_string(), indexes.clone());
                indexes
            }
        };
        let source = row.get_ref(8).and_then(|text| Ok(text.as_str()?)).map_err(failed)?;
        let source = sources.place(source);
        let sample = |row: &Row<'_>| -> rusqlite::Result<Sample> {
            Ok(Sample {
                created_at: row.get(0)?,
                started_at: row.get(1)?,
                acknowledged_at: row.get(2)?,
                resolved_at: row.get(3)?,
                priority: row.get::<_, Option<i64>>(4)?.and_then(priority),
                phase: at_code(&PHASES, row.get(5)?, Phase::Unknown),
                mode: at_code(&MODES, row.get(6)?, Mode::Unknown),
                private: row.get(7)?,
                source,
                services: indexes,
                duplicate: row.get(10)?,
            })
        };
        let sample = sample(row).map_err(failed)?;
        let at = if place.branch == 0 { sample.resolved_at.unwrap_or(sample.created_at) } else { sample.created_at };
        last = Place { branch: place.branch, at, row: row.get(11).map_err(failed)? };
        samples.push(sample);
    }
    let next = if samples.len() == limit {
        Some(last)
    } else {
        Some(Place::start_of(place.branch + 1)).filter(|next| next.branch < BRANCHES.len())
    };
    Ok(SamplePage { samples, sources: sources.names, services: services.names, next: next.map(Place::text) })
}

/// A condition and its values, built together so that the two cannot part.
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn and(&mut self, sql: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.sql.push_str(" AND ");
        self.sql.push_str(&sql.replace('?', &format!("?{}", self.values.len())));
    }

    fn and_any(&mut self, column: &str, values: impl Iterator<Item = Value>) {
        let places: Vec<String> = values
            .map(|value| {
                self.values.push(value);
                format!("?{}", self.values.len())
            })
            .collect();
        if !places.is_empty() {
            self.sql.push_str(&format!(" AND {column} IN ({})", places.join(", ")));
        }
    }
}

fn condition(org: &OrgId, filter: &IncidentFilter) -> Where {
    let mut condition = Where { sql: "org = ?1".into(), values: vec![org.as_str().to_string().into()] };
    condition.and_any("priority", filter.priorities.iter().map(|p| priority_code(*p).into()));
    condition.and_any("phase", filter.phases.iter().map(|phase| code_in(&PHASES, phase).into()));
    condition.and_any("source", filter.sources.iter().map(|source| source.clone().into()));
    if let Some(since) = filter.since {
        condition.and("created_at >= ?", since);
    }
    if let Some(until) = filter.until {
        condition.and("created_at < ?", until);
    }
    if let Some(text) = &filter.text {
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        condition.and("(title LIKE ? ESCAPE '\\' OR reference LIKE ? ESCAPE '\\')", format!("%{escaped}%"));
    }
    if let Some(service) = &filter.service {
        let sql = "EXISTS (SELECT 1 FROM json_each(incident.services) AS label
            LEFT JOIN host_service ON host_service.org = incident.org AND host_service.id = label.value ->> 1
            WHERE lower(coalesce(host_service.name, '')) = ? OR lower(label.value ->> 0) = ?)";
        condition.and(sql, service.trim().to_lowercase());
    }
    condition
}

#[async_trait::async_trait]
impl Records for SqliteStore {
    async fn commit(
        &self,
        org: &OrgId,
        changes: Vec<Change>,
        completes: Option<&Lease>,
    ) -> Result<Applied, StoreError> {
        let (org, completes) = (org.clone(), completes.cloned());
        self.write(move |connection| {
            let applied = Applied { created: 0, updated: 0, unchanged: 0, stale: 0, events: 0 };
            let mut writing = Writing { connection, org: &org, applied };
            changes.into_iter().try_for_each(|change| writing.change(change))?;
            if let Some(lease) = &completes {
                inbox::complete(connection, lease)?;
            }
            Ok(writing.applied)
        })
        .await
    }

    async fn incidents_by_key(
        &self,
        org: &OrgId,
        keys: &[IncidentKey],
    ) -> Result<Vec<Option<StoredIncident>>, StoreError> {
        let (org, keys) = (org.clone(), keys.to_vec());
        self.read(move |connection| {
            let sql = "SELECT record, facts, revision FROM incident WHERE org = ?1 AND source = ?2 AND id = ?3";
            let mut get = connection.prepare_cached(sql).map_err(failed)?;
            let found = keys.iter().map(|key| {
                let row = get.query_row(params![org.as_str(), key.source, key.id], stored).optional();
                row.map_err(failed)?.map(read_stored).transpose()
            });
            found.collect()
        })
        .await
    }

    async fn state(&self, org: &OrgId, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (org, key) = (org.clone(), key.to_string());
        self.read(move |connection| {
            let sql = "SELECT value FROM plugin_state WHERE org = ?1 AND key = ?2";
            let mut get = connection.prepare_cached(sql).map_err(failed)?;
            get.query_row(params![org.as_str(), key], |row| row.get(0)).optional().map_err(failed)
        })
        .await
    }

    async fn to_revisit(&self, org: &OrgId, source: &str, limit: u32) -> Result<RevisitPage, StoreError> {
        let (org, source) = (org.clone(), source.to_string());
        self.read(move |connection| {
            let list = "SELECT id FROM incident WHERE org = ?1 AND source = ?2 AND revisit = 1
                ORDER BY created_at DESC, row DESC LIMIT ?3";
            let mut list = connection.prepare_cached(list).map_err(failed)?;
            let key = |row: &Row<'_>| Ok(IncidentKey { source: source.clone(), id: row.get(0)? });
            let keys = list.query_map(params![org.as_str(), source, limit], key).map_err(failed)?;
            let keys = keys.collect::<rusqlite::Result<_>>().map_err(failed)?;
            let count = "SELECT count(*) FROM incident WHERE org = ?1 AND source = ?2 AND revisit = 1";
            let mut count = connection.prepare_cached(count).map_err(failed)?;
            let total = count.query_row(params![org.as_str(), source], |row| row.get(0)).map_err(failed)?;
            Ok(RevisitPage { keys, total })
        })
        .await
    }

    async fn scan_samples(
        &self,
        org: &OrgId,
        since: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<SamplePage, StoreError> {
        let unknown = || StoreError::Invalid("a page of samples is asked for that no page led to".into());
        let place = after.map_or(Some(Place::start_of(0)), Place::parse).ok_or_else(unknown)?;
        let org = org.clone();
        self.read(move |connection| scan(connection, &org, since, until, place, PAGE)).await
    }

    async fn incidents(&self, org: &OrgId, filter: &IncidentFilter) -> Result<IncidentPage, StoreError> {
        let Where { sql, values } = condition(org, filter);
        let (limit, offset) = (filter.limit.map_or(-1, i64::from), filter.offset);
        self.read(move |connection| {
            let count = format!("SELECT count(*) FROM incident WHERE {sql}");
            let mut count = connection.prepare_cached(&count).map_err(failed)?;
            let total = count.query_row(params_from_iter(&values), |row| row.get(0)).map_err(failed)?;
            let list = format!(
                "SELECT record FROM incident WHERE {sql} ORDER BY created_at DESC, row DESC LIMIT {limit} OFFSET {offset}"
            );
            let mut list = connection.prepare_cached(&list).map_err(failed)?;
            let mut rows = list.query(params_from_iter(&values)).map_err(failed)?;
            let mut incidents: Vec<Incident> = Vec::new();
            while let Some(row) = rows.next().map_err(failed)? {
                incidents.push(from_json(&row.get::<_, String>(0).map_err(failed)?)?);
            }
            Ok(IncidentPage { incidents, total })
        })
        .await
    }

    async fn find_incident(&self, org: &OrgId, name: &str) -> Result<Option<StoredIncident>, StoreError> {
        let (org, name) = (org.clone(), name.to_string());
        self.read(move |connection| {
            let sql = "SELECT record, facts, revision FROM incident
                WHERE org = ?1 AND (reference = ?2 COLLATE NOCASE OR id = ?2) ORDER BY id = ?2 DESC, row LIMIT 1";
            let mut get = connection.prepare_cached(sql).map_err(failed)?;
            let found = get.query_row(params![org.as_str(), name], stored).optional().map_err(failed)?;
            found.map(read_stored).transpose()
        })
        .await
    }

    async fn timeline(&self, org: &OrgId, key: &IncidentKey) -> Result<Vec<TimelineEvent>, StoreError> {
        let (org, key) = (org.clone(), key.clone());
        self.read(move |connection| {
            let sql = "SELECT event.id, event.at, event.kind, event.title, event.detail, event.actor
                FROM timeline_event AS event JOIN incident ON incident.row = event.incident
                WHERE incident.org = ?1 AND incident.source = ?2 AND incident.id = ?3 ORDER BY event.at, event.id";
            let mut list = connection.prepare_cached(sql).map_err(failed)?;
            let event = |row: &Row<'_>| {
                Ok(TimelineEvent {
                    incident: key.clone(),
                    id: row.get(0)?,
                    at: row.get(1)?,
                    kind: row.get(2)?,
                    title: row.get(3)?,
                    detail: row.get(4)?,
                    actor: row.get(5)?,
                })
            };
            let events = list.query_map(params![org.as_str(), key.source, key.id], event).map_err(failed)?;
            events.collect::<rusqlite::Result<_>>().map_err(failed)
        })
        .await
    }
}

#[cfg(test)]
pub(super) fn scan_in_pages_of(
    connection: &Connection,
    org: &OrgId,
    (since, until): (Timestamp, Timestamp),
    limit: usize,
) -> Result<Vec<Sample>, StoreError> {
    let mut all = Vec::new();
    let mut place = Some(Place::start_of(0));
    while let Some(at) = place {
        let page = scan(connection, org, since, until, at, limit)?;
        all.extend(page.samples);
        place = page.next.as_deref().and_then(Place::parse);
    }
    Ok(all)
}
