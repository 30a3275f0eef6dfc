//! What a person asks about a sync: what is unmatched, what was skipped and why.

use super::StoreError;
use crate::contract::Timestamp;
use crate::id::OrgId;

/// Someone or something that the host's directory does not know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unmatched {
    /// A person's address, else name, else the provider's id; a service's name.
    pub name: String,
    /// Incidents that name it.
    pub incidents: u64,
}

/// Deliveries that ended alike.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ended {
    /// What they led to, or why they failed.
    pub outcome: String,
    /// How many.
    pub deliveries: u64,
    /// How many incidents they name.
    pub incidents: u64,
}

/// A timestamp of the provider's that may be the end of incidents.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UnknownTimestamp {
    /// As the organisation calls it.
    pub name: String,
    /// Incidents whose end is nothing but a change of status, although this timestamp lies before it.
    pub incidents: u64,
}

/// How an organisation's sync stands, as far as its records and deliveries tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Incidents that are listed.
    pub incidents: u64,
    /// Private incidents that the settings do not ask for.
    pub withheld: u64,
    /// People without a user of the host that the newest two thousand incidents name, those with the most incidents
    /// first; at most as many as were asked for.
    pub people: Vec<Unmatched>,
    /// How many people that are.
    pub unmatched_people: u64,
    /// The same of services without a catalog entry.
    pub services: Vec<Unmatched>,
    /// How many services that are in all.
    pub unmatched_services: u64,
    /// Deliveries that wait for a worker or for their next attempt.
    pub pending: u64,
    /// When the last delivery arrived.
    pub last_delivery_at: Option<Timestamp>,
}

/// Reports for people.
#[async_trait::async_trait]
pub trait Reports: Send + Sync {
    /// The report, with at most `most` unmatched people and services each.
    async fn sync_report(&self, org: &OrgId, most: u32) -> Result<SyncReport, StoreError>;
    /// Deliveries that ended, the most frequent outcome first.
    async fn endings(&self, org: &OrgId) -> Result<Vec<Ended>, StoreError>;
    /// Timestamps of which nobody told what they mean and that may be the end of incidents, those of the most incidents
    /// first. [`Settings::timestamps`](crate::contract::Settings) says what one means.
    async fn unknown_timestamps(&self, org: &OrgId) -> Result<Vec<UnknownTimestamp>, StoreError>;
    /// Services that incidents affect, by the catalog entry's name, else by the provider's; of spellings of one name (see
    /// [`normalised`](super::normalised)) the first in the order of bytes. In the order of the alphabet; at most so many.
    async fn service_names(&self, org: &OrgId, most: u32) -> Result<Vec<String>, StoreError>;
    /// The names, as [`Reports::service_names`] has them, of what this name leads to: services that incidents affect,
    /// by either name, and catalog entries. Empty if there is no such service.
    async fn services_named(&self, org: &OrgId, name: &str) -> Result<Vec<String>, StoreError>;
    /// Another number whenever anybody, another process included, has written anything.
    async fn generation(&self) -> Result<i64, StoreError>;
}
