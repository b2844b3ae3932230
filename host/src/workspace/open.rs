//! Opens a run for a tick or a command: its configuration, store, backends and plugins, once it is sure whose they are.
use super::artifacts::RunFiles;
use super::environment::{note_environment, pinned_here};
use super::init::{config_text, workspace_of};
use super::log::RunLog;
use super::owner::{is_own, refuse_stranger};
use super::scripts::Given;
use super::{now_ms, outputs, pin, read_run_config, told};
use crate::backend::{Backends, Clock, local};
use crate::failure::{Failure, FailureKind, refuse_bundle};
use crate::ground::files::{open_regular_path, read_named, read_regular, read_whole};
use crate::ground::machine;
use crate::model::act::{Act, Actor, VERSION, Verb};
use crate::model::code::Code;
use crate::model::config::{BackendConfig, CONFIG_MAX, PLUGIN_MAX, Pinned, RunConfig};
use crate::model::contract::PlanReason;
use crate::model::document::sha256;
use crate::model::evidence::EngineRecord;
use crate::model::id::OperatorKey;
use crate::model::limit::CompileLimits;
use crate::model::reason::Reason;
use crate::model::script::{CAMPAIGN, PinnedScript, component, operator_place};
use crate::model::states::RunState;
use crate::plugin::{CONTRACT, Compiler, HostSettings, PluginHost, PluginSource, Role};
use crate::run::{Lease, Machine, Run, RunDir};
use crate::store::{Durability, NewConfig, RunRow, Store, StoreError, Writer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a command is about to do with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Advance or change it: the directory and the user must be the run's own.
    Own,
    /// Make it one's own.
    Adopt,
}

/// An opened run with its lease.
pub struct HeldRun {
    /// The run.
    pub run: Run,
    /// The right to advance it.
    pub lease: Lease,
}

/// Takes the lease and opens the run.
///
/// # Errors
/// If another process holds the lease for longer than `patience`, or the run cannot be opened.
pub fn open_run(dir: &RunDir, patience: Duration, access: Access) -> Result<HeldRun, Failure> {
    refuse_bundle(dir)?;
    let ahead = Ahead::read(dir)?;
    let lease = dir.lease(patience)?;
    let run = open_leased(dir, access, ahead)?;
    Ok(HeldRun { run, lease })
}

/// What was read and made ready before the lease was taken.
pub(crate) struct Ahead {
    config: ReadConfig,
}

impl Ahead {
    /// Reads the configuration and compiles the plugins that it names, if that has not been done.
    ///
    /// # Errors
    /// If there is no run, or its configuration cannot be read.
    pub(crate) fn read(dir: &RunDir) -> Result<Self, Failure> {
        refuse_no_database(dir)?;
        let config = read_config(dir)?;
        if let Ok(config) = &config.0 {
            compile_ahead(dir, config);
        }
        Ok(Self { config })
    }
}

/// Refuses what is not a regular file in the place of the database: SQLite would wait for a pipe.
fn refuse_no_database(dir: &RunDir) -> Result<(), Failure> {
    let what = match std::fs::symlink_metadata(dir.database()) {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        Ok(_) => format!("`state.sqlite` of run `{}` is not a regular file", dir.address()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("run `{}` has no state.sqlite", dir.address())
        }
        Err(error) => {
            let what = format!("`state.sqlite` of run `{}` cannot be examined", dir.address());
            return Err(Failure::io(what, error));
        }
    };
    Err(Failure::of(FailureKind::Machine, what).hint("restore it from a backup"))
}

/// Opens a run's store to look at it; takes no lease and changes nothing.
///
/// # Errors
/// If the store cannot be read.
pub fn read_store(dir: &RunDir) -> Result<Store, Failure> {
    refuse_no_database(dir)?;
    Ok(Store::read(&dir.database())?)
}

/// As [`read_store`], for a look that is over at once, of which a program takes many.
pub(super) fn glance_store(dir: &RunDir) -> Result<Store, Failure> {
    refuse_no_database(dir)?;
    Ok(Store::glance(&dir.database())?)
}

/// Opens a run whose lease the caller holds.
pub(crate) fn open_leased(dir: &RunDir, access: Access, ahead: Ahead) -> Result<Run, Failure> {
    let shared = on_shared_file_system(dir)?;
    let (mut config, mut digest) = ahead.config;
    let journal = config.as_ref().map(|config| config.store.journal).unwrap_or_default();
    let ours = |engine: &EngineRecord| engine.contract == CONTRACT;
    let store = Store::open(&dir.database(), (journal, shared), ours);
    let mut store = store.map_err(|error| other_contract(dir, error))?;
    let row = store.run()?;
    if digest != row.config_sha256 {
        // It may have been changed before the lease was ours.
        (config, digest) = read_config(dir)?;
    }
    let config = if digest == row.config_sha256 { config? } else { finish_change(dir, &row)? };
    if access == Access::Own {
        refuse_stranger(dir, &row, &mut store)?;
    }
    note_environment(&mut store)?;
    Ok(assemble(dir.clone(), config, store)?.0)
}

/// What is told of a run that only another version of ours can go on with.
fn other_contract(dir: &RunDir, error: StoreError) -> Failure {
    let StoreError::OtherContract(_, contract, version) = error else { return error.into() };
    let run = dir.address();
    let what = format!(
        "run `{run}` was begun under contract version {contract}; this matterstack speaks {CONTRACT} and leaves it as it is"
    );
    Failure::of(FailureKind::Plugin, what).hint(format!(
        "finish it with matterstack {version}; `status`, `evidence` and all that only look work here too"
    ))
}

/// Opens a run's store and configuration to look at them; takes no lease and changes nothing.
///
/// # Errors
/// If the store or the configuration cannot be read.
pub fn open_for_reading(dir: &RunDir) -> Result<(Store, RunConfig), Failure> {
    Ok((read_store(dir)?, kept_config(dir)?))
}

/// The configuration that a run keeps.
///
/// # Errors
/// If it cannot be read.
pub fn kept_config(dir: &RunDir) -> Result<RunConfig, Failure> {
    read_config(dir)?.0
}

/// Opens a run to look at what a tick would do; takes no lease and changes nothing.
///
/// # Errors
/// If the store or the configuration cannot be read.
pub fn open_to_look(dir: &RunDir) -> Result<Run, Failure> {
    let (store, config) = open_for_reading(dir)?;
    Ok(assemble(dir.clone(), config, store)?.0)
}

/// Copies that nobody keeps; they go with this.
#[derive(Debug)]
pub struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // What is left is in nobody's way: nothing names it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A run whose newly pinned files go into a folder of their own, which goes with the second value.
pub fn put_aside(dir: &RunDir) -> (RunDir, Aside) {
    let (dir, folder) = dir.clone().with_aside();
    (dir, Aside(folder))
}

/// Opens a run to see what an act would come to: takes no lease, and what is changed is forgotten. Acts that reach
/// outside must not be carried out on it.
///
/// # Errors
/// If the run is another user's or a copy at work, or cannot be opened.
pub fn open_to_rehearse(dir: &RunDir) -> Result<(Run, Aside), Failure> {
    refuse_bundle(dir)?;
    refuse_no_database(dir)?;
    let (config, digest) = read_config(dir)?;
    let ours = |engine: &EngineRecord| engine.contract == CONTRACT;
    let store = Store::rehearse(&dir.database(), ours).map_err(|error| other_contract(dir, error))?;
    let row = store.run()?;
    is_own(dir, &row, &store)?;
    let config = if digest == row.config_sha256 { config? } else { committed_config(dir, &row)?.0 };
    let (dir, aside) = put_aside(dir);
    Ok((assemble(dir, config, store)?.0, aside))
}

/// Loads every plugin that a configuration names, as `init` does.
///
/// # Errors
/// If one is missing, changed, for another world or version, or needs what is not granted.
pub fn check_plugins(dir: &RunDir, config: &RunConfig) -> Result<(), Failure> {
    let backends = Arc::new(Backends::new(dir.root()));
    Ok(plugin_host(dir, config, backends).load_all()?)
}

pub(super) fn on_shared_file_system(dir: &RunDir) -> Result<bool, Failure> {
    let kind = machine::file_system(dir.root())
        .map_err(|error| Failure::io(format!("run directory `{}`", dir.root().display()), error))?;
    Ok(kind == machine::FileSystem::Shared)
}

type ReadConfig = (Result<RunConfig, Failure>, String);

fn read_config(dir: &RunDir) -> Result<ReadConfig, Failure> {
    let path = dir.config();
    let bytes = open_regular_path(&path).and_then(|file| read_whole(file, CONFIG_MAX)).map_err(|error| {
        Failure::io(format!("`{}` cannot be read", path.display()), error)
            .hint("restore it from a backup; what it held is in no other file")
    })?;
    Ok((read_run_config(&bytes, &path.display().to_string()), sha256(&bytes)))
}

fn next_config(dir: &RunDir) -> PathBuf {
    dir.join("config.json.next")
}

/// Finishes a change of config.json that was committed and not put in place; refuses one made by hand.
fn finish_change(dir: &RunDir, row: &RunRow) -> Result<RunConfig, Failure> {
    let (config, waiting) = committed_config(dir, row)?;
    if waiting {
        std::fs::rename(next_config(dir), dir.config())
            .map_err(|error| Failure::machine("putting config.json in place", error))?;
    }
    Ok(config)
}

/// The configuration that was committed where config.json is another one, and whether it waits to be put in place.
fn committed_config(dir: &RunDir, row: &RunRow) -> Result<(RunConfig, bool), Failure> {
    if let Ok(Some(bytes)) = read_regular(&next_config(dir), CONFIG_MAX)
        && sha256(&bytes) == row.config_sha256
    {
        return Ok((read_run_config(&bytes, "config.json")?, true));
    }
    let (config, digest) = read_config(dir)?;
    if digest == row.config_sha256 {
        // somebody has put it in place meanwhile
        return Ok((config?, false));
    }
    Err(Failure::input(format!("config.json of run `{}` was changed by hand", row.run_id))
        .hint(format!("undo the change, and make it with `matterstack amend {} config KEY=VALUE`", dir.address())))
}

/// What would keep a command from moving a run, other than one at work: it is somebody else's, a copy that is not one's
/// own yet, or its configuration was changed by hand. Nothing if nothing would, or that cannot be told.
pub fn refusal(dir: &RunDir, store: &Store) -> Option<Failure> {
    if let Err(failure) = refuse_bundle(dir) {
        return Some(failure);
    }
    let row = store.run().ok()?;
    is_own(dir, &row, store).err().or_else(|| committed_config(dir, &row).err())
}

/// A command of this process's user, given now.
pub fn act(verb: Verb, arguments: Value, reason: Option<&str>) -> Act {
    let by = Actor {
        user_id: machine::user_id(),
        user: machine::user_name(),
        host: machine::host_name(),
        version: Some(VERSION.to_owned()),
    };
    Act { verb, arguments, reason: reason.map(str::to_owned), by, at_ms: now_ms() }
}

/// Changes a run's configuration: aside first, then in the store, then in place.
///
/// # Errors
/// If the disk or the store fails; then the old configuration holds.
pub fn write_config(run: &mut Run, config: RunConfig, act: &Act) -> Result<(), Failure> {
    write_config_with(run, config, act, |_, _| Ok::<_, StoreError>(()))
}

/// Changes a run's configuration, and with it what `also` changes, which is given the number of the act.
///
/// # Errors
/// If the disk or the store fails, or what `also` answers; then the old configuration holds.
pub fn write_config_with<T>(
    run: &mut Run,
    config: RunConfig,
    act: &Act,
    also: impl FnOnce(&Writer<'_>, i64) -> Result<T, StoreError>,
) -> Result<T, Failure> {
    let text = config_text(&config)?;
    let plugins = config.pinned.as_ref().map(Pinned::code).unwrap_or_default();
    let next = next_config(&run.dir);
    let kept = !run.store.rehearses();
    let changed = tells_otherwise(&run.config, &config);
    // who was asked is asked anew only where the rules may say something else
    let ruled_otherwise = run.config.operators != config.operators;
    if kept {
        pin::write(&next, |file| file.write_all(text.as_bytes()))?;
    }
    let done = run.store.transaction(Durability::Full, |writer| {
        let number = writer.add_act(act)?;
        writer.set_config(NewConfig { text: &text, plugins: &plugins }, number)?;
        if changed {
            writer.ask_plan(PlanReason::Changed)?;
        }
        if ruled_otherwise {
            writer.look_again_at(None, act.at_ms)?;
        }
        also(writer, number)
    })?;
    if kept {
        crate::ground::failpoint::hit("config.rename");
        std::fs::rename(&next, run.dir.config())
            .map_err(|error| Failure::machine("putting config.json in place", error))?;
    }
    run.config = config;
    Ok(done)
}

/// Puts a changed configuration of a run in place. An ended run goes on if its campaign hears of it: one that receives
/// each result is asked for a plan whenever what it goes by has changed. Returns whether the run goes on so.
///
/// # Errors
/// As [`write_config`].
pub fn write_config_and_open(run: &mut Run, config: RunConfig, act: &Act) -> Result<bool, Failure> {
    let row = run.store.run()?;
    let opens = row.state.ended() && config.campaign.takes_each_result() && tells_otherwise(&run.config, &config);
    write_config_with(run, config, act, |writer, _| {
        if opens {
            let reason = Reason::new(Code::Revived, "what its campaign goes by was amended");
            writer.set_run_state(row.state, RunState::Active, Some(&reason), act.at_ms)?;
        }
        Ok(opens)
    })
}

/// Whether a campaign is told something else under another configuration.
fn tells_otherwise(config: &RunConfig, other: &RunConfig) -> bool {
    let told = |config: &RunConfig| {
        let pinned = config.pinned.clone().unwrap_or_default();
        (config.campaign.params.clone(), config.campaign.seed, pinned.inputs, pinned.params)
    };
    told(config) != told(other)
}

/// A run's configuration with its parameters in it, as a document that `--set` can change.
///
/// # Errors
/// If the parameters cannot be read.
pub fn config_document(run: &Run) -> Result<Value, Failure> {
    let mut config = run.config.clone();
    let params = run.params().map_err(|error| Failure::machine("campaign.params of the run cannot be read", error))?;
    let read = |error| Failure::machine("campaign.params of the run are no JSON", error);
    config.campaign.params = serde_json::from_str(&params).map_err(read)?;
    serde_json::to_value(&config).map_err(|error| Failure::input("config.json").because(error))
}

/// Pins what a changed configuration newly holds: plugins, and parameters that are large.
///
/// # Errors
/// If one cannot be found or copied.
pub fn pin_again(dir: &RunDir, config: &mut RunConfig) -> Result<(), Failure> {
    let mut pinned = config.pinned.clone().unwrap_or_default();
    let workspace = workspace_of(dir).and_then(|path| std::fs::canonicalize(path).ok()).unwrap_or_default();
    pin::pin_plugins(config, &workspace, dir, &mut pinned)?;
    outputs::pin_outputs(config, &workspace, dir, &mut pinned)?;
    config.pinned = Some(pinned);
    told::check_in_run(config, dir)?;
    pin::pin_params(config, dir)
}

/// Joins the parts of a run.
pub(super) fn assemble(dir: RunDir, config: RunConfig, store: Store) -> Result<(Run, Rc<PluginHost>), Failure> {
    let mut backends = Backends::new(dir.root());
    backends.set_clock(Clock::default());
    backends.set_run_id(&store.run()?.run_id);
    let pinned = pinned_here(&store)?;
    match &pinned {
        Some(pinned) => backends.set_environment(pinned.variables.clone()),
        None => backends.set_unpinned(),
    }
    for (name, backend) in &config.backends {
        match backend {
            BackendConfig::Local(local) => {
                let log_max = Some(config.limits.attempt_log_mb.saturating_mul(1024 * 1024));
                backends.add_local(name, local::LocalSettings { config: (**local).clone(), log_max });
            }
            BackendConfig::Slurm(slurm) => backends.add_slurm(name, (**slurm).clone()),
        }
    }
    let backends = Arc::new(backends);
    let plugins = Rc::new(plugin_host(&dir, &config, backends.clone()));
    let machine = Machine {
        host: machine::host_name(),
        architecture: machine::architecture(),
        user_name: machine::user_name_of,
        pinned,
    };
    Ok((Run { dir, config, store, plugins: plugins.clone(), backends, machine }, plugins))
}

fn plugin_host(dir: &RunDir, config: &RunConfig, backends: Arc<Backends>) -> PluginHost {
    let mut host = PluginHost::new(HostSettings {
        compiler: compiler(&config.limits.compile),
        compute: backends,
        backends: config.backends.keys().cloned().collect(),
        artifacts: Arc::new(RunFiles::new(dir, config)),
        log: Arc::new(RunLog::new(dir.log())),
        limits: config.limits.plugin.clone(),
    });
    host.set_campaign(pinned_source(dir, config, CAMPAIGN, &config.campaign.plugin));
    for (key, operator) in &config.operators {
        let source = pinned_source(dir, config, &operator_place(key), &operator.plugin);
        host.add_operator(OperatorKey(key.clone()), source, operator.grants.clone());
    }
    host
}

/// The plugin that a name of the configuration stands for in a run, at the place where it stands there.
fn pinned_source(dir: &RunDir, config: &RunConfig, place: &str, name: &str) -> PluginSource {
    let pinned = config.pinned_component(name);
    PluginSource {
        name: name.to_owned(),
        path: pinned.map(|file| dir.join(&file.path)).unwrap_or_default(),
        sha256: pinned.map(|file| file.sha256.clone()).unwrap_or_default(),
        script: config.script(place).map(PinnedScript::more),
    }
}

/// What makes native code of plugins for this user.
pub fn compiler(limits: &CompileLimits) -> Compiler {
    let program = machine::own_program().to_owned();
    Compiler { cache_dir: machine::cache_directory(), program, limits: limits.clone() }
}

/// Compiles a plugin that a run is about to get, which takes no lease.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn compile_upgrade(dir: &RunDir, role: Role, file: &std::path::Path) -> Result<(), Failure> {
    let config = read_config(dir)?.0.ok();
    let limits = config.as_ref().map(|config| config.limits.compile.clone()).unwrap_or_default();
    let bytes = match Given::of(file) {
        Given::Runner(language) => pin::runner(language, "plugin", &file.display().to_string())?,
        Given::Script(language) => {
            let name = file.to_str().unwrap_or_default();
            let pinned = config.as_ref().map(|config| pinned_source(dir, config, "", &component(name)));
            if let Some(source) = pinned.filter(|source| !source.sha256.is_empty()) {
                return Ok(compiler(&limits).ready(role, &source)?);
            }
            pin::runner(language, "plugin", name)?
        }
        Given::Component(file) => read_plugin(file)?.into(),
    };
    Ok(compiler(&limits).ready_bytes(role, &file.display().to_string(), &bytes)?)
}

/// The bytes of a plugin that a person names: a file, or one of the standard plugins.
pub(super) fn read_plugin(file: &std::path::Path) -> Result<Vec<u8>, Failure> {
    if let Some(short) = file.to_str().and_then(|name| name.strip_prefix(pin::BUILTIN)) {
        return pin::builtin_plugin(short, "plugin").map(<[u8]>::to_vec);
    }
    read_named(file, PLUGIN_MAX)
        .map_err(|error| Failure::input(format!("plugin `{}` cannot be read", file.display())).because(error))
}

/// Sees to it that the run's plugins have native code, which takes no lease. What cannot be made is said where the
/// plugin is needed.
pub fn compile_ahead(dir: &RunDir, config: &RunConfig) {
    let compiler = compiler(&config.limits.compile);
    let named: BTreeSet<(Role, String)> = config
        .places()
        .map(|(place, name, _)| (if place == CAMPAIGN { Role::Campaign } else { Role::Operator }, component(name)))
        .collect();
    for (role, name) in named {
        let source = pinned_source(dir, config, "", &name);
        if !source.sha256.is_empty() {
            // A tick that needs it says why it has none.
            let _ = compiler.ready(role, &source);
        }
    }
}
