//! Which of the account's timestamps tells when service was restored.

use std::process::Output;

use serde_json::{Value, json};

use super::desk::text;
use super::{Desk, account};

/// `connect` with one timestamp.
async fn connect(desk: &Desk, timestamp: &str, options: &str) -> Output {
    let mut command = desk.command(&format!("connect --db k.db --org acme {options} --json"));
    command.args(["--timestamp", timestamp]);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_is_previewed_set_kept_and_taken_back() {
    let simulator = account(60).await;
    let desk = Desk::new();
    assert_eq!(
        desk.connect(&simulator).await["timestamps"],
        json!({"started": null, "acknowledged": null, "resolved": null})
    );
    desk.json("backfill --db k.db --org acme --json").await;
    desk.json("poll --db k.db --org acme --json").await;
    let chosen = async || desk.json("org show acme --db k.db --json").await["settings"]["timestamps"].clone();
    let incidents = async || desk.json("incidents --db k.db --org acme --json").await["incidents"].clone();
    let before = incidents().await;

    let preview = document(&connect(&desk, "resolved= closed AT", "--preview").await);
    let changing = preview["resolved"].as_u64().unwrap();
    assert!(changing > 0, "{preview}");
    assert_eq!(preview["incidents"], preview["resolved"]);
    let examples = preview["examples"].as_array().unwrap();
    assert_eq!(examples.len() as u64, changing.min(10));
    assert!(
        examples.iter().all(|one| one["after"]["resolved_at"]["rule"] == "chosen-timestamp"),
        "{preview}"
    );
    assert_eq!((incidents().await, chosen().await["resolved"].clone()), (before.clone(), Value::Null));

    let key = "--api-key-env API_KEY";
    let connected = document(&connect(&desk, "resolved=Closed at", key).await);
    assert_eq!(connected["timestamps"]["resolved"]["name"], "Closed at");
    assert!(connected["incidents_updated"].as_u64().unwrap() >= changing, "{connected}");
    let moved = incidents().await;
    let times = |of: &Value| -> Vec<Value> {
        of.as_array().unwrap().iter().map(|one| one["resolved_at"]["at"].clone()).collect()
    };
    let differ =
        times(&before).iter().zip(times(&moved)).filter(|(before, after)| **before != *after).count();
    assert_eq!(differ as u64, changing, "as the preview said");

    document(&connect(&desk, "started=Reported at", key).await);
    let both = chosen().await;
    assert_eq!(
        (&both["started"]["name"], &both["resolved"]["name"]),
        (&json!("Reported at"), &json!("Closed at"))
    );
    let shown = text(&desk.run("org show acme --db k.db").await.stdout);
    assert!(shown.contains("timestamp resolved is told by `Closed at`"), "{shown}");

    document(&connect(&desk, "started=", key).await);
    document(&connect(&desk, "resolved=", key).await);
    assert_eq!(chosen().await, json!({"started": null, "acknowledged": null, "resolved": null}));
    assert_eq!(incidents().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_that_nobody_has_is_an_error_that_lists_those_that_there_are() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let refused = connect(&desk, "resolved=Restored for good", "--api-key-env API_KEY").await;
    let told = text(&refused.stderr);
    assert!(!refused.status.success());
    assert!(told.contains("no timestamp `Restored for good`; it has Reported at, "), "{told}");
    assert!(!told.contains("--move-to"), "it is no other account: {told}");
    let refused = connect(&desk, "restored=Resolved at", "--api-key-env API_KEY").await;
    assert!(text(&refused.stderr).contains("resolved=NAME"), "{}", text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(2));
}
