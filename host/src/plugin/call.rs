//! One call into a plugin: what its store holds, its limits, and the host's side of the imports.
use super::bindings::campaign::matterstack::plugin::{artifacts, log, types};
use super::bindings::operator::matterstack::plugin::{compute, lifecycle, operator_types};
use super::host::{Artifacts, PluginLog};
use super::{PluginErrorKind, wasi};
use crate::backend::{Compute, JobKey};
use crate::model::config::{Grants, PluginLimits};
use crate::model::contract::{Detail, Found, GuestError, Status, StatusReport};
use crate::model::id::AttemptId;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, bail};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Calls into the host that one call of a plugin may make.
const HOST_CALLS_MAX: u64 = 1_000_000;
/// Elements that a table may have.
pub(super) const TABLE_MAX: usize = 1_000_000;
/// Core instances that one call may make.
pub(super) const INSTANCES_MAX: usize = 100;
/// Tables that one call may have.
pub(super) const TABLES_MAX: usize = 100;
/// Memories that one call may have.
pub(super) const MEMORIES_MAX: usize = 20;
/// Bytes that one `artifacts.read` returns at most.
const READ_MAX: u32 = 16 * 1024 * 1024;
/// Bytes of log messages that one call may write.
const LOG_MAX: usize = 1024 * 1024;

/// How much a log message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Worth keeping.
    Info,
    /// Something a person may want to act on.
    Warn,
    /// Something went wrong.
    Error,
}

impl LogLevel {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What every call of a run shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) compute: Arc<dyn Compute>,
    pub(super) artifacts: Arc<dyn Artifacts>,
    pub(super) log: Arc<dyn PluginLog>,
    pub(super) limits: PluginLimits,
}

/// The attempt a call is made for.
pub(super) struct CalledAttempt {
    pub(super) id: AttemptId,
    pub(super) directory: PathBuf,
    pub(super) cancelled: bool,
    pub(super) operator: String,
    pub(super) grants: Arc<Grants>,
    pub(super) deadline: Instant,
}

/// What the store of one call holds.
pub(super) struct CallState {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) shared: Shared,
    pub(super) plugin: Arc<str>,
    pub(super) now_ms: u64,
    pub(super) attempt: Option<CalledAttempt>,
    /// The limit that was hit, if one was.
    pub(super) hit: Option<PluginErrorKind>,
    pub(super) host_calls: u64,
    pub(super) logged: usize,
    pub(super) out: wasi::Capture,
    pub(super) err: wasi::Capture,
}

impl CallState {
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    fn count(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        if self.host_calls > HOST_CALLS_MAX {
            self.hit = Some(PluginErrorKind::Limit("host-calls", HOST_CALLS_MAX));
            bail!("too many host calls");
        }
        Ok(())
    }

    fn note(&self, level: LogLevel, message: &str) {
        let attempt = self.attempt.as_ref().map(|attempt| attempt.id.as_str());
        self.shared.log.write(&self.plugin, attempt, level, message);
    }

    /// Puts what the plugin printed into the log.
    pub(super) fn keep_printed(&self) {
        for (capture, level) in [(&self.out, LogLevel::Info), (&self.err, LogLevel::Warn)] {
            let printed = capture.take();
            for line in String::from_utf8_lossy(&printed.bytes).lines().filter(|line| !line.is_empty()) {
                self.note(level, line);
            }
            if printed.dropped {
                self.note(LogLevel::Warn, "more was printed and has been dropped");
            }
        }
    }

    fn granted(&self, backend: &str) -> Result<&CalledAttempt, types::Error> {
        let denied = |text: String| types::Error::Denied(types::Detail { code: "denied".to_owned(), message: text });
        let attempt = self.attempt.as_ref().ok_or_else(|| denied("`compute` needs an attempt".to_owned()))?;
        if attempt.grants.compute.iter().any(|granted| granted == backend) {
            return Ok(attempt);
        }
        let mut grant = attempt.grants.compute.clone();
        grant.push(backend.to_owned());
        let grant = serde_json::json!({"operators": {&attempt.operator: {"grants": {"compute": grant}}}});
        Err(denied(format!("`compute` on backend `{backend}` is not granted; config.json would grant it with {grant}")))
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl ResourceLimiter for CallState {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.shared.limits.memory_mb.saturating_mul(1024 * 1024);
        if desired as u64 > limit {
            self.hit = Some(PluginErrorKind::Memory(limit));
            bail!("memory limit");
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_MAX {
            self.hit = Some(PluginErrorKind::Limit("table-elements", TABLE_MAX as u64));
            bail!("table limit");
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

impl types::Host for CallState {}
impl operator_types::Host for CallState {}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.count()?;
        let before = self.logged;
        self.logged = before.saturating_add(message.len());
        if self.logged > LOG_MAX {
            if before <= LOG_MAX {
                self.note(LogLevel::Warn, "more was logged and has been dropped");
            }
            return Ok(());
        }
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.note(level, &message);
        Ok(())
    }
}

impl artifacts::Host for CallState {
    fn read(&mut self, digest: String, offset: u64, max: u32) -> wasmtime::Result<Result<Vec<u8>, types::Error>> {
        self.count()?;
        Ok(self.shared.artifacts.read(&digest, offset, max.min(READ_MAX)).map_err(to_wit))
    }
}

impl lifecycle::Host for CallState {
    fn time_left_ms(&mut self) -> wasmtime::Result<u64> {
        self.count()?;
        let left = self.attempt.as_ref().map(|attempt| attempt.deadline.saturating_duration_since(Instant::now()));
        Ok(left.map_or(0, |left| left.as_millis() as u64))
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        self.count()?;
        Ok(self.attempt.as_ref().is_some_and(|attempt| attempt.cancelled))
    }
}

impl CallState {
    /// Asks a backend, if it is granted.
    fn ask<T>(
        &mut self,
        backend: &str,
        question: impl FnOnce(&dyn Compute, JobKey<'_>) -> Result<T, GuestError>,
    ) -> wasmtime::Result<Result<T, types::Error>> {
        self.count()?;
        Ok(self.granted(backend).and_then(|attempt| {
            let key = JobKey { attempt_id: &attempt.id, directory: &attempt.directory };
            question(&*self.shared.compute, key).map_err(to_wit)
        }))
    }
}

impl compute::Host for CallState {
    fn backends(&mut self) -> wasmtime::Result<Vec<String>> {
        self.count()?;
        Ok(self.attempt.as_ref().map(|attempt| attempt.grants.compute.clone()).unwrap_or_default())
    }

    fn submit(&mut self, backend: String, job: String) -> wasmtime::Result<Result<String, types::Error>> {
        self.ask(&backend, |compute, key| compute.submit(&backend, key, &job))
    }

    fn find(&mut self, backend: String) -> wasmtime::Result<Result<operator_types::Found, types::Error>> {
        self.ask(&backend, |compute, key| compute.find(&backend, key).map(found_to_wit))
    }

    fn status(
        &mut self,
        backend: String,
        handle: String,
    ) -> wasmtime::Result<Result<operator_types::StatusReport, types::Error>> {
        self.ask(&backend, |compute, key| compute.status(&backend, key, &handle).map(report_to_wit))
    }

    fn collect(&mut self, backend: String, handle: String) -> wasmtime::Result<Result<String, types::Error>> {
        self.ask(&backend, |compute, key| compute.collect(&backend, key, &handle))
    }

    fn cancel(&mut self, backend: String, handle: String) -> wasmtime::Result<Result<(), types::Error>> {
        self.ask(&backend, |compute, key| compute.cancel(&backend, key, &handle))
    }
}

fn detail_to_wit(detail: Detail) -> types::Detail {
    types::Detail { code: detail.code, message: detail.message }
}

fn detail_from_wit(detail: types::Detail) -> Detail {
    Detail { code: detail.code, message: detail.message }
}

fn to_wit(error: GuestError) -> types::Error {
    match error {
        GuestError::Invalid(detail) => types::Error::Invalid(detail_to_wit(detail)),
        GuestError::Rejected(detail) => types::Error::Rejected(detail_to_wit(detail)),
        GuestError::Transient(detail, retry_after_ms) => {
            types::Error::Transient(types::Delay { detail: detail_to_wit(detail), retry_after_ms })
        }
        GuestError::Denied(detail) => types::Error::Denied(detail_to_wit(detail)),
        GuestError::Ambiguous(detail) => types::Error::Ambiguous(detail_to_wit(detail)),
        GuestError::Other(detail) => types::Error::Other(detail_to_wit(detail)),
    }
}

/// A plugin's error as the host's own.
pub(super) fn from_wit(error: types::Error) -> GuestError {
    match error {
        types::Error::Invalid(detail) => GuestError::Invalid(detail_from_wit(detail)),
        types::Error::Rejected(detail) => GuestError::Rejected(detail_from_wit(detail)),
        types::Error::Transient(delay) => GuestError::Transient(detail_from_wit(delay.detail), delay.retry_after_ms),
        types::Error::Denied(detail) => GuestError::Denied(detail_from_wit(detail)),
        types::Error::Ambiguous(detail) => GuestError::Ambiguous(detail_from_wit(detail)),
        types::Error::Other(detail) => GuestError::Other(detail_from_wit(detail)),
    }
}

fn found_to_wit(found: Found) -> operator_types::Found {
    match found {
        Found::Yes(handle) => operator_types::Found::Yes(handle),
        Found::No => operator_types::Found::No,
        Found::Unknown(note, poll_after_ms) => {
            operator_types::Found::Unknown(operator_types::Undecided { note, poll_after_ms })
        }
    }
}

/// A plugin's answer to `reconcile` as the host's own.
pub(super) fn found_from_wit(found: operator_types::Found) -> Found {
    match found {
        operator_types::Found::Yes(handle) => Found::Yes(handle),
        operator_types::Found::No => Found::No,
        operator_types::Found::Unknown(undecided) => Found::Unknown(undecided.note, undecided.poll_after_ms),
    }
}

fn report_to_wit(report: StatusReport) -> operator_types::StatusReport {
    use operator_types::Status as Wit;
    let status = match report.status {
        Status::Queued => Wit::Queued,
        Status::Running(progress) => Wit::Running(progress),
        Status::Waiting(kind, detail) => Wit::Waiting(operator_types::Waiting { kind, detail }),
        Status::Succeeded => Wit::Succeeded,
        Status::Failed(detail) => Wit::Failed(detail_to_wit(detail)),
        Status::Cancelled => Wit::Cancelled,
        Status::NotStarted(detail) => Wit::NotStarted(detail_to_wit(detail)),
        Status::Lost(detail) => Wit::Lost(detail_to_wit(detail)),
        Status::Unavailable(detail) => Wit::Unavailable(detail_to_wit(detail)),
    };
    operator_types::StatusReport { status, handle: report.handle, poll_after_ms: report.poll_after_ms }
}

/// A plugin's answer to `check-status` as the host's own.
pub(super) fn report_from_wit(report: operator_types::StatusReport) -> StatusReport {
    use operator_types::Status as Wit;
    let status = match report.status {
        Wit::Queued => Status::Queued,
        Wit::Running(progress) => Status::Running(progress),
        Wit::Waiting(waiting) => Status::Waiting(waiting.kind, waiting.detail),
        Wit::Succeeded => Status::Succeeded,
        Wit::Failed(detail) => Status::Failed(detail_from_wit(detail)),
        Wit::Cancelled => Status::Cancelled,
        Wit::NotStarted(detail) => Status::NotStarted(detail_from_wit(detail)),
        Wit::Lost(detail) => Status::Lost(detail_from_wit(detail)),
        Wit::Unavailable(detail) => Status::Unavailable(detail_from_wit(detail)),
    };
    StatusReport { status, handle: report.handle, poll_after_ms: report.poll_after_ms }
}
