use super::*;
use crate::contract::{ClockEnd, ClockStart, Mode, RevisitPage, Timeline};
use crate::port::PLAUSIBLE;
use crate::port::{IncidentFilter, IncidentOrder, Population, Reports, StoreError, Unmeasurable, Unmeasured};

#[tokio::test]
async fn a_write_is_counted_as_what_it_did() {
    let store = fixture().await;
    let acme = org("acme");
    let first = incident("1");
    let mut newer = incident("1");
    newer.updated_at = 2_000;
    newer.title = "Worse".into();
    for (change, expected, revision) in [
        (put(first.clone(), None), counts(1, 0, 0, 0, 0), 1),
        (put(first.clone(), Some(1)), counts(0, 0, 1, 0, 0), 1),
        (put(newer.clone(), Some(1)), counts(0, 1, 0, 0, 0), 2),
        // Older than what is stored: left alone.
        (put(first.clone(), Some(2)), counts(0, 0, 0, 1, 0), 2),
    ] {
        assert_eq!(store.commit(&acme, vec![change], None).await.unwrap(), expected);
        assert_eq!(super::revision(&store, "1").await, Some(revision));
    }
    let stored = store.incidents_by_key(&acme, &[key("2"), key("1")]).await.unwrap();
    assert_eq!(stored[0], None);
    let stored = stored[1].as_ref().unwrap();
    assert_eq!((stored.revision, stored.facts.as_slice()), (2, b"facts".as_slice()));
    assert_eq!(store.find_incident(&acme, "1").await.unwrap().unwrap(), newer);
}

#[tokio::test]
async fn facts_and_the_wish_to_revisit_are_part_of_a_record() {
    let store = fixture().await;
    let acme = org("acme");
    store.commit(&acme, vec![put(incident("1"), None)], None).await.unwrap();
    let write = |facts: &[u8], revisit, base| {
        let write =
            IncidentWrite { incident: incident("1"), facts: facts.to_vec(), revisit, base: Some(base) };
        vec![Change::PutIncident(write)]
    };
    let applied = store.commit(&acme, write(b"other", false, 1), None).await.unwrap();
    assert_eq!(applied, counts(0, 1, 0, 0, 0));
    let applied = store.commit(&acme, write(b"other", true, 2), None).await.unwrap();
    assert_eq!(applied, counts(0, 1, 0, 0, 0));
    assert_eq!(revision(&store, "1").await, Some(3));
}

#[tokio::test]
async fn a_write_on_another_revision_conflicts_and_nothing_of_its_commit_is_written() {
    let store = fixture().await;
    let acme = org("acme");
    store.commit(&acme, vec![put(incident("1"), None)], None).await.unwrap();
    for (id, base) in [("1", None), ("1", Some(2)), ("unstored", Some(1))] {
        let state = Change::SetState(("cursor".into(), Some(vec![1])));
        let changes = vec![state, put(incident("good"), None), put(incident(id), base)];
        let refused = store.commit(&acme, changes, None).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{id} on {base:?}: {refused:?}");
        assert_eq!(revision(&store, "good").await, None);
        assert_eq!(store.state(&acme, "cursor").await.unwrap(), None);
    }
    assert_eq!(revision(&store, "1").await, Some(1));
}

#[tokio::test]
async fn events_need_their_incident_and_are_written_once() {
    let store = fixture().await;
    let acme = org("acme");
    let lone = store.commit(&acme, vec![Change::PutTimelineEvent(event("1", "a", 5))], None).await;
    assert!(matches!(lone, Err(StoreError::Invalid(_))), "{lone:?}");

    let together = vec![put(incident("1"), None), Change::PutTimelineEvent(event("1", "a", 5))];
    assert_eq!(store.commit(&acme, together, None).await.unwrap(), counts(1, 0, 0, 0, 1));
    let again = vec![Change::PutTimelineEvent(event("1", "a", 5))];
    assert_eq!(store.commit(&acme, again, None).await.unwrap(), counts(0, 0, 0, 0, 0));
    let changed = vec![Change::PutTimelineEvent(event("1", "a", 6))];
    assert_eq!(store.commit(&acme, changed, None).await.unwrap(), counts(0, 0, 0, 0, 1));
    assert_eq!(store.timeline(&acme, &key("1")).await.unwrap(), [event("1", "a", 6)]);
}

#[tokio::test]
async fn a_replaced_timeline_is_what_was_listed_oldest_first() {
    let store = fixture().await;
    let acme = org("acme");
    let replace =
        |events: Vec<TimelineEvent>| Change::ReplaceTimeline(Timeline { incident: key("1"), events });
    let first = vec![put(incident("1"), None), replace(vec![event("1", "b", 7), event("1", "a", 5)])];
    assert_eq!(store.commit(&acme, first, None).await.unwrap().events, 2);
    // One goes, one comes, one stays as it is.
    let second = vec![event("1", "c", 7), event("1", "b", 7)];
    assert_eq!(store.commit(&acme, vec![replace(second)], None).await.unwrap().events, 2);
    let stored = store.timeline(&acme, &key("1")).await.unwrap();
    assert_eq!(stored, [event("1", "b", 7), event("1", "c", 7)]);

    let foreign = store.commit(&acme, vec![replace(vec![event("2", "a", 1)])], None).await;
    assert!(matches!(foreign, Err(StoreError::Invalid(_))), "{foreign:?}");
}

#[tokio::test]
async fn state_holds_a_megabyte_and_none_deletes() {
    let store = fixture().await;
    let acme = org("acme");
    let set = |value: Option<Vec<u8>>| vec![Change::SetState(("cursor".into(), value))];
    store.commit(&acme, set(Some(vec![7; 1_000_000])), None).await.unwrap();
    let refused = store.commit(&acme, set(Some(vec![8; 1_000_001])), None).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
    assert_eq!(store.state(&acme, "cursor").await.unwrap().unwrap()[0], 7);
    store.commit(&acme, set(None), None).await.unwrap();
    assert_eq!(store.state(&acme, "cursor").await.unwrap(), None);
}

#[tokio::test]
async fn a_late_worker_is_refused_and_writes_nothing() {
    let store = fixture().await;
    let acme = org("acme");
    let early = leased(&store, "msg_1", 10).await;
    let late = store.claim(hands(1), LEASE, 10 + 100).await.unwrap().pop().unwrap();
    assert!(late.lease.token > early.lease.token);

    let refused = store.commit(&acme, vec![put(incident("1"), None)], Some(&early.lease)).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    assert_eq!(revision(&store, "1").await, None);

    store.commit(&acme, vec![put(incident("1"), None)], Some(&late.lease)).await.unwrap();
    assert_eq!(revision(&store, "1").await, Some(1));
    assert!(
        store.claim(hands(1), LEASE, 10_000).await.unwrap().is_empty(),
        "the commit completed the delivery"
    );
    let second = store.commit(&acme, Vec::new(), Some(&late.lease)).await;
    assert!(matches!(second, Err(StoreError::Conflict)), "{second:?}");
}

#[tokio::test]
async fn a_refused_commit_leaves_its_delivery_due() {
    let store = fixture().await;
    let held = leased(&store, "msg_1", 10).await;
    let refused = store.commit(&org("acme"), vec![put(incident("1"), Some(9))], Some(&held.lease)).await;
    assert!(matches!(refused, Err(StoreError::Conflict)));
    store.retry(&held.lease, "conflict", 20).await.unwrap();
    assert_eq!(store.claim(hands(1), LEASE, 20).await.unwrap()[0].attempt, 2);

    let foreign = store.commit(&org("beta"), Vec::new(), Some(&held.lease)).await;
    assert!(matches!(foreign, Err(StoreError::Invalid(_))), "{foreign:?}");
}

#[tokio::test]
async fn what_waits_for_a_revisit_is_listed_newest_first() {
    let store = fixture().await;
    let acme = org("acme");
    let write = |id: &str, created_at, revisit, base| {
        let incident = Incident { created_at: Some(created_at), ..incident(id) };
        Change::PutIncident(IncidentWrite { incident, facts: Vec::new(), revisit, base })
    };
    let changes = vec![write("old", 1, true, None), write("new", 3, true, None), write("mid", 2, true, None)];
    store.commit(&acme, changes, None).await.unwrap();
    store.commit(&acme, vec![write("never", 9, false, None)], None).await.unwrap();
    let page = store.to_revisit(&acme, "incidentio", 2).await.unwrap();
    assert_eq!(page, RevisitPage { keys: vec![key("new"), key("mid")], total: 3 });

    store.commit(&acme, vec![write("new", 3, false, Some(1))], None).await.unwrap();
    let page = store.to_revisit(&acme, "incidentio", 9).await.unwrap();
    assert_eq!(page, RevisitPage { keys: vec![key("mid"), key("old")], total: 2 });
    assert_eq!(store.to_revisit(&acme, "opsgenie", 9).await.unwrap().total, 0);
}

#[tokio::test]
async fn the_list_shows_what_its_filter_admits() {
    let store = fixture().await;
    let acme = org("acme");
    let mut services = vec![host_service("svc_1", "Checkout")];
    services[0].aliases = vec!["shop".into()];
    crate::port::Directory::import_services(&store.store, &acme, services).await.unwrap();
    let mut first = Incident { created_at: Some(1), priority: Some(Priority::P1), ..incident("1") };
    first.services = vec![service("Zahlung Öffentlich", None), service("shop-frontend", Some("svc_1"))];
    let second =
        Incident { created_at: Some(2), priority: None, ..over(incident("2"), Phase::Closed, Some(9)) };
    let mut third =
        Incident { created_at: Some(3), title: "Größere 100% Störung".into(), ..incident("3") };
    third.key.source = "opsgenie".into();
    let all = [first, second, third].map(|incident| put(incident, None));
    store.commit(&acme, all.to_vec(), None).await.unwrap();

    let none = IncidentFilter::default;
    for (filter, expected) in [
        (none(), vec!["3", "2", "1"]),
        (IncidentFilter { priorities: vec![Priority::P1, Priority::P2], ..none() }, vec!["3", "1"]),
        (IncidentFilter { phases: vec![Phase::Closed], ..none() }, vec!["2"]),
        (IncidentFilter { sources: vec!["opsgenie".into()], ..none() }, vec!["3"]),
        (IncidentFilter { service: Some("CHECKOUT".into()), ..none() }, vec!["1"]),
        (IncidentFilter { service: Some("shop-Frontend".into()), ..none() }, vec!["1"]),
        (IncidentFilter { service: Some("zahlung öffentlich".into()), ..none() }, vec!["1"]),
        (IncidentFilter { service: Some("check".into()), ..none() }, vec![]),
        (IncidentFilter { text: Some("GRÖSSERE".into()), ..none() }, vec![]),
        (IncidentFilter { text: Some("STÖR".into()), ..none() }, vec!["3"]),
        (IncidentFilter { text: Some("0%".into()), ..none() }, vec!["3"]),
        (IncidentFilter { text: Some("inc-2".into()), ..none() }, vec!["2"]),
        (IncidentFilter { since: Some(2), until: Some(3), ..none() }, vec!["2"]),
        (IncidentFilter { not_priorities: vec![Priority::P1], ..none() }, vec!["3", "2"]),
        (IncidentFilter { not_service: Some("checkout".into()), ..none() }, vec!["3", "2"]),
        (IncidentFilter { not_visible: Some(true), ..none() }, vec![]),
        (IncidentFilter { not_visible: Some(false), ..none() }, vec!["3", "2", "1"]),
    ] {
        let page = store.incidents(&acme, &filter).await.unwrap();
        let ids: Vec<&str> = page.incidents.iter().map(|incident| incident.key.id.as_str()).collect();
        assert_eq!((ids, page.total), (expected.clone(), expected.len() as u64), "{filter:?}");
    }
    let part = IncidentFilter { limit: Some(1), offset: 1, ..none() };
    let page = store.incidents(&acme, &part).await.unwrap();
    assert_eq!((page.incidents[0].key.id.as_str(), page.incidents.len(), page.total), ("2", 1, 3));
}

/// By the component's rules; `tests/it/mttr.rs` holds these against the component itself.
#[tokio::test]
async fn the_list_shows_what_has_no_time_to_restore_for_each_reason() {
    const YEAR: Timestamp = 365 * 86_400_000_000;
    let (t0, now) = (PLAUSIBLE + 15 * YEAR, PLAUSIBLE + 16 * YEAR);
    let store = fixture().await;
    let acme = org("acme");
    let time = |at| Some(DerivedTime { at, rule: "r".into() });
    let dated = |id: &str, created_at, resolved_at| Incident {
        created_at,
        ..over(incident(id), Phase::Closed, resolved_at)
    };
    let mut late = dated("late", Some(t0 + 9), Some(t0 + 3));
    (late.mode, late.started_at) = (Mode::Retrospective, None);
    let mut undated = dated("undated", None, Some(t0 + 3));
    undated.started_at = time(t0);
    let mut reopened = dated("reopened", Some(t0), Some(t0 + 9));
    (reopened.acknowledged_at, reopened.first_resolved_at) = (time(t0 + 5), time(t0 + 4));
    let all = [
        dated("measured", Some(t0), Some(t0 + 1)),
        dated("year one", Some(t0), Some(-PLAUSIBLE)),
        dated("next year", Some(t0), Some(now + 1)),
        late,
        undated,
        dated("endless", Some(t0), None),
        dated("backwards", Some(t0 + 1), Some(t0)),
        reopened,
    ];
    store.commit(&acme, all.map(|incident| put(incident, None)).to_vec(), None).await.unwrap();
    let listed = async |reason, start, end| {
        let filter = IncidentFilter {
            unmeasured: Some(Unmeasured { reason, start, end, now }),
            order: IncidentOrder::Priority,
            ..IncidentFilter::default()
        };
        let page = store.incidents(&acme, &filter).await.unwrap();
        let mut ids: Vec<String> = page.incidents.into_iter().map(|incident| incident.key.id).collect();
        ids.sort();
        ids.join(", ")
    };
    for (reason, by_creation, by_start, by_acknowledgement) in [
        (Unmeasurable::ImplausibleTime, "year one", "year one", "year one"),
        (Unmeasurable::EndsInTheFuture, "next year", "next year", "next year"),
        (Unmeasurable::EnteredLater, "late", "late", ""),
        (Unmeasurable::NoCreationTime, "undated", "", ""),
        (Unmeasurable::NoResolutionTime, "endless", "endless", "endless"),
        (Unmeasurable::NoStartTime, "", "", "backwards, late, measured, undated"),
        (Unmeasurable::NegativeDuration, "backwards", "backwards", ""),
    ] {
        for (start, expected) in [
            (ClockStart::Created, by_creation),
            (ClockStart::Started, by_start),
            (ClockStart::Acknowledged, by_acknowledgement),
        ] {
            assert_eq!(listed(reason, start, ClockEnd::Resolved).await, expected, "{reason:?} by {start:?}");
        }
    }
    let negative =
        listed(Unmeasurable::NegativeDuration, ClockStart::Acknowledged, ClockEnd::FirstResolution);
    assert_eq!(negative.await, "reopened");
}

#[tokio::test]
async fn spellings_of_a_service_are_one_service() {
    let store = fixture().await;
    let acme = org("acme");
    let services = vec![host_service("svc_1", "Payments API"), host_service("svc_2", "Idle")];
    crate::port::Directory::import_services(&store.store, &acme, services).await.unwrap();
    let named = |id: &str, services: Vec<AffectedService>| put(Incident { services, ..incident(id) }, None);
    let incidents = vec![
        named("1", vec![service("Delta", None)]),
        named("2", vec![service("delta", None), service("pay-svc", Some("svc_1"))]),
        named("3", vec![service("payments_api", Some("svc_1"))]),
        named("4", vec![service("search", None)]),
    ];
    store.commit(&acme, incidents, None).await.unwrap();

    assert_eq!(store.service_names(&acme, 9).await.unwrap(), ["Delta", "Payments API", "search"]);
    assert_eq!(store.service_names(&acme, 1).await.unwrap(), ["Delta"]);
    for (name, leads_to) in [
        ("DELTA", vec!["Delta", "delta"]),
        (" payments  API", vec!["Payments API"]),
        // The provider's name for it, and one that no incident affects.
        ("Pay_Svc", vec!["Payments API"]),
        ("idle", vec!["Idle"]),
        ("nosuch", vec![]),
    ] {
        assert_eq!(store.services_named(&acme, name).await.unwrap(), leads_to, "{name}");
        assert!(store.services_named(&org("beta"), name).await.unwrap().is_empty());
    }
    let report = store.sync_report(&acme, 9).await.unwrap();
    let unmatched: Vec<_> = report.services.iter().map(|one| (one.name.as_str(), one.incidents)).collect();
    assert_eq!((unmatched, report.unmatched_services), (vec![("Delta", 2), ("search", 1)], 2));
    let total = async |filter: IncidentFilter| store.incidents(&acme, &filter).await.unwrap().total;
    for (name, count) in [("DELTA", 2), ("payments-api", 2), ("pay svc", 2), ("idle", 0), ("nosuch", 0)] {
        let with = IncidentFilter { service: Some(name.into()), ..IncidentFilter::default() };
        assert_eq!(total(with).await, count, "{name}");
        let without = IncidentFilter { not_service: Some(name.into()), ..IncidentFilter::default() };
        assert_eq!(total(without).await, 4 - count, "{name}");
    }
}

#[tokio::test]
async fn a_service_that_an_incident_no_longer_names_does_not_find_it() {
    let store = fixture().await;
    let acme = org("acme");
    let with = |name: &str| Incident { services: vec![service(name, None)], ..incident("1") };
    store.commit(&acme, vec![put(with("api"), None)], None).await.unwrap();
    store.commit(&acme, vec![put(with("web"), Some(1))], None).await.unwrap();
    for (name, total) in [("api", 0), ("web", 1)] {
        let filter = IncidentFilter { service: Some(name.into()), ..IncidentFilter::default() };
        assert_eq!(store.incidents(&acme, &filter).await.unwrap().total, total, "{name}");
    }
}

#[tokio::test]
async fn an_incident_is_found_by_reference_or_id() {
    let store = fixture().await;
    let acme = org("acme");
    store.commit(&acme, vec![put(incident("01ABC"), None)], None).await.unwrap();
    for (name, found) in [("inc-01abc", true), ("01ABC", true), ("01abc", false), ("INC", false)] {
        assert_eq!(store.find_incident(&acme, name).await.unwrap().is_some(), found, "{name}");
    }
}

#[tokio::test]
async fn organisations_see_nothing_of_each_other() {
    let store = fixture().await;
    let (acme, beta) = (org("acme"), org("beta"));
    let state = Change::SetState(("cursor".into(), Some(vec![1])));
    let mut record = incident("1");
    record.services = vec![service("api", None)];
    let write = IncidentWrite { incident: record, facts: Vec::new(), revisit: true, base: None };
    let changes = vec![Change::PutIncident(write), Change::PutTimelineEvent(event("1", "a", 5)), state];
    store.commit(&acme, changes.clone(), None).await.unwrap();

    assert_eq!(store.incidents_by_key(&beta, &[key("1")]).await.unwrap(), [None]);
    assert_eq!(store.state(&beta, "cursor").await.unwrap(), None);
    assert_eq!(store.to_revisit(&beta, "incidentio", 9).await.unwrap().total, 0);
    let all = Population { since: Timestamp::MIN, until: Timestamp::MAX, now: 0 };
    assert_eq!(store.scan_samples(&acme, all, None).await.unwrap().samples.len(), 1);
    assert!(store.scan_samples(&beta, all, None).await.unwrap().samples.is_empty());
    assert_eq!(store.incidents(&beta, &IncidentFilter::default()).await.unwrap().total, 0);
    assert!(store.find_incident(&beta, "INC-1").await.unwrap().is_none());
    assert!(store.find_incident(&beta, "1").await.unwrap().is_none());
    assert!(store.timeline(&beta, &key("1")).await.unwrap().is_empty());
    let foreign = store.commit(&beta, vec![Change::PutTimelineEvent(event("1", "b", 5))], None).await;
    assert!(matches!(foreign, Err(StoreError::Invalid(_))), "{foreign:?}");

    // The same key is another record, and going away takes only one's own.
    assert_eq!(store.commit(&beta, changes, None).await.unwrap(), counts(1, 0, 0, 0, 1));
    store.remove_organisation(&acme).await.unwrap();
    assert_eq!(store.incidents_by_key(&acme, &[key("1")]).await.unwrap(), [None]);
    assert_eq!(store.timeline(&beta, &key("1")).await.unwrap().len(), 1);
}

fn host_service(id: &str, name: &str) -> crate::port::HostService {
    crate::port::HostService {
        id: id.into(),
        name: name.into(),
        external_ids: Vec::new(),
        aliases: Vec::new(),
    }
}

#[tokio::test]
async fn keys_of_state_count_and_are_bounded() {
    let store = fixture().await;
    let acme = org("acme");
    let set = |key: String| Change::SetState((key, Some(Vec::new())));
    let long = store.commit(&acme, vec![set("k".repeat(501))], None).await;
    assert!(matches!(long, Err(crate::port::StoreError::Invalid(_))), "{long:?}");
    for part in 0..10 {
        let changes = (0..20_000).map(|number| set(format!("{part}/{number}"))).collect();
        store.commit(&acme, changes, None).await.unwrap();
    }
    let over = store.commit(&acme, vec![set("one more".into())], None).await;
    assert!(matches!(over, Err(crate::port::StoreError::Full(_))), "{over:?}");
    store
        .commit(&acme, vec![Change::SetState(("0/0".into(), None)), set("one more".into())], None)
        .await
        .unwrap();
    store.commit(&org("beta"), vec![set("one more".into())], None).await.unwrap();
}

#[tokio::test]
async fn incidents_that_are_asked_for_again_and_again_do_not_become_memory() {
    let store = fixture().await;
    let acme = org("acme");
    let write = |facts: usize| {
        Change::PutIncident(IncidentWrite {
            incident: incident("1"),
            facts: vec![7; facts],
            revisit: false,
            base: None,
        })
    };
    let large = store.commit(&acme, vec![write(4_000_001)], None).await;
    assert!(matches!(large, Err(crate::port::StoreError::Full(_))), "{large:?}");
    store.commit(&acme, vec![write(4_000_000)], None).await.unwrap();
    assert_eq!(store.incidents_by_key(&acme, &vec![key("1"); 8]).await.unwrap().len(), 8);
    for many in [9, 1_000] {
        let asked = store.incidents_by_key(&acme, &vec![key("1"); many]).await;
        assert!(matches!(asked, Err(crate::port::StoreError::Full(_))));
    }
}
