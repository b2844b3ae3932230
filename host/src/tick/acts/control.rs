//! What a person may ask of a run. Each request is one transaction; the next tick does what it implies outside, also
//! after a crash between the two.
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::contract::PlanReason;
use crate::model::reason::Reason;
use crate::model::remedy::Remedy;
use crate::model::selection::Selection;
use crate::model::states::{RunState, TaskState};
use crate::model::workflow::WorkflowError;
use crate::store::{Durability, RunRow, StoreError, TaskRow, Writer};
use crate::tick::acts::mend::meant;
use crate::tick::{Run, TickError};

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
    /// A task would not be one that could be planned.
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
}

pub(in crate::tick) fn not_now(run: &Run, what: impl Into<String>, remedy: Option<Remedy>) -> ControlError {
    ControlError::NotNow { what: what.into(), remedy, address: run.dir.address().to_owned() }
}

/// Why a run is paused.
fn by_a_person() -> Reason {
    Reason::new(Code::Paused, "paused by a person")
}

/// Lets the run start nothing new. What is live goes on. Returns whether anything changed.
///
/// # Errors
/// If the run has ended or is being cancelled.
pub fn pause(run: &mut Run, act: &Act) -> Result<bool, ControlError> {
    let row = run.store.run()?;
    match row.state {
        RunState::Paused => Ok(false),
        RunState::Held if row.also_paused => Ok(false),
        RunState::Active | RunState::Held => {
            run.store.transaction(Durability::Full, |writer| {
                writer.add_act(act)?;
                if row.state == RunState::Held {
                    return writer.pause_held();
                }
                writer.set_run_state(RunState::Active, RunState::Paused, Some(&by_a_person()), act.at_ms)
            })?;
            Ok(true)
        }
        state @ (RunState::Cancelling | RunState::Completed | RunState::Failed | RunState::Cancelled) => {
            Err(not_now(run, format!("run `{}` is {state} and cannot be paused", row.run_id), None))
        }
    }
}

/// Keeps in the record what a person has to say of the run.
///
/// # Errors
/// If the store cannot be written.
pub fn note(run: &mut Run, act: &Act) -> Result<(), StoreError> {
    run.store.transaction(Durability::Full, |writer| writer.add_act(act).map(drop))
}

/// What a request to go on came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// The run was active already.
    Unchanged,
    /// It goes on.
    Active,
    /// It had ended, and this many tasks came back.
    BroughtBack(u64),
}

/// Lets a paused or held run go on, and brings an ended one back; `supplied` (JSON text) is what a person tells the
/// campaign.
///
/// # Errors
/// If the run is being cancelled.
pub fn resume(run: &mut Run, supplied: Option<&str>, act: &Act) -> Result<Resumed, ControlError> {
    let row = run.store.run()?;
    match row.state {
        RunState::Active if supplied.is_none() => Ok(Resumed::Unchanged),
        RunState::Active | RunState::Paused | RunState::Held => {
            run.store.transaction(Durability::Full, |writer| {
                writer.add_act(act)?;
                writer.supply(supplied.or(row.supplied.as_deref()))?;
                if row.state == RunState::Held || supplied.is_some() {
                    writer.ask_plan(PlanReason::Resumed)?;
                }
                if row.state == RunState::Active {
                    return Ok(());
                }
                writer.set_run_state(row.state, RunState::Active, None, act.at_ms)
            })?;
            Ok(Resumed::Active)
        }
        RunState::Failed | RunState::Cancelled | RunState::Completed => {
            bring_back(run, supplied, act).map(Resumed::BroughtBack)
        }
        RunState::Cancelling => {
            let what = format!("run `{}` is being cancelled and cannot be resumed", row.run_id);
            Err(not_now(run, what, None))
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
            writer.ask_plan(PlanReason::Resumed)?;
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

/// What a request to cancel tasks reached: how many of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CancelledTasks {
    /// Cancelled at once: they had no live attempt.
    pub cancelled: u64,
    /// Those whose live attempts are to stop.
    pub stopping: u64,
    /// Ended otherwise, and left as they are.
    pub ended: u64,
}

/// Cancels one task, and asks the outside to stop its attempt. Returns whether anything changed.
///
/// # Errors
/// If there is no such task, or it has ended otherwise.
pub fn cancel_task(run: &mut Run, id: &str, act: &Act) -> Result<bool, ControlError> {
    let task = known_task(run, id)?;
    let CancelledTasks { cancelled, stopping, ended } = cancel_all(run, vec![task.clone()], act)?;
    if ended > 0 {
        return Err(not_now(run, format!("task `{id}` is {} already", task.state), None));
    }
    Ok(cancelled + stopping > 0)
}

/// Cancels the tasks that a person means, and asks the outside to stop their attempts; what has ended stays as it is.
///
/// # Errors
/// If there is no such task, or all of them have ended.
pub fn cancel_tasks(run: &mut Run, selection: &Selection, act: &Act) -> Result<CancelledTasks, ControlError> {
    let tasks = meant(run, selection)?;
    let done = cancel_all(run, tasks, act)?;
    if done.cancelled + done.stopping == 0 {
        let what = format!("nothing is cancelled: every {} has ended already", selection.words());
        return Err(not_now(run, what, Some(Remedy::ListTasks)));
    }
    Ok(done)
}

fn cancel_all(run: &mut Run, tasks: Vec<TaskRow>, act: &Act) -> Result<CancelledTasks, ControlError> {
    let reason = Reason::new(Code::Cancelled, "cancelled by a person");
    let row = run.store.run()?;
    let (mut live, mut idle, mut done) = (Vec::new(), Vec::new(), CancelledTasks::default());
    for task in tasks {
        match task.state {
            TaskState::Running if run.store.attempts(task.key)?.iter().any(|attempt| !attempt.state.ended()) => {
                live.push(task.key);
            }
            TaskState::Running | TaskState::Pending => idle.push(task),
            TaskState::Cancelled => {}
            TaskState::Completed | TaskState::Failed | TaskState::Skipped => done.ended += 1,
        }
    }
    (done.cancelled, done.stopping) = (idle.len() as u64, live.len() as u64);
    if live.is_empty() && idle.is_empty() {
        return Ok(done);
    }
    run.store.transaction(Durability::Full, |writer| {
        writer.add_act(act)?;
        live.iter().try_for_each(|key| writer.ask_cancel(Some(*key)))?;
        // the last first: what waits for another of them would be skipped by its end
        for task in idle.iter().rev() {
            let from = writer.task_state(task.key)?;
            if !from.ended() {
                writer.set_task_state(task.key, (from, TaskState::Cancelled), Some(&reason), act.at_ms)?;
            }
        }
        if idle.is_empty() { Ok(()) } else { go_on(writer, &row, false, act.at_ms) }
    })?;
    Ok(done)
}

pub(in crate::tick) fn known_task(run: &Run, id: &str) -> Result<TaskRow, ControlError> {
    run.store.task(id)?.ok_or_else(|| no_task(run, id))
}

pub(in crate::tick) fn no_task(run: &Run, id: &str) -> ControlError {
    not_now(run, format!("run `{}` has no task `{id}`", run.dir.id()), Some(Remedy::ListTasks))
}

/// Whether the host itself holds the run for this reason; a campaign's word for holding, whatever it is, does not
/// count.
pub(in crate::tick) fn is_held_by(row: &RunRow, code: Code) -> bool {
    row.state == RunState::Held && row.reason_code.as_ref().is_some_and(|word| word.is(code))
}

/// Lets a run go on that was held for lost tasks once none is left, or, with `unstuck`, because nothing could move.
pub(in crate::tick) fn go_on(writer: &Writer<'_>, row: &RunRow, unstuck: bool, now_ms: i64) -> Result<(), StoreError> {
    let found = is_held_by(row, Code::Lost) && writer.lost_tasks()? == 0;
    if row.state == RunState::Held && (found || unstuck) {
        return if row.also_paused {
            writer.set_run_state(RunState::Held, RunState::Paused, Some(&by_a_person()), now_ms)
        } else {
            writer.set_run_state(RunState::Held, RunState::Active, None, now_ms)
        };
    }
    Ok(())
}

/// Brings an ended run back, with the tasks of its last iteration that did not complete; of a campaign that takes
/// results back, with those of every iteration. Returns how many tasks came back.
fn bring_back(run: &mut Run, supplied: Option<&str>, act: &Act) -> Result<u64, ControlError> {
    let now_ms = act.at_ms;
    let row = run.store.run()?;
    if !row.state.ended() {
        return Err(not_now(run, format!("run `{}` is {}, and has not ended", row.run_id, row.state), None));
    }
    let takes_back = run.config.campaign.can_take_back();
    let each_result = run.config.campaign.takes_each_result();
    let mut keys = Vec::new();
    for state in [TaskState::Failed, TaskState::Cancelled, TaskState::Skipped] {
        let tasks = run.store.tasks(Some(state), None)?;
        let reaches = |task: &TaskRow| takes_back || each_result || task.iteration == row.iteration;
        keys.extend(tasks.into_iter().filter(reaches).map(|task| task.key));
    }
    if each_result && !takes_back {
        keys = run.store.undelivered_among(&keys)?;
    }
    if row.state == RunState::Completed && keys.is_empty() && supplied.is_none() {
        let what = format!("run `{}` is completed, and every task of it", row.run_id);
        return Err(not_now(run, what, Some(Remedy::NameTask)));
    }
    Ok(run.store.transaction(Durability::Full, |writer| {
        writer.add_act(act)?;
        let count = writer.rerun(&keys, false, "the run was brought back", now_ms)?;
        writer.ask_plan(PlanReason::Reopened)?;
        if takes_back || each_result {
            writer.take_back()?;
        } else if row.iteration > 0 {
            writer.reopen_workflow(row.iteration)?;
        }
        if supplied.is_some() {
            writer.supply(supplied)?;
        }
        let reason = Reason::new(Code::Revived, "brought back by a person");
        writer.set_run_state(row.state, RunState::Active, Some(&reason), now_ms)?;
        Ok(count)
    })?)
}
