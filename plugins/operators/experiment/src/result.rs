//! What a laboratory sends back.
use serde::Deserialize;
use serde_json::Value;

/// The most files that a result may name.
const FILES_MAX: usize = 10_000;

/// `experiment_result.json`; keys that are not known are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Returned {
    pub(crate) status: Outcome,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    attempt: Option<String>,
    #[serde(default)]
    pub(crate) data: Option<Value>,
    #[serde(default)]
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) files: Vec<FileOf>,
}

/// How an experiment ended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Completed,
    Failed,
    Cancelled,
}

/// A file that came with a result: its path, or its path and what it must be.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum FileOf {
    Path(String),
    Hashed { path: String, sha256: Option<String> },
}

impl FileOf {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Path(path) | Self::Hashed { path, .. } => path,
        }
    }

    pub(crate) fn sha256(&self) -> Option<&str> {
        match self {
            Self::Path(_) => None,
            Self::Hashed { sha256, .. } => sha256.as_deref(),
        }
    }
}

impl Returned {
    /// Reads a result; fails with what is wrong with it. A token may be left out where a person writes the file, and
    /// must be this attempt's where it is given.
    pub(crate) fn read(value: Value, token: &str) -> Result<Self, String> {
        let result: Self = serde_json::from_value(value)
            .map_err(|error| format!("it does not say how the experiment ended: {error}"))?;
        if result.token.as_deref().is_some_and(|given| given != token) {
            let of = result.attempt.as_deref().map(|id| format!(" (`{id}`)")).unwrap_or_default();
            return Err(format!("its token is that of another attempt{of}"));
        }
        if result.files.len() > FILES_MAX {
            return Err(format!("it names {} files; at most {FILES_MAX} are taken", result.files.len()));
        }
        match result.files.iter().find(|file| !stays_inside(file.path())) {
            Some(file) => Err(format!("it names file `{}`, which is outside its folder", file.path())),
            None => Ok(result),
        }
    }
}

fn stays_inside(path: &str) -> bool {
    let fine = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    path.len() <= 1_000 && path.split('/').all(fine) && !path.starts_with("experiment_") && path != "cancel.json"
}
