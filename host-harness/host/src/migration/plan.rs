//! What an import would do, row by row. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::overlap::Overlap;
use crate::contract::{Incident, IncidentKey, Phase, Problem, Timestamp};
use crate::port::Unmatched;

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
const BLOCKING: [&str; 3] = ["no-identifier", "no-creation-time", "window-over-cap"];

/// Makes the plan of what an import would store beside what is stored.
pub(super) fn plan(
    planned: &[Incident],
    stored: &[Incident],
    problems: &[Problem],
    overlap: Overlap,
) -> Plan {
    let mut plan = Plan { overlap, ..Plan::default() };
    let stored: HashMap<(&str, &str), &Incident> = stored.iter().map(|one| (place(&one.key), one)).collect();
    let linked: HashMap<&str, &Option<String>> =
        plan.overlap.linked.iter().map(|pair| (pair.imported.id.as_str(), &pair.known_reference)).collect();
    let probable: HashMap<&str, &Option<String>> =
        plan.overlap.probable.iter().map(|pair| (pair.imported.id.as_str(), &pair.known_reference)).collect();
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
    let (mut people, mut services) = (BTreeMap::new(), BTreeMap::new());
    for incident in planned {
        let id = incident.key.id.as_str();
        let mut reasons = lost(incident, &mut people, &mut services);
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
    (plan.people, plan.services) = (ranked(people), ranked(services));
    plan
}

fn place(key: &IncidentKey) -> (&str, &str) {
    (&key.source, &key.id)
}

/// What an import loses of an incident.
fn lost(
    incident: &Incident,
    people: &mut BTreeMap<String, u64>,
    services: &mut BTreeMap<String, u64>,
) -> Vec<Reason> {
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
    for name in &unknown {
        *services.entry((*name).to_owned()).or_default() += 1;
    }
    if !unknown.is_empty() {
        reasons.push(Reason::new("unmatched-service", format!("not in the catalog: {}", unknown.join(", "))));
    }
    if matches!(incident.phase, Phase::Resolved | Phase::Closed) && incident.resolved_at.is_none() {
        reasons.push(Reason::new(
            "no-resolution-time",
            "it is over, but nothing says since when; it is not measured",
        ));
    }
    if incident.phase == Phase::Unknown {
        let text = format!("its status `{}` is none that is known; it is not measured", incident.status);
        reasons.push(Reason::new("unknown-status", text));
    }
    reasons
}

fn ranked(names: BTreeMap<String, u64>) -> Vec<Unmatched> {
    let mut ranked: Vec<Unmatched> =
        names.into_iter().map(|(name, incidents)| Unmatched { name, incidents }).collect();
    ranked.sort_by(|a, b| b.incidents.cmp(&a.incidents).then_with(|| a.name.cmp(&b.name)));
    ranked
}
