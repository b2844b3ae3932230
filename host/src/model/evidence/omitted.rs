//! Files that the record names and a bundle does not hold.
use super::Integrity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that the record names, and the bundle does not hold under this path. Its digest stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OmittedRecord {
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it lay, relative to the run directory.
    pub path: String,
    /// The task whose file it is.
    pub task: Option<String>,
    /// The attempt whose file it is.
    pub attempt_id: Option<String>,
    /// Why it is not there.
    pub why: OmittedWhy,
}

/// Why a bundle does not hold a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OmittedWhy {
    /// Whoever wrote the bundle left it out.
    Asked,
    /// It holds a secret of its task, or nobody can tell.
    Secret,
    /// It holds a name that was redacted.
    Redacted,
    /// A person had removed it, which the record tells.
    Removed,
    /// It stayed on a cluster.
    Remote,
    /// Its content was another.
    Changed,
    /// It was gone.
    Missing,
    /// It could not be read.
    Unreadable,
}

impl From<Integrity> for OmittedWhy {
    fn from(found: Integrity) -> Self {
        match found {
            Integrity::Changed => Self::Changed,
            Integrity::Missing => Self::Missing,
            Integrity::Unreadable => Self::Unreadable,
        }
    }
}
