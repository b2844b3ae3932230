//! Which run and which task a command is about, where a person leaves the run out.
use crate::support::world::{Done, World};
use serde_json::{Value, json};

/// A world with runs of a task `a`, made in this order.
fn world(ids: &[&str]) -> World {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    for id in ids {
        world.run(&["init", "demo", "--run-id", id]).code(0);
    }
    world
}

fn run_of(done: Done) -> Value {
    done.code(0).json()["run_id"].clone()
}

#[test]
fn the_latest_run_is_the_one_that_was_made_last_whatever_its_name() {
    let world = world(&["zz", "20261126T101500Z-00000000", "m", "aa"]);
    for arguments in [&["status", "--json"][..], &["status", "latest", "--json"], &["step", "--json"]] {
        assert_eq!(run_of(world.run(arguments)), "aa", "{arguments:?}");
    }
    // what moves a run says which it was, also where data is printed
    for arguments in [&["step", "--json"][..], &["loop", "latest", "--json"]] {
        let told = world.run(arguments).code(0);
        assert!(told.stderr.starts_with("run `aa` is the latest\n"), "{told:?}");
    }
    let told = world.run(&["step", "aa"]).code(0);
    assert!(!told.stderr.contains("is the latest"), "{told:?}");
    // of two runs of one second the later one
    let ids = [0, 1, 2].map(|_| world.run(&["init", "demo"]).code(0).stdout.trim().to_owned());
    assert_eq!(run_of(world.run(&["status", "--json"])), ids[2].as_str(), "{ids:?}");
}

#[test]
fn in_a_workspace_the_latest_run_is_one_of_its_own() {
    let world = world(&["mine"]);
    let other = world.root().join("other/nested");
    std::fs::create_dir_all(&other).expect("a workspace");
    std::fs::copy(world.workspace().join("config.json"), other.join("config.json")).expect("a configuration");
    world.run(&["init", "other/nested", "--run-id", "theirs"]).code(0);
    let there = |directory: std::path::PathBuf| {
        let out = world.command(&["status", "--json"]).current_dir(directory).output().expect("the binary runs");
        serde_json::from_slice::<Value>(&out.stdout).expect("JSON")["run_id"].clone()
    };
    assert_eq!(there(world.workspace().join("runs")), "mine");
    assert_eq!(there(other), "theirs");
    assert_eq!(there(world.root()), "theirs");
}

#[test]
fn a_single_word_names_a_run_or_a_task_of_the_latest() {
    let world = world(&["b", "r"]);
    let about = |arguments: &[&str]| world.run(arguments).code(0).json();
    assert_eq!(about(&["explain", "--json"]), about(&["explain", "r", "--json"]));
    assert_eq!(about(&["explain", "a", "--json"]), about(&["explain", "r", "a", "--json"]));
    assert_eq!(about(&["attempts", "a", "--json"]), json!([]));
    let neither = world.run(&["explain", "nobody"]).code(2);
    assert!(neither.stderr.contains("no run `nobody`"), "{neither:?}");
    for command in ["attempts", "respond"] {
        let no_task = world.run(&[command, "b"]).code(2);
        assert!(no_task.stderr.contains("`b` names run `b`, and which task of it is meant is not said"), "{no_task:?}");
    }
    // a run and a task of one name
    world.run(&["init", "demo", "--run-id", "a"]).code(0);
    let both = world.run(&["explain", "a"]).code(2);
    assert!(both.stderr.contains("names run `a`, and a task of the latest run `a`"), "{both:?}");
    assert!(both.stderr.contains("`a a` for the task"), "{both:?}");
    assert_eq!(about(&["explain", "a", "a", "--json"])[0]["task"], "a");
}
