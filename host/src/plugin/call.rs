//! One call into a plugin: what its store holds, its limits, and the host's side of the imports.
use super::bindings::campaign::matterstack::plugin::{artifacts, log, types};
use super::bindings::operator::matterstack::plugin::{compute, lifecycle, operator_types};
use super::border::{found_to_wit, report_to_wit, to_wit};
use super::host::{Artifacts, PluginLog};
use super::{PluginErrorKind, border, wasi};
use crate::backend::{Compute, JobKey};
use crate::model::config::{Grants, PluginLimits};
use crate::model::contract::GuestError;
use crate::model::id::{AttemptId, TaskId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, bail};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Bytes of standard error in which a panic's last words are looked for.
const LAST_WORDS_READ: usize = 4096;
/// Lines that make up last words: where a panic happened, and its message.
const LAST_WORDS_LINES: usize = 2;
/// Core instances that one call may make.
pub(super) const INSTANCES_MAX: usize = 100;
/// Tables that one call may have.
pub(super) const TABLES_MAX: usize = 100;
/// Memories that one call may have.
pub(super) const MEMORIES_MAX: usize = 20;
/// Bytes that one `artifacts.read` returns at most.
const READ_MAX: u32 = 16 * 1024 * 1024;

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

impl Shared {
    /// `limits.plugin.output_mb` in bytes.
    pub(super) fn output_max(&self) -> usize {
        usize::try_from(self.limits.output_mb.saturating_mul(1024 * 1024)).unwrap_or(usize::MAX)
    }
}

/// The attempt a call is made for.
pub(super) struct CalledAttempt {
    pub(super) id: AttemptId,
    pub(super) task_id: TaskId,
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
        let most = self.shared.limits.host_calls;
        if self.host_calls > most {
            self.hit = Some(PluginErrorKind::Limit("limits.plugin.host_calls", most));
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
                self.note(LogLevel::Warn, &self.dropped("printed"));
            }
        }
    }

    fn dropped(&self, what: &str) -> String {
        format!("more was {what} and has been dropped: `limits.plugin.output_mb` is {}", self.shared.limits.output_mb)
    }

    /// The last words of a plugin that panicked: what it printed to standard error, less the advice.
    pub(super) fn last_words(&self) -> Option<String> {
        let printed = self.err.last(LAST_WORDS_READ);
        let text = String::from_utf8_lossy(&printed);
        let said: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note: ")).collect();
        let last = said[said.len().saturating_sub(LAST_WORDS_LINES)..].join(" ");
        (!last.is_empty()).then(|| border::sentence(&last))
    }

    fn granted(&self, call: &str, backend: &str) -> Result<&CalledAttempt, types::Error> {
        let denied = |text: String| types::Error::Denied(types::Detail { code: "denied".to_owned(), message: text });
        let attempt = self.attempt.as_ref().ok_or_else(|| denied("`compute` needs an attempt".to_owned()))?;
        if attempt.grants.compute.iter().any(|granted| granted == backend) {
            return Ok(attempt);
        }
        let mut grant = attempt.grants.compute.clone();
        grant.push(backend.to_owned());
        let grant = serde_json::json!({"operators": {&attempt.operator: {"grants": {"compute": grant}}}});
        Err(denied(format!(
            "`compute`: `{call}` on backend `{backend}` is not granted; config.json would grant it with {grant}"
        )))
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl ResourceLimiter for CallState {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit_mb = self.shared.limits.memory_mb;
        if desired as u64 > limit_mb.saturating_mul(1024 * 1024) {
            self.hit = Some(PluginErrorKind::Memory(limit_mb));
            bail!("memory limit");
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let most = self.shared.limits.table_elements;
        if desired as u64 > most {
            self.hit = Some(PluginErrorKind::Limit("limits.plugin.table_elements", most));
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
        let most = self.shared.output_max();
        if self.logged > most {
            if before <= most {
                self.note(LogLevel::Warn, &self.dropped("logged"));
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
        call: &str,
        backend: &str,
        question: impl FnOnce(&dyn Compute, JobKey<'_>) -> Result<T, GuestError>,
    ) -> wasmtime::Result<Result<T, types::Error>> {
        self.count()?;
        Ok(self.granted(call, backend).and_then(|attempt| {
            let key = JobKey { attempt_id: &attempt.id, task_id: &attempt.task_id, directory: &attempt.directory };
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
        self.ask("submit", &backend, |compute, key| compute.submit(&backend, key, &job))
    }

    fn find(&mut self, backend: String) -> wasmtime::Result<Result<operator_types::Found, types::Error>> {
        self.ask("find", &backend, |compute, key| compute.find(&backend, key).map(found_to_wit))
    }

    fn status(
        &mut self,
        backend: String,
        handle: String,
    ) -> wasmtime::Result<Result<operator_types::StatusReport, types::Error>> {
        self.ask("status", &backend, |compute, key| compute.status(&backend, key, &handle).map(report_to_wit))
    }

    fn collect(&mut self, backend: String, handle: String) -> wasmtime::Result<Result<String, types::Error>> {
        self.ask("collect", &backend, |compute, key| compute.collect(&backend, key, &handle))
    }

    fn cancel(&mut self, backend: String, handle: String) -> wasmtime::Result<Result<(), types::Error>> {
        self.ask("cancel", &backend, |compute, key| compute.cancel(&backend, key, &handle))
    }
}
