//! Settings → Integrations → Incident.io: connect in three steps, see how the sync stands, mend what could not be
//! matched, and change what severities mean.
//!
//! A key or a secret goes in and never comes out: no page shows one, and a form that is refused comes back empty.

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use koalr_host::Connect;
use koalr_host::contract::{Priority, Settings, Severity, SeverityOverride, Timestamp, TimestampChoice};
use koalr_host::id::OrgId;
use koalr_host::port::{
    IncidentFilter, Job, JobKind, Organisation, OrganisationState, OriginMapping, SyncReport,
    UnknownTimestamp, Unmatched, normalised,
};
use koalr_host::vault::Secret;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Section, Trouble, address, ago, heading, live, priority};
use super::{Answer, Console, named};
use crate::verbs::connect::{API_KEY, WEBHOOK_SECRET};
use crate::verbs::show::state as state_name;
use crate::{secrets, view};

/// Unmatched people and services that are named.
const NAMED: u32 = 25;
/// Incidents whose severities are looked at, the newest.
const SEEN: u32 = 2_000;
/// What the product's documentation calls the events, and what it says of each.
const DOCUMENTED: [(&str, &str); 3] = [
    ("incident.created", "creates the record"),
    ("incident.status_updated", "updates status and times"),
    ("incident.resolved", "marks it resolved and records the time for MTTR"),
];

/// The form for an organisation that is not connected yet.
pub(super) async fn new(State(console): State<Console>) -> Response {
    connect_page(&console, None, "", StatusCode::OK).await
}

async fn connect_page(
    console: &Console,
    trouble: Option<Trouble>,
    org: &str,
    status: StatusCode,
) -> Response {
    let page = console.page("Connect Incident.io", None, Section::Connect).await;
    let body = html! {
        (heading("Connect Incident.io", html! {}))
        @if let Some(trouble) = &trouble { (refused(trouble)) }
        section.card.narrow {
            ol.steps {
                li aria-current="step" { "API key" }
                li { "Webhook endpoint" }
                li { "First delivery" }
            }
            p { "In incident.io, under Settings → API keys, create a key that may only read: incidents, the catalog, and private incidents if they are to be synced." }
            form method="post" action="/connect" autocomplete="off" data-once {
                label { span { "Organisation" } input name="org" value=(org) required pattern="[A-Za-z0-9_\\-]{1,64}" placeholder="acme"; small { "Letters, digits, - and _. It becomes part of the webhook's address." } }
                label { span { "API key" } input type="password" name="key" required autocomplete="off" spellcheck="false"; small { "Kept sealed. It is never shown again." } }
                label.check { input type="checkbox" name="private" value="yes" checked; span { "Sync private incidents that the key can see" } }
                button { "Save and start the import" }
            }
        }
    };
    (status, Html(page.render(body).into_string())).into_response()
}

fn refused(trouble: &Trouble) -> Markup {
    html! { div.alert role="alert" { p { strong { (trouble.what) } } p { (trouble.advice) } } }
}

#[derive(Deserialize)]
pub(super) struct NewConnection {
    org: String,
    key: String,
    private: Option<String>,
}

pub(super) async fn connect_new(State(console): State<Console>, Form(form): Form<NewConnection>) -> Response {
    match try_new(&console, &form).await {
        Ok(org) => Redirect::to(&address(&org, Section::Settings)).into_response(),
        Err(trouble) => {
            let status = trouble.status;
            connect_page(&console, Some(trouble), &form.org, status).await
        }
    }
}

async fn try_new(console: &Console, form: &NewConnection) -> Answer<OrgId> {
    let org: OrgId = form.org.trim().parse().map_err(|_| {
        Trouble::invalid(
            "That cannot be the name of an organisation.",
            "Use up to 64 letters, digits, - and _.",
        )
    })?;
    let key = given(&form.key, "API key")?;
    let known = console.host.store().organisation(&org).await?;
    if known.as_ref().is_some_and(|known| known.state != OrganisationState::Disconnected) {
        let what = format!("{org} is connected already.");
        return Err(Trouble::new(StatusCode::CONFLICT, what, "Under its Settings the key can be replaced."));
    }
    let include_private = form.private.is_some();
    // One that was disconnected goes on as it was set.
    let (settings, mut origin_map) = match known {
        Some(known) => (Settings { include_private, ..known.settings }, known.origin_map),
        None => (Settings { include_private, ..Settings::default() }, vec![]),
    };
    OriginMapping::add(&mut origin_map, console.setup.origin_map.clone());
    let connect = Connect { credentials: vec![(API_KEY.into(), key)], secrets: vec![], settings, origin_map };
    console.host.connect(&org, connect).await?;
    Ok(org)
}

fn given(text: &str, what: &str) -> Answer<Secret> {
    let secret = Secret::new(text.to_owned());
    match secret.expose().is_empty() {
        true => Err(Trouble::invalid(format!("There is no {what}."), "Paste it into its field.")),
        false => Ok(secret),
    }
}

pub(super) async fn page(State(console): State<Console>, Path(org): Path<String>) -> Response {
    told(&console, &org, Ok(html! {})).await
}

/// The settings, headed by what came of something that was asked for.
async fn told(console: &Console, org: &str, notice: Answer) -> Response {
    let org = match named(org) {
        Ok(org) => org,
        Err(trouble) => return trouble.into_response(),
    };
    let (status, notice) = match notice {
        Ok(notice) => (StatusCode::OK, notice),
        Err(trouble) => (trouble.status, refused(&trouble)),
    };
    let body = shown(console, &org, notice).await;
    let mut response = console.show(&org, Section::Settings, "Settings", body).await;
    if status != StatusCode::OK {
        *response.status_mut() = status;
    }
    response
}

async fn shown(console: &Console, org: &OrgId, notice: Markup) -> Answer {
    let store = console.host.store();
    let organisation = console.host.organisation(org).await?;
    let report = store.sync_report(org, NAMED).await?;
    let mut jobs = Vec::new();
    for kind in [JobKind::Backfill, JobKind::Poll, JobKind::Rederive] {
        jobs.extend(store.job(org, kind).await?);
    }
    let source = &console.host.plugin().descriptor().name;
    let timelines = store.to_revisit(org, source, 0).await?.total;
    let secrets = store.secret(org, WEBHOOK_SECRET).await?.len();
    let now = console.host.clock().now();
    let connected = organisation.state != OrganisationState::Disconnected;
    let unknown = store.unknown_timestamps(org).await?;
    let severities = if connected { severities_of(console, &organisation).await? } else { vec![] };
    Ok(html! {
        (heading("Settings → Integrations → Incident.io", html! {}))
        (notice)
        (live("state", html! {
            (steps(&organisation, &report))
            div.columns {
                (account(&organisation, now))
                (sync(&organisation, &report, &jobs, timelines, now))
            }
        }))
        div.columns {
            div.stack {
                (key_form(org, &organisation))
                @if connected {
                    (private_form(org, &organisation, &report))
                    (disconnect_form(org))
                }
            }
            @if connected { (webhook(console, org, &report, secrets, now)) }
        }
        @if connected {
            section.card #timestamps { h2 { "Timestamps" } (timestamps_form(org, &organisation, &organisation.settings.timestamps, &unknown)) }
            section.card { h2 { "Severity mapping" } (mapping(org, &severities, None)) }
            div.columns {
                (unmatched_people(org, &report))
                (unmatched_services(org, &report))
            }
        }
    })
}

fn steps(organisation: &Organisation, report: &SyncReport) -> Markup {
    let live = organisation.state == OrganisationState::Live;
    let arrived = report.last_delivery_at.is_some();
    let step = |done: bool, current: bool, text: &str| {
        html! {
            li.done[done] aria-current=[current.then_some("step")] { (text) @if done { span.hidden { " (done)" } } }
        }
    };
    html! {
        ol.steps {
            (step(live, !live, "API key"))
            (step(live && arrived, live && !arrived, "Webhook endpoint"))
            (step(arrived, false, if arrived { "First delivery arrived" } else { "Waiting for the first delivery" }))
        }
    }
}

fn account(organisation: &Organisation, now: Timestamp) -> Markup {
    let connection = organisation.connection.as_ref();
    let state = match organisation.state {
        OrganisationState::Live => "over",
        OrganisationState::Refused => "dead",
        OrganisationState::Pending | OrganisationState::Disconnected => "void",
    };
    html! {
        section.card {
            h2 { "Account" }
            dl {
                dt { "Connection" } dd { span class={ "state " (state) } { (state_name(organisation.state)) }
                    @if let Some(at) = organisation.connected_at { " " span.quiet { "checked " (ago(at, now)) } } }
                @if let Some(connection) = connection {
                    dt { "Account" } dd { (connection.account)
                        @if let Some(url) = connection.account_url.as_deref().filter(|url| url.starts_with("https://")) { " " a href=(url) rel="noreferrer" { "Open" } } }
                    dt { "API key" } dd { (connection.key_name) " " span.quiet { "••••••••" } }
                    dt { "Roles" } dd { @if connection.roles.is_empty() { span.quiet { "none" } } @else { (connection.roles.join(", ")) } }
                }
            }
            @match organisation.state {
                OrganisationState::Refused => p.alert role="alert" { "incident.io refuses the key. Nothing is synced until another one is saved." },
                OrganisationState::Disconnected => p.alert { "Disconnected: its secrets are removed and its webhooks are answered 404. What was synced is kept." },
                _ => {}
            }
            @if let Some(connection) = connection {
                @for warning in &connection.warnings { p.alert { (warning) } }
            }
        }
    }
}

fn sync(
    organisation: &Organisation,
    report: &SyncReport,
    jobs: &[Job],
    timelines: u64,
    now: Timestamp,
) -> Markup {
    let import = jobs.iter().find(|job| job.kind == JobKind::Backfill);
    html! {
        section.card {
            h2 { "Sync" }
            p { strong { (report.incidents) } " incidents"
                @if timelines > 0 { ", " (timelines) @if timelines == 1 { " timeline" } @else { " timelines" } " still to be read" }
                @if report.pending > 0 { ", " (report.pending) " webhooks waiting" } "." }
            @if let Some(job) = import.filter(|job| job.run_at.is_some() || job.is_running(now)) {
                (progress(job))
            }
            @if jobs.is_empty() && organisation.state != OrganisationState::Live { p.quiet { "No work is scheduled." } }
            @else {
                table.rows.small {
                    thead { tr { th scope="col" { "Part" } th scope="col" { "State" } th scope="col" { "Last success" } th scope="col" { "Next run" } th.number scope="col" { "Requests" } } }
                    tbody { @for job in jobs { (part(job, now)) } }
                }
            }
        }
    }
}

fn progress(job: &Job) -> Markup {
    let (done, total) = (job.progress.done, job.progress.total);
    html! {
        label.progress {
            span { "Importing history: " (done) @if let Some(total) = total { " of about " (total) } " done" }
            @match total {
                Some(total) if total > 0 => progress value=(done.min(total)) max=(total) {},
                _ => progress {},
            }
        }
    }
}

fn part(job: &Job, now: Timestamp) -> Markup {
    let name = match job.kind {
        JobKind::Backfill => "Import",
        JobKind::Poll => "Poll",
        JobKind::Rederive => "Deriving anew",
    };
    html! {
        tr {
            th scope="row" { (name) }
            td { @match (job.is_running(now), job.run_at) {
                (true, _) => span.state.open { "running" },
                (false, Some(_)) if job.error.is_some() => span.state.dead { "failing" },
                (false, Some(_)) => span.state.over { "scheduled" },
                (false, None) => span.state.over { "done" },
            } }
            td { @match job.succeeded_at { Some(at) => (ago(at, now)), None => span.quiet { "never" } } }
            td { @match job.run_at {
                Some(at) if at <= now => "now",
                Some(at) => (ago(at, now)),
                None => span.quiet { "–" },
            } }
            td.number { (job.progress.requests) }
        }
        @if let Some(error) = &job.error { tr { td colspan="5" { span.warn { (error) } } } }
    }
}

fn key_form(org: &OrgId, organisation: &Organisation) -> Markup {
    let again = organisation.state == OrganisationState::Disconnected;
    html! {
        section.card {
            h2 { @if again { "1. Connect again" } @else { "1. API key" } }
            p.quiet { "incident.io → Settings → API keys. A key that may only read is enough. It is checked before it is kept." }
            form method="post" action={ (address(org, Section::Settings)) "/key" } autocomplete="off" data-once {
                label { span { @if again { "API key" } @else { "Another API key" } } input type="password" name="key" required autocomplete="off" spellcheck="false"; }
                button { "Save" }
            }
        }
    }
}

fn webhook(console: &Console, org: &OrgId, report: &SyncReport, secrets: usize, now: Timestamp) -> Markup {
    html! {
        section.card {
            h2 { "2. Webhook endpoint" }
            p.quiet { "incident.io → Settings → Webhooks → Add endpoint. Without it, incidents are kept current by polling every 5 minutes." }
            div.copy {
                label { span { "Webhook endpoint URL" } input #webhook-url readonly value=(console.webhook_url(org)); }
                button.plain type="button" data-copy="webhook-url" { "Copy" }
            }
            @if console.setup.public_url.is_none() {
                p.quiet { "incident.io cannot reach this address. Put a server with TLS before it and start " code { "serve" } " with " code { "--public-url" } "; then its address stands here." }
            }
            h3 { "Event types to select" }
            ul.plain.events { @for event in &console.host.plugin().descriptor().webhook_events { li { code { (event) } } } }
            details {
                summary { "The names in the product's documentation" }
                dl { @for (name, what) in DOCUMENTED { dt { code { (name) } } dd { (what) } } }
                p.quiet { "incident.io has no events of these names; the types above have the same effects." }
            }
            form method="post" action={ (address(org, Section::Settings)) "/secret" } autocomplete="off" data-once {
                label { span { "Signing secret" } input type="password" name="secret" required placeholder="whsec_…" autocomplete="off" spellcheck="false"; small { "Shown by incident.io with the endpoint. It is never shown again here." } }
                label { span { "Former secret, while it is being replaced" } input type="password" name="former" autocomplete="off" spellcheck="false"; small { "Optional. Deliveries signed with either are taken." } }
                @match secrets {
                    0 => p.quiet { "None is saved yet." },
                    1 => p.quiet { "One is saved. Saving replaces it." },
                    _ => p.quiet { "Two are saved. Saving replaces both." },
                }
                button { "Save" }
            }
            (live("first-delivery", html! {
                @match report.last_delivery_at {
                    Some(at) => p.good role="status" { "Deliveries arrive. The last one came " (ago(at, now)) "." },
                    None => p.waiting role="status" { "Waiting for the first delivery…" },
                }
                @if let Some(refusal) = console.refusals.of(org).first().filter(|one| report.last_delivery_at.is_none_or(|at| at < one.at)) {
                    p.alert { "One was turned away " (ago(refusal.at, now)) ": " (super::deliveries::why(refusal.reason)) "." }
                }
            }))
        }
    }
}

const MOMENTS: [(&str, &str); 3] = [
    ("started", "Start of the impact"),
    ("acknowledged", "Acknowledgement"),
    ("resolved", "Service restored"),
];

fn timestamps_form(
    org: &OrgId,
    organisation: &Organisation,
    chosen: &TimestampChoice,
    unknown: &[UnknownTimestamp],
) -> Markup {
    let known = organisation.connection.as_ref().map(|known| known.timestamps.as_slice()).unwrap_or_default();
    let chosen = [&chosen.started, &chosen.acknowledged, &chosen.resolved];
    html! {
        p.quiet { "Which of the account's timestamps tells each time. Without a choice of yours, timestamps with usual names do." }
        @if let Some(told) = view::timestamps::unknown(unknown) { p.alert { (told) " If it tells when service was restored, choose it here." } }
        form method="post" action={ (address(org, Section::Settings)) "/timestamps" } data-once {
            @for ((name, label), chosen) in MOMENTS.into_iter().zip(chosen) {
                label { span { (label) } select name=(name) {
                    option value="" { "by the usual names" }
                    @for one in known { option value=(one.id) selected[chosen.as_ref() == Some(&one.id)] { (one.name) } }
                    // What is set stays set, also once the account has it no more.
                    @if let Some(gone) = chosen.as_ref().filter(|id| known.iter().all(|one| one.id != **id)) {
                        option value=(gone) selected { (gone) " (not in the account)" }
                    }
                } }
            }
            div.buttons {
                button.plain name="do" value="preview" { "Preview" }
                button name="do" value="save" { "Save" }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ChosenTimestamps {
    started: String,
    acknowledged: String,
    resolved: String,
    r#do: String,
}

pub(super) async fn timestamps(
    State(console): State<Console>,
    Path(org): Path<String>,
    Form(form): Form<ChosenTimestamps>,
) -> Response {
    match change_timestamps(&console, &org, form).await {
        Ok(None) => Redirect::to(&format!("/o/{org}/settings")).into_response(),
        Ok(Some(preview)) => told(&console, &org, Ok(preview)).await,
        Err(trouble) => told(&console, &org, Err(trouble)).await,
    }
}

/// The preview, if that is what was asked for.
async fn change_timestamps(console: &Console, org: &str, form: ChosenTimestamps) -> Answer<Option<Markup>> {
    let org = named(org)?;
    let organisation = console.host.organisation(&org).await?;
    let chosen = |id: String| (!id.is_empty()).then_some(id);
    let timestamps = TimestampChoice {
        started: chosen(form.started),
        acknowledged: chosen(form.acknowledged),
        resolved: chosen(form.resolved),
    };
    let settings = Settings { timestamps: timestamps.clone(), ..organisation.settings.clone() };
    if form.r#do != "preview" {
        if settings != organisation.settings {
            console.host.put_settings(&org, settings).await?;
        }
        return Ok(None);
    }
    let preview = console.host.preview_settings(&org, settings).await?;
    Ok(Some(html! {
        section.card.preview {
            h2 { "Preview: nothing is saved yet" }
            p { (view::preview::summary(&preview)) }
            @if !preview.examples.is_empty() {
                table.rows.small {
                    thead { tr { @for column in view::preview::COLUMNS { th scope="col" { (column) } } } }
                    tbody { @for [incident, what, before, after] in view::preview::rows(&preview) { tr {
                        th scope="row" { (incident) } td { (what) } td { (before) } td { (after) }
                    } } }
                }
                @if preview.incidents > preview.examples.len() as u64 { p.quiet { "The newest " (preview.examples.len()) " of " (preview.incidents) "." } }
            }
            (timestamps_form(&org, &organisation, &timestamps, &[]))
        }
    }))
}

/// A severity of recent incidents.
struct SeverityRow {
    id: Option<String>,
    name: String,
    rank: Option<i32>,
    incidents: Vec<Option<Priority>>,
    /// What it means now, and by which rule.
    priority: Option<Priority>,
    rule: String,
    chosen: Option<Priority>,
}

async fn severities_of(console: &Console, organisation: &Organisation) -> Answer<Vec<SeverityRow>> {
    let newest = IncidentFilter { limit: Some(SEEN), ..IncidentFilter::default() };
    let page = console.host.store().incidents(&organisation.id, &newest).await?;
    let mut rows: Vec<(Severity, Vec<Option<Priority>>)> = Vec::new();
    for incident in page.incidents {
        let Some(severity) =
            incident.severity.filter(|_| incident.key.source == console.host.plugin().descriptor().name)
        else {
            continue;
        };
        match rows.iter_mut().find(|(known, _)| known.name == severity.name) {
            Some((_, incidents)) => incidents.push(incident.priority),
            None => rows.push((severity, vec![incident.priority])),
        }
    }
    let mut known = Vec::new();
    for (severity, incidents) in rows {
        let mapping = console.host.map_severity(&organisation.id, &severity).await?;
        let overridden = organisation.settings.severity_overrides.iter().find(|one| {
            one.severity.eq_ignore_ascii_case(&severity.name) || Some(&one.severity) == severity.id.as_ref()
        });
        known.push(SeverityRow {
            rank: severity.rank,
            priority: mapping.priority,
            rule: mapping.rule,
            chosen: overridden.map(|one| one.priority),
            id: severity.id,
            name: severity.name,
            incidents,
        });
    }
    // The worst first.
    known.sort_by_key(|row| std::cmp::Reverse(row.rank));
    Ok(known)
}

const PRIORITIES: [Priority; 4] = [Priority::P1, Priority::P2, Priority::P3, Priority::P4];

/// `wanted`: choices that are looked at and not saved yet, in the order of the rows.
fn mapping(org: &OrgId, rows: &[SeverityRow], wanted: Option<&[Option<Priority>]>) -> Markup {
    if rows.is_empty() {
        return html! { p.quiet { "No incident with a severity is stored yet." } };
    }
    let chosen = |place: usize, row: &SeverityRow| match wanted {
        Some(wanted) => wanted.get(place).copied().flatten(),
        None => row.chosen,
    };
    html! {
        p.quiet { "Severities of the newest incidents, and the Koalr priority that each means. A choice of yours comes before every rule." }
        form method="post" action={ (address(org, Section::Settings)) "/severities" } data-once {
            table.rows.small {
                thead { tr { th scope="col" { "Severity" } th.number scope="col" { "Incidents" } th scope="col" { "Means now" } th scope="col" { "Your choice" } @if wanted.is_some() { th scope="col" { "Would change" } } } }
                tbody { @for (place, row) in rows.iter().enumerate() { tr {
                    th scope="row" { (row.name) input type="hidden" name="severity" value=(row.name);
                        @if let Some(id) = &row.id { input type="hidden" name="severity-id" value=(id); } }
                    td.number { (row.incidents.len()) }
                    td { (priority(row.priority)) " " span.rule { (row.rule) } }
                    td { select name="priority" aria-label={ "Priority of " (row.name) } {
                        option value="" selected[chosen(place, row).is_none()] { "by the rules" }
                        @for p in PRIORITIES { option value=(view::priority(p)) selected[chosen(place, row) == Some(p)] { (view::priority(p)) } }
                    } }
                    @if wanted.is_some() { td { (would_change(row, chosen(place, row))) } }
                } } }
            }
            div.buttons {
                button.plain name="do" value="preview" { "Preview" }
                button name="do" value="save" { "Save" }
            }
        }
    }
}

fn would_change(row: &SeverityRow, chosen: Option<Priority>) -> Markup {
    match chosen {
        Some(chosen) => {
            let changing = row.incidents.iter().filter(|now| **now != Some(chosen)).count();
            html! { (changing) " to " (priority(Some(chosen))) }
        }
        None if row.chosen.is_some() => html! { (row.incidents.len()) " to what the rules give" },
        None => html! { "none" },
    }
}

/// Pairs of a table's rows, as a browser sends them.
pub(super) async fn severities(
    State(console): State<Console>,
    Path(org): Path<String>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Response {
    match change_severities(&console, &org, &pairs).await {
        Ok(None) => Redirect::to(&format!("/o/{org}/settings")).into_response(),
        Ok(Some(preview)) => told(&console, &org, Ok(preview)).await,
        Err(trouble) => told(&console, &org, Err(trouble)).await,
    }
}

/// The preview, if that is what was asked for.
async fn change_severities(
    console: &Console,
    org: &str,
    pairs: &[(String, String)],
) -> Answer<Option<Markup>> {
    let org = named(org)?;
    let organisation = console.host.organisation(&org).await?;
    let values = |name: &'static str| {
        pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let mut overrides = Vec::new();
    for (severity, chosen) in values("severity").zip(values("priority")) {
        if !chosen.is_empty() {
            let priority = super::incidents::read_priority(chosen)?;
            overrides.push(SeverityOverride { severity: severity.to_owned(), priority });
        }
    }
    if values("do").next() == Some("preview") {
        let rows = severities_of(console, &organisation).await?;
        let wanted: Vec<Option<Priority>> = rows
            .iter()
            .map(|row| overrides.iter().find(|one| one.severity == row.name).map(|one| one.priority))
            .collect();
        return Ok(Some(html! {
            section.card.preview {
                h2 { "Preview: nothing is saved yet" }
                (mapping(&org, &rows, Some(&wanted)))
            }
        }));
    }
    // Choices for severities that no recent incident has are kept. One may be by a severity's id.
    let listed: Vec<&str> = values("severity").chain(values("severity-id")).collect();
    let kept = organisation
        .settings
        .severity_overrides
        .iter()
        .filter(|one| !listed.iter().any(|listed| listed.eq_ignore_ascii_case(&one.severity)));
    overrides.extend(kept.cloned());
    let settings = Settings { severity_overrides: overrides, ..organisation.settings.clone() };
    if settings != organisation.settings {
        console.host.put_settings(&org, settings).await?;
    }
    Ok(None)
}

fn unmatched_people(org: &OrgId, report: &SyncReport) -> Markup {
    html! {
        section.card {
            h2 { "People without a user here" }
            (unmatched(report.unmatched_people, &report.people, |person| {
                let address = person.name.contains('@').then(|| format!("{}/people", address(org, Section::Settings)));
                address.map(|action| (action, "User id"))
            }))
            @if report.unmatched_people > 0 { p.quiet { "People are kept by name until they are linked: an address may lead to a user that has another one. People without an e-mail address cannot be linked." } }
        }
    }
}

fn unmatched_services(org: &OrgId, report: &SyncReport) -> Markup {
    html! {
        section.card {
            h2 { "Services not in the catalog" }
            (unmatched(report.unmatched_services, &report.services, |_| {
                Some((format!("{}/services", address(org, Section::Settings)), "Catalog id"))
            }))
            @if report.unmatched_services > 0 { p.quiet { "A linked name is one more alias of that entry. An id that the catalog does not have becomes an entry of this name." } }
        }
    }
}

fn unmatched(
    total: u64,
    first: &[Unmatched],
    form: impl Fn(&Unmatched) -> Option<(String, &'static str)>,
) -> Markup {
    html! {
        @if total == 0 { p.good { "All are matched." } }
        @else {
            p { strong { (total) } @if total > first.len() as u64 { ", those with the most incidents:" } @else { ":" } }
            table.rows.small {
                thead { tr { th scope="col" { "Name" } th.number scope="col" { "Incidents" } th scope="col" { "Link to" } } }
                tbody { @for one in first { tr {
                    th.break scope="row" { (one.name) }
                    td.number { (one.incidents) }
                    td { @if let Some((action, label)) = form(one) {
                        form.inline method="post" action=(action) {
                            input type="hidden" name="name" value=(one.name);
                            input name="id" required aria-label={ (label) " of " (one.name) } placeholder=(label);
                            button.plain { "Link" }
                        }
                    } }
                } } }
            }
        }
    }
}

fn private_form(org: &OrgId, organisation: &Organisation, report: &SyncReport) -> Markup {
    let included = organisation.settings.include_private;
    html! {
        section.card {
            h2 { "Private incidents" }
            form method="post" action={ (address(org, Section::Settings)) "/private" } data-once {
                label.check { input type="checkbox" name="private" value="yes" checked[included]; span { "Sync private incidents that the key can see" } }
                @if report.withheld > 0 { p.quiet { (report.withheld) " are known to exist and only counted." } }
                button { "Save" }
            }
        }
    }
}

fn disconnect_form(org: &OrgId) -> Markup {
    html! {
        section.card {
            h2 { "Disconnect" }
            details {
                summary { "Disconnect " (org) "…" }
                p { "Its key and signing secret are removed, syncing stops, webhooks that wait are set aside and new ones are answered 404. Incidents that were synced are kept." }
                form method="post" action={ (address(org, Section::Settings)) "/disconnect" } { button.danger { "Disconnect" } }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Key {
    key: String,
}

pub(super) async fn reconnect(
    State(console): State<Console>,
    Path(org): Path<String>,
    Form(form): Form<Key>,
) -> Response {
    done(&console, &org, replace_key(&console, &org, &form.key).await).await
}

async fn replace_key(console: &Console, org: &str, key: &str) -> Answer<()> {
    let org = named(org)?;
    let known = console.host.organisation(&org).await?;
    let connect = Connect {
        credentials: vec![(API_KEY.into(), given(key, "API key")?)],
        secrets: vec![],
        settings: known.settings,
        origin_map: known.origin_map,
    };
    console.host.connect(&org, connect).await?;
    Ok(())
}

/// Back to the settings, or what went wrong above them.
async fn done(console: &Console, org: &str, result: Answer<()>) -> Response {
    match result {
        Ok(()) => Redirect::to(&format!("/o/{org}/settings")).into_response(),
        Err(trouble) => told(console, org, Err(trouble)).await,
    }
}

#[derive(Deserialize)]
pub(super) struct SigningSecret {
    secret: String,
    #[serde(default)]
    former: String,
}

pub(super) async fn secret(
    State(console): State<Console>,
    Path(org): Path<String>,
    Form(form): Form<SigningSecret>,
) -> Response {
    let result = async {
        let org = named(&org)?;
        let mut secrets = vec![given(&form.secret, "signing secret")?];
        if !form.former.trim().is_empty() {
            secrets.push(given(&form.former, "former secret")?);
        }
        console.host.put_secret(&org, WEBHOOK_SECRET, &secrets).await?;
        Ok(secrets::warning(&secrets))
    };
    match result.await {
        Ok(None) => done(&console, &org, Ok(())).await,
        Ok(Some(warning)) => {
            let notice = html! { p.alert role="alert" { "Saved, but " (warning) "." } };
            told(&console, &org, Ok(notice)).await
        }
        Err(trouble) => done(&console, &org, Err(trouble)).await,
    }
}

#[derive(Deserialize)]
pub(super) struct Private {
    private: Option<String>,
}

pub(super) async fn private(
    State(console): State<Console>,
    Path(org): Path<String>,
    Form(form): Form<Private>,
) -> Response {
    let result = async {
        let org = named(&org)?;
        let known = console.host.organisation(&org).await?.settings;
        let settings = Settings { include_private: form.private.is_some(), ..known.clone() };
        if settings != known {
            console.host.put_settings(&org, settings).await?;
        }
        Ok(())
    };
    let result = result.await;
    done(&console, &org, result).await
}

#[derive(Deserialize)]
pub(super) struct Link {
    name: String,
    id: String,
}

impl Link {
    fn id(&self) -> Answer<String> {
        match self.id.trim() {
            "" => Err(Trouble::invalid(
                format!("There is no id for {}.", self.name),
                "Type the id that it has here.",
            )),
            id => Ok(id.to_owned()),
        }
    }
}

pub(super) async fn people(
    State(console): State<Console>,
    Path(org): Path<String>,
    Form(link): Form<Link>,
) -> Response {
    let result = async {
        console.host.link_user(&named(&org)?, &link.name, &link.id()?).await?;
        Ok(())
    };
    let result = result.await;
    done(&console, &org, result).await
}

pub(super) async fn services(
    State(console): State<Console>,
    Path(org): Path<String>,
    Form(link): Form<Link>,
) -> Response {
    let result = async {
        let id = link.id()?;
        if normalised(&link.name).is_empty() {
            return Err(Trouble::invalid("That is no name.", "Name the service."));
        }
        console.host.link_service(&named(&org)?, &link.name, &id).await?;
        Ok(())
    };
    let result = result.await;
    done(&console, &org, result).await
}

pub(super) async fn disconnect(State(console): State<Console>, Path(org): Path<String>) -> Response {
    let result = async {
        console.host.disconnect(&named(&org)?).await?;
        Ok(())
    };
    let result = result.await;
    done(&console, &org, result).await
}
