//! Why one incident counts for time to restore, or does not. The component judges; this only says it in words.

use koalr_host::contract::{DerivedTime, Incident, MttrQuery, MttrReport, Timestamp};
use serde::Serialize;

use crate::view::{self, printable};

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
    /// Where the clock started, if it was measured.
    clock_started: Option<Time>,
    created: Time,
    started: Option<Time>,
    acknowledged: Option<Time>,
    resolved: Option<Time>,
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
pub(crate) fn explain(record: &Incident, report: &MttrReport, query: &MttrQuery) -> Explained {
    let seconds = report.overall.statistics.durations.as_ref().map(|durations| durations.mean);
    let reason = report.excluded.first().map(|excluded| excluded.reason.clone());
    let created = DerivedTime { at: record.created_at, rule: "created-at".into() };
    // The end is known, and so is how long it took.
    let start = record
        .resolved_at
        .as_ref()
        .zip(seconds)
        .map(|(end, seconds)| end.at - (seconds * 1e6).round() as Timestamp);
    let known = [Some(&created), record.started_at.as_ref(), record.acknowledged_at.as_ref()];
    let clock_started = start.and_then(|start| known.into_iter().flatten().find(|known| known.at == start));
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
        clock_started: clock_started.map(time),
        created: time(&created),
        started: record.started_at.as_ref().map(time),
        acknowledged: record.acknowledged_at.as_ref().map(time),
        resolved: record.resolved_at.as_ref().map(time),
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
        "open" => format!("it is not over: it is {}", of.phase),
        "unknown-phase" => "the provider gives it a status of a kind that is not known".into(),
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
                let restored = format!("counts: restored in {}", view::duration(seconds));
                match &self.clock_started {
                    Some(start) => {
                        format!(
                            "{restored}, from {} UTC ({}) to its resolution",
                            view::to_the_minute(&start.at),
                            start.rule
                        )
                    }
                    None => restored,
                }
            }
            (Some(reason), None) => format!("does not count ({reason}): {}", because(self, reason)),
            (None, None) => format!(
                "is not part of this report, which is about what was restored, or else created, from {} to {} UTC",
                day(&self.since),
                day(&self.until)
            ),
        }
    }

    pub(super) fn text(&self) -> String {
        let name = printable(self.reference.as_deref().unwrap_or(&self.id));
        let mut lines = vec![format!("{name}  {}", printable(&self.title))];
        lines.push(self.verdict());
        lines.push(String::new());
        let times = [
            ("created", Some(&self.created)),
            ("started", self.started.as_ref()),
            ("acknowledged", self.acknowledged.as_ref()),
            ("resolved", self.resolved.as_ref()),
            ("clock starts", self.clock_started.as_ref()),
        ];
        for (what, time) in times {
            let said = time.map_or_else(
                || "-".to_string(),
                |time| format!("{} UTC, by the rule {}", view::to_the_minute(&time.at), time.rule),
            );
            lines.push(format!("  {what:<13} {said}"));
        }
        let services: Vec<String> = self.services.iter().map(|service| printable(service)).collect();
        let services = if services.is_empty() { "-".into() } else { services.join(", ") };
        for (what, said) in [
            ("phase", self.phase.to_string()),
            ("mode", self.mode.to_string()),
            ("priority", self.priority.unwrap_or("-").to_string()),
            ("services", services),
        ] {
            lines.push(format!("  {what:<13} {said}"));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}
