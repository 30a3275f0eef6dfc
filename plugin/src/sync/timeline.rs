//! Timeline events out of updates, curated items and the activity log. Texts that people wrote into updates are not among them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::digest::Digest;
use super::facts;
use super::{SOURCE, key};
use crate::incidentio::payload::{Activity, TimelineItem, Update};
use crate::model::{TimelineEvent, Timestamp};

/// One event per update, `updates` being oldest first: each says what changed since the one before it.
pub fn of_updates(incident: &str, updates: &[Update]) -> Vec<TimelineEvent> {
    let mut before: Option<&Update> = None;
    let mut events = Vec::with_capacity(updates.len());
    for update in updates {
        let status = &update.new_incident_status;
        let status_changed = before.is_none_or(|b| b.new_incident_status != *status);
        let named = |u: &Update| u.new_severity.as_ref()?.name.clone();
        let severity = named(update).filter(|s| before.is_none_or(|b| named(b).as_ref() != Some(s)));
        let (kind, title) = match (&update.merged_into_incident_id, status_changed, &severity) {
            (Some(_), true, _) => ("merged", String::from("Merged into another incident")),
            (_, true, _) => ("status-changed", format!("Status: {}", status.name)),
            (_, false, Some(severity)) => ("severity-changed", format!("Severity: {severity}")),
            (_, false, None) => ("update", String::from("Update posted")),
        };
        let detail = severity.filter(|_| status_changed).map(|s| format!("Severity: {s}"));
        events.push(TimelineEvent {
            incident: key(SOURCE, incident),
            id: format!("update:{}", update.id),
            at: update.created_at.unwrap_or_default(),
            kind: kind.into(),
            title,
            detail,
            actor: update.updater.name(),
        });
        before = Some(update);
    }
    events
}

/// What the timeline and the activity log of an incident say besides its updates.
#[derive(Debug, Clone, PartialEq)]
pub struct Chronicle {
    /// One event for each item and each entry of the activity log that has a time and says something of its own.
    pub events: Vec<TimelineEvent>,
    /// When somebody first acknowledged, by the activity log.
    pub acknowledged_at: Option<Timestamp>,
    /// When points in the incident's life were last set, by the activity log; each name once.
    pub set: Vec<facts::Set>,
    /// What else the incident is known by.
    pub references: Vec<String>,
}

impl Chronicle {
    /// Of all that it says.
    pub(super) fn digest(&self) -> i64 {
        let mut digest = Digest::default();
        let mut instant = |at: Option<Timestamp>| digest.add(&at.unwrap_or(Timestamp::MIN).to_le_bytes());
        instant(self.acknowledged_at);
        for event in &self.events {
            instant(Some(event.at));
        }
        for set in &self.set {
            instant(set.at);
        }
        let texts = self.events.iter().flat_map(|event| {
            let TimelineEvent { id, kind, title, detail, actor, .. } = event;
            [Some(id), Some(kind), Some(title), detail.as_ref(), actor.as_ref()]
        });
        let names = self.set.iter().map(|set| Some(&set.name));
        for text in texts.chain(names).chain(self.references.iter().map(Some)) {
            digest.add(text.map(String::as_bytes).unwrap_or(&[0xfe]));
        }
        digest.value()
    }
}

/// One change is told up to three times: as an update, as the log's entry of that update, and as the curated item
/// made from the entry. Each is kept where it is told first. Rows of the incident's streams are its own.
pub fn chronicle(incident: &str, updates: &[Update], items: &[TimelineItem], log: &[Activity]) -> Chronicle {
    let mut events = Vec::new();
    let mut acknowledged_at: Option<Timestamp> = None;
    let mut set: Vec<facts::Set> = Vec::new();
    let mut add = |prefix: &str, id: &str, at: Option<Timestamp>, kind: &str, title: &str, actor| {
        if let Some(at) = at
            && !id.is_empty()
        {
            events.push(TimelineEvent {
                incident: key(SOURCE, incident),
                id: format!("{prefix}:{id}"),
                at,
                kind: kind.into(),
                title: title.into(),
                detail: None,
                actor,
            });
        }
    };
    for entry in log {
        let kind = entry.r#type.as_str();
        if let (Some(at), "escalation_acknowledged" | "pagerduty_incident_acknowledged") =
            (entry.occurred_at, kind)
        {
            acknowledged_at = Some(acknowledged_at.unwrap_or(at).min(at));
        }
        let name = &entry.content.incident_timestamp_set.incident_timestamp.name;
        if !name.is_empty() {
            match set.iter_mut().find(|known| known.name == *name) {
                Some(known) => known.at = known.at.max(entry.occurred_at),
                None => set.push(facts::Set { name: name.clone(), at: entry.occurred_at }),
            }
        }
        if !is_update(entry, updates) && !items.iter().any(|item| item.activity_log_id == entry.id) {
            add("activity", &entry.id, entry.occurred_at, kind, &entry.title, None);
        }
    }
    for item in items {
        let source = &item.activity_log_id;
        if !log.iter().any(|entry| !source.is_empty() && entry.id == *source && is_update(entry, updates)) {
            add("item", &item.id, item.timestamp, "note", &item.title, item.creator.name());
        }
    }
    Chronicle { events, acknowledged_at, set, references: Vec::new() }
}

/// Whether an entry of the activity log tells of an update.
fn is_update(entry: &Activity, updates: &[Update]) -> bool {
    let told = [&entry.content.incident_update.id, &entry.content.incident_merged.incident_update_id];
    let moves = matches!(entry.r#type.as_str(), "incident_update" | "status_change" | "incident_merged");
    updates.iter().any(|u| {
        let same_time = u.created_at.is_some() && u.created_at == entry.occurred_at;
        (!u.id.is_empty() && told.contains(&&u.id)) || (moves && same_time)
    })
}

/// A status change as a delivery tells it, until the updates themselves are read.
pub fn of_told(incident: &str, told: &facts::Told, status: &str) -> TimelineEvent {
    TimelineEvent {
        incident: key(SOURCE, incident),
        id: format!("told:{}:{}", told.at, told.category),
        at: told.at,
        kind: "status-changed".into(),
        title: format!("Status: {status}"),
        detail: None,
        actor: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidentio::payload::ActivityContent;

    #[test]
    fn each_update_says_what_changed() {
        let body = br#"{"incident_updates":[
            {"id":"1","created_at":1,"new_incident_status":{"name":"Investigating","category":"live"},"new_severity":{"name":"Minor"}},
            {"id":"2","created_at":2,"new_incident_status":{"name":"Investigating","category":"live"},"new_severity":{"name":"Major"}},
            {"id":"3","created_at":3,"new_incident_status":{"name":"Investigating","category":"live"},"new_severity":{"name":"Major"}},
            {"id":"4","created_at":4,"new_incident_status":{"name":"Merged","category":"merged"},"merged_into_incident_id":"other"}]}"#;
        let mut updates: Vec<Update> = Vec::new();
        crate::incidentio::payload::page(body, "incident_updates", &mut updates).unwrap();
        let said: Vec<_> =
            of_updates("a", &updates).into_iter().map(|e| (e.id, e.kind, e.title, e.detail)).collect();
        let row = |id: &str, kind: &str, title: &str, detail: Option<&str>| {
            (String::from(id), String::from(kind), String::from(title), detail.map(String::from))
        };
        assert_eq!(
            said,
            [
                row("update:1", "status-changed", "Status: Investigating", Some("Severity: Minor")),
                row("update:2", "severity-changed", "Severity: Major", None),
                row("update:3", "update", "Update posted", None),
                row("update:4", "merged", "Merged into another incident", None),
            ]
        );
    }

    #[test]
    fn what_is_told_in_two_lists_is_kept_once() {
        let update = |id: &str, at| Update { id: id.into(), created_at: Some(at), ..Update::default() };
        let entry = |id: &str, kind: &str, at, update: &str| Activity {
            id: id.into(),
            r#type: kind.into(),
            title: kind.into(),
            occurred_at: at,
            content: ActivityContent {
                incident_update: Update { id: update.into(), ..Update::default() },
                ..ActivityContent::default()
            },
        };
        let item = |id: &str, from: &str| TimelineItem {
            id: id.into(),
            timestamp: Some(9),
            activity_log_id: from.into(),
            ..TimelineItem::default()
        };
        let log = vec![
            entry("of the update", "incident_update", Some(2), "u1"),
            entry("of its status", "status_change", Some(1), ""),
            entry("of an item", "slack_pin", Some(5), ""),
            entry("of its own", "escalation_acknowledged", Some(7), ""),
            entry("before it", "pagerduty_incident_acknowledged", Some(6), ""),
            entry("without a time", "workflow_ran", None, ""),
        ];
        let items = vec![item("i1", "of the update"), item("i2", "of an item"), item("i3", "")];
        let chronicle = chronicle("a", &[update("u1", 1)], &items, &log);
        let ids: Vec<&str> = chronicle.events.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids, ["activity:of its own", "activity:before it", "item:i2", "item:i3"]);
        assert_eq!(chronicle.acknowledged_at, Some(6));
        assert!(chronicle.events.iter().all(|event| event.incident.id == "a"));
    }
}
