//! A report on time to restore, as a JSON document, as CSV, and as text for people.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;
use comfy_table::Table;
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{Durations, MttrReport, Slice, Statistics, Timestamp};
use koalr_host::port::UnknownTimestamp;
use serde::Serialize;

use super::timestamps::advice;
use super::{clock_start, counted, csv_cell, duration, instant, printable, short_instant, table, tier};

#[derive(Debug, Serialize)]
struct FiguresView {
    count: u64,
    mean_seconds: Option<f64>,
    median_seconds: Option<f64>,
    p75_seconds: Option<f64>,
    p90_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    min_seconds: Option<f64>,
    max_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct StatisticsView {
    #[serde(flatten)]
    figures: FiguresView,
    tier: Option<&'static str>,
}

fn figures(of: &Statistics) -> FiguresView {
    let figure = |pick: fn(&Durations) -> f64| of.durations.as_ref().map(pick);
    FiguresView {
        count: of.count,
        mean_seconds: figure(|d| d.mean),
        median_seconds: figure(|d| d.median),
        p75_seconds: figure(|d| d.p75),
        p90_seconds: figure(|d| d.p90),
        p95_seconds: figure(|d| d.p95),
        min_seconds: figure(|d| d.min),
        max_seconds: figure(|d| d.max),
    }
}

fn statistics(of: &Statistics) -> StatisticsView {
    StatisticsView { figures: figures(of), tier: of.durations.as_ref().map(|d| tier(d.tier)) }
}

#[derive(Debug, Serialize)]
struct SliceView<'a> {
    label: &'a str,
    #[serde(flatten)]
    statistics: StatisticsView,
    mean_tier: Option<&'static str>,
}

fn slice(of: &Slice) -> SliceView<'_> {
    SliceView {
        label: &of.label,
        statistics: statistics(&of.statistics),
        mean_tier: of.statistics.durations.as_ref().map(|d| tier(d.mean_tier)),
    }
}

#[derive(Debug, Serialize)]
struct BucketView<'a> {
    label: String,
    since: String,
    until: String,
    incomplete: bool,
    #[serde(flatten)]
    statistics: StatisticsView,
    by_source: BTreeMap<&'a str, u64>,
}

#[derive(Debug, Serialize)]
struct ExclusionView<'a> {
    reason: &'a str,
    count: u64,
}

/// A report as a JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct ReportView<'a> {
    organisation: &'a str,
    since: Option<String>,
    until: Option<String>,
    time_zone: String,
    bucket: BucketSize,
    clock: &'static str,
    clock_end: &'static str,
    overall: SliceView<'a>,
    /// Of the measured ones whose acknowledgement is known: from the start of the clock until then. Null if the clock
    /// starts there.
    acknowledge: Option<FiguresView>,
    /// As many days before; null if nothing was restored then, or history starts later.
    before: Option<BeforeView>,
    trend: Vec<BucketView<'a>>,
    by_priority: Vec<SliceView<'a>>,
    by_service: Vec<SliceView<'a>>,
    by_source: Vec<SliceView<'a>>,
    /// From when on incident.io is the record; null unless another tool's history was imported.
    cut_over: Option<String>,
    excluded: Vec<ExclusionView<'a>>,
    population: u64,
    open: u64,
    oldest_open: Option<String>,
    /// Timelines that are still to be read; until then the figures are provisional.
    provisional: u64,
    /// Whether stored incidents are still being recalculated; until they are, the figures are provisional.
    recalculating: bool,
    /// Incidents that the other end of the clock would change.
    reopened: u64,
    /// Clocks that would measure more incidents.
    other_clocks: Vec<OtherClockView>,
    /// Timestamps that may be the end of stored incidents, of this time or of another.
    unknown_timestamps: &'a [UnknownTimestamp],
}

#[derive(Debug, Serialize)]
struct OtherClockView {
    clock: &'static str,
    more: u64,
}

/// What a report was asked with, for its reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) organisation: &'a str,
    pub(crate) zone: Tz,
    pub(crate) bucket: BucketSize,
    pub(crate) clock: &'static str,
    pub(crate) clock_end: &'static str,
    pub(crate) now: Timestamp,
    /// From when on incident.io is the record, where history of another tool was imported.
    pub(crate) cut_over: Option<Timestamp>,
    /// Whether stored incidents are still to be derived anew.
    pub(crate) recalculating: bool,
}

impl Asked<'_> {
    pub(crate) fn bucket_name(&self) -> &'static str {
        match self.bucket {
            BucketSize::Day => "day",
            BucketSize::Week => "week",
            BucketSize::Month => "month",
        }
    }
}

/// What is known of as many days before those that a report is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Before {
    /// The figure, and the first of those days.
    Known { first: NaiveDate, count: u64, durations: Durations },
    /// Nothing was restored then.
    Nothing,
    /// The history that was imported starts later: on this day, if that is known.
    NotImported { since: Option<NaiveDate> },
}

/// The figure before, and how the present one compares.
#[derive(Debug, Serialize)]
struct BeforeView {
    since: String,
    count: u64,
    median_seconds: f64,
    mean_seconds: f64,
    tier: &'static str,
    /// Of the median: 0.1 is ten percent longer now, -0.1 ten percent shorter. Absent if it was zero, or there is none.
    median_change: Option<f64>,
}

fn before(of: &Before, now: &Statistics) -> Option<BeforeView> {
    let Before::Known { first, count, durations } = of else {
        return None;
    };
    Some(BeforeView {
        since: first.to_string(),
        count: *count,
        median_seconds: durations.median,
        mean_seconds: durations.mean,
        tier: tier(durations.tier),
        median_change: change(durations.median, now),
    })
}

fn change(before: f64, now: &Statistics) -> Option<f64> {
    let now = now.durations.as_ref()?.median;
    (before > 0.0).then(|| now / before - 1.0)
}

/// What the component answered, and what it was asked.
pub(crate) struct Report<'a> {
    pub(crate) report: MttrReport,
    /// Time to acknowledge over the same incidents; none if that is where the clock starts.
    pub(crate) acknowledge: Option<Statistics>,
    pub(crate) before: Before,
    /// Timestamps that may be the end of stored incidents, of this time or of another.
    pub(crate) unknown_timestamps: Vec<UnknownTimestamp>,
    pub(crate) asked: Asked<'a>,
}

pub(crate) fn document<'a>(of: &'a Report<'a>) -> ReportView<'a> {
    let Report { report, acknowledge, before: previous, unknown_timestamps, asked } = of;
    let sources: Vec<&str> = report.by_source.iter().map(|slice| slice.label.as_str()).collect();
    let trend = report.trend.iter().map(|bucket| BucketView {
        label: calendar::label(bucket.since, asked.bucket, asked.zone),
        since: instant(bucket.since),
        until: instant(bucket.until),
        incomplete: bucket.until > asked.now,
        statistics: statistics(&bucket.statistics),
        by_source: sources.iter().copied().zip(bucket.by_source.iter().copied()).collect(),
    });
    let excluded = report.excluded.iter().map(|e| ExclusionView { reason: &e.reason, count: e.count });
    ReportView {
        organisation: asked.organisation,
        since: report.trend.first().map(|bucket| instant(bucket.since)),
        until: report.trend.last().map(|bucket| instant(bucket.until)),
        time_zone: asked.zone.to_string(),
        bucket: asked.bucket,
        clock: asked.clock,
        clock_end: asked.clock_end,
        overall: slice(&report.overall),
        acknowledge: acknowledge.as_ref().map(figures),
        before: before(previous, &report.overall.statistics),
        trend: trend.collect(),
        by_priority: report.by_priority.iter().map(slice).collect(),
        by_service: report.by_service.iter().map(slice).collect(),
        by_source: report.by_source.iter().map(slice).collect(),
        cut_over: asked.cut_over.map(instant),
        excluded: excluded.collect(),
        population: report.population,
        open: report.open,
        oldest_open: report.oldest_open.map(instant),
        provisional: report.provisional,
        recalculating: asked.recalculating,
        reopened: report.reopened,
        other_clocks: report
            .other_clocks
            .iter()
            .map(|other| OtherClockView { clock: clock_start(other.start), more: other.more })
            .collect(),
        unknown_timestamps,
    }
}

/// Says why the figures can still change, if they can.
pub(crate) fn provisional(of: &Report<'_>) -> Vec<String> {
    let waiting = counted(of.report.provisional, "timeline is", "timelines are");
    let waiting = (of.report.provisional > 0)
        .then(|| format!("Provisional: {waiting} still to be read, so figures may change."));
    let recalculating = of
        .asked
        .recalculating
        .then(|| "Provisional: incidents are still being recalculated, so figures may change.".to_owned());
    waiting.into_iter().chain(recalculating).collect()
}

/// What another clock would make of the incidents, in sentences.
pub(crate) fn alternatives(of: &Report<'_>) -> Vec<String> {
    let Report { report, asked, .. } = of;
    let mut told = Vec::new();
    if report.reopened > 0 {
        let reopened = counted(report.reopened, "incident", "incidents");
        let other = if asked.clock_end == "resolved" { "first-resolution" } else { "resolved" };
        told.push(format!("Ending the clock at `{other}` would change {reopened}."));
    }
    for other in &report.other_clocks {
        let more = counted(other.more, "more incident", "more incidents");
        told.push(format!("Starting the clock at `{}` would measure {more}.", clock_start(other.start)));
    }
    told
}

/// In the order of [`FIGURES`].
fn cells(of: &Statistics) -> [String; 6] {
    let count = of.count.to_string();
    match &of.durations {
        Some(d) => {
            let [median, mean, p90, max] = [d.median, d.mean, d.p90, d.max].map(duration);
            [count, median, mean, p90, max, tier(d.tier).to_string()]
        }
        None => [count, "-".into(), "-".into(), "-".into(), "-".into(), "-".into()],
    }
}

fn slice_rows<'a>(slices: impl Iterator<Item = &'a Slice>) -> Vec<Vec<String>> {
    let rows = slices.map(|slice| {
        let mut row = vec![printable(&slice.label)];
        row.extend(cells(&slice.statistics));
        row
    });
    rows.collect()
}

/// Services that a person is shown, those with the most incidents.
const BUSIEST: usize = 10;

const FIGURES: [&str; 6] = ["n", "Median", "Mean", "p90", "Longest", "Tier"];

fn figure_table(first: &str, rows: Vec<Vec<String>>) -> Table {
    let headers: Vec<&str> = std::iter::once(first).chain(FIGURES).collect();
    table(&headers, &[1, 2, 3, 4, 5], rows)
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar for each value, the longest of full height; a gap where there is none.
fn bars(values: &[Option<f64>]) -> String {
    let longest = values.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) => {
            let step = if longest > 0.0 { (value / longest * 7.0).round() as usize } else { 0 };
            BARS.get(step).copied().unwrap_or('█')
        }
    };
    values.iter().map(bar).collect()
}

/// Whether there are shares to tell.
fn several(report: &MttrReport) -> bool {
    report.by_source.len() > 1
}

/// The most bars on one line.
const MOST_BARS: usize = 100;

/// A report as CSV: what each row is, of what, and its figures in seconds. Nothing to measure is an empty cell.
pub(crate) fn csv(of: &Report<'_>) -> anyhow::Result<String> {
    let Report { report, acknowledge, asked, .. } = of;
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record([
        "kind",
        "label",
        "since",
        "until",
        "incomplete",
        "count",
        "mean_seconds",
        "median_seconds",
        "p75_seconds",
        "p90_seconds",
        "p95_seconds",
        "min_seconds",
        "max_seconds",
        "tier",
    ])?;
    // A tier is one of times to restore.
    let mut row = |kind: &str, label: &str, span: [String; 3], of: &Statistics, tiered: bool| {
        let view = figures(of);
        let seconds = [
            view.mean_seconds,
            view.median_seconds,
            view.p75_seconds,
            view.p90_seconds,
            view.p95_seconds,
            view.min_seconds,
            view.max_seconds,
        ];
        let mut cells = vec![kind.to_string(), csv_cell(label).into_owned()];
        cells.extend(span);
        cells.push(view.count.to_string());
        cells.extend(seconds.map(|figure| figure.map_or_else(String::new, |seconds| seconds.to_string())));
        let durations = of.durations.as_ref().filter(|_| tiered);
        cells.push(durations.map_or_else(String::new, |d| tier(d.tier).to_string()));
        csv.write_record(cells)
    };
    let nothing = || [String::new(), String::new(), String::new()];
    row("overall", &report.overall.label, nothing(), &report.overall.statistics, true)?;
    if let Some(acknowledge) = acknowledge {
        row("acknowledge", "all", nothing(), acknowledge, false)?;
    }
    for bucket in &report.trend {
        let label = calendar::label(bucket.since, asked.bucket, asked.zone);
        let incomplete = (bucket.until > asked.now).to_string();
        row(
            "bucket",
            &label,
            [instant(bucket.since), instant(bucket.until), incomplete],
            &bucket.statistics,
            true,
        )?;
        // Each source's share of it, where there is more than one.
        for (slice, count) in report.by_source.iter().zip(&bucket.by_source).filter(|_| several(report)) {
            let share = Statistics { count: *count, durations: None };
            let span = [instant(bucket.since), instant(bucket.until), String::new()];
            row("bucket-source", &slice.label, span, &share, false)?;
        }
    }
    let slices =
        [("priority", &report.by_priority), ("service", &report.by_service), ("source", &report.by_source)];
    for (kind, slices) in slices {
        for slice in slices {
            row(kind, &slice.label, nothing(), &slice.statistics, true)?;
        }
    }
    for excluded in &report.excluded {
        row(
            "left-out",
            &excluded.reason,
            nothing(),
            &Statistics { count: excluded.count, durations: None },
            false,
        )?;
    }
    let told = |count| Statistics { count, durations: None };
    if report.provisional > 0 {
        row("provisional", "timelines still to be read", nothing(), &told(report.provisional), false)?;
    }
    if asked.recalculating {
        row(
            "recalculating",
            "incidents still being recalculated",
            nothing(),
            &told(report.population),
            false,
        )?;
    }
    if report.reopened > 0 {
        row("reopened", "changed by the other end of the clock", nothing(), &told(report.reopened), false)?;
    }
    for other in &report.other_clocks {
        row("other-clock", clock_start(other.start), nothing(), &told(other.more), false)?;
    }
    Ok(String::from_utf8(csv.into_inner().map_err(|error| error.into_error())?)?)
}

fn before_text(of: &Before, now: &Statistics) -> String {
    match of {
        Before::Known { first, count, durations } => {
            let change = change(durations.median, now).map(|change| (change * 100.0).round());
            let change = match change {
                None => String::new(),
                Some(0.0) => ", the same now".to_string(),
                Some(percent) if percent > 0.0 => format!(", {percent} % longer now"),
                Some(percent) => format!(", {} % shorter now", -percent),
            };
            format!(
                "  as many days before, from {first}: median {} (n = {count}){change}\n",
                duration(durations.median)
            )
        }
        Before::Nothing => "  nothing was restored in as many days before\n".to_string(),
        Before::NotImported { since } => format!("  {}\n", no_comparison(*since)),
    }
}

/// Why there is nothing to compare with.
pub(crate) fn no_comparison(since: Option<NaiveDate>) -> String {
    match since {
        Some(day) => format!("No comparison: history starts on {day}."),
        None => "No comparison: history does not reach back that far.".to_owned(),
    }
}

/// Says that what is open is not in the figure.
pub(crate) fn excluded_as_open(open: u64) -> String {
    let (incidents, looks) =
        (counted(open, "open incident is", "open incidents are"), "MTTR looks better than it is");
    format!("{incidents} excluded, so {looks}.")
}

/// A report for people: the figure, what it is made of, and what was left out.
pub(crate) fn text(of: &Report<'_>) -> String {
    let Report { report, acknowledge, before: previous, unknown_timestamps, asked } = of;
    let mut text = String::new();
    let overall = &report.overall;
    let (from, to) = (report.trend.first().map(|b| b.since), report.trend.last().map(|b| b.until));
    let day = |at: Option<Timestamp>| {
        at.and_then(|at| calendar::day_of(at, asked.zone)).map_or_else(String::new, |day| day.to_string())
    };
    let (from, to) = (day(from), day(to.map(|at| at.saturating_sub(1))));
    text.push_str(&format!(
        "Time to restore of {}, {from} to {to} ({}), clock from {} to {}\n\n",
        asked.organisation, asked.zone, asked.clock, asked.clock_end
    ));
    let provisional = provisional(of);
    for reason in &provisional {
        text.push_str(&format!("  {reason}\n"));
    }
    if !provisional.is_empty() {
        text.push_str("  `koalr-harness poll` does what is left.\n");
    }
    match &overall.statistics.durations {
        Some(d) => text.push_str(&format!(
            "  median {}  ({}, n = {})      mean (MTTR) {}  ({})\n",
            duration(d.median),
            tier(d.tier),
            overall.statistics.count,
            duration(d.mean),
            tier(d.mean_tier),
        )),
        None => text.push_str("  no incident was restored in this time: there is no figure\n"),
    }
    if let Some(Statistics { count, durations: Some(d) }) = acknowledge {
        text.push_str(&format!(
            "  acknowledged in median {}  mean (MTTA) {}  (known of {count} of them)\n",
            duration(d.median),
            duration(d.mean),
        ));
    }
    text.push_str(&before_text(previous, &overall.statistics));
    let medians: Vec<Option<f64>> =
        report.trend.iter().map(|bucket| bucket.statistics.durations.as_ref().map(|d| d.median)).collect();
    if (2..=MOST_BARS).contains(&medians.len()) && medians.iter().any(Option::is_some) {
        text.push_str(&format!("  median by {}  {}\n", asked.bucket_name(), bars(&medians)));
    }
    text.push('\n');
    let trend = report.trend.iter().map(|bucket| {
        let mut label = calendar::label(bucket.since, asked.bucket, asked.zone);
        if bucket.until > asked.now {
            label.push_str(" (incomplete)");
        }
        let mut row = vec![label];
        row.extend(cells(&bucket.statistics));
        if several(report) {
            row.extend(
                bucket.by_source.iter().map(|count| if *count == 0 { "-".into() } else { count.to_string() }),
            );
        }
        if asked.cut_over.is_some_and(|at| (bucket.since..bucket.until).contains(&at)) {
            row.push("incident.io from here on".into());
        }
        row
    });
    let rows: Vec<Vec<String>> = trend.collect();
    let sources = report.by_source.iter().filter(|_| several(report)).map(|slice| slice.label.as_str());
    let mut headers: Vec<&str> = std::iter::once("Restored in").chain(FIGURES).chain(sources).collect();
    let shares = 7..headers.len();
    if rows.iter().any(|row| row.len() > headers.len()) {
        headers.push("");
    }
    let right: Vec<usize> = (1..=5).chain(shares).collect();
    text.push_str(&format!("{}\n", table(&headers, &right, rows)));
    for (name, slices) in [("Priority", &report.by_priority), ("Source", &report.by_source)] {
        if !slices.is_empty() {
            text.push_str(&format!("\n{}\n", figure_table(name, slice_rows(slices.iter()))));
        }
    }
    if !report.by_service.is_empty() {
        let mut busiest: Vec<&Slice> = report.by_service.iter().collect();
        busiest.sort_by_key(|slice| std::cmp::Reverse(slice.statistics.count));
        let shown = busiest.iter().copied().take(BUSIEST);
        text.push_str(&format!("\n{}\n", figure_table("Service", slice_rows(shown))));
        let more = busiest.len().saturating_sub(BUSIEST);
        if more > 0 {
            let more = counted(more as u64, "more service", "more services");
            text.push_str(&format!("... and {more}; --json lists all of them.\n"));
        }
        text.push_str(
            "An incident with two services counts under each, so these may add up to more than n.\n",
        );
    }
    let reasons: Vec<String> = report.excluded.iter().map(|e| format!("{} {}", e.count, e.reason)).collect();
    let reasons = if reasons.is_empty() { "nothing".into() } else { reasons.join(", ") };
    text.push_str(&format!(
        "\nMeasured {} of {}; left out: {reasons}.\n",
        overall.statistics.count,
        counted(report.population, "incident", "incidents")
    ));
    for told in alternatives(of).into_iter().chain(advice(unknown_timestamps, asked.organisation)) {
        text.push_str(&format!("{told}\n"));
    }
    if let Some(oldest) = report.oldest_open {
        text.push_str(&format!(
            "{} The oldest has been open for {}, since {} UTC.\n",
            excluded_as_open(report.open),
            duration(asked.now.saturating_sub(oldest) as f64 / 1e6),
            short_instant(oldest)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use koalr_host::contract::{ClockStart, OtherClock};

    use super::*;

    #[test]
    fn bars_have_gaps_where_there_is_nothing_and_zero_is_a_bar() {
        assert_eq!(bars(&[Some(0.0), None, Some(35.0), Some(70.0)]), "▁ ▅█");
        assert_eq!(bars(&[Some(0.0), None]), "▁ ");
        assert_eq!(bars(&[]), "");
    }

    fn report(provisional: u64, recalculating: bool) -> Report<'static> {
        let nothing = Statistics { count: 0, durations: None };
        let slice = Slice { label: "all".into(), statistics: nothing };
        let bucket =
            koalr_host::contract::Bucket { since: 0, until: 1, statistics: nothing, by_source: vec![] };
        let other = OtherClock { start: ClockStart::Started, more: 14 };
        let report = MttrReport {
            overall: slice,
            trend: vec![bucket],
            by_priority: vec![],
            by_service: vec![],
            by_source: vec![],
            excluded: vec![],
            population: 0,
            open: 0,
            oldest_open: None,
            provisional,
            reopened: 2,
            other_clocks: vec![other],
        };
        let asked = Asked {
            organisation: "acme",
            zone: Tz::UTC,
            bucket: BucketSize::Day,
            clock: "created",
            clock_end: "resolved",
            now: 2,
            cut_over: None,
            recalculating,
        };
        Report { report, acknowledge: None, before: Before::Nothing, unknown_timestamps: vec![], asked }
    }

    #[test]
    fn every_form_of_a_report_says_that_it_is_provisional_and_how_many_timelines_wait() {
        let (waits, complete) = (report(12, false), report(0, false));
        let forms = |of: &Report<'_>| {
            [text(of), csv(of).unwrap(), serde_json::to_string(&document(of)).unwrap(), crate::chart::svg(of)]
        };
        let told = [
            "Provisional: 12 timelines are still",
            "\nprovisional,timelines still to be read,,,,12,",
            "\"provisional\":12",
            "Provisional: 12 timelines are still",
        ];
        for (form, told) in forms(&waits).iter().zip(told) {
            assert!(form.contains(told), "{form}");
        }
        let [text, csv, json, svg] = forms(&complete);
        assert!(
            !text.contains("Provisional") && !csv.contains("provisional") && !svg.contains("Provisional")
        );
        assert!(json.contains("\"provisional\":0"));
    }

    #[test]
    fn a_report_says_once_which_timestamp_may_be_the_end_and_what_mends_it() {
        let unknown_timestamps = vec![UnknownTimestamp { name: "Customer impact over".into(), incidents: 3 }];
        let told = Report { unknown_timestamps, ..report(0, false) };
        let text = text(&told);
        assert_eq!(text.matches("Customer impact over` lies before it").count(), 1, "{text}");
        assert!(text.contains("3 incidents end with a change of status"), "{text}");
        assert!(text.contains("connect --org acme --timestamp \"resolved=Customer impact over\""), "{text}");
        let json = serde_json::to_string(&document(&told)).unwrap();
        let listed = r#""unknown_timestamps":[{"name":"Customer impact over","incidents":3}]"#;
        assert!(json.contains(listed), "{json}");
        assert!(!super::text(&report(0, false)).contains("change of status"));
    }

    #[test]
    fn every_form_of_a_report_says_that_incidents_are_being_recalculated() {
        let mut of = report(0, true);
        of.report.population = 7;
        let told = "Provisional: incidents are still being recalculated, so figures may change.";
        let text = text(&of);
        assert!(text.contains(&format!("  {told}\n  `koalr-harness poll` does what is left.\n")), "{text}");
        assert!(crate::chart::svg(&of).contains(told));
        let csv = csv(&of).unwrap();
        assert!(csv.contains("\nrecalculating,incidents still being recalculated,,,,7,"), "{csv}");
        assert!(serde_json::to_string(&document(&of)).unwrap().contains("\"recalculating\":true"));

        let both = crate::chart::svg(&report(12, true));
        let lines: Vec<&str> = both.lines().filter(|line| line.contains("Provisional: ")).collect();
        assert_eq!(lines.len(), 2, "each reason has its line: {both}");
        let height = |line: &str| line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert_ne!(height(lines[0]), height(lines[1]));

        of.asked.recalculating = false;
        assert!(
            !self::text(&of).contains("recalculated") && !self::csv(&of).unwrap().contains("recalculating")
        );
        assert!(serde_json::to_string(&document(&of)).unwrap().contains("\"recalculating\":false"));
    }

    #[test]
    fn one_is_told_as_one_and_several_as_several() {
        let told = |count: u64| {
            let mut of = report(0, false);
            (of.report.population, of.report.reopened) = (count, count);
            (of.report.open, of.report.oldest_open) = (count, Some(0));
            text(&of)
        };
        for (count, incident) in [(1, "incident"), (2, "incidents")] {
            let text = told(count);
            let measured = format!("Measured 0 of {count} {incident}; left out: nothing.");
            let reopened = format!("Ending the clock at `first-resolution` would change {count} {incident}.");
            assert!(text.contains(&measured) && text.contains(&reopened), "{text}");
        }
        let open = "1 open incident is excluded, so MTTR looks better than it is. The oldest has been open for 0 s, since \
            1970-01-01 00:00 UTC.";
        assert!(told(1).contains(open), "{}", told(1));
        assert!(told(2).contains("2 open incidents are excluded, so MTTR"), "{}", told(2));
    }

    #[test]
    fn a_report_without_a_comparison_says_when_history_starts() {
        let told = |since: Option<&str>| {
            let since = since.map(|day| day.parse().unwrap());
            text(&Report { before: Before::NotImported { since }, ..report(0, false) })
        };
        assert!(told(Some("2026-08-30")).contains("  No comparison: history starts on 2026-08-30.\n"));
        assert!(told(None).contains("  No comparison: history does not reach back that far.\n"));
    }

    #[test]
    fn a_report_says_what_another_clock_would_change() {
        let text = text(&report(0, false));
        assert!(text.contains("Ending the clock at `first-resolution` would change 2 incidents."), "{text}");
        assert!(text.contains("Starting the clock at `started` would measure 14 more incidents."), "{text}");
        let csv = csv(&report(0, false)).unwrap();
        assert!(csv.contains("\nother-clock,started,,,,14,") && csv.contains("\nreopened,"), "{csv}");
    }
}
