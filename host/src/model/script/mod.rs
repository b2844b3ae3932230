//! Plain scripts in the place of plugins: in which language one is written, which standard plugin carries it out, and
//! what that is told of it.
mod look;

pub use look::{Script, look, unfit};

use super::config::{BUILTIN, Pinned, PinnedFile, RunConfig};
use super::document::{canonical_own, sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The campaign's place among what may be a script.
pub const CAMPAIGN: &str = "campaign";

/// The place of an operator among what may be a script.
pub fn operator_place(key: &str) -> String {
    format!("operators.{key}")
}

/// A language of scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// CPython.
    Python,
    /// QuickJS.
    JavaScript,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::Python, Self::JavaScript];

    /// The language of a script, by how its name ends; none if it is no script.
    pub fn of(name: &str) -> Option<Self> {
        if name.starts_with(BUILTIN) {
            return None;
        }
        match name.rsplit_once('.')?.1 {
            "py" => Some(Self::Python),
            "js" | "mjs" => Some(Self::JavaScript),
            _ => None,
        }
    }

    /// The language whose scripts a standard plugin carries out, by the name after `builtin:`.
    pub fn of_runner(short: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.runner() == short)
    }

    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
        }
    }

    /// The standard plugin that carries out its scripts, by the name after `builtin:`.
    pub fn runner(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }

    /// The ends of the names of files that are modules of its scripts.
    pub fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Python => &[".py", ".whl"],
            Self::JavaScript => &[".js", ".mjs", ".json"],
        }
    }
}

/// The component that carries out what a name of the configuration stands for, by its name among the pinned plugins.
pub fn component(name: &str) -> String {
    match Language::of(name) {
        Some(language) => format!("{BUILTIN}{}", language.runner()),
        None => name.to_owned(),
    }
}

/// A script that was copied into the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinnedScript {
    /// What it is called: its path in the workspace.
    pub name: String,
    /// The script.
    pub file: PinnedFile,
    /// Its modules, by their paths in the workspace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<String, PinnedFile>,
}

impl PinnedScript {
    /// What its runner is told of it, as canonical text.
    pub fn more(&self) -> String {
        let of = |(path, file): (&String, &PinnedFile)| json!({"path": path, "sha256": file.sha256, "size": file.size});
        let modules: Vec<Value> = self.modules.iter().map(of).collect();
        canonical_own(&json!({"script": of((&self.name, &self.file)), "modules": modules}))
    }

    /// What stands for it and its modules where earlier results are reused: SHA-256, of the script alone if it has
    /// none.
    pub fn digest(&self) -> String {
        if self.modules.is_empty() {
            return self.file.sha256.clone();
        }
        let modules: BTreeMap<&String, &String> =
            self.modules.iter().map(|(path, file)| (path, &file.sha256)).collect();
        sha256(canonical_own(&json!({"script": self.file.sha256, "modules": modules})).as_bytes())
    }

    /// The script and its modules, by what they are called.
    pub fn files(&self) -> impl Iterator<Item = (&String, &PinnedFile)> {
        std::iter::once((&self.name, &self.file)).chain(&self.modules)
    }
}

impl Pinned {
    /// Everything that decides or carries tasks outside, by name: components, scripts and modules.
    pub fn code(&self) -> Vec<(String, PinnedFile)> {
        let scripts = self.scripts.values().flat_map(PinnedScript::files);
        self.plugins.iter().chain(scripts).map(|(name, file)| (name.clone(), file.clone())).collect()
    }
}

impl RunConfig {
    /// The script that decides, or that carries an operator's tasks outside; none where that is a component.
    pub fn script(&self, place: &str) -> Option<&PinnedScript> {
        self.pinned.as_ref()?.scripts.get(place)
    }

    /// What may be a script: its place, its plugin and its modules.
    pub fn places(&self) -> impl Iterator<Item = (String, &String, &[String])> {
        let operators = self
            .operators
            .iter()
            .map(|(key, operator)| (operator_place(key), &operator.plugin, operator.modules.as_slice()));
        let campaign = (CAMPAIGN.to_owned(), &self.campaign.plugin, self.campaign.modules.as_slice());
        std::iter::once(campaign).chain(operators)
    }

    /// The script that a pinned file is, or is a module of, with its place; none for files of tasks and inputs.
    pub fn script_with(&self, path: &str) -> Option<(&str, &PinnedScript)> {
        let pinned = self.pinned.as_ref()?;
        if pinned.files.contains_key(path) || self.campaign.inputs.values().any(|input| input == path) {
            return None;
        }
        let holds = |script: &PinnedScript| script.files().any(|(name, _)| name == path);
        pinned.scripts.iter().find(|(_, script)| holds(script)).map(|(place, script)| (place.as_str(), script))
    }

    /// The component behind a name of the configuration, as it is pinned.
    pub fn pinned_component(&self, name: &str) -> Option<&PinnedFile> {
        self.pinned.as_ref()?.plugins.get(&component(name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Language, PinnedScript, component};
    use crate::model::config::PinnedFile;
    use std::collections::BTreeMap;

    #[test]
    fn a_name_tells_the_language() {
        for (name, language, runs) in [
            ("campaign.py", Some(Language::Python), "builtin:python"),
            ("campaign/a.b.js", Some(Language::JavaScript), "builtin:javascript"),
            ("a.mjs", Some(Language::JavaScript), "builtin:javascript"),
            ("campaign.wasm", None, "campaign.wasm"),
            ("py", None, "py"),
            ("builtin:x.py", None, "builtin:x.py"),
        ] {
            assert_eq!((Language::of(name), component(name).as_str()), (language, runs), "{name}");
        }
        assert_eq!(Language::of_runner("python"), Some(Language::Python));
        assert_eq!(Language::of_runner("compute"), None);
    }

    #[test]
    fn modules_count_as_the_script_does() {
        let file = |digest: &str| PinnedFile::new("plugins/x".to_owned(), digest.to_owned(), 3);
        let script = |modules: &[(&str, &str)]| PinnedScript {
            name: "s.py".to_owned(),
            file: file("00"),
            modules: modules
                .iter()
                .map(|(name, digest)| ((*name).to_owned(), file(digest)))
                .collect::<BTreeMap<_, _>>(),
        };
        assert_eq!(script(&[]).digest(), "00");
        assert_ne!(script(&[("a.py", "11")]).digest(), script(&[("a.py", "22")]).digest());
        let told =
            r#"{"modules":[{"path":"a.py","sha256":"11","size":3}],"script":{"path":"s.py","sha256":"00","size":3}}"#;
        assert_eq!(script(&[("a.py", "11")]).more(), told);
    }
}
