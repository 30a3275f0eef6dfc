//! A call that wants more than it may have ends alone: the host goes on, and nothing is half-written.

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
    let error = stopped(Limits { requests: 6, ..Limits::default() }).await;
    assert!(matches!(error, HostError::Plugin(_)), "{error}");
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
