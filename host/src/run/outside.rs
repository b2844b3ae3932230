//! What a person gives as a command where something outside is waited for.
use crate::ground::words::{positional, positional_with, quoted};
use crate::model::code::{Code, Word};
use crate::model::config::RunConfig;

/// The command that takes the workspace's present copy of a pinned file into the run.
pub fn taking_command(config: &RunConfig, run: &str, path: &str) -> String {
    let Some((place, script)) = config.script_with(path) else {
        return format!("matterstack amend {run} file {}", positional(path));
    };
    let operator = place.strip_prefix("operators.").map(|key| format!(" --operator {}", quoted(key)));
    format!("matterstack amend {run} plugin {}{}", positional(&script.name), operator.unwrap_or_default())
}

/// The command that helps an attempt that waits for something outside.
pub fn outside_command(kind: Option<&Word>, run: &str, id: &str) -> String {
    let task = positional(id);
    match kind.and_then(Word::own) {
        Some(Code::Person) => format!("matterstack respond {run} {task}"),
        Some(Code::Approval) => format!("matterstack respond {run} {}", positional_with(id, "--approve")),
        Some(Code::Kit) => format!("matterstack kit export {run} {task}"),
        Some(Code::Scheduler) => format!("matterstack cancel {run} {task}"),
        _ => format!("matterstack attempts {run} {task}"),
    }
}
