//! The program as its users run it: real processes, real sockets, files in a directory of their own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

mod crash;
mod custody;
#[path = "../desk/mod.rs"]
mod desk;
mod documented;
mod door;
mod files;
mod lifecycle;
mod output;
mod timestamps;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use chrono::{TimeDelta, Utc};
use desk::{KEY, SECRET, Serving, text};
use koalr_simulator::opsgenie::{Opsgenie, OpsgenieOptions};
use koalr_simulator::{Change, Keys, Mode, NewIncident, Options, Simulator, WebhookTarget};
use serde_json::Value;

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        desk::command(self.directory.path(), line)
    }

    fn serve(&self) -> Serving {
        Serving::start(self.command("serve --db k.db --listen 127.0.0.1:0"))
    }

    async fn run(&self, line: &str) -> Output {
        let mut command = self.command(line);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn json(&self, line: &str) -> Value {
        let output = self.run(line).await;
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn connect(&self, simulator: &Simulator) -> Value {
        let map = format!("https://api.incident.io={}", simulator.base_url());
        let line =
            "connect --db k.db --org acme --api-key-env API_KEY --webhook-secret-env HOOK_SECRET --json";
        self.json(&format!("{line} --map-origin {map}")).await
    }
}

async fn account(incidents: usize) -> Simulator {
    let mut options = Options::new(incidents, 3, Utc::now());
    options.limits = None;
    let roles = Keys::READ_ROLES.map(String::from).to_vec();
    options.keys = Keys::Listed([(KEY.to_string(), roles)].into());
    Simulator::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_by_hand() {
    let simulator = account(120).await;
    let desk = Desk::new();
    let connected = desk.connect(&simulator).await;
    assert_eq!(connected["webhook_path"], "/webhooks/incidentio/acme");
    let backfill = desk.json("backfill --db k.db --org acme --json").await;
    assert!(backfill["created"].as_u64().unwrap() > 80, "{backfill}");
    let poll = desk.json("poll --db k.db --org acme --json").await;
    assert_eq!(poll["waiting_for_timelines"], 0);

    let incidents = desk.json("incidents --db k.db --org acme --json").await;
    assert_eq!(incidents["total"], backfill["created"]);
    assert_eq!(incidents["incidents"].as_array().unwrap().len() as u64, incidents["total"].as_u64().unwrap());
    let first = &incidents["incidents"][0];
    for field in
        ["source", "id", "reference", "title", "phase", "priority", "created_at", "resolved_at", "services"]
    {
        assert!(first.get(field).is_some(), "{field} is always there");
    }
    let one = desk
        .json(&format!("incident --db k.db --org acme {} --json", first["reference"].as_str().unwrap()))
        .await;
    assert_eq!(&one["incident"], first);

    let day = |days: i64| (Utc::now() - chrono::TimeDelta::days(days)).date_naive();
    let line = format!("mttr --db k.db --org acme --since {} --until {}", day(60), day(0));
    let report = desk.json(&format!("{line} --bucket month --time-zone Europe/Berlin --json")).await;
    assert_eq!(
        (report["bucket"].as_str(), report["time_zone"].as_str()),
        (Some("month"), Some("Europe/Berlin"))
    );
    let left_out: u64 =
        report["excluded"].as_array().unwrap().iter().map(|e| e["count"].as_u64().unwrap()).sum();
    assert_eq!(
        report["population"].as_u64().unwrap(),
        left_out + report["overall"]["count"].as_u64().unwrap()
    );
    let table = text(&desk.run(&line).await.stdout);
    assert!(
        table.contains("median") && table.contains("mean (MTTR)") && table.contains("left out:"),
        "{table}"
    );

    // Ninety days were imported: sixty before these sixty are not all known, twenty before the last twenty are.
    assert!(report["before"].is_null() && table.contains("No comparison: history starts on "), "{table}");
    let recent = format!("mttr --db k.db --org acme --since {} --until {}", day(20), day(0));
    let earlier = format!("mttr --db k.db --org acme --since {} --until {} --json", day(40), day(20));
    let (now, earlier) = (desk.json(&format!("{recent} --json")).await, desk.json(&earlier).await);
    let before = &now["before"];
    assert_eq!(before["since"], day(40).to_string());
    for figure in ["count", "median_seconds", "mean_seconds", "tier"] {
        assert_eq!(before[figure], earlier["overall"][figure], "{figure}");
    }
    let median = |of: &Value| of["median_seconds"].as_f64().unwrap();
    let change = median(&now["overall"]) / median(before) - 1.0;
    assert!((before["median_change"].as_f64().unwrap() - change).abs() < 1e-9);
    assert!(text(&desk.run(&recent).await.stdout).contains("as many days before"));

    let of = |phase: &str| {
        let mut all = incidents["incidents"].as_array().unwrap().iter();
        all.find(|one| one["phase"] == phase && one["mode"] == "standard").unwrap()["reference"]
            .as_str()
            .unwrap()
            .to_string()
    };
    let merged = of("merged");
    let said = text(&desk.run(&format!("mttr --db k.db --org acme --explain {merged}")).await.stdout);
    assert!(said.contains("does not count (merged): it was merged, so it is no outage of its own"), "{said}");
    let closed = desk.json(&format!("mttr --db k.db --org acme --explain {} --json", of("closed"))).await;
    assert_eq!(closed["measured"], true, "{closed}");
    assert_eq!(closed["clock_started"]["rule"], "created-at");
    assert!(desk.run("mttr --db k.db --org acme --explain INC-99999").await.status.code() == Some(1));

    let csv = text(&desk.run(&format!("{recent} --csv")).await.stdout);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for row in reader.records() {
        let row = row.unwrap();
        *counts.entry(row[0].to_string()).or_default() += row[5].parse::<u64>().unwrap();
        assert_eq!(row[7].is_empty(), &row[5] == "0" || &row[0] == "left-out", "{row:?}");
    }
    assert_eq!(counts["bucket"], counts["overall"]);
    assert_eq!(counts["priority"], counts["overall"]);
    assert_eq!(counts["overall"] + counts["left-out"], now["population"].as_u64().unwrap());

    let organisations = desk.json("org list --db k.db --json").await;
    assert_eq!(organisations[0]["state"], "live");
    assert_eq!(organisations[0]["backfill"]["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_keep_the_records_current_while_it_serves() {
    let simulator = account(30).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let serving = desk.serve();
    let url = format!("{}/webhooks/incidentio/acme", serving.url);
    simulator.set_webhook(Some(WebhookTarget::new(&url, SECRET))).unwrap();
    let new = NewIncident {
        name: "Login fails".into(),
        severity: simulator.severities().last().cloned(),
        services: vec![],
        mode: Mode::Standard,
        private: false,
        lead: None,
    };
    let id = simulator.declare(new, Utc::now()).unwrap();
    simulator.update(&id, Change { status: Some("closed".into()), ..Change::default() }, Utc::now()).unwrap();
    simulator.settle().await;
    assert!(simulator.deliveries().iter().all(|delivery| delivery.last_status == Some(204)));
    // Acknowledged is durable, not yet applied; the worker is told of it at once.
    let record = loop {
        let found = desk.run(&format!("incident --db k.db --org acme {id} --json")).await;
        let document: Value = serde_json::from_slice(&found.stdout).unwrap_or_default();
        if document["incident"]["phase"] == "closed" {
            break document;
        }
    };
    assert_eq!(record["incident"]["title"], "Login fails");

    let get = async |path: &str| reqwest::get(format!("{}{path}", serving.url)).await.unwrap();
    assert_eq!(get("/healthz").await.status(), 200);
    let metrics = get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("koalr_webhooks_total{result=\"accepted\"}"), "{metrics}");

    std::fs::write(desk.path("event.json"), r#"{"event_type":"galaxy.exploded_v9"}"#).unwrap();
    let sent =
        desk.json(&format!("webhook send --url {url} --secret-env HOOK_SECRET event.json --json")).await;
    assert_eq!(sent["status"], 204, "an unknown event is taken");
    let refused = desk.run(&format!("webhook send --url {url} --secret-env API_KEY event.json")).await;
    assert_eq!(refused.status.code(), Some(1), "the API key is no signing secret");

    let post = async |path: &str, body: Vec<u8>| {
        let client = reqwest::Client::new();
        let response = client
            .post(format!("{}{path}", serving.url))
            .header("webhook-id", "m")
            .body(body)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(
        post("/webhooks/incidentio/acme", b"{}".to_vec()).await,
        (401, String::new()),
        "and not a word why"
    );
    assert_eq!(post("/webhooks/incidentio/nobody", b"{}".to_vec()).await.0, 404);
    assert_eq!(post("/webhooks/incidentio/acme", vec![b' '; 513 * 1024]).await.0, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_what_to_do_and_ends_with_its_own_code() {
    let simulator = account(5).await;
    let desk = Desk::new();
    let map = format!("--map-origin https://api.incident.io={}", simulator.base_url());
    for (line, code, says) in [
        ("poll --db typo.db --org acme".to_string(), 1, "there is no database typo.db"),
        ("connect --db k.db --org acme --api-key-env UNSET_VARIABLE".into(), 1, "UNSET_VARIABLE is not set"),
        (format!("connect --db k.db --org acme --api-key-env HOOK_SECRET {map}"), 3, "create a new one under"),
        ("connect --db k.db --org acme --api-key-env API_KEY --map-origin https://api.incident.io=http://127.0.0.1:1".into(), 4, "try again later"),
        ("connect --db k.db --org acme --api-key inc_secret".into(), 2, "unexpected argument"),
        ("mttr --db k.db --org acme --since 2026-02-01 --until 2026-01-01".into(), 1, "not before"),
        ("mttr --db k.db --org acme --since tomorrow".into(), 2, "write a day as in"),
        ("inspect k.db".into(), 1, "does not begin as WebAssembly does"),
    ] {
        let output = desk.run(&line).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}: {}", text(&output.stdout));
    }
    assert_eq!(desk.json("org list --db k.db --json").await, Value::Array(vec![]), "nothing is left behind");
    assert!(!desk.path("typo.db").exists());
    let nobody = desk.run("poll --db k.db --org nobody").await;
    assert!(text(&nobody.stderr).contains("connect it first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_connect_keeps_what_it_is_not_told_again() {
    let simulator = account(60).await;
    let desk = Desk::new();
    let map = simulator.base_url();
    let severity = simulator.severities().into_iter().find(|name| !name.contains(' ')).unwrap();
    let connect = "connect --db k.db --org acme --api-key-env API_KEY";
    let first = format!("{connect} --map-origin https://api.incident.io={map} --severity {severity}=P4");
    assert!(desk.run(&first).await.status.success());
    let again = desk.run(connect).await;
    assert!(again.status.success(), "the origin map is remembered: {}", text(&again.stderr));
    desk.json("backfill --db k.db --org acme --json").await;
    let incidents = desk.json("incidents --db k.db --org acme --json").await;
    let of_it =
        |i: &&Value| i["severity"]["id"] == severity.as_str() || i["severity"]["name"] == severity.as_str();
    let rows = incidents["incidents"].as_array().unwrap();
    let priorities: Vec<&Value> = rows.iter().filter(of_it).map(|i| &i["priority"]).collect();
    assert!(!priorities.is_empty() && priorities.iter().all(|p| *p == "P4"), "{priorities:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_can_be_piped_and_is_never_stored_in_the_clear() {
    let simulator = account(5).await;
    let desk = Desk::new();
    let line =
        format!("connect --db k.db --org acme --map-origin https://api.incident.io={}", simulator.base_url());
    let mut child = desk.command(&line).stdin(Stdio::piped()).spawn().unwrap();
    write!(child.stdin.take().unwrap(), "{KEY}\n{SECRET}\n").unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains(KEY) && !said.contains(SECRET), "{said}");
    for entry in std::fs::read_dir(desk.directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [KEY, SECRET, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_can_be_inspected() {
    let desk = Desk::new();
    let document = desk.json("inspect --json").await;
    assert_eq!(document["descriptor"]["name"], "incidentio");
    assert_eq!(document["exports"], serde_json::json!(["koalr:integration/connector@0.1.0"]));
    assert_eq!(document["sha256"].as_str().unwrap().len(), 64);
    let dependencies = document["dependencies"].as_array().unwrap();
    let versions =
        |name: &str| dependencies.iter().find(|one| one["name"] == name).map(|one| &one["version"]);
    assert!(versions("sha2").is_some() && versions("hmac").is_some(), "{dependencies:?}");
    assert_eq!(versions("incidentio"), Some(&document["descriptor"]["version"]));
    assert!(!document["dependencies"].to_string().contains('/'), "no path of whoever built it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_the_whole_story() {
    let desk = Desk::new();
    let output = desk.run("demo --exit --incidents 150 --listen 127.0.0.1:0").await;
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    for expected in [
        "imports 12 interfaces and nothing else",
        "Connected acme",
        "backfill done",
        "webhook public_incident.incident_created_v2 -> created",
        "is closed (Closed), P1, restored in 43 min",
        "Time to restore of acme",
        "mean (MTTR)",
        "left out:",
    ] {
        assert!(said.contains(expected), "{expected} is missing:\n{said}");
    }
}

/// What it prints of its import is all of it: the schedule, which runs while it goes on serving, begins after that.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_that_goes_on_serving_imports_by_itself() {
    let desk = Desk::new();
    let mut demo = desk.command("demo --incidents 150 --listen 127.0.0.1:0");
    let mut demo = demo.stderr(Stdio::null()).env("TMPDIR", desk.path("")).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let said: Vec<String> =
        lines.map(Result::unwrap).take_while(|line| line != "== 7. Time to restore ==").collect();
    demo.kill().unwrap();
    demo.wait().unwrap();
    let number = |line: &str, after: &str| -> u64 {
        let text = line.split(after).nth(1).unwrap_or_else(|| panic!("{after} is not in {line}"));
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    let total = said.iter().find(|line| line.starts_with("the newest")).unwrap();
    let import = said.iter().find(|line| line.starts_with("backfill done")).unwrap();
    // And the one that it declares afterwards.
    assert_eq!(number(import, "requests; ") + 1, number(total, " of "), "{import}\n{total}");
}

/// From a plan over saved records with a bad line, to a drawn trend, to nothing left of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_from_opsgenie_by_hand() {
    let simulator = account(40).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    let own = desk.json("incidents --db k.db --org acme --json").await["total"].as_u64().unwrap();
    std::fs::write(
        desk.path("old.csv"),
        "Incident ID,Created at,Status,Title,Resolved at,Colour\n\
         o-1,2025-03-01T10:00:00Z,closed,One,2025-03-01T11:00:00Z,red\n\
         o-2,first of May,closed,Two,,\n\
         o-3,2025-04-02T10:00:00Z,resolved,Three,2025-04-02T13:00:00Z,\n",
    )
    .unwrap();
    let migrate = |verb: &str| format!("migrate opsgenie {verb} --db k.db --org acme");
    let plan = desk.json(&format!("{} old.csv --json", migrate("plan"))).await;
    assert_eq!((&plan["ready"], &plan["warning"], &plan["blocked"]), (&2.into(), &0.into(), &1.into()));
    assert_eq!((&plan["bad_rows"][0]["line"], &plan["bad_rows"][0]["column"]), (&3.into(), &2.into()));
    let shown = desk.run(&format!("{} old.csv", migrate("plan"))).await;
    assert!(text(&shown.stdout).contains("old.csv:3:2: `first of May`"), "{}", text(&shown.stdout));
    assert!(text(&shown.stderr).contains("nothing is read from the columns Colour"));

    let refused = desk.run(&format!("{} old.csv", migrate("run"))).await;
    assert_eq!(refused.status.code(), Some(6));
    assert!(text(&refused.stderr).contains("nothing was imported"), "{}", text(&refused.stderr));
    let count = async || desk.json("incidents --db k.db --org acme --json").await["total"].as_u64().unwrap();
    assert_eq!(count().await, own);
    let run = desk.json(&format!("{} old.csv --skip-bad --cut-over 2025-04-01 --json", migrate("run"))).await;
    assert_eq!(
        (&run["created"], &run["after"]["count"]),
        (&2.into(), &(run["before"]["count"].as_u64().unwrap() + 2).into())
    );
    let again = desk.json(&format!("{} old.csv --skip-bad --json", migrate("run"))).await;
    assert_eq!((&again["created"], &again["updated"]), (&0.into(), &0.into()));

    let mttr = "mttr --db k.db --org acme --since 2025-03-01 --until 2025-05-01 --bucket month";
    let report = desk.json(&format!("{mttr} --svg trend.svg --json")).await;
    assert_eq!(report["cut_over"], "2025-04-01T00:00:00Z");
    let medians: Vec<_> =
        report["trend"].as_array().unwrap().iter().map(|one| &one["median_seconds"]).collect();
    assert_eq!(medians, [3_600.0, 10_800.0]);
    assert_eq!(report["trend"][0]["by_source"]["opsgenie"], 1);
    let drawn = std::fs::read_to_string(desk.path("trend.svg")).unwrap();
    assert!(
        drawn.starts_with("<svg ") && drawn.contains("incident.io from here on") && drawn.contains("2025-03")
    );

    let status = text(&desk.run(&migrate("status")).await.stdout);
    assert!(status.contains("2025-04-01 00:00") && status.contains("5 April 2027"), "{status}");
    let asked = desk.run(&migrate("undo")).await;
    assert!(text(&asked.stdout).contains("Repeat with --yes"));
    assert_eq!(count().await, own + 2);
    assert_eq!(desk.json(&format!("{} --yes --json", migrate("undo"))).await["incidents"], 2);
    assert_eq!(count().await, own);
    let missing = desk.run(&migrate("plan")).await;
    assert!(text(&missing.stderr).contains("--region us or --region eu"), "{}", text(&missing.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_is_listed_and_can_be_applied_again() {
    let simulator = account(10).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    std::fs::write(desk.path("body.json"), r#"{"event_type": "public_team.created_v1"}"#).unwrap();
    let deliveries = "deliveries --db k.db --org acme";
    {
        let serving = desk.serve();
        let url = format!("{}/webhooks/incidentio/acme", serving.url);
        desk.json(&format!("webhook send --url {url} --secret-env HOOK_SECRET --id msg_r body.json --json"))
            .await;
        let mut looks = 0;
        while desk.json(&format!("{deliveries} --state done --json")).await["deliveries"]
            == serde_json::json!([])
        {
            looks += 1;
            assert!(looks < 200, "it is not applied");
        }
    }
    let listed = desk.json(&format!("{deliveries} --json")).await;
    let one = &listed["deliveries"][0];
    assert_eq!((&one["id"], &one["event_type"]), (&"msg_r".into(), &"public_team.created_v1".into()));
    assert!(one["outcome"].as_str().unwrap().starts_with("ignored"), "{one}");
    assert_eq!(
        desk.json(&format!("{deliveries} --state dead --json")).await["deliveries"],
        serde_json::json!([])
    );
    let again = desk.json("webhook replay --db k.db --org acme msg_r --json").await;
    assert_eq!(
        (&again["deliveries"][0]["state"], &again["deliveries"][0]["attempts"]),
        (&"done".into(), &1.into())
    );
    assert!(text(&desk.run(deliveries).await.stdout).contains("msg_r"));
    let unknown = desk.run("webhook replay --db k.db --org acme msg_x").await;
    assert!(text(&unknown.stderr).contains("acme has no delivery msg_x"), "{}", text(&unknown.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_webhook_is_told_so_and_what_is_not_genuine_is_not_told_why() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let serving = desk.serve();
    let client = reqwest::Client::new();
    let post = async |path: &str, kind: &str, body: Vec<u8>| {
        let url = format!("{}/webhooks/{path}", serving.url);
        let sent = client.post(url).header("content-type", kind).body(body).send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    };
    let json = "application/json; charset=utf-8";
    for (path, kind, body, status) in [
        ("incidentio/acme", "text/plain", b"{}".to_vec(), 415),
        ("incidentio/acme", json, vec![b' '; 600_000], 413),
        ("incidentio/acme", json, b"{}".to_vec(), 401),
        ("incidentio/acme", json, b"\xff\0".to_vec(), 401),
        ("incidentio/nobody", json, b"{}".to_vec(), 404),
        ("pagerduty/acme", json, b"{}".to_vec(), 404),
        ("incidentio/no%20name%2f..", json, b"{}".to_vec(), 404),
    ] {
        let (answered, text) = post(path, kind, body).await;
        assert_eq!(answered, status, "{path}");
        assert_eq!(text.is_empty(), matches!(status, 401 | 404), "{path}: {text}");
    }
    let metrics = client.get(format!("{}/metrics", serving.url)).send().await.unwrap().text().await.unwrap();
    for label in ["not_json", "too_large", "missing_header", "unknown_organisation", "unknown_plugin"] {
        assert!(metrics.contains(label), "{label}: {metrics}");
    }
}

/// A webhook by hand, and how it was answered.
async fn posted(serving: &Serving, secret: &str, message: &str) -> u16 {
    posted_to(&serving.url, secret, message).await
}

async fn posted_to(url: &str, secret: &str, message: &str) -> u16 {
    let body =
        r#"{"event_type":"public_incident.incident_created_v2","public_incident.incident_created_v2":{}}"#;
    let timestamp = Utc::now().timestamp();
    let signature = koalr_simulator::sign(secret, message, timestamp, body.as_bytes()).unwrap();
    let post = reqwest::Client::new()
        .post(format!("{url}/webhooks/incidentio/acme"))
        .header("content-type", "application/json")
        .header("webhook-id", message)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature);
    post.body(body).send().await.unwrap().status().as_u16()
}

/// A running server sees within a second what another process changed.
async fn becomes(serving: &Serving, secret: &str, status: u16) {
    static MESSAGE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    for _ in 0..5_000 {
        let message = format!("message_{}", MESSAGE.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        if posted(serving, secret, &message).await == status {
            return;
        }
    }
    panic!("it is never answered {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_secrets_are_rotated_while_serving_and_removed_by_disconnecting() {
    const SECOND: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let serving = desk.serve();
    assert_eq!(posted(&serving, SECRET, "msg_1").await, 204);
    let former = std::fs::read(desk.path("k.db.key")).unwrap();
    assert_eq!(desk.json("keys rotate --db k.db --json").await["resealed"], 1);
    assert_eq!(posted(&serving, SECRET, "msg_2").await, 204, "it goes on with the new key");
    std::fs::write(desk.path("former.key"), former).unwrap();
    let refused = desk.run("poll --db k.db --key-file former.key --org acme").await;
    assert!(text(&refused.stderr).contains("this is not the sealing key"), "{}", text(&refused.stderr));

    // While the provider's secret is rotated both are genuine; afterwards the new one only.
    let map = format!("https://api.incident.io={}", simulator.base_url());
    for (secrets, first, second) in [(format!("{SECRET},{SECOND}"), 204, 204), (SECOND.into(), 401, 204)] {
        let line =
            "connect --db k.db --org acme --api-key-env API_KEY --webhook-secret-env HOOK_SECRET --json";
        let mut command = desk.command(&format!("{line} --map-origin {map}"));
        let output = command.env("HOOK_SECRET", &secrets).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        becomes(&serving, SECRET, first).await;
        becomes(&serving, SECOND, second).await;
    }

    let incidents = async || desk.json("incidents --db k.db --org acme --json").await["total"].clone();
    desk.run("backfill --db k.db --org acme").await;
    let before = incidents().await;
    assert_eq!(desk.json("org disconnect --db k.db --org acme --json").await["state"], "disconnected");
    becomes(&serving, SECOND, 404).await;
    let asked = simulator.requests().len();
    let polled = desk.run("poll --db k.db --org acme").await;
    assert!(!polled.status.success() && text(&polled.stderr).contains("connect"), "{}", text(&polled.stderr));
    assert_eq!(simulator.requests().len(), asked, "nothing is asked for it any more");
    assert_eq!(incidents().await, before, "what was synced stays");
    let database = rusqlite::Connection::open(desk.path("k.db")).unwrap();
    for table in ["secret", "data_key", "job"] {
        let rows: i64 =
            database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    desk.connect(&simulator).await;
    becomes(&serving, SECRET, 204).await;
}

#[path = "../../../../tests/needles.rs"]
mod needles;

const OPSGENIE_KEY: &str = "5e0f7b1c-canary-of-opsgenie";

#[tokio::test(flavor = "multi_thread")]
async fn no_output_and_no_file_shows_a_secret() {
    let simulator = account(20).await;
    let opsgenie =
        Opsgenie::start(OpsgenieOptions::new(60, 5, Utc::now() - TimeDelta::days(100))).await.unwrap();
    let desk = Desk::new();
    let map = format!("https://api.incident.io={}", simulator.base_url());
    let opsgenie_map = format!("https://api.opsgenie.com={}", opsgenie.base_url());
    let mut serve = desk.command(&format!(
        "serve --db k.db --listen 127.0.0.1:0 --map-origin {map} --map-origin {opsgenie_map}"
    ));
    serve.env("KOALR_LOG", "trace");
    let serving = Serving::start(serve);
    let mut outputs = Vec::new();
    let (migrate, opsgenie_at) =
        ("migrate opsgenie", "--db k.db --org acme --region us --api-key-env OPSGENIE_KEY --json");
    let connect = "connect --db k.db --org acme --webhook-secret-env HOOK_SECRET --api-key-env";
    for line in [
        format!("{connect} API_KEY --map-origin {map} --json"),
        format!("{connect} HOOK_SECRET --map-origin {map}"),
        format!("{connect} API_KEY --map-origin {map}"),
        "backfill --db k.db --org acme".into(),
        "poll --db k.db --org acme --json".into(),
        "incidents --db k.db --org acme".into(),
        "mttr --db k.db --org acme --json".into(),
        format!("{migrate} plan {opsgenie_at} --map-origin {opsgenie_map}"),
        format!("{migrate} run {opsgenie_at} --map-origin {opsgenie_map}"),
        "migrate opsgenie status --db k.db --org acme".into(),
        "org show acme --db k.db --json".into(),
        "org list --db k.db".into(),
        "deliveries --db k.db --org acme --json".into(),
        "inspect".into(),
        "keys rotate --db k.db".into(),
        "org disconnect --db k.db --org nobody".into(),
    ] {
        let mut command = desk.command(&line);
        let output = command.env("KOALR_LOG", "trace").env("OPSGENIE_KEY", OPSGENIE_KEY).output().unwrap();
        outputs.push((line.clone(), [output.stdout, output.stderr].concat()));
        assert_ne!(posted(&serving, SECRET, &format!("msg_{}", outputs.len())).await, 503);
    }
    assert_eq!(posted(&serving, SECRET, "msg_last").await, 204);
    // The console: its pages, and its forms filled in with secrets that are right, and wrong.
    let client = reqwest::Client::new();
    let posted_form = async |path: &str, fields: &[(&str, &str)]| {
        let form = client.post(format!("{}/{path}", serving.url)).header("sec-fetch-site", "same-origin");
        let answer = form.form(fields).send().await.unwrap();
        // A form that is not understood is answered with plain text.
        let page = answer.headers()["content-type"].to_str().unwrap().starts_with("text/html");
        assert!(page && answer.status() != 403 && answer.status() != 404, "{path}: {answer:?}");
        (format!("form {path}"), answer.bytes().await.unwrap().to_vec())
    };
    for key in [KEY, OPSGENIE_KEY] {
        outputs.push(posted_form("o/acme/settings/key", &[("key", key)]).await);
        outputs.push(posted_form("connect", &[("org", "beta"), ("key", key), ("secret", SECRET)]).await);
    }
    for secret in [SECRET, KEY] {
        outputs.push(posted_form("o/acme/settings/secret", &[("secret", secret)]).await);
    }
    let pages =
        ["", "host", "connect", "o/acme/settings", "o/acme/incidents", "o/acme/incidents.csv"].into_iter();
    let pages =
        pages.chain(["o/acme/mttr", "o/acme/migration", "o/acme/deliveries", "o/acme/deliveries/msg_1"]);
    for page in pages.chain(["metrics", "healthz", "webhooks/incidentio/acme"]) {
        let answer = client.get(format!("{}/{page}", serving.url)).send().await.unwrap();
        assert!(answer.status().is_success() || page.starts_with("webhooks"), "{page}: {}", answer.status());
        outputs.push((page.into(), answer.bytes().await.unwrap().to_vec()));
    }
    outputs.push(("serve".into(), serving.end()));
    for file in std::fs::read_dir(desk.directory.path()).unwrap() {
        let path = file.unwrap().path();
        outputs.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    // The signing secret is worked with as the text without its prefix, and as the bytes that this stands for.
    let encoded = SECRET.trim_start_matches("whsec_");
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    for (what, secret) in [
        ("key", KEY.as_bytes()),
        ("signing secret", SECRET.as_bytes()),
        ("signing secret", encoded.as_bytes()),
        ("signing secret", &bytes),
        ("Opsgenie key", OPSGENIE_KEY.as_bytes()),
    ] {
        let needles = needles::needles(secret);
        for (name, shown) in &outputs {
            assert!(!needles::holds(shown, &needles), "{name} shows the {what}");
        }
    }
    let migrated = outputs.iter().find(|(name, _)| name.starts_with("migrate opsgenie run")).unwrap();
    assert!(text(&migrated.1).contains("\"created\""), "{}", text(&migrated.1));
    let serve = outputs.iter().find(|(name, _)| name == "serve").unwrap();
    assert!(serve.1.len() > 5_000, "it logs everything: {}", serve.1.len());
}

/// A cookie's name and value, as an answer sets it.
fn cookie(answer: &reqwest::Response) -> String {
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_not_guessed_and_an_old_cookie_says_nothing() {
    let desk = Desk::new();
    let serve = |token: &str| {
        let mut command = desk.command("serve --db k.db --listen 127.0.0.1:0 --console-token-env TOKEN");
        command.env("TOKEN", token);
        command
    };
    let refused = serve("x").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("the token in TOKEN is too short: it has 1 of at least 16 characters"), "{said}");

    let serving = Serving::start(serve("the-token-of-a-test"));
    let url = serving.url.clone();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let sign_in = async |token: &str| {
        let request = client.post(format!("{url}/sign-in")).header("origin", &url);
        request.form(&[("token", token)]).send().await.unwrap()
    };
    let look = async |cookie: &str| {
        let answer = client.get(format!("{url}/host")).header("cookie", cookie).send().await.unwrap();
        answer.status().as_u16()
    };
    let (one, other) = (sign_in("the-token-of-a-test").await, sign_in("the-token-of-a-test").await);
    let (one, other) = (cookie(&one), cookie(&other));
    assert_ne!(one, other, "each sign-in is a session of its own");
    assert_eq!((look(&one).await, look(&other).await), (200, 200));
    let out = client.post(format!("{url}/sign-out")).header("origin", &url).header("cookie", &one);
    assert_eq!(out.send().await.unwrap().status().as_u16(), 303);
    assert_eq!((look(&one).await, look(&other).await), (303, 200), "the old cookie is worth nothing");

    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let guess =
            client.post(format!("{url}/sign-in")).header("origin", &url).form(&[("token", "a guess")]);
        guesses.spawn(async move { guess.send().await.unwrap() });
    }
    let answers = guesses.join_all().await;
    let with = |status: u16| answers.iter().filter(move |answer| answer.status().as_u16() == status);
    assert!((10..50).contains(&with(401).count()), "few are compared: {}", with(401).count());
    assert_eq!(with(401).count() + with(429).count(), 200);
    assert!(with(429).all(|answer| answer.headers().contains_key("retry-after")));
    assert_eq!(look(&other).await, 200, "who is signed in is not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_or_source_that_there_is_not_is_wrong_usage() {
    let simulator = account(60).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    let report = desk.json("mttr --db k.db --org acme --json").await;
    let services = report["by_service"].as_array().unwrap().iter();
    let (name, count) = services
        .map(|slice| (slice["label"].as_str().unwrap().to_owned(), slice["count"].clone()))
        .find(|(name, _)| !name.starts_with('('))
        .unwrap();

    // One character off, and it is said what was meant.
    let near = format!("{}x", name.replace(' ', "-"));
    for verb in ["mttr", "incidents", "mttr --explain INC-1"] {
        let refused = desk.run(&format!("{verb} --db k.db --org acme --service {near}")).await;
        assert_eq!(refused.status.code(), Some(2), "{verb}");
        let said = text(&refused.stderr);
        assert!(said.contains(&format!("there is no service `{near}`")) && said.contains(&name), "{said}");
        assert!(refused.stdout.is_empty());
    }
    let refused = desk.run("mttr --db k.db --org acme --source nosuch").await;
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("there is no source `nosuch`") && said.contains("`incidentio`"), "{said}");

    // However it is spelled, it is that row.
    let spelled = name.to_uppercase().replace([' ', '-'], "_");
    let asked =
        desk.json(&format!("mttr --db k.db --org acme --json --source Incidentio --service {spelled}")).await;
    assert_eq!((&asked["by_service"][0]["label"], &asked["by_service"][0]["count"]), (&name.into(), &count));
    let listed = desk.json(&format!("incidents --db k.db --org acme --json --service {spelled}")).await;
    assert!(listed["total"].as_u64() >= count.as_u64());
    assert_eq!(desk.run("mttr --db k.db --org nobody --service x").await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_that_there_is_not_is_wrong_usage_for_every_verb() {
    let simulator = account(2).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    std::fs::write(desk.path("body.json"), "{}").unwrap();
    std::fs::write(desk.path("users.csv"), "id,email,name\nu1,a@example.com,A\n").unwrap();
    std::fs::write(desk.path("services.csv"), "id,name,external_ids,aliases\ns1,Checkout,,\n").unwrap();
    for verb in [
        "backfill",
        "backfill --days 7",
        "poll",
        "incidents",
        "incident INC-1",
        "mttr",
        "mttr --explain INC-1",
        "deliveries",
        "webhook replay --dead",
        "webhook replay msg_1",
        "webhook verify --header webhook-id:m body.json",
        "users import users.csv",
        "services import services.csv",
        "migrate opsgenie plan --region eu --api-key-env API_KEY",
        "migrate opsgenie run --region eu --api-key-env API_KEY",
        "migrate opsgenie status",
        "migrate opsgenie undo",
        "migrate opsgenie undo --yes",
        "org show",
        "org disconnect",
    ] {
        for (org, advice) in [("acmee", "did you mean `acme`?"), ("zzz", "no organisation zzz is connected")]
        {
            let refused = desk.run(&format!("{verb} --db k.db --org {org}")).await;
            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{verb}: {said}");
            assert!(said.contains(advice), "{verb}: {said}");
            assert!(refused.stdout.is_empty(), "{verb}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_which_nothing_can_be_imported_ends_with_what_to_mend() {
    let simulator = account(2).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let plan = async |rows: &str, options: &str| {
        std::fs::write(desk.path("a.csv"), format!("id,title,status,created\n{rows}")).unwrap();
        let planned = desk.run(&format!("migrate opsgenie plan --db k.db --org acme a.csv {options}")).await;
        (planned.status.code(), text(&planned.stdout), text(&planned.stderr))
    };
    let blocked = "1,One,closed,first of May\n2,Two,closed,second of May\n";
    let (code, told, why) = plan(blocked, "").await;
    assert_eq!(code, Some(6), "{told}{why}");
    assert!(told.contains("Nothing can be imported yet.") && !told.contains("Next:"), "{told}");
    assert!(why.contains("a run would leave out all of it (2)"), "{why}");
    let (code, told, _) = plan(blocked, "--json").await;
    assert_eq!((code, serde_json::from_str::<Value>(&told).unwrap()["blocked"].as_u64()), (Some(6), Some(2)));

    let (code, told, _) = plan("1,One,closed,2025-03-05T10:00:00Z\n2,Two,closed,first of May\n", "").await;
    assert!(code == Some(0) && told.contains("Next: `migrate opsgenie run`"), "{told}");
}

/// What the README says of backups.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_backup_is_restored_one_poll_brings_what_changed_since() {
    let simulator = account(40).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    desk.json("poll --db k.db --org acme --json").await;
    let listed = async || desk.json("incidents --db k.db --org acme --json").await;
    let severity = simulator.severities().last().cloned();
    let declared = |name: &str| {
        let new = NewIncident { name: name.into(), severity: severity.clone(), ..NewIncident::default() };
        simulator.declare(new, Utc::now()).unwrap()
    };
    let old = declared("Known to the backup");
    desk.json("poll --db k.db --org acme --json").await;
    let kept = listed().await;
    desk.json("db backup k.bak --db k.db --json").await;

    let serving = desk.serve();
    let url = format!("{}/webhooks/incidentio/acme", serving.url);
    simulator.set_webhook(Some(WebhookTarget::new(&url, SECRET))).unwrap();
    simulator
        .update(&old, Change { status: Some("closed".into()), ..Change::default() }, Utc::now())
        .unwrap();
    let new = declared("Declared after the backup");
    simulator.settle().await;
    assert!(simulator.deliveries().iter().all(|delivery| delivery.last_status == Some(204)));
    serving.end();
    desk.json("poll --db k.db --org acme --json").await;
    let current = listed().await;
    assert_ne!(current, kept);

    for gone in ["k.db", "k.db-wal", "k.db-shm"] {
        let path = desk.path(gone);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::rename(desk.path("k.bak"), desk.path("k.db")).unwrap();
    assert_eq!(listed().await, kept, "the backup holds what was");
    desk.json("poll --db k.db --org acme --json").await;
    assert_eq!(listed().await, current);
    for (id, phase) in [(old, "closed"), (new, "active")] {
        let one = desk.json(&format!("incident --db k.db --org acme {id} --json")).await;
        assert_eq!((&one["incident"]["id"], &one["incident"]["phase"]), (&id.into(), &phase.into()), "{one}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_provisional_until_incidents_are_recalculated() {
    use koalr_host::port::{JobKind, Jobs};
    let simulator = account(20).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    desk.json("poll --db k.db --org acme --json").await;
    let incidents = desk.json("incidents --db k.db --org acme --json").await;
    let one = incidents["incidents"][0]["reference"].as_str().unwrap().to_owned();
    let said = async || {
        let report = desk.json("mttr --db k.db --org acme --json --svg trend.svg").await;
        let explained = desk.json(&format!("mttr --db k.db --org acme --json --explain {one}")).await;
        let (text, csv) =
            (desk.run("mttr --db k.db --org acme").await, desk.run("mttr --db k.db --org acme --csv").await);
        let serving = desk.serve();
        let page = reqwest::get(format!("{}/o/acme/mttr", serving.url)).await.unwrap().text().await.unwrap();
        serving.end();
        let told = "incidents are still being recalculated";
        [
            report["recalculating"] == true,
            explained["recalculating"] == true,
            std::fs::read_to_string(desk.path("trend.svg")).unwrap().contains(told),
            self::text(&text.stdout).contains(told),
            self::text(&csv.stdout).contains("\nrecalculating,"),
            page.contains(told),
        ]
    };
    assert_eq!(said().await, [false; 6]);
    // Due so late that `serve` leaves it.
    let now = Utc::now().timestamp_micros();
    let store = koalr_host::sqlite::SqliteStore::open(desk.path("k.db")).unwrap();
    let org = "acme".parse().unwrap();
    store.put_job(&org, JobKind::Rederive, now + 3_600_000_000, None, now).await.unwrap();
    drop(store);
    assert_eq!(said().await, [true; 6]);
    desk.json("poll --db k.db --org acme --json").await;
    assert_eq!(said().await, [false; 6]);
}

/// What a plan was told of a stand-in, a run does not forget; and an import that brought nothing draws nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_asks_whom_the_plan_asked_and_what_brought_nothing_is_not_drawn() {
    let simulator = account(20).await;
    let opsgenie = Opsgenie::start(OpsgenieOptions::new(12, 5, Utc::now())).await.unwrap();
    let desk = Desk::new();
    desk.connect(&simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    let migrate = |verb: &str| format!("migrate opsgenie {verb} --db k.db --org acme");
    let account = "--region us --api-key-env API_KEY";
    let drawn = async || {
        let report = desk.json("mttr --db k.db --org acme --svg trend.svg --json").await;
        let image = std::fs::read_to_string(desk.path("trend.svg")).unwrap();
        assert_eq!(image.contains("incident.io from here on"), !report["cut_over"].is_null());
        !report["cut_over"].is_null()
    };

    // A run that fails: whoever answers there is not Opsgenie.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("--map-origin https://api.opsgenie.com=http://{}", stranger.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in stranger.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4_096];
            let _ = std::io::Read::read(&mut connection, &mut request);
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]";
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    let today = Utc::now().date_naive();
    let failed = desk.run(&format!("{} {account} {gone} --cut-over {today}", migrate("run"))).await;
    assert!(!failed.status.success());
    assert!(!drawn().await, "nothing was imported, so nothing was cut over");
    let status = text(&desk.run(&migrate("status")).await.stdout);
    assert!(status.contains("(incidents of the Opsgenie account in region US) has not finished"), "{status}");
    assert!(!status.contains("incident.io is the record from") && !status.contains("::"), "{status}");

    let map = format!("--map-origin https://api.opsgenie.com={}", opsgenie.base_url());
    let plan = desk.json(&format!("{} {account} {map} --json", migrate("plan"))).await;
    assert_eq!(plan["rows"].as_array().unwrap().len(), 12, "{plan}");
    let run = desk.run(&format!("{} {account} --json", migrate("run"))).await;
    assert!(run.status.success(), "{}", text(&run.stderr));
    let said = text(&run.stderr);
    assert!(
        said.contains(&format!("Requests for https://api.opsgenie.com go to {}", opsgenie.base_url())),
        "{said}"
    );
    assert!(drawn().await);
    let status = desk.json(&format!("{} --json", migrate("status"))).await;
    assert!(status["incidents"].as_u64().unwrap() > 0 && !status["cut_over"].is_null(), "{status}");
}
