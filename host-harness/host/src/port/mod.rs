//! Ports: what the host needs of a database, in the contract's words.
//!
//! Nothing here names SQL, a file or a lock, so that several host processes can share another store. Rows that
//! a worker takes are leased with a fencing token in the store itself; no in-process lock guards them.
//! Every method is scoped by [`OrgId`](crate::id::OrgId) where a row belongs to an organisation.

mod directory;
mod health;
mod inbox;
mod jobs;
mod migrations;
mod organisations;
mod records;
mod report;

pub use directory::{Ambiguity, Directory, HostService, HostUser, Imported, entity_reference, normalised};
pub use health::Health;
pub use inbox::{
    Accepted, DeliveryFilter, DeliveryRow, DeliveryState, Hands, Inbox, InboxDepth, KEPT_DEAD, Keep,
    LONGEST_RETRY, Lease, LeasedDelivery, NewDelivery,
};
pub use jobs::{BackfillWindow, Job, JobKind, JobLease, Jobs, Progress, Release};
pub use migrations::{Alias, AliasKind, Census, Migration, Migrations, Removed, UnderWay};
pub use organisations::{Organisation, OrganisationState, Organisations, OriginMapping, Sealed};
pub use records::{
    IncidentFilter, IncidentOrder, IncidentPage, Population, Records, Unmeasurable, Unmeasured,
};
pub use report::{Ended, Reports, SyncReport, UnknownTimestamp, Unmatched};

use crate::contract::Timestamp;

/// 2005-01-01T00:00:00Z. No incident is older: an earlier time is a mistake, which nothing measures. The component has
/// the same bound, and so have the readers of files.
pub const PLAUSIBLE: Timestamp = 1_104_537_600_000_000;

/// Why a store refused. Nothing of the refused call was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A passing fault, such as a locked or unreachable database: try again later.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// No room is left, on the disk or in the organisation's quota.
    #[error("storage is full: {0}")]
    Full(String),
    /// The stored bytes are not what was written; needs a person.
    #[error("storage is damaged: {0}")]
    Corrupt(String),
    /// The request breaks a rule of the store.
    #[error("storage refused the request: {0}")]
    Invalid(String),
    /// The database was moved, deleted, replaced or overwritten while it was in use. Of what was written since nothing was
    /// acknowledged, and the store takes no more: the process must end.
    #[error("{0}")]
    Gone(String),
    /// Somebody else wrote the row since it was read, or holds its lease now.
    #[error("the row was changed by somebody else")]
    Conflict,
}

/// Everything that the host needs of one database.
pub trait Store: Organisations + Records + Reports + Directory + Inbox + Jobs + Migrations + Health {}
impl<T: Organisations + Records + Reports + Directory + Inbox + Jobs + Migrations + Health> Store for T {}

/// Where time comes from, so that tests and replays can hold it still.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
    }
}
