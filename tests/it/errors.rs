//! What goes wrong outside: each has a typed error and a message that tells the user what to do, and nothing
//! is lost or half-written.

use std::time::Duration;

use chrono::TimeDelta;
use koalr_host::contract::{GuestError, Phase, Rejection};
use koalr_host::port::{JobKind, OrganisationState};
use koalr_host::scheduler::{Event, RunError, Scheduler};
use koalr_host::{HostError, Limits, ReceiveError};
use koalr_simulator::{Change, Effect, Fault, HeaderFamily, Keys, Options, Simulator};
use serde_json::json;

use crate::support::*;

async fn with_roles(roles: &[&str]) -> Simulator {
    let mut options = Options::new(50, 1, now());
    let roles = roles.iter().map(ToString::to_string).collect();
    options.keys = Keys::Listed([(KEY.to_string(), roles)].into());
    options.limits = None;
    Simulator::start(options).await.unwrap()
}

/// The import fails with this, then, with the fault gone, ends in the same records as one that never failed.
async fn fails_then_recovers(effect: Effect, judge: impl Fn(&GuestError) -> bool) {
    let simulator = account(300, 8).await;
    let (bench, untroubled) = (Bench::connected(&simulator).await, Bench::connected(&simulator).await);
    untroubled.sync().await;
    simulator.inject(Fault::new("/v2/incidents", 50, effect));
    let failed = bench.run(JobKind::Backfill).await.unwrap_err();
    let RunError::Failed(HostError::Plugin(error)) = &failed else { panic!("{failed:?}") };
    assert!(judge(error), "{error:?}");
    let job = bench.store.job(&bench.org, JobKind::Backfill).await.unwrap().unwrap();
    assert_eq!((job.attempts, job.leased_until, job.error), (1, None, Some(failed.to_string())));
    assert!(job.run_at.is_some(), "it is tried again");
    simulator.clear_faults();
    bench.sync().await;
    assert_eq!(bench.incidents().await, untroubled.incidents().await);
}

#[tokio::test]
async fn a_wrong_key_leaves_nothing_behind() {
    let simulator = with_roles(&["viewer"]).await;
    let bench = Bench::new().await;
    let error =
        bench.host.connect(&bench.org, connect_with("wrong", &simulator.base_url())).await.unwrap_err();
    assert!(matches!(error, HostError::Plugin(GuestError::Unauthorized(_))), "{error:?}");
    assert!(error.to_string().contains("API key"), "{error}");
    assert!(matches!(bench.host.organisation(&bench.org).await, Err(HostError::UnknownOrganisation(_))));
    assert!(bench.store.organisations().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_key_does_not_replace_a_good_one() {
    let simulator = with_roles(&["viewer"]).await;
    let bench = Bench::connected(&simulator).await;
    let refused = bench.host.connect(&bench.org, connect_with("wrong", &simulator.base_url())).await;
    assert!(refused.is_err());
    bench.sync().await;
    assert!(!bench.incidents().await.is_empty());
}

#[tokio::test]
async fn a_key_that_is_revoked_stops_the_work_until_a_new_one_is_given() {
    let simulator = account(50, 1).await;
    let bench = Bench::connected(&simulator).await;
    let body = json!({"type": "authentication_error", "status": 401, "request_id": "r", "errors": []});
    simulator.inject(Fault::new("/", 50, Effect::Status { status: 401, body }));
    let failed = bench.run(JobKind::Poll).await.unwrap_err();
    assert!(matches!(failed, RunError::Failed(HostError::Plugin(GuestError::Unauthorized(_)))), "{failed:?}");
    assert_eq!(bench.host.organisation(&bench.org).await.unwrap().state, OrganisationState::Refused);
    let due = bench.store.claim_due(9, Duration::from_secs(1), i64::MAX).await.unwrap();
    assert!(due.is_empty(), "nothing is tried with a refused key");
    simulator.clear_faults();
    bench.connect(&simulator.base_url()).await.unwrap();
    bench.sync().await;
    assert!(!bench.incidents().await.is_empty());
}

#[tokio::test]
async fn a_key_without_a_permission_is_told_which() {
    let simulator = with_roles(&["catalog_viewer"]).await;
    let bench = Bench::new().await;
    let error = bench.connect(&simulator.base_url()).await.unwrap_err();
    assert!(matches!(&error, HostError::Plugin(GuestError::Forbidden(_))), "{error:?}");
    assert!(error.to_string().contains("incidents"), "{error}");
    assert!(bench.store.organisations().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_rate_limit_is_waited_out() {
    let simulator = account(300, 8).await;
    let bench = Bench::connected(&simulator).await;
    simulator.inject(Fault::new("/v2/incidents", 1, Effect::RateLimited { retry_after: Some("1".into()) }));
    let waits = std::sync::Mutex::new(Vec::new());
    let observe = |event: &Event| {
        if let Event::Waiting(wait) = event {
            waits.lock().unwrap().push(*wait);
        }
    };
    Scheduler::new(bench.host.clone())
        .run_now(&bench.org, JobKind::Backfill, &observe, std::future::pending())
        .await
        .unwrap();
    assert!(waits.lock().unwrap().iter().any(|wait| *wait >= Duration::from_secs(1)), "as long as it asked");
    assert!(!bench.incidents().await.is_empty());
}

#[tokio::test]
async fn a_server_error_is_a_passing_fault() {
    let effect = Effect::Status { status: 503, body: serde_json::Value::Null };
    fails_then_recovers(effect, |error| matches!(error, GuestError::Unavailable(_))).await;
}

#[tokio::test]
async fn truncated_json_is_not_taken_for_an_answer() {
    fails_then_recovers(Effect::Truncated, |error| {
        matches!(error, GuestError::Malformed(text) | GuestError::Unavailable(text) if !text.is_empty())
    })
    .await;
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_read() {
    let limits = Limits { response_bytes: 1 << 20, ..Limits::default() };
    let simulator = account(20, 8).await;
    let bench = Bench::with_limits(limits).await;
    bench.connect(&simulator.base_url()).await.unwrap();
    simulator.inject(Fault::new("/v2/incidents", 9, Effect::Oversized(2 << 20)));
    let failed = bench.run(JobKind::Backfill).await.unwrap_err();
    let RunError::Failed(HostError::Plugin(GuestError::Malformed(text))) = &failed else {
        panic!("{failed:?}")
    };
    assert!(text.contains("large"), "{text}");
    assert!(bench.incidents().await.is_empty());
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let limits = Limits { request: Duration::from_millis(200), ..Limits::default() };
    let simulator = account(20, 8).await;
    let bench = Bench::with_limits(limits).await;
    bench.connect(&simulator.base_url()).await.unwrap();
    simulator.inject(Fault::new("/v2/incidents", 9, Effect::Hang(Duration::from_secs(60))));
    let failed = bench.run(JobKind::Backfill).await.unwrap_err();
    let RunError::Failed(HostError::Plugin(GuestError::Unavailable(text))) = &failed else {
        panic!("{failed:?}")
    };
    assert!(text.contains("time"), "{text}");
}

#[tokio::test]
async fn unknown_words_and_missing_fields_do_not_fail_an_incident() {
    let simulator = account(0, 8).await;
    let bench = Bench::connected(&simulator).await;
    let bare = json!({"id": "01BARE", "created_at": "2026-11-19T10:00:00Z"});
    let odd = json!({
        "id": "01ODD", "name": "Odd", "reference": "INC-9", "mode": "rehearsal", "visibility": "secret",
        "incident_status": {"id": "s", "name": "Pondering", "category": "pondering"},
        "severity": null, "created_at": "2026-11-19T10:00:00Z", "updated_at": "2026-11-19T11:00:00Z",
        "custom_field_entries": [{"custom_field": {"field_type": "hologram"}, "values": [{"value_hologram": {}}]}],
        "incident_timestamp_values": [{"incident_timestamp": {"name": "Resolved at"}, "value": {"value": "yesterday"}}],
    });
    let body = json!({"incidents": [bare, odd], "pagination_meta": {"page_size": 250}});
    simulator.inject(Fault::new("/v2/incidents", 1, Effect::Body(body)));
    bench.run(JobKind::Backfill).await.unwrap();
    let odd = bench.incident("INC-9").await.unwrap();
    assert_eq!((odd.phase, odd.private, odd.status.as_str()), (Phase::Unknown, true, "Pondering"));
    assert_eq!((odd.severity, odd.priority, odd.resolved_at), (None, None, None));
    assert_eq!(odd.priority_rule, "no-severity");
    assert!(bench.incident("01BARE").await.is_some(), "an id and a time are enough");
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_a_passing_fault() {
    let bench = Bench::new().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = bench.connect(&format!("http://{closed}")).await.unwrap_err();
    assert!(
        matches!(&error, HostError::Plugin(GuestError::Unavailable(text)) if text.contains("refused")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_stale_or_wrongly_signed_delivery_is_refused() {
    let simulator = account(5, 8).await;
    let bench = Bench::connected(&simulator).await;
    let body = br#"{"event_type":"incident.created"}"#;
    let now = micros(now()) / 1_000_000;
    let mut forged = signed("msg_1", now, body, HeaderFamily::Webhook);
    forged.body.push(b' ');
    for (delivery, rejection) in [
        (signed("msg_1", now - 301, body, HeaderFamily::Webhook), Rejection::TooOld),
        (signed("msg_1", now + 301, body, HeaderFamily::Svix), Rejection::TooNew),
        (forged, Rejection::BadSignature),
        (signed("msg_1", now, &[b' '; (512 << 10) + 1], HeaderFamily::Webhook), Rejection::TooLarge),
        (koalr_host::contract::Delivery { headers: vec![], body: body.to_vec() }, Rejection::MissingHeader),
    ] {
        let refused = bench.host.receive(&bench.org, delivery).await.unwrap_err();
        assert!(matches!(refused, ReceiveError::Rejected(why) if why == rejection), "{refused:?}");
    }
    assert!(bench.drain().await.is_empty(), "nothing of it is kept");
}

#[tokio::test]
async fn an_organisation_that_nobody_connected_is_unknown() {
    let bench = Bench::new().await;
    let delivery = bench.signed("msg_1", b"{}", HeaderFamily::Webhook);
    let refused = bench.host.receive(&bench.org, delivery).await.unwrap_err();
    assert!(matches!(refused, ReceiveError::UnknownOrganisation(_)), "{refused:?}");
    let refused = bench.run(JobKind::Poll).await.unwrap_err();
    assert!(refused.to_string().contains("connect it first"), "{refused}");
}

#[tokio::test]
async fn without_a_secret_nothing_is_genuine_and_a_useless_one_is_refused_when_saved() {
    let simulator = account(5, 8).await;
    let bench = Bench::new().await;
    let mut connect = connect_with(KEY, &simulator.base_url());
    connect.secrets.clear();
    bench.host.connect(&bench.org, connect).await.unwrap();
    let delivery = bench.signed("msg_1", br#"{"event_type":"x"}"#, HeaderFamily::Webhook);
    let refused = bench.host.receive(&bench.org, delivery.clone()).await.unwrap_err();
    assert!(matches!(refused, ReceiveError::Rejected(Rejection::NoSecret)), "{refused:?}");

    let secret = |text: &str| [koalr_host::vault::Secret::new(text.into())];
    let useless = bench.host.put_secret(&bench.org, "webhook-secret", &secret("whsk_abc")).await;
    assert!(matches!(useless, Err(HostError::UnusableSecret(_))), "{useless:?}");
    bench.host.put_secret(&bench.org, "webhook-secret", &secret(SECRET)).await.unwrap();
    bench.host.receive(&bench.org, delivery).await.unwrap();
}

#[tokio::test]
async fn an_origin_that_the_plugin_does_not_call_cannot_be_mapped() {
    let bench = Bench::new().await;
    let mut connect = connect_with(KEY, "http://127.0.0.1:1");
    connect.origin_map[0].from = "https://example.com".into();
    let error = bench.host.connect(&bench.org, connect).await.unwrap_err();
    assert!(error.to_string().contains("https://api.incident.io"), "{error}");
    assert!(bench.store.organisations().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_key_may_no_longer_read_stays_as_it_was() {
    let simulator = account(40, 8).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let before = bench.incidents().await;
    let first = before.first().unwrap();
    let timeline = bench.store.timeline(&bench.org, &first.key).await.unwrap();
    assert!(timeline.iter().any(|event| event.kind == "note"));

    // A day later the account is due to be read again, and the incident has changed.
    bench.clock.advance(TimeDelta::days(1));
    let renamed = Change { name: Some("Renamed".into()), ..Change::default() };
    simulator.update(&first.key.id, renamed, now() + TimeDelta::hours(23)).unwrap();
    for path in ["/v1/severities", "/v2/users", "/v3/catalog_types", "/v2/incident_timeline_items"] {
        simulator.inject(Fault::new(path, 1_000, Effect::Status { status: 403, body: json!(null) }));
    }
    bench.run(JobKind::Poll).await.unwrap();
    let after = bench.incident(&first.key.id).await.unwrap();
    assert_eq!(after.title, "Renamed");
    assert_eq!(
        (after.priority, &after.services, &after.responders),
        (first.priority, &first.services, &first.responders)
    );
    let now_told = bench.store.timeline(&bench.org, &first.key).await.unwrap();
    let gone = timeline.iter().find(|event| !now_told.contains(event));
    assert!(gone.is_none(), "nothing is deleted: {gone:?}");
    assert!(now_told.len() > timeline.len(), "the updates, which can be read, are told");
}

#[tokio::test]
async fn a_run_that_is_stopped_gives_its_job_back_at_once() {
    let simulator = account(20, 8).await;
    let bench = Bench::connected(&simulator).await;
    simulator.inject(Fault::new("/v2/incidents", 1, Effect::Hang(Duration::from_secs(60))));
    let scheduler = Scheduler::new(bench.host.clone());
    let stopped =
        scheduler.run_now(&bench.org, JobKind::Backfill, &|_| {}, std::future::ready(())).await.unwrap_err();
    assert!(matches!(stopped, RunError::Stopped), "{stopped:?}");
    simulator.clear_faults();
    assert!(bench.run(JobKind::Backfill).await.unwrap().created > 0);
}

#[tokio::test]
async fn a_key_of_another_account_does_not_mix_its_records_in() {
    let simulator = account(10, 8).await;
    let bench = Bench::connected(&simulator).await;
    let other = json!({ "identity": {
        "name": "Other", "dashboard_url": "https://app.incident.io/other", "roles": ["viewer"],
    } });
    simulator.inject(Fault::new("/v1/identity", 1, Effect::Body(other)));
    let error = bench.connect(&simulator.base_url()).await.unwrap_err();
    assert!(matches!(&error, HostError::Plugin(GuestError::AnotherAccount(_))), "{error}");
    assert!(error.to_string().contains("account `other`"), "{error}");
    assert!(error.to_string().contains("as another organisation"), "{error}");
    bench.connect(&simulator.base_url()).await.unwrap();
}
