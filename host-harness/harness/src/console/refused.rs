//! Webhooks that were turned away lately. They are not stored, because anybody can send them; the last few are kept
//! in memory, so that a person who sets up a webhook sees why nothing arrives. Those that came by no connected
//! organisation's address are kept with the path they came by.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use koalr_host::contract::Timestamp;
use koalr_host::id::OrgId;

/// For each organisation.
const KEPT: usize = 20;
/// Organisations, which exist: names that nobody connected are not noted.
const ORGANISATIONS: usize = 10_000;
/// Characters of a path.
const PATH: usize = 120;

/// One that was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) at: Timestamp,
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

/// One that came by no connected organisation's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stray {
    pub(crate) refusal: Refusal,
    /// The beginning of the path, as it came.
    pub(crate) path: String,
}

/// The last of each organisation, and of nobody.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    of: Mutex<HashMap<OrgId, VecDeque<Refusal>>>,
    strays: Mutex<VecDeque<Stray>>,
}

impl Refusals {
    pub(crate) fn note(&self, org: &OrgId, refusal: Refusal) {
        let mut all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ORGANISATIONS && !all.contains_key(org) {
            return;
        }
        let of = all.entry(org.clone()).or_default();
        of.push_front(refusal);
        of.truncate(KEPT);
    }

    pub(crate) fn note_stray(&self, path: &str, refusal: Refusal) {
        let path = path.chars().take(PATH).collect();
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.push_front(Stray { refusal, path });
        strays.truncate(KEPT);
    }

    /// Those that came by nobody's address, the newest first.
    pub(crate) fn strays(&self) -> Vec<Stray> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The newest first.
    pub(crate) fn of(&self, org: &OrgId) -> Vec<Refusal> {
        let all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
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

    #[test]
    fn strays_are_few_and_their_paths_short() {
        let refusals = Refusals::default();
        for at in 0..100 {
            refusals
                .note_stray(&"/webhooks/x".repeat(100), Refusal { at, status: 404, reason: "unknown_path" });
        }
        let kept = refusals.strays();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.first().map(|stray| (stray.refusal.at, stray.path.len())), Some((99, PATH)));
    }
}
