//! The plugin's world in a history: a host in memory, the provider's account, and what else goes on meanwhile.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use incidentio::model::{
    Applied, Change, IncidentKey, KeyPage, Level, Priority, RevisitPage, SamplePage, ServiceName, Settings,
    SeverityOverride, StorageError, StoredIncident, Timestamp,
};
use incidentio::port::{Answer, Failure, Request, Response, World};
use koalr_simulator::Account;

use super::memory::Memory;

/// Where a call is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// At the n-th request from now, which gets no answer.
    AtRequest(u8),
    /// At the n-th commit from now, which takes no effect.
    BeforeCommit(u8),
    /// At the n-th commit from now, which takes effect without anybody learning of it.
    AfterCommit(u8),
}

/// What a key may see and what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) sees_private: bool,
    pub(super) wants_private: bool,
    /// Whether the organisation has a word of its own on a severity.
    pub(super) overrides: bool,
}

impl Access {
    pub(super) fn roles(self) -> Vec<String> {
        let roles = ["viewer", "catalog_viewer", "global_access"];
        roles.iter().take(if self.sees_private { 3 } else { 2 }).map(ToString::to_string).collect()
    }

    pub(super) fn settings(self) -> Settings {
        let own = SeverityOverride { severity: "Partial outage".into(), priority: Priority::P1 };
        Settings {
            severity_overrides: if self.overrides { vec![own] } else { Vec::new() },
            include_private: self.wants_private,
            ..Settings::default()
        }
    }
}

/// What one organisation's calls share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) memory: Memory,
    pub(super) account: Account,
    pub(super) now: Timestamp,
    /// How far the host's clock is ahead of the provider's, which is right.
    pub(super) skew: Timestamp,
    /// What the host's clock showed while it was wrong.
    pub(super) shown: Vec<Timestamp>,
    pub(super) access: Access,
    /// Requests that were answered.
    pub(super) requests: u32,
    /// How many rows of a list come at once, at most.
    pub(super) page_size: u8,
    /// Deliveries under way.
    pub(super) pending: Vec<Bytes>,
    /// Deliveries that arrived and were applied.
    pub(super) delivered: Vec<Bytes>,
}

/// Something that happens while a call waits for an answer.
pub(super) type Meanwhile = dyn FnMut(&Rc<RefCell<Shared>>);

/// One call's view.
pub(super) struct Native {
    pub(super) shared: Rc<RefCell<Shared>>,
    pub(super) crash: Option<Crash>,
    /// Run one by one, before each answer.
    pub(super) meanwhile: VecDeque<Box<Meanwhile>>,
}

impl Native {
    pub(super) fn new(shared: &Rc<RefCell<Shared>>) -> Native {
        Native { shared: Rc::clone(shared), crash: None, meanwhile: VecDeque::new() }
    }

    fn cut(&mut self, kind: fn(u8) -> Crash) -> bool {
        match self.crash {
            Some(crash) if crash == kind(0) => true,
            Some(Crash::AtRequest(n)) if kind(0) == Crash::AtRequest(0) => {
                self.crash = Some(Crash::AtRequest(n - 1));
                false
            }
            Some(Crash::BeforeCommit(n)) if kind(0) == Crash::BeforeCommit(0) => {
                self.crash = Some(Crash::BeforeCommit(n - 1));
                false
            }
            Some(Crash::AfterCommit(n)) if kind(0) == Crash::AfterCommit(0) => {
                self.crash = Some(Crash::AfterCommit(n - 1));
                false
            }
            _ => false,
        }
    }
}

impl World for Native {
    fn now(&self) -> Timestamp {
        let shared = &mut *self.shared.borrow_mut();
        let shown = shared.now + shared.skew;
        if shared.skew != 0 {
            shared.shown.push(shown);
        }
        shown
    }

    fn begin(&mut self, _: &Request) {}

    fn fetch(&mut self, requests: &[Request]) -> Vec<Answer> {
        let mut answers = Vec::new();
        for request in requests {
            if let Some(mut meanwhile) = self.meanwhile.pop_front() {
                meanwhile(&self.shared);
            }
            if self.cut(Crash::AtRequest) {
                answers.push(Err(Failure::Broken("cut off".into())));
                continue;
            }
            let shared = &mut *self.shared.borrow_mut();
            shared.requests += 1;
            // The provider cuts pages as it likes; small ones have small accounts paged.
            let cut = format!("page_size={}", shared.page_size);
            let path = request.path_and_query.replacen("page_size=250", &cut, 1);
            let (status, body) = shared.account.answer(&path, &shared.access.roles());
            answers.push(Ok(Response { status, headers: Default::default(), body: body.to_vec() }));
        }
        answers
    }

    fn commit(&mut self, changes: &[Change]) -> Result<Applied, StorageError> {
        let died = || StorageError::Unavailable("cut off".into());
        if self.cut(Crash::BeforeCommit) {
            return Err(died());
        }
        let applied = self.shared.borrow_mut().memory.commit(changes)?;
        if self.cut(Crash::AfterCommit) {
            return Err(died());
        }
        Ok(applied)
    }

    fn incidents(&mut self, keys: &[IncidentKey]) -> Result<Vec<Option<StoredIncident>>, StorageError> {
        let shared = self.shared.borrow();
        Ok(keys.iter().map(|key| shared.memory.incident(&key.id).cloned()).collect())
    }

    fn state(&mut self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.shared.borrow().memory.state(key))
    }

    fn list(&mut self, _: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError> {
        Ok(self.shared.borrow().memory.list(after, limit, false))
    }

    fn list_open(&mut self, _: &str, after: Option<&str>, limit: u32) -> Result<KeyPage, StorageError> {
        Ok(self.shared.borrow().memory.list(after, limit, true))
    }

    fn to_revisit(&mut self, _: &str, limit: u32) -> Result<RevisitPage, StorageError> {
        Ok(self.shared.borrow().memory.to_revisit(limit))
    }

    fn samples(
        &mut self,
        _: Timestamp,
        _: Timestamp,
        _: Timestamp,
        _: Option<&str>,
    ) -> Result<SamplePage, StorageError> {
        Err(StorageError::Invalid("no figure is computed here".into()))
    }

    fn users_by_email(&mut self, emails: &[String]) -> Result<Vec<Option<String>>, StorageError> {
        // Every second person has an account with the host.
        Ok(emails.iter().map(|email| (email.len() % 2 == 0).then(|| format!("user:{email}"))).collect())
    }

    fn services_by_name(&mut self, names: &[ServiceName]) -> Result<Vec<Option<String>>, StorageError> {
        Ok(names.iter().map(|s| (s.name.len() % 2 == 0).then(|| format!("service:{}", s.name))).collect())
    }

    fn secrets(&mut self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn log(&mut self, _: Level, _: &str, _: &[(String, String)]) {}
}
