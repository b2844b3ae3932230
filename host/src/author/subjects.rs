//! What `plugin test` tries: a file, or the plugins that a workspace names, with what their configuration gives them.
use super::look::{Looked, look};
use super::proof::{BACKEND, Proof, Subject, prove};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::read_named;
use crate::model::config::{PLUGIN_MAX, RunConfig};
use crate::model::script::{CAMPAIGN, operator_place};
use crate::plugin::builtin;
use crate::workspace::{LooseScript, Resolved, compile_limits, loose_script, resolve, user_config};
use serde_json::{Value, json};
use std::ffi::OsStr;
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

/// A plugin as a configuration names it.
struct Named {
    plugin: String,
    /// The key of the operator; none for the campaign.
    operator: Option<String>,
}

/// Where a plugin is named.
struct Place<'a> {
    /// The workspace.
    folder: &'a Path,
    config: &'a RunConfig,
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
    let place = config.as_ref().and_then(|(folder, config)| {
        let here = std::fs::canonicalize(path).ok()?;
        let is_it = |named: &Named| std::fs::canonicalize(folder.join(&named.plugin)).is_ok_and(|file| file == here);
        let operator = named(config).into_iter().find(is_it)?.operator;
        Some(Place { folder, config, operator })
    });
    one(asked, asked.path, place).map(|proof| vec![proof])
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
        let place = Place { folder: directory, config: &config, operator: named.operator };
        one(asked, &file.to_string_lossy(), Some(place))
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

fn one(asked: &Asked<'_>, name: &str, place: Option<Place<'_>>) -> Result<Proof, Failure> {
    let found = look(name)?;
    if let Some(problem) = found.problems().first() {
        return Err(Failure::of(FailureKind::Plugin, format!("`{name}` {problem}"))
            .hint("`matterstack plugin check FILE` lists all that is wrong"));
    }
    let script = match &found {
        Looked::Script(_) => script(name, place.as_ref())?,
        Looked::Component(_) => None,
    };
    let bytes = match (&script, name.strip_prefix("builtin:").and_then(builtin::builtin)) {
        (Some(script), _) => script.runner.to_vec(),
        (None, Some(bytes)) => bytes.to_vec(),
        (None, None) => read_named(Path::new(name), PLUGIN_MAX)
            .map_err(|error| Failure::machine(format!("plugin `{name}` cannot be read"), error))?,
    };
    let file = (!name.starts_with("builtin:")).then(|| Path::new(name));
    let config = place.as_ref().map(|place| place.config);
    let operator = place.as_ref().and_then(|place| place.config.operators.get(place.operator.as_ref()?));
    let (given, task) = match &place {
        None => (json!({}), None),
        Some(Place { config, operator: None, .. }) => (config.campaign.params.clone(), None),
        Some(Place { config, operator: Some(key), .. }) => {
            (operator.map(|operator| operator.config.clone()).unwrap_or_default(), task_of(config, key))
        }
    };
    let granted = operator.map(|operator| operator.grants.compute.clone()).filter(|backends| !backends.is_empty());
    let subject = Subject {
        name,
        bytes: &bytes,
        script: script.as_ref(),
        backends: granted.unwrap_or_else(|| vec![BACKEND.to_owned()]),
        given: asked.given.clone().unwrap_or(given),
        task: asked.task.clone().or(task),
        config,
        compile: compile_limits(file, asked.root, user_config().as_deref())?,
    };
    let world = if operator.is_some() { "operator" } else { found.world().unwrap_or("campaign") };
    prove(&subject, world)
}

/// A script with the modules that its workspace gives it; one that no configuration names has none.
fn script(name: &str, place: Option<&Place<'_>>) -> Result<Option<LooseScript>, Failure> {
    let unread = |error| Failure::input(format!("plugin `{name}` cannot be read")).because(error);
    let Some(Place { folder, config, operator }) = place else {
        let file = std::fs::canonicalize(name).map_err(unread)?;
        let (folder, name) = (file.parent().unwrap_or(&file), file.file_name().and_then(OsStr::to_str));
        return loose_script(folder, CAMPAIGN, name.unwrap_or_default(), &[]);
    };
    let folder = std::fs::canonicalize(folder).map_err(unread)?;
    let key = operator.as_deref().map_or_else(|| CAMPAIGN.to_owned(), operator_place);
    match config.places().find(|(of, _, _)| *of == key) {
        Some((_, path, modules)) => loose_script(&folder, &key, path, modules),
        None => Ok(None),
    }
}

/// A task of the workspace's list that this operator carries.
fn task_of(config: &RunConfig, operator: &str) -> Option<Value> {
    let tasks = config.campaign.params.get("tasks")?.as_array()?;
    tasks.iter().find(|task| task["operator"] == operator).cloned()
}
