//! Which run and which task a command is about, where a person may leave the run out.
use super::Session;
use crate::failure::Failure;
use crate::ground::words::{positional, quoted};
use crate::model::selection::{Selection, looks_like_pattern};
use crate::run::RunDir;
use crate::workspace::read_store;
use clap::Args;
use serde_json::{Value, json};

/// What leads to the newest run.
pub(super) const LATEST: &str = "latest";

/// Which tasks a command is about: those of which all holds that is said.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Choice {
    /// Only tasks in this state, `lost` and `stale` among them
    #[arg(long, value_name = "S")]
    state: Option<String>,
    /// Only tasks of this operator
    #[arg(long, value_name = "O")]
    operator: Option<String>,
    /// Only tasks of this iteration
    #[arg(long, value_name = "N")]
    iteration: Option<u32>,
    /// Only tasks of whose reason this is the code, as `explain` shows it
    #[arg(long, value_name = "C")]
    code: Option<String>,
}

impl Choice {
    /// The tasks, with the id or the pattern of ids that is named beside.
    pub(super) fn of(self, task: Option<String>) -> Selection {
        let Self { state, operator, iteration, code } = self;
        Selection { task, state, operator, iteration, code, recursive: false }
    }
}

/// The arguments of an act on tasks, for the record: the task, what else is said of tasks, and others.
pub(super) fn with_selection(selection: &Selection, mut others: Value) -> Value {
    let Selection { task, state, operator, iteration, code, recursive: _ } = selection;
    others["task"] = json!(task);
    for (key, text) in [("state", state), ("operator", operator), ("code", code)] {
        if let Some(text) = text {
            others[key] = json!(text);
        }
    }
    if let Some(iteration) = iteration {
        others["iteration"] = json!(iteration);
    }
    others
}

/// A selection as a shell takes it behind a command and a run.
pub(super) fn arguments(selection: &Selection) -> String {
    let Selection { task, state, operator, iteration, code, recursive: _ } = selection;
    let mut words: Vec<String> = task.iter().map(|task| positional(task)).collect();
    for (option, text) in [("state", state), ("operator", operator), ("code", code)] {
        words.extend(text.as_ref().map(|text| format!("--{option} {}", quoted(text))));
    }
    words.extend(iteration.map(|iteration| format!("--iteration {iteration}")));
    words.iter().map(|word| format!(" {word}")).collect()
}

/// The run and the task of a command that is about one task: a single word is a task of the latest run.
///
/// # Errors
/// If the word is the name of a run and of no such task.
pub(super) fn task(session: &Session, words: Vec<String>) -> Result<(String, String), Failure> {
    let mut words = words.into_iter();
    match (words.next().unwrap_or_default(), words.next()) {
        (run, Some(task)) => Ok((run, task)),
        (word, None) => match session.run(&word) {
            Ok(run) if !session.run(LATEST).is_ok_and(|latest| has_task(&latest, &word)) => {
                let what = format!("`{word}` names run `{}`, and which task of it is meant is not said", run.id());
                Err(Failure::input(what).hint(format!("`matterstack tasks {}` lists them", run.address())))
            }
            _ => Ok((LATEST.to_owned(), word)),
        },
    }
}

/// The runs that a command is about: those that are named, or every one with this label, in the order of their ids.
///
/// # Errors
/// If a name leads to no run, or no run has the label.
pub(super) fn runs_of(session: &Session, names: &[String], label: Option<&str>) -> Result<Vec<RunDir>, Failure> {
    let Some(label) = label else { return names.iter().map(|name| session.run(name)).collect() };
    let labelled = |run: &RunDir| {
        let row = read_store(run).and_then(|store| Ok(store.run()?));
        row.is_ok_and(|row| row.label.as_deref() == Some(label))
    };
    let runs: Vec<RunDir> = session.workspaces()?.runs().into_iter().map(|(_, run)| run).filter(labelled).collect();
    if runs.is_empty() {
        return Err(Failure::input(format!("no run has the label `{label}`")).hint("`matterstack list` shows labels"));
    }
    Ok(runs)
}

/// The run of a command and the task or the pattern of ids, if there is one: a single word names a run, or else a task
/// of the latest.
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
            let latest = session.run(LATEST).ok().filter(|run| looks_like_pattern(&word) || has_task(run, &word));
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
