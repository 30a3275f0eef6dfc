//! Answers a request from the account's content. Pure: no socket, no clock.

use chrono::{DateTime, NaiveDateTime};
use serde_json::{Value, json};

use super::content::Content;
use super::{Dates, OpsgenieOptions, Plan, field};
use crate::query::Query;

const LARGEST_PAGE: usize = 100;
const SMALLEST_PAGE: usize = 20;

/// The content, and what lists are ordered and filtered by.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) content: Content,
    incidents: Vec<Listed>,
    alerts: Vec<Listed>,
}

/// One record of a list: milliseconds of its creation, and where it is.
#[derive(Debug, Clone, Copy)]
struct Listed {
    created_ms: i64,
    at: usize,
}

impl Index {
    pub(super) fn new(content: Content) -> Index {
        let listed = |records: &[Value]| {
            let records = records.iter().enumerate();
            records.map(|(at, record)| Listed { created_ms: created_ms(record), at }).collect()
        };
        Index { incidents: listed(&content.incidents), alerts: listed(&content.alerts), content }
    }
}

fn created_ms(record: &Value) -> i64 {
    let at = field(record, "createdAt").as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    at.map_or(0, |at| at.timestamp_millis())
}

pub(super) fn request_id(number: usize) -> String {
    format!("00000000-0000-4000-9000-{number:012x}")
}

pub(super) fn error(message: &str, number: usize) -> Value {
    json!({"message": message, "took": 0.001, "requestId": request_id(number)})
}

pub(super) fn answer(
    index: &Index,
    options: &OpsgenieOptions,
    base: &str,
    path: &str,
    query: &str,
    number: usize,
) -> (u16, Value) {
    let asked = Query::parse(query);
    let content = &index.content;
    let whole = |data: Value| (200, json!({"data": data, "took": 0.001, "requestId": request_id(number)}));
    let refuse = |status: u16, message: &str| (status, error(message, number));
    let unknown = |what: &str| refuse(404, &format!("{what} not found"));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if matches!(parts.as_slice(), ["v1", "incidents" | "services", ..]) {
        match options.plan {
            Plan::Standard => {}
            Plan::WithoutIncidents => return refuse(402, "Your plan does not support this feature"),
            Plan::WithoutRight => return refuse(403, "You are not authorized to access this resource"),
        }
    }
    let view = List { options, base, path, asked: &asked, number };
    match parts.as_slice() {
        ["v1", "incidents"] => view.records(&content.incidents, &index.incidents),
        ["v2", "alerts"] => view.records(&content.alerts, &index.alerts),
        ["v1", "services"] => view.page(content.services.iter().collect()),
        ["v2", "users"] => view.page(content.users.iter().collect()),
        ["v2", "teams"] => whole(json!(content.teams)),
        ["v2", "account"] => whole(
            json!({"name": "northwind", "userCount": content.users.len(), "plan": {"name": "Standard"}}),
        ),
        ["v1", "incidents", id] => {
            let key = if asked.get("identifierType") == Some("tiny") { "tinyId" } else { "id" };
            match content.incidents.iter().find(|incident| field(incident, key) == *id) {
                Some(incident) => whole(incident.clone()),
                None => unknown("Incident"),
            }
        }
        ["v1", "services", id] => match content.services.iter().find(|service| field(service, "id") == *id) {
            Some(service) => whole(service.clone()),
            None => unknown("Service"),
        },
        ["v1", "incidents", id, "responder-alert-ids"] => {
            whole(json!(content.responder_alerts.get(*id).cloned().unwrap_or_default()))
        }
        ["v1", "incidents", id, "associated-alert-ids"] => {
            whole(json!(content.associated_alerts.get(*id).cloned().unwrap_or_default()))
        }
        ["v2", "incident-timelines", id, "entries"] => {
            if !content.incidents.iter().any(|incident| field(incident, "id") == *id) {
                return unknown("Incident");
            }
            let mut entries: Vec<&Value> = content.timelines.get(*id).into_iter().flatten().collect();
            if asked.get("order") != Some("asc") {
                entries.reverse();
            }
            let size = size(&asked);
            let from =
                asked.get("offset").and_then(|offset| offset.strip_prefix("at-")?.parse().ok()).unwrap_or(0);
            let page: Vec<&Value> = entries.iter().copied().skip(from).take(size).collect();
            let mut data = json!({"entries": page});
            if from + size < entries.len()
                && let Some(data) = data.as_object_mut()
            {
                data.insert("nextOffset".to_owned(), json!(format!("at-{}", from + size)));
            }
            whole(data)
        }
        _ => unknown("Resource"),
    }
}

fn size(asked: &Query) -> usize {
    asked.get("limit").and_then(|text| text.parse().ok()).unwrap_or(SMALLEST_PAGE).clamp(1, LARGEST_PAGE)
}

struct List<'a> {
    options: &'a OpsgenieOptions,
    base: &'a str,
    path: &'a str,
    asked: &'a Query,
    number: usize,
}

impl List<'_> {
    fn records(&self, records: &[Value], listed: &[Listed]) -> (u16, Value) {
        let Ok(terms) = self.asked.get("query").map(|text| terms(text, self.options.dates)).transpose()
        else {
            let message = "Time is accepted in following formats: [dd-MM-yyyy] - [dd-MM-yyyy'T'hh:mm:ss] - \
                           [dd-MM-yyyy'T'HH:mm:ssz]";
            return (400, error(message, self.number));
        };
        let terms = terms.unwrap_or_default();
        let mut found: Vec<Listed> = listed
            .iter()
            .copied()
            .filter(|one| {
                let record = records.get(one.at).unwrap_or(&Value::Null);
                terms.iter().all(|term| term.admits(one.created_ms, record, self.options.dates))
            })
            .collect();
        // Without a sort, by when they came into the system, which is their place here.
        if self.asked.get("sort") == Some("createdAt") {
            found.sort_by_key(|one| (one.created_ms, one.at));
        }
        if self.asked.get("order") != Some("asc") {
            found.reverse();
        }
        self.page(found.iter().filter_map(|one| records.get(one.at)).collect())
    }

    fn page(&self, found: Vec<&Value>) -> (u16, Value) {
        let size = size(self.asked);
        let offset = self.asked.get("offset").and_then(|text| text.parse().ok()).unwrap_or(0);
        if offset + size > self.options.reach {
            let message = format!("Sum of offset and limit should not exceed {}", self.options.reach);
            return (422, error(&message, self.number));
        }
        let (sort, order) =
            (self.asked.get("sort").unwrap_or("insertedAt"), self.asked.get("order").unwrap_or("desc"));
        let link = |offset: usize| {
            format!("{}{}?limit={size}&sort={sort}&offset={offset}&order={order}", self.base, self.path)
        };
        let total = found.len();
        let mut paging = json!({"first": link(0), "last": link(total / size * size)});
        if offset + size < total
            && let Some(paging) = paging.as_object_mut()
        {
            paging.insert("next".to_owned(), link(offset + size).into());
        }
        let data: Vec<&Value> = found.into_iter().skip(offset).take(size).collect();
        let body = json!({
            "totalCount": total, "data": data, "paging": paging, "took": 0.001,
            "requestId": request_id(self.number),
        });
        (200, body)
    }
}

/// One term of a query; terms are joined by AND.
#[derive(Debug)]
enum Term {
    Created { above: bool, equal: bool, ms: i64 },
    Status(String),
    Service(String),
}

impl Term {
    fn admits(&self, created_ms: i64, record: &Value, dates: Dates) -> bool {
        match self {
            Term::Created { .. } if dates == Dates::Ignored => true,
            // Precision is one second.
            Term::Created { above, equal, ms } => {
                let second = created_ms.div_euclid(1_000) * 1_000;
                (*equal && second == *ms) || (if *above { second > *ms } else { second < *ms })
            }
            Term::Status(status) => field(record, "status") == status.as_str(),
            Term::Service(id) => {
                let services = field(record, "impactedServices").as_array();
                services.is_some_and(|services| services.iter().any(|service| service == id.as_str()))
            }
        }
    }
}

fn terms(text: &str, dates: Dates) -> Result<Vec<Term>, ()> {
    text.split(" AND ").map(|part| term(part.trim(), dates)).collect()
}

fn term(text: &str, dates: Dates) -> Result<Term, ()> {
    if let Some(status) = text.strip_prefix("status:") {
        return Ok(Term::Status(status.trim().to_owned()));
    }
    if let Some(id) = text.strip_prefix("impactedServices:") {
        return Ok(Term::Service(id.trim().to_owned()));
    }
    let rest = text.strip_prefix("createdAt").ok_or(())?;
    let (above, rest) = match (rest.strip_prefix('>'), rest.strip_prefix('<')) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(()),
    };
    let (equal, value) = match rest.strip_prefix('=') {
        Some(value) => (true, value),
        None => (false, rest),
    };
    let ms = match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(_) if dates == Dates::Seconds => return Err(()),
        Some(quoted) => {
            let at = NaiveDateTime::parse_from_str(quoted, "%d-%m-%YT%H:%M:%SZ").map_err(|_| ())?;
            at.and_utc().timestamp_millis()
        }
        None => value.parse::<i64>().map_err(|_| ())? * 1_000,
    };
    Ok(Term::Created { above, equal, ms })
}
