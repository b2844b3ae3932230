//! `backtest`: campaigns against results that are known already.
use crate::support::world::{World, tasks_config};
use crate::support::{guest, until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

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
    let summary = world.workspace().join("summary.csv");
    let files = ["--out", out.to_str().expect("UTF-8"), "--summary", summary.to_str().expect("UTF-8")];
    let all = tried(&world, &[&of[..], &files].concat());
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
        assert_eq!((&course["by"], &course["goal"]), (&json!("height"), &json!("most")));
    }
    // what the configuration lets go on at a time holds, and can be lifted
    let first = [&of[..2], &["--seeds", "1", "--oracle", table, "--set", "campaign.params.parallel=5"]].concat();
    for (set, least) in [
        ("backends.local.cores=2", 180.0),
        ("backends.local.cores=1", 300.0),
        ("operators.local.max_active=1", 300.0),
        ("limits.max_active=1", 300.0),
        ("backends.local.cores=5", 60.0),
    ] {
        let time = tried(&world, &[&first[..], &["--set", set]].concat())[0]["time_s"].as_f64().expect("a time");
        assert!((least..least + 50.0).contains(&time), "{set}: {time}");
    }
    assert_eq!((&all[0]["best"], &all[0]["best_after"]), (&json!(100.0), &json!(1)));
    assert_eq!(all, tried(&world, &of), "the same again");
    let rows = fs::read_to_string(out).expect("a table");
    assert_eq!(rows.lines().count(), 1 + 6 * 5);
    // `grid.py` has the best in its first, with each of its seeds
    let summary = fs::read_to_string(summary).expect("a table");
    let line = summary.lines().find(|line| line.starts_with("scripts/grid.py:ask,results,5,")).expect("a row");
    assert!(line.starts_with("scripts/grid.py:ask,results,5,3,100,100,100,100,100,"), "{line}");
    let ahead: f64 = summary
        .lines()
        .filter(|line| line.contains(",results,5,"))
        .map(|line| line.rsplit(',').next().expect("a cell").parse::<f64>().expect("a number"))
        .sum();
    assert!((ahead - 3.0).abs() < 1e-6, "each seed is counted once: {summary}");
    assert!(summary.lines().any(|line| line.starts_with("scripts/ask.py:ask,time_s,")), "{summary}");
    let shown = world.run(&[&["backtest", "r"], &of[..]].concat()).code(0).stdout;
    assert!(shown.contains("MEDIAN") && shown.contains("AHEAD"), "{shown}");
    assert_eq!(measured(&world), 0);
    // without the table nothing is known, which the campaign hears and the person too
    let done = world.run(&["backtest", "r", "--seeds", "1"]).code(0);
    assert!(done.stderr.contains("5 task(s) are neither in the record nor in a table"), "{done:?}");
    for (text, said) in [
        (
            "x [mm],height\n1,2\n",
            "has no column `x`, which is a variable of the campaign; its columns are `x [mm]`, `height`",
        ),
        ("x,hight\n1,2\n", "has no column `height`, by which results are compared"),
        ("x,height\n1,2\n1 mm,2\n", "row 3: `x` is `1 mm`, and that is no number"),
        ("x,height\n,2\n", "row 2: `x` is ``, and that is empty"),
        ("x,height\n1,NaN\n", "row 2: `height` is `NaN`, and that is no number"),
        ("x,height,duration_s\n1,2,-1\n", "row 2: `duration_s` is `-1.0`, and that is no number of seconds"),
        ("x,x,height\n1,2,3\n", "column `x` is there twice"),
        ("x,height\n", "it has no rows"),
    ] {
        world.write("known.csv", text);
        let done = world.run(&["backtest", "r", "--oracle", table]).code(2);
        assert!(done.stderr.contains(said), "{text}: {done:?}");
    }
    // rows that are alike are one point that was measured again
    world.write("known.csv", "x,height\n0,7\n0,7\n");
    let again = tried(&world, &[&of[..2], &["--oracle", table, "--set", "campaign.params.budget.trials=1"]].concat());
    assert_eq!(again[0]["best"], json!(7.0), "{again:?}");
}

/// Whether a process is there and has not ended.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
fn a_program_is_asked_as_a_job_is_and_leaves_nothing_behind() {
    let mut config: Value = {
        let world = hill(1);
        let text = fs::read_to_string(world.workspace().join("config.json")).expect("a configuration");
        serde_json::from_str(&text).expect("JSON")
    };
    config["campaign"]["params"]["ask"]["env"] = json!({"KEY": {"secret": "token"}});
    config["campaign"]["params"]["budget"]["trials"] = json!(1);
    config["operators"]["local"]["config"] = json!({"launcher": ["env", "LAUNCHED=yes"]});
    let world = World::new(&config);
    world.write("scripts/ask.py", "def ask(told):\n    return {'trials': []}\n");
    let place = "open(os.environ['MATTERSTACK_WORKSPACE_DIR'] + '/said', 'a').write";
    let tells = "import os\n\ndef ask(told):\n    PLACE(os.environ['KEY'] + os.environ['LAUNCHED'] + os.environ['MATTERSTACK_RUN'] + \
                 str('MINE' in os.environ))\n    return {'trials': [{'params': {'x': 0.5}}]}\n";
    world.write("scripts/tells.py", &tells.replace("PLACE", place));
    let hangs = "import os, subprocess, time\n\ndef ask(told):\n    child = subprocess.Popen(['sleep', '1000'])\n    \
                 PLACE(f'{child.pid}\\n')\n    time.sleep(1000)\n";
    world.write("scripts/hangs.py", &hangs.replace("PLACE", place));
    world.init();
    let said = world.workspace().join("said");
    // without its secret a job would not start, and neither does this
    let of = ["backtest", "r", "--ask", "scripts/tells.py:ask"];
    let done = world.run(&of).code(1);
    assert!(
        done.stderr.contains("1 of 1 virtual runs came to no end") && done.stderr.contains("secret `token`"),
        "{done:?}"
    );
    let secrets = world.root().with_file_name(".config/matterstack/secrets");
    fs::create_dir_all(&secrets).expect("a folder");
    fs::write(secrets.join("token"), "hush\n").expect("a secret");
    fs::set_permissions(secrets.join("token"), fs::Permissions::from_mode(0o600)).expect("its mode");
    world.run_with(&of, &[("MINE", "1")]).code(0);
    assert_eq!(fs::read_to_string(&said).expect("what it said"), "hushyesrFalse");
    fs::remove_file(&said).expect("ours");
    // nothing is handed in on a cluster
    let away = r#"backends.local={"kind": "slurm"}"#;
    let done = world.run(&[&of[..], &["--set", away]].concat()).code(1);
    assert!(done.stderr.contains("only where a local backend would run it"), "{done:?}");

    let pids = || fs::read_to_string(&said).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let of = ["backtest", "r", "--ask", "scripts/hangs.py:ask"];
    let limit = ["--set", "campaign.params.ask.resources.walltime_s=1"];
    let done = world.run(&[&of[..], &limit].concat()).code(1);
    assert!(done.stderr.contains("`ask-0001` failed: killed at its walltime"), "{done:?}");
    let before = pids().len();
    assert!(before < 2, "it may have come to nothing within a second");
    until("what it left ends with it", || !pids().iter().any(|pid| lives(pid)));
    let mut command = world.command(&of);
    let mut asking = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    until("it is asked", || pids().len() > before);
    rustix::process::kill_process(rustix::process::Pid::from_child(&asking), rustix::process::Signal::INT)
        .expect("a signal");
    assert_eq!(asking.wait().expect("its end").code(), Some(130));
    until("what it left ends with it", || !pids().iter().any(|pid| lives(pid)));
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
    // a campaign that comes to no end has been compared with nothing
    let done = world.run(&[&["backtest", "r", "--json"], &of[..]].concat()).code(1);
    assert!(done.stderr.contains("1 of 2 virtual runs came to no end; that of `builtin:workflow`"), "{done:?}");
    let all = done.json();
    // each is called as the person called it, whatever it takes the place of
    assert_eq!([&all[0]["plugin"], &all[1]["plugin"]], [of[1], of[3]]);
    assert_eq!(all[0]["state"], "held", "its parameters are none of a workflow: {}", all[0]);
    assert_eq!((&all[1]["state"], &all[1]["unanswered"]), (&json!("completed"), &json!([])), "{}", all[1]);
    assert_eq!(all[1]["decisions"], 9, "plans, analyses, and the last plan");
    // a campaign that asks for what nobody has recorded is told so
    let away = ["backtest", "r", "--json", "--set", "campaign.params.target=1", "--minimize", "value"];
    assert_ne!(world.run(&away).json()[0]["state"], "");
    // a table that has none of its parameters is of no use to it
    world.write("strange.csv", "q,value\n1,2\n");
    let strange = world.workspace().join("strange.csv");
    let done = world.run(&[&away[..], &["--oracle", strange.to_str().expect("UTF-8")]].concat()).code(2);
    assert!(
        done.stderr.contains(
            "none of its columns is a parameter: they are `q`, `value`, and task `i1-x256` has none in its `input`"
        ),
        "{done:?}"
    );
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
