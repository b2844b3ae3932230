//! What a person gives as a command where something outside is waited for.
use crate::ground::words::{positional, positional_with};
use crate::model::code::{Code, Word};

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
