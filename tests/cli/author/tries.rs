//! `plugin test`: plugins that keep to the contract pass, and those that do not are told by the shortest case.
use super::{standard, with_campaign};
use crate::support::guest;
use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;

/// The parameters with which a hostile guest misbehaves so.
fn tried(world: &World, plugin: &str, params: &Value) -> Value {
    world.write("params.json", &params.to_string());
    let done = world.run(&["plugin", "test", plugin, "--params", "workspaces/demo/params.json", "--json"]);
    assert!(matches!(done.code, Some(0 | 1)), "{done:?}");
    let all = done.json();
    assert_eq!(done.code == Some(1), !all[0]["found"].is_null(), "{all}");
    all[0].clone()
}

#[test]
fn the_standard_plugins_keep_to_the_contract() {
    let world = World::with_tasks(&json!([]));
    let task = json!({"id": "a", "operator": "local", "command": "true"});
    let proof = tried(&world, "builtin:workflow", &json!({"tasks": [task]}));
    assert_eq!((&proof["world"], &proof["found"]), (&json!("campaign"), &Value::Null), "{proof}");
    assert!(proof["cases"].as_u64().is_some_and(|cases| cases > 20), "{proof}");
    world.write("task.json", &task.to_string());
    let done = world.run(&["plugin", "test", "builtin:compute", "--task", "workspaces/demo/task.json"]).code(0);
    assert!(done.stdout.contains("builtin:compute: an operator: in ") && done.stdout.contains("nothing is wrong"));
}

#[test]
fn a_workspace_gives_parameters_and_tasks() {
    let task = json!({"id": "a", "operator": "local", "command": "true"});
    let world = with_campaign(&standard("workflow"), &json!({"tasks": [task]}));
    for path in ["workspaces/demo", "workspaces/demo/p.wasm"] {
        let done = world.run(&["plugin", "test", path, "--json"]).code(0).json();
        assert_eq!(done.as_array().map(Vec::len), Some(1), "{done}");
        assert!(done[0]["calls"].as_u64().is_some_and(|calls| calls > 20), "{done}");
    }
    // without them there is no first plan, and it says what to do
    fs::copy(world.workspace().join("p.wasm"), world.root().join("../p.wasm")).expect("a copy");
    let done = world.run(&["plugin", "test", "p.wasm"]).code(1);
    let words = ["does not make a first plan", "--params FILE", "case 1: the first plan", "given: asked [\"first\"]"];
    assert!(words.iter().all(|word| done.stdout.contains(word)), "{done:?}");
    let named = World::with_tasks(&json!([]));
    let done = named.run(&["plugin", "test", "workspaces/demo"]).code(2);
    assert!(done.stderr.contains("names standard plugins alone"), "{done:?}");
}

#[test]
fn a_campaign_that_breaks_the_contract_is_told_by_its_shortest_case() {
    let world = World::with_tasks(&json!([]));
    fs::copy(guest("hostile"), world.workspace().join("p.wasm")).expect("a guest");
    for (mode, case, words) in [
        ("", "", ""),
        ("trap", "the first plan", "does not answer `plan`: trapped"),
        ("garbage-state", "the first plan", "answers `plan` with a state that cannot be kept"),
        ("error", "the first plan", "does not make a first plan: asked to fail"),
        ("duplicate-ids", "the first plan", "plans two tasks with the id `a`"),
        ("garbage-in-analyze", "results of no task", "answers `analyze` with a state that cannot be kept"),
    ] {
        let proof = tried(&world, "workspaces/demo/p.wasm", &json!({"mode": mode}));
        let found = &proof["found"];
        if words.is_empty() {
            assert_eq!(found, &Value::Null, "{proof}");
            continue;
        }
        assert!(found["rule"].as_str().is_some_and(|rule| rule.contains(words)), "{mode}: {proof}");
        assert_eq!(found["case"], case, "{proof}");
        assert_eq!(found["calls"].as_array().map(Vec::len), Some(1), "the shortest case: {proof}");
    }
}

#[test]
fn an_operator_that_breaks_the_contract_is_told_by_its_shortest_case() {
    let world = World::with_tasks(&json!([]));
    fs::copy(guest("hostile-operator"), world.workspace().join("p.wasm")).expect("a guest");
    for (input, words) in [
        (json!({"reconcile": "yes"}), ""),
        (json!({}), "says `no` in `reconcile` after a submit that it acknowledged"),
        (json!({"mode": "trap-in-submit"}), "does not answer `submit`: trapped"),
        (json!({"mode": "garbage-handle"}), "does not answer `submit`: bad output"),
        (json!({"mode": "trap-in-cancel", "reconcile": "yes"}), "does not answer `cancel`: trapped"),
        (json!({"mode": "invalid-in-prepare"}), "does not take an ordinary task: invalid: asked to fail in prepare"),
    ] {
        world.write("task.json", &json!({"id": "a", "operator": "op", "input": input}).to_string());
        let path = "workspaces/demo/p.wasm";
        let done = world.run(&["plugin", "test", path, "--task", "workspaces/demo/task.json", "--json"]);
        let rule = done.json()[0]["found"]["rule"].as_str().unwrap_or_default().to_owned();
        assert!(rule.contains(words) && rule.is_empty() == words.is_empty(), "{input}: {done:?}");
        assert_eq!(done.code, Some(i32::from(!words.is_empty())));
    }
}

/// What new operators begin with keeps to the contract, and neighbours of it that break a rule are told.
#[test]
fn scripts_are_tried_in_the_sandbox_of_their_runner() {
    let world = World::with_tasks(&json!([]));
    let tried = |file: &str| {
        let done = world.run(&["plugin", "test", &format!("workspaces/{file}"), "--json"]);
        let proof = done.json()[0].clone();
        assert_eq!(done.code, Some(i32::from(!proof["found"].is_null())), "{done:?}");
        proof
    };
    for (language, end, lost, planned) in [
        (
            "python",
            "py",
            ("return attempt.compute.find(BACKEND)", "return {\"found\": \"no\"}"),
            "def plan(ctx, state):\n    return {\"tasks\": [{\"id\": \"a\"}] * 2}\ndef analyze(c, s, r): return s\n",
        ),
        (
            "javascript",
            "js",
            ("return compute.find(BACKEND)", "return { found: \"no\" }"),
            "export const plan = () => ({ tasks: [{ id: \"a\" }, { id: \"a\" }] });\nexport const analyze = (c, s) => s;\n",
        ),
    ] {
        world.run(&["plugin", "new", language, language, "--operator"]).code(0);
        let name = format!("{language}/balance.{end}");
        let proof = tried(&name);
        assert_eq!((&proof["world"], &proof["found"]), (&json!("operator"), &Value::Null), "{proof}");
        assert!(proof["calls"].as_u64().is_some_and(|calls| calls > 20), "{proof}");
        let operator = fs::read_to_string(world.root().join(&name)).expect("a script");
        let forgetful = operator.replace(lost.0, lost.1);
        assert_ne!(forgetful, operator);
        world.write(&format!("../{name}"), &forgetful);
        let rule = tried(&name)["found"]["rule"].clone();
        assert!(rule.as_str().is_some_and(|rule| rule.contains("says `no` in `reconcile`")), "{rule}");
        // one that no configuration names
        let campaign = format!("{language}/other.{end}");
        world.write(&format!("../{campaign}"), planned);
        let proof = tried(&campaign);
        assert_eq!(proof["world"], "campaign", "{proof}");
        assert_eq!(proof["found"]["rule"], "plans two tasks with the id `a`", "{proof}");
    }
}

/// A script gets its modules, parameters and backends as its workspace names them.
#[test]
fn a_script_is_tried_with_what_its_workspace_gives_it() {
    let mut config = crate::support::world::tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "c/campaign.js", "modules": ["c/ids.js"], "params": {"n": 2}});
    config["backends"]["far"] = config["backends"]["local"].clone();
    config["operators"]["robot"] = json!({"plugin": "robot.js", "grants": {"compute": ["far"]}});
    let world = World::new(&config);
    world.write("c/ids.js", "export const id = (n) => `t${n}`;\n");
    let plan = "export const plan = ({ params }) => ({ tasks: [...Array(params.n).keys()].map((n) => ({ id: id(n), operator: \"robot\", command: \"true\" })) });";
    let text = format!("import {{ id }} from \"./ids.js\";\n{plan}\nexport const analyze = (c, s) => s;\n");
    world.write("c/campaign.js", &text);
    let robot = "export const submit = ({ compute }) => compute.submit(\"far\", { command: \"true\" });\n\
                 export const reconcile = ({ compute }) => compute.find(\"far\");\n\
                 export const check_status = ({ compute, handle }) => compute.status(\"far\", handle);\n";
    world.write("robot.js", robot);
    let done = world.run(&["plugin", "test", "workspaces/demo", "--json"]).code(0).json();
    let worlds: Vec<&Value> = done.as_array().expect("a list").iter().map(|proof| &proof["world"]).collect();
    assert_eq!(worlds, ["campaign", "operator"], "{done}");
    world.write("c/ids.js", "export const id = () => \"same\";\n");
    let done = world.run(&["plugin", "test", "workspaces/demo/c/campaign.js"]).code(1);
    assert!(done.stdout.contains("plans two tasks with the id `same`"), "{done:?}");
}

#[test]
fn what_cannot_be_used_at_all_is_not_tried() {
    let world = World::with_tasks(&json!([]));
    world.write("p.wasm", "text");
    let done = world.run(&["plugin", "test", "workspaces/demo/p.wasm"]).code(4);
    assert!(done.stderr.contains("is not WebAssembly"), "{done:?}");
    world.run(&["plugin", "test", "builtin:nothing"]).code(2);
    world.run(&["plugin", "test", "nowhere.wasm"]).code(2);
    world.run(&["plugin", "test", "builtin:compute", "--task", "nowhere.json"]).code(2);
}
