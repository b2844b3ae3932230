//! What `plan` may answer, and what is refused.
use super::scripts::planned;
use matterstack_sdk::bindings::campaign::matterstack::plugin::campaign_types::Next;
use matterstack_sdk::{Value, json};

fn answer(
    expression: &str,
) -> Result<matterstack_sdk::bindings::campaign::matterstack::plugin::campaign_types::Decision, String> {
    let script =
        format!("import * as m from 'matterstack';\nexport function plan(ctx, state) {{\nreturn ({expression});\n}}");
    planned(&[("campaign.js", &script)], Some("{\"old\":1}")).0.map_err(|error| {
        let detail = error.detail();
        format!("{}: {}", detail.code, detail.message)
    })
}

#[test]
fn every_answer_crosses() {
    let decision = answer(
        "m.Run([m.Task({ id: 'a', operator: 'local', command: ['true'], env: undefined })], { new: 1 }, \
        { reason: 'why', cancel: ['b'], wake_at_ms: 8, summary: { text: 's' }, known: 'skip' })",
    )
    .unwrap();
    assert_eq!((decision.state.as_str(), decision.reason.as_str()), ("{\"new\":1}", "why"));
    let Next::Workflow(tasks) = decision.next else { panic!("no tasks") };
    let tasks: Value = serde_json::from_str(&tasks).unwrap();
    assert_eq!(tasks, json!([{"id": "a", "operator": "local", "command": ["true"]}]));
    assert_eq!((decision.cancel, decision.wake_at_ms), (vec!["b".to_owned()], Some(8)));
    assert_eq!(
        (decision.summary.as_deref(), decision.more.as_deref()),
        (Some("{\"text\":\"s\"}"), Some("{\"known\":\"skip\"}"))
    );
    let next = |expression: &str| answer(expression).unwrap().next;
    assert!(matches!(next("m.Wait()"), Next::Wait));
    assert!(matches!(next("{ wait: true }"), Next::Wait));
    assert!(
        matches!(next("m.Complete({ a: [1.5, true] }, null, 'done')"), Next::Complete(r) if r == "{\"a\":[1.5,true]}")
    );
    let Next::Hold(held) = next("m.Hold('which way')") else { panic!("no hold") };
    assert_eq!((held.code.as_str(), held.message.as_str()), ("program", "which way"));
    let data = "m.Fail('no way', undefined, { code: 'gave-up', data: { form: {} } })";
    assert!(matches!(next(data), Next::Fail(d) if d.code == "gave-up" && d.data.as_deref() == Some("{\"form\":{}}")));
    // without a state the state stays; null is one
    assert_eq!(answer("m.Wait()").unwrap().state, "{\"old\":1}");
    assert_eq!(answer("m.Wait(null)").unwrap().state, "null");
}

#[test]
fn whole_floats_cross_and_come_back() {
    let decision =
        answer("{ wait: true, state: [1.5e17, 1e300, 2 ** 53, -0, 0.1, 5e-324, 9007199254740991] }").unwrap();
    let state: Value = serde_json::from_str(&decision.state).unwrap();
    assert_eq!(state, json!([1.5e17, 1e300, 9007199254740992.0, 0, 0.1, 5e-324, 9007199254740991u64]));
    assert_eq!(matterstack_document::check(&decision.state), Ok(()));
}

#[test]
fn what_no_document_holds_is_refused_with_its_place() {
    for (expression, expected) in [
        ("{ wait: true, state: { best: [1, { value: NaN }] } }", "`answer.state.best[1].value` is NaN"),
        ("{ wait: true, state: { 'a b': -Infinity } }", "`answer.state[\"a b\"]` is -Infinity"),
        ("{ wait: true, state: [undefined] }", "`answer.state[0]` is undefined; write `null`"),
        ("{ wait: true, state: { f() {} } }", "`answer.state.f` is a function"),
        ("{ wait: true, state: 1n }", "`answer.state` is a BigInt"),
        ("{ wait: true, state: new Map([[1, 2]]) }", "`Object.fromEntries(map)`"),
        ("{ wait: true, state: new Set([1]) }", "`[...set]`"),
        ("{ wait: true, state: Symbol('x') }", "is a symbol"),
        ("{ wait: true, state: { p: Promise.resolve(1) } }", "put `await` before it"),
        ("(() => { const a = {}; a.a = a; return { wait: true, state: a }; })()", "within itself"),
        ("undefined", "it is undefined: is there a `return`?"),
        ("[]", "it is no object"),
        ("{ state: 1 }", "it says none of `tasks`"),
        ("{ wait: true, hold: 'x' }", "it says more than one"),
        ("{ wait: true, summery: 1 }", "unknown field `summery`"),
        ("{ wait: true, known: 'all' }", "`known` is `all`"),
        ("{ hold: { code: 'x' } }", "`hold`: missing field `message`"),
        ("{ tasks: {} }", "`tasks` is an object, and not a list of tasks"),
        ("{ wait: true, wake_at_ms: 1.5 }", "`wake_at_ms` is 1.5, and not a whole number"),
    ] {
        let error = answer(expression).unwrap_err();
        assert!(error.starts_with("bad-answer: `plan` of `campaign.js` "), "{error}");
        assert!(error.contains(expected), "{expression}: {error}");
    }
}

#[test]
fn what_says_how_it_is_written_is_asked() {
    let decision =
        answer("{ wait: true, state: { at: new Date(0), list: new Float64Array([1.5, 2]), gone: undefined } }")
            .unwrap();
    assert_eq!(decision.state, "{\"at\":\"1970-01-01T00:00:00.000Z\",\"list\":[1.5,2]}");
}
