//! The operator in every language carries the same tasks, live ones, to the same ends: one that is done, one that takes
//! its file, one that is tried again, one that fails with more to tell, one that nobody can run, one that is cancelled;
//! and one whose `submit` was cut short and is found again.
use super::{LANGUAGES, subject};
use crate::support::until;
use crate::support::world::World;
use serde_json::{Value, json};
use std::path::Path;

/// The commit of a first tick that records what `submit` has answered: the backend has the jobs, and nobody knows it.
const UNRECORDED: &str = "store.before-commit:4";

fn world(source: &Path, plugin: &str) -> World {
    let task = |id: &str, command: &str| json!({"id": id, "operator": "robot", "command": ["sh", "-c", command]});
    let with = |mut task: Value, more: Value| {
        task.as_object_mut().expect("a task").extend(more.as_object().expect("keys").clone());
        task
    };
    let from = json!({"in.txt": {"from": "plain", "output": "out.txt"}});
    let world = World::new(&json!({
        "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [
            with(task("plain", "echo ü > out.txt"), json!({"outputs": ["out.txt"]})),
            with(task("chained", "cat in.txt in.txt > twice.txt"), json!({"files": from, "outputs": ["twice.txt"]})),
            with(task("flaky", "[ \"$NUMBER\" = 2 ]"), json!({"retry": {"max_attempts": 2}})),
            with(task("odd", "exit 3"), json!({"allow_failure": true})),
            {"id": "none", "operator": "robot", "allow_failure": true},
            with(task("slow", "sleep 1000"), json!({"allow_failure": true})),
        ]}},
        "operators": {"robot": {"plugin": plugin, "config": {"unit": "µm"}, "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local", "cores": 4}},
    }));
    std::fs::copy(source, world.workspace().join(plugin)).expect("a copy");
    world
}

/// What is told of tasks and attempts, without what differs from run to run: ids of attempts, times and machines.
fn ends(language: &str) -> Value {
    let subject = subject("robot", language);
    let (source, plugin) = subject.named();
    let world = world(source, &plugin);
    world.init();
    let cut = world.run_with(&["step", "r"], &[("MATTERSTACK_FAILPOINT", UNRECORDED)]);
    assert_eq!(cut.code, None, "{language}: {cut:?}");
    let ended =
        ["plain=completed", "chained=completed", "flaky=completed", "odd=failed", "none=failed", "slow=running"];
    until(&format!("{language}: all but one to end"), || {
        world.run(&["step", "r"]).code(0);
        let tasks = world.tasks();
        ended.iter().all(|word| tasks.contains(word))
    });
    world.run(&["cancel", "r", "slow"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.is_sound("r");
    let kept = |of: &Value, keys: &[&str]| -> Vec<Value> { keys.iter().map(|key| of[*key].clone()).collect() };
    let evidence = world.evidence();
    let attempts = evidence["attempts"].as_array().expect("attempts").iter().map(|attempt| {
        let mut told =
            kept(attempt, &["task", "number", "state", "reason_code", "reason", "prepared", "data", "usage"]);
        told.push(attempt["job"]["external_id"].clone());
        told.push(attempt["outputs"].as_array().expect("outputs").iter().map(|file| file["sha256"].clone()).collect());
        Value::Array(told)
    });
    let mut attempts: Vec<Value> = attempts.collect();
    attempts.sort_by_key(|attempt| (attempt[0].to_string(), attempt[1].as_u64()));
    // an error names the plugin
    let text = Value::Array(attempts).to_string().replace(&plugin, "PLUGIN");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn every_language_carries_live_tasks_to_the_same_ends() {
    let first = ends(LANGUAGES[0]);
    let text = first.to_string();
    // what the table compares is there
    for word in ["again-plain", "µ-flaky", "this is an odd one", "no `command`", "cancelled", "\"unit\":\"µm\"", "1.5"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    for language in &LANGUAGES[1..] {
        assert_eq!(ends(language), first, "{language}");
    }
}
