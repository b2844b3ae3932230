//! Finds workspaces and runs, reads what a person wrote, and makes and opens runs from it.
//!
//! Nothing outside the workspaces root is ever read as a workspace or a run, whatever a name or a link says.
mod artifacts;
mod backup;
mod change;
mod clean;
mod config;
mod environment;
mod example;
mod fork;
mod init;
mod listed;
mod log;
mod once;
mod open;
mod outputs;
mod owner;
mod pin;
mod remove;
mod scripts;
mod told;
mod wheel;

pub(crate) use artifacts::RunFiles;
pub use backup::back_up;
pub use change::{Exchanged, changed_files, grow, lists_otherwise, take_files};
pub use clean::{Cleaning, Unwanted, clean};
pub use config::{
    Resolved, SET, amended, backend_config, compile_limits, granted_origins, read_run_config, refuse_twice, resolve,
    set_value, set_values, user_config,
};
pub use environment::{environment_here, pinned_here};
pub use example::{NewWorkspace, make_workspace, make_workspace_of};
pub use fork::{ForkRequest, Forked, fork};
pub use init::{Init, Made, init, moment, now_ms, settle_source, stopwatch};
pub use listed::listed;
pub use log::log_for_person;
pub use once::{MadeOnce, Once, make_once, workspaces_or_new};
pub use open::{
    Access, Aside, HeldRun, act, check_plugins, compile_ahead, compile_upgrade, compiler, config_document, kept_config,
    open_for_reading, open_run, open_to_look, open_to_rehearse, pin_again, put_aside, read_store, refusal,
    write_config, write_config_and_open, write_config_with,
};
pub(crate) use open::{Ahead, open_leased};
pub use owner::{adopt, refuse_other_user};
pub use pin::check_files;
pub use remove::{Usage, refuse_removal, remove, usage};
pub use scripts::{LooseScript, NewPlugin, exchange_plugin, loose_script};
pub use told::check_exchanged;

use crate::failure::Failure;
use crate::model::workflow::nearest;
use crate::run::RunDir;
use std::path::{Component, Path, PathBuf};

/// How deep below the root a workspace may lie.
const DEPTH_MAX: usize = 6;
/// What evidence has that was written for others: neither a study of runs nor a bundle of one is a workspace.
const EVIDENCE_MARK: &str = "manifest-sha256.txt";

/// The root that holds every workspace.
#[derive(Debug, Clone)]
pub struct Workspaces {
    root: PathBuf,
}

impl Workspaces {
    /// Takes the given root, else the nearest `workspaces/` upward from `current`.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(given: Option<&Path>, current: &Path) -> Result<Self, Failure> {
        if let Some(root) = given {
            return match std::fs::canonicalize(root) {
                Ok(root) if root.is_dir() => Ok(Self { root }),
                Ok(_) => Err(Failure::input(format!("workspaces root `{}` is not a directory", root.display()))),
                Err(error) => Err(Failure::input(format!("no workspaces root `{}`", root.display())).because(error)),
            };
        }
        let found = current.ancestors().map(|directory| directory.join("workspaces")).find(|path| path.is_dir());
        let root = found.ok_or_else(|| {
            Failure::input(format!("no directory `workspaces` in `{}` or above it", current.display()))
                .hint("give one with --workspaces DIR, or make a workspace with `matterstack new NAME`")
        })?;
        let root = std::fs::canonicalize(&root)
            .map_err(|error| Failure::machine(format!("workspaces root `{}` cannot be read", root.display()), error))?;
        Ok(Self { root })
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a workspace.
    ///
    /// # Errors
    /// If the slug leaves the root, by its text or through a link, or names no directory.
    pub fn workspace(&self, slug: &str) -> Result<PathBuf, Failure> {
        let plain = Path::new(slug).components().all(|part| matches!(part, Component::Normal(_)));
        if slug.is_empty() || !plain || slug.contains('\0') {
            return Err(Failure::input(format!("workspace `{slug}` is not below the workspaces root"))
                .hint("name it by its path below the root, such as `demos/coatings`"));
        }
        let directory = self.root.join(slug);
        let Ok(real) = std::fs::canonicalize(&directory) else {
            let known = self.slugs();
            let near = nearest(slug, known.iter().map(String::as_str));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => {
                    format!("`{}` holds no workspace yet; `matterstack new NAME` makes one", self.root.display())
                }
                None => format!("known: {}", known.join(", ")),
            };
            return Err(Failure::input(format!("no workspace `{slug}` in `{}`", self.root.display())).hint(hint));
        };
        if !real.starts_with(&self.root) || !real.is_dir() || real == self.root {
            return Err(Failure::input(format!("workspace `{slug}` is not a directory below the workspaces root")));
        }
        Ok(real)
    }

    /// Every workspace's slug, sorted: directories that hold a config.json or runs.
    pub fn slugs(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_slugs(&self.root, "", &mut found, DEPTH_MAX);
        found.sort();
        found
    }

    /// Every run directory, by its id.
    pub fn runs(&self) -> Vec<(String, RunDir)> {
        let mut runs: Vec<_> = self
            .slugs()
            .into_iter()
            .flat_map(|slug| {
                let directory = self.root.join(&slug).join("runs");
                runs_in(&directory).into_iter().map(move |run| (slug.clone(), run)).collect::<Vec<_>>()
            })
            .collect();
        runs.sort_by_key(|(_, run)| run.id());
        runs
    }
}

fn collect_slugs(directory: &Path, prefix: &str, found: &mut Vec<String>, depth: usize) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || name == "runs" || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let slug = format!("{prefix}{name}");
        let path = entry.path();
        if path.join(EVIDENCE_MARK).is_file() {
            continue;
        }
        if path.join("config.json").exists() || path.join("runs").is_dir() {
            found.push(slug.clone());
        }
        if depth > 1 {
            collect_slugs(&path, &format!("{slug}/"), found, depth - 1);
        }
    }
}

fn runs_in(directory: &Path) -> Vec<RunDir> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| RunDir::new(entry.path()))
        .filter(|run| (run.config().exists() || run.database().exists()) && !run.is_bundle())
        .collect()
}

/// Whether a text may name a run: no path, nothing hidden, no word with a meaning of its own.
pub(in crate::workspace) fn is_run_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=100).contains(&text.len()) && text.chars().all(plain) && !text.starts_with(['.', '-']) && text != "latest"
}

/// Finds a run by its directory, its id, a unique prefix of it, or `latest`.
///
/// # Errors
/// If no run, or more than one, answers to the name.
pub fn find_run(name: &str, workspaces: impl FnOnce() -> Result<Workspaces, Failure>) -> Result<RunDir, Failure> {
    let path = Path::new(name);
    if name.contains('/') || name == "." || (path.join("config.json").exists() && path.join("state.sqlite").exists()) {
        let run = run_directory(path)?;
        let known = workspaces().map(|workspaces| workspaces.runs()).unwrap_or_default();
        return Ok(addressed(run, &known));
    }
    if !is_run_id(name) && name != "latest" {
        return Err(Failure::input(format!("`{name}` cannot be the id of a run"))
            .hint("give a run id, a unique prefix of one, `latest`, or a run directory"));
    }
    let workspaces = workspaces()?;
    let runs = workspaces.runs();
    if name == "latest" {
        return latest(&workspaces, &runs).map(|run| addressed(run, &runs));
    }
    let own = standing_in(&workspaces);
    let exact: Vec<&(String, RunDir)> = runs.iter().filter(|(_, run)| run.id() == name).collect();
    match exact.as_slice() {
        [] => one_that_begins(name, &runs).map(|run| addressed(run, &runs)),
        [(_, one)] => Ok(one.clone()),
        several => {
            let here = several.iter().find(|(slug, _)| own.as_ref() == Some(slug));
            here.map(|(_, run)| addressed(run.clone(), &runs)).ok_or_else(|| {
                let places: Vec<String> = several.iter().map(|(_, run)| run.root().display().to_string()).collect();
                Failure::input(format!("{} workspaces have a run `{name}`", several.len()))
                    .hint(format!("name its directory: {}", places.join(", ")))
            })
        }
    }
}

/// The run of a workspace whose id, or whose alone, begins with a name; or the one made last, as `latest`.
fn find_among(name: &str, runs: &[(String, RunDir)]) -> Result<RunDir, Failure> {
    if name != "latest" {
        return one_that_begins(name, runs);
    }
    let newest = runs.iter().map(|(_, run)| run).max_by_key(|run| (made_at_ms(run), run.id()));
    newest.cloned().ok_or_else(|| Failure::input("the workspace has no run yet whose results could be taken"))
}

fn one_that_begins(name: &str, runs: &[(String, RunDir)]) -> Result<RunDir, Failure> {
    let matching: Vec<&RunDir> = runs.iter().map(|(_, run)| run).filter(|run| run.id().starts_with(name)).collect();
    match matching.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(no_run(name, runs)),
        several => {
            let shown = several.iter().take(5).map(|run| addressed((*run).clone(), runs).address().to_owned());
            let ids: Vec<String> = shown.collect();
            let what = format!("`{name}` is the beginning of {} runs", several.len());
            Err(Failure::input(what).hint(format!("say more of it: {}", ids.join(", "))))
        }
    }
}

/// The run that was made last; of the workspace that one stands in, if any.
fn latest(workspaces: &Workspaces, runs: &[(String, RunDir)]) -> Result<RunDir, Failure> {
    let slug = standing_in(workspaces);
    let mut all: Vec<&RunDir> =
        runs.iter().filter(|(of, _)| slug.as_ref().is_none_or(|slug| slug == of)).map(|(_, run)| run).collect();
    // An id of ours begins with the second in which the run was made; only runs of the last of those are opened, and
    // others.
    let second = all.iter().filter_map(|run| made_in(&run.id())).max();
    all.retain(|run| made_in(&run.id()).is_none_or(|at| Some(&at) == second.as_ref()));
    let newest = all.into_iter().max_by_key(|run| (made_at_ms(run), run.id()));
    newest.cloned().ok_or_else(|| {
        let place = slug.map_or_else(|| workspaces.root().to_owned(), |slug| workspaces.root().join(slug));
        Failure::input(format!("no run in `{}` yet", place.display()))
            .hint("make one with `matterstack init WORKSPACE`")
    })
}

/// The workspace that one stands in, if any.
pub fn standing_in(workspaces: &Workspaces) -> Option<String> {
    let here = std::env::current_dir().and_then(std::fs::canonicalize).unwrap_or_default();
    let inside = |slug: &String| here.starts_with(workspaces.root().join(slug));
    workspaces.slugs().into_iter().filter(inside).max_by_key(String::len)
}

/// The second in which a run was made, as the ids that we give say it.
fn made_in(id: &str) -> Option<String> {
    let second = id.get(.."20261123T101500Z".len())?;
    let as_expected = |(n, byte): (usize, u8)| match n {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    second.bytes().enumerate().all(as_expected).then(|| second.to_owned())
}

/// When a run was made, in milliseconds since the epoch, by its store; where that cannot be read, by its configuration.
fn made_at_ms(run: &RunDir) -> i64 {
    let stored = read_store(run).and_then(|store| Ok(store.run()?.created_at_ms));
    stored
        .ok()
        .or_else(|| {
            let written = std::fs::metadata(run.config()).and_then(|file| file.modified()).ok()?;
            written.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_millis() as i64)
        })
        .unwrap_or_default()
}

/// Gives a run its address: its id if that leads here and nowhere else, else its path.
fn addressed(run: RunDir, known: &[(String, RunDir)]) -> RunDir {
    let mut of_that_id = known.iter().filter(|(_, other)| other.id() == run.id());
    let alone = of_that_id.next().is_some_and(|(_, other)| other.root() == run.root()) && of_that_id.next().is_none();
    if alone { run } else { run.addressed_by_path() }
}

fn no_run(name: &str, runs: &[(String, RunDir)]) -> Failure {
    let ids: Vec<String> = runs.iter().map(|(_, run)| run.id()).collect();
    let failure = Failure::input(format!("no run `{name}`"));
    if let Some(hint) = of_evidence(Path::new(name)) {
        return failure.hint(hint);
    }
    match nearest(name, ids.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`matterstack list` shows every run"),
    }
}

/// What helps who names evidence that is no run to look at.
fn of_evidence(path: &Path) -> Option<String> {
    let shown = path.display();
    if path.join("study.json").is_file() {
        return Some(format!(
            "`{shown}` is a study of many runs: name a folder below `{}`",
            path.join("runs").display()
        ));
    }
    let is_zip = path.extension().is_some_and(|end| end == "zip") && path.is_file();
    is_zip.then(|| format!("`evidence verify` and `replay` take `{shown}` as it is; to look into it, unpack it"))
}

/// The run that a bundle of evidence is of, by its record: the folder may have any name.
fn bundled(root: PathBuf) -> RunDir {
    let run = RunDir::new(&root);
    let id = read_store(&run).and_then(|store| Ok(store.run()?.run_id));
    id.map_or(run, |id| RunDir::named(root, &id)).addressed_by_path()
}

fn run_directory(path: &Path) -> Result<RunDir, Failure> {
    let real = std::fs::canonicalize(path)
        .map_err(|error| Failure::input(format!("no run directory `{}`", path.display())).because(error))?;
    let run = RunDir::new(&real);
    // a workspace has a config.json as well
    if run.database().exists() || run.config().exists() && !real.join("runs").is_dir() {
        return Ok(if run.is_bundle() { bundled(real) } else { run });
    }
    let neither = || "it has neither config.json nor state.sqlite; `matterstack list` shows every run".to_owned();
    Err(Failure::input(format!("`{}` is not a run directory", path.display()))
        .hint(of_evidence(path).unwrap_or_else(neither)))
}
