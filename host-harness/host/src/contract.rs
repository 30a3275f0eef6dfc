//! The contract as Rust types, generated from `wit/`: the vocabulary that the whole host speaks.
//!
//! Records such as [`Incident`] cross the sandbox, the ports and the store unchanged, so that there is one
//! definition of each and no copying between look-alikes. Nothing here interprets them.

#[allow(missing_docs, unreachable_pub, reason = "generated; the documentation is in wit/integration.wit")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "integration",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
        additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
        with: {
            "wasi:io": wasmtime_wasi_io::bindings::wasi::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        },
    });
}

pub(crate) use bindings::koalr::integration as imports;
pub use bindings::{Integration, IntegrationPre};

pub use bindings::exports::koalr::integration::connector::{
    AccountTimestamp, BackfillRequest, BackfillSource, Bucket, ClockEnd, ClockStart, Connection, Delivery,
    Descriptor, Durations, Exclusion, Header, InjectedCredential, Mapping, MttrQuery, MttrReport,
    OpsgenieAccount, OpsgenieRegion, OtherClock, Outcome, Problem, Rederived, Rejection, Settings,
    SeverityOverride, Slice, Statistics, Step, Tier, TimestampChoice, Verified,
};
pub use bindings::koalr::integration::directory::ServiceName;
pub use bindings::koalr::integration::log::Level;
pub use bindings::koalr::integration::storage::{
    Applied, Change, IncidentWrite, KeyPage, RevisitPage, Sample, SamplePage, StorageError, StoredIncident,
    Timeline,
};
pub use bindings::koalr::integration::types::{
    AffectedService, DerivedTime, Error as GuestError, Incident, IncidentKey, Interval, Mode, Phase,
    Priority, Reopening, Responder, Severity, TimelineEvent,
};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Timestamp = i64;

/// Severities by the rules, the usual service fields and length of history, no private incidents.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            severity_overrides: vec![],
            service_fields: vec![],
            timestamps: TimestampChoice::default(),
            include_private: false,
            history_days: None,
        }
    }
}

/// The names that the plugin knows.
impl Default for TimestampChoice {
    fn default() -> TimestampChoice {
        TimestampChoice { started: None, acknowledged: None, resolved: None }
    }
}

impl MttrQuery {
    /// About everything between these edges, from creation to resolution.
    pub fn new(edges: Vec<Timestamp>) -> MttrQuery {
        MttrQuery {
            edges,
            start: ClockStart::Created,
            end: ClockEnd::Resolved,
            priorities: vec![],
            services: vec![],
            sources: vec![],
            include_private: true,
        }
    }
}
