//! Merges news into what is stored and commits the result: the only place that writes incidents.
//!
//! A commit names the revision that each write builds on. When somebody else wrote one of them in the
//! meantime, nothing is written; everything is read again and merged again. So two workers on one incident
//! never undo each other, whatever lies between them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::context::Context;
use super::derive::Source;
use super::facts::{Facts, News};
use super::fit::{LARGE, fit};
use super::timeline::Chronicle;
use super::{answers, derive, incidents, insert_once, key, sequence, timeline};
use crate::model::{
    Applied, Change, Error, Incident, IncidentWrite, Level, Phase, Problem, ServiceName, Step, StorageError,
    StoredIncident, Timeline, TimelineEvent, Timestamp,
};
use crate::port::World;

/// How often a commit is tried before a conflict becomes an error.
const ATTEMPTS: usize = 8;
/// How many people or services one call may ask for.
const KEYS_PER_CALL: usize = 1_000;
/// How many incidents are asked for at a time.
const AT_ONCE: usize = 32;
/// Bytes of what is stored of incidents beyond which no more of them are worked on together: a few incidents with
/// thousands of updates must not need more memory than there is.
const HEAVY: usize = 2 << 20;

/// News of several incidents.
#[derive(Debug)]
pub struct Batch {
    /// Whose incidents these are.
    source: &'static Source,
    /// Sorted by incident.
    #[allow(clippy::vec_box, reason = "sorted by insertion, so what moves should be small")]
    news: Vec<Box<News>>,
    /// Single timeline events to add, if their incident is known.
    pub events: Vec<TimelineEvent>,
    /// Of the one incident that there is news of: what is stored of it, if that was just read.
    pub known: Option<Option<StoredIncident>>,
    /// Whether to write records whose facts are unchanged too; the host knows those that stay the same.
    rederive: bool,
    /// The number of the question that its news answer; none if they came with a delivery.
    asked: Option<i64>,
}

impl Default for Batch {
    fn default() -> Self {
        Batch::of(&derive::INCIDENTIO)
    }
}

impl Batch {
    /// For incidents of this source.
    pub fn of(source: &'static Source) -> Batch {
        Batch { source, news: Vec::new(), events: Vec::new(), known: None, rederive: false, asked: None }
    }

    /// For answers of this source to a question of this number; see [`super::sequence`].
    pub fn answering(source: &'static Source, asked: i64) -> Batch {
        Batch { asked: Some(asked), ..Batch::of(source) }
    }

    /// For incidents whose records are to be written anew, whether there is news of them or not.
    pub fn rederiving(source: &'static Source) -> Batch {
        Batch { rederive: true, ..Batch::of(source) }
    }

    /// Adds to what is new of an incident.
    pub fn tell(&mut self, id: &str, what: impl FnOnce(&mut News)) {
        if let Some(news) = self.news_of(id) {
            what(news);
        }
    }

    /// Never none.
    fn news_of(&mut self, id: &str) -> Option<&mut Box<News>> {
        let found = self.news.binary_search_by(|known| known.id.as_str().cmp(id));
        let index = found.unwrap_or_else(|index| {
            self.news.insert(index, Box::new(News { id: id.into(), asked: self.asked, ..News::default() }));
            index
        });
        self.news.get_mut(index)
    }
}

/// What became of one incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// The phase and version of the record before; none if it was not stored.
    pub before: Option<(Phase, Timestamp)>,
    /// The phase of the record now.
    pub phase: Phase,
    /// Whether anything new is known of it now.
    pub changed: bool,
}

/// What became of a batch.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// In the order of the provider's ids; incidents of which too little is known for a record are missing.
    pub incidents: Vec<Effect>,
    /// The host's count.
    pub applied: Applied,
    /// Incidents that are larger than the host keeps, by the provider's ids, and are kept without what is too large.
    pub cut: Vec<String>,
}

impl Effects {
    /// Adds what came of it to a step.
    pub fn count(self, step: &mut Step) {
        step.created += self.applied.created;
        step.updated += self.applied.updated;
        step.stale += self.applied.stale;
        step.problems.extend(self.cut.into_iter().map(|id| Problem {
            incident: Some(id),
            reason: "too-large".into(),
            text: "it is larger than what is kept of one incident; its times and its state are kept, of its texts and \
                   lists only a part"
                .into(),
        }));
    }
}

/// Merges and commits, together with `extra` changes such as cursors. Commits nothing if nothing changed. A batch whose
/// incidents are heavy takes several commits, of which the last bears what is extra: cut off between them, the caller
/// does the same again.
pub fn apply(
    world: &mut dyn World,
    context: &Context,
    batch: &Batch,
    mut extra: Vec<Change>,
) -> Result<Effects, Error> {
    let mut all = Effects::default();
    let mut left = batch.news.as_slice();
    loop {
        let effects = part(world, context, batch, &mut left, &mut extra)?;
        all.incidents.extend(effects.incidents);
        all.cut.extend(effects.cut);
        let (sum, new) = (&mut all.applied, effects.applied);
        sum.created += new.created;
        sum.updated += new.updated;
        sum.unchanged += new.unchanged;
        sum.stale += new.stale;
        sum.events += new.events;
        if left.is_empty() {
            return Ok(all);
        }
    }
}

/// The same of the first of what is left, and leaves the rest.
fn part(
    world: &mut dyn World,
    context: &Context,
    batch: &Batch,
    left: &mut &[Box<News>],
    extra: &mut Vec<Change>,
) -> Result<Effects, Error> {
    let whole = *left;
    let mut anew: Option<Context> = None;
    let mut done: Option<Effects> = None;
    for attempt in 0..ATTEMPTS {
        // Settings that changed since they were loaded, or while this was written, would be undone for these incidents.
        // That is looked at after the commit, and what is out of date is written again; of many also before, because a
        // run that is cut off in between writes nothing again.
        if (attempt > 0 || batch.known.is_none()) && !anew.as_ref().unwrap_or(context).is_current(world)? {
            anew = Some(Context::load(world)?);
        } else if let Some(effects) = done {
            return Ok(effects);
        }
        let context = anew.as_ref().unwrap_or(context);
        let known = batch.known.as_ref().filter(|_| attempt == 0);
        *left = whole;
        let mut drafts = drafts(world, context, batch, left, known)?;
        link(world, context, &mut drafts)?;
        let mut effects = Effects::default();
        let mut changes = Vec::with_capacity(drafts.len() * 2 + extra.len());
        if batch.asked.is_some() {
            let written = drafts.iter().filter(|draft| draft.changed);
            let asked = written.filter_map(|draft| draft.facts.last_asked()).max();
            changes.extend(asked.map(|asked| sequence::answered(world, asked)).transpose()?.flatten());
        }
        for draft in drafts {
            effects.incidents.push(draft.effect());
            if draft.cut && draft.changed {
                effects.cut.push(draft.record.key.id.clone());
            }
            draft.changes(batch, anew.is_some(), &mut changes);
        }
        let own = changes.len();
        if left.is_empty() {
            changes.append(extra);
        }
        if !changes.is_empty() {
            match world.commit(&changes) {
                Ok(applied) => effects.applied = applied,
                Err(StorageError::Conflict) => {
                    extra.append(&mut changes.split_off(own));
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        done = done.or(Some(effects));
    }
    Err(StorageError::Conflict.into())
}

struct Draft<'a> {
    /// What the timeline says besides updates, if that was read no earlier than what is stored.
    chronicle: Option<&'a Chronicle>,
    /// The stored revision.
    base: Option<u64>,
    before: Option<(Phase, Timestamp)>,
    /// What the timeline says of the updates known before.
    told_before: Vec<TimelineEvent>,
    facts: Facts,
    /// The facts as stored from now on, and whether they are others than before.
    bytes: Vec<u8>,
    changed: bool,
    /// Whether it was too large.
    cut: bool,
    revisit: bool,
    record: Incident,
    services: Vec<ServiceName>,
}

fn drafts<'a>(
    world: &mut dyn World,
    context: &Context,
    batch: &Batch,
    left: &mut &'a [Box<News>],
    known: Option<&Option<StoredIncident>>,
) -> Result<Vec<Draft<'a>>, Error> {
    let mut drafts = Vec::with_capacity(left.len());
    let mut weight = 0;
    while !left.is_empty() && weight < HEAVY {
        let (entries, rest) = left.split_at(left.len().min(AT_ONCE));
        *left = rest;
        let mut keys = Vec::with_capacity(entries.len());
        for news in entries {
            keys.push(key(batch.source.name, &news.id));
        }
        let stored = match known {
            Some(known) if entries.len() == 1 => alloc::vec![known.clone()],
            _ => incidents(world, &keys)?,
        };
        for (news, stored) in entries.iter().zip(stored) {
            let draft = draft(world, context, batch.source, news, stored)?;
            weight += draft.as_ref().map_or(0, |draft| draft.bytes.len());
            drafts.extend(draft);
        }
    }
    Ok(drafts)
}

/// None if too little is known for a record.
fn draft<'a>(
    world: &mut dyn World,
    context: &Context,
    source: &Source,
    news: &'a News,
    stored: Option<StoredIncident>,
) -> Result<Option<Draft<'a>>, Error> {
    let id = &news.id;
    let mut facts: Option<Facts> = None;
    let mut told_before = Vec::new();
    let mut before = None;
    if let Some(stored) = &stored {
        facts = Facts::from_bytes(&stored.facts);
        match &facts {
            Some(Facts { snapshot, updates, .. }) => {
                told_before = timeline::of_updates(id, updates);
                let category = &snapshot.incident.incident_status.category;
                before = Some((derive::phase(category), snapshot.updated_at));
            }
            None => world.log(
                Level::Warn,
                "stored facts are unreadable and are built anew",
                &[("incident".into(), id.clone())],
            ),
        }
    }
    let chronicle = match &facts {
        Some(known) => known.takes(news),
        None => news.chronicle.as_ref(),
    };
    let Some(mut facts) = Facts::merge(facts, news) else {
        return Ok(None);
    };
    let wanted = context.settings.include_private;
    if facts.snapshot.is_private() && !wanted {
        facts.withhold();
    }
    let mut bytes = facts.to_bytes();
    let cut = bytes.len() > LARGE && fit(&mut facts);
    if cut {
        bytes = facts.to_bytes();
    }
    let mut changed = true;
    // To read what is stored once more costs something; an update that was not known is news for certain.
    if let Some(stored) = &stored
        && facts.updates.len() == told_before.len()
        && let Some(known) = Facts::from_bytes(&stored.facts)
        && (stored.facts == bytes || !facts.differ(&known))
    {
        (facts, changed) = (known, false);
        bytes.clone_from(&stored.facts);
    }
    let left_out = facts.snapshot.is_withheld() && !facts.is_hidden();
    let revisit = facts.is_incomplete() || (wanted && left_out);
    let (record, services) = derive::incident(source, &facts, context);
    let base = stored.map(|stored| stored.revision);
    Ok(Some(Draft {
        chronicle,
        base,
        before,
        told_before,
        facts,
        bytes,
        changed,
        cut,
        revisit,
        record,
        services,
    }))
}

/// Fills in addresses that incidents lack, and the host's users and catalog entries, for the whole batch together.
fn link(world: &mut dyn World, context: &Context, drafts: &mut [Draft<'_>]) -> Result<(), Error> {
    let mut emails: Vec<String> = Vec::new();
    let mut names: Vec<ServiceName> = Vec::new();
    for draft in drafts.iter_mut() {
        for responder in &mut draft.record.responders {
            if let (None, Some(id)) = (&responder.email, &responder.id) {
                responder.email = context.account.email(world, id)?;
            }
            if let Some(email) = &responder.email {
                insert_once(&mut emails, email);
            }
        }
        for name in &draft.services {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    let mut users = Vec::with_capacity(emails.len());
    for some in emails.chunks(KEYS_PER_CALL) {
        users.append(&mut answers("addresses", some.len(), world.users_by_email(some)?)?);
    }
    let mut services = Vec::with_capacity(names.len());
    for some in names.chunks(KEYS_PER_CALL) {
        services.append(&mut answers("services", some.len(), world.services_by_name(some)?)?);
    }
    for draft in drafts {
        for responder in &mut draft.record.responders {
            let index = responder.email.as_ref().and_then(|email| emails.binary_search(email).ok());
            responder.user_id = answer(&users, index);
        }
        for (service, name) in draft.record.services.iter_mut().zip(&draft.services) {
            service.service_id = answer(&services, names.iter().position(|known| known == name));
        }
    }
    Ok(())
}

fn answer(answers: &[Option<String>], index: Option<usize>) -> Option<String> {
    answers.get(index?)?.clone()
}

impl Draft<'_> {
    fn effect(&self) -> Effect {
        Effect { before: self.before, phase: self.record.phase, changed: self.changed }
    }

    /// `anew`: whether the record is to be written even if nothing new is known.
    fn changes(self, batch: &Batch, anew: bool, changes: &mut Vec<Change>) {
        let Draft { chronicle, base, told_before, facts, bytes, changed, revisit, record, .. } = self;
        let key = record.key.clone();
        if changed || anew || batch.rederive {
            changes.push(Change::PutIncident(IncidentWrite {
                revisit,
                incident: record,
                facts: bytes,
                base,
            }));
        }
        let mut told = timeline::of_updates(&key.id, &facts.updates);
        if facts.snapshot.is_withheld() {
            if changed {
                changes.push(Change::ReplaceTimeline(Timeline { incident: key, events: Vec::new() }));
            }
            return;
        }
        if let Some(chronicle) = chronicle {
            told.extend_from_slice(&chronicle.events);
            changes.push(Change::ReplaceTimeline(Timeline { incident: key.clone(), events: told }));
        } else {
            for event in told {
                if !told_before.contains(&event) {
                    changes.push(Change::PutTimelineEvent(event));
                }
            }
        }
        // What the updates already cover needs no word from a delivery.
        for event in &batch.events {
            if event.incident == key && facts.told.iter().any(|told| told.at == event.at) {
                changes.push(Change::PutTimelineEvent(event.clone()));
            }
        }
    }
}
