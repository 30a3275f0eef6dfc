//! The wasmtime engine: pooled slots, an epoch ticker, admission.
//!
//! One engine serves every plugin and every organisation. A slot holds one instance; a call waits for a slot for a
//! bounded time and is refused afterwards, so that load never turns into memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::Limits;

/// How often the epoch advances: the resolution of compute limits.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The engine could not be built on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine cannot start: {0:#}")]
pub struct EngineError(wasmtime::Error);

/// No slot came free in time; nothing ran, so trying again later is safe.
#[derive(Debug, thiserror::Error)]
#[error("no instance slot within {waited:?}: the host is overloaded")]
pub struct Saturated {
    /// How long the call waited.
    pub waited: Duration,
}

/// A wasmtime engine with its slots.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    slots: Arc<Semaphore>,
    door: Arc<Semaphore>,
    capacity: u32,
}

/// Slots beside the others that only webhooks are verified in: a verification takes microseconds, and must not
/// wait for calls that wait for a provider.
const DOOR: u32 = 8;

/// Which slots a call may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Those for everything.
    Work,
    /// Those for verification.
    Door,
}

impl Engine {
    /// An engine with so many slots, each able to hold a guest of `limits.memory_bytes`.
    pub fn new(slots: u32, limits: &Limits) -> Result<Engine, EngineError> {
        let pool = (slots.saturating_add(DOOR), limits.memory_bytes);
        let pooled = wasmtime::Engine::new(&config(Some(pool)));
        let inner = pooled.or_else(|error| {
            // A slot reserves gigabytes of address space, which a container may not grant.
            tracing::warn!("no pool of instance slots, instances are made on demand: {error:#}");
            wasmtime::Engine::new(&config(None))
        });
        let inner = inner.map_err(EngineError)?;
        spawn_ticker(&inner);
        let free = |slots| Arc::new(Semaphore::new(usize::try_from(slots).unwrap_or(1)));
        Ok(Engine { inner, slots: free(slots), door: free(DOOR), capacity: slots })
    }

    /// How many instances can run at a time, those that verify webhooks not counted.
    pub fn slots(&self) -> u32 {
        self.capacity
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner
    }

    /// Waits for a slot. The permit must outlive the store, because the store holds the slot.
    pub(crate) async fn admit(
        &self,
        lane: Lane,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, Saturated> {
        let slots = match lane {
            Lane::Work => &self.slots,
            Lane::Door => &self.door,
        };
        let permit = tokio::time::timeout(patience, Arc::clone(slots).acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or(Saturated { waited: patience })
    }
}

fn config(pool: Option<(u32, usize)>) -> Config {
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true);
    if let Some((slots, memory_bytes)) = pool {
        let mut pooling = PoolingAllocationConfig::default();
        pooling
            .total_component_instances(slots)
            // The module, the link shims beside it, and room for the shape of foreign guests.
            .total_core_instances(slots.saturating_mul(4))
            .total_memories(slots)
            .total_tables(slots.saturating_mul(2))
            .total_stacks(slots)
            .max_memory_size(memory_bytes)
            // What a call has touched is wiped in place, which costs less than having the kernel take it away and
            // tell every processor; where the kernel can name the touched pages, only those are.
            .linear_memory_keep_resident(2 << 20)
            .table_keep_resident(64 << 10)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    }
    config
}

/// One thread per engine; it ends when the last handle on the engine is dropped.
fn spawn_ticker(engine: &wasmtime::Engine) {
    let engine = engine.weak();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
    });
}
