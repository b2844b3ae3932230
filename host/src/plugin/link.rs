//! One linker for each world: what a plugin can be linked with.
use super::bindings::campaign::matterstack::plugin::{artifacts, log, run, types};
use super::bindings::operator::matterstack::plugin::{compute, lifecycle, operator_types};
use super::state::CallState;
use super::{chance, clock, files};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

/// What a campaign can be linked with; what carries out a `script`, with all else too, which is denied it.
pub(super) fn campaign_linker(engine: &Engine, script: bool) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = with_wasi(engine)?;
    clock::link_standing(&mut linker)?;
    types::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    artifacts::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    run::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    if script {
        operator_types::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
        lifecycle::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
        compute::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    }
    Ok(linker)
}

/// What an operator can be linked with; without a grant `compute` is not there, unless what is linked carries out a
/// `script`, which is denied what it may not have.
pub(super) fn operator_linker(
    engine: &Engine,
    with_compute: bool,
    script: bool,
) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = with_wasi(engine)?;
    types::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    operator_types::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    lifecycle::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    artifacts::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    if script {
        run::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    }
    if with_compute || script {
        compute::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    }
    Ok(linker)
}

fn with_wasi(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    chance::link_bounded(&mut linker)?;
    files::link_bounded(&mut linker)?;
    Ok(linker)
}
