//! Carries out a task that asks the program of a campaign, in a directory of its own that goes with it.
use super::Ready;
use super::answers::Known;
use super::files::Files;
use crate::backend::{Apart, Carried, run_apart};
use crate::failure::Failure;
use crate::model::config::LocalConfig;
use crate::model::contract::Detail;
use crate::model::job::JobDocument;
use crate::model::outputs::patterns;
use crate::model::result::{Outcome, OutputFile};
use crate::model::workflow::{CommandLine, FileSource, OutputPattern, Task, local_backend, stays_inside};
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program may take whose task names no walltime: one that never answers would keep all that waits.
const LIMIT: Duration = Duration::from_secs(3600);

/// What is carried out.
pub(super) struct Asking<'a> {
    pub(super) ready: &'a Ready,
    pub(super) task: &'a Task,
    pub(super) files: &'a Files,
    /// How long it takes on the virtual clock.
    pub(super) ran_ms: u64,
    /// Can be read as soon as nobody waits for it any more.
    pub(super) stop: BorrowedFd<'a>,
}

/// Carries out a task. `of_task` has the digests of what other tasks left. Nothing if it is none that runs on this
/// machine, or names a file that there is not.
pub(super) fn carry_out(
    asking: &Asking<'_>,
    of_task: impl Fn(&str, &str) -> Option<String>,
) -> Result<Option<Known>, Failure> {
    let Asking { ready, task, files, ran_ms, stop } = *asking;
    let Some((_, local)) = local_backend(&task.operator, &ready.config) else { return Ok(None) };
    let Some(command) = &task.command else { return Ok(None) };
    let wrong = |error| Failure::io(format!("asking the program of `{}`", ready.name), error);
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
    let (outcome, detail) = match run_apart(apart(ready, task, command, local)?, place, stop).map_err(wrong)? {
        Carried::Well => (Outcome::Completed, None),
        Carried::Badly(detail) => (Outcome::Failed, Some(detail)),
        Carried::Stopped => return Err(Failure::interrupted()),
    };
    let mut outputs = Vec::new();
    let wanted = patterns(task.outputs.iter().map(OutputPattern::pattern));
    for path in below(place).map_err(wrong)? {
        if wanted.match_path(&path) {
            let bytes = fs::read(place.join(&path)).map_err(wrong)?;
            let size = bytes.len() as u64;
            outputs.push(OutputFile { path, sha256: files.keep(bytes), size, remote: None });
        }
    }
    let (code, reason) = detail.map(|Detail { code, message, .. }| (code, message)).unzip();
    Ok(Some(Known { outcome, code, reason, data: None, outputs, ran_ms }))
}

/// The job that the operator of the task would hand in.
fn apart<'a>(
    ready: &Ready,
    task: &Task,
    command: &CommandLine,
    backend: &'a LocalConfig,
) -> Result<Apart<'a>, Failure> {
    let operator = ready.config.operators.get(&task.operator);
    let launcher = operator.and_then(|operator| operator.config.get("launcher")).cloned();
    let launcher = launcher.map(serde_json::from_value).transpose().map_err(|error| {
        Failure::input(format!("operators.{}.config.launcher is neither words nor a text", task.operator))
            .because(error)
    })?;
    let resources = task.resources.clone().unwrap_or_default();
    let limit = resources.walltime_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LIMIT);
    let (command, env) = (command.clone(), task.env.clone());
    let run = ready.dir.root();
    let workspace = run.ancestors().nth(2).map(|path| ("MATTERSTACK_WORKSPACE_DIR", path.display().to_string()));
    let place = workspace.into_iter().chain([("MATTERSTACK_RUN", ready.dir.id())]).collect();
    Ok(Apart {
        job: JobDocument { command, env, resources, outputs: Vec::new(), launcher },
        backend,
        environment: ready.environment.clone(),
        place,
        limit,
        log_max: ready.config.limits.attempt_log_mb.saturating_mul(1024 * 1024),
    })
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
