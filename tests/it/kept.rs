//! What is kept of an account through odd content, wrong keys, and incidents that no list of changes shows.

use chrono::TimeDelta;
use koalr_host::HostError;
use koalr_host::contract::{GuestError, MttrQuery};
use koalr_host::port::{DeliveryState, JobKind};
use koalr_simulator::{Effect, Fault, HeaderFamily, Keys, Mode, NewIncident, Options, Simulator};
use serde_json::{Value, json};

use crate::support::*;

fn named(name: &str) -> NewIncident {
    NewIncident {
        name: name.into(),
        severity: Some("Partial outage".into()),
        services: vec![],
        mode: Mode::Standard,
        private: false,
        lead: None,
    }
}

fn incident(id: &str, name: &str) -> Value {
    json!({
        "id": id, "reference": id, "name": name, "visibility": "public", "mode": "standard",
        "incident_status": {"name": "Closed", "category": "closed"},
        "created_at": "2026-11-19T10:00:00Z", "updated_at": "2026-11-19T11:00:00Z",
    })
}

fn page(incidents: &[Value]) -> Value {
    json!({"incidents": incidents, "pagination_meta": {"page_size": 250}})
}

/// What an encoder leaves of an emoji that a sender cut in the middle.
fn halved(value: &Value) -> Vec<u8> {
    value.to_string().replace("HALF", r"\ud83d").into_bytes()
}

#[tokio::test]
async fn half_a_surrogate_pair_costs_its_field_and_neither_a_page_nor_a_delivery() {
    let simulator = account(0, 61).await;
    let bench = Bench::connected(&simulator).await;
    let listed =
        page(&[incident("01A", "before"), incident("01B", "It burns HALF"), incident("01C", "after")]);
    simulator.inject(Fault::new("/v2/incidents", 1, Effect::Bytes(halved(&listed))));
    bench.run(JobKind::Backfill).await.unwrap();
    assert_eq!(bench.incidents().await.len(), 3);
    assert_eq!(bench.incident("01B").await.unwrap().title, "It burns \u{fffd}");

    let kind = "public_incident.incident_updated_v2";
    let body = halved(&json!({"event_type": kind, kind: incident("01D", "HALF here too")}));
    bench.host.receive(&bench.org, bench.signed("msg_half", &body, HeaderFamily::Webhook)).await.unwrap();
    let rows = bench.drain().await;
    assert!(rows.iter().all(|row| row.state == DeliveryState::Done), "{rows:#?}");
    assert_eq!(bench.incident("01D").await.unwrap().title, "\u{fffd} here too");
}

#[tokio::test]
async fn a_genuine_delivery_that_can_never_be_applied_is_taken_and_ended_at_its_first_attempt() {
    let simulator = account(0, 62).await;
    let bench = Bench::connected(&simulator).await;
    let kind = "public_incident.incident_updated_v2";
    let mut long = incident("01LONG", "long");
    long["id"] = json!("x".repeat(300_000));
    let long = json!({"event_type": kind, kind: long}).to_string();
    for (message, body) in [
        ("msg_no_json", b"not json".as_slice()),
        ("msg_no_type", br#"{"event":"x"}"#),
        ("msg_no_text", b"{\"event_type\":\"\xff\"}"),
        ("msg_long", long.as_bytes()),
    ] {
        let delivery = bench.signed(message, body, HeaderFamily::Webhook);
        bench.host.receive(&bench.org, delivery).await.unwrap_or_else(|why| panic!("{message}: {why}"));
    }
    let rows = bench.drain().await;
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!((row.state, row.attempts), (DeliveryState::Dead, 1), "{row:#?}");
        let why = row.error.unwrap_or_default();
        if row.id.as_str() == "msg_long" {
            assert!(why.contains("has 300000 bytes; one of the provider has 200 at most"), "{why}");
        }
        assert!(!why.is_empty());
    }
    assert_eq!(bench.incidents().await.len(), 0);
}

#[tokio::test]
async fn an_answer_without_an_identity_connects_nobody_and_the_real_key_connects_after_it() {
    let simulator = account(5, 63).await;
    let bench = Bench::new().await;
    for body in [
        json!({}),
        json!([]),
        json!({"identity": {}}),
        json!({"identity": {"name": "k"}}),
        json!({"identity": {"name": "k", "dashboard_url": "https://app.incident.io/"}}),
        json!({"identity": {"dashboard_url": "https://portal/login"}}),
        json!({"identity": {"dashboard_url": "https://app.incident.io.portal.example/login"}}),
        json!({"identity": {"dashboard_url": "https://portal.example/app.incident.io/login"}}),
    ] {
        simulator.inject(Fault::new("/v1/identity", 1, Effect::Body(body.clone())));
        let error = bench.connect(&simulator.base_url()).await.unwrap_err();
        assert!(matches!(&error, HostError::Plugin(GuestError::Malformed(_))), "{body}: {error}");
        assert!(bench.store.organisation(&bench.org).await.unwrap().is_none(), "{body}");
    }
    assert_eq!(bench.connect(&simulator.base_url()).await.unwrap().account, "northwind-goods");
}

#[tokio::test]
async fn disconnecting_frees_the_account_and_a_move_has_to_be_asked_for_by_name() {
    let simulator = account(5, 64).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let of = |account: &str| {
        let address = format!("https://app.incident.io/{account}");
        let identity = json!({"identity": {"name": "k", "dashboard_url": address, "roles": ["viewer"]}});
        simulator.inject(Fault::new("/v1/identity", 1, Effect::Body(identity)));
        connect_with(KEY, &simulator.base_url())
    };
    let account = async || {
        let known = bench.store.organisation(&bench.org).await.unwrap().unwrap();
        known.connection.unwrap().account
    };
    bench.host.connect(&bench.org, of("other")).await.unwrap_err();
    bench.host.move_to(&bench.org, of("other"), "another").await.unwrap_err();
    assert_eq!(account().await, "northwind-goods");
    let before = bench.store.job(&bench.org, JobKind::Backfill).await.unwrap().unwrap();
    assert_eq!(before.run_at, None);
    bench.host.move_to(&bench.org, of("other"), "other").await.unwrap();
    assert_eq!(account().await, "other");
    let after = bench.store.job(&bench.org, JobKind::Backfill).await.unwrap().unwrap();
    assert!(after.run_at.is_some(), "the history of the new account is imported");
    assert_eq!(bench.incidents().await.len(), 5, "what was stored stays");

    bench.host.disconnect(&bench.org).await.unwrap();
    bench.host.connect(&bench.org, of("third")).await.unwrap();
    assert_eq!(account().await, "third");
}

/// Disconnecting removes the job that a newer program scheduled.
#[tokio::test]
async fn who_connects_again_after_disconnecting_has_its_records_derived_anew() {
    let simulator = account(5, 67).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let due = async || {
        let job = bench.store.job(&bench.org, JobKind::Rederive).await.unwrap();
        job.is_some_and(|job| job.run_at.is_some())
    };
    bench.connect(&simulator.base_url()).await.unwrap();
    assert!(!due().await, "nothing changed");
    bench.host.schedule_rederive(&bench.org).await.unwrap();
    bench.host.disconnect(&bench.org).await.unwrap();
    assert!(!due().await);
    bench.connect(&simulator.base_url()).await.unwrap();
    assert!(due().await);
}

#[tokio::test]
async fn an_incident_that_is_open_since_before_the_import_counts_with_its_true_age() {
    let simulator = account(0, 65).await;
    let since = now() - TimeDelta::days(203);
    let id = simulator.declare(named("open since May"), since).unwrap();
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let known = bench.incident(&id).await.unwrap();
    assert_eq!(known.created_at, Some(micros(since)));
    let edges = vec![micros(now() - TimeDelta::days(30)), micros(now())];
    let report = bench.host.mttr(&bench.org, &MttrQuery::new(edges)).await.unwrap();
    assert_eq!((report.population, report.open, report.oldest_open), (1, 1, Some(micros(since))));
}

#[tokio::test]
async fn what_the_provider_does_not_know_in_two_daily_looks_is_left_out_until_it_is_seen_again() {
    let mut options = Options::new(0, 66, now());
    options.limits = None;
    options.keys = Keys::Listed([(KEY.to_string(), vec!["viewer".into(), "catalog_viewer".into()])].into());
    let simulator = Simulator::start(options).await.unwrap();
    let id = simulator.declare(named("gone"), now() - TimeDelta::hours(1)).unwrap();
    let other = simulator.declare(named("stays"), now() - TimeDelta::hours(1)).unwrap();
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let lost = async || bench.incident(&id).await.unwrap().not_visible;
    // As a deleted one, it is in no list and answers 404.
    simulator.set_private(&id, true, now()).unwrap();
    let mut told = Vec::new();
    let mut look = async || {
        bench.clock.advance(TimeDelta::hours(25));
        loop {
            let step = bench.host.poll(&bench.org).await.unwrap();
            told.extend(step.problems.into_iter().map(|problem| (problem.incident, problem.reason)));
            if !step.more {
                return;
            }
        }
    };
    look().await;
    assert!(!lost().await, "one answer is no proof");
    look().await;
    assert!(lost().await);
    assert!(!bench.incident(&other).await.unwrap().not_visible);
    look().await;
    simulator.set_private(&id, false, now() + TimeDelta::hours(76)).unwrap();
    look().await;
    assert!(!lost().await, "it was seen again");
    assert_eq!(told, [(Some(id.clone()), "not-visible".to_owned())], "told once");
}

#[tokio::test]
async fn two_looks_in_quick_succession_are_one() {
    let simulator = account(0, 68).await;
    let id = simulator.declare(named("gone"), now() - TimeDelta::hours(1)).unwrap();
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    simulator.delete(&id).unwrap();
    let lost = async || bench.incident(&id).await.unwrap().not_visible;
    for (hours, is_lost) in [(25, false), (0, false), (0, false), (19, false), (2, true)] {
        bench.clock.advance(TimeDelta::hours(hours) + TimeDelta::seconds(2));
        bench.connect(&simulator.base_url()).await.unwrap();
        bench.run(JobKind::Poll).await.unwrap();
        assert_eq!(lost().await, is_lost, "after {hours} hours more");
    }
}

#[tokio::test]
async fn a_look_that_ended_in_the_future_holds_up_none() {
    let simulator = account(0, 69).await;
    let id = simulator.declare(named("gone"), now() - TimeDelta::hours(1)).unwrap();
    let bench = Bench::connected(&simulator).await;
    bench.clock.advance(TimeDelta::days(400));
    bench.sync().await;
    bench.clock.advance(TimeDelta::days(-400));
    simulator.delete(&id).unwrap();
    bench.run(JobKind::Poll).await.unwrap();
    bench.clock.advance(TimeDelta::hours(21));
    bench.run(JobKind::Poll).await.unwrap();
    assert!(bench.incident(&id).await.unwrap().not_visible);
}

#[tokio::test]
async fn an_incident_over_four_megabytes_is_named_and_its_neighbours_are_stored() {
    let simulator = account(0, 67).await;
    let bench = Bench::connected(&simulator).await;
    let large = incident("01LARGE", &"é".repeat(2_200_000));
    let listed = page(&[incident("01A", "before"), large, incident("01Z", "after")]);
    simulator.inject(Fault::new("/v2/incidents", 1, Effect::Body(listed)));
    let request = bench.backfill_request();
    let mut problems = Vec::new();
    loop {
        let step = bench.host.backfill(&bench.org, &request).await.unwrap();
        problems.extend(step.problems.into_iter().map(|problem| (problem.incident, problem.reason)));
        if !step.more {
            break;
        }
    }
    assert_eq!(problems, [(Some("01LARGE".into()), "too-large".into())]);
    assert_eq!(bench.incidents().await.len(), 3);
    assert!(bench.incident("01LARGE").await.unwrap().title.len() < 2_000);
    assert_eq!(bench.incident("01Z").await.unwrap().title, "after");
}
