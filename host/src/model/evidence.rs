//! The evidence bundle: what a run leaves behind for others, as one document.
use super::act::ActRecord;
use super::code::Word;
use super::config::RunConfig;
use super::result::OutputFile;
use super::states::{AttemptState, RunState, TaskCounts, TaskState};
use super::time::Time;
use super::workflow::Task;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

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
    /// Every configuration the run went by, in order.
    pub configs: Vec<ConfigRecord>,
    /// What carried out the campaign's decisions.
    pub engines: Vec<NumberedEngine>,
    /// Where and with what jobs ran.
    pub environments: Vec<EnvironmentRecord>,
    /// What the campaign decided, in order; also what came to nothing.
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

/// An engine, with the number by which decisions refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NumberedEngine {
    /// The number.
    pub number: i64,
    /// The engine.
    #[serde(flatten)]
    pub engine: EngineRecord,
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

/// What carries plugins out: only the same engine uses the same fuel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineRecord {
    /// The version of this program.
    pub version: String,
    /// The version of the plugin contract.
    pub contract: String,
    /// The version of the WebAssembly runtime.
    pub runtime: String,
    /// The processor and the system.
    pub target: String,
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
    /// Pinned variables.
    pub variables: Value,
    /// What the commands of `record` printed.
    pub recorded: Value,
    /// The act that brought it about; absent where the run was merely moved.
    pub act: Option<i64>,
}

/// What a campaign was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// What comes next.
    Plan,
    /// To fold results into its state.
    Analyze,
}

impl DecisionKind {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Analyze => "analyze",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Plan, Self::Analyze].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How the call of a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionOutcome {
    /// With an answer that holds.
    Answered,
    /// With an error of the campaign's own.
    Error,
    /// It trapped.
    Trap,
    /// It passed a limit that is the same at every execution.
    Limit,
    /// It passed its deadline, which says nothing about the campaign.
    Deadline,
    /// With something that the contract does not allow.
    BadOutput,
}

impl DecisionOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [Self::Answered, Self::Error, Self::Trap, Self::Limit, Self::Deadline, Self::BadOutput];

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::Limit => "limit",
            Self::Deadline => "deadline",
            Self::BadOutput => "bad_output",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What the campaign was asked, with what, and what it answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionRecord {
    /// Its number in the run, from 1.
    pub number: u64,
    /// Which try at this number it is, from 1: what failed is tried again under the same number.
    #[serde(rename = "try")]
    pub attempt: u32,
    /// What was asked.
    pub kind: DecisionKind,
    /// The iteration it was made in.
    pub iteration: u32,
    /// The time the campaign saw.
    pub at: Time,
    /// SHA-256 of the configuration it was made under.
    pub config_sha256: String,
    /// SHA-256 of the plugin that decided.
    pub plugin_sha256: String,
    /// The number of the engine that carried it out.
    pub engine: i64,
    /// The decision whose state it was given; absent if there was none.
    pub state_from: Option<u64>,
    /// What a person had supplied.
    pub supplied: Option<Value>,
    /// SHA-256 of context, state and results, in canonical JSON.
    pub input_sha256: String,
    /// How the call ended.
    pub outcome: DecisionOutcome,
    /// Why it has no answer.
    pub error: Option<String>,
    /// What a plan chose: `workflow`, `wait`, `complete`, `fail` or `hold`.
    pub next: Option<String>,
    /// The campaign's sentence on why.
    pub reason: Option<String>,
    /// The campaign's own line on how far it has come.
    pub summary: Option<String>,
    /// SHA-256 of the answer, in canonical JSON.
    pub output_sha256: Option<String>,
    /// Fuel used.
    pub fuel: u64,
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
    /// Which version of it `spec` is: 1 as planned.
    pub version: u32,
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
    /// Which version of its task it carried out, from 1.
    pub version: u32,
    /// The environment it ran in.
    pub environment: Option<i64>,
    /// What its backend tells of the job.
    pub job: JobRecord,
    /// The files it consumed beside what stands in its task.
    pub inputs: Vec<InputRecord>,
    /// What was written about it.
    pub logs: Vec<LogRecord>,
    /// The files it left, with the digests recorded when it ended.
    pub outputs: Vec<OutputFile>,
}

/// A file that an attempt consumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputRecord {
    /// Where it was put, relative to the attempt directory.
    pub destination: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// The id of the attempt that left it; absent for a pinned file.
    pub from_attempt: Option<String>,
    /// Its path in that attempt's directory, or in the workspace.
    pub from_path: String,
}

/// What a backend tells of the job of an attempt, where it can.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRecord {
    /// What the outside calls it.
    pub external_id: Option<String>,
    /// The machine it was handed to.
    pub host: Option<String>,
    /// The node it ran on, if that is another machine.
    pub node: Option<String>,
    /// When it was queued.
    pub queued_at: Option<Time>,
    /// When its command started.
    pub started_at: Option<Time>,
    /// When its command ended.
    pub stopped_at: Option<Time>,
    /// Processor time it used, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most memory that it held, in MiB.
    pub memory_peak_mb: Option<u64>,
}

/// A file that was written about an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRecord {
    /// Which one.
    pub kind: LogKind,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes; a file without any is not recorded.
    pub size: u64,
}

/// The files that are written about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// What it printed: `stdout`.
    Stdout,
    /// What it complained of: `stderr`.
    Stderr,
    /// How it ended: `exit.json`.
    Exit,
}

impl LogKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Exit];

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Exit => "exit",
        }
    }

    /// The name of the file in the attempt directory.
    pub fn file(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Exit => "exit.json",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
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
    /// What was written about an attempt.
    Log,
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
            Self::Log => "log",
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
