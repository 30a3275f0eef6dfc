//! Time to restore over a large history: how long one report takes, and how little memory it can be made with.
//!
//! `cargo xtask bench` runs it: `mttr_scale COMPONENT DIRECTORY INCIDENTS`. Nothing here passes or fails.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

use std::sync::Arc;
use std::time::Instant;

use koalr_host::contract::{
    AffectedService, Change, ClockEnd, ClockStart, DerivedTime, Incident, IncidentKey, IncidentWrite, Mode,
    MttrQuery, Phase, Priority, Settings,
};
use koalr_host::id::OrgId;
use koalr_host::port::{Organisation, OrganisationState, Organisations, Records};
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::SealingKey;
use koalr_host::{Host, Limits};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const PER_COMMIT: usize = 2_000;
const RUNS: usize = 5;
const MEMORY_MB: [usize; 6] = [24, 32, 40, 48, 56, 64];

fn incident(number: usize, draw: &mut fastrand::Rng) -> Incident {
    let created_at = draw.i64(0..730) * DAY + draw.i64(0..DAY);
    // Most take minutes to hours, a few take days.
    let took = (60.0 * (draw.f64() * 8.0).exp()) as i64 * SECOND;
    let at = |at| Some(DerivedTime { at, rule: "resolved-at-timestamp".into() });
    let service =
        |n: usize| AffectedService { name: format!("service-{n}"), external_id: None, service_id: None };
    let over = draw.u8(0..100) < 98;
    Incident {
        key: IncidentKey { source: "incidentio".into(), id: format!("01J{number:023}") },
        reference: Some(format!("INC-{number}")),
        title: "Checkout answers slowly".into(),
        permalink: None,
        severity: None,
        priority: draw.choice([None, Some(Priority::P1), Some(Priority::P2), Some(Priority::P3)]).flatten(),
        priority_rule: "name".into(),
        status: "Closed".into(),
        phase: if over { Phase::Closed } else { Phase::Active },
        mode: Mode::Standard,
        private: false,
        withheld: false,
        created_at,
        started_at: at(created_at - 60 * SECOND),
        acknowledged_at: at(created_at + 60 * SECOND),
        resolved_at: at(created_at + took).filter(|_| over),
        merged_into: None,
        responders: vec![],
        services: (0..draw.usize(0..3)).map(|_| service(draw.usize(0..200))).collect(),
        references: Vec::new(),
        updated_at: created_at + took,
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, directory, incidents] = arguments.as_slice() else {
        eprintln!("usage: mttr_scale COMPONENT DIRECTORY INCIDENTS");
        std::process::exit(2);
    };
    let (wasm, count) = (std::fs::read(component).unwrap(), incidents.parse::<usize>().unwrap());
    let org: OrgId = "bench".parse().unwrap();
    let store = SqliteStore::open(std::path::Path::new(directory).join("mttr.db")).unwrap();
    let organisation = Organisation {
        id: org.clone(),
        state: OrganisationState::Live,
        connection: None,
        settings: Settings {
            severity_overrides: vec![],
            service_fields: vec![],
            include_private: true,
            history_days: None,
        },
        origin_map: vec![],
        created_at: 0,
        connected_at: Some(0),
    };
    store.put_organisation(&organisation).await.unwrap();
    let mut draw = fastrand::Rng::with_seed(7);
    for first in (0..count).step_by(PER_COMMIT) {
        let put = |number| {
            let write = IncidentWrite {
                incident: incident(number, &mut draw),
                facts: vec![],
                revisit: false,
                base: None,
            };
            Change::PutIncident(write)
        };
        let changes = (first..count.min(first + PER_COMMIT)).map(put).collect();
        store.commit(&org, changes, None).await.unwrap();
    }
    let store = Arc::new(store);
    let query = MttrQuery {
        edges: (0..=110).map(|week| week * 7 * DAY).collect(),
        start: ClockStart::Created,
        end: ClockEnd::Resolved,
        priorities: vec![],
        services: vec![],
        sources: vec![],
        include_private: true,
    };
    let host = async |limits| {
        let builder = Host::builder(store.clone(), SealingKey::generate().unwrap())
            .limits(limits)
            .allow(["https://api.incident.io"]);
        builder.load(&wasm).await.unwrap()
    };
    let usual = host(Limits::default()).await;
    let mut seconds = Vec::new();
    let mut measured = 0;
    for _ in 0..RUNS {
        let began = Instant::now();
        measured = usual.mttr(&org, &query).await.unwrap().overall.statistics.count;
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let mut enough = None;
    for megabytes in MEMORY_MB {
        let limits = Limits { memory_bytes: megabytes * 1_000_000, ..Limits::default() };
        if enough.is_none() && host(limits).await.mttr(&org, &query).await.is_ok() {
            enough = Some(megabytes);
        }
    }
    let (least, most) = (seconds.first().unwrap(), seconds.last().unwrap());
    let median = seconds.get(RUNS / 2).unwrap();
    println!("| time to restore over | measured | wall, s | enough guest memory, MB |");
    println!("|---|---|---|---|");
    let enough = enough.map_or_else(|| "more than 64".to_string(), |megabytes| megabytes.to_string());
    println!("| {count} incidents | {measured} | {median:.2} ({least:.2} to {most:.2}) | {enough} |");
}
