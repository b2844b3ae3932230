//! The only place that knows wasmtime: runs campaigns and operators as WebAssembly components, each call in a fresh
//! instance with limits, a deadline and nothing it was not granted.
mod bindings;
mod border;
pub mod builtin;
mod cache;
mod call;
mod host;
mod inspect;
mod link;
mod wasi;
mod watchdog;

pub use call::LogLevel;
pub use host::{Artifacts, HostSettings, PluginHost, PluginLog, PluginSource};
pub use inspect::{CONTRACT, Inspection, inspect};

use crate::model::act::VERSION;
use crate::model::contract::{AttemptRequest, Context, Decision, Found, GuestError, Reads, StatusReport};
use crate::model::evidence::{DecisionOutcome, EngineRecord};
use crate::model::id::OperatorKey;

/// The version of wasmtime, as Cargo.lock names it.
const WASMTIME: &str = "48.0.8";

/// What carries plugins out here.
pub fn engine() -> EngineRecord {
    EngineRecord {
        version: VERSION.to_owned(),
        contract: CONTRACT.to_owned(),
        runtime: format!("wasmtime {WASMTIME}"),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    }
}

/// What came of a call of a campaign.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What the plugin answered, or why it did not.
    pub value: Result<T, PluginError>,
    /// Units of fuel used by the call.
    pub fuel: u64,
    /// The files it read.
    pub reads: Reads,
}

/// The calls a tick makes into plugins.
pub trait Plugins {
    /// Asks the campaign what to do next.
    fn plan(&self, context: &Context, state: Option<&str>) -> Answer<Decision>;
    /// Lets the campaign fold results (a JSON array) into its state.
    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Answer<String>;
    /// What carries campaigns out.
    fn engine(&self) -> EngineRecord;
    /// Readies what `submit` needs.
    fn prepare(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError>;
    /// Carries the attempt outside, once; returns its handle.
    fn submit(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<String, PluginError>;
    /// Tells whether an interrupted submit took effect.
    fn reconcile(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Found, PluginError>;
    /// Asks where the attempt stands.
    fn check_status(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<StatusReport, PluginError>;
    /// Fetches the results of an ended attempt; returns the output document, if any.
    fn collect_results(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Option<String>, PluginError>;
    /// Asks the outside to stop the attempt.
    fn cancel(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError>;
}

/// Why a plugin could not be loaded or a call did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin `{plugin}`{}: {kind}", .call.map(|c| format!(" in `{c}`")).unwrap_or_default())]
pub struct PluginError {
    /// The plugin as the configuration names it.
    pub plugin: String,
    /// The call that failed; absent while loading.
    pub call: Option<&'static str>,
    /// What happened.
    pub kind: PluginErrorKind,
}

/// The ways a plugin can fail, told apart in the store, in `explain` and in exit codes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PluginErrorKind {
    /// Missing, not a component, for another world or contract version, or its digest differs.
    #[error("{0}")]
    Load(String),
    /// Imports an interface that is not granted; the second text is the JSON that would grant it.
    #[error("needs `{0}`, which the configuration does not grant")]
    NotGranted(String, String),
    /// Trapped (a panic, an illegal access, stack overflow).
    #[error("trapped: {0}")]
    Trap(String),
    /// Passed its deadline, in milliseconds.
    #[error("passed its deadline: `limits.plugin.call_ms` is {0}")]
    Deadline(u64),
    /// Used up its fuel.
    #[error("used up its fuel: `limits.plugin.fuel` is {0}")]
    Fuel(u64),
    /// Asked for more memory than this many MiB.
    #[error("asked for more memory than it may have: `limits.plugin.memory_mb` is {0}")]
    Memory(u64),
    /// Another limit was hit: the key in config.json that raises it, and its value.
    #[error("passed a limit: `{0}` is {1}")]
    Limit(&'static str, u64),
    /// Answered with an error.
    #[error("{0}")]
    Guest(GuestError),
    /// Answered with something the contract does not allow.
    #[error("bad output: {0}")]
    BadOutput(String),
}

impl PluginErrorKind {
    /// Whether not a single instruction of the plugin ran, so that the error says nothing about what it was asked.
    pub fn never_ran(&self) -> bool {
        matches!(self, Self::Load(_) | Self::NotGranted(..))
    }

    /// The word for it in the store, in `explain` and in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(_) => "plugin-load",
            Self::NotGranted(..) => "plugin-not-granted",
            Self::Trap(_) => "plugin-trap",
            Self::Deadline(_) => "plugin-deadline",
            Self::Fuel(_) => "plugin-fuel",
            Self::Memory(_) => "plugin-memory",
            Self::Limit(..) => "plugin-limit",
            Self::Guest(_) => "plugin-error",
            Self::BadOutput(_) => "plugin-bad-output",
        }
    }

    /// How it ends a decision in the record; nothing if no decision was made.
    pub fn outcome(&self) -> Option<DecisionOutcome> {
        match self {
            Self::Load(_) | Self::NotGranted(..) => None,
            Self::Trap(_) => Some(DecisionOutcome::Trap),
            Self::Deadline(_) => Some(DecisionOutcome::Deadline),
            Self::Fuel(_) | Self::Memory(_) | Self::Limit(..) => Some(DecisionOutcome::Limit),
            Self::Guest(_) => Some(DecisionOutcome::Error),
            Self::BadOutput(_) => Some(DecisionOutcome::BadOutput),
        }
    }

    /// The plugin's own word for it if it gave one, else [`PluginErrorKind::code`].
    pub fn own_code(&self) -> &str {
        match self {
            Self::Guest(guest) => &guest.detail().code,
            kind => kind.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_in_the_record_is_the_one_that_is_linked() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).expect("Cargo.lock");
        let entry = format!("name = \"wasmtime\"\nversion = \"{}\"", super::WASMTIME);
        assert!(lock.contains(&entry), "Cargo.lock has another version of wasmtime than {}", super::WASMTIME);
    }
}
