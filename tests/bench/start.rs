//! From nothing to the first webhook: with the component compiled anew, from the cache, and for many organisations; and
//! how large the programs are.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::load::{Sender, sample};
use super::{Bound, Figure, Programs, Server, connect, serve, usage};

/// How long the process has rested when its memory is read.
const REST: Duration = Duration::from_secs(3);

/// Seconds until it did, and megabytes.
#[derive(Default)]
struct Start {
    listens: Vec<f64>,
    serves: Vec<f64>,
    resident: Vec<f64>,
}

/// With one organisation, and with so many.
pub async fn all(programs: &Programs, organisations: usize, runs: usize) -> Vec<Figure> {
    let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64;
    let component = Figure::new("component", "bytes", vec![size(&programs.component)]);
    let mut figures = vec![
        component.within(Bound::AtMost(400_000.0)),
        Figure::new("harness, with what debuggers want", "MB", vec![size(&programs.harness) / 1e6]),
    ];
    let stripped = tempfile::NamedTempFile::new().unwrap();
    let strip = Command::new("strip").arg("-o").arg(stripped.path()).arg(&programs.harness).status();
    assert!(strip.is_ok_and(|status| status.success()), "`strip` is needed, of binutils");
    figures.push(Figure::new("harness, stripped", "MB", vec![size(stripped.path()) / 1e6]));
    for count in [1, organisations] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("start.db");
        connect(&database, count, "http://127.0.0.1:1").await;
        let template = sample().await;
        // Of starts with the component compiled anew, and of those that find it in the cache.
        let mut starts = [("cold start", Start::default()), ("warm start", Start::default())];
        for run in 0..runs {
            let cache = directory.path().join(format!("cache-{run}"));
            for (nth, (_, start)) in starts.iter_mut().enumerate() {
                let began = Instant::now();
                let server = Server::start(serve(programs, &database, &cache));
                start.listens.push(began.elapsed().as_secs_f64());
                let mut sender =
                    Sender::new(&server.address, template.clone(), 0..count, 2 * run + nth).await;
                assert_eq!(sender.send().await, 204);
                start.serves.push(began.elapsed().as_secs_f64());
                // Polls of many organisations are due over minutes; this is what it takes to be there for them.
                tokio::time::sleep(REST).await;
                start.resident.push(usage(server.id()).1 as f64 / 1e6);
            }
        }
        for (how, Start { listens, serves, resident }) in starts {
            let name = |what: &str| format!("{count} organisations, {how}: {what}");
            let serves = Figure::new(name("the first webhook is acknowledged"), "s", serves);
            let resident = Figure::new(name("memory"), "MB", resident);
            figures.push(Figure::new(name("it listens"), "s", listens));
            if count >= 10_000 {
                figures.push(serves.within(Bound::AtMost(2.0)));
                figures.push(resident.within(Bound::AtMost(250.0)));
            } else {
                figures.extend([serves, resident]);
            }
        }
    }
    figures
}
