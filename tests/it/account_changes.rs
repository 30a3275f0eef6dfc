//! What an account and its connection look like is read again, and what changed there reaches stored incidents.

use chrono::TimeDelta;
use koalr_host::port::JobKind;
use koalr_host::{Connect, HostError};
use koalr_simulator::{Effect, Fault, Keys, Options, Simulator};
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn an_endpoint_that_is_gone_costs_what_depends_on_it_and_not_the_sync() {
    let simulator = account(20, 38).await;
    simulator.inject(Fault::new("/v1/severities", 1_000, Effect::Status { status: 410, body: Value::Null }));
    let bench = Bench::connected(&simulator).await;
    assert!(bench.sync().await.created > 0);
    assert!(bench.incidents().await.iter().all(|incident| incident.priority_rule != "rank"));
    simulator.clear_faults();
    // Tried again within hours, not on the next day.
    bench.clock.advance(TimeDelta::hours(2));
    let step = bench.host.poll(&bench.org).await.unwrap();
    assert!(step.rederive);
    let mut after = None;
    loop {
        after = bench.host.rederive(&bench.org, after.as_deref()).await.unwrap().next;
        if after.is_none() {
            break;
        }
    }
    assert!(bench.incidents().await.iter().any(|incident| incident.priority_rule == "rank"));
    assert!(!bench.host.poll(&bench.org).await.unwrap().rederive, "an order that was carried out is over");
}

#[tokio::test]
async fn the_order_to_derive_anew_is_not_lost_with_the_step_that_gave_it() {
    let simulator = account(20, 39).await;
    let bench = Bench::connected(&simulator).await;
    bench.run(JobKind::Backfill).await.unwrap();
    let name = simulator.severities().pop().unwrap();
    simulator.with_account(|account| account.rename_severity(&name, "Catastrophe")).unwrap();
    bench.clock.advance(TimeDelta::days(1));
    simulator.inject(Fault::new("/v2/incidents", 1, Effect::Status { status: 503, body: Value::Null }));
    bench.host.poll(&bench.org).await.unwrap_err();
    assert!(bench.host.poll(&bench.org).await.unwrap().rederive);
    assert!(bench.incidents().await.iter().any(|incident| {
        incident.severity.as_ref().is_some_and(|severity| severity.name == "Catastrophe")
    }));
}

#[tokio::test]
async fn a_refused_key_of_another_account_changes_no_settings() {
    let simulator = account(30, 9).await;
    let bench = Bench::new().await;
    let without_private = |connect: Connect| Connect {
        settings: koalr_host::contract::Settings { include_private: false, ..connect.settings },
        ..connect
    };
    let connect = || connect_with(KEY, &simulator.base_url());
    bench.host.connect(&bench.org, without_private(connect())).await.unwrap();
    let other = json!({ "identity": {
        "name": "Other", "dashboard_url": "https://app.incident.io/other", "roles": ["viewer"],
    } });
    simulator.inject(Fault::new("/v1/identity", 1, Effect::Body(other)));
    let refused = bench.host.connect(&bench.org, connect()).await;
    assert!(matches!(refused, Err(HostError::Plugin(_))), "{refused:?}");
    bench.sync().await;
    assert!(bench.incidents().await.iter().all(|incident| !incident.private));
}

#[tokio::test]
async fn a_key_that_sees_more_is_made_use_of_at_once() {
    let mut options = Options::new(30, 9, now());
    options.limits = None;
    let roles = |roles: &[&str]| roles.iter().map(ToString::to_string).collect::<Vec<_>>();
    let keys = [("inc_less", roles(&["viewer"])), ("inc_more", roles(&["viewer", "catalog_viewer"]))];
    options.keys = Keys::Listed(keys.map(|(key, roles)| (key.to_string(), roles)).into());
    let simulator = Simulator::start(options).await.unwrap();
    let bench = Bench::new().await;
    bench.host.connect(&bench.org, connect_with("inc_less", &simulator.base_url())).await.unwrap();
    let seen = simulator.requests().len();
    bench.host.connect(&bench.org, connect_with("inc_more", &simulator.base_url())).await.unwrap();
    let catalog = simulator.requests().split_off(seen).into_iter().find(|r| r.path == "/v3/catalog_types");
    assert_eq!(catalog.map(|request| request.status), Some(200));
}

#[tokio::test]
async fn a_longer_history_is_imported_and_a_shorter_one_is_not_imported_again() {
    let simulator = account(60, 10).await;
    let bench = Bench::new().await;
    let connect = async |days| {
        let mut connect = connect_with(KEY, &simulator.base_url());
        connect.settings.history_days = Some(days);
        bench.host.connect(&bench.org, connect).await.unwrap();
        bench.store.job(&bench.org, JobKind::Backfill).await.unwrap().unwrap()
    };
    connect(20).await;
    let few = bench.run(JobKind::Backfill).await.unwrap().created;
    assert_eq!(connect(10).await.run_at, None, "less than there is");
    let job = connect(60).await;
    assert!(job.run_at.is_some());
    let more = bench.run(JobKind::Backfill).await.unwrap().created;
    assert!(few > 0 && more > 0, "{few} and then {more}");
}

#[tokio::test]
async fn a_first_import_and_a_reconnection_that_finds_nothing_new_derive_nothing_anew() {
    let simulator = account(20, 11).await;
    let bench = Bench::connected(&simulator).await;
    assert!(!bench.host.backfill(&bench.org, &bench.backfill_request()).await.unwrap().rederive);
    bench.connect(&simulator.base_url()).await.unwrap();
    assert!(!bench.host.poll(&bench.org).await.unwrap().rederive);
}
