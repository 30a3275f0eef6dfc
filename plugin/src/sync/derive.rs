//! The record that follows from an incident's facts, the settings and the account. Pure; asks nobody.
//!
//! Addresses that an incident lacks and links into the host's directory (users, catalog entries) are left open here and
//! filled in by `apply`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::context::Context;
use super::facts::Facts;
use super::{SOURCE, key};
use crate::incidentio::payload::{self, Participant};
use crate::model::{
    AffectedService, DerivedTime, Incident, Interval, Mapping, Mode, Phase, Reopening, Responder,
    ServiceName, Severity, TimestampChoice,
};
use crate::resolution::{self, Moment, NamedTime, Stand};
use crate::{model, severity};

/// A source of incidents, and what is derived in a way of its own there.
#[derive(Debug)]
pub struct Source {
    /// Its name in keys.
    pub name: &'static str,
    /// The priority of a severity.
    pub mapping: fn(Option<&Severity>, &Context) -> Mapping,
    /// When the impact began, was acknowledged and ended.
    pub times: fn(&Facts, Vec<NamedTime<'_>>) -> Times,
}

/// When the impact began, was acknowledged and ended, and what lay between.
#[derive(Debug, Default)]
pub struct Times {
    /// See the fields of the record.
    pub started: Option<DerivedTime>,
    /// See the fields of the record.
    pub acknowledged: Option<DerivedTime>,
    /// See the fields of the record.
    pub resolved: Option<DerivedTime>,
    /// See the fields of the record.
    pub first_resolved: Option<DerivedTime>,
    /// See the fields of the record.
    pub unknown: Option<String>,
    /// See the fields of the record.
    pub reopenings: Vec<Reopening>,
    /// See the fields of the record.
    pub pauses: Vec<Interval>,
}

/// incident.io.
pub static INCIDENTIO: Source = Source {
    name: SOURCE,
    mapping: |severity, context| {
        severity::map(severity, &context.settings.severity_overrides, &context.account.severities)
    },
    times: |facts, mut times| {
        let seen = &facts.snapshot.incident;
        let (phase, mut created_at) = (phase(&seen.incident_status.category), facts.snapshot.created_at);
        let mut history = history(facts);
        // What happened to a record that was written afterwards is data entry: only what a person typed is a time of
        // the incident.
        if mode(&seen.mode) == Mode::Retrospective {
            times.retain(|time| resolution::is_typed(time, created_at, &history));
            (created_at, history) = (None, Vec::new());
        }
        let resolution::Ends { resolved, first_resolved, reopenings } =
            resolution::ends(phase, &times, &history);
        let started = resolution::started(&times, created_at);
        Times {
            unknown: resolution::unknown(&times, started.as_ref(), resolved.as_ref(), &reopenings),
            started,
            acknowledged: resolution::acknowledged(&times, facts.acknowledged_at),
            resolved,
            first_resolved,
            reopenings,
            pauses: resolution::pauses(phase, &history),
        }
    },
};

/// The record, its directory links open, and what its services are known by, in the same order.
pub fn incident(source: &Source, facts: &Facts, context: &Context) -> (Incident, Vec<ServiceName>) {
    let seen = &facts.snapshot.incident;
    let phase = phase(&seen.incident_status.category);
    let mut times = Vec::with_capacity(seen.incident_timestamp_values.len());
    for point in &seen.incident_timestamp_values {
        if let Some(at) = point.value.value {
            let name = point.incident_timestamp.name.as_str();
            let set_at = facts.set.iter().find(|set| set.name == name).and_then(|set| set.at);
            let means = meaning(&point.incident_timestamp, context);
            times.push(NamedTime { name, at, set_at, means });
        }
    }
    let severity = seen.severity.as_ref().map(Severity::from);
    let mapping = (source.mapping)(severity.as_ref(), context);
    let mut references = seen.references.clone();
    references.extend_from_slice(&facts.references);
    let times = (source.times)(facts, times);
    let names = service_names(seen, context);
    let record = Incident {
        key: key(source.name, &seen.id),
        reference: present(&seen.reference),
        title: seen.name.clone(),
        permalink: seen.permalink.clone(),
        severity,
        priority: mapping.priority,
        priority_rule: mapping.rule,
        status: seen.incident_status.name.clone(),
        phase,
        mode: mode(&seen.mode),
        private: facts.is_hidden() || facts.snapshot.is_private(),
        // Of one that was seen when it was public the facts are kept: that it is hidden now may be a mistake.
        withheld: facts.snapshot.is_withheld() || (facts.is_hidden() && !context.settings.include_private),
        not_visible: phase.is_open() && facts.is_lost(),
        created_at: facts.snapshot.created_at,
        started_at: times.started,
        acknowledged_at: times.acknowledged,
        resolved_at: times.resolved,
        first_resolved_at: times.first_resolved,
        // Whoever chose one has said what the end is.
        unknown_timestamp: times.unknown.filter(|_| context.settings.timestamps.resolved.is_none()),
        reopenings: times.reopenings,
        pauses: times.pauses,
        merged_into: merged_into(facts, phase),
        responders: responders(facts),
        services: services(&names),
        references,
        updated_at: facts.snapshot.updated_at,
    };
    (record, names)
}

/// What the settings say that a timestamp tells. What was stored before identifiers were kept has only the name.
fn meaning(of: &payload::TimestampName, context: &Context) -> Option<Moment> {
    let TimestampChoice { started, acknowledged, resolved } = &context.settings.timestamps;
    let chosen =
        [(started, Moment::Started), (acknowledged, Moment::Acknowledged), (resolved, Moment::Resolved)];
    let known = &context.account.timestamps;
    let is = |id: &str| match of.id.as_str() {
        "" => known.iter().any(|known| known.id == id && known.name == of.name),
        own => own == id,
    };
    chosen.into_iter().find(|(id, _)| id.as_deref().is_some_and(is)).map(|(_, moment)| moment)
}

/// The field that holds the services of a provider whose incidents have such a list. No field of incident.io has this
/// identifier.
pub const AFFECTED: &str = "affected-services";

/// The provider's status category, in either of its two vocabularies.
pub fn phase(category: &str) -> Phase {
    match category {
        "triage" => Phase::Triage,
        "live" | "active" => Phase::Active,
        "paused" => Phase::Paused,
        "learning" | "post-incident" | "post_incident" => Phase::Resolved,
        "closed" => Phase::Closed,
        "declined" => Phase::Declined,
        "canceled" | "cancelled" => Phase::Canceled,
        "merged" => Phase::Merged,
        _ => Phase::Unknown,
    }
}

/// The provider's mode; `real` is what the first version of its API called `standard`.
fn mode(mode: &str) -> Mode {
    match mode {
        "standard" | "real" => Mode::Standard,
        "retrospective" => Mode::Retrospective,
        "test" => Mode::Test,
        "tutorial" => Mode::Tutorial,
        _ => Mode::Unknown,
    }
}

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

fn history(facts: &Facts) -> Vec<Stand> {
    let mut history: Vec<Stand> = Vec::with_capacity(facts.updates.len() + facts.told.len());
    let mut add = |at, category: &str, recorded| {
        // At one instant what is recorded comes before what was told, and an earlier update before a later one.
        let index = history.partition_point(|stand| stand.at <= at);
        history.insert(index, Stand { at, phase: phase(category), recorded });
    };
    for update in &facts.updates {
        if let Some(at) = update.created_at {
            add(at, &update.new_incident_status.category, true);
        }
    }
    for told in &facts.told {
        add(told.at, &told.category, false);
    }
    history
}

fn merged_into(facts: &Facts, phase: Phase) -> Option<model::IncidentKey> {
    if phase != Phase::Merged {
        return None;
    }
    facts.updates.iter().rev().find_map(|u| u.merged_into_incident_id.as_deref()).map(|id| key(SOURCE, id))
}

/// Whoever has a role, then whoever helps without one.
fn responders(facts: &Facts) -> Vec<Responder> {
    let mut responders: Vec<Responder> = Vec::new();
    let mut add = |user: &payload::User, role: &str, anew: bool| {
        let id = present(&user.id);
        if anew && responders.iter().any(|known| known.id == id) {
            return;
        }
        responders.push(Responder {
            email: user.email.clone(),
            name: user.name.clone(),
            role: present(role),
            user_id: None,
            id,
        });
    };
    for assignment in &facts.snapshot.incident.incident_role_assignments {
        if let Some(user) = &assignment.assignee {
            add(user, &assignment.role.name, false);
        }
    }
    for Participant { user, participant_type } in &facts.participants {
        add(user, participant_type, true);
    }
    responders
}

fn services(names: &[ServiceName]) -> Vec<AffectedService> {
    let mut services = Vec::with_capacity(names.len());
    for ServiceName { name, external_id, .. } in names {
        let (name, external_id) = (name.clone(), external_id.clone());
        services.push(AffectedService { name, external_id, service_id: None });
    }
    services
}

/// The values of the fields that hold services, each once.
fn service_names(seen: &payload::Incident, context: &Context) -> Vec<ServiceName> {
    let mut names: Vec<ServiceName> = Vec::new();
    for entry in &seen.custom_field_entries {
        if !holds_services(&entry.custom_field, context) {
            continue;
        }
        for value in &entry.values {
            let name = match (&value.value_catalog_entry, &value.value_option) {
                (Some(entry), _) => ServiceName {
                    name: entry.name.clone(),
                    external_id: entry.external_id.clone(),
                    aliases: entry.aliases.clone(),
                },
                (None, Some(option)) => {
                    ServiceName { name: option.value.clone(), external_id: None, aliases: Vec::new() }
                }
                (None, None) => continue,
            };
            let known = |n: &ServiceName| n.name == name.name && n.external_id == name.external_id;
            if !name.name.is_empty() && !names.iter().any(known) {
                names.push(name);
            }
        }
    }
    names
}

/// Whether a field's values are services: those fields are that the settings name, else those that the catalog
/// says, else, where the catalog cannot be read, those that are called so.
fn holds_services(field: &payload::Field, context: &Context) -> bool {
    let same = |name: &str| name.trim_ascii().eq_ignore_ascii_case(field.name.trim_ascii());
    if field.id == AFFECTED {
        return true;
    }
    let wanted = &context.settings.service_fields;
    if !wanted.is_empty() {
        return wanted.iter().any(|wanted| *wanted == field.id || same(wanted));
    }
    let known = &context.account.service_fields;
    if !known.is_empty() {
        return known.contains(&field.id);
    }
    let usual = ["service", "services", "affected service", "affected services", "component", "components"];
    usual.iter().any(|name| same(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Priority;
    use crate::sync::facts::{News, Snapshot};
    use koalr_codec::json::{Slot, object};

    #[derive(Default)]
    struct Answer {
        incident: payload::Incident,
    }

    object!(Answer { "incident" => Object incident });

    fn facts(fields: &str) -> Facts {
        let json = alloc::format!(r#"{{"incident":{{"id":"a","created_at":7,"updated_at":8{fields}}}}}"#);
        let mut answer = Answer::default();
        koalr_codec::json::read(json.as_bytes(), Slot::Object(&mut answer)).unwrap();
        Facts::merge(None, &News { snapshot: Snapshot::new(answer.incident), ..News::default() }).unwrap()
    }

    #[test]
    fn both_vocabularies_of_categories_are_understood() {
        for (category, expected) in [
            ("live", Phase::Active),
            ("active", Phase::Active),
            ("learning", Phase::Resolved),
            ("post-incident", Phase::Resolved),
            ("closed", Phase::Closed),
            ("hibernating", Phase::Unknown),
            ("", Phase::Unknown),
        ] {
            assert_eq!(phase(category), expected, "{category}");
        }
    }

    #[test]
    fn an_incident_of_which_nothing_is_known_is_still_a_record() {
        let (record, _) = incident(&INCIDENTIO, &facts(""), &Context::default());
        assert_eq!((record.phase, record.mode, record.priority), (Phase::Unknown, Mode::Unknown, None));
        assert_eq!((record.created_at, record.updated_at, record.resolved_at), (Some(7), 8, None));
        assert!(!record.private);
    }

    #[test]
    fn of_a_retrospective_incident_what_the_provider_filled_in_is_no_time() {
        let filled = r#","mode":"retrospective","incident_status":{"category":"closed"},"incident_timestamp_values":[
            {"incident_timestamp":{"name":"Reported at"},"value":{"value":7}},
            {"incident_timestamp":{"name":"Closed at"},"value":{"value":7}}]"#;
        let (record, _) = incident(&INCIDENTIO, &facts(filled), &Context::default());
        assert_eq!((record.started_at, record.resolved_at), (None, None));
        assert_eq!(record.created_at, Some(7));
    }

    #[test]
    fn a_visibility_that_nobody_has_seen_is_private() {
        let private = |v: &str| {
            incident(&INCIDENTIO, &facts(&alloc::format!(r#","visibility":"{v}""#)), &Context::default())
                .0
                .private
        };
        assert!(!private("public"));
        assert!(private("private") && private("team"));
    }

    #[test]
    fn services_come_from_the_fields_that_the_settings_the_catalog_or_the_name_point_at() {
        let facts = facts(
            r#","custom_field_entries":[
              {"custom_field":{"id":"F1","name":"Affected services"},"values":[{"value_option":{"value":"by name"}}]},
              {"custom_field":{"id":"F2","name":"Systems"},"values":[{"value_catalog_entry":{"name":"by catalog"}}]},
              {"custom_field":{"id":"F3","name":"Products"},"values":[
                {"value_option":{"value":"by setting"}},{"value_option":{"value":"by setting"}}]}]"#,
        );
        let names = |context: &Context| {
            incident(&INCIDENTIO, &facts, context).0.services.into_iter().map(|s| s.name).collect::<Vec<_>>()
        };
        let mut context = Context::default();
        assert_eq!(names(&context), ["by name"]);
        context.account.service_fields = vec!["F2".into()];
        assert_eq!(names(&context), ["by catalog"]);
        context.settings.service_fields = vec!["products ".into()];
        assert_eq!(names(&context), ["by setting"]);
        context.settings.service_fields = vec!["F1".into()];
        assert_eq!(names(&context), ["by name"]);
    }

    #[test]
    fn a_timestamp_is_what_the_settings_call_it_by_identifier_and_before_that_was_kept_by_name() {
        let end = |context: &Context, id: &str, name: &str| {
            let filled = alloc::format!(
                r#","incident_status":{{"category":"closed"}},"incident_timestamp_values":[
                {{"incident_timestamp":{{"id":"{id}","name":"{name}"}},"value":{{"value":9}}}}]"#
            );
            incident(&INCIDENTIO, &facts(&filled), context).0.resolved_at.map(|time| (time.at, time.rule))
        };
        let mut context = Context::default();
        context.settings.timestamps.resolved = Some("T1".into());
        let set = Some((9, "chosen-timestamp".into()));
        assert_eq!(end(&context, "T1", "Over"), set);
        assert_eq!(end(&context, "T2", "Over"), None);
        assert_eq!(end(&context, "", "Over"), None, "nobody knows that name");
        context.account.timestamps = vec![payload::TimestampName { id: "T1".into(), name: "Over".into() }];
        assert_eq!(end(&context, "", "Over"), set);
        assert_eq!(end(&context, "T1", "Over by then"), set, "a name can be edited");
        assert_eq!(end(&context, "T2", "Over"), None);
    }

    #[test]
    fn the_documented_severities_map_as_documented() {
        for (name, priority) in [
            ("Critical", Priority::P1),
            ("major", Priority::P2),
            ("MINOR", Priority::P3),
            ("Informational", Priority::P4),
        ] {
            let facts = facts(&alloc::format!(r#","severity":{{"name":"{name}"}}"#));
            assert_eq!(
                incident(&INCIDENTIO, &facts, &Context::default()).0.priority,
                Some(priority),
                "{name}"
            );
        }
    }
}
