//! What the plugin may do, as one trait: the imports of the contract in the plugin's own words.
//!
//! The component implements it with the host's functions, tests implement it in memory. Nothing else reaches
//! outside: no clock, no randomness, no environment.

use alloc::string::String;
use alloc::vec::Vec;

use crate::model::{Error, Incident, IncidentKey, SamplePage, TimelineEvent, Timestamp};

/// A GET request to the one origin that the plugin calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Scheme and authority, for example `https://api.incident.io`.
    pub origin: &'static str,
    /// Path and query, percent-encoded.
    pub path_and_query: String,
}

/// What came back, whatever the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The `retry-after` header, as it came.
    pub retry_after: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The host does not let the plugin make this request.
    Refused(String),
    /// No connection, no answer in time, or an answer that broke off.
    Broken(String),
    /// The answer is larger than the plugin accepts.
    TooLarge,
}

/// An incident as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What the host keeps.
    pub incident: Incident,
    /// The plugin's notes, see [`crate::sync::facts`].
    pub facts: Vec<u8>,
    /// Grows with every write.
    pub revision: u64,
}

/// One write; see the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a list of them lives for one commit, and most are the large one"
)]
pub enum Change {
    /// Creates or replaces an incident.
    PutIncident {
        /// The record.
        incident: Incident,
        /// The plugin's notes.
        facts: Vec<u8>,
        /// Whether more is to be fetched for it.
        revisit: bool,
        /// The revision that this write builds on.
        base: Option<u64>,
    },
    /// Adds one event to a stored incident's timeline.
    PutTimelineEvent(TimelineEvent),
    /// Replaces an incident's whole timeline.
    ReplaceTimeline(IncidentKey, Vec<TimelineEvent>),
    /// The plugin's own state; none deletes.
    SetState(&'static str, Option<Vec<u8>>),
}

/// What a commit did, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct Applied {
    pub created: u32,
    pub updated: u32,
    pub unchanged: u32,
    pub stale: u32,
    pub events: u32,
}

/// Why storage refused; see the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub enum StorageError {
    Unavailable(String),
    QuotaExceeded(String),
    Invalid(String),
    Conflict,
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Error::Storage(match error {
            StorageError::Unavailable(text)
            | StorageError::QuotaExceeded(text)
            | StorageError::Invalid(text) => text,
            StorageError::Conflict => "the same incident is being written by too many at once".into(),
        })
    }
}

/// Incidents that wait for a revisit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revisits {
    /// Some of them.
    pub keys: Vec<IncidentKey>,
    /// How many there are.
    pub total: u64,
}

/// What the provider knows a service by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    /// Its name.
    pub name: String,
    /// Another system's identifier.
    pub external_id: Option<String>,
    /// Other names.
    pub aliases: Vec<String>,
}

/// How bad a log message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the usual four")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Everything outside the plugin. Scoped to one organisation by the host.
#[allow(missing_docs, reason = "documented in the contract, one import each")]
pub trait World {
    fn now(&self) -> Timestamp;
    /// All answers, in the order of the requests, several in flight at a time.
    fn fetch(&mut self, requests: &[Request]) -> Vec<Result<Response, Failure>>;
    fn commit(&mut self, changes: Vec<Change>) -> Result<Applied, StorageError>;
    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<Stored>>, StorageError>;
    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;
    fn to_revisit(&mut self, source: &str, limit: u32) -> Result<Revisits, StorageError>;
    fn samples(
        &mut self,
        since: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<SamplePage, StorageError>;
    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError>;
    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError>;
    fn secrets(&mut self, name: &str) -> Vec<String>;
    fn log(&mut self, level: Level, message: &str, fields: &[(&str, String)]);
}
