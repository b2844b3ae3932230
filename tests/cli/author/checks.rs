//! `plugin check`, `plugin inspect`, `plugin list`, and the schemas of manifests.
use super::{renamed, standard, with_campaign, with_manifest, with_section};
use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;

/// The file that the tests look at, as one would type it.
const FILE: &str = "workspaces/demo/p.wasm";

fn one_task() -> Value {
    json!({"tasks": [{"id": "a", "operator": "local", "command": "true"}]})
}

#[test]
fn a_standard_plugin_is_sound_and_says_what_it_needs() {
    let world = World::with_tasks(&json!([]));
    let done = world.run(&["plugin", "check", "builtin:compute"]).code(0);
    assert!(done.stdout.contains("world: operator") && done.stdout.contains("contract: 0.2.0"), "{done:?}");
    assert!(done.stdout.contains(r#"{"operators":{"KEY":{"grants":{"compute":["BACKEND"]}}}}"#), "{done:?}");
    assert!(done.stderr.contains("can be used as an operator"), "{done:?}");
    let done = world.run(&["plugin", "check", "builtin:workflow", "--json"]).code(0).json();
    assert_eq!((&done["world"], &done["problems"], &done["grants"]), (&json!("campaign"), &json!([]), &json!({})));
    let near = world.run(&["plugin", "check", "builtin:wrkflow"]).code(2);
    assert!(near.stderr.contains("did you mean `builtin:workflow`?"), "{near:?}");
}

/// A component that nobody has compiled yet, 20 MB long, leaves the cache as it is: nothing of it was compiled.
#[test]
fn looking_at_a_large_plugin_compiles_nothing() {
    let large = with_section(&standard("workflow"), "ballast", &vec![7; 20_000_000]);
    let world = with_campaign(&large, &one_task());
    let cache = world.root().join("../cache");
    let cache = [("XDG_CACHE_HOME", cache.to_str().expect("UTF-8"))];
    for command in ["check", "inspect"] {
        let done = world.run_with(&["plugin", command, FILE, "--json"], &cache).code(0).json();
        assert_eq!((&done["world"], &done["size"]), (&json!("campaign"), &json!(large.len())));
    }
    assert!(!world.root().join("../cache").exists(), "something was compiled");
}

#[test]
fn a_component_without_analyze_is_refused_by_check_and_by_init() {
    let world = with_campaign(&renamed(&standard("workflow"), "analyze", "analyse"), &one_task());
    for arguments in [&["plugin", "check", FILE][..], &["init", "demo"]] {
        let done = world.run(arguments).code(4);
        assert!(done.stderr.contains("has no function `analyze`, which every campaign exports"), "{done:?}");
    }
    assert_eq!(fs::read_dir(world.workspace().join("runs")).expect("runs").count(), 0);
    let operator = renamed(&standard("compute"), "reconcile", "reconsile");
    fs::write(world.workspace().join("p.wasm"), operator).expect("a file");
    let done = world.run(&["plugin", "check", FILE]).code(4);
    assert!(done.stderr.contains("has no function `reconcile`, which every operator exports"), "{done:?}");
}

#[test]
fn what_has_other_types_or_imports_than_the_contract_is_named() {
    // a field of the context by another name
    let world = with_campaign(&renamed(&standard("workflow"), "now-ms", "now-us"), &one_task());
    let done = world.run(&["plugin", "check", FILE]).code(4);
    assert!(done.stderr.contains("exports `plan` with other types than contract version"), "{done:?}");
    let sockets = renamed(&standard("workflow"), "plugin/artifacts@", "plugin/artefacts@");
    fs::write(world.workspace().join("p.wasm"), sockets).expect("a file");
    let done = world.run(&["plugin", "check", FILE]).code(4);
    assert!(done.stderr.contains("imports `artefacts`, which no campaign may have"), "{done:?}");
    for (bytes, words) in [
        (&b"text"[..], "is not WebAssembly"),
        (b"\0asm\x01\0\0\0", "is a WebAssembly core module"),
        (b"\0asm\x0d\0\x01\0", "exports neither"),
        (&standard("workflow")[..5000], "is cut off or damaged"),
    ] {
        fs::write(world.workspace().join("p.wasm"), bytes).expect("a file");
        let done = world.run(&["plugin", "check", FILE]).code(4);
        assert!(done.stderr.contains(words), "{done:?}");
    }
}

#[test]
fn a_manifest_that_lies_is_named() {
    let world = with_campaign(b"", &one_task());
    for (plugin, manifest, words) in [
        ("workflow", json!({"format": 1, "nmae": "x"}), "unknown field `nmae`"),
        ("workflow", json!({"format": 1, "name": "a b"}), "`name` is \"a b\", which is no name"),
        ("workflow", json!({"format": 1, "version": "new"}), "`version` is \"new\", which is no version"),
        ("workflow", json!({"format": 1, "analyze": "often"}), "unknown variant `often`"),
        (
            "compute",
            json!({"format": 1, "analyze": "workflow"}),
            "`analyze` is a word of campaigns, and it is an operator",
        ),
        ("workflow", json!({"format": 1, "reuse_version": "1"}), "`reuse_version` is a word of operators"),
        (
            "workflow",
            json!({"format": 1, "grants": {"compute": ["local"]}}),
            "wants `compute`, which it does not import",
        ),
        ("compute", json!({"format": 1, "grants": {}}), "does not name `compute`, which it imports"),
        ("workflow", json!({"format": 1, "params": {"type": "objekt"}}), "`params` is no JSON Schema"),
        ("workflow", json!({"format": 1, "schemas": {"taks": 1}}), "`schemas` names `taks`"),
    ] {
        fs::write(world.workspace().join("p.wasm"), with_manifest(plugin, &manifest)).expect("a file");
        let done = world.run(&["plugin", "check", FILE]).code(4);
        assert!(done.stderr.contains(words), "{words}: {done:?}");
        let json = world.run(&["plugin", "inspect", FILE, "--json"]).code(0).json();
        assert!(json["problems"][0].as_str().is_some_and(|why| why.contains(words)), "{json}");
    }
}

#[test]
fn parameters_are_judged_by_the_schema_in_the_manifest() {
    let schema = json!({"type": "object", "required": ["tasks"], "properties": {
        "tasks": {"type": "array", "maxItems": 1}}});
    let manifest = json!({"format": 1, "name": "mine", "version": "1.0.0", "params": schema});
    let task = |id: &str| json!({"id": id, "operator": "local", "command": "true"});
    let two = json!([task("a"), task("b")]);
    let world = with_campaign(&with_manifest("workflow", &manifest), &json!({"tasks": two}));
    for arguments in [&["config", "check", "demo"][..], &["init", "demo"]] {
        let done = world.run(arguments).code(2);
        let words = ["campaign.params: at `/tasks`: ", "1", "`p.wasm` says in its manifest", "plugin inspect"];
        assert!(words.iter().all(|word| done.stderr.contains(word)), "{done:?}");
    }
    assert_eq!(fs::read_dir(world.workspace().join("runs")).expect("runs").count(), 0);
    let shown = world.run(&["plugin", "inspect", FILE, "--json"]).code(0).json();
    assert_eq!(shown["manifest"]["params"], schema);
    let one = format!("campaign.params.tasks={}", json!([task("a")]));
    world.run(&["init", "demo", "--run-id", "r", "--set", &one]).code(0);
    let done = world.run(&["amend", "r", "config", &format!("campaign.params.tasks={two}")]).code(2);
    assert!(done.stderr.contains("at `/tasks`"), "{done:?}");
    world.run(&["amend", "r", "config", "limits.max_active=9"]).code(0);
}

#[test]
fn the_config_of_an_operator_is_judged_by_the_schema_in_its_manifest() {
    let manifest = json!({"format": 1, "config": {"type": "object", "required": ["port"]}});
    let mut config = crate::support::world::tasks_config(&json!([]));
    config["operators"]["local"]["plugin"] = json!("p.wasm");
    let world = World::new(&config);
    fs::write(world.workspace().join("p.wasm"), with_manifest("compute", &manifest)).expect("a file");
    for arguments in [&["config", "check", "demo"][..], &["init", "demo"]] {
        let done = world.run(arguments).code(2);
        assert!(done.stderr.contains("operators.local.config: ") && done.stderr.contains("`port`"), "{done:?}");
    }
}

#[test]
fn a_script_is_looked_at_without_an_interpreter() {
    let world = World::with_tasks(&json!([]));
    let script =
        "import math\n\ndef plan(ctx, state):\n    return {}\n\ndef analyze(ctx, state, results):\n    return {}\n";
    world.write("campaign.py", script);
    let done = world.run(&["plugin", "check", "workspaces/demo/campaign.py"]).code(0);
    assert!(done.stdout.contains("script: python") && done.stdout.contains("functions: plan, analyze"), "{done:?}");
    world.write("campaign.js", "export function plan(ctx, state) { return {} }\n");
    let done = world.run(&["plugin", "check", "workspaces/demo/campaign.js"]).code(4);
    assert!(done.stderr.contains("has no function `analyze`, and a campaign has one"), "{done:?}");
    let json = world.run(&["plugin", "inspect", "workspaces/demo/campaign.js", "--json"]).code(0).json();
    assert_eq!((&json["language"], &json["world"]), (&json!("javascript"), &json!("campaign")));
}

#[test]
fn the_list_has_the_standard_plugins_and_those_of_the_workspace() {
    let world = with_campaign(&standard("sweep"), &json!({}));
    let all = world.run(&["plugin", "list", "--json"]).code(0).json();
    let row = |plugin: &str| all.as_array().expect("a list").iter().find(|row| row["plugin"] == plugin).cloned();
    let compute = row("builtin:compute").expect("a standard plugin");
    assert_eq!((&compute["world"], &compute["workspace"]), (&json!("operator"), &Value::Null));
    let own = row("p.wasm").expect("that of the workspace");
    assert_eq!((&own["world"], &own["workspace"]), (&json!("campaign"), &json!("demo")));
    assert_eq!((&own["used_for"], &own["problem"]), (&json!("the campaign"), &Value::Null));
    fs::remove_file(world.workspace().join("p.wasm")).expect("removed");
    let done = world.run(&["plugin", "list", "demo"]).code(0);
    assert!(done.stdout.contains("missing") && done.stderr.contains("cannot be read"), "{done:?}");
    world.run(&["plugin", "list", "nowhere"]).code(2);
}
