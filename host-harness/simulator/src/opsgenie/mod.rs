//! A seeded stand-in for Opsgenie, as far as an import of history asks it: incidents, timelines, services, users, teams
//! and alerts, with the list cap, the throttling, the picky dates and the real default order.
//!
//! What it refuses: it is read-only, holds no secret but the key it is given, and must never be reachable from outside
//! a test machine. Source of the behaviour: <https://docs.opsgenie.com> and recorded answers, of which
//! `tests/fixtures/opsgenie/examples.json` has a selection.

mod api;
mod content;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::SimulatorError;
pub use content::Content;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct OpsgenieOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many incidents the account has.
    pub incidents: usize,
    /// Chooses everything that is left to chance.
    pub seed: u64,
    /// The account's present: nothing in it happened later.
    pub now: DateTime<Utc>,
    /// Within how many days before `now` incidents were created.
    pub days: u32,
    /// What the account's plan and the key allow.
    pub plan: Plan,
    /// The key that is accepted; any that is not empty if none.
    pub key: Option<String>,
    /// How far into a list its pages reach.
    pub reach: usize,
    /// Which dates a query may hold.
    pub dates: Dates,
    /// How fast requests may come; as fast as they like if none.
    pub throttle: Option<Throttle>,
}

impl OpsgenieOptions {
    /// A free local port, a year, the Standard plan, any key, the real cap, the dates that are known to work, no
    /// throttling.
    pub fn new(incidents: usize, seed: u64, now: DateTime<Utc>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            incidents,
            seed,
            now,
            days: 365,
            plan: Plan::Standard,
            key: None,
            reach: 20_000,
            dates: Dates::Quoted,
            throttle: None,
        }
    }
}

/// What an account's plan and its key allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Everything.
    Standard,
    /// No incidents and services: 402.
    WithoutIncidents,
    /// The key may not see incidents: 403.
    WithoutRight,
}

/// Which dates a query may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// `"dd-MM-yyyyTHH:mm:ssZ"` in double quotes, and seconds; anything else is a 400.
    Quoted,
    /// Seconds only; anything else is a 400.
    Seconds,
    /// Any, and none is regarded.
    Ignored,
}

/// A token bucket for each domain of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// The bucket's size, and how much flows into it in a minute.
    pub per_minute: u32,
}

/// A running stand-in. It ends with [`Opsgenie::stop`] or when it is dropped.
#[derive(Debug)]
pub struct Opsgenie {
    address: SocketAddr,
    service: Arc<Service>,
    shutdown: watch::Sender<bool>,
}

#[derive(Debug)]
struct Service {
    content: Mutex<api::Index>,
    options: OpsgenieOptions,
    log: Mutex<Vec<String>>,
    failing: Mutex<Vec<u16>>,
    buckets: Mutex<Vec<(String, f64, Instant)>>,
}

impl Opsgenie {
    /// Generates the account and starts to listen. Needs a running tokio runtime with I/O.
    pub async fn start(options: OpsgenieOptions) -> Result<Self, SimulatorError> {
        let failed = |source| SimulatorError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let content = content::generate(options.incidents, options.seed, options.now, options.days);
        let (shutdown, mut stopped) = watch::channel(false);
        let service = Arc::new(Service {
            content: Mutex::new(api::Index::new(content)),
            options,
            log: Mutex::default(),
            failing: Mutex::default(),
            buckets: Mutex::default(),
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&service));
        let over = async move {
            let _signalled_or_gone = stopped.wait_for(|down| *down).await;
        };
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(over).await });
        tracing::info!(%address, "Opsgenie's stand-in is up");
        Ok(Self { address, service, shutdown })
    }

    /// Stops listening.
    pub fn stop(&self) {
        self.shutdown.send_replace(true);
    }

    /// Where its API begins, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the account holds.
    pub fn content(&self) -> Content {
        locked(&self.service.content).content.clone()
    }

    /// Gives the account other content.
    pub fn replace(&self, content: Content) {
        *locked(&self.service.content) = api::Index::new(content);
    }

    /// Path and query of every request so far.
    pub fn requests(&self) -> Vec<String> {
        locked(&self.service.log).clone()
    }

    /// Answers the next `times` requests with this status and a body that is no JSON.
    pub fn fail_next(&self, status: u16, times: usize) {
        locked(&self.service.failing).extend(std::iter::repeat_n(status, times));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let number = {
        let mut log = locked(&service.log);
        log.push(if query.is_empty() { path.clone() } else { format!("{path}?{query}") });
        log.len()
    };
    let failing = locked(&service.failing).pop();
    if let Some(status) = failing {
        return reply(status, "<html>upstream</html>".to_owned(), "OK", number);
    }
    let error = |status: u16, message: &str| (status, api::error(message, number));
    let throttled = service.options.throttle.is_some_and(|throttle| !service.admit(&path, throttle));
    let (status, body) = if throttled {
        error(429, "You are making too many requests!")
    } else if !service.accepts(request.headers()) {
        error(401, "Could not authenticate")
    } else if request.method() != Method::GET {
        error(405, "Method Not Allowed")
    } else {
        let base = format!("http://{}", host(request.headers()));
        api::answer(&locked(&service.content), &service.options, &base, &path, &query, number)
    };
    reply(status, body.to_string(), if throttled { "THROTTLED" } else { "OK" }, number)
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("api.opsgenie.com")
}

impl Service {
    fn accepts(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = value.and_then(|value| value.strip_prefix("GenieKey ")).unwrap_or_default().trim();
        match &self.options.key {
            Some(wanted) => key == wanted,
            None => !key.is_empty(),
        }
    }

    fn admit(&self, path: &str, throttle: Throttle) -> bool {
        let domain = match path {
            "/v1/incidents" | "/v2/alerts" => "search",
            path if path.starts_with("/v1/incident") || path.starts_with("/v2/incident") => "incidents",
            _ => "configuration",
        };
        let most = f64::from(throttle.per_minute);
        let now = Instant::now();
        let mut buckets = locked(&self.buckets);
        if !buckets.iter().any(|(known, ..)| known == domain) {
            buckets.push((domain.to_owned(), most, now));
        }
        let Some((_, left, since)) = buckets.iter_mut().find(|(known, ..)| known == domain) else {
            return true;
        };
        *left = (*left + most * now.duration_since(*since).as_secs_f64() / 60.0).min(most);
        *since = now;
        let admitted = *left >= 1.0;
        if admitted {
            *left -= 1.0;
        }
        admitted
    }
}

fn reply(status: u16, body: String, state: &str, number: usize) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let id = api::request_id(number);
    let values = [
        ("content-type", "application/json"),
        ("x-ratelimit-state", state),
        ("x-ratelimit-reason", "ACCOUNT"),
        ("x-ratelimit-period-in-sec", if status == 429 { "1" } else { "60" }),
        ("x-request-id", &id),
        ("x-response-time", "0.001"),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A field of an object, or null.
fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}
