//! Outputs of other runs as inputs: brought into the run when it is made, or when its list grows.
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};

const TAKES: &str = "cat in/*";

/// A workspace with a run `first`, whose task `a/b` left `out/n.dat`, and whose task `fails` left nothing.
fn world() -> World {
    let world = World::new(&tasks_config(&json!([
        {"id": "a/b", "operator": "local", "command": "mkdir out; echo 42 > out/n.dat; chmod +x out/n.dat", "outputs": ["out/*"]},
        {"id": "fails", "operator": "local", "command": "false", "allow_failure": true},
    ])));
    world.run(&["init", "demo", "--run-id", "first"]).code(0);
    world.run(&["loop", "first"]).code(0);
    world
}

fn configure(world: &World, config: &Value) {
    world.write("config.json", &config.to_string());
}

fn taking(source: Value) -> Value {
    tasks_config(&json!([
        {"id": "take", "operator": "local", "command": "cat n && test -x n", "files": {"n": source}},
    ]))
}

fn of_first(task: &str, output: &str) -> Value {
    json!({"run": "first", "from": task, "output": output})
}

#[test]
fn an_output_of_another_run_is_in_the_run_from_its_beginning() {
    let world = world();
    configure(&world, &taking(of_first("a/b", "out/n.dat")));
    world.run(&["config", "check", "demo"]).code(0);
    world.init();
    // it needs the other run no more
    std::fs::remove_dir_all(world.run_dir("first")).expect("gone");
    let notes = world.run(&["step", "r", "--dry-run", "--json"]).code(0).json()[0].clone();
    assert!(notes.to_string().contains("from output out/n.dat of task a/b of run first"), "{notes}");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["logs", "r", "take"]).code(0).stdout, "42\n");
    let inputs = world.run(&["attempts", "r", "take", "--json"]).code(0).json()[0]["inputs"].clone();
    assert_eq!((&inputs[0]["destination"], &inputs[0]["from_path"]), (&json!("n"), &json!("//first/a%2Fb/out/n.dat")));
    world.run(&["doctor", "r"]).code(0);
    world.run(&["replay", "r"]).code(0);
    world.is_sound("r");
}

#[test]
fn a_list_that_grows_may_name_another_run() {
    let world = world();
    let task = |id: &str, files: Value| json!({"id": id, "operator": "local", "command": "cat n", "files": files});
    let plain = task("plain", json!({"n": {"content": "0\n"}}));
    configure(&world, &tasks_config(&json!([plain])));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let longer = json!([plain, task("late", json!({"n": of_first("a/b", "out/n.dat")}))]);
    world.run(&["amend", "r", "config", &format!("campaign.params.tasks={longer}")]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["logs", "r", "late"]).code(0).stdout, "42\n");
    // what was never brought in cannot be named afterwards
    let files = json!({"n": of_first("a/b", "out/other.dat")});
    let refused = world.run(&["amend", "r", "task", "late", &format!("files={files}")]).code(2);
    assert!(refused.stderr.contains("output `out/other.dat` of task `a/b` of run `first`"), "{}", refused.stderr);
    world.is_sound("r");
}

#[test]
fn an_input_of_one_task_a_line_may_name_another_run() {
    let world = world();
    let lines: Vec<String> = (0..3)
        .map(|number| {
            let files = json!({"n": of_first("a/b", "out/n.dat")});
            json!({"id": format!("t{number}"), "operator": "local", "command": "cat n", "files": files}).to_string()
        })
        .collect();
    world.write("tasks.jsonl", &lines.join("\n"));
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "builtin:workflow", "inputs": {"tasks": "tasks.jsonl"}});
    configure(&world, &config);
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["logs", "r", "t2"]).code(0).stdout, "42\n");
    // a run that is a link is none of the workspace
    std::os::unix::fs::symlink("first", world.run_dir("second")).expect("a link");
    configure(&world, &taking(json!({"run": "second", "from": "a/b", "output": "out/n.dat"})));
    let refused = world.run(&["init", "demo", "--run-id", "s"]).code(2);
    assert!(refused.stderr.contains("the workspace has no run `second`"), "{}", refused.stderr);
}

#[test]
fn what_another_run_does_not_have_is_refused_when_the_run_is_made() {
    let world = world();
    for (source, said) in [
        (json!({"run": "frist", "from": "a/b", "output": "out/n.dat"}), "the workspace has no run `frist`"),
        (json!({"run": "../first", "from": "a/b", "output": "out/n.dat"}), "the workspace has no run `../first`"),
        (of_first("c", "out/n.dat"), "that run has no such task"),
        (of_first("fails", "out/n.dat"), "the task is failed"),
        (of_first("a/b", "out/m.dat"), "did you mean `out/n.dat`?"),
        (of_first("a/b", "../../state.sqlite"), "it left no such file"),
    ] {
        configure(&world, &taking(source.clone()));
        for command in [vec!["config", "check", "demo"], vec!["init", "demo", "--run-id", "r"]] {
            let refused = world.run(&command).code(2);
            assert!(refused.stderr.contains(said), "{source}: {}", refused.stderr);
        }
        assert!(!world.run_dir("r").exists(), "{source}");
    }
    let folder = json!({"in/": of_first("a/b", "out/n.dat")});
    configure(&world, &tasks_config(&json!([{"id": "t", "operator": "local", "command": TAKES, "files": folder}])));
    let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
    assert!(refused.stderr.contains("name the files in it one by one"), "{}", refused.stderr);
}

#[test]
fn an_output_that_was_changed_since_is_not_taken() {
    let world = world();
    let listed = world.run(&["attempts", "first", "a/b", "--json"]).code(0).json();
    let directory = listed[0]["directory"].as_str().expect("a directory").to_owned();
    let output = world.run_dir("first").join(directory).join("out/n.dat");
    std::fs::write(&output, "43\n").expect("changed");
    configure(&world, &taking(of_first("a/b", "out/n.dat")));
    let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
    assert!(refused.stderr.contains("was changed after run `first` recorded it"), "{}", refused.stderr);
    // nor what is not there, or another thing in its place
    std::fs::remove_file(&output).expect("removed");
    world.run(&["init", "demo", "--run-id", "r"]).code(2);
    std::fs::create_dir(&output).expect("a directory");
    let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
    assert!(refused.stderr.contains("`matterstack doctor first` looks"), "{}", refused.stderr);
    assert!(!world.run_dir("r").exists());
}
