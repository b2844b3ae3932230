//! The script and its modules, as `more` names them.
use crate::host::Host;
use matterstack_sdk::{Detail, Error};
use serde_json::Value;
use std::collections::BTreeMap;

/// A script with its modules.
pub(crate) struct Script {
    /// The path of the script in its workspace.
    pub(crate) path: String,
    /// The text of the script and of each module by its path.
    pub(crate) texts: BTreeMap<String, String>,
}

impl Script {
    /// Reads what `more` names.
    pub(crate) fn read(more: &str, host: &dyn Host) -> Result<Self, Error> {
        let more: Value = serde_json::from_str(more)?;
        let path = path_of(&more["script"])?;
        let mut texts = BTreeMap::new();
        let modules = more["modules"].as_array().map(Vec::as_slice).unwrap_or_default();
        for file in std::iter::once(&more["script"]).chain(modules) {
            let path = path_of(file)?;
            texts.insert(path.clone(), text(&path, file, host)?);
        }
        Ok(Self { path, texts })
    }
}

fn path_of(file: &Value) -> Result<String, Error> {
    file["path"].as_str().map(str::to_owned).ok_or_else(|| Error::invalid("no-script", "the host names no script"))
}

fn text(path: &str, file: &Value, host: &dyn Host) -> Result<String, Error> {
    let digest = file["sha256"].as_str().unwrap_or_default();
    let size = file["size"].as_u64().unwrap_or(0);
    let bytes = crate::host::read_all(host, digest, size)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::Other(Detail::new("exception", format!("`{path}` is not UTF-8 in line {line}")))
    })
}
