//! A large history: what storing it costs, what it takes on the disk, and time to restore over it, against the same
//! question in SQL.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use koalr_host::contract::{
    AffectedService, Change, DerivedTime, Incident, IncidentKey, IncidentWrite, Mode, MttrQuery, Phase,
    Priority,
};
use koalr_host::id::OrgId;
use koalr_host::port::Records;
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::SealingKey;
use koalr_host::{Host, Limits};
use rusqlite::Connection;

use super::{Bound, Figure, Programs, connect, exponent};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const WEEKS: i64 = 110;
const PER_COMMIT: usize = 2_000;
/// As the database has closed incidents, which are all that have an end here.
const CLOSED: u8 = 4;
const RUNS: usize = 5;
const FILLS: usize = 3;
const MEMORY_MB: [usize; 6] = [24, 32, 40, 48, 56, 64];

/// One of so many that two years before `now` brought, each created after the one before, as their numbers tell.
fn incident(number: usize, count: usize, now: i64, draw: &mut fastrand::Rng) -> Incident {
    let apart = 730 * DAY / count as i64;
    let created_at = now - 730 * DAY + number as i64 * apart + draw.i64(0..apart);
    // Most take minutes to hours, a few take days.
    let took = (60.0 * (draw.f64() * 8.0).exp()) as i64 * SECOND;
    let at = |at| Some(DerivedTime { at, rule: "resolved-at-timestamp".into() });
    let service =
        |n: usize| AffectedService { name: format!("service-{n}"), external_id: None, service_id: None };
    let over = draw.u8(0..100) < 98;
    Incident {
        key: IncidentKey { source: "incidentio".into(), id: format!("01J{number:023}") },
        reference: Some(format!("INC-{number}")),
        title: "Checkout answers slowly".into(),
        permalink: None,
        severity: None,
        priority: draw.choice([None, Some(Priority::P1), Some(Priority::P2), Some(Priority::P3)]).flatten(),
        priority_rule: "name".into(),
        status: "Closed".into(),
        phase: if over { Phase::Closed } else { Phase::Active },
        mode: Mode::Standard,
        private: false,
        withheld: false,
        not_visible: false,
        created_at: Some(created_at),
        started_at: at(created_at - 60 * SECOND),
        acknowledged_at: at(created_at + 60 * SECOND),
        resolved_at: at(created_at + took).filter(|_| over),
        first_resolved_at: None,
        unknown_timestamp: None,
        reopenings: Vec::new(),
        pauses: Vec::new(),
        merged_into: None,
        responders: vec![],
        services: (0..draw.usize(0..3)).map(|_| service(draw.usize(0..200))).collect(),
        references: Vec::new(),
        updated_at: created_at + took,
    }
}

/// Stores so many in the database's `org-0`, which is connected first. Seconds that it took until all of them were in
/// the database's file.
pub async fn fill(database: &Path, count: usize) -> f64 {
    connect(database, 1, "http://127.0.0.1:1").await;
    store(database, (0..count).collect(), &mut |write| write).await
}

/// Those of these numbers, in this order, in a database whose `org-0` is connected; each as `dress` makes it.
pub(super) async fn store(
    database: &Path,
    numbers: Vec<usize>,
    dress: &mut (dyn FnMut(IncidentWrite) -> IncidentWrite + Send),
) -> f64 {
    let store = SqliteStore::open(database).unwrap();
    let org: OrgId = "org-0".parse().unwrap();
    let (mut draw, now) = (fastrand::Rng::with_seed(7), Utc::now().timestamp_micros());
    let mut took = 0.0;
    for some in numbers.chunks(PER_COMMIT) {
        let put = |&number| {
            let incident = incident(number, numbers.len(), now, &mut draw);
            Change::PutIncident(dress(IncidentWrite { incident, facts: vec![], revisit: false, base: None }))
        };
        let changes = some.iter().map(put).collect();
        let began = Instant::now();
        store.commit(&org, changes, None).await.unwrap();
        took += began.elapsed().as_secs_f64();
    }
    // Of many, most were copied from the log while the others were stored; of few, none. That is a part of storing them.
    let began = Instant::now();
    in_file(database);
    took + began.elapsed().as_secs_f64()
}

/// Bytes of a database, once all of its log is in its file.
pub(super) fn in_file(database: &Path) -> u64 {
    let connection = Connection::open(database).unwrap();
    let busy = || connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    // The store may be at a copy itself.
    while busy().unwrap() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::fs::metadata(database).unwrap().len()
}

fn query(now: i64) -> MttrQuery {
    MttrQuery::new((0..=WEEKS).map(|week| now - (WEEKS - week) * 7 * DAY).collect())
}

/// What whoever is asked the same must answer the same: how many were measured in all, what they took on average in
/// seconds, and how many were measured in each group, all groups added up.
type Answer = (u64, f64, u64);

/// The same question to SQLite: count, mean and quantiles of all, by week, priority, source and service.
fn in_sql(database: &Path, now: i64) -> Answer {
    let connection = Connection::open(database).unwrap();
    let (since, until) = (now - WEEKS * 7 * DAY, now);
    let mut answer: Answer = (0, 0.0, 0);
    let week = format!("(resolved_at - {since}) / {}", 7 * DAY);
    for (group, join) in [
        ("0", ""),
        (week.as_str(), ""),
        ("priority", ""),
        ("source", ""),
        ("label", "LEFT JOIN incident_label ON incident_label.incident = incident.n"),
    ] {
        let select = format!(
            "WITH measured AS (
                SELECT {group} AS slice, resolved_at - created_at AS took FROM incident {join}
                WHERE org = 'org-0' AND resolved_at >= ?1 AND resolved_at < ?2 AND phase = {CLOSED}
            ), placed AS (
                SELECT slice, took, row_number() OVER (PARTITION BY slice ORDER BY took) AS place,
                    count(*) OVER (PARTITION BY slice) AS size FROM measured
            ) SELECT slice, size, avg(took), min(took), max(took), max(iif(place = (size + 1) / 2, took, NULL)),
                max(iif(place = size * 3 / 4 + 1, took, NULL)), max(iif(place = size * 9 / 10 + 1, took, NULL)),
                max(iif(place = size * 19 / 20 + 1, took, NULL))
            FROM placed GROUP BY slice"
        );
        let mut statement = connection.prepare(&select).unwrap();
        let rows = statement.query_map([since, until], |row| Ok((row.get(1)?, row.get::<_, f64>(2)? / 1e6)));
        for row in rows.unwrap() {
            let (count, mean): (u64, f64) = row.unwrap();
            answer.2 += count;
            if group == "0" {
                (answer.0, answer.1) = (count, mean);
            }
        }
    }
    answer
}

/// The same question to DuckDB, which has read everything before: seconds of each run, and its answer.
fn in_duckdb(script: &Path, database: &Path, directory: &Path, now: i64) -> (Vec<f64>, Answer) {
    let connection = Connection::open(database).unwrap();
    let export = |name: &str, header: &str, select: &str| -> PathBuf {
        let path = directory.join(name);
        let mut file = BufWriter::new(std::fs::File::create(&path).unwrap());
        writeln!(file, "{header}").unwrap();
        let mut statement = connection.prepare(select).unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            writeln!(file, "{}", row.get::<_, String>(0).unwrap()).unwrap();
        }
        file.flush().unwrap();
        path
    };
    let incidents = format!(
        "SELECT concat_ws(',', n, created_at, resolved_at, ifnull(priority, ''), source) FROM incident
        WHERE resolved_at IS NOT NULL AND phase = {CLOSED}"
    );
    let incidents = export("incidents.csv", "n,created_at,resolved_at,priority,source", &incidents);
    let services = "SELECT label || ',' || incident FROM incident_label";
    let services = export("services.csv", "label,incident", services);
    let (since, until, runs) = ((now - WEEKS * 7 * DAY).to_string(), now.to_string(), RUNS.to_string());
    let ran =
        Command::new("node").arg(script).args([&incidents, &services]).args([&since, &until, &runs]).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn same(ours: Answer, theirs: Answer) {
    let close = (ours.1 / theirs.1 - 1.0).abs() < 1e-9;
    assert!(ours.0 > 0 && close && (ours.0, ours.2) == (theirs.0, theirs.2), "{ours:?} and {theirs:?}");
}

/// Over histories of these sizes; beside DuckDB, if the script that asks it is there.
pub async fn all(programs: &Programs, sizes: &[usize], duckdb: Option<&Path>) -> Vec<Figure> {
    let wasm = std::fs::read(&programs.component).unwrap();
    let mut figures = Vec::new();
    let (mut storing, mut storing_shuffled, mut reporting) = (Vec::new(), Vec::new(), Vec::new());
    for &count in sizes {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("mttr.db");
        let mut took = vec![fill(&database, count).await];
        for again in 1..FILLS {
            let database = directory.path().join(format!("again-{again}.db"));
            took.push(fill(&database, count).await);
            std::fs::remove_file(database).unwrap();
        }
        let took = took.into_iter().map(|seconds| seconds * 1e6 / count as f64).collect();
        let name = |what: &str| format!("{count} incidents: {what}");
        let stored = Figure::new(name("storing one"), "µs", took);
        storing.push((count as f64, stored.median() * count as f64));
        figures.push(stored);
        let shuffled = directory.path().join("shuffled.db");
        connect(&shuffled, 1, "http://127.0.0.1:1").await;
        let mut numbers: Vec<usize> = (0..count).collect();
        fastrand::Rng::with_seed(5).shuffle(&mut numbers);
        let took = store(&shuffled, numbers, &mut |write| write).await;
        storing_shuffled.push((count as f64, took));
        let took = took * 1e6 / count as f64;
        figures.push(Figure::new(name("storing one, in no order"), "µs", vec![took]));
        std::fs::remove_file(shuffled).unwrap();
        let bytes = std::fs::metadata(&database).unwrap().len() as f64 / count as f64;
        figures.push(Figure::new(name("database, records alone, each"), "bytes", vec![bytes]));

        let store = Arc::new(SqliteStore::open(&database).unwrap());
        let org: OrgId = "org-0".parse().unwrap();
        let host = async |limits| {
            let builder = Host::builder(store.clone(), SealingKey::generate().unwrap())
                .limits(limits)
                .allow(["https://api.incident.io"]);
            builder.load(&wasm).await.unwrap()
        };
        let now = Utc::now().timestamp_micros();
        let usual = host(Limits::default()).await;
        let (mut ours, mut theirs, mut ratios, mut answer) =
            (Vec::new(), Vec::new(), Vec::new(), (0, 0.0, 0));
        for _ in 0..RUNS {
            let began = Instant::now();
            let report = usual.mttr(&org, &query(now)).await.unwrap();
            let own = began.elapsed().as_secs_f64();
            let statistics = report.overall.statistics;
            let slices = [report.by_priority, report.by_source, report.by_service].into_iter().flatten();
            let grouped = report.trend.iter().map(|bucket| bucket.statistics.count).sum::<u64>()
                + slices.map(|slice| slice.statistics.count).sum::<u64>()
                + statistics.count;
            answer = (statistics.count, statistics.durations.unwrap().mean, grouped);
            let began = Instant::now();
            let in_sql = in_sql(&database, now);
            let other = began.elapsed().as_secs_f64();
            same(answer, in_sql);
            ours.push(own);
            theirs.push(other);
            ratios.push(other / own);
        }
        let in_duckdb = duckdb.map_or_else(Vec::new, |script| {
            let (seconds, theirs) = in_duckdb(script, &database, directory.path(), now);
            same(answer, theirs);
            seconds
        });
        let ours = Figure::new(name("time to restore"), "s", ours);
        reporting.push((count as f64, ours.median()));
        figures.push(if count >= 1_000_000 { ours.within(Bound::AtMost(2.0)) } else { ours });
        figures.push(Figure::new(name("the same in SQL"), "s", theirs));
        figures.push(Figure::new(name("SQL to ours"), "", ratios));
        figures.push(Figure::new(name("the same in DuckDB"), "s", in_duckdb));
        let mut enough = f64::INFINITY;
        for megabytes in MEMORY_MB {
            let limits = Limits { memory_bytes: megabytes * 1_000_000, ..Limits::default() };
            if host(limits).await.mttr(&org, &query(now)).await.is_ok() {
                enough = megabytes as f64;
                break;
            }
        }
        let enough = Figure::new(name("guest memory that is enough"), "MB", vec![enough]);
        figures.push(enough.within(Bound::AtMost(64.0)));
    }
    if sizes.len() > 1 {
        for (name, points) in [("storing: exponent", storing), ("time to restore: exponent", reporting)] {
            figures.push(Figure::new(name, "", vec![exponent(&points)]).within(Bound::AtMost(1.05)));
        }
        let shuffled = vec![exponent(&storing_shuffled)];
        figures.push(Figure::new("storing in no order: exponent", "", shuffled));
    }
    figures
}
