//! The open objects of the plugin contract: what is known in them today. They grow by keys; plugins pass over those
//! that they do not know, and the host refuses those that a plugin makes up.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `decision.more`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionMore {
    /// What becomes of tasks of the run that are planned again.
    #[serde(default)]
    pub known: Option<Known>,
}

/// What becomes of tasks of the run that are planned again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// Those that are as they were planned, or as they were amended, are passed over; any other is refused.
    Skip,
}

/// `detail.data`: where something went wrong, or what a person fills in.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetailData {
    /// Of an exception: its type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// Of an exception: what it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A place in a document, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A file of the plugin's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A line of that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The function in which that line is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// What stands in that line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// For a hold: the JSON Schema of what `resume --set` is to supply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Map<String, Value>>,
}

impl DetailData {
    /// Where it went wrong, for a person: ` (FILE:LINE)`, ` (FILE)` or ` (at PATH)`; empty if that is not said.
    pub fn place(&self) -> String {
        match (&self.file, self.line, &self.path) {
            (Some(file), Some(line), _) => format!(" ({file}:{line})"),
            (Some(file), None, _) => format!(" ({file})"),
            (None, _, Some(path)) => format!(" (at {path})"),
            (None, _, None) => String::new(),
        }
    }
}

/// `collected.usage`: what an attempt used, by its operator's word. Further keys are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Usage {
    /// Processor time, in seconds.
    #[serde(default)]
    pub cpu_s: Option<f64>,
    /// The most memory it held at once, in MiB.
    #[serde(default)]
    pub memory_peak_mb: Option<f64>,
    /// What it cost.
    #[serde(default)]
    pub cost: Option<Amount>,
    /// Material that is gone, by its name.
    #[serde(default)]
    pub material: BTreeMap<String, Amount>,
}

/// So much of something.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Amount {
    /// How much.
    pub amount: f64,
    /// Of which unit, or currency.
    pub unit: String,
}
