//! Makes a run: aside, with its first plan, and then renamed into place. A crash leaves nothing that is taken for a
//! run.
use super::environment::environment_here;
use super::log::last_lines;
use super::open::assemble;
use super::{Resolved, Workspaces, find_among, is_run_id, pin, resolve, told};
use crate::failure::{Failure, FailureKind};
use crate::ground::random::new_attempt_id;
use crate::ground::{failpoint, machine};
use crate::model::act::Act;
use crate::model::config::{Pinned, RunConfig};
use crate::model::reuse::{Ignorable, WORKSPACE};
use crate::run::{Lease, LeaseError, RunDir};
use crate::store::{Durability, NewConfig, NewRun, Store};
use crate::tick::{Moment, Survey, plan_first, survey};
use rustix::fs::{CWD, RenameFlags, syncfs};
use rustix::io::Errno;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The beginning of the name of a directory in which a run is being made.
pub(super) const ASIDE: &str = ".init-";
/// The longest label, in characters.
const LABEL_MAX: usize = 200;
/// What `--reuse` says where nothing is to be reused.
const NO_REUSE: &str = "none";
/// How often another directory is made after one was cleared away in the instant before it was leased.
const MAKE_TRIES: u32 = 100;
/// Directories that are made durable one by one. A fork has one for each attempt: of so many all that the file
/// system holds back is written at once, with what is not ours.
const SYNCED_ONE_BY_ONE: usize = 64;

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
    /// Whose results its tasks take, in place of what the configuration says: a run of the workspace, `workspace` or
    /// `none`.
    pub reuse: Option<&'a str>,
    /// In what earlier results may differ, beside what the configuration says.
    pub reuse_ignore: Vec<Ignorable>,
    /// What a person calls the run.
    pub label: Option<&'a str>,
    /// The command, for the record.
    pub act: Act,
}

/// A run that was made.
#[derive(Debug)]
pub struct Made {
    /// Its directory.
    pub dir: RunDir,
    /// Its resolved configuration.
    pub config: RunConfig,
    /// What the configuration left out and was implied, for a person.
    pub implied: Option<String>,
    /// What it would take of earlier runs, if it reuses anything.
    pub reusable: Option<Survey>,
}

/// Now, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Tells how long ago it was made. `MATTERSTACK_TEST_STILL` lets it stand still, for tests of what one tick does
/// however busy the machine is.
pub fn stopwatch() -> impl Fn() -> Duration {
    let start = std::env::var_os("MATTERSTACK_TEST_STILL").is_none().then(Instant::now);
    move || start.map_or(Duration::ZERO, |start| start.elapsed())
}

/// What a tick at this time may not find out by itself.
pub fn moment(now_ms: i64, spent: &dyn Fn() -> Duration) -> Moment<'_> {
    Moment { now_ms, new_id: &new_attempt_id, spent, user_name: &machine::user_name_of }
}

/// Makes a run.
///
/// # Errors
/// If the workspace, the configuration, a plugin or the first plan is refused, or the disk fails; nothing is left
/// behind.
pub fn init(request: &Init<'_>) -> Result<Made, Failure> {
    let workspace = request.workspaces.workspace(request.slug)?;
    request.label.map_or(Ok(()), check_label)?;
    let file = request.config.map_or_else(|| workspace.join("config.json"), Path::to_owned);
    let Resolved { mut config, implied } = resolve(&file, request.user_config, request.sets)?;
    let runs = workspace.join("runs");
    name_source(&mut config, request, &runs)?;
    std::fs::create_dir_all(&runs)
        .map_err(|error| Failure::machine(format!("`{}` cannot be made", runs.display()), error))?;
    let (id, place) = place_of(&runs, request.run_id)?;
    let (aside, lease) = Aside::make(&runs, &id)?;
    let (config, reusable) = make(request, &workspace, &aside.path, &id, config)?;
    failpoint::hit("init.rename");
    aside.publish(&place, &runs, &id)?;
    // held until the run is in its place: what has no holder is taken for abandoned
    drop(lease);
    Ok(Made { dir: RunDir::new(place), config, implied, reusable })
}

/// The id of a new run, and where it will lie. What killed commands left of others is cleared away.
pub(super) fn place_of(runs: &Path, run_id: Option<&str>) -> Result<(String, PathBuf), Failure> {
    remove_abandoned(runs);
    let id = match run_id {
        Some(id) if is_run_id(id) => id.to_owned(),
        Some(id) => {
            return Err(Failure::input(format!("`{id}` cannot be the id of a run"))
                .hint("use 1 to 100 letters, digits, `-`, `_` and `.`, not beginning with `.` or `-`"));
        }
        None => new_run_id(now_ms()),
    };
    let place = runs.join(&id);
    if place.symlink_metadata().is_ok() {
        return Err(taken(&id));
    }
    Ok((id, place))
}

/// Refuses a label that does not fit a line.
pub(super) fn check_label(label: &str) -> Result<(), Failure> {
    if (1..=LABEL_MAX).contains(&label.chars().count()) && !label.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::input(format!("a label has 1 to {LABEL_MAX} characters and no line feed or other control character")))
}

/// Says from which run results are taken, by its whole id: what `latest` or a beginning of an id means is settled here.
fn name_source(config: &mut RunConfig, request: &Init<'_>, runs: &Path) -> Result<(), Failure> {
    let given = request.reuse.filter(|word| *word != NO_REUSE).map(str::to_owned);
    let configured = config.reuse.as_ref().and_then(|reuse| reuse.from.clone());
    let from = if request.reuse.is_some() { given } else { configured };
    let found = match from {
        Some(name) if name != WORKSPACE => Some(run_of_workspace(&name, request.workspaces, runs, None)?),
        other => other,
    };
    if found.is_some() || config.reuse.is_some() {
        config.reuse.get_or_insert_default().from = found;
    }
    if request.reuse_ignore.is_empty() {
        return Ok(());
    }
    match config.reuse.as_mut().filter(|reuse| reuse.from.is_some()) {
        Some(reuse) => reuse.ignore.extend(&request.reuse_ignore),
        None => {
            let what = "`--reuse-ignore` says in what earlier results may differ, and none are reused";
            return Err(Failure::input(what).hint("say of whom: `--reuse RUN`, or `--reuse workspace`"));
        }
    }
    Ok(())
}

/// Says in a changed configuration of a run from which other run results are taken, as [`init`] does.
///
/// # Errors
/// If the workspace has no other run of that name.
pub fn settle_source(config: &mut RunConfig, workspaces: &Workspaces, run: &RunDir) -> Result<(), Failure> {
    let Some(runs) = run.root().parent() else { return Ok(()) };
    if let Some(from) = config.reuse.as_mut().and_then(|reuse| reuse.from.as_mut()).filter(|from| *from != WORKSPACE) {
        *from = run_of_workspace(from, workspaces, runs, Some(&run.id()))?;
    }
    Ok(())
}

/// The id of a run of the workspace, other than the one that takes results. Whether it can be read is seen when
/// something is taken from it.
fn run_of_workspace(name: &str, workspaces: &Workspaces, runs: &Path, own: Option<&str>) -> Result<String, Failure> {
    let exists = |id: &str| is_run_id(id) && runs.join(id).symlink_metadata().is_ok();
    if own == Some(name) {
        return Err(Failure::input(format!("reuse.from is `{name}`, the run itself"))
            .hint("results are taken of another run of the workspace, or of `workspace` (all of them)"));
    }
    if exists(name) {
        return Ok(name.to_owned());
    }
    if !is_run_id(name) && name != "latest" {
        return Err(Failure::input(format!("`{name}` cannot be the id of a run"))
            .hint("results are taken of a run of the workspace, of `workspace` (all of them) or of `none`"));
    }
    let other = |run: &RunDir| run.root().parent() == Some(runs) && own != Some(&*run.id());
    let known: Vec<(String, RunDir)> = workspaces.runs().into_iter().filter(|(_, run)| other(run)).collect();
    let found = find_among(name, &known)?;
    Ok(found.id())
}

fn taken(id: &str) -> Failure {
    Failure::input(format!("run `{id}` exists already")).hint("leave --run-id out for a new id")
}

/// A directory in which a run is being made; it goes with this value unless it was published.
pub(super) struct Aside {
    pub(super) path: PathBuf,
    published: bool,
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.published {
            // What was made aside is of no use to anybody, and its own failure is what matters.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl Aside {
    /// Makes a directory that is this process's alone, and takes its lease. Another `init` that clears up may find it
    /// before the lease is taken, and then a further one is made.
    pub(super) fn make(runs: &Path, id: &str) -> Result<(Self, Lease), Failure> {
        for _ in 0..MAKE_TRIES {
            let mut random = new_attempt_id().0;
            random.truncate(8);
            let path = runs.join(format!("{ASIDE}{id}-{random}"));
            std::fs::create_dir(&path)
                .map_err(|error| Failure::machine(format!("`{}` cannot be made", path.display()), error))?;
            let aside = Self { path, published: false };
            let dir = RunDir::named(&aside.path, id);
            match dir.lease(Duration::ZERO) {
                Ok(lease) if lease.is_in_place(&dir.lock()) => return Ok((aside, lease)),
                Ok(_) | Err(LeaseError::Held(..) | LeaseError::Bundle(_)) => {}
                Err(LeaseError::Io(_, error)) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::of(FailureKind::Machine, format!("no directory for run `{id}` stays in `{}`", runs.display()))
            .hint("something removes what is made there"))
    }

    /// Makes all of it durable and renames it into place.
    pub(super) fn publish(mut self, place: &Path, runs: &Path, id: &str) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::machine(format!("run directory `{}` cannot be put in place", place.display()), error)
        };
        sync_directories(&self.path).map_err(failed)?;
        // Unlike `rename`, which replaces an empty directory, this refuses a name that is taken.
        let renamed = rustix::fs::renameat_with(CWD, &self.path, CWD, place, RenameFlags::NOREPLACE);
        let renamed = renamed.or_else(|error| match error {
            Errno::INVAL | Errno::NOSYS => rustix::fs::rename(&self.path, place),
            error => Err(error),
        });
        match renamed {
            Ok(()) => self.published = true,
            Err(Errno::EXIST | Errno::NOTEMPTY) => return Err(taken(id)),
            Err(error) => return Err(failed(error.into())),
        }
        for directory in [Some(runs), runs.parent()].into_iter().flatten() {
            std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        }
        Ok(())
    }
}

/// Makes the names in a directory, and in all directories below it, survive a power failure.
fn sync_directories(directory: &Path) -> std::io::Result<()> {
    let mut all = vec![directory.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = all.get(next) {
        let entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
        for entry in entries {
            if entry.file_type()?.is_dir() {
                all.push(entry.path());
            }
        }
        next += 1;
    }
    if all.len() > SYNCED_ONE_BY_ONE {
        return Ok(syncfs(std::fs::File::open(directory)?)?);
    }
    all.iter().rev().try_for_each(|directory| std::fs::File::open(directory)?.sync_all())
}

fn make(
    request: &Init<'_>,
    workspace: &Path,
    aside: &Path,
    id: &str,
    mut config: RunConfig,
) -> Result<(RunConfig, Option<Survey>), Failure> {
    let dir = RunDir::named(aside, id);
    config.pinned = Some(pin::pin_everything(&config, workspace, &dir)?);
    told::check_in_run(&config, &dir)?;
    pin::pin_params(&mut config, &dir)?;
    pin::follow_manifest(&mut config, &dir)?;
    let text = config_text(&config)?;
    pin::write(&dir.config(), |file| file.write_all(text.as_bytes()))?;
    let shared = super::open::on_shared_file_system(&dir)?;
    let mut store = Store::create(&dir.database(), config.store.journal, shared)?;
    let identity = dir.new_identity().map_err(|error| Failure::machine("examining the run directory", error))?;
    let plugins = config.pinned.as_ref().map(Pinned::code).unwrap_or_default();
    let environment = environment_here(&config, &dir)?;
    store.transaction(Durability::Full, |writer| {
        writer.create_run(&NewRun {
            run_id: id,
            workspace: request.slug,
            config: NewConfig { text: &text, plugins: &plugins },
            environment,
            identity,
            user_id: i64::from(machine::user_id()),
            each_result: config.campaign.takes_each_result(),
            label: request.label,
            act: &request.act,
        })
    })?;
    let now_ms = request.act.at_ms;
    let (mut run, plugins) = assemble(dir, config, store)?;
    plugins.load_all()?;
    plan_first(&mut run, moment(now_ms, &stopwatch()))
        // what is made aside goes, and the log with it
        .map_err(|error| Failure::from(error).logged(last_lines(&run.dir)))?;
    let reusable = survey(&run)?;
    Ok((run.config, reusable))
}

/// The text of a resolved configuration.
pub(super) fn config_text(config: &RunConfig) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(config).map_err(|error| Failure::input("configuration").because(error))?;
    Ok(text + "\n")
}

/// Removes what a killed `init` left: its lease died with it.
fn remove_abandoned(runs: &Path) {
    let Ok(entries) = std::fs::read_dir(runs) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE));
        // one that is still empty goes, and whoever was just making it makes another
        if !ours || std::fs::remove_dir(&path).is_ok() {
            continue;
        }
        let dir = RunDir::new(&path);
        if let Ok(Some(lease)) = dir.abandoned_lease()
            && lease.is_in_place(&dir.lock())
        {
            // under the lease, so that nobody goes on in what is being removed
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// A run id that sorts by time: `20261123T101500Z-1f47a9c0`, whose last word begins with the millisecond, so that
/// `latest` is right for runs made within a second.
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
