//! What crosses the plugin contract, as the host's own values; `wit/` is the authority for their meaning.
use crate::model::code::Code;
use crate::model::handle;
use crate::model::id::{AttemptId, RunId, TaskId};
use crate::model::inputs::Inputs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    /// More for programs: where it went wrong, or a form for a hold; an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Detail {
    /// Joins a code and its sentence.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), data: None }
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

/// What a decision asked for beside its arguments: files, by digest, with those that it was refused, and open tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// SHA-256 of each file that it read from, 64 hexadecimal digits; not of what it wrote itself.
    pub digests: BTreeSet<String>,
    /// The reads that it was refused, in order.
    pub refused: Vec<ReadRefused>,
    /// How many reads it made.
    pub count: u64,
    /// What it asked about open tasks, in order, with the answers.
    pub open_tasks: Vec<OpenTasksRead>,
}

/// A read that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRefused {
    /// Its place among all reads of the decision, from 0.
    pub seq: u64,
    /// The answer it got.
    pub answer: GuestError,
}

/// What a campaign asked about open tasks, and the answer it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTasksRead {
    /// The id behind which it asked, if any.
    pub after: Option<String>,
    /// How many it asked for at most.
    pub max: u32,
    /// The ids it was told.
    pub tasks: Vec<String>,
}

/// What a campaign may ask of its run. Documents are canonical JSON text.
pub trait RunView: std::fmt::Debug + Send + Sync {
    /// The run's id.
    fn id(&self) -> &str;
    /// `campaign.params`.
    ///
    /// # Errors
    /// Why they cannot be had: the file that holds them cannot be read, or is not the one that was pinned.
    fn params(&self) -> Result<String, String>;
    /// Pinned inputs: `{name: {"sha256", "size"}}`.
    fn inputs(&self) -> String;
    /// What a person supplied when resuming.
    fn supplied(&self) -> Option<String>;
    /// The ids of tasks that have not ended, sorted by their bytes, of those behind `after`: at most `max`.
    ///
    /// # Errors
    /// Why they cannot be had: the store cannot be read.
    fn open_tasks(&self, after: Option<&str>, max: u32) -> Result<Vec<String>, String>;
}

/// Why a plan is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanReason {
    /// A person amended what the campaign goes by.
    Changed,
    /// It is the first.
    First,
    /// The run had ended.
    Reopened,
    /// The state has results that no plan has seen.
    Results,
    /// A person resumed the run.
    Resumed,
    /// The time has come that a plan named.
    Time,
    /// The plan before did nothing.
    Waited,
}

impl PlanReason {
    /// The word in the contract and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::First => "first",
            Self::Reopened => "reopened",
            Self::Results => "results",
            Self::Resumed => "resumed",
            Self::Time => "time",
            Self::Waited => "waited",
        }
    }
}

/// What a decision may depend on, beside the state.
#[derive(Debug, Clone)]
pub struct Context {
    /// The number of the decision in the run, from 1.
    pub decision: u64,
    /// The iteration that would be planned, from 1; to analyze, the newest one planned.
    pub iteration: u32,
    /// Milliseconds since the epoch, recorded once per decision.
    pub now_ms: u64,
    /// `campaign.seed`.
    pub seed: u64,
    /// Why a plan is asked for, sorted.
    pub asked: Vec<String>,
    /// Tasks that are planned and have not ended.
    pub open_tasks: u64,
    /// What it may ask of its run.
    pub run: Arc<dyn RunView>,
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
    /// The ids of tasks that are no longer wanted.
    pub cancel: Vec<String>,
    /// When to ask again though nothing ended, in milliseconds since the epoch.
    pub wake_at_ms: Option<u64>,
    /// How far the campaign has come (JSON text).
    pub summary: Option<String>,
    /// One sentence on why.
    pub reason: String,
    /// Whether tasks of the run that are planned again unchanged are passed over.
    pub skips_known: bool,
}

/// The answer of `analyze`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The state with the results in it (JSON text).
    pub state: String,
    /// How far the campaign has come (JSON text).
    pub summary: Option<String>,
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
    /// What `prepare` returned (JSON text).
    pub prepared: Option<String>,
    /// The handle that `submit` or a later call returned (JSON text).
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

/// A submit that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// By which later calls find it (JSON text).
    pub handle: String,
    /// What people over there call it.
    pub external_id: Option<String>,
}

impl Submitted {
    /// Under a handle alone.
    pub fn new(handle: impl Into<String>) -> Self {
        Self { handle: handle.into(), external_id: None }
    }

    /// Of a job of a compute backend, whose handle tells what it is called there.
    pub fn of_job(handle: String) -> Self {
        Self { external_id: handle::told(&handle).external_id, handle }
    }
}

/// What an ended attempt brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The output document (JSON text).
    pub output: Option<String>,
    /// What the attempt used (JSON text).
    pub usage: Option<String>,
}

/// What the outside knows of a submit key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The submit took effect.
    Yes(Submitted),
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
        assert_eq!(serde_json::from_str::<GuestError>(&text).expect("an answer"), transient, "{text}");
    }
}
