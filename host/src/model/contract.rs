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
    /// Passes by itself.
    #[error("transient: {}", .detail.message)]
    Transient {
        /// What went wrong.
        detail: Detail,
        /// When to try again, in milliseconds from now, if that is known.
        retry_after_ms: Option<u64>,
    },
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
    /// Something that passes by itself, nobody knows when.
    pub fn transient(code: Code, message: impl Into<String>) -> Self {
        Self::Transient { detail: Detail::of(code, message), retry_after_ms: None }
    }

    /// Something that passes by itself, after which another try may help in this many milliseconds.
    pub fn transient_for(code: Code, message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self::Transient { detail: Detail::of(code, message), retry_after_ms: Some(retry_after_ms) }
    }

    /// What went wrong, whatever the case.
    pub fn detail(&self) -> &Detail {
        match self {
            Self::Invalid(detail)
            | Self::Rejected(detail)
            | Self::Transient { detail, .. }
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
    /// Not decided yet.
    Unknown {
        /// Comes back with the next call (JSON text).
        note: String,
        /// When to ask again, in milliseconds from now.
        poll_after_ms: u64,
    },
}

/// Where an attempt stands outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Accepted, not started.
    Queued,
    /// Started, perhaps with progress (JSON text).
    Running(Option<String>),
    /// Something outside must happen first.
    Waiting {
        /// `person`, `kit`, `instrument`, `scheduler`, `queue`, `machine`, `waiting`, `capacity`, or a word of its own.
        kind: String,
        /// One sentence for the person who can help.
        detail: String,
    },
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

impl Status {
    /// A wait for something outside of a kind that the host knows.
    pub fn waiting(kind: Code, detail: impl Into<String>) -> Self {
        Self::Waiting { kind: kind.as_str().to_owned(), detail: detail.into() }
    }
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

#[cfg(test)]
mod tests {
    use super::{Detail, GuestError};

    #[test]
    fn an_answer_that_was_recorded_is_read_back() {
        let detail = Detail::new("busy", "later");
        let transient = GuestError::Transient { detail, retry_after_ms: Some(7) };
        let text = serde_json::to_string(&transient).expect("JSON");
        // the second is how it was recorded while the fields had no names
        for text in [text.as_str(), r#"{"transient":[{"code":"busy","message":"later"},7]}"#] {
            assert_eq!(serde_json::from_str::<GuestError>(text).expect("an answer"), transient, "{text}");
        }
    }
}
