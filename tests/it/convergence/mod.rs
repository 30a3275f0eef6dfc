//! Whatever happened and in whatever order it was learnt: after one more poll, the records are those that a new
//! import of the same account gives, byte for byte.
//!
//! Histories run through the plugin's native build, which differs from the component only in its shell; a share of
//! them runs through the component too. `KOALR_HISTORIES` sets how many.

mod component;
mod history;
mod memory;
mod world;

use koalr_simulator::Account;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use self::history::{Run, history};
use self::world::{Access, Crash};
use crate::support::{micros, now};

/// How many histories an ordinary run tries.
const HISTORIES: u32 = 2_000;

#[test]
fn any_history_ends_in_the_state_of_a_clean_import() {
    let account = Account::generate(0, 7, now(), 90);
    let cases = std::env::var("KOALR_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(HISTORIES);
    let config = Config { cases, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&history(), |history| {
        let mut run = Run::begin(&history, account.clone(), micros(now()));
        for act in &history.acts {
            run.act(act);
        }
        run.settle();
        let clean = run.clean();
        same(&run, &clean)?;
        run.deliver_everything_again();
        same(&run, &clean)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn an_import_that_is_killed_anywhere_repeats_at_most_one_step_and_ends_in_the_same_records() {
    let account = Account::generate(60, 7, now(), 90);
    let access = Access { sees_private: true, wants_private: true, overrides: false };
    let run = || Run::connected(account.clone(), micros(now()), access, 7);
    let whole = run();
    let (requests, most) = whole.import(None);
    let mut repeated = 0;
    for at in 0..u8::MAX {
        for crash in [Crash::AtRequest(at), Crash::BeforeCommit(at), Crash::AfterCommit(at)] {
            let killed = run();
            let (taken, _) = killed.import(Some(crash));
            assert!(taken <= requests + most, "{crash:?}: {taken} requests instead of {requests}");
            same(&killed, &whole).unwrap();
            repeated += u32::from(taken > requests);
        }
    }
    assert!(repeated >= 10, "most places to be killed at cost something: {repeated}");
}

/// How many of them run through the component.
const THROUGH_THE_COMPONENT: usize = 25;

#[tokio::test]
async fn a_share_of_the_histories_runs_through_the_component() {
    let mut runner = TestRunner::deterministic();
    for n in 0..THROUGH_THE_COMPONENT {
        let history = history().new_tree(&mut runner).unwrap().current();
        let (ours, clean) = component::Run::of(&history).await.settle().await;
        if let Err(why) = compare(&ours, &clean) {
            panic!("history {n}: {why}\n{history:#?}");
        }
    }
}

fn same(run: &Run, clean: &Run) -> Result<(), TestCaseError> {
    compare(&run.records()?, &clean.records()?).map_err(TestCaseError::fail)
}

/// Says where they differ, not what they are.
fn compare(ours: &[String], clean: &[String]) -> Result<(), String> {
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|record| !those.contains(record)).cloned().collect::<Vec<_>>().join("\n")
    };
    if ours == clean {
        return Ok(());
    }
    let (ours, clean) = (only(ours, clean), only(clean, ours));
    Err(format!("only after the history:\n{ours}\nonly after a clean import:\n{clean}"))
}
