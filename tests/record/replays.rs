//! `replay` through the binary: runs that were amended, rerun, revived and upgraded, and whose campaign failed.
use crate::support::bundle::replayed_alone;
use crate::support::guest;
use crate::support::world::{World, tasks_config};
use rusqlite::Connection;
use serde_json::{Value, json};

/// A workspace whose campaign is the hostile guest.
fn hostile(params: &Value) -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "hostile.wasm", "params": params});
    config["limits"] = json!({"plugin": {"memory_mb": 64, "fuel": 300_000_000, "output_mb": 4, "host_calls": 5000}});
    let world = World::new(&config);
    std::fs::copy(guest("hostile"), world.workspace().join("hostile.wasm")).expect("the guest");
    world
}

/// Asserts that every decision of the run comes out as recorded, in the run and where there is nothing but a bundle of
/// it, and says how many there were.
#[track_caller]
fn replayed(world: &World, run: &str) -> u64 {
    let found = world.run(&["replay", run, "--json"]).code(0).json();
    assert_eq!(found["first"], Value::Null);
    assert_eq!((&found["differing"], &found["other_engine"], &found["left_out"]), (&json!(0), &json!(0), &json!(0)));
    assert_eq!(replayed_alone(world), found);
    found["agreed"].as_u64().expect("a count")
}

/// The first difference that a replay finds.
#[track_caller]
fn difference(world: &World) -> Value {
    world.run(&["replay", "r", "--json"]).code(1).json()["first"].clone()
}

fn store(world: &World) -> Connection {
    Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database")
}

fn bisecting(iterations: u32) -> World {
    let mut config = tasks_config(&json!([]));
    let params = json!({"lo": 0, "hi": 1024, "target": 613, "iterations": iterations});
    config["campaign"] = json!({"plugin": "loop.wasm", "params": params, "seed": 42});
    let world = World::new(&config);
    std::fs::copy(guest("loop-rust"), world.workspace().join("loop.wasm")).expect("the guest");
    world
}

#[test]
fn a_loop_that_reads_what_its_tasks_left_is_replayed() {
    let world = bisecting(5);
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(replayed(&world, "r"), 11, "five plans, five analyses, and the last plan");
    // and without any lease or other file of the run being touched
    let before: Vec<_> =
        std::fs::read_dir(world.run_dir("r")).expect("files").flatten().map(|e| e.file_name()).collect();
    replayed(&world, "r");
    let after: Vec<_> =
        std::fs::read_dir(world.run_dir("r")).expect("files").flatten().map(|e| e.file_name()).collect();
    assert_eq!(before, after);
}

#[test]
fn every_way_of_failing_is_recorded_and_replayed() {
    let modes = [
        ("trap", "trap"),
        ("exit", "trap"),
        ("stack", "trap"),
        ("loop", "limit"),
        ("memory", "limit"),
        ("huge-state", "limit"),
        ("error", "error"),
        ("invalid", "error"),
        ("garbage-state", "bad_output"),
        ("garbage-result", "bad_output"),
        ("duplicate-ids", "bad_output"),
        ("garbage-tasks", "bad_output"),
        ("unknown-operator", "bad_output"),
        ("long-reason", "bad_output"),
    ];
    let world = hostile(&json!({"mode": "", "again": true, "megabytes": 5}));
    world.init();
    world.run(&["loop", "r"]).code(5);
    let mut failed = 0;
    for (mode, outcome) in modes {
        world.run(&["amend", "r", "config", &format!("campaign.params.mode=\"{mode}\"")]).code(0);
        world.run(&["resume", "r", "--set", &format!("tried=\"{mode}\"")]).code(0);
        world.run(&["step", "r"]).code(0);
        failed += 1;
        let row = store(&world).query_row(
            "SELECT outcome, error IS NOT NULL, supplied FROM decisions ORDER BY decision DESC LIMIT 1",
            [],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, String>(2)?)),
        );
        let (found, told, supplied) = row.expect("the last decision");
        assert_eq!((found.as_str(), told), (outcome, true), "{mode}");
        assert_eq!(serde_json::from_str::<Value>(&supplied).expect("JSON"), json!({"tried": mode}));
    }
    // the campaign goes on in the end, and what it was told is in the record though it is used up
    world.run(&["amend", "r", "config", "campaign.params.mode=\"hold\""]).code(0);
    world.run(&["resume", "r", "--set", "tried=\"hold\""]).code(0);
    world.run(&["step", "r"]).code(0);
    let tries: i64 = store(&world).query_row("SELECT max(try) FROM decisions", [], |row| row.get(0)).expect("a count");
    assert!(tries > failed, "what failed was tried again under the same number");
    assert!(replayed(&world, "r") >= 14);
}

#[test]
fn a_run_that_was_changed_in_every_way_is_replayed() {
    let world = bisecting(2);
    world.init();
    world.run(&["loop", "r"]).code(0);
    // what the campaign saw of a failed iteration is delivered again from the state it was planned with
    let world_failing = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "test -e ../../../ok", "outputs": []},
        {"id": "b", "operator": "local", "command": "true", "depends_on": ["a"]},
    ]));
    world_failing.init();
    world_failing.run(&["loop", "r"]).code(1);
    world_failing.run(&["resume", "r", "--reason", "the machine was mended"]).code(0);
    world_failing.run(&["amend", "r", "config", "limits.max_active=3"]).code(0);
    std::fs::write(world_failing.run_dir("r").join("ok"), "").expect("a file");
    world_failing.run(&["loop", "r"]).code(0);
    assert_eq!(replayed(&world_failing, "r"), 5, "plan, analyze and fail; analyze and complete");
    assert_eq!(replayed(&world, "r"), 5);
}

#[test]
fn what_was_amended_rerun_or_is_running_again_is_replayed() {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": ["sh", "s.sh"], "files": {"s.sh": {"path": "scripts/s.sh"}}},
        {"id": "b", "command": "false", "allow_failure": true},
        {"id": "c", "command": "while test -e ../../../../../hold; do sleep 0.05; done", "allow_failure": true},
    ]));
    world.write("scripts/s.sh", "exit 3");
    world.init();
    world.run(&["loop", "r"]).code(1);
    // another script and another command, of which the decisions before know nothing
    world.write("scripts/s.sh", "exit 0");
    world.run(&["amend", "r", "file", "scripts/s.sh"]).code(0);
    world.run(&["amend", "r", "task", "b", "command=true"]).code(0);
    let before = replayed(&world, "r");
    world.run(&["rerun", "r", "--state", "failed"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let amended = replayed(&world, "r");
    assert!(amended > before, "{before} and {amended}");
    // while one runs again, and when it has
    world.write("hold", "");
    world.run(&["rerun", "r", "c"]).code(0);
    world.run(&["step", "r"]).code(0);
    assert!(world.tasks().contains("c=running"), "{}", world.tasks());
    assert_eq!(replayed(&world, "r"), amended);
    std::fs::remove_file(world.workspace().join("hold")).expect("the hold");
    world.run(&["loop", "r"]).code(0);
    assert!(replayed(&world, "r") > amended);
}

#[test]
fn an_input_that_was_exchanged_is_read_as_it_was() {
    let mut config = tasks_config(&json!([]));
    let params = json!({"lo": 0, "hi": 1024, "target": 613, "iterations": 2});
    let inputs = json!({"start": "start.json"});
    config["campaign"] = json!({"plugin": "loop.wasm", "params": params, "seed": 42, "inputs": inputs});
    let world = World::new(&config);
    std::fs::copy(guest("loop-rust"), world.workspace().join("loop.wasm")).expect("the guest");
    world.write("start.json", r#"{"label": "one", "numbers": [1], "signs": {}}"#);
    world.init();
    world.write("start.json", r#"{"label": "two", "numbers": [2], "signs": {}}"#);
    world.run(&["amend", "r", "file", "start.json"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(replayed(&world, "r"), 5);
}

#[test]
fn an_exchanged_plugin_leaves_the_decisions_of_the_one_before() {
    let world = hostile(&json!({"mode": "", "again": true}));
    world.init();
    world.run(&["step", "r"]).code(0);
    world.run(&["pause", "r"]).code(0);
    // the same guest with a custom section: other bytes, the same decisions
    let mut bytes = std::fs::read(guest("hostile")).expect("the guest");
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    world.write("other.wasm", "");
    std::fs::write(world.workspace().join("other.wasm"), bytes).expect("a plugin");
    let file = world.workspace().join("other.wasm");
    world.run(&["amend", "r", "plugin", file.to_str().expect("UTF-8"), "--reason", "a custom section"]).code(0);
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(5);
    let plugins: i64 = store(&world)
        .query_row("SELECT count(DISTINCT plugin_sha256) FROM decisions", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(plugins, 2);
    assert!(replayed(&world, "r") >= 3);
    // without the plugin that decided, nobody can tell
    let path: String = store(&world)
        .query_row("SELECT path FROM plugins WHERE name = 'hostile.wasm' ORDER BY plugin LIMIT 1", [], |row| row.get(0))
        .expect("a plugin");
    std::fs::remove_file(world.run_dir("r").join(path)).expect("the first plugin");
    let first = difference(&world);
    assert_eq!((&first["decision"], &first["aspect"]), (&json!(1), &json!("plugin")), "{first}");
}

#[test]
fn what_differs_is_named_with_decision_path_and_both_values() {
    let world = bisecting(2);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let database = world.run_dir("r").join("state.sqlite");
    let kept = world.root().join("kept.sqlite");
    store(&world).execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("one file");
    std::fs::copy(&database, &kept).expect("a copy");
    let changed = |sql: &str| {
        std::fs::copy(&kept, &database).expect("as it was");
        assert!(store(&world).execute(sql, []).expect("a change") > 0, "{sql}");
        difference(&world)
    };
    let first = changed("UPDATE decisions SET fuel = fuel + 1 WHERE number = 3");
    assert_eq!((&first["decision"], &first["aspect"]), (&json!(3), &json!("fuel")), "{first}");
    let first = changed("UPDATE decisions SET now_ms = now_ms + 1 WHERE number = 2");
    assert_eq!((&first["decision"], &first["aspect"]), (&json!(2), &json!("input")), "{first}");
    let first = changed(
        "UPDATE states SET base = NULL, depth = 0, size = (SELECT size FROM states WHERE number = 1), \
         bytes = (SELECT bytes FROM states WHERE number = 1) WHERE number = 2",
    );
    assert_eq!((&first["decision"], &first["aspect"]), (&json!(2), &json!("state")), "{first}");
    assert!(first["path"].as_str().is_some_and(|path| path.starts_with("/best")), "{first}");
    assert!(first["recorded"] != first["replayed"], "{first}");
    // text for a person
    let told = world.run(&["replay", "r"]).code(1);
    assert!(told.stdout.contains("decision 2 (analyze) comes out otherwise: state at `/best"), "{told:?}");
    // so does one that is not deterministic, and which plugin that is stands beside
    let plugin = first["plugin_sha256"].as_str().expect("a digest");
    assert!(told.stdout.contains(&format!("plugin:   SHA-256 {plugin}")), "{told:?}");
    // a file that a decision read and that is gone is named by its digest
    std::fs::copy(&kept, &database).expect("as it was");
    let attempts = std::fs::read_dir(world.run_dir("r").join("operators/local")).expect("attempts").flatten();
    attempts.for_each(|attempt| drop(std::fs::remove_file(attempt.path().join("value.json"))));
    let first = difference(&world);
    assert_eq!((&first["decision"], &first["aspect"]), (&json!(2), &json!("file")), "{first}");
    assert!(first["recorded"].as_str().is_some_and(|text| text.contains("SHA-256 ")), "{first}");
}

#[test]
fn what_clean_removed_is_said_to_be_removed_and_the_rest_is_replayed() {
    let world = bisecting(3);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let made = replayed(&world, "r");
    world.run(&["clean", "r", "--outputs", "*"]).code(0);
    let done = world.run(&["replay", "r"]).code(0);
    for words in ["cannot be made again: `operators/local/", "value.json` was removed by `clean` on 20", "ago) by "] {
        assert!(done.stderr.contains(words), "{words}: {done:?}");
    }
    let found = world.run(&["replay", "r", "--json"]).code(0).json();
    let count = |key: &str| found[key].as_u64().expect("a count");
    assert!(count("removed") == 3 && count("decisions") == made - 3 && count("agreed") == made - 3, "{found}");
    assert_eq!(found["first"], Value::Null);
    assert!(found["removed_file"]["user"].is_string() && found["removed_file"]["at"].is_string(), "{found}");
    // what went otherwise than by `clean` is missing
    let (run, store) = (world.run_dir("r"), store(&world));
    store.execute("DELETE FROM removed WHERE attempt_key = (SELECT min(attempt_key) FROM removed)", []).expect("rows");
    drop(store);
    assert_eq!(difference(&world)["aspect"], "file", "{}", run.display());
}

#[test]
fn a_refused_read_is_refused_again_though_the_file_is_back() {
    let world = bisecting(1);
    world.init();
    // the tasks end, and what they left is gone before the campaign looks
    world.run(&["step", "r"]).code(0);
    let attempts = || std::fs::read_dir(world.run_dir("r").join("operators/local")).expect("attempts").flatten();
    crate::support::until("the jobs' end", || attempts().all(|one| one.path().join("exit.json").exists()));
    world.run(&["pause", "r"]).code(0);
    world.run(&["step", "r"]).code(0);
    let one = attempts().next().expect("an attempt").path().join("value.json");
    let aside = world.root().join("value.json");
    std::fs::rename(&one, &aside).expect("it is taken away");
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(5);
    let refusals: i64 =
        store(&world).query_row("SELECT count(*) FROM decision_refusals", [], |row| row.get(0)).expect("a count");
    assert_eq!(refusals, 1);
    assert_eq!(replayed(&world, "r"), 2);
    std::fs::rename(&aside, &one).expect("it is back");
    assert_eq!(replayed(&world, "r"), 2);
}
