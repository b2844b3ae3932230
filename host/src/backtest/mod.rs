//! Lets campaigns decide against results that are known already: those of recorded runs, and a table. Each decides many
//! times with seeds of its own, on a clock that jumps to the next end of a task. Nothing is measured, and no run is
//! changed; all that is started is the program of a campaign that asks one, where the record does not hold its answer.
mod answers;
mod apart;
mod course;
mod files;
mod outcome;
mod places;
mod summary;
mod table;
mod view;

pub use outcome::{Course, Goal, Trial};
pub use summary::{Summary, summaries};

use crate::backend::Backends;
use crate::backend::local::inherited;
use crate::failure::Failure;
use crate::ground::files::read_named;
use crate::ground::threads::share;
use crate::model::config::{CONFIG_MAX, RunConfig};
use crate::model::document::sha256;
use crate::model::rows::plain_rows;
use crate::model::script::{CAMPAIGN, PinnedScript};
use crate::model::workflow::stays_inside;
use crate::plugin::{HostSettings, LogEntry, PluginHost, PluginLog, PluginSource};
use crate::run::RunDir;
use crate::workspace::{
    RunFiles, amended, check_plugins, compiler, config_document, exchange_plugin, open_to_look, pin_again, pinned_here,
    put_aside,
};
use answers::Answers;
use files::Files;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use table::Table;

/// The largest table that is read, in bytes: all of it is kept.
const TABLE_MAX: u64 = 256 << 20;

/// Who decides.
#[derive(Debug, Clone)]
pub enum Contestant {
    /// The campaign of the run.
    Own,
    /// Another plugin.
    Plugin(PathBuf),
    /// The run's campaign that asks a program, with this one: `scripts/ask.py:ask` of the workspace.
    Ask(String),
}

/// What is to be tried.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The runs whose results answer; the first has the configuration.
    pub runs: &'a [RunDir],
    /// Who decides.
    pub contestants: &'a [Contestant],
    /// How many seeds each gets, from 1 on; that of the configuration alone if absent.
    pub seeds: Option<u64>,
    /// A table of results, as CSV.
    pub table: Option<&'a Path>,
    /// Values that the configuration has otherwise, as `KEY=VALUE`.
    pub sets: &'a [String],
    /// The number by which results are compared; the first objective of the parameters if absent.
    pub goal: Option<(String, Goal)>,
    /// Can be read as soon as nobody wants it any more.
    pub stop: BorrowedFd<'a>,
}

/// A campaign that is ready to decide.
struct Ready {
    name: String,
    dir: RunDir,
    config: RunConfig,
    /// Files of the workspace that stand in the place of those of the run, by their paths.
    instead: BTreeMap<String, Vec<u8>>,
    /// What jobs inherit on this machine.
    environment: BTreeMap<String, String>,
    goal: (String, Goal),
}

/// Lets every contestant decide with every seed. They come in this order, whoever was done first.
///
/// # Errors
/// If a run, a plugin or the table cannot be read, or there is nothing to compare by.
pub fn backtest(wanted: &Wanted<'_>) -> Result<Vec<Course>, Failure> {
    let first = wanted.runs.first().ok_or_else(|| Failure::input("no run is named"))?;
    let (dir, _aside) = put_aside(first);
    let ready: Vec<Ready> =
        wanted.contestants.iter().map(|one| readied(wanted, &dir, one)).collect::<Result<_, _>>()?;
    let table = wanted.table.map(|path| read_table(path, &ready)).transpose()?;
    let answers = Answers::of(wanted.runs, table)?;
    let seeds_of = |one: &Ready| match wanted.seeds {
        Some(seeds) => 1..=seeds,
        None => one.config.campaign.seed..=one.config.campaign.seed,
    };
    let jobs: Vec<(&Ready, u64)> = ready.iter().flat_map(|one| seeds_of(one).map(move |seed| (one, seed))).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Course)>, Failure> {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((ready, seed)) = jobs.get(place) else { return Ok(done) };
            let files = Arc::new(Files::new(wanted.runs.iter().map(|dir| known_files(dir, ready)).collect()));
            let host = host(ready, &files);
            done.push((place, course::go(ready, *seed, &host, &files, &answers, wanted.stop)?));
        }
    };
    let mut all = share(jobs.len(), work)?.concat();
    if let (Some(path), Some(why)) = (wanted.table, answers.table.as_ref().and_then(Table::of_no_use)) {
        return Err(wrong_table(path, why).hint("call columns as the parameters of tasks are called"));
    }
    all.sort_by_key(|(place, _)| *place);
    Ok(all.into_iter().map(|(_, course)| course).collect())
}

/// The files of a run, which a campaign may read by their digests.
fn known_files(dir: &RunDir, ready: &Ready) -> RunFiles {
    let config = if dir.root() == ready.dir.root() { Some(ready.config.clone()) } else { None };
    let config = config.or_else(|| crate::workspace::kept_config(dir).ok());
    RunFiles::new(dir, &config.unwrap_or_else(|| ready.config.clone()))
}

/// Readies a campaign; what it needs beside what the run has goes aside.
fn readied(wanted: &Wanted<'_>, dir: &RunDir, contestant: &Contestant) -> Result<Ready, Failure> {
    let run = open_to_look(dir)?;
    let mut sets = wanted.sets.to_vec();
    let mut instead = BTreeMap::new();
    let mut name = run.config.campaign.plugin.clone();
    if let Contestant::Ask(call) = contestant {
        let path = call.rsplit_once(':').map_or(call.as_str(), |(path, _)| path);
        instead.insert(path.to_owned(), workspace_file(dir, path)?);
        sets.push(format!("campaign.params.ask.call={}", serde_json::Value::from(call.as_str())));
        name.clone_from(call);
    }
    let mut config = amended(config_document(&run)?, &sets, "--set")?;
    if let Contestant::Plugin(file) = contestant {
        exchange_plugin(dir, &mut config, None, file)?;
        name = file.display().to_string();
    }
    pin_again(dir, &mut config)?;
    check_plugins(dir, &config)?;
    let goal = wanted.goal.clone().or_else(|| objective(&config)).ok_or_else(|| {
        Failure::input("it is not known by which number results are to be compared")
            .hint("name it: `--minimize NAME` or `--maximize NAME`, as it stands in the results")
    })?;
    let pinned = pinned_here(&run.store)?.map(|pinned| pinned.variables);
    let environment = pinned.unwrap_or_else(|| inherited(&config.pass_env()));
    Ok(Ready { name, dir: dir.clone(), config, instead, environment, goal })
}

/// The first objective that the parameters of a campaign tell.
fn objective(config: &RunConfig) -> Option<(String, Goal)> {
    let objectives = config.campaign.params.get("objectives")?.as_object()?;
    let (name, way) = objectives.iter().next()?;
    let goal = match way.as_str()? {
        "MINIMIZE" => Goal::Least,
        "MAXIMIZE" => Goal::Most,
        _ => return None,
    };
    Some((name.clone(), goal))
}

fn workspace_file(dir: &RunDir, path: &str) -> Result<Vec<u8>, Failure> {
    let place = dir.root().parent().and_then(Path::parent).filter(|_| stays_inside(path)).map(|root| root.join(path));
    let place = place.ok_or_else(|| Failure::input(format!("`{path}` is no file of the workspace")))?;
    read_named(&place, CONFIG_MAX).map_err(|error| {
        Failure::input(format!("`{}` cannot be read", place.display()))
            .because(error)
            .hint("name the program by its path in the workspace, and its function: `scripts/ask.py:ask`")
    })
}

fn wrong_table(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::input(format!("table `{}`: {why}", path.display()))
}

fn read_table(path: &Path, ready: &[Ready]) -> Result<Table, Failure> {
    let bytes = read_named(path, TABLE_MAX).map_err(|error| wrong_table(path, error))?;
    let rows = plain_rows(&bytes).map_err(|error| wrong_table(path, error))?;
    let table = Table::of(rows).map_err(|why| wrong_table(path, why))?;
    for one in ready {
        table.fits(&one.config, &one.goal.0).map_err(|why| wrong_table(path, why))?;
    }
    Ok(table)
}

/// What a campaign logs is of no use here.
struct NoLog;

impl PluginLog for NoLog {
    fn write(&self, _: &LogEntry<'_>) -> usize {
        0
    }
}

fn host(ready: &Ready, files: &Arc<Files>) -> PluginHost {
    let config = &ready.config;
    let mut host = PluginHost::new(HostSettings {
        compiler: compiler(&config.limits.compile),
        compute: Arc::new(Backends::new(ready.dir.root())),
        backends: Vec::new(),
        artifacts: files.clone(),
        log: Arc::new(NoLog),
        limits: config.limits.plugin.clone(),
    });
    let pinned = config.pinned_component(&config.campaign.plugin);
    host.set_campaign(PluginSource {
        name: config.campaign.plugin.clone(),
        path: pinned.map(|file| ready.dir.join(&file.path)).unwrap_or_default(),
        sha256: pinned.map(|file| file.sha256.clone()).unwrap_or_default(),
        script: config.script(CAMPAIGN).map(PinnedScript::more),
    });
    host
}

impl Ready {
    /// The digest of a file of the workspace that tasks name.
    fn pinned(&self, path: &str) -> Option<String> {
        if let Some(bytes) = self.instead.get(path) {
            return Some(sha256(bytes));
        }
        Some(self.config.pinned.as_ref()?.files.get(path)?.sha256.clone())
    }

    /// What a file of the workspace holds that tasks name.
    fn pinned_bytes(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(bytes) = self.instead.get(path) {
            return Some(bytes.clone());
        }
        let file = self.config.pinned.as_ref()?.files.get(path)?;
        read_named(&self.dir.join(&file.path), u64::MAX).ok()
    }
}
