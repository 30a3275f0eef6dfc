//! Filters, pages, permissions, limits and faults, as a client meets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that cannot go on should fail its test; clippy exempts only the test functions"
)]

mod common;

use std::{collections::BTreeSet, time::Duration};

use chrono::DateTime;
use common::{CATEGORIES, Client, everything, ids, now, set, unlimited};
use koalr_simulator::{Change, Effect, Fault, Keys, NewIncident, Options, RateLimits, Simulator};
use serde_json::{Value, json};

async fn simulator(incidents: usize, seed: u64) -> (Simulator, Client) {
    let simulator = Simulator::start(unlimited(incidents, seed)).await.unwrap();
    let client = Client::new(&simulator, Some("key"));
    (simulator, client)
}

fn words<'a>(rows: &'a [Value], look: impl Fn(&'a Value) -> &'a Value) -> BTreeSet<&'a str> {
    rows.iter().map(|row| look(row).as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_list_without_filters_leaves_incidents_out_without_a_word() {
    let (simulator, client) = simulator(300, 1).await;
    let plain = client.incidents("").await;
    let categories = words(&plain, |row| &row["incident_status"]["category"]);
    assert_eq!(categories, ["closed", "learning", "live", "paused", "triage"].into());
    assert_eq!(words(&plain, |row| &row["mode"]), ["retrospective", "standard"].into());
    let all = client.incidents(&everything()).await;
    assert_eq!(set(&all), simulator.incident_ids().into_iter().collect());
    assert!(plain.len() < all.len());
}

#[tokio::test]
async fn naming_one_default_does_not_lift_the_other() {
    let (_simulator, client) = simulator(300, 2).await;
    let categories = CATEGORIES.map(|one| format!("status_category[one_of]={one}")).join("&");
    let rows = client.incidents(&categories).await;
    assert_eq!(words(&rows, |row| &row["incident_status"]["category"]), CATEGORIES.into());
    assert_eq!(words(&rows, |row| &row["mode"]), ["retrospective", "standard"].into());
    let rows = client.incidents("mode[one_of]=test&mode[one_of]=tutorial").await;
    assert_eq!(words(&rows, |row| &row["mode"]), ["test", "tutorial"].into());
    assert!(!words(&rows, |row| &row["incident_status"]["category"]).contains("merged"));
}

#[tokio::test]
async fn every_page_tells_how_many_there_are_now() {
    let (simulator, client) = simulator(30, 3).await;
    let living = format!("/v2/incidents?{}", everything());
    let closed = "/v2/incidents?status_category[one_of]=closed&mode[one_of]=standard";
    let total = async |path: &str| {
        let page = client.get(path).await.body;
        page["pagination_meta"]["total_record_count"].as_u64().unwrap()
    };
    let mut told = Vec::new();
    let id = simulator.declare(NewIncident { name: "new".into(), ..NewIncident::default() }, now()).unwrap();
    told.push((total(&living).await, total(closed).await));
    let change = Change { status: Some("Closed".into()), ..Change::default() };
    simulator.update(&id, change, now()).unwrap();
    told.push((total(&living).await, total(closed).await));
    simulator.delete(&id).unwrap();
    told.push((total(&living).await, total(closed).await));
    let (all, over) = told[2];
    assert_eq!(told, [(all + 1, over), (all + 1, over + 1), (all, over)]);
}

#[tokio::test]
async fn paging_visits_every_incident_once_in_either_order() {
    let (simulator, client) = simulator(260, 3).await;
    for (order, page_size) in
        [("created_at_newest_first", 7), ("created_at_oldest_first", 13), ("created_at_oldest_first", 260)]
    {
        let path = format!("/v2/incidents?sort_by={order}&{}", everything());
        let pages = client.pages(&path, page_size).await;
        let rows: Vec<Value> =
            pages.iter().flat_map(|page| page["incidents"].as_array().unwrap().clone()).collect();
        let mut expected = simulator.incident_ids();
        if order == "created_at_newest_first" {
            expected.reverse();
        }
        assert_eq!(ids(&rows), expected, "{order} by {page_size}");
        for page in &pages {
            assert!(page["incidents"].as_array().unwrap().len() <= page_size.min(250));
            assert_eq!(page["pagination_meta"]["total_record_count"], 260);
        }
    }
}

#[tokio::test]
async fn a_cursor_survives_its_incident_falling_out_of_the_filter() {
    let (simulator, client) = simulator(40, 3).await;
    let path = "/v2/incidents?page_size=5&sort_by=created_at_oldest_first&status_category[one_of]=closed";
    let first = client.get(path).await.body;
    let after = first["pagination_meta"]["after"].as_str().unwrap();
    let second = client.get(&format!("{path}&after={after}")).await.body;
    let reopen = Change { status: Some("live".to_owned()), ..Change::default() };
    simulator.update(after, reopen, now()).unwrap();
    let again = client.get(&format!("{path}&after={after}")).await.body;
    assert_eq!(second["incidents"], again["incidents"]);
}

#[tokio::test]
async fn updates_of_everybody_are_paged_without_loss() {
    let (_simulator, client) = simulator(60, 4).await;
    let rows: Vec<Value> = client
        .pages("/v2/incident_updates", 9)
        .await
        .iter()
        .flat_map(|page| page["incident_updates"].as_array().unwrap().clone())
        .collect();
    assert_eq!(set(&rows).len(), rows.len());
    let with_updates: BTreeSet<&str> = words(&rows, |row| &row["incident_id"]);
    assert_eq!(with_updates.len(), 60);
    let times: Vec<_> = rows
        .iter()
        .map(|row| DateTime::parse_from_rfc3339(row["created_at"].as_str().unwrap()).unwrap())
        .collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older));
    let unknown = client.get("/v2/incident_updates?incident_id=123").await;
    assert_eq!((unknown.status, &unknown.body["incident_updates"]), (200, &json!([])));
}

#[tokio::test]
async fn dates_are_whole_days_with_both_ends() {
    let (simulator, client) = simulator(20, 5).await;
    let id = simulator.incident_ids()[7].clone();
    let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    simulator.update(&id, Change::default(), at).unwrap();
    let (yesterday, today, tomorrow) = ("2027-01-14", "2027-01-15", "2027-01-16");
    assert_eq!(at.date_naive().to_string(), today);
    for (filter, expected) in [
        (format!("updated_at[gte]={today}"), true),
        (format!("updated_at[lte]={today}&mode[one_of]=standard"), true),
        (format!("updated_at[gte]={tomorrow}"), false),
        (format!("updated_at[lte]={yesterday}"), false),
        (format!("updated_at%5Bdate_range%5D={today}~{today}"), true),
        (format!("updated_at[date_range]={tomorrow}~2027-02-01"), false),
        (format!("updated_at[date_range]=2027-01-01~{yesterday}"), false),
    ] {
        let found = set(&client.incidents(&format!("{filter}&{}", everything())).await).contains(&id);
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test]
async fn contradictions_are_refused_and_name_their_field() {
    let (_simulator, client) = simulator(20, 6).await;
    for (query, field) in [
        ("updated_at[gte]=2026-01-01&updated_at[lte]=2026-02-01", "updated_at"),
        ("created_at[gte]=2026-01-01&created_at[date_range]=2026-01-01~2026-02-01", "created_at"),
        ("after=01ARZ3NDEKTSV4RRFFQ69G5FAV", "after"),
        ("mode[not_in]=test", "mode"),
        ("page_size=none", "page_size"),
    ] {
        let got = client.get(&format!("/v2/incidents?{query}")).await;
        assert_eq!((got.status, &got.body["type"]), (422, &json!("validation_error")), "{query}");
        assert_eq!(got.body["errors"][0]["source"]["field"], field, "{query}");
    }
    for path in ["/v3/catalog_entries", "/v2/incident_timeline_items"] {
        assert_eq!(client.get(path).await.body["errors"][0]["code"], "is_required", "{path}");
    }
}

#[tokio::test]
async fn severities_compare_by_rank() {
    let (_simulator, client) = simulator(200, 7).await;
    let severities = client.get("/v1/severities").await.body["severities"].clone();
    assert_eq!(severities.as_array().unwrap().len(), 5);
    let third = severities.as_array().unwrap().iter().find(|one| one["rank"] == 2).unwrap();
    let rows = client.incidents(&format!("severity[gte]={}", third["id"].as_str().unwrap())).await;
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| row["severity"]["rank"].as_i64().unwrap() >= 2));
}

#[tokio::test]
async fn an_incident_is_shown_by_id_and_by_number() {
    let (simulator, client) = simulator(20, 8).await;
    let id = &simulator.incident_ids()[4];
    let by_id = client.get(&format!("/v2/incidents/{id}")).await.body;
    let number = by_id["incident"]["reference"].as_str().unwrap().trim_start_matches("INC-").to_owned();
    assert_eq!(client.get(&format!("/v2/incidents/{number}")).await.body, by_id);
    assert_eq!(simulator.raw_incident(id).unwrap(), by_id["incident"]);
    simulator.delete(id).unwrap();
    let gone = client.get(&format!("/v2/incidents/{id}")).await;
    assert_eq!((gone.status, &gone.body["errors"][0]["code"]), (404, &json!("resource_not_found")));
}

#[tokio::test]
async fn a_wrong_key_gets_401_and_a_missing_role_403() {
    let mut options = unlimited(40, 9);
    options.keys = Keys::Listed([("reader".to_owned(), vec!["viewer".to_owned()])].into());
    let simulator = Simulator::start(options).await.unwrap();
    let none = Client::new(&simulator, None).get("/v1/identity").await;
    assert_eq!(none.status, 401);
    assert_eq!(none.body["type"], "authentication_error");
    assert_eq!(none.body["errors"][0]["code"], "missing_authorization_material");
    let wrong = Client::new(&simulator, Some("wrong")).get("/v2/incidents").await;
    assert_eq!((wrong.status, &wrong.body["errors"][0]["code"]), (401, &json!("unauthenticated")));
    let reader = Client::new(&simulator, Some("reader"));
    let forbidden = reader.get("/v3/catalog_types").await;
    assert_eq!((forbidden.status, &forbidden.body["type"]), (403, &json!("resource_forbidden")));
    assert_eq!(reader.get("/v1/identity").await.body["identity"]["roles"], json!(["viewer"]));
    let authorized: Vec<bool> = simulator.requests().iter().map(|one| one.authorized).collect();
    assert_eq!(authorized, [false, false, true, true]);
}

#[tokio::test]
async fn private_incidents_do_not_exist_without_global_access() {
    let mut options = unlimited(60, 10);
    options.keys = Keys::Listed(
        [
            ("some".to_owned(), vec!["viewer".to_owned()]),
            ("all".to_owned(), vec!["viewer".to_owned(), "global_access".to_owned()]),
        ]
        .into(),
    );
    let simulator = Simulator::start(options).await.unwrap();
    let (some, all) = (Client::new(&simulator, Some("some")), Client::new(&simulator, Some("all")));
    let private = all.incidents(&everything()).await;
    let private = private.iter().find(|row| row["visibility"] == "private").unwrap();
    let id = private["id"].as_str().unwrap();
    assert!(!set(&some.incidents(&everything()).await).contains(id));
    assert_eq!(some.get(&format!("/v2/incidents/{id}")).await.status, 404);
    for list in ["incident_updates", "incident_timeline_items"] {
        let path = format!("/v2/{list}?incident_id={id}");
        assert_eq!(some.get(&path).await.body[list], json!([]), "{list}");
        assert_ne!(all.get(&path).await.body[list], json!([]), "{list}");
    }
}

#[tokio::test]
async fn a_spent_list_answers_429_and_the_rest_goes_on() {
    let mut options = Options::new(20, 11, now());
    options.limits = Some(RateLimits { incident_list_per_minute: 1, per_key_per_minute: 600 });
    let simulator = Simulator::start(options).await.unwrap();
    let client = Client::new(&simulator, Some("key"));
    let first = client.get("/v2/incidents").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-limit"), "1, 600;window=60, 1;window=60");
    assert_eq!((first.header("x-ratelimit-remaining"), first.header("x-ratelimit-used")), ("0", "1"));
    let refused = client.get("/v2/incidents").await;
    assert_eq!((refused.status, &refused.body["type"]), (429, &json!("too_many_requests")));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(refused.body["rate_limit"]["remaining"], 0);
    let retry_after = refused.body["rate_limit"]["retry_after"].as_str().unwrap();
    assert!(DateTime::parse_from_rfc3339(retry_after).is_ok(), "{retry_after}");
    assert_eq!(client.get("/v1/severities").await.status, 200);
    assert_eq!(Client::new(&simulator, Some("other")).get("/v2/incidents").await.status, 200);
}

#[tokio::test]
async fn lifted_limits_leave_no_header() {
    let (_simulator, client) = simulator(20, 12).await;
    assert!(!client.get("/v2/incidents").await.headers.contains_key("x-ratelimit-limit"));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_account() {
    let mut seen = Vec::new();
    for seed in [13, 13, 14] {
        let (_simulator, client) = simulator(50, seed).await;
        let lists = (
            client.incidents(&everything()).await,
            client.pages("/v2/incident_updates", 250).await,
            client.get("/v2/users").await.body,
        );
        seen.push(lists);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0].0, seen[2].0);
}

#[tokio::test]
async fn merging_points_at_the_target_from_the_update_alone() {
    let (simulator, client) = simulator(20, 15).await;
    let new = |name: &str| NewIncident { name: name.to_owned(), ..NewIncident::default() };
    let target = simulator.declare(new("the cause"), now()).unwrap();
    let merged = simulator.declare(new("the symptom"), now()).unwrap();
    simulator.merge(&merged, &target, now() + chrono::Duration::minutes(1)).unwrap();
    assert_eq!(simulator.raw_incident(&merged).unwrap()["incident_status"]["category"], "merged");
    let updates = client.get(&format!("/v2/incident_updates?incident_id={merged}")).await.body;
    assert_eq!(updates["incident_updates"][0]["merged_into_incident_id"], target);
    assert!(updates["incident_updates"][1].get("merged_into_incident_id").is_none());
}

#[tokio::test]
async fn a_reopened_incident_keeps_its_first_resolution_time() {
    let (simulator, _client) = simulator(20, 16).await;
    let minute = |n: i64| now() + chrono::Duration::minutes(n);
    let severity = simulator.severities().pop();
    let id = simulator
        .declare(NewIncident { name: "again".to_owned(), severity, ..NewIncident::default() }, minute(0))
        .unwrap();
    for (n, status) in ["learning", "live", "closed"].into_iter().enumerate() {
        let change = Change { status: Some(status.to_owned()), ..Change::default() };
        simulator.update(&id, change, minute(10 * (1 + i64::try_from(n).unwrap()))).unwrap();
    }
    let incident = simulator.raw_incident(&id).unwrap();
    let value = |name: &str| {
        let values = incident["incident_timestamp_values"].as_array().unwrap();
        let found = values.iter().find(|one| one["incident_timestamp"]["name"] == name).unwrap();
        found["value"]["value"].as_str().map(|text| DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    };
    assert_eq!(value("Resolved at"), Some(minute(10)));
    assert_eq!(value("Closed at"), Some(minute(30)));
    assert_eq!(value("Accepted at"), None);
}

#[tokio::test]
async fn faults_spoil_as_many_answers_as_they_were_given() {
    let (simulator, client) = simulator(20, 17).await;
    let inject = |effect| simulator.inject(Fault::new("/v1/severities", 1, effect));

    inject(Effect::Status { status: 503, body: json!({"oh": "no"}) });
    let got = client.get("/v1/severities").await;
    assert_eq!((got.status, got.body), (503, json!({"oh": "no"})));

    inject(Effect::RateLimited { retry_after: Some("Mon, 01 Jan 2035 00:00:00 UTC".to_owned()) });
    let got = client.get("/v1/severities").await;
    assert_eq!((got.status, got.header("retry-after")), (429, "Mon, 01 Jan 2035 00:00:00 UTC"));

    inject(Effect::Truncated);
    let text = client.send("/v1/severities").await.unwrap().text().await.unwrap();
    assert!(text.starts_with("{\"severities\"") && serde_json::from_str::<Value>(&text).is_err());

    inject(Effect::ContentType("text/html".to_owned()));
    assert_eq!(client.get("/v1/severities").await.header("content-type"), "text/html");

    inject(Effect::Body(json!({"severities": []})));
    assert_eq!(client.get("/v1/severities").await.body, json!({"severities": []}));

    inject(Effect::Oversized(3_000_000));
    let body = client.send("/v1/severities").await.unwrap().bytes().await.unwrap();
    assert_eq!(body.len(), 3_000_000);

    inject(Effect::Hang(Duration::ZERO));
    assert!(client.send("/v1/severities").await.is_err());

    inject(Effect::Truncated);
    simulator.clear_faults();
    assert_eq!(client.get("/v1/severities").await.status, 200);
    let statuses: Vec<u16> = simulator.requests().iter().map(|one| one.status).collect();
    assert_eq!(statuses[..6], [503, 429, 200, 200, 200, 200]);
    assert!(statuses[6..].contains(&0));
}

#[tokio::test]
async fn leavers_and_identifiers_must_be_asked_for() {
    let (simulator, client) = simulator(20, 18).await;
    let count = |body: &Value, list: &str| body[list].as_array().unwrap().len();
    let present = client.get("/v2/users?page_size=1000").await.body;
    let all = client.get("/v2/users?page_size=1000&include_inactive=true").await.body;
    assert!(count(&present, "users") < count(&all, "users"));
    assert_eq!(count(&all, "users"), simulator.users().len());
    let email = &simulator.users()[3].1;
    assert_eq!(count(&client.get(&format!("/v2/users?email={email}")).await.body, "users"), 1);
    let types = client.get("/v3/catalog_types").await.body;
    let services = types["catalog_types"].as_array().unwrap();
    let services = services.iter().find(|one| one["categories"] == json!(["service"])).unwrap();
    let base =
        format!("/v3/catalog_entries?page_size=250&catalog_type_id={}", services["id"].as_str().unwrap());
    assert_eq!(count(&client.get(&base).await.body, "catalog_entries"), simulator.services().len());
    let one = client.get(&format!("{base}&identifier={}", simulator.services()[0].1)).await.body;
    assert_eq!(one["catalog_entries"][0]["name"], simulator.services()[0].0);
}

#[tokio::test]
async fn only_get_is_served_and_only_known_paths() {
    let (simulator, client) = simulator(20, 19).await;
    assert_eq!(client.get("/v2/nothing").await.status, 404);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v2/incidents", simulator.base_url());
    assert_eq!(http.post(url).bearer_auth("key").send().await.unwrap().status().as_u16(), 405);
}

#[tokio::test]
async fn a_stopped_simulator_no_longer_answers() {
    let (simulator, client) = simulator(20, 20).await;
    assert_eq!(client.get("/v1/identity").await.status, 200);
    simulator.stop().await;
    assert!(client.send("/v1/identity").await.is_err());
}

#[tokio::test]
async fn it_ends_with_its_last_handle() {
    let (simulator, client) = simulator(20, 21).await;
    let other = simulator.clone();
    drop(simulator);
    assert_eq!(client.get("/v1/identity").await.status, 200);
    drop(other);
    while client.send("/v1/identity").await.is_ok() {}
}
