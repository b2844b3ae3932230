//! One trial: a point, and what became of it.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrialState {
    /// It has not ended.
    Pending,
    /// It has a result.
    Completed,
    /// It has none: `code` tells the machine's failures from the point's.
    Failed,
    /// The measurement says that the point cannot be had.
    Infeasible,
    /// It is no longer wanted, or a person cancelled it.
    Abandoned,
}

/// Who chose a point, or told its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The scientist's program asked for it, and a task measured it.
    Ask,
    /// A person chose the point and told its result.
    Person,
    /// A table told its result.
    Table,
    /// An earlier run had it.
    Run,
}

/// A trial, as `ask.json` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// Its id, and that of its task.
    pub(crate) trial: String,
    /// The point.
    pub(crate) params: Map<String, Value>,
    /// Where it is.
    pub(crate) state: TrialState,
    /// The values, once there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Map<String, Value>>,
    /// What there is of a result that is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partial: Option<Map<String, Value>>,
    /// Why it failed, for a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Why it failed, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Who chose it, or told its result.
    pub(crate) source: Source,
    /// The name of what measures it, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tell: Option<String>,
    /// What the result says that it has cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<Value>,
    /// What it had been before it was corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) supersedes: Option<Value>,
}

impl Trial {
    /// A trial that has not ended.
    pub(crate) fn pending(trial: String, params: Map<String, Value>, tell: Option<String>) -> Self {
        let state = TrialState::Pending;
        let (result, partial, code, message, cost, supersedes) = (None, None, None, None, None, None);
        Self { trial, params, state, result, partial, code, message, source: Source::Ask, tell, cost, supersedes }
    }

    /// Whether it was planned, rather than told.
    pub(crate) fn is_planned(&self) -> bool {
        !["start-", "told-"].iter().any(|word| self.trial.starts_with(word))
    }

    /// What it was, for the one that takes its place.
    pub(crate) fn before(&self) -> Value {
        serde_json::json!({"state": self.state, "result": self.result, "source": self.source})
    }
}
