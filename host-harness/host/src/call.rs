//! One call into a fresh instance, and how it can end other than well.
//!
//! A call is bounded three ways: by the time that the guest computes, by the wall clock, and by memory. Whatever
//! the guest does, the store is dropped afterwards; an instance that has trapped is never entered again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::{Store, Trap, UpdateDeadline};

use crate::engine::{Engine, Lane, Saturated, TICK};
use crate::guest::GuestState;
use crate::limits::Limits;

/// Why a call gave no answer. The guest's effects up to then are those that it committed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing ran.
    #[error(transparent)]
    Saturated(#[from] Saturated),
    /// The guest computed for longer than it may.
    #[error("the plugin computed for longer than {0:?} and was stopped")]
    ComputeExceeded(Duration),
    /// The call took longer than it may, mostly in waiting.
    #[error("the plugin's call took longer than {0:?} and was stopped")]
    TimedOut(Duration),
    /// The guest wanted more memory than it may have.
    #[error("the plugin wanted more than {0} bytes of memory and was stopped")]
    MemoryExceeded(usize),
    /// The guest failed: a panic, or a broken rule of the component model.
    #[error("the plugin failed: {0}")]
    Trapped(String),
    /// The host failed.
    #[error("the host failed: {0}")]
    Host(String),
}

/// How calls ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All that were made.
    pub calls: u64,
    /// Those in which the component failed.
    pub traps: u64,
    /// Those that were stopped at a limit of time, computing or memory.
    pub limited: u64,
    /// Those that found no slot in time, and did not run.
    pub saturated: u64,
}

/// [`Usage`], counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    traps: AtomicU64,
    limited: AtomicU64,
    saturated: AtomicU64,
}

impl Counters {
    pub(crate) fn note(&self, error: Option<&CallError>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let ended = match error {
            None | Some(CallError::Host(_)) => return,
            Some(CallError::Saturated(_)) => &self.saturated,
            Some(CallError::Trapped(_)) => &self.traps,
            Some(CallError::ComputeExceeded(_) | CallError::TimedOut(_) | CallError::MemoryExceeded(_)) => {
                &self.limited
            }
        };
        ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Usage {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            calls: of(&self.calls),
            traps: of(&self.traps),
            limited: of(&self.limited),
            saturated: of(&self.saturated),
        }
    }
}

/// Runs `call` in a fresh store, and answers what it gave and the state that it left.
pub(crate) async fn run<T, F>(
    engine: &Engine,
    limits: Limits,
    (lane, wall): (Lane, Duration),
    state: GuestState,
    call: F,
) -> Result<(T, GuestState), CallError>
where
    F: AsyncFnOnce(&mut Store<GuestState>) -> wasmtime::Result<T>,
{
    // Before the store and dropped after it: the store holds the slot.
    let _permit = engine.admit(lane, limits.admission).await?;
    let mut store = Store::new(engine.wasmtime(), state);
    store.limiter(|state| &mut state.ceiling);
    store.set_hostcall_fuel(limits.hostcall_bytes);
    store.set_max_component_handles(limits.handles);
    store.set_epoch_deadline(1);
    let most = u32::try_from(limits.compute.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
    store.epoch_deadline_callback(move |mut context| {
        let state = context.data_mut();
        state.ticks = state.ticks.saturating_add(1);
        if state.ticks > most {
            return Ok(UpdateDeadline::Interrupt);
        }
        // Lets others run, and lets the wall clock stop a guest that only computes.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    match tokio::time::timeout(wall, call(&mut store)).await {
        Ok(Ok(answer)) => Ok((answer, store.into_data())),
        Ok(Err(error)) => Err(classify(&error, store.data(), limits)),
        Err(_) => Err(CallError::TimedOut(wall)),
    }
}

fn classify(error: &wasmtime::Error, state: &GuestState, limits: Limits) -> CallError {
    if state.ceiling.exceeded {
        return CallError::MemoryExceeded(limits.memory_bytes);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::ComputeExceeded(limits.compute),
        Some(trap) => CallError::Trapped(trap.to_string()),
        None => CallError::Trapped(format!("{:#}", error.root_cause())),
    }
}
