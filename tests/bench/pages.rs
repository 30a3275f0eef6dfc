//! The console's pages over a large history.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use koalr_host::contract::{Delivery, IncidentWrite, Responder, Severity};
use koalr_host::id::OrgId;
use koalr_host::port::{Hands, Inbox, Migration, Migrations, NewDelivery};
use koalr_host::sqlite::SqliteStore;

use super::{Bound, Figure, Programs, Server, connect, mttr, serve};

/// Under an organisation's address.
const PAGES: [(&str, &str); 9] = [
    ("incidents", "incidents"),
    ("incidents, filtered", "incidents?priority=p1&status=over&service=service-7"),
    ("incidents, searched and sorted", "incidents?text=inc-77&sort=duration"),
    ("incident", "incidents/INC-77"),
    ("MTTR, 90 days", "mttr"),
    ("MTTR, 365 days by day", "mttr?days=365&bucket=day"),
    ("deliveries", "deliveries"),
    ("deliveries that wait", "deliveries?state=pending"),
    ("settings", "settings"),
];

/// Incidents on a page.
const ROWS: usize = 50;

const SEVERITIES: [&str; 5] = ["Blackout", "Major outage", "Partial outage", "Degraded", "Notice"];

/// What an organisation has that was synced for long: severities, responders, the plugin's notes, a tenth of its
/// incidents from Opsgenie, webhooks of which some wait; beside others that are connected.
async fn fill(database: &Path, incidents: usize, organisations: usize) {
    connect(database, organisations, "http://127.0.0.1:1").await;
    let mut draw = fastrand::Rng::with_seed(3);
    let mut dress = |mut write: IncidentWrite| {
        let severity = draw.usize(0..SEVERITIES.len());
        write.incident.severity = Some(Severity {
            id: Some(format!("01SEVERITY{severity}")),
            name: SEVERITIES[severity].into(),
            rank: i32::try_from(severity).ok(),
        });
        let responder = |number: usize| Responder {
            id: Some(format!("01USER{number}")),
            name: Some(format!("Person {number}")),
            email: Some(format!("person-{number}@example.com")),
            role: Some("Lead".into()),
            user_id: None,
        };
        write.incident.responders = (0..3).map(|_| responder(draw.usize(0..400))).collect();
        write.facts = (0..2_500).map(|_| draw.u8(..)).collect();
        if draw.u8(0..10) == 0 {
            write.incident.key.source = "opsgenie".into();
        }
        write
    };
    mttr::store(database, (0..incidents).collect(), &mut dress).await;
    let store = Arc::new(SqliteStore::open(database).unwrap());
    let org: OrgId = "org-0".parse().unwrap();
    let now = Utc::now().timestamp_micros();
    let migration = Migration { begun_at: Some(1), finished_at: Some(2), ..Migration::default() };
    store.put_migration(&org, "opsgenie", &migration).await.unwrap();
    let mut all = tokio::task::JoinSet::new();
    for number in 0..(incidents / 2).min(50_000) {
        let (store, org) = (store.clone(), org.clone());
        all.spawn(async move {
            let new = NewDelivery {
                id: format!("msg_{number}").parse().unwrap(),
                event_type: "public_incident.incident_updated_v2".into(),
                incident: Some(format!("01J{:023}", number % 1_000)),
                received_at: now - 1_000_000 * number as i64,
                delivery: Delivery { headers: vec![], body: b"{}".to_vec() },
            };
            store.accept(&org, new).await.unwrap();
        });
    }
    all.join_all().await;
    // Most of them are done.
    let done = Hands { free: u32::MAX, each: u32::MAX, attempts: 20, ..Hands::default() };
    let taken = store.claim(done, Duration::from_secs(600), now).await.unwrap();
    let ended = taken.into_iter().skip(100).map(|one| (one.lease, "updated".to_owned())).collect();
    store.finish(ended, now).await.unwrap();
}

/// With so many incidents in an organisation; each page several times, in turn.
pub async fn all(programs: &Programs, incidents: usize, organisations: usize, rounds: usize) -> Vec<Figure> {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("pages.db");
    fill(&database, incidents, organisations).await;
    let server = Server::start(serve(programs, &database, &directory.path().join("cache")));
    let client = reqwest::Client::new();
    let mut addresses: Vec<(&str, String)> = PAGES
        .iter()
        .map(|(name, path)| (*name, format!("http://{}/o/org-0/{path}", server.address)))
        .collect();
    let last = format!("http://{}/o/org-0/incidents?page={}", server.address, incidents.div_ceil(ROWS));
    addresses.push(("incidents, the last page", last));
    addresses.push(("migration", format!("http://{}/o/org-0/migration", server.address)));
    addresses.push(("host", format!("http://{}/host", server.address)));
    let mut took = vec![Vec::new(); addresses.len()];
    // The first round is the page cache's.
    for round in 0..=rounds {
        for ((name, address), took) in addresses.iter().zip(&mut took) {
            let began = Instant::now();
            let answer = client.get(address).send().await.unwrap();
            let status = answer.status();
            let body = answer.bytes().await.unwrap();
            let elapsed = began.elapsed().as_secs_f64() * 1e3;
            assert!(status.is_success() && body.len() > 500, "{name}: {status}");
            if round > 0 {
                took.push(elapsed);
            }
        }
    }
    let figures = addresses.iter().zip(took).map(|((name, _), took)| {
        let figure = Figure::new(format!("{incidents} incidents, page: {name}"), "ms", took);
        if incidents <= 100_000 { figure.within(Bound::AtMost(150.0)) } else { figure }
    });
    figures.collect()
}
