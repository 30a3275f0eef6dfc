//! The component itself: each export calls one function of the plugin, each import is one of [`World`].
//!
//! This folder is the only place that calls WIT's imports and WASI. Compiled for wasm only.

mod http;
mod runtime;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::incidentio::client;
use crate::model::{
    Applied, BackfillRequest, BackfillSource, Change, Connection, Delivery, Error, IncidentKey, KeyPage,
    Level, Mapping, MttrQuery, MttrReport, Outcome, Rederived, Rejection, RevisitPage, SECOND, SamplePage,
    ServiceName, Settings, Severity, Step, StorageError, StoredIncident, Timestamp,
};
use crate::port::{Answer, Request, World};
use crate::sync::{backfill, connect, context::Context, event, poll, rederive};
use crate::webhook::{self, signature};
use crate::wit::exports::koalr::integration::connector::{Descriptor, Guest, InjectedCredential, Verified};
use crate::wit::koalr::integration as imports;
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
            webhook_events: webhook::event::SELECT.map(String::from).to_vec(),
            poll_interval_seconds: poll::INTERVAL_SECONDS,
            history_days: backfill::HISTORY_DAYS,
        }
    }

    fn connect(settings: Settings) -> Result<Connection, Error> {
        connect::connect(&mut Host::default(), &settings)
    }

    fn verify_webhook(delivery: Delivery) -> Result<Verified, Rejection> {
        let mut host = Host::default();
        let secrets = host.secrets(WEBHOOK_SECRET);
        let now = host.now().div_euclid(SECOND);
        let signed = signature::verify(&secrets, &delivery.headers, &delivery.body, now)?;
        let envelope = webhook::event::envelope(&delivery.body).map_err(|_| Rejection::MalformedBody)?;
        Ok(Verified {
            id: signed.id,
            sent_at: signed.sent_at_seconds.saturating_mul(SECOND),
            incident_id: envelope.incident_id(),
            event_type: envelope.event_type,
        })
    }

    fn handle_event(delivery: Delivery) -> Result<Outcome, Error> {
        event::handle(&mut Host::default(), &delivery.body)
    }

    fn poll() -> Result<Step, Error> {
        poll::poll(&mut Host::default())
    }

    fn rederive(after: Option<String>) -> Result<Rederived, Error> {
        rederive::rederive(&mut Host::default(), after.as_deref())
    }

    fn backfill(request: BackfillRequest) -> Result<Step, Error> {
        match request.source {
            BackfillSource::Incidentio => {
                let window = backfill::Window { since: request.since, until: request.until };
                backfill::backfill(&mut Host::default(), window, request.dry_run)
            }
            BackfillSource::Opsgenie | BackfillSource::OpsgenieRecords(_) => {
                Err(Error::Invalid("this version imports no Opsgenie history yet".to_string()))
            }
        }
    }

    fn map_severity(severity: Severity) -> Result<Mapping, Error> {
        let context = Context::load(&mut Host::default())?;
        Ok(severity::map(Some(&severity), &context.settings.severity_overrides, &context.account.severities))
    }

    fn compute_mttr(query: MttrQuery) -> Result<MttrReport, Error> {
        let mut host = Host::default();
        mttr::compute(&query, &mut |since, until, after| host.samples(since, until, after))
    }
}

/// The host's functions.
#[derive(Default)]
struct Host {
    http: http::Client,
}

impl World for Host {
    fn now(&self) -> Timestamp {
        let now = wasi::clocks::wall_clock::now();
        let seconds = Timestamp::try_from(now.seconds).unwrap_or(Timestamp::MAX / SECOND);
        seconds.saturating_mul(SECOND).saturating_add(Timestamp::from(now.nanoseconds) / 1_000)
    }

    fn begin(&mut self, request: &Request) {
        self.http.begin(request);
    }

    fn fetch(&mut self, requests: &[Request]) -> Vec<Answer> {
        self.http.fetch(requests)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError> {
        imports::storage::commit(changes)
    }

    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<StoredIncident>>, StorageError> {
        imports::storage::get_incidents(keys)
    }

    fn list(&mut self, source: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError> {
        imports::storage::list_incidents(source, after, limit)
    }

    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        imports::storage::get_state(key)
    }

    fn to_revisit(&mut self, source: &str, limit: u32) -> Result<RevisitPage, StorageError> {
        imports::storage::to_revisit(source, limit)
    }

    fn samples(
        &mut self,
        since: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<SamplePage, StorageError> {
        imports::storage::scan_samples(since, until, after)
    }

    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError> {
        imports::directory::users_by_email(emails)
    }

    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError> {
        imports::directory::services_by_name(names)
    }

    fn secrets(&mut self, name: &str) -> Vec<String> {
        imports::credentials::reveal(name)
    }

    fn log(&mut self, level: Level, message: &str, fields: &[(String, String)]) {
        imports::log::log(level, message, fields);
    }
}
