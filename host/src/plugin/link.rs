//! One engine for each kind of plugin, and one linker for each world.
use super::bindings::campaign::matterstack::plugin::{artifacts, log, types};
use super::bindings::operator::matterstack::plugin::{compute, lifecycle, operator_types};
use super::call::{CallState, INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use super::wasi;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// Bytes of what describes one instance; those of large interpreters stay below it.
const INSTANCE_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are cleared by hand between two calls, because that is cheaper than giving the pages back.
const KEPT_BYTES: usize = 1024 * 1024;

fn common() -> Config {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::Speed).relaxed_simd_deterministic(true).cranelift_nan_canonicalization(true);
    config
}

/// For campaigns: fuel, and nothing that varies between two executions.
pub(super) fn decision_engine() -> wasmtime::Result<Engine> {
    let mut config = common();
    config.consume_fuel(true);
    Engine::new(&config)
}

/// For operators: a deadline ends what computes too long. A tick makes thousands of short calls, one at a time, so the
/// memory of one instance is kept and reset between them, which takes a third off each call.
pub(super) fn effect_engine(table_elements: u64) -> wasmtime::Result<Engine> {
    let mut config = common();
    config.epoch_interruption(true);
    let mut pooled = config.clone();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(one_instance(table_elements)));
    // Where the address space is limited the pool cannot be reserved; calls then only cost more.
    Engine::new(&pooled).or_else(|_| Engine::new(&config))
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
    pool
}

/// What a campaign can be linked with.
pub(super) fn campaign_linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasi::link_standing_clock(&mut linker)?;
    types::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    artifacts::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// What an operator can be linked with; without a grant `compute` is not there.
pub(super) fn operator_linker(engine: &Engine, with_compute: bool) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    types::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    operator_types::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    lifecycle::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    if with_compute {
        compute::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    }
    Ok(linker)
}
