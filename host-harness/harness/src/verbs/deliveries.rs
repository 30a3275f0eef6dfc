//! `deliveries` and `webhook replay`: what became of webhooks, and having them applied again.

use anyhow::{Result, ensure};
use koalr_host::id::DeliveryId;
use koalr_host::port::{DeliveryFilter, DeliveryRow, DeliveryState};
use koalr_host::worker::InboxWorker;
use serde::Serialize;

use super::print_json;
use crate::cli::{self, OneOrg, StateArg};
use crate::out::say;
use crate::{open, view};

/// Rows of a table unless another number is asked for.
const ROWS: u32 = 50;

#[derive(Serialize)]
struct Document<'a> {
    organisation: &'a str,
    deliveries: Vec<RowView<'a>>,
}

#[derive(Serialize)]
struct RowView<'a> {
    id: &'a str,
    event_type: &'a str,
    incident: Option<&'a str>,
    received_at: String,
    state: DeliveryState,
    attempts: u32,
    outcome: Option<&'a str>,
    error: Option<&'a str>,
    finished_at: Option<String>,
    altered_at: Option<String>,
    replayed_at: Option<String>,
}

fn row(of: &DeliveryRow) -> RowView<'_> {
    RowView {
        id: of.id.as_str(),
        event_type: &of.event_type,
        incident: of.incident.as_deref(),
        received_at: view::instant(of.received_at),
        state: of.state,
        attempts: of.attempts,
        outcome: of.outcome.as_deref(),
        error: of.error.as_deref(),
        finished_at: of.finished_at.map(view::instant),
        altered_at: of.altered_at.map(view::instant),
        replayed_at: of.replayed_at.map(view::instant),
    }
}

pub(crate) async fn list(options: cli::Deliveries) -> Result<()> {
    let target = &options.target;
    let host = open::host(&target.database).await?;
    host.organisation(&target.org).await?;
    let state = options.state.map(|state| match state {
        StateArg::Pending => DeliveryState::Pending,
        StateArg::Done => DeliveryState::Done,
        StateArg::Dead => DeliveryState::Dead,
    });
    let limit = options.limit.or((!target.json.json).then_some(ROWS));
    let rows = host
        .store()
        .deliveries(&target.org, &DeliveryFilter { state, limit, ..DeliveryFilter::default() })
        .await?;
    print(target, &rows, "No deliveries match.")
}

pub(crate) async fn replay(options: cli::WebhookReplay) -> Result<()> {
    let target = &options.target;
    let host = open::host(&target.database).await?;
    let (store, org) = (host.store(), &target.org);
    host.organisation(org).await?;
    let ids: Vec<DeliveryId> = if options.dead {
        let dead = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
        store.deliveries(org, &dead).await?.into_iter().map(|row| row.id).collect()
    } else {
        options.ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?
    };
    for id in &ids {
        let found = host.replay(org, id).await?;
        ensure!(found, "{org} has no delivery {id} that was given up or done; `deliveries` lists them");
    }
    // A server on the same database may be quicker, which is as well.
    InboxWorker::new(host.clone()).drain().await?;
    let rows = store.deliveries(org, &DeliveryFilter::default()).await?;
    let replayed: Vec<DeliveryRow> = rows.into_iter().filter(|row| ids.contains(&row.id)).collect();
    print(target, &replayed, "No delivery was given up.")
}

fn print(target: &OneOrg, rows: &[DeliveryRow], none: &str) -> Result<()> {
    if target.json.json {
        let deliveries = rows.iter().map(row).collect();
        return print_json(&Document { organisation: target.org.as_str(), deliveries });
    }
    if rows.is_empty() {
        say!("{none}")?;
        return Ok(());
    }
    let cells = rows.iter().map(|of| {
        let state = match of.state {
            DeliveryState::Pending => "pending",
            DeliveryState::Done => "done",
            DeliveryState::Dead => "dead",
        };
        let told = of.outcome.as_deref().or(of.error.as_deref()).unwrap_or_default();
        let altered =
            if of.altered_at.is_some() { "; came again with another body, which is ignored" } else { "" };
        vec![
            view::printable(of.id.as_str()),
            view::short_instant(of.received_at),
            state.to_owned(),
            of.attempts.to_string(),
            view::printable(&of.event_type),
            format!("{}{altered}", view::printable(told)),
        ]
    });
    let headers = ["Id", "Received", "State", "Attempts", "Event", "Outcome"];
    say!("{}", view::table(&headers, &[3], cells.collect()))?;
    Ok(())
}
