//! The published JSON Schemas: of config.json, of the tasks a campaign plans and the results it receives, of what operators and
//! compute backends hand each other, and of evidence.json.
use super::config::RunConfig;
use super::evidence::EvidenceBundle;
use super::workflow::{CommandLine, OutputPattern, RemotePlace, Resources, Task};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of the published documents.
const VERSION: &str = "0.2.0-dev";

/// What `analyze` receives of one task. Readers ignore keys they do not know.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Result")]
pub struct ResultDocument {
    /// The task's id.
    pub task: String,
    /// How it ended.
    pub outcome: OutcomeWord,
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
    /// The output document of the last attempt, as its operator gave it.
    pub data: Option<Value>,
    /// The output files of the last attempt.
    pub outputs: Vec<OutputDocument>,
}

/// How a task ended.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeWord {
    /// An attempt completed.
    Completed,
    /// Its attempts failed.
    Failed,
    /// A person cancelled it.
    Cancelled,
    /// A task it depends on did not complete.
    Skipped,
}

/// One output file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Output")]
pub struct OutputDocument {
    /// Relative to the attempt directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits; `artifacts.read` takes it.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is, if it stayed on a cluster; then `artifacts.read` cannot read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemotePlace>,
}

/// What an operator hands to a compute backend. Backends ignore keys they do not know.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub struct JobDocument {
    /// What to run, in the attempt directory.
    pub command: CommandLine,
    /// Environment variables on top of the backend's own.
    #[schemars(default)]
    pub env: BTreeMap<String, String>,
    /// What the command needs.
    #[schemars(default)]
    pub resources: Option<Resources>,
    /// Patterns of the files to bring back from a backend that is elsewhere.
    #[schemars(default)]
    pub outputs: Vec<OutputPattern>,
    /// What starts the command on its nodes, for backends that have a choice.
    #[schemars(default)]
    pub launcher: Option<Value>,
}

/// How a job ended: `exit.json` in the attempt directory, and what `collect` returns.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Exit")]
pub struct ExitDocument {
    /// The attempt the job was run for.
    pub attempt: String,
    /// The exit code, if it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it ended, from an open set: `exited`, `signal`, `timeout`, `cancelled`, `not-found`, `not-executable`,
    /// `cannot-start`, `not-started`, `lost`, `oom` and others that a scheduler knows.
    pub reason: String,
    /// One sentence for a person.
    pub message: Option<String>,
    /// When it started, RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// When it ended, RFC 3339 in UTC.
    pub ended_at: String,
}

/// The schema of config.json.
pub fn config() -> Schema {
    titled(schema_for!(RunConfig), "config.json")
}

/// The schema of a plan's workflow: an array of tasks.
pub fn tasks() -> Schema {
    titled(schema_for!(Vec<Task>), "tasks")
}

/// The schema of the results `analyze` receives: an array.
pub fn results() -> Schema {
    titled(schema_for!(Vec<ResultDocument>), "results")
}

/// The schema of evidence.json.
pub fn evidence() -> Schema {
    titled(schema_for!(EvidenceBundle), "evidence")
}

/// The `format` of an evidence.json written by this version.
pub fn evidence_format() -> String {
    format!("matterstack evidence {VERSION}")
}

/// The schema of a job.
pub fn job() -> Schema {
    titled(schema_for!(JobDocument), "job")
}

/// The schema of an exit record.
pub fn exit() -> Schema {
    titled(schema_for!(ExitDocument), "exit")
}

fn titled(mut schema: Schema, name: &str) -> Schema {
    schema.insert("title".to_owned(), Value::from(format!("matterstack {name} {VERSION}")));
    schema
}
