//! Log lines that anybody can cause, and that must not become a flood: each kind is told once in a while, with how many
//! were not told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a kind is silent after it was told.
const SILENCE: Duration = Duration::from_secs(10);

/// When each kind was last told. Kinds are this program's own words, so there are few.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<HashMap<&'static str, Told>>);

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u64,
}

impl Seldom {
    /// Whether to tell this kind now, and how many of it were not told before; none while it is silent.
    pub(crate) fn tell(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get_mut(kind) {
            Some(told) if now.saturating_duration_since(told.at) < SILENCE => {
                told.untold = told.untold.saturating_add(1);
                None
            }
            Some(told) => {
                told.at = now;
                Some(std::mem::take(&mut told.untold))
            }
            None => {
                kinds.insert(kind, Told { at: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_one_line_and_says_how_much_it_stands_for() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let told = (0..1_000).filter_map(|_| seldom.tell("a", start)).collect::<Vec<_>>();
        assert_eq!(told, [0]);
        assert_eq!(seldom.tell("b", start), Some(0), "another kind is not silent for it");
        assert_eq!(seldom.tell("a", start + SILENCE), Some(999));
        assert_eq!(seldom.tell("a", start + SILENCE + SILENCE), Some(0));
    }
}
