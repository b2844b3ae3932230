//! What would help where something was refused: a value, which the command line renders.
use crate::model::id::TaskId;

/// What a person can do about a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Name the completed task that is to come back.
    NameTask,
    /// Make a new run: this one has gone further.
    NewRun,
    /// Make a new run: a task of an earlier iteration, which is over, stands in the way.
    NewRunPastEarlier,
    /// List the tasks.
    ListTasks,
    /// Ask what a task waits for.
    Explain(TaskId),
    /// Bring a task back, and what was skipped after it.
    Rerun(TaskId),
    /// Give a lost attempt up, or bring its task back.
    GiveUp(TaskId),
    /// Name a state that can be rerun.
    NameState,
    /// Name a state that tasks can be in.
    NameAnyState,
    /// Let attempts end, or stop them, before the configuration is changed.
    LetEnd,
}
