//! Failures on request: what a healthy account never does, but a service on the internet will.
//!
//! A fault waits for requests whose path starts with its prefix, serves its count and is gone. Faults are
//! judged before the key is, in the order in which they were injected; the first that fits is the one used.

use std::time::Duration;

use serde_json::Value;

/// One planned failure.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Requests whose path starts with this are hit; `/` hits all.
    pub path_prefix: String,
    /// How many requests it hits before it is gone.
    pub times: u32,
    /// What those requests get.
    pub effect: Effect,
}

impl Fault {
    /// Hits the next `times` requests under `path_prefix`.
    pub fn new(path_prefix: impl Into<String>, times: u32, effect: Effect) -> Self {
        Self { path_prefix: path_prefix.into(), times, effect }
    }
}

/// What a request under a fault gets instead of, or done to, its answer.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A status with the body of the caller's choice (`Value::Null` sends none, as a proxy would).
    Status {
        /// The HTTP status.
        status: u16,
        /// The JSON body.
        body: Value,
    },
    /// A documented 429 body, with `Retry-After` as given: seconds, a date, nonsense, or absent.
    RateLimited {
        /// The header's text.
        retry_after: Option<String>,
    },
    /// The true answer, cut in the middle of its JSON.
    Truncated,
    /// Silence for that long, then the connection closes without a byte.
    Hang(Duration),
    /// The true answer under another content type.
    ContentType(String),
    /// A 200 with this value, to feed what the schema does not know yet.
    Body(Value),
    /// A 200 with these bytes.
    Bytes(Vec<u8>),
    /// The true answer behind blanks, so that it is well-formed JSON of at least this many bytes.
    Oversized(usize),
}

/// The faults that still wait for a request.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) {
        if fault.times > 0 {
            self.0.push(fault);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes one serving from the first fault that fits.
    pub(crate) fn take(&mut self, path: &str) -> Option<Effect> {
        let position = self.0.iter().position(|fault| path.starts_with(&fault.path_prefix))?;
        let fault = self.0.get_mut(position)?;
        fault.times = fault.times.saturating_sub(1);
        let effect = fault.effect.clone();
        if fault.times == 0 {
            self.0.remove(position);
        }
        Some(effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_its_count_under_its_prefix_only() {
        let mut faults = Faults::default();
        faults.inject(Fault::new("/v2/incidents", 2, Effect::Truncated));
        assert!(faults.take("/v1/identity").is_none());
        assert!(matches!(faults.take("/v2/incidents"), Some(Effect::Truncated)));
        assert!(matches!(faults.take("/v2/incidents/1"), Some(Effect::Truncated)));
        assert!(faults.take("/v2/incidents").is_none());
    }

    #[test]
    fn faults_are_served_in_the_order_of_injection() {
        let mut faults = Faults::default();
        faults.inject(Fault::new("/", 1, Effect::Body(Value::Null)));
        faults.inject(Fault::new("/", 1, Effect::Truncated));
        assert!(matches!(faults.take("/x"), Some(Effect::Body(_))));
        assert!(matches!(faults.take("/x"), Some(Effect::Truncated)));
    }
}
