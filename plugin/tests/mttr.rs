//! Time to restore against worked examples, against a naive computation, and at its bounds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;

use incidentio::model::{
    ClockEnd, ClockStart, Durations, Error, Mode, MttrQuery, MttrReport, Phase, Priority, Sample, SamplePage,
    Statistics, Timestamp,
};
use incidentio::mttr::{REASONS, compute};
use proptest::prelude::*;
use serde_json::Value;

const SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z.
const T0: Timestamp = 1_767_225_600 * SECOND;
/// 2027-01-01T00:00:00Z.
const NOW: Timestamp = 1_798_761_600 * SECOND;

fn fixture(name: &str) -> Value {
    let path = format!("{}/../tests/fixtures/mttr/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn query(edges: Vec<Timestamp>) -> MttrQuery {
    MttrQuery {
        edges,
        start: ClockStart::Created,
        end: ClockEnd::Resolved,
        priorities: vec![],
        services: vec![],
        sources: vec![],
        include_private: true,
    }
}

fn sample(created_at: Timestamp, resolved_at: Option<Timestamp>) -> Sample {
    Sample {
        created_at: Some(created_at),
        started_at: None,
        acknowledged_at: None,
        resolved_at,
        first_resolved_at: None,
        priority: None,
        phase: if resolved_at.is_some() { Phase::Closed } else { Phase::Active },
        mode: Mode::Standard,
        private: false,
        source: 0,
        services: vec![],
        duplicate: false,
        waits: false,
        not_visible: false,
    }
}

/// An enum's case by its bare name.
fn word(case: impl std::fmt::Debug) -> String {
    format!("{case:?}").rsplit("::").next().unwrap_or_default().to_owned()
}

fn page(samples: Vec<Sample>, sources: &[&str], services: &[&str]) -> SamplePage {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    SamplePage { samples, sources: owned(sources), services: owned(services), next: None }
}

fn report(query: &MttrQuery, page: &SamplePage) -> MttrReport {
    compute(query, NOW, &mut |_, _, _, _| Ok(page.clone())).unwrap()
}

fn of_durations(durations: &[f64]) -> MttrReport {
    let samples = durations.iter().map(|s| sample(T0, Some(T0 + (s * 1e6) as i64))).collect();
    report(&query(vec![T0, i64::MAX]), &page(samples, &["incidentio"], &[]))
}

fn micros(text: &Value) -> Option<Timestamp> {
    koalr_codec::time::parse_rfc3339(text.as_str()?)
}

fn assert_statistics(actual: &Statistics, expected: &Value, what: &str) {
    assert_eq!(Some(actual.count), expected["n"].as_u64(), "{what}");
    let figure = |pick: fn(&Durations) -> f64| actual.durations.as_ref().map(pick);
    for (name, value) in [
        ("mean_s", figure(|d| d.mean)),
        ("median_s", figure(|d| d.median)),
        ("p75_s", figure(|d| d.p75)),
        ("p90_s", figure(|d| d.p90)),
        ("p95_s", figure(|d| d.p95)),
        ("min_s", figure(|d| d.min)),
        ("max_s", figure(|d| d.max)),
    ] {
        if let Some(expected) = expected.get(name) {
            let thousandths = value.map(|v| (v * 1e3).round());
            assert_eq!(thousandths, expected.as_f64().map(|v| v * 1e3), "{what} {name}");
        }
    }
}

#[test]
fn the_worked_statistics_come_out() {
    let examples = fixture("worked-examples.json");
    for example in examples["statistics"].as_array().unwrap() {
        let durations: Vec<f64> =
            example["durations_s"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        let slice = of_durations(&durations).overall;
        assert_statistics(&slice.statistics, example, &example.to_string());
        let tiers = slice.statistics.durations.map(|d| (word(d.tier), word(d.mean_tier)));
        let (tier, mean_tier) = tiers.unzip();
        assert_eq!(tier.as_deref(), example["tier_median"].as_str());
        assert_eq!(mean_tier.as_deref(), example["tier_mean"].as_str());
    }
}

#[test]
fn the_published_figures_come_out() {
    for (durations, mean, median) in [
        (vec![2_700.0, 7_200.0, 5_400.0], 5_100.0, 5_400.0),
        (vec![3_600.0, 7_200.0, 10_800.0, 14_400.0], 9_000.0, 9_000.0),
        (vec![158_400.0, 360_000.0, 144_000.0, 72_000.0], 183_600.0, 151_200.0),
    ] {
        let found = of_durations(&durations).overall.statistics.durations.unwrap();
        assert_eq!((found.mean, found.median), (mean, median));
    }
}

#[test]
fn the_bounds_of_the_tiers_are_as_documented() {
    for case in fixture("dora-bands.json")["edge_cases"].as_array().unwrap() {
        let durations: Vec<f64> = case["s"].as_f64().into_iter().collect();
        let tier = of_durations(&durations).overall.statistics.durations.map(|d| word(d.tier));
        assert_eq!(tier.as_deref(), case["tier"].as_str(), "{case}");
    }
}

#[test]
fn each_of_the_population_is_measured_or_has_one_reason() {
    let examples = fixture("worked-examples.json");
    let population = &examples["population"];
    let mut samples = Vec::new();
    for incident in population["incidents"].as_array().unwrap() {
        let opsgenie = incident["source"] == "opsgenie";
        let phase = match incident["category"].as_str().or(incident["status"].as_str()).unwrap() {
            "triage" => Phase::Triage,
            "live" | "open" => Phase::Active,
            "paused" => Phase::Paused,
            "learning" | "resolved" => Phase::Resolved,
            "closed" => Phase::Closed,
            "declined" => Phase::Declined,
            "canceled" => Phase::Canceled,
            "merged" => Phase::Merged,
            other => panic!("{other}"),
        };
        samples.push(Sample {
            started_at: micros(&incident["impact_started_at"]),
            mode: match incident["mode"].as_str() {
                Some("retrospective") => Mode::Retrospective,
                Some("test") => Mode::Test,
                Some("tutorial") => Mode::Tutorial,
                _ => Mode::Standard,
            },
            phase,
            source: u32::from(opsgenie),
            duplicate: incident.get("duplicate_of").is_some(),
            ..sample(
                micros(&incident["created_at"]).unwrap(),
                micros(&incident["resolved_at"]).or(micros(&incident["impact_end"])),
            )
        });
    }
    let edges = ["2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z"]
        .map(|t| koalr_codec::time::parse_rfc3339(t).unwrap());
    let report = report(&query(edges.to_vec()), &page(samples, &["incidentio", "opsgenie"], &[]));
    assert_statistics(&report.overall.statistics, &population["expect"]["stats"], "population");
    let excluded: BTreeMap<&str, u64> =
        report.excluded.iter().map(|e| (e.reason.as_str(), e.count)).collect();
    let expected: BTreeMap<String, u64> =
        serde_json::from_value(population["expect"]["excluded"].clone()).unwrap();
    assert!(excluded.iter().map(|(reason, count)| (reason.to_string(), *count)).eq(expected));
    assert_eq!(report.population, 18);
    assert_eq!(report.open, 4);
    assert_eq!(report.oldest_open, koalr_codec::time::parse_rfc3339("2026-05-05T17:06:16.824Z"));
}

#[test]
fn an_incident_with_two_services_counts_once_in_all_and_once_under_each() {
    let examples = fixture("worked-examples.json");
    let names = ["checkout", "search"];
    let incidents = examples["multi_service"]["incidents"].as_array().unwrap().iter();
    let samples = incidents.map(|incident| {
        let own = incident["services"].as_array().unwrap().iter();
        let index = |name: &Value| names.iter().position(|n| name == n).unwrap() as u32;
        // The provider may name two services that are one entry of the host's catalog.
        let services: Vec<u32> = own.flat_map(|name| [index(name), index(name)]).collect();
        Sample { services, ..sample(T0, Some(T0 + incident["duration_s"].as_i64().unwrap() * SECOND)) }
    });
    let page = page(samples.collect(), &["incidentio"], &names);
    let whole = report(&query(vec![T0, i64::MAX]), &page);
    let expected = &examples["multi_service"]["expect"];
    assert_statistics(&whole.overall.statistics, &expected["total"], "total");
    assert_eq!(whole.by_service.len(), 3);
    for slice in &whole.by_service {
        assert_statistics(&slice.statistics, &expected["by_service"][&slice.label], &slice.label);
    }
    let filtered = report(&MttrQuery { services: vec!["Search".into()], ..query(vec![T0, i64::MAX]) }, &page);
    assert_eq!(filtered.by_service.iter().map(|s| s.label.as_str()).collect::<Vec<_>>(), ["search"]);
    assert_eq!(filtered.excluded[0].reason, "service");
    assert_eq!((filtered.excluded[0].count, filtered.population), (2, 3));
}

#[test]
fn spellings_of_a_service_are_one_row_and_one_filter() {
    let names = ["delta", "Delta", "DELTA ", "Pay_ments  API", "payments-api"];
    let of = |services: &[u32], seconds: i64| Sample {
        services: services.to_vec(),
        ..sample(T0, Some(T0 + seconds * SECOND))
    };
    let samples = vec![of(&[0], 1), of(&[1, 2], 2), of(&[2, 3], 3), of(&[4], 4), of(&[], 5)];
    let rows = |query: &MttrQuery, page: &SamplePage| -> Vec<(String, u64)> {
        report(query, page)
            .by_service
            .into_iter()
            .map(|slice| (slice.label, slice.statistics.count))
            .collect()
    };
    let all = page(samples.clone(), &["incidentio"], &names);
    let every = rows(&query(vec![T0, i64::MAX]), &all);
    let expected = [("(no service)", 1), ("DELTA ", 3), ("Pay_ments  API", 1), ("payments-api", 1)];
    assert_eq!(every, expected.map(|(name, count)| (name.to_owned(), count)));
    // Which page or spelling comes first does not matter.
    let reversed: Vec<&str> = names.into_iter().rev().collect();
    let turned = samples
        .into_iter()
        .rev()
        .map(|sample| Sample { services: sample.services.iter().map(|at| 4 - at).collect(), ..sample });
    assert_eq!(rows(&query(vec![T0, i64::MAX]), &page(turned.collect(), &["incidentio"], &reversed)), every);

    for name in ["delta", "Delta", " DELTA"] {
        let asked = MttrQuery { services: vec![name.into()], ..query(vec![T0, i64::MAX]) };
        assert_eq!(rows(&asked, &all), [("DELTA ".to_owned(), 3)], "{name}");
    }
    let asked = MttrQuery { services: vec!["PAYMENTS_api".into()], ..query(vec![T0, i64::MAX]) };
    assert_eq!(rows(&asked, &all), [("payments-api".to_owned(), 1)]);
}

#[test]
fn the_trend_runs_on_over_a_change_of_tool() {
    let examples = fixture("worked-examples.json");
    let cutover = &examples["cutover"];
    let samples = cutover["incidents"].as_array().unwrap().iter().map(|incident| {
        let resolved = micros(&incident["resolved_at"]).unwrap();
        Sample {
            source: u32::from(incident["source"] == "incidentio"),
            duplicate: incident.get("duplicate_of").is_some(),
            ..sample(resolved - incident["duration_s"].as_i64().unwrap() * SECOND, Some(resolved))
        }
    });
    let week = 7 * 86_400 * SECOND;
    let first = koalr_codec::time::parse_rfc3339("2026-04-06T00:00:00Z").unwrap();
    let edges = (0..=4).map(|n| first + n * week).collect();
    let report = report(&query(edges), &page(samples.collect(), &["opsgenie", "incidentio"], &[]));
    let expected = cutover["expect"]["series"].as_array().unwrap();
    assert_eq!(report.trend.len(), expected.len());
    for (bucket, expected) in report.trend.iter().zip(expected) {
        assert_statistics(&bucket.statistics, expected, &expected["bucket"].to_string());
        for (source, count) in report.by_source.iter().zip(&bucket.by_source) {
            assert_eq!(expected["by_source"][&source.label].as_u64(), Some(*count), "{expected}");
        }
    }
    assert_eq!(
        report.trend[2].statistics,
        Statistics { count: 0, durations: None },
        "no incident, no figure"
    );
}

#[test]
fn a_clock_without_a_start_is_a_reason() {
    let plain = sample(T0, Some(T0 + SECOND));
    let samples = vec![Sample { acknowledged_at: Some(T0), ..plain.clone() }, plain];
    let query = MttrQuery { start: ClockStart::Acknowledged, ..query(vec![T0, T0 + 10 * SECOND]) };
    let report = report(&query, &page(samples, &["incidentio"], &[]));
    assert_eq!(report.overall.statistics.count, 1);
    assert_eq!(report.excluded[0].reason, "no-start-time");
}

/// The only reason that this sample, alone, is left out for.
fn reason(of: Sample, query: &MttrQuery) -> String {
    let report = report(query, &page(vec![of], &["incidentio"], &[]));
    assert_eq!((report.population, report.excluded.len()), (1, 1));
    report.excluded[0].reason.clone()
}

#[test]
fn times_that_cannot_be_are_reasons_in_the_documented_order() {
    let all = query(vec![Timestamp::MIN, Timestamp::MAX]);
    let year_one = -62_135_596_800 * SECOND;
    let late = |of: Sample| Sample { mode: Mode::Retrospective, ..of };
    let undated = |of: Sample| Sample { created_at: None, ..of };
    let open = |of: Sample| Sample { phase: Phase::Active, ..of };
    let ended = sample(T0, Some(T0 + 9));
    for (of, expected) in [
        (open(Sample { not_visible: true, ..ended.clone() }), "not-visible"),
        (open(undated(sample(T0, Some(year_one)))), "open"),
        (late(undated(sample(T0, Some(year_one)))), "implausible-time"),
        (sample(year_one, Some(T0)), "implausible-time"),
        (sample(year_one, Some(NOW + 1)), "implausible-time"),
        (late(sample(T0, Some(NOW + 1))), "ends-in-the-future"),
        (late(undated(ended.clone())), "entered-later"),
        (late(Sample { started_at: Some(T0), resolved_at: None, ..ended.clone() }), "entered-later"),
        (undated(Sample { resolved_at: None, ..ended.clone() }), "no-creation-time"),
        (Sample { resolved_at: None, ..ended.clone() }, "no-resolution-time"),
        (sample(T0 + 10, Some(T0 + 9)), "negative-duration"),
    ] {
        assert_eq!(reason(of, &all), expected);
    }
    let by_acknowledgement = MttrQuery { start: ClockStart::Acknowledged, ..all.clone() };
    assert_eq!(reason(undated(ended.clone()), &by_acknowledgement), "no-start-time");
    // A time that does not decide is of no concern.
    let odd = Sample { started_at: Some(year_one), acknowledged_at: Some(year_one), ..ended };
    assert_eq!(report(&all, &page(vec![odd.clone()], &["incidentio"], &[])).overall.statistics.count, 1);
    assert_eq!(reason(odd, &MttrQuery { start: ClockStart::Started, ..all }), "implausible-time");
}

#[test]
fn the_oldest_open_incident_is_one_whose_creation_can_be() {
    let all = query(vec![Timestamp::MIN, Timestamp::MAX]);
    let open = |created_at| Sample { phase: Phase::Active, ..sample(created_at, None) };
    let report = report(&all, &page(vec![open(0), open(T0), open(NOW + 1)], &["incidentio"], &[]));
    assert_eq!((report.open, report.oldest_open), (3, Some(T0)));
}

#[test]
fn a_report_says_how_many_more_another_clock_would_measure() {
    // Declared after it was over, as a status page does: a seventh is negative by creation.
    let samples = (0..14).map(|n| {
        let created = if n < 2 { T0 + 100 } else { T0 + 10 };
        Sample { started_at: Some(T0), acknowledged_at: Some(T0 + 20), ..sample(created, Some(T0 + 50)) }
    });
    let page = page(samples.collect(), &["incidentio"], &[]);
    let edges = vec![T0, T0 + 1_000];
    let by_creation = report(&query(edges.clone()), &page);
    let others: Vec<_> =
        by_creation.other_clocks.iter().map(|other| (word(other.start), other.more)).collect();
    assert_eq!(others, [("Started".to_owned(), 2), ("Acknowledged".to_owned(), 2)]);
    let by_start = report(&MttrQuery { start: ClockStart::Started, ..query(edges) }, &page);
    assert!(by_start.other_clocks.is_empty());
}

#[test]
fn a_report_says_what_waits_and_what_the_other_end_changes() {
    let mut samples = vec![sample(T0, Some(T0 + 9)); 4];
    samples[0].waits = true;
    (samples[1].waits, samples[1].phase) = (true, Phase::Active);
    samples[2].first_resolved_at = Some(T0 + 5);
    (samples[3].first_resolved_at, samples[3].created_at) = (Some(T0 + 5), Some(T0 + 7));
    let page = page(samples, &["incidentio"], &[]);
    let edges = vec![T0, T0 + 1_000];
    let by_last = report(&query(edges.clone()), &page);
    assert_eq!((by_last.provisional, by_last.reopened, by_last.overall.statistics.count), (1, 2, 3));
    let by_first = report(&MttrQuery { end: ClockEnd::FirstResolution, ..query(edges) }, &page);
    assert_eq!((by_first.reopened, by_first.overall.statistics.count), (2, 2));
    assert_eq!(by_first.excluded.last().unwrap().reason, "negative-duration");
}

#[test]
fn edges_that_make_no_buckets_are_refused() {
    for edges in [vec![], vec![0], vec![0, 0], vec![5, 4], vec![0, 9, 8]] {
        let result = compute(&query(edges), NOW, &mut |_, _, _, _| Ok(page(Vec::new(), &[], &[])));
        assert!(matches!(result, Err(Error::Invalid(_))));
    }
}

#[test]
fn a_scan_that_stands_still_or_lies_is_an_error_and_not_a_hang() {
    let still = SamplePage { next: Some("x".into()), ..page(vec![], &[], &[]) };
    let computed = |page: SamplePage| {
        compute(&query(vec![T0, T0 + 1]), NOW, &mut |_, _, _, _| Ok(page.clone())).map(|_| ())
    };
    assert!(matches!(computed(still), Err(Error::Malformed(_))));
    for broken in [
        page(vec![sample(T0, Some(T0))], &[], &[]),
        page(vec![sample(T0, Some(T0 + 99))], &["incidentio"], &[]),
        page(vec![Sample { services: vec![7], ..sample(T0, Some(T0)) }], &["incidentio"], &["one"]),
    ] {
        assert!(matches!(computed(broken), Err(Error::Malformed(_))));
    }
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let phases = [
        Phase::Triage,
        Phase::Active,
        Phase::Paused,
        Phase::Resolved,
        Phase::Closed,
        Phase::Closed,
        Phase::Closed,
        Phase::Declined,
        Phase::Canceled,
        Phase::Merged,
        Phase::Unknown,
    ];
    let modes = [
        Mode::Standard,
        Mode::Standard,
        Mode::Standard,
        Mode::Retrospective,
        Mode::Test,
        Mode::Tutorial,
        Mode::Unknown,
    ];
    let priorities = [None, Some(Priority::P1), Some(Priority::P2), Some(Priority::P3), Some(Priority::P4)];
    let time = T0..T0 + 1_000;
    (
        (
            proptest::option::weighted(0.9, time.clone()),
            proptest::option::of(time.clone()),
            proptest::option::of(time.clone()),
        ),
        (proptest::option::weighted(0.8, time.clone()), proptest::option::weighted(0.2, time)),
        (prop::sample::select(phases.to_vec()), prop::sample::select(modes.to_vec())),
        prop::sample::select(priorities.to_vec()),
        (any::<bool>(), proptest::bool::weighted(0.1), any::<bool>(), any::<bool>()),
        (0u32..2, proptest::collection::vec(0u32..3, 0..3)),
    )
        .prop_map(
            |(
                (created_at, started_at, acknowledged_at),
                (resolved_at, first),
                (phase, mode),
                priority,
                (private, duplicate, waits, not_visible),
                (source, services),
            )| {
                Sample {
                    created_at,
                    started_at,
                    acknowledged_at,
                    resolved_at,
                    first_resolved_at: first.filter(|first| Some(*first) < resolved_at),
                    priority,
                    phase,
                    mode,
                    private,
                    source,
                    services,
                    duplicate,
                    waits,
                    not_visible,
                }
            },
        )
}

/// PERCENTILE_CONT on a list, as its definition says.
fn percentile(sorted: &[i64], q: f64) -> Option<f64> {
    let position = q * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (sorted[position.floor() as usize] as f64, sorted[position.ceil() as usize] as f64);
    Some((low + (high - low) * position.fract()) / 1e6)
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        (None, None) => true,
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_figure_is_what_a_naive_computation_gives(
        samples in proptest::collection::vec(any_sample(), 0..60),
        cut in 1usize..60,
        include_private in any::<bool>(),
        clock in 0..3,
        end in 0..3,
    ) {
        let start = [ClockStart::Created, ClockStart::Started, ClockStart::Acknowledged][clock as usize];
        let end = [ClockEnd::Resolved, ClockEnd::FirstResolution, ClockEnd::Acknowledged][end as usize];
        let query = MttrQuery { start, end, include_private, ..query([0, 300, 301, 1_000].map(|at| T0 + at).to_vec()) };
        let names = page(vec![], &["incidentio", "opsgenie"], &["a", "b", "c"]);
        let pages: Vec<SamplePage> = samples.chunks(cut).map(|part| SamplePage { samples: part.to_vec(), ..names.clone() }).collect();
        let report = compute(&query, NOW, &mut |_, _, _, after| {
            let at: usize = after.map_or(0, |after| after.parse().unwrap());
            let next = (at + 1 < pages.len()).then(|| (at + 1).to_string());
            Ok(SamplePage { next, ..pages.get(at).unwrap_or(&names).clone() })
        }).unwrap();

        let mut durations: Vec<(i64, &Sample)> = Vec::new();
        for sample in &samples {
            let counted = matches!(sample.phase, Phase::Resolved | Phase::Closed)
                && !matches!(sample.mode, Mode::Test | Mode::Tutorial)
                && (include_private || !sample.private)
                && !sample.duplicate;
            let start = match (start, sample.mode) {
                (ClockStart::Acknowledged, _) => sample.acknowledged_at,
                (_, Mode::Retrospective) => sample.started_at,
                (ClockStart::Started, _) => sample.started_at.or(sample.created_at),
                (ClockStart::Created, _) => sample.created_at,
            };
            let end = sample.resolved_at.and_then(|at| match end {
                ClockEnd::Acknowledged => sample.acknowledged_at,
                ClockEnd::FirstResolution => sample.first_resolved_at.or(Some(at)),
                ClockEnd::Resolved => Some(at),
            });
            if let (true, Some(start), Some(end)) = (counted, start, end) && start <= end {
                durations.push((end - start, sample));
            }
        }
        let naive = |filter: &dyn Fn(&Sample) -> bool| {
            let mut of: Vec<i64> = durations.iter().filter(|(_, s)| filter(s)).map(|(d, _)| *d).collect();
            of.sort_unstable();
            of
        };
        let same = |statistics: &Statistics, of: Vec<i64>| {
            let figure = |pick: fn(&Durations) -> f64| statistics.durations.as_ref().map(pick);
            statistics.count == of.len() as u64
                && close(figure(|d| d.median), percentile(&of, 0.5))
                && close(figure(|d| d.p75), percentile(&of, 0.75))
                && close(figure(|d| d.p90), percentile(&of, 0.9))
                && close(figure(|d| d.p95), percentile(&of, 0.95))
                && close(figure(|d| d.min), percentile(&of, 0.0))
                && close(figure(|d| d.max), percentile(&of, 1.0))
                && close(figure(|d| d.mean), (!of.is_empty()).then(|| of.iter().sum::<i64>() as f64 / of.len() as f64 / 1e6))
        };
        prop_assert!(same(&report.overall.statistics, naive(&|_| true)));
        for bucket in &report.trend {
            let within = |s: &Sample| s.resolved_at.is_some_and(|at| (bucket.since..bucket.until).contains(&at));
            prop_assert!(same(&bucket.statistics, naive(&within)));
            prop_assert_eq!(bucket.by_source.iter().sum::<u64>(), bucket.statistics.count);
        }
        for slice in &report.by_service {
            let of = match slice.label.as_str() {
                "(no service)" => naive(&|s| s.services.is_empty()),
                label => naive(&|s| s.services.iter().any(|at| ["a", "b", "c"][*at as usize] == label)),
            };
            prop_assert!(same(&slice.statistics, of));
        }
        for slice in &report.by_priority {
            let label = |s: &Sample| s.priority.map_or("none".into(), word);
            prop_assert!(same(&slice.statistics, naive(&|s| label(s) == slice.label)));
        }
        let left_out: u64 = report.excluded.iter().map(|e| e.count).sum();
        prop_assert_eq!(report.population, samples.len() as u64);
        prop_assert_eq!(left_out + report.overall.statistics.count, report.population);
        prop_assert!(report.excluded.iter().all(|e| REASONS.contains(&e.reason.as_str()) && e.count > 0));
    }
}
