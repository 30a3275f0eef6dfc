//! Imports: how long they take, in how many requests and how much memory; and timelines within the provider's limits.
//!
//! The simulator and the importing process share the machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::Utc;
use koalr_simulator::{Options, RateLimits, Simulator};
use serde_json::Value;
use tempfile::TempDir;

use super::mttr::in_file;
use super::{Bound, Figure, Programs, exponent};

/// One run of a job.
struct Run {
    wall: f64,
    processor: f64,
    requests: f64,
    /// Timelines that are still to be read after it.
    waiting: u64,
    peak_mb: f64,
    /// Of the database, after it.
    bytes: f64,
}

/// A process that ends with its owner.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Days that most of an account's incidents are spread over; an account that has as many each day however many it has.
/// Where an account's incidents are denser, the updates of each are further apart in the provider's list, and it is
/// written more often.
fn days(incidents: usize) -> u32 {
    u32::try_from(incidents * 90 / 10_000).unwrap().max(1)
}

/// Which imports are made.
#[derive(Debug)]
pub struct Sizes<'a> {
    /// Incidents, and how often.
    pub imports: &'a [(usize, usize)],
    /// That of these is also made within the provider's limits, which all others have lifted.
    pub limited: usize,
    /// That of these is also made of an account that has so many in 90 days.
    pub dense: usize,
}

/// Imports of these sizes.
pub async fn imports(programs: &Programs, sizes: &Sizes<'_>) -> Vec<Figure> {
    let mut figures = Vec::new();
    let (mut points, mut dense_points) = (Vec::new(), Vec::new());
    for &(incidents, runs) in sizes.imports {
        let usual = ("", false, days(incidents));
        let limited =
            (incidents == sizes.limited).then(|| (", the provider's limits", true, days(incidents)));
        let dense = (incidents == sizes.dense).then_some((" in 90 days", false, 90));
        for (what, limited, days) in std::iter::once(usual).chain(limited).chain(dense) {
            let mut done = Vec::new();
            for _ in 0..runs {
                let limits = limited.then(RateLimits::default);
                let account = Account::connect(programs, incidents, limits, days).await;
                done.push(account.run("backfill").await);
            }
            let figure = |of: &str, unit, value: fn(&Run) -> f64| {
                let name = format!("import of {incidents} incidents{what}: {of}");
                Figure::new(name, unit, done.iter().map(value).collect())
            };
            let wall = figure("wall", "s", |run| run.wall);
            let requests = figure("requests", "", |run| run.requests);
            let peak = figure("peak memory", "MB", |run| run.peak_mb);
            let processor = figure("processor", "s", |run| run.processor);
            let each = done.iter().map(|run| run.bytes / incidents as f64).collect();
            let each =
                Figure::new(format!("import of {incidents} incidents{what}: database, each"), "bytes", each);
            if what.is_empty() {
                points.push((incidents as f64, wall.median()));
            }
            // The usual account of ten thousand has them in 90 days as well.
            if days == 90 && !limited {
                dense_points.push((incidents as f64, wall.median()));
            }
            if incidents == 10_000 && what.is_empty() {
                figures.extend([wall.within(Bound::AtMost(1.5)), requests.within(Bound::AtMost(210.0))]);
                figures.extend([processor, peak.within(Bound::AtMost(80.0)), each]);
            } else {
                figures.extend([wall, requests, processor, peak, each]);
            }
        }
    }
    // A small one costs little but the start.
    points.retain(|(incidents, _)| *incidents >= 10_000.0);
    if points.len() > 1 {
        let exponent = Figure::new("import: exponent", "", vec![exponent(&points)]);
        figures.push(exponent.within(Bound::AtMost(1.05)));
    }
    if dense_points.len() > 1 {
        figures.push(Figure::new("import, in 90 days: exponent", "", vec![exponent(&dense_points)]));
    }
    figures
}

/// An import and its timelines, of so many incidents: how long they take within these limits, and how long they must,
/// if each request that they take without limits is made as soon as the allowance of the key has it.
pub async fn timelines(programs: &Programs, incidents: usize, limits: RateLimits) -> Vec<Figure> {
    let both = async |limits| {
        let account = Account::connect(programs, incidents, limits, days(incidents)).await;
        let (import, poll) = (account.run("backfill").await, account.run("poll").await);
        assert_eq!(poll.waiting, 0, "timelines are left");
        (import.wall + poll.wall, import.requests + poll.requests)
    };
    let (_, needed) = both(None).await;
    let (wall, sent) = both(Some(limits)).await;
    // The bucket is full at first.
    let allowance = f64::from(limits.per_key_per_minute);
    let least = (needed - allowance).max(0.0) * 60.0 / allowance;
    let name = |what: &str| format!("timelines of {incidents} incidents, the provider's limits: {what}");
    let mut figures = vec![
        Figure::new(name("requests that are needed"), "", vec![needed]),
        Figure::new(name("requests, those that were refused among them"), "", vec![sent]),
        Figure::new(name("wall"), "s", vec![wall]),
        Figure::new(name("least that the limits allow"), "s", vec![least]),
    ];
    if least > 0.0 {
        figures.push(Figure::new(name("wall to the least"), "", vec![wall / least]));
    }
    figures
}

/// An account at the simulator, and the database that it is connected in.
struct Account<'a> {
    programs: &'a Programs,
    directory: TempDir,
    _simulator: Simulator,
}

impl Account<'_> {
    async fn connect(
        programs: &Programs,
        incidents: usize,
        limits: Option<RateLimits>,
        days: u32,
    ) -> Account<'_> {
        let mut options = Options::new(incidents, 7, Utc::now());
        (options.updates, options.days, options.limits) = (Some(4), days, limits);
        let simulator = Simulator::start(options).await.unwrap();
        let map = format!("https://api.incident.io={}", simulator.base_url());
        let account = Account { programs, directory: tempfile::tempdir().unwrap(), _simulator: simulator };
        let days = days.to_string();
        let connect = ["--api-key-env", "BENCH_KEY", "--map-origin", &map, "--history-days", &days];
        let connected = account.verb("connect").args(connect).output().unwrap();
        assert!(connected.status.success(), "{}", String::from_utf8_lossy(&connected.stderr));
        account
    }

    async fn run(&self, job: &str) -> Run {
        let began = Instant::now();
        let mut process = Ends(self.verb(job).spawn().unwrap());
        let status = format!("/proc/{}/status", process.0.id());
        let (mut peak_kib, mut used) = (0, Duration::ZERO);
        let ended = loop {
            // Both are gone with the process, so they are read until then. Only Linux has them.
            peak_kib = peak(&status).unwrap_or(0).max(peak_kib);
            used = super::usage(process.0.id()).0.max(used);
            if let Some(ended) = process.0.try_wait().unwrap() {
                break ended;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let wall = began.elapsed().as_secs_f64();
        assert!(ended.success(), "{job} failed: {ended}");
        let bytes = in_file(&self.directory.path().join("bench.db")) as f64;
        let told = std::io::read_to_string(process.0.stdout.take().unwrap()).unwrap();
        let told: Value = serde_json::from_str(&told).unwrap();
        let requests = told["requests"].as_f64().unwrap();
        let waiting = told["waiting_for_timelines"].as_u64().unwrap();
        let peak_mb = peak_kib as f64 / 1_000.0 * 1.024;
        Run { wall, requests, waiting, processor: used.as_secs_f64(), peak_mb, bytes }
    }

    fn verb(&self, name: &str) -> Command {
        let mut command = Command::new(&self.programs.harness);
        command.arg(name).args(["--db", "bench.db", "--org", "bench", "--json"]);
        command.current_dir(self.directory.path()).env("BENCH_KEY", "bench");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn peak(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
