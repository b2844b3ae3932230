//! What a tick would submit, for `step --dry-run`. Changes nothing.
use super::verdict::stored_task;
use super::{Run, TickError, start};
use crate::explain::quoted;
use crate::model::states::RunState;
use crate::model::workflow::{CommandLine, FileSource, Task};
use serde::Serialize;

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
    /// The job as a shell script, for a person to read.
    pub script: String,
}

/// The tasks that a tick would start first, in its order; what they make ready is not foreseen.
///
/// # Errors
/// If the store cannot be read.
pub fn would_start(run: &Run, now_ms: i64) -> Result<Vec<Preview>, TickError> {
    if run.store.run()?.state != RunState::Active {
        return Ok(Vec::new());
    }
    let chosen = start::choose(run, now_ms, u64::MAX)?;
    chosen
        .into_iter()
        .map(|chosen| {
            let task = stored_task(&run.store.task_json(chosen.key)?)?;
            let operator = run.config.operators.get(&chosen.operator);
            let backends = operator.map(|operator| operator.grants.compute.clone()).unwrap_or_default();
            let script = script(&task);
            Ok(Preview { task: chosen.id, operator: chosen.operator, backends, spec: task, script })
        })
        .collect()
}

/// The job as a shell script: what is staged, the environment, and the command.
fn script(task: &Task) -> String {
    let mut lines = vec!["#!/bin/sh".to_owned()];
    for (destination, source) in &task.files {
        let origin = match source {
            FileSource::Path(path) => format!("from {}", path.path),
            FileSource::Content(content) => format!("{} bytes of text", content.content.len()),
            FileSource::From(from) => format!("from output {} of task {}", from.output, from.from),
        };
        lines.push(format!("# file {destination}: {origin}").replace('\n', " "));
    }
    if let Some(resources) = &task.resources {
        lines.push(format!("# resources {}", serde_json::to_string(resources).unwrap_or_default()));
    }
    lines.extend(task.env.iter().map(|(name, value)| format!("export {name}={}", quoted(value))));
    match &task.command {
        Some(CommandLine::Arguments(arguments)) => {
            let words: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
            lines.push(format!("exec {}", words.join(" ")));
        }
        Some(CommandLine::Shell(line)) => lines.push(line.clone()),
        None => lines.push("# no command".to_owned()),
    }
    lines.join("\n") + "\n"
}
