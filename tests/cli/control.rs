//! What a person may do to a run while jobs are at work.
use crate::support::until;
use crate::support::world::World;
use matterstack::run::RunDir;
use serde_json::json;
use std::time::{Duration, Instant};

/// A world with one task that runs until it is stopped, and says when it runs.
fn sleeper() -> World {
    let world =
        World::with_tasks(&json!([{"id": "s", "operator": "local", "command": "echo $$ > pid; exec sleep 600"}]));
    world.init();
    world.run(&["step", "r"]).code(0);
    until("the job", || {
        world.run(&["step", "r", "--json"]).code(0).json()["state"] == "active" && pid(&world).is_some()
    });
    world
}

fn pid(world: &World) -> Option<String> {
    let attempts = std::fs::read_dir(world.run_dir("r").join("operators/local")).ok()?;
    let text = std::fs::read_to_string(attempts.flatten().next()?.path().join("pid")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn cancel_stops_the_job_outside() {
    let world = sleeper();
    let pid = pid(&world).expect("it runs");
    assert!(alive(&pid));
    world.run(&["cancel", "r"]).code(0);
    assert_eq!(world.step_to_end()["state"], "cancelled");
    assert!(!alive(&pid), "the process is gone");
    assert_eq!(world.tasks(), "s=cancelled");
    world.run(&["step", "r"]).code(1);
    world.run(&["loop", "r"]).code(1);
}

#[test]
fn a_tick_says_how_long_its_parts_took_if_asked() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 0.01"}]));
    world.init();
    assert!(world.run(&["step", "r", "--json"]).code(0).json().get("timings").is_none());
    let timings = world.run(&["step", "r", "--json", "--timings"]).code(0).json()["timings"].clone();
    for part in ["open_ms", "settle_ms", "stop_ms", "poll_ms", "start_ms", "decide_ms"] {
        assert!(timings[part].as_f64().is_some_and(|ms| ms >= 0.0), "{part}: {timings}");
    }
    assert!(timings["open_ms"].as_f64() > Some(0.0), "{timings}");
    let done = world.run(&["loop", "r", "--timings"]).code(0);
    assert!(done.stderr.contains("timings in ms: open "), "{done:?}");
}

#[test]
fn one_task_can_be_cancelled_and_the_run_goes_on() {
    let world = sleeper();
    world.run(&["cancel", "r", "s"]).code(0);
    // A cancelled task is no failure of `builtin:workflow`.
    assert_eq!(world.step_to_end()["state"], "completed");
    assert_eq!(world.tasks(), "s=cancelled");
}

#[test]
fn a_moved_run_goes_on_and_a_copy_is_refused_until_it_is_adopted() {
    let world = sleeper();
    let moved = world.workspace().join("runs").join("moved");
    std::fs::rename(world.run_dir("r"), &moved).expect("a move");
    let moved = moved.to_str().expect("UTF-8").to_owned();
    world.run(&["step", &moved]).code(0);
    let copy = world.workspace().join("runs").join("copy");
    let copied = std::process::Command::new("cp").args(["-a", &moved]).arg(&copy).status().expect("cp");
    assert!(copied.success());
    let copy = copy.to_str().expect("UTF-8").to_owned();
    let refused = world.run(&["step", &copy]).code(2);
    assert!(refused.stderr.contains("is a copy") && refused.stderr.contains("adopt"), "{refused:?}");
    world.run(&["adopt", &copy]).code(0);
    let end = world.run(&["step", &copy, "--json"]).code(0).json();
    assert_eq!(end["state"], "held", "what the original may still carry out is lost to the copy: {end}");
    world.run(&["cancel", &moved]).code(0);
    until("the original's end", || world.run(&["step", &moved, "--json"]).json()["state"] == "cancelled");
}

#[test]
fn what_tells_a_copy_is_the_directory_itself_and_its_token() {
    let world = World::new(&json!({
        "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [{"id": "a", "operator": "human", "input": {"instructions": "Go on?"}}]}},
        "operators": {"human": {"plugin": "builtin:human"}},
    }));
    world.init();
    world.run(&["step", "r"]).code(0);
    assert_eq!(world.status()["tasks"]["running"], 1, "it is live");
    let change = |sql: &str| {
        let store = rusqlite::Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database");
        store.execute(sql, []).expect("a change");
    };
    // what was not known when the run was made does not count
    change("UPDATE run SET born_ns = NULL, volume = 7");
    world.run(&["step", "r"]).code(0);
    for other in ["inode = inode + 1", "inode = inode - 1, born_ns = 7", "born_ns = NULL, token = 'another'"] {
        change(&format!("UPDATE run SET {other}"));
        let refused = world.run(&["step", "r"]).code(2);
        assert!(refused.stderr.contains("is a copy"), "{other}: {refused:?}");
    }
}

#[test]
fn another_users_run_is_refused_until_it_is_adopted() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    let store = rusqlite::Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database");
    store.execute("UPDATE run SET user_id = 4242", []).expect("another user");
    drop(store);
    let refused = world.run(&["step", "r"]).code(2);
    assert!(refused.stderr.contains("4242"), "{refused:?}");
    world.run(&["status", "r"]).code(0);
    world.run(&["adopt", "r"]).code(0);
    assert_eq!(world.step_to_end()["state"], "completed");
}

#[test]
fn amended_limits_hold_at_once_and_a_hand_edited_configuration_is_refused() {
    let tasks: Vec<_> =
        (0..4).map(|n| json!({"id": format!("t{n}"), "operator": "local", "command": "sleep 0.2"})).collect();
    let world = World::with_tasks(&json!(tasks));
    world.run(&["init", "demo", "--run-id", "r", "--set", "limits.max_active=1"]).code(0);
    assert_eq!(world.run(&["step", "r", "--json"]).code(0).json()["submitted"], 1);
    let explained = world.run(&["explain", "r", "t3", "--json"]).code(0).json();
    assert_eq!(explained[0]["code"], "capacity");
    assert!(explained[0]["command"].as_str().expect("a command").contains("amend r config limits.max_active=2"));
    world.run(&["amend", "r", "config", "limits.max_active=4", "--reason", "more"]).code(0);
    assert_eq!(world.run(&["step", "r", "--json"]).code(0).json()["submitted"], 3);
    let path = world.run_dir("r").join("config.json");
    let text = std::fs::read_to_string(&path).expect("config.json");
    std::fs::write(&path, text.replace("\"cores\": 2", "\"cores\": 3")).expect("an edit");
    let refused = world.run(&["step", "r"]).code(2);
    assert!(
        refused.stderr.contains("changed by hand") && refused.stderr.contains("amend r config KEY=VALUE"),
        "{refused:?}"
    );
    std::fs::write(&path, text).expect("the edit undone");
    assert_eq!(world.step_to_end()["state"], "completed");
}

#[test]
fn loop_is_alone_and_heeds_its_timeout() {
    let world = sleeper();
    let mut first = world.waiting_loop(&[]);
    let second = world.run(&["loop", "r"]).code(3);
    assert!(second.stderr.contains("another `loop`"), "{second:?}");
    world.run(&["step", "r"]).code(0);
    let told = std::process::Command::new("kill").args(["-INT", &first.id().to_string()]).status().expect("kill");
    assert!(told.success());
    assert_eq!(first.wait().expect("an end").code(), Some(130));
    let start = Instant::now();
    world.run(&["loop", "r", "--timeout", "300ms"]).code(6);
    assert!(start.elapsed() < Duration::from_secs(5));
    world.run(&["cancel", "r"]).code(0);
}

#[test]
fn a_second_signal_ends_a_loop_that_waits_for_another_process() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    let lease = RunDir::new(world.run_dir("r")).lease(Duration::ZERO).expect("the lease");
    let mut driver = world.command(&["loop", "r"]).stderr(std::process::Stdio::null()).spawn().expect("a loop");
    let holder = format!("\"pid\":{},", driver.id());
    let lock = world.run_dir("r").join("loop.lock");
    until("the lock of the loop", || std::fs::read_to_string(&lock).is_ok_and(|text| text.contains(&holder)));
    let start = Instant::now();
    // a signal that is not handled yet, or comes together with another, is one
    while driver.try_wait().expect("a status").is_none() && start.elapsed() < Duration::from_secs(20) {
        let _ = std::process::Command::new("kill").args(["-INT", &driver.id().to_string()]).status().expect("kill");
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = driver.kill();
    let ended = driver.wait().expect("an end");
    assert_eq!(ended.code(), Some(130), "it did not wait for the lease");
    drop(lease);
}

#[test]
fn an_amendment_that_would_strand_something_is_refused() {
    let world = sleeper();
    let refused = world.run(&["amend", "r", "config", "operators={}"]).code(2);
    assert!(refused.stderr.contains("operator `local`") && refused.stderr.contains("`s`"), "{refused:?}");
    let refused = world.run(&["amend", "r", "config", "operators.local.grants={}"]).code(2);
    assert!(refused.stderr.contains("backend `local`") && refused.stderr.contains("matterstack cancel"), "{refused:?}");
    let refused = world.run(&["amend", "r", "config", "operators.local.plugin=other.wasm"]).code(2);
    assert!(refused.stderr.contains("`matterstack amend r plugin FILE --operator local`"), "{refused:?}");
    let new = r#"operators.more={"plugin": "builtin:compute"}"#;
    let refused = world.run(&["amend", "r", "config", new]).code(4);
    assert!(refused.stderr.contains("does not grant"), "{refused:?}");
    world.run(&["cancel", "r"]).code(0);
    assert_eq!(world.step_to_end()["state"], "cancelled");
}

#[test]
fn a_paused_loop_with_nothing_submitted_ends() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    world.run(&["pause", "r"]).code(0);
    world.run(&["loop", "r"]).code(5);
}

#[test]
fn a_running_loop_hears_a_control_command() {
    let world = sleeper();
    let mut driver = world.waiting_loop(&[]);
    let start = Instant::now();
    world.run(&["cancel", "r"]).code(0);
    assert_eq!(driver.wait().expect("an end").code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(5), "it was woken, not waited for");
}

#[test]
fn step_and_loop_come_to_the_same_end() {
    let tasks = json!([
        {"id": "a", "operator": "local", "command": "echo 1 > o", "outputs": ["o"]},
        {"id": "b", "operator": "local", "command": "cat o", "files": {"o": {"from": "a", "output": "o"}}},
    ]);
    let (stepped, looped) = (World::with_tasks(&tasks), World::with_tasks(&tasks));
    for world in [&stepped, &looped] {
        world.init();
    }
    stepped.step_to_end();
    looped.run(&["loop", "r"]).code(0);
    assert_eq!(stepped.tasks(), looped.tasks());
    let outputs = |world: &World| world.run(&["tasks", "r", "--json"]).json()[0]["outputs"].clone();
    assert_eq!(outputs(&stepped), outputs(&looped));
}

#[test]
fn an_attempt_goes_on_from_what_the_one_before_left() {
    let command = "n=$(cat state/restart.txt 2>/dev/null || echo 0); n=$((n+1)); mkdir -p state; echo $n > state/restart.txt; \
                   ln -sf /etc/passwd state/link; echo x > notes; test $n -ge 3";
    let world = World::with_tasks(&json!([{
        "id": "a", "operator": "local", "command": command, "outputs": ["state/*.txt"],
        "files": {"state/given": {"content": "given"}},
        "retry": {"max_attempts": 3, "backoff_s": 0, "carry": ["state/*"]},
    }]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let attempts = world.run(&["attempts", "r", "a", "--json"]).json();
    assert_eq!(attempts.as_array().map(Vec::len), Some(3), "{attempts}");
    let third = world.run_dir("r").join(attempts[2]["directory"].as_str().expect("a directory"));
    assert_eq!(std::fs::read_to_string(third.join("state/restart.txt")).expect("a file"), "3\n");
    let outputs = world.run(&["tasks", "r", "--json"]).json()[0]["outputs"].clone();
    assert_eq!(outputs[0]["path"], "state/restart.txt", "what was carried over is an output: {outputs}");
}

#[test]
fn what_failed_attempts_left_is_collected_and_listed() {
    let world = World::with_tasks(&json!([{
        "id": "a", "operator": "local", "command": "echo $$ > trace.txt; exit 3", "outputs": ["trace.txt", "result.txt"],
        "retry": {"max_attempts": 2, "backoff_s": 0},
    }]));
    world.init();
    world.run(&["loop", "r"]).code(1);
    let attempts = world.run(&["attempts", "r", "a", "--json"]).code(0).json();
    let (first, second) = (&attempts[0]["outputs"], &attempts[1]["outputs"]);
    assert_eq!((&first[0]["path"], &second[0]["path"]), (&json!("trace.txt"), &json!("trace.txt")));
    assert_ne!(first[0]["sha256"], second[0]["sha256"], "each attempt has its own");
    assert_eq!(attempts[1]["reason"], "exited with code 3", "an output that is missing does not hide why");
    assert_eq!(world.run(&["tasks", "r", "--json"]).json()[0]["outputs"], *second);
    // a campaign that is told of it by its digest can read it
    let store = matterstack::store::Store::read(&world.run_dir("r").join("state.sqlite")).expect("a store");
    let file = store.files_of_digest(second[0]["sha256"].as_str().expect("a digest"), 1).expect("readable");
    assert!(file.iter().any(|path| path.ends_with("/trace.txt")), "it can be read by its digest");
}

#[test]
fn outputs_that_cannot_be_read_now_are_collected_later() {
    let deep = "d/".repeat(40);
    let world = World::with_tasks(&json!([{
        "id": "a", "operator": "local", "command": format!("mkdir -p {deep}; echo 1 > {deep}o"), "outputs": ["**/o"],
    }]));
    world.init();
    world.run(&["step", "r"]).code(0);
    let limited = |files: &str| {
        let mut command = std::process::Command::new("prlimit");
        let world_command = world.command(&["step", "r"]);
        command.arg(format!("--nofile={files}:{files}")).arg(world_command.get_program()).args(["step", "r"]);
        command.current_dir(world.root()).env_clear().envs(world_command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.output().expect("prlimit of util-linux runs")
    };
    // Each directory on the way keeps one descriptor, so that this many are too few only while outputs are read.
    until("the end of the job", || {
        let done = limited("40");
        assert!(done.status.success(), "{done:?}");
        world.run(&["explain", "r", "a", "--json"]).json()[0]["code"] == "collect-failed"
    });
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["attempts", "r", "a", "--json"]).json().as_array().map(Vec::len), Some(1), "it counts once");
}

#[test]
fn step_and_loop_with_all_move_every_run() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    for id in ["r1", "r2", "r3"] {
        world.run(&["init", "demo", "--run-id", id]).code(0);
    }
    let plan = world.run(&["step", "--all", "--dry-run"]).code(0);
    assert_eq!(plan.stdout.matches("# task `a`").count(), 3, "{plan:?}");
    let ticks = world.run(&["step", "--all"]).code(0);
    assert_eq!(ticks.stdout.matches("submitted 1").count(), 3, "{ticks:?}");
    world.run(&["loop", "--all"]).code(0);
    let none = world.run(&["step", "--all"]).code(0);
    assert!(none.stdout.is_empty() && none.stderr.contains("every run has ended"), "{none:?}");
    let list = world.run(&["list", "--json"]).code(0).json();
    assert!(list.as_array().expect("a list").iter().all(|run| run["state"] == "completed"), "{list}");
}

#[test]
fn status_watch_ends_with_the_run() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 0.3"}]));
    world.init();
    let watch =
        world.command(&["status", "r", "--watch"]).stdout(std::process::Stdio::piped()).spawn().expect("a watch");
    world.run(&["loop", "r"]).code(0);
    let output = watch.wait_with_output().expect("an end");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("active") && text.contains("completed"), "{text}");
}
