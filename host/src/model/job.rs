//! The job document that an operator hands to a compute backend.
use crate::model::workflow::{CommandLine, OutputPattern, Resources, Variable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an operator hands to a compute backend. Backends ignore keys they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Job")]
pub struct JobDocument {
    /// What to run, in the attempt directory.
    pub command: CommandLine,
    /// Environment variables on top of the backend's own: texts, or secrets by name.
    #[serde(default)]
    pub env: BTreeMap<String, Variable>,
    /// What the command needs.
    #[serde(default)]
    pub resources: Resources,
    /// Patterns of the files to bring back from a backend that is elsewhere.
    #[serde(default)]
    pub outputs: Vec<OutputPattern>,
    /// What stands before the command, such as `srun`: words, or text for the shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<CommandLine>,
}
