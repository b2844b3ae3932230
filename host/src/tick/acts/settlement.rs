//! A person's word on an attempt of which nobody knows how it ended: its outputs are taken, or it is given up, and
//! nothing runs again. The word and what follows from it are one transaction; a crash before it leaves the attempt
//! lost.
use crate::ground::carriage::{Allowance, Carriage};
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::id::{AttemptId, TaskId};
use crate::model::reason::Reason;
use crate::model::remedy::Remedy;
use crate::model::states::{AttemptOutcome, AttemptState, TaskState};
use crate::store::{AttemptRow, Durability, Output, SettledAttempt, TaskRow};
use crate::tick::acts::control::{go_on, known_task, not_now};
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

/// Settles a task whose last attempt is lost: a further attempt that names it and runs nothing ends as the person says,
/// with the outputs that the lost one left. The act says who, and why.
///
/// # Errors
/// If the task does not wait for a person's word, or the outputs that it must have are not there.
pub fn settle(
    run: &mut Run,
    id: &str,
    to: Settlement,
    act: &Act,
    new_id: &dyn Fn() -> AttemptId,
) -> Result<(), ControlError> {
    let task = known_task(run, id)?;
    let lost = lost_attempt(run, &task)?;
    let outputs = outputs(run, &lost, to)?;
    let why = act.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let (word, outcome, end) = match to {
        Settlement::Completed => ("settled as completed", AttemptOutcome::Completed, TaskState::Completed),
        Settlement::Failed => ("given up", AttemptOutcome::Failed, TaskState::Failed),
    };
    let text = format!("attempt {} was {word} by {}{why}", lost.number, act.by.user);
    let reason = Reason::new(Code::Settled, text);
    let row = run.store.run()?;
    run.store.transaction(Durability::Full, |writer| {
        writer.add_act(act)?;
        let settled =
            SettledAttempt { id: new_id().as_str().to_owned(), of: &lost, outcome, reason: &reason, outputs: &outputs };
        writer.settle_attempt(&settled, act.at_ms)?;
        writer.set_task_state(task.key, (task.state, end), Some(&reason), act.at_ms)?;
        go_on(writer, &row, false, act.at_ms)
    })?;
    Ok(())
}

/// The attempt that a person is asked about.
fn lost_attempt(run: &Run, task: &TaskRow) -> Result<AttemptRow, ControlError> {
    let last = run.store.attempts(task.key)?.pop();
    let waits = |attempt: &AttemptRow| attempt.state == AttemptState::Lost && task.state == TaskState::Running;
    last.filter(waits).ok_or_else(|| {
        let what = format!("task `{}` is {}, and no attempt at it is lost", task.id, task.state);
        not_now(run, what, Some(Remedy::Explain(TaskId(task.id.clone()))))
    })
}

/// The outputs that the lost attempt left, whole: a person waits for them.
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
