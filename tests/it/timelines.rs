//! Reading timelines: after everything else, one incident's trouble kept apart from the others', and nothing erased
//! by an answer that is empty for another reason than that there is nothing.

use chrono::TimeDelta;
use koalr_host::port::{DeliveryState, JobKind};
use koalr_simulator::{
    Change, Effect, Fault, HeaderFamily, Keys, NewIncident, Options, RateLimits, Simulator,
};
use serde_json::{Value, json};

use crate::support::*;

const LOG: &str = "/v2/incident_activity_log_entries";

async fn waiting(bench: &Bench) -> u64 {
    bench.store.to_revisit(&bench.org, "incidentio", 0).await.unwrap().total
}

fn of_timelines(simulator: &Simulator) -> usize {
    simulator.requests().iter().filter(|request| request.query.contains("incident_id=")).count()
}

/// The documented kinds of entries, of an incident's log.
fn log(entries: &[Value]) -> Effect {
    Effect::Body(json!({ "incident_activity_log_entries": entries, "pagination_meta": { "page_size": 250 } }))
}

/// An account whose key has a hundred requests a minute, imported.
async fn little_allowed() -> (Simulator, Bench) {
    let mut options = Options::new(300, 32, now());
    options.limits = Some(RateLimits { incident_list_per_minute: 60, per_key_per_minute: 100 });
    let simulator = Simulator::start(options).await.unwrap();
    let bench = Bench::connected(&simulator).await;
    bench.run(JobKind::Backfill).await.unwrap();
    (simulator, bench)
}

#[tokio::test]
async fn they_wait_while_an_import_is_under_way() {
    let simulator = account(100, 31).await;
    let bench = Bench::connected(&simulator).await;
    let request = bench.backfill_request();
    simulator.inject(Fault::new(
        "/v2/incident_updates",
        1,
        Effect::RateLimited { retry_after: Some("1".into()) },
    ));
    assert!(bench.host.backfill(&bench.org, &request).await.unwrap().more, "the updates are yet to be read");
    for _ in 0..3 {
        bench.run(JobKind::Poll).await.unwrap();
        bench.clock.advance(TimeDelta::minutes(4));
    }
    assert_eq!(of_timelines(&simulator), 0);
    while bench.host.backfill(&bench.org, &request).await.unwrap().more {}
    bench.clock.advance(TimeDelta::minutes(6));
    bench.run(JobKind::Poll).await.unwrap();
    assert_eq!(waiting(&bench).await, 0);
}

#[tokio::test]
async fn they_do_not_wait_for_an_import_that_was_given_up() {
    let simulator = account(100, 31).await;
    let bench = Bench::connected(&simulator).await;
    simulator.inject(Fault::new(
        "/v2/incident_updates",
        1,
        Effect::RateLimited { retry_after: Some("1".into()) },
    ));
    assert!(bench.host.backfill(&bench.org, &bench.backfill_request()).await.unwrap().more);
    bench.clock.advance(TimeDelta::minutes(20));
    bench.run(JobKind::Poll).await.unwrap();
    assert_eq!(waiting(&bench).await, 0);
}

#[tokio::test]
async fn a_spent_allowance_is_not_hammered_and_what_was_read_is_kept() {
    let (simulator, bench) = little_allowed().await;
    let before = waiting(&bench).await;
    assert!(bench.host.poll(&bench.org).await.unwrap().more);
    let mut step = bench.host.poll(&bench.org).await.unwrap();
    while step.wait_ms == 0 {
        step = bench.host.poll(&bench.org).await.unwrap();
    }
    assert!(step.more && step.wait_ms >= 1_000, "{step:?}");
    let refused = simulator.requests().iter().filter(|request| request.status == 429).count();
    assert!(refused <= 8, "{refused} requests were refused: more than can be under way at a time");
    assert!(waiting(&bench).await < before, "nothing that was read is kept");
}

#[tokio::test]
async fn where_little_is_allowed_it_waits_until_that_is_enough_to_read_some() {
    let (_simulator, bench) = little_allowed().await;
    let mut waits = Vec::new();
    while waits.len() < 8 {
        // At once each time, as if others spent whatever the key is allowed meanwhile.
        let step = bench.host.poll(&bench.org).await.unwrap();
        waits.extend(Some(step.wait_ms).filter(|wait| *wait > 0));
    }
    assert!(waits.is_sorted_by(|a, b| a <= b && *b <= 2 * a), "{waits:?}");
    assert_eq!((waits[0], waits[7]), (2_000, 16_000), "{waits:?}");
}

#[tokio::test]
async fn once_the_allowance_is_enough_the_waits_are_short_again() {
    let simulator = account(100, 33).await;
    let bench = Bench::connected(&simulator).await;
    bench.run(JobKind::Backfill).await.unwrap();
    let spent = |times| Fault::new(LOG, times, Effect::RateLimited { retry_after: Some("1".into()) });
    simulator.inject(spent(64));
    let mut waits = Vec::new();
    loop {
        let step = bench.host.poll(&bench.org).await.unwrap();
        waits.push(step.wait_ms);
        if !step.more {
            break;
        }
    }
    assert_eq!(waits.iter().max(), Some(&16_000), "{waits:?}");
    assert_eq!(waiting(&bench).await, 0);

    let id = simulator.incident_ids().pop().unwrap();
    let said = Change { message: Some("Still looking".into()), ..Change::default() };
    simulator.update(&id, said, now() + TimeDelta::minutes(1)).unwrap();
    simulator.inject(spent(1));
    bench.clock.advance(TimeDelta::minutes(10));
    let mut wait = 0;
    while wait == 0 {
        wait = bench.host.poll(&bench.org).await.unwrap().wait_ms;
    }
    assert_eq!(wait, 4_000, "the first one, and nothing was read");
}

#[tokio::test]
async fn one_that_cannot_be_read_now_does_not_keep_the_others_back() {
    let simulator = account(100, 33).await;
    let bench = Bench::connected(&simulator).await;
    bench.run(JobKind::Backfill).await.unwrap();
    simulator.inject(Fault::new(LOG, 1, Effect::Status { status: 500, body: Value::Null }));
    bench.run(JobKind::Poll).await.unwrap();
    // The step that failed for one of them read the others; the next step reads it too.
    assert_eq!(waiting(&bench).await, 0);

    let id = simulator.incident_ids().pop().unwrap();
    let said = Change { message: Some("Still looking".into()), ..Change::default() };
    simulator.update(&id, said, now() + TimeDelta::minutes(1)).unwrap();
    simulator.inject(Fault::new(LOG, 9, Effect::Status { status: 500, body: Value::Null }));
    bench.clock.advance(TimeDelta::minutes(10));
    let totals = bench.run(JobKind::Poll).await.unwrap();
    assert!(totals.steps <= 3, "it is asked for again with the next poll, not at once: {totals:?}");
    assert_eq!(waiting(&bench).await, 1);
}

#[tokio::test]
async fn a_log_that_the_key_may_not_read_does_not_take_the_updates_with_it() {
    let simulator = account(20, 34).await;
    let bench = Bench::connected(&simulator).await;
    let at = |minutes| now() + TimeDelta::minutes(minutes);
    let id = simulator.declare(NewIncident { name: "Down".into(), ..NewIncident::default() }, at(1)).unwrap();
    for (status, minute) in [("Investigating", 2), ("Documenting", 5), ("Fixing", 12), ("Closed", 25)] {
        let to = Change { status: Some(status.into()), ..Change::default() };
        simulator.update(&id, to, at(minute)).unwrap();
    }
    simulator.inject(Fault::new(LOG, 1_000, Effect::Status { status: 403, body: Value::Null }));
    bench.clock.advance(TimeDelta::minutes(30));
    bench.sync().await;
    // "Resolved at" is that of the first time, which only the updates tell.
    let end = bench.incident(&id).await.unwrap().resolved_at.unwrap();
    assert_eq!((end.rule.as_str(), end.at), ("status-transition", micros(at(25))));
    assert_eq!(waiting(&bench).await, 0);
}

#[tokio::test]
async fn empty_lists_of_an_incident_that_turned_private_erase_nothing() {
    let mut options = Options::new(30, 35, now());
    options.limits = None;
    options.keys = Keys::Listed([(KEY.to_string(), vec!["viewer".into(), "catalog_viewer".into()])].into());
    let simulator = Simulator::start(options).await.unwrap();
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let at = |minutes| now() + TimeDelta::minutes(minutes);
    let key = bench.incidents().await.first().unwrap().key.clone();
    let before = bench.store.timeline(&bench.org, &key).await.unwrap();
    assert!(before.iter().any(|event| event.kind == "note"));

    // Changed while it was public, which a poll sees, and private by the time that its timeline is read.
    let renamed = Change { name: Some("Renamed".into()), ..Change::default() };
    simulator.update(&key.id, renamed, at(1)).unwrap();
    bench.clock.advance(TimeDelta::minutes(10));
    assert!(bench.host.poll(&bench.org).await.unwrap().more);
    simulator.set_private(&key.id, true, at(2)).unwrap();
    bench.host.poll(&bench.org).await.unwrap();

    let after = bench.store.timeline(&bench.org, &key).await.unwrap();
    let gone = before.iter().find(|event| !after.contains(event));
    assert!(gone.is_none(), "{gone:?} is gone");
    assert!(bench.incident(&key.id).await.unwrap().private, "and what the empty lists meant is known");
    assert_eq!(waiting(&bench).await, 1, "one answer is no proof");
    bench.clock.advance(TimeDelta::minutes(10));
    bench.run(JobKind::Poll).await.unwrap();
    assert!(bench.incident(&key.id).await.unwrap().private);
    assert_eq!(waiting(&bench).await, 0);
}

#[tokio::test]
async fn an_incident_that_turned_private_is_hidden_before_it_can_be_asked_for() {
    let simulator = account(10, 36).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let id = simulator.incident_ids().pop().unwrap();
    simulator.set_private(&id, true, now() + TimeDelta::minutes(1)).unwrap();
    simulator.inject(Fault::new("/v2/incidents/", 1, Effect::Status { status: 503, body: Value::Null }));
    let kind = "private_incident.incident_updated_v2";
    let body = json!({"event_type": kind, kind: {"id": id}}).to_string();
    let delivery = bench.signed("msg_private", body.as_bytes(), HeaderFamily::Webhook);
    bench.host.receive(&bench.org, delivery).await.unwrap();
    assert!(bench.drain().await.iter().all(|row| row.state == DeliveryState::Done));
    assert!(bench.incident(&id).await.unwrap().private);
    bench.clock.advance(TimeDelta::minutes(10));
    bench.run(JobKind::Poll).await.unwrap();
    assert!(bench.incident(&id).await.unwrap().private, "this key may see it, and it is private");
    assert_eq!(waiting(&bench).await, 0);
}

#[tokio::test]
async fn an_escalation_has_the_logs_of_its_incidents_read_again() {
    let simulator = account(10, 37).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let (id, other) = (simulator.incident_ids().pop().unwrap(), simulator.incident_ids().swap_remove(0));
    let kind = "public_escalation.escalation_status_updated_v1";
    let escalation = json!({
        "id": "01ESC", "related_incidents": [{"id": id}, {"id": "01UNKNOWN"}],
        "created_at": now().to_rfc3339(), "updated_at": (now() + TimeDelta::minutes(3)).to_rfc3339(),
    });
    let body = json!({"event_type": kind, kind: {"escalation": escalation}}).to_string();
    let delivery = bench.signed("msg_escalation", body.as_bytes(), HeaderFamily::Webhook);
    bench.host.receive(&bench.org, delivery).await.unwrap();
    let rows = bench.drain().await;
    assert!(rows.iter().all(|row| row.state == DeliveryState::Done), "{rows:#?}");
    assert_eq!(waiting(&bench).await, 1);

    let acknowledged = (now() + TimeDelta::minutes(3)).to_rfc3339();
    let entry = json!({
        "id": "01ACK", "incident_id": id, "type": "escalation_acknowledged", "title": "Somebody is on it",
        "occurred_at": acknowledged, "created_at": acknowledged,
    });
    simulator.inject(Fault::new(LOG, 1, log(&[entry])));
    bench.clock.advance(TimeDelta::minutes(10));
    bench.run(JobKind::Poll).await.unwrap();
    let told = |timeline: &[koalr_host::contract::TimelineEvent]| {
        timeline.iter().any(|event| event.kind == "escalation_acknowledged" && event.id == "activity:01ACK")
    };
    let incident = bench.incident(&id).await.unwrap();
    assert!(told(&bench.store.timeline(&bench.org, &incident.key).await.unwrap()));
    let other = bench.incident(&other).await.unwrap();
    assert!(!told(&bench.store.timeline(&bench.org, &other.key).await.unwrap()));
}
