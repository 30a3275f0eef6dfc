//! `org show`: how an organisation's sync stands.

use anyhow::Result;
use koalr_host::HostError;
use koalr_host::contract::AccountTimestamp;
use koalr_host::id::OrgId;
use koalr_host::port::{
    Ended, JobKind, Organisation, Organisations, Records, Reports, SyncReport, UnknownTimestamp, Unmatched,
};
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{Keyring, VaultError};
use serde::Serialize;

use super::print_json;
use super::show::{JobDocument, job, state};
use crate::cli::{Database, OneOrg};
use crate::open;
use crate::out::print;
use crate::view::timestamps::{self, ChoiceView};
use crate::view::{self, counted, printable};

/// Unmatched people and services that are named.
const NAMED: u32 = 20;

#[derive(Serialize)]
struct Document<'a> {
    organisation: &'a str,
    state: &'static str,
    plugin: &'a str,
    account: Option<&'a str>,
    key_name: Option<&'a str>,
    roles: &'a [String],
    /// What the key cannot see, and what it should not be able to do.
    warnings: &'a [String],
    /// Null where nothing is sealed.
    sealing_key_fits: Option<bool>,
    connected_at: Option<String>,
    settings: SettingsDocument<'a>,
    /// What `settings.timestamps` can name.
    account_timestamps: &'a [AccountTimestamp],
    /// Those that may be the end of incidents.
    unknown_timestamps: &'a [UnknownTimestamp],
    incidents: u64,
    withheld_private_incidents: u64,
    timelines_waiting: u64,
    parts: Parts,
    unmatched_people: UnmatchedDocument<'a>,
    unmatched_services: UnmatchedDocument<'a>,
    deliveries: Deliveries<'a>,
}

#[derive(Serialize)]
struct SettingsDocument<'a> {
    severity_overrides: Vec<(&'a str, &'static str)>,
    service_fields: &'a [String],
    timestamps: ChoiceView<'a>,
    include_private: bool,
    history_days: Option<u32>,
}

#[derive(Serialize)]
struct Parts {
    backfill: Option<JobDocument>,
    poll: Option<JobDocument>,
    rederive: Option<JobDocument>,
}

#[derive(Serialize)]
struct UnmatchedDocument<'a> {
    total: u64,
    /// Those with the most incidents.
    first: &'a [Unmatched],
}

#[derive(Serialize)]
struct Deliveries<'a> {
    last_received_at: Option<String>,
    pending: u64,
    ended: &'a [Ended],
}

pub(crate) async fn show(options: OneOrg) -> Result<()> {
    let OneOrg { database, org, json } = &options;
    let store = open::store(database)?;
    let unknown = || HostError::UnknownOrganisation(org.clone());
    let organisation = store.organisation(org).await?.ok_or_else(unknown)?;
    let report = store.sync_report(org, NAMED).await?;
    let ended = store.endings(org).await?;
    let sealing_key_fits = sealing_key_fits(&store, org, database).await?;
    let unknown = store.unknown_timestamps(org).await?;
    let document = document(&store, &organisation, &report, &ended, &unknown, sealing_key_fits).await?;
    if json.json {
        return print_json(&document);
    }
    print(&text(org, &document))?;
    Ok(())
}

/// Whether the key file opens what is stored of the organisation's secrets; none if nothing is.
async fn sealing_key_fits(store: &SqliteStore, org: &OrgId, database: &Database) -> Result<Option<bool>> {
    let sealed = store.data_key(org).await?;
    let fits = |sealed| Keyring::load(&open::key_file(database)).is_ok_and(|keys| keys.opens(org, &sealed));
    Ok(sealed.map(fits))
}

async fn document<'a>(
    store: &SqliteStore,
    organisation: &'a Organisation,
    report: &'a SyncReport,
    ended: &'a [Ended],
    unknown_timestamps: &'a [UnknownTimestamp],
    sealing_key_fits: Option<bool>,
) -> Result<Document<'a>> {
    let org = &organisation.id;
    let connection = organisation.connection.as_ref();
    let settings = &organisation.settings;
    let overrides = settings.severity_overrides.iter();
    let account_timestamps = connection.map(|c| c.timestamps.as_slice()).unwrap_or_default();
    Ok(Document {
        organisation: org.as_str(),
        state: state(organisation.state),
        plugin: &organisation.plugin,
        account: connection.map(|c| c.account.as_str()),
        key_name: connection.map(|c| c.key_name.as_str()),
        roles: connection.map(|c| c.roles.as_slice()).unwrap_or_default(),
        warnings: connection.map(|c| c.warnings.as_slice()).unwrap_or_default(),
        sealing_key_fits,
        connected_at: organisation.connected_at.map(view::instant),
        settings: SettingsDocument {
            severity_overrides: overrides
                .map(|o| (o.severity.as_str(), view::priority(o.priority)))
                .collect(),
            service_fields: &settings.service_fields,
            timestamps: timestamps::choice(&settings.timestamps, account_timestamps),
            include_private: settings.include_private,
            history_days: settings.history_days,
        },
        account_timestamps,
        unknown_timestamps,
        incidents: report.incidents,
        withheld_private_incidents: report.withheld,
        timelines_waiting: store.to_revisit(org, &organisation.plugin, 0).await?.total,
        parts: Parts {
            backfill: job(store, org, JobKind::Backfill).await?,
            poll: job(store, org, JobKind::Poll).await?,
            rederive: job(store, org, JobKind::Rederive).await?,
        },
        unmatched_people: UnmatchedDocument { total: report.unmatched_people, first: &report.people },
        unmatched_services: UnmatchedDocument { total: report.unmatched_services, first: &report.services },
        deliveries: Deliveries {
            last_received_at: report.last_delivery_at.map(view::instant),
            pending: report.pending,
            ended,
        },
    })
}

fn text(org: &OrgId, of: &Document<'_>) -> String {
    let mut lines = vec![format!(
        "{}: {}, plugin {}, account {}, key {}",
        of.organisation,
        of.state,
        printable(of.plugin),
        printable(of.account.unwrap_or("-")),
        printable(of.key_name.unwrap_or("-"))
    )];
    lines.push(format!("  roles     {}", printable(&of.roles.join(", "))));
    lines.extend(of.warnings.iter().map(|warning| format!("  warning   {}", printable(warning))));
    if of.sealing_key_fits == Some(false) {
        lines.push(format!("  warning   {}", VaultError::WrongKey(org.clone())));
    }
    lines.extend(of.settings.timestamps.lines().iter().map(|line| format!("  timestamp {line}")));
    if let Some(advice) = timestamps::advice(of.unknown_timestamps, of.organisation) {
        lines.push(format!("  warning   {advice}"));
    }
    let timelines = counted(of.timelines_waiting, "timeline", "timelines");
    lines.push(format!("  incidents {}, {timelines} still to be read", of.incidents));
    match (of.settings.include_private, of.withheld_private_incidents) {
        (true, 0) => lines.push("  private   included as far as the key can see them".to_string()),
        (true, withheld) => lines.push(format!(
            "  private   included as far as the key can see them; {withheld} still to be read"
        )),
        (false, withheld) => lines.push(format!(
            "  private   left out by the settings; {withheld} known to exist and only counted"
        )),
    }
    lines.push(String::new());
    let parts = [("import", &of.parts.backfill), ("poll", &of.parts.poll), ("rederive", &of.parts.rederive)];
    let rows = parts.into_iter().filter_map(|(name, job)| {
        let job = job.as_ref()?;
        Some(vec![
            name.to_string(),
            job.state.to_string(),
            job.succeeded_at.as_deref().map_or_else(|| "never".into(), view::to_the_minute),
            job.requests.to_string(),
            job.next_run_at.as_deref().map_or_else(|| "-".into(), view::to_the_minute),
            printable(job.error.as_deref().unwrap_or("-")),
        ])
    });
    let headers =
        ["Part", "State", "Last success (UTC)", "Requests of its run", "Next run (UTC)", "Last error"];
    lines.push(view::table(&headers, &[3], rows.collect()).to_string());
    let unmatched = [
        (["person", "people"], "without a user of the host", "users import", &of.unmatched_people),
        (
            ["service", "services"],
            "without an entry in the host's catalog",
            "services import",
            &of.unmatched_services,
        ),
    ];
    for ([one, several], without, verb, unmatched) in unmatched {
        let end = if unmatched.total == 0 { "." } else { ":" };
        lines.push(format!("\n{} {without}{end}", counted(unmatched.total, one, several)));
        if unmatched.total > 0 {
            let named = unmatched.first.iter().map(|u| format!("{} ({})", printable(&u.name), u.incidents));
            let mut named = named.collect::<Vec<_>>().join(", ");
            if unmatched.total > u64::from(NAMED) {
                named.push_str(", ...");
            }
            lines.push(format!("  {named}\n  `{verb}` makes them known."));
        }
    }
    let last = of.deliveries.last_received_at.as_deref();
    let last = last.map_or_else(|| "never".into(), |at| format!("{} UTC", view::to_the_minute(at)));
    lines.push(format!("\nWebhooks: last received {last}, {} pending", of.deliveries.pending));
    if !of.deliveries.ended.is_empty() {
        let rows = of.deliveries.ended.iter();
        let rows =
            rows.map(|e| vec![printable(&e.outcome), e.deliveries.to_string(), e.incidents.to_string()]);
        let headers = ["What they led to", "Deliveries", "Incidents"];
        lines.push(view::table(&headers, &[1, 2], rows.collect()).to_string());
    }
    lines.push(String::new());
    lines.join("\n")
}
