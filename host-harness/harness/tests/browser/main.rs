//! The console in a real browser: what a person does there, and what they see.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

mod cdp;
#[path = "../desk/mod.rs"]
mod desk;

use std::path::{Path, PathBuf};
use std::process::Command;

use cdp::Browser;
use chrono::{DateTime, TimeDelta, Utc};
use desk::{KEY, SECRET, Serving, text};
use koalr_simulator::opsgenie::{Opsgenie, OpsgenieOptions};
use koalr_simulator::{Change, Keys, Mode, NewIncident, Options, Simulator, WebhookTarget};
use serde_json::Value;

/// A simulated account and a `serve`, which ends with it.
struct Desk {
    directory: tempfile::TempDir,
    simulator: Simulator,
    opsgenie: Opsgenie,
    server: Option<Serving>,
}

impl Desk {
    async fn new(incidents: usize) -> Desk {
        Desk::at(incidents, Utc::now()).await
    }

    async fn at(incidents: usize, now: DateTime<Utc>) -> Desk {
        let mut options = Options::new(incidents, 3, now);
        options.limits = None;
        let roles = Keys::READ_ROLES.map(String::from).to_vec();
        options.keys = Keys::Listed([(KEY.to_string(), roles)].into());
        let simulator = Simulator::start(options).await.unwrap();
        let opsgenie =
            Opsgenie::start(OpsgenieOptions::new(60, 5, now - TimeDelta::days(100))).await.unwrap();
        Desk { directory: tempfile::tempdir().unwrap(), simulator, opsgenie, server: None }
    }

    /// Served, connected, imported and with its timelines.
    async fn ready(incidents: usize) -> Desk {
        let mut desk = Desk::new(incidents).await;
        let map = format!("https://api.incident.io={}", desk.simulator.base_url());
        let connect = "connect --db k.db --org acme --api-key-env API_KEY --webhook-secret-env HOOK_SECRET";
        for line in [
            &format!("{connect} --map-origin {map}"),
            "backfill --db k.db --org acme",
            "poll --db k.db --org acme",
        ] {
            let output = desk.command(line).output().unwrap();
            assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        }
        desk.serve();
        let url = format!("{}/webhooks/incidentio/acme", desk.url());
        desk.simulator.set_webhook(Some(WebhookTarget::new(&url, SECRET))).unwrap();
        desk
    }

    fn command(&self, line: &str) -> Command {
        desk::command(self.directory.path(), line)
    }

    fn json(&self, line: &str) -> Value {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn serve(&mut self) {
        let (one, other) = (self.simulator.base_url(), self.opsgenie.base_url());
        let line = format!(
            "serve --db k.db --listen 127.0.0.1:0 --map-origin https://api.incident.io={one} --map-origin \
             https://api.opsgenie.com={other}"
        );
        self.server = Some(Serving::start(self.command(&line)));
    }

    fn url(&self) -> String {
        self.server.as_ref().unwrap().url.clone()
    }

    fn page(&self, path: &str) -> String {
        format!("{}/o/acme/{path}", self.url())
    }

    fn declare(&self, name: &str) -> String {
        let new = NewIncident {
            name: name.into(),
            severity: self.simulator.severities().into_iter().last(),
            services: self.simulator.services().into_iter().map(|(name, _)| name).take(1).collect(),
            mode: Mode::Standard,
            private: false,
            lead: None,
        };
        self.simulator.declare(new, Utc::now() - TimeDelta::minutes(10)).unwrap()
    }
}

fn calm(browser: &mut Browser) {
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_steps_from_a_key_to_the_first_delivery() {
    let mut desk = Desk::new(80).await;
    desk.serve();
    let Some(mut browser) = Browser::launch() else { return };
    browser.go(&desk.url());
    browser.until_text("Connect Incident.io");

    // A wrong key is refused, is not shown again, and leaves nothing behind.
    browser.fill("[name=org]", "acme");
    browser.fill("[name=key]", "inc_wrong_key");
    browser.click_text("Save and start the import");
    browser.until("document.querySelector('[role=alert]')");
    assert_eq!(browser.eval("document.querySelector('[name=key]').value"), "");
    assert_eq!(browser.eval("document.querySelector('[name=org]').value"), "acme");
    assert_eq!(browser.eval("document.documentElement.outerHTML.includes('inc_wrong_key')"), false);
    assert_eq!(browser.problems().len(), 1, "the answer is no success, and nothing else is wrong");

    browser.fill("[name=key]", KEY);
    browser.click_text("Save and start the import");
    browser.until("location.pathname === '/o/acme/settings'");
    // The open page follows the import to its end.
    browser.until(
        "[...document.querySelectorAll('#state tr')].some((row) => /Import\\s+done/.test(row.innerText))",
    );
    let incidents = browser.text("#state strong");
    assert_eq!(incidents, desk.json("incidents --db k.db --org acme --json")["total"].to_string());

    // Step 2, the webhook: its address, the types to select, the secret.
    let address = browser.eval("document.querySelector('#webhook-url').value");
    assert_eq!(address, format!("{}/webhooks/incidentio/acme", desk.url()));
    browser.click_text("Copy");
    browser.until("document.querySelector('[data-copy]').innerText === 'Copied'");
    browser.until_text("public_incident.incident_created_v2");
    browser.fill("[name=secret]", "not a secret");
    browser.click("form[action$='/secret'] button");
    browser.until("document.querySelector('[role=alert]')");
    assert_eq!(browser.problems().len(), 1);
    browser.fill("[name=secret]", SECRET);
    browser.click("form[action$='/secret'] button");
    browser.until("!document.querySelector('div[role=alert]')");
    browser.until_text("Waiting for the first delivery…");

    // Step 3: it turns green when one arrives, without a hand.
    let target = WebhookTarget::new(address.as_str().unwrap(), SECRET);
    desk.simulator.set_webhook(Some(target)).unwrap();
    desk.declare("The first that is told by a webhook");
    browser.until_text("Deliveries arrive.");
    browser.until_text("First delivery arrived");
    for secret in [KEY, SECRET] {
        let found = browser.eval(&format!("document.documentElement.outerHTML.includes('{secret}')"));
        assert_eq!(found, false);
    }
    calm(&mut browser);

    browser.eval("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    browser.click("form[action$='/disconnect'] button");
    browser.until_text("Disconnected: its secrets are removed");
    calm(&mut browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_is_previewed_in_the_settings_and_saved() {
    let desk = Desk::ready(60).await;
    let Some(mut browser) = Browser::launch() else { return };
    let chosen = || desk.json("org show acme --db k.db --json")["settings"]["timestamps"]["resolved"].clone();
    browser.go(&desk.page("settings"));
    let id = "[...document.querySelectorAll('#timestamps [name=resolved] option')].find((one) => one.innerText === 'Closed at').value";
    let id = browser.eval(id).as_str().unwrap().to_owned();
    browser.choose("#timestamps [name=resolved]", &id);
    browser.click("#timestamps [value=preview]");
    browser.until("document.querySelector('.preview')");
    let previewed =
        desk.json(&format!("connect --db k.db --org acme --preview --timestamp resolved={id} --json"));
    let changing = previewed["resolved"].as_u64().unwrap();
    let summary = browser.text(".preview p");
    assert!(summary.ends_with(&format!(": {changing} another end.")), "{summary}");
    let rows = browser.eval("document.querySelectorAll('.preview tbody tr').length");
    assert_eq!(rows, changing.min(10));
    assert_eq!(chosen(), Value::Null, "nothing is saved yet");

    browser.click(".preview [value=save]");
    browser.until(&format!("document.querySelector('#timestamps [name=resolved]').value === '{id}'"));
    browser.until("!document.querySelector('.preview')");
    assert_eq!(chosen()["name"], "Closed at");
    calm(&mut browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_list_follows_what_happens_and_its_address_keeps_the_filter() {
    let desk = Desk::ready(60).await;
    let Some(mut browser) = Browser::launch() else { return };
    browser.go(&desk.page("incidents"));
    browser.until("document.documentElement.dataset.live === 'on'");
    let id = desk.declare("Seen in an open page");
    browser.until_text("Seen in an open page");
    let change = Change { status: Some("closed".into()), ..Change::default() };
    desk.simulator.update(&id, change, Utc::now()).unwrap();
    let row = "[...document.querySelectorAll('tbody tr')].find((row) => row.innerText.includes('Seen in an open page'))";
    browser.until(&format!("{row}.innerText.includes('Closed')"));

    browser.choose("[name=status]", "open");
    browser.click_text("Filter");
    browser.until("location.search === '?status=open'");
    browser.until(&format!("!{row}"));
    let open = browser.text("#list .count strong");
    browser.reload();
    assert_eq!(browser.eval("document.querySelector('[name=status]').value"), "open");
    assert_eq!(browser.text("#list .count strong"), open);
    browser.click_text("Duration");
    browser.until("location.search.includes('status=open') && location.search.includes('sort=duration')");
    browser.fill("[name=text]", "no incident is called this");
    browser.click_text("Filter");
    browser.until_text("Nothing matches");
    calm(&mut browser);

    // Rubbish in the address is told of, in the page's frame.
    browser.go(&desk.page("incidents?since=yesterday"));
    browser.until_text("Dates are written like");
    browser.go(&desk.page("incidents/INC-999999"));
    browser.until_text("has no incident INC-999999");
    browser.go(&format!("{}/o/nobody/incidents", desk.url()));
    browser.until_text("No organisation nobody is connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figure_is_the_command_lines_and_what_was_left_out_is_listed() {
    let desk = Desk::ready(300).await;
    let Some(mut browser) = Browser::launch() else { return };
    let printed = desk.command("mttr --db k.db --org acme").output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    browser.go(&desk.page("mttr"));
    let (median, mean) = (browser.text("#median"), browser.text("#mean"));
    assert!(printed.contains(&format!("median {median}  (")), "{median}: {printed}");
    assert!(printed.contains(&format!("mean (MTTR) {mean}  (")), "{mean}: {printed}");
    let report = desk.json("mttr --db k.db --org acme --json");
    assert_eq!(browser.text("#measured"), report["overall"]["count"].to_string());

    // Each reason's list holds as many as the report left out for it, whatever was asked.
    let service = report["by_service"][1]["label"].as_str().unwrap().to_owned();
    let questions = [
        (String::new(), String::new()),
        (
            "?clock=acknowledged&priority=p1,p2".into(),
            "--clock acknowledged --priority p1 --priority p2".into(),
        ),
        (format!("?clock=started&service={service}"), format!("--clock started --service {service}")),
    ];
    for (query, line) in questions {
        let report = desk.json(&format!("mttr --db k.db --org acme --json {line}"));
        browser.go(&desk.page(&format!("mttr{query}")));
        let links =
            browser.eval("[...document.querySelectorAll('a[href*=\"left-out\"]')].map((one) => one.href)");
        let links: Vec<String> =
            links.as_array().unwrap().iter().map(|link| link.as_str().unwrap().into()).collect();
        assert_eq!(links.len(), report["excluded"].as_array().unwrap().len(), "{links:?}");
        assert!(links.len() >= 6, "{links:?}");
        for link in links {
            let reason = link.split("left-out=").nth(1).unwrap().split('&').next().unwrap().to_owned();
            let excluded = report["excluded"].as_array().unwrap();
            let count = excluded
                .iter()
                .find(|one| one["reason"] == reason.as_str())
                .map(|one| one["count"].to_string());
            browser.go(&link);
            assert_eq!(Some(browser.text("#list .count strong")), count, "{reason} of {query}");
        }
    }

    // Another question has another address, and the command line's answer.
    browser.go(&desk.page("mttr"));
    browser.choose("[name=priority]", "p1");
    browser.click_text("Show");
    browser.until("location.search.includes('priority=p1')");
    browser.choose("[name=days]", "30");
    browser.click_text("Show");
    browser.until("location.search.includes('days=30')");
    let day = (Utc::now() - TimeDelta::days(29)).date_naive();
    let report = desk.json(&format!("mttr --db k.db --org acme --priority p1 --since {day} --json"));
    assert_eq!(browser.text("#measured"), report["overall"]["count"].to_string());
    calm(&mut browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_from_opsgenie_in_the_browser() {
    let desk = Desk::ready(40).await;
    let Some(mut browser) = Browser::launch() else { return };
    let count = || desk.json("incidents --db k.db --org acme --json")["total"].as_u64().unwrap();
    let own = count();
    browser.go(&desk.page("migration"));
    browser.fill("[name=key]", "opsgenie-key-of-a-test");
    browser.click_text("Plan");
    browser.until_text("2. Plan");
    let importable = ["#ready", "#warned"].map(|count| browser.text(count).parse::<u64>().unwrap());
    assert!(importable.iter().sum::<u64>() > 0);
    assert_eq!(count(), own, "a plan writes nothing");
    browser.eval("document.querySelectorAll('form[action$=\"/run\"] input[type=checkbox]').forEach((one) => { one.checked = true; })");
    browser.click_text("Run this import");
    browser.until_text("3. Imported");
    assert!(count() > own);
    browser.click_text("Done");
    browser.until("!document.body.innerText.includes('3. Imported')");
    browser.until_text("Imported incidents");
    browser.go(&desk.page("mttr?days=365"));
    browser.until_text("By source");
    browser.until_text("incident.io from here on");
    assert_eq!(browser.eval("document.documentElement.outerHTML.includes('opsgenie-key-of-a-test')"), false);

    browser.go(&desk.page("migration"));
    browser.eval("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    browser.click_text("Remove them");
    browser.until("!document.body.innerText.includes('Imported incidents')");
    assert_eq!(count(), own);

    // Files, of which a line is rubbish.
    let file = desk.directory.path().join("old.csv");
    let rows = "Incident ID,Created at,Status,Title,Resolved at\n\
                o-1,2025-03-01T10:00:00Z,closed,One,2025-03-01T11:00:00Z\no-2,first of May,closed,Two,\n";
    std::fs::write(&file, rows).unwrap();
    browser.click("[name=source][value=files]");
    browser.upload("[name=files]", &file);
    browser.click_text("Plan");
    browser.until_text("old.csv:3:2: `first of May`");
    assert_eq!(browser.text("#ready"), "1");
    browser.click_text("Discard the plan");
    browser.until("!document.body.innerText.includes('2. Plan')");
    calm(&mut browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_seen_and_replayed() {
    let desk = Desk::ready(20).await;
    let Some(mut browser) = Browser::launch() else { return };
    let body = desk.directory.path().join("bad.json");
    let event = r#"{"event_type":"public_incident.incident_created_v2","public_incident.incident_created_v2":{"name":"Which one?"}}"#;
    std::fs::write(&body, event).unwrap();
    let url = format!("{}/webhooks/incidentio/acme", desk.url());
    let send = |secret: &str| {
        let line = format!("webhook send --url {url} --secret-env HOOK_SECRET --id msg_dead bad.json");
        desk.command(&line).env("HOOK_SECRET", secret).output().unwrap()
    };
    assert!(send(SECRET).status.success());
    browser.go(&desk.page("deliveries"));
    browser.until_text("dead letter");
    browser.choose("[name=state]", "dead");
    browser.click_text("Filter");
    browser.until("location.search === '?state=dead'");
    browser.click_text("msg_dead");
    browser.until("location.pathname.endsWith('/msg_dead')");
    browser.until_text("\"name\": \"Which one?\"");
    let headers = browser.eval("document.body.innerText.match(/webhook-signature\\s+(\\S+)/)[1]");
    assert_eq!(headers, "hidden");
    let finished = "[...document.querySelectorAll('dt')].find((one) => one.innerText === 'Finished')?.nextElementSibling.querySelector('time').dateTime";
    let first = browser.eval(finished);
    browser.click_text("Replay");
    // It fails again, at another time.
    browser.until(&format!("({finished}) && ({finished}) !== {first}"));
    browser.until_text("Replayed");
    browser.go(&desk.page("deliveries"));
    browser.click_text("Replay all dead letters");
    browser.until_text("dead letter");

    // What is not genuine is not stored, and still told of.
    assert!(!send("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").status.success());
    browser.go(&desk.page("deliveries"));
    browser.until_text("the signature is by another secret");
    calm(&mut browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_titles_are_text() {
    let desk = Desk::ready(20).await;
    let Some(mut browser) = Browser::launch() else { return };
    let titles = [
        "<script>window.hit = 1</script>",
        "\"><img src=x onerror=\"window.hit = 2\">",
        "</title></style><svg onload=window.hit=3>",
        "'; window.hit = 4; //{{7*7}}${7*7}",
    ];
    let ids: Vec<String> = titles.iter().map(|title| desk.declare(title)).collect();
    browser.go(&desk.page("incidents"));
    for title in titles {
        browser.until_text(title);
    }
    for (id, title) in ids.iter().zip(titles) {
        browser.go(&desk.page(&format!("incidents/{id}")));
        assert_eq!(browser.text("h1"), title);
    }
    browser.go(&desk.page("mttr"));
    browser.until_text(titles[0]);
    browser.go(&desk
        .page("incidents?text=%3Cscript%3Ewindow.hit%3D5%3C%2Fscript%3E&status=%22%3E%3Cimg%20src%3Dx%3E"));
    browser.until_text("Nothing matches");
    assert_eq!(browser.eval("window.hit ?? null"), Value::Null);
    assert_eq!(browser.eval("document.querySelectorAll('main img, main script').length"), 0);
    calm(&mut browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_by_the_keyboard() {
    let desk = Desk::ready(20).await;
    let Some(mut browser) = Browser::launch() else { return };
    browser.go(&desk.page("incidents"));
    browser.press("Tab");
    assert_eq!(browser.eval("document.activeElement.innerText"), "Skip to content");
    browser.press("Enter");
    browser.until("document.activeElement.id === 'main'");
    // From the first stop to the last each is seen, and has a name.
    browser.reload();
    let stops = browser.eval("[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex=\"0\"]')].filter((one) => one.checkVisibility()).length");
    let mut seen = Vec::new();
    for _ in 0..stops.as_u64().unwrap() + 20 {
        browser.press("Tab");
        let at = browser.eval(
            "{ const one = document.activeElement; const style = getComputedStyle(one); [one.tagName, \
             (one.innerText || one.labels?.[0]?.innerText || one.ariaLabel || '').trim(), style.outlineStyle] }",
        );
        if at[0] == "BODY" {
            break;
        }
        assert_ne!(at[1], "", "{at} has a name");
        assert_ne!(at[2], "none", "{at} shows that it has the focus");
        seen.push(at[1].as_str().unwrap().to_owned());
    }
    for name in ["DORA MTTR", "Settings", "Download CSV", "Filter", "Duration"] {
        assert!(seen.iter().any(|seen| seen.starts_with(name)), "{name} is not among {seen:?}");
    }
    // A row is opened without a mouse.
    let first = "[...document.querySelectorAll('tbody th a')][0]";
    browser.eval(&format!("{first}.focus()"));
    browser.press("Enter");
    browser.until("location.pathname.includes('/incidents/')");
    calm(&mut browser);
}

/// Pages, by the name of their pictures.
fn pages(desk: &Desk) -> Vec<(&'static str, String)> {
    let list = desk.json("incidents --db k.db --org acme --phase closed --limit 1 --json");
    let reference = list["incidents"][0]["reference"].as_str().unwrap().to_owned();
    let delivery = desk.json("deliveries --db k.db --org acme --json");
    let delivery = delivery["deliveries"][0]["id"].as_str().unwrap().to_owned();
    vec![
        ("connect", format!("{}/connect", desk.url())),
        ("settings", desk.page("settings")),
        ("incidents", desk.page("incidents")),
        ("incident", desk.page(&format!("incidents/{reference}"))),
        ("mttr", desk.page("mttr")),
        ("migration", desk.page("migration")),
        ("deliveries", desk.page("deliveries")),
        ("delivery", desk.page(&format!("deliveries/{delivery}"))),
        ("host", format!("{}/host", desk.url())),
        ("error", desk.page("incidents/INC-999999")),
    ]
}

/// Each page at two widths, light and dark: nothing sticks out, and axe finds nothing serious. With `KOALR_PICTURES` it
/// also leaves pictures in that directory.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_whole_at_any_width_light_and_dark_and_accessible() {
    let desk = Desk::ready(300).await;
    let Some(mut browser) = Browser::launch() else { return };
    for title in ["Checkout answers 502 for one request in three", "Search is slow in eu-west-1"] {
        desk.declare(title);
    }
    desk.simulator.settle().await;
    let pictures = std::env::var_os("KOALR_PICTURES").map(PathBuf::from);
    let axe = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/axe/axe.min.js"),
    )
    .unwrap();
    browser.go(&desk.page("migration"));
    browser.fill("[name=key]", "opsgenie-key-of-a-test");
    browser.click_text("Plan");
    browser.until_text("2. Plan");
    for (name, url) in pages(&desk) {
        for (width, height) in [(360, 740), (1_600, 1_000)] {
            for dark in [false, true] {
                browser.look_through(width, height, dark);
                browser.go(&url);
                let over = browser.eval(
                    "document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('main *')] \
                     .filter((one) => one.getBoundingClientRect().right > innerWidth && !one.closest('.scroll, .chart')) \
                     .map((one) => one.outerHTML.slice(0, 120))",
                );
                assert_eq!(over, serde_json::json!([]), "{name} is wider than {width} pixels");
                browser.eval(&format!("{{ {axe}\n }}"));
                let found = browser.eval(
                    "axe.run().then((found) => found.violations.filter((one) => ['serious', 'critical'].includes(one.impact)) \
                     .map((one) => one.id + ': ' + one.nodes.map((node) => node.html).join(' | ')))",
                );
                assert_eq!(found, serde_json::json!([]), "{name} at {width}, dark: {dark}");
                if let Some(directory) = &pictures {
                    let scheme = if dark { "dark" } else { "light" };
                    let file = directory.join(format!("{name}-{width}-{scheme}.png"));
                    std::fs::write(file, browser.picture()).unwrap();
                }
            }
        }
        let problems = browser.problems();
        // A page that says that there is no such thing is no success by its status.
        assert_eq!(problems.len(), if name == "error" { 4 } else { 0 }, "{name}: {problems:?}");
    }
}

/// Beyond loopback nobody looks without the token, and nobody signs in with another.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_a_token_is_asked_for() {
    let mut desk = Desk::new(1).await;
    let serving = Serving::start(desk.command("serve --db k.db --listen 0.0.0.0:0"));
    let port = serving.url.rsplit_once(':').unwrap().1.to_owned();
    let status = reqwest::get(format!("http://127.0.0.1:{port}/host")).await.unwrap().status();
    assert_eq!(status, 404);
    let said = text(&serving.end());
    assert!(said.contains("no console"), "{said}");

    let mut command = desk.command("serve --db k.db --listen 127.0.0.1:0 --console-token-env TOKEN");
    command.env("TOKEN", "the-token-of-a-test");
    desk.server = Some(Serving::start(command));
    let url = desk.url();
    let Some(mut browser) = Browser::launch() else { return };
    browser.go(&format!("{url}/host"));
    browser.until("location.pathname === '/sign-in'");
    browser.fill("[name=token]", "another");
    browser.click_text("Sign in");
    browser.until_text("This is not the token.");
    assert_eq!(browser.problems().len(), 1);
    browser.fill("[name=token]", "the-token-of-a-test");
    browser.click_text("Sign in");
    browser.until("location.pathname === '/connect'");
    browser.click_text("Sign out");
    browser.until("location.pathname === '/sign-in'");
    browser.go(&format!("{url}/host"));
    browser.until("location.pathname === '/sign-in'");
    calm(&mut browser);
}
