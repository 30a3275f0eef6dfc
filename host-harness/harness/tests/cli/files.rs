//! Files that people have, imported as they import them.

use std::path::Path;

use serde_json::Value;

use super::desk::text;
use super::{Desk, account};

const MIGRATE: &str = "migrate opsgenie";
const AT: &str = "--db k.db --org acme";

/// A connected desk with these cases beside its database.
async fn desk(files: &[&str]) -> (Desk, koalr_simulator::Simulator) {
    let simulator = account(1).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/files");
    for file in files {
        std::fs::copy(fixtures.join(file), desk.path(file)).unwrap();
    }
    (desk, simulator)
}

/// Of each imported incident these fields.
async fn imported(desk: &Desk, fields: &[&str]) -> Vec<String> {
    let listed = desk.json(&format!("incidents {AT} --json")).await;
    let one = |incident: &Value| {
        let cell = |field: &&str| match &incident[*field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        fields.iter().map(cell).collect::<Vec<_>>().join(" ")
    };
    let mut all: Vec<String> = listed["incidents"].as_array().unwrap().iter().map(one).collect();
    all.sort();
    all
}

/// Reasons of a plan's rows, by identifier.
fn reasons(plan: &Value) -> Vec<(String, Vec<String>)> {
    let codes = |row: &Value| {
        row["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason["code"].as_str().unwrap().to_owned())
            .collect()
    };
    let rows = plan["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), codes(row))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn times_in_json_are_read_in_peoples_spellings() {
    let files =
        ["json-epoch-milliseconds.json", "json-time-without-zone.json", "json-offset-without-colon.json"];
    let (desk, _simulator) = desk(&files).await;
    for (options, expected) in [
        ("json-epoch-milliseconds.json", &["2024-05-01T10:00:00Z", "2024-06-01T10:00:00Z"][..]),
        ("json-time-without-zone.json --time-zone Europe/Berlin", &["2024-05-01T08:00:00Z"]),
        ("json-offset-without-colon.json", &["2024-05-01T10:00:00Z"]),
    ] {
        let plan = desk.json(&format!("{MIGRATE} plan {AT} {options} --json")).await;
        assert_eq!((&plan["ready"], &plan["blocked"]), (&expected.len().into(), &0.into()), "{plan}");
        let run = desk.json(&format!("{MIGRATE} run {AT} {options} --json")).await;
        assert_eq!((&run["created"], &run["left_out"]), (&expected.len().into(), &0.into()), "{run}");
        assert_eq!(imported(&desk, &["created_at"]).await, expected, "{options}");
        let mttr = desk
            .json(&format!(
                "mttr {AT} --since 2024-04-01 --until 2024-08-01 --bucket month --source opsgenie --json"
            ))
            .await;
        assert_eq!(mttr["overall"]["count"], expected.len(), "{options}");
        assert_eq!(mttr["overall"]["mean_seconds"], 3_600.0, "{options}");
        let again = text(&desk.run(&format!("{MIGRATE} run {AT} {options}")).await.stdout);
        assert!(
            again.contains(&format!("0 new, 0 changed, {} unchanged, 0 left out", expected.len())),
            "{again}"
        );
        desk.json(&format!("{MIGRATE} undo {AT} --yes --json")).await;
    }
    let unzoned = desk.run(&format!("{MIGRATE} run {AT} json-time-without-zone.json")).await;
    let said = text(&unzoned.stderr);
    let place = "json-time-without-zone.json:1:99: `2024-05-01 10:00:00` does not say in which time zone";
    assert!(said.contains(place), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_brought_nothing_says_so_and_ends_with_its_own_code() {
    let (desk, _simulator) = desk(&["catalog-template.yaml"]).await;
    let record = r#"{"id":"a","message":"m","status":"closed","createdAt":"2030-05-01T10:00:00Z"}"#;
    std::fs::write(desk.path("late.json"), record).unwrap();
    for options in ["late.json", "late.json --skip-bad"] {
        let run = desk.run(&format!("{MIGRATE} run {AT} {options}")).await;
        let said = text(&run.stderr);
        assert_eq!(run.status.code(), Some(6), "{said}");
        let quoted =
            "late.json:1:55: `2030-05-01T10:00:00Z` is 2030-05-01T10:00:00Z, which lies in the future";
        assert!(said.contains(quoted) && said.contains("nothing was imported"), "{said}");
    }
    let status = desk.json(&format!("{MIGRATE} status {AT} --json")).await;
    assert_eq!((&status["incidents"], &status["begun_at"]), (&0.into(), &Value::Null));
    let services = desk.run(&format!("services import {AT} catalog-template.yaml")).await;
    assert_eq!(services.status.code(), Some(6));
    let said = text(&services.stderr);
    assert!(
        said.contains("left out: line 1: document 1: `${{ values.name | dump }}` is a placeholder"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_are_read_or_a_mapping_line_decides() {
    let (desk, _simulator) = desk(&["priorities.csv"]).await;
    let plan = desk.json(&format!("{MIGRATE} plan {AT} priorities.csv --json")).await;
    assert_eq!((&plan["ready"], &plan["warning"]), (&3.into(), &1.into()), "{plan}");
    let row = plan["rows"].as_array().unwrap().iter().find(|row| row["id"] == "a3").unwrap();
    assert_eq!(row["reasons"][0]["code"], "unknown-priority");
    assert!(row["reasons"][0]["text"].as_str().unwrap().contains("`priority,1,P3`"), "{row}");
    desk.json(&format!("{MIGRATE} run {AT} priorities.csv --json")).await;
    assert_eq!(imported(&desk, &["id", "priority"]).await, ["a1 P1", "a2 P1", "a3 null", "a4 P1"]);
    std::fs::write(desk.path("names.csv"), "kind;opsgenie;here\npriority;1;p1\n").unwrap();
    desk.json(&format!("{MIGRATE} run {AT} priorities.csv --mapping names.csv --json")).await;
    // What was said before stays said.
    let again = desk.json(&format!("{MIGRATE} run {AT} priorities.csv --json")).await;
    assert_eq!((&again["updated"], &again["unchanged"]), (&0.into(), &4.into()));
    assert_eq!(imported(&desk, &["id", "priority"]).await, ["a1 P1", "a2 P1", "a3 P1", "a4 P1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_that_two_files_know_is_counted_once() {
    let (desk, _simulator) = desk(&["same-incident.csv", "same-incident.json"]).await;
    let count = async || {
        let line = "--since 2026-09-01 --until 2026-10-01 --bucket month --source opsgenie --json";
        desk.json(&format!("mttr {AT} {line}")).await["overall"]["count"].clone()
    };
    for files in [["same-incident.csv", "same-incident.json"], ["same-incident.json", "same-incident.csv"]] {
        desk.json(&format!("{MIGRATE} run {AT} {} --json", files[0])).await;
        assert_eq!(count().await, 1);
        let plan = desk.json(&format!("{MIGRATE} plan {AT} {} --json", files[1])).await;
        assert_eq!(plan["overlap"]["twice"].as_array().unwrap().len(), 1, "{plan}");
        let run = desk.json(&format!("{MIGRATE} run {AT} {} --json", files[1])).await;
        assert_eq!((&run["created"], run["overlap"]["twice"].as_array().unwrap().len()), (&1.into(), 1));
        assert_eq!(count().await, 1);
        desk.json(&format!("{MIGRATE} undo {AT} --yes --json")).await;
    }
    let both =
        text(&desk.run(&format!("{MIGRATE} run {AT} same-incident.csv same-incident.json")).await.stdout);
    assert!(both.contains("tiny:700 is 5f2b1c9e-aaaa-4bbb-8ccc-ddddeeeeffff"), "{both}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_measured_is_a_warning_with_the_reason_that_mttr_gives() {
    let (desk, _simulator) = desk(&["entered-later-and-others.json"]).await;
    let file = "entered-later-and-others.json";
    let plan = desk.json(&format!("{MIGRATE} plan {AT} {file} --json")).await;
    assert_eq!(plan["blocked"], 0, "{plan}");
    let reasons = reasons(&plan);
    let of = |id: &str| reasons.iter().find(|(known, _)| known == id).unwrap().1.clone();
    assert_eq!(of("neg"), ["negative-duration"]);
    assert_eq!(of("late"), ["negative-duration"]);
    assert_eq!(of("noend"), ["no-resolution-time"]);
    assert_eq!((of("tiny:77"), of("dup")), (vec![], vec![]));
    assert_eq!((of("same1"), of("same2")), (vec!["same-number".to_owned()], vec!["same-number".to_owned()]));
    let planned = desk.run(&format!("{MIGRATE} plan {AT} {file}")).await;
    let said = text(&planned.stderr);
    assert!(said.contains("`dup` stands more than once in the files with different content"), "{said}");
    desk.json(&format!("{MIGRATE} run {AT} {file} --json")).await;
    for (id, reasons) in &reasons {
        let line = format!("mttr {AT} --since 2024-04-01 --until 2024-06-01 --explain {id} --json");
        let explained = desk.json(&line).await;
        let reason = reasons.iter().find(|code| *code != "same-number");
        assert_eq!(explained["reason"].as_str(), reason.map(String::as_str), "{id}: {explained}");
    }
    let late = desk
        .json(&format!(
            "mttr {AT} --since 2024-04-01 --until 2024-06-01 --clock started --explain late --json"
        ))
        .await;
    assert_eq!(late["seconds"], 3_600.0, "as the warning says");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_asked_about_and_a_cell_of_services_is_several() {
    let (desk, _simulator) = desk(&["alerts-table.csv", "several-services-in-a-cell.csv"]).await;
    for verb in ["plan", "run"] {
        let asked = desk.run(&format!("{MIGRATE} {verb} {AT} alerts-table.csv")).await;
        assert!(
            text(&asked.stderr).contains("these are alerts, not incidents (2 of them"),
            "{}",
            text(&asked.stderr)
        );
        assert_eq!(asked.status.code(), Some(1));
    }
    let run = desk.json(&format!("{MIGRATE} run {AT} alerts-table.csv --alerts --json")).await;
    assert_eq!(run["created"], 2);
    assert_eq!(imported(&desk, &["source"]).await, ["opsgenie-alerts", "opsgenie-alerts"]);
    desk.json(&format!("{MIGRATE} undo {AT} --yes --json")).await;
    std::fs::write(desk.path("services.csv"), "ID;Name\ns1;Checkout\ns2;Payments\n").unwrap();
    desk.json(&format!("services import {AT} services.csv --json")).await;
    let file =
        ["several-services-in-a-cell.csv", "--time-zone", "Europe/Berlin", "--time-format", "%d.%m.%Y %H:%M"];
    let mut command = desk.command(&format!("{MIGRATE} plan {AT} --json"));
    let plan = tokio::task::spawn_blocking(move || command.args(file).output().unwrap()).await.unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!((&plan["ready"], &plan["services"]), (&2.into(), &serde_json::json!([])), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_services_of_one_name_are_told() {
    let (desk, _simulator) = desk(&["users-header-case.csv", "users-blank-row.csv"]).await;
    let imported = desk.json(&format!("users import {AT} users-header-case.csv --json")).await;
    assert_eq!((&imported["added"], &imported["ambiguous"]), (&1.into(), &serde_json::json!([])));
    let blank = desk.run(&format!("users import {AT} users-blank-row.csv")).await;
    assert!(blank.status.success());
    assert!(text(&blank.stderr).contains("left out: line 5: user u2 has no e-mail address"));
    assert!(text(&blank.stdout).contains("users: 0 added, 0 updated, 1 unchanged, 1 left out"));
    std::fs::write(desk.path("more.csv"), "id,email\nu7,Ann@Example.com\n").unwrap();
    let twice = text(&desk.run(&format!("users import {AT} more.csv")).await.stdout);
    assert!(
        twice.contains("belong to several users") && twice.contains("ann@example.com: u1, u7"),
        "{twice}"
    );
    let catalog = "kind: Component\nmetadata:\n  name: api\n---\nkind: Component\nmetadata:\n  name: API\n  namespace: Payments\n";
    std::fs::write(desk.path("catalog.yaml"), catalog).unwrap();
    let services = text(&desk.run(&format!("services import {AT} catalog.yaml")).await.stdout);
    assert!(services.contains("lead to none of them"), "{services}");
    assert!(services.contains("api: component:default/api, component:payments/api"), "{services}");
}
