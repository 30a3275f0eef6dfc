//! Why one incident counts for time to restore, or does not. The component judges; this only says it in words.

use koalr_host::contract::{ClockEnd, DerivedTime, Incident, MttrQuery, MttrReport};
use serde::Serialize;

use crate::view::{self, IntervalView, printable};

/// One incident in one report.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    id: String,
    reference: Option<String>,
    title: String,
    phase: &'static str,
    mode: &'static str,
    priority: Option<&'static str>,
    private: bool,
    services: Vec<String>,
    since: Option<String>,
    until: Option<String>,
    /// Whether the report is about it at all.
    in_period: bool,
    measured: bool,
    /// Why it is not measured.
    reason: Option<String>,
    seconds: Option<f64>,
    /// How many of the seconds nobody worked on it.
    paused_seconds: Option<f64>,
    /// Whether its timeline is still to be read: its times may change.
    provisional: bool,
    /// Whether stored incidents are still being recalculated: its times may change.
    recalculating: bool,
    /// Where the clock started, if it was measured.
    clock_started: Option<Time>,
    /// Where the clock ended, if it was measured.
    clock_ended: Option<Time>,
    created: Option<Time>,
    started: Option<Time>,
    acknowledged: Option<Time>,
    resolved: Option<Time>,
    first_resolved: Option<Time>,
    reopenings: Vec<Reopened>,
    pauses: Vec<IntervalView>,
    /// The same in sentences.
    #[serde(skip)]
    course: Vec<String>,
    /// What the clock ended at.
    #[serde(skip)]
    end: &'static str,
}

/// It was over, and then open again.
#[derive(Debug, Serialize)]
struct Reopened {
    at: String,
    passed_over: Option<Time>,
}

/// An instant and the rule that gave it.
#[derive(Debug, Clone, Serialize)]
struct Time {
    at: String,
    rule: String,
}

fn time(of: &DerivedTime) -> Time {
    Time { at: view::instant(of.at), rule: of.rule.clone() }
}

/// Puts the component's report of this incident alone beside what is recorded of it.
pub(crate) fn explain(
    record: &Incident,
    report: &MttrReport,
    query: &MttrQuery,
    recalculating: bool,
) -> Explained {
    let seconds = report.overall.statistics.durations.as_ref().map(|durations| durations.mean);
    let reason = report.excluded.first().map(|excluded| excluded.reason.clone());
    let clock_started = view::started_by(record, query.start).filter(|_| seconds.is_some());
    let (clock_ended, end) = match query.end {
        ClockEnd::FirstResolution => {
            (record.first_resolved_at.as_ref().or(record.resolved_at.as_ref()), "its first resolution")
        }
        ClockEnd::Resolved => (record.resolved_at.as_ref(), "its resolution"),
        ClockEnd::Acknowledged => (record.acknowledged_at.as_ref(), "its acknowledgement"),
    };
    let clock_ended = clock_ended.filter(|_| seconds.is_some());
    let span = clock_started.as_ref().zip(clock_ended);
    Explained {
        id: record.key.id.clone(),
        reference: record.reference.clone(),
        title: record.title.clone(),
        phase: view::phase(record.phase),
        mode: view::mode(record.mode),
        priority: record.priority.map(view::priority),
        private: record.private,
        services: record.services.iter().map(|service| service.name.clone()).collect(),
        since: query.edges.first().map(|at| view::instant(*at)),
        until: query.edges.last().map(|at| view::instant(*at)),
        in_period: report.population > 0,
        measured: seconds.is_some(),
        reason,
        seconds,
        paused_seconds: span.map(|(start, end)| view::paused_between(record, start.at, end.at)),
        provisional: report.provisional > 0,
        recalculating,
        clock_started: clock_started.as_ref().map(time),
        clock_ended: clock_ended.map(time),
        created: view::created(record).as_ref().map(time),
        started: record.started_at.as_ref().map(time),
        acknowledged: record.acknowledged_at.as_ref().map(time),
        resolved: record.resolved_at.as_ref().map(time),
        first_resolved: record.first_resolved_at.as_ref().map(time),
        reopenings: record
            .reopenings
            .iter()
            .map(|reopening| Reopened {
                at: view::instant(reopening.at),
                passed_over: reopening.passed_over.as_ref().map(time),
            })
            .collect(),
        pauses: record.pauses.iter().map(view::interval).collect(),
        course: view::course(record),
        end,
    }
}

/// What a reason of the component means, for this incident.
fn because(of: &Explained, reason: &str) -> String {
    match reason {
        "source" => "its source is not one of those asked for".into(),
        "test" | "tutorial" => format!("it was declared as a {reason}"),
        "triage" => "nobody has accepted it yet: it is in triage".into(),
        "declined" | "canceled" | "merged" => format!("it was {reason}, so it is no outage of its own"),
        "private" => "it is private, and private incidents are left out".into(),
        "duplicate" => "it is known from another source, and counted there".into(),
        "priority" => match of.priority {
            Some(priority) => format!("its priority is {priority}, which was not asked for"),
            None => "it has no priority, and only some priorities were asked for".into(),
        },
        "service" => "it affects none of the services asked for".into(),
        "not-visible" => {
            "it is open, and incident.io has not shown it for days: it may have been deleted".into()
        }
        "open" => format!("it is not over: it is {}", of.phase),
        "unknown-phase" => "the provider gives it a status of a kind that is not known".into(),
        "implausible-time" => "a time that decides lies before 2005, which must be a mistake".into(),
        "ends-in-the-future" => "it ends in the future, which must be a mistake".into(),
        "entered-later" => {
            "it was written down afterwards, and nothing but the moment of that tells when it began or ended"
                .into()
        }
        "no-creation-time" => {
            "the clock starts at its creation, and the provider tells none that can be read".into()
        }
        "no-resolution-time" => "it is over, and nothing tells since when".into(),
        "no-start-time" => "it has no time at which the clock that was asked for starts".into(),
        "negative-duration" => "it ended before the clock started".into(),
        other => other.to_string(),
    }
}

impl Explained {
    /// Whether it counts, and why not, in a sentence.
    pub(crate) fn verdict(&self) -> String {
        let day = |at: &Option<String>| at.as_deref().map_or_else(String::new, view::to_the_minute);
        match (&self.reason, self.seconds) {
            (_, Some(seconds)) => {
                let mut told = format!("counts: restored in {}", view::duration(seconds));
                if let Some(paused) = self.paused_seconds.filter(|paused| *paused > 0.0) {
                    told.push_str(&format!(", of which {} paused", view::duration(paused)));
                }
                if let Some(start) = &self.clock_started {
                    let at = view::to_the_minute(&start.at);
                    told.push_str(&format!(", from {at} UTC ({}) to {}", start.rule, self.end));
                }
                told
            }
            (Some(reason), None) => format!("does not count ({reason}): {}", because(self, reason)),
            (None, None) => format!(
                "is not part of this report, which is about what was restored, or else created, from {} to {} UTC",
                day(&self.since),
                day(&self.until)
            ),
        }
    }

    /// What else is to be known of its times, in sentences.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = self.course.clone();
        if self.provisional {
            notes.push("Provisional: its timeline is still to be read, so its times may change.".into());
        }
        if self.recalculating {
            notes
                .push("Provisional: incidents are still being recalculated, so its times may change.".into());
        }
        notes
    }

    pub(super) fn text(&self) -> String {
        let name = printable(self.reference.as_deref().unwrap_or(&self.id));
        let mut lines = vec![format!("{name}  {}", printable(&self.title))];
        lines.push(self.verdict());
        lines.extend(self.notes());
        lines.push(String::new());
        let times = [
            ("created", self.created.as_ref()),
            ("started", self.started.as_ref()),
            ("acknowledged", self.acknowledged.as_ref()),
            ("resolved", self.resolved.as_ref()),
            ("clock starts", self.clock_started.as_ref()),
            ("clock ends", self.clock_ended.as_ref()),
        ];
        // Only what was reopened was resolved more than once.
        let first = self.first_resolved.as_ref().map(|first| ("first resolved", Some(first)));
        let (history, clock) = times.split_at(4);
        let times = history.iter().copied().chain(first).chain(clock.iter().copied());
        for (what, time) in times {
            let said = time.map_or_else(
                || "-".to_string(),
                |time| format!("{} UTC, by the rule {}", view::to_the_minute(&time.at), time.rule),
            );
            lines.push(format!("  {what:<14} {said}"));
        }
        let services: Vec<String> = self.services.iter().map(|service| printable(service)).collect();
        let services = if services.is_empty() { "-".into() } else { services.join(", ") };
        for (what, said) in [
            ("phase", self.phase.to_string()),
            ("mode", self.mode.to_string()),
            ("priority", self.priority.unwrap_or("-").to_string()),
            ("services", services),
        ] {
            lines.push(format!("  {what:<14} {said}"));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use koalr_host::contract::{
        ClockStart, Durations, IncidentKey, Interval, Mode, Phase, Reopening, Slice, Statistics, Tier,
        Timestamp,
    };

    use super::*;

    const MINUTE: Timestamp = 60_000_000;
    /// 2026-11-10T10:00:00Z.
    const T0: Timestamp = 1_794_304_800_000_000;

    fn by(minutes: i64, rule: &str) -> Option<DerivedTime> {
        Some(DerivedTime { at: T0 + minutes * MINUTE, rule: rule.into() })
    }

    /// Started, declared and accepted at one instant, over after an hour.
    fn incident() -> Incident {
        Incident {
            key: IncidentKey { source: "incidentio".into(), id: "1".into() },
            reference: Some("INC-1".into()),
            title: "Down".into(),
            permalink: None,
            severity: None,
            priority: None,
            priority_rule: "no-severity".into(),
            status: "Closed".into(),
            phase: Phase::Closed,
            mode: Mode::Standard,
            private: false,
            withheld: false,
            not_visible: false,
            created_at: Some(T0),
            started_at: by(0, "impact-started-at"),
            acknowledged_at: by(0, "accepted-at"),
            resolved_at: by(60, "status-transition"),
            first_resolved_at: None,
            unknown_timestamp: None,
            reopenings: vec![],
            pauses: vec![],
            merged_into: None,
            responders: vec![],
            services: vec![],
            references: vec![],
            updated_at: T0,
        }
    }

    fn explained(incident: &Incident, query: &MttrQuery, seconds: f64, provisional: u64) -> Explained {
        let d = seconds;
        let durations = Durations {
            mean: d,
            median: d,
            p75: d,
            p90: d,
            p95: d,
            min: d,
            max: d,
            tier: Tier::High,
            mean_tier: Tier::High,
        };
        let statistics = Statistics { count: 1, durations: Some(durations) };
        let report = MttrReport {
            overall: Slice { label: "all".into(), statistics },
            trend: vec![],
            by_priority: vec![],
            by_service: vec![],
            by_source: vec![],
            excluded: vec![],
            population: 1,
            open: 0,
            oldest_open: None,
            provisional,
            reopened: 0,
            other_clocks: vec![],
        };
        explain(incident, &report, query, false)
    }

    #[test]
    fn of_equal_instants_the_rule_of_the_clock_that_was_asked_for_is_named() {
        for (start, rule) in [
            (ClockStart::Created, "created-at"),
            (ClockStart::Started, "impact-started-at"),
            (ClockStart::Acknowledged, "accepted-at"),
        ] {
            let query = MttrQuery { start, ..MttrQuery::new(vec![]) };
            let explained = explained(&incident(), &query, 3_600.0, 0);
            assert_eq!(explained.clock_started.unwrap().rule, rule, "{start:?}");
        }
    }

    #[test]
    fn paused_time_and_what_a_reopening_passed_over_are_told() {
        let mut incident = incident();
        incident.reopenings =
            vec![Reopening { at: T0 + 50 * MINUTE, passed_over: by(30, "resolved-at-timestamp") }];
        incident.first_resolved_at = by(30, "resolved-at-timestamp");
        let pause = |since: i64, until: Option<i64>| Interval {
            since: T0 + since * MINUTE,
            until: until.map(|until| T0 + until * MINUTE),
        };
        incident.pauses = vec![pause(10, Some(20)), pause(55, Some(90))];
        let query = MttrQuery::new(vec![]);
        let last = explained(&incident, &query, 3_600.0, 1);
        let verdict = last.verdict();
        assert!(
            verdict.contains("1 h 00 min, of which 15 min paused, from 2026-11-10 10:00 UTC (created-at)"),
            "{verdict}"
        );
        let text = last.text();
        let told = "It was reopened on 2026-11-10 10:50 UTC; its end on 2026-11-10 10:30 UTC (resolved-at-timestamp) was \
            passed over.";
        assert!(text.contains(told), "{text}");
        assert!(text.contains("paused from 2026-11-10 10:10 to 2026-11-10 10:20 UTC"), "{text}");
        assert!(text.contains("Provisional: its timeline is still to be read"), "{text}");
        assert!(text.contains("\n  first resolved 2026-11-10 10:30 UTC, by the rule resolved-at"), "{text}");
        let query = MttrQuery { end: ClockEnd::FirstResolution, ..query };
        let first = explained(&incident, &query, 1_800.0, 0);
        assert!(
            first.verdict().contains("of which 10 min paused")
                && first.verdict().contains("its first resolution")
        );
        assert_eq!(first.paused_seconds, Some(600.0));
    }

    #[test]
    fn what_waits_to_be_recalculated_is_told_as_provisional() {
        let told = |recalculating| Explained {
            recalculating,
            ..explained(&incident(), &MttrQuery::new(vec![]), 1.0, 0)
        };
        let note = "Provisional: incidents are still being recalculated, so its times may change.";
        assert!(told(true).text().contains(note) && !told(false).text().contains("Provisional"));
    }

    #[test]
    fn a_first_resolution_is_told_only_where_there_is_one() {
        let text = explained(&incident(), &MttrQuery::new(vec![]), 1.0, 0).text();
        assert!(!text.contains("first resolved") && text.contains("\n  resolved       2026"), "{text}");
    }

    #[test]
    fn an_unknown_creation_is_told_as_unknown() {
        let mut incident = incident();
        (incident.created_at, incident.started_at) = (None, None);
        let explained = explained(&incident, &MttrQuery::new(vec![]), 1.0, 0);
        assert!(
            explained.created.is_none() && explained.text().contains("  created        -\n"),
            "{}",
            explained.text()
        );
    }
}
