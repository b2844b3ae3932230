//! Folders and patterns as inputs of a task.
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::path::Path;

fn with_files(tasks: &Value) -> World {
    let mut config = tasks_config(tasks);
    config["campaign"]["files"] = json!(["inputs/**"]);
    let world = World::new(&config);
    for (path, text) in [
        ("inputs/set1/a.dat", "1"),
        ("inputs/set1/sub/b.dat", "2"),
        ("inputs/set1/__pycache__/a.pyc", "old"),
        ("inputs/set1/c.pyc", "old"),
        ("inputs/set12/d.dat", "3"),
    ] {
        world.write(path, text);
    }
    world
}

fn task(id: &str, command: &str, files: Value, outputs: Value) -> Value {
    json!({"id": id, "operator": "local", "command": command, "files": files, "outputs": outputs})
}

fn attempts(world: &World, task: &str) -> Value {
    world.run(&["attempts", "r", task, "--json"]).code(0).json()
}

fn is_sound(world: &World) {
    world.run(&["replay", "r"]).code(0);
    world.run(&["doctor", "r"]).code(0);
    let bundle = world.run(&["evidence", "r"]).code(0);
    assert!(!bundle.stderr.contains("warning"), "{bundle:?}");
}

/// Every file that the last attempt at a task consumed: where it went, and its path where it comes from.
fn consumed(world: &World, task: &str) -> Vec<(String, String)> {
    let attempts = attempts(world, task);
    let inputs = attempts.as_array().and_then(|all| all.last()).expect("an attempt")["inputs"].clone();
    let text = |input: &Value, key: &str| input[key].as_str().expect("a text").to_owned();
    let inputs = inputs.as_array().expect("a list").iter();
    inputs.map(|input| (text(input, "destination"), text(input, "from_path"))).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(to, from)| ((*to).to_owned(), (*from).to_owned())).collect()
}

#[test]
fn folders_and_patterns_bring_every_file_and_each_is_recorded() {
    let world = with_files(&json!([
        task(
            "a",
            "find data -type f | sort > list; mkdir -p out/x; cp data/a.dat out/1.dat; cp data/sub/b.dat out/x/2.dat; echo > out/n.log",
            json!({"data/": {"path": "inputs/set1"}, "data/more.dat": {"content": "4"}}),
            json!(["list", "out/**"])
        ),
        task(
            "b",
            "find got here -type f | sort > list; echo 5 > got/new.dat",
            json!({
                "got/": {"from": "a", "output": "out/**/*.dat", "stage": "link"},
                "here/": {"from": "a", "output": "{list,none/*}"},
            }),
            json!(["list", "got/*"])
        ),
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let read = |task: &str, path: &str| {
        let attempts = attempts(&world, task);
        let directory = attempts[0]["directory"].as_str().expect("a directory");
        std::fs::read_to_string(world.run_dir("r").join(Path::new(directory)).join(path)).expect("a file")
    };
    assert_eq!(read("a", "list"), "data/a.dat\ndata/more.dat\ndata/sub/b.dat\n");
    assert_eq!(read("b", "list"), "got/1.dat\ngot/x/2.dat\nhere/list\n");
    assert_eq!(
        consumed(&world, "a"),
        pairs(&[("data/a.dat", "inputs/set1/a.dat"), ("data/sub/b.dat", "inputs/set1/sub/b.dat")])
    );
    assert_eq!(
        consumed(&world, "b"),
        pairs(&[("got/1.dat", "out/1.dat"), ("got/x/2.dat", "out/x/2.dat"), ("here/list", "list")])
    );
    let left: Vec<Value> = attempts(&world, "b")[0]["outputs"].as_array().expect("a list").clone();
    let left: Vec<&Value> = left.iter().map(|output| &output["path"]).collect();
    assert_eq!(left, ["got/new.dat", "list"], "what was staged is no output");
    is_sound(&world);
    // what a later run takes over is told file by file
    let reusing = |run: &str| {
        world.run(&["init", "demo", "--run-id", run, "--reuse", "r"]).code(0);
        world.run(&["loop", run]).code(0);
        let tasks = world.run(&["tasks", run, "--json"]).code(0).json();
        tasks.as_array().expect("a list").iter().map(|task| !task["reused"].is_null()).collect::<Vec<bool>>()
    };
    assert_eq!(reusing("same"), [true, true]);
    world.write("inputs/set1/sub/b.dat", "7");
    assert_eq!(reusing("other"), [false, false]);
    // and a file of a folder that is another one now makes what has used it stale
    world.run(&["amend", "r", "file", "inputs/set1/sub/b.dat"]).code(0);
    assert_eq!(world.status()["stale"], 1);
    world.run(&["rerun", "r", "a", "--recursive"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["stale"], 0);
    is_sound(&world);
}

#[test]
fn a_pattern_that_names_nothing_fails_its_attempt() {
    let world = with_files(&json!([
        task("a", "echo > x.csv; echo > y.dat", json!({}), json!(["*.{csv,dat}"])),
        task("none", "true", json!({"in/": {"from": "a", "output": "z*.dat"}}), json!([])),
        task("twice", "true", json!({"in/": {"from": "a", "output": "*.csv"}, "in/x.csv": {"content": ""}}), json!([])),
    ]));
    world.init();
    world.run(&["loop", "r"]).code(1);
    for (task, words) in [
        ("none", "`z*.dat` names no output of task `a`: it left `x.csv`, `y.dat`"),
        ("twice", "file `in/x.csv` would be there twice: `in/` brings one too"),
    ] {
        let reason = attempts(&world, task)[0]["reason"].to_string();
        assert!(reason.contains(words), "{task}: {reason}");
    }
    is_sound(&world);
}

#[test]
fn folders_that_can_hold_nothing_are_refused_when_they_are_planned() {
    let files = |files: Value| json!([task("a", "true", files, json!([]))]);
    let from = |output: &str| {
        let taker = task("b", "true", json!({"in/": {"from": "a", "output": output}}), json!([]));
        json!([task("a", "true", json!({}), json!(["out/*.dat", "log"])), taker])
    };
    for (tasks, words) in [
        (files(json!({"data/": {"path": "inputs/none"}})), "names folder `inputs/none`, of which no pattern"),
        (files(json!({"data/": {"path": "inputs/set1/a.dat"}})), "names folder `inputs/set1/a.dat`"),
        (files(json!({"data": {"path": "inputs/set1"}})), "let the destination end in a slash, `data/`"),
        (files(json!({"data/": {"content": ""}})), "folder `data/` cannot be a text"),
        (files(json!({"../data/": {"path": "inputs/set1"}})), "outside its attempt directory"),
        (files(json!({"stdout/": {"path": "inputs/set1"}})), "is a name for what the host writes"),
        (files(json!({"d/": {"path": "inputs/set1"}, "d": {"content": ""}})), "would be one file"),
        (files(json!({"d/": {"path": "inputs/set1"}, "d/a.dat": {"content": ""}})), "`d/a.dat` would be there twice"),
        (
            files(json!({"d/": {"path": "inputs/set1"}, "d/sub": {"content": ""}})),
            "file `d/sub/b.dat` cannot be staged: file `d/sub` is in the way",
        ),
        (
            files(json!({"d/": {"path": "inputs/set1"}, "d/sub/": {"path": "inputs/set1/sub"}})),
            "`d/sub/b.dat` would be there twice",
        ),
        (from("*.dat"), "files `*.dat` of task `a` can never be there: none of that task's output patterns names it"),
        (from("out/*.csv"), "can never be there"),
        (from("out/"), "is no pattern"),
    ] {
        let world = with_files(&tasks);
        let done = world.run(&["init", "demo", "--run-id", "r"]).code(2);
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
}

#[test]
fn what_cannot_be_looked_into_by_an_operator_comes_as_single_files() {
    let world = with_files(&json!([]));
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "builtin:workflow", "files": ["inputs/**"], "params": {"tasks": [
        {"id": "a", "operator": "kit", "command": ["cp", "data/sub/b.dat", "o"], "outputs": ["**"],
         "files": {"data/": {"path": "inputs/set1"}}},
    ]}});
    config["operators"] = json!({"kit": {"plugin": "builtin:manual-hpc", "config": {"settle_s": 0}}});
    world.write("config.json", &config.to_string());
    world.init();
    world.run(&["step", "r"]).code(0);
    let directory = attempts(&world, "a")[0]["directory"].as_str().expect("a directory").to_owned();
    let kits = world.run_dir("r").join(directory);
    let script =
        walk(&kits).into_iter().find(|text| text.contains("./data/sub/b\\.dat") || text.contains("./data/sub/b.dat"));
    assert!(script.is_some(), "the job's script tells what was staged from what the job left");
}

/// The text of every file below a folder.
fn walk(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => walk(&path),
            path => std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).into_iter().collect(),
        })
        .collect()
}
