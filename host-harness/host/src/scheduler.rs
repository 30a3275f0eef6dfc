//! The schedule: imports run to their end, polls recur; failures back off; a refused credential stops the work.
//!
//! Jobs are rows that a runner leases, so that several processes can share the work and a killed one is
//! replaced when its lease runs out. The lease is renewed while a runner works, and a runner that lost it stops.
//!
//! Leases are kept by the clock. If somebody sets it back by more than five seconds, the store takes a running job's lease for
//! one of a wrong clock, and another runner may lease the job as well. The lease's token fences the former runner: the
//! store refuses its progress and its release, so it stops after the step in hand. What both store meanwhile does no
//! harm: a write is refused that does not build on the newest revision of its record.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::contract::{BackfillRequest, BackfillSource, GuestError, Rederived, Step, Timestamp};
use crate::host::{Host, HostError};
use crate::id::OrgId;
use crate::port::{Job, JobKind, JobLease, Keep, Progress, Release, StoreError};

/// How long the job of a killed runner waits for the next; two renewals may fail before.
const LEASE: Duration = Duration::from_secs(30);
/// How often a lease is renewed while its job is worked on.
const BEAT: Duration = Duration::from_secs(10);
/// Jobs that one process works on at a time.
const AT_A_TIME: u32 = 8;
/// Waits between steps up to this are slept through; longer ones give the lease back.
const PATIENCE_MS: u64 = 30_000;
/// How long an idle scheduler sleeps at most, so that jobs that other processes put are seen.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long deliveries are kept: a message that comes again within that time is known, which is longer than any provider
/// repeats one. Those that were given up are kept longer, for a person to look at.
const KEEP: Keep = Keep { done: Duration::from_secs(7 * 86_400), dead: Duration::from_secs(30 * 86_400) };
/// How often old deliveries are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// A wait that is longer is looked at in between.
const LONGEST_WAIT: Duration = Duration::from_secs(12 * 3_600);
/// A poll comes no sooner after the last, whatever the plugin asks for: without an interval it would never end.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);
/// The shortest wait after an answer that says that the rate of requests is limited.
const SHORTEST_WAIT_MS: u64 = 100;
const BACKOFF_FIRST: Duration = Duration::from_secs(5);
const BACKOFF_MOST: Duration = Duration::from_secs(900);

/// What a run did, all steps together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Records that the provider sent.
    pub fetched: u64,
    /// Records that are new.
    pub created: u64,
    /// Records that changed.
    pub updated: u64,
    /// Records that were older than what is stored.
    pub stale: u64,
    /// Requests made.
    pub requests: u64,
    /// Steps taken.
    pub steps: u64,
}

impl Totals {
    fn add(&mut self, step: &Step) {
        self.fetched += u64::from(step.fetched);
        self.created += u64::from(step.created);
        self.updated += u64::from(step.updated);
        self.stale += u64::from(step.stale);
        self.requests += u64::from(step.requests);
        self.steps += 1;
    }
}

/// What happens during a run, for a progress bar.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step was taken and committed.
    Step {
        /// How far the run has come.
        progress: Progress,
        /// What it did so far.
        totals: Totals,
    },
    /// The run waits, because the provider or the plugin asks for it.
    Waiting(Duration),
}

/// How a run passed that did not fail.
enum Passed {
    /// To its end.
    Through,
    /// The provider asks for a wait that is longer than a runner waits.
    Waits(Duration),
}

/// Told of every [`Event`] of a run.
pub type Observer<'a> = &'a (dyn Fn(&Event) + Send + Sync);

/// Why a run that was asked for did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another process, or the scheduler, works on it now.
    #[error(
        "another process works on this job now; try again when it is done, or half a minute after it was killed"
    )]
    Busy,
    /// The caller asked for it.
    #[error("stopped; what was read so far is kept, and the next run goes on from there")]
    Stopped,
    /// There is nothing to run.
    #[error("no such job is scheduled for {0}; connect the organisation first")]
    NoJob(OrgId),
    /// A step failed. What was committed before stays; the next run goes on from there.
    #[error(transparent)]
    Failed(#[from] HostError),
}

/// Runs the jobs of all organisations.
#[derive(Debug, Clone)]
pub struct Scheduler {
    host: Host,
    /// Organisations whose incidents were compared with what was imported, and did not change since by a run of this one.
    compared: Arc<Mutex<HashSet<OrgId>>>,
}

impl Scheduler {
    /// A scheduler for this host's organisations.
    pub fn new(host: Host) -> Scheduler {
        Scheduler { host, compared: Arc::default() }
    }

    /// Runs due jobs until `stop`, which gives those under way back: what they committed is kept, and the next
    /// process goes on from there at once. After a kill it does when their leases run out.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let (stopping, stopped) = tokio::sync::watch::channel(false);
        let slots = Arc::new(tokio::sync::Semaphore::new(AT_A_TIME as usize));
        let mut running = tokio::task::JoinSet::new();
        let mut pruned: Option<tokio::time::Instant> = None;
        loop {
            while running.try_join_next().is_some() {}
            if pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
                pruned = Some(tokio::time::Instant::now());
                let (scheduler, stopped) = (self.clone(), stopped.clone());
                running.spawn(async move {
                    if let Err(error) = scheduler.prune(|| *stopped.borrow()).await {
                        tracing::warn!("old deliveries were not removed: {error}");
                    }
                });
            }
            let free = u32::try_from(slots.available_permits()).unwrap_or(0);
            let now = self.host.clock().now();
            let due =
                if free == 0 { Ok(Vec::new()) } else { self.host.store().claim_due(free, LEASE, now).await };
            let due = due.unwrap_or_else(|error| {
                tracing::warn!("the schedule cannot be read: {error}");
                Vec::new()
            });
            let mut wait = Duration::ZERO;
            if due.is_empty() {
                let next = self.host.store().next_due().await.ok().flatten();
                wait = next.map_or(LOOK_AGAIN, |at| between(self.host.clock().now(), at));
                wait = wait.clamp(Duration::from_millis(50), LOOK_AGAIN);
            }
            for (lease, job) in due {
                let scheduler = self.clone();
                let permit = Arc::clone(&slots).acquire_owned().await;
                let mut stopped = stopped.clone();
                running.spawn(async move {
                    let _permit = permit;
                    let (org, kind) = (job.org.clone(), job.kind);
                    let stop =
                        std::pin::pin!(async move { drop(stopped.wait_for(|stopped| *stopped).await) });
                    match scheduler.work(&lease, job, &|_| {}, true, stop).await {
                        Ok(_) | Err(RunError::Stopped) => {}
                        Err(error) => tracing::warn!(%org, ?kind, "{error}"),
                    }
                });
            }
            // Also when there is always more to do.
            tokio::select! {
                biased;
                () = stop.as_mut() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        stopping.send_replace(true);
        while running.join_next().await.is_some() {}
    }

    /// Forgets old deliveries, a slice at a time, so that others write in between.
    async fn prune(&self, stopped: impl Fn() -> bool) -> Result<(), StoreError> {
        let (store, now) = (self.host.store(), self.host.clock().now());
        store.grow_older(now).await?;
        let mut after = 0;
        while let Some(next) = store.prune(KEEP, now, after).await? {
            if stopped() {
                break;
            }
            after = next;
        }
        Ok(())
    }

    /// Runs one job now, to the end of its present pass, waiting as long as the provider asks, or until `stop`.
    pub async fn run_now(
        &self,
        org: &OrgId,
        kind: JobKind,
        observer: Observer<'_>,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Totals, RunError> {
        self.host.own(org).await?;
        let store = self.host.store();
        match store.claim_job(org, kind, LEASE, self.host.clock().now()).await.map_err(HostError::from)? {
            Some((lease, job)) => {
                let done = self.work(&lease, job, observer, false, std::pin::pin!(stop)).await;
                store.settle().await;
                done
            }
            None if store.job(org, kind).await.map_err(HostError::from)?.is_some() => Err(RunError::Busy),
            None => Err(RunError::NoJob(org.clone())),
        }
    }

    /// Steps until the pass is through, then releases the job. `yields` gives the lease back for long waits.
    async fn work(
        &self,
        lease: &JobLease,
        job: Job,
        observer: Observer<'_>,
        yields: bool,
        mut stop: Pin<&mut (dyn Future<Output = ()> + Send)>,
    ) -> Result<Totals, RunError> {
        let mut totals = Totals::default();
        let mut progress = Progress::default();
        let mut cursor = None;
        // What fails here fails in the step as well, and is told there.
        let connected_at = self.host.connected_at(&job.org).await.unwrap_or_default();
        // Whatever goes wrong from here on, the lease is given back, with a wait where something failed.
        let ended: Result<Passed, RunError> = loop {
            let step = tokio::select! {
                step = self.holding(lease, progress, self.step(&job, &mut cursor)) => step,
                () = stop.as_mut() => break Err(RunError::Stopped),
            };
            let wait_ms = match step {
                Ok(step) => {
                    // What the plugin asks for it asks for again, until it is done.
                    if step.rederive
                        && let Err(error) = self.host.schedule_rederive(&job.org).await
                    {
                        break Err(error.into());
                    }
                    totals.add(&step);
                    progress = Progress { done: step.done, total: step.total, requests: totals.requests };
                    observer(&Event::Step { progress, totals });
                    if !step.more {
                        break Ok(Passed::Through);
                    }
                    step.wait_ms
                }
                Err(HostError::Plugin(GuestError::RateLimited(ms))) => ms.max(SHORTEST_WAIT_MS),
                Err(error) => break Err(error.into()),
            };
            if yields && wait_ms > PATIENCE_MS {
                break Ok(Passed::Waits(Duration::from_millis(wait_ms)));
            }
            let extended = self.host.store().extend(lease, progress, LEASE, self.host.clock().now()).await;
            if let Err(error) = extended {
                break Err(HostError::from(error).into());
            }
            if wait_ms > 0 {
                let wait = Duration::from_millis(wait_ms);
                observer(&Event::Waiting(wait));
                tokio::select! {
                    () = self.holding(lease, progress, tokio::time::sleep(wait)) => {}
                    () = stop.as_mut() => break Err(RunError::Stopped),
                }
            }
        };
        let changed = totals.created + totals.updated > 0;
        if !matches!(ended, Err(RunError::Stopped)) && self.is_to_compare(&job.org, changed) {
            // It reads all of both tools' incidents, which may take longer than the lease, or than somebody waits.
            tokio::select! {
                () = self.holding(lease, progress, self.compare(&job.org)) => {}
                () = stop.as_mut() => {}
            }
        }
        let now = self.host.clock().now();
        let release = match &ended {
            Ok(Passed::Through) => {
                Release { run_at: self.next_run(&job, now), error: None, failed: false, progress }
            }
            Ok(Passed::Waits(wait)) => {
                let error = Some("waits for as long as the provider asks".into());
                Release { run_at: Some(later(now, *wait)), error, failed: false, progress }
            }
            Err(RunError::Stopped) => Release { run_at: Some(now), error: None, failed: false, progress },
            Err(error) => {
                let run_at = Some(later(now, backoff(job.attempts, fastrand::f64())));
                Release { run_at, error: Some(error.to_string()), failed: true, progress }
            }
        };
        if let Err(RunError::Failed(HostError::Plugin(GuestError::Unauthorized(_)))) = &ended
            && let Err(error) = self.host.mark_refused(&job.org, connected_at).await
        {
            // The next run is refused as well, and notes it.
            tracing::warn!(org = %job.org, "that the credential is refused was not noted: {error}");
        }
        match self.host.store().release(lease, release, now).await {
            // Somebody put the job anew meanwhile: theirs counts.
            Ok(()) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(HostError::from(error).into()),
        }
        ended.map(|_| totals)
    }

    /// Whether an organisation's incidents changed since they were compared with what was imported. A run that was stopped
    /// leaves that to the next, also to that of another process: each begins by comparing.
    fn is_to_compare(&self, org: &OrgId, changed: bool) -> bool {
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if changed {
            compared.remove(org);
        }
        !compared.contains(org)
    }

    async fn compare(&self, org: &OrgId) {
        match self.host.resettle_overlap(org).await {
            Ok(()) => {
                self.compared.lock().unwrap_or_else(PoisonError::into_inner).insert(org.clone());
            }
            Err(error) => {
                tracing::warn!(%org, "what an earlier tool knows too was not compared: {error}");
            }
        }
    }

    /// Renews the lease for as long as something takes.
    async fn holding<T>(&self, lease: &JobLease, progress: Progress, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(BEAT, work.as_mut()).await {
                return done;
            }
            // A lease that is lost shows when it is given back.
            let extended = self.host.store().extend(lease, progress, LEASE, self.host.clock().now()).await;
            if let Err(error) = extended {
                tracing::warn!("a lease was not renewed: {error}");
            }
        }
    }

    /// One step. `cursor` is where a job goes on that keeps no position of its own.
    async fn step(&self, job: &Job, cursor: &mut Option<String>) -> Result<Step, HostError> {
        match (job.kind, job.window) {
            (JobKind::Rederive, _) => {
                let Rederived { updated, next } = self.host.rederive(&job.org, cursor.as_deref()).await?;
                let more = next.is_some();
                *cursor = next;
                Ok(Step {
                    fetched: 0,
                    created: 0,
                    updated,
                    stale: 0,
                    requests: 0,
                    done: 0,
                    total: None,
                    more,
                    wait_ms: 0,
                    rederive: false,
                    problems: Vec::new(),
                })
            }
            (JobKind::Poll, _) => self.host.poll(&job.org).await,
            (JobKind::Backfill, Some(window)) => {
                let request = BackfillRequest {
                    source: BackfillSource::Incidentio,
                    since: window.since,
                    until: window.until,
                    dry_run: false,
                };
                self.host.backfill(&job.org, &request).await
            }
            (JobKind::Backfill, None) => {
                Err(StoreError::Corrupt("a backfill is scheduled without its window".into()).into())
            }
        }
    }

    /// An import ends; a poll recurs, a little off its interval so that organisations spread out.
    fn next_run(&self, job: &Job, now: Timestamp) -> Option<Timestamp> {
        let interval = interval(self.host.plugin().descriptor().poll_interval_seconds);
        match job.kind {
            JobKind::Backfill | JobKind::Rederive => None,
            JobKind::Poll => Some(later(now, interval.mul_f64(0.95 + 0.1 * fastrand::f64()))),
        }
    }
}

/// How long after a poll the next one comes.
fn interval(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()).max(SHORTEST_INTERVAL)
}

/// Doubles from the first wait to the longest; `chance`, from 0 to 1, takes up to half of it away, so that what
/// failed together does not return together.
pub(crate) fn backoff(attempts: u32, chance: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << attempts.min(16));
    doubled.min(BACKOFF_MOST).mul_f64(1.0 - chance / 2.0)
}

/// When a wait is over. Whatever a provider or a plugin asks for, it is looked at again within [`LONGEST_WAIT`].
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(i64::try_from(wait.min(LONGEST_WAIT).as_micros()).unwrap_or(i64::MAX))
}

fn between(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(then.saturating_sub(now)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_without_an_end_is_looked_at_in_between() {
        assert_eq!(later(5, Duration::from_micros(7)), 12);
        assert_eq!(later(0, Duration::MAX), 12 * 3_600 * 1_000_000);
    }

    #[test]
    fn a_poll_without_an_interval_is_no_hot_loop() {
        assert_eq!(
            [0, 1, 300].map(interval),
            [SHORTEST_INTERVAL, SHORTEST_INTERVAL, Duration::from_secs(300)]
        );
    }

    #[test]
    fn the_backoff_doubles_to_its_most_and_never_vanishes() {
        assert_eq!(backoff(0, 0.0), Duration::from_secs(5));
        assert_eq!(backoff(1, 0.0), Duration::from_secs(10));
        assert_eq!(backoff(1, 1.0), Duration::from_secs(5));
        for attempts in [8, 20, u32::MAX] {
            assert_eq!(backoff(attempts, 0.0), Duration::from_secs(900));
        }
    }
}
