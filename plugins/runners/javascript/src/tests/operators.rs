//! A script as an operator.
use super::with;
use crate::host::Host;
use crate::operator::asked;
use crate::outside;
use matterstack_sdk::bindings::operator::matterstack::plugin::operator_types as wit;
use matterstack_sdk::{Error, Found, Status, Value, json};
use std::rc::Rc;

const SCRIPT: &str = "
export function prepare(attempt) {
  const { run_id, attempt_id, number, task, submit_key, config, handle } = attempt;
  return { run_id, attempt_id, number, task, submit_key, config, handle };
}
export const submit = ({ compute, task }) => compute.submit('local', { command: task.command });
export const reconcile = ({ compute }) => compute.find('local');
export const check_status = ({ compute, handle }) => compute.status('local', handle);
export const collect_results = ({ compute, handle, lifecycle }) => ({
  output: [compute.collect('local', handle), compute.backends(), lifecycle.time_left_ms(), lifecycle.cancelled()],
  usage: { cpu_s: 1 },
});
export function cancel(attempt) {
  attempt.log('stop');
  attempt.compute.cancel('far', attempt.handle);
}
";

fn call<T>(
    script: &str,
    function: &str,
    read: impl FnOnce(Option<Value>) -> Result<T, String>,
) -> (Result<T, Error>, Vec<String>) {
    let (run, more) = with(&[("robot.js", script)]);
    let attempt = wit::Attempt {
        run_id: "r".into(),
        attempt_id: "a1".into(),
        number: 2,
        task: r#"{"id":"t","command":["true"]}"#.into(),
        submit_key: "k".into(),
        prepared: None,
        handle: Some(r#"{"pid":7}"#.into()),
        note: None,
        config: r#"{"url":"x"}"#.into(),
        more,
    };
    let host: Rc<dyn Host> = run.clone();
    let answer = asked(function, &attempt, &host, read);
    let asked = run.asked.borrow().clone();
    (answer, asked)
}

#[test]
fn every_call_reaches_its_function_and_the_backend() {
    let given = |answer: Option<Value>| answer.ok_or_else(|| "nothing".to_owned());
    let prepared = call(SCRIPT, "prepare", given).0.unwrap();
    assert_eq!(
        prepared,
        json!({"run_id": "r", "attempt_id": "a1", "number": 2, "submit_key": "k",
        "task": {"id": "t", "command": ["true"]}, "config": {"url": "x"}, "handle": {"pid": 7}})
    );
    let (submitted, asked) = call(SCRIPT, "submit", |answer| outside::submitted(&answer.unwrap()));
    let submitted = submitted.unwrap();
    assert_eq!((submitted.handle.as_str(), submitted.external_id.as_deref()), (r#"{"pid":7}"#, Some("7")));
    assert_eq!(asked, [r#"submit local {"command":["true"]}"#]);
    let error = call(SCRIPT, "reconcile", |answer| outside::found(&answer.unwrap())).0.unwrap_err();
    assert!(matches!(&error, Error::Transient(detail, Some(250)) if detail.code == "busy"), "{error:?}");
    let (report, asked) = call(SCRIPT, "check_status", |answer| outside::report(&answer.unwrap()));
    assert_eq!(report.unwrap().status, Status::Running(Some(r#"{"step":2}"#.into())));
    assert_eq!(asked, [r#"status {"pid":7}"#]);
    let collected = call(SCRIPT, "collect_results", |answer| outside::collected(answer.as_ref())).0.unwrap();
    assert_eq!(collected.output.as_deref(), Some(r#"[{"exit_code":0},["local"],5000,true]"#));
    assert_eq!(collected.usage.as_deref(), Some(r#"{"cpu_s":1}"#));
    let error = call(SCRIPT, "cancel", |_| Ok(())).0.unwrap_err();
    assert!(matches!(&error, Error::Denied(detail) if detail.message == "no `far`"), "{error:?}");
}

#[test]
fn what_an_operator_does_not_have_has_a_plain_meaning() {
    let script = "export const submit = () => ({ handle: 1, external: 2 });";
    for function in ["prepare", "collect_results", "cancel"] {
        assert_eq!(call(script, function, Ok).0.unwrap(), Some(Value::Null));
    }
    for function in ["reconcile", "check_status"] {
        let error = call(script, function, Ok).0.unwrap_err();
        assert_eq!(error.detail().code, "no-function");
    }
    let error = call(script, "submit", |answer| outside::submitted(&answer.unwrap())).0.unwrap_err();
    assert!(error.detail().message.contains("`submit` of `robot.js`"), "{error}");
    assert!(error.detail().message.contains("unknown field `external`"), "{error}");
}

#[test]
fn every_document_is_read_and_written_alike() {
    let detail = json!({"code": "c", "message": "m", "data": {"x": 1}});
    for report in [
        json!({"status": "queued"}),
        json!({"status": "running", "progress": [1]}),
        json!({"status": "waiting", "waiting": {"kind": "person", "detail": "look"}, "poll_after_ms": 5}),
        json!({"status": "succeeded", "handle": {"new": 1}}),
        json!({"status": "failed", "detail": detail}),
        json!({"status": "cancelled"}),
        json!({"status": "not-started", "detail": detail}),
        json!({"status": "lost", "detail": detail}),
        json!({"status": "unavailable", "detail": detail}),
    ] {
        assert_eq!(outside::of_report(&outside::report(&report).unwrap()), report);
    }
    for found in [
        json!({"found": "yes", "handle": 1, "external_id": "7"}),
        json!({"found": "no"}),
        json!({"found": "unknown", "note": {"message": "m"}, "poll_after_ms": 9}),
    ] {
        assert_eq!(outside::of_found(&outside::found(&found).unwrap()), found);
    }
    assert_eq!(outside::found(&json!({"found": "no"})), Ok(Found::No));
    for (report, expected) in [
        (json!({"status": "done"}), "`done` is no status"),
        (json!({"status": "failed"}), "`failed` needs `detail`"),
        (json!({"status": "waiting"}), "`waiting` needs `waiting`"),
        (json!({"status": "queued", "progress": 1}), "`queued` has no `progress`"),
        (json!({"state": "queued"}), "unknown field `state`"),
        (json!(null), "invalid type"),
    ] {
        let why = outside::report(&report).unwrap_err();
        assert!(why.contains(expected), "{report}: {why}");
    }
    assert!(outside::found(&json!({"found": "perhaps"})).is_err());
    assert_eq!(
        outside::report(&json!({"status": "failed", "detail": "m"})).unwrap().status,
        Status::Failed(matterstack_sdk::Detail::new("program", "m"))
    );
    assert_eq!(outside::collected(None).unwrap(), matterstack_sdk::Collected::default());
}
