//! The component itself: each export converts its input, calls one function of the plugin, converts the answer.
//!
//! This folder is the only place that knows WIT and WASI. Compiled for wasm only.

mod convert;
mod http;
mod runtime;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::incidentio::client;
use crate::model::{Error, IncidentKey, SECOND, SamplePage, Timestamp};
use crate::port::{
    Applied, Change, Failure, Level, Request, Response, Revisits, ServiceName, StorageError, Stored, World,
};
use crate::sync::{backfill, connect, context::Context, event, poll};
use crate::webhook::{self, signature};
use crate::{mttr, severity};

#[allow(missing_docs, unsafe_code, unreachable_pub, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "integration",
        with: {
            "wasi:clocks/monotonic-clock@0.2.12": wasi::clocks::monotonic_clock,
            "wasi:clocks/wall-clock@0.2.12": wasi::clocks::wall_clock,
            "wasi:http/outgoing-handler@0.2.12": wasi::http::outgoing_handler,
            "wasi:http/types@0.2.12": wasi::http::types,
            "wasi:io/error@0.2.12": wasi::io::error,
            "wasi:io/poll@0.2.12": wasi::io::poll,
            "wasi:io/streams@0.2.12": wasi::io::streams,
        },
    });
}

use bindings::exports::koalr::integration::connector as wit;
use bindings::koalr::integration as imports;

struct Plugin;

#[allow(unsafe_code, reason = "the canonical ABI's entry points, generated")]
mod exports {
    use super::Plugin;
    super::bindings::export!(Plugin with_types_in super::bindings);
}

/// The secret that deliveries are signed with.
const WEBHOOK_SECRET: &str = "webhook-secret";

impl wit::Guest for Plugin {
    fn describe() -> wit::Descriptor {
        wit::Descriptor {
            name: crate::sync::SOURCE.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            display_name: "Incident.io".to_string(),
            origins: Vec::from([client::ORIGIN.to_string()]),
            injected: Vec::from([wit::InjectedCredential {
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

    fn connect(settings: wit::Settings) -> Result<wit::Connection, wit::Error> {
        Ok(connect::connect(&mut Host, &settings.into())?.into())
    }

    fn verify_webhook(delivery: wit::Delivery) -> Result<wit::Verified, wit::Rejection> {
        let headers: Vec<signature::Header<'_>> =
            delivery.headers.iter().map(|h| signature::Header { name: &h.name, value: &h.value }).collect();
        let secrets = Host.secrets(WEBHOOK_SECRET);
        let signed = signature::verify(&secrets, &headers, &delivery.body, Host.now().div_euclid(SECOND))?;
        let envelope = webhook::event::envelope(&delivery.body).map_err(|_| wit::Rejection::MalformedBody)?;
        Ok(wit::Verified {
            id: signed.id,
            sent_at: signed.sent_at_seconds.saturating_mul(SECOND),
            event_type: envelope.event_type.to_string(),
            incident_id: envelope.incident_id(),
        })
    }

    fn handle_event(delivery: wit::Delivery) -> Result<wit::Outcome, wit::Error> {
        Ok(event::handle(&mut Host, &delivery.body)?.into())
    }

    fn poll() -> Result<wit::Step, wit::Error> {
        Ok(poll::poll(&mut Host)?.into())
    }

    fn backfill(request: wit::BackfillRequest) -> Result<wit::Step, wit::Error> {
        match request.source {
            wit::BackfillSource::Incidentio => {
                let window = backfill::Window { since: request.since, until: request.until };
                Ok(backfill::backfill(&mut Host, window, request.dry_run)?.into())
            }
            wit::BackfillSource::Opsgenie | wit::BackfillSource::OpsgenieRecords(_) => {
                Err(wit::Error::Invalid("this version imports no Opsgenie history yet".to_string()))
            }
        }
    }

    fn map_severity(severity: wit::Severity) -> Result<wit::Mapping, wit::Error> {
        let context = Context::load(&mut Host)?;
        let known = context.account.known_severities();
        let mapping = severity::map(Some(&severity.into()), &context.settings.severity_overrides, &known);
        Ok(mapping.into())
    }

    fn compute_mttr(query: wit::MttrQuery) -> Result<wit::MttrReport, wit::Error> {
        Ok(mttr::compute(&query.into(), &mut |since, until, after| Host.samples(since, until, after))?.into())
    }
}

/// The host's functions.
struct Host;

impl World for Host {
    fn now(&self) -> Timestamp {
        let now = wasi::clocks::wall_clock::now();
        let seconds = Timestamp::try_from(now.seconds).unwrap_or(Timestamp::MAX / SECOND);
        seconds.saturating_mul(SECOND).saturating_add(Timestamp::from(now.nanoseconds) / 1_000)
    }

    fn fetch(&mut self, requests: &[Request]) -> Vec<Result<Response, Failure>> {
        http::fetch(requests)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<Applied, StorageError> {
        let changes: Vec<imports::storage::Change> = changes.into_iter().map(Into::into).collect();
        Ok(imports::storage::commit(&changes)?.into())
    }

    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<Stored>>, StorageError> {
        let keys: Vec<imports::types::IncidentKey> = keys.iter().cloned().map(Into::into).collect();
        let stored = imports::storage::get_incidents(&keys)?;
        Ok(stored.into_iter().map(|stored| stored.map(Into::into)).collect())
    }

    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(imports::storage::get_state(key)?)
    }

    fn to_revisit(&mut self, source: &str, limit: u32) -> Result<Revisits, StorageError> {
        let page = imports::storage::to_revisit(source, limit)?;
        Ok(Revisits { keys: page.keys.into_iter().map(Into::into).collect(), total: page.total })
    }

    fn samples(
        &mut self,
        since: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<SamplePage, StorageError> {
        Ok(imports::storage::scan_samples(since, until, after)?.into())
    }

    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError> {
        Ok(imports::directory::users_by_email(emails)?)
    }

    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError> {
        let names: Vec<imports::directory::ServiceName> = names.iter().cloned().map(Into::into).collect();
        Ok(imports::directory::services_by_name(&names)?)
    }

    fn secrets(&mut self, name: &str) -> Vec<String> {
        imports::credentials::reveal(name)
    }

    fn log(&mut self, level: Level, message: &str, fields: &[(&str, String)]) {
        let fields: Vec<(String, String)> = fields.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        imports::log::log(level.into(), message, &fields);
    }
}

impl From<StorageError> for wit::Error {
    fn from(error: StorageError) -> Self {
        Error::from(error).into()
    }
}
