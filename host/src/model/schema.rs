//! The published JSON Schemas: of config.json, of the tasks a campaign plans and the results it receives, of what
//! operators and compute backends hand each other, and of evidence.json.
use super::answer;
use super::config::RunConfig;
use super::evidence::EvidenceBundle;
use super::exit::ExitRecord;
use super::job::JobDocument;
use super::manifest::Manifest;
use super::open::{DecisionMore, DetailData, Usage};
use super::result::{Summary, TaskResult};
use super::workflow::Task;
use schemars::{Schema, schema_for};
use serde_json::Value;

/// The version of the published documents.
const VERSION: &str = "0.2.0-dev.2";

/// The schema of config.json.
pub fn config() -> Schema {
    titled(schema_for!(RunConfig), "config.json")
}

/// The schema of a plan's workflow: an array of tasks.
pub fn tasks() -> Schema {
    titled(schema_for!(Vec<Task>), "tasks")
}

/// The schema of the results `analyze` receives: an array.
pub fn results() -> Schema {
    titled(schema_for!(Vec<TaskResult>), "results")
}

/// The schema of evidence.json.
pub fn evidence() -> Schema {
    titled(schema_for!(EvidenceBundle), "evidence")
}

/// The `format` of an evidence.json written by this version.
pub fn evidence_format() -> String {
    format!("matterstack evidence {VERSION}")
}

/// What the document of a study says of itself.
pub fn study_format() -> String {
    format!("matterstack study {VERSION}")
}

/// The schema of a job.
pub fn job() -> Schema {
    titled(schema_for!(JobDocument), "job")
}

/// The schema of an exit record.
pub fn exit() -> Schema {
    titled(schema_for!(ExitRecord), "exit")
}

/// The schema of how far a campaign has come.
pub fn summary() -> Schema {
    titled(schema_for!(Summary), "summary")
}

/// The schema of a plugin's manifest.
pub fn manifest() -> Schema {
    titled(schema_for!(Manifest), "manifest")
}

/// The schema of what `plan` decides, as scripts and programs write it.
pub fn decision() -> Schema {
    titled(answer::decision(), "decision")
}

/// The schema of what a decision may depend on, as scripts are handed it.
pub fn context() -> Schema {
    titled(answer::context(), "context")
}

/// The schema of what the calls of an operator answer, as scripts write it.
pub fn operator() -> Schema {
    titled(answer::operator(), "operator")
}

/// The schema of `decision.more`.
pub fn decision_more() -> Schema {
    titled(schema_for!(DecisionMore), "decision-more")
}

/// The schema of `detail.data`.
pub fn data() -> Schema {
    titled(schema_for!(DetailData), "data")
}

/// The schema of what an attempt used.
pub fn usage() -> Schema {
    titled(schema_for!(Usage), "usage")
}

fn titled(mut schema: Schema, name: &str) -> Schema {
    schema.insert("title".to_owned(), Value::from(format!("matterstack {name} {VERSION}")));
    schema
}
