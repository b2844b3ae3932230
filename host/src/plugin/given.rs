//! What a plugin is given beside its arguments: files to read, and a log to write to.
use crate::model::contract::GuestError;

/// Content-addressed files that plugins may read.
pub trait Artifacts: Send + Sync {
    /// Returns up to `max` bytes from `offset` of the file with this SHA-256.
    ///
    /// # Errors
    /// `denied` if the run does not own the digest; `other` if the file cannot be read.
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError>;
}

/// Where messages of plugins go.
pub trait PluginLog: Send + Sync {
    /// Keeps one message; returns how many bytes of the disk that may take.
    fn write(&self, entry: &LogEntry<'_>) -> usize;
}

/// A message of a plugin, or of the host about it.
#[derive(Debug, Clone, Copy)]
pub struct LogEntry<'a> {
    /// The plugin as the configuration names it.
    pub plugin: &'a str,
    /// The attempt a call was made for.
    pub attempt: Option<&'a str>,
    /// How much it matters.
    pub level: LogLevel,
    /// What was said, unchanged.
    pub message: &'a str,
}

/// How much a log message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Worth keeping.
    Info,
    /// Something a person may want to act on.
    Warn,
    /// Something went wrong.
    Error,
}

impl LogLevel {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
