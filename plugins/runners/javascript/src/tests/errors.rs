//! What a script throws, and where.
use super::scripts::planned;
use matterstack_sdk::{Error, json};

#[track_caller]
fn thrown(script: &str) -> (Error, Vec<String>) {
    let (decision, run) =
        planned(&[("campaign.js", script), ("helpers.js", "export const dig = (x) =>\n  x.deep.er;\n")], None);
    let log = run.log.borrow().clone();
    (decision.expect_err("no decision"), log)
}

#[test]
fn an_exception_names_its_place_and_its_line() {
    let script =
        "function total(values) {\n  return values.total;\n}\nexport function plan() {\n  return total();\n}\n";
    let (error, log) = thrown(script);
    let Error::Other(detail) = error else { panic!("{error}") };
    assert_eq!(detail.code, "exception");
    assert_eq!(
        detail.message,
        "TypeError: cannot read property 'total' of undefined (campaign.js:2:10 in total: return values.total;)"
    );
    let expected = json!({"type": "TypeError", "message": "cannot read property 'total' of undefined",
        "file": "campaign.js", "line": 2, "column": 10, "function": "total", "source": "return values.total;"});
    assert_eq!(detail.data, Some(expected));
    let [trace] = &log[..] else { panic!("{log:?}") };
    assert!(trace.contains("at total (campaign.js:2:10)") && trace.contains("at plan (campaign.js:5:"), "{trace}");
    assert!(!trace.contains("matterstack:runner"), "{trace}");
}

#[test]
fn every_kind_of_mistake_says_where_it_is() {
    for (script, expected) in [
        (
            "export function plan() {\n  let x = ;\n}",
            "SyntaxError: unexpected token in expression: ';' (campaign.js:2:11",
        ),
        ("exports.plan = () => {\n  return {;\n}", "(campaign.js:2:"),
        ("export function plan() {", "(campaign.js:1: export function plan() {)"),
        (
            "import { dig } from './helpers.js';\nexport const plan = () => dig({});",
            "(helpers.js:2:3 in dig: x.deep.er;)",
        ),
        ("export const plan = () => missing;", "ReferenceError: missing is not defined (campaign.js:1:27 in plan"),
        ("exports.plan = () => missing;", "ReferenceError: missing is not defined (campaign.js:1:22: "),
        (
            "export async function plan() {\n  await null;\n  throw new RangeError('late');\n}",
            "RangeError: late (campaign.js:3:",
        ),
        ("throw new Error('at once');\nexport const plan = 1;", "Error: at once (campaign.js:1:"),
        ("import { nothing } from './helpers.js';\nexport const plan = 1;", "nothing"),
        ("export const plan = () => { throw 'a text'; };", "a text"),
        ("export const plan = () => { throw { a: 1 }; };", "{\"a\":1}"),
        ("export const plan = () => new Promise(() => {});", "a promise that nothing will ever settle"),
        ("await new Promise(() => {});\nexport const plan = () => 1;", "a promise that nothing will ever settle"),
        ("export const plan = () => { function f() { return f() + 1; } return f(); };", "(campaign.js:1:"),
        ("export const plan = (ctx) => ctx.text('table2');", "`campaign.inputs` has no `table2`"),
        ("exports.plan = () => 1; }", "(campaign.js:1: exports.plan"),
        ("exports.plan = () => ({ state: '\\ud800' });", "half a character"),
        ("exports.plan = () => ({ complete: { '\\ud83d': 1 } });", "`answer.complete` has a key with half a character"),
        (
            "exports.plan = () => { console.log('\\ud83d'); throw new Error('\\ud83d é'); }",
            "Error: \\ud83d é (campaign.js:1:",
        ),
        ("exports.plan = () => { throw '\\ud83d'; }", "thrown: \\ud83d"),
        ("exports.plan = () => { const a = []; a[0] = a; return { complete: a }; }", "`… is nested deeper"),
        ("import 'lodash';\nexport const plan = 1;", "`campaign.modules`"),
        ("exports.plan = () => ({ wait: true, wake_at_ms: -1 });", "`wake_at_ms` is -1, and not"),
        ("exports.plan = () => ({ wait: true, reason: 5 });", "`reason` is 5, and not a text"),
        ("exports.plan = () => JSON.parse('['.repeat(1e6));", "RangeError: Maximum call stack size exceeded"),
        ("exports.plan = 'a\0b';", "refuses `campaign.js`"),
        ("export const plan = (ctx) => JSON.parse('{');", "SyntaxError"),
    ] {
        let (error, _) = thrown(script);
        assert!(error.detail().message.contains(expected), "{script}\n{error}");
    }
}

#[test]
fn deep_recursion_is_an_exception() {
    for script in [
        "export const plan = () => { function f() { return f() + 1; } try { f() } catch (e) { return { \
         complete: e.name } } };",
        "export const plan = () => { const t = '['.repeat(499) + ']'.repeat(499) + ' '.repeat(600); \
         JSON.parse(t); return { complete: JSON.parse(JSON.stringify('[('.repeat(1000))) } };",
        "export const plan = () => { let a = []; for (let i = 0; i < 1e6; i++) a = [a]; try { JSON.stringify(a) \
         } catch (e) { return { complete: e.name } } };",
    ] {
        let (decision, _) = planned(&[("campaign.js", script)], None);
        assert!(decision.is_ok(), "{decision:?}");
    }
}

#[test]
fn an_error_of_the_contract_keeps_its_kind() {
    let script = "import * as m from 'matterstack';\nexport const plan = () => { throw new m.Error(KIND, \
         'code', 'what', { data: { a: 1 } }); };";
    for kind in ["invalid", "rejected", "transient", "denied", "ambiguous", "other"] {
        let (error, _) = thrown(&script.replace("KIND", &format!("'{kind}'")));
        assert_eq!((error.detail().code.as_str(), error.detail().message.as_str()), ("code", "what"));
        assert_eq!(error.detail().data, Some(json!({"a": 1})));
        assert!(format!("{error:?}").to_lowercase().starts_with(kind), "{error:?}");
    }
    assert!(thrown(&script.replace("KIND", "'odd'")).0.detail().message.contains("`odd` is no kind of error"));
    let (error, _) = thrown("export const plan = (ctx) => ctx.text('9'.repeat(64));");
    assert!(matches!(error, Error::Denied(ref detail) if detail.code == "unknown-digest"), "{error:?}");
    let (error, _) = thrown("export const analyze = 1;\nexport function check_status() {}");
    assert!(error.detail().message.contains("no function `plan`; it has `check_status`"), "{error}");
}
