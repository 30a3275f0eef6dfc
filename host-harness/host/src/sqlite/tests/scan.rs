use super::*;
use crate::contract::{Sample, SamplePage};
use crate::port::PLAUSIBLE;
use crate::port::Population;
use crate::port::{Directory, HostService, StoreError};
use crate::sqlite::records::scan;

/// From which the instants of these tests count.
const T0: Timestamp = PLAUSIBLE;
/// Later than all of them that are no mistakes.
const NOW: Timestamp = T0 + 1_000_000;

/// What identifies a sample here: every incident of these tests is created at its own instant.
async fn scanned(store: &SqliteStore, since: Timestamp, until: Timestamp, size: usize) -> Vec<Timestamp> {
    let mut created = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = page(store, since, until, after, size).await;
        assert!(page.samples.len() <= size);
        assert!(page.next.is_none() || page.samples.len() == size, "a page in the middle is full");
        created.extend(page.samples.iter().filter_map(|sample| Some(sample.created_at? - T0)));
        after = page.next;
        if after.is_none() {
            return created;
        }
    }
}

async fn page(
    store: &SqliteStore,
    since: Timestamp,
    until: Timestamp,
    after: Option<String>,
    size: usize,
) -> SamplePage {
    let population = Population { since: T0 + since, until: T0 + until, now: NOW };
    let read = move |connection: &rusqlite::Connection| {
        scan::page(connection, &org("acme"), population, after.as_deref(), size)
    };
    store.read(read).await.unwrap()
}

/// Stores one incident per entry, each created at its own instant.
async fn stored(entries: &[(Timestamp, Phase, Option<Timestamp>)]) -> Fixture {
    let store = fixture().await;
    let changes = entries.iter().map(|(created_at, phase, resolved_at)| {
        let created_at = T0 + created_at;
        let incident = Incident { created_at: Some(created_at), ..incident(&created_at.to_string()) };
        put(over(incident, *phase, resolved_at.map(|at| T0 + at)), None)
    });
    store.commit(&org("acme"), changes.collect(), None).await.unwrap();
    store
}

#[tokio::test]
async fn each_branch_admits_what_the_contract_names() {
    for (created, phase, resolved, admitted) in [
        // Resolved in [100, 200), whenever it was created.
        (1, Phase::Resolved, Some(100), true),
        (1, Phase::Closed, Some(199), true),
        (1, Phase::Resolved, Some(99), false),
        (150, Phase::Resolved, Some(200), false),
        (250, Phase::Resolved, Some(150), true),
        // Without a resolution time, but created in it.
        (100, Phase::Resolved, None, true),
        (199, Phase::Declined, None, true),
        (150, Phase::Unknown, None, true),
        (99, Phase::Canceled, None, false),
        (200, Phase::Merged, None, false),
        // Open, and created before its end.
        (1, Phase::Triage, None, true),
        (150, Phase::Active, None, true),
        (199, Phase::Paused, None, true),
        (200, Phase::Active, None, false),
        // Open with a resolution time, which should not be: it is open.
        (1, Phase::Active, Some(500), true),
        (199, Phase::Active, Some(50), true),
        (250, Phase::Active, Some(150), false),
        // An end that is a mistake is none.
        (150, Phase::Closed, Some(1_000_001), true),
        (99, Phase::Closed, Some(1_000_001), false),
        (150, Phase::Closed, Some(-1), true),
        (200, Phase::Closed, Some(-1), false),
    ] {
        let store = stored(&[(created, phase, resolved)]).await;
        let found = scanned(&store, 100, 200, 9).await;
        let expected = if admitted { vec![created] } else { vec![] };
        assert_eq!(found, expected, "created at {created}, {phase:?}, resolved at {resolved:?}");
    }
}

#[tokio::test]
async fn the_size_of_a_page_changes_nothing() {
    let mut entries = Vec::new();
    for n in 0..12 {
        // Four resolutions at one instant, so that pages end among equals.
        entries.push((100 + n, Phase::Closed, Some(150 + n / 4)));
        entries.push((200 + n, Phase::Declined, None));
        entries.push((300 + n, Phase::Active, None));
    }
    let store = stored(&entries).await;
    let whole = scanned(&store, 150, 310, 1_000).await;
    assert_eq!(whole.len(), 12 + 12 + 10);
    for size in 1..=whole.len() + 1 {
        assert_eq!(scanned(&store, 150, 310, size).await, whole, "pages of {size}");
    }
}

#[tokio::test]
async fn a_sample_is_the_slice_of_its_incident() {
    let store = fixture().await;
    let acme = org("acme");
    let entry = HostService {
        id: "svc_1".into(),
        name: "Checkout".into(),
        external_ids: Vec::new(),
        aliases: Vec::new(),
    };
    store.import_services(&acme, vec![entry]).await.unwrap();
    let time = |at| Some(DerivedTime { at: T0 + at, rule: "r".into() });
    let mut first = over(incident("1"), Phase::Closed, Some(T0 + 1_900));
    first.started_at = time(900);
    first.acknowledged_at = time(1_100);
    first.first_resolved_at = time(1_800);
    first.not_visible = true;
    first.private = true;
    first.mode = Mode::Retrospective;
    first.services = ["shop", "shop-frontend"].map(|name| service(name, Some("svc_1"))).to_vec();
    first.services.push(service("api", None));
    let mut second = over(incident("2"), Phase::Resolved, Some(T0 + 1_950));
    second.created_at = None;
    second.key.source = "opsgenie".into();
    second.priority = None;
    second.services = vec![service("api", None), service("gone", Some("svc_9"))];
    let first = IncidentWrite { incident: first, facts: Vec::new(), revisit: true, base: None };
    store.commit(&acme, vec![Change::PutIncident(first), put(second, None)], None).await.unwrap();

    let population = Population { since: T0, until: T0 + 2_000, now: NOW };
    let page = store.scan_samples(&acme, population, None).await.unwrap();
    assert_eq!(page.sources, ["incidentio", "opsgenie"]);
    assert_eq!(page.services, ["Checkout", "api", "gone"]);
    let expected = Sample {
        created_at: Some(1_000),
        started_at: Some(T0 + 900),
        acknowledged_at: Some(T0 + 1_100),
        resolved_at: Some(T0 + 1_900),
        first_resolved_at: Some(T0 + 1_800),
        priority: Some(Priority::P2),
        phase: Phase::Closed,
        mode: Mode::Retrospective,
        private: true,
        source: 0,
        services: vec![0, 1],
        duplicate: false,
        waits: true,
        not_visible: true,
    };
    assert_eq!(page.samples[0], expected);
    let second = &page.samples[1];
    assert_eq!((second.source, &second.services, second.priority), (1, &vec![1, 2], None));
    assert_eq!((second.created_at, second.waits, second.not_visible), (None, false, false));
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_place_that_no_page_named_is_refused() {
    let store = fixture().await;
    for text in ["", "x", "1:2", "1:2:3:4", "0:0:99999999999999999999"] {
        let population = Population { since: 0, until: 1, now: NOW };
        let refused = store.scan_samples(&org("acme"), population, Some(text)).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{text}");
    }
}

#[tokio::test]
async fn an_incident_without_a_time_that_can_be_believed_is_in_the_population_of_now() {
    let mistakes = [Timestamp::MIN, -1, 0, PLAUSIBLE - 1, NOW + 1, Timestamp::MAX];
    let phases = [Phase::Closed, Phase::Closed, Phase::Active, Phase::Unknown];
    let store = fixture().await;
    let mut stored = 0;
    for (phase, at) in phases.into_iter().flat_map(|phase| mistakes.map(|at| (phase, at))) {
        stored += 1;
        let created_at = Some(at).filter(|_| stored % 3 > 0);
        let incident = Incident { created_at, updated_at: at, ..incident(&stored.to_string()) };
        let time = DerivedTime { at, rule: "r".into() };
        let incident = Incident { started_at: Some(time), ..over(incident, phase, Some(at)) };
        store.commit(&org("acme"), vec![put(incident, None)], None).await.unwrap();
    }
    let count = async |since, until| {
        let population = Population { since, until, now: NOW };
        let read = move |connection: &rusqlite::Connection| {
            let page = scan::page(connection, &org("acme"), population, None, 1_000)?;
            let incidents = connection
                .prepare("SELECT id FROM incident")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()?;
            let mut one_by_one = 0;
            for id in incidents {
                let page = scan::one(connection, &org("acme"), &key(&id), population)?;
                one_by_one += page.samples.len();
            }
            assert_eq!(page.samples.len(), one_by_one, "one incident is looked at by the rules of all");
            Ok(one_by_one)
        };
        store.read(read).await.unwrap()
    };
    let open = mistakes.len();
    assert_eq!(count(NOW - 5, NOW + 5).await, stored);
    assert_eq!(count(NOW, Timestamp::MAX).await, stored);
    assert_eq!(count(Timestamp::MIN, NOW).await, 0);
    assert_eq!(count(NOW + 1, NOW + 5).await, open, "what is open is open later too");
}

#[tokio::test]
async fn without_a_creation_the_start_gives_the_place_and_without_that_the_last_update() {
    let store = fixture().await;
    let time = |at| Some(DerivedTime { at: T0 + at, rule: "r".into() });
    let undated = |id: &str, started_at| Incident {
        created_at: None,
        started_at,
        updated_at: T0 + 300,
        ..over(incident(id), Phase::Declined, None)
    };
    let changes = vec![put(undated("1", time(100)), None), put(undated("2", None), None)];
    store.commit(&org("acme"), changes, None).await.unwrap();
    assert_eq!(page(&store, 100, 101, None, 9).await.samples.len(), 1);
    assert_eq!(page(&store, 300, 301, None, 9).await.samples.len(), 1);
    assert_eq!(page(&store, 0, 1_000, None, 9).await.samples.len(), 2);
}

#[tokio::test]
async fn a_scan_reads_its_index_only() {
    let store = fixture().await;
    let plan = store.read(|connection| {
        let explain = format!("EXPLAIN QUERY PLAN {}", scan::PAST);
        let mut statement = connection.prepare(&explain)?;
        let rows = statement
            .query_map(rusqlite::params!["acme", 0, 1, 2, 5, 3, 4], |row| row.get::<_, String>(3))?;
        Ok(rows.collect::<rusqlite::Result<Vec<String>>>()?)
    });
    let plan = plan.await.unwrap();
    assert!(
        plan.len() == 1 && plan[0].contains("USING COVERING INDEX incident_scan (org=? AND branch=?"),
        "{plan:?}"
    );
}
