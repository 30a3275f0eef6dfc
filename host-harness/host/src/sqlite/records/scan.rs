//! The population that time to restore looks at, page by page.
//!
//! | branch | incidents | ordered by | in the population of [since, until) |
//! |---|---|---|---|
//! | resolved | over, and it is known since when | resolution | resolved in it |
//! | unresolved | not open, without a resolution time | creation | created in it |
//! | open | triage, active or paused | creation | created before `until` |
//!
//! Each incident is in one branch, and each branch is a range of one index that holds all of a sample, so a scan
//! reads what it answers and nothing else. An open incident that has a resolution time nevertheless, which the
//! contract rules out, is ordered by the earlier of the two and admitted by either.
//!
//! A page is one consistent view; a scan of several pages is not, if somebody writes meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::str::FromStr;

use rusqlite::{CachedStatement, Connection, Row, params};

use crate::contract::{Incident, IncidentKey, Phase, Sample, SamplePage, Timestamp};
use crate::id::OrgId;
use crate::sqlite::coding::{decode_mode, decode_phase, decode_priority};
use crate::sqlite::fault::{Fault, Outcome};

/// Few enough for a sandbox's memory, many enough that crossing into it does not count.
pub(in crate::sqlite) const SAMPLES_PER_PAGE: usize = 5_000;

const RESOLVED: i64 = 0;
const UNRESOLVED: i64 = 1;
const OPEN: i64 = 2;
/// Where the columns of a sample begin, behind those of its position.
const AT: usize = 0;
const NUMBER: usize = 1;

/// The branch that an incident is in, and its place there.
pub(super) fn place(incident: &Incident) -> (i64, Timestamp) {
    let (created_at, resolved_at) = (incident.created_at, incident.resolved_at.as_ref().map(|time| time.at));
    match (incident.phase, resolved_at) {
        (Phase::Triage | Phase::Active | Phase::Paused, Some(at)) => (OPEN, created_at.min(at)),
        (Phase::Triage | Phase::Active | Phase::Paused, None) => (OPEN, created_at),
        (_, Some(at)) => (RESOLVED, at),
        (_, None) => (UNRESOLVED, created_at),
    }
}

/// The same rule as a condition, for lists: what a span's population holds.
pub(super) fn population(since: &str, until: &str) -> String {
    format!(
        "scan_at < {until} AND (scan_at >= {since} OR branch = {OPEN})
            AND (created_at < {until} OR (resolved_at >= {since} AND resolved_at < {until}))"
    )
}

/// The last sample of a page; the next page starts behind it.
#[derive(Debug, Clone, Copy)]
struct Position {
    branch: i64,
    at: Timestamp,
    number: i64,
}

impl FromStr for Position {
    type Err = Fault;
    fn from_str(text: &str) -> Outcome<Position> {
        let mut parts = text.splitn(3, ':').map(|part| part.parse().ok());
        let mut part = || parts.next().flatten();
        match (part(), part(), part()) {
            (Some(branch), Some(at), Some(number)) => Ok(Position { branch, at, number }),
            _ => Err(Fault::invalid("this is not where a page of samples starts")),
        }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.branch, self.at, self.number)
    }
}

pub(in crate::sqlite) fn page(
    connection: &Connection,
    org: &OrgId,
    span: Range<Timestamp>,
    after: Option<&str>,
    size: usize,
) -> Outcome<SamplePage> {
    let after: Option<Position> = after.map(str::parse).transpose()?;
    // The number is compared only among rows of one instant, and rows are numbered from 1. The last condition
    // matters for no branch but the open one.
    let select =
        "SELECT scan_at, n, created_at, started_at, acknowledged_at, resolved_at, priority, phase, mode,
            private, duplicate, source, labels
        FROM incident INDEXED BY incident_scan
        WHERE org = ?1 AND branch = ?2 AND (scan_at, n) > (?3, ?4) AND scan_at < ?6
            AND (created_at < ?6 OR (resolved_at >= ?5 AND resolved_at < ?6))
        ORDER BY scan_at, n LIMIT ?7";
    let mut select = connection.prepare_cached(select)?;
    let mut page = Page::new(connection, org, size)?;
    for branch in [RESOLVED, UNRESOLVED, OPEN] {
        let from = match after {
            Some(after) if after.branch > branch => continue,
            Some(after) if after.branch == branch => (after.at, after.number),
            _ if branch == OPEN => (Timestamp::MIN, 0),
            _ => (span.start, 0),
        };
        // One more than there is room for tells whether there is another page.
        let wanted = i64::try_from(size - page.samples.len()).unwrap_or(i64::MAX).saturating_add(1);
        let values = params![org.as_str(), branch, from.0, from.1, span.start, span.end, wanted];
        let mut rows = select.query(values)?;
        while let Some(row) = rows.next()? {
            if page.samples.len() == size {
                return Ok(page.end(true));
            }
            page.push(branch, row)?;
        }
    }
    Ok(page.end(false))
}

/// The page of one incident, by the rules of all of them.
pub(in crate::sqlite) fn one(
    connection: &Connection,
    org: &OrgId,
    key: &IncidentKey,
    span: Range<Timestamp>,
) -> Outcome<SamplePage> {
    let select =
        "SELECT scan_at, n, created_at, started_at, acknowledged_at, resolved_at, priority, phase, mode,
            private, duplicate, source, labels, branch
        FROM incident
        WHERE org = ?1 AND id = ?2 AND source = ?3 AND scan_at < ?5 AND (scan_at >= ?4 OR branch = ?6)
            AND (created_at < ?5 OR (resolved_at >= ?4 AND resolved_at < ?5))";
    let mut select = connection.prepare_cached(select)?;
    let mut page = Page::new(connection, org, 1)?;
    let mut rows = select.query(params![org.as_str(), key.id, key.source, span.start, span.end, OPEN])?;
    if let Some(row) = rows.next()? {
        page.push(row.get(13)?, row)?;
    }
    Ok(page.end(false))
}

struct Page<'a> {
    org: &'a OrgId,
    label_name: CachedStatement<'a>,
    samples: Vec<Sample>,
    sources: Vec<String>,
    services: Vec<String>,
    by_label: HashMap<u32, u32>,
    by_name: HashMap<String, u32>,
    last: Option<Position>,
}

impl<'a> Page<'a> {
    fn new(connection: &'a Connection, org: &'a OrgId, size: usize) -> Outcome<Page<'a>> {
        let label_name = "SELECT coalesce(service.name, label.name) FROM label
            LEFT JOIN service ON service.org = label.org AND service.id = label.service
            WHERE label.org = ?1 AND label.n = ?2";
        Ok(Page {
            org,
            label_name: connection.prepare_cached(label_name)?,
            samples: Vec::with_capacity(size.min(SAMPLES_PER_PAGE)),
            sources: Vec::new(),
            services: Vec::new(),
            by_label: HashMap::new(),
            by_name: HashMap::new(),
            last: None,
        })
    }

    fn push(&mut self, branch: i64, row: &Row<'_>) -> Outcome<()> {
        let damaged = || Fault::damaged("an incident");
        self.last = Some(Position { branch, at: row.get(AT)?, number: row.get(NUMBER)? });
        let priority: Option<i64> = row.get(6)?;
        let source = row.get_ref(11)?.as_str().map_err(|_| damaged())?;
        let source = self.source(source)?;
        let labels = row.get_ref(12)?.as_blob().map_err(|_| damaged())?;
        let sample = Sample {
            created_at: row.get(2)?,
            started_at: row.get(3)?,
            acknowledged_at: row.get(4)?,
            resolved_at: row.get(5)?,
            priority: priority.map(|number| decode_priority(number).ok_or_else(damaged)).transpose()?,
            phase: decode_phase(row.get(7)?).ok_or_else(damaged)?,
            mode: decode_mode(row.get(8)?).ok_or_else(damaged)?,
            private: row.get(9)?,
            duplicate: row.get(10)?,
            source,
            services: self.services(labels)?,
        };
        self.samples.push(sample);
        Ok(())
    }

    fn source(&mut self, source: &str) -> Outcome<u32> {
        // There are one or two of them.
        let known = self.sources.iter().position(|known| known == source);
        index(known.unwrap_or_else(|| {
            self.sources.push(source.to_owned());
            self.sources.len() - 1
        }))
    }

    /// Two labels can stand for one catalog entry, which affects the incident once.
    fn services(&mut self, labels: &[u8]) -> Outcome<Vec<u32>> {
        let mut services = Vec::with_capacity(labels.len() / 4);
        for label in decode_labels(labels) {
            let service = match self.by_label.entry(label) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(free) => {
                    let values = params![self.org.as_str(), label];
                    let name: String = self.label_name.query_row(values, |row| row.get(0))?;
                    let service = match self.by_name.entry(name) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(new) => {
                            self.services.push(new.key().clone());
                            *new.insert(index(self.services.len() - 1)?)
                        }
                    };
                    *free.insert(service)
                }
            };
            if !services.contains(&service) {
                services.push(service);
            }
        }
        Ok(services)
    }

    fn end(self, more: bool) -> SamplePage {
        let next = self.last.filter(|_| more).map(|last| last.to_string());
        SamplePage { samples: self.samples, sources: self.sources, services: self.services, next }
    }
}

pub(super) fn encode_labels(labels: &[u32]) -> Vec<u8> {
    labels.iter().flat_map(|label| label.to_le_bytes()).collect()
}

pub(super) fn decode_labels(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|label| u32::from_le_bytes(*label))
}

fn index(position: usize) -> Outcome<u32> {
    u32::try_from(position).map_err(|_| Fault::damaged("a page of samples"))
}
