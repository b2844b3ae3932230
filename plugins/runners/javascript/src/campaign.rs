//! A script as a campaign.
use crate::engine;
use crate::host::{Host, Wit};
use crate::script::Script;
use matterstack_sdk::bindings::campaign::exports::matterstack::plugin::campaign_calls::Guest;
use matterstack_sdk::bindings::campaign::matterstack::plugin::campaign_types as wit;
use matterstack_sdk::bindings::campaign::matterstack::plugin::types;
use matterstack_sdk::decision::{Decision, Said};
use matterstack_sdk::{Error, Value, json};
use serde::Deserialize;
use std::rc::Rc;

/// A script as a campaign.
pub(crate) struct Campaign;

impl Guest for Campaign {
    fn plan(ctx: wit::Context, state: Option<String>) -> Result<wit::Decision, types::Error> {
        Ok(plan(&ctx, state.as_deref(), &(Rc::new(Wit) as Rc<dyn Host>))?)
    }

    fn analyze(ctx: wit::Context, state: String, finished: String) -> Result<wit::Folded, types::Error> {
        Ok(analyze(&ctx, &state, &finished, &(Rc::new(Wit) as Rc<dyn Host>))?)
    }
}

fn context(ctx: &wit::Context) -> String {
    let wit::Context { decision, iteration, now_ms, seed, asked, open_tasks, more: _ } = ctx;
    json!({"decision": decision, "iteration": iteration, "now_ms": now_ms, "seed": seed, "asked": asked,
        "open_tasks": open_tasks})
    .to_string()
}

pub(crate) fn plan(ctx: &wit::Context, state: Option<&str>, host: &Rc<dyn Host>) -> Result<wit::Decision, Error> {
    let script = Script::read(&ctx.more, &**host)?;
    let answer = engine::call(&script, host, "plan", &[Some(&context(ctx)), state])?;
    let wrong = |why: &str| engine::bad_answer(&script, "plan", why);
    let answer = match answer {
        Some(Value::Object(answer)) => answer,
        Some(_) => return Err(wrong("it is no object")),
        None => return Err(wrong("it is undefined: is there a `return`?")),
    };
    let decision = Decision::read(answer).map_err(|why| wrong(&why))?;
    let next = match decision.said {
        Said::Tasks(tasks) => wit::Next::Workflow(Value::Array(tasks).to_string()),
        Said::Complete(result) => wit::Next::Complete(result.to_string()),
        Said::Wait => wit::Next::Wait,
        Said::Hold(detail) => wit::Next::Hold(detail.into()),
        Said::Fail(detail) => wit::Next::Fail(detail.into()),
    };
    let kept = || state.unwrap_or("null").to_owned();
    Ok(wit::Decision {
        state: decision.state.map_or_else(kept, |state| state.to_string()),
        next,
        cancel: decision.cancel,
        wake_at_ms: decision.wake_at_ms,
        summary: decision.summary.map(|summary| summary.to_string()),
        reason: decision.reason.unwrap_or_default(),
        more: decision.skip_known.then(|| r#"{"known":"skip"}"#.to_owned()),
    })
}

pub(crate) fn analyze(
    ctx: &wit::Context,
    state: &str,
    finished: &str,
    host: &Rc<dyn Host>,
) -> Result<wit::Folded, Error> {
    let script = Script::read(&ctx.more, &**host)?;
    let answer = engine::call(&script, host, "analyze", &[Some(&context(ctx)), Some(state), Some(finished)])?;
    let wrong = |why: &str| engine::bad_answer(&script, "analyze", why);
    let answer = answer.ok_or_else(|| wrong("it is undefined: is there a `return` with the state?"))?;
    let Folded { state, summary } = folded(answer).map_err(|why| wrong(&why))?;
    Ok(wit::Folded { state: state.to_string(), summary: summary.map(|summary| summary.to_string()), more: None })
}

/// What `analyze` answers with a summary beside the state.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Folded {
    state: Value,
    #[serde(default)]
    summary: Option<Value>,
}

/// Reads the state alone, or `{folded: {state, summary}}`.
fn folded(answer: Value) -> Result<Folded, String> {
    match answer {
        Value::Object(mut answer) if answer.len() == 1 && answer.contains_key("folded") => {
            let folded = answer.remove("folded").unwrap_or_default();
            serde_json::from_value(folded).map_err(|error| format!("`folded`: {error}"))
        }
        state => Ok(Folded { state, summary: None }),
    }
}
