//! What a person says of the machine that all runs share, and what they are told of it.
use crate::support::pool::pool;
use crate::support::until;
use crate::support::world::{Done, PROGRAM, World, done, tasks_config};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// Another user of the machine, and the group whose pool it is.
const OTHER: u32 = 61_234;
const GROUP: u32 = 61_235;

/// Writes a person's own settings.
fn settings(world: &World, text: &str) {
    let place = world.root().with_file_name(".config").join("matterstack");
    fs::create_dir_all(&place).expect("a directory");
    fs::write(place.join("config.json"), text).expect("settings");
}

fn task(id: &str, command: &str) -> Value {
    json!({"id": id, "operator": "local", "command": command})
}

#[test]
fn a_job_that_waits_for_another_run_is_explained_by_that_run() {
    let world = World::with_tasks(&json!([task(
        "a",
        "while [ -e stdout ] && [ ! -e $MATTERSTACK_WORKSPACE_DIR/go ]; do sleep 0.02; done"
    )]));
    pool(world.root().parent().expect("a parent"), &json!({"cores": 1}));
    world.run(&["init", "demo", "--run-id", "first"]).code(0);
    world.run(&["step", "first"]).code(0);
    until("it runs", || world.run(&["step", "first", "--json"]).code == Some(0) && running(&world, "first"));
    world.init();
    world.run(&["step", "r"]).code(0);
    let mut told = Value::Null;
    until("it is told what it waits for", || {
        world.run(&["step", "r"]).code(0);
        told = world.run(&["explain", "r", "--json"]).code(0).json();
        told[0]["code"] == "capacity"
    });
    let sentence = told[0]["sentence"].as_str().expect("a sentence");
    let first = world.run_dir("first").canonicalize().expect("a run").display().to_string();
    assert!(sentence.contains(&format!("run `{first}` holds 1 core")), "{sentence}");
    let tasks = world.status()["tasks"].clone();
    assert_eq!((&tasks["queued"], &tasks["running"]), (&json!(1), &json!(0)), "its job has not started: {tasks}");
    assert!(world.run(&["tasks", "r"]).code(0).stdout.contains("queued"));
    let waits = world.status()["waiting_on"].clone();
    assert_eq!((&waits[0]["task"], &waits[0]["kind"]), (&json!("a"), &json!("capacity")), "{waits}");
    assert!(world.run(&["status", "r"]).code(0).stdout.contains("capacity"));
    let doctor = world.run(&["doctor"]).code(0).stdout;
    let doctor = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        doctor.contains("1 core") && doctor.contains("holds 1 core") && doctor.contains("waits for 1 core"),
        "{doctor}"
    );
    fs::write(world.workspace().join("go"), "").expect("a file");
    assert_eq!(world.step_to_end()["state"], "completed");
    world.run(&["loop", "first"]).code(0);
    world.is_sound("r");
}

/// Runs the binary as somebody else, who has a home of their own and this pool.
fn as_other_user(home: &Path, pool: &Path, arguments: &[&str]) -> Done {
    let program = home.join("matterstack");
    if !program.exists() {
        fs::copy(PROGRAM, &program).expect("a copy");
    }
    let (user, group) = (OTHER.to_string(), GROUP.to_string());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &group, "--clear-groups"]).arg(&program).args(arguments);
    command.current_dir(home).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("USER", "other");
    done(command.env("MATTERSTACK_TEST_POOL", pool).output().expect("setpriv starts"))
}

#[test]
fn two_users_of_a_group_share_a_machine() {
    let world = World::with_tasks(&json!([task(
        "a",
        "while [ -e stdout ] && [ ! -e $MATTERSTACK_WORKSPACE_DIR/go ]; do sleep 0.02; done"
    ),]));
    let outside = world.root().canonicalize().expect("a root").parent().expect("a parent").to_owned();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).expect("ours");
    let shared = outside.join("shared");
    fs::create_dir(&shared).expect("a directory");
    chown(&shared, Some(0), Some(GROUP)).expect("ours");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o2770)).expect("ours");
    let machine = pool(&outside, &json!({"cores": 1, "shared": shared}));
    // not below the workspaces of this one
    let elsewhere = tempfile::tempdir().expect("a directory");
    let home = elsewhere.path().to_owned();
    chown(&home, Some(OTHER), Some(GROUP)).expect("ours");
    world.init();
    world.run(&["step", "r"]).code(0);
    until("it runs", || world.run(&["step", "r", "--json"]).code == Some(0) && running(&world, "r"));

    let other = |arguments: &[&str]| as_other_user(&home, &machine, arguments);
    let waits = other(&["run", "--timeout", "2s", "--", "true"]);
    assert_eq!(waits.code, Some(6), "the core is in use: {waits:?}");
    let told = other(&["explain", "latest"]).code(0).stdout;
    assert!(told.contains("holds 1 core"), "{told}");
    let doctor = other(&["doctor"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(doctor.contains("holds 1 core") && doctor.contains("waits for 1 core"), "{doctor}");
    fs::write(world.workspace().join("go"), "").expect("a file");
    other(&["loop", "latest"]).code(0);
    assert_eq!(world.step_to_end()["state"], "completed");
}

fn running(world: &World, run: &str) -> bool {
    world.run(&["attempts", run, "a", "--json"]).json()[0]["state"] == "running"
}

#[test]
fn what_is_said_of_the_machine_is_no_runs_and_is_checked() {
    let world = World::with_tasks(&json!([task("a", "true")]));
    settings(&world, r#"{"machine": {"cores": 3, "gpus": ["0"], "counts": {"licence": 2},}} // and more"#);
    world.init();
    let config: Value =
        serde_json::from_slice(&fs::read(world.run_dir("r").join("config.json")).expect("a file")).expect("JSON");
    assert!(config.get("machine").is_none(), "{config}");
    let doctor = world.run(&["doctor"]).code(0).stdout;
    let doctor = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(doctor.contains("3 cores,") && doctor.contains("GPUs 0") && doctor.contains("2 of `licence`"), "{doctor}");
    for (text, words) in [
        ("{\"machine\":\n{\"core\": 3}}", ["unknown field `core`", "(line 2)"]),
        ("{\"machine\": {\n\"cores\": \"3\"}}", ["machine.cores", "(line 2)"]),
        ("{\"machine\": {\"cores\": 0}}", ["machine.cores is 0", "line 1"]),
        ("{\"machine\": {\"gpus\": [0]}}", ["machine.gpus", "line 1"]),
        ("{\"machine\": {\"counts\": {\"a b\": 1}}}", ["machine.counts", "no name"]),
        ("{\"machine\": {\"shared\": \"here\"}}", ["machine.shared", "not absolute"]),
    ] {
        settings(&world, text);
        let told = world.run(&["init", "demo"]).code(2).stderr;
        assert!(words.iter().all(|word| told.contains(word)), "{text}: {told}");
        let doctor = world.run(&["doctor"]).code(1).stdout;
        assert!(doctor.contains("TROUBLE"), "{doctor}");
    }
    settings(&world, "{}");
    let told = world.run(&["init", "demo", "--set", "machine.cores=3"]).code(2).stderr;
    assert!(told.contains("all runs share one machine") && told.contains("--set machine.cores=3"), "{told}");
    let told = world.run(&["amend", "r", "config", "machine.cores=3"]).code(2).stderr;
    assert!(told.contains("`machine.cores` cannot be amended"), "{told}");
    let mut config = tasks_config(&json!([task("a", "true")]));
    config["machine"] = json!({"cores": 3});
    world.write("config.json", &config.to_string());
    let told = world.run(&["init", "demo"]).code(2).stderr;
    assert!(told.contains("all runs share one machine") && told.contains("~/.config/matterstack"), "{told}");
}

#[test]
fn what_a_backend_never_gives_is_refused_when_it_is_planned() {
    let share = json!({"kind": "local", "cores": 2, "memory_mb": 100, "gpus": ["0"]});
    for (asks, words) in [
        (json!({"cores": 3}), "resources.cores is 3, and `backends.local.cores` is 2"),
        (json!({"memory_mb": 101}), "resources.memory_mb is 101, and `backends.local.memory_mb` is 100"),
        (json!({"gpus": 2}), "resources.gpus is 2, and `backends.local.gpus` names 1"),
        (json!({"counts": {"": 1}}), "resources.counts has ``, which is no name"),
        (json!({"counts": {"licence": -1}}), "`resources.counts.licence`"),
    ] {
        let mut task = task("a", "true");
        task["resources"] = asks;
        let mut config = tasks_config(&json!([task]));
        config["backends"]["local"] = share.clone();
        let told = World::new(&config).run(&["init", "demo", "--run-id", "r"]);
        let told = if told.code == Some(0) { panic!("{told:?}") } else { told.stderr };
        assert!(told.contains("`a`") && told.contains(words), "{told}");
    }
    for (key, words) in [("memory_mb=0", "memory_mb is 0"), ("gpus=[\"a b\"]", "is no name"), ("gpus=1", "gpus")] {
        let world = World::with_tasks(&json!([task("a", "true")]));
        let told = world.run(&["init", "demo", "--set", &format!("backends.local.{key}")]).code(2).stderr;
        assert!(told.contains(words), "{told}");
    }
}
