//! What other settings would change.

use koalr_host::contract::{DerivedTime, Incident};
use koalr_host::{Example, Preview};
use serde::Serialize;

use super::{DerivedView, derived, printable, short_instant, table};

/// A preview as a JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct PreviewView<'a> {
    organisation: &'a str,
    incidents: u64,
    started: u64,
    acknowledged: u64,
    resolved: u64,
    examples: Vec<ExampleView<'a>>,
}

#[derive(Debug, Serialize)]
struct ExampleView<'a> {
    id: &'a str,
    reference: Option<&'a str>,
    before: TimesView<'a>,
    after: TimesView<'a>,
}

#[derive(Debug, Serialize)]
struct TimesView<'a> {
    started_at: Option<DerivedView<'a>>,
    acknowledged_at: Option<DerivedView<'a>>,
    resolved_at: Option<DerivedView<'a>>,
}

fn times(of: &Incident) -> TimesView<'_> {
    TimesView {
        started_at: derived(&of.started_at),
        acknowledged_at: derived(&of.acknowledged_at),
        resolved_at: derived(&of.resolved_at),
    }
}

pub(crate) fn document<'a>(organisation: &'a str, of: &'a Preview) -> PreviewView<'a> {
    let example = |Example { before, after }: &'a Example| ExampleView {
        id: &before.key.id,
        reference: before.reference.as_deref(),
        before: times(before),
        after: times(after),
    };
    PreviewView {
        organisation,
        incidents: of.incidents,
        started: of.started,
        acknowledged: of.acknowledged,
        resolved: of.resolved,
        examples: of.examples.iter().map(example).collect(),
    }
}

/// How many incidents would change, in a sentence.
pub(crate) fn summary(of: &Preview) -> String {
    let incidents = match of.incidents {
        0 => return "No stored incident would start, be acknowledged or end at another time.".into(),
        1 => "1 stored incident would have other times".to_owned(),
        incidents => format!("{incidents} stored incidents would have other times"),
    };
    let moved = [
        (of.started, "another start"),
        (of.acknowledged, "another acknowledgement"),
        (of.resolved, "another end"),
    ];
    let moved = moved.into_iter().filter(|(count, _)| *count > 0);
    let moved: Vec<String> = moved.map(|(count, what)| format!("{count} {what}")).collect();
    format!("{incidents}: {}.", moved.join(", "))
}

/// Incident, what about it, as it is, as it would be; a row for each time that would be another one.
pub(crate) fn rows(of: &Preview) -> Vec<[String; 4]> {
    let shown = |time: &Option<DerivedTime>| match time {
        Some(time) => format!("{} UTC (by {})", short_instant(time.at), time.rule),
        None => "none".into(),
    };
    let mut rows = Vec::new();
    for Example { before, after } in &of.examples {
        let name = printable(before.reference.as_deref().unwrap_or(&before.key.id));
        for (what, before, after) in [
            ("start", &before.started_at, &after.started_at),
            ("acknowledgement", &before.acknowledged_at, &after.acknowledged_at),
            ("end", &before.resolved_at, &after.resolved_at),
        ] {
            if before.as_ref().map(|time| time.at) != after.as_ref().map(|time| time.at) {
                rows.push([name.clone(), what.into(), shown(before), shown(after)]);
            }
        }
    }
    rows
}

pub(crate) const COLUMNS: [&str; 4] = ["Incident", "Time", "Now", "With these settings"];

pub(crate) fn text(of: &Preview) -> String {
    let mut text = format!("Preview, nothing is saved. {}\n", summary(of));
    let rows: Vec<Vec<String>> = rows(of).into_iter().map(Vec::from).collect();
    if !rows.is_empty() {
        text.push_str(&format!("{}\n", table(&COLUMNS, &[], rows)));
    }
    if of.incidents > of.examples.len() as u64 {
        text.push_str(&format!("The newest {} of {}.\n", of.examples.len(), of.incidents));
    }
    text
}
