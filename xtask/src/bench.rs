//! `cargo xtask bench`: how long an import takes, in how many requests and how much memory; and a report.
//!
//! The simulator and the importing process share the machine. Each figure is the median of several runs with the
//! least and the most beside it, because a shared machine has moods; nothing here passes or fails.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const KEY: &str = "KOALR_BENCH_KEY";

/// One import.
struct Run {
    wall: Duration,
    requests: u64,
    peak_kib: u64,
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

/// Imports `incidents` incidents `runs` times, with the provider's limits lifted and with them.
pub(crate) fn run(harness: &Path, scratch: &Path, incidents: u32, runs: u32) -> Result<()> {
    println!(
        "| import of {incidents} incidents with 4 updates each | wall, s | requests | peak memory, MB |"
    );
    println!("|---|---|---|---|");
    for (name, limited) in [("limits lifted", false), ("the provider's limits", true)] {
        let mut done = Vec::new();
        for _ in 0..runs {
            done.push(import(harness, scratch, incidents, limited)?);
        }
        let figure = |of: &dyn Fn(&Run) -> f64| {
            let mut values: Vec<f64> = done.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
            (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
        };
        let (wall, least, most) = figure(&|run| run.wall.as_secs_f64());
        let (requests, ..) = figure(&|run| run.requests as f64);
        let (peak, ..) = figure(&|run| run.peak_kib as f64 / 1_024.0);
        println!("| {name} | {wall:.2} ({least:.2} to {most:.2}) | {requests} | {peak:.0} |");
    }
    Ok(())
}

/// Measures a report on so many incidents.
pub(crate) fn report(program: &Path, component: &Path, scratch: &Path, incidents: u32) -> Result<()> {
    let directory = scratch.join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    println!();
    let ended = Command::new(program).args([component, &directory]).arg(incidents.to_string()).status();
    std::fs::remove_dir_all(&directory)?;
    ensure!(ended.context("cannot start the benchmark")?.success(), "the benchmark failed");
    Ok(())
}

fn import(harness: &Path, scratch: &Path, incidents: u32, limited: bool) -> Result<Run> {
    let directory = scratch.join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = import_in(harness, &directory, incidents, limited);
    std::fs::remove_dir_all(&directory)?;
    measured
}

fn import_in(harness: &Path, directory: &Path, incidents: u32, limited: bool) -> Result<Run> {
    let mut simulate = Command::new(harness);
    simulate.args([
        "simulate",
        "--listen",
        "127.0.0.1:0",
        "--seed",
        "7",
        "--updates",
        "4",
        "--incidents",
        &incidents.to_string(),
    ]);
    if !limited {
        simulate.arg("--no-rate-limit");
    }
    let mut simulator = Ends(simulate.stdout(Stdio::piped()).spawn().context("cannot start the simulator")?);
    let output = simulator.0.stdout.take().context("the simulator has no output")?;
    let mut lines = BufReader::new(output).lines();
    let address = loop {
        let line = lines.next().context("the simulator ended")??;
        if let Some(at) = line.find("http://") {
            break line.get(at..).unwrap_or_default().trim().to_owned();
        }
    };
    let database = directory.join("bench.db");
    let database = database.to_str().context("the scratch directory has an odd name")?;
    let map = format!("https://api.incident.io={address}");
    let common = ["--db", database, "--org", "bench", "--json"];
    let verb = |name: &str| {
        let mut command = Command::new(harness);
        command.arg(name).args(common).env(KEY, "bench").stdout(Stdio::piped());
        command
    };
    let connected = verb("connect").args(["--api-key-env", KEY, "--map-origin", &map]).status()?;
    ensure!(connected.success(), "the simulator could not be connected to");

    let began = Instant::now();
    let mut import = Ends(verb("backfill").spawn()?);
    let status = format!("/proc/{}/status", import.0.id());
    let mut peak_kib = 0;
    let ended = loop {
        // The high-water mark is gone with the process, so it is read until then. Only Linux has it.
        peak_kib = peak(&status).unwrap_or(0).max(peak_kib);
        if let Some(ended) = import.0.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let wall = began.elapsed();
    if !ended.success() {
        bail!("the import failed: {ended}");
    }
    let told = std::io::read_to_string(import.0.stdout.take().context("the import has no output")?)?;
    let requests = told.split("\"requests\":").nth(1).and_then(|rest| rest.split(',').next());
    let requests = requests.and_then(|n| n.trim().parse().ok()).context("the import told no requests")?;
    Ok(Run { wall, requests, peak_kib })
}

fn peak(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
