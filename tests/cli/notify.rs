//! A person is told once of what only a person can move.
use crate::support::until;
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};

fn world(command: &Value) -> World {
    let mut config = tasks_config(&json!([{"id": "a", "operator": "local", "command": "exit 3"}]));
    config["notify"] = json!({"command": command});
    World::new(&config)
}

#[test]
fn the_end_of_a_run_is_told_once() {
    let world = world(&json!(["sh", "-c", "cat >> ../../news.jsonl; echo >> ../../news.jsonl"]));
    world.init();
    assert_eq!(world.step_to_end()["state"], "failed");
    let told = || std::fs::read_to_string(world.workspace().join("news.jsonl")).unwrap_or_default();
    until("the news", || told().ends_with('\n'));
    for _ in 0..3 {
        world.run(&["step", "r"]).code(1);
    }
    let lines: Vec<Value> = told().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((lines[0]["run_id"].as_str(), lines[0]["state"].as_str()), (Some("r"), Some("failed")));
    assert_eq!(lines[0]["news"][0]["state"], "failed");
    assert_eq!(lines[0]["news"][0]["task"], Value::Null);
}

#[test]
fn a_program_that_cannot_be_started_is_said_and_costs_nothing() {
    let world = world(&json!(["no-such-program"]));
    world.init();
    let done = world.run(&["loop", "r"]).code(1);
    assert!(done.stderr.contains("notification program `no-such-program` cannot be started"), "{done:?}");
    assert_eq!(world.status()["state"], "failed");
}
