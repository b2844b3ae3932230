//! What a task asks of a person, and whether an answer will do.
use matterstack_schema::{Mistake, Schema};
use matterstack_sdk::{Attempt, Error, json, work};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Mistakes that a note names.
const NAMED: usize = 5;

/// A question and the rules for its answer.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) instructions: String,
    pub(crate) schema: Value,
    /// How long an answer may take; absent: for ever.
    pub(crate) deadline_ms: Option<u64>,
    pub(crate) rejection_is_a_result: bool,
}

/// What an answer is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Valid,
    /// Its `approved` is false; with the person's comment.
    Rejected(String),
    /// Against the schema; with what is wrong.
    Invalid(String),
}

#[derive(Deserialize)]
struct Task {
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    files: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    instructions: String,
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    on_reject: OnReject,
    #[serde(default)]
    deadline_s: Option<f64>,
    /// Whose answer counts: the host looks at who owns its file, which nobody in here can see.
    #[serde(default)]
    approve: Option<Approve>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    by: Vec<Person>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name of a user, or the number of one")]
enum Person {
    #[expect(dead_code, reason = "that it is a number is all that is asked of it here")]
    Number(u32),
    Name(String),
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum OnReject {
    #[default]
    Fail,
    Result,
}

impl Form {
    /// Reads the task's input.
    pub(crate) fn of(attempt: &Attempt) -> Result<Self, Error> {
        let task: Task = attempt.task()?;
        let reserved = |name: &str| {
            name.starts_with("response") || name.starts_with('.') || name == "instructions.md" || name == "schema.json"
        };
        work::refuse_reserved(task.files.keys(), reserved)?;
        let input = task.input.unwrap_or_else(|| json!({}));
        let input: Input = serde_json::from_value(input)
            .map_err(|error| Error::invalid("input", format!("the task's `input` is not a question: {error}")))?;
        if input.deadline_s.is_some_and(|seconds| !seconds.is_finite() || seconds <= 0.0) {
            return Err(Error::invalid("input", "`input.deadline_s` is not positive"));
        }
        let by = input.approve.map(|approve| approve.by);
        let named = |person: &Person| match person {
            Person::Number(_) => true,
            Person::Name(name) => !name.is_empty(),
        };
        if by.is_some_and(|by| by.is_empty() || !by.iter().all(named)) {
            return Err(Error::invalid("input", "`input.approve.by` names nobody"));
        }
        Ok(Self {
            instructions: input.instructions,
            schema: input.schema.unwrap_or_else(approval),
            deadline_ms: input.deadline_s.map(|seconds| (seconds * 1000.0) as u64),
            rejection_is_a_result: input.on_reject == OnReject::Result,
        })
    }

    /// Refuses a schema that no answer could be judged by.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.validator().map(drop)
    }

    /// Patterns come from the campaign: the engine never backtracks, which bounds what they can cost.
    fn validator(&self) -> Result<Schema<'_>, Error> {
        Schema::new(&self.schema)
            .map_err(|error| Error::invalid("schema", format!("`input.schema` is not a usable JSON Schema: {error}")))
    }

    /// What a person is asked, in one line.
    pub(crate) fn question(&self) -> String {
        let line =
            self.instructions.lines().map(|line| line.trim_start_matches('#').trim()).find(|line| !line.is_empty());
        line.unwrap_or("an answer is needed").chars().take(200).collect()
    }

    /// Judges an answer. One that says `"approved": false` is a rejection, whatever else the schema asks for: who
    /// rejects need not fill in the rest.
    pub(crate) fn judge(&self, answer: &Value) -> Judgement {
        if answer.get("approved") == Some(&Value::Bool(false)) {
            let comment = ["comment", "reason"].iter().find_map(|key| answer.get(key)?.as_str());
            return Judgement::Rejected(comment.unwrap_or_default().chars().take(1_000).collect());
        }
        let validator = match self.validator() {
            Ok(validator) => validator,
            Err(error) => return Judgement::Invalid(error.detail().message.clone()),
        };
        let mistakes: Vec<String> = validator.mistakes(answer, NAMED).iter().map(Mistake::to_string).collect();
        if mistakes.is_empty() { Judgement::Valid } else { Judgement::Invalid(mistakes.join("; ")) }
    }
}

/// The schema of a question that has none: yes or no.
fn approval() -> Value {
    json!({
        "type": "object",
        "properties": {"approved": {"type": "boolean"}, "comment": {"type": "string"}},
        "required": ["approved"],
    })
}
