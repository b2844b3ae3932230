//! `builtin:sweep` through the binary: tables, growth, failures, and parameters that are none.
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};

fn world(params: &Value) -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "builtin:sweep", "params": params, "inputs": {"points": "points.csv"}});
    let world = World::new(&config);
    world.write("points.csv", "name,x\na,1\nb,2\n");
    world
}

fn ids(world: &World) -> Vec<String> {
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let tasks = tasks.as_array().expect("a list").iter();
    tasks
        .map(|task| format!("{}={}", task["id"].as_str().expect("an id"), task["state"].as_str().expect("a state")))
        .collect()
}

#[test]
fn a_table_that_gets_longer_is_run_to_its_end() {
    let template = json!({"id": "{name}", "operator": "local", "command": "test {x} -lt 3"});
    let world = world(&json!({"template": template, "rows": "points"}));
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(ids(&world), ["a=completed", "b=completed"]);
    world.write("points.csv", "name,x\na,1\nb,2\nc,3\n");
    world.run(&["amend", "r", "file", "points.csv"]).code(0);
    world.run(&["loop", "r"]).code(1);
    assert_eq!(ids(&world), ["a=completed", "b=completed", "c=failed"], "a failure that is not allowed fails the run");
    // a row that says something else is another task, and the run has that one
    world.write("points.csv", "name,x\na,1\nb,0\nc,3\n");
    let refused = world.run(&["amend", "r", "file", "points.csv"]).code(2);
    assert!(refused.stderr.contains("task `b` is in the run already"), "{refused:?}");
    world.run(&["rerun", "r", "c", "--set", "command=true"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["result"]["completed"], 3);
    world.run(&["replay", "r"]).code(0);
    world.run(&["doctor", "r"]).code(0);
}

#[test]
fn parameters_that_are_none_leave_no_run() {
    let task = json!({"operator": "local", "command": "echo {x}"});
    for (params, words) in [
        (json!({"template": task, "grdi": {"x": [1]}}), "unknown field `grdi`"),
        (json!({"template": task, "grid": {"y": [1]}}), "`{x}` in `command` is no parameter"),
        (json!({"template": task, "zip": {"x": [1, 2], "y": [1]}}), "`zip.x` has 2 values and `zip.y` 1"),
        (json!({"template": task, "grid": {"x": []}}), "`grid.x` has no values"),
        (json!({"template": task, "rows": "point"}), "`campaign.inputs` has no `point`"),
        (json!({"template": {"command": "{x}", "comand": 1}, "grid": {"x": [1]}}), "`comand`"),
    ] {
        let world = world(&params);
        let done = world.run(&["init", "demo", "--run-id", "r"]).code(2);
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
        assert!(!world.run_dir("r").exists());
    }
}
