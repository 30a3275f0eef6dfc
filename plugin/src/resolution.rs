//! When an incident began, was acknowledged and ended: ordered rules over what the provider recorded.
//!
//! Inputs are provider state only, never a delivery's headers or arrival, or webhooks and backfill would
//! disagree. There is no substitute for a missing end: the time of the last edit is not one.
//!
//! Timestamp names are the organisation's and are compared without case and outer spaces. Default names:
//! <https://help.incident.io>, "Incident timestamps".

use alloc::string::String;
use alloc::vec::Vec;

use crate::model::{DerivedTime, Interval, Phase, Reopening, SECOND, Timestamp};

/// A named point in the incident's life, as the organisation calls it.
#[derive(Debug, Clone, Copy)]
pub struct NamedTime<'a> {
    /// The organisation's name for it.
    pub name: &'a str,
    /// When.
    pub at: Timestamp,
    /// When it was last set, where that is known.
    pub set_at: Option<Timestamp>,
    /// What the organisation has set that it tells. It tells nothing else then.
    pub means: Option<Moment>,
}

/// A moment in an incident's life that a timestamp can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Moment {
    Started,
    Acknowledged,
    Resolved,
}

/// The rule of a time that the organisation's settings name.
const CHOSEN: &str = "chosen-timestamp";
/// The rule of an end that is nothing but a change of status.
const TRANSITION: &str = "status-transition";

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

/// What organisations call these moments in place of the default names, and in other languages.
const STARTED: [&str; 9] = [
    "incident started at",
    "incident started",
    "outage started at",
    "beginn der auswirkung",
    "begonnen um",
    "début de l'impact",
    "inicio del impacto",
    "início do impacto",
    "影響開始日時",
];
const ACKNOWLEDGED: [&str; 4] = ["acknowledged at", "acknowledged", "bestätigt um", "対応開始日時"];
const RESOLVED: [&str; 23] = [
    "resolved",
    "restored at",
    "service restored",
    "service restored at",
    "impact ended",
    "impact ended at",
    "impact resolved at",
    "mitigated at",
    "mitigated",
    "recovered at",
    "behoben um",
    "behoben am",
    "gelöst um",
    "gelöst am",
    "wiederhergestellt um",
    "résolu à",
    "résolu le",
    "rétabli à",
    "resuelto a las",
    "resolvido em",
    "risolto alle",
    "解決日時",
    "復旧日時",
];

/// The provider's other names, each of a moment that is not one of those.
const OTHER: [&str; 12] = [
    "impact started at",
    "impact started",
    "reported at",
    "declared at",
    "accepted at",
    "declined at",
    "merged at",
    "canceled at",
    "identified at",
    "documented at",
    "reviewed at",
    "closed at",
];
const ENDS: [&str; 2] = ["resolved at", "fixed at"];

fn is_one(name: &str, names: &[&str]) -> bool {
    names.iter().any(|one| name.trim_ascii().eq_ignore_ascii_case(one))
}

fn named<'a>(times: &'a [NamedTime<'a>], names: &[&str]) -> Option<&'a NamedTime<'a>> {
    times.iter().find(|time| time.means.is_none() && is_one(time.name, names))
}

fn chosen<'a>(times: &'a [NamedTime<'a>], moment: Moment) -> Option<&'a NamedTime<'a>> {
    times.iter().find(|time| time.means == Some(moment))
}

/// Of an end that is nothing but a change of status: the last timestamp between the start, or the last reopening, and that
/// end, of which nobody told what it means.
pub fn unknown(
    times: &[NamedTime<'_>],
    started: Option<&DerivedTime>,
    resolved: Option<&DerivedTime>,
    reopenings: &[Reopening],
) -> Option<String> {
    let end = resolved.filter(|end| end.rule == TRANSITION)?;
    let since = started.map(|start| start.at).max(reopenings.last().map(|reopening| reopening.at));
    let lists: [&[&str]; 5] = [&STARTED, &ACKNOWLEDGED, &RESOLVED, &OTHER, &ENDS];
    let is_unknown =
        |time: &&NamedTime<'_>| time.means.is_none() && !lists.iter().any(|names| is_one(time.name, names));
    let between = |time: &&NamedTime<'_>| Some(time.at) > since && time.at < end.at;
    let last = times.iter().filter(is_unknown).filter(between).max_by_key(|time| time.at);
    last.map(|time| time.name.into())
}

fn derived(at: Timestamp, rule: &str) -> DerivedTime {
    DerivedTime { at, rule: rule.into() }
}

/// Whether a person set this time. The provider sets some by itself to the moment at which the record was created or
/// its status changed: of a record that was written afterwards that is the moment of data entry.
pub fn is_typed(time: &NamedTime<'_>, created_at: Option<Timestamp>, history: &[Stand]) -> bool {
    let entered = history.iter().map(|stand| stand.at).chain(created_at).chain(time.set_at);
    entered.into_iter().all(|at| at.abs_diff(time.at) > SECOND.unsigned_abs())
}

/// Start of the impact: `chosen-timestamp`, `impact-started-at`, `reported-at`, `declared-at`, else `created-at`.
pub fn started(times: &[NamedTime<'_>], created_at: Option<Timestamp>) -> Option<DerivedTime> {
    let at = |names, rule| named(times, names).map(|time| derived(time.at, rule));
    chosen(times, Moment::Started)
        .map(|time| derived(time.at, CHOSEN))
        .or_else(|| at(&["impact started at", "impact started"], "impact-started-at"))
        .or_else(|| at(&STARTED, "impact-started-at"))
        .or_else(|| at(&["reported at"], "reported-at"))
        .or_else(|| at(&["declared at"], "declared-at"))
        .or_else(|| created_at.map(|at| derived(at, "created-at")))
}

/// Acknowledgement: `chosen-timestamp`, `accepted-at`, which incidents lack that were opened directly, else `activity-acked`: the first
/// acknowledgement in the activity log.
pub fn acknowledged(times: &[NamedTime<'_>], logged: Option<Timestamp>) -> Option<DerivedTime> {
    let accepted = || named(times, &["accepted at"]).or_else(|| named(times, &ACKNOWLEDGED));
    chosen(times, Moment::Acknowledged)
        .map(|time| derived(time.at, CHOSEN))
        .or_else(|| accepted().map(|time| derived(time.at, "accepted-at")))
        .or_else(|| logged.map(|at| derived(at, "activity-acked")))
}

/// When an incident ended, and the ends that reopenings took back.
#[derive(Debug, Default, PartialEq)]
pub struct Ends {
    /// The end, only while the incident is over.
    pub resolved: Option<DerivedTime>,
    /// The end before the first reopening, where it is earlier.
    pub first_resolved: Option<DerivedTime>,
    /// Oldest first.
    pub reopenings: Vec<Reopening>,
}

/// The end is, by the first rule that gives one: `chosen-timestamp`, `resolved-at-timestamp`, `fixed-at-timestamp`,
/// `status-transition`, `closed-at-timestamp`.
///
/// The provider's default rules fill a timestamp the first time a status is entered, so after a reopening it
/// can be too early: a timestamp before the last reopening is stale and passed over, unless it was set since.
/// `history` is oldest first.
pub fn ends(phase: Phase, times: &[NamedTime<'_>], history: &[Stand]) -> Ends {
    let reopened = reopened(history);
    let last = reopened.last().map(|(_, open)| open.at);
    let set_since = |time: &NamedTime<'_>| last.is_some() && time.set_at >= last;
    let resolved = phase.is_over().then(|| {
        let fresh = |time: &NamedTime<'_>| last.is_none_or(|at| time.at >= at) || set_since(time);
        let over = history.iter().rev().take_while(|stand| stand.phase.is_over());
        end(times, fresh, over.last())
    });
    let mut reopenings: Vec<Reopening> = Vec::with_capacity(reopened.len());
    for (over, open) in &reopened {
        let since = reopenings.last().map(|before| before.at);
        let of_then = |time: &NamedTime<'_>| Some(time.at) >= since && time.at < open.at && !set_since(time);
        reopenings.push(Reopening { at: open.at, passed_over: end(times, of_then, Some(over)) });
    }
    let resolved = resolved.flatten();
    let first = reopenings.first().and_then(|reopening| reopening.passed_over.clone());
    let first_resolved = first.filter(|first| resolved.as_ref().is_some_and(|last| first.at < last.at));
    Ends { resolved, first_resolved, reopenings }
}

/// The end of one stretch: by timestamps that belong to it, and by the stand that it began to be over with.
fn end(
    times: &[NamedTime<'_>],
    belongs: impl Fn(&NamedTime<'_>) -> bool,
    over: Option<&Stand>,
) -> Option<DerivedTime> {
    let timestamp =
        |names, rule| named(times, names).filter(|time| belongs(time)).map(|time| derived(time.at, rule));
    let own = chosen(times, Moment::Resolved).filter(|time| belongs(time));
    own.map(|time| derived(time.at, CHOSEN))
        .or_else(|| timestamp(&["resolved at"], "resolved-at-timestamp"))
        .or_else(|| timestamp(&RESOLVED, "resolved-at-timestamp"))
        .or_else(|| timestamp(&["fixed at"], "fixed-at-timestamp"))
        .or_else(|| over.filter(|stand| stand.recorded).map(|stand| derived(stand.at, TRANSITION)))
        .or_else(|| timestamp(&["closed at"], "closed-at-timestamp"))
}

/// Each stand that made an incident open again, after the one that it had been over since.
fn reopened(history: &[Stand]) -> Vec<(Stand, Stand)> {
    let (mut over, mut reopened) = (None, Vec::new());
    for stand in history {
        match stand.phase {
            Phase::Resolved | Phase::Closed => over = over.or(Some(*stand)),
            Phase::Triage | Phase::Active | Phase::Paused => {
                reopened.extend(over.take().map(|over| (over, *stand)));
            }
            _ => {}
        }
    }
    reopened
}

/// When the incident was paused. `history` is oldest first. A pause whose end is not known yet is none, unless it
/// lasts.
pub fn pauses(phase: Phase, history: &[Stand]) -> Vec<Interval> {
    let mut pauses = Vec::new();
    let mut paused = None;
    for stand in history {
        if stand.phase == Phase::Paused {
            paused = paused.or(Some(stand.at));
        } else if let Some(since) = paused.take() {
            pauses.push(Interval { since, until: Some(stand.at) });
        }
    }
    if phase == Phase::Paused {
        pauses.extend(paused.map(|since| Interval { since, until: None }));
    }
    pauses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times<'a>(list: &[(&'a str, Timestamp)]) -> Vec<NamedTime<'a>> {
        list.iter().map(|(name, at)| NamedTime { name, at: *at, set_at: None, means: None }).collect()
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
        let got = ends(phase, &times(named), &history(stands)).resolved;
        assert_eq!(got.map(|d| (d.at, d.rule)), expected.map(|(at, rule)| (at, rule.into())));
    }

    use Phase::{Active, Closed, Paused, Resolved};

    #[test]
    fn a_renamed_or_translated_timestamp_means_what_it_says() {
        let stands = [(0, Active), (50, Resolved)];
        for name in ["Service restored", "Behoben um", "解決日時", " MITIGATED AT "] {
            check(Resolved, &[(name, 10)], &stands, Some((10, "resolved-at-timestamp")));
        }
        check(Resolved, &[("Dinner at", 10)], &stands, Some((50, "status-transition")));
        assert_eq!(started(&times(&[("Début de l'impact", 3)]), Some(7)).unwrap().at, 3);
        assert_eq!(acknowledged(&times(&[("Bestätigt um", 3)]), None).unwrap().at, 3);
    }

    #[test]
    fn what_the_settings_say_goes_before_every_rule_and_is_nothing_else() {
        let mut times =
            times(&[("Dinner at", 10), ("Resolved at", 20), ("Breakfast at", 1), ("Lunch at", 5)]);
        times[0].means = Some(Moment::Resolved);
        times[2].means = Some(Moment::Started);
        times[3].means = Some(Moment::Acknowledged);
        let stands = history(&[(0, Active), (50, Resolved)]);
        let end = |times: &[NamedTime<'_>]| ends(Resolved, times, &stands).resolved;
        assert_eq!(end(&times), Some(derived(10, CHOSEN)));
        assert_eq!(started(&times, Some(0)), Some(derived(1, CHOSEN)));
        assert_eq!(acknowledged(&times, Some(7)), Some(derived(5, CHOSEN)));
        (times[0].means, times[1].means) = (None, Some(Moment::Acknowledged));
        assert_eq!(end(&times), Some(derived(50, TRANSITION)), "`Resolved at` is something else now");
        let reopened = history(&[(0, Active), (20, Resolved), (30, Active), (50, Resolved)]);
        times[0].means = Some(Moment::Resolved);
        let end = ends(Resolved, &times, &reopened).resolved;
        assert_eq!(end, Some(derived(50, TRANSITION)), "from before the reopening");
    }

    #[test]
    fn an_end_by_status_tells_the_last_timestamp_before_it_that_nobody_knows() {
        let unknown_of = |list: &[(&str, i64)], stands: &[(Timestamp, Phase)]| {
            let (times, stands) = (times(list), history(stands));
            let Ends { resolved, reopenings, .. } = ends(Resolved, &times, &stands);
            unknown(&times, started(&times, Some(0)).as_ref(), resolved.as_ref(), &reopenings)
        };
        let stands = [(0, Active), (50, Resolved)];
        let found = Some("Customer impact over".to_owned());
        let over = ("Customer impact over", 20);
        assert_eq!(unknown_of(&[over, ("Detected at", 10), ("Identified at", 30)], &stands), found);
        assert_eq!(unknown_of(&[over, ("Resolved at", 40)], &stands), None, "the end is told");
        assert_eq!(unknown_of(&[("Customer impact over", 60), ("Detected at", 0)], &stands), None);
        let reopened = [(0, Active), (25, Resolved), (30, Active), (50, Resolved)];
        assert_eq!(unknown_of(&[over], &reopened), None, "it is from before the reopening");
    }

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
            let times = [NamedTime { name: "Resolved at", at: 55, set_at, means: None }];
            ends(Resolved, &times, &stands).resolved.map(|end| (end.at, end.rule))
        };
        assert_eq!(end(Some(90)), Some((55, "resolved-at-timestamp".into())));
        assert_eq!(end(Some(51)), Some((80, "status-transition".into())), "set before it was reopened");
    }

    #[test]
    fn each_reopening_tells_the_end_that_it_took_back() {
        let stands = [(0, Active), (50, Resolved), (60, Active), (70, Closed), (80, Active), (90, Closed)];
        let ends = ends(Closed, &times(&[("Resolved at", 48)]), &history(&stands));
        let at = |at, passed_over: (i64, &str)| Reopening {
            at,
            passed_over: Some(derived(passed_over.0, passed_over.1)),
        };
        let expected = [at(60, (48, "resolved-at-timestamp")), at(80, (70, "status-transition"))];
        assert_eq!(ends.reopenings, expected);
        assert_eq!(ends.first_resolved, Some(derived(48, "resolved-at-timestamp")));
        assert_eq!(ends.resolved, Some(derived(90, "status-transition")));
    }

    #[test]
    fn an_end_that_was_corrected_to_before_the_first_is_the_first() {
        let stands = history(&[(0, Active), (50, Resolved), (60, Active), (80, Resolved)]);
        let ends = ends(
            Resolved,
            &[NamedTime { name: "Resolved at", at: 40, set_at: Some(90), means: None }],
            &stands,
        );
        assert_eq!((ends.resolved, ends.first_resolved), (Some(derived(40, "resolved-at-timestamp")), None));
        assert_eq!(ends.reopenings[0].passed_over, Some(derived(50, "status-transition")));
    }

    #[test]
    fn pauses_end_with_the_next_stand_and_one_whose_end_is_unknown_is_none() {
        let stands = [(0, Active), (10, Paused), (20, Paused), (30, Active), (40, Paused)];
        let ended = Interval { since: 10, until: Some(30) };
        assert_eq!(pauses(Closed, &history(&stands)), [ended]);
        assert_eq!(pauses(Paused, &history(&stands)), [ended, Interval { since: 40, until: None }]);
    }

    #[test]
    fn what_the_provider_set_at_data_entry_is_not_typed() {
        let typed = |at, set_at| {
            let time = NamedTime { name: "Closed at", at, set_at, means: None };
            is_typed(&time, Some(100 * SECOND), &history(&[(200 * SECOND, Closed)]))
        };
        assert!(typed(10 * SECOND, None) && typed(150 * SECOND, Some(200 * SECOND)));
        assert!(!typed(100 * SECOND, None), "the creation");
        assert!(!typed(200 * SECOND + 3, None), "a change of status, nearly");
        assert!(!typed(50 * SECOND, Some(50 * SECOND)), "set to the moment of setting it");
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
        let ends = ends(Resolved, &times(&[("Resolved at", 50)]), &stands);
        assert_eq!((ends.resolved, ends.reopenings.len()), (None, 1));
    }

    #[test]
    fn the_start_falls_back_to_the_creation() {
        let rule = |list: &[(&str, i64)]| started(&times(list), Some(7)).unwrap().rule;
        assert_eq!(rule(&[("Reported at", 2), ("Impact started", 1)]), "impact-started-at");
        assert_eq!(rule(&[("Reported at", 2), ("Declared at", 3)]), "reported-at");
        assert_eq!(rule(&[("Declared at", 3)]), "declared-at");
        assert_eq!(started(&[], Some(7)), Some(derived(7, "created-at")));
        assert_eq!(started(&[], None), None, "a creation that nobody knows is no start");
    }
}
