//! `path`: where something lies, for other programs.
use super::Session;
use super::output::{print, print_json, was_removed};
use super::subject::{LATEST, run_or_task};
use super::tasks::the_task;
use crate::failure::Failure;
use crate::ground::words::positional;
use crate::run::RunDir;
use crate::store::{AttemptRow, Store};
use crate::workspace::read_store;
use serde_json::json;
use std::path::PathBuf;

/// Outputs that are named where one is asked for that there is not.
const NAMED: usize = 10;

pub(super) fn path(session: &Session, words: Vec<String>) -> Result<u8, Failure> {
    let (run, task, file) = meant(session, words)?;
    let dir = session.run(&run)?;
    let mut path = dir.root().to_owned();
    if let Some(task) = &task {
        let store = read_store(&dir)?;
        let row = the_task(&dir, &store, task)?;
        let Some(attempt) = store.attempts(row.key)?.pop() else {
            return Err(Failure::input(format!("task `{task}` has had no attempt, and so has no directory yet")));
        };
        path = dir.join(&attempt.directory);
        if dir.is_bundle() {
            path = in_bundle(&dir, &store, &attempt, file.as_deref())?;
        } else if let Some(file) = &file {
            path = path.join(file);
            if path.symlink_metadata().is_err() {
                if let Some(removed) = store.removed_file(attempt.key, file)? {
                    return Err(Failure::input(format!("`{file}` of task `{task}` {}", was_removed(&removed))));
                }
                let known: Vec<String> = store.outputs(attempt.key)?.into_iter().map(|output| output.path).collect();
                let what = format!("the last attempt at task `{task}` left no `{file}`");
                return Err(Failure::input(what).hint(match known.as_slice() {
                    [] => format!(
                        "it has no outputs; `matterstack logs {} {}` shows what it printed",
                        dir.address(),
                        positional(task)
                    ),
                    known => format!("it has {}", known[..known.len().min(NAMED)].join(", ")),
                }));
            }
        }
    }
    if session.json {
        return print_json(&json!({"run_id": dir.id(), "task": task, "file": file, "path": path})).map(|()| 0);
    }
    print(&format!("{}\n", path.display())).map(|()| 0)
}

/// Where a bundle has a file that an attempt left, which lies under its digest.
fn in_bundle(dir: &RunDir, store: &Store, attempt: &AttemptRow, file: Option<&str>) -> Result<PathBuf, Failure> {
    let outputs = store.outputs(attempt.key)?.into_iter().map(|output| (output.path, output.sha256));
    let logs = store.logs(attempt.key)?.into_iter().map(|log| (log.kind.file().to_owned(), log.sha256));
    let left: Vec<(String, String)> = outputs.chain(logs).collect();
    let known = || left.iter().map(|(path, _)| path.as_str()).take(NAMED).collect::<Vec<_>>().join(", ");
    let Some(file) = file else {
        let what = format!("`{}` is a bundle of evidence, which has no directories of attempts", dir.root().display());
        return Err(Failure::input(what).hint(format!("name a file that this one left: {}", known())));
    };
    let Some((path, sha256)) = left.iter().find(|(path, _)| path == file) else {
        return Err(Failure::input(format!("the last attempt left no `{file}`")).hint(format!("it has {}", known())));
    };
    let place = dir.join(&dir.left(&attempt.directory, path, sha256));
    if place.symlink_metadata().is_err() {
        return Err(Failure::input(format!("`{file}` is not in the bundle, which has its digest alone: {sha256}")));
    }
    Ok(place)
}

/// The run, the task and the file that words name: of two the first is a run if it names one, else a task of the
/// latest.
fn meant(session: &Session, words: Vec<String>) -> Result<(String, Option<String>, Option<String>), Failure> {
    match <[String; 3]>::try_from(words) {
        Ok([run, task, file]) => Ok((run, Some(task), Some(file))),
        Err(words) => match <[String; 2]>::try_from(words) {
            Ok([first, second]) if session.run(&first).is_ok() => Ok((first, Some(second), None)),
            Ok([task, file]) => Ok((LATEST.to_owned(), Some(task), Some(file))),
            Err(words) => run_or_task(session, words).map(|(run, task)| (run, task, None)),
        },
    }
}
