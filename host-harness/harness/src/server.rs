//! The HTTP side of `serve`: webhooks in, health and metrics out.
//!
//! A webhook is answered 2xx only once it is durable. A refusal says nothing of its reason to the sender; the
//! reason is in the log and in the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use koalr_host::contract::{Delivery, Header, Rejection, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::port::Accepted;
use koalr_host::{CallError, Host, HostError, ReceiveError, Received};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_stream::StreamExt;

use crate::console::{Refusal, Refusals};
use crate::door::{Door, Turned};

/// The largest body that is taken; the sender names about 350 kB as its most.
const LARGEST_BODY: usize = 512 * 1024;
/// The largest body that is read, if only to refuse it.
const LARGEST_DRAINED: usize = 4 * LARGEST_BODY;
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);
/// When to try again what found the inbox at its bound, no slot free, or a store that does not take it.
const BACKLOG_WAIT: Duration = Duration::from_secs(60);
const SATURATED_WAIT: Duration = Duration::from_secs(1);
const STORE_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

struct Metrics {
    registry: Registry,
    webhooks: Family<Result, Counter>,
    pending: Gauge,
    dead: Gauge,
    organisations: Gauge,
}

impl Metrics {
    fn new() -> Metrics {
        let mut registry = Registry::with_prefix("koalr");
        let webhooks = Family::default();
        let help = "Webhooks by what became of them at the door";
        registry.register("webhooks", help, webhooks.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let pending = gauge(&mut registry, "inbox_pending", "Deliveries that wait to be applied");
        let dead = gauge(&mut registry, "inbox_dead", "Deliveries that were given up");
        let organisations = gauge(&mut registry, "organisations", "Connected organisations");
        Metrics { registry, webhooks, pending, dead, organisations }
    }
}

/// What stands behind the door: the [`Host`], or what is to be measured in its place.
pub trait Intake: Send + Sync + 'static {
    /// Whose webhooks these are, as in their path.
    fn plugin(&self) -> &str;
    /// When it is.
    fn now(&self) -> Timestamp;
    /// Whether somebody connected an organisation of this name.
    fn is_connected(&self, org: &OrgId) -> impl Future<Output = bool> + Send;
    /// Takes a webhook. `New` and `Duplicate` say that it is durable: its sender is answered 2xx and forgets it.
    fn receive(
        &self,
        org: &OrgId,
        delivery: Delivery,
    ) -> impl Future<Output = std::result::Result<Received, ReceiveError>> + Send;
}

impl Intake for Host {
    fn plugin(&self) -> &str {
        &Host::plugin(self).descriptor().name
    }

    fn now(&self) -> Timestamp {
        self.clock().now()
    }

    async fn is_connected(&self, org: &OrgId) -> bool {
        Host::is_connected(self, org).await
    }

    async fn receive(&self, org: &OrgId, delivery: Delivery) -> std::result::Result<Received, ReceiveError> {
        Host::receive(self, org, delivery).await
    }
}

/// What webhooks are taken with; behind an [`Arc`], because the routes clone it for each of them.
struct Taking<I> {
    intake: I,
    refusals: Arc<Refusals>,
    door: Door,
    metrics: Arc<Metrics>,
}

/// What is looked at from outside.
#[derive(Clone)]
struct Watched {
    host: Host,
    metrics: Arc<Metrics>,
    health: Arc<Kept>,
    figures: Arc<Kept>,
}

/// The routes.
pub(crate) fn router(host: Host, refusals: Arc<Refusals>) -> Router {
    let metrics = Arc::new(Metrics::new());
    let watched = Watched {
        host: host.clone(),
        metrics: Arc::clone(&metrics),
        health: Arc::default(),
        figures: Arc::default(),
    };
    let watched = Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(self::metrics))
        .with_state(watched);
    taking(host, refusals, metrics).merge(watched)
}

/// The route that webhooks come in by, with its bounds, and this behind it.
pub fn webhooks(intake: impl Intake) -> Router {
    taking(intake, Arc::default(), Arc::new(Metrics::new()))
}

fn taking<I: Intake>(intake: I, refusals: Arc<Refusals>, metrics: Arc<Metrics>) -> Router {
    let taking = Arc::new(Taking { intake, refusals, door: Door::new(), metrics });
    Router::new().route("/webhooks/{plugin}/{org}", post(webhook::<I>)).with_state(taking)
}

/// What a webhook's sender is answered, and why, for the metrics.
struct Answer {
    status: StatusCode,
    result: &'static str,
    /// When the sender should try again.
    after: Option<Duration>,
    /// What a person can do about it. A failed verification says nothing.
    text: &'static str,
}

impl Answer {
    fn new(status: StatusCode, result: &'static str, text: &'static str) -> Answer {
        Answer { status, result, after: None, text }
    }

    fn later(status: StatusCode, result: &'static str, after: Duration) -> Answer {
        Answer { status, result, after: Some(after), text: "" }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        if let Some(after) = self.after {
            response.headers_mut().insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        response
    }
}

async fn webhook<I: Intake>(
    State(app): State<Arc<Taking<I>>>,
    Path((plugin, org)): Path<(String, String)>,
    request: Request,
) -> Response {
    let whose = org.parse::<OrgId>().ok();
    let connected = match &whose {
        Some(org) => app.intake.is_connected(org).await,
        None => false,
    };
    let answer = match &whose {
        Some(org) => receive(&app, &plugin, org, connected, request).await,
        None => Answer::new(StatusCode::NOT_FOUND, "unknown_organisation", ""),
    };
    app.metrics.webhooks.get_or_create(&Result { result: answer.result }).inc();
    if !answer.status.is_success()
        && connected
        && let Some(org) = &whose
    {
        let (at, status) = (app.intake.now(), answer.status.as_u16());
        app.refusals.note(org, Refusal { at, status, reason: answer.result });
    }
    answer.into_response()
}

async fn receive<I: Intake>(
    app: &Taking<I>,
    plugin: &str,
    org: &OrgId,
    connected: bool,
    request: Request,
) -> Answer {
    if plugin != app.intake.plugin() {
        return Answer::new(StatusCode::NOT_FOUND, "unknown_plugin", "");
    }
    let _permit = match app.door.enter(connected.then_some(org), Instant::now()) {
        Ok(permit) => permit,
        Err(Turned::TooMany(wait)) => {
            return Answer::later(StatusCode::TOO_MANY_REQUESTS, "rate_limited", wait);
        }
        Err(Turned::Crowded(wait)) => {
            return Answer::later(StatusCode::SERVICE_UNAVAILABLE, "crowded", wait);
        }
    };
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let text = "a webhook is plain JSON: send content-type: application/json and no content-encoding\n";
        return Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", text);
    }
    let body = match read(org, body, &parts.headers, BODY_TIME).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let delivery = Delivery { headers: headers(&parts.headers), body };
    match app.intake.receive(org, delivery).await {
        Ok(received) => {
            let result = match received.accepted {
                Accepted::New => "accepted",
                Accepted::Duplicate => "duplicate",
                Accepted::Unknown => return unknown(org),
            };
            tracing::debug!(%org, delivery = received.verified.id, event = received.verified.event_type, result);
            Answer::new(StatusCode::NO_CONTENT, result, "")
        }
        Err(error) => refused(org, &error),
    }
}

fn unknown(org: &OrgId) -> Answer {
    tracing::warn!(%org, "a webhook for an organisation that is not connected");
    Answer::new(StatusCode::NOT_FOUND, "unknown_organisation", "")
}

/// What a webhook is answered that the host did not take.
fn refused(org: &OrgId, error: &ReceiveError) -> Answer {
    match error {
        ReceiveError::UnknownOrganisation(_) => unknown(org),
        ReceiveError::Rejected(rejection) => {
            let reason = reason(*rejection);
            tracing::warn!(%org, reason, "a webhook is refused");
            Answer::new(StatusCode::UNAUTHORIZED, reason, "")
        }
        ReceiveError::Backlog(_) => {
            tracing::error!(%org, "a webhook cannot be taken now: {error}");
            Answer::later(StatusCode::SERVICE_UNAVAILABLE, "backlog", BACKLOG_WAIT)
        }
        ReceiveError::Unavailable(cause) => {
            tracing::error!(%org, "a webhook cannot be taken now: {error}");
            let wait = match **cause {
                HostError::Call(CallError::Saturated(_)) => SATURATED_WAIT,
                _ => STORE_WAIT,
            };
            Answer::later(StatusCode::SERVICE_UNAVAILABLE, "unavailable", wait)
        }
    }
}

/// The sender writes JSON, uncompressed; a request that does not say what it is may be that.
fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    let json = text(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json"));
    json && text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// Why there is no body.
enum Unread {
    TooLarge,
    BrokeOff,
}

/// The whole body, or what its sender is answered.
async fn read(
    org: &OrgId,
    body: Body,
    headers: &HeaderMap,
    patience: Duration,
) -> std::result::Result<Vec<u8>, Answer> {
    match tokio::time::timeout(patience, whole(body, headers)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Unread::TooLarge)) => {
            tracing::warn!(%org, "a webhook is larger than {LARGEST_BODY} bytes");
            let text = "a webhook has at most 524288 bytes\n";
            Err(Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text))
        }
        Ok(Err(Unread::BrokeOff)) | Err(_) => {
            tracing::warn!(%org, "a webhook broke off before its end");
            let text = "the body did not come to its end\n";
            Err(Answer::new(StatusCode::REQUEST_TIMEOUT, "broke_off", text))
        }
    }
}

/// The whole body, if it is not too large.
async fn whole(body: Body, headers: &HeaderMap) -> std::result::Result<Vec<u8>, Unread> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if let Some(length) = declared.filter(|length| *length > LARGEST_BODY) {
        // A sender that is cut off in the middle of its body seldom reads the answer.
        if length <= LARGEST_DRAINED {
            let mut rest = body.into_data_stream();
            while let Some(Ok(_)) = rest.next().await {}
        }
        return Err(Unread::TooLarge);
    }
    let read = axum::body::to_bytes(body, LARGEST_BODY).await;
    read.map(Vec::from).map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<http_body_util::LengthLimitError>() {
                return Unread::TooLarge;
            }
            cause = error.source();
        }
        Unread::BrokeOff
    })
}

/// As received: those that a verification needs, and what says what the body is. Others may hold anything, and would
/// be stored.
fn headers(headers: &HeaderMap) -> Vec<Header> {
    let known = |name: &str| {
        let of_the_scheme = name.strip_prefix("webhook-").or_else(|| name.strip_prefix("svix-"));
        matches!(of_the_scheme, Some("id" | "timestamp" | "signature"))
            || name == header::CONTENT_TYPE.as_str()
            || name == header::USER_AGENT.as_str()
    };
    let kept = headers.iter().filter(|(name, _)| known(name.as_str()));
    kept.map(|(name, value)| Header { name: name.as_str().into(), value: value.as_bytes().to_vec() })
        .collect()
}

/// A rejection as a label and in the log.
pub(crate) fn reason(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::MissingHeader => "missing_header",
        Rejection::MalformedHeader => "malformed_header",
        Rejection::BadSignature => "bad_signature",
        Rejection::TooOld => "too_old",
        Rejection::TooNew => "too_new",
        Rejection::NoSecret => "no_secret",
        Rejection::MalformedBody => "malformed_body",
    }
}

/// An answer that is made once a second, however many ask: what it counts must not become work for whoever wants it.
#[derive(Default)]
struct Kept(tokio::sync::Mutex<Option<(Instant, Answered)>>);

/// A status, its kind, its text.
type Answered = (StatusCode, &'static str, String);

impl Kept {
    async fn or(&self, make: impl Future<Output = Answered>) -> Response {
        let mut kept = self.0.lock().await;
        let (status, kind, text) = match &*kept {
            Some((at, answer)) if at.elapsed() < Duration::from_secs(1) => answer.clone(),
            _ => kept.insert((Instant::now(), make.await)).1.clone(),
        };
        (status, [(header::CONTENT_TYPE, kind)], text).into_response()
    }
}

/// Whether the store answers.
async fn health(State(app): State<Watched>) -> Response {
    let look = async {
        match app.host.store().depth().await {
            Ok(_) => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            Err(error) => {
                tracing::error!("unhealthy: {error}");
                (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the store does not answer\n".to_owned())
            }
        }
    };
    app.health.or(look).await
}

const PLAIN: &str = "text/plain; charset=utf-8";

async fn metrics(State(app): State<Watched>) -> Response {
    app.figures.or(counted(&app)).await
}

async fn counted(app: &Watched) -> Answered {
    if let Ok(depth) = app.host.store().depth().await {
        app.metrics.pending.set(i64::try_from(depth.pending).unwrap_or(i64::MAX));
        app.metrics.dead.set(i64::try_from(depth.dead).unwrap_or(i64::MAX));
    }
    if let Ok(organisations) = app.host.store().organisations().await {
        app.metrics.organisations.set(i64::try_from(organisations.len()).unwrap_or(i64::MAX));
    }
    let mut text = String::new();
    match encode(&mut text, &app.metrics.registry) {
        Ok(()) => (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use koalr_host::port::StoreError;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    #[test]
    fn what_cannot_be_taken_now_is_to_be_sent_again_and_when() {
        let org = "acme".parse().unwrap();
        let unavailable = |error: StoreError| ReceiveError::Unavailable(Box::new(error.into()));
        for (error, status, after) in [
            (ReceiveError::Backlog(9), 503, Some(BACKLOG_WAIT)),
            (unavailable(StoreError::Full("the disk is full".into())), 503, Some(STORE_WAIT)),
            (unavailable(StoreError::Unavailable("read-only".into())), 503, Some(STORE_WAIT)),
            (unavailable(StoreError::Corrupt("damaged".into())), 503, Some(STORE_WAIT)),
            (ReceiveError::Rejected(Rejection::TooOld), 401, None),
            (ReceiveError::Rejected(Rejection::BadSignature), 401, None),
            (ReceiveError::Rejected(Rejection::NoSecret), 401, None),
            (ReceiveError::UnknownOrganisation("acme".parse().unwrap()), 404, None),
        ] {
            let answer = refused(&org, &error);
            assert_eq!((answer.status.as_u16(), answer.after), (status, after), "{error}");
            assert!(answer.text.is_empty(), "the sender is not told why");
            let response = answer.into_response();
            let told =
                response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(told, after.map(|after| after.as_secs().to_string()), "{error}");
        }
    }

    /// Keeps nothing, and says so in the one way that is no error.
    struct Nobody;

    impl Intake for Nobody {
        fn plugin(&self) -> &str {
            "incidentio"
        }

        fn now(&self) -> Timestamp {
            0
        }

        async fn is_connected(&self, _: &OrgId) -> bool {
            true
        }

        async fn receive(&self, _: &OrgId, _: Delivery) -> std::result::Result<Received, ReceiveError> {
            let verified = koalr_host::contract::Verified {
                id: "msg_1".into(),
                sent_at: 0,
                event_type: "public_incident.incident_created_v2".into(),
                incident_id: None,
            };
            Ok(Received { verified, accepted: Accepted::Unknown })
        }
    }

    #[tokio::test]
    async fn what_nobody_keeps_is_not_acknowledged() {
        let taking = Taking {
            intake: Nobody,
            refusals: Arc::default(),
            door: Door::new(),
            metrics: Arc::new(Metrics::new()),
        };
        let taking = Arc::new(taking);
        let path = Path(("incidentio".to_owned(), "acme".to_owned()));
        let answer = webhook(State(Arc::clone(&taking)), path, Request::new(Body::from("{}"))).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let refusals = taking.refusals.of(&"acme".parse().unwrap());
        assert_eq!(refusals.first().map(|refusal| refusal.reason), Some("unknown_organisation"));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_answered_after_its_time() {
        let org = "acme".parse().unwrap();
        // One byte after the other, without an end.
        let (drip, dripping) = tokio::sync::mpsc::channel::<std::io::Result<&str>>(1);
        tokio::spawn(async move { while drip.send(Ok("x")).await.is_ok() {} });
        let silence = tokio_stream::pending::<std::io::Result<&str>>();
        for body in [Body::from_stream(silence), Body::from_stream(ReceiverStream::new(dripping))] {
            let answer = read(&org, body, &HeaderMap::new(), Duration::from_millis(5)).await.err().unwrap();
            assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
        }
    }
}
