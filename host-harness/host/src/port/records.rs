//! Incidents, timelines and the plugin's own state.

use super::{Lease, StoreError};
use crate::contract::{
    Applied, Change, ClockEnd, ClockStart, Incident, IncidentKey, KeyPage, Mode, Phase, Priority,
    RevisitPage, SamplePage, StoredIncident, TimelineEvent, Timestamp,
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
    /// An affected service, by the catalog entry's name or by one that the provider has for it; see
    /// [`normalised`](super::normalised).
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
    /// Whether an open one is taken for deleted, because the provider has not shown it for long.
    pub not_visible: Option<bool>,
    /// Without a time to restore for this reason.
    pub unmeasured: Option<Unmeasured>,
    /// In the population that time to restore looks at.
    pub population: Option<Population>,
    /// What the list is ordered by.
    pub order: IncidentOrder,
    /// From the smallest, oldest, shortest on.
    pub ascending: bool,
    /// At most so many; none for all.
    pub limit: Option<u32>,
    /// Skip so many.
    pub offset: u32,
}

/// Which incidents time to restore looks at; see `scan-samples` in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// From here on...
    pub since: Timestamp,
    /// ...until before this.
    pub until: Timestamp,
    /// What is later is not believed.
    pub now: Timestamp,
}

/// Why an incident that is over has no time to restore, by the same rules as the component's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmeasured {
    /// The first reason that applies.
    pub reason: Unmeasurable,
    /// Where the clock starts.
    pub start: ClockStart,
    /// Where it ends.
    pub end: ClockEnd,
    /// What is later is not believed.
    pub now: Timestamp,
}

/// A reason against a time to restore, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmeasurable {
    /// A time that decides is a mistake: it lies before 2005.
    ImplausibleTime,
    /// It ends later than now.
    EndsInTheFuture,
    /// It was written down afterwards, and nothing but that moment tells its start or its end.
    EnteredLater,
    /// The clock starts at its creation, which is not known.
    NoCreationTime,
    /// Nothing tells since when it is over.
    NoResolutionTime,
    /// Nothing tells when the clock starts.
    NoStartTime,
    /// It ended before the clock started.
    NegativeDuration,
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
    /// The same of those that are in triage, active or paused.
    async fn open_keys(
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
        population: Population,
        after: Option<&str>,
    ) -> Result<SamplePage, StoreError>;
    /// What [`Records::scan_samples`] answers of one incident alone: one sample, or none if it is not in the
    /// population.
    async fn sample(
        &self,
        org: &OrgId,
        key: &IncidentKey,
        population: Population,
    ) -> Result<SamplePage, StoreError>;

    /// A part of the incident list. Withheld incidents are not on it.
    async fn incidents(&self, org: &OrgId, filter: &IncidentFilter) -> Result<IncidentPage, StoreError>;
    /// One that is not withheld, by reference (without regard to case) or by the provider's id.
    async fn find_incident(&self, org: &OrgId, name: &str) -> Result<Option<Incident>, StoreError>;
    /// One incident's timeline, oldest first, then by id.
    async fn timeline(&self, org: &OrgId, key: &IncidentKey) -> Result<Vec<TimelineEvent>, StoreError>;
}
