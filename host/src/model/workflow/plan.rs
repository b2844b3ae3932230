//! The rules that a plan must keep, as far as they need no store.
use super::command::{asks_too_much, cannot_start};
use super::file::PARTS_MAX;
use super::folder::{Chosen, Inside, is_folder, pinned_below};
use super::{FileSource, Stage, TASK_ID_MAX_BYTES, Task, WALLTIME_MAX_S, WorkflowError, nearest};
use crate::model::config::RunConfig;
use crate::model::id::TaskId;
use crate::model::pool::check_names;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The largest priority, and the smallest, negated.
const PRIORITY_MAX: u32 = 1_000_000;
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
    /// The larger starts first.
    pub priority: i32,
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
            priority: task.priority,
            json: Box::default(),
            inner: Vec::new(),
            outer: Vec::new(),
            task: Some(Box::new(task)),
        }
    }

    /// What it is ordered by among those that are ready, the smallest first: by priority, and of equals those that go
    /// on with what has begun before those that begin something. One number, since an index in one direction also
    /// serves those who read on after a task.
    pub fn rank(&self) -> i64 {
        rank(self.priority, self.inner.is_empty() && self.outer.is_empty())
    }
}

/// The same of a task with this priority, which depends on others or begins something.
pub fn rank(priority: i32, begins: bool) -> i64 {
    -2 * i64::from(priority) + i64::from(begins)
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
            priority: task.priority,
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
    if let Some(why) = cannot_start(task, config).or_else(|| asks_too_much(task, config)) {
        return Err(WorkflowError::Value(task.id.clone(), why));
    }
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

/// Refuses destinations that can never all be written: one names another again, or needs it to be a directory. What
/// folders bring is not looked into.
pub(super) fn refuse_clashes(task: &Task) -> Result<(), WorkflowError> {
    let wrong = |text: String| Err(WorkflowError::Value(task.id.clone(), text));
    validate_lengths(task)?;
    let mut files: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
    for destination in task.files.keys() {
        let parts: Vec<&str> = destination.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if destination.ends_with("/.") {
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
            && !is_folder(other)
        {
            return wrong(format!("file `{destination}` cannot be staged: file `{other}` is in the way"));
        }
        before = Some((parts, destination));
    }
    Ok(())
}

/// Why a destination that leads nowhere else is none.
fn no_destination(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("its destination is empty");
    }
    if path.contains('\0') {
        return Some("its destination holds a NUL character");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if path.starts_with('/') || parts.contains(&"..") {
        return None;
    }
    if parts.iter().all(|part| *part == ".") {
        return Some("its destination is the attempt directory itself");
    }
    (parts[0] == ".").then_some("destinations are relative to the attempt directory without `./`")
}

/// Refuses files that would escape, stand in the host's way, or are not pinned.
fn validate_files(task: &Task, config: &RunConfig) -> Result<(), WorkflowError> {
    for (destination, source) in &task.files {
        if let Some(why) = no_destination(destination) {
            let text = format!("file `{}` cannot be staged: {why}", destination.escape_debug());
            return Err(WorkflowError::Value(task.id.clone(), text));
        }
        if !stays_inside(destination) {
            return Err(WorkflowError::Escape(task.id.clone(), destination.clone()));
        }
        if let Some(name) = crate::model::attempt_dir::own_name(destination) {
            let text = format!("file `{destination}` cannot be staged: `{name}` is a name for what the host writes");
            return Err(WorkflowError::Value(task.id.clone(), text));
        }
        validate_source(task, (destination, source), config)?;
    }
    refuse_clashes(task)?;
    // in their order, what goes into a folder comes right after it
    let mut pairs = task.files.keys().zip(task.files.keys().skip(1));
    if pairs.any(|(folder, next)| is_folder(folder) && next.starts_with(folder)) {
        task.with_single_files(|_, source| Ok::<_, WorkflowError>(pinned_inside(source, config)))?;
    }
    Ok(())
}

/// What is in a folder of a task, as far as that is known when it is planned.
fn pinned_inside(source: &FileSource, config: &RunConfig) -> Vec<Inside> {
    match (source, &config.pinned) {
        (FileSource::Path(folder), Some(pinned)) => pinned_below(&pinned.files, &folder.path).collect(),
        (
            FileSource::Path(_)
            | FileSource::From(_)
            | FileSource::Content(_)
            | FileSource::Other(_)
            | FileSource::Digest(_),
            _,
        ) => Vec::new(),
    }
}

/// Refuses a source that is not there, or is none for its destination.
fn validate_source(
    task: &Task,
    (destination, source): (&str, &FileSource),
    config: &RunConfig,
) -> Result<(), WorkflowError> {
    let wrong = |text: String| Err(WorkflowError::Value(task.id.clone(), text));
    let pinned = config.pinned.as_ref();
    let holds = |path: &str| pinned.is_some_and(|pinned| pinned_below(&pinned.files, path).next().is_some());
    match (source, is_folder(destination)) {
        (FileSource::Path(path), true) if !holds(&path.path) => {
            Err(WorkflowError::UnknownFolder(task.id.clone(), path.path.clone()))
        }
        (FileSource::From(from), true) => match Chosen::of(&from.output) {
            Ok(_) => Ok(()),
            Err(error) => wrong(format!("`{}` of folder `{destination}` is no pattern: {error}", from.output)),
        },
        (FileSource::Content(_), true) => wrong(format!("folder `{destination}` cannot be a text: name a file in it")),
        (FileSource::Digest(_), true) => wrong(format!("folder `{destination}` cannot be one file: name a file in it")),
        (FileSource::Digest(given), false) if !given.digests().all(is_digest) => {
            let wrong_one = given.digests().find(|digest| !is_digest(digest)).unwrap_or_default();
            wrong(format!("`{wrong_one}` of file `{destination}` is no SHA-256 of 64 small hexadecimal digits"))
        }
        (FileSource::Digest(given), false) if given.parts.len() > PARTS_MAX => {
            wrong(format!("file `{destination}` has {} parts; {PARTS_MAX} are allowed", given.parts.len()))
        }
        (FileSource::Digest(given), false) if !given.parts.is_empty() && given.stage == Some(Stage::Link) => {
            wrong(format!("file `{destination}` is put together of parts, and cannot be a second name of a file"))
        }
        (FileSource::Other(_), true) => {
            wrong(format!("folder `{destination}` cannot come from another run: name the files in it one by one"))
        }
        (FileSource::Other(other), false) if !pinned.is_some_and(|it| it.files.contains_key(&other.pinned_as())) => {
            Err(WorkflowError::UnknownOther(task.id.clone(), other.named()))
        }
        (FileSource::Path(path), false) if !pinned.is_some_and(|pinned| pinned.files.contains_key(&path.path)) => {
            if !holds(&path.path) {
                return Err(WorkflowError::UnknownFile(task.id.clone(), path.path.clone()));
            }
            wrong(format!(
                "`{}` is a folder: for all in it let the destination end in a slash, `{destination}/`",
                path.path
            ))
        }
        (FileSource::Path(_), _)
        | (FileSource::From(_) | FileSource::Content(_) | FileSource::Other(_) | FileSource::Digest(_), false) => {
            Ok(())
        }
    }
}

/// Whether a text is a digest in its one spelling.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Refuses patterns that are none, and numbers that cannot be meant.
fn validate_values(task: &Task) -> Result<(), WorkflowError> {
    let wrong = |text: String| Err(WorkflowError::Value(task.id.clone(), text));
    crate::model::outputs::refuse_bad_patterns(task)?;
    if task.priority.unsigned_abs() > PRIORITY_MAX {
        return wrong(format!("priority is {}; it must be within ±{PRIORITY_MAX}", task.priority));
    }
    if task.retry.max_attempts == 0 {
        return wrong("retry.max_attempts is 0; at least 1 is needed, a whole number of attempts".to_owned());
    }
    if !task.retry.backoff_s.is_finite() || task.retry.backoff_s < 0.0 {
        return wrong("retry.backoff_s is negative; it is a number of seconds".to_owned());
    }
    if task.resources.as_ref().and_then(|r| r.walltime_s).is_some_and(|s| !s.is_finite() || s <= 0.0) {
        return wrong("resources.walltime_s is not positive; it is a number of seconds".to_owned());
    }
    if task.resources.as_ref().and_then(|r| r.walltime_s).is_some_and(|s| s > WALLTIME_MAX_S) {
        return wrong(format!(
            "resources.walltime_s is more than ten years ({WALLTIME_MAX_S}); it is a number of seconds"
        ));
    }
    if let Some(Err(why)) = task.resources.as_ref().map(|asked| check_names(asked.counts.keys())) {
        return wrong(format!("resources.counts {why}"));
    }
    let factors = [
        ("timeout.walltime_factor", task.retry.on.timeout.as_ref().map(|rule| rule.walltime_factor)),
        ("oom.memory_factor", task.retry.on.oom.as_ref().map(|rule| rule.memory_factor)),
    ];
    match factors.into_iter().find(|(_, factor)| factor.is_some_and(|factor| !factor.is_finite() || factor <= 0.0)) {
        Some((key, _)) => wrong(format!("retry.on.{key} is not positive; it is a multiple such as 1.5")),
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
