//! DORA → MTTR: the figure with its tier and its change, the trend, how restore times spread, what each priority and
//! service contributes, what was left out and why, and what is still open. The component computes all of it.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use chrono::{Days, NaiveDate};
use koalr_host::HostError;
use koalr_host::calendar::{self, BucketSize};
use koalr_host::contract::{Bucket, ClockEnd, ClockStart, Phase, Slice, Statistics, Tier, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::port::{IncidentFilter, IncidentOrder};
use maud::{Markup, html};

use super::page::{Section, Trouble, address, ago, encoded, heading, live_slowly, select, svg, when};
use super::{Answer, Console, incidents, named};
use crate::chart;
use crate::cli::{ClockArg, ClockEndArg};
use crate::filters::FilterError;
use crate::verbs::mttr::{Question, ask};
use crate::view;
use crate::view::report::{self, Before, Report};
use crate::view::timestamps;

/// Services that are shown, those with the most incidents.
const SERVICES: usize = 15;
/// Open incidents that are shown, the oldest.
const OLDEST: u32 = 10;

fn get<'a>(query: &'a [(String, String)], name: &str) -> &'a str {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

/// What an address asks.
pub(super) fn question(query: &[(String, String)], now: Timestamp) -> Answer<Question> {
    let zone: chrono_tz::Tz = match get(query, "zone") {
        "" => chrono_tz::UTC,
        name => name.parse().map_err(|_| {
            Trouble::invalid(
                format!("`{name}` is no time zone."),
                "Zones are named like Europe/Berlin, or UTC.",
            )
        })?,
    };
    let day = |name: &str| -> Answer<Option<NaiveDate>> {
        match get(query, name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Trouble::invalid(format!("`{text}` is no date."), "Dates are written like 2026-11-24.")
            }),
        }
    };
    let range = || Trouble::invalid("The period is out of range.", "Choose another one.");
    let (since, until) = match get(query, "days") {
        "custom" => (
            day("since")?,
            day("until")?.map(|day| day.checked_add_days(Days::new(1)).ok_or_else(range)).transpose()?,
        ),
        text => {
            let days: u64 = if text.is_empty() { 90 } else { text.parse().map_err(|_| range())? };
            let today = calendar::day_of(now, zone).ok_or_else(range)?;
            let until = today.checked_add_days(Days::new(1)).ok_or_else(range)?;
            (Some(until.checked_sub_days(Days::new(days)).ok_or_else(range)?), Some(until))
        }
    };
    Ok(Question {
        since,
        until,
        zone,
        bucket: match get(query, "bucket") {
            "day" => BucketSize::Day,
            "month" => BucketSize::Month,
            _ => BucketSize::Week,
        },
        clock: match incidents::clock(get(query, "clock")) {
            ClockStart::Started => ClockArg::Started,
            ClockStart::Acknowledged => ClockArg::Acknowledged,
            ClockStart::Created => ClockArg::Created,
        },
        clock_end: match incidents::clock_end(get(query, "clock-end")) {
            ClockEnd::FirstResolution => ClockEndArg::FirstResolution,
            _ => ClockEndArg::Resolved,
        },
        priorities: match get(query, "priority") {
            "" => vec![],
            text => text.split(',').map(incidents::read_priority).collect::<Answer<_>>()?,
        },
        services: Some(get(query, "service"))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .into_iter()
            .collect(),
        sources: vec![],
        include_private: true,
    })
}

pub(super) async fn page(
    State(console): State<Console>,
    Path(org): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let org = match named(&org) {
        Ok(org) => org,
        Err(trouble) => return trouble.into_response(),
    };
    let body = shown(&console, &org, &query).await;
    console.show(&org, Section::Mttr, "DORA MTTR", body).await
}

async fn shown(console: &Console, org: &OrgId, query: &[(String, String)]) -> Answer {
    let now = console.host.clock().now();
    let trouble = |error: anyhow::Error| match error.downcast::<HostError>() {
        Ok(error) => Trouble::from(error),
        Err(error) => match error.downcast::<FilterError>() {
            Ok(error) => Trouble::from(error),
            Err(error) => Trouble::invalid(format!("{error:#}."), "Choose another period."),
        },
    };
    let question = question(query, now)?.resolved(&console.host, org).await.map_err(trouble)?;
    let report = ask(&console.host, org, &question).await.map_err(trouble)?;
    let open = IncidentFilter {
        phases: vec![Phase::Active, Phase::Paused],
        modes: incidents::REAL.to_vec(),
        duplicate: Some(false),
        not_visible: Some(false),
        priorities: question.priorities.clone(),
        service: Some(get(query, "service").to_owned()).filter(|name| !name.is_empty()),
        order: IncidentOrder::Created,
        ascending: true,
        limit: Some(OLDEST),
        ..IncidentFilter::default()
    };
    let open = console.host.store().incidents(org, &open).await?;
    Ok(html! {
        (heading("DORA MTTR", html! {}))
        (choices(query))
        (live_slowly("report", html! {
            @for provisional in report::provisional(&report) { p.alert role="status" { (provisional) } }
            (figure(&report))
            section.card { h2 { "Trend" } (svg("Trend", chart::svg(&report))) (numbers(&report)) }
            div.columns {
                div.stack {
                    section.card {
                        h2 { "How restore times spread" }
                        @match &report.report.overall.statistics.durations {
                            Some(durations) => {
                                (svg("Spread", chart::spread(durations)))
                                (percentiles(&report.report.overall.statistics))
                                (bands())
                            }
                            None => p.quiet { "Nothing was restored in this time." },
                        }
                    }
                    section.card { h2 { "Left out, and why" } (left_out(org, &report, query)) }
                    section.card {
                        h2 { "By priority" }
                        (slices("Priority", report.report.by_priority.iter(), |_| None))
                        @if report.report.by_source.len() > 1 {
                            h2 { "By source" }
                            (slices("Source", report.report.by_source.iter(), |_| None))
                        }
                    }
                }
                section.card { h2 { "By service" } (services(org, &report)) }
            }
            section.card {
                h2 { "Open incidents, the oldest first" }
                @if open.total == 0 { p.quiet { "None is open that this question is about." } }
                @else {
                    p { (report::excluded_as_open(open.total)) }
                    table.rows.small {
                        thead { tr { th scope="col" { "Incident" } th.wide-only scope="col" { "Created" } th.number scope="col" { "Open for" } } }
                        tbody { @for incident in &open.incidents { tr {
                            th scope="row" { a href=(incidents::place(org, incident)) {
                                span.reference { (incident.reference.as_deref().unwrap_or(&incident.key.id)) } " " span.title { (incident.title) }
                            } }
                            @match incident.created_at {
                                Some(at) => {
                                    td.wide-only { (when(at)) " " span.quiet { (ago(at, now)) } }
                                    td.number { (view::duration((now.saturating_sub(at) as f64 / 1e6).floor())) }
                                }
                                None => { td.wide-only { span.quiet { "unknown" } } td.number { "–" } }
                            }
                        } } }
                    }
                }
            }
        }))
    })
}

fn choices(query: &[(String, String)]) -> Markup {
    let days = match get(query, "days") {
        "" => "90",
        days => days,
    };
    let or = |name: &str, default: &'static str| match get(query, name) {
        "" => default.to_owned(),
        value => value.to_owned(),
    };
    html! {
        form.filters method="get" data-brief {
            (select("days", "Period", days, [
                ("7", "Last 7 days"), ("14", "Last 14 days"), ("30", "Last 30 days"), ("90", "Last 90 days"), ("365", "Last 365 days"), ("custom", "From … to …"),
            ]))
            @if days == "custom" {
                label { span { "From" } input type="date" name="since" value=(get(query, "since")); }
                label { span { "to" } input type="date" name="until" value=(get(query, "until")); }
            }
            (select("bucket", "Bucket", &or("bucket", "week"), [("day", "Day"), ("week", "Week"), ("month", "Month")]))
            (select("clock", "Clock starts at", &or("clock", "created"), [
                ("created", "Creation"), ("started", "Start of impact"), ("acknowledged", "Acknowledgement"),
            ]))
            (select("clock-end", "Clock ends at", &or("clock-end", "resolved"), [
                ("resolved", "Last resolution"), ("first-resolution", "First resolution"),
            ]))
            (select("priority", "Priority", get(query, "priority"), [
                ("", "Any"), ("p1", "P1"), ("p2", "P2"), ("p1,p2", "P1 and P2"), ("p3", "P3"), ("p4", "P4"),
            ]))
            label { span { "Service" } input name="service" value=(get(query, "service")) placeholder="Any"; }
            label { span { "Time zone" } input name="zone" list="zones" value=(or("zone", "UTC")); }
            datalist #zones { @for zone in ["UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Kolkata", "Asia/Tokyo", "Australia/Sydney"] { option value=(zone) {} } }
            button { "Show" }
        }
    }
}

/// What a tier stands for.
fn bounds(tier: Tier) -> &'static str {
    match tier {
        Tier::Elite => "less than one hour",
        Tier::High => "less than one day",
        Tier::Medium => "up to one week",
        Tier::Low => "more than one week",
    }
}

fn tier(tier: Tier) -> Markup {
    html! { span class={ "tier " (view::tier(tier).to_lowercase()) } title=(bounds(tier)) { (view::tier(tier)) } }
}

/// The bands that tiers are judged by.
fn bands() -> Markup {
    html! {
        p.quiet {
            @for one in [Tier::Elite, Tier::High, Tier::Medium, Tier::Low] { (view::tier(one)) ": " (bounds(one)) ". " }
            "The tier is the median's; the mean's own stands beside it."
        }
    }
}

/// The trend as a table, for who cannot see or point at the bars.
fn numbers(of: &Report<'_>) -> Markup {
    let incomplete = |bucket: &Bucket| if bucket.until > of.asked.now { " (incomplete)" } else { "" };
    let slice = |bucket: &Bucket| Slice {
        label: calendar::label(bucket.since, of.asked.bucket, of.asked.zone) + incomplete(bucket),
        statistics: bucket.statistics,
    };
    let trend: Vec<Slice> = of.report.trend.iter().map(slice).collect();
    html! { details { summary { "The figures of the trend" } (slices("From", trend.iter(), |_| None)) } }
}

fn figure(of: &Report<'_>) -> Markup {
    let overall = &of.report.overall.statistics;
    html! {
        section.figures aria-label="Time to restore" {
            @match &overall.durations {
                None => div.figure { span.name { "No figure" } p { "No incident was restored in this time." } },
                Some(d) => {
                    div.figure.first {
                        span.name { "Median time to restore" }
                        strong #median { (view::duration(d.median)) }
                        (tier(d.tier))
                        (change(&of.before, overall))
                    }
                    div.figure {
                        span.name { "Mean (MTTR)" }
                        strong #mean { (view::duration(d.mean)) }
                        (tier(d.mean_tier))
                    }
                }
            }
            div.figure {
                span.name { "Incidents measured" }
                strong #measured { (overall.count) }
                p.quiet { "of " (of.report.population) " in this time" }
            }
            @if let Some(Statistics { count, durations: Some(d) }) = &of.acknowledge {
                div.figure {
                    span.name { "Median time to acknowledge" }
                    strong { (view::duration(d.median)) }
                    p.quiet { "mean " (view::duration(d.mean)) ", known of " (count) }
                }
            }
        }
    }
}

fn change(before: &Before, now: &Statistics) -> Markup {
    let told = match before {
        Before::NotImported { since } => report::no_comparison(*since),
        Before::Nothing => "nothing was restored in as many days before".to_owned(),
        Before::Known { durations, count, .. } => {
            let median = view::duration(durations.median);
            let change = now
                .durations
                .as_ref()
                .filter(|_| durations.median > 0.0)
                .map(|now| now.median / durations.median - 1.0);
            match change.map(|change| (change * 100.0).round()) {
                Some(percent) if percent > 0.0 => {
                    format!("{percent} % longer than {median} in as many days before (n = {count})")
                }
                Some(percent) if percent < 0.0 => {
                    format!("{} % shorter than {median} in as many days before (n = {count})", -percent)
                }
                _ => format!("as in as many days before: {median} (n = {count})"),
            }
        }
    };
    html! { p.quiet { (told) } }
}

fn percentiles(of: &Statistics) -> Markup {
    let Some(d) = &of.durations else { return html! {} };
    let rows = [
        ("Shortest", d.min),
        ("Median", d.median),
        ("Mean", d.mean),
        ("75 % within", d.p75),
        ("90 % within", d.p90),
        ("95 % within", d.p95),
        ("Longest", d.max),
    ];
    html! { dl.inline { @for (name, seconds) in rows { div { dt { (name) } dd { (view::duration(seconds)) } } } } }
}

fn left_out(org: &OrgId, of: &Report<'_>, question: &[(String, String)]) -> Markup {
    let report = &of.report;
    let span = report.trend.first().zip(report.trend.last()).map(|(first, last)| (first.since, last.until));
    html! {
        p { "Measured " strong { (report.overall.statistics.count) } " of " strong { (report.population) } (if report.population == 1 { " incident." } else { " incidents." }) }
        @if report.excluded.is_empty() { p.quiet { "None was left out." } }
        @else {
            table.rows.small {
                thead { tr { th scope="col" { "Reason" } th.number scope="col" { "Incidents" } } }
                tbody { @for excluded in &report.excluded { tr {
                    td {
                        @match span.and_then(|span| incidents::left_out(org, &excluded.reason, span, question, of.asked.now)) {
                            Some(link) => a href=(link) { (excluded.reason) },
                            None => (excluded.reason),
                        }
                        " " span.quiet { (meaning(&excluded.reason)) }
                    }
                    td.number { (excluded.count) }
                } } }
            }
        }
        @for told in report::alternatives(of) { p.quiet { (told) } }
        @if let Some(told) = timestamps::unknown(&of.unknown_timestamps) {
            p.quiet { (told) " If one of these timestamps tells when service was restored, say so under " a href={ (address(org, Section::Settings)) "#timestamps" } { "Settings" } "." }
        }
    }
}

fn meaning(reason: &str) -> &'static str {
    match reason {
        "source" => "of another source than asked for",
        "test" | "tutorial" => "an exercise",
        "triage" => "nobody has accepted it yet",
        "declined" | "canceled" => "was no incident after all",
        "merged" => "counted with the one it was merged into",
        "private" => "private ones are not asked for",
        "duplicate" => "counted at another source",
        "priority" => "another priority than asked for, or none",
        "service" => "affects another service",
        "not-visible" => "open, but not shown by incident.io for days",
        "open" => "not over yet",
        "unknown-phase" => "a status of a kind that is not known",
        "implausible-time" => "a time that decides lies before 2005",
        "ends-in-the-future" => "ends in the future",
        "entered-later" => "written down afterwards, and only that moment tells the start or the end",
        "no-creation-time" => "nothing tells when it was created",
        "no-resolution-time" => "nothing tells since when it is over",
        "no-start-time" => "nothing tells when the clock starts",
        "negative-duration" => "ended before the clock started",
        _ => "",
    }
}

fn slices<'a>(
    name: &str,
    slices: impl Iterator<Item = &'a Slice>,
    link: impl Fn(&Slice) -> Option<String>,
) -> Markup {
    html! {
        table.rows.small.slices {
            thead { tr {
                th scope="col" { (name) } th.number scope="col" { "n" } th.number scope="col" { "Median" } th.number scope="col" { "Mean" } th.number scope="col" { "p90" } th scope="col" { "Tier" }
            } }
            tbody { @for slice in slices { tr {
                th scope="row" { @match link(slice) { Some(to) => a href=(to) { (slice.label) }, None => (slice.label) } }
                td.number data-label="n" { (slice.statistics.count) }
                @let durations = slice.statistics.durations.as_ref();
                @for (name, seconds) in [("Median", durations.map(|d| d.median)), ("Mean", durations.map(|d| d.mean)), ("p90", durations.map(|d| d.p90))] {
                    td.number data-label=(name) { (seconds.map_or_else(|| "–".to_owned(), view::duration)) }
                }
                td.grade { @match durations { Some(d) => (tier(d.tier)), None => "–" } }
            } } }
        }
    }
}

fn services(org: &OrgId, of: &Report<'_>) -> Markup {
    let mut busiest: Vec<&Slice> = of.report.by_service.iter().collect();
    busiest.sort_by_key(|slice| std::cmp::Reverse(slice.statistics.count));
    let more = busiest.len().saturating_sub(SERVICES);
    // What names no service has no list.
    let link = |slice: &Slice| {
        let pairs = [("service", slice.label.as_str())];
        let to = format!("{}?{}", address(org, Section::Incidents), encoded(pairs.into_iter()));
        (!slice.label.starts_with('(')).then_some(to)
    };
    html! {
        @if busiest.is_empty() { p.quiet { "No service is named by what was restored." } }
        @else {
            (slices("Service", busiest.into_iter().take(SERVICES), link))
            p.quiet {
                @if more > 0 { "And " (more) " more. " }
                "An incident with two services counts under each."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &[(&str, &str)]) -> Answer<Question> {
        let query: Vec<_> = query.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        question(&query, 1_790_000_000_000_000)
    }

    #[test]
    fn a_period_ends_with_today_and_rubbish_is_told_of() {
        let asked = of(&[]).unwrap();
        assert_eq!((asked.until.unwrap() - asked.since.unwrap()).num_days(), 90);
        let custom = of(&[("days", "custom"), ("since", "2026-01-01"), ("until", "2026-01-31")]).unwrap();
        assert_eq!((custom.until.unwrap() - custom.since.unwrap()).num_days(), 31);
        for bad in
            [[("zone", "Mars/Olympus")], [("days", "-1")], [("days", "99999999999")], [("priority", "high")]]
        {
            assert!(of(&bad).is_err(), "{bad:?}");
        }
    }
}
