//! The task that asks: what the program reads, and what it gets back of what earlier ones kept.
use crate::free::Free;
use crate::params::Spec;
use crate::pieces::Pieces;
use crate::recipe::{Given, SHIM};
use crate::trials::{BEGINNING, Trials};
use matterstack_sdk::{Error, Value, artifacts, json};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::collections::BTreeMap;

/// What starts before all else: the largest priority there is.
const FIRST: i32 = 1_000_000;

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
    pub(crate) trials: &'a Trials,
    /// The state that it keeps and the results of tasks of its own, if it decides freely.
    pub(crate) free: Option<&'a Free>,
    /// What a person supplied.
    pub(crate) supplied: Option<&'a Value>,
}

/// `ask.json`. The trials stand first, so that what changes with each ask comes in one piece at its end.
pub(crate) fn document(spec: &Spec<'_>, told: &Told<'_>) -> Result<Pieces, Error> {
    let params = spec.params;
    let mut rest = json!({
        "seed": told.seed, "round": told.round, "wanted": told.wanted, "variables": params.variables,
        "objectives": params.objectives, "constraints": params.constraints, "observables": params.observables,
        "constants": params.constants,
    });
    if let Some(supplied) = told.supplied {
        rest["supplied"] = supplied.clone();
    }
    let mut pieces = Pieces::default();
    pieces.text(BEGINNING);
    told.trials.put(&mut pieces)?;
    if let Some(free) = told.free {
        rest["state"] = free.state.clone();
        pieces.text("],\"results\":[");
        free.results.put(&mut pieces, false)?;
    }
    pieces.text("],");
    pieces.text(&rest.to_string()[1..]);
    pieces.text("\n");
    Ok(pieces)
}

/// The task of an ask, with `ask.json` as its source. `kept` are the files that earlier ones left, with the task of
/// each.
pub(crate) fn task(
    spec: &Spec<'_>,
    id: &str,
    document: Value,
    kept: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, Error> {
    let names = ["trials.json", "decision.json", "stderr"].into_iter().chain(spec.keep.iter().map(String::as_str));
    let given = Given {
        id: id.to_owned(),
        document: ("ask.json", document),
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
