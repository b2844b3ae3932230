//! Changes of what a run has pinned: other copies of its files, and where the workspace's own differ from them.
use super::init::{config_text, moment, stopwatch, workspace_of};
use super::open::{assemble, write_config_with};
use super::pin;
use crate::failure::Failure;
use crate::ground::digest::digest;
use crate::ground::files::open_regular_path;
use crate::ground::machine;
use crate::ground::words::positional;
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::config::{PinnedFile, RunConfig, SWEEP, WORKFLOW};
use crate::model::document::sha256;
use crate::model::reason::Reason;
use crate::model::script::PinnedScript;
use crate::model::states::RunState;
use crate::model::workflow::{WorkflowError, is_of_other_run, nearest};
use crate::run::{Run, RunDir, taking_command};
use crate::tick::{PlanError, propose_growth};
use serde::Serialize;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest file that is read to see whether it differs, where nobody asked for that, in bytes.
const GLANCE_MAX: u64 = 16 * 1024 * 1024;

/// Whether another configuration has another list for a standard campaign that takes a longer one.
pub fn lists_otherwise(run: &Run, config: &RunConfig) -> bool {
    let named = match config.campaign.plugin.as_str() {
        WORKFLOW => "tasks",
        SWEEP => config.campaign.params.get("rows").and_then(|name| name.as_str()).unwrap_or_default(),
        _ => return false,
    };
    let list = |config: &RunConfig| {
        let pinned = config.pinned.clone().unwrap_or_default();
        (config.campaign.params.clone(), pinned.params, pinned.inputs.get(named).cloned())
    };
    list(&run.config) != list(config)
}

/// Puts a configuration in place whose list has grown, and plans what it has more. Returns the run with it, and how
/// many tasks were added; one that had ended goes on.
///
/// # Errors
/// If the list is refused, or has nothing more; then everything is as it was.
pub fn grow(run: Run, config: RunConfig, act: &Act) -> Result<(Run, u64), Failure> {
    let row = run.store.run()?;
    if row.state == RunState::Cancelling {
        return Err(Failure::input(format!("run `{}` is being cancelled", row.run_id)));
    }
    let Run { dir, store, .. } = run;
    let (mut run, _) = assemble(dir, config.clone(), store)?;
    let config_sha256 = sha256(config_text(&config)?.as_bytes());
    let proposal =
        propose_growth(&run, &config_sha256, moment(act.at_ms, &stopwatch())).map_err(|error| match error {
            PlanError::Workflow(WorkflowError::Differs(task)) => {
                let hint = format!(
                    "`matterstack amend {} task {} KEY=VALUE` changes it",
                    run.dir.address(),
                    positional(task.as_str())
                );
                Failure::input(WorkflowError::Differs(task).to_string()).hint(hint)
            }
            error => error.into(),
        })?;
    let added = proposal.planned();
    if added == 0 {
        return Err(Failure::input("nothing is added: the run has every task of the list already"));
    }
    write_config_with(&mut run, config, act, |writer, _| {
        proposal.take(writer)?;
        writer.take_back()?;
        if row.state.ended() {
            let reason = Reason::new(Code::Revived, "its list has grown");
            writer.set_run_state(row.state, RunState::Active, Some(&reason), act.at_ms)?;
        }
        Ok(())
    })?;
    Ok((run, added))
}

/// A pinned file that was exchanged for the workspace's present copy.
#[derive(Debug, Clone, Serialize)]
pub struct Exchanged {
    /// Its path in the workspace.
    pub path: String,
    /// SHA-256 of the copy before; absent if the run had none.
    pub before: Option<String>,
    /// SHA-256 of the copy from now on.
    pub after: String,
}

/// Takes the workspace's present copies of files into a run; the old ones stay where they are. Those that are as they
/// were are left out.
///
/// # Errors
/// If a file is none of the workspace's, or cannot be copied.
pub fn take_files(dir: &RunDir, config: &mut RunConfig, paths: &[String]) -> Result<Vec<Exchanged>, Failure> {
    let workspace = workspace(dir)?;
    let mut exchanged = Vec::new();
    for given in paths {
        let path = in_workspace(&workspace, config, given)?;
        let from = pin::confined(&workspace, &path, "the file")?;
        refuse_script(dir, config, &path)?;
        let (after, _) = open_regular_path(&from)
            .and_then(|mut file| digest(&mut file))
            .map_err(|error| Failure::machine(format!("`{}` cannot be read", from.display()), error))?;
        let place = format!("inputs/amended/{}/{path}", &after[..12]);
        let inputs: Vec<String> =
            config.campaign.inputs.iter().filter(|(_, of)| **of == path).map(|(name, _)| name.clone()).collect();
        let pinned = config.pinned.get_or_insert_default();
        let known = pinned.files.get(&path).map(|file| file.sha256.clone());
        let stale_input = inputs.iter().any(|name| pinned.inputs.get(name).is_some_and(|file| file.sha256 != after));
        let stale_file = known.as_ref().map_or(inputs.is_empty(), |known| *known != after);
        if !stale_input && !stale_file {
            continue;
        }
        let file = pin::copy(&from, dir, place)?;
        let before =
            known.clone().or_else(|| inputs.iter().find_map(|name| Some(pinned.inputs.get(name)?.sha256.clone())));
        for name in &inputs {
            pinned.inputs.insert(name.clone(), file.clone());
        }
        if known.is_some() || inputs.is_empty() {
            pinned.files.insert(path.clone(), file);
        }
        exchanged.push(Exchanged { path, before, after });
    }
    if !exchanged.is_empty() {
        // the names of the copies too, before a configuration that pins them is committed
        machine::sync_file_system(dir.root()).map_err(|error| Failure::io("making the copies durable", error))?;
    }
    Ok(exchanged)
}

/// Refuses what is no file of tasks or of the campaign, but the plugin itself.
fn refuse_script(dir: &RunDir, config: &RunConfig, path: &str) -> Result<(), Failure> {
    let Some((place, _)) = config.script_with(path) else { return Ok(()) };
    let what = format!("`{path}` is part of the script behind {place}.plugin, and no file of tasks");
    let command = taking_command(config, dir.address(), path);
    Err(Failure::input(what).hint(format!("`{command}` takes it, with its modules")))
}

/// The pinned files of which the workspace has another copy now, by their paths; what is large is looked at only where
/// `thorough`. Files that are gone from the workspace are left out: the run has what it needs.
pub fn changed_files(dir: &RunDir, config: &RunConfig, thorough: bool) -> Vec<String> {
    let Ok(workspace) = workspace(dir) else { return Vec::new() };
    let Some(pinned) = &config.pinned else { return Vec::new() };
    let inputs = config.campaign.inputs.iter().filter_map(|(name, path)| Some((path, pinned.inputs.get(name)?)));
    let mut changed: Vec<String> = pinned
        .files
        .iter()
        .chain(inputs)
        .chain(pinned.scripts.values().flat_map(PinnedScript::files))
        .filter(|(path, _)| !is_of_other_run(path))
        .filter(|(path, file)| differs(&workspace.join(path), dir, file, thorough))
        .map(|(path, _)| path.clone())
        .collect();
    changed.sort();
    changed.dedup();
    changed
}

/// Whether a file of the workspace is another one than was pinned. One that has the same size and was not written since
/// is taken for the same.
fn differs(path: &Path, dir: &RunDir, pinned: &PinnedFile, thorough: bool) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    if !metadata.is_file() {
        return false;
    }
    if metadata.len() != pinned.size {
        return true;
    }
    let written = |file: &Metadata| (file.mtime(), file.mtime_nsec());
    let copied = std::fs::metadata(dir.join(&pinned.path));
    if !thorough && (copied.is_ok_and(|copy| written(&metadata) < written(&copy)) || metadata.len() > GLANCE_MAX) {
        return false;
    }
    open_regular_path(path).and_then(|mut file| digest(&mut file)).is_ok_and(|(found, _)| found != pinned.sha256)
}

fn workspace(dir: &RunDir) -> Result<PathBuf, Failure> {
    let workspace = workspace_of(dir).and_then(|path| std::fs::canonicalize(path).ok());
    workspace.ok_or_else(|| {
        Failure::input(format!("run `{}` does not lie in a workspace", dir.address()))
            .hint("its files are taken from the workspace: move it back to `runs/` there")
    })
}

/// The path in the workspace of a file that a person names: by that path, or by one that leads there from here.
fn in_workspace(workspace: &Path, config: &RunConfig, given: &str) -> Result<String, Failure> {
    let pinned = config.pinned.iter().flat_map(|pinned| pinned.files.keys()).filter(|name| !is_of_other_run(name));
    let known: Vec<&String> = pinned.chain(config.campaign.inputs.values()).collect();
    if known.iter().any(|path| *path == given) || workspace.join(given).is_file() {
        return Ok(given.to_owned());
    }
    let here = std::fs::canonicalize(given).ok();
    if let Some(path) = here.as_deref().and_then(|path| path.strip_prefix(workspace).ok()?.to_str()) {
        return Ok(path.to_owned());
    }
    let failure = Failure::input(format!("the workspace has no file `{given}`"));
    Err(match nearest(given, known.into_iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("name it by its path in the workspace, such as `scripts/parse.py`"),
    })
}
