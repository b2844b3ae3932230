//! What a task carries from one attempt to the next (`retry.carry`): here it is copied before the operator is asked to
//! prepare; on a cluster it is copied over there by the submit, and never crosses the wire. What a crash leaves of a
//! copy is in the directory of an attempt that is not submitted, and replaced when that is staged again.
use crate::backend::{LeftThere, RanAt};
use crate::ground::carriage::is_executable;
use crate::ground::files::{open_directory, open_regular};
use crate::model::contract::GuestError;
use crate::model::inputs::Carried;
use crate::model::limit::Limits;
use crate::model::outputs;
use crate::model::workflow::Task;
use crate::store::{AttemptRow, NewInput, StoreError};
use crate::tick::attempts::collect::{CollectError, Left, over_quota, own_files};
use crate::tick::attempts::stage::{Brought, StageError, Staging, blame};
use crate::tick::attempts::walk::{Own, Walk};
use crate::tick::{Run, TickError};
use std::io;

/// Whether an attempt carries anything over.
pub(in crate::tick) fn carries(task: &Task, attempt: &AttemptRow) -> bool {
    attempt.number > 1 && !task.retry.carry.is_empty()
}

/// The attempt to go on from: the latest one that was submitted, since one that was not has at most what was carried to
/// it.
fn before(run: &Run, attempt: &AttemptRow) -> Result<Option<AttemptRow>, StoreError> {
    let mut earlier = run.store.attempts(attempt.task_key)?;
    earlier.retain(|other| other.number < attempt.number && other.handle.is_some());
    Ok(earlier.pop())
}

/// Copies into the attempt directory what the attempt before left, unless it is on a cluster that the operator may use:
/// then the submit sees to it, and the cluster tells what it found. Returns what was copied.
pub(in crate::tick) fn stage(
    run: &Run,
    task: &Task,
    attempt: &AttemptRow,
    staging: &mut Staging<'_>,
) -> Result<Vec<NewInput>, StageError> {
    let Some(before) = before(run, attempt).map_err(StageError::Store)? else { return Ok(Vec::new()) };
    let what = || format!("what attempt {} left cannot be carried over", before.number);
    let left_at = run.dir.join(&before.directory);
    let copied = match run.backends.ran_at(&left_at) {
        RanAt::Forgotten => Ok(Vec::new()),
        RanAt::There(backend) if run.config.may_use(&attempt.operator, &backend) => Ok(Vec::new()),
        RanAt::There(backend) => {
            let left = LeftThere { backend: &backend, attempt: &before.id, patterns: &task.retry.carry };
            match run.backends.fetch_carried(left, &attempt.id, staging.directory) {
                Ok(()) => fetched(task, &run.config.limits, staging).map_err(|error| not_carried(error, &what())),
                Err(GuestError::Transient { detail, .. }) => Err(StageError::Later(format!(
                    "what attempt {} left is on backend `{backend}`: {}",
                    before.number, detail.message
                ))),
                Err(error) => Err(StageError::Task(format!("{}: {}", what(), error.detail().message))),
            }
        }
        RanAt::Here => {
            let left = Left { directory: &left_at, task, handle: before.handle.as_deref() };
            copy(left, &run.config.limits, staging).map_err(|error| not_carried(error, &what()))
        }
    };
    let from = |(path, sha256): (String, String)| NewInput {
        destination: path.clone(),
        sha256,
        from_attempt: Some(before.key),
        from_path: path,
    };
    Ok(copied?.into_iter().map(from).collect())
}

/// Why nothing is carried over, as staging tells it.
fn not_carried(error: CollectError, what: &str) -> StageError {
    match error {
        CollectError::Unreadable(path, error) => blame(error, format!("{what}: `{path}`")),
        CollectError::Quota(text, _) => StageError::Task(format!("{what}: {text}")),
        CollectError::PutAside(text) => StageError::PutAside(text),
    }
}

/// The files that were fetched into the attempt directory, with their digests.
fn fetched(task: &Task, limits: &Limits, staging: &mut Staging<'_>) -> Result<Vec<(String, String)>, CollectError> {
    let patterns = outputs::patterns(task.retry.carry.iter().map(String::as_str));
    let nobody = own_files(None);
    let mut walk = Walk::new(&patterns, Own { task, operator: &nobody }, limits);
    walk.walk(&staging.into)?;
    let mut all = Vec::with_capacity(walk.found.len());
    for path in walk.found {
        let unreadable = |error| CollectError::Unreadable(path.clone(), error);
        let mut file = open_regular(&staging.into, &path).map_err(unreadable)?.into_std();
        let sha256 = staging.hash(&mut file, &path).map_err(|error| match error {
            Brought::PutAside(text) => CollectError::PutAside(text),
            Brought::Failed(error) => unreadable(error),
        })?;
        all.push((path, sha256));
    }
    Ok(all)
}

/// Copies what the patterns name; returns it with the digests.
fn copy(left: Left<'_>, limits: &Limits, staging: &mut Staging<'_>) -> Result<Vec<(String, String)>, CollectError> {
    let patterns = outputs::patterns(left.task.retry.carry.iter().map(String::as_str));
    let operator = own_files(left.handle);
    let unreadable = |error| CollectError::Unreadable(".".to_owned(), error);
    let root = match open_directory(left.directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        root => root.map_err(unreadable)?,
    };
    let mut walk = Walk::new(&patterns, Own { task: left.task, operator: &operator }, limits);
    walk.walk(&root)?;
    let mut found = walk.found;
    found.sort();
    let mut copied = Vec::with_capacity(found.len());
    let mut room = limits.attempt_mb.saturating_mul(1024 * 1024);
    for path in found {
        let unreadable = |error| CollectError::Unreadable(path.clone(), error);
        let mut file = open_regular(&root, &path).map_err(unreadable)?.into_std();
        let executable = is_executable(&file.metadata().map_err(unreadable)?);
        let digested = staging.bring(&mut file, &path, None, executable, room).map_err(|error| match error {
            Brought::PutAside(text) => CollectError::PutAside(text),
            Brought::Failed(error) => over_quota(unreadable(error), limits),
        })?;
        room = room.saturating_sub(digested.size);
        copied.push((path, digested.sha256));
    }
    Ok(copied)
}

/// What the backends are told of it before the operator submits.
pub(in crate::tick) fn carried(run: &Run, attempt: &AttemptRow, task: &Task) -> Result<Option<Carried>, TickError> {
    if !carries(task, attempt) {
        return Ok(None);
    }
    let before = before(run, attempt)?.map(|before| (before.id, run.dir.join(&before.directory)));
    // what staging has fetched already is here, wherever it came from
    let from = before.filter(|(_, directory)| match run.backends.ran_at(directory) {
        RanAt::There(backend) => run.config.may_use(&attempt.operator, &backend),
        RanAt::Forgotten => true,
        RanAt::Here => false,
    });
    Ok(Some(Carried { patterns: task.retry.carry.clone(), from }))
}
