//! What an import would do, row by row. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::overlap::Overlap;
use crate::contract::{Incident, IncidentKey, Phase, Problem, Timestamp};
use crate::migration::overlap::WITHOUT_ID;
use crate::port::{PLAUSIBLE, Unmatched, normalised};

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Imported, and nothing is lost.
    Ready,
    /// Imported, and something is lost or to be looked at.
    Warning,
    /// Not imported.
    Blocked,
}

/// What that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It is not stored yet.
    New,
    /// It is stored otherwise.
    Changed,
    /// It is stored just so.
    Unchanged,
    /// Nothing is stored.
    None,
}

/// Why a row is not simply ready.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// Machine name, such as `unmatched-person`.
    pub code: String,
    /// A sentence.
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: &str, text: impl Into<String>) -> Reason {
        Reason { code: code.to_owned(), text: text.into() }
    }
}

/// One record of the other tool.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// Its identifier there, as far as it has one.
    pub id: String,
    /// What people call it.
    pub reference: Option<String>,
    /// Its title.
    pub title: String,
    /// Microseconds; as JSON, RFC 3339.
    #[serde(serialize_with = "super::rfc3339")]
    pub created_at: Option<Timestamp>,
    /// What becomes of it.
    pub state: State,
    /// What that changes.
    pub effect: Effect,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// A plan.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Plan {
    /// By creation; what is blocked comes last.
    pub rows: Vec<Row>,
    /// People whom the host does not know, those of the most incidents first.
    pub people: Vec<Unmatched>,
    /// The same of services.
    pub services: Vec<Unmatched>,
    /// What is known already.
    pub overlap: Overlap,
    /// What concerns no single incident.
    pub notices: Vec<Reason>,
    /// Requests that it took.
    pub requests: u64,
}

impl Plan {
    /// How many rows are in this state.
    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }
}

/// Problems that leave the record out.
pub(super) const BLOCKING: [&str; 3] = ["no-identifier", "no-creation-time", "window-over-cap"];

/// Makes the plan of what an import would store beside what is stored.
pub(super) fn plan(
    planned: &[Incident],
    stored: &[Incident],
    problems: &[Problem],
    overlap: Overlap,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan { overlap, ..Plan::default() };
    let stored: HashMap<(&str, &str), &Incident> = stored.iter().map(|one| (place(&one.key), one)).collect();
    let linked: HashMap<&str, &Option<String>> =
        plan.overlap.linked.iter().map(|pair| (pair.imported.id.as_str(), &pair.known_reference)).collect();
    let probable: HashMap<&str, &Option<String>> =
        plan.overlap.probable.iter().map(|pair| (pair.imported.id.as_str(), &pair.known_reference)).collect();
    let twice: HashMap<&str, &IncidentKey> =
        plan.overlap.twice.iter().map(|pair| (pair.imported.id.as_str(), &pair.known)).collect();
    let numbers = numbers(planned);
    let mut told: HashMap<&str, Vec<&Problem>> = HashMap::new();
    let ids: HashSet<&str> = planned.iter().map(|incident| incident.key.id.as_str()).collect();
    let mut blocked = Vec::new();
    for problem in problems {
        match problem.incident.as_deref() {
            Some(id) if ids.contains(id) => told.entry(id).or_default().push(problem),
            id if BLOCKING.contains(&problem.reason.as_str()) => blocked.push(Row {
                id: id.unwrap_or_default().to_owned(),
                reference: None,
                title: String::new(),
                created_at: None,
                state: State::Blocked,
                effect: Effect::None,
                reasons: vec![Reason::new(&problem.reason, problem.text.clone())],
            }),
            _ => {
                let notice = Reason::new(&problem.reason, problem.text.clone());
                if !plan.notices.contains(&notice) {
                    plan.notices.push(notice);
                }
            }
        }
    }
    let (mut people, mut services) = (BTreeMap::new(), Services::new());
    for incident in planned {
        let id = incident.key.id.as_str();
        let mut reasons = lost(incident, &mut people, &mut services);
        reasons.extend(never_measured(incident, now));
        for problem in told.remove(id).unwrap_or_default() {
            reasons.push(Reason::new(&problem.reason, problem.text.clone()));
        }
        let name = |reference: &Option<String>| {
            reference.clone().unwrap_or_else(|| "an incident of incident.io".to_owned())
        };
        if let Some(known) = linked.get(id) {
            reasons.push(Reason::new(
                "duplicate",
                format!("it is {}, which is the one that counts", name(known)),
            ));
        }
        if let Some(known) = probable.get(id) {
            let text = format!("it looks like {}; say in the mapping file whether it is", name(known));
            reasons.push(Reason::new("probable-duplicate", text));
        }
        if let Some(counted) = twice.get(id) {
            let text =
                format!("`{}` has its number and creation time, and is the record that counts", counted.id);
            reasons.push(Reason::new("duplicate", text));
        }
        let namesakes = incident.reference.as_ref().and_then(|number| numbers.get(number.as_str()));
        if let Some(other) =
            namesakes.into_iter().flatten().find(|other| **other != id && !id.starts_with(WITHOUT_ID))
        {
            let number = incident.reference.as_deref().unwrap_or_default();
            let text =
                format!("`{other}` has the number {number} too; a mapping line that names it means both");
            reasons.push(Reason::new("same-number", text));
        }
        let effect = match stored.get(&place(&incident.key)) {
            None => Effect::New,
            Some(stored) if *stored == incident => Effect::Unchanged,
            Some(_) => Effect::Changed,
        };
        plan.rows.push(Row {
            id: id.to_owned(),
            reference: incident.reference.clone(),
            title: incident.title.clone(),
            created_at: incident.created_at,
            state: if reasons.is_empty() { State::Ready } else { State::Warning },
            effect,
            reasons,
        });
    }
    plan.rows.append(&mut blocked);
    (plan.people, plan.services) = (ranked(people), ranked(services.into_values()));
    plan
}

fn place(key: &IncidentKey) -> (&str, &str) {
    (&key.source, &key.id)
}

/// Unknown services by their names as these are compared: a spelling, and how many incidents name it.
type Services = BTreeMap<String, (String, u64)>;

/// What an import loses of an incident.
fn lost(incident: &Incident, people: &mut BTreeMap<String, u64>, services: &mut Services) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    for responder in incident.responders.iter().filter(|responder| responder.user_id.is_none()) {
        let name = [&responder.email, &responder.name, &responder.id].into_iter().flatten().next();
        // A team is nobody whom a host could know.
        if let Some(name) = name.filter(|_| responder.role.as_deref() != Some("team")) {
            unknown.push(name.clone());
        }
    }
    unknown.sort();
    unknown.dedup();
    for name in &unknown {
        *people.entry(name.clone()).or_default() += 1;
    }
    if !unknown.is_empty() {
        reasons
            .push(Reason::new("unmatched-person", format!("not known to the host: {}", unknown.join(", "))));
    }
    let unknown: Vec<&str> =
        incident.services.iter().filter(|s| s.service_id.is_none()).map(|s| s.name.as_str()).collect();
    let spelled: BTreeMap<String, &str> = unknown.iter().map(|name| (normalised(name), *name)).collect();
    for (folded, name) in spelled {
        let (shown, incidents) = services.entry(folded).or_insert_with(|| (name.to_owned(), 0));
        *incidents += 1;
        if name < shown.as_str() {
            name.clone_into(shown);
        }
    }
    if !unknown.is_empty() {
        reasons.push(Reason::new("unmatched-service", format!("not in the catalog: {}", unknown.join(", "))));
    }
    let severity = incident.severity.as_ref().map(|severity| severity.name.as_str()).unwrap_or_default();
    if incident.priority.is_none() && !severity.is_empty() {
        let text = format!(
            "Unknown priority `{severity}`: imported without one. To set it, add `priority,{severity},P3` to the \
             mapping file."
        );
        reasons.push(Reason::new("unknown-priority", text));
    }
    reasons
}

/// Why time to restore will never count it, under the name that the report gives.
fn never_measured(incident: &Incident, now: Timestamp) -> Option<Reason> {
    match incident.phase {
        Phase::Resolved | Phase::Closed => {}
        Phase::Unknown => {
            let text = format!("Unknown status `{}`: imported, but not measured.", incident.status);
            return Some(Reason::new("unknown-phase", text));
        }
        _ => return None,
    }
    let end = incident.resolved_at.as_ref().map(|time| time.at);
    let (code, text) = match (incident.created_at, end) {
        (began, end) if [began, end].into_iter().flatten().any(|at| at < PLAUSIBLE) => {
            ("implausible-time", "it was created or ended before 2005; it is not measured")
        }
        (_, Some(end)) if end > now => ("ends-in-the-future", "it ends in the future; it is not measured"),
        (None, _) => ("no-creation-time", "nothing says when it was created; it is not measured"),
        (_, None) => ("no-resolution-time", "it is over, but nothing says since when; it is not measured"),
        (Some(began), Some(end)) if end < began => {
            let started = incident.started_at.as_ref().is_some_and(|started| started.at <= end);
            let text = match started {
                true => {
                    "it ended before it was created; it is measured only from the start of its impact on \
                     (`mttr --clock started`)"
                }
                false => "it ended before it was created; it is not measured",
            };
            ("negative-duration", text)
        }
        _ => return None,
    };
    Some(Reason::new(code, text))
}

/// The identifiers of what has the same number, of records that have one of their own.
fn numbers(planned: &[Incident]) -> HashMap<&str, Vec<&str>> {
    let mut numbers: HashMap<&str, Vec<&str>> = HashMap::new();
    for incident in planned.iter().filter(|incident| !incident.key.id.starts_with(WITHOUT_ID)) {
        if let Some(number) = &incident.reference {
            numbers.entry(number).or_default().push(&incident.key.id);
        }
    }
    numbers
}

fn ranked(names: impl IntoIterator<Item = (String, u64)>) -> Vec<Unmatched> {
    let mut ranked: Vec<Unmatched> =
        names.into_iter().map(|(name, incidents)| Unmatched { name, incidents }).collect();
    ranked.sort_by(|a, b| b.incidents.cmp(&a.incidents).then_with(|| a.name.cmp(&b.name)));
    ranked
}
