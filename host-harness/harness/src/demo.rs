//! `demo`: the whole program at work on a simulated account, in the order in which a user meets it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use koalr_host::cache::ModuleCache;
use koalr_host::contract::Settings;
use koalr_host::id::OrgId;
use koalr_host::port::{DeliveryFilter, HostService, HostUser, IncidentFilter, JobKind, OriginMapping};
use koalr_host::scheduler::Totals;
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{SealingKey, Secret};
use koalr_host::{Connect, Host};
use koalr_simulator::{Change, Mode, NewIncident, Options, Simulator, WebhookTarget};

use crate::cli::{BucketArg, ClockArg, ClockEndArg, Database, Demo, Json, Mttr, NetworkArgs, OneOrg};
use crate::console::Setup;
use crate::out::{print, say};
use crate::shutdown::Shutdown;
use crate::verbs::{connect, mttr, serve, sync};
use crate::{open, view};

/// Secrets of the simulated account: they open nothing but this demo.
const API_KEY: &str = "inc_simulated_key";
const WEBHOOK_SECRET: &str = "whsec_c2ltdWxhdGVkLXdlYmhvb2stc2lnbmluZy1rZXk=";

pub(crate) async fn run(options: Demo) -> Result<()> {
    let shutdown = Shutdown::listen()?;
    let org: OrgId = "acme".parse()?;
    let directory = tempfile::tempdir().context("no place for the demo's database")?;
    let database = Database {
        db: directory.path().join("demo.db"),
        key_file: None,
        plugin: None,
        allow_origin: Vec::new(),
        network: NetworkArgs::default(),
    };
    // A fixed address first, so that what is printed can be copied; any free one if it is taken.
    let (listener, address) = match serve::listen(options.listen).await {
        Ok(bound) => bound,
        Err(_) => serve::listen(([127, 0, 0, 1], 0).into()).await?,
    };

    heading("1. A simulated incident.io")?;
    // The account's present lies an hour back: what follows happens in that hour.
    let hour_ago = Utc::now() - TimeDelta::hours(1);
    let simulator = Simulator::start(Options::new(options.incidents, options.seed, hour_ago)).await?;
    say!("{} incidents of 90 days and before, on {}", options.incidents, simulator.base_url())?;

    heading("2. The component in its sandbox")?;
    let host = load(&database).await?;
    let (descriptor, surface) = (host.plugin().descriptor(), host.plugin().surface());
    say!(
        "{} {}, {} bytes; it imports {} interfaces and nothing else:",
        descriptor.name,
        descriptor.version,
        host.plugin().size(),
        surface.imports.len()
    )?;
    say!("  {}", surface.imports.join("\n  "))?;

    heading("3. Connect")?;
    let target = format!("http://{address}/webhooks/{}/{org}", descriptor.name);
    let connection = host.connect(&org, connection_to(&simulator)).await?;
    say!("{}", connect::describe(org.as_str(), &connection))?;
    say!("  webhook   {target}")?;
    import_directory(&host, &org, &simulator).await?;
    simulator.set_webhook(Some(WebhookTarget::new(&target, WEBHOOK_SECRET)))?;
    // The schedule would import at the same time, and what is printed of the import would be a part of it.
    let (imported, scheduled) = tokio::sync::oneshot::channel::<()>();
    let server = {
        let origin_map = connection_to(&simulator).origin_map;
        let setup = Setup { address, token: None, public_url: None, origin_map };
        let scheduled = async move {
            if scheduled.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let (host, shutdown) = (host.clone(), shutdown.clone());
        tokio::spawn(async move { serve::serve(host, listener, scheduled, setup, &shutdown).await })
    };

    heading("4. Import 90 days, then read the timelines")?;
    let totals = run_job(&host, &org, JobKind::Backfill, &shutdown).await?;
    say!("{}", sync::describe(JobKind::Backfill, &totals))?;
    let totals = run_job(&host, &org, JobKind::Poll, &shutdown).await?;
    say!("{}", sync::describe(JobKind::Poll, &totals))?;

    heading("5. One incident, followed by signed webhooks")?;
    follow(&host, &org, &simulator).await?;

    // Its figures are provisional until its timeline is read.
    let totals = run_job(&host, &org, JobKind::Poll, &shutdown).await?;
    say!("{}", sync::describe(JobKind::Poll, &totals))?;

    heading("6. Incidents")?;
    let newest = IncidentFilter { limit: Some(12), ..IncidentFilter::default() };
    let page = host.store().incidents(&org, &newest).await?;
    say!("{}", view::incident_table(&page.incidents, host.clock().now()))?;
    say!("the newest {} of {}", page.incidents.len(), page.total)?;

    heading("7. Time to restore")?;
    print(&mttr::answer(&host, &last_90_days(&database, &org)).await?)?;

    if options.exit {
        server.abort();
        simulator.stop().await;
        return Ok(());
    }
    let _ = imported.send(());
    heading("Still serving")?;
    say!("  console    http://{address}/")?;
    say!("  webhooks   {target}")?;
    say!("  health     http://{address}/healthz, http://{address}/readyz")?;
    say!("  metrics    http://{address}/metrics")?;
    say!("  look around with: koalr-harness incidents {} --org {org}", database.as_typed())?;
    say!("Ctrl-C stops, and removes the demo's database.")?;
    server.await.context("the server was cut off")??;
    simulator.stop().await;
    Ok(())
}

fn heading(text: &str) -> Result<()> {
    Ok(say!("\n== {text} ==")?)
}

async fn load(database: &Database) -> Result<Host> {
    let store = SqliteStore::open(&database.db)?;
    let mut builder = Host::builder(Arc::new(store), SealingKey::generate()?).allow(open::ORIGINS);
    if let Some(directory) = open::cache_directory() {
        builder = builder.cache(ModuleCache::new(directory));
    }
    Ok(builder.load(open::BUILT_IN).await?)
}

fn connection_to(simulator: &Simulator) -> Connect {
    let settings = Settings { include_private: true, ..Settings::default() };
    let secret = |text: &str| Secret::new(text.to_string());
    Connect {
        credentials: vec![(connect::API_KEY.into(), secret(API_KEY))],
        secrets: vec![(connect::WEBHOOK_SECRET.into(), vec![secret(WEBHOOK_SECRET)])],
        settings,
        origin_map: vec![OriginMapping { from: "https://api.incident.io".into(), to: simulator.base_url() }],
    }
}

/// The host knows most of the account's people and services, as a real one would.
async fn import_directory(host: &Host, org: &OrgId, simulator: &Simulator) -> Result<()> {
    let users = simulator.users().into_iter().enumerate().map(|(n, (name, email))| HostUser {
        id: format!("user-{n}"),
        email,
        name: Some(name),
    });
    let services = simulator.services().into_iter().enumerate().map(|(n, (name, external_id))| HostService {
        id: format!("service-{n}"),
        name,
        external_ids: vec![external_id],
        aliases: vec![],
    });
    let users = host.import_users(org, users.collect()).await?;
    let services = host.import_services(org, services.collect()).await?;
    say!("  directory {} users, {} services to link to", users.added, services.added)?;
    Ok(())
}

async fn run_job(host: &Host, org: &OrgId, kind: JobKind, shutdown: &Shutdown) -> Result<Totals> {
    sync::with_progress(host, org, kind, false, shutdown).await
}

/// From declaration to closure; each move is told by a webhook, and what the store holds is printed after it.
async fn follow(host: &Host, org: &OrgId, simulator: &Simulator) -> Result<()> {
    let service = simulator.services().into_iter().next().map(|(name, _)| name);
    let lead = simulator.users().into_iter().next().map(|(_, email)| email);
    let new = NewIncident {
        name: "Checkout answers 502 for one request in three".into(),
        severity: simulator.severities().into_iter().last(),
        services: service.into_iter().collect(),
        mode: Mode::Standard,
        private: false,
        lead,
    };
    let start = Utc::now() - TimeDelta::minutes(48);
    let at = |minutes: i64| start + TimeDelta::minutes(minutes);
    let id = simulator.declare(new, at(0))?;
    let mut told = 0;
    shown(host, org, simulator, &id, &mut told).await?;
    for (minutes, status, message) in [
        (9, "Fixing", "A deploy an hour ago holds too many connections; rolling back."),
        (31, "Monitoring", "Rolled back; error rate falls."),
        (43, "closed", "No errors for ten minutes."),
    ] {
        let change =
            Change { status: Some(status.into()), message: Some(message.into()), ..Change::default() };
        simulator.update(&id, change, at(minutes))?;
        shown(host, org, simulator, &id, &mut told).await?;
    }
    Ok(())
}

/// Waits until the webhooks are delivered and applied, then prints what they led to.
async fn shown(host: &Host, org: &OrgId, simulator: &Simulator, id: &str, told: &mut usize) -> Result<()> {
    simulator.settle().await;
    let mut rows = loop {
        let rows = host.store().deliveries(org, &DeliveryFilter::default()).await?;
        // What a delivery led to is noted after its effect.
        if rows.iter().all(|row| row.finished_at.is_some()) {
            break rows;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    rows.reverse();
    for row in rows.iter().skip(*told) {
        let outcome = row.outcome.as_deref().or(row.error.as_deref()).unwrap_or("done");
        say!("  webhook {} -> {outcome}", row.event_type)?;
    }
    *told = rows.len();
    let Some(record) = host.store().find_incident(org, id).await? else { return Ok(()) };
    let record = &record;
    let restored = view::restored_seconds(record, host.clock().now())
        .map_or_else(String::new, |s| format!(", restored in {}", view::duration(s)));
    say!(
        "{} is {} ({}), {}{restored}",
        record.reference.as_deref().unwrap_or(id),
        view::phase(record.phase),
        view::printable(&record.status),
        record.priority.map_or("no priority", view::priority),
    )?;
    Ok(())
}

fn last_90_days(database: &Database, org: &OrgId) -> Mttr {
    Mttr {
        target: OneOrg { database: database.clone(), org: org.clone(), json: Json { json: false } },
        since: None,
        until: None,
        bucket: BucketArg::Week,
        time_zone: chrono_tz::UTC,
        clock: ClockArg::Created,
        clock_end: ClockEndArg::Resolved,
        priority: vec![],
        service: vec![],
        source: vec![],
        private: true,
        no_private: false,
        csv: false,
        svg: None,
        explain: None,
    }
}
