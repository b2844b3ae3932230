//! Makes a run that shares everything with another before one of its decisions, and goes on from there by itself. The
//! other is only read.
use super::environment::environment_here;
use super::init::{Aside, check_label, config_text, now_ms, place_of};
use super::open::{assemble, config_document, kept_config, on_shared_file_system, pin_again, read_store};
use super::{NewPlugin, Workspaces, amended, exchange_plugin, pin, read_run_config, settle_source, take_files};
use crate::failure::{Failure, FailureKind, refuse_bundle};
use crate::ground::carriage::{Allowance, Bring, Carriage, Carried, is_executable, share};
use crate::ground::files::{open_directory, open_regular};
use crate::ground::machine;
use crate::model::act::Act;
use crate::model::attempt_dir::PART;
use crate::model::config::{Pinned, RunConfig};
use crate::model::evidence::EngineRecord;
use crate::plugin::CONTRACT;
use crate::run::RunDir;
use crate::store::{NewConfig, NewFork, Shared, Store};
use crate::tick::refuse_amendment;
use cap_std::fs::Dir;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is copied of a run whole, beside the files of attempts: what its configurations pin, and what decisions wrote.
const WHOLE: [&str; 2] = ["plugins", "inputs"];
/// The log of the plugins of a run, which is its own.
const LOG: &str = "plugins/log.jsonl";

/// What a run is forked from, and how it goes on.
#[derive(Debug)]
pub struct ForkRequest<'a> {
    /// The root of all workspaces.
    pub workspaces: &'a Workspaces,
    /// The other run.
    pub parent: &'a RunDir,
    /// The number of the first decision that is not shared.
    pub at: u64,
    /// Another plugin of the campaign.
    pub plugin: Option<&'a Path>,
    /// Files of which the workspace's present copies are taken.
    pub files: &'a [String],
    /// Values that the configuration has otherwise, as `KEY=VALUE`.
    pub sets: &'a [String],
    /// The id the run shall have.
    pub run_id: Option<&'a str>,
    /// What a person calls the run.
    pub label: Option<&'a str>,
    /// The command, for the record; from which run is added.
    pub act: Act,
}

/// A run that was forked.
#[derive(Debug)]
pub struct Forked {
    /// Its directory.
    pub dir: RunDir,
    /// The id of the other.
    pub parent: String,
    /// What they share.
    pub shared: Shared,
    /// The plugin that was put in the place of the campaign's.
    pub plugin: Option<NewPlugin>,
    /// Files of attempts that are gone or changed in the other run, and so are not in this one.
    pub missing: Vec<String>,
}

/// Makes a run of another.
///
/// # Errors
/// If the other is a bundle or has no such decision, what is to be otherwise is refused, or the disk fails; nothing is
/// left behind.
pub fn fork(request: ForkRequest<'_>) -> Result<Forked, Failure> {
    request.label.map_or(Ok(()), check_label)?;
    let parent = request.parent;
    refuse_bundle(parent)?;
    let runs = parent.root().parent().ok_or_else(|| Failure::input("the run lies in no workspace"))?;
    let store = read_store(parent)?;
    let row = store.run()?;
    refuse_number(request.at, row.decisions, parent.address())?;
    let (id, place) = place_of(runs, request.run_id)?;
    let (aside, lease) = Aside::make(runs, &id)?;
    let dir = RunDir::named(&aside.path, &id);
    store.back_up(&dir.database())?;
    drop(store);
    let journal = kept_config(parent).map(|config| config.store.journal).unwrap_or_default();
    let ours = |engine: &EngineRecord| engine.contract == CONTRACT;
    let mut store = Store::open(&dir.database(), (journal, on_shared_file_system(&dir)?), ours)?;
    let text = store.config_at(request.at)?;
    let config = read_run_config(text.as_bytes(), "the configuration of that decision")?;
    store.cut_before(request.at)?;
    WHOLE.iter().try_for_each(|folder| copy_folder(parent, &dir, folder))?;
    let (lost, missing) = bring_files(&store, parent, &dir)?;
    let (mut store, config, plugin, changed) = changed_config(&request, &dir, store, config)?;
    let shared = finish(&request, (&dir, &row.run_id, &id), &mut store, (config, changed), &lost)?;
    drop(store);
    crate::ground::failpoint::hit("fork.rename");
    aside.publish(&place, runs, &id)?;
    // held until the run is in its place: what has no holder is taken for abandoned
    drop(lease);
    Ok(Forked { dir: RunDir::new(place), parent: row.run_id, shared, plugin, missing })
}

/// Refuses a decision that the run has not come to, and the first, before which there is nothing.
fn refuse_number(at: u64, decisions: u64, run: &str) -> Result<(), Failure> {
    if at < 2 {
        return Err(Failure::input("before decision 1 there is nothing that two runs could share")
            .hint("`matterstack init WORKSPACE --reuse RUN` makes a run that takes the results of another"));
    }
    if at > decisions + 1 {
        let what = format!("run `{run}` has made {decisions} decision(s), and none is number {at}");
        return Err(Failure::input(what).hint(format!(
            "name one from 2 to {}, which is the next; `matterstack evidence {run}` lists them",
            decisions + 1
        )));
    }
    Ok(())
}

/// Changes the configuration as the request says, with the plugins that it names in the run. The last value is whether
/// the campaign goes by something else than before.
fn changed_config(
    request: &ForkRequest<'_>,
    dir: &RunDir,
    store: Store,
    config: RunConfig,
) -> Result<(Store, RunConfig, Option<NewPlugin>, bool), Failure> {
    let (run, _) = assemble(dir.clone(), config.clone(), store)?;
    let mut changed = amended(config_document(&run)?, request.sets, "--set")?;
    let source = |config: &RunConfig| config.reuse.as_ref().and_then(|reuse| reuse.from.clone());
    if source(&changed) != source(&config) {
        settle_source(&mut changed, request.workspaces, dir)?;
    }
    refuse_amendment(&run, &changed)?;
    take_files(dir, &mut changed, request.files)?;
    let plugin = request.plugin.map(|file| exchange_plugin(dir, &mut changed, None, file)).transpose()?;
    pin_again(dir, &mut changed)?;
    super::open::check_plugins(dir, &changed)?;
    let otherwise = changed != config;
    Ok((run.store, changed, plugin, otherwise))
}

/// Makes the copy the store of the new run.
fn finish(
    request: &ForkRequest<'_>,
    (dir, parent, id): (&RunDir, &str, &str),
    store: &mut Store,
    (config, changed): (RunConfig, bool),
    lost: &[i64],
) -> Result<Shared, Failure> {
    let text = config_text(&config)?;
    pin::write(&dir.config(), |file| file.write_all(text.as_bytes()))?;
    let plugins = config.pinned.as_ref().map(Pinned::code).unwrap_or_default();
    let identity = dir.new_identity().map_err(|error| Failure::machine("examining the run directory", error))?;
    let mut act = request.act.clone();
    act.at_ms = now_ms();
    act.arguments["run"] = json!(parent);
    act.arguments["at"] = json!(request.at);
    Ok(store.finish_fork(&NewFork {
        run_id: id,
        label: request.label,
        config: NewConfig { text: &text, plugins: &plugins },
        environment: environment_here(&config, dir)?,
        identity,
        user_id: i64::from(machine::user_id()),
        each_result: config.campaign.takes_each_result(),
        changed,
        lost,
        act: &act,
    })?)
}

/// Copies a folder of a run with all that is in it but links, which a run has none of; large files share their room on
/// the disk where the file system can.
fn copy_folder(from: &RunDir, to: &RunDir, folder: &str) -> Result<(), Failure> {
    let wrong = |error| Failure::machine(format!("copying `{}`", from.join(folder).display()), error);
    let (source, target) = (open(from.root())?, open(to.root())?);
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let entries = match source.read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(wrong)?,
        };
        target.create_dir_all(&folder).map_err(wrong)?;
        for entry in entries {
            let entry = entry.map_err(wrong)?;
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type().map_err(wrong)?);
            match path.to_str() {
                Some(LOG) => {}
                Some(name) if kind.is_file() => bring(&source, &target, name, None).map_err(wrong)?,
                Some(_) if kind.is_dir() => folders.push(path),
                Some(_) | None => {}
            }
        }
    }
    Ok(())
}

fn open(root: &Path) -> Result<Dir, Failure> {
    open_directory(root).map_err(|error| Failure::machine(format!("`{}` cannot be opened", root.display()), error))
}

fn bring(source: &Dir, target: &Dir, path: &str, sha256: Option<&str>) -> io::Result<()> {
    let mut file = open_regular(source, path)?.into_std();
    let executable = is_executable(&file.metadata()?);
    let what = Bring { destination: path, part: PART, executable, sha256, most: u64::MAX };
    let (mut progress, allowance) = (Carriage::default(), Allowance::new(u64::MAX));
    match share(&mut progress, &mut file, (source, path), target, what, &allowance)? {
        Carried::Whole(_) => Ok(()),
        Carried::PutAside(_) => Err(io::Error::other("bug: it was put aside")),
    }
}

/// Brings what attempts have left. Returns the places of those of which an output is gone or changed, and what is.
fn bring_files(store: &Store, parent: &RunDir, dir: &RunDir) -> Result<(Vec<i64>, Vec<String>), Failure> {
    let (source, target) = (open(parent.root())?, open(dir.root())?);
    let (mut lost, mut missing) = (BTreeSet::new(), Vec::new());
    let mut last = None;
    store.each_shared_file(|file| {
        let path = format!("{}/{}", file.directory, file.path);
        // what was printed may be an output too
        if last.replace(path.clone()).as_ref() == Some(&path) {
            return Ok(());
        }
        match bring(&source, &target, &path, Some(&file.sha256)) {
            Ok(()) => Ok(()),
            Err(error) if is_machine(&error) => {
                Err(Failure::of(FailureKind::Machine, format!("copying `{path}`")).because(error))
            }
            Err(_) => {
                if file.output {
                    lost.insert(file.attempt);
                }
                missing.push(path);
                Ok(())
            }
        }
    })?;
    Ok((lost.into_iter().collect(), missing))
}

/// Whether an error is the machine's, and says nothing about the file.
fn is_machine(error: &io::Error) -> bool {
    machine::is_trouble(error)
}
