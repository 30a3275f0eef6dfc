//! The plugin's words: the contract's own types, generated from `wit/`, so that nothing is converted on the way
//! in or out. Plain values on every target; only `component` calls the functions that go with them.

use crate::wit::exports::koalr::integration::connector;
use crate::wit::koalr::integration::{directory, log, storage, types};

pub use connector::{
    AccountTimestamp, BackfillRequest, BackfillSource, Bucket, ClockEnd, ClockStart, Connection, Delivery,
    Durations, Exclusion, Header, Mapping, MttrQuery, MttrReport, OpsgenieAccount, OpsgenieRegion,
    OtherClock, Outcome, Problem, Rederived, Rejection, Settings, SeverityOverride, Slice, Statistics, Step,
    Tier, TimestampChoice,
};
pub use directory::ServiceName;
pub use log::Level;
pub use storage::{
    Applied, Change, IncidentWrite, KeyPage, RevisitPage, Sample, SamplePage, StorageError, StoredIncident,
    Timeline,
};
pub use types::{
    AffectedService, DerivedTime, Error, Incident, IncidentKey, Interval, Mode, Phase, Priority, Reopening,
    Responder, Severity, TimelineEvent, Timestamp,
};

pub use koalr_codec::{DAY, SECOND};

impl Phase {
    /// Whether the impact is over: the only phases in which a resolution time means anything.
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Resolved | Phase::Closed)
    }

    /// Whether it is still to be dealt with.
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Triage | Phase::Active | Phase::Paused)
    }
}

/// Nothing done, nothing left to do.
impl Default for Step {
    fn default() -> Self {
        Step {
            fetched: 0,
            created: 0,
            updated: 0,
            stale: 0,
            requests: 0,
            done: 0,
            total: None,
            more: false,
            wait_ms: 0,
            rederive: false,
            problems: Default::default(),
        }
    }
}

/// Nothing set: the plugin decides.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            severity_overrides: Default::default(),
            service_fields: Default::default(),
            timestamps: Default::default(),
            include_private: false,
            history_days: None,
        }
    }
}

/// The names that the plugin knows.
impl Default for TimestampChoice {
    fn default() -> Self {
        TimestampChoice { started: None, acknowledged: None, resolved: None }
    }
}

/// Nothing written.
impl Default for Applied {
    fn default() -> Self {
        Applied { created: 0, updated: 0, unchanged: 0, stale: 0, events: 0 }
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Error::Storage(error)
    }
}
