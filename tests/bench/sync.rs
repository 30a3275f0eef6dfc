//! Imports: how long they take, in how many requests and how much memory.
//!
//! The simulator and the importing process share the machine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::Utc;
use koalr_simulator::{Options, Simulator};
use serde_json::Value;

use super::{Bound, Figure, Programs, exponent};

/// One import.
struct Run {
    wall: f64,
    processor: f64,
    requests: f64,
    peak_mb: f64,
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

/// Imports of these sizes, each so many times, with the provider's limits lifted; that of `limited` with them too, and the
/// largest also from an account that has so many in 90 days.
pub async fn all(programs: &Programs, sizes: &[(usize, usize)], limited: usize) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut points = Vec::new();
    for (place, &(incidents, runs)) in sizes.iter().enumerate() {
        let usual = ("", false, days(incidents));
        let also = if incidents == limited {
            Some((", the provider's limits", true, days(incidents)))
        } else if place + 1 == sizes.len() {
            Some((" in 90 days", false, 90))
        } else {
            None
        };
        for (what, limited, days) in std::iter::once(usual).chain(also) {
            let mut done = Vec::new();
            for _ in 0..runs {
                done.push(import(programs, incidents, limited, days).await);
            }
            let figure = |of: &str, unit, value: fn(&Run) -> f64| {
                let name = format!("import of {incidents} incidents{what}: {of}");
                Figure::new(name, unit, done.iter().map(value).collect())
            };
            let wall = figure("wall", "s", |run| run.wall);
            let requests = figure("requests", "", |run| run.requests);
            let peak = figure("peak memory", "MB", |run| run.peak_mb);
            let processor = figure("processor", "s", |run| run.processor);
            if what.is_empty() {
                points.push((incidents as f64, wall.median()));
            }
            if incidents == 10_000 && what.is_empty() {
                figures.extend([wall.within(Bound::AtMost(1.5)), requests.within(Bound::AtMost(210.0))]);
                figures.extend([processor, peak.within(Bound::AtMost(80.0))]);
            } else {
                figures.extend([wall, requests, processor, peak]);
            }
        }
    }
    // A small one costs little but the start.
    let large: Vec<(f64, f64)> =
        points.iter().copied().filter(|(incidents, _)| *incidents >= 10_000.0).collect();
    if large.len() > 1 {
        let exponent = Figure::new("import: exponent", "", vec![exponent(&large)]);
        figures.push(exponent.within(Bound::AtMost(1.05)));
    }
    figures
}

async fn import(programs: &Programs, incidents: usize, limited: bool, days: u32) -> Run {
    let mut options = Options::new(incidents, 7, Utc::now());
    (options.updates, options.days) = (Some(4), days);
    if !limited {
        options.limits = None;
    }
    let simulator = Simulator::start(options).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let map = format!("https://api.incident.io={}", simulator.base_url());
    let days = days.to_string();
    let connect = ["--api-key-env", "BENCH_KEY", "--map-origin", &map, "--history-days", &days];
    let connected = verb(programs, directory.path(), "connect").args(connect).output().unwrap();
    assert!(connected.status.success(), "{}", String::from_utf8_lossy(&connected.stderr));

    let began = Instant::now();
    let mut import = Ends(verb(programs, directory.path(), "backfill").spawn().unwrap());
    let status = format!("/proc/{}/status", import.0.id());
    let (mut peak_kib, mut used) = (0, Duration::ZERO);
    let ended = loop {
        // Both are gone with the process, so they are read until then. Only Linux has them.
        peak_kib = peak(&status).unwrap_or(0).max(peak_kib);
        used = super::usage(import.0.id()).0.max(used);
        if let Some(ended) = import.0.try_wait().unwrap() {
            break ended;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let wall = began.elapsed().as_secs_f64();
    assert!(ended.success(), "the import failed: {ended}");
    let told = std::io::read_to_string(import.0.stdout.take().unwrap()).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let requests = told["requests"].as_f64().unwrap();
    Run { wall, requests, processor: used.as_secs_f64(), peak_mb: peak_kib as f64 / 1_000.0 * 1.024 }
}

fn verb(programs: &Programs, directory: &Path, name: &str) -> Command {
    let mut command = Command::new(&programs.harness);
    command.arg(name).args(["--db", "bench.db", "--org", "bench", "--json"]).current_dir(directory);
    command.env("BENCH_KEY", "bench").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn peak(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
