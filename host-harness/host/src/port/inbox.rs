//! The durable inbox: deliveries wait here between their acknowledgement and their effect.

use std::collections::HashMap;
use std::time::Duration;

use super::StoreError;
use crate::contract::{Delivery, Timestamp};
use crate::id::{DeliveryId, OrgId};

/// A verified delivery, about to be stored.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// The provider's message id.
    pub id: DeliveryId,
    /// The provider's event type.
    pub event_type: String,
    /// The provider's incident, if the delivery names one.
    pub incident: Option<String>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Headers and body as they arrived.
    pub delivery: Delivery,
}

/// What became of an offered delivery; but for the last, it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Stored now.
    New,
    /// Stored before: nothing to do.
    Duplicate,
    /// Stored before with another body, which stays as it is; its row says when that was.
    Altered,
    /// Not stored: its organisation is not connected any more.
    Unknown,
}

/// The right to work on one delivery until the lease runs out; the token fences off earlier holders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose delivery.
    pub org: OrgId,
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Changes with every claim.
    pub token: i64,
}

/// A delivery in a worker's hands.
#[derive(Debug, Clone)]
pub struct LeasedDelivery {
    /// The right to work on it.
    pub lease: Lease,
    /// This attempt, from 1.
    pub attempt: u32,
    /// For the log.
    pub event_type: String,
    /// The provider's incident, if the delivery names one.
    pub incident: Option<String>,
    /// Headers and body as they arrived.
    pub delivery: Delivery,
}

/// What a worker can take on.
#[derive(Debug, Clone, Default)]
pub struct Hands {
    /// Deliveries altogether.
    pub free: u32,
    /// Deliveries of one organisation, those in hand included: a slow one must not fill every hand.
    pub each: u32,
    /// What was tried so often is given up instead.
    pub attempts: u32,
    /// What is in hand already, by organisation.
    pub busy: HashMap<OrgId, u32>,
    /// Incidents of which nothing more is taken for now, by organisation.
    pub slow: HashMap<OrgId, Vec<String>>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Waits for a worker, or for its next attempt.
    Pending,
    /// Applied, or ignored for a reason.
    Done,
    /// Given up after the last attempt; a person can replay it.
    Dead,
}

/// A delivery as a person sees it; without headers and body.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRow {
    /// The provider's message id.
    pub id: DeliveryId,
    /// The provider's event type.
    pub event_type: String,
    /// The provider's incident.
    pub incident: Option<String>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// What it led to, once done.
    pub outcome: Option<String>,
    /// What the last failed attempt said.
    pub error: Option<String>,
    /// When it was done or given up.
    pub finished_at: Option<Timestamp>,
    /// When one of the same id came last with another body, which was not stored.
    pub altered_at: Option<Timestamp>,
    /// When a person last had it applied again.
    pub replayed_at: Option<Timestamp>,
}

/// Whatever a provider asks for, a failed delivery is due again within this time. What is due later was noted while the
/// clock was ahead, and is due now.
pub const LONGEST_RETRY: Duration = Duration::from_secs(3_600);

/// Deliveries of an organisation that were given up and are kept however old they are: what was never applied is not
/// forgotten for its age alone.
pub const KEPT_DEAD: u32 = 10_000;

/// How long deliveries are kept at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Those that were applied or ignored.
    pub done: Duration,
    /// Those that were given up.
    pub dead: Duration,
}

/// Which deliveries a list shows, newest arrival first.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only those in this state.
    pub state: Option<DeliveryState>,
    /// Only those that name this incident of the provider, among the organisation's newest twenty thousand.
    pub incident: Option<String>,
    /// At most so many; none for all.
    pub limit: Option<u32>,
    /// Skip so many.
    pub offset: u32,
}

/// How much waits, over all organisations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboxDepth {
    /// Deliveries not yet done.
    pub pending: u64,
    /// Deliveries given up.
    pub dead: u64,
}

/// The durable inbox.
#[async_trait::async_trait]
pub trait Inbox: Send + Sync {
    /// Stores a delivery unless one of the same organisation and id is stored; durable on return.
    async fn accept(&self, org: &OrgId, delivery: NewDelivery) -> Result<Accepted, StoreError>;
    /// Leases deliveries that are due, organisations taking turns, oldest first within one. A lease that has run
    /// out makes its delivery due again.
    async fn claim(
        &self,
        hands: Hands,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<LeasedDelivery>, StoreError>;
    /// Done, with what each led to. After a commit that completed a delivery this adds the outcome. Those whose lease
    /// was lost meanwhile are passed over; answers how many were not.
    async fn finish(&self, ended: Vec<(Lease, String)>, now: Timestamp) -> Result<u64, StoreError>;
    /// Failed; due again at `run_at`, [`LONGEST_RETRY`] from now at most.
    async fn retry(&self, lease: &Lease, error: &str, run_at: Timestamp) -> Result<(), StoreError>;
    /// Lets these leases run from now. Those lost meanwhile are passed over.
    async fn renew(&self, leases: Vec<Lease>, lease_for: Duration, now: Timestamp) -> Result<(), StoreError>;
    /// Not begun or cut off: due again at once, as if it had not been claimed. Leases lost meanwhile are passed over.
    async fn give_back(&self, leases: Vec<Lease>) -> Result<(), StoreError>;
    /// Failed for the last time.
    async fn bury(&self, lease: &Lease, error: &str, now: Timestamp) -> Result<(), StoreError>;
    /// Makes a dead or done delivery of a connected organisation due again, its attempts counted anew. False if there
    /// is none. The time is for people alone.
    async fn replay(&self, org: &OrgId, delivery: &DeliveryId, now: Timestamp) -> Result<bool, StoreError>;
    /// The same of everything of the organisation that was given up. Answers how many deliveries that are.
    async fn replay_dead(&self, org: &OrgId, now: Timestamp) -> Result<u64, StoreError>;
    /// A list for people.
    async fn deliveries(&self, org: &OrgId, filter: &DeliveryFilter) -> Result<Vec<DeliveryRow>, StoreError>;
    /// One delivery with its headers and body.
    async fn delivery(
        &self,
        org: &OrgId,
        delivery: &DeliveryId,
    ) -> Result<Option<(DeliveryRow, Delivery)>, StoreError>;
    /// Organisations of which so many deliveries wait, or more.
    async fn crowding(&self, most: u64) -> Result<Vec<OrgId>, StoreError>;
    /// Notes that time passes. The store counts the time since the last note, two hours of it at most, so that a clock
    /// that jumps makes nothing old; to be called every hour or so.
    async fn grow_older(&self, now: Timestamp) -> Result<(), StoreError>;
    /// Forgets old deliveries: one slice of them, those that arrived first, from the one after `after` (0 to begin). Old
    /// is what is so by the clock and by the time that the store has counted since. An organisation's last delivery
    /// stays, and so do the newest [`KEPT_DEAD`] that it gave up. Answers where to go on; none when there is nothing as
    /// old.
    async fn prune(&self, keep: Keep, now: Timestamp, after: i64) -> Result<Option<i64>, StoreError>;
    /// How much waits.
    async fn depth(&self) -> Result<InboxDepth, StoreError>;
}
