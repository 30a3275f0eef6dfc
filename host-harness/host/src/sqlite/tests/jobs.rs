use super::*;
use crate::port::{BackfillWindow, JobKind, Jobs, Progress, Release, StoreError};

const SUCCESS: Release = Release { run_at: Some(500), error: None, failed: false, progress: PROGRESS };
const PROGRESS: Progress = Progress { done: 3, total: Some(9), requests: 4 };

fn failure(failed: bool) -> Release {
    Release { run_at: Some(200), error: Some("503".into()), failed, progress: PROGRESS }
}

#[tokio::test]
async fn a_job_comes_back_as_it_was_put() {
    let store = fixture().await;
    let acme = org("acme");
    assert_eq!(store.job(&acme, JobKind::Backfill).await.unwrap(), None);
    let window = BackfillWindow { since: 1, until: 2 };
    store.put_job(&acme, JobKind::Backfill, 10, Some(window), 0).await.unwrap();
    let job = store.job(&acme, JobKind::Backfill).await.unwrap().unwrap();
    assert_eq!((job.run_at, job.window, job.leased_until), (Some(10), Some(window), None));
    assert_eq!(store.job(&org("beta"), JobKind::Backfill).await.unwrap(), None);
}

#[tokio::test]
async fn due_jobs_of_live_organisations_are_leased_longest_due_first() {
    let store = fixture().await;
    store.put_organisation(&organisation("gone", OrganisationState::Refused)).await.unwrap();
    for (id, kind, run_at) in [
        ("gone", JobKind::Poll, 1),
        ("acme", JobKind::Poll, 20),
        ("beta", JobKind::Poll, 10),
        ("acme", JobKind::Backfill, 31),
    ] {
        store.put_job(&org(id), kind, run_at, None, 0).await.unwrap();
    }
    assert_eq!(store.next_due().await.unwrap(), Some(10));
    let due = store.claim_due(9, LEASE, 30).await.unwrap();
    let orgs: Vec<&str> = due.iter().map(|(lease, _)| lease.org.as_str()).collect();
    assert_eq!(orgs, ["beta", "acme"]);
    assert!(due.iter().all(|(_, job)| job.is_running(30) && job.kind == JobKind::Poll));
    assert!(store.claim_due(9, LEASE, 30).await.unwrap().is_empty());
    assert_eq!(store.next_due().await.unwrap(), Some(31));
    assert_eq!(store.claim_due(1, LEASE, 130).await.unwrap().len(), 1, "a lease ran out");
}

#[tokio::test]
async fn one_job_is_leased_to_one_worker() {
    let store = fixture().await;
    let acme = org("acme");
    assert!(store.claim_job(&acme, JobKind::Poll, LEASE, 5).await.unwrap().is_none());
    store.put_job(&acme, JobKind::Poll, 1_000, None, 0).await.unwrap();
    let (first, _) = store.claim_job(&acme, JobKind::Poll, LEASE, 5).await.unwrap().unwrap();
    assert!(store.claim_job(&acme, JobKind::Poll, LEASE, 104).await.unwrap().is_none());
    store.extend(&first, PROGRESS, LEASE, 50).await.unwrap();
    assert!(store.claim_job(&acme, JobKind::Poll, LEASE, 149).await.unwrap().is_none(), "it was extended");
    let (second, job) = store.claim_job(&acme, JobKind::Poll, LEASE, 150).await.unwrap().unwrap();
    assert_eq!(job.progress, PROGRESS);
    for late in [store.extend(&first, PROGRESS, LEASE, 151).await, store.release(&first, SUCCESS, 151).await]
    {
        assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    }
    store.release(&second, SUCCESS, 160).await.unwrap();
    assert!(matches!(store.release(&second, SUCCESS, 161).await, Err(StoreError::Conflict)));
}

#[tokio::test]
async fn a_job_whose_worker_was_killed_runs_until_its_lease_ends_by_the_clock() {
    const DAYS: i64 = 2 * 86_400_000_000;
    let store = fixture().await;
    let acme = org("acme");
    store.put_job(&acme, JobKind::Poll, 10, None, 0).await.unwrap();
    store.claim_job(&acme, JobKind::Poll, LEASE, 50).await.unwrap().unwrap();
    let job = store.job(&acme, JobKind::Poll).await.unwrap().unwrap();
    for (now, running) in [(50, true), (149, true), (150, false), (151, false), (50 - DAYS, false)] {
        assert_eq!(job.is_running(now), running, "at {now}");
    }
}

#[tokio::test]
async fn a_release_says_how_the_run_ended() {
    let store = fixture().await;
    let acme = org("acme");
    store.put_job(&acme, JobKind::Poll, 10, None, 0).await.unwrap();
    let ended =
        |succeeded_at, attempts, error: Option<&str>| (succeeded_at, attempts, error.map(str::to_owned));
    for (release, expected) in [
        (failure(true), ended(None, 1, Some("503"))),
        (failure(false), ended(None, 1, Some("503"))),
        (failure(true), ended(None, 2, Some("503"))),
        (SUCCESS, ended(Some(99), 0, None)),
        (failure(true), ended(Some(99), 1, Some("503"))),
        (Release { run_at: None, ..SUCCESS }, ended(Some(99), 0, None)),
    ] {
        let (lease, _) = store.claim_job(&acme, JobKind::Poll, LEASE, 50).await.unwrap().unwrap();
        let run_at = release.run_at;
        store.release(&lease, release, 99).await.unwrap();
        let job = store.job(&acme, JobKind::Poll).await.unwrap().unwrap();
        assert_eq!((job.succeeded_at, job.attempts, job.error), expected);
        assert_eq!((job.run_at, job.progress, job.leased_until), (run_at, PROGRESS, None));
    }
    assert_eq!(store.next_due().await.unwrap(), None);
    assert!(store.claim_due(9, LEASE, 9_999).await.unwrap().is_empty(), "it has ended");
}

#[tokio::test]
async fn putting_a_job_anew_takes_it_from_its_holder() {
    let store = fixture().await;
    let acme = org("acme");
    store.put_job(&acme, JobKind::Poll, 10, None, 0).await.unwrap();
    let (lease, _) = store.claim_job(&acme, JobKind::Poll, LEASE, 10).await.unwrap().unwrap();
    store.put_job(&acme, JobKind::Poll, 20, None, 0).await.unwrap();
    assert!(matches!(store.extend(&lease, PROGRESS, LEASE, 11).await, Err(StoreError::Conflict)));
    let (next, job) = store.claim_due(1, LEASE, 20).await.unwrap().pop().unwrap();
    assert!(next.token > lease.token);
    assert_eq!(job.progress, Progress::default());
    assert!(matches!(store.release(&lease, SUCCESS, 21).await, Err(StoreError::Conflict)));
}
