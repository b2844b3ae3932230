//! A program that decides freely: it writes decisions in place of trials, and the campaign carries them out.
use crate::answer::is_own_id;
use crate::file;
use crate::ledger::Ledger;
use crate::measure::RESULT;
use matterstack_sdk::{Detail, Error, Next, Summary, TaskResult, json};
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

/// A decision, under the schema `decision`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    state: Value,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    tasks: Option<Vec<Value>>,
    #[serde(default)]
    complete: Option<Value>,
    #[serde(default, rename = "wait")]
    _wait: Value,
    #[serde(default)]
    hold: Option<Value>,
    #[serde(default)]
    fail: Option<Value>,
    #[serde(default)]
    cancel: Vec<String>,
    #[serde(default)]
    wake_at_ms: Option<u64>,
    #[serde(default)]
    summary: Option<Value>,
    #[serde(default)]
    known: Option<String>,
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
        let (has_complete, waits) = (decision.contains_key("complete"), decision.contains_key("wait"));
        let written: Written = serde_json::from_value(Value::Object(decision)).map_err(|error| error.to_string())?;
        let said = [written.tasks.is_some(), has_complete, waits, written.hold.is_some(), written.fail.is_some()];
        match said.iter().filter(|said| **said).count() {
            1 => {}
            0 => return Err("it says none of `tasks`, `complete`, `wait`, `hold` and `fail`".to_owned()),
            _ => return Err("it says more than one of `tasks`, `complete`, `wait`, `hold` and `fail`".to_owned()),
        }
        let skip_known = match written.known.as_deref() {
            None => false,
            Some("skip") => true,
            Some(other) => return Err(format!("`known` is `{other}`; it can be `skip`")),
        };
        let tasks = written.tasks.unwrap_or_default();
        if let Some(id) = tasks.iter().filter_map(|task| task.get("id")?.as_str()).find(|id| is_own_id(id)) {
            return Err(format!("the task `{id}` is called as those that the campaign makes"));
        }
        let next = match (written.hold, written.fail) {
            (Some(hold), _) => Some(Next::Hold(detail(hold, "program")?)),
            (_, Some(fail)) => Some(Next::Fail(detail(fail, "program")?)),
            _ => has_complete.then(|| Next::Complete(written.complete.unwrap_or_default())),
        };
        (self.state, self.wake_at_ms) = (written.state, written.wake_at_ms);
        self.summary = written.summary.or(self.summary.take());
        Ok(Decided { tasks, next, cancel: written.cancel, reason: written.reason, skip_known })
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

/// A hold or a failure: a sentence, or `{code, message, data?}`.
fn detail(written: Value, code: &str) -> Result<Detail, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said {
        #[serde(default)]
        code: Option<String>,
        message: String,
        #[serde(default)]
        data: Option<Value>,
    }
    if let Value::String(message) = written {
        return Ok(Detail::new(code, message));
    }
    let said: Said = serde_json::from_value(written).map_err(|error| format!("`hold` or `fail`: {error}"))?;
    let detail = Detail::new(said.code.unwrap_or_else(|| code.to_owned()), said.message);
    Ok(Detail { data: said.data, ..detail })
}
