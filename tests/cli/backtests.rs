//! `backtest`: campaigns against results that are known already.
use crate::support::guest;
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::fs;

/// A campaign that asks for points of a grid, of which a script measures the height.
fn hill(parallel: u32) -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "builtin:ask-tell", "seed": 3, "params": {
        "ask": {"call": "scripts/ask.py:ask", "operator": "local"},
        "tell": {"command": "cat params.json > asked; printf '{\"height\": %s}' $(sed 's/[^0-9.]//g' params.json) > result.json; \
                 echo >> ../../../../../measured", "operator": "local"},
        "variables": {"x": [0, 1]}, "objectives": {"height": "MAXIMIZE"}, "parallel": parallel, "budget": {"trials": 5},
    }});
    let world = World::new(&config);
    let ask = "import random\n\ndef ask(told):\n    rng = random.Random(told['seed'])\n    \
               return {'trials': [{'params': {'x': rng.randrange(1, 9) / 10}} for _ in range(told['wanted'])]}\n";
    world.write("scripts/ask.py", ask);
    world
}

fn measured(world: &World) -> usize {
    fs::read_to_string(world.workspace().join("measured")).unwrap_or_default().lines().count()
}

fn tried(world: &World, arguments: &[&str]) -> Vec<Value> {
    let done = world.run(&[&["backtest", "r", "--json"], arguments].concat()).code(0);
    done.json().as_array().expect("virtual runs").clone()
}

#[test]
fn the_campaign_of_a_run_decides_alike_again_and_starts_nothing() {
    let world = hill(1);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let result = world.status()["result"].clone();
    let before = fs::read_dir(world.run_dir("r")).expect("files").count();
    let all = tried(&world, &[]);
    let [course] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        (&course["state"], &course["asked"], &course["unanswered"]),
        (&json!("completed"), &json!(0), &json!([]))
    );
    assert_eq!(course["best"], result["best"]["result"]["height"]);
    let values: Vec<&Value> = course["trials"].as_array().expect("results").iter().map(|one| &one["value"]).collect();
    let heights: Vec<&Value> =
        result["history"].as_array().expect("trials").iter().map(|one| &one["result"]["height"]).collect();
    assert_eq!(values, heights, "the same points in the same order");
    assert_eq!(measured(&world), 5, "nothing was measured again");
    assert_eq!(fs::read_dir(world.run_dir("r")).expect("files").count(), before, "nothing is left in the run");
}

#[test]
fn campaigns_are_compared_on_a_table_in_its_own_time() {
    let world = hill(2);
    world.init();
    let rows: Vec<String> = (0..=10).map(|n| format!("{},{},{}", f64::from(n) / 10.0, 100 - n, 60)).collect();
    world.write("known.csv", &format!("x,height,duration_s\n{}\n", rows.join("\n")));
    let grid = "def ask(told):\n    n = len(told['trials'])\n    \
                return {'trials': [{'params': {'x': (n + k) / 10}} for k in range(told['wanted'])]}\n";
    world.write("scripts/grid.py", grid);
    let table = world.workspace().join("known.csv");
    let (table, out) = (table.to_str().expect("UTF-8"), world.workspace().join("out.csv"));
    let of = ["--ask", "scripts/grid.py:ask", "--ask", "scripts/ask.py:ask", "--seeds", "3", "--oracle", table];
    let all = tried(&world, &[&of[..], &["--out", out.to_str().expect("UTF-8")]].concat());
    assert_eq!(all.len(), 6);
    let seeds: Vec<(&str, u64)> = all
        .iter()
        .map(|one| (one["plugin"].as_str().expect("a name"), one["seed"].as_u64().expect("a seed")))
        .collect();
    assert_eq!(
        seeds[..4],
        [("scripts/grid.py:ask", 1), ("scripts/grid.py:ask", 2), ("scripts/grid.py:ask", 3), ("scripts/ask.py:ask", 1)]
    );
    for course in &all {
        assert_eq!((&course["state"], &course["unanswered"]), (&json!("completed"), &json!([])), "{course}");
        assert_eq!(course["trials"].as_array().expect("results").len(), 5);
        let time = course["time_s"].as_f64().expect("a time");
        assert!((180.0..240.0).contains(&time), "five results of a minute, two at a time: {time}");
    }
    assert_eq!((&all[0]["best"], &all[0]["best_after"]), (&json!(100.0), &json!(1)));
    assert_eq!(all, tried(&world, &of), "the same again");
    let rows = fs::read_to_string(out).expect("a table");
    assert_eq!(rows.lines().count(), 1 + 6 * 5);
    assert_eq!(measured(&world), 0);
    // without the table nothing is known, which the campaign hears and the person too
    let done = world.run(&["backtest", "r", "--seeds", "1"]).code(0);
    assert!(done.stderr.contains("5 task(s) are neither in the record nor in a table"), "{done:?}");
}

#[test]
fn a_component_decides_on_a_record_and_another_one_too() {
    let mut config = tasks_config(&json!([]));
    let params = json!({"lo": 0, "hi": 1024, "target": 613, "iterations": 4});
    config["campaign"] = json!({"plugin": "loop.wasm", "params": params, "seed": 42});
    let world = World::new(&config);
    let mut bytes = fs::read(guest("loop-rust")).expect("the guest");
    fs::write(world.workspace().join("loop.wasm"), &bytes).expect("a plugin");
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    fs::write(world.workspace().join("other.wasm"), bytes).expect("a plugin");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let other = world.workspace().join("other.wasm");
    let of = ["--plugin", "builtin:workflow", "--plugin", other.to_str().expect("UTF-8"), "--minimize", "value"];
    let all = tried(&world, &of);
    assert_eq!(all[0]["state"], "held", "its parameters are none of a workflow: {}", all[0]);
    assert_eq!((&all[1]["state"], &all[1]["unanswered"]), (&json!("completed"), &json!([])), "{}", all[1]);
    assert_eq!(all[1]["decisions"], 9, "plans, analyses, and the last plan");
    // a campaign that asks for what nobody has recorded is told so
    let away = tried(&world, &["--set", "campaign.params.target=1", "--minimize", "value"]);
    assert_ne!(away[0]["state"], "", "{}", away[0]);
    for (arguments, said) in [
        (&[][..], "by which number results are to be compared"),
        (&["--minimize", "value", "--oracle", "nothing.csv"], "nothing.csv"),
        (&["--minimize", "value", "--ask", "../x.py:ask"], "is no file of the workspace"),
        (&["--minimize", "value", "--seeds", "0"], "0"),
    ] {
        let done = world.run(&[&["backtest", "r"], arguments].concat()).code(2);
        assert!(done.stderr.contains(said), "{arguments:?}: {done:?}");
    }
}
