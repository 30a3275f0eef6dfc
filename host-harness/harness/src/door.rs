//! What keeps a flood of webhooks from becoming memory or somebody else's wait: a bound on requests in hand, and a
//! token bucket for each organisation.
//!
//! Both live in this process. Several processes behind one address each grant their own share.

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
    buckets: Arc<Mutex<HashMap<Option<OrgId>, Bucket>>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
    inside: u32,
}

/// Being let in, until it is dropped.
pub(crate) struct Inside {
    _permit: OwnedSemaphorePermit,
    buckets: Arc<Mutex<HashMap<Option<OrgId>, Bucket>>>,
    org: Option<OrgId>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&self.org) {
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

    /// Lets a request of this organisation in, for as long as the permit lives. All those in names that nobody
    /// connected are one's.
    pub(crate) fn enter(&self, org: Option<&OrgId>, now: Instant) -> Result<Inside, Turned> {
        let org = org.cloned();
        let crowded = Turned::Crowded(Duration::from_secs(1));
        let permit = Arc::clone(&self.in_hand).try_acquire_owned().map_err(|_| crowded)?;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&org) {
            buckets.retain(|_, bucket| bucket.inside > 0 || bucket.filled(now).tokens < BURST);
            if buckets.len() >= BUCKETS {
                return Err(crowded);
            }
        }
        let bucket = buckets.entry(org.clone()).or_insert(Bucket { tokens: BURST, at: now, inside: 0 });
        *bucket = bucket.filled(now);
        if bucket.inside >= EACH {
            return Err(crowded);
        }
        if bucket.tokens < 1.0 {
            // At least the second that the header can say.
            let wait = Duration::from_secs_f64((1.0 - bucket.tokens) / RATE).max(Duration::from_secs(1));
            return Err(Turned::TooMany(wait));
        }
        bucket.tokens -= 1.0;
        bucket.inside += 1;
        Ok(Inside { _permit: permit, buckets: Arc::clone(&self.buckets), org })
    }
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
        let let_in = (0..30_000).filter(|_| door.enter(Some(&org(1)), start).is_ok()).count();
        assert_eq!(let_in, 20_000);
        assert_eq!(door.enter(Some(&org(1)), start).err(), Some(Turned::TooMany(Duration::from_secs(1))));
        assert!(door.enter(Some(&org(2)), start).is_ok());
        let later = start + Duration::from_secs(2);
        let let_in = (0..30_000).filter(|_| door.enter(Some(&org(1)), later).is_ok()).count();
        assert_eq!(let_in, 2_000);
    }

    #[test]
    fn requests_in_hand_are_bounded() {
        let (door, now) = (Door::new(), Instant::now());
        let held: Vec<_> = (0..IN_HAND).map(|number| door.enter(Some(&org(number)), now).unwrap()).collect();
        let turned = door.enter(Some(&org(1)), now).err();
        assert_eq!(turned, Some(Turned::Crowded(Duration::from_secs(1))));
        drop(held);
        assert!(door.enter(Some(&org(1)), now).is_ok());
    }

    #[test]
    fn names_that_nobody_connected_share_one_allowance() {
        let (door, now) = (Door::new(), Instant::now());
        let held: Vec<_> = (0..EACH).map(|_| door.enter(None, now).unwrap()).collect();
        assert_eq!(door.enter(None, now).err(), Some(Turned::Crowded(Duration::from_secs(1))));
        assert!(door.enter(Some(&org(1)), now).is_ok());
        drop(held);
        assert!(door.enter(None, now).is_ok());
    }

    #[test]
    fn who_sends_slowly_in_ones_name_holds_up_that_one_only() {
        let (door, now) = (Door::new(), Instant::now());
        let mut held: Vec<_> = (0..EACH).map(|_| door.enter(Some(&org(1)), now).unwrap()).collect();
        assert_eq!(door.enter(Some(&org(1)), now).err(), Some(Turned::Crowded(Duration::from_secs(1))));
        assert!(door.enter(Some(&org(2)), now).is_ok());
        held.pop();
        assert!(door.enter(Some(&org(1)), now).is_ok());
    }

    #[test]
    fn names_without_end_do_not_become_memory() {
        let (door, start) = (Door::new(), Instant::now());
        for number in 0..BUCKETS {
            drop(door.enter(Some(&org(number)), start).unwrap());
        }
        assert!(door.enter(Some(&org(BUCKETS)), start).is_err());
        assert!(door.enter(Some(&org(BUCKETS)), start + Duration::from_secs(1)).is_ok());
        assert_eq!(door.buckets.lock().unwrap().len(), 1);
    }
}
