//! Time to restore over real incidents, through the store, the calendar and the component: against published figures,
//! and against figures that are computed here in another way.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate};
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{
    AffectedService, Change, ClockEnd, ClockStart, DerivedTime, Durations, Incident, IncidentKey,
    IncidentWrite, Mode, MttrQuery, Phase, Priority, Statistics, Timestamp,
};
use koalr_host::port::{IncidentFilter, Population, Unmeasurable, Unmeasured};
use serde_json::Value;

use crate::support::*;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn instant(text: &Value) -> Timestamp {
    DateTime::parse_from_rfc3339(text.as_str().unwrap()).unwrap().timestamp_micros()
}

/// The real incidents, less the maintenance.
fn real() -> Vec<Value> {
    let text =
        std::fs::read_to_string(root().join("tests/fixtures/mttr/github-status-incidents.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["impact"] != "maintenance").collect()
}

fn priority(of: &Value) -> Option<Priority> {
    match of["impact"].as_str()? {
        "critical" => Some(Priority::P1),
        "major" => Some(Priority::P2),
        "minor" => Some(Priority::P3),
        "none" => Some(Priority::P4),
        _ => None,
    }
}

fn record(of: &Value) -> Incident {
    let derived = |name: &str| Some(DerivedTime { at: instant(&of[name]), rule: name.to_string() });
    let components = of["components"].as_array().into_iter().flatten();
    Incident {
        key: IncidentKey { source: "incidentio".into(), id: of["id"].as_str().unwrap().into() },
        reference: None,
        title: String::new(),
        permalink: None,
        severity: None,
        priority: priority(of),
        priority_rule: "name".into(),
        status: "Closed".into(),
        phase: Phase::Closed,
        mode: Mode::Standard,
        private: false,
        withheld: false,
        not_visible: false,
        created_at: Some(instant(&of["started_at"])),
        started_at: derived("started_at"),
        acknowledged_at: None,
        resolved_at: derived("resolved_at"),
        first_resolved_at: None,
        unknown_timestamp: None,
        reopenings: Vec::new(),
        pauses: Vec::new(),
        merged_into: None,
        responders: vec![],
        services: components
            .map(|name| AffectedService {
                name: name.as_str().unwrap().into(),
                external_id: None,
                service_id: None,
            })
            .collect(),
        references: Vec::new(),
        updated_at: instant(&of["resolved_at"]),
    }
}

/// An organisation with these records.
async fn holding(records: Vec<Incident>) -> Bench {
    let bench = Bench::new().await;
    let organisation = koalr_tests::bench::organisation(bench.org.as_str(), "http://127.0.0.1:1", 0);
    bench.store.put_organisation(&organisation).await.unwrap();
    let put =
        |incident| Change::PutIncident(IncidentWrite { incident, facts: vec![], revisit: false, base: None });
    bench.store.commit(&bench.org, records.into_iter().map(put).collect(), None).await.unwrap();
    bench
}

fn query(bucket: BucketSize, zone: &str) -> MttrQuery {
    MttrQuery::new(
        calendar::edges(date("2022-03-01"), date("2026-09-01"), bucket, zone.parse().unwrap()).unwrap(),
    )
}

/// The stated figures have three digits after the point.
fn assert_stated(actual: &Statistics, stated: &Value, what: &str) {
    assert_eq!(Some(actual.count), stated["n"].as_u64(), "{what}");
    let figures = actual.durations.as_ref().unwrap();
    for (name, value) in [
        ("mean_s", figures.mean),
        ("median_s", figures.median),
        ("p75_s", figures.p75),
        ("p90_s", figures.p90),
        ("p95_s", figures.p95),
        ("min_s", figures.min),
        ("max_s", figures.max),
    ] {
        assert!((value - stated[name].as_f64().unwrap()).abs() < 0.000_6, "{what}: {name} is {value}");
    }
}

/// Another way than the component's: whole seconds, sorted, by the definition of each figure.
fn assert_computed(actual: &Statistics, mut seconds: Vec<i64>, what: &str) {
    seconds.sort_unstable();
    assert_eq!(actual.count, seconds.len() as u64, "{what}");
    let Some(Durations { mean, median, p75, p90, p95, min, max, .. }) = &actual.durations else {
        assert!(seconds.is_empty(), "{what}");
        return;
    };
    let rank = |q: f64| {
        let place = q * (seconds.len() - 1) as f64;
        let (below, above) = (seconds[place.floor() as usize], seconds[place.ceil() as usize]);
        below as f64 * (1.0 - place.fract()) + above as f64 * place.fract()
    };
    let sum: i64 = seconds.iter().sum();
    let computed = [
        sum as f64 / seconds.len() as f64,
        rank(0.5),
        rank(0.75),
        rank(0.9),
        rank(0.95),
        rank(0.0),
        rank(1.0),
    ];
    for (actual, computed) in [mean, median, p75, p90, p95, min, max].into_iter().zip(computed) {
        assert!((actual - computed).abs() < 1e-6, "{what}: {actual} is not {computed}");
    }
}

#[tokio::test]
async fn real_incidents_give_the_published_figures() {
    let real = real();
    let stated = &fixture("mttr/worked-examples.json")["github_status"];
    let bench = holding(real.iter().map(record).collect()).await;
    let report = bench.host.mttr(&bench.org, &query(BucketSize::Week, "UTC")).await.unwrap();
    assert_eq!((report.population, report.excluded.len(), report.open), (801, 0, 0));

    let seconds = |of: &Value| (instant(&of["resolved_at"]) - instant(&of["started_at"])) / 1_000_000;
    assert_stated(&report.overall.statistics, &stated["all"], "all");
    assert_computed(&report.overall.statistics, real.iter().map(seconds).collect(), "all");
    assert_eq!(report.by_priority.len(), 4);
    for slice in &report.by_priority {
        assert_stated(&slice.statistics, &stated["by_priority"][&slice.label], &slice.label);
    }
    assert_eq!(report.by_service.len(), stated["by_component"].as_object().unwrap().len());
    let mut under_services = 0;
    for slice in &report.by_service {
        assert_stated(&slice.statistics, &stated["by_component"][&slice.label], &slice.label);
        under_services += slice.statistics.count;
    }
    assert_eq!(Some(under_services), stated["sum_of_component_n"].as_u64());

    let mut by_week: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for incident in &real {
        let week = DateTime::from_timestamp_micros(instant(&incident["resolved_at"])).unwrap().iso_week();
        by_week.entry(format!("{}-W{:02}", week.year(), week.week())).or_default().push(seconds(incident));
    }
    let weeks = &stated["iso_weeks_utc"];
    let within =
        |label: &str| (weeks["first"].as_str().unwrap()..=weeks["last"].as_str().unwrap()).contains(&label);
    let mut empty = Vec::new();
    for bucket in &report.trend {
        let label = calendar::label(bucket.since, BucketSize::Week, chrono_tz::UTC);
        assert_computed(&bucket.statistics, by_week.remove(&label).unwrap_or_default(), &label);
        if bucket.statistics.durations.is_none() && within(&label) {
            empty.push(label);
        }
    }
    assert!(by_week.is_empty(), "each is in a bucket");
    assert_eq!(serde_json::json!(empty), weeks["empty"]);
}

#[tokio::test]
async fn real_incidents_fall_into_the_months_of_each_zone() {
    let bench = holding(real().iter().map(record).collect()).await;
    let stated = &fixture("mttr/worked-examples.json")["github_status"]["resolved_per_month_2026_by_zone"];
    for (zone, months) in stated.as_object().unwrap() {
        let report = bench.host.mttr(&bench.org, &query(BucketSize::Month, zone)).await.unwrap();
        let mut found = serde_json::Map::new();
        for bucket in &report.trend {
            let label = calendar::label(bucket.since, BucketSize::Month, zone.parse().unwrap());
            if label.starts_with("2026-") {
                found.insert(label, bucket.statistics.count.into());
            }
        }
        assert_eq!(&Value::Object(found), months, "{zone}");
    }
}

#[tokio::test]
async fn the_choice_of_clock_changes_the_figure_as_published() {
    let other = real().into_iter().map(|mut of| {
        of["started_at"] = of["downtime_start"].take();
        of["resolved_at"] = of["downtime_end"].take();
        record(&of)
    });
    let bench = holding(other.collect()).await;
    let stated =
        &fixture("mttr/worked-examples.json")["github_status"]["other_clock_downtime_start_to_downtime_end"];
    let report = bench.host.mttr(&bench.org, &query(BucketSize::Month, "UTC")).await.unwrap();
    assert_stated(&report.overall.statistics, stated, "the window of the post-mortem");
}

#[tokio::test]
async fn time_to_acknowledge_is_of_those_restored_whose_acknowledgement_is_known() {
    let mut records: Vec<Incident> = real().iter().take(3).map(record).collect();
    for (record, minutes) in records.iter_mut().zip([4, 8]) {
        let at = record.created_at.unwrap() + minutes * 60_000_000;
        record.acknowledged_at = Some(DerivedTime { at, rule: "accepted-at".into() });
    }
    let bench = holding(records).await;
    let query = MttrQuery { end: ClockEnd::Acknowledged, ..query(BucketSize::Month, "UTC") };
    let report = bench.host.mttr(&bench.org, &query).await.unwrap();
    assert_computed(&report.overall.statistics, vec![240, 480], "acknowledged");
    assert_eq!((report.excluded[0].reason.as_str(), report.excluded[0].count), ("no-acknowledgement", 1));
    assert_eq!(report.population, 3);
}

/// Each of these instants is one that a provider, a person or a file could give.
fn instants(now: Timestamp) -> Vec<Option<Timestamp>> {
    let year = 365 * 86_400_000_000;
    let odd =
        ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2004-12-31T23:59:59Z", "2005-01-01T00:00:00Z"]
            .map(|text| instant(&text.into()));
    let near =
        [-2 * year, -40 * 86_400_000_000, -3_600_000_000, -1, 0, 1, 3_600_000_000, year].map(|by| now + by);
    let mut instants: Vec<Option<Timestamp>> = [Timestamp::MIN, -1, Timestamp::MAX].map(Some).to_vec();
    instants.extend(odd.into_iter().chain(near).map(Some));
    instants.push(None);
    instants
}

/// Arbitrary incidents, of arbitrary instants.
fn arbitrary(count: usize, now: Timestamp) -> Vec<Incident> {
    let mut draw = fastrand::Rng::with_seed(11);
    let instants = instants(now);
    let phases = [
        Phase::Triage,
        Phase::Active,
        Phase::Paused,
        Phase::Closed,
        Phase::Resolved,
        Phase::Merged,
        Phase::Unknown,
    ];
    let mut any = |number: usize| {
        let mut instant = || *draw.choice(&instants).unwrap();
        let derived = |at: Option<Timestamp>| at.map(|at| DerivedTime { at, rule: "any".into() });
        let [created_at, started_at, acknowledged_at, resolved_at, first] = [(); 5].map(|()| instant());
        let updated_at = instant().unwrap_or_default();
        let over = draw.u8(0..3) > 0;
        let phase = if over { Phase::Closed } else { draw.choice(phases).unwrap() };
        let resolved_at = resolved_at.filter(|_| matches!(phase, Phase::Closed | Phase::Resolved));
        Incident {
            key: IncidentKey { source: "incidentio".into(), id: number.to_string() },
            phase,
            mode: draw.choice([Mode::Standard, Mode::Standard, Mode::Retrospective, Mode::Test]).unwrap(),
            not_visible: draw.u8(0..4) == 0,
            created_at,
            started_at: derived(started_at),
            acknowledged_at: derived(acknowledged_at),
            resolved_at: derived(resolved_at),
            first_resolved_at: derived(first.filter(|first| Some(*first) < resolved_at)),
            services: Vec::new(),
            updated_at,
            ..record(&serde_json::json!({"id": "", "components": [], "impact": "none",
                "started_at": "2026-01-01T00:00:00Z", "resolved_at": "2026-01-01T00:00:00Z"}))
        }
    };
    (0..count).map(&mut any).collect()
}

const UNMEASURABLE: [(&str, Unmeasurable); 7] = [
    ("implausible-time", Unmeasurable::ImplausibleTime),
    ("ends-in-the-future", Unmeasurable::EndsInTheFuture),
    ("entered-later", Unmeasurable::EnteredLater),
    ("no-creation-time", Unmeasurable::NoCreationTime),
    ("no-resolution-time", Unmeasurable::NoResolutionTime),
    ("no-start-time", Unmeasurable::NoStartTime),
    ("negative-duration", Unmeasurable::NegativeDuration),
];

#[tokio::test]
async fn each_stored_incident_is_measured_or_counted_under_one_reason_whatever_its_instants_are() {
    const STORED: u64 = 3_000;
    let now = micros(now());
    let day = 86_400_000_000;
    let bench = holding(arbitrary(STORED as usize, now)).await;
    let all = vec![Timestamp::MIN, now - 90 * day, now + day, Timestamp::MAX];
    for start in [ClockStart::Created, ClockStart::Started, ClockStart::Acknowledged] {
        for end in [ClockEnd::Resolved, ClockEnd::FirstResolution] {
            let query = MttrQuery { start, end, ..MttrQuery::new(all.clone()) };
            let report = bench.host.mttr(&bench.org, &query).await.unwrap();
            let left_out: u64 = report.excluded.iter().map(|excluded| excluded.count).sum();
            assert_eq!(report.population, STORED, "no incident is in no population");
            assert_eq!(report.overall.statistics.count + left_out, STORED);
            assert!(report.overall.statistics.count > 0, "some are measured");
            // The lists that the console links to hold what is counted.
            for (name, reason) in UNMEASURABLE {
                let counted = report.excluded.iter().find(|excluded| excluded.reason == name);
                let filter = IncidentFilter {
                    unmeasured: Some(Unmeasured { reason, start, end, now }),
                    phases: vec![Phase::Resolved, Phase::Closed],
                    modes: vec![Mode::Standard, Mode::Retrospective],
                    population: Some(Population { since: Timestamp::MIN, until: Timestamp::MAX, now }),
                    limit: Some(0),
                    ..IncidentFilter::default()
                };
                let listed = bench.store.incidents(&bench.org, &filter).await.unwrap().total;
                assert_eq!(
                    listed,
                    counted.map_or(0, |counted| counted.count),
                    "{name} by {start:?} to {end:?}"
                );
            }
        }
    }
    // Spans that adjoin share nothing but what is open.
    let mut over = 0;
    for edges in all.windows(2) {
        let report = bench.host.mttr(&bench.org, &MttrQuery::new(edges.to_vec())).await.unwrap();
        let count = |name: &str| {
            report
                .excluded
                .iter()
                .find(|excluded| excluded.reason == name)
                .map_or(0, |excluded| excluded.count)
        };
        let left_out: u64 = report.excluded.iter().map(|excluded| excluded.count).sum();
        assert_eq!(report.overall.statistics.count + left_out, report.population);
        over += report.population - count("open") - count("not-visible") - count("triage") - count("test");
    }
    let report = bench.host.mttr(&bench.org, &MttrQuery::new(all)).await.unwrap();
    let open = ["open", "not-visible", "triage", "test"];
    let open = report.excluded.iter().filter(|excluded| open.contains(&excluded.reason.as_str()));
    assert_eq!(over, STORED - open.map(|excluded| excluded.count).sum::<u64>());
}

proptest::proptest! {
    /// The contract has one rule, which host and component each know.
    #[test]
    fn host_and_component_compare_names_of_services_alike(name in "[ -_a-zA-ZÄßİ\u{a0}\u{3000}\t.]{0,12}") {
        proptest::prop_assert_eq!(incidentio::mttr::normalised(&name), koalr_host::port::normalised(&name));
    }
}
