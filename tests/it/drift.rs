//! The provider may add fields and words, leave out what is optional, and change the length of identifiers and the
//! precision of times, all without notice. Whatever it makes of its own schema, no incident is lost.
//!
//! Each round draws an account from the official document: instances that are valid, or valid but for what the
//! provider reserves the right to change. `KOALR_DRIFTS` sets how many rounds.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{SecondsFormat, TimeDelta};
use fastrand::Rng;
use koalr_host::port::DeliveryState;
use koalr_simulator::HeaderFamily;
use serde_json::{Map, Value, json};

use crate::fixtures::canned;
use crate::support::*;

/// How many accounts an ordinary run draws.
const ROUNDS: u64 = 12;
const INCIDENTS: usize = 25;
/// Deeper than this, only what is required is drawn.
const DEEP: usize = 7;
/// What makes an incident or a part of it what it is: never left out.
const INDISPENSABLE: [&str; 6] =
    ["id", "created_at", "incident_id", "incident", "incident_status", "category"];

/// Draws instances of the document's schemas.
struct Draw<'a> {
    schemas: &'a Value,
    random: Rng,
}

impl Draw<'_> {
    fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(..100) < percent
    }

    fn named(&mut self, name: &str) -> Value {
        let schema = self.schemas[name].clone();
        assert!(schema.is_object(), "no schema {name}");
        self.value("", &schema, 0)
    }

    fn value(&mut self, name: &str, schema: &Value, depth: usize) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.schemas[reference.rsplit('/').next().unwrap()].clone();
            return self.value(name, &target, depth);
        }
        if let Some(words) = schema["enum"].as_array() {
            let known = self.chance(80);
            return if known { self.random.choice(words).unwrap().clone() } else { "hibernating".into() };
        }
        match schema["type"].as_str() {
            Some("array") => {
                let length = if depth < DEEP { self.random.usize(..3) } else { 0 };
                (0..length).map(|_| self.value("", &schema["items"], depth + 1)).collect()
            }
            Some("integer") => self.random.i32(..).into(),
            Some("number") => (self.random.f64() * 1e6).into(),
            Some("boolean") => self.random.bool().into(),
            Some("string") => self.text(name, schema).into(),
            _ => self.object(schema, depth),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let kept = depth == 0 || INDISPENSABLE.contains(&name.as_str());
            let drawn = match required.contains(name.as_str()) {
                true if !kept && self.chance(3) => Value::Null,
                true if !kept && self.chance(3) => continue,
                true => self.value(name, property, depth + 1),
                false if depth >= DEEP || self.chance(20) => continue,
                false if self.chance(20) => Value::Null,
                false => self.value(name, property, depth + 1),
            };
            object.insert(name.clone(), drawn);
        }
        if self.chance(30) {
            object.insert("a_new_field".into(), json!({"with": ["more", 1, null]}));
        }
        object.into()
    }

    fn text(&mut self, name: &str, schema: &Value) -> String {
        if schema["format"] == "date-time" {
            return self.instant();
        }
        if name == "id" || name.ends_with("_id") {
            let length = self.random.usize(26..60);
            return (0..length).map(|_| self.random.alphanumeric()).collect();
        }
        let texts =
            ["", "Ausfall – Zürich", "\"quoted\" \\ and\nbroken", "🔥", "plain", "<b>&amp;</b>", "\u{0}"];
        (*self.random.choice(&texts).unwrap()).to_string()
    }

    /// Within the last eighty days, with any number of fraction digits.
    fn instant(&mut self) -> String {
        let at = now() - TimeDelta::seconds(self.random.i64(60..80 * 86_400));
        let whole = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let digits: String = (0..self.random.usize(..10)).map(|_| self.random.digit(10)).collect();
        let fraction = if digits.is_empty() { String::new() } else { format!(".{digits}") };
        format!("{}{fraction}Z", whole.trim_end_matches('Z'))
    }

    /// A list answer that holds all there is.
    fn list(&mut self, key: &str, rows: Vec<Value>) -> Value {
        let mut answer = json!({ key: rows });
        let meta = [
            None,
            Some(json!({})),
            Some(json!({"page_size": 250, "after": null})),
            Some(json!({"after": ""})),
        ];
        if let Some(meta) = self.random.choice(meta).unwrap() {
            answer["pagination_meta"] = meta;
        }
        answer
    }
}

#[tokio::test]
async fn no_incident_is_lost_whatever_the_provider_makes_of_its_schema() {
    let document = fixture("incidentio/openapi.json");
    let rounds = std::env::var("KOALR_DRIFTS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    for seed in 0..rounds {
        let mut draw = Draw { schemas: &document["components"]["schemas"], random: Rng::with_seed(seed) };
        round(&mut draw, &document["x-webhooks"]).await.unwrap_or_else(|why| panic!("round {seed}: {why}"));
    }
}

/// One account, imported from lists and told by deliveries.
async fn round(draw: &mut Draw<'_>, webhooks: &Value) -> Result<(), String> {
    let many = |draw: &mut Draw<'_>, name: &str, count: usize| -> Vec<Value> {
        (0..count).map(|_| draw.named(name)).collect()
    };
    let incidents = many(draw, "IncidentV2", INCIDENTS);
    let mut ids: Vec<String> = incidents.iter().map(|i| i["id"].as_str().unwrap().to_string()).collect();
    let mut updates = many(draw, "IncidentUpdateV2", INCIDENTS * 2);
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for update in &mut updates {
        let id = draw.random.choice(&ids).unwrap();
        update["incident_id"] = id.as_str().into();
        *told.entry(id.clone()).or_default() += 1;
    }
    let mut answers: BTreeMap<String, Value> = ids
        .iter()
        .zip(&incidents)
        .map(|(id, incident)| (format!("/v2/incidents/{id}"), json!({ "incident": incident })))
        .collect();
    let mut identity = draw.named("IdentityV1");
    // Who it is cannot be missing: whatever answers without that is not the provider.
    identity["dashboard_url"] = json!("https://app.incident.io/drift");
    answers.insert("/v1/identity".into(), json!({ "identity": identity }));
    answers.insert("/v2/incidents".into(), draw.list("incidents", incidents.clone()));
    answers.insert("/v2/incident_updates".into(), draw.list("incident_updates", updates));
    for (path, schema) in [
        ("/v2/incident_timeline_items", "IncidentTimelineItemV2"),
        ("/v2/incident_activity_log_entries", "IncidentActivityLogEntryV2"),
        ("/v1/severities", "SeverityV1"),
        ("/v1/incident_statuses", "IncidentStatusV1"),
        ("/v2/custom_fields", "CustomFieldV2"),
        ("/v3/catalog_types", "CatalogTypeV3"),
        ("/v2/users", "UserWithRolesV2"),
    ] {
        let rows = many(draw, schema, 5);
        let answer = draw.list(path.rsplit('/').next().unwrap(), rows);
        answers.insert(path.into(), answer);
    }
    let participants = json!({ "incident_participants": draw.named("IncidentParticipantsV2") });
    answers.insert("/v2/incident_participants".into(), participants);
    let provider = canned(answers).await;

    let imported = Bench::new().await;
    imported.connect(&provider).await.map_err(|error| error.to_string())?;
    imported.sync().await;
    complete(&imported, &ids, "an import").await?;
    for (id, count) in told {
        let incident = imported.incident(&id).await.ok_or("gone")?;
        let timeline = imported.store.timeline(&imported.org, &incident.key).await.unwrap();
        let found = timeline.iter().filter(|event| event.id.starts_with("update:")).count();
        if found != count {
            return Err(format!("{found} of {count} updates of {id}"));
        }
    }

    let delivered = Bench::new().await;
    delivered.connect(&provider).await.map_err(|error| error.to_string())?;
    for (id, incident) in ids.iter().zip(&incidents) {
        let kind = "public_incident.incident_updated_v2";
        let body = json!({"event_type": kind, kind: incident}).to_string();
        let delivery = delivered.signed(&format!("msg_{id}"), body.as_bytes(), HeaderFamily::Webhook);
        delivered.host.receive(&delivered.org, delivery).await.map_err(|error| error.to_string())?;
    }
    ids.extend(deliver_each(draw, webhooks, &delivered).await?);
    for row in delivered.drain().await {
        if row.state != DeliveryState::Done {
            return Err(format!("{:?} of {:?}: {:?}", row.state, row.incident, row.error));
        }
    }
    complete(&delivered, &ids, "deliveries").await
}

/// One delivery of every type that the document has. Answers the incidents that they show to everybody.
async fn deliver_each(draw: &mut Draw<'_>, webhooks: &Value, bench: &Bench) -> Result<Vec<String>, String> {
    let mut shown = Vec::new();
    let kinds = webhooks.as_object().ok_or("no webhooks in the document")?;
    for (n, (path, webhook)) in kinds.iter().enumerate() {
        let kind = path.rsplit('/').next().unwrap_or_default();
        let text = webhook.to_string();
        let schema = text.split("schemas/").nth(1).and_then(|rest| rest.split('"').next());
        let mut body = draw.named(schema.ok_or_else(|| format!("{path} has no schema"))?);
        body["event_type"] = kind.into();
        let of = if kind.contains("status_updated_v2") { &body[kind]["incident"] } else { &body[kind] };
        // One without a version is asked for, and this provider does not have it.
        let whole = of["visibility"] == "public" && of["updated_at"].is_string();
        if kind.starts_with("public_incident.incident_") && whole {
            shown.extend(of["id"].as_str().map(str::to_string));
        }
        let body = body.to_string();
        let delivery = bench.signed(&format!("msg_of_type_{n}"), body.as_bytes(), HeaderFamily::Webhook);
        bench.host.receive(&bench.org, delivery).await.map_err(|error| error.to_string())?;
    }
    Ok(shown)
}

async fn complete(bench: &Bench, ids: &[String], after: &str) -> Result<(), String> {
    let stored: BTreeSet<String> = bench.incidents().await.into_iter().map(|i| i.key.id).collect();
    let lost: Vec<&String> = ids.iter().filter(|id| !stored.contains(*id)).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("lost after {after}: {lost:?}")) }
}
