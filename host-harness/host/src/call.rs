//! One call into an instance, and how it can end other than well.
//!
//! A call is bounded three ways: by the time that the guest computes, by the wall clock, and by memory. An instance in
//! which a call ended other than well is never entered again. One in which it ended well may be, by another call of the
//! same connection of the same organisation, where the caller kept it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{ComponentNamedList, Instance, Lift, Lower};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::contract::Timestamp;
use crate::engine::{Engine, Lane, Saturated, TICK};
use crate::guest::GuestState;
use crate::id::OrgId;
use crate::limits::Limits;
use crate::plugin::{Export, Plugin};

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

/// What a function of the contract is called with: a tuple.
pub(crate) trait Params: ComponentNamedList + Lower + Send + Sync {}
impl<T: ComponentNamedList + Lower + Send + Sync> Params for T {}

/// What a function of the contract answers.
pub(crate) trait Answer: Lift + Send + Sync + 'static {}
impl<T: Lift + Send + Sync + 'static> Answer for T {}

/// Calls that one instance serves at most: what a guest does not free is freed with it.
const MOST_CALLS: u32 = 32;
/// An instance whose memory grew beyond this, in bytes, serves no other call.
const MOST_KEPT_MEMORY: usize = 4 << 20;

/// A store in a slot of the engine's, and the instance in it, if there is one yet.
pub(crate) struct Slot {
    // Before the permit, because it holds what the permit is for.
    store: Store<GuestState>,
    instance: Option<Instance>,
    /// Of one that was kept: the organisation whose calls it serves, and when that was connected.
    whose: Option<(OrgId, Option<Timestamp>)>,
    calls: u32,
    limits: Limits,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Waits for one.
    pub(crate) async fn new(
        engine: &Engine,
        limits: Limits,
        lane: Lane,
        state: GuestState,
    ) -> Result<Slot, Saturated> {
        let permit = engine.admit(lane, limits.admission).await?;
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.ceiling);
        store.set_max_component_handles(limits.handles);
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
        Ok(Slot { store, instance: None, whose: None, calls: 0, limits, _permit: permit })
    }

    /// Lets go of all that the last call was given, and waits for another. `None` if the instance has served for long
    /// enough, grew, or still holds something of the host's, which would be in the way of the next.
    pub(crate) fn keep(mut self) -> Option<Slot> {
        let state = self.store.data_mut();
        let scope = state.forget()?;
        let spent = state.holds_any() || state.ceiling.reached > MOST_KEPT_MEMORY;
        self.whose = Some((scope.org, scope.connected_at));
        (self.calls < MOST_CALLS && !spent).then_some(self)
    }

    /// Of one that was kept: whose calls it serves.
    pub(crate) fn org(&self) -> Option<&OrgId> {
        self.whose.as_ref().map(|(org, _)| org)
    }

    /// Whether this call is of the same connection: what was connected anew is to be seen as it is now.
    pub(crate) fn serves(&self, state: &GuestState) -> bool {
        self.whose.as_ref().is_some_and(|(org, connected_at)| state.is_of(org, *connected_at))
    }

    /// For another call, which it [serves](Slot::serves).
    pub(crate) fn reuse(mut self, state: GuestState) -> Slot {
        *self.store.data_mut() = state;
        self
    }

    /// Calls this function of the plugin's. The slot is given back if that ended well.
    pub(crate) async fn call<P: Params, R: Answer>(
        self,
        wall: Duration,
        plugin: &Plugin,
        export: Export,
        params: P,
    ) -> Result<(R, Slot), CallError> {
        let instance = self.instance;
        let call = async |store: &mut Store<GuestState>| {
            let instance = match instance {
                Some(instance) => instance,
                None => plugin.pre.instantiate_async(&mut *store).await?,
            };
            // This one alone: to find all of them takes as long as some calls do.
            match instance.get_typed_func::<P, (R,)>(&mut *store, export.index) {
                Ok(found) => Ok(Ok((found.call_async(store, params).await?.0, instance))),
                Err(error) => Ok(Err(error)),
            }
        };
        let (ended, mut slot) = self.run(wall, call).await?;
        // All of them were found, with their types, when it was loaded.
        let (answer, instance) = ended.map_err(|error| CallError::Host(format!("{error:#}")))?;
        slot.instance = Some(instance);
        slot.calls += 1;
        Ok((answer, slot))
    }

    /// Runs what is to be run, within its bounds. The slot is given back if that ended well.
    pub(crate) async fn run<T, F>(mut self, wall: Duration, call: F) -> Result<(T, Slot), CallError>
    where
        F: AsyncFnOnce(&mut Store<GuestState>) -> wasmtime::Result<T>,
    {
        self.store.set_hostcall_fuel(self.limits.hostcall_bytes);
        self.store.set_epoch_deadline(1);
        match tokio::time::timeout(wall, call(&mut self.store)).await {
            Ok(Ok(answer)) => Ok((answer, self)),
            Ok(Err(error)) => Err(classify(&error, self.store.data(), self.limits)),
            Err(_) => Err(CallError::TimedOut(wall)),
        }
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
