//! The task that asks: what the program reads, and what it gets back of what earlier ones kept.
use crate::params::Spec;
use crate::recipe::{Given, SHIM};
use matterstack_sdk::{Error, Value, artifacts, json};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::collections::BTreeMap;

/// What starts before all else: the largest priority there is.
const FIRST: i32 = 1_000_000;

/// From how many bytes on `ask.json` is a second name of the run's own file: a run of thousands of asks would hold
/// all of its trials as often once more.
const LINK_BYTES: usize = 256 * 1024;

/// The ask that is live, or failed and may be run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asking {
    /// Its task.
    pub(crate) task: String,
    /// How many trials it may name.
    pub(crate) wanted: u64,
    /// Whether something has ended that it cannot know of.
    pub(crate) outdated: bool,
    /// Whether it failed, or its answer was refused.
    pub(crate) failed: bool,
}

/// What the program is told beside the parameters.
pub(crate) struct Told<'a> {
    pub(crate) seed: u64,
    pub(crate) round: u64,
    pub(crate) wanted: u64,
    /// The trials, as JSON with commas between them.
    pub(crate) trials: String,
    /// The state that it keeps and the results of tasks of its own, if it decides freely.
    pub(crate) free: Option<(&'a Value, String)>,
    /// What a person supplied.
    pub(crate) supplied: Option<&'a Value>,
}

/// The text of `ask.json`.
pub(crate) fn document(spec: &Spec<'_>, told: &Told<'_>) -> String {
    let params = spec.params;
    let mut head = json!({
        "seed": told.seed, "round": told.round, "wanted": told.wanted, "variables": params.variables,
        "objectives": params.objectives, "constraints": params.constraints, "observables": params.observables,
        "constants": params.constants,
    });
    if let Some((state, _)) = told.free {
        head["state"] = state.clone();
    }
    if let Some(supplied) = told.supplied {
        head["supplied"] = supplied.clone();
    }
    let head = head.to_string();
    let results = told.free.as_ref().map(|(_, results)| format!(",\"results\":[{results}]")).unwrap_or_default();
    format!("{}{results},\"trials\":[{}]}}\n", &head[..head.len() - 1], told.trials)
}

/// The task of an ask. `kept` are the files that earlier ones left, with the task of each.
pub(crate) fn task(
    spec: &Spec<'_>,
    id: &str,
    document: &str,
    kept: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, Error> {
    let (sha256, large) = (artifacts::write(document.as_bytes())?, document.len() > LINK_BYTES);
    let names = ["trials.json", "decision.json", "stderr"].into_iter().chain(spec.keep.iter().map(String::as_str));
    let given = Given {
        id: id.to_owned(),
        document: (
            "ask.json",
            if large { json!({"digest": sha256, "stage": "link"}) } else { json!({"digest": sha256}) },
        ),
        answer: "trials.json",
        // one pattern, which any of them satisfies: `stderr` is always there
        pattern: Some(format!("{{{}}}", names.collect::<Vec<&str>>().join(","))),
        objective: None,
        shim: &artifacts::write(SHIM.as_bytes())?,
    };
    let template = spec.ask.clone().with_default("priority", json!(FIRST));
    let mut task = template.task(&given);
    let files = task.entry("files").or_insert_with(|| json!({}));
    for name in &spec.keep {
        if let Some(from) = kept.get(name) {
            files[format!("before/{name}")] = json!({"from": from, "output": name});
        }
    }
    Ok(task)
}
