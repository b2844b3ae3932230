//! The battery workspace: planned failures, the summary of what is left, another backend, and a killed loop.
use super::space::{Space, number, read, text, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn space() -> Space {
    Space::new("battery_screening", "campaign-battery")
}

/// The nine candidates that fail, and how.
fn planned_failures() -> BTreeMap<String, Value> {
    let by_code = [
        (3, "layered-fine+carbonate layered-fine+ionic-liquid layered-fine+polymer layered-fine+sulfide"),
        (4, "high-voltage+carbonate high-voltage+polymer high-voltage+sulfide spinel+polymer spinel+sulfide"),
    ];
    let reason = |code: i32| json!(format!("exited with code {code}"));
    by_code.iter().flat_map(|(code, ids)| ids.split(' ').map(|id| (id.to_owned(), reason(*code)))).collect()
}

/// Compares a result with the files that the tasks left.
fn check(space: &Space, run: &str) -> Value {
    let result = space.result(run);
    assert_eq!(result["failed"], json!(planned_failures()));
    assert_eq!(result["ranked"], 11);
    let [summary] = &space.attempts(run, "compute", "summary-2")[..] else { panic!("one summary") };
    let whole = read(&summary.join("ranking.json"));
    assert_eq!(whole["failed"], result["failed"]);
    let whole = whole["ranking"].as_array().expect("a ranking");
    assert_eq!(result["ranking"], json!(whole[..5]));
    let mut left: Vec<(f64, String)> = space
        .attempts(run, "compute", "")
        .iter()
        .filter(|attempt| attempt.join("discharge.json").exists())
        .map(|attempt| read(&attempt.join("discharge.json")))
        .map(|file| (number(&file["energy_wh_kg"]), text(&file["candidate"]).to_owned()))
        .collect();
    left.sort_by(|a, b| b.0.total_cmp(&a.0));
    let ranked: Vec<(f64, String)> =
        whole.iter().map(|entry| (number(&entry["energy_wh_kg"]), text(&entry["candidate"]).to_owned())).collect();
    assert_eq!(ranked, left);
    let table = std::fs::read_to_string(summary.join("ranking.csv")).expect("a table");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.len(), lines[1].starts_with("1,layered-oxide+carbonate,")), (12, true), "{table}");
    result
}

#[test]
fn the_readme_screens_and_ranks() {
    let space = space();
    let said = space.follow_readme("campaign-battery", "campaign/battery.wasm");
    assert!(said.contains("11 of 20 candidates have a result, 9 failed; best: layered-oxide+carbonate"), "{said}");
    check(&space, "latest");
    space.asked_by_a_stranger("latest");
}

#[test]
fn one_setting_runs_it_elsewhere_with_the_same_result() {
    let space = space();
    space.settings(&json!({"backends": {"cluster": {"kind": "local", "cores": 3}}}));
    space.init("here", &[]);
    space.init("there", &["--set", r#"operators.compute.grants.compute=["cluster"]"#]);
    for run in ["here", "there"] {
        space.run(&["loop", run]).code(0);
    }
    assert_eq!(check(&space, "there"), check(&space, "here"));
}

#[test]
fn the_switch_of_the_readme_runs_it_on_slurm_with_the_same_result() {
    let mut space = space();
    let (cluster, switch) = space.on_slurm();
    space.init("here", &[]);
    space.init("cluster", &switch);
    space.run(&["loop", "cluster", "--timeout", "300s"]).code(0);
    assert_eq!(cluster.jobs("%A").len(), 21, "every task was a job of the cluster, once");
    space.run(&["loop", "here"]).code(0);
    space.run(&["replay", "here"]).code(0);
    assert_eq!(check(&space, "cluster"), check(&space, "here"));
    assert_eq!(space.tasks_once("cluster"), space.tasks_once("here"));
}

#[test]
fn a_loop_killed_in_the_middle_comes_to_the_same_end() {
    let space = space();
    // a shorter step makes the tasks long enough to be in their midst
    let step = ["--set", "campaign.params.time_step_s=0.25"];
    space.init("whole", &step);
    space.run(&["loop", "whole"]).code(0);
    space.init("cut", &step);
    for ended in [3, 9, 15] {
        let mut looping = space.start(&["loop", "cut"]);
        until("some tasks have ended", || {
            let tasks = &space.status("cut")["tasks"];
            tasks["completed"].as_u64() > Some(0)
                && number(&tasks["completed"]) + number(&tasks["failed"]) >= f64::from(ended)
        });
        looping.kill();
    }
    assert_eq!(space.status("cut")["state"], "active", "it was killed in the middle");
    space.run(&["loop", "cut"]).code(0);
    space.run(&["replay", "cut"]).code(0);
    space.run(&["doctor", "cut"]).code(0);
    assert_eq!(space.result("cut"), space.result("whole"));
    assert_eq!(space.tasks_once("cut"), space.tasks_once("whole"));
}

#[test]
fn when_every_candidate_fails_the_run_says_so() {
    let space = space();
    let data = space.directory().join("data/candidates.json");
    let mut candidates = read(&data);
    candidates["electrolytes"] = json!({"polymer": {"conductivity_s_m": 0.02, "oxidation_v": "high"}});
    std::fs::write(&data, candidates.to_string()).expect("a file");
    space.init("r", &[]);
    let failed = space.run(&["loop", "r"]).code(1);
    assert!(failed.stdout.contains("no candidate has a result, so there is nothing to rank"), "{failed:?}");
    let logs = space.run(&["logs", "r", "olivine+polymer"]).code(0);
    let said = format!("{}{}", logs.stdout, logs.stderr);
    assert!(said.contains("`oxidation_v` must be a number from 1 to 7, not \"high\""), "{said}");
}

fn cell(radius_m: f64, conductivity: f64, c_rate: f64, step_s: f64) -> Value {
    json!({
        "candidate": "x+y", "c_rate": c_rate, "time_step_s": step_s,
        "cathode": {
            "capacity_mah_g": 180, "voltage_v": 3.8, "slope_v": 0.7, "diffusivity_m2_s": 3e-15, "radius_m": radius_m,
        },
        "electrolyte": {"conductivity_s_m": conductivity, "oxidation_v": 4.4},
    })
}

#[test]
fn the_model_has_its_limits_right() {
    let space = space();
    let of = |input: Value| match space.script("discharge.py", &input) {
        (Some(0), _, result) => result,
        other => panic!("{other:?}"),
    };
    let slow = of(cell(3e-6, 100.0, 0.01, 2.0));
    assert!(number(&slow["voltage_efficiency"]) > 0.999, "nothing is lost without current: {slow}");
    assert!(number(&slow["capacity_mah_g"]) > 0.95 * 180.0 && number(&slow["capacity_mah_g"]) < 180.0, "{slow}");
    let (coarse, fine) = (of(cell(3e-6, 1.0, 1.0, 2.0)), of(cell(3e-6, 1.0, 1.0, 0.5)));
    let (coarse, fine) = (number(&coarse["energy_wh_kg"]), number(&fine["energy_wh_kg"]));
    assert!((coarse / fine - 1.0).abs() < 2e-3, "the step does not matter where the scheme is stable: {coarse} {fine}");
    assert!(number(&of(cell(3e-6, 1.0, 3.0, 2.0))["energy_wh_kg"]) < coarse, "a higher rate delivers less");
    let (code, said, _) = space.script("discharge.py", &cell(3e-7, 1.0, 1.0, 2.0));
    assert_eq!(code, Some(3));
    assert!(said.contains("diverged: D dt / dr^2 is 26.7"), "{said}");
}

#[test]
fn its_scripts_name_what_is_wrong() {
    let space = space();
    let check = |change: fn(&mut Value), words: &str| {
        let mut input = cell(3e-6, 1.0, 1.0, 2.0);
        change(&mut input);
        let (code, said, left) = space.script("discharge.py", &input);
        assert_eq!((code, &left), (Some(2), &Value::Null), "{said}");
        assert!(said.starts_with("error: ") && said.contains(words) && said.lines().count() == 1, "{said}");
    };
    check(|input| *input = json!([]), "`input.json` must hold an object");
    check(|input| input["candidate"] = json!(""), "`candidate` must be a text that is not empty");
    check(|input| input["cathode"] = json!(3), "`cathode` must be an object, not 3");
    check(|input| input["cathode"]["radius_m"] = json!(0), "`radius_m` must be a number from 1e-09 to 0.001, not 0");
    check(
        |input| input["electrolyte"]["oxidation_v"] = json!(true),
        "`oxidation_v` must be a number from 1 to 7, not true",
    );
    check(|input| input["c_rate"] = Value::Null, "`c_rate` must be a number from 0.01 to 20, not null");
}
