//! A person's word on an attempt of which nobody knows how it ended: its outputs are taken, or it is given up, and nothing
//! runs again.
use super::control::{go_on, known_task, not_now};
use super::verdict::stored_task;
use super::{ControlError, Moment, Run, collect};
use crate::ground::words::positional;
use crate::model::states::{AttemptState, TaskState};
use crate::run::RunDir;
use crate::store::{AttemptRow, Durability, Output, SettledAttempt, TaskRow};

/// What a person says an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It did its work, and its outputs count.
    Completed,
    /// It is given up.
    Failed,
}

/// Settles a task whose last attempt is lost: a further attempt that names it and runs nothing ends as the person says, with
/// the outputs that the lost one left. `by` says who, `reason` why.
///
/// # Errors
/// If the task does not wait for a person's word, or the outputs that it must have are not there.
pub fn settle(
    run: &mut Run,
    id: &str,
    to: Settlement,
    by: &str,
    reason: Option<&str>,
    moment: Moment<'_>,
) -> Result<(), ControlError> {
    let task = known_task(run, id)?;
    let lost = lost_attempt(run, &task)?;
    let outputs = outputs(run, &lost, to)?;
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let word = match to {
        Settlement::Completed => "settled as completed",
        Settlement::Failed => "given up",
    };
    let text = format!("attempt {} was {word} by {by}{why}", lost.number);
    let row = run.store.run()?;
    let (attempt, end) = match to {
        Settlement::Completed => (AttemptState::Completed, TaskState::Completed),
        Settlement::Failed => (AttemptState::Failed, TaskState::Failed),
    };
    run.store.transaction(Durability::Full, |writer| {
        let settled = SettledAttempt {
            id: (moment.new_id)().as_str().to_owned(),
            of: &lost,
            state: attempt,
            reason: ("settled", &text),
            outputs: &outputs,
        };
        writer.settle_attempt(&settled, moment.now_ms)?;
        writer.set_task_state(task.key, (task.state, end), Some(("settled", &text)), moment.now_ms)?;
        go_on(writer, &row, false, moment.now_ms)
    })?;
    Ok(())
}

/// The attempt that a person is asked about.
fn lost_attempt(run: &Run, task: &TaskRow) -> Result<AttemptRow, ControlError> {
    let last = run.store.attempts(task.key)?.pop();
    match last {
        Some(attempt) if attempt.state == AttemptState::Lost && task.state == TaskState::Running => Ok(attempt),
        _ => {
            let hint =
                format!("`matterstack explain {} {}` says where it stands", run.dir.address(), positional(&task.id));
            Err(not_now(format!("task `{}` is {}, and no attempt at it is lost", task.id, task.state), Some(hint)))
        }
    }
}

fn outputs(run: &Run, lost: &AttemptRow, to: Settlement) -> Result<Vec<Output>, ControlError> {
    let task = stored_task(&lost.task_json)?;
    let directory = run.dir.join(&lost.directory);
    let handle = lost.handle.as_deref();
    let found = collect::collect_outputs(&directory, &task, handle, Vec::new(), &run.config.limits);
    let give_up = |dir: &RunDir| {
        format!("`matterstack settle {} {} --failed`, or `rerun`", dir.address(), positional(&lost.task_id))
    };
    match (found, to) {
        (Ok((outputs, None)), _) | (Ok((outputs, Some(_))), Settlement::Failed) => Ok(outputs),
        (Ok((_, Some(pattern))), Settlement::Completed) => {
            let what = format!(
                "output pattern `{pattern}` of task `{}` matches no file in `{}`",
                lost.task_id, lost.directory
            );
            Err(not_now(what, Some(give_up(&run.dir))))
        }
        (Err(_), Settlement::Failed) => Ok(Vec::new()),
        (Err(error), Settlement::Completed) => {
            let what = format!("the outputs of task `{}` cannot be taken: {error}", lost.task_id);
            Err(not_now(what, Some(give_up(&run.dir))))
        }
    }
}
