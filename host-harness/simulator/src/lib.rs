//! Seeded stand-ins for incident.io and, for imports of history, for [`opsgenie`], so that a sync can be built, tested and shown without an account.
//!
//! It serves the endpoints a read-only sync calls, with the filters' true defaults, cursors, rate limits and
//! error bodies, and it sends signed webhooks as its incidents move. The same seed, size and instant always
//! give the same account. On request it misbehaves: see [`Fault`].
//!
//! What it refuses: it is read-only over HTTP (everything but `GET` is a 405; incidents move through the
//! methods of [`Simulator`]), it knows no endpoint beyond those listed in `api`, and it invents no behaviour
//! where the official schema speaks: every answer it gives validates against that schema. It holds no secret
//! but the ones it is given and must never be reachable from outside a test machine.
//!
//! ```
//! # use koalr_simulator::{Options, Simulator};
//! # use chrono::DateTime;
//! # async fn demo() -> Result<(), koalr_simulator::SimulatorError> {
//! let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default();
//! let simulator = Simulator::start(Options::new(500, 42, now)).await?;
//! println!("curl -H 'Authorization: Bearer any' {}/v1/identity", simulator.base_url());
//! simulator.stop().await;
//! # Ok(())
//! # }
//! ```

mod account;
mod api;
mod faults;
mod generate;
mod json;
mod limits;
mod model;
pub mod opsgenie;
mod query;
mod render;
mod server;
mod settings;
mod stages;
mod webhooks;
mod words;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use crate::{
    account::{Account, Event},
    faults::{Effect, Fault},
    limits::RateLimits,
    model::{Change, LifeError, Mode, NewIncident},
    server::Keys,
    webhooks::{HeaderFamily, SentDelivery, WebhookTarget, message_id, sign},
};
use crate::{server::Service, webhooks::Sender};

/// How long [`Simulator::stop`] waits for connections on which nothing was ever asked.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many incidents the account has.
    pub incidents: usize,
    /// Chooses everything that is left to chance.
    pub seed: u64,
    /// The account's present: nothing in it happened later.
    pub now: DateTime<Utc>,
    /// Within how many days before `now` most incidents were created.
    pub days: u32,
    /// How many updates each incident has; `None` leaves it to the incident's story.
    pub updates: Option<usize>,
    /// Which keys are accepted.
    pub keys: Keys,
    /// The rate limits; `None` lifts them, headers included.
    pub limits: Option<RateLimits>,
    /// Where webhooks go; `None` sends none.
    pub webhook: Option<WebhookTarget>,
}

impl Options {
    /// A free local port, 90 days, any key, the documented limits, no webhooks.
    pub fn new(incidents: usize, seed: u64, now: DateTime<Utc>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            incidents,
            seed,
            now,
            days: 90,
            updates: None,
            keys: Keys::Any,
            limits: Some(RateLimits::default()),
            webhook: None,
        }
    }
}

/// Why the simulator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where it tried.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The webhook client could not be built.
    #[error("cannot build the webhook client")]
    Client(#[source] reqwest::Error),
    /// The signing secret is not `whsec_` and non-empty base64.
    #[error("the signing secret is not whsec_ and base64")]
    Secret,
    /// The account refused a move.
    #[error(transparent)]
    Life(#[from] LifeError),
}

/// One request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as it came, without the question mark.
    pub query: String,
    /// The status of the answer; 0 when a fault left it without one.
    pub status: u16,
    /// Whether the key was accepted; false as well when a fault answered before the key was looked at.
    pub authorized: bool,
}

/// A running simulator. Clones share it; it ends with [`Simulator::stop`] or with the last clone.
#[derive(Clone)]
pub struct Simulator(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    service: Arc<Service>,
    sender: Sender,
    shutdown: watch::Sender<bool>,
    server: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Generates the account and starts to listen. Needs a running tokio runtime with I/O and time.
    pub async fn start(options: Options) -> Result<Self, SimulatorError> {
        let failed = |source| SimulatorError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let Options { incidents, seed, now, days, updates, .. } = options;
        let account = generate::account(incidents, seed, now, days, updates);
        let (shutdown, stopped) = watch::channel(false);
        let sender = Sender::start(options.webhook, options.seed, stopped.clone())?;
        let service = Arc::new(Service::new(account, options.keys, options.limits, stopped));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&service)));
        tracing::info!(%address, incidents = options.incidents, seed = options.seed, "simulator is up");
        let server = Mutex::new(Some(server));
        Ok(Self(Arc::new(Inner { address, service, sender, shutdown, server })))
    }

    /// Stops listening and drops the webhooks that still wait.
    pub async fn stop(&self) {
        self.0.shutdown.send_replace(true);
        let server = self.0.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server
            && tokio::time::timeout(STOP_PATIENCE, &mut server).await.is_err()
        {
            server.abort();
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Where its API begins, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Sends webhooks elsewhere from now on, or nowhere. What was queued before keeps its target.
    pub fn set_webhook(&self, target: Option<WebhookTarget>) -> Result<(), SimulatorError> {
        self.0.sender.set_target(target)
    }

    /// Declares an incident and returns its id.
    pub fn declare(&self, new: NewIncident, at: DateTime<Utc>) -> Result<String, SimulatorError> {
        let mut id = String::new();
        self.live(|account| {
            let (declared, events) = account.declare(new, at)?;
            id = declared;
            Ok(events)
        })?;
        Ok(id)
    }

    /// Changes an incident and writes an update about it.
    pub fn update(&self, id: &str, change: Change, at: DateTime<Utc>) -> Result<(), SimulatorError> {
        self.live(|account| account.update(id, change, at))
    }

    /// Merges an incident into another one.
    pub fn merge(&self, id: &str, into: &str, at: DateTime<Utc>) -> Result<(), SimulatorError> {
        self.live(|account| account.merge(id, into, at))
    }

    /// Makes the user with this e-mail address the lead.
    pub fn assign(&self, id: &str, email: &str, at: DateTime<Utc>) -> Result<(), SimulatorError> {
        self.live(|account| account.assign(id, email, at))
    }

    /// Makes an incident private, or public again.
    pub fn set_private(&self, id: &str, private: bool, at: DateTime<Utc>) -> Result<(), SimulatorError> {
        self.live(|account| account.set_private(id, private, at))
    }

    /// Deletes an incident; no webhook tells of it.
    pub fn delete(&self, id: &str) -> Result<(), SimulatorError> {
        self.live(|account| account.delete(id).map(|()| Vec::new()))
    }

    /// Works on the account itself; webhooks that a move answers are the caller's to deliver.
    pub fn with_account<T>(&self, work: impl FnOnce(&mut Account) -> T) -> T {
        work(&mut self.0.service.account.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// An incident as the API shows it.
    pub fn raw_incident(&self, id: &str) -> Option<Value> {
        self.read(|account| serde_json::from_slice(&account.find(id)?.json).ok())
    }

    /// The ids of all incidents, oldest first, whatever their visibility, mode and status.
    pub fn incident_ids(&self) -> Vec<String> {
        self.read(Account::incident_ids)
    }

    /// Names and e-mail addresses of everybody, leavers included.
    pub fn users(&self) -> Vec<(String, String)> {
        self.read(Account::users)
    }

    /// Names and external ids of the catalog's services.
    pub fn services(&self) -> Vec<(String, String)> {
        self.read(Account::services)
    }

    /// Names of the severities, mildest first.
    pub fn severities(&self) -> Vec<String> {
        self.read(Account::severities)
    }

    /// Plans a failure.
    pub fn inject(&self, fault: Fault) {
        self.0.service.faults().inject(fault);
    }

    /// Forgets the failures that have not happened yet.
    pub fn clear_faults(&self) {
        self.0.service.faults().clear();
    }

    /// Every request so far, in the order of the answers.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.0.service.log().clone()
    }

    /// Resolves when no webhook waits to be sent, retries included.
    pub async fn settle(&self) {
        self.0.sender.settle().await;
    }

    /// Every webhook so far and what became of it.
    pub fn deliveries(&self) -> Vec<SentDelivery> {
        self.0.sender.deliveries()
    }

    /// Sends a delivery once more under its old id; false if there is no such delivery or no target.
    pub fn resend(&self, id: &str) -> bool {
        self.0.sender.resend(id)
    }

    fn live(
        &self,
        change: impl FnOnce(&mut Account) -> Result<Vec<Event>, LifeError>,
    ) -> Result<(), SimulatorError> {
        let mut account = self.0.service.account.write().unwrap_or_else(PoisonError::into_inner);
        let events = change(&mut account)?;
        // Queued under the lock: events leave in the order in which the account moved.
        self.0.sender.enqueue(events);
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Account) -> T) -> T {
        look(&self.0.service.account.read().unwrap_or_else(PoisonError::into_inner))
    }
}
