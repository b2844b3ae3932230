//! A program that decides freely: it writes decisions in place of trials, and the campaign carries them out.
use crate::answer::is_own_id;
use crate::file;
use crate::ledger::Ledger;
use crate::measure::RESULT;
use matterstack_sdk::decision::{Decision, Said};
use matterstack_sdk::{Error, Next, Summary, TaskResult, json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is remembered of a program that decides freely.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Free {
    /// What it remembers itself.
    pub(crate) state: Value,
    /// What became of its tasks.
    pub(crate) results: Ledger,
    /// When it wants to be asked again.
    pub(crate) wake_at_ms: Option<u64>,
    /// Its last summary.
    pub(crate) summary: Option<Value>,
}

/// What a decision comes to.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) tasks: Vec<Value>,
    /// How it ends or holds the run; nothing if it goes on.
    pub(crate) next: Option<Next>,
    pub(crate) cancel: Vec<String>,
    pub(crate) reason: Option<String>,
    pub(crate) skip_known: bool,
}

impl Free {
    /// Takes in a decision; fails with what is wrong with it.
    pub(crate) fn decide(&mut self, decision: Map<String, Value>) -> Result<Decided, String> {
        let Decision { state, said, reason, cancel, wake_at_ms, summary, skip_known } = Decision::read(decision)?;
        let (tasks, next) = match said {
            Said::Tasks(tasks) => (tasks, None),
            Said::Wait => (Vec::new(), None),
            Said::Complete(result) => (Vec::new(), Some(Next::Complete(result))),
            Said::Hold(detail) => (Vec::new(), Some(Next::Hold(detail))),
            Said::Fail(detail) => (Vec::new(), Some(Next::Fail(detail))),
        };
        if let Some(id) = tasks.iter().filter_map(|task| task.get("id")?.as_str()).find(|id| is_own_id(id)) {
            return Err(format!("the task `{id}` is called as those that the campaign makes"));
        }
        (self.state, self.wake_at_ms) = (state.unwrap_or_default(), wake_at_ms);
        self.summary = summary.or(self.summary.take());
        Ok(Decided { tasks, next, cancel, reason, skip_known })
    }

    /// Notes what became of a task.
    pub(crate) fn note(&mut self, result: &TaskResult) -> Result<(), Error> {
        let outputs: Vec<Value> = result
            .outputs
            .iter()
            .map(|file| json!({"path": file.path, "sha256": file.sha256, "size": file.size}))
            .collect();
        let mut record = json!({"task": result.task, "outcome": result.outcome, "outputs": outputs});
        let parts = [
            ("code", result.code.clone().map(Value::String)),
            ("reason", result.reason.clone().map(Value::String)),
            ("data", file::data(result)),
            ("result", result.output(RESULT).and_then(|file| file::document(file).ok())),
            ("supersedes", result.supersedes.map(|outcome| json!(outcome))),
        ];
        for (key, value) in parts {
            if let Some(value) = value {
                record[key] = value;
            }
        }
        self.results.push(&record)
    }
}

/// The program's own summary, as far as it is one.
pub(crate) fn summary(written: &Value) -> Summary {
    let text = written.as_str().or_else(|| written.get("text")?.as_str()).unwrap_or_default();
    let mut summary = Summary::new(text);
    let number = |key: &str| written.get(key).and_then(Value::as_f64);
    (summary.done, summary.total) = (number("done"), number("total"));
    let metrics = written.get("metrics").and_then(Value::as_object).into_iter().flatten();
    summary.metrics = metrics.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect();
    summary
}
