//! Stages a task's files into its attempt directory, which nothing may leave: linked where the task says so, else
//! cloned or copied in pieces. What cannot be had is the attempt's own failure, unless the machine is to blame. A crash
//! leaves the directory of an attempt that is not submitted half filled: the next tick stages all of it again, over
//! what is there.
use crate::ground::carriage::{Allowance, Bring, Carriage, Carried, Digested, is_executable, make_way, write_new};
use crate::ground::digest::Stamp;
use crate::ground::files::{open_directory, open_regular};
use crate::ground::machine;
use crate::ground::words::positional;
use crate::model::attempt_dir::PART;
use crate::model::document::sha256;
use crate::model::pattern::plain_path;
use crate::model::workflow::{DigestSource, FileSource, FromSource, Stage, Task};
use crate::store::{AttemptRow, NewInput, StoreError};
use crate::tick::Run;
use crate::tick::attempts::collect::CollectError;
use crate::tick::attempts::digests::file_of_digest;
use crate::tick::attempts::{carry, inputs};
use cap_std::fs::Dir;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most bytes of a file that is put together of parts.
const WHOLE_MAX: u64 = 64 * 1024 * 1024;

/// Why files could not be staged.
#[derive(Debug)]
pub(in crate::tick) enum StageError {
    /// The task's own doing: its attempt fails.
    Task(String),
    /// The outside's: what is needed is on a cluster that does not answer.
    Later(String),
    /// There is more of it than one tick takes: what is being done.
    PutAside(String),
    /// The machine's: the tick fails, and the next one tries again.
    Machine(String, io::Error),
    /// The database's: the same.
    Store(StoreError),
}

/// The directory of an attempt while it is filled.
pub(in crate::tick) struct Staging<'a> {
    pub(in crate::tick) directory: &'a Path,
    pub(in crate::tick) into: Dir,
    pub(in crate::tick) progress: Carriage,
    pub(in crate::tick) allowance: &'a Allowance,
}

/// What was put into an attempt directory.
#[derive(Debug, Default)]
pub(in crate::tick) struct Staged {
    /// Whether there was anything.
    pub(in crate::tick) any: bool,
    /// What was carried over from an earlier attempt.
    pub(in crate::tick) carried: Vec<NewInput>,
}

/// Makes the attempt directory and puts into it the task's files, and what it carries over from the attempt before.
pub(in crate::tick) fn stage(
    run: &Run,
    task: &Task,
    attempt: &AttemptRow,
    allowance: &Allowance,
) -> Result<Staged, StageError> {
    let directory = &run.dir.join(&attempt.directory);
    // jobs write where the run lies, and one may have put anything in the way
    let failed = |error| blame(error, format!("attempt directory `{}` cannot be made or opened", directory.display()));
    match std::fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(directory).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    }
    let carries = carry::carries(task, attempt);
    if task.files.is_empty() && !carries {
        return Ok(Staged::default());
    }
    let into = open_directory(directory).map_err(failed)?;
    let aside = run.dir.progress(&attempt.id);
    let mut staging = Staging { directory, into, progress: Carriage::read(&aside), allowance };
    let staged = fill(run, task, attempt, carries, &mut staging);
    match &staged {
        Err(StageError::PutAside(_)) => staging
            .progress
            .keep(&aside)
            .map_err(|error| StageError::Machine(format!("writing `{}`", aside.display()), error))?,
        Ok(_) | Err(_) => staging.progress.forget(&aside),
    }
    staged
}

fn fill(
    run: &Run,
    task: &Task,
    attempt: &AttemptRow,
    carries: bool,
    staging: &mut Staging<'_>,
) -> Result<Staged, StageError> {
    let carried = if carries { carry::stage(run, task, attempt, staging)? } else { Vec::new() };
    for (destination, source) in &task.files {
        if let FileSource::From(from) = source
            && inputs::stage(run, &attempt.operator, destination, from, staging.directory)?
        {
            continue;
        }
        staging.file(run, destination, source)?;
    }
    Ok(Staged { any: !carried.is_empty() || !task.files.is_empty(), carried })
}

/// The staged files that can be executed.
pub(in crate::tick) fn executables(directory: &Path, task: &Task) -> Vec<String> {
    let executes = |name: &&String| {
        let metadata = std::fs::symlink_metadata(directory.join(name));
        metadata.is_ok_and(|metadata| metadata.is_file() && is_executable(&metadata))
    };
    task.files.keys().filter(executes).cloned().collect()
}

/// Looks again at the files of which the attempt had a second name, now that its job has ended: the sentence on the
/// first that is not as it was, since others use it too.
pub(in crate::tick) fn changed_link(
    run: &Run,
    task: &Task,
    directory: &Path,
    carriage: &mut Carriage,
    allowance: &Allowance,
) -> Result<Option<String>, CollectError> {
    for (destination, source) in task.files.iter().filter(|(_, source)| source.is_linked()) {
        let unreadable = |error| CollectError::Unreadable(destination.clone(), error);
        let found = match source {
            FileSource::Content(_) => continue,
            FileSource::Path(_) | FileSource::Other(_) => Found::pinned(run, source),
            FileSource::From(from) => Found::output(run, from),
            FileSource::Digest(given) => Found::by_digest(run, given),
        };
        let Ok(found) = found else { continue };
        let root = open_directory(directory).map_err(unreadable)?;
        // one that the job replaced by another is its own
        let Ok(linked) = open_regular(&root, destination) else { continue };
        let there = open_directory(&found.root).map_err(unreadable)?;
        let (mut linked, there) =
            (linked.into_std(), open_regular(&there, &found.path).map_err(unreadable)?.into_std());
        let stamps =
            (Stamp::of(&linked.metadata().map_err(unreadable)?), Stamp::of(&there.metadata().map_err(unreadable)?));
        if !stamps.0.same_file(&stamps.1) {
            continue;
        }
        match carriage.hash(&mut linked, destination, u64::MAX, allowance).map_err(unreadable)? {
            Carried::PutAside(done) => {
                let text = format!("its linked file `{destination}` is being looked at: {done} bytes so far");
                return Err(CollectError::PutAside(text));
            }
            Carried::Whole(digested) if digested.sha256 != found.sha256 => {
                return Ok(Some(format!(
                    "the job wrote into `{destination}`, which is a second name of {}: that is destroyed; let it have a copy",
                    found.name
                )));
            }
            Carried::Whole(_) => {}
        }
    }
    Ok(None)
}

/// The files of an attempt that were put together of parts, with its directory, relative to the run.
pub(in crate::tick) fn of_parts(attempt: &AttemptRow) -> Vec<PathBuf> {
    // most tasks have none, and need not be read to find that out
    let named = attempt.task_json.contains("\"parts\"");
    let task = named.then(|| serde_json::from_str::<Task>(&attempt.task_json).ok()).flatten();
    let files = task.into_iter().flat_map(|task| task.files);
    let of_parts = |source: &FileSource| matches!(source, FileSource::Digest(given) if !given.parts.is_empty());
    let paths = files.filter(|(_, source)| of_parts(source));
    paths.map(|(destination, _)| Path::new(&attempt.directory).join(destination)).collect()
}

/// Takes away a file that was put together for an attempt which has completed: the run has its parts. What cannot be
/// removed stays.
pub(in crate::tick) fn take_away(run: &Run, path: &Path) {
    let Ok(root) = open_directory(run.dir.root()) else { return };
    let _ = root.remove_file(path);
}

/// Tells trouble of the machine from what the attempt is to blame for. A permission that is missing is the latter: jobs
/// write where the run lies, as its user.
pub(in crate::tick) fn blame(error: io::Error, what: String) -> StageError {
    if machine::is_trouble(&error) {
        StageError::Machine(what, error)
    } else {
        StageError::Task(format!("{what}: {error}"))
    }
}

/// What cannot be read now, as on a server that is away, is read later: nothing else has to wait for that.
fn unreadable(error: io::Error, name: &str) -> StageError {
    let text = format!("{name} cannot be read: {error}");
    if machine::is_trouble(&error) { StageError::Later(text) } else { StageError::Task(text) }
}

/// A file that is staged.
struct Found {
    /// How errors name it.
    name: String,
    /// The directory that it must not lie outside of, and its path there.
    root: PathBuf,
    path: String,
    sha256: String,
    /// If that is known beforehand.
    executable: Option<bool>,
    /// What is said if it is not as it was.
    changed: String,
    linked: bool,
}

impl Found {
    /// Looks up a file that was brought into the run when it was made.
    fn pinned(run: &Run, source: &FileSource) -> Result<Self, StageError> {
        let Some((_, pinned)) = run.config.pinned_file(source) else {
            let name = source.pinned_as().unwrap_or_default();
            return Err(StageError::Task(format!("file `{name}` is not pinned in the run")));
        };
        Ok(Self {
            name: format!("pinned file `{}`", pinned.path),
            root: run.dir.root().to_owned(),
            path: pinned.path.clone(),
            sha256: pinned.sha256.clone(),
            executable: Some(source.executable().unwrap_or(pinned.executable)),
            changed: format!("pinned file `{}` was changed after init", pinned.path),
            linked: source.is_linked(),
        })
    }

    /// Looks up a file that another task left.
    fn output(run: &Run, from: &FromSource) -> Result<Self, StageError> {
        let found = run.store.output_of(from.from.as_str(), &plain_path(&from.output));
        let (directory, output) = found
            .map_err(StageError::Store)?
            .ok_or_else(|| StageError::Task(format!("task `{}` has no output `{}`", from.from, from.output)))?;
        let source = run.store.output_source(from.from.as_str(), &output.path).map_err(StageError::Store)?;
        let removed = source.map(|(key, output)| run.store.removed_file(key, &output.path)).transpose();
        if let Some(removed) = removed.map_err(StageError::Store)?.flatten() {
            let (name, maker) = (&from.output, &from.from);
            return Err(StageError::Task(format!(
                "output `{name}` of task `{maker}` {}; `matterstack rerun {} {}` makes it again",
                removed.sentence(),
                run.dir.address(),
                positional(maker.as_str()),
            )));
        }
        Ok(Self {
            name: format!("output `{directory}/{}` of task `{}`", output.path, from.from),
            root: run.dir.join(&directory),
            path: output.path,
            sha256: output.sha256,
            executable: from.executable,
            changed: format!("output `{}` of task `{}` was changed", from.output, from.from),
            linked: from.is_linked(),
        })
    }
}

impl Found {
    /// Looks up a file of the run by what it holds.
    fn by_digest(run: &Run, given: &DigestSource) -> Result<Self, StageError> {
        let digest = &given.digest;
        let path = file_of_digest(run, digest)
            .map_err(StageError::Store)?
            .ok_or_else(|| StageError::Task(format!("no file of the run has the digest `{digest}`")))?;
        Ok(Self {
            name: format!("file `{path}`"),
            root: run.dir.root().to_owned(),
            changed: format!("file `{path}` was changed, and does not hold what the digest `{digest}` names"),
            path,
            sha256: digest.clone(),
            executable: given.executable,
            linked: given.stage == Some(Stage::Link),
        })
    }
}

impl Staging<'_> {
    fn file(&mut self, run: &Run, destination: &str, source: &FileSource) -> Result<(), StageError> {
        let content = match source {
            FileSource::Content(content) => content,
            FileSource::Path(_) | FileSource::Other(_) => return self.found(destination, &Found::pinned(run, source)?),
            FileSource::From(from) => return self.found(destination, &Found::output(run, from)?),
            FileSource::Digest(given) if !given.parts.is_empty() => return self.put_together(run, destination, given),
            FileSource::Digest(given) => return self.found(destination, &Found::by_digest(run, given)?),
        };
        let executable = content.executable.unwrap_or(false);
        let written = write_new(&self.into, destination, content.content.as_bytes(), executable);
        written
            .map_err(|error| blame(error, format!("file `{destination}` cannot be written into the attempt directory")))
    }

    fn found(&mut self, destination: &str, found: &Found) -> Result<(), StageError> {
        let unreadable = |error| unreadable(error, &found.name);
        let unwritten =
            |error| blame(error, format!("file `{destination}` cannot be written into the attempt directory"));
        let root = open_directory(&found.root).map_err(unreadable)?;
        let mut file = open_regular(&root, &found.path).map_err(unreadable)?.into_std();
        let executes = is_executable(&file.metadata().map_err(unreadable)?);
        let executable = found.executable.unwrap_or(executes);
        if found.linked && executable == executes {
            let carried = self.progress.hash(&mut file, destination, u64::MAX, self.allowance).map_err(unreadable)?;
            let digested = whole(carried, destination)?;
            if digested != found.sha256 {
                return Err(StageError::Task(found.changed.clone()));
            }
            let stamp = Stamp::of(&file.metadata().map_err(unreadable)?);
            if self.link(&root, &found.path, destination, &stamp).map_err(unwritten)? {
                return Ok(());
            }
        }
        self.bring(&mut file, destination, Some(&found.sha256), executable, u64::MAX).map_err(|error| match error {
            Brought::PutAside(text) => StageError::PutAside(text),
            Brought::Failed(error) if error.kind() == io::ErrorKind::InvalidData => {
                StageError::Task(found.changed.clone())
            }
            Brought::Failed(error) if is_full(&error) => unwritten(error),
            Brought::Failed(error) if machine::is_trouble(&error) => unreadable(error),
            Brought::Failed(error) => unwritten(error),
        })?;
        Ok(())
    }

    /// Puts a file together of its parts. It is written only if it is what its digest says.
    fn put_together(&mut self, run: &Run, destination: &str, given: &DigestSource) -> Result<(), StageError> {
        let mut bytes = Vec::new();
        for digest in &given.parts {
            let found = Found::by_digest(run, &DigestSource { digest: digest.clone(), ..DigestSource::default() })?;
            let unreadable = |error| unreadable(error, &found.name);
            let root = open_directory(&found.root).map_err(unreadable)?;
            let file = open_regular(&root, &found.path).map_err(unreadable)?;
            file.take((WHOLE_MAX + 1).saturating_sub(bytes.len() as u64))
                .read_to_end(&mut bytes)
                .map_err(unreadable)?;
            if bytes.len() as u64 > WHOLE_MAX {
                let text = format!("the parts of file `{destination}` have more than {WHOLE_MAX} bytes together");
                return Err(StageError::Task(text));
            }
        }
        if sha256(&bytes) != given.digest {
            let text = format!("the parts of file `{destination}` are not what the digest `{}` names", given.digest);
            return Err(StageError::Task(text));
        }
        write_new(&self.into, destination, &bytes, given.executable.unwrap_or(false))
            .map_err(|error| blame(error, format!("file `{destination}` cannot be written into the attempt directory")))
    }

    /// Gives a file a second name; tells whether the file system does that.
    fn link(&self, root: &Dir, path: &str, destination: &str, stamp: &Stamp) -> io::Result<bool> {
        make_way(&self.into, Path::new(destination))?;
        if root.hard_link(path, &self.into, destination).is_err() {
            return Ok(false);
        }
        let linked = open_regular(&self.into, destination)?.into_std();
        if Stamp::of(&linked.metadata()?).same_file(stamp) {
            return Ok(true);
        }
        self.into.remove_file(destination)?;
        Ok(false)
    }

    /// The digest of a file in the directory.
    pub(in crate::tick) fn hash(&mut self, file: &mut std::fs::File, path: &str) -> Result<String, Brought> {
        match self.progress.hash(file, path, u64::MAX, self.allowance).map_err(Brought::Failed)? {
            Carried::Whole(digested) => Ok(digested.sha256),
            Carried::PutAside(done) => Err(Brought::PutAside(put_aside(path, done))),
        }
    }

    /// Brings a file; returns its digest and size.
    pub(in crate::tick) fn bring(
        &mut self,
        file: &mut std::fs::File,
        destination: &str,
        sha256: Option<&str>,
        executable: bool,
        most: u64,
    ) -> Result<Digested, Brought> {
        let what = Bring { destination, part: PART, executable, sha256, most };
        match self.progress.bring(file, &self.into, what, self.allowance).map_err(Brought::Failed)? {
            Carried::Whole(digested) => Ok(digested),
            Carried::PutAside(done) => Err(Brought::PutAside(put_aside(destination, done))),
        }
    }
}

/// Whether the disk that is written to has no room, or takes nothing.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Why a file was not brought.
pub(in crate::tick) enum Brought {
    PutAside(String),
    Failed(io::Error),
}

fn whole(carried: Carried, destination: &str) -> Result<String, StageError> {
    match carried {
        Carried::Whole(digested) => Ok(digested.sha256),
        Carried::PutAside(done) => Err(StageError::PutAside(put_aside(destination, done))),
    }
}

fn put_aside(destination: &str, done: u64) -> String {
    format!("its file `{destination}` is being staged: {done} bytes so far")
}

#[cfg(test)]
mod tests {
    use super::{StageError, unreadable};
    use rustix::io::Errno;

    #[test]
    fn a_file_that_cannot_be_read_now_is_read_later() {
        let of = |errno: Errno| unreadable(errno.into(), "pinned file `a`");
        for errno in [Errno::IO, Errno::STALE, Errno::TIMEDOUT] {
            assert!(matches!(of(errno), StageError::Later(text) if text.starts_with("pinned file `a` cannot be read")));
        }
        for errno in [Errno::ACCESS, Errno::NOENT, Errno::ISDIR] {
            assert!(matches!(of(errno), StageError::Task(_)), "{errno}");
        }
    }
}
