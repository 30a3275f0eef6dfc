//! `simulate`: the simulated incident.io on a local port, until stopped.

use std::time::Duration;

use anyhow::Result;
use chrono::{TimeDelta, Utc};
use koalr_simulator::opsgenie::{Opsgenie, OpsgenieOptions};
use koalr_simulator::{Change, Keys, Mode, NewIncident, Options, RateLimits, Simulator, WebhookTarget};

use crate::cli::Simulate;
use crate::out::say;
use crate::secrets;
use crate::shutdown::Shutdown;
use crate::view::counted;

pub(crate) async fn run(options: Simulate) -> Result<()> {
    let shutdown = Shutdown::listen()?;
    let mut simulated = Options::new(options.incidents, options.seed, Utc::now());
    simulated.listen = options.listen;
    simulated.updates = options.updates;
    simulated.limits = (options.rate_limit || !options.no_rate_limit).then(RateLimits::default);
    if let Some(variable) = &options.api_key_env {
        let key = secrets::from_variable(variable)?;
        let roles = Keys::READ_ROLES.map(String::from).to_vec();
        simulated.keys = Keys::Listed([(key.expose().to_string(), roles)].into());
    }
    if let (Some(url), Some(variable)) = (&options.webhook_url, &options.webhook_secret_env) {
        simulated.webhook = Some(WebhookTarget::new(url, secrets::from_variable(variable)?.expose()));
    }
    let moves = simulated.webhook.is_some();
    let simulator = Simulator::start(simulated).await?;
    let incidents = counted(options.incidents as u64, "incident", "incidents");
    say!("Simulated incident.io with {incidents} on {}", simulator.base_url())?;
    if options.api_key_env.is_none() {
        say!("  any API key is accepted")?;
    }
    say!("  connect with --map-origin https://api.incident.io={}", simulator.base_url())?;
    let opsgenie = match options.opsgenie {
        Some(listen) => {
            // It ends where the other begins, less two weeks in which both were in use.
            let end = Utc::now() - TimeDelta::days(76);
            let before = OpsgenieOptions::new(options.incidents, options.seed, end);
            let opsgenie = Opsgenie::start(OpsgenieOptions { listen, ..before }).await?;
            say!("Simulated Opsgenie with {incidents} on {}", opsgenie.base_url())?;
            say!("  migrate with --region us --map-origin https://api.opsgenie.com={}", opsgenie.base_url())?;
            Some(opsgenie)
        }
        None => None,
    };
    if moves {
        let every = Duration::from_secs(options.every.max(1));
        say!("  an incident moves every {} s, and a signed webhook tells of it", every.as_secs())?;
        tokio::select! {
            moved = keep_moving(&simulator, every, options.seed) => moved?,
            () = shutdown.asked() => {}
        }
    } else {
        shutdown.asked().await;
    }
    if let Some(opsgenie) = opsgenie {
        opsgenie.stop();
    }
    simulator.stop().await;
    Ok(())
}

/// One incident after another, each from its declaration to its end.
async fn keep_moving(simulator: &Simulator, every: Duration, seed: u64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (services, severities) = (simulator.services(), simulator.severities());
    loop {
        let service = random.choice(&services).map(|(name, _)| name.clone()).into_iter().collect::<Vec<_>>();
        let title = format!("Elevated errors in {}", service.first().map_or("production", String::as_str));
        let new = NewIncident {
            name: title,
            severity: random.choice(&severities).cloned(),
            services: service,
            mode: Mode::Standard,
            private: random.u8(..10) == 0,
            lead: random.choice(&simulator.users()).map(|(_, email)| email.clone()),
        };
        let id = simulator.declare(new, Utc::now())?;
        for status in ["Fixing", "Monitoring", "closed"] {
            tokio::time::sleep(every).await;
            let change = Change { status: Some(status.into()), ..Change::default() };
            simulator.update(&id, change, Utc::now())?;
        }
        tokio::time::sleep(every).await;
    }
}
