//! What `incidentio.wasm` exports.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Host;
use crate::incidentio::client;
use crate::model::{
    BackfillRequest, BackfillSource, Connection, Delivery, Error, Mapping, MttrQuery, MttrReport, Outcome,
    Rederived, Rejection, SECOND, Settings, Severity, Step,
};
use crate::port::World;
use crate::sync::{backfill, connect, context::Context, derive, event as apply, poll, rederive};
use crate::webhook::{event, signature};
use crate::wit::exports::koalr::integration::connector::{Descriptor, Guest, InjectedCredential, Verified};
use crate::{mttr, severity};

struct Plugin;

#[allow(unsafe_code, reason = "the canonical ABI's entry points, generated")]
mod exports {
    use super::Plugin;
    crate::wit::export!(Plugin with_types_in crate::wit);
}

/// The secret that deliveries are signed with.
const WEBHOOK_SECRET: &str = "webhook-secret";

impl Guest for Plugin {
    fn describe() -> Descriptor {
        Descriptor {
            name: crate::sync::SOURCE.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            display_name: "Incident.io".to_string(),
            origins: Vec::from([client::ORIGIN.to_string()]),
            injected: Vec::from([InjectedCredential {
                name: "api-key".to_string(),
                origin: client::ORIGIN.to_string(),
                header: "authorization".to_string(),
                prefix: "Bearer ".to_string(),
            }]),
            revealed: Vec::from([WEBHOOK_SECRET.to_string()]),
            webhook_events: event::SELECT.map(String::from).to_vec(),
            poll_interval_seconds: poll::INTERVAL_SECONDS,
            history_days: backfill::HISTORY_DAYS,
        }
    }

    fn connect(settings: Settings, account: Option<String>) -> Result<Connection, Error> {
        connect::connect(&mut Host::default(), &settings, account.as_deref())
    }

    fn verify_webhook(delivery: Delivery) -> Result<Verified, Rejection> {
        let mut host = Host::default();
        let secrets = host.secrets(WEBHOOK_SECRET);
        let now = host.now().div_euclid(SECOND);
        let signed = signature::verify(&secrets, &delivery.headers, &delivery.body, now)?;
        let named = event::named(&delivery.body);
        Ok(Verified {
            id: signed.id,
            sent_at: signed.sent_at_seconds.saturating_mul(SECOND),
            incident_id: named.incident_id,
            event_type: named.event_type,
        })
    }

    fn handle_event(delivery: Delivery) -> Result<Outcome, Error> {
        apply::handle(&mut Host::default(), &delivery.body)
    }

    fn poll() -> Result<Step, Error> {
        poll::poll(&mut Host::default())
    }

    fn rederive(after: Option<String>) -> Result<Rederived, Error> {
        rederive::rederive(&mut Host::default(), &derive::INCIDENTIO, after.as_deref())
    }

    fn backfill(request: BackfillRequest) -> Result<Step, Error> {
        match request.source {
            BackfillSource::Incidentio => {
                let window = backfill::Window { since: request.since, until: request.until };
                backfill::backfill(&mut Host::default(), window, request.dry_run)
            }
            BackfillSource::Opsgenie(_) | BackfillSource::OpsgenieRecords(_) => {
                Err(Error::Invalid("Opsgenie's history is imported by the component `opsgenie`".to_string()))
            }
        }
    }

    fn map_severity(severity: Severity) -> Result<Mapping, Error> {
        let context = Context::load(&mut Host::default())?;
        Ok(severity::map(Some(&severity), &context.settings.severity_overrides, &context.account.severities))
    }

    fn compute_mttr(query: MttrQuery) -> Result<MttrReport, Error> {
        let mut host = Host::default();
        let now = host.now();
        mttr::compute(&query, now, &mut |since, until, now, after| host.samples(since, until, now, after))
    }
}
