//! A person's answer to a question of a run: judged by the operator that asked, and put where that operator finds it.
//!
//! An operator that waits for a person leaves `instructions.md` and `schema.json` in the attempt directory and takes
//! `response.json` for the answer. Writing it needs no lease. Whoever links the file into place first has answered; it
//! is never replaced, so that two people who answer at once are both told the truth.
use crate::failure::Failure;
use crate::ground::files::{lock, new_file, put, put_readable, read_regular};
use crate::ground::machine;
use crate::ground::words::positional;
use crate::model::code::Code;
use crate::model::contract::{AttemptRequest, Status};
use crate::model::id::OperatorKey;
use crate::model::rules::answerers;
use crate::model::states::{AttemptState, RunState};
use crate::people::approval::refuse_other_people;
use crate::run::{Run, SIGNATURE, Signature, outside_command, signature_of_answer};
use crate::store::AttemptRow;
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The largest file of a question, in bytes.
const QUESTION_MAX: u64 = 16 * 1024 * 1024;

/// Something a run asks a person.
#[derive(Debug)]
pub struct Question {
    /// The run's id.
    pub run_id: String,
    /// The task's id.
    pub task: String,
    /// Markdown for the person.
    pub instructions: String,
    /// The JSON Schema of the answer.
    pub schema: Value,
    address: String,
    attempt: AttemptRow,
    directory: PathBuf,
    /// Whether it says whose answer counts.
    guarded: bool,
}

/// What the operator makes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It counts.
    Valid,
    /// It does not; with what is wrong.
    Invalid(String),
}

/// The question that a task puts to a person now.
///
/// # Errors
/// If the task is unknown, waits for nobody, or has been answered; then with who answered and when.
pub fn question(run: &Run, task: &str) -> Result<Question, Failure> {
    let (run_id, address) = (run.dir.id(), run.dir.address());
    let attempt = last_attempt(run, task)?.ok_or_else(|| {
        Failure::input(format!("task `{task}` asks nobody yet"))
            .hint(format!("`matterstack explain {address} {}` says what it waits for", positional(task)))
    })?;
    let directory = run.dir.join(&attempt.directory);
    if attempt.state.ended() {
        return Err(too_late(run, &attempt, directory.join("schema.json").exists())?);
    }
    refuse_other_waits(address, &attempt)?;
    let text = |name: &str| -> Result<Option<String>, Failure> {
        let bytes = read_regular(&directory.join(name), QUESTION_MAX)
            .map_err(|error| Failure::machine(format!("`{name}` of task `{task}` cannot be read"), error))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let Some(schema) = text("schema.json")? else {
        return Err(Failure::input(format!("task `{task}` asks no person"))
            .hint(format!("`matterstack explain {address} {}` says what it waits for", positional(task))));
    };
    let schema = serde_json::from_str(&schema)
        .map_err(|error| Failure::input(format!("`schema.json` of task `{task}` is not JSON")).because(error))?;
    let named = serde_json::from_str::<Value>(&attempt.task_json).ok();
    let by = answerers(named.as_ref().and_then(|task| task.get("input")));
    if let Some(by) = &by {
        refuse_other_people(by, task, &format!("respond {address} {}", positional(task)))?;
    }
    let question = Question {
        guarded: by.is_some(),
        run_id,
        address: address.to_owned(),
        task: task.to_owned(),
        instructions: text("instructions.md")?.unwrap_or_default(),
        schema,
        attempt,
        directory,
    };
    match question.answered() {
        Some(failure) => Err(failure),
        None => Ok(question),
    }
}

fn last_attempt(run: &Run, task: &str) -> Result<Option<AttemptRow>, Failure> {
    let Some(row) = run.store.task(task)? else {
        let hint = format!("`matterstack tasks {}` lists them", run.dir.address());
        return Err(Failure::input(format!("the run has no task `{task}`")).hint(hint));
    };
    Ok(run.store.attempts(row.key)?.pop())
}

/// Why an attempt that has ended takes no answer, and what asks again; `asked`: whether it was a question at all.
fn too_late(run: &Run, attempt: &AttemptRow, asked: bool) -> Result<Failure, Failure> {
    let (task, address) = (&attempt.task_id, run.dir.address());
    if !asked {
        let what = format!("task `{task}` asks no person: its operator is `{}`", attempt.operator);
        return Ok(Failure::input(what).hint(format!("`matterstack status {address}` lists who is waited for")));
    }
    let data = attempt.data.as_deref().and_then(|data| serde_json::from_str::<Value>(data).ok());
    let summary = data.as_ref().and_then(|data| data.get("summary")?.as_str()).map(str::to_owned);
    let failure = Failure::input(match summary {
        Some(summary) => format!("task `{task}` was {summary}"),
        None => format!("task `{task}` asks nobody any more: its attempt is {}", attempt.state),
    });
    Ok(match run.store.run()?.state {
        RunState::Completed => failure,
        RunState::Failed | RunState::Cancelled => {
            failure.hint(format!("the run has ended; `matterstack resume {address}` brings back what did not complete"))
        }
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling => {
            failure.hint(format!("`matterstack rerun {address} {}` asks again", positional(task)))
        }
    })
}

/// Refuses a live attempt that waits for something other than a person.
fn refuse_other_waits(run: &str, attempt: &AttemptRow) -> Result<(), Failure> {
    let task = &attempt.task_id;
    let live = matches!(attempt.state, AttemptState::Submitted | AttemptState::Running | AttemptState::WaitingExternal);
    let kind = attempt.waits_for.clone().unwrap_or(Code::Person.into());
    if live && kind.is(Code::Person) {
        return Ok(());
    }
    let what = if live { format!("waits for `{kind}`, not for a person") } else { "is only being started".to_owned() };
    let command = if live { outside_command(Some(&kind), run, task) } else { format!("matterstack step {run}") };
    Err(Failure::input(format!("task `{task}` {what}")).hint(format!("try `{command}`")))
}

impl Question {
    fn place(&self) -> PathBuf {
        self.directory.join("response.json")
    }

    /// Says that there is an answer already, and whose it is.
    fn answered(&self) -> Option<Failure> {
        self.place().symlink_metadata().ok()?;
        let signature = signature_of_answer(&self.directory, &machine::user_name_of).map(|(signature, _)| signature);
        let who = match signature {
            Some(by) if by.by_hand => format!("by hand, by {by}"),
            Some(by) => format!("by {by}"),
            None => "by hand, in `response.json`".to_owned(),
        };
        let task = &self.task;
        Some(Failure::input(format!("task `{task}` has been answered already, {who}")).hint(format!(
            "`matterstack step {}` takes that answer, or sets it aside if it is not valid",
            self.address
        )))
    }

    /// Lets the operator that asked judge an answer, in its sandbox and in a directory of its own: nothing happens to
    /// the attempt.
    ///
    /// # Errors
    /// If the operator cannot be called, or the machine fails.
    pub fn judge(&self, run: &Run, answer: &[u8]) -> Result<Judgement, Failure> {
        let trial = self.directory.join(format!(".response.trial-{}", crate::ground::random::new_attempt_id()));
        let made = fs::create_dir(&trial).and_then(|()| new_file(&trial.join("response.json"))?.write_all(answer));
        let judged = made
            .map_err(|error| Failure::machine(format!("`{}` cannot be written", self.directory.display()), error))
            .and_then(|()| self.ask(run, &trial));
        // It holds nothing but a copy of the answer and what the operator made of it.
        let _ = fs::remove_dir_all(&trial);
        judged
    }

    fn ask(&self, run: &Run, trial: &Path) -> Result<Judgement, Failure> {
        let request = AttemptRequest {
            directory: trial.to_owned(),
            note: None,
            cancelled: false,
            ..run.request(&self.attempt, self.attempt.task_json.clone())
        };
        let report = run.plugins.check_status(&OperatorKey(self.attempt.operator.clone()), &request)?;
        Ok(match report.status {
            Status::Succeeded | Status::Failed(_) => Judgement::Valid,
            Status::Waiting { detail, .. } => Judgement::Invalid(why_not(report.handle.as_deref()).unwrap_or(detail)),
            other => Judgement::Invalid(format!("the operator answered {other:?}")),
        })
    }

    /// Puts an answer in place, unless somebody was first.
    ///
    /// # Errors
    /// If there is an answer already, with who gave it and when, or if the directory cannot be written.
    pub fn give(&self, answer: &[u8], reason: Option<&str>, now_ms: i64) -> Result<Signature, Failure> {
        let failed = |error| Failure::machine(format!("`{}` cannot be written", self.place().display()), error);
        // Only one person at a time writes who answers; who writes `response.json` by hand may still be first.
        let _lock = lock(&self.directory.join("response.lock")).map_err(failed)?;
        if let Some(failure) = self.answered() {
            return Err(failure);
        }
        let signature = Signature::of(answer, reason, now_ms);
        put(&self.directory.join(SIGNATURE), signature.to_line().as_bytes(), true).map_err(failed)?;
        // whose answer counts must not be one that others may write to
        let put_answer = if self.guarded { put_readable } else { put };
        match put_answer(&self.place(), answer, false) {
            Ok(()) => Ok(signature),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(self.answered().unwrap_or_else(|| failed(error)))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// What is wrong with an answer, as an operator that judges answers keeps it in its handle:
/// `{"set_aside": {"why": …}}`.
fn why_not(handle: Option<&str>) -> Option<String> {
    let handle: Value = serde_json::from_str(handle?).ok()?;
    handle.pointer("/set_aside/why")?.as_str().map(str::to_owned)
}
