//! A call that wants more than it may have ends alone: the host goes on, and nothing is half-written.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use koalr_host::port::JobKind;
use koalr_host::scheduler::RunError;
use koalr_host::{CallError, Connect, HostError, Limits};

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

/// How the call ends of a guest that was asked for this.
async fn asked_for(misdeed: &str, limits: Limits) -> CallError {
    let bench = Bench::with_guest(limits).await;
    let mut connect = Connect { credentials: vec![], ..connect_with("", "") };
    connect.secrets.clear();
    connect.origin_map.clear();
    connect.settings.service_fields = vec![misdeed.to_string()];
    let error = match bench.host.connect(&bench.org, connect.clone()).await.unwrap_err() {
        HostError::Call(error) => error,
        other => panic!("{other}"),
    };
    connect.settings.service_fields.clear();
    let next = bench.host.connect(&bench.org, connect).await.unwrap_err();
    assert!(matches!(next, HostError::Plugin(_)), "the next call is served: {next}");
    error
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
