//! What the plugin may do, as one trait: the imports of the contract and a way to send requests.
//!
//! The component implements it with the host's functions, tests implement it in memory. Nothing else reaches
//! outside: no clock, no randomness, no environment.

use alloc::string::String;
use alloc::vec::Vec;

use crate::model::{
    Applied, Change, IncidentKey, KeyPage, Level, RevisitPage, SamplePage, ServiceName, StorageError,
    StoredIncident, Timestamp,
};

/// A GET request to one of the origins that the plugin calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Scheme and authority, for example `https://api.incident.io`.
    pub origin: &'static str,
    /// Path and query, percent-encoded.
    pub path_and_query: String,
}

impl Request {
    /// What the provider counts requests by.
    pub fn endpoint(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }
}

/// The headers of an answer that the plugin reads.
pub const HEADERS: [&str; 7] = [
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-period-in-sec",
    "x-ratelimit-state",
    "content-type",
    "content-encoding",
];

/// What came back, whatever the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Those of [`HEADERS`] that are there, as they came.
    pub headers: [Option<String>; HEADERS.len()],
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether it says that no more requests are allowed for now.
    pub fn is_last(&self) -> bool {
        let [_, _, remaining, ..] = &self.headers;
        self.status == 429 || remaining.as_deref() == Some("0")
    }
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The host does not let the plugin make this request.
    Refused(String),
    /// No connection, no answer in time, or an answer that broke off. This passes.
    Broken(String),
    /// No connection until somebody changes something, such as a certificate that is not trusted. This does not pass by
    /// itself.
    Cut(String),
    /// The answer is larger than the plugin accepts.
    TooLarge,
    /// The request was held back: an answer before it said that the allowance is spent.
    Unsent,
}

/// A response, or why there is none.
pub type Answer = Result<Response, Failure>;

/// Everything outside the plugin. Scoped to one organisation by the host.
#[allow(missing_docs, reason = "documented in the contract, one import each")]
pub trait World {
    fn now(&self) -> Timestamp;
    /// Sends a request ahead of the `fetch` that takes its answer; a hint, to wait while there is work to do.
    fn begin(&mut self, request: &Request);
    /// One answer per request, in order; several are in flight at a time. Once the provider says that an
    /// endpoint's allowance is spent, no more are sent there.
    fn fetch(&mut self, requests: &[Request]) -> Vec<Answer>;
    fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError>;
    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<StoredIncident>>, StorageError>;
    fn list(&mut self, source: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError>;
    fn list_open(&mut self, source: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError>;
    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;
    fn to_revisit(&mut self, source: &str, limit: u32) -> Result<RevisitPage, StorageError>;
    fn samples(
        &mut self,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
        after: Option<&str>,
    ) -> Result<SamplePage, StorageError>;
    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError>;
    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError>;
    fn secrets(&mut self, name: &str) -> Vec<String>;
    fn log(&mut self, level: Level, message: &str, fields: &[(String, String)]);
}
