//! Why a plugin could not be loaded, or a call did not answer.
use crate::model::code::{Code, Word};
use crate::model::contract::GuestError;
use crate::model::evidence::DecisionOutcome;
use crate::model::limit::{Bound, Limit};

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
    /// Compiling it takes more than it may.
    #[error("takes more to compile than it may: {0}")]
    Compile(Bound),
    /// Imports an interface that is not granted.
    #[error("needs `{interface}`, which the configuration does not grant")]
    NotGranted {
        /// The interface.
        interface: String,
        /// The JSON that would grant it.
        grant: String,
    },
    /// The machine gave too little to start the call: address space, memory, processes, descriptors.
    #[error("could not be started on this machine: {0}")]
    Unstarted(String),
    /// The machine had no more memory to give in the midst of the call, within what the plugin may have.
    #[error("was ended because this machine had no more memory to give: {0}")]
    Starved(String),
    /// Asked its run for something that cannot be had now.
    #[error("was ended because it could not be given what it asked for: {0}")]
    Ungiven(String),
    /// Trapped (a panic, an illegal access, stack overflow).
    #[error("trapped: {0}")]
    Trap(String),
    /// Passed its deadline, in milliseconds.
    #[error("passed its deadline: {0}")]
    Deadline(Bound),
    /// Used up its fuel.
    #[error("used up its fuel: {0}")]
    Fuel(Bound),
    /// Asked for more memory, in MiB, than it may have.
    #[error("asked for more memory than it may have: {0}")]
    Memory(Bound),
    /// Another limit was hit.
    #[error("passed a limit: {0}")]
    Limit(Bound),
    /// Asked for more files that it may not read than one call may: that number, which no setting raises.
    #[error("asked for more than {0} files that the run has not got or that it may not read")]
    Refusals(u64),
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
        match self {
            Self::Load(_) | Self::Compile(_) | Self::NotGranted { .. } | Self::Unstarted(_) => true,
            Self::Starved(_)
            | Self::Ungiven(_)
            | Self::Trap(_)
            | Self::Deadline(_)
            | Self::Fuel(_)
            | Self::Memory(_)
            | Self::Limit(_)
            | Self::Refusals(_)
            | Self::Guest(_)
            | Self::BadOutput(_) => false,
        }
    }

    /// Whether the machine is at fault, and another time or place may do.
    pub fn is_machine(&self) -> bool {
        matches!(self, Self::Unstarted(_) | Self::Starved(_) | Self::Ungiven(_))
    }

    /// Whether its calls went deeper than the stack reaches: how many that are is the matter of its native code, which
    /// differs between processors, and where address space is limited.
    pub fn is_depth(&self) -> bool {
        matches!(self, Self::Trap(text) if text.starts_with(&wasmtime::Trap::StackOverflow.to_string()))
    }

    /// Whether the error says nothing about what was asked: not a word of it is the plugin's doing in this call.
    pub fn says_nothing(&self) -> bool {
        self.never_ran() || self.is_machine()
    }

    /// The limit that was hit, if it was one.
    pub fn bound(&self) -> Option<Bound> {
        match self {
            Self::Compile(bound)
            | Self::Deadline(bound)
            | Self::Fuel(bound)
            | Self::Memory(bound)
            | Self::Limit(bound) => Some(*bound),
            Self::Load(_)
            | Self::NotGranted { .. }
            | Self::Unstarted(_)
            | Self::Starved(_)
            | Self::Ungiven(_)
            | Self::Trap(_)
            | Self::Refusals(_)
            | Self::Guest(_)
            | Self::BadOutput(_) => None,
        }
    }

    /// The word for it in the store, in `explain` and in JSON.
    pub fn code(&self) -> Code {
        match self {
            Self::Load(_) => Code::PluginLoad,
            Self::Compile(_) => Code::PluginCompile,
            Self::NotGranted { .. } => Code::PluginNotGranted,
            Self::Unstarted(_) => Code::PluginUnstarted,
            Self::Starved(_) => Code::PluginStarved,
            Self::Ungiven(_) => Code::PluginUnstarted,
            Self::Trap(_) => Code::PluginTrap,
            Self::Deadline(_) => Code::PluginDeadline,
            Self::Fuel(_) => Code::PluginFuel,
            Self::Memory(_) => Code::PluginMemory,
            Self::Limit(_) | Self::Refusals(_) => Code::PluginLimit,
            Self::Guest(_) => Code::PluginError,
            Self::BadOutput(_) => Code::PluginBadOutput,
        }
    }

    /// How it ends a decision in the record; nothing if it says nothing about the campaign at all.
    pub fn outcome(&self) -> Option<DecisionOutcome> {
        match self {
            Self::Load(_)
            | Self::Compile(_)
            | Self::NotGranted { .. }
            | Self::Unstarted(_)
            | Self::Starved(_)
            | Self::Ungiven(_) => None,
            Self::Trap(_) => Some(DecisionOutcome::Trap),
            Self::Deadline(_) => Some(DecisionOutcome::Deadline),
            Self::Fuel(_) | Self::Memory(_) | Self::Limit(_) | Self::Refusals(_) => Some(DecisionOutcome::Limit),
            Self::Guest(_) => Some(DecisionOutcome::Error),
            Self::BadOutput(_) => Some(DecisionOutcome::BadOutput),
        }
    }

    /// The host's word for it, with the limit that was reached.
    pub fn word(&self) -> Word {
        let limit = self.bound().and_then(|bound| Limit::parse(bound.key));
        limit.map_or(Word::Own(self.code()), |limit| Word::Limit(self.code(), limit))
    }

    /// The word for what became of an attempt: the operator's own if it gave one.
    pub fn word_of_operator(&self) -> Word {
        match self {
            Self::Guest(guest) => Word::of_operator(&guest.detail().code),
            Self::Load(_)
            | Self::Compile(_)
            | Self::NotGranted { .. }
            | Self::Unstarted(_)
            | Self::Starved(_)
            | Self::Ungiven(_)
            | Self::Trap(_)
            | Self::Deadline(_)
            | Self::Fuel(_)
            | Self::Memory(_)
            | Self::Limit(_)
            | Self::Refusals(_)
            | Self::BadOutput(_) => self.word(),
        }
    }

    /// Whether the same request would be turned down again, whatever its code: another attempt is of no use.
    pub fn is_for_good(&self) -> bool {
        matches!(self, Self::Guest(GuestError::Invalid(_) | GuestError::Rejected(_) | GuestError::Denied(_)))
    }
}
