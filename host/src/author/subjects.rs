//! What `plugin test` tries: a file, or the plugins that a workspace names, with what their configuration gives them.
use super::look::{Looked, look};
use super::proof::{Proof, Subject, prove};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::read_named;
use crate::model::config::{PLUGIN_MAX, RunConfig};
use crate::plugin::builtin;
use crate::workspace::{Resolved, compile_limits, resolve, user_config};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How far above a file its workspace is looked for.
const LEVELS: usize = 6;

/// What a person asks to be tried.
#[derive(Debug)]
pub struct Asked<'a> {
    /// A file, a workspace's directory, or `builtin:NAME`.
    pub path: &'a str,
    /// `campaign.params`, or an operator's `config`, in the place of the workspace's.
    pub given: Option<Value>,
    /// A task that the operator takes.
    pub task: Option<Value>,
    /// The workspaces root, if there is one.
    pub root: Option<&'a Path>,
}

/// A plugin as a configuration names it, with what that gives it.
struct Named {
    plugin: String,
    /// The key of the operator; none for the campaign.
    operator: Option<String>,
}

/// Tries a plugin, or every plugin that a workspace names by a file.
///
/// # Errors
/// If there is none, or one cannot be used at all.
pub fn test(asked: &Asked<'_>) -> Result<Vec<Proof>, Failure> {
    let path = Path::new(asked.path);
    if path.is_dir() {
        return of_directory(asked, path);
    }
    let config = configuration(path);
    let named = config.as_ref().and_then(|(folder, config)| {
        let here = std::fs::canonicalize(path).ok()?;
        let is_it = |named: &Named| std::fs::canonicalize(folder.join(&named.plugin)).is_ok_and(|file| file == here);
        let named = named(config).into_iter().find(is_it)?;
        Some((config, named.operator))
    });
    one(asked, asked.path, named).map(|proof| vec![proof])
}

fn of_directory(asked: &Asked<'_>, directory: &Path) -> Result<Vec<Proof>, Failure> {
    let Resolved { config, .. } = resolve(&directory.join("config.json"), user_config().as_deref(), &[])?;
    let named = named(&config);
    if named.is_empty() {
        return Err(Failure::input(format!("`{}` names standard plugins alone", directory.display()))
            .hint("name a file, or `builtin:NAME`, to test that"));
    }
    let proofs = named.into_iter().map(|named| {
        let file = directory.join(&named.plugin);
        one(asked, &file.to_string_lossy(), Some((&config, named.operator)))
    });
    proofs.collect()
}

/// The configuration of the workspace in which a file lies.
fn configuration(file: &Path) -> Option<(PathBuf, RunConfig)> {
    let real = std::fs::canonicalize(file).ok()?;
    let folder = real.ancestors().skip(1).take(LEVELS).find(|folder| folder.join("config.json").is_file())?.to_owned();
    let resolved = resolve(&folder.join("config.json"), user_config().as_deref(), &[]).ok()?;
    Some((folder, resolved.config))
}

/// The plugins of a configuration that are files, each once.
fn named(config: &RunConfig) -> Vec<Named> {
    let campaign = Named { plugin: config.campaign.plugin.clone(), operator: None };
    let operators = config.operators.iter();
    let operators =
        operators.map(|(key, operator)| Named { plugin: operator.plugin.clone(), operator: Some(key.clone()) });
    let mut seen = std::collections::BTreeSet::new();
    let mut all: Vec<Named> = std::iter::once(campaign).chain(operators).collect();
    all.retain(|named| !named.plugin.starts_with("builtin:") && seen.insert(named.plugin.clone()));
    all
}

fn one(asked: &Asked<'_>, name: &str, named: Option<(&RunConfig, Option<String>)>) -> Result<Proof, Failure> {
    let found = match look(name)? {
        Looked::Component(found) => found,
        Looked::Script(_) => {
            return Err(Failure::input(format!("`{name}` is a script, and components are tested")).hint(
                "its functions are plain ones: test them in their own language; `plugin check` looks at the file",
            ));
        }
    };
    if let Some(problem) = found.problems.first() {
        return Err(Failure::of(FailureKind::Plugin, format!("`{name}` {problem}"))
            .hint("`matterstack plugin check FILE` lists all that is wrong"));
    }
    let bytes = match name.strip_prefix("builtin:").and_then(builtin::builtin) {
        Some(bytes) => bytes.to_vec(),
        None => read_named(Path::new(name), PLUGIN_MAX)
            .map_err(|error| Failure::machine(format!("plugin `{name}` cannot be read"), error))?,
    };
    let file = (!name.starts_with("builtin:")).then(|| Path::new(name));
    let compile = compile_limits(file, asked.root, user_config().as_deref())?;
    let config = named.as_ref().map(|(config, _)| *config);
    let (given, task) = match &named {
        None => (json!({}), None),
        Some((config, None)) => (config.campaign.params.clone(), None),
        Some((config, Some(key))) => {
            let given = config.operators.get(key).map(|operator| operator.config.clone()).unwrap_or_default();
            (given, task_of(config, key))
        }
    };
    let given = asked.given.clone().unwrap_or(given);
    let task = asked.task.clone().or(task);
    let world = if named.is_some_and(|(_, operator)| operator.is_some()) { "operator" } else { &found.world };
    prove(&Subject { name, bytes: &bytes, given, task, config, compile }, world)
}

/// A task of the workspace's list that this operator carries.
fn task_of(config: &RunConfig, operator: &str) -> Option<Value> {
    let tasks = config.campaign.params.get("tasks")?.as_array()?;
    tasks.iter().find(|task| task["operator"] == operator).cloned()
}
