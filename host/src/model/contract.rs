//! What crosses the plugin contract, as the host's own values; `wit/` is the authority for their meaning.
use crate::model::code::Code;
use crate::model::id::{AttemptId, RunId, TaskId};
use crate::model::inputs::Inputs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// What went wrong, for a program and for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// A short word from an open set.
    pub code: String,
    /// One sentence without a final period.
    pub message: String,
}

impl Detail {
    /// Joins a code and its sentence.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    /// Joins a word of the host's own and its sentence.
    pub fn of(code: Code, message: impl Into<String>) -> Self {
        Self::new(code.as_str(), message)
    }
}

/// An error that a plugin or a backend answered with; the case says whether a further try can help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestError {
    /// Can never be right as it stands.
    #[error("invalid: {}", .0.message)]
    Invalid(Detail),
    /// Understood and refused.
    #[error("rejected: {}", .0.message)]
    Rejected(Detail),
    /// Passes by itself; the number is a delay in milliseconds.
    #[error("transient: {}", .0.message)]
    Transient(Detail, Option<u64>),
    /// Not granted by the configuration.
    #[error("denied: {}", .0.message)]
    Denied(Detail),
    /// May or may not have taken effect.
    #[error("ambiguous: {}", .0.message)]
    Ambiguous(Detail),
    /// Anything else.
    #[error("{}", .0.message)]
    Other(Detail),
}

impl GuestError {
    /// What went wrong, whatever the case.
    pub fn detail(&self) -> &Detail {
        match self {
            Self::Invalid(detail)
            | Self::Rejected(detail)
            | Self::Transient(detail, _)
            | Self::Denied(detail)
            | Self::Ambiguous(detail)
            | Self::Other(detail) => detail,
        }
    }
}

/// The files that a decision read, by digest, and the reads that it was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// SHA-256 of each file that it read from, 64 hexadecimal digits.
    pub digests: BTreeSet<String>,
    /// The reads that it was refused, in order.
    pub refused: Vec<ReadRefused>,
    /// How many reads it made.
    pub count: u64,
}

/// A read that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRefused {
    /// Its place among all reads of the decision, from 0.
    pub seq: u64,
    /// The answer it got.
    pub answer: GuestError,
}

/// What a decision may depend on, beside the state. Documents are JSON text.
#[derive(Debug, Clone)]
pub struct Context {
    /// The run's id.
    pub run_id: RunId,
    /// The iteration being planned or analyzed, from 1.
    pub iteration: u32,
    /// The number of the decision in the run, from 1.
    pub decision: u64,
    /// Milliseconds since the epoch, recorded once per decision.
    pub now_ms: u64,
    /// `campaign.seed`.
    pub seed: u64,
    /// `campaign.params`.
    pub params: String,
    /// Pinned inputs: `{name: {"sha256", "size"}}`.
    pub inputs: String,
    /// What a person supplied when resuming.
    pub supplied: Option<String>,
}

/// What the run does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Run these tasks (a JSON array).
    Workflow(String),
    /// Plan nothing now.
    Wait,
    /// The campaign has reached its end, with this result.
    Complete(String),
    /// The campaign gives up.
    Fail(Detail),
    /// A person must decide.
    Hold(Detail),
}

impl Next {
    /// What was chosen, in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Workflow(_) => "workflow",
            Self::Wait => "wait",
            Self::Complete(_) => "complete",
            Self::Fail(_) => "fail",
            Self::Hold(_) => "hold",
        }
    }
}

/// The answer of `plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The state after this decision (JSON text).
    pub state: String,
    /// What the run does next.
    pub next: Next,
    /// One sentence on why.
    pub reason: String,
}

/// One try at a task, as an operator sees it.
#[derive(Debug, Clone)]
pub struct AttemptRequest {
    /// The run's id.
    pub run_id: RunId,
    /// The attempt's id, which is also its submit key.
    pub attempt_id: AttemptId,
    /// The task's id.
    pub task_id: TaskId,
    /// The number of the attempt at its task, from 1.
    pub number: u32,
    /// The task (JSON text).
    pub task: String,
    /// What `submit` or a later call returned.
    pub handle: Option<String>,
    /// What the last undecided `reconcile` noted.
    pub note: Option<String>,
    /// `operators.<key>.config` (JSON text).
    pub config: String,
    /// The attempt directory on this machine.
    pub directory: PathBuf,
    /// What its job is to find beside the files in that directory.
    pub inputs: Arc<Inputs>,
    /// Whether a person asked for the attempt to be cancelled.
    pub cancelled: bool,
}

/// What the outside knows of a submit key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The submit took effect; its handle.
    Yes(String),
    /// It did not and never will.
    No,
    /// Not decided yet: a note for the next call and a delay in milliseconds.
    Unknown(String, u64),
}

/// Where an attempt stands outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Accepted, not started.
    Queued,
    /// Started, perhaps with progress (JSON text).
    Running(Option<String>),
    /// Something outside must happen first: a kind (`person`, `kit`, `instrument`, `scheduler`) and a sentence.
    Waiting(String, String),
    /// Ended well.
    Succeeded,
    /// Ended badly by the task's own doing.
    Failed(Detail),
    /// Ended because it was cancelled.
    Cancelled,
    /// Provably never started, and not by the task's doing.
    NotStarted(Detail),
    /// Accepted, and nobody knows whether it ran.
    Lost(Detail),
    /// The outside did not answer.
    Unavailable(Detail),
}

/// The answer of `check-status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// Where the attempt stands.
    pub status: Status,
    /// A newer handle.
    pub handle: Option<String>,
    /// When to ask again, in milliseconds from now.
    pub poll_after_ms: Option<u64>,
}
