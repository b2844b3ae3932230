//! What a tick would submit, for `step --dry-run`. Changes nothing.
use super::attempts::start;
use super::attempts::start::task_with_retries;
use super::attempts::verdict::stored_task;
use super::{Run, TickError};
use crate::ground::words::visibly_quoted;
use crate::model::config::{COMPUTE, OperatorConfig};
use crate::model::states::RunState;
use crate::model::workflow::{CommandLine, FileSource, Task};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// What a tick would submit for one task.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// The task.
    pub task: String,
    /// The operator key.
    pub operator: String,
    /// The backends the operator may use.
    pub backends: Vec<String>,
    /// The task in full.
    pub spec: Task,
    /// What else a person would want to know: the files it gets, and what it needs.
    pub notes: Vec<String>,
    /// The job script that would be submitted; where the backend writes none, the job as a shell script.
    pub script: String,
}

/// Stands in a script for the attempt's id, which it does not have yet.
const ATTEMPT: &str = "ATTEMPT";

/// The tasks that a tick would start first, in its order; what they make ready is not foreseen.
///
/// # Errors
/// If the store cannot be read.
pub fn would_start(run: &Run, now_ms: i64) -> Result<Vec<Preview>, TickError> {
    if run.store.run()?.state != RunState::Active {
        return Ok(Vec::new());
    }
    let chosen = start::choose(run, now_ms, u64::MAX, &BTreeSet::new())?;
    chosen
        .into_iter()
        .map(|chosen| {
            let task = stored_task(&run.store.task_json(chosen.key)?)?;
            let earlier = run.store.attempts(chosen.key)?.into_iter().filter_map(|attempt| attempt.reason_code);
            let task = task_with_retries(&task, &earlier.collect::<Vec<_>>());
            let operator = run.config.operators.get(&chosen.operator);
            let backends = operator.map(|operator| operator.grants.compute.clone()).unwrap_or_default();
            let script = operator
                .and_then(|operator| job_script(run, operator, &task))
                .unwrap_or_else(|| script(operator, &task));
            let notes = notes(&task);
            Ok(Preview { task: chosen.id, operator: chosen.operator, backends, spec: task, notes, script })
        })
        .collect()
}

/// The job script of a task that `builtin:compute` hands to a backend which writes one. What other operators would
/// submit only they know, and asking them to would be to do it.
fn job_script(run: &Run, operator: &OperatorConfig, task: &Task) -> Option<String> {
    if operator.plugin != COMPUTE {
        return None;
    }
    let backend = match operator.config.get("backend").and_then(Value::as_str) {
        Some(name) => name,
        None => operator.grants.compute.first().filter(|_| operator.grants.compute.len() == 1)?,
    };
    let mut job = serde_json::to_value(task).ok()?;
    if let (Some(job), Some(launcher)) = (job.as_object_mut(), operator.config.get("launcher")) {
        job.insert("launcher".to_owned(), launcher.clone());
    }
    let script = run.backends.preview(backend, ATTEMPT, &job.to_string())?;
    Some(script.unwrap_or_else(|error| format!("# cannot be submitted: {}\n", error.to_string().replace('\n', " "))))
}

/// What is staged and what is needed, a line each.
fn notes(task: &Task) -> Vec<String> {
    let mut notes = Vec::new();
    for (destination, source) in &task.files {
        let origin = match source {
            FileSource::Path(path) => format!("from {}", path.path),
            FileSource::Content(content) => format!("{} bytes of text", content.content.len()),
            FileSource::From(from) => format!("from output {} of task {}", from.output, from.from),
            FileSource::Digest(given) if !given.parts.is_empty() => {
                format!("of {} parts, with the digest {}", given.parts.len(), given.digest)
            }
            FileSource::Digest(given) => format!("with the digest {}", given.digest),
            FileSource::Other(other) => {
                format!("from output {} of task {} of run {}", other.output, other.from, other.run)
            }
        };
        notes.push(format!("file {destination}: {origin}").replace('\n', " "));
    }
    if let Some(resources) = &task.resources {
        notes.push(format!("resources {}", serde_json::to_string(resources).unwrap_or_default()));
    }
    notes
}

/// The job as a shell script: the environment, and the command behind its operator's launcher.
fn script(operator: Option<&OperatorConfig>, task: &Task) -> String {
    let words = |words: &[String]| words.iter().map(|word| visibly_quoted(word)).collect::<Vec<_>>().join(" ");
    let compute = operator.filter(|operator| operator.plugin == COMPUTE);
    let launcher = compute.and_then(|operator| serde_json::from_value(operator.config.get("launcher")?.clone()).ok());
    let launcher = launcher.map(|launcher: CommandLine| match launcher {
        CommandLine::Argv(arguments) => words(&arguments) + " ",
        CommandLine::Shell(text) => text + " ",
    });
    let mut lines = vec!["#!/bin/sh".to_owned()];
    lines.extend(task.env.iter().map(|(name, value)| value.shown(name, visibly_quoted)));
    lines.push(match (&task.command, launcher) {
        (Some(CommandLine::Argv(arguments)), launcher) => {
            format!("exec {}{}", launcher.unwrap_or_default(), words(arguments))
        }
        (Some(CommandLine::Shell(line)), Some(launcher)) => {
            format!("exec {launcher}/bin/sh -c {}", visibly_quoted(line))
        }
        (Some(CommandLine::Shell(line)), None) => line.clone(),
        (None, _) => "# no command".to_owned(),
    });
    lines.join("\n") + "\n"
}
