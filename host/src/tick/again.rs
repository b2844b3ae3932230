//! What an attempt left that had more than it was allowed to: once a quota is raised, a new attempt takes it from where it
//! lies. Nothing is computed twice.
use super::poll::{Gathered, gather};
use super::verdict::{self, Verdict};
use super::{ControlError, Run, Tick, TickError, job};
use crate::backend::RanAt;
use crate::model::states::{AttemptState, RunState, TaskState};
use crate::store::{AttemptEnd, AttemptRow, Durability, Store, StoreError, Writer};

/// The word for an attempt that left more than it may.
pub(super) const QUOTA: &str = "output-quota";

/// The attempt of a task that left more than it may, if that was its last one.
pub(super) fn over_quota(store: &Store, task_key: i64) -> Result<Option<AttemptRow>, StoreError> {
    let last = store.attempts(task_key)?.into_iter().rfind(|attempt| attempt.state.ended());
    Ok(last.filter(|attempt| attempt.handle.is_some() && attempt.reason_code.as_deref() == Some(QUOTA)))
}

/// The directory of a task's next attempt, if that is to take what the last one left.
pub(super) fn directory(run: &Run, task_key: i64) -> Result<Option<String>, StoreError> {
    let last = over_quota(&run.store, task_key)?.map(|attempt| attempt.directory);
    Ok(last.filter(|directory| run.backends.ran_at(&run.dir.join(directory)) == RanAt::Here))
}

/// What became of an attempt that takes what an earlier one left.
pub(super) enum Again {
    /// It ended.
    Ended(Verdict),
    /// It goes on later: a delay in milliseconds, and why, for a program and for a person.
    Later(AttemptRow, u64, &'static str, String),
    /// There is nothing to take.
    No(AttemptRow),
}

/// Takes what the attempt before left, if this one has its directory.
pub(super) fn take(run: &Run, attempt: AttemptRow, tick: &mut Tick) -> Result<Again, TickError> {
    if attempt.number == 1 {
        return Ok(Again::No(attempt));
    }
    let Some(before) = over_quota(&run.store, attempt.task_key)? else { return Ok(Again::No(attempt)) };
    if before.directory != attempt.directory {
        return Ok(Again::No(attempt));
    }
    let text = format!("what attempt {} left was collected again", before.number);
    let reason = Some(("collected-again".to_owned(), text));
    let mut end = AttemptEnd::new(AttemptState::Completed, None);
    if let Gathered::Later(delay_ms, code, text) = gather(run, &before, &mut end, tick)? {
        return Ok(Again::Later(attempt, delay_ms, code, text));
    }
    end.reason = end.reason.or(reason);
    job::note(&run.dir.join(&before.directory), &before, &mut end);
    let attempt = AttemptRow { handle: before.handle, ..attempt };
    Ok(Again::Ended(Verdict { attempt, end, never_started: false }))
}

/// Records it: the attempt passes through every state on the way to its end.
pub(super) fn record(writer: &Writer<'_>, mut verdict: Verdict, now_ms: i64) -> Result<(), StoreError> {
    for to in [AttemptState::Prepared, AttemptState::Submitting, AttemptState::Submitted] {
        if verdict.attempt.state.become_state(to).is_ok() {
            writer.set_attempt_state(&verdict.attempt, to, None, now_ms)?;
            verdict.attempt.state = to;
        }
    }
    verdict::apply(writer, &verdict, now_ms)
}

/// Brings back, after a quota was changed, the tasks of the current iteration that failed because of one. Returns how many
/// those were. A run that failed goes on.
///
/// # Errors
/// If the store refuses.
pub fn collect_again(run: &mut Run, now_ms: i64) -> Result<u64, ControlError> {
    let row = run.store.run()?;
    match row.state {
        RunState::Active | RunState::Paused | RunState::Held | RunState::Failed => {}
        RunState::Cancelling | RunState::Completed | RunState::Cancelled => return Ok(0),
    }
    let mut failed = run.store.tasks(Some(TaskState::Failed), None)?;
    failed.retain(|task| task.iteration == row.iteration && task.reason_code.as_deref() == Some(QUOTA));
    if failed.is_empty() {
        return Ok(0);
    }
    let keys: Vec<i64> = failed.iter().map(|task| task.key).collect();
    let folded = run.store.delivered_any(row.iteration)?;
    Ok(run.store.transaction(Durability::Full, |writer| {
        let count = writer.rerun(&keys, false, "a quota was amended", now_ms)?;
        if folded || row.state == RunState::Failed {
            writer.reopen_workflow(row.iteration)?;
        }
        if row.state == RunState::Failed {
            let text = "a quota was amended, and what was over it is collected again";
            writer.set_run_state(row.state, RunState::Active, Some(("collected-again", text)), now_ms)?;
        }
        Ok(count)
    })?)
}
