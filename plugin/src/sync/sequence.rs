//! The order in which the provider was asked.
//!
//! An answer tells how things were after everything that was stored when its question was asked. So each question has
//! the number after the last one that anything stored answers, and what is stored of its answer bears that number: a
//! clock of ours, which may be days ahead or behind, has no say. Two questions of one number were asked at once, and
//! neither answer is the later one.

use super::{read_state, write_state};
use crate::model::{Change, Error};
use crate::port::World;
use koalr_codec::json::object;

const STATE: &str = "asked";

#[derive(Default)]
struct Asked {
    last: Option<i64>,
}

object!(Asked { "last" => Integer last });

fn last(world: &mut dyn World) -> Result<i64, Error> {
    let mut asked = Asked::default();
    read_state(world, STATE, &mut asked)?;
    Ok(asked.last.unwrap_or(0))
}

/// The number of a question that is about to be asked.
pub(crate) fn next(world: &mut dyn World) -> Result<i64, Error> {
    Ok(last(world)?.saturating_add(1))
}

/// The change that goes with answers to questions up to `asked`, where it is one.
pub(super) fn answered(world: &mut dyn World, asked: i64) -> Result<Option<Change>, Error> {
    let behind = last(world)? < asked;
    Ok(behind.then(|| write_state(STATE, &Asked { last: Some(asked) })))
}
