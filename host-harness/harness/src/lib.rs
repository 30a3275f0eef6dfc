//! The reference harness: a terminal, an HTTP server and a simulated provider around `koalr-host`.
//!
//! Results go to standard output, everything else to standard error. This program decides nothing about
//! incidents: what it shows is what the component stored.
//!
//! It is a library so that the benchmarks can put something else behind its webhook server; hosts embed `koalr-host`.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod accept;
mod aliases;
mod chart;
mod cli;
mod console;
mod demo;
mod door;
mod filters;
mod forms;
mod open;
mod out;
mod progress;
mod secrets;
mod seldom;
mod server;
mod shutdown;
mod verbs;
mod view;
mod webhook_path;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use koalr_host::contract::GuestError;
use koalr_host::port::StoreError;
use koalr_host::scheduler::RunError;
use koalr_host::vault::VaultError;
use koalr_host::{CallError, HostError, passes};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Database, Db, Keys, Migrate, Opsgenie, Org, Services, Users, Verb, Webhook};
use filters::FilterError;
use out::{Unprinted, note};
use shutdown::Stopped;

pub use server::{Intake, webhooks};

/// The program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // The help is an answer too, and may go into a pager that ends.
        Err(answer) => {
            let code = u8::try_from(answer.exit_code()).unwrap_or(2);
            return match answer.print().map_err(Unprinted::from) {
                Ok(()) => ExitCode::from(code),
                Err(error) => fail(&error.into()),
            };
        }
    };
    let filter = EnvFilter::try_new(&cli.log);
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => {
            note!("error: --log {}: {error}", cli.log);
            return ExitCode::from(2);
        }
    };
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        // It would tell standard error that standard error takes no more, and panic.
        .log_internal_errors(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note!("error: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(run(cli.verb));
    // What still runs in the background is leased in the store and goes on with the next process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Says why, unless nobody reads any more.
fn fail(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref().is_some_and(Unprinted::is_unread) {
        return ExitCode::from(UNREAD);
    }
    note!("error: {}", view::printable(&format!("{error:#}")));
    ExitCode::from(exit_code(error))
}

/// What a shell reports of a process that SIGPIPE killed.
const UNREAD: u8 = 141;

async fn run(verb: Verb) -> anyhow::Result<()> {
    let database = verb.looks_in().cloned();
    match (perform(verb).await, database) {
        (Err(error), Some(database)) => Err(or_nearest(error, &database).await),
        (done, _) => done,
    }
}

/// An organisation that is not there is told with those that have a similar name.
async fn or_nearest(error: anyhow::Error, database: &Database) -> anyhow::Error {
    let unknown = error.chain().find_map(|error| match host_error(error) {
        Some(HostError::UnknownOrganisation(org)) => Some(org.clone()),
        _ => None,
    });
    let Some(org) = unknown else { return error };
    match open::store(database) {
        Ok(store) => match filters::nearest_organisations(&store, &org).await {
            Ok(Some(nearest)) => FilterError::from(nearest).into(),
            Ok(None) => error,
            Err(why) => error.context(why),
        },
        Err(why) => error.context(why),
    }
}

async fn perform(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Demo(options) => demo::run(options).await,
        Verb::Connect(options) => verbs::connect::run(options).await,
        Verb::Backfill(options) => verbs::sync::backfill(options).await,
        Verb::Poll(options) => verbs::sync::poll(options).await,
        Verb::Serve(options) => verbs::serve::run(options).await,
        Verb::Incidents(options) => verbs::show::incidents(options).await,
        Verb::Incident(options) => verbs::show::incident(options).await,
        Verb::Mttr(options) => verbs::mttr::run(options).await,
        Verb::Migrate(Migrate::Opsgenie(verb)) => match verb {
            Opsgenie::Plan(options) => verbs::migrate::plan(options).await,
            Opsgenie::Run(options) => verbs::migrate::run(options).await,
            Opsgenie::Status(options) => verbs::migrate::status(options).await,
            Opsgenie::Undo(options) => verbs::migrate::undo(options).await,
        },
        Verb::Webhook(Webhook::Send(options)) => verbs::webhook::send(options).await,
        Verb::Webhook(Webhook::Verify(options)) => verbs::webhook::verify(options).await,
        Verb::Webhook(Webhook::Replay(options)) => verbs::deliveries::replay(options).await,
        Verb::Deliveries(options) => verbs::deliveries::list(options).await,
        Verb::Simulate(options) => verbs::simulate::run(options).await,
        Verb::Inspect(options) => verbs::inspect::run(options).await,
        Verb::Users(Users::Import(options)) => verbs::directory::users(options).await,
        Verb::Services(Services::Import(options)) => verbs::directory::services(options).await,
        Verb::Org(Org::Show(options)) => verbs::report::show(named(options)?).await,
        Verb::Org(Org::Disconnect(options)) => verbs::connect::disconnect(named(options)?).await,
        Verb::Keys(Keys::Rotate { database, json }) => verbs::connect::rotate(&database, json).await,
        Verb::Org(Org::List { database, json }) => verbs::show::organisations(&database, json).await,
        Verb::Db(Db::Backup { file, database, json }) => verbs::backup::run(&file, &database, json).await,
    }
}

fn named(options: cli::NamedOrg) -> anyhow::Result<cli::OneOrg> {
    options.one().context("name an organisation with --org")
}

/// See the help: 2 for words that lead to nothing, 3 for a refused credential, 4 for what passes, 5 for a database that
/// is gone, 6 for an import of nothing, 130 and 143 after a signal.
fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(own_code).unwrap_or(1)
}

fn own_code(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return Some(stopped.exit_code());
    }
    if error.is::<verbs::NothingImported>() {
        return Some(6);
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return store_code(error);
    }
    if matches!(error.downcast_ref(), Some(FilterError::NoSuch(_))) || error.is::<secrets::WeakToken>() {
        return Some(2);
    }
    if matches!(error.downcast_ref(), Some(RunError::Busy)) {
        return Some(4);
    }
    match host_error(error)? {
        HostError::UnknownOrganisation(_) => Some(2),
        HostError::Plugin(GuestError::Unauthorized(_) | GuestError::Forbidden(_)) => Some(3),
        HostError::Plugin(error) if passes(error) => Some(4),
        HostError::MigrationBusy => Some(4),
        HostError::Call(CallError::Saturated(_) | CallError::TimedOut(_)) => Some(4),
        HostError::Store(error) | HostError::Vault(VaultError::Store(error)) => store_code(error),
        _ => None,
    }
}

fn host_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a HostError> {
    match error.downcast_ref::<RunError>() {
        Some(RunError::Failed(host)) => Some(host),
        _ => error.downcast_ref(),
    }
}

/// A locked database passes, and so does a row that somebody else wrote meanwhile.
fn store_code(error: &StoreError) -> Option<u8> {
    match error {
        StoreError::Unavailable(_) | StoreError::Conflict => Some(4),
        StoreError::Gone(_) => Some(5),
        _ => None,
    }
}
