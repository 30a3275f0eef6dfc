//! What an account holds, and a believable one: the same invented company as incident.io's stand-in has, before it
//! moved.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::settings::address;
use crate::words::{PEOPLE, SERVICES, SYMPTOMS, TEAMS};

/// An account, in the API's own shapes. Lists are in the order in which records came into the system.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// Incidents.
    pub incidents: Vec<Value>,
    /// Entries by incident, oldest first.
    pub timelines: BTreeMap<String, Vec<Value>>,
    /// Services.
    pub services: Vec<Value>,
    /// Users.
    pub users: Vec<Value>,
    /// Teams.
    pub teams: Vec<Value>,
    /// Alerts.
    pub alerts: Vec<Value>,
    /// Alerts that told responders of an incident, by incident.
    pub responder_alerts: BTreeMap<String, Vec<String>>,
    /// Alerts that an incident was made from, by incident.
    pub associated_alerts: BTreeMap<String, Vec<String>>,
}

/// As the service writes times: milliseconds, zeros at the end dropped.
fn time(at: DateTime<Utc>) -> String {
    let whole = at.format("%Y-%m-%dT%H:%M:%S").to_string();
    let fraction = format!("{:03}", at.timestamp_subsec_millis());
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}Z"),
        fraction => format!("{whole}.{fraction}Z"),
    }
}

fn id(kind: u8, number: usize) -> String {
    format!("{kind:x}0000000-0000-4000-8000-{number:012x}")
}

const TEAM: u8 = 0xb;
const SERVICE: u8 = 0xa;
const USER: u8 = 0xc;
const INCIDENT: u8 = 0x1;
const ALERT: u8 = 0xd;

pub(super) fn generate(incidents: usize, seed: u64, now: DateTime<Utc>, days: u32) -> Content {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut content = Content::default();
    for (number, name) in TEAMS.iter().enumerate() {
        let team = json!({
            "id": id(TEAM, number), "name": name, "description": "",
            "links": {"web": "https://northwind.app.opsgenie.example/teams", "api": "https://api.opsgenie.com/v2/teams"},
        });
        content.teams.push(team);
    }
    for (number, (name, _, _, team, _)) in SERVICES.iter().enumerate() {
        let links = json!({
            "web": format!("https://northwind.app.opsgenie.example/service/{}/status", id(SERVICE, number)),
            "api": format!("https://api.opsgenie.com/v1/services/{}", id(SERVICE, number)),
        });
        content.services.push(json!({
            "id": id(SERVICE, number), "name": name, "description": "", "teamId": id(TEAM, *team), "tags": [],
            "links": links, "isExternal": false,
        }));
    }
    for (number, (first, last)) in PEOPLE.iter().enumerate() {
        content.users.push(json!({
            "blocked": number % 11 == 10, "verified": true, "id": id(USER, number),
            "username": address(number, first), "fullName": format!("{first} {last}"),
            "role": {"id": "User", "name": "User"}, "timeZone": "Europe/London", "locale": "en_US",
            "userAddress": {"country": "", "state": "", "city": "", "line": "", "zipCode": ""},
            "createdAt": time(now - TimeDelta::days(1_000)),
        }));
    }
    let span_ms = i64::from(days) * 86_400_000;
    let mut moments: Vec<i64> = (0..incidents).map(|_| rng.i64(3_600_000..span_ms.max(3_600_001))).collect();
    moments.sort_unstable_by(|a, b| b.cmp(a));
    for (number, before_ms) in moments.into_iter().enumerate() {
        incident(&mut content, &mut rng, number, now - TimeDelta::milliseconds(before_ms), now);
    }
    content
}

/// One incident with its timeline and its responders' alert.
fn incident(
    content: &mut Content,
    rng: &mut fastrand::Rng,
    number: usize,
    created: DateTime<Utc>,
    now: DateTime<Utc>,
) {
    let own = id(INCIDENT, number);
    let service = rng.usize(..SERVICES.len());
    let symptom = SYMPTOMS.get(rng.usize(..SYMPTOMS.len())).copied().unwrap_or_default();
    let (name, team) = SERVICES.get(service).map_or(("", 0), |service| (service.0, service.3));
    let person = rng.usize(..PEOPLE.len());
    let lasted = TimeDelta::milliseconds(rng.i64(240_000..14_400_000));
    let ended = (created + lasted).min(now);
    // Of twenty: seventeen resolved or closed, one closed without an end, one open, one reopened.
    let story = number % 20;
    let status = match story {
        4 | 11 => "open",
        story if story % 3 == 0 => "resolved",
        _ => "closed",
    };
    let closed = (ended + TimeDelta::milliseconds(rng.i64(30_000..3_600_000))).min(now);
    let updated = match status {
        "open" if story == 4 => created + TimeDelta::seconds(1),
        "closed" => closed,
        _ => ended,
    };
    // A service that was deleted since keeps its place in the incident.
    let service = if number % 50 == 49 { id(SERVICE, 999) } else { id(SERVICE, service) };
    let mut record = json!({
        "id": own, "description": "", "impactedServices": [service], "tinyId": (number + 1).to_string(),
        "message": format!("{name} {symptom}"), "status": status, "tags": ["imported-from-monitoring"],
        "createdAt": time(created), "updatedAt": time(updated),
        "priority": format!("P{}", rng.u8(1..=5)), "ownerTeam": "",
        "responders": [{"type": "team", "id": id(TEAM, team)}, {"type": "user", "id": id(USER, person)}],
        "extraProperties": {},
        "links": {
            "web": format!("https://northwind.app.opsgenie.example/incident/detail/{own}"),
            "api": format!("https://api.opsgenie.com/v1/incidents/{own}"),
        },
        "impactStartDate": time(created), "actions": [],
    });
    let resolved = story != 4 && story != 7;
    if resolved && let Some(record) = record.as_object_mut() {
        record.insert("impactEndDate".to_owned(), time(ended).into());
    }
    let mut told = Vec::new();
    let mut entry = |kind: &str, group: &str, at: DateTime<Utc>, title: &str, hidden: bool| {
        told.push(json!({
            "id": format!("{kind}_{own}-{}", told.len()), "group": group, "type": kind, "eventTime": time(at),
            "hidden": hidden, "actor": {"name": "Example User", "type": "user"},
            "title": {"type": "plain_text", "content": title},
        }));
    };
    let after = |ms: i64| created + TimeDelta::milliseconds(ms);
    entry("IncidentOpened", "incident", created, "Incident opened", false);
    entry("IncidentResponderTeamAdded", "incident", after(120), "Responder team added", false);
    entry("IncidentResponderUserAdded", "incident", after(150), "Responder user added", false);
    let acknowledged = after(rng.i64(20_000..230_000));
    entry("ResponderAlertAcked", "responderAlert", acknowledged, "Responder alert acked", false);
    entry("StatusPageAdded", "statusPage", after(200_000), "Status page added", true);
    if resolved {
        let told_at = ended + TimeDelta::milliseconds(47);
        entry("IncidentResolved", "incident", told_at, "Incident resolved", false);
    }
    if story == 11 {
        entry("IncidentReopened", "incident", closed, "Incident reopened", false);
    }
    if status == "closed" {
        entry("IncidentClosed", "incident", closed, "Incident closed", false);
        entry("ResponderAlertClosed", "responderAlert", closed, "Responder alert closed", false);
    }
    let alert = format!("{}-{}", id(ALERT, number), created.timestamp_millis());
    let close_ms = (updated - created).num_milliseconds();
    let closed_by = if status == "closed" {
        json!({"closeTime": close_ms, "closedBy": "a@northwind.example"})
    } else {
        json!({})
    };
    let mut report =
        json!({"ackTime": (acknowledged - created).num_milliseconds(), "acknowledgedBy": "System"});
    if let (Some(report), Some(closed_by)) = (report.as_object_mut(), closed_by.as_object()) {
        report.extend(closed_by.clone());
    }
    content.alerts.push(json!({
        "id": alert, "tinyId": (number + 1_000).to_string(), "alias": format!("{own}_{}", id(ALERT, number)),
        "message": format!("{name} {symptom}"), "status": if status == "closed" { "closed" } else { "open" },
        "acknowledged": status != "closed", "isSeen": true, "tags": [], "snoozed": false, "count": 1,
        "lastOccurredAt": time(created), "createdAt": time(created), "updatedAt": time(updated), "source": "incident",
        "owner": PEOPLE.get(person).map(|(first, _)| address(person, first)),
        "priority": record.get("priority"), "responders": [{"id": id(TEAM, team), "type": "team"}],
        "integration": {"id": id(ALERT, 0), "name": "Incident", "type": "Incident"}, "report": report,
        "ownerTeamId": "",
    }));
    content.responder_alerts.insert(own.clone(), vec![alert]);
    content.timelines.insert(own, told);
    content.incidents.push(record);
}
