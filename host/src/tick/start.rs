//! Starts attempts: create, stage and prepare, commit the intent, submit, record.
use super::again::{self, Again};
use super::consumed::consumed;
use super::verdict::{self, Verdict, stored_task};
use super::{Moment, Run, Tick, TickError, decide, inputs, key, request, settle, stage};
use crate::backend::Unacknowledged;
use crate::ground::machine;
use crate::model::contract::{AttemptRequest, Found, GuestError};
use crate::model::id::AttemptId;
use crate::model::states::{AttemptState, TaskState};
use crate::model::workflow::{Task, WALLTIME_MAX_S};
use crate::plugin::{PluginError, PluginErrorKind};
use crate::run::RunDir;
use crate::store::{AttemptEnd, AttemptRow, Durability, NewAttempt, StoreError, TaskSpec, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// When to try again what was turned away without a hint, in milliseconds.
const TURNED_AWAY_MS: i64 = 5_000;
/// When to go on with what is too much for one tick, in milliseconds.
const NEXT_TICK_MS: i64 = 0;
/// When to try again what waits for a plugin that could not be loaded, in milliseconds.
pub(super) const UNLOADED_MS: i64 = 1_000;
/// When to ask `reconcile` about a submit whose answer was lost, in milliseconds.
const RECONCILE_MS: i64 = 1_000;
/// When to ask about an attempt of an operator whose backend reports changes by itself, in milliseconds.
const BACKEND_TELLS_MS: i64 = 10_000;

/// Wakes the backends that have unsettled work.
pub(super) fn ensure_backends(run: &Run) -> Result<(), TickError> {
    let live = run.store.live_count(None)? > 0;
    run.backends.ensure(live).map_err(|error| TickError::Io("starting the backend's supervisor".to_owned(), error))
}

/// Starts every task that is ready and has room, and every attempt that an earlier tick left unsubmitted. Returns those
/// whose submit took effect and of which no backend will tell.
pub(super) fn start_ready_tasks(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<Vec<String>, TickError> {
    let left = unsubmitted(run, moment.now_ms)?;
    let mut started = !left.is_empty();
    let mut submitted = launch(run, moment, left, tick)?;
    // attempts started together: their intents share one commit, and on a cluster they share arrays
    let together = run.backends.batch_size();
    loop {
        let chosen = choose(run, moment.now_ms, together)?;
        if chosen.is_empty() {
            break;
        }
        started = true;
        let attempts = create(run, moment, &chosen)?;
        submitted.extend(launch(run, moment, attempts, tick)?);
    }
    if started {
        ensure_backends(run)?;
    }
    Ok(submitted)
}

/// Attempts that were created or prepared but not submitted, and whose time has come.
fn unsubmitted(run: &Run, now_ms: i64) -> Result<Vec<AttemptRow>, TickError> {
    let due =
        |a: &AttemptRow, (at, set): (i64, i64)| a.state != AttemptState::Submitting && (at <= now_ms || now_ms < set);
    Ok(run.store.unsettled()?.into_iter().filter(|(attempt, times)| due(attempt, *times)).map(|(a, _)| a).collect())
}

/// Chooses up to `most` tasks to start: those whose back-off is over, then those that are ready.
pub(super) fn choose(run: &Run, now_ms: i64, most: u64) -> Result<Vec<TaskSpec>, TickError> {
    let mut live = run.store.live_count(None)?;
    let mut chosen: Vec<TaskSpec> = Vec::new();
    for operator in run.config.operators.keys() {
        let room = decide::room_now(run, operator, live)?.min(most - chosen.len() as u64);
        if room > 0 {
            let due = run.store.retries_due(operator, now_ms, room)?;
            live += due.len() as u64;
            chosen.extend(due);
        }
    }
    for operator in run.config.operators.keys() {
        let ours = chosen.iter().filter(|other| other.operator == *operator).count() as u64;
        let room = decide::room_now(run, operator, live)?.saturating_sub(ours).min(most - chosen.len() as u64);
        if room > 0 {
            let ready = run.store.ready_tasks(operator, room)?;
            live += ready.len() as u64;
            chosen.extend(ready);
        }
    }
    Ok(chosen)
}

/// Gives each chosen task an attempt. A crash after this leaves attempts that the next tick launches.
fn create(run: &mut Run, moment: Moment<'_>, chosen: &[TaskSpec]) -> Result<Vec<AttemptRow>, TickError> {
    let mut first = None;
    // what an earlier attempt left is taken from where it lies
    let again = |spec: &TaskSpec| if spec.attempts > 0 { again::directory(run, spec.key) } else { Ok(None) };
    let directories: Vec<Option<String>> = chosen.iter().map(again).collect::<Result<_, _>>()?;
    let mut spec_directory = directories.into_iter();
    run.store.transaction(Durability::Lazy, |writer| {
        for spec in chosen {
            let id = (moment.new_id)();
            let directory = spec_directory.next().flatten();
            let directory = directory.unwrap_or_else(|| RunDir::attempt_directory(&spec.operator, &spec.id, &id));
            if spec.state == TaskState::Pending {
                writer.set_task_state(spec.key, (TaskState::Pending, TaskState::Running), None, moment.now_ms)?;
            } else {
                writer.clear_retry(spec.key)?;
            }
            let new = NewAttempt {
                id: id.0,
                task_key: spec.key,
                number: spec.attempts + 1,
                operator: spec.operator.clone(),
                directory,
            };
            let key = writer.create_attempt(&new, moment.now_ms)?;
            first.get_or_insert(key);
        }
        Ok(())
    })?;
    Ok(first.map(|key| run.store.attempts_from(key)).transpose()?.unwrap_or_default())
}

enum Readied {
    Yes(AttemptRow),
    /// It has ended with what an earlier one left.
    Again(Verdict),
    Later(AttemptRow, i64, (String, String)),
    No(Verdict),
}

/// Stages, prepares, commits the intent and submits.
fn launch(
    run: &mut Run,
    moment: Moment<'_>,
    attempts: Vec<AttemptRow>,
    tick: &mut Tick,
) -> Result<Vec<String>, TickError> {
    if attempts.is_empty() {
        return Ok(Vec::new());
    }
    let mut readied = Vec::with_capacity(attempts.len());
    let mut staged = false;
    for attempt in attempts {
        readied.push(ready(run, attempt, &mut staged, tick)?);
    }
    if staged {
        // A job must not find its files empty because the power failed after its queue was written and before they were.
        let synced = machine::sync_file_system(run.dir.root());
        synced.map_err(|error| TickError::Io("writing staged files".to_owned(), error))?;
    }
    let now = moment.now_ms;
    let mut inputs = BTreeMap::new();
    for one in &readied {
        if let Readied::Yes(attempt) = one {
            inputs.insert(attempt.key, consumed(run, attempt)?);
        }
    }
    let mut submitting = Vec::with_capacity(readied.len());
    run.store.transaction(Durability::Full, |writer| {
        for one in readied {
            match one {
                Readied::Yes(mut attempt) => {
                    writer.keep_inputs(attempt.key, inputs.get(&attempt.key).map_or(&[], Vec::as_slice))?;
                    if attempt.state == AttemptState::Created {
                        writer.set_attempt_state(&attempt, AttemptState::Prepared, None, now)?;
                        attempt.state = AttemptState::Prepared;
                    }
                    writer.set_attempt_state(&attempt, AttemptState::Submitting, None, now)?;
                    attempt.state = AttemptState::Submitting;
                    submitting.push(attempt);
                }
                Readied::Later(attempt, delay_ms, (code, text)) => {
                    writer.note_attempt(&attempt, now + delay_ms, Some((&code, &text)), now)?;
                }
                Readied::Again(verdict) => {
                    tick.finished += 1;
                    again::record(writer, verdict, now)?;
                }
                Readied::No(verdict) => {
                    tick.finished += 1;
                    verdict::apply(writer, &verdict, now)?;
                }
            }
        }
        Ok(())
    })?;
    submit_all(run, moment, submitting, tick)
}

fn ready(run: &Run, attempt: AttemptRow, staged: &mut bool, tick: &mut Tick) -> Result<Readied, TickError> {
    let attempt = match again::take(run, attempt, tick)? {
        Again::No(attempt) => attempt,
        Again::Ended(verdict) => return Ok(Readied::Again(verdict)),
        Again::Later(attempt, delay_ms, code, text) => {
            return Ok(Readied::Later(attempt, delay_ms as i64, (code.to_owned(), text)));
        }
    };
    let task = stored_task(&attempt.task_json)?;
    match stage::stage(run, &task, &attempt, &tick.allowance) {
        Ok(any) => *staged |= any,
        Err(stage::StageError::Machine(text, error)) => return Err(TickError::Io(text, error)),
        Err(stage::StageError::Later(text)) => {
            return Ok(Readied::Later(attempt, TURNED_AWAY_MS, ("turned-away".to_owned(), text)));
        }
        Err(stage::StageError::PutAside(text)) => {
            return Ok(Readied::Later(attempt, NEXT_TICK_MS, ("staging".to_owned(), text)));
        }
        Err(stage::StageError::Task(text)) => return Ok(Readied::No(failed(attempt, "staging", text))),
    }
    let json = attempt_json(run, &attempt, &task)?;
    crate::ground::failpoint::hit("prepare.before");
    let answer = run.plugins.prepare(&key(&attempt), &request(run, &attempt, json));
    crate::ground::failpoint::hit("prepare.after");
    Ok(match answer {
        Ok(()) => Readied::Yes(attempt),
        Err(PluginError { kind: PluginErrorKind::Guest(GuestError::Transient(detail, delay)), .. }) => {
            let delay_ms = delay.map_or(TURNED_AWAY_MS, |ms| ms as i64);
            Readied::Later(attempt, delay_ms, ("turned-away".to_owned(), detail.message))
        }
        Err(error) if error.kind.says_nothing() => {
            tick.note_unloaded(&attempt, &error);
            Readied::Later(attempt, UNLOADED_MS, (error.kind.own_code().to_owned(), error.to_string()))
        }
        Err(error) => Readied::No(failed(attempt, error.kind.own_code(), error.to_string())),
    })
}

fn failed(attempt: AttemptRow, code: &str, text: String) -> Verdict {
    let reason = Some((code.to_owned(), text));
    let end = AttemptEnd::new(AttemptState::Failed, reason);
    Verdict { attempt, end, never_started: false }
}

enum Submitted {
    Yes(AttemptRow),
    Later(AttemptRow, i64, (String, String)),
    Unknown(AttemptRow, String, String),
    No(Verdict),
}

/// Submits attempts whose intent is committed, and records the answers. Returns those whose submit took effect and of which
/// no backend will tell.
pub(super) fn submit_all(
    run: &mut Run,
    moment: Moment<'_>,
    attempts: Vec<AttemptRow>,
    tick: &mut Tick,
) -> Result<Vec<String>, TickError> {
    let mut answers = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        answers.push(submit(run, attempt, tick)?);
    }
    if answers.is_empty() {
        return Ok(Vec::new());
    }
    // What the backend acknowledged must be on its disk before the store says `submitted`; what it did not acknowledge
    // after all is still `submitting`, as it was committed before.
    let failed = run.backends.sync();
    let mut failed = failed.map_err(|error| TickError::Io("writing the backend's queue".to_owned(), error))?;
    if !failed.is_empty() {
        answers = answers.into_iter().map(|answer| after_sync(answer, &mut failed)).collect();
    }
    let config = &run.config;
    let told = |attempt: &AttemptRow| config.backend_tells(&attempt.operator);
    let (went_bare_ids, mut bare) = (run.backends.went_bare(), Bare::new());
    for answer in &answers {
        if let Submitted::Yes(attempt) = answer
            && went_bare_ids.contains(&attempt.id)
        {
            bare.insert(attempt.key, went_bare(attempt));
        }
    }
    run.store.transaction(Durability::Lazy, |writer| {
        answers.iter().try_for_each(|answer| record(writer, answer, (&told, &bare), moment.now_ms))
    })?;
    let mut untold = Vec::new();
    for answer in answers {
        match answer {
            Submitted::Yes(attempt) => {
                tick.submitted += 1;
                tick.warning = tick.warning.take().or_else(|| bare.remove(&attempt.key));
                untold.extend((!told(&attempt)).then_some(attempt.id));
            }
            Submitted::No(_) => tick.finished += 1,
            Submitted::Later(..) | Submitted::Unknown(..) => {}
        }
    }
    Ok(untold)
}

/// The sentences on attempts that found nothing of the one before, by their place in the database.
type Bare = BTreeMap<i64, String>;

/// Records what became of a submit; `told` says whether a backend tells when there is something to ask about the attempt.
fn record(
    writer: &Writer<'_>,
    answer: &Submitted,
    (told, bare): (&dyn Fn(&AttemptRow) -> bool, &Bare),
    now: i64,
) -> Result<(), StoreError> {
    match answer {
        Submitted::Yes(attempt) => {
            let reason = bare.get(&attempt.key).map(|text| ("not-carried", text.as_str()));
            writer.set_attempt_state(attempt, AttemptState::Submitted, reason, now)?;
            if told(attempt) { writer.set_due(attempt.key, now + BACKEND_TELLS_MS, now) } else { Ok(()) }
        }
        Submitted::Later(attempt, delay_ms, (code, text)) => {
            writer.set_attempt_state(attempt, AttemptState::Prepared, Some((code, text)), now)?;
            writer.set_due(attempt.key, now + delay_ms, now)
        }
        Submitted::Unknown(attempt, code, text) => {
            writer.note_attempt(attempt, now + RECONCILE_MS, Some((code, text)), now)
        }
        Submitted::No(verdict) => verdict::apply(writer, verdict, now),
    }
}

/// The sentence on an attempt that was to go on from an earlier one.
fn went_bare(attempt: &AttemptRow) -> String {
    format!(
        "attempt {} of task `{}` carries nothing over: what the one before left is no longer on its cluster, or no backend \
         names that any more",
        attempt.number, attempt.task_id
    )
}

fn submit(run: &Run, mut attempt: AttemptRow, tick: &mut Tick) -> Result<Submitted, TickError> {
    let task = stored_task(&attempt.task_json)?;
    let json = attempt_json(run, &attempt, &task)?;
    let inputs = Arc::new(inputs::of(run, &attempt, &task)?);
    crate::ground::failpoint::hit("submit.before");
    let request = AttemptRequest { inputs, ..request(run, &attempt, json) };
    let answer = run.plugins.submit(&key(&attempt), &request);
    crate::ground::failpoint::hit("submit.after");
    Ok(match answer {
        Ok(handle) => {
            attempt.handle = Some(handle);
            Submitted::Yes(attempt)
        }
        Err(error) => {
            let text = error.to_string();
            match &error.kind {
                kind if kind.never_ran() => {
                    tick.note_unloaded(&attempt, &error);
                    Submitted::Later(attempt, UNLOADED_MS, (error.kind.own_code().to_owned(), text))
                }
                PluginErrorKind::Guest(GuestError::Other(_))
                | PluginErrorKind::Trap(_)
                | PluginErrorKind::Memory(_)
                | PluginErrorKind::Limit(_)
                | PluginErrorKind::BadOutput(_) => broken_off(run, attempt, &error),
                PluginErrorKind::Guest(guest) => not_submitted(attempt, guest, text),
                _ => {
                    tick.note_unloaded(&attempt, &error);
                    let code = error.kind.own_code().to_owned();
                    Submitted::Unknown(attempt, code, format!("the answer of submit was lost: {text}"))
                }
            }
        }
    })
}

/// A plugin that trapped, hit a limit or failed for its own reasons in `submit` would do so again. It is asked at once
/// whether anything came of it: if provably nothing did, the attempt has failed, and the task's own retry policy says what
/// follows.
fn broken_off(run: &Run, mut attempt: AttemptRow, error: &PluginError) -> Submitted {
    match settle::reconcile(run, &attempt) {
        Ok(Found::Yes(handle)) => {
            attempt.handle = Some(handle);
            Submitted::Yes(attempt)
        }
        Ok(Found::No) => Submitted::No(failed(attempt, error.kind.own_code(), error.to_string())),
        Ok(Found::Unknown(..)) | Err(_) => {
            let text = format!("the answer of submit was lost: {error}");
            Submitted::Unknown(attempt, error.kind.own_code().to_owned(), text)
        }
    }
}

/// What an error says about a submit: provably without effect, for now or for good, or nobody knows.
fn not_submitted(attempt: AttemptRow, error: &GuestError, text: String) -> Submitted {
    match error {
        GuestError::Transient(_, delay) => {
            let delay_ms = delay.map_or(TURNED_AWAY_MS, |ms| ms as i64);
            Submitted::Later(attempt, delay_ms, ("turned-away".to_owned(), text))
        }
        GuestError::Invalid(_) | GuestError::Rejected(_) | GuestError::Denied(_) => {
            Submitted::No(failed(attempt, &error.detail().code, text))
        }
        GuestError::Ambiguous(detail) | GuestError::Other(detail) => {
            Submitted::Unknown(attempt, detail.code.clone(), format!("the answer of submit was lost: {text}"))
        }
    }
}

/// A submit that the operator took for done, after its backend has told what it failed to hand on.
fn after_sync(answer: Submitted, failed: &mut Unacknowledged) -> Submitted {
    match answer {
        Submitted::Yes(mut attempt) => match failed.remove(&AttemptId(attempt.id.clone())) {
            Some(error) => {
                attempt.handle = None;
                not_submitted(attempt, &error, error.detail().message.clone())
            }
            None => Submitted::Yes(attempt),
        },
        other => other,
    }
}

/// The task as this attempt runs it: with more time or memory where earlier attempts ran out of them, and with a word on
/// each staged file that can be executed, which an operator cannot see.
fn attempt_json(run: &Run, attempt: &AttemptRow, task: &Task) -> Result<String, TickError> {
    let adapts = attempt.number > 1 && (task.retry.on.timeout.is_some() || task.retry.on.oom.is_some());
    let executables = stage::executables(&run.dir.join(&attempt.directory), task);
    if !adapts && executables.is_empty() {
        return Ok(attempt.task_json.clone());
    }
    let mut task = task.clone();
    if adapts {
        let earlier = run.store.attempts(attempt.task_key)?.into_iter().filter_map(|a| a.reason_code);
        task = task_with_retries(&task, &earlier.collect::<Vec<_>>());
    }
    for destination in executables {
        if let Some(source) = task.files.get_mut(&destination) {
            source.set_executable();
        }
    }
    Ok(serde_json::to_string(&task).unwrap_or_else(|_| attempt.task_json.clone()))
}

/// A task with its walltime and memory multiplied for every earlier attempt that ran out of them.
pub fn task_with_retries(task: &Task, earlier_codes: &[String]) -> Task {
    let mut task = task.clone();
    let count = |code: &str| earlier_codes.iter().filter(|other| *other == code).count() as i32;
    if let Some(resources) = &mut task.resources {
        if let (Some(walltime), Some(rule)) = (&mut resources.walltime_s, &task.retry.on.timeout) {
            *walltime = (*walltime * rule.walltime_factor.powi(count("timeout"))).min(WALLTIME_MAX_S);
        }
        if let (Some(memory), Some(rule)) = (&mut resources.memory_mb, &task.retry.on.oom) {
            *memory = (*memory as f64 * rule.memory_factor.powi(count("oom"))).ceil() as u64;
        }
    }
    task
}
