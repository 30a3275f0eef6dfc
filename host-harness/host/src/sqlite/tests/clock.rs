//! A clock that jumps: nothing is lost by it, and nothing waits for it once it is right.

use super::*;
use crate::port::{
    BackfillWindow, DeliveryFilter, DeliveryState, JobKind, Jobs, KEPT_DEAD, Keep, LONGEST_RETRY, Migrations,
    Release,
};

const SECOND: Timestamp = 1_000_000;
const HOUR: Timestamp = 3_600 * SECOND;
const DAY: Timestamp = 24 * HOUR;
/// As the worker and the scheduler lease.
const HALF_A_MINUTE: Duration = Duration::from_secs(30);
const KEEP: Keep = Keep { done: Duration::from_secs(7 * 86_400), dead: Duration::from_secs(30 * 86_400) };

/// As the scheduler does it, once an hour.
async fn prune(store: &SqliteStore, now: Timestamp) {
    store.grow_older(now).await.unwrap();
    let mut after = 0;
    while let Some(next) = store.prune(KEEP, now, after).await.unwrap() {
        after = next;
    }
}

async fn kept(store: &SqliteStore) -> Vec<String> {
    let rows = store.deliveries(&org("acme"), &DeliveryFilter::default()).await.unwrap();
    let mut kept: Vec<String> = rows.into_iter().map(|row| row.id.to_string()).collect();
    kept.sort();
    kept
}

/// One that was done, one that was given up, and a newer one that waits.
async fn some(store: &SqliteStore, now: Timestamp) {
    let done = leased(store, "done", now).await;
    assert_eq!(finish(store, &done.lease, "updated", now).await, 1);
    let dead = leased(store, "given-up", now).await;
    store.bury(&dead.lease, "malformed", now).await.unwrap();
    store.accept(&org("acme"), delivery("waits", now + 1)).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_days_ahead_for_a_moment_deletes_nothing() {
    let store = fixture().await;
    let mut now = 1_000 * DAY;
    some(&store, now).await;
    prune(&store, now).await;
    // Whenever a run sees it, and however often.
    for _ in 0..10 {
        prune(&store, now + 40 * DAY).await;
        now += 4 * SECOND;
        prune(&store, now).await;
    }
    assert_eq!(kept(&store).await, ["done", "given-up", "waits"]);
}

#[tokio::test]
async fn deliveries_that_were_done_are_forgotten_once_a_week_has_passed() {
    let store = fixture().await;
    let start = 1_000 * DAY;
    some(&store, start).await;
    for hour in 0..7 * 24 {
        prune(&store, start + hour * HOUR).await;
    }
    assert_eq!(kept(&store).await, ["done", "given-up", "waits"]);
    for hour in 7 * 24..7 * 24 + 3 {
        prune(&store, start + hour * HOUR).await;
    }
    assert_eq!(kept(&store).await, ["given-up", "waits"]);
    let notes = |connection: &rusqlite::Connection| {
        Ok(connection.query_row("SELECT count(*) FROM arrived", [], |row| row.get::<_, i64>(0))?)
    };
    for hour in 7 * 24..40 * 24 {
        prune(&store, start + hour * HOUR).await;
    }
    assert_eq!(kept(&store).await, ["given-up", "waits"], "what was never applied stays, however old");
    assert!(store.read(notes).await.unwrap() < 31 * 24, "what was noted of the time is forgotten as well");
}

#[tokio::test]
async fn a_clock_that_was_set_back_deletes_nothing_before_its_time() {
    let store = fixture().await;
    let start = 1_000 * DAY;
    prune(&store, start).await;
    some(&store, start - 300 * DAY).await;
    for hour in 0..24 {
        prune(&store, start + hour * HOUR).await;
    }
    assert_eq!(kept(&store).await, ["done", "given-up", "waits"], "they arrived a day ago");
}

#[tokio::test]
async fn of_what_was_given_up_only_a_great_number_makes_the_oldest_go() {
    let store = fixture().await;
    let fill = |connection: &rusqlite::Connection| {
        let insert = "INSERT INTO delivery (org, id, event_type, received_at, state, token, attempts)
            WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
            SELECT 'acme', 'd' || n, 'e', n, 4, 1, 20 FROM number";
        Ok(connection.execute(insert, [KEPT_DEAD + 5])?)
    };
    store.write(fill).await.unwrap();
    for hour in 0..31 * 24 + 4 {
        store.grow_older(1_000 * DAY + hour * HOUR).await.unwrap();
    }
    prune(&store, 1_040 * DAY).await;
    let dead = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
    let left = store.deliveries(&org("acme"), &dead).await.unwrap();
    assert_eq!(left.len(), KEPT_DEAD as usize);
    assert_eq!(left.last().unwrap().id.as_str(), "d6", "the oldest went");
}

/// What a process notes while its clock is wrong, before it is killed.
async fn at_work(store: &SqliteStore, random: &mut fastrand::Rng, now: Timestamp) {
    match random.u8(..7) {
        0 => {
            for held in store.claim(hands(2), HALF_A_MINUTE, now).await.unwrap() {
                let wait = random.i64(0..=LONGEST_RETRY.as_micros() as i64);
                match random.u8(..3) {
                    0 => store.retry(&held.lease, "503", now + wait).await.unwrap(),
                    1 => store.renew(vec![held.lease], HALF_A_MINUTE, now).await.unwrap(),
                    _ => {}
                }
            }
        }
        1 => drop(store.claim_due(9, HALF_A_MINUTE, now).await.unwrap()),
        2 => {
            if let Some((lease, _)) =
                store.claim_job(&org("acme"), JobKind::Poll, HALF_A_MINUTE, now).await.unwrap()
            {
                let run_at = Some(now + random.i64(0..12 * HOUR));
                let release = Release { run_at, error: None, failed: false, progress: Default::default() };
                store.release(&lease, release, now).await.unwrap();
            }
        }
        3 => {
            if let Some((lease, _)) =
                store.claim_job(&org("acme"), JobKind::Poll, HALF_A_MINUTE, now).await.unwrap()
            {
                store.extend(&lease, Default::default(), HALF_A_MINUTE, now).await.unwrap();
            }
        }
        4 => store.put_job(&org("acme"), JobKind::Rederive, now, None, now).await.unwrap(),
        5 => drop(store.lease_migration(&org("acme"), "opsgenie", now + 30 * SECOND, now).await.unwrap()),
        _ => prune(store, now).await,
    }
}

/// Between any two calls the clock jumps by anything from seconds to years, forwards or backwards. When it is right again,
/// everything is due within the longest wait that a right clock could have noted.
#[tokio::test]
async fn after_any_jump_of_the_clock_jobs_and_deliveries_run_again_when_it_is_right() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = fixture().await;
        let mut right = 20_000 * DAY;
        store.put_job(&org("acme"), JobKind::Poll, right, None, right).await.unwrap();
        for number in 0..4 {
            store.accept(&org("acme"), delivery(&format!("msg_{number}"), right)).await.unwrap();
        }
        for _ in 0..random.u8(1..12) {
            right += random.i64(0..HOUR);
            let far = [10 * SECOND, HOUR, 2 * HOUR, DAY, 40 * DAY, 5_000 * DAY][random.usize(..6)];
            let jump = if random.u8(..3) == 0 { 0 } else { random.i64(-far..=far) };
            at_work(&store, &mut random, right + jump).await;
        }
        // Whoever held a lease was killed; half a minute, and the longest wait of a failed delivery, pass.
        right += 61 * SECOND;
        let migration =
            store.lease_migration(&org("acme"), "opsgenie", right + 30 * SECOND, right).await.unwrap();
        assert!(migration.is_some(), "seed {seed}: the migration is held for ever");
        let held = |row: &crate::port::Job| (row.run_at, row.leased_until);
        let poll = store.job(&org("acme"), JobKind::Poll).await.unwrap().unwrap();
        let polled = store.claim_job(&org("acme"), JobKind::Poll, HALF_A_MINUTE, right).await.unwrap();
        assert!(polled.is_some(), "seed {seed}: the job is held for ever: {:?}", held(&poll));
        // A worker looks all the time; what a right clock may have put off for so long is due then.
        let mut taken = 0;
        for _ in 0..2 {
            for held in store.claim(hands(9), HALF_A_MINUTE, right).await.unwrap() {
                taken += finish(&store, &held.lease, "updated", right).await;
            }
            right += LONGEST_RETRY.as_micros() as i64 + 6 * SECOND;
        }
        assert_eq!(taken, 4, "seed {seed}: deliveries wait for the clock");
        right += 12 * HOUR;
        let due = store.claim_due(9, HALF_A_MINUTE, right).await.unwrap();
        assert!(due.iter().any(|(lease, _)| lease.kind == JobKind::Poll), "seed {seed}: the poll is not due");
    }
}

#[tokio::test]
async fn an_import_that_was_scheduled_by_a_clock_that_was_ahead_covers_the_days_before_now() {
    let store = fixture().await;
    let (right, ahead) = (20_000 * DAY, 20_040 * DAY);
    let window = |until| Some(BackfillWindow { since: until - 90 * DAY, until });
    store.put_job(&org("acme"), JobKind::Backfill, ahead, window(ahead), ahead).await.unwrap();
    let claim = async |now| store.claim_due(1, HALF_A_MINUTE, now).await.unwrap().pop().unwrap();
    let (lease, job) = claim(right).await;
    assert_eq!(job.window, window(right));
    let release = Release { run_at: Some(right), error: None, failed: false, progress: Default::default() };
    store.release(&lease, release, right).await.unwrap();
    // It is one window for all steps: where the import goes on depends on it.
    assert_eq!(claim(right + DAY).await.1.window, window(right));
}

/// An hour's jump is enough to hold a lease of half a minute for an hour.
#[tokio::test]
async fn what_was_noted_by_a_clock_that_was_ahead_is_due_at_once() {
    let store = fixture().await;
    let right = 20_000 * DAY;
    store.put_job(&org("acme"), JobKind::Poll, right, None, right).await.unwrap();
    store.accept(&org("acme"), delivery("msg_1", right)).await.unwrap();
    let ahead = right + HOUR / 2;
    assert_eq!(store.claim(hands(1), HALF_A_MINUTE, ahead).await.unwrap().len(), 1);
    let (lease, _) = store.claim_due(1, HALF_A_MINUTE, ahead).await.unwrap().pop().unwrap();
    assert_eq!(store.claim(hands(1), HALF_A_MINUTE, right).await.unwrap().len(), 1);
    assert_eq!(store.claim_due(1, HALF_A_MINUTE, right).await.unwrap().len(), 1);
    assert!(
        store.extend(&lease, Default::default(), HALF_A_MINUTE, right).await.is_err(),
        "it was fenced off"
    );
    // By little it is set back all the time, and that takes nothing from anybody.
    let (held, _) = store
        .claim_job(&org("acme"), JobKind::Poll, HALF_A_MINUTE, right + 60 * SECOND)
        .await
        .unwrap()
        .unwrap();
    let back = right + 58 * SECOND;
    assert!(store.claim_job(&org("acme"), JobKind::Poll, HALF_A_MINUTE, back).await.unwrap().is_none());
    assert!(store.claim_due(1, HALF_A_MINUTE, back).await.unwrap().is_empty());
    store.extend(&held, Default::default(), HALF_A_MINUTE, back).await.unwrap();
}
