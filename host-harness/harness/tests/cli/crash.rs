//! Kills at any moment: what was acknowledged is applied, once, whatever the process was doing when it ended.
//!
//! A driver sends webhooks without a pause to a server that is killed again and again, while it starts, imports
//! history, polls and applies, and while another process imports from Opsgenie into the same file, which is killed
//! as well. The truth is the driver's own: what it was answered 2xx for. Half of its incidents exist in no API, so
//! that nothing but their webhooks can bring them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koalr_simulator::{Effect, Fault};
use serde_json::json;

use super::*;

/// Between moments, so that a wait is not a busy one.
const MOMENT: Duration = Duration::from_millis(20);
const SENDERS: usize = 4;
const GHOSTS: usize = 6;
const MIGRATED: usize = 3_000;

/// What the driver knows, and what the server does not forget.
#[derive(Default)]
struct Truth {
    /// Ids of acknowledged deliveries.
    acknowledged: Mutex<BTreeSet<String>>,
    /// By incident that no API knows: the newest version that was acknowledged.
    ghosts: Mutex<BTreeMap<String, u64>>,
    sent: AtomicU64,
    over: AtomicBool,
}

struct Driver {
    simulator: Simulator,
    /// Where the server listens now.
    url: Arc<Mutex<String>>,
    truth: Truth,
}

impl Driver {
    /// Sends until the storm is over. Each delivery is sent until it is acknowledged, as the provider would.
    async fn send(&self, sender: usize) {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        let own: Vec<String> =
            self.simulator.incident_ids().into_iter().skip(sender).step_by(SENDERS).collect();
        let mut version = 0;
        while !self.truth.over.load(Ordering::SeqCst) {
            version += 1;
            let at = Utc::now();
            let ghost = version % 2 == 0;
            let known = &own[version as usize % own.len()];
            let change = Change { message: Some(format!("Update {version}")), ..Change::default() };
            self.simulator.update(known, change, at).unwrap();
            let mut incident = self.simulator.raw_incident(known).unwrap();
            let mut id = known.clone();
            if ghost {
                id = format!("01GHOST{sender}{}", version as usize % GHOSTS);
                incident["id"] = id.as_str().into();
                incident["reference"] = format!("GH-{sender}{}", version as usize % GHOSTS).into();
                incident["visibility"] = "public".into();
                incident["name"] = format!("Version {version}").into();
                incident["updated_at"] = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into();
            }
            let kind = "public_incident.incident_updated_v2";
            let body = json!({ "event_type": kind, kind: incident }).to_string();
            let message = format!("msg_{sender}_{version}");
            while !self.is_acknowledged(&client, &message, &body).await {
                if self.truth.over.load(Ordering::SeqCst) {
                    return;
                }
                tokio::time::sleep(MOMENT).await;
            }
            self.truth.acknowledged.lock().unwrap().insert(message);
            self.truth.sent.fetch_add(1, Ordering::SeqCst);
            if ghost {
                self.truth.ghosts.lock().unwrap().insert(id, version);
            }
        }
    }

    async fn is_acknowledged(&self, client: &reqwest::Client, message: &str, body: &str) -> bool {
        let url = self.url.lock().unwrap().clone();
        let timestamp = Utc::now().timestamp();
        let signature = koalr_simulator::sign(SECRET, message, timestamp, body.as_bytes()).unwrap();
        let post = client
            .post(format!("{url}/webhooks/incidentio/acme"))
            .header("content-type", "application/json")
            .header("webhook-id", message)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .body(body.to_string());
        post.send().await.is_ok_and(|answer| answer.status().is_success())
    }
}

/// A server that tells its address once it has one.
fn serve(desk: &Desk, url: &Arc<Mutex<String>>) -> Child {
    let mut child = desk.command("serve --db k.db --listen 127.0.0.1:0").spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let url = Arc::clone(url);
    std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            // Other lines name addresses, too.
            if let Some(address) = line.strip_prefix("Serving on ").and_then(|line| line.split(": ").next()) {
                *url.lock().unwrap() = address.to_string();
            }
        }
    });
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Asks again until another process's lease has run out.
async fn finished(desk: &Desk, line: &str) -> Value {
    for _ in 0..600 {
        let output = desk.run(line).await;
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        let said = text(&output.stderr);
        assert!(said.contains("half a minute"), "{line}: {said}");
        tokio::time::sleep(10 * MOMENT).await;
    }
    panic!("{line} does not come to its end");
}

/// Incidents and timelines of an organisation as the harness shows them.
async fn shown(desk: &Desk, org: &str, keep: impl Fn(&Value) -> bool) -> Vec<Value> {
    let list = desk.json(&format!("incidents --db k.db --org {org} --json")).await;
    let mut shown = Vec::new();
    for incident in list["incidents"].as_array().unwrap().iter().filter(|incident| keep(incident)) {
        let id = incident["id"].as_str().unwrap();
        let mut whole = desk.json(&format!("incident --db k.db --org {org} {id} --json")).await;
        whole["organisation"] = Value::Null;
        shown.push(whole);
    }
    shown
}

async fn storm(kills: u32, seed: u64) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let desk = Desk::new();
    let rows = (0..MIGRATED).map(|n| {
        format!("o-{n},2025-03-01T10:{:02}:00Z,closed,Old {n},2025-03-01T11:{:02}:00Z\n", n % 60, n % 60)
    });
    let csv = format!("id,created at,status,title,resolved at\n{}", rows.collect::<String>());
    std::fs::write(desk.path("old.csv"), csv).unwrap();
    let migrate = "migrate opsgenie run old.csv --db k.db --org acme --json";

    let simulator = account(400).await;
    desk.connect(&simulator).await;
    // Asked for what it does not know, the provider fails: "no such incident" would be believed.
    let fails = Effect::Status { status: 500, body: Value::Null };
    simulator.inject(Fault::new("/v2/incidents/01GHOST", u32::MAX, fails));
    let driver =
        Arc::new(Driver { simulator, url: Arc::new(Mutex::new(String::new())), truth: Truth::default() });
    let sending: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let driver = Arc::clone(&driver);
            tokio::spawn(async move { driver.send(sender).await })
        })
        .collect();
    for number in 0..kills {
        // A new organisation each time, so that an import of history is always under way.
        let map = format!("https://api.incident.io={}", driver.simulator.base_url());
        let org = format!("org-{}", number % 8);
        desk.json(&format!("connect --db k.db --org {org} --api-key-env API_KEY --json --map-origin {map}"))
            .await;
        let server = serve(&desk, &driver.url);
        let migrating = (number % 3 == 2).then(|| desk.command(migrate).spawn().unwrap());
        // From while it starts to while it works.
        let until = Duration::from_millis(chance.u64(1..if number % 4 == 0 { 150 } else { 1_200 }));
        tokio::time::sleep(until).await;
        kill(server);
        if let Some(migrating) = migrating {
            kill(migrating);
        }
    }

    let server = serve(&desk, &driver.url);
    let before = driver.truth.sent.load(Ordering::SeqCst);
    for _ in 0..6_000 {
        if driver.truth.sent.load(Ordering::SeqCst) > before {
            break;
        }
        tokio::time::sleep(MOMENT).await;
    }
    assert!(driver.truth.sent.load(Ordering::SeqCst) > before, "nothing is acknowledged any more");
    driver.truth.over.store(true, Ordering::SeqCst);
    for sending in sending {
        sending.await.unwrap();
    }
    let mut pending = vec![Value::Null];
    for _ in 0..600 {
        let list = desk.json("deliveries --db k.db --org acme --state pending --json").await;
        pending = list["deliveries"].as_array().unwrap().clone();
        if pending.is_empty() {
            break;
        }
        tokio::time::sleep(10 * MOMENT).await;
    }
    assert!(pending.is_empty(), "{} wait, one is {}", pending.len(), pending[0]);
    // Asked to stop, it ends well.
    let stop = Command::new("kill").arg("-TERM").arg(server.id().to_string()).status().unwrap();
    assert!(stop.success());
    let output = server.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));

    // No acknowledged delivery is missing, and every one that is stored was applied.
    let list = desk.json("deliveries --db k.db --org acme --json").await;
    let rows = list["deliveries"].as_array().unwrap();
    let done: BTreeSet<&str> =
        rows.iter().filter(|row| row["state"] == "done").map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(done.len(), rows.len(), "none is dead");
    let acknowledged = driver.truth.acknowledged.lock().unwrap().clone();
    let missing: Vec<_> = acknowledged.iter().filter(|id| !done.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {}", acknowledged.len());
    assert!(acknowledged.len() > 10 * kills as usize, "{}", acknowledged.len());
    let is_ghost = |incident: &Value| incident["id"].as_str().unwrap().starts_with("01GHOST");
    for ghost in shown(&desk, "acme", is_ghost).await {
        let id = ghost["incident"]["id"].as_str().unwrap();
        let title = ghost["incident"]["title"].as_str().unwrap();
        let shown: u64 = title.strip_prefix("Version ").unwrap().parse().unwrap();
        let newest = driver.truth.ghosts.lock().unwrap().remove(id).unwrap_or_default();
        // Stored and not acknowledged, the one that was on its way may count as well.
        assert!(shown >= newest, "{id} is at {shown}, and {newest} was acknowledged");
    }
    assert!(driver.truth.ghosts.lock().unwrap().is_empty(), "an acknowledged incident is missing");

    // Everything else ends as if nothing had happened.
    finished(&desk, migrate).await;
    finished(&desk, "backfill --db k.db --org acme --json").await;
    // The first goes on with the pass that was cut off; what changed since that began is the next one's.
    for _ in 0..2 {
        finished(&desk, "poll --db k.db --org acme --json").await;
    }
    let map = format!("https://api.incident.io={}", driver.simulator.base_url());
    desk.json(&format!("connect --db k.db --org clean --api-key-env API_KEY --json --map-origin {map}"))
        .await;
    desk.json("backfill --db k.db --org clean --json").await;
    desk.json("poll --db k.db --org clean --json").await;
    let ours = |incident: &Value| incident["source"] == "incidentio" && !is_ghost(incident);
    // As many as one process each is affordable for.
    let some = |incident: &Value| ours(incident) && incident["reference"].as_str().unwrap().ends_with('7');
    let clean = shown(&desk, "clean", some).await;
    assert!(clean.len() > 20, "{}", clean.len());
    for (ours, clean) in shown(&desk, "acme", some).await.iter().zip(&clean) {
        assert_eq!(ours, clean);
    }
    let all = async |org: &str| {
        let list = desk.json(&format!("incidents --db k.db --org {org} --json")).await;
        list["incidents"].as_array().unwrap().iter().filter(|one| ours(one)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(all("acme").await, all("clean").await);
    let everything = desk.json("incidents --db k.db --org acme --json").await;
    let migrated = everything["incidents"].as_array().unwrap().iter();
    assert_eq!(migrated.filter(|incident| incident["source"] == "opsgenie").count(), MIGRATED);

    let database = rusqlite::Connection::open(desk.path("k.db")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let broken = database.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
    assert!(!broken, "a reference leads nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills() {
    storm(9, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo xtask soak"]
async fn what_was_acknowledged_survives_a_hundred_kills() {
    storm(120, 2).await;
}
