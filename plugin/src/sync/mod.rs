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
pub mod event;
pub mod facts;
mod listing;
pub mod poll;
pub mod rederive;
pub mod timeline;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use self::apply::Batch;
use self::facts::Snapshot;
use crate::incidentio::client::{self, ApiError, INCIDENTIO, Page};
use crate::incidentio::payload;
use crate::model::{Change, Error, IncidentKey};
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
        None => Err(Error::Storage(format!("the plugin's state `{name}` is damaged"))),
    }
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

/// Adds the incident as it is now, or that it was deleted or is not to be seen with this key; whether it was seen.
fn reread(world: &mut dyn World, id: &str, batch: &mut Batch) -> Result<bool, Error> {
    let now = world.now();
    let what = "the incident";
    let snapshot =
        match client::body(&INCIDENTIO, what, fetch_one(world, client::incident(id)), now) {
            Ok(body) => {
                let mut answer = OneIncident::default();
                json::read(&body, Slot::Object(&mut answer))
                    .map_err(|why| client::unreadable(&INCIDENTIO, what, &why))?;
                let snapshot = Snapshot::new(answer.incident);
                Some(snapshot.ok_or_else(|| {
                    client::unreadable(&INCIDENTIO, what, "it has no identifier or no time")
                })?)
            }
            Err(ApiError::NotFound | ApiError::Forbidden(_)) => None,
            Err(error) => return Err(error.into()),
        };
    let seen = snapshot.is_some();
    batch.tell(id, |news| {
        news.snapshot = snapshot;
        *(if seen { &mut news.read_at } else { &mut news.hidden_at }) = Some(now);
    });
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
