//! What the store of one call holds, and the limits that it keeps.
use super::bindings::campaign::matterstack::plugin::types;
use super::border;
use super::capture::Capture;
use super::chance::Chance;
use super::error::PluginErrorKind;
use super::given::{Artifacts, LogEntry, LogLevel, PluginLog};
use super::memory::{Growth, Memory};
use crate::backend::Compute;
use crate::model::config::Grants;
use crate::model::contract::{Reads, RunView};
use crate::model::id::{AttemptId, TaskId};
use crate::model::inputs::Inputs;
use crate::model::limit::{Bound, PluginLimits};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
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

    /// The limit on what one call may return, log or print.
    pub(super) fn output_bound(&self) -> Bound {
        Bound::new("limits.plugin.output_mb", self.limits.output_mb)
    }
}

/// The attempt a call is made for.
pub(super) struct CalledAttempt {
    pub(super) id: AttemptId,
    pub(super) task_id: TaskId,
    pub(super) directory: PathBuf,
    pub(super) inputs: Arc<Inputs>,
    pub(super) cancelled: bool,
    pub(super) operator: String,
    pub(super) grants: Arc<Grants>,
}

/// When a call must have ended, and the limit that says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) bound: Bound,
}

impl Deadline {
    /// The deadline of a call that begins now.
    pub(super) fn after_ms(key: &'static str, ms: u64) -> Self {
        Self { at: Instant::now() + Duration::from_millis(ms), bound: Bound::new(key, ms) }
    }

    pub(super) fn hit(self) -> PluginErrorKind {
        PluginErrorKind::Deadline(self.bound)
    }
}

/// What a call sees of the world outside its arguments.
pub(super) struct Sight {
    pub(super) wasi: WasiCtx,
    pub(super) chance: Chance,
    /// What a clock that stands still shows, in milliseconds since the epoch.
    pub(super) now_ms: u64,
    pub(super) out: Capture,
    pub(super) err: Capture,
}

/// What the store of one call holds.
pub(super) struct CallState {
    pub(super) sight: Sight,
    table: ResourceTable,
    pub(super) shared: Shared,
    plugin: Arc<str>,
    pub(super) deadline: Deadline,
    pub(super) attempt: Option<CalledAttempt>,
    /// The limit that was hit, if one was.
    pub(super) hit: Option<PluginErrorKind>,
    memory: Memory,
    host_calls: u64,
    /// The files read, and the reads refused.
    pub(super) reads: Reads,
    /// The run that a campaign decides for.
    pub(super) run: Option<Arc<dyn RunView>>,
    /// The files it wrote, by digest; the tick keeps them if it keeps the answer.
    pub(super) written: BTreeMap<String, Vec<u8>>,
    /// Random bytes drawn.
    drawn: u64,
    /// Fuel for what the host did: one for each byte that it made or fetched.
    pub(super) charged: u64,
    /// Bytes that the log took.
    logged: usize,
}

impl CallState {
    /// For a call that begins now, of a plugin as the configuration names it.
    pub(super) fn new(shared: Shared, plugin: &str, deadline: Deadline, sight: Sight) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(shared.limits.handles).unwrap_or(usize::MAX));
        Self {
            sight,
            table,
            shared,
            plugin: plugin.into(),
            deadline,
            attempt: None,
            hit: None,
            memory: Memory::default(),
            host_calls: 0,
            reads: Reads::default(),
            run: None,
            written: BTreeMap::new(),
            drawn: 0,
            charged: 0,
            logged: 0,
        }
    }

    pub(super) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Counts a call of the host's own interfaces; none is made after the deadline or beyond the limit.
    pub(super) fn count(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        let most = self.shared.limits.host_calls;
        if self.host_calls > most {
            return self.end(PluginErrorKind::Limit(Bound::new("limits.plugin.host_calls", most)));
        }
        self.in_time()
    }

    /// Ends a call that has passed its deadline.
    pub(super) fn in_time(&mut self) -> wasmtime::Result<()> {
        if Instant::now() > self.deadline.at { self.end(self.deadline.hit()) } else { Ok(()) }
    }

    /// Charges for bytes that the host made or fetched, as much as if the plugin had computed them.
    pub(super) fn charge(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.charged = self.charged.saturating_add(bytes);
        let most = self.shared.limits.fuel;
        if self.charged > most {
            return self.end(PluginErrorKind::Fuel(Bound::new("limits.plugin.fuel", most)));
        }
        self.in_time()
    }

    /// Counts random bytes that are about to be drawn.
    pub(super) fn draw(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.drawn = self.drawn.saturating_add(bytes);
        if self.drawn > self.shared.output_max() as u64 {
            return self.end(PluginErrorKind::Limit(self.shared.output_bound()));
        }
        self.charge(bytes)
    }

    /// Bytes of all files that this call wrote.
    pub(super) fn written_bytes(&self) -> usize {
        self.written.values().map(Vec::len).sum()
    }

    /// Ends the call for this reason.
    pub(super) fn end<T>(&mut self, reason: PluginErrorKind) -> wasmtime::Result<T> {
        self.hit = Some(reason);
        bail!("ended by the host")
    }

    /// Logs a message, and how much that takes is counted: of the disk, not of the message, which may be empty.
    pub(super) fn note(&mut self, level: LogLevel, message: &str) {
        if self.logged > self.shared.output_max() {
            return;
        }
        let written = self.write(level, message);
        self.logged = self.logged.saturating_add(written);
        if self.logged > self.shared.output_max() {
            self.note_dropped("logged");
        }
    }

    fn note_dropped(&self, what: &str) {
        let text = format!("more was {what} and has been dropped: {}", self.shared.output_bound());
        self.write(LogLevel::Warn, &text);
    }

    fn write(&self, level: LogLevel, message: &str) -> usize {
        let attempt = self.attempt.as_ref().map(|attempt| attempt.id.as_str());
        self.shared.log.write(&LogEntry { plugin: &self.plugin, attempt, level, message })
    }

    /// Puts what the plugin printed into the log.
    pub(super) fn keep_printed(&mut self) {
        for (capture, level) in [(self.sight.err.clone(), LogLevel::Warn), (self.sight.out.clone(), LogLevel::Info)] {
            let printed = capture.take();
            for line in String::from_utf8_lossy(&printed.bytes).lines().filter(|line| !line.is_empty()) {
                self.note(level, line);
            }
            if printed.dropped && self.logged <= self.shared.output_max() {
                self.note_dropped("printed");
            }
        }
    }

    /// The last words of a plugin that panicked: what it printed to standard error, less the advice.
    pub(super) fn last_words(&self) -> Option<String> {
        let printed = self.sight.err.last(LAST_WORDS_READ);
        let text = String::from_utf8_lossy(&printed);
        let said: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note: ")).collect();
        let last = said[said.len().saturating_sub(LAST_WORDS_LINES)..].join(" ");
        (!last.is_empty()).then(|| border::sentence(&last))
    }

    /// The attempt, if the backend is granted to its operator.
    pub(super) fn granted(&self, call: &str, backend: &str) -> Result<&CalledAttempt, types::Error> {
        let denied =
            |text: String| types::Error::Denied(types::Detail { code: "denied".to_owned(), message: text, data: None });
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
        WasiCtxView { ctx: &mut self.sight.wasi, table: &mut self.table }
    }
}

impl ResourceLimiter for CallState {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.memory.memory(Growth { current, desired, maximum }, &self.shared.limits);
        allowed.or_else(|reason| self.end(reason))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.failed(&error).or_else(|reason| self.end(reason))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = self.memory.table(Growth { current, desired, maximum }, &self.shared.limits);
        allowed.or_else(|reason| self.end(reason))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.failed(&error).or_else(|reason| self.end(reason))
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
