//! How a script is written, and what it gets.
use super::{Run, with};
use crate::campaign::{analyze, plan};
use crate::host::Host;
use matterstack_sdk::bindings::campaign::matterstack::plugin::campaign_types as wit;
use matterstack_sdk::{Error, Rng, Value, json};
use std::rc::Rc;

pub(super) fn context(more: String) -> wit::Context {
    wit::Context { decision: 3, iteration: 2, now_ms: 7, seed: 9, asked: vec!["results".into()], open_tasks: 4, more }
}

/// What `plan` of these files decides with this state.
pub(super) fn planned(files: &[(&str, &str)], state: Option<&str>) -> (Result<wit::Decision, Error>, Rc<Run>) {
    let (run, more) = with(files);
    let host: Rc<dyn Host> = run.clone();
    (plan(&context(more), state, &host), run)
}

/// The result that `plan` of a script completes with.
#[track_caller]
fn completed(files: &[(&str, &str)]) -> Value {
    match planned(files, None).0.expect("a decision").next {
        wit::Next::Complete(result) => serde_json::from_str(&result).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_is_a_module_or_sets_exports_or_only_has_functions() {
    let answer = "({ complete: 1 })";
    let forms = [
        format!("export function plan() {{ return {answer} }}"),
        format!("export const plan = () => {answer}"),
        format!("const p = async () => {answer};\nexport {{ p as plan }}"),
        format!("export default {{ plan: () => {answer} }}"),
        format!("exports.plan = () => {answer}"),
        format!("module.exports = {{ plan() {{ return {answer} }} }}"),
        format!("function plan() {{ return {answer} }} // the end"),
        format!("import {{ Task }} from 'matterstack';\nfunction plan() {{ return {answer} }}"),
        format!("const {{ Task }} = require('matterstack');\nconst plan = () => {answer}"),
        format!(
            "'use strict'; var __defProp = Object.defineProperty; module.exports = {{}}; module.exports.plan = \
         () => {answer};"
        ),
    ];
    for form in forms {
        assert_eq!(completed(&[("campaign.js", &form)]), json!(1), "{form}");
    }
}

#[test]
fn modules_are_imported_by_their_place() {
    let main = "import { three } from './lib/helpers.js';\nimport table from '../table.json';\n\
                export const plan = () => ({ complete: [three, table] });";
    let helpers = "import { one } from '../one.js';\nexport const three = one + 2;";
    let files = [
        ("scripts/campaign.js", main),
        ("scripts/lib/helpers.js", helpers),
        ("scripts/one.js", "export const one = 1;"),
        ("table.json", "{\"a\": [1, 2]}"),
    ];
    assert_eq!(completed(&files), json!([3, {"a": [1, 2]}]));
    let main = "const { three } = require('./helpers.js');\nexports.plan = () => ({ complete: three });";
    let helpers = "exports.three = require('./numbers.json').one + 2;";
    let files = [("campaign.js", main), ("helpers.js", helpers), ("numbers.json", "{\"one\": 1}")];
    assert_eq!(completed(&files), json!(3));
}

#[test]
fn a_module_that_is_not_there_is_named_with_those_that_are() {
    let main = "import { x } from './helper.js';\nexport const plan = () => ({ wait: true });";
    let error = planned(&[("campaign.js", main), ("helpers.js", "")], None).0.unwrap_err();
    let message = &error.detail().message;
    assert!(message.contains("`campaign.js` imports `./helper.js`") && message.contains("`helpers.js`"), "{message}");
    for name in ["fs", "../../etc/passwd", "matterstack:runner"] {
        let main = format!("import x from '{name}';\nexport const plan = () => ({{ wait: true }});");
        let error = planned(&[("campaign.js", &main)], None).0.unwrap_err();
        assert!(error.detail().message.contains(&format!("imports `{name}`")), "{error}");
    }
}

#[test]
fn the_context_says_what_the_run_says() {
    let script = "export async function plan(ctx, state) {
        const { decision, iteration, now_ms, seed, asked, open_tasks, params, inputs, supplied, run_id } = ctx;
        console.log('seen', params.n, { a: [1] }, new Error('odd').message);
        ctx.log('careful', 'warn');
        const digest = ctx.write('\u{b5}m') ;
        const read = [ctx.text('table'), ctx.text(digest), inputs.table.text(), ctx.read(digest).length];
        return { complete: { decision, iteration, now_ms, seed, asked, open_tasks, params, supplied, run_id, state,
            again: ctx.params === params, behind: ctx.open_tasks_after('a', 7), read } };
    }";
    let (decision, run) = planned(&[("campaign.js", script)], Some("{\"kept\":1.5e17}"));
    let decision = decision.expect("a decision");
    assert_eq!(decision.state, "{\"kept\":1.5e17}");
    let wit::Next::Complete(result) = decision.next else { panic!("no end") };
    let expected = json!({"decision": 3, "iteration": 2, "now_ms": 7, "seed": 9, "asked": ["results"],
        "open_tasks": 4, "params": {"n": 3, "big": 1.5e17}, "supplied": {"way": "left"}, "run_id": "r",
        "state": {"kept": 1.5e17}, "again": true, "behind": ["Some(\"a\") 7"],
        "read": ["x,y\n", "µm", "x,y\n", 3]});
    assert_eq!(serde_json::from_str::<Value>(&result).unwrap(), expected);
    assert_eq!(*run.log.borrow(), ["info: seen 3 {\"a\":[1]} odd", "warn: careful"]);
    assert_eq!(*run.asked.borrow(), ["params", "run_id"]);
}

#[test]
fn random_numbers_are_those_of_every_sdk() {
    let script = "exports.plan = (ctx) => {
        const rng = ctx.rng();
        return { complete: [[ctx.random(), ctx.random()], rng.uniform(), rng.below(10), rng.normal(),
            rng.shuffle([1, 2, 3, 4, 5]), Math.random()] };
    };";
    // of the texts `9 3 0` and `9 3 1`
    let two = [0.5415375224521365, 0.6358039890061341];
    let mut rng = Rng::new(9, 3);
    let (uniform, below, normal) = (rng.uniform(), rng.below(10), rng.normal());
    let mut list = [1, 2, 3, 4, 5];
    rng.shuffle(&mut list);
    let dice = Rng::new(9, (1 << 53) - 3).uniform();
    assert_eq!(completed(&[("campaign.js", script)]), json!([two, uniform, below, normal, list, dice]));
}

#[test]
fn results_are_folded_in() {
    let script = "import { Folded } from 'matterstack';
        export function analyze(ctx, state, results) {
            const [good, bad] = results;
            const seen = [good.completed, bad.completed, good.output('out').text(), good.data, bad.reason,
                bad.output('out', null), ctx.json(good.output('doc')), ctx.text(good.output('out').sha256)];
            return state === 'plain' ? seen : Folded({ ...state, seen: seen.length }, { text: 'two', done: 2 });
        }";
    let (run, more) = with(&[("campaign.js", script)]);
    run.files.borrow_mut().push(b"{\"x\": 1}".to_vec());
    let results = json!([
        {"task": "a", "outcome": "completed", "data": {"y": 2}, "outputs": [
            {"path": "out", "sha256": format!("{:064}", 0), "size": 4},
            {"path": "doc", "sha256": format!("{:064}", 2), "size": 8}]},
        {"task": "b", "outcome": "failed", "reason": "exited with code 1", "outputs": []},
    ]);
    let host: Rc<dyn Host> = run;
    let folded = analyze(&context(more.clone()), "\"plain\"", &results.to_string(), &host).expect("a state");
    let expected = json!([true, false, "x,y\n", {"y": 2}, "exited with code 1", null, {"x": 1}, "x,y\n"]);
    assert_eq!(serde_json::from_str::<Value>(&folded.state).unwrap(), expected);
    assert_eq!(folded.summary, None);
    let folded = analyze(&context(more), "{\"n\":1}", &results.to_string(), &host).expect("a state");
    assert_eq!(folded.state, "{\"n\":1,\"seen\":8}");
    assert_eq!(folded.summary.as_deref(), Some("{\"done\":2,\"text\":\"two\"}"));
}
