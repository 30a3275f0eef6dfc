//! `mttr`.

mod explain;

use anyhow::{Context, Result};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use koalr_host::Host;
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{ClockEnd, ClockStart, MttrQuery};
use koalr_host::id::OrgId;
use koalr_host::migration::SOURCES;
use koalr_host::port::JobKind;

use super::connect::priority;
use crate::chart;
use crate::cli::{self, BucketArg, ClockArg};
use crate::open;
use crate::view::report::{self, Asked, Before, Report};

const DEFAULT_DAYS: u64 = 90;

pub(crate) async fn run(options: cli::Mttr) -> Result<()> {
    let host = open::host(&options.target.database).await?;
    print!("{}", answer(&host, &options).await?);
    Ok(())
}

/// What the verb prints.
pub(crate) async fn answer(host: &Host, options: &cli::Mttr) -> Result<String> {
    let zone = options.time_zone;
    let now = host.clock().now();
    let today = calendar::day_of(now, zone).context("the clock is out of range")?;
    let until = options.until.or(today.checked_add_days(Days::new(1))).context("the date is out of range")?;
    let since = options
        .since
        .or(until.checked_sub_days(Days::new(DEFAULT_DAYS)))
        .context("the date is out of range")?;
    let bucket = match options.bucket {
        BucketArg::Day => BucketSize::Day,
        BucketArg::Week => BucketSize::Week,
        BucketArg::Month => BucketSize::Month,
    };
    let (start, clock) = match options.clock {
        ClockArg::Created => (ClockStart::Created, "created"),
        ClockArg::Started => (ClockStart::Started, "started"),
        ClockArg::Acknowledged => (ClockStart::Acknowledged, "acknowledged"),
    };
    let query = MttrQuery {
        edges: calendar::edges(since, until, bucket, zone)?,
        start,
        end: ClockEnd::Resolved,
        priorities: options.priority.iter().copied().map(priority).collect(),
        services: options.service.clone(),
        sources: options.source.clone(),
        include_private: !options.no_private,
    };
    let org = &options.target.org;
    if let Some(name) = &options.explain {
        let record = host.store().find_incident(org, name).await?;
        let record = record.with_context(|| format!("{org} has no incident {name}"))?;
        let report = host.explain(org, &query, &record.key).await?;
        let explained = explain::explain(&record, &report, &query);
        if options.target.json.json {
            let document = serde_json::to_string_pretty(&explained);
            return Ok(format!("{}\n", document.context("the answer cannot be written as JSON")?));
        }
        return Ok(explained.text());
    }
    let of = Report {
        report: host.mttr(org, &query).await?,
        acknowledge: match start {
            ClockStart::Acknowledged => None,
            _ => {
                let query = MttrQuery { end: ClockEnd::Acknowledged, ..query.clone() };
                Some(host.mttr(org, &query).await?.overall.statistics)
            }
        },
        before: before(host, org, &query, since, until, zone).await?,
        asked: Asked {
            organisation: org.as_str(),
            zone,
            bucket,
            clock,
            now,
            cut_over: host.cut_over(org).await?,
        },
    };
    if let Some(path) = &options.svg {
        std::fs::write(path, chart::svg(&of)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if options.csv {
        return report::csv(&of);
    }
    if options.target.json.json {
        let document = serde_json::to_string_pretty(&report::document(&of));
        return Ok(format!("{}\n", document.context("the answer cannot be written as JSON")?));
    }
    Ok(report::text(&of))
}

/// The same question about as many days before the first. Not answered for days whose incidents were not imported:
/// those few of them that are known, because they were open for long, would make a figure of their own.
async fn before(
    host: &Host,
    org: &OrgId,
    query: &MttrQuery,
    since: NaiveDate,
    until: NaiveDate,
    zone: Tz,
) -> Result<Before> {
    let days = u64::try_from((until - since).num_days()).unwrap_or_default();
    let Some(first) = since.checked_sub_days(Days::new(days)) else {
        return Ok(Before::NotImported);
    };
    let edges = calendar::edges(first, since, BucketSize::Month, zone)?;
    let import = host.store().job(org, JobKind::Backfill).await?;
    let imported = import.and_then(|job| job.window).map(|window| window.since);
    // Another tool's history may reach further back.
    let history = host.store().incidents_of(org, &SOURCES).await?;
    let imported = imported.into_iter().chain(history.first().map(|first| first.created_at)).min();
    match (edges.first(), imported) {
        (Some(first), Some(imported)) if imported <= *first => {}
        _ => return Ok(Before::NotImported),
    }
    let report = host.mttr(org, &MttrQuery { edges, ..query.clone() }).await?;
    Ok(match report.overall.statistics.durations {
        Some(durations) => Before::Known { first, count: report.overall.statistics.count, durations },
        None => Before::Nothing,
    })
}
