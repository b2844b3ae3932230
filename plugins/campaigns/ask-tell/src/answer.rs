//! What an ask answers, checked before any of it counts.
use crate::file;
use crate::params::Spec;
use matterstack_sdk::{Detail, Outcome, TaskResult};
use serde_json::{Map, Value};

/// The most trials of one answer.
const TRIALS_MAX: usize = 10_000;
/// The longest id of a trial, in bytes: a chain's tasks have numbers behind it.
const ID_MAX_BYTES: usize = 190;
/// How ids begin that the campaign gives.
const OWN_IDS: [&str; 4] = ["ask-", "trial-", "start-", "told-"];

/// What an ask answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// Trials to run, and what to do with others.
    Trials(Proposal),
    /// A decision of its own.
    Decision(Map<String, Value>),
}

/// Trials to run, and what to do with others.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) trials: Vec<Proposed>,
    /// Trials that are no longer wanted.
    pub(crate) abandon: Vec<String>,
    /// Why there are to be no more.
    pub(crate) stop: Option<String>,
}

/// A trial to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposed {
    pub(crate) params: Map<String, Value>,
    /// An id of the program's own.
    pub(crate) trial: Option<String>,
    /// What is to measure it.
    pub(crate) tell: Option<String>,
}

/// Reads the answer of an ask that may name `wanted` trials, or says why the run is held.
pub(crate) fn read(spec: &Spec<'_>, result: &TaskResult, wanted: u64) -> Result<Answer, Detail> {
    if result.outcome != Outcome::Completed {
        return Err(failure(result));
    }
    found(spec, result, wanted)
        .map_err(|why| Detail::new("ask-refused", format!("the answer of `{}` is refused: {why}", result.task)))
}

/// Why an ask failed, with the end of what it complained of.
fn failure(result: &TaskResult) -> Detail {
    let why = result.reason.as_ref().or(result.code.as_ref());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let said = file::complaint(result).map(|said| format!("; it said last:\n{said}")).unwrap_or_default();
    Detail::new("ask-failed", format!("`{}` failed{why}{said}", result.task))
}

fn found(spec: &Spec<'_>, result: &TaskResult, wanted: u64) -> Result<Answer, String> {
    let trials = |value: &Value, place: &str| {
        proposal(spec, value, wanted).map(Answer::Trials).map_err(|why| format!("{place}{why}"))
    };
    match (result.output("trials.json"), result.output("decision.json")) {
        (Some(_), Some(_)) => Err("it left `trials.json` and `decision.json`: one of them counts".to_owned()),
        (Some(file), None) => trials(&file::document(file)?, "in `trials.json` "),
        (None, Some(file)) => match file::document(file)? {
            Value::Object(decision) => Ok(Answer::Decision(decision)),
            other => Err(format!("`decision.json` is no object but {}", shown(&other))),
        },
        (None, None) => {
            let data = file::data(result).unwrap_or_default();
            let told = data.get("answer").unwrap_or(&data);
            match told.is_array() || told.get("trials").is_some() {
                true => trials(told, "in its document "),
                false => Err("it left neither `trials.json` nor `decision.json`".to_owned()),
            }
        }
    }
}

/// The beginning of a value, for a sentence.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Reads `{trials, abandon, stop}`, or a list of points alone.
fn proposal(spec: &Spec<'_>, value: &Value, wanted: u64) -> Result<Proposal, String> {
    let (trials, object) = match value {
        Value::Array(points) => (points.iter().map(|point| proposed_point(spec, point)).collect::<Vec<_>>(), None),
        Value::Object(object) => (listed(spec, object)?, Some(object)),
        other => return Err(format!("there is no object but {}", shown(other))),
    };
    if trials.len() > TRIALS_MAX {
        return Err(format!("there are {} trials; {TRIALS_MAX} are the most that one ask may name", trials.len()));
    }
    if trials.len() as u64 > wanted {
        return Err(format!("there are {} trials, and {wanted} were wanted", trials.len()));
    }
    let number = |(place, trial): (usize, Result<Proposed, String>)| {
        trial.map_err(|why| format!("trial {} is wrong: {why}", place + 1))
    };
    let trials = trials.into_iter().enumerate().map(number).collect::<Result<Vec<Proposed>, String>>()?;
    for (place, trial) in trials.iter().enumerate() {
        let same = |other: &Proposed| other.trial.is_some() && other.trial == trial.trial;
        if let Some(other) = trials[..place].iter().position(same) {
            let id = trial.trial.as_deref().unwrap_or_default();
            return Err(format!("trials {} and {} both have the id `{id}`", other + 1, place + 1));
        }
    }
    let abandon = object.and_then(|object| object.get("abandon")).map_or(Ok(Vec::new()), ids)?;
    let stop = object.and_then(|object| object.get("stop")).map_or(Ok(None), stop)?;
    Ok(Proposal { trials, abandon, stop })
}

fn listed(spec: &Spec<'_>, object: &Map<String, Value>) -> Result<Vec<Result<Proposed, String>>, String> {
    known(object, &["trials", "abandon", "stop"])?;
    match object.get("trials") {
        None => Ok(Vec::new()),
        Some(Value::Array(trials)) => Ok(trials.iter().map(|trial| proposed(spec, trial)).collect()),
        Some(other) => Err(format!("`trials` is no list but {}", shown(other))),
    }
}

fn known(object: &Map<String, Value>, keys: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("`{key}` is no key; there are `{}`", keys.join("`, `"))),
        None => Ok(()),
    }
}

fn proposed(spec: &Spec<'_>, value: &Value) -> Result<Proposed, String> {
    let object = value.as_object().ok_or_else(|| format!("it is no object but {}", shown(value)))?;
    known(object, &["params", "trial", "tell"])?;
    let text = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}` is no text but {}", shown(other))),
    };
    let params = object.get("params").ok_or("it has no `params`")?;
    let (trial, tell) = (text("trial")?, text("tell")?);
    if let Some(id) = &trial {
        check_id(id)?;
    }
    spec.recipe(tell.as_deref())?;
    Ok(Proposed { trial, tell, ..proposed_params(spec, params)? })
}

fn proposed_point(spec: &Spec<'_>, value: &Value) -> Result<Proposed, String> {
    spec.recipe(None)?;
    proposed_params(spec, value)
}

fn proposed_params(spec: &Spec<'_>, value: &Value) -> Result<Proposed, String> {
    let params = value.as_object().ok_or_else(|| format!("its parameters are no object but {}", shown(value)))?;
    Ok(Proposed { params: spec.space.check(params)?, trial: None, tell: None })
}

fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() || id.len() > ID_MAX_BYTES || id.contains(char::is_control) {
        return Err(format!(
            "the id has {} bytes; 1 to {ID_MAX_BYTES} without control characters are allowed",
            id.len()
        ));
    }
    match OWN_IDS.iter().find(|word| id.starts_with(*word)) {
        Some(word) => Err(format!("the id `{id}` begins with `{word}`, as those that the campaign gives")),
        None => Ok(()),
    }
}

/// Whether an id begins as those that the campaign gives.
pub(crate) fn is_own_id(id: &str) -> bool {
    OWN_IDS.iter().any(|word| id.starts_with(word))
}

/// Whether a task is an ask.
pub(crate) fn is_ask(task: &str) -> bool {
    task.starts_with("ask-")
}

fn ids(value: &Value) -> Result<Vec<String>, String> {
    serde_json::from_value(value.clone()).map_err(|_| format!("`abandon` is no list of ids but {}", shown(value)))
}

fn stop(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null | Value::Bool(false) => Ok(None),
        Value::Bool(true) => Ok(Some("the program stopped".to_owned())),
        Value::String(why) => Ok(Some(why.clone())),
        other => Err(format!("`stop` says why in a text, and is {}", shown(other))),
    }
}
