//! The HTTP side of `serve`: webhooks in, health and metrics out.
//!
//! A webhook is answered 2xx only once it is durable. A refusal says nothing of its reason to the sender; the
//! reason is in the log and in the metrics.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use koalr_host::contract::{Delivery, Header, Rejection};
use koalr_host::id::OrgId;
use koalr_host::port::Accepted;
use koalr_host::{Host, ReceiveError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The largest body that is taken; the sender names about 350 kB as its most.
const LARGEST_BODY: usize = 512 * 1024;
/// The largest body that is read, if only to refuse it.
const LARGEST_DRAINED: usize = 4 * LARGEST_BODY;

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

#[derive(Clone)]
struct App {
    host: Host,
    metrics: Arc<Metrics>,
}

/// The routes.
pub(crate) fn router(host: Host) -> Router {
    let app = App { host, metrics: Arc::new(Metrics::new()) };
    Router::new()
        .route("/webhooks/{plugin}/{org}", post(webhook))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(app)
}

async fn webhook(
    State(app): State<App>,
    Path((plugin, org)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (status, result) = receive(&app, &plugin, &org, request).await;
    app.metrics.webhooks.get_or_create(&Result { result }).inc();
    status.into_response()
}

async fn receive(app: &App, plugin: &str, org: &str, request: Request) -> (StatusCode, &'static str) {
    let Ok(org) = org.parse::<OrgId>() else { return (StatusCode::NOT_FOUND, "unknown_organisation") };
    if plugin != app.host.plugin().descriptor().name {
        return (StatusCode::NOT_FOUND, "unknown_plugin");
    }
    let (parts, body) = request.into_parts();
    let Some(body) = whole(body, &parts.headers).await else {
        tracing::warn!(%org, "a webhook is larger than {LARGEST_BODY} bytes or broke off");
        return (StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    };
    let delivery = Delivery { headers: headers(&parts.headers), body };
    match app.host.receive(&org, delivery).await {
        Ok(received) => {
            let result = if received.accepted == Accepted::New { "accepted" } else { "duplicate" };
            tracing::info!(%org, delivery = received.verified.id, event = received.verified.event_type, result);
            (StatusCode::NO_CONTENT, result)
        }
        Err(ReceiveError::UnknownOrganisation(_)) => {
            tracing::warn!(%org, "a webhook for an organisation that is not connected");
            (StatusCode::NOT_FOUND, "unknown_organisation")
        }
        Err(ReceiveError::Rejected(rejection)) => {
            let reason = reason(rejection);
            tracing::warn!(%org, reason, "a webhook is refused");
            (StatusCode::UNAUTHORIZED, reason)
        }
        Err(ReceiveError::Unavailable(error)) => {
            tracing::error!(%org, "a webhook cannot be taken now: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
    }
}

/// The whole body, or none if it is too large or broke off.
async fn whole(body: Body, headers: &HeaderMap) -> Option<Vec<u8>> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if let Some(length) = declared.filter(|length| *length > LARGEST_BODY) {
        // A sender that is cut off in the middle of its body seldom reads the answer.
        if length <= LARGEST_DRAINED {
            let _ = axum::body::to_bytes(body, LARGEST_DRAINED).await;
        }
        return None;
    }
    axum::body::to_bytes(body, LARGEST_BODY).await.ok().map(Vec::from)
}

/// As received, but for what may hold somebody's credentials.
fn headers(headers: &HeaderMap) -> Vec<Header> {
    let kept = headers.iter().filter(|(name, _)| **name != header::AUTHORIZATION && **name != header::COOKIE);
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

/// Whether the store answers.
async fn health(State(app): State<App>) -> Response {
    match app.host.store().depth().await {
        Ok(_) => (StatusCode::OK, "ok\n").into_response(),
        Err(error) => {
            tracing::error!("unhealthy: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

async fn metrics(State(app): State<App>) -> Response {
    if let Ok(depth) = app.host.store().depth().await {
        app.metrics.pending.set(i64::try_from(depth.pending).unwrap_or(i64::MAX));
        app.metrics.dead.set(i64::try_from(depth.dead).unwrap_or(i64::MAX));
    }
    if let Ok(organisations) = app.host.store().organisations().await {
        app.metrics.organisations.set(i64::try_from(organisations.len()).unwrap_or(i64::MAX));
    }
    let mut text = String::new();
    match encode(&mut text, &app.metrics.registry) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
