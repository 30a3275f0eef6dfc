//! `migrate opsgenie`: plan, run, status, undo.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use koalr_files::opsgenie::files::{self, BadRow, Reading, Saved};
use koalr_files::{decode, opsgenie::mapping};
use koalr_host::Host;
use koalr_host::contract::{MttrQuery, OpsgenieAccount, OpsgenieRegion, Statistics, Step, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::migration::{History, Plan, Prepare, SOURCES, Summary, days_left};
use koalr_host::port::Removed;
use serde::Serialize;

use super::sync::derive_anew;
use super::{NothingImported, print_json, read};
use crate::cli::{self, OneOrg, RegionArg};
use crate::out::{note, print, say, tell};
use crate::progress::Progress;
use crate::shutdown::Shutdown;
use crate::view::{counted, migration as view, printable};
use crate::{aliases, open, secrets};

/// Bytes of a piece of saved records: small next to what a component may hold, and large enough that few are needed.
pub(crate) const PIECE: usize = 1_000_000;
/// Opsgenie was founded in 2012.
pub(crate) const BEGINNING: (i32, u32, u32) = (2012, 1, 1);

#[derive(Serialize)]
struct PlanDocument<'a> {
    organisation: &'a str,
    days_left: Option<u32>,
    ready: usize,
    warning: usize,
    blocked: usize,
    #[serde(flatten)]
    plan: &'a Plan,
    bad_rows: &'a [BadRow],
}

#[derive(Serialize)]
struct RunDocument<'a> {
    organisation: &'a str,
    #[serde(flatten)]
    summary: &'a Summary,
    bad_rows: &'a [BadRow],
    /// Time to restore in seconds over all that was imported until now, of incident.io's incidents alone.
    before: Figure,
    /// The same of all incidents.
    after: Figure,
}

#[derive(Serialize)]
struct UndoDocument<'a> {
    organisation: &'a str,
    removed: bool,
    #[serde(flatten)]
    what: Removed,
}

/// A time to restore.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figure {
    pub(crate) count: u64,
    pub(crate) median_seconds: Option<f64>,
    pub(crate) mean_seconds: Option<f64>,
}

impl From<&Statistics> for Figure {
    fn from(of: &Statistics) -> Figure {
        let durations = of.durations.as_ref();
        Figure {
            count: of.count,
            median_seconds: durations.map(|d| d.median),
            mean_seconds: durations.map(|d| d.mean),
        }
    }
}

pub(crate) async fn plan(options: cli::MigratePlan) -> Result<()> {
    let options_of = &options.history;
    let Given { host, history, bad, prepare, .. } = given(options_of, None).await?;
    let target = &options_of.target;
    // So that a run with fewer words asks nobody else.
    let remembered = Prepare { origin_map: prepare.origin_map.clone(), ..Prepare::default() };
    host.prepare_migration(&target.org, remembered).await?;
    mapped_origins(&host, &target.org, &history).await?;
    let progress = Progress::new("plan", target.json.json);
    let planned =
        host.plan_migration(&target.org, history, &prepare, &mut |step: &Step| progress.step(step)).await;
    progress.finish();
    let plan = planned?;
    let days_left = days_left(host.clock().now());
    if target.json.json {
        use koalr_host::migration::State;
        print_json(&PlanDocument {
            organisation: target.org.as_str(),
            days_left,
            ready: plan.count(State::Ready),
            warning: plan.count(State::Warning),
            blocked: plan.count(State::Blocked) + bad.len(),
            plan: &plan,
            bad_rows: &bad,
        })?;
    } else {
        print(&view::plan(&target.org, &plan, &bad, days_left, options.rows))?;
    }
    let blocked = plan.rows.len() + bad.len();
    if view::importable(&plan) == 0 && blocked > 0 {
        return Err(NothingImported(format!("a run would leave out all of it ({blocked})")).into());
    }
    Ok(())
}

pub(crate) async fn run(options: cli::MigrateRun) -> Result<()> {
    let target = &options.history.target;
    let Given { host, history, bad, holds_records, prepare } =
        given(&options.history, options.cut_over).await?;
    if !(bad.is_empty() || options.skip_bad && holds_records) {
        tell(format_args!("{}", view::bad_rows(&bad)));
        let places = view::places(bad.len());
        let why = match holds_records {
            true => {
                format!("{places} of the files cannot be read; mend that, or leave it out with --skip-bad")
            }
            false => format!("the files hold no record that can be read; mend {places}"),
        };
        return Err(NothingImported(why).into());
    }
    host.prepare_migration(&target.org, prepare).await?;
    mapped_origins(&host, &target.org, &history).await?;
    let progress = Progress::new("migrate", target.json.json);
    let done = host.run_migration(&target.org, history, &mut |step: &Step| progress.step(step)).await;
    progress.finish();
    let summary = done?;
    derive_anew(&host, &target.org, &Shutdown::listen()?).await?;
    let (before, after) = figures(&host, &target.org).await?;
    if target.json.json {
        let organisation = target.org.as_str();
        print_json(&RunDocument { organisation, summary: &summary, bad_rows: &bad, before, after })?;
    } else {
        print(&view::summary(&target.org, &summary, &bad, before, after))?;
    }
    let left_out = summary.left_out + bad.len() as u64;
    if left_out > 0 && summary.created + summary.updated + summary.unchanged == 0 {
        return Err(NothingImported(format!("all of it was left out ({left_out})")).into());
    }
    Ok(())
}

pub(crate) async fn status(options: OneOrg) -> Result<()> {
    let host = open::host(&options.database).await?;
    let status = host.migration_status(&options.org).await?;
    if options.json.json {
        return print_json(&view::document(&options.org, &status));
    }
    print(&view::status(&options.org, &status))?;
    Ok(())
}

pub(crate) async fn undo(options: cli::MigrateUndo) -> Result<()> {
    let host = open::host(&options.target.database).await?;
    let org = &options.target.org;
    let json = options.target.json.json;
    if !options.yes {
        let status = host.migration_status(org).await?;
        let what = Removed { incidents: status.incidents + status.alerts, events: 0, aliases: 0 };
        if json {
            return print_json(&UndoDocument { organisation: org.as_str(), removed: false, what });
        }
        say!(
            "{} would be removed with their timelines, the mapping and Opsgenie's key. Repeat with --yes.",
            view::imported(what.incidents)
        )?;
        return Ok(());
    }
    let what = host.undo_migration(org).await?;
    if json {
        return print_json(&UndoDocument { organisation: org.as_str(), removed: true, what });
    }
    say!(
        "Removed {} with {}, and {} of the mapping.",
        view::imported(what.incidents),
        counted(what.events, "timeline entry", "timeline entries"),
        counted(what.aliases, "name", "names")
    )?;
    Ok(())
}

/// Says where requests to Opsgenie go that do not go to Opsgenie: it may have been decided long ago.
async fn mapped_origins(host: &Host, org: &OrgId, history: &History) -> Result<()> {
    let History::Account { account, .. } = history else { return Ok(()) };
    let origin = match account.region {
        OpsgenieRegion::Us => "https://api.opsgenie.com",
        OpsgenieRegion::Eu => "https://api.eu.opsgenie.com",
    };
    for mapping in host.organisation(org).await?.origin_map {
        if mapping.from == origin {
            note!("Requests for {origin} go to {}, as --map-origin said for {org}.", printable(&mapping.to));
        }
    }
    Ok(())
}

/// What the options say, and the host.
struct Given {
    host: Host,
    history: History,
    bad: Vec<BadRow>,
    /// Whether there is anything to import, as far as one can see before.
    holds_records: bool,
    prepare: Prepare,
}

/// Reads files and mapping. Stores nothing.
async fn given(options: &cli::History, cut_over: Option<NaiveDate>) -> Result<Given> {
    let org = &options.target.org;
    let mapped = match &options.mapping {
        Some(path) => {
            let name = path.display();
            let bytes = read(path)?;
            let text = decode(&bytes).map_err(|why| anyhow!("{name} {why}"))?;
            Some(mapping::read(&text).with_context(|| name.to_string())?)
        }
        None => None,
    };
    let host = open::host(&options.target.database).await?;
    host.organisation(org).await?;
    let aliases = match &mapped {
        Some(mapped) => Some(aliases::resolve(mapped, org, &**host.store()).await?),
        None => None,
    };
    let saved = match options.files.is_empty() {
        true => None,
        false => {
            // What was said before stays said.
            let said = match &aliases {
                Some(aliases) => aliases::priorities(aliases),
                None => aliases::priorities(&host.migration_told(org).await?.0),
            };
            Some(read_files(options, said, host.clock().now())?)
        }
    };
    let key = match (&options.api_key_env, options.region) {
        (Some(variable), _) => Some(secrets::from_variable(variable)?),
        (None, Some(_)) if !host.has_migration_key(org).await? => {
            Some(secrets::required(None, "Opsgenie API key (input is hidden)")?)
        }
        _ => None,
    };
    let prepare = Prepare {
        key,
        origin_map: options.map_origin.clone(),
        aliases,
        decisions: mapped.map(|mapped| mapped.incidents),
        cut_over: cut_over.map(midnight),
    };
    let (history, bad, holds_records) = match (saved, options.region) {
        (Some(saved), _) => {
            let holds_records = saved.records() > 0;
            (History::Saved(saved.pieces(PIECE)), saved.bad, holds_records)
        }
        (None, Some(region)) => (live(options, region, host.clock().now()), Vec::new(), true),
        (None, None) => bail!("name saved files, or the live account's region: --region us or --region eu"),
    };
    Ok(Given { host, history, bad, holds_records, prepare })
}

fn live(options: &cli::History, region: RegionArg, now: Timestamp) -> History {
    let region = match region {
        RegionArg::Us => OpsgenieRegion::Us,
        RegionArg::Eu => OpsgenieRegion::Eu,
    };
    let (year, month, day) = BEGINNING;
    let beginning = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    History::Account {
        account: OpsgenieAccount { region, alerts: options.alerts, alert_ids: false },
        since: midnight(options.since.unwrap_or(beginning)),
        until: options.until.map_or(now, midnight),
    }
}

fn midnight(day: NaiveDate) -> Timestamp {
    DateTime::<Utc>::from_naive_utc_and_offset(day.and_time(NaiveTime::MIN), Utc).timestamp_micros()
}

fn read_files(options: &cli::History, priorities: BTreeMap<String, String>, now: Timestamp) -> Result<Saved> {
    let mut reading = Reading::new(now);
    reading.instants.time_zone = options.time_zone;
    reading.instants.time_format = options.time_format.clone();
    reading.columns = options.column.iter().cloned().collect();
    reading.alerts = options.alerts;
    reading.priorities = priorities;
    let mut given = Vec::with_capacity(options.files.len());
    for path in &options.files {
        given.push((path.display().to_string(), read(path)?));
    }
    let given = given.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    let saved = files::read_all(given, &reading)?;
    // A column that somebody counts on must not be passed over without a word.
    for note in &saved.notes {
        note!("{}", printable(note));
    }
    Ok(saved)
}

/// Time to restore from the first imported incident until now: of incident.io's incidents alone, and of all.
pub(crate) async fn figures(host: &Host, org: &OrgId) -> Result<(Figure, Figure)> {
    let now = host.clock().now();
    let first = host.store().first_creation(org, &SOURCES).await?.unwrap_or(now - 1);
    let query =
        |sources: Vec<String>| MttrQuery { sources, ..MttrQuery::new(vec![first, now.max(first + 1)]) };
    let own = vec![host.plugin().descriptor().name.clone()];
    let before = host.mttr(org, &query(own)).await?;
    let after = host.mttr(org, &query(vec![])).await?;
    Ok((Figure::from(&before.overall.statistics), Figure::from(&after.overall.statistics)))
}
