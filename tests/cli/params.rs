//! Parameters that are large lie in a file of their own, and mean what they meant in config.json.
use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;

/// Tasks whose text is larger than what stands in a run's config.json.
fn large() -> Value {
    let note = "x".repeat(2_000);
    (0..40)
        .map(|i| json!({"id": format!("t{i}"), "operator": "local", "command": "true", "env": {"NOTE": note}}))
        .collect()
}

fn config(world: &World) -> Value {
    serde_json::from_slice(&fs::read(world.run_dir("r").join("config.json")).expect("config.json")).expect("JSON")
}

#[test]
fn large_parameters_are_pinned_as_a_file_and_small_ones_stay() {
    let small = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    small.init();
    assert_eq!(config(&small)["campaign"]["params"]["tasks"][0]["id"], "a");
    assert_eq!(config(&small)["pinned"]["params"], Value::Null);

    let world = World::with_tasks(&large());
    world.init();
    let resolved = config(&world);
    assert_eq!(resolved["campaign"]["params"], json!({}));
    let pinned = &resolved["pinned"]["params"];
    let path = world.run_dir("r").join(pinned["path"].as_str().expect("a path"));
    let kept: Value = serde_json::from_slice(&fs::read(path).expect("the file")).expect("JSON");
    assert_eq!(kept, json!({"tasks": large()}));
    assert_eq!(world.run(&["loop", "r"]).code(0).code, Some(0));
    assert_eq!(world.status()["tasks"]["completed"], 40);
    let report = world.run(&["evidence", "r"]).code(0);
    assert_eq!(report.stderr.matches("differs").count(), 0, "{report:?}");
}

#[test]
fn an_amend_reaches_into_large_parameters() {
    let world = World::with_tasks(&large());
    world.init();
    let before = config(&world)["pinned"]["params"].clone();
    let mut tasks = large();
    tasks.as_array_mut().expect("a list").push(json!({"id": "one more", "operator": "local", "command": "true"}));
    world.run(&["amend", "r", "config", &format!("campaign.params.tasks={tasks}")]).code(0);
    let after = config(&world)["pinned"]["params"].clone();
    assert_ne!(before["sha256"], after["sha256"]);
    let kept = fs::read(world.run_dir("r").join(after["path"].as_str().expect("a path"))).expect("the file");
    assert_eq!(serde_json::from_slice::<Value>(&kept).expect("JSON"), json!({"tasks": tasks}));
    // what was decided with the old ones can still be looked at
    assert!(world.run_dir("r").join(before["path"].as_str().expect("a path")).is_file());
    // another key leaves them as they are
    world.run(&["amend", "r", "config", "limits.max_active=3"]).code(0);
    assert_eq!(config(&world)["pinned"]["params"], after);
}

#[test]
fn a_spoilt_file_of_parameters_is_trouble_with_the_machine_and_loses_nothing() {
    let world = World::with_tasks(&large());
    world.init();
    let path = world.run_dir("r").join(config(&world)["pinned"]["params"]["path"].as_str().expect("a path"));
    let whole = fs::read(&path).expect("the file");
    fs::write(&path, &whole[..whole.len() - 1]).expect("a shorter file");
    // what is planned goes on; only the next plan needs them
    let done = world.run(&["loop", "r", "--timeout", "20s"]).code(74);
    assert!(done.stderr.contains("campaign.params") && done.stderr.contains("inputs/params-"), "{done:?}");
    assert_eq!(world.status()["tasks"]["completed"], 40);
    fs::write(&path, &whole).expect("the whole file");
    world.run(&["loop", "r"]).code(0);
}
