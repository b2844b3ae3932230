//! Brings tasks back that have ended, changed or as they were, and with them a run that has ended. All of it is one
//! transaction: a crash before it leaves all as it was.
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::config::RunConfig;
use crate::model::contract::PlanReason;
use crate::model::id::TaskId;
use crate::model::reason::Reason;
use crate::model::remedy::Remedy;
use crate::model::selection::{Selection, Standing};
use crate::model::states::{RunState, TaskState};
use crate::model::workflow::{Task, TaskChange};
use crate::store::{AmendedTask, Durability, RunRow, StoreError, TaskRow, Writer};
use crate::tick::Run;
use crate::tick::acts::control::{ControlError, go_on, is_held_by, not_now};
use crate::tick::acts::mend::{amended, matching};
use crate::tick::attempts::folders::pinned_of;
use std::collections::BTreeSet;

/// Tasks that are going to come back.
#[derive(Debug)]
pub struct Rerun {
    chosen: Vec<TaskRow>,
    recursive: bool,
    amended: Vec<AmendedTask>,
    row: RunRow,
    /// Whether the campaign starts again from the state that it planned the iteration with.
    rolls_back: bool,
}

impl Rerun {
    /// Chooses the tasks.
    ///
    /// # Errors
    /// If nothing is chosen, a task is live, or the campaign cannot take its result back.
    pub fn of(run: &Run, selection: &Selection) -> Result<Self, ControlError> {
        let row = run.store.run()?;
        if row.state == RunState::Cancelling {
            let what = format!("run `{}` is being cancelled; its tasks cannot be rerun", row.run_id);
            return Err(not_now(run, what, None));
        }
        let takes_back = run.config.campaign.can_take_back();
        let each_result = run.config.campaign.takes_each_result();
        let chosen = select(run, selection, takes_back || each_result)?;
        if each_result && !takes_back {
            let keys: Vec<i64> = chosen.iter().map(|task| task.key).collect();
            let back = run.store.brought_back(&keys, selection.recursive)?;
            if let Some(id) = run.store.delivered_among(&back)? {
                let what =
                    format!("the campaign has received the result of task `{id}`, and does not take results back");
                return Err(not_now(run, what, Some(Remedy::NewRun)));
            }
        } else if let Some(task) = chosen.iter().find(|task| !takes_back && task.iteration != row.iteration) {
            let what = format!(
                "task `{}` is of iteration {}, which the campaign has built on; only iteration {} can be rerun, because this \
                 campaign does not take results back",
                task.id, task.iteration, row.iteration
            );
            return Err(not_now(run, what, Some(Remedy::NewRun)));
        }
        let rolls_back = !takes_back && !each_result && run.store.delivered_any(row.iteration)?;
        Ok(Self { chosen, recursive: selection.recursive, amended: Vec::new(), row, rolls_back })
    }

    /// Changes the chosen tasks, with the files that `config` pins.
    ///
    /// # Errors
    /// If one would not be one that could be planned.
    pub fn change(&mut self, run: &Run, config: &RunConfig, changes: &[TaskChange]) -> Result<(), ControlError> {
        if !changes.is_empty() {
            self.amended = amended(run, config, &self.chosen, changes)?;
        }
        Ok(())
    }

    /// How many tasks are changed.
    pub fn changed(&self) -> usize {
        self.amended.len()
    }

    /// The pinned files that the tasks which come back name, by their paths in the workspace.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn files(&self, run: &Run) -> Result<BTreeSet<String>, ControlError> {
        let mut files = BTreeSet::new();
        for key in run.store.brought_back(&self.keys(), self.recursive)? {
            let text = run.store.task_json(key)?;
            // most tasks have no files, and need not be parsed to find that out
            if !text.contains("\"path\"") {
                continue;
            }
            let task: Task = crate::tick::attempts::verdict::stored_task(&text)?;
            files.extend(pinned_of(run, &task));
        }
        Ok(files)
    }

    fn keys(&self) -> Vec<i64> {
        self.chosen.iter().map(|task| task.key).collect()
    }

    /// Brings them back, as part of an act that has been recorded. Returns how many came back.
    ///
    /// # Errors
    /// [`StoreError::NothingBack`] if all of them would be skipped again; or the store refuses.
    pub fn bring_back(&self, writer: &Writer<'_>, act: i64, now_ms: i64) -> Result<u64, StoreError> {
        self.amended.iter().try_for_each(|task| writer.amend_task(task, act, now_ms))?;
        let count = writer.rerun(&self.keys(), self.recursive, "brought back by a person", now_ms)?;
        if count == 0 {
            return Err(StoreError::NothingBack);
        }
        self.reopen(writer, now_ms)?;
        Ok(count)
    }

    /// Lets the campaign hear of them anew, and a run that has ended go on.
    pub(in crate::tick) fn reopen(&self, writer: &Writer<'_>, now_ms: i64) -> Result<(), StoreError> {
        if self.rolls_back {
            writer.reopen_workflow(self.row.iteration)?;
        } else {
            writer.take_back()?;
        }
        if self.row.state.ended() {
            writer.ask_plan(PlanReason::Reopened)?;
            let reason = Reason::new(Code::Revived, "tasks of it were brought back by a person");
            writer.set_run_state(self.row.state, RunState::Active, Some(&reason), now_ms)?;
        }
        go_on(writer, &self.row, is_held_by(&self.row, Code::Stuck), now_ms)
    }

    /// Brings them back in an act of its own. Returns how many came back.
    ///
    /// # Errors
    /// If all of them would be skipped again, or the store refuses.
    pub fn carry_out(&self, run: &mut Run, act: &Act) -> Result<u64, ControlError> {
        let done = run.store.transaction(Durability::Full, |writer| {
            let number = writer.add_act(act)?;
            self.bring_back(writer, number, act.at_ms)
        });
        match done {
            Err(StoreError::NothingBack) => Err(self.skipped_again(run)?),
            done => Ok(done?),
        }
    }

    /// Why the tasks that were to come back cannot, and what would bring them back.
    fn skipped_again(&self, run: &Run) -> Result<ControlError, StoreError> {
        for key in self.keys() {
            let Some(cause) = run.store.held_back_by(key)? else { continue };
            let what = format!("every task would be skipped again, because task `{}` is {}", cause.id, cause.state);
            let reachable = cause.iteration == self.row.iteration || run.config.campaign.can_take_back();
            let remedy = if reachable { Remedy::Rerun(TaskId(cause.id)) } else { Remedy::NewRunPastEarlier };
            return Ok(not_now(run, what, Some(remedy)));
        }
        Ok(StoreError::NothingBack.into())
    }
}

/// Brings tasks back as they were. Returns how many came back.
///
/// # Errors
/// As of [`Rerun::of`] and [`Rerun::carry_out`].
pub fn rerun(run: &mut Run, selection: &Selection, act: &Act) -> Result<u64, ControlError> {
    Rerun::of(run, selection)?.carry_out(run, act)
}

/// The tasks that a person means; where neither a task nor how tasks stand is said, those that failed.
fn select(run: &Run, selection: &Selection, takes_back: bool) -> Result<Vec<TaskRow>, ControlError> {
    if let Some(text) = &selection.state
        && Standing::parse(text).is_some_and(|standing| !can_come_back(standing))
    {
        return Err(not_now(run, format!("`{text}` is no state to rerun"), Some(Remedy::NameState)));
    }
    let mut wanted = selection.clone();
    if wanted.task.is_none() && wanted.state.is_none() && wanted.code.is_none() {
        wanted.state = Some(TaskState::Failed.as_str().to_owned());
    }
    let iteration = run.store.run()?.iteration;
    let mut tasks = matching(run, &wanted)?;
    if let Some(live) = tasks.iter().find(|task| selection.task.is_some() && !waits_for_nobody(task)) {
        return Err(not_now(
            run,
            format!("task `{}` is {}; only an ended or lost task can be rerun", live.id, live.state),
            Some(Remedy::Explain(TaskId(live.id.clone()))),
        ));
    }
    // what is named is refused if it cannot come back, and of all the others only those are meant that can
    let named = selection.task.is_some() || selection.iteration.is_some();
    tasks.retain(|task| waits_for_nobody(task) && (named || takes_back || task.iteration == iteration));
    if tasks.is_empty() {
        let place = if named || takes_back { "the run".to_owned() } else { format!("iteration {iteration}") };
        return Err(not_now(run, format!("{place} has no {} to rerun", wanted.words()), None));
    }
    Ok(tasks)
}

/// Whether tasks that stand so can be brought back.
fn can_come_back(standing: Standing) -> bool {
    standing.state().ended() || standing == Standing::Lost
}

/// Whether a task has ended, or its attempt is lost and only a person can go on.
fn waits_for_nobody(task: &TaskRow) -> bool {
    let lost = task.reason_code.as_ref().is_some_and(|word| word.is(Code::Lost));
    task.state.ended() || (task.state == TaskState::Running && lost)
}
