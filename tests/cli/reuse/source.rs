//! Which runs serve others: those that cannot be used are passed over, and say why.
use super::{database, directory, explained, follow, ran, tasks_of};
use crate::support::until;
use crate::support::world::{World, tasks_config};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every name in a run's directory but those in attempts.
fn names(run: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(run)
        .expect("a run")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_run_that_cannot_be_used_is_passed_over() {
    let plain = json!([{"id": "t", "command": "echo 1 > a.dat", "outputs": ["a.dat"]}]);
    let made = |break_it: &dyn Fn(&World), words: &str| {
        let world = World::with_tasks(&plain);
        world.init();
        world.run(&["loop", "r"]).code(0);
        break_it(&world);
        let before = names(&world.run_dir("r"));
        let told = world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
        assert!(told.stderr.contains("passed over: run `r`") && told.stderr.contains(words), "{words}: {told:?}");
        let (code, sentence) = explained(&world, "two", "t");
        assert!(code == "not-reused" && sentence.contains(words), "{words}: {sentence}");
        world.run(&["loop", "two"]).code(0);
        assert_eq!(ran(&world, "two"), ["t"], "{words}");
        assert_eq!(names(&world.run_dir("r")), before, "{words}");
        // the others of the workspace still serve
        follow(&world, "three", "workspace");
        assert_eq!(ran(&world, "three"), [] as [&str; 0], "{words}");
    };
    let file = |world: &World| world.run_dir("r").join("state.sqlite");
    made(&|world| fs::write(file(world), "nothing").expect("damaged"), "damaged");
    made(
        &|world| {
            let mut bytes = fs::read(file(world)).expect("the database");
            bytes[8192..].fill(7);
            fs::write(file(world), bytes).expect("damaged");
        },
        "cannot be read",
    );
    made(&|world| database(world, "r").execute_batch("PRAGMA user_version = 99").expect("newer"), "schema version 99");
    made(
        &|world| {
            database(world, "r").execute("UPDATE run SET user_id = 4242", []).map(drop).expect("another's");
        },
        "`reuse.users` does not name",
    );
    made(
        &|world| {
            fs::remove_file(file(world)).expect("gone");
            rustix::fs::mknodat(rustix::fs::CWD, file(world), rustix::fs::FileType::Fifo, 0o600.into(), 0)
                .expect("a pipe");
        },
        "not a regular file",
    );
    // a name that leads to no run
    let world = World::with_tasks(&plain);
    for name in ["nobody", "../demo", ".", ""] {
        world.run(&["init", "demo", "--run-id", "x", "--reuse", name]).code(2);
    }
    world.run(&["init", "demo", "--run-id", "x", "--reuse", "latest"]).code(2);
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.run(&["init", "demo", "--run-id", "x", "--reuse", "latest"]).code(0);
    let config = fs::read_to_string(world.run_dir("x").join("config.json")).expect("a configuration");
    assert!(config.contains("\"from\": \"r\""), "{config}");
    // one that goes away later
    fs::remove_dir_all(world.run_dir("r")).expect("removed");
    world.run(&["loop", "x"]).code(0);
    assert_eq!(ran(&world, "x"), ["t"]);
}

#[test]
fn another_users_results_are_taken_where_the_configuration_says_so() {
    let mut config = tasks_config(&json!([{"id": "t", "command": "echo 1 > a.dat", "outputs": ["a.dat"]}]));
    let world = World::new(&config);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let daemon: i64 = 1;
    database(&world, "r").execute("UPDATE run SET user_id = ?1", [daemon]).expect("another's");
    let name = matterstack::ground::machine::user_name_of(1);
    config["reuse"] = json!({"from": "workspace", "users": [name]});
    world.write("config.json", &config.to_string());
    world.run(&["init", "demo", "--run-id", "two"]).code(0);
    world.run(&["loop", "two"]).code(0);
    assert_eq!(ran(&world, "two"), [] as [&str; 0]);
}

#[test]
fn a_run_that_goes_on_is_passed_over_until_it_rests() {
    let tasks = json!([
        {"id": "t", "command": "echo 1 > a.dat", "outputs": ["a.dat"]},
        {"id": "long", "command": "while [ -e stdout ] && [ ! -e go ]; do sleep 0.05; done"},
    ]);
    let world = World::with_tasks(&tasks);
    world.init();
    let mut child = world.command(&["loop", "r"]).spawn().expect("the binary runs");
    until("the first task to end", || world.tasks().contains("t=completed") && directory(&world, "r", "long").exists());
    let told = world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    assert!(told.stderr.contains("run `r` is being advanced by another process"), "{told:?}");
    let go = |run: &str| fs::write(directory(&world, run, "long").join("go"), "").expect("a signal");
    go("r");
    assert!(child.wait().expect("an end").success());
    world.run(&["step", "two"]).code(0);
    assert_eq!(tasks_of(&world, "two"), ["t reused", "long reused"]);
    // two runs at once take the same results, each for itself
    let both = ["three", "four"].map(|run| {
        world.run(&["init", "demo", "--run-id", run, "--reuse", "r"]).code(0);
        run
    });
    let mut children = both.map(|run| world.command(&["loop", run]).spawn().expect("the binary runs"));
    assert!(children.iter_mut().all(|child| child.wait().expect("an end").success()));
    for run in both {
        assert_eq!(ran(&world, run), [] as [&str; 0]);
        world.is_sound(run);
    }
}

#[test]
fn places_that_compute_alike_serve_each_other() {
    let mut config = tasks_config(&json!([{"id": "t", "command": "echo 1 > a.dat", "outputs": ["a.dat"]}]));
    let world = World::new(&config);
    // on a machine of another name
    let program = crate::support::world::PROGRAM;
    let line =
        format!("echo elsewhere > /proc/sys/kernel/hostname; {program} init demo --run-id r && {program} loop r");
    let mut elsewhere = Command::new("unshare");
    elsewhere.args(["--uts", "sh", "-c", &line]).current_dir(world.root().parent().expect("a root"));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    elsewhere.env("HOME", world.root()).env("XDG_CACHE_HOME", cache);
    assert!(elsewhere.status().expect("unshare of util-linux runs").success());
    world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    let (code, sentence) = explained(&world, "two", "t");
    assert!(code == "not-reused" && sentence.ends_with("differs in the place"), "{sentence}");
    config["reuse"] = json!({"places": [["elsewhere", matterstack::ground::machine::host_name()]]});
    world.write("config.json", &config.to_string());
    follow(&world, "three", "r");
    assert_eq!(ran(&world, "three"), [] as [&str; 0]);
    // told later, a run that goes on takes results too
    world.run(&["amend", "two", "config", "reuse.places=[[\"elsewhere\",\"nowhere\"]]"]).code(0);
    assert_eq!(explained(&world, "two", "t").0, "not-reused");
    world.run(&["amend", "two", "config", "reuse.from=three"]).code(0);
    assert_eq!(explained(&world, "two", "t").0, "reusable");
}
