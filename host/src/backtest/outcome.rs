//! What came of a virtual run.
use serde::Serialize;
use serde_json::Value;

/// A result by which campaigns are compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Its task.
    pub task: String,
    /// When it was there, in seconds of the virtual clock.
    pub time_s: f64,
    /// The value.
    pub value: f64,
    /// The best so far.
    pub best: f64,
}

/// Which way a value is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The smaller.
    Least,
    /// The larger.
    Most,
}

/// What came of one virtual run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// What decided.
    pub plugin: String,
    /// Its seed.
    pub seed: u64,
    /// The number by which results are compared.
    pub by: String,
    /// Which way it is better.
    pub goal: Goal,
    /// The state in which it ended: `completed`, `failed` or `held`.
    pub state: &'static str,
    /// Why.
    pub reason: String,
    /// The results, in the order in which they came.
    pub trials: Vec<Trial>,
    /// The best of them.
    pub best: Option<f64>,
    /// How many results there were when it came.
    pub best_after: Option<usize>,
    /// How long it took, in seconds of the virtual clock.
    pub time_s: f64,
    /// Decisions made.
    pub decisions: u64,
    /// How often the program of the campaign was started.
    pub asked: u64,
    /// Tasks of which nothing is known; the campaign was told that they failed.
    pub unanswered: Vec<String>,
}

impl Course {
    /// One that has only begun.
    pub(super) fn new(plugin: &str, seed: u64, (by, goal): &(String, Goal)) -> Self {
        Self {
            plugin: plugin.to_owned(),
            seed,
            by: by.clone(),
            goal: *goal,
            state: "held",
            reason: String::new(),
            trials: Vec::new(),
            best: None,
            best_after: None,
            time_s: 0.0,
            decisions: 0,
            asked: 0,
            unanswered: Vec::new(),
        }
    }
}

/// A measured value: a number, one with its error, or replicates.
pub(super) fn measured(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Object(of) => of.get("mean")?.as_f64(),
        Value::Array(replicates) if !replicates.is_empty() => {
            let sum: Option<f64> = replicates.iter().map(Value::as_f64).sum();
            Some(sum? / replicates.len() as f64)
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
    }
}
