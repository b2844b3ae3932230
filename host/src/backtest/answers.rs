//! What is known already of what a task would come to: by what it computes, from the record, or by its parameters, from
//! a table.
use super::table::Table;
use crate::failure::Failure;
use crate::model::code::Code;
use crate::model::config::RunConfig;
use crate::model::document::{canonical_own, sha256};
use crate::model::result::{Outcome, OutputFile};
use crate::model::workflow::{FileSource, Task};
use crate::run::RunDir;
use crate::store::{Store, TaskEnd};
use crate::workspace::{kept_config, read_store};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Rows that are read at once.
const PORTION: u32 = 1000;
/// How long a task takes of whose kind none is recorded, in milliseconds.
const USUAL_MS: u64 = 1000;

/// What a task came to.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) outcome: Outcome,
    pub(super) code: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) data: Option<Value>,
    pub(super) outputs: Vec<OutputFile>,
    /// How long it took.
    pub(super) ran_ms: u64,
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Answers {
    by_key: BTreeMap<String, Vec<Known>>,
    pub(super) table: Option<Table>,
    /// How long tasks of an operator took in the middle, those that asked apart.
    usual_ms: BTreeMap<(String, bool), u64>,
    /// When the first of the runs was made.
    pub(super) begun_ms: u64,
}

/// Whether a task asks the program of the campaign what comes next.
pub(super) fn asks(config: &RunConfig, task: &str) -> bool {
    config.campaign.plugin == "builtin:ask-tell" && task.starts_with("ask-")
}

/// What tells what a task computes: SHA-256 of its operator, command, files, variables and input. Nothing if that
/// cannot be told. `pinned` has the digests of the workspace's files, `of_task` the keys of other tasks.
pub(super) fn key_of(
    task: &Task,
    pinned: impl Fn(&str) -> Option<String>,
    of_task: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut files = Map::new();
    for (destination, source) in &task.files {
        let what = match source {
            FileSource::Content(content) => json!(["content", sha256(content.content.as_bytes())]),
            FileSource::Digest(digest) => json!(["content", digest.digest]),
            FileSource::From(from) => json!(["from", of_task(from.from.as_str())?, from.output]),
            FileSource::Path(_) | FileSource::Other(_) => {
                let name = source.pinned_as()?;
                match pinned(&name) {
                    Some(digest) => json!(["content", digest]),
                    None => json!(["folder", name]),
                }
            }
        };
        files.insert(destination.clone(), what);
    }
    let whole = json!({
        "operator": task.operator, "command": task.command, "files": files, "env": task.env, "input": task.input,
    });
    Some(sha256(canonical_own(&whole).as_bytes()))
}

/// The parameters of a task: its `input`, or a file `params.json` that stands in it.
fn parameters(task: &Task) -> Option<Map<String, Value>> {
    let written = match task.files.get("params.json") {
        Some(FileSource::Content(content)) => serde_json::from_str(&content.content).ok(),
        _ => task.input.clone(),
    };
    match written? {
        Value::Object(params) => Some(params),
        _ => None,
    }
}

impl Answers {
    /// Reads what is known.
    pub(super) fn of(runs: &[RunDir], table: Option<Table>) -> Result<Self, Failure> {
        let mut answers = Self { by_key: BTreeMap::new(), table, usual_ms: BTreeMap::new(), begun_ms: 0 };
        let mut took: BTreeMap<(String, bool), Vec<u64>> = BTreeMap::new();
        for dir in runs {
            let (store, config) = (read_store(dir)?, kept_config(dir)?);
            if answers.begun_ms == 0 {
                answers.begun_ms = store.run()?.created_at_ms.max(0) as u64;
            }
            answers.take(&store, &config, &mut took)?;
        }
        answers.usual_ms = took
            .into_iter()
            .map(|(of, mut all)| {
                all.sort_unstable();
                (of, all[all.len() / 2])
            })
            .collect();
        Ok(answers)
    }

    /// Takes in what the tasks of a run came to.
    fn take(
        &mut self,
        store: &Store,
        config: &RunConfig,
        took: &mut BTreeMap<(String, bool), Vec<u64>>,
    ) -> Result<(), Failure> {
        let pinned = |path: &str| Some(config.pinned.as_ref()?.files.get(path)?.sha256.clone());
        let (mut keys, mut after) = (BTreeMap::<String, String>::new(), 0);
        loop {
            let portion = store.task_ends(after, PORTION)?;
            let Some((last, _)) = portion.last() else { return Ok(()) };
            after = *last;
            for (_, end) in portion {
                let Ok(mut task) = serde_json::from_str::<Task>(&end.spec) else { continue };
                task.operator.clone_from(&end.operator);
                let Some(key) = key_of(&task, pinned, |id| keys.get(id).cloned()) else { continue };
                keys.insert(end.task.clone(), key.clone());
                let code = store.task(&end.task)?.and_then(|row| row.reason_code).map(|word| word.to_string());
                let Some(known) = known(store, &end, code)? else { continue };
                took.entry((end.operator.clone(), asks(config, &end.task))).or_default().push(known.ran_ms);
                self.by_key.entry(key).or_default().push(known);
            }
        }
    }

    /// What a task that computes this would come to, if it is asked for the time that `again` counts. What was measured
    /// several times is told in that order, and then from the first on. `keep` keeps a file by its digest.
    pub(super) fn find(
        &self,
        (task, key): (&Task, Option<&str>),
        again: usize,
        keep: impl FnOnce(Vec<u8>) -> String,
    ) -> Option<Known> {
        if let Some(all) = key.and_then(|key| self.by_key.get(key)) {
            return Some(all[again % all.len()].clone());
        }
        let (result, took) =
            self.table.as_ref()?.find(task.id.as_str(), &parameters(task).unwrap_or_default(), again)?;
        let (mut data, mut outputs) = (None, Vec::new());
        if task.command.is_some() {
            let path = task.outputs.iter().map(|one| one.pattern()).find(|one| !one.contains(['*', '{', '?', '[']));
            let bytes = Value::Object(result).to_string().into_bytes();
            let size = bytes.len() as u64;
            let path = path.unwrap_or("result.json").to_owned();
            outputs.push(OutputFile { path, sha256: keep(bytes), size, remote: None });
        } else {
            data = Some(Value::Object(result));
        }
        let ran_ms = took.unwrap_or_else(|| self.usual(&task.operator, false));
        Some(Known { outcome: Outcome::Completed, code: None, reason: None, data, outputs, ran_ms })
    }

    /// How long such a task takes.
    pub(super) fn usual(&self, operator: &str, asks: bool) -> u64 {
        self.usual_ms.get(&(operator.to_owned(), asks)).copied().unwrap_or(USUAL_MS)
    }
}

/// What a recorded task came to; nothing where that says nothing about what it computes: it has not ended, was
/// cancelled, or the machine failed.
fn known(store: &Store, end: &TaskEnd, code: Option<String>) -> Result<Option<Known>, Failure> {
    let Some(last) = &end.last else { return Ok(None) };
    let own = [Code::Exit, Code::Signal].map(|code| code.as_str());
    let outcome = match Outcome::of(end.state) {
        Some(Outcome::Completed) => Outcome::Completed,
        Some(Outcome::Failed) if code.as_deref().is_some_and(|code| own.contains(&code)) => Outcome::Failed,
        Some(Outcome::Failed | Outcome::Cancelled | Outcome::Skipped) | None => return Ok(None),
    };
    let job = last.started_ms.zip(last.stopped_ms).map(|(from, to)| to.saturating_sub(from));
    let attempt = store.attempt_times(last.key)?.map(|(from, to)| to.saturating_sub(from));
    let code = code.filter(|_| outcome == Outcome::Failed);
    Ok(Some(Known {
        outcome,
        reason: end.reason.clone().filter(|_| code.is_some()),
        code,
        data: last.data.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        outputs: store.outputs(last.key)?,
        ran_ms: job.or(attempt).unwrap_or(0).max(0) as u64,
    }))
}
