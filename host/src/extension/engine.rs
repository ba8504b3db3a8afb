//! The one engine: how guests are compiled and run, and the clock that interrupts them.
//!
//! The ticker raises the epoch each millisecond while a guest runs, and only then; it lingers a little, because commands
//! come in bursts and waking a thread costs more than a tick.

use crate::config::{Instances, MOST_TABLE_ELEMENTS};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// The interval at which a running guest is looked at.
pub const TICK: Duration = Duration::from_millis(1);
/// Ticks without a running guest after which the ticker sleeps.
const LINGER: u32 = 100;
/// The memory no instance can go beyond, whatever its own limit says.
const MEMORY: usize = 4 << 30;
/// The core modules an instance of a component may be made of.
const CORE_INSTANCES: u32 = 200;
/// The memories it may have. Compilers make one.
const MEMORIES: u32 = 2;
/// The tables it may have. One in Python has two.
const TABLES: u32 = 16;

/// The engine with its ticker.
#[derive(Clone, Debug)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    ticker: Arc<Ticker>,
}

#[derive(Debug)]
struct Ticker {
    running: Arc<AtomicU32>,
    thread: Thread,
}

impl Engine {
    /// Makes the engine.
    ///
    /// The pooling allocator reserves address space for every instance there may be; where the system does not allow
    /// that, instances are allocated one by one, which is slower and no less safe.
    ///
    /// # Errors
    /// The system gives no thread, or cannot run compiled code at all.
    pub fn new(instances: Instances) -> wasmtime::Result<Engine> {
        let wasmtime = match wasmtime::Engine::new(&config(Some(instances))) {
            Ok(engine) => engine,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error = &*error, "no pool for extension instances, each is allocated by itself");
                wasmtime::Engine::new(&config(None))?
            }
        };
        let running = Arc::new(AtomicU32::new(0));
        let (weak, count) = (wasmtime.weak(), running.clone());
        let handle = thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            let mut idle = 0;
            while let Some(engine) = weak.upgrade() {
                if count.load(Ordering::Acquire) == 0 {
                    idle += 1;
                } else {
                    idle = 0;
                    engine.increment_epoch();
                }
                drop(engine);
                match idle < LINGER {
                    true => pause(TICK),
                    // Woken by the next guest, or now and then to see whether the engine is still there.
                    false => thread::park_timeout(Duration::from_secs(10)),
                }
            }
        })?;
        let ticker = Arc::new(Ticker { running, thread: handle.thread().clone() });
        Ok(Engine { wasmtime, ticker })
    }

    /// What wasmtime is asked with.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Keeps the ticker going as long as the answer lives.
    pub fn running(&self) -> Running {
        if self.ticker.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.ticker.thread.unpark();
        }
        Running { count: self.ticker.running.clone() }
    }
}

/// A guest runs.
#[derive(Debug)]
pub struct Running {
    count: Arc<AtomicU32>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[allow(clippy::disallowed_methods, reason = "a thread of its own that does nothing but keep time")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// The engine of a process that only compiles. What it makes fits the other: how instances are allocated is no part of
/// the code. It reserves no room for any.
///
/// # Errors
/// There is no compiler for this processor.
pub fn for_compiling() -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config(None);
    // In a process of its own and with the least priority; how many threads, whoever starts it says.
    config.parallel_compilation(true);
    wasmtime::Engine::new(&config)
}

fn config(pool: Option<Instances>) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    // Twice to three times the cost of a call, for functions our interfaces do not have.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.cranelift_opt_level(OptLevel::Speed);
    config.parallel_compilation(false);
    config.memory_init_cow(true);
    // Unloading code with unwind tables registered costs time by the square of what is loaded.
    config.native_unwind_info(false);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    config.wasm_memory64(false);
    config.max_wasm_stack(512 << 10);
    config.async_stack_size(1 << 20);
    if let Some(Instances { count, .. }) = pool {
        let mut pooling = PoolingAllocationConfig::default();
        pooling.total_component_instances(count);
        // A component is a few core modules: the code, and what lifts and lowers its arguments. One in Python is some forty:
        // the interpreter and its libraries. The pool only counts them, so that there is no need to be sparing.
        pooling.total_core_instances(count.saturating_mul(CORE_INSTANCES));
        // As many as all of them together may have, so that none takes another's. It is address space, not memory.
        pooling.total_memories(count.saturating_mul(MEMORIES));
        pooling.total_tables(count.saturating_mul(TABLES));
        pooling.total_stacks(count);
        pooling.max_memory_size(MEMORY);
        pooling.max_core_instances_per_component(CORE_INSTANCES);
        pooling.max_memories_per_component(MEMORIES);
        pooling.max_tables_per_component(TABLES);
        pooling.table_elements(usize::try_from(MOST_TABLE_ELEMENTS).unwrap_or(usize::MAX));
        pooling.max_component_instance_size(4 << 20);
        pooling.max_core_instance_size(4 << 20);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    }
    config
}
