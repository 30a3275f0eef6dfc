//! How `serve` ends: asked to, at any moment; and when somebody takes its database away.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;

/// Far more than any end takes that comes by itself.
const DEADLINE: Duration = Duration::from_secs(25);

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(name).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// How it ended and what it said, or that it did not end.
fn ended(child: Child) -> Output {
    let id = child.id().to_string();
    let (done, end) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    match end.recv_timeout(DEADLINE) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
            panic!("it does not end");
        }
    }
}

/// Whatever it is about: it opens a database that another process writes, compiles, listens, works.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_at_any_moment_of_the_first_second_ends_it() {
    let simulator = account(40).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let other = rusqlite::Connection::open(desk.path("k.db")).unwrap();
    for (number, after) in (0..=1_000).step_by(50).enumerate() {
        let name = if number % 2 == 0 { "-TERM" } else { "-INT" };
        // Every third time another process is in the middle of a write until this one has ended.
        let writes = number % 3 == 0;
        if writes {
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        let child = desk.command("serve --db k.db --listen 127.0.0.1:0").spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        signal(&child, name);
        let output = tokio::task::spawn_blocking(move || ended(child)).await.unwrap();
        if writes {
            other.execute_batch("COMMIT").unwrap();
        }
        // Before it listens for signals, the system ends it.
        let by_signal = output.status.signal();
        let said = text(&output.stderr);
        assert!(
            output.status.success() || by_signal.is_some(),
            "after {after} ms: {:?}, {said}",
            output.status
        );
        assert!(by_signal.is_none() || said.is_empty(), "after {after} ms: {:?}, {said}", output.status);
    }
}

/// Lines of its standard error, as they come.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let said = BufReader::new(child.stderr.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    told
}

fn line(told: &mpsc::Receiver<String>, start: &str) -> String {
    let until = Instant::now() + DEADLINE;
    loop {
        let line = told.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap();
        if line.starts_with(start) {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_whatever_it_has_in_hand() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    for (first, second, code) in [("-TERM", "-TERM", 143), ("-INT", "-INT", 130), ("-TERM", "-INT", 130)] {
        let mut child = desk.command("serve --db k.db --listen 127.0.0.1:0").spawn().unwrap();
        let told = lines(&mut child);
        let serving = line(&told, "Serving on ");
        let address = serving.split("http://").nth(1).unwrap().split(": ").next().unwrap().to_owned();
        // A webhook whose body does not come to its end.
        let mut held = TcpStream::connect(&address).unwrap();
        let head = "POST /webhooks/incidentio/acme HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    content-length: 100\r\nexpect: 100-continue\r\n\r\n";
        held.write_all(head.as_bytes()).unwrap();
        // It has the request in hand once it asks for the body.
        let mut asked = [0; 12];
        held.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100");
        signal(&child, first);
        line(&told, "Stopping");
        signal(&child, second);
        let output = tokio::task::spawn_blocking(move || ended(child)).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{first} {second}");
    }
}

/// As a restore does it that does not stop the server before. Whatever was done, nothing after it is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_is_taken_away_acknowledges_nothing_and_ends_with_what_to_do() {
    for (what, said) in [
        ("deleted", "was moved or deleted"),
        ("replaced", "was replaced"),
        ("overwritten in place", "was overwritten"),
        ("without its log", "-wal was deleted"),
    ] {
        let simulator = account(5).await;
        let desk = Desk::new();
        desk.connect(&simulator).await;
        let backup = format!("VACUUM INTO '{}'", desk.path("backup.db").display());
        rusqlite::Connection::open(desk.path("k.db")).unwrap().execute_batch(&backup).unwrap();
        let mut child = desk.command("serve --db k.db --listen 127.0.0.1:0").spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut said_first = String::new();
        told.read_line(&mut said_first).unwrap();
        let url = said_first.strip_prefix("Serving on ").unwrap().split(": ").next().unwrap().to_owned();
        assert_eq!(sent(&url, "msg_before").await, Some(204));
        match what {
            "deleted" => std::fs::remove_file(desk.path("k.db")).unwrap(),
            "without its log" => {
                for log in ["k.db-wal", "k.db-shm"] {
                    std::fs::remove_file(desk.path(log)).unwrap();
                }
            }
            "replaced" => std::fs::rename(desk.path("backup.db"), desk.path("k.db")).unwrap(),
            _ => drop(std::fs::copy(desk.path("backup.db"), desk.path("k.db")).unwrap()),
        }
        for number in 0..5 {
            // 503, or nobody listens any more.
            let status = sent(&url, &format!("msg_after_{number}")).await;
            assert!(matches!(status, Some(503) | None), "{what}: {status:?}");
        }
        let (status, rest) = tokio::task::spawn_blocking(move || {
            let reading = std::thread::spawn(move || {
                let mut rest = String::new();
                told.read_to_string(&mut rest).unwrap();
                rest
            });
            (ended(child).status, reading.join().unwrap())
        })
        .await
        .unwrap();
        assert_eq!(status.code(), Some(5), "{what}: {rest}");
        let last = rest.lines().last().unwrap();
        assert!(last.starts_with("error: ") && last.contains(said) && last.contains("start again"), "{rest}");
        if what == "without its log" {
            let database = rusqlite::Connection::open(desk.path("k.db")).unwrap();
            let select = "SELECT count(*) FROM delivery WHERE id = 'msg_before'";
            let kept: i64 = database.query_row(select, [], |row| row.get(0)).unwrap();
            assert_eq!(kept, 1, "what was acknowledged is in the database");
        }
    }
}

/// The status of a genuine webhook's answer; none if nobody answers.
async fn sent(url: &str, message: &str) -> Option<u16> {
    let body =
        r#"{"event_type":"public_incident.incident_created_v2","public_incident.incident_created_v2":{}}"#;
    let timestamp = Utc::now().timestamp();
    let signature = koalr_simulator::sign(SECRET, message, timestamp, body.as_bytes()).unwrap();
    let post = reqwest::Client::new()
        .post(format!("{url}/webhooks/incidentio/acme"))
        .header("content-type", "application/json")
        .header("webhook-id", message)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature);
    Some(post.body(body).send().await.ok()?.status().as_u16())
}

/// The verbs that write are told the same way.
#[tokio::test(flavor = "multi_thread")]
async fn a_verb_whose_database_is_taken_away_ends_with_the_same_code() {
    let simulator = account(400).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let mut child = desk.command("backfill --db k.db --org acme").spawn().unwrap();
    // It is at work once it asks the provider for more than connecting took.
    let before = simulator.requests().len();
    let until = Instant::now() + DEADLINE;
    while simulator.requests().len() == before {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "it asks for nothing");
        tokio::task::yield_now().await;
    }
    std::fs::remove_file(desk.path("k.db")).unwrap();
    let output = tokio::task::spawn_blocking(move || ended(child)).await.unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("was moved or deleted"), "{said}");
}
