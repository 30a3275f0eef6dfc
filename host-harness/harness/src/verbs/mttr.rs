//! `mttr`.

pub(crate) mod explain;

use anyhow::{Context, Result};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use koalr_host::Host;
use koalr_host::calendar::{self, BucketSize, CalendarError};
use koalr_host::contract::{ClockEnd, ClockStart, MttrQuery, Priority, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::migration::SOURCES;
use koalr_host::port::JobKind;

use super::connect::priority;
use super::sync::is_rederiving;
use crate::chart;
use crate::cli::{self, BucketArg, ClockArg, ClockEndArg};
use crate::out::print;
use crate::view;
use crate::view::report::{self, Asked, Before, Report};
use crate::{filters, forms, open};

const DEFAULT_DAYS: u64 = 90;

pub(crate) async fn run(options: cli::Mttr) -> Result<()> {
    let host = open::host(&options.target.database).await?;
    print(&answer(&host, &options).await?)?;
    Ok(())
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The first day, and the day after the last one. Absent: 90 days until today.
    pub(crate) since: Option<NaiveDate>,
    pub(crate) until: Option<NaiveDate>,
    pub(crate) zone: Tz,
    pub(crate) bucket: BucketSize,
    pub(crate) clock: ClockArg,
    pub(crate) clock_end: ClockEndArg,
    pub(crate) priorities: Vec<Priority>,
    pub(crate) services: Vec<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) include_private: bool,
}

impl Question {
    /// The first day, and the day after the last one.
    pub(crate) fn days(&self, now: Timestamp) -> Result<(NaiveDate, NaiveDate)> {
        let today = calendar::day_of(now, self.zone).context("the clock is out of range")?;
        let until =
            self.until.or(today.checked_add_days(Days::new(1))).context("the date is out of range")?;
        let since = self
            .since
            .or(until.checked_sub_days(Days::new(DEFAULT_DAYS)))
            .context("the date is out of range")?;
        Ok((since, until))
    }

    /// The same with the names of what there is. One that leads to nothing is an error.
    pub(crate) async fn resolved(mut self, host: &Host, org: &OrgId) -> Result<Question> {
        host.organisation(org).await?;
        self.services = filters::services(&**host.store(), org, &self.services).await?;
        self.sources = filters::sources(host, org, &self.sources).await?;
        Ok(self)
    }

    pub(crate) fn query(&self, now: Timestamp) -> Result<MttrQuery> {
        let (since, until) = self.days(now)?;
        Ok(MttrQuery {
            edges: calendar::edges(since, until, self.bucket, self.zone)?,
            start: match self.clock {
                ClockArg::Created => ClockStart::Created,
                ClockArg::Started => ClockStart::Started,
                ClockArg::Acknowledged => ClockStart::Acknowledged,
            },
            end: match self.clock_end {
                ClockEndArg::Resolved => ClockEnd::Resolved,
                ClockEndArg::FirstResolution => ClockEnd::FirstResolution,
            },
            priorities: self.priorities.clone(),
            services: self.services.clone(),
            sources: self.sources.clone(),
            include_private: self.include_private,
        })
    }
}

/// The report, by the component, with what it is compared to.
pub(crate) async fn ask<'a>(host: &Host, org: &'a OrgId, question: &Question) -> Result<Report<'a>> {
    let now = host.clock().now();
    let query = question.query(now)?;
    let (since, until) = question.days(now)?;
    // Asked before the figures: what ends meanwhile is told of once too often, not too seldom.
    let recalculating = is_rederiving(host, org).await?;
    Ok(Report {
        report: host.mttr(org, &query).await?,
        acknowledge: match query.start {
            ClockStart::Acknowledged => None,
            _ => {
                let query = MttrQuery { end: ClockEnd::Acknowledged, ..query.clone() };
                Some(host.mttr(org, &query).await?.overall.statistics)
            }
        },
        before: before(host, org, &query, since, until, question.zone).await?,
        unknown_timestamps: host.store().unknown_timestamps(org).await?,
        asked: Asked {
            organisation: org.as_str(),
            zone: question.zone,
            bucket: question.bucket,
            clock: view::clock_start(query.start),
            clock_end: view::clock_end(query.end),
            now,
            cut_over: host.cut_over(org).await?,
            recalculating,
        },
    })
}

/// What the verb prints.
pub(crate) async fn answer(host: &Host, options: &cli::Mttr) -> Result<String> {
    let question = Question {
        since: options.since,
        until: options.until,
        zone: options.time_zone,
        bucket: match options.bucket {
            BucketArg::Day => BucketSize::Day,
            BucketArg::Week => BucketSize::Week,
            BucketArg::Month => BucketSize::Month,
        },
        clock: options.clock,
        clock_end: options.clock_end,
        priorities: options.priority.iter().copied().map(priority).collect(),
        services: options.service.clone(),
        sources: options.source.clone(),
        include_private: options.private || !options.no_private,
    };
    let org = &options.target.org;
    // Days that make no interval are wrong whatever is stored.
    question.query(host.clock().now())?;
    let question = question.resolved(host, org).await?;
    if let Some(name) = &options.explain {
        let query = question.query(host.clock().now())?;
        let record = forms::find_incident(&**host.store(), org, name).await?;
        let record = record.with_context(|| format!("{org} has no incident {name}"))?;
        let recalculating = is_rederiving(host, org).await?;
        let report = host.explain(org, &query, &record.key).await?;
        let explained = explain::explain(&record, &report, &query, recalculating);
        if options.target.json.json {
            let document = serde_json::to_string_pretty(&explained);
            return Ok(format!("{}\n", document.context("the answer cannot be written as JSON")?));
        }
        return Ok(explained.text());
    }
    let of = ask(host, org, &question).await?;
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
    let import = host.store().job(org, JobKind::Backfill).await?;
    let imported = import.and_then(|job| job.window).map(|window| window.since);
    // Another tool's history may reach further back.
    let history = host.store().first_creation(org, &SOURCES).await?;
    let imported = imported.into_iter().chain(history).min();
    let not_imported =
        || Before::NotImported { since: imported.and_then(|first| calendar::day_of(first, zone)) };
    let Some(first) = since.checked_sub_days(Days::new(days)) else {
        return Ok(not_imported());
    };
    let edges = match calendar::edges(first, since, BucketSize::Month, zone) {
        Err(CalendarError::Skipped { .. }) => return Ok(Before::Nothing),
        edges => edges?,
    };
    match (edges.first(), imported) {
        (Some(first), Some(imported)) if imported <= *first => {}
        _ => return Ok(not_imported()),
    }
    let report = host.mttr(org, &MttrQuery { edges, ..query.clone() }).await?;
    Ok(match report.overall.statistics.durations {
        Some(durations) => Before::Known { first, count: report.overall.statistics.count, durations },
        None => Before::Nothing,
    })
}
