//! Settings → Opsgenie Migration: from an account or from saved files, first a plan that writes nothing, then the run,
//! then its result, which can be undone.
//!
//! Planning and running take minutes, so they go on in the background; the page tells how far they are. What a person
//! gave is kept in memory until the run, and is not written anywhere before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Multipart, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::NaiveDate;
use koalr_files::instant::TimeFormat;
use koalr_files::opsgenie::files::{self, BadRow, Reading};
use koalr_files::opsgenie::mapping;
use koalr_host::Host;
use koalr_host::contract::{OpsgenieAccount, OpsgenieRegion, Step, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::migration::overlap::{Overlap, Pair};
use koalr_host::migration::{History, Plan, Prepare, Reason, State as RowState, Status, Summary, described};
use koalr_host::port::{Alias, AliasKind, Unmatched};
use koalr_host::vault::Secret;
use maud::{Markup, html};
use tokio::task::JoinHandle;

use super::page::{Section, Trouble, address, heading, live, when};
use super::{Answer, Console, named};
use crate::verbs::migrate::{BEGINNING, Figure, PIECE, figures};
use crate::{aliases, view};

/// Rows of a plan, and names, that are shown.
const SHOWN: usize = 200;

/// How long a plan or a result is kept once it is there, with all that was uploaded for it.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// What is under way or was found, by organisation.
pub(super) struct Desk {
    works: Mutex<HashMap<OrgId, Arc<Work>>>,
    kept: Duration,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk { works: Mutex::default(), kept: KEPT }
    }
}

/// One plan or run.
struct Work {
    given: Given,
    stage: Mutex<Stage>,
}

/// What a person gave.
#[derive(Clone)]
struct Given {
    /// In words.
    what: String,
    history: History,
    bad: Arc<Vec<BadRow>>,
    /// What was passed over, in sentences.
    notes: Arc<Vec<String>>,
    prepare: Prepare,
    /// As it was typed, so that it can be added to.
    mapping: String,
}

#[derive(Clone)]
enum Stage {
    Planning(Far),
    Planned(Arc<Plan>),
    Running(Far),
    Done {
        summary: Arc<Summary>,
        before: Figure,
        after: Figure,
    },
    /// What happened, and what to do.
    Failed(String, String),
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default)]
struct Far {
    done: u64,
    total: Option<u64>,
    wait_ms: u64,
}

impl From<&Step> for Far {
    fn from(step: &Step) -> Far {
        Far { done: step.done, total: step.total, wait_ms: step.wait_ms }
    }
}

impl Work {
    fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn is_busy(&self) -> bool {
        matches!(self.stage(), Stage::Planning(_) | Stage::Running(_))
    }

    fn fail(&self, trouble: Trouble) {
        self.set(Stage::Failed(trouble.what, trouble.advice));
    }
}

impl Desk {
    fn of(&self, org: &OrgId) -> Option<Arc<Work>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner).get(org).cloned()
    }

    /// Begins this work in the background, unless something is under way. Whatever way the task ends, the work is busy no
    /// more; what it led to is forgotten after a while.
    fn begin(
        self: &Arc<Self>,
        org: &OrgId,
        work: Arc<Work>,
        task: impl Future<Output = Answer<Stage>> + Send + 'static,
    ) -> Answer<JoinHandle<()>> {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        if works.get(org).is_some_and(|work| work.is_busy()) {
            return Err(busy());
        }
        works.insert(org.clone(), Arc::clone(&work));
        let (desk, org) = (Arc::clone(self), org.clone());
        Ok(tokio::spawn(async move {
            match tokio::spawn(task).await {
                Ok(Ok(stage)) => work.set(stage),
                Ok(Err(trouble)) => work.fail(trouble),
                Err(_) => work.fail(Trouble::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "An error in this program ended it.",
                    "The log of `serve` says more. What was imported is kept; the same import continues from there.",
                )),
            }
            tokio::time::sleep(desk.kept).await;
            desk.expire(&org, &work);
        }))
    }

    /// Forgets this work, if it is not under way, nor another in its place.
    fn expire(&self, org: &OrgId, work: &Arc<Work>) {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        if works.get(org).is_some_and(|kept| Arc::ptr_eq(kept, work)) {
            works.remove(org);
        }
    }

    fn forget(&self, org: &OrgId) -> Answer<()> {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        match works.get(org) {
            Some(work) if work.is_busy() => Err(busy()),
            _ => {
                works.remove(org);
                Ok(())
            }
        }
    }
}

fn busy() -> Trouble {
    Trouble::new(
        StatusCode::CONFLICT,
        "A plan or a run is under way.",
        "Wait until it has ended, then try again.",
    )
}

pub(super) async fn page(State(console): State<Console>, Path(org): Path<String>) -> Response {
    told(&console, &org, None).await
}

async fn told(console: &Console, org: &str, trouble: Option<Trouble>) -> Response {
    let org = match named(org) {
        Ok(org) => org,
        Err(trouble) => return trouble.into_response(),
    };
    let status = trouble.as_ref().map(|trouble| trouble.status);
    let body = shown(console, &org, trouble).await;
    let mut response = console.show(&org, Section::Migration, "Opsgenie Migration", body).await;
    if let Some(status) = status {
        *response.status_mut() = status;
    }
    response
}

async fn shown(console: &Console, org: &OrgId, trouble: Option<Trouble>) -> Answer {
    let status = console.host.migration_status(org).await?;
    let work = console.migrations.of(org);
    let action = |what: &str| format!("{}/{what}", address(org, Section::Migration));
    Ok(html! {
        (heading("Opsgenie Migration", html! {}))
        p.quiet {
            "Brings Opsgenie's incidents over, so that the MTTR trend goes on. "
            @match status.days_left {
                Some(days) => { "Opsgenie ends on 5 April 2027, in " strong { (days) " days" } "." },
                None => "Opsgenie ended on 5 April 2027; saved records can still be imported.",
            }
        }
        @if let Some(trouble) = &trouble { div.alert role="alert" { p { strong { (trouble.what) } } p { (trouble.advice) } } }
        (live("migration", html! {
            (standing(&status))
            @if let Some(cut_off) = status.migration.under_way.as_ref().filter(|_| work.is_none()) {
                p.alert { "An import has not come to its end: " (cut_off.what) ". Unless another process is at it, it was cut off: plan and run the same again, and it goes on where it ended." }
            }
            @match work.as_ref().map(|work| (work, work.stage())) {
                None => {},
                Some((work, Stage::Planning(far))) => (going("Planning", &work.given.what, far)),
                Some((work, Stage::Running(far))) => (going("Importing", &work.given.what, far)),
                Some((work, Stage::Planned(plan))) => (planned(&action, work, &plan)),
                Some((work, Stage::Done { summary, before, after })) => (finished(&action, &summary, work.given.bad.len(), before, after)),
                Some((work, Stage::Failed(what, advice))) => section.card {
                    div.alert role="alert" { p { strong { (what) } } p { (advice) } }
                    p.quiet { (work.given.what) }
                },
            }
        }))
        @if !work.is_some_and(|work| work.is_busy()) {
            section.card { h2 { "1. Where the history is" } (form(&action("plan"))) }
        }
        @if status.incidents + status.alerts > 0 {
            section.card {
                h2 { "Undo" }
                details {
                    summary { "Remove what the migration wrote…" }
                    p { (status.incidents + status.alerts) " imported incidents with their timelines, the mapping and Opsgenie's key are removed, and nothing else." }
                    form method="post" action=(action("undo")) { button.danger { "Remove them" } }
                }
            }
        }
    })
}

fn standing(status: &Status) -> Markup {
    html! {
        @if status.incidents + status.alerts > 0 {
            section.figures aria-label="How the migration stands" {
                div.figure { span.name { "Imported incidents" } strong { (status.incidents) } @if status.alerts > 0 { p.quiet { "and " (status.alerts) " alerts" } } }
                div.figure { span.name { "Known to both tools" } strong { (status.duplicates) } p.quiet { "counted once, as incident.io's" } }
                @if status.to_review > 0 { div.figure { span.name { "To be reviewed" } strong { (status.to_review) } p.quiet { "counted twice until someone decides" } } }
                @if let Some(at) = status.cut_over { div.figure { span.name { "Cut-over" } strong.small { (when(at)) } p.quiet { "from here on incident.io is the record" } } }
            }
        }
    }
}

fn going(what: &str, of: &str, far: Far) -> Markup {
    html! {
        section.card aria-busy="true" {
            h2 { (what) "…" }
            p.quiet { (of) }
            label.progress {
                span role="status" {
                    (far.done) @if let Some(total) = far.total { " of " (total.max(far.done)) } " done"
                    @if far.wait_ms >= 1_000 { ", waiting " (far.wait_ms / 1_000) " s as Opsgenie asks" }
                }
                @match far.total { Some(total) if total > 0 => progress value=(far.done.min(total)) max=(total) {}, _ => progress {} }
            }
        }
    }
}

fn form(action: &str) -> Markup {
    html! {
        form method="post" action=(action) enctype="multipart/form-data" autocomplete="off" data-once {
            fieldset {
                legend { "Source" }
                label.check { input type="radio" name="source" value="us" checked; span { "Opsgenie account, region US" } }
                label.check { input type="radio" name="source" value="eu"; span { "Opsgenie account, region EU" } }
                label.check { input type="radio" name="source" value="files"; span { "Saved files: JSON, NDJSON or CSV" } }
            }
            div.columns {
                div {
                    label { span { "API key" } input type="password" name="key" autocomplete="off" spellcheck="false"; small { "Needs read access. Empty: the one that was given before." } }
                    label.check { input type="checkbox" name="alerts" value="yes"; span { "Alerts in place of incidents, for a plan without incidents" } }
                }
                div {
                    label { span { "Files" } input type="file" name="files" multiple; small { "Up to 64 MB." } }
                    label { span { "Time zone of times that name none" } input name="zone" placeholder="UTC"; }
                    label { span { "Format of times in none of the usual spellings" } input name="format" placeholder="%d/%m/%Y %H:%M"; }
                }
            }
            label { span { "incident.io is the record from" } input type="date" name="cut-over"; small { "Drawn in the trend. Empty: its first incident." } }
            details {
                summary { "Mapping of people, services and incidents" }
                label { span { "One line each" } textarea name="mapping" rows="6" spellcheck="false" placeholder="person,old@example.com,new@example.com" {} }
                p.quiet { code { "person,ADDRESS,ADDRESS HERE" } " · " code { "service,NAME,NAME HERE" } " · " code { "priority,WORD,P3" } " · " code { "same,#12,INC-34" } " · " code { "distinct,#12" } }
            }
            button { "Plan" }
            p.quiet { "A plan reads and writes nothing." }
        }
    }
}

fn planned(action: &dyn Fn(&str) -> String, work: &Work, plan: &Plan) -> Markup {
    let blocked = plan.count(RowState::Blocked) + work.given.bad.len();
    html! {
        section.card {
            h2 { "2. Plan" }
            p.quiet { (work.given.what) ". Nothing was written. The plan is kept for an hour." }
            section.figures aria-label="Plan" {
                div.figure { span.name { "Ready" } strong #ready { (plan.count(RowState::Ready)) } }
                div.figure { span.name { "With a warning" } strong #warned { (plan.count(RowState::Warning)) } p.quiet { "imported; something is lost or to be looked at" } }
                div.figure { span.name { "Blocked" } strong { (blocked) } p.quiet { "not imported" } }
            }
            @if plan.requests > 0 {
                p.quiet { "A key of a team's integration sees that team's incidents only, and Opsgenie does not say so: compare " (plan.rows.len()) " with what Opsgenie shows." }
            }
            @for notice in &plan.notices { p.alert { (notice.text) } }
            @for note in work.given.notes.iter().take(SHOWN) { p.quiet { (note) "." } }
            form.buttons method="post" action=(action("run")) data-once {
                @if blocked > 0 { label.check { input type="checkbox" required; span { "Leave the " (blocked) " blocked ones out" } } }
                button { "Run this import" }
            }
            form method="post" action=(action("forget")) { button.plain { "Discard the plan" } }
        }
        (reasons(plan))
        @if !plan.people.is_empty() || !plan.services.is_empty() {
            section.card {
                h2 { "Who and what is not known here" }
                p.quiet { "They are kept by name. Say whom or what one is, and plan again." }
                form method="post" action=(action("plan")) enctype="multipart/form-data" data-once {
                    input type="hidden" name="again" value="yes";
                    div.columns {
                        (names("person", "People", "Address here", &plan.people))
                        (names("service", "Services", "Name here", &plan.services))
                    }
                    button { "Plan again with these" }
                }
            }
        }
        (overlap(&plan.overlap))
        @if !work.given.bad.is_empty() {
            section.card {
                h2 { "Not readable" }
                ul.plain { @for row in work.given.bad.iter().take(SHOWN) { li { (row.to_string()) } } }
                (more(work.given.bad.len()))
            }
        }
        (rows(plan))
    }
}

fn more(count: usize) -> Markup {
    html! { @if count > SHOWN { p.quiet { "And " (count - SHOWN) " more." } } }
}

fn reasons(plan: &Plan) -> Markup {
    let mut all: BTreeMap<&str, (usize, &Reason)> = BTreeMap::new();
    for reason in plan.rows.iter().flat_map(|row| &row.reasons) {
        all.entry(&reason.code).or_insert((0, reason)).0 += 1;
    }
    html! {
        @if !all.is_empty() {
            section.card {
                h2 { "Warnings, and what blocks" }
                table.rows.small {
                    thead { tr { th scope="col" { "Reason" } th.number scope="col" { "Incidents" } th scope="col" { "For example" } } }
                    tbody { @for (code, (count, reason)) in all { tr { th scope="row" { (code) } td.number { (count) } td { (reason.text) } } } }
                }
            }
        }
    }
}

fn names(kind: &str, title: &str, hint: &str, unmatched: &[Unmatched]) -> Markup {
    html! {
        div {
            h3 { (title) }
            @if unmatched.is_empty() { p.good { "All are matched." } }
            @else {
                table.rows.small {
                    thead { tr { th scope="col" { "In Opsgenie" } th.number scope="col" { "Incidents" } th scope="col" { "Here" } } }
                    tbody { @for one in unmatched.iter().take(SHOWN) { tr {
                        th.break scope="row" { (one.name) }
                        td.number { (one.incidents) }
                        td {
                            input type="hidden" name={ (kind) "-from" } value=(one.name);
                            input name={ (kind) "-to" } aria-label={ (hint) " of " (one.name) } placeholder=(hint);
                        }
                    } } }
                }
                (more(unmatched.len()))
            }
        }
    }
}

fn overlap(overlap: &Overlap) -> Markup {
    let pairs = |pairs: &[Pair]| {
        html! {
            table.rows.small {
                thead { tr { th scope="col" { "Opsgenie" } th scope="col" { "incident.io" } th scope="col" { "Title" } } }
                tbody { @for pair in pairs.iter().take(SHOWN) { tr {
                    td { (pair.imported_reference.as_deref().unwrap_or(&pair.imported.id)) }
                    td { (pair.known_reference.as_deref().unwrap_or(&pair.known.id)) }
                    td { (pair.title) }
                } } }
            }
            (more(pairs.len()))
        }
    };
    html! {
        @if !overlap.linked.is_empty() || !overlap.probable.is_empty() {
            section.card {
                h2 { "Known to both tools" }
                @if !overlap.linked.is_empty() { p { strong { (overlap.linked.len()) } " are linked, and counted once, as incident.io's:" } (pairs(&overlap.linked)) }
                @if !overlap.probable.is_empty() {
                    p { strong { (overlap.probable.len()) } " may be the same. They are counted twice until a line " code { "same,…" } " or " code { "distinct,…" } " of the mapping says which:" }
                    (pairs(&overlap.probable))
                }
            }
        }
    }
}

fn rows(plan: &Plan) -> Markup {
    // What needs a look comes first.
    let mut all: Vec<_> = plan.rows.iter().collect();
    all.sort_by_key(|row| match row.state {
        RowState::Blocked => 0,
        RowState::Warning => 1,
        RowState::Ready => 2,
    });
    html! {
        section.card {
            h2 { "Incidents" }
            div.scroll tabindex="0" role="region" aria-label="Planned incidents" { table.rows.small {
                thead { tr { th scope="col" { "Incident" } th scope="col" { "Created" } th scope="col" { "State" } th scope="col" { "Why" } th scope="col" { "Title" } } }
                tbody { @for row in all.iter().take(SHOWN) { tr {
                    th scope="row" { (row.reference.as_deref().unwrap_or(&row.id)) }
                    td { @match row.created_at { Some(at) => (when(at)), None => span.quiet { "unknown" } } }
                    td { @match row.state {
                        RowState::Ready => span.state.over { "ready" },
                        RowState::Warning => span.state.open { "warning" },
                        RowState::Blocked => span.state.dead { "blocked" },
                    } }
                    td { (row.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(", ")) }
                    td { (row.title) }
                } } }
            } }
            (more(plan.rows.len()))
        }
    }
}

fn finished(
    action: &dyn Fn(&str) -> String,
    summary: &Summary,
    bad: usize,
    before: Figure,
    after: Figure,
) -> Markup {
    let Summary { fetched, created, updated, unchanged, .. } = summary;
    let left_out = summary.left_out + bad as u64;
    let median =
        |figure: Figure| figure.median_seconds.map_or_else(|| "no figure".to_owned(), view::duration);
    html! {
        section.card {
            h2 { "3. Imported" }
            @if left_out > 0 && created + updated + unchanged == 0 {
                p.alert role="status" { "Nothing was imported: all " (left_out) " records were left out." }
            } @else {
                p.good role="status" { (created) " new, " (updated) " changed, " (unchanged) " unchanged, " (left_out) " left out; " (fetched) " records read." }
            }
            dl {
                dt { "Median time to restore before" } dd { (median(before)) " " span.quiet { "(n = " (before.count) ")" } }
                dt { "With Opsgenie's history" } dd { (median(after)) " " span.quiet { "(n = " (after.count) ")" } }
                dt { "Known to both" } dd { (summary.overlap.linked.len()) " counted once, " (summary.overlap.probable.len()) " to be reviewed" }
                @if !summary.overlap.twice.is_empty() { dt { "Imported by number and by identifier" } dd { (summary.overlap.twice.len()) " counted once" } }
            }
            @for problem in summary.problems.iter().take(SHOWN) { p.alert { (problem.text) } }
            (more(summary.problems.len()))
            form method="post" action=(action("forget")) { button.plain { "Done" } }
        }
    }
}

/// The fields of the form.
#[derive(Default)]
struct Fields {
    text: HashMap<String, String>,
    /// Names and whom or what they stand for, in the order of the form.
    lines: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
}

async fn fields(mut form: Multipart) -> Answer<Fields> {
    let unreadable = |error: axum::extract::multipart::MultipartError| {
        Trouble::new(
            error.status(),
            "The form cannot be read.",
            "Files may have 64 MB together; the command line takes larger ones.",
        )
    };
    let mut fields = Fields::default();
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        let name = field.name().unwrap_or_default().to_owned();
        if let Some(file) = field.file_name().map(str::to_owned) {
            let bytes = field.bytes().await.map_err(unreadable)?;
            if !file.is_empty() {
                fields.files.push((file, bytes.to_vec()));
            }
            continue;
        }
        let text = field.text().await.map_err(unreadable)?;
        match name.as_str() {
            "person-from" | "service-from" | "person-to" | "service-to" => fields.lines.push((name, text)),
            _ => drop(fields.text.insert(name, text.trim().to_owned())),
        }
    }
    Ok(fields)
}

impl Fields {
    fn get(&self, name: &str) -> &str {
        self.text.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Lines of a mapping, of the names that were given something.
    fn mapped(&self) -> Answer<String> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let mut from = "";
        for (name, text) in &self.lines {
            match name.as_str() {
                "person-from" | "service-from" => from = text,
                _ if text.trim().is_empty() => {}
                _ => {
                    let kind = name.trim_end_matches("-to");
                    let row = out.write_record([kind, from, text.trim()]);
                    row.map_err(|error| {
                        Trouble::invalid(format!("The mapping cannot be written: {error}."), "Try again.")
                    })?;
                }
            }
        }
        let bytes = out.into_inner().unwrap_or_default();
        Ok(String::from_utf8(bytes).unwrap_or_default())
    }
}

pub(super) async fn plan(
    State(console): State<Console>,
    Path(org): Path<String>,
    form: Multipart,
) -> Response {
    match begin_plan(&console, &org, form).await {
        Ok(org) => Redirect::to(&address(&org, Section::Migration)).into_response(),
        Err(trouble) => told(&console, &org, Some(trouble)).await,
    }
}

async fn begin_plan(console: &Console, org: &str, form: Multipart) -> Answer<OrgId> {
    let org = named(org)?;
    let host = &console.host;
    host.organisation(&org).await?;
    let fields = fields(form).await?;
    let (before, mut decisions) = host.migration_told(&org).await?;
    let mut given = if fields.get("again").is_empty() {
        read(&fields, aliases::priorities(&before), host.clock().now())?
    } else {
        let gone = || Trouble::invalid("The plan is not there any more.", "Give the source again.");
        console.migrations.of(&org).map(|work| work.given.clone()).ok_or_else(gone)?
    };
    given.mapping.push_str(&fields.mapped()?);
    if !given.mapping.trim().is_empty() {
        let bad = |error: String| {
            Trouble::invalid(format!("The mapping cannot be used: {error}."), "Correct that line.")
        };
        let mapped = mapping::read(&given.mapping).map_err(|error| bad(error.to_string()))?;
        let mut aliases =
            aliases::resolve(&mapped, &org, &**host.store()).await.map_err(|error| bad(error.to_string()))?;
        // What was said before and not now stays said.
        let told = |one: &Alias| (one.kind, one.kind.folded(&one.name));
        let anew: HashSet<_> = aliases.iter().map(told).collect();
        aliases.extend(before.into_iter().filter(|one| !anew.contains(&told(one))));
        given.prepare.aliases = Some(aliases);
        decisions.extend(mapped.incidents);
        given.prepare.decisions = Some(decisions.into_iter().collect());
    }
    if matches!(given.history, History::Account { .. }) {
        if given.prepare.key.is_none() && !host.has_migration_key(&org).await? {
            return Err(Trouble::invalid("There is no API key for Opsgenie.", "Paste one that may read."));
        }
        given.prepare.origin_map.clone_from(
            &console.setup.origin_map.iter().filter(|map| map.from.contains("opsgenie")).cloned().collect(),
        );
    }
    let work = Arc::new(Work { given, stage: Mutex::new(Stage::Planning(Far::default())) });
    let (host, whose, given) = (host.clone(), org.clone(), Arc::clone(&work));
    console.migrations.begin(&org, work, async move {
        let mut told = |step: &Step| given.set(Stage::Planning(Far::from(step)));
        let Given { history, prepare, .. } = &given.given;
        let plan = host.plan_migration(&whose, history.clone(), prepare, &mut told).await?;
        Ok(Stage::Planned(Arc::new(plan)))
    })?;
    Ok(org)
}

/// What the form says.
fn read(fields: &Fields, mut priorities: BTreeMap<String, String>, now: Timestamp) -> Answer<Given> {
    let key = Some(fields.get("key")).filter(|key| !key.is_empty());
    let cut_over = match fields.get("cut-over") {
        "" => None,
        text => {
            let day: NaiveDate = text.parse().map_err(|_| {
                Trouble::invalid(format!("`{text}` is no date."), "Dates are written like 2026-11-24.")
            })?;
            Some(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
        }
    };
    let prepare = Prepare { key: key.map(|key| Secret::new(key.to_owned())), cut_over, ..Prepare::default() };
    let alerts = !fields.get("alerts").is_empty();
    let mapping = fields.get("mapping");
    let mapping = if mapping.is_empty() { String::new() } else { format!("{mapping}\n") };
    let region = match fields.get("source") {
        "us" => OpsgenieRegion::Us,
        "eu" => OpsgenieRegion::Eu,
        "files" => {
            // What is typed now decides about the files too; its mistakes are told when it is resolved.
            let said = mapping::read(&mapping).map(|said| said.priorities).unwrap_or_default();
            priorities.extend(said.into_iter().map(|line| (AliasKind::Priority.folded(&line.from), line.to)));
            return from_files(
                fields,
                priorities,
                now,
                Given {
                    what: String::new(),
                    history: History::Saved(Vec::new()),
                    bad: Arc::default(),
                    notes: Arc::default(),
                    prepare,
                    mapping,
                },
            );
        }
        _ => return Err(Trouble::invalid("There is no source.", "Choose an account's region, or files.")),
    };
    let (year, month, day) = BEGINNING;
    let since = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    let since = since.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
    let account = OpsgenieAccount { region, alerts, alert_ids: false };
    let what = format!("All {}", described(&account));
    let history = History::Account { account, since, until: now };
    Ok(Given { what, history, bad: Arc::default(), notes: Arc::default(), prepare, mapping })
}

/// The same with what the files hold.
fn from_files(
    fields: &Fields,
    priorities: BTreeMap<String, String>,
    now: Timestamp,
    given: Given,
) -> Answer<Given> {
    let time_zone = match fields.get("zone") {
        "" => None,
        name => Some(name.parse().map_err(|_| {
            Trouble::invalid(
                format!("`{name}` is no time zone."),
                "Zones are named like Europe/Berlin, or UTC.",
            )
        })?),
    };
    let time_format: Option<TimeFormat> = match fields.get("format") {
        "" => None,
        format => {
            let bad = |error| {
                Trouble::invalid(format!("{error}."), "Correct the format and choose the files again.")
            };
            Some(format.parse().map_err(bad)?)
        }
    };
    let mut reading = Reading::new(now);
    (reading.instants.time_zone, reading.instants.time_format) = (time_zone, time_format);
    (reading.alerts, reading.priorities) = (!fields.get("alerts").is_empty(), priorities);
    let files = fields.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    let saved = files::read_all(files, &reading)
        .map_err(|error| Trouble::invalid(format!("{error}."), "Correct the files and choose them again."))?;
    let names: Vec<&str> = fields.files.iter().map(|(name, _)| name.as_str()).collect();
    let what = format!("{} records of {}", saved.records(), names.join(", "));
    let history = History::Saved(saved.pieces(PIECE));
    Ok(Given { what, history, bad: Arc::new(saved.bad), notes: Arc::new(saved.notes), ..given })
}

pub(super) async fn run(State(console): State<Console>, Path(org): Path<String>) -> Response {
    match begin_run(&console, &org).await {
        Ok(org) => Redirect::to(&address(&org, Section::Migration)).into_response(),
        Err(trouble) => told(&console, &org, Some(trouble)).await,
    }
}

async fn begin_run(console: &Console, org: &str) -> Answer<OrgId> {
    let org = named(org)?;
    let work = console.migrations.of(&org);
    let Some(work) = work.filter(|work| matches!(work.stage(), Stage::Planned(_))) else {
        return Err(Trouble::invalid("There is no plan to run.", "Make one first."));
    };
    let given = work.given.clone();
    let work = Arc::new(Work { given, stage: Mutex::new(Stage::Running(Far::default())) });
    let (host, whose, imported) = (console.host.clone(), org.clone(), Arc::clone(&work));
    console.migrations.begin(&org, work, async move { import(&host, &whose, &imported).await })?;
    Ok(org)
}

async fn import(host: &Host, org: &OrgId, work: &Arc<Work>) -> Answer<Stage> {
    host.prepare_migration(org, work.given.prepare.clone()).await?;
    let progress = Arc::clone(work);
    let mut told = |step: &Step| progress.set(Stage::Running(Far::from(step)));
    let summary = host.run_migration(org, work.given.history.clone(), &mut told).await?;
    // Deriving anew is the schedule's business here.
    let trouble = |error: anyhow::Error| {
        Trouble::invalid(format!("{error:#}."), "The import is done; the figures under DORA MTTR tell.")
    };
    let (before, after) = figures(host, org).await.map_err(trouble)?;
    Ok(Stage::Done { summary: Arc::new(summary), before, after })
}

pub(super) async fn forget(State(console): State<Console>, Path(org): Path<String>) -> Response {
    let forgotten = named(&org).and_then(|named| console.migrations.forget(&named).map(|()| named));
    match forgotten {
        Ok(org) => Redirect::to(&address(&org, Section::Migration)).into_response(),
        Err(trouble) => told(&console, &org, Some(trouble)).await,
    }
}

pub(super) async fn undo(State(console): State<Console>, Path(org): Path<String>) -> Response {
    let undone = async {
        let org = named(&org)?;
        console.migrations.forget(&org)?;
        console.host.undo_migration(&org).await?;
        Ok(org)
    };
    let undone: Answer<OrgId> = undone.await;
    match undone {
        Ok(org) => Redirect::to(&address(&org, Section::Migration)).into_response(),
        Err(trouble) => told(&console, &org, Some(trouble)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Arc<Work> {
        let given = Given {
            what: "2 records of old.csv".into(),
            history: History::Saved(vec![b"{}".to_vec()]),
            bad: Arc::default(),
            notes: Arc::default(),
            prepare: Prepare::default(),
            mapping: String::new(),
        };
        Arc::new(Work { given, stage: Mutex::new(Stage::Running(Far::default())) })
    }

    #[tokio::test]
    async fn a_panic_leaves_no_organisation_busy() {
        let (desk, org) = (Arc::new(Desk::default()), "acme".parse().unwrap());
        let broken = work();
        // It would keep what it led to for an hour.
        let ended = desk.begin(&org, Arc::clone(&broken), async { panic!("a bug") }).unwrap();
        while broken.is_busy() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(broken.stage(), Stage::Failed(..)));
        let (next, waits) = (work(), std::future::pending());
        assert!(desk.begin(&org, Arc::clone(&next), waits).is_ok());
        assert!(desk.begin(&org, work(), std::future::pending()).is_err(), "one at a time");
        assert!(desk.forget(&org).is_err());
        ended.abort();
    }

    #[tokio::test]
    async fn what_was_uploaded_is_not_kept_for_ever() {
        let desk = Arc::new(Desk { works: Mutex::default(), kept: Duration::ZERO });
        let org = "acme".parse().unwrap();
        let failed = work();
        let task = async { Err(Trouble::invalid("No.", "Try again.")) };
        desk.begin(&org, Arc::clone(&failed), task).unwrap().await.unwrap();
        assert!(desk.of(&org).is_none());
        assert_eq!(Arc::strong_count(&failed), 1, "nothing holds the files any more");

        // What took its place is another's business.
        let next = work();
        drop(desk.begin(&org, Arc::clone(&next), std::future::pending()).unwrap());
        desk.expire(&org, &failed);
        assert!(desk.of(&org).is_some_and(|kept| Arc::ptr_eq(&kept, &next)));
    }
}
