//! The thin-film workspace with its robot controller as a process of its own.
use super::space::{Reaped, Space, number, read, until};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// What the robot knows and the campaign has to find.
const TRUE_STICKING: f64 = 0.62;
const TRUE_SCATTERING: f64 = 1.8;

fn space() -> Space {
    Space::new("thin_film_lab", "campaign-thin-film")
}

/// The robot controller, watching a directory.
fn robot(space: &Space, directory: &Path, seconds: &str) -> Reaped {
    let mut python = Command::new("python3");
    python.arg("-B").arg(space.directory().join("lab/robot.py")).arg(directory);
    python.args(["--every", "0.05", "--seconds", seconds]).stdout(Stdio::null());
    Reaped(python.spawn().expect("python3"))
}

fn lab(space: &Space, run: &str) -> std::path::PathBuf {
    space.run_dir(run).join("operators/robot")
}

/// Checks a result against the truth and against the files of both sides.
fn check(space: &Space, run: &str) -> Value {
    let result = space.result(run);
    assert_eq!(result["agreed"], true, "{result}");
    let found = &result["parameters"];
    let near = |key: &str, truth: f64, index: usize| {
        let (value, error) = (number(&found[key]), number(&found["standard_errors"][index]));
        assert!(
            (value - truth).abs() < 4.0 * error && error < 0.05 * truth,
            "{key} is {value} +- {error}, truly {truth}"
        );
    };
    near("sticking", TRUE_STICKING, 0);
    near("scattering_per_pa_m", TRUE_SCATTERING, 1);
    let cycles = result["cycles"].as_array().expect("cycles");
    let differences: Vec<f64> = cycles.iter().map(|cycle| number(&cycle["difference"]).abs()).collect();
    assert!(differences[0] > 0.5, "the first guess is far off: {differences:?}");
    assert!(differences[differences.len() - 2..].iter().all(|difference| *difference <= 0.03), "{differences:?}");
    for cycle in cycles {
        let attempt = |operator: &str, step: &str| {
            let found = space.attempts(run, operator, &format!("{step}-{}-", cycle["cycle"]));
            assert_eq!(found.len(), 1, "{step} of {cycle}");
            found[0].clone()
        };
        let simulated = read(&attempt("compute", "simulate").join("simulation.json"));
        let measured = read(&attempt("robot", "deposit").join("measurement.json"));
        assert_eq!((&simulated["thickness_nm"], &simulated["recipe"]), (&cycle["predicted_nm"], &cycle["recipe"]));
        assert_eq!((&measured["thickness_nm"], &measured["recipe"]), (&cycle["measured_nm"], &cycle["recipe"]));
    }
    result
}

/// Ticks until the run is held; returns why.
fn step_until_held(space: &Space) -> String {
    let mut reason = String::new();
    until("the run is held", || {
        let tick = space.run(&["step", "r", "--json"]).json();
        reason = tick["reason"].as_str().unwrap_or_default().to_owned();
        tick["state"] == "held"
    });
    reason
}

#[test]
fn the_readme_brings_simulation_and_laboratory_together() {
    let space = space();
    let said = space.follow_readme("campaign-thin-film", "campaign/thin_film.wasm");
    assert!(said.contains("agreed 2 times in a row"), "{said}");
    check(&space, "latest");
    space.asked_by_a_stranger("latest");
}

#[test]
fn an_exchange_directory_and_a_killed_loop_change_nothing() {
    let space = space();
    let exchange = space.home().join("exchange");
    std::fs::create_dir(&exchange).expect("a directory");
    space.init("here", &[]);
    let grant = format!("operators.robot.grants.exchange={}", exchange.display());
    space.init("there", &["--set", &grant, "--set", r#"operators.robot.config={"poll_s": 0.1}"#]);
    let _robots = (robot(&space, &lab(&space, "here"), "0"), robot(&space, &exchange, "0.1"));
    space.run(&["loop", "here", "--wait", "--timeout", "300s"]).code(0);
    for films in 1..=2 {
        let mut looping = space.start(&["loop", "there", "--wait"]);
        until("films are made", || space.attempts("there", "robot", "deposit").len() > films);
        looping.kill();
    }
    space.run(&["loop", "there", "--wait", "--timeout", "300s"]).code(0);
    space.run(&["replay", "there"]).code(0);
    space.run(&["doctor", "there"]).code(0);
    assert_eq!(check(&space, "there"), check(&space, "here"));
    assert_eq!(space.tasks_once("there"), space.tasks_once("here"));
}

#[test]
fn the_switch_of_the_readme_simulates_on_slurm_with_the_same_result() {
    let mut space = space();
    let (cluster, switch) = space.on_slurm();
    space.init("here", &[]);
    space.init("cluster", &switch);
    let _robots = ["here", "cluster"].map(|run| robot(&space, &lab(&space, run), "0"));
    for run in ["here", "cluster"] {
        space.run(&["loop", run, "--wait", "--timeout", "300s"]).code(0);
    }
    let result = check(&space, "cluster");
    let cycles = result["cycles"].as_array().expect("cycles").len();
    assert_eq!(cluster.jobs("%A").len(), 2 * cycles, "every simulation and every fit was a job of the cluster, once");
    assert_eq!(result, check(&space, "here"));
    assert_eq!(space.tasks_once("cluster"), space.tasks_once("here"));
}

#[test]
fn a_robot_killed_in_the_middle_of_a_film_makes_it_no_second_time() {
    let space = space();
    space.init("r", &[]);
    let started = |space: &Space| {
        let attempts = space.attempts("r", "robot", "deposit-1");
        attempts.iter().any(|attempt| attempt.join("experiment_started").exists())
    };
    {
        let mut killed = robot(&space, &lab(&space, "r"), "3600");
        space.run(&["loop", "r"]).code(5);
        until("a film is begun", || started(&space));
        killed.kill();
    }
    let _robot = robot(&space, &lab(&space, "r"), "0");
    let held = step_until_held(&space);
    assert!(held.contains("cycle 1 failed: `deposit-1`: the robot was stopped while it made this film"), "{held:?}");
    // a person says: make another
    space.run(&["rerun", "r", "deposit-1", "--recursive"]).code(0);
    space.run(&["resume", "r"]).code(0);
    space.run(&["loop", "r", "--wait", "--timeout", "300s"]).code(0);
    assert_eq!(space.attempts("r", "robot", "deposit-1").len(), 2, "another attempt, not the same again");
    assert_eq!(space.result("r")["agreed"], true);
}

#[test]
fn a_robot_that_refuses_holds_the_run_and_the_campaign_goes_on_without_the_film() {
    let space = space();
    let script = space.directory().join("lab/robot.py");
    let strict = std::fs::read_to_string(&script).expect("the controller");
    // the first recipe asks for more
    std::fs::write(&script, strict.replace("POWER_MAX_W = 300", "POWER_MAX_W = 220")).expect("the controller");
    space.init("r", &["--set", "campaign.params.max_cycles=3"]);
    let _robot = robot(&space, &lab(&space, "r"), "0");
    let held = step_until_held(&space);
    assert!(held.contains("the supply gives 220 W at most, not 224 W"), "{held:?}");
    space.run(&["resume", "r"]).code(0);
    space.run(&["loop", "r", "--wait", "--timeout", "300s"]).code(0);
    let tasks = space.tasks_once("r");
    for expected in ["deposit-1=failed", "reconcile-1=skipped", "reconcile-2=completed"] {
        assert!(tasks.iter().any(|task| task == expected), "{tasks:?}");
    }
}

#[test]
fn a_cancelled_film_is_never_made() {
    let space = space();
    space.init("r", &[]);
    space.run(&["loop", "r"]).code(5);
    space.run(&["cancel", "r"]).code(0);
    let _robot = robot(&space, &lab(&space, "r"), "0");
    space.run(&["loop", "r", "--wait", "--timeout", "300s"]).code(1);
    assert_eq!(space.status("r")["state"], "cancelled");
    let [attempt] = &space.attempts("r", "robot", "deposit-1")[..] else { panic!("one attempt") };
    assert_eq!(read(&attempt.join("experiment_result.json"))["status"], "cancelled");
    assert!(!attempt.join("experiment_started").exists() && !attempt.join("measurement.json").exists());
}

#[test]
fn the_fit_finds_what_made_the_films() {
    let space = space();
    let simulate = |power: f64, pressure: f64, sticking: f64, scattering: f64| {
        let input = json!({
            "power_w": power, "pressure_pa": pressure, "time_s": 600, "sticking": sticking,
            "scattering_per_pa_m": scattering,
        });
        match space.script("simulate.py", &input) {
            (Some(0), _, result) => result,
            other => panic!("{other:?}"),
        }
    };
    let films: Vec<Value> =
        [(100.0, 1.0), (200.0, 6.0), (50.0, 3.0)].map(|(power, pressure)| simulate(power, pressure, 0.7, 1.2)).to_vec();
    let directory = tempfile::tempdir().expect("a scratch directory");
    let write =
        |name: &str, value: &Value| std::fs::write(directory.path().join(name), value.to_string()).expect("a file");
    write("simulation.json", &simulate(150.0, 2.0, 0.9, 0.0));
    write("measurement.json", &simulate(150.0, 2.0, 0.7, 1.2));
    write("history.json", &json!({"films": films, "sticking": 0.9, "scattering_per_pa_m": 0}));
    let reconcile = || {
        let mut python = Command::new("python3");
        python.arg("-B").arg(space.directory().join("scripts/reconcile.py")).current_dir(directory.path());
        python.args(["simulation.json", "measurement.json", "history.json", "-o", "out.json"]);
        python.output().expect("python3")
    };
    assert!(reconcile().status.success());
    let result = read(&directory.path().join("out.json"));
    let found = &result["parameters"];
    assert!((number(&found["sticking"]) / 0.7 - 1.0).abs() < 0.005, "{result}");
    assert!((number(&found["scattering_per_pa_m"]) / 1.2 - 1.0).abs() < 0.01, "{result}");
    assert_eq!(result["films"], 4);
    write("measurement.json", &simulate(151.0, 2.0, 0.7, 1.2));
    let refused = reconcile();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(said, "error: the film was not made with the recipe that was simulated\n");
    let (code, said, _) = space.script("simulate.py", &json!({"power_w": "much"}));
    assert_eq!((code, said.as_str()), (Some(2), "error: `power_w` must be a number from 10 to 500, not \"much\"\n"));
}
