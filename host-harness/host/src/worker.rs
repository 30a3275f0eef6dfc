//! The inbox's worker: hands stored deliveries to the plugin, and decides what a failure means.
//!
//! A failure that may pass is tried again with growing waits; one that will not, or that went on for too long,
//! is set aside, where the store's port lists and replays it. Nothing is dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::call::Slot;
use crate::contract::{GuestError, Outcome, StorageError, Timestamp};
use crate::host::{Host, HostError};
use crate::id::OrgId;
use crate::port::{Hands, LONGEST_RETRY, Lease, LeasedDelivery, Store, StoreError};
use crate::scheduler::{backoff, later};

/// How long the deliveries of a killed worker wait for the next; two renewals may fail before.
const LEASE: Duration = Duration::from_secs(30);
/// How often the leases of what is in hand are renewed.
const BEAT: Duration = Duration::from_secs(10);
/// With the waits of [`backoff`], about four hours.
const MOST_ATTEMPTS: u32 = 20;
/// How long free hands may wait for more of them, so that one claim serves many.
const FILL_AFTER: Duration = Duration::from_millis(5);
/// Deliveries that are applied at a time while webhooks wait at the door.
const PRESSED: u32 = 16;
/// What has been applied for so long waits for something.
const SLOW: Duration = Duration::from_secs(1);
/// How long an instance waits for another delivery of its organisation, before the next look at those that wait.
const IDLE: Duration = Duration::from_secs(1);
/// How long to wait after what deliveries led to could not be noted.
const NOTE_AGAIN: Duration = Duration::from_secs(1);
/// How long an idle worker sleeps at most, so that retries and other processes' deliveries are seen.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Applies stored deliveries.
#[derive(Debug, Clone)]
pub struct InboxWorker {
    host: Host,
}

/// What a failed attempt leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Retry,
    Bury,
    /// Another worker has it, or had it done.
    Leave,
}

/// One that is done, and what it led to.
type Ended = (Lease, String);

/// How an attempt ended: what is to be noted of it, and the instance, if it can be kept.
type Attempt = (Result<Option<Ended>, StoreError>, Option<Slot>);

/// Instances that an organisation's next delivery is applied in, the one that has waited for longest first: with a fresh
/// one for each, fewer are applied.
#[derive(Default)]
struct Kept(VecDeque<(Instant, Slot)>);

impl Kept {
    fn put(&mut self, slot: Slot) {
        self.0.push_back((Instant::now(), slot));
    }

    fn take(&mut self, org: &OrgId) -> Option<Slot> {
        let place = self.0.iter().rposition(|(_, slot)| slot.org() == Some(org))?;
        self.0.remove(place).map(|(_, slot)| slot)
    }

    /// Takes out all but so many, those that have waited for longest.
    fn shrink(&mut self, most: usize) -> Vec<(Instant, Slot)> {
        let over = self.0.len().saturating_sub(most);
        self.0.drain(..over).collect()
    }

    /// When the next has waited for long enough.
    fn over_at(&self) -> Option<Instant> {
        self.0.front().map(|(since, _)| *since + IDLE)
    }

    /// Those that have waited for long enough go.
    fn sweep(&mut self) {
        let now = Instant::now();
        self.0.retain(|(since, _)| now.duration_since(*since) < IDLE);
    }
}

/// What a worker has in hand.
struct InHand {
    applying: JoinSet<Attempt>,
    kept: Kept,
    /// What those led to that are done, as long as that is not being noted. One write notes many.
    ended: Vec<Ended>,
    noting: JoinSet<Result<u64, StoreError>>,
    /// What is being noted; its leases are still held.
    noted: Vec<Ended>,
    /// When the next may be noted, after one could not.
    note_at: Instant,
    leases: HashMap<Id, Held>,
    /// Deliveries of incidents that one is being applied of: two at a time would get in each other's way.
    lines: HashMap<Line, VecDeque<LeasedDelivery>>,
    busy: HashMap<OrgId, u32>,
    renew_at: Instant,
    renewing: JoinSet<()>,
}

/// One that is being applied.
struct Held {
    lease: Lease,
    line: Option<Line>,
    since: Instant,
}

/// The slots that this work may have: a quarter is for other calls.
fn own(slots: u32) -> u32 {
    slots.saturating_sub(slots.div_ceil(4))
}

/// Deliveries that are applied at a time.
fn most(slots: u32, pressed: bool) -> u32 {
    let most = own(slots).max(1);
    if pressed { most.min(PRESSED) } else { most }
}

/// Instances that may wait beside so many that are at work.
fn room(slots: u32, applying: u32) -> usize {
    usize::try_from(own(slots).saturating_sub(applying)).unwrap_or(usize::MAX)
}

/// Deliveries of one incident.
type Line = (OrgId, String);

impl InHand {
    fn new() -> InHand {
        InHand {
            applying: JoinSet::new(),
            kept: Kept::default(),
            ended: Vec::new(),
            noting: JoinSet::new(),
            noted: Vec::new(),
            note_at: Instant::now(),
            leases: HashMap::new(),
            lines: HashMap::new(),
            busy: HashMap::new(),
            renew_at: Instant::now() + BEAT,
            renewing: JoinSet::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.applying.is_empty() && self.noting.is_empty() && self.ended.is_empty()
    }

    /// Has what ended noted, unless that is being done: what ends meanwhile goes with the next write.
    fn note(&mut self, worker: &InboxWorker) {
        if self.ended.is_empty() || !self.noting.is_empty() || Instant::now() < self.note_at {
            return;
        }
        self.noted = std::mem::take(&mut self.ended);
        let (worker, ended) = (worker.clone(), self.noted.clone());
        self.noting.spawn(async move {
            let (store, now) = (worker.host.store(), worker.host.clock().now());
            store.finish(ended, now).await
        });
    }

    /// Lets the leases of what is in hand run from now. A task of its own, because whoever waits for the next that ends
    /// is cut off often: a renewal that waits for room among the writes would go with it, under the very load that
    /// makes it wait.
    fn renew(&mut self, store: &Arc<dyn Store>, now: Timestamp) {
        self.renew_at = Instant::now() + BEAT;
        while self.renewing.try_join_next().is_some() {}
        let (store, held) = (Arc::clone(store), self.held());
        self.renewing.spawn(async move {
            if let Err(error) = store.renew(held, LEASE, now).await {
                tracing::warn!("the leases of deliveries in hand were not renewed: {error}");
            }
        });
    }

    /// Most hands wait, for a commit or for the provider. A quarter of the slots is left for other calls, and one
    /// organisation gets a quarter at most: a slow provider holds up its own deliveries only.
    ///
    /// While webhooks wait at the door, few are applied: an answer that comes late is sent again and counts against
    /// the endpoint, and what waits in the inbox does neither. Those that have taken long wait for a provider; they use
    /// nothing that the door needs, and the others do not wait for them.
    ///
    /// Those that wait for one of their incident are in hand and need no hand yet; nothing more is taken of an incident
    /// whose delivery has taken long.
    fn hands(&self, slots: u32, pressed: bool) -> Hands {
        let in_hand: u32 = self.busy.values().sum();
        let free = most(slots, false).saturating_sub(self.applying());
        let free = free.min(most(slots, false).saturating_mul(4).saturating_sub(in_hand));
        let free = if pressed { free.min(most(slots, true).saturating_sub(self.brisk())) } else { free };
        let (each, busy) = (slots.div_ceil(4), self.busy.clone());
        let mut slow: HashMap<OrgId, Vec<String>> = HashMap::new();
        for (org, incident) in self.slow_lines() {
            slow.entry(org).or_default().push(incident);
        }
        Hands { free, each, attempts: MOST_ATTEMPTS, busy, slow }
    }

    fn applying(&self) -> u32 {
        u32::try_from(self.leases.len()).unwrap_or(u32::MAX)
    }

    /// Incidents whose delivery has taken long.
    fn slow_lines(&self) -> Vec<Line> {
        let now = Instant::now();
        let slow = self.leases.values().filter(|held| now.duration_since(held.since) >= SLOW);
        slow.filter_map(|held| held.line.clone()).collect()
    }

    /// Leases of what waits for those: nobody knows how long, and others of its organisation can be applied meanwhile.
    fn let_go(&mut self) -> Vec<Lease> {
        let mut back = Vec::new();
        for line in self.slow_lines() {
            let waiting = self.lines.get_mut(&line).map(std::mem::take).unwrap_or_default();
            if let Some(held) = self.busy.get_mut(&line.0) {
                *held = held.saturating_sub(u32::try_from(waiting.len()).unwrap_or(u32::MAX));
            }
            back.extend(waiting.into_iter().map(|delivery| delivery.lease));
        }
        back
    }

    fn brisk(&self) -> u32 {
        let now = Instant::now();
        let brisk = self.leases.values().filter(|held| now.duration_since(held.since) < SLOW).count();
        u32::try_from(brisk).unwrap_or(u32::MAX)
    }

    fn take(&mut self, worker: &InboxWorker, delivery: LeasedDelivery) {
        let held = self.busy.entry(delivery.lease.org.clone()).or_default();
        *held = held.saturating_add(1);
        let line = delivery.incident.clone().map(|incident| (delivery.lease.org.clone(), incident));
        match line.as_ref().and_then(|line| self.lines.get_mut(line)) {
            Some(waiting) => waiting.push_back(delivery),
            None => {
                if let Some(line) = &line {
                    self.lines.insert(line.clone(), VecDeque::new());
                }
                self.begin(worker, delivery, line);
            }
        }
    }

    fn begin(&mut self, worker: &InboxWorker, delivery: LeasedDelivery, line: Option<Line>) {
        let (worker, lease) = (worker.clone(), delivery.lease.clone());
        let kept = self.kept.take(&lease.org);
        let room = room(worker.host.slots(), self.applying().saturating_add(1));
        let spent = self.kept.shrink(room);
        let task = self.applying.spawn(async move {
            // Its memory is wiped here, where others do not wait for it.
            drop(spent);
            worker.apply(&delivery, kept).await
        });
        self.leases.insert(task.id(), Held { lease, line, since: Instant::now() });
    }

    /// The next that ends, if anything is in hand; what waited for it begins.
    async fn next(&mut self, worker: &InboxWorker) -> Option<Result<(), StoreError>> {
        let ended = loop {
            if self.is_empty() {
                return None;
            }
            tokio::select! {
                Some(ended) = self.applying.join_next_with_id() => break ended,
                Some(noted) = self.noting.join_next() => {
                    let again = std::mem::take(&mut self.noted);
                    // One that was cut off has not said anything; its deliveries are applied again.
                    let noted = noted.unwrap_or(Ok(0));
                    if noted.is_err() {
                        self.note_at = Instant::now() + NOTE_AGAIN;
                        self.ended.splice(..0, again);
                    }
                    self.note(worker);
                    return Some(noted.map(drop));
                }
                () = tokio::time::sleep_until(self.note_at), if self.noting.is_empty() && !self.ended.is_empty() => {
                    self.note(worker);
                }
                () = tokio::time::sleep_until(self.kept.over_at().unwrap_or(self.renew_at)) => self.kept.sweep(),
                () = tokio::time::sleep_until(self.renew_at) => {
                    self.renew(worker.host.store(), worker.host.clock().now());
                }
            }
        };
        let (id, result, slot) = match ended {
            Ok((id, (Ok(ended), slot))) => {
                self.ended.extend(ended);
                self.note(worker);
                (id, Ok(()), slot)
            }
            Ok((id, (Err(error), slot))) => (id, Err(error), slot),
            // Its lease runs out.
            Err(error) => (error.id(), Ok(()), None),
        };
        if let Some(Held { lease, line, .. }) = self.leases.remove(&id) {
            if let Some(slot) = slot
                && self.kept.0.len() < room(worker.host.slots(), self.applying())
            {
                self.kept.put(slot);
            }
            if let Some(held) = self.busy.get_mut(&lease.org) {
                *held = held.saturating_sub(1);
            }
            self.busy.retain(|_, held| *held > 0);
            if let Some(line) = line {
                match self.lines.get_mut(&line).and_then(VecDeque::pop_front) {
                    Some(delivery) => self.begin(worker, delivery, Some(line)),
                    None => drop(self.lines.remove(&line)),
                }
            }
        }
        Some(result)
    }

    /// Whether there are hands free for a good many.
    fn is_low(&self, slots: u32, pressed: bool) -> bool {
        let busy = if pressed { self.brisk() } else { self.applying() };
        busy < most(slots, pressed).div_ceil(3)
    }

    fn held(&self) -> Vec<Lease> {
        let waiting = self.lines.values().flatten().map(|delivery| &delivery.lease);
        let ended = self.ended.iter().chain(&self.noted).map(|(lease, _)| lease);
        self.leases.values().map(|held| &held.lease).chain(waiting).chain(ended).cloned().collect()
    }

    /// Lets what is being applied end within the grace, and answers the leases of the rest.
    async fn end(mut self, worker: &InboxWorker, grace: Duration) -> Vec<Lease> {
        self.kept = Kept::default();
        let waiting = self.lines.drain().flat_map(|(_, waiting)| waiting);
        let mut unfinished: Vec<Lease> = waiting.map(|delivery| delivery.lease).collect();
        let ending = async {
            while let Some(ended) = self.next(worker).await {
                complain(ended);
            }
        };
        if tokio::time::timeout(grace, ending).await.is_err() {
            self.applying.shutdown().await;
        }
        unfinished.extend(self.leases.into_values().map(|held| held.lease));
        // What is done is not given back by that; what was only ignored is looked at again.
        unfinished.extend(self.ended.into_iter().chain(self.noted).map(|(lease, _)| lease));
        unfinished
    }
}

fn complain(ended: Result<(), StoreError>) {
    if let Err(error) = ended {
        tracing::warn!("how a delivery ended cannot be noted: {error}");
    }
}

impl InboxWorker {
    /// A worker for this host's inbox.
    pub fn new(host: Host) -> InboxWorker {
        InboxWorker { host }
    }

    /// Works until `stop`. What is being applied then may end within the grace; the rest is given back, so that
    /// another process finds it due. After a kill it is due when its lease runs out.
    pub async fn run(&self, stop: impl Future<Output = ()>, grace: Duration) {
        let mut stop = std::pin::pin!(stop);
        let mut in_hand = InHand::new();
        let mut filled_at = Instant::now();
        loop {
            // A claim is a write: of several deliveries where that is possible, of one where nothing else is to do.
            let waits = FILL_AFTER.saturating_sub(filled_at.elapsed());
            if in_hand.is_low(self.host.slots(), self.host.is_pressed()) || waits.is_zero() {
                filled_at = Instant::now();
                match self.fill(&mut in_hand).await {
                    Ok(0) => {}
                    Ok(_) => continue,
                    Err(error) => tracing::warn!("the inbox cannot be worked on: {error}"),
                }
            }
            // One that takes long must not keep the others waiting.
            tokio::select! {
                biased;
                () = stop.as_mut() => break,
                Some(ended) = in_hand.next(self) => complain(ended),
                () = self.host.arrivals().notified(), if waits.is_zero() => {}
                () = tokio::time::sleep(if waits.is_zero() { LOOK_AGAIN } else { waits }) => {}
            }
        }
        let unfinished = in_hand.end(self, grace).await;
        if !unfinished.is_empty()
            && let Err(error) = self.host.store().give_back(unfinished).await
        {
            tracing::warn!("deliveries in hand were not given back and are due in half a minute: {error}");
        }
    }

    /// Applies everything that is due now, and answers how many attempts that were.
    pub async fn drain(&self) -> Result<u64, StoreError> {
        let mut in_hand = InHand::new();
        let mut attempts = 0;
        loop {
            attempts += self.fill(&mut in_hand).await?;
            match in_hand.next(self).await {
                None => return Ok(attempts),
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    let back = in_hand.end(self, Duration::ZERO).await;
                    self.host.store().give_back(back).await?;
                    return Err(error);
                }
            }
        }
    }

    /// Takes on as many due deliveries as there are hands free.
    async fn fill(&self, in_hand: &mut InHand) -> Result<u64, StoreError> {
        in_hand.kept.sweep();
        let back = in_hand.let_go();
        if !back.is_empty() {
            self.host.store().give_back(back).await?;
        }
        let hands = in_hand.hands(self.host.slots(), self.host.is_pressed());
        if hands.free == 0 {
            return Ok(0);
        }
        let claimed = self.host.store().claim(hands, LEASE, self.host.clock().now()).await?;
        let taken = claimed.len() as u64;
        for delivery in claimed {
            in_hand.take(self, delivery);
        }
        Ok(taken)
    }

    /// Works until no delivery waits, those of other workers and those that are to be tried later included.
    pub async fn settle(&self) -> Result<(), StoreError> {
        loop {
            self.drain().await?;
            if self.host.store().depth().await?.pending == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// One attempt. If it failed, it is noted what becomes of the delivery.
    async fn apply(&self, delivery: &LeasedDelivery, kept: Option<Slot>) -> Attempt {
        let lease = &delivery.lease;
        match self.host.apply(lease, &delivery.delivery, kept).await {
            Ok((outcome, slot)) => {
                let outcome = describe(&outcome);
                tracing::debug!(org = %lease.org, delivery = %lease.delivery, %outcome, "applied");
                (Ok(Some((lease.clone(), outcome))), slot)
            }
            Err(error) => (self.failed(delivery, &error).await.map(|()| None), None),
        }
    }

    /// Notes what becomes of one that could not be applied.
    async fn failed(&self, delivery: &LeasedDelivery, error: &HostError) -> Result<(), StoreError> {
        let (lease, text) = (&delivery.lease, error.to_string());
        let (store, now) = (self.host.store(), self.host.clock().now());
        let verdict = judge(error, delivery.attempt);
        tracing::warn!(org = %lease.org, delivery = %lease.delivery, attempt = delivery.attempt, ?verdict, "{text}");
        let noted = match verdict {
            Verdict::Retry => {
                // However short the provider's own wait is: the attempts are to last for hours.
                let asked = match error {
                    HostError::Plugin(GuestError::RateLimited(ms)) => Duration::from_millis(*ms),
                    _ => Duration::ZERO,
                };
                let wait = backoff(delivery.attempt.saturating_sub(1), fastrand::f64()).max(asked);
                store.retry(lease, &text, later(now, wait.min(LONGEST_RETRY))).await
            }
            Verdict::Bury => store.bury(lease, &text, now).await,
            Verdict::Leave => Ok(()),
        };
        match noted {
            Err(StoreError::Conflict) => Ok(()),
            noted => noted,
        }
    }
}

fn judge(error: &HostError, attempt: u32) -> Verdict {
    match error {
        // It went with its organisation.
        HostError::UnknownOrganisation(_) | HostError::Store(StoreError::Conflict) => Verdict::Leave,
        // It arrived, or was made due again, while the organisation was being disconnected.
        HostError::Disconnected(_)
        | HostError::Plugin(
            GuestError::Malformed(_) | GuestError::Invalid(_) | GuestError::Storage(StorageError::Invalid(_)),
        ) => Verdict::Bury,
        _ if attempt >= MOST_ATTEMPTS => Verdict::Bury,
        _ => Verdict::Retry,
    }
}

/// An outcome as a person reads it.
pub fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Created => "created".into(),
        Outcome::Updated => "updated".into(),
        Outcome::Resolved => "resolved".into(),
        Outcome::Unchanged => "unchanged".into(),
        Outcome::Stale => "stale".into(),
        Outcome::Ignored(why) => format!("ignored: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Delivery, Settings};
    use crate::port::{NewDelivery, Organisation, OrganisationState};
    use crate::sqlite::SqliteStore;

    #[test]
    fn arrivals_come_before_what_waits_and_some_of_that_is_applied_all_the_same() {
        let in_hand = InHand::new();
        assert_eq!(in_hand.hands(160, false).free, 120);
        assert_eq!(in_hand.hands(160, true).free, PRESSED);
        // A host with one slot works too.
        assert_eq!((in_hand.hands(1, false).free, in_hand.hands(1, true).free), (1, 1));
    }

    /// Four that wait for a provider must not be all that is applied while webhooks wait at the door.
    #[tokio::test]
    async fn what_waits_for_a_provider_keeps_no_hand_from_the_others() {
        let mut in_hand = InHand::new();
        for number in 0..PRESSED {
            let task = in_hand.applying.spawn(std::future::pending());
            let org: OrgId = "slow".parse().unwrap();
            *in_hand.busy.entry(org.clone()).or_default() += 1;
            let delivery = format!("msg_{number}").parse().unwrap();
            let lease = Lease { org, delivery, token: 1 };
            in_hand.leases.insert(task.id(), Held { lease, line: None, since: Instant::now() });
        }
        assert_eq!(in_hand.hands(160, true).free, 0, "they may be at work");
        for held in in_hand.leases.values_mut() {
            held.since = Instant::now().checked_sub(SLOW).unwrap();
        }
        assert_eq!(in_hand.hands(160, true).free, PRESSED);
        assert!(in_hand.is_low(160, true));
        assert_eq!(in_hand.hands(160, false).free, 120 - PRESSED);
    }

    /// The writes that wait for the database are bounded; under load a renewal waits until there is room.
    #[tokio::test]
    async fn a_renewal_is_not_lost_when_who_waits_for_the_next_delivery_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let sqlite = Arc::new(SqliteStore::open(directory.path().join("koalr.db")).unwrap());
        let store: Arc<dyn Store> = sqlite;
        let acme: OrgId = "acme".parse().unwrap();
        let organisation = Organisation {
            id: acme.clone(),
            state: OrganisationState::Live,
            plugin: "incidentio".into(),
            connection: None,
            settings: Settings::default(),
            origin_map: Vec::new(),
            created_at: 0,
            connected_at: None,
        };
        store.put_organisation(&organisation).await.unwrap();
        let new = NewDelivery {
            id: "msg_1".parse().unwrap(),
            event_type: "incident.updated".into(),
            incident: None,
            received_at: 0,
            delivery: Delivery { headers: Vec::new(), body: b"{}".to_vec() },
        };
        store.accept(&acme, new).await.unwrap();
        let hands = || Hands { free: 1, each: 1, attempts: 9, ..Hands::default() };
        let held = store.claim(hands(), LEASE, 0).await.unwrap().pop().unwrap();
        let mut in_hand = InHand::new();
        let task = in_hand.applying.spawn(std::future::pending());
        in_hand.leases.insert(task.id(), Held { lease: held.lease, line: None, since: Instant::now() });

        // Another process holds the lock, and more writes wait than the queue takes.
        let other = rusqlite::Connection::open(directory.path().join("koalr.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut waiting = JoinSet::new();
        for _ in 0..2_000 {
            let store = Arc::clone(&store);
            waiting.spawn(async move { store.renew(Vec::new(), LEASE, 0).await });
        }
        tokio::task::yield_now().await;
        let a_moment_before_it_ends = 29_000_000;
        in_hand.renew(&store, a_moment_before_it_ends);
        // Who waited for the next delivery is cut off here, and does something else.
        assert!(in_hand.renewing.try_join_next().is_none(), "it waits for room");
        other.execute_batch("ROLLBACK").unwrap();
        assert!(waiting.join_all().await.iter().all(Result::is_ok));
        in_hand.renewing.join_next().await.unwrap().unwrap();
        let when_the_first_would_have_ended = 31_000_000;
        let claimed = store.claim(hands(), LEASE, when_the_first_would_have_ended).await.unwrap();
        assert!(claimed.is_empty(), "the lease was not renewed");
    }

    #[test]
    fn what_waits_leaves_a_quarter_of_the_slots_to_other_calls() {
        assert_eq!([room(160, 0), room(160, 16), room(160, 120), room(160, 130)], [120, 104, 0, 0]);
        // Of one slot nothing is kept.
        assert_eq!([room(1, 0), room(2, 0), room(2, 1)], [0, 1, 0]);
    }

    #[test]
    fn only_what_cannot_pass_is_set_aside_at_once() {
        let plugin = HostError::Plugin;
        for (error, attempt, verdict) in [
            (plugin(GuestError::Unavailable("503".into())), 1, Verdict::Retry),
            (plugin(GuestError::Unauthorized("401".into())), 1, Verdict::Retry),
            (plugin(GuestError::RateLimited(9)), 3, Verdict::Retry),
            (plugin(GuestError::Unavailable("503".into())), MOST_ATTEMPTS, Verdict::Bury),
            (plugin(GuestError::Malformed("no JSON".into())), 1, Verdict::Bury),
            (plugin(GuestError::Storage(StorageError::Unavailable("busy".into()))), 1, Verdict::Retry),
            (plugin(GuestError::Storage(StorageError::QuotaExceeded("full".into()))), 1, Verdict::Retry),
            (plugin(GuestError::Storage(StorageError::Conflict)), 1, Verdict::Retry),
            (plugin(GuestError::Storage(StorageError::Invalid("no such".into()))), 1, Verdict::Bury),
            (HostError::Store(StoreError::Conflict), 1, Verdict::Leave),
            (HostError::Disconnected("acme".parse().unwrap()), 1, Verdict::Bury),
        ] {
            assert_eq!(judge(&error, attempt), verdict, "{error}");
        }
    }
}
