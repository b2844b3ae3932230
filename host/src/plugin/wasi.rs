//! The WASI that a plugin sees: nothing of the machine but what was granted, and for campaigns nothing that varies.
//!
//! Every function of it that a guest can call is bounded: waits end with the call, reads give 64 KiB at most, writes
//! take what crosses the border, directories are read as far as somebody asks (`files`), random bytes are counted
//! (`chance`), handles are limited, and there is no network.
use super::capture::Capture;
use super::clock::StandingClock;
use crate::model::config::Grants;
use std::path::Path;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

/// What a campaign sees: the recorded time.
pub(super) fn for_campaign(now_ms: u64, out: &Capture, err: &Capture) -> WasiCtx {
    let mut builder = quiet(out, err);
    clock_stand_in(&mut builder, now_ms);
    builder.build()
}

/// What an operator sees: its attempt directory and its exchange directory if granted (and if it has use for `files` at
/// all), and a stand-in for a clock that is not.
pub(super) fn for_operator(
    grants: &Grants,
    files: bool,
    work: &Path,
    out: &Capture,
    err: &Capture,
) -> wasmtime::Result<WasiCtx> {
    let work = Some(work).filter(|_| files && grants.work);
    let mut builder = quiet(out, err);
    if !grants.clock {
        clock_stand_in(&mut builder, 0);
    }
    for name in &grants.env {
        if let Ok(value) = std::env::var(name) {
            builder.env(name, value);
        }
    }
    let exchange = grants.exchange.as_deref().filter(|_| files);
    for (directory, name) in [(work, "/work"), (exchange, "/exchange")] {
        if let Some(directory) = directory {
            builder
                .preopened_dir(directory, name, FsPerms::ReadWrite)
                .map_err(|error| error.context(format!("`{}`", directory.display())))?;
        }
    }
    Ok(builder.build())
}

fn quiet(out: &Capture, err: &Capture) -> WasiCtxBuilder {
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(out.clone()).stderr(err.clone()).allow_tcp(false).allow_udp(false);
    builder
}

fn clock_stand_in(builder: &mut WasiCtxBuilder, now_ms: u64) {
    builder.wall_clock(StandingClock(now_ms)).monotonic_clock(StandingClock(now_ms));
}
