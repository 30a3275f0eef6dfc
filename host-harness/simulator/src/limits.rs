//! Token buckets as incident.io describes them: they refill continuously, and every answer to a known key
//! carries the allowance that is left.
//!
//! | request | buckets it draws from |
//! |---|---|
//! | `GET /v2/incidents` | the key's own (1,200 a minute) and the list's (60 a minute) |
//! | everything else | the key's own |
//!
//! The module is pure: the caller says what time it is. A refused request spends nothing, so a client that
//! waits for the time it was told is always admitted.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(60);

/// How many requests a minute one key may make. Both buckets start full, so a burst of that size passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// `GET /v2/incidents`; the recorded account allows 60.
    pub incident_list_per_minute: u32,
    /// Every request of the key; documented as 1,200.
    pub per_key_per_minute: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { incident_list_per_minute: 60, per_key_per_minute: 1_200 }
    }
}

/// Which buckets a request draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draw {
    /// The key's own bucket alone.
    Key,
    /// The key's bucket and the incident list's.
    IncidentList,
}

/// What one request was told about its allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// `X-RateLimit-Limit`: the binding quota, then every limit that applied with its window.
    pub(crate) limit_header: String,
    /// The quota of the bucket with the least left.
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until the binding bucket is full again.
    pub(crate) full_in: Duration,
    /// Set on a refusal: until one request will pass.
    pub(crate) retry_in: Option<Duration>,
}

/// The buckets of all keys.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: RateLimits,
    keys: HashMap<String, KeyBuckets>,
}

#[derive(Debug)]
struct KeyBuckets {
    key: Bucket,
    list: Bucket,
}

impl Limiter {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self { limits, keys: HashMap::new() }
    }

    /// Admits or refuses one request of `key` at `now`.
    pub(crate) fn admit(&mut self, key: &str, draw: Draw, now: Instant) -> Allowance {
        let limits = self.limits;
        let buckets = self.keys.entry(key.to_owned()).or_insert_with(|| KeyBuckets {
            key: Bucket::full(limits.per_key_per_minute, now),
            list: Bucket::full(limits.incident_list_per_minute, now),
        });
        buckets.key.refill(now);
        buckets.list.refill(now);
        let mut drawn: Vec<&mut Bucket> = match draw {
            Draw::Key => vec![&mut buckets.key],
            Draw::IncidentList => vec![&mut buckets.key, &mut buckets.list],
        };
        let retry_in = drawn.iter().map(|bucket| bucket.wait()).max().filter(|wait| !wait.is_zero());
        if retry_in.is_none() {
            drawn.iter_mut().for_each(|bucket| bucket.spend());
        }
        let windows: String =
            drawn.iter().map(|bucket| format!(", {};window={}", bucket.capacity, WINDOW.as_secs())).collect();
        let binding = drawn.iter().min_by_key(|bucket| bucket.remaining());
        let (limit, remaining, full_in) =
            binding.map_or((0, 0, WINDOW), |bucket| (bucket.capacity, bucket.remaining(), bucket.debt));
        Allowance { limit_header: format!("{limit}{windows}"), limit, remaining, full_in, retry_in }
    }
}

/// One bucket, kept as the time it still needs to be full. Counting time instead of tokens makes every number
/// exact: no fraction of a token is ever rounded.
#[derive(Debug)]
struct Bucket {
    capacity: u32,
    debt: Duration,
    as_of: Instant,
}

impl Bucket {
    fn full(capacity: u32, now: Instant) -> Self {
        Self { capacity, debt: Duration::ZERO, as_of: now }
    }

    /// The refill time of one request; a bucket of nothing never affords one.
    fn price(&self) -> Duration {
        WINDOW.checked_div(self.capacity).unwrap_or(WINDOW * 2)
    }

    fn refill(&mut self, now: Instant) {
        self.debt = self.debt.saturating_sub(now.saturating_duration_since(self.as_of));
        self.as_of = self.as_of.max(now);
    }

    fn wait(&self) -> Duration {
        (self.debt + self.price()).saturating_sub(WINDOW)
    }

    fn spend(&mut self) {
        self.debt += self.price();
    }

    fn remaining(&self) -> u32 {
        let affordable = WINDOW.saturating_sub(self.debt).as_nanos() / self.price().as_nanos().max(1);
        u32::try_from(affordable).unwrap_or(u32::MAX).min(self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(list: u32, key: u32) -> Limiter {
        Limiter::new(RateLimits { incident_list_per_minute: list, per_key_per_minute: key })
    }

    #[test]
    fn the_first_list_request_carries_the_documented_header() {
        let allowance = limiter(60, 1_200).admit("key", Draw::IncidentList, Instant::now());
        assert_eq!(allowance.limit_header, "60, 1200;window=60, 60;window=60");
        assert_eq!((allowance.limit, allowance.remaining, allowance.retry_in), (60, 59, None));
        assert_eq!(allowance.full_in, Duration::from_secs(1));
    }

    #[test]
    fn other_requests_name_one_limit() {
        let allowance = limiter(60, 1_200).admit("key", Draw::Key, Instant::now());
        assert_eq!(allowance.limit_header, "1200, 1200;window=60");
        assert_eq!(allowance.remaining, 1_199);
    }

    #[test]
    fn an_emptied_bucket_refuses_and_then_admits_one_per_refill() {
        let (mut limiter, start) = (limiter(60, 1_200), Instant::now());
        for left in (0..60).rev() {
            assert_eq!(limiter.admit("key", Draw::IncidentList, start).remaining, left);
        }
        let refused = limiter.admit("key", Draw::IncidentList, start);
        assert_eq!(refused.retry_in, Some(Duration::from_secs(1)));
        assert_eq!(refused.full_in, Duration::from_secs(60));
        let later = start + Duration::from_secs(1);
        assert_eq!(limiter.admit("key", Draw::IncidentList, later).retry_in, None);
        assert!(limiter.admit("key", Draw::IncidentList, later).retry_in.is_some());
    }

    #[test]
    fn the_list_may_be_empty_while_the_rest_still_answers() {
        let (mut limiter, start) = (limiter(1, 1_200), Instant::now());
        limiter.admit("key", Draw::IncidentList, start);
        assert!(limiter.admit("key", Draw::IncidentList, start).retry_in.is_some());
        assert_eq!(limiter.admit("key", Draw::Key, start).retry_in, None);
    }

    #[test]
    fn a_refused_request_spends_nothing() {
        let (mut limiter, start) = (limiter(1, 3), Instant::now());
        limiter.admit("key", Draw::IncidentList, start);
        limiter.admit("key", Draw::IncidentList, start);
        assert_eq!(limiter.admit("key", Draw::Key, start).remaining, 1);
    }

    #[test]
    fn keys_do_not_share_buckets() {
        let (mut limiter, start) = (limiter(1, 1), Instant::now());
        limiter.admit("one", Draw::Key, start);
        assert_eq!(limiter.admit("two", Draw::Key, start).retry_in, None);
    }
}
