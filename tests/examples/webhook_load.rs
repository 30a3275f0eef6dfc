//! How fast a running `serve` takes webhooks and applies them: real processes, real HTTP on loopback, SQLite with its
//! sync at every acknowledgement.
//!
//! `webhook_load HARNESS COMPONENT DIRECTORY burst|paced SECONDS [RATE]`. The sender shares the machine with the server;
//! its share of the processor is measured and printed with the result.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use koalr_host::contract::Settings;
use koalr_host::port::{Inbox, OriginMapping};
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{Keyring, Secret};
use koalr_host::{Connect, Host};
use koalr_simulator::{Options, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ORGANISATIONS: usize = 64;
const CONNECTIONS: usize = 256;
/// Incidents of each organisation that are updated again and again.
const INCIDENTS: u64 = 200;
const KIND: &str = "public_incident.incident_updated_v2";

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

fn serve(harness: &str, database: &str) -> Server {
    let mut child = Command::new(harness)
        .args(["serve", "--db", database, "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split(':').take(2).collect::<Vec<_>>().join(":");
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::stderr()));
    Server { child, address }
}

/// Processor time of a process so far, and its resident bytes.
fn usage(process: u32) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    (Duration::from_millis(ticks * 10), fields[21].parse::<u64>().unwrap() * 4_096)
}

struct Sender {
    address: String,
    /// The body around what changes from one delivery to the next.
    template: Arc<[String; 3]>,
    number: usize,
    sent: u64,
    stream: TcpStream,
}

impl Sender {
    async fn new(address: &str, template: Arc<[String; 3]>, number: usize) -> Sender {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Sender { address: address.to_string(), template, number, sent: 0, stream }
    }

    /// One delivery, and the status that it was answered with.
    async fn send(&mut self) -> u16 {
        self.sent += 1;
        let now = Utc::now();
        let org = (self.number + self.sent as usize) % ORGANISATIONS;
        let id = format!("msg_{}_{}", self.number, self.sent);
        let incident = format!("01INC{:04}", (self.sent * 7 + self.number as u64) % INCIDENTS);
        let [a, b, c] = &*self.template;
        let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = format!("{a}{incident}{b}{at}{c}");
        let signature = koalr_simulator::sign(SECRET, &id, now.timestamp(), body.as_bytes()).unwrap();
        let request = format!(
            "POST /webhooks/incidentio/org-{org} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {}\r\nwebhook-signature: {signature}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            now.timestamp(),
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::with_capacity(512);
        loop {
            self.stream.read_buf(&mut answer).await.unwrap();
            if answer.ends_with(b"\r\n\r\n") || (answer.len() > 12 && !answer.starts_with(b"HTTP/1.1 204")) {
                return std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
            }
        }
    }
}

async fn prepare(directory: &str, component: &[u8], simulator: &Simulator) {
    let path = std::path::Path::new(directory).join("load.db");
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let keys = Keyring::load_or_create(&path.with_extension("db.key")).unwrap();
    let host = Host::builder(store, keys).allow(["https://api.incident.io"]).load(component).await.unwrap();
    for number in 0..ORGANISATIONS {
        let connect = Connect {
            credentials: vec![("api-key".into(), Secret::new("inc_load".into()))],
            secrets: vec![("webhook-secret".into(), vec![Secret::new(SECRET.into())])],
            settings: Settings {
                severity_overrides: vec![],
                service_fields: vec![],
                include_private: true,
                history_days: None,
            },
            origin_map: vec![OriginMapping {
                from: "https://api.incident.io".into(),
                to: simulator.base_url(),
            }],
        };
        host.connect(&format!("org-{number}").parse().unwrap(), connect).await.unwrap();
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [harness, component, directory, what, seconds, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: webhook_load HARNESS COMPONENT DIRECTORY burst|paced SECONDS [RATE]");
        std::process::exit(2);
    };
    let seconds = Duration::from_secs(seconds.parse().unwrap());
    let rate: Option<f64> = (what == "paced").then(|| rest[0].parse().unwrap());
    let mut options = Options::new(3, 1, Utc::now());
    options.limits = None;
    let simulator = Simulator::start(options).await.unwrap();
    prepare(directory, &std::fs::read(component).unwrap(), &simulator).await;
    let mut incident = simulator.raw_incident(&simulator.incident_ids()[0]).unwrap();
    incident["visibility"] = "public".into();
    (incident["id"], incident["updated_at"]) = ("<ID>".into(), "<AT>".into());
    let summary = "x".repeat(4_000_usize.saturating_sub(incident.to_string().len()));
    incident["summary"] = summary.into();
    let body = serde_json::json!({ "event_type": KIND, KIND: incident }).to_string();
    let (first, rest) = body.split_once("<ID>").unwrap();
    let (second, third) = rest.split_once("<AT>").unwrap();
    let template = Arc::new([first.to_string(), second.to_string(), third.to_string()]);

    let database = format!("{directory}/load.db");
    let server = serve(harness, &database);
    let store = SqliteStore::open(&database).unwrap();
    // Its own imports first.
    tokio::time::sleep(Duration::from_secs(5)).await;

    let (own, pid) = (std::process::id(), server.child.id());
    let (used, used_here) = (usage(pid).0, usage(own).0);
    let began = Instant::now();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let (address, template) = (server.address.clone(), Arc::clone(&template));
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let mut sender = Sender::new(&address, template, number).await;
                let (mut waits, mut refused) = (Vec::new(), 0_u64);
                let pause = rate.map(|rate| Duration::from_secs_f64(CONNECTIONS as f64 / rate));
                let mut due =
                    Instant::now() + pause.unwrap_or_default().mul_f64(number as f64 / CONNECTIONS as f64);
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
    let mut peak = 0;
    while began.elapsed() < seconds {
        tokio::time::sleep(Duration::from_secs(1).min(seconds)).await;
        let resident = usage(pid).1;
        peak = peak.max(resident);
        let every = (seconds.as_secs() / 10).max(1);
        if began.elapsed().as_secs().is_multiple_of(every) {
            let depth = store.depth().await.unwrap();
            eprintln!(
                "{:>4} s: {} acknowledged, {} wait, {} MB",
                began.elapsed().as_secs(),
                acknowledged.load(Ordering::Relaxed),
                depth.pending,
                resident >> 20
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
    let waiting = store.depth().await.unwrap();
    let total = acknowledged.load(Ordering::Relaxed);
    waits.sort_unstable();
    let quantile = |q: f64| f64::from(waits[((waits.len() - 1) as f64 * q) as usize]) / 1_000.0;
    println!(
        "| {what} | {:.0} acknowledged/s | {:.0} applied/s meanwhile | {refused} refused | p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms | peak {} MB | server {:.2}, sender {:.2} of 2 cores |",
        total as f64 / took,
        (total - waiting.pending) as f64 / took,
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        peak >> 20,
        busy.as_secs_f64() / took,
        busy_here.as_secs_f64() / took
    );
    let began = Instant::now();
    while store.depth().await.unwrap().pending > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "the {} that waited were applied in {took:.1} s: {:.0}/s",
        waiting.pending,
        waiting.pending as f64 / took.max(0.2)
    );
}
