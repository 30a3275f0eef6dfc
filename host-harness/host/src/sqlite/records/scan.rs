//! The population that time to restore looks at, page by page.
//!
//! | branch | incidents | place | in the population of [since, until) |
//! |---|---|---|---|
//! | resolved | over, and it is known since when | resolution | placed in it |
//! | unresolved | not open, without a resolution time | creation, else start, else last update | placed in it |
//! | open | triage, active or paused | creation, else start, else last update | placed before `until` |
//!
//! Each incident is in one branch, and each branch is a range of one index that holds all of a sample, so a scan
//! reads what it answers and nothing else. A time before 2005 is a mistake and gives no place; an incident without any
//! other stands behind all times.
//!
//! Which times lie in the future is known only when somebody asks. So the rows of a branch behind `now` are scanned by
//! themselves, and each is given its place anew. They are few: mistakes.
//!
//! A page is one consistent view; a scan of several pages is not, if somebody writes meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::str::FromStr;
use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection, Row, params};

use crate::contract::{DerivedTime, Incident, IncidentKey, Phase, Sample, SamplePage, Timestamp};
use crate::id::OrgId;
use crate::port::{PLAUSIBLE, Population};
use crate::sqlite::coding::{decode_mode, decode_phase, decode_priority};
use crate::sqlite::fault::{Fault, Outcome};

/// Few enough for a sandbox's memory, many enough that crossing into it does not count.
pub(in crate::sqlite) const SAMPLES_PER_PAGE: usize = 5_000;

const RESOLVED: i64 = 0;
const UNRESOLVED: i64 = 1;
const OPEN: i64 = 2;
/// The parts of a scan: each branch up to `now`, then each from there on.
const PARTS: [(i64, bool); 6] = [
    (RESOLVED, false),
    (UNRESOLVED, false),
    (OPEN, false),
    (RESOLVED, true),
    (UNRESOLVED, true),
    (OPEN, true),
];

/// What is read of an incident: its position, then the columns of a sample.
macro_rules! sample {
    () => {
        "scan_at, n, created_at, undated, started_at, acknowledged_at, resolved_at, first_resolved_at, priority,
            phase, mode, private, duplicate, revisit, not_visible, source, labels"
    };
}
/// Where the columns of a position are.
const AT: usize = 0;
const NUMBER: usize = 1;

/// Where scans and lists have an incident.
pub(super) struct Place {
    pub(super) branch: i64,
    /// By which its branch is ordered.
    pub(super) scan_at: Timestamp,
    /// Its creation; of one that tells none, the next best.
    pub(super) created_at: Timestamp,
}

pub(super) fn place(incident: &Incident) -> Place {
    let of = |time: &Option<DerivedTime>| time.as_ref().map(|time| time.at);
    let plausible = |at: &Timestamp| *at >= PLAUSIBLE;
    let started_at = of(&incident.started_at).filter(plausible);
    let created_at = incident.created_at.or(started_at).unwrap_or(incident.updated_at);
    let known = [Some(created_at), started_at, Some(incident.updated_at)];
    let placed = known.into_iter().flatten().find(plausible).unwrap_or(Timestamp::MAX);
    let (branch, scan_at) = match (incident.phase, of(&incident.resolved_at).filter(plausible)) {
        (Phase::Triage | Phase::Active | Phase::Paused, _) => (OPEN, placed),
        (_, Some(at)) => (RESOLVED, at),
        (_, None) => (UNRESOLVED, placed),
    };
    Place { branch, scan_at, created_at }
}

/// The place of a row as an expression; `now` is one, and what is later is not believed.
fn placed(now: &str) -> String {
    let known = ["created_at", "started_at", "updated_at"];
    let cases = known.map(|time| format!("WHEN {time} BETWEEN {PLAUSIBLE} AND {now} THEN {time} "));
    format!("CASE WHEN scan_at <= {now} THEN scan_at {}ELSE {now} END", cases.concat())
}

/// What the population holds, as a condition; each of the three is an expression.
pub(super) fn population(since: &str, until: &str, now: &str) -> String {
    let placed = placed(now);
    format!("({placed}) < {until} AND (branch = {OPEN} OR ({placed}) >= {since})")
}

/// The last sample of a page; the next page starts behind it.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Index into [`PARTS`].
    part: i64,
    at: Timestamp,
    number: i64,
}

impl FromStr for Position {
    type Err = Fault;
    fn from_str(text: &str) -> Outcome<Position> {
        let mut parts = text.splitn(3, ':').map(|part| part.parse().ok());
        let mut part = || parts.next().flatten();
        match (part(), part(), part()) {
            (Some(part), Some(at), Some(number)) => Ok(Position { part, at, number }),
            _ => Err(Fault::invalid("this is not where a page of samples starts")),
        }
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.part, self.at, self.number)
    }
}

pub(in crate::sqlite) fn page(
    connection: &Connection,
    org: &OrgId,
    population: Population,
    after: Option<&str>,
    size: usize,
) -> Outcome<SamplePage> {
    let after: Option<Position> = after.map(str::parse).transpose()?;
    let Population { since, until, now } = population;
    let mut page = Page::new(connection, org, size)?;
    for (part, (branch, future)) in (0..).zip(PARTS) {
        let from = match after {
            Some(after) if after.part > part => continue,
            Some(after) if after.part == part => (after.at, after.number),
            _ if future => (now, i64::MAX),
            _ if branch == OPEN => (Timestamp::MIN, 0),
            _ => (since, 0),
        };
        // One more than there is room for tells whether there is another page.
        let wanted = i64::try_from(size - page.samples.len()).unwrap_or(i64::MAX).saturating_add(1);
        let (org, (at, number)) = (org.as_str(), from);
        let mut select = connection.prepare_cached(if future { &FUTURE } else { PAST })?;
        let mut rows = if future {
            select.query(params![org, branch, at, number, wanted, since, until, now])?
        } else {
            select.query(params![org, branch, at, number, wanted, until, now])?
        };
        while let Some(row) = rows.next()? {
            if page.samples.len() == size {
                return Ok(page.end(true));
            }
            page.push(part, row)?;
        }
    }
    Ok(page.end(false))
}

/// Rows are numbered from 1; the number is compared only among those of one instant.
pub(in crate::sqlite) const PAST: &str = concat!(
    "SELECT ",
    sample!(),
    " FROM incident INDEXED BY incident_scan
        WHERE org = ?1 AND branch = ?2 AND (scan_at, n) > (?3, ?4) AND scan_at < ?6 AND scan_at <= ?7
        ORDER BY scan_at, n LIMIT ?5"
);

static FUTURE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM incident INDEXED BY incident_scan
        WHERE org = ?1 AND branch = ?2 AND (scan_at, n) > (?3, ?4) AND {}
        ORDER BY scan_at, n LIMIT ?5",
        sample!(),
        self::population("?6", "?7", "?8")
    )
});

/// The page of one incident, by the rules of all of them.
pub(in crate::sqlite) fn one(
    connection: &Connection,
    org: &OrgId,
    key: &IncidentKey,
    population: Population,
) -> Outcome<SamplePage> {
    let select = format!(
        "SELECT {} FROM incident WHERE org = ?1 AND id = ?2 AND source = ?3 AND {}",
        sample!(),
        self::population("?4", "?5", "?6")
    );
    let Population { since, until, now } = population;
    let mut select = connection.prepare_cached(&select)?;
    let mut page = Page::new(connection, org, 1)?;
    let mut rows = select.query(params![org.as_str(), key.id, key.source, since, until, now])?;
    if let Some(row) = rows.next()? {
        page.push(RESOLVED, row)?;
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

    fn push(&mut self, part: i64, row: &Row<'_>) -> Outcome<()> {
        let damaged = || Fault::damaged("an incident");
        self.last = Some(Position { part, at: row.get(AT)?, number: row.get(NUMBER)? });
        let undated: bool = row.get(3)?;
        let priority: Option<i64> = row.get(8)?;
        let source = row.get_ref(15)?.as_str().map_err(|_| damaged())?;
        let source = self.source(source)?;
        let labels = row.get_ref(16)?.as_blob().map_err(|_| damaged())?;
        let sample = Sample {
            created_at: if undated { None } else { row.get(2)? },
            started_at: row.get(4)?,
            acknowledged_at: row.get(5)?,
            resolved_at: row.get(6)?,
            first_resolved_at: row.get(7)?,
            priority: priority.map(|number| decode_priority(number).ok_or_else(damaged)).transpose()?,
            phase: decode_phase(row.get(9)?).ok_or_else(damaged)?,
            mode: decode_mode(row.get(10)?).ok_or_else(damaged)?,
            private: row.get(11)?,
            duplicate: row.get(12)?,
            waits: row.get(13)?,
            not_visible: row.get(14)?,
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
