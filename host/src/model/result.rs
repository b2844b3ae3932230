//! What `analyze` receives of a task.
use crate::model::states::TaskState;
use crate::model::workflow::RemotePlace;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What `analyze` receives of one task. Readers ignore keys they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Result")]
pub struct TaskResult {
    /// The task's id.
    pub task: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, for a program; absent for a completed task.
    pub code: Option<String>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Whether the task said that it may fail.
    pub allow_failure: bool,
    /// The id of its last attempt; absent if it had none.
    pub attempt: Option<String>,
    /// How many attempts it had.
    pub attempts: u32,
    /// The output document of the last attempt, as its operator gave it; absent where it has more than 64 KiB.
    pub data: Option<Value>,
    /// SHA-256 of a larger output document, by which `artifacts.read` reads its canonical JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
    /// Bytes of a larger output document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_size: Option<u64>,
    /// The output files of the last attempt.
    pub outputs: Vec<OutputFile>,
    /// How it had ended when it was delivered before, if it was: that result is taken back, and this one stands in its
    /// place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Outcome>,
}

/// How far a campaign has come, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// One line for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How much is done, in whatever the campaign counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<f64>,
    /// How much there is to do, in the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// Numbers by name, such as the best value so far.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An attempt completed.
    Completed,
    /// Its attempts failed.
    Failed,
    /// A person cancelled it.
    Cancelled,
    /// A task it depends on did not complete.
    Skipped,
}

impl Outcome {
    /// The state of a task that ended so.
    pub fn state(self) -> TaskState {
        match self {
            Self::Completed => TaskState::Completed,
            Self::Failed => TaskState::Failed,
            Self::Cancelled => TaskState::Cancelled,
            Self::Skipped => TaskState::Skipped,
        }
    }

    /// The outcome of a task in this state; none before it has ended.
    pub fn of(state: TaskState) -> Option<Self> {
        match state {
            TaskState::Pending | TaskState::Running => None,
            TaskState::Completed => Some(Self::Completed),
            TaskState::Failed => Some(Self::Failed),
            TaskState::Cancelled => Some(Self::Cancelled),
            TaskState::Skipped => Some(Self::Skipped),
        }
    }
}

/// One output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Output")]
pub struct OutputFile {
    /// Relative to the attempt directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits; `artifacts.read` takes it.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is, if it stayed on a cluster; then `artifacts.read` cannot read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemotePlace>,
}
