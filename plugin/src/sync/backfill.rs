//! Importing history: the incidents that changed in a window, then those that are open, then the organisation's updates.
//!
//! That is enough for time to restore. Timelines are left to the polls that follow, which read those of the
//! newest incidents first. The window is by change, not by creation, so that an old incident resolved inside
//! it is part of it. One that is open is part of every window that ends after it began, and need not have changed in
//! this one: so all that are open are listed. The position is committed with the records of each step.

use alloc::string::String;
use alloc::vec::Vec;

use super::apply::{Batch, apply};
use super::context::{self, Context};
use super::facts::{Facts, Snapshot};
use super::listing::{Listed, Walk, snapshots};
use super::{derive, is_within, open, read_page, read_state, sequence, write_state};
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload;
use crate::model::{Change, DAY, Error, Level, SECOND, Step, Timestamp};
use crate::port::World;
use koalr_codec::json::object;

/// How far back the first backfill reaches.
pub const HISTORY_DAYS: u32 = 90;
/// Key of [`UpdatesRead`] in the plugin's state.
pub(super) const UPDATES_READ: &str = "updates-read";

const STATE: &str = "backfill";
/// Commits that one step makes at most. While one is on its way, so is the next page.
const ROUNDS: u32 = 8;
/// After so long a step begins no more of them: who watches wants to see progress.
const STEP_TIME: Timestamp = SECOND;
/// Pages of incidents that are read for one commit at most.
const PAGES_PER_ROUND: u32 = 4;
/// Pages of updates that are read for one commit at most. They are smaller, and those of one incident are neighbours:
/// the more of them come together, the fewer incidents are written twice.
const UPDATES_PER_ROUND: u32 = 16;
/// An import without a step for so long is no reason any more to let timelines wait. Longer than any wait that a
/// provider's limits ask for.
const GIVEN_UP: Timestamp = 900 * SECOND;

/// What to import: changed at or after `since`, created before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in the contract")]
pub struct Window {
    pub since: Timestamp,
    pub until: Timestamp,
}

/// Whether the organisation's updates were read as a whole since incidents were last imported, and so whose are known.
#[derive(Debug, Clone, Default)]
pub struct UpdatesRead {
    done: bool,
    /// The oldest update that was read; incidents created before it may have more. None if all were read.
    from: Option<Timestamp>,
}

object!(UpdatesRead { "done" => Flag done, "from" => Instant from });

impl UpdatesRead {
    /// Whether all updates of the incident as it is known were read. Those up to the version with which an import lists
    /// it exist before the updates are read.
    pub fn covers(&self, facts: &Facts) -> bool {
        let Snapshot { created_at, updated_at, .. } = facts.snapshot;
        self.done
            && self.from.is_none_or(|from| created_at >= Some(from))
            && facts.imported >= Some(updated_at)
    }
}

/// Reads incidents, then those that are open, then updates, then is finished.
#[derive(Debug, Clone, Default)]
struct Position {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The incident list.
    incidents: Walk,
    /// The list of what is open.
    open: Walk,
    /// The update list, while it is being read.
    updates: Option<Updates>,
    /// Incidents listed of the window.
    done: Option<i64>,
    /// Incidents in all, by the provider's first answer.
    total: Option<i64>,
    /// When the last step was made.
    stepped_at: Option<Timestamp>,
    /// The last day of the list's range: one walk keeps to one question.
    to: Option<Timestamp>,
}

object!(Position {
    "since" => Instant since,
    "until" => Instant until,
    "incidents" => Object incidents,
    "updates" => Object updates,
    "done" => Integer done,
    "total" => Integer total,
    "stepped_at" => Instant stepped_at,
    "to" => Instant to,
    "open" => Object open,
});

#[derive(Debug, Clone, Default)]
struct Updates {
    newest_first: bool,
    after: Option<String>,
    pages: Option<i64>,
    oldest: Option<Timestamp>,
}

// The first place once held an instant; what was stored then goes on with the order of the list unknown.
object!(Updates {
    "newest_first" => Flag newest_first,
    "after" => MaybeText after,
    "pages" => Integer pages,
    "oldest" => Instant oldest,
});

/// From when on incidents were imported; none if none were.
pub(super) fn since(world: &mut dyn World) -> Result<Option<Timestamp>, Error> {
    let mut position = Position::default();
    read_state(world, STATE, &mut position)?;
    Ok(position.since)
}

/// Whether an import is not through and not given up.
pub(super) fn is_under_way(world: &mut dyn World) -> Result<bool, Error> {
    let mut position = Position::default();
    read_state(world, STATE, &mut position)?;
    let left = position.incidents.left || position.updates.is_some();
    Ok(left && is_within(GIVEN_UP, position.stepped_at, world.now()))
}

/// One bounded step, or, as a dry run, a count of what there is.
pub fn backfill(world: &mut dyn World, window: Window, dry_run: bool) -> Result<Step, Error> {
    if window.since >= window.until {
        return Err(Error::Invalid("a backfill's `since` must lie before its `until`".into()));
    }
    let Window { since, until } = window;
    let mut position = Position::default();
    read_state(world, STATE, &mut position)?;
    if position.since != Some(since) || position.until != Some(until) {
        position = Position {
            // Not before the window's end, whatever the clock says: polls go on from there.
            to: Some(world.now().max(until).saturating_add(DAY)),
            since: Some(since),
            until: Some(until),
            incidents: Walk::begin(),
            open: Walk::begin(),
            ..Position::default()
        };
    }
    let mut context = Context::load(world)?;
    if dry_run {
        return count(world, &context, window);
    }
    let mut step = Step::default();
    if context.is_old(world.now()) {
        step.requests = context::refresh(world, &mut context)?;
    }
    step.rederive = context.account.due;
    let mut run = Run { world, context: &context, window, position, step };
    let began = run.world.now();
    for round in 1..=ROUNDS {
        let reads_on = round < ROUNDS && run.world.now().saturating_sub(began) < STEP_TIME;
        let Position { incidents, open, updates, .. } = &run.position;
        match (incidents.left, open.left, updates) {
            (true, _, _) => run.incidents(reads_on)?,
            (false, true, _) => run.open()?,
            (false, false, Some(_)) => run.updates(reads_on)?,
            (false, false, None) => break,
        }
        if !reads_on || run.step.wait_ms > 0 {
            break;
        }
    }
    Ok(run.report())
}

fn count(world: &mut dyn World, context: &Context, window: Window) -> Result<Step, Error> {
    let until = world.now().max(window.until).saturating_add(DAY);
    let from = window.since.saturating_sub(DAY);
    let request = client::incidents(from, until, &context.account.categories, 1, None);
    let mut first: Vec<payload::Incident> = Vec::new();
    let page = read_page(world, "incidents", "incidents", request, &mut first)?;
    Ok(Step { requests: 1, total: page.total.and_then(|total| u64::try_from(total).ok()), ..Step::default() })
}

struct Run<'a> {
    world: &'a mut dyn World,
    context: &'a Context,
    window: Window,
    position: Position,
    step: Step,
}

impl Run<'_> {
    /// Whether the step `reads_on` after this.
    fn incidents(&mut self, reads_on: bool) -> Result<(), Error> {
        let mut batch = Batch::answering(&derive::INCIDENTIO, sequence::next(self.world)?);
        let now = self.world.now();
        for number in 1..=PAGES_PER_ROUND {
            if !self.position.incidents.left {
                break;
            }
            let Window { since, until } = self.window;
            let days = Listed::Changed(since.saturating_sub(DAY), self.position.to.unwrap_or(now));
            let walk = &mut self.position.incidents;
            let mut listed: Vec<payload::Incident> = Vec::new();
            self.step.requests += 1;
            let reads_on = reads_on || number < PAGES_PER_ROUND;
            let page = match walk.next(self.world, self.context, days, reads_on, &mut listed) {
                Ok(page) => page,
                Err(ApiError::RateLimited(ms)) => {
                    self.step.wait_ms = ms;
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            self.step.fetched += u32::try_from(listed.len()).unwrap_or(u32::MAX);
            self.position.total = self.position.total.or(page.total);
            let count = i64::try_from(listed.len()).unwrap_or(0);
            let before = if page.restarted { 0 } else { self.position.done.unwrap_or(0) };
            self.position.done = Some(before + count);
            if !self.position.incidents.left {
                self.position.updates = Some(Updates::default());
            }
            // The list is by whole days; the window is exact.
            listed.retain(|i| {
                i.updated_at.is_none_or(|at| at >= since) && i.created_at.is_none_or(|at| at < until)
            });
            snapshots(self.world, true, listed, &mut batch);
            self.step.wait_ms = page.pause_ms;
            if page.pause_ms > 0 {
                break;
            }
        }
        // Of what this import brings in, an earlier reading of the updates knows nothing.
        self.commit(&batch, Some(UpdatesRead::default()))
    }

    /// Of what is open since before the window, a poll reads the updates.
    fn open(&mut self) -> Result<(), Error> {
        let mut batch = Batch::answering(&derive::INCIDENTIO, sequence::next(self.world)?);
        let walk = &mut self.position.open;
        open::list(walk, &mut Vec::new(), self.world, self.context, &mut self.step, &mut batch)?;
        self.commit(&batch, None)
    }

    /// Reads the organisation's updates: one request for 250 of them instead of one for each incident, as long
    /// as that is cheaper. The list reaches back to the account's first day and cannot be filtered; its order is
    /// not documented, so it is recognised by its first page.
    fn updates(&mut self, reads_on: bool) -> Result<(), Error> {
        let mut batch = Batch::answering(&derive::INCIDENTIO, sequence::next(self.world)?);
        let mut read = None;
        for number in 1..=UPDATES_PER_ROUND {
            let Some(Updates { after, pages, oldest, newest_first }) = self.position.updates.clone() else {
                break;
            };
            self.step.requests += 1;
            let request = client::updates(after.as_deref());
            let mut listed: Vec<payload::Update> = Vec::new();
            let page = match read_page(self.world, "updates", "incident_updates", request, &mut listed) {
                Ok(page) => page,
                Err(ApiError::RateLimited(ms)) => {
                    self.step.wait_ms = ms;
                    break;
                }
                Err(ApiError::Rejected(why)) if after.is_some() => {
                    // Those that are missing are read incident by incident.
                    self.world.log(Level::Warn, "the list of updates broke off", &[("why".into(), why)]);
                    self.position.updates = None;
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            self.step.fetched += u32::try_from(listed.len()).unwrap_or(u32::MAX);
            let mut times = listed.iter().filter_map(|u| u.created_at);
            let (first, last) = (times.next(), times.next_back());
            // Every page must bear out what the first one shows.
            let begins = if after.is_none() { first > last && last.is_some() } else { newest_first };
            let newest_first = begins && (oldest.is_none() || first <= oldest) && falls(&listed);
            let oldest = listed.iter().filter_map(|u| u.created_at).chain(oldest).min();
            for update in listed {
                let id = update.incident_id.clone();
                batch.tell(&id, |news| news.updates.push(update));
            }
            let next = page.after.filter(|next| after.as_ref() != Some(next));
            let passed_window = newest_first && oldest.is_some_and(|at| at < self.window.since);
            // Past as many pages as there are incidents, asking for each incident would have been cheaper.
            let pages = pages.unwrap_or(0) + 1;
            let too_long = pages > self.position.done.unwrap_or(0).max(i64::from(UPDATES_PER_ROUND));
            if next.is_none() || passed_window {
                read = Some(UpdatesRead { done: true, from: oldest.filter(|_| next.is_some()) });
            }
            let next = next.filter(|_| !passed_window && !too_long);
            self.step.wait_ms = if next.is_some() { page.pause_ms } else { 0 };
            let goes_on = number < UPDATES_PER_ROUND && self.step.wait_ms == 0;
            if next.is_some() && (goes_on || (reads_on && self.step.wait_ms == 0)) {
                self.world.begin(&client::updates(next.as_deref()));
            }
            self.position.updates =
                next.map(|after| Updates { after: Some(after), pages: Some(pages), oldest, newest_first });
            if !goes_on {
                break;
            }
        }
        self.commit(&batch, read)
    }

    fn commit(&mut self, batch: &Batch, read: Option<UpdatesRead>) -> Result<(), Error> {
        self.position.stepped_at = Some(self.world.now());
        let mut extra: Vec<Change> = Vec::from([write_state(STATE, &self.position)]);
        if let Some(read) = read {
            extra.push(write_state(UPDATES_READ, &read));
        }
        apply(self.world, self.context, batch, extra)?.count(&mut self.step);
        Ok(())
    }

    fn report(self) -> Step {
        let Position { incidents, open, updates, done, total, .. } = self.position;
        let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
        let done = unsigned(done.unwrap_or(0));
        // Incidents come and go while they are counted; the end is the end.
        let total = if incidents.left { total.map(|t| unsigned(t).max(done)) } else { Some(done) };
        let more = incidents.left || open.left || updates.is_some();
        Step { done, total, more, ..self.step }
    }
}

/// Whether each is no newer than the one before it.
fn falls(updates: &[payload::Update]) -> bool {
    updates.is_sorted_by(|a, b| a.created_at >= b.created_at)
}
