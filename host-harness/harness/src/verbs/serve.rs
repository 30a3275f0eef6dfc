//! `serve`: the webhook server, the inbox's worker and the schedule, until stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use koalr_host::Host;
use koalr_host::scheduler::Scheduler;
use koalr_host::worker::InboxWorker;
use tokio::net::TcpListener;

use crate::cli::Serve;
use crate::console::{self, Refusals, Setup};
use crate::{open, secrets, server};

pub(crate) async fn run(options: Serve) -> Result<()> {
    let token = options.console_token_env.as_deref().map(secrets::from_variable).transpose()?;
    let host = open::new_host(&options.database).await?;
    let (listener, address) = listen(options.listen).await?;
    eprintln!("Serving on http://{address}: webhooks, /healthz, /metrics. Ctrl-C stops.");
    match (console::is_served(address, token.is_some(), options.public_url.is_some()), &token) {
        (true, None) => eprintln!("  console: http://{address}/ for everybody on this machine"),
        (true, Some(_)) => eprintln!("  console: http://{address}/ with the token"),
        (false, _) => eprintln!(
            "  no console: this is reached over the network, and --console-token-env names no token"
        ),
    }
    let name = &host.plugin().descriptor().name;
    let organisations = host.store().organisations().await?;
    for organisation in organisations.iter().take(NAMED) {
        eprintln!("  {}: POST /webhooks/{name}/{}", organisation.id, organisation.id);
    }
    if organisations.len() > NAMED {
        eprintln!("  and {} more; `org list` names them", organisations.len() - NAMED);
    }
    if organisations.is_empty() {
        eprintln!("  no organisation is connected yet; `connect` may run while this serves");
    }
    let Serve { public_url, map_origin: origin_map, .. } = options;
    serve(host, listener, std::future::ready(()), Setup { address, token, public_url, origin_map }).await
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
/// given back. Scheduled work begins after `scheduled`.
pub(crate) async fn serve(
    host: Host,
    listener: TcpListener,
    scheduled: impl Future<Output = ()> + Send + 'static,
    setup: Setup,
) -> Result<()> {
    let refusals = Arc::new(Refusals::default());
    let routes = server::router(host.clone(), Arc::clone(&refusals)).merge(console::router(
        host.clone(),
        setup,
        refusals,
    )?);
    let worker = InboxWorker::new(host.clone());
    let worker = tokio::spawn(async move { worker.run(asked_to_stop(), GRACE).await });
    let scheduler = Scheduler::new(host.clone());
    let schedule = tokio::spawn(async move {
        tokio::select! {
            () = scheduled => scheduler.run(asked_to_stop()).await,
            () = asked_to_stop() => {}
        }
    });
    let serving = axum::serve(listener, routes).with_graceful_shutdown(asked_to_stop());
    let overdue = async {
        asked_to_stop().await;
        tokio::time::sleep(GRACE).await;
    };
    // Without these, webhooks would be acknowledged and never applied. Who is asked to stop is gone before that.
    let ended = async {
        while !worker.is_finished() && !schedule.is_finished() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::sleep(2 * GRACE).await;
    };
    let served = tokio::select! {
        served = serving => served,
        () = overdue => Ok(()),
        () = ended => Err(std::io::Error::other("what works in the background has ended; see its log")),
    };
    served.context("the server stopped")?;
    worker.await.context("the inbox's worker failed")?;
    schedule.await.context("the schedule failed")
}

/// Ctrl-C, or the signal that service managers send.
pub(crate) async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
