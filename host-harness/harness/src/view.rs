//! What the verbs print: JSON documents of stable shape, and tables for people.
//!
//! Times are RFC 3339 in UTC, durations are seconds, and what is unknown is `null`, never zero and never left
//! out. The shapes are documented in docs/json.md. Text from the provider loses its control characters before
//! it reaches a terminal.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use chrono_tz::Tz;
use comfy_table::presets;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{
    DerivedTime, Durations, Incident, IncidentKey, Mode, MttrReport, Phase, Priority, Severity, Slice,
    Statistics, Tier, TimelineEvent, Timestamp,
};
use serde::Serialize;

/// RFC 3339 in UTC, with as many digits as the instant has.
pub(crate) fn instant(at: Timestamp) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(at);
    time.map_or_else(|| "out of range".into(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// For a table: to the minute.
pub(crate) fn short_instant(at: Timestamp) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(at);
    time.map_or_else(|| "out of range".into(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

/// What [`instant`] gives, for a table.
pub(crate) fn to_the_minute(instant: &str) -> String {
    instant.get(..16).unwrap_or(instant).replace('T', " ")
}

/// As a person says it: the two largest units.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 0.0 {
        return format!("-{}", duration(-seconds));
    }
    if seconds < 59.95 {
        let text = format!("{seconds:.1}");
        return format!("{} s", text.strip_suffix(".0").unwrap_or(&text));
    }
    // Rounded once, so that no part reads 60.
    let minutes = (seconds / 60.0).round() as u64;
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes:02} min"),
        (days, hours, _) => format!("{days} d {hours:02} h"),
    }
}

/// Without what could move a terminal's cursor or forge a line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(crate) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::P1 => "P1",
        Priority::P2 => "P2",
        Priority::P3 => "P3",
        Priority::P4 => "P4",
    }
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Triage => "triage",
        Phase::Active => "active",
        Phase::Paused => "paused",
        Phase::Resolved => "resolved",
        Phase::Closed => "closed",
        Phase::Declined => "declined",
        Phase::Canceled => "canceled",
        Phase::Merged => "merged",
        Phase::Unknown => "unknown",
    }
}

pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Standard => "standard",
        Mode::Retrospective => "retrospective",
        Mode::Test => "test",
        Mode::Tutorial => "tutorial",
        Mode::Unknown => "unknown",
    }
}

pub(crate) fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Elite => "Elite",
        Tier::High => "High",
        Tier::Medium => "Medium",
        Tier::Low => "Low",
    }
}

/// Seconds to restore, as time to restore counts them by default: from creation, for a retrospective incident from
/// its start. None if it is not resolved, or resolved before that.
pub(crate) fn restored_seconds(incident: &Incident) -> Option<f64> {
    let start = match (incident.mode, &incident.started_at) {
        (Mode::Retrospective, Some(started)) => started.at,
        _ => incident.created_at,
    };
    let restored = incident.resolved_at.as_ref()?.at.saturating_sub(start);
    (restored >= 0).then_some(restored as f64 / 1e6)
}

#[derive(Debug, Serialize)]
struct KeyView<'a> {
    source: &'a str,
    id: &'a str,
}

fn key(key: &IncidentKey) -> KeyView<'_> {
    KeyView { source: &key.source, id: &key.id }
}

#[derive(Debug, Serialize)]
struct DerivedView<'a> {
    at: String,
    rule: &'a str,
}

fn derived(time: &Option<DerivedTime>) -> Option<DerivedView<'_>> {
    time.as_ref().map(|time| DerivedView { at: instant(time.at), rule: &time.rule })
}

#[derive(Debug, Serialize)]
struct SeverityView<'a> {
    id: Option<&'a str>,
    name: &'a str,
    rank: Option<i32>,
}

fn severity(severity: &Severity) -> SeverityView<'_> {
    SeverityView { id: severity.id.as_deref(), name: &severity.name, rank: severity.rank }
}

#[derive(Debug, Serialize)]
struct ResponderView<'a> {
    id: Option<&'a str>,
    email: Option<&'a str>,
    name: Option<&'a str>,
    role: Option<&'a str>,
    user_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct ServiceView<'a> {
    name: &'a str,
    external_id: Option<&'a str>,
    service_id: Option<&'a str>,
}

/// An incident as a JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct IncidentView<'a> {
    #[serde(flatten)]
    key: KeyView<'a>,
    reference: Option<&'a str>,
    title: &'a str,
    permalink: Option<&'a str>,
    severity: Option<SeverityView<'a>>,
    priority: Option<&'static str>,
    priority_rule: &'a str,
    status: &'a str,
    phase: &'static str,
    mode: &'static str,
    private: bool,
    created_at: String,
    started_at: Option<DerivedView<'a>>,
    acknowledged_at: Option<DerivedView<'a>>,
    resolved_at: Option<DerivedView<'a>>,
    duration_seconds: Option<f64>,
    merged_into: Option<KeyView<'a>>,
    responders: Vec<ResponderView<'a>>,
    services: Vec<ServiceView<'a>>,
    updated_at: String,
}

pub(crate) fn incident(record: &Incident) -> IncidentView<'_> {
    let responders = record.responders.iter().map(|person| ResponderView {
        id: person.id.as_deref(),
        email: person.email.as_deref(),
        name: person.name.as_deref(),
        role: person.role.as_deref(),
        user_id: person.user_id.as_deref(),
    });
    let services = record.services.iter().map(|service| ServiceView {
        name: &service.name,
        external_id: service.external_id.as_deref(),
        service_id: service.service_id.as_deref(),
    });
    IncidentView {
        key: key(&record.key),
        reference: record.reference.as_deref(),
        title: &record.title,
        permalink: record.permalink.as_deref(),
        severity: record.severity.as_ref().map(severity),
        priority: record.priority.map(priority),
        priority_rule: &record.priority_rule,
        status: &record.status,
        phase: phase(record.phase),
        mode: mode(record.mode),
        private: record.private,
        created_at: instant(record.created_at),
        started_at: derived(&record.started_at),
        acknowledged_at: derived(&record.acknowledged_at),
        resolved_at: derived(&record.resolved_at),
        duration_seconds: restored_seconds(record),
        merged_into: record.merged_into.as_ref().map(key),
        responders: responders.collect(),
        services: services.collect(),
        updated_at: instant(record.updated_at),
    }
}

/// An entry of a timeline as a JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct EventView<'a> {
    id: &'a str,
    at: String,
    kind: &'a str,
    title: &'a str,
    detail: Option<&'a str>,
    actor: Option<&'a str>,
}

pub(crate) fn event(event: &TimelineEvent) -> EventView<'_> {
    EventView {
        id: &event.id,
        at: instant(event.at),
        kind: &event.kind,
        title: &event.title,
        detail: event.detail.as_deref(),
        actor: event.actor.as_deref(),
    }
}

#[derive(Debug, Serialize)]
struct StatisticsView {
    count: u64,
    mean_seconds: Option<f64>,
    median_seconds: Option<f64>,
    p75_seconds: Option<f64>,
    p90_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    min_seconds: Option<f64>,
    max_seconds: Option<f64>,
    tier: Option<&'static str>,
}

fn statistics(of: &Statistics) -> StatisticsView {
    let figure = |pick: fn(&Durations) -> f64| of.durations.as_ref().map(pick);
    StatisticsView {
        count: of.count,
        mean_seconds: figure(|d| d.mean),
        median_seconds: figure(|d| d.median),
        p75_seconds: figure(|d| d.p75),
        p90_seconds: figure(|d| d.p90),
        p95_seconds: figure(|d| d.p95),
        min_seconds: figure(|d| d.min),
        max_seconds: figure(|d| d.max),
        tier: of.durations.as_ref().map(|d| tier(d.tier)),
    }
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
    by_source: std::collections::BTreeMap<&'a str, u64>,
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
    overall: SliceView<'a>,
    /// As many days before; null if nothing was restored then, or the import does not reach back so far.
    before: Option<BeforeView>,
    trend: Vec<BucketView<'a>>,
    by_priority: Vec<SliceView<'a>>,
    by_service: Vec<SliceView<'a>>,
    by_source: Vec<SliceView<'a>>,
    excluded: Vec<ExclusionView<'a>>,
    population: u64,
    open: u64,
    oldest_open: Option<String>,
}

/// What a report was asked with, for its reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) organisation: &'a str,
    pub(crate) zone: Tz,
    pub(crate) bucket: BucketSize,
    pub(crate) clock: &'static str,
    pub(crate) now: Timestamp,
}

impl Asked<'_> {
    fn bucket_name(&self) -> &'static str {
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
    /// The import does not reach back so far.
    NotImported,
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

pub(crate) fn report<'a>(report: &'a MttrReport, previous: &Before, asked: Asked<'a>) -> ReportView<'a> {
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
        overall: slice(&report.overall),
        before: before(previous, &report.overall.statistics),
        trend: trend.collect(),
        by_priority: report.by_priority.iter().map(slice).collect(),
        by_service: report.by_service.iter().map(slice).collect(),
        by_source: report.by_source.iter().map(slice).collect(),
        excluded: excluded.collect(),
        population: report.population,
        open: report.open,
        oldest_open: report.oldest_open.map(instant),
    }
}

/// One line under the headers: rows are read, not boxed.
const STYLE: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// A table in the house style; the columns named in `right` hold numbers.
pub(crate) fn table(headers: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(headers.to_vec());
    table.add_rows(rows);
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

pub(crate) fn incident_table(incidents: &[Incident]) -> Table {
    let rows = incidents.iter().map(|incident| {
        let services: Vec<String> =
            incident.services.iter().map(|service| printable(&service.name)).collect();
        vec![
            printable(incident.reference.as_deref().unwrap_or(&incident.key.id)),
            incident.priority.map_or("-", priority).to_string(),
            phase(incident.phase).to_string(),
            short_instant(incident.created_at),
            restored_seconds(incident).map_or_else(|| "-".into(), duration),
            printable(&incident.title),
            services.join(", "),
        ]
    });
    table(
        &["Incident", "Prio", "Phase", "Created (UTC)", "Restored in", "Title", "Services"],
        &[4],
        rows.collect(),
    )
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

/// The most bars on one line.
const MOST_BARS: usize = 100;

/// A report as CSV: what each row is, of what, and its figures in seconds. Nothing to measure is an empty cell.
pub(crate) fn report_csv(report: &MttrReport, asked: Asked<'_>) -> anyhow::Result<String> {
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
    let mut row = |kind: &str, label: &str, span: [String; 3], of: &Statistics| {
        let view = statistics(of);
        let figures = [
            view.mean_seconds,
            view.median_seconds,
            view.p75_seconds,
            view.p90_seconds,
            view.p95_seconds,
            view.min_seconds,
            view.max_seconds,
        ];
        let mut cells = vec![kind.to_string(), label.to_string()];
        cells.extend(span);
        cells.push(view.count.to_string());
        cells.extend(figures.map(|figure| figure.map_or_else(String::new, |seconds| seconds.to_string())));
        cells.push(view.tier.unwrap_or_default().to_string());
        csv.write_record(cells)
    };
    let nothing = || [String::new(), String::new(), String::new()];
    row("overall", &report.overall.label, nothing(), &report.overall.statistics)?;
    for bucket in &report.trend {
        let label = calendar::label(bucket.since, asked.bucket, asked.zone);
        let incomplete = (bucket.until > asked.now).to_string();
        row(
            "bucket",
            &label,
            [instant(bucket.since), instant(bucket.until), incomplete],
            &bucket.statistics,
        )?;
    }
    let slices =
        [("priority", &report.by_priority), ("service", &report.by_service), ("source", &report.by_source)];
    for (kind, slices) in slices {
        for slice in slices {
            row(kind, &slice.label, nothing(), &slice.statistics)?;
        }
    }
    for excluded in &report.excluded {
        row("left-out", &excluded.reason, nothing(), &Statistics { count: excluded.count, durations: None })?;
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
        Before::NotImported => {
            "  no comparison with as many days before: the import does not reach back so far\n".to_string()
        }
    }
}

/// A report for people: the figure, what it is made of, and what was left out.
pub(crate) fn report_text(report: &MttrReport, previous: &Before, asked: Asked<'_>) -> String {
    let mut text = String::new();
    let overall = &report.overall;
    let (from, to) = (report.trend.first().map(|b| b.since), report.trend.last().map(|b| b.until));
    let day = |at: Option<Timestamp>| {
        at.and_then(|at| calendar::day_of(at, asked.zone)).map_or_else(String::new, |day| day.to_string())
    };
    let (from, to) = (day(from), day(to.map(|at| at.saturating_sub(1))));
    text.push_str(&format!(
        "Time to restore of {}, {from} to {to} ({}), clock from {} to resolved\n\n",
        asked.organisation, asked.zone, asked.clock
    ));
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
        row
    });
    text.push_str(&format!("{}\n", figure_table("Restored in", trend.collect())));
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
            text.push_str(&format!("... and {more} more services; --json lists all of them.\n"));
        }
        text.push_str(
            "An incident with two services counts under each, so these may add up to more than n.\n",
        );
    }
    let reasons: Vec<String> = report.excluded.iter().map(|e| format!("{} {}", e.count, e.reason)).collect();
    let reasons = if reasons.is_empty() { "nothing".into() } else { reasons.join(", ") };
    text.push_str(&format!(
        "\nOf {} incidents {} were measured; left out: {reasons}.\n",
        report.population, overall.statistics.count
    ));
    if let Some(oldest) = report.oldest_open {
        text.push_str(&format!(
            "{} are open, the oldest since {} UTC.\n",
            report.open,
            short_instant(oldest)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_gaps_where_there_is_nothing_and_zero_is_a_bar() {
        assert_eq!(bars(&[Some(0.0), None, Some(35.0), Some(70.0)]), "▁ ▅█");
        assert_eq!(bars(&[Some(0.0), None]), "▁ ");
        assert_eq!(bars(&[]), "");
    }

    #[test]
    fn a_duration_reads_as_a_person_says_it() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (12.34, "12.3 s"),
            (59.97, "1 min"),
            (3_599.0, "1 h 00 min"),
            (5_100.0, "1 h 25 min"),
            (86_400.0, "1 d 00 h"),
            (90_061.0, "1 d 01 h"),
            (-90.0, "-2 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn an_instant_keeps_its_digits() {
        assert_eq!(instant(0), "1970-01-01T00:00:00Z");
        assert_eq!(instant(1_500_000), "1970-01-01T00:00:01.500Z");
        assert_eq!(instant(1), "1970-01-01T00:00:00.000001Z");
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
