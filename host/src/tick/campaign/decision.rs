//! The exact texts of a decision: what the campaign is handed, and what its answer is taken for. A tick makes them, and
//! a replay makes them again. Nothing is written here.
use crate::model::config::RunConfig;
use crate::model::contract::{Context, Decision, Detail, Next};
use crate::model::document::{canonical, canonical_own, hex};
use crate::model::evidence::DecisionKind;
use crate::model::id::RunId;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::run::Run;
use crate::store::{self, RunRow};
use crate::tick::TickError;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The context of the next decision of a run.
pub(in crate::tick) fn context(run: &Run, row: &RunRow, now_ms: i64, iteration: u32) -> Result<Context, TickError> {
    let params = run.params().map_err(|error| TickError::Io("reading campaign.params".to_owned(), error))?;
    let supplied = row.supplied.as_deref().map(store::document::<Value>).transpose()?;
    let supplied = supplied.as_ref().map(canonical_own);
    let occasion = Occasion { run_id: &row.run_id, iteration, decision: row.decisions + 1, now_ms };
    Ok(context_of(occasion, &run.config, params, supplied))
}

/// Which decision a campaign is asked for, and when.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The run's id.
    pub run_id: &'a str,
    /// The iteration that it is about.
    pub iteration: u32,
    /// Its number in the run, from 1.
    pub decision: u64,
    /// When, in milliseconds since the epoch.
    pub now_ms: i64,
}

/// The context of a decision, with `campaign.params` and what a person supplied, both as canonical text. Its documents
/// are canonical JSON, and the campaign is handed just that text: what is hashed and recorded is what it saw.
pub fn context_of(occasion: Occasion<'_>, config: &RunConfig, params: String, supplied: Option<String>) -> Context {
    let pinned = config.pinned.iter().flat_map(|pinned| &pinned.inputs);
    let inputs: serde_json::Map<String, Value> =
        pinned.map(|(name, file)| (name.clone(), json!({"sha256": file.sha256, "size": file.size}))).collect();
    Context {
        run_id: RunId(occasion.run_id.to_owned()),
        iteration: occasion.iteration,
        decision: occasion.decision,
        now_ms: occasion.now_ms.max(0) as u64,
        seed: config.campaign.seed,
        params,
        inputs: canonical_own(&inputs),
        supplied,
    }
}

/// SHA-256 of all that a decision could depend on, in canonical JSON. All documents are canonical already.
pub fn input_digest(kind: DecisionKind, context: &Context, state: Option<&str>, finished: Option<&str>) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut hasher = Sha256::new();
    let mut part = |key: &str, value: &str| {
        hasher.update(key);
        hasher.update(value);
    };
    part("{\"call\":", &quoted(kind.as_str()));
    part(",\"decision\":", &context.decision.to_string());
    part(",\"finished\":", finished.unwrap_or("null"));
    part(",\"inputs\":", &context.inputs);
    part(",\"iteration\":", &context.iteration.to_string());
    part(",\"now_ms\":", &context.now_ms.to_string());
    part(",\"params\":", &context.params);
    part(",\"run\":", &quoted(context.run_id.as_str()));
    part(",\"seed\":", &quoted(&context.seed.to_string()));
    part(",\"state\":", state.unwrap_or("null"));
    part(",\"supplied\":", context.supplied.as_deref().unwrap_or("null"));
    hasher.update(b"}");
    hex(&hasher.finalize())
}

/// SHA-256 of an answer, in canonical JSON: of `next`, `reason` and the state.
pub fn sha256_of_answer(rest: &str, state: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(rest.strip_suffix('}').unwrap_or(rest));
    hasher.update(b",\"state\":");
    hasher.update(state);
    hasher.update(b"}");
    hex(&hasher.finalize())
}

/// The canonical form of a document that a campaign answered with.
///
/// # Errors
/// If it has none.
pub fn canonical_output(text: &str, call: &'static str, what: &str) -> Result<String, PluginError> {
    canonical(text).map_err(|error| PluginError {
        plugin: "campaign".to_owned(),
        call: Some(call),
        kind: PluginErrorKind::BadOutput(format!("{what} is not canonical JSON: {error}")),
    })
}

/// What a plan chose, as canonical JSON. A workflow is read one task at a time, so that a large one is never held as a
/// tree of values.
///
/// # Errors
/// If its document has no canonical form.
pub fn canonical_next(next: &Next) -> Result<String, PluginError> {
    let document = |text: &str, what: &str| Ok(format!("{{\"{what}\":{}}}", canonical_output(text, "plan", what)?));
    let detail = |what: &str, detail: &Detail| {
        let (code, message) = (Value::from(detail.code.as_str()), Value::from(detail.message.as_str()));
        Ok(format!("{{\"{what}\":{{\"code\":{code},\"message\":{message}}}}}"))
    };
    match next {
        Next::Workflow(text) => {
            let bad = |error: &dyn std::fmt::Display| PluginError {
                plugin: "campaign".to_owned(),
                call: Some("plan"),
                kind: PluginErrorKind::BadOutput(format!("workflow is not canonical JSON: {error}")),
            };
            let tasks: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| bad(&error))?;
            let tasks: Result<Vec<String>, _> = tasks.into_iter().map(|task| canonical(task.get())).collect();
            Ok(workflow(tasks.map_err(|error| bad(&error))?.iter().map(String::as_str)))
        }
        Next::Wait => Ok("\"wait\"".to_owned()),
        Next::Complete(text) => document(text, "complete"),
        Next::Fail(told) => detail("fail", told),
        Next::Hold(told) => detail("hold", told),
    }
}

/// What a plan of these tasks is as canonical JSON; each of them is canonical already.
pub(in crate::tick) fn workflow<'a>(tasks: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from("{\"workflow\":[");
    for (position, task) in tasks.enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(task);
    }
    text + "]}"
}

/// An answer of `plan` that could not be taken, just as it was given.
pub fn raw_decision(decision: &Decision) -> String {
    let document = match &decision.next {
        Next::Workflow(text) | Next::Complete(text) => Some(text.clone()),
        Next::Fail(detail) | Next::Hold(detail) => Some(format!("{}: {}", detail.code, detail.message)),
        Next::Wait => None,
    };
    let (state, word) = (&decision.state, decision.next.word());
    json!({"document": document, "next": word, "reason": decision.reason, "state": state}).to_string()
}

/// An answer of `analyze` that could not be taken, just as it was given.
pub fn raw_state(state: &str) -> String {
    json!({"state": state}).to_string()
}

/// The campaign's own line on how far it has come: `summary.text` of its state, if it keeps one.
pub(in crate::tick) fn summary_of(state: &str) -> Option<String> {
    // Most states have none, and need not be parsed to find that out.
    let document: Value = state.contains("\"summary\"").then(|| serde_json::from_str(state).ok()).flatten()?;
    document.get("summary")?.get("text")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{input_digest, sha256_of_answer};
    use crate::model::contract::Context;
    use crate::model::document::{canonical, sha256};
    use crate::model::evidence::DecisionKind;
    use crate::model::id::RunId;
    use serde_json::json;

    #[test]
    fn digests_are_those_of_one_canonical_document() {
        let context = Context {
            run_id: RunId("r \"1\"".to_owned()),
            iteration: 2,
            decision: 3,
            now_ms: 4,
            seed: 5,
            params: "{\"a\":1}".to_owned(),
            inputs: "{}".to_owned(),
            supplied: Some("{\"yes\":true}".to_owned()),
        };
        let whole = json!({
            "call": "analyze", "run": "r \"1\"", "iteration": 2, "decision": 3, "now_ms": 4, "seed": "5",
            "params": {"a": 1}, "inputs": {}, "supplied": {"yes": true}, "state": null, "finished": [],
        });
        let expected = sha256(canonical(&whole.to_string()).expect("canonical").as_bytes());
        assert_eq!(input_digest(DecisionKind::Analyze, &context, None, Some("[]")), expected);
        let whole = json!({"next": "wait", "reason": "r", "state": {"s": 1}});
        let expected = sha256(canonical(&whole.to_string()).expect("canonical").as_bytes());
        assert_eq!(sha256_of_answer("{\"next\":\"wait\",\"reason\":\"r\"}", "{\"s\":1}"), expected);
    }
}
