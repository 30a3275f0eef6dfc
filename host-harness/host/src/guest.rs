//! What a guest's calls into the host do: each import, scoped to the one organisation of the call.
//!
//! The guest names no organisation and could not: the scope is fixed before it runs. What a call may not touch
//! answers a typed refusal, so that a plugin that tries is told and a plugin that insists gains nothing.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinHandle;
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::wall_clock;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use crate::contract::{
    Applied, Change, IncidentKey, KeyPage, Level, RevisitPage, SamplePage, ServiceName, StorageError,
    StoredIncident, Timestamp, imports,
};
use crate::egress::Egress;
use crate::id::OrgId;
use crate::limits::Limits;
use crate::plugin::Export;
use crate::port::{AliasKind, Clock, Lease, Population, Records, Store, StoreError};
use crate::vault::Secret;

/// Keys that one question may name; the contract's number.
const MOST_KEYS: usize = 1_000;
/// Keys that one answer lists, whatever was asked for.
const MOST_LISTED: u32 = 1_000;
/// Text of a log message and of each field beyond this is cut.
const LOG_TEXT: usize = 2_000;

/// How much of the organisation's storage a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// None: the call decides from its arguments and the clock.
    Nothing,
    /// Reading.
    Read,
    /// Reading and committing.
    Write,
}

/// What a person said that names stand for, which comes before the directory.
pub(crate) enum Names {
    /// Nothing: the plugin is no importer.
    None,
    /// What is stored for this importer.
    Stored,
    /// This, and nothing that is stored: a rehearsal.
    Given(HashMap<(AliasKind, String), String>),
}

/// On whose behalf a call runs, and with what.
pub(crate) struct Scope {
    pub(crate) plugin: Arc<str>,
    pub(crate) call: Export,
    pub(crate) org: OrgId,
    /// When that was connected, for calls that write.
    pub(crate) connected_at: Option<Timestamp>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) names: Names,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) access: Access,
    /// Values of the secrets that the plugin asks for by name.
    pub(crate) revealed: Vec<(String, Vec<Secret>)>,
    /// During `handle-event`: the delivery that the first commit completes.
    pub(crate) completes: Option<Lease>,
    /// During `compute-mttr` of one incident: that one, which is then the whole population.
    pub(crate) only: Option<IncidentKey>,
}

/// The state behind one instance.
pub(crate) struct GuestState {
    scope: Option<Scope>,
    completed: bool,
    table: ResourceTable,
    http: WasiHttpCtx,
    egress: Egress,
    limits: Limits,
    logged: u32,
    pub(crate) ceiling: Ceiling,
    /// Epoch ticks that the guest has computed for.
    pub(crate) ticks: u32,
    /// The page of samples that the guest will ask for next, being read while it works on the last.
    ahead: Option<Ahead>,
}

/// A page on its way.
struct Ahead {
    population: Population,
    after: String,
    page: JoinHandle<Result<SamplePage, StoreError>>,
}

impl GuestState {
    /// Without a scope, every import refuses: for `describe`, which calls none.
    pub(crate) fn new(scope: Option<Scope>, egress: Egress, limits: Limits) -> GuestState {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        GuestState {
            scope,
            completed: false,
            table,
            http: WasiHttpCtx::new(),
            egress,
            limits,
            logged: 0,
            ceiling: Ceiling { memory_bytes: limits.memory_bytes, reached: 0, exceeded: false },
            ticks: 0,
            ahead: None,
        }
    }

    /// Whether the call is of this organisation, as it was connected at this time.
    pub(crate) fn is_of(&self, org: &OrgId, connected_at: Option<Timestamp>) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.org == *org && scope.connected_at == connected_at)
    }

    /// Lets go of all that the call was given, and answers on whose behalf that was.
    pub(crate) fn forget(&mut self) -> Option<Scope> {
        self.ahead = None;
        self.egress.forget();
        self.scope.take()
    }

    /// Whether the guest holds anything of the host's.
    pub(crate) fn holds_any(&self) -> bool {
        !self.table.is_empty()
    }

    fn storage(&self, wanted: Access) -> Result<&Scope, StorageError> {
        match &self.scope {
            Some(scope) if scope.access == Access::Write || scope.access == wanted => Ok(scope),
            Some(scope) => {
                Err(StorageError::Invalid(format!("{} may not use storage in this way", scope.call.name)))
            }
            None => Err(StorageError::Invalid("this call may not use storage".into())),
        }
    }
}

/// Links exactly the world: the contract's imports and the WASI interfaces that it names.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    imports::storage::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    imports::directory::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    imports::credentials::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    imports::log::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    wall_clock::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::Gone(_) => {
                StorageError::Unavailable(text)
            }
            StoreError::Full(_) => StorageError::QuotaExceeded(text),
            StoreError::Invalid(_) => StorageError::Invalid(text),
            StoreError::Conflict => StorageError::Conflict,
        }
    }
}

type Answer<T> = wasmtime::Result<Result<T, StorageError>>;

impl imports::storage::Host for GuestState {
    async fn commit(&mut self, changes: Vec<Change>) -> Answer<Applied> {
        if changes.len() > self.limits.changes {
            let most = self.limits.changes;
            return Ok(Err(StorageError::QuotaExceeded(format!("a commit holds at most {most} changes"))));
        }
        let scope = match self.storage(Access::Write) {
            Ok(scope) => scope,
            Err(refused) => return Ok(Err(refused)),
        };
        // The first commit of a delivery's call completes it; what follows is mended after it.
        let completes = scope.completes.as_ref().filter(|_| !self.completed);
        let applied = scope.records.commit(&scope.org, changes, completes).await;
        self.completed |= applied.is_ok() && scope.completes.is_some();
        Ok(applied.map_err(Into::into))
    }

    async fn get_incidents(&mut self, keys: Vec<IncidentKey>) -> Answer<Vec<Option<StoredIncident>>> {
        if keys.len() > MOST_KEYS {
            return Ok(Err(StorageError::Invalid(format!("at most {MOST_KEYS} keys at a time"))));
        }
        match self.storage(Access::Read) {
            Ok(scope) => Ok(scope.records.incidents_by_key(&scope.org, &keys).await.map_err(Into::into)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn list_incidents(&mut self, source: String, after: Option<String>, limit: u32) -> Answer<KeyPage> {
        match self.storage(Access::Read) {
            Ok(scope) => {
                let limit = limit.min(MOST_LISTED);
                let page = scope.records.incident_keys(&scope.org, &source, after.as_deref(), limit).await;
                Ok(page.map_err(Into::into))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn list_open(&mut self, source: String, after: Option<String>, limit: u32) -> Answer<KeyPage> {
        match self.storage(Access::Read) {
            Ok(scope) => {
                let limit = limit.min(MOST_LISTED);
                let page = scope.records.open_keys(&scope.org, &source, after.as_deref(), limit).await;
                Ok(page.map_err(Into::into))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn get_state(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        match self.storage(Access::Read) {
            Ok(scope) => Ok(scope.records.state(&scope.org, &key).await.map_err(Into::into)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn to_revisit(&mut self, source: String, limit: u32) -> Answer<RevisitPage> {
        match self.storage(Access::Read) {
            Ok(scope) => {
                let limit = limit.min(MOST_LISTED);
                Ok(scope.records.to_revisit(&scope.org, &source, limit).await.map_err(Into::into))
            }
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn scan_samples(
        &mut self,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
        after: Option<String>,
    ) -> Answer<SamplePage> {
        let population = Population { since, until, now };
        let ahead = self.ahead.take();
        let scope = match self.storage(Access::Read) {
            Ok(scope) => scope,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(key) = &scope.only {
            return Ok(scope.records.sample(&scope.org, key, population).await.map_err(Into::into));
        }
        let expected = |ahead: &Ahead| ahead.population == population && Some(&ahead.after) == after.as_ref();
        let read = match ahead.filter(expected) {
            Some(ahead) => ahead.page.await.map_err(wasmtime::Error::from)?,
            None => scope.records.scan_samples(&scope.org, population, after.as_deref()).await,
        };
        let page = match read {
            Ok(page) => page,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Some(after) = page.next.clone() {
            let (store, org, from) = (Arc::clone(&scope.records), scope.org.clone(), after.clone());
            let read = async move { store.scan_samples(&org, population, Some(&from)).await };
            self.ahead = Some(Ahead { population, after, page: tokio::spawn(read) });
        }
        Ok(Ok(page))
    }
}

async fn users(scope: &Scope, emails: &[String]) -> Result<Vec<Option<String>>, StoreError> {
    let known = scope.store.users_by_email(&scope.org, emails).await?;
    overridden(scope, AliasKind::Person, emails, known).await
}

async fn services(scope: &Scope, names: &[ServiceName]) -> Result<Vec<Option<String>>, StoreError> {
    let known = scope.store.services_by_name(&scope.org, names).await?;
    let names: Vec<String> = names.iter().map(|service| service.name.clone()).collect();
    overridden(scope, AliasKind::Service, &names, known).await
}

async fn overridden(
    scope: &Scope,
    kind: AliasKind,
    names: &[String],
    known: Vec<Option<String>>,
) -> Result<Vec<Option<String>>, StoreError> {
    let aliased = match &scope.names {
        Names::None => return Ok(known),
        Names::Stored => scope.store.aliased(&scope.org, &scope.plugin, kind, names).await?,
        Names::Given(given) => {
            names.iter().map(|name| given.get(&(kind, kind.folded(name))).cloned()).collect()
        }
    };
    Ok(aliased.into_iter().zip(known).map(|(aliased, known)| aliased.or(known)).collect())
}

impl imports::directory::Host for GuestState {
    async fn users_by_email(&mut self, emails: Vec<String>) -> Answer<Vec<Option<String>>> {
        if emails.len() > MOST_KEYS {
            return Ok(Err(StorageError::Invalid(format!("at most {MOST_KEYS} addresses at a time"))));
        }
        match self.storage(Access::Read) {
            Ok(scope) => Ok(users(scope, &emails).await.map_err(Into::into)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn services_by_name(&mut self, names: Vec<ServiceName>) -> Answer<Vec<Option<String>>> {
        if names.len() > MOST_KEYS {
            return Ok(Err(StorageError::Invalid(format!("at most {MOST_KEYS} names at a time"))));
        }
        match self.storage(Access::Read) {
            Ok(scope) => Ok(services(scope, &names).await.map_err(Into::into)),
            Err(refused) => Ok(Err(refused)),
        }
    }
}

impl imports::credentials::Host for GuestState {
    async fn reveal(&mut self, name: String) -> wasmtime::Result<Vec<String>> {
        let scope = self.scope.iter();
        let mut named = scope.flat_map(|scope| &scope.revealed).filter(|(known, _)| *known == name);
        let values = named.next().map(|(_, values)| values.as_slice()).unwrap_or_default();
        Ok(values.iter().map(|value| value.expose().to_string()).collect())
    }
}

impl imports::log::Host for GuestState {
    async fn log(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.logged = self.logged.saturating_add(1);
        if self.logged > self.limits.log_messages {
            if self.logged == self.limits.log_messages.saturating_add(1) {
                tracing::warn!(target: "koalr::guest", "the plugin logs too much; the rest of this call is dropped");
            }
            return Ok(());
        }
        let (plugin, call, org) = match &self.scope {
            Some(scope) => (&*scope.plugin, scope.call.name, scope.org.as_str()),
            None => ("", "describe", ""),
        };
        let fields: String =
            fields.iter().map(|(name, value)| format!(" {}={}", cut(name), cut(value))).collect();
        let (message, fields) = (cut(&message), cut(&fields));
        match level {
            Level::Debug => tracing::debug!(target: "koalr::guest", plugin, call, org, "{message}{fields}"),
            Level::Info => tracing::info!(target: "koalr::guest", plugin, call, org, "{message}{fields}"),
            Level::Warn => tracing::warn!(target: "koalr::guest", plugin, call, org, "{message}{fields}"),
            Level::Error => tracing::error!(target: "koalr::guest", plugin, call, org, "{message}{fields}"),
        }
        Ok(())
    }
}

/// At most [`LOG_TEXT`] bytes, and no control characters: a log line stays one line.
pub(crate) fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= LOG_TEXT).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl wall_clock::Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let now = self.scope.as_ref().map_or(0, |scope| scope.clock.now()).max(0);
        let nanoseconds = u32::try_from(now % 1_000_000).unwrap_or(0) * 1_000;
        Ok(wall_clock::Datetime { seconds: u64::try_from(now / 1_000_000).unwrap_or(0), nanoseconds })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000 })
    }
}

impl IoView for GuestState {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.egress, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Ends a guest that grows beyond its memory, and remembers that this was why.
pub(crate) struct Ceiling {
    memory_bytes: usize,
    /// The largest that the guest's memory was made.
    pub(crate) reached: usize,
    pub(crate) exceeded: bool,
}

impl ResourceLimiter for Ceiling {
    fn memory_growing(&mut self, _now: usize, wanted: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        self.reached = self.reached.max(wanted);
        if wanted > self.memory_bytes {
            self.exceeded = true;
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        Ok(true)
    }

    fn table_growing(&mut self, _now: usize, wanted: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        Ok(wanted <= 100_000)
    }

    fn instances(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        8
    }

    fn memories(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(engine: &crate::Engine, text: &str) -> wasmtime::Result<wasmtime::component::Component> {
        wasmtime::component::Component::new(engine.wasmtime(), wat::parse_str(text).unwrap())
    }

    /// Loads a component that is not of the world and calls its `run`, bounded like any guest.
    async fn run_alone(engine: &crate::Engine, limits: Limits, text: &str) -> Result<u32, crate::CallError> {
        let component =
            wasmtime::component::Component::new(engine.wasmtime(), wat::parse_str(text).unwrap()).unwrap();
        let state = GuestState::new(
            None,
            Egress::new(
                crate::egress::Client::new(&crate::egress::Network::new()).unwrap(),
                Vec::new(),
                limits,
            ),
            limits,
        );
        let call = async |store: &mut wasmtime::Store<GuestState>| {
            let instance = Linker::new(engine.wasmtime()).instantiate_async(&mut *store, &component).await?;
            let run = instance.get_typed_func::<(), (u32,)>(&mut *store, "run")?;
            Ok(run.call_async(store, ()).await?.0)
        };
        let slot = crate::call::Slot::new(engine, limits, crate::engine::Lane::Work, state).await;
        slot.unwrap().run(limits.wall, call).await.map(|(answer, _)| answer)
    }

    #[tokio::test]
    async fn a_table_does_not_grow_without_an_end() {
        let component = |first: u32, body: &str| {
            format!(
                "(component
                    (core module $m
                        (table $t {first} funcref)
                        (func (export \"run\") (result i32) {body}))
                    (core instance $i (instantiate $m))
                    (func (export \"run\") (result u32) (canon lift (core func $i \"run\"))))"
            )
        };
        // Until it is refused; then how far it came.
        let grow = "(block (loop
                (br_if 1 (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))) (br 0)))
            (table.size $t)";
        let limits = Limits { compute: std::time::Duration::from_millis(100), ..Limits::default() };
        let engine = crate::Engine::new(1, &limits).unwrap();
        let reached = run_alone(&engine, limits, &component(1, grow)).await.unwrap();
        assert!((1_000..=100_000).contains(&reached), "{reached}");
        let forever = "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0)) (unreachable)";
        let error = run_alone(&engine, limits, &component(1, forever)).await.unwrap_err();
        assert!(matches!(error, crate::CallError::ComputeExceeded(_)), "{error}");
        // The next call in the only slot has a table of its own.
        assert_eq!(run_alone(&engine, limits, &component(1, grow)).await.unwrap(), reached);
        let error = compiled(&engine, &component(900_000_000, "(table.size $t)")).err().unwrap();
        assert!(error.to_string().contains("table does not fit"), "{error}");
    }

    #[test]
    fn a_log_line_stays_one_line_of_bounded_length() {
        assert_eq!(cut("one\ntwo\u{1b}[31m"), "one two [31m");
        assert!(cut(&"ä".repeat(5_000)).len() <= LOG_TEXT + 2);
    }
}
