//! Catching up: what changed since the watermark, then the timelines that wait to be read.
//!
//! The provider compares `updated_at` by calendar day, in a time zone that it does not state, and cannot sort
//! by it. So a pass asks from one day before the watermark to one day ahead, merges what it gets by version,
//! and moves the watermark only when it is through, to the time that it began less an overlap.

use alloc::string::String;
use alloc::vec::Vec;

use super::apply::{Batch, apply};
use super::backfill::UpdatesRead;
use super::context::{self, Context};
use super::facts::{Facts, News, Snapshot};
use super::{SOURCE, read_page, read_state, timeline, write_state};
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload;
use crate::json::{List, object};
use crate::model::{Change, DAY, Error, Level, SECOND, Step, Timestamp};
use crate::port::{Answer, Request, World};

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

const STATE: &str = "poll";

#[derive(Debug, Clone, Default)]
struct Position {
    /// Everything up to here is known.
    watermark: Option<Timestamp>,
    /// A pass that is under way.
    pass: Option<Pass>,
    /// When the last pass began.
    passed_at: Option<Timestamp>,
    /// Timelines read since the last pass ended; none once there is nothing left to read.
    revisited: Option<i64>,
}

object!(Position {
    "watermark" => Instant watermark,
    "pass" => Object pass,
    "passed_at" => Instant passed_at,
    "revisited" => Integer revisited,
});

#[derive(Debug, Clone, Default)]
struct Pass {
    began: Option<Timestamp>,
    after: Option<String>,
    restarted: bool,
}

object!(Pass { "began" => Instant began, "after" => MaybeText after, "restarted" => Flag restarted });

/// The change that sets the watermark at the first connect; none later, so that a reconnect after a long break
/// catches up with all of it.
pub(super) fn first_watermark(world: &mut dyn World, now: Timestamp) -> Result<Option<Change>, Error> {
    if read_state(world, STATE, &mut Position::default())? {
        return Ok(None);
    }
    let position = Position { watermark: Some(now), ..Position::default() };
    write_state(STATE, &position).map(Some)
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
        let (account, requests) = context::refresh(world)?;
        context.account = account;
        step.requests += requests;
    }
    // Reading many timelines can take longer than an interval; changes go first.
    let interval = SECOND * Timestamp::from(INTERVAL_SECONDS);
    let recent = position.passed_at.is_some_and(|at| now.saturating_sub(at) < interval);
    if position.pass.is_none() && !(position.revisited.is_some() && recent) {
        position.pass = Some(Pass { began: Some(now), after: None, restarted: false });
    }
    if position.pass.is_some() {
        return pass(world, &context, position, step);
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
    for _ in 0..PAGES_PER_STEP {
        let Some(pass) = position.pass.clone() else { break };
        let began = pass.began.unwrap_or_else(|| world.now());
        let watermark = position.watermark.unwrap_or(began);
        let (from, to) = (watermark.saturating_sub(DAY), began.saturating_add(DAY));
        let after = pass.after.as_deref();
        let request = client::incidents(from, to, &context.account.categories, client::PAGE_SIZE, after);
        step.requests += 1;
        let mut listed: Vec<payload::Incident> = Vec::new();
        let page = match read_page(world, "incidents", "incidents", request, &mut listed) {
            Ok(page) => page,
            Err(ApiError::RateLimited(ms)) => {
                return Ok(Step { more: true, wait_ms: ms, ..step });
            }
            // The incident behind the cursor may be gone: begin the list again, once.
            Err(ApiError::Rejected(why)) if pass.after.is_some() && !pass.restarted => {
                world.log(
                    Level::Warn,
                    "a cursor was rejected; the list is read again",
                    &[("why".into(), why)],
                );
                position.pass = Some(Pass { after: None, restarted: true, ..pass });
                world.commit(&[write_state(STATE, &position)?])?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        step.fetched += u32::try_from(listed.len()).unwrap_or(u32::MAX);
        let next = page.after.filter(|next| pass.after.as_ref() != Some(next));
        position.pass = next.map(|after| Pass { after: Some(after), ..pass.clone() });
        if position.pass.is_none() {
            position.watermark = Some(began.saturating_sub(OVERLAP).max(watermark));
            position.passed_at = Some(began);
            position.revisited = Some(0);
        }
        let batch = snapshots(world, context, listed);
        let effects = apply(world, context, &batch, Vec::from([write_state(STATE, &position)?]))?;
        step.created += effects.applied.created;
        step.updated += effects.applied.updated;
        step.stale += effects.applied.stale;
    }
    step.more = position.pass.is_some() || world.to_revisit(SOURCE, 0)?.total > 0;
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
    read_state(world, super::backfill::UPDATES_READ, &mut read)?;
    let waiting = world.to_revisit(SOURCE, TIMELINES_PER_STEP)?;
    let mut visits = Vec::with_capacity(waiting.keys.len());
    for stored in world.incidents(&waiting.keys)?.into_iter().flatten() {
        if let Some(facts) = Facts::from_bytes(&stored.facts) {
            let complete =
                facts.updates_as_of >= Some(facts.snapshot.updated_at) || read.covers(&facts.snapshot);
            visits.push(Visit::new(facts.snapshot, !complete));
        }
    }
    let mut wait_ms = None;
    for _ in 0..PAGES_PER_TIMELINE {
        let asks: Vec<(usize, bool, Request)> =
            visits.iter().enumerate().flat_map(|(index, visit)| visit.requests(index)).collect();
        if asks.is_empty() {
            break;
        }
        let requests: Vec<Request> = asks.iter().map(|(_, _, request)| request.clone()).collect();
        step.requests += u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let answers = world.fetch(&requests);
        let now = world.now();
        for ((index, of_updates, _), answer) in asks.into_iter().zip(answers) {
            let Some(visit) = visits.get_mut(index) else {
                continue;
            };
            match visit.take(of_updates, answer, now) {
                Ok(()) => {}
                Err(ApiError::RateLimited(ms)) => {
                    visit.postponed = true;
                    wait_ms = Some(ms.max(wait_ms.unwrap_or(0)));
                }
                // Gone or hidden since it was listed: nothing more to read of it.
                Err(ApiError::NotFound | ApiError::Forbidden(_)) => visit.finish(),
                Err(error) => return Err(error.into()),
            }
        }
        if wait_ms.is_some() {
            break;
        }
    }
    let mut batch = Batch::default();
    let mut visited = 0;
    for visit in visits.into_iter().filter(Visit::is_complete) {
        step.fetched += 1;
        let Visit { snapshot, updates, items, .. } = visit;
        let as_of = Some(snapshot.updated_at);
        let items = Some(timeline::of_items(snapshot.id(), items));
        let id = snapshot.id().into();
        batch.add(News {
            id,
            updates,
            updates_as_of: as_of,
            timeline_as_of: as_of,
            items,
            ..News::default()
        });
        visited += 1;
    }
    let left = waiting.total.saturating_sub(visited);
    let stuck = visited == 0 && wait_ms.is_none();
    let before = position.revisited.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let done = before + visited;
    position.revisited = i64::try_from(done).ok().filter(|_| left > 0 && !stuck);
    let effects = apply(world, context, &batch, Vec::from([write_state(STATE, &position)?]))?;
    step.updated += effects.applied.updated;
    step.done = done;
    step.total = Some(done + left);
    step.more = position.revisited.is_some();
    step.wait_ms = wait_ms.unwrap_or(0);
    Ok(step)
}

/// News of whole incidents; private ones only if the settings ask for them.
pub(super) fn snapshots(
    world: &mut dyn World,
    context: &Context,
    incidents: Vec<payload::Incident>,
) -> Batch {
    let mut batch = Batch::default();
    for incident in incidents {
        let id = incident.id.clone();
        match Snapshot::new(incident) {
            Some(snapshot) if context.settings.include_private || !snapshot.is_private() => {
                batch.add(News { id, snapshot: Some(snapshot), fresh: true, ..News::default() });
            }
            Some(_) => {}
            None => world.log(
                Level::Warn,
                "a listed incident has no identifier or no time and is left out",
                &[("incident".into(), id)],
            ),
        }
    }
    batch
}

/// One incident whose timeline is being read.
struct Visit {
    snapshot: Snapshot,
    updates: Vec<payload::Update>,
    items: Vec<payload::TimelineItem>,
    updates_left: Option<Cursor>,
    items_left: Option<Cursor>,
    postponed: bool,
}

/// Where a list goes on; none is its beginning.
type Cursor = Option<String>;

impl Visit {
    fn new(snapshot: Snapshot, with_updates: bool) -> Visit {
        Visit {
            snapshot,
            updates: Vec::new(),
            items: Vec::new(),
            updates_left: with_updates.then_some(None),
            items_left: Some(None),
            postponed: false,
        }
    }

    fn requests(&self, index: usize) -> Vec<(usize, bool, Request)> {
        let id = self.snapshot.id();
        let updates = self
            .updates_left
            .as_ref()
            .map(|after| (index, true, client::updates(Some(id), after.as_deref())));
        let items = self
            .items_left
            .as_ref()
            .map(|after| (index, false, client::timeline_items(id, after.as_deref())));
        updates.into_iter().chain(items).collect()
    }

    fn take(&mut self, of_updates: bool, answer: Answer, now: Timestamp) -> Result<(), ApiError> {
        let (key, items, left): (_, &mut dyn List, _) = if of_updates {
            ("incident_updates", &mut self.updates, &mut self.updates_left)
        } else {
            ("incident_timeline_items", &mut self.items, &mut self.items_left)
        };
        let page = client::page("the timeline", key, answer, now, items)?;
        *left = Some(page.after).filter(|next| next.is_some() && left.as_ref() != Some(next));
        Ok(())
    }

    fn finish(&mut self) {
        (self.updates_left, self.items_left) = (None, None);
    }

    fn is_complete(&self) -> bool {
        !self.postponed && self.updates_left.is_none() && self.items_left.is_none()
    }
}
