//! What an attempt consumed: every file that was put there for it, by digest, and where it came from.
use crate::support::world::World;
use matterstack::model::document::sha256;
use serde_json::{Value, json};

/// The attempts at a task.
fn attempts(world: &World, task: &str) -> Vec<Value> {
    world.run(&["attempts", "r", task, "--json"]).code(0).json().as_array().cloned().expect("a list")
}

/// What an attempt consumed, as `destination digest from path`.
fn consumed(attempt: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let inputs = attempt["inputs"].as_array().expect("a list").iter();
    inputs
        .map(|one| {
            let words = ["destination", "sha256", "from_attempt", "from_path"].map(|key| word(&one[key]));
            words.join(" ")
        })
        .collect()
}

#[test]
fn every_file_that_an_attempt_was_given_is_named_with_its_digest() {
    let command = "n=$(cat state/n 2>/dev/null || echo 0); n=$((n + 1)); mkdir -p state; echo $n > state/n; \
                   echo later > given; echo of $n > scratch; test $n -ge 3";
    let world = World::with_tasks(&json!([
        {"id": "make", "operator": "local", "command": "mkdir d; echo made > d/made.txt", "outputs": ["d/*.txt"]},
        {"id": "a", "operator": "local", "command": command, "outputs": ["state/n"],
         "files": {"run.sh": {"path": "scripts/run.sh"}, "x/made": {"from": "make", "output": "./d/made.txt"},
                   "given": {"path": "scripts/given"}, "text": {"content": "in the task itself"}},
         "retry": {"max_attempts": 3, "backoff_s": 0, "carry": ["state/*"]}},
    ]));
    world.write("scripts/run.sh", "true\n");
    world.write("scripts/given", "given\n");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let make = attempts(&world, "make")[0]["attempt_id"].as_str().expect("an id").to_owned();
    let all = attempts(&world, "a");
    assert_eq!(all.len(), 3);
    for (n, attempt) in all.iter().enumerate() {
        let mut expected = vec![
            format!("given {} - scripts/given", sha256(b"given\n")),
            format!("run.sh {} - scripts/run.sh", sha256(b"true\n")),
        ];
        if n > 0 {
            let before = all[n - 1]["attempt_id"].as_str().expect("an id");
            expected.push(format!("state/n {} {before} state/n", sha256(format!("{n}\n").as_bytes())));
        }
        expected.push(format!("x/made {} {make} d/made.txt", sha256(b"made\n")));
        assert_eq!(consumed(attempt), expected, "attempt {}", n + 1);
    }
}

#[test]
fn an_attempt_that_takes_what_another_left_consumed_the_same() {
    // more than it may leave: after the quota is raised, a second attempt takes it from where it lies
    let mut config = crate::support::world::tasks_config(&json!([
        {"id": "a", "operator": "local", "command": "head -c 3000000 /dev/zero > o; echo said", "outputs": ["o"],
         "files": {"run.sh": {"path": "scripts/run.sh"}}},
    ]));
    config["limits"] = json!({"attempt_mb": 1});
    let world = World::new(&config);
    world.write("scripts/run.sh", "true\n");
    world.init();
    world.run(&["loop", "r"]).code(1);
    world.run(&["amend", "r", "config", "limits.attempt_mb=100"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let all = attempts(&world, "a");
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[1]["directory"], all[0]["directory"], "nothing was computed twice");
    assert_eq!(consumed(&all[1]), consumed(&all[0]));
    assert_eq!(consumed(&all[1]).len(), 1);
    for key in ["job", "logs"] {
        assert_eq!(all[1][key], all[0][key], "{key}");
        assert!(all[1][key] != json!([]) && all[1][key] != Value::Null);
    }
}
