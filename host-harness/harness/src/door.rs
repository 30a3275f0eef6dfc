//! What keeps a flood of webhooks from becoming memory, reads of the database, or somebody else's wait.
//!
//! A request passes, in this order: a bound on requests in hand ([`Door::enter`]); a look into memory for its
//! organisation's name ([`Names`]); the allowance of its organisation ([`Door::admit`]). A name that is not in memory is
//! looked up at the expense of one allowance that all such names share, so that neither names nor look-ups are without
//! bound, and none of it is paid for by an organisation that is connected.
//!
//! All of it lives in this process. Several processes behind one address each grant their own share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use koalr_host::id::OrgId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests in hand at a time. With bodies of half a megabyte at most, this bounds what they hold.
const IN_HAND: usize = 1_024;
/// The same of one organisation: who sends slowly in its name holds up nobody else.
const EACH: u32 = 256;
/// Webhooks of one organisation in a second. The sender's own accounts make a few in a minute.
const RATE: f64 = 1_000.0;
/// How many may come at once after a silence.
const BURST: f64 = 20_000.0;
/// Buckets that are kept. One that is full again says nothing, and goes first.
const BUCKETS: usize = 65_536;
/// How long a name is taken for what it was found to be. What another process connects or disconnects is seen then.
const LIFE: Duration = Duration::from_secs(1);
/// Names that are kept of organisations that are connected, and of those that are not.
const CONNECTED: usize = 262_144;
const UNKNOWN: usize = 65_536;

/// Why a request is not let in, and how long its sender should wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// 429: its organisation sends too much.
    TooMany(Duration),
    /// 503: there are too many altogether.
    Crowded(Duration),
}

pub(crate) struct Door {
    in_hand: Arc<Semaphore>,
    buckets: Arc<Mutex<Buckets>>,
}

#[derive(Default)]
struct Buckets {
    of: HashMap<Option<OrgId>, Bucket>,
    /// When those that say nothing were dropped last: a full map is not gone through for each request.
    swept: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
    inside: u32,
}

const CROWDED: Turned = Turned::Crowded(Duration::from_secs(1));

/// Being let in, until it is dropped.
pub(crate) struct Inside {
    buckets: Arc<Mutex<Buckets>>,
    org: Option<OrgId>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.of.get_mut(&self.org) {
            bucket.inside = bucket.inside.saturating_sub(1);
        }
    }
}

impl Bucket {
    fn filled(self, now: Instant) -> Bucket {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        Bucket { tokens: (self.tokens + since * RATE).min(BURST), at: now, inside: self.inside }
    }
}

impl Door {
    pub(crate) fn new() -> Door {
        Door { in_hand: Arc::new(Semaphore::new(IN_HAND)), buckets: Arc::default() }
    }

    /// Counts a request among those in hand, for as long as the permit lives.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, Turned> {
        Arc::clone(&self.in_hand).try_acquire_owned().map_err(|_| CROWDED)
    }

    /// Lets a request of this organisation in, for as long as the answer lives. All those in names that nobody connected
    /// are one's.
    pub(crate) fn admit(&self, org: Option<&OrgId>, now: Instant) -> Result<Inside, Turned> {
        let org = org.cloned();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.of.len() >= BUCKETS && !buckets.of.contains_key(&org) {
            if buckets.swept.is_none_or(|at| now.saturating_duration_since(at) >= LIFE) {
                buckets.of.retain(|_, bucket| bucket.inside > 0 || bucket.filled(now).tokens < BURST);
                buckets.swept = Some(now);
            }
            if buckets.of.len() >= BUCKETS {
                return Err(CROWDED);
            }
        }
        let fresh = Bucket { tokens: BURST, at: now, inside: 0 };
        let bucket = buckets.of.entry(org.clone()).or_insert(fresh);
        *bucket = bucket.filled(now);
        if bucket.inside >= EACH {
            return Err(CROWDED);
        }
        if bucket.tokens < 1.0 {
            // At least the second that the header can say.
            let wait = Duration::from_secs_f64((1.0 - bucket.tokens) / RATE).max(Duration::from_secs(1));
            return Err(Turned::TooMany(wait));
        }
        bucket.tokens -= 1.0;
        bucket.inside += 1;
        Ok(Inside { buckets: Arc::clone(&self.buckets), org })
    }
}

/// What memory holds of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// It is an organisation's that is connected.
    Connected,
    /// It was a while ago.
    WasConnected,
    /// It is nobody's.
    Unknown,
    /// Nothing.
    Nothing,
}

/// Names that were looked up lately. Those of connected organisations are kept apart, so that no number of invented ones
/// drives them out.
#[derive(Default)]
pub(crate) struct Names {
    connected: Mutex<Noted>,
    unknown: Mutex<Noted>,
}

/// Names with when they were looked up.
#[derive(Default)]
struct Noted {
    at: HashMap<OrgId, Instant>,
    /// When what is over was dropped last: a full map is not gone through for each name.
    swept: Option<Instant>,
}

impl Noted {
    fn note(&mut self, org: &OrgId, most: usize, now: Instant) {
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= LIFE;
        if self.at.len() >= most && self.swept.as_ref().is_none_or(is_over) {
            self.at.retain(|_, at| !is_over(at));
            self.swept = Some(now);
        }
        if self.at.len() < most || self.at.contains_key(org) {
            self.at.insert(org.clone(), now);
        }
    }
}

impl Names {
    pub(crate) fn recall(&self, org: &OrgId, now: Instant) -> Remembered {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < LIFE;
        if let Some(at) = lock(&self.connected).at.get(org) {
            return if fresh(at) { Remembered::Connected } else { Remembered::WasConnected };
        }
        match lock(&self.unknown).at.get(org).is_some_and(fresh) {
            true => Remembered::Unknown,
            false => Remembered::Nothing,
        }
    }

    pub(crate) fn note(&self, org: &OrgId, connected: bool, now: Instant) {
        let (place, other, most) = match connected {
            true => (&self.connected, &self.unknown, CONNECTED),
            false => (&self.unknown, &self.connected, UNKNOWN),
        };
        lock(other).at.remove(org);
        lock(place).note(org, most, now);
    }

    /// Has the next request in this name look it up again.
    pub(crate) fn forget(&self, org: &OrgId) {
        lock(&self.connected).at.remove(org);
    }
}

fn lock(names: &Mutex<Noted>) -> std::sync::MutexGuard<'_, Noted> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(number: usize) -> OrgId {
        format!("org-{number}").parse().unwrap()
    }

    #[test]
    fn an_organisation_that_floods_is_told_to_wait_and_others_are_not() {
        let (door, start) = (Door::new(), Instant::now());
        let let_in = (0..30_000).filter(|_| door.admit(Some(&org(1)), start).is_ok()).count();
        assert_eq!(let_in, 20_000);
        assert_eq!(door.admit(Some(&org(1)), start).err(), Some(Turned::TooMany(Duration::from_secs(1))));
        assert!(door.admit(Some(&org(2)), start).is_ok());
        let later = start + Duration::from_secs(2);
        let let_in = (0..30_000).filter(|_| door.admit(Some(&org(1)), later).is_ok()).count();
        assert_eq!(let_in, 2_000);
    }

    #[test]
    fn requests_in_hand_are_bounded() {
        let door = Door::new();
        let held: Vec<_> = (0..IN_HAND).map(|_| door.enter().unwrap()).collect();
        assert_eq!(door.enter().err(), Some(Turned::Crowded(Duration::from_secs(1))));
        drop(held);
        assert!(door.enter().is_ok());
    }

    #[test]
    fn names_that_nobody_connected_share_one_allowance() {
        let (door, now) = (Door::new(), Instant::now());
        let held: Vec<_> = (0..EACH).map(|_| door.admit(None, now).unwrap()).collect();
        assert_eq!(door.admit(None, now).err(), Some(Turned::Crowded(Duration::from_secs(1))));
        assert!(door.admit(Some(&org(1)), now).is_ok());
        drop(held);
        assert!(door.admit(None, now).is_ok());
    }

    #[test]
    fn who_sends_slowly_in_ones_name_holds_up_that_one_only() {
        let (door, now) = (Door::new(), Instant::now());
        let mut held: Vec<_> = (0..EACH).map(|_| door.admit(Some(&org(1)), now).unwrap()).collect();
        assert_eq!(door.admit(Some(&org(1)), now).err(), Some(Turned::Crowded(Duration::from_secs(1))));
        assert!(door.admit(Some(&org(2)), now).is_ok());
        held.pop();
        assert!(door.admit(Some(&org(1)), now).is_ok());
    }

    #[test]
    fn names_without_end_do_not_become_memory() {
        let (door, start) = (Door::new(), Instant::now());
        for number in 0..BUCKETS {
            drop(door.admit(Some(&org(number)), start).unwrap());
        }
        assert!(door.admit(Some(&org(BUCKETS)), start).is_err());
        assert!(door.admit(Some(&org(BUCKETS)), start + Duration::from_secs(1)).is_ok());
        assert_eq!(door.buckets.lock().unwrap().of.len(), 1);
    }

    #[test]
    fn a_name_is_remembered_for_its_time_whether_it_is_known_or_not() {
        let (names, start) = (Names::default(), Instant::now());
        assert_eq!(names.recall(&org(1), start), Remembered::Nothing);
        names.note(&org(1), true, start);
        names.note(&org(2), false, start);
        assert_eq!(names.recall(&org(1), start), Remembered::Connected);
        assert_eq!(names.recall(&org(2), start), Remembered::Unknown);
        assert_eq!(names.recall(&org(1), start + LIFE), Remembered::WasConnected);
        assert_eq!(names.recall(&org(2), start + LIFE), Remembered::Nothing);
        names.note(&org(1), false, start + LIFE);
        assert_eq!(names.recall(&org(1), start + LIFE), Remembered::Unknown, "it was disconnected");
    }

    #[test]
    fn invented_names_do_not_become_memory_and_drive_out_no_connected_one() {
        let (names, start) = (Names::default(), Instant::now());
        names.note(&org(0), true, start);
        for number in 1..2 * UNKNOWN {
            names.note(&org(number), false, start);
        }
        assert_eq!(lock(&names.unknown).at.len(), UNKNOWN);
        assert_eq!(names.recall(&org(0), start + 100 * LIFE), Remembered::WasConnected);
        names.note(&org(1), false, start + LIFE);
        assert_eq!(lock(&names.unknown).at.len(), 1);
    }
}
