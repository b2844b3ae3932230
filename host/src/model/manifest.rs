//! What a plugin says of itself: the custom section `matterstack:manifest` of its component, which is never executed.
use super::config::AnalyzeMode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The form that this version reads.
const FORMAT: u32 = 1;

/// What a plugin says of itself. The configuration overrides it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form: 1.
    pub format: u32,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// Under which licence, as SPDX has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// The versions of the published schemas that it speaks, by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schemas: Option<Value>,
    /// The JSON Schema of `campaign.params`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// When `analyze` is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analyze: Option<AnalyzeMode>,
    /// Whether the campaign can take back a result that it has received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<bool>,
    /// What stands for the operator where earlier results are reused, in the place of its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_version: Option<String>,
    /// The grants that it wants, as config.json has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Value>,
}

impl Manifest {
    /// Reads it.
    ///
    /// # Errors
    /// In words that follow "its manifest ".
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let unread = |error: serde_json::Error| format!("cannot be read: {error}");
        // serde would take a list for an object too
        let map: serde_json::Map<String, Value> = serde_json::from_slice(text).map_err(unread)?;
        let manifest: Self = serde_json::from_value(map.into()).map_err(unread)?;
        if manifest.format != FORMAT {
            return Err(format!("has format {}, and this matterstack reads {FORMAT}", manifest.format));
        }
        Ok(manifest)
    }
}
