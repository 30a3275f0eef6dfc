//! The ports' promises, kept on a real file.

mod clock;
mod directory;
mod identity;
mod inbox;
mod jobs;
mod organisations;
mod records;
mod scan;
mod store;
mod trouble;

use std::time::Duration;

use super::SqliteStore;
use crate::contract::{
    AffectedService, Applied, Change, Delivery, DerivedTime, Header, Incident, IncidentKey, IncidentWrite,
    Mode, Phase, Priority, Settings, TimelineEvent, Timestamp,
};
use crate::id::OrgId;
use crate::port::{
    Hands, Inbox, Lease, LeasedDelivery, NewDelivery, Organisation, OrganisationState, Organisations, Records,
};

const LEASE: Duration = Duration::from_micros(100);

/// A store that lives as long as this.
struct Fixture {
    store: SqliteStore,
    directory: tempfile::TempDir,
}

impl std::ops::Deref for Fixture {
    type Target = SqliteStore;
    fn deref(&self) -> &SqliteStore {
        &self.store
    }
}

/// A store with the live organisations `acme` and `beta`.
async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("koalr.db")).unwrap();
    for id in ["acme", "beta"] {
        store.put_organisation(&organisation(id, OrganisationState::Live)).await.unwrap();
    }
    Fixture { store, directory }
}

fn org(id: &str) -> OrgId {
    id.parse().unwrap()
}

fn organisation(id: &str, state: OrganisationState) -> Organisation {
    let settings = Settings { history_days: Some(30), include_private: true, ..Settings::default() };
    Organisation {
        id: org(id),
        state,
        plugin: "incidentio".into(),
        connection: None,
        settings,
        origin_map: Vec::new(),
        created_at: 1,
        connected_at: None,
    }
}

fn key(id: &str) -> IncidentKey {
    IncidentKey { source: "incidentio".into(), id: id.into() }
}

/// An open incident, created at 1,000 and last updated at 1,000.
fn incident(id: &str) -> Incident {
    Incident {
        key: key(id),
        reference: Some(format!("INC-{id}")),
        title: format!("Trouble with {id}"),
        permalink: None,
        severity: None,
        priority: Some(Priority::P2),
        priority_rule: "name".into(),
        status: "Investigating".into(),
        phase: Phase::Active,
        mode: Mode::Standard,
        private: false,
        withheld: false,
        not_visible: false,
        created_at: Some(1_000),
        started_at: None,
        acknowledged_at: None,
        resolved_at: None,
        first_resolved_at: None,
        unknown_timestamp: None,
        reopenings: Vec::new(),
        pauses: Vec::new(),
        merged_into: None,
        responders: Vec::new(),
        services: Vec::new(),
        references: Vec::new(),
        updated_at: 1_000,
    }
}

fn over(mut incident: Incident, phase: Phase, resolved_at: Option<Timestamp>) -> Incident {
    incident.phase = phase;
    incident.resolved_at = resolved_at.map(|at| DerivedTime { at, rule: "resolved-at-timestamp".into() });
    incident
}

fn service(name: &str, service_id: Option<&str>) -> AffectedService {
    AffectedService { name: name.into(), external_id: None, service_id: service_id.map(Into::into) }
}

fn put(incident: Incident, base: Option<u64>) -> Change {
    Change::PutIncident(IncidentWrite { incident, facts: b"facts".to_vec(), revisit: false, base })
}

fn event(incident: &str, id: &str, at: Timestamp) -> TimelineEvent {
    TimelineEvent {
        incident: key(incident),
        id: id.into(),
        at,
        kind: "update".into(),
        title: "An update".into(),
        detail: None,
        actor: Some("Ada".into()),
    }
}

fn delivery(id: &str, received_at: Timestamp) -> NewDelivery {
    let headers = vec![Header { name: "webhook-id".into(), value: id.into() }];
    NewDelivery {
        id: id.parse().unwrap(),
        event_type: "incident.updated".into(),
        incident: Some("01".into()),
        received_at,
        delivery: Delivery { headers, body: b"{}".to_vec() },
    }
}

fn counts(created: u32, updated: u32, unchanged: u32, stale: u32, events: u32) -> Applied {
    Applied { created, updated, unchanged, stale, events }
}

/// So many hands, whoever's deliveries they get.
fn hands(free: u32) -> Hands {
    Hands { free, each: u32::MAX, attempts: u32::MAX, ..Hands::default() }
}

/// Accepts one delivery of `acme` and leases it at this time.
async fn leased(store: &SqliteStore, id: &str, now: Timestamp) -> LeasedDelivery {
    store.accept(&org("acme"), delivery(id, now)).await.unwrap();
    store.claim(hands(1), LEASE, now).await.unwrap().pop().unwrap()
}

/// How many of this one delivery were noted as done.
async fn finish(store: &SqliteStore, lease: &Lease, outcome: &str, now: Timestamp) -> u64 {
    store.finish(vec![(lease.clone(), outcome.into())], now).await.unwrap()
}

async fn revision(store: &SqliteStore, id: &str) -> Option<u64> {
    let found = store.incidents_by_key(&org("acme"), &[key(id)]).await.unwrap();
    found[0].as_ref().map(|stored| stored.revision)
}
