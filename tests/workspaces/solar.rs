//! The solar cells: measured data as the laboratory, and a program in a venv of its own that decides.
use super::space::{Reaped, Space, text, until};
use super::workspace;
use crate::support::slurm::{Cluster, Plan};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Blends that were measured.
const BLENDS: f64 = 1020.0;

/// The environment with scikit-learn that `cargo xtask test` keeps.
fn venv() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory");
    let venv = target.join("tools/scikit-learn-1.9.1");
    assert!(venv.join("bin/python").exists(), "{}: `cargo xtask test` makes it", venv.display());
    venv
}

/// A copy of the workspace with the data fetched as its README says, once for all tests.
fn fetched() -> &'static PathBuf {
    static FETCHED: OnceLock<PathBuf> = OnceLock::new();
    FETCHED.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("solar-cells");
        std::fs::create_dir_all(&place).expect("a directory");
        std::fs::copy(workspace("solar_cells_ask_tell").join("get_data.py"), place.join("get_data.py"))
            .expect("a copy");
        let done =
            Command::new(venv().join("bin/python")).arg(place.join("get_data.py")).output().expect("python runs");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(said.contains("1040 measurements of 1020 blends"), "{done:?}");
        place.join("data")
    })
}

fn space() -> Space {
    let space = Space::plain("solar_cells_ask_tell");
    let data = space.directory().join("data");
    std::fs::create_dir_all(&data).expect("a directory");
    for name in ["measured.csv", "blends.csv"] {
        std::fs::copy(fetched().join(name), data.join(name)).expect("the data");
    }
    std::os::unix::fs::symlink(venv(), space.directory().join("venv")).expect("a link");
    space
}

/// The trials of a run that completed: every one measured, and none twice.
fn trials(space: &Space, run: &str) -> Vec<Value> {
    let history = space.result(run)["history"].as_array().expect("trials").clone();
    let blends: BTreeSet<String> = history.iter().map(|trial| trial["params"].to_string()).collect();
    assert_eq!(blends.len(), history.len(), "a blend was measured twice");
    assert!(history.iter().all(|trial| trial["result"]["degradation"].is_number()), "{history:?}");
    history
}

#[test]
fn the_best_blend_is_found_by_three_seeds_of_four() {
    let space = space();
    let mut python = Command::new(venv().join("bin/python"));
    python
        .arg(crate::support::root().join("tests/workspaces/solar.py"))
        .arg(space.directory())
        .args(["60", "0", "1", "2", "3"]);
    let done = python.output().expect("python runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let found: Vec<u32> = said.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    println!("found after {found:?} of 60 measurements; at random in {:.1} % of cases", 100.0 * 60.0 / BLENDS);
    assert_eq!(found.len(), 4, "{done:?}");
    assert!(found.iter().filter(|number| **number > 0).count() >= 3, "{found:?}");
}

#[test]
fn a_loop_that_is_killed_in_the_middle_measures_every_blend_once() {
    let space = space();
    space.init("r", &["--set", "campaign.params.budget.trials=14"]);
    for pause in [1500, 2500, 3500] {
        let mut driver = space.start(&["loop", "r"]);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        driver.kill();
    }
    space.run(&["loop", "r"]).code(0);
    assert_eq!(trials(&space, "r").len(), 14);
    assert!(space.tasks_once("r").iter().all(|task| task.ends_with("=completed")));
    space.run(&["replay", "r"]).code(0);
    space.run(&["doctor", "r"]).code(0);
    let table = space.run(&["table", "r", "--fields", "result.json", "--format", "csv"]).code(0).stdout;
    assert!(
        table.lines().next().is_some_and(|line| line.contains("params.oidtbr") && line.contains("result.degradation"))
    );
}

#[test]
fn one_setting_measures_on_slurm() {
    let mut space = space();
    let cluster = Cluster::start(Plan::default());
    let (name, value) = cluster.environment();
    space.set(name, &value);
    space.settings(&json!({"backends": {"cluster": {"kind": "slurm", "poll_interval_s": 0.2}}}));
    let switch = "operators.lab.grants.compute=[\"cluster\"]";
    space.init("r", &["--set", switch, "--set", "campaign.params.budget.trials=8"]);
    space.run(&["loop", "r", "--timeout", "300s"]).code(0);
    assert_eq!(trials(&space, "r").len(), 8);
    assert_eq!(cluster.jobs("%A").len(), 8, "every measurement was a job of the cluster, once");
}

#[test]
fn a_robot_measures_with_the_controller_of_another_laboratory() {
    let space = space();
    let there = space.directory().parent().expect("a root").join("thin_film_lab/lab");
    std::fs::create_dir_all(&there).expect("a directory");
    std::fs::copy(workspace("thin_film_lab").join("lab/robot.py"), there.join("robot.py")).expect("the controller");
    space.init(
        "r",
        &["--set", "campaign.params.tell={\"operator\": \"robot\"}", "--set", "campaign.params.budget.trials=6"],
    );
    let start = || {
        let mut robot = Command::new("python3");
        robot.args(["-B", "lab/robot.py"]).arg(space.run_dir("r").join("operators/robot"));
        robot.args(["--every", "0.05", "--seconds", "0.3"]).current_dir(space.directory());
        robot.stdout(std::process::Stdio::null());
        Reaped(robot.spawn().expect("python3 runs"))
    };
    let mut driver = space.start(&["loop", "r", "--wait"]);
    let mut robot = start();
    until("a blend is measured", || {
        space.attempts("r", "robot", "").iter().any(|attempt| attempt.join("experiment_result.json").exists())
    });
    // both die in the middle; what the robot had begun is told as failed, and the program asks for another
    robot.kill();
    driver.kill();
    let _robot = start();
    space.run(&["loop", "r", "--wait", "--timeout", "300s"]).code(0);
    let history = space.result("r")["history"].as_array().expect("trials").clone();
    let (done, failed): (Vec<&Value>, Vec<&Value>) = history.iter().partition(|trial| trial["state"] == "completed");
    assert!(done.len() >= 4 && failed.len() <= 2, "{history:?}");
    assert!(failed.iter().all(|trial| text(&trial["state"]) == "failed"), "{history:?}");
}
