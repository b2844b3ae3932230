//! `builtin:ask-tell` through the binary: a program of the user's own decides, and is told what came out.
use crate::support::until;
use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;

const ASK: &str = "import random
def ask(told):
    rng = random.Random(told['seed'])
    return {'trials': [{'params': {'x': rng.uniform(0, 1)}} for _ in range(told['wanted'])]}
";
const MEASURE: &str = "def measure(params):
    return {'loss': (params['x'] - 0.3) ** 2}
";

fn config(trials: u64) -> Value {
    json!({"campaign": {"plugin": "builtin:ask-tell", "seed": 7, "params": {
        "ask": {"call": "scripts/ask.py:ask"}, "tell": {"call": "scripts/measure.py:measure"},
        "variables": {"x": [0, 1]}, "objectives": {"loss": "MINIMIZE"}, "parallel": 2, "budget": {"trials": trials},
    }}})
}

fn world(trials: u64, ask: &str) -> World {
    let world = World::new(&config(trials));
    world.write("scripts/ask.py", ask);
    world.write("scripts/measure.py", MEASURE);
    world
}

fn result(world: &World) -> Value {
    world.status()["result"].clone()
}

/// The points of a run that ended, by trial.
fn points(world: &World) -> Vec<(String, f64)> {
    let history = result(world)["history"].clone();
    let point =
        |trial: &Value| (trial["trial"].as_str().expect("an id").to_owned(), trial["params"]["x"].as_f64().expect("x"));
    let mut points: Vec<_> = history.as_array().expect("trials").iter().map(point).collect();
    points.sort_by(|one, other| one.0.cmp(&other.0));
    points
}

#[test]
fn a_loop_that_is_killed_goes_on_and_proposes_what_it_would_have() {
    let calm = world(12, ASK);
    calm.init();
    calm.run(&["loop", "r"]).code(0);
    let killed = world(12, ASK);
    killed.init();
    let mut kills = 0;
    while killed.status()["state"] == "active" {
        let mut driver = killed
            .command(&["loop", "r"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("a loop");
        std::thread::sleep(std::time::Duration::from_millis(150 + 40 * kills));
        driver.kill().expect("killed");
        driver.wait().expect("an end");
        kills += 1;
        assert!(kills < 100, "the run does not end");
    }
    assert_eq!(killed.status()["state"], "completed", "{}", killed.status());
    assert_eq!(points(&killed).len(), 12);
    // which trial ends first differs, and with it what later asks know; the first ask knows nothing
    assert_eq!(points(&killed)[..2], points(&calm)[..2]);
    let best = result(&calm)["best"].clone();
    let least = points(&calm).iter().map(|(_, x)| (x - 0.3).powi(2)).fold(f64::INFINITY, f64::min);
    assert!((best["result"]["loss"].as_f64().expect("a loss") - least).abs() < 1e-12, "{best}");
    for world in [&calm, &killed] {
        assert!(world.tasks().split(' ').all(|task| task.ends_with("=completed")), "{}", world.tasks());
        world.is_sound("r");
    }
}

#[test]
fn an_answer_that_cannot_be_meant_holds_the_run_until_the_program_is_mended() {
    let raw = |text: &str| {
        format!("import sys\ndef ask(told):\n    open('trials.json', 'w').write({text:?})\n    sys.exit(0)\n")
    };
    let many = "def ask(told):\n    return {'trials': [{'params': {'x': 0.5}}] * 1000000}\n".to_owned();
    let answers = [
        ("def ask(told):\n    raise ValueError('no model')\n".to_owned(), "ValueError: no model"),
        ("import sys\ndef ask(told):\n    sys.exit(0)\n".to_owned(), "trials.json"),
        (raw("{\"trials\": [{\"params\": {\"x\":"), "trials.json"),
        (raw("{\"trials\": [{\"params\": {\"x\": NaN}}]}"), "trials.json"),
        (raw("{\"trials\": [{\"params\": {\"x\": 1.5}}]}"), "`x`"),
        (raw("{\"trials\": [{\"params\": {\"y\": 0.5}}]}"), "`y`"),
        (
            raw(
                "{\"trials\": [{\"params\": {\"x\": 0.5}, \"trial\": \"a\"}, {\"params\": {\"x\": 0.6}, \"trial\": \"a\"}]}",
            ),
            "`a`",
        ),
        (raw("{\"trials\": [], \"abandon\": [\"trial-9\"]}"), "`trial-9`"),
        (many, "`trials.json` has"),
    ];
    for (ask, words) in answers {
        let world = world(4, &ask);
        world.init();
        world.run(&["loop", "r"]).code(5);
        let status = world.status();
        let reason = status["reason"].as_str().unwrap_or_default();
        assert!(status["state"] == "held" && reason.contains(words), "{words}: {status}");
        world.write("scripts/ask.py", ASK);
        world.run(&["amend", "r", "file", "scripts/ask.py"]).code(0);
        world.run(&["resume", "r"]).code(0);
        world.run(&["loop", "r"]).code(0);
        assert_eq!(points(&world).len(), 4, "{words}");
    }
}

#[test]
fn what_a_person_knows_is_told_and_what_is_wrong_in_it_changes_nothing() {
    let world = world(4, ASK);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let told = |name: &str, text: &str| {
        fs::write(world.root().join("..").join(name), text).expect("a file");
        world.run(&["tell", "r", name])
    };
    for (name, text, words) in [
        ("a.csv", "x,loss\n1.5,0.1\n", "row 1"),
        ("a.csv", "x,loss\n0.5,much\n", "row 1"),
        ("a.csv", "trial,loss\ntrial-9999,0.1\n", "trial-9999"),
        ("a.csv", "x,loss\n0.5,\n", "row 1"),
        ("a.csv", "x,loss\n", "no rows"),
        ("a.json", "[]", "no results"),
        ("a.json", "{\"rows\": []}", "neither a list"),
        ("a.json", "[{\"params\": {\"x\": 0.5}, \"result\": {\"loss\": NaN}}]", "no JSON"),
    ] {
        let before = world.status();
        let refused = told(name, text).code(2);
        assert!(refused.stderr.contains(words), "{text}: {refused:?}");
        assert_eq!(world.status(), before, "{text}");
    }
    assert!(world.run(&["tell", "r", "none.csv"]).code(2).stderr.contains("none.csv"));
    told("b.csv", "\u{feff}x;loss\n0,31;0,0001\n").code(0);
    told("c.json", "[{\"trial\": \"trial-0002\", \"result\": {\"loss\": 0.00005}}]").code(0);
    until("the run ends", || world.run(&["step", "r", "--json"]).json()["state"] == "completed");
    let result = result(&world);
    assert_eq!(
        (&result["best"]["trial"], result["history"].as_array().map(Vec::len)),
        (&json!("trial-0002"), Some(5)),
        "{result}"
    );
    let acts = world.evidence()["acts"].clone();
    assert_eq!(acts.as_array().expect("acts").iter().filter(|act| act["verb"] == "tell").count(), 2);
    world.is_sound("r");
    let other = World::with_tasks(&json!([{"id": "a", "command": "true"}]));
    other.init();
    fs::write(other.root().join("../a.csv"), "x\n1\n").expect("a file");
    assert!(other.run(&["tell", "r", "a.csv"]).code(2).stderr.contains("takes no table"));
}

#[test]
fn a_run_that_has_ended_goes_on_with_a_larger_budget() {
    let world = world(3, ASK);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let amended = world.run(&["amend", "r", "config", "campaign.params.budget.trials=5"]).code(0);
    assert!(amended.stderr.contains("the run goes on"), "{amended:?}");
    assert_eq!(world.status()["state"], "active");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(points(&world).len(), 5);
    // what its campaign does not hear of leaves it as it is
    let other = world.run(&["amend", "r", "config", "limits.max_active=7"]).code(0);
    assert!(!other.stderr.contains("goes on") && world.status()["state"] == "completed", "{other:?}");
    world.is_sound("r");
}

/// Bytes of the files that a run keeps beside those of attempts.
fn kept(world: &World) -> u64 {
    let files = fs::read_dir(world.run_dir("r").join("inputs")).expect("a folder").flatten();
    files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

/// The directory of the last attempt at a task.
fn attempt_of(world: &World, task: &str) -> std::path::PathBuf {
    let attempts = world.run(&["attempts", "r", task, "--json"]).code(0).json();
    let last = attempts.as_array().and_then(|all| all.last()).expect("an attempt");
    world.run_dir("r").join(last["directory"].as_str().expect("a directory"))
}

#[test]
fn what_many_asks_are_told_is_kept_once() {
    let ask = "def ask(told):
    known = len(told['trials'])
    assert [trial['trial'] for trial in told['trials']][:2] == ['start-0001', 'start-0002'], told
    if known == 404:
        raise ValueError(f'{known} are known')
    return {'trials': [{'params': {'x': known / 1000}}]}
";
    let mut config = config(6);
    config["campaign"]["inputs"] = json!({"past": "past.csv"});
    config["campaign"]["params"]["start"] = json!("past");
    config["campaign"]["params"]["parallel"] = json!(1);
    let world = World::new(&config);
    world.write("scripts/ask.py", ask);
    world.write("scripts/measure.py", MEASURE);
    let rows: String = (0..400).map(|row| format!("0.{row:03},{}\n", row + 1)).collect();
    world.write("past.csv", &format!("x,loss\n{rows}"));
    world.init();
    world.run(&["loop", "r"]).code(5);
    let asked = |task: &str| attempt_of(&world, task).join("ask.json");
    // where it failed it lies there to be looked at; where it completed it can be put together again
    let whole = fs::metadata(asked("ask-0005")).expect("what the failed one was told").len();
    assert!((1..=4).all(|number| !asked(&format!("ask-000{number}")).exists()));
    assert!(whole > 20_000 && kept(&world) < 2 * whole, "{} with {whole} in each of five asks", kept(&world));
    world.write("scripts/ask.py", &ask.replace("404", "-1"));
    world.run(&["amend", "r", "file", "scripts/ask.py"]).code(0);
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let mut chosen: Vec<f64> =
        points(&world).into_iter().filter(|(id, _)| id.starts_with("trial-")).map(|(_, x)| x).collect();
    chosen.sort_by(f64::total_cmp);
    assert_eq!(chosen, [0.4, 0.401, 0.402, 0.403, 0.404, 0.405]);
    world.run(&["rerun", "r", "ask-0003"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert!(world.tasks().contains("ask-0003=completed"), "{}", world.tasks());
    assert!(!asked("ask-0003").exists());
    world.is_sound("r");
}

#[test]
fn a_run_begins_with_what_an_earlier_one_or_a_table_knows() {
    let earlier = world(4, ASK);
    earlier.init();
    earlier.run(&["loop", "r"]).code(0);
    let status = earlier.run(&["status", "r", "--json"]).code(0).stdout;
    let knowing = "def ask(told):
    known = sorted((trial['source'], trial['result']['loss']) for trial in told['trials'])
    return {'trials': [{'params': {'x': len(known) / 100 + 0.001 * known[0][1]}}]}
";
    let begin = |past: &str| {
        let mut config = config(1);
        config["campaign"]["inputs"] = json!({"past": "past"});
        config["campaign"]["params"]["start"] = json!("past");
        let world = World::new(&config);
        world.write("scripts/ask.py", knowing);
        world.write("scripts/measure.py", MEASURE);
        world.write("past", past);
        world
    };
    for (past, count, source) in [
        (status.as_str(), 4, "run"),
        ("\u{feff}x;loss\r\n0,5;0,25\r\n0,75;0,5\r\n", 2, "table"),
        ("x,loss\n0.5,0.25\n", 1, "table"),
    ] {
        let world = begin(past);
        world.init();
        world.run(&["loop", "r"]).code(0);
        let history = result(&world)["history"].clone();
        let known: Vec<&Value> =
            history.as_array().expect("trials").iter().filter(|one| one["source"] == source).collect();
        assert_eq!(known.len(), count, "{history}");
        if source == "run" {
            let before = points(&earlier);
            let taken = |x: &f64| known.iter().any(|one| one["params"]["x"].as_f64() == Some(*x));
            assert!(before.iter().all(|(_, x)| taken(x)), "{before:?} {history}");
        } else {
            assert!(known.iter().any(|one| one["params"]["x"] == 0.5 && one["result"]["loss"] == 0.25), "{history}");
        }
        world.is_sound("r");
    }
    let strange = status.replace("\"loss\"", "\"gain\"");
    for (past, words) in [
        ("{\"state\": \"active\"}", "`result.history`"),
        ("{\"result\": ", "no JSON document"),
        (strange.as_str(), "`loss`"),
        ("x,loss\n0.5,NaN\n", "row 1"),
        ("x,loss\n1.5,0.1\n", "row 1"),
        ("x,gain\n0.5,0.1\n", "`gain`"),
    ] {
        let world = begin(past);
        let refused = world.run(&["init", "demo", "--run-id", "r"]).stderr;
        assert!(refused.contains("`past`") && refused.contains(words), "{words}: {refused}");
    }
}

#[test]
fn a_program_that_does_not_end_is_stopped_at_its_walltime() {
    let mut config = config(2);
    config["campaign"]["params"]["ask"]["resources"] = json!({"walltime_s": 1});
    let world = World::new(&config);
    world.write("scripts/ask.py", "import time\ndef ask(told):\n    time.sleep(86400)\n");
    world.write("scripts/measure.py", MEASURE);
    world.init();
    world.run(&["loop", "r"]).code(5);
    let status = world.status();
    assert!(status["state"] == "held" && status["reason"].to_string().contains("walltime"), "{status}");
    world.write("scripts/ask.py", ASK);
    world.run(&["amend", "r", "file", "scripts/ask.py"]).code(0);
    world.run(&["amend", "r", "config", "campaign.params.ask.resources.walltime_s=600"]).code(0);
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(points(&world).len(), 2);
}

#[test]
fn it_is_never_asked_by_iterations() {
    let world = world(4, ASK);
    let refused = world.run(&["init", "demo", "--set", "campaign.analyze=workflow"]).code(2).stderr;
    assert!(refused.contains("campaign.analyze is `workflow`"), "{refused}");
}

#[test]
fn a_table_of_trials_has_their_points_and_what_was_measured() {
    let world = world(3, ASK);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let rows = world.run(&["table", "r", "--fields", "result.json", "--json"]).code(0).json();
    let trials: Vec<&Value> = rows
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["task"].as_str().is_some_and(|task| task.starts_with("trial-")))
        .collect();
    assert_eq!(trials.len(), 3);
    for trial in trials {
        let (x, loss) = (trial["params.x"].as_f64().expect("x"), trial["result.loss"].as_f64().expect("a loss"));
        assert!((loss - (x - 0.3).powi(2)).abs() < 1e-12, "{trial}");
    }
}
