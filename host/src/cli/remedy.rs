//! Remedies as a person reads them.
use crate::ground::words::{positional, positional_with};
use crate::model::remedy::Remedy;
use crate::model::selection::Standing;

/// The sentence for what would help; `run` is what leads a command to the run.
pub(super) fn rendered(remedy: &Remedy, run: &str) -> String {
    match remedy {
        Remedy::NameTask => format!("`matterstack rerun {run} TASK` brings a completed task back"),
        Remedy::NewRun => "make a new run with `matterstack init WORKSPACE`".to_owned(),
        Remedy::NewRunPastEarlier => "that task is of an earlier iteration, which is over: make a new run with \
             `matterstack init WORKSPACE`"
            .to_owned(),
        Remedy::ListTasks => format!("`matterstack tasks {run}` lists them"),
        Remedy::Explain(task) => {
            format!("`matterstack explain {run} {}` says what it waits for", positional(task.as_str()))
        }
        Remedy::Rerun(task) => {
            let task = positional(task.as_str());
            format!("`matterstack rerun {run} {task}` brings it back, and what was skipped after it")
        }
        Remedy::GiveUp(task) => {
            format!("`matterstack settle {run} {}`, or `rerun`", positional_with(task.as_str(), "--failed"))
        }
        Remedy::NameState => "use failed, lost, cancelled, skipped, completed or stale".to_owned(),
        Remedy::NameAnyState => format!("use {}", Standing::words()),
        Remedy::LetEnd => format!(
            "let them end, or stop them with `matterstack cancel {run} TASK` and `matterstack step {run}`, then amend"
        ),
    }
}
