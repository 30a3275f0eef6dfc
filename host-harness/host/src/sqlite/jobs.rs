//! The schedule. A lease is `leased_until` with a token that grows whenever a lease is given or taken away.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::coding::{signed, unsigned};
use super::fault::{Fault, Outcome, Result};
use super::inbox::{SLACK, lease_end};
use crate::contract::Timestamp;
use crate::id::OrgId;
use crate::port::{BackfillWindow, Job, JobKind, JobLease, Jobs, Progress, Release};

#[async_trait::async_trait]
impl Jobs for SqliteStore {
    async fn put_job(
        &self,
        org: &OrgId,
        kind: JobKind,
        run_at: Timestamp,
        window: Option<BackfillWindow>,
        now: Timestamp,
    ) -> Result<()> {
        let org = org.clone();
        self.write(move |connection| {
            let upsert =
                "INSERT INTO job (org, kind, run_at, attempts, since, until, done, requests, token, noted_at)
                VALUES (?1, ?2, ?3, 0, ?4, ?5, 0, 0, 0, ?6)
                ON CONFLICT (org, kind) DO UPDATE SET run_at = excluded.run_at, attempts = 0,
                    since = excluded.since, until = excluded.until, done = 0, total = NULL, requests = 0,
                    succeeded_at = NULL, error = NULL, token = token + 1, leased_until = NULL,
                    noted_at = excluded.noted_at";
            let (since, until) = window.map(|window| (window.since, window.until)).unzip();
            let values = params![org.as_str(), encode_kind(kind), run_at, since, until, now];
            connection.prepare_cached(upsert)?.execute(values)?;
            Ok(())
        })
        .await
    }

    async fn job(&self, org: &OrgId, kind: JobKind) -> Result<Option<Job>> {
        let org = org.clone();
        self.read(move |connection| Ok(stored(connection, &org, kind)?.map(|(_, job)| job))).await
    }

    async fn claim_due(
        &self,
        limit: u32,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<(JobLease, Job)>> {
        self.note(move |connection| {
            let select =
                "SELECT job.org, job.kind FROM job CROSS JOIN organisation ON organisation.id = job.org
                WHERE job.run_at IS NOT NULL AND (job.run_at <= ?1 OR job.noted_at > ?3)
                    AND (job.leased_until IS NULL OR job.leased_until <= ?1 OR job.noted_at > ?3)
                    AND organisation.state = 1
                ORDER BY job.run_at, job.org, job.kind LIMIT ?2";
            let mut statement = connection.prepare_cached(select)?;
            let values = params![now, limit, now.saturating_add(SLACK)];
            let due = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
            let due: Vec<(String, i64)> = due.collect::<rusqlite::Result<_>>()?;
            let mut leased = Vec::with_capacity(due.len());
            for (org, kind) in due {
                let org: OrgId = org.parse().map_err(|_| Fault::damaged("an organisation"))?;
                let kind = decode_kind(kind).ok_or_else(|| Fault::damaged("a job"))?;
                leased.extend(lease(connection, &org, kind, lease_end(now, lease_for), now)?);
            }
            Ok(leased)
        })
        .await
    }

    async fn claim_job(
        &self,
        org: &OrgId,
        kind: JobKind,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Option<(JobLease, Job)>> {
        let org = org.clone();
        self.note(move |connection| {
            let select =
                "SELECT 1 FROM job WHERE org = ?1 AND kind = ?2 AND leased_until > ?3 AND noted_at <= ?4";
            let values = params![org.as_str(), encode_kind(kind), now, now.saturating_add(SLACK)];
            if connection.prepare_cached(select)?.exists(values)? {
                return Ok(None);
            }
            lease(connection, &org, kind, lease_end(now, lease_for), now)
        })
        .await
    }

    async fn extend(
        &self,
        lease: &JobLease,
        progress: Progress,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<()> {
        let lease = lease.clone();
        self.note(move |connection| {
            let update =
                "UPDATE job SET leased_until = ?4, done = ?5, total = ?6, requests = ?7, noted_at = ?8,
                    run_at = CASE WHEN noted_at > ?9 THEN min(run_at, ?8) ELSE run_at END
                WHERE org = ?1 AND kind = ?2 AND token = ?3 AND leased_until IS NOT NULL";
            held(connection.prepare_cached(update)?.execute(params![
                lease.org.as_str(),
                encode_kind(lease.kind),
                lease.token,
                lease_end(now, lease_for),
                signed(progress.done),
                progress.total.map(signed),
                signed(progress.requests),
                now,
                now.saturating_add(SLACK),
            ])?)
        })
        .await
    }

    async fn release(&self, lease: &JobLease, release: Release, now: Timestamp) -> Result<()> {
        let lease = lease.clone();
        self.write(move |connection| {
            let update = "UPDATE job SET leased_until = NULL, run_at = ?4, error = ?5, done = ?6, total = ?7,
                    requests = ?8, noted_at = ?10,
                    attempts = CASE WHEN ?9 THEN attempts + 1 WHEN ?5 IS NULL THEN 0 ELSE attempts END,
                    succeeded_at = CASE WHEN ?9 OR ?5 IS NOT NULL THEN succeeded_at ELSE ?10 END
                WHERE org = ?1 AND kind = ?2 AND token = ?3 AND leased_until IS NOT NULL";
            held(connection.prepare_cached(update)?.execute(params![
                lease.org.as_str(),
                encode_kind(lease.kind),
                lease.token,
                release.run_at,
                release.error,
                signed(release.progress.done),
                release.progress.total.map(signed),
                signed(release.progress.requests),
                release.failed,
                now,
            ])?)
        })
        .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read(|connection| {
            // The second half: a leased job falls due when its lease runs out, should its holder be gone.
            let select = "SELECT min(at) FROM (
                SELECT at FROM (
                    SELECT job.run_at AS at FROM job CROSS JOIN organisation ON organisation.id = job.org
                    WHERE job.run_at IS NOT NULL AND job.leased_until IS NULL AND organisation.state = 1
                    ORDER BY job.run_at LIMIT 1)
                UNION ALL
                SELECT max(job.run_at, job.leased_until)
                    FROM job CROSS JOIN organisation ON organisation.id = job.org
                    WHERE job.run_at IS NOT NULL AND job.leased_until IS NOT NULL AND organisation.state = 1)";
            Ok(connection.prepare_cached(select)?.query_row([], |row| row.get(0))?)
        })
        .await
    }
}

/// Gives the lease, whoever held it before.
fn lease(
    connection: &Connection,
    org: &OrgId,
    kind: JobKind,
    until: Timestamp,
    now: Timestamp,
) -> Outcome<Option<(JobLease, Job)>> {
    // Before it is forgotten that a wrong clock noted when it is to run. A window that ends in the future was noted by one
    // as well, and its days are counted from now.
    let update = "UPDATE job SET leased_until = ?3, token = token + 1, noted_at = ?4,
            run_at = CASE WHEN noted_at > ?5 THEN min(run_at, ?4) ELSE run_at END,
            since = CASE WHEN until > ?5 THEN since - (until - ?4) ELSE since END,
            until = CASE WHEN until > ?5 THEN ?4 ELSE until END
        WHERE org = ?1 AND kind = ?2";
    let values = params![org.as_str(), encode_kind(kind), until, now, now.saturating_add(SLACK)];
    connection.prepare_cached(update)?.execute(values)?;
    let stored = stored(connection, org, kind)?;
    Ok(stored.map(|(token, job)| (JobLease { org: org.clone(), kind, token }, job)))
}

fn stored(connection: &Connection, org: &OrgId, kind: JobKind) -> Outcome<Option<(i64, Job)>> {
    let select = "SELECT token, run_at, attempts, since, until, done, total, requests, succeeded_at, error,
            leased_until
        FROM job WHERE org = ?1 AND kind = ?2";
    let read = |row: &Row<'_>| {
        let window: (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
        let job = Job {
            org: org.clone(),
            kind,
            run_at: row.get(1)?,
            attempts: row.get(2)?,
            window: window.0.zip(window.1).map(|(since, until)| BackfillWindow { since, until }),
            progress: Progress {
                done: unsigned(row.get(5)?),
                total: row.get::<_, Option<i64>>(6)?.map(unsigned),
                requests: unsigned(row.get(7)?),
            },
            succeeded_at: row.get(8)?,
            error: row.get(9)?,
            leased_until: row.get(10)?,
        };
        Ok((row.get(0)?, job))
    };
    let mut statement = connection.prepare_cached(select)?;
    Ok(statement.query_row(params![org.as_str(), encode_kind(kind)], read).optional()?)
}

fn held(rows: usize) -> Outcome<()> {
    if rows == 0 { Err(Fault::conflict()) } else { Ok(()) }
}

fn encode_kind(kind: JobKind) -> i64 {
    match kind {
        JobKind::Backfill => 0,
        JobKind::Poll => 1,
        JobKind::Rederive => 2,
    }
}

fn decode_kind(kind: i64) -> Option<JobKind> {
    match kind {
        0 => Some(JobKind::Backfill),
        1 => Some(JobKind::Poll),
        2 => Some(JobKind::Rederive),
        _ => None,
    }
}
