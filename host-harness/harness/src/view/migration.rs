//! What `migrate` prints for people.

use std::collections::BTreeMap;

use koalr_files::opsgenie::files::BadRow;
use koalr_host::id::OrgId;
use koalr_host::migration::overlap::{Overlap, Pair};
use koalr_host::migration::{Effect, Plan, Reason, Row, State, Status, Summary};
use koalr_host::port::Unmatched;

use serde::Serialize;

use super::{counted, duration, instant, printable, short_instant, table};
use crate::verbs::migrate::Figure;

/// Rows, lines and names that are shown unless all are asked for.
const SHOWN: usize = 15;

/// So many incidents.
pub(crate) fn imported(count: u64) -> String {
    counted(count, "imported incident", "imported incidents")
}

/// So many places in files.
pub(crate) fn places(count: usize) -> String {
    counted(count as u64, "place", "places")
}

fn deadline(days_left: Option<u32>) -> String {
    match days_left {
        Some(days) => {
            let days = counted(days.into(), "day", "days");
            format!("Opsgenie ends on 5 April 2027, in {days}; what was not taken out by then is lost.")
        }
        None => "Opsgenie ended on 5 April 2027; saved records can still be imported.".to_owned(),
    }
}

/// The lines of files that cannot be imported.
pub(crate) fn bad_rows(bad: &[BadRow]) -> String {
    let mut text = String::new();
    for row in bad.iter().take(SHOWN) {
        text.push_str(&format!("  {}\n", printable(&row.to_string())));
    }
    text.push_str(&more(bad.len()));
    text
}

fn more(count: usize) -> String {
    match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("  and {more} more\n"),
    }
}

/// A plan.
pub(crate) fn plan(org: &OrgId, plan: &Plan, bad: &[BadRow], days_left: Option<u32>, all: bool) -> String {
    let effect = |effect: Effect| plan.rows.iter().filter(|row| row.effect == effect).count();
    let mut text =
        format!("Plan of {org}'s move from Opsgenie. No record was written.\n{}\n\n", deadline(days_left));
    text.push_str(&format!(
        "  {} ready, {} with a warning, {} blocked\n  {} new, {} changed, {} unchanged\n",
        plan.count(State::Ready),
        plan.count(State::Warning),
        plan.count(State::Blocked) + bad.len(),
        effect(Effect::New),
        effect(Effect::Changed),
        effect(Effect::Unchanged),
    ));
    if plan.requests > 0 {
        // A team's key sees a part of the account, and the service does not say so.
        text.push_str(&format!(
            "  {} found in Opsgenie; a key of a team's integration sees that team's only and does not say so: compare\n  \
             the number with what Opsgenie shows\n",
            plan.rows.len()
        ));
    }
    for Reason { code, text: why } in &plan.notices {
        text.push_str(&format!("  {code}: {}\n", printable(why)));
    }
    let mut reasons: BTreeMap<&str, (usize, &Row, &Reason)> = BTreeMap::new();
    for row in &plan.rows {
        for reason in &row.reasons {
            reasons.entry(&reason.code).or_insert((0, row, reason)).0 += 1;
        }
    }
    if !reasons.is_empty() {
        let rows = reasons.iter().map(|(code, (count, row, reason))| {
            vec![(*code).to_owned(), count.to_string(), format!("{}: {}", name(row), printable(&reason.text))]
        });
        text.push_str(&format!("\n{}\n", table(&["Reason", "n", "For example"], &[1], rows.collect())));
    }
    if !bad.is_empty() {
        text.push_str(&format!("\nNot readable:\n{}", bad_rows(bad)));
    }
    text.push_str(&unmatched("People", "person", &plan.people));
    text.push_str(&unmatched("Services", "service", &plan.services));
    text.push_str(&overlap(&plan.overlap));
    let rows: Vec<&Row> = plan.rows.iter().filter(|row| all || row.state == State::Blocked).collect();
    if !rows.is_empty() {
        let shown = if all { rows.len() } else { SHOWN };
        let cells = rows.iter().take(shown).map(|row| {
            let reasons: Vec<&str> = row.reasons.iter().map(|reason| reason.code.as_str()).collect();
            let state = match row.state {
                State::Ready => "ready",
                State::Warning => "warning",
                State::Blocked => "blocked",
            };
            let created = row.created_at.map_or_else(String::new, short_instant);
            vec![name(row), created, state.to_owned(), reasons.join(", "), printable(&row.title)]
        });
        text.push_str(&format!(
            "\n{}\n",
            table(&["Record", "Created", "State", "Reasons", "Title"], &[], cells.collect())
        ));
        if !all {
            text.push_str(&more(rows.len()));
        }
    }
    text.push_str(match (importable(plan), plan.rows.len() + bad.len()) {
        (0, 0) => "\nThere is nothing to import.\n",
        (0, _) => {
            "\nNothing can be imported yet. Correct what blocks the records above, in the files, with the options that \
             say how to read them, or in the mapping file; then repeat `migrate opsgenie plan`.\n"
        }
        _ => "\nNext: `migrate opsgenie run` with the same options; --rows lists every record.\n",
    });
    text
}

/// How many records of the plan an import would not leave out.
pub(crate) fn importable(plan: &Plan) -> usize {
    plan.count(State::Ready) + plan.count(State::Warning)
}

fn name(row: &Row) -> String {
    let names = row.reference.iter().chain([&row.id]);
    printable(names.filter(|name| !name.is_empty()).map(String::as_str).next().unwrap_or("(no name)"))
}

fn unmatched(what: &str, kind: &str, names: &[Unmatched]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|one| format!("{} ({})", printable(&one.name), one.incidents)).collect();
    let rest = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "\n{what} that are not known here, with how many incidents name them:\n  {}{rest}\n  They are kept by name. A \
         line `{kind},NAME,NAME HERE` of a mapping file says who or what one is.\n",
        shown.join(", ")
    )
}

fn overlap(overlap: &Overlap) -> String {
    let mut text = String::new();
    if !overlap.linked.is_empty() {
        let count = overlap.linked.len();
        text.push_str(&format!("\nKnown to both tools, and counted once, as incident.io's: {count}\n"));
    }
    if !overlap.twice.is_empty() {
        let count = overlap.twice.len();
        text.push_str(&format!("\nImported by number and by identifier, and counted once: {count}\n"));
        for pair in overlap.twice.iter().take(SHOWN) {
            text.push_str(&format!("  {} is {}\n", printable(&pair.imported.id), printable(&pair.known.id)));
        }
        text.push_str(&more(overlap.twice.len()));
    }
    if !overlap.probable.is_empty() {
        let count = overlap.probable.len();
        text.push_str(&format!(
            "\nLikely known to both, and counted twice until a mapping file says `same` or `distinct`: {count}\n"
        ));
        for pair in overlap.probable.iter().take(SHOWN) {
            text.push_str(&format!("  {}\n", line(pair)));
        }
        text.push_str(&more(overlap.probable.len()));
    }
    text
}

/// As a line of the mapping file, with what a person needs to decide.
fn line(pair: &Pair) -> String {
    let there = pair.imported_reference.as_ref().unwrap_or(&pair.imported.id);
    let here = pair.known_reference.as_ref().unwrap_or(&pair.known.id);
    let title = printable(&pair.title);
    let created = pair.created_at.map_or_else(String::new, short_instant);
    format!("same,{},{}    {created} {title}", printable(there), printable(here))
}

fn figure(of: Figure) -> String {
    match (of.median_seconds, of.mean_seconds) {
        (Some(median), Some(mean)) => {
            format!("median {}, mean {} (n = {})", duration(median), duration(mean), of.count)
        }
        _ => "no figure".to_owned(),
    }
}

/// What a run did.
pub(crate) fn summary(
    org: &OrgId,
    summary: &Summary,
    bad: &[BadRow],
    before: Figure,
    after: Figure,
) -> String {
    let Summary { fetched, created, updated, unchanged, left_out, requests, .. } = summary;
    let left_out = left_out + bad.len() as u64;
    let records = counted(*fetched, "record", "records");
    let of = match requests {
        0 => String::new(),
        requests => format!(" in {}", counted(*requests, "request", "requests")),
    };
    let mut text = format!(
        "Opsgenie's history of {org}: read {records}{of}; {created} new, {updated} changed, {unchanged} \
         unchanged, {left_out} left out.\n"
    );
    let mut problems: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for problem in &summary.problems {
        problems.entry(&problem.code).or_insert((0, &problem.text)).0 += 1;
    }
    for (code, (count, example)) in problems {
        text.push_str(&format!("  {code} ({count}): {}\n", printable(example)));
    }
    if !bad.is_empty() {
        text.push_str(&format!("Left out, because they cannot be read:\n{}", bad_rows(bad)));
    }
    text.push_str(&overlap(&summary.overlap));
    text.push_str(&format!(
        "\nTime to restore since the first of them:\n  without them  {}\n  with them     {}\n",
        figure(before),
        figure(after)
    ));
    text.push_str("`migrate opsgenie undo` removes what was imported.\n");
    text
}

/// How it stands, as a JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct StatusView<'a> {
    organisation: &'a str,
    incidents: u64,
    alerts: u64,
    duplicates: u64,
    to_review: u64,
    begun_at: Option<String>,
    finished_at: Option<String>,
    /// Whether an import was begun and is not through.
    under_way: bool,
    cut_over: Option<String>,
    days_left: Option<u32>,
}

pub(crate) fn document<'a>(org: &'a OrgId, status: &Status) -> StatusView<'a> {
    let Status { incidents, alerts, duplicates, to_review, days_left, .. } = *status;
    StatusView {
        organisation: org.as_str(),
        incidents,
        alerts,
        duplicates,
        to_review,
        begun_at: status.migration.begun_at.map(instant),
        finished_at: status.migration.finished_at.map(instant),
        under_way: status.migration.under_way.is_some(),
        cut_over: status.cut_over.map(instant),
        days_left,
    }
}

/// How it stands.
pub(crate) fn status(org: &OrgId, status: &Status) -> String {
    let mut text = String::new();
    let at = |at: Option<i64>| at.map_or_else(|| "-".to_owned(), short_instant);
    let migration = &status.migration;
    let none = status.incidents + status.alerts == 0;
    match (migration.begun_at, &migration.under_way) {
        (None, _) => text.push_str(&format!("{org} has imported nothing from Opsgenie.\n")),
        (Some(_), Some(cut_off)) => text.push_str(&format!(
            "{org}'s import from Opsgenie ({}) has not finished; `migrate opsgenie run` continues it.\n",
            cut_off.what
        )),
        (Some(_), None) if none => {
            text.push_str(&format!("{org} ran an import from Opsgenie, which brought nothing.\n"));
        }
        (Some(_), None) => text.push_str(&format!("{org} has imported its history from Opsgenie.\n")),
    }
    if migration.begun_at.is_some() {
        let mut rows = vec![
            ("incidents", status.incidents.to_string()),
            ("alerts in their place", status.alerts.to_string()),
            ("known to both, counted once", status.duplicates.to_string()),
            ("likely known to both, to be decided", status.to_review.to_string()),
            ("first run", at(migration.begun_at)),
            ("last completed run", at(migration.finished_at)),
        ];
        if !none {
            rows.push(("incident.io is the record from", at(status.cut_over)));
        }
        for (name, value) in rows {
            text.push_str(&format!("  {name:<38}{value}\n"));
        }
    }
    text.push_str(&format!("{}\n", deadline(status.days_left)));
    text
}
