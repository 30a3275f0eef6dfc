//! `incidents`, `incident` and `org list`: what is stored.

use anyhow::{Result, bail};
use chrono::{NaiveDate, NaiveTime};
use koalr_host::HostError;
use koalr_host::contract::{Phase, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::port::{
    Clock, IncidentFilter, JobKind, Jobs, Organisation, OrganisationState, Organisations, Records,
    SystemClock,
};
use koalr_host::sqlite::SqliteStore;
use serde::Serialize;

use super::connect::priority;
use super::print_json;
use crate::cli::{self, Database, Json, PhaseArg};
use crate::out::say;
use crate::view::{self, EventView, IncidentView, printable};
use crate::{filters, forms, open};

#[derive(Serialize)]
struct IncidentsDocument<'a> {
    organisation: &'a str,
    total: u64,
    incidents: Vec<IncidentView<'a>>,
}

pub(crate) async fn incidents(options: cli::Incidents) -> Result<()> {
    let target = &options.target;
    let store = open::store(&target.database)?;
    known(&store, &target.org).await?;
    filters::services(&store, &target.org, options.service.as_slice()).await?;
    let filter = IncidentFilter {
        priorities: options.priority.iter().copied().map(priority).collect(),
        phases: options.phase.iter().copied().map(phase).collect(),
        service: options.service,
        text: options.text,
        since: options.since.map(midnight),
        until: options.until.map(midnight),
        limit: options.limit.or((!target.json.json).then_some(50)),
        ..IncidentFilter::default()
    };
    let page = store.incidents(&target.org, &filter).await?;
    let now = SystemClock.now();
    if target.json.json {
        let incidents = page.incidents.iter().map(|record| view::incident(record, now)).collect();
        return print_json(&IncidentsDocument {
            organisation: target.org.as_str(),
            total: page.total,
            incidents,
        });
    }
    if page.total == 0 {
        say!("No incident matches.")?;
        return Ok(());
    }
    say!("{}", view::incident_table(&page.incidents, now))?;
    if (page.incidents.len() as u64) < page.total {
        say!("{} of {}; --limit shows more.", page.incidents.len(), page.total)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct IncidentDocument<'a> {
    organisation: &'a str,
    incident: IncidentView<'a>,
    timeline: Vec<EventView<'a>>,
}

pub(crate) async fn incident(options: cli::Incident) -> Result<()> {
    let target = &options.target;
    let store = open::store(&target.database)?;
    known(&store, &target.org).await?;
    let Some(record) = forms::find_incident(&store, &target.org, &options.name).await? else {
        bail!("{} has no incident {}; `incidents` lists them", target.org, options.name);
    };
    let (record, now) = (&record, SystemClock.now());
    let timeline = store.timeline(&target.org, &record.key).await?;
    if target.json.json {
        return print_json(&IncidentDocument {
            organisation: target.org.as_str(),
            incident: view::incident(record, now),
            timeline: timeline.iter().map(view::event).collect(),
        });
    }
    let reference = record.reference.as_deref().unwrap_or(&record.key.id);
    say!("{}  {}", printable(reference), printable(&record.title))?;
    let line = |name: &str, text: String| say!("  {name:<14}{text}");
    line("status", format!("{} ({})", printable(&record.status), view::phase(record.phase)))?;
    let severity = record.severity.as_ref().map_or("none", |severity| severity.name.as_str());
    let priority = record.priority.map_or("none", view::priority);
    line("priority", format!("{priority} (severity {}, by {})", printable(severity), record.priority_rule))?;
    let utc = |at| format!("{} UTC", view::short_instant(at));
    line(
        "created",
        record.created_at.map_or_else(|| "the provider tells no time that can be read".into(), utc),
    )?;
    for (name, time) in [
        ("started", &record.started_at),
        ("acknowledged", &record.acknowledged_at),
        ("resolved", &record.resolved_at),
    ] {
        if let Some(time) = time {
            line(name, format!("{} (by {})", utc(time.at), time.rule))?;
        }
    }
    if let Some(restored) = view::restored_text(record, now) {
        line("restored in", restored)?;
    }
    for told in view::course(record) {
        line("", told)?;
    }
    if let Some(into) = &record.merged_into {
        line("merged into", printable(&into.id))?;
    }
    for person in &record.responders {
        let who = person.name.as_deref().or(person.email.as_deref()).unwrap_or("somebody");
        let role = person.role.as_deref().unwrap_or("responder");
        let user = person.user_id.as_ref().map_or_else(String::new, |id| format!(", user {id}"));
        line("responder", format!("{} ({}{})", printable(who), printable(role), printable(&user)))?;
    }
    for service in &record.services {
        let linked = service.service_id.as_ref().map_or_else(String::new, |id| format!(" (service {id})"));
        line("service", printable(&format!("{}{linked}", service.name)))?;
    }
    if let Some(link) = &record.permalink {
        line("link", printable(link))?;
    }
    if !timeline.is_empty() {
        let rows = timeline.iter().map(|event| {
            let actor = printable(event.actor.as_deref().unwrap_or("-"));
            vec![view::short_instant(event.at), event.kind.clone(), printable(&event.title), actor]
        });
        say!("{}", view::table(&["When (UTC)", "Kind", "What", "Who"], &[], rows.collect()))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct OrganisationDocument {
    organisation: String,
    state: &'static str,
    plugin: String,
    account: Option<String>,
    incidents: u64,
    connected_at: Option<String>,
    backfill: Option<JobDocument>,
    poll: Option<JobDocument>,
}

/// A job and its present or last run.
#[derive(Serialize)]
pub(crate) struct JobDocument {
    pub(crate) state: &'static str,
    done: u64,
    total: Option<u64>,
    pub(crate) requests: u64,
    pub(crate) succeeded_at: Option<String>,
    pub(crate) next_run_at: Option<String>,
    pub(crate) error: Option<String>,
}

pub(crate) async fn organisations(database: &Database, json: Json) -> Result<()> {
    let store = open::store(database)?;
    let mut documents = Vec::new();
    for organisation in store.organisations().await? {
        documents.push(document(&store, organisation).await?);
    }
    if json.json {
        return print_json(&documents);
    }
    if documents.is_empty() {
        say!("No organisation is connected.")?;
        return Ok(());
    }
    let job = |job: &Option<JobDocument>| {
        job.as_ref().map_or("-", |job| if job.error.is_some() { "failing" } else { job.state }).to_string()
    };
    let rows = documents.iter().map(|organisation| {
        vec![
            organisation.organisation.clone(),
            organisation.state.to_string(),
            printable(organisation.account.as_deref().unwrap_or("-")),
            organisation.incidents.to_string(),
            job(&organisation.backfill),
            job(&organisation.poll),
        ]
    });
    let headers = ["Organisation", "State", "Account", "Incidents", "Backfill", "Poll"];
    say!("{}", view::table(&headers, &[3], rows.collect()))?;
    for organisation in &documents {
        for job in [&organisation.backfill, &organisation.poll].into_iter().flatten() {
            if let Some(error) = &job.error {
                say!("{}: {}", organisation.organisation, printable(error))?;
            }
        }
    }
    Ok(())
}

async fn document(store: &SqliteStore, organisation: Organisation) -> Result<OrganisationDocument> {
    let none = IncidentFilter { limit: Some(0), ..IncidentFilter::default() };
    let org = &organisation.id;
    Ok(OrganisationDocument {
        organisation: org.to_string(),
        state: state(organisation.state),
        plugin: organisation.plugin,
        incidents: store.incidents(org, &none).await?.total,
        connected_at: organisation.connected_at.map(view::instant),
        backfill: job(store, org, JobKind::Backfill).await?,
        poll: job(store, org, JobKind::Poll).await?,
        account: organisation.connection.map(|connection| connection.account),
    })
}

pub(crate) async fn job(store: &SqliteStore, org: &OrgId, kind: JobKind) -> Result<Option<JobDocument>> {
    let (job, now) = (store.job(org, kind).await?, SystemClock.now());
    Ok(job.map(|job| JobDocument {
        state: match (job.is_running(now), job.run_at) {
            (true, _) => "running",
            (false, Some(_)) => "scheduled",
            (false, None) => "done",
        },
        done: job.progress.done,
        total: job.progress.total,
        requests: job.progress.requests,
        succeeded_at: job.succeeded_at.map(view::instant),
        // What is due has not run yet: its next run is now.
        next_run_at: job.run_at.map(|at| view::instant(at.max(now))),
        error: job.error,
    }))
}

pub(crate) fn state(state: OrganisationState) -> &'static str {
    match state {
        OrganisationState::Pending => "pending",
        OrganisationState::Live => "live",
        OrganisationState::Refused => "refused",
        OrganisationState::Disconnected => "disconnected",
    }
}

/// Fails for an organisation that was never connected, instead of showing that it has nothing.
async fn known(store: &SqliteStore, org: &OrgId) -> Result<()> {
    match store.organisation(org).await? {
        Some(_) => Ok(()),
        None => Err(HostError::UnknownOrganisation(org.clone()).into()),
    }
}

fn midnight(day: NaiveDate) -> Timestamp {
    day.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
}

fn phase(phase: PhaseArg) -> Phase {
    match phase {
        PhaseArg::Triage => Phase::Triage,
        PhaseArg::Active => Phase::Active,
        PhaseArg::Paused => Phase::Paused,
        PhaseArg::Resolved => Phase::Resolved,
        PhaseArg::Closed => Phase::Closed,
        PhaseArg::Declined => Phase::Declined,
        PhaseArg::Canceled => Phase::Canceled,
        PhaseArg::Merged => Phase::Merged,
        PhaseArg::Unknown => Phase::Unknown,
    }
}
