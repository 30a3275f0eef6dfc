//! From an account to the same records: connect, import, catch up, time to restore.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{ClockStart, Incident, Mode, MttrQuery, Phase, Priority, Responder, Severity};
use koalr_host::port::{HostService, HostUser, JobKind, OrganisationState};
use koalr_host::scheduler::Scheduler;
use koalr_simulator::{Change, Effect, Fault, Keys, NewIncident, Options, Simulator};

use crate::support::*;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn last_90_days() -> MttrQuery {
    MttrQuery::new(
        calendar::edges(date("2026-08-22"), date("2026-11-21"), BucketSize::Week, "UTC".parse().unwrap())
            .unwrap(),
    )
}

#[tokio::test]
async fn connecting_tells_whose_key_it_is_and_what_is_odd_about_it() {
    let mut options = Options::new(20, 1, now());
    options.keys = Keys::Listed([(KEY.to_string(), vec!["viewer".into(), "incident_editor".into()])].into());
    let simulator = Simulator::start(options).await.unwrap();
    let bench = Bench::new().await;
    let connection = bench.connect(&simulator.base_url()).await.unwrap();
    assert!(!connection.account.is_empty());
    assert_eq!(connection.roles, ["viewer", "incident_editor"]);
    let warnings = connection.warnings.join("\n");
    assert!(warnings.contains("incident_editor"), "more than read-only: {warnings}");
    assert!(warnings.contains("private"), "cannot see private incidents: {warnings}");
    assert!(warnings.contains("catalog"), "cannot read the catalog: {warnings}");
    let organisation = bench.host.organisation(&bench.org).await.unwrap();
    assert_eq!(organisation.state, OrganisationState::Live);
    for kind in [JobKind::Backfill, JobKind::Poll] {
        assert!(bench.store.job(&bench.org, kind).await.unwrap().is_some(), "{kind:?} is scheduled");
    }
}

#[tokio::test]
async fn a_backfill_ends_in_the_providers_state() {
    let simulator = account(600, 11).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let stored: BTreeMap<String, _> =
        bench.incidents().await.into_iter().map(|i| (i.key.id.clone(), i)).collect();
    let from = now() - TimeDelta::days(90);
    let mut compared = 0;
    let mut phases = BTreeMap::new();
    for id in simulator.incident_ids() {
        let raw = simulator.raw_incident(&id).unwrap();
        let time = |name: &str| raw[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        let Some(record) = stored.get(&id) else {
            assert!(time("updated_at") < from, "{id} was updated within 90 days and is missing");
            continue;
        };
        compared += 1;
        *phases.entry(record.phase as u8).or_insert(0) += 1;
        assert_eq!(record.title, raw["name"].as_str().unwrap());
        assert_eq!(record.reference.as_deref(), raw["reference"].as_str());
        assert_eq!(record.status, raw["incident_status"]["name"].as_str().unwrap());
        assert_eq!(record.created_at, Some(micros(time("created_at"))));
        assert_eq!(record.updated_at, micros(time("updated_at")));
        assert_eq!(record.private, raw["visibility"] == "private");
        assert_eq!(record.severity.as_ref().map(|s| s.name.as_str()), raw["severity"]["name"].as_str());
        let mode = match raw["mode"].as_str().unwrap() {
            "standard" => Mode::Standard,
            "retrospective" => Mode::Retrospective,
            "test" => Mode::Test,
            _ => Mode::Tutorial,
        };
        assert_eq!(record.mode, mode);
        let over = matches!(record.phase, Phase::Resolved | Phase::Closed);
        assert!(over || record.resolved_at.is_none(), "{id} is not over but has an end");
        if record.phase == Phase::Merged {
            assert!(record.merged_into.is_some(), "{id} was merged, into what?");
        }
    }
    assert!(compared > 500, "{compared}");
    assert!(phases.len() >= 8, "the account shows all phases: {phases:?}");
    let private = stored.values().filter(|incident| incident.private).count();
    assert!(private > 0, "private incidents are synced");
    let left = bench.store.to_revisit(&bench.org, "incidentio", 0).await.unwrap().total;
    assert_eq!(left, 0, "all timelines are read");
    let resolved = stored.values().find(|i| i.phase == Phase::Closed).unwrap();
    let timeline = bench.store.timeline(&bench.org, &resolved.key).await.unwrap();
    assert!(timeline.iter().any(|event| event.kind == "status-changed"), "{timeline:?}");
}

#[tokio::test]
async fn the_same_account_gives_the_same_bytes() {
    let simulator = account(150, 3).await;
    let (one, two) = (Bench::connected(&simulator).await, Bench::connected(&simulator).await);
    one.sync().await;
    two.sync().await;
    assert_eq!(one.incidents().await, two.incidents().await);
    for incident in one.incidents().await {
        let of = async |bench: &Bench| bench.store.timeline(&bench.org, &incident.key).await.unwrap();
        assert_eq!(of(&one).await, of(&two).await);
    }
}

#[tokio::test]
async fn people_and_services_are_linked_to_the_hosts_own() {
    let simulator = account(200, 5).await;
    let bench = Bench::connected(&simulator).await;
    let users = simulator.users().into_iter().map(|(name, email)| HostUser {
        id: format!("user of {email}"),
        email: email.to_uppercase(),
        name: Some(name),
    });
    bench.store.import_users(&bench.org, users.collect()).await.unwrap();
    let services = simulator.services().into_iter().map(|(name, external_id)| HostService {
        id: format!("service {name}"),
        name: format!("our {name}"),
        external_ids: vec![external_id],
        aliases: vec![],
    });
    bench.store.import_services(&bench.org, services.collect()).await.unwrap();
    bench.sync().await;
    let incidents = bench.incidents().await;
    let mut linked = 0;
    for responder in incidents.iter().flat_map(|incident| &incident.responders) {
        if let Some(email) = &responder.email {
            assert_eq!(responder.user_id.as_deref(), Some(format!("user of {email}").as_str()));
            linked += 1;
        }
    }
    assert!(linked > 100, "{linked} responders");
    let without_a_role = |incident: &&Incident| {
        let helps = |responder: &&Responder| responder.role.as_deref() == Some("collaborator");
        let helper = incident.responders.iter().find(helps);
        helper.is_some_and(|helper| {
            incident.responders.iter().filter(|other| other.id == helper.id).count() == 1
        })
    };
    assert!(incidents.iter().filter(without_a_role).count() > 100);
    assert!(
        !incidents
            .iter()
            .flat_map(|incident| &incident.responders)
            .any(|r| r.role.as_deref() == Some("observer"))
    );
    let affected: Vec<_> = incidents.iter().flat_map(|incident| &incident.services).collect();
    assert!(affected.len() > 100);
    assert!(affected.iter().all(|service| service.service_id == Some(format!("service {}", service.name))));
    let report = bench.host.mttr(&bench.org, &last_90_days()).await.unwrap();
    assert!(report.by_service.iter().any(|slice| slice.label.starts_with("our ")), "by the catalog's name");
}

#[tokio::test]
async fn a_poll_brings_what_changed_and_only_that() {
    let simulator = account(120, 9).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let before = bench.incidents().await;

    bench.clock.advance(TimeDelta::minutes(10));
    let at = now() + TimeDelta::minutes(5);
    let new = NewIncident {
        name: "Queue backs up".into(),
        severity: simulator.severities().last().cloned(),
        services: vec![],
        mode: koalr_simulator::Mode::Standard,
        private: false,
        lead: None,
    };
    let id = simulator.declare(new, at).unwrap();
    let totals = bench.run(JobKind::Poll).await.unwrap();
    assert_eq!(totals.created, 1);
    assert_eq!(bench.incident(&id).await.unwrap().phase, Phase::Active);

    bench.clock.advance(TimeDelta::minutes(10));
    let closed = Change { status: Some("closed".into()), ..Change::default() };
    simulator.update(&id, closed, at + TimeDelta::minutes(7)).unwrap();
    bench.run(JobKind::Poll).await.unwrap();
    let record = bench.incident(&id).await.unwrap();
    assert_eq!(record.phase, Phase::Closed);
    assert_eq!(record.resolved_at.unwrap().at - record.created_at.unwrap(), 7 * 60 * 1_000_000);

    bench.clock.advance(TimeDelta::minutes(10));
    let reopened = Change { status: Some("live".into()), ..Change::default() };
    simulator.update(&id, reopened, at + TimeDelta::minutes(17)).unwrap();
    bench.run(JobKind::Poll).await.unwrap();
    let record = bench.incident(&id).await.unwrap();
    assert_eq!((record.phase, record.resolved_at), (Phase::Active, None), "a reopening clears the end");

    let mut after = bench.incidents().await;
    after.retain(|incident| incident.key.id != id);
    assert_eq!(before, after, "nothing else was touched");
}

#[tokio::test]
async fn an_import_goes_on_where_it_was_cut_off() {
    let simulator = account(700, 2).await;
    let (whole, cut) = (Bench::connected(&simulator).await, Bench::connected(&simulator).await);
    whole.sync().await;
    let job = cut.store.job(&cut.org, JobKind::Backfill).await.unwrap().unwrap();
    let window = job.window.unwrap();
    let request = koalr_host::contract::BackfillRequest {
        source: koalr_host::contract::BackfillSource::Incidentio,
        since: window.since,
        until: window.until,
        dry_run: false,
    };
    // The incidents, then it is cut off; the next step runs the job to its end.
    simulator.inject(Fault::new(
        "/v2/incident_updates",
        1,
        Effect::Status { status: 503, body: serde_json::Value::Null },
    ));
    cut.host.backfill(&cut.org, &request).await.unwrap_err();
    let before = simulator.requests().len();
    cut.sync().await;
    assert_eq!(whole.incidents().await, cut.incidents().await);
    let lists = simulator.requests().split_off(before).into_iter().filter(|r| r.path == "/v2/incidents");
    let firsts = lists
        .filter(|r| {
            !r.query.contains("after=") && r.query.contains("updated_at") && r.query.contains("page_size=250")
        })
        .count();
    assert_eq!(firsts, 1, "only the poll starts from a first page; the import goes on from its cursor");
}

#[tokio::test]
async fn the_scheduler_imports_and_then_polls_without_being_asked() {
    let simulator = account(80, 4).await;
    let bench = Bench::connected(&simulator).await;
    let scheduler = Scheduler::new(bench.host.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move { scheduler.run(async { drop(stopped.await) }).await });
    loop {
        let done = async |kind| {
            let job = bench.store.job(&bench.org, kind).await.unwrap().unwrap();
            job.succeeded_at.is_some() && job.leased_until.is_none()
        };
        if done(JobKind::Backfill).await && done(JobKind::Poll).await {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(stop);
    running.await.unwrap();
    let backfill = bench.store.job(&bench.org, JobKind::Backfill).await.unwrap().unwrap();
    assert_eq!(backfill.run_at, None, "an import ends");
    let poll = bench.store.job(&bench.org, JobKind::Poll).await.unwrap().unwrap();
    let wait = poll.run_at.unwrap() - micros(now());
    assert!((285_000_000..=315_000_000).contains(&wait), "every five minutes with jitter: {wait}");
    assert!(!bench.incidents().await.is_empty());
}

#[tokio::test]
async fn severities_map_as_documented() {
    let simulator = account(10, 1).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let map = async |name: &str| {
        let severity = Severity { id: None, name: name.into(), rank: None };
        let mapping = bench.host.map_severity(&bench.org, &severity).await.unwrap();
        (mapping.priority, mapping.rule)
    };
    for (name, priority) in [
        ("Critical", Priority::P1),
        ("major", Priority::P2),
        ("MINOR", Priority::P3),
        ("Informational", Priority::P4),
    ] {
        assert_eq!(map(name).await, (Some(priority), "name".to_string()));
    }
    assert_eq!(map("Weird").await, (None, "unknown-severity".to_string()));
}

#[tokio::test]
async fn every_incident_of_the_population_is_measured_or_left_out_for_a_reason() {
    let simulator = account(900, 21).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let report = bench.host.mttr(&bench.org, &last_90_days()).await.unwrap();
    let left_out: u64 = report.excluded.iter().map(|exclusion| exclusion.count).sum();
    assert_eq!(report.overall.statistics.count + left_out, report.population);
    assert_eq!(
        report.trend.iter().map(|bucket| bucket.statistics.count).sum::<u64>(),
        report.overall.statistics.count
    );

    // The same figure, computed here from the records.
    let (since, until) = (report.trend[0].since, report.trend.last().unwrap().until);
    let mut durations: Vec<i64> = Vec::new();
    for incident in bench.incidents().await {
        let counted = matches!(incident.mode, Mode::Standard | Mode::Retrospective | Mode::Unknown)
            && matches!(incident.phase, Phase::Resolved | Phase::Closed);
        let Some(end) = incident.resolved_at.filter(|end| counted && (since..until).contains(&end.at)) else {
            continue;
        };
        let start = match incident.mode {
            Mode::Retrospective => incident.started_at.map(|start| start.at),
            _ => incident.created_at,
        };
        let Some(start) = start else { continue };
        durations.extend(Some(end.at - start).filter(|duration| *duration >= 0));
    }
    assert_eq!(report.overall.statistics.count, durations.len() as u64);
    let mean = durations.iter().map(|d| *d as f64).sum::<f64>() / durations.len() as f64 / 1e6;
    assert!((report.overall.statistics.durations.as_ref().unwrap().mean - mean).abs() < 1e-3);
}

/// What is said of one incident is what the whole report counted it as.
#[tokio::test]
async fn each_incident_is_explained_as_the_report_counts_it() {
    let simulator = account(300, 13).await;
    let bench = Bench::connected(&simulator).await;
    bench.sync().await;
    let queries = [
        last_90_days(),
        MttrQuery { start: ClockStart::Acknowledged, include_private: false, ..last_90_days() },
        MttrQuery { priorities: vec![Priority::P1], services: vec!["ledger".into()], ..last_90_days() },
    ];
    for query in queries {
        let report = bench.host.mttr(&bench.org, &query).await.unwrap();
        let (mut reasons, mut measured) = (BTreeMap::new(), 0);
        for incident in bench.incidents().await {
            let one = bench.host.explain(&bench.org, &query, &incident.key).await.unwrap();
            measured += one.overall.statistics.count;
            for excluded in one.excluded {
                *reasons.entry(excluded.reason).or_insert(0) += excluded.count;
            }
        }
        let expected: BTreeMap<String, u64> =
            report.excluded.iter().map(|excluded| (excluded.reason.clone(), excluded.count)).collect();
        assert_eq!((&reasons, measured), (&expected, report.overall.statistics.count));
        assert!(measured > 0 && reasons.len() > 5, "{measured} {reasons:?}");
        assert_eq!(measured + reasons.values().sum::<u64>(), report.population);
    }
}

#[tokio::test]
async fn of_private_incidents_that_are_not_wanted_nothing_is_kept_but_their_number() {
    let simulator = account(30, 9).await;
    let bench = Bench::new().await;
    let mut connect = connect_with(KEY, &simulator.base_url());
    connect.settings.include_private = false;
    bench.host.connect(&bench.org, connect).await.unwrap();
    bench.sync().await;
    let public = bench.incidents().await;
    assert!(!public.iter().any(|incident| incident.private));
    let before = bench.store.sync_report(&bench.org, 0).await.unwrap().withheld;
    assert!(before > 0, "the account has private incidents");
    let id = &public.first().unwrap().key.id;
    simulator.set_private(id, true, now() + TimeDelta::minutes(1)).unwrap();
    bench.clock.advance(TimeDelta::minutes(10));
    bench.run(JobKind::Poll).await.unwrap();
    assert!(bench.incident(id).await.is_none());
    assert_eq!(bench.store.sync_report(&bench.org, 0).await.unwrap().withheld, before + 1);
    assert!(bench.store.timeline(&bench.org, &public.first().unwrap().key).await.unwrap().is_empty());

    let mut connect = connect_with(KEY, &simulator.base_url());
    connect.settings.include_private = true;
    bench.host.connect(&bench.org, connect).await.unwrap();
    bench.run(JobKind::Rederive).await.unwrap();
    bench.clock.advance(TimeDelta::minutes(10));
    bench.run(JobKind::Poll).await.unwrap();
    let again = bench.incident(id).await.unwrap();
    assert!(again.private && again.title == public.first().unwrap().title);
    assert_eq!(bench.store.sync_report(&bench.org, 0).await.unwrap().withheld, 0);
}

/// What is worked on at a time is bounded by what it weighs: hundreds of incidents that go on for long, each with
/// hundreds of updates, turn by turn.
#[tokio::test]
async fn incidents_with_many_updates_do_not_need_more_memory_than_there_is() {
    let simulator = account(400, 4).await;
    let mut at = now() - TimeDelta::days(1);
    for round in 0..250 {
        for id in simulator.incident_ids() {
            at += TimeDelta::milliseconds(700);
            let message = Some(format!(
                "Update {round}: error rate is what it was, and we go on looking for the cause."
            ));
            simulator.update(&id, Change { message, ..Change::default() }, at).unwrap();
        }
    }
    let bench = Bench::connected(&simulator).await;
    bench.run(JobKind::Backfill).await.unwrap();
    let incidents = bench.incidents().await;
    assert!(incidents.len() > 250, "{}", incidents.len());
    let timeline = bench.store.timeline(&bench.org, &incidents[0].key).await.unwrap();
    assert!(timeline.len() >= 250, "{}", timeline.len());
}
