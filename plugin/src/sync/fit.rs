//! What is kept of an incident that is larger than the host keeps: its times and its state, whatever else it lacks.
//!
//! The host takes four megabytes of facts and as much of record for one incident. A record's texts are those of the
//! incident itself, and JSON can make six bytes of one.

use alloc::rc::Rc;
use alloc::string::String;

use super::facts::Facts;
use crate::incidentio::payload::{Actor, Incident, Update};
use koalr_codec::stored::{self, Fields, Items, Value};

/// Bytes that the incident itself may take, and so may who took part, and what else it is known by.
const LARGEST_PART: usize = 200 << 10;
/// Below this no part is too large.
pub(super) const LARGE: usize = LARGEST_PART;
/// Bytes that its updates may take.
const LARGEST_UPDATES: usize = 2 << 20;
/// Bytes of a text where texts are too long.
const LONGEST_TEXT: usize = 1_000;
/// Updates where there are too many: the last ones.
const MOST_UPDATES: usize = 5_000;
/// Points in the incident's life where there are too many.
const MOST_POINTS: usize = 100;

/// Cuts what is too large; whether anything was.
pub(super) fn fit(facts: &mut Facts) -> bool {
    let mut cut = false;
    if size(&*facts.snapshot.incident) > LARGEST_PART {
        let incident = Rc::make_mut(&mut facts.snapshot.incident);
        shorten(incident);
        if size(incident) > LARGEST_PART {
            incident.custom_field_entries.clear();
            incident.references.clear();
            incident.incident_role_assignments.clear();
            incident.incident_timestamp_values.truncate(MOST_POINTS);
        }
        cut = true;
    }
    if size(&One(&facts.participants)) > LARGEST_PART {
        facts.participants.clear();
        cut = true;
    }
    if size(&One(&facts.references)) > LARGEST_PART {
        facts.references.clear();
        cut = true;
    }
    if size(&One(&facts.set)) > LARGEST_PART {
        facts.set.clear();
        cut = true;
    }
    if size(&One(&facts.updates)) > LARGEST_UPDATES {
        facts.updates.iter_mut().for_each(bare);
        let many = facts.updates.len().saturating_sub(MOST_UPDATES);
        facts.updates.drain(..many);
        cut = true;
    }
    cut
}

/// Of an update, what times are derived from.
fn bare(update: &mut Update) {
    update.updater = Actor::default();
    update.new_severity = None;
    shorten_text(&mut update.new_incident_status.name);
    shorten_text(&mut update.new_incident_status.category);
    update.merged_into_incident_id.iter_mut().for_each(shorten_text);
}

fn shorten(incident: &mut Incident) {
    let Incident { reference, name, visibility, mode, incident_status, .. } = incident;
    for text in [reference, name, visibility, mode, &mut incident_status.name, &mut incident_status.category]
    {
        shorten_text(text);
    }
    incident.permalink.iter_mut().for_each(shorten_text);
    if let Some(severity) = &mut incident.severity {
        shorten_text(&mut severity.name);
        severity.id.iter_mut().for_each(shorten_text);
    }
    for point in &mut incident.incident_timestamp_values {
        shorten_text(&mut point.incident_timestamp.name);
    }
    for assignment in &mut incident.incident_role_assignments {
        shorten_text(&mut assignment.role.name);
        if let Some(user) = &mut assignment.assignee {
            shorten_text(&mut user.id);
            user.name.iter_mut().chain(&mut user.email).for_each(shorten_text);
        }
    }
    for value in incident.custom_field_entries.iter_mut().flat_map(|entry| &mut entry.values) {
        if let Some(entry) = &mut value.value_catalog_entry {
            shorten_text(&mut entry.name);
            entry.external_id.iter_mut().chain(&mut entry.aliases).for_each(shorten_text);
        }
        value.value_option.iter_mut().for_each(|option| shorten_text(&mut option.value));
    }
}

fn shorten_text(text: &mut String) {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
}

/// What it takes, as it is kept.
fn size(object: &dyn Fields) -> usize {
    stored::write(object).len()
}

/// A list as an object.
struct One<'a>(&'a dyn Items);

impl Fields for One<'_> {
    fn count(&self) -> usize {
        1
    }

    fn value(&self, _: usize) -> Value<'_> {
        Value::List(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidentio::payload::{FieldEntry, FieldOption, FieldValue, TimestampAt, TimestampValue};
    use crate::sync::facts::{News, Snapshot};

    fn facts(incident: Incident) -> Facts {
        let whole = Incident { id: "a".into(), created_at: Some(1), ..incident };
        Facts::merge(None, &News { snapshot: Snapshot::new(whole), ..News::default() }).unwrap()
    }

    #[test]
    fn an_incident_over_four_megabytes_keeps_its_times_and_its_state() {
        let value = |text: String| FieldValue {
            value_option: Some(FieldOption { value: text }),
            value_catalog_entry: None,
        };
        let point = TimestampValue { value: TimestampAt { value: Some(7) }, ..TimestampValue::default() };
        let values = (0..9_000).map(|n| value(format!("{n}{}", "\u{1}é".repeat(300)))).collect();
        let mut facts = facts(Incident {
            name: "é".repeat(2_500_000),
            incident_timestamp_values: vec![point.clone()],
            custom_field_entries: vec![FieldEntry { values, ..FieldEntry::default() }],
            ..Incident::default()
        });
        let update = |n: i64| Update {
            id: format!("{n:0>600}"),
            created_at: Some(n),
            updater: Actor {
                user: Some(crate::incidentio::payload::Named { name: Some("x".repeat(500)) }),
                ..Actor::default()
            },
            ..Update::default()
        };
        facts.updates = (0..6_000).map(update).collect();
        assert!(fit(&mut facts));
        let incident = &facts.snapshot.incident;
        assert!(incident.name.ends_with("é…") && incident.name.len() <= LONGEST_TEXT + 3);
        assert_eq!(incident.incident_timestamp_values, [point]);
        assert_eq!(facts.updates.last().and_then(|update| update.created_at), Some(5_999));
        assert!(facts.to_bytes().len() <= 4_000_000, "{}", facts.to_bytes().len());
        assert!(!fit(&mut facts) || facts.to_bytes().len() <= 4_000_000);
    }

    #[test]
    fn an_ordinary_incident_is_kept_whole() {
        let mut facts = facts(Incident { name: "x".repeat(20_000), ..Incident::default() });
        let before = facts.clone();
        assert!(!fit(&mut facts));
        assert_eq!(facts, before);
    }
}
