//! Catching up: what changed since the watermark, then the timelines that wait to be read.
//!
//! The provider compares `updated_at` by calendar day, in a time zone that it does not state, and cannot sort
//! by it. So a pass asks from one day before the watermark to one day ahead, merges what it gets by version,
//! and moves the watermark only when it is through, to the time that it began less an overlap.

use alloc::string::String;
use alloc::vec::Vec;

use super::apply::{Batch, apply};
use super::backfill::{self, UpdatesRead};
use super::context::{self, Context};
use super::facts::{self, Facts, Snapshot};
use super::listing::{Listed, Walk, snapshots};
use super::open::{self, Look};
use super::{
    SOURCE, derive, incidents, is_within, no_answer, read_state, reread, sequence, timeline, write_state,
};
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload;
use crate::model::{Change, DAY, Error, Level, SECOND, Step, Timestamp};
use crate::port::{Answer, Failure, Request, World};
use koalr_codec::json::{List, object};

/// How often the host should poll without webhooks.
pub const INTERVAL_SECONDS: u32 = 300;
/// A record can appear with a version older than one already seen.
const OVERLAP: Timestamp = 300 * SECOND;
/// List pages that one step reads at most.
const PAGES_PER_STEP: u32 = 4;
/// Timelines that one step reads at most.
const TIMELINES_PER_STEP: u32 = 64;
/// Pages of one incident's updates or items that are read at most: 5,000 entries.
const PAGES_PER_TIMELINE: usize = 20;
/// Timelines of more than a page that one step reads at most.
const LONG_AT_A_TIME: usize = 10;
/// Shorter pauses would let a few requests through each time.
const SHORTEST_PAUSE_MS: u64 = 2_000;
/// How often that pause is doubled at most, to sixteen seconds, and the timelines of a step are halved. What was answered
/// of one that is not complete is read again: where little is allowed, many at a time would never be complete.
const MOST_DOUBLED: i64 = 3;

const STATE: &str = "poll";

#[derive(Debug, Clone, Default)]
struct Position {
    /// Everything up to here is known.
    watermark: Option<Timestamp>,
    /// The list, while a pass is under way.
    list: Walk,
    /// When that pass began.
    began: Option<Timestamp>,
    /// When the last pass began.
    passed_at: Option<Timestamp>,
    /// Timelines read since the last pass ended; none once there is nothing left to read.
    revisited: Option<i64>,
    /// [`Account::look`](super::context::Account::look) when the list was last read from the beginning of history.
    look: Option<i64>,
    /// How often the pause was doubled, while the allowance is spent again and again.
    doubled: Option<i64>,
    /// The look at what is open.
    open: Look,
    /// When the last one ended.
    looked_at: Option<Timestamp>,
}

object!(Position {
    "watermark" => Instant watermark,
    "list" => Object list,
    "began" => Instant began,
    "passed_at" => Instant passed_at,
    "revisited" => Integer revisited,
    "look" => Integer look,
    "doubled" => Integer doubled,
    "open" => Object open,
    "looked_at" => Instant looked_at,
});

impl Position {
    /// Whether the last pass began within an interval.
    fn is_recent(&self, now: Timestamp) -> bool {
        let interval = SECOND * Timestamp::from(INTERVAL_SECONDS);
        is_within(interval, self.passed_at, now)
    }
}

/// The change that sets the watermark at the first connect; none later, so that a reconnect after a long break
/// catches up with all of it.
pub(super) fn first_watermark(world: &mut dyn World, now: Timestamp) -> Result<Option<Change>, Error> {
    if read_state(world, STATE, &mut Position::default())? {
        return Ok(None);
    }
    let position = Position { watermark: Some(now), ..Position::default() };
    Ok(Some(write_state(STATE, &position)))
}

/// One bounded step.
pub fn poll(world: &mut dyn World) -> Result<Step, Error> {
    let now = world.now();
    let mut position = Position::default();
    if !read_state(world, STATE, &mut position)? {
        return Err(Error::Invalid("the organisation is not connected; connect before polling".into()));
    }
    let mut context = Context::load(world)?;
    let mut step = Step::default();
    if context.is_old(now) {
        step.requests = context::refresh(world, &mut context)?;
    }
    step.rederive = context.account.due;
    if !position.open.is_under_way() && !is_within(open::INTERVAL, position.looked_at, now) {
        position.open = Look::begin(world)?;
    }
    // Reading many timelines can take longer than an interval; changes go first.
    let left = position.revisited.is_some() || position.open.is_under_way();
    if !(position.list.left || left && position.is_recent(now)) {
        (position.list, position.began) = (Walk::begin(), Some(now));
        // A watermark in the future was set while a clock was wrong. What it stands for nobody knows, so all that is
        // kept is listed again.
        if position.watermark > Some(now) {
            let since = backfill::since(world)?.filter(|since| *since < now);
            let history = DAY * Timestamp::from(backfill::HISTORY_DAYS);
            position.watermark = Some(since.unwrap_or_else(|| now.saturating_sub(history)));
        }
        // A new name of a severity, a status, a field or a person is no new version of an incident that bears it.
        let look = context.account.look;
        if position.look.is_some_and(|known| Some(known) != look) {
            position.watermark = backfill::since(world)?.min(position.watermark).or(position.watermark);
        }
        position.look = look.or(position.look);
    }
    if position.list.left {
        return pass(world, &context, position, step);
    }
    if position.open.is_under_way() {
        return look(world, &context, position, step);
    }
    revisit(world, &context, position, step)
}

/// Reads the list of what changed, a few pages at a time.
fn pass(
    world: &mut dyn World,
    context: &Context,
    mut position: Position,
    mut step: Step,
) -> Result<Step, Error> {
    let mut batch = Batch::answering(&derive::INCIDENTIO, sequence::next(world)?);
    for page in 1..=PAGES_PER_STEP {
        if !position.list.left {
            break;
        }
        let began = position.began.unwrap_or_else(|| world.now());
        let watermark = position.watermark.unwrap_or(began);
        let days = Listed::Changed(watermark.saturating_sub(DAY), began.saturating_add(DAY));
        let mut listed: Vec<payload::Incident> = Vec::new();
        step.requests += 1;
        match position.list.next(world, context, days, page < PAGES_PER_STEP, &mut listed) {
            Ok(page) => step.wait_ms = page.pause_ms,
            Err(ApiError::RateLimited(ms)) => {
                step.wait_ms = ms;
                break;
            }
            Err(error) => return Err(error.into()),
        }
        step.fetched += u32::try_from(listed.len()).unwrap_or(u32::MAX);
        if !position.list.left {
            position.watermark = Some(began.saturating_sub(OVERLAP).max(watermark));
            position.passed_at = Some(began);
            // While an import is under way its requests go first, and what it reads need not be read again.
            position.revisited = (!backfill::is_under_way(world)?).then_some(0);
        }
        snapshots(world, false, listed, &mut batch);
        if step.wait_ms > 0 {
            break;
        }
    }
    apply(world, context, &batch, Vec::from([write_state(STATE, &position)]))?.count(&mut step);
    // A pass that was cut off and is through only now knows nothing of what changed meanwhile: another follows.
    let is_late = position.passed_at.is_some() && !position.is_recent(world.now());
    step.more = position.list.left || is_late || is_left(world, &position)?;
    Ok(step)
}

/// Whether there is something to do besides the list of what changed.
fn is_left(world: &mut dyn World, position: &Position) -> Result<bool, Error> {
    let revisits = position.revisited.is_some() && world.to_revisit(SOURCE, 0)?.total > 0;
    Ok(position.open.is_under_way() || revisits)
}

/// Looks at what is open, a part at a time.
fn look(
    world: &mut dyn World,
    context: &Context,
    mut position: Position,
    mut step: Step,
) -> Result<Step, Error> {
    let batch = position.open.step(world, context, &mut step)?;
    if !position.open.is_under_way() {
        position.looked_at = Some(world.now());
    }
    apply(world, context, &batch, Vec::from([write_state(STATE, &position)]))?.count(&mut step);
    // The pass before this left timelines to an import that was under way. Once it is through, another pass follows.
    let is_due = position.revisited.is_none() && !backfill::is_under_way(world)?;
    step.more = is_due || is_left(world, &position)?;
    Ok(step)
}

/// Reads the timelines of incidents that changed since theirs was read.
fn revisit(
    world: &mut dyn World,
    context: &Context,
    mut position: Position,
    mut step: Step,
) -> Result<Step, Error> {
    let mut read = UpdatesRead::default();
    read_state(world, backfill::UPDATES_READ, &mut read)?;
    let doubled = position.doubled.unwrap_or(0).clamp(0, MOST_DOUBLED);
    let waiting = world.to_revisit(SOURCE, TIMELINES_PER_STEP >> doubled)?;
    let mut batch = Batch::answering(&derive::INCIDENTIO, sequence::next(world)?);
    let mut visited = 0;
    let mut reread_some = false;
    let mut wait_ms = None;
    let mut visits = Vec::with_capacity(waiting.keys.len());
    for stored in incidents(world, &waiting.keys)? {
        let Some(facts) = stored.and_then(|stored| Facts::from_bytes(&stored.facts)) else {
            continue;
        };
        if facts.snapshot.is_withheld() || facts.is_hidden() {
            // Private, and only now asked for: what was left out is read again, and after that its timeline. Or
            // perhaps hidden, which is to be confirmed.
            if wait_ms.is_none() {
                step.requests += 1;
                let id = facts.snapshot.id();
                match reread(world, id, &mut batch) {
                    Ok(true) => reread_some = true,
                    Ok(false) => visited += 1,
                    Err(error) => wait_ms = its_own(error)?,
                }
            }
            continue;
        }
        let complete = facts.updates_as_of >= Some(facts.snapshot.updated_at) || read.covers(&facts);
        visits.push(Visit::new(facts.active_at(), facts.snapshot, complete.then_some(facts.updates)));
    }
    for round in 0..PAGES_PER_TIMELINE {
        let mut requests = Vec::new();
        for visit in &mut visits {
            // The host's limit on a call's requests: long timelines are read a few at a time.
            let enough = round > 0 && requests.len() > LONG_AT_A_TIME * LISTS.len();
            visit.postponed |= enough && visit.is_under_way();
            visit.ask(&mut requests);
        }
        if requests.is_empty() {
            break;
        }
        let answers = world.fetch(&requests);
        for answer in &answers {
            step.requests += u32::from(*answer != Err(Failure::Unsent));
        }
        let mut answers = answers.into_iter();
        let now = world.now();
        for visit in &mut visits {
            if let Some(ms) = visit.take(world, &mut answers, now)? {
                wait_ms = Some(ms.max(wait_ms.unwrap_or(0)));
            }
        }
        if wait_ms.is_some() {
            break;
        }
    }
    for visit in visits {
        if visit.postponed {
            continue;
        }
        let id: String = visit.snapshot.id().into();
        let fields = [("incident".into(), id.clone())];
        if visit.is_under_way() {
            if wait_ms.is_some() {
                continue;
            }
            world.log(Level::Warn, "of a very long timeline the first part is kept", &fields);
        }
        if visit.is_suspect() {
            if wait_ms.is_some() {
                continue;
            }
            step.requests += 1;
            match reread(world, &id, &mut batch) {
                Ok(true) => {}
                Ok(false) => {
                    visited += 1;
                    continue;
                }
                Err(error) => {
                    wait_ms = its_own(error)?;
                    continue;
                }
            }
        }
        step.fetched += 1;
        visited += 1;
        let as_of = Some(visit.as_of);
        let Visit { updates, items, log, mut participants, attachments, unreadable, .. } = visit;
        let [no_updates, no_items, no_log, no_participants, _] = unreadable;
        participants.iter_mut().for_each(|participant| facts::tidy(&mut participant.user));
        // What cannot be read stays as it is stored, and is asked for again when the incident changes.
        let chronicle = (!(no_updates || no_items || no_log)).then(|| {
            let mut told = timeline::chronicle(&id, &updates, &items, &log);
            for payload::Attachment { resource } in attachments {
                told.references.extend([resource.external_id, resource.permalink]);
            }
            told
        });
        batch.tell(&id, |news| {
            if !no_updates {
                (news.updates, news.updates_as_of) = (updates, as_of);
            }
            (news.chronicle, news.timeline_as_of) = (chronicle, as_of);
            news.participants = (!no_participants).then_some(participants);
        });
    }
    let left = waiting.total.saturating_sub(visited);
    let stuck = visited == 0 && !reread_some && wait_ms.is_none();
    let before = position.revisited.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let done = before + visited;
    position.revisited = i64::try_from(done).ok().filter(|_| left > 0 && !stuck);
    // A quarter of what was to be read is enough to go on so.
    let few = !reread_some && visited.saturating_mul(4) < u64::try_from(waiting.keys.len()).unwrap_or(0);
    position.doubled = wait_ms.map(|_| (doubled + i64::from(few)).min(MOST_DOUBLED));
    apply(world, context, &batch, Vec::from([write_state(STATE, &position)]))?.count(&mut step);
    step.done = done;
    step.total = Some(done + left);
    step.more = position.revisited.is_some();
    let shortest = SHORTEST_PAUSE_MS << position.doubled.unwrap_or(0);
    step.wait_ms = wait_ms.map_or(0, |ms| ms.max(shortest));
    Ok(step)
}

/// Passes over the trouble that one incident makes, with how long it asks to wait; what concerns all of them ends the
/// step.
fn its_own(error: Error) -> Result<Option<u64>, Error> {
    match error {
        Error::RateLimited(ms) => Ok(Some(ms)),
        Error::Unavailable(_) | Error::Malformed(_) | Error::Unreachable(_) => Ok(None),
        error => Err(error),
    }
}

/// One incident whose timeline is being read.
struct Visit {
    /// The version that it is read at.
    as_of: Timestamp,
    snapshot: Snapshot,
    updates: Vec<payload::Update>,
    items: Vec<payload::TimelineItem>,
    log: Vec<payload::Activity>,
    participants: Vec<payload::Participant>,
    attachments: Vec<payload::Attachment>,
    /// Whether it has attachments, which are then asked for.
    linked: bool,
    /// Where each of [`LISTS`] goes on; none once it is through.
    left: [Option<Cursor>; LISTS.len()],
    /// Which of them this key is not shown, or nobody can read.
    unreadable: [bool; LISTS.len()],
    /// Which of them had an answer that made no sense, and are asked for once more: it may have been cut on its way.
    garbled: [bool; LISTS.len()],
    /// To be read in another step.
    postponed: bool,
}

/// Where a list goes on; none is its beginning.
type Cursor = Option<String>;

/// What is read of an incident: the key of each list in its answer, which for the first three is the endpoint's name.
const LISTS: [&str; 5] = [
    "incident_updates",
    "incident_timeline_items",
    "incident_activity_log_entries",
    "active",
    "incident_attachments",
];
/// The entry of the activity log without which an incident has no attachments.
const ATTACHED: &str = "incident_attachment_added";

impl Visit {
    /// With all updates, if they are known.
    fn new(as_of: Timestamp, snapshot: Snapshot, updates: Option<Vec<payload::Update>>) -> Visit {
        Visit {
            as_of,
            snapshot,
            left: [updates.is_none().then_some(None), Some(None), Some(None), Some(None), None],
            updates: updates.unwrap_or_default(),
            items: Vec::new(),
            log: Vec::new(),
            participants: Vec::new(),
            attachments: Vec::new(),
            linked: false,
            unreadable: [false; LISTS.len()],
            garbled: [false; LISTS.len()],
            postponed: false,
        }
    }

    fn is_under_way(&self) -> bool {
        self.left.iter().any(Option::is_some)
    }

    /// Asks for the next page of each list that is not through.
    fn ask(&self, requests: &mut Vec<Request>) {
        for (list, left) in LISTS.into_iter().zip(&self.left) {
            if let Some(after) = left
                && !self.postponed
            {
                let id = self.snapshot.id();
                requests.push(match list {
                    "active" => client::participants(id),
                    "incident_attachments" => client::attachments(id),
                    list => client::of_incident(list, id, after.as_deref()),
                });
            }
        }
    }

    /// Takes the answers to what was asked, in that order, and answers how long the provider asks to wait. One
    /// incident's trouble is its own: only what concerns every request ends the step.
    fn take(
        &mut self,
        world: &mut dyn World,
        answers: &mut dyn Iterator<Item = Answer>,
        now: Timestamp,
    ) -> Result<Option<u64>, Error> {
        if self.postponed {
            return Ok(None);
        }
        let mut wait_ms = None;
        let into: [&mut dyn List; LISTS.len()] = [
            &mut self.updates,
            &mut self.items,
            &mut self.log,
            &mut self.participants,
            &mut self.attachments,
        ];
        let places = self.left.iter_mut().zip(&mut self.unreadable).zip(&mut self.garbled);
        for ((key, list), ((left, unreadable), garbled)) in LISTS.into_iter().zip(into).zip(places) {
            if left.is_none() {
                continue;
            }
            let answer = answers.next().unwrap_or_else(no_answer);
            if answer == Err(Failure::Unsent) {
                (self.postponed, wait_ms) = (true, wait_ms.or(Some(0)));
                continue;
            }
            let before = list.count();
            match client::page("the timeline", key, answer, now, list) {
                Ok(page) => {
                    *left = Some(page.after).filter(|next| next.is_some() && left.as_ref() != Some(next));
                }
                Err(ApiError::RateLimited(ms)) => (self.postponed, wait_ms) = (true, Some(ms)),
                Err(error @ (ApiError::Unauthorized(_) | ApiError::Refused(_))) => return Err(error.into()),
                Err(ApiError::Malformed(_) | ApiError::Unreachable(_)) if !*garbled => {
                    list.keep(before);
                    *garbled = true;
                }
                Err(error) => {
                    (*left, *unreadable) = (None, true);
                    self.postponed |= matches!(error, ApiError::Unavailable(_) | ApiError::Unreachable(_));
                    let fields =
                        [("incident".into(), self.snapshot.id().into()), ("why".into(), error.why())];
                    world.log(Level::Warn, "a part of a timeline cannot be read", &fields);
                }
            }
        }
        let [.., attachments] = &mut self.left;
        if !self.linked && self.log.iter().any(|entry| entry.r#type == ATTACHED) {
            (self.linked, *attachments) = (true, Some(None));
        }
        Ok(wait_ms)
    }

    /// Whether what was read is as empty as the lists of an incident that this key may not see, or that is gone.
    fn is_suspect(&self) -> bool {
        let [no_updates, no_items, no_log, ..] = self.unreadable;
        let empty = self.items.is_empty() && self.log.is_empty();
        no_updates || self.updates.is_empty() || (empty && !no_items && !no_log)
    }
}
