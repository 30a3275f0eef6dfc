//! From nothing to the first webhook: with the component compiled anew, from the cache, and for many organisations; and
//! how large the programs are.

use std::path::Path;
use std::time::{Duration, Instant};

use super::load::{Sender, sample};
use super::{Bound, Figure, Programs, Server, connect, serve, usage};

/// How long the process has rested when its memory is read.
const REST: Duration = Duration::from_secs(3);

/// With one organisation, and with so many.
pub async fn all(programs: &Programs, organisations: usize, runs: usize) -> Vec<Figure> {
    let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64;
    let component = Figure::new("component", "bytes", vec![size(&programs.component)]);
    let mut figures = vec![
        component.within(Bound::AtMost(200_000.0)),
        Figure::new("harness, with what debuggers want", "MB", vec![size(&programs.harness) / 1e6]),
    ];
    for count in [1, organisations] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("start.db");
        connect(&database, count, "http://127.0.0.1:1").await;
        let (mut cold, mut warm, mut first, mut resident) = (vec![], vec![], vec![], vec![]);
        for run in 0..runs {
            let cache = directory.path().join(format!("cache-{run}"));
            for times in [&mut cold, &mut warm] {
                let began = Instant::now();
                let server = Server::start(serve(programs, &database, &cache));
                times.push(began.elapsed().as_secs_f64());
                let mut sender = Sender::new(&server.address, sample().await, 0..count, run).await;
                assert_eq!(sender.send().await, 204);
                first.push(began.elapsed().as_secs_f64());
                // Polls of many organisations are due over minutes; this is what it takes to be there for them.
                tokio::time::sleep(REST).await;
                resident.push(usage(server.id()).1 as f64 / 1e6);
            }
        }
        let name = |what: &str| format!("{count} organisations: {what}");
        let (cold, warm) =
            (Figure::new(name("cold start"), "s", cold), Figure::new(name("warm start"), "s", warm));
        let first = Figure::new(name("until the first webhook is acknowledged"), "s", first);
        let resident = Figure::new(name("memory"), "MB", resident);
        if count >= 10_000 {
            figures.extend([cold.within(Bound::AtMost(2.0)), warm.within(Bound::AtMost(2.0)), first]);
            figures.push(resident.within(Bound::AtMost(250.0)));
        } else {
            figures.extend([cold, warm, first, resident]);
        }
    }
    figures
}
