//! Webhooks that were turned away lately. They are not stored, because anybody can send them; the last few are kept
//! in memory, so that a person who sets up a webhook sees why nothing arrives.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use koalr_host::contract::Timestamp;
use koalr_host::id::OrgId;

/// For each organisation.
const KEPT: usize = 20;
/// Organisations, which exist: names that nobody connected are not noted.
const ORGANISATIONS: usize = 10_000;

/// One that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) at: Timestamp,
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

/// The last of each organisation.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<OrgId, VecDeque<Refusal>>>);

impl Refusals {
    pub(crate) fn note(&self, org: &OrgId, refusal: Refusal) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ORGANISATIONS && !all.contains_key(org) {
            return;
        }
        let of = all.entry(org.clone()).or_default();
        of.push_front(refusal);
        of.truncate(KEPT);
    }

    /// The newest first.
    pub(crate) fn of(&self, org: &OrgId) -> Vec<Refusal> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(org).map(|of| of.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_kept_newest_first() {
        let (refusals, org) = (Refusals::default(), "acme".parse().unwrap());
        for at in 0..100 {
            refusals.note(&org, Refusal { at, status: 401, reason: "bad_signature" });
        }
        let kept = refusals.of(&org);
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.first().map(|refusal| refusal.at), Some(99));
        assert!(refusals.of(&"other".parse().unwrap()).is_empty());
    }
}
