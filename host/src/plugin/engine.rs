//! The engines: one for each role of a plugin, each with and without reserved address space. Every one has native code
//! of its own, told apart by [`mark`].
use super::state::{INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use crate::ground::machine;
use std::hash::{DefaultHasher, Hash, Hasher};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Bytes of what describes one instance; those of large interpreters stay below it.
const INSTANCE_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are cleared by hand between two calls, because that is cheaper than giving the pages back.
const KEPT_BYTES: usize = 1024 * 1024;
/// Address space that engines with reservations want: for each memory that a call may have 4 GiB and guards, and as
/// much again for tables, stacks and the program itself.
const RESERVED_BYTES: u64 = 2 * MEMORIES_MAX as u64 * 4 * 1024 * 1024 * 1024;
/// Bytes of stack that a call may take: an interpreter counts its own depth, and reaches its limit before this one.
const STACK_MAX: usize = 32 * 1024 * 1024;
/// Bytes of stack beyond that, for the host's side of a call.
const HOST_STACK: usize = 2 * 1024 * 1024;
/// Bytes after a memory without reservation that stay unmapped, and by which it grows before it has to move.
const TIGHT_GUARD_BYTES: u64 = 64 * 1024;
const TIGHT_GROWTH_BYTES: u64 = 16 * 1024 * 1024;

/// What a plugin is for, which decides how it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Decides: fuel, and nothing that varies between two executions.
    Campaign,
    /// Carries tasks outside: a deadline ends what computes too long.
    Operator,
}

impl Role {
    /// The word for it, as the process that compiles is told.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Campaign => "campaign",
            Self::Operator => "operator",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Campaign, Self::Operator].into_iter().find(|role| role.as_str() == word)
    }
}

/// How much address space there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Every memory is reserved whole: no bounds are checked, and no memory moves.
    Reserved,
    /// Address space is limited (`ulimit -v`): memories take what they need, which costs checks.
    Tight,
}

impl Room {
    /// What this process has.
    pub(super) fn here() -> Self {
        match machine::address_space_limit() {
            Some(bytes) if bytes < RESERVED_BYTES => Self::Tight,
            _ => Self::Reserved,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Tight => "tight",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Reserved, Self::Tight].into_iter().find(|room| room.as_str() == word)
    }
}

/// What an engine is for: engines of one kind run each other's native code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) role: Role,
    pub(super) room: Room,
}

impl Kind {
    /// For plugins of this role in this process.
    pub(super) fn here(role: Role) -> Self {
        Self { role, room: Room::here() }
    }
}

fn config(Kind { role, room }: Kind) -> Config {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::Speed).relaxed_simd_deterministic(true).cranelift_nan_canonicalization(true);
    config.max_wasm_stack(STACK_MAX).async_stack_size(STACK_MAX + HOST_STACK);
    match role {
        Role::Campaign => config.consume_fuel(true),
        Role::Operator => config.epoch_interruption(true),
    };
    if room == Room::Tight {
        config.memory_reservation(0).memory_reservation_for_growth(TIGHT_GROWTH_BYTES);
        config.memory_guard_size(TIGHT_GUARD_BYTES);
    }
    config
}

/// An engine that compiles, and takes no address space for memories of its own.
pub(super) fn compiling(kind: Kind) -> wasmtime::Result<Engine> {
    Engine::new(&config(kind))
}

/// An engine that runs. A tick makes thousands of short calls of operators, one at a time, so the memory of one
/// instance is kept and reset between them, which takes a third off each call.
pub(super) fn running(kind: Kind, table_elements: u64) -> wasmtime::Result<Engine> {
    let config = config(kind);
    if kind == (Kind { role: Role::Operator, room: Room::Reserved }) {
        let mut pooled = config.clone();
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(one_instance(table_elements)));
        // Calls without the pool only cost more.
        if let Ok(engine) = Engine::new(&pooled) {
            return Ok(engine);
        }
    }
    Engine::new(&config)
}

/// Tells apart native code of engines that cannot run each other's, as far as can be told without making an engine,
/// which takes a millisecond: what else differs, wasmtime notices when it loads the code, and it is made again.
pub(super) fn mark(Kind { role, room }: Kind) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, processor()).hash(&mut hasher);
    format!("{}-{}-{:016x}", role.as_str(), room.as_str(), hasher.finish())
}

/// What the processor can do beyond what all of its kind can: machines of a cluster may share a cache.
#[cfg(target_arch = "x86_64")]
fn processor() -> [bool; 10] {
    [
        is_x86_feature_detected!("sse4.2"),
        is_x86_feature_detected!("popcnt"),
        is_x86_feature_detected!("lzcnt"),
        is_x86_feature_detected!("bmi1"),
        is_x86_feature_detected!("bmi2"),
        is_x86_feature_detected!("avx"),
        is_x86_feature_detected!("avx2"),
        is_x86_feature_detected!("fma"),
        is_x86_feature_detected!("avx512f"),
        is_x86_feature_detected!("avx512vbmi"),
    ]
}

/// What the processor can do beyond what all of its kind can: nothing that is asked about here.
#[cfg(not(target_arch = "x86_64"))]
fn processor() -> [bool; 0] {
    []
}

/// Room for one component at a time, as large as the limits of a call allow.
fn one_instance(table_elements: u64) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let table_elements = usize::try_from(table_elements).unwrap_or(usize::MAX);
    pool.total_component_instances(1).max_component_instance_size(INSTANCE_MAX);
    pool.total_core_instances(INSTANCES_MAX as u32).max_core_instance_size(INSTANCE_MAX);
    pool.total_memories(MEMORIES_MAX as u32).linear_memory_keep_resident(KEPT_BYTES);
    pool.total_tables(TABLES_MAX as u32).table_elements(table_elements).table_keep_resident(KEPT_BYTES);
    pool.total_stacks(1).async_stack_keep_resident(KEPT_BYTES).max_unused_warm_slots(TABLES_MAX as u32);
    pool.pagemap_scan(Enabled::Auto);
    pool
}
