//! What a person gives as a command where something outside is waited for.
use crate::ground::words::positional;
use crate::model::code::{Code, Word};

/// The command that helps an attempt that waits for something outside.
pub fn outside_command(kind: Option<&Word>, run: &str, task: &str) -> String {
    let task = positional(task);
    match kind.and_then(Word::own) {
        Some(Code::Person) => format!("matterstack respond {run} {task}"),
        Some(Code::Approval) => format!("matterstack respond {run} {task} --approve"),
        Some(Code::Kit) => format!("matterstack kit export {run} {task}"),
        Some(Code::Scheduler) => format!("matterstack cancel {run} {task}"),
        _ => format!("matterstack attempts {run} {task}"),
    }
}
