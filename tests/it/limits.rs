//! A call that wants more than it may have ends alone: the host goes on, and nothing is half-written.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koalr_host::port::JobKind;
use koalr_host::scheduler::RunError;
use koalr_host::{CallError, HostError, Limits};

use crate::support::*;

/// Imports an account with these limits, which must stop the import; then the same host serves another call.
async fn stopped(limits: Limits) -> HostError {
    let simulator = account(900, 5).await;
    let bench = Bench::with_limits(limits).await;
    bench.connect(&simulator.base_url()).await.unwrap();
    let error = match bench.run(JobKind::Backfill).await.unwrap_err() {
        RunError::Failed(error) => error,
        other => panic!("{other:?}"),
    };
    assert!(bench.incidents().await.is_empty(), "a step is all or nothing");
    bench.connect(&simulator.base_url()).await.unwrap();
    error
}

#[tokio::test]
async fn memory() {
    let error = stopped(Limits { memory_bytes: 4 << 20, ..Limits::default() }).await;
    assert!(matches!(error, HostError::Call(CallError::MemoryExceeded(most)) if most == 4 << 20), "{error}");
}

#[tokio::test]
async fn bytes_handed_to_the_host() {
    let error = stopped(Limits { hostcall_bytes: 100_000, ..Limits::default() }).await;
    assert!(matches!(error, HostError::Call(CallError::Trapped(_))), "{error}");
}

#[tokio::test]
async fn changes_in_one_commit() {
    let error = stopped(Limits { changes: 100, ..Limits::default() }).await;
    assert!(error.to_string().contains("100"), "{error}");
}

#[tokio::test]
async fn requests() {
    let simulator = account(60, 5).await;
    let bench = Bench::with_limits(Limits { requests: 50, ..Limits::default() }).await;
    bench.connect(&simulator.base_url()).await.unwrap();
    bench.run(JobKind::Backfill).await.unwrap();
    let waiting = bench.store.to_revisit(&bench.org, "incidentio", 0).await.unwrap();
    let error = bench.run(JobKind::Poll).await.unwrap_err();
    assert!(matches!(error, RunError::Failed(HostError::Plugin(_))), "{error}");
    let after = bench.store.to_revisit(&bench.org, "incidentio", 0).await.unwrap();
    assert_eq!(after, waiting, "a step is all or nothing");
}

#[tokio::test]
async fn wall_clock() {
    let simulator = account(20, 5).await;
    let bench = Bench::with_limits(Limits { wall: Duration::from_secs(1), ..Limits::default() }).await;
    bench.connect(&simulator.base_url()).await.unwrap();
    let hang = koalr_simulator::Effect::Hang(Duration::from_secs(600));
    simulator.inject(koalr_simulator::Fault::new("/v2/incidents", 1, hang));
    let error = bench.run(JobKind::Backfill).await.unwrap_err();
    let timed_out = matches!(&error, RunError::Failed(HostError::Call(CallError::TimedOut(_))));
    assert!(timed_out, "{error}");
    simulator.clear_faults();
    bench.connect(&simulator.base_url()).await.unwrap();
}

/// What a call answers of a guest that was asked for this; then its next call and a neighbour's are served.
async fn told(misdeed: &str, limits: Limits) -> HostError {
    let guest = Guest::new(limits).await;
    let error = guest.told(&[misdeed]).await;
    guest.serves_on().await;
    error
}

/// How the call ends of a guest that was asked for this.
async fn asked_for(misdeed: &str, limits: Limits) -> CallError {
    match told(misdeed, limits).await {
        HostError::Call(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn computing_without_an_end() {
    let limits = Limits { compute: Duration::from_millis(50), ..Limits::default() };
    let error = asked_for("compute", limits).await;
    assert!(matches!(error, CallError::ComputeExceeded(_)), "{error}");
}

#[tokio::test]
async fn allocating_without_an_end() {
    let error = asked_for("allocate", Limits::default()).await;
    assert!(matches!(error, CallError::MemoryExceeded(_)), "{error}");
}

#[tokio::test]
async fn recursion_without_an_end() {
    let error = asked_for("recurse", Limits::default()).await;
    assert!(matches!(error, CallError::Trapped(_)), "{error}");
}

#[tokio::test]
async fn calling_the_host_without_an_end() {
    for misdeed in ["storm", "commit-storm"] {
        let limits = Limits { wall: Duration::from_millis(400), ..Limits::default() };
        let error = asked_for(misdeed, limits).await;
        let stopped = matches!(error, CallError::TimedOut(_) | CallError::ComputeExceeded(_));
        assert!(stopped, "{misdeed}: {error}");
    }
}

#[tokio::test]
async fn a_list_or_an_answer_of_any_length() {
    let limits = Limits { hostcall_bytes: 8 << 20, ..Limits::default() };
    let error = asked_for("long-answer", limits).await;
    assert!(matches!(error, CallError::Trapped(_)), "{error}");
    let guest = Guest::new(limits).await;
    for import in IMPORTS_OF_LISTS {
        let error = guest.told(&["long-list", import]).await;
        assert!(matches!(error, HostError::Call(CallError::Trapped(_))), "{import}: {error}");
        guest.serves_on().await;
    }
}

/// What a guest answers that was asked for this and got to its end.
async fn answered(misdeed: &str) -> String {
    match told(misdeed, Limits::default()).await {
        HostError::Plugin(koalr_host::contract::GuestError::Invalid(answer)) => answer,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn state_without_an_end() {
    let answer = answered("state-flood").await;
    assert!(answer.starts_with("71 stored, then ") && answer.contains("QuotaExceeded"), "{answer}");
}

#[tokio::test]
async fn a_flood_of_log_messages_is_cut() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    assert_eq!(answered("log-flood").await, "done");
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("flood ")).count(), 200);
    assert_eq!(log.lines().filter(|line| line.contains("logs too much")).count(), 1);
}

/// A component that imports one function of an interface.
fn importing(interface: &str) -> Vec<u8> {
    let mut import = vec![1, 0, u8::try_from(interface.len()).unwrap()];
    import.extend(interface.bytes());
    import.extend([5, 0]);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    // The type of an instance with a function `f` of nothing to nothing, and the import.
    component.extend([7, 14, 1, 0x42, 2, 1, 0x40, 0, 1, 0, 4, 0, 1, b'f', 1, 0]);
    component.extend([10, u8::try_from(import.len()).unwrap()]);
    component.extend(import);
    component
}

#[tokio::test]
async fn what_asks_for_more_than_the_world_is_not_loaded() {
    for interface in
        ["wasi:cli/environment@0.2.12", "wasi:filesystem/types@0.2.12", "wasi:sockets/tcp@0.2.12"]
    {
        let directory = tempfile::tempdir().unwrap();
        let store = koalr_host::sqlite::SqliteStore::open(directory.path().join("k.db")).unwrap();
        let key = koalr_host::vault::SealingKey::generate().unwrap();
        let host = koalr_host::Host::builder(Arc::new(store), key).slots(1);
        let error = host.load(&importing(interface)).await.unwrap_err().to_string();
        assert!(error.contains("does not fit the world") && error.contains(interface), "{error}");
    }
}

/// What is logged while it lives, on this thread.
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
async fn a_panic_is_told_to_the_log_before_it_traps() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let error = asked_for("panic", Limits::default()).await;
    drop(guard);
    assert!(matches!(error, CallError::Trapped(_)), "{error}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("panicked")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("panic=the guest was asked to panic"), "{line}");
    assert!(line.contains("at=") && line.contains("ERROR"), "{line}");
}

#[tokio::test]
async fn what_a_component_says_of_its_failure_is_one_short_line() {
    let said = answered("long-complaint").await;
    assert!(said.len() <= 2_000 && said.starts_with("not this"), "{}", said.len());
    assert!(!said.chars().any(char::is_control), "{said:?}");
}
