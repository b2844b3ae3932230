//! Carries out a task that asks the program of a campaign, in a directory of its own that goes with it.
use super::Ready;
use super::answers::Known;
use super::files::Files;
use crate::backend::{Apart, run_script_in};
use crate::failure::Failure;
use crate::model::code::Code;
use crate::model::config::{BackendConfig, LocalConfig};
use crate::model::outputs::patterns;
use crate::model::result::{Outcome, OutputFile};
use crate::model::workflow::{FileSource, OutputPattern, Task, stays_inside};
use std::fs;
use std::path::{Path, PathBuf};

/// The backend of this machine that would carry the task.
fn backend<'a>(ready: &'a Ready, task: &Task) -> Option<&'a LocalConfig> {
    let granted = &ready.config.operators.get(&task.operator)?.grants.compute;
    match ready.config.backends.get(granted.first()?)? {
        BackendConfig::Local(local) => Some(local),
        BackendConfig::Slurm(_) => None,
    }
}

/// Carries out a task, which takes the time of `ran_ms` on the virtual clock. `of_task` has the digests of what other
/// tasks left. Nothing if it is none that runs on this machine, or names a file that there is not.
pub(super) fn carry_out(
    ready: &Ready,
    task: &Task,
    files: &Files,
    of_task: impl Fn(&str, &str) -> Option<String>,
    ran_ms: u64,
) -> Result<Option<Known>, Failure> {
    let (Some(local), Some(command)) = (backend(ready, task), &task.command) else { return Ok(None) };
    let wrong = |error| Failure::machine(format!("asking the program of `{}`", ready.name), error);
    let scratch = tempfile::Builder::new().prefix("matterstack-ask-").tempdir().map_err(wrong)?;
    let place = scratch.path();
    for (destination, source) in &task.files {
        let Some(bytes) = bytes_of(ready, source, files, &of_task) else { return Ok(None) };
        if !stays_inside(destination) {
            return Ok(None);
        }
        let path = place.join(destination);
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes)).map_err(wrong)?;
    }
    let run = ready.dir.root();
    let mut env = vec![("MATTERSTACK_RUN_DIR", run.display().to_string())];
    env.extend(run.ancestors().nth(2).map(|workspace| ("MATTERSTACK_WORKSPACE_DIR", workspace.display().to_string())));
    env.extend(task.env.iter().filter_map(|(name, value)| Some((name.as_str(), value.text()?.to_owned()))));
    let status = run_script_in(&Apart { command, setup: &local.setup, shell: &local.shell, env }, place);
    let status = status.map_err(wrong)?;
    let mut outputs = Vec::new();
    let wanted = patterns(task.outputs.iter().map(OutputPattern::pattern));
    for path in below(place).map_err(wrong)? {
        if wanted.match_path(&path) {
            let bytes = fs::read(place.join(&path)).map_err(wrong)?;
            let size = bytes.len() as u64;
            outputs.push(OutputFile { path, sha256: files.keep(bytes), size, remote: None });
        }
    }
    let (outcome, code, reason) = match status.code() {
        Some(0) => (Outcome::Completed, None, None),
        Some(code) => (Outcome::Failed, Some(Code::Exit), Some(format!("the command ended with code {code}"))),
        None => (Outcome::Failed, Some(Code::Signal), Some("the command was ended by a signal".to_owned())),
    };
    let code = code.map(|code| code.as_str().to_owned());
    Ok(Some(Known { outcome, code, reason, data: None, outputs, ran_ms }))
}

fn bytes_of(
    ready: &Ready,
    source: &FileSource,
    files: &Files,
    of_task: impl Fn(&str, &str) -> Option<String>,
) -> Option<Vec<u8>> {
    match source {
        FileSource::Content(content) => Some(content.content.clone().into_bytes()),
        FileSource::Digest(digest) => {
            let pieces: Option<Vec<Vec<u8>>> = digest.needed().iter().map(|one| files.whole(one)).collect();
            Some(pieces?.concat())
        }
        FileSource::From(from) => files.whole(&of_task(from.from.as_str(), &from.output)?),
        FileSource::Path(_) | FileSource::Other(_) => ready.pinned_bytes(&source.pinned_as()?),
    }
}

/// The regular files below a directory, by their paths in it.
fn below(directory: &Path) -> std::io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(directory.join(&folder))? {
            let entry = entry?;
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.extend(path.to_str().map(str::to_owned));
            }
        }
    }
    found.sort();
    Ok(found)
}
