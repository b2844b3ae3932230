//! What a person may ask of a run. Each request is one transaction; the next tick does what it implies outside.
use super::{Run, TickError};
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::id::TaskId;
use crate::model::reason::Reason;
use crate::model::remedy::Remedy;
use crate::model::states::{RunState, TaskState};
use crate::store::{Durability, RunRow, StoreError, TaskRow, Writer};

/// Why a request was not granted.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The run or the task is not in a state that allows it.
    #[error("{what}")]
    NotNow {
        /// What cannot be done, and why.
        what: String,
        /// What would help.
        remedy: Option<Remedy>,
        /// What leads a command to the run.
        address: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tick refused.
    #[error(transparent)]
    Tick(#[from] TickError),
}

/// Which tasks `rerun` brings back.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// One task by its id.
    pub task: Option<String>,
    /// Every task of a state; `lost` for those that wait for a person's word on a lost attempt.
    pub state: Option<String>,
    /// Every task of an operator.
    pub operator: Option<String>,
    /// Also what completed or failed after them.
    pub recursive: bool,
}

pub(super) fn not_now(run: &Run, what: impl Into<String>, remedy: Option<Remedy>) -> ControlError {
    ControlError::NotNow { what: what.into(), remedy, address: run.dir.address().to_owned() }
}

/// Lets the run start nothing new. What is live goes on. Returns whether anything changed.
///
/// # Errors
/// If the run has ended or is being cancelled.
pub fn pause(run: &mut Run, act: &Act) -> Result<bool, ControlError> {
    let row = run.store.run()?;
    match row.state {
        RunState::Paused => Ok(false),
        RunState::Active | RunState::Held => {
            run.store.transaction(Durability::Full, |writer| {
                writer.add_act(act)?;
                let reason = Reason::new(Code::Paused, "paused by a person");
                writer.set_run_state(row.state, RunState::Paused, Some(&reason), act.at_ms)
            })?;
            Ok(true)
        }
        state @ (RunState::Cancelling | RunState::Completed | RunState::Failed | RunState::Cancelled) => {
            Err(not_now(run, format!("run `{}` is {state} and cannot be paused", row.run_id), None))
        }
    }
}

/// Lets a paused or held run go on; `supplied` (JSON text) is what a person tells the campaign. Returns whether anything
/// changed.
///
/// # Errors
/// If the run has ended or is being cancelled.
pub fn resume(run: &mut Run, supplied: Option<&str>, act: &Act) -> Result<bool, ControlError> {
    let row = run.store.run()?;
    match row.state {
        RunState::Active if supplied.is_none() => Ok(false),
        RunState::Active | RunState::Paused | RunState::Held => {
            run.store.transaction(Durability::Full, |writer| {
                writer.add_act(act)?;
                writer.supply(supplied.or(row.supplied.as_deref()))?;
                if row.state == RunState::Active {
                    return Ok(());
                }
                writer.set_run_state(row.state, RunState::Active, None, act.at_ms)
            })?;
            Ok(true)
        }
        RunState::Failed | RunState::Cancelled => {
            let what = format!("run `{}` is {} and cannot be resumed", row.run_id, row.state);
            Err(not_now(run, what, Some(Remedy::Revive)))
        }
        RunState::Cancelling | RunState::Completed => {
            Err(not_now(run, format!("run `{}` is {} and cannot be resumed", row.run_id, row.state), None))
        }
    }
}

/// Lets a held run go on, as part of an act that has been recorded.
///
/// # Errors
/// If the store refuses.
pub fn release(run: &mut Run, now_ms: i64) -> Result<(), ControlError> {
    let row = run.store.run()?;
    if row.state == RunState::Held {
        run.store.transaction(Durability::Full, |writer| {
            writer.supply(row.supplied.as_deref())?;
            writer.set_run_state(RunState::Held, RunState::Active, None, now_ms)
        })?;
    }
    Ok(())
}

/// Cancels the run, and asks the outside to stop what is live. Returns whether anything changed.
///
/// # Errors
/// If the run has completed or failed.
pub fn cancel_run(run: &mut Run, act: &Act) -> Result<bool, ControlError> {
    let now_ms = act.at_ms;
    let row = run.store.run()?;
    match row.state {
        RunState::Cancelled | RunState::Cancelling => Ok(false),
        RunState::Active | RunState::Paused | RunState::Held => {
            run.store.transaction(Durability::Full, |writer| {
                writer.add_act(act)?;
                let reason = Reason::new(Code::Cancelled, "cancelled by a person");
                writer.set_run_state(row.state, RunState::Cancelling, Some(&reason), now_ms)?;
                writer.cancel_pending(&Reason::new(Code::Cancelled, "the run was cancelled"), now_ms)?;
                writer.ask_cancel(None)
            })?;
            Ok(true)
        }
        RunState::Completed | RunState::Failed => {
            Err(not_now(run, format!("run `{}` is {} already", row.run_id, row.state), None))
        }
    }
}

/// Cancels one task, and asks the outside to stop its attempt. Returns whether anything changed.
///
/// # Errors
/// If there is no such task, or it has ended otherwise.
pub fn cancel_task(run: &mut Run, id: &str, act: &Act) -> Result<bool, ControlError> {
    let task = known_task(run, id)?;
    let live = run.store.attempts(task.key)?.iter().any(|attempt| !attempt.state.ended());
    let reason = Reason::new(Code::Cancelled, "cancelled by a person");
    match task.state {
        TaskState::Cancelled => return Ok(false),
        TaskState::Running if live => {
            run.store.transaction(Durability::Full, |writer| {
                writer.add_act(act)?;
                writer.ask_cancel(Some(task.key))
            })?;
        }
        TaskState::Running | TaskState::Pending => {
            let row = run.store.run()?;
            run.store.transaction(Durability::Full, |writer| {
                writer.add_act(act)?;
                writer.set_task_state(task.key, (task.state, TaskState::Cancelled), Some(&reason), act.at_ms)?;
                go_on(writer, &row, false, act.at_ms)
            })?;
        }
        TaskState::Completed | TaskState::Failed | TaskState::Skipped => {
            return Err(not_now(run, format!("task `{id}` is {} already", task.state), None));
        }
    }
    Ok(true)
}

pub(super) fn known_task(run: &Run, id: &str) -> Result<TaskRow, ControlError> {
    run.store
        .task(id)?
        .ok_or_else(|| not_now(run, format!("run `{}` has no task `{id}`", run.dir.id()), Some(Remedy::ListTasks)))
}

/// Brings ended and lost tasks of the current iteration back to pending. Returns how many came back.
///
/// # Errors
/// If the run has ended, nothing was selected, or a task is live or of an earlier iteration.
pub fn rerun(run: &mut Run, selection: &Selection, act: &Act) -> Result<u64, ControlError> {
    let row = run.store.run()?;
    if row.state.ended() || row.state == RunState::Cancelling {
        let remedy = match row.state {
            RunState::Failed | RunState::Cancelled => Remedy::ReviveTasks,
            RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling | RunState::Completed => {
                Remedy::NewRun
            }
        };
        let what = format!("run `{}` is {}; its tasks cannot be rerun", row.run_id, row.state);
        return Err(not_now(run, what, Some(remedy)));
    }
    let chosen = select(run, selection)?;
    if let Some(task) = chosen.iter().find(|task| task.iteration != row.iteration) {
        let what = format!(
            "task `{}` is of iteration {}, which the campaign has built on; only iteration {} can be rerun",
            task.id, task.iteration, row.iteration
        );
        return Err(not_now(run, what, Some(Remedy::NewRun)));
    }
    let keys: Vec<i64> = chosen.iter().map(|task| task.key).collect();
    bring_back(run, &keys, selection.recursive, act)
}

fn bring_back(run: &mut Run, keys: &[i64], recursive: bool, act: &Act) -> Result<u64, ControlError> {
    let now_ms = act.at_ms;
    let row = run.store.run()?;
    let folded = run.store.delivered_any(row.iteration)?;
    let result = run.store.transaction(Durability::Full, |writer| {
        writer.add_act(act)?;
        let count = writer.rerun(keys, recursive, "brought back by a person", now_ms)?;
        if count == 0 {
            return Err(StoreError::NothingBack);
        }
        // The campaign has seen results of this iteration: it starts again from the state it planned with.
        if folded { writer.reopen_workflow(row.iteration) } else { Ok(()) }?;
        let stuck = is_held_by(&row, Code::Stuck);
        go_on(writer, &row, stuck, now_ms)?;
        Ok(count)
    });
    match result {
        Err(StoreError::NothingBack) => Err(skipped_again(run, &row, keys)?),
        other => Ok(other?),
    }
}

/// Whether the host itself holds the run for this reason; a campaign's word for holding, whatever it is, does not count.
fn is_held_by(row: &RunRow, code: Code) -> bool {
    row.state == RunState::Held && row.reason_code.as_ref().is_some_and(|word| word.is(code))
}

/// Lets a run go on that was held for lost tasks once none is left, or, with `unstuck`, because nothing could move.
pub(super) fn go_on(writer: &Writer<'_>, row: &RunRow, unstuck: bool, now_ms: i64) -> Result<(), StoreError> {
    let found = is_held_by(row, Code::Lost) && writer.lost_tasks()? == 0;
    if row.state == RunState::Held && (found || unstuck) {
        writer.set_run_state(RunState::Held, RunState::Active, None, now_ms)?;
    }
    Ok(())
}

/// Why the tasks that were to come back cannot, and what would bring them back.
fn skipped_again(run: &Run, row: &RunRow, keys: &[i64]) -> Result<ControlError, StoreError> {
    for &key in keys {
        let Some(cause) = run.store.held_back_by(key)? else { continue };
        let what = format!("every task would be skipped again, because task `{}` is {}", cause.id, cause.state);
        let current = cause.iteration == row.iteration;
        let remedy = if current { Remedy::Rerun(TaskId(cause.id)) } else { Remedy::NewRunPastEarlier };
        return Ok(not_now(run, what, Some(remedy)));
    }
    Ok(StoreError::NothingBack.into())
}

fn select(run: &Run, selection: &Selection) -> Result<Vec<TaskRow>, ControlError> {
    if let Some(id) = &selection.task {
        let task = known_task(run, id)?;
        return match waits_for_nobody(&task) {
            true => Ok(vec![task]),
            false => Err(not_now(
                run,
                format!("task `{id}` is {}; only an ended or lost task can be rerun", task.state),
                Some(Remedy::Explain(TaskId(id.clone()))),
            )),
        };
    }
    let wanted = selection.state.as_deref().unwrap_or("failed");
    let state = match wanted {
        "lost" => TaskState::Running,
        text => TaskState::parse(text)
            .filter(|state| state.ended())
            .ok_or_else(|| not_now(run, format!("`{text}` is no state to rerun"), Some(Remedy::NameState)))?,
    };
    let iteration = run.store.run()?.iteration;
    let mut tasks = run.store.tasks(Some(state), selection.operator.as_deref())?;
    tasks.retain(|task| waits_for_nobody(task) && task.iteration == iteration);
    if tasks.is_empty() {
        let of = selection.operator.as_ref().map(|key| format!(" of operator `{key}`")).unwrap_or_default();
        return Err(not_now(run, format!("iteration {iteration} has no {wanted} task{of} to rerun"), None));
    }
    Ok(tasks)
}

/// Whether a task has ended, or its attempt is lost and only a person can go on.
fn waits_for_nobody(task: &TaskRow) -> bool {
    let lost = task.reason_code.as_ref().is_some_and(|word| word.is(Code::Lost));
    task.state.ended() || (task.state == TaskState::Running && lost)
}

/// Brings a failed or cancelled run back, with the tasks of its last iteration that did not complete. Returns how many
/// tasks came back.
///
/// # Errors
/// If the run is neither failed nor cancelled.
pub fn revive(run: &mut Run, act: &Act) -> Result<u64, ControlError> {
    let now_ms = act.at_ms;
    let row = run.store.run()?;
    if !matches!(row.state, RunState::Failed | RunState::Cancelled) {
        return Err(not_now(run, format!("run `{}` is {}, neither failed nor cancelled", row.run_id, row.state), None));
    }
    let mut keys = Vec::new();
    for state in [TaskState::Failed, TaskState::Cancelled, TaskState::Skipped] {
        keys.extend(
            run.store.tasks(Some(state), None)?.into_iter().filter(|t| t.iteration == row.iteration).map(|t| t.key),
        );
    }
    Ok(run.store.transaction(Durability::Full, |writer| {
        writer.add_act(act)?;
        let count = writer.rerun(&keys, false, "the run was revived", now_ms)?;
        if row.iteration > 0 {
            writer.reopen_workflow(row.iteration)?;
        }
        let reason = Reason::new(Code::Revived, "revived by a person");
        writer.set_run_state(row.state, RunState::Active, Some(&reason), now_ms)?;
        Ok(count)
    })?)
}
