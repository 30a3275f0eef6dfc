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
    self, DerivedTime, IncidentKey, Mapping, Priority, Problem, Reopening, SECOND, TimelineEvent, Timestamp,
};
use crate::resolution::NamedTime;
use crate::severity;
use crate::sync::context::Context;
use crate::sync::derive::{self, AFFECTED, Times};
use crate::sync::facts::{Facts, Set, Snapshot};
use crate::sync::timeline::Chronicle;

/// The names of an end, by rank.
pub const ENDS: [&str; 5] =
    ["impact-end", "file-resolved", "alert-close-time", "timeline-resolved", "timeline-closed"];
/// The name of the start of the impact.
pub const START: &str = "impact-start";
/// The name of an alert's acknowledgement.
pub const ACKNOWLEDGED: &str = "alert-acknowledged";

/// The names of a reopening, and of the end before it.
const REOPENED: &str = "timeline-reopened";
const PASSED_OVER: [&str; 2] = ["timeline-resolved-before", "timeline-closed-before"];

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
                let incident_timestamp = TimestampName { id: String::new(), name: name.into() };
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
pub(super) fn times(facts: &Facts, times: Vec<NamedTime<'_>>) -> Times {
    let phase = derive::phase(&facts.snapshot.incident.incident_status.category);
    let named = |name: &str| {
        let time = times.iter().find(|time| time.name == name).map(|time| time.at);
        let at = time.or_else(|| facts.set.iter().find(|set| set.name == name)?.at)?;
        Some(DerivedTime { at, rule: name.into() })
    };
    let resolved = ENDS.into_iter().find_map(named).filter(|_| phase.is_over());
    let created = || Some(DerivedTime { at: facts.snapshot.created_at?, rule: "created-at".into() });
    let logged = facts.acknowledged_at.map(|at| DerivedTime { at, rule: "timeline-acked".into() });
    // Resolving acknowledges too, and that is no acknowledgement.
    let before_end = |time: &DerivedTime| resolved.as_ref().is_none_or(|end| time.at < end.at);
    let acknowledged = logged.or_else(|| named(ACKNOWLEDGED)).filter(before_end);
    let reopenings = reopenings(facts);
    let first = reopenings.first().and_then(|reopening| reopening.passed_over.clone());
    let first_resolved = first.filter(|first| resolved.as_ref().is_some_and(|last| first.at < last.at));
    let started = named(START).or_else(created);
    Times { started, acknowledged, resolved, first_resolved, reopenings, ..Times::default() }
}

fn reopenings(facts: &Facts) -> Vec<Reopening> {
    let (mut passed_over, mut reopenings) = (None, Vec::new());
    for Set { name, at } in &facts.set {
        let Some(at) = *at else { continue };
        if name == REOPENED {
            reopenings.push(Reopening { at, passed_over: passed_over.take() });
        } else if let Some(rule) = name.strip_suffix("-before") {
            passed_over = Some(DerivedTime { at, rule: rule.into() });
        }
    }
    reopenings
}

/// An override, or the priority itself, however it is spelled; P5, which Opsgenie has and this scale lacks, is P4.
pub(super) fn mapping(severity: Option<&model::Severity>, context: &Context) -> Mapping {
    let mut mapping = severity::map(severity, &context.settings.severity_overrides, &[]);
    let own = severity.and_then(|severity| match priority_number(severity.name.as_bytes())? {
        1 => Some(Priority::P1),
        2 => Some(Priority::P2),
        3 => Some(Priority::P3),
        _ => Some(Priority::P4),
    });
    if own.is_some() && mapping.rule != "override" {
        mapping = Mapping { priority: own, rule: "opsgenie-priority".into() };
    }
    mapping
}

/// Opsgenie's own words for P1 to P5, and the one for P3 that other tools have.
const WORDS: [(&[u8], u8); 6] =
    [(b"critical", 1), (b"high", 2), (b"moderate", 3), (b"medium", 3), (b"low", 4), (b"informational", 5)];

/// The number of `P1`, `p1`, `P-1`, `P1 - Critical`, `Priority 1`, `Critical` and `1 - Critical`. A number alone may count
/// from the other end, as some tools do, and is none; nor is one that its word contradicts.
fn priority_number(text: &[u8]) -> Option<u8> {
    let mut words = text.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let digit = |word: &[u8]| match word {
        [digit @ b'1'..=b'5'] => Some(digit - b'0'),
        _ => None,
    };
    let named = |word: &[u8]| {
        let known = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        known.map(|(_, number)| *number)
    };
    let first = words.next()?;
    let number = match first {
        [b'P' | b'p'] => words.next().and_then(digit)?,
        _ if first.eq_ignore_ascii_case(b"priority") => words.next().and_then(digit)?,
        [b'P' | b'p', number @ ..] => digit(number)?,
        _ => {
            let word = if digit(first).is_some() { words.next()? } else { first };
            let number = named(word)?;
            return (words.next().is_none() && digit(first).is_none_or(|said| said == number))
                .then_some(number);
        }
    };
    // `P1/P2` is neither.
    words.flatten().all(|byte| !byte.is_ascii_digit()).then_some(number)
}

/// What a timeline tells. `alerts` are those of the incident, by which other tools may know it.
pub fn chronicle(incident: &IncidentKey, entries: Vec<Entry>, alerts: Vec<String>) -> Chronicle {
    let mut told =
        Chronicle { events: Vec::new(), acknowledged_at: None, set: Vec::new(), references: alerts };
    let (mut opened, mut resolved) = (None, None);
    let mut closings = Vec::new();
    // Each move, oldest first.
    let mut course: Vec<(Timestamp, Move)> = Vec::new();
    for Entry { id, kind, at, hidden, actor: Named { name: actor }, title } in entries {
        let Some(at) = at.filter(|_| !hidden && !id.is_empty()) else {
            continue;
        };
        let move_to = match kind.as_str() {
            "IncidentResolved" => {
                resolved = resolved.max(Some(at));
                Some(Move::Resolved)
            }
            "IncidentClosed" => {
                closings.push(at);
                Some(Move::Closed)
            }
            "ResponderAlertAcked" => {
                told.acknowledged_at =
                    Some(told.acknowledged_at.map_or(at, |known: Timestamp| known.min(at)));
                None
            }
            // What a reopening is called is not documented.
            opening if opening.starts_with("Incident") && opening.ends_with("pened") => {
                opened = opened.max(Some(at));
                Some(Move::Opened)
            }
            _ => None,
        };
        if let Some(to) = move_to {
            let index = course.partition_point(|known| *known < (at, to));
            course.insert(index, (at, to));
        }
        // Of what a person wrote, that it was written.
        let title = if title.content.is_empty() { "Note".into() } else { title.content };
        told.events.push(TimelineEvent {
            incident: incident.clone(),
            id: format!("entry:{id}"),
            at,
            kind: if move_to.is_some() { "status-changed".into() } else { kind },
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
    let [mut resolved, mut closed] = [None; 2];
    for (at, to) in course {
        match to {
            Move::Resolved => resolved = Some(at),
            Move::Closed => closed = closed.or(Some(at)),
            Move::Opened if resolved.or(closed).is_some() => {
                let [by_resolution, by_closing] = PASSED_OVER;
                let name = if resolved.is_some() { by_resolution } else { by_closing };
                told.set.push(Set { name: name.into(), at: resolved.or(closed) });
                told.set.push(Set { name: REOPENED.into(), at: Some(at) });
                (resolved, closed) = (None, None);
            }
            Move::Opened => {}
        }
    }
    told
}

/// What a timeline says an incident became; of two at one instant, the end is the earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Move {
    Resolved,
    Closed,
    Opened,
}

#[cfg(test)]
mod tests {
    use koalr_codec::json::{self, Slot};
    use koalr_codec::time::parse_rfc3339;

    use super::*;
    use crate::sync::facts::News;
    use crate::sync::key;

    fn read(record: &str) -> Record {
        let mut read = Record::default();
        json::read(record.as_bytes(), Slot::Object(&mut read)).unwrap();
        read
    }

    fn entries(told: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(kind, at): &(&str, &str)| Entry {
            id: format!("{kind}{at}"),
            kind: (*kind).into(),
            at: parse_rfc3339(at),
            ..Entry::default()
        };
        told.iter().map(entry).collect()
    }

    /// The record's times, as instant and rule, once its timeline was read.
    fn times_of(record: &str, told: &[(&str, &str)]) -> [Option<(String, String)>; 3] {
        let incident = incident_of(record, told);
        [incident.started_at, incident.acknowledged_at, incident.resolved_at].map(shown)
    }

    fn shown(time: Option<DerivedTime>) -> Option<(String, String)> {
        let time = time?;
        Some((format!("{}", time.at / 1_000), time.rule))
    }

    fn incident_of(record: &str, told: &[(&str, &str)]) -> model::Incident {
        let mut problems = Vec::new();
        let reader = Reader { alerts: false, roster: &[], now: Timestamp::MAX };
        let snapshot = reader.snapshot(read(record), &mut problems).unwrap();
        let news = News {
            id: snapshot.id().into(),
            chronicle: Some(chronicle(&key("opsgenie", snapshot.id()), entries(told), Vec::new())),
            timeline_as_of: Some(snapshot.active_at),
            snapshot: Some(snapshot),
            ..News::default()
        };
        let facts = Facts::merge(None, &news).unwrap();
        crate::sync::derive::incident(&super::super::INCIDENTS, &facts, &Context::default()).0
    }

    fn ms(at: &str) -> String {
        format!("{}", parse_rfc3339(at).unwrap() / 1_000)
    }

    const T: [&str; 6] = [
        "2024-05-01T10:00:00Z",
        "2024-05-01T10:05:00Z",
        "2024-05-01T11:00:00Z",
        "2024-05-01T12:00:00Z",
        "2024-05-01T13:00:00Z",
        "2024-05-01T14:00:00Z",
    ];

    fn record(status: &str, more: &str) -> String {
        format!(
            r#"{{"id":"i","message":"m","status":"{status}","createdAt":"{}","updatedAt":"{}"{more}}}"#,
            T[0], T[5]
        )
    }

    fn resolved(record: &str, told: &[(&str, &str)]) -> Option<(String, String)> {
        let [_, _, resolved] = times_of(record, told);
        resolved
    }

    #[test]
    fn the_end_is_by_the_first_rule_that_gives_one() {
        let told = [
            ("IncidentOpened", T[0]),
            ("IncidentResolved", T[2]),
            ("IncidentResolved", T[3]),
            ("IncidentClosed", T[4]),
        ];
        let by = |at: &str, rule: &str| Some((ms(at), rule.into()));
        let with_end = record("closed", &format!(r#","impactEndDate":"{}""#, T[1]));
        assert_eq!(resolved(&with_end, &told), by(T[1], "impact-end"));
        let from_file = record("closed", &format!(r#","resolvedAt":"{}""#, T[1]));
        assert_eq!(resolved(&from_file, &told), by(T[1], "file-resolved"));
        assert_eq!(resolved(&record("closed", ""), &told), by(T[3], "timeline-resolved"));
        let closed_only = [("IncidentOpened", T[0]), ("IncidentClosed", T[4]), ("IncidentClosed", T[5])];
        assert_eq!(resolved(&record("closed", ""), &closed_only), by(T[4], "timeline-closed"));
        // Never the last update, and never while it is open.
        assert_eq!(resolved(&record("closed", ""), &[]), None);
        let reopened = record("open", &format!(r#","impactEndDate":"{}""#, T[1]));
        assert_eq!(resolved(&reopened, &told), None);
    }

    #[test]
    fn what_was_before_the_last_opening_is_no_end() {
        let told = [
            ("IncidentOpened", T[0]),
            ("IncidentResolved", T[1]),
            ("IncidentClosed", T[2]),
            ("IncidentReopened", T[3]),
            ("IncidentClosed", T[4]),
        ];
        assert_eq!(resolved(&record("closed", ""), &told), Some((ms(T[4]), "timeline-closed".into())));
    }

    #[test]
    fn a_reopening_tells_the_end_that_was_passed_over() {
        let told = [
            ("IncidentClosed", T[5]),
            ("IncidentReopened", T[3]),
            ("IncidentClosed", T[2]),
            ("IncidentResolved", T[1]),
            ("IncidentOpened", T[0]),
        ];
        let incident = incident_of(&record("closed", ""), &told);
        let passed_over = Some((ms(T[1]), "timeline-resolved".into()));
        assert_eq!(shown(incident.first_resolved_at), passed_over);
        assert_eq!(shown(incident.resolved_at), Some((ms(T[5]), "timeline-closed".into())));
        let reopened: Vec<_> =
            incident.reopenings.into_iter().map(|it| (Some(it.at), shown(it.passed_over))).collect();
        assert_eq!(reopened, [(parse_rfc3339(T[3]), passed_over)]);
    }

    #[test]
    fn resolving_acknowledges_and_that_is_no_acknowledgement() {
        let end = record("closed", &format!(r#","impactEndDate":"{}""#, T[3]));
        let acknowledged = |at| {
            let [_, acknowledged, _] = times_of(&end, &[("ResponderAlertAcked", at)]);
            acknowledged
        };
        assert_eq!(acknowledged(T[1]), Some((ms(T[1]), "timeline-acked".into())));
        assert_eq!(acknowledged(T[3]), None);
        assert_eq!(acknowledged(T[4]), None);
    }

    #[test]
    fn a_record_that_cannot_be_told_or_dated_is_left_out_for_a_reason() {
        let reader = Reader { alerts: true, roster: &[], now: parse_rfc3339(T[5]).unwrap() };
        let reason = |record: &str| {
            let mut problems = Vec::new();
            let stands = reader.snapshot(read(record), &mut problems).is_some();
            (stands, problems.pop().map(|problem| problem.reason))
        };
        assert_eq!(reason(r#"{"createdAt":"2024-05-01T10:00:00Z"}"#), (false, Some("no-identifier".into())));
        assert_eq!(reason(r#"{"id":"a"}"#), (false, Some("no-creation-time".into())));
        let closing = |ms: u64| record("closed", &format!(r#","report":{{"closeTime":{ms}}}"#));
        assert_eq!(reason(&closing(4 * 3_600_000)), (true, None));
        assert_eq!(reason(&closing(5 * 3_600_000)), (true, Some("close-time-refused".into())));
        assert_eq!(reason(&record("wondering", "")), (true, None));
    }

    #[test]
    fn priorities_stay_but_for_the_one_that_this_scale_lacks() {
        let of = |name: &str| {
            let severity = model::Severity { id: Some(name.into()), name: name.into(), rank: None };
            mapping(Some(&severity), &Context::default()).priority
        };
        let expected = [Priority::P1, Priority::P2, Priority::P3, Priority::P4, Priority::P4].map(Some);
        assert_eq!(["P1", "P2", "P3", "P4", "P5"].map(of), expected);
        assert_eq!(of("P9"), None);
    }

    #[test]
    fn priorities_are_read_in_peoples_spellings_and_not_guessed() {
        for (number, spellings) in [
            (
                Some(1),
                &["p1", "P1 - Critical", "P1: down", "P-1", "p 1", "Priority 1", "critical", "1 - Critical"]
                    [..],
            ),
            (Some(2), &["P2 (High)", "HIGH", "2 High"]),
            (Some(3), &["3 - Moderate", "Medium", "P3 – Moderate"]),
            (Some(4), &["low", "P4"]),
            (Some(5), &["P5", "5 - Informational"]),
            (
                None,
                &[
                    "",
                    "1",
                    "0",
                    "P0",
                    "P10",
                    "P1/P2",
                    "P1 or P2",
                    "1 - Low",
                    "5 - Disaster",
                    "Blocker",
                    "p",
                    "High risk",
                ],
            ),
        ] {
            for spelling in spellings {
                assert_eq!(priority_number(spelling.as_bytes()), number, "{spelling}");
            }
        }
    }
}
