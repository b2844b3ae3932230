//! Changes of tasks that were planned: checked as a plan is, and kept as a further version of each. All of a change is
//! one transaction: a crash before it leaves the tasks as they were.
use crate::model::act::Act;
use crate::model::config::RunConfig;
use crate::model::document::canonical_own;
use crate::model::id::TaskId;
use crate::model::outputs::refuse_impossible_sources;
use crate::model::remedy::Remedy;
use crate::model::rules::refuse_unaccepted;
use crate::model::selection::Selection;
use crate::model::states::{RunState, TaskState};
use crate::model::workflow::{PlannedTask, Task, TaskChange, read_task, validate};
use crate::store::{self, AmendedTask, Durability, SelectionError, TaskRow};
use crate::tick::acts::control::{no_task, not_now};
use crate::tick::attempts::digests::refuse_unknown_digests;
use crate::tick::attempts::verdict::{earlier_task, stored_task};
use crate::tick::{ControlError, Run};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a change of tasks reached: how many of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Not started: they run as changed.
    pub waiting: u64,
    /// Going on as they were begun; a further attempt is as changed.
    pub live: u64,
    /// Ended: they are as changed if they run again.
    pub ended: u64,
    /// As they were to be already.
    pub unchanged: u64,
}

/// Changes the tasks that a person means.
///
/// # Errors
/// If there is no such task, a task would not be one that could be planned, or nothing would be changed.
pub fn mend(run: &mut Run, selection: &Selection, changes: &[TaskChange], act: &Act) -> Result<Mended, ControlError> {
    let row = run.store.run()?;
    if row.state == RunState::Cancelling {
        return Err(not_now(run, format!("run `{}` is being cancelled", row.run_id), None));
    }
    let rows = meant(run, selection)?;
    let amended = amended(run, &run.config, &rows, changes)?;
    if amended.is_empty() {
        let what = format!("nothing is changed: every {} is as you say already", selection.words());
        return Err(not_now(run, what, None));
    }
    let mut mended = Mended { unchanged: (rows.len() - amended.len()) as u64, ..Mended::default() };
    let keys: BTreeSet<i64> = amended.iter().map(|task| task.key).collect();
    for row in rows.iter().filter(|row| keys.contains(&row.key)) {
        match row.state {
            TaskState::Pending => mended.waiting += 1,
            TaskState::Running => mended.live += 1,
            TaskState::Completed | TaskState::Failed | TaskState::Cancelled | TaskState::Skipped => mended.ended += 1,
        }
    }
    run.store.transaction(Durability::Full, |writer| {
        let number = writer.add_act(act)?;
        amended.iter().try_for_each(|task| writer.amend_task(task, number, act.at_ms))
    })?;
    Ok(mended)
}

/// The tasks that a person means, of which there may be none; but a task that is named is there, and a pattern that
/// stands alone names one.
pub(in crate::tick) fn matching(run: &Run, selection: &Selection) -> Result<Vec<TaskRow>, ControlError> {
    let found = run.store.chosen(selection).map_err(|error| match error {
        SelectionError::NoTask(id) => no_task(run, &id),
        SelectionError::State(_) => not_now(run, error.to_string(), Some(Remedy::NameAnyState)),
        SelectionError::Pattern(..) => not_now(run, error.to_string(), None),
        SelectionError::Store(error) => error.into(),
    })?;
    match &selection.task {
        Some(text)
            if found.is_empty()
                && *selection == (Selection { recursive: selection.recursive, ..Selection::of_task(text) }) =>
        {
            Err(not_now(run, format!("no task's id matches `{text}`"), Some(Remedy::ListTasks)))
        }
        _ => Ok(found),
    }
}

/// The tasks that a person means, at least one.
pub(in crate::tick) fn meant(run: &Run, selection: &Selection) -> Result<Vec<TaskRow>, ControlError> {
    let found = matching(run, selection)?;
    if found.is_empty() {
        return Err(not_now(run, format!("the run has no {}", selection.words()), Some(Remedy::ListTasks)));
    }
    Ok(found)
}

/// The tasks as changes leave them, those that are left as they are apart: each is one that could be planned, with the
/// others of the run as they are.
pub(in crate::tick) fn amended(
    run: &Run,
    config: &RunConfig,
    rows: &[TaskRow],
    changes: &[TaskChange],
) -> Result<Vec<AmendedTask>, ControlError> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for row in rows {
        let text = run.store.task_json(row.key)?;
        let mut value: Value = store::document(&text)?;
        for change in changes {
            change.apply(&mut value).map_err(|key| {
                not_now(
                    run,
                    format!("`{key}` of task `{}` cannot be set: what would hold it is no object", row.id),
                    None,
                )
            })?;
        }
        let changed = canonical_own(&value);
        if changed != text {
            before.push((row.key, read_task(after.len(), &text, config)?.0));
            after.push(read_task(after.len(), &changed, config));
        }
    }
    if after.is_empty() {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<TaskId> = before.iter().map(|(_, task)| task.id.clone()).collect();
    let exists = |id: &TaskId| Ok::<_, ControlError>(!ids.contains(id) && run.store.has_task(id.as_str())?);
    let tasks: Vec<Task> = after.iter().filter_map(|read| read.as_ref().ok()).map(|(task, _)| task.clone()).collect();
    let mut planned = validate(after.into_iter().map(|read| read.map_err(ControlError::from)), config, &exists)?;
    tasks.iter().try_for_each(|task| refuse_unaccepted(config, task))?;
    tasks.iter().try_for_each(|task| refuse_unknown_digests::<ControlError>(run, (&task.id, task), |_| false))?;
    let amended = before.iter().zip(&tasks).zip(&planned).map(|(((key, before), task), planned)| AmendedTask {
        key: *key,
        operator: planned.operator.to_string(),
        allow_failure: planned.allow_failure,
        tolerant: planned.allow_dependency_failure,
        rank: planned.rank(),
        dependencies: task.dependencies().into_iter().map(|id| id.as_str().to_owned()).collect(),
        computes_anew: !before.computes_like(task),
        json: planned.json.to_string(),
    });
    let amended: Vec<AmendedTask> = amended.collect();
    planned.extend(takers(run, &before, &ids)?);
    refuse_impossible_sources(&planned, |id| Ok::<_, ControlError>(earlier_task(run, id)?))?;
    Ok(amended)
}

/// The tasks that have not ended and depend on changed ones: what they take must still be there.
fn takers(run: &Run, changed: &[(i64, Task)], ids: &BTreeSet<TaskId>) -> Result<Vec<PlannedTask>, ControlError> {
    let mut takers = BTreeMap::new();
    for (key, _) in changed {
        for id in run.store.dependents(*key)? {
            let Some(row) = run.store.task(&id)?.filter(|row| !row.state.ended()) else { continue };
            let id = TaskId(id);
            if ids.contains(&id) {
                continue;
            }
            let task = stored_task(&run.store.task_json(row.key)?)?;
            takers.insert(row.key, PlannedTask::to_be_judged(task));
        }
    }
    Ok(takers.into_values().collect())
}
