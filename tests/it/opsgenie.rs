//! Moving from Opsgenie: its history is imported whole and once, an incident that both tools know is counted once, and
//! what was imported can be removed without a trace.

use chrono::{DateTime, TimeDelta};
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{
    Incident, MttrQuery, OpsgenieAccount, OpsgenieRegion, Phase, Priority, Statistics, Step,
};
use koalr_host::migration::{Effect, History, Prepare, SOURCES, State};
use koalr_host::port::{Alias, AliasKind, HostService, HostUser, OriginMapping, Population};
use koalr_host::scheduler::{Event, Scheduler};
use koalr_host::vault::Secret;
use koalr_host::{Host, HostError};
use koalr_simulator::Simulator;
use koalr_simulator::opsgenie::{Content, Dates, Opsgenie, OpsgenieOptions, Plan, Throttle};
use serde_json::{Value, json};

use crate::support::*;

const GENIE_KEY: &str = "genie_test_key";

fn options(incidents: usize) -> OpsgenieOptions {
    OpsgenieOptions { key: Some(GENIE_KEY.into()), ..OpsgenieOptions::new(incidents, 5, now()) }
}

fn account(alerts: bool) -> OpsgenieAccount {
    OpsgenieAccount { region: OpsgenieRegion::Eu, alerts, alert_ids: false }
}

/// Everything that the simulated account may hold.
fn everything() -> History {
    History::Account {
        account: account(false),
        since: micros(now() - TimeDelta::days(400)),
        until: micros(now()),
    }
}

/// An organisation of incident.io's, whose Opsgenie is this one.
async fn prepared(simulator: &Simulator, opsgenie: &Opsgenie) -> Bench {
    let bench = Bench::connected(simulator).await;
    prepare(&bench, opsgenie).await;
    bench
}

async fn prepare(bench: &Bench, opsgenie: &Opsgenie) {
    let mapping = OriginMapping { from: "https://api.eu.opsgenie.com".into(), to: opsgenie.base_url() };
    let prepare =
        Prepare { key: Some(Secret::new(GENIE_KEY.into())), origin_map: vec![mapping], ..Prepare::default() };
    bench.host.prepare_migration(&bench.org, prepare).await.unwrap();
}

async fn run(bench: &Bench, history: History) -> Result<koalr_host::migration::Summary, HostError> {
    bench.host.run_migration(&bench.org, history, &mut |_: &Step| {}).await
}

async fn plan(bench: &Bench, history: History) -> Result<koalr_host::migration::Plan, HostError> {
    bench.host.plan_migration(&bench.org, history, &Prepare::default(), &mut |_: &Step| {}).await
}

/// All incidents of these sources, by creation.
async fn stored(bench: &Bench, sources: &[&str]) -> Vec<Incident> {
    let mut all = bench.store.incidents_of(&bench.org, sources, None, u32::MAX).await.unwrap();
    all.sort_by_key(|incident| incident.created_at);
    all
}

async fn imported(bench: &Bench) -> Vec<Incident> {
    stored(bench, &SOURCES).await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn instant(value: &Value) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(value.as_str()?).unwrap().timestamp_micros())
}

/// A piece of saved records.
fn saved(content: &Content) -> History {
    let mut incidents = content.incidents.clone();
    for incident in &mut incidents {
        let entries = &content.timelines[incident["id"].as_str().unwrap()];
        incident["timeline"] = json!({ "entries": entries });
    }
    let piece = json!({"users": content.users, "services": content.services, "incidents": incidents});
    History::Saved(vec![piece.to_string().into_bytes()])
}

#[tokio::test]
async fn history_comes_with_its_own_times_people_and_services() {
    let (simulator, opsgenie) =
        (crate::support::account(5, 3).await, Opsgenie::start(options(120)).await.unwrap());
    let bench = prepared(&simulator, &opsgenie).await;
    let user = HostUser { id: "u-1".into(), email: "AMARA0@northwind.example".into(), name: None };
    bench.host.import_users(&bench.org, vec![user]).await.unwrap();
    let service =
        HostService { id: "s-1".into(), name: "Payments API".into(), external_ids: vec![], aliases: vec![] };
    bench.host.import_services(&bench.org, vec![service]).await.unwrap();

    let summary = run(&bench, everything()).await.unwrap();
    assert_eq!((summary.fetched, summary.created), (120, 120));
    let content = opsgenie.content();
    let stored = imported(&bench).await;
    assert_eq!(stored.len(), content.incidents.len());
    for (record, told) in stored.iter().zip(&content.incidents) {
        assert_eq!((record.key.source.as_str(), record.key.id.as_str()), ("opsgenie", text(told, "id")));
        assert_eq!(record.title, text(told, "message"));
        assert_eq!(record.created_at, instant(&told["createdAt"]));
        let priority = match text(told, "priority") {
            "P1" => Priority::P1,
            "P2" => Priority::P2,
            "P3" => Priority::P3,
            _ => Priority::P4,
        };
        assert_eq!(record.priority, Some(priority));
        assert_eq!(record.severity.as_ref().unwrap().name, text(told, "priority"), "as it was told");
        let timeline = &content.timelines[&record.key.id];
        let entry = |kind: &str| timeline.iter().rev().find(|entry| entry["type"] == kind);
        let at = |kind: &str| entry(kind).and_then(|entry| instant(&entry["eventTime"]));
        let resolved = record.resolved_at.as_ref().map(|time| (time.at, time.rule.as_str()));
        match (text(told, "status"), instant(&told["impactEndDate"])) {
            ("open", _) => assert_eq!((record.phase, resolved), (Phase::Active, None)),
            (_, Some(end)) => assert_eq!(resolved, Some((end, "impact-end"))),
            (_, None) => assert_eq!(resolved, Some((at("IncidentClosed").unwrap(), "timeline-closed"))),
        }
        assert_eq!(record.acknowledged_at.as_ref().map(|time| time.at), at("ResponderAlertAcked"));
        let events = bench.store.timeline(&bench.org, &record.key).await.unwrap();
        assert_eq!(events.len(), timeline.iter().filter(|entry| entry["hidden"] == false).count());
    }
    let known: Vec<_> =
        stored.iter().flat_map(|one| &one.services).filter(|s| s.service_id.is_some()).collect();
    assert!(!known.is_empty() && known.iter().all(|service| service.name == "payments-api"));
    let people: Vec<_> = stored.iter().flat_map(|one| &one.responders).collect();
    assert!(people.iter().any(|one| one.user_id.as_deref() == Some("u-1")));
    let emails =
        people.iter().filter(|one| one.email.as_deref().is_some_and(|email| email.contains('@'))).count();
    assert_eq!(emails, 120, "one person on each, by the list of users");
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_a_changed_source_its_row() {
    let (simulator, opsgenie) =
        (crate::support::account(5, 3).await, Opsgenie::start(options(30)).await.unwrap());
    let bench = prepared(&simulator, &opsgenie).await;
    run(&bench, everything()).await.unwrap();
    let before = imported(&bench).await;
    let again = run(&bench, everything()).await.unwrap();
    assert_eq!((again.fetched, again.created, again.updated), (30, 0, 0));
    assert_eq!(imported(&bench).await, before);
    // The same records as files.
    let from_files = run(&bench, saved(&opsgenie.content())).await.unwrap();
    assert_eq!((from_files.fetched, from_files.created, from_files.updated), (30, 0, 0));
    assert_eq!(imported(&bench).await, before);

    let mut content = opsgenie.content();
    content.incidents[3]["message"] = json!("renamed");
    content.incidents[3]["updatedAt"] = json!("2026-11-20T11:00:00Z");
    opsgenie.replace(content);
    let changed = run(&bench, everything()).await.unwrap();
    assert_eq!((changed.created, changed.updated > 0), (0, true));
    let after = imported(&bench).await;
    let differ: Vec<_> = after.iter().zip(&before).filter(|(after, before)| after != before).collect();
    assert_eq!(differ.len(), 1);
    assert_eq!(differ[0].0.title, "renamed");
}

#[tokio::test]
async fn files_and_the_api_give_the_same_records() {
    let (simulator, opsgenie) =
        (crate::support::account(1, 3).await, Opsgenie::start(options(40)).await.unwrap());
    let (live, from_files) = (prepared(&simulator, &opsgenie).await, Bench::connected(&simulator).await);
    run(&live, everything()).await.unwrap();
    run(&from_files, saved(&opsgenie.content())).await.unwrap();
    assert_eq!(imported(&live).await, imported(&from_files).await);
}

#[tokio::test]
async fn an_import_that_is_cut_off_goes_on_and_loses_nothing() {
    let (simulator, opsgenie) =
        (crate::support::account(1, 3).await, Opsgenie::start(options(260)).await.unwrap());
    let (clean, cut) = (prepared(&simulator, &opsgenie).await, prepared(&simulator, &opsgenie).await);
    run(&clean, everything()).await.unwrap();
    let requests = opsgenie.requests().len();
    for (failing, enough) in [(500, 2), (429, 5), (503, 9)] {
        // A passing fault, and some steps later the process is killed.
        opsgenie.fail_next(failing, 1);
        let (told, mut steps) = tokio::sync::mpsc::unbounded_channel();
        let (host, org) = (cut.host.clone(), cut.org.clone());
        let importing = tokio::spawn(async move {
            // As a person repeats it: up to now, which is later every time.
            let History::Account { account, since, until } = everything() else { unreachable!() };
            let history = History::Account { account, since, until: until + enough * 1_000_000 };
            host.run_migration(&org, history, &mut |_: &Step| told.send(()).unwrap_or_default()).await
        });
        for _ in 0..enough {
            steps.recv().await.unwrap();
        }
        let busy = cut.host.undo_migration(&cut.org).await.unwrap_err();
        assert!(matches!(busy, HostError::MigrationBusy), "nobody undoes what is under way: {busy}");
        importing.abort();
        assert!(importing.await.is_err());
        // A killed process's lease runs out.
        cut.clock.advance(TimeDelta::minutes(1));
    }
    run(&cut, everything()).await.unwrap();
    assert_eq!(imported(&cut).await, imported(&clean).await);
    // All of the first pages were not read again and again.
    assert!(opsgenie.requests().len() < requests * 2 + 40, "{} after {requests}", opsgenie.requests().len());
}

#[tokio::test]
async fn more_than_a_list_reaches_is_read_window_by_window() {
    let many = OpsgenieOptions { days: 30, ..options(20_100) };
    let (simulator, opsgenie) = (crate::support::account(1, 3).await, Opsgenie::start(many).await.unwrap());
    let bench = prepared(&simulator, &opsgenie).await;
    // A plan asks for timelines only where an end is missing, and lists as an import does.
    let mut content = opsgenie.content();
    for incident in &mut content.incidents {
        incident["status"] = json!("open");
    }
    opsgenie.replace(content);
    let plan = plan(&bench, everything()).await.unwrap();
    assert_eq!(plan.rows.len(), 20_100);
    let lists = opsgenie.requests().into_iter().filter(|request| request.starts_with("/v1/incidents?"));
    let offsets: Vec<u32> = lists
        .map(|request| request.split("offset=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap())
        .collect();
    assert!(offsets.iter().all(|offset| offset + 100 <= 20_000), "{:?}", offsets.iter().max());
    assert!(offsets.len() < 215, "{} requests for 201 pages", offsets.len());
}

#[tokio::test]
async fn a_second_with_more_than_a_list_reaches_is_told_and_its_reachable_part_imported() {
    let (simulator, opsgenie) =
        (crate::support::account(1, 3).await, Opsgenie::start(options(1)).await.unwrap());
    let bench = prepared(&simulator, &opsgenie).await;
    let mut content = opsgenie.content();
    let one = content.incidents[0].clone();
    content.incidents = (0..20_050)
        .map(|number| {
            let mut incident = one.clone();
            incident["id"] = json!(format!("{number:05}-of-the-same-second"));
            incident["status"] = json!("open");
            incident
        })
        .collect();
    opsgenie.replace(content);
    let plan = plan(&bench, everything()).await.unwrap();
    let blocked: Vec<_> = plan.rows.iter().filter(|row| row.state == State::Blocked).collect();
    assert_eq!((plan.rows.len(), blocked.len()), (20_001, 1));
    assert_eq!(blocked[0].reasons[0].code, "window-over-cap");
}

#[tokio::test]
async fn dates_that_are_not_understood_are_written_otherwise_and_ignored_ones_end_the_import() {
    let simulator = crate::support::account(1, 3).await;
    let seconds = Opsgenie::start(OpsgenieOptions { dates: Dates::Seconds, ..options(10) }).await.unwrap();
    let bench = prepared(&simulator, &seconds).await;
    assert_eq!(run(&bench, everything()).await.unwrap().created, 10);

    let ignored = Opsgenie::start(OpsgenieOptions { dates: Dates::Ignored, ..options(10) }).await.unwrap();
    let bench = prepared(&simulator, &ignored).await;
    let History::Account { account, until, .. } = everything() else { unreachable!() };
    let recent = History::Account { account, since: until - 1_000_000, until };
    let error = run(&bench, recent).await.unwrap_err().to_string();
    assert!(error.contains("outside of the interval"), "{error}");
    assert!(imported(&bench).await.is_empty());
}

#[tokio::test]
async fn a_wrong_region_a_plan_and_a_missing_right_each_have_their_message() {
    let simulator = crate::support::account(1, 3).await;
    let other_key = OpsgenieOptions { key: Some("of another region".into()), ..options(3) };
    let without = |plan| OpsgenieOptions { plan, ..options(3) };
    for (options, expected) in [
        (other_key, "api.eu.opsgenie.com (eu)"),
        (without(Plan::WithoutIncidents), "Standard and Enterprise; import its alerts instead"),
        (without(Plan::WithoutRight), "if the plan has no incidents, import its alerts instead"),
    ] {
        let opsgenie = Opsgenie::start(options).await.unwrap();
        let bench = prepared(&simulator, &opsgenie).await;
        for error in
            [plan(&bench, everything()).await.unwrap_err(), run(&bench, everything()).await.unwrap_err()]
        {
            let error = error.to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(imported(&bench).await.is_empty(), "nothing is half-imported");
        let status = bench.host.migration_status(&bench.org).await.unwrap();
        assert_eq!((status.migration.begun_at, status.migration.under_way), (None, None));
        let refused = expected.contains("(eu)");
        assert_eq!(
            bench.host.has_migration_key(&bench.org).await.unwrap(),
            !refused,
            "a refused key is not kept"
        );
    }
}

#[tokio::test]
async fn alerts_stand_in_for_incidents_under_a_name_of_their_own() {
    let simulator = crate::support::account(1, 3).await;
    let plan = OpsgenieOptions { plan: Plan::WithoutIncidents, ..options(40) };
    let opsgenie = Opsgenie::start(plan).await.unwrap();
    let bench = prepared(&simulator, &opsgenie).await;
    let History::Account { since, until, .. } = everything() else { unreachable!() };
    let alerts = || History::Account { account: account(true), since, until };
    assert_eq!(run(&bench, alerts()).await.unwrap().created, 40);
    let stored = imported(&bench).await;
    assert!(stored.iter().all(|one| one.key.source == "opsgenie-alerts"));
    for (record, told) in stored.iter().zip(opsgenie.content().alerts) {
        let created = instant(&told["createdAt"]).unwrap();
        let closed = told["report"]["closeTime"].as_i64().filter(|_| told["status"] == "closed");
        let expected = closed.map(|ms| (created + ms * 1_000, "alert-close-time"));
        assert_eq!(record.resolved_at.as_ref().map(|time| (time.at, time.rule.as_str())), expected);
    }
    // With their incidents imported, the alerts that told responders of them are none.
    let whole = Opsgenie::start(options(40)).await.unwrap();
    let bench = prepared(&simulator, &whole).await;
    run(&bench, everything()).await.unwrap();
    assert_eq!(run(&bench, alerts()).await.unwrap().created, 0);
}

#[tokio::test]
async fn haste_is_answered_with_patience() {
    let simulator = crate::support::account(1, 3).await;
    let throttle = Some(Throttle { per_minute: 80 });
    let opsgenie = Opsgenie::start(OpsgenieOptions { throttle, ..options(94) }).await.unwrap();
    let bench = prepared(&simulator, &opsgenie).await;
    assert_eq!(run(&bench, everything()).await.unwrap().created, 94);
    let told: Vec<Incident> = imported(&bench).await;
    assert!(told.iter().all(|one| one.acknowledged_at.is_some()), "all timelines were read");
    // Users, services, one page of incidents, and their timelines; the rest was refused and asked again.
    assert!(opsgenie.requests().len() > 3 + 94);
}

#[tokio::test]
async fn a_plan_says_what_becomes_of_each_record_and_writes_nothing() {
    let (simulator, opsgenie) =
        (crate::support::account(5, 3).await, Opsgenie::start(options(60)).await.unwrap());
    let bench = prepared(&simulator, &opsgenie).await;
    bench.sync().await;
    let before = bench.incidents().await;
    let mut content = opsgenie.content();
    content.incidents[1]["status"] = json!("pondering");
    content.incidents[2].as_object_mut().unwrap().remove("createdAt");
    opsgenie.replace(content.clone());

    let told = plan(&bench, saved(&content)).await.unwrap();
    assert_eq!(bench.incidents().await, before);
    assert!(imported(&bench).await.is_empty());
    assert_eq!(bench.store.state(&bench.org, "opsgenie").await.unwrap(), None);
    assert_eq!(
        bench.store.migration(&bench.org, "opsgenie").await.unwrap().unwrap_or_default(),
        Default::default()
    );
    assert_eq!((told.rows.len(), told.count(State::Blocked)), (60, 1));
    let row = |number: usize| {
        told.rows.iter().find(|row| row.id == text(&content.incidents[number], "id")).unwrap()
    };
    let codes =
        |number: usize| row(number).reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>();
    assert_eq!((row(2).state, codes(2)), (State::Blocked, vec!["no-creation-time"]));
    assert!(codes(1).contains(&"unknown-phase") && codes(1).contains(&"unmatched-person"));
    assert_eq!(row(0).effect, Effect::New);
    assert!(told.people.iter().all(|one| one.name.ends_with("@northwind.example")));
    assert!(told.services.iter().map(|one| one.incidents).sum::<u64>() >= 59);

    run(&bench, saved(&content)).await.unwrap();
    let again = plan(&bench, saved(&content)).await.unwrap();
    assert!(again.rows.iter().all(|row| matches!(row.effect, Effect::Unchanged | Effect::None)));
    // The same from the API, though a plan reads fewer timelines than an import.
    content.incidents.remove(2);
    opsgenie.replace(content);
    let live = plan(&bench, everything()).await.unwrap();
    assert!(live.rows.iter().all(|row| row.effect == Effect::Unchanged), "{:?}", live.rows);
}

#[tokio::test]
async fn a_plan_uses_what_it_is_given_and_keeps_none_of_it() {
    let simulator = crate::support::account(5, 3).await;
    let opsgenie = Opsgenie::start(options(30)).await.unwrap();
    let bench = Bench::connected(&simulator).await;
    let names = opsgenie.content().users;
    let alias = |user: &Value| Alias {
        kind: AliasKind::Person,
        name: text(user, "username").to_uppercase(),
        target: "u-7".into(),
    };
    let given = Prepare {
        key: Some(Secret::new(GENIE_KEY.into())),
        origin_map: vec![OriginMapping {
            from: "https://api.eu.opsgenie.com".into(),
            to: opsgenie.base_url(),
        }],
        aliases: Some(names.iter().map(alias).collect()),
        decisions: Some(vec![("#1".into(), None)]),
        cut_over: Some(7),
    };
    let before = bench.host.organisation(&bench.org).await.unwrap();
    let told = bench.host.plan_migration(&bench.org, everything(), &given, &mut |_: &Step| {}).await.unwrap();
    assert_eq!((told.rows.len(), told.people.len()), (30, 0));
    assert_eq!(bench.host.organisation(&bench.org).await.unwrap(), before);
    assert!(!bench.host.has_migration_key(&bench.org).await.unwrap());
    assert_eq!(bench.store.migration(&bench.org, "opsgenie").await.unwrap(), None);
    let wanted = [text(&names[0], "username").to_owned()];
    let aliased = bench.store.aliased(&bench.org, "opsgenie", AliasKind::Person, &wanted).await.unwrap();
    assert_eq!(aliased, [None]);
}

/// An incident was imported, and an incident of incident.io refers to it that no poll has seen yet.
async fn one_that_incident_io_comes_to_know(simulator: &Simulator) -> Bench {
    let bench = Bench::connected(simulator).await;
    bench.sync().await;
    let id = "11111111-0000-4000-8000-000000000001";
    let record = json!({"id": id, "message": "old", "status": "closed", "createdAt": "2026-11-20T11:00:00Z"});
    run(&bench, History::Saved(vec![json!({ "incidents": [record] }).to_string().into_bytes()]))
        .await
        .unwrap();
    let new = koalr_simulator::NewIncident { name: "new".into(), ..Default::default() };
    let incident = simulator.declare(new, now()).unwrap();
    simulator.with_account(|account| account.attach_alert(&incident, id, now())).unwrap();
    bench.clock.advance(TimeDelta::minutes(6));
    bench
}

/// Whether each stored incident is not counted, because another one is the same.
async fn duplicates(bench: &Bench) -> Vec<bool> {
    let all = Population { since: 0, until: i64::MAX, now: i64::MAX };
    let page = bench.store.scan_samples(&bench.org, all, None).await.unwrap();
    page.samples.iter().map(|sample| sample.duplicate).collect()
}

#[tokio::test]
async fn what_incident_io_comes_to_know_later_is_counted_once_too() {
    let simulator = crate::support::account(0, 3).await;
    let bench = one_that_incident_io_comes_to_know(&simulator).await;
    bench.run(koalr_host::port::JobKind::Poll).await.unwrap();
    assert_eq!(duplicates(&bench).await, [true, false]);
}

#[tokio::test]
async fn a_run_that_is_stopped_compares_nothing_more_and_the_next_one_does() {
    let simulator = crate::support::account(0, 3).await;
    let bench = one_that_incident_io_comes_to_know(&simulator).await;
    let stop = tokio::sync::Notify::new();
    let stop_when_changed = |event: &Event| {
        if matches!(event, Event::Step { totals, .. } if totals.created + totals.updated > 0) {
            stop.notify_one();
        }
    };
    // It may have come to its end before it saw that it is to stop.
    let _ = Scheduler::new(bench.host.clone())
        .run_now(&bench.org, koalr_host::port::JobKind::Poll, &stop_when_changed, stop.notified())
        .await;
    assert_eq!(duplicates(&bench).await, [false, false], "it has come, and was not compared");
    bench.run(koalr_host::port::JobKind::Poll).await.unwrap();
    assert_eq!(duplicates(&bench).await, [true, false]);
}

#[tokio::test]
async fn a_mapping_says_who_and_what_a_name_stands_for() {
    let (simulator, opsgenie) =
        (crate::support::account(5, 3).await, Opsgenie::start(options(60)).await.unwrap());
    let bench = prepared(&simulator, &opsgenie).await;
    run(&bench, everything()).await.unwrap();
    let linked = |of: &[Incident]| {
        let users = of.iter().flat_map(|one| &one.responders).filter(|one| one.user_id.is_some()).count();
        (users, of.iter().flat_map(|one| &one.services).filter(|one| one.service_id.is_some()).count())
    };
    assert_eq!(linked(&imported(&bench).await), (0, 0));
    let own = stored(&bench, &["incidentio"]).await;
    let alias = |kind, name: &str, target: &str| Alias { kind, name: name.into(), target: target.into() };
    let mut aliases = vec![alias(AliasKind::Service, "Payments_API", "s-7")];
    aliases.extend(
        opsgenie.content().users.iter().map(|user| alias(AliasKind::Person, text(user, "username"), "u-7")),
    );
    let prepare = Prepare { aliases: Some(aliases), ..Prepare::default() };
    bench.host.prepare_migration(&bench.org, prepare).await.unwrap();
    bench.run(koalr_host::port::JobKind::Rederive).await.unwrap();
    let after = imported(&bench).await;
    let (users, services) = linked(&after);
    assert_eq!(users, 60);
    assert!(
        services > 0
            && services
                == after
                    .iter()
                    .flat_map(|one| &one.services)
                    .filter(|one| one.name == "payments-api")
                    .count()
    );
    // It is of the other tool's names only.
    assert_eq!(stored(&bench, &["incidentio"]).await, own);
}

#[tokio::test]
async fn undo_removes_what_was_imported_and_nothing_else() {
    let (simulator, opsgenie) =
        (crate::support::account(30, 3).await, Opsgenie::start(options(60)).await.unwrap());
    let bench = prepared(&simulator, &opsgenie).await;
    bench.sync().await;
    let own = bench.incidents().await;
    let report = bench.store.sync_report(&bench.org, 100).await.unwrap();
    run(&bench, everything()).await.unwrap();
    assert_ne!(bench.store.sync_report(&bench.org, 100).await.unwrap(), report);
    let removed = bench.host.undo_migration(&bench.org).await.unwrap();
    assert_eq!(removed.incidents, 60);
    assert!(imported(&bench).await.is_empty());
    assert_eq!(bench.incidents().await, own);
    assert_eq!(bench.store.sync_report(&bench.org, 100).await.unwrap(), report);
    assert_eq!(bench.store.state(&bench.org, "opsgenie").await.unwrap(), None);
    assert!(!bench.host.has_migration_key(&bench.org).await.unwrap());
    assert_eq!(bench.host.undo_migration(&bench.org).await.unwrap().incidents, 0);
    prepare(&bench, &opsgenie).await;
    assert_eq!(run(&bench, everything()).await.unwrap().created, 60, "it can be done again");
}

async fn measured(host: &Host, bench: &Bench, sources: Vec<String>) -> (u64, Vec<(u64, Option<f64>)>) {
    let (from, to) = ("2026-01-05".parse().unwrap(), "2026-03-30".parse().unwrap());
    let query = MttrQuery {
        sources,
        ..MttrQuery::new(calendar::edges(from, to, BucketSize::Week, chrono_tz::UTC).unwrap())
    };
    let report = host.mttr(&bench.org, &query).await.unwrap();
    let figure = |of: &Statistics| (of.count, of.durations.as_ref().map(|durations| durations.mean));
    let trend = report.trend.iter().map(|bucket| figure(&bucket.statistics)).collect();
    (report.overall.statistics.count, trend)
}

/// Twelve weeks: six in Opsgenie, six in incident.io, an hour each, every day one; in the two weeks around the change
/// each incident is in both.
#[tokio::test]
async fn the_change_of_tool_makes_no_step_in_the_trend() {
    let simulator = crate::support::account(0, 3).await;
    let bench = Bench::connected(&simulator).await;
    let first: DateTime<chrono::Utc> = "2026-01-05T09:00:00Z".parse().unwrap();
    let mut theirs = Vec::new();
    for day in 0..84 {
        let at = first + TimeDelta::days(day);
        if day >= 35 {
            let new = koalr_simulator::NewIncident {
                name: format!("day {day}"),
                ..koalr_simulator::NewIncident::default()
            };
            let id = simulator.declare(new, at).unwrap();
            let resolved = koalr_simulator::Change { status: Some("Closed".into()), ..Default::default() };
            simulator.update(&id, resolved, at + TimeDelta::hours(1)).unwrap();
            if day < 49 {
                let alert = format!("dddddddd-0000-4000-8000-{day:012}-1489739250");
                simulator.with_account(|account| account.attach_alert(&id, &alert, at)).unwrap();
            }
        }
        if day < 49 {
            theirs.push((day, at));
        }
    }
    let opsgenie = Opsgenie::start(options(0)).await.unwrap();
    let mut content = opsgenie.content();
    for (day, at) in theirs {
        let id = format!("11111111-0000-4000-8000-{day:012}");
        content
            .responder_alerts
            .insert(id.clone(), vec![format!("dddddddd-0000-4000-8000-{day:012}-1489739250")]);
        content.timelines.insert(id.clone(), vec![]);
        content.incidents.push(json!({
            "id": id, "tinyId": day.to_string(), "message": format!("another title of day {day}"), "status": "closed",
            "priority": "P2", "createdAt": at.to_rfc3339(), "impactStartDate": at.to_rfc3339(),
            "impactEndDate": (at + TimeDelta::hours(1)).to_rfc3339(),
        }));
    }
    opsgenie.replace(content);
    // Longer ago than the usual import reaches.
    let mut connect = connect_with(KEY, &simulator.base_url());
    connect.settings.history_days = Some(400);
    bench.host.connect(&bench.org, connect).await.unwrap();
    bench.sync().await;
    prepare(&bench, &opsgenie).await;

    let (before, _) = measured(&bench.host, &bench, vec![]).await;
    assert_eq!(before, 49);
    let summary = run(&bench, everything()).await.unwrap();
    assert_eq!((summary.created, summary.overlap.linked.len(), summary.overlap.probable.len()), (49, 14, 0));
    let (after, trend) = measured(&bench.host, &bench, vec![]).await;
    assert_eq!(after, 84, "each day once");
    assert_eq!(trend, vec![(7, Some(3_600.0)); 12]);
    let status = bench.host.migration_status(&bench.org).await.unwrap();
    assert_eq!((status.incidents, status.duplicates, status.to_review), (49, 14, 0));
    assert_eq!(status.cut_over, Some(micros(first + TimeDelta::days(35))));
    assert_eq!(status.days_left, Some(135));

    bench.host.undo_migration(&bench.org).await.unwrap();
    assert_eq!(measured(&bench.host, &bench, vec![]).await.0, 49);
}

#[tokio::test]
async fn what_only_looks_the_same_is_counted_twice_until_a_person_has_decided() {
    let simulator = crate::support::account(0, 3).await;
    let bench = Bench::connected(&simulator).await;
    let at = now() - TimeDelta::days(3);
    let new = koalr_simulator::NewIncident { name: "Checkout is down".into(), ..Default::default() };
    let id = simulator.declare(new, at).unwrap();
    bench.sync().await;
    let reference = bench.incident(&id).await.unwrap().reference.unwrap();
    let record = json!({
        "id": "o-1", "tinyId": "12", "message": "checkout is down!", "status": "closed", "priority": "P1",
        "createdAt": (at + TimeDelta::minutes(9)).to_rfc3339(), "impactEndDate": now().to_rfc3339(),
    });
    let history = || History::Saved(vec![json!({ "incidents": [record.clone()] }).to_string().into_bytes()]);
    let told = plan(&bench, history()).await.unwrap();
    assert_eq!(told.overlap.probable.len(), 1);
    assert_eq!(
        (told.rows[0].state, told.rows[0].reasons[0].code.as_str()),
        (State::Warning, "probable-duplicate")
    );
    assert!(told.rows[0].reasons[0].text.contains(&reference));

    let duplicates = async || bench.host.migration_status(&bench.org).await.unwrap().duplicates;
    let decide = async |what: Option<String>| {
        let decisions = Some(vec![("#12".to_owned(), what)]);
        bench.host.prepare_migration(&bench.org, Prepare { decisions, ..Prepare::default() }).await.unwrap();
        bench.host.settle_overlap(&bench.org).await.unwrap()
    };
    run(&bench, history()).await.unwrap();
    assert_eq!(duplicates().await, 0);
    let overlap = decide(Some(reference)).await;
    assert_eq!((overlap.linked.len(), overlap.probable.len(), duplicates().await), (1, 0, 1));
    let overlap = decide(None).await;
    assert_eq!((overlap.linked.len(), overlap.probable.len(), duplicates().await), (0, 0, 0));
}
