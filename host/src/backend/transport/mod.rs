//! Runs shell scripts where a cluster is: on this machine, or on its login node.
//!
//! A transport knows nothing of schedulers. It tells a script that ran to its end from one whose answer was lost, and
//! from one that provably never started; it never runs a script twice.
mod child;
mod frame;
pub mod here;
pub mod ssh;

use std::fmt;
use std::io::{Read, Write};
use std::time::Duration;

/// One script to run.
pub struct Exec<'a> {
    /// For a POSIX shell.
    pub script: &'a str,
    /// What the script reads; absent: nothing.
    pub stdin: Option<&'a mut dyn Read>,
    /// Where its standard output goes; absent: into [`Finished::stdout`].
    pub stdout: Option<&'a mut dyn Write>,
    /// How long it may take, and a second more for every 64 KiB that pass.
    pub timeout: Duration,
}

impl<'a> Exec<'a> {
    /// A script that reads nothing and whose output is kept.
    pub fn of(script: &'a str, timeout: Duration) -> Self {
        Self { script, stdin: None, stdout: None, timeout }
    }
}

impl fmt::Debug for Exec<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exec").field("script", &self.script).field("timeout", &self.timeout).finish()
    }
}

/// A script that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// Its standard output, unless that was sent elsewhere.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error. Text there is no sign of failure.
    pub stderr: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The script provably did not start.
    #[error("{0}")]
    Unreachable(String),
    /// The script may have run, in part or to its end.
    #[error("{0}")]
    Lost(String),
}

/// No way at all, and why: every script provably does not start.
#[derive(Debug, Clone)]
pub struct NoWay(pub String);

impl Transport for NoWay {
    fn exec(&self, _: Exec<'_>) -> Result<Finished, NoAnswer> {
        Err(NoAnswer::Unreachable(self.0.clone()))
    }
}

/// A way to where a cluster is.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Runs a script to its end.
    ///
    /// # Errors
    /// If there is no answer within the time; the case tells whether the script can have run.
    fn exec(&self, call: Exec<'_>) -> Result<Finished, NoAnswer>;
}
