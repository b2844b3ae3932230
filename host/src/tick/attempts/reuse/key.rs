//! The key of an attempt: what it computes, by what, where.
use super::named::{View, named_files};
use crate::ground::carriage::is_executable;
use crate::model::config::{BackendConfig, COMPUTE, OperatorConfig, RunConfig};
use crate::model::document::{canonical_value, sha256};
use crate::model::pattern::plain_path;
use crate::model::recorded::RecordedCommand;
use crate::model::reuse::{Ignorable, Part, Recipe, ReuseKey};
use crate::model::script::operator_place;
use crate::model::workflow::{CommandLine, FileSource, Task};
use crate::run::{Machine, Run};
use crate::store::{NewEnvironment, NewInput, StoreError};
use crate::tick::attempts::digests::file_of_digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Operators that carry tasks to people and instruments, and kits to where nobody looks.
const NEVER: [&str; 3] = ["builtin:human", "builtin:experiment", "builtin:manual-hpc"];

/// Why an attempt has no key.
#[derive(Debug)]
pub(super) enum Keyless {
    /// What it computes cannot be told, or is never the same: a sentence.
    Told(String),
    Store(StoreError),
}

impl From<StoreError> for Keyless {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn told(text: impl Into<String>) -> Keyless {
    Keyless::Told(text.into())
}

/// What the keys of all tasks of an operator have in common.
#[derive(Debug)]
pub(super) struct Frame {
    recipe: Recipe,
    view: View,
    /// What the files hold that the operator's launcher names, such as the image of a container.
    launcher_files: BTreeMap<String, String>,
    /// The shell of the backend, as a part of keys.
    shell: String,
    /// The places that count as this one, as parts of keys.
    alike: Vec<String>,
}

impl Frame {
    pub(super) fn of(run: &Run, operator: &str) -> Result<Self, Keyless> {
        let config = &run.config;
        let settings = config.operators.get(operator);
        let settings = settings.ok_or_else(|| told(format!("the configuration has no operator `{operator}`")))?;
        if NEVER.contains(&settings.plugin.as_str())
            || settings.grants.compute.is_empty()
            || settings.grants.exchange.is_some()
        {
            return Err(told(format!(
                "what people, kits and instruments do is not reused, and `{operator}` asks them"
            )));
        }
        let (_, backend) = backend_of(config, operator, settings)?;
        let mut recipe = Recipe::default();
        let common = common(config, run.machine.pinned.as_ref(), operator)?;
        for (part, text) in common.iter().filter(|(part, _)| *part != Part::Shell) {
            recipe.set(*part, text.clone());
        }
        let (view, name, architecture) = place(backend, &run.machine);
        let place = |name: &str| {
            let kind = match backend {
                BackendConfig::Local(_) => "local",
                BackendConfig::Slurm(_) => "slurm",
            };
            text(&json!({"kind": kind, "name": name, "architecture": architecture}))
        };
        recipe.set(Part::Place, place(&name));
        let launcher_files = launcher_files(run, operator, settings, view)?;
        let places = config.reuse.iter().flat_map(|reuse| &reuse.places).filter(|places| places.contains(&name));
        let alike = places.flatten().filter(|other| **other != name).map(|other| place(other)).collect();
        Ok(Self { recipe, view, launcher_files, shell: text(&shell(backend)), alike })
    }

    /// What an attempt at this task computes, given what it consumes beside what stands in the task.
    pub(super) fn recipe(
        &self,
        run: &Run,
        directory: &str,
        task: &Task,
        inputs: &[NewInput],
    ) -> Result<Recipe, Keyless> {
        let mut recipe = self.recipe.clone();
        if let Some(command) = &task.command {
            recipe.set(Part::Command, text(command));
            if matches!(command, CommandLine::Shell(_)) {
                recipe.set(Part::Shell, self.shell.clone());
            }
            let mut named = named_files(command, &run.dir.join(directory), self.view).map_err(Keyless::Told)?;
            named.extend(self.launcher_files.clone());
            if !named.is_empty() {
                recipe.set(Part::Named, text(&named));
            }
        }
        if !task.env.is_empty() {
            recipe.set(Part::Env, text(&task.env));
        }
        if let Some(input) = &task.input {
            recipe.set(Part::Input, text(input));
        }
        let files = files(run, directory, task, inputs)?;
        if !files.is_empty() {
            recipe.set(Part::Files, text(&files));
        }
        Ok(recipe)
    }

    /// The keys that an earlier attempt may have which computed the same: its own first, then those of places that
    /// count as this one, then those under other settings in which it may differ.
    pub(super) fn keys(&self, recipe: &Recipe, ignore: &[Ignorable], others: &[Common]) -> Vec<ReuseKey> {
        let elsewhere = self.alike.iter().map(|place| {
            let mut recipe = recipe.clone();
            recipe.set(Part::Place, place.clone());
            recipe
        });
        let same: Vec<Recipe> = std::iter::once(recipe.clone()).chain(elsewhere).collect();
        let mut keys: Vec<ReuseKey> = same.iter().map(Recipe::key).collect();
        for (recipe, other) in same.iter().flat_map(|recipe| others.iter().map(move |other| (recipe, other))) {
            let mut recipe = recipe.clone();
            for (part, text) in other.iter().filter(|(part, _)| ignore.iter().any(|one| one.part() == *part)) {
                recipe.take(*part, text);
            }
            let key = recipe.key();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

/// What an operator and its backend bring to the key of every task, whichever machine it is.
pub(super) type Common = Vec<(Part, String)>;

/// What that is under a configuration, and with what was pinned of the environment.
pub(super) fn common(config: &RunConfig, pinned: Option<&NewEnvironment>, operator: &str) -> Result<Common, Keyless> {
    let settings = config.operators.get(operator);
    let settings = settings.ok_or_else(|| told(format!("the configuration has no operator `{operator}`")))?;
    let (name, backend) = backend_of(config, operator, settings)?;
    Ok(vec![
        (Part::Operator, version(config, operator, &settings.plugin)),
        (Part::Config, text(&settings.config)),
        (Part::Setup, text(&setup(backend))),
        (Part::Record, text(&recorded(pinned, (name, backend))?)),
        (Part::Shell, text(&shell(backend))),
    ])
}

fn text(value: &impl serde::Serialize) -> String {
    canonical_value(value).unwrap_or_else(|_| "null".to_owned())
}

/// The digests of the files that the launcher of an operator names; it is the same for every task.
fn launcher_files(
    run: &Run,
    operator: &str,
    settings: &OperatorConfig,
    view: View,
) -> Result<BTreeMap<String, String>, Keyless> {
    let launcher = settings.config.get("launcher").filter(|_| settings.plugin == COMPUTE);
    let Some(launcher) = launcher.and_then(|launcher| serde_json::from_value::<CommandLine>(launcher.clone()).ok())
    else {
        return Ok(BTreeMap::new());
    };
    // it lies as deep as the directory of any attempt
    let directory = run.dir.join("operators").join(operator).join("attempt");
    let named = named_files(&launcher, &directory, view);
    named.map_err(|why| told(format!("in the `launcher` of operator `{operator}`, {why}")))
}

/// What stands for an operator's plugin: what its manifest says, whatever release it came with, else its digest; for a
/// script its own, whatever carries it out.
fn version(config: &RunConfig, operator: &str, plugin: &str) -> String {
    if let Some(script) = config.script(&operator_place(operator)) {
        return text(&json!({"format": 1, "plugin": script.digest()}));
    }
    let pinned = config.pinned_component(plugin);
    match pinned.and_then(|file| file.reuse_version.as_deref()) {
        Some(version) => text(&json!({"format": 1, "version": version})),
        None => text(&json!({"format": 1, "plugin": pinned.map(|file| file.sha256.as_str())})),
    }
}

/// The backend on which an operator runs commands.
fn backend_of<'a>(
    config: &'a RunConfig,
    operator: &str,
    settings: &OperatorConfig,
) -> Result<(&'a str, &'a BackendConfig), Keyless> {
    let chosen = settings.config.get("backend").and_then(Value::as_str);
    let granted = settings.grants.compute.iter().map(String::as_str);
    let name = match (chosen, settings.grants.compute.as_slice()) {
        (Some(chosen), _) => granted.into_iter().find(|name| *name == chosen),
        (None, [only]) => Some(only.as_str()),
        (None, _) => None,
    };
    let backend = name.and_then(|name| config.backends.get_key_value(name));
    backend
        .map(|(name, backend)| (name.as_str(), backend))
        .ok_or_else(|| told(format!("nobody can tell on which backend operator `{operator}` runs it")))
}

/// The shell of a backend, for commands that are a line of it.
fn shell(backend: &BackendConfig) -> Vec<String> {
    let shell = match backend {
        BackendConfig::Local(local) => &local.shell,
        BackendConfig::Slurm(slurm) => &slurm.shell,
    };
    if shell.is_empty() { ["/bin/sh", "-c"].map(str::to_owned).to_vec() } else { shell.clone() }
}

/// What runs before every command of a backend.
fn setup(backend: &BackendConfig) -> Value {
    match backend {
        BackendConfig::Slurm(slurm) if !slurm.setup.is_empty() || slurm.template.is_some() => {
            json!({"lines": slurm.setup, "may_fail": slurm.setup_may_fail, "template": slurm.template})
        }
        BackendConfig::Local(local) if !local.setup.is_empty() => {
            json!({"lines": local.setup, "may_fail": local.setup_may_fail, "shell": shell(backend)})
        }
        BackendConfig::Local(_) | BackendConfig::Slurm(_) => Value::Null,
    }
}

/// What the commands of `record` that count told of the programs that a backend's jobs use.
fn recorded(pinned: Option<&NewEnvironment>, backend: (&str, &BackendConfig)) -> Result<Value, Keyless> {
    let (name, BackendConfig::Local(local)) = backend else { return Ok(Value::Null) };
    let mut told_here = BTreeMap::new();
    for command in local.record.iter().filter(|command| command.is_key()).map(RecordedCommand::command) {
        let all = pinned.into_iter().flat_map(|pinned| &pinned.recorded);
        let found = all.into_iter().find(|one| one.backend == name && one.command == command);
        let found = found.ok_or_else(|| {
            told(format!("`{command}` of `record` has not been run here yet: `amend RUN environment` runs it"))
        })?;
        told_here.insert(command.to_owned(), found.output.clone());
    }
    Ok(if told_here.is_empty() { Value::Null } else { json!(told_here) })
}

/// Where a backend runs commands: what is seen of it from here, its name, and its architecture where that is known.
fn place(backend: &BackendConfig, machine: &Machine) -> (View, String, Option<&'static str>) {
    let far = match backend {
        BackendConfig::Local(_) => None,
        BackendConfig::Slurm(slurm) => slurm.ssh.as_ref(),
    };
    match far {
        Some(ssh) => (View::Far, ssh.host.clone(), None),
        None => (View::Here, machine.host.clone(), Some(machine.architecture)),
    }
}

/// Every file that the attempt is given: its digest, and whether it can be executed.
fn files(
    run: &Run,
    directory: &str,
    task: &Task,
    inputs: &[NewInput],
) -> Result<BTreeMap<String, (String, bool)>, Keyless> {
    let mut files = BTreeMap::new();
    for input in inputs {
        let executable = executes(run, directory, task, input)?;
        files.insert(input.destination.clone(), (input.sha256.clone(), executable));
    }
    for (destination, source) in &task.files {
        if let FileSource::Content(content) = source {
            let digest = sha256(content.content.as_bytes());
            files.insert(destination.clone(), (digest, content.executable.unwrap_or(false)));
        } else if !files.contains_key(destination) {
            return Err(told(format!("its file `{destination}` is not there yet")));
        }
    }
    Ok(files)
}

fn executes(run: &Run, directory: &str, task: &Task, input: &NewInput) -> Result<bool, Keyless> {
    let path = match task.files.get(&input.destination) {
        Some(source @ (FileSource::Path(_) | FileSource::Other(_) | FileSource::Content(_))) => {
            let pinned = run.config.pinned_file(source);
            return Ok(source.executable().unwrap_or(pinned.is_some_and(|(_, pinned)| pinned.executable)));
        }
        Some(FileSource::Digest(given)) => {
            if let Some(executable) = given.executable {
                return Ok(executable);
            }
            if !given.parts.is_empty() {
                return Ok(false);
            }
            file_of_digest(run, &given.digest)?.map(|path| run.dir.join(&path))
        }
        Some(FileSource::From(from)) => {
            if let Some(executable) = from.executable {
                return Ok(executable);
            }
            let found = run.store.output_of(from.from.as_str(), &plain_path(&from.output))?;
            found.map(|(made_in, output)| run.dir.join(&made_in).join(output.path))
        }
        // it was carried over, and lies in the attempt's own directory
        None => Some(run.dir.join(directory).join(&input.destination)),
    };
    let metadata = path.and_then(|path| std::fs::symlink_metadata(path).ok());
    Ok(metadata.is_some_and(|metadata| is_executable(&metadata)))
}
