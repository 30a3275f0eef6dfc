//! The same histories through the built component, in the real host, over HTTP and on a real database. Calls are not
//! cut off here, and what would happen during one happens before it.

use bytes::Bytes;
use chrono::TimeDelta;
use koalr_host::contract::Step;
use koalr_host::port::{IncidentFilter, JobKind};
use koalr_simulator::{HeaderFamily, Keys, Options, Simulator};

use super::history::{Act, History, Move, Within, apply, is_private, test_send};
use super::world::Access;
use crate::support::*;

pub(super) struct Run {
    simulator: Simulator,
    bench: Bench,
    access: Access,
    now: i64,
    pending: Vec<Bytes>,
    delivered: Vec<Bytes>,
    messages: u32,
}

impl Run {
    pub(super) async fn of(history: &History) -> Run {
        let mut options = Options::new(0, 7, now());
        options.limits = None;
        options.keys = Keys::Listed([(KEY.to_string(), history.access.roles())].into());
        let simulator = Simulator::start(options).await.unwrap();
        let mut now = micros(now());
        for a_move in &history.before {
            simulator.with_account(|account| apply(a_move, account, &mut now));
            now += 3_600_000_000;
        }
        let access = history.access;
        let bench = Bench::new().await;
        let (pending, delivered) = (Vec::new(), Vec::new());
        let mut run = Run { simulator, bench, access, now, pending, delivered, messages: 0 };
        run.connect().await;
        for act in &history.acts {
            run.act(act).await;
        }
        run
    }

    async fn connect(&mut self) {
        self.set_clock();
        let mut connect = connect_with(KEY, &self.simulator.base_url());
        connect.settings.include_private = self.access.wants_private;
        self.bench.host.connect(&self.bench.org, connect).await.unwrap();
        self.rederive().await;
    }

    fn set_clock(&self) {
        let behind = self.now - koalr_host::port::Clock::now(&*self.bench.clock);
        self.bench.clock.advance(TimeDelta::microseconds(behind));
    }

    async fn rederive(&self) {
        let due = self.bench.store.job(&self.bench.org, JobKind::Rederive).await.unwrap();
        if due.is_some_and(|job| job.run_at.is_some()) {
            self.bench.run(JobKind::Rederive).await.unwrap();
        }
    }

    async fn act(&mut self, act: &Act) {
        match act {
            Act::Move(a_move) => self.moves(a_move),
            Act::TestSend { private } => self.pending.push(test_send(*private)),
            // The simulator goes by the same clock.
            Act::Clock(_) => {}
            Act::Wait(minutes) => self.now += i64::from(*minutes) * 60_000_000,
            Act::Deliver(k, _) => self.deliver(*k).await,
            Act::Repeat(k) => {
                let again = self.delivered.get(usize::from(*k) % self.delivered.len().max(1));
                self.pending.extend(again.cloned());
            }
            Act::Lose(k) => {
                let index = usize::from(*k) % self.pending.len().max(1);
                let lasts = |body: &Bytes| !self.access.sees_private && is_private(body);
                if self.pending.get(index).is_some_and(|body| !lasts(body)) {
                    self.pending.remove(index);
                }
            }
            Act::Settings(private, _) => {
                self.set(*private).await;
            }
            Act::Poll(_, within) => {
                self.before(within).await;
                self.poll().await;
            }
            Act::Backfill(_, within) => {
                self.before(within).await;
                self.import().await;
            }
        }
    }

    async fn set(&mut self, private: bool) {
        self.access.wants_private = private;
        self.connect().await;
    }

    async fn poll(&self) {
        let step = self.bench.host.poll(&self.bench.org).await.unwrap();
        self.made(&step).await;
    }

    async fn import(&self) {
        let job = self.bench.store.job(&self.bench.org, JobKind::Backfill).await.unwrap().unwrap();
        let window = job.window.unwrap();
        let mut request = self.bench.backfill_request();
        (request.since, request.until) = (window.since, window.until);
        let step = self.bench.host.backfill(&self.bench.org, &request).await.unwrap();
        self.made(&step).await;
    }

    async fn made(&self, step: &Step) {
        if step.rederive {
            self.bench.host.schedule_rederive(&self.bench.org).await.unwrap();
            self.rederive().await;
        }
    }

    async fn before(&mut self, within: &[Within]) {
        for event in within {
            match event {
                Within::Move(a_move) => self.moves(a_move),
                Within::Clock(_) => {}
                Within::Deliver(k) => self.deliver(*k).await,
                Within::Settings(private, _) => self.set(*private).await,
                Within::Poll => self.poll().await,
                Within::Import => self.import().await,
            }
        }
        self.set_clock();
    }

    fn moves(&mut self, a_move: &Move) {
        let now = &mut self.now;
        let events = self.simulator.with_account(|account| apply(a_move, account, now));
        self.pending.extend(events.into_iter().map(|event| event.body));
    }

    async fn deliver(&mut self, k: u8) {
        if self.pending.is_empty() {
            return;
        }
        let body = self.pending.remove(usize::from(k) % self.pending.len());
        self.set_clock();
        self.messages += 1;
        let delivery = self.bench.signed(&format!("msg_{}", self.messages), &body, HeaderFamily::Svix);
        self.bench.host.receive(&self.bench.org, delivery).await.unwrap();
        let applied = self.bench.drain().await;
        assert!(applied.iter().all(|row| row.error.is_none()), "{applied:#?}");
        self.delivered.push(body);
    }

    /// Ends the import, polls once more, and answers what is stored and what a new organisation would import.
    pub(super) async fn settle(mut self) -> (Vec<String>, Vec<String>) {
        while !self.access.sees_private
            && let Some(index) = self.pending.iter().position(is_private)
        {
            self.deliver(u8::try_from(index).unwrap()).await;
        }
        self.set_clock();
        self.bench.run(JobKind::Backfill).await.unwrap();
        // The account, and with it new names, is read once a day.
        self.now += 86_400_000_000;
        self.set_clock();
        self.bench.run(JobKind::Poll).await.unwrap();
        self.rederive().await;
        let ours = self.records().await;
        let bench = Bench::new().await;
        let mut clean = Run { bench, pending: Vec::new(), delivered: Vec::new(), ..self };
        clean.connect().await;
        clean.bench.sync().await;
        (ours, clean.records().await)
    }

    async fn records(&self) -> Vec<String> {
        let hidden = |id: &str| {
            let unseen = !self.access.sees_private;
            self.simulator.with_account(|account| !account.has(id) || (unseen && account.is_private(id)))
        };
        let (store, org) = (&self.bench.store, &self.bench.org);
        let page = store.incidents(org, &IncidentFilter::default()).await.unwrap();
        let mut records = Vec::new();
        for incident in page.incidents.iter().filter(|incident| !hidden(&incident.key.id)) {
            records.push(format!("{incident:#?}"));
            let timeline = store.timeline(org, &incident.key).await.unwrap();
            records.extend(timeline.iter().map(|event| format!("{event:?}")));
        }
        records
    }
}
