//! The account: its incidents, what was said about them, and what each move changes.
//!
//! Every move goes through the same few steps, whether the generator replays history or a caller moves an
//! incident now: enter the status (which fills timestamps as the vendor's default rules do, the **first** time
//! only), write an update and a timeline item, make the incident's JSON anew.
//!
//! The module is pure: instants and randomness are handed in, webhooks come out as [`Event`]s.

use std::{collections::HashMap, sync::Arc};

use axum::body::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    api::{self, Route},
    generate,
    json::Object,
    model::{Actor, Attachment, Change, Incident, LifeError, NewIncident, Stamps, TimelineItem, Update},
    query::Query,
    settings::{Service, Settings, Severity, User, ulid},
    stages::{Stage, Stamp},
};

/// One webhook to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// For example `public_incident.incident_created_v2`.
    pub event_type: &'static str,
    /// The body, byte for byte as it would be signed.
    pub body: Bytes,
}

/// The account without a socket or a clock: what the API can show, and every move that changes it.
///
/// A [`crate::Simulator`] serves one over HTTP; a test that moves thousands of accounts asks it directly.
#[derive(Debug, Clone)]
pub struct Account {
    pub(crate) settings: Settings,
    pub(crate) incidents: Vec<Incident>,
    /// Positions of the incidents by creation, oldest first.
    pub(crate) order: Vec<usize>,
    pub(crate) updates: Vec<Update>,
    /// Positions of the updates by creation, oldest first.
    pub(crate) update_order: Vec<usize>,
    by_id: HashMap<String, usize>,
    by_number: HashMap<u64, usize>,
    update_by_id: HashMap<String, usize>,
    /// Moves so far.
    moves: u64,
    counted: Counted,
    rng: fastrand::Rng,
}

/// How many incidents a list had when it was last counted: every page of it tells, and a large account has many pages.
#[derive(Debug, Default)]
struct Counted(std::sync::Mutex<Option<(u64, String, usize)>>);

/// A copy counts for itself: it moves for itself.
impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Account {
    /// An account of so many incidents that ended no later than `now`, most of them within `days` before it.
    pub fn generate(incidents: usize, seed: u64, now: DateTime<Utc>, days: u32) -> Self {
        generate::account(incidents, seed, now, days, None)
    }

    /// What a `GET` answers to a key with these roles: status and body.
    pub fn answer(&self, path_and_query: &str, roles: &[String]) -> (u16, Bytes) {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let answer = match Route::parse(path) {
            Some(route) => api::answer(self, &route, &Query::parse(query), roles, "in-process"),
            None => api::error(404, "not_found", "No such endpoint", "in-process"),
        };
        (answer.status, answer.body)
    }

    /// The ids of all incidents, oldest first, whatever their visibility, mode and status.
    pub fn incident_ids(&self) -> Vec<String> {
        let living = self.order.iter().filter_map(|position| self.living(*position));
        living.map(|incident| incident.id.clone()).collect()
    }

    /// Whether an incident is hidden from keys without `global_access`; false for one that is not there.
    pub fn is_private(&self, id: &str) -> bool {
        self.find(id).is_some_and(|incident| incident.private)
    }

    /// Whether there is such an incident and it was not deleted.
    pub fn has(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    /// Names and e-mail addresses of everybody, leavers included.
    pub fn users(&self) -> Vec<(String, String)> {
        self.settings.users.iter().map(|user| (user.name.clone(), user.email.clone())).collect()
    }

    /// Names and external ids of the catalog's services.
    pub fn services(&self) -> Vec<(String, String)> {
        let services = self.settings.services.iter();
        services.map(|service| (service.name.clone(), service.external_id.clone())).collect()
    }

    /// Names of the severities, mildest first.
    pub fn severities(&self) -> Vec<String> {
        self.settings.severities.iter().map(|one| one.name.clone()).collect()
    }

    /// An account without incidents.
    pub(crate) fn empty(settings: Settings, rng: fastrand::Rng) -> Self {
        Self {
            settings,
            incidents: Vec::new(),
            order: Vec::new(),
            updates: Vec::new(),
            update_order: Vec::new(),
            by_id: HashMap::new(),
            by_number: HashMap::new(),
            update_by_id: HashMap::new(),
            moves: 0,
            counted: Counted::default(),
            rng,
        }
    }

    pub(crate) fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied().filter(|position| self.living(*position).is_some())
    }

    /// An incident that was not deleted.
    pub(crate) fn living(&self, position: usize) -> Option<&Incident> {
        self.incidents.get(position).filter(|incident| !incident.deleted)
    }

    /// By full id, or by the number in the reference.
    pub(crate) fn find(&self, id_or_number: &str) -> Option<&Incident> {
        let numbered =
            || id_or_number.parse().ok().and_then(|number: u64| self.by_number.get(&number).copied());
        let position = self.by_id.get(id_or_number).copied().or_else(numbered)?;
        self.living(position)
    }

    /// What `count` answers for this list, which is not asked again until the account moves or another is counted.
    pub(crate) fn counted(&self, list: &str, count: impl FnOnce() -> usize) -> usize {
        let mut last = self.counted.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*last {
            Some((moves, known, total)) if *moves == self.moves && known == list => *total,
            _ => last.insert((self.moves, list.to_owned(), count())).2,
        }
    }

    pub(crate) fn update_position(&self, id: &str) -> Option<usize> {
        self.update_by_id.get(id).copied()
    }

    /// Declares an incident; its creation counts as its first update.
    pub fn declare(
        &mut self,
        new: NewIncident,
        at: DateTime<Utc>,
    ) -> Result<(String, Vec<Event>), LifeError> {
        let severity = new.severity.as_deref().map(|name| self.severity(name)).transpose()?;
        let services = self.services_named(&new.services)?;
        let lead = new.lead.as_deref().map(|email| self.user(email)).transpose()?;
        let creator = lead.clone().map_or(Actor::ApiKey, Actor::User);
        let stage = if severity.is_some() { Stage::Investigating } else { Stage::Triage };
        let id = ulid(&mut self.rng, at);
        let kind = if new.private { &self.settings.security_type } else { &self.settings.default_type };
        let mut incident = Incident {
            id: id.clone(),
            number: self.incidents.iter().map(|incident| incident.number).max().unwrap_or(0) + 1,
            name: new.name,
            summary: None,
            private: new.private,
            mode: new.mode,
            stage,
            severity,
            kind: Arc::clone(kind),
            creator: creator.clone(),
            reporter: lead.clone(),
            lead,
            communications: None,
            services,
            impact: None,
            customers: None,
            slack_channel: None,
            stamps: Stamps::default(),
            created_at: at,
            updated_at: at,
            last_activity_at: at,
            updates: Vec::new(),
            timeline: Vec::new(),
            paged: None,
            attachments: Vec::new(),
            deleted: false,
            json: Bytes::new(),
        };
        incident.stamps.set(Stamp::Reported, Some(at));
        let position = self.insert(incident);
        self.record(position, at, creator, None, None);
        self.place(position);
        self.render(position);
        let events = self.announce(position, Announcement::Created);
        Ok((id, events))
    }

    /// Applies a change; the update names the status even when it stayed.
    pub fn update(&mut self, id: &str, change: Change, at: DateTime<Utc>) -> Result<Vec<Event>, LifeError> {
        let position = self.require(id)?;
        let stage = match change.status.as_deref() {
            Some(text) => Some(Stage::parse(text).ok_or_else(|| unknown("status", text))?),
            None => None,
        };
        let severity = change.severity.as_deref().map(|name| self.severity(name)).transpose()?;
        let services = change.services.as_deref().map(|names| self.services_named(names)).transpose()?;
        let stamps: Vec<(Stamp, Option<DateTime<Utc>>)> = change
            .timestamps
            .iter()
            .map(|(name, value)| {
                Stamp::parse(name).map(|stamp| (stamp, *value)).ok_or_else(|| unknown("timestamp", name))
            })
            .collect::<Result<_, _>>()?;
        let Some(incident) = self.incidents.get_mut(position) else {
            return Err(LifeError::UnknownIncident(id.to_owned()));
        };
        let previous = incident.stage;
        if let Some(severity) = severity {
            incident.severity = Some(severity);
        }
        if let Some(services) = services {
            incident.services = services;
        }
        if let Some(name) = change.name {
            incident.name = name;
        }
        if let Some(stage) = stage {
            incident.enter(stage, at);
        }
        for (stamp, value) in stamps {
            incident.stamps.set(stamp, value);
        }
        let updater = incident.lead.clone().map_or(Actor::Workflow, Actor::User);
        self.record(position, at, updater, change.message.clone(), None);
        self.render(position);
        Ok(self.announce(position, Announcement::Changed { previous, message: change.message }))
    }

    /// Merges one incident into another. The only pointer to the target is on the update.
    pub fn merge(&mut self, id: &str, into: &str, at: DateTime<Utc>) -> Result<Vec<Event>, LifeError> {
        let position = self.require(id)?;
        self.require(into)?;
        let Some(incident) = self.incidents.get_mut(position) else {
            return Err(LifeError::UnknownIncident(id.to_owned()));
        };
        let previous = incident.stage;
        incident.enter(Stage::Merged, at);
        let updater = incident.lead.clone().map_or(Actor::Workflow, Actor::User);
        self.record(position, at, updater, None, Some(into.to_owned()));
        self.render(position);
        Ok(self.announce(position, Announcement::Changed { previous, message: None }))
    }

    /// Makes somebody the lead. No update is written: the role is not part of one.
    pub fn assign(&mut self, id: &str, email: &str, at: DateTime<Utc>) -> Result<Vec<Event>, LifeError> {
        let user = self.user(email)?;
        self.touch(id, at, |incident| incident.lead = Some(user))
    }

    /// Attaches an alert of Opsgenie's. The activity log tells of it, and the incident keeps its version.
    pub fn attach_alert(&mut self, id: &str, alert: &str, at: DateTime<Utc>) -> Result<(), LifeError> {
        let position = self.require(id)?;
        if let Some(incident) = self.incidents.get_mut(position) {
            incident.attachments.push(Attachment { at, alert: alert.to_owned() });
            incident.last_activity_at = incident.last_activity_at.max(at);
        }
        self.render(position);
        Ok(())
    }

    /// Hides an incident or shows it again.
    pub fn set_private(
        &mut self,
        id: &str,
        private: bool,
        at: DateTime<Utc>,
    ) -> Result<Vec<Event>, LifeError> {
        self.touch(id, at, |incident| incident.private = private)
    }

    /// Gives a severity another name. Incidents that have it show the new name and keep their version; updates keep
    /// the name that they were written with. The vendor sends no event for this.
    pub fn rename_severity(&mut self, name: &str, to: &str) -> Result<(), LifeError> {
        let old = self.severity(name)?;
        let renamed = Arc::new(old.renamed(to));
        for known in self.settings.severities.iter_mut().filter(|known| known.id == old.id) {
            *known = Arc::clone(&renamed);
        }
        for position in 0..self.incidents.len() {
            if let Some(incident) = self.incidents.get_mut(position)
                && incident.severity.as_ref().is_some_and(|severity| severity.id == old.id)
            {
                incident.severity = Some(Arc::clone(&renamed));
                self.render(position);
            }
        }
        Ok(())
    }

    /// Removes an incident. The vendor sends no event for this; its updates go with it.
    pub fn delete(&mut self, id: &str) -> Result<(), LifeError> {
        let position = self.require(id)?;
        self.moves += 1;
        if let Some(incident) = self.incidents.get_mut(position) {
            incident.deleted = true;
        }
        self.order.retain(|known| *known != position);
        let updates = &self.updates;
        self.update_order.retain(|known| updates.get(*known).is_some_and(|row| row.incident != position));
        Ok(())
    }

    fn touch(
        &mut self,
        id: &str,
        at: DateTime<Utc>,
        change: impl FnOnce(&mut Incident),
    ) -> Result<Vec<Event>, LifeError> {
        let position = self.require(id)?;
        let Some(incident) = self.incidents.get_mut(position) else {
            return Err(LifeError::UnknownIncident(id.to_owned()));
        };
        let previous = incident.stage;
        change(incident);
        incident.updated_at = at;
        incident.last_activity_at = incident.last_activity_at.max(at);
        self.render(position);
        Ok(self.announce(position, Announcement::Changed { previous, message: None }))
    }

    fn require(&self, id: &str) -> Result<usize, LifeError> {
        self.position(id).ok_or_else(|| LifeError::UnknownIncident(id.to_owned()))
    }

    fn severity(&self, name: &str) -> Result<Arc<Severity>, LifeError> {
        self.settings.severity_named(name).ok_or_else(|| unknown("severity", name))
    }

    fn user(&self, email: &str) -> Result<Arc<User>, LifeError> {
        self.settings.user_by_email(email).ok_or_else(|| unknown("user", email))
    }

    fn services_named(&self, names: &[String]) -> Result<Vec<Arc<Service>>, LifeError> {
        let find = |name: &String| self.settings.service_named(name).ok_or_else(|| unknown("service", name));
        names.iter().map(find).collect()
    }

    /// Adds an incident without its place in the order, which [`Account::place`] or a sort gives it.
    pub(crate) fn insert(&mut self, incident: Incident) -> usize {
        self.moves += 1;
        let position = self.incidents.len();
        self.by_id.insert(incident.id.clone(), position);
        self.by_number.insert(incident.number, position);
        self.incidents.push(incident);
        position
    }

    fn place(&mut self, position: usize) {
        let Some(new) = self.incidents.get(position) else {
            return;
        };
        let key = (new.created_at, &new.id);
        let incidents = &self.incidents;
        let slot = self.order.partition_point(|known| {
            incidents.get(*known).is_some_and(|incident| (incident.created_at, &incident.id) < key)
        });
        self.order.insert(slot, position);
    }

    /// Puts everything in order at once, after many insertions.
    pub(crate) fn sort(&mut self) {
        let incidents = &self.incidents;
        self.order = (0..incidents.len()).filter(|at| self.living(*at).is_some()).collect();
        self.order.sort_by_key(|at| incidents.get(*at).map(|incident| (incident.created_at, &incident.id)));
        let updates = &self.updates;
        self.update_order = (0..updates.len()).collect();
        self.update_order.sort_by_key(|at| updates.get(*at).map(|update| (update.created_at, &update.id)));
    }

    /// Writes an update and a timeline item of the incident's present state, out of order.
    pub(crate) fn note(
        &mut self,
        position: usize,
        at: DateTime<Utc>,
        updater: Actor,
        message: Option<String>,
        merged_into: Option<String>,
    ) -> usize {
        self.moves += 1;
        let slot = self.updates.len();
        let (id, item_id, log_id) =
            (ulid(&mut self.rng, at), ulid(&mut self.rng, at), ulid(&mut self.rng, at));
        let Some(incident) = self.incidents.get_mut(position) else {
            return slot;
        };
        let title = if incident.updates.is_empty() {
            format!("Incident declared in {}", incident.stage.name())
        } else {
            format!("Update shared in {}", incident.stage.name())
        };
        incident.updates.push(slot);
        incident.updated_at = at;
        incident.last_activity_at = incident.last_activity_at.max(at);
        incident.timeline.push(TimelineItem {
            id: item_id,
            at,
            title,
            description: message.clone(),
            creator: updater.clone(),
            activity_log_id: Some(log_id),
        });
        self.update_by_id.insert(id.clone(), slot);
        self.updates.push(Update {
            id,
            incident: position,
            created_at: at,
            stage: incident.stage,
            severity: incident.severity.clone(),
            updater,
            message,
            merged_into,
        });
        slot
    }

    /// As [`Account::note`], and puts the update in its place.
    fn record(
        &mut self,
        position: usize,
        at: DateTime<Utc>,
        updater: Actor,
        message: Option<String>,
        merged_into: Option<String>,
    ) {
        let slot = self.note(position, at, updater, message, merged_into);
        let Some(new) = self.updates.get(slot) else { return };
        let key = (new.created_at, &new.id);
        let updates = &self.updates;
        let place = self.update_order.partition_point(|known| {
            updates.get(*known).is_some_and(|update| (update.created_at, &update.id) < key)
        });
        self.update_order.insert(place, slot);
    }

    /// Makes an incident's JSON anew.
    pub(crate) fn render(&mut self, position: usize) {
        self.moves += 1;
        if let Some(json) = self.incidents.get(position).map(|incident| incident.to_json(&self.settings))
            && let Some(incident) = self.incidents.get_mut(position)
        {
            incident.json = Bytes::from(json);
        }
    }

    fn announce(&self, position: usize, announcement: Announcement) -> Vec<Event> {
        let Some(incident) = self.incidents.get(position) else {
            return Vec::new();
        };
        if incident.private {
            let event_type = match announcement {
                Announcement::Created => "private_incident.incident_created_v2",
                Announcement::Changed { .. } => "private_incident.incident_updated_v2",
            };
            return vec![event(event_type, Object::new().text("id", &incident.id).close())];
        }
        let whole = |event_type| event(event_type, self.webhook_incident(incident));
        match announcement {
            Announcement::Created => vec![whole("public_incident.incident_created_v2")],
            Announcement::Changed { previous, message } => {
                let mut events = vec![whole("public_incident.incident_updated_v2")];
                if previous != incident.stage {
                    let change = Object::new()
                        .raw("incident", &String::from_utf8_lossy(&incident.json))
                        .raw("previous_status", self.settings.status_json(previous))
                        .raw("new_status", self.settings.status_json(incident.stage))
                        .optional("message", message.as_deref());
                    events.push(event("public_incident.incident_status_updated_v2", change.close()));
                }
                events
            }
        }
    }
}

enum Announcement {
    Created,
    Changed { previous: Stage, message: Option<String> },
}

fn event(event_type: &'static str, payload: String) -> Event {
    let body = Object::new().text("event_type", event_type).raw(event_type, &payload).close();
    Event { event_type, body: Bytes::from(body) }
}

fn unknown(kind: &'static str, name: &str) -> LifeError {
    LifeError::Unknown { kind, name: name.to_owned() }
}
