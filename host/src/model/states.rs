//! The three state machines. Each has one `become_state` that lists the legal pairs; its default is how a life begins.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A transition the state machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {machine} cannot go from `{from}` to `{to}`")]
pub struct IllegalTransition {
    /// `run`, `task` or `attempt`.
    pub machine: &'static str,
    /// The state it is in.
    pub from: &'static str,
    /// The state that was asked for.
    pub to: &'static str,
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident, $machine:literal, { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every state, in the order of a life.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word in SQL, JSON and on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads the word back.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|state| state.as_str() == text)
            }

            fn refuse(self, to: Self) -> Result<Self, IllegalTransition> {
                Err(IllegalTransition { machine: $machine, from: self.as_str(), to: to.as_str() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

states! {
    /// Where a run stands.
    RunState, "run", {
        /// Ticks advance it.
        #[default]
        Active = "active",
        /// A person asked it to start nothing new.
        Paused = "paused",
        /// A person must do something; the reason says what.
        Held = "held",
        /// Cancelled by a person, or ended by the campaign, with attempts still live outside.
        Cancelling = "cancelling",
        /// The campaign said `complete`.
        Completed = "completed",
        /// The campaign said `fail`.
        Failed = "failed",
        /// Cancelled, with nothing live.
        Cancelled = "cancelled",
    }
}

impl RunState {
    /// Whether ticks have nothing left to do.
    pub fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The state after a move to `to`.
    ///
    /// # Errors
    /// If the run cannot go there from here.
    pub fn become_state(self, to: Self) -> Result<Self, IllegalTransition> {
        use RunState::{Active, Cancelled, Cancelling, Completed, Failed, Held, Paused};
        match (self, to) {
            (Active, Paused | Held | Completed | Failed | Cancelling)
            | (Paused, Active | Held | Cancelling)
            | (Held, Active | Paused | Cancelling)
            | (Cancelling, Cancelled | Completed | Failed)
            | (Completed | Failed | Cancelled, Active) => Ok(to),
            _ => self.refuse(to),
        }
    }
}

states! {
    /// Where a task stands.
    TaskState, "task", {
        /// Not started: waits for dependencies or capacity.
        #[default]
        Pending = "pending",
        /// Has an attempt, or waits between two.
        Running = "running",
        /// An attempt completed.
        Completed = "completed",
        /// Its attempts failed.
        Failed = "failed",
        /// A person cancelled it.
        Cancelled = "cancelled",
        /// A dependency did not complete.
        Skipped = "skipped",
    }
}

impl TaskState {
    /// Whether the task has a final outcome.
    pub fn ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// The state after a move to `to`.
    ///
    /// # Errors
    /// If the task cannot go there from here.
    pub fn become_state(self, to: Self) -> Result<Self, IllegalTransition> {
        use TaskState::{Cancelled, Completed, Failed, Pending, Running, Skipped};
        match (self, to) {
            (Pending, Running | Skipped | Cancelled | Failed)
            | (Running, Completed | Failed | Cancelled | Pending)
            | (Completed | Failed | Cancelled | Skipped, Pending) => Ok(to),
            _ => self.refuse(to),
        }
    }
}

/// How many tasks are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCounts {
    /// All of them.
    pub total: u64,
    /// Not started.
    pub pending: u64,
    /// Started.
    pub running: u64,
    /// Ended well.
    pub completed: u64,
    /// Ended badly.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Never to start.
    pub skipped: u64,
}

states! {
    /// Where an attempt stands.
    AttemptState, "attempt", {
        /// Its id is known; its directory may exist.
        #[default]
        Created = "created",
        /// `prepare` returned, or a submit was turned away for a while.
        Prepared = "prepared",
        /// `submit` may have reached the outside world; only `reconcile` can tell.
        Submitting = "submitting",
        /// The outside accepted it.
        Submitted = "submitted",
        /// The outside started it.
        Running = "running",
        /// Something outside must happen first.
        WaitingExternal = "waiting_external",
        /// It ended well.
        Completed = "completed",
        /// It ended badly.
        Failed = "failed",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// Nobody knows whether it ran.
        Lost = "lost",
    }
}

/// How an attempt ended: the ended ones of the states of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Nobody knows whether it ran.
    Lost,
}

impl From<AttemptOutcome> for AttemptState {
    fn from(outcome: AttemptOutcome) -> Self {
        match outcome {
            AttemptOutcome::Completed => Self::Completed,
            AttemptOutcome::Failed => Self::Failed,
            AttemptOutcome::Cancelled => Self::Cancelled,
            AttemptOutcome::Lost => Self::Lost,
        }
    }
}

impl AttemptState {
    /// Whether the outside has the attempt, and may move it to and fro.
    pub fn is_outside(self) -> bool {
        matches!(self, Self::Submitted | Self::Running | Self::WaitingExternal)
    }

    /// How the attempt ended, if it is over.
    pub fn outcome(self) -> Option<AttemptOutcome> {
        match self {
            Self::Completed => Some(AttemptOutcome::Completed),
            Self::Failed => Some(AttemptOutcome::Failed),
            Self::Cancelled => Some(AttemptOutcome::Cancelled),
            Self::Lost => Some(AttemptOutcome::Lost),
            Self::Created
            | Self::Prepared
            | Self::Submitting
            | Self::Submitted
            | Self::Running
            | Self::WaitingExternal => None,
        }
    }

    /// Whether the attempt is over.
    pub fn ended(self) -> bool {
        self.outcome().is_some()
    }

    /// The state after a move to `to`.
    ///
    /// # Errors
    /// If the attempt cannot go there from here.
    pub fn become_state(self, to: Self) -> Result<Self, IllegalTransition> {
        use AttemptState::{
            Cancelled, Completed, Created, Failed, Lost, Prepared, Running, Submitted, Submitting, WaitingExternal,
        };
        match (self, to) {
            // completed at once by a person's word on an earlier attempt
            (Created, Prepared | Completed)
            | (Prepared, Submitting)
            | (Submitting, Submitted | Prepared)
            | (Submitted, Running | WaitingExternal | Completed)
            | (Running, Submitted | WaitingExternal | Completed)
            | (WaitingExternal, Submitted | Running | Completed) => Ok(to),
            (from, Failed | Cancelled | Lost) if !from.ended() => Ok(to),
            _ => self.refuse(to),
        }
    }
}
