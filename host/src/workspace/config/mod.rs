//! Reads config.json: merges what `--set`, the workspace and the user say, and checks it.
mod check;
mod layers;
mod notify;
mod operators;
mod rules;

pub use layers::{SET, refuse_twice, set_value, set_values};
pub use notify::granted_origins;

use crate::failure::{Failure, FailureKind};
use crate::ground::files::read_named;
use crate::ground::machine;
use crate::ground::share;
use crate::model::config::{BackendConfig, CONFIG_MAX, RunConfig};
use crate::model::document::{self, Dialect};
use crate::model::limit::CompileLimits;
use crate::model::workflow::nearest;
use check::check;
use layers::Layers;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The operator and the backend that are implied where nothing else is configured.
const IMPLIED: &str = "local";

/// Where a site's or a person's own settings lie: `$XDG_CONFIG_HOME` or `~/.config`, then `matterstack/config.json`.
pub fn user_config() -> Option<PathBuf> {
    share::user_settings()
}

/// A run's configuration, and what a person should be told of how it came about.
#[derive(Debug)]
pub struct Resolved {
    /// The configuration.
    pub config: RunConfig,
    /// What was implied, if anything was.
    pub implied: Option<String>,
}

/// Joins what `--set`, a configuration file and the user's own file say, in this order of precedence, and checks it.
///
/// # Errors
/// If a file cannot be read, or the result is not a valid configuration.
pub fn resolve(file: &Path, user: Option<&Path>, sets: &[String]) -> Result<Resolved, Failure> {
    let mut layers = Layers::default();
    if let Some(path) = user.filter(|path| path.exists()) {
        layers.add_file(path)?;
        layers.take_machine()?;
    }
    layers.add_file(file)?;
    if layers.value.get("pinned").is_some() {
        return Err(Failure::input(format!("`{}` has the key `pinned`, which only `init` writes", file.display()))
            .hint("remove it"));
    }
    layers.add_sets(sets, SET)?;
    let implied = imply_local(&mut layers.value);
    let mut config = layers.parse()?;
    notify::grant(&mut config, user)?.map_err(|wrong| layers.failure(wrong))?;
    let checks = [check, check::check_new, check::check_now, check::check_tasks];
    checks.into_iter().try_for_each(|check| check(&config)).map_err(|wrong| layers.failure(wrong))?;
    Ok(Resolved { config, implied })
}

/// Gives a builtin campaign without operators the operator `local`, on all cores that this process may use.
fn imply_local(value: &mut Value) -> Option<String> {
    let builtin = value["campaign"]["plugin"].as_str().is_some_and(|plugin| plugin.starts_with("builtin:"));
    let none = value.get("operators").is_none_or(|operators| operators.as_object().is_some_and(Map::is_empty));
    if !builtin || !none {
        return None;
    }
    let cores = machine::usable_cores();
    value["operators"] = json!({IMPLIED: {"plugin": "builtin:compute", "grants": {"compute": [IMPLIED]}}});
    let given = value["backends"].get(IMPLIED).cloned();
    if given.as_ref().is_some_and(|backend| backend.get("kind").is_some()) {
        return Some(format!("no operator is configured: `{IMPLIED}` runs commands on backend `{IMPLIED}`"));
    }
    let mut backend = json!({"kind": "local", "cores": cores});
    layers::merge(&mut backend, given.unwrap_or_else(|| json!({})));
    let told = format!("on {} cores", backend["cores"]);
    if value["backends"].is_null() {
        value["backends"] = json!({});
    }
    if let Some(backends) = value["backends"].as_object_mut() {
        backends.insert(IMPLIED.to_owned(), backend);
    }
    Some(format!("no operator is configured: `{IMPLIED}` runs commands on this machine, {told}"))
}

/// Reads the configuration of one backend: from a file, over the user's own.
///
/// # Errors
/// If a file cannot be read, or no such backend is configured, or not validly.
pub fn backend_config(name: &str, file: Option<&Path>, user: Option<&Path>) -> Result<BackendConfig, Failure> {
    let mut layers = Layers::default();
    for path in user.filter(|path| path.exists()).into_iter().chain(file) {
        layers.add_file(path)?;
    }
    let backends = layers.value.get("backends").and_then(Value::as_object);
    let Some(found) = backends.and_then(|backends| backends.get(name)) else {
        let names = backends.into_iter().flat_map(|backends| backends.keys().map(String::as_str));
        let hint = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name the configuration with --workspace W or --config FILE".to_owned(),
        };
        return Err(Failure::input(format!("no backend `{name}` is configured")).hint(hint));
    };
    layers.value = json!({"campaign": {"plugin": "builtin:workflow"}, "backends": {name: found}});
    let mut config = layers.parse()?;
    check(&config).map_err(|wrong| layers.failure(wrong))?;
    config.backends.remove(name).ok_or_else(|| Failure::of(FailureKind::Bug, "a backend just read is not there"))
}

/// What compiling a plugin may take where no run says it: by the configuration of the workspace in which it lies, over
/// the user's own, over the defaults.
///
/// # Errors
/// If a file cannot be read, or is not a valid configuration as far as these limits go.
pub fn compile_limits(
    plugin: Option<&Path>,
    root: Option<&Path>,
    user: Option<&Path>,
) -> Result<CompileLimits, Failure> {
    let mut layers = Layers::default();
    let plugin = plugin.and_then(|plugin| std::fs::canonicalize(plugin).ok());
    let below = plugin.iter().flat_map(|plugin| plugin.ancestors()).skip(1);
    let below = below.take_while(|folder| root.is_some_and(|root| folder.starts_with(root)));
    let workspace = below.map(|folder| folder.join("config.json")).find(|path| path.is_file());
    for path in user.filter(|path| path.exists()).into_iter().chain(workspace.as_deref()) {
        layers.add_file(path)?;
    }
    let found = layers.value.pointer("/limits/compile").cloned().unwrap_or_else(|| json!({}));
    layers.value = json!({"campaign": {"plugin": "builtin:workflow"}, "limits": {"compile": found}});
    let config = layers.parse()?;
    check(&config).map_err(|wrong| layers.failure(wrong))?;
    Ok(config.limits.compile)
}

/// Reads a run's resolved configuration from its text.
///
/// # Errors
/// If it is not a valid configuration.
pub fn read_run_config(text: &[u8], name: &str) -> Result<RunConfig, Failure> {
    let parsed = serde_json::from_slice::<RunConfig>(text);
    let config = match parsed {
        Ok(config) => config,
        // Looked at once more, for what is wrong with it.
        Err(_) => {
            let mut layers = Layers::default();
            layers.add_text(name, text)?;
            layers.parse()?
        }
    };
    check(&config).map_err(|wrong| Layers::default().failure(wrong))?;
    Ok(config)
}

/// A configuration with some values changed, each given as `KEY=VALUE` behind `option`.
///
/// # Errors
/// If a value is malformed, or the result is not a valid configuration.
pub fn amended(value: Value, sets: &[String], option: &'static str) -> Result<RunConfig, Failure> {
    let mut layers = Layers::default();
    layers.value = value;
    layers.add_sets(sets, option)?;
    let mut amended = layers.parse()?;
    notify::grant(&mut amended, user_config().as_deref())?.map_err(|wrong| layers.failure(wrong))?;
    let checks = [check, check::check_now, check::check_tasks];
    checks.into_iter().try_for_each(|check| check(&amended)).map_err(|wrong| layers.failure(wrong))?;
    Ok(amended)
}

/// Reads a document that a person wrote, comments and trailing commas included.
fn read_document(bytes: &[u8], name: &str) -> Result<Value, Failure> {
    document::read(bytes, Dialect::Commented).map_err(|fault| {
        let (what, hint) = if fault.kind.is_syntax() {
            ("is not JSON", "mend the file at that line and column; comments and trailing commas are allowed")
        } else {
            ("cannot be taken as it stands", "mend the file at that line and column")
        };
        Failure::input(format!("configuration `{name}` {what}")).because(fault).hint(hint)
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    read_named(path, CONFIG_MAX).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::input(format!("no configuration `{}`", path.display()))
            .hint("write one, or name another with --config FILE; `matterstack config schema` prints its schema"),
        std::io::ErrorKind::InvalidData => {
            Failure::machine(format!("configuration `{}` cannot be read", path.display()), "not a regular file")
                .hint("remove what is in its place, or name a file with --config FILE")
        }
        _ => Failure::machine(format!("configuration `{}` cannot be read", path.display()), error),
    })
}
