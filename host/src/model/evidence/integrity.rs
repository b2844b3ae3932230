//! Whether files are still as they were recorded.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What the file is to the run.
    pub kind: FileKind,
    /// Where it should lie, relative to the run directory.
    pub path: String,
    /// The task whose output it is.
    pub task: Option<String>,
    /// The attempt whose output it is.
    pub attempt_id: Option<String>,
    /// The SHA-256 recorded for it.
    pub sha256: String,
    /// What is the matter with it.
    pub integrity: Integrity,
    /// More about it.
    pub detail: Option<String>,
}

/// What a file is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// The run's config.json.
    Config,
    /// A pinned plugin.
    Plugin,
    /// A pinned input of the campaign.
    Input,
    /// A pinned file that tasks may name.
    File,
    /// An output of an attempt.
    Output,
    /// What was written about an attempt.
    Log,
    /// What a decision wrote, or an output document too large for a result.
    Kept,
}

impl FileKind {
    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Plugin => "plugin",
            Self::Input => "input",
            Self::File => "file",
            Self::Output => "output",
            Self::Log => "log",
            Self::Kept => "kept",
        }
    }
}

/// How a file differs from what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// Its content is another, or it is no regular file any more.
    Changed,
    /// It is gone.
    Missing,
    /// It could not be read, so nobody knows.
    Unreadable,
}

impl Integrity {
    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How many files were compared with their recorded digests, and what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// Files compared: config.json, pinned files and outputs.
    pub files: u64,
    /// Bytes read of those that are as recorded.
    pub bytes: u64,
    /// Files as recorded.
    pub intact: u64,
    /// Files with another content.
    pub changed: u64,
    /// Files that are gone.
    pub missing: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// Files that a person has removed, which is recorded; they are not among those compared.
    #[serde(default)]
    pub removed: u64,
}

impl Verified {
    /// Files that are not as recorded.
    pub fn findings(&self) -> u64 {
        self.changed + self.missing + self.unreadable
    }
}
