//! Many organisations on one host: whether their polls come when they are due, and whether one that floods its webhook
//! address holds up the others; and webhooks beside a large history.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use koalr_host::port::{JobKind, Jobs};
use koalr_host::sqlite::SqliteStore;
use koalr_simulator::{Options, Simulator};
use rusqlite::Connection;

use super::load::{Sender, sample};
use super::{Bound, Figure, Programs, Server, connect, merged, mttr, quantile, serve, until, usage};

/// Between two polls of an organisation.
const INTERVAL: i64 = 300_000_000;
/// Connections of the organisation that floods.
const FLOOD: usize = 32;

/// Polls of so many organisations, spread over their interval, for so many seconds; and all of them due at once, as after
/// an outage.
async fn polls(programs: &Programs, organisations: usize, seconds: f64) -> Vec<Figure> {
    let mut options = Options::new(0, 1, Utc::now());
    options.limits = None;
    let simulator = Simulator::start(options).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("polls.db");
    connect(&database, organisations, &simulator.base_url()).await;
    // One is connected as a user would; what the component noted of it is as good for the others.
    let map = format!("https://api.incident.io={}", simulator.base_url());
    let mut first = std::process::Command::new(&programs.harness);
    first.arg("connect").arg("--db").arg(&database).args(["--org", "org-0", "--api-key-env", "BENCH_KEY"]);
    let first = first.args(["--map-origin", &map]).env("BENCH_KEY", "inc_load").output().unwrap();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let copy = "INSERT INTO state (org, key, value) SELECT organisation.id, state.key, state.value
        FROM organisation, state WHERE state.org = 'org-0' AND organisation.id <> 'org-0'";
    Connection::open(&database).unwrap().execute_batch(copy).unwrap();
    let now = Utc::now().timestamp_micros();
    let store = Arc::new(SqliteStore::open(&database).unwrap());
    let mut all = tokio::task::JoinSet::new();
    for number in 0..organisations {
        let store = store.clone();
        let due = now + INTERVAL * number as i64 / organisations as i64;
        all.spawn(async move {
            let org = format!("org-{number}").parse().unwrap();
            store.put_job(&org, JobKind::Poll, due, None, now).await.unwrap();
        });
    }
    all.join_all().await;
    drop(store);
    let server = Server::start(serve(programs, &database, &directory.path().join("cache")));
    let (began, used) = (Instant::now(), usage(server.id()).0);
    let read = Connection::open(&database).unwrap();
    let mut late = Vec::new();
    while began.elapsed().as_secs_f64() < seconds {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = Utc::now().timestamp_micros();
        let overdue =
            "SELECT min(run_at) FROM job WHERE run_at < ?1 AND (leased_until IS NULL OR leased_until < ?1)";
        let oldest: Option<i64> = read.query_row(overdue, [now], |row| row.get(0)).unwrap();
        late.push(oldest.map_or(0.0, |run_at| (now - run_at) as f64 / 1e6));
    }
    let failed: Option<String> =
        read.query_row("SELECT max(error) FROM job WHERE error IS NOT NULL", [], |row| row.get(0)).unwrap();
    assert_eq!(failed, None, "polls fail");
    let done: i64 =
        read.query_row("SELECT count(*) FROM job WHERE succeeded_at > ?1", [now], |row| row.get(0)).unwrap();
    let took = began.elapsed().as_secs_f64();
    let (busy, resident) = usage(server.id());
    drop(server);
    let name = |what: &str| format!("polls of {organisations} organisations: {what}");
    let mut figures = vec![
        Figure::new(name("done"), "/s", vec![done as f64 / took]),
        Figure::new(name("the latest is late by"), "s", late),
        Figure::new(name("processors"), "", vec![(busy - used).as_secs_f64() / took]),
        Figure::new(name("memory"), "MB", vec![resident as f64 / 1e6]),
    ];
    let now = Utc::now().timestamp_micros();
    read.execute("UPDATE job SET run_at = ?1, leased_until = NULL WHERE kind = 1", [now]).unwrap();
    let server = Server::start(serve(programs, &database, &directory.path().join("cache")));
    let began = Instant::now();
    let waiting = || -> i64 {
        read.query_row("SELECT count(*) FROM job WHERE run_at <= ?1", [now], |row| row.get(0)).unwrap()
    };
    until("all polls are done", async || waiting() == 0).await;
    let took = began.elapsed().as_secs_f64();
    drop(server);
    let failed = "SELECT count(*) FROM job WHERE kind = 1 AND (error IS NOT NULL OR succeeded_at < ?1)";
    let failed: i64 = read.query_row(failed, [now], |row| row.get(0)).unwrap();
    assert_eq!(failed, 0, "polls fail");
    // How far those that came together have moved apart.
    let next = "SELECT max(due) FROM (SELECT count(*) AS due FROM job GROUP BY run_at / 1000000)";
    let busiest: i64 = read.query_row(next, [], |row| row.get(0)).unwrap();
    let name = |what: &str| format!("polls of {organisations} organisations, due at once: {what}");
    figures.push(Figure::new(name("all are done after"), "s", vec![took]));
    figures.push(Figure::new(name("the next, due in the busiest second"), "", vec![busiest as f64]));
    figures
}

/// How long webhooks of others take until they are acknowledged and until they are applied, at a hundred a second,
/// without and with one organisation that sends as much as it can.
async fn fairness(programs: &Programs, seconds: f64) -> Vec<Figure> {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("fair.db");
    connect(&database, 65, "http://127.0.0.1:1").await;
    let server = Server::start(serve(programs, &database, &directory.path().join("cache")));
    let template = sample().await;
    let read = Connection::open(&database).unwrap();
    let mut figures = Vec::new();
    for flooded in [false, true] {
        let name = if flooded { "while one organisation floods" } else { "while nobody floods" };
        let name = |what: &str| format!("webhooks of others, {name}: {what}");
        let over = Arc::new(AtomicBool::new(false));
        let (began, since) = (Instant::now(), Utc::now().timestamp_micros());
        let mut flood = tokio::task::JoinSet::new();
        for number in 0..if flooded { FLOOD } else { 0 } {
            let (over, mut sender) =
                (over.clone(), Sender::new(&server.address, template.clone(), 0..1, number).await);
            flood.spawn(async move {
                let (mut sent, mut taken) = (0_u64, 0_u64);
                while !over.load(Ordering::Relaxed) {
                    sent += 1;
                    taken += u64::from(sender.send().await == 204);
                }
                (sent, taken)
            });
        }
        // `org-0` is the one that floods.
        let sender =
            Sender::new(&server.address, template.clone(), 1..65, 1_000 + usize::from(flooded)).await;
        let (waits, refused) = a_hundred_a_second(sender, seconds).await;
        over.store(true, Ordering::Relaxed);
        let flood = flood.join_all().await;
        let took = began.elapsed().as_secs_f64();
        let others = "FROM delivery WHERE org <> 'org-0' AND received_at >= ?1";
        let left = format!("SELECT count(*) {others} AND finished_at IS NULL");
        let left = || -> i64 { read.query_row(&left, [since], |row| row.get(0)).unwrap() };
        until("all is applied", async || left() == 0).await;
        let dead = format!("SELECT count(*) {others} AND state <> 3");
        assert_eq!(
            read.query_row(&dead, [since], |row| row.get::<_, i64>(0)).unwrap(),
            0,
            "some were not applied"
        );
        let mut applied = read.prepare(&format!("SELECT finished_at - received_at {others}")).unwrap();
        let applied = applied.query_map([since], |row| Ok(row.get::<_, i64>(0)? as f64 / 1e3)).unwrap();
        let mut applied: Vec<f64> = applied.map(Result::unwrap).collect();
        applied.sort_by(f64::total_cmp);
        assert!(applied.len() >= waits.len(), "some were acknowledged and are not there");
        if flooded {
            let sum = |of: fn(&(u64, u64)) -> u64| flood.iter().map(of).sum::<u64>() as f64 / took;
            figures.push(Figure::new(name("the flood"), "/s", vec![sum(|flood| flood.0)]));
            figures.push(Figure::new(name("the flood, acknowledged"), "/s", vec![sum(|flood| flood.1)]));
        }
        figures.push(Figure::new(name("refused"), "", vec![refused as f64]).within(Bound::AtMost(0.0)));
        for (what, q) in [("p50", 0.5), ("p99", 0.99)] {
            figures.push(Figure::new(name(what), "ms", vec![quantile(&waits, q)]));
            figures.push(Figure::new(name(&format!("{what}, applied")), "ms", vec![quantile(&applied, q)]));
        }
    }
    figures
}

/// Sorted milliseconds until each that was acknowledged was, and how many were refused.
async fn a_hundred_a_second(mut sender: Sender, seconds: f64) -> (Vec<f64>, usize) {
    let began = Instant::now();
    let (mut waits, mut refused, mut due) = (Vec::new(), 0, began);
    while began.elapsed().as_secs_f64() < seconds {
        tokio::time::sleep_until(due.into()).await;
        match sender.send().await {
            204 => waits.push(due.elapsed().as_secs_f64() * 1e3),
            _ => refused += 1,
        }
        due += Duration::from_millis(10);
    }
    waits.sort_by(f64::total_cmp);
    (waits, refused)
}

/// Webhooks at a hundred a second beside a history of so many incidents.
async fn beside_history(
    programs: &Programs,
    incidents: usize,
    seconds: f64,
    directory: &Path,
) -> Vec<Figure> {
    let database = directory.join("history.db");
    mttr::fill(&database, incidents).await;
    let server = Server::start(serve(programs, &database, &directory.join("cache")));
    let sender = Sender::new(&server.address, sample().await, 0..1, 0).await;
    let (waits, refused) = a_hundred_a_second(sender, seconds).await;
    assert_eq!(refused, 0);
    let name = |what: &str| format!("webhooks beside {incidents} incidents: {what}");
    let figure = |what: &str, q: f64| Figure::new(name(what), "ms", vec![quantile(&waits, q)]);
    vec![figure("p50", 0.5), figure("p99", 0.99)]
}

/// All of it, so often.
pub async fn all(
    programs: &Programs,
    organisations: usize,
    incidents: usize,
    seconds: f64,
    runs: usize,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    for _ in 0..runs {
        let directory = tempfile::tempdir().unwrap();
        figures.extend(polls(programs, organisations, seconds).await);
        figures.extend(fairness(programs, seconds / 3.0).await);
        figures.extend(beside_history(programs, incidents, seconds / 3.0, directory.path()).await);
    }
    merged(figures)
}
