//! One engine for each kind of plugin, and one linker for each world.
use super::bindings::campaign::matterstack::plugin::{artifacts, log, types};
use super::bindings::operator::matterstack::plugin::{compute, lifecycle, operator_types};
use super::call::CallState;
use super::wasi;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, OptLevel};

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

/// For operators: a deadline ends what computes too long.
pub(super) fn effect_engine() -> wasmtime::Result<Engine> {
    let mut config = common();
    config.epoch_interruption(true);
    Engine::new(&config)
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
