//! The inbox's worker: hands stored deliveries to the plugin, and decides what a failure means.
//!
//! A failure that may pass is tried again with growing waits; one that will not, or that went on for too long,
//! is set aside, where the store's port lists and replays it. Nothing is dropped.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::contract::{GuestError, Outcome};
use crate::host::{Host, HostError};
use crate::port::{LeasedDelivery, StoreError};
use crate::scheduler::{backoff, later};

/// Longer than any call may take.
const LEASE: Duration = Duration::from_secs(300);
/// Deliveries in hand at a time.
const AT_A_TIME: u32 = 64;
/// With the waits of [`backoff`], about four hours.
const MOST_ATTEMPTS: u32 = 20;
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

impl InboxWorker {
    /// A worker for this host's inbox.
    pub fn new(host: Host) -> InboxWorker {
        InboxWorker { host }
    }

    /// Works until the process ends or this future is dropped; what is in hand then is due again when its
    /// lease runs out.
    pub async fn run(&self) {
        let mut applying = JoinSet::new();
        loop {
            match self.fill(&mut applying).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!("the inbox cannot be worked on: {error}"),
            }
            // One that takes long must not keep the others waiting.
            tokio::select! {
                Some(ended) = applying.join_next(), if !applying.is_empty() => {
                    if let Ok(Err(error)) = ended {
                        tracing::warn!("how a delivery ended cannot be noted: {error}");
                    }
                }
                () = self.host.arrivals().notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Applies everything that is due now, and answers how many attempts that were.
    pub async fn drain(&self) -> Result<u64, StoreError> {
        let mut applying = JoinSet::new();
        let mut attempts = 0;
        loop {
            attempts += self.fill(&mut applying).await?;
            match applying.join_next().await {
                None => return Ok(attempts),
                Some(Ok(Err(error))) => return Err(error),
                Some(_) => {}
            }
        }
    }

    /// Starts on as many due deliveries as there are hands free.
    async fn fill(&self, applying: &mut JoinSet<Result<(), StoreError>>) -> Result<u64, StoreError> {
        let free = AT_A_TIME.saturating_sub(u32::try_from(applying.len()).unwrap_or(u32::MAX));
        if free == 0 {
            return Ok(0);
        }
        let claimed = self.host.store().claim(free, LEASE, self.host.clock().now()).await?;
        let started = claimed.len() as u64;
        for delivery in claimed {
            let worker = self.clone();
            applying.spawn(async move { worker.apply(Arc::new(delivery)).await });
        }
        Ok(started)
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

    async fn apply(&self, delivery: Arc<LeasedDelivery>) -> Result<(), StoreError> {
        let lease = &delivery.lease;
        let result = self.host.apply(lease, &delivery.delivery).await;
        let (store, now) = (self.host.store(), self.host.clock().now());
        let ended = match result {
            Ok((outcome, _)) => {
                let outcome = describe(&outcome);
                tracing::debug!(org = %lease.org, delivery = %lease.delivery, %outcome, "applied");
                store.finish(lease, &outcome, now).await
            }
            Err(error) => {
                let text = error.to_string();
                let verdict = judge(&error, delivery.attempt);
                tracing::warn!(org = %lease.org, delivery = %lease.delivery, attempt = delivery.attempt, ?verdict, "{text}");
                match verdict {
                    Verdict::Retry => {
                        // However short the provider's own wait is: the attempts are to last for hours.
                        let asked = match error {
                            HostError::Plugin(GuestError::RateLimited(ms)) => Duration::from_millis(ms),
                            _ => Duration::ZERO,
                        };
                        let wait = backoff(delivery.attempt.saturating_sub(1), fastrand::f64()).max(asked);
                        store.retry(lease, &text, later(now, wait)).await
                    }
                    Verdict::Bury => store.bury(lease, &text, now).await,
                    Verdict::Leave => Ok(()),
                }
            }
        };
        match ended {
            Err(StoreError::Conflict) => Ok(()),
            ended => ended,
        }
    }
}

fn judge(error: &HostError, attempt: u32) -> Verdict {
    match error {
        HostError::UnknownOrganisation(_) | HostError::Store(StoreError::Conflict) => Verdict::Leave,
        HostError::Plugin(GuestError::Malformed(_) | GuestError::Invalid(_)) => Verdict::Bury,
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

    #[test]
    fn only_what_cannot_pass_is_set_aside_at_once() {
        let plugin = HostError::Plugin;
        for (error, attempt, verdict) in [
            (plugin(GuestError::Unavailable("503".into())), 1, Verdict::Retry),
            (plugin(GuestError::Unauthorized("401".into())), 1, Verdict::Retry),
            (plugin(GuestError::RateLimited(9)), 3, Verdict::Retry),
            (plugin(GuestError::Unavailable("503".into())), MOST_ATTEMPTS, Verdict::Bury),
            (plugin(GuestError::Malformed("no JSON".into())), 1, Verdict::Bury),
            (HostError::Store(StoreError::Conflict), 1, Verdict::Leave),
        ] {
            assert_eq!(judge(&error, attempt), verdict, "{error}");
        }
    }
}
