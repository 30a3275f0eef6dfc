//! Deriving stored incidents anew, when what they are derived from besides their own facts has changed: settings,
//! the account's severities, fields and people, the host's directory. Asks the provider for nothing.

use alloc::vec::Vec;

use super::apply::{Batch, apply};
use super::context::Context;
use super::derive::Source;
use crate::model::{Error, Rederived};
use crate::port::World;

/// Incidents that one call derives.
const AT_A_TIME: u32 = 500;

/// One bounded part of a source's incidents.
pub fn rederive(
    world: &mut dyn World,
    source: &'static Source,
    after: Option<&str>,
) -> Result<Rederived, Error> {
    let mut context = Context::load(world)?;
    if after.is_none() {
        context.settle(world)?;
    }
    let page = world.list(source.name, after, AT_A_TIME)?;
    let mut batch = Batch::rederiving(source);
    for key in page.keys {
        batch.tell(&key.id, |_| {});
    }
    let effects = apply(world, &context, &batch, Vec::new())?;
    Ok(Rederived { updated: effects.applied.updated, next: page.next })
}
