//! `migrate opsgenie`: plan, run, status, undo.

use anyhow::{Context, Result, bail};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use koalr_files::opsgenie::files::{self, BadRow, Reading, Saved};
use koalr_files::opsgenie::mapping;
use koalr_host::Host;
use koalr_host::contract::{MttrQuery, OpsgenieAccount, OpsgenieRegion, Statistics, Step, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::migration::{History, Plan, Prepare, SOURCES, Summary, days_left};
use koalr_host::port::Removed;
use serde::Serialize;

use super::sync::derive_anew;
use super::{print_json, read};
use crate::cli::{self, OneOrg, RegionArg};
use crate::progress::Progress;
use crate::shutdown::Shutdown;
use crate::view::migration as view;
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
    let Given { host, history, bad, prepare } = given(options_of, None).await?;
    let target = &options_of.target;
    let progress = Progress::new("plan", target.json.json);
    let planned =
        host.plan_migration(&target.org, history, &prepare, &mut |step: &Step| progress.step(step)).await;
    progress.finish();
    let plan = planned?;
    let days_left = days_left(host.clock().now());
    if target.json.json {
        use koalr_host::migration::State;
        return print_json(&PlanDocument {
            organisation: target.org.as_str(),
            days_left,
            ready: plan.count(State::Ready),
            warning: plan.count(State::Warning),
            blocked: plan.count(State::Blocked) + bad.len(),
            plan: &plan,
            bad_rows: &bad,
        });
    }
    print!("{}", view::plan(&target.org, &plan, &bad, days_left, options.rows));
    Ok(())
}

pub(crate) async fn run(options: cli::MigrateRun) -> Result<()> {
    let target = &options.history.target;
    let Given { host, history, bad, prepare } = given(&options.history, options.cut_over).await?;
    if !bad.is_empty() && !options.skip_bad {
        eprint!("{}", view::bad_rows(&bad));
        bail!(
            "nothing was imported: {} of the files cannot be read; mend that, or leave it out with --skip-bad",
            view::places(bad.len())
        );
    }
    host.prepare_migration(&target.org, prepare).await?;
    let progress = Progress::new("migrate", target.json.json);
    let done = host.run_migration(&target.org, history, &mut |step: &Step| progress.step(step)).await;
    progress.finish();
    let summary = done?;
    derive_anew(&host, &target.org, &Shutdown::listen()?).await?;
    let (before, after) = figures(&host, &target.org).await?;
    if target.json.json {
        let organisation = target.org.as_str();
        return print_json(&RunDocument { organisation, summary: &summary, bad_rows: &bad, before, after });
    }
    print!("{}", view::summary(&target.org, &summary, &bad, before, after));
    Ok(())
}

pub(crate) async fn status(options: OneOrg) -> Result<()> {
    let host = open::host(&options.database).await?;
    let status = host.migration_status(&options.org).await?;
    if options.json.json {
        return print_json(&view::document(&options.org, &status));
    }
    print!("{}", view::status(&options.org, &status));
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
        println!(
            "{} would be removed with their timelines, the mapping and Opsgenie's key. Repeat with --yes.",
            view::imported(what.incidents)
        );
        return Ok(());
    }
    let what = host.undo_migration(org).await?;
    if json {
        return print_json(&UndoDocument { organisation: org.as_str(), removed: true, what });
    }
    println!(
        "Removed {} with {} timeline entries, and {} names of the mapping.",
        view::imported(what.incidents),
        what.events,
        what.aliases
    );
    Ok(())
}

/// What the options say, and the host.
struct Given {
    host: Host,
    history: History,
    bad: Vec<BadRow>,
    prepare: Prepare,
}

/// Reads files and mapping. Stores nothing.
async fn given(options: &cli::History, cut_over: Option<NaiveDate>) -> Result<Given> {
    let org = &options.target.org;
    let saved = (!options.files.is_empty()).then(|| read_files(options)).transpose()?;
    let mapped = match &options.mapping {
        Some(path) => {
            let text =
                String::from_utf8(read(path)?).with_context(|| format!("{} is not UTF-8", path.display()))?;
            Some(mapping::read(&text).with_context(|| path.display().to_string())?)
        }
        None => None,
    };
    let host = open::host(&options.target.database).await?;
    host.organisation(org).await?;
    let aliases = match &mapped {
        Some(mapped) => Some(aliases::resolve(mapped, org, &**host.store()).await?),
        None => None,
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
    let (history, bad) = match (saved, options.region) {
        (Some(mut saved), _) => (History::Saved(saved.pieces(PIECE)), std::mem::take(&mut saved.bad)),
        (None, Some(region)) => (live(options, region, host.clock().now()), Vec::new()),
        (None, None) => bail!("name saved files, or the live account's region: --region us or --region eu"),
    };
    Ok(Given { host, history, bad, prepare })
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

fn read_files(options: &cli::History) -> Result<Saved> {
    let reading = Reading {
        time_zone: options.time_zone,
        time_format: options.time_format.clone(),
        columns: options.column.iter().cloned().collect(),
        alerts: options.alerts,
    };
    let mut saved = Saved::default();
    for path in &options.files {
        saved.merge(files::read(&path.display().to_string(), &read(path)?, &reading)?);
    }
    // A column that somebody counts on must not be passed over without a word.
    for unused in &saved.unused {
        eprintln!("{}", crate::view::printable(unused));
    }
    if saved.records() == 0 && saved.bad.is_empty() {
        bail!("the files hold no incident and no alert");
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
