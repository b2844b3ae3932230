//! Starts attempts: create, stage and prepare, commit the intent; [`submit`] does the rest. A crash leaves attempts
//! that are created or prepared, which the next tick goes on with before it starts others, or `submitting`, which it
//! reconciles.
use crate::ground::machine;
use crate::model::code::{Code, Word};
use crate::model::contract::GuestError;
use crate::model::reason::Reason;
use crate::model::reuse::ReuseKey;
use crate::model::states::{AttemptState, TaskState};
use crate::model::time::delay_ms;
use crate::model::workflow::{Task, WALLTIME_MAX_S};
use crate::plugin::{PluginError, PluginErrorKind};
use crate::run::RunDir;
use crate::store::{AttemptRow, Durability, NewAttempt, NewInput, TaskSpec, Waiting};
use crate::tick::attempts::again::{self, Again};
use crate::tick::attempts::consumed::consumed;
use crate::tick::attempts::folders::{Unopened, may_take_folders, opened};
use crate::tick::attempts::reuse::{Reuse, Served, Serving};
use crate::tick::attempts::rules::{self, Ruling};
use crate::tick::attempts::verdict::{self, Sequel, Verdict, stored_task};
use crate::tick::attempts::{NEXT_TICK_MS, UNLOADED_MS};
use crate::tick::attempts::{stage, submit};
use crate::tick::capacity::{self, Capacity, Claim};
use crate::tick::turn::{BUDGET, HELD_MAX_BYTES, Phase, Round, Turn};
use crate::tick::{Moment, Run, Tick, TickError, key};
use std::collections::BTreeSet;

/// When to try again what was turned away without a hint, in milliseconds.
const TURNED_AWAY_MS: i64 = 5_000;
/// The soonest that what was turned away is tried again, whatever the hint, in milliseconds.
const TURNED_AWAY_MIN_MS: i64 = 100;

/// Wakes the backends, which may have unsettled work while attempts are live.
pub(in crate::tick) fn ensure_backends(run: &Run, live: bool, tick: &mut Tick) {
    tick.note_troubles(run.backends.ensure(live));
}

/// Starts every task that is ready and has room, and before them every attempt that an earlier tick left unsubmitted,
/// while there is time. Returns those whose submit took effect and of which no backend will tell.
pub(in crate::tick) fn start_ready_tasks(
    run: &mut Run,
    moment: Moment<'_>,
    turn: &Turn,
    tick: &mut Tick,
) -> Result<Vec<Waiting>, TickError> {
    // attempts started together: their intents share one commit, and on a cluster they share arrays
    let together = run.backends.batch_size();
    let mut left = run.store.unacknowledged_due(moment.now_ms, &[AttemptState::Created, AttemptState::Prepared])?;
    let (mut submitted, mut reuse) = (Vec::new(), Reuse::default());
    let mut started = false;
    while tick.cut.is_none() {
        if moment.is_over(tick) {
            tick.cut_short(Phase::Advance, None);
            break;
        }
        // an operator of which something is left gets nothing new, so that it takes no room from the others
        let behind: BTreeSet<String> = left.iter().map(|one| one.operator.clone()).collect();
        rules::wait_in_budgets(run, moment)?;
        let chosen = choose(run, moment.now_ms, together, &behind)?;
        left.extend(create(run, moment, &chosen)?);
        if left.is_empty() {
            if chosen.is_empty() {
                break;
            }
            // the rules let none of them start, and there may be others
            continue;
        }
        started = true;
        let mut round = Round::new(Phase::Advance, turn, std::mem::take(&mut left));
        submitted.extend(launch(run, moment, &mut round, together, &mut reuse, tick)?);
    }
    if started {
        ensure_backends(run, run.store.live_count(None)? > 0, tick);
    }
    Ok(submitted)
}

/// What an operator could start.
struct Claimant {
    live: u64,
    tasks: Vec<TaskSpec>,
}

/// Chooses up to `most` tasks to start. Operators share the room; of one operator those whose back-off is over go
/// first, then those that are ready. Operators that are `behind` get nothing.
pub(in crate::tick) fn choose(
    run: &Run,
    now_ms: i64,
    most: u64,
    behind: &BTreeSet<String>,
) -> Result<Vec<TaskSpec>, TickError> {
    let run_live = run.store.live_count(None)?;
    let room = run.config.limits.max_active.saturating_sub(run_live).min(most);
    let mut claimants = Vec::new();
    for (operator, settings) in run.config.operators.iter().filter(|(operator, _)| !behind.contains(*operator)) {
        let live = run.store.live_count(Some(operator))?;
        let own = capacity::room(Capacity {
            run_live,
            run_max: run.config.limits.max_active,
            operator_live: live,
            operator_max: settings.max_active,
        });
        let most = own.min(room).min(rules::attempts_left(&run.store, operator, settings)?);
        if most == 0 {
            continue;
        }
        let tasks = rules::within_core_hours(&run.store, operator, settings, candidates(run, operator, now_ms, most)?)?;
        if !tasks.is_empty() {
            claimants.push(Claimant { live, tasks });
        }
    }
    let claims: Vec<Claim> =
        claimants.iter().map(|one| Claim { live: one.live, wanted: one.tasks.len() as u64 }).collect();
    let shares = capacity::shares(room, &claims);
    Ok(claimants.into_iter().zip(shares).flat_map(|(one, share)| one.tasks.into_iter().take(share as usize)).collect())
}

/// Up to `most` tasks of an operator that could start: those whose back-off is over, those that waited for room in its
/// budget, those that are ready.
fn candidates(run: &Run, operator: &str, now_ms: i64, most: u64) -> Result<Vec<TaskSpec>, TickError> {
    let mut tasks = run.store.retries_due(operator, now_ms, most)?;
    if most > tasks.len() as u64 {
        tasks.extend(run.store.waiting_in_budget(operator, most - tasks.len() as u64)?);
    }
    if most > tasks.len() as u64 {
        tasks.extend(run.store.ready_tasks(operator, most - tasks.len() as u64)?);
    }
    Ok(tasks)
}

/// Gives each chosen task an attempt, unless the rules of its operator have something against it. A crash after this
/// leaves attempts that the next tick launches.
fn create(run: &mut Run, moment: Moment<'_>, chosen: &[TaskSpec]) -> Result<Vec<Waiting>, TickError> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    // what an earlier attempt left is taken from where it lies
    let again = |spec: &TaskSpec| if spec.attempts > 0 { again::directory(run, spec.key) } else { Ok(None) };
    let directories: Vec<Option<String>> = chosen.iter().map(again).collect::<Result<_, _>>()?;
    let rulings: Vec<Ruling> = chosen.iter().map(|spec| rules::rule(run, spec)).collect::<Result<_, _>>()?;
    if rulings.iter().any(|ruling| matches!(ruling, Ruling::Asks { .. })) {
        let made = run.dir.make_approvals();
        made.map_err(|error| TickError::Io("making the directory of approvals".to_owned(), error))?;
    }
    let mut created = Vec::with_capacity(chosen.len());
    run.store.transaction(Durability::Lazy, |writer| {
        for ((spec, directory), ruling) in chosen.iter().zip(directories).zip(rulings) {
            let id = (moment.new_id)();
            let core_ms = match ruling {
                Ruling::Starts { core_ms } => core_ms,
                other @ (Ruling::Refused(_) | Ruling::Asks { .. }) => {
                    other.record(writer, spec, &id, moment.now_ms)?;
                    continue;
                }
            };
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
                core_ms,
            };
            let key = writer.create_attempt(&new, moment.now_ms)?;
            created.push(Waiting { key, operator: spec.operator.clone(), seen_ms: moment.now_ms });
        }
        Ok(())
    })?;
    Ok(created)
}

enum Readied {
    /// It is staged, with what it consumes, and by what later runs find what it leaves.
    Yes(AttemptRow, Vec<NewInput>, Option<ReuseKey>),
    Later(AttemptRow, i64, Reason),
    /// It has ended with what an earlier one left.
    Again(Verdict),
    /// It has ended with what one of another run left.
    Reused(Box<Served>),
    No(Verdict),
}

/// Stages, prepares, commits the intent and submits, batch by batch, while there is time. Returns as
/// [`submit::submit_all`].
fn launch(
    run: &mut Run,
    moment: Moment<'_>,
    round: &mut Round,
    together: u64,
    reuse: &mut Reuse,
    tick: &mut Tick,
) -> Result<Vec<Waiting>, TickError> {
    let mut submitted = Vec::new();
    loop {
        let (mut readied, mut held, mut staged) = (Vec::new(), 0, false);
        // to submit takes about as long as to make ready, and what is ready should not have to wait for the next tick
        let half = moment.worked(tick) + BUDGET.saturating_sub(moment.worked(tick)) / 2;
        while (readied.len() as u64) < together
            && held < HELD_MAX_BYTES
            && (readied.is_empty() || moment.worked(tick) < half)
            && let Some(one) = round.next(moment, tick)
        {
            let Some(attempt) = run.store.live_attempt_at(one.key)? else { continue };
            held += attempt.bytes();
            readied.push(ready(run, attempt, moment, &mut staged, reuse, tick)?);
        }
        if readied.is_empty() {
            return Ok(submitted);
        }
        if staged {
            // A job must not find its files empty because the power failed after its queue was written and before they
            // were.
            let synced = machine::sync_file_system(run.dir.root());
            synced.map_err(|error| TickError::Io("writing staged files".to_owned(), error))?;
        }
        let intended = intend(run, moment, readied, tick)?;
        submitted.extend(submit::submit_all(run, moment, intended, tick)?);
    }
}

/// Commits what is meant to be submitted, and what is not going to be. Returns the former.
fn intend(
    run: &mut Run,
    moment: Moment<'_>,
    readied: Vec<Readied>,
    tick: &mut Tick,
) -> Result<Vec<AttemptRow>, TickError> {
    let now = moment.now_ms;
    let mut submitting = Vec::with_capacity(readied.len());
    run.store.transaction(Durability::Full, |writer| {
        for one in readied {
            match one {
                Readied::Yes(mut attempt, inputs, reuse) => {
                    writer.keep_inputs(attempt.key, &inputs)?;
                    reuse.map_or(Ok(()), |key| writer.keep_reuse_key(attempt.key, &key))?;
                    let fresh = [AttemptState::Prepared, AttemptState::Submitting];
                    let path = if attempt.state == AttemptState::Created { &fresh[..] } else { &fresh[1..] };
                    writer.move_attempt(&attempt, path, None, None, now)?;
                    attempt.state = AttemptState::Submitting;
                    submitting.push(attempt);
                }
                Readied::Later(attempt, delay_ms, reason) => {
                    writer.note_attempt(&attempt, now + delay_ms, Some(&reason), now)?;
                }
                Readied::Again(verdict) => {
                    tick.finished += 1;
                    again::record(writer, verdict, now)?;
                }
                Readied::Reused(served) => {
                    tick.finished += 1;
                    served.record(writer, now)?;
                }
                Readied::No(verdict) => {
                    tick.finished += 1;
                    verdict::apply(writer, &verdict, now)?;
                }
            }
        }
        Ok(())
    })?;
    Ok(submitting)
}

fn ready(
    run: &Run,
    attempt: AttemptRow,
    moment: Moment<'_>,
    staged: &mut bool,
    reuse: &mut Reuse,
    tick: &mut Tick,
) -> Result<Readied, TickError> {
    let attempt = match again::take(run, attempt, moment, tick)? {
        Again::No(attempt) => attempt,
        Again::Ended(verdict) => return Ok(Readied::Again(verdict)),
        Again::Later(attempt, after_ms, reason) => return Ok(Readied::Later(attempt, delay_ms(after_ms), reason)),
    };
    let task = match opened(run, stored_task(&attempt.task_json)?) {
        Ok(task) => task,
        Err(Unopened::Store(error)) => return Err(error.into()),
        Err(Unopened::Told(text)) => return not_staged(attempt, stage::StageError::Task(text)),
    };
    let inputs = consumed(run, &task)?;
    let keys = reuse.keys(run, (&attempt.operator, &attempt.directory), &task, &inputs)?.unwrap_or_default();
    match reuse.serve(run, attempt, (&task, &inputs), &keys, &tick.allowance)? {
        Serving::No(attempt) => prepare(run, attempt, &task, (inputs, keys), staged, (reuse, tick)),
        Serving::Yes(served) => {
            *staged = true;
            Ok(Readied::Reused(served))
        }
        Serving::Later(attempt, text) => {
            Ok(Readied::Later(attempt, delay_ms(NEXT_TICK_MS), Reason::new(Code::Staging, text)))
        }
    }
}

/// Stages an attempt that is to run, and lets its operator prepare it.
fn prepare(
    run: &Run,
    attempt: AttemptRow,
    task: &Task,
    (mut inputs, mut keys): (Vec<NewInput>, Vec<ReuseKey>),
    staged: &mut bool,
    (reuse, tick): (&mut Reuse, &mut Tick),
) -> Result<Readied, TickError> {
    let carried = match stage::stage(run, task, &attempt, &tick.allowance) {
        Ok(done) => {
            *staged |= done.any;
            done.carried
        }
        Err(error) => return not_staged(attempt, error),
    };
    if !carried.is_empty() {
        let own = |input: &NewInput| !inputs.iter().any(|other| other.destination == input.destination);
        let carried: Vec<NewInput> = carried.into_iter().filter(own).collect();
        inputs.extend(carried);
        keys = reuse.keys(run, (&attempt.operator, &attempt.directory), task, &inputs)?.unwrap_or_default();
    }
    let json = attempt_json(run, &attempt, task)?;
    crate::ground::failpoint::hit("prepare.before");
    let answer = run.plugins.prepare(&key(&attempt), &run.request(&attempt, json));
    crate::ground::failpoint::hit("prepare.after");
    Ok(match answer {
        Ok(prepared) => Readied::Yes(AttemptRow { prepared, ..attempt }, inputs, keys.into_iter().next()),
        Err(PluginError { kind: PluginErrorKind::Guest(GuestError::Transient { detail, retry_after_ms }), .. }) => {
            Readied::Later(attempt, turned_away_ms(retry_after_ms), Reason::new(Code::TurnedAway, detail.message))
        }
        Err(error) if error.kind.says_nothing() => {
            tick.note_unloaded(&attempt, &error);
            Readied::Later(attempt, UNLOADED_MS, reason_of(&error))
        }
        Err(error) => Readied::No(refused(attempt, &error)),
    })
}

/// What becomes of an attempt whose files could not be put in place.
fn not_staged(attempt: AttemptRow, error: stage::StageError) -> Result<Readied, TickError> {
    Ok(match error {
        stage::StageError::Machine(text, error) => return Err(TickError::Io(text, error)),
        stage::StageError::Store(error) => return Err(error.into()),
        stage::StageError::Later(text) => Readied::Later(attempt, TURNED_AWAY_MS, Reason::new(Code::TurnedAway, text)),
        stage::StageError::PutAside(text) => {
            Readied::Later(attempt, delay_ms(NEXT_TICK_MS), Reason::new(Code::Staging, text))
        }
        stage::StageError::Task(text) => {
            Readied::No(Verdict::failed(attempt, Reason::new(Code::Staging, text), Sequel::Policy))
        }
    })
}

/// What an error of a plugin says about an attempt.
pub(in crate::tick) fn reason_of(error: &PluginError) -> Reason {
    Reason::new(error.kind.word_of_operator(), error.to_string())
}

/// An attempt that its operator turned down: what can never be done is not tried again.
pub(in crate::tick) fn refused(attempt: AttemptRow, error: &PluginError) -> Verdict {
    let sequel = if error.kind.is_for_good() { Sequel::Nothing } else { Sequel::Policy };
    Verdict::failed(attempt, reason_of(error), sequel)
}

/// When to try again what was turned away, in milliseconds from now.
pub(in crate::tick) fn turned_away_ms(hint: Option<u64>) -> i64 {
    hint.map_or(TURNED_AWAY_MS, |ms| delay_ms(ms).max(TURNED_AWAY_MIN_MS))
}

/// The task as this attempt runs it: with more time or memory where earlier attempts ran out of them, and with a word
/// on each staged file that can be executed, which an operator cannot see.
pub(in crate::tick) fn attempt_json(run: &Run, attempt: &AttemptRow, task: &Task) -> Result<String, TickError> {
    let adapts = attempt.number > 1 && (task.retry.on.timeout.is_some() || task.retry.on.oom.is_some());
    let executables = stage::executables(&run.dir.join(&attempt.directory), task);
    if !adapts && executables.is_empty() && !may_take_folders(&attempt.task_json) {
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
    // as it was planned it would run without the time or the memory that earlier attempts lacked
    Ok(serde_json::to_string(&task).unwrap_or_else(|error| panic!("bug: a task has no JSON: {error}")))
}

/// A task with its walltime and memory multiplied for every earlier attempt that ran out of them.
pub(in crate::tick) fn task_with_retries(task: &Task, earlier: &[Word]) -> Task {
    let mut task = task.clone();
    let count = |code: Code| earlier.iter().filter(|word| word.is(code)).count() as i32;
    if let Some(resources) = &mut task.resources {
        if let (Some(walltime), Some(rule)) = (&mut resources.walltime_s, &task.retry.on.timeout) {
            *walltime = (*walltime * rule.walltime_factor.powi(count(Code::Timeout))).min(WALLTIME_MAX_S);
        }
        if let (Some(memory), Some(rule)) = (&mut resources.memory_mb, &task.retry.on.oom) {
            *memory = (*memory as f64 * rule.memory_factor.powi(count(Code::Oom))).ceil() as u64;
        }
    }
    task
}
