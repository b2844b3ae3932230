//! `new`: a workspace to begin with, from nothing but the binary.
use crate::support::world::World;
use serde_json::json;
use std::fs;

#[test]
fn a_plain_workspace_runs_as_it_is() {
    let world = World::with_tasks(&json!([]));
    let made = world.run(&["new", "first"]).code(0);
    assert_eq!(made.stdout, "first\n");
    assert!(made.stderr.contains("`matterstack run first`"), "{made:?}");
    let run = world.run(&["run", "first"]).code(0);
    assert!(run.stderr.contains("10 completed"), "{run:?}");
    let table = world.run(&["table", "--fields", "result.json", "--json"]).code(0).json();
    let losses: Vec<f64> =
        table.as_array().expect("rows").iter().filter_map(|row| row["result.loss"].as_f64()).collect();
    assert_eq!(losses.len(), 10, "{table}");
    // what the configuration promises of further runs
    let again = world.run(&["run", "first"]).code(0);
    assert!(again.stderr.contains("results for 10 of the 10"), "{again:?}");
}

#[test]
fn the_binary_carries_every_example_with_its_campaign() {
    let world = World::with_tasks(&json!([]));
    let unknown = world.run(&["new", "--example", "nothing"]).code(2);
    let names = unknown.stderr.split("there are ").nth(1).expect("the examples").trim().split(", ");
    let names: Vec<&str> = names.collect();
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../workspaces");
    let mut there: Vec<String> = fs::read_dir(repository)
        .expect("the examples")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    assert_eq!(names, there, "each example is in the binary");
    for name in &names {
        world.run(&["new", "--example", name]).code(0);
        assert!(world.root().join(name).join("README.md").is_file(), "{name}");
        // this one measures what is to be downloaded first, as its README says
        if *name != "solar_cells_ask_tell" {
            world.run(&["config", "check", name]).code(0);
            world.run(&["init", name]).code(0);
        }
    }
    let help = world.run(&["new", "--help"]).code(0).stdout;
    assert!(names.iter().all(|name| help.contains(name)), "{help}");
}

#[test]
fn an_example_is_found_by_its_beginning_and_runs() {
    let world = World::with_tasks(&json!([]));
    let made = world.run(&["new", "mine/screening", "--example", "battery", "--json"]).code(0).json();
    assert_eq!(
        (&made["workspace"], &made["example"]),
        (&json!("mine/screening"), &json!("battery_screening")),
        "{made}"
    );
    let run = world.run(&["run", "mine/screening"]).code(0);
    assert!(run.stderr.contains("allowed") || run.stderr.contains("failed"), "nine of them fail: {run:?}");
}

#[test]
fn nothing_is_overwritten_and_nothing_made_outside_the_root() {
    let world = World::with_tasks(&json!([]));
    let there = world.run(&["new", "demo"]).code(2);
    assert!(there.stderr.contains("there is something at"), "{there:?}");
    for place in ["../x", ".", "runs", ".hidden", "a/runs/b", "/", "a/b/c/d/e/f/g"] {
        let wrong = world.run(&["new", place]).code(2);
        assert!(wrong.stderr.contains("cannot be a workspace"), "{place}: {wrong:?}");
    }
    assert!(!world.root().join("../x").exists() && !world.root().join("a").exists());
    let neither = world.run(&["new"]).code(2);
    assert!(neither.stderr.contains("DIR"), "{neither:?}");
}
