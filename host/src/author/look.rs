//! What a file is that should be a plugin.
use crate::failure::Failure;
use crate::ground::files::read_named;
use crate::model::config::PLUGIN_MAX;
use crate::model::script::{self, Language, Script};
use crate::model::workflow::nearest;
use crate::plugin::{Inspection, builtin, inspect};
use serde::Serialize;
use std::path::Path;

/// How the names of standard plugins begin.
const BUILTIN: &str = "builtin:";

/// What was found.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Looked {
    /// A component.
    Component(Box<Inspection>),
    /// A script.
    Script(Script),
}

impl Looked {
    /// Why it cannot be used, in sentences that follow its name.
    pub fn problems(&self) -> &[String] {
        match self {
            Self::Component(found) => &found.problems,
            Self::Script(found) => &found.problems,
        }
    }

    /// `campaign`, `operator` or `runner`.
    pub fn world(&self) -> Option<&str> {
        match self {
            Self::Component(found) => Some(&found.world),
            Self::Script(found) => found.world.as_deref(),
        }
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> &str {
        match self {
            Self::Component(found) => &found.sha256,
            Self::Script(found) => &found.sha256,
        }
    }
}

/// Looks at a file, or at the standard plugin `builtin:NAME`. Nothing of it is compiled or executed.
///
/// # Errors
/// If it cannot be read, or is neither a script nor a component of the contract.
pub fn look(name: &str) -> Result<Looked, Failure> {
    if let Some(short) = name.strip_prefix(BUILTIN) {
        let bytes = builtin::builtin(short).ok_or_else(|| {
            let near = nearest(short, builtin::names()).map(|near| format!("did you mean `{BUILTIN}{near}`? "));
            let names: Vec<&str> = builtin::names().collect();
            Failure::input(format!("no standard plugin `{name}`")).hint(format!(
                "{}there are: {}",
                near.unwrap_or_default(),
                names.join(", ")
            ))
        })?;
        return Ok(Looked::Component(Box::new(inspect(name, bytes)?)));
    }
    let bytes = read_named(Path::new(name), PLUGIN_MAX)
        .map_err(|error| Failure::input(format!("plugin `{name}` cannot be read")).because(error))?;
    Ok(match Language::of(name) {
        Some(language) => Looked::Script(script::look(language, &bytes)),
        None => Looked::Component(Box::new(inspect(name, &bytes)?)),
    })
}
