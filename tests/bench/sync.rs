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

/// Imports of these sizes, each so many times, with the provider's limits lifted; and the largest but one with them.
pub async fn all(programs: &Programs, sizes: &[(usize, usize)]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut points = Vec::new();
    for (place, &(incidents, runs)) in sizes.iter().enumerate() {
        let limits: &[bool] = if place + 2 == sizes.len() { &[false, true] } else { &[false] };
        for &limited in limits {
            let mut done = Vec::new();
            for _ in 0..runs {
                done.push(import(programs, incidents, limited).await);
            }
            let figure = |what: &str, unit, of: fn(&Run) -> f64| {
                let limited = if limited { ", the provider's limits" } else { "" };
                let name = format!("import of {incidents} incidents{limited}: {what}");
                Figure::new(name, unit, done.iter().map(of).collect())
            };
            let wall = figure("wall", "s", |run| run.wall);
            let requests = figure("requests", "", |run| run.requests);
            let peak = figure("peak memory", "MB", |run| run.peak_mb);
            let processor = figure("processor", "s", |run| run.processor);
            if !limited {
                points.push((incidents as f64, wall.median()));
            }
            if incidents == 10_000 && !limited {
                figures.extend([wall.within(Bound::AtMost(1.5)), requests.within(Bound::AtMost(210.0))]);
                figures.extend([processor, peak.within(Bound::AtMost(80.0))]);
            } else {
                figures.extend([wall, requests, processor, peak]);
            }
        }
    }
    if points.len() > 1 {
        let exponent = Figure::new("import: exponent", "", vec![exponent(&points)]);
        figures.push(exponent.within(Bound::AtMost(1.05)));
    }
    figures
}

async fn import(programs: &Programs, incidents: usize, limited: bool) -> Run {
    let mut options = Options::new(incidents, 7, Utc::now());
    options.updates = Some(4);
    if !limited {
        options.limits = None;
    }
    let simulator = Simulator::start(options).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let map = format!("https://api.incident.io={}", simulator.base_url());
    let connect = ["--api-key-env", "BENCH_KEY", "--map-origin", &map];
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
