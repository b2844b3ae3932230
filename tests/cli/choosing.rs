//! Which tasks commands are about, what a dry run says, and a person's word on stale results.
use crate::support::terminal::typed_into;
use crate::support::world::World;
use matterstack::model::document::sha256;
use serde_json::{Value, json};

/// Two structures: of each a task that completes, one that fails, and one after that.
fn structures() -> Value {
    let three = |n: u32, operator: &str| {
        [
            json!({"id": format!("relax-{n}"), "operator": operator, "command": format!("echo {n} > r.dat"), "outputs": ["r.dat"]}),
            json!({"id": format!("static-{n}"), "operator": operator, "command": "sh static.sh", "outputs": ["s.dat"], "files": {
                "static.sh": {"path": "scripts/static.sh"}, "r.dat": {"from": format!("relax-{n}"), "output": "r.dat"}}}),
            json!({"id": format!("plot-{n}"), "operator": operator, "command": "cat s.dat", "files": {
                "s.dat": {"from": format!("static-{n}"), "output": "s.dat"}}}),
        ]
    };
    [three(0, "local"), three(1, "other")].concat().into()
}

/// A world with these tasks, two operators and the script of the structures, and a run `r`.
fn world(script: &str) -> World {
    let world = World::with_tasks(&json!([]));
    let mut config = crate::support::world::tasks_config(&structures());
    config["operators"]["other"] = config["operators"]["local"].clone();
    world.write("config.json", &config.to_string());
    world.write("scripts/static.sh", script);
    world.init();
    world
}

fn ids(world: &World, arguments: &[&str]) -> Vec<String> {
    let tasks = world.run(&[&["tasks", "r", "--json"], arguments].concat()).code(0).json();
    tasks.as_array().expect("a list").iter().map(|task| task["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn all_that_is_said_of_tasks_must_hold() {
    let world = world("exit 3");
    assert_eq!(ids(&world, &["--code", "dependency"]), ["static-0", "plot-0", "static-1", "plot-1"]);
    world.run(&["loop", "r"]).code(1);
    for (arguments, expected) in [
        (&["--state", "completed"][..], &["relax-0", "relax-1"][..]),
        (&["--state", "failed", "--operator", "other"], &["static-1"]),
        (&["*-1"], &["relax-1", "static-1", "plot-1"]),
        (&["*-1", "--state", "skipped"], &["plot-1"]),
        (&["relax-0"], &["relax-0"]),
        (&["relax-0", "--state", "failed"], &[]),
        (&["--code", "exit-code"], &["static-0", "static-1"]),
        (&["--code", "dependency-failed", "--operator", "local"], &["plot-0"]),
        (&["--iteration", "1", "--operator", "local"], &["relax-0", "static-0", "plot-0"]),
        (&["--iteration", "2"], &[]),
        (&["--state", "lost"], &[]),
        (&["--state", "stale"], &[]),
    ] {
        assert_eq!(ids(&world, arguments), expected, "{arguments:?}");
    }
    // a single pattern is one of the latest run's tasks
    let found = world.run(&["tasks", "plot-*", "--json"]).code(0).json();
    assert_eq!(found.as_array().map(Vec::len), Some(2));
    // those that do not move are explained, and one that is named
    let explained = |arguments: &[&str]| {
        let told = world.run(&[&["explain", "r", "--json"], arguments].concat()).code(0).json();
        told.as_array()
            .expect("a list")
            .iter()
            .map(|one| one["task"].as_str().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(explained(&["*-0"]), ["static-0", "plot-0"]);
    assert_eq!(explained(&["--operator", "other", "--code", "exit-code"]), ["static-1"]);
    assert_eq!(explained(&["relax-0"]), ["relax-0"]);
}

#[test]
fn what_matches_nothing_says_so_and_changes_nothing() {
    let world = world("exit 3");
    world.run(&["loop", "r"]).code(1);
    let acts = || world.evidence()["acts"].as_array().expect("acts").len();
    let before = acts();
    let none = world.run(&["tasks", "r", "--state", "failed", "--operator", "nobody"]).code(0);
    assert!(none.stderr.contains("the run has no failed task of operator `nobody`"), "{none:?}");
    let none = world.run(&["explain", "r", "--code", "oom"]).code(0);
    assert!(none.stderr.contains("no task with code `oom` of the run is stuck"), "{none:?}");
    for (arguments, words) in [
        (&["rerun", "r", "--operator", "nobody"][..], "no failed task of operator `nobody` to rerun"),
        (&["rerun", "r", "relax-*", "--state", "failed"], "no failed task `relax-*` to rerun"),
        (&["rerun", "r", "--code", "oom"], "no task with code `oom` to rerun"),
        (&["amend", "r", "task", "*", "env.A=1", "--iteration", "7"], "no task `*` of iteration 7"),
        (&["cancel", "r", "--operator", "nobody"], "no task of operator `nobody`"),
        (&["cancel", "r", "relax-*"], "every task `relax-*` has ended already"),
    ] {
        let refused = world.run(arguments).code(2);
        assert!(refused.stderr.contains(words), "{arguments:?} does not say {words}: {refused:?}");
    }
    for command in [
        &["tasks", "r"][..],
        &["explain", "r"],
        &["rerun", "r"],
        &["cancel", "r"],
        &["amend", "r", "task", "*", "env.A=1"],
    ] {
        let refused = world.run(&[command, &["--state", "faild"]].concat()).code(2);
        assert!(refused.stderr.contains("`faild` is no state of a task"), "{command:?}: {refused:?}");
        assert!(refused.stderr.contains("use pending, running"), "{command:?}: {refused:?}");
    }
    assert_eq!(acts(), before);
}

#[test]
fn chosen_tasks_are_changed_rerun_and_cancelled_and_no_others() {
    let world = world("exit 3");
    world.run(&["loop", "r"]).code(1);
    let amended = world.run(&["amend", "r", "task", "*-1", "env.A=1", "--state", "failed", "--json"]).code(0);
    assert_eq!(amended.json()["amended"], 1);
    assert!(amended.stderr.contains("`matterstack rerun r '*-1' --state failed`"), "{amended:?}");
    let rerun = world.run(&["rerun", "r", "--operator", "other", "--code", "exit-code", "--json"]).code(0);
    assert_eq!(rerun.json()["pending_again"], 2, "and what was skipped after it");
    assert_eq!(ids(&world, &["--state", "pending"]), ["static-1", "plot-1"]);
    let cancelled = world.run(&["cancel", "r", "--operator", "other", "--state", "pending"]).code(0);
    assert!(cancelled.stderr.contains("2 task(s) are cancelled"), "{cancelled:?}");
    assert_eq!(ids(&world, &["--state", "cancelled"]), ["static-1", "plot-1"]);
    let act = world.evidence()["acts"].as_array().expect("acts").last().expect("an act").clone();
    assert_eq!((&act["arguments"]["operator"], &act["arguments"]["state"]), (&json!("other"), &json!("pending")));
    world.is_sound("r");
}

/// Every file of the run with its digest, but for the database and what supervisors of jobs write and take away.
fn files(world: &World) -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![world.run_dir("r")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().expect("a type").is_dir() {
                folders.extend((name != "backends").then_some(path));
            } else if entry.file_type().expect("a type").is_file() && !name.starts_with("state.sqlite") {
                found.push((path.display().to_string(), sha256(&std::fs::read(&path).expect("a file"))));
            }
        }
    }
    found.sort();
    found
}

/// Gives a command as a dry run and in earnest: both say the same, and the first changes nothing. Of a plugin a dry run
/// says more: what it asks for, and what it decides otherwise.
fn tried(world: &World, arguments: &[&str]) {
    let looks = [&["status", "r", "--json"][..], &["tasks", "r", "--json"], &["explain", "r", "--json"]];
    let look = || (looks.map(|look| world.run(look).code(0).stdout), files(world));
    let before = look();
    let dry = world.run(&[arguments, &["--dry-run", "--json"]].concat()).code(0);
    assert_eq!(look(), before, "{arguments:?} as a dry run");
    let done = world.run(&[arguments, &["--json"]].concat()).code(0);
    if arguments.contains(&"plugin") {
        let mut said = dry.json();
        let keys = said.as_object_mut().expect("a document");
        for key in ["asks", "leaves", "decisions"] {
            assert!(keys.remove(key).is_some(), "{key}: {dry:?}");
        }
        assert_eq!(said, done.json(), "{arguments:?}");
    } else {
        assert_eq!(dry.stdout, done.stdout, "{arguments:?}");
    }
    assert_eq!(dry.stderr, format!("dry run, nothing is changed: {}", done.stderr), "{arguments:?}");
}

#[test]
fn a_dry_run_says_what_the_act_says_and_changes_nothing() {
    let world = world("exit 3");
    tried(&world, &["amend", "r", "task", "*-0", "env.A=1"]);
    tried(&world, &["cancel", "r", "plot-0"]);
    world.run(&["loop", "r"]).code(1);
    tried(&world, &["amend", "r", "task", "static-*", "resources.walltime_s=50"]);
    tried(&world, &["resume", "r"]);
    world.run(&["loop", "r"]).code(1);
    world.write("scripts/static.sh", "cat r.dat > s.dat");
    tried(&world, &["rerun", "r", "static-*", "--changed", "--set", "env.B=1"]);
    world.run(&["loop", "r"]).code(0);
    world.write("scripts/static.sh", "cat r.dat r.dat > s.dat");
    tried(&world, &["amend", "r", "file", "scripts/static.sh"]);
    tried(&world, &["rerun", "r", "--state", "stale", "--recursive"]);
    tried(&world, &["amend", "r", "config", "limits.max_active=7"]);
    let plugin =
        files(&world).into_iter().map(|(path, _)| path).find(|path| path.ends_with(".wasm")).expect("a plugin");
    let plugin_name = if plugin.contains("compute") { &["--operator", "local"][..] } else { &[] };
    tried(&world, &[&["amend", "r", "plugin", &plugin], plugin_name].concat());
    world.run(&["loop", "r"]).code(0);
    let mut grown = structures().as_array().expect("a list").clone();
    grown.push(json!({"id": "more", "operator": "local", "command": "true"}));
    tried(&world, &["amend", "r", "config", &format!("campaign.params.tasks={}", Value::from(grown))]);
    tried(&world, &["cancel", "r"]);
    world.is_sound("r");
}

#[test]
fn a_dry_run_refuses_what_the_act_refuses() {
    let world = world("exit 3");
    for arguments in [
        &["rerun", "r"][..],
        &["amend", "r", "task", "nobody", "env.A=1"],
        &["amend", "r", "config", "limits.max_active=500"],
        &["amend", "r", "file", "scripts/static.sh"],
        &["cancel", "r", "nobody"],
    ] {
        let (done, dry) = (world.run(arguments).code(2), world.run(&[arguments, &["--dry-run"]].concat()).code(2));
        assert_eq!(dry.stderr, done.stderr, "{arguments:?}");
    }
}

#[test]
fn a_list_in_an_input_that_has_grown_is_tried_out() {
    let world = World::with_tasks(&json!([]));
    let mut config = crate::support::world::tasks_config(&json!([]));
    config["campaign"]["params"] = json!({});
    config["campaign"]["inputs"] = json!({"tasks": "tasks.jsonl"});
    world.write("config.json", &config.to_string());
    world.write("tasks.jsonl", "{\"id\": \"a\", \"operator\": \"local\", \"command\": \"true\"}\n");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let two = "{\"id\": \"a\", \"operator\": \"local\", \"command\": \"true\"}\n{\"id\": \"b\", \"operator\": \"local\", \"command\": \"true\"}\n";
    world.write("tasks.jsonl", two);
    tried(&world, &["amend", "r", "file", "tasks.jsonl"]);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(ids(&world, &["--state", "completed"]), ["a", "b"]);
    world.is_sound("r");
}

/// A run that completed, with the script changed since: `static-0` and `static-1` are stale.
fn stale() -> World {
    let world = world("cat r.dat > s.dat");
    world.run(&["loop", "r"]).code(0);
    world.write("scripts/static.sh", "# only a comment\ncat r.dat > s.dat");
    world.run(&["amend", "r", "file", "scripts/static.sh"]).code(0);
    assert_eq!(ids(&world, &["--state", "stale"]), ["static-0", "static-1"]);
    world
}

#[test]
fn stale_results_are_taken_as_they_are() {
    let world = stale();
    let told = world.run(&["settle", "r", "static-0", "--completed", "--reason", "a comment only"]).code(0);
    assert!(
        told.stderr.contains("not stale any more") && told.stderr.contains("1 completed task(s) are stale"),
        "{told:?}"
    );
    assert_eq!(ids(&world, &["--state", "stale"]), ["static-1"]);
    assert_eq!(world.status()["state"], "completed", "nothing runs");
    let attempts = world.run(&["attempts", "r", "static-0", "--json"]).code(0).json();
    assert_eq!((&attempts[1]["state"], &attempts[1]["outputs"]), (&json!("completed"), &attempts[0]["outputs"]));
    assert_eq!(attempts[0]["inputs"], attempts[1]["inputs"], "the record says what they were made of");
    let act = world.evidence()["acts"].as_array().expect("acts").last().expect("an act").clone();
    assert_eq!((&act["verb"], &act["reason"]), (&json!("settle"), &json!("a comment only")));
    let again = world.run(&["settle", "r", "static-0", "--completed"]).code(2);
    assert!(again.stderr.contains("is not stale"), "{again:?}");
    world.is_sound("r");
}

#[test]
fn stale_results_that_are_given_up_fail_their_task() {
    let world = stale();
    let told = world.run(&["settle", "r", "static-0", "--failed", "--reason", "the script was wrong"]).code(0);
    assert!(told.stderr.contains("task `static-0` is given up; 2 completed task(s) are stale"), "{told:?}");
    assert_eq!(ids(&world, &["--state", "failed"]), ["static-0"]);
    // what has taken its outputs is stale now, and the campaign hears of it
    assert_eq!(ids(&world, &["--state", "stale"]), ["plot-0", "static-1"]);
    assert_eq!(world.status()["state"], "active");
    world.run(&["loop", "r"]).code(1);
    let attempts = world.run(&["attempts", "r", "static-0", "--json"]).code(0).json();
    let reason = attempts[1]["reason"].as_str().expect("a reason");
    assert!(reason.contains("attempt 1 was given up") && reason.contains("the script was wrong"), "{reason}");
    // and so on along the chain
    world.run(&["settle", "r", "plot-0", "--failed"]).code(0);
    assert_eq!(ids(&world, &["--state", "stale"]), ["static-1"]);
    world.is_sound("r");
    world.run(&["rerun", "r", "static-0", "--recursive"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.is_sound("r");
}

#[test]
fn at_a_terminal_a_rerun_asks_which_copy_is_meant() {
    for (answer, code, runs_with) in [("y", 0, "new"), ("no", 0, "old"), ("perhaps", 2, "")] {
        let world = world("echo old; exit 3");
        world.run(&["loop", "r"]).code(1);
        world.write("scripts/static.sh", "echo new; exit 3");
        let (ended, shown) = typed_into(&world, &format!("[y/n]={answer}"), &["rerun", "r", "static-0"]);
        assert!(shown.contains("`scripts/static.sh` differs from the copy that the run has"), "{shown}");
        assert_eq!(ended, Some(code), "{shown}");
        if runs_with.is_empty() {
            assert!(shown.contains("neither yes nor no; nothing is changed"), "{shown}");
            continue;
        }
        world.run(&["loop", "r"]).code(1);
        let logs = world.run(&["logs", "r", "static-0"]).code(0);
        assert_eq!(logs.stdout.trim(), runs_with, "{shown}");
    }
}
