//! Random histories: what the provider does to its incidents, and what of it reaches the plugin, when and how often.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use incidentio::model::{Error, Step, Timestamp};
use incidentio::sync::{backfill, connect, derive, event, poll, rederive};
use koalr_simulator::{Account, Change, Event, LifeError, Mode, NewIncident};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::memory::Memory;
use super::world::{Access, Crash, Native, Shared};

const STATUSES: [&str; 10] = [
    "Triage",
    "Investigating",
    "Fixing",
    "Monitoring",
    "Paused",
    "Documenting",
    "Reviewing",
    "Closed",
    "Declined",
    "Canceled",
];
const STAMPS: [&str; 5] = ["Impact started at", "Accepted at", "Resolved at", "Fixed at", "Closed at"];
const DAY: Timestamp = 86_400_000_000;

/// What the provider does. Numbers choose among what there is, whatever there is.
#[derive(Debug, Clone)]
pub(super) enum Move {
    Declare {
        severity: Option<u8>,
        mode: u8,
        private: bool,
        services: Vec<u8>,
        lead: Option<u8>,
    },
    Rename(u8, u8),
    Severity(u8, u8),
    Status(u8, u8),
    Merge(u8, u8),
    Visibility(u8, bool),
    Lead(u8, u8),
    Services(u8, Vec<u8>),
    /// A severity gets another name, which is no new version of an incident.
    RenameSeverity(u8),
    Delete(u8),
    /// Somebody sets a timestamp to so many minutes ago, or clears it.
    Stamp(u8, u8, Option<u8>),
}

/// What happens.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Move(Move),
    /// The provider's button for a test delivery, with its made-up incident.
    TestSend {
        private: bool,
    },
    /// Minutes go by.
    Wait(u16),
    /// One of the deliveries under way arrives.
    Deliver(u8, Option<Crash>),
    /// One that arrived before arrives again.
    Repeat(u8),
    /// One of the deliveries under way never arrives.
    Lose(u8),
    Poll(Option<Crash>, Vec<Within>),
    /// The host's clock is set so many hours ahead, or behind.
    Clock(i16),
    /// The organisation changes whether private incidents are to be kept, and how severities map.
    Settings(bool, bool),
    Backfill(Option<Crash>, Vec<Within>),
}

/// What happens while a poll or an import waits for an answer.
#[derive(Debug, Clone)]
pub(super) enum Within {
    Move(Move),
    Deliver(u8),
    Settings(bool, bool),
    /// A step of the other job, or of the same one in another process.
    Poll,
    Import,
    /// See [`Act::Clock`].
    Clock(i16),
}

/// A history: what is before the connection, and what comes after it.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) access: Access,
    pub(super) page_size: u8,
    /// See [`Act::Clock`]; when the organisation connects.
    pub(super) clock: i16,
    pub(super) before: Vec<Move>,
    pub(super) acts: Vec<Act>,
}

fn declare() -> impl Strategy<Value = Move> {
    let services = vec(any::<u8>(), 0..3);
    (
        option::weighted(0.8, any::<u8>()),
        any::<u8>(),
        prop::bool::weighted(0.15),
        services,
        option::of(any::<u8>()),
    )
        .prop_map(|(severity, mode, private, services, lead)| Move::Declare {
            severity,
            mode,
            private,
            services,
            lead,
        })
}

fn a_move() -> impl Strategy<Value = Move> {
    let n = any::<u8>;
    prop_oneof![
        3 => declare(),
        1 => (n(), n()).prop_map(|(i, to)| Move::Rename(i, to)),
        2 => (n(), n()).prop_map(|(i, to)| Move::Severity(i, to)),
        6 => (n(), n()).prop_map(|(i, to)| Move::Status(i, to)),
        1 => (n(), n()).prop_map(|(i, into)| Move::Merge(i, into)),
        2 => (n(), any::<bool>()).prop_map(|(i, private)| Move::Visibility(i, private)),
        1 => (n(), n()).prop_map(|(i, to)| Move::Lead(i, to)),
        1 => (n(), vec(n(), 0..3)).prop_map(|(i, to)| Move::Services(i, to)),
        2 => (n(), n(), option::of(n())).prop_map(|(i, stamp, to)| Move::Stamp(i, stamp, to)),
        1 => n().prop_map(Move::RenameSeverity),
        1 => n().prop_map(Move::Delete),
    ]
}

fn crash() -> impl Strategy<Value = Option<Crash>> {
    option::weighted(
        0.3,
        prop_oneof![
            (0..4_u8).prop_map(Crash::AtRequest),
            (0..2_u8).prop_map(Crash::BeforeCommit),
            (0..2_u8).prop_map(Crash::AfterCommit),
        ],
    )
}

/// Mostly right, else up to two months off.
fn clock() -> impl Strategy<Value = i16> {
    prop_oneof![3 => Just(0), 1 => -30..30_i16, 1 => -1_500..1_500_i16]
}

fn within() -> impl Strategy<Value = Vec<Within>> {
    let one = prop_oneof![
        4 => a_move().prop_map(Within::Move),
        4 => any::<u8>().prop_map(Within::Deliver),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(private, overrides)| Within::Settings(private, overrides)),
        1 => Just(Within::Poll),
        1 => Just(Within::Import),
        1 => clock().prop_map(Within::Clock),
    ];
    vec(one, 0..4)
}

fn act() -> impl Strategy<Value = Act> {
    let n = any::<u8>;
    prop_oneof![
        8 => a_move().prop_map(Act::Move),
        1 => any::<bool>().prop_map(|private| Act::TestSend { private }),
        2 => prop_oneof![1..10_u16, 10..4_000_u16].prop_map(Act::Wait),
        6 => (n(), crash()).prop_map(|(k, crash)| Act::Deliver(k, crash)),
        2 => n().prop_map(Act::Repeat),
        2 => n().prop_map(Act::Lose),
        3 => (crash(), within()).prop_map(|(crash, within)| Act::Poll(crash, within)),
        2 => (crash(), within()).prop_map(|(crash, within)| Act::Backfill(crash, within)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(private, overrides)| Act::Settings(private, overrides)),
        2 => clock().prop_map(Act::Clock),
    ]
}

pub(super) fn history() -> impl Strategy<Value = History> {
    let access = prop_oneof![Just((true, true)), Just((true, false)), Just((false, false))];
    let access = access.prop_map(|(sees_private, wants_private)| Access {
        sees_private,
        wants_private,
        overrides: false,
    });
    (access, prop_oneof![Just(250), 1..6_u8], clock(), vec(a_move(), 0..8), vec(act(), 0..30)).prop_map(
        |(access, page_size, clock, before, acts)| History { access, page_size, clock, before, acts },
    )
}

fn at(now: Timestamp) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_micros(now).unwrap()
}

/// Applies a move a second later and answers the webhooks that it sends.
pub(super) fn apply(a_move: &Move, account: &mut Account, now: &mut Timestamp) -> Vec<Event> {
    *now += 1_000_000;
    let (ids, at) = (account.incident_ids(), at(*now));
    let pick = |n: u8| ids.get(usize::from(n) % ids.len().max(1)).cloned().unwrap_or_default();
    let among = |names: Vec<String>, n: u8| names[usize::from(n) % names.len()].clone();
    let severity = |account: &Account, n: u8| among(account.severities(), n);
    let services = |account: &Account, chosen: &[u8]| {
        let known: Vec<String> = account.services().into_iter().map(|(name, _)| name).collect();
        chosen.iter().map(|n| among(known.clone(), *n)).collect::<Vec<_>>()
    };
    let user =
        |account: &Account, n: u8| among(account.users().into_iter().map(|(_, email)| email).collect(), n);
    let change = |account: &mut Account, n: u8, change: Change| account.update(&pick(n), change, at);
    let none = Change::default();
    let events = match a_move {
        Move::Declare { severity: s, mode, private, services: chosen, lead } => {
            let modes = [Mode::Standard, Mode::Standard, Mode::Retrospective, Mode::Test, Mode::Tutorial];
            let new = NewIncident {
                name: format!("Incident {}", ids.len()),
                severity: s.map(|n| severity(account, n)),
                services: services(account, chosen),
                mode: modes[usize::from(*mode) % modes.len()],
                private: *private,
                lead: lead.map(|n| user(account, n)),
            };
            account.declare(new, at).map(|(_, events)| events)
        }
        Move::Rename(n, to) => change(account, *n, Change { name: Some(format!("Renamed {to}")), ..none }),
        Move::Severity(n, to) => {
            let severity = Some(severity(account, *to));
            change(account, *n, Change { severity, ..none })
        }
        Move::Status(n, to) => {
            let status = Some(STATUSES[usize::from(*to) % STATUSES.len()].to_string());
            change(account, *n, Change { status, ..none })
        }
        Move::Merge(n, into) => account.merge(&pick(*n), &pick(*into), at),
        Move::Visibility(n, private) => account.set_private(&pick(*n), *private, at),
        Move::Lead(n, to) => account.assign(&pick(*n), &user(account, *to), at),
        Move::Services(n, to) => {
            let services = Some(services(account, to));
            change(account, *n, Change { services, ..none })
        }
        Move::RenameSeverity(n) => {
            let name = severity(account, *n);
            account.rename_severity(&name, &format!("{name}'")).map(|()| Vec::new())
        }
        Move::Delete(n) => account.delete(&pick(*n)).map(|()| Vec::new()),
        Move::Stamp(n, stamp, ago) => {
            let value = ago.map(|minutes| at - TimeDelta::minutes(minutes.into()));
            let name = STAMPS[usize::from(*stamp) % STAMPS.len()].to_string();
            change(account, *n, Change { timestamps: [(name, value)].into(), ..none })
        }
    };
    match events {
        Ok(events) => events,
        // There is no incident yet.
        Err(LifeError::UnknownIncident(_)) => Vec::new(),
        Err(other) => panic!("{other}"),
    }
}

/// The documented example, which a test delivery carries.
pub(super) fn test_send(private: bool) -> Bytes {
    let body = if private {
        r#"{"event_type":"private_incident.incident_created_v2","private_incident.incident_created_v2":{"id":"abc123"}}"#
    } else {
        r#"{"event_type":"public_incident.incident_created_v2","public_incident.incident_created_v2":
            {"id":"01FDAG4SAP5TYPT98WGR2N7W91","reference":"INC-123","name":"Our database is sad","visibility":"public",
            "mode":"standard","incident_status":{"id":"01FCNDV6P870EA6S7TK1DSYD5H","name":"Closed","category":"closed"},
            "created_at":"2021-08-17T13:28:57.801578Z","updated_at":"2021-08-17T13:28:57.801578Z"}}"#
    };
    Bytes::from_static(body.as_bytes())
}

fn hours(hours: i16) -> Timestamp {
    Timestamp::from(hours) * 3_600_000_000
}

/// A history under way.
pub(super) struct Run {
    shared: Rc<RefCell<Shared>>,
    window: backfill::Window,
}

impl Run {
    /// The provider's account as it was before, and an organisation that just connected.
    pub(super) fn begin(history: &History, account: Account, now: Timestamp) -> Run {
        let (mut account, mut now) = (account, now);
        for a_move in &history.before {
            apply(a_move, &mut account, &mut now);
            now += 3_600_000_000;
        }
        Run::connected_at(hours(history.clock), account, now, history.access, history.page_size)
    }

    pub(super) fn connected(account: Account, now: Timestamp, access: Access, page_size: u8) -> Run {
        Run::connected_at(0, account, now, access, page_size)
    }

    fn connected_at(skew: Timestamp, account: Account, now: Timestamp, access: Access, page_size: u8) -> Run {
        let shared = Rc::new(RefCell::new(Shared {
            memory: Memory::default(),
            account,
            now,
            skew,
            shown: Vec::new(),
            access,
            requests: 0,
            page_size,
            pending: Vec::new(),
            delivered: Vec::new(),
        }));
        connect::connect(&mut Native::new(&shared), &access.settings(), None).unwrap();
        let now = now + skew;
        let window = backfill::Window { since: now - 90 * DAY, until: now };
        Run { shared, window }
    }

    pub(super) fn act(&mut self, act: &Act) {
        let shared = &self.shared;
        match act {
            Act::Move(a_move) => Self::moved(shared, a_move),
            Act::TestSend { private } => shared.borrow_mut().pending.push(test_send(*private)),
            Act::Wait(minutes) => shared.borrow_mut().now += Timestamp::from(*minutes) * 60_000_000,
            Act::Deliver(k, crash) => Self::deliver(shared, *k, *crash),
            Act::Repeat(k) => {
                let shared = &mut *shared.borrow_mut();
                let again = shared.delivered.get(usize::from(*k) % shared.delivered.len().max(1));
                shared.pending.extend(again.cloned());
            }
            Act::Lose(k) => {
                let shared = &mut *shared.borrow_mut();
                let index = usize::from(*k) % shared.pending.len().max(1);
                // Without the right to see it, the delivery is all that tells of an incident turned private.
                let access = shared.access;
                let lasts = |body: &Bytes| !access.sees_private && is_private(body);
                if shared.pending.get(index).is_some_and(|body| !lasts(body)) {
                    shared.pending.remove(index);
                }
            }
            // A call that was cut off is made again later, by the same history.
            Act::Poll(crash, within) => {
                Self::made(shared, poll::poll(&mut self.world(*crash, within)));
            }
            Act::Clock(by) => shared.borrow_mut().skew = hours(*by),
            Act::Settings(private, overrides) => Self::set(shared, *private, *overrides),
            Act::Backfill(crash, within) => {
                let step = backfill::backfill(&mut self.world(*crash, within), self.window, false);
                Self::made(shared, step);
            }
        }
    }

    /// What the host does after a step.
    fn made(shared: &Rc<RefCell<Shared>>, step: Result<Step, Error>) {
        if step.is_ok_and(|step| step.rederive) {
            Self::rederive(shared);
        }
    }

    fn set(shared: &Rc<RefCell<Shared>>, wants_private: bool, overrides: bool) {
        let access = Access { wants_private, overrides, ..shared.borrow().access };
        shared.borrow_mut().access = access;
        connect::connect(&mut Native::new(shared), &access.settings(), None).unwrap();
        Self::rederive(shared);
    }

    fn rederive(shared: &Rc<RefCell<Shared>>) {
        let mut after: Option<String> = None;
        loop {
            after = rederive::rederive(&mut Native::new(shared), &derive::INCIDENTIO, after.as_deref())
                .unwrap()
                .next;
            if after.is_none() {
                return;
            }
        }
    }

    fn world(&self, crash: Option<Crash>, within: &[Within]) -> Native {
        let mut world = Native { crash, ..Native::new(&self.shared) };
        let window = self.window;
        for event in within {
            let event = event.clone();
            world.meanwhile.push_back(Box::new(move |shared| match &event {
                Within::Move(a_move) => Self::moved(shared, a_move),
                Within::Deliver(k) => Self::deliver(shared, *k, None),
                Within::Settings(private, overrides) => Self::set(shared, *private, *overrides),
                Within::Clock(by) => shared.borrow_mut().skew = hours(*by),
                Within::Poll => Self::made(shared, poll::poll(&mut Native::new(shared))),
                Within::Import => {
                    Self::made(shared, backfill::backfill(&mut Native::new(shared), window, false));
                }
            }));
        }
        world
    }

    fn moved(shared: &Rc<RefCell<Shared>>, a_move: &Move) {
        let Shared { account, now, pending, .. } = &mut *shared.borrow_mut();
        pending.extend(apply(a_move, account, now).into_iter().map(|event| event.body));
    }

    fn deliver(shared: &Rc<RefCell<Shared>>, k: u8, crash: Option<Crash>) {
        let body = {
            let shared = &mut *shared.borrow_mut();
            if shared.pending.is_empty() {
                return;
            }
            let index = usize::from(k) % shared.pending.len();
            shared.pending.remove(index)
        };
        let outcome = event::handle(&mut Native { crash, ..Native::new(shared) }, &body);
        let shared = &mut *shared.borrow_mut();
        match outcome {
            Ok(_) => shared.delivered.push(body),
            // The inbox keeps it.
            Err(_) => shared.pending.push(body),
        }
    }

    /// Imports to the end, cut off once at `crash`. Answers how many requests that took and the most of any step.
    pub(super) fn import(&self, crash: Option<Crash>) -> (u32, u32) {
        let requests = || self.shared.borrow().requests;
        let (before, mut most, mut crash) = (requests(), 0, crash);
        loop {
            let at = requests();
            let mut world = Native { crash, ..Native::new(&self.shared) };
            let step = backfill::backfill(&mut world, self.window, false);
            most = most.max(requests() - at);
            // A crash that did not come about in this step may in the next.
            crash = world.crash.filter(|_| step.is_ok());
            if step.is_ok_and(|step| !step.more) {
                return (requests() - before, most);
            }
        }
    }

    /// Ends the import and polls once more, with the right clock; what is still under way never arrives.
    pub(super) fn settle(&self) {
        self.shared.borrow_mut().skew = 0;
        let access = self.shared.borrow().access;
        if !access.sees_private {
            let last: Vec<Bytes> =
                self.shared.borrow().pending.iter().filter(|b| is_private(b)).cloned().collect();
            for body in last {
                event::handle(&mut Native::new(&self.shared), &body).unwrap();
            }
        }
        let step = |one: &dyn Fn(&mut Native) -> Result<Step, Error>| {
            for _ in 0..200 {
                let step = one(&mut Native::new(&self.shared)).unwrap();
                if step.rederive {
                    Self::rederive(&self.shared);
                }
                if !step.more {
                    return;
                }
            }
            panic!("it does not end");
        };
        step(&|world| backfill::backfill(world, self.window, false));
        // The account, and with it new names, is read once a day. A day that a wrong clock has shown before is none:
        // nothing tells what was noted then from what is noted now.
        {
            let shared = &mut *self.shared.borrow_mut();
            shared.now += DAY;
            while shared.shown.iter().any(|at| (shared.now - DAY..=shared.now).contains(at)) {
                shared.now += DAY;
            }
        }
        step(&|world| poll::poll(world));
    }

    /// Every delivery there ever was, once more and backwards.
    pub(super) fn deliver_everything_again(&self) {
        let all: Vec<Bytes> = {
            let shared = self.shared.borrow();
            shared.delivered.iter().chain(&shared.pending).rev().cloned().collect()
        };
        for body in all {
            event::handle(&mut Native::new(&self.shared), &body).unwrap();
        }
    }

    /// What a new organisation would import now, all of it.
    pub(super) fn clean(&self) -> Run {
        let shared = self.shared.borrow();
        let run = Run::connected(shared.account.clone(), shared.now, shared.access, 250);
        drop(shared);
        run.settle();
        run
    }

    /// Records and timelines. Without the right to see private incidents, those that are private now are left
    /// out: what was known of them before they turned so is kept, and marked. So are those that were deleted,
    /// which nothing tells of.
    pub(super) fn records(&self) -> Result<Vec<String>, TestCaseError> {
        let shared = self.shared.borrow();
        let hidden = |id: &str| !shared.access.sees_private && shared.account.is_private(id);
        for incident in shared.memory.incidents().filter(|incident| hidden(&incident.key.id)) {
            prop_assert!(incident.private, "turned private unnoticed: {incident:#?}");
        }
        Ok(shared.memory.records(&|id| shared.account.has(id) && !hidden(id)))
    }
}

pub(super) fn is_private(body: &Bytes) -> bool {
    String::from_utf8_lossy(body).contains("\"private_incident.")
}
