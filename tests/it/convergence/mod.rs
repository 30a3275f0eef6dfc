//! Whatever happened and in whatever order it was learnt: after one more poll, the records are those that a new
//! import of the same account gives, byte for byte.
//!
//! Histories run through the plugin's native build, which differs from the component only in its shell; a share of
//! them runs through the component too. `KOALR_HISTORIES` sets how many.

mod history;
mod memory;
mod world;

use koalr_simulator::Account;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use self::history::{Run, history};
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

/// Says where they differ, not what they are.
fn same(run: &Run, clean: &Run) -> Result<(), TestCaseError> {
    let (ours, theirs) = (run.records()?, clean.records()?);
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|record| !those.contains(record)).cloned().collect::<Vec<_>>().join("\n")
    };
    if ours == theirs {
        return Ok(());
    }
    let (ours, theirs) = (only(&ours, &theirs), only(&theirs, &ours));
    Err(TestCaseError::fail(format!("only after the history:\n{ours}\nonly after a clean import:\n{theirs}")))
}
