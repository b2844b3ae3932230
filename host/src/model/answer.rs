//! What a campaign is handed and answers where it is written as plain documents: by scripts, by programs behind
//! `builtin:ask-tell`, and by the SDKs. These types are there for their schemas: whoever carries the documents reads
//! them.
#![expect(dead_code, reason = "schemas are made of these types, and nothing else")]
use super::open::{DetailData, Known};
use super::result::Summary;
use super::workflow::Task;
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What `plan` decides. It says exactly one of `tasks`, `complete`, `wait`, `hold` and `fail`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Decision {
    /// What the campaign remembers: comes back with the next call. Of a script: absent leaves it as it was.
    #[schemars(default)]
    state: Option<Value>,
    /// One sentence on why, for the record.
    #[schemars(default)]
    reason: Option<String>,
    /// Run these tasks.
    #[schemars(default)]
    tasks: Option<Vec<Task>>,
    /// The campaign has reached its end, with this result. What is live is cancelled first.
    #[schemars(default)]
    complete: Option<Value>,
    /// Plan nothing now: `true`.
    #[schemars(default)]
    wait: Option<bool>,
    /// A person must decide: the run is held until `resume`.
    #[schemars(default)]
    hold: Option<Said>,
    /// The campaign gives up: the run has failed. What is live is cancelled first.
    #[schemars(default)]
    fail: Option<Said>,
    /// Tasks that are no longer wanted, by id: those that have not ended are cancelled.
    #[schemars(default)]
    cancel: Vec<String>,
    /// Ask again then, though nothing ended: milliseconds since 1970-01-01T00:00:00Z.
    #[schemars(default)]
    wake_at_ms: Option<u64>,
    /// How far the campaign has come.
    #[schemars(default)]
    summary: Option<Summary>,
    /// What becomes of tasks of the run that are planned again.
    #[schemars(default)]
    known: Option<Known>,
}

/// Why a run is held or has failed: a sentence, or one with a code for programs.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Said {
    /// The sentence alone.
    Message(String),
    /// With a code.
    Detail(Detail),
}

/// A sentence with a code.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Detail {
    /// A short word for programs.
    #[schemars(default)]
    code: Option<String>,
    /// One sentence for a person, without a final period.
    message: String,
    /// More for programs, or for a hold the `form` that a person fills in.
    #[schemars(default)]
    data: Option<DetailData>,
}

/// What a decision may depend on, beside the state.
#[derive(JsonSchema)]
struct Context {
    /// The run's id.
    run_id: String,
    /// The number of the decision in the run, from 1.
    decision: u64,
    /// For `plan` the iteration that would be planned, from 1; for `analyze` the newest one planned.
    iteration: u32,
    /// Milliseconds since 1970-01-01T00:00:00Z, recorded once per decision.
    now_ms: u64,
    /// `campaign.seed`.
    seed: u64,
    /// Why `plan` is asked, sorted, an open set: `changed`, `first`, `reopened`, `results`, `resumed`, `time`,
    /// `waited`.
    asked: Vec<String>,
    /// Tasks that are planned and have not ended.
    open_tasks: u64,
    /// `campaign.params`.
    params: Value,
    /// The campaign's pinned inputs, by name.
    inputs: BTreeMap<String, Input>,
    /// What a person supplied with `resume --set`; null if nothing.
    supplied: Option<Value>,
}

/// A pinned input.
#[derive(JsonSchema)]
struct Input {
    /// SHA-256, 64 hexadecimal digits.
    sha256: String,
    /// Bytes.
    size: u64,
}

/// The schema of what `plan` decides.
pub(super) fn decision() -> Schema {
    let mut schema = schema_for!(Decision);
    let one_of = ["tasks", "complete", "wait", "hold", "fail"].map(|key| json!({"required": [key]}));
    schema.insert("oneOf".to_owned(), json!(one_of));
    schema
}

/// The schema of what a decision may depend on.
pub(super) fn context() -> Schema {
    schema_for!(Context)
}
