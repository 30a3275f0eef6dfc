//! Timeline events out of updates and curated items. Texts that people wrote into updates are not among them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::facts::Told;
use super::key;
use crate::incidentio::payload::{TimelineItem, Update};
use crate::model::TimelineEvent;

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
            incident: key(incident),
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

/// One event per curated item that has a time.
pub fn of_items(incident: &str, items: Vec<TimelineItem>) -> Vec<TimelineEvent> {
    let mut events = Vec::with_capacity(items.len());
    for item in items {
        if let Some(at) = item.timestamp {
            events.push(TimelineEvent {
                incident: key(incident),
                id: format!("item:{}", item.id),
                at,
                kind: "note".into(),
                title: item.title,
                detail: None,
                actor: item.creator.name(),
            });
        }
    }
    events
}

/// A status change as a delivery tells it, until the updates themselves are read.
pub fn of_told(incident: &str, told: &Told, status: &str) -> TimelineEvent {
    TimelineEvent {
        incident: key(incident),
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
}
