//! What an attempt left that had more than it was allowed to: once a quota is raised, a new attempt takes it from where
//! it lies. Nothing is computed twice. Until its end is recorded the new attempt stays as it was, and after a crash the
//! next tick takes it again.
use crate::backend::RanAt;
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::model::states::{AttemptOutcome, AttemptState, RunState, TaskState};
use crate::store::{AttemptEnd, AttemptRow, Durability, Store, StoreError, Writer};
use crate::tick::attempts::gather::{Gathered, gather};
use crate::tick::attempts::job_end;
use crate::tick::attempts::verdict::{self, Sequel, Verdict};
use crate::tick::{ControlError, Moment, Run, Tick, TickError};

/// The attempt of a task that left more than it may, if that was its last one.
pub(in crate::tick) fn over_quota(store: &Store, task_key: i64) -> Result<Option<AttemptRow>, StoreError> {
    let last = store.attempts(task_key)?.into_iter().rfind(|attempt| attempt.state.ended());
    Ok(last.filter(|attempt| {
        attempt.handle.is_some() && attempt.reason_code.as_ref().is_some_and(|word| word.is(Code::OutputQuota))
    }))
}

/// The directory of a task's next attempt, if that is to take what the last one left.
pub(in crate::tick) fn directory(run: &Run, task_key: i64) -> Result<Option<String>, StoreError> {
    let last = over_quota(&run.store, task_key)?.map(|attempt| attempt.directory);
    Ok(last.filter(|directory| run.backends.ran_at(&run.dir.join(directory)) == RanAt::Here))
}

/// What became of an attempt that takes what an earlier one left.
pub(in crate::tick) enum Again {
    /// It ended.
    Ended(Verdict),
    /// It goes on later: a delay in milliseconds, and why.
    Later(AttemptRow, u64, Reason),
    /// There is nothing to take.
    No(AttemptRow),
}

/// Takes what the attempt before left, if this one has its directory.
pub(in crate::tick) fn take(
    run: &Run,
    attempt: AttemptRow,
    moment: Moment<'_>,
    tick: &mut Tick,
) -> Result<Again, TickError> {
    if attempt.number == 1 {
        return Ok(Again::No(attempt));
    }
    let Some(before) = over_quota(&run.store, attempt.task_key)? else { return Ok(Again::No(attempt)) };
    if before.directory != attempt.directory {
        return Ok(Again::No(attempt));
    }
    let text = format!("what attempt {} left was collected again", before.number);
    let end = AttemptEnd::new(AttemptOutcome::Completed, None);
    let mut verdict = Verdict { attempt: before, end, sequel: Sequel::Policy };
    if let Gathered::Later(delay_ms, reason) = gather(run, &mut verdict, tick)? {
        return Ok(Again::Later(attempt, delay_ms, reason));
    }
    verdict.end.reason.get_or_insert_with(|| Reason::new(Code::CollectedAgain, text));
    job_end::note(run, &verdict.attempt, &mut verdict.end, moment);
    verdict.end.takes_over = Some(verdict.attempt.key);
    verdict.attempt = AttemptRow { handle: verdict.attempt.handle, ..attempt };
    Ok(Again::Ended(verdict))
}

/// Records it: the attempt passes through every state on the way to its end.
pub(in crate::tick) fn record(writer: &Writer<'_>, mut verdict: Verdict, now_ms: i64) -> Result<(), StoreError> {
    for to in [AttemptState::Prepared, AttemptState::Submitting, AttemptState::Submitted] {
        if verdict.attempt.state.become_state(to).is_ok() {
            writer.set_attempt_state(&verdict.attempt, to, None, now_ms)?;
            verdict.attempt.state = to;
        }
    }
    verdict::apply(writer, &verdict, now_ms)
}

/// Brings back, after a quota was changed, the tasks of the current iteration that failed because of one. Returns how
/// many those were. A run that failed goes on.
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
    failed.retain(|task| {
        task.iteration == row.iteration && task.reason_code.as_ref().is_some_and(|word| word.is(Code::OutputQuota))
    });
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
            let reason = Reason::new(Code::CollectedAgain, text);
            writer.set_run_state(row.state, RunState::Active, Some(&reason), now_ms)?;
        }
        Ok(count)
    })?)
}
