//! What campaigns and operators are handed and answer where they are written as plain documents: by scripts, by
//! programs behind `builtin:ask-tell`, and by the SDKs. These types are there for their schemas: whoever carries the
//! documents reads them.
#![expect(dead_code, reason = "schemas are made of these types, and nothing else")]
use super::open::{DetailData, Known, Usage};
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

/// What the calls of an operator answer: each has a document of its own, and `cancel` none.
#[derive(JsonSchema)]
struct Operator {
    /// Of `prepare`: comes back as `attempt.prepared`; null if nothing.
    prepared: Option<Value>,
    /// Of `submit`.
    submitted: Submitted,
    /// Of `reconcile`.
    found: Found,
    /// Of `check_status`.
    status_report: StatusReport,
    /// Of `collect_results`.
    collected: Collected,
}

/// A submit that took effect.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Submitted {
    /// Comes back as `attempt.handle` with every later call.
    handle: Value,
    /// What people over there call it: a job number, a sample's label.
    external_id: Option<String>,
}

/// What the outside knows of a submit key.
#[derive(JsonSchema)]
#[schemars(tag = "found", rename_all = "kebab-case", deny_unknown_fields)]
enum Found {
    /// The submit took effect.
    Yes {
        /// Comes back as `attempt.handle` with every later call.
        handle: Value,
        /// What people over there call it.
        external_id: Option<String>,
    },
    /// The submit did not take effect, and this key can never take effect later.
    No,
    /// Not decided yet.
    Unknown {
        /// Comes back as `attempt.note` with the next call; its `message`, if any, is shown to a person.
        #[schemars(default)]
        note: Option<Value>,
        /// When to ask again, in milliseconds from now.
        poll_after_ms: u64,
    },
}

/// Where an attempt stands outside.
#[derive(JsonSchema)]
struct StatusReport {
    /// A newer handle, if it changed.
    #[schemars(default)]
    handle: Option<Value>,
    /// When to ask again, in milliseconds from now; absent: at the next tick.
    poll_after_ms: Option<u64>,
    #[schemars(flatten)]
    status: Status,
}

/// The status itself, with what is told beside it.
#[derive(JsonSchema)]
#[schemars(tag = "status", rename_all = "kebab-case")]
enum Status {
    /// Accepted, not started.
    Queued,
    /// Started.
    Running {
        /// How far it has come, in the operator's own words.
        #[schemars(default)]
        progress: Option<Value>,
    },
    /// Something outside must happen first.
    Waiting {
        /// What it waits for.
        waiting: Waiting,
    },
    /// Ended well: `collect_results` comes next.
    Succeeded,
    /// Ended badly, by the task's own doing.
    Failed {
        /// Why.
        detail: Said,
    },
    /// Ended because it was cancelled.
    Cancelled,
    /// The command provably never started, for a reason that is not the task's: another attempt is safe.
    NotStarted {
        /// Why.
        detail: Said,
    },
    /// It was accepted and cannot be found, or its end was not seen: nobody knows whether it ran.
    Lost {
        /// Why.
        detail: Said,
    },
    /// The outside did not answer; no verdict changes.
    Unavailable {
        /// Why.
        detail: Said,
    },
}

/// What an attempt waits for outside.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Waiting {
    /// `person`, `kit`, `instrument`, `scheduler`, `queue`, `machine`, `waiting`, `capacity`, or a word of its own.
    kind: String,
    /// One sentence for the person who can help.
    detail: String,
}

/// What an ended attempt brings.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Collected {
    /// The output document, if the system gives one.
    #[schemars(default)]
    output: Option<Value>,
    /// What the attempt used.
    usage: Option<Usage>,
}

/// The schema of what the calls of an operator answer.
pub(super) fn operator() -> Schema {
    schema_for!(Operator)
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
