//! The schedule. A lease is a time and a token in the job's own row.

use std::time::Duration;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::inbox::end_of_lease;
use super::{SqliteStore, failed};
use crate::contract::Timestamp;
use crate::id::OrgId;
use crate::port::{BackfillWindow, Job, JobKind, JobLease, Jobs, Progress, Release, StoreError};

const COLUMNS: &str =
    "org, kind, run_at, attempts, since, until, done, total, requests, succeeded_at, error, leased_until, token";

fn code(kind: JobKind) -> i64 {
    match kind {
        JobKind::Backfill => 0,
        JobKind::Poll => 1,
    }
}

/// A job and its token.
fn read(row: &Row<'_>) -> rusqlite::Result<(Job, i64)> {
    let window = match (row.get(4)?, row.get(5)?) {
        (Some(since), Some(until)) => Some(BackfillWindow { since, until }),
        _ => None,
    };
    let org: String = row.get(0)?;
    let org = org.parse().map_err(|error| FromSqlError::other(error))?;
    let kind = if row.get::<_, i64>(1)? == 0 { JobKind::Backfill } else { JobKind::Poll };
    let job = Job {
        org,
        kind,
        run_at: row.get(2)?,
        attempts: row.get(3)?,
        window,
        progress: Progress { done: row.get(6)?, total: row.get(7)?, requests: row.get(8)? },
        succeeded_at: row.get(9)?,
        error: row.get(10)?,
        running: row.get::<_, Option<i64>>(11)?.is_some(),
    };
    Ok((job, row.get(12)?))
}

/// Takes the lease of a job that was read in the same transaction.
fn take(connection: &Connection, job: Job, token: i64, until: Timestamp) -> Result<(JobLease, Job), StoreError> {
    let sql = "UPDATE job SET leased_until = ?3, token = ?4 WHERE org = ?1 AND kind = ?2";
    let token = token + 1;
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.execute(params![job.org.as_str(), code(job.kind), until, token]).map_err(failed)?;
    let lease = JobLease { org: job.org.clone(), kind: job.kind, token };
    Ok((lease, Job { running: true, ..job }))
}

fn fenced(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), StoreError> {
    let rows = connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(failed)?;
    if rows == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

#[async_trait::async_trait]
impl Jobs for SqliteStore {
    async fn put_job(
        &self,
        org: &OrgId,
        kind: JobKind,
        run_at: Timestamp,
        window: Option<BackfillWindow>,
    ) -> Result<(), StoreError> {
        let org = org.clone();
        self.write(move |connection| {
            let sql = "INSERT INTO job (org, kind, run_at, since, until) VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT (org, kind) DO UPDATE SET run_at = ?3, since = ?4, until = ?5, leased_until = NULL,
                    token = token + 1, attempts = 0, done = 0, total = NULL, requests = 0, error = NULL";
            let (since, until) = (window.map(|window| window.since), window.map(|window| window.until));
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            statement.execute(params![org.as_str(), code(kind), run_at, since, until]).map(|_| ()).map_err(failed)
        })
        .await
    }

    async fn job(&self, org: &OrgId, kind: JobKind) -> Result<Option<Job>, StoreError> {
        let org = org.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM job WHERE org = ?1 AND kind = ?2");
            let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
            let found = statement.query_row(params![org.as_str(), code(kind)], read).optional().map_err(failed)?;
            Ok(found.map(|(job, _)| job))
        })
        .await
    }

    async fn claim_due(
        &self,
        limit: u32,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<(JobLease, Job)>, StoreError> {
        let until = end_of_lease(now, lease_for);
        self.write(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM job
                WHERE run_at <= ?1 AND (leased_until IS NULL OR leased_until <= ?1)
                    AND (SELECT state FROM organisation WHERE id = job.org) = 1
                ORDER BY run_at LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
            let due = statement.query_map(params![now, limit], read).map_err(failed)?;
            let due = due.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?;
            due.into_iter().map(|(job, token)| take(connection, job, token, until)).collect()
        })
        .await
    }

    async fn claim_job(
        &self,
        org: &OrgId,
        kind: JobKind,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Option<(JobLease, Job)>, StoreError> {
        let org = org.clone();
        let until = end_of_lease(now, lease_for);
        self.write(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM job
                WHERE org = ?1 AND kind = ?2 AND (leased_until IS NULL OR leased_until <= ?3)"
            );
            let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
            let found = statement.query_row(params![org.as_str(), code(kind), now], read).optional();
            found.map_err(failed)?.map(|(job, token)| take(connection, job, token, until)).transpose()
        })
        .await
    }

    async fn extend(
        &self,
        lease: &JobLease,
        progress: Progress,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let lease = lease.clone();
        let until = end_of_lease(now, lease_for);
        self.write(move |connection| {
            let sql = "UPDATE job SET leased_until = ?4, done = ?5, total = ?6, requests = ?7
                WHERE org = ?1 AND kind = ?2 AND token = ?3 AND leased_until IS NOT NULL";
            let Progress { done, total, requests } = progress;
            let values = params![lease.org.as_str(), code(lease.kind), lease.token, until, done, total, requests];
            fenced(connection, sql, values)
        })
        .await
    }

    async fn release(&self, lease: &JobLease, release: Release, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.write(move |connection| {
            let sql = "UPDATE job SET leased_until = NULL, run_at = ?4, error = ?5, done = ?6, total = ?7,
                    requests = ?8, attempts = CASE WHEN ?9 THEN attempts + 1 WHEN ?5 IS NULL THEN 0 ELSE attempts END,
                    succeeded_at = CASE WHEN ?5 IS NULL THEN ?10 ELSE succeeded_at END
                WHERE org = ?1 AND kind = ?2 AND token = ?3 AND leased_until IS NOT NULL";
            let Release { run_at, error, failed, progress: Progress { done, total, requests } } = release;
            let (org, kind, token) = (lease.org.as_str(), code(lease.kind), lease.token);
            fenced(connection, sql, params![org, kind, token, run_at, error, done, total, requests, failed, now])
        })
        .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT min(max(run_at, coalesce(leased_until, run_at))) FROM job
                WHERE run_at IS NOT NULL AND (SELECT state FROM organisation WHERE id = job.org) = 1";
            let mut statement = connection.prepare_cached(sql).map_err(failed)?;
            statement.query_row([], |row| row.get(0)).map_err(failed)
        })
        .await
    }
}
