//! `backfill` and `poll`: one run of a job, now; and deriving anew, where something asks for it.

use anyhow::Result;
use koalr_host::Host;
use koalr_host::id::OrgId;
use koalr_host::port::{JobKind, StoreError};
use koalr_host::scheduler::{Observer, RunError, Scheduler, Totals};
use serde::Serialize;

use super::print_json;
use crate::cli::{self, OneOrg};
use crate::open;
use crate::out::say;
use crate::progress::Progress;
use crate::shutdown::{Shutdown, Stopped};
use crate::view::counted;

#[derive(Serialize)]
struct Document<'a> {
    organisation: &'a str,
    job: JobKind,
    #[serde(flatten)]
    totals: Totals,
    waiting_for_timelines: u64,
}

pub(crate) async fn backfill(options: cli::Backfill) -> Result<()> {
    let shutdown = Shutdown::listen()?;
    let host = open::host(&options.target.database).await?;
    if let Some(days) = options.days {
        host.organisation(&options.target.org).await?;
        host.schedule_backfill(&options.target.org, days).await?;
    }
    run(&host, &options.target, JobKind::Backfill, &shutdown).await
}

pub(crate) async fn poll(options: OneOrg) -> Result<()> {
    let shutdown = Shutdown::listen()?;
    let host = open::host(&options.database).await?;
    run(&host, &options, JobKind::Poll, &shutdown).await
}

async fn run(host: &Host, options: &OneOrg, kind: JobKind, shutdown: &Shutdown) -> Result<()> {
    let totals = with_progress(host, &options.org, kind, options.json.json, shutdown).await?;
    derive_anew(host, &options.org, shutdown).await?;
    let source = &host.plugin().descriptor().name;
    let waiting = host.store().to_revisit(&options.org, source, 0).await?.total;
    if options.json.json {
        let organisation = options.org.as_str();
        return print_json(&Document { organisation, job: kind, totals, waiting_for_timelines: waiting });
    }
    say!("{}", describe(kind, &totals))?;
    if kind == JobKind::Backfill && totals.requests == 0 {
        say!("The import was complete already; `--days N` imports the last N days again.")?;
    }
    if waiting > 0 {
        let waiting = counted(waiting, "timeline is", "timelines are");
        say!("{waiting} still to be read; `poll` and `serve` do that.")?;
    }
    Ok(())
}

/// Runs the job with a progress bar, or plain lines where there is no terminal.
pub(crate) async fn with_progress(
    host: &Host,
    org: &OrgId,
    kind: JobKind,
    silent: bool,
    shutdown: &Shutdown,
) -> Result<Totals> {
    let progress = Progress::new(name(kind), silent);
    let observe = |event: &_| progress.observe(event);
    let result = run_now(host, org, kind, &observe, shutdown).await;
    progress.finish();
    result
}

/// Runs the job to its end, or until a signal asks the process to stop.
async fn run_now(
    host: &Host,
    org: &OrgId,
    kind: JobKind,
    observer: Observer<'_>,
    shutdown: &Shutdown,
) -> Result<Totals> {
    let ended = Scheduler::new(host.clone()).run_now(org, kind, observer, shutdown.asked()).await;
    match (ended, shutdown.signal()) {
        (Err(RunError::Stopped), Some(signal)) => Err(Stopped(signal).into()),
        (ended, _) => Ok(ended?),
    }
}

/// Whether stored incidents are still to be derived anew, be it that this has begun.
pub(crate) async fn is_rederiving(host: &Host, org: &OrgId) -> Result<bool, StoreError> {
    let job = host.store().job(org, JobKind::Rederive).await?;
    Ok(job.is_some_and(|job| job.run_at.is_some()))
}

/// Derives stored incidents anew if that is due; answers how many of them that changed.
pub(crate) async fn derive_anew(host: &Host, org: &OrgId, shutdown: &Shutdown) -> Result<Option<u64>> {
    if !is_rederiving(host, org).await? {
        return Ok(None);
    }
    match run_now(host, org, JobKind::Rederive, &|_| {}, shutdown).await {
        Ok(totals) => Ok(Some(totals.updated)),
        // A server on the same database was quicker.
        Err(error) if matches!(error.downcast_ref(), Some(RunError::Busy)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backfill => "backfill",
        JobKind::Poll => "poll",
        JobKind::Rederive => "rederive",
    }
}

/// A run in one line.
pub(crate) fn describe(kind: JobKind, totals: &Totals) -> String {
    let Totals { fetched, created, updated, stale, requests, .. } = totals;
    format!(
        "{} done: fetched {} in {}; {created} created, {updated} updated, {stale} stale",
        name(kind),
        counted(*fetched, "record", "records"),
        counted(*requests, "request", "requests")
    )
}
