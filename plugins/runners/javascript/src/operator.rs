//! A script as an operator.
use crate::engine;
use crate::host::{Host, Wit};
use crate::outside;
use crate::script::Script;
use matterstack_sdk::bindings::campaign::matterstack::plugin::types;
use matterstack_sdk::bindings::operator::exports::matterstack::plugin::operator_calls::Guest;
use matterstack_sdk::bindings::operator::matterstack::plugin::operator_types as wit;
use matterstack_sdk::{Error, Value, json};
use std::rc::Rc;

/// A script as an operator.
pub(crate) struct Operator;

impl Guest for Operator {
    fn prepare(attempt: wit::Attempt) -> Result<Option<String>, types::Error> {
        let prepared = asked("prepare", &attempt, &host(), |answer| Ok(answer.filter(|answer| !answer.is_null())))?;
        Ok(prepared.map(|prepared| prepared.to_string()))
    }

    fn submit(attempt: wit::Attempt) -> Result<wit::Submitted, types::Error> {
        Ok(asked("submit", &attempt, &host(), |answer| outside::submitted(&answer.unwrap_or_default()))?.into())
    }

    fn reconcile(attempt: wit::Attempt) -> Result<wit::Found, types::Error> {
        Ok(asked("reconcile", &attempt, &host(), |answer| outside::found(&answer.unwrap_or_default()))?.into())
    }

    fn check_status(attempt: wit::Attempt) -> Result<wit::StatusReport, types::Error> {
        Ok(asked("check_status", &attempt, &host(), |answer| outside::report(&answer.unwrap_or_default()))?.into())
    }

    fn collect_results(attempt: wit::Attempt) -> Result<wit::Collected, types::Error> {
        let of = |answer: Option<Value>| outside::collected(answer.as_ref().filter(|answer| !answer.is_null()));
        Ok(asked("collect_results", &attempt, &host(), of)?.into())
    }

    fn cancel(attempt: wit::Attempt) -> Result<(), types::Error> {
        Ok(asked("cancel", &attempt, &host(), |_| Ok(()))?)
    }
}

fn host() -> Rc<dyn Host> {
    Rc::new(Wit)
}

/// What a function of the script answers about an attempt, taken for what it is to be.
pub(crate) fn asked<T>(
    function: &str,
    attempt: &wit::Attempt,
    host: &Rc<dyn Host>,
    read: impl FnOnce(Option<Value>) -> Result<T, String>,
) -> Result<T, Error> {
    let script = Script::read(&attempt.more, &**host)?;
    let answer = engine::call(&script, host, function, &[Some(&document(attempt)?)])?;
    read(answer).map_err(|why| engine::bad_answer(&script, function, &why))
}

fn document(attempt: &wit::Attempt) -> Result<String, Error> {
    let read = |text: &Option<String>| text.as_deref().map(serde_json::from_str::<Value>).transpose();
    let wit::Attempt { run_id, attempt_id, number, submit_key, .. } = attempt;
    let document = json!({
        "run_id": run_id, "attempt_id": attempt_id, "number": number, "submit_key": submit_key,
        "task": serde_json::from_str::<Value>(&attempt.task)?,
        "config": serde_json::from_str::<Value>(&attempt.config)?,
        "prepared": read(&attempt.prepared)?, "handle": read(&attempt.handle)?, "note": read(&attempt.note)?,
    });
    Ok(document.to_string())
}
