//! The reference harness: a terminal, an HTTP server and a simulated provider around `koalr-host`.
//!
//! Results go to standard output, everything else to standard error. This program decides nothing about
//! incidents: what it shows is what the component stored.
//!
//! It is a library so that the benchmarks can put something else behind its webhook server; hosts embed `koalr-host`.

mod accept;
mod aliases;
mod chart;
mod cli;
mod console;
mod demo;
mod door;
mod filters;
mod open;
mod progress;
mod secrets;
mod seldom;
mod server;
mod shutdown;
mod verbs;
mod view;
mod webhook_path;

use std::process::ExitCode;

use clap::Parser;
use koalr_host::contract::GuestError;
use koalr_host::port::StoreError;
use koalr_host::scheduler::RunError;
use koalr_host::{CallError, HostError, passes};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Keys, Migrate, Opsgenie, Org, Services, Users, Verb, Webhook};
use filters::FilterError;

pub use server::{Intake, webhooks};

/// The program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log);
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: --log {}: {error}", cli.log);
            return ExitCode::from(2);
        }
    };
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(run(cli.verb));
    // What still runs in the background is leased in the store and goes on with the next process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", view::printable(&format!("{error:#}")));
            exit_code(&error)
        }
    }
}

async fn run(verb: Verb) -> anyhow::Result<()> {
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
        Verb::Org(Org::Show { org, database, json }) => verbs::report::show(&org, &database, json).await,
        Verb::Org(Org::Disconnect(options)) => verbs::connect::disconnect(options).await,
        Verb::Keys(Keys::Rotate { database, json }) => verbs::connect::rotate(&database, json).await,
        Verb::Org(Org::List { database, json }) => verbs::show::organisations(&database, json).await,
    }
}

/// See the help: 2 for words that lead to nothing, 3 for a refused credential, 4 for what passes, 5 for a database that
/// is gone, 6 for an import of nothing.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<verbs::NothingImported>() {
        return ExitCode::from(6);
    }
    if matches!(error.downcast_ref(), Some(FilterError::NoSuch(_))) || error.is::<secrets::WeakToken>() {
        return ExitCode::from(2);
    }
    let host = match error.downcast_ref::<RunError>() {
        Some(RunError::Failed(host)) => Some(host),
        Some(RunError::Busy) => return ExitCode::from(4),
        _ => error.downcast_ref::<HostError>(),
    };
    match host {
        Some(HostError::Plugin(GuestError::Unauthorized(_) | GuestError::Forbidden(_))) => ExitCode::from(3),
        Some(HostError::Plugin(error)) if passes(error) => ExitCode::from(4),
        Some(HostError::MigrationBusy) => ExitCode::from(4),
        Some(HostError::Store(StoreError::Gone(_))) => ExitCode::from(5),
        Some(HostError::Call(CallError::Saturated(_) | CallError::TimedOut(_))) => ExitCode::from(4),
        _ => ExitCode::FAILURE,
    }
}
