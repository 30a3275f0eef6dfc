//! The command line. Its forms are an interface: they are added to, never changed.
//!
//! No option takes a secret: an argument can be read by every process on the machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use koalr_files::instant::TimeFormat;
use koalr_host::id::OrgId;
use koalr_host::port::OriginMapping;

use crate::forms;

/// Run, watch and debug an integration component.
#[derive(Debug, Parser)]
#[command(name = "koalr-harness", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to log, for example `info` or `koalr::guest=debug`; to standard error.
    #[arg(long, global = true, env = "KOALR_LOG", default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the provider refuses the credential;
4 a passing fault or a rate limit, try again later; 5 the database or its log was moved, deleted,
replaced or overwritten, or the database was migrated, while in use: do what the message says before
you start again; 6 nothing that was given could be imported; 130 or 143 stopped by Ctrl-C or SIGTERM;
141 nobody reads the output any more.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show everything at work: a simulated account, connect, backfill, webhooks, time to restore.
    Demo(Demo),
    /// Connect an organisation with its API key, read from a prompt, standard input or a variable.
    Connect(Connect),
    /// Import history; goes on where an interrupted import ended.
    Backfill(Backfill),
    /// Catch up with changes once.
    Poll(OneOrg),
    /// Receive webhooks and keep all organisations current, until stopped.
    Serve(Serve),
    /// List incidents, newest first.
    Incidents(Incidents),
    /// Show one incident with its timeline.
    Incident(Incident),
    /// Compute time to restore.
    Mttr(Mttr),
    /// Move from another tool: bring its incidents, so that the trend goes on.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Send, verify or replay a webhook by hand.
    #[command(subcommand)]
    Webhook(Webhook),
    /// List webhooks that arrived, newest first, and what became of them.
    Deliveries(Deliveries),
    /// Run a simulated incident.io.
    Simulate(Simulate),
    /// Say what a component is, imports and exports.
    Inspect(Inspect),
    /// Import users, so that responders are linked to them.
    #[command(subcommand)]
    Users(Users),
    /// Import services, so that affected services are linked to them.
    #[command(subcommand)]
    Services(Services),
    /// Organisations.
    #[command(subcommand)]
    Org(Org),
    /// The sealing key.
    #[command(subcommand)]
    Keys(Keys),
    /// The database file.
    #[command(subcommand)]
    Db(Db),
}

impl Verb {
    /// The database in which the verb looks for the organisation that it names.
    pub(crate) fn looks_in(&self) -> Option<&Database> {
        let target = match self {
            Verb::Connect(options) => &options.target,
            Verb::Backfill(options) => &options.target,
            Verb::Poll(target) => target,
            Verb::Incidents(options) => &options.target,
            Verb::Incident(options) => &options.target,
            Verb::Mttr(options) => &options.target,
            Verb::Migrate(Migrate::Opsgenie(verb)) => match verb {
                Opsgenie::Plan(options) => &options.history.target,
                Opsgenie::Run(options) => &options.history.target,
                Opsgenie::Status(target) => target,
                Opsgenie::Undo(options) => &options.target,
            },
            Verb::Webhook(Webhook::Verify(options)) => &options.target,
            Verb::Webhook(Webhook::Replay(options)) => &options.target,
            Verb::Deliveries(options) => &options.target,
            Verb::Users(Users::Import(options)) | Verb::Services(Services::Import(options)) => {
                &options.target
            }
            Verb::Org(Org::Show(named) | Org::Disconnect(named)) => return Some(&named.database),
            Verb::Demo(_)
            | Verb::Serve(_)
            | Verb::Webhook(Webhook::Send(_))
            | Verb::Simulate(_)
            | Verb::Inspect(_)
            | Verb::Org(Org::List { .. })
            | Verb::Keys(_)
            | Verb::Db(_) => return None,
        };
        Some(&target.database)
    }
}

/// Which database, and how to open its secrets.
#[derive(Debug, Clone, Args)]
pub(crate) struct Database {
    /// Database file; `connect` and `serve` make it if there is none.
    #[arg(long, value_name = "FILE", env = "KOALR_DB", default_value = "koalr.db")]
    pub(crate) db: PathBuf,
    /// File with the sealing key; made if there is none. Default: the database's name with `.key`.
    #[arg(long, value_name = "FILE", env = "KOALR_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Component to run instead of the built-in one.
    #[arg(long, value_name = "FILE", env = "KOALR_PLUGIN_FILE")]
    pub(crate) plugin: Option<PathBuf>,
    /// Origin that such a component may call, beside those of the built-in ones: `https://host[:port]`. Repeatable.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// How requests to providers leave this machine.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Certificate authorities to trust, as PEM, besides those that the system trusts or SSL_CERT_FILE names. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// Proxy for requests to providers: `http://host:port` or `https://host:port`. Default: what HTTPS_PROXY says, which
    /// may hold a user and a password. Hosts in NO_PROXY are reached without it, and so are mapped origins.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Hand names to the proxy, for networks whose DNS knows no outside names. It is then the proxy's duty that none of
    /// them leads to your own network.
    #[arg(long)]
    pub(crate) proxy_resolves: bool,
}

impl Database {
    /// The options that lead to the same database, component and key, as they are typed.
    pub(crate) fn as_typed(&self) -> String {
        let mut typed = format!("--db {}", quoted(&self.db.to_string_lossy()));
        for (name, value) in [("--key-file", &self.key_file), ("--plugin", &self.plugin)] {
            if let Some(value) = value {
                typed.push_str(&format!(" {name} {}", quoted(&value.to_string_lossy())));
            }
        }
        for origin in &self.allow_origin {
            typed.push_str(&format!(" --allow-origin {}", quoted(origin)));
        }
        for file in &self.network.ca_file {
            typed.push_str(&format!(" --ca-file {}", quoted(&file.to_string_lossy())));
        }
        if let Some(proxy) = &self.network.proxy {
            typed.push_str(&format!(" --proxy {}", quoted(proxy)));
        }
        if self.network.proxy_resolves {
            typed.push_str(" --proxy-resolves");
        }
        typed
    }
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Machine-readable output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Json {
    /// Print one JSON document on standard output, and nothing else there.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneOrg {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Organisation.
    #[arg(long, value_name = "ORG")]
    pub(crate) org: OrgId,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// [`OneOrg`], with or without `--org`.
#[derive(Debug, Args)]
pub(crate) struct NamedOrg {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Organisation.
    #[arg(long, value_name = "ORG", required_unless_present = "name")]
    pub(crate) org: Option<OrgId>,
    /// The same without `--org`.
    #[arg(value_name = "ORG", conflicts_with = "org")]
    pub(crate) name: Option<OrgId>,
    #[command(flatten)]
    pub(crate) json: Json,
}

impl NamedOrg {
    /// None is what the parser refuses.
    pub(crate) fn one(self) -> Option<OneOrg> {
        let org = self.org.or(self.name)?;
        Some(OneOrg { database: self.database, org, json: self.json })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End after the summary instead of serving on.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Size of the simulated account.
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(crate) incidents: usize,
    /// Chooses the simulated account.
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Where to serve webhooks and metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787", value_parser = forms::listen)]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Environment variable that holds the API key.
    #[arg(long, value_name = "VAR")]
    pub(crate) api_key_env: Option<String>,
    /// Environment variable that holds the webhook's signing secret; several, separated by commas, while one
    /// is being replaced.
    #[arg(long, value_name = "VAR")]
    pub(crate) webhook_secret_env: Option<String>,
    /// For development: send requests for one origin elsewhere. Remembered for this organisation.
    #[arg(long, value_name = "FROM=TO", value_parser = origin_mapping)]
    pub(crate) map_origin: Vec<OriginMapping>,
    /// How many days of history to import. Default: what the component says.
    #[arg(long, value_name = "DAYS")]
    pub(crate) history_days: Option<u32>,
    /// Store private incidents too, as far as the key can see them. This is the default of a first `connect`.
    #[arg(long, overrides_with = "no_private")]
    pub(crate) private: bool,
    /// Leave private incidents out of the store.
    #[arg(long, overrides_with = "private")]
    pub(crate) no_private: bool,
    /// A severity, by name or id, that maps to a priority, as in `SEV-1=P1`.
    #[arg(long, value_name = "NAME=P1..P4", value_parser = severity_override)]
    pub(crate) severity: Vec<(String, PriorityArg)>,
    /// Custom field, by name or id, that holds affected services.
    #[arg(long, value_name = "FIELD")]
    pub(crate) service_field: Vec<String>,
    /// The provider's timestamp, by name or id, that tells when an incident started, was acknowledged or was resolved, as
    /// in `resolved="Service restored"`. With nothing after the equals sign, the names that the component knows count again.
    #[arg(long, value_name = "started|acknowledged|resolved=NAME", value_parser = timestamp_choice)]
    pub(crate) timestamp: Vec<(Moment, Option<String>)>,
    /// Show what other settings would change about the times of stored incidents, and change nothing. The stored API key
    /// is used.
    #[arg(long, conflicts_with_all = ["move_to", "api_key_env", "webhook_secret_env", "map_origin"])]
    pub(crate) preview: bool,
    /// Forget what earlier connects of this organisation set. Without this, what is not given stays as it was.
    #[arg(long)]
    pub(crate) reset: bool,
    /// Move the organisation to another account, by that account's name. What is stored stays; the new account's
    /// history is imported.
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) move_to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Backfill {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Import so many days again, from now, instead of going on with the last import.
    #[arg(long, value_name = "DAYS")]
    pub(crate) days: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) database: Database,
    /// Where to listen, for webhooks and for the console. Beyond loopback the console is served only with a token.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787", value_parser = forms::listen)]
    pub(crate) listen: SocketAddr,
    /// Environment variable that holds the token that the console asks for, of 16 characters or more.
    #[arg(long, value_name = "VAR")]
    pub(crate) console_token_env: Option<String>,
    /// Where the provider reaches this server, for the webhook's address: `https://hooks.example.com`.
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// For development: send requests of organisations that the console connects elsewhere.
    #[arg(long, value_name = "FROM=TO", value_parser = origin_mapping)]
    pub(crate) map_origin: Vec<OriginMapping>,
}

#[derive(Debug, Args)]
pub(crate) struct Incidents {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Only these priorities.
    #[arg(long, value_delimiter = ',')]
    pub(crate) priority: Vec<PriorityArg>,
    /// Only these phases: triage, active, paused, resolved, closed, declined, canceled, merged, unknown.
    #[arg(long, value_delimiter = ',')]
    pub(crate) phase: Vec<PhaseArg>,
    /// Only those that affect this service, however its name is spelled.
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only those with this in title or reference.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Created on this UTC day or after.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) since: Option<NaiveDate>,
    /// Created before this UTC day.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) until: Option<NaiveDate>,
    /// At most so many. Default: 50, with --json all.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Incident {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Reference, such as INC-123 or 123, or the provider's id.
    #[arg(value_name = "REFERENCE")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Mttr {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// First day. Default: 90 days ago.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) since: Option<NaiveDate>,
    /// The day after the last one. Default: tomorrow, so that today counts.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) until: Option<NaiveDate>,
    /// Length of a bucket of the trend.
    #[arg(long, value_enum, default_value = "week")]
    pub(crate) bucket: BucketArg,
    /// IANA time zone whose days count, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = forms::time_zone)]
    pub(crate) time_zone: chrono_tz::Tz,
    /// Where the clock starts.
    #[arg(long, value_enum, default_value = "created")]
    pub(crate) clock: ClockArg,
    /// Where the clock ends if an incident was reopened: at its last resolution (`resolved`) or at its first.
    #[arg(long, value_enum, default_value = "resolved")]
    pub(crate) clock_end: ClockEndArg,
    /// Only these priorities.
    #[arg(long, value_delimiter = ',')]
    pub(crate) priority: Vec<PriorityArg>,
    /// Only these services, however their names are spelled.
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Vec<String>,
    /// Only these sources: incidentio, opsgenie.
    #[arg(long, value_delimiter = ',', value_name = "SOURCE")]
    pub(crate) source: Vec<String>,
    /// Count private incidents too; the default.
    #[arg(long, overrides_with = "no_private")]
    pub(crate) private: bool,
    /// Leave private incidents out.
    #[arg(long, overrides_with = "private")]
    pub(crate) no_private: bool,
    /// Print one CSV row for each bucket, slice and reason.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Also draw the trend, as an SVG image.
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    pub(crate) svg: Option<PathBuf>,
    /// Say of one incident whether it counts and why, and which rules gave its times.
    #[arg(long, value_name = "INCIDENT", conflicts_with = "csv")]
    pub(crate) explain: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// From Opsgenie, by its API or from saved records.
    #[command(subcommand)]
    Opsgenie(Opsgenie),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Opsgenie {
    /// Say what an import would do. Writes no record.
    Plan(MigratePlan),
    /// Import; goes on where an interrupted import ended, and changes nothing when there is nothing new.
    Run(MigrateRun),
    /// Show how the migration stands.
    Status(OneOrg),
    /// Remove what the migration wrote, and nothing else.
    Undo(MigrateUndo),
}

#[derive(Debug, Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Saved records: API answers as JSON, one record a line (NDJSON), or CSV. Without any, the live account is asked.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where the live account is kept.
    #[arg(long, value_enum, conflicts_with = "files")]
    pub(crate) region: Option<RegionArg>,
    /// Environment variable that holds Opsgenie's API key. Default: the key that is stored, else a prompt.
    #[arg(long, value_name = "VAR", conflicts_with = "files")]
    pub(crate) api_key_env: Option<String>,
    /// Alerts in place of incidents, for a plan without incidents. Their times are those of alerts; they are kept as a
    /// source of their own.
    #[arg(long)]
    pub(crate) alerts: bool,
    /// Created on this UTC day or after. Default: the beginning.
    #[arg(long, value_name = "DATE", value_parser = date, conflicts_with = "files")]
    pub(crate) since: Option<NaiveDate>,
    /// Created before this UTC day. Default: now.
    #[arg(long, value_name = "DATE", value_parser = date, conflicts_with = "files")]
    pub(crate) until: Option<NaiveDate>,
    /// Whom and what names stand for, and which incidents are the same: a CSV of `person,ADDRESS,ADDRESS HERE`,
    /// `service,NAME,NAME HERE`, `priority,WORD,P3`, `same,#12,INC-34` and `distinct,#12`. Replaces the one given before.
    #[arg(long, value_name = "FILE")]
    pub(crate) mapping: Option<PathBuf>,
    /// Zone of the files' times that name none, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", requires = "files", value_parser = forms::time_zone)]
    pub(crate) time_zone: Option<chrono_tz::Tz>,
    /// Format of the files' times, such as '%d/%m/%Y %H:%M'. Without it, and beside it, times are read in the usual
    /// spellings of RFC 3339, and as seconds, milliseconds, microseconds or nanoseconds since 1970, by their size.
    #[arg(long, value_name = "FORMAT", requires = "files")]
    pub(crate) time_format: Option<TimeFormat>,
    /// Column of a CSV that a field is in, as in `created=Opened at`. Fields: id, tinyId, title, status, priority,
    /// created, started, resolved, services, responders, tags, url, alias.
    #[arg(long, value_name = "FIELD=HEADER", value_parser = column, requires = "files")]
    pub(crate) column: Vec<(String, String)>,
    /// For development: send requests for one origin elsewhere. Remembered for this organisation.
    #[arg(long, value_name = "FROM=TO", value_parser = origin_mapping)]
    pub(crate) map_origin: Vec<OriginMapping>,
}

#[derive(Debug, Args)]
pub(crate) struct MigratePlan {
    #[command(flatten)]
    pub(crate) history: History,
    /// Print every row instead of the first of those with a warning.
    #[arg(long)]
    pub(crate) rows: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateRun {
    #[command(flatten)]
    pub(crate) history: History,
    /// Import what can be read of files of which a part cannot. Without this, such files are not imported at all.
    #[arg(long, requires = "files")]
    pub(crate) skip_bad: bool,
    /// From this UTC day on incident.io is the record; drawn in the trend. Default: its first incident.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) cut_over: Option<NaiveDate>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateUndo {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Do it. Without this, only what would be removed is shown.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RegionArg {
    /// api.opsgenie.com
    Us,
    /// api.eu.opsgenie.com
    Eu,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Sign a file and post it.
    Send(WebhookSend),
    /// Verify a file with the organisation's stored secret.
    Verify(WebhookVerify),
    /// Apply deliveries again that were given up or done.
    Replay(WebhookReplay),
}

#[derive(Debug, Args)]
pub(crate) struct WebhookSend {
    /// Where to.
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// Environment variable that holds the signing secret.
    #[arg(long, value_name = "VAR")]
    pub(crate) secret_env: String,
    /// Message id; the same id is applied once. Default: a new one.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Body: a JSON file, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct WebhookVerify {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// A header as received, as in `webhook-id: msg_1`.
    #[arg(long, value_name = "NAME: VALUE", required = true)]
    pub(crate) header: Vec<String>,
    /// Body: the bytes as received, or - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct WebhookReplay {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Message ids, as `deliveries` lists them.
    #[arg(value_name = "ID", required_unless_present = "dead")]
    pub(crate) ids: Vec<String>,
    /// All that were given up.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) dead: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// Only those that wait, are done, or were given up.
    #[arg(long, value_enum)]
    pub(crate) state: Option<StateArg>,
    /// At most so many. Default: 50, with --json all.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Pending,
    Done,
    Dead,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4010", value_parser = forms::listen)]
    pub(crate) listen: SocketAddr,
    /// How many incidents the account has.
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(crate) incidents: usize,
    /// Chooses the account; the same seed gives the same account.
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Give each incident exactly so many updates, for measuring. Default: as many as its story has.
    #[arg(long, value_name = "N")]
    pub(crate) updates: Option<usize>,
    /// Keep the provider's rate limits; the default.
    #[arg(long, overrides_with = "no_rate_limit")]
    pub(crate) rate_limit: bool,
    /// Lift the provider's rate limits.
    #[arg(long, overrides_with = "rate_limit")]
    pub(crate) no_rate_limit: bool,
    /// Environment variable that holds the only API key to accept. Default: any key is accepted.
    #[arg(long, value_name = "VAR")]
    pub(crate) api_key_env: Option<String>,
    /// Send webhooks there, as the account's incidents move.
    #[arg(long, value_name = "URL", requires = "webhook_secret_env")]
    pub(crate) webhook_url: Option<String>,
    /// Environment variable that holds the secret to sign webhooks with.
    #[arg(long, value_name = "VAR", requires = "webhook_url")]
    pub(crate) webhook_secret_env: Option<String>,
    /// Also run a simulated Opsgenie, with as many incidents of the year before.
    #[arg(long, value_name = "ADDR", value_parser = forms::listen)]
    pub(crate) opsgenie: Option<SocketAddr>,
    /// Seconds between two moves of the account, where webhooks are sent.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) every: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Component file. Default: the built-in one.
    #[arg(long, value_name = "FILE", env = "KOALR_PLUGIN_FILE")]
    pub(crate) plugin: Option<PathBuf>,
    /// The same without `--plugin`.
    #[arg(value_name = "FILE", conflicts_with = "plugin")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// From CSV with the columns id, email, name, or from a JSON list of such objects. Rows that cannot be read are
    /// reported by line and left out.
    Import(Import),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// From CSV with the columns id, name, external_ids, aliases (lists as JSON, or separated by semicolons), from a
    /// JSON list of such objects, or from a Backstage catalog-info.yaml. What cannot be read is reported by line and
    /// left out.
    Import(Import),
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) target: OneOrg,
    /// A .csv, .json, .yaml or .yml file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Org {
    /// Show how an organisation's sync stands: what succeeded when, what is unmatched, what was skipped and why.
    Show(NamedOrg),
    /// Remove an organisation's secrets and end all work for it; what was synced stays. Needs no sealing key.
    Disconnect(NamedOrg),
    /// List the connected organisations.
    List {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Replace the sealing key by a fresh one; a running `serve` goes on with it.
    Rotate {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Db {
    /// Copy the database, as it is now, into a new file; a running `serve` goes on meanwhile. The sealing key is not in
    /// the copy.
    Backup {
        /// The file to make. One that exists is not overwritten.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PriorityArg {
    #[value(alias = "P1")]
    P1,
    #[value(alias = "P2")]
    P2,
    #[value(alias = "P3")]
    P3,
    #[value(alias = "P4")]
    P4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PhaseArg {
    Triage,
    Active,
    Paused,
    Resolved,
    Closed,
    Declined,
    Canceled,
    Merged,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BucketArg {
    Day,
    Week,
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockArg {
    Created,
    Started,
    Acknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockEndArg {
    Resolved,
    FirstResolution,
}

fn date(text: &str) -> Result<NaiveDate, String> {
    text.parse().map_err(|_| "write a day as in 2026-11-23".into())
}

fn origin_mapping(text: &str) -> Result<OriginMapping, String> {
    let example = "write FROM=TO, as in https://api.incident.io=http://127.0.0.1:4010";
    let (from, to) = text.split_once('=').ok_or(example)?;
    Ok(OriginMapping { from: from.into(), to: to.into() })
}

fn column(text: &str) -> Result<(String, String), String> {
    let (field, header) = text.split_once('=').ok_or("write FIELD=HEADER, as in created=Opened")?;
    Ok((field.into(), header.into()))
}

/// What a timestamp can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Moment {
    Started,
    Acknowledged,
    Resolved,
}

fn timestamp_choice(text: &str) -> Result<(Moment, Option<String>), String> {
    let example = "write started=NAME, acknowledged=NAME or resolved=NAME";
    let (moment, name) = text.split_once('=').ok_or(example)?;
    let moment = Moment::from_str(moment, true).map_err(|_| example)?;
    let name = name.trim();
    Ok((moment, (!name.is_empty()).then(|| name.to_owned())))
}

fn severity_override(text: &str) -> Result<(String, PriorityArg), String> {
    let example = "write NAME=PRIORITY, as in SEV-1=P1";
    let (name, priority) = text.rsplit_once('=').ok_or(example)?;
    let priority = PriorityArg::from_str(priority, true).map_err(|_| example)?;
    if name.is_empty() { Err(example.into()) } else { Ok((name.into(), priority)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_published_forms_are_understood() {
        for form in [
            "simulate --listen 127.0.0.1:0 --incidents 10 --seed 1 --no-rate-limit",
            "simulate --listen 127.0.0.1:0 --incidents 10 --seed 1 --webhook-url http://h/ --webhook-secret-env S",
            "connect --db f --org acme --api-key-env K --webhook-secret-env S --map-origin https://api.incident.io=http://127.0.0.1:1",
            "backfill --db f --org acme --json",
            "poll --db f --org acme --json",
            "serve --db f --listen 127.0.0.1:0",
            "incidents --db f --org acme --json",
            "mttr --db f --org acme --since 2026-01-01 --until 2026-02-01 --bucket month --time-zone Europe/Berlin --json",
            "webhook send --url http://h/ --secret-env S body.json",
            "inspect plugin.wasm --json",
            "deliveries --db f --org acme --state dead --limit 5 --json",
            "webhook replay --db f --org acme msg_1 msg_2",
            "webhook replay --db f --org acme --dead",
            "migrate opsgenie plan --db f --org acme --region eu --api-key-env K --json",
            "migrate opsgenie run --db f --org acme a.json b.csv --time-zone UTC --column id=Key --skip-bad",
            "migrate opsgenie status --db f --org acme",
            "migrate opsgenie undo --db f --org acme --yes",
            "serve --db f --listen localhost:8787",
            "mttr --db f --org acme --time-zone Berlin",
            "inspect --plugin plugin.wasm",
            "org show acme --db f --json",
            "org show --org acme --db f",
            "org disconnect --org acme --db f --json",
            "org disconnect acme --db f",
            "db backup copy.db --db f --json",
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("koalr-harness").chain(form.split(' ')));
            assert!(parsed.is_ok(), "{form}: {parsed:?}");
        }
    }

    /// `--no-x` and `--x`: of both, the last counts.
    #[test]
    fn every_switch_that_turns_off_has_its_opposite() {
        fn check(command: &clap::Command) {
            let long: Vec<&str> = command.get_arguments().filter_map(|one| one.get_long()).collect();
            for off in &long {
                let on = off.strip_prefix("no-");
                assert!(on.is_none_or(|on| long.contains(&on)), "{} has only --{off}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
        let connect = |switches: &str| {
            let line = format!("koalr-harness connect --org acme {switches}");
            match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
                Verb::Connect(connect) => (connect.private, connect.no_private),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(connect(""), (false, false));
        assert_eq!(connect("--no-private --private"), (true, false));
        assert_eq!(connect("--private --no-private"), (false, true));
    }

    #[test]
    fn printed_commands_repeat_the_options_that_were_given() {
        let database = Database {
            db: "my data/it's.db".into(),
            key_file: Some("/keys/koalr.key".into()),
            plugin: Some("other.wasm".into()),
            allow_origin: vec!["https://api.example.com:8443".into()],
            network: NetworkArgs {
                ca_file: vec!["ca.pem".into()],
                proxy: Some("http://proxy:3128".into()),
                proxy_resolves: true,
            },
        };
        assert_eq!(
            database.as_typed(),
            "--db 'my data/it'\\''s.db' --key-file /keys/koalr.key --plugin other.wasm \
             --allow-origin https://api.example.com:8443 --ca-file ca.pem --proxy http://proxy:3128 --proxy-resolves"
        );
    }

    #[test]
    fn every_verb_with_json_has_a_chapter_about_it() {
        let document = include_str!("../../../docs/json.md");
        let headings = document.lines().filter_map(|line| line.strip_prefix("## "));
        let named: Vec<&str> = headings.flat_map(|heading| heading.split('`').skip(1).step_by(2)).collect();
        fn check(command: &clap::Command, path: &str, named: &[&str]) -> usize {
            let has_json = command.get_arguments().any(|one| one.get_long() == Some("json"));
            let found = named.iter().any(|one| path == *one || path.starts_with(&format!("{one} ")));
            assert!(!has_json || found, "docs/json.md has no chapter about `{path}`");
            let below = command.get_subcommands();
            usize::from(has_json)
                + below
                    .map(|one| check(one, format!("{path} {}", one.get_name()).trim_start(), named))
                    .sum::<usize>()
        }
        assert!(check(&Cli::command(), "", &named) > 20);
    }

    #[test]
    fn no_option_takes_a_secret() {
        for form in [
            "connect --org acme --api-key K",
            "connect --org acme --webhook-secret S",
            "webhook send --secret S f",
            "migrate opsgenie run --org acme --region us --api-key K",
        ] {
            assert!(
                Cli::try_parse_from(std::iter::once("koalr-harness").chain(form.split(' '))).is_err(),
                "{form}"
            );
        }
    }
}
