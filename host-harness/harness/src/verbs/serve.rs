//! `serve`: the webhook server, the inbox's worker and the schedule, until stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use koalr_host::port::{Organisation, OrganisationState};
use koalr_host::scheduler::Scheduler;
use koalr_host::vault::VaultError;
use koalr_host::worker::InboxWorker;
use koalr_host::{Host, HostError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::cli::Serve;
use crate::console::{self, Refusals, Setup};
use crate::out::note;
use crate::shutdown::Shutdown;
use crate::{accept, open, secrets, server};

pub(crate) async fn run(options: Serve) -> Result<()> {
    // Before anything that takes time: a signal that comes meanwhile counts.
    let shutdown = Shutdown::listen()?;
    let token = options.console_token_env.as_deref().map(secrets::token).transpose()?;
    let database = options.database.clone();
    let opening = tokio::spawn(async move { open::new_host(&database).await });
    let host = tokio::select! {
        biased;
        () = shutdown.asked() => return Ok(()),
        opened = opening => opened.context("opening was cut off")??,
    };
    let organisations = host.store().organisations().await?;
    let connected = |of: &&Organisation| of.state != OrganisationState::Disconnected;
    for organisation in organisations.iter().filter(connected) {
        host.check_plugin(organisation)?;
    }
    let (listener, address) = listen(options.listen).await?;
    note!("Serving on http://{address}: webhooks, /healthz, /readyz, /metrics. Ctrl-C stops.");
    match (console::is_served(address, token.is_some(), options.public_url.is_some()), &token) {
        (true, None) => note!("  console: http://{address}/ for everybody on this machine"),
        (true, Some(_)) => note!("  console: http://{address}/ with the token"),
        (false, _) => {
            note!("  no console: this is reached over the network, and --console-token-env names no token")
        }
    }
    let name = &host.plugin().descriptor().name;
    for org in host.unopenable().await?.iter().take(NAMED) {
        note!("  warning: {}", VaultError::WrongKey(org.clone()));
    }
    for organisation in organisations.iter().take(NAMED) {
        note!("  {}: POST /webhooks/{name}/{}", organisation.id, organisation.id);
    }
    if organisations.len() > NAMED {
        note!("  and {} more; `org list` names them", organisations.len() - NAMED);
    }
    if organisations.is_empty() {
        note!("  no organisation is connected yet; `connect` may run while this serves");
    }
    let Serve { public_url, map_origin: origin_map, .. } = options;
    let setup = Setup { address, token, public_url, origin_map };
    serve(host, listener, std::future::ready(()), setup, &shutdown).await
}

/// Organisations that are named when it starts.
const NAMED: usize = 20;

/// Binds, and says where.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let busy = || format!("cannot listen on {address}; choose another address with --listen");
    let listener = TcpListener::bind(address).await.with_context(busy)?;
    let address = listener.local_addr().with_context(busy)?;
    Ok((listener, address))
}

/// What a request or a delivery in hand may still take once the process is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until the process is asked to stop; requests in hand are answered before, and work in hand is finished or
/// given back. Scheduled work begins after `scheduled`. Ends with an error once the database is gone.
pub(crate) async fn serve(
    host: Host,
    listener: TcpListener,
    scheduled: impl Future<Output = ()> + Send + 'static,
    setup: Setup,
    shutdown: &Shutdown,
) -> Result<()> {
    let refusals = Arc::new(Refusals::default());
    let metrics = Arc::new(server::Metrics::new());
    let connections = metrics.connections.clone();
    let console = console::router(host.clone(), setup, Arc::clone(&refusals));
    let known = host.store().organisations().await?;
    let known = known.iter().filter(|of| of.state != OrganisationState::Disconnected).map(|of| &of.id);
    let routes = server::router(host.clone(), known, refusals, metrics, console);
    let mut parts = JoinSet::new();
    let (worker, asked) = (InboxWorker::new(host.clone()), shutdown.asked());
    parts.spawn(async move { worker.run(asked, GRACE).await });
    let (scheduler, asked, early) = (Scheduler::new(host.clone()), shutdown.asked(), shutdown.asked());
    parts.spawn(async move {
        tokio::select! {
            () = scheduled => scheduler.run(asked).await,
            () = early => {}
        }
    });
    let bounds = accept::Bounds::of_this_process();
    let serving = accept::serve(listener, routes, bounds, connections, shutdown.asked());
    let (asked, gone) = (shutdown.asked(), shutdown.clone());
    let gone = async {
        let error = host.store_gone().await;
        // Requests in hand hear of it, and nothing is begun.
        gone.ask();
        error
    };
    let mut gone = std::pin::pin!(gone);
    let overdue = async {
        asked.await;
        note!("Stopping: what is in hand has {} s to end. Another signal ends it at once.", GRACE.as_secs());
        tokio::time::sleep(GRACE).await;
    };
    let mut lost = None;
    let served = {
        let mut serving = std::pin::pin!(async {
            tokio::select! {
                () = serving => Ok(()),
                () = overdue => Ok(()),
                error = failed(&mut parts, shutdown) => Err(error),
            }
        });
        loop {
            tokio::select! {
                served = serving.as_mut() => break served,
                error = gone.as_mut(), if lost.is_none() => lost = Some(error),
            }
        }
    };
    if let Some(error) = lost {
        // What they say of it comes before the last line, which says what to do.
        parts.shutdown().await;
        return Err(HostError::from(error).into());
    }
    served?;
    while let Some(ended) = parts.join_next().await {
        ended.context("what works in the background failed")?;
    }
    Ok(())
}

/// Ends when something that works in the background does without having been asked to: webhooks would be acknowledged
/// and never applied.
async fn failed(parts: &mut JoinSet<()>, shutdown: &Shutdown) -> anyhow::Error {
    while let Some(ended) = parts.join_next().await {
        if !shutdown.is_asked() {
            let cause =
                ended.err().map_or_else(|| "it came to its end".to_owned(), |error| error.to_string());
            return anyhow::anyhow!("what works in the background has ended ({cause}); see its log");
        }
    }
    std::future::pending().await
}
