//! The benchmarks at a small size, so that they cannot rot; and the work of a call, which no machine's mood changes.

use std::path::Path;
use std::time::Duration;

use koalr_host::port::{DeliveryFilter, Inbox};
use koalr_host::sqlite::SqliteStore;
use koalr_simulator::RateLimits;
use koalr_tests::bench::parts::{self, Part};
use koalr_tests::bench::{Figure, Programs, calls, connect, load, mttr, pages, peer, scale, start, sync};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::root;

fn programs() -> Programs {
    let programs = Programs::under(&root());
    assert!(programs.harness.exists(), "the harness is not built: run `cargo xtask test`");
    programs
}

fn has_peers() -> bool {
    peer(&root(), "a peer").is_some()
}

/// Every figure has its measurements.
fn sound(figures: &[Figure], count: usize) {
    assert_eq!(figures.len(), count, "{figures:#?}");
    for figure in figures {
        let of_peer = figure.name.contains("Node") || figure.name.contains("DuckDB");
        let left_out = of_peer && !has_peers();
        assert_eq!(figure.values.is_empty(), left_out, "{figure:?}");
        assert!(figure.values.iter().all(|value| value.is_finite()), "{figure:?}");
        let line: Value = serde_json::from_str(&figure.line()).unwrap();
        assert_eq!(line["figure"], figure.name.as_str());
    }
}

/// The stored counts are in `tests/fuel.json`; `KOALR_FUEL=keep` writes them anew after a change that is meant.
#[tokio::test]
async fn the_component_computes_no_more_than_it_did() {
    let path = root().join("tests/fuel.json");
    let spent = calls::fuel(&std::fs::read(programs().component).unwrap()).await;
    if std::env::var("KOALR_FUEL").is_ok_and(|what| what == "keep") {
        std::fs::write(&path, serde_json::to_string_pretty(&spent).unwrap() + "\n").unwrap();
    }
    let stored: std::collections::BTreeMap<String, u64> =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(stored.len(), spent.len());
    for (name, spent) in spent {
        let ratio = spent as f64 / stored[name] as f64;
        // Other versions of the compiler and of binaryen arrange things a little differently.
        assert!((0.95..=1.05).contains(&ratio), "{name}: {spent} units of fuel, and {} before", stored[name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_measured() {
    let times = calls::Times { rounds: 1, each: Duration::from_millis(3) };
    sound(&calls::all(&programs(), times).await, 35);
}

/// All loads that a budget speaks of, and all servers that are compared.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_measured() {
    let programs = programs();
    let sizes = load::Sizes { scale: 0.01, runs: 1, organisations: 3 };
    let here = std::env::current_exe().unwrap();
    let bench = here.parent().and_then(Path::parent).unwrap().join("examples/bench");
    assert!(bench.exists(), "the benchmarks are not built: run `cargo xtask test`");
    let own = [bench.display().to_string(), "serve".into()];
    let mut figures = load::all(&programs, sizes, &own, peer(&root(), "server.mjs").as_deref()).await;
    figures.extend(load::ten_minutes(&programs, 0.001).await);
    // How fast what waits is applied is told where much does.
    let (backlogs, figures): (Vec<_>, Vec<_>) =
        figures.into_iter().partition(|figure| figure.name.ends_with(": what waited, applied"));
    sound(&backlogs, backlogs.len());
    // Of a peer that is not installed there are no figures but the ratio.
    sound(&figures, if has_peers() { 119 } else { 111 });
    let refused = |figure: &&Figure| figure.name.ends_with(": refused");
    // The door holds a part of what comes for one organisation at once, and a busy machine may not take the rest in time.
    let of_many = |figure: &&Figure| refused(figure) && !figure.name.contains("organisations: 1:");
    assert!(figures.iter().filter(of_many).all(|figure| figure.values == [0.0]), "{figures:#?}");
    let budgets = figures.iter().filter(|figure| figure.bound.is_some() && !refused(figure));
    let budgets: Vec<&str> = budgets.map(|figure| figure.name.as_str()).collect();
    let expected = [
        "1000/s: p99",
        "5200/s: applied meanwhile",
        "burst: acknowledged",
        "harness to ceiling",
        "harness to verified natively and stored",
        "harness to Node, single",
        "harness to Node, grouped",
        "ten minutes at 1000/s: p99",
    ];
    assert_eq!(budgets, expected);
}

/// What the harness is compared with does what its name says, or the comparison says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn servers_to_compare_with_do_their_part_of_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let template = load::sample().await;
    for part in Part::ALL {
        let database = directory.path().join(part.name());
        connect(&database, 1, "https://127.0.0.1:1").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let path = database.clone();
        tokio::spawn(async move { parts::serve(listener, part, Some(&path)).await });
        let mut sender = load::Sender::new(&address.to_string(), template.clone(), 0..1, 0).await;
        assert_eq!([sender.send().await, sender.send().await], [204, 204]);
        let store = SqliteStore::open(&database).unwrap();
        let stored = store.deliveries(&"org-0".parse().unwrap(), &DeliveryFilter::default()).await.unwrap();
        assert_eq!(stored.len(), if part == Part::Reads { 0 } else { 2 });
        let named = stored.iter().all(|delivery| delivery.event_type.starts_with("public_incident."));
        assert!(named || part == Part::Stores);
        let forged = reqwest::Client::new().post(format!("http://{address}/webhooks/incidentio/org-0"));
        let forged = forged.header("webhook-id", "msg_forged").body("{}").send().await.unwrap();
        assert_eq!(forged.status() == 401, part == Part::Verifies, "{part:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_are_measured() {
    let sizes = sync::Sizes { imports: &[(10, 1), (20, 1)], limited: 10, dense: 20 };
    sound(&sync::imports(&programs(), &sizes).await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn timelines_are_measured() {
    // A few more requests than the allowance has at first.
    let limits = RateLimits { incident_list_per_minute: 60, per_key_per_minute: 300 };
    let figures = sync::timelines(&programs(), 112, limits).await;
    sound(&figures, 5);
    assert!(figures[4].values[0] > 0.9, "nobody is quicker than the limits: {figures:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_measured() {
    sound(&mttr::all(&programs(), &[300, 600], peer(&root(), "duckdb.mjs").as_deref()).await, 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_measured() {
    sound(&pages::all(&programs(), 300, 3, 1).await, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_organisations_are_measured() {
    sound(&scale::all(&programs(), 20, 300, 1.5, 1).await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_are_measured() {
    sound(&start::all(&programs(), 3, 1).await, 15);
}
