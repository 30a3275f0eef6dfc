//! Applying one delivery. A public event carries the whole incident and needs no request; a private one carries
//! an identifier and is fetched. Applying it again, or later than a newer one, changes nothing.

use alloc::string::String;

use super::apply::{Batch, Effect, apply};
use super::context::Context;
use super::facts::{News, Snapshot, Told};
use super::{key, timeline};
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload;
use crate::json::{self, Slot, object};
use crate::model::Error;
use crate::port::World;
use crate::webhook::event::{Event, envelope};

/// What a delivery led to; see the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub enum Outcome {
    Created,
    Updated,
    Resolved,
    Unchanged,
    Stale,
    Ignored(String),
}

/// Applies the body of a delivery whose signature was verified when it arrived.
pub fn handle<W: World>(world: &mut W, body: &[u8]) -> Result<Outcome, Error> {
    let context = Context::load(world)?;
    match envelope(body)?.event()? {
        Event::Ignored(why) => Ok(Outcome::Ignored(why)),
        Event::Whole { incident, status_changed } => delivered(world, &context, *incident, status_changed),
        Event::Reference { id } => fetched(world, &context, &id),
    }
}

fn delivered<W: World>(
    world: &mut W,
    context: &Context,
    incident: payload::Incident,
    status_changed: bool,
) -> Result<Outcome, Error> {
    let Some(snapshot) = Snapshot::new(incident) else {
        return Err(Error::Malformed("the incident has no creation time".into()));
    };
    let told = status_changed.then(|| Told {
        at: snapshot.updated_at,
        category: snapshot.incident.incident_status.category.clone(),
    });
    let status = &snapshot.incident.incident_status.name;
    let events = told.iter().map(|told| timeline::of_told(snapshot.id(), told, status)).collect();
    let (id, version) = (String::from(snapshot.id()), snapshot.updated_at);
    let news = News { snapshot: Some(snapshot), told, ..News::default() };
    let mut batch = Batch { events, ..Batch::default() };
    batch.news.insert(id, news);
    let effects = apply(world, context, &batch, &[])?;
    Ok(match effects.incidents.first() {
        Some(Effect { before: Some(before), .. }) if before.updated_at > version => Outcome::Stale,
        Some(effect) => outcome(effect),
        None => Outcome::Unchanged,
    })
}

#[derive(Default)]
struct Answer {
    incident: payload::Incident,
}

object!(Answer { "incident" => Object incident });

fn fetched<W: World>(world: &mut W, context: &Context, id: &str) -> Result<Outcome, Error> {
    let known = world.incidents(&[key(id)])?.into_iter().next().flatten().is_some();
    if !context.settings.include_private && !known {
        return Ok(Outcome::Ignored("private incidents are not included".into()));
    }
    let answer = world.fetch(&[client::incident(id)]).into_iter().next();
    let answer = answer.unwrap_or(Err(crate::port::Failure::Broken("no answer".into())));
    let snapshot = match client::body("the incident", answer, world.now()) {
        Ok(body) => {
            let mut answer = Answer::default();
            json::read(&body, Slot::Object(&mut answer)).map_err(|why| {
                Error::Malformed(alloc::format!("incident.io's answer for {id} cannot be read: {why}"))
            })?;
            Snapshot::new(answer.incident)
        }
        // Deleted, or turned private for this key.
        Err(ApiError::NotFound | ApiError::Forbidden(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let (id, news) = match snapshot {
        Some(snapshot) => {
            (String::from(snapshot.id()), News { snapshot: Some(snapshot), fresh: true, ..News::default() })
        }
        None if known => (String::from(id), News { hidden: true, ..News::default() }),
        None => {
            return Ok(Outcome::Ignored("the incident cannot be seen with this key, or is gone".into()));
        }
    };
    let mut batch = Batch::default();
    batch.news.insert(id, news);
    let effects = apply(world, context, &batch, &[])?;
    Ok(effects.incidents.first().map_or(Outcome::Unchanged, outcome))
}

fn outcome(effect: &Effect) -> Outcome {
    let over = effect.after.phase.is_over();
    match &effect.before {
        None => Outcome::Created,
        Some(before) if *before == effect.after => Outcome::Unchanged,
        Some(before) if over && !before.phase.is_over() => Outcome::Resolved,
        Some(_) => Outcome::Updated,
    }
}
