//! Opens a run for a tick or a command: its configuration, store, backends and plugins, once it is sure whose they are.
use super::init::{config_text, workspace_of};
use super::{now_ms, pin, read_run_config};
use crate::backend::{Backends, local};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::open_regular_path;
use crate::ground::machine;
use crate::model::config::{BackendConfig, RunConfig};
use crate::model::contract::{Detail, GuestError};
use crate::model::document::{hex, sha256};
use crate::model::id::OperatorKey;
use crate::model::time::Time;
use crate::plugin::{Artifacts, HostSettings, LogLevel, PluginHost, PluginLog, PluginSource};
use crate::run::Run;
use crate::run::{Lease, RunDir};
use crate::store::{Durability, RunRow, Store, StoreError};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The size at which the plugins' log is put aside and begun anew, in bytes.
const LOG_MAX: u64 = 64 * 1024 * 1024;

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
    refuse_no_database(dir)?;
    let lease = dir.lease(patience)?;
    let run = open_leased(dir, access)?;
    Ok(HeldRun { run, lease })
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
            return Err(Failure::machine(what, error));
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

/// Opens a run whose lease the caller holds.
pub(crate) fn open_leased(dir: &RunDir, access: Access) -> Result<Run, Failure> {
    refuse_no_database(dir)?;
    let shared = on_shared_file_system(dir)?;
    let (config, digest) = read_config(dir)?;
    let journal = config.as_ref().map(|config| config.store.journal).unwrap_or_default();
    let mut store = Store::open(&dir.database(), journal, shared)?;
    let row = store.run()?;
    let config = if digest == row.config_sha256 { config? } else { finish_change(dir, &row)? };
    if access == Access::Own {
        refuse_stranger(dir, &row, &mut store)?;
    }
    Ok(assemble(dir.clone(), config, store)?.0)
}

/// Opens a run's store and configuration to look at them; takes no lease and changes nothing.
///
/// # Errors
/// If the store or the configuration cannot be read.
pub fn open_for_reading(dir: &RunDir) -> Result<(Store, RunConfig), Failure> {
    let store = read_store(dir)?;
    let (config, _) = read_config(dir)?;
    Ok((store, config?))
}

/// Opens a run to look at what a tick would do; takes no lease and changes nothing.
///
/// # Errors
/// If the store or the configuration cannot be read.
pub fn open_to_look(dir: &RunDir) -> Result<Run, Failure> {
    let (store, config) = open_for_reading(dir)?;
    Ok(assemble(dir.clone(), config, store)?.0)
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
        .map_err(|error| Failure::machine(format!("run directory `{}`", dir.root().display()), error))?;
    Ok(kind == machine::FileSystem::Shared)
}

type ReadConfig = (Result<RunConfig, Failure>, String);

fn read_config(dir: &RunDir) -> Result<ReadConfig, Failure> {
    let path = dir.config();
    let mut bytes = Vec::new();
    open_regular_path(&path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| {
        Failure::machine(format!("`{}` cannot be read", path.display()), error)
            .hint("restore it from a backup; what it held is in no other file")
    })?;
    Ok((read_run_config(&bytes, &path.display().to_string()), sha256(&bytes)))
}

fn next_config(dir: &RunDir) -> PathBuf {
    dir.join("config.json.next")
}

/// Finishes a change of config.json that was committed and not put in place; refuses one made by hand.
fn finish_change(dir: &RunDir, row: &RunRow) -> Result<RunConfig, Failure> {
    let next = next_config(dir);
    if let Ok(bytes) = std::fs::read(&next)
        && sha256(&bytes) == row.config_sha256
    {
        std::fs::rename(&next, dir.config())
            .map_err(|error| Failure::machine("putting config.json in place", error))?;
        return read_run_config(&bytes, "config.json");
    }
    Err(Failure::input(format!("config.json of run `{}` was changed by hand", row.run_id))
        .hint(format!("undo the change, and make it with `matterstack amend {} --set KEY=VALUE`", dir.address())))
}

/// Changes a run's configuration: aside first, then in the store, then in place.
///
/// # Errors
/// If the disk or the store fails; then the old configuration holds.
pub fn write_config(run: &mut Run, config: RunConfig, change: &str, reason: Option<&str>) -> Result<(), Failure> {
    let text = config_text(&config)?;
    let next = next_config(&run.dir);
    pin::write(&next, |file| file.write_all(text.as_bytes()))?;
    run.store.transaction(Durability::Full, |writer| {
        writer.set_config(&sha256(text.as_bytes()), change, reason, now_ms())
    })?;
    crate::ground::failpoint::hit("config.rename");
    std::fs::rename(&next, run.dir.config())
        .map_err(|error| Failure::machine("putting config.json in place", error))?;
    run.config = config;
    Ok(())
}

/// Pins the plugins that a changed configuration newly names.
///
/// # Errors
/// If one cannot be found or copied.
pub fn pinned_plugins(dir: &RunDir, config: &mut RunConfig) -> Result<(), Failure> {
    let mut pinned = config.pinned.clone().unwrap_or_default();
    let workspace = workspace_of(dir).and_then(|path| std::fs::canonicalize(path).ok()).unwrap_or_default();
    pin::pin_plugins(config, &workspace, dir, &mut pinned)?;
    config.pinned = Some(pinned);
    Ok(())
}

/// Copies another plugin file into the run in place of the one that `name` stands for.
///
/// # Errors
/// If it cannot be read or copied.
pub fn find_plugin(
    dir: &RunDir,
    config: &mut RunConfig,
    name: &str,
    file: &std::path::Path,
) -> Result<String, Failure> {
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::input(format!("plugin `{}` cannot be read", file.display())).because(error))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let pinned = pin::store_plugin(&bytes, &stem, dir)?;
    let digest = pinned.sha256.clone();
    config.pinned.get_or_insert_default().plugins.insert(name.to_owned(), pinned);
    Ok(digest)
}

/// Refuses to act on another user's run, and on a copy of which the original may still be at work.
fn refuse_stranger(dir: &RunDir, row: &RunRow, store: &mut Store) -> Result<(), Failure> {
    let adopt = format!("if the run is yours to go on with, `matterstack adopt {}` takes it over", dir.address());
    let user = i64::from(machine::user_id());
    if row.user_id != user {
        let what = format!("run `{}` belongs to user {}, not to user {user}", row.run_id, row.user_id);
        return Err(Failure::input(what).hint(adopt));
    }
    let identity = dir.identity().map_err(|error| Failure::machine("examining the run directory", error))?;
    if row.identity == identity {
        return Ok(());
    }
    if row.identity.is_of(&identity) {
        // The machine was booted since, after which a device may have another number.
        store.transaction(Durability::Full, |writer| writer.set_identity(&identity, user, now_ms()))?;
        return Ok(());
    }
    let live = store.live_count(None)?;
    if live > 0 {
        let what =
            format!("`{}` is a copy of run `{}`, which has {live} live attempt(s)", dir.root().display(), row.run_id);
        return Err(Failure::input(what).hint(adopt));
    }
    store.transaction(Durability::Full, |writer| writer.set_identity(&identity, user, now_ms()))?;
    Ok(())
}

/// Makes this directory and this user the run's own. The attempts of the original are given up as lost: it may still be
/// carrying them out. Returns how many those were.
///
/// # Errors
/// If the store or the disk fails.
pub fn adopt(run: &mut Run) -> Result<u64, Failure> {
    let identity = run.dir.identity().map_err(|error| Failure::machine("examining the run directory", error))?;
    let user = i64::from(machine::user_id());
    let row = run.store.run()?;
    if row.identity.is_of(&identity) && row.user_id == user {
        return Ok(0);
    }
    let fenced =
        crate::tick::give_up_live_attempts(run, now_ms(), "the run was adopted; its original may still carry it out")?;
    // The copied queues would start the original's jobs a second time.
    let queues = run.dir.join("backends");
    if queues.exists() {
        std::fs::rename(&queues, run.dir.join(&format!("backends.fenced-{}", now_ms())))
            .map_err(|error| Failure::machine("putting the original's queues aside", error))?;
    }
    run.store.transaction(Durability::Full, |writer| {
        writer.forget_cursors()?;
        writer.set_identity(&identity, user, now_ms())
    })?;
    Ok(fenced)
}

/// Joins the parts of a run.
pub(super) fn assemble(dir: RunDir, config: RunConfig, store: Store) -> Result<(Run, Rc<PluginHost>), Failure> {
    let mut backends = Backends::new(dir.root());
    backends.set_run_id(&store.run()?.run_id);
    for (name, backend) in &config.backends {
        match backend {
            BackendConfig::Local { slots } => backends.add_local(name, local::LocalSettings { slots: *slots }),
            BackendConfig::Slurm(slurm) => backends.add_slurm(name, (**slurm).clone()),
        }
    }
    let backends = Arc::new(backends);
    let plugins = Rc::new(plugin_host(&dir, &config, backends.clone()));
    Ok((Run { dir, config, store, plugins: plugins.clone(), backends }, plugins))
}

fn plugin_host(dir: &RunDir, config: &RunConfig, backends: Arc<Backends>) -> PluginHost {
    let mut host = PluginHost::new(HostSettings {
        cache_dir: cache_directory(),
        compute: backends,
        backends: config.backends.keys().cloned().collect(),
        artifacts: Arc::new(RunFiles::new(dir, config)),
        log: Arc::new(RunLog { path: dir.log(), file: Mutex::new(None) }),
        limits: config.limits.plugin.clone(),
    });
    let source = |name: &str| {
        let pinned = config.pinned.as_ref().and_then(|pinned| pinned.plugins.get(name));
        PluginSource {
            name: name.to_owned(),
            path: pinned.map(|file| dir.join(&file.path)).unwrap_or_default(),
            sha256: pinned.map(|file| file.sha256.clone()).unwrap_or_default(),
        }
    };
    host.set_campaign(source(&config.campaign.plugin));
    for (key, operator) in &config.operators {
        host.add_operator(OperatorKey(key.clone()), source(&operator.plugin), operator.grants.clone());
    }
    host
}

/// Where native code is cached: `$XDG_CACHE_HOME` or `~/.cache`, then `matterstack`.
fn cache_directory() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .map(|base| base.join("matterstack"))
}

/// What `artifacts.read` may read: the run's inputs, and the outputs of its attempts.
struct RunFiles {
    dir: RunDir,
    inputs: BTreeMap<String, String>,
    open: Mutex<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    store: Option<Store>,
    verified: BTreeSet<String>,
}

impl RunFiles {
    fn new(dir: &RunDir, config: &RunConfig) -> Self {
        let pinned = config.pinned.iter().flat_map(|pinned| pinned.inputs.values());
        let inputs = pinned.map(|file| (file.sha256.clone(), file.path.clone())).collect();
        Self { dir: dir.clone(), inputs, open: Mutex::default() }
    }

    fn path_of(&self, open: &mut OpenFiles, digest: &str) -> Result<Option<String>, StoreError> {
        if let Some(path) = self.inputs.get(digest) {
            return Ok(Some(path.clone()));
        }
        let store = match open.store.take() {
            Some(store) => store,
            None => Store::read(&self.dir.database())?,
        };
        open.store.insert(store).file_of_digest(digest)
    }
}

impl Artifacts for RunFiles {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let other = |code: &str, text: String| GuestError::Other(Detail::new(code, text));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path_of(&mut open, digest).map_err(|error| other("store", error.to_string()))?;
        let path = path.ok_or_else(|| {
            GuestError::Denied(Detail::new("unknown-digest", format!("the run has no file with the digest `{digest}`")))
        })?;
        let unreadable = |error: std::io::Error| other("unreadable", format!("`{path}` cannot be read: {error}"));
        let mut file = open_regular_path(&self.dir.join(&path)).map_err(unreadable)?;
        if !open.verified.contains(digest) {
            let mut hasher = Sha256::new();
            let mut buffer = vec![0_u8; 256 * 1024];
            loop {
                match file.read(&mut buffer).map_err(unreadable)? {
                    0 => break,
                    read => hasher.update(&buffer[..read]),
                }
            }
            if hex(&hasher.finalize()) != digest {
                return Err(other("changed", format!("`{path}` was changed after its digest was recorded")));
            }
            open.verified.insert(digest.to_owned());
        }
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(u64::from(max)).read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }
}

/// `plugins/log.jsonl`: one JSON object for each message. A message that cannot be written is dropped.
struct RunLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl PluginLog for RunLog {
    fn write(&self, plugin: &str, attempt: Option<&str>, level: LogLevel, message: &str) {
        let line = serde_json::json!({
            "time": Time(now_ms()), "plugin": plugin, "attempt": attempt, "level": level.as_str(), "message": message,
        });
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            if std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > LOG_MAX) {
                let _ = std::fs::rename(&self.path, self.path.with_extension("old.jsonl"));
            }
            *file = File::options().create(true).append(true).open(&self.path).ok();
        }
        if let Some(file) = file.as_mut() {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}
