//! `docs/json.md` against what the verbs print.

use std::collections::BTreeSet;

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/json.md");

/// The chapters of the document: the verbs in its heading, and its text.
fn chapters() -> Vec<(Vec<&'static str>, &'static str)> {
    let chapters = DOCUMENT.split("\n## ").skip(1);
    chapters
        .map(|chapter| {
            let (heading, text) = chapter.split_once('\n').unwrap();
            (heading.split('`').skip(1).step_by(2).collect(), text)
        })
        .collect()
}

/// The text about a verb: chapters that name it, or the first word of it, in their heading.
fn about(verb: &str) -> String {
    let names = |named: &&str| verb == *named || verb.starts_with(&format!("{named} "));
    chapters().into_iter().filter(|(verbs, _)| verbs.iter().any(&names)).map(|(_, text)| text).collect()
}

/// Names of all fields in a document, but not in what the contract documents, nor what are names of sources.
fn fields(of: &Value, into: &mut BTreeSet<String>) {
    match of {
        Value::Object(object) => {
            for (name, value) in object {
                into.insert(name.clone());
                if name != "descriptor" && name != "by_source" {
                    fields(value, into);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, into)),
        _ => {}
    }
}

/// Whether the text has it as a word in code.
fn names(text: &str, field: &str) -> bool {
    let code = text.split('`').skip(1).step_by(2);
    let mut words = code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.any(|word| word == field)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_a_verb_prints_as_json_is_documented() {
    let simulator = account(60).await;
    let opsgenie =
        Opsgenie::start(OpsgenieOptions::new(60, 5, Utc::now() - TimeDelta::days(100))).await.unwrap();
    let desk = Desk::new();
    let map = format!("--map-origin https://api.incident.io={}", simulator.base_url());
    let live = format!(
        "--region us --api-key-env API_KEY --map-origin https://api.opsgenie.com={}",
        opsgenie.base_url()
    );
    std::fs::write(desk.path("users.csv"), "id,email,name\nu1,a@example.com,A\n").unwrap();
    std::fs::write(desk.path("services.csv"), "id,name,external_ids,aliases\ns1,Checkout,,\n").unwrap();
    std::fs::write(desk.path("body.json"), r#"{"event_type": "public_team.created_v1"}"#).unwrap();
    std::fs::write(
        desk.path("bad.csv"),
        "id,title,status,created\n1,One,closed,2025-03-05T10:00:00Z\n2,Two,closed,first of May\n",
    )
    .unwrap();
    let of_it = "--db k.db --org acme";
    let first = async || {
        let incidents = desk.json(&format!("incidents {of_it} --json")).await;
        incidents["incidents"][0]["reference"].as_str().unwrap().to_string()
    };
    let mut printed: Vec<(&str, Value)> = Vec::new();
    let lines = [
        ("connect", format!("{of_it} --api-key-env API_KEY --webhook-secret-env HOOK_SECRET {map}")),
        ("connect", format!("{of_it} --preview --timestamp resolved=")),
        ("backfill", of_it.into()),
        ("poll", of_it.into()),
        ("users import", format!("{of_it} users.csv")),
        ("services import", format!("{of_it} services.csv")),
        ("migrate opsgenie plan", format!("{of_it} {live}")),
        ("migrate opsgenie plan", format!("{of_it} bad.csv")),
        ("migrate opsgenie run", format!("{of_it} {live}")),
        ("migrate opsgenie status", of_it.into()),
        ("incidents", of_it.into()),
        ("mttr", of_it.into()),
        ("inspect", String::new()),
        ("db backup", "--db k.db b.db".into()),
        ("keys rotate", "--db k.db".into()),
    ];
    for (verb, options) in &lines {
        printed.push((verb, desk.json(&format!("{verb} {options} --json")).await));
    }
    let one = first().await;
    printed.push(("incident", desk.json(&format!("incident {of_it} {one} --json")).await));
    printed.push(("mttr", desk.json(&format!("mttr {of_it} --explain {one} --json")).await));
    {
        let serving = desk.serve();
        let url = format!("{}/webhooks/incidentio/acme", serving.url);
        let send = format!("webhook send --url {url} --secret-env HOOK_SECRET body.json --json");
        printed.push(("webhook send", desk.json(&send).await));
        // Refused, and told why.
        let verify = "webhook verify --db k.db --org acme --header webhook-id:m body.json --json";
        let refused = desk.run(verify).await;
        printed.push(("webhook verify", serde_json::from_slice(&refused.stdout).unwrap()));
        while desk.json(&format!("deliveries {of_it} --state done --json")).await["deliveries"]
            == serde_json::json!([])
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for (verb, options) in [
        ("deliveries", of_it.to_string()),
        ("webhook replay", format!("{of_it} --dead")),
        ("org show", of_it.into()),
        ("org list", "--db k.db".into()),
        ("migrate opsgenie undo", format!("{of_it} --yes")),
        ("org disconnect", of_it.into()),
    ] {
        printed.push((verb, desk.json(&format!("{verb} {options} --json")).await));
    }

    let mut missing = Vec::new();
    for (verb, document) in &printed {
        let mut all = BTreeSet::new();
        fields(document, &mut all);
        assert!(!all.is_empty(), "{verb} printed nothing");
        // Shapes that two verbs share are described once.
        let shared = match *verb {
            "incident" => about("incidents"),
            "org show" => about("org list"),
            _ => String::new(),
        };
        let text = about(verb) + &shared;
        missing
            .extend(all.iter().filter(|field| !names(&text, field)).map(|field| format!("{verb}: {field}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
    // The other way round: no chapter is about what is not printed here.
    for verb in chapters().into_iter().flat_map(|(verbs, _)| verbs) {
        let run = printed.iter().any(|(one, _)| *one == verb || one.starts_with(&format!("{verb} ")));
        assert!(run, "{verb} is documented and was not run");
    }
}
