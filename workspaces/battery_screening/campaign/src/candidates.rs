//! Candidates: read from the campaign's input, made into tasks, and what became of them.
use crate::{OPERATOR, Params};
use matterstack_sdk::task::Resources;
use matterstack_sdk::{Error, Outcome, Task, TaskResult, json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The file that a completed task leaves.
pub(crate) const OUTPUT: &str = "discharge.json";
/// Characters of a failure's reason that the state keeps.
const REASON_MAX: usize = 200;

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// Its task has not ended.
    Pending,
    /// It left a result.
    Completed,
    /// It left none; why.
    Failed(String),
}

impl Fate {
    pub(crate) fn of(result: &TaskResult) -> Self {
        match result.outcome {
            Outcome::Completed if result.output(OUTPUT).is_some() => Self::Completed,
            Outcome::Completed => Self::Failed(format!("it left no `{OUTPUT}`")),
            _ => Self::Failed(reason(result)),
        }
    }
}

/// Why a task did not complete.
pub(crate) fn reason(result: &TaskResult) -> String {
    let text = result.reason.as_deref().or(result.code.as_deref()).unwrap_or("no reason was given");
    text.chars().take(REASON_MAX).collect()
}

/// A candidate as the state keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    /// `CATHODE+ELECTROLYTE`, which is also the task's id.
    pub(crate) id: String,
    pub(crate) fate: Fate,
}

impl Candidate {
    pub(crate) fn failure(&self) -> Option<&str> {
        match &self.fate {
            Fate::Failed(reason) => Some(reason),
            Fate::Pending | Fate::Completed => None,
        }
    }
}

/// A cathode and an electrolyte.
#[derive(Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) id: String,
    cathode: Value,
    electrolyte: Value,
}

impl Pair {
    /// Its task. The script checks the numbers, so that a wrong one costs its candidate only.
    pub(crate) fn task(&self, params: &Params) -> Task {
        let input = json!({
            "candidate": self.id, "cathode": self.cathode, "electrolyte": self.electrolyte,
            "c_rate": params.c_rate, "time_step_s": params.time_step_s,
        });
        Task::new(&self.id, OPERATOR)
            .command(["python3", "discharge.py", "input.json", "-o", OUTPUT])
            .file("discharge.py", "scripts/discharge.py")
            .file("document.py", "scripts/document.py")
            .content("input.json", input.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output(OUTPUT)
            .resources(Resources { cores: Some(1), walltime_s: Some(300.0), ..Resources::default() })
            .allow_failure()
    }
}

/// Every cathode with every electrolyte of the input, by name.
pub(crate) fn pairs(text: &str) -> Result<Vec<Pair>, Error> {
    #[derive(Deserialize)]
    struct Input {
        cathodes: Map<String, Value>,
        electrolytes: Map<String, Value>,
    }
    let input: Input = serde_json::from_str(text)
        .map_err(|error| Error::invalid("candidates", format!("input `candidates` cannot be used: {error}")))?;
    for name in input.cathodes.keys().chain(input.electrolytes.keys()) {
        check_name(name)?;
    }
    let Input { cathodes, electrolytes } = input;
    let pair = |(a, cathode): (&String, &Value), (b, electrolyte): (&String, &Value)| Pair {
        id: format!("{a}+{b}"),
        cathode: cathode.clone(),
        electrolyte: electrolyte.clone(),
    };
    let pairs: Vec<Pair> =
        cathodes.iter().flat_map(|cathode| electrolytes.iter().map(move |other| pair(cathode, other))).collect();
    match pairs.is_empty() {
        true => Err(Error::invalid("candidates", "input `candidates` has no cathode, or no electrolyte")),
        false => Ok(pairs),
    }
}

/// Names become task ids and file names.
fn check_name(name: &str) -> Result<(), Error> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match (1..=60).contains(&name.len()) && name.chars().all(fine) {
        true => Ok(()),
        false => Err(Error::invalid(
            "candidates",
            format!("input `candidates`: `{name}` cannot name a candidate; use 1 to 60 letters, digits, `-` and `_`"),
        )),
    }
}
