use super::*;
use crate::contract::{Sample, SamplePage};
use crate::port::{Directory, HostService, StoreError};
use crate::sqlite::records::scan;

/// What identifies a sample here: every incident of these tests is created at its own instant.
async fn scanned(store: &SqliteStore, since: Timestamp, until: Timestamp, size: usize) -> Vec<Timestamp> {
    let mut created = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = page(store, since, until, after, size).await;
        assert!(page.samples.len() <= size);
        assert!(page.next.is_none() || page.samples.len() == size, "a page in the middle is full");
        created.extend(page.samples.iter().map(|sample| sample.created_at));
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
    let read = move |connection: &rusqlite::Connection| {
        scan::page(connection, &org("acme"), since..until, after.as_deref(), size)
    };
    store.read(read).await.unwrap()
}

/// Stores one incident per entry, each created at its own instant.
async fn stored(entries: &[(Timestamp, Phase, Option<Timestamp>)]) -> Fixture {
    let store = fixture().await;
    let changes = entries.iter().map(|(created_at, phase, resolved_at)| {
        let incident = Incident { created_at: *created_at, ..incident(&created_at.to_string()) };
        put(over(incident, *phase, *resolved_at), None)
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
        // Open with a resolution time, which should not be: by either rule.
        (1, Phase::Active, Some(500), true),
        (250, Phase::Active, Some(150), true),
        (250, Phase::Active, Some(50), false),
        (250, Phase::Active, Some(250), false),
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
    let time = |at| Some(DerivedTime { at, rule: "r".into() });
    let mut first = over(incident("1"), Phase::Closed, Some(1_900));
    first.started_at = time(900);
    first.acknowledged_at = time(1_100);
    first.private = true;
    first.mode = Mode::Retrospective;
    first.services = ["shop", "shop-frontend"].map(|name| service(name, Some("svc_1"))).to_vec();
    first.services.push(service("api", None));
    let mut second = over(incident("2"), Phase::Resolved, Some(1_950));
    second.key.source = "opsgenie".into();
    second.priority = None;
    second.services = vec![service("api", None), service("gone", Some("svc_9"))];
    store.commit(&acme, vec![put(first, None), put(second, None)], None).await.unwrap();

    let page = store.scan_samples(&acme, 0, 2_000, None).await.unwrap();
    assert_eq!(page.sources, ["incidentio", "opsgenie"]);
    assert_eq!(page.services, ["Checkout", "api", "gone"]);
    let expected = Sample {
        created_at: 1_000,
        started_at: Some(900),
        acknowledged_at: Some(1_100),
        resolved_at: Some(1_900),
        priority: Some(Priority::P2),
        phase: Phase::Closed,
        mode: Mode::Retrospective,
        private: true,
        source: 0,
        services: vec![0, 1],
        duplicate: false,
    };
    assert_eq!(page.samples[0], expected);
    let second = &page.samples[1];
    assert_eq!((second.source, &second.services, second.priority), (1, &vec![1, 2], None));
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn a_place_that_no_page_named_is_refused() {
    let store = fixture().await;
    for text in ["", "x", "1:2", "1:2:3:4", "0:0:99999999999999999999"] {
        let refused = store.scan_samples(&org("acme"), 0, 1, Some(text)).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{text}");
    }
}

#[tokio::test]
async fn a_scan_reads_its_index_only() {
    let store = fixture().await;
    let plan = store.read(|connection| {
        let explain =
            "EXPLAIN QUERY PLAN SELECT scan_at, n, created_at, started_at, acknowledged_at, resolved_at,
                priority, phase, mode, private, duplicate, source, labels
            FROM incident INDEXED BY incident_scan
            WHERE org = 'acme' AND branch = 0 AND (scan_at, n) > (1, 2) AND scan_at < 3
                AND (created_at < 3 OR (resolved_at >= 1 AND resolved_at < 3))
            ORDER BY scan_at, n LIMIT 5";
        let mut statement = connection.prepare(explain)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(3))?;
        Ok(rows.collect::<rusqlite::Result<Vec<String>>>()?)
    });
    let plan = plan.await.unwrap();
    assert!(
        plan.len() == 1 && plan[0].contains("USING COVERING INDEX incident_scan (org=? AND branch=?"),
        "{plan:?}"
    );
}
