//! The components themselves: each export calls one function of the plugin, each import is one of [`World`].
//!
//! The library makes two components of the same world, one for each provider, so that each may call its provider only
//! and is small: the feature `opsgenie` chooses. This folder is the only place that calls WIT's imports and WASI.
//! Compiled for wasm only.

mod http;
#[cfg(not(feature = "opsgenie"))]
mod incidentio;
#[cfg(feature = "opsgenie")]
mod opsgenie;
mod runtime;

use alloc::string::String;
use alloc::vec::Vec;

use crate::model::{
    Applied, Change, IncidentKey, KeyPage, Level, RevisitPage, SECOND, SamplePage, ServiceName, StorageError,
    StoredIncident, Timestamp,
};
use crate::port::{Answer, Request, World};
use crate::wit::koalr::integration as imports;

/// The host's functions.
#[derive(Default)]
struct Host {
    http: http::Client,
}

impl World for Host {
    fn now(&self) -> Timestamp {
        let now = wasi::clocks::wall_clock::now();
        let seconds = Timestamp::try_from(now.seconds).unwrap_or(Timestamp::MAX / SECOND);
        seconds.saturating_mul(SECOND).saturating_add(Timestamp::from(now.nanoseconds) / 1_000)
    }

    fn begin(&mut self, request: &Request) {
        self.http.begin(request);
    }

    fn fetch(&mut self, requests: &[Request]) -> Vec<Answer> {
        self.http.fetch(requests)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError> {
        imports::storage::commit(changes)
    }

    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<StoredIncident>>, StorageError> {
        imports::storage::get_incidents(keys)
    }

    fn list(&mut self, source: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError> {
        imports::storage::list_incidents(source, after, limit)
    }

    fn list_open(&mut self, source: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError> {
        imports::storage::list_open(source, after, limit)
    }

    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        imports::storage::get_state(key)
    }

    fn to_revisit(&mut self, source: &str, limit: u32) -> Result<RevisitPage, StorageError> {
        imports::storage::to_revisit(source, limit)
    }

    fn samples(
        &mut self,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
        after: Option<&str>,
    ) -> Result<SamplePage, StorageError> {
        imports::storage::scan_samples(since, until, now, after)
    }

    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError> {
        imports::directory::users_by_email(emails)
    }

    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError> {
        imports::directory::services_by_name(names)
    }

    fn secrets(&mut self, name: &str) -> Vec<String> {
        imports::credentials::reveal(name)
    }

    fn log(&mut self, level: Level, message: &str, fields: &[(String, String)]) {
        imports::log::log(level, message, fields);
    }
}
