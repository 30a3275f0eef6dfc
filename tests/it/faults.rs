//! A bad network between plugin and provider: whatever it does to answers, import and polls end in the right state.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use koalr_host::Limits;
use koalr_host::port::JobKind;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

/// What becomes of an answer, one in this many times each.
const ONE_IN: u32 = 25;
const STALL: Duration = Duration::from_millis(600);

struct Proxy {
    simulator: String,
    client: reqwest::Client,
    draw: Mutex<fastrand::Rng>,
    /// The last true answer of each list.
    last: Mutex<HashMap<String, Vec<u8>>>,
    /// Lists whose answer was garbled once. What is garbled for good cannot be read by anybody.
    garbled: Mutex<HashSet<String>>,
    /// Whether everything passes as it is.
    calm: AtomicBool,
    /// How often each thing was done.
    done: Mutex<HashMap<&'static str, u32>>,
}

impl Proxy {
    async fn start(simulator: String, seed: u64) -> (Arc<Proxy>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Arc::new(Proxy {
            simulator,
            client: reqwest::Client::new(),
            draw: Mutex::new(fastrand::Rng::with_seed(seed)),
            last: Mutex::default(),
            garbled: Mutex::default(),
            calm: AtomicBool::new(true),
            done: Mutex::default(),
        });
        let serving = Arc::clone(&proxy);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = Arc::clone(&serving);
                tokio::spawn(async move { drop(proxy.serve(stream).await) });
            }
        });
        (proxy, address)
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut asked).await? == 0 {
                    return Ok(());
                }
            }
            let head = String::from_utf8_lossy(&asked).into_owned();
            let target = head.split_whitespace().nth(1).unwrap().to_string();
            let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap();
            let request = self.client.get(format!("{}{target}", self.simulator));
            let answer = request.header("authorization", authorization).send().await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.bytes().await.unwrap().to_vec();
            // The same list, whatever the page.
            let list: String = target.split(['?', '&']).filter(|part| !part.starts_with("after=")).collect();
            let previous = self.last.lock().unwrap().insert(list.clone(), body.clone());
            let fate = self.draw.lock().unwrap().u32(0..9 * ONE_IN);
            let spared = matches!(fate, 3 | 4) && !self.garbled.lock().unwrap().insert(list);
            let fate = if spared || self.calm.load(Ordering::SeqCst) { u32::MAX } else { fate };
            let (what, status, body) = match fate {
                0 => ("429", 429, br#"{"type":"too_many_requests","status":429}"#.to_vec()),
                1 => ("500", 500, b"<html>Internal Server Error</html>".to_vec()),
                2 => ("503", 503, Vec::new()),
                3 => ("cut JSON", status, body[..body.len() / 2].to_vec()),
                4 => ("broken JSON", status, [b"{\"incidents\": [}", &body[..body.len().min(100)]].concat()),
                5 => ("the page before", status, previous.unwrap_or(body)),
                6 => ("the same cursor", status, same_cursor(&target, &body)),
                7 => {
                    self.note("a reset");
                    let _ = stream.set_zero_linger();
                    return Ok(());
                }
                8 => {
                    self.note("a stall");
                    tokio::time::sleep(STALL).await;
                    ("late", status, body)
                }
                _ => ("nothing", status, body),
            };
            self.note(what);
            let head = format!(
                "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\nretry-after: 0\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            // One in four breaks off in the middle of its body.
            if fate == 3 && self.draw.lock().unwrap().bool() {
                stream.write_all(&body[..body.len() / 2]).await?;
                return Ok(());
            }
            stream.write_all(&body).await?;
        }
    }

    fn note(&self, what: &'static str) {
        *self.done.lock().unwrap().entry(what).or_default() += 1;
    }
}

/// The answer with the cursor that it was asked with.
fn same_cursor(target: &str, body: &[u8]) -> Vec<u8> {
    let after = target.split(['?', '&']).find_map(|part| part.strip_prefix("after="));
    match (serde_json::from_slice::<Value>(body), after) {
        (Ok(mut answer), Some(after)) if answer["pagination_meta"]["after"].is_string() => {
            answer["pagination_meta"]["after"] = after.into();
            answer.to_string().into_bytes()
        }
        _ => body.to_vec(),
    }
}

/// Runs a job until it comes to its end.
async fn ends(bench: &Bench, kind: JobKind) {
    for _ in 0..400 {
        if bench.run(kind).await.is_ok() {
            return;
        }
    }
    panic!("{kind:?} does not come to its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_and_polls_through_a_bad_network_end_in_the_right_state() {
    let mut done: HashMap<&'static str, u32> = HashMap::new();
    for (seed, skew) in [(1, 0), (2, 240), (3, -240)] {
        let simulator = account(220, 40 + seed).await;
        let (proxy, address) = Proxy::start(simulator.base_url(), seed).await;
        let bench = Bench::with_limits(Limits { request: STALL / 2, ..Limits::default() }).await;
        let untroubled = Bench::connected(&simulator).await;
        // This machine's clock is ahead of the provider's, or behind.
        for bench in [&bench, &untroubled] {
            bench.clock.advance(TimeDelta::seconds(skew));
        }
        bench.connect(&address).await.unwrap();
        proxy.calm.store(false, Ordering::SeqCst);
        ends(&bench, JobKind::Backfill).await;
        // What happens meanwhile is the poll's business.
        for id in simulator.incident_ids().into_iter().take(40) {
            let change =
                koalr_simulator::Change { message: Some("Still at it".into()), ..Default::default() };
            simulator.update(&id, change, now() - TimeDelta::minutes(1)).unwrap();
        }
        loop {
            ends(&bench, JobKind::Poll).await;
            if bench.store.to_revisit(&bench.org, "incidentio", 0).await.unwrap().total == 0 {
                break;
            }
        }
        untroubled.sync().await;
        let (ours, clean) = (bench.incidents().await, untroubled.incidents().await);
        assert_eq!(ours.len(), clean.len(), "seed {seed}");
        for (ours, clean) in ours.iter().zip(&clean) {
            assert_eq!(ours, clean, "seed {seed}");
            let timeline = async |bench: &Bench| bench.store.timeline(&bench.org, &clean.key).await.unwrap();
            assert_eq!(timeline(&bench).await, timeline(&untroubled).await, "seed {seed}");
        }
        for (what, count) in proxy.done.lock().unwrap().iter() {
            *done.entry(what).or_default() += count;
        }
    }
    for what in [
        "429",
        "500",
        "503",
        "cut JSON",
        "broken JSON",
        "the page before",
        "the same cursor",
        "a reset",
        "a stall",
    ] {
        assert!(done.contains_key(what), "{what} did not happen: {done:?}");
    }
}
