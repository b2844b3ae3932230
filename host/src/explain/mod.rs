//! Says why tasks do not move, and which command would help. Reads the store and changes nothing.
mod run;

use crate::backend::StoppedSupervisor;
use crate::ground::words::{positional, positional_with, quoted};
use crate::model::code::{Code, Word};
use crate::model::config::RunConfig;
use crate::model::states::{AttemptState, RunState, TaskState};
use crate::model::time::Time;
use crate::run::{Run, outside_command};
use crate::store::{AttemptRow, Chosen, RunRow, Standing, Store, StoreError, TaskRow};
use crate::tick::{Answer, Capacity, TickError, UsedUp, explain_reuse, room, used_up};
use serde::Serialize;

/// Dependencies that a sentence names.
const NAMED: usize = 3;

/// Why a task, or the whole run, does not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The task; absent: the run as a whole.
    pub task: Option<String>,
    /// A word from the documented list, or what a plugin says.
    pub code: Word,
    /// One sentence for a person.
    pub sentence: String,
    /// The command that would help, if there is one.
    pub command: Option<String>,
}

/// A word, a sentence, and the command that would help.
type Told = (Word, String, Option<String>);

/// The store and configuration an explanation is drawn from.
struct Seen<'a> {
    store: &'a Store,
    config: &'a RunConfig,
    /// What leads a command to the run.
    address: &'a str,
    /// Supervisors of the run that somebody stopped.
    stopped: &'a [StoppedSupervisor],
    at_work: bool,
    row: RunRow,
}

/// What is to be explained beside what the store tells.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// What leads a command to the run.
    pub address: &'a str,
    /// Supervisors of its backends that somebody stopped.
    pub stopped: &'a [StoppedSupervisor],
    /// Pinned files of which the workspace has another copy now.
    pub changed: &'a [String],
    /// Whether a process advances the run, so that a submit without a word of doubt is merely under way.
    pub at_work: bool,
}

/// Explains the run and the tasks of it that do not move: hands over at most `most` explanations and returns how many
/// more there are.
///
/// # Errors
/// What `each` answers, or that the store cannot be read.
pub fn explain_run<E: From<StoreError>>(
    store: &Store,
    config: &RunConfig,
    Beside { address, stopped, changed, at_work }: Beside<'_>,
    most: u64,
    mut each: impl FnMut(Explanation) -> Result<(), E>,
) -> Result<u64, E> {
    let seen = Seen { store, config, address, stopped, at_work, row: store.run()? };
    let (mut told, mut more) = (0, 0);
    let mut tell = |one: Explanation| -> Result<u64, E> {
        if told < most {
            each(one)?;
            told += 1;
        } else {
            more += 1;
        }
        Ok(most - told)
    };
    if let Some(one) = seen.run()? {
        tell(one)?;
    }
    if let Some(one) = run::of_changed(changed, address, config) {
        tell(one)?;
    }
    for supervisor in stopped {
        let (code, sentence, command) = of_stopped(supervisor);
        tell(Explanation { task: None, code, sentence, command })?;
    }
    // of running tasks most move, so each is looked at; of the others none does, and those that are not told are
    // counted
    let mut left = most;
    for task in store.standing_tasks(Standing::Running, u64::MAX) {
        let explained = seen.task(&task?)?;
        if !explained.code.is(Code::Running) {
            left = tell(explained)?;
        }
    }
    let counts = store.task_counts()?;
    let mut rest = counts.pending + counts.failed + counts.cancelled + counts.skipped;
    for standing in [Standing::Ready, Standing::Blocked, Standing::Failed, Standing::Cancelled, Standing::Skipped] {
        for task in store.standing_tasks(standing, left) {
            left = tell(seen.task(&task?)?)?;
            rest = rest.saturating_sub(1);
        }
    }
    Ok(more + rest)
}

/// Explains the chosen tasks that do not move, and one that is named by its id whatever it does: hands over at most
/// `most` explanations and returns how many more there are.
///
/// # Errors
/// What `each` answers, or that the store cannot be read.
pub fn explain_chosen<E: From<StoreError>>(
    store: &Store,
    config: &RunConfig,
    Beside { address, stopped, at_work, .. }: Beside<'_>,
    chosen: &mut Chosen<'_>,
    most: u64,
    mut each: impl FnMut(Explanation) -> Result<(), E>,
) -> Result<u64, E> {
    let seen = Seen { store, config, address, stopped, at_work, row: store.run()? };
    let (mut told, mut more) = (0, 0);
    let named = chosen.is_one();
    while let Some(portion) = store.next_chosen(chosen)? {
        for task in portion {
            let one = seen.task(&task)?;
            if !named && (one.code.is(Code::Running) || one.code.is(Code::Completed)) {
                continue;
            }
            if told < most {
                each(one)?;
                told += 1;
            } else {
                more += 1;
            }
        }
    }
    Ok(more)
}

/// Explains one task, whatever it does; nothing if there is no such task.
///
/// # Errors
/// If the store cannot be read.
pub fn explain_task(
    store: &Store,
    config: &RunConfig,
    Beside { address, stopped, at_work, .. }: Beside<'_>,
    id: &str,
) -> Result<Option<Explanation>, StoreError> {
    let seen = Seen { store, config, address, stopped, at_work, row: store.run()? };
    store.task(id)?.map(|task| seen.task(&task)).transpose()
}

/// Explains why a task takes, or does not take, what an earlier attempt of another run left; nothing if there is no
/// such task.
///
/// # Errors
/// If the store cannot be read, or the machine fails.
pub fn explain_task_reuse(run: &Run, id: &str) -> Result<Option<Explanation>, TickError> {
    let Some(Answer { code, sentence }) = explain_reuse(run, id)? else { return Ok(None) };
    let run = run.dir.address();
    let command = match code {
        Code::Reused => Some(format!("matterstack rerun {run} {}", positional(id))),
        _ => None,
    };
    Ok(Some(Explanation { task: Some(id.to_owned()), code: code.into(), sentence, command }))
}

/// The word for a task that could start if the run stood otherwise; nothing if it starts.
fn where_not_started(row: &RunRow) -> Option<Code> {
    match row.state {
        RunState::Active => None,
        RunState::Held if !row.also_paused => None,
        RunState::Paused | RunState::Held => Some(Code::RunPaused),
        RunState::Cancelling => Some(Code::RunCancelling),
        RunState::Completed => Some(Code::RunCompleted),
        RunState::Failed => Some(Code::RunFailed),
        RunState::Cancelled => Some(Code::RunCancelled),
    }
}

/// Why nothing of a backend goes on whose supervisor was stopped, and what helps.
fn of_stopped(supervisor: &StoppedSupervisor) -> Told {
    let StoppedSupervisor { backend, pid } = supervisor;
    let sentence = format!(
        "the supervisor of backend `{backend}` (process {pid}) was stopped: no job of it starts, and none is seen to end"
    );
    (Code::SupervisorStopped.into(), sentence, Some(format!("kill -CONT {pid}")))
}

/// Whether the last of a task's attempts ran, and nobody saw how it ended.
fn ran_unseen(attempts: &[AttemptRow]) -> bool {
    attempts.last().and_then(|last| last.reason_code.as_ref()).is_some_and(|word| word.is(Code::EndUnseen))
}

impl Seen<'_> {
    fn command(&self, rest: &str) -> Option<String> {
        let (verb, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(format!("matterstack {verb} {} {arguments}", self.address).trim_end().to_owned())
    }

    /// Doubles the limit that was reached, and then does what goes on from there.
    fn raise(&self, word: &Word, then: &str) -> Option<String> {
        let limit = word.limit()?;
        self.amend(&format!("{limit}={}", self.config.limits.get(limit).saturating_mul(2)), then)
    }

    /// Changes a setting, and then does what goes on from there.
    fn amend(&self, set: &str, then: &str) -> Option<String> {
        Some(format!("{} && {}", self.command(&format!("amend config {}", quoted(set)))?, self.command(then)?))
    }

    /// The only backend that an operator may use.
    fn backend_of(&self, operator: &str) -> Option<&str> {
        match self.config.operators.get(operator)?.grants.compute.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// What helps where a plugin or its configuration, and not the task, is at fault.
    fn mend_operator(&self, operator: &str, word: &Word, then: &str) -> Option<String> {
        match word.own()? {
            Code::PluginDeadline | Code::PluginMemory | Code::PluginLimit | Code::PluginCompile | Code::OutputQuota => {
                self.raise(word, then)
            }
            Code::PluginNotGranted => {
                let backend = self.config.backends.keys().next().map_or("BACKEND", String::as_str);
                self.amend(&format!("operators.{operator}.grants.compute=[\"{backend}\"]"), then)
            }
            // The cluster wants other options than the backend gives, or a plugin another configuration.
            Code::Refused => self.amend(&format!("backends.{}.KEY=VALUE", self.backend_of(operator)?), then),
            Code::ClusterSilent => {
                let (backend, workspace) = (quoted(self.backend_of(operator)?), quoted(&self.row.workspace));
                Some(format!("matterstack backend check {backend} --workspace {workspace}"))
            }
            Code::Config => self.amend(&format!("operators.{operator}.config=VALUE"), then),
            code if code.is_of_plugin() => self.command(&format!("amend plugin FILE --operator {operator}")),
            _ => None,
        }
    }

    /// What helps a lost task: of one that ran, a person first looks for what it left.
    fn lost_task(&self, id: &str, attempts: &[AttemptRow]) -> Option<String> {
        self.command(&match ran_unseen(attempts) {
            true => format!("settle {}", positional_with(id, "--completed")),
            false => format!("rerun {}", positional(id)),
        })
    }

    fn task(&self, task: &TaskRow) -> Result<Explanation, StoreError> {
        let (code, sentence, command): Told = match task.state {
            TaskState::Pending if task.blocked > 0 => self.blocked(task)?,
            TaskState::Pending => self.ready(task)?,
            TaskState::Running => self.running(task)?,
            TaskState::Completed if task.stale => {
                let text = "it completed, and what it computed with has been changed since";
                (
                    Code::Stale.into(),
                    text.to_owned(),
                    self.command(&format!("rerun {}", positional_with(&task.id, "--recursive"))),
                )
            }
            TaskState::Completed => (Code::Completed.into(), "the task completed".to_owned(), None),
            TaskState::Failed => self.ended(task, Code::Failed),
            TaskState::Cancelled => self.ended(task, Code::Cancelled),
            TaskState::Skipped => self.ended(task, Code::Skipped),
        };
        Ok(Explanation { task: Some(task.id.clone()), code, sentence, command })
    }

    /// Why a task did not complete; `otherwise` is the word for it where no other is known.
    fn ended(&self, task: &TaskRow, otherwise: Code) -> Told {
        let id = positional(&task.id);
        let code = task.reason_code.clone().unwrap_or(otherwise.into());
        let sentence = task.reason.clone().unwrap_or_else(|| format!("the task is {}", task.state));
        let comes_back = matches!(self.row.state, RunState::Failed | RunState::Cancelled);
        let again = if self.can_rerun(task) { format!("rerun {id}") } else { "resume".to_owned() };
        let goes_on = comes_back || self.can_rerun(task);
        let mended = goes_on.then(|| self.mend_operator(&task.operator, &code, &again)).flatten();
        let failed = task.state == TaskState::Failed;
        let command = if failed && mended.is_some() {
            mended
        } else if failed && task.attempts > 0 && !code.is(Code::Rejected) && !code.is(Code::Secret) {
            self.command(&format!("logs {id}"))
        } else if !self.is_in_reach(task) {
            None
        } else {
            match self.row.state {
                RunState::Cancelling => None,
                // by itself it would be skipped again
                RunState::Completed if task.state == TaskState::Skipped => None,
                RunState::Failed | RunState::Cancelled => self.command("resume"),
                RunState::Active | RunState::Paused | RunState::Held | RunState::Completed => {
                    self.command(&format!("rerun {id}"))
                }
            }
        };
        (code, sentence, command)
    }

    fn takes_back(&self) -> bool {
        self.config.campaign.can_take_back()
    }

    /// Whether the campaign can hear of the task anew.
    fn is_in_reach(&self, task: &TaskRow) -> bool {
        match (self.takes_back(), self.config.campaign.takes_each_result()) {
            (true, _) => true,
            (false, true) => !task.delivered,
            (false, false) => task.iteration == self.row.iteration,
        }
    }

    fn can_rerun(&self, task: &TaskRow) -> bool {
        !self.row.state.ended() && self.is_in_reach(task)
    }

    fn blocked(&self, task: &TaskRow) -> Result<Told, StoreError> {
        let unmet = self.store.unmet_dependencies(task.key)?;
        let open: Vec<&str> = unmet.iter().filter(|(_, state)| !state.ended()).map(|(id, _)| id.as_str()).collect();
        let mut named: Vec<String> = open.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
        if open.len() > NAMED {
            named.push(format!("{} more", open.len() - NAMED));
        }
        let command = open.first().and_then(|id| self.command(&format!("explain {}", positional(id))));
        Ok((Code::Dependency.into(), format!("waits for {}", named.join(", ")), command))
    }

    fn ready(&self, task: &TaskRow) -> Result<Told, StoreError> {
        let told = |code: Code, text: String, command| Ok((code.into(), text, command));
        if let Some(code) = where_not_started(&self.row) {
            let command = self.command(if code == Code::RunPaused { "resume" } else { "explain" });
            let state = if code == Code::RunPaused { RunState::Paused } else { self.row.state };
            return told(code, format!("ready, and the run is {state}"), command);
        }
        let operator_max = self.config.operators.get(&task.operator).and_then(|operator| operator.max_active);
        let capacity = Capacity {
            run_live: self.store.live_count(None)?,
            run_max: self.config.limits.max_active,
            operator_live: self.store.live_count(Some(&task.operator))?,
            operator_max,
        };
        if let Some(told) = self.used_up(&task.operator)? {
            return Ok(told);
        }
        if room(capacity) > 0 {
            return told(Code::Ready, "ready; the next tick starts it".to_owned(), self.command("step"));
        }
        let (name, live, max) = match operator_max {
            Some(max) if capacity.operator_live >= max => {
                (format!("operators.{}.max_active", task.operator), capacity.operator_live, max)
            }
            _ => ("limits.max_active".to_owned(), capacity.run_live, capacity.run_max),
        };
        let command = self.command(&format!("amend config {name}={}", max * 2));
        told(Code::Capacity, format!("ready, and {live} attempts are live where {name} allows {max}"), command)
    }

    /// Why the budget of an operator lets nothing start, if so, and what helps.
    fn used_up(&self, key: &str) -> Result<Option<Told>, StoreError> {
        let Some(settings) = self.config.operators.get(key) else { return Ok(None) };
        let told = used_up(self.store, key, settings)?.map(|UsedUp { bound, sentence, enough }| {
            let command = self.command(&format!("amend config operators.{key}.budget.{bound}={enough}"));
            (Code::Budget.into(), format!("ready, and {sentence}"), command)
        });
        Ok(told)
    }

    fn running(&self, task: &TaskRow) -> Result<Told, StoreError> {
        let attempts = self.store.attempts(task.key)?;
        let id = positional(&task.id);
        if let Some(live) = attempts.iter().find(|attempt| !attempt.state.ended()) {
            return Ok(self.live(live, &id));
        }
        let reason = task.reason.clone().unwrap_or_default();
        let is = |code: Code| task.reason_code.as_ref().is_some_and(|word| word.is(code));
        if is(Code::Approval) {
            let command = self.command(&format!("respond {}", positional_with(&task.id, "--approve")));
            return Ok((Code::Approval.into(), reason, command));
        }
        if is(Code::Budget) || is(Code::Ready) {
            return self.ready(task);
        }
        if let Some(at) = task.retry_at_ms {
            return Ok((Code::Retry.into(), format!("retry-at {}: {reason}", Time(at)), self.command("step")));
        }
        Ok((Code::Lost.into(), reason, self.lost_task(&task.id, &attempts)))
    }

    /// The supervisor that carries out the attempts of an operator, if it was stopped.
    fn stopped_of(&self, operator: &str) -> Option<&StoppedSupervisor> {
        let granted = &self.config.operators.get(operator)?.grants.compute;
        self.stopped.iter().find(|supervisor| granted.contains(&supervisor.backend))
    }

    /// What keeps an attempt from being submitted, if that is the run.
    fn not_submitted(&self) -> Option<Told> {
        let told = |code: Code, text: &str, command| Some((code.into(), text.to_owned(), self.command(command)));
        match self.row.state {
            RunState::Held if !self.row.also_paused => None,
            RunState::Paused | RunState::Held => {
                told(Code::RunPaused, "not submitted yet, and the run is paused", "resume")
            }
            RunState::Active | RunState::Cancelling | RunState::Completed | RunState::Failed | RunState::Cancelled => {
                None
            }
        }
    }

    fn live(&self, attempt: &AttemptRow, id: &str) -> Told {
        let handed_in = matches!(attempt.state, AttemptState::Submitted | AttemptState::Running);
        if let Some(supervisor) = self.stopped_of(&attempt.operator).filter(|_| handed_in) {
            return of_stopped(supervisor);
        }
        let reason = |otherwise: &str| attempt.reason.clone().unwrap_or_else(|| otherwise.to_owned());
        let code = |otherwise: Code| attempt.reason_code.clone().unwrap_or(otherwise.into());
        let is = |code: Code| attempt.reason_code.as_ref().is_some_and(|word| word.is(code));
        let mend = attempt.reason_code.as_ref().and_then(|word| self.mend_operator(&attempt.operator, word, "step"));
        if matches!(attempt.state, AttemptState::Created | AttemptState::Prepared)
            && let Some(waits) = self.not_submitted()
        {
            return waits;
        }
        match attempt.state {
            AttemptState::Created | AttemptState::Prepared | AttemptState::Submitted | AttemptState::Running
                if mend.is_some() =>
            {
                (code(Code::Starting), reason(""), mend)
            }
            AttemptState::Prepared if is(Code::Environment) => {
                (code(Code::Environment), reason(""), self.command("amend environment"))
            }
            AttemptState::Created | AttemptState::Prepared => {
                (code(Code::Starting), reason("being started"), self.command("step"))
            }
            AttemptState::Submitting if self.at_work && attempt.reason_code.is_none() => {
                (Code::Starting.into(), "being submitted".to_owned(), None)
            }
            AttemptState::Submitting => {
                let text = reason("it is not known yet whether the submit took effect; the next tick asks again");
                (Code::UnknownSubmit.into(), text, mend.or_else(|| self.command("step")))
            }
            AttemptState::Submitted | AttemptState::Running if is(Code::CancelFailed) => {
                (Code::CancelFailed.into(), reason(""), self.command("step"))
            }
            AttemptState::Submitted => (code(Code::Queued), reason("accepted, and not started yet"), None),
            AttemptState::WaitingExternal => {
                let kind = attempt.waits_for.clone().unwrap_or(Code::Waiting.into());
                let command = outside_command(Some(&kind), self.address, &attempt.task_id);
                (kind, reason("waits for something outside"), Some(command))
            }
            AttemptState::Running if attempt.reason_code.is_some() && !is(Code::Progress) => {
                (code(Code::Running), reason("running"), None)
            }
            AttemptState::Running
            | AttemptState::Completed
            | AttemptState::Failed
            | AttemptState::Cancelled
            | AttemptState::Lost => (
                Code::Running.into(),
                format!("attempt {} runs", attempt.number),
                self.command(&format!("logs -f {id}")),
            ),
        }
    }
}
