//! `mttr`.

use anyhow::{Context, Result};
use chrono::Days;
use koalr_host::Host;
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{ClockStart, MttrQuery};

use super::connect::priority;
use crate::cli::{self, BucketArg, ClockArg};
use crate::open;
use crate::view::{self, Asked};

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
        priorities: options.priority.iter().copied().map(priority).collect(),
        services: options.service.clone(),
        sources: options.source.clone(),
        include_private: !options.no_private,
    };
    let report = host.mttr(&options.target.org, &query).await?;
    let asked = Asked { organisation: options.target.org.as_str(), zone, bucket, clock, now };
    if options.target.json.json {
        let document = serde_json::to_string_pretty(&view::report(&report, asked));
        return Ok(format!("{}\n", document.context("the answer cannot be written as JSON")?));
    }
    Ok(view::report_text(&report, asked))
}
