//! What `opsgenie.wasm` exports: import of history. There is nothing to connect to, to poll or to be told of: a history is
//! imported once, or again, and asks for a key only while it is.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Host;
use crate::model::{
    BackfillRequest, BackfillSource, Connection, Delivery, Error, Mapping, MttrQuery, MttrReport, Outcome,
    Rederived, Rejection, Settings, Severity, Step,
};
use crate::opsgenie::{self, EU, INCIDENTS, US};
use crate::sync::backfill::Window;
use crate::sync::context::Context;
use crate::wit::exports::koalr::integration::connector::{Descriptor, Guest, InjectedCredential, Verified};

struct Plugin;

#[allow(unsafe_code, reason = "the canonical ABI's entry points, generated")]
mod exports {
    use super::Plugin;
    crate::wit::export!(Plugin with_types_in crate::wit);
}

fn imports_only<T>() -> Result<T, Error> {
    Err(Error::Invalid("the component `opsgenie` imports history and does nothing else".to_string()))
}

impl Guest for Plugin {
    fn describe() -> Descriptor {
        let injected = [US, EU].map(|origin| InjectedCredential {
            name: "opsgenie-key".to_string(),
            origin: origin.to_string(),
            header: "authorization".to_string(),
            prefix: "GenieKey ".to_string(),
        });
        Descriptor {
            name: INCIDENTS.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            display_name: "Opsgenie".to_string(),
            origins: Vec::from([US.to_string(), EU.to_string()]),
            injected: injected.to_vec(),
            revealed: Vec::new(),
            webhook_events: Vec::new(),
            poll_interval_seconds: 0,
            history_days: 0,
        }
    }

    fn connect(_: Settings, _: Option<String>) -> Result<Connection, Error> {
        imports_only()
    }

    fn verify_webhook(_: Delivery) -> Result<Verified, Rejection> {
        Err(Rejection::NoSecret)
    }

    fn handle_event(_: Delivery) -> Result<Outcome, Error> {
        imports_only()
    }

    fn poll() -> Result<Step, Error> {
        imports_only()
    }

    fn rederive(after: Option<String>) -> Result<Rederived, Error> {
        opsgenie::rederive(&mut Host::default(), after.as_deref())
    }

    fn backfill(request: BackfillRequest) -> Result<Step, Error> {
        let mut host = Host::default();
        match request.source {
            BackfillSource::Opsgenie(account) => {
                let window = Window { since: request.since, until: request.until };
                opsgenie::import(&mut host, account, window, request.dry_run)
            }
            BackfillSource::OpsgenieRecords(piece) => opsgenie::piece(&mut host, &piece),
            BackfillSource::Incidentio => imports_only(),
        }
    }

    fn map_severity(severity: Severity) -> Result<Mapping, Error> {
        Ok((INCIDENTS.mapping)(Some(&severity), &Context::load(&mut Host::default())?))
    }

    fn compute_mttr(_: MttrQuery) -> Result<MttrReport, Error> {
        imports_only()
    }
}
