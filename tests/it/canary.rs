//! A known key and a known signing secret go through every feature; then they are looked for everywhere.
//!
//! The guest's memory is looked at in the middle of its calls, whenever it asks for the time: the key is never
//! there, and the signing secret during verification only.

#![cfg(target_os = "linux")]

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use koalr_host::contract::{MttrQuery, Severity, Timestamp};
use koalr_host::port::{Clock, JobKind, Store};
use koalr_host::scheduler::Scheduler;
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{SealingKey, Secret};
use koalr_host::worker::InboxWorker;
use koalr_host::{Connect, Host};
use koalr_simulator::{Effect, Fault, Mode, NewIncident};
use serde_json::json;

#[path = "../needles.rs"]
mod needles;

use crate::support::*;
use needles::{holds, needles};

const CANARY_KEY: &str = "inc_canary_5d1f0c9be27a4386";
const CANARY_SECRET: &str = "whsec_Y2FuYXJ5LXNlY3JldC10aGF0LW5vLWxvZy1zaG93cw==";
/// The key of the signature, which is what the text above stands for.
const CANARY_BYTES: &[u8] = b"canary-secret-that-no-log-shows";

/// The memories of this process that guests live in. Behind each, and behind nothing else, gigabytes are reserved that
/// nobody may touch: what lets compiled code do without checks.
fn guest_memory() -> Vec<Vec<u8>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
    let (mut read, mut run) = (Vec::new(), Vec::new());
    let mut end = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        if from != end {
            run.clear();
        }
        end = to;
        if rest.starts_with("rw") {
            run.push((from, to));
            continue;
        }
        let run = std::mem::take(&mut run);
        if !rest.starts_with("---") || to - from < 1 << 30 {
            continue;
        }
        for (from, to) in run {
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            memory.seek(SeekFrom::Start(from)).unwrap();
            // Another test's engine may be dropped meanwhile.
            if memory.read_exact(&mut bytes).is_ok() {
                read.push(bytes);
            }
        }
    }
    read
}

/// A clock that looks at the guest's memory when it is asked.
struct Watching {
    clock: Arc<Still>,
    /// What was looked for in each kind of call, and whether it was there.
    seen: Mutex<Vec<(&'static str, bool, bool, bool)>>,
    call: Mutex<Option<&'static str>>,
}

impl Clock for Watching {
    fn now(&self) -> Timestamp {
        if let Some(call) = *self.call.lock().unwrap() {
            let memory = guest_memory();
            let any = |needles: &[Vec<u8>]| memory.iter().any(|memory| holds(memory, needles));
            let secret = [needles(CANARY_SECRET.as_bytes()), needles(CANARY_BYTES)].concat();
            let ours = any(&[b"canary-marker".to_vec()]);
            self.seen.lock().unwrap().push((call, any(&needles(CANARY_KEY.as_bytes())), any(&secret), ours));
        }
        self.clock.now()
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_known_key_and_secret_are_found_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);

    let simulator = account(30, 9).await;
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path().join("koalr.db")).unwrap());
    let clock = Arc::new(Watching {
        clock: Arc::new(Still::at(now())),
        seen: Mutex::default(),
        call: Mutex::new(None),
    });
    let cache = koalr_host::cache::ModuleCache::new(directory.path().join("modules"));
    let builder = Host::builder(Arc::clone(&store), SealingKey::generate().unwrap()).slots(4).cache(cache);
    let host = builder.allow(ORIGINS).clock(clock.clone()).load(&component()).await.unwrap();
    let org: koalr_host::id::OrgId = "acme".parse().unwrap();
    let call = |name| *clock.call.lock().unwrap() = name;
    let connect = |key: &str| Connect {
        credentials: vec![("api-key".into(), Secret::new(key.into()))],
        secrets: vec![("webhook-secret".into(), vec![Secret::new(CANARY_SECRET.into())])],
        ..connect_with("", &simulator.base_url())
    };
    let mut texts = Vec::new();

    // Every feature, and what goes wrong in them.
    texts.push(format!("{:?}", connect(CANARY_KEY)));
    call(Some("connect"));
    host.connect(&org, Connect { secrets: vec![], ..connect(CANARY_KEY) }).await.unwrap();
    // Saving a secret verifies nothing with it, to see whether it could.
    call(Some("verify"));
    host.put_secret(&org, "webhook-secret", &[Secret::new(CANARY_SECRET.into())]).await.unwrap();
    call(Some("connect"));
    host.connect(&org, Connect { secrets: vec![], ..connect(CANARY_KEY) }).await.unwrap();
    let run =
        async |kind| Scheduler::new(host.clone()).run_now(&org, kind, &|_| {}, std::future::pending()).await;
    call(Some("sync"));
    for kind in [JobKind::Backfill, JobKind::Poll] {
        for effect in [
            Effect::Status { status: 401, body: json!({"authorization": "refused"}) },
            Effect::Status { status: 500, body: json!({}) },
            Effect::Truncated,
            Effect::Bytes(b"<html>".to_vec()),
        ] {
            simulator.inject(Fault::new("/", 50, effect));
            let error = run(kind).await.unwrap_err();
            texts.extend([error.to_string(), format!("{error:?}")]);
            simulator.clear_faults();
            // The secret stays as it is, so that nothing is verified.
            let again = Connect { secrets: vec![], ..connect(CANARY_KEY) };
            host.connect(&org, again).await.unwrap();
        }
        texts.push(format!("{:?}", run(kind).await.unwrap()));
    }
    let new = NewIncident {
        name: "canary-marker".into(),
        severity: None,
        services: vec![],
        mode: Mode::Standard,
        private: true,
        lead: None,
    };
    let id = simulator.declare(new, now()).unwrap();
    let kind = "private_incident.incident_created_v2";
    let body = json!({ "event_type": kind, kind: { "id": id, "note": "canary-marker" } }).to_string();
    let timestamp = micros(now()) / 1_000_000;
    let deliver = |message: &str, secret: &str| {
        let signature = koalr_simulator::sign(secret, message, timestamp, body.as_bytes()).unwrap();
        let mut delivery =
            signed(message, timestamp, body.as_bytes(), koalr_simulator::HeaderFamily::Webhook);
        delivery.headers[2].value = signature.into_bytes();
        delivery
    };
    call(Some("verify"));
    texts.push(format!("{:?}", host.receive(&org, deliver("msg_1", CANARY_SECRET)).await.unwrap()));
    texts.push(format!("{:?}", host.receive(&org, deliver("msg_2", SECRET)).await.unwrap_err()));
    call(Some("apply"));
    InboxWorker::new(host.clone()).drain().await.unwrap();
    assert!(store.find_incident(&org, &id).await.unwrap().is_some());
    call(Some("compute"));
    texts.push(format!("{:?}", host.rederive(&org, None).await.unwrap()));
    let severity = Severity { id: None, name: "Major".into(), rank: None };
    texts.push(format!("{:?}", host.map_severity(&org, &severity).await.unwrap()));
    let query = MttrQuery::new(vec![micros(now() - TimeDelta::days(90)), micros(now())]);
    texts.push(format!("{:?}", host.mttr(&org, &query).await.unwrap()));
    texts.push(format!("{:?}", store.organisations().await.unwrap()));
    texts.push(format!("{host:?}"));
    call(None);
    drop(guard);

    let key = needles(CANARY_KEY.as_bytes());
    let secret = [needles(CANARY_SECRET.as_bytes()), needles(CANARY_BYTES)].concat();
    let seen = clock.seen.lock().unwrap().clone();
    for (call, has_key, has_secret, _) in &seen {
        assert!(!has_key, "the key was in guest memory during {call}");
        assert!(!has_secret || *call == "verify", "the secret was in guest memory during {call}");
    }
    // That it would have been found: the secret is there while it is used, and so is what the guest works on.
    assert!(seen.iter().any(|(call, _, has_secret, _)| *call == "verify" && *has_secret), "{seen:?}");
    assert!(seen.iter().any(|(call, _, _, ours)| *call == "verify" && *ours), "{seen:?}");
    for call in ["sync", "apply"] {
        assert!(seen.iter().any(|(name, ..)| *name == call), "{call}: {seen:?}");
    }
    // And it is gone once the call has ended.
    let memory = guest_memory();
    assert!(!memory.is_empty());
    assert!(!memory.iter().any(|memory| holds(memory, &secret) || holds(memory, &key)));

    let log = log.0.lock().unwrap().clone();
    assert!(log.len() > 10_000, "everything is logged: {}", log.len());
    assert!(!holds(&log, &key) && !holds(&log, &secret), "a log line shows a secret");
    let texts = texts.join("\n");
    assert!(!holds(texts.as_bytes(), &key) && !holds(texts.as_bytes(), &secret), "{texts}");
    let mut files = vec![directory.path().to_path_buf()];
    let mut searched = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        searched += 1;
        assert!(!holds(&bytes, &key) && !holds(&bytes, &secret), "{}", path.display());
    }
    assert!(searched >= 3, "the database, its log and the compiled component: {searched}");
}
