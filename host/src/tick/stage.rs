//! Stages a task's files into its attempt directory, which nothing may leave.
use super::Run;
use crate::model::workflow::{FileSource, Task};
use crate::run_dir::read_regular;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::io;
use std::path::Path;

/// Why files could not be staged.
#[derive(Debug)]
pub(super) enum StageError {
    /// The task's own doing: its attempt fails.
    Task(String),
    /// The machine's: the tick fails, and the next one tries again.
    Machine(String, io::Error),
}

/// Makes the attempt directory and puts the task's files into it.
pub(super) fn stage(run: &Run, task: &Task, directory: &Path) -> Result<(), StageError> {
    let machine = |error| StageError::Machine(format!("making attempt directory `{}`", directory.display()), error);
    match std::fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(directory).map_err(machine)?,
        Err(error) => return Err(machine(error)),
    }
    if task.files.is_empty() {
        return Ok(());
    }
    let attempt = Dir::open_ambient_dir(directory, ambient_authority()).map_err(machine)?;
    for (destination, source) in &task.files {
        let content = read_source(run, source)?;
        write_inside(&attempt, destination, &content).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem => {
                StageError::Machine(format!("writing `{destination}`"), error)
            }
            _ => {
                StageError::Task(format!("file `{destination}` cannot be written into the attempt directory: {error}"))
            }
        })?;
    }
    Ok(())
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
                .map_err(|(path, error)| StageError::Task(format!("pinned file `{path}` cannot be read: {error}")))?;
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
            let bytes = read(&path)
                .map_err(|(path, error)| StageError::Task(format!("output `{path}` cannot be read: {error}")))?;
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
