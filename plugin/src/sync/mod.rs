//! Keeping records equal to the provider's: what is known, what follows from it, and how it is caught up with.
//!
//! Everything that the provider says about an incident is first merged into its [`facts`], where order and
//! repetition do not matter; the record is then derived from the facts alone. So a delivery, a poll and a
//! backfill that have seen the same end in the same record.

pub mod apply;
pub mod backfill;
pub mod connect;
pub mod context;
pub mod derive;
mod digest;
pub mod event;
pub mod facts;
mod fit;
mod listing;
mod open;
pub mod poll;
pub mod rederive;
pub(crate) mod sequence;
pub mod timeline;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use self::apply::Batch;
use self::facts::Snapshot;
use crate::incidentio::client::{self, ApiError, INCIDENTIO, Page};
use crate::incidentio::payload;
use crate::model::{Change, Error, IncidentKey, StorageError, StoredIncident, Timestamp};
use crate::port::{Answer, Failure, Request, World};
use koalr_codec::json::{self, List, Object, Slot, object};
use koalr_codec::stored::{self, Fields};

/// This source's name in every key.
pub const SOURCE: &str = "incidentio";

/// An incident's identity.
pub(crate) fn key(source: &str, id: &str) -> IncidentKey {
    IncidentKey { source: source.into(), id: String::from(id) }
}

/// Keeps a short list sorted and free of repetitions.
fn insert_once(list: &mut Vec<String>, item: &String) {
    if let Err(index) = list.binary_search(item) {
        list.insert(index, item.clone());
    }
}

/// Whether an instant of our own lies no longer ago than this, and not in the future: one that does was noted while a
/// clock was wrong, and says nothing.
pub(crate) fn is_within(age: Timestamp, at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_some_and(|at| at <= now && now.saturating_sub(at) < age)
}

/// Reads a value of the plugin's own state into an empty one; false if there is none. One that cannot be read is
/// an error, not an empty value: starting anew would silently import everything again.
pub(crate) fn read_state(world: &mut dyn World, name: &str, into: &mut dyn Object) -> Result<bool, Error> {
    decode_state(name, world.state(name)?.as_deref(), into)
}

/// The same of a value that has been read.
pub(crate) fn decode_state(name: &str, bytes: Option<&[u8]>, into: &mut dyn Object) -> Result<bool, Error> {
    let Some(bytes) = bytes else {
        return Ok(false);
    };
    match stored::read(bytes, Slot::Object(into)) {
        Some(()) => Ok(true),
        None => Err(damaged(name)),
    }
}

/// The error of a value of the plugin's own state that cannot be what this version wrote.
pub(crate) fn damaged(name: &str) -> Error {
    let why = format!("the plugin's state `{name}` is damaged, or a newer version wrote it");
    Error::Storage(StorageError::Unavailable(why))
}

pub(crate) fn write_state(name: &str, value: &dyn Fields) -> Change {
    Change::SetState((name.into(), Some(stored::write(value))))
}

/// One answer of one request.
pub(crate) fn fetch_one(world: &mut dyn World, request: Request) -> Answer {
    let answer = world.fetch(&[request]).into_iter().next();
    answer.unwrap_or_else(no_answer)
}

#[derive(Default)]
struct OneIncident {
    incident: payload::Incident,
}

object!(OneIncident { "incident" => Object incident });

/// What is stored of each incident. A host that answers fewer questions than it was asked would make the rest vanish.
pub(crate) fn incidents(
    world: &mut dyn World,
    keys: &[IncidentKey],
) -> Result<Vec<Option<StoredIncident>>, Error> {
    answers("incidents", keys.len(), world.incidents(keys)?)
}

/// The host's answers, if there is one for each question.
fn answers<T>(what: &str, asked: usize, answers: Vec<T>) -> Result<Vec<T>, Error> {
    match answers.len() {
        answered if answered == asked => Ok(answers),
        answered => Err(Error::Malformed(format!(
            "the host was asked for {asked} {what} and gave {answered} answers"
        ))),
    }
}

/// The incident as it is now; none if it was deleted or is not to be seen with this key.
fn shown(world: &dyn World, answer: Answer) -> Result<Option<Snapshot>, Error> {
    let what = "the incident";
    Ok(match client::body(&INCIDENTIO, what, answer, world.now()) {
        Ok(body) => {
            let mut answer = OneIncident::default();
            json::read(&body, Slot::Object(&mut answer))
                .map_err(|why| client::unreadable(&INCIDENTIO, what, &why))?;
            let snapshot = Snapshot::new(answer.incident);
            Some(snapshot.ok_or_else(|| client::unreadable(&INCIDENTIO, what, &facts::no_identifier()))?)
        }
        Err(ApiError::NotFound | ApiError::Forbidden(_)) => None,
        Err(error) => return Err(error.into()),
    })
}

/// Adds the incident as it is now, or that it is not to be seen; whether it was seen.
fn reread(world: &mut dyn World, id: &str, batch: &mut Batch) -> Result<bool, Error> {
    let answer = fetch_one(world, client::incident(id));
    let snapshot = shown(world, answer)?;
    let seen = snapshot.is_some();
    batch.tell(id, |news| (news.snapshot, news.hidden) = (snapshot, !seen));
    Ok(seen)
}

fn no_answer() -> Answer {
    Err(Failure::Broken("no answer".into()))
}

/// Sends one list request and reads its page into `items`.
fn read_page(
    world: &mut dyn World,
    what: &str,
    key: &str,
    request: Request,
    items: &mut dyn List,
) -> Result<Page, ApiError> {
    let answer = fetch_one(world, request);
    client::page(what, key, answer, world.now(), items)
}
