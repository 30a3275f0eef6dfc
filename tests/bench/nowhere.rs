//! A world that the plugin, compiled natively, can handle deliveries in, and nothing is written: what is timed in it is
//! the plugin's own work.

use std::collections::BTreeMap;
use std::sync::Arc;

use incidentio::model::{
    Applied, Change, IncidentKey, KeyPage, Level, RevisitPage, SamplePage, ServiceName, StorageError,
    StoredIncident, Timestamp,
};
use incidentio::port::{self, Answer, Request};

/// What the plugin keeps for an organisation beside its records.
pub(super) type States = BTreeMap<String, Vec<u8>>;

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) states: Arc<States>,
}

impl port::World for World {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn begin(&mut self, _: &Request) {}

    fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError> {
        std::hint::black_box(changes);
        Ok(Applied { created: 1, ..Applied::default() })
    }

    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<StoredIncident>>, StorageError> {
        Ok(vec![None; keys.len()])
    }

    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.states.get(key).cloned())
    }

    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError> {
        Ok(vec![None; emails.len()])
    }

    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError> {
        Ok(vec![None; names.len()])
    }

    fn log(&mut self, _: Level, _: &str, _: &[(String, String)]) {}

    fn fetch(&mut self, _: &[Request]) -> Vec<Answer> {
        unreachable!("a public delivery needs no request")
    }

    fn list(&mut self, _: &str, _: Option<&str>, _: u32) -> Result<KeyPage, StorageError> {
        unreachable!()
    }

    fn list_open(&mut self, _: &str, _: Option<&str>, _: u32) -> Result<KeyPage, StorageError> {
        Ok(KeyPage { keys: Vec::new(), next: None })
    }

    fn to_revisit(&mut self, _: &str, _: u32) -> Result<RevisitPage, StorageError> {
        unreachable!()
    }

    fn samples(
        &mut self,
        _: Timestamp,
        _: Timestamp,
        _: Timestamp,
        _: Option<&str>,
    ) -> Result<SamplePage, StorageError> {
        unreachable!()
    }

    fn secrets(&mut self, _: &str) -> Vec<String> {
        unreachable!()
    }
}
