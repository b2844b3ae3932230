//! The evidence bundle: what a run leaves behind for others, as one document.
use super::code::Word;
use super::config::RunConfig;
use super::states::{AttemptState, RunState, TaskCounts, TaskState};
use super::time::Time;
use super::workflow::Task;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// evidence.json: everything that is recorded of a run. Readers ignore keys they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceBundle {
    /// Names the shape of this document and its version.
    pub format: String,
    /// Whether the run has ended: nothing will be added by itself.
    pub complete: bool,
    /// The run.
    pub run: RunRecord,
    /// The resolved configuration; absent if config.json cannot be read.
    pub config: Option<RunConfig>,
    /// The plugins pinned by the configuration.
    pub plugins: Vec<PluginRecord>,
    /// What the campaign decided, in order.
    pub decisions: Vec<DecisionRecord>,
    /// One workflow an iteration, in order.
    pub workflows: Vec<WorkflowRecord>,
    /// Every task, in the order planned.
    pub tasks: Vec<TaskRecord>,
    /// Every attempt with its outputs, in the order made.
    pub attempts: Vec<AttemptRecord>,
    /// Every transition, in order.
    pub history: Vec<HistoryRecord>,
    /// Files that are not as recorded; empty if all are.
    pub findings: Vec<Finding>,
    /// What was compared with its recorded digest when the bundle was written.
    pub verified: Verified,
}

/// The run's own record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// The run's id.
    pub run_id: String,
    /// The workspace's slug.
    pub workspace: String,
    /// Where the run stands.
    pub state: RunState,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// The current iteration; 0 before the first workflow.
    pub iteration: u32,
    /// How many tasks are in each state.
    pub tasks: TaskCounts,
    /// When the run was made.
    pub created_at: Time,
    /// When the run ended.
    pub ended_at: Option<Time>,
    /// SHA-256 of config.json.
    pub config_sha256: String,
    /// The user who owns the run.
    pub user_id: i64,
    /// What a person supplied for the next plan.
    pub supplied: Option<Value>,
    /// The campaign's newest state.
    pub campaign_state: Option<Value>,
    /// The campaign's result, once it completed.
    pub result: Option<Value>,
}

/// A pinned plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginRecord {
    /// Its name in the configuration.
    pub name: String,
    /// What uses it: `campaign`, or operator keys.
    pub used_by: Vec<String>,
    /// Where it lies, relative to the run directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// What the campaign was asked and answered, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionRecord {
    /// Its number in the run, from 1.
    pub number: u64,
    /// `plan` or `analyze`.
    pub kind: String,
    /// The iteration it was made in.
    pub iteration: u32,
    /// What a plan chose: `workflow`, `wait`, `complete`, `fail` or `hold`.
    pub next: Option<String>,
    /// The campaign's sentence on why.
    pub reason: String,
    /// SHA-256 of the plugin that decided.
    pub plugin_sha256: String,
    /// SHA-256 of context, state and results, in canonical JSON.
    pub input_sha256: String,
    /// SHA-256 of the answer, in canonical JSON.
    pub output_sha256: String,
    /// Fuel used.
    pub fuel: u64,
    /// The time the campaign saw.
    pub at: Time,
}

/// The workflow of one iteration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowRecord {
    /// The iteration, from 1.
    pub iteration: u32,
    /// The number of the decision that planned it.
    pub decision: u64,
    /// How many tasks were planned.
    pub tasks: u64,
    /// When it was planned.
    pub created_at: Time,
    /// When its results had all been analyzed.
    pub analyzed_at: Option<Time>,
}

/// A task and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRecord {
    /// The task's id.
    pub id: String,
    /// The iteration that planned it.
    pub iteration: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: TaskState,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Attempts made.
    pub attempts: u32,
    /// When its first attempt was made.
    pub started_at: Option<Time>,
    /// When its last attempt ended, if the task has ended.
    pub ended_at: Option<Time>,
    /// The task as planned.
    pub spec: Task,
}

/// One try at a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptRecord {
    /// The attempt's id.
    pub attempt_id: String,
    /// The task's id.
    pub task: String,
    /// Its number at the task, from 1.
    pub number: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: AttemptState,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// What the operator calls it.
    pub handle: Option<Value>,
    /// The output document.
    pub data: Option<Value>,
    /// When it was made.
    pub created_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// The files it left, with the digests recorded when it ended.
    pub outputs: Vec<OutputRecord>,
}

/// One output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputRecord {
    /// Relative to the attempt directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryRecord {
    /// Its place in the order of events; clocks may jump, this does not.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// `run`, `workflow`, `task`, `attempt` or `config`.
    pub kind: String,
    /// The id of what changed.
    pub subject: String,
    /// The state before, if there was one.
    pub from: Option<String>,
    /// The state after.
    pub to: String,
    /// Why.
    pub reason: Option<String>,
}

/// A file that is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What the file is to the run.
    pub kind: FileKind,
    /// Where it should lie, relative to the run directory.
    pub path: String,
    /// The task whose output it is.
    pub task: Option<String>,
    /// The attempt whose output it is.
    pub attempt_id: Option<String>,
    /// The SHA-256 recorded for it.
    pub sha256: String,
    /// What is the matter with it.
    pub integrity: Integrity,
    /// More about it.
    pub detail: Option<String>,
}

/// What a file is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// The run's config.json.
    Config,
    /// A pinned plugin.
    Plugin,
    /// A pinned input of the campaign.
    Input,
    /// A pinned file that tasks may name.
    File,
    /// An output of an attempt.
    Output,
}

impl FileKind {
    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Plugin => "plugin",
            Self::Input => "input",
            Self::File => "file",
            Self::Output => "output",
        }
    }
}

/// How a file differs from what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// Its content is another, or it is no regular file any more.
    Changed,
    /// It is gone.
    Missing,
    /// It could not be read, so nobody knows.
    Unreadable,
}

impl Integrity {
    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How many files were compared with their recorded digests, and what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// Files compared: config.json, pinned files and outputs.
    pub files: u64,
    /// Bytes read of those that are as recorded.
    pub bytes: u64,
    /// Files as recorded.
    pub intact: u64,
    /// Files with another content.
    pub changed: u64,
    /// Files that are gone.
    pub missing: u64,
    /// Files that could not be read.
    pub unreadable: u64,
}

impl Verified {
    /// Files that are not as recorded.
    pub fn findings(&self) -> u64 {
        self.changed + self.missing + self.unreadable
    }
}
