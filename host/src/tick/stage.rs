//! Stages a task's files into its attempt directory, which nothing may leave.
use super::{Run, carry, inputs};
use crate::ground::files::read_regular;
use crate::ground::machine;
use crate::model::workflow::{FileSource, Task};
use crate::store::AttemptRow;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::io;
use std::path::Path;

/// Why files could not be staged.
#[derive(Debug)]
pub(super) enum StageError {
    /// The task's own doing: its attempt fails.
    Task(String),
    /// The outside's: what is needed is on a cluster that does not answer.
    Later(String),
    /// The machine's: the tick fails, and the next one tries again.
    Machine(String, io::Error),
}

/// Makes the attempt directory and puts into it the task's files, and what it carries over from the attempt before. Tells
/// whether that was anything.
pub(super) fn stage(run: &Run, task: &Task, attempt: &AttemptRow) -> Result<bool, StageError> {
    let directory = &run.dir.join(&attempt.directory);
    let failed = |error| StageError::Machine(format!("making attempt directory `{}`", directory.display()), error);
    match std::fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(directory).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    }
    let carries = carry::carries(task, attempt);
    if task.files.is_empty() && !carries {
        return Ok(false);
    }
    let into = Dir::open_ambient_dir(directory, ambient_authority()).map_err(failed)?;
    let carried = carries && carry::stage(run, task, attempt, directory, &into)?;
    for (destination, source) in &task.files {
        if let FileSource::From(from) = source
            && inputs::stage(run, &attempt.operator, destination, from, directory)?
        {
            continue;
        }
        let content = read_source(run, source)?;
        write_inside(&into, destination, &content).map_err(|error| {
            blame(error, format!("file `{destination}` cannot be written into the attempt directory"))
        })?;
    }
    Ok(carried || !task.files.is_empty())
}

/// Tells trouble of the machine from what the task is to blame for. Nobody but this user writes where the run lies, so a
/// permission that is missing there is no task's doing.
pub(super) fn blame(error: io::Error, what: String) -> StageError {
    if machine::is_trouble(&error) || error.kind() == io::ErrorKind::PermissionDenied {
        StageError::Machine(what, error)
    } else {
        StageError::Task(format!("{what}: {error}"))
    }
}

fn read_source(run: &Run, source: &FileSource) -> Result<Vec<u8>, StageError> {
    let read = |path: &Path| {
        let bytes = read_regular(path, u64::MAX).and_then(|bytes| bytes.ok_or_else(|| io::ErrorKind::NotFound.into()));
        bytes.map_err(|error| (path.display().to_string(), error))
    };
    match source {
        FileSource::Content(content) => Ok(content.content.clone().into_bytes()),
        FileSource::Path(path) => {
            let pinned = run.config.pinned.as_ref().and_then(|pinned| pinned.files.get(&path.path));
            let pinned =
                pinned.ok_or_else(|| StageError::Task(format!("file `{}` is not pinned in the run", path.path)))?;
            let bytes = read(&run.dir.join(&pinned.path))
                .map_err(|(path, error)| blame(error, format!("pinned file `{path}` cannot be read")))?;
            if crate::model::document::sha256(&bytes) != pinned.sha256 {
                return Err(StageError::Task(format!("pinned file `{}` was changed after init", pinned.path)));
            }
            Ok(bytes)
        }
        FileSource::From(from) => {
            let found = run.store.output_of(from.from.as_str(), &from.output);
            let found = found.map_err(|error| StageError::Task(error.to_string()))?;
            let (directory, output) = found
                .ok_or_else(|| StageError::Task(format!("task `{}` has no output `{}`", from.from, from.output)))?;
            let path = run.dir.join(&directory).join(&output.path);
            let bytes = read(&path).map_err(|(path, error)| blame(error, format!("output `{path}` cannot be read")))?;
            if crate::model::document::sha256(&bytes) != output.sha256 {
                return Err(StageError::Task(format!("output `{}` of task `{}` was changed", from.output, from.from)));
            }
            Ok(bytes)
        }
    }
}

/// Writes a file below a directory; no link, however made, leads out of it.
fn write_inside(directory: &Dir, destination: &str, content: &[u8]) -> io::Result<()> {
    let path = Path::new(destination);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directory.create_dir_all(parent)?;
    }
    directory.write(path, content)
}
