//! The daily look at what is open.
//!
//! An incident that is open since before the imported history changes nothing that a poll would see, and one that was
//! deleted tells nobody. So once a day, when the account was read, all that the provider has open is listed, however old;
//! then whatever is stored as open and was not listed is asked for by itself. What the provider does not know in two
//! looks is lost: it is kept, and counts as open no more until it is seen again.

use alloc::string::String;
use alloc::vec::Vec;

use super::apply::Batch;
use super::context::Context;
use super::facts::Facts;
use super::listing::{Listed, Walk, snapshots};
use super::{SOURCE, derive, incidents, insert_once, no_answer, sequence, shown};
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload;
use crate::model::{Error, Level, Problem, Step};
use crate::port::World;
use koalr_codec::json::object;

/// List pages that one step reads at most.
const PAGES_PER_STEP: u32 = 4;
/// Incidents that one step looks at by themselves.
const AT_A_TIME: u32 = 100;
/// Identifiers of listed incidents that are remembered; of more, each is asked for by itself.
const MOST_LISTED: usize = 25_000;

/// How far the look has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    list: Walk,
    /// What was listed, sorted.
    listed: Vec<String>,
    /// Whether what is stored as open is still to be compared, and from where on.
    compares: bool,
    after: Option<String>,
    /// See [`sequence`]: which look this is.
    number: Option<i64>,
}

object!(Look {
    "list" => Object list, "listed" => List listed, "compares" => Flag compares, "after" => MaybeText after,
    "number" => Integer number,
});

impl Look {
    pub(super) fn begin(world: &mut dyn World) -> Result<Look, Error> {
        let number = Some(sequence::next(world)?);
        Ok(Look { list: Walk::begin(), compares: true, number, ..Look::default() })
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.compares
    }

    /// One bounded step; answers what is to be committed with this.
    pub(super) fn step(
        &mut self,
        world: &mut dyn World,
        context: &Context,
        step: &mut Step,
    ) -> Result<Batch, Error> {
        let mut batch = Batch::answering(&derive::INCIDENTIO, sequence::next(world)?);
        if self.list.left {
            self.list(world, context, step, &mut batch)?;
        } else {
            self.compare(world, step, &mut batch)?;
        }
        Ok(batch)
    }

    fn list(
        &mut self,
        world: &mut dyn World,
        context: &Context,
        step: &mut Step,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        for page in 1..=PAGES_PER_STEP {
            let mut listed: Vec<payload::Incident> = Vec::new();
            step.requests += 1;
            match self.list.next(world, context, Listed::Open, page < PAGES_PER_STEP, &mut listed) {
                Ok(page) if page.restarted => self.listed.clear(),
                Ok(page) => step.wait_ms = page.pause_ms,
                Err(ApiError::RateLimited(ms)) => step.wait_ms = ms,
                Err(error) => return Err(error.into()),
            }
            step.fetched += u32::try_from(listed.len()).unwrap_or(u32::MAX);
            for incident in &listed {
                if self.listed.len() < MOST_LISTED {
                    insert_once(&mut self.listed, &incident.id);
                }
            }
            snapshots(world, false, listed, batch);
            if !self.list.left || step.wait_ms > 0 {
                break;
            }
        }
        Ok(())
    }

    fn compare(&mut self, world: &mut dyn World, step: &mut Step, batch: &mut Batch) -> Result<(), Error> {
        let page = world.list_open(SOURCE, self.after.as_deref(), AT_A_TIME)?;
        let mut keys = page.keys;
        keys.retain(|key| self.listed.binary_search(&key.id).is_err());
        let mut requests = Vec::with_capacity(keys.len());
        for key in &keys {
            requests.push(client::incident(&key.id));
        }
        let mut answers = world.fetch(&requests).into_iter();
        for (key, stored) in keys.iter().zip(incidents(world, &keys)?) {
            let answer = answers.next().unwrap_or_else(no_answer);
            step.requests += 1;
            match shown(world, answer) {
                Ok(Some(snapshot)) => batch.tell(&key.id, |news| news.snapshot = Some(snapshot)),
                Ok(None) => {
                    batch.tell(&key.id, |news| news.missed = self.number);
                    let known = stored.and_then(|stored| Facts::from_bytes(&stored.facts));
                    if known.is_some_and(|known| known.loses(self.number.unwrap_or(0))) {
                        step.problems.push(Problem {
                            incident: Some(key.id.clone()),
                            reason: "not-visible".into(),
                            text: "it is open here, and the provider has not shown it in two looks: it was deleted, or \
                                   hidden from this key; it is kept, and left out of figures until it is seen again"
                                .into(),
                        });
                    }
                }
                // Those that were answered are looked at again with the others, which changes nothing.
                Err(Error::RateLimited(ms)) => {
                    step.wait_ms = step.wait_ms.max(ms);
                }
                Err(Error::Malformed(why) | Error::Unavailable(why)) => {
                    let fields = [("incident".into(), key.id.clone()), ("why".into(), why)];
                    world.log(Level::Warn, "an open incident cannot be looked at", &fields);
                }
                Err(error) => return Err(error),
            }
        }
        if step.wait_ms == 0 {
            (self.compares, self.after) = (page.next.is_some(), page.next);
        }
        if !self.compares {
            self.listed.clear();
        }
        Ok(())
    }
}
