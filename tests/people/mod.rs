//! What waits for somebody outside: people, kits for clusters that cannot be reached, and laboratories.
mod hostile;
mod human;
mod kits;
mod labs;
mod returns;

use crate::support::until_within;
use crate::support::world::World;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// A workspace whose campaign runs these tasks; there are a person, a cluster, a robot and this machine.
fn world(tasks: &Value) -> World {
    World::new(&config(tasks))
}

fn config(tasks: &Value) -> Value {
    json!({
        "campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}},
        "operators": {
            "human": {"plugin": "builtin:human"},
            "kit": {"plugin": "builtin:manual-hpc", "config": {"settle_s": 0}},
            "robot": {"plugin": "builtin:experiment"},
            "local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}},
        },
        "backends": {"local": {"kind": "local", "cores": 2}},
    })
}

/// Makes a run with the id `r`, and takes the one step after which everything that can start waits outside.
fn waiting(world: &World) {
    world.init();
    world.run(&["step", "r"]).code(0);
}

/// The last attempt at a task.
fn attempt(world: &World, task: &str) -> Value {
    let attempts = world.run(&["attempts", "r", task, "--json"]).code(0).json();
    attempts.as_array().and_then(|all| all.last()).expect("an attempt").clone()
}

fn directory(world: &World, task: &str) -> PathBuf {
    world.run_dir("r").join(attempt(world, task)["directory"].as_str().expect("a directory"))
}

/// The output document of the last attempt at a task, and the reason in its last row of the history.
fn record(world: &World, task: &str) -> (Value, String) {
    let store = rusqlite::Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database");
    let id = attempt(world, task)["attempt_id"].as_str().expect("an id").to_owned();
    let data: Option<String> = store
        .query_row("SELECT data FROM attempts WHERE attempt_id = ?1", [&id], |row| row.get(0))
        .expect("an attempt");
    let reason: Option<String> = store
        .query_row("SELECT reason FROM history WHERE subject = ?1 ORDER BY seq DESC LIMIT 1", [&id], |row| row.get(0))
        .expect("a row of the history");
    let data = data.map_or(Value::Null, |data| serde_json::from_str(&data).expect("JSON"));
    (data, reason.unwrap_or_default())
}

/// What the run waits for outside, as `status` says it.
fn waits_on(world: &World, task: &str) -> Value {
    let status = world.status();
    let waits = status["waiting_on"].as_array().expect("a list").clone();
    waits.into_iter().find(|wait| wait["task"] == task).unwrap_or_else(|| panic!("{task} is not waited for: {status}"))
}

/// Waits for the end of a loop that something has just woken: it comes long before the loop would look by itself.
#[track_caller]
fn woken(mut driver: Child) -> Option<i32> {
    until_within(Duration::from_secs(30), "the end of the loop", || driver.try_wait().expect("a loop").is_some());
    driver.wait().expect("an end").code()
}
