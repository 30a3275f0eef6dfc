//! What other connectors to incident.io get wrong, a test for each.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use koalr_host::contract::{Mode, Phase};
use koalr_host::port::{DeliveryState, JobKind};
use koalr_simulator::{Change, HeaderFamily, LoggedRequest, NewIncident, Options, RateLimits, Simulator};

use crate::support::*;

/// What was asked of the provider since there were `seen` requests.
fn since(simulator: &Simulator, seen: usize) -> Vec<LoggedRequest> {
    simulator.requests().split_off(seen)
}

/// Identifiers of the incidents that were asked for one by one.
fn one_by_one(requests: &[LoggedRequest]) -> BTreeSet<String> {
    let named =
        |query: &str| query.split('&').find_map(|pair| pair.strip_prefix("incident_id=")).map(str::to_string);
    let shown = |path: &str| path.strip_prefix("/v2/incidents/").map(str::to_string);
    requests.iter().filter_map(|request| named(&request.query).or_else(|| shown(&request.path))).collect()
}

/// Declines, cancels and merges are left out by the provider's default filter, test and tutorial ones by its default
/// mode.
#[tokio::test]
async fn no_incident_is_left_out_and_each_says_what_it_is() {
    let simulator = account(300, 21).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let incidents = bench.incidents().await;
    let since = micros(now() - TimeDelta::days(90));
    let of_the_window = |id: &String| {
        let whole = simulator.raw_incident(id).unwrap();
        let updated: DateTime<Utc> = whole["updated_at"].as_str().unwrap().parse().unwrap();
        micros(updated) >= since
    };
    let expected: BTreeSet<String> = simulator.incident_ids().into_iter().filter(of_the_window).collect();
    let imported: BTreeSet<String> = incidents.iter().map(|incident| incident.key.id.clone()).collect();
    assert_eq!(imported, expected);
    let has = |phase: Phase| incidents.iter().any(|incident| incident.phase == phase);
    let is = |mode: Mode| incidents.iter().any(|incident| incident.mode == mode);
    assert!(has(Phase::Declined) && has(Phase::Canceled) && has(Phase::Merged));
    assert!(is(Mode::Test) && is(Mode::Tutorial) && is(Mode::Retrospective));
    let merged = incidents.iter().filter(|incident| incident.phase == Phase::Merged);
    assert!(merged.into_iter().all(|incident| incident.merged_into.is_some()), "and into what");
}

#[tokio::test]
async fn a_poll_reads_what_changed_and_costs_next_to_nothing_when_nothing_did() {
    let simulator = account(2_000, 22).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    bench.clock.advance(TimeDelta::minutes(10));
    let seen = simulator.requests().len();
    let totals = bench.run(JobKind::Poll).await.unwrap();
    assert!(since(&simulator, seen).len() <= 2, "{:?}", since(&simulator, seen));
    assert_eq!((totals.created, totals.updated), (0, 0));

    let at = now() + TimeDelta::minutes(11);
    for id in simulator.incident_ids().iter().rev().take(10) {
        let renamed = Change { name: Some("Renamed".into()), ..Change::default() };
        simulator.update(id, renamed, at).unwrap();
    }
    bench.clock.advance(TimeDelta::minutes(10));
    let seen = simulator.requests().len();
    bench.run(JobKind::Poll).await.unwrap();
    let requests = since(&simulator, seen);
    assert!(requests.len() <= 2 + 10 * 4, "{} requests", requests.len());
    let renamed = bench.incidents().await.into_iter().filter(|incident| incident.title == "Renamed");
    assert_eq!(renamed.count(), 10);
}

#[tokio::test]
async fn requests_for_one_incident_are_for_timelines_of_changed_incidents_only() {
    let simulator = account(300, 23).await;
    let bench = Bench::connected(&simulator).await;
    bench.run(JobKind::Backfill).await.unwrap();
    assert!(one_by_one(&simulator.requests()).is_empty(), "incidents and updates come in lists");
    bench.run(JobKind::Poll).await.unwrap();
    let requests = simulator.requests();
    let imported = bench.incidents().await.len();
    assert_eq!(one_by_one(&requests).len(), imported);
    let per_incident = requests.iter().filter(|request| request.query.contains("incident_id=")).count();
    // Items, activity log and participants; the updates are known.
    assert!(per_incident <= 3 * imported + 20, "{per_incident} requests for {imported} timelines");

    let changed = simulator.incident_ids().pop().unwrap();
    let at = now() + TimeDelta::minutes(1);
    let said = Change { message: Some("Still looking".into()), ..Change::default() };
    simulator.update(&changed, said, at).unwrap();
    bench.clock.advance(TimeDelta::minutes(10));
    let seen = requests.len();
    bench.run(JobKind::Poll).await.unwrap();
    assert_eq!(one_by_one(&since(&simulator, seen)), [changed].into());
}

/// `client::tests::retry_after_is_read_in_its_three_forms_and_from_the_body` has the forms.
#[tokio::test]
async fn the_allowance_that_the_provider_states_is_kept_before_it_refuses() {
    let mut options = Options::new(900, 24, now());
    // As many as connecting and the first page spend; a bucket of its own for everything else.
    options.limits = Some(RateLimits { incident_list_per_minute: 3, per_key_per_minute: 1_200 });
    let simulator = Simulator::start(options).await.unwrap();
    let bench = Bench::connected(&simulator).await;
    let request = bench.backfill_request();
    let mut waits = 0;
    loop {
        let step = bench.host.backfill(&bench.org, &request).await.unwrap();
        let lists = simulator.requests().iter().filter(|r| r.path == "/v2/incidents").count();
        waits += u32::from(step.wait_ms > 0);
        if lists >= 3 {
            assert_eq!(step.wait_ms, 20_000, "a bucket of three a minute has one more in twenty seconds");
            break;
        }
        assert!(step.more, "the import must not end before the allowance does");
    }
    assert_eq!(waits, 1);
    assert!(simulator.requests().iter().all(|request| request.status == 200), "nothing was refused");
}

#[tokio::test]
async fn the_newest_version_wins_and_only_a_private_incident_costs_a_request() {
    let simulator = account(30, 25).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let at = |minutes| now() + TimeDelta::minutes(minutes);
    let id =
        simulator.declare(NewIncident { name: "First".into(), ..NewIncident::default() }, at(1)).unwrap();
    let older = simulator.raw_incident(&id).unwrap();
    simulator.update(&id, Change { name: Some("Second".into()), ..Change::default() }, at(2)).unwrap();
    let newer = simulator.raw_incident(&id).unwrap();
    let seen = simulator.requests().len();
    for (n, incident) in [newer, older].into_iter().enumerate() {
        let kind = "public_incident.incident_updated_v2";
        let body = serde_json::json!({"event_type": kind, kind: incident}).to_string();
        let delivery = bench.signed(&format!("msg_{n}"), body.as_bytes(), HeaderFamily::Webhook);
        bench.host.receive(&bench.org, delivery).await.unwrap();
    }
    assert!(bench.drain().await.iter().all(|row| row.state == DeliveryState::Done));
    assert_eq!(bench.incident(&id).await.unwrap().title, "Second");
    assert!(since(&simulator, seen).is_empty(), "a public event carries the whole incident");

    simulator.set_private(&id, true, at(3)).unwrap();
    let kind = "private_incident.incident_updated_v2";
    let body = serde_json::json!({"event_type": kind, kind: {"id": id}}).to_string();
    let delivery = bench.signed("msg_private", body.as_bytes(), HeaderFamily::Webhook);
    bench.host.receive(&bench.org, delivery).await.unwrap();
    bench.drain().await;
    assert_eq!(since(&simulator, seen).len(), 1);
    assert!(bench.incident(&id).await.unwrap().private);
}

#[tokio::test]
async fn a_resolution_time_names_its_rule_and_goes_when_the_incident_is_reopened() {
    let simulator = account(20, 26).await;
    let bench = Bench::connected(&simulator).await;
    let at = |minutes| now() + TimeDelta::minutes(minutes);
    let severity = simulator.severities().pop();
    let new = NewIncident { name: "Down".into(), severity, ..NewIncident::default() };
    let id = simulator.declare(new, at(1)).unwrap();
    let to = |status: &str| Change { status: Some(status.into()), ..Change::default() };
    let rule = async |after: TimeDelta| {
        bench.clock.advance(after);
        bench.sync().await;
        bench.incident(&id).await.unwrap().resolved_at.map(|time| (time.rule, time.at))
    };
    simulator.update(&id, to("Documenting"), at(5)).unwrap();
    let expected = Some(("resolved-at-timestamp".to_string(), micros(at(5))));
    assert_eq!(rule(TimeDelta::minutes(10)).await, expected);
    simulator.update(&id, to("Fixing"), at(12)).unwrap();
    assert_eq!(rule(TimeDelta::minutes(10)).await, None, "the old timestamp still stands at the provider");
    simulator.update(&id, to("Closed"), at(25)).unwrap();
    // "Resolved at" is that of the first time; the update tells of the second.
    let expected = Some(("status-transition".to_string(), micros(at(25))));
    assert_eq!(rule(TimeDelta::minutes(10)).await, expected);
}
