//! Bucket edges in a time zone: where days, ISO weeks and months begin there, as instants.
//!
//! The plugin gets instants only and needs no time-zone data. A day may have 23 or 25 hours; where the clocks
//! skip midnight, the day begins at the first instant that exists. Where they skip a whole day, there is no bucket for it.

use chrono::{DateTime, Datelike, Days, LocalResult, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use crate::contract::Timestamp;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BucketSize {
    /// Midnight to midnight.
    Day,
    /// Monday to Monday.
    Week,
    /// First to first.
    Month,
}

/// The dates make no interval, or one with too many buckets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Nothing lies between them.
    #[error("the interval is empty: {since} is not before {until}")]
    Empty {
        /// First day.
        since: NaiveDate,
        /// The day after the last.
        until: NaiveDate,
    },
    /// The clocks skipped each of these days.
    #[error("{zone} had no {since}: its clocks skipped that day; choose a longer interval")]
    Skipped {
        /// First day.
        since: NaiveDate,
        /// Where.
        zone: Tz,
    },
    /// More than a report holds.
    #[error("the interval has more than {0} buckets; choose longer ones")]
    TooMany(usize),
    /// Beyond the calendar.
    #[error("the date is out of range")]
    OutOfRange,
}

const MOST_BUCKETS: usize = 3_999;

/// The edges of the buckets that make up the days from `since` to before `until`. The first and the last bucket
/// may be shorter than the others. A day that the clocks skipped makes no bucket: what begins with it begins with the
/// day after.
pub fn edges(
    since: NaiveDate,
    until: NaiveDate,
    size: BucketSize,
    zone: Tz,
) -> Result<Vec<Timestamp>, CalendarError> {
    if since >= until {
        return Err(CalendarError::Empty { since, until });
    }
    let mut last = start_of_day(since, zone)?;
    let mut edges = vec![last];
    let mut day = since;
    while day < until {
        day = next(day, size).ok_or(CalendarError::OutOfRange)?.min(until);
        let edge = start_of_day(day, zone)?;
        if edge > last {
            edges.push(edge);
            last = edge;
        }
        if edges.len() > MOST_BUCKETS + 1 {
            return Err(CalendarError::TooMany(MOST_BUCKETS));
        }
    }
    if edges.len() < 2 {
        return Err(CalendarError::Skipped { since, zone });
    }
    Ok(edges)
}

/// The first day of the bucket after the one that `day` lies in.
fn next(day: NaiveDate, size: BucketSize) -> Option<NaiveDate> {
    match size {
        BucketSize::Day => day.checked_add_days(Days::new(1)),
        BucketSize::Week => {
            day.checked_add_days(Days::new(7 - u64::from(day.weekday().num_days_from_monday())))
        }
        BucketSize::Month => day.with_day(1)?.checked_add_months(Months::new(1)),
    }
}

/// The first instant of a day; of one that the clocks skipped, the first instant after it.
fn start_of_day(day: NaiveDate, zone: Tz) -> Result<Timestamp, CalendarError> {
    let midnight = day.and_time(NaiveTime::MIN);
    let first = match zone.from_local_datetime(&midnight) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at),
        LocalResult::None => GapInfo::new(&midnight, &zone).and_then(|gap| gap.end),
    };
    first.map(|at| at.timestamp_micros()).ok_or(CalendarError::OutOfRange)
}

/// The day that an instant lies in.
pub fn day_of(at: Timestamp, zone: Tz) -> Option<NaiveDate> {
    Some(DateTime::<Utc>::from_timestamp_micros(at)?.with_timezone(&zone).date_naive())
}

/// A bucket's usual name: `2026-11-23`, `2026-W48`, `2026-11`.
pub fn label(since: Timestamp, size: BucketSize, zone: Tz) -> String {
    let Some(day) = day_of(since, zone) else { return String::new() };
    match size {
        BucketSize::Day => day.to_string(),
        BucketSize::Week => {
            let week = day.iso_week();
            format!("{:04}-W{:02}", week.year(), week.week())
        }
        BucketSize::Month => format!("{:04}-{:02}", day.year(), day.month()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn every_worked_instant_falls_into_its_bucket() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/mttr/worked-examples.json");
        let examples: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = examples["buckets"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let Ok(zone) = case["zone"].as_str().unwrap().parse::<Tz>() else { continue };
            let at: DateTime<Utc> = case["resolved_at"].as_str().unwrap().parse().unwrap();
            for (size, name) in
                [(BucketSize::Day, "day"), (BucketSize::Week, "iso_week"), (BucketSize::Month, "month")]
            {
                let edges = edges(date("2020-01-01"), date("2028-01-01"), size, zone).unwrap();
                let bucket = edges.partition_point(|edge| *edge <= at.timestamp_micros()) - 1;
                assert_eq!(label(edges[bucket], size, zone), case[name].as_str().unwrap(), "{case}");
            }
        }
    }

    #[test]
    fn buckets_meet_without_gaps_whatever_the_clocks_do() {
        for zone in
            ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Africa/Cairo"]
        {
            let zone: Tz = zone.parse().unwrap();
            for size in [BucketSize::Day, BucketSize::Week, BucketSize::Month] {
                let edges = edges(date("2017-03-15"), date("2020-03-16"), size, zone).unwrap();
                assert!(edges.is_sorted_by(|a, b| a < b), "{zone} {size:?}");
                assert_eq!(edges.first(), Some(&start_of_day(date("2017-03-15"), zone).unwrap()));
                assert_eq!(edges.last(), Some(&start_of_day(date("2020-03-16"), zone).unwrap()));
            }
        }
    }

    #[test]
    fn a_day_of_the_clock_change_is_shorter_or_longer() {
        let hours = |day: &str, next: &str| {
            let edges = edges(date(day), date(next), BucketSize::Day, Tz::Europe__Berlin).unwrap();
            (edges[1] - edges[0]) / 3_600_000_000
        };
        assert_eq!(hours("2026-03-29", "2026-03-30"), 23);
        assert_eq!(hours("2026-10-25", "2026-10-26"), 25);
    }

    #[test]
    fn a_day_that_the_clocks_skipped_is_no_bucket() {
        for (zone, skipped) in [
            (Tz::Pacific__Apia, "2011-12-30"),
            (Tz::Pacific__Fakaofo, "2011-12-30"),
            (Tz::Pacific__Kiritimati, "1994-12-31"),
            (Tz::Pacific__Kanton, "1994-12-31"),
            (Tz::Pacific__Kwajalein, "1993-08-21"),
        ] {
            let skipped = date(skipped);
            let day = |offset: i64| skipped + chrono::TimeDelta::days(offset);
            let labels = |since: NaiveDate, until: NaiveDate, size: BucketSize| -> Vec<String> {
                let edges = edges(since, until, size, zone).unwrap();
                assert!(edges.is_sorted_by(|a, b| a < b), "{zone}");
                edges[..edges.len() - 1].iter().map(|edge| label(*edge, size, zone)).collect()
            };
            let named = |offsets: &[i64]| -> Vec<String> {
                offsets.iter().map(|offset| day(*offset).to_string()).collect()
            };
            assert_eq!(labels(day(-2), day(3), BucketSize::Day), named(&[-2, -1, 1, 2]), "{zone}");
            // What begins with it begins with the next, and what ends before it ends with the one before.
            assert_eq!(labels(skipped, day(2), BucketSize::Day), named(&[1]), "{zone}");
            assert_eq!(labels(day(-1), skipped, BucketSize::Day), named(&[-1]), "{zone}");
            assert_eq!(labels(day(-1), day(1), BucketSize::Day), named(&[-1]), "{zone}");
            let month = day(1).format("%Y-%m").to_string();
            assert_eq!(labels(skipped, day(2), BucketSize::Month), [month], "{zone}");
            let none = edges(skipped, day(1), BucketSize::Day, zone);
            assert_eq!(none, Err(CalendarError::Skipped { since: skipped, zone }));
        }
    }

    #[test]
    fn every_zone_has_buckets_in_order_through_all_its_changes() {
        for zone in chrono_tz::TZ_VARIANTS {
            for (since, until) in [("1990-01-01", "2000-12-01"), ("2005-01-01", "2015-12-01")] {
                let edges = edges(date(since), date(until), BucketSize::Day, zone).unwrap();
                assert!(edges.is_sorted_by(|a, b| a < b), "{zone}");
                for edge in edges {
                    let local = |at| DateTime::from_timestamp_micros(at).unwrap().with_timezone(&zone);
                    let (first, before) = (local(edge), local(edge - 1));
                    // Midnight, or the first instant behind a gap that midnight is in.
                    let begins = first.time() == NaiveTime::MIN || before.date_naive() < first.date_naive();
                    assert!(begins, "{first}");
                }
            }
        }
    }

    #[test]
    fn an_empty_or_endless_interval_is_refused() {
        let day = date("2026-01-01");
        assert!(matches!(edges(day, day, BucketSize::Day, Tz::UTC), Err(CalendarError::Empty { .. })));
        let far = edges(date("1990-01-01"), date("2026-01-01"), BucketSize::Day, Tz::UTC);
        assert!(matches!(far, Err(CalendarError::TooMany(_))));
    }
}
