//! A rehearsal: what a plugin would write, kept in memory and thrown away.
//!
//! It reads what is stored, sees its own writes on top of that, and never writes through. So a plan takes the same
//! way as the import that it plans.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contract::{
    Applied, Change, Incident, IncidentKey, KeyPage, RevisitPage, SamplePage, StoredIncident, TimelineEvent,
};
use crate::id::OrgId;
use crate::port::{IncidentFilter, IncidentPage, Lease, Population, Records, StoreError};

/// Revisions here need only differ from none.
const REVISION: u64 = 1;

/// What a rehearsal may keep of a guest that would write without an end.
const MOST_BYTES: usize = 512 << 20;

/// Records of one organisation as a rehearsal sees them.
pub(crate) struct Rehearsal {
    below: Arc<dyn Records>,
    /// An importer begins anew: of its own state, whose keys begin with this, it sees only what it writes here.
    own: Option<String>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    incidents: BTreeMap<(String, String), Draft>,
    state: BTreeMap<String, Option<Vec<u8>>>,
    /// All that was ever written.
    bytes: usize,
}

struct Draft {
    incident: Incident,
    facts: Vec<u8>,
    revisit: bool,
}

impl Rehearsal {
    pub(crate) fn new(below: Arc<dyn Records>, importer: &str) -> Rehearsal {
        Rehearsal { below, own: Some(importer.to_owned()), written: Mutex::default() }
    }

    /// Of a plugin that goes on with its state.
    pub(crate) fn going_on(below: Arc<dyn Records>) -> Rehearsal {
        Rehearsal { below, own: None, written: Mutex::default() }
    }

    /// Incidents that were written since this was last asked. Nothing is kept of them.
    pub(crate) fn take(&self) -> Vec<Incident> {
        let mut written = self.written();
        written.bytes = 0;
        std::mem::take(&mut written.incidents).into_values().map(|draft| draft.incident).collect()
    }

    /// What would be stored, by creation.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        let written = self.written();
        let mut incidents: Vec<Incident> =
            written.incidents.values().map(|draft| draft.incident.clone()).collect();
        incidents.sort_by(|a, b| (a.created_at, &a.key.id).cmp(&(b.created_at, &b.key.id)));
        incidents
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About what a change takes.
fn size(change: &Change) -> usize {
    match change {
        Change::PutIncident(write) => write.facts.len() * 2 + write.incident.title.len() + 1_000,
        Change::SetState((key, value)) => key.len() + value.as_ref().map_or(0, Vec::len),
        Change::PutTimelineEvent(_) | Change::ReplaceTimeline(_) => 0,
    }
}

fn place(key: &IncidentKey) -> (String, String) {
    (key.source.clone(), key.id.clone())
}

#[async_trait::async_trait]
impl Records for Rehearsal {
    async fn commit(
        &self,
        org: &OrgId,
        changes: Vec<Change>,
        _: Option<&Lease>,
    ) -> Result<Applied, StoreError> {
        let puts = changes.iter().filter_map(|change| match change {
            Change::PutIncident(write) => Some(write.incident.key.clone()),
            _ => None,
        });
        let keys: Vec<IncidentKey> = puts.collect();
        let mut known = self.incidents_by_key(org, &keys).await?.into_iter();
        let mut applied = Applied { created: 0, updated: 0, unchanged: 0, stale: 0, events: 0 };
        let mut written = self.written();
        let bytes: usize = changes.iter().map(size).sum();
        written.bytes = written.bytes.saturating_add(bytes);
        if written.bytes > MOST_BYTES {
            return Err(StoreError::Full(format!(
                "a plan holds at most {MOST_BYTES} bytes; plan a part of it"
            )));
        }
        for change in changes {
            match change {
                Change::PutIncident(write) => {
                    match known.next().flatten() {
                        None => applied.created += 1,
                        Some(known) if known.facts == write.facts => applied.unchanged += 1,
                        Some(_) => applied.updated += 1,
                    }
                    let draft =
                        Draft { incident: write.incident, facts: write.facts, revisit: write.revisit };
                    written.incidents.insert(place(&draft.incident.key), draft);
                }
                Change::SetState((key, value)) => {
                    written.state.insert(key, value);
                }
                // Nobody looks at them before they are stored.
                Change::PutTimelineEvent(_) | Change::ReplaceTimeline(_) => {}
            }
        }
        Ok(applied)
    }

    async fn incidents_by_key(
        &self,
        org: &OrgId,
        keys: &[IncidentKey],
    ) -> Result<Vec<Option<StoredIncident>>, StoreError> {
        let mut found = self.below.incidents_by_key(org, keys).await?;
        let written = self.written();
        for (key, found) in keys.iter().zip(&mut found) {
            if let Some(draft) = written.incidents.get(&place(key)) {
                *found = Some(StoredIncident { facts: draft.facts.clone(), revision: REVISION });
            }
        }
        Ok(found)
    }

    async fn incident_keys(
        &self,
        org: &OrgId,
        source: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage, StoreError> {
        self.below.incident_keys(org, source, after, limit).await
    }

    async fn open_keys(
        &self,
        org: &OrgId,
        source: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage, StoreError> {
        self.below.open_keys(org, source, after, limit).await
    }

    async fn state(&self, org: &OrgId, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let written = self.written().state.get(key).cloned();
        match written {
            Some(value) => Ok(value),
            None if self.own.as_ref().is_some_and(|own| key.starts_with(own)) => Ok(None),
            None => self.below.state(org, key).await,
        }
    }

    async fn to_revisit(&self, _: &OrgId, source: &str, limit: u32) -> Result<RevisitPage, StoreError> {
        let written = self.written();
        let mut waiting: Vec<&Incident> = written
            .incidents
            .values()
            .filter(|draft| draft.revisit && draft.incident.key.source == source)
            .map(|draft| &draft.incident)
            .collect();
        waiting.sort_by_key(|incident| std::cmp::Reverse(incident.created_at));
        let total = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        waiting.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(RevisitPage { keys: waiting.into_iter().map(|incident| incident.key.clone()).collect(), total })
    }

    async fn scan_samples(
        &self,
        org: &OrgId,
        population: Population,
        after: Option<&str>,
    ) -> Result<SamplePage, StoreError> {
        self.below.scan_samples(org, population, after).await
    }

    async fn sample(
        &self,
        org: &OrgId,
        key: &IncidentKey,
        population: Population,
    ) -> Result<SamplePage, StoreError> {
        self.below.sample(org, key, population).await
    }

    async fn incidents(&self, org: &OrgId, filter: &IncidentFilter) -> Result<IncidentPage, StoreError> {
        self.below.incidents(org, filter).await
    }

    async fn find_incident(&self, org: &OrgId, name: &str) -> Result<Option<Incident>, StoreError> {
        self.below.find_incident(org, name).await
    }

    async fn timeline(&self, org: &OrgId, key: &IncidentKey) -> Result<Vec<TimelineEvent>, StoreError> {
        self.below.timeline(org, key).await
    }
}
