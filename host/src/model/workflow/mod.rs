//! Tasks and the workflow they form: the published shapes and the rules a plan must keep.
mod change;
mod file;

pub use change::TaskChange;
pub use file::{
    ContentSource, FileSource, FromSource, Keep, KeptPattern, OutputPattern, PathSource, RemotePlace, Stage,
};

use crate::model::config::RunConfig;
use crate::model::document::{self, Dialect};
use crate::model::id::TaskId;
use crate::model::misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// The longest task id, in bytes.
pub const TASK_ID_MAX_BYTES: usize = 200;

/// The longest walltime, in seconds: ten years.
pub const WALLTIME_MAX_S: f64 = 10.0 * 365.0 * 86_400.0;

/// The most entries of `depends_on` of one task.
const DEPENDENCIES_MAX: usize = 100_000;
/// The most entries of `files` of one task.
const FILES_MAX: usize = 100_000;
/// The most entries of `env` of one task.
const VARIABLES_MAX: usize = 10_000;
/// The longest name of a file, in bytes.
const NAME_MAX_BYTES: usize = 255;
/// The longest path of a staged file inside its attempt directory, in bytes.
const PATH_MAX_BYTES: usize = 3_000;

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
    /// Files staged into the attempt directory, by their destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileSource>,
    /// Environment variables of the command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Tasks that must complete first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<TaskId>,
    /// Patterns of the files to keep, relative to the attempt directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputPattern>,
    /// What the command needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
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
            FileSource::Path(_) | FileSource::Content(_) => None,
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
    /// An operator key is not configured.
    #[error("task `{0}` names operator `{1}`, which config.json does not configure{2}")]
    UnknownOperator(TaskId, String, String),
    /// A destination would leave the attempt directory.
    #[error("task `{0}` would write file `{1}` outside its attempt directory")]
    Escape(TaskId, String),
    /// A file source is not pinned.
    #[error("task `{0}` names file `{1}`, which no pattern of campaign.files brought into the run")]
    UnknownFile(TaskId, String),
    /// A number is out of range, or a pattern is malformed.
    #[error("task `{0}`: {1}")]
    Value(TaskId, String),
    /// There are too many tasks.
    #[error("the run would have {0} tasks: `limits.max_tasks` is {1}")]
    TooMany(u64, u64),
}

impl WorkflowError {
    /// With the line in which a part of `list` begins, where the list has several.
    #[must_use]
    pub fn at(mut self, part: &str, list: &str) -> Self {
        let before = (part.as_ptr() as usize).checked_sub(list.as_ptr() as usize).and_then(|end| list.get(..end));
        if let (Self::Shape { line, .. }, Some(before)) = (&mut self, before)
            && list.contains('\n')
        {
            *line = Some(1 + before.matches('\n').count());
        }
        self
    }
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

/// A task of a new workflow with its dependencies resolved: no more of it than the store needs, since there may be a
/// million.
#[derive(Debug)]
pub struct PlannedTask {
    /// Its id.
    pub id: TaskId,
    /// The operator key.
    pub operator: Rc<str>,
    /// Whether its failure is not the run's.
    pub allow_failure: bool,
    /// Whether it starts although a dependency did not complete.
    pub allow_dependency_failure: bool,
    /// The task, where it has files or outputs, by which others are judged.
    pub task: Option<Box<Task>>,
    /// Its JSON text as stored.
    pub json: Box<str>,
    /// Dependencies inside this workflow, by position.
    pub inner: Vec<usize>,
    /// Dependencies on earlier tasks of the run.
    pub outer: Vec<TaskId>,
}

impl PlannedTask {
    /// A task of which only what it takes and gives is to be judged.
    pub fn to_be_judged(task: Task) -> Self {
        Self {
            id: task.id.clone(),
            operator: task.operator.as_str().into(),
            allow_failure: task.allow_failure,
            allow_dependency_failure: task.allow_dependency_failure,
            json: Box::default(),
            inner: Vec::new(),
            outer: Vec::new(),
            task: Some(Box::new(task)),
        }
    }
}

/// Whether a destination stays inside the attempt directory, by its text alone.
pub fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && std::path::Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Checks a plan's tasks, as they are read, against every rule that needs no store; `exists` tells whether an id is an
/// earlier task.
///
/// # Errors
/// The first rule that is broken, or what `exists` or the reading of a task answers.
pub fn validate<E: From<WorkflowError>>(
    tasks: impl Iterator<Item = Result<(Task, String), E>>,
    config: &RunConfig,
    exists: &dyn Fn(&TaskId) -> Result<bool, E>,
) -> Result<Vec<PlannedTask>, E> {
    let mut planned: Vec<PlannedTask> = Vec::with_capacity(tasks.size_hint().0);
    let mut operators: BTreeMap<String, Rc<str>> = BTreeMap::new();
    for (position, read) in tasks.enumerate() {
        let (task, json) = read?;
        let length = task.id.as_str().len();
        if length == 0 || length > TASK_ID_MAX_BYTES {
            return Err(WorkflowError::IdLength(position + 1, length).into());
        }
        if task.id.as_str().contains('\0') {
            return Err(WorkflowError::IdNul(position + 1).into());
        }
        if exists(&task.id)? {
            return Err(WorkflowError::Duplicate(task.id).into());
        }
        validate_task(&task, config)?;
        let operator = match operators.get(&task.operator) {
            Some(operator) => operator.clone(),
            None => operators.entry(task.operator.clone()).or_insert_with(|| task.operator.as_str().into()).clone(),
        };
        planned.push(PlannedTask {
            id: task.id.clone(),
            operator,
            allow_failure: task.allow_failure,
            allow_dependency_failure: task.allow_dependency_failure,
            json: json.into(),
            inner: Vec::new(),
            outer: task.dependencies().into_iter().cloned().collect(),
            task: (!task.files.is_empty() || !task.outputs.is_empty()).then(|| Box::new(task)),
        });
    }
    resolve(&mut planned, exists)?;
    refuse_cycles(&planned)?;
    Ok(planned)
}

/// Tells dependencies inside the workflow from those on earlier tasks, and refuses an id that is there twice.
fn resolve<E: From<WorkflowError>>(
    planned: &mut [PlannedTask],
    exists: &dyn Fn(&TaskId) -> Result<bool, E>,
) -> Result<(), E> {
    // by id: an index of another kind would hold every id again
    let mut order: Vec<usize> = (0..planned.len()).collect();
    order.sort_by(|a, b| planned[*a].id.as_str().cmp(planned[*b].id.as_str()));
    let twice = order.windows(2).filter(|pair| planned[pair[0]].id == planned[pair[1]].id).map(|pair| pair[1]).min();
    if let Some(position) = twice {
        return Err(WorkflowError::Duplicate(planned[position].id.clone()).into());
    }
    for position in 0..planned.len() {
        let dependencies = std::mem::take(&mut planned[position].outer);
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for dependency in dependencies {
            match order.binary_search_by(|other| planned[*other].id.as_str().cmp(dependency.as_str())) {
                Ok(found) => inner.push(order[found]),
                Err(_) if exists(&dependency)? => outer.push(dependency),
                Err(_) => {
                    return Err(WorkflowError::UnknownDependency(planned[position].id.clone(), dependency).into());
                }
            }
        }
        (planned[position].inner, planned[position].outer) = (inner, outer);
    }
    Ok(())
}

fn validate_task(task: &Task, config: &RunConfig) -> Result<(), WorkflowError> {
    if task.operator.is_empty() {
        let keys: Vec<&str> = config.operators.keys().map(String::as_str).collect();
        let there =
            if keys.is_empty() { "none is configured".to_owned() } else { format!("there are {}", keys.join(", ")) };
        return Err(WorkflowError::NoOperator(task.id.clone(), there));
    }
    if !config.operators.contains_key(&task.operator) {
        let near = nearest(&task.operator, config.operators.keys().map(String::as_str));
        let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        return Err(WorkflowError::UnknownOperator(task.id.clone(), task.operator.clone(), hint));
    }
    validate_lengths(task)?;
    validate_files(task, config)?;
    validate_values(task)
}

/// Refuses lists that are longer than anybody means them to be; patterns are counted where they are read.
fn validate_lengths(task: &Task) -> Result<(), WorkflowError> {
    let lists = [
        ("depends_on", task.depends_on.len(), DEPENDENCIES_MAX),
        ("files", task.files.len(), FILES_MAX),
        ("env", task.env.len(), VARIABLES_MAX),
    ];
    match lists.into_iter().find(|(_, length, most)| length > most) {
        Some((key, length, most)) => {
            let text = format!("{key} has {length} entries; at most {most} are allowed");
            Err(WorkflowError::Value(task.id.clone(), text))
        }
        None => Ok(()),
    }
}

/// Refuses destinations that can never all be written: one names another again, or needs it to be a directory.
fn refuse_clashes(task: &Task) -> Result<(), WorkflowError> {
    let wrong = |text: String| Err(WorkflowError::Value(task.id.clone(), text));
    let mut files: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
    for destination in task.files.keys() {
        let parts: Vec<&str> = destination.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if destination.ends_with('/') || destination.ends_with("/.") {
            return wrong(format!("file `{destination}` cannot be staged: it names a directory"));
        }
        if destination.len() > PATH_MAX_BYTES || parts.iter().any(|part| part.len() > NAME_MAX_BYTES) {
            return wrong(format!(
                "file `{destination}` cannot be staged: a name has at most {NAME_MAX_BYTES} bytes, a path {PATH_MAX_BYTES}"
            ));
        }
        if let Some(other) = files.insert(parts, destination) {
            return wrong(format!("files `{other}` and `{destination}` would be one file"));
        }
    }
    // in this order, what lies below a path comes right after it
    let mut before: Option<(&[&str], &str)> = None;
    for (parts, destination) in &files {
        if let Some((above, other)) = before
            && parts.starts_with(above)
        {
            return wrong(format!("file `{destination}` cannot be staged: file `{other}` is in the way"));
        }
        before = Some((parts, destination));
    }
    Ok(())
}

/// Refuses files that would escape, stand in the host's way, or are not pinned.
fn validate_files(task: &Task, config: &RunConfig) -> Result<(), WorkflowError> {
    for (destination, source) in &task.files {
        if !stays_inside(destination) {
            return Err(WorkflowError::Escape(task.id.clone(), destination.clone()));
        }
        if let Some(name) = crate::model::attempt_dir::own_name(destination) {
            let text = format!("file `{destination}` cannot be staged: `{name}` is a name for what the host writes");
            return Err(WorkflowError::Value(task.id.clone(), text));
        }
        if let FileSource::Path(path) = source
            && !config.pinned.as_ref().is_some_and(|pinned| pinned.files.contains_key(&path.path))
        {
            return Err(WorkflowError::UnknownFile(task.id.clone(), path.path.clone()));
        }
    }
    refuse_clashes(task)
}

/// Refuses patterns that are none, and numbers that cannot be meant.
fn validate_values(task: &Task) -> Result<(), WorkflowError> {
    let wrong = |text: String| Err(WorkflowError::Value(task.id.clone(), text));
    crate::model::outputs::refuse_bad_patterns(task)?;
    if task.retry.max_attempts == 0 {
        return wrong("retry.max_attempts is 0; at least 1 is needed".to_owned());
    }
    if !task.retry.backoff_s.is_finite() || task.retry.backoff_s < 0.0 {
        return wrong("retry.backoff_s is negative".to_owned());
    }
    if task.resources.as_ref().and_then(|r| r.walltime_s).is_some_and(|s| !s.is_finite() || s <= 0.0) {
        return wrong("resources.walltime_s is not positive".to_owned());
    }
    if task.resources.as_ref().and_then(|r| r.walltime_s).is_some_and(|s| s > WALLTIME_MAX_S) {
        return wrong(format!("resources.walltime_s is more than ten years ({WALLTIME_MAX_S})"));
    }
    let factors = [
        ("timeout.walltime_factor", task.retry.on.timeout.as_ref().map(|rule| rule.walltime_factor)),
        ("oom.memory_factor", task.retry.on.oom.as_ref().map(|rule| rule.memory_factor)),
    ];
    match factors.into_iter().find(|(_, factor)| factor.is_some_and(|factor| !factor.is_finite() || factor <= 0.0)) {
        Some((key, _)) => wrong(format!("retry.on.{key} is not positive")),
        None => Ok(()),
    }
}

/// Kahn's algorithm: what cannot be ordered is in a cycle or behind one.
fn refuse_cycles(planned: &[PlannedTask]) -> Result<(), WorkflowError> {
    if planned.iter().enumerate().all(|(position, task)| task.inner.iter().all(|&other| other < position)) {
        return Ok(());
    }
    let mut missing: Vec<usize> = planned.iter().map(|task| task.inner.len()).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); planned.len()];
    for (position, task) in planned.iter().enumerate() {
        for &other in &task.inner {
            dependents[other].push(position);
        }
    }
    let mut ready: Vec<usize> = (0..planned.len()).filter(|&position| missing[position] == 0).collect();
    while let Some(position) = ready.pop() {
        for &dependent in &dependents[position] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                ready.push(dependent);
            }
        }
    }
    match missing.iter().position(|&count| count > 0) {
        Some(position) => Err(WorkflowError::Cycle(planned[position].id.clone())),
        None => Ok(()),
    }
}

/// The name nearest to a mistyped one, if any is near.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
