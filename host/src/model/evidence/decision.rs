//! What a campaign decided, and what carried it out.
use crate::model::result::Summary;
use crate::model::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a campaign was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// What comes next.
    Plan,
    /// To fold results into its state.
    Analyze,
}

impl DecisionKind {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Analyze => "analyze",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Plan, Self::Analyze].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How the call of a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionOutcome {
    /// With an answer that holds.
    Answered,
    /// With an error of the campaign's own.
    Error,
    /// It trapped.
    Trap,
    /// It passed a limit that is the same at every execution.
    Limit,
    /// It passed its deadline, which says nothing about the campaign.
    Deadline,
    /// With something that the contract does not allow.
    BadOutput,
}

impl DecisionOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [Self::Answered, Self::Error, Self::Trap, Self::Limit, Self::Deadline, Self::BadOutput];

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::Limit => "limit",
            Self::Deadline => "deadline",
            Self::BadOutput => "bad_output",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What the campaign was asked, with what, and what it answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionRecord {
    /// Its number in the run, from 1.
    pub number: u64,
    /// Which try at this number it is, from 1: what failed is tried again under the same number.
    #[serde(rename = "try")]
    pub attempt: u32,
    /// What was asked.
    pub kind: DecisionKind,
    /// The iteration it was made in.
    pub iteration: u32,
    /// The time the campaign saw.
    pub at: Time,
    /// SHA-256 of the configuration it was made under.
    pub config_sha256: String,
    /// SHA-256 of the plugin that decided; for a script of what carried it out.
    pub plugin_sha256: String,
    /// SHA-256 of the script that decided; absent where the plugin is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_sha256: Option<String>,
    /// The number of the engine that carried it out.
    pub engine: i64,
    /// The decision whose state it was given; absent if there was none.
    pub state_from: Option<u64>,
    /// Why a plan was asked for.
    #[serde(default)]
    pub asked: Vec<String>,
    /// Tasks that were planned and had not ended.
    #[serde(default)]
    pub open_tasks: u64,
    /// What a person had supplied.
    pub supplied: Option<Value>,
    /// SHA-256 of context, state and results, in canonical JSON.
    pub input_sha256: String,
    /// How the call ended.
    pub outcome: DecisionOutcome,
    /// Why it has no answer.
    pub error: Option<String>,
    /// What a plan chose: `workflow`, `wait`, `complete`, `fail` or `hold`.
    pub next: Option<String>,
    /// The campaign's sentence on why.
    pub reason: Option<String>,
    /// How far the campaign had come, in its own words.
    pub summary: Option<Summary>,
    /// SHA-256 of the answer, in canonical JSON.
    pub output_sha256: Option<String>,
    /// Fuel used.
    pub fuel: u64,
}

/// An engine, with the number by which decisions refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NumberedEngine {
    /// The number.
    pub number: i64,
    /// The engine.
    #[serde(flatten)]
    pub engine: EngineRecord,
}

/// What carries plugins out: only the same engine uses the same fuel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineRecord {
    /// The version of this program.
    pub version: String,
    /// The version of the plugin contract.
    pub contract: String,
    /// The version of the WebAssembly runtime.
    pub runtime: String,
    /// The processor and the system.
    pub target: String,
}
