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

use crate::model::code::{Code, Word};
use crate::model::config::Limit;
use crate::model::contract::{AttemptRequest, Context, Decision, Found, GuestError, StatusReport};
use crate::model::id::OperatorKey;

/// A value a campaign answered, with the fuel the call used.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What the plugin answered.
    pub value: T,
    /// Units of fuel used by the call.
    pub fuel: u64,
}

/// The calls a tick makes into plugins.
pub trait Plugins {
    /// Asks the campaign what to do next.
    fn plan(&self, context: &Context, state: Option<&str>) -> Result<Answer<Decision>, PluginError>;
    /// Lets the campaign fold results (a JSON array) into its state.
    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Result<Answer<String>, PluginError>;
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
    /// Another limit was hit, and its value.
    #[error("passed a limit: `{0}` is {1}")]
    Limit(Limit, u64),
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
    pub fn code(&self) -> Code {
        match self {
            Self::Load(_) => Code::PluginLoad,
            Self::NotGranted(..) => Code::PluginNotGranted,
            Self::Trap(_) => Code::PluginTrap,
            Self::Deadline(_) => Code::PluginDeadline,
            Self::Fuel(_) => Code::PluginFuel,
            Self::Memory(_) => Code::PluginMemory,
            Self::Limit(..) => Code::PluginLimit,
            Self::Guest(_) => Code::PluginError,
            Self::BadOutput(_) => Code::PluginBadOutput,
        }
    }

    /// The limit that was reached.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Deadline(_) => Some(Limit::CallMs),
            Self::Fuel(_) => Some(Limit::Fuel),
            Self::Memory(_) => Some(Limit::MemoryMb),
            Self::Limit(limit, _) => Some(*limit),
            Self::Load(_) | Self::NotGranted(..) | Self::Trap(_) | Self::Guest(_) | Self::BadOutput(_) => None,
        }
    }

    /// The host's word for it, with the limit that was reached.
    pub fn word(&self) -> Word {
        let code = self.code();
        self.limit().map_or(Word::Own(code), |limit| Word::Limit(code, limit))
    }

    /// The word for what became of an attempt: the operator's own if it gave one.
    pub fn word_of_operator(&self) -> Word {
        match self {
            Self::Guest(guest) => Word::of_operator(&guest.detail().code),
            Self::Load(_)
            | Self::NotGranted(..)
            | Self::Trap(_)
            | Self::Deadline(_)
            | Self::Fuel(_)
            | Self::Memory(_)
            | Self::Limit(..)
            | Self::BadOutput(_) => self.word(),
        }
    }

    /// Whether the same request would be turned down again, whatever its code: another attempt is of no use.
    pub fn is_for_good(&self) -> bool {
        matches!(self, Self::Guest(GuestError::Invalid(_) | GuestError::Rejected(_) | GuestError::Denied(_)))
    }
}
