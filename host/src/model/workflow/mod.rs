//! Tasks and the workflow they form: the published shapes and the rules a plan must keep.
mod change;
mod command;
mod file;
mod folder;
mod given;
mod plan;
mod variable;

pub use change::TaskChange;
pub use command::local_backend;
pub use file::{
    ContentSource, DigestSource, FileSource, FromSource, Keep, KeptPattern, OtherSource, OutputPattern, PathSource,
    RemotePlace, Stage, is_of_other_run,
};
pub use folder::{Chosen, Inside, is_folder, pinned_below};
pub use plan::{PlannedTask, rank, stays_inside, validate};
pub use variable::{Secret, Variable};

use crate::model::config::RunConfig;
use crate::model::document::{self, Dialect};
use crate::model::id::TaskId;
use crate::model::misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// The longest task id, in bytes.
pub(in crate::model) const TASK_ID_MAX_BYTES: usize = 200;

/// The longest walltime, in seconds: ten years.
pub const WALLTIME_MAX_S: f64 = 10.0 * 365.0 * 86_400.0;

/// A logical unit of work. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Unique in the run; any text of 1 to 200 bytes.
    pub id: TaskId,
    /// The operator key that carries it outside; may be left out where the configuration has only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operator: String,
    /// What to run, for operators that run commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// Files staged into the attempt directory, by their destination. One that ends in `/` takes all pinned files below
    /// a folder, or all outputs that a pattern names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileSource>,
    /// Environment variables of the command: texts, or secrets by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Variable>,
    /// Tasks that must complete first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<TaskId>,
    /// Patterns of the files to keep, relative to the attempt directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputPattern>,
    /// What the command needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Ready tasks start by it: the larger first. Within ±1 000 000.
    #[serde(default, skip_serializing_if = "is_ordinary")]
    pub priority: i32,
    /// What follows a failed attempt.
    #[serde(default)]
    pub retry: Retry,
    /// Whether the campaign expects that it may fail.
    #[serde(default)]
    pub allow_failure: bool,
    /// Whether it starts although a dependency did not complete.
    #[serde(default)]
    pub allow_dependency_failure: bool,
    /// A document for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

/// Whether a priority is the one that is meant where none is given.
fn is_ordinary(priority: &i32) -> bool {
    *priority == 0
}

/// A command: an argument list, or a line for `/bin/sh -c`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a list of texts, or one text for the shell")]
pub enum CommandLine {
    /// The program and its arguments.
    Argv(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// What a command needs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processor cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Graphics processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Things that the machine's pool counts, such as licences, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u32>,
    /// The longest run time, in seconds; at most ten years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walltime_s: Option<f64>,
    /// Machines of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Processes, for a launcher such as `srun`; each has `cores` cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// How long before the end of its time a job gets the signal USR1, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_before_s: Option<u32>,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in all.
    pub max_attempts: u32,
    /// The delay before the second attempt, in seconds; it doubles with each further one, up to an hour.
    pub backoff_s: f64,
    /// Exceptions by the cause of the failure.
    pub on: RetryOn,
    /// Patterns of files that the next attempt finds where the one before left them, to go on from where it stopped. On
    /// a cluster behind ssh they are copied over there.
    pub carry: Vec<String>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 1, backoff_s: 1.0, on: RetryOn::default(), carry: Vec::new() }
    }
}

/// Exceptions by the cause of the failure.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryOn {
    /// After a timeout.
    pub timeout: Option<TimeoutRetry>,
    /// After running out of memory.
    pub oom: Option<OomRetry>,
    /// Whether a lost attempt is followed by a new one, which may run the command a second time.
    pub lost: bool,
}

/// `retry.on.timeout`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutRetry {
    /// The next attempt's walltime as a multiple of this one's.
    pub walltime_factor: f64,
}

/// `retry.on.oom`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OomRetry {
    /// The next attempt's memory as a multiple of this one's.
    pub memory_factor: f64,
}

impl Task {
    /// Whether another task computes the same, however long that may take and however often it is tried.
    pub fn computes_like(&self, other: &Self) -> bool {
        self.operator == other.operator
            && self.command == other.command
            && self.files == other.files
            && self.env == other.env
            && self.input == other.input
    }

    /// Every task that must end first: `depends_on`, then the sources of its files, each once.
    pub fn dependencies(&self) -> Vec<&TaskId> {
        let sources = self.files.values().filter_map(|source| match source {
            FileSource::From(from) => Some(&from.from),
            FileSource::Path(_) | FileSource::Content(_) | FileSource::Other(_) | FileSource::Digest(_) => None,
        });
        let mut seen: HashSet<&TaskId> = HashSet::new();
        self.depends_on.iter().chain(sources).filter(|id| seen.insert(id)).collect()
    }
}

/// A rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowError {
    /// The document is not an array of tasks.
    #[error("the workflow is not an array of tasks: {0}")]
    NoList(String),
    /// A task is not of the form that tasks have; with its id if it has one.
    #[error(
        "task {position}{}{}: {why}",
        .id.as_ref().map(|id| format!(" (`{}`)", id.escape_debug())).unwrap_or_default(),
        .line.map(|line| format!(" in line {line} of the list")).unwrap_or_default()
    )]
    Shape {
        /// Its number in the list, from 1 on.
        position: usize,
        /// Its id.
        id: Option<String>,
        /// Where its text begins in a list of several lines, from 1 on.
        line: Option<usize>,
        /// What is wrong, naming the key.
        why: String,
    },
    /// A task names no operator, and the configuration has not exactly one.
    #[error("task `{0}` names no operator; {1}")]
    NoOperator(TaskId, String),
    /// The id of the task at a place, counted from 1, is empty or too long.
    #[error("task {0} has an id of {1} bytes; 1 to {TASK_ID_MAX_BYTES} are allowed")]
    IdLength(usize, usize),
    /// The id of the task at a place, counted from 1, holds the one character that neither SQL nor a command line can
    /// carry.
    #[error("task {0} has an id with a NUL character")]
    IdNul(usize),
    /// An id is used twice.
    #[error("task id `{0}` is used twice")]
    Duplicate(TaskId),
    /// A list that has grown holds a task of the run with another text.
    #[error("task `{0}` is in the run already, and the list says something else of it")]
    Differs(TaskId),
    /// A dependency is no task of the run.
    #[error("task `{0}` depends on `{1}`, which is not in the run")]
    UnknownDependency(TaskId, TaskId),
    /// Dependencies go round in a circle.
    #[error("task `{0}` depends on itself, directly or through others")]
    Cycle(TaskId),
    /// A file is named by a digest that no file of the run has.
    #[error("task `{0}` names a file by the digest `{1}`, which no file of the run has")]
    UnknownDigest(TaskId, String),
    /// A further iteration, while so many tasks are open and the campaign receives no result before they have ended.
    #[error(
        "tasks are planned while {0} have not ended; only a campaign with `analyze` `each-result` may plan beside what goes on"
    )]
    Overlap(u64),
    /// A time to be woken that is too far ahead, and the latest there may be.
    #[error("`wake-at-ms` is {0}, and at most {1}, ten years ahead, is allowed: it counts milliseconds since 1970")]
    LateWake(u64, u64),
    /// A task that the run does not have is to be cancelled.
    #[error("`cancel` names task `{0}`, which the run does not have")]
    UnknownCancelled(String),
    /// An operator key is not configured.
    #[error("task `{0}` names operator `{1}`, which config.json does not configure{2}")]
    UnknownOperator(TaskId, String, String),
    /// A destination would leave the attempt directory.
    #[error("task `{0}` would write file `{1}` outside its attempt directory")]
    Escape(TaskId, String),
    /// A file source is not pinned.
    #[error("task `{0}` names file `{1}`, which no pattern of campaign.files brought into the run")]
    UnknownFile(TaskId, String),
    /// An output of another run is not pinned.
    #[error(
        "task `{0}` names {1}, which was not brought into the run: write it out in campaign.params or in an input, where \
         `init` and `amend` find it"
    )]
    UnknownOther(TaskId, String),
    /// A folder in which nothing is pinned.
    #[error("task `{0}` names folder `{1}`, of which no pattern of campaign.files brought a file into the run")]
    UnknownFolder(TaskId, String),
    /// A number is out of range, or a pattern is malformed.
    #[error("task `{0}`: {1}")]
    Value(TaskId, String),
    /// One of them, with the line in which its task begins in a list of several lines, from 1 on.
    #[error("{0} (line {1} of the list)")]
    InLine(Box<Self>, usize),
    /// There are too many tasks.
    #[error("the run would have {0} tasks: `limits.max_tasks` is {1}")]
    TooMany(u64, u64),
}

impl WorkflowError {
    /// With the line of the task that breaks the rule, where that can be told of a list of several lines with these
    /// parts.
    #[must_use]
    pub fn in_list(self, parts: &[&str], list: &str) -> Self {
        if !list.contains('\n') {
            return self;
        }
        let found = match &self {
            Self::IdLength(position, _) | Self::IdNul(position) => parts.get(*position - 1).copied(),
            // the second one of them, unless the first is in the run already
            Self::Duplicate(id) => {
                let mut of = parts.iter().copied().filter(|part| is_of(part, id));
                let first = of.next();
                of.next().or(first)
            }
            Self::NoOperator(id, _)
            | Self::UnknownDependency(id, _)
            | Self::Cycle(id)
            | Self::UnknownOperator(id, ..)
            | Self::Escape(id, _)
            | Self::UnknownFile(id, _)
            | Self::UnknownFolder(id, _)
            | Self::UnknownOther(id, _)
            | Self::UnknownDigest(id, _)
            | Self::Value(id, _) => parts.iter().copied().find(|part| is_of(part, id)),
            Self::NoList(_)
            | Self::Shape { .. }
            | Self::Differs(_)
            | Self::InLine(..)
            | Self::TooMany(..)
            | Self::Overlap(_)
            | Self::LateWake(..)
            | Self::UnknownCancelled(_) => None,
        };
        match found.and_then(|part| line_in(list, part)) {
            Some(line) => Self::InLine(Box::new(self), line),
            None => self,
        }
    }

    /// With the line in which a part of `list` begins, where the list has several.
    #[must_use]
    pub fn at(mut self, part: &str, list: &str) -> Self {
        if let Self::Shape { line, .. } = &mut self
            && list.contains('\n')
        {
            *line = line_in(list, part);
        }
        self
    }
}

/// The line of a list in which a part of it begins, from 1 on.
fn line_in(list: &str, part: &str) -> Option<usize> {
    let end = (part.as_ptr() as usize).checked_sub(list.as_ptr() as usize)?;
    Some(1 + list.get(..end)?.matches('\n').count())
}

/// Whether a text is that of the task with this id.
fn is_of(text: &str, id: &TaskId) -> bool {
    #[derive(Deserialize)]
    struct Named {
        id: TaskId,
    }
    serde_json::from_str::<Named>(text).is_ok_and(|task| task.id == *id)
}

/// Reads the task at a position of a list, counted from 0, from its text; returns it with its canonical text. A task
/// that names no operator gets the configuration's only one.
///
/// # Errors
/// If it is not of the form that tasks have; naming its id, the key, and what is wanted there.
pub fn read_task(position: usize, text: &str, config: &RunConfig) -> Result<(Task, String), WorkflowError> {
    let id = |value: &Value| value.get("id").and_then(Value::as_str).map(str::to_owned);
    let value = document::read(text.as_bytes(), Dialect::Strict).map_err(|fault| {
        let id = serde_json::from_str::<Value>(text).ok().as_ref().and_then(id);
        WorkflowError::Shape { position: position + 1, id, line: None, why: fault.sentence() }
    })?;
    let wrong =
        |value: &Value, why: String| WorkflowError::Shape { position: position + 1, id: id(value), line: None, why };
    let canonical = |value: &Value| {
        serde_json_canonicalizer::to_string(value)
            .map_err(|error| wrong(value, format!("has no canonical form: {error}")))
    };
    let mut task = misfit::fit::<Task>(&value).map_err(|misfit| wrong(&value, misfit.to_string()))?;
    let mut keys = config.operators.keys();
    if let (Some(only), None) = (keys.next(), keys.next())
        && value.get("operator").is_none()
    {
        task.operator = only.clone();
    }
    // just as the campaign said it, so that the record is its answer
    let json = canonical(&value)?;
    Ok((task, json))
}

/// The name nearest to a mistyped one, if any is near.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
