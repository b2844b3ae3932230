//! What a plugin says of itself: the custom section `matterstack:manifest` of its component, which is never executed.
use super::config::AnalyzeMode;
use matterstack_schema::Schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Mistakes in a document that are told at once.
const MISTAKES_MAX: usize = 5;
/// Characters of a name or a version.
const WORD_MAX: usize = 100;
/// The schemas that a plugin may speak, and their versions.
const SCHEMAS: [&str; 11] =
    ["context", "data", "decision", "decision-more", "exit", "job", "results", "summary", "task", "tasks", "usage"];

/// What a plugin is, seen from outside: what its manifest must agree with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Whether it can be a campaign.
    pub campaign: bool,
    /// Whether it can be an operator.
    pub operator: bool,
    /// Whether it imports `compute`.
    pub compute: bool,
}

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
    /// The JSON Schema of an operator's `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
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

    /// What in it is no name or version, no schema that documents could be judged by, or not so, seen from outside:
    /// each in a clause of its own.
    pub fn faults(&self, about: &About) -> Vec<String> {
        let mut faults = Vec::new();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let word = |text: &str| (1..=WORD_MAX).contains(&text.len()) && text.chars().all(plain);
        if let Some(name) = self.name.as_deref().filter(|name| !word(name)) {
            faults.push(format!("`name` is {name:?}, which is no name of letters, digits, `-`, `_` and `.`"));
        }
        let number = |text: &str| word(text) && text.starts_with(|c: char| c.is_ascii_digit());
        if let Some(version) = self.version.as_deref().filter(|version| !number(version)) {
            faults.push(format!("`version` is {version:?}, which is no version such as `1.0.0`"));
        }
        let of_campaigns = [
            ("analyze", self.analyze.is_some()),
            ("takes_back", self.takes_back.is_some()),
            ("params", self.params.is_some()),
        ];
        let of_operators = [("reuse_version", self.reuse_version.is_some()), ("config", self.config.is_some())];
        let stray = |keys: &[(&str, bool)], is: &str, of: &str| {
            let said = keys.iter().filter(|(_, said)| *said);
            said.map(|(key, _)| format!("`{key}` is a word of {of}, and it is {is}")).collect::<Vec<_>>()
        };
        if !about.campaign {
            faults.extend(stray(&of_campaigns, "an operator", "campaigns"));
        }
        if !about.operator {
            faults.extend(stray(&of_operators, "a campaign", "operators"));
        }
        faults.extend(self.faults_of_grants(about));
        faults.extend(self.faults_of_schemas());
        for (key, schema) in [("params", &self.params), ("config", &self.config)] {
            if let Some(Err(why)) = schema.as_ref().map(Schema::new) {
                faults.push(format!("`{key}` is no JSON Schema that documents can be judged by: {why}"));
            }
        }
        faults
    }

    /// Grants that it wants and has no use for, and the one that it needs and does not name.
    fn faults_of_grants(&self, about: &About) -> Option<String> {
        let wants = self.grants.as_ref()?.get("compute").is_some();
        match (wants, about.compute) {
            (true, false) => Some("`grants` wants `compute`, which it does not import".to_owned()),
            (false, true) => Some("`grants` does not name `compute`, which it imports".to_owned()),
            (true, true) | (false, false) => None,
        }
    }

    /// Schemas that it speaks and that there are not.
    fn faults_of_schemas(&self) -> Vec<String> {
        let Some(schemas) = &self.schemas else { return Vec::new() };
        let Some(map) = schemas.as_object() else {
            return vec!["`schemas` is no object from the name of a schema to its version".to_owned()];
        };
        let unknown = map.keys().filter(|name| !SCHEMAS.contains(&name.as_str()));
        unknown.map(|name| format!("`schemas` names `{name}`, and no schema is called so")).collect()
    }

    /// What is wrong with `campaign.params`, by its own word; the first few, each with its place.
    ///
    /// # Errors
    /// If its schema is none.
    pub fn mistakes_in_params(&self, params: &Value) -> Result<Vec<String>, String> {
        mistakes(self.params.as_ref(), params)
    }

    /// The same of an operator's `config`.
    ///
    /// # Errors
    /// If its schema is none.
    pub fn mistakes_in_config(&self, config: &Value) -> Result<Vec<String>, String> {
        mistakes(self.config.as_ref(), config)
    }
}

fn mistakes(schema: Option<&Value>, document: &Value) -> Result<Vec<String>, String> {
    let Some(schema) = schema else { return Ok(Vec::new()) };
    let schema = Schema::new(schema)?;
    Ok(schema.mistakes(document, MISTAKES_MAX).iter().map(ToString::to_string).collect())
}
