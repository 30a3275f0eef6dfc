//! How fast a server takes webhooks, and applies them: real processes, real HTTP on loopback.
//!
//! The sender shares the machine with the server; its share of the processors is told with the result. With a rate the
//! load is open: each webhook has its time, whatever became of the one before, and is measured from that time on.
//! Without, it is closed: each connection sends the next as soon as the last is answered.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use koalr_host::port::Inbox;
use koalr_host::sqlite::SqliteStore;
use koalr_simulator::{Options, Simulator};
use rusqlite::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::parts::Part;
use super::{Bound, Figure, Programs, SECRET, Server, connect, merged, quantile, serve, until, usage};

const CONNECTIONS: usize = 512;
/// Incidents of each organisation that are updated again and again.
const INCIDENTS: u64 = 200;
const KIND: &str = "public_incident.incident_updated_v2";
/// What a delivery's body has at least.
const BODY: usize = 4_000;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Load {
    /// What the figures are called.
    pub name: String,
    /// How long.
    pub seconds: f64,
    /// Webhooks a second; as many as are answered if none.
    pub rate: Option<f64>,
    /// To how many organisations.
    pub organisations: usize,
}

/// What takes them.
#[derive(Debug, Clone)]
pub enum Target<'a> {
    /// The harness.
    Harness(&'a Programs),
    /// Another server that answers 204 and stores nothing.
    Reading(&'a [String]),
    /// One that stores them in the harness's database, whose path it is given as its last word, and applies nothing.
    Storing(&'a [String]),
    /// The same in a database of its own making.
    Foreign(&'a [String]),
}

/// What can be asked of a server's database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Stored,
    Applied,
}

/// A connection that webhooks are sent over, one after the other.
pub struct Sender {
    address: String,
    /// The body around what changes from one delivery to the next.
    template: Arc<[String; 3]>,
    organisations: Range<usize>,
    number: usize,
    sent: u64,
    stream: TcpStream,
    request: Vec<u8>,
    body: Vec<u8>,
    answer: Vec<u8>,
}

impl Sender {
    /// To the organisations of these numbers, `org-0` and so on, and their incidents, one after the other; `number` tells
    /// where to begin.
    pub async fn new(
        address: &str,
        template: Arc<[String; 3]>,
        organisations: Range<usize>,
        number: usize,
    ) -> Sender {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let address = address.to_string();
        let (request, body, answer) = (Vec::new(), Vec::new(), Vec::new());
        Sender { address, template, organisations, number, sent: 0, stream, request, body, answer }
    }

    /// One delivery, and the status that it was answered with.
    pub async fn send(&mut self) -> u16 {
        use std::io::Write;
        self.sent += 1;
        let now = Utc::now();
        let many = self.organisations.len();
        let org = self.organisations.start + (self.number + self.sent as usize * 61) % many;
        let id = koalr_simulator::message_id(now, fastrand::u128(..));
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
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert_ne!(read, 0, "the server closed the connection");
            let answer = &self.answer;
            if answer.starts_with(b"HTTP/1.1 204") && answer.ends_with(b"\r\n\r\n") {
                return 204;
            }
            if answer.len() > 12 && !answer.starts_with(b"HTTP/1.1 204") {
                let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
                // The rest of the answer goes with the connection.
                self.stream = TcpStream::connect(&self.address).await.unwrap();
                self.stream.set_nodelay(true).unwrap();
                return status;
            }
        }
    }
}

/// A delivery like real ones, as [`Sender::new`] wants it.
pub async fn sample() -> Arc<[String; 3]> {
    let simulator = Simulator::start(Options::new(3, 1, Utc::now())).await.unwrap();
    Arc::new(template(&simulator))
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

/// Sends, and tells how it went.
pub async fn run(load: &Load, target: &Target<'_>, directory: &Path) -> Vec<Figure> {
    let mut options = Options::new(3, 1, Utc::now());
    options.limits = None;
    let simulator = Simulator::start(options).await.unwrap();
    let database = directory.join(format!("load-{}.db", fastrand::u64(..)));
    if matches!(target, Target::Harness(_) | Target::Storing(_)) {
        connect(&database, load.organisations, &simulator.base_url()).await;
    }
    let other = |words: &[String]| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    };
    let (mut command, kept) = match target {
        Target::Harness(programs) => (serve(programs, &database, &directory.join("cache")), Kept::Applied),
        Target::Reading(words) => (other(words), Kept::Nothing),
        Target::Storing(words) | Target::Foreign(words) => (other(words), Kept::Stored),
    };
    if kept == Kept::Stored {
        command.arg(&database);
    }
    let figures = send(load, command, kept, &database, template(&simulator)).await;
    for suffix in ["", "-wal", "-shm", ".key"] {
        let _ = std::fs::remove_file(PathBuf::from(format!("{}{suffix}", database.display())));
    }
    figures
}

async fn send(
    of: &Load,
    command: Command,
    kept: Kept,
    database: &Path,
    template: [String; 3],
) -> Vec<Figure> {
    let template = Arc::new(template);
    let server = Server::start(command);
    let store = (kept == Kept::Applied).then(|| SqliteStore::open(database).unwrap());
    let waiting = async || match &store {
        Some(store) => store.depth().await.unwrap().pending,
        None => 0,
    };
    let drained = async || until("all is applied", async || waiting().await == 0).await;
    // One of each first: code is loaded, organisations are known.
    let mut first =
        Sender::new(&server.address, Arc::clone(&template), 0..of.organisations, CONNECTIONS).await;
    let before = of.organisations.min(256);
    for _ in 0..before {
        assert_eq!(first.send().await, 204, "the server does not take webhooks");
    }
    drained().await;

    let (own, pid) = (std::process::id(), server.id());
    let (used, used_here) = (usage(pid).0, usage(own).0);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut connected = Vec::new();
    for number in 0..CONNECTIONS {
        connected
            .push(Sender::new(&server.address, Arc::clone(&template), 0..of.organisations, number).await);
    }
    let (began, seconds, rate) = (Instant::now(), Duration::from_secs_f64(of.seconds), of.rate);
    let senders: Vec<_> = connected
        .into_iter()
        .map(|mut sender| {
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let (mut waits, mut refused) = (Vec::new(), 0_u64);
                let pause = rate.map(|rate| Duration::from_secs_f64(CONNECTIONS as f64 / rate));
                let share = sender.number as f64 / CONNECTIONS as f64;
                let mut due = began + pause.unwrap_or_default().mul_f64(share);
                loop {
                    let mut from = Instant::now();
                    if let Some(pause) = pause {
                        tokio::time::sleep_until(due.into()).await;
                        // From when it was due: a slow answer delays the next, and that counts.
                        from = due;
                        due += pause;
                    }
                    if sender.send().await == 204 {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        waits.push(u32::try_from(from.elapsed().as_micros()).unwrap());
                    } else {
                        refused += 1;
                    }
                    if began.elapsed() >= seconds {
                        return (waits, refused);
                    }
                }
            })
        })
        .collect();
    let mut resident = Vec::new();
    while resident.is_empty() || began.elapsed() < seconds {
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
    let mut waits: Vec<f64> = waits.into_iter().map(|micros| f64::from(micros) / 1_000.0).collect();
    waits.sort_by(f64::total_cmp);
    let name = |what: &str| format!("{}: {what}", of.name);
    let mut figures = vec![
        Figure::new(name("acknowledged"), "/s", vec![total as f64 / took]),
        Figure::new(name("refused"), "", vec![refused as f64]).within(Bound::AtMost(0.0)),
    ];
    for (what, q) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)] {
        figures.push(Figure::new(name(what), "ms", vec![quantile(&waits, q)]));
    }
    figures.push(Figure::new(name("memory"), "MB", resident));
    figures.push(Figure::new(name("processors, server"), "", vec![busy.as_secs_f64() / took]));
    figures.push(Figure::new(name("processors, sender"), "", vec![busy_here.as_secs_f64() / took]));
    let acknowledged = before as u64 + total;
    match kept {
        Kept::Nothing => {}
        Kept::Stored => check_stored(database, acknowledged),
        Kept::Applied => {
            let applied = total.saturating_sub(left) as f64 / took;
            figures.push(Figure::new(name("applied meanwhile"), "/s", vec![applied]));
            drained().await;
            if left > 1_000 {
                let drained = began.elapsed().as_secs_f64() - took;
                figures.push(Figure::new(name("what waited, applied"), "/s", vec![left as f64 / drained]));
            }
            check_applied(database, acknowledged).await;
        }
    }
    figures
}

fn count(connection: &Connection, of: &str) -> u64 {
    connection.query_row(of, [], |row| row.get(0)).unwrap()
}

/// So many were acknowledged: all of them are there. One that was refused may be there in spite of that.
fn check_stored(database: &Path, acknowledged: u64) {
    let stored = count(&Connection::open(database).unwrap(), "SELECT count(*) FROM delivery");
    assert!(stored >= acknowledged, "{acknowledged} were acknowledged, {stored} are stored");
}

/// So many were acknowledged: all of them are there, and changed their incident or came after a newer version of it.
async fn check_applied(database: &Path, acknowledged: u64) {
    check_stored(database, acknowledged);
    let connection = Connection::open(database).unwrap();
    // What became of a delivery is noted a little after it is done.
    let unnoted = "SELECT count(*) FROM delivery WHERE state = 3 AND outcome IS NULL";
    until("what became of all is noted", async || count(&connection, unnoted) == 0).await;
    let applied = "state = 3 AND outcome IN ('created', 'updated', 'resolved', 'unchanged', 'stale')";
    let applied = count(&connection, &format!("SELECT count(*) FROM delivery WHERE {applied}"));
    assert_eq!(applied, count(&connection, "SELECT count(*) FROM delivery"), "some were not applied");
    let told = count(&connection, "SELECT count(*) FROM (SELECT DISTINCT org, incident FROM delivery)");
    assert_eq!(count(&connection, "SELECT count(*) FROM incident"), told, "incidents are missing");
}

/// How large the loads are.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Times as long as they usually take.
    pub scale: f64,
    /// How often each.
    pub runs: usize,
    /// The most organisations that any is sent to.
    pub organisations: usize,
}

/// The loads that have budgets, and what the harness is compared with. `own` begins a command of this program's that
/// serves a [`Part`]; `peer` is Node's script, if it is there.
pub async fn all(programs: &Programs, sizes: Sizes, own: &[String], peer: Option<&Path>) -> Vec<Figure> {
    let directory = tempfile::tempdir().unwrap();
    let load = |name: &str, seconds: f64, rate: Option<f64>, organisations: usize| Load {
        name: name.into(),
        seconds: seconds * sizes.scale,
        rate,
        organisations: organisations.min(sizes.organisations),
    };
    let mut loads = Vec::new();
    for (rate, seconds) in [(100.0, 10.0), (1_000.0, 20.0), (3_000.0, 10.0), (5_200.0, 40.0)] {
        loads.push(load(&format!("{rate}/s"), seconds, Some(rate), 64));
    }
    for (organisations, rate) in [(1, Some(1_000.0)), (100, None), (10_000, None)] {
        // Of one it takes a thousand a second.
        let many = if rate.is_some() { "1000/s" } else { "as many as it takes" };
        loads.push(load(&format!("{many}, organisations: {organisations}"), 10.0, rate, organisations));
    }
    loads.push(load("burst", 30.0, None, 64));
    let harness = Target::Harness(programs);
    let mut figures = Vec::new();
    for load in &loads {
        for _ in 0..sizes.runs {
            figures.extend(run(load, &harness, directory.path()).await);
        }
    }
    // Turn by turn, so that the machine's moods meet all of them.
    let mut ratios: Vec<Figure> = Vec::new();
    for _ in 0..sizes.runs {
        let taken = |figures: &[Figure]| figures[0].median();
        let beside = |name: &str| load(&format!("side by side, {name}"), 8.0, None, 64);
        let ours = run(&beside("harness"), &harness, directory.path()).await;
        let harness = taken(&ours);
        figures.extend(ours.into_iter().filter(is_compared));
        for part in Part::ALL {
            let words: Vec<String> = own.iter().cloned().chain([part.name().into()]).collect();
            let target = if part == Part::Reads { Target::Reading(&words) } else { Target::Storing(&words) };
            let theirs = run(&beside(part.server()), &target, directory.path()).await;
            ratios.push(Figure::new(
                format!("harness to {}", part.server()),
                "",
                vec![harness / taken(&theirs)],
            ));
            figures.extend(theirs.into_iter().filter(is_compared));
        }
        for mode in ["single", "grouped"] {
            let mut ratio = Vec::new();
            if let Some(script) = peer {
                let words = ["node".to_owned(), script.display().to_string(), mode.to_owned()];
                let load = beside(&format!("Node, {mode}"));
                let theirs = run(&load, &Target::Foreign(&words), directory.path()).await;
                ratio.push(harness / taken(&theirs));
                figures.extend(theirs.into_iter().filter(is_compared));
            }
            ratios.push(Figure::new(format!("harness to Node, {mode}"), "", ratio));
        }
    }
    figures.extend(ratios);
    merged(figures).into_iter().map(budgeted).collect()
}

/// Of servers that are compared: how much they took, and who was busy with it.
fn is_compared(figure: &Figure) -> bool {
    ["acknowledged", "refused", "processors, server", "processors, sender"]
        .iter()
        .any(|what| figure.name.ends_with(&format!(": {what}")))
}

/// A thousand webhooks a second for ten minutes, or a part of them.
pub async fn ten_minutes(programs: &Programs, scale: f64) -> Vec<Figure> {
    let directory = tempfile::tempdir().unwrap();
    let load = Load {
        name: "ten minutes at 1000/s".into(),
        seconds: 600.0 * scale,
        rate: Some(1_000.0),
        organisations: 64,
    };
    let figures = run(&load, &Target::Harness(programs), directory.path()).await;
    figures.into_iter().map(budgeted).collect()
}

fn budgeted(figure: Figure) -> Figure {
    match figure.name.as_str() {
        "burst: acknowledged" => figure.within(Bound::AtLeast(10_000.0)),
        "1000/s: p99" | "ten minutes at 1000/s: p99" => figure.within(Bound::AtMost(25.0)),
        "5200/s: applied meanwhile" => figure.within(Bound::AtLeast(5_000.0)),
        "harness to ceiling" => figure.within(Bound::AtLeast(0.4)),
        "harness to verified natively and stored" => figure.within(Bound::AtLeast(0.6)),
        "harness to Node, single" | "harness to Node, grouped" => figure.within(Bound::AtLeast(3.0)),
        _ => figure,
    }
}
