//! Merges news into what is stored and commits the result: the only place that writes incidents.
//!
//! A commit names the revision that each write builds on. When somebody else wrote one of them in the
//! meantime, nothing is written; everything is read again and merged again. So two workers on one incident
//! never undo each other, whatever lies between them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::context::Context;
use super::facts::{Facts, News};
use super::{derive, insert_once, key, timeline};
use crate::model::{Error, Incident, TimelineEvent};
use crate::port::{Applied, Change, Level, ServiceName, StorageError, Stored, World};

/// How often a commit is tried before a conflict becomes an error.
const ATTEMPTS: usize = 8;
/// How many incidents one call may ask for.
const KEYS_PER_CALL: usize = 1_000;

/// News of several incidents, by the provider's id, with the timelines that replace the stored ones.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What is new of each incident.
    pub news: BTreeMap<String, News>,
    /// Single events to add, if their incident is known.
    pub events: Vec<TimelineEvent>,
}

/// What became of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// The record before; none if it was not stored.
    pub before: Option<Incident>,
    /// The record now.
    pub after: Incident,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// In the order of the provider's ids; incidents of which too little is known for a record are missing.
    pub incidents: Vec<Effect>,
    /// The host's count.
    pub applied: Applied,
}

/// Merges and commits, together with `extra` changes such as cursors. Commits nothing if nothing changed.
pub fn apply<W: World>(
    world: &mut W,
    context: &Context,
    batch: &Batch,
    extra: &[Change],
) -> Result<Effects, Error> {
    for _ in 0..ATTEMPTS {
        let mut drafts = drafts(world, context, batch)?;
        link(world, &mut drafts)?;
        let mut changes = changes(&drafts, batch)?;
        changes.extend_from_slice(extra);
        let applied = if changes.is_empty() {
            Applied::default()
        } else {
            match world.commit(changes) {
                Ok(applied) => applied,
                Err(StorageError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            }
        };
        let effect = |d: Draft<'_>| Effect { before: d.stored.map(|s| s.incident), after: d.record };
        return Ok(Effects { incidents: drafts.into_iter().map(effect).collect(), applied });
    }
    Err(StorageError::Conflict.into())
}

struct Draft<'a> {
    news: &'a News,
    stored: Option<Stored>,
    before: Option<Facts>,
    facts: Facts,
    record: Incident,
    services: Vec<ServiceName>,
}

fn drafts<'a, W: World>(world: &mut W, context: &Context, batch: &'a Batch) -> Result<Vec<Draft<'a>>, Error> {
    let entries: Vec<(&'a String, &'a News)> = batch.news.iter().collect();
    let mut drafts = Vec::with_capacity(entries.len());
    for entries in entries.chunks(KEYS_PER_CALL) {
        let keys: Vec<_> = entries.iter().map(|(id, _)| key(id)).collect();
        for ((id, news), stored) in entries.iter().zip(world.incidents(&keys)?) {
            let before = stored.as_ref().and_then(|stored| Facts::from_bytes(&stored.facts));
            if before.is_none() && stored.is_some() {
                let fields = [("incident", String::clone(id))];
                world.log(Level::Warn, "stored facts are unreadable and are built anew", &fields);
            }
            let Some(facts) = Facts::merge(before.clone(), news) else {
                continue;
            };
            let (record, services) = derive::incident(&facts, context);
            drafts.push(Draft { news, stored, before, facts, record, services });
        }
    }
    Ok(drafts)
}

/// Fills in the host's users and catalog entries, two calls for the whole batch.
fn link<W: World>(world: &mut W, drafts: &mut [Draft<'_>]) -> Result<(), Error> {
    let mut emails: Vec<String> = Vec::new();
    let mut names: Vec<ServiceName> = Vec::new();
    for draft in drafts.iter() {
        for email in draft.record.responders.iter().filter_map(|r| r.email.as_ref()) {
            insert_once(&mut emails, email.clone());
        }
        for name in &draft.services {
            insert_once(&mut names, name.clone());
        }
    }
    let users = if emails.is_empty() { Vec::new() } else { world.users_by_email(&emails)? };
    let services = if names.is_empty() { Vec::new() } else { world.services_by_name(&names)? };
    let answer = |answers: &[Option<String>], index: Result<usize, usize>| answers.get(index.ok()?)?.clone();
    for draft in drafts {
        for responder in &mut draft.record.responders {
            let email = responder.email.as_ref();
            responder.user_id = email.and_then(|email| answer(&users, emails.binary_search(email)));
        }
        for (service, name) in draft.record.services.iter_mut().zip(&draft.services) {
            service.service_id = answer(&services, names.binary_search(name));
        }
    }
    Ok(())
}

fn changes(drafts: &[Draft<'_>], batch: &Batch) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::with_capacity(drafts.len() * 2);
    for draft in drafts {
        let id = &draft.record.key.id;
        let known = draft.before.as_ref().is_some_and(|before| *before == draft.facts)
            && draft.stored.as_ref().is_some_and(|stored| stored.incident == draft.record);
        if !known {
            changes.push(Change::PutIncident {
                incident: draft.record.clone(),
                facts: (draft.facts.to_bytes())
                    .map_err(|e| Error::Storage(format!("the facts of {id} cannot be written: {e}")))?,
                revisit: draft.facts.timeline_as_of < Some(draft.record.updated_at),
                base: draft.stored.as_ref().map(|stored| stored.revision),
            });
        }
        let events = timeline::of_updates(id, &draft.facts.updates);
        if let Some(items) = &draft.news.items {
            let all = events.into_iter().chain(items.iter().cloned()).collect();
            changes.push(Change::ReplaceTimeline(key(id), all));
        } else {
            let old = draft.before.as_ref().map(|b| timeline::of_updates(id, &b.updates)).unwrap_or_default();
            let new = events.into_iter().filter(|event| !old.contains(event));
            changes.extend(new.map(Change::PutTimelineEvent));
        }
        // What the updates already cover needs no word from a delivery.
        let told = batch
            .events
            .iter()
            .filter(|e| e.incident.id == *id && draft.facts.told.iter().any(|t| t.at == e.at));
        changes.extend(told.cloned().map(Change::PutTimelineEvent));
    }
    Ok(changes)
}
