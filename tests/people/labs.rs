//! Experiments that a laboratory carries out.
use super::{attempt, config, directory, record, waiting, waits_on, woken};
use crate::support::until;
use crate::support::world::World;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A robot: takes each request in the exchange directory, works, and hands its result over by renaming.
const ROBOT: &str = r#"
import json, os, sys
exchange = sys.argv[1]
for name in sorted(os.listdir(exchange)):
    folder = os.path.join(exchange, name)
    if name.startswith('.') or os.path.exists(os.path.join(folder, 'experiment_result.json')):
        continue
    request = json.load(open(os.path.join(folder, 'experiment_request.json')))
    if os.path.exists(os.path.join(folder, 'cancel.json')):
        result = {'token': request['token'], 'status': 'cancelled'}
    else:
        celsius = request['parameters']['celsius']
        with open(os.path.join(folder, 'film.csv'), 'w') as file:
            file.write(open(os.path.join(folder, 'recipe.txt')).read() + str(celsius))
        result = {'token': request['token'], 'status': 'completed', 'data': {'nm': celsius / 4}, 'files': ['film.csv']}
    part = os.path.join(folder, '.result.part')
    json.dump(result, open(part, 'w'))
    os.rename(part, os.path.join(folder, 'experiment_result.json'))
"#;

fn tasks() -> Value {
    json!([
        {"id": "film", "operator": "robot", "input": {"celsius": 300}, "files": {"recipe.txt": {"content": "heat "}},
         "outputs": ["*.csv"]},
        {"id": "read", "operator": "local", "command": "cat x", "files": {"x": {"from": "film", "output": "film.csv"}}},
    ])
}

struct Lab {
    world: World,
    exchange: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let exchange = tempfile::tempdir().expect("an exchange directory");
        let mut config = config(&tasks());
        config["operators"]["robot"] =
            json!({"plugin": "builtin:experiment", "grants": {"exchange": exchange.path()}, "config": {"poll_s": 0.1}});
        Self { world: World::new(&config), exchange }
    }

    fn folders(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.exchange.path()).expect("a directory").flatten().map(|entry| entry.path()).collect()
    }

    fn robot(&self) {
        let done = Command::new("python3").args(["-c", ROBOT]).arg(self.exchange.path()).status().expect("python3");
        assert!(done.success());
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn a_robot_takes_an_experiment_and_its_result_comes_back() {
    let lab = Lab::new();
    let made = lab.world.run(&["init", "demo", "--run-id", "r"]).code(0);
    assert!(made.stderr.contains(&format!("everything in `{}`", lab.exchange.path().display())), "{made:?}");
    for _ in 0..2 {
        lab.world.run(&["step", "r"]).code(0);
    }
    assert_eq!(waits_on(&lab.world, "film")["kind"], "instrument");
    lab.world.run(&["loop", "r"]).code(5);
    let folder = lab.folders().remove(0);
    std::fs::write(folder.join("experiment_progress.json"), "{\"percent\": 40}").expect("progress");
    until("the progress", || {
        lab.world.run(&["step", "r"]).code(0);
        attempt(&lab.world, "film")["state"] == "running"
    });
    assert_eq!(attempt(&lab.world, "film")["reason"], "{\"percent\":40}");
    lab.robot();
    lab.world.run(&["loop", "r"]).code(0);
    assert_eq!(record(&lab.world, "film").0, json!({"nm": 75.0}));
    assert_eq!(lab.world.run(&["logs", "r", "read"]).code(0).stdout, "heat 300");
}

#[test]
fn without_a_grant_the_attempt_directory_is_the_exchange() {
    let world = super::world(&tasks());
    waiting(&world);
    let place = directory(&world, "film");
    let request = json_of(&place.join("experiment_request.json"));
    assert_eq!((&request["task"], &request["parameters"]), (&json!("film"), &json!({"celsius": 300})));
    let driver = world.waiting_loop(&["--wait"]);
    std::fs::write(place.join("film.csv"), "1").expect("a file");
    let result = json!({"status": "completed", "data": {"nm": 1}, "files": ["film.csv"], "token": request["token"]});
    std::fs::write(place.join("result.part"), result.to_string()).expect("a result");
    std::fs::rename(place.join("result.part"), place.join("experiment_result.json")).expect("a hand-over");
    assert_eq!(woken(driver), Some(0));
    assert_eq!(world.run(&["logs", "r", "read"]).code(0).stdout, "1");
}

#[test]
fn a_result_with_the_token_of_another_attempt_is_set_aside() {
    let world = super::world(&json!([
        {"id": "a", "operator": "robot", "input": {}}, {"id": "b", "operator": "robot", "input": {}},
    ]));
    waiting(&world);
    let token = json_of(&directory(&world, "b").join("experiment_request.json"))["token"].clone();
    let result = json!({"status": "completed", "token": token});
    std::fs::write(directory(&world, "a").join("experiment_result.json"), result.to_string()).expect("a result");
    std::fs::write(directory(&world, "b").join("experiment_result.json"), result.to_string()).expect("a result");
    world.run(&["step", "r"]).code(0);
    assert!(waits_on(&world, "a")["reason"].as_str().expect("a reason").contains("another attempt"));
    assert!(directory(&world, "a").join("experiment_result.invalid-1.txt").exists());
    assert_eq!(attempt(&world, "b")["state"], "completed");
}

#[test]
fn a_cancelled_experiment_ends_when_the_robot_says_so() {
    let lab = Lab::new();
    waiting(&lab.world);
    lab.world.run(&["cancel", "r"]).code(0);
    assert!(lab.folders()[0].join("cancel.json").exists(), "the robot is told at once");
    assert_eq!(lab.world.run(&["step", "r", "--json"]).code(0).json()["state"], "cancelling");
    lab.robot();
    assert_eq!(lab.world.step_to_end()["state"], "cancelled");
    assert_eq!(attempt(&lab.world, "film")["state"], "cancelled");
}

#[test]
fn a_result_that_comes_although_the_run_was_cancelled_is_kept() {
    let lab = Lab::new();
    waiting(&lab.world);
    lab.robot();
    lab.world.run(&["cancel", "r"]).code(0);
    lab.world.step_to_end();
    assert_eq!(attempt(&lab.world, "film")["state"], "completed");
    assert_eq!(record(&lab.world, "film").0, json!({"nm": 75.0}));
}

#[test]
fn an_interrupted_hand_over_happens_once() {
    for point in ["submit.before", "submit.after"] {
        let lab = Lab::new();
        lab.world.init();
        let killed = lab.world.run_with(&["step", "r"], &[("MATTERSTACK_FAILPOINT", point)]);
        assert_eq!(killed.code, None, "{killed:?}");
        let taken = lab.exchange.path().with_extension("taken");
        if point == "submit.after" {
            // The robot moved the request away before the next tick asks what became of it.
            std::fs::rename(&lab.folders()[0], &taken).expect("taken");
        }
        lab.world.run(&["step", "r"]).code(0);
        let handed_over = usize::from(point == "submit.before");
        assert_eq!(lab.folders().len(), handed_over, "{point}: it is not handed over a second time");
        if taken.exists() {
            std::fs::rename(&taken, lab.exchange.path().join(taken_name(&lab))).expect("given back");
        }
        lab.robot();
        lab.world.run(&["loop", "r", "--wait"]).code(0);
    }
}

fn taken_name(lab: &Lab) -> String {
    attempt(&lab.world, "film")["attempt_id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_exchange_that_cannot_be_reached_changes_no_verdict() {
    let lab = Lab::new();
    waiting(&lab.world);
    let away = lab.exchange.path().with_extension("away");
    std::fs::rename(lab.exchange.path(), &away).expect("unmounted");
    until("the run says so", || {
        lab.world.run(&["step", "r"]).code(0);
        let told = attempt(&lab.world, "film");
        assert_eq!(told["state"], "waiting_external");
        told["reason"].as_str().is_some_and(|reason| reason.contains("cannot be opened"))
    });
    std::fs::rename(&away, lab.exchange.path()).expect("mounted");
    lab.robot();
    lab.world.run(&["loop", "r", "--wait"]).code(0);
}

#[test]
fn an_exchange_directory_is_granted_by_its_whole_path() {
    let mut config = config(&tasks());
    config["operators"]["robot"]["grants"] = json!({"exchange": "robot/exchange"});
    let refused = World::new(&config).run(&["init", "demo"]).code(2);
    assert!(
        refused.stderr.contains("operators.robot.grants.exchange") && refused.stderr.contains("hint:"),
        "{refused:?}"
    );
}
