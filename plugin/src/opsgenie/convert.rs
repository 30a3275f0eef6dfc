//! An Opsgenie record as news for the facts: which of its times count, who and what belongs to it.
//!
//! Opsgenie has no resolution time. The end is, by the first rule that gives one: `impact-end`, which resolving sets and
//! people correct; `file-resolved`, in saved records; `alert-close-time`, of an alert; `timeline-resolved`, the last
//! resolution on the timeline; `timeline-closed`, the first closing after the last opening. The time of the last update
//! is none of them: it moves with closing, tagging and editing.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::payload::{Entity, Entry, Member, Record};
use crate::incidentio::payload::{
    Field, FieldEntry, FieldOption, FieldValue, Incident, Named, Role, RoleAssignment, Severity, Status,
    TimestampAt, TimestampName, TimestampValue, User,
};
use crate::model::{
    self, DerivedTime, IncidentKey, Mapping, Phase, Priority, Problem, SECOND, TimelineEvent, Timestamp,
};
use crate::resolution::NamedTime;
use crate::severity;
use crate::sync::context::Context;
use crate::sync::derive::{AFFECTED, Times};
use crate::sync::facts::{Facts, Set, Snapshot};
use crate::sync::timeline::Chronicle;

/// The names of an end, by rank.
pub const ENDS: [&str; 5] =
    ["impact-end", "file-resolved", "alert-close-time", "timeline-resolved", "timeline-closed"];
/// The name of the start of the impact.
pub const START: &str = "impact-start";
/// The name of an alert's acknowledgement.
pub const ACKNOWLEDGED: &str = "alert-acknowledged";

/// Whether a record is an incident or an alert, and whom and what its identifiers stand for.
pub struct Reader<'a> {
    /// Alerts count as incidents of a source of their own.
    pub alerts: bool,
    /// Users and services.
    pub roster: &'a [Entity],
    /// No time is later.
    pub now: Timestamp,
}

impl Reader<'_> {
    /// The incident, or why it is none; besides, what is odd about it.
    pub fn snapshot(&self, record: Record, problems: &mut Vec<Problem>) -> Option<Snapshot> {
        let mut problem = |reason: &str, text: &str| {
            let incident = Some(record.id.clone()).filter(|id| !id.is_empty());
            problems.push(Problem { incident, reason: reason.into(), text: text.into() });
        };
        if record.id.is_empty() {
            problem(
                "no-identifier",
                "a record without an identifier cannot be told from others; it was left out",
            );
            return None;
        }
        let Some(created_at) = record.created_at else {
            problem("no-creation-time", "without a creation time it belongs to no period; it was left out");
            return None;
        };
        let mut times = Vec::new();
        let mut set = |name: &str, value: Option<Timestamp>| {
            if value.is_some() {
                let incident_timestamp = TimestampName { name: name.into() };
                times.push(TimestampValue { incident_timestamp, value: TimestampAt { value } });
            }
        };
        let closed = record.status == "closed";
        set(START, record.impact_start);
        set("impact-end", record.impact_end);
        set("file-resolved", record.resolved_at);
        // Milliseconds since the creation.
        let after = |ms: Option<i64>| Some(created_at.saturating_add(ms?.saturating_mul(SECOND / 1_000)));
        let ended = after(record.report.close_time).filter(|_| closed);
        let latest = record.updated_at.unwrap_or(self.now).min(self.now).saturating_add(SECOND);
        if ended > Some(latest) {
            problem(
                "close-time-refused",
                "its closing time lies after its last update; it was left out of its times",
            );
        } else {
            set("alert-close-time", ended);
        }
        if closed || record.acknowledged {
            set(ACKNOWLEDGED, after(record.report.ack_time));
        }
        let category = match record.status.as_str() {
            "open" => "live",
            "resolved" => "learning",
            other => other,
        };
        let mut people = Vec::with_capacity(record.responders.len() + 1);
        for Member { kind, id, username, name } in record.responders {
            people.push(self.person(kind, id, username, name));
        }
        if !record.owner.is_empty() {
            people.push(self.person("owner".into(), String::new(), record.owner, String::new()));
        }
        let values = record.services.into_iter().map(|id| self.service(id));
        let services = FieldEntry {
            custom_field: Field { id: AFFECTED.into(), ..Field::default() },
            values: values.collect(),
        };
        // Where the same incident is named in incident.io.
        let mut references = record.tags;
        references.extend(record.extra.0);
        references.retain(|text| has(text, b"INC-") || has(text, b"incident.io/"));
        let priority =
            Some(Severity { id: Some(record.priority.clone()), name: record.priority, rank: None });
        Snapshot::new(Incident {
            reference: if record.tiny_id.is_empty() { String::new() } else { format!("#{}", record.tiny_id) },
            id: record.id,
            name: record.message,
            permalink: Some(record.links.web).filter(|web| !web.is_empty()),
            visibility: String::new(),
            mode: "standard".into(),
            incident_status: Status { category: category.into(), name: record.status },
            severity: priority.filter(|priority| !priority.name.is_empty()),
            incident_role_assignments: people,
            custom_field_entries: Vec::from([services]),
            incident_timestamp_values: times,
            created_at: Some(created_at),
            updated_at: record.updated_at,
            last_activity_at: None,
            references,
        })
    }

    fn known(&self, id: &str) -> Option<&Entity> {
        self.roster.iter().rev().find(|known| known.id == id)
    }

    fn person(&self, kind: String, id: String, username: String, name: String) -> RoleAssignment {
        let known = self.known(&id).cloned().unwrap_or_default();
        let name = if known.full_name.is_empty() { name } else { known.full_name };
        let address = if known.username.is_empty() { username } else { known.username };
        RoleAssignment {
            role: Role { name: kind },
            assignee: Some(User {
                id,
                name: Some(name).filter(|name| !name.is_empty()),
                email: Some(address).filter(|address| has(address, b"@")),
            }),
        }
    }

    /// One that was deleted keeps its identifier for a name.
    fn service(&self, id: String) -> FieldValue {
        let value = self.known(&id).map_or(id, |known| known.name.clone());
        FieldValue { value_option: Some(FieldOption { value }), value_catalog_entry: None }
    }
}

/// Whether the text has these bytes; core's search for a text in a text is five kilobytes of component.
fn has(text: &str, part: &[u8]) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window == part)
}

/// When it began, was acknowledged and ended; see the head of this file.
pub(super) fn times(phase: Phase, times: Vec<NamedTime<'_>>, facts: &Facts) -> Times {
    let named = |name: &str| {
        let time = times.iter().find(|time| time.name == name).map(|time| time.at);
        let at = time.or_else(|| facts.set.iter().find(|set| set.name == name)?.at)?;
        Some(DerivedTime { at, rule: name.into() })
    };
    let resolved = ENDS.into_iter().find_map(named).filter(|_| phase.is_over());
    let created = || DerivedTime { at: facts.snapshot.created_at, rule: "created-at".into() };
    let logged = facts.acknowledged_at.map(|at| DerivedTime { at, rule: "timeline-acked".into() });
    // Resolving acknowledges too, and that is no acknowledgement.
    let before_end = |time: &DerivedTime| resolved.as_ref().is_none_or(|end| time.at < end.at);
    let acknowledged = logged.or_else(|| named(ACKNOWLEDGED)).filter(before_end);
    (named(START).unwrap_or_else(created), acknowledged, resolved)
}

/// An override, or the priority itself; P5, which Opsgenie has and this scale lacks, is P4.
pub(super) fn mapping(severity: Option<&model::Severity>, context: &Context) -> Mapping {
    let mut mapping = severity::map(severity, &context.settings.severity_overrides, &[]);
    let own = severity.and_then(|severity| match severity.name.as_str() {
        "P1" => Some(Priority::P1),
        "P2" => Some(Priority::P2),
        "P3" => Some(Priority::P3),
        "P4" | "P5" => Some(Priority::P4),
        _ => None,
    });
    if own.is_some() && mapping.rule != "override" {
        mapping = Mapping { priority: own, rule: "opsgenie-priority".into() };
    }
    mapping
}

/// What a timeline tells. `alerts` are those of the incident, by which other tools may know it.
pub fn chronicle(incident: &IncidentKey, entries: Vec<Entry>, alerts: Vec<String>) -> Chronicle {
    let mut told =
        Chronicle { events: Vec::new(), acknowledged_at: None, set: Vec::new(), references: alerts };
    let (mut opened, mut resolved) = (None, None);
    let mut closings = Vec::new();
    for Entry { id, kind, at, hidden, actor: Named { name: actor }, title } in entries {
        let Some(at) = at.filter(|_| !hidden && !id.is_empty()) else {
            continue;
        };
        let mut moves = true;
        match kind.as_str() {
            "IncidentResolved" => resolved = resolved.max(Some(at)),
            "IncidentClosed" => closings.push(at),
            "ResponderAlertAcked" => {
                moves = false;
                told.acknowledged_at =
                    Some(told.acknowledged_at.map_or(at, |known: Timestamp| known.min(at)));
            }
            // What a reopening is called is not documented.
            opening if opening.starts_with("Incident") && opening.ends_with("pened") => {
                opened = opened.max(Some(at))
            }
            _ => moves = false,
        }
        // Of what a person wrote, that it was written.
        let title = if title.content.is_empty() { "Note".into() } else { title.content };
        told.events.push(TimelineEvent {
            incident: incident.clone(),
            id: format!("entry:{id}"),
            at,
            kind: if moves { "status-changed".into() } else { kind },
            title,
            detail: None,
            actor,
        });
    }
    let closed = closings.into_iter().filter(|at| Some(*at) >= opened).min();
    let resolved = resolved.filter(|at| Some(*at) >= opened);
    for (name, at) in [("timeline-resolved", resolved), ("timeline-closed", closed)] {
        if at.is_some() {
            told.set.push(Set { name: name.into(), at });
        }
    }
    told
}
