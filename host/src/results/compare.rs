//! What differs between two runs: configuration, plugins, pinned files, tasks and their results.
use super::fields::{data, flatten};
use crate::failure::Failure;
use crate::model::config::{Pinned, RunConfig};
use crate::model::script::PinnedScript;
use crate::store::{Store, TaskEnd};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Tasks that are read at once.
const PORTION: u32 = 1000;

/// Of what a run is looked at.
pub struct Side<'a> {
    /// Its configuration.
    pub config: &'a RunConfig,
    /// Its store.
    pub store: &'a Store,
}

/// What a difference is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A value of the configuration.
    Config,
    /// A plugin.
    Plugin,
    /// A pinned file.
    File,
    /// What a task says.
    Task,
    /// What came of a task.
    Result,
}

impl Part {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Plugin => "plugin",
            Self::File => "file",
            Self::Task => "task",
            Self::Result => "result",
        }
    }
}

/// Something that two runs have not alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Of what.
    pub part: Part,
    /// The task it is about, if it is about one.
    pub task: Option<String>,
    /// Its name: a path in a document, a file, or nothing for a task that only one of the runs has.
    pub name: String,
    /// What the first run has; null if nothing.
    pub first: Value,
    /// What the second run has; null if nothing.
    pub second: Value,
}

/// Hands over everything that two runs have not alike, the configuration first.
///
/// # Errors
/// What `each` answers, or that one of them cannot be read.
pub fn compare(
    first: &Side<'_>,
    second: &Side<'_>,
    each: &mut impl FnMut(Difference) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let document = |side: &Side<'_>| {
        let mut document = serde_json::to_value(side.config).unwrap_or_default();
        // what is pinned is compared by itself
        document.as_object_mut().map(|object| object.remove("pinned"));
        flat(document)
    };
    differences(Part::Config, None, document(first), document(second), each)?;
    let pinned = |side: &Side<'_>, of: fn(&Pinned) -> BTreeMap<String, String>| {
        let digests = side.config.pinned.as_ref().map(of).unwrap_or_default();
        digests.into_iter().map(|(name, digest)| (name, Value::from(digest))).collect::<BTreeMap<_, _>>()
    };
    for (part, of) in [(Part::Plugin, plugins as fn(&Pinned) -> _), (Part::File, files)] {
        differences(part, None, pinned(first, of), pinned(second, of), each)?;
    }
    tasks(first.store, second.store, each)
}

fn plugins(pinned: &Pinned) -> BTreeMap<String, String> {
    let scripts = pinned.scripts.values().flat_map(PinnedScript::files);
    pinned.plugins.iter().chain(scripts).map(|(name, plugin)| (name.clone(), plugin.sha256.clone())).collect()
}

fn files(pinned: &Pinned) -> BTreeMap<String, String> {
    let inputs = pinned.inputs.iter().map(|(name, file)| (format!("input {name}"), file.sha256.clone()));
    let files = pinned.files.iter().map(|(name, file)| (name.clone(), file.sha256.clone()));
    inputs.chain(files).collect()
}

/// The values of a document by the paths to them.
fn flat(document: Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    flatten(String::new(), document, &mut |name, value| {
        if !value.is_null() {
            found.insert(name.trim_start_matches('.').to_owned(), value);
        }
    });
    found
}

/// Hands over what two sets of named values have not alike.
fn differences(
    part: Part,
    task: Option<&str>,
    mut first: BTreeMap<String, Value>,
    second: BTreeMap<String, Value>,
    each: &mut impl FnMut(Difference) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let task = task.map(str::to_owned);
    let mut found = Vec::new();
    for (name, second) in second {
        let first = first.remove(&name).unwrap_or_default();
        if first != second {
            found.push(Difference { part, task: task.clone(), name, first, second });
        }
    }
    let gone = first.into_iter().map(|(name, first)| Difference {
        part,
        task: task.clone(),
        name,
        first,
        second: Value::Null,
    });
    found.extend(gone);
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.into_iter().try_for_each(each)
}

/// Compares the tasks: those of the first run are kept as digests would be, by id, and those of the second looked up.
fn tasks(
    first: &Store,
    second: &Store,
    each: &mut impl FnMut(Difference) -> Result<(), Failure>,
) -> Result<(), Failure> {
    each_end(first, |end| match second.task(&end.task)? {
        None => each(only(&end.task, Value::from(end.state.as_str()), Value::Null)),
        Some(row) => {
            let other = second.task_end(row.key)?;
            if other.spec != end.spec {
                differences(Part::Task, Some(&end.task), specification(&end), specification(&other), each)?;
            }
            let (left, right) = (result(first, &end)?, result(second, &other)?);
            differences(Part::Result, Some(&end.task), left, right, each)
        }
    })?;
    each_end(second, |end| match first.has_task(&end.task)? {
        true => Ok(()),
        false => each(only(&end.task, Value::Null, Value::from(end.state.as_str()))),
    })
}

/// A task that only one of the runs has, with the state it is in there.
fn only(task: &str, first: Value, second: Value) -> Difference {
    Difference { part: Part::Task, task: Some(task.to_owned()), name: String::new(), first, second }
}

fn each_end(store: &Store, mut each: impl FnMut(TaskEnd) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let ends = store.task_ends(after, PORTION)?;
        let Some((last, _)) = ends.last() else { return Ok(()) };
        after = *last;
        ends.into_iter().try_for_each(|(_, end)| each(end))?;
    }
}

fn specification(end: &TaskEnd) -> BTreeMap<String, Value> {
    flat(serde_json::from_str(&end.spec).unwrap_or_default())
}

/// What came of a task: its state, the operator's document, and the digests of its outputs.
fn result(store: &Store, end: &TaskEnd) -> Result<BTreeMap<String, Value>, Failure> {
    let mut found = BTreeMap::from([("state".to_owned(), Value::from(end.state.as_str()))]);
    if let Some(last) = &end.last {
        found.extend(
            flat(data(last).unwrap_or_default()).into_iter().map(|(name, value)| (format!("data.{name}"), value)),
        );
        let outputs = store.outputs(last.key)?;
        found.extend(outputs.into_iter().map(|output| (output.path, Value::from(output.sha256))));
    }
    Ok(found)
}
