//! How fast a server takes webhooks, and applies them: real processes, real HTTP on loopback.
//!
//! ```text
//! webhook_load --name NAME --seconds N [--rate N] [--organisations N] [--database FILE] -- SERVER…
//! ```
//!
//! The server says `http://ADDRESS:PORT: …` on the first line of its standard error. With a database,
//! it is the harness: its organisations are connected first, and what waits to be applied is read meanwhile. Without,
//! it is anything that answers 204. The sender shares the machine with the server; its share of the processor is told
//! with the result.
//!
//! With a rate the load is open: each webhook has its time, whatever became of the one before, and is measured from
//! that time on. Without, it is closed: each connection sends the next as soon as the last is answered.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark may")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use koalr_host::contract::Settings;
use koalr_host::id::OrgId;
use koalr_host::port::{Inbox, Organisation, OrganisationState, Organisations, OriginMapping};
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{Keyring, Secret, Vault};
use koalr_simulator::{Options, Simulator};
use koalr_tests::{figure, usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const CONNECTIONS: usize = 512;
/// Incidents of each organisation that are updated again and again.
const INCIDENTS: u64 = 200;
const KIND: &str = "public_incident.incident_updated_v2";
/// What a delivery's body has at least.
const BODY: usize = 4_000;

struct Arguments {
    name: String,
    seconds: Duration,
    rate: Option<f64>,
    organisations: usize,
    harness: Option<PathBuf>,
    server: Vec<String>,
}

fn arguments() -> Arguments {
    let mut given = std::env::args().skip(1);
    let mut of = Arguments {
        name: String::new(),
        seconds: Duration::from_secs(10),
        rate: None,
        organisations: 64,
        harness: None,
        server: vec![],
    };
    while let Some(option) = given.next() {
        let mut value = || given.next().unwrap_or_else(|| panic!("{option} needs a value"));
        match option.as_str() {
            "--name" => of.name = value(),
            "--seconds" => of.seconds = Duration::from_secs(value().parse().unwrap()),
            "--rate" => of.rate = Some(value().parse().unwrap()),
            "--organisations" => of.organisations = value().parse().unwrap(),
            "--database" => of.harness = Some(value().into()),
            "--" => break,
            other => panic!("there is no option {other}"),
        }
    }
    of.server = given.collect();
    of
}

/// A server that ends with its owner.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(command: &[String]) -> Server {
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .env("WEBHOOK_SECRET", SECRET)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap_or_else(|| panic!("the server said: {line}"));
    let address = address.split(':').take(2).collect::<Vec<_>>().join(":").trim().to_owned();
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::stderr()));
    Server { child, address }
}

struct Sender {
    address: String,
    /// The body around what changes from one delivery to the next.
    template: Arc<[String; 3]>,
    organisations: usize,
    number: usize,
    sent: u64,
    stream: TcpStream,
    request: Vec<u8>,
    body: Vec<u8>,
    answer: Vec<u8>,
}

impl Sender {
    async fn new(address: &str, template: Arc<[String; 3]>, organisations: usize, number: usize) -> Sender {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let address = address.to_string();
        let (request, body, answer) = (Vec::new(), Vec::new(), Vec::new());
        Sender { address, template, organisations, number, sent: 0, stream, request, body, answer }
    }

    /// One delivery, and the status that it was answered with.
    async fn send(&mut self) -> u16 {
        use std::io::Write;
        self.sent += 1;
        let now = Utc::now();
        let org = (self.number + self.sent as usize * 61) % self.organisations;
        let id = format!("msg_{}_{}", self.number, self.sent);
        let incident = (self.sent * 7 + self.number as u64) % INCIDENTS;
        let [a, b, c] = &*self.template;
        self.body.clear();
        let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        write!(self.body, "{a}01INC{incident:04}{b}{at}{c}").unwrap();
        let signature = koalr_simulator::sign(SECRET, &id, now.timestamp(), &self.body).unwrap();
        self.request.clear();
        write!(
            self.request,
            "POST /webhooks/incidentio/org-{org} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {}\r\nwebhook-signature: {signature}\r\n\
             content-length: {}\r\n\r\n",
            self.address,
            now.timestamp(),
            self.body.len()
        )
        .unwrap();
        self.request.extend_from_slice(&self.body);
        self.stream.write_all(&self.request).await.unwrap();
        self.answer.clear();
        loop {
            self.stream.read_buf(&mut self.answer).await.unwrap();
            let answer = &self.answer;
            if answer.ends_with(b"\r\n\r\n") || (answer.len() > 12 && !answer.starts_with(b"HTTP/1.1 204")) {
                return std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
            }
        }
    }
}

/// Connected organisations, without their imports: what is measured is the way of webhooks.
async fn prepare(database: &Path, organisations: usize, simulator: &Simulator) {
    let store = Arc::new(SqliteStore::open(database).unwrap());
    let keys = Keyring::load_or_create(&database.with_extension("db.key")).unwrap();
    let vault = Vault::new(keys, store.clone());
    let settings = Settings {
        severity_overrides: vec![],
        service_fields: vec![],
        include_private: true,
        history_days: None,
    };
    let to = simulator.base_url();
    let origin_map = vec![OriginMapping { from: "https://api.incident.io".into(), to }];
    let now = Utc::now().timestamp_micros();
    let mut all = tokio::task::JoinSet::new();
    for number in 0..organisations {
        let id: OrgId = format!("org-{number}").parse().unwrap();
        let (store, vault) = (store.clone(), vault.clone());
        let organisation = Organisation {
            id: id.clone(),
            state: OrganisationState::Live,
            connection: None,
            settings: settings.clone(),
            origin_map: origin_map.clone(),
            created_at: now,
            connected_at: Some(now),
        };
        all.spawn(async move {
            store.put_organisation(&organisation).await.unwrap();
            vault.put(&id, "api-key", &[Secret::new("inc_load".into())]).await.unwrap();
            vault.put(&id, "webhook-secret", &[Secret::new(SECRET.into())]).await.unwrap();
        });
    }
    all.join_all().await;
}

/// A delivery of an incident with text like real ones, cut where its identifier and its version are.
fn template(simulator: &Simulator) -> [String; 3] {
    let mut incident = simulator.raw_incident(&simulator.incident_ids()[0]).unwrap();
    incident["visibility"] = "public".into();
    (incident["id"], incident["updated_at"]) = ("<ID>".into(), "<AT>".into());
    let mut draw = fastrand::Rng::with_seed(11);
    let words = [
        "checkout", "latency", "rose", "after", "the", "deploy", "of", "service", "to", "region", "and",
        "recovers",
    ];
    let mut summary = String::new();
    while incident.to_string().len() + summary.len() < BODY {
        summary.push_str(draw.choice(words).unwrap_or_default());
        summary.push_str(&format!(" {:x} ", draw.u16(..)));
    }
    incident["summary"] = summary.into();
    let body = serde_json::json!({ "event_type": KIND, KIND: incident }).to_string();
    let (first, rest) = body.split_once("<ID>").unwrap();
    let (second, third) = rest.split_once("<AT>").unwrap();
    [first, second, third].map(str::to_owned)
}

#[tokio::main]
async fn main() {
    let of = arguments();
    let mut options = Options::new(3, 1, Utc::now());
    options.limits = None;
    let simulator = Simulator::start(options).await.unwrap();
    if let Some(database) = &of.harness {
        prepare(database, of.organisations, &simulator).await;
    }
    let template = Arc::new(template(&simulator));
    let server = serve(&of.server);
    let store = of.harness.as_ref().map(|database| SqliteStore::open(database).unwrap());
    let waiting = async || match &store {
        Some(store) => store.depth().await.unwrap().pending,
        None => 0,
    };
    // One of each first: code is loaded, organisations are known.
    let mut first = Sender::new(&server.address, Arc::clone(&template), of.organisations, CONNECTIONS).await;
    for _ in 0..of.organisations.min(256) {
        assert_eq!(first.send().await, 204, "the server does not take webhooks");
    }
    while waiting().await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let (own, pid) = (std::process::id(), server.child.id());
    let (used, used_here) = (usage(pid).0, usage(own).0);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut connected = Vec::new();
    for number in 0..CONNECTIONS {
        connected.push(Sender::new(&server.address, Arc::clone(&template), of.organisations, number).await);
    }
    let (began, seconds, rate) = (Instant::now(), of.seconds, of.rate);
    let senders: Vec<_> = connected
        .into_iter()
        .map(|mut sender| {
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let (mut waits, mut refused) = (Vec::new(), 0_u64);
                let pause = rate.map(|rate| Duration::from_secs_f64(CONNECTIONS as f64 / rate));
                let share = sender.number as f64 / CONNECTIONS as f64;
                let mut due = began + pause.unwrap_or_default().mul_f64(share);
                while began.elapsed() < seconds {
                    let mut from = Instant::now();
                    if let Some(pause) = pause {
                        tokio::time::sleep_until(due.into()).await;
                        // From when it was due: a slow answer delays the next, and that counts.
                        from = due;
                        due += pause;
                    }
                    if sender.send().await == 204 {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    } else {
                        refused += 1;
                    }
                    waits.push(u32::try_from(from.elapsed().as_micros()).unwrap());
                }
                (waits, refused)
            })
        })
        .collect();
    let mut resident = Vec::new();
    while began.elapsed() < seconds {
        tokio::time::sleep(Duration::from_secs(1).min(seconds)).await;
        resident.push(usage(pid).1 as f64 / 1e6);
        let every = (seconds.as_secs() / 10).max(1);
        if began.elapsed().as_secs().is_multiple_of(every) {
            let (at, done) = (began.elapsed().as_secs(), acknowledged.load(Ordering::Relaxed));
            let memory = resident.last().copied().unwrap_or_default();
            eprintln!(
                "{}: {at:>4} s: {done} acknowledged, {} wait, {memory:.0} MB",
                of.name,
                waiting().await
            );
        }
    }
    let (mut waits, mut refused) = (Vec::new(), 0);
    for sender in senders {
        let (these, those) = sender.await.unwrap();
        waits.extend(these);
        refused += those;
    }
    let took = began.elapsed().as_secs_f64();
    let (busy, busy_here) = (usage(pid).0 - used, usage(own).0 - used_here);
    let left = waiting().await;
    let total = acknowledged.load(Ordering::Relaxed);
    waits.sort_unstable();
    let quantile = |q: f64| f64::from(waits[((waits.len() - 1) as f64 * q) as usize]) / 1_000.0;
    let name = |what: &str| format!("{}: {what}", of.name);
    figure(&name("acknowledged"), "/s", &[total as f64 / took]);
    figure(&name("refused"), "", &[refused as f64]);
    for (what, q) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)] {
        figure(&name(what), "ms", &[quantile(q)]);
    }
    figure(&name("memory"), "MB", &resident);
    figure(&name("processors, server"), "", &[busy.as_secs_f64() / took]);
    figure(&name("processors, sender"), "", &[busy_here.as_secs_f64() / took]);
    if store.is_some() {
        figure(&name("applied meanwhile"), "/s", &[(total.saturating_sub(left)) as f64 / took]);
        while waiting().await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        figure(
            &name("acknowledged and applied, all in all"),
            "/s",
            &[total as f64 / began.elapsed().as_secs_f64()],
        );
        if left > 1_000 {
            let drained = began.elapsed().as_secs_f64() - took;
            figure(&name("what waited, applied"), "/s", &[left as f64 / drained]);
        }
    }
}
