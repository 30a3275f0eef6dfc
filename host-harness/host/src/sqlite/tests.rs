//! What the ports promise, asked of the SQLite store through the ports.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::contract::*;
use crate::id::{DeliveryId, OrgId};
use crate::port::*;

const LEASE: Duration = Duration::from_secs(60);
const SECOND: Timestamp = 1_000_000;

struct Fixture {
    store: SqliteStore,
    acme: OrgId,
    _directory: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("koalr.db")).unwrap();
    let acme = connected(&store, "acme").await;
    Fixture { store, acme, _directory: directory }
}

async fn connected(store: &SqliteStore, name: &str) -> OrgId {
    let id: OrgId = name.parse().unwrap();
    let settings = Settings {
        severity_overrides: vec![],
        service_fields: vec![],
        include_private: true,
        history_days: None,
    };
    let organisation = Organisation {
        id: id.clone(),
        state: OrganisationState::Live,
        connection: None,
        settings,
        origin_map: vec![],
        created_at: 0,
        connected_at: Some(0),
    };
    store.put_organisation(&organisation).await.unwrap();
    id
}

fn key(id: &str) -> IncidentKey {
    IncidentKey { source: "incidentio".into(), id: id.into() }
}

fn incident(id: &str, updated_at: Timestamp) -> Incident {
    Incident {
        key: key(id),
        reference: Some(format!("INC-{id}")),
        title: format!("Title of {id}"),
        permalink: None,
        severity: None,
        priority: Some(Priority::P2),
        priority_rule: "name".into(),
        status: "Investigating".into(),
        phase: Phase::Active,
        mode: Mode::Standard,
        private: false,
        created_at: updated_at,
        started_at: None,
        acknowledged_at: None,
        resolved_at: None,
        merged_into: None,
        responders: vec![],
        services: vec![],
        updated_at,
    }
}

fn put(incident: Incident, base: Option<u64>) -> Change {
    Change::PutIncident(IncidentWrite { incident, facts: vec![1], revisit: false, base })
}

fn event(incident: &str, id: &str, title: &str) -> TimelineEvent {
    TimelineEvent {
        incident: key(incident),
        id: id.into(),
        at: 5,
        kind: "note".into(),
        title: title.into(),
        detail: None,
        actor: None,
    }
}

fn delivery(id: &str, received_at: Timestamp) -> NewDelivery {
    NewDelivery {
        id: id.parse().unwrap(),
        event_type: "incident.created".into(),
        incident: Some("1".into()),
        received_at,
        delivery: Delivery {
            headers: vec![Header { name: "webhook-id".into(), value: vec![0, 10, 255] }],
            body: b"{}".to_vec(),
        },
    }
}

#[tokio::test]
async fn a_commit_with_one_bad_change_writes_nothing() {
    let Fixture { store, acme, _directory } = fixture().await;
    let changes = vec![
        put(incident("1", 1), None),
        Change::SetState(("cursor".into(), Some(vec![9]))),
        Change::PutTimelineEvent(event("unknown", "a", "x")),
    ];
    assert!(matches!(store.commit(&acme, changes, None).await, Err(StoreError::Invalid(_))));
    assert_eq!(store.incidents_by_key(&acme, &[key("1")]).await.unwrap(), [None]);
    assert_eq!(store.state(&acme, "cursor").await.unwrap(), None);
    let large = Change::SetState(("big".into(), Some(vec![0; (1 << 20) + 1])));
    assert!(matches!(store.commit(&acme, vec![large], None).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn a_write_is_created_updated_unchanged_stale_or_in_conflict() {
    let Fixture { store, acme, _directory } = fixture().await;
    let commit = async |change| store.commit(&acme, vec![change], None).await;
    assert_eq!(commit(put(incident("1", 10), None)).await.unwrap().created, 1);
    assert_eq!(commit(put(incident("1", 10), Some(1))).await.unwrap().unchanged, 1);
    assert_eq!(commit(put(incident("1", 20), Some(1))).await.unwrap().updated, 1);
    assert_eq!(commit(put(incident("1", 15), Some(1))).await.unwrap().stale, 1, "older, whatever it builds on");
    for base in [None, Some(1), Some(3)] {
        let refused = commit(put(incident("1", 30), base)).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{base:?}");
    }
    assert!(matches!(commit(put(incident("2", 30), Some(1))).await, Err(StoreError::Conflict)));
    let stored = store.incidents_by_key(&acme, &[key("2"), key("1")]).await.unwrap();
    assert_eq!(stored[0], None);
    let stored = stored[1].as_ref().unwrap();
    assert_eq!((stored.revision, &stored.incident, stored.facts.as_slice()), (2, &incident("1", 20), &[1][..]));
}

#[tokio::test]
async fn a_timeline_is_idempotent_and_can_be_replaced() {
    let Fixture { store, acme, _directory } = fixture().await;
    let first = vec![
        put(incident("1", 1), None),
        Change::PutTimelineEvent(event("1", "a", "x")),
        Change::PutTimelineEvent(event("1", "b", "y")),
    ];
    assert_eq!(store.commit(&acme, first, None).await.unwrap().events, 2);
    let again = vec![Change::PutTimelineEvent(event("1", "a", "x"))];
    assert_eq!(store.commit(&acme, again, None).await.unwrap().events, 0);
    let timeline = Timeline { incident: key("1"), events: vec![event("1", "b", "changed"), event("1", "c", "new")] };
    let replaced = store.commit(&acme, vec![Change::ReplaceTimeline(timeline)], None).await.unwrap();
    assert_eq!(replaced.events, 3, "one removed, one changed, one new");
    let titles: Vec<_> = store.timeline(&acme, &key("1")).await.unwrap().into_iter().map(|e| e.title).collect();
    assert_eq!(titles, ["changed", "new"]);
    let foreign = Timeline { incident: key("1"), events: vec![event("2", "a", "x")] };
    let refused = store.commit(&acme, vec![Change::ReplaceTimeline(foreign)], None).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn a_commit_that_completes_a_delivery_is_refused_to_a_worker_that_lost_it() {
    let Fixture { store, acme, _directory } = fixture().await;
    assert_eq!(store.accept(&acme, delivery("msg_1", 0)).await.unwrap(), Accepted::New);
    assert_eq!(store.accept(&acme, delivery("msg_1", 9)).await.unwrap(), Accepted::Duplicate);
    let slow = store.claim(10, LEASE, 0).await.unwrap().remove(0);
    assert_eq!(slow.delivery, delivery("msg_1", 0).delivery);
    assert!(store.claim(10, LEASE, 1).await.unwrap().is_empty(), "it is leased");
    let quick = store.claim(10, LEASE, 61 * SECOND).await.unwrap().remove(0);
    assert_eq!((quick.attempt, slow.attempt), (2, 1));

    let late = store.commit(&acme, vec![put(incident("1", 1), None)], Some(&slow.lease)).await;
    assert!(matches!(late, Err(StoreError::Conflict)));
    assert_eq!(store.incidents_by_key(&acme, &[key("1")]).await.unwrap(), [None]);
    store.commit(&acme, vec![put(incident("1", 1), None)], Some(&quick.lease)).await.unwrap();
    assert_eq!(store.depth().await.unwrap(), InboxDepth { pending: 0, dead: 0 });
    let twice = store.commit(&acme, vec![put(incident("1", 2), Some(1))], Some(&quick.lease)).await;
    assert!(matches!(twice, Err(StoreError::Conflict)), "it is done");

    assert!(matches!(store.finish(&slow.lease, "created", 62).await, Err(StoreError::Conflict)));
    store.finish(&quick.lease, "created", 62).await.unwrap();
    let row = store.deliveries(&acme, &DeliveryFilter::default()).await.unwrap().remove(0);
    assert_eq!((row.state, row.outcome.as_deref(), row.finished_at), (DeliveryState::Done, Some("created"), Some(62)));
}

#[tokio::test]
async fn failures_are_retried_when_due_then_set_aside_and_can_be_replayed() {
    let Fixture { store, acme, _directory } = fixture().await;
    store.accept(&acme, delivery("msg_1", 0)).await.unwrap();
    let first = store.claim(1, LEASE, 0).await.unwrap().remove(0);
    store.retry(&first.lease, "503", 10 * SECOND).await.unwrap();
    assert!(store.claim(1, LEASE, 9 * SECOND).await.unwrap().is_empty());
    let second = store.claim(1, LEASE, 10 * SECOND).await.unwrap().remove(0);
    store.bury(&second.lease, "still 503", 11).await.unwrap();
    assert_eq!(store.depth().await.unwrap(), InboxDepth { pending: 0, dead: 1 });
    let dead = DeliveryFilter { state: Some(DeliveryState::Dead), limit: None };
    let row = store.deliveries(&acme, &dead).await.unwrap().remove(0);
    assert_eq!((row.attempts, row.error.as_deref()), (2, Some("still 503")));

    let id: DeliveryId = "msg_1".parse().unwrap();
    assert!(store.replay(&acme, &id, 20 * SECOND).await.unwrap());
    assert!(!store.replay(&acme, &"msg_2".parse().unwrap(), 20).await.unwrap());
    assert_eq!(store.claim(1, LEASE, 20 * SECOND).await.unwrap().remove(0).attempt, 1);
}

#[tokio::test]
async fn organisations_take_turns_in_the_inbox() {
    let Fixture { store, acme, _directory } = fixture().await;
    let (blue, coral) = (connected(&store, "blue").await, connected(&store, "coral").await);
    for n in 0..50 {
        store.accept(&acme, delivery(&format!("a{n}"), n)).await.unwrap();
    }
    store.accept(&blue, delivery("b", 60)).await.unwrap();
    store.accept(&coral, delivery("c", 61)).await.unwrap();
    let claimed = store.claim(6, LEASE, 100).await.unwrap();
    let of = |org: &OrgId| claimed.iter().filter(|d| d.lease.org == *org).count();
    assert_eq!((of(&acme), of(&blue), of(&coral)), (2, 1, 1), "one organisation's flood holds up nobody");
    // With room for one only, the next claim goes on after the last organisation that was served.
    store.accept(&blue, delivery("b2", 62)).await.unwrap();
    let mut served = Vec::new();
    for _ in 0..2 {
        served.extend(store.claim(1, LEASE, 100).await.unwrap().into_iter().map(|d| d.lease.org.to_string()));
    }
    served.sort();
    assert_eq!(served, ["acme", "blue"]);
    let mut rest = 0;
    loop {
        let claimed = store.claim(16, LEASE, 100).await.unwrap().len();
        if claimed == 0 {
            break;
        }
        rest += claimed;
    }
    assert_eq!(rest, 50 - 2 - 1, "each is claimed once");
}

#[tokio::test]
async fn a_job_is_leased_by_one_runner_at_a_time() {
    let Fixture { store, acme, _directory } = fixture().await;
    let window = Some(BackfillWindow { since: 1, until: 2 });
    store.put_job(&acme, JobKind::Backfill, 10, window).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), Some(10));
    assert!(store.claim_due(5, LEASE, 9).await.unwrap().is_empty());
    let (first, job) = store.claim_due(5, LEASE, 10).await.unwrap().remove(0);
    assert_eq!((job.window, job.running), (window, true));
    assert_eq!(store.claim_job(&acme, JobKind::Backfill, LEASE, 11).await.unwrap(), None);
    let progress = Progress { done: 3, total: Some(9), requests: 2 };
    store.extend(&first, progress, LEASE, 50 * SECOND).await.unwrap();
    let (second, job) = store.claim_job(&acme, JobKind::Backfill, LEASE, 111 * SECOND).await.unwrap().unwrap();
    assert_eq!(job.progress, progress);
    let release = |error: Option<&str>, run_at| Release { run_at, error: error.map(Into::into), failed: error.is_some(), progress };
    assert!(matches!(store.release(&first, release(None, None), 0).await, Err(StoreError::Conflict)));
    assert!(matches!(store.extend(&first, progress, LEASE, 0).await, Err(StoreError::Conflict)));
    store.release(&second, release(Some("503"), Some(500)), 112).await.unwrap();
    let job = store.job(&acme, JobKind::Backfill).await.unwrap().unwrap();
    assert_eq!((job.attempts, job.error.as_deref(), job.run_at, job.running), (1, Some("503"), Some(500), false));
    let (third, _) = store.claim_job(&acme, JobKind::Backfill, LEASE, 113).await.unwrap().unwrap();
    store.release(&third, release(None, None), 114).await.unwrap();
    let job = store.job(&acme, JobKind::Backfill).await.unwrap().unwrap();
    assert_eq!((job.attempts, job.error, job.run_at, job.succeeded_at), (0, None, None, Some(114)));
    assert_eq!(store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn work_for_an_organisation_whose_key_is_refused_waits() {
    let Fixture { store, acme, _directory } = fixture().await;
    store.put_job(&acme, JobKind::Poll, 0, None).await.unwrap();
    let mut organisation = store.organisation(&acme).await.unwrap().unwrap();
    organisation.state = OrganisationState::Refused;
    store.put_organisation(&organisation).await.unwrap();
    assert!(store.claim_due(5, LEASE, 9).await.unwrap().is_empty());
    assert_eq!(store.next_due().await.unwrap(), None);
    organisation.state = OrganisationState::Live;
    store.put_organisation(&organisation).await.unwrap();
    assert_eq!(store.claim_due(5, LEASE, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_of_one_organisation_is_seen_or_removed_by_another() {
    let Fixture { store, acme, _directory } = fixture().await;
    let blue = connected(&store, "blue").await;
    let changes = vec![
        Change::PutIncident(IncidentWrite { incident: incident("1", 1), facts: vec![], revisit: true, base: None }),
        Change::PutTimelineEvent(event("1", "a", "x")),
        Change::SetState(("cursor".into(), Some(vec![9]))),
    ];
    store.commit(&acme, changes, None).await.unwrap();
    store.put_secret(&acme, "api-key", vec![Sealed(vec![1])]).await.unwrap();
    store.put_data_key(&acme, Sealed(vec![2])).await.unwrap();
    store.accept(&acme, delivery("m", 0)).await.unwrap();
    store.put_job(&acme, JobKind::Poll, 0, None).await.unwrap();
    let user = HostUser { id: "u1".into(), email: "ana@example.com".into(), name: None };
    store.import_users(&acme, vec![user]).await.unwrap();

    let other = async |org: &OrgId| {
        let mut seen = Vec::new();
        seen.push(store.incidents_by_key(org, &[key("1")]).await.unwrap()[0].is_some());
        seen.push(store.state(org, "cursor").await.unwrap().is_some());
        seen.push(store.to_revisit(org, "incidentio", 9).await.unwrap().total > 0);
        seen.push(!store.scan_samples(org, 0, 10, None).await.unwrap().samples.is_empty()
            || !store.scan_samples(org, 0, 10, Some("1.0.0")).await.unwrap().samples.is_empty());
        seen.push(store.incidents(org, &IncidentFilter::default()).await.unwrap().total > 0);
        seen.push(store.find_incident(org, "INC-1").await.unwrap().is_some());
        seen.push(!store.timeline(org, &key("1")).await.unwrap().is_empty());
        seen.push(!store.secret(org, "api-key").await.unwrap().is_empty());
        seen.push(store.data_key(org).await.unwrap().is_some());
        seen.push(!store.deliveries(org, &DeliveryFilter::default()).await.unwrap().is_empty());
        seen.push(store.job(org, JobKind::Poll).await.unwrap().is_some());
        seen.push(store.users_by_email(org, &["ana@example.com".into()]).await.unwrap()[0].is_some());
        seen
    };
    assert!(other(&acme).await.iter().all(|seen| *seen));
    assert!(!other(&blue).await.iter().any(|seen| *seen));
    store.remove_organisation(&blue).await.unwrap();
    assert!(other(&acme).await.iter().all(|seen| *seen));
    store.remove_organisation(&acme).await.unwrap();
    connected(&store, "acme").await;
    assert!(!other(&acme).await.iter().any(|seen| *seen), "nothing is left behind");
}

#[tokio::test]
async fn revisits_are_listed_newest_creation_first() {
    let Fixture { store, acme, _directory } = fixture().await;
    for (id, at, revisit) in [("1", 10, true), ("2", 30, true), ("3", 20, true), ("4", 40, false)] {
        let write = IncidentWrite { incident: incident(id, at), facts: vec![], revisit, base: None };
        store.commit(&acme, vec![Change::PutIncident(write)], None).await.unwrap();
    }
    let page = store.to_revisit(&acme, "incidentio", 2).await.unwrap();
    assert_eq!((page.keys, page.total), (vec![key("2"), key("3")], 3));
}

#[tokio::test]
async fn the_population_is_complete_whatever_the_size_of_its_pages() {
    let Fixture { store, acme, _directory } = fixture().await;
    let phases = [Phase::Triage, Phase::Active, Phase::Paused, Phase::Closed, Phase::Merged, Phase::Unknown];
    let mut expected = Vec::new();
    let mut changes = Vec::new();
    let (since, until) = (100, 200);
    let mut n = 0;
    for phase in phases {
        for created_at in [50, 100, 150, 199, 200, 250] {
            for resolved_at in [None, Some(50), Some(100), Some(150), Some(199), Some(200)] {
                n += 1;
                let mut record = incident(&n.to_string(), 1);
                (record.phase, record.created_at) = (phase, created_at);
                record.resolved_at = resolved_at.map(|at| DerivedTime { at, rule: "test".into() });
                let open = matches!(phase, Phase::Triage | Phase::Active | Phase::Paused);
                let belongs = match resolved_at {
                    Some(at) => (since..until).contains(&at),
                    None => (since..until).contains(&created_at),
                } || (open && created_at < until);
                if belongs {
                    expected.push((phase as u8, created_at, resolved_at));
                }
                changes.push(put(record, None));
            }
        }
    }
    store.commit(&acme, changes, None).await.unwrap();
    expected.sort_unstable();
    for pages_of in [1, 2, 7, 1_000] {
        let org = acme.clone();
        let found = store.read(move |c| records::scan_in_pages_of(c, &org, (since, until), pages_of)).await.unwrap();
        let mut found: Vec<_> = found.iter().map(|s| (s.phase as u8, s.created_at, s.resolved_at)).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "pages of {pages_of}");
    }
    assert!(matches!(store.scan_samples(&acme, 0, 1, Some("rubbish")).await, Err(StoreError::Invalid(_))));
}

#[tokio::test]
async fn a_service_goes_by_the_name_of_its_catalog_entry() {
    let Fixture { store, acme, _directory } = fixture().await;
    let service = |id: &str, name: &str, external: &[&str], aliases: &[&str]| HostService {
        id: id.into(),
        name: name.into(),
        external_ids: external.iter().map(ToString::to_string).collect(),
        aliases: aliases.iter().map(ToString::to_string).collect(),
    };
    let services = vec![service("s1", "Payments API", &["ext-1"], &["pay"]), service("s2", "search", &[], &["payments api"])];
    assert_eq!(store.import_services(&acme, services.clone()).await.unwrap().added, 2);
    assert_eq!(store.import_services(&acme, services).await.unwrap().unchanged, 2);
    let name = |name: &str, external: Option<&str>, aliases: &[&str]| ServiceName {
        name: name.into(),
        external_id: external.map(Into::into),
        aliases: aliases.iter().map(ToString::to_string).collect(),
    };
    let names = [
        name("search", Some("ext-1"), &[]),
        name(" payments_api", None, &[]),
        name("PAY", None, &[]),
        name("other", None, &["Pay"]),
        name("unknown", Some("ext-9"), &[]),
    ];
    let found = store.services_by_name(&acme, &names).await.unwrap();
    assert_eq!(found, [Some("s1".into()), Some("s1".into()), Some("s1".into()), Some("s1".into()), None]);

    let mut record = incident("1", 150);
    let affected = |name: &str, id: Option<&str>| AffectedService { name: name.into(), external_id: None, service_id: id.map(Into::into) };
    record.services = vec![affected("pay", Some("s1")), affected("unlinked", None), affected("gone", Some("s9"))];
    store.commit(&acme, vec![put(record, None)], None).await.unwrap();
    let page = store.scan_samples(&acme, 100, 200, Some("1.0.0")).await.unwrap();
    assert_eq!(page.services, ["Payments API", "unlinked", "gone"]);
    for (wanted, total) in [("payments api", 1), ("PAY", 1), ("unlinked", 1), ("search", 0)] {
        let filter = IncidentFilter { service: Some(wanted.into()), ..IncidentFilter::default() };
        assert_eq!(store.incidents(&acme, &filter).await.unwrap().total, total, "{wanted}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_newest_first_in_parts() {
    let Fixture { store, acme, _directory } = fixture().await;
    let mut changes = Vec::new();
    for n in 0..10 {
        let mut record = incident(&n.to_string(), n);
        record.priority = [Some(Priority::P1), Some(Priority::P3), None][usize::try_from(n % 3).unwrap()];
        record.phase = if n % 2 == 0 { Phase::Active } else { Phase::Closed };
        record.title = format!("100% of {n}");
        changes.push(put(record, None));
    }
    store.commit(&acme, changes, None).await.unwrap();
    let list = async |filter: IncidentFilter| {
        let page = store.incidents(&acme, &filter).await.unwrap();
        (page.incidents.into_iter().map(|i| i.key.id).collect::<Vec<_>>().join(" "), page.total)
    };
    let all = IncidentFilter::default;
    assert_eq!(list(IncidentFilter { limit: Some(2), offset: 1, ..all() }).await, ("8 7".into(), 10));
    assert_eq!(list(IncidentFilter { priorities: vec![Priority::P1], ..all() }).await, ("9 6 3 0".into(), 4));
    assert_eq!(list(IncidentFilter { phases: vec![Phase::Closed], since: Some(3), until: Some(9), ..all() }).await, ("7 5 3".into(), 3));
    assert_eq!(list(IncidentFilter { text: Some("0% OF 4".into()), ..all() }).await, ("4".into(), 1));
    assert_eq!(list(IncidentFilter { text: Some("inc-4".into()), ..all() }).await, ("4".into(), 1));
    assert_eq!(list(IncidentFilter { text: Some("%".into()), limit: Some(1), ..all() }).await.1, 10);
    assert_eq!(list(IncidentFilter { text: Some("_".into()), ..all() }).await.1, 0);
    assert_eq!(store.find_incident(&acme, "inc-4").await.unwrap().unwrap().incident.key, key("4"));
}

#[tokio::test]
async fn secrets_and_the_data_key_are_kept_as_given() {
    let Fixture { store, acme, _directory } = fixture().await;
    assert_eq!(store.put_data_key(&acme, Sealed(vec![1])).await.unwrap(), Sealed(vec![1]));
    assert_eq!(store.put_data_key(&acme, Sealed(vec![2])).await.unwrap(), Sealed(vec![1]), "the first counts");
    store.put_secret(&acme, "webhook-secret", vec![Sealed(vec![3]), Sealed(vec![4])]).await.unwrap();
    assert_eq!(store.secret(&acme, "webhook-secret").await.unwrap(), [Sealed(vec![3]), Sealed(vec![4])]);
    store.put_secret(&acme, "webhook-secret", vec![]).await.unwrap();
    assert_eq!(store.secret(&acme, "webhook-secret").await.unwrap(), []);
}

#[tokio::test]
async fn one_failing_job_in_a_group_harms_no_neighbour() {
    let Fixture { store, acme, _directory } = fixture().await;
    let writes = (0..200).map(|n| {
        let (store, acme) = (store.clone(), acme.clone());
        tokio::spawn(async move {
            let base = (n % 5 == 0).then_some(7);
            store.commit(&acme, vec![put(incident(&n.to_string(), 1), base)], None).await.is_ok()
        })
    });
    for (n, write) in writes.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(write.await.unwrap(), n % 5 != 0);
    }
    assert_eq!(store.incidents(&acme, &IncidentFilter::default()).await.unwrap().total, 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_openings_of_one_file_share_it() {
    let Fixture { store, acme, _directory } = fixture().await;
    let other = Arc::new(SqliteStore::open(_directory.path().join("koalr.db")).unwrap());
    let mut writes = Vec::new();
    for n in 0..40 {
        let (one, two, acme) = (store.clone(), Arc::clone(&other), acme.clone());
        writes.push(tokio::spawn(async move {
            let change = vec![put(incident(&n.to_string(), 1), None)];
            if n % 2 == 0 { one.commit(&acme, change, None).await } else { two.commit(&acme, change, None).await }
        }));
    }
    for write in writes {
        write.await.unwrap().unwrap();
    }
    for n in 0..20 {
        store.accept(&acme, delivery(&format!("m{n}"), n)).await.unwrap();
    }
    let (mine, theirs) = tokio::join!(store.claim(20, LEASE, 100), other.claim(20, LEASE, 100));
    assert_eq!(mine.unwrap().len() + theirs.unwrap().len(), 20, "each delivery is in one pair of hands");
}

#[test]
fn a_database_opens_again_but_not_with_an_older_program() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("koalr.db");
    SqliteStore::open(&path).unwrap();
    SqliteStore::open(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let direct = rusqlite::Connection::open(&path).unwrap();
    direct.execute("INSERT INTO schema_version (version) VALUES (999)", []).unwrap();
    let refused = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(&refused, StoreError::Invalid(text) if text.contains("999")), "{refused}");
    std::fs::write(directory.path().join("not.db"), "this is no database, but it is long enough to be read as one").unwrap();
    assert!(matches!(SqliteStore::open(directory.path().join("not.db")), Err(StoreError::Corrupt(_))));
}
