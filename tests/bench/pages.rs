//! The console's pages over a large history.

use std::time::Instant;

use super::{Bound, Figure, Programs, Server, mttr, serve};

/// Under an organisation's address.
const PAGES: [(&str, &str); 9] = [
    ("incidents", "incidents"),
    ("incidents, filtered", "incidents?priority=p1&status=over&service=service-7"),
    ("incidents, searched and sorted", "incidents?text=inc-77&sort=duration"),
    ("incidents, the last page", "incidents?page=2000"),
    ("incident", "incidents/INC-77"),
    ("MTTR, 90 days", "mttr"),
    ("MTTR, 365 days by day", "mttr?days=365&bucket=day"),
    ("deliveries", "deliveries"),
    ("settings", "settings"),
];

/// With so many incidents in an organisation; each page several times, in turn.
pub async fn all(programs: &Programs, incidents: usize, rounds: usize) -> Vec<Figure> {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("pages.db");
    mttr::fill(&database, incidents).await;
    let server = Server::start(serve(programs, &database, &directory.path().join("cache")));
    let client = reqwest::Client::new();
    let mut addresses: Vec<(&str, String)> = PAGES
        .iter()
        .map(|(name, path)| (*name, format!("http://{}/o/org-0/{path}", server.address)))
        .collect();
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
