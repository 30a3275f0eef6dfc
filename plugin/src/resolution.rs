//! When an incident began, was acknowledged and ended: ordered rules over what the provider recorded.
//!
//! Inputs are provider state only, never a delivery's headers or arrival, or webhooks and backfill would
//! disagree. There is no substitute for a missing end: the time of the last edit is not one.
//!
//! Timestamp names are the organisation's and are compared without case and outer spaces. Default names:
//! <https://help.incident.io>, "Incident timestamps".

use crate::model::{DerivedTime, Phase, Timestamp};

/// A named point in the incident's life, as the organisation calls it.
#[derive(Debug, Clone, Copy)]
pub struct NamedTime<'a> {
    /// The organisation's name for it.
    pub name: &'a str,
    /// When.
    pub at: Timestamp,
    /// When it was last set, where that is known.
    pub set_at: Option<Timestamp>,
}

/// The incident stood in this phase from this instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// From when.
    pub at: Timestamp,
    /// Where it stood.
    pub phase: Phase,
    /// Whether the instant is the provider's own record of the change. One inferred from a delivery tells that
    /// the incident was reopened, but not when it ended.
    pub recorded: bool,
}

fn named<'a>(times: &'a [NamedTime<'a>], names: &[&str]) -> Option<&'a NamedTime<'a>> {
    times.iter().find(|t| names.iter().any(|n| t.name.trim_ascii().eq_ignore_ascii_case(n)))
}

fn derived(at: Timestamp, rule: &str) -> DerivedTime {
    DerivedTime { at, rule: rule.into() }
}

/// Start of the impact: `impact-started-at`, `reported-at`, `declared-at`, else `created-at`.
pub fn started(times: &[NamedTime<'_>], created_at: Timestamp) -> DerivedTime {
    let at = |names, rule| named(times, names).map(|time| derived(time.at, rule));
    at(&["impact started at", "impact started"], "impact-started-at")
        .or_else(|| at(&["reported at"], "reported-at"))
        .or_else(|| at(&["declared at"], "declared-at"))
        .unwrap_or_else(|| derived(created_at, "created-at"))
}

/// Acknowledgement: `accepted-at`, which incidents lack that were opened directly, else `activity-acked`: the first
/// acknowledgement in the activity log.
pub fn acknowledged(times: &[NamedTime<'_>], logged: Option<Timestamp>) -> Option<DerivedTime> {
    let accepted = named(times, &["accepted at"]).map(|time| derived(time.at, "accepted-at"));
    accepted.or_else(|| logged.map(|at| derived(at, "activity-acked")))
}

/// The end, only while the incident is over: `resolved-at-timestamp`, `fixed-at-timestamp`,
/// `status-transition`, `closed-at-timestamp`, else none.
///
/// The provider's default rules fill a timestamp the first time a status is entered, so after a reopening it
/// can be too early: a timestamp before the last reopening is stale and passed over, unless it was set since.
/// `history` is oldest first.
pub fn resolved(phase: Phase, times: &[NamedTime<'_>], history: &[Stand]) -> Option<DerivedTime> {
    if !phase.is_over() {
        return None;
    }
    let reopened = last_reopening(history);
    let fresh = |names, rule| {
        let later = |time: &NamedTime<'_>| reopened.is_none_or(|r| time.at >= r || time.set_at >= Some(r));
        named(times, names).filter(|time| later(time)).map(|time| derived(time.at, rule))
    };
    fresh(&["resolved at"], "resolved-at-timestamp")
        .or_else(|| fresh(&["fixed at"], "fixed-at-timestamp"))
        .or_else(|| last_end(history).map(|at| derived(at, "status-transition")))
        .or_else(|| fresh(&["closed at"], "closed-at-timestamp"))
}

/// When the incident last went from over back to open.
fn last_reopening(history: &[Stand]) -> Option<Timestamp> {
    let mut was_over = false;
    let mut reopened = None;
    for stand in history {
        match stand.phase {
            Phase::Resolved | Phase::Closed => was_over = true,
            Phase::Triage | Phase::Active | Phase::Paused => {
                if was_over {
                    reopened = Some(stand.at);
                }
                was_over = false;
            }
            _ => {}
        }
    }
    reopened
}

/// The first recorded stand that is over after the last one that is not.
fn last_end(history: &[Stand]) -> Option<Timestamp> {
    let over = history.iter().rev().take_while(|stand| stand.phase.is_over());
    over.last().filter(|stand| stand.recorded).map(|stand| stand.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times<'a>(list: &[(&'a str, Timestamp)]) -> Vec<NamedTime<'a>> {
        list.iter().map(|(name, at)| NamedTime { name, at: *at, set_at: None }).collect()
    }

    fn history(list: &[(Timestamp, Phase)]) -> Vec<Stand> {
        list.iter().map(|(at, phase)| Stand { at: *at, phase: *phase, recorded: true }).collect()
    }

    fn check(
        phase: Phase,
        named: &[(&str, Timestamp)],
        stands: &[(Timestamp, Phase)],
        expected: Option<(i64, &str)>,
    ) {
        let got = resolved(phase, &times(named), &history(stands));
        assert_eq!(got.map(|d| (d.at, d.rule)), expected.map(|(at, rule)| (at, rule.into())));
    }

    use Phase::{Active, Closed, Paused, Resolved};

    #[test]
    fn the_resolved_timestamp_comes_first_then_fixed_then_the_transition_then_closed() {
        let stands = [(0, Active), (50, Resolved), (90, Closed)];
        check(
            Closed,
            &[(" RESOLVED AT ", 40), ("Fixed at", 30)],
            &stands,
            Some((40, "resolved-at-timestamp")),
        );
        check(Closed, &[("Fixed at", 30), ("Closed at", 90)], &stands, Some((30, "fixed-at-timestamp")));
        check(Closed, &[("Closed at", 90)], &stands, Some((50, "status-transition")));
        check(Closed, &[("Closed at", 90)], &[], Some((90, "closed-at-timestamp")));
        check(Closed, &[], &[], None);
    }

    #[test]
    fn an_open_incident_has_no_end_whatever_its_timestamps_say() {
        for phase in
            [Active, Paused, Phase::Triage, Phase::Declined, Phase::Canceled, Phase::Merged, Phase::Unknown]
        {
            check(phase, &[("Resolved at", 40)], &[(0, Active), (40, Resolved)], None);
        }
    }

    #[test]
    fn a_timestamp_from_before_a_reopening_is_stale() {
        let stands = [(0, Active), (50, Resolved), (60, Active), (80, Resolved)];
        check(Resolved, &[("Resolved at", 50), ("Fixed at", 49)], &stands, Some((80, "status-transition")));
        check(Resolved, &[("Resolved at", 75)], &stands, Some((75, "resolved-at-timestamp")));
    }

    #[test]
    fn a_timestamp_that_was_set_after_the_reopening_is_good_again() {
        let stands = history(&[(0, Active), (50, Resolved), (60, Active), (80, Resolved)]);
        let end = |set_at| {
            let times = [NamedTime { name: "Resolved at", at: 55, set_at }];
            resolved(Resolved, &times, &stands).map(|end| (end.at, end.rule))
        };
        assert_eq!(end(Some(90)), Some((55, "resolved-at-timestamp".into())));
        assert_eq!(end(Some(51)), Some((80, "status-transition".into())), "set before it was reopened");
    }

    #[test]
    fn a_live_update_after_a_back_dated_end_proves_nothing() {
        check(
            Resolved,
            &[("Resolved at", 10)],
            &[(0, Active), (30, Active), (50, Resolved)],
            Some((10, "resolved-at-timestamp")),
        );
    }

    #[test]
    fn an_inferred_stand_tells_of_a_reopening_but_not_of_an_end() {
        let mut stands = history(&[(0, Active), (50, Resolved)]);
        stands.push(Stand { at: 60, phase: Active, recorded: false });
        stands.push(Stand { at: 80, phase: Resolved, recorded: false });
        assert_eq!(resolved(Resolved, &times(&[("Resolved at", 50)]), &stands), None);
    }

    #[test]
    fn the_start_falls_back_to_the_creation() {
        let rule = |list: &[(&str, i64)]| started(&times(list), 7).rule;
        assert_eq!(rule(&[("Reported at", 2), ("Impact started", 1)]), "impact-started-at");
        assert_eq!(rule(&[("Reported at", 2), ("Declared at", 3)]), "reported-at");
        assert_eq!(rule(&[("Declared at", 3)]), "declared-at");
        assert_eq!(started(&[], 7), derived(7, "created-at"));
    }
}
