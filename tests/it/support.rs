//! A simulated account, a host with the built component, and one organisation between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use koalr_host::contract::{
    BackfillRequest, BackfillSource, Connection, Delivery, Header, Incident, Settings, Timestamp,
};
use koalr_host::id::OrgId;
use koalr_host::port::{Clock, DeliveryFilter, DeliveryRow, IncidentFilter, JobKind, OriginMapping, Store};
use koalr_host::scheduler::{RunError, Scheduler, Totals};
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{SealingKey, Secret};
use koalr_host::worker::InboxWorker;
use koalr_host::{Connect, Host, HostError, Limits};
use koalr_simulator::{HeaderFamily, Options, Simulator};

pub(crate) const KEY: &str = "inc_test_key";
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What components may call; the last two are the misbehaving guest's.
pub(crate) const ORIGINS: [&str; 5] = [
    "https://api.incident.io",
    "https://api.opsgenie.com",
    "https://api.eu.opsgenie.com",
    GUESTS_ORIGIN,
    "https://localhost",
];
pub(crate) const GUESTS_ORIGIN: &str = "https://api.guest.example";

/// The instant at which every test takes place.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

pub(crate) fn micros(at: DateTime<Utc>) -> Timestamp {
    at.timestamp_micros()
}

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub(crate) struct Still(AtomicI64);

impl Still {
    pub(crate) fn at(instant: DateTime<Utc>) -> Still {
        Still(AtomicI64::new(micros(instant)))
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_microseconds().unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

pub(crate) fn component() -> Vec<u8> {
    built("incidentio.wasm")
}

/// The one that imports history from Opsgenie.
pub(crate) fn importer() -> Vec<u8> {
    built("opsgenie.wasm")
}

/// The guest that traps when it is asked what it is.
pub(crate) fn trap_in_describe() -> Vec<u8> {
    built("trap_in_describe.wasm")
}

/// The guest that misbehaves on request.
pub(crate) fn hostile() -> Vec<u8> {
    built("koalr_guests.wasm")
}

fn built(file: &str) -> Vec<u8> {
    let path = root().join("target/plugin").join(file);
    std::fs::read(&path).unwrap_or_else(|_| panic!("{} is missing: run `cargo xtask test`", path.display()))
}

pub(crate) fn fixture(name: &str) -> serde_json::Value {
    let path = root().join("tests/fixtures").join(name);
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<Still>,
    pub(crate) org: OrgId,
    _directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        Bench::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Bench {
        Bench::with(&component(), limits).await
    }

    /// With the guest that misbehaves on request in the plugin's place.
    pub(crate) async fn with_guest(limits: Limits) -> Bench {
        Bench::with(&hostile(), limits).await
    }

    async fn with(component: &[u8], limits: Limits) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("koalr.db");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).unwrap());
        let clock = Arc::new(Still::at(now()));
        // Compiled once for all tests; the directory is under target/, so it goes with `cargo clean`.
        let cache = koalr_host::cache::ModuleCache::new(root().join("target/test-modules"));
        let builder = Host::builder(Arc::clone(&store), SealingKey::generate().unwrap()).allow(ORIGINS);
        let builder = builder.clock(clock.clone()).limits(limits).slots(8).cache(cache);
        let host = builder.importer(importer()).load(component).await.unwrap();
        Bench { host, store, clock, org: "acme".parse().unwrap(), _directory: directory }
    }

    /// A connected organisation whose requests go to the simulator.
    pub(crate) async fn connected(simulator: &Simulator) -> Bench {
        let bench = Bench::new().await;
        bench.connect(&simulator.base_url()).await.unwrap();
        bench
    }

    pub(crate) async fn connect(&self, base_url: &str) -> Result<Connection, HostError> {
        self.host.connect(&self.org, connect_with(KEY, base_url)).await
    }

    pub(crate) async fn run(&self, kind: JobKind) -> Result<Totals, RunError> {
        Scheduler::new(self.host.clone()).run_now(&self.org, kind, &|_| {}, std::future::pending()).await
    }

    /// What the scheduler asks of an import of the usual length.
    pub(crate) fn backfill_request(&self) -> BackfillRequest {
        let until = self.clock.now();
        let since = until - micros(DateTime::UNIX_EPOCH + TimeDelta::days(90));
        BackfillRequest { source: BackfillSource::Incidentio, since, until, dry_run: false }
    }

    /// Imports history and reads all timelines.
    pub(crate) async fn sync(&self) -> Totals {
        let totals = self.run(JobKind::Backfill).await.unwrap();
        self.run(JobKind::Poll).await.unwrap();
        totals
    }

    pub(crate) async fn incidents(&self) -> Vec<Incident> {
        self.store.incidents(&self.org, &IncidentFilter::default()).await.unwrap().incidents
    }

    pub(crate) async fn incident(&self, id: &str) -> Option<Incident> {
        self.store.find_incident(&self.org, id).await.unwrap()
    }

    /// Applies what waits in the inbox now, and answers the whole inbox, oldest first.
    pub(crate) async fn drain(&self) -> Vec<DeliveryRow> {
        InboxWorker::new(self.host.clone()).drain().await.unwrap();
        let mut rows = self.store.deliveries(&self.org, &DeliveryFilter::default()).await.unwrap();
        rows.reverse();
        rows
    }

    /// A delivery as the provider would send it at this instant.
    pub(crate) fn signed(&self, id: &str, body: &[u8], family: HeaderFamily) -> Delivery {
        signed(id, self.clock.now() / 1_000_000, body, family)
    }
}

/// Imports that take a list or a text, as the guest that misbehaves names them.
pub(crate) const IMPORTS_OF_LISTS: [&str; 10] = [
    "get-incidents",
    "commit",
    "get-state",
    "to-revisit",
    "list-incidents",
    "scan-samples",
    "users-by-email",
    "services-by-name",
    "reveal",
    "log",
];

/// A host with the guest that misbehaves on request, for two organisations.
pub(crate) struct Guest {
    pub(crate) bench: Bench,
    pub(crate) neighbour: OrgId,
    /// Where requests to its origin go.
    pub(crate) mapped_to: Option<String>,
}

impl Guest {
    pub(crate) async fn new(limits: Limits) -> Guest {
        let guest = Guest {
            bench: Bench::with_guest(limits).await,
            neighbour: "umbrella".parse().unwrap(),
            mapped_to: None,
        };
        for org in [&guest.bench.org, &guest.neighbour] {
            guest.connect(org, &["live"]).await.unwrap();
        }
        guest
    }

    /// Another organisation's, over the store of this bench.
    pub(crate) async fn over(bench: &Bench, org: &str) -> Guest {
        let builder = Host::builder(Arc::clone(&bench.store), SealingKey::generate().unwrap());
        let host = builder.allow(ORIGINS).clock(bench.clock.clone()).slots(2).load(&hostile()).await.unwrap();
        let bench = Bench {
            host,
            store: Arc::clone(&bench.store),
            clock: Arc::clone(&bench.clock),
            org: org.parse().unwrap(),
            _directory: tempfile::tempdir().unwrap(),
        };
        let guest = Guest { bench, neighbour: "umbrella".parse().unwrap(), mapped_to: None };
        guest.serves_on().await;
        guest
    }

    pub(crate) async fn connect(&self, org: &OrgId, misdeed: &[&str]) -> Result<Connection, HostError> {
        let mut connect = connect_with("", "");
        (connect.credentials, connect.secrets, connect.origin_map) = (vec![], vec![], vec![]);
        connect.settings.service_fields = misdeed.iter().map(ToString::to_string).collect();
        let mapping = |to: &String| OriginMapping { from: GUESTS_ORIGIN.into(), to: to.clone() };
        connect.origin_map = self.mapped_to.iter().map(mapping).collect();
        self.bench.host.connect(org, connect).await
    }

    /// How the call ends of a guest that was asked for this, with these arguments.
    pub(crate) async fn told(&self, misdeed: &[&str]) -> HostError {
        self.connect(&self.bench.org, misdeed).await.unwrap_err()
    }

    /// What it answers that got to its end.
    pub(crate) async fn answered(&self, misdeed: &[&str]) -> String {
        match self.told(misdeed).await {
            HostError::Plugin(koalr_host::contract::GuestError::Invalid(answer)) => answer,
            other => panic!("{other}"),
        }
    }

    /// The next call of the same organisation and one of its neighbour's come to their ends.
    pub(crate) async fn serves_on(&self) {
        for org in [&self.bench.org, &self.neighbour] {
            self.connect(org, &["live"]).await.unwrap();
        }
    }
}

pub(crate) fn connect_with(key: &str, base_url: &str) -> Connect {
    Connect {
        credentials: vec![("api-key".into(), Secret::new(key.into()))],
        secrets: vec![("webhook-secret".into(), vec![Secret::new(SECRET.into())])],
        settings: Settings { include_private: true, ..Settings::default() },
        origin_map: vec![OriginMapping { from: "https://api.incident.io".into(), to: base_url.into() }],
    }
}

pub(crate) fn signed(id: &str, timestamp: i64, body: &[u8], family: HeaderFamily) -> Delivery {
    let signature = koalr_simulator::sign(SECRET, id, timestamp, body).unwrap();
    let prefix = match family {
        HeaderFamily::Webhook => "webhook",
        HeaderFamily::Svix | HeaderFamily::Both => "svix",
    };
    let header = |name: &str, value: &str| Header { name: format!("{prefix}-{name}"), value: value.into() };
    let headers =
        vec![header("id", id), header("timestamp", &timestamp.to_string()), header("signature", &signature)];
    Delivery { headers, body: body.to_vec() }
}

/// A simulated account without rate limits.
pub(crate) async fn account(incidents: usize, seed: u64) -> Simulator {
    let mut options = Options::new(incidents, seed, now());
    options.limits = None;
    Simulator::start(options).await.unwrap()
}

/// Waits until this is so; not for ever.
pub(crate) async fn eventually(reached: impl AsyncFn() -> bool) {
    let waiting = async {
        while !reached().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
}

/// A worker that goes on until the first is dropped, and what it is gone with.
pub(crate) fn at_work(bench: &Bench) -> (tokio::sync::oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let worker = InboxWorker::new(bench.host.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let working =
        tokio::spawn(async move { worker.run(async { drop(stopped.await) }, Duration::ZERO).await });
    (stop, working)
}
