//! What the jobs of all runs may take of a machine together, as a person says it.
use super::document::{self, Dialect, Place};
use super::misfit::{Misfit, fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The longest name of a graphics processor or of a count, in bytes.
const NAME_MAX: usize = 64;
/// The most names of a kind.
const NAMES_MAX: usize = 64;

/// The `machine` section: a pool that all runs of the user on the machine share. It stands in the user's own
/// configuration or in `/etc/matterstack/config.json`, never in a workspace's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineConfig {
    /// Whether runs share a pool; otherwise each keeps to the numbers of its own backends.
    pub pool: bool,
    /// How many cores jobs take together; absent: those that affinity and control group allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// How much memory they take together, as far as tasks say what they need, in MiB; absent: what the control group
    /// allows, else what the machine has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// The graphics processors, by what `CUDA_VISIBLE_DEVICES` calls them; absent: those that backends name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<String>>,
    /// How many there are of other things that tasks take, by name, such as licences.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u32>,
    /// A directory of the site, in which users of a group share one pool; absent: each user has a pool of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<PathBuf>,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self { pool: true, cores: None, memory_mb: None, gpus: None, counts: BTreeMap::new(), shared: None }
    }
}

impl MachineConfig {
    /// Reads the `machine` sections of several configurations, of which a later one counts before an earlier one, key
    /// by key. What else they hold is passed over.
    ///
    /// # Errors
    /// What is wrong, with the name of the configuration in which it stands.
    pub fn read(files: &[(String, Vec<u8>)]) -> Result<Self, String> {
        let mut joined = Map::new();
        for (name, text) in files {
            let document = document::read(text, Dialect::Commented).map_err(|fault| format!("`{name}`: {fault}"))?;
            let Some(section) = document.get("machine") else { continue };
            let told = |misfit: Misfit| {
                let way = document::way(&misfit.below([Place::Key("machine".to_owned())]).place);
                move |why: &str| format!("`{name}`: `{way}`: {why}")
            };
            let own = fit::<Self>(section).map_err(|misfit| told(misfit.clone())(&misfit.why))?;
            own.check().map_err(|(key, why)| format!("`{name}`: `machine.{key}` {why}"))?;
            let counts = joined.remove("counts");
            joined.extend(section.as_object().cloned().unwrap_or_default());
            if let (Some(Value::Object(below)), Some(Value::Object(above))) = (counts, section.get("counts")) {
                let counts = below.into_iter().chain(above.clone()).collect();
                joined.insert("counts".to_owned(), Value::Object(counts));
            }
        }
        fit(&Value::Object(joined)).map_err(|misfit| misfit.to_string())
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub fn check(&self) -> Result<(), (String, String)> {
        let zero = |key: &str| Err((key.to_owned(), "is 0; at least 1 is needed".to_owned()));
        if self.cores == Some(0) {
            return zero("cores");
        }
        if self.memory_mb == Some(0) {
            return zero("memory_mb");
        }
        check_names(self.gpus.iter().flatten()).map_err(|why| ("gpus".to_owned(), why))?;
        check_names(self.counts.keys()).map_err(|why| ("counts".to_owned(), why))?;
        match &self.shared {
            Some(path) if !path.is_absolute() => {
                Err(("shared".to_owned(), format!("is `{}`, which is not absolute", path.display())))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses names that do not fit into the ledger of the pool or into a variable, and names that stand twice.
///
/// # Errors
/// What is wrong with which.
pub fn check_names<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fine) {
            let name: String = name.chars().take(NAME_MAX).collect();
            return Err(format!(
                "has `{}`, which is no name: 1 to {NAME_MAX} letters, digits and any of `-_.:/`",
                name.escape_debug()
            ));
        }
        if seen.contains(&name.as_str()) {
            return Err(format!("has `{name}` twice"));
        }
        seen.push(name);
    }
    if seen.len() > NAMES_MAX {
        Err(format!("has {} names; at most {NAMES_MAX} are allowed", seen.len()))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MachineConfig;

    fn read(texts: &[&str]) -> Result<MachineConfig, String> {
        let files: Vec<_> =
            texts.iter().enumerate().map(|(at, text)| (format!("f{at}"), text.as_bytes().to_vec())).collect();
        MachineConfig::read(&files)
    }

    #[test]
    fn the_later_file_counts_key_by_key() {
        let read = read(&[
            r#"{"machine": {"cores": 8, "memory_mb": 100, "counts": {"licence": 2, "furnace": 1}, "shared": "/srv/p"}}"#,
            r#"{"backends": 3, "machine": {"cores": 4, "counts": {"licence": 1,}}} // comments are allowed"#,
        ])
        .expect("read");
        assert_eq!((read.cores, read.memory_mb, read.pool), (Some(4), Some(100), true));
        assert_eq!(read.counts.into_iter().collect::<Vec<_>>(), [("furnace".to_owned(), 1), ("licence".to_owned(), 1)]);
        assert_eq!(self::read(&[]).expect("read"), MachineConfig::default());
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_file() {
        for (text, words) in [
            (r#"{"machine": {"core": 4}}"#, "unknown field `core`"),
            (r#"{"machine": {"cores": "4"}}"#, "`f0`: `machine.cores`"),
            (r#"{"machine": {"cores": 0}}"#, "`machine.cores` is 0"),
            (r#"{"machine": {"memory_mb": 0}}"#, "`machine.memory_mb` is 0"),
            (r#"{"machine": {"gpus": 2}}"#, "`machine.gpus`"),
            (r#"{"machine": {"gpus": ["0", "0"]}}"#, "has `0` twice"),
            (r#"{"machine": {"gpus": ["a b"]}}"#, "is no name"),
            (r#"{"machine": {"counts": {"licence": -1}}}"#, "`machine.counts.licence`"),
            (r#"{"machine": {"counts": {"": 1}}}"#, "is no name"),
            (r#"{"machine": {"shared": "pool"}}"#, "which is not absolute"),
            (r#"{"machine": []}"#, "`machine`"),
            (r#"{"machine": "#, "`f0`"),
        ] {
            let told = read(&[text]).expect_err(text);
            assert!(told.contains(words), "{text}: {told}");
        }
    }
}
