//! How a job ended: the document `exit.json` in its attempt directory, the same on every backend.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format of the exit records that this version writes and reads.
pub const EXIT_FORMAT: u32 = 1;

/// How a job ended: `exit.json` in the attempt directory, and what `collect` returns. Readers ignore keys they do not
/// know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Exit")]
pub struct ExitRecord {
    /// The format of this document: 1.
    pub format: u32,
    /// The attempt the job was run for.
    pub attempt: String,
    /// The exit code, if it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Why it ended.
    pub reason: ExitReason,
    /// One sentence for a person.
    pub message: Option<String>,
    /// When it was handed in, RFC 3339 in UTC.
    #[serde(default)]
    pub queued_at: Option<String>,
    /// When it started, RFC 3339 in UTC.
    pub started_at: Option<String>,
    /// When it ended, RFC 3339 in UTC.
    pub ended_at: String,
    /// The machine it ran on, where that is known.
    #[serde(default)]
    pub host: Option<String>,
    /// What it used of processors, with every process that it waited for, in seconds, where that is known.
    #[serde(default)]
    pub cpu_s: Option<f64>,
    /// The most memory that one process of it held, in MiB, where that is known.
    #[serde(default)]
    pub memory_peak_mb: Option<u64>,
}

impl ExitRecord {
    /// The record of a job that this attempt was to run and that ended at this time for this reason; the rest is
    /// unknown.
    pub fn new(attempt: String, reason: ExitReason, ended_at: String) -> Self {
        Self {
            format: EXIT_FORMAT,
            attempt,
            code: None,
            signal: None,
            reason,
            message: None,
            queued_at: None,
            started_at: None,
            ended_at,
            host: None,
            cpu_s: None,
            memory_peak_mb: None,
        }
    }
}

/// Why a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExitReason {
    /// By itself, with a code.
    Exited,
    /// By a signal that did not come from here.
    Signal,
    /// Killed at its walltime.
    Timeout,
    /// Killed, or never started, because it was cancelled.
    Cancelled,
    /// Asked to stop by its scheduler, which knows why.
    Terminated,
    /// A line of the backend's `setup` failed, so that the command was not started.
    Setup,
    /// A secret could not be read, so that the command was not started.
    Secret,
    /// The program does not exist.
    NotFound,
    /// The program exists and cannot be executed.
    NotExecutable,
    /// The machine had no room to start it now.
    NotStarted,
    /// The machine refuses to start it, and would again.
    CannotStart,
    /// Killed because it printed more than it may.
    LogLimit,
    /// It ran, and nobody saw how it ended.
    Unseen,
    /// Nobody saw whether it ran or how it ended.
    Lost,
}
