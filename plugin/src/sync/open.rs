//! What is open, whenever it was created: listed with an import, and looked at once a day.
//!
//! An incident that is open since before the imported history changes nothing that a poll would see, and one that was
//! deleted tells nobody. So once a day all that the provider has open is listed, however old; then whatever is stored as
//! open and was not listed is asked for by itself. What the provider does not know in two looks is lost: it is kept, and
//! counts as open no more until it is seen again.

use alloc::string::String;
use alloc::vec::Vec;

use super::apply::Batch;
use super::context::Context;
use super::facts::Facts;
use super::listing::{Listed, Walk, snapshots};
use super::{SOURCE, derive, incidents, insert_once, no_answer, sequence, shown};
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload;
use crate::model::{DAY, Error, Level, Problem, Step, Timestamp};
use crate::port::{Failure, World};
use koalr_codec::json::object;

/// List pages that one step reads at most.
const PAGES_PER_STEP: u32 = 4;
/// Incidents that one step looks at by themselves.
const AT_A_TIME: u32 = 100;
/// Identifiers of listed incidents that are remembered; of more, each is asked for by itself.
const MOST_LISTED: usize = 25_000;
/// How long after the end of one look the next one begins. Less than a day, so that a daily poll is enough. What two
/// looks in the same minute do not find may only be out of the provider's reach for that minute.
pub(super) const INTERVAL: Timestamp = DAY / 24 * 20;

/// How far the look has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    list: Walk,
    /// What was listed, sorted.
    listed: Vec<String>,
    /// Whether what is stored as open is still to be compared, and from where on.
    compares: bool,
    after: Option<String>,
    /// Those behind `after` that were asked for and answered, sorted, while others next to them were not.
    answered: Vec<String>,
    /// See [`sequence`]: which look this is.
    number: Option<i64>,
}

object!(Look {
    "list" => Object list, "listed" => List listed, "compares" => Flag compares, "after" => MaybeText after,
    "number" => Integer number, "answered" => List answered,
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
            list(&mut self.list, &mut self.listed, world, context, step, &mut batch)?;
        } else {
            self.compare(world, step, &mut batch)?;
        }
        Ok(batch)
    }

    fn compare(&mut self, world: &mut dyn World, step: &mut Step, batch: &mut Batch) -> Result<(), Error> {
        let page = world.list_open(SOURCE, self.after.as_deref(), AT_A_TIME)?;
        let mut keys = page.keys;
        keys.retain(|key| {
            self.listed.binary_search(&key.id).is_err() && self.answered.binary_search(&key.id).is_err()
        });
        let mut requests = Vec::with_capacity(keys.len());
        for key in &keys {
            requests.push(client::incident(&key.id));
        }
        let mut answers = world.fetch(&requests).into_iter();
        for (key, stored) in keys.iter().zip(incidents(world, &keys)?) {
            let answer = answers.next().unwrap_or_else(no_answer);
            step.requests += u32::from(answer != Err(Failure::Unsent));
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
                Err(Error::RateLimited(ms)) => {
                    step.wait_ms = step.wait_ms.max(ms);
                    continue;
                }
                Err(Error::Malformed(why) | Error::Unavailable(why)) => {
                    let fields = [("incident".into(), key.id.clone()), ("why".into(), why)];
                    world.log(Level::Warn, "an open incident cannot be looked at", &fields);
                }
                Err(error) => return Err(error),
            }
            insert_once(&mut self.answered, &key.id);
        }
        if step.wait_ms > 0 {
            return Ok(());
        }
        self.answered.clear();
        (self.compares, self.after) = (page.next.is_some(), page.next);
        if !self.compares {
            self.listed.clear();
        }
        Ok(())
    }
}

/// Lists what the provider has open, a few pages at a time, and notes the identifiers in `listed`.
pub(super) fn list(
    walk: &mut Walk,
    listed: &mut Vec<String>,
    world: &mut dyn World,
    context: &Context,
    step: &mut Step,
    batch: &mut Batch,
) -> Result<(), Error> {
    for page in 1..=PAGES_PER_STEP {
        let mut incidents: Vec<payload::Incident> = Vec::new();
        step.requests += 1;
        match walk.next(world, context, Listed::Open, page < PAGES_PER_STEP, &mut incidents) {
            Ok(page) => {
                if page.restarted {
                    listed.clear();
                }
                step.wait_ms = page.pause_ms;
            }
            Err(ApiError::RateLimited(ms)) => step.wait_ms = ms,
            Err(error) => return Err(error.into()),
        }
        step.fetched += u32::try_from(incidents.len()).unwrap_or(u32::MAX);
        for incident in &incidents {
            if listed.len() < MOST_LISTED {
                insert_once(listed, &incident.id);
            }
        }
        snapshots(world, false, incidents, batch);
        if !walk.left || step.wait_ms > 0 {
            break;
        }
    }
    Ok(())
}
