//! Who may use the console where it asks for a token: guesses are bounded, and each sign-in is a session of its own.
//! Sessions are kept here, in memory; a cookie holds nothing but the name of one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use koalr_host::vault::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions that are kept. The oldest goes for a new one.
const SESSIONS: usize = 1_000;
/// Wrong tokens from one address, and from all of them together.
const OF_ONE: Allowance = Allowance { at_once: 10, then_every: Duration::from_secs(6) };
const OF_ALL: Allowance = Allowance { at_once: 60, then_every: Duration::from_secs(1) };
/// Addresses from which on those are forgotten that have their whole allowance. With the bound on all of them, no more
/// than about half as many do not.
const ADDRESSES: usize = 256;

/// Why somebody is not signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not the token.
    Wrong,
    /// Nobody looked at it: there were too many wrong ones. To be tried again after this time.
    TooMany(Duration),
    /// The system gave no random numbers.
    NoRandomness,
}

#[derive(Default)]
pub(super) struct Access(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// When each ends, by the digest of its name: how long a look-up takes tells nothing of the names.
    sessions: HashMap<[u8; 32], Instant>,
    guesses: HashMap<IpAddr, Spent>,
    all_guesses: Spent,
}

impl Access {
    /// The name of a new session for who gives the token.
    pub(super) fn sign_in(
        &self,
        token: &Secret,
        given: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<String, Refused> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it is compared, so that many at once do not all find the allowance whole.
        kept.charge(network(from), now).map_err(Refused::TooMany)?;
        if !bool::from(digest(given).ct_eq(&digest(token.expose()))) {
            return Err(Refused::Wrong);
        }
        kept.refund(network(from));
        let mut name = [0_u8; 32];
        getrandom::fill(&mut name).map_err(|_| Refused::NoRandomness)?;
        let name = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(name);
        kept.begin(digest(&name), now);
        Ok(name)
    }

    /// Whether this is the name of a session that has not ended.
    pub(super) fn admits(&self, session: &str, now: Instant) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sessions.get(&digest(session)).is_some_and(|end| now < *end)
    }

    /// Ends this session, if it is one.
    pub(super) fn sign_out(&self, session: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sessions.remove(&digest(session));
    }
}

impl Kept {
    /// Counts a guess, or says how long until there may be another.
    fn charge(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.guesses.len() >= ADDRESSES {
            self.guesses.retain(|_, spent| spent.is_any(now));
        }
        let own = self.guesses.get(&from).copied().unwrap_or_default().and_one_more(OF_ONE, now)?;
        self.all_guesses = self.all_guesses.and_one_more(OF_ALL, now)?;
        self.guesses.insert(from, own);
        Ok(())
    }

    /// It was no guess.
    fn refund(&mut self, from: IpAddr) {
        self.all_guesses = self.all_guesses.and_one_less(OF_ALL);
        if let Some(spent) = self.guesses.get_mut(&from) {
            *spent = spent.and_one_less(OF_ONE);
        }
    }

    fn begin(&mut self, session: [u8; 32], now: Instant) {
        self.sessions.retain(|_, end| now < *end);
        if self.sessions.len() >= SESSIONS
            && let Some(oldest) = self.sessions.iter().min_by_key(|(_, end)| **end).map(|(name, _)| *name)
        {
            self.sessions.remove(&oldest);
        }
        self.sessions.insert(session, now + SESSION);
    }
}

/// So many at once, then one more each time this has gone by.
#[derive(Clone, Copy)]
struct Allowance {
    at_once: u32,
    then_every: Duration,
}

/// What is spent of an allowance: when all of it will have been made good.
#[derive(Clone, Copy, Default)]
struct Spent(Option<Instant>);

impl Spent {
    fn is_any(self, now: Instant) -> bool {
        self.0.is_some_and(|until| now < until)
    }

    fn and_one_more(self, of: Allowance, now: Instant) -> Result<Spent, Duration> {
        let until = self.0.map_or(now, |until| until.max(now)) + of.then_every;
        let over = until.duration_since(now).saturating_sub(of.then_every * of.at_once);
        if over.is_zero() { Ok(Spent(Some(until))) } else { Err(over) }
    }

    fn and_one_less(self, of: Allowance) -> Spent {
        Spent(self.0.and_then(|until| until.checked_sub(of.then_every)))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Whom an address belongs to: of the newer kind, everybody has a network of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "the-token-of-a-test";

    fn sign_in(access: &Access, given: &str, from: &str, now: Instant) -> Result<String, Refused> {
        access.sign_in(&Secret::new(TOKEN.into()), given, from.parse().unwrap(), now)
    }

    /// Of six hundred from there at this time, those that were compared with the token.
    fn compared(access: &Access, from: impl Fn(u32) -> String, now: Instant) -> usize {
        let guess = |number: u32| sign_in(access, "a guess", &from(number), now);
        (0..600).filter(|number| guess(*number) == Err(Refused::Wrong)).count()
    }

    #[test]
    fn six_hundred_guesses_at_once_are_ten_and_from_everywhere_sixty() {
        let (access, now) = (Access::default(), Instant::now());
        assert_eq!(compared(&access, |_| "192.0.2.1".into(), now), 10);
        assert_eq!(compared(&access, |number| format!("10.0.{}.{}", number / 256, number % 256), now), 50);
        let later = now + Duration::from_secs(30);
        assert_eq!(compared(&access, |_| "192.0.2.1".into(), later), 5);
        // A network of the newer kind is one address.
        let (access, now) = (Access::default(), Instant::now());
        assert_eq!(compared(&access, |number| format!("2001:db8:1:2::{number:x}"), now), 10);
        assert_eq!(compared(&access, |_| "::ffff:192.0.2.9".into(), now), 10);
        assert_eq!(compared(&access, |_| "192.0.2.9".into(), now), 0);
    }

    #[test]
    fn who_guessed_too_often_waits_even_with_the_token_and_others_do_not() {
        let (access, now) = (Access::default(), Instant::now());
        compared(&access, |_| "192.0.2.1".into(), now);
        let wait = Refused::TooMany(Duration::from_secs(6));
        assert_eq!(sign_in(&access, TOKEN, "192.0.2.1", now), Err(wait));
        assert!(sign_in(&access, TOKEN, "192.0.2.1", now + Duration::from_secs(6)).is_ok());
        // The right token is no guess.
        for _ in 0..100 {
            assert!(sign_in(&access, TOKEN, "192.0.2.2", now).is_ok());
        }
    }

    #[test]
    fn addresses_without_end_do_not_become_memory() {
        let (access, now) = (Access::default(), Instant::now());
        for second in 0..2_000_u32 {
            let from = format!("10.1.{}.{}", second / 256, second % 256);
            let at = now + Duration::from_secs(second.into());
            assert_eq!(sign_in(&access, "a guess", &from, at), Err(Refused::Wrong));
        }
        assert!(access.0.lock().unwrap().guesses.len() <= ADDRESSES);
    }

    #[test]
    fn each_sign_in_is_a_session_of_its_own_that_ends_by_itself_and_at_sign_out() {
        let (access, now) = (Access::default(), Instant::now());
        let [one, other] = [(); 2].map(|()| sign_in(&access, TOKEN, "192.0.2.1", now).unwrap());
        assert_ne!(one, other);
        assert!(access.admits(&one, now) && access.admits(&other, now));
        assert!(!access.admits("", now) && !access.admits(TOKEN, now));
        access.sign_out(&one);
        assert!(!access.admits(&one, now), "the old cookie says nothing any more");
        assert!(access.admits(&other, now + SESSION - Duration::from_secs(1)));
        assert!(!access.admits(&other, now + SESSION));
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_goes() {
        let (access, now) = (Access::default(), Instant::now());
        let first = sign_in(&access, TOKEN, "192.0.2.1", now).unwrap();
        let later = now + Duration::from_secs(1);
        for _ in 0..SESSIONS {
            sign_in(&access, TOKEN, "192.0.2.1", later).unwrap();
        }
        assert_eq!(access.0.lock().unwrap().sessions.len(), SESSIONS);
        assert!(!access.admits(&first, later));
    }

    #[test]
    fn a_token_is_compared_whole() {
        let (access, now) = (Access::default(), Instant::now());
        for given in ["", "the-token-of-a-tes", "the-token-of-a-test2", "The-token-of-a-test"] {
            assert_eq!(sign_in(&access, given, "192.0.2.1", now), Err(Refused::Wrong), "{given}");
        }
    }
}
