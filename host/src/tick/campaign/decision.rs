//! The exact texts of a decision: what the campaign is handed, and what its answer is taken for. A tick makes them, and
//! a replay makes them again. Nothing is written here.
use crate::model::contract::{Context, Decision, Detail, Folded, Next};
use crate::model::document::{canonical, canonical_own, hex};
use crate::model::evidence::DecisionKind;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::run::{CampaignView, Run};
use crate::store::{self, RunRow};
use crate::tick::TickError;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The reason that is noted of an analysis, which gives none.
pub const WHY_ANALYZED: &str = "results";

/// The context of the next decision of a run.
pub(in crate::tick) fn context(run: &Run, row: &RunRow, kind: DecisionKind, now_ms: i64) -> Result<Context, TickError> {
    let supplied = row.supplied.as_deref().map(store::document::<Value>).transpose()?;
    let supplied = supplied.as_ref().map(canonical_own);
    let counts = run.store.task_counts()?;
    let (iteration, asked) = match kind {
        DecisionKind::Plan => (row.iteration + 1, run.store.asked(now_ms)?),
        DecisionKind::Analyze => (row.iteration, Vec::new()),
    };
    Ok(Context {
        decision: row.decisions + 1,
        iteration,
        now_ms: now_ms.max(0) as u64,
        seed: run.config.campaign.seed,
        asked,
        open_tasks: counts.pending + counts.running,
        run: Arc::new(CampaignView::new(&row.run_id, &run.dir, &run.config, supplied)),
    })
}

/// SHA-256 of all that a decision could depend on, in canonical JSON. All documents are canonical already; `config` is
/// the digest of the configuration, in which parameters, inputs and seed stand.
pub fn input_digest(
    kind: DecisionKind,
    context: &Context,
    config: &str,
    state: Option<&str>,
    finished: Option<&str>,
) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut hasher = Sha256::new();
    let mut part = |key: &str, value: &str| {
        hasher.update(key);
        hasher.update(value);
    };
    part("{\"asked\":", &json!(context.asked).to_string());
    part(",\"call\":", &quoted(kind.as_str()));
    part(",\"config\":", &quoted(config));
    part(",\"decision\":", &context.decision.to_string());
    part(",\"finished\":", finished.unwrap_or("null"));
    part(",\"iteration\":", &context.iteration.to_string());
    part(",\"now_ms\":", &context.now_ms.to_string());
    part(",\"open_tasks\":", &context.open_tasks.to_string());
    part(",\"run\":", &quoted(context.run.id()));
    part(",\"seed\":", &quoted(&context.seed.to_string()));
    part(",\"state\":", state.unwrap_or("null"));
    part(",\"supplied\":", context.run.supplied().as_deref().unwrap_or("null"));
    hasher.update(b"}");
    hex(&hasher.finalize())
}

/// SHA-256 of an answer, in canonical JSON: of the state, and of all else that it said.
pub fn sha256_of_answer(rest: &str, state: &str) -> String {
    let mut hasher = Sha256::new();
    for part in ["{\"answer\":", rest, ",\"state\":", state, "}"] {
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// All that a plan said beside its state, as canonical JSON; `next` is what [`canonical_next`] made of that.
pub fn rest_of_plan(decision: &Decision, next: &str) -> String {
    let mut text = String::with_capacity(next.len() + 64);
    if !decision.cancel.is_empty() {
        text.push_str(&format!("\"cancel\":{},", json!(decision.cancel)));
    }
    if decision.skips_known {
        text.push_str("\"known\":\"skip\",");
    }
    text.push_str(&format!("\"next\":{next},\"reason\":{}", Value::from(decision.reason.as_str())));
    if let Some(summary) = &decision.summary {
        text.push_str(&format!(",\"summary\":{summary}"));
    }
    if let Some(at) = decision.wake_at_ms {
        text.push_str(&format!(",\"wake_at_ms\":{}", canonical_own(&at)));
    }
    format!("{{{text}}}")
}

/// All that an analysis said beside its state, as canonical JSON.
pub fn rest_of_analysis(folded: &Folded) -> String {
    folded.summary.as_ref().map_or_else(|| "{}".to_owned(), |summary| format!("{{\"summary\":{summary}}}"))
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
    let detail = |what: &str, detail: &Detail| Ok(format!("{{\"{what}\":{}}}", canonical_own(detail)));
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
    let Decision { state, next, cancel, wake_at_ms, summary, reason, skips_known } = decision;
    json!({
        "cancel": cancel, "document": document, "known": skips_known.then_some("skip"), "next": next.word(),
        "reason": reason, "state": state, "summary": summary, "wake_at_ms": wake_at_ms,
    })
    .to_string()
}

/// An answer of `analyze` that could not be taken, just as it was given.
pub fn raw_analysis(folded: &Folded) -> String {
    json!({"state": folded.state, "summary": folded.summary}).to_string()
}

#[cfg(test)]
mod tests {
    use super::{input_digest, rest_of_plan, sha256_of_answer};
    use crate::model::config::RunConfig;
    use crate::model::contract::{Context, Decision, Next};
    use crate::model::document::{canonical, sha256};
    use crate::model::evidence::DecisionKind;
    use crate::run::{CampaignView, RunDir};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn digests_are_those_of_one_canonical_document() {
        let config: RunConfig = serde_json::from_value(json!({"campaign": {"plugin": "p"}})).expect("a configuration");
        let supplied = Some("{\"yes\":true}".to_owned());
        let context = Context {
            decision: 3,
            iteration: 2,
            now_ms: 4,
            seed: 5,
            asked: vec!["results".to_owned()],
            open_tasks: 6,
            run: Arc::new(CampaignView::new("r \"1\"", &RunDir::new("/nowhere"), &config, supplied)),
        };
        let whole = json!({
            "call": "analyze", "run": "r \"1\"", "iteration": 2, "decision": 3, "now_ms": 4, "seed": "5", "config": "c",
            "asked": ["results"], "open_tasks": 6, "supplied": {"yes": true}, "state": null, "finished": [],
        });
        let expected = sha256(canonical(&whole.to_string()).expect("canonical").as_bytes());
        assert_eq!(input_digest(DecisionKind::Analyze, &context, "c", None, Some("[]")), expected);
        let whole = json!({"answer": {"next": "wait", "reason": "r"}, "state": {"s": 1}});
        let expected = sha256(canonical(&whole.to_string()).expect("canonical").as_bytes());
        assert_eq!(sha256_of_answer("{\"next\":\"wait\",\"reason\":\"r\"}", "{\"s\":1}"), expected);
    }

    #[test]
    fn what_a_plan_says_is_canonical() {
        let decision = Decision {
            state: "{}".to_owned(),
            next: Next::Wait,
            cancel: vec!["a".to_owned(), "b \"c\"".to_owned()],
            wake_at_ms: Some(1_800_000_000_000),
            summary: Some("{\"text\":\"t\"}".to_owned()),
            reason: "r".to_owned(),
            skips_known: true,
        };
        let rest = rest_of_plan(&decision, "\"wait\"");
        assert_eq!(canonical(&rest).expect("a document"), rest);
    }
}
