//! Incidents, timelines and the plugin's own state.

use super::{Lease, StoreError};
use crate::contract::{
    Applied, Change, ClockStart, Incident, IncidentKey, KeyPage, Mode, Phase, Priority, RevisitPage,
    SamplePage, StoredIncident, TimelineEvent, Timestamp,
};
use crate::id::OrgId;

/// Which incidents a list shows. Empty lists and absent values admit everything.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Any of these priorities.
    pub priorities: Vec<Priority>,
    /// Any of these phases.
    pub phases: Vec<Phase>,
    /// Any of these sources.
    pub sources: Vec<String>,
    /// An affected service, by catalog entry's name or by the provider's name, without regard to case.
    pub service: Option<String>,
    /// Part of the title or reference, without regard to case.
    pub text: Option<String>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
    /// Any of these modes.
    pub modes: Vec<Mode>,
    /// Whether it is known from another source, where it is counted.
    pub duplicate: Option<bool>,
    /// Another priority than these, or none.
    pub not_priorities: Vec<Priority>,
    /// No affected service of this name, compared like `service`.
    pub not_service: Option<String>,
    /// Without a time to restore for this reason.
    pub unmeasured: Option<Unmeasured>,
    /// In the population that time to restore looks at from the first of these until before the second; see
    /// `scan-samples` in the contract.
    pub population: Option<(Timestamp, Timestamp)>,
    /// What the list is ordered by.
    pub order: IncidentOrder,
    /// From the smallest, oldest, shortest on.
    pub ascending: bool,
    /// At most so many; none for all.
    pub limit: Option<u32>,
    /// Skip so many.
    pub offset: u32,
}

/// Why an incident that is over has no time to restore; by the same rules as the component's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmeasured {
    /// Nothing tells since when it is over.
    NoResolution,
    /// Nothing tells when this clock starts.
    NoStart(ClockStart),
    /// It ended before this clock started.
    Negative(ClockStart),
}

/// What a list of incidents is ordered by; equals are ordered by creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IncidentOrder {
    /// Creation.
    #[default]
    Created,
    /// Resolution. Those without one come last.
    Resolved,
    /// Time from creation to resolution. Those without one come last.
    Duration,
    /// Priority, P1 the highest. Those without one come last.
    Priority,
}

/// A part of a list, in the order asked for, and the size of the whole.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentPage {
    /// This part.
    pub incidents: Vec<Incident>,
    /// How many match in all.
    pub total: u64,
}

/// Incidents, timelines and plugin state.
#[async_trait::async_trait]
pub trait Records: Send + Sync {
    /// All of the changes or none of them, durable on return. With `completes`, the delivery of that lease is
    /// marked as applied in the same transaction; a lease that was lost in the meantime is a `Conflict`.
    async fn commit(
        &self,
        org: &OrgId,
        changes: Vec<Change>,
        completes: Option<&Lease>,
    ) -> Result<Applied, StoreError>;
    /// One answer per key, in order.
    async fn incidents_by_key(
        &self,
        org: &OrgId,
        keys: &[IncidentKey],
    ) -> Result<Vec<Option<StoredIncident>>, StoreError>;
    /// A part of one source's incidents.
    async fn incident_keys(
        &self,
        org: &OrgId,
        source: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage, StoreError>;
    /// The plugin's own state.
    async fn state(&self, org: &OrgId, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Incidents whose last write asked for a revisit, newest creation first.
    async fn to_revisit(&self, org: &OrgId, source: &str, limit: u32) -> Result<RevisitPage, StoreError>;
    /// See `scan-samples` in the contract.
    async fn scan_samples(
        &self,
        org: &OrgId,
        since: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<SamplePage, StoreError>;
    /// What [`Records::scan_samples`] answers of one incident alone: one sample, or none if it is not in the
    /// population of that time.
    async fn sample(
        &self,
        org: &OrgId,
        key: &IncidentKey,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<SamplePage, StoreError>;

    /// A part of the incident list. Withheld incidents are not on it.
    async fn incidents(&self, org: &OrgId, filter: &IncidentFilter) -> Result<IncidentPage, StoreError>;
    /// One that is not withheld, by reference (without regard to case) or by the provider's id.
    async fn find_incident(&self, org: &OrgId, name: &str) -> Result<Option<Incident>, StoreError>;
    /// One incident's timeline, oldest first, then by id.
    async fn timeline(&self, org: &OrgId, key: &IncidentKey) -> Result<Vec<TimelineEvent>, StoreError>;
}
