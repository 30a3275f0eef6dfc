//! The incident list, for people: filtered, ordered, a page at a time.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::contract::{ClockEnd, ClockStart, Incident};
use crate::id::OrgId;
use crate::port::{
    IncidentFilter, IncidentOrder, IncidentPage, PLAUSIBLE, Population, Unmeasurable, Unmeasured, normalised,
};
use crate::sqlite::coding::{encode_mode, encode_phase, encode_priority, from_json, unsigned};
use crate::sqlite::fault::Outcome;
use crate::sqlite::records::scan;

pub(super) fn incidents(
    connection: &Connection,
    org: &OrgId,
    filter: &IncidentFilter,
) -> Outcome<IncidentPage> {
    let (condition, mut values) = condition(org, filter);
    // A service's incidents are found by its name, and are few; else everything is in one index.
    let by = if filter.service.is_some() { "" } else { "INDEXED BY incident_list" };
    let count = format!("SELECT count(*) FROM incident {by} WHERE {condition}");
    let total: i64 = connection.prepare(&count)?.query_row(params_from_iter(&values), |row| row.get(0))?;

    let (limit, offset) = (values.len() + 1, values.len() + 2);
    let order = order(filter);
    // The order is found by an index alone; only the rows of the page are read.
    let select = format!(
        "SELECT record FROM incident JOIN (SELECT n FROM incident {by} WHERE {condition} ORDER BY {order}
            LIMIT ?{limit} OFFSET ?{offset}) USING (n) ORDER BY {order}"
    );
    values.push(Value::Integer(filter.limit.map_or(-1, i64::from)));
    values.push(Value::Integer(filter.offset.into()));
    let mut statement = connection.prepare(&select)?;
    let records = statement.query_map(params_from_iter(&values), |row| row.get::<_, String>(0))?;
    let incidents: Outcome<Vec<Incident>> = records.map(|record| from_json(&record?)).collect();
    Ok(IncidentPage { incidents: incidents?, total: unsigned(total) })
}

/// Text of the statement, and none of it from outside.
fn order(filter: &IncidentFilter) -> String {
    let way = if filter.ascending { "ASC" } else { "DESC" };
    let first = match filter.order {
        IncidentOrder::Created => return format!("created_at {way}, n {way}"),
        IncidentOrder::Resolved => "resolved_at".to_owned(),
        IncidentOrder::Duration => format!("resolved_at - {}", start(ClockStart::Created)),
        IncidentOrder::Priority => "priority".to_owned(),
    };
    format!("{first} {way} NULLS LAST, created_at DESC, n DESC")
}

/// When this clock starts, like time to restore: what was written down afterwards began at its start.
fn start(clock: ClockStart) -> &'static str {
    match clock {
        ClockStart::Created => "iif(mode = 1, started_at, iif(undated, NULL, created_at))",
        ClockStart::Started => "coalesce(started_at, iif(mode = 1 OR undated, NULL, created_at))",
        ClockStart::Acknowledged => "acknowledged_at",
    }
}

/// The number of the first [`Unmeasurable`] that applies, in the order and by the rules of the component; none for what
/// is measured.
fn unmeasurable(of: &Unmeasured, now: &str) -> String {
    let start = start(of.start);
    let end = match of.end {
        ClockEnd::Resolved => "resolved_at",
        ClockEnd::FirstResolution => "coalesce(first_resolved_at, resolved_at)",
        ClockEnd::Acknowledged => "acknowledged_at",
    };
    let needs_creation = format!("({start} IS NULL AND {})", i64::from(of.start != ClockStart::Acknowledged));
    let cases = [
        (
            Unmeasurable::ImplausibleTime,
            format!(
                "min(ifnull({start}, {now}), ifnull(resolved_at, {now}), ifnull({end}, {now})) < {PLAUSIBLE}"
            ),
        ),
        (
            Unmeasurable::EndsInTheFuture,
            format!("max(ifnull(resolved_at, {now}), ifnull({end}, {now})) > {now}"),
        ),
        (Unmeasurable::EnteredLater, format!("mode = 1 AND ({needs_creation} OR resolved_at IS NULL)")),
        (Unmeasurable::NoCreationTime, needs_creation),
        (Unmeasurable::NoResolutionTime, "resolved_at IS NULL".to_owned()),
        (Unmeasurable::NoStartTime, format!("{start} IS NULL")),
        (Unmeasurable::NegativeDuration, format!("{end} < {start}")),
    ];
    let cases = cases.map(|(reason, applies)| format!("WHEN {applies} THEN {} ", number(reason)));
    format!("CASE {}END", cases.concat())
}

fn number(reason: Unmeasurable) -> i64 {
    reason as i64
}

/// What a row must satisfy. Everything that comes from outside is a bound value, never text of the statement.
fn condition(org: &OrgId, filter: &IncidentFilter) -> (String, Vec<Value>) {
    let mut terms = vec!["org = ?1 AND withheld = 0".to_owned()];
    let mut values = vec![Value::Text(org.as_str().to_owned())];
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let mut any_of = |column: &str, wanted: Vec<Value>| {
        if !wanted.is_empty() {
            let places: Vec<String> = wanted.into_iter().map(&mut bind).collect();
            terms.push(format!("{column} IN ({})", places.join(", ")));
        }
    };
    any_of("priority", filter.priorities.iter().map(|p| encode_priority(*p).into()).collect());
    any_of("phase", filter.phases.iter().map(|p| encode_phase(*p).into()).collect());
    any_of("mode", filter.modes.iter().map(|m| encode_mode(*m).into()).collect());
    any_of("source", filter.sources.iter().map(|source| source.clone().into()).collect());
    if let Some(since) = filter.since {
        terms.push(format!("created_at >= {}", bind(since.into())));
    }
    if let Some(until) = filter.until {
        terms.push(format!("created_at < {}", bind(until.into())));
    }
    if let Some(Population { since, until, now }) = filter.population {
        terms.push(scan::population(&bind(since.into()), &bind(until.into()), &bind(now.into())));
    }
    if let Some(not_visible) = filter.not_visible {
        terms.push(format!("not_visible = {}", i64::from(not_visible)));
    }
    if let Some(duplicate) = filter.duplicate {
        terms.push(format!("duplicate = {}", i64::from(duplicate)));
    }
    if !filter.not_priorities.is_empty() {
        let places: Vec<String> =
            filter.not_priorities.iter().map(|p| bind(encode_priority(*p).into())).collect();
        terms.push(format!("ifnull(priority NOT IN ({}), 1)", places.join(", ")));
    }
    if let Some(unmeasured) = &filter.unmeasured {
        let now = bind(unmeasured.now.into());
        terms.push(format!("{} = {}", unmeasurable(unmeasured, &now), number(unmeasured.reason)));
    }
    if let Some(text) = &filter.text {
        terms.push(format!("instr(search, {}) > 0", bind(text.to_lowercase().into())));
    }
    let services = [(&filter.service, ""), (&filter.not_service, "NOT ")];
    for (service, not) in services.into_iter().filter_map(|(name, not)| Some((name.as_ref()?, not))) {
        let name = bind(normalised(service).into());
        // Whatever leads to a catalog entry stands for all of its incidents, as in reports.
        terms.push(format!(
            "n {not}IN (SELECT incident FROM incident_label WHERE label IN (
                SELECT n FROM label WHERE org = ?1 AND folded = {name}
                UNION
                SELECT n FROM label WHERE org = ?1 AND service IN (
                    SELECT id FROM service WHERE org = ?1 AND folded = {name}
                    UNION
                    SELECT service FROM label WHERE org = ?1 AND folded = {name} AND service <> '')))"
        ));
    }
    (terms.join(" AND "), values)
}
