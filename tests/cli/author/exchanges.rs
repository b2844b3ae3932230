//! `amend … plugin`: what is told of another plugin before it is taken, and what is not taken.
use super::{standard, with_campaign, with_manifest};
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::fs;

/// Plans one task, and then lets a person decide.
const CAREFUL: &str = "\
export const plan = (ctx, state) => state
  ? { hold: `seen ${state.n}` }
  : { state: { n: 0 }, tasks: [{ id: \"a\", operator: \"local\", command: \"true\" }] };
export const analyze = (ctx, state, results) => ({ n: results.length });
";

fn held() -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "campaign.js"});
    let world = World::new(&config);
    world.write("campaign.js", CAREFUL);
    world.init();
    world.run(&["loop", "r"]).code(5);
    world
}

#[test]
fn a_dry_run_tells_which_decisions_another_plugin_makes_otherwise() {
    let world = held();
    let before = fs::read(world.run_dir("r").join("config.json")).expect("a configuration");
    let tried = |text: &str| {
        world.write("campaign.js", text);
        world.run(&["amend", "r", "plugin", "campaign.js", "--dry-run", "--json"]).code(0).json()
    };
    // other words for the same
    let same = tried(&format!("// the same\n{CAREFUL}"));
    assert_eq!((&same["asks"], &same["leaves"]), (&json!([]), &json!([])), "{same}");
    assert_eq!(
        (&same["decisions"]["made"], &same["decisions"]["agreed"], &same["decisions"]["differing"]),
        (&json!(3), &json!(3), &json!([])),
        "{same}"
    );
    // another fold of what came, and with it nothing else: each decision has the state that was recorded
    let folded = tried(&CAREFUL.replace("results.length", "results.length + 1"));
    assert_eq!(folded["decisions"]["differing"], json!([2]), "{folded}");
    let first = &folded["decisions"]["first"];
    assert_eq!((&first["aspect"], &first["path"]), (&json!("state"), &json!("/n")), "{folded}");
    assert_eq!((&first["recorded"], &first["replayed"]), (&json!("1"), &json!("2")), "{folded}");
    // one that fails where the other answered
    world.write("campaign.js", &CAREFUL.replace("`seen ${state.n}`", "state.n.seen.then"));
    let told = world.run(&["amend", "r", "plugin", "campaign.js", "--dry-run"]).code(0);
    for words in ["dry run, nothing is changed", "it asks for the same interfaces", "otherwise: 3"] {
        assert!(told.stderr.contains(words), "{words}: {told:?}");
    }
    assert!(told.stdout.contains("decision 3 (plan) comes out otherwise: outcome"), "{told:?}");
    assert!(told.stdout.contains("now:      ") && told.stdout.contains("TypeError"), "{told:?}");
    assert_eq!(fs::read(world.run_dir("r").join("config.json")).expect("a configuration"), before);
    world.is_sound("r");
}

#[test]
fn a_dry_run_tells_what_another_plugin_asks_for() {
    let world = held();
    fs::write(world.workspace().join("p.wasm"), standard("workflow")).expect("a file");
    let path = "workspaces/demo/p.wasm";
    let tried = world.run(&["amend", "r", "plugin", path, "--dry-run", "--json"]).code(0).json();
    let leaves = tried["leaves"].as_array().expect("interfaces");
    assert!(leaves.contains(&json!("compute")) && !leaves.contains(&json!("artifacts")), "{tried}");
    assert_eq!(tried["asks"], json!([]), "{tried}");
    // it wants a list of tasks, and was given none
    assert_eq!(tried["decisions"]["first"]["decision"], json!(1), "{tried}");
    let operator = world.run(&["amend", "r", "plugin", "builtin:human", "--operator", "local", "--dry-run"]).code(0);
    assert!(operator.stderr.contains("no more for") && operator.stderr.contains("`compute`"), "{operator:?}");
    let none = &["amend", "r", "plugin", "builtin:human", "--operator", "local", "--dry-run", "--json"];
    assert_eq!(world.run(none).code(0).json()["decisions"], Value::Null);
}

#[test]
fn a_plugin_that_does_not_take_the_parameters_is_not_taken() {
    let task = json!({"id": "a", "operator": "local", "command": "true"});
    let world = with_campaign(&standard("workflow"), &json!({"tasks": [task]}));
    world.init();
    let schema = json!({"type": "object", "required": ["limit"]});
    let manifest = json!({"format": 1, "params": schema});
    fs::write(world.root().join("../new.wasm"), with_manifest("workflow", &manifest)).expect("a file");
    let before = fs::read(world.run_dir("r").join("config.json")).expect("a configuration");
    for option in [&[][..], &["--dry-run"]] {
        let done = world.run(&[&["amend", "r", "plugin", "new.wasm"][..], option].concat()).code(2);
        assert!(done.stderr.contains("campaign.params: ") && done.stderr.contains("`limit`"), "{done:?}");
    }
    assert_eq!(fs::read(world.run_dir("r").join("config.json")).expect("a configuration"), before);
    let manifest = json!({"format": 1, "config": {"type": "object", "required": ["port"]}});
    fs::write(world.root().join("../robot.wasm"), with_manifest("compute", &manifest)).expect("a file");
    let done = world.run(&["amend", "r", "plugin", "robot.wasm", "--operator", "local"]).code(2);
    assert!(done.stderr.contains("operators.local.config: ") && done.stderr.contains("`port`"), "{done:?}");
}

/// Files of one name in two folders are two plugins: in the run, in lists, and where one is exchanged.
#[test]
fn two_plugins_of_one_name_are_told_apart() {
    let task = |operator: &str| json!({"id": operator, "operator": operator, "command": "true"});
    let mut config = tasks_config(&json!([task("one"), task("two"), task("three")]));
    let operator = |plugin: &str| json!({"plugin": plugin, "grants": {"compute": ["local"]}});
    config["operators"] = json!({"one": operator("a/p.wasm"), "two": operator("b/p.wasm"), "three": operator("p.js")});
    let world = World::new(&config);
    for (name, manifest) in [("a", "first"), ("b", "second")] {
        let manifest = json!({"format": 1, "name": manifest, "grants": {"compute": ["local"]}});
        let file = world.workspace().join(name).join("p.wasm");
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, with_manifest("compute", &manifest)).expect("a file");
    }
    let robot = "export const submit = ({ compute, task }) => compute.submit(\"local\", { command: task.command });\n\
                 export const reconcile = ({ compute }) => compute.find(\"local\");\n\
                 export const check_status = ({ compute, handle }) => compute.status(\"local\", handle);\n";
    world.write("p.js", robot);
    let listed = world.run(&["plugin", "list", "demo", "--json"]).code(0).json();
    let of = |plugin: &str| {
        let mut rows = listed.as_array().expect("rows").iter().filter(|row| row["plugin"] == plugin);
        let row = rows.next().expect("a row").clone();
        assert!(rows.next().is_none(), "{listed}");
        row
    };
    assert_eq!(
        (&of("a/p.wasm")["used_for"], &of("b/p.wasm")["used_for"]),
        (&json!("operator `one`"), &json!("operator `two`"))
    );
    assert_ne!(of("a/p.wasm")["sha256"], of("b/p.wasm")["sha256"]);
    world.init();
    let pinned = || {
        let text = fs::read_to_string(world.run_dir("r").join("config.json")).expect("a configuration");
        let config: Value = serde_json::from_str(&text).expect("JSON");
        let plugins = config["pinned"]["plugins"].clone();
        ["one", "two", "three"].map(|key| {
            let name = config["operators"][key]["plugin"].as_str().expect("a plugin").to_owned();
            plugins[&name]["sha256"].as_str().unwrap_or_default().to_owned()
        })
    };
    let before = pinned();
    assert_eq!(json!(before[..2]), json!([of("a/p.wasm")["sha256"], of("b/p.wasm")["sha256"]]));
    // one more of that name, in the place of the script: nobody else's changes
    let manifest = json!({"format": 1, "name": "third", "grants": {"compute": ["local"]}});
    fs::write(world.workspace().join("b/p.wasm"), with_manifest("compute", &manifest)).expect("another in its place");
    world.run(&["amend", "r", "plugin", "workspaces/demo/b/p.wasm", "--operator", "three"]).code(0);
    let after = pinned();
    assert_eq!((&after[0], &after[1]), (&before[0], &before[1]));
    assert!(!after[2].is_empty() && after[2] != before[1] && after[2] != before[0], "{after:?}");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "one=completed two=completed three=completed");
    world.is_sound("r");
}
