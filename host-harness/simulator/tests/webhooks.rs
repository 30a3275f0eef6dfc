//! Webhooks, as a receiver meets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on should fail its test; clippy exempts only the test functions"
)]

mod common;

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode};
use common::{now, unlimited};
use koalr_simulator::{Change, HeaderFamily, NewIncident, Simulator, WebhookTarget, sign};
use serde_json::Value;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Clone, Default)]
struct Receiver {
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<(u16, bool)>>>,
}

impl Receiver {
    /// Answers with these statuses, then with 200; the flag asks the sender to give up.
    async fn start(answers: &[(u16, bool)]) -> (Self, String) {
        let receiver = Self::default();
        receiver.answers.lock().unwrap().extend(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, url)
    }

    fn seen(&self) -> Vec<(HeaderMap, Bytes)> {
        self.seen.lock().unwrap().clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
    receiver.seen.lock().unwrap().push((headers, body));
    let (status, abort) = receiver.answers.lock().unwrap().pop_front().unwrap_or((200, false));
    let mut reply = HeaderMap::new();
    if abort {
        reply.insert("webhook-delivery", "abort-message".parse().unwrap());
    }
    (StatusCode::from_u16(status).unwrap(), reply)
}

async fn simulator(url: &str, family: HeaderFamily, retries: usize) -> Simulator {
    let target = WebhookTarget {
        family,
        retry_delays: vec![Duration::ZERO; retries],
        ..WebhookTarget::new(url, SECRET)
    };
    let mut options = unlimited(20, 1);
    options.webhook = Some(target);
    Simulator::start(options).await.unwrap()
}

fn new(private: bool) -> NewIncident {
    NewIncident {
        name: "ledger is slow".to_owned(),
        severity: Some("Degraded".to_owned()),
        private,
        ..NewIncident::default()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn event(body: &Bytes) -> (String, Value) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let kind = body["event_type"].as_str().unwrap().to_owned();
    assert_eq!(body.as_object().unwrap().len(), 2);
    let payload = body[&kind].clone();
    (kind, payload)
}

#[test]
fn the_published_vectors_are_reproduced() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/svix/vectors.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut checked = 0;
    for vector in vectors["signing_vectors"].as_array().unwrap() {
        let text = |key: &str| vector[key].as_str().unwrap();
        let timestamp = vector["timestamp"].as_i64().unwrap();
        let signed = sign(text("secret"), text("msg_id"), timestamp, text("payload").as_bytes());
        if text("secret").starts_with("whsk_") {
            // An asymmetric key; a sender that took it would sign with the wrong scheme.
            assert!(signed.is_err());
        } else {
            assert_eq!(signed.unwrap(), text("signature"));
            checked += 1;
        }
    }
    assert_eq!(checked, 3);
}

#[test]
fn a_secret_that_signs_nothing_is_refused() {
    for secret in ["", "whsec_", "whsec_not base64", "whsk_AAAA"] {
        assert!(sign(secret, "msg", 0, b"").is_err(), "{secret}");
    }
}

#[tokio::test]
async fn a_delivery_carries_a_signature_over_its_bytes() {
    for (family, prefixes) in [
        (HeaderFamily::Webhook, &["webhook"][..]),
        (HeaderFamily::Svix, &["svix"][..]),
        (HeaderFamily::Both, &["webhook", "svix"][..]),
    ] {
        let (receiver, url) = Receiver::start(&[]).await;
        let simulator = simulator(&url, family, 0).await;
        simulator.declare(new(false), now()).unwrap();
        simulator.settle().await;
        let (headers, body) = receiver.seen().remove(0);
        assert_eq!(header(&headers, "content-type"), "application/json");
        for prefix in ["webhook", "svix"] {
            let id = header(&headers, &format!("{prefix}-id"));
            if !prefixes.contains(&prefix) {
                assert_eq!(id, "");
                continue;
            }
            let timestamp = header(&headers, &format!("{prefix}-timestamp")).parse().unwrap();
            let expected = sign(SECRET, id, timestamp, &body).unwrap();
            assert_eq!(header(&headers, &format!("{prefix}-signature")), expected);
            assert_eq!(simulator.deliveries()[0].id, id);
        }
    }
}

#[tokio::test]
async fn a_refused_delivery_is_retried_under_the_same_id() {
    let (receiver, url) = Receiver::start(&[(500, false), (302, false)]).await;
    let simulator = simulator(&url, HeaderFamily::Webhook, 4).await;
    simulator.declare(new(false), now()).unwrap();
    simulator.settle().await;
    let seen = receiver.seen();
    assert_eq!(seen.len(), 3);
    for (headers, body) in &seen {
        assert_eq!(header(headers, "webhook-id"), header(&seen[0].0, "webhook-id"));
        assert_eq!(body, &seen[0].1);
    }
    let sent = simulator.deliveries().remove(0);
    assert_eq!((sent.attempts, sent.last_status), (3, Some(200)));
}

#[tokio::test]
async fn retries_end_with_the_schedule_or_when_asked() {
    let (_receiver, url) = Receiver::start(&[(500, false); 9]).await;
    let patient = simulator(&url, HeaderFamily::Webhook, 2).await;
    patient.declare(new(false), now()).unwrap();
    patient.settle().await;
    assert_eq!((patient.deliveries()[0].attempts, patient.deliveries()[0].last_status), (3, Some(500)));

    let (_receiver, url) = Receiver::start(&[(500, true)]).await;
    let told = simulator(&url, HeaderFamily::Webhook, 5).await;
    told.declare(new(false), now()).unwrap();
    told.settle().await;
    assert_eq!(told.deliveries()[0].attempts, 1);
}

#[tokio::test]
async fn a_resend_keeps_the_id() {
    let (receiver, url) = Receiver::start(&[]).await;
    let simulator = simulator(&url, HeaderFamily::Webhook, 0).await;
    simulator.declare(new(false), now()).unwrap();
    simulator.settle().await;
    let id = simulator.deliveries()[0].id.clone();
    assert!(simulator.resend(&id) && !simulator.resend("msg_unknown"));
    simulator.settle().await;
    let ids: Vec<String> =
        receiver.seen().iter().map(|(headers, _)| header(headers, "webhook-id").to_owned()).collect();
    assert_eq!(ids, [id.clone(), id]);
}

#[tokio::test]
async fn public_events_carry_the_incident_and_private_ones_its_id() {
    let (receiver, url) = Receiver::start(&[]).await;
    let simulator = simulator(&url, HeaderFamily::Webhook, 0).await;
    let events = async || {
        simulator.settle().await;
        let mut events: Vec<_> = receiver.seen().iter().map(|(_, body)| event(body)).collect();
        receiver.seen.lock().unwrap().clear();
        events.sort_by(|one, other| one.0.cmp(&other.0));
        events
    };
    let id = simulator.declare(new(false), now()).unwrap();
    let declared = events().await;
    assert_eq!(declared[0].0, "public_incident.incident_created_v2");
    assert_eq!(declared[0].1, simulator.raw_incident(&id).unwrap());

    let change = Change {
        status: Some("Monitoring".to_owned()),
        message: Some("it holds".to_owned()),
        ..Change::default()
    };
    simulator.update(&id, change.clone(), now()).unwrap();
    let changed = events().await;
    let kinds: Vec<&str> = changed.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["public_incident.incident_status_updated_v2", "public_incident.incident_updated_v2"]);
    assert_eq!(changed[0].1["previous_status"]["name"], "Investigating");
    assert_eq!(changed[0].1["new_status"]["name"], "Monitoring");
    assert_eq!(changed[0].1["message"], "it holds");
    assert_eq!(changed[0].1["incident"], simulator.raw_incident(&id).unwrap());
    assert_eq!(changed[1].1["most_recent_update_message"], "it holds");

    let hidden = simulator.declare(new(true), now()).unwrap();
    simulator.update(&hidden, change, now()).unwrap();
    let private = events().await;
    let only_id = serde_json::json!({"id": hidden});
    assert_eq!(
        private,
        [
            ("private_incident.incident_created_v2".to_owned(), only_id.clone()),
            ("private_incident.incident_updated_v2".to_owned(), only_id),
        ]
    );
}

#[tokio::test]
async fn without_a_target_nothing_is_sent_or_kept() {
    let simulator = Simulator::start(unlimited(20, 2)).await.unwrap();
    simulator.declare(new(false), now()).unwrap();
    simulator.settle().await;
    assert!(simulator.deliveries().is_empty());
    assert!(simulator.set_webhook(Some(WebhookTarget::new("http://127.0.0.1:9/", "whsec_"))).is_err());
}
