//! Which run and which task a command is about, where a person may leave the run out.
use super::Session;
use crate::failure::Failure;
use crate::ground::words::positional;
use crate::run::RunDir;
use crate::workspace::read_store;

/// What leads to the newest run.
const LATEST: &str = "latest";

/// The run and the task of a command that is about a task: a single word is a task of the latest run.
pub(super) fn task(words: Vec<String>) -> (String, String) {
    let mut words = words.into_iter();
    match (words.next().unwrap_or_default(), words.next()) {
        (run, Some(task)) => (run, task),
        (task, None) => (LATEST.to_owned(), task),
    }
}

/// The run of a command and the task, if there is one: a single word names a run, or else a task of the latest.
///
/// # Errors
/// If the word is neither, or could be both.
pub(super) fn run_or_task(session: &Session, words: Vec<String>) -> Result<(String, Option<String>), Failure> {
    let mut words = words.into_iter();
    match (words.next(), words.next()) {
        (None, _) => Ok((LATEST.to_owned(), None)),
        (Some(run), Some(task)) => Ok((run, Some(task))),
        (Some(word), None) if word == LATEST => Ok((word, None)),
        (Some(word), None) => {
            let latest = session.run(LATEST).ok().filter(|run| has_task(run, &word));
            match (session.run(&word), latest) {
                (Ok(run), Some(latest)) => Err(both(&word, &run, &latest)),
                (Err(_), Some(latest)) => Ok((latest.address().to_owned(), Some(word))),
                (Ok(_), None) => Ok((word, None)),
                (Err(failure), None) => Err(failure),
            }
        }
    }
}

fn has_task(run: &RunDir, id: &str) -> bool {
    // A run that cannot be read has no task to be taken for a run.
    read_store(run).and_then(|store| Ok(store.task(id)?)).is_ok_and(|task| task.is_some())
}

fn both(word: &str, run: &RunDir, latest: &RunDir) -> Failure {
    let what = format!("`{word}` names run `{}`, and a task of the latest run `{}`", run.id(), latest.id());
    Failure::input(what).hint(format!(
        "say `{}` for the run, or `{} {}` for the task",
        run.root().display(),
        latest.address(),
        positional(word)
    ))
}
