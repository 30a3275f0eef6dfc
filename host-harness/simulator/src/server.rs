//! The shell: a socket, the wall clock, and the steps every request takes.
//!
//! fault → key → allowance → route. A fault comes first because it stands for what lies between the client and
//! incident.io; a refused key spends no allowance.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
    serve::{IncomingStream, Listener},
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    LoggedRequest,
    account::Account,
    api::{self, Answer, Route},
    faults::{Effect, Faults},
    json::time_text,
    limits::{Allowance, Draw, Limiter, RateLimits},
    query::Query,
};

/// Which bearer tokens are accepted, and what they may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Every token but the empty one, with [`Keys::READ_ROLES`].
    Any,
    /// These keys with these roles; all others get a 401.
    Listed(BTreeMap<String, Vec<String>>),
}

impl Keys {
    /// What a read-only sync needs: settings and incidents, the catalog, private incidents.
    pub const READ_ROLES: [&'static str; 3] = ["viewer", "catalog_viewer", "global_access"];

    fn roles(&self, key: &str) -> Option<Vec<String>> {
        match self {
            Self::Any => (!key.is_empty()).then(|| Self::READ_ROLES.map(str::to_owned).to_vec()),
            Self::Listed(keys) => keys.get(key).cloned(),
        }
    }
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) account: RwLock<Account>,
    keys: Keys,
    limiter: Option<Mutex<Limiter>>,
    faults: Mutex<Faults>,
    log: Mutex<Vec<LoggedRequest>>,
    request_ids: AtomicU64,
    shutdown: watch::Receiver<bool>,
}

impl Service {
    pub(crate) fn new(
        account: Account,
        keys: Keys,
        limits: Option<RateLimits>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        Self {
            account: RwLock::new(account),
            keys,
            limiter: limits.map(|limits| Mutex::new(Limiter::new(limits))),
            faults: Mutex::default(),
            log: Mutex::default(),
            request_ids: AtomicU64::new(0),
            shutdown,
        }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Vec<LoggedRequest>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until `shutdown`, then lets the requests under way finish.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>) -> io::Result<()> {
    let shutdown = over(service.shutdown.clone());
    let router = Router::new().fallback(handle).with_state(service);
    axum::serve(Door(listener), router.into_make_service_with_connect_info::<KillSwitch>())
        .with_graceful_shutdown(shutdown)
        .await
}

/// Resolves when the simulator ends, by word or because nobody holds it any more.
pub(crate) async fn over(mut shutdown: watch::Receiver<bool>) {
    let _signalled_or_gone = shutdown.wait_for(|down| *down).await;
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let request = request.into_parts().0;
    let switch = request.extensions.get::<ConnectInfo<KillSwitch>>().map(|info| info.0.clone());
    let path = request.uri.path().to_owned();
    let query = request.uri.query().unwrap_or("").to_owned();
    let effect = service.faults().take(&path);
    let entry = |status: u16, authorized: bool| LoggedRequest {
        method: request.method.to_string(),
        path: path.clone(),
        query: query.clone(),
        status,
        authorized,
    };
    let reply = match effect {
        None => judge(&service, &request.method, &path, &query, &request.headers),
        Some(Effect::Hang(silence)) => {
            // Logged before the wait, so that a test may see the request while it hangs.
            service.log().push(entry(0, false));
            tokio::select! {
                () = tokio::time::sleep(silence) => {}
                () = over(service.shutdown.clone()) => {}
            }
            if let Some(switch) = switch {
                switch.close();
            }
            return Response::new(Body::empty());
        }
        Some(Effect::Status { status, body }) => {
            let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
            Reply::new(Answer { status, body })
        }
        Some(Effect::RateLimited { retry_after }) => {
            let mut reply =
                Reply::new(api::rate_limited(60, &time_text(wall_clock()), &service.request_id()));
            if let Some(text) = retry_after {
                reply.header("retry-after", &text);
            }
            reply
        }
        Some(Effect::Body(value)) => Reply::new(ok(value)),
        Some(Effect::Bytes(bytes)) => Reply::new(Answer { status: 200, body: Bytes::from(bytes) }),
        Some(on_the_answer) => {
            let mut reply = judge(&service, &request.method, &path, &query, &request.headers);
            reply.spoil(on_the_answer);
            reply
        }
    };
    service.log().push(entry(reply.answer.status, reply.authorized));
    reply.into_response()
}

fn judge(service: &Service, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Reply {
    let request_id = service.request_id();
    let Some(key) = bearer(headers) else {
        let message = "No authorization material provided in request";
        return Reply::new(api::error(401, "missing_authorization_material", message, &request_id));
    };
    let Some(roles) = service.keys.roles(key) else {
        let message = "The API key provided is not valid";
        return Reply::new(api::error(401, "unauthenticated", message, &request_id));
    };
    let route = Route::parse(path);
    let draw = if route == Some(Route::Incidents) { Draw::IncidentList } else { Draw::Key };
    let allowance = service.limiter.as_ref().map(|limiter| {
        limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(key, draw, Instant::now())
    });
    let refused = allowance.as_ref().and_then(|allowance| Some((allowance.limit, allowance.retry_in?)));
    let answer = match (refused, route) {
        (Some((limit, wait)), _) => api::rate_limited(limit, &time_text(wall_clock() + wait), &request_id),
        (None, None) => api::error(404, "not_found", "No such endpoint", &request_id),
        (None, Some(_)) if method != Method::GET => {
            api::error(405, "method_not_allowed", "Only GET is allowed here", &request_id)
        }
        (None, Some(route)) => {
            let account = service.account.read().unwrap_or_else(PoisonError::into_inner);
            api::answer(&account, &route, &Query::parse(query), &roles, &request_id)
        }
    };
    let mut reply = Reply { authorized: true, ..Reply::new(answer) };
    if let Some(allowance) = allowance {
        reply.allowance(&allowance);
    }
    reply
}

/// The token, unless the header is missing or of another scheme.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn ok(body: Value) -> Answer {
    Answer { status: 200, body: Bytes::from(body.to_string()) }
}

fn wall_clock() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    DateTime::from_timestamp(i64::try_from(since.as_secs()).unwrap_or(0), 0).unwrap_or_default()
}

/// Whole seconds, rounded up: a client that waits as long as it is told must not come too early.
fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Service {
    fn request_id(&self) -> String {
        let n = self.request_ids.fetch_add(1, Ordering::Relaxed) + 1;
        format!("00000000-0000-4000-8000-{n:012x}")
    }
}

/// An answer with its headers.
struct Reply {
    answer: Answer,
    content_type: String,
    headers: Vec<(&'static str, String)>,
    authorized: bool,
}

impl Reply {
    fn new(answer: Answer) -> Self {
        Self { answer, content_type: "application/json".to_owned(), headers: Vec::new(), authorized: false }
    }

    fn header(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.to_owned()));
    }

    fn allowance(&mut self, allowance: &Allowance) {
        let used = allowance.limit.saturating_sub(allowance.remaining);
        let reset = wall_clock().timestamp().unsigned_abs() + seconds_up(allowance.full_in);
        self.header("x-ratelimit-limit", &allowance.limit_header);
        self.header("x-ratelimit-remaining", &allowance.remaining.to_string());
        self.header("x-ratelimit-used", &used.to_string());
        self.header("x-ratelimit-reset", &reset.to_string());
        if let Some(wait) = allowance.retry_in {
            self.header("retry-after", &seconds_up(wait).to_string());
        }
    }

    /// Damages the true answer.
    fn spoil(&mut self, effect: Effect) {
        match effect {
            Effect::Truncated => {
                self.answer.body.truncate(self.answer.body.len() / 2);
            }
            Effect::ContentType(content_type) => self.content_type = content_type,
            Effect::Oversized(bytes) => {
                let mut padded = vec![b' '; bytes.saturating_sub(self.answer.body.len())];
                padded.extend_from_slice(&self.answer.body);
                self.answer.body = Bytes::from(padded);
            }
            _ => {}
        }
    }

    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.answer.body));
        *response.status_mut() =
            StatusCode::from_u16(self.answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&self.content_type) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Closes one connection from within a handler, without an answer: HTTP libraries have no word for that.
#[derive(Debug, Clone, Default)]
struct KillSwitch(Arc<AtomicBool>);

impl KillSwitch {
    fn close(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Connected<IncomingStream<'_, Door>> for KillSwitch {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().switch.clone()
    }
}

/// A listener whose connections can be closed from within.
struct Door(TcpListener);

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // Answers are small and whole; waiting to fill a packet only slows a client that asks page by page.
        let _best_effort = stream.set_nodelay(true);
        (Wire { stream, switch: KillSwitch::default() }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    switch: KillSwitch,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.switch.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
