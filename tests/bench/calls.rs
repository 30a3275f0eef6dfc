//! What a call costs: in the host, in a wasmtime that bounds nothing or a part of what the host bounds, and natively.
//! What is timed writes nowhere, so that the figures are the calls' and not the disk's.
//!
//! Work is counted as well, in wasmtime's fuel, which counts the guest's instructions: it is the same on every machine
//! and in every mood, so the tests hold it against stored figures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone, Utc};
use criterion::{Bencher, Criterion, SamplingMode};
use http_body_util::{BodyExt, Full};
use incidentio::sync::event::handle;
use incidentio::webhook::{event, signature};
use koalr_host::contract::{
    Applied, BackfillRequest, BackfillSource, Change, Delivery, GuestError, Header, IncidentKey, Integration,
    IntegrationPre, KeyPage, Level, Mode, MttrQuery, Outcome, Phase, Priority, Rejection, RevisitPage,
    Sample, SamplePage, ServiceName, Settings, StorageError, StoredIncident, Timestamp, Verified,
};
use koalr_host::id::OrgId;
use koalr_host::port::{Clock, OriginMapping, Store};
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{SealingKey, Secret};
use koalr_host::{Connect, Host, Limits};
use koalr_simulator::{Options, Simulator, sign};
use rusqlite::Connection;
use tokio::runtime::Handle;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Instance, Lift, Linker, Lower, ResourceTable,
};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime::{StoreLimits, StoreLimitsBuilder, UpdateDeadline};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};
use wasmtime_wasi_io::IoView;

use super::nowhere::{self, States};
use super::{Bound, Figure, Programs, SECRET, native};

/// Of an account that a delivery comes from.
const INCIDENTS: usize = 20;
/// Of one that is imported.
const IMPORTED: usize = 500;

/// When everything in here happens.
fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 2, 9, 30, 0).unwrap()
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        now().timestamp_micros()
    }
}

/// A connected organisation in a store of its own, and a signed delivery of four kilobytes.
struct Setup {
    host: Host,
    store: Arc<dyn Store>,
    org: OrgId,
    /// What the component keeps for the organisation beside its records.
    states: Arc<States>,
    simulator: Simulator,
    _directory: tempfile::TempDir,
}

impl Setup {
    /// Of an account with so many incidents.
    async fn new(wasm: &[u8], incidents: usize) -> Setup {
        let mut options = Options::new(incidents, 3, now());
        options.limits = None;
        let simulator = Simulator::start(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("calls.db");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&database).unwrap());
        let builder = Host::builder(Arc::clone(&store), SealingKey::generate().unwrap());
        let builder = builder.allow(["https://api.incident.io"]).clock(Arc::new(Still)).slots(8);
        let host = builder.load(wasm).await.unwrap();
        let org: OrgId = "acme".parse().unwrap();
        let connect = Connect {
            credentials: vec![("api-key".into(), Secret::new("inc_bench".into()))],
            secrets: vec![("webhook-secret".into(), vec![Secret::new(SECRET.into())])],
            settings: Settings { include_private: true, ..Settings::default() },
            origin_map: vec![OriginMapping {
                from: "https://api.incident.io".into(),
                to: simulator.base_url(),
            }],
        };
        host.connect(&org, connect).await.unwrap();
        let connection = Connection::open(&database).unwrap();
        let mut states = connection.prepare("SELECT key, value FROM state").unwrap();
        let states = states.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let states = Arc::new(states.collect::<Result<States, _>>().unwrap());
        Setup { host, store, org, states, simulator, _directory: directory }
    }

    fn delivery(&self, message: &str, note: &str) -> Delivery {
        let kind = "public_incident.incident_updated_v2";
        let mut incident = self.simulator.raw_incident(&self.simulator.incident_ids()[0]).unwrap();
        incident["visibility"] = "public".into();
        incident["updated_at"] = now().to_rfc3339().into();
        incident["summary"] = note.into();
        let missing = 4_000_usize.saturating_sub(incident.to_string().len());
        incident["summary"] = format!("{note}{}", "text of a summary ".repeat(missing / 18)).into();
        let body = serde_json::json!({ "event_type": kind, kind: incident }).to_string().into_bytes();
        signed(message, body)
    }
}

fn signed(message: &str, body: Vec<u8>) -> Delivery {
    let timestamp = now().timestamp();
    let signature = sign(SECRET, message, timestamp, &body).unwrap();
    let header = |name: &str, value: String| Header { name: name.into(), value: value.into_bytes() };
    Delivery {
        headers: vec![
            header("webhook-id", message.into()),
            header("webhook-timestamp", timestamp.to_string()),
            header("webhook-signature", signature),
        ],
        body,
    }
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// What a guest's store holds.
struct State {
    store: Arc<dyn Store>,
    org: OrgId,
    /// Nothing is written, and this is what is read, if it is there.
    nowhere: Option<Arc<States>>,
    samples: Vec<Sample>,
    limits: StoreLimits,
    table: ResourceTable,
    http: WasiHttpCtx,
    provider: Provider,
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.provider, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Reads from the simulator at this address.
struct Provider(SocketAddr);

impl WasiHttpHooks for Provider {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send> {
        assert_eq!(request.method(), http::Method::GET);
        let url = format!("http://{}{}", self.0, request.uri().path_and_query().unwrap());
        Box::new(async move {
            let answer = reqwest::Client::new().get(url).bearer_auth("inc_bench").send().await.unwrap();
            let answer = answer.error_for_status().unwrap();
            // Whole, so that the guest reads the same pieces each time.
            let body = Full::new(answer.bytes().await.unwrap()).map_err(|never| match never {});
            let done: Io = Box::new(async { Ok(()) });
            Ok((http::Response::new(body.boxed_unsync()), done))
        })
    }
}

/// What is left to do of a request.
type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// A wasmtime without the host around it, and the component in it.
struct Bare {
    engine: Engine,
    plugin: IntegrationPre<State>,
    verify: ComponentExportIndex,
    handle: ComponentExportIndex,
}

impl Bare {
    fn new(wasm: &[u8], change: impl FnOnce(&mut Config)) -> Bare {
        let mut pooling = PoolingAllocationConfig::default();
        pooling.total_component_instances(4).total_core_instances(16).total_memories(4).total_tables(8);
        pooling.total_stacks(4).linear_memory_keep_resident(2 << 20).table_keep_resident(64 << 10);
        pooling.pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        config.concurrency_support(false);
        change(&mut config);
        let engine = Engine::new(&config).unwrap();
        let component = Component::new(&engine, wasm).unwrap();
        let linker = imports(&engine).unwrap();
        let connector = component.get_export_index(None, "koalr:integration/connector@0.1.0").unwrap();
        let export = |name| component.get_export_index(Some(&connector), name).unwrap();
        let (verify, handle) = (export("verify-webhook"), export("handle-event"));
        let plugin = IntegrationPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        Bare { plugin, verify, handle, engine }
    }

    fn store(&self, setup: &Setup) -> wasmtime::Store<State> {
        let state = State {
            store: Arc::clone(&setup.store),
            org: setup.org.clone(),
            nowhere: None,
            samples: vec![],
            limits: StoreLimitsBuilder::new().memory_size(Limits::default().memory_bytes).build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            provider: Provider(setup.simulator.address()),
        };
        wasmtime::Store::new(&self.engine, state)
    }

    /// One that writes nowhere, bounded so far.
    fn timed(&self, setup: &Setup, bounded: Bounded) -> wasmtime::Store<State> {
        let mut store = self.store(setup);
        store.data_mut().nowhere = Some(Arc::clone(&setup.states));
        let limits = Limits::default();
        if bounded >= Bounded::Memory {
            store.limiter(|state| &mut state.limits);
        }
        if bounded >= Bounded::Calls {
            store.set_max_component_handles(limits.handles);
            store.data_mut().table.set_max_capacity(limits.handles);
        }
        if bounded >= Bounded::Time {
            let yields = || UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()));
            store.epoch_deadline_callback(move |_| Ok(yields()));
        }
        bounded.set(&mut store);
        store
    }

    /// As the host has it: without a look at any export.
    async fn plain(&self, store: &mut wasmtime::Store<State>) -> Instance {
        self.plugin.instance_pre().instantiate_async(store).await.unwrap()
    }

    /// As the host calls it.
    async fn verify(&self, store: &mut wasmtime::Store<State>, instance: &Instance, delivery: &Delivery) {
        type Answer = (Result<Verified, Rejection>,);
        let verify = instance.get_typed_func::<(&Delivery,), Answer>(&mut *store, self.verify).unwrap();
        verify.call_async(store, (delivery,)).await.unwrap().0.unwrap();
    }

    async fn handle(&self, store: &mut wasmtime::Store<State>, instance: &Instance, delivery: &Delivery) {
        type Answer = (Result<Outcome, GuestError>,);
        let handle = instance.get_typed_func::<(&Delivery,), Answer>(&mut *store, self.handle).unwrap();
        let outcome = handle.call_async(store, (delivery,)).await.unwrap().0.unwrap();
        assert_eq!(outcome, Outcome::Created);
    }

    async fn instance(&self, store: &mut wasmtime::Store<State>) -> Integration {
        self.plugin.instantiate_async(store).await.unwrap()
    }
}

/// How much of what the host bounds is bounded, each with what is before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bounded {
    /// What the engine's configuration bounds, and no more.
    ByEngine,
    /// What the guest may allocate.
    Memory,
    /// What it may hold of the host's and hand to it at once.
    Calls,
    /// How long it may take: all that the host bounds.
    Time,
}

impl Bounded {
    /// Set for each call, as the host does: what it may hand over in one crossing, and when it lets others run.
    fn set(self, store: &mut wasmtime::Store<State>) {
        store.set_epoch_deadline(if self >= Bounded::Time { 1 } else { 1 << 40 });
        store.set_hostcall_fuel(if self >= Bounded::Calls {
            Limits::default().hostcall_bytes
        } else {
            usize::MAX
        });
    }

    async fn wall<T>(self, call: impl Future<Output = T>) -> T {
        match self {
            Bounded::Time => tokio::time::timeout(Duration::from_secs(60), call).await.unwrap(),
            _ => call.await,
        }
    }
}

/// The contract's imports without scopes or bounds: for measuring only.
fn imports(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    fn refused<T>(_: T) -> StorageError {
        StorageError::Unavailable("refused".into())
    }
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let mut log = linker.instance("koalr:integration/log@0.1.0")?;
    log.func_wrap("log", |_, (_, _, _): (Level, String, Vec<(String, String)>)| Ok(()))?;
    let mut credentials = linker.instance("koalr:integration/credentials@0.1.0")?;
    credentials.func_wrap("reveal", |_, (_,): (String,)| Ok((vec![SECRET.to_owned()],)))?;
    let mut clock = linker.instance("wasi:clocks/wall-clock@0.2.12")?;
    clock.func_wrap("now", |_, (): ()| {
        Ok((Datetime { seconds: now().timestamp().try_into().unwrap_or(0), nanoseconds: 0 },))
    })?;
    let mut storage = linker.instance("koalr:integration/storage@0.1.0")?;
    storage.func_wrap_async("get-state", move |store, (key,): (String,)| {
        let State { store: records, org, nowhere, .. } = store.data();
        let (records, org, nowhere) = (Arc::clone(records), org.clone(), nowhere.clone());
        Box::new(async move {
            Ok((match nowhere {
                Some(states) => Ok(states.get(&key).cloned()),
                None => records.state(&org, &key).await.map_err(refused),
            },))
        })
    })?;
    storage.func_wrap_async("get-incidents", move |store, (keys,): (Vec<IncidentKey>,)| {
        let State { store: records, org, nowhere, .. } = store.data();
        let (records, org, nowhere) = (Arc::clone(records), org.clone(), nowhere.is_some());
        Box::new(async move {
            let found: Result<Vec<Option<StoredIncident>>, _> = match nowhere {
                true => Ok(vec![None; keys.len()]),
                false => records.incidents_by_key(&org, &keys).await.map_err(refused),
            };
            Ok((found,))
        })
    })?;
    storage.func_wrap_async("commit", move |store, (changes,): (Vec<Change>,)| {
        let State { store: records, org, nowhere, .. } = store.data();
        let (records, org, nowhere) = (Arc::clone(records), org.clone(), nowhere.is_some());
        Box::new(async move {
            let applied: Result<Applied, _> = match nowhere {
                true => Ok(Applied { created: 1, updated: 0, unchanged: 0, stale: 0, events: 0 }),
                false => records.commit(&org, changes, None).await.map_err(refused),
            };
            Ok((applied,))
        })
    })?;
    storage.func_wrap(
        "scan-samples",
        |store: wasmtime::StoreContextMut<'_, State>, (_, _, _, _): (i64, i64, i64, Option<String>)| {
            let page = SamplePage {
                samples: store.data().samples.clone(),
                sources: vec!["incidentio".into()],
                services: (0..200).map(|number| format!("service-{number}")).collect(),
                next: None,
            };
            Ok((Ok::<_, StorageError>(page),))
        },
    )?;
    // What nothing in here calls.
    type Refused<T> = Result<T, StorageError>;
    storage.func_wrap("to-revisit", move |_, (_, _): (String, u32)| {
        Ok((Refused::<RevisitPage>::Err(refused("to-revisit")),))
    })?;
    storage.func_wrap("list-incidents", move |_, (_, _, _): (String, Option<String>, u32)| {
        Ok((Refused::<KeyPage>::Err(refused("list-incidents")),))
    })?;
    storage.func_wrap("list-open", move |_, (_, _, _): (String, Option<String>, u32)| {
        Ok((Refused::<KeyPage>::Err(refused("list-open")),))
    })?;
    let mut directory = linker.instance("koalr:integration/directory@0.1.0")?;
    directory.func_wrap("users-by-email", |_, (emails,): (Vec<String>,)| {
        Ok((Ok::<Vec<Option<String>>, StorageError>(vec![None; emails.len()]),))
    })?;
    directory.func_wrap("services-by-name", |_, (names,): (Vec<ServiceName>,)| {
        Ok((Ok::<Vec<Option<String>>, StorageError>(vec![None; names.len()]),))
    })?;
    Ok(linker)
}

/// What each function of the component computes, in units of fuel.
pub async fn fuel(wasm: &[u8]) -> BTreeMap<&'static str, u64> {
    const FULL: u64 = 1 << 60;
    let setup = Setup::new(wasm, INCIDENTS).await;
    let bare = Bare::new(wasm, |config| {
        config.consume_fuel(true);
    });
    let mut spent = BTreeMap::new();
    for (name, message) in
        [("verify-webhook", "msg_1"), ("handle-event, created", "msg_1"), ("handle-event, updated", "msg_2")]
    {
        let mut store = bare.store(&setup);
        store.set_fuel(FULL).unwrap();
        let instance = bare.instance(&mut store).await;
        let connector = instance.koalr_integration_connector();
        let delivery = setup.delivery(message, message);
        store.set_fuel(FULL).unwrap();
        if name == "verify-webhook" {
            connector.call_verify_webhook(&mut store, &delivery).await.unwrap().unwrap();
        } else {
            connector.call_handle_event(&mut store, &delivery).await.unwrap().unwrap();
        }
        spent.insert(name, FULL - store.get_fuel().unwrap());
    }
    let mut store = bare.store(&setup);
    store.set_fuel(FULL).unwrap();
    let instance = bare.instance(&mut store).await;
    store.data_mut().samples = samples(10_000);
    store.set_fuel(FULL).unwrap();
    let report = instance.koalr_integration_connector().call_compute_mttr(&mut store, &question()).await;
    assert_eq!(report.unwrap().unwrap().overall.statistics.count, 10_000);
    spent.insert("compute-mttr, 10,000 incidents", FULL - store.get_fuel().unwrap());
    let setup = Setup::new(wasm, IMPORTED).await;
    let mut store = bare.store(&setup);
    store.set_fuel(FULL).unwrap();
    let instance = bare.instance(&mut store).await;
    let request = BackfillRequest {
        source: BackfillSource::Incidentio,
        since: 0,
        until: now().timestamp_micros(),
        dry_run: false,
    };
    store.set_fuel(FULL).unwrap();
    let step = instance.koalr_integration_connector().call_backfill(&mut store, &request).await;
    assert_eq!(step.unwrap().unwrap().created, IMPORTED as u32);
    spent.insert("backfill, 500 incidents and their updates", FULL - store.get_fuel().unwrap());
    spent
}

const WEEK: i64 = 7 * 86_400 * 1_000_000;
/// 2020-01-01T00:00:00Z.
const BEGIN: i64 = 1_577_836_800_000_000;

fn samples(count: usize) -> Vec<Sample> {
    let mut draw = fastrand::Rng::with_seed(7);
    let sample = |_| {
        let resolved_at = BEGIN + draw.i64(WEEK..50 * WEEK);
        Sample {
            created_at: Some(resolved_at - draw.i64(60_000_000..WEEK)),
            started_at: None,
            acknowledged_at: None,
            resolved_at: Some(resolved_at),
            first_resolved_at: None,
            priority: Some(Priority::P2),
            phase: Phase::Closed,
            mode: Mode::Standard,
            private: false,
            source: 0,
            services: vec![draw.u32(0..200)],
            duplicate: false,
            waits: false,
            not_visible: false,
        }
    };
    (0..count).map(sample).collect()
}

fn question() -> MttrQuery {
    MttrQuery::new((0..=52).map(|week| BEGIN + week * WEEK).collect())
}

/// How long each kind of call is timed for.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How often all kinds have their turn.
    pub rounds: usize,
    /// For how long one is called each time, after a third of that as a warm-up.
    pub each: Duration,
}

/// What criterion told of each kind of call: the medians of its rounds, in microseconds.
struct Timer {
    each: Duration,
    measured: BTreeMap<String, Vec<f64>>,
}

impl Timer {
    /// Another round of this kind.
    fn time(&mut self, name: &str, mut call: impl AsyncFnMut()) {
        let kept = tempfile::tempdir().unwrap();
        let mut criterion = Criterion::default().without_plots().output_directory(kept.path());
        // Of what criterion computes only the median is used, which needs no resampling; this is the least that it does not warn of.
        criterion = criterion.nresamples(1_001).sample_size(20);
        criterion = criterion.warm_up_time(self.each / 3).measurement_time(self.each);
        let mut calls = async |count: u64| {
            let began = Instant::now();
            for _ in 0..count {
                call().await;
            }
            began.elapsed()
        };
        let calls =
            |bencher: &mut Bencher<'_>| bencher.iter_custom(|count| Handle::current().block_on(calls(count)));
        tokio::task::block_in_place(|| {
            let mut group = criterion.benchmark_group("calls");
            group.sampling_mode(SamplingMode::Flat).bench_function(name, calls);
        });
        let estimates = kept.path().join("calls").join(name).join("new/estimates.json");
        let estimates: serde_json::Value =
            serde_json::from_slice(&std::fs::read(estimates).unwrap()).unwrap();
        let median = estimates["median"]["point_estimate"].as_f64().unwrap() / 1_000.0;
        self.measured.entry(name.to_owned()).or_default().push(median);
    }
}

/// All kinds take their turns, so that the machine's moods meet what is compared alike.
pub async fn all(programs: &Programs, times: Times) -> Vec<Figure> {
    let wasm = std::fs::read(&programs.component).unwrap();
    let setup = Setup::new(&wasm, INCIDENTS).await;
    let delivery = setup.delivery("msg_1", "measured");
    let plain = Bare::new(&wasm, |_| {});
    let epochs = Bare::new(&wasm, |config| {
        config.epoch_interruption(true);
    });
    // As the host has it. What is not bounded in time is too far from its deadline to notice.
    let ticking = epochs.engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = ticking.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let secrets = [SECRET.to_owned()];
    let native = native(&delivery.headers);
    let natively = || {
        let body = std::hint::black_box(&delivery.body);
        signature::verify(&secrets, &native, body, now().timestamp()).unwrap();
        std::hint::black_box(event::named(body));
    };
    let mut world = nowhere::World { now: now().timestamp_micros(), states: Arc::clone(&setup.states) };
    let mut timer = Timer { each: times.each, measured: BTreeMap::new() };
    for _ in 0..times.rounds {
        let verify = async || drop(setup.host.verify(&setup.org, &delivery).await.unwrap());
        timer.time("fresh instance, verified, in the host", verify);
        for (limits, bare, bounded) in [
            ("without limits", &plain, Bounded::ByEngine),
            ("interruptible", &epochs, Bounded::ByEngine),
            ("memory bounded", &epochs, Bounded::Memory),
            ("imports bounded", &epochs, Bounded::Calls),
            ("with all limits", &epochs, Bounded::Time),
        ] {
            timer.time(&format!("fresh instance, {limits}"), async || {
                let mut store = bare.timed(&setup, bounded);
                std::hint::black_box(bounded.wall(bare.plain(&mut store)).await);
            });
            for (what, handled) in [("verified", false), ("verified and handled", true)] {
                let serve = async |store: &mut wasmtime::Store<State>, instance: &Instance| {
                    bare.verify(store, instance, &delivery).await;
                    if handled {
                        bare.handle(store, instance, &delivery).await;
                    }
                };
                timer.time(&format!("fresh instance, {what}, {limits}"), async || {
                    let mut store = bare.timed(&setup, bounded);
                    let call = async {
                        let instance = bare.plain(&mut store).await;
                        serve(&mut store, &instance).await;
                    };
                    bounded.wall(call).await;
                });
                let mut store = bare.timed(&setup, bounded);
                let instance = bare.plain(&mut store).await;
                timer.time(&format!("reused instance, {what}, {limits}"), async || {
                    bounded.set(&mut store);
                    bounded.wall(serve(&mut store, &instance)).await;
                });
            }
        }
        timer.time("natively, verified", async || natively());
        timer.time("natively, verified and handled", async || {
            natively();
            let outcome = handle(&mut world, std::hint::black_box(&delivery.body)).unwrap();
            assert_eq!(outcome, incidentio::model::Outcome::Created);
        });
    }
    let measured = timer.measured;
    let ratio = |what: &str| -> Vec<f64> {
        let reused = &measured[&format!("reused instance, {what}, with all limits")];
        reused
            .iter()
            .zip(&measured[&format!("natively, {what}")])
            .map(|(wasm, native)| wasm / native)
            .collect()
    };
    let ratios = ["verified", "verified and handled"].map(|what| {
        let figure = Figure::new(format!("reused instance to native, {what}"), "", ratio(what));
        figure.within(Bound::AtMost(4.5))
    });
    let mut figures: Vec<Figure> =
        measured.into_iter().map(|(name, values)| Figure::new(name, "µs", values)).collect();
    for figure in &mut figures {
        if figure.name == "fresh instance, verified, in the host" {
            figure.bound = Some(Bound::AtMost(60.0));
        }
    }
    figures.extend(ratios);
    for (name, spent) in fuel(&wasm).await {
        figures.push(Figure::new(format!("fuel: {name}"), "", vec![spent as f64]));
    }
    figures
}
