//! Applying one delivery. A public event carries the whole incident and needs no request; a private one carries
//! an identifier and is fetched. Applying it again, or later than a newer one, changes nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::apply::{Batch, Effect, apply};
use super::context::Context;
use super::facts::{self, Facts, Snapshot, Told};
use super::{SOURCE, derive, incidents, key, reread, sequence, timeline};
use crate::incidentio::payload;
use crate::model::{Change, Error, Outcome, StoredIncident, Timestamp};
use crate::port::World;
use crate::webhook::event::{Event, envelope};

/// Applies the body of a delivery whose signature was verified when it arrived.
pub fn handle(world: &mut dyn World, body: &[u8]) -> Result<Outcome, Error> {
    let context = Context::load(world)?;
    match envelope(body)?.event()? {
        Event::Ignored(why) => Ok(Outcome::Ignored(why)),
        Event::Whole { incident, status_changed } => delivered(world, &context, *incident, status_changed),
        Event::Reference { id, private } => fetched(world, &context, &id, private),
        Event::Stirred { ids, at } => stirred(world, &context, &ids, at),
    }
}

/// Key of the state that remembers an incident of which only its identifier is known.
fn unseen(id: &str) -> String {
    format!("unseen/{id}")
}

fn delivered(
    world: &mut dyn World,
    context: &Context,
    incident: payload::Incident,
    status_changed: bool,
) -> Result<Outcome, Error> {
    let Some(snapshot) = Snapshot::new(incident) else {
        return Err(Error::Malformed(format!("the incident cannot be kept: {}", facts::no_identifier())));
    };
    // A delivery from before the incident was hidden may arrive after it: what it shows may no longer be shown.
    let id = snapshot.id();
    let known = stored(world, id)?;
    let hidden = match &known {
        Some(stored) => Facts::from_bytes(&stored.facts).is_some_and(|facts| facts.is_hidden()),
        None => world.state(&unseen(id))?.is_some(),
    };
    if hidden || snapshot.is_private() {
        return fetched(world, context, id, snapshot.is_private());
    }
    let told = status_changed.then(|| Told {
        at: snapshot.updated_at,
        category: snapshot.incident.incident_status.category.clone(),
    });
    let status = &snapshot.incident.incident_status.name;
    let mut batch = Batch::default();
    batch.known = Some(known);
    batch.events.extend(told.iter().map(|told| timeline::of_told(id, told, status)));
    let version = snapshot.updated_at;
    let id = snapshot.id().to_string();
    batch.tell(&id, |news| (news.snapshot, news.told) = (Some(snapshot), told));
    let effects = apply(world, context, &batch, Vec::new())?;
    Ok(match effects.incidents.first() {
        Some(Effect { before: Some((_, before)), .. }) if *before > version => Outcome::Stale,
        Some(effect) => outcome(effect),
        None => Outcome::Unchanged,
    })
}

fn stored(world: &mut dyn World, id: &str) -> Result<Option<StoredIncident>, Error> {
    Ok(incidents(world, &[key(SOURCE, id)])?.into_iter().next().flatten())
}

fn fetched(world: &mut dyn World, context: &Context, id: &str, private: bool) -> Result<Outcome, Error> {
    let mut batch = Batch::answering(&derive::INCIDENTIO, sequence::next(world)?);
    let seen = reread(world, id, &mut batch);
    if !matches!(seen, Ok(true)) && stored(world, id)?.is_none() {
        seen?;
        world.commit(&[Change::SetState((unseen(id), Some(Vec::new())))])?;
        return Ok(Outcome::Ignored("the incident cannot be seen with this key, or is gone".into()));
    }
    if let Err(error) = seen {
        if !private {
            return Err(error);
        }
        // What everybody could see is hidden at once; the next poll asks what it is now.
        batch.tell(id, |news| news.hidden = true);
    }
    let effects = apply(world, context, &batch, Vec::new())?;
    Ok(effects.incidents.first().map_or(Outcome::Unchanged, outcome))
}

fn stirred(
    world: &mut dyn World,
    context: &Context,
    ids: &[String],
    at: Timestamp,
) -> Result<Outcome, Error> {
    let mut batch = Batch::default();
    for id in ids {
        batch.tell(id, |news| news.stirred_at = Some(at));
    }
    let effects = apply(world, context, &batch, Vec::new())?;
    Ok(match effects.incidents.first() {
        Some(effect) => outcome(effect),
        None => Outcome::Ignored("the escalation concerns no incident that is known".into()),
    })
}

fn outcome(effect: &Effect) -> Outcome {
    match effect.before {
        None => Outcome::Created,
        Some(_) if !effect.changed => Outcome::Unchanged,
        Some((before, _)) if effect.phase.is_over() && !before.is_over() => Outcome::Resolved,
        Some(_) => Outcome::Updated,
    }
}
