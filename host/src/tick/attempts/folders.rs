//! What is in the folders of a task: looked up when an attempt is begun, and from then on what the record says, since
//! another attempt at the task that left it may leave something else. It reads alone.
use crate::model::pattern::plain_path;
use crate::model::workflow::{Chosen, FileSource, Inside, Task, WorkflowError, is_folder, pinned_below};
use crate::store::{AttemptRow, StoreError};
use crate::tick::attempts::verdict::stored_task;
use crate::tick::{Run, TickError};

/// Outputs that a sentence names.
const NAMED: usize = 5;

/// Why it cannot be said what is in a folder.
#[derive(Debug)]
pub(in crate::tick) enum Unopened {
    /// It would be empty, or files are in each other's way: a sentence.
    Told(String),
    Store(StoreError),
}

impl From<StoreError> for Unopened {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<WorkflowError> for Unopened {
    fn from(error: WorkflowError) -> Self {
        Self::Told(error.to_string())
    }
}

/// The task with single files in the place of its folders, as an attempt that begins now is given them.
pub(in crate::tick) fn opened(run: &Run, task: Task) -> Result<Task, Unopened> {
    if task.takes_folders() { task.with_single_files(|_, source| inside(run, source)) } else { Ok(task) }
}

fn inside(run: &Run, source: &FileSource) -> Result<Vec<Inside>, Unopened> {
    let from = match source {
        FileSource::Content(_) | FileSource::Other(_) | FileSource::Digest(_) => return Ok(Vec::new()),
        FileSource::Path(folder) => {
            let files = run.config.pinned.as_ref().map(|pinned| &pinned.files);
            let found: Vec<Inside> = files.into_iter().flat_map(|files| pinned_below(files, &folder.path)).collect();
            if found.is_empty() {
                return Err(Unopened::Told(format!("no file of folder `{}` is pinned in the run", folder.path)));
            }
            return Ok(found);
        }
        FileSource::From(from) => from,
    };
    let chosen = Chosen::of(&from.output).map_err(|error| Unopened::Told(error.to_string()))?;
    let left = run.store.output_paths(from.from.as_str())?;
    let found: Vec<Inside> = left.iter().filter_map(|path| chosen.inside(path)).collect();
    if found.is_empty() {
        let what = match left.len() {
            0 => "it left none".to_owned(),
            count => {
                let names = left[..count.min(NAMED)].join("`, `");
                let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
                format!("it left `{names}`{more}")
            }
        };
        let text = format!("`{}` names no output of task `{}`: {what}", from.output, from.from);
        return Err(Unopened::Told(text));
    }
    Ok(found)
}

/// The task of an attempt that has begun, with single files in the place of its folders, as the record names them.
pub(in crate::tick) fn task_of(run: &Run, attempt: &AttemptRow) -> Result<Task, TickError> {
    let task = stored_task(&attempt.task_json)?;
    if !task.takes_folders() {
        return Ok(task);
    }
    let inputs = run.store.inputs(attempt.key)?;
    let taken = |destination: &str, source: &FileSource| {
        let folder = plain_path(destination) + "/";
        let below = inputs.iter().filter_map(move |input| {
            let below = input.destination.strip_prefix(&folder)?;
            let comes = match source {
                FileSource::Content(_) | FileSource::Other(_) | FileSource::Digest(_) => false,
                // what was carried over comes from an attempt too, and goes where it lay
                FileSource::From(from) => {
                    let inside = Chosen::of(&from.output).ok().and_then(|chosen| chosen.inside(&input.from_path));
                    input.from_attempt.is_some() && inside.is_some_and(|inside| inside.below == below)
                }
                FileSource::Path(path) => {
                    let whole = [plain_path(&path.path).as_str(), below].join("/");
                    input.from_attempt.is_none() && input.from_path == whole.trim_start_matches('/')
                }
            };
            comes.then(|| Inside { below: below.to_owned(), path: input.from_path.clone() })
        });
        Ok::<_, WorkflowError>(below.collect())
    };
    let single = task.with_single_files(taken);
    Ok(single.map_err(|error| StoreError::Row(error.to_string()))?)
}

/// The text of that task, as its operator is given it.
pub(in crate::tick) fn json_of(run: &Run, attempt: &AttemptRow) -> Result<String, TickError> {
    // most tasks have no folders, and need not be parsed to find that out
    if !may_take_folders(&attempt.task_json) {
        return Ok(attempt.task_json.clone());
    }
    let task = task_of(run, attempt)?;
    Ok(serde_json::to_string(&task).unwrap_or_else(|error| panic!("bug: a task has no JSON: {error}")))
}

/// Whether the text of a task may name a folder among its files.
pub(in crate::tick) fn may_take_folders(json: &str) -> bool {
    json.contains("/\":{")
}

/// The pinned files that a task names, also in folders, by their paths in the workspace.
pub(in crate::tick) fn pinned_of(run: &Run, task: &Task) -> Vec<String> {
    let mut paths = Vec::new();
    for (destination, source) in &task.files {
        match source {
            FileSource::Path(path) if is_folder(destination) => {
                let files = run.config.pinned.as_ref().map(|pinned| &pinned.files);
                let inside = files.into_iter().flat_map(|files| pinned_below(files, &path.path));
                paths.extend(inside.map(|one| one.path));
            }
            FileSource::Path(path) => paths.push(path.path.clone()),
            FileSource::Content(_) | FileSource::From(_) | FileSource::Other(_) | FileSource::Digest(_) => {}
        }
    }
    paths
}
