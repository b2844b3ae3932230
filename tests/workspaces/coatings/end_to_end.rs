//! The workspace through the binary: steps alone, the loop, failing simulations, wrong parameters.
use super::super::{coatings_component, workspace};
use super::SLUG;
use crate::support::world::World;
use matterstack::store::{RunRow, Store};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The workspace as it is, with other parameters, under the name `demo`.
fn world(params: Value) -> World {
    let source = workspace(SLUG);
    let read = |name: &str| std::fs::read_to_string(source.join(name)).expect("a file of the workspace");
    let mut config: Value = serde_json::from_str(&read("config.json")).expect("JSON");
    config["campaign"]["params"] = params;
    let world = World::new(&config);
    for script in ["alloy.py", "sim_friction.py", "sim_dissolution.py"] {
        world.write(&format!("scripts/{script}"), &read(&format!("scripts/{script}")));
    }
    let plugin = config["campaign"]["plugin"].as_str().expect("a plugin");
    world.write(plugin, "");
    std::fs::copy(coatings_component(), world.workspace().join(plugin)).expect("the component");
    world
}

fn small() -> Value {
    json!({"initial": 5, "batch": 2, "max_iterations": 3, "pool": 50, "tolerance": 0})
}

/// Steps a run, each time in a new process, until it is no longer active.
fn step_to_end(world: &World, run: &str) -> usize {
    let start = Instant::now();
    for steps in 1.. {
        let tick = world.run(&["step", run, "--json"]).json();
        if tick["state"] != "active" {
            return steps;
        }
        assert!(start.elapsed() < Duration::from_secs(300), "the run does not end: {tick}");
        std::thread::sleep(Duration::from_millis(20));
    }
    unreachable!("a counter without end")
}

fn row(world: &World, run: &str) -> RunRow {
    Store::read(&world.run_dir(run).join("state.sqlite")).expect("the database").run().expect("the run")
}

/// The campaign's last state.
fn state(world: &World, run: &str) -> Option<(u64, String)> {
    let store = Store::read(&world.run_dir(run).join("state.sqlite")).expect("the database");
    store.campaign_state().expect("a readable store")
}

fn document(text: Option<String>) -> Value {
    serde_json::from_str(&text.expect("a document")).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn steps_alone_and_the_loop_come_to_the_same_end() {
    let world = world(small());
    for run in ["stepped", "looped"] {
        world.run(&["init", "demo", "--run-id", run]).code(0);
    }
    assert!(step_to_end(&world, "stepped") > 3, "a tick plans once at most");
    let looped = world.run(&["loop", "looped"]).code(0);
    world.run(&["replay", "looped"]).code(0);
    world.run(&["replay", "stepped"]).code(0);
    assert!(looped.stderr.contains("best friction 0."), "the progress names the best so far: {looped:?}");
    let (stepped, looped) = (row(&world, "stepped"), row(&world, "looped"));
    assert_eq!((stepped.state.as_str(), looped.state.as_str()), ("completed", "completed"));
    assert_eq!(state(&world, "stepped"), state(&world, "looped"));
    assert_eq!(stepped.decisions, looped.decisions);
    let result = document(stepped.result);
    assert_eq!(result, document(looped.result));
    check_result(&world, &result);
    crate::evidence::questions::ask_of_zip(&|arguments| world.run(arguments), "looped");
}

/// Compares a result with the files that the simulations left.
fn check_result(world: &World, result: &Value) {
    let ranking = result["ranking"].as_array().expect("a ranking");
    assert_eq!(ranking.len(), 9, "5 + 2 + 2 candidates: {result}");
    let mut distinct: Vec<String> = ranking.iter().map(|entry| entry["friction_coefficient"].to_string()).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 9, "no two candidates have the same value by default");
    for (script, key) in [("friction", "friction_coefficient"), ("dissolution", "dissolution_rate_nm_h")] {
        let mut left = std::collections::BTreeMap::new();
        for attempt in std::fs::read_dir(world.run_dir("stepped").join("operators/local")).expect("attempts").flatten()
        {
            if let Ok(text) = std::fs::read_to_string(attempt.path().join(format!("{script}_results.json"))) {
                let file: Value = serde_json::from_str(&text).expect("JSON");
                left.insert(file["candidate"].to_string(), (file[key].clone(), file["composition"].clone()));
            }
        }
        assert_eq!(left.len(), 9);
        for entry in ranking {
            assert_eq!(left[&entry["id"].to_string()], (entry[key].clone(), entry["composition"].clone()), "{entry}");
        }
    }
    let fronts: Vec<i64> = ranking.iter().map(|entry| entry["front"].as_i64().expect("a front")).collect();
    assert!(fronts.is_sorted() && fronts[0] == 1, "{fronts:?}");
    let pareto = result["pareto"].as_array().expect("a front");
    assert_eq!(pareto.len(), fronts.iter().filter(|&&front| front == 1).count());
    for pair in pareto.windows(2) {
        assert!(number(&pair[0]["friction_coefficient"]) < number(&pair[1]["friction_coefficient"]));
        assert!(number(&pair[0]["dissolution_rate_nm_h"]) > number(&pair[1]["dissolution_rate_nm_h"]));
    }
    let volumes = result["hypervolume"].as_array().expect("rows");
    let evaluated: Vec<&Value> = volumes.iter().map(|row| &row["evaluated"]).collect();
    assert_eq!(evaluated, [5, 7, 9]);
    let volumes: Vec<f64> = volumes.iter().map(|row| number(&row["hypervolume"])).collect();
    assert!(volumes.is_sorted() && volumes[0] > 0.0, "{volumes:?}");
    assert_eq!(result["failed"], json!([]));
}

/// Makes the friction simulator fail for the candidates whose id ends in one of these digits.
fn break_simulator(world: &World, digits: &str) {
    let path = world.workspace().join("scripts/sim_friction.py");
    let script = std::fs::read_to_string(&path).expect("the script");
    let broken = format!("    if candidate[-1] in {digits:?}:\n        sys.exit(3)\n    z = ");
    let (before, after) = script.split_once("    z = ").expect("the surface");
    std::fs::write(&path, format!("{before}{broken}{after}")).expect("the script");
}

#[test]
fn a_failed_simulation_costs_its_candidate_only() {
    let world = world(small());
    break_simulator(&world, "26");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let result = document(row(&world, "r").result);
    let mut ids: Vec<&str> =
        result["ranking"].as_array().expect("a ranking").iter().filter_map(|e| e["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["c001", "c003", "c004", "c005", "c007", "c008", "c009"]);
    let failed = result["failed"].as_array().expect("failures");
    let failed: Vec<(&str, &str)> =
        failed.iter().map(|f| (f["id"].as_str().expect("an id"), f["reason"].as_str().expect("a reason"))).collect();
    assert_eq!(failed.iter().map(|f| f.0).collect::<Vec<_>>(), ["c002", "c006"]);
    assert!(failed.iter().all(|f| f.1.starts_with("friction: ") && f.1.contains('3')), "{failed:?}");
    assert!(world.tasks().contains("c002-friction=failed") && world.tasks().contains("c002-dissolution=completed"));
}

#[test]
fn a_campaign_whose_simulations_all_fail_asks_for_a_person() {
    let world = world(small());
    break_simulator(&world, "0123456789");
    world.init();
    let held = world.run(&["loop", "r"]).code(5);
    assert!(held.stdout.contains("every candidate of iteration 1 failed; the first: friction: "), "{held:?}");
    assert_eq!(world.status()["state"], "held");
    // a person says go on; the next iteration fails as well, and the campaign asks again
    world.run(&["resume", "r"]).code(0);
    let again = world.run(&["loop", "r"]).code(5);
    assert!(again.stdout.contains("every candidate of iteration 2 failed"), "{again:?}");
}

#[test]
fn wrong_parameters_are_refused_before_a_run_exists() {
    let check = |params: Value, words: &str| {
        let world = world(params);
        let refused = world.run(&["init", "demo", "--run-id", "r"]);
        assert!(refused.code != Some(0), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
        assert!(!world.run_dir("r").exists(), "nothing is left behind");
    };
    check(
        json!({"bacth": 5}),
        "unknown parameter `bacth`; there are `initial`, `batch`, `max_iterations`, `pool`, `tolerance`",
    );
    check(json!({"batch": 0}), "`batch` is 0; it must be a whole number from 1 to 20");
    check(json!({"tolerance": 2}), "`tolerance` is 2; it must be a number from 0 to 1");
}
