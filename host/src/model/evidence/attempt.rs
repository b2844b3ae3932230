//! One try at a task: its job, what it consumed, what it left.
use crate::model::code::Word;
use crate::model::result::OutputFile;
use crate::model::reuse::Reused;
use crate::model::states::AttemptState;
use crate::model::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One try at a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptRecord {
    /// The attempt's id.
    pub attempt_id: String,
    /// The task's id.
    pub task: String,
    /// Its number at the task, from 1.
    pub number: u32,
    /// The version of the task that it carried out.
    pub version: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: AttemptState,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// What its operator had prepared.
    #[serde(default)]
    pub prepared: Option<Value>,
    /// What the operator calls it.
    pub handle: Option<Value>,
    /// The output document.
    pub data: Option<Value>,
    /// What it used, by its operator's word.
    #[serde(default)]
    pub usage: Option<Value>,
    /// When it was made.
    pub created_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// The environment in which it was handed in.
    pub environment: Option<i64>,
    /// What its backend tells of the job.
    pub job: JobRecord,
    /// The files it consumed beside what stands in its task.
    pub inputs: Vec<InputRecord>,
    /// What was written about it.
    pub logs: Vec<LogRecord>,
    /// The key by which later runs find what it left, 64 hexadecimal digits; absent if it has none.
    pub reuse_key: Option<String>,
    /// Where its results come from, if it ran nothing and took those of an earlier attempt.
    pub reused: Option<Reused>,
    /// The files it left, with the digests recorded when it ended.
    pub outputs: Vec<OutputFile>,
    /// Files of it that are given to nobody, because they hold a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// What of it was removed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedRecord>,
}

/// What was removed of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedRecord {
    /// An output, by its path in the attempt's directory; empty for all of that directory.
    pub path: String,
    /// When.
    pub at: Time,
    /// Who removed it.
    pub user: String,
}

impl RemovedRecord {
    /// What to say of a file that is not there any more.
    pub fn sentence(&self) -> String {
        format!("was removed by `clean` on {} by {}", self.at, self.user)
    }
}

/// A file that is given to nobody: what is recorded of it is its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Withheld {
    /// Relative to the attempt directory; absent where nobody could look which files hold the secret.
    pub file: Option<String>,
    /// One sentence.
    pub why: String,
}

/// A file that an attempt consumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputRecord {
    /// Where it was put, relative to the attempt directory.
    pub destination: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// The id of the attempt that left it; absent for a pinned file.
    pub from_attempt: Option<String>,
    /// Its path in that attempt's directory, or in the workspace.
    pub from_path: String,
}

/// What a backend tells of the job of an attempt, where it can.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRecord {
    /// What the outside calls it.
    pub external_id: Option<String>,
    /// The machine it was handed to.
    pub host: Option<String>,
    /// The machine it ran on.
    pub node: Option<String>,
    /// When it was handed to its backend.
    pub queued_at: Option<Time>,
    /// When its command started.
    pub started_at: Option<Time>,
    /// When its command ended.
    pub stopped_at: Option<Time>,
    /// Processor time that it used, with every process that it waited for, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// The most memory that one process of it held, in MiB.
    pub memory_peak_mb: Option<u64>,
}

/// A file that was written about an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRecord {
    /// Which one.
    pub kind: LogKind,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes; a file without any is not recorded.
    pub size: u64,
}

/// The files that are written about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogKind {
    /// What it printed: `stdout`.
    Stdout,
    /// What it complained of: `stderr`.
    Stderr,
    /// How it ended: `exit.json`.
    Exit,
}

impl LogKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Exit];

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Exit => "exit",
        }
    }

    /// The name of the file in the attempt directory.
    pub fn file(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Exit => "exit.json",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}
