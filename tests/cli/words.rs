//! What a person reads leads where it says, and agrees with itself.
use crate::support::disk::Disk;
use crate::support::world::{Done, World, tasks_config};
use crate::support::{guest, until};
use matterstack::run::RunDir;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What `doctor` says where there is little room.
const LITTLE: &str = "make room: `matterstack du` says what runs take";

/// Gives a command a minute, so that one that waits for a pipe fails the test and does not hang it.
#[track_caller]
fn in_time(world: &World, arguments: &[&str]) -> Done {
    let mut command = world.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let start = Instant::now();
    while child.try_wait().expect("it can be asked").is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().expect("it is ours");
            panic!("{arguments:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("its output");
    Done {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn command(name: &str, arguments: &[&str], path: &Path) {
    let done = Command::new(name).args(arguments).arg(path).status().expect("the program runs");
    assert!(done.success(), "{name}");
}

/// A world whose two tasks wait to be stopped, one in a slot each.
fn two_sleepers() -> World {
    let task = |id: &str| json!({"id": id, "operator": "local", "command": "echo > up; exec sleep 600"});
    let world = World::with_tasks(&json!([task("a"), task("b")]));
    world.init();
    world.run(&["step", "r"]).code(0);
    until("two jobs", || {
        world.run(&["step", "r"]).code(0);
        let running = |id| world.run(&["attempts", "r", id, "--json"]).json()[0]["state"] == "running";
        running("a") && running("b")
    });
    world
}

fn stop(world: &World, run: &str) {
    world.run(&["cancel", run]).code(0);
    until("the end", || world.run(&["step", run, "--json"]).json()["state"] == "cancelled");
}

#[test]
fn hints_for_a_copy_name_the_copy() {
    let world = two_sleepers();
    let copy = world.workspace().join("runs/copy1");
    let original = world.run_dir("r");
    command("cp", &["-a", original.to_str().expect("UTF-8")], &copy);
    let refused = world.run(&["step", "copy1"]).code(2);
    assert!(refused.stderr.contains("`matterstack adopt copy1`"), "{refused:?}");
    let outside = world.root().parent().expect("a parent").join("elsewhere");
    command("cp", &["-a", original.to_str().expect("UTF-8")], &outside);
    let path = std::fs::canonicalize(&outside).expect("a path").display().to_string();
    let refused = world.run(&["step", &path]).code(2);
    assert!(refused.stderr.contains(&format!("`matterstack adopt {path}`")), "{refused:?}");
    let adopted = world.run(&["adopt", "copy1", "--json"]).code(0).json();
    assert_eq!(adopted["lost"], 2, "{adopted}");
    for explained in world.run(&["explain", "copy1", "--json"]).code(0).json().as_array().expect("a list") {
        let command = explained["command"].as_str().unwrap_or(" copy1");
        assert!(command.contains(" copy1"), "{explained}");
    }
    let brought = world.run(&["rerun", "copy1", "--state", "lost", "--json"]).code(0).json();
    assert_eq!(brought["pending_again"], 2, "{brought}");
    stop(&world, "r");
}

#[test]
fn hints_for_a_run_given_as_a_directory_name_the_directory() {
    let world = World::with_tasks(&json!([{"id": "-a b", "operator": "local", "command": "false"}]));
    world.init();
    world.run(&["loop", "r"]).code(1);
    let elsewhere = world.root().parent().expect("a parent").join("taken away/r");
    std::fs::create_dir_all(elsewhere.parent().expect("a parent")).expect("a directory");
    command("cp", &["-a", world.run_dir("r").to_str().expect("UTF-8")], &elsewhere);
    std::fs::rename(world.run_dir("r"), world.root().join("gone")).expect("the id leads nowhere now");
    let real = std::fs::canonicalize(&elsewhere).expect("a path").display().to_string();
    let name = format!("'{real}'");
    for (arguments, hint) in [
        (vec!["rerun", &real, "nothing"], format!("`matterstack tasks {name}`")),
        (vec!["cancel", &real, "nothing"], format!("`matterstack tasks {name}`")),
        (vec!["kit", "export", &real], format!("`matterstack explain {name}`")),
        (vec!["kit", "export", &real, "nothing"], format!("`matterstack tasks {name}`")),
        (vec!["kit", "export", &real, "--", "-a b"], format!("`matterstack explain {name} -- '-a b'`")),
    ] {
        let refused = world.run(&arguments).code(2);
        assert!(refused.stderr.contains(&hint), "{arguments:?} does not say {hint}: {refused:?}");
    }
    let only = RunDir::new(&elsewhere).loop_lease(Duration::ZERO).expect("the right to loop");
    let refused = world.run(&["loop", &real]).code(3);
    assert!(refused.stderr.contains(&format!("`matterstack status {name} --watch`")), "{refused:?}");
    drop(only);
    // The page names the directory it lies in, so that what it says is true of every copy.
    world.run(&["evidence", &real]).code(0);
    let page = std::fs::read_to_string(elsewhere.join("evidence/README.md")).expect("the page");
    assert!(page.contains("In the run's directory, `matterstack resume .` brings it back"), "{page}");
    let back = world.command(&["resume", "."]).current_dir(&elsewhere).output().expect("the binary runs");
    assert!(back.status.success(), "{back:?}");
    world.run(&["pause", &real]).code(0);
    let refused = world.run(&["rerun", &real, "--", "-a b"]).code(2);
    assert!(refused.stderr.contains(&format!("`matterstack explain {name} -- '-a b'`")), "{refused:?}");
}

#[test]
fn cancelling_a_task_counts_its_own_attempts_and_ids_are_short() {
    let world = two_sleepers();
    let attempts = world.run(&["attempts", "r", "a", "--json"]).code(0).json();
    let id = attempts[0]["external_id"].as_str().expect("an id");
    let (host, pid) = id.rsplit_once(':').expect("HOST:PID");
    assert!(!host.is_empty() && !host.contains('{') && pid.parse::<u32>().is_ok(), "{id}");
    let done = world.run(&["cancel", "r", "a"]).code(0);
    assert!(!done.stderr.contains("2 attempt"), "{done:?}");
    stop(&world, "r");
}

#[test]
fn status_and_explain_agree_on_ready_tasks() {
    let mut config = tasks_config(&json!([
        {"id": "-a", "operator": "local", "command": "sleep 600"},
        {"id": "-b", "operator": "local", "command": "sleep 600"},
    ]));
    config["limits"] = json!({"max_active": 1});
    let world = World::new(&config);
    world.init();
    assert_eq!(world.status()["waiting_on"], json!([]), "the next tick starts one of them");
    world.run(&["step", "r"]).code(0);
    let wait = |status: Value| {
        let found = status["waiting_on"].as_array().expect("a list").iter().find(|wait| wait["task"] == "-b").cloned();
        found.expect("the second task waits")
    };
    let wait = wait(world.status());
    let explained = world.run(&["explain", "r", "--json", "--", "-b"]).code(0).json()[0].clone();
    assert_eq!((&wait["kind"], &explained["code"]), (&json!("capacity"), &json!("capacity")), "{wait} {explained}");
    assert_eq!(wait["reason"], explained["sentence"]);
    assert_eq!(wait["hint"], "matterstack explain r -- -b");
    stop(&world, "r");
}

#[test]
fn a_moved_run_is_of_the_workspace_that_it_lies_in() {
    let world = World::with_tasks(&json!([]));
    world.init();
    let other = world.root().join("other/runs");
    std::fs::create_dir_all(&other).expect("a workspace");
    std::fs::rename(world.run_dir("r"), other.join("r")).expect("a move");
    assert_eq!(world.status()["workspace"], "other");
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let names = ["config.json", "state.sqlite", "lock", "lock.next", "loop.lock"];
    for (name, pipe) in names.iter().flat_map(|name| [(name, true), (name, false)]) {
        let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
        world.init();
        let place = world.run_dir("r").join(name);
        let aside = world.run_dir("r").join("aside");
        // None of the locks need be there yet.
        let _ = std::fs::rename(&place, aside);
        if pipe {
            command("mkfifo", &[], &place);
        } else {
            std::fs::create_dir(&place).expect("a directory");
        }
        let done = in_time(&world, &["loop", "r"]).code(74);
        assert_eq!(done.stderr.matches("hint:").count(), 1, "{name}: {done:?}");
        assert!(!done.stderr.contains("must have locks"), "{name}: {done:?}");
        assert!(done.stderr.contains(name), "{name} is not named: {done:?}");
        if *name != "loop.lock" {
            in_time(&world, &["doctor", "r"]).code(1);
            in_time(&world, &["step", "r"]).code(74);
        }
        if *name == "state.sqlite" {
            in_time(&world, &["status", "r"]).code(74);
        }
    }
}

#[test]
fn explain_shows_a_person_fifty_tasks() {
    let tasks: Vec<Value> =
        (0..60).map(|n| json!({"id": format!("t{n}"), "operator": "local", "command": "true"})).collect();
    let world = World::with_tasks(&json!(tasks));
    world.init();
    let text = world.run(&["explain", "r"]).code(0);
    assert_eq!(text.stdout.lines().count(), 51, "{text:?}");
    assert!(text.stderr.contains("and 10 more; `matterstack explain r --json` prints all"), "{text:?}");
    assert_eq!(world.run(&["explain", "r", "--json"]).code(0).json().as_array().map(Vec::len), Some(60));
}

#[test]
fn status_counts_what_it_does_not_show() {
    let tasks: Vec<Value> = (0..12)
        .map(|n| json!({"id": format!("q{n}"), "operator": "human", "input": {"instructions": "Go on?"}}))
        .chain([json!({"id": "kit", "operator": "kit", "command": "true"})])
        .collect();
    let mut config = tasks_config(&json!(tasks));
    config["operators"]["human"] = json!({"plugin": "builtin:human"});
    config["operators"]["kit"] = json!({"plugin": "builtin:manual-hpc"});
    let world = World::new(&config);
    world.init();
    world.run(&["loop", "r"]).code(5);
    let text = world.run(&["status", "r"]).code(0).stdout;
    assert!(text.contains("and more, in all 1 `kit`, 12 `person`; `matterstack explain r --json`"), "{text}");
    stop(&world, "r");
}

#[test]
fn status_stops_counting_where_a_person_does() {
    let tasks: Vec<Value> =
        (0..1_100).map(|n| json!({"id": format!("t{n}"), "operator": "local", "command": ["sleep", "600"]})).collect();
    let mut config = tasks_config(&json!(tasks));
    config["limits"]["max_active"] = json!(1);
    let world = World::new(&config);
    world.init();
    world.run(&["step", "r"]).code(0);
    let text = world.run(&["status", "r"]).code(0).stdout;
    assert!(text.contains("and more, in all 1 `scheduler`, more than 1000 `capacity`;"), "{text}");
    stop(&world, "r");
}

#[test]
fn what_cannot_start_yet_is_in_the_status() {
    let mut config = tasks_config(&json!([{"id": "a", "operator": "robot", "input": {}}]));
    let world = World::new(&config);
    let exchange = world.root().join("exchange");
    config["operators"]["robot"] = json!({"plugin": "builtin:experiment", "grants": {"exchange": exchange}});
    world.write("config.json", &config.to_string());
    world.init();
    world.run(&["step", "r"]).code(0);
    let wait = world.status()["waiting_on"][0].clone();
    assert_eq!((&wait["kind"], &wait["hint"]), (&json!("turned-away"), &json!("matterstack explain r a")), "{wait}");
    assert!(wait["reason"].as_str().is_some_and(|reason| reason.contains("exchange")), "{wait}");
    std::fs::create_dir(&exchange).expect("a directory");
    world.run(&["loop", "r"]).code(5);
    assert_eq!(world.status()["waiting_on"][0]["kind"], "instrument");
}

#[test]
fn a_mistake_in_an_operators_configuration_is_mended_by_the_command_shown() {
    let mut config = tasks_config(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    // what the host brings itself is checked before; of a plugin only it knows
    config["operators"]["local"] =
        json!({"plugin": "own.wasm", "grants": {"compute": ["local"]}, "config": {"lancher": ["nice"]}});
    let world = World::new(&config);
    std::fs::copy(crate::support::component("operator-compute"), world.workspace().join("own.wasm")).expect("a plugin");
    world.init();
    world.run(&["loop", "r"]).code(1);
    let explained = world.run(&["explain", "r", "a", "--json"]).code(0).json()[0].clone();
    assert_eq!(explained["code"], "config");
    assert_eq!(explained["command"], "matterstack amend r config operators.local.config=VALUE && matterstack resume r");
    world.run(&["amend", "r", "config", "operators.local.config={\"launcher\": [\"nice\"]}"]).code(0);
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(0);
}

#[test]
fn a_dry_run_shows_a_command_behind_its_launcher() {
    let mut config = tasks_config(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    config["operators"]["local"]["config"] = json!({"launcher": ["nice"]});
    let world = World::new(&config);
    world.init();
    let script = world.run(&["step", "r", "--dry-run", "--json"]).code(0).json()[0]["script"].clone();
    assert_eq!(script, "#!/bin/sh\nexec nice /bin/sh -c true\n");
}

#[test]
fn a_run_that_is_being_cancelled_advises_no_rerun() {
    let mut config = tasks_config(&json!([
        {"id": "question", "operator": "human", "input": {"instructions": "Go on?"}},
        {"id": "film", "operator": "robot", "input": {}},
    ]));
    config["operators"]["human"] = json!({"plugin": "builtin:human"});
    config["operators"]["robot"] = json!({"plugin": "builtin:experiment"});
    let world = World::new(&config);
    world.init();
    world.run(&["loop", "r"]).code(5);
    world.run(&["cancel", "r"]).code(0);
    world.run(&["step", "r"]).code(0);
    assert_eq!(world.status()["state"], "cancelling", "the laboratory has not answered");
    let explained = world.run(&["explain", "r", "question", "--json"]).code(0).json()[0].clone();
    assert_eq!((&explained["code"], &explained["command"]), (&json!("cancelled"), &json!(null)), "{explained}");
}

#[test]
fn what_waits_for_a_core_is_queued_wherever_one_looks() {
    let tasks: Vec<Value> =
        (0..60).map(|n| json!({"id": format!("t{n}"), "operator": "local", "command": "exec sleep 600"})).collect();
    let world = World::with_tasks(&json!(tasks));
    world.init();
    until("both cores are busy", || {
        world.run(&["step", "r"]).code(0);
        world.status()["tasks"]["running"] == 2
    });
    let counts = world.status()["tasks"].clone();
    assert_eq!((&counts["queued"], &counts["running"]), (&json!(58), &json!(2)), "{counts}");
    assert!(world.run(&["status", "r"]).stdout.contains("58 queued, 2 running"));
    let with = |text: &str, word: &str| text.lines().filter(|line| line.contains(&format!(" {word} "))).count();
    let listed = world.run(&["tasks", "r"]).code(0).stdout;
    assert_eq!((with(&listed, "queued"), with(&listed, "running")), (58, 2), "{listed}");
    let mut words = (0, 0);
    for n in 0..60 {
        let (attempts, explained) = (
            world.run(&["attempts", "r", &format!("t{n}")]).code(0).stdout,
            world.run(&["explain", "r", &format!("t{n}"), "--json"]).code(0).json()[0]["code"].clone(),
        );
        let word = if with(&attempts, "queued") == 1 { "queued" } else { "running" };
        assert_eq!((with(&attempts, word), explained), (1, json!(word)), "{attempts}");
        words = if word == "queued" { (words.0 + 1, words.1) } else { (words.0, words.1 + 1) };
    }
    assert_eq!(words, (58, 2));
    stop(&world, "r");
}

#[test]
fn a_submit_that_is_under_way_is_in_no_doubt() {
    let mut config = tasks_config(&json!([{"id": "a", "operator": "evil", "input": {"mode": "sleep-in-submit"}}]));
    config["operators"]["evil"] = json!({"plugin": "evil.wasm", "grants": {"compute": ["local"]}});
    config["limits"] = json!({"plugin": {"call_ms": 600_000}});
    let world = World::new(&config);
    std::fs::copy(guest("hostile-operator"), world.workspace().join("evil.wasm")).expect("the guest");
    world.init();
    let mut step = world.command(&["step", "r"]);
    let mut step = step.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a step");
    until("it is being submitted", || world.run(&["attempts", "r", "a", "--json"]).json()[0]["state"] == "submitting");
    let look = || {
        let status = world.status();
        let text = world.run(&["status", "r"]).code(0).stdout + &world.run(&["explain", "r"]).code(0).stdout;
        let code = world.run(&["explain", "r", "a", "--json"]).code(0).json()[0]["code"].clone();
        (status["waiting_on"].clone(), code, text.contains("unknown-submit"))
    };
    assert_eq!(look(), (json!([]), json!("starting"), false));
    step.kill().expect("it is ours");
    step.wait().expect("its end");
    let (waits, code, shown) = look();
    assert_eq!(
        (&waits[0]["kind"], &code, shown),
        (&json!("unknown-submit"), &json!("unknown-submit"), true),
        "{waits}"
    );
}

#[test]
fn failures_that_a_run_allows_are_told_at_its_end() {
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "exit 3", "allow_failure": true},
        {"id": "b", "operator": "local", "command": "true"},
    ]));
    world.init();
    let told = world.run(&["loop", "r"]).code(0).stderr;
    assert!(told.contains("r: 1 completed, 1 failed in "), "{told}");
    let hint = "r: completed, although 1 task(s) failed: `matterstack tasks r --state failed` shows them";
    assert!(told.contains(hint), "{told}");
    let sound = World::with_tasks(&json!([{"id": "b", "operator": "local", "command": "true"}]));
    sound.init();
    assert!(!sound.run(&["loop", "r"]).code(0).stderr.contains("although"));
}

#[test]
fn what_a_failed_job_wrote_last_stands_beside_its_failure() {
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done; exit 3"},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(1);
    for arguments in [&["attempts", "r", "a"][..], &["status", "r"], &["explain", "r", "a"]] {
        let shown = world.run(arguments).code(0).stdout;
        assert!(shown.contains("task `a` wrote last to standard error:\n  line 3\n"), "{arguments:?}: {shown}");
        assert!(shown.ends_with("  line 7\n"), "{arguments:?}: {shown}");
    }
}

#[test]
fn a_time_says_how_far_it_is_and_a_user_what_it_is_called() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let shown = world.run(&["attempts", "r", "a"]).code(0).stdout;
    assert!(shown.contains("Z (< 1 min ago)"), "{shown}");
    let nobody = Command::new("chown").args(["-R", "65534", world.root().to_str().expect("UTF-8")]).status();
    assert!(nobody.expect("chown").success());
    let change = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE run SET user_id = 65534'); c.commit()";
    let database = world.run_dir("r").join("state.sqlite");
    let changed = Command::new("python3").args(["-c", change]).arg(database).status().expect("python3");
    assert!(changed.success());
    let told = world.run(&["pause", "r"]).code(2).stderr;
    assert!(told.contains("belongs to user 65534 (nobody), not to user 0 (root)"), "{told}");
    let found = world.run(&["doctor", "r"]).code(1).stdout;
    assert!(found.contains("the run belongs to user 65534 (nobody)"), "{found}");
}

#[test]
fn doctor_tells_the_room_that_is_left_and_warns_when_it_is_little() {
    let tasks = json!([{"id": "a", "operator": "local", "command": "true"}]);
    let disk = Disk::new(64);
    let world = World::below(&disk.root(), &tasks_config(&tasks));
    world.init();
    for arguments in [&["doctor", "r", "--json"][..], &["doctor", "--json"]] {
        // of the whole machine it may also tell what tests at the same time are up to
        let found = world.run(arguments);
        assert!(found.code == Some(0) || arguments.len() == 2, "{found:?}");
        let checks = found.json();
        let space = checks.as_array().expect("a list").iter().find(|check| check["check"] == "space").cloned();
        let space = space.expect("a check of the space");
        assert_eq!((&space["ok"], space["hint"].as_str()), (&json!(true), Some(LITTLE)), "{space}");
        let detail = space["detail"].as_str().expect("a detail");
        assert!(detail.contains(" MB and ") && detail.ends_with(" files are free"), "{detail}");
    }
    let text = world.run(&["doctor", "r"]).code(0).stdout;
    assert!(text.lines().any(|line| line.contains("space") && line.contains("WARNING")), "{text}");
}
