//! Everything the simulator says validates against incident.io's own schema.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on should fail its test; clippy exempts only the test functions"
)]

mod common;

use std::{collections::BTreeMap, fs, path::PathBuf};

use common::{Client, everything, now, unlimited};
use koalr_simulator::{Change, Keys, NewIncident, Options, RateLimits, Simulator, WebhookTarget};
use serde_json::{Value, json};

struct Schema {
    document: Value,
    components: Value,
}

impl Schema {
    fn load() -> Self {
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/incidentio/openapi.json");
        let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut components = document["components"].clone();
        for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
            forbid_more(schema);
        }
        Self { document, components }
    }

    fn validator(&self, name: &str) -> jsonschema::Validator {
        let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": self.components});
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    }

    /// The schema named for a status of a path.
    fn of(&self, path: &str, status: u16) -> String {
        let response = &self.document["paths"][path]["get"]["responses"][status.to_string()];
        let reference = response["content"]["application/json"]["schema"]["$ref"].as_str();
        let reference = reference.or_else(|| response["$ref"].as_str());
        reference.unwrap_or_else(|| panic!("{path} has no {status}")).rsplit('/').next().unwrap().to_owned()
    }
}

/// Makes a property that the schema does not know an error, so that a misspelt optional one is seen.
fn forbid_more(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(forbid_more);
    }
    if let Some(items) = object.get_mut("items") {
        forbid_more(items);
    }
}

/// Validates many instances against schemas that are compiled once.
struct Check {
    schema: Schema,
    validators: BTreeMap<String, jsonschema::Validator>,
}

impl Check {
    fn new() -> Self {
        Self { schema: Schema::load(), validators: BTreeMap::new() }
    }

    #[track_caller]
    fn response(&mut self, path: &str, status: u16, body: &Value) {
        let name = self.schema.of(path, status);
        self.named(&name, path, body);
    }

    #[track_caller]
    fn named(&mut self, name: &str, what: &str, body: &Value) {
        if !self.validators.contains_key(name) {
            self.validators.insert(name.to_owned(), self.schema.validator(name));
        }
        let errors: Vec<String> = self.validators[name]
            .iter_errors(body)
            .take(5)
            .map(|error| format!("{} at {}", error, error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what} against {name}: {errors:#?}");
    }
}

const PLAIN: [&str; 8] = [
    "/v1/identity",
    "/v1/severities",
    "/v1/incident_statuses",
    "/v2/incident_timestamps",
    "/v1/incident_types",
    "/v2/incident_roles",
    "/v2/custom_fields",
    "/v3/catalog_types",
];

/// Every endpoint, every page.
async fn check_all(check: &mut Check, simulator: &Simulator) {
    let client = Client::new(simulator, Some("key"));
    for path in PLAIN {
        check.response(path, 200, &client.get(path).await.body);
    }
    for query in [everything(), String::new()] {
        for page in client.pages(&format!("/v2/incidents?{query}"), 250).await {
            check.response("/v2/incidents", 200, &page);
        }
    }
    for page in client.pages("/v2/incident_updates", 250).await {
        check.response("/v2/incident_updates", 200, &page);
    }
    for page in client.pages("/v2/users?include_inactive=true", 10).await {
        check.response("/v2/users", 200, &page);
    }
    check.response("/v2/users", 200, &client.get("/v2/users?page_size=1000").await.body);
    for kind in client.get("/v3/catalog_types").await.body["catalog_types"].as_array().unwrap() {
        let path = format!("/v3/catalog_entries?catalog_type_id={}", kind["id"].as_str().unwrap());
        for page in client.pages(&path, 10).await {
            check.response("/v3/catalog_entries", 200, &page);
        }
    }
    for id in simulator.incident_ids() {
        check.response("/v2/incidents/{id}", 200, &client.get(&format!("/v2/incidents/{id}")).await.body);
        for page in client.pages(&format!("/v2/incident_timeline_items?incident_id={id}"), 2).await {
            check.response("/v2/incident_timeline_items", 200, &page);
        }
        simulator.with_account(|account| account.attach_alert(&id, "70413a06-1489739250", now())).unwrap();
        for page in client.pages(&format!("/v2/incident_activity_log_entries?incident_id={id}"), 2).await {
            check.response("/v2/incident_activity_log_entries", 200, &page);
        }
        let participants = client.get(&format!("/v2/incident_participants?incident_id={id}")).await;
        check.response("/v2/incident_participants", 200, &participants.body);
        let attachments = client.get(&format!("/v1/incident_attachments?incident_id={id}")).await;
        check.response("/v1/incident_attachments", 200, &attachments.body);
        let updates = client.get(&format!("/v2/incident_updates?incident_id={id}")).await;
        check.response("/v2/incident_updates", 200, &updates.body);
    }
}

/// Moves incidents through everything that can happen to them.
fn live_a_life(simulator: &Simulator) {
    let minute = |n: i64| now() + chrono::Duration::minutes(n);
    let severities = simulator.severities();
    let (services, users) = (simulator.services(), simulator.users());
    let new = |severity: Option<&String>, private| NewIncident {
        name: "checkout \"down\"".to_owned(),
        severity: severity.cloned(),
        services: vec![services[0].0.clone(), services[9].0.clone()],
        lead: Some(users[9].1.clone()),
        private,
        ..NewIncident::default()
    };
    let open = simulator.declare(new(severities.last(), false), minute(1)).unwrap();
    let triage = simulator.declare(new(None, false), minute(2)).unwrap();
    let hidden = simulator.declare(new(severities.first(), true), minute(3)).unwrap();
    for (n, status) in ["Fixing", "Monitoring", "learning", "live", "Closed", "paused"].iter().enumerate() {
        let change = Change {
            status: Some((*status).to_owned()),
            message: (n % 2 == 0).then(|| format!("now {status}")),
            severity: severities.get(n).cloned(),
            timestamps: [("Fixed at".to_owned(), None)].into(),
            ..Change::default()
        };
        for id in [&open, &hidden] {
            simulator.update(id, change.clone(), minute(10 + i64::try_from(n).unwrap())).unwrap();
        }
    }
    simulator.assign(&open, &users[2].1, minute(20)).unwrap();
    simulator.set_private(&open, true, minute(21)).unwrap();
    simulator.set_private(&open, false, minute(22)).unwrap();
    simulator.merge(&triage, &open, minute(23)).unwrap();
    let removed = simulator.incident_ids()[0].clone();
    simulator.delete(&removed).unwrap();
}

#[tokio::test]
async fn every_answer_of_several_accounts_validates_before_and_after_a_life() {
    let mut check = Check::new();
    for seed in [1, 2, 3] {
        let simulator = Simulator::start(unlimited(120, seed)).await.unwrap();
        check_all(&mut check, &simulator).await;
        live_a_life(&simulator);
        check_all(&mut check, &simulator).await;
        simulator.stop().await;
    }
}

#[tokio::test]
async fn every_webhook_validates() {
    let mut check = Check::new();
    let simulator = Simulator::start(unlimited(20, 4)).await.unwrap();
    // Nobody listens there: what would have been sent is what counts.
    let target = WebhookTarget {
        retry_delays: Vec::new(),
        ..WebhookTarget::new("http://127.0.0.1:9/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    };
    simulator.set_webhook(Some(target)).unwrap();
    live_a_life(&simulator);
    let deliveries = simulator.deliveries();
    let mut seen = std::collections::BTreeSet::new();
    for sent in deliveries {
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(body["event_type"], sent.event_type);
        let pascal: String = sent
            .event_type
            .split(['.', '_'])
            .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
            .collect();
        check.named(&format!("Webhooks{pascal}ResponseBody"), &sent.event_type, &body);
        seen.insert(sent.event_type);
    }
    let expected = [
        "private_incident.incident_created_v2",
        "private_incident.incident_updated_v2",
        "public_incident.incident_created_v2",
        "public_incident.incident_status_updated_v2",
        "public_incident.incident_updated_v2",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn the_check_sees_what_is_missing_misspelt_or_of_the_wrong_form() {
    let validator = Schema::load().validator("IncidentTimestampV2");
    assert!(validator.is_valid(&json!({"id": "1", "name": "Fixed at", "rank": 1})));
    assert!(!validator.is_valid(&json!({"id": "1", "name": "Fixed at"})));
    assert!(!validator.is_valid(&json!({"id": "1", "name": "Fixed at", "rank": 1, "ranks": 1})));
    let validator = Schema::load().validator("IncidentTimestampValueV2");
    assert!(!validator.is_valid(&json!({"value": "yesterday"})));
}

#[tokio::test]
async fn every_error_body_validates() {
    let mut check = Check::new();
    let mut options = Options::new(20, 5, now());
    options.keys = Keys::Listed([("reader".to_owned(), vec!["viewer".to_owned()])].into());
    options.limits = Some(RateLimits { incident_list_per_minute: 1, per_key_per_minute: 1_000 });
    let simulator = Simulator::start(options).await.unwrap();
    let reader = Client::new(&simulator, Some("reader"));
    let cases = [
        (Client::new(&simulator, None).get("/v1/identity").await, "/v1/identity", 401),
        (Client::new(&simulator, Some("x")).get("/v1/identity").await, "/v1/identity", 401),
        (reader.get("/v3/catalog_types").await, "/v3/catalog_types", 403),
        (reader.get("/v2/incidents/nothing").await, "/v2/incidents/{id}", 404),
        (reader.get("/v2/incident_timeline_items").await, "/v2/incident_timeline_items", 422),
        (reader.get("/v2/incidents?after=nothing").await, "/v2/incidents", 422),
        (reader.get("/v2/incidents").await, "/v2/incidents", 429),
    ];
    for (got, path, status) in cases {
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.body["status"], status);
        check.response(path, status, &got.body);
    }
}
