//! The adapters of `docs/ask-tell` for optimisers that others wrote, each driving a run, and the loop that was ported.
use crate::support::optimisers;
use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;

/// Leaves the value of a bowl; two of the trials fail, and the first waits until a second ask has been answered, so
/// that there is one that knows of a trial that runs and of one that failed.
const MEASURE: &str = r#"import glob, json, sys, time

trial = sys.argv[1]
if trial in ("trial-0002", "trial-0006"):
    sys.exit("the sample broke")
while trial == "trial-0001" and not glob.glob("../ask-0002*/trials.json"):
    time.sleep(0.1)
with open("params.json") as file:
    point = json.load(file)
loss = (point["x"] - 0.3) ** 2 + 0.1 * (point["n"] - 2) ** 2 + (0.2 if point["solvent"] == "dmso" else 0.0)
with open("result.json", "w") as file:
    json.dump({"loss": {"mean": loss, "sem": 0.01}, "cost": point["n"]}, file)
"#;

/// Twelve trials that an adapter proposes; returns what it was told in its second ask, and the result.
fn drive(adapter: &str, more: &Value) -> (Value, Value) {
    let mut config = json!({"campaign": {"plugin": "builtin:ask-tell", "seed": 3, "params": {
        // threads that wait for each other by spinning take all the time there is on a busy machine
        "ask": {"call": "scripts/adapter.py:ask", "python": optimisers(), "env": {"OMP_NUM_THREADS": "1"}},
        "tell": {"command": ["python3", "measure.py", "{trial}"], "files": {"measure.py": {"path": "scripts/measure.py"}}},
        "variables": {"x": [0, 1], "n": {"integer": [1, 4]}, "solvent": ["water", "dmso"]},
        "objectives": {"loss": "MINIMIZE"}, "parallel": 4, "batch": 3, "budget": {"trials": 12},
    }}});
    let params = config["campaign"]["params"].as_object_mut().expect("an object");
    params.extend(more.as_object().expect("an object").clone());
    let world = World::new(&config);
    let text = fs::read_to_string(crate::support::root().join("docs/ask-tell").join(adapter)).expect("an adapter");
    assert!(text.lines().count() <= 30, "{adapter} has {} lines", text.lines().count());
    world.write("scripts/adapter.py", &text);
    world.write("scripts/measure.py", MEASURE);
    world.init();
    let looped = world.run(&["loop", "r", "--timeout", "900s"]);
    assert_eq!(looped.code, Some(0), "{looped:?} {}", world.status());
    let asked = fs::read_dir(world.run_dir("r").join("operators/local")).expect("attempts").flatten();
    let second = asked.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/ask-0002"));
    let told = fs::read(second.expect("a second ask").join("ask.json")).expect("ask.json");
    world.is_sound("r");
    (serde_json::from_slice(&told).expect("JSON"), world.status()["result"].clone())
}

/// How many trials are in each state, of those that are asked for.
fn count(trials: &Value, state: &str) -> usize {
    trials.as_array().expect("trials").iter().filter(|trial| trial["state"] == state).count()
}

fn drives_a_run(adapter: &str, more: &Value) {
    let (told, result) = drive(adapter, more);
    let states = ["completed", "failed", "pending"].map(|state| count(&told["trials"], state));
    assert_eq!(states, [2, 1, 1], "what the second ask was told: {told}");
    let history = &result["history"];
    assert_eq!((count(history, "completed"), count(history, "failed")), (10, 2), "{result}");
    let points: Vec<&Value> = history.as_array().expect("trials").iter().map(|trial| &trial["params"]["x"]).collect();
    assert!(points.iter().any(|x| *x != points[0]), "every point is the same: {points:?}");
}

/// What an adapter is asked for with two objectives, which take long to weigh against each other: it is asked once.
fn weighs_two_objectives(adapter: &str) {
    let place = tempfile::tempdir().expect("a scratch directory");
    let text = fs::read_to_string(crate::support::root().join("docs/ask-tell").join(adapter)).expect("an adapter");
    fs::write(place.path().join("adapter.py"), text).expect("a file");
    let trial = |x: f64| {
        json!({"trial": format!("t{x}"), "state": "completed", "source": "ask", "params": {"x": x},
               "result": {"loss": [x * x, x * x + 0.02], "cost": {"mean": 1.0 - x, "sem": 0.01}}})
    };
    let trials: Vec<Value> = [0.1, 0.3, 0.5, 0.6, 0.8, 0.9].map(trial).into();
    let told = json!({"seed": 5, "round": 2, "wanted": 1, "variables": {"x": [0, 1]}, "constraints": {}, "observables": [],
        "constants": {}, "objectives": {"loss": "MINIMIZE", "cost": "MAXIMIZE"}, "trials": trials});
    let call = "import json, sys, adapter; print('answer', json.dumps(adapter.ask(json.loads(sys.argv[1]))))";
    let mut python = std::process::Command::new(optimisers());
    python.args(["-c", call, &told.to_string()]).current_dir(place.path()).env("OMP_NUM_THREADS", "1");
    let done = python.output().expect("python runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let answer = said.lines().find_map(|line| line.strip_prefix("answer ")).unwrap_or_else(|| panic!("{done:?}"));
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    assert!(answer["trials"][0]["params"]["x"].is_number() && answer["trials"][1].is_null(), "{answer}");
}

#[test]
#[ignore = "needs libraries of 2 GB: `cargo xtask test --slow`"]
fn optuna_drives_a_run() {
    drives_a_run("optuna.py", &json!({}));
    weighs_two_objectives("optuna.py");
}

#[test]
#[ignore = "needs libraries of 2 GB: `cargo xtask test --slow`"]
fn ax_drives_a_run() {
    drives_a_run("ax.py", &json!({"constraints": {"cost": ["LESS_THAN", 3]}}));
    weighs_two_objectives("ax.py");
}

#[test]
#[ignore = "needs libraries of 2 GB: `cargo xtask test --slow`"]
fn baybe_drives_a_run() {
    drives_a_run("baybe.py", &json!({}));
    weighs_two_objectives("baybe.py");
}

/// The lines of a file that say something.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("\"\"\"")).collect()
}

#[test]
fn a_loop_that_is_ported_takes_ten_lines_of_each() {
    let page = |name: &str| super::readme::page(&format!("docs/ask-tell/port/{name}"));
    let (before, ask, config) = (page("before.py"), page("ask.py"), page("config.json"));
    let kept = lines(&before);
    let new: Vec<&str> = lines(&ask).into_iter().filter(|line| !kept.contains(line)).collect();
    assert!(new.len() <= 10, "{} lines of Python are new: {new:#?}", new.len());
    assert!(lines(&config).len() <= 10, "{config}");
}

#[test]
#[ignore = "needs libraries of 2 GB: `cargo xtask test --slow`"]
fn a_loop_of_ax_and_submitit_runs_before_and_after_it_is_ported() {
    let page = |name: &str| super::readme::page(&format!("docs/ask-tell/port/{name}"));
    let place = tempfile::tempdir().expect("a scratch directory");
    for name in ["before.py", "evaluate.py"] {
        fs::write(place.path().join(name), page(name)).expect("a file");
    }
    let mut python = std::process::Command::new(optimisers());
    let done = python.arg("before.py").current_dir(place.path()).env("OMP_NUM_THREADS", "1").output().expect("it runs");
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("{'x': "), "{done:?}");

    let mut config: Value = serde_json::from_str(&page("config.json")).expect("JSON");
    config["campaign"]["params"]["ask"]["python"] = json!(optimisers());
    config["campaign"]["params"]["ask"]["env"] = json!({"OMP_NUM_THREADS": "1"});
    let world = World::new(&config);
    world.write("ask.py", &page("ask.py"));
    world.write("evaluate.py", &page("evaluate.py"));
    world.init();
    world.run(&["loop", "r", "--timeout", "900s"]).code(0);
    let result = world.status()["result"].clone();
    assert_eq!(result["history"].as_array().map(Vec::len), Some(12), "{result}");
    assert!(result["best"]["result"]["loss"].as_f64().expect("a loss") < 0.2, "{result}");
    world.is_sound("r");
}

/// One more language: the answer is JSON, and nothing else is asked of a program.
const ASK_R: &str = r#"library(jsonlite)
told <- fromJSON("ask.json", simplifyVector = FALSE)
set.seed(told$seed %% 2147483647)
done <- Filter(function(trial) trial$state == "completed", told$trials)
best <- if (length(done)) done[[which.min(sapply(done, function(trial) trial$result$loss))]]$params$x else runif(1)
points <- lapply(seq_len(told$wanted), function(i) list(params = list(x = min(1, max(0, best + rnorm(1, sd = 0.1))))))
write(toJSON(list(trials = points), auto_unbox = TRUE, digits = NA), "trials.json")
"#;

#[test]
#[ignore = "needs R: `cargo xtask test --slow`"]
fn a_program_in_r_decides() {
    let world = World::new(&json!({"campaign": {"plugin": "builtin:ask-tell", "seed": 3, "params": {
        "ask": {"command": ["Rscript", "ask.R"], "files": {"ask.R": {"path": "scripts/ask.R"}}},
        "tell": {"command": "awk 'BEGIN { print \"{\\\"loss\\\": \" ({x} - 0.3) ^ 2 \"}\" }' > result.json"},
        "variables": {"x": [0, 1]}, "objectives": {"loss": "MINIMIZE"}, "parallel": 3, "budget": {"trials": 9},
    }}}));
    world.write("scripts/ask.R", ASK_R);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let result = world.status()["result"].clone();
    assert_eq!(count(&result["history"], "completed"), 9, "{result}");
    world.is_sound("r");
}
