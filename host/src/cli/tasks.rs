//! `tasks` and `attempts`: what there is of each, in portions, so that a run of any size is listed in little memory.
use super::Session;
use super::output::{JsonList, Listing, one_line, print, print_json, reader_went_away, table, tell, time, when};
use super::show::last_words;
use crate::failure::Failure;
use crate::model::evidence::AttemptUse;
use crate::model::handle;
use crate::model::selection::{Selection, Standing};
use crate::model::states::{AttemptState, TaskState};
use crate::model::time::span;
use crate::model::workflow::nearest;
use crate::run::RunDir;
use crate::store::{AttemptRow, SelectionError, Store, TaskRow};
use crate::workspace::read_store;
use serde_json::{Value, json};
use std::time::Duration;

/// Tasks whose ids are compared with one that does not exist.
const NAMES_COMPARED: u32 = 10_000;

pub(super) fn no_task(dir: &RunDir, store: &Store, id: &str) -> Failure {
    let failure = Failure::input(format!("the run has no task `{id}`"));
    let names = store.first_tasks(NAMES_COMPARED).unwrap_or_default();
    match nearest(id, names.iter().map(|task| task.id.as_str())) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!("`matterstack tasks {}` lists them", dir.address())),
    }
}

pub(super) fn the_task(dir: &RunDir, store: &Store, id: &str) -> Result<TaskRow, Failure> {
    store.task(id)?.ok_or_else(|| no_task(dir, store, id))
}

pub(super) fn wrong_selection(dir: &RunDir, store: &Store, error: SelectionError) -> Failure {
    match error {
        SelectionError::NoTask(id) => no_task(dir, store, &id),
        SelectionError::State(_) => Failure::input(error.to_string()).hint(format!("use {}", Standing::words())),
        SelectionError::Pattern(..) => Failure::input(error.to_string()),
        SelectionError::Store(error) => error.into(),
    }
}

pub(super) fn tasks(session: &Session, name: &str, selection: &Selection) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    let store = read_store(&dir)?;
    let mut chosen = store.choose(selection).map_err(|error| wrong_selection(&dir, &store, error))?;
    let mut listing = Listing::new(&["TASK", "ITERATION", "STATE", "OPERATOR", "ATTEMPTS", "WHY"]);
    let mut list = JsonList::default();
    let mut any = false;
    while let Some(portion) = store.next_chosen(&mut chosen)? {
        any = true;
        if session.json {
            let rows = portion.iter().map(|task| task_json(&store, task)).collect::<Result<Vec<_>, _>>()?;
            print(&list.rows(&rows)?)?;
        } else {
            let rows = portion.into_iter().map(|task| task_cells(&store, task)).collect::<Result<Vec<_>, _>>()?;
            print(&listing.rows(rows))?;
        }
        if reader_went_away(Duration::ZERO) {
            return Ok(0);
        }
    }
    if !any {
        tell(&format!("the run has no {}", selection.words()));
    }
    if session.json {
        print(list.end())?;
    }
    Ok(0)
}

fn task_json(store: &Store, task: &TaskRow) -> Result<Value, Failure> {
    let outputs = if task.state.ended() { store.task_outputs(task.key)? } else { Vec::new() };
    Ok(json!({
        "id": task.id, "iteration": task.iteration, "state": task.state, "reason": task.reason,
        "operator": task.operator, "attempts": task.attempts, "stale": task.stale && task.state == TaskState::Completed,
        "reused": if task.state.ended() { store.task_reused(task.key)? } else { None }, "outputs": outputs,
    }))
}

fn task_cells(store: &Store, task: TaskRow) -> Result<Vec<String>, Failure> {
    let completed = task.state == TaskState::Completed;
    let state = match () {
        () if completed && task.stale => format!("{} (stale)", task.state),
        () if completed && store.task_reused(task.key)?.is_some() => format!("{} (reused)", task.state),
        () if task.state == TaskState::Running && store.is_queued(task.key)? => "queued".to_owned(),
        () => task.state.to_string(),
    };
    let iteration = task.iteration.to_string();
    Ok(vec![task.id, iteration, state, task.operator, task.attempts.to_string(), task.reason.unwrap_or_default()])
}

pub(super) fn attempts(session: &Session, name: &str, task: &str) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    let store = read_store(&dir)?;
    let key = the_task(&dir, &store, task)?.key;
    let (attempts, uses) = store.snapshot(|_| Ok::<_, Failure>((store.attempts(key)?, store.uses_of(key)?)))?;
    if session.json {
        let mut rows = Vec::with_capacity(attempts.len());
        for (attempt, used) in attempts.iter().zip(&uses) {
            rows.push(json!({
                "attempt_id": attempt.id, "number": attempt.number, "state": attempt.state, "reason": attempt.reason,
                "external_id": external_id(attempt), "operator": attempt.operator, "directory": attempt.directory,
                "created_at": time(attempt.created_at_ms), "ended_at": attempt.ended_at_ms.map(time),
                "usage": store.usage(attempt.key)?, "outputs": store.outputs(attempt.key)?, "inputs": store.inputs(attempt.key)?,
                "job": store.job(attempt.key)?, "logs": store.logs(attempt.key)?, "reused": store.reused(attempt.key)?,
                "queued_s": used.waited_ms().map(seconds), "ran_s": used.ran_ms().map(seconds), "cores": used.cores,
                "core_hours": used.core_hours(), "exit": exit_of(attempt),
            }));
        }
        return print_json(&rows).map(|()| 0);
    }
    if attempts.is_empty() {
        tell("the task has had no attempt yet");
        return Ok(0);
    }
    let heading =
        ["ATTEMPT", "STATE", "QUEUED", "RAN", "CORE HOURS", "MEMORY", "EXIT", "NODE", "DIRECTORY", "CREATED", "WHY"];
    let rows = attempts.into_iter().zip(uses).map(|(attempt, used)| attempt_cells(&store, attempt, &used));
    let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
    // what no attempt has says nothing
    let tells = |place: &usize| rows.iter().any(|row| !row[*place].is_empty());
    let chosen: Vec<usize> = (0..heading.len()).filter(tells).collect();
    let cells = |row: &Vec<String>| chosen.iter().map(|place| row[*place].clone()).collect();
    print(&table(&chosen.iter().map(|place| heading[*place]).collect::<Vec<_>>(), rows.iter().map(cells)))?;
    last_words(&dir, &store, task).map_or(Ok(0), |said| print(&said).map(|()| 0))
}

fn attempt_cells(store: &Store, attempt: AttemptRow, used: &AttemptUse) -> Result<Vec<String>, Failure> {
    let exit = exit_of(&attempt);
    let word = |name: &str, word: &str| exit[name].as_i64().map(|number| format!("{word}{number}"));
    let job = store.job(attempt.key)?;
    Ok(vec![
        attempt.number.to_string(),
        shown_state(attempt.state),
        used.waited_ms().map(brief).unwrap_or_default(),
        used.ran_ms().map(brief).unwrap_or_default(),
        used.core_hours().map(|hours| format!("{hours:.3}")).unwrap_or_default(),
        used.memory_mb.map(|mb| format!("{mb} MiB")).unwrap_or_default(),
        word("code", "").or_else(|| word("signal", "signal ")).unwrap_or_default(),
        job.node.or(job.host).unwrap_or_default(),
        attempt.directory,
        when(attempt.created_at_ms),
        attempt.reason.unwrap_or_default(),
    ])
}

/// The state of an attempt in the words that `status` and `tasks` count by: it is queued until its job has started.
fn shown_state(state: AttemptState) -> String {
    match state {
        AttemptState::Created | AttemptState::Prepared | AttemptState::Submitting | AttemptState::Submitted => {
            "queued".to_owned()
        }
        AttemptState::Running
        | AttemptState::WaitingExternal
        | AttemptState::Completed
        | AttemptState::Failed
        | AttemptState::Cancelled
        | AttemptState::Lost => state.to_string(),
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// A span of time as a cell of a table.
fn brief(ms: i64) -> String {
    if ms < 60_000 { format!("{:.1} s", seconds(ms)) } else { span(ms) }
}

/// How the job of an attempt ended, where it left a record of that: its exit code and its signal.
fn exit_of(attempt: &AttemptRow) -> Value {
    let record: Option<Value> = attempt.data.as_deref().and_then(|data| serde_json::from_str(data).ok());
    match record {
        Some(record) if record["attempt"] == attempt.id.as_str() => {
            json!({"code": record["code"], "signal": record["signal"]})
        }
        _ => Value::Null,
    }
}

/// What the outside calls the attempt.
fn external_id(attempt: &AttemptRow) -> Option<String> {
    let told = || handle::told(attempt.handle.as_deref()?).external_id;
    attempt.external_id.clone().or_else(told).as_deref().map(one_line)
}
