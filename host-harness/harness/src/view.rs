//! What the verbs print: JSON documents of stable shape, and tables for people.
//!
//! Times are RFC 3339 in UTC, durations are seconds, and what is unknown is `null`, never zero and never left
//! out. The shapes are documented in docs/json.md. Text from the provider loses its control characters before
//! it reaches a terminal.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::presets;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use koalr_host::contract::{
    ClockEnd, ClockStart, DerivedTime, Incident, IncidentKey, Interval, Mode, Phase, Priority, Reopening,
    Severity, Tier, TimelineEvent, Timestamp,
};
use koalr_host::port::PLAUSIBLE;
use serde::Serialize;

pub(crate) mod migration;
pub(crate) mod preview;
pub(crate) mod report;
pub(crate) mod timestamps;

/// So many of them, in words.
pub(crate) fn counted(count: u64, one: &str, more: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {more}") }
}

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

/// Where tiers end, in seconds: below the first is Elite, below the second High, up to the third Medium, above it Low.
pub(crate) const TIER_ENDS: [f64; 3] = [3_600.0, 86_400.0, 604_800.0];

fn tier_of(seconds: f64) -> usize {
    let [elite, high, medium] = TIER_ENDS;
    usize::from(seconds >= elite) + usize::from(seconds >= high) + usize::from(seconds > medium)
}

/// As a person says it: the two largest units, and more where these would tell of another tier.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 0.0 {
        return format!("-{}", duration(-seconds));
    }
    if seconds < 59.95 {
        let text = format!("{seconds:.1}");
        return format!("{} s", text.strip_suffix(".0").unwrap_or(&text));
    }
    let says_the_tier = |shown: f64| tier_of(shown) == tier_of(seconds);
    // Rounded once, so that no part reads 60.
    let minutes = (seconds / 60.0).round() as u64;
    let (days, hours) = (minutes / 1_440, minutes / 60 % 24);
    let whole_hours = (minutes / 60).saturating_mul(3_600) as f64;
    let to_the_minute = minutes.saturating_mul(60) as f64;
    if days > 0 && says_the_tier(whole_hours) {
        return format!("{days} d {hours:02} h");
    }
    if says_the_tier(to_the_minute) {
        return minutes_of(minutes);
    }
    // Digits without an end are the number itself.
    let digits = [0, 1, 3, 6].map(|digits| format!("{seconds:.digits$}"));
    let exact = format!("{seconds}");
    let text = digits.iter().find(|text| text.parse().is_ok_and(says_the_tier)).unwrap_or(&exact);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{} {:02}{point}{fraction} s", minutes_of(whole / 60), whole % 60)
}

/// So many minutes, to the minute.
fn minutes_of(minutes: u64) -> String {
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes:02} min"),
        (days, hours, minutes) => format!("{days} d {hours:02} h {minutes:02} min"),
    }
}

/// A cell of a CSV as a spreadsheet shows it. One that it would take for a formula begins with an apostrophe.
pub(crate) fn csv_cell(text: &str) -> Cow<'_, str> {
    // Some also read full-width signs, and pass over what is not seen before them.
    const SIGNS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let seen = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    if text.starts_with(['\t', '\r', '\n']) || seen.starts_with(SIGNS) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
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

pub(crate) fn clock_start(start: ClockStart) -> &'static str {
    match start {
        ClockStart::Created => "created",
        ClockStart::Started => "started",
        ClockStart::Acknowledged => "acknowledged",
    }
}

pub(crate) fn clock_end(end: ClockEnd) -> &'static str {
    match end {
        ClockEnd::Resolved => "resolved",
        ClockEnd::FirstResolution => "first-resolution",
        ClockEnd::Acknowledged => "acknowledged",
    }
}

/// When it was created, as a time with a rule.
pub(crate) fn created(incident: &Incident) -> Option<DerivedTime> {
    incident.created_at.map(|at| DerivedTime { at, rule: "created-at".into() })
}

/// Where this clock starts for it. Of what was written down afterwards, creation is the moment of data entry.
pub(crate) fn started_by(incident: &Incident, clock: ClockStart) -> Option<DerivedTime> {
    let created = created(incident).filter(|_| incident.mode != Mode::Retrospective);
    match clock {
        ClockStart::Acknowledged => incident.acknowledged_at.clone(),
        ClockStart::Created if incident.mode != Mode::Retrospective => created,
        ClockStart::Created | ClockStart::Started => incident.started_at.clone().or(created),
    }
}

/// From where to where the default clock ran; none if it does not run, runs backwards, or is out of range.
fn restored(incident: &Incident, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let start = started_by(incident, ClockStart::Created)?.at;
    let end = incident.resolved_at.as_ref()?.at;
    (PLAUSIBLE <= start && start <= end && end <= now).then_some((start, end))
}

/// Seconds to restore, by the default clock.
pub(crate) fn restored_seconds(incident: &Incident, now: Timestamp) -> Option<f64> {
    restored(incident, now).map(|(start, end)| end.saturating_sub(start) as f64 / 1e6)
}

/// How many seconds of [`restored_seconds`] nobody worked on it.
pub(crate) fn paused_seconds(incident: &Incident, now: Timestamp) -> Option<f64> {
    restored(incident, now).map(|(start, end)| paused_between(incident, start, end))
}

/// How many seconds between these instants nobody worked on it.
pub(crate) fn paused_between(incident: &Incident, start: Timestamp, end: Timestamp) -> f64 {
    let within = |pause: &Interval| {
        let (since, until) = (pause.since.max(start), pause.until.unwrap_or(end).min(end));
        until.saturating_sub(since).max(0) as f64 / 1e6
    };
    incident.pauses.iter().map(within).sum()
}

/// [`restored_seconds`] as a person says it, with what of it nobody worked on it.
pub(crate) fn restored_text(incident: &Incident, now: Timestamp) -> Option<String> {
    let (start, end) = restored(incident, now)?;
    Some(duration_with_pauses(incident, start, end))
}

/// The time between these instants as a person says it, with what of it nobody worked on it.
pub(crate) fn duration_with_pauses(incident: &Incident, start: Timestamp, end: Timestamp) -> String {
    let whole = duration(end.saturating_sub(start) as f64 / 1e6);
    let paused = paused_between(incident, start, end);
    if paused > 0.0 { format!("{whole}, of which {} paused", duration(paused)) } else { whole }
}

/// When it was reopened and paused, in sentences.
pub(crate) fn course(incident: &Incident) -> Vec<String> {
    let reopened = incident.reopenings.iter().map(|Reopening { at, passed_over }| {
        let at = short_instant(*at);
        match passed_over {
            Some(DerivedTime { at: over, rule }) => {
                let over = short_instant(*over);
                format!("It was reopened on {at} UTC; its end on {over} UTC ({rule}) was passed over.")
            }
            None => format!("It was reopened on {at} UTC; nothing tells when it had ended before."),
        }
    });
    let paused = incident.pauses.iter().map(|pause| {
        let since = short_instant(pause.since);
        match pause.until {
            Some(until) => format!("It was paused from {since} to {} UTC.", short_instant(until)),
            None => format!("It has been paused since {since} UTC."),
        }
    });
    reopened.chain(paused).collect()
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
pub(crate) struct DerivedView<'a> {
    at: String,
    rule: &'a str,
}

pub(crate) fn derived(time: &Option<DerivedTime>) -> Option<DerivedView<'_>> {
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

/// An incident that was over became open again.
#[derive(Debug, Serialize)]
pub(crate) struct ReopeningView<'a> {
    at: String,
    passed_over: Option<DerivedView<'a>>,
}

pub(crate) fn reopening(of: &Reopening) -> ReopeningView<'_> {
    ReopeningView { at: instant(of.at), passed_over: derived(&of.passed_over) }
}

/// A stretch of time.
#[derive(Debug, Serialize)]
pub(crate) struct IntervalView {
    since: String,
    until: Option<String>,
}

pub(crate) fn interval(of: &Interval) -> IntervalView {
    IntervalView { since: instant(of.since), until: of.until.map(instant) }
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
    not_visible: bool,
    created_at: Option<String>,
    started_at: Option<DerivedView<'a>>,
    acknowledged_at: Option<DerivedView<'a>>,
    resolved_at: Option<DerivedView<'a>>,
    first_resolved_at: Option<DerivedView<'a>>,
    duration_seconds: Option<f64>,
    paused_seconds: Option<f64>,
    reopenings: Vec<ReopeningView<'a>>,
    pauses: Vec<IntervalView>,
    merged_into: Option<KeyView<'a>>,
    responders: Vec<ResponderView<'a>>,
    services: Vec<ServiceView<'a>>,
    references: &'a [String],
    updated_at: String,
}

pub(crate) fn incident(record: &Incident, now: Timestamp) -> IncidentView<'_> {
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
        not_visible: record.not_visible,
        created_at: record.created_at.map(instant),
        started_at: derived(&record.started_at),
        acknowledged_at: derived(&record.acknowledged_at),
        resolved_at: derived(&record.resolved_at),
        first_resolved_at: derived(&record.first_resolved_at),
        duration_seconds: restored_seconds(record, now),
        paused_seconds: paused_seconds(record, now),
        reopenings: record.reopenings.iter().map(reopening).collect(),
        pauses: record.pauses.iter().map(interval).collect(),
        merged_into: record.merged_into.as_ref().map(key),
        responders: responders.collect(),
        services: services.collect(),
        references: &record.references,
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

pub(crate) fn incident_table(incidents: &[Incident], now: Timestamp) -> Table {
    let rows = incidents.iter().map(|incident| {
        let services: Vec<String> =
            incident.services.iter().map(|service| printable(&service.name)).collect();
        vec![
            printable(incident.reference.as_deref().unwrap_or(&incident.key.id)),
            incident.priority.map_or("-", priority).to_string(),
            phase(incident.phase).to_string(),
            incident.created_at.map_or_else(|| "-".into(), short_instant),
            restored_seconds(incident, now).map_or_else(|| "-".into(), duration),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readers_of_files_and_the_host_have_the_same_bounds_and_marks() {
        assert_eq!(koalr_files::instant::EARLIEST * 1_000_000, PLAUSIBLE);
        assert_eq!(koalr_files::opsgenie::files::WITHOUT_ID, koalr_host::migration::overlap::WITHOUT_ID);
    }

    #[test]
    fn a_duration_reads_as_a_person_says_it() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (12.34, "12.3 s"),
            (59.97, "1 min"),
            (5_100.0, "1 h 25 min"),
            (86_400.0, "1 d 00 h"),
            (90_061.0, "1 d 01 h"),
            (-90.0, "-2 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn a_duration_never_tells_of_another_tier() {
        for (seconds, text) in [
            (3_569.0, "59 min"),
            (3_590.0, "59 min 50 s"),
            (3_599.6, "59 min 59.6 s"),
            (3_599.999_999, "59 min 59.999999 s"),
            (3_600.0, "1 h 00 min"),
            (86_370.0, "23 h 59 min 30 s"),
            (86_399.0, "23 h 59 min 59 s"),
            (86_400.0, "1 d 00 h"),
            (604_799.0, "7 d 00 h"),
            (604_800.0, "7 d 00 h"),
            (604_800.25, "7 d 00 h 00 min 00.2 s"),
            (604_800.000_001, "7 d 00 h 00 min 00.000001 s"),
            (604_829.0, "7 d 00 h 00 min 29 s"),
            (606_000.0, "7 d 00 h 20 min"),
            (608_400.0, "7 d 01 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        // As far as the text goes, it is a number of seconds of that tier.
        let read = |text: &str| -> f64 {
            let words: Vec<&str> = text.split(' ').collect();
            let unit = |unit: &str| match unit {
                "d" => 86_400.0,
                "h" => 3_600.0,
                "min" => 60.0,
                _ => 1.0,
            };
            words.chunks(2).map(|pair| pair[0].parse::<f64>().unwrap() * unit(pair[1])).sum()
        };
        for end in TIER_ENDS {
            for step in 0..4_000 {
                for part in [0.0, 0.000_000_1, 0.04, 0.4, 0.499_999_9, 0.999_999_9] {
                    let seconds = end + f64::from(step - 2_000) + part;
                    let text = duration(seconds);
                    assert_eq!(tier_of(read(&text)), tier_of(seconds), "{seconds}: {text}");
                }
            }
        }
    }

    #[test]
    fn no_cell_is_a_formula_for_a_spreadsheet() {
        for formula in [
            "=HYPERLINK(\"http://evil.example\")",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\nx",
            " =1",
            "\u{feff}=1",
            "＝1",
            "＋1",
            "－1",
            "＠1",
        ] {
            assert_eq!(csv_cell(formula), format!("'{formula}"));
        }
        for plain in ["Checkout = down", "", "2026-11-24", "a\n=1"] {
            assert_eq!(csv_cell(plain), plain);
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
