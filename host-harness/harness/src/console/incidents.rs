//! The incident dashboard: a table that is filtered, sorted and paged on the server, its rows as CSV, and one incident
//! with all that is known of it.
//!
//! The address holds what is shown, so that it can be kept, sent and loaded again.

use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{Days, NaiveDate, NaiveTime};
use koalr_host::HostError;
use koalr_host::contract::{
    ClockEnd, ClockStart, Incident, Mode, MttrQuery, Phase, Priority, TimelineEvent, Timestamp,
};
use koalr_host::id::OrgId;
use koalr_host::port::{DeliveryFilter, IncidentFilter, IncidentOrder, Population, Unmeasurable, Unmeasured};
use maud::{Markup, html};

use super::page::{
    Section, Trouble, address, ago, derived, encoded, heading, live, phase, priority, segment, select, when,
    with,
};
use super::{Answer, Console, named};
use crate::verbs::mttr::explain;
use crate::verbs::sync::is_rederiving;
use crate::{filters, view};

const ROWS: u32 = 50;
/// Names of services that the filter offers.
const SERVICES: u32 = 500;
/// Rows that are read at a time for a download.
const CSV_ROWS: u32 = 2_000;

const PHASES: [(&str, &[Phase]); 6] = [
    ("open", &[Phase::Triage, Phase::Active, Phase::Paused]),
    ("triage", &[Phase::Triage]),
    ("active", &[Phase::Active, Phase::Paused]),
    ("over", &[Phase::Resolved, Phase::Closed]),
    ("dropped", &[Phase::Declined, Phase::Canceled, Phase::Merged]),
    ("unknown", &[Phase::Unknown]),
];

const ORDERS: [(&str, IncidentOrder); 4] = [
    ("created", IncidentOrder::Created),
    ("resolved", IncidentOrder::Resolved),
    ("duration", IncidentOrder::Duration),
    ("priority", IncidentOrder::Priority),
];

/// What an address asks for.
pub(super) struct Asked {
    pub(super) query: Vec<(String, String)>,
}

impl Asked {
    fn get(&self, name: &str) -> &str {
        let found = self.query.iter().find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn page(&self) -> u32 {
        self.get("page").parse().unwrap_or(1).clamp(1, 1_000_000)
    }

    fn day(&self, name: &str) -> Answer<Option<NaiveDate>> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Trouble::invalid(format!("`{text}` is no date."), "Dates are written like 2026-11-24.")
            }),
        }
    }

    /// As the store understands it.
    pub(super) fn filter(&self, now: Timestamp) -> Answer<IncidentFilter> {
        let some = |name: &str| Some(self.get(name)).filter(|text| !text.is_empty()).map(str::to_owned);
        let priorities = match self.get("priority") {
            "" => vec![],
            text => text.split(',').map(read_priority).collect::<Answer<_>>()?,
        };
        let order = self.get("sort").trim_start_matches('-');
        let order =
            ORDERS.iter().find(|(name, _)| *name == order).map(|(_, order)| *order).unwrap_or_default();
        let mut filter = IncidentFilter {
            priorities,
            phases: PHASES
                .iter()
                .find(|(name, _)| *name == self.get("status"))
                .map(|(_, of)| of.to_vec())
                .unwrap_or_default(),
            sources: some("source").into_iter().collect(),
            service: some("service"),
            text: some("text"),
            since: self.day("since")?.map(midnight),
            until: self.day("until")?.and_then(|day| day.checked_add_days(Days::new(1))).map(midnight),
            order,
            ascending: self.get("sort").starts_with('-'),
            ..IncidentFilter::default()
        };
        if let Some(reason) = some("left-out") {
            let clock = Clock { start: clock(self.get("clock")), end: clock_end(self.get("clock-end")), now };
            leave(&mut filter, &reason, clock)?;
            let span = self.get("from").parse().ok().zip(self.get("to").parse().ok());
            filter.population = span.map(|(since, until)| Population { since, until, now });
        }
        Ok(filter)
    }
}

pub(super) fn read_priority(text: &str) -> Answer<Priority> {
    match text.to_ascii_lowercase().as_str() {
        "p1" => Ok(Priority::P1),
        "p2" => Ok(Priority::P2),
        "p3" => Ok(Priority::P3),
        "p4" => Ok(Priority::P4),
        _ => Err(Trouble::invalid(format!("`{text}` is no priority."), "Priorities are P1, P2, P3 and P4.")),
    }
}

fn midnight(day: NaiveDate) -> Timestamp {
    day.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
}

/// Modes of incidents that are no exercise.
pub(super) const REAL: [Mode; 3] = [Mode::Standard, Mode::Retrospective, Mode::Unknown];

/// As it stands in an address.
pub(super) fn clock(text: &str) -> ClockStart {
    match text {
        "started" => ClockStart::Started,
        "acknowledged" => ClockStart::Acknowledged,
        _ => ClockStart::Created,
    }
}

/// As it stands in an address.
pub(super) fn clock_end(text: &str) -> ClockEnd {
    match text {
        "first-resolution" => ClockEnd::FirstResolution,
        _ => ClockEnd::Resolved,
    }
}

/// The clock that a question asks for, and when it is asked.
#[derive(Clone, Copy)]
struct Clock {
    start: ClockStart,
    end: ClockEnd,
    now: Timestamp,
}

/// Narrows a list to what time to restore leaves out for this reason. The priorities and the service of the filter are
/// those of the question. A reason that comes first takes an incident from those behind it.
fn leave(filter: &mut IncidentFilter, reason: &str, clock: Clock) -> Answer<()> {
    const DECIDED: &[Phase] = &[Phase::Active, Phase::Paused, Phase::Resolved, Phase::Closed, Phase::Unknown];
    const OVER: &[Phase] = &[Phase::Resolved, Phase::Closed];
    const UNMEASURABLE: [(&str, Unmeasurable); 7] = [
        ("implausible-time", Unmeasurable::ImplausibleTime),
        ("ends-in-the-future", Unmeasurable::EndsInTheFuture),
        ("entered-later", Unmeasurable::EnteredLater),
        ("no-creation-time", Unmeasurable::NoCreationTime),
        ("no-resolution-time", Unmeasurable::NoResolutionTime),
        ("no-start-time", Unmeasurable::NoStartTime),
        ("negative-duration", Unmeasurable::NegativeDuration),
    ];
    let unmeasurable = UNMEASURABLE.into_iter().find(|(name, _)| *name == reason);
    let (modes, phases): (&[Mode], &[Phase]) = match reason {
        "test" => (&[Mode::Test], &[]),
        "tutorial" => (&[Mode::Tutorial], &[]),
        "triage" => (&REAL, &[Phase::Triage]),
        "declined" => (&REAL, &[Phase::Declined]),
        "canceled" => (&REAL, &[Phase::Canceled]),
        "merged" => (&REAL, &[Phase::Merged]),
        "duplicate" | "priority" | "service" => (&REAL, DECIDED),
        "open" | "not-visible" => (&REAL, &[Phase::Active, Phase::Paused]),
        "unknown-phase" => (&REAL, &[Phase::Unknown]),
        _ if unmeasurable.is_some() => (&REAL, OVER),
        _ => {
            return Err(Trouble::not_found(format!("There is no list of incidents left out as `{reason}`.")));
        }
    };
    filter.modes = modes.to_vec();
    filter.phases = phases.to_vec();
    let before_duplicates =
        matches!(reason, "test" | "tutorial" | "triage" | "declined" | "canceled" | "merged");
    if !before_duplicates {
        filter.duplicate = Some(reason == "duplicate");
    }
    let (priorities, service) = (std::mem::take(&mut filter.priorities), filter.service.take());
    match reason {
        "priority" => filter.not_priorities = priorities,
        "service" => (filter.priorities, filter.not_service) = (priorities, service),
        _ if before_duplicates || reason == "duplicate" => {}
        _ => (filter.priorities, filter.service) = (priorities, service),
    }
    if let "open" | "not-visible" = reason {
        filter.not_visible = Some(reason == "not-visible");
    }
    let Clock { start, end, now } = clock;
    filter.unmeasured = unmeasurable.map(|(_, reason)| Unmeasured { reason, start, end, now });
    Ok(())
}

/// Where the incidents are listed that this question left out for this reason; none for a reason that has no list.
pub(super) fn left_out(
    org: &OrgId,
    reason: &str,
    span: (Timestamp, Timestamp),
    question: &[(String, String)],
    now: Timestamp,
) -> Option<String> {
    let clock = Clock { start: ClockStart::Created, end: ClockEnd::Resolved, now };
    leave(&mut IncidentFilter::default(), reason, clock).ok()?;
    let (from, to) = (span.0.to_string(), span.1.to_string());
    let pairs = [("left-out", reason), ("from", &from), ("to", &to)];
    let asked = question.iter().filter(|(key, value)| QUESTION.contains(&key.as_str()) && !value.is_empty());
    let pairs = pairs.into_iter().chain(asked.map(|(key, value)| (key.as_str(), value.as_str())));
    Some(format!("{}?{}", address(org, Section::Incidents), encoded(pairs)))
}

/// What a question is about besides its period, in addresses of both pages.
const QUESTION: [&str; 4] = ["clock", "clock-end", "priority", "service"];

pub(super) async fn list(
    State(console): State<Console>,
    Path(org): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let org = match named(&org) {
        Ok(org) => org,
        Err(trouble) => return trouble.into_response(),
    };
    let body = listed(&console, &org, Asked { query }).await;
    console.show(&org, Section::Incidents, "Incidents", body).await
}

async fn listed(console: &Console, org: &OrgId, asked: Asked) -> Answer {
    let store = console.host.store();
    console.host.organisation(org).await?;
    let page = asked.page();
    let now = console.host.clock().now();
    let mut filter = found(console, org, asked.filter(now)?).await?;
    filter.limit = Some(ROWS);
    filter.offset = (page - 1).saturating_mul(ROWS);
    let found = store.incidents(org, &filter).await?;
    let services = store.service_names(org, SERVICES).await?;
    let pages = u32::try_from(found.total.div_ceil(ROWS.into())).unwrap_or(u32::MAX);
    let beyond = found.incidents.is_empty() && found.total > 0;
    let download = format!("{}.csv{}", address(org, Section::Incidents), with(&asked.query, "page", None));
    Ok(html! {
        (heading("Incidents", html! { a.button.plain href=(download) download { "Download CSV" } }))
        (filters(&asked, &services))
        (live("list", html! {
            p.count role="status" {
                strong { (found.total) } @if found.total == 1 { " incident" } @else { " incidents" }
                @if !asked.get("left-out").is_empty() { " left out as “" (asked.get("left-out")) "”" }
                @if asked.query.iter().any(|(key, value)| key != "sort" && key != "page" && !value.is_empty()) {
                    " · " a href=(address(org, Section::Incidents)) { "Clear filters" }
                }
            }
            @if beyond {
                section.card.empty {
                    h2 { "The list is shorter by now" }
                    p { a href=(with(&asked.query, "page", Some(&pages.to_string()))) { "Go to its last page" } }
                }
            } @else if found.incidents.is_empty() {
                (nothing(org, &asked))
            } @else {
                (table(org, &asked, &found.incidents, now))
                (pager(&asked, page, pages))
            }
        }))
    })
}

/// The same filter, if what it names is there.
async fn found(console: &Console, org: &OrgId, mut filter: IncidentFilter) -> Answer<IncidentFilter> {
    let services = filter.service.iter().chain(&filter.not_service).cloned().collect::<Vec<_>>();
    filters::services(&**console.host.store(), org, &services).await?;
    filter.sources = filters::sources(&console.host, org, &filter.sources).await?;
    Ok(filter)
}

fn nothing(org: &OrgId, asked: &Asked) -> Markup {
    html! {
        section.card.empty {
            @if asked.query.iter().all(|(_, value)| value.is_empty()) {
                h2 { "No incident yet" }
                p { "The first import brings 90 days of history. " a href=(address(org, Section::Settings)) { "See how it stands" } "." }
            } @else {
                h2 { "Nothing matches" }
                p { "No incident is like this. Take a filter away, or " a href=(address(org, Section::Incidents)) { "show all" } "." }
            }
        }
    }
}

fn filters(asked: &Asked, services: &[String]) -> Markup {
    // There, these are the question's and the reason's.
    let of_question = !asked.get("left-out").is_empty();
    html! {
        form.filters method="get" data-brief role="search" {
            label.wide { span { "Text" } input type="search" name="text" value=(asked.get("text")) placeholder="Title or reference"; }
            @if !of_question {
                (select("priority", "Priority", asked.get("priority"), [
                    ("", "Any"), ("p1", "P1"), ("p2", "P2"), ("p1,p2", "P1 and P2"), ("p3", "P3"), ("p4", "P4"),
                ]))
                (select("status", "Status", asked.get("status"), [
                    ("", "Any"), ("open", "Open"), ("triage", "Triage"), ("active", "Active"), ("over", "Resolved or closed"),
                    ("dropped", "Declined, canceled, merged"), ("unknown", "Unknown"),
                ]))
                label { span { "Service" } input name="service" list="services" value=(asked.get("service")) placeholder="Any"; }
                datalist #services { @for name in services { option value=(name) {} } }
            }
            (select("source", "Source", asked.get("source"), [
                ("", "Any"), ("incidentio", "incident.io"), ("opsgenie", "Opsgenie"), ("opsgenie-alerts", "Opsgenie alerts"),
            ]))
            label { span { "Created from" } input type="date" name="since" value=(asked.get("since")); }
            label { span { "to" } input type="date" name="until" value=(asked.get("until")); }
            @for name in ["sort", "left-out", "from", "to"].into_iter().chain(QUESTION.into_iter().filter(|_| of_question)) {
                @if !asked.get(name).is_empty() { input type="hidden" name=(name) value=(asked.get(name)); }
            }
            button { "Filter" }
        }
    }
}

fn sorted(asked: &Asked, name: &str, title: &str, class: &str) -> Markup {
    let current = match asked.get("sort") {
        "" => "created",
        sort => sort,
    };
    let (next, sort) = if current == name {
        (format!("-{name}"), Some("descending"))
    } else if current.strip_prefix('-') == Some(name) {
        (name.to_owned(), Some("ascending"))
    } else {
        // The highest priority first, the newest and the longest first.
        (if name == "priority" { format!("-{name}") } else { name.to_owned() }, None)
    };
    html! {
        th scope="col" class=(class) aria-sort=[sort] {
            a href=(with(&asked.query, "sort", Some(&next))) {
                (title)
                @match sort { Some("descending") => span aria-hidden="true" { " ↓" }, Some(_) => span aria-hidden="true" { " ↑" }, None => {} }
            }
        }
    }
}

fn table(org: &OrgId, asked: &Asked, incidents: &[Incident], now: Timestamp) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Incidents" { table.rows {
            thead { tr {
                th scope="col" { "Incident" }
                (sorted(asked, "priority", "Priority", ""))
                th scope="col" { "Severity" }
                th scope="col" { "Status" }
                th scope="col" { "Services" }
                th scope="col" { "Responders" }
                (sorted(asked, "created", "Created (UTC)", ""))
                (sorted(asked, "resolved", "Resolved (UTC)", ""))
                (sorted(asked, "duration", "Duration", "number"))
            } }
            tbody { @for incident in incidents {
                tr {
                    th scope="row" {
                        a href=(place(org, incident)) {
                            span.reference { (name(incident)) } " " span.title { (incident.title) }
                        }
                    }
                    td data-label="Priority" { (priority(incident.priority)) }
                    td data-label="Severity" { (incident.severity.as_ref().map_or("–", |severity| severity.name.as_str())) }
                    td data-label="Status" { (phase(incident.phase, &incident.status)) }
                    td data-label="Services" { (few(incident.services.iter().map(|service| service.name.as_str()))) }
                    td data-label="Responders" { (few(incident.responders.iter().filter_map(who))) }
                    td data-label="Created" { @match incident.created_at {
                        Some(at) => (when(at)),
                        None => span.quiet title="the provider tells no time that can be read" { "–" },
                    } }
                    td data-label="Resolved" { @match &incident.resolved_at {
                        Some(time) => (when(time.at)),
                        None => span.quiet { "–" },
                    } }
                    td.number data-label="Duration" { (duration(incident, now)) }
                }
            } }
        } }
    }
}

fn who(person: &koalr_host::contract::Responder) -> Option<&str> {
    person.name.as_deref().or(person.email.as_deref())
}

/// The first two of several, and how many more.
fn few<'a>(names: impl Iterator<Item = &'a str>) -> Markup {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    let more = seen.len().saturating_sub(2);
    html! {
        @if seen.is_empty() { span.quiet { "–" } }
        @else {
            span title=(seen.join(", ")) {
                (seen.iter().take(2).copied().collect::<Vec<_>>().join(", "))
                @if more > 0 { span.quiet { " +" (more) } }
            }
        }
    }
}

/// How long it took; of one that is open, how long it has been, which runs.
fn duration(incident: &Incident, now: Timestamp) -> Markup {
    match (view::restored_seconds(incident, now), incident.phase, incident.created_at) {
        (Some(seconds), _, _) => html! { (view::duration(seconds)) },
        (None, Phase::Triage | Phase::Active | Phase::Paused, Some(created_at)) => {
            let seconds = now.saturating_sub(created_at) as f64 / 1e6;
            html! { span.running title="open; still running" { (view::duration(seconds.floor())) } }
        }
        (None, _, _) => html! { span.quiet title="nothing tells how long it took" { "–" } },
    }
}

fn pager(asked: &Asked, page: u32, pages: u32) -> Markup {
    let to = |page: u32| with(&asked.query, "page", Some(&page.to_string()));
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if page > 1 { a.button.plain rel="prev" href=(to(page - 1)) { "← Newer page" } }
                span { "Page " (page) " of " (pages) }
                @if page < pages { a.button.plain rel="next" href=(to(page + 1)) { "Next page →" } }
            }
        }
    }
}

fn name(incident: &Incident) -> &str {
    incident.reference.as_deref().unwrap_or(&incident.key.id)
}

/// An incident's page: by its reference, which people know; by its id where another tool gave the reference, of which
/// incident.io may have the same.
pub(super) fn place(org: &OrgId, incident: &Incident) -> String {
    let own = incident.key.source == "incidentio";
    let name = if own { name(incident) } else { &incident.key.id };
    format!("{}/{}", address(org, Section::Incidents), segment(name))
}

/// All rows of a filter. Cells that a spreadsheet would take for a formula begin with an apostrophe.
pub(super) async fn csv(
    State(console): State<Console>,
    Path(org): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer<Response> {
    let org = named(&org)?;
    console.host.organisation(&org).await?;
    let now = console.host.clock().now();
    let mut filter = found(&console, &org, Asked { query }.filter(now)?).await?;
    filter.limit = Some(CSV_ROWS);
    let broken =
        |error: csv::Error| Trouble::invalid(format!("The rows cannot be written: {error}."), "Try again.");
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "reference",
        "id",
        "source",
        "title",
        "priority",
        "severity",
        "status",
        "phase",
        "mode",
        "private",
        "created_at",
        "started_at",
        "acknowledged_at",
        "resolved_at",
        "first_resolved_at",
        "duration_seconds",
        "paused_seconds",
        "services",
        "responders",
        "url",
    ])
    .map_err(broken)?;
    loop {
        let found = console.host.store().incidents(&org, &filter).await?;
        for incident in &found.incidents {
            out.write_record(cells(incident, now).iter().map(|cell| view::csv_cell(cell).into_owned()))
                .map_err(broken)?;
        }
        filter.offset = filter.offset.saturating_add(CSV_ROWS);
        if found.incidents.is_empty() || u64::from(filter.offset) >= found.total {
            break;
        }
    }
    let bytes = out.into_inner().map_err(|error| broken(error.into_error().into()))?;
    let file = format!("attachment; filename=\"{org}-incidents.csv\"");
    Ok((
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, file)],
        bytes,
    )
        .into_response())
}

fn cells(incident: &Incident, now: Timestamp) -> [String; 20] {
    let time = |time: &Option<koalr_host::contract::DerivedTime>| {
        time.as_ref().map_or_else(String::new, |time| view::instant(time.at))
    };
    let names = |names: Vec<&str>| names.join("; ");
    let seconds = |seconds: Option<f64>| seconds.map_or_else(String::new, |seconds| seconds.to_string());
    [
        incident.reference.clone().unwrap_or_default(),
        incident.key.id.clone(),
        incident.key.source.clone(),
        incident.title.clone(),
        incident.priority.map_or_else(String::new, |p| view::priority(p).to_owned()),
        incident.severity.as_ref().map_or_else(String::new, |severity| severity.name.clone()),
        incident.status.clone(),
        view::phase(incident.phase).to_owned(),
        view::mode(incident.mode).to_owned(),
        incident.private.to_string(),
        incident.created_at.map_or_else(String::new, view::instant),
        time(&incident.started_at),
        time(&incident.acknowledged_at),
        time(&incident.resolved_at),
        time(&incident.first_resolved_at),
        seconds(view::restored_seconds(incident, now)),
        seconds(view::paused_seconds(incident, now)),
        names(incident.services.iter().map(|service| service.name.as_str()).collect()),
        names(incident.responders.iter().filter_map(who).collect()),
        incident.permalink.clone().unwrap_or_default(),
    ]
}

pub(super) async fn one(
    State(console): State<Console>,
    Path((org, name)): Path<(String, String)>,
    OriginalUri(_): OriginalUri,
) -> Response {
    let org = match named(&org) {
        Ok(org) => org,
        Err(trouble) => return trouble.into_response(),
    };
    let body = shown(&console, &org, &name).await;
    console.show(&org, Section::Incidents, &name, body).await
}

async fn shown(console: &Console, org: &OrgId, reference: &str) -> Answer {
    let store = console.host.store();
    let Some(incident) = store.find_incident(org, reference).await? else {
        return Err(Trouble::not_found(format!("{org} has no incident {reference}.")));
    };
    let timeline = store.timeline(org, &incident.key).await?;
    let filter = DeliveryFilter {
        incident: Some(incident.key.id.clone()),
        limit: Some(20),
        ..DeliveryFilter::default()
    };
    let deliveries = store.deliveries(org, &filter).await?;
    let now = console.host.clock().now();
    let counts = counted(console, org, &incident).await;
    Ok(live(
        "incident",
        html! {
            p.crumbs { a href=(address(org, Section::Incidents)) { "Incidents" } " / " (name(&incident)) }
            (heading(&incident.title, html! {
                (priority(incident.priority)) " " (phase(incident.phase, &incident.status))
            }))
            div.columns {
                section.card {
                    h2 { "Facts" }
                    (facts(&incident, now))
                }
                section.card {
                    h2 { "Time to restore" }
                    (counts)
                    h2 { "Services" }
                    (services(&incident))
                    h2 { "Responders" }
                    (responders(&incident))
                    @if !incident.references.is_empty() {
                        h2 { "Known elsewhere as" }
                        ul.plain { @for reference in &incident.references { li { (reference) } } }
                    }
                }
            }
            section.card {
                h2 { "Timeline" }
                (entries(&timeline))
            }
            @if !deliveries.is_empty() {
                section.card {
                    h2 { "Webhooks that name it" }
                    (super::deliveries::table(org, &deliveries, now))
                }
            }
        },
    ))
}

fn facts(incident: &Incident, now: Timestamp) -> Markup {
    html! {
        dl {
            dt { "Reference" } dd { (name(incident)) " " span.quiet { "(" (incident.key.source) " " code { (incident.key.id) } ")" } }
            dt { "Severity" } dd {
                (incident.severity.as_ref().map_or("none", |severity| severity.name.as_str()))
                " → " (priority(incident.priority)) " " span.rule title="the rule that gave this priority" { (incident.priority_rule) }
            }
            dt { "Mode" } dd { (view::mode(incident.mode)) @if incident.private { ", private" } }
            dt { "Created" } dd { @match incident.created_at {
                Some(at) => { (when(at)) " UTC " span.quiet { (ago(at, now)) } }
                None => span.quiet { "incident.io tells no time that can be read" },
            } }
            dt { "Started" } dd { (derived(&incident.started_at)) }
            dt { "Acknowledged" } dd { (derived(&incident.acknowledged_at)) }
            dt { "Resolved" } dd { @if incident.resolved_at.is_none() && incident.phase.is_open() { span.quiet { "not yet" } } @else { (derived(&incident.resolved_at)) } }
            dt { "Duration" } dd { @match view::restored_text(incident, now) { Some(told) => (told), None => (duration(incident, now)) } }
            @if let Some(into) = &incident.merged_into { dt { "Merged into" } dd { code { (into.id) } } }
            @if let Some(link) = incident.permalink.as_deref().filter(|link| link.starts_with("https://")) {
                dt { "At the provider" } dd { a href=(link) rel="noreferrer" { "Open " (link) } }
            }
        }
    }
}

trait Open {
    fn is_open(&self) -> bool;
}

impl Open for Phase {
    fn is_open(&self) -> bool {
        matches!(self, Phase::Triage | Phase::Active | Phase::Paused)
    }
}

fn services(incident: &Incident) -> Markup {
    html! {
        @if incident.services.is_empty() { p.quiet { "None named." } }
        @else { ul.plain { @for service in &incident.services { li {
            (service.name)
            @match &service.service_id {
                Some(id) => span.quiet { " linked to " code { (id) } },
                None => span.warn { " not in the catalog" },
            }
        } } } }
    }
}

fn responders(incident: &Incident) -> Markup {
    html! {
        @if incident.responders.is_empty() { p.quiet { "None named." } }
        @else { ul.plain { @for person in &incident.responders { li {
            (who(person).unwrap_or("somebody")) span.quiet { " " (person.role.as_deref().unwrap_or("responder")) }
            @match &person.user_id {
                Some(id) => span.quiet { " linked to " code { (id) } },
                None => span.warn { " not a user here" },
            }
        } } } }
    }
}

fn entries(timeline: &[TimelineEvent]) -> Markup {
    html! {
        @if timeline.is_empty() { p.quiet { "Nothing yet; timelines are read with the next poll." } }
        @else {
            ol.timeline { @for event in timeline { li {
                div.when { (when(event.at)) }
                div {
                    strong { (event.title) } " " span.rule { (event.kind) }
                    @if let Some(detail) = &event.detail { p { (detail) } }
                    @if let Some(actor) = &event.actor { p.quiet { (actor) } }
                }
            } } }
        }
    }
}

/// Whether it counts, by the component's word, whenever it was.
async fn counted(console: &Console, org: &OrgId, incident: &Incident) -> Markup {
    let query = MttrQuery::new(vec![Timestamp::MIN, Timestamp::MAX]);
    let asked = async {
        let recalculating = is_rederiving(&console.host, org).await?;
        let report = console.host.explain(org, &query, &incident.key).await?;
        Ok::<_, HostError>(explain::explain(incident, &report, &query, recalculating))
    };
    match asked.await {
        Ok(told) => {
            html! { p { (told.verdict()) } @for note in told.notes() { p.quiet { (note) } } }
        }
        Err(error) => html! { p { "It cannot be said now: " (error.to_string()) "." } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = 1_790_000_000_000_000;

    fn asked(query: &[(&str, &str)]) -> Asked {
        Asked { query: query.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect() }
    }

    #[test]
    fn an_address_says_what_is_shown_and_rubbish_is_told_of() {
        let filter = asked(&[("priority", "p1,P2"), ("status", "open"), ("sort", "-duration"), ("text", "")])
            .filter(NOW)
            .unwrap();
        assert_eq!(filter.priorities, [Priority::P1, Priority::P2]);
        assert_eq!(filter.phases, [Phase::Triage, Phase::Active, Phase::Paused]);
        assert_eq!((filter.order, filter.ascending, filter.text), (IncidentOrder::Duration, true, None));
        for bad in [[("since", "yesterday")], [("priority", "p9")], [("left-out", "nonsense")]] {
            assert!(asked(&bad).filter(NOW).is_err(), "{bad:?}");
        }
        assert_eq!(asked(&[("page", "0")]).page(), 1);
        assert_eq!(asked(&[("page", "-3")]).page(), 1);
    }

    #[test]
    fn a_day_that_is_named_as_the_last_counts() {
        let filter = asked(&[("since", "2026-11-01"), ("until", "2026-11-01")]).filter(NOW).unwrap();
        assert_eq!(filter.until.unwrap() - filter.since.unwrap(), 86_400_000_000);
    }
}
