//! Walking the incident list, page by page, as polls and imports both do.
//!
//! A cursor is the last incident of its page. When that incident is gone the provider rejects the cursor, and the
//! list is read from its beginning: merging what is known already changes nothing.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::apply::Batch;
use super::context::Context;
use super::facts::{self, Snapshot};
use super::read_page;
use crate::incidentio::client::{self, ApiError};
use crate::incidentio::payload::Incident;
use crate::model::{Level, Timestamp};
use crate::port::World;
use koalr_codec::json::object;

/// Between one rejected cursor and the next.
const RESTART_PAUSE_MS: u64 = 60_000;

/// By how much a page is cut whose answer is larger than is accepted.
const SMALLER: u32 = 8;

/// How far a list was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    /// Whether there are pages left to read.
    pub left: bool,
    after: Option<String>,
    restarted: bool,
    /// How large pages are, where those of the usual size are larger than is accepted.
    size: Option<i64>,
}

object!(Walk {
    "left" => Flag left, "after" => MaybeText after, "restarted" => Flag restarted, "size" => Integer size,
});

/// What is listed.
#[derive(Clone, Copy)]
pub(super) enum Listed {
    /// What changed between two days, both included.
    Changed(Timestamp, Timestamp),
    /// What is not over.
    Open,
}

/// What a page tells besides its incidents.
pub(super) struct Page {
    /// The size of the whole list, where the provider tells.
    pub total: Option<i64>,
    /// Whether this is the beginning of the list for the second time. Then there are no incidents.
    pub restarted: bool,
    /// How long to wait before the next page.
    pub pause_ms: u64,
}

impl Walk {
    /// Before the first page.
    pub(super) fn begin() -> Walk {
        Walk { left: true, ..Walk::default() }
    }

    /// Reads the next page into `listed`. If the caller will read on, the page after it is asked for at once.
    pub(super) fn next(
        &mut self,
        world: &mut dyn World,
        context: &Context,
        what: Listed,
        reads_on: bool,
        listed: &mut Vec<Incident>,
    ) -> Result<Page, ApiError> {
        let categories = &context.account.categories;
        let size = self.size.and_then(|size| u32::try_from(size).ok()).unwrap_or(client::PAGE_SIZE);
        let request = |after: Option<&str>| match what {
            Listed::Changed(from, to) => client::incidents(from, to, categories, size, after),
            Listed::Open => client::open_incidents(size, after),
        };
        match read_page(world, "incidents", "incidents", request(self.after.as_deref()), listed) {
            Ok(page) => {
                // A cursor that leads to itself is the end, or the walk would never be one.
                self.left = page.after.is_some() && page.after != self.after;
                self.after = page.after;
                if self.left && reads_on && page.pause_ms == 0 {
                    world.begin(&request(self.after.as_deref()));
                }
                // What follows the last page is another endpoint's allowance.
                let pause_ms = if self.left { page.pause_ms } else { 0 };
                Ok(Page { total: page.total, restarted: false, pause_ms })
            }
            Err(ApiError::Rejected(why)) if self.after.is_some() => {
                let fields = [("why".into(), why)];
                world.log(Level::Warn, "a cursor was rejected; the list is read again", &fields);
                let pause_ms = if self.restarted { RESTART_PAUSE_MS } else { 0 };
                (self.after, self.restarted) = (None, true);
                Ok(Page { total: None, restarted: true, pause_ms })
            }
            // One incident can make a page too large, and its neighbours are to be read all the same.
            Err(ApiError::TooLarge(_)) if size > 1 => {
                self.size = Some(i64::from((size / SMALLER).max(1)));
                Ok(Page { total: None, restarted: false, pause_ms: 0 })
            }
            Err(ApiError::TooLarge(why)) => {
                let after = self.after.as_deref().unwrap_or("the beginning of the list");
                Err(ApiError::TooLarge(format!("{why}: one incident alone, the next after {after}")))
            }
            Err(error) => Err(error),
        }
    }
}

/// Adds news of whole incidents; see [`News`](super::facts::News) for `imported`.
pub(super) fn snapshots(world: &mut dyn World, imported: bool, incidents: Vec<Incident>, batch: &mut Batch) {
    for incident in incidents {
        let id = incident.id.clone();
        match Snapshot::new(incident) {
            Some(snapshot) => batch.tell(&id, |news| {
                // A list that moves while it is read may show an incident twice.
                if news.snapshot.as_ref().is_none_or(|known| known.updated_at <= snapshot.updated_at) {
                    (news.snapshot, news.imported) = (Some(snapshot), imported);
                }
            }),
            None => world.log(
                Level::Warn,
                "a listed incident is left out",
                &[("incident".into(), id), ("why".into(), facts::no_identifier())],
            ),
        }
    }
}
