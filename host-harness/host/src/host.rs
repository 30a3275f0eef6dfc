//! The host for its embedder: connect organisations, receive their webhooks, sync, and ask for time to restore.
//!
//! One [`Host`] runs one plugin for many organisations over one store. Every method names the organisation it
//! acts for; none keeps what it knows of it for longer than a second, so several processes can share a store.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tokio::sync::Semaphore;

use crate::cache::ModuleCache;
use crate::call::{Answer, CallError, Counters, Params, Slot, Usage};
use crate::contract::{
    AccountTimestamp, BackfillRequest, BackfillSource, Connection, Delivery, GuestError, IncidentKey,
    Mapping, MttrQuery, MttrReport, Outcome, Rederived, Rejection, Settings, Severity, Step, StorageError,
    Timestamp, Verified,
};
use crate::egress::{Allowed, Client, ClientError, Egress, InvalidOrigin, Network, Origin};
use crate::engine::{Engine, EngineError, Lane};
use crate::guest::{Access, GuestState, Names, Scope, cut};
use crate::id::{DeliveryId, OrgId};
use crate::limits::Limits;
use crate::plugin::{Export, LoadError, Plugin};
use crate::port::{
    Accepted, AliasKind, Clock, HostService, HostUser, Imported, JobKind, Lease, NewDelivery, Organisation,
    OrganisationState, OriginMapping, Records, Store, StoreError, SystemClock,
};
use crate::vault::{Keyring, RotateError, Secret, Vault, VaultError};

/// The host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The component cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The same of the one that imports history.
    #[error("of the component that imports: {0}")]
    Importer(LoadError),
}

/// Why something that was asked of the host did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Nobody of this name was ever connected.
    #[error("no organisation {0} is connected; connect it first")]
    UnknownOrganisation(OrgId),
    /// It was, and is not any more.
    #[error("the organisation {0} is disconnected; connect it again")]
    Disconnected(OrgId),
    /// The organisation was connected by a plugin of another name, whose state means nothing to this one.
    #[error(
        "{org} was connected with the plugin `{theirs}`, and its state is refused to the plugin `{ours}`: run `{theirs}` \
         (`--plugin FILE`; `incidentio` is built in), or connect another organisation"
    )]
    AnotherPlugin {
        /// Whose state.
        org: OrgId,
        /// The plugin that connected it.
        theirs: String,
        /// The one that was to be run.
        ours: String,
    },
    /// The plugin ran and says why not.
    #[error("{}", explain(.0))]
    Plugin(GuestError),
    /// The plugin did not get to its end.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What was asked for is another component's business.
    #[error("no component that imports history was loaded with this host")]
    NoImporter,
    /// Somebody else runs or undoes this migration, or was killed while at it, a moment ago.
    #[error(
        "another process works on this migration, or ended in the middle of it less than half a minute ago; try again then"
    )]
    MigrationBusy,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret cannot be kept or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A mapped origin is not an origin, or not one of the plugin's.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The credential cannot stand in an HTTP header.
    #[error("the {0} contains characters that no HTTP header can carry; copy it again")]
    CredentialText(String),
    /// Nothing can be verified with it.
    #[error(
        "the {0} is not one that deliveries can be verified with; copy it from the provider's webhook settings"
    )]
    UnusableSecret(String),
}

/// Why an origin cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// The text is not an origin.
    #[error(transparent)]
    Invalid(#[from] InvalidOrigin),
    /// The plugin never calls it.
    #[error("the plugin does not call {from}; it calls {known}")]
    Unused {
        /// What was to be mapped.
        from: String,
        /// What can be.
        known: String,
    },
}

/// Why a webhook was not taken. The sender learns nothing of it but the status.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// 404.
    #[error("no organisation {0} is connected")]
    UnknownOrganisation(OrgId),
    /// 401.
    #[error("the delivery is refused: {}", why(*.0))]
    Rejected(Rejection),
    /// 503: more waits to be applied than may.
    #[error(
        "{0} deliveries wait to be applied, which is as many as may; new ones are refused until they are"
    )]
    Backlog(u64),
    /// 503: the sender repeats it.
    #[error(transparent)]
    Unavailable(Box<HostError>),
}

fn why(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::MissingHeader => "a signature header is missing",
        Rejection::MalformedHeader => "a signature header cannot be read",
        Rejection::BadSignature => "no stored secret gives this signature",
        Rejection::TooOld => "it was signed too long ago",
        Rejection::TooNew => "it was signed in the future",
        Rejection::NoSecret => "no signing secret is stored",
        Rejection::TooLarge => "its body is larger than any webhook of the provider",
    }
}

/// Why webhooks would be refused now, whoever sends them. The text names no path and no organisation.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// More waits to be applied than may.
    #[error("{0} deliveries wait to be applied, which is as many as may")]
    Backlog(u64),
    /// The store takes none.
    #[error("the store does not take deliveries")]
    Store(#[source] StoreError),
    /// The sealing key opens no organisation's secrets.
    #[error("the sealing key opens none of the stored secrets")]
    SealingKey,
    /// Whoever asked did not wait any longer.
    #[error("the store does not answer in time")]
    Slow,
}

/// A webhook that was taken: durable, and applied by a worker sometime after.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// What it says of itself.
    pub verified: Verified,
    /// Whether it was new.
    pub accepted: Accepted,
}

/// What an embedder gives when an organisation connects.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Values of the credentials that the plugin's descriptor lists under `injected`, by name.
    pub credentials: Vec<(String, Secret)>,
    /// Values of the secrets that it lists under `revealed`, by name; those not named here stay as they are.
    pub secrets: Vec<(String, Vec<Secret>)>,
    /// What the organisation sets.
    pub settings: Settings,
    /// Development only.
    pub origin_map: Vec<OriginMapping>,
}

/// How a host is put together. Everything but the store and the sealing key has a default.
pub struct HostBuilder {
    store: Arc<dyn Store>,
    keys: Keyring,
    clock: Arc<dyn Clock>,
    cache: Option<ModuleCache>,
    importer: Option<Vec<u8>>,
    origins: Vec<String>,
    network: Network,
    limits: Limits,
    slots: u32,
}

impl HostBuilder {
    /// The origins, such as `https://api.incident.io`, that components may call. One that describes itself as calling
    /// any other is not loaded. Default: none.
    #[must_use]
    pub fn allow<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// How requests leave. Default: without a proxy, trusting the authorities that this library carries.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// A second component, which imports history from another tool into the same records. Default: none.
    #[must_use]
    pub fn importer(mut self, wasm: Vec<u8>) -> Self {
        self.importer = Some(wasm);
        self
    }

    /// Where time comes from. Default: the system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps compiled components, so that a later start is fast. Default: none.
    #[must_use]
    pub fn cache(mut self, cache: ModuleCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Ceilings for calls.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many instances there are at a time, those that verify webhooks not counted: calls that run, and what waits
    /// for an organisation's next delivery. Default 160.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Loads the component and makes the host.
    pub async fn load(self, wasm: &[u8]) -> Result<Host, StartError> {
        let engine = Engine::new(self.slots, &self.limits)?;
        let allowed = self.origins.iter().map(|origin| origin.parse());
        let allowed = allowed.collect::<Result<Vec<Origin>, InvalidOrigin>>().map_err(LoadError::Origin)?;
        let load = async |wasm: &[u8]| -> Result<Plugin, LoadError> {
            let plugin = Plugin::load(&engine, self.cache.as_ref(), &self.limits, wasm).await?;
            match plugin.origins.iter().find(|origin| !allowed.contains(origin)) {
                Some(origin) => Err(LoadError::Forbidden(origin.to_string())),
                None => Ok(plugin),
            }
        };
        let plugin = load(wasm).await?;
        let importer = match &self.importer {
            Some(wasm) => Some(Arc::new(load(wasm).await.map_err(StartError::Importer)?)),
            None => None,
        };
        Ok(Host {
            engine,
            plugin: Arc::new(plugin),
            importer,
            vault: Vault::new(self.keys, Arc::clone(&self.store)),
            store: self.store,
            clock: self.clock,
            client: Client::new(&self.network)?,
            limits: self.limits,
            arrivals: Arc::default(),
            backlog: Arc::default(),
            usage: Arc::default(),
            receiving: Arc::new(Semaphore::new(PRESS)),
            dossiers: Arc::default(),
        })
    }
}

/// Webhooks that are received at a time before what arrived earlier is put off for them.
const PRESS: usize = 24;

/// Signs nothing: stands in for the secret of an organisation that does not exist.
const DECOY: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What a rehearsal uses in the place of what is stored.
pub(crate) struct Trial {
    pub(crate) records: Arc<dyn Records>,
    pub(crate) credentials: Vec<(String, Secret)>,
    pub(crate) origin_map: Vec<OriginMapping>,
    /// None for those that are stored.
    pub(crate) names: Option<HashMap<(AliasKind, String), String>>,
}

/// One plugin, run for many organisations, and perhaps an importer of history beside it. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    engine: Engine,
    plugin: Arc<Plugin>,
    importer: Option<Arc<Plugin>>,
    store: Arc<dyn Store>,
    vault: Vault,
    clock: Arc<dyn Clock>,
    client: Client,
    limits: Limits,
    arrivals: Arc<tokio::sync::Notify>,
    backlog: Arc<Backlog>,
    usage: Arc<Counters>,
    /// A permit for each webhook that is being received; never waited for.
    receiving: Arc<Semaphore>,
    dossiers: Arc<Dossiers>,
}

/// What calls for an organisation need of it each time, its secrets in the clear.
struct Dossier {
    organisation: Organisation,
    revealed: Vec<(String, Vec<Secret>)>,
    credentials: Vec<(String, Secret)>,
}

/// Dossiers, each for a second: a burst of deliveries does not open the same secrets for each of them. What another
/// process changes is seen within that time.
#[derive(Default)]
struct Dossiers(std::sync::Mutex<HashMap<OrgId, (std::time::Instant, Arc<Dossier>)>>);

impl Dossiers {
    const LIFE: std::time::Duration = std::time::Duration::from_secs(1);
    /// When there are so many, those that are over are dropped.
    const MANY: usize = 1_024;

    fn get(&self, org: &OrgId) -> Option<Arc<Dossier>> {
        let dossiers = self.lock();
        let (at, dossier) = dossiers.get(org)?;
        (at.elapsed() < Self::LIFE).then(|| Arc::clone(dossier))
    }

    fn put(&self, org: &OrgId, dossier: Arc<Dossier>) {
        let mut dossiers = self.lock();
        if dossiers.len() >= Self::MANY {
            dossiers.retain(|_, (at, _)| at.elapsed() < Self::LIFE);
        }
        dossiers.insert(org.clone(), (std::time::Instant::now(), dossier));
    }

    fn forget(&self, org: &OrgId) {
        self.lock().remove(org);
    }

    /// Whatever is over goes, wiped.
    fn sweep(&self) {
        self.lock().retain(|_, (at, _)| at.elapsed() < Self::LIFE);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OrgId, (std::time::Instant, Arc<Dossier>)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How many deliveries waited when they were last counted.
#[derive(Default)]
struct Backlog(std::sync::Mutex<Counted>);

#[derive(Default)]
struct Counted {
    at: Option<std::time::Instant>,
    pending: u64,
    /// Organisations that have as many as one may.
    crowding: std::collections::HashSet<OrgId>,
}

/// A provider's identifier that is longer is none.
const LONGEST_ID: usize = 200;

/// What a component says of its failure, which may be what the provider or an attacker said: it is stored, logged and
/// shown, so it is one line of bounded length.
fn refused(error: GuestError) -> HostError {
    HostError::Plugin(match error {
        GuestError::Unauthorized(text) => GuestError::Unauthorized(cut(&text)),
        GuestError::Forbidden(text) => GuestError::Forbidden(cut(&text)),
        GuestError::AnotherAccount(text) => GuestError::AnotherAccount(cut(&text)),
        GuestError::RateLimited(wait) => GuestError::RateLimited(wait),
        GuestError::Unavailable(text) => GuestError::Unavailable(cut(&text)),
        GuestError::Unreachable(text) => GuestError::Unreachable(cut(&text)),
        GuestError::Malformed(text) => GuestError::Malformed(cut(&text)),
        GuestError::Invalid(text) => GuestError::Invalid(cut(&text)),
        GuestError::Storage(error) => GuestError::Storage(match error {
            StorageError::Unavailable(text) => StorageError::Unavailable(cut(&text)),
            StorageError::QuotaExceeded(text) => StorageError::QuotaExceeded(cut(&text)),
            StorageError::Invalid(text) => StorageError::Invalid(cut(&text)),
            StorageError::Conflict => StorageError::Conflict,
        }),
    })
}

impl Backlog {
    /// Whether it is time to count again; said to one caller only, so that not all of them count.
    fn is_stale(&self) -> bool {
        let mut last = self.lock();
        let now = std::time::Instant::now();
        let stale = last.at.is_none_or(|at| now.duration_since(at).as_secs() >= 1);
        if stale {
            last.at = Some(now);
        }
        stale
    }

    fn note(&self, pending: u64, crowding: Vec<OrgId>) {
        let mut last = self.lock();
        (last.pending, last.crowding) = (pending, crowding.into_iter().collect());
    }

    fn of(&self, org: &OrgId) -> (u64, bool) {
        let last = self.lock();
        (last.pending, last.crowding.contains(org))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Host {
    /// A host over this store, its secrets sealed with this key, or with those of a [`Keyring`].
    pub fn builder(store: Arc<dyn Store>, keys: impl Into<Keyring>) -> HostBuilder {
        let (clock, limits) = (Arc::new(SystemClock), Limits::default());
        HostBuilder {
            store,
            keys: keys.into(),
            clock,
            cache: None,
            importer: None,
            origins: Vec::new(),
            network: Network::new(),
            limits,
            slots: 160,
        }
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The component that imports history, if one was loaded.
    pub fn importer(&self) -> Result<&Arc<Plugin>, HostError> {
        self.importer.as_ref().ok_or(HostError::NoImporter)
    }

    /// The store, for reading what the plugin wrote.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// How many calls run at a time.
    pub(crate) fn slots(&self) -> u32 {
        self.engine.slots()
    }

    /// Whether more webhooks are being received than a calm host has in hand.
    pub(crate) fn is_pressed(&self) -> bool {
        self.receiving.available_permits() == 0
    }

    /// How this process's calls into components ended, since it started.
    pub fn usage(&self) -> Usage {
        self.usage.read()
    }

    /// Whether a webhook could be stored now: the database is the one that was opened, and takes a write that is synced
    /// to the disk. For a readiness probe; ask at most once a second.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.store.try_write().await
    }

    /// Waits until the database was moved, deleted, replaced or overwritten while in use, and answers
    /// [`StoreError::Gone`]. Nothing is acknowledged any more then; end the process, and show what the error says.
    pub async fn store_gone(&self) -> StoreError {
        self.store.gone().await
    }

    /// Wakes the worker when a delivery arrives in this process.
    pub(crate) fn arrivals(&self) -> &tokio::sync::Notify {
        &self.arrivals
    }

    /// Changes what the organisation has set, with the credential that is stored: the provider is asked again, and
    /// stored incidents are derived anew.
    pub async fn put_settings(&self, org: &OrgId, settings: Settings) -> Result<Connection, HostError> {
        let connect = self.stored_with(org, settings).await?;
        self.connect(org, connect).await
    }

    /// The connection that is stored, with other settings.
    async fn stored_with(&self, org: &OrgId, settings: Settings) -> Result<Connect, HostError> {
        let known = self.connected(org).await?;
        let mut credentials = Vec::new();
        for injected in &self.plugin.descriptor().injected {
            for value in self.vault.open(org, &injected.name).await? {
                credentials.push((injected.name.clone(), value));
            }
        }
        Ok(Connect { credentials, secrets: Vec::new(), settings, origin_map: known.origin_map })
    }

    /// Has the plugin take settings into these records instead of the stored ones.
    pub(crate) async fn rehearse_settings(
        &self,
        org: &OrgId,
        settings: Settings,
        records: Arc<dyn Records>,
    ) -> Result<(), HostError> {
        let connect = self.stored_with(org, settings).await?;
        let origins = allowed(&self.plugin, &connect.origin_map).map_err(MappingError::Invalid)?;
        let known = self.organisation(org).await?.connection;
        let account = known.as_ref().map(|known| known.account.as_str());
        self.try_connect(org, &connect, origins, account, records).await?;
        Ok(())
    }

    /// Has the plugin derive its stored incidents anew into these records, a part at a time.
    pub(crate) async fn rehearse_rederiving(
        &self,
        org: &OrgId,
        after: Option<&str>,
        records: Arc<dyn Records>,
    ) -> Result<Rederived, HostError> {
        let plugin = &self.plugin;
        let (scope, _) = self.live(plugin, org, plugin.exports.rederive, Access::Write, None).await?;
        let scope = Scope { records, ..scope };
        let done: Result<Rederived, GuestError> = self.call(plugin, scope, Vec::new(), (after,)).await?;
        done.map_err(refused)
    }

    /// Checks the credential with the provider; once accepted, keeps it and schedules the import of history and
    /// then polling. A refused credential leaves nothing behind: a new organisation is forgotten, a connected
    /// one goes on with what it had. A credential of another account than the organisation's is refused, unless the
    /// organisation was disconnected; see [`Host::move_to`].
    pub async fn connect(&self, org: &OrgId, connect: Connect) -> Result<Connection, HostError> {
        self.connect_to(org, connect, None).await
    }

    /// Connects an organisation to another account, named as the provider names it, and imports that account's history.
    /// What is stored of the former account stays; what was open there is not visible any more, and is left out of
    /// figures for that reason.
    pub async fn move_to(
        &self,
        org: &OrgId,
        connect: Connect,
        account: &str,
    ) -> Result<Connection, HostError> {
        self.connect_to(org, connect, Some(account)).await
    }

    async fn connect_to(
        &self,
        org: &OrgId,
        connect: Connect,
        account: Option<&str>,
    ) -> Result<Connection, HostError> {
        self.check_map(&connect.origin_map)?;
        let origins = allowed(&self.plugin, &connect.origin_map).map_err(MappingError::Invalid)?;
        let existing = self.store.organisation(org).await?;
        if let Some(known) = &existing {
            self.check_plugin(known)?;
        }
        let now = self.clock.now();
        if existing.is_none() {
            let pending = Organisation {
                id: org.clone(),
                state: OrganisationState::Pending,
                plugin: self.plugin.name.to_string(),
                connection: None,
                settings: connect.settings.clone(),
                origin_map: connect.origin_map.clone(),
                created_at: now,
                connected_at: None,
            };
            self.store.put_organisation(&pending).await?;
        }
        let kept = existing.as_ref().filter(|known| known.state != OrganisationState::Disconnected);
        let known = kept.and_then(|known| known.connection.as_ref()).map(|known| known.account.as_str());
        let connected = self.establish(org, connect, origins, existing.as_ref(), account.or(known)).await;
        self.dossiers.forget(org);
        if connected.is_err() && existing.is_none() {
            // Unless another connection was accepted meanwhile.
            self.store.remove_pending_organisation(org, now).await?;
        }
        self.store.settle().await;
        connected
    }

    async fn establish(
        &self,
        org: &OrgId,
        mut connect: Connect,
        origins: Vec<Allowed>,
        existing: Option<&Organisation>,
        account: Option<&str>,
    ) -> Result<Connection, HostError> {
        self.check_secrets(org, &connect.secrets).await?;
        let records = Arc::clone(&self.store) as Arc<dyn Records>;
        let connection = self.try_connect(org, &connect, origins, account, records).await?;
        connect.settings.timestamps.clone_from(&connection.chosen);
        let former = existing.and_then(|known| known.connection.as_ref());
        let moved = former.is_some_and(|former| former.account != connection.account);
        for (name, value) in &connect.credentials {
            self.vault.put(org, name, std::slice::from_ref(value)).await?;
        }
        for (name, values) in &connect.secrets {
            self.vault.put(org, name, values).await?;
        }
        let now = self.clock.now();
        let history =
            |settings: &Settings| settings.history_days.unwrap_or(self.plugin.descriptor().history_days);
        let history_days = history(&connect.settings);
        let reaches_back = existing.is_some_and(|known| history_days > history(&known.settings));
        // Disconnecting removed the job that was due, and a program that came since may derive otherwise.
        let anew = existing.is_some_and(|known| {
            known.state == OrganisationState::Disconnected || known.settings != connect.settings
        });
        let live = Organisation {
            id: org.clone(),
            state: OrganisationState::Live,
            plugin: self.plugin.name.to_string(),
            connection: Some(connection.clone()),
            settings: connect.settings,
            origin_map: connect.origin_map,
            created_at: existing.map_or(now, |known| known.created_at),
            connected_at: Some(now),
        };
        // Before the row, so that nothing is lost by a crash between the two.
        if anew {
            self.schedule_rederive(org).await?;
        }
        self.store.put_organisation(&live).await?;
        // A reconnection does not import the same history again; what was missed meanwhile is the poll's business.
        if reaches_back || moved || self.store.job(org, JobKind::Backfill).await?.is_none() {
            self.schedule_backfill(org, history_days).await?;
        }
        if self.store.job(org, JobKind::Poll).await?.is_none() {
            self.store.put_job(org, JobKind::Poll, now, None, now).await?;
        }
        Ok(connection)
    }

    /// A secret that verifies nothing is refused when it is saved, not delivery by delivery.
    async fn check_secrets(&self, org: &OrgId, secrets: &[(String, Vec<Secret>)]) -> Result<(), HostError> {
        for (name, values) in secrets {
            for value in values {
                let revealed = vec![(name.clone(), vec![value.clone()])];
                let empty = Delivery { headers: Vec::new(), body: Vec::new() };
                if self.verify_with(org, revealed, &empty).await? == Err(Rejection::NoSecret) {
                    return Err(HostError::UnusableSecret(name.clone()));
                }
            }
        }
        Ok(())
    }

    /// Imports the last so many days, from now.
    pub async fn schedule_backfill(&self, org: &OrgId, days: u32) -> Result<(), HostError> {
        const DAY: i64 = 86_400_000_000;
        self.own(org).await?;
        let now = self.clock.now();
        let window = crate::port::BackfillWindow {
            since: now.saturating_sub(DAY.saturating_mul(days.into())),
            until: now,
        };
        Ok(self.store.put_job(org, JobKind::Backfill, now, Some(window), now).await?)
    }

    /// Has stored incidents derived anew, soon: what they are derived from has changed.
    pub async fn schedule_rederive(&self, org: &OrgId) -> Result<(), HostError> {
        let now = self.clock.now();
        Ok(self.store.put_job(org, JobKind::Rederive, now, None, now).await?)
    }

    /// Adds users of the host, or replaces those of the same id; stored incidents are linked anew.
    pub async fn import_users(&self, org: &OrgId, users: Vec<HostUser>) -> Result<Imported, HostError> {
        self.own(org).await?;
        let imported = self.store.import_users(org, users).await?;
        self.relink(org, imported).await
    }

    /// Adds entries of the host's catalog, or replaces those of the same id; stored incidents are linked anew.
    pub async fn import_services(
        &self,
        org: &OrgId,
        services: Vec<HostService>,
    ) -> Result<Imported, HostError> {
        self.own(org).await?;
        let imported = self.store.import_services(org, services).await?;
        self.relink(org, imported).await
    }

    /// Has an address of the provider's lead to one of the host's users, whom it makes if there is none of this id.
    pub async fn link_user(&self, org: &OrgId, address: &str, id: &str) -> Result<Imported, HostError> {
        self.own(org).await?;
        let imported = self.store.link_user(org, address, id).await?;
        self.relink(org, imported).await
    }

    /// Has a name of the provider's lead to an entry of the host's catalog, which it makes if there is none of this id.
    pub async fn link_service(&self, org: &OrgId, name: &str, id: &str) -> Result<Imported, HostError> {
        self.own(org).await?;
        let imported = self.store.link_service(org, name, id).await?;
        self.relink(org, imported).await
    }

    async fn relink(&self, org: &OrgId, imported: Imported) -> Result<Imported, HostError> {
        if imported.added + imported.updated > 0 {
            self.schedule_rederive(org).await?;
        }
        self.store.settle().await;
        Ok(imported)
    }

    async fn try_connect(
        &self,
        org: &OrgId,
        connect: &Connect,
        origins: Vec<Allowed>,
        account: Option<&str>,
        records: Arc<dyn Records>,
    ) -> Result<Connection, HostError> {
        let allowed = with_credentials(&self.plugin, origins, &connect.credentials)?;
        let scope =
            self.scope(&self.plugin, org, self.plugin.exports.connect, Access::Write, Vec::new(), None);
        let scope = Scope { records, ..scope };
        let answer: Result<Connection, GuestError> =
            self.call(&self.plugin, scope, allowed, (&connect.settings, account)).await?;
        let connection = answer.map_err(refused)?;
        let timestamp = |one: AccountTimestamp| AccountTimestamp { id: cut(&one.id), name: cut(&one.name) };
        let texts = |texts: Vec<String>| texts.iter().take(100).map(|text| cut(text)).collect();
        Ok(Connection {
            account: cut(&connection.account),
            account_url: connection.account_url.as_deref().map(cut),
            key_name: cut(&connection.key_name),
            roles: texts(connection.roles),
            timestamps: connection.timestamps.into_iter().take(100).map(timestamp).collect(),
            chosen: connection.chosen,
            warnings: texts(connection.warnings),
        })
    }

    /// Ends the work for an organisation and removes its secrets. What was synced stays; a new connection goes on
    /// from there.
    pub async fn disconnect(&self, org: &OrgId) -> Result<(), HostError> {
        let known = self.store.disconnect_organisation(org, self.clock.now()).await?;
        self.dossiers.forget(org);
        match known {
            true => Ok(()),
            false => Err(HostError::UnknownOrganisation(org.clone())),
        }
    }

    /// Seals all organisations' keys with a fresh sealing key; see [`Vault::rotate`].
    pub async fn rotate_sealing_key(&self) -> Result<u64, RotateError> {
        self.vault.rotate().await
    }

    /// Organisations whose secrets the sealing key does not open: what is received or synced for them fails until the
    /// right key is back, or until they are disconnected and connected again. Empty is as it should be.
    pub async fn unopenable(&self) -> Result<Vec<OrgId>, HostError> {
        Ok(self.vault.unopenable().await?)
    }

    /// Replaces the values of a secret that the plugin asks for, such as the webhook's signing secret.
    pub async fn put_secret(&self, org: &OrgId, name: &str, values: &[Secret]) -> Result<(), HostError> {
        self.own(org).await?;
        self.check_secrets(org, &[(name.to_string(), values.to_vec())]).await?;
        self.vault.put(org, name, values).await?;
        self.dossiers.forget(org);
        self.store.settle().await;
        Ok(())
    }

    /// Whether this organisation is connected here. Asks the store, and opens no secret.
    pub async fn is_connected(&self, org: &OrgId) -> Result<bool, HostError> {
        let known = self.store.organisation(org).await?;
        Ok(known.is_some_and(|known| self.serves(&known)))
    }

    /// Whether [`Host::receive`] would take a genuine delivery now. Writes to the store, so it is no question to ask for
    /// each delivery.
    pub async fn ready(&self) -> Result<(), NotReady> {
        let pending = self.store.depth().await.map_err(NotReady::Store)?.pending;
        if pending >= self.limits.pending {
            return Err(NotReady::Backlog(pending));
        }
        match self.vault.opens_nothing().await {
            Ok(false) => {}
            Err(VaultError::Store(error)) => return Err(NotReady::Store(error)),
            Ok(true) | Err(_) => return Err(NotReady::SealingKey),
        }
        self.check_store().await.map_err(NotReady::Store)
    }

    /// Verifies a delivery; calls nothing but the plugin.
    pub async fn verify(&self, org: &OrgId, delivery: &Delivery) -> Result<Verified, ReceiveError> {
        let unavailable = |error: HostError| ReceiveError::Unavailable(Box::new(error));
        let revealed = match self.dossier(org).await {
            Ok(known) if self.serves(&known.organisation) => known.revealed.clone(),
            Ok(_) | Err(HostError::UnknownOrganisation(_)) => {
                // The same work as for one that is known, so that the time of the answer tells nothing.
                let names = self.plugin.descriptor().revealed.iter();
                let decoys = names.map(|name| (name.clone(), vec![Secret::new(DECOY.into())])).collect();
                let _ = self.verify_with(org, decoys, delivery).await;
                return Err(ReceiveError::UnknownOrganisation(org.clone()));
            }
            Err(error) => return Err(unavailable(error)),
        };
        let answer =
            self.verify_with(org, revealed, delivery).await.map_err(|error| unavailable(error.into()))?;
        let verified = answer.map_err(ReceiveError::Rejected)?;
        // Both are stored with the delivery and shown to people.
        let event_type = cut(&verified.event_type);
        let incident_id = verified.incident_id.filter(|id| id.len() <= LONGEST_ID && *id == cut(id));
        Ok(Verified { event_type, incident_id, ..verified })
    }

    async fn verify_with(
        &self,
        org: &OrgId,
        revealed: Vec<(String, Vec<Secret>)>,
        delivery: &Delivery,
    ) -> Result<Result<Verified, Rejection>, CallError> {
        let scope = self.scope(
            &self.plugin,
            org,
            self.plugin.exports.verify_webhook,
            Access::Nothing,
            revealed,
            None,
        );
        let bounds = (Lane::Door, self.limits.verify_wall);
        Ok(self.call_in(None, bounds, &self.plugin, scope, Vec::new(), (delivery,)).await?.0)
    }

    /// Verifies a delivery and makes it durable. Once this answers `Ok`, the sender may be told 2xx.
    pub async fn receive(&self, org: &OrgId, delivery: Delivery) -> Result<Received, ReceiveError> {
        self.check_backlog(org).await?;
        let _receiving = self.receiving.try_acquire();
        let verified = self.verify(org, &delivery).await?;
        let Ok(id) = verified.id.parse::<DeliveryId>() else {
            return Err(ReceiveError::Rejected(Rejection::MalformedHeader));
        };
        let new = NewDelivery {
            id,
            event_type: verified.event_type.clone(),
            incident: verified.incident_id.clone(),
            received_at: self.clock.now(),
            delivery,
        };
        let accepted = self.store.accept(org, new).await;
        let accepted = accepted.map_err(|error| ReceiveError::Unavailable(Box::new(error.into())))?;
        if accepted == Accepted::Unknown {
            self.dossiers.forget(org);
            return Err(ReceiveError::UnknownOrganisation(org.clone()));
        }
        self.arrivals.notify_one();
        Ok(Received { verified, accepted })
    }

    /// Refuses while too much waits. Counted at most once a second, so that the bound may be passed by what arrives
    /// in that time.
    async fn check_backlog(&self, org: &OrgId) -> Result<(), ReceiveError> {
        if self.backlog.is_stale() {
            let unavailable = |error: StoreError| ReceiveError::Unavailable(Box::new(error.into()));
            let pending = self.store.depth().await.map_err(unavailable)?.pending;
            // A provider that does not answer holds up its own organisation, and must not fill the inbox for all.
            let crowding = match pending >= self.limits.pending_each {
                true => self.store.crowding(self.limits.pending_each).await.map_err(unavailable)?,
                false => Vec::new(),
            };
            self.backlog.note(pending, crowding);
        }
        let (pending, crowds) = self.backlog.of(org);
        match pending >= self.limits.pending || crowds {
            true => Err(ReceiveError::Backlog(pending)),
            false => Ok(()),
        }
    }

    /// Whether webhooks of it are this plugin's.
    fn serves(&self, known: &Organisation) -> bool {
        known.state != OrganisationState::Disconnected && self.check_plugin(known).is_ok()
    }

    /// Refuses an organisation that was connected with a plugin of another name.
    pub fn check_plugin(&self, known: &Organisation) -> Result<(), HostError> {
        match known.plugin == *self.plugin.name {
            true => Ok(()),
            false => Err(HostError::AnotherPlugin {
                org: known.id.clone(),
                theirs: known.plugin.clone(),
                ours: self.plugin.name.to_string(),
            }),
        }
    }

    /// An organisation of this plugin's.
    pub(crate) async fn own(&self, org: &OrgId) -> Result<Organisation, HostError> {
        let known = self.organisation(org).await?;
        self.check_plugin(&known)?;
        Ok(known)
    }

    async fn connected(&self, org: &OrgId) -> Result<Organisation, HostError> {
        let known = self.own(org).await?;
        match known.state {
            OrganisationState::Disconnected => Err(HostError::Disconnected(org.clone())),
            _ => Ok(known),
        }
    }

    /// Has a delivery that is done or was given up applied again. False if there is none of this id.
    pub async fn replay(&self, org: &OrgId, delivery: &DeliveryId) -> Result<bool, HostError> {
        self.connected(org).await?;
        let due = self.store.replay(org, delivery, self.clock().now()).await?;
        self.arrivals.notify_one();
        Ok(due)
    }

    /// Has everything applied again that was given up. Answers how many deliveries that are.
    pub async fn replay_dead(&self, org: &OrgId) -> Result<u64, HostError> {
        self.connected(org).await?;
        let due = self.store.replay_dead(org, self.clock().now()).await?;
        self.arrivals.notify_one();
        Ok(due)
    }

    /// Applies a stored delivery: the plugin's commit and the delivery's completion are one transaction. In an instance
    /// that was kept of the same organisation's last delivery, if one is given; it is given back for the next, if it can
    /// be.
    pub(crate) async fn apply(
        &self,
        lease: &Lease,
        delivery: &Delivery,
        kept: Option<Slot>,
    ) -> Result<(Outcome, Option<Slot>), HostError> {
        let (scope, allowed) = self
            .live(
                &self.plugin,
                &lease.org,
                self.plugin.exports.handle_event,
                Access::Write,
                Some(lease.clone()),
            )
            .await?;
        let bounds = (Lane::Work, self.limits.wall);
        let (answer, slot) = self.call_in(kept, bounds, &self.plugin, scope, allowed, (delivery,)).await?;
        let answer: Result<Outcome, GuestError> = answer;
        let outcome = match answer.map_err(refused)? {
            Outcome::Ignored(why) => Outcome::Ignored(cut(&why)),
            outcome => outcome,
        };
        Ok((outcome, slot.keep()))
    }

    /// One bounded step of catching up. Callers that want the schedule's leases and backoff use
    /// [`Scheduler`](crate::scheduler::Scheduler).
    pub async fn poll(&self, org: &OrgId) -> Result<Step, HostError> {
        let (scope, allowed) =
            self.live(&self.plugin, org, self.plugin.exports.poll, Access::Write, None).await?;
        self.call::<_, Result<Step, GuestError>>(&self.plugin, scope, allowed, ()).await?.map_err(refused)
    }

    /// One bounded part of deriving stored incidents anew, after the one that answered `after`. Makes no request.
    pub async fn rederive(&self, org: &OrgId, after: Option<&str>) -> Result<Rederived, HostError> {
        // The importer's come last. Between the two is a token that no plugin gives.
        const IMPORTED: &str = "\0";
        let (plugin, after) = match (after.and_then(|after| after.strip_prefix(IMPORTED)), &self.importer) {
            (Some(after), Some(importer)) => (importer, Some(after).filter(|after| !after.is_empty())),
            _ => (&self.plugin, after),
        };
        let (scope, _) = self.live(plugin, org, plugin.exports.rederive, Access::Write, None).await?;
        let done: Result<Rederived, GuestError> = self.call(plugin, scope, Vec::new(), (after,)).await?;
        let Rederived { updated, next } = done.map_err(refused)?;
        let next = match (next, &self.importer) {
            (next, Some(importer)) if Arc::ptr_eq(plugin, importer) => {
                next.map(|next| format!("{IMPORTED}{next}"))
            }
            (None, Some(_)) => Some(IMPORTED.to_owned()),
            (next, _) => next,
        };
        Ok(Rederived { updated, next })
    }

    /// One bounded step of importing history.
    pub async fn backfill(&self, org: &OrgId, request: &BackfillRequest) -> Result<Step, HostError> {
        self.backfill_into(org, request, None).await
    }

    /// The same, with nothing of it stored.
    pub(crate) async fn backfill_into(
        &self,
        org: &OrgId,
        request: &BackfillRequest,
        trial: Option<&Trial>,
    ) -> Result<Step, HostError> {
        let plugin = match request.source {
            BackfillSource::Incidentio => &self.plugin,
            BackfillSource::Opsgenie(_) | BackfillSource::OpsgenieRecords(_) => self.importer()?,
        };
        let (mut scope, mut allowed) =
            self.live(plugin, org, plugin.exports.backfill, Access::Write, None).await?;
        if let Some(trial) = trial {
            scope.records = Arc::clone(&trial.records);
            if let Some(names) = &trial.names {
                scope.names = Names::Given(names.clone());
            }
            let given = self::allowed(plugin, &trial.origin_map).map_err(MappingError::Invalid)?;
            for given in with_credentials(plugin, given, &trial.credentials)? {
                if let Some(place) = allowed.iter_mut().find(|known| known.origin == given.origin) {
                    place.mapped_to = given.mapped_to.or(place.mapped_to.take());
                    if !given.headers.is_empty() {
                        place.headers = given.headers;
                    }
                }
            }
        }
        self.call::<_, Result<Step, GuestError>>(plugin, scope, allowed, (request,)).await?.map_err(refused)
    }

    /// A severity on the host's scale, as this organisation's incidents are mapped.
    pub async fn map_severity(&self, org: &OrgId, severity: &Severity) -> Result<Mapping, HostError> {
        let (scope, _) =
            self.live(&self.plugin, org, self.plugin.exports.map_severity, Access::Read, None).await?;
        let answer: Result<Mapping, GuestError> =
            self.call(&self.plugin, scope, Vec::new(), (severity,)).await?;
        answer.map_err(refused)
    }

    /// Time to restore. [`calendar`](crate::calendar) makes the edges.
    pub async fn mttr(&self, org: &OrgId, query: &MttrQuery) -> Result<MttrReport, HostError> {
        self.compute(org, query, None).await
    }

    /// The same of one incident alone, by the same rules: it is measured, or excluded for its reason, or not in the
    /// population of that time, which is then empty.
    pub async fn explain(
        &self,
        org: &OrgId,
        query: &MttrQuery,
        incident: &IncidentKey,
    ) -> Result<MttrReport, HostError> {
        self.compute(org, query, Some(incident.clone())).await
    }

    async fn compute(
        &self,
        org: &OrgId,
        query: &MttrQuery,
        only: Option<IncidentKey>,
    ) -> Result<MttrReport, HostError> {
        let (scope, _) =
            self.live(&self.plugin, org, self.plugin.exports.compute_mttr, Access::Read, None).await?;
        let scope = Scope { only, ..scope };
        let answer: Result<MttrReport, GuestError> =
            self.call(&self.plugin, scope, Vec::new(), (query,)).await?;
        answer.map_err(refused)
    }

    /// The organisation, or the error that says that there is none.
    pub async fn organisation(&self, org: &OrgId) -> Result<Organisation, HostError> {
        let found = self.store.organisation(org).await?;
        found.ok_or_else(|| HostError::UnknownOrganisation(org.clone()))
    }

    /// When the connection was made whose credential the next call for this organisation uses.
    pub(crate) async fn connected_at(&self, org: &OrgId) -> Result<Option<Timestamp>, HostError> {
        Ok(self.dossier(org).await?.organisation.connected_at)
    }

    /// Notes that the provider refuses the credential of the connection of this time: scheduled work stops until a new
    /// one succeeds. Nothing is noted if one did meanwhile.
    pub(crate) async fn mark_refused(
        &self,
        org: &OrgId,
        connected_at: Option<Timestamp>,
    ) -> Result<(), HostError> {
        self.store.refuse_organisation(org, connected_at).await?;
        self.dossiers.forget(org);
        Ok(())
    }

    /// Calls the function that the scope names, in a fresh instance.
    async fn call<P: Params, R: Answer>(
        &self,
        plugin: &Plugin,
        scope: Scope,
        allowed: Vec<Allowed>,
        params: P,
    ) -> Result<R, CallError> {
        let bounds = (Lane::Work, self.limits.wall);
        Ok(self.call_in(None, bounds, plugin, scope, allowed, params).await?.0)
    }

    /// The same in an instance that was kept, if there is one.
    async fn call_in<P: Params, R: Answer>(
        &self,
        kept: Option<Slot>,
        (lane, wall): (Lane, std::time::Duration),
        plugin: &Plugin,
        scope: Scope,
        allowed: Vec<Allowed>,
        params: P,
    ) -> Result<(R, Slot), CallError> {
        let export = scope.call;
        let egress = Egress::new(self.client.clone(), allowed, self.limits);
        let state = GuestState::new(Some(scope), egress, self.limits);
        let kept = kept.filter(|slot| slot.serves(&state));
        let ended = async {
            let slot = match kept {
                Some(slot) => slot.reuse(state),
                None => Slot::new(&self.engine, self.limits, lane, state).await?,
            };
            slot.call(wall, plugin, export, params).await
        };
        let ended = ended.await;
        self.usage.note(ended.as_ref().err());
        ended
    }

    fn scope(
        &self,
        plugin: &Plugin,
        org: &OrgId,
        call: Export,
        access: Access,
        revealed: Vec<(String, Vec<Secret>)>,
        completes: Option<Lease>,
    ) -> Scope {
        Scope {
            plugin: Arc::clone(&plugin.name),
            call,
            org: org.clone(),
            connected_at: None,
            records: Arc::clone(&self.store) as Arc<dyn Records>,
            store: Arc::clone(&self.store),
            names: match &self.importer {
                Some(importer) if std::ptr::eq(&**importer, plugin) => Names::Stored,
                _ => Names::None,
            },
            clock: Arc::clone(&self.clock),
            access,
            revealed,
            completes,
            only: None,
        }
    }

    /// Scope and egress of a connected organisation.
    async fn live(
        &self,
        plugin: &Plugin,
        org: &OrgId,
        call: Export,
        access: Access,
        completes: Option<Lease>,
    ) -> Result<(Scope, Vec<Allowed>), HostError> {
        // A report takes seconds and opens no secret.
        if access != Access::Write {
            self.own(org).await?;
            return Ok((self.scope(plugin, org, call, access, Vec::new(), completes), Vec::new()));
        }
        let own = std::ptr::eq(plugin, &*self.plugin);
        let dossier = match own {
            true => self.dossier(org).await?,
            false => Arc::new(self.open_dossier(org, plugin).await?),
        };
        let organisation = &dossier.organisation;
        self.check_plugin(organisation)?;
        if organisation.state == OrganisationState::Disconnected {
            return Err(HostError::Disconnected(org.clone()));
        }
        let scope = self.scope(plugin, org, call, access, Vec::new(), completes);
        let scope = Scope { connected_at: organisation.connected_at, ..scope };
        let allowed = with_credentials(
            plugin,
            allowed(plugin, &organisation.origin_map).map_err(MappingError::Invalid)?,
            &dossier.credentials,
        )?;
        Ok((scope, allowed))
    }

    async fn dossier(&self, org: &OrgId) -> Result<Arc<Dossier>, HostError> {
        if let Some(dossier) = self.dossiers.get(org) {
            return Ok(dossier);
        }
        let dossier = Arc::new(self.open_dossier(org, &self.plugin).await?);
        self.dossiers.put(org, Arc::clone(&dossier));
        let (dossiers, over) = (Arc::clone(&self.dossiers), Dossiers::LIFE);
        tokio::spawn(async move {
            tokio::time::sleep(over).await;
            dossiers.sweep();
        });
        Ok(dossier)
    }

    async fn open_dossier(&self, org: &OrgId, plugin: &Plugin) -> Result<Dossier, HostError> {
        let organisation = self.organisation(org).await?;
        let mut credentials = Vec::new();
        let mut names: Vec<&str> =
            plugin.descriptor().injected.iter().map(|wanted| wanted.name.as_str()).collect();
        names.dedup();
        for name in names {
            let values = self.vault.open(org, name).await?;
            credentials.extend(values.into_iter().next().map(|value| (name.to_owned(), value)));
        }
        Ok(Dossier { organisation, revealed: self.revealed(org).await?, credentials })
    }

    async fn revealed(&self, org: &OrgId) -> Result<Vec<(String, Vec<Secret>)>, HostError> {
        let mut revealed = Vec::new();
        for name in &self.plugin.descriptor().revealed {
            revealed.push((name.clone(), self.vault.open(org, name).await?));
        }
        Ok(revealed)
    }

    /// Refuses a mapping that no plugin has a use for.
    pub(crate) fn check_map(&self, map: &[OriginMapping]) -> Result<(), MappingError> {
        let importer = self.importer.iter().flat_map(|importer| &importer.origins);
        let known: Vec<&Origin> = self.plugin.origins.iter().chain(importer).collect();
        for mapping in map {
            let (from, _): (Origin, Origin) = (mapping.from.parse()?, mapping.to.parse()?);
            if !known.contains(&&from) {
                let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                return Err(MappingError::Unused { from: mapping.from.clone(), known: known.join(", ") });
            }
        }
        Ok(())
    }

    /// Seals secrets, for whoever declared them.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }
}

/// The plugin's origins, each with what the operator mapped it to.
fn allowed(plugin: &Plugin, map: &[OriginMapping]) -> Result<Vec<Allowed>, InvalidOrigin> {
    let mut allowed: Vec<Allowed> = plugin.origins.iter().cloned().map(Allowed::new).collect();
    for mapping in map {
        let (from, to): (Origin, Origin) = (mapping.from.parse()?, mapping.to.parse()?);
        if let Some(allowed) = allowed.iter_mut().find(|allowed| allowed.origin == from) {
            allowed.mapped_to = Some(to);
        }
    }
    Ok(allowed)
}

/// The same origins with their credentials.
fn with_credentials(
    plugin: &Plugin,
    mut allowed: Vec<Allowed>,
    credentials: &[(String, Secret)],
) -> Result<Vec<Allowed>, HostError> {
    for wanted in &plugin.descriptor().injected {
        let Some((_, secret)) = credentials.iter().find(|(name, _)| *name == wanted.name) else {
            continue;
        };
        let text = zeroize::Zeroizing::new(format!("{}{}", wanted.prefix, secret.expose()));
        let value = HeaderValue::from_str(&text).map_err(|_| HostError::CredentialText(wanted.name.clone()));
        let mut value = value?;
        value.set_sensitive(true);
        // Both were checked when the component was loaded.
        let header = wanted.header.parse::<HeaderName>().ok();
        let origin = wanted.origin.parse::<Origin>().ok();
        let place = allowed.iter_mut().find(|allowed| Some(&allowed.origin) == origin.as_ref());
        if let (Some(header), Some(place)) = (header, place) {
            place.headers.push((header, value));
        }
    }
    Ok(allowed)
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

/// Whether what the plugin could not do may succeed later, without anybody's doing.
pub fn passes(error: &GuestError) -> bool {
    let passing =
        |error: &StorageError| matches!(error, StorageError::Unavailable(_) | StorageError::Conflict);
    match error {
        GuestError::RateLimited(_) | GuestError::Unavailable(_) => true,
        GuestError::Storage(error) => passing(error),
        _ => false,
    }
}

/// What the plugin said. A good one says what a person can do about it; what it cannot know is added here.
pub fn explain(error: &GuestError) -> String {
    match error {
        GuestError::Unauthorized(text)
        | GuestError::Forbidden(text)
        | GuestError::AnotherAccount(text)
        | GuestError::Invalid(text) => text.clone(),
        GuestError::RateLimited(ms) => {
            format!("the provider limits the rate of requests; try again in {} s", ms.div_ceil(1_000))
        }
        GuestError::Unavailable(text) => format!("{text}; this passes, try again later"),
        GuestError::Unreachable(text) => format!("{text}; this does not pass by itself"),
        GuestError::Malformed(text) => format!("{text}; the provider answered what it does not document"),
        GuestError::Storage(error) => match error {
            StorageError::Unavailable(text) => {
                format!("the plugin could not store its records: {text}; this passes, try again later")
            }
            StorageError::QuotaExceeded(text) | StorageError::Invalid(text) => {
                format!("the plugin could not store its records: {text}")
            }
            StorageError::Conflict => {
                "the same incident is being written by too many at once; this passes, try again later".into()
            }
        },
    }
}
