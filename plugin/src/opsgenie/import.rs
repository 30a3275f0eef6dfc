//! Importing history: users and services, then incidents window by window, then their timelines.
//!
//! A list of Opsgenie reaches 20,000 records far and no farther, without a word. So a window that holds more is split
//! in the middle, down to the second. Every page is checked to lie in its window, because a filter that the service does
//! not understand it may ignore. The position is committed with the records.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::client::{self, Dates, OPSGENIE, PAGE, REACH};
use super::convert::{ENDS, Reader, chronicle};
use super::payload::{Entity, Entries, Piece, Record, data};
use super::{ALERTS, INCIDENTS};
use crate::incidentio::client::{ApiError, body, unreadable};
use crate::model::{Change, Error, OpsgenieAccount, OpsgenieRegion, Problem, SECOND, Step, Timestamp};
use crate::port::{Answer, Request, World};
use crate::sync::apply::{Batch, apply};
use crate::sync::backfill::Window;
use crate::sync::context::Context;
use crate::sync::facts::{Facts, Snapshot};
use crate::sync::{fetch_one, incidents, key, read_state, sequence, write_state};
use koalr_codec::json::{self, Slot, object};

const STATE: &str = "opsgenie";
/// Requests that one step makes at most, of lists.
const PAGES_PER_STEP: u32 = 10;
/// Timelines that one step reads at most, and how many at a time.
const TIMELINES_PER_STEP: u32 = 20;
const AT_A_TIME: usize = 5;
/// Pages of one timeline that are read at most.
const PAGES_PER_TIMELINE: usize = 20;
/// Between two requests at the beginning; the service names no number, and says when it is too fast.
const FIRST_PACE_MS: i64 = 500;
const SLOWEST_PACE_MS: i64 = 60_000;
/// Below this there is no pause.
const FAST_PACE_MS: i64 = 50;
/// Lists of the roster.
const ROSTER: [(&str, &str, &str); 2] =
    [("/v2/users", "users", "people-unreadable"), ("/v1/services", "services", "services-unreadable")];

/// How far the import has come.
#[derive(Debug, Clone, Default)]
struct Position {
    /// Which import this is; another one begins anew.
    of: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The list of [`ROSTER`] that is read, and where; past the last, all are.
    list: Option<i64>,
    offset: Option<i64>,
    /// Parts of the roster that are stored.
    parts: Option<i64>,
    /// What is left to list, the next last.
    windows: Vec<Span>,
    /// Whether dates are written as seconds.
    seconds: bool,
    /// Whether the form of dates was changed already.
    switched: bool,
    /// Milliseconds between requests.
    pace: Option<i64>,
    /// Incidents listed, and in all.
    done: Option<i64>,
    total: Option<i64>,
    /// Timelines read.
    visited: Option<i64>,
}

object!(Position {
    "of" => Text of, "since" => Instant since, "until" => Instant until, "list" => Integer list,
    "offset" => Integer offset, "parts" => Integer parts, "windows" => List windows, "seconds" => Flag seconds,
    "switched" => Flag switched, "pace" => Integer pace, "done" => Integer done, "total" => Integer total,
    "visited" => Integer visited,
});

/// A window of creation times.
#[derive(Debug, Clone, Default)]
struct Span {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Records seen in it.
    seen: Option<i64>,
    /// Whether it was found short at its end, and is listed again.
    again: bool,
}

object!(Span { "from" => Instant from, "to" => Instant to, "seen" => Integer seen, "again" => Flag again });

/// A part of the roster.
#[derive(Default)]
struct Part {
    entities: Vec<Entity>,
}

object!(Part { "entities" => List entities });

fn part(index: i64) -> String {
    format!("opsgenie-roster/{index}")
}

fn roster(world: &mut dyn World, position: &Position) -> Result<Vec<Entity>, Error> {
    let mut roster = Vec::new();
    for index in 0..position.parts.unwrap_or(0) {
        let mut stored = Part::default();
        read_state(world, &part(index), &mut stored)?;
        roster.append(&mut stored.entities);
    }
    Ok(roster)
}

/// Adds a part to the roster.
fn add_part(position: &mut Position, entities: Vec<Entity>) -> Change {
    let index = position.parts.unwrap_or(0);
    position.parts = Some(index + 1);
    write_state(&part(index), &Part { entities })
}

/// One bounded step.
pub fn import(
    world: &mut dyn World,
    account: OpsgenieAccount,
    window: Window,
    rehearsal: bool,
) -> Result<Step, Error> {
    let Window { since, until } = window;
    let (since, until) = (since.div_euclid(SECOND) * SECOND, until);
    if since >= until {
        return Err(Error::Invalid("a backfill's `since` must lie before its `until`".into()));
    }
    let mut position = Position::default();
    read_state(world, STATE, &mut position)?;
    let of = String::from(match (account.region, account.alerts) {
        (OpsgenieRegion::Us, false) => "us",
        (OpsgenieRegion::Us, true) => "us-alerts",
        (OpsgenieRegion::Eu, false) => "eu",
        (OpsgenieRegion::Eu, true) => "eu-alerts",
    });
    let ended = position.list.is_some() && position.windows.is_empty() && position.visited.is_none();
    if position.of != of || position.since != Some(since) || position.until != Some(until) || ended {
        position = Position {
            of,
            since: Some(since),
            until: Some(until),
            list: Some(0),
            windows: Vec::from([Span { from: Some(since), to: Some(until), ..Span::default() }]),
            pace: Some(FIRST_PACE_MS),
            visited: Some(0),
            ..Position::default()
        };
    }
    let context = Context::load(world)?;
    let origin = client::origin(account.region);
    let asked = sequence::next(world)?;
    let mut run =
        Run { world, context: &context, account, origin, rehearsal, asked, position, step: Step::default() };
    for _ in 0..PAGES_PER_STEP {
        let list = usize::try_from(run.position.list.unwrap_or(0)).unwrap_or(usize::MAX);
        if let Some(list) = ROSTER.get(list) {
            run.roster(*list)?;
        } else if let Some(span) = run.position.windows.pop() {
            run.page(span)?;
        } else {
            run.timelines()?;
            break;
        }
        if run.step.wait_ms > 0 {
            break;
        }
    }
    let Run { mut step, position, .. } = run;
    let unsigned = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    if step.total.is_none() {
        step.done = unsigned(position.done).unwrap_or(0);
        step.total = unsigned(position.total);
    }
    step.more = !position.windows.is_empty() || position.visited.is_some();
    Ok(step)
}

struct Run<'a> {
    world: &'a mut dyn World,
    context: &'a Context,
    account: OpsgenieAccount,
    origin: &'static str,
    rehearsal: bool,
    /// The number of this step's questions.
    asked: i64,
    position: Position,
    step: Step,
}

impl Run<'_> {
    /// Sends one request, and takes from its answer how fast to go on. None if it is to be asked again later.
    fn ask(&mut self, what: &str, request: Request) -> Result<Option<Vec<u8>>, (u16, ApiError)> {
        self.step.requests += 1;
        let answer = fetch_one(self.world, request);
        self.paced(&answer);
        self.read(what, answer)
    }

    fn read(&mut self, what: &str, answer: Answer) -> Result<Option<Vec<u8>>, (u16, ApiError)> {
        let status = answer.as_ref().map_or(0, |response| response.status);
        match body(&OPSGENIE, what, answer, self.world.now()) {
            Ok(body) => Ok(Some(body)),
            Err(ApiError::RateLimited(ms)) => {
                self.step.wait_ms = self.step.wait_ms.max(ms);
                Ok(None)
            }
            Err(error) => Err((status, error)),
        }
    }

    /// The pace doubles when the service says that it is too fast, and quickens while it says that all is well.
    fn paced(&mut self, answer: &Answer) {
        let pace = self.position.pace.unwrap_or(FIRST_PACE_MS);
        let Ok(response) = answer else { return };
        let [.., state] = &response.headers;
        let well = state.as_deref().map(|state| state.eq_ignore_ascii_case("ok"));
        let pace = match well {
            _ if response.status == 429 => (pace * 2).max(FIRST_PACE_MS),
            Some(false) => (pace * 2).max(FIRST_PACE_MS),
            Some(true) => pace * 3 / 4,
            None => pace,
        };
        let pace = if pace < FAST_PACE_MS { 0 } else { pace.min(SLOWEST_PACE_MS) };
        self.position.pace = Some(pace);
        self.step.wait_ms = pace.unsigned_abs();
    }

    fn problem(&mut self, reason: &str, text: String) {
        self.step.problems.push(Problem { incident: None, reason: reason.into(), text });
    }

    /// Reads a page of the users or the services.
    fn roster(&mut self, (list, what, unreadable_reason): (&str, &str, &str)) -> Result<(), Error> {
        let offset = self.position.offset.unwrap_or(0);
        let mut entities: Vec<Entity> = Vec::new();
        let mut read = self.ask(what, client::roster(self.origin, list, offset));
        if let Ok(Some(body)) = &read
            && let Err(why) = data(body, Slot::List(&mut entities))
        {
            read = Err((200, unreadable(&OPSGENIE, what, &why)));
        }
        let count = entities.len();
        let mut changes = Vec::new();
        match read {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            // Without them names and addresses are missing, but no incident is.
            Err((402..=404, error)) => self.problem(unreadable_reason, error.why()),
            Err((_, error)) => return Err(error.into()),
        }
        if count > 0 {
            changes.push(add_part(&mut self.position, entities));
        }
        self.position.offset = Some(offset + PAGE as i64);
        if count < PAGE || offset + 2 * PAGE as i64 > REACH {
            self.position.offset = None;
            self.position.list = self.position.list.map(|list| list + 1);
        }
        changes.push(write_state(STATE, &self.position));
        self.world.commit(&changes)?;
        Ok(())
    }

    /// Reads a page of a window, which is no longer among those left.
    fn page(&mut self, mut span: Span) -> Result<(), Error> {
        let (from, to) = (span.from.unwrap_or_default(), span.to.unwrap_or_default());
        let offset = self.position.offset.unwrap_or(0);
        let alerts = self.account.alerts;
        let dates = if self.position.seconds { Dates::Seconds } else { Dates::Quoted };
        let what = if alerts { "alerts" } else { "incidents" };
        let mut records: Vec<Record> = Vec::new();
        let total = match self.ask(what, client::list(self.origin, alerts, dates, (from, to), offset)) {
            Ok(Some(body)) => {
                data(&body, Slot::List(&mut records)).map_err(|why| unreadable(&OPSGENIE, what, &why))?
            }
            Ok(None) => {
                self.position.windows.push(span);
                return self.commit(Batch::default());
            }
            Err((400, error)) if self.position.switched => return Err(error.into()),
            Err((400, _)) => return self.switch(span),
            Err((status, error)) => return Err(client::refused(status, error).into()),
        };
        if records.iter().any(|record| {
            record.created_at.is_some_and(|at| at < from || at >= to.div_euclid(SECOND) * SECOND + SECOND)
        }) {
            if self.position.switched {
                return Err(Error::Malformed(
                    "Opsgenie answers records from outside of the interval that it was asked for; nothing of that answer \
                     was imported"
                        .into(),
                ));
            }
            return self.switch(span);
        }
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let seen = span.seen.unwrap_or(0) + count;
        let total = total.unwrap_or(seen);
        // Before anything of it was read.
        if offset == 0 && total > REACH {
            let middle = from + (to - from) / 2 / SECOND * SECOND;
            if middle > from {
                let span = |from, to| Span { from: Some(from), to: Some(to), ..Span::default() };
                self.position.windows.extend([span(middle, to), span(from, middle)]);
                return self.commit(Batch::default());
            }
            self.problem(
                "window-over-cap",
                format!("in the second from {} on more was created than Opsgenie lists; {REACH} of {total} were imported", koalr_codec::time::day(from)),
            );
        }
        if offset == 0 && !span.again {
            self.position.total = Some(self.position.total.unwrap_or(0) + total);
        }
        self.position.done = Some(self.position.done.unwrap_or(0) + if span.again { 0 } else { count });
        let next = offset + PAGE as i64;
        let through = records.is_empty() || next >= total || next + PAGE as i64 > REACH;
        if !through {
            self.position.offset = Some(next);
            self.position.windows.push(Span { seen: Some(seen), ..span });
        } else {
            self.position.offset = None;
            // What came while it was read may have shifted a page.
            if seen < total.min(REACH) && !span.again {
                (span.again, span.seen) = (true, None);
                self.position.windows.push(span);
            }
        }
        self.step.fetched += u32::try_from(records.len()).unwrap_or(u32::MAX);
        let batch = self.batch(records)?;
        self.commit(batch)
    }

    /// Writes dates in the other form, and begins the window again.
    fn switch(&mut self, span: Span) -> Result<(), Error> {
        self.position.switched = true;
        self.position.seconds = !self.position.seconds;
        self.position.offset = None;
        self.position.windows.push(Span { seen: None, ..span });
        self.commit(Batch::default())
    }

    fn batch(&mut self, records: Vec<Record>) -> Result<Batch, Error> {
        let roster = roster(self.world, &self.position)?;
        let how = How { alerts: self.account.alerts, rehearsal: self.rehearsal, asked: self.asked };
        read(self.world, records, &roster, how, &mut self.step.problems)
    }

    fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        let extra = Vec::from([write_state(STATE, &self.position)]);
        commit(self.world, self.context, &batch, extra, &mut self.step)
    }

    /// Reads timelines of some incidents that wait for theirs.
    fn timelines(&mut self) -> Result<(), Error> {
        let waiting = self.world.to_revisit(INCIDENTS.name, TIMELINES_PER_STEP)?;
        let mut snapshots = Vec::with_capacity(waiting.keys.len());
        for stored in incidents(self.world, &waiting.keys)?.into_iter().flatten() {
            snapshots.extend(Facts::from_bytes(&stored.facts).map(|facts| facts.snapshot));
        }
        let mut batch = Batch::answering(&INCIDENTS, self.asked);
        let mut visited = 0;
        for group in snapshots.chunks(AT_A_TIME) {
            visited += self.group(group, &mut batch)?;
            if self.step.wait_ms > 0 {
                break;
            }
        }
        let done = self.position.visited.unwrap_or(0) + visited;
        let left = waiting.total.saturating_sub(visited.unsigned_abs());
        // Facts that cannot be read back wait for ever, and for nothing.
        let stuck = snapshots.is_empty();
        self.position.visited = Some(done).filter(|_| left > 0 && !stuck);
        self.step.done = done.unsigned_abs();
        self.step.total = Some(done.unsigned_abs() + left);
        self.commit(batch)
    }

    /// Reads the timelines of a few at a time, and answers how many were read.
    fn group(&mut self, group: &[Snapshot], batch: &mut Batch) -> Result<i64, Error> {
        let mut requests = Vec::with_capacity(group.len());
        for snapshot in group {
            requests.push(client::timeline(self.origin, snapshot.id(), None));
        }
        let mut visited = 0;
        let answers = self.world.fetch(&requests);
        for (snapshot, answer) in group.iter().zip(answers) {
            self.step.requests += 1;
            self.paced(&answer);
            let mut answer = self.read("the timeline", answer);
            let mut told = Entries::default();
            let mut pages = 1;
            let mut problem = None;
            loop {
                match answer {
                    Ok(Some(body)) => {
                        told.next = None;
                        if let Err(why) = data(&body, Slot::Object(&mut told)) {
                            problem = Some(unreadable(&OPSGENIE, "the timeline", &why));
                            break;
                        }
                    }
                    Ok(None) => return Ok(visited),
                    // Deleted since it was listed.
                    Err((404, _)) => break,
                    // One incident's trouble is its own.
                    Err((
                        _,
                        error @ (ApiError::Malformed(_) | ApiError::TooLarge(_) | ApiError::Rejected(_)),
                    )) => {
                        problem = Some(error);
                        break;
                    }
                    Err((_, error)) => return Err(error.into()),
                }
                let Some(next) = told.next.clone().filter(|_| pages < PAGES_PER_TIMELINE) else {
                    break;
                };
                pages += 1;
                answer = self.ask("the timeline", client::timeline(self.origin, snapshot.id(), Some(&next)));
            }
            if let Some(error) = problem {
                let incident = Some(snapshot.id().into());
                let problem = Problem { incident, reason: "timeline-unreadable".into(), text: error.why() };
                self.step.problems.push(problem);
            }
            let Some(alerts) = self.alerts_of(snapshot.id())? else {
                return Ok(visited);
            };
            let chronicle = chronicle(&key(INCIDENTS.name, snapshot.id()), told.entries, alerts);
            batch.tell(snapshot.id(), |news| {
                (news.chronicle, news.timeline_as_of) = (Some(chronicle), Some(snapshot.active_at));
            });
            visited += 1;
        }
        Ok(visited)
    }

    /// The alerts of an incident, if they are wanted; none to be asked again later.
    fn alerts_of(&mut self, id: &str) -> Result<Option<Vec<String>>, Error> {
        let mut alerts = Vec::new();
        if !self.account.alert_ids {
            return Ok(Some(alerts));
        }
        for which in ["responder", "associated"] {
            match self.ask("its alerts", client::alert_ids(self.origin, id, which)) {
                Ok(Some(body)) => {
                    let read = data(&body, Slot::List(&mut alerts));
                    read.map_err(|why| unreadable(&OPSGENIE, "its alerts", &why))?;
                }
                Ok(None) => return Ok(None),
                Err((404, _)) => {}
                Err((_, error)) => return Err(error.into()),
            }
        }
        Ok(Some(alerts))
    }
}

/// How records are read.
#[derive(Clone, Copy)]
struct How {
    alerts: bool,
    rehearsal: bool,
    /// See [`sequence`]; a file that is imported later is a later answer.
    asked: i64,
}

/// News of listed or saved records.
fn read(
    world: &mut dyn World,
    records: Vec<Record>,
    roster: &[Entity],
    How { alerts, rehearsal, asked }: How,
    problems: &mut Vec<Problem>,
) -> Result<Batch, Error> {
    let source = if alerts { &ALERTS } else { &INCIDENTS };
    let now = world.now();
    let reader = Reader { alerts, roster, now };
    let mut batch = Batch::answering(source, asked);
    for mut record in records {
        // The alert that told responders of an incident is not another one.
        if alerts
            && let Some(incident) = record.alias.split('_').next()
            && incidents(world, &[key(INCIDENTS.name, incident)])?.iter().any(Option::is_some)
        {
            continue;
        }
        let told = record.timeline.take();
        let Some(snapshot) = reader.snapshot(record, problems) else {
            continue;
        };
        let as_of = Some(snapshot.active_at);
        let has_end = snapshot
            .incident
            .incident_timestamp_values
            .iter()
            .any(|time| ENDS.contains(&time.incident_timestamp.name.as_str()));
        // Whose timeline could not change its times, or cannot be asked for.
        let enough =
            alerts || (rehearsal && (has_end || snapshot.incident.incident_status.category == "live"));
        let id = String::from(snapshot.id());
        batch.tell(&id, |news| {
            (news.snapshot, news.imported) = (Some(snapshot), true);
            if let Some(told) = told {
                news.chronicle = Some(chronicle(&key(source.name, &id), told.entries, Vec::new()));
                news.timeline_as_of = as_of;
            } else if enough {
                news.timeline_as_of = as_of;
            }
        });
    }
    Ok(batch)
}

fn commit(
    world: &mut dyn World,
    context: &Context,
    batch: &Batch,
    extra: Vec<Change>,
    step: &mut Step,
) -> Result<(), Error> {
    apply(world, context, batch, extra)?.count(step);
    Ok(())
}

/// Imports a piece of saved records.
pub fn piece(world: &mut dyn World, bytes: &[u8]) -> Result<Step, Error> {
    let mut piece = Piece::default();
    let invalid = |why| Error::Invalid(format!("the piece of saved records is {why}"));
    json::read(bytes, Slot::Object(&mut piece)).map_err(invalid)?;
    let context = Context::load(world)?;
    let mut position = Position::default();
    read_state(world, STATE, &mut position)?;
    let mut roster = roster(world, &position)?;
    let mut entities = piece.users;
    entities.append(&mut piece.services);
    entities.retain(|entity| !roster.contains(entity));
    let asked = sequence::next(world)?;
    let mut step = Step::default();
    if !entities.is_empty() {
        roster.extend_from_slice(&entities);
        let added = add_part(&mut position, entities);
        world.commit(&[added, write_state(STATE, &position)])?;
    }
    for (records, alerts) in [(piece.incidents, false), (piece.alerts, true)] {
        step.fetched += u32::try_from(records.len()).unwrap_or(u32::MAX);
        let how = How { alerts, rehearsal: true, asked };
        let batch = read(world, records, &roster, how, &mut step.problems)?;
        commit(world, &context, &batch, Vec::new(), &mut step)?;
    }
    Ok(step)
}
