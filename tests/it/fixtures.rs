//! The recorded account, every published example and every signature vector, through the built component.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use base64::Engine as _;
use koalr_host::HostError;
use koalr_host::contract::{Delivery, Header};
use koalr_host::port::{Clock, DeliveryState};
use koalr_host::vault::Secret;
use koalr_simulator::HeaderFamily;
use serde_json::{Value, json};

use crate::support::*;

/// Serves fixed answers by path, whatever the query; 404 for the rest.
pub(crate) async fn canned(answers: BTreeMap<String, Value>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async |State(answers): State<Arc<BTreeMap<String, Value>>>,
                        OriginalUri(uri): OriginalUri| {
        match answers.get(uri.path()) {
            Some(answer) => (StatusCode::OK, answer.to_string()),
            None => (StatusCode::NOT_FOUND, json!({"type": "not_found"}).to_string()),
        }
    };
    let router = Router::new().fallback(answer).with_state(Arc::new(answers));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn identity() -> (String, Value) {
    let identity =
        json!({"name": "Recorded", "dashboard_url": "https://app.incident.io/recorded", "roles": ["viewer"]});
    ("/v1/identity".into(), json!({ "identity": identity }))
}

#[tokio::test]
async fn the_recorded_account_is_imported_whole() {
    let recorded = |name: &str| fixture(&format!("incidentio/recorded/{name}.json"));
    let mut answers = BTreeMap::from([identity()]);
    for (path, key, file) in [
        ("/v2/incidents", "incidents", "incidents"),
        ("/v2/incident_updates", "incident_updates", "incident_updates"),
        ("/v1/severities", "severities", "severities"),
        ("/v1/incident_statuses", "incident_statuses", "incident_statuses"),
        ("/v2/incident_timestamps", "incident_timestamps", "incident_timestamps"),
        ("/v2/custom_fields", "custom_fields", "custom_fields"),
    ] {
        answers.insert(path.into(), json!({ key: recorded(file), "pagination_meta": {"page_size": 250} }));
    }
    for (path, key) in [
        ("/v2/users", "users"),
        ("/v3/catalog_types", "catalog_types"),
        ("/v2/incident_timeline_items", "incident_timeline_items"),
    ] {
        answers.insert(path.into(), json!({ key: [], "pagination_meta": {"page_size": 250} }));
    }
    let bench = Bench::new().await;
    bench.connect(&canned(answers).await).await.unwrap();
    // The account was recorded years ago.
    bench.host.schedule_backfill(&bench.org, 3_000).await.unwrap();
    bench.sync().await;
    let incidents = bench.incidents().await;
    let recorded_incidents = recorded("incidents");
    assert_eq!(incidents.len(), recorded_incidents.as_array().unwrap().len());
    for raw in recorded_incidents.as_array().unwrap() {
        let incident = bench.incident(raw["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(incident.title, raw["name"].as_str().unwrap());
        assert_eq!(incident.status, raw["incident_status"]["name"].as_str().unwrap());
    }
    let updates = recorded("incident_updates");
    let first = updates[0]["incident_id"].as_str().unwrap();
    let incident = bench.incident(first).await.unwrap();
    assert!(!bench.store.timeline(&bench.org, &incident.key).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_published_rest_example_is_understood() {
    let examples = fixture("incidentio/rest-examples.json");
    let mut answers = BTreeMap::new();
    for (name, example) in examples.as_object().unwrap() {
        let path = name.strip_prefix("GET ").unwrap();
        answers.insert(path.to_string(), example["example"].clone());
    }
    let example = answers["/v2/incidents"]["incidents"][0].clone();
    let id = example["id"].as_str().unwrap().to_string();
    if let Some(one) = answers.remove("/v2/incidents/{id}") {
        answers.insert(format!("/v2/incidents/{id}"), one);
    }
    // The examples point to further pages that there are none of.
    for answer in answers.values_mut() {
        if let Some(meta) = answer.get_mut("pagination_meta").and_then(Value::as_object_mut) {
            meta.remove("after");
        }
    }
    let bench = Bench::new().await;
    let connection = bench.connect(&canned(answers).await).await.unwrap();
    assert_eq!(connection.account, "my-org");
    bench.host.schedule_backfill(&bench.org, 3_000).await.unwrap();
    bench.sync().await;
    let incident = bench.incident(&id).await.unwrap();
    assert_eq!(incident.title, example["name"].as_str().unwrap());
    assert_eq!(incident.reference.as_deref(), example["reference"].as_str());
    assert!(incident.responders.iter().any(|person| person.email.is_some()));
}

#[tokio::test]
async fn every_published_webhook_example_is_applied_or_ignored_for_a_reason() {
    let simulator = account(30, 6).await;
    let bench = Bench::connected(&simulator).await;
    let examples = fixture("incidentio/webhook-examples.json");
    let examples = examples.as_object().unwrap();
    for (number, (event_type, example)) in examples.iter().enumerate() {
        let body = example["example"].to_string();
        // Half of them under each family of header names.
        let family = if number % 2 == 0 { HeaderFamily::Webhook } else { HeaderFamily::Svix };
        let delivery = bench.signed(&format!("msg_{number}"), body.as_bytes(), family);
        let received = bench.host.receive(&bench.org, delivery).await.unwrap();
        assert_eq!(&received.verified.event_type, event_type);
    }
    let rows = bench.drain().await;
    assert_eq!(rows.len(), examples.len());
    for row in rows {
        assert_eq!(row.state, DeliveryState::Done, "{}: {:?}", row.event_type, row.error);
        let outcome = row.outcome.unwrap();
        assert!(
            ["created", "updated", "resolved", "unchanged"].contains(&outcome.as_str()) || outcome.len() > 15,
            "{}: {outcome}",
            row.event_type
        );
    }
}

#[tokio::test]
async fn every_signature_vector_gives_the_stated_result() {
    let vectors = fixture("svix/vectors.json");
    let simulator = account(1, 1).await;
    let mut checked = 0;
    let bench = Bench::connected(&simulator).await;
    for case in vectors["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let stated = case["strict"].as_str().or(case["expected"].as_str()).unwrap();
        // Of a body that is no envelope the signature counts here, so every accepted one is told by its shape.
        let genuine = stated.starts_with("ok") && stated != "ok_with_public_key";
        let secret = Secret::new(case["secret"].as_str().unwrap_or_default().into());
        let usable = match bench.host.put_secret(&bench.org, "webhook-secret", &[secret]).await {
            Ok(()) => true,
            Err(HostError::UnusableSecret(_)) => false,
            Err(error) => panic!("{name}: {error}"),
        };
        if !usable {
            assert!(!genuine, "{name}: the secret was refused");
            checked += 1;
            continue;
        }
        let body = match case["payload"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => base64::engine::general_purpose::STANDARD
                .decode(case["payload_base64"].as_str().unwrap())
                .unwrap(),
        };
        let headers = case["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| Header {
            name: name.clone(),
            value: value.as_str().map_or_else(|| value.to_string(), String::from).into_bytes(),
        });
        let seconds = case["now"].as_i64().unwrap();
        bench.clock.advance(chrono::TimeDelta::microseconds(seconds * 1_000_000 - bench.clock.now()));
        let delivery = Delivery { headers: headers.collect(), body };
        let result = bench.host.verify(&bench.org, &delivery).await;
        assert_eq!(result.is_ok(), genuine, "{name}: {result:?}");
        checked += 1;
    }
    assert!(checked >= 58, "{checked}");
}
