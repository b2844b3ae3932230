//! The WASI that a plugin sees: nothing of the machine but what was granted, and for campaigns nothing that varies.
use super::call::CallState;
use crate::model::config::Grants;
use crate::model::document::sha256;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::{FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, async_trait};

/// Bytes that a plugin may hand over in one write.
const WRITE_MAX: usize = 1024 * 1024;

/// What a plugin printed.
#[derive(Debug, Default)]
pub(super) struct Printed {
    pub(super) bytes: Vec<u8>,
    pub(super) dropped: bool,
}

/// A standard output or error that keeps what was printed, up to a number of bytes; what comes after is dropped.
#[derive(Clone)]
pub(super) struct Capture {
    printed: Arc<Mutex<Printed>>,
    most: usize,
}

impl Capture {
    pub(super) fn new(most: usize) -> Self {
        Self { printed: Arc::default(), most }
    }

    /// The last bytes printed, at most `most`.
    pub(super) fn last(&self, most: usize) -> Vec<u8> {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.bytes[printed.bytes.len().saturating_sub(most)..].to_vec()
    }

    /// What was printed since the last look.
    pub(super) fn take(&self) -> Printed {
        std::mem::take(&mut self.printed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, bytes: &[u8]) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.most.saturating_sub(printed.bytes.len()).min(bytes.len());
        printed.bytes.extend_from_slice(&bytes[..room]);
        printed.dropped |= room < bytes.len();
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl tokio::io::AsyncWrite for Capture {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

/// A clock that stands still, in milliseconds since the epoch.
#[derive(Clone, Copy)]
struct StandingClock(u64);

impl HostWallClock for StandingClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl HostMonotonicClock for StandingClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.0.saturating_mul(1_000_000)
    }
}

/// A stream of bytes that follows from its key alone: SHA-256 of the key and a counter, block after block.
struct Stream {
    key: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    fn new(key: [u8; 32]) -> Self {
        Self { key, counter: 0, block: [0; 32], used: 32 }
    }
}

impl rand::TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            if self.used == self.block.len() {
                let mut hasher = Sha256::new();
                hasher.update(self.key);
                hasher.update(self.counter.to_le_bytes());
                self.block = hasher.finalize().into();
                (self.counter, self.used) = (self.counter + 1, 0);
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
        Ok(())
    }
}

/// What a campaign sees: the recorded time, and randomness that follows from seed and decision number.
pub(super) fn for_campaign(seed: u64, decision: u64, now_ms: u64, out: &Capture, err: &Capture) -> WasiCtx {
    let mut builder = quiet(out, err);
    stand_ins(&mut builder, Sha256::digest(format!("{seed}:{decision}")).into(), now_ms);
    builder.build()
}

/// What an operator sees: its attempt directory and its exchange directory if granted (and if it has use for `files` at
/// all), and stand-ins for what is not.
pub(super) fn for_operator(
    grants: &Grants,
    attempt: &str,
    files: bool,
    work: &Path,
    out: &Capture,
    err: &Capture,
) -> wasmtime::Result<WasiCtx> {
    let work = Some(work).filter(|_| files && grants.work);
    let mut builder = quiet(out, err);
    if !grants.clock || !grants.random {
        let (clock, random) = (grants.clock, grants.random);
        let key = Sha256::digest(format!("{attempt}{}", sha256(attempt.as_bytes()))).into();
        if !random {
            random_stand_in(&mut builder, key);
        }
        if !clock {
            clock_stand_in(&mut builder, 0);
        }
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

fn stand_ins(builder: &mut WasiCtxBuilder, key: [u8; 32], now_ms: u64) {
    random_stand_in(builder, key);
    clock_stand_in(builder, now_ms);
}

fn clock_stand_in(builder: &mut WasiCtxBuilder, now_ms: u64) {
    builder.wall_clock(StandingClock(now_ms)).monotonic_clock(StandingClock(now_ms));
}

fn random_stand_in(builder: &mut WasiCtxBuilder, key: [u8; 32]) {
    let seed = u128::from_le_bytes(std::array::from_fn(|index| key[index]));
    let other = Sha256::digest(key).into();
    builder.secure_random(Stream::new(key)).insecure_random(Stream::new(other)).insecure_random_seed(seed);
}

/// Replaces the clock that can be waited for: in a campaign no time passes, so every wait is over at once.
pub(super) fn link_standing_clock(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<CallState, HasSelf<CallState>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Over;

#[async_trait]
impl Pollable for Over {
    async fn ready(&mut self) {}
}

impl monotonic_clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.now_ms().saturating_mul(1_000_000))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000_000)
    }

    fn subscribe_instant(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(0)
    }

    fn subscribe_duration(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let table = self.table();
        let over = table.push(Over)?;
        subscribe(table, over)
    }
}
