//! Deliveries: durable before they are acknowledged, applied once whatever happens, in any order.

use std::time::Duration;

use chrono::TimeDelta;
use koalr_host::contract::Phase;
use koalr_host::port::{Accepted, Clock, DeliveryFilter, DeliveryState, JobKind, NewDelivery};
use koalr_host::{Limits, ReceiveError};
use koalr_simulator::{Change, Effect, Fault, HeaderFamily, Mode, NewIncident, Simulator};
use serde_json::{Value, json};

use crate::support::*;

fn new_incident(simulator: &Simulator, private: bool) -> NewIncident {
    NewIncident {
        name: "Checkout is slow".into(),
        severity: simulator.severities().last().cloned(),
        services: vec![],
        mode: Mode::Standard,
        private,
        lead: None,
    }
}

fn event(event_type: &str, payload: &Value) -> Vec<u8> {
    json!({ "event_type": event_type, event_type: payload }).to_string().into_bytes()
}

async fn deliver(bench: &Bench, id: &str, body: &[u8]) -> Accepted {
    let delivery = bench.signed(id, body, HeaderFamily::Webhook);
    bench.host.receive(&bench.org, delivery).await.unwrap().accepted
}

#[tokio::test]
async fn the_documented_names_and_the_real_ones_lead_to_the_same_records() {
    let simulator = account(10, 6).await;
    let mut ends = Vec::new();
    for names in [
        ["incident.created", "incident.status_updated", "incident.resolved"],
        [
            "public_incident.incident_created_v2",
            "public_incident.incident_status_updated_v2",
            "public_incident.incident_status_updated_v2",
        ],
    ] {
        let bench = Bench::connected(&simulator).await;
        let id = simulator.declare(new_incident(&simulator, false), now()).unwrap();
        let mut outcomes = Vec::new();
        for (number, (name, status)) in
            names.into_iter().zip([None, Some("Fixing"), Some("closed")]).enumerate()
        {
            if let Some(status) = status {
                let at = now() + TimeDelta::minutes(10 * number as i64);
                let change = Change { status: Some(status.into()), ..Change::default() };
                simulator.update(&id, change, at).unwrap();
            }
            let raw = simulator.raw_incident(&id).unwrap();
            let payload = if number == 0 { raw } else { json!({"incident": raw, "message": "moved"}) };
            assert_eq!(
                deliver(&bench, &format!("msg_{number}"), &event(name, &payload)).await,
                Accepted::New
            );
            outcomes.push(bench.drain().await.pop().unwrap().outcome.unwrap());
        }
        assert_eq!(outcomes, ["created", "updated", "resolved"]);
        let mut record = bench.incident(&id).await.unwrap();
        assert_eq!(record.phase, Phase::Closed);
        assert_eq!(record.resolved_at.as_ref().unwrap().at, micros(now() + TimeDelta::minutes(20)));
        // Two incidents of the same life differ in what names them only.
        record.key.id.clear();
        (record.reference, record.permalink) = (None, None);
        ends.push(record);
    }
    assert_eq!(ends[0], ends[1]);
}

#[tokio::test]
async fn a_delivery_is_applied_once_however_often_it_is_sent() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    let id = simulator.declare(new_incident(&simulator, false), now()).unwrap();
    let body = event("incident.created", &simulator.raw_incident(&id).unwrap());
    assert_eq!(deliver(&bench, "msg_1", &body).await, Accepted::New);
    assert_eq!(deliver(&bench, "msg_1", &body).await, Accepted::Duplicate);
    let rows = bench.drain().await;
    assert_eq!(rows.len(), 1);
    bench.clock.advance(TimeDelta::minutes(4));
    assert_eq!(deliver(&bench, "msg_1", &body).await, Accepted::Duplicate, "signed anew, the same id");
    assert_eq!(bench.drain().await, rows);
    assert_eq!(bench.incidents().await.len(), 1);
}

#[tokio::test]
async fn late_and_reordered_deliveries_end_in_the_newest_state() {
    let simulator = account(10, 6).await;
    let (in_order, reversed) = (Bench::connected(&simulator).await, Bench::connected(&simulator).await);
    let id = simulator.declare(new_incident(&simulator, false), now()).unwrap();
    let mut bodies = vec![event("incident.created", &simulator.raw_incident(&id).unwrap())];
    for (minutes, status) in [(5, "Fixing"), (9, "Monitoring"), (20, "closed")] {
        let change = Change { status: Some(status.into()), ..Change::default() };
        simulator.update(&id, change, now() + TimeDelta::minutes(minutes)).unwrap();
        let payload = json!({"incident": simulator.raw_incident(&id).unwrap()});
        bodies.push(event("public_incident.incident_status_updated_v2", &payload));
    }
    for (number, body) in bodies.iter().enumerate() {
        deliver(&in_order, &format!("msg_{number}"), body).await;
        in_order.drain().await;
    }
    for (number, body) in bodies.iter().enumerate().rev() {
        deliver(&reversed, &format!("msg_{number}"), body).await;
        reversed.drain().await;
    }
    assert_eq!(in_order.incident(&id).await.unwrap(), reversed.incident(&id).await.unwrap());
    assert_eq!(reversed.incident(&id).await.unwrap().phase, Phase::Closed);
}

#[tokio::test]
async fn a_private_incident_is_fetched_because_its_delivery_names_it_only() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    let id = simulator.declare(new_incident(&simulator, true), now()).unwrap();
    let body = event("private_incident.incident_created_v2", &json!({ "id": id }));
    deliver(&bench, "msg_1", &body).await;
    assert_eq!(bench.drain().await[0].outcome.as_deref(), Some("created"));
    let record = bench.incident(&id).await.unwrap();
    assert!(record.private);
    assert_eq!(record.title, "Checkout is slow");
}

#[tokio::test]
async fn an_event_that_nobody_knows_is_taken_and_ignored_for_a_reason() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    let known = ["schedule.shift_change_v1", "public_alert.alert_created_v1", "galaxy.exploded_v9"];
    for (number, name) in known.into_iter().enumerate() {
        deliver(&bench, &format!("msg_{number}"), &event(name, &json!({"id": "x"}))).await;
    }
    for row in bench.drain().await {
        assert_eq!(row.state, DeliveryState::Done);
        assert!(row.outcome.as_deref().unwrap().starts_with("ignored: "), "{row:?}");
    }
    assert!(bench.incidents().await.is_empty());
}

#[tokio::test]
async fn a_failure_while_applying_is_tried_again_and_loses_nothing() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    let id = simulator.declare(new_incident(&simulator, true), now()).unwrap();
    simulator.inject(Fault::new("/v2/incidents/", 1, Effect::Status { status: 502, body: Value::Null }));
    deliver(&bench, "msg_1", &event("private_incident.incident_created_v2", &json!({ "id": id }))).await;
    let row = bench.drain().await.remove(0);
    assert_eq!((row.state, row.attempts), (DeliveryState::Pending, 1));
    assert!(row.error.unwrap().contains("502"));
    assert_eq!(bench.incident(&id).await, None);
    bench.clock.advance(TimeDelta::minutes(1));
    let row = bench.drain().await.remove(0);
    assert_eq!((row.state, row.attempts, row.outcome.as_deref()), (DeliveryState::Done, 2, Some("created")));
    assert!(bench.incident(&id).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_takes_long_does_not_keep_the_others_waiting() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    let slow = simulator.declare(new_incident(&simulator, true), now()).unwrap();
    let fast = simulator.declare(new_incident(&simulator, false), now()).unwrap();
    simulator.inject(Fault::new("/v2/incidents/", 1, Effect::Hang(Duration::from_secs(600))));
    let (stop, working) = at_work(&bench);
    deliver(&bench, "msg_1", &event("private_incident.incident_created_v2", &json!({ "id": slow }))).await;
    let asked = || simulator.requests().iter().any(|request| request.path.contains(&slow));
    eventually(async || asked()).await;
    let whole = simulator.raw_incident(&fast).unwrap();
    deliver(&bench, "msg_2", &event("public_incident.incident_created_v2", &whole)).await;
    eventually(async || bench.incident(&fast).await.is_some()).await;
    // Asked to stop, it gives back what it has in hand: the next worker finds it due without a wait.
    drop(stop);
    working.await.unwrap();
    simulator.clear_faults();
    bench.drain().await;
    assert!(bench.incident(&slow).await.is_some());
}

#[tokio::test]
async fn the_timeline_of_an_incident_that_can_no_longer_be_seen_is_kept() {
    let mut options = koalr_simulator::Options::new(40, 31, now());
    let roles = vec!["viewer".to_string(), "catalog_viewer".to_string()];
    options.keys = koalr_simulator::Keys::Listed([(KEY.to_string(), roles)].into());
    let simulator = Simulator::start(options).await.unwrap();
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let incident = bench.incidents().await.into_iter().next().unwrap();
    let id = &incident.key.id;
    let before = bench.store.timeline(&bench.org, &incident.key).await.unwrap();
    assert!(before.len() > 1);

    // It changes, which makes its timeline due to be read again, and is hidden before that happens.
    let said = Change { message: Some("Still looking".into()), ..Change::default() };
    simulator.update(id, said, now() + TimeDelta::minutes(1)).unwrap();
    let whole = simulator.raw_incident(id).unwrap();
    deliver(&bench, "msg_1", &event("public_incident.incident_updated_v2", &whole)).await;
    bench.drain().await;
    simulator.set_private(id, true, now() + TimeDelta::minutes(2)).unwrap();
    deliver(&bench, "msg_2", &event("private_incident.incident_updated_v2", &json!({ "id": id }))).await;
    bench.drain().await;
    bench.clock.advance(TimeDelta::minutes(10));
    bench.run(JobKind::Poll).await.unwrap();
    assert!(bench.incident(id).await.unwrap().private);
    let after = bench.store.timeline(&bench.org, &incident.key).await.unwrap();
    assert!(before.iter().all(|event| after.contains(event)), "{after:#?}");
}

#[tokio::test]
async fn a_poison_delivery_ends_among_the_dead_and_its_neighbours_do_not_wait() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    let poison = simulator.declare(new_incident(&simulator, true), now()).unwrap();
    let failing = Effect::Status { status: 500, body: Value::Null };
    simulator.inject(Fault::new(format!("/v2/incidents/{poison}"), u32::MAX, failing));
    deliver(&bench, "poison", &event("private_incident.incident_created_v2", &json!({ "id": poison }))).await;
    let mut neighbours = Vec::new();
    for number in 0..5 {
        let id = simulator.declare(new_incident(&simulator, false), now()).unwrap();
        let whole = simulator.raw_incident(&id).unwrap();
        deliver(&bench, &format!("msg_{number}"), &event("public_incident.incident_created_v2", &whole))
            .await;
        neighbours.push(id);
    }
    bench.drain().await;
    for id in &neighbours {
        assert!(bench.incident(id).await.is_some(), "{id}");
    }
    let mut attempts = 0;
    let dead = loop {
        bench.clock.advance(TimeDelta::hours(1));
        let row = bench.drain().await.into_iter().find(|row| row.id.as_str() == "poison").unwrap();
        assert!(row.attempts > attempts, "it is tried again: {row:?}");
        attempts = row.attempts;
        if row.state == DeliveryState::Dead {
            break row;
        }
    };
    assert!(dead.error.as_deref().unwrap().contains("500"), "{dead:?}");
    // A person sees to the cause, and has it applied again.
    simulator.clear_faults();
    assert!(bench.store.replay(&bench.org, &dead.id, micros(now())).await.unwrap());
    bench.drain().await;
    assert!(bench.incident(&poison).await.is_some());
}

#[tokio::test]
async fn a_slow_provider_holds_up_the_deliveries_of_its_own_organisation_only() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    let other: koalr_host::id::OrgId = "umbrella".parse().unwrap();
    bench.host.connect(&other, connect_with(KEY, &simulator.base_url())).await.unwrap();
    simulator.inject(Fault::new("/v2/incidents/", u32::MAX, Effect::Hang(Duration::from_secs(600))));
    for number in 0..200 {
        let body = event("private_incident.incident_created_v2", &json!({ "id": format!("01SLOW{number}") }));
        deliver(&bench, &format!("slow_{number}"), &body).await;
    }
    let (stop, working) = at_work(&bench);
    eventually(async || simulator.requests().iter().any(|request| request.path.contains("01SLOW"))).await;
    let id = simulator.declare(new_incident(&simulator, false), now()).unwrap();
    let body = event("public_incident.incident_created_v2", &simulator.raw_incident(&id).unwrap());
    let delivery = bench.signed("fast", &body, HeaderFamily::Webhook);
    bench.host.receive(&other, delivery).await.unwrap();
    eventually(async || bench.store.find_incident(&other, &id).await.unwrap().is_some()).await;
    drop(stop);
    working.await.unwrap();
}

/// The provider does not answer for one incident, of which a row of deliveries arrived.
#[tokio::test]
async fn a_slow_incident_holds_up_its_own_deliveries_only() {
    let simulator = account(10, 6).await;
    let bench = Bench::connected(&simulator).await;
    simulator.inject(Fault::new("/v2/incidents/01SLOW", u32::MAX, Effect::Hang(Duration::from_secs(600))));
    let slow = event("private_incident.incident_updated_v2", &json!({ "id": "01SLOW" }));
    for number in 0..50 {
        deliver(&bench, &format!("slow_{number}"), &slow).await;
    }
    let (stop, working) = at_work(&bench);
    eventually(async || simulator.requests().iter().any(|request| request.path.contains("01SLOW"))).await;
    let id = simulator.declare(new_incident(&simulator, false), now()).unwrap();
    let body = event("public_incident.incident_created_v2", &simulator.raw_incident(&id).unwrap());
    deliver(&bench, "fast", &body).await;
    eventually(async || bench.incident(&id).await.is_some()).await;
    drop(stop);
    working.await.unwrap();
    // None of those that waited for it has lost an attempt; the first was given back too when the worker ended.
    let rows = bench.store.deliveries(&bench.org, &DeliveryFilter::default()).await.unwrap();
    let waiting = rows.iter().filter(|row| row.id.as_str().starts_with("slow_") && row.attempts == 0);
    assert_eq!(waiting.count(), 50);
}

#[tokio::test]
async fn a_full_inbox_refuses_and_stores_nothing() {
    let simulator = account(10, 6).await;
    let bench = Bench::with_limits(Limits { pending: 2, ..Limits::default() }).await;
    bench.connect(&simulator.base_url()).await.unwrap();
    for id in ["msg_1", "msg_2"] {
        let new = NewDelivery {
            id: id.parse().unwrap(),
            event_type: "unknown".into(),
            incident: None,
            received_at: bench.clock.now(),
            delivery: bench.signed(id, br#"{"event_type":"galaxy.exploded_v9"}"#, HeaderFamily::Webhook),
        };
        bench.store.accept(&bench.org, new).await.unwrap();
    }
    let send = async || {
        bench
            .host
            .receive(
                &bench.org,
                bench.signed("msg_3", br#"{"event_type":"galaxy.exploded_v9"}"#, HeaderFamily::Webhook),
            )
            .await
    };
    let refused = send().await.unwrap_err();
    assert!(matches!(refused, ReceiveError::Backlog(2)), "{refused}");
    assert_eq!(bench.drain().await.len(), 2, "what is refused is not stored");
    // There is room again as soon as what waits is counted anew.
    eventually(async || send().await.is_ok()).await;
    assert_eq!(bench.drain().await.len(), 3);
}
