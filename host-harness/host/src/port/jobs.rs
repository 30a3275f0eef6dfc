//! The schedule: one row per organisation and kind of work, leased while it runs.
//!
//! With each instant the store keeps when it was noted. What was noted later than now was noted while the clock was
//! ahead, and holds nothing up: such a job is due, and such a lease has run out.

use std::time::Duration;

use super::StoreError;
use crate::contract::Timestamp;
use crate::id::OrgId;

/// A kind of recurring or one-off work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Import of history; ends.
    Backfill,
    /// Catching up with changes; recurs.
    Poll,
    /// Deriving what is stored anew; ends. Makes no request.
    Rederive,
}

/// What a backfill covers: changed at or after `since`, created before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillWindow {
    /// Start.
    pub since: Timestamp,
    /// End.
    pub until: Timestamp,
}

/// How far the present run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Units of work done.
    pub done: u64,
    /// Units in all, as far as known.
    pub total: Option<u64>,
    /// Requests that the run has made.
    pub requests: u64,
}

/// A job as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose.
    pub org: OrgId,
    /// What.
    pub kind: JobKind,
    /// When it is due; none when it has ended.
    pub run_at: Option<Timestamp>,
    /// Failed attempts since the last success.
    pub attempts: u32,
    /// For a backfill.
    pub window: Option<BackfillWindow>,
    /// Of the present or last run.
    pub progress: Progress,
    /// When it last succeeded.
    pub succeeded_at: Option<Timestamp>,
    /// Why it last failed; cleared by a success.
    pub error: Option<String>,
    /// When the lease of whoever took it runs out; none once they gave it back. Who was killed gives nothing back.
    pub leased_until: Option<Timestamp>,
}

impl Job {
    /// No lease is longer, in microseconds: one that is was given while the clock was wrong.
    const LONGEST_LEASE: i64 = 86_400_000_000;

    /// Whether somebody works on it now.
    pub fn is_running(&self, now: Timestamp) -> bool {
        let latest = now.saturating_add(Job::LONGEST_LEASE);
        self.leased_until.is_some_and(|until| now < until && until <= latest)
    }
}

/// The right to work on one job until the lease runs out; the token fences off earlier holders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLease {
    /// Whose job.
    pub org: OrgId,
    /// Which job.
    pub kind: JobKind,
    /// Changes with every claim.
    pub token: i64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// When to run again; none to end.
    pub run_at: Option<Timestamp>,
    /// None for a success, else what went wrong.
    pub error: Option<String>,
    /// Whether this counts as a failed attempt (a rate limit, for example, does not).
    pub failed: bool,
    /// How far it came.
    pub progress: Progress,
}

/// The schedule.
#[async_trait::async_trait]
pub trait Jobs: Send + Sync {
    /// Creates or replaces the job, due at `run_at`; a lease that somebody holds on it is lost.
    async fn put_job(
        &self,
        org: &OrgId,
        kind: JobKind,
        run_at: Timestamp,
        window: Option<BackfillWindow>,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// The job, if it was ever put.
    async fn job(&self, org: &OrgId, kind: JobKind) -> Result<Option<Job>, StoreError>;
    /// Leases up to `limit` due jobs of live organisations, the longest due first.
    async fn claim_due(
        &self,
        limit: u32,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<(JobLease, Job)>, StoreError>;
    /// Leases one job whether due or not; none if it does not exist or somebody works on it.
    async fn claim_job(
        &self,
        org: &OrgId,
        kind: JobKind,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Option<(JobLease, Job)>, StoreError>;
    /// Keeps the lease and notes progress; `Conflict` when the lease was lost.
    async fn extend(
        &self,
        lease: &JobLease,
        progress: Progress,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Ends the lease; `Conflict` when it was lost.
    async fn release(&self, lease: &JobLease, release: Release, now: Timestamp) -> Result<(), StoreError>;
    /// When the next job of a live organisation falls due.
    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError>;
}
