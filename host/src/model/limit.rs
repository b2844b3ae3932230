//! The limits of a configuration, each known by its key, and one with its value as an error carries it.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A limit and its value in force; shown as `` `limits.plugin.fuel` is 10``.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The key in config.json that raises it.
    pub key: &'static str,
    /// Its value, in the unit that the key's last word names.
    pub value: u64,
}

impl Bound {
    /// Joins a key and its value.
    pub fn new(key: &'static str, value: u64) -> Self {
        Self { key, value }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}", self.key, self.value)
    }
}

/// The `limits` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Live attempts in the run at once.
    pub max_active: u64,
    /// Tasks in the run, all iterations together.
    pub max_tasks: u64,
    /// Files and directories in the directory of one attempt, when its outputs are collected.
    pub attempt_files: u64,
    /// The output files of one attempt together, in MiB.
    pub attempt_mb: u64,
    /// What `stdout` and `stderr` of one attempt on this machine may hold, each, in MiB; an attempt that prints more is
    /// ended with the code `log-limit`.
    pub attempt_log_mb: u64,
    /// Limits of every plugin call.
    pub plugin: PluginLimits,
    /// Limits of compiling a plugin, which happens once for each machine and plugin.
    pub compile: CompileLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_active: 500,
            max_tasks: 1_000_000,
            attempt_files: 100_000,
            attempt_mb: 100_000,
            attempt_log_mb: 10_000,
            plugin: PluginLimits::default(),
            compile: CompileLimits::default(),
        }
    }
}

/// The `limits.plugin` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Memories and tables of one call together, in MiB.
    pub memory_mb: u64,
    /// Deadline of an operator's call, in milliseconds.
    pub call_ms: u64,
    /// The fuse of a campaign's call, in milliseconds: far more than its fuel takes. What it ends has no answer, and
    /// the run is held.
    pub plan_ms: u64,
    /// Fuel of a campaign's call.
    pub fuel: u64,
    /// What one call may return, log, print, or draw as random bytes, each in MiB.
    pub output_mb: u64,
    /// Elements of a table of one instance.
    pub table_elements: u64,
    /// Calls that one call may make into the host's own interfaces.
    pub host_calls: u64,
    /// Files, streams and other handles of WASI that one call may hold at once.
    pub handles: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory_mb: 512,
            call_ms: 10_000,
            plan_ms: 120_000,
            fuel: 100_000_000_000,
            output_mb: 64,
            table_elements: 1_000_000,
            host_calls: 1_000_000,
            handles: 256,
        }
    }
}

/// A bound that a person can raise, by its key in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// `limits.plugin.memory_mb`
    MemoryMb,
    /// `limits.plugin.call_ms`
    CallMs,
    /// `limits.plugin.fuel`
    Fuel,
    /// `limits.plugin.output_mb`
    OutputMb,
    /// `limits.plugin.table_elements`
    TableElements,
    /// `limits.plugin.host_calls`
    HostCalls,
    /// `limits.plugin.plan_ms`
    PlanMs,
    /// `limits.plugin.handles`
    Handles,
    /// `limits.compile.memory_mb`
    CompileMemoryMb,
    /// `limits.compile.cpu_s`
    CompileCpuS,
    /// `limits.max_tasks`
    MaxTasks,
    /// `limits.attempt_files`
    AttemptFiles,
    /// `limits.attempt_mb`
    AttemptMb,
    /// `limits.attempt_log_mb`
    AttemptLogMb,
}

impl Limit {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[
        Self::MemoryMb,
        Self::CallMs,
        Self::Fuel,
        Self::OutputMb,
        Self::TableElements,
        Self::HostCalls,
        Self::PlanMs,
        Self::Handles,
        Self::CompileMemoryMb,
        Self::CompileCpuS,
        Self::MaxTasks,
        Self::AttemptFiles,
        Self::AttemptMb,
        Self::AttemptLogMb,
    ];

    /// The key.
    pub fn key(self) -> &'static str {
        match self {
            Self::MemoryMb => "limits.plugin.memory_mb",
            Self::CallMs => "limits.plugin.call_ms",
            Self::Fuel => "limits.plugin.fuel",
            Self::OutputMb => "limits.plugin.output_mb",
            Self::TableElements => "limits.plugin.table_elements",
            Self::HostCalls => "limits.plugin.host_calls",
            Self::PlanMs => "limits.plugin.plan_ms",
            Self::Handles => "limits.plugin.handles",
            Self::CompileMemoryMb => "limits.compile.memory_mb",
            Self::CompileCpuS => "limits.compile.cpu_s",
            Self::MaxTasks => "limits.max_tasks",
            Self::AttemptFiles => "limits.attempt_files",
            Self::AttemptMb => "limits.attempt_mb",
            Self::AttemptLogMb => "limits.attempt_log_mb",
        }
    }

    /// The limit of a key.
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|limit| limit.key() == key)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// The `limits.compile` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompileLimits {
    /// Memory of the process that compiles one plugin, in MiB.
    pub memory_mb: u64,
    /// Processor time of the process that compiles one plugin, in seconds.
    pub cpu_s: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory_mb: 2000, cpu_s: 120 }
    }
}

impl Limits {
    /// What is allowed now.
    pub fn get(&self, limit: Limit) -> u64 {
        let plugin = &self.plugin;
        match limit {
            Limit::MemoryMb => plugin.memory_mb,
            Limit::CallMs => plugin.call_ms,
            Limit::Fuel => plugin.fuel,
            Limit::OutputMb => plugin.output_mb,
            Limit::TableElements => plugin.table_elements,
            Limit::HostCalls => plugin.host_calls,
            Limit::PlanMs => plugin.plan_ms,
            Limit::Handles => plugin.handles,
            Limit::CompileMemoryMb => self.compile.memory_mb,
            Limit::CompileCpuS => self.compile.cpu_s,
            Limit::MaxTasks => self.max_tasks,
            Limit::AttemptFiles => self.attempt_files,
            Limit::AttemptMb => self.attempt_mb,
            Limit::AttemptLogMb => self.attempt_log_mb,
        }
    }
}
