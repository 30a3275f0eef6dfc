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
pub enum EngineError {
    /// wasmtime says why.
    #[error("the WebAssembly engine cannot start: {0:#}")]
    Engine(wasmtime::Error),
    /// The system grants the process too little address space.
    #[error(
        "this process may use {limit_mb} MB of address space and needs {needed_mb} MB; raise the limit (`ulimit -v`, \
         or LimitAS of its service)"
    )]
    AddressSpace {
        /// What it may use.
        limit_mb: u64,
        /// What it needs to work at all.
        needed_mb: u64,
    },
}

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
        let (inner, slots, door) = match wasmtime::Engine::new(&config(Instances::Pooled(pool))) {
            Ok(pooled) => (pooled, slots, DOOR),
            // A slot of the pool reserves gigabytes of address space, which a container may not grant.
            Err(error) => {
                let (slots, door) = match AddressSpace::of_this_process() {
                    Some(space) => space.share(slots, limits.memory_bytes)?,
                    None => (slots, DOOR),
                };
                tracing::warn!("instances are made on demand, {slots} at a time, without a pool: {error:#}");
                let on_demand = config(Instances::OnDemand(limits.memory_bytes));
                (wasmtime::Engine::new(&on_demand).map_err(EngineError::Engine)?, slots, door)
            }
        };
        spawn_ticker(&inner);
        let free = |slots| Arc::new(Semaphore::new(usize::try_from(slots).unwrap_or(1)));
        Ok(Engine { inner, slots: free(slots), door: free(door), capacity: slots })
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

/// The address space that the system lets this process have, and what it has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AddressSpace {
    limit: u64,
    used: u64,
}

impl AddressSpace {
    /// For all but instances: threads, the compiler, the database's caches, answers of providers.
    const OTHERS: u64 = 512 << 20;
    /// What an instance takes beside its memory: a stack, and pages that nothing may touch.
    const BESIDE: u64 = 4 << 20;
    /// Fewer instances than that would wait for each other.
    const LEAST: u32 = 4;

    /// None where there is no limit, or no way to know.
    fn of_this_process() -> Option<AddressSpace> {
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        AddressSpace::read(&limits, &status)
    }

    fn read(limits: &str, status: &str) -> Option<AddressSpace> {
        let after = |text: &str, name: &str| -> Option<u64> {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let used = after(status, "VmSize:")?.saturating_mul(1_024);
        Some(AddressSpace { limit: after(limits, "Max address space")?, used })
    }

    /// How many instances of so much memory fit: at most so many for work, and those for the door.
    fn share(self, slots: u32, memory_bytes: usize) -> Result<(u32, u32), EngineError> {
        let each = (memory_bytes as u64).saturating_add(Self::BESIDE);
        let taken = self.used.saturating_add(Self::OTHERS);
        let fit = u32::try_from(self.limit.saturating_sub(taken) / each).unwrap_or(u32::MAX);
        if fit < Self::LEAST {
            let needed = taken.saturating_add(each.saturating_mul(Self::LEAST.into()));
            let (limit_mb, needed_mb) = (self.limit / 1_000_000, needed.div_ceil(1_000_000));
            return Err(EngineError::AddressSpace { limit_mb, needed_mb });
        }
        let door = (fit / 4).min(DOOR);
        Ok((slots.min(fit - door), door))
    }
}

/// Where instances come from, and for how much memory each.
#[derive(Debug, Clone, Copy)]
enum Instances {
    /// So many, all made before.
    Pooled((u32, usize)),
    /// Each when it is needed.
    OnDemand(usize),
}

fn config(instances: Instances) -> Config {
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true);
    match instances {
        // What may be used and nothing more: by default a memory reserves six gigabytes.
        Instances::OnDemand(memory_bytes) => {
            config
                .memory_reservation(memory_bytes as u64)
                .memory_reservation_for_growth(0)
                .memory_guard_size(64 << 10)
                .guard_before_linear_memory(false);
        }
        Instances::Pooled(pool) => {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool)));
        }
    }
    config
}

fn pooling((slots, memory_bytes): (u32, usize)) -> PoolingAllocationConfig {
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
    pooling
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

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: usize = 64 << 20;

    #[test]
    fn without_a_pool_as_many_instances_are_made_as_the_address_space_holds() {
        let status = "Name:\tkoalr\nVmPeak:\t  700000 kB\nVmSize:\t  600000 kB\n";
        let limits = |soft: &str| {
            format!("Limit  Soft  Hard  Units\nMax address space         {soft}  unlimited  bytes\n")
        };
        assert_eq!(AddressSpace::read(&limits("unlimited"), status), None);
        let space = |limit: u64| AddressSpace::read(&limits(&limit.to_string()), status).unwrap();
        assert_eq!(space(8_192_000_000), AddressSpace { limit: 8_192_000_000, used: 614_400_000 });
        for limit in [2_000_000_000, 3_072_000_000, 8_192_000_000, 64_000_000_000] {
            let (work, door) = space(limit).share(160, MEMORY).unwrap();
            assert!((3..=160).contains(&work) && (1..=DOOR).contains(&door), "{limit}: {work}, {door}");
            let taken = u64::from(work + door) * (MEMORY as u64 + AddressSpace::BESIDE);
            assert!(taken + 614_400_000 + AddressSpace::OTHERS <= limit, "{limit}: {work}, {door}");
        }
        let error = space(1_000_000_000).share(160, MEMORY).unwrap_err().to_string();
        assert!(error.contains("1000 MB") && error.contains("ulimit -v"), "{error}");
    }

    #[test]
    fn instances_on_demand_can_be_configured() {
        wasmtime::Engine::new(&config(Instances::OnDemand(MEMORY))).unwrap();
    }
}
