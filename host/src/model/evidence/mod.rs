//! The evidence bundle: what a run leaves behind for others, as one document.
mod approval;
mod attempt;
mod decision;
mod integrity;
mod omitted;
mod resources;

pub use approval::{Answerer, ApprovalKind, ApprovalRecord, ApprovalState};
pub use attempt::{AttemptRecord, InputRecord, JobRecord, LogKind, LogRecord, RemovedRecord, Withheld};
pub use decision::{DecisionKind, DecisionOutcome, DecisionRecord, EngineRecord, NumberedEngine};
pub use integrity::{FileKind, Finding, Integrity, Verified};
pub use omitted::{OmittedRecord, OmittedWhy};
pub use resources::{AttemptUse, Resources, ResourcesRecord, Tally};

use super::act::ActRecord;
use super::code::Word;
use super::config::RunConfig;
use super::result::Summary;
use super::states::{RunState, TaskCounts, TaskState};
use super::time::Time;
use super::workflow::Task;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

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
    /// The plugins that the run ever had, in the order they came.
    pub plugins: Vec<PluginRecord>,
    /// The commands that changed the run, in order.
    pub acts: Vec<ActRecord>,
    /// What people were asked to allow or to answer, in the order asked, and what they answered.
    pub approvals: Vec<ApprovalRecord>,
    /// Every configuration the run went by, in order.
    pub configs: Vec<ConfigRecord>,
    /// What carried out the campaign's decisions.
    pub engines: Vec<NumberedEngine>,
    /// Where and with what jobs were handed in.
    pub environments: Vec<EnvironmentRecord>,
    /// What the campaign decided, in order; also what came to nothing.
    pub decisions: Vec<DecisionRecord>,
    /// One workflow an iteration, in order.
    pub workflows: Vec<WorkflowRecord>,
    /// Every task, in the order planned.
    pub tasks: Vec<TaskRecord>,
    /// Every attempt with its outputs, in the order made.
    pub attempts: Vec<AttemptRecord>,
    /// What its jobs took of machines; absent in bundles of before it was added up.
    #[serde(default)]
    pub resources: Option<ResourcesRecord>,
    /// Every transition, in order.
    pub history: Vec<HistoryRecord>,
    /// Files that are not as recorded; empty if all are.
    pub findings: Vec<Finding>,
    /// What was compared with its recorded digest when the bundle was written.
    pub verified: Verified,
    /// Files that the record names and the bundle does not hold; all others lie below plugins/, inputs/ and files/.
    #[serde(default)]
    pub omitted: Vec<OmittedRecord>,
}

/// The run's own record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// The run's id.
    pub run_id: String,
    /// The workspace's slug.
    pub workspace: String,
    /// What a person calls the run.
    pub label: Option<String>,
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
    /// How far the campaign has come, in its own words.
    #[serde(default)]
    pub summary: Option<Summary>,
    /// When the campaign is asked again though nothing ended.
    #[serde(default)]
    pub wake_at: Option<Time>,
    /// The campaign's newest state.
    pub campaign_state: Option<Value>,
    /// The campaign's result, once it completed.
    pub result: Option<Value>,
}

/// A plugin that a configuration pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginRecord {
    /// Its name in the configuration.
    pub name: String,
    /// What uses it now: `campaign`, or operator keys.
    pub used_by: Vec<String>,
    /// Where it lies, relative to the run directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// The act that brought it in.
    pub act: i64,
}

/// A configuration that the run went by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigRecord {
    /// SHA-256 of the text.
    pub sha256: String,
    /// The act that put it in place.
    pub act: i64,
    /// The text of config.json.
    pub text: String,
}

/// Where and with what jobs ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentRecord {
    /// Its number, by which attempts refer to it.
    pub environment: i64,
    /// Identifies the machine.
    pub machine: String,
    /// The name of the machine.
    pub host: String,
    /// The documented variables that jobs inherited there, with their values.
    pub variables: BTreeMap<String, String>,
    /// What the commands of `record` told of the programs there.
    #[serde(default)]
    pub recorded: Vec<RecordedOutput>,
    /// The act that pinned it last; absent in what was recorded before that was.
    #[serde(default)]
    pub act: Option<i64>,
}

/// What a command of `record` told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedOutput {
    /// The backend whose settings name it.
    pub backend: String,
    /// The command, a line for the backend's shell.
    pub command: String,
    /// What it printed.
    pub output: String,
    /// Whether it printed more than is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
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
    /// The decision whose `analyze` received its outcome.
    pub delivered: Option<u64>,
    /// Attempts made.
    pub attempts: u32,
    /// When its first attempt was made.
    pub started_at: Option<Time>,
    /// When its last attempt ended, if the task has ended.
    pub ended_at: Option<Time>,
    /// How long the job of its last attempt ran, in milliseconds, where its backend tells.
    #[serde(default)]
    pub ran_ms: Option<i64>,
    /// The task as it stands, in the very text that was recorded.
    pub spec: Verbatim,
    /// Which version of it that is: 1 as planned, one more with each amendment.
    pub version: u32,
    /// Whether it completed on what has been changed since.
    pub stale: bool,
    /// The versions of a task that was amended, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<TaskVersion>,
}

/// One version of a task that was amended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskVersion {
    /// Its number, from 1.
    pub version: u32,
    /// The act that made it; absent for the task as planned.
    pub act: Option<i64>,
    /// The task, in the very text that was recorded.
    pub spec: Verbatim,
}

/// A JSON document in the very text that was recorded, so that digests over it can be computed again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verbatim(pub Box<RawValue>);

impl PartialEq for Verbatim {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl JsonSchema for Verbatim {
    fn inline_schema() -> bool {
        Task::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        Task::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Task::json_schema(generator)
    }
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
