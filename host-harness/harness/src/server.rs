//! The HTTP side of `serve`: webhooks in, health and metrics out.
//!
//! A webhook is answered 2xx only once it is durable. A refusal says nothing of its reason to the sender; the
//! reason is in the log, in the metrics and among the refusals that the console shows.
//!
//! Whatever comes below `/webhooks` is a webhook, or was meant to be one, and never reaches the routes behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use koalr_host::contract::{Delivery, Header, Rejection, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::port::Accepted;
use koalr_host::{CallError, Host, HostError, NotReady, ReceiveError, Received};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_stream::StreamExt;

use crate::accept::Connections;
use crate::console::{Refusal, Refusals};
use crate::door::{Door, Inside, Names, Remembered, Turned};
use crate::seldom::Seldom;
use crate::webhook_path::{Below, below};

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

pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) connections: Connections,
    webhooks: Family<Result, Counter>,
    pending: Gauge,
    dead: Gauge,
    organisations: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
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
        let connections = Connections::default();
        registry.register("connections", "Connections that are open", connections.open.clone());
        let help = "Connections closed unread: too many, or no file descriptor left";
        registry.register("connections_shed", help, connections.shed.clone());
        Metrics { registry, connections, webhooks, pending, dead, organisations }
    }
}

/// What stands behind the door: the [`Host`], or what is to be measured in its place.
pub trait Intake: Send + Sync + 'static {
    /// Whose webhooks these are, as in their path.
    fn plugin(&self) -> &str;
    /// When it is.
    fn now(&self) -> Timestamp;
    /// Whether an organisation of this name is connected. None where that cannot be found out now.
    fn is_connected(&self, org: &OrgId) -> impl Future<Output = Option<bool>> + Send;
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

    async fn is_connected(&self, org: &OrgId) -> Option<bool> {
        match Host::is_connected(self, org).await {
            Ok(connected) => Some(connected),
            Err(error) => {
                tracing::debug!(%org, "an organisation cannot be looked up: {error}");
                None
            }
        }
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
    names: Names,
    seldom: Seldom,
    metrics: Arc<Metrics>,
}

impl<I> Taking<I> {
    fn new(intake: I, refusals: Arc<Refusals>, metrics: Arc<Metrics>) -> Taking<I> {
        let (door, names, seldom) = (Door::new(), Names::default(), Seldom::default());
        Taking { intake, refusals, door, names, seldom, metrics }
    }
}

/// What is looked at from outside.
#[derive(Clone)]
struct Watched {
    host: Host,
    metrics: Arc<Metrics>,
    readiness: Arc<Kept>,
    figures: Arc<Kept>,
    seldom: Arc<Seldom>,
}

/// The door, and these routes and those that watch behind it. Organisations that are `known` to be connected are never
/// taken for names that nobody has looked up: after a start, all of theirs may send at once.
pub(crate) fn router<'a>(
    host: Host,
    known: impl Iterator<Item = &'a OrgId>,
    refusals: Arc<Refusals>,
    metrics: Arc<Metrics>,
    behind: Router,
) -> Router {
    let watched = Watched {
        host: host.clone(),
        metrics: Arc::clone(&metrics),
        readiness: Arc::default(),
        figures: Arc::default(),
        seldom: Arc::default(),
    };
    let watched = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(self::metrics))
        .with_state(watched);
    let (taking, now) = (Taking::new(host, refusals, metrics), Instant::now());
    known.for_each(|org| taking.names.note(org, true, now));
    with_door(taking, watched.merge(behind))
}

/// The door that webhooks come in by, with its bounds, and this behind it.
pub fn webhooks(intake: impl Intake) -> Router {
    with_door(Taking::new(intake, Arc::default(), Arc::new(Metrics::new())), Router::new())
}

fn with_door<I: Intake>(taking: Taking<I>, behind: Router) -> Router {
    Router::new().fallback_service(behind).layer(from_fn_with_state(Arc::new(taking), at_the_door::<I>))
}

async fn at_the_door<I: Intake>(State(app): State<Arc<Taking<I>>>, request: Request, next: Next) -> Response {
    match below(request.uri().path()) {
        Some(below) => webhook(&app, below, request).await,
        None => next.run(request).await,
    }
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
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

impl From<Turned> for Answer {
    fn from(turned: Turned) -> Answer {
        match turned {
            Turned::TooMany(wait) => Answer::later(StatusCode::TOO_MANY_REQUESTS, "rate_limited", wait),
            Turned::Crowded(wait) => Answer::later(StatusCode::SERVICE_UNAVAILABLE, "crowded", wait),
        }
    }
}

/// Whose webhook it is, for the list of refusals.
enum Whose {
    /// This organisation's, which is connected.
    Org(OrgId),
    /// Nobody's: somebody has a wrong address, or guesses.
    Nobody,
    /// That was not asked, or cannot be found out.
    Anybody,
}

async fn webhook<I: Intake>(app: &Taking<I>, below: Below, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (Ok((whose, answer)) | Err((whose, answer))) = answered(app, below, request).await;
    app.metrics.webhooks.get_or_create(&Result { result: answer.result }).inc();
    if answer.status.is_success() {
        return answer.into_response();
    }
    let refusal = Refusal { at: app.intake.now(), status: answer.status.as_u16(), reason: answer.result };
    match &whose {
        Whose::Org(org) => app.refusals.note(org, refusal),
        Whose::Nobody => {
            app.refusals.note_stray(&path, refusal);
            if let Some(untold) = app.seldom.tell(answer.result, Instant::now()) {
                let reason = answer.result;
                tracing::warn!(path, reason, untold, "a webhook came by no connected organisation's address");
            }
        }
        Whose::Anybody => {}
    }
    answer.into_response()
}

/// The answer to a webhook that was let in, or to what was turned away before that was known.
async fn answered<I: Intake>(
    app: &Taking<I>,
    below: Below,
    request: Request,
) -> std::result::Result<(Whose, Answer), (Whose, Answer)> {
    let _in_hand = app.door.enter().map_err(|turned| (Whose::Anybody, Answer::from(turned)))?;
    let nobodys = |result| (Whose::Nobody, Answer::new(StatusCode::NOT_FOUND, result, ""));
    let Below::Address { plugin, org } = below else {
        return Err(nobodys("unknown_path"));
    };
    if plugin != app.intake.plugin() {
        return Err(nobodys("unknown_plugin"));
    }
    let Ok(org) = org.parse::<OrgId>() else { return Err(nobodys("unknown_organisation")) };
    let (_inside, whose) = admitted(app, &org).await?;
    Ok((whose, receive(app, &org, request).await))
}

/// Lets a connected organisation's request in, by what memory or the store holds of its name. Where that cannot be found
/// out the request is let in, and counts as nobody's: nobody has shown that there is such an organisation.
async fn admitted<I: Intake>(
    app: &Taking<I>,
    org: &OrgId,
) -> std::result::Result<(Inside, Whose), (Whose, Answer)> {
    let now = Instant::now();
    let own = || match app.door.admit(Some(org), now) {
        Ok(inside) => Ok((inside, Whose::Org(org.clone()))),
        Err(turned) => Err((Whose::Org(org.clone()), Answer::from(turned))),
    };
    let shared = || app.door.admit(None, now).map_err(|turned| (Whose::Anybody, Answer::from(turned)));
    let unknown = || (Whose::Nobody, Answer::new(StatusCode::NOT_FOUND, "unknown_organisation", ""));
    let look_up = async || {
        let connected = app.intake.is_connected(org).await;
        if let Some(connected) = connected {
            app.names.note(org, connected, Instant::now());
        }
        connected
    };
    match app.names.recall(org, now) {
        Remembered::Connected => own(),
        Remembered::WasConnected => {
            let admitted = own()?;
            // Where it cannot be found out, what comes next will tell.
            if look_up().await == Some(false) { Err(unknown()) } else { Ok(admitted) }
        }
        Remembered::Unknown => {
            let _inside = shared()?;
            Err(unknown())
        }
        Remembered::Nothing => {
            let inside = shared()?;
            match look_up().await {
                Some(true) => own(),
                Some(false) => Err(unknown()),
                None => Ok((inside, Whose::Anybody)),
            }
        }
    }
}

async fn receive<I: Intake>(app: &Taking<I>, org: &OrgId, request: Request) -> Answer {
    if request.method() != Method::POST {
        let text = "a webhook is sent by POST\n";
        return Answer::new(StatusCode::METHOD_NOT_ALLOWED, "not_post", text);
    }
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let text = "a webhook is plain JSON: send content-type: application/json and no content-encoding\n";
        return Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", text);
    }
    let body = match read(body, &parts.headers, BODY_TIME).await {
        Ok(body) => body,
        Err(answer) => {
            if let Some(untold) = app.seldom.tell(answer.result, Instant::now()) {
                tracing::warn!(%org, reason = answer.result, untold, "a webhook cannot be read");
            }
            return answer;
        }
    };
    let delivery = Delivery { headers: headers(&parts.headers), body };
    match app.intake.receive(org, delivery).await {
        Ok(received) => {
            let result = match received.accepted {
                Accepted::New => "accepted",
                Accepted::Duplicate => "duplicate",
                Accepted::Altered => "altered",
                Accepted::Unknown => {
                    app.names.forget(org);
                    return unknown();
                }
            };
            let (delivery, event) = (&received.verified.id, &received.verified.event_type);
            tracing::debug!(%org, delivery, event, result);
            if received.accepted == Accepted::Altered
                && let Some(untold) = app.seldom.tell(result, Instant::now())
            {
                tracing::warn!(
                    %org, delivery, event, untold,
                    "a delivery came again with another body; the first one counts"
                );
            }
            Answer::new(StatusCode::NO_CONTENT, result, "")
        }
        Err(error) => {
            if matches!(error, ReceiveError::UnknownOrganisation(_)) {
                app.names.forget(org);
            }
            let answer = refused(&error);
            if let Some(untold) = app.seldom.tell(answer.result, Instant::now()) {
                let reason = answer.result;
                match answer.status.is_server_error() {
                    true => tracing::error!(%org, reason, untold, "a webhook cannot be taken now: {error}"),
                    false => tracing::warn!(%org, reason, untold, "a webhook is refused: {error}"),
                }
            }
            answer
        }
    }
}

fn unknown() -> Answer {
    Answer::new(StatusCode::NOT_FOUND, "unknown_organisation", "")
}

/// What a webhook is answered that the host did not take.
fn refused(error: &ReceiveError) -> Answer {
    match error {
        ReceiveError::UnknownOrganisation(_) => unknown(),
        ReceiveError::Rejected(rejection) => Answer::new(StatusCode::UNAUTHORIZED, reason(*rejection), ""),
        ReceiveError::Backlog(_) => Answer::later(StatusCode::SERVICE_UNAVAILABLE, "backlog", BACKLOG_WAIT),
        ReceiveError::Unavailable(cause) => {
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
async fn read(body: Body, headers: &HeaderMap, patience: Duration) -> std::result::Result<Vec<u8>, Answer> {
    match tokio::time::timeout(patience, whole(body, headers)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Unread::TooLarge)) => {
            let text = "a webhook has at most 524288 bytes\n";
            Err(Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text))
        }
        Ok(Err(Unread::BrokeOff)) | Err(_) => {
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
        Rejection::TooLarge => "too_large",
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

/// Whether a webhook would be taken now. That this process answers at all is another question, which `/healthz` asks.
async fn readiness(State(app): State<Watched>) -> Response {
    let look = async {
        let why = match tokio::time::timeout(READY_TIME, app.host.ready()).await {
            Ok(Ok(())) => return (StatusCode::OK, PLAIN, "ready\n".to_owned()),
            Ok(Err(why)) => why,
            Err(_) => NotReady::Slow,
        };
        if let Some(untold) = app.seldom.tell("not_ready", Instant::now()) {
            let cause = std::error::Error::source(&why).map(ToString::to_string).unwrap_or_default();
            tracing::error!(untold, cause, "webhooks would be refused: {why}");
        }
        (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n"))
    };
    app.readiness.or(look).await
}

/// How long a store may take to answer that is ready; a locked one answers after five seconds.
const READY_TIME: Duration = Duration::from_secs(8);

const PLAIN: &str = "text/plain; charset=utf-8";

async fn metrics(State(app): State<Watched>) -> Response {
    app.figures.or(counted(&app)).await
}

async fn counted(app: &Watched) -> Answered {
    if let Ok(depth) = app.host.store().depth().await {
        app.metrics.pending.set(i64::try_from(depth.pending).unwrap_or(i64::MAX));
        app.metrics.dead.set(i64::try_from(depth.dead).unwrap_or(i64::MAX));
    }
    if let Ok(connected) = app.host.store().count_connected().await {
        app.metrics.organisations.set(i64::try_from(connected).unwrap_or(i64::MAX));
    }
    let mut text = String::new();
    match encode(&mut text, &app.metrics.registry) {
        Ok(()) => (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use koalr_host::port::StoreError;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    #[test]
    fn what_cannot_be_taken_now_is_to_be_sent_again_and_when() {
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
            let answer = refused(&error);
            assert_eq!((answer.status.as_u16(), answer.after), (status, after), "{error}");
            assert!(answer.text.is_empty(), "the sender is not told why");
            let response = answer.into_response();
            let told =
                response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(told, after.map(|after| after.as_secs().to_string()), "{error}");
        }
    }

    /// Knows one organisation, cannot find out about those that begin with `unread`, says of what it receives that this became of it, and counts what it is asked.
    struct Stub {
        accepted: Accepted,
        looked_up: AtomicU32,
        received: AtomicU32,
    }

    impl Intake for Arc<Stub> {
        fn plugin(&self) -> &str {
            "incidentio"
        }

        fn now(&self) -> Timestamp {
            0
        }

        async fn is_connected(&self, org: &OrgId) -> Option<bool> {
            self.looked_up.fetch_add(1, Ordering::Relaxed);
            (!org.as_str().starts_with("unread")).then(|| org.as_str() == "acme")
        }

        async fn receive(&self, _: &OrgId, _: Delivery) -> std::result::Result<Received, ReceiveError> {
            self.received.fetch_add(1, Ordering::Relaxed);
            let verified = koalr_host::contract::Verified {
                id: "msg_1".into(),
                sent_at: 0,
                event_type: "public_incident.incident_created_v2".into(),
                incident_id: None,
            };
            Ok(Received { verified, accepted: self.accepted })
        }
    }

    struct Bench {
        stub: Arc<Stub>,
        taking: Taking<Arc<Stub>>,
    }

    impl Bench {
        fn new(accepted: Accepted) -> Bench {
            let stub = Stub { accepted, looked_up: AtomicU32::new(0), received: AtomicU32::new(0) };
            let stub = Arc::new(stub);
            let taking = Taking::new(Arc::clone(&stub), Arc::default(), Arc::new(Metrics::new()));
            Bench { stub, taking }
        }

        async fn posted(&self, path: &str) -> Response {
            let request = Request::post(path).body(Body::from("{}")).unwrap();
            webhook(&self.taking, below(path).unwrap(), request).await
        }

        fn counted(&self, result: &'static str) -> u64 {
            self.taking.metrics.webhooks.get_or_create(&Result { result }).get()
        }

        fn refused(&self) -> Vec<&'static str> {
            let of = self.taking.refusals.of(&"acme".parse().unwrap());
            of.iter().map(|refusal| refusal.reason).collect()
        }
    }

    #[tokio::test]
    async fn what_nobody_keeps_is_not_acknowledged() {
        let bench = Bench::new(Accepted::Unknown);
        let answer = bench.posted("/webhooks/incidentio/acme").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(bench.refused(), ["unknown_organisation"]);
    }

    #[tokio::test]
    async fn whatever_comes_below_webhooks_is_counted_and_shown_and_a_plain_404() {
        let bench = Bench::new(Accepted::New);
        for (path, result) in [
            ("/webhooks", "unknown_path"),
            ("/webhooks/acme", "unknown_path"),
            ("/webhooks/incidentio/acme/x", "unknown_path"),
            ("/webhooks/pagerduty/acme", "unknown_plugin"),
            ("/webhooks/incidentio/acmee", "unknown_organisation"),
            ("/webhooks/incidentio/a%20b", "unknown_organisation"),
        ] {
            let before = bench.counted(result);
            let answer = bench.posted(path).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert!(answer.headers().get("content-security-policy").is_none(), "no page of the console");
            assert_eq!(bench.counted(result), before + 1, "{path}");
            let strays = bench.taking.refusals.strays();
            let stray = strays.first().unwrap();
            assert_eq!((stray.path.as_str(), stray.refusal.reason), (path, result));
        }
        assert!(bench.refused().is_empty());
        let looked_at = Request::get("/webhooks/incidentio/acme").body(Body::empty()).unwrap();
        let answer = webhook(&bench.taking, below("/webhooks/incidentio/acme").unwrap(), looked_at).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[header::ALLOW], "POST");
        assert_eq!(bench.refused(), ["not_post"]);
        assert_eq!(bench.stub.received.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_in_its_time_whether_it_is_known_or_not() {
        let bench = Bench::new(Accepted::New);
        for _ in 0..50 {
            bench.posted("/webhooks/incidentio/nobody").await;
        }
        // Within a second, unless the machine sleeps; never for each of them.
        assert!(bench.stub.looked_up.load(Ordering::Relaxed) < 50);
        assert_eq!(bench.stub.received.load(Ordering::Relaxed), 0, "and nothing is verified for it");
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_looked_up_takes_no_place_among_the_organisations_refusals() {
        let bench = Bench::new(Accepted::Unknown);
        for name in ["unread-1", "unread-2"] {
            let answer = bench.posted(&format!("/webhooks/incidentio/{name}")).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            assert!(bench.taking.refusals.of(&name.parse().unwrap()).is_empty(), "{name}");
        }
        assert_eq!(bench.stub.received.load(Ordering::Relaxed), 2, "what comes next tells");
        assert!(bench.taking.refusals.strays().is_empty(), "nor was it shown that there are none");
        // Of one that is known, it is listed.
        bench.posted("/webhooks/incidentio/acme").await;
        assert_eq!(bench.refused(), ["unknown_organisation"]);
    }

    #[tokio::test]
    async fn a_flood_of_invented_names_is_turned_away_unread_and_a_connected_one_is_let_in() {
        let bench = Bench::new(Accepted::New);
        bench.posted("/webhooks/incidentio/acme").await;
        let limited = |bench: &Bench| bench.counted("rate_limited");
        let mut number = 0;
        while limited(&bench) < 100 {
            number += 1;
            bench.posted(&format!("/webhooks/incidentio/invented-{number}")).await;
        }
        let looked_up = bench.stub.looked_up.load(Ordering::Relaxed);
        assert_eq!(u64::from(looked_up), number + 1 - limited(&bench), "none for what was turned away");
        assert_eq!(bench.posted("/webhooks/incidentio/acme").await.status(), StatusCode::NO_CONTENT);
        assert_eq!(bench.stub.received.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_delivery_that_comes_again_with_another_body_is_counted_as_such_and_not_asked_for_again() {
        let bench = Bench::new(Accepted::Altered);
        assert_eq!(bench.posted("/webhooks/incidentio/acme").await.status(), StatusCode::NO_CONTENT);
        assert_eq!((bench.counted("altered"), bench.counted("duplicate")), (1, 0));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_answered_after_its_time() {
        // One byte after the other, without an end.
        let (drip, dripping) = tokio::sync::mpsc::channel::<std::io::Result<&str>>(1);
        tokio::spawn(async move { while drip.send(Ok("x")).await.is_ok() {} });
        let silence = tokio_stream::pending::<std::io::Result<&str>>();
        for body in [Body::from_stream(silence), Body::from_stream(ReceiverStream::new(dripping))] {
            let answer = read(body, &HeaderMap::new(), Duration::from_millis(5)).await.err().unwrap();
            assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
        }
    }
}
