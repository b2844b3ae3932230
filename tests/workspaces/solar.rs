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

/// What the laboratory has measured of a blend, by the numbers in the order of the variables' columns.
fn measured(space: &Space, blend: &Value) -> f64 {
    let table = std::fs::read_to_string(space.directory().join("data/measured.csv")).expect("the data");
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let heading = lines.next().expect("a heading");
    let of = |line: &[&str], name: &str| {
        let at = heading.iter().position(|column| *column == name).expect("a column");
        line[at].trim().parse::<f64>().expect("a number")
    };
    let wanted = blend.as_object().expect("parameters");
    let is_wanted = |line: &Vec<&str>| {
        wanted.iter().all(|(name, value)| (of(line, name) - value.as_f64().expect("a number")).abs() < 1e-9)
    };
    let made: Vec<f64> = lines.filter(is_wanted).map(|line| of(&line, "degradation")).collect();
    assert!(!made.is_empty(), "nobody has made {blend}");
    made.iter().sum::<f64>() / made.len() as f64
}

#[test]
fn a_person_measures_and_answers_as_the_readme_says() {
    let space = space();
    let readme = std::fs::read_to_string(space.directory().join("README.md")).expect("a README");
    let by_hand = readme.split_once("```json\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block").0;
    space.init("r", &["--set", &format!("campaign.params.tell={by_hand}"), "--set", "campaign.params.budget.trials=6"]);
    let mut answered = 0;
    for _ in 0..20 {
        let done = space.run(&["loop", "r", "--timeout", "300s"]);
        if done.code == Some(0) {
            break;
        }
        assert_eq!(done.code, Some(5), "only people are waited for: {done:?}");
        let waits = space.status("r")["waiting_on"].clone();
        for wait in waits.as_array().expect("a list").iter().filter(|wait| wait["kind"] == "person") {
            let reason = text(&wait["reason"]);
            // a person reads which blend, and looks it up
            let numbers: Vec<f64> = reason.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
            let names = ["pce10", "p3ht", "pcbm", "oidtbr"];
            assert_eq!(numbers.len(), names.len(), "{reason}");
            let blend: Value =
                names.iter().zip(numbers).map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let command: Vec<&str> = text(&wait["hint"]).split(' ').skip(1).collect();
            assert_eq!(command[..2], ["respond", "r"], "{wait}");
            let value = format!("degradation={}", measured(&space, &blend));
            space.run(&[&command[..], &["--set", &value]].concat()).code(0);
            answered += 1;
        }
    }
    let history = trials(&space, "r");
    assert_eq!((history.len(), answered), (6, 6));
    for trial in &history {
        let told = trial["result"]["degradation"].as_f64().expect("a number");
        assert!((told - measured(&space, &trial["params"])).abs() < 1e-12, "{trial}");
    }
    let asked = space.tasks_once("r");
    assert!(asked.iter().all(|task| task.ends_with("=completed")), "{asked:?}");
    space.run(&["replay", "r"]).code(0);
}

#[test]
fn a_supervisor_that_is_killed_loses_what_ran_says_so_and_the_campaign_goes_on() {
    let space = space();
    // the laboratory notes each start, and takes its time while the test wants it to
    let script = space.directory().join("scripts/measure.py");
    let code = std::fs::read_to_string(&script).expect("a script");
    let slow = "def measure(params):\n    import os, time\n    place = os.environ['MATTERSTACK_WORKSPACE_DIR']\n    \
                open(place + '/starts', 'a').write(os.getcwd() + '\\n')\n    \
                while os.path.exists(place + '/hold'): time.sleep(0.02)\n";
    std::fs::write(&script, code.replace("def measure(params):\n", slow)).expect("a script");
    let hold = space.directory().join("hold");
    std::fs::write(&hold, "").expect("a file");
    let starts = || {
        let text = std::fs::read_to_string(space.directory().join("starts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    space.init("r", &["--set", "campaign.params.budget.trials=10"]);
    let mut driver = space.start(&["loop", "r"]);
    until("two blends are being measured", || starts().len() == 2);
    let supervisors = crate::support::supervisors(&space.run_dir("r"));
    assert_eq!(supervisors.len(), 1, "{supervisors:?}");
    Command::new("kill").args(["-9", &supervisors[0]]).status().expect("killed");
    std::fs::remove_file(&hold).expect("ours");
    // the campaign goes on beside what is lost, of which nothing is known: a person decides
    assert_eq!(driver.0.wait().expect("the loop ends").code(), Some(5));
    let explained = space.run(&["explain", "r", "--json"]).code(0).json();
    let lost = explained.as_array().expect("a list").iter().filter(|one| !one["task"].is_null());
    let lost: Vec<(&str, &str)> = lost.map(|one| (text(&one["task"]), text(&one["command"]))).collect();
    assert_eq!(lost.len(), 2, "{explained}");
    assert!(explained.to_string().contains("ended while no supervisor was there to see how"), "{explained}");
    assert_eq!(starts().len(), 10, "the others were measured meanwhile");
    let took = format!("matterstack settle r {} --completed", lost[0].0);
    assert_eq!(lost[0].1, took, "what it left may be taken");
    space.run(&took.split(' ').skip(1).collect::<Vec<_>>()).code(0);
    space.run(&["settle", "r", lost[1].0, "--failed"]).code(0);
    space.run(&["loop", "r"]).code(0);
    let history = space.result("r")["history"].as_array().expect("trials").clone();
    let (done, failed): (Vec<&Value>, Vec<&Value>) = history.iter().partition(|trial| trial["state"] == "completed");
    assert_eq!((history.len(), failed.len()), (10, 1), "{history:?}");
    assert_eq!(text(&failed[0]["state"]), "failed");
    assert!(done.iter().all(|trial| trial["result"]["degradation"].is_number()), "{done:?}");
    let started: BTreeSet<String> = starts().into_iter().collect();
    assert_eq!((started.len(), starts().len()), (10, 10), "at most once");
    space.run(&["replay", "r"]).code(0);
    space.run(&["doctor", "r"]).code(0);
}

#[test]
fn a_fork_measures_nothing_again_and_other_programs_are_tried_on_what_is_known() {
    let space = space();
    let script = space.directory().join("scripts/measure.py");
    let code = std::fs::read_to_string(&script).expect("a script");
    let noted = "def measure(params):\n    import os\n    place = os.environ['MATTERSTACK_WORKSPACE_DIR']\n    \
                 open(place + '/starts', 'a').write(os.getcwd() + '\\n')\n";
    std::fs::write(&script, code.replace("def measure(params):\n", noted)).expect("a script");
    let starts = || std::fs::read_to_string(space.directory().join("starts")).unwrap_or_default().lines().count();
    space.init("r", &["--set", "campaign.params.budget.trials=12"]);
    space.run(&["loop", "r"]).code(0);
    assert_eq!(starts(), 12);
    // another program goes on from before decision 21; what was measured by then is not measured again
    let other = "import csv\n\ndef ask(told):\n    rows = list(csv.DictReader(open('blends.csv')))\n    \
                 taken = [trial['params'] for trial in told['trials']]\n    \
                 free = [row for row in ({name: float(cell) for name, cell in row.items()} for row in rows) if row not in taken]\n    \
                 return {'trials': [{'params': row} for row in free[:told['wanted']]]}\n";
    std::fs::write(space.directory().join("scripts/ask.py"), other).expect("a script");
    let made =
        space.run(&["fork", "r", "--at", "21", "--run-id", "f", "--file", "scripts/ask.py", "--json"]).code(0).json();
    let taken = space.tasks_once("f").iter().filter(|task| task.starts_with("trial-")).count();
    assert_eq!((&made["shared"]["decisions"], &made["shared"]["open"]), (&json!(20), &json!(0)), "{made}");
    assert!(taken >= 8, "{made}");
    space.run(&["loop", "f"]).code(0);
    assert_eq!(starts(), 12 + 12 - taken, "only what the other program chose was measured");
    trials(&space, "f");
    space.run(&["replay", "f"]).code(0);
    space.run(&["doctor", "f"]).code(0);
    let decisions = |run: &str| {
        space.run(&["evidence", run]).code(0);
        let bundle = super::space::read(&space.run_dir(run).join("evidence/evidence.json"));
        bundle["decisions"].as_array().expect("decisions").clone()
    };
    assert_eq!(decisions("f")[..20], decisions("r")[..20]);
    space.asked_by_a_stranger("f");
    // both programs on all that the laboratory has measured, without measuring
    let table = space.directory().join("data/measured.csv");
    let table = table.to_str().expect("UTF-8");
    let of = ["backtest", "f", "--ask", "scripts/ask.py:ask", "--seeds", "4", "--oracle", table, "--json"];
    let tried = space.run(&of).code(0).json();
    assert_eq!(starts(), 12 + 12 - taken);
    let tried = tried.as_array().expect("virtual runs");
    assert_eq!(tried.len(), 4);
    for course in tried {
        assert_eq!((&course["state"], &course["unanswered"]), (&json!("completed"), &json!([])), "{course}");
        assert_eq!(course["trials"].as_array().expect("results").len(), 12, "{course}");
    }
}
