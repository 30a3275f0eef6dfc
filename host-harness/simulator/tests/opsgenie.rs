//! Opsgenie's stand-in answers as Opsgenie was seen to answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on should fail its test; clippy exempts only the test functions"
)]

use std::collections::BTreeMap;

use chrono::DateTime;
use koalr_simulator::opsgenie::{Dates, Opsgenie, OpsgenieOptions, Plan, Throttle};
use serde_json::Value;

fn options(incidents: usize) -> OpsgenieOptions {
    OpsgenieOptions::new(incidents, 7, DateTime::from_timestamp(1_790_000_000, 0).unwrap())
}

async fn get_with(opsgenie: &Opsgenie, authorization: &str, path: &str) -> (u16, Value) {
    let client = reqwest::Client::new();
    let request = client.get(format!("{}{path}", opsgenie.base_url())).header("authorization", authorization);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-ratelimit-state"), "{path}");
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn get(opsgenie: &Opsgenie, path: &str) -> (u16, Value) {
    get_with(opsgenie, "GenieKey any", path).await
}

/// Every path of a value, an array's items under `[]`, with the kind of what is there.
fn shape(value: &Value, path: &str, into: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    into.insert(path.to_owned(), kind);
    match value {
        Value::Array(items) => items.iter().for_each(|item| shape(item, &format!("{path}[]"), into)),
        Value::Object(fields) => {
            // What keys a map of the user's own has is nobody's business.
            for (name, value) in
                fields.iter().filter(|(name, _)| !name.starts_with('_') && !path.ends_with("extraProperties"))
            {
                shape(value, &format!("{path}.{name}"), into);
            }
        }
        _ => {}
    }
}

fn example(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/opsgenie/examples.json");
    serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap()[name].clone()
}

#[tokio::test]
async fn answers_have_the_shape_of_recorded_ones() {
    let opsgenie = Opsgenie::start(options(60)).await.unwrap();
    let incident = opsgenie.content().incidents[0]["id"].as_str().unwrap().to_owned();
    let timeline = format!("/v2/incident-timelines/{incident}/entries?limit=3");
    let service = format!("/v1/services/{}", opsgenie.content().services[0]["id"].as_str().unwrap());
    let cases = [
        ("incident_list_page_1", "/v1/incidents?limit=50".to_owned()),
        ("timeline_list", timeline),
        ("service", service),
        ("user", "/v2/users?limit=100".to_owned()),
        ("alert", "/v2/alerts?limit=50".to_owned()),
        ("associated_alert_ids", format!("/v1/incidents/{incident}/responder-alert-ids")),
        ("error_400_bad_date", "/v1/incidents?query=createdAt%3E2022-05-26".to_owned()),
    ];
    // Of a list the envelope is told in one example only; and these are seen sometimes.
    let envelope =
        [".took", ".requestId", ".totalCount", ".paging", ".paging.next", ".paging.first", ".paging.last"];
    let sometimes = [
        ".data.nextOffset",
        ".data.entries[].description",
        ".data.entries[].description.type",
        ".data.entries[].description.content",
        ".data.entries[].lastEdit",
        ".data[].actions[]",
        ".data.tags[]",
        ".data[].report.closedBy",
        ".data[].report.closeTime",
    ];
    for (name, path) in cases {
        let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
        shape(&get(&opsgenie, &path).await.1, "", &mut ours);
        shape(&example(name), "", &mut theirs);
        let known = |path: &&String| {
            !envelope.contains(&path.as_str())
                && !sometimes.iter().any(|sometimes| path.starts_with(sometimes))
        };
        let theirs_only: Vec<_> =
            theirs.keys().filter(|path| !ours.contains_key(*path)).filter(known).collect();
        let ours_only: Vec<_> =
            ours.keys().filter(|path| !theirs.contains_key(*path)).filter(known).collect();
        assert!(
            theirs_only.is_empty() && ours_only.is_empty(),
            "{name}: lacks {theirs_only:?}, invents {ours_only:?}"
        );
        for (path, kind) in &theirs {
            assert!(ours.get(path).is_none_or(|ours| ours == kind), "{name}: {path} is no {kind}");
        }
    }
    let (mut variants, mut ours) = (Vec::new(), Vec::new());
    for (_, variant) in example("incident_variants").as_object().unwrap() {
        variants.extend(
            variant.get("status").map(|status| (status.clone(), variant.get("impactEndDate").is_some())),
        );
    }
    for incident in opsgenie.content().incidents {
        ours.push((incident["status"].clone(), incident.get("impactEndDate").is_some()));
    }
    for variant in variants {
        assert!(ours.contains(&variant), "no incident is like {variant:?}");
    }
}

#[tokio::test]
async fn lists_are_ordered_capped_and_filtered_as_the_service_does_it() {
    let opsgenie = Opsgenie::start(OpsgenieOptions { reach: 40, ..options(60) }).await.unwrap();
    let created = |body: &Value| -> Vec<String> {
        body["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["createdAt"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, newest_first) = get(&opsgenie, "/v1/incidents").await;
    let content = opsgenie.content();
    assert_eq!(newest_first["data"][0], content.incidents[59]);
    assert_eq!(created(&newest_first).len(), 20);
    assert!(
        newest_first["paging"]["next"].as_str().unwrap().contains("sort=insertedAt&offset=20&order=desc")
    );
    let (_, oldest_first) = get(&opsgenie, "/v1/incidents?sort=createdAt&order=asc&limit=20&offset=20").await;
    assert_eq!(oldest_first["data"][0], content.incidents[20]);
    assert_eq!(get(&opsgenie, "/v1/incidents?limit=20&offset=21").await.0, 422);

    let at = DateTime::parse_from_rfc3339(content.incidents[30]["createdAt"].as_str().unwrap()).unwrap();
    let quoted = at.format("%%22%d-%m-%YT%H:%M:%SZ%%22").to_string().replace(':', "%3A");
    let path = format!("/v1/incidents?limit=40&sort=createdAt&order=asc&query=createdAt%3E%3D{quoted}");
    assert_eq!(get(&opsgenie, &path).await.1["totalCount"], 30);
    let path = format!("/v1/incidents?limit=40&query=createdAt%3C{}", at.timestamp());
    assert_eq!(get(&opsgenie, &path).await.1["totalCount"], 30);
    let unquoted = format!("/v1/incidents?query=createdAt%3C{}", at.format("%d-%m-%Y"));
    assert_eq!(get(&opsgenie, &unquoted).await.0, 400);

    let seconds = Opsgenie::start(OpsgenieOptions { dates: Dates::Seconds, ..options(60) }).await.unwrap();
    assert_eq!(get(&seconds, &format!("/v1/incidents?query=createdAt%3E%3D{quoted}")).await.0, 400);
    let ignored = Opsgenie::start(OpsgenieOptions { dates: Dates::Ignored, ..options(60) }).await.unwrap();
    let path = format!("/v1/incidents?query=createdAt%3E%3D{quoted}");
    assert_eq!(get(&ignored, &path).await.1["totalCount"], 60);
}

#[tokio::test]
async fn a_timeline_is_newest_first_and_goes_on_at_an_offset() {
    let opsgenie = Opsgenie::start(options(3)).await.unwrap();
    let content = opsgenie.content();
    let incident = content.incidents[0]["id"].as_str().unwrap();
    let path = format!("/v2/incident-timelines/{incident}/entries?limit=4");
    let (_, first) = get(&opsgenie, &path).await;
    let next = first["data"]["nextOffset"].as_str().unwrap();
    let (_, second) = get(&opsgenie, &format!("{path}&offset={next}")).await;
    let mut entries = first["data"]["entries"].as_array().unwrap().clone();
    entries.extend(second["data"]["entries"].as_array().unwrap().clone());
    entries.reverse();
    assert_eq!(entries, content.timelines[incident]);
    assert!(second["data"].get("nextOffset").is_none());
}

#[tokio::test]
async fn a_wrong_key_a_plan_and_haste_each_have_their_status() {
    let keyed = OpsgenieOptions { key: Some("right".into()), ..options(1) };
    let opsgenie = Opsgenie::start(keyed).await.unwrap();
    assert_eq!(get_with(&opsgenie, "GenieKey wrong", "/v1/incidents").await.0, 401);
    assert_eq!(get_with(&opsgenie, "Bearer right", "/v1/incidents").await.0, 401);
    assert_eq!(get_with(&opsgenie, "GenieKey right", "/v1/incidents").await.0, 200);
    for (plan, status) in [(Plan::WithoutIncidents, 402), (Plan::WithoutRight, 403)] {
        let opsgenie = Opsgenie::start(OpsgenieOptions { plan, ..options(1) }).await.unwrap();
        assert_eq!(get(&opsgenie, "/v1/incidents").await.0, status);
        assert_eq!(get(&opsgenie, "/v2/alerts").await.0, 200);
    }
    let hasty = OpsgenieOptions { throttle: Some(Throttle { per_minute: 2 }), ..options(1) };
    let opsgenie = Opsgenie::start(hasty).await.unwrap();
    let mut statuses = Vec::new();
    for path in ["/v2/users", "/v2/users", "/v2/users", "/v1/incidents"] {
        statuses.push(get(&opsgenie, path).await.0);
    }
    assert_eq!(statuses, [200, 200, 429, 200]);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_account() {
    let one = Opsgenie::start(options(40)).await.unwrap().content();
    assert_eq!(one, Opsgenie::start(options(40)).await.unwrap().content());
    let other = Opsgenie::start(OpsgenieOptions { seed: 8, ..options(40) }).await.unwrap().content();
    assert_ne!(one, other);
}
