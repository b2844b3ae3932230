//! Takes what an earlier attempt left into a directory of the run. Nothing is believed that was not looked at: each
//! file has the size and digest that were recorded, or nothing is taken.
use super::source::Source;
use crate::ground::carriage::{Allowance, Bring, Carriage, Carried, is_executable, share};
use crate::ground::digest::digest;
use crate::ground::files::{open_directory, open_regular};
use crate::model::attempt_dir::PART;
use crate::model::evidence::{LogKind, LogRecord};
use crate::model::outputs::patterns;
use crate::model::pattern::{Pattern, plain_path};
use crate::model::workflow::{OutputPattern, Task, stays_inside};
use crate::store::{Earlier, Output, StoreError};
use cap_std::fs::Dir;
use serde::de::IgnoredAny;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// What was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) outputs: Vec<Output>,
    pub(super) logs: Vec<LogRecord>,
    pub(super) data: Option<String>,
}

/// Why nothing was taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// What is left is not what the task needs: a sentence.
    Unfit(String),
    /// There is more of it than one tick takes: how far it is.
    PutAside(String),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Unfit(format!("its run cannot be read: {error}"))
    }
}

/// What an earlier attempt left that a task is to have.
#[derive(Debug)]
pub(super) struct Wanted {
    outputs: Vec<Output>,
    data: Option<String>,
}

/// What a task is to have of an earlier attempt; or why that cannot serve it.
pub(super) fn wanted(source: &Source, earlier: &Earlier, (task, json): (&Task, &str)) -> Result<Wanted, NotTaken> {
    let outputs = source.store.outputs(earlier.key)?;
    let attempt = source.store.attempt(&earlier.attempt)?;
    let attempt = attempt.ok_or_else(|| NotTaken::Unfit("it is gone from its run".to_owned()))?;
    // what stands in a database of somebody else's may be anything
    let paths: BTreeSet<&str> = outputs.iter().map(|output| output.path.as_str()).collect();
    let odd = paths.len() < outputs.len()
        || !stays_inside(&attempt.directory)
        || attempt.data.as_deref().is_some_and(|data| serde_json::from_str::<IgnoredAny>(data).is_err());
    if odd {
        return Err(NotTaken::Unfit("what is recorded of it cannot be".to_owned()));
    }
    // the same text has the same patterns
    let outputs = if attempt.task_json == json { outputs } else { files(task, &attempt.task_json, outputs)? };
    Ok(Wanted { outputs, data: attempt.data })
}

/// The files that a task is to have of those that another left whose text is given.
fn files(task: &Task, other: &str, outputs: Vec<Output>) -> Result<Vec<Output>, NotTaken> {
    let then = serde_json::from_str::<Task>(other).ok();
    let then: BTreeSet<String> =
        then.iter().flat_map(|then| &then.outputs).map(|one| one.pattern().to_owned()).collect();
    let now: BTreeSet<String> = task.outputs.iter().map(|one| one.pattern().to_owned()).collect();
    if then == now {
        return Ok(outputs);
    }
    // what it left and nobody kept may be gone or another by now
    let kept = |pattern: &&String| {
        let plain = Pattern::parse(pattern).is_ok_and(|parsed| parsed.plain_paths().all(|path| path.is_some()));
        then.contains(*pattern) || (plain && outputs.iter().any(|output| output.path == plain_path(pattern)))
    };
    if let Some(missing) = now.iter().find(|pattern| !kept(pattern)) {
        return Err(NotTaken::Unfit(format!("it kept no files by the pattern `{missing}`")));
    }
    let patterns = patterns(task.outputs.iter().map(OutputPattern::pattern));
    Ok(outputs.into_iter().filter(|output| patterns.match_path(&output.path)).collect())
}

/// Takes these files of an earlier attempt, and what it printed where that is still there.
pub(super) fn take(
    source: &Source,
    earlier: &Earlier,
    Wanted { outputs: wanted, data }: Wanted,
    into: &Path,
    progress: &mut Carriage,
    allowance: &Allowance,
) -> Result<Taken, NotTaken> {
    let unfit = |what: &str, error: io::Error| NotTaken::Unfit(format!("{what}: {error}"));
    std::fs::create_dir_all(into).map_err(|error| unfit("a directory cannot be made for its results", error))?;
    let to = open_directory(into);
    let to = to.map_err(|error| unfit("the directory for its results cannot be opened", error))?;
    let mut logs = Vec::new();
    let mut printed = source.store.logs(earlier.key)?;
    printed.retain(|log| log.kind != LogKind::Exit);
    if wanted.is_empty() && printed.is_empty() {
        return Ok(Taken { outputs: wanted, logs, data });
    }
    let from = open_directory(&source.dir.join(&earlier.directory));
    let from = match from {
        Ok(from) => from,
        Err(_) if wanted.is_empty() => return Ok(Taken { outputs: wanted, logs, data }),
        Err(error) => return Err(unfit("its directory cannot be opened", error)),
    };
    let mut way = Way { from: &from, to: &to, progress, allowance };
    for output in &wanted {
        way.bring(&output.path, &output.sha256, output.size)?;
    }
    for log in printed {
        let named = wanted.iter().any(|output| output.path == log.kind.file());
        match way.bring(log.kind.file(), &log.sha256, log.size) {
            Ok(()) => logs.push(log),
            Err(aside @ NotTaken::PutAside(_)) => return Err(aside),
            // what was printed is no result
            Err(NotTaken::Unfit(_)) if !named => {}
            Err(unfit @ NotTaken::Unfit(_)) => return Err(unfit),
        }
    }
    Ok(Taken { outputs: wanted, logs, data })
}

/// Looks at these files of an earlier attempt where they lie.
pub(super) fn look_at(source: &Source, earlier: &Earlier, wanted: &Wanted) -> Result<(), NotTaken> {
    let directory = source.dir.join(&earlier.directory);
    for output in &wanted.outputs {
        let unfit = |error| unfit_file(&output.path, error);
        let from = open_directory(&directory).map_err(unfit)?;
        let mut file = open_regular(&from, &output.path).map_err(unfit)?;
        let (sha256, _) = digest(&mut file).map_err(unfit)?;
        if sha256 != output.sha256 {
            return Err(unfit(io::ErrorKind::InvalidData.into()));
        }
    }
    Ok(())
}

fn unfit_file(path: &str, error: io::Error) -> NotTaken {
    let kind = error.kind();
    NotTaken::Unfit(match () {
        () if kind == io::ErrorKind::NotFound => format!("its file `{path}` is gone"),
        () if kind == io::ErrorKind::InvalidData => format!("its file `{path}` was changed"),
        () => format!("its file `{path}` cannot be taken: {error}"),
    })
}

struct Way<'a> {
    from: &'a Dir,
    to: &'a Dir,
    progress: &'a mut Carriage,
    allowance: &'a Allowance,
}

impl Way<'_> {
    /// Brings one file: a large one shares its room on the disk with the earlier one where the file system can, a small
    /// one is copied.
    fn bring(&mut self, path: &str, sha256: &str, size: u64) -> Result<(), NotTaken> {
        let unfit = |error| unfit_file(path, error);
        let mut file = open_regular(self.from, path).map_err(unfit)?.into_std();
        let metadata = file.metadata().map_err(unfit)?;
        if metadata.len() != size {
            return Err(unfit(io::ErrorKind::InvalidData.into()));
        }
        let what = Bring {
            destination: path,
            part: PART,
            executable: is_executable(&metadata),
            sha256: Some(sha256),
            most: u64::MAX,
        };
        match share(self.progress, &mut file, (self.from, path), self.to, what, self.allowance).map_err(unfit)? {
            Carried::Whole(_) => Ok(()),
            Carried::PutAside(done) => {
                Err(NotTaken::PutAside(format!("its earlier result `{path}` is being taken: {done} bytes so far")))
            }
        }
    }
}
