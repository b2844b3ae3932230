//! Commands that tell which programs jobs use.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command of `record`: a line for the backend's shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text, or {\"command\": TEXT, \"key\": true}")]
pub enum RecordedCommand {
    /// What it prints is recorded.
    Line(String),
    /// Likewise, and more.
    Keyed(KeyedCommand),
}

/// `{"command": …, "key": true}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyedCommand {
    /// The command.
    pub command: String,
    /// Whether results are reused only where it prints the same.
    #[serde(default)]
    pub key: bool,
}

impl RecordedCommand {
    /// The line for the shell.
    pub fn command(&self) -> &str {
        match self {
            Self::Line(command) | Self::Keyed(KeyedCommand { command, .. }) => command,
        }
    }

    /// Whether results are reused only where it prints the same.
    pub fn is_key(&self) -> bool {
        matches!(self, Self::Keyed(KeyedCommand { key: true, .. }))
    }
}
