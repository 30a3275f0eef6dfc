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
pub mod poll;
pub mod timeline;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::json::{self, Fields, Object, Slot};
use crate::model::{Error, IncidentKey};
use crate::port::{Change, World};

/// This source's name in every key.
pub const SOURCE: &str = "incidentio";

fn key(id: &str) -> IncidentKey {
    IncidentKey { source: SOURCE.into(), id: String::from(id) }
}

/// Keeps a short list sorted and free of repetitions.
fn insert_once<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(index) = list.binary_search(&item) {
        list.insert(index, item);
    }
}

/// Reads a value of the plugin's own state. One that is not JSON is an error, not an empty value: starting anew
/// would silently import everything again.
fn read_state<W: World, T: Object + Default>(world: &mut W, name: &'static str) -> Result<Option<T>, Error> {
    let Some(bytes) = world.state(name)? else {
        return Ok(None);
    };
    let mut value = T::default();
    json::read(&bytes, Slot::Object(&mut value))
        .map_err(|why| Error::Storage(format!("the plugin's state `{name}` is damaged: {why}")))?;
    Ok(Some(value))
}

fn write_state<T: Fields>(name: &'static str, value: &T) -> Result<Change, Error> {
    let bytes = json::write(value);
    let bytes =
        bytes.map_err(|e| Error::Storage(format!("the plugin's state `{name}` cannot be written: {e}")))?;
    Ok(Change::SetState(name, Some(bytes)))
}
