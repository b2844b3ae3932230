//! What comes out of runs: `table`, `compare`, `path`, `export`, and what is done with runs that are kept.
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::fs;

/// A sweep whose tasks write a JSON document each; that of `x = 3` fails.
fn sweep() -> Value {
    let command = "test {x} != 3 && echo '{\"loss\": 0.{x}, \"fit\": {\"n\": {x}}}' > y.json";
    let template = json!({
        "id": "t{x}", "command": command, "input": {"x": "{x}", "solvent": {"name": "water, pure"}}, "outputs": ["y.json"],
        "operator": "local", "allow_failure": true,
    });
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "builtin:sweep", "params": {"template": template, "grid": {"x": [1, 2, 3]}}});
    config
}

fn swept(label: &str) -> World {
    let world = World::new(&sweep());
    world.run(&["init", "demo", "--run-id", "r", "--label", label]).code(0);
    world.run(&["loop", "r"]).code(0);
    world
}

#[test]
fn a_table_has_a_row_a_task_with_parameters_fields_and_times() {
    let world = swept("first, try");
    let rows = world.run(&["table", "r", "--fields", "y.json", "--json"]).code(0).json();
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), 3);
    let one = &rows[0];
    let shown = ["run", "label", "task", "state", "attempt", "params.x", "params.solvent.name", "y.loss", "y.fit.n"];
    let expected = json!(["r", "first, try", "t1", "completed", 1, 1, "water, pure", 0.1, 1]);
    assert_eq!(json!(shown.map(|name| &one[name])), expected, "{one}");
    assert!(one["ran_s"].as_f64().is_some_and(|ran| (0.0..60.0).contains(&ran)), "{one}");
    assert!(one["queued_s"].as_f64().is_some_and(|queued| queued >= 0.0), "{one}");
    let path = one["path"].as_str().expect("a path");
    assert!(fs::read_to_string(format!("{path}/y.json")).expect("the output").contains("0.1"), "{path}");
    assert_eq!((&rows[2]["state"], &rows[2]["y.loss"]), (&json!("failed"), &Value::Null));

    let csv = world.run(&["table", "r", "--fields", "y.json", "--format", "csv"]).code(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    let head = "run,label,task,iteration,operator,attempt,state,reused,stale,source,params.solvent.name,params.x,y.loss,y.fit.n,queued_s";
    assert!(lines[0].starts_with(head) && lines[0].ends_with("node,path"), "{}", lines[0]);
    assert!(
        lines[1].starts_with("r,\"first, try\",t1,1,local,1,completed,,,,\"water, pure\",1,0.1,1,"),
        "{}",
        lines[1]
    );
    assert_eq!(lines.len(), 4);

    let other = world.run(&["table", "--fields", "y.json", "--fields", "z.json"]).code(0).stderr;
    assert!(other.contains("no task left an output `z.json`") && !other.contains("`y.json`"), "{other}");
    let text = world.run(&["table", "--fields", "y.json"]).code(0).stdout;
    assert!(text.contains("PARAMS.X") && text.contains("Y.LOSS") && !text.contains("REUSED"), "{text}");
}

#[test]
fn a_table_of_runs_of_different_shapes_has_all_their_columns() {
    let world = swept("a");
    let other = json!([{"id": "u", "command": "true", "input": {"y": [1, 2]}}]);
    world.write("other.json", &tasks_config(&other).to_string());
    let other = world.workspace().join("other.json");
    let init = ["init", "demo", "--run-id", "s", "--label", "a", "--config", other.to_str().expect("UTF-8")];
    world.run(&init).code(0);
    for selection in [&["table", "r", "s", "--json"][..], &["table", "--label", "a", "--json"]] {
        let rows = world.run(selection).code(0).json();
        let cells: Vec<Value> = rows
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| json!([row["run"], row["params.x"], row["params.y"], row["attempt"]]))
            .collect();
        assert_eq!(json!(cells[2..]), json!([["r", 3, null, 1], ["s", null, [1, 2], null]]));
    }
    let wrong = world.run(&["table", "--label", "b"]).code(2);
    assert!(wrong.stderr.contains("no run has the label `b`"), "{wrong:?}");
    let list = world.run(&["list", "--label", "a", "--json"]).code(0).json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    let text = world.run(&["list", "demo"]).code(0).stdout;
    assert!(text.contains("LABEL") && text.contains("AGE"), "{text}");
    world.run(&["list", "nothing"]).code(2);
}

#[test]
fn an_output_that_is_not_as_it_was_left_has_no_fields_and_is_not_exported() {
    let world = swept("a");
    let path = world.run(&["path", "r", "t1", "y.json"]).code(0).stdout;
    fs::write(path.trim(), "{\"loss\": 7}").expect("altered");
    let table = world.run(&["table", "r", "--fields", "y.json", "--json"]).code(0);
    assert_eq!(table.json()[0]["y.loss"], Value::Null);
    assert!(table.stderr.contains("`y.json` of task `t1` in run `r` is not as it was left"), "{table:?}");
    let exported = world.run(&["export", "r", "--out", "out"]).code(74);
    assert!(exported.stderr.contains("`y.json` of task `t1` is not as it was left"), "{exported:?}");
    let manifest = fs::read_to_string(world.root().join("../out/manifest.json")).expect("a manifest");
    let files: Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(files.as_array().map(Vec::len), Some(1), "{files}");
    assert_eq!(files[0]["file"], "t2/y.json");
    assert!(world.root().join("../out/t2/y.json").is_file() && !world.root().join("../out/t1/y.json").exists());
    world.run(&["export", "r", "--out", "out"]).code(2);
    world.run(&["export", "r", "t2", "--output", "*.json", "--out", "two"]).code(0);
    world.run(&["export", "r", "--output", "*.txt", "--out", "none"]).code(0);
}

#[test]
fn a_path_leads_to_a_run_a_task_or_a_file() {
    let world = swept("a");
    let path = |words: &[&str]| world.run(&[&["path"], words].concat()).code(0).stdout.trim().to_owned();
    assert_eq!(path(&[]), fs::canonicalize(world.run_dir("r")).expect("a run").to_str().expect("UTF-8"));
    assert_eq!(path(&["r", "t1"]), path(&["t1"]));
    assert_eq!(path(&["t1", "y.json"]), path(&["r", "t1"]) + "/y.json");
    let wrong = world.run(&["path", "r", "t1", "z.json"]).code(2);
    assert!(wrong.stderr.contains("left no `z.json`") && wrong.stderr.contains("it has y.json"), "{wrong:?}");
    world.run(&["path", "r", "t9"]).code(2);
}

#[test]
fn two_runs_are_compared_in_all_that_they_are_and_left() {
    let world = swept("a");
    let same = world.run(&["init", "demo", "--run-id", "same"]);
    same.code(0);
    world.run(&["loop", "same"]).code(0);
    let alike = world.run(&["compare", "r", "same", "--json"]).code(0);
    assert_eq!(alike.json(), json!([]), "{alike:?}");
    let set = "campaign.params.grid={\"x\": [2, 4]}";
    world.run(&["init", "demo", "--run-id", "s", "--set", set, "--set", "limits.max_active=3"]).code(0);
    world.run(&["loop", "s"]).code(0);
    let found = world.run(&["compare", "r", "s", "--json"]).code(0).json();
    let has = |expected: Value| assert!(found.as_array().expect("a list").contains(&expected), "{expected} in {found}");
    has(json!({"part": "config", "task": null, "name": "limits.max_active", "first": 500, "second": 3}));
    has(json!({"part": "task", "task": "t1", "name": "", "first": "completed", "second": null}));
    has(json!({"part": "task", "task": "t4", "name": "", "first": null, "second": "completed"}));
    assert!(!found.to_string().contains("\"t2\""), "{found}");
    let text = world.run(&["compare", "r", "s"]).code(0).stdout;
    assert!(text.contains("limits.max_active"), "{text}");
}

#[test]
fn what_runs_take_is_told_and_what_is_done_with_is_removed() {
    let world = swept("a");
    world.run(&["note", "r", "the oven was cold"]).code(0);
    let status = world.run(&["status", "r"]).code(0).stdout;
    assert!(status.contains("note: the oven was cold (") && status.contains("Z (< 1 min ago))"), "{status}");
    assert_eq!(world.run(&["status", "r", "--json"]).code(0).json()["note"]["text"], "the oven was cold");
    world.run(&["note", "   "]).code(2);
    let acts = world.evidence()["acts"].clone();
    let note = acts.as_array().expect("acts").iter().find(|act| act["verb"] == "note").expect("a note");
    assert_eq!(note["arguments"]["text"], "the oven was cold");
    let du = world.run(&["du", "--json"]).code(0).json();
    let total = du[0]["total"].as_u64().expect("bytes");
    assert!(total > 100_000 && du[0]["database"].as_u64() < Some(total), "{du}");

    world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    let live = world.run(&["rm", "two"]).code(2);
    assert!(live.stderr.contains("has not ended") && live.stderr.contains("matterstack cancel two"), "{live:?}");
    world.run(&["loop", "two"]).code(0);
    let table = world.run(&["table", "two", "--json"]).code(0).json();
    assert_eq!((&table[0]["reused"], &table[0]["source"]), (&json!(true), &json!("r")));
    let taken = world.run(&["rm", "r"]).code(2);
    assert!(taken.stderr.contains("run `two` took results of run `r`"), "{taken:?}");
    std::os::unix::fs::symlink(world.run_dir("r"), world.root().join("../link")).expect("a link");
    let link = world.run(&["rm", "link", "--anyway"]).code(2);
    assert!(link.stderr.contains("is a link"), "{link:?}");
    world.run(&["rm", "r", "--anyway", "--dry-run"]).code(0);
    assert!(world.run_dir("r").exists());
    world.run(&["rm", "r", "two", "--anyway"]).code(0);
    assert_eq!(fs::read_dir(world.workspace().join("runs")).expect("runs").count(), 0);
    assert_eq!(world.run(&["list", "--json"]).code(0).json(), json!([]));
}

#[test]
fn a_loop_says_what_its_tasks_came_to_and_explain_what_one_wrote_last() {
    let tasks = json!([
        {"id": "ok", "command": "true"},
        {"id": "bad", "command": "echo one >&2; echo; echo SCF diverged >&2; exit 3", "allow_failure": true},
        {"id": "after", "command": "true", "depends_on": ["bad"], "allow_failure": true},
    ]);
    let world = World::with_tasks(&tasks);
    world.init();
    let driven = world.run(&["loop", "r"]).code(0);
    assert!(driven.stderr.contains("r: 1 completed, 1 failed, 1 skipped in "), "{driven:?}");
    let quiet = world.run(&["loop", "r", "--quiet"]).code(0);
    assert_eq!((quiet.stderr.as_str(), quiet.stdout.is_empty()), ("", false));
    assert!(world.run(&["--quiet", "loop", "none"]).code(2).stderr.contains("no run `none`"));
    let explained = world.run(&["explain", "r", "bad"]).code(0).stdout;
    assert!(explained.ends_with("task `bad` wrote last to standard error:\n  one\n  SCF diverged\n"), "{explained}");
    let json = world.run(&["explain", "r", "bad", "--json"]).code(0).stdout;
    assert!(!json.contains("diverged") && !world.run(&["explain", "r", "ok"]).stdout.contains("wrote last"), "{json}");
}

#[test]
fn the_last_lines_are_told_and_what_plugins_logged() {
    let lines = |count: usize| (1..=count).map(|n| format!("line {n}\n")).collect::<String>();
    let world = World::with_tasks(&json!([
        {"id": "many", "command": "i=1; while [ $i -le 30000 ]; do echo line $i; i=$((i + 1)); done; printf 'no end'"},
        {"id": "none", "command": "true"},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let tail = |task: &str, n: &str| world.run(&["logs", "r", task, "--tail", n]).code(0).stdout;
    assert_eq!(tail("many", "2"), "line 30000\nno end");
    assert_eq!(tail("many", "30001"), lines(30_000) + "no end");
    assert_eq!(
        (tail("many", "99999").len(), tail("many", "0").as_str(), tail("none", "3").as_str()),
        (lines(30_000).len() + 6, "", "")
    );
    let log = world.run_dir("r").join("plugins/log.jsonl");
    assert!(world.run(&["logs", "r"]).code(0).stdout.is_empty());
    let entry = |n: u32| json!({"time": "2026-11-27T10:00:00.000Z", "plugin": "p", "attempt": null, "level": "info", "message": format!("said {n}\nthen")});
    fs::write(&log, (0..5).map(|n| format!("{}\n", entry(n))).collect::<String>() + "{\"torn").expect("a log");
    let told = world.run(&["logs", "r", "--tail", "3"]).code(0).stdout;
    assert!(told.contains("2026-11-27T10:00:00.000Z info p: said 3\nthen\n") && !told.contains("said 1"), "{told}");
    assert_eq!(world.run(&["logs", "r", "--json"]).code(0).json().as_array().map(Vec::len), Some(5));
}

#[test]
fn what_waits_for_a_core_is_queued_and_not_running() {
    let wait = "while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.02; done";
    let tasks: Vec<Value> = (0..5).map(|n| json!({"id": format!("t{n}"), "command": wait})).collect();
    let world = World::with_tasks(&json!(tasks));
    world.init();
    let count = |text: &str, word: &str| text.lines().filter(|line| line.contains(&format!("  {word}  "))).count();
    crate::support::until("two run", || {
        world.run(&["step", "r"]).code(0);
        count(&world.run(&["tasks", "r"]).stdout, "running") == 2
    });
    let (listed, status) = (world.run(&["tasks", "r"]).stdout, world.status());
    assert_eq!((count(&listed, "running"), count(&listed, "queued")), (2, 3), "{listed}");
    assert_eq!((&status["tasks"]["running"], &status["tasks"]["queued"]), (&json!(2), &json!(3)));
    fs::write(world.run_dir("r").join("go"), "").expect("a file");
    world.run(&["loop", "r"]).code(0);
}

#[test]
fn what_is_to_be_scheduled_is_printed() {
    let world = World::with_tasks(&json!([{"id": "a", "command": "true"}]));
    let told = world.run(&["schedule", "--json"]).code(0).json();
    let cron = told["cron"].as_str().expect("a line");
    let command = cron.trim().splitn(6, ' ').nth(5).expect("a command");
    world.init();
    let done = std::process::Command::new("/bin/sh").args(["-c", command]).output().expect("a shell");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(world.status()["state"], "completed");
    assert!(told["service"].as_str().is_some_and(|text| text.contains("ExecStart=/")), "{told}");
    assert!(world.run(&["schedule", "r"]).code(0).stdout.contains("OnUnitInactiveSec"));
    world.run(&["schedule", "none"]).code(2);
}

#[test]
fn what_attempts_took_is_of_their_jobs_and_never_of_the_pause_between_them() {
    let tasks = json!([
        {"id": "two", "command": "sleep 0.3", "resources": {"cores": 2}},
        {"id": "bad", "command": "exit 7", "allow_failure": true, "retry": {"max_attempts": 2, "backoff_s": 1}},
        {"id": "killed", "command": "kill -9 $$", "allow_failure": true},
    ]);
    let world = World::with_tasks(&tasks);
    world.run(&["init", "demo", "--run-id", "r", "--label", "a | b"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let attempts = |task: &str| world.run(&["attempts", "r", task, "--json"]).code(0).json();
    let two = &attempts("two")[0];
    let ran = two["ran_s"].as_f64().expect("seconds");
    assert!((0.3..30.0).contains(&ran) && two["queued_s"].as_f64() >= Some(0.0), "{two}");
    let hours = two["core_hours"].as_f64().expect("hours");
    assert!((hours - 2.0 * ran / 3600.0).abs() < 1e-9 && two["cores"] == 2, "{two}");
    assert_eq!(two["exit"], json!({"code": 0, "signal": null}));
    assert_eq!(attempts("killed")[0]["exit"], json!({"code": null, "signal": 9}));
    let text = world.run(&["attempts", "r", "bad"]).code(0).stdout;
    for word in ["QUEUED", "RAN", "CORE HOURS", "MEMORY", "EXIT", "NODE", "DIRECTORY", "exited with code 7"] {
        assert!(text.contains(word), "{word} in {text}");
    }

    let evidence = world.evidence();
    let all = &evidence["resources"]["total"];
    assert_eq!((&all["attempts"], &all["measured"], &all["reused"]), (&json!(4), &json!(4), &json!(0)));
    let (core, wasted) = (all["core_hours"].as_f64().expect("hours"), all["wasted_core_hours"].as_f64());
    assert!(core >= hours && wasted.is_some_and(|wasted| wasted <= core - hours + 1e-9), "{all}");
    assert_eq!(evidence["resources"]["operators"]["local"], *all);
    let tasks = evidence["tasks"].as_array().expect("tasks");
    let bad = tasks.iter().find(|task| task["id"] == "bad").expect("a task");
    let job = &attempts("bad")[1];
    assert_eq!(bad["ran_ms"].as_f64().map(|ms| ms / 1000.0), job["ran_s"].as_f64());
    let report = fs::read_to_string(world.run_dir("r").join("evidence/README.md")).expect("a report");
    assert!(report.contains("Label: a \\| b\n") && report.contains("### What it took"), "{report}");
    assert_eq!(evidence["run"]["label"], "a | b");
}

#[test]
fn of_two_that_remove_a_run_at_once_the_second_says_that_it_is_gone() {
    let world = swept("a");
    let dir = matterstack::run::RunDir::new(world.run_dir("r"));
    let lock = fs::File::options().write(true).open(dir.lock()).expect("a lock");
    lock.lock().expect("locked");
    let mut second = world.command(&["rm", "r"]);
    second.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let second = second.spawn().expect("the binary runs");
    crate::support::until("it waits for the lease", || {
        fs::File::open(dir.gate()).is_ok_and(|gate| gate.try_lock().is_err())
    });
    fs::rename(world.run_dir("r"), world.root().join("../aside")).expect("removed");
    lock.unlock().expect("let go");
    let done = crate::support::world::done(second.wait_with_output().expect("an end")).code(2);
    assert!(done.stderr.contains("run `r` is gone: somebody else removed it in the meantime"), "{done:?}");
}
