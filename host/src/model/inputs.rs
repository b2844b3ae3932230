//! What an attempt is to find where its job runs, beside the files that were staged here. It travels with the attempt
//! from the tick through the plugin to the backend.
use std::path::PathBuf;

/// A file that a job left on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// The backend that has it.
    pub backend: String,
    /// The attempt that left it.
    pub attempt: String,
    /// Its path in that attempt's directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// An input that is on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Where the attempt finds it, relative to its directory.
    pub destination: String,
    /// The file.
    pub file: KeptFile,
}

/// What an attempt carries over from an earlier one of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Patterns of the files.
    pub patterns: Vec<String>,
    /// The earlier attempt and its directory here.
    pub from: Option<(String, PathBuf)>,
}

/// What a job finds beside the files that were staged here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Inputs that are on a cluster.
    pub linked: Vec<Linked>,
    /// What it carries over.
    pub carried: Option<Carried>,
}
