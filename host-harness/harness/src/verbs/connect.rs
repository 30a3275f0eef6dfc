//! `connect`.

use anyhow::Result;
use koalr_host::contract::{Connection, GuestError, Priority, Settings, SeverityOverride};
use koalr_host::id::OrgId;
use koalr_host::port::{Clock, Organisations, OriginMapping, SystemClock};
use koalr_host::vault::Secret;
use koalr_host::{Connect, HostError};
use serde::Serialize;

use super::print_json;
use super::sync::derive_anew;
use crate::cli::{self, Moment, OneOrg, PriorityArg};
use crate::out::{print, say};
use crate::shutdown::Shutdown;
use crate::view::{counted, timestamps};
use crate::{open, secrets, view};

/// The credential and the secret that the incident.io component asks for.
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const WEBHOOK_SECRET: &str = "webhook-secret";

#[derive(Serialize)]
struct Document<'a> {
    organisation: &'a str,
    account: &'a str,
    account_url: Option<&'a str>,
    key_name: &'a str,
    roles: &'a [String],
    warnings: &'a [String],
    timestamps: timestamps::ChoiceView<'a>,
    webhook_path: String,
    webhook_events: &'a [String],
    webhook_secret: bool,
    /// Incidents that were recalculated and changed; none if the settings are those of before.
    incidents_updated: Option<u64>,
}

pub(crate) async fn run(options: cli::Connect) -> Result<()> {
    let target = &options.target;
    if options.preview {
        return preview(&options).await;
    }
    let api_key = secrets::required(options.api_key_env.as_deref(), "API key (input is hidden)")?;
    let webhook_secrets = webhook_secrets(&options)?;
    let has_secret = !webhook_secrets.is_empty();
    let short = secrets::warning(&webhook_secrets);
    let host = open::new_host(&target.database).await?;
    let known = match host.organisation(&target.org).await {
        Ok(known) if !options.reset => Some(known),
        Ok(_) | Err(HostError::UnknownOrganisation(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let first = known.is_none();
    let connect = Connect {
        credentials: vec![(API_KEY.into(), api_key)],
        secrets: if has_secret { vec![(WEBHOOK_SECRET.into(), webhook_secrets)] } else { Vec::new() },
        settings: settings(&options, known.as_ref().map(|known| &known.settings)),
        origin_map: {
            let mut map = known.map(|known| known.origin_map).unwrap_or_default();
            OriginMapping::add(&mut map, options.map_origin.clone());
            map
        },
    };
    let mut connection = match &options.move_to {
        Some(account) => host.move_to(&target.org, connect, account).await?,
        None => host.connect(&target.org, connect).await.map_err(|error| or_move(&target.org, error))?,
    };
    connection.warnings.extend(short);
    let rederived = derive_anew(&host, &target.org, &Shutdown::listen()?).await?;
    let descriptor = host.plugin().descriptor();
    let webhook_path = format!("/webhooks/{}/{}", descriptor.name, target.org);
    if target.json.json {
        return print_json(&Document {
            organisation: target.org.as_str(),
            account: &connection.account,
            account_url: connection.account_url.as_deref(),
            key_name: &connection.key_name,
            roles: &connection.roles,
            warnings: &connection.warnings,
            timestamps: timestamps::choice(&connection.chosen, &connection.timestamps),
            webhook_path,
            webhook_events: &descriptor.webhook_events,
            webhook_secret: has_secret,
            incidents_updated: rederived,
        });
    }
    say!("{}", describe(target.org.as_str(), &connection))?;
    say!("  webhook   POST https://<your host>{webhook_path}")?;
    say!("            for {}", descriptor.webhook_events.join(", "))?;
    if first && !has_secret {
        say!("            no signing secret yet: deliveries are refused until one is given to `connect`")?;
    }
    if let Some(updated) = rederived {
        say!("{} recalculated.", counted(updated, "incident was", "incidents were"))?;
    }
    let org = &target.org;
    let typed = target.database.as_typed();
    say!("Next: koalr-harness backfill {typed} --org {org}, or koalr-harness serve {typed}")?;
    Ok(())
}

/// What the settings would change.
async fn preview(options: &cli::Connect) -> Result<()> {
    let OneOrg { database, org, json } = &options.target;
    let host = open::host(database).await?;
    let known = host.organisation(org).await?;
    let kept = (!options.reset).then_some(&known.settings);
    let preview = host.preview_settings(org, settings(options, kept)).await?;
    if json.json {
        return print_json(&view::preview::document(org.as_str(), &preview));
    }
    print(&view::preview::text(&preview))?;
    Ok(())
}

/// An organisation that is connected is not moved to another account by accident.
fn or_move(org: &OrgId, error: HostError) -> anyhow::Error {
    let refused = matches!(error, HostError::Plugin(GuestError::AnotherAccount(_)));
    let error = anyhow::Error::from(error);
    if !refused {
        return error;
    }
    error.context(format!(
        "{org} was not connected; to move it to the other account, repeat the command with --move-to and that account's name"
    ))
}

/// What the options say, and for what they do not say, what was set before.
fn settings(options: &cli::Connect, known: Option<&Settings>) -> Settings {
    let severity_override = |(severity, priority): &(String, PriorityArg)| SeverityOverride {
        severity: severity.clone(),
        priority: self::priority(*priority),
    };
    let mut settings = Settings {
        severity_overrides: options.severity.iter().map(severity_override).collect(),
        service_fields: options.service_field.clone(),
        timestamps: known.map(|known| known.timestamps.clone()).unwrap_or_default(),
        include_private: options.private || !options.no_private,
        history_days: options.history_days,
    };
    for (moment, name) in &options.timestamp {
        let chosen = match moment {
            Moment::Started => &mut settings.timestamps.started,
            Moment::Acknowledged => &mut settings.timestamps.acknowledged,
            Moment::Resolved => &mut settings.timestamps.resolved,
        };
        chosen.clone_from(name);
    }
    if let Some(known) = known {
        if settings.severity_overrides.is_empty() {
            settings.severity_overrides.clone_from(&known.severity_overrides);
        }
        if settings.service_fields.is_empty() {
            settings.service_fields.clone_from(&known.service_fields);
        }
        if !options.private && !options.no_private {
            settings.include_private = known.include_private;
        }
        settings.history_days = settings.history_days.or(known.history_days);
    }
    settings
}

/// The connection in a few lines.
pub(crate) fn describe(org: &str, connection: &Connection) -> String {
    let mut text = format!("Connected {org} to the account {}", view::printable(&connection.account));
    if let Some(url) = &connection.account_url {
        text.push_str(&format!(" ({})", view::printable(url)));
    }
    text.push_str(&format!("\n  key       {}", view::printable(&connection.key_name)));
    text.push_str(&format!("\n  roles     {}", view::printable(&connection.roles.join(", "))));
    for line in timestamps::choice(&connection.chosen, &connection.timestamps).lines() {
        text.push_str(&format!("\n  timestamp {line}"));
    }
    for warning in &connection.warnings {
        text.push_str(&format!("\n  warning   {}", view::printable(warning)));
    }
    text
}

/// From the named variable; else a person is asked, and a pipe may hold them on its second line.
fn webhook_secrets(options: &cli::Connect) -> Result<Vec<Secret>> {
    let Some(variable) = &options.webhook_secret_env else {
        // With the key from a variable, standard input is nobody's business.
        if options.api_key_env.is_some() {
            return Ok(Vec::new());
        }
        let question = "Webhook signing secret (input is hidden; empty for none)";
        return Ok(secrets::ask(question)?.into_iter().collect());
    };
    let all = secrets::from_variable(variable)?;
    Ok(all.expose().split(',').map(|secret| Secret::new(secret.to_string())).collect())
}

/// `org disconnect`.
pub(crate) async fn disconnect(options: cli::OneOrg) -> Result<()> {
    // Without the sealing key, which may be lost: that is a reason to disconnect.
    let store = open::store(&options.database)?;
    if !store.disconnect_organisation(&options.org, SystemClock.now()).await? {
        return Err(HostError::UnknownOrganisation(options.org).into());
    }
    if options.json.json {
        return print_json(
            &serde_json::json!({ "organisation": options.org.as_str(), "state": "disconnected" }),
        );
    }
    say!("{} is disconnected: its secrets are removed, and its webhooks are answered 404.", options.org)?;
    say!("What was synced stays. At incident.io, delete the webhook's endpoint and the API key.")?;
    Ok(())
}

/// `keys rotate`.
pub(crate) async fn rotate(database: &cli::Database, json: cli::Json) -> Result<()> {
    let host = open::host(database).await?;
    let resealed = host.rotate_sealing_key().await?;
    if json.json {
        return print_json(&serde_json::json!({ "resealed": resealed }));
    }
    let organisations = counted(resealed, "organisation", "organisations");
    say!("The keys of {organisations} are sealed with a fresh sealing key.")?;
    say!("The former one opens nothing any more: backups of the database from before need a backup of it.")?;
    Ok(())
}

pub(crate) fn priority(priority: PriorityArg) -> Priority {
    match priority {
        PriorityArg::P1 => Priority::P1,
        PriorityArg::P2 => Priority::P2,
        PriorityArg::P3 => Priority::P3,
        PriorityArg::P4 => Priority::P4,
    }
}
