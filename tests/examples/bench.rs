//! The benchmarks, large: `bench GROUP`. `cargo xtask bench` runs it and keeps what it tells, a figure a line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark may")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use koalr_simulator::RateLimits;
use koalr_tests::bench::parts::{self, Part};
use koalr_tests::bench::{Programs, calls, load, mttr, pages, peer, scale, start, sync};

// As the harness has it: its servers are compared with it.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
    let programs = Programs::under(&root);
    let group = std::env::args().nth(1).unwrap_or_default();
    let figures = match group.as_str() {
        "calls" => {
            let times = calls::Times { rounds: 11, each: Duration::from_millis(100) };
            calls::all(&programs, times).await
        }
        "webhooks" => {
            let here = std::env::current_exe().unwrap().display().to_string();
            let peer = peer(&root, "server.mjs");
            let sizes = load::Sizes { scale: 1.0, runs: 3, organisations: 10_000 };
            load::all(&programs, sizes, &[here, "serve".into()], peer.as_deref()).await
        }
        "ten-minutes" => load::ten_minutes(&programs, 1.0).await,
        "sync" => {
            let imports = &[(1_000, 5), (10_000, 7), (100_000, 3), (1_000_000, 1)];
            let sizes = sync::Sizes { imports, limited: 10_000, dense: 100_000 };
            let mut figures = sync::imports(&programs, &sizes).await;
            figures.extend(sync::timelines(&programs, 1_000, RateLimits::default()).await);
            figures
        }
        "mttr" => {
            mttr::all(&programs, &[10_000, 100_000, 1_000_000], peer(&root, "duckdb.mjs").as_deref()).await
        }
        "pages" => {
            let mut figures = pages::all(&programs, 100_000, 10_000, 15).await;
            figures.extend(pages::all(&programs, 1_000_000, 10_000, 5).await);
            figures
        }
        "scale" => scale::all(&programs, 10_000, 1_000_000, 30.0, 3).await,
        "start" => start::all(&programs, 10_000, 5).await,
        // One load, to look at: `bench load SECONDS [RATE]`.
        "load" => {
            let given: Vec<f64> = std::env::args().skip(2).map(|one| one.parse().unwrap()).collect();
            let directory = tempfile::tempdir().unwrap();
            let (seconds, rate) = (given.first().copied().unwrap_or(10.0), given.get(1).copied());
            let load = load::Load { name: "load".into(), seconds, rate, organisations: 64 };
            load::run(&load, &load::Target::Harness(&programs), directory.path()).await
        }
        // What webhooks are sent to instead of the harness: `bench serve PART [DATABASE]`.
        "serve" => {
            let mut words = std::env::args().skip(2);
            let part = words.next().unwrap_or_default();
            let part = Part::ALL.into_iter().find(|known| known.name() == part).unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            eprintln!("Serving on http://{}: webhooks", listener.local_addr().unwrap());
            return parts::serve(listener, part, words.next().map(PathBuf::from).as_deref()).await;
        }
        other => panic!("there is no group `{other}`"),
    };
    for figure in figures {
        println!("{}", figure.line());
    }
}
