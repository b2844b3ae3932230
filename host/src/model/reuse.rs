//! When a task may take what an earlier attempt left in place of running: the setting, and the key that both must have.
use super::document::sha256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every run of the workspace, as the value of `reuse.from`.
pub const WORKSPACE: &str = "workspace";

/// Bytes of each part's digest that are kept beside a key: enough to tell which part differs.
const SHORT: usize = 2;

/// The `reuse` section. Without it nothing is reused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReuseConfig {
    /// Where earlier results are looked for: `workspace` (all its other runs) or one of its runs; absent: nowhere.
    pub from: Option<String>,
    /// Whose tasks may take earlier results, by operator key; absent: those of every operator that runs commands on
    /// backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<Vec<String>>,
    /// Lists of places that compute alike, by the name of the machine or of the cluster's login node.
    pub places: Vec<Vec<String>>,
    /// Whose runs count beside one's own, by user name.
    pub users: Vec<String>,
    /// In what an earlier attempt may differ and serve all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Ignorable>,
}

/// A part of keys that may be left out of account: one that an operator and its backend bring to every task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ignorable {
    /// The operator's `config`.
    Config,
    /// The operator's plugin.
    Operator,
    /// What `record` told of the programs.
    Record,
    /// The backend's `setup` or `template`.
    Setup,
    /// The shell.
    Shell,
}

impl Ignorable {
    /// All of them, as the configuration names them.
    pub const ALL: [(&'static str, Self); 5] = [
        ("config", Self::Config),
        ("operator", Self::Operator),
        ("record", Self::Record),
        ("setup", Self::Setup),
        ("shell", Self::Shell),
    ];

    /// The word for a part of keys, if it is one that may be left out of account.
    pub fn word_of(part: Part) -> Option<&'static str> {
        Self::ALL.iter().find(|(_, one)| one.part() == part).map(|(word, _)| *word)
    }

    /// The part of keys that it is.
    pub fn part(self) -> Part {
        match self {
            Self::Config => Part::Config,
            Self::Operator => Part::Operator,
            Self::Record => Part::Record,
            Self::Setup => Part::Setup,
            Self::Shell => Part::Shell,
        }
    }
}

macro_rules! parts {
    ($($variant:ident = $key:literal: $name:literal;)+) => {
        /// A part of a key. They stand in the order of their names, as canonical JSON has them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Part { $(#[doc = $name] $variant,)+ }

        impl Part {
            /// All of them, in the order in which a key is made of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)+ }
            }

            /// What it is, for a sentence.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

parts! {
    Command = "command": "the command";
    Config = "config": "the operator's `config`";
    Env = "env": "the task's `env`";
    Files = "files": "the files that it is given";
    Input = "input": "the task's `input`";
    Named = "named": "a file that the command names";
    Operator = "operator": "the operator's plugin";
    Place = "place": "the place";
    Record = "record": "what `record` told of the programs";
    Setup = "setup": "the backend's `setup` or `template`";
    Shell = "shell": "the shell";
}

impl Part {
    /// In the order in which a difference is told.
    pub(super) const TOLD: [Self; 11] = [
        Self::Operator,
        Self::Config,
        Self::Command,
        Self::Named,
        Self::Shell,
        Self::Setup,
        Self::Record,
        Self::Env,
        Self::Input,
        Self::Files,
        Self::Place,
    ];
}

/// What an attempt computes, part by part, each as canonical JSON.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Each with its digest: most are the same for all tasks of an operator.
    texts: [(String, String); Part::ALL.len()],
}

impl Default for Recipe {
    fn default() -> Self {
        let none = ("null".to_owned(), sha256(b"null"));
        Self { texts: std::array::from_fn(|_| none.clone()) }
    }
}

impl Recipe {
    /// Says what a part is, as canonical JSON.
    pub fn set(&mut self, part: Part, text: String) {
        let digest = sha256(text.as_bytes());
        self.texts[part as usize] = (text, digest);
    }

    /// Says that a part is as elsewhere, where it plays a part here.
    pub fn take(&mut self, part: Part, text: &str) {
        // a shell is part of what it runs only
        if part != Part::Shell || self.texts[part as usize].0 != "null" {
            self.set(part, text.to_owned());
        }
    }

    /// The key, and what tells which part of it differs from another's.
    pub fn key(&self) -> ReuseKey {
        let mut whole = String::with_capacity(128 + self.texts.iter().map(|(text, _)| text.len()).sum::<usize>());
        let mut parts = String::with_capacity(Part::ALL.len() * SHORT * 2);
        for (part, (text, digest)) in Part::ALL.iter().zip(&self.texts) {
            whole += if whole.is_empty() { "{\"" } else { ",\"" };
            whole += part.key();
            whole += "\":";
            whole += text;
            parts.extend(digest.chars().take(SHORT * 2));
        }
        whole.push('}');
        ReuseKey { sha256: sha256(whole.as_bytes()), parts }
    }
}

/// The key of an attempt: who has the same one computes the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReuseKey {
    /// SHA-256 over canonical JSON of all parts, 64 hexadecimal digits.
    pub sha256: String,
    /// The beginnings of the digests of its parts, in their order, as hexadecimal digits.
    pub parts: String,
}

impl ReuseKey {
    /// The parts that differ from those of another key, in the order in which they are told.
    pub fn differing(&self, parts: &str) -> Vec<Part> {
        let of = |text: &str, part: Part| {
            let at = part as usize * SHORT * 2;
            text.get(at..at + SHORT * 2).map(str::to_owned)
        };
        Part::TOLD.into_iter().filter(|part| of(&self.parts, *part) != of(parts, *part)).collect()
    }
}

/// Where the results of an attempt come from that ran nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reused {
    /// The id of the run.
    pub run: String,
    /// The id of the attempt there.
    pub attempt: String,
    /// The id of the attempt that ran: the same, unless that one had reused results too.
    pub origin: String,
}

#[cfg(test)]
mod tests {
    use super::{Part, Recipe};

    #[test]
    fn a_key_is_of_all_parts_and_tells_which_differ() {
        let names: Vec<&str> = Part::ALL.iter().map(|part| part.key()).collect();
        assert!(names.is_sorted(), "as canonical JSON has them");
        assert!(Part::ALL.iter().enumerate().all(|(at, part)| *part as usize == at));
        let recipe = Recipe::default();
        for &part in Part::ALL {
            let mut other = recipe.clone();
            other.set(part, "1".to_owned());
            assert_ne!(other.key().sha256, recipe.key().sha256, "{part:?}");
            assert_eq!(other.key().differing(&recipe.key().parts), [part]);
        }
        assert_eq!(recipe.key().differing("").len(), Part::TOLD.len(), "what has no parts differs in all");
    }
}
