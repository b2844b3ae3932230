//! Makes a run: aside, with its first plan, and then renamed into place. A crash leaves nothing that is taken for a run.
use super::open::assemble;
use super::{Workspaces, is_run_id, pin, resolve};
use crate::failure::Failure;
use crate::ground::random::new_attempt_id;
use crate::ground::{failpoint, machine};
use crate::model::act::Act;
use crate::model::config::RunConfig;
use crate::run::RunDir;
use crate::store::{Durability, NewConfig, NewRun, Store};
use crate::tick::{Moment, plan_first};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The beginning of the name of a directory in which a run is being made.
const ASIDE: &str = ".init-";

/// What a run is made from.
#[derive(Debug)]
pub struct Init<'a> {
    /// The root of all workspaces.
    pub workspaces: &'a Workspaces,
    /// The workspace's slug.
    pub slug: &'a str,
    /// A configuration in place of the workspace's own.
    pub config: Option<&'a Path>,
    /// The user's own configuration.
    pub user_config: Option<&'a Path>,
    /// Values that override all others, as `KEY=VALUE`.
    pub sets: &'a [String],
    /// The id the run shall have.
    pub run_id: Option<&'a str>,
    /// The command, for the record.
    pub act: Act,
}

/// Now, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Makes a run and returns its directory and resolved configuration.
///
/// # Errors
/// If the workspace, the configuration, a plugin or the first plan is refused, or the disk fails; nothing is left behind.
pub fn init(request: &Init<'_>) -> Result<(RunDir, RunConfig), Failure> {
    let workspace = request.workspaces.workspace(request.slug)?;
    let file = request.config.map_or_else(|| workspace.join("config.json"), Path::to_owned);
    let config = resolve(&file, request.user_config, request.sets)?;
    let runs = workspace.join("runs");
    std::fs::create_dir_all(&runs)
        .map_err(|error| Failure::machine(format!("`{}` cannot be made", runs.display()), error))?;
    remove_abandoned(&runs);
    let id = match request.run_id {
        Some(id) if is_run_id(id) => id.to_owned(),
        Some(id) => {
            return Err(Failure::input(format!("`{id}` cannot be the id of a run"))
                .hint("use 1 to 100 letters, digits, `-`, `_` and `.`, not beginning with `.` or `-`"));
        }
        None => new_run_id(now_ms()),
    };
    let place = runs.join(&id);
    if place.symlink_metadata().is_ok() {
        return Err(Failure::input(format!("run `{id}` exists already")).hint("leave --run-id out for a new id"));
    }
    let aside = runs.join(format!("{ASIDE}{id}"));
    let made = make(request, &workspace, &aside, &id, config).and_then(|config| {
        failpoint::hit("init.rename");
        publish(&aside, &place, &runs)?;
        Ok(config)
    });
    if made.is_err() {
        // What was made aside is of no use to anybody, and its own failure is what matters.
        let _ = std::fs::remove_dir_all(&aside);
    }
    Ok((RunDir::new(place), made?))
}

fn make(
    request: &Init<'_>,
    workspace: &Path,
    aside: &Path,
    id: &str,
    mut config: RunConfig,
) -> Result<RunConfig, Failure> {
    std::fs::create_dir(aside)
        .map_err(|error| Failure::machine(format!("`{}` cannot be made", aside.display()), error))?;
    let dir = RunDir::named(aside, id);
    let _lease = dir.lease(Duration::ZERO)?;
    config.pinned = Some(pin::pin_everything(&config, workspace, &dir)?);
    let text = config_text(&config)?;
    pin::write(&dir.config(), |file| file.write_all(text.as_bytes()))?;
    let shared = super::open::on_shared_file_system(&dir)?;
    let mut store = Store::create(&dir.database(), config.store.journal, shared)?;
    let identity = dir.identity().map_err(|error| Failure::machine("examining the run directory", error))?;
    let plugins = config.pinned.as_ref().map(|pinned| pinned.plugins.clone()).unwrap_or_default();
    let host = machine::host_name();
    store.transaction(Durability::Full, |writer| {
        writer.create_run(&NewRun {
            run_id: id,
            workspace: request.slug,
            config: NewConfig { text: &text, plugins: &plugins },
            machine: (machine::machine_id(), &host),
            identity,
            user_id: i64::from(machine::user_id()),
            act: &request.act,
        })
    })?;
    let now_ms = request.act.at_ms;
    let (mut run, plugins) = assemble(dir, config, store)?;
    plugins.load_all()?;
    plan_first(&mut run, Moment { now_ms, new_id: &new_attempt_id })?;
    Ok(run.config)
}

/// The text of a resolved configuration.
pub(super) fn config_text(config: &RunConfig) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(config).map_err(|error| Failure::input("configuration").because(error))?;
    Ok(text + "\n")
}

fn publish(aside: &Path, place: &Path, runs: &Path) -> Result<(), Failure> {
    let work = || {
        for directory in [aside.join("plugins"), aside.to_owned()] {
            std::fs::File::open(directory)?.sync_all()?;
        }
        // Unlike `rename`, which replaces an empty directory, this refuses a name that is taken.
        rustix::fs::renameat_with(rustix::fs::CWD, aside, rustix::fs::CWD, place, rustix::fs::RenameFlags::NOREPLACE)
            .or_else(|error| match error {
            rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => rustix::fs::rename(aside, place),
            error => Err(error),
        })?;
        std::fs::File::open(runs)?.sync_all()
    };
    work().map_err(|error: std::io::Error| {
        Failure::machine(format!("run directory `{}` cannot be put in place", place.display()), error)
    })
}

/// Removes what a killed `init` left: its lease died with it.
fn remove_abandoned(runs: &Path) {
    let Ok(entries) = std::fs::read_dir(runs) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE));
        // without a lock file it may be just being made
        if ours && path.join("lock").exists() && RunDir::new(&path).lease(Duration::ZERO).is_ok() {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// A run id that sorts by time: `20261123T101500Z-1f47a9c0`, whose last word begins with the millisecond, so that `latest`
/// is right for runs made within a second.
fn new_run_id(now_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    let mut random = new_attempt_id().0;
    random.truncate(5);
    format!("{}-{:03x}{random}", time.strftime("%Y%m%dT%H%M%SZ"), now_ms.rem_euclid(1000))
}

/// The workspace directory that holds a run, as the run's place tells.
pub(super) fn workspace_of(run: &RunDir) -> Option<PathBuf> {
    run.root().parent().and_then(Path::parent).map(Path::to_owned)
}
