//! A host in memory, with the contract's rules for storage: what a property test can afford thousands of.
//!
//! It can fail a call at any commit, before or after the commit took effect, as a process does that dies.

use std::collections::BTreeMap;

use incidentio::model::{
    Applied, Change, Incident, IncidentKey, IncidentWrite, KeyPage, Phase, RevisitPage, StorageError,
    StoredIncident, TimelineEvent,
};

/// One organisation's storage.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    incidents: BTreeMap<String, Row>,
    events: BTreeMap<(String, String), TimelineEvent>,
    state: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
struct Row {
    incident: Incident,
    stored: StoredIncident,
    revisit: bool,
}

impl Memory {
    /// Records and timelines of some incidents, as text that can be compared and read.
    pub(super) fn records(&self, of: &dyn Fn(&str) -> bool) -> Vec<String> {
        let rows = self.incidents.iter().filter(|(id, _)| of(id)).map(|(_, row)| &row.incident);
        let events = self.events.iter().filter(|((id, _), _)| of(id)).map(|(_, event)| event);
        rows.map(|row| format!("{row:#?}")).chain(events.map(|event| format!("{event:?}"))).collect()
    }

    pub(super) fn incident(&self, id: &str) -> Option<&StoredIncident> {
        self.incidents.get(id).map(|row| &row.stored)
    }

    pub(super) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values().map(|row| &row.incident)
    }

    pub(super) fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    pub(super) fn list(&self, after: Option<&str>, limit: u32, open: bool) -> KeyPage {
        let is_open = |phase| matches!(phase, Phase::Triage | Phase::Active | Phase::Paused);
        let left = self.incidents.values().map(|row| &row.incident);
        let left = left.filter(|incident| !open || is_open(incident.phase)).map(|incident| &incident.key);
        let left = left.filter(|key| after.is_none_or(|after| key.id.as_str() > after));
        let keys: Vec<IncidentKey> = left.take(usize::try_from(limit).unwrap()).cloned().collect();
        let next = keys.last().map(|key| key.id.clone());
        KeyPage { keys, next }
    }

    pub(super) fn to_revisit(&self, limit: u32) -> RevisitPage {
        let mut waiting: Vec<&Incident> =
            self.incidents.values().filter(|row| row.revisit).map(|row| &row.incident).collect();
        waiting.sort_by_key(|incident| std::cmp::Reverse(incident.created_at));
        let total = u64::try_from(waiting.len()).unwrap();
        let limit = usize::try_from(limit).unwrap();
        RevisitPage { keys: waiting.iter().take(limit).map(|incident| incident.key.clone()).collect(), total }
    }

    /// All of the changes or none.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError> {
        let mut after = self.clone();
        let mut applied = Applied::default();
        for change in changes {
            match change {
                Change::PutIncident(write) => after.put(write, &mut applied)?,
                Change::PutTimelineEvent(event) => after.put_event(event)?,
                Change::ReplaceTimeline(timeline) => {
                    let id = &timeline.incident.id;
                    after.events.retain(|(incident, _), _| incident != id);
                    timeline.events.iter().try_for_each(|event| after.put_event(event))?;
                }
                Change::SetState((key, Some(value))) => drop(after.state.insert(key.clone(), value.clone())),
                Change::SetState((key, None)) => drop(after.state.remove(key)),
            }
        }
        *self = after;
        Ok(applied)
    }

    fn put(&mut self, write: &IncidentWrite, applied: &mut Applied) -> Result<(), StorageError> {
        let IncidentKey { id, .. } = &write.incident.key;
        let known = self.incidents.get(id);
        if known.map(|known| known.stored.revision) != write.base {
            return Err(StorageError::Conflict);
        }
        if known.is_some_and(|known| known.incident.updated_at > write.incident.updated_at) {
            applied.stale += 1;
            return Ok(());
        }
        *(if known.is_some() { &mut applied.updated } else { &mut applied.created }) += 1;
        let stored = StoredIncident { facts: write.facts.clone(), revision: write.base.unwrap_or(0) + 1 };
        let row = Row { incident: write.incident.clone(), stored, revisit: write.revisit };
        self.incidents.insert(id.clone(), row);
        Ok(())
    }

    fn put_event(&mut self, event: &TimelineEvent) -> Result<(), StorageError> {
        if !self.incidents.contains_key(&event.incident.id) {
            return Err(StorageError::Invalid("an event of an incident that is not stored".into()));
        }
        self.events.insert((event.incident.id.clone(), event.id.clone()), event.clone());
        Ok(())
    }
}
