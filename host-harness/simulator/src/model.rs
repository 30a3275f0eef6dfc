//! What an account is made of.

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Bytes;
use chrono::{DateTime, Utc};

use crate::{
    settings::{Part, Service, Severity, User},
    stages::{Stage, Stamp},
};

/// How an incident is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// An incident as it happens.
    #[default]
    Standard,
    /// Written down after the fact.
    Retrospective,
    /// A drill.
    Test,
    /// The product's own introduction.
    Tutorial,
}

impl Mode {
    /// The vendor's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Retrospective => "retrospective",
            Self::Test => "test",
            Self::Tutorial => "tutorial",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Standard, Self::Retrospective, Self::Test, Self::Tutorial]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }

    /// Left out of lists that do not name a mode.
    pub(crate) fn hidden_by_default(self) -> bool {
        matches!(self, Self::Test | Self::Tutorial)
    }
}

/// An incident to declare.
#[derive(Debug, Clone, Default)]
pub struct NewIncident {
    /// Its title.
    pub name: String,
    /// A severity's name. Without one the incident starts in triage, as the vendor's do.
    pub severity: Option<String>,
    /// Names of catalog entries.
    pub services: Vec<String>,
    /// How it is counted.
    pub mode: Mode,
    /// Hidden from keys without `global_access`, and announced by its id alone.
    pub private: bool,
    /// The lead's e-mail address.
    pub lead: Option<String>,
}

/// What changes about an incident; what is `None` or empty stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// A status' name (`Monitoring`), or a category (`learning`), which means the first status in it.
    pub status: Option<String>,
    /// A severity's name.
    pub severity: Option<String>,
    /// The text of the update.
    pub message: Option<String>,
    /// A new title.
    pub name: Option<String>,
    /// Names of catalog entries that replace the affected services.
    pub services: Option<Vec<String>>,
    /// Timestamps by name, set or (with `None`) cleared after the status filled its own.
    pub timestamps: BTreeMap<String, Option<DateTime<Utc>>>,
}

/// A move that the account refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// No incident has that id, or it was deleted.
    #[error("no incident {0}")]
    UnknownIncident(String),
    /// The organisation has no such thing.
    #[error("no {kind} called {name}")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// Under which name.
        name: String,
    },
}

/// Who did something.
#[derive(Debug, Clone)]
pub(crate) enum Actor {
    User(Arc<User>),
    ApiKey,
    Workflow,
}

/// The values of the twelve timestamps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stamps([Option<DateTime<Utc>>; 12]);

impl Stamps {
    pub(crate) fn get(&self, stamp: Stamp) -> Option<DateTime<Utc>> {
        self.0.get(stamp as usize).copied().flatten()
    }

    pub(crate) fn set(&mut self, stamp: Stamp, at: Option<DateTime<Utc>>) {
        if let Some(slot) = self.0.get_mut(stamp as usize) {
            *slot = at;
        }
    }

    /// Fills an empty one: a second visit to a status leaves the first visit's time, which is how the
    /// vendor's timestamps go stale after a reopening.
    fn fill(&mut self, stamp: Stamp, at: DateTime<Utc>) {
        if self.get(stamp).is_none() {
            self.set(stamp, Some(at));
        }
    }
}

/// An alert of Opsgenie's that was attached to an incident.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) at: DateTime<Utc>,
    pub(crate) alert: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Incident {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) summary: Option<String>,
    pub(crate) private: bool,
    pub(crate) mode: Mode,
    pub(crate) stage: Stage,
    pub(crate) severity: Option<Arc<Severity>>,
    pub(crate) kind: Arc<Part>,
    pub(crate) creator: Actor,
    pub(crate) lead: Option<Arc<User>>,
    pub(crate) reporter: Option<Arc<User>>,
    pub(crate) communications: Option<Arc<User>>,
    pub(crate) services: Vec<Arc<Service>>,
    /// Position among the options of the impact field.
    pub(crate) impact: Option<usize>,
    pub(crate) customers: Option<u32>,
    pub(crate) slack_channel: Option<String>,
    pub(crate) stamps: Stamps,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) last_activity_at: DateTime<Utc>,
    /// Positions in [`Account::updates`], oldest first.
    pub(crate) updates: Vec<usize>,
    pub(crate) timeline: Vec<TimelineItem>,
    /// When the person on call took the escalation.
    pub(crate) paged: Option<DateTime<Utc>>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) deleted: bool,
    pub(crate) json: Bytes,
}

#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) id: String,
    pub(crate) incident: usize,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) stage: Stage,
    pub(crate) severity: Option<Arc<Severity>>,
    pub(crate) updater: Actor,
    pub(crate) message: Option<String>,
    pub(crate) merged_into: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct TimelineItem {
    pub(crate) id: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) creator: Actor,
    /// Absent on what was written by hand.
    pub(crate) activity_log_id: Option<String>,
}

impl Incident {
    /// Enters a status and fills the timestamps that belong to it.
    pub(crate) fn enter(&mut self, stage: Stage, at: DateTime<Utc>) {
        let accepted = self.stage == Stage::Triage && stage.category() == "live";
        self.stage = stage;
        if accepted {
            self.stamps.fill(Stamp::Accepted, at);
        }
        match stage {
            Stage::Triage | Stage::Investigating | Stage::Paused => {}
            Stage::Fixing => self.stamps.fill(Stamp::Identified, at),
            Stage::Monitoring => self.stamps.fill(Stamp::Fixed, at),
            Stage::Documenting => self.stamps.fill(Stamp::Resolved, at),
            Stage::Reviewing => {
                self.stamps.fill(Stamp::Resolved, at);
                self.stamps.fill(Stamp::Documented, at);
            }
            Stage::Closed => {
                self.stamps.fill(Stamp::Resolved, at);
                self.stamps.fill(Stamp::Closed, at);
            }
            Stage::Declined => self.stamps.fill(Stamp::Declined, at),
            Stage::Merged => self.stamps.fill(Stamp::Merged, at),
            Stage::Canceled => self.stamps.fill(Stamp::Canceled, at),
        }
    }
}
