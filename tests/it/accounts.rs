//! Accounts in which something is odd about the times of incidents: what time to restore makes of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta};
use koalr_host::contract::{
    ClockEnd, ClockStart, DerivedTime, Incident, Interval, MttrQuery, MttrReport, Reopening, Settings,
    Timestamp, TimestampChoice,
};
use koalr_host::port::JobKind;
use serde_json::{Value, json};

use crate::support::*;

/// An account, served as incident.io would.
struct Provider {
    account: Mutex<Value>,
    /// How many more requests for one incident it answers.
    allowance: AtomicU32,
}

async fn serve(provider: Arc<Provider>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(provider);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn provider(account: Value) -> String {
    serve(Arc::new(Provider { account: Mutex::new(account), allowance: AtomicU32::new(u32::MAX) })).await
}

async fn answer(
    State(provider): State<Arc<Provider>>,
    OriginalUri(uri): OriginalUri,
) -> (StatusCode, String) {
    let path = uri.path();
    let parameter =
        |name: &str| uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix(name)));
    let of = parameter("incident_id=");
    let changed = parameter("updated_at%5Bdate_range%5D=").and_then(|days| days.split_once('~'));
    let account = provider.account.lock().unwrap().clone();
    let rows = |key: &str| account[key].as_array().cloned().unwrap_or_default();
    let answer = match path {
        "/v1/identity" => json!({ "identity": {
            "name": "k", "dashboard_url": "https://app.incident.io/acme", "roles": ["viewer", "global_access"],
        }}),
        "/v2/incident_participants" => json!({"incident_participants": {"active": [], "passive": []}}),
        _ => match path.strip_prefix("/v2/incidents/") {
            Some(_) if provider.allowance.load(Ordering::SeqCst) == 0 => {
                return (StatusCode::TOO_MANY_REQUESTS, json!({"type": "too_many_requests"}).to_string());
            }
            Some(id) => {
                provider.allowance.fetch_sub(1, Ordering::SeqCst);
                match rows("incidents").into_iter().find(|incident| incident["id"] == id) {
                    Some(incident) => json!({ "incident": incident }),
                    None => return (StatusCode::NOT_FOUND, json!({"type": "not_found"}).to_string()),
                }
            }
            None => {
                let key = path.rsplit('/').next().unwrap_or_default();
                let mut rows = rows(key);
                rows.retain(|row| of.is_none_or(|id| row["incident_id"] == id));
                if let (Some((from, to)), "incidents") = (changed, key) {
                    let day = |row: &Value| {
                        row["updated_at"].as_str().and_then(|at| Some(at.get(..10)?.to_owned()))
                    };
                    rows.retain(|row| day(row).is_none_or(|day| (from..=to).contains(&day.as_str())));
                }
                json!({ key: rows, "pagination_meta": {"page_size": 250} })
            }
        },
    };
    (StatusCode::OK, answer.to_string())
}

/// An organisation with this account, some days after all that happened in it; history is imported.
async fn imported(account: &str) -> Bench {
    let bench = Bench::new().await;
    bench.clock.advance(TimeDelta::days(9));
    bench.connect(&provider(fixture(&format!("accounts/{account}.json"))).await).await.unwrap();
    bench.run(JobKind::Backfill).await.unwrap();
    bench
}

async fn synced(account: &str) -> Bench {
    let bench = imported(account).await;
    bench.run(JobKind::Poll).await.unwrap();
    bench
}

fn at(text: &str) -> Timestamp {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

fn by(text: &str, rule: &str) -> Option<DerivedTime> {
    Some(DerivedTime { at: at(text), rule: rule.into() })
}

/// October and November.
fn autumn() -> MttrQuery {
    MttrQuery::new(
        ["2026-10-01", "2026-11-01", "2026-12-01"].map(|day| at(&format!("{day}T00:00:00Z"))).to_vec(),
    )
}

async fn asked(bench: &Bench, query: &MttrQuery) -> MttrReport {
    bench.host.mttr(&bench.org, query).await.unwrap()
}

/// The seconds of one incident, or why it has none.
async fn restored(bench: &Bench, query: &MttrQuery, name: &str) -> Result<f64, String> {
    let key = incident(bench, name).await.key;
    let report = bench.host.explain(&bench.org, query, &key).await.unwrap();
    assert_eq!(report.population, 1, "{name} is in the report");
    match report.overall.statistics.durations {
        Some(durations) => Ok(durations.mean),
        None => Err(report.excluded[0].reason.clone()),
    }
}

async fn incident(bench: &Bench, name: &str) -> Incident {
    bench.incident(name).await.unwrap()
}

const HOUR: f64 = 3_600.0;

#[tokio::test]
async fn a_retrospective_incident_ends_when_a_person_says_and_not_at_data_entry() {
    let bench = synced("retrospective").await;
    for start in [ClockStart::Created, ClockStart::Started] {
        let query = MttrQuery { start, ..autumn() };
        assert_eq!(restored(&bench, &query, "INC-1").await, Ok(3.0 * HOUR));
        assert_eq!(restored(&bench, &query, "INC-2").await, Err("entered-later".into()));
        assert_eq!(restored(&bench, &query, "INC-3").await, Err("entered-later".into()));
    }
    let report = asked(&bench, &autumn()).await;
    assert_eq!((report.overall.statistics.count, report.population), (1, 3));
    assert_eq!((report.excluded.len(), report.excluded[0].count), (1, 2));
}

#[tokio::test]
async fn an_end_in_the_future_is_counted_under_its_reason() {
    let bench = synced("reopened-renamed-mistyped-paused").await;
    assert_eq!(restored(&bench, &autumn(), "INC-3").await, Err("ends-in-the-future".into()));
    let report = asked(&bench, &autumn()).await;
    assert_eq!((report.overall.statistics.count, report.population), (3, 4));
    // Once that moment has come, the end is one like any other.
    bench.clock.advance(TimeDelta::days(365));
    let then = MttrQuery::new(vec![at("2027-11-01T00:00:00Z"), at("2027-12-01T00:00:00Z")]);
    assert_eq!(restored(&bench, &then, "INC-3").await, Ok(365.0 * 24.0 * HOUR + HOUR));
    assert_eq!(asked(&bench, &autumn()).await.population, 3);
}

#[tokio::test]
async fn a_reopened_incident_tells_the_time_that_was_passed_over() {
    let bench = synced("reopened-renamed-mistyped-paused").await;
    let reopened = incident(&bench, "INC-1").await;
    let passed_over = by("2026-11-10T11:00:00Z", "resolved-at-timestamp");
    assert_eq!(
        reopened.reopenings,
        [Reopening { at: at("2026-11-20T11:00:00Z"), passed_over: passed_over.clone() }]
    );
    assert_eq!(reopened.resolved_at, by("2026-11-20T11:01:00Z", "status-transition"));
    assert_eq!(reopened.first_resolved_at, passed_over);
    assert!(incident(&bench, "INC-2").await.reopenings.is_empty());

    let first = MttrQuery { end: ClockEnd::FirstResolution, ..autumn() };
    assert_eq!(restored(&bench, &autumn(), "INC-1").await, Ok(10.0 * 24.0 * HOUR + HOUR + 60.0));
    assert_eq!(restored(&bench, &first, "INC-1").await, Ok(HOUR));
    let (by_last, by_first) = (asked(&bench, &autumn()).await, asked(&bench, &first).await);
    assert_eq!((by_last.reopened, by_first.reopened), (1, 1));
    assert_eq!(by_last.population, by_first.population);
    let longest = |report: &MttrReport| report.overall.statistics.durations.map(|of| of.max);
    assert_eq!(longest(&by_last), Some(10.0 * 24.0 * HOUR + HOUR + 60.0));
    assert_eq!(longest(&by_first), Some(73.0 * HOUR), "of the one that was paused");
}

#[tokio::test]
async fn paused_time_is_told() {
    let bench = synced("reopened-renamed-mistyped-paused").await;
    let paused = incident(&bench, "INC-4").await;
    let pause = Interval { since: at("2026-11-10T11:00:00Z"), until: Some(at("2026-11-13T10:00:00Z")) };
    assert_eq!(paused.pauses, [pause]);
    assert_eq!(restored(&bench, &autumn(), "INC-4").await, Ok(73.0 * HOUR), "the standard clock runs on");
}

#[tokio::test]
async fn a_report_is_provisional_until_all_its_timelines_are_read() {
    let bench = imported("reopened-renamed-mistyped-paused").await;
    assert_eq!(asked(&bench, &autumn()).await.provisional, 4);
    bench.run(JobKind::Poll).await.unwrap();
    assert_eq!(asked(&bench, &autumn()).await.provisional, 0);
}

#[tokio::test]
async fn an_incident_whose_creation_cannot_be_read_is_kept_and_left_out() {
    let bench = synced("creation-unreadable").await;
    assert_eq!(restored(&bench, &autumn(), "INC-1").await, Ok(24.0 * HOUR));
    for start in [ClockStart::Created, ClockStart::Started] {
        let query = MttrQuery { start, ..autumn() };
        assert_eq!(restored(&bench, &query, "INC-2").await, Err("no-creation-time".into()));
    }
    let undated = incident(&bench, "INC-2").await;
    assert_eq!((undated.created_at, undated.started_at), (None, None), "no time has the name of another");
    assert_eq!(
        restored(&bench, &autumn(), "INC-3").await,
        Ok(24.0 * HOUR),
        "an offset without a colon is read"
    );
    let report = asked(&bench, &autumn()).await;
    assert_eq!((report.overall.statistics.count, report.population), (2, 3));
}

#[tokio::test]
async fn an_incident_without_any_time_that_can_be_read_is_counted_too() {
    let bare = json!({"id": "01BARE", "reference": "INC-9", "visibility": "public", "mode": "standard", "updated_at": "soon",
        "created_at": null, "incident_status": {"name": "Closed", "category": "closed"}});
    let bench = Bench::new().await;
    bench.connect(&provider(json!({ "incidents": [bare] })).await).await.unwrap();
    bench.run(JobKind::Backfill).await.unwrap();
    assert_eq!(restored(&bench, &autumn(), "INC-9").await, Err("no-creation-time".into()));
    assert_eq!(asked(&bench, &autumn()).await.population, 1);
}

/// The settings of a bench's organisation, with this timestamp as the end.
async fn ending_at(bench: &Bench, timestamp: Option<&str>) -> Settings {
    let settings = bench.host.organisation(&bench.org).await.unwrap().settings;
    let resolved = timestamp.map(Into::into);
    Settings { timestamps: TimestampChoice { resolved, ..settings.timestamps }, ..settings }
}

async fn unknown_timestamps(bench: &Bench) -> Vec<(String, u64)> {
    let unknown = bench.store.unknown_timestamps(&bench.org).await.unwrap();
    unknown.into_iter().map(|one| (one.name, one.incidents)).collect()
}

#[tokio::test]
async fn a_timestamp_with_a_usual_name_tells_the_end_and_another_is_told() {
    let bench = synced("renamed").await;
    assert_eq!(restored(&bench, &autumn(), "INC-1").await, Ok(HOUR));
    assert_eq!(restored(&bench, &autumn(), "INC-2").await, Ok(49.0 * HOUR));
    assert_eq!(restored(&bench, &autumn(), "INC-3").await, Ok(49.0 * HOUR));
    assert_eq!(unknown_timestamps(&bench).await, [("Customer impact over".into(), 1)]);
}

#[tokio::test]
async fn a_timestamp_that_the_settings_name_tells_the_end_without_another_request() {
    let bench = synced("renamed").await;
    let settings = ending_at(&bench, Some(" customer IMPACT over ")).await;
    let connection = bench.host.put_settings(&bench.org, settings).await.unwrap();
    let names = connection.timestamps.iter().map(|one| (one.id.as_str(), one.name.as_str()));
    assert!(names.eq([
        ("01TRESOLVED", "Resolved at"),
        ("01TRESTORED", "Service restored"),
        ("01TOVER", "Customer impact over"),
        ("01TBEGAN", "Trouble began"),
        ("01TSEEN", "Seen by us"),
    ]));
    assert_eq!(connection.chosen.resolved.as_deref(), Some("01TOVER"));
    assert_eq!(
        ending_at(&bench, Some("01TOVER")).await,
        bench.host.organisation(&bench.org).await.unwrap().settings
    );
    let done = bench.run(JobKind::Rederive).await.unwrap();
    assert_eq!((done.updated, done.requests), (1, 0));
    assert_eq!(incident(&bench, "INC-2").await.resolved_at, by("2026-11-10T11:00:00Z", "chosen-timestamp"));
    assert_eq!(restored(&bench, &autumn(), "INC-2").await, Ok(HOUR));
    assert_eq!(restored(&bench, &autumn(), "INC-1").await, Ok(HOUR));
    assert_eq!(restored(&bench, &autumn(), "INC-3").await, Ok(49.0 * HOUR), "it is not filled there");
    assert_eq!(unknown_timestamps(&bench).await, []);

    bench.host.put_settings(&bench.org, ending_at(&bench, None).await).await.unwrap();
    bench.run(JobKind::Rederive).await.unwrap();
    assert_eq!(restored(&bench, &autumn(), "INC-2").await, Ok(49.0 * HOUR));
}

#[tokio::test]
async fn all_three_times_of_an_incident_can_be_set() {
    let bench = synced("renamed").await;
    let timestamps = TimestampChoice {
        started: Some("Trouble began".into()),
        acknowledged: Some("Seen by us".into()),
        resolved: Some("Customer impact over".into()),
    };
    let settings = Settings { timestamps, ..ending_at(&bench, None).await };
    bench.host.put_settings(&bench.org, settings).await.unwrap();
    bench.run(JobKind::Rederive).await.unwrap();
    let set = incident(&bench, "INC-2").await;
    let rule = "chosen-timestamp";
    assert_eq!(
        (set.started_at, set.acknowledged_at, set.resolved_at),
        (
            by("2026-11-10T09:30:00Z", rule),
            by("2026-11-10T10:05:00Z", rule),
            by("2026-11-10T11:00:00Z", rule)
        )
    );
}

#[tokio::test]
async fn a_timestamp_that_the_account_does_not_have_is_refused_with_those_that_it_has() {
    let bench = synced("renamed").await;
    let refused = async |timestamps: TimestampChoice| {
        let settings = Settings { timestamps, ..ending_at(&bench, None).await };
        bench.host.put_settings(&bench.org, settings).await.unwrap_err().to_string()
    };
    let text = refused(TimestampChoice { resolved: Some("Over".into()), ..TimestampChoice::default() }).await;
    assert_eq!(
        text,
        "the account has no timestamp `Over`; it has Resolved at, Service restored, Customer impact over, Trouble began, \
         Seen by us"
    );
    let twice = Some("Seen by us".to_owned());
    let text = refused(TimestampChoice { started: twice.clone(), acknowledged: twice, resolved: None }).await;
    assert!(text.contains("two moments"), "{text}");
    assert_eq!(bench.host.organisation(&bench.org).await.unwrap().settings, ending_at(&bench, None).await);
}

#[tokio::test]
async fn a_preview_tells_what_a_timestamp_would_change_and_changes_nothing() {
    let bench = synced("renamed").await;
    let before = incident(&bench, "INC-2").await;
    let settings = ending_at(&bench, Some("Customer impact over")).await;
    let preview = bench.host.preview_settings(&bench.org, settings).await.unwrap();
    let counted = (preview.incidents, preview.started, preview.acknowledged, preview.resolved);
    assert_eq!(counted, (1, 0, 0, 1));
    let [example] = &preview.examples[..] else { panic!("{:?}", preview.examples) };
    assert_eq!(example.before, before);
    assert_eq!(example.after.resolved_at, by("2026-11-10T11:00:00Z", "chosen-timestamp"));

    assert_eq!(incident(&bench, "INC-2").await, before);
    assert_eq!(bench.host.organisation(&bench.org).await.unwrap().settings, ending_at(&bench, None).await);
    bench.host.schedule_rederive(&bench.org).await.unwrap();
    assert_eq!(
        bench.run(JobKind::Rederive).await.unwrap().updated,
        0,
        "the plugin has not taken the settings"
    );
}

#[tokio::test]
async fn an_incident_that_is_open_since_before_the_import_counts_without_any_poll() {
    let bench = imported("open-since-may").await;
    let report = asked(&bench, &autumn()).await;
    let since = at("2026-05-01T10:00:00Z");
    assert_eq!((report.population, report.open, report.oldest_open), (1, 1, Some(since)));
}

#[tokio::test]
async fn a_look_at_what_is_open_ends_under_a_small_allowance() {
    let open = |n: u32| {
        json!({"id": format!("01OPEN{n:02}"), "reference": format!("INC-{n}"), "visibility": "public", "mode": "standard",
            "incident_status": {"name": "Fixing", "category": "live"},
            "created_at": "2026-11-19T10:00:00Z", "updated_at": "2026-11-19T11:00:00Z"})
    };
    let account = json!({"incidents": (1..=50).map(open).collect::<Vec<_>>()});
    let provider = Arc::new(Provider { account: Mutex::new(account), allowance: AtomicU32::new(u32::MAX) });
    let bench = Bench::new().await;
    bench.connect(&serve(provider.clone()).await).await.unwrap();
    bench.sync().await;
    *provider.account.lock().unwrap() = json!({});
    for look in 1..=2 {
        bench.clock.advance(TimeDelta::hours(25));
        let mut problems = Vec::new();
        let mut answered = 0;
        let mut ended = false;
        for _ in 0..6 {
            provider.allowance.store(20, Ordering::SeqCst);
            let step = bench.host.poll(&bench.org).await.unwrap();
            answered += 20 - provider.allowance.load(Ordering::SeqCst);
            problems.extend(step.problems);
            ended = !step.more;
            if ended {
                break;
            }
        }
        assert!(ended, "look {look} does not end");
        assert_eq!(answered, 50, "each is asked for once");
        assert_eq!(problems.len(), if look == 1 { 0 } else { 50 });
    }
    assert!(bench.incidents().await.iter().all(|incident| incident.not_visible));
}
