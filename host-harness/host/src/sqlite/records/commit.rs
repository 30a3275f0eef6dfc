//! Commits: each change in order, all or none.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::number;
use super::scan::{Place, decode_labels, encode_labels, place};
use crate::contract::{
    AffectedService, Applied, Change, IncidentKey, IncidentWrite, Timeline, TimelineEvent,
};
use crate::id::OrgId;
use crate::port::{Lease, normalised};
use crate::sqlite::coding::{encode_mode, encode_phase, encode_priority, to_json, unsigned};
use crate::sqlite::fault::{Fault, Outcome};
use crate::sqlite::inbox;

/// What one key of the plugin's state may hold; the contract's number.
const STATE_BYTES: usize = 1_000_000;
/// What all of an organisation's state may take, its keys included.
const ALL_STATE_BYTES: i64 = 64_000_000;
/// Keys that an organisation's state may have.
const STATE_KEYS: i64 = 200_000;
/// What a key may have.
const KEY_BYTES: usize = 500;
/// What one incident's facts, and its record, may take each.
const INCIDENT_BYTES: usize = 4_000_000;

/// A change, with what can be made of it before the one thread that writes has it.
pub(super) enum Prepared {
    Incident(Box<(IncidentWrite, Row)>),
    Event(TimelineEvent),
    Timeline(Timeline),
    State(String, Option<Vec<u8>>),
}

impl Prepared {
    pub(super) fn of(change: Change) -> Outcome<Prepared> {
        Ok(match change {
            Change::PutIncident(write) => {
                let row = Row::of(&write)?;
                if write.facts.len().max(row.record.len()) > INCIDENT_BYTES {
                    return Err(Fault::full(format!("an incident takes at most {INCIDENT_BYTES} bytes")));
                }
                Prepared::Incident(Box::new((write, row)))
            }
            Change::PutTimelineEvent(event) => Prepared::Event(event),
            Change::ReplaceTimeline(timeline) => Prepared::Timeline(timeline),
            Change::SetState((key, value)) => Prepared::State(key, value),
        })
    }
}

pub(super) fn commit(
    connection: &Connection,
    org: &OrgId,
    changes: &[Prepared],
    completes: Option<&Lease>,
) -> Outcome<Applied> {
    if let Some(lease) = completes {
        if lease.org != *org {
            return Err(Fault::invalid("a commit completes deliveries of its own organisation only"));
        }
        inbox::complete(connection, lease)?;
    }
    let applied = Applied { created: 0, updated: 0, unchanged: 0, stale: 0, events: 0 };
    let mut commit = Commit { connection, org, applied, last: None };
    for change in changes {
        match change {
            Prepared::Incident(incident) => commit.put_incident(&incident.0, &incident.1)?,
            Prepared::Event(event) => {
                let incident = commit.incident_of(&event.incident)?;
                commit.put_event(incident, event)?;
            }
            Prepared::Timeline(timeline) => commit.replace_timeline(timeline)?,
            Prepared::State(key, value) => set_state(connection, org, key, value.as_deref())?,
        }
    }
    Ok(commit.applied)
}

struct Commit<'a> {
    connection: &'a Connection,
    org: &'a OrgId,
    applied: Applied,
    /// The incident of the last event: events of one incident mostly come together.
    last: Option<(&'a IncidentKey, i64)>,
}

/// What is stored of an incident about to be written.
struct Stored {
    number: i64,
    revision: i64,
    updated_at: i64,
    /// Whether it holds exactly what is about to be written.
    same: bool,
    /// Whether at least all that is indexed is the same.
    same_place: bool,
    labels: Vec<u8>,
}

impl<'a> Commit<'a> {
    fn put_incident(&mut self, write: &IncidentWrite, row: &Row) -> Outcome<()> {
        let stored = self.stored(write, row)?;
        match &stored {
            stored if stored.as_ref().map(|stored| unsigned(stored.revision)) != write.base => {
                return Err(Fault::conflict());
            }
            Some(stored) if stored.updated_at > write.incident.updated_at => {
                self.applied.stale += 1;
                return Ok(());
            }
            Some(stored) if stored.same => {
                self.applied.unchanged += 1;
                return Ok(());
            }
            _ => {}
        }
        let labels = self.labels(&write.incident.services)?;
        let encoded = encode_labels(&labels);
        if let Some(stored) = stored.as_ref().filter(|stored| stored.same_place && stored.labels == encoded) {
            self.applied.updated += 1;
            return self.rewrite(write, row, stored.number);
        }
        let known: HashSet<u32> = stored.iter().flat_map(|stored| decode_labels(&stored.labels)).collect();
        let number = self.write_incident(write, row, &encoded, stored.as_ref())?;
        self.link(number, &known, &labels)
    }

    fn stored(&self, write: &IncidentWrite, row: &Row) -> Outcome<Option<Stored>> {
        let select = "SELECT n, revision, updated_at, labels, record = ?4 AND facts = ?5 AND revisit = ?6,
                (created_at, started_at, acknowledged_at, resolved_at, priority, phase, mode, private, reference,
                    branch, scan_at, revisit, withheld, search, undated, first_resolved_at, not_visible, unknown_timestamp)
                    IS (?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?6, ?18, ?19, ?20, ?21, ?22, ?23)
            FROM incident WHERE org = ?1 AND id = ?2 AND source = ?3";
        let incident = &write.incident;
        let values = params![
            self.org.as_str(),
            incident.key.id,
            incident.key.source,
            row.record,
            write.facts,
            write.revisit,
            row.place.created_at,
            incident.started_at.as_ref().map(|time| time.at),
            incident.acknowledged_at.as_ref().map(|time| time.at),
            incident.resolved_at.as_ref().map(|time| time.at),
            incident.priority.map(encode_priority),
            encode_phase(incident.phase),
            encode_mode(incident.mode),
            incident.private,
            row.reference,
            row.place.branch,
            row.place.scan_at,
            incident.withheld,
            row.search,
            incident.created_at.is_none(),
            incident.first_resolved_at.as_ref().map(|time| time.at),
            incident.not_visible,
            incident.unknown_timestamp,
        ];
        let stored = self.connection.prepare_cached(select)?.query_row(values, |row| {
            Ok(Stored {
                number: row.get(0)?,
                revision: row.get(1)?,
                updated_at: row.get(2)?,
                labels: row.get(3)?,
                same: row.get(4)?,
                same_place: row.get(5)?,
            })
        });
        Ok(stored.optional()?)
    }

    /// Writes what no index holds. Naming an indexed column would renew its entry, whether it changes or not.
    fn rewrite(&mut self, write: &IncidentWrite, row: &Row, number: i64) -> Outcome<()> {
        let update = "UPDATE incident SET revision = revision + 1, updated_at = ?1, record = ?2, facts = ?3 WHERE n = ?4";
        let values = params![write.incident.updated_at, row.record, write.facts, number];
        self.connection.prepare_cached(update)?.execute(values)?;
        Ok(())
    }

    fn write_incident(
        &mut self,
        write: &IncidentWrite,
        row: &Row,
        labels: &[u8],
        stored: Option<&Stored>,
    ) -> Outcome<i64> {
        let incident = &write.incident;
        let insert = "INSERT INTO incident (revision, updated_at, created_at, started_at, acknowledged_at,
                resolved_at, priority, phase, mode, private, reference, search, labels, branch, scan_at, revisit,
                record, facts, org, id, source, withheld, undated, first_resolved_at, not_visible,
                unknown_timestamp)
            VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
                ?21, ?22, ?23, ?24, ?25)";
        let update =
            "UPDATE incident SET revision = revision + 1, updated_at = ?1, created_at = ?2, started_at = ?3,
                acknowledged_at = ?4, resolved_at = ?5, priority = ?6, phase = ?7, mode = ?8, private = ?9,
                reference = ?10, search = ?11, labels = ?12, branch = ?13, scan_at = ?14, revisit = ?15,
                record = ?16, facts = ?17, withheld = ?21, undated = ?22, first_resolved_at = ?23,
                not_visible = ?24, unknown_timestamp = ?25
            WHERE org = ?18 AND id = ?19 AND source = ?20";
        let statement = if stored.is_some() { update } else { insert };
        self.connection.prepare_cached(statement)?.execute(params![
            incident.updated_at,
            row.place.created_at,
            incident.started_at.as_ref().map(|time| time.at),
            incident.acknowledged_at.as_ref().map(|time| time.at),
            incident.resolved_at.as_ref().map(|time| time.at),
            incident.priority.map(encode_priority),
            encode_phase(incident.phase),
            encode_mode(incident.mode),
            incident.private,
            row.reference,
            row.search,
            labels,
            row.place.branch,
            row.place.scan_at,
            write.revisit,
            row.record,
            write.facts,
            self.org.as_str(),
            incident.key.id,
            incident.key.source,
            incident.withheld,
            incident.created_at.is_none(),
            incident.first_resolved_at.as_ref().map(|time| time.at),
            incident.not_visible,
            incident.unknown_timestamp,
        ])?;
        if let Some(stored) = stored {
            self.applied.updated += 1;
            return Ok(stored.number);
        }
        self.applied.created += 1;
        Ok(self.connection.last_insert_rowid())
    }

    /// The numbers of these services' labels, in order, each once.
    fn labels(&self, services: &[AffectedService]) -> Outcome<Vec<u32>> {
        let mut labels = Vec::with_capacity(services.len());
        for service in services {
            let linked = service.service_id.as_deref().unwrap_or_default();
            let select = "SELECT n FROM label WHERE org = ?1 AND name = ?2 AND service = ?3";
            let mut select = self.connection.prepare_cached(select)?;
            let known =
                select.query_row([self.org.as_str(), &service.name, linked], |row| row.get(0)).optional()?;
            let label = match known {
                Some(label) => label,
                None => {
                    let insert = "INSERT INTO label (org, name, folded, service) VALUES (?1, ?2, ?3, ?4)";
                    let folded = normalised(&service.name);
                    let values = [self.org.as_str(), &service.name, &folded, linked];
                    self.connection.prepare_cached(insert)?.execute(values)?;
                    u32::try_from(self.connection.last_insert_rowid())
                        .map_err(|_| Fault::invalid("there are too many names of services"))?
                }
            };
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        Ok(labels)
    }

    fn link(&self, incident: i64, known: &HashSet<u32>, labels: &[u32]) -> Outcome<()> {
        for gone in known.iter().filter(|label| !labels.contains(label)) {
            let delete = "DELETE FROM incident_label WHERE label = ?1 AND incident = ?2";
            self.connection.prepare_cached(delete)?.execute(params![gone, incident])?;
        }
        for new in labels.iter().filter(|label| !known.contains(label)) {
            let insert = "INSERT INTO incident_label (label, incident) VALUES (?1, ?2)";
            self.connection.prepare_cached(insert)?.execute(params![new, incident])?;
        }
        Ok(())
    }

    fn incident_of(&mut self, key: &'a IncidentKey) -> Outcome<i64> {
        match self.last {
            Some((last, number)) if last == key => Ok(number),
            _ => {
                let unknown = || Fault::invalid("a timeline event belongs to an incident that is not stored");
                let number = number(self.connection, self.org, key)?.ok_or_else(unknown)?;
                self.last = Some((key, number));
                Ok(number)
            }
        }
    }

    fn put_event(&mut self, incident: i64, event: &TimelineEvent) -> Outcome<()> {
        // An event that is stored as it is counts as no change.
        let upsert = "INSERT INTO event (incident, id, at, kind, title, detail, actor)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (incident, id) DO UPDATE SET at = excluded.at, kind = excluded.kind,
                title = excluded.title, detail = excluded.detail, actor = excluded.actor
            WHERE (at, kind, title, detail, actor)
                IS NOT (excluded.at, excluded.kind, excluded.title, excluded.detail, excluded.actor)";
        let TimelineEvent { id, at, kind, title, detail, actor, .. } = event;
        let values = params![incident, id, at, kind, title, detail, actor];
        self.count_events(self.connection.prepare_cached(upsert)?.execute(values)?);
        Ok(())
    }

    fn replace_timeline(&mut self, timeline: &'a Timeline) -> Outcome<()> {
        if timeline.events.iter().any(|event| event.incident != timeline.incident) {
            return Err(Fault::invalid("an event of a timeline names another incident"));
        }
        let incident = self.incident_of(&timeline.incident)?;
        let listed: HashSet<&str> = timeline.events.iter().map(|event| event.id.as_str()).collect();
        let mut select = self.connection.prepare_cached("SELECT id FROM event WHERE incident = ?1")?;
        let stored = select.query_map([incident], |row| row.get(0))?;
        let stored: Vec<String> = stored.collect::<rusqlite::Result<_>>()?;
        for gone in stored.iter().filter(|id| !listed.contains(id.as_str())) {
            let delete = "DELETE FROM event WHERE incident = ?1 AND id = ?2";
            self.count_events(self.connection.prepare_cached(delete)?.execute(params![incident, gone])?);
        }
        timeline.events.iter().try_for_each(|event| self.put_event(incident, event))
    }

    fn count_events(&mut self, rows: usize) {
        self.applied.events = self.applied.events.saturating_add(u32::try_from(rows).unwrap_or(u32::MAX));
    }
}

fn set_state(connection: &Connection, org: &OrgId, key: &str, value: Option<&[u8]>) -> Outcome<()> {
    let Some(value) = value else {
        let delete = "DELETE FROM state WHERE org = ?1 AND key = ?2";
        connection.prepare_cached(delete)?.execute([org.as_str(), key])?;
        return Ok(());
    };
    if key.len() > KEY_BYTES {
        return Err(Fault::invalid(format!("a key of state has at most {KEY_BYTES} bytes")));
    }
    if value.len() > STATE_BYTES {
        let (size, limit) = (value.len(), STATE_BYTES);
        return Err(Fault::invalid(format!(
            "a state of {size} bytes is more than the {limit} that one key may hold"
        )));
    }
    let upsert = "INSERT INTO state (org, key, value) VALUES (?1, ?2, ?3)
        ON CONFLICT (org, key) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(upsert)?.execute(params![org.as_str(), key, value])?;
    let size = "SELECT keys, bytes FROM state_size WHERE org = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (keys, bytes): (i64, i64) = connection.prepare_cached(size)?.query_row([org.as_str()], read)?;
    if keys > STATE_KEYS || bytes > ALL_STATE_BYTES {
        // What was written goes with the rest of the commit.
        return Err(Fault::full(format!(
            "a plugin's state holds at most {ALL_STATE_BYTES} bytes under {STATE_KEYS} keys"
        )));
    }
    Ok(())
}

/// What is stored of an incident besides its own fields.
pub(super) struct Row {
    record: String,
    reference: Option<String>,
    /// What a search by text looks at.
    search: String,
    place: Place,
}

impl Row {
    fn of(write: &IncidentWrite) -> Outcome<Row> {
        let incident = &write.incident;
        let reference = incident.reference.as_ref().map(|reference| reference.to_lowercase());
        let title = incident.title.to_lowercase();
        let search = format!("{}\n{title}", reference.as_deref().unwrap_or_default());
        Ok(Row { record: to_json(incident)?, reference, search, place: place(incident) })
    }
}
