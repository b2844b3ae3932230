//! `list`: runs that have not changed are not opened again, and what it shows is true all the same.
use crate::support::until;
use crate::support::world::{World, done};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs enough to be remembered.
const RUNS: usize = 25;

/// A world with one run that has completed, under many names.
fn many() -> World {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    for number in 1..RUNS {
        let places = [world.run_dir("r"), world.run_dir(&format!("r{number:02}"))];
        assert!(Command::new("cp").arg("-r").args(places).status().expect("cp").success());
    }
    world
}

/// A cache of this world's own.
fn cache(world: &World) -> PathBuf {
    world.root().with_file_name("cache")
}

fn listed(world: &World) -> Value {
    let cache = cache(world);
    world.run_with(&["list", "--json"], &[("XDG_CACHE_HOME", cache.to_str().expect("UTF-8"))]).code(0).json()
}

fn of<'a>(list: &'a Value, run: &str) -> &'a Value {
    list.as_array().expect("a list").iter().find(|one| one["run_id"] == run).expect("the run")
}

/// The file in which is kept what was seen, once it holds this many runs.
fn kept(world: &World, runs: usize) -> (PathBuf, Value) {
    let directory = cache(world).join("matterstack/runs");
    let mut found = None;
    until("the runs are remembered", || {
        listed(world);
        let file = fs::read_dir(&directory).expect("a cache").next().expect("a file").expect("an entry").path();
        let cache: Value = serde_json::from_str(&fs::read_to_string(&file).expect("text")).expect("JSON");
        let is_whole = cache["entries"].as_object().is_some_and(|entries| entries.len() == runs);
        found = Some((file, cache));
        is_whole
    });
    found.expect("a cache")
}

/// Makes the cache say of every run what is not so.
fn lie(file: &Path, mut cache: Value) {
    for entry in cache["entries"].as_object_mut().expect("entries").values_mut() {
        entry["told"]["label"] = json!("from the cache");
    }
    fs::write(file, cache.to_string()).expect("a file");
}

#[test]
fn unchanged_runs_are_not_opened_and_changed_ones_are() {
    let world = many();
    let first = listed(&world);
    let (file, cache) = kept(&world, RUNS);
    assert_eq!(listed(&world), first, "remembered or not, it is the same");
    lie(&file, cache);
    assert!(listed(&world).as_array().expect("a list").iter().all(|run| run["label"] == "from the cache"));
    // by a command, by another file in its place, and by a file beside it
    world.run(&["adopt", "r01"]).code(0);
    let database = |run: &str| world.run_dir(run).join("state.sqlite");
    fs::copy(database("r"), world.root().join("copy")).expect("a copy");
    fs::rename(world.root().join("copy"), database("r02")).expect("another file");
    fs::write(database("r03"), "no database").expect("garbage");
    fs::remove_dir_all(world.run_dir("r04")).expect("a run");
    let now = listed(&world);
    for run in ["r01", "r02"] {
        assert_eq!((&of(&now, run)["label"], &of(&now, run)["state"]), (&Value::Null, &json!("completed")), "{run}");
    }
    assert_eq!(of(&now, "r03")["state"], "unreadable");
    assert_eq!(of(&now, "r05")["label"], "from the cache");
    assert_eq!(now.as_array().map(Vec::len), Some(RUNS - 1));
    // of one workspace, and by label: the others stay remembered
    let none = world.run_with(
        &["list", "demo", "--label", "nothing", "--json"],
        &[("XDG_CACHE_HOME", self::cache(&world).to_str().expect("UTF-8"))],
    );
    assert_eq!(none.code(0).json(), json!([]));
    kept(&world, RUNS - 2);
}

#[test]
fn what_stands_in_the_log_of_a_run_that_died_is_seen() {
    let world = many();
    world.run(&["init", "demo", "--run-id", "dead"]).code(0);
    kept(&world, RUNS + 1);
    let died = world.run_with(&["step", "dead"], &[("MATTERSTACK_FAILPOINT", "submit.after:1")]);
    assert_eq!(died.code, None);
    assert!(world.run_dir("dead").join("state.sqlite-wal").metadata().expect("a log").len() > 0);
    assert_eq!(of(&listed(&world), "dead")["tasks"]["running"], 1);
}

#[test]
fn a_cache_that_is_spoilt_or_cannot_be_written_is_no_error() {
    let world = many();
    let first = listed(&world);
    let (file, cache) = kept(&world, RUNS);
    let mut other = cache.clone();
    other["version"] = json!("0.0.1");
    other["entries"] = json!({});
    for spoilt in ["", "{", "[]", "{\"version\": 7}", &other.to_string(), &"x".repeat(100_000)] {
        fs::write(&file, spoilt).expect("a file");
        assert_eq!(listed(&world), first, "{:.40}", spoilt);
    }
    fs::remove_file(&file).expect("the file");
    fs::create_dir(&file).expect("a directory in its place");
    assert_eq!(listed(&world), first);
    fs::remove_dir_all(self::cache(&world)).expect("the cache");
    fs::write(self::cache(&world), "a file where a directory is to be").expect("a file");
    assert_eq!(listed(&world), first);
    let homeless = done(
        world.command(&["list", "--json"]).env_remove("HOME").env_remove("XDG_CACHE_HOME").output().expect("it runs"),
    );
    assert_eq!(homeless.code(0).json(), first);
}

#[test]
fn lists_at_once_say_the_same() {
    let world = many();
    let cache = cache(&world);
    let mut command = world.command(&["list", "--json"]);
    command.env("XDG_CACHE_HOME", &cache).stdout(Stdio::piped());
    let children: Vec<_> = (0..6).map(|_| command.spawn().expect("a list")).collect();
    let first = listed(&world);
    for child in children {
        let output = child.wait_with_output().expect("its end");
        assert_eq!(done(output).code(0).json(), first);
    }
    kept(&world, RUNS);
    let left = fs::read_dir(cache.join("matterstack/runs")).expect("a cache").count();
    assert_eq!(left, 1, "nothing is left beside the file");
}
