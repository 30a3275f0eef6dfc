//! The plugin's own words: what it reads, derives and writes, without WIT and without I/O.
//!
//! These types mirror the contract one to one; `component` converts between the two and nothing else does.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Timestamp = i64;

/// One second in [`Timestamp`] units.
pub const SECOND: Timestamp = 1_000_000;
/// One day in [`Timestamp`] units.
pub const DAY: Timestamp = 86_400 * SECOND;

/// The host's own scale: P1 is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Critical.
    P1,
    /// Major.
    P2,
    /// Minor.
    P3,
    /// Informational.
    P4,
}

/// The provider's own severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Severity {
    /// The provider's identifier.
    pub id: Option<String>,
    /// The name that the organisation gave it.
    pub name: String,
    /// A higher rank is worse.
    pub rank: Option<i32>,
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub enum Phase {
    Triage,
    Active,
    Paused,
    Resolved,
    Closed,
    Declined,
    Canceled,
    Merged,
    Unknown,
}

impl Phase {
    /// Whether the impact is over: the only phases in which a resolution time means anything.
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Resolved | Phase::Closed)
    }
}

/// What kind of record an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub enum Mode {
    Standard,
    Retrospective,
    Test,
    Tutorial,
    Unknown,
}

/// Identity that survives a change of tool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncidentKey {
    /// `incidentio` or `opsgenie`.
    pub source: String,
    /// The identifier there.
    pub id: String,
}

/// An instant that a rule derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedTime {
    /// When.
    pub at: Timestamp,
    /// The rule's name.
    pub rule: Cow<'static, str>,
}

/// A person on the incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Responder {
    /// The provider's identifier.
    pub id: Option<String>,
    /// Lower-cased.
    pub email: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// The role's name.
    pub role: Option<String>,
    /// The host's user.
    pub user_id: Option<String>,
}

/// A service that the incident affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedService {
    /// The provider's name for it.
    pub name: String,
    /// Another system's identifier.
    pub external_id: Option<String>,
    /// The host's catalog entry.
    pub service_id: Option<String>,
}

/// One incident as the host keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct Incident {
    pub key: IncidentKey,
    pub reference: Option<String>,
    pub title: String,
    pub permalink: Option<String>,
    pub severity: Option<Severity>,
    pub priority: Option<Priority>,
    pub priority_rule: Cow<'static, str>,
    pub status: String,
    pub phase: Phase,
    pub mode: Mode,
    pub private: bool,
    pub created_at: Timestamp,
    pub started_at: Option<DerivedTime>,
    pub acknowledged_at: Option<DerivedTime>,
    pub resolved_at: Option<DerivedTime>,
    pub merged_into: Option<IncidentKey>,
    pub responders: Vec<Responder>,
    pub services: Vec<AffectedService>,
    pub updated_at: Timestamp,
}

/// One entry of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct TimelineEvent {
    pub incident: IncidentKey,
    pub id: String,
    pub at: Timestamp,
    pub kind: Cow<'static, str>,
    pub title: String,
    pub detail: Option<String>,
    pub actor: Option<String>,
}

/// What went wrong, in the terms that a scheduler needs; see the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub enum Error {
    Unauthorized(String),
    Forbidden(String),
    /// Milliseconds.
    RateLimited(u64),
    Unavailable(String),
    Malformed(String),
    Invalid(String),
    Storage(String),
}

/// What an organisation can set; see the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct Settings {
    pub severity_overrides: Vec<SeverityOverride>,
    pub service_fields: Vec<String>,
    pub include_private: bool,
    pub history_days: Option<u32>,
}

/// The organisation's own word on what a severity means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeverityOverride {
    /// Identifier, or name without regard to case.
    pub severity: String,
    /// What it maps to.
    pub priority: Priority,
}

/// The slice of an incident that time to restore needs; see the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct Sample {
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub acknowledged_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub priority: Option<Priority>,
    pub phase: Phase,
    pub mode: Mode,
    pub private: bool,
    /// Index into the page's sources.
    pub source: u32,
    /// Indexes into the page's services.
    pub services: Vec<u32>,
    pub duplicate: bool,
}

/// A page of samples with the names that they index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct SamplePage {
    pub samples: Vec<Sample>,
    pub sources: Vec<String>,
    pub services: Vec<String>,
    pub next: Option<String>,
}

/// What one bounded step of work did; see the contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct Step {
    pub fetched: u32,
    pub created: u32,
    pub updated: u32,
    pub stale: u32,
    pub requests: u32,
    pub done: u64,
    pub total: Option<u64>,
    pub more: bool,
    pub wait_ms: u64,
}
