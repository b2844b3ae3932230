//! A person's word on an attempt of which nobody knows how it ended, or on results that are stale: the outputs are
//! taken, or the attempt is given up, and nothing runs again. The word and what follows from it are one transaction; a
//! crash before it leaves all as it was.
use crate::ground::carriage::{Allowance, Carriage};
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::id::{AttemptId, TaskId};
use crate::model::reason::Reason;
use crate::model::remedy::Remedy;
use crate::model::selection::Selection;
use crate::model::states::{AttemptOutcome, AttemptState, TaskState};
use crate::store::{AttemptRow, Durability, Output, SettledAttempt, TaskRow};
use crate::tick::acts::control::{go_on, known_task, not_now};
use crate::tick::acts::rerun::Rerun;
use crate::tick::attempts::collect::{Collected, Left, collect_outputs};
use crate::tick::attempts::folders::task_of;
use crate::tick::{ControlError, Run};

/// What a person says an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It did its work, and its outputs count.
    Completed,
    /// It is given up.
    Failed,
}

/// What a settlement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsettled {
    /// Nobody knows how the last attempt ended.
    Lost,
    /// The task completed on what has been changed since.
    Stale,
}

/// Settles a task whose last attempt is lost, or that is stale: a further attempt that names the last one and runs
/// nothing ends as the person says, with the outputs that the last one left. The act says who, and why.
///
/// # Errors
/// If the task does not wait for a person's word, the outputs that it must have are not there, or the campaign cannot
/// take back what is given up.
pub fn settle(
    run: &mut Run,
    id: &str,
    to: Settlement,
    act: &Act,
    new_id: &dyn Fn() -> AttemptId,
) -> Result<Unsettled, ControlError> {
    let task = known_task(run, id)?;
    let (about, last) = unsettled(run, &task)?;
    let given_up = about == Unsettled::Stale && to == Settlement::Failed;
    // what is given up is delivered anew, as what comes back is
    let back = if given_up { Some(Rerun::of(run, &Selection::of_task(&task.id))?) } else { None };
    let outputs = if given_up { Vec::new() } else { outputs(run, &last, to)? };
    let why = act.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let (word, outcome, end) = match to {
        Settlement::Completed => ("settled as completed", AttemptOutcome::Completed, TaskState::Completed),
        Settlement::Failed => ("given up", AttemptOutcome::Failed, TaskState::Failed),
    };
    let text = format!("attempt {} was {word} by {}{why}", last.number, act.by.user);
    let reason = Reason::new(Code::Settled, text);
    let row = run.store.run()?;
    run.store.transaction(Durability::Full, |writer| {
        writer.add_act(act)?;
        if let Some(back) = &back {
            writer.rerun(&[task.key], false, "given up by a person", act.at_ms)?;
            back.reopen(writer, act.at_ms)?;
        }
        let settled =
            SettledAttempt { id: new_id().as_str().to_owned(), of: &last, outcome, reason: &reason, outputs: &outputs };
        writer.settle_attempt(&settled, act.at_ms)?;
        let mut from = writer.task_state(task.key)?;
        if from == TaskState::Pending {
            writer.set_task_state(task.key, (from, TaskState::Running), None, act.at_ms)?;
            from = TaskState::Running;
        }
        match (about, from) {
            (_, TaskState::Running) => writer.set_task_state(task.key, (from, end), Some(&reason), act.at_ms)?,
            (Unsettled::Stale, TaskState::Completed) => writer.set_fresh(task.key, &reason)?,
            // one that depends on what did not complete is skipped, and given up with that
            (Unsettled::Lost | Unsettled::Stale, TaskState::Skipped)
            | (Unsettled::Lost, TaskState::Completed)
            | (_, TaskState::Pending | TaskState::Failed | TaskState::Cancelled) => {}
        }
        if back.is_none() { go_on(writer, &row, false, act.at_ms) } else { Ok(()) }
    })?;
    Ok(about)
}

/// What a person is asked about, and the attempt that it was.
fn unsettled(run: &Run, task: &TaskRow) -> Result<(Unsettled, AttemptRow), ControlError> {
    let about = match task.state {
        TaskState::Running => Some((Unsettled::Lost, AttemptState::Lost)),
        TaskState::Completed if task.stale => Some((Unsettled::Stale, AttemptState::Completed)),
        TaskState::Pending | TaskState::Completed | TaskState::Failed | TaskState::Cancelled | TaskState::Skipped => {
            None
        }
    };
    let last = run.store.attempts(task.key)?.pop();
    let found =
        about.zip(last).filter(|((_, state), last)| last.state == *state).map(|((about, _), last)| (about, last));
    found.ok_or_else(|| {
        let what = format!("task `{}` is {}, is not stale, and no attempt at it is lost", task.id, task.state);
        not_now(run, what, Some(Remedy::Explain(TaskId(task.id.clone()))))
    })
}

/// The outputs that the attempt left, whole: a person waits for them.
fn outputs(run: &Run, lost: &AttemptRow, to: Settlement) -> Result<Vec<Output>, ControlError> {
    let task = task_of(run, lost)?;
    let left = Left { directory: &run.dir.join(&lost.directory), task: &task, handle: lost.handle.as_deref() };
    let (mut progress, allowance) = (Carriage::default(), Allowance::new(u64::MAX));
    let found = collect_outputs(left, Vec::new(), &run.config.limits, &mut progress, &allowance);
    let refused = match (found, to) {
        (Ok(Collected { outputs, missing: None }), _) | (Ok(Collected { outputs, .. }), Settlement::Failed) => {
            return Ok(outputs);
        }
        (Err(_), Settlement::Failed) => return Ok(Vec::new()),
        (Ok(Collected { missing: Some(text), .. }), Settlement::Completed) => text,
        (Err(error), Settlement::Completed) => error.to_string(),
    };
    let what = format!("the outputs of task `{}` cannot be taken from `{}`: {refused}", lost.task_id, lost.directory);
    Err(not_now(run, what, Some(Remedy::GiveUp(TaskId(lost.task_id.clone())))))
}
